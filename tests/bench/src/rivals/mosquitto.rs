//! mosquitto with QoS 0, which stores nothing, and minimal clients of MQTT 3.1.1.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::ensure;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::server::{Server, free_address};

/// A broker, one publisher and several subscribers.
pub(crate) struct Mosquitto {
    _server: Server,
    publisher: TcpStream,
    counts: Vec<Arc<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    messages: AtomicUsize,
    more: Notify,
}

/// Maximum number of messages that the slowest subscriber may lag behind. With more, the sockets'
/// buffers would fill and QoS 0 would drop messages.
const AHEAD: usize = 500;

const TOPIC: &[u8] = b"lobby";

impl Mosquitto {
    pub(crate) async fn start(dir: &Path, listeners: usize) -> anyhow::Result<Self> {
        let address = free_address()?;
        let config = dir.join("mosquitto.conf");
        let port = address.port();
        let lines = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_queued_messages 0\nlog_type error\nuser root\n"
        );
        std::fs::write(&config, lines)?;
        let mut command = Command::new(program());
        command.arg("-c").arg(&config);
        let server = Server::start(&mut command, "mosquitto", dir.join("log"))?;
        let publisher = connect(server.listens(address).await?, "publisher").await?;
        let mut counts = Vec::new();
        for listener in 0..listeners {
            counts.push(subscribe(address, listener).await?);
        }
        Ok(Self {
            _server: server,
            publisher,
            counts,
        })
    }

    /// Publishes `count` messages and waits until all subscribers have received them.
    pub(crate) async fn publish(&mut self, count: usize, bytes: usize) -> anyhow::Result<()> {
        let before: Vec<usize> = self
            .counts
            .iter()
            .map(|counts| counts.messages.load(Ordering::Relaxed))
            .collect();
        let message = packet(0x30, &[&string(TOPIC)[..], &vec![b'x'; bytes]].concat());
        let mut sent = 0;
        while sent < count {
            let some = AHEAD.min(count - sent);
            self.publisher.write_all(&message.repeat(some)).await?;
            sent += some;
            // Half of a group may still be in flight when the next group is sent.
            let due = if sent == count {
                count
            } else {
                sent - some / 2
            };
            for (counts, before) in self.counts.iter().zip(&before) {
                counts.has(before + due).await;
            }
        }
        Ok(())
    }
}

impl Counts {
    async fn has(&self, count: usize) {
        while self.messages.load(Ordering::Relaxed) < count {
            self.more.notified().await;
        }
    }
}

/// Debian installs mosquitto in a folder that is only in root's PATH.
fn program() -> &'static str {
    let usual = "/usr/sbin/mosquitto";
    if Path::new(usual).exists() {
        usual
    } else {
        "mosquitto"
    }
}

async fn subscribe(address: SocketAddr, number: usize) -> anyhow::Result<Arc<Counts>> {
    let mut stream = connect(
        TcpStream::connect(address).await?,
        &format!("listener{number}"),
    )
    .await?;
    // Packet number 1, one topic, QoS 0.
    stream
        .write_all(&packet(0x82, &[&[0, 1][..], &string(TOPIC), &[0]].concat()))
        .await?;
    let mut from = BufReader::with_capacity(64 * 1024, stream);
    let mut body = Vec::new();
    ensure!(
        read(&mut from, &mut body).await? == 0x90,
        "mosquitto refused the subscription"
    );
    let counts = Arc::new(Counts::default());
    let counted = Arc::clone(&counts);
    // The task ends with the broker.
    tokio::spawn(async move {
        while let Ok(kind) = read(&mut from, &mut body).await {
            if kind == 0x30 {
                counted.messages.fetch_add(1, Ordering::Relaxed);
                counted.more.notify_one();
            }
        }
    });
    Ok(counts)
}

/// Sends CONNECT and waits for the broker's answer.
async fn connect(mut stream: TcpStream, name: &str) -> anyhow::Result<TcpStream> {
    stream.set_nodelay(true)?;
    // Version 4, a clean session, no keep-alive.
    let hello = [
        &string(b"MQTT")[..],
        &[4, 2, 0, 0],
        &string(name.as_bytes()),
    ]
    .concat();
    stream.write_all(&packet(0x10, &hello)).await?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await?;
    ensure!(
        answer == [0x20, 2, 0, 0],
        "mosquitto refused a client: {answer:?}"
    );
    Ok(stream)
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [
        &u16::try_from(bytes.len())
            .expect("the strings are short")
            .to_be_bytes()[..],
        bytes,
    ]
    .concat()
}

/// Encodes a packet: kind, length in groups of seven bits, body.
fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind];
    let mut left = body.len();
    loop {
        let low = u8::try_from(left & 0x7f).expect("seven bits");
        left >>= 7;
        packet.push(if left > 0 { low | 0x80 } else { low });
        if left == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

/// Reads one packet. Returns its kind.
async fn read(from: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> anyhow::Result<u8> {
    let kind = from.read_u8().await?;
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = from.read_u8().await?;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
        ensure!(
            shift < 28,
            "mosquitto sent a length of more than four bytes"
        );
    }
    body.resize(length, 0);
    from.read_exact(body).await?;
    Ok(kind)
}
