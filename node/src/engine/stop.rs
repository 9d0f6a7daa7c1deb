//! The end of a node: last commits, goodbyes, and the store closed last.

use super::Engine;
use crate::net::goodbye::say_goodbye;
use hobnob_core::replica;
use hobnob_protocol::close;
use std::time::Duration;
use tokio::sync::oneshot;
use tracing::warn;

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
        let Self {
            discovery,
            endpoint,
            stopping,
            tasks,
            store,
            links,
            candidates,
            greetings,
            session_queue,
            stop,
            lock,
            ..
        } = self;
        let goodbye_mdns = async {
            if let Some(discovery) = discovery {
                discovery.stop().await;
            }
        };
        // Nobody hears any more what sessions say; they need not wait for it.
        drop(session_queue);
        let sessions = links.values().map(|link| link.session.connection());
        let candidates = candidates
            .values()
            .map(|candidate| candidate.greeted.connection.clone());
        let all: Vec<_> = sessions
            .chain(candidates)
            .chain(greetings.into_iter().map(|greeting| greeting.connection))
            .collect();
        tokio::join!(goodbye_mdns, say_goodbye(&all, close::BYE, "goodbye"));
        // Relays carried some of these goodbyes, and so hear theirs last.
        stopping.cancel();
        tasks.close();
        tasks.wait().await;
        endpoint.close(close::BYE, "goodbye").await;
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
