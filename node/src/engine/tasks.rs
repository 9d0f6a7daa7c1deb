//! The tasks that the engine starts. They report to it through [`Internal`].

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::internal::Internal;

/// Starts tasks, and ends them when the node stops.
pub(super) struct Tasks {
    pub(super) tracker: TaskTracker,
    pub(super) stopping: CancellationToken,
    pub(super) reports: mpsc::UnboundedSender<Internal>,
}

impl Tasks {
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
}
