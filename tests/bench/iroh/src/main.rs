//! iroh's relay, and two iroh endpoints that reach each other only through it, for `scripts/bench
//! relay`.
//!
//! `relay` prints its URL and runs until its input ends. `pair URL` connects two endpoints and then
//! answers commands. The answer to `bulk BYTES` is the seconds until all bytes arrived. The answer
//! to `echo COUNT BYTES` is the median of the round trips in microseconds.

use std::time::Instant;

use anyhow::{Context, bail};
use iroh::endpoint::{Connection, RecvStream, SendStream, presets};
use iroh::{Endpoint, EndpointAddr, RelayMode, RelayUrl};
use iroh_relay::tls::CaTlsConfig;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines, Stdin, stdin};

const ALPN: &[u8] = b"bench";

/// Bytes per write, the same as in hobnob's part of the benchmark.
const PIECE: usize = 64 * 1024;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut lines = BufReader::new(stdin()).lines();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["relay"] => relay(&mut lines).await,
        ["pair", url] => pair(&mut lines, url.parse()?).await,
        _ => bail!("usage: hobnob-bench-iroh relay | pair URL"),
    }
}

async fn relay(lines: &mut Lines<BufReader<Stdin>>) -> anyhow::Result<()> {
    let server =
        iroh_relay::server::Server::spawn(iroh_relay::server::testing::server_config()).await?;
    println!(
        "https://{}",
        server.https_addr().context("the relay uses TLS")?
    );
    while lines.next_line().await?.is_some() {}
    Ok(())
}

async fn pair(lines: &mut Lines<BufReader<Stdin>>, url: RelayUrl) -> anyhow::Result<()> {
    let (ann, bob) = (endpoint(&url).await?, endpoint(&url).await?);
    let to = EndpointAddr::new(bob.id()).with_relay_url(url);
    let accepting = async {
        anyhow::Ok(
            bob.accept()
                .await
                .context("bob's endpoint is closed")?
                .await?,
        )
    };
    let (near, far) = tokio::join!(ann.connect(to, ALPN), accepting);
    let (near, far) = (near?, far?);
    tokio::spawn(answer(far));
    println!("ready");
    while let Some(line) = lines.next_line().await? {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["bulk", bytes] => println!("{}", bulk(&near, bytes.parse()?).await?),
            ["echo", count, bytes] => {
                println!("{}", echo(&near, count.parse()?, bytes.parse()?).await?)
            }
            _ => bail!("not a command: {line}"),
        }
    }
    Ok(())
}

/// An endpoint that can use no path except the relay.
async fn endpoint(url: &RelayUrl) -> anyhow::Result<Endpoint> {
    let endpoint = Endpoint::builder(presets::Minimal)
        .relay_mode(RelayMode::custom([url.clone()]))
        .ca_tls_config(CaTlsConfig::insecure_skip_verify())
        .clear_ip_transports()
        .alpns(vec![ALPN.to_vec()])
        .bind()
        .await?;
    endpoint.online().await;
    Ok(endpoint)
}

/// Answers each stream according to its first byte: with an echo of each message, or with one byte
/// after all bytes have arrived.
async fn answer(connection: Connection) -> anyhow::Result<()> {
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

async fn bulk(connection: &Connection, bytes: u64) -> anyhow::Result<f64> {
    let begun = Instant::now();
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

async fn echo(connection: &Connection, count: usize, bytes: u64) -> anyhow::Result<f64> {
    let (mut send, mut recv) = open(connection, b'e', bytes).await?;
    let mut message = vec![7; usize::try_from(bytes)?];
    let mut each = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        send.write_all(&message).await?;
        recv.read_exact(&mut message).await?;
        each.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    each.sort_by(f64::total_cmp);
    Ok(each[count / 2])
}
