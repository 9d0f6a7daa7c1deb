//! Frames on a QUIC stream: a four-byte big-endian length, then the frame.
//!
//! What a frame means is decided by `hobnob_protocol`; here a frame is a run of bytes.

use bytes::{BufMut, Bytes, BytesMut};
use hobnob_protocol::frame::FRAME_MAX;
use quinn::{ConnectionError, ReadError, RecvStream, SendStream, WriteError};
use tokio_util::codec::{Decoder, LengthDelimitedCodec};

/// Most bytes that are read from QUIC at once.
const READ_BYTES: usize = 32 * 1024;

/// Frames up to this length are copied together; longer ones are passed on without a copy.
const COPY_BYTES_MAX: usize = 1024;

/// Why no further frame can be read.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The connection ended.
    #[error(transparent)]
    Lost(ConnectionError),
    /// The peer announced a frame beyond the limit.
    #[error("a frame of more than {FRAME_MAX} bytes")]
    TooLarge,
    /// The peer finished a stream that must stay open.
    #[error("a stream ended")]
    Ended,
    /// The peer finished a stream in the middle of a frame.
    #[error("a stream ended within a frame")]
    Truncated,
    /// The peer reset the stream.
    #[error(transparent)]
    Stream(ReadError),
}

/// Reads frames. Buffers at most one incomplete frame and the bytes that arrived with it.
#[derive(Debug)]
pub struct FrameReader {
    stream: RecvStream,
    frames: Frames,
}

impl FrameReader {
    /// Reads frames from this stream.
    pub fn new(stream: RecvStream) -> Self {
        Self {
            stream,
            frames: Frames::new(),
        }
    }

    /// Returns the next frame. Cancel-safe.
    pub async fn next(&mut self) -> Result<Bytes, ReceiveError> {
        loop {
            if let Some(frame) = self.frames.next()? {
                return Ok(frame);
            }
            match self.stream.read_chunk(READ_BYTES, true).await {
                Ok(Some(chunk)) => self.frames.buffer.extend_from_slice(&chunk.bytes),
                Ok(None) if self.frames.buffer.is_empty() => return Err(ReceiveError::Ended),
                Ok(None) => return Err(ReceiveError::Truncated),
                Err(ReadError::ConnectionLost(error)) => return Err(ReceiveError::Lost(error)),
                Err(
                    error @ (ReadError::Reset(_)
                    | ReadError::ClosedStream
                    | ReadError::IllegalOrderedRead
                    | ReadError::ZeroRttRejected),
                ) => return Err(ReceiveError::Stream(error)),
            }
        }
    }
}

/// Splits received bytes into frames.
#[derive(Debug)]
struct Frames {
    buffer: BytesMut,
    codec: LengthDelimitedCodec,
}

impl Frames {
    fn new() -> Self {
        let codec = LengthDelimitedCodec::builder()
            .max_frame_length(FRAME_MAX)
            .new_codec();
        Self {
            buffer: BytesMut::new(),
            codec,
        }
    }

    fn next(&mut self) -> Result<Option<Bytes>, ReceiveError> {
        // The codec fails for one reason only, and before it allocates memory for the frame.
        let decoded = self.codec.decode(&mut self.buffer);
        let frame = decoded.map_err(|_| ReceiveError::TooLarge)?;
        if frame.is_some() && self.buffer.is_empty() {
            // An idle peer occupies no buffer.
            self.buffer = BytesMut::new();
        }
        Ok(frame.map(BytesMut::freeze))
    }
}

/// Appends a frame with its length.
pub fn put_frame(buffer: &mut BytesMut, frame: &[u8]) {
    put_length(buffer, frame);
    buffer.extend_from_slice(frame);
}

fn put_length(buffer: &mut BytesMut, frame: &[u8]) {
    debug_assert!(!frame.is_empty() && frame.len() <= FRAME_MAX);
    buffer.put_u32(u32::try_from(frame.len()).expect("a frame has at most FRAME_MAX bytes"));
}

/// Frames that are written together.
#[derive(Debug, Default)]
pub struct FrameBatch {
    chunks: Vec<Bytes>,
    small: BytesMut,
    len: usize,
}

impl FrameBatch {
    /// Adds a frame.
    pub fn push(&mut self, frame: Bytes) {
        self.len += size_of::<u32>() + frame.len();
        if frame.len() <= COPY_BYTES_MAX {
            put_frame(&mut self.small, &frame);
        } else {
            put_length(&mut self.small, &frame);
            self.chunks.push(self.small.split().freeze());
            self.chunks.push(frame);
        }
    }

    /// Bytes of all frames with their lengths.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no frame was added.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Writes all frames. Waits for the peer's flow control.
    pub async fn write(self, stream: &mut SendStream) -> Result<(), WriteError> {
        stream.write_all_chunks(&mut self.into_chunks()).await
    }

    fn into_chunks(mut self) -> Vec<Bytes> {
        if !self.small.is_empty() {
            self.chunks.push(self.small.freeze());
        }
        self.chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_any_size_are_read_as_they_were_written() {
        let frames = [
            Bytes::from_static(b"ab"),
            Bytes::from(vec![7; COPY_BYTES_MAX + 1]),
            Bytes::from(vec![8; FRAME_MAX]),
            Bytes::from_static(b"c"),
        ];
        let mut batch = FrameBatch::default();
        for frame in &frames {
            batch.push(frame.clone());
        }
        let len = batch.len();
        let bytes = batch.into_chunks().concat();
        assert_eq!(bytes.len(), len);
        let mut reader = Frames::new();
        let mut read = Vec::new();
        // As the network delivers them: in pieces that respect no boundary.
        for piece in bytes.chunks(1000) {
            reader.buffer.extend_from_slice(piece);
            while let Some(frame) = reader.next().unwrap() {
                read.push(frame);
            }
        }
        assert_eq!(read, frames);
        assert_eq!(reader.buffer.capacity(), 0, "an idle peer holds no buffer");
    }

    #[test]
    fn the_length_is_four_bytes_with_the_highest_first() {
        let mut buffer = BytesMut::new();
        put_frame(&mut buffer, b"ab");
        put_frame(&mut buffer, b"c");
        assert_eq!(buffer[..], *b"\0\0\0\x02ab\0\0\0\x01c");
    }

    #[test]
    fn a_length_beyond_the_limit_is_an_error_before_the_frame_arrives() {
        let mut reader = Frames::new();
        let length = u32::try_from(FRAME_MAX + 1).unwrap();
        reader.buffer.put_u32(length);
        assert!(matches!(reader.next(), Err(ReceiveError::TooLarge)));
    }

    #[test]
    fn half_a_frame_is_none_yet() {
        let mut reader = Frames::new();
        reader.buffer.extend_from_slice(b"\0\0\0\x02a");
        assert!(reader.next().unwrap().is_none());
        reader.buffer.extend_from_slice(b"b");
        assert_eq!(reader.next().unwrap().unwrap(), b"ab"[..]);
    }
}
