//! mosquitto with QoS 0, which keeps nothing, and clients that speak just enough of MQTT 3.1.1.

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

/// A broker of its own, one who speaks and several who listen.
pub(crate) struct Mosquitto {
    _server: Server,
    speaker: TcpStream,
    heard: Vec<Arc<Heard>>,
}

#[derive(Debug, Default)]
struct Heard {
    messages: AtomicUsize,
    more: Notify,
}

/// Messages that the slowest listener may be behind: QoS 0 would drop some beyond what sockets
/// hold.
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
        let mut command = Command::new(found());
        command.arg("-c").arg(&config);
        let server = Server::start(&mut command, "mosquitto", dir.join("log"))?;
        let speaker = greet(server.listens(address).await?, "speaker").await?;
        let mut heard = Vec::new();
        for listener in 0..listeners {
            heard.push(listen(address, listener).await?);
        }
        Ok(Self {
            _server: server,
            speaker,
            heard,
        })
    }

    /// Says so many messages to all and waits until all have them.
    pub(crate) async fn say(&mut self, count: usize, bytes: usize) -> anyhow::Result<()> {
        let before: Vec<usize> = self
            .heard
            .iter()
            .map(|heard| heard.messages.load(Ordering::Relaxed))
            .collect();
        let message = packet(0x30, &[&string(TOPIC)[..], &vec![b'x'; bytes]].concat());
        let mut said = 0;
        while said < count {
            let some = AHEAD.min(count - said);
            self.speaker.write_all(&message.repeat(some)).await?;
            said += some;
            // Half of what was said may still be on its way when more is said.
            let due = if said == count {
                count
            } else {
                said - some / 2
            };
            for (heard, before) in self.heard.iter().zip(&before) {
                heard.has(before + due).await;
            }
        }
        Ok(())
    }
}

impl Heard {
    async fn has(&self, count: usize) {
        while self.messages.load(Ordering::Relaxed) < count {
            self.more.notified().await;
        }
    }
}

/// Debian keeps it where only root's path leads.
fn found() -> &'static str {
    let usual = "/usr/sbin/mosquitto";
    if Path::new(usual).exists() {
        usual
    } else {
        "mosquitto"
    }
}

async fn listen(address: SocketAddr, number: usize) -> anyhow::Result<Arc<Heard>> {
    let mut stream = greet(
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
    let heard = Arc::new(Heard::default());
    let hearing = Arc::clone(&heard);
    // Ends with the broker.
    tokio::spawn(async move {
        while let Ok(kind) = read(&mut from, &mut body).await {
            if kind == 0x30 {
                hearing.messages.fetch_add(1, Ordering::Relaxed);
                hearing.more.notify_one();
            }
        }
    });
    Ok(heard)
}

/// Says CONNECT, and waits for the broker's answer.
async fn greet(mut stream: TcpStream, name: &str) -> anyhow::Result<TcpStream> {
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
            .expect("short words")
            .to_be_bytes()[..],
        bytes,
    ]
    .concat()
}

/// Kind, length in groups of seven bits, body.
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

/// Reads one packet; returns its kind.
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
