//! Newcomers: from the first datagram to the registration.
//!
//! A newcomer occupies a place in the gate until it has registered, so the gate bounds all unproven
//! connections. After the handshake the hub decides whether the newcomer is admitted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use hobnob_limits::Network;
use hobnob_mailbox::Mailboxes;
use hobnob_protocol::DeviceId;
use hobnob_protocol::relay::{FromRelay, Register, ToRelay, VERSION, close};
use hobnob_transport::frames::{FrameReader, put_frame};
use hobnob_transport::gate::{Admission, Gate, GateLimits, Place, Waiting};
use hobnob_transport::tls;
use quinn::{Connection, Incoming, SendStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::close::{STOPPING, end};
use super::event::{Admitted, Event, Registration};
use super::frames::{NoFrame, Outbox, next_frame};
use super::newcomers::{Fate, Newcomers};
use super::peer;
use crate::core::ConnectionId;
use crate::fleet::CurrentList;
use crate::mailbox;
use crate::plane::PlaneHandle;

/// Maximum newcomers that have a place in the gate: their handshake or registration is in progress.
pub(super) const HANDSHAKES_MAX: usize = 256;

/// Maximum newcomers with a validated address that wait for a place. Each occupies about 4 KiB with
/// its first datagrams. The limit is the number of peers that may reconnect at once, because a
/// refused one must start again behind all others.
pub(super) const WAITING_MAX: usize = 10_000;

/// Every newcomer must validate its address. So nobody can use the relay to send more to a third
/// party than they sent themselves.
pub(super) const GATE_LIMITS: GateLimits = GateLimits {
    places: HANDSHAKES_MAX,
    per_network: usize::MAX,
    unvalidated: 0,
    seats: WAITING_MAX,
};

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
    pub(super) gate: Gate<Network>,
    pub(super) hub: mpsc::Sender<Event>,
    pub(super) tasks: TaskTracker,
    pub(super) connections: Arc<AtomicU64>,
    pub(super) newcomers: Arc<Newcomers>,
    /// Knows the clients that use streams.
    pub(super) plane: PlaneHandle,
    /// The mailboxes, if the relay has any.
    pub(super) mailboxes: Option<Mailboxes>,
    /// The list of the fleet, if the relay is a member of one.
    pub(super) fleet: Option<CurrentList>,
}

/// Accepts newcomers until the endpoint is closed.
pub(super) async fn accept_all(endpoint: quinn::Endpoint, context: ArrivalContext) {
    while let Some(incoming) = endpoint.accept().await {
        // quinn forgets the zone of a link-local address, so it cannot validate one. Only
        // neighbours could forge such an address.
        let neighbour =
            matches!(incoming.remote_address(), SocketAddr::V6(addr) if addr.scope_id() != 0);
        let stream = context.plane.stream_client(incoming.remote_address());
        let from = stream
            .as_ref()
            .map_or(incoming.remote_address(), |client| client.addr);
        let network = Network::of(from.ip());
        // Nobody can forge the address of a stream: TCP has validated it.
        let validated = neighbour || stream.is_some() || incoming.remote_address_validated();
        match context.gate.admit(network, validated) {
            Admission::Begin(place) => {
                let arrival = arrive(incoming, place, context.clone());
                context.tasks.spawn(arrival);
            }
            Admission::Retry => {
                context.newcomers.count(Fate::Asked);
                incoming
                    .retry()
                    .expect("the gate asks only addresses that are not validated");
            }
            Admission::Wait(seat) => {
                context.tasks.spawn(wait(incoming, seat, context.clone()));
            }
            Admission::Refuse => refuse(incoming, &context),
        }
    }
}

async fn wait(incoming: Incoming, seat: Waiting<Network>, context: ArrivalContext) {
    match timeout(WAIT_LIMIT, seat.place()).await {
        Ok(Some(place)) => arrive(incoming, place, context).await,
        Ok(None) | Err(_) => refuse(incoming, &context),
    }
}

fn refuse(incoming: Incoming, context: &ArrivalContext) {
    context.newcomers.count(Fate::Refused);
    incoming.refuse();
}

