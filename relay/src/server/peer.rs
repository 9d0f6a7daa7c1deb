//! The control connection of one registered peer: passes its frames to the hub, and the hub's
//! frames to it.
//!
//! The core limits how often a peer may act. When the hub is busy, its queue fills and the streams
//! of the peers wait.

use hobnob_protocol::relay::close;
use hobnob_transport::frames::FrameReader;
use quinn::{Connection, SendStream};
use tokio::sync::mpsc;

use super::close::end;
use super::event::Event;
use super::frames::{NoFrame, Outbox, next_frame};
use crate::core::ConnectionId;

/// Passes frames in both directions until the connection ends.
pub(super) async fn run(
    id: ConnectionId,
    connection: &Connection,
    frames: FrameReader,
    stream: SendStream,
    outbox: &Outbox,
    hub: &mpsc::Sender<Event>,
) {
    tokio::select! {
        wrong = read(id, frames, hub) => match wrong {
            Some((code, reason)) => end(connection, code, &reason),
            None => tracing::debug!(connection = id.0, "a peer's connection ended"),
        },
        () = write(stream, outbox) => end(connection, close::PROTOCOL, "the control stream must stay open"),
    }
}

/// Reads until the connection ends, or until the peer violates the protocol. Then returns the close
/// code and the sentence for it.
async fn read(
    id: ConnectionId,
    mut frames: FrameReader,
    hub: &mpsc::Sender<Event>,
) -> Option<(u32, String)> {
    loop {
        let frame = match next_frame(&mut frames).await {
            Ok(frame) => frame,
            Err(NoFrame::Lost(_)) => return None,
            Err(NoFrame::Wrong(what)) => return Some((close::PROTOCOL, what)),
        };
        if hub.send(Event::Frame(id, frame)).await.is_err() {
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
