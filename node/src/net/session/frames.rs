//! Frames on a QUIC stream: a four-byte big-endian length, then kind and body.

use bytes::{BufMut, Bytes, BytesMut};
use hobnob_protocol::frame::FRAME_MAX;
use hobnob_protocol::{Frame, close};
use quinn::{Connection, ReadError, RecvStream, SendStream, WriteError};
use tokio_util::codec::{Decoder, LengthDelimitedCodec};

use super::ended::Stop;

/// Most that is taken from QUIC at once.
const READ_BYTES: usize = 32 * 1024;

/// Frames up to this length are copied together; longer ones are handed over as they are.
const COPY_BYTES_MAX: usize = 1024;

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

    /// The next frame; or closes the connection, if what comes is none. May be dropped at any
    /// await.
    pub(super) async fn next(&mut self, connection: &Connection) -> Result<Frame, Stop> {
        let fault = |code, what| Err(Stop::fault(connection, code, what));
        loop {
            // The codec fails for one reason only, and before it takes memory for the frame.
            let Ok(decoded) = self.codec.decode(&mut self.buffer) else {
                return fault(
                    close::FRAME_TOO_LARGE,
                    format!("a frame of more than {FRAME_MAX} bytes"),
                );
            };
            if let Some(bytes) = decoded {
                return Frame::decode(&bytes.freeze())
                    .or_else(|error| fault(close::PROTOCOL, error.to_string()));
            }
            match self.stream.read_chunk(READ_BYTES, true).await {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk.bytes),
                Ok(None) if self.buffer.is_empty() => {
                    return fault(close::PROTOCOL, "a stream ended".to_owned());
                }
                Ok(None) => {
                    return fault(close::PROTOCOL, "a stream ended within a frame".to_owned());
                }
                Err(ReadError::ConnectionLost(error)) => return Err(Stop::Lost(error)),
                Err(
                    error @ (ReadError::Reset(_)
                    | ReadError::ClosedStream
                    | ReadError::IllegalOrderedRead),
                ) => {
                    return fault(close::PROTOCOL, error.to_string());
                }
                Err(error @ ReadError::ZeroRttRejected) => {
                    return fault(close::PROTOCOL, error.to_string());
                }
            }
        }
    }
}

/// Frames that are written together.
#[derive(Debug, Default)]
pub(super) struct Packet {
    chunks: Vec<Bytes>,
    small: BytesMut,
    len: usize,
}

impl Packet {
    pub(super) fn push(&mut self, frame: Bytes) {
        debug_assert!(!frame.is_empty() && frame.len() <= FRAME_MAX);
        let prefix = u32::try_from(frame.len()).expect("a frame is at most FRAME_MAX bytes long");
        self.small.put_u32(prefix);
        self.len += 4 + frame.len();
        if frame.len() <= COPY_BYTES_MAX {
            self.small.extend_from_slice(&frame);
        } else {
            self.chunks.push(self.small.split().freeze());
            self.chunks.push(frame);
        }
    }

    /// Bytes with their prefixes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Hands all to QUIC, as fast as the peer lets it.
    pub(super) async fn write(
        mut self,
        stream: &mut SendStream,
        connection: &Connection,
    ) -> Result<(), Stop> {
        self.chunks.push(self.small.freeze());
        stream
            .write_all_chunks(&mut self.chunks)
            .await
            .map_err(|error| match error {
                WriteError::ConnectionLost(error) => Stop::Lost(error),
                WriteError::Stopped(_) | WriteError::ClosedStream | WriteError::ZeroRttRejected => {
                    Stop::fault(
                        connection,
                        close::PROTOCOL,
                        format!("a stream that must stay open ended: {error}"),
                    )
                }
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_lengths_and_frames_in_order_whatever_their_size() {
        let frames = [
            Bytes::from_static(b"ab"),
            Bytes::from(vec![7; COPY_BYTES_MAX + 1]),
            Bytes::from_static(b"c"),
        ];
        let mut packet = Packet::default();
        let mut expected = Vec::new();
        for frame in &frames {
            packet.push(frame.clone());
            expected.extend_from_slice(&u32::try_from(frame.len()).unwrap().to_be_bytes());
            expected.extend_from_slice(frame);
        }
        assert_eq!(packet.len(), expected.len());
        packet.chunks.push(packet.small.freeze());
        assert_eq!(packet.chunks.concat(), expected);
    }
}
