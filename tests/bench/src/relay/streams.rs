//! Bulk transfer and round trips over a connection. The program in `tests/bench/iroh` does exactly
//! the same.

use anyhow::Context;
use hobnob_tests::lab::Stopwatch;
use quinn::{Connection, RecvStream, SendStream};
use tokio::io::AsyncReadExt;

/// Bytes per write.
const PIECE: usize = 64 * 1024;

/// Answers each stream according to its first byte: with an echo of each message, or with one byte
/// after all bytes have arrived.
pub(super) async fn answer(connection: Connection) -> anyhow::Result<()> {
    loop {
        let (mut send, mut recv) = connection.accept_bi().await?;
        let mut head = [0; 9];
        recv.read_exact(&mut head).await?;
        let size = u64::from_be_bytes(head[1..].try_into()?);
        if head[0] == b'e' {
            tokio::spawn(echo_back(send, recv, usize::try_from(size)?));
        } else {
            let mut piece = vec![0; PIECE];
            let mut left = size;
            while left > 0 {
                left -= recv
                    .read(&mut piece)
                    .await?
                    .context("the stream ended early")? as u64;
            }
            send.write_all(&[1]).await?;
            send.finish()?;
        }
    }
}

async fn echo_back(mut send: SendStream, mut recv: RecvStream, bytes: usize) -> anyhow::Result<()> {
    let mut message = vec![0; bytes];
    loop {
        recv.read_exact(&mut message).await?;
        send.write_all(&message).await?;
    }
}

async fn open(
    connection: &Connection,
    what: u8,
    size: u64,
) -> anyhow::Result<(SendStream, RecvStream)> {
    let (mut send, recv) = connection.open_bi().await?;
    send.write_all(&[&[what][..], &size.to_be_bytes()].concat())
        .await?;
    Ok((send, recv))
}

/// Sends this many bytes. Returns the seconds until the receiver had them.
pub(super) async fn bulk(connection: &Connection, bytes: u64) -> anyhow::Result<f64> {
    let begun = Stopwatch::start();
    let (mut send, mut recv) = open(connection, b'b', bytes).await?;
    let piece = vec![7; PIECE];
    let mut left = bytes;
    while left > 0 {
        let some = left.min(PIECE as u64);
        send.write_all(&piece[..usize::try_from(some)?]).await?;
        left -= some;
    }
    recv.read_u8().await?;
    Ok(begun.elapsed().as_secs_f64())
}

/// Makes `count` round trips. Returns the median in microseconds.
pub(super) async fn echo(connection: &Connection, count: usize, bytes: u64) -> anyhow::Result<f64> {
    let (mut send, mut recv) = open(connection, b'e', bytes).await?;
    let mut message = vec![7; usize::try_from(bytes)?];
    crate::benches::median_us(count, async || {
        send.write_all(&message).await?;
        recv.read_exact(&mut message).await?;
        Ok(())
    })
    .await
}
