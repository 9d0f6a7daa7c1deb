//! The end of a node: last commits, goodbyes, and the store closed last.

use hobnob_core::replica;
use hobnob_protocol::close;
use tokio::sync::oneshot;
use tracing::warn;

use super::state::Engine;
use crate::net::goodbye::say_goodbye;

impl Engine {
    pub(super) fn begin_stop(&mut self, reply: oneshot::Sender<()>) {
        self.lifecycle.stop(reply, self.clock.now().mono);
        self.tell_replica(replica::Input::Flush);
    }

    /// Says goodbye everywhere, and closes the store last.
    pub(super) async fn end(mut self) {
        self.network.log_counters();
        let Self {
            discovery,
            network,
            tasks,
            store,
            sessions,
            handshakes,
            queues,
            lifecycle,
            ..
        } = self;
        let goodbye_mdns = async {
            if let Some(mdns) = discovery.mdns {
                mdns.stop().await;
            }
        };
        // Nobody reads the events of sessions any more. Without a queue they need not wait for it.
        drop(queues.sessions);
        let live = sessions.live.values();
        let all: Vec<_> = live
            .map(|state| state.session.connection())
            .chain(handshakes.connections())
            .collect();
        tokio::join!(goodbye_mdns, say_goodbye(&all, close::BYE, "goodbye"));
        // Relays forwarded some of these goodbyes, so the connections with relays close last.
        tasks.stopping.cancel();
        tasks.tracker.close();
        tasks.tracker.wait().await;
        network.endpoint.close(close::BYE, "goodbye").await;
        if let Err(error) = tokio::task::spawn_blocking(move || store.shutdown()).await {
            warn!("the store did not close cleanly: {error}");
        }
        lifecycle.finish();
    }
}
