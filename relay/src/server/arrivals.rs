//! Newcomers: from the first datagram to the registration.
//!
//! A newcomer occupies a place in the gate until it has registered, so the gate bounds all unproven
//! connections. After the handshake the hub decides whether the newcomer is admitted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hobnob_protocol::PeerId;
use hobnob_protocol::relay::{Register, ToRelay, VERSION, close};
use hobnob_transport::frames::FrameReader;
use hobnob_transport::tls;
use quinn::{Connection, Incoming, SendStream};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::close::{STOPPING, end};
use super::event::{Event, Registration};
use super::frames::{NoFrame, Outbox, next_frame};
use super::gate::{Gate, GateDecision};
use super::newcomers::{Fate, Newcomers};
use super::peer;
use crate::core::ConnectionId;

/// Time limit for a handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(4);

/// How long a newcomer waits for a place in the gate. It is slightly less than a node waits for its
/// Welcome. Together with [`HANDSHAKE_LIMIT`] it is below ten seconds: after that a handshake that
/// does not progress leaves nothing behind.
const WAIT_LIMIT: Duration = Duration::from_secs(4);

/// Time limit for the registration after the handshake.
const REGISTER_LIMIT: Duration = Duration::from_secs(10);

/// The shared parts that every newcomer's task needs.
#[derive(Debug, Clone)]
pub(super) struct ArrivalContext {
    pub(super) gate: Gate,
    pub(super) hub: mpsc::Sender<Event>,
    pub(super) tasks: TaskTracker,
    pub(super) connections: Arc<AtomicU64>,
    pub(super) newcomers: Arc<Newcomers>,
}

/// Accepts newcomers until the endpoint is closed.
pub(super) async fn accept_all(endpoint: quinn::Endpoint, context: ArrivalContext) {
    while let Some(incoming) = endpoint.accept().await {
        // quinn forgets the zone of a link-local address, so it cannot validate one. Only
        // neighbours could forge such an address.
        let neighbour =
            matches!(incoming.remote_address(), SocketAddr::V6(addr) if addr.scope_id() != 0);
        match context
            .gate
            .admit(neighbour || incoming.remote_address_validated())
        {
            GateDecision::Begin(place) => {
                context
                    .tasks
                    .spawn(shake_hands(incoming, place, context.clone()));
            }
            GateDecision::Retry => {
                context.newcomers.count(Fate::Asked);
                incoming
                    .retry()
                    .expect("the gate asks only addresses that are not validated");
            }
            GateDecision::Wait(seat) => {
                context.tasks.spawn(wait(incoming, seat, context.clone()));
            }
            GateDecision::Refuse => refuse(incoming, &context),
        }
    }
}

async fn wait(incoming: Incoming, seat: OwnedSemaphorePermit, context: ArrivalContext) {
    match timeout(WAIT_LIMIT, context.gate.place()).await {
        Ok(place) => {
            drop(seat);
            shake_hands(incoming, place, context).await;
        }
        Err(_) => refuse(incoming, &context),
    }
}

fn refuse(incoming: Incoming, context: &ArrivalContext) {
    context.newcomers.count(Fate::Refused);
    incoming.refuse();
}

async fn shake_hands(incoming: Incoming, place: OwnedSemaphorePermit, context: ArrivalContext) {
    context.newcomers.count(Fate::Begun);
    let from = incoming.remote_address();
    match proven(incoming).await {
        // A separate task: it lives as long as the connection, and should not keep the memory of a
        // handshake.
        Some((connection, peer)) => {
            drop(
                context
                    .tasks
                    .spawn(receive(connection, from, peer, place, context.clone())),
            )
        }
        None => context.newcomers.count(Fate::Failed),
    }
}

/// Waits until a newcomer has proved its identity.
async fn proven(incoming: Incoming) -> Option<(Connection, PeerId)> {
    let from = incoming.remote_address();
    match timeout(HANDSHAKE_LIMIT, incoming.into_future()).await {
        Ok(Ok(connection)) => match tls::peer_id(connection.peer_identity()) {
            Some(peer) => return Some((connection, peer)),
            None => end(&connection, close::PROTOCOL, "the certificate is missing"),
        },
        Ok(Err(error)) => tracing::debug!(%from, %error, "a handshake failed"),
        Err(_) => tracing::debug!(%from, "a handshake timed out"),
    }
    None
}

/// Serves one peer from its registration to the end of its connection.
async fn receive(
    connection: Connection,
    from: SocketAddr,
    peer: PeerId,
    place: OwnedSemaphorePermit,
    context: ArrivalContext,
) {
    let Some((register, frames, stream)) = registration(&connection).await else {
        return context.newcomers.count(Fate::Failed);
    };
    let id = ConnectionId(context.connections.fetch_add(1, Ordering::Relaxed));
    let outbox = Arc::new(Outbox::default());
    let registration = Registration {
        id,
        connection: connection.clone(),
        from,
        peer,
        register,
        outbox: outbox.clone(),
    };
    if context
        .hub
        .send(Event::Register(Box::new(registration)))
        .await
        .is_err()
    {
        return end(&connection, close::DRAINING, STOPPING);
    }
    drop(place);
    peer::run(id, &connection, frames, stream, &outbox, &context.hub).await;
    // If the hub has ended, nothing needs this event.
    let _ended = context.hub.send(Event::Disconnected(id)).await;
}

/// Waits for the first frame. Anything but a valid Register ends the connection.
async fn registration(connection: &Connection) -> Option<(Register, FrameReader, SendStream)> {
    let first = async {
        let (stream, receive) = connection.accept_bi().await.map_err(NoFrame::Lost)?;
        let mut frames = FrameReader::new(receive);
        Ok((next_frame(&mut frames).await?, frames, stream))
    };
    match timeout(REGISTER_LIMIT, first).await {
        Ok(Ok((ToRelay::Register(register), frames, stream)))
            if register.version.0 == VERSION.0 =>
        {
            return Some((register, frames, stream));
        }
        Ok(Ok((ToRelay::Register(register), ..))) => end(
            connection,
            close::VERSION,
            &other_version(register.version.0),
        ),
        Ok(Ok(_)) => end(
            connection,
            close::PROTOCOL,
            "the first frame must be Register",
        ),
        Ok(Err(NoFrame::Wrong(what))) => end(connection, close::PROTOCOL, &what),
        Ok(Err(NoFrame::Lost(error))) => tracing::debug!(%error, "a newcomer left"),
        Err(_) => end(
            connection,
            close::PROTOCOL,
            "Register did not arrive in time",
        ),
    }
    None
}

fn other_version(theirs: u16) -> String {
    let ours = VERSION.0;
    format!(
        "this relay speaks version {ours} of the relay protocol and you speak version {theirs}: update the older one"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_named_beside_the_relays_own() {
        let reason = other_version(VERSION.0 + 1);
        for version in [VERSION.0, VERSION.0 + 1] {
            assert!(reason.contains(&format!("version {version}")), "{reason}");
        }
    }
}
