//! One registered peer's control connection: its frames go to the hub, the hub's go to it.
//!
//! How fast a peer may ask is the core's to say. When the hub has much to do, its queue fills, and
//! peers' streams wait.

use hobnob_protocol::relay::close;
use hobnob_transport::frames::FrameReader;
use quinn::{Connection, SendStream};

use super::arrivals::{ArrivalContext, end};
use super::frames::{NoFrame, Outbox, next_frame};
use super::hub::Event;
use crate::core::ConnectionId;

/// Carries frames both ways until the connection ends.
pub(super) async fn run(
    id: ConnectionId,
    connection: &Connection,
    frames: FrameReader,
    stream: SendStream,
    outbox: &Outbox,
    context: &ArrivalContext,
) {
    tokio::select! {
        wrong = read(id, frames, context) => match wrong {
            Some((code, reason)) => end(connection, code, &reason),
            None => tracing::debug!(connection = id.0, "a peer's connection ended"),
        },
        () = write(stream, outbox) => end(connection, close::PROTOCOL, "the control stream must stay open"),
    }
}

/// Reads until the connection ends, or the peer does what it may not: then says what.
async fn read(
    id: ConnectionId,
    mut frames: FrameReader,
    context: &ArrivalContext,
) -> Option<(u32, String)> {
    loop {
        let frame = match next_frame(&mut frames).await {
            Ok(frame) => frame,
            Err(NoFrame::Lost(_)) => return None,
            Err(NoFrame::Wrong(what)) => return Some((close::PROTOCOL, what)),
        };
        if context.hub.send(Event::Frame(id, frame)).await.is_err() {
            return None;
        }
    }
}

/// Writes until the stream or the connection ends.
async fn write(mut stream: SendStream, outbox: &Outbox) {
    loop {
        let bytes = outbox.next().await;
        if stream.write_chunk(bytes).await.is_err() {
            return;
        }
    }
}
