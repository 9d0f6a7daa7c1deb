//! The tasks that the engine starts. They report to it through [`Internal`].

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::internal::Internal;

/// Starts tasks, and ends them when the node stops.
pub(super) struct Tasks {
    tracker: TaskTracker,
    stopping: CancellationToken,
    reports: mpsc::UnboundedSender<Internal>,
}

impl Tasks {
    pub(super) fn new(
        tracker: TaskTracker,
        stopping: CancellationToken,
        reports: mpsc::UnboundedSender<Internal>,
    ) -> Self {
        Self {
            tracker,
            stopping,
            reports,
        }
    }

    /// Starts a task that ends by itself.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(task);
    }

    /// Starts a task that ends by itself, or when the node stops.
    pub(super) fn spawn_until_stop(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stopping = self.stopping.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = task => {}
                () = stopping.cancelled() => {}
            }
        });
    }

    /// For sessions, which start tasks of their own.
    pub(super) fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }

    /// For tasks that have something to do when the node stops.
    pub(super) fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Where a task reports to the engine.
    pub(super) fn reporter(&self) -> mpsc::UnboundedSender<Internal> {
        self.reports.clone()
    }

    /// Stops all tasks, and waits until they have ended.
    pub(super) async fn finish(self) {
        self.stopping.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stop_ends_tasks_that_wait_and_lets_others_finish() {
        let (reports, mut queue) = mpsc::unbounded_channel();
        let tasks = Tasks::new(TaskTracker::new(), CancellationToken::new(), reports);
        tasks.spawn_until_stop(std::future::pending());
        let (stopping, reports) = (tasks.stopping(), tasks.reporter());
        tasks.spawn(async move {
            stopping.cancelled().await;
            let peer = hobnob_protocol::DeviceId::from_bytes([1; 32]);
            reports
                .send(Internal::DialFailed(peer))
                .expect("it listens");
        });
        tasks.finish().await;
        assert!(queue.try_recv().is_ok(), "the second task has finished");
    }
}
