//! Writes a queue of datagrams to a byte stream.

use std::io;

use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::message::{Side, encode, encode_pong};
use super::queue::{DatagramQueue, Taken};
use super::{DATAGRAM_MAX, LENGTH_BYTES};

/// Most payload bytes of one message that this end sends. A message with its header fits into one
/// TLS record.
const MESSAGE_BYTES: usize = 16 * 1024 - 64;

/// Writes what the queue receives, several datagrams per message, until the stream breaks.
/// `random` draws the masks of a client.
pub async fn write_all<W: AsyncWrite + Unpin>(
    io: &mut W,
    side: Side,
    queue: &DatagramQueue,
    mut random: impl FnMut() -> [u8; 4],
) -> io::Result<()> {
    let (mut taken, mut bytes) = (Taken::default(), Vec::new());
    loop {
        queue.take(&mut taken).await;
        bytes.clear();
        let mut mask = || (side == Side::Client).then(&mut random);
        if let Some(pong) = &taken.pong {
            encode_pong(pong, mask(), &mut bytes);
        }
        let mut rest = &taken.run[..];
        while !rest.is_empty() {
            let (message, later) = rest.split_at(whole(rest));
            encode(message, mask(), &mut bytes);
            io.write_all(&bytes).await?;
            bytes.clear();
            rest = later;
        }
        io.write_all(&bytes).await?;
        io.flush().await?;
        bytes.shrink_to(4 * 1024);
    }
}

/// The length of the datagrams at the start of a run that fit into one message.
fn whole(run: &[u8]) -> usize {
    if run.len() <= MESSAGE_BYTES {
        return run.len();
    }
    let mut end = 0;
    while let Some(length) = run[end..].first_chunk::<LENGTH_BYTES>() {
        let next = end + LENGTH_BYTES + usize::from(u16::from_be_bytes(*length));
        if next > MESSAGE_BYTES {
            break;
        }
        end = next;
    }
    debug_assert!(end > MESSAGE_BYTES - LENGTH_BYTES - DATAGRAM_MAX);
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::datagrams;
    use crate::stream::reader::DatagramReader;
    use quinn::udp::Transmit;

    #[tokio::test]
    async fn what_is_queued_arrives_at_the_other_end_in_order() {
        let (mut ours, theirs) = tokio::io::duplex(1024);
        let queue = DatagramQueue::default();
        let sent: Vec<Vec<u8>> = (0_u8..150)
            .map(|n| vec![n; 1 + 9 * usize::from(n)])
            .collect();
        for contents in &sent {
            queue.push(&Transmit {
                destination: "[::1]:9".parse().unwrap(),
                ecn: None,
                contents,
                segment_size: None,
                src_ip: None,
            });
        }
        queue.push_pong(b"here".to_vec());
        let reading = async {
            let mut reader = DatagramReader::new(theirs, Side::Server, &[]).unwrap();
            let mut got = Vec::new();
            while datagrams(&got).count() < sent.len() {
                reader.next(&mut got).await.unwrap();
            }
            got
        };
        let got = tokio::select! {
            got = reading => got,
            end = write_all(&mut ours, Side::Client, &queue, || [3, 1, 4, 1]) => panic!("{end:?}"),
        };
        assert!(datagrams(&got).eq(sent.iter().map(Vec::as_slice)));
    }
}
