//! The end of a node: last commits, goodbyes, and the store closed last.

use hobnob_core::replica;
use hobnob_protocol::close;
use tokio::sync::oneshot;
use tracing::warn;

use super::state::Engine;
use crate::net::close::say_goodbye;

impl Engine {
    pub(super) fn begin_stop(&mut self, reply: oneshot::Sender<()>) {
        self.lifecycle.stop(reply, self.clock.now().mono);
        self.tell_replica(replica::Input::Flush);
    }

    /// Says goodbye everywhere, and closes the store last.
    pub(super) async fn end(self) {
        let Self {
            discovery,
            network,
            tasks,
            store,
            holding,
            sessions,
            handshakes,
            queues,
            lifecycle,
            apps,
            ..
        } = self;
        apps.stop();
        // Nobody reads the events of sessions any more. Without a queue they need not wait for it.
        drop(queues.sessions);
        let connections = sessions.connections().chain(handshakes.connections());
        let connections: Vec<_> = connections.collect();
        let goodbye = say_goodbye(&connections, close::BYE, "goodbye");
        tokio::join!(discovery.stop(), goodbye);
        // Relays forwarded some of these goodbyes, so the connections with relays close last.
        tasks.finish().await;
        network.close().await;
        let close = move || {
            holding.close();
            store.shutdown()
        };
        if let Err(error) = tokio::task::spawn_blocking(close).await {
            warn!("the store did not close cleanly: {error}");
        }
        lifecycle.finish();
    }
}
