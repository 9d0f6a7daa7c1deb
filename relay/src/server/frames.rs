//! Frames on a peer's control stream: reading them, and the queue of those to write.

use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use hobnob_protocol::relay::ToRelay;
use hobnob_transport::frames::{FrameReader, ReceiveError, put_frame};
use quinn::ConnectionError;
use tokio::sync::Notify;

/// Maximum bytes that wait for one peer to read them. The connection of a peer that reads too
/// slowly ends.
pub(super) const OUT_BYTES_MAX: usize = 512 * 1024;

/// Why no further frame can be read.
#[derive(Debug)]
pub(super) enum NoFrame {
    /// The connection has ended.
    Lost(ConnectionError),
    /// The peer violated the protocol. The text says how.
    Wrong(String),
}

/// Reads the peer's next frame. Cancel-safe.
pub(super) async fn next_frame(frames: &mut FrameReader) -> Result<ToRelay, NoFrame> {
    let frame = frames.next().await?;
    ToRelay::decode(&frame).map_err(|error| NoFrame::Wrong(error.to_string()))
}

impl From<ReceiveError> for NoFrame {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Lost(error) => Self::Lost(error),
            error @ (ReceiveError::TooLarge
            | ReceiveError::Ended
            | ReceiveError::Truncated
            | ReceiveError::Stream(_)) => Self::Wrong(error.to_string()),
        }
    }
}

/// Frames for one peer, between the hub, which never waits, and the task that writes them.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: Mutex<BytesMut>,
    pushed: Notify,
}

/// The frame does not fit: more than [`OUT_BYTES_MAX`] bytes would wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Outbox {
    /// Adds a frame.
    pub(super) fn push(&self, frame: &[u8]) -> Result<(), Full> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() + frame.len() > OUT_BYTES_MAX {
            return Err(Full);
        }
        put_frame(&mut waiting, frame);
        drop(waiting);
        self.pushed.notify_one();
        Ok(())
    }

    /// Waits until there are frames, and takes all of them.
    pub(super) async fn next(&self) -> Bytes {
        loop {
            let waiting =
                std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            if !waiting.is_empty() {
                return waiting.freeze();
            }
            self.pushed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_protocol::frame::FRAME_MAX;

    #[tokio::test]
    async fn frames_leave_in_order_with_their_lengths() {
        let outbox = Outbox::default();
        outbox.push(b"ab").unwrap();
        outbox.push(b"c").unwrap();
        assert_eq!(outbox.next().await[..], *b"\0\0\0\x02ab\0\0\0\x01c");
    }

    #[tokio::test]
    async fn a_full_outbox_accepts_no_frame_until_it_is_read() {
        let outbox = Outbox::default();
        let frame = vec![7; FRAME_MAX];
        let taken = (0..).take_while(|_| outbox.push(&frame).is_ok()).count();
        assert_eq!(taken, OUT_BYTES_MAX / FRAME_MAX - 1);
        assert_eq!(outbox.next().await.len(), taken * (FRAME_MAX + 4));
        assert_eq!(outbox.push(&frame), Ok(()));
    }
}
