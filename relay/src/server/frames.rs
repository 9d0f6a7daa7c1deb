//! Frames on a peer's control stream: a four-byte big-endian length, then kind and body.

use std::sync::{Mutex, PoisonError};

use bytes::{BufMut, Bytes, BytesMut};
use hobnob_protocol::frame::FRAME_MAX;
use hobnob_protocol::relay::ToRelay;
use quinn::{ConnectionError, ReadError, RecvStream};
use tokio::sync::Notify;
use tokio_util::codec::{Decoder, LengthDelimitedCodec};

/// Most that is taken from QUIC at once.
const READ_BYTES: usize = 16 * 1024;

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

/// Reads frames; holds at most one that is not complete, and what came with it.
#[derive(Debug)]
pub(super) struct FrameReader {
    stream: RecvStream,
    buffer: BytesMut,
    codec: LengthDelimitedCodec,
}

impl FrameReader {
    pub(super) fn new(stream: RecvStream) -> Self {
        let codec = LengthDelimitedCodec::builder()
            .max_frame_length(FRAME_MAX)
            .new_codec();
        Self {
            stream,
            buffer: BytesMut::new(),
            codec,
        }
    }

    /// The next frame. May be dropped at any await.
    pub(super) async fn next(&mut self) -> Result<ToRelay, NoFrame> {
        loop {
            // The codec fails for one reason only, and before it takes memory for the frame.
            let decoded = self.codec.decode(&mut self.buffer);
            let decoded = decoded
                .map_err(|_| NoFrame::Wrong(format!("a frame has more than {FRAME_MAX} bytes")))?;
            if let Some(bytes) = decoded {
                if self.buffer.is_empty() {
                    // An idle peer holds no buffer.
                    self.buffer = BytesMut::new();
                }
                return ToRelay::decode(&bytes).map_err(|error| NoFrame::Wrong(error.to_string()));
            }
            match self.stream.read_chunk(READ_BYTES, true).await {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk.bytes),
                Ok(None) => return Err(NoFrame::Wrong("the control stream ended".to_owned())),
                Err(ReadError::ConnectionLost(error)) => return Err(NoFrame::Lost(error)),
                Err(
                    error @ (ReadError::Reset(_)
                    | ReadError::ClosedStream
                    | ReadError::IllegalOrderedRead
                    | ReadError::ZeroRttRejected),
                ) => return Err(NoFrame::Wrong(error.to_string())),
            }
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
        let prefix = u32::try_from(frame.len()).map_err(|_| Full)?;
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() + frame.len() > OUT_BYTES_MAX {
            return Err(Full);
        }
        waiting.put_u32(prefix);
        waiting.extend_from_slice(frame);
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
