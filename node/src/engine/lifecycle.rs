//! When the engine may end.

use std::time::Duration;

use hobnob_transport::lock::Lock;
use tokio::sync::oneshot;

/// How long the last commits may take when the node stops.
const LAST_COMMIT: Duration = Duration::from_secs(5);

/// The lock of the home folder, and a stop that waits for the last commits.
pub(super) struct Lifecycle {
    stop: Option<Stop>,
    /// The folder's lock, if the node holds it itself.
    lock: Option<Lock>,
}

struct Stop {
    /// Everybody who asked for the end. Several clones of a node may ask at the same time.
    replies: Vec<oneshot::Sender<()>>,
    deadline: Duration,
}

impl Lifecycle {
    pub(super) fn new(lock: Option<Lock>) -> Self {
        Self { stop: None, lock }
    }

    /// A user wants the node to stop. A second request does not postpone the end.
    pub(super) fn stop(&mut self, reply: oneshot::Sender<()>, now: Duration) {
        let stop = self.stop.get_or_insert_with(|| Stop {
            replies: Vec::new(),
            deadline: now + LAST_COMMIT,
        });
        stop.replies.push(reply);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop.is_some()
    }

    /// By when the last commits must be done.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.stop.as_ref().map(|stop| stop.deadline)
    }

    /// Whether the engine may end, with this many commits under way.
    pub(super) fn is_done(&self, commits: usize, now: Duration) -> bool {
        self.deadline()
            .is_some_and(|deadline| commits == 0 || deadline <= now)
    }

    /// Everything is closed. Releases the folder, then reports the end to the users.
    pub(super) fn finish(self) {
        // Another node may start in the folder as soon as a user learns of the end.
        drop(self.lock);
        for reply in self.stop.into_iter().flat_map(|stop| stop.replies) {
            let _ = reply.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_waits_for_commits_but_not_forever() {
        let mut lifecycle = Lifecycle::new(None);
        assert!(!lifecycle.is_done(0, LAST_COMMIT), "nobody asked");
        lifecycle.stop(oneshot::channel().0, Duration::ZERO);
        assert!(lifecycle.is_done(0, Duration::ZERO));
        assert!(!lifecycle.is_done(1, Duration::ZERO));
        assert!(lifecycle.is_done(1, LAST_COMMIT));
    }

    #[test]
    fn everybody_who_asked_learns_of_the_end_and_not_before() {
        let mut lifecycle = Lifecycle::new(None);
        let [(first, mut first_ended), (second, mut second_ended)] =
            [oneshot::channel(), oneshot::channel()];
        lifecycle.stop(first, Duration::ZERO);
        lifecycle.stop(second, LAST_COMMIT / 2);
        assert_eq!(lifecycle.deadline(), Some(LAST_COMMIT), "not postponed");
        assert!(first_ended.try_recv().is_err());
        lifecycle.finish();
        assert_eq!(first_ended.try_recv(), Ok(()));
        assert_eq!(second_ended.try_recv(), Ok(()));
    }
}