/// Waits until a newcomer has registered, or has lost its place to one from another network.
async fn arrive(incoming: Incoming, mut place: Place<Network>, context: ArrivalContext) {
    context.newcomers.count(Fate::Begun);
    let arrived = tokio::select! {
        arrived = shake_hands(incoming, context.fleet.as_ref()) => arrived,
        () = place.replaced() => None,
    };
    let Some(arrived) = arrived else {
        return context.newcomers.count(Fate::Failed);
    };
    // A separate task: it lives as long as the connection, and should not keep the memory of a
    // handshake.
    drop(context.tasks.spawn(serve(arrived, place, context.clone())));
}

/// A newcomer that sent a valid Register.
struct Arrived {
    connection: Connection,
    from: SocketAddr,
    peer: DeviceId,
    register: Register,
    frames: FrameReader,
    stream: SendStream,
}

async fn shake_hands(incoming: Incoming, fleet: Option<&CurrentList>) -> Option<Arrived> {
    let from = incoming.remote_address();
    let (connection, peer) = proven(incoming).await?;
    let (register, frames, stream) = registration(&connection, fleet).await?;
    Some(Arrived {
        connection,
        from,
        peer,
        register,
        frames,
        stream,
    })
}

/// Waits until a newcomer has proved its identity.
async fn proven(incoming: Incoming) -> Option<(Connection, DeviceId)> {
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
async fn serve(arrived: Arrived, place: Place<Network>, context: ArrivalContext) {
    let Arrived {
        connection,
        frames,
        stream: control,
        ..
    } = arrived;
    let id = ConnectionId(context.connections.fetch_add(1, Ordering::Relaxed));
    let outbox = Arc::new(Outbox::default());
    let stream = context.plane.stream_client(arrived.from);
    let (admitted, registered) = oneshot::channel();
    let registration = Registration {
        id,
        connection: connection.clone(),
        from: arrived.from,
        peer: arrived.peer,
        register: arrived.register,
        stream: stream.clone(),
        outbox: outbox.clone(),
        admitted,
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
    tokio::select! {
        () = peer::run(id, &connection, frames, control, &outbox, &context.hub) => {}
        () = serve_mailbox(&connection, arrived.peer, registered, context.mailboxes.as_ref()) => {}
    }
    if let Some(client) = stream {
        client.ended.cancel();
    }
    // If the hub has ended, nothing needs this event.
    let _ended = context.hub.send(Event::Disconnected(id)).await;
}

/// Serves the streams about mailboxes. Returns if the peer violates their protocol. A guest has no
/// mailbox.
async fn serve_mailbox(
    connection: &Connection,
    peer: DeviceId,
    registered: oneshot::Receiver<Admitted>,
    mailboxes: Option<&Mailboxes>,
) {
    // Without an answer, the relay has refused the peer.
    let may = registered.await.is_ok_and(|admitted| !admitted.guest);
    if may
        && let Some(mailboxes) = mailboxes
        && let Some(wrong) = mailbox::serve(connection, peer, mailboxes).await
    {
        return end(connection, close::PROTOCOL, &wrong);
    }
    std::future::pending().await
}

/// Waits for the first frame, or the second one if the first asks for the list of the fleet. Anything
/// but a valid Register then ends the connection.
async fn registration(
    connection: &Connection,
    fleet: Option<&CurrentList>,
) -> Option<(Register, FrameReader, SendStream)> {
    let first = async {
        let (mut stream, receive) = connection.accept_bi().await.map_err(NoFrame::Lost)?;
        let mut frames = FrameReader::new(receive);
        let mut frame = next_frame(&mut frames).await?;
        // A node may ask first, and once, whether the relay is a member of the fleet that it looks for.
        if let ToRelay::FleetList(number) = frame {
            let list = fleet.and_then(|fleet| fleet.above(number));
            let mut answer = BytesMut::new();
            put_frame(&mut answer, &FromRelay::FleetList(list).encode());
            // If the stream has ended, so has the next frame.
            let _ended = stream.write_chunk(answer.freeze()).await;
            frame = next_frame(&mut frames).await?;
        }
        Ok((frame, frames, stream))
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
