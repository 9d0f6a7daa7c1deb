//! From a newcomer's first datagram to its registration.
//!
//! Until it has registered, a newcomer holds a place in the gate, so that all that is unproven is
//! bounded there. Whether it may be here is for the hub to say, after its handshake.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hobnob_protocol::PeerId;
use hobnob_protocol::relay::{Register, ToRelay, VERSION, close};
use hobnob_transport::frames::FrameReader;
use hobnob_transport::tls;
use quinn::{Connection, Incoming, SendStream, VarInt};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::frames::{NoFrame, Outbox, next_frame};
use super::gate::{Entry, Gate};
use super::hub::{Event, Registration};
use super::newcomers::{Fate, Newcomers};
use super::peer;
use crate::core::ConnectionId;

/// How long a handshake may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(4);

/// How long a newcomer waits for a place in the gate: a little less than a node waits for its
/// welcome. With [`HANDSHAKE_LIMIT`], less than ten seconds: by then nothing is left of one who
/// began and went on no further.
const WAIT_LIMIT: Duration = Duration::from_secs(4);

/// How long after its handshake a newcomer may take to register.
const REGISTER_LIMIT: Duration = Duration::from_secs(10);

/// What every arrival needs.
#[derive(Debug, Clone)]
pub(super) struct ArrivalContext {
    pub(super) gate: Gate,
    pub(super) hub: mpsc::Sender<Event>,
    pub(super) tasks: TaskTracker,
    pub(super) connections: Arc<AtomicU64>,
    pub(super) newcomers: Arc<Newcomers>,
}

/// Takes newcomers until the endpoint is closed.
pub(super) async fn let_in(endpoint: quinn::Endpoint, context: ArrivalContext) {
    while let Some(incoming) = endpoint.accept().await {
        // quinn can't understand the proof of a link-local address: it forgets the zone. Only
        // neighbours could forge one.
        let neighbour =
            matches!(incoming.remote_address(), SocketAddr::V6(addr) if addr.scope_id() != 0);
        match context
            .gate
            .admit(neighbour || incoming.remote_address_validated())
        {
            Entry::Begin(place) => {
                context
                    .tasks
                    .spawn(shake_hands(incoming, place, context.clone()));
            }
            Entry::Retry => {
                context.newcomers.count(Fate::Asked);
                // Only an address that is already proved can't be asked again, and those are not.
                let _ = incoming.retry();
            }
            Entry::Wait(seat) => {
                context.tasks.spawn(wait(incoming, seat, context.clone()));
            }
            Entry::Refuse => refuse(incoming, &context),
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
        // A task of its own: it lives as long as the peer is here, and should not hold the memory
        // of a handshake.
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

/// Waits until a newcomer has proved its id.
async fn proven(incoming: Incoming) -> Option<(Connection, PeerId)> {
    let from = incoming.remote_address();
    match timeout(HANDSHAKE_LIMIT, incoming.into_future()).await {
        Ok(Ok(connection)) => match tls::peer_id(connection.peer_identity()) {
            Some(peer) => return Some((connection, peer)),
            None => end(&connection, close::PROTOCOL, "no certificate came"),
        },
        Ok(Err(error)) => tracing::debug!(%from, %error, "a handshake failed"),
        Err(_) => tracing::debug!(%from, "a handshake took too long"),
    }
    None
}

/// Serves one peer, from its registration to its end.
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
    peer::run(id, &connection, frames, stream, &outbox, &context).await;
    // An error means that the hub has ended, and with it all registrations.
    let _ended = context.hub.send(Event::Down(id)).await;
}

/// Waits for the first frame; what is not as it should be ends the connection.
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
        Err(_) => end(connection, close::PROTOCOL, "no Register came in time"),
    }
    None
}

fn other_version(theirs: u16) -> String {
    let ours = VERSION.0;
    format!(
        "this relay speaks version {ours} of the relay protocol, and you speak version {theirs}: update the older of the two"
    )
}

/// What those hear who come while the relay stops.
pub(super) const STOPPING: &str = "this relay is stopping: come back in a while, or use another";

/// Ends a connection, with a sentence for its user.
pub(super) fn end(connection: &Connection, code: u32, reason: &str) {
    tracing::debug!(from = %connection.remote_address(), code = close::name(code.into()), reason, "ending a connection");
    connection.close(VarInt::from_u32(code), reason.as_bytes());
}
