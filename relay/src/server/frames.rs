//! Frames on a peer's control stream.

use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use hobnob_protocol::relay::ToRelay;
use hobnob_transport::frames::{FrameError, FrameReader, put_frame};
use quinn::ConnectionError;
use tokio::sync::Notify;

/// Bytes that wait for one peer to read them. A peer that lets more pile up does not read, and is
/// sent away.
pub(super) const OUT_BYTES_MAX: usize = 512 * 1024;

/// Why no more frames come.
#[derive(Debug)]
pub(super) enum NoFrame {
    /// The connection has ended.
    Lost(ConnectionError),
    /// The peer broke the protocol, in this way.
    Wrong(String),
}

/// Reads the peer's next frame. Cancel-safe.
pub(super) async fn next_frame(frames: &mut FrameReader) -> Result<ToRelay, NoFrame> {
    let frame = frames.next().await?;
    ToRelay::decode(&frame).map_err(|error| NoFrame::Wrong(error.to_string()))
}

impl From<FrameError> for NoFrame {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Lost(error) => Self::Lost(error),
            error @ (FrameError::TooLarge
            | FrameError::Ended
            | FrameError::Truncated
            | FrameError::Stream(_)) => Self::Wrong(error.to_string()),
        }
    }
}

/// What the relay has to say to one peer, between the hub, which never waits, and the task that
/// writes.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: Mutex<BytesMut>,
    news: Notify,
}

/// More than [`OUT_BYTES_MAX`] would wait.
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
        self.news.notify_one();
        Ok(())
    }

    /// All that waits, as soon as anything does.
    pub(super) async fn next(&self) -> Bytes {
        loop {
            let waiting =
                std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            if !waiting.is_empty() {
                return waiting.freeze();
            }
            self.news.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_protocol::frame::FRAME_MAX;

    #[tokio::test]
    async fn what_is_pushed_comes_out_in_order_with_its_lengths() {
        let outbox = Outbox::default();
        outbox.push(b"ab").unwrap();
        outbox.push(b"c").unwrap();
        assert_eq!(outbox.next().await[..], *b"\0\0\0\x02ab\0\0\0\x01c");
    }

    #[tokio::test]
    async fn a_full_outbox_takes_no_more_until_it_is_read() {
        let outbox = Outbox::default();
        let frame = vec![7; FRAME_MAX];
        let taken = (0..).take_while(|_| outbox.push(&frame).is_ok()).count();
        assert_eq!(taken, OUT_BYTES_MAX / FRAME_MAX - 1);
        assert_eq!(outbox.next().await.len(), taken * (FRAME_MAX + 4));
        assert_eq!(outbox.push(&frame), Ok(()));
    }
}
