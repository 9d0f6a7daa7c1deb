//! The end of a node: last commits, goodbyes, and the store closed last.

use super::*;

/// How long the last commit may take when the node stops.
const LAST_COMMIT: Duration = Duration::from_secs(5);

/// A stop that waits for the last commits.
pub(super) struct Stop {
    reply: oneshot::Sender<()>,
    pub(super) deadline: Duration,
}

impl Engine {
    pub(super) fn begin_stop(&mut self, reply: oneshot::Sender<()>) {
        let deadline = self.clock.now().mono + LAST_COMMIT;
        self.stop = Some(Stop { reply, deadline });
        self.tell_replica(replica::Input::Flush);
    }

    pub(super) fn is_done(&self) -> bool {
        let Some(stop) = &self.stop else { return false };
        self.replica.commits_under_way() == 0 || stop.deadline <= self.clock.now().mono
    }

    /// Says goodbye everywhere, and closes the store last.
    pub(super) async fn end(mut self) {
        self.log_counters();
        let Self { discovery, endpoint, stopping, tasks, store, links, candidates, stop, lock, .. } = self;
        stopping.cancel();
        tasks.close();
        let goodbye_mdns = async {
            if let Some(discovery) = discovery {
                discovery.stop().await;
            }
        };
        tokio::join!(goodbye_mdns, endpoint.close(close::BYE, "goodbye"));
        drop((links, candidates));
        tasks.wait().await;
        if let Err(error) = tokio::task::spawn_blocking(move || store.shutdown()).await {
            warn!("the store did not close cleanly: {error}");
        }
        // The next node may have the folder now.
        drop(lock);
        if let Some(stop) = stop {
            let _ = stop.reply.send(());
        }
    }
}
