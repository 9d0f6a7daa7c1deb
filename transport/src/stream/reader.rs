//! Reads datagrams from a byte stream.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::message::{Decoder, Side, Violation};

/// Most bytes read at once: one TLS record.
const READ_BYTES: usize = 16 * 1024;

/// Why no further datagram can be read.
#[derive(Debug, thiserror::Error)]
pub enum StreamEnd {
    /// The other end closed the connection.
    #[error("the other end closed the connection")]
    Closed,
    /// The other end violated the protocol.
    #[error("the other end sent {0}")]
    Violation(#[from] Violation),
    /// The connection broke.
    #[error(transparent)]
    Broken(#[from] io::Error),
}

/// Reads the messages of the other end.
#[derive(Debug)]
pub struct DatagramReader<R> {
    io: R,
    decoder: Decoder,
    buffer: Vec<u8>,
    received: u64,
}

impl<R: AsyncRead + Unpin> DatagramReader<R> {
    /// Reads from `io`, whose first bytes were read with the handshake already.
    pub fn new(io: R, side: Side, first: &[u8]) -> Result<Self, Violation> {
        let mut decoder = Decoder::new(side);
        decoder.decode(first)?;
        Ok(Self {
            io,
            decoder,
            buffer: Vec::new(),
            received: first.len() as u64,
        })
    }

    /// Bytes received so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Waits until at least one whole datagram or a ping has arrived. Returns the datagrams, with
    /// their lengths in front, and the content of the ping. Cancel-safe.
    pub async fn next(&mut self, run: &mut Vec<u8>) -> Result<Option<Vec<u8>>, StreamEnd> {
        loop {
            let ping = self.decoder.take_ping();
            if ping.is_some() || !self.decoder.run().is_empty() {
                run.extend_from_slice(self.decoder.run());
                self.decoder.clear();
                return Ok(ping);
            }
            if self.decoder.is_closed() {
                return Err(StreamEnd::Closed);
            }
            self.buffer.clear();
            self.buffer.reserve(READ_BYTES);
            let read = (&mut self.io)
                .take(READ_BYTES as u64)
                .read_buf(&mut self.buffer)
                .await?;
            if read == 0 {
                return Err(StreamEnd::Closed);
            }
            self.received += read as u64;
            self.decoder.decode(&self.buffer)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::message::encode;
    use crate::stream::{datagrams, push_datagram};
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn datagrams_are_read_until_the_other_end_closes() {
        let (mut theirs, ours) = tokio::io::duplex(64);
        let (mut run, mut bytes) = (Vec::new(), Vec::new());
        push_datagram(&mut run, b"ann");
        push_datagram(&mut run, &[1; 900]);
        encode(&run, Some([9; 4]), &mut bytes);
        let writing = async move {
            theirs.write_all(&bytes[5..]).await.unwrap();
            (theirs, bytes)
        };
        // The first bytes came with the handshake.
        let first = {
            let mut copy = Vec::new();
            encode(&run, Some([9; 4]), &mut copy);
            copy[..5].to_vec()
        };
        let reading = async move {
            let mut reader = DatagramReader::new(ours, Side::Server, &first).unwrap();
            let mut got = Vec::new();
            while datagrams(&got).count() < 2 {
                assert_eq!(reader.next(&mut got).await.unwrap(), None);
            }
            (reader, got)
        };
        let ((theirs, bytes), (mut reader, got)) = tokio::join!(writing, reading);
        assert_eq!(got, run);
        assert_eq!(reader.received(), bytes.len() as u64);
        drop(theirs);
        let end = reader.next(&mut Vec::new()).await.unwrap_err();
        assert!(matches!(end, StreamEnd::Closed), "{end}");
    }
}
