//! nats-server with JetStream and its file store, and a minimal client.
//!
//! A message counts when the server has acknowledged it and delivered it to a consumer, and the
//! consumer has acknowledged it. The server syncs its files to disk only every two minutes. A power
//! failure loses up to two minutes of messages there, and none in hobnob.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Semaphore;

use super::server::Server;

/// A server on its own port.
pub(crate) struct JetStream {
    _server: Server,
    address: String,
}

/// One subject, stored in one stream, with one consumer.
pub(crate) struct Subject {
    name: &'static str,
    author: Client,
    consumer: Client,
}

/// How often a consumer acknowledges.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Acks {
    /// Each message, which is the usual setting.
    Each,
    /// Every hundredth message, which acknowledges all before it.
    Hundredth,
}

/// Maximum number of messages without an acknowledgement of the server or of the consumer.
const IN_FLIGHT: usize = 8192;

impl JetStream {
    pub(crate) async fn start(dir: &Path) -> anyhow::Result<Self> {
        // These clients do not answer pings, and they are idle during hobnob's rounds. So the
        // server must not send pings.
        let config = dir.join("nats.conf");
        std::fs::write(&config, "ping_interval: \"1h\"\n")?;
        let mut command = Command::new("nats-server");
        command.arg("--config").arg(&config);
        command
            .args(["--addr", "127.0.0.1", "--port", "-1", "--jetstream"])
            .arg("--store_dir")
            .arg(dir.join("store"));
        command.arg("--ports_file_dir").arg(dir);
        let server = Server::start(&mut command, "nats-server", dir.join("log"))?;
        let file = dir.join(format!("nats-server_{}.ports", server.id()));
        let written = async || {
            let ports: Value = serde_json::from_slice(&std::fs::read(&file).ok()?).ok()?;
            Some(
                ports["nats"][0]
                    .as_str()?
                    .trim_start_matches("nats://")
                    .to_owned(),
            )
        };
        let address = server.starts(written).await?;
        Ok(Self {
            _server: server,
            address,
        })
    }

    pub(crate) async fn subject(&self, name: &'static str, acks: Acks) -> anyhow::Result<Subject> {
        let mut author = Client::connect(&self.address).await?;
        let mut consumer = Client::connect(&self.address).await?;
        let stream = json!({ "name": name, "subjects": [name], "storage": "file", "retention": "limits", "num_replicas": 1 });
        author.subscribe(&format!("_INBOX.{name}")).await?;
        author
            .ask(
                &format!("$JS.API.STREAM.CREATE.{name}"),
                &format!("_INBOX.{name}"),
                &stream,
            )
            .await?;
        consumer.subscribe(&format!("deliver.{name}")).await?;
        consumer.subscribe(&format!("_INBOX.c.{name}")).await?;
        let policy = match acks {
            Acks::Each => "explicit",
            Acks::Hundredth => "all",
        };
        let durable = json!({ "stream_name": name, "config": {
            "durable_name": "bench", "deliver_subject": format!("deliver.{name}"), "deliver_policy": "all",
            "ack_policy": policy, "max_ack_pending": IN_FLIGHT, "ack_wait": 60_000_000_000_u64,
        } });
        let create = format!("$JS.API.CONSUMER.DURABLE.CREATE.{name}.bench");
        consumer
            .ask(&create, &format!("_INBOX.c.{name}"), &durable)
            .await?;
        Ok(Subject {
            name,
            author,
            consumer,
        })
    }
}

impl Subject {
    /// Publishes `count` messages and waits until the server and the consumer have acknowledged all
    /// of them.
    pub(crate) async fn pass(
        &mut self,
        count: usize,
        bytes: usize,
        acks: Acks,
    ) -> anyhow::Result<()> {
        let window = Semaphore::new(IN_FLIGHT);
        let Client {
            reader: acknowledged,
            writer: publish,
            ..
        } = &mut self.author;
        let Client {
            reader: delivered,
            writer: acknowledge,
            ..
        } = &mut self.consumer;
        tokio::try_join!(
            publish_all(publish, self.name, count, bytes, &window),
            count_acks(acknowledged, count, &window),
            consume_all(delivered, acknowledge, self.name, count, acks),
        )?;
        Ok(())
    }
}

async fn publish_all(
    to: &mut Writer,
    subject: &str,
    count: usize,
    bytes: usize,
    window: &Semaphore,
) -> anyhow::Result<()> {
    let head = format!("PUB {subject} _INBOX.{subject} {bytes}\r\n");
    let message = [head.as_bytes(), &vec![b'x'; bytes], b"\r\n"].concat();
    for _ in 0..count {
        let place = match window.try_acquire() {
            Ok(place) => place,
            Err(_) => {
                to.flush().await?;
                window.acquire().await?
            }
        };
        place.forget();
        to.write_all(&message).await?;
    }
    Ok(to.flush().await?)
}

async fn count_acks(from: &mut Reader, count: usize, window: &Semaphore) -> anyhow::Result<()> {
    for _ in 0..count {
        let (_, payload) = from.message().await?;
        ensure!(
            !payload.windows(7).any(|part| part == b"\"error\""),
            "{}",
            String::from_utf8_lossy(payload)
        );
        window.add_permits(1);
    }
    Ok(())
}

async fn consume_all(
    from: &mut Reader,
    to: &mut Writer,
    name: &str,
    count: usize,
    acks: Acks,
) -> anyhow::Result<()> {
    for number in 1..=count {
        let (reply, _) = from.message().await?;
        let last = number == count;
        let due = match acks {
            Acks::Each => true,
            Acks::Hundredth => number % 100 == 0,
        };
        if last {
            // The server answers this acknowledgement, which proves that it has arrived.
            to.write_all(format!("PUB {reply} _INBOX.c.{name} 4\r\n+ACK\r\n").as_bytes())
                .await?;
        } else if due {
            to.write_all(b"PUB ").await?;
            to.write_all(reply.as_bytes()).await?;
            to.write_all(b" 4\r\n+ACK\r\n").await?;
        }
        if last || from.is_drained() {
            to.flush().await?;
        }
    }
    from.message().await?;
    Ok(())
}

type Writer = BufWriter<OwnedWriteHalf>;

struct Client {
    reader: Reader,
    writer: Writer,
    subscriptions: u32,
}

struct Reader {
    from: BufReader<OwnedReadHalf>,
    line: String,
    payload: Vec<u8>,
}

impl Client {
    async fn connect(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (from, to) = stream.into_split();
        let reader = Reader {
            from: BufReader::with_capacity(64 * 1024, from),
            line: String::new(),
            payload: Vec::new(),
        };
        let mut client = Self {
            reader,
            writer: BufWriter::with_capacity(64 * 1024, to),
            subscriptions: 0,
        };
        client.send("CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"rust\",\"version\":\"0\"}").await?;
        Ok(client)
    }

    async fn subscribe(&mut self, subject: &str) -> anyhow::Result<()> {
        self.subscriptions += 1;
        self.send(&format!("SUB {subject} {}", self.subscriptions))
            .await
    }

    async fn send(&mut self, line: &str) -> anyhow::Result<()> {
        self.writer
            .write_all(format!("{line}\r\n").as_bytes())
            .await?;
        Ok(self.writer.flush().await?)
    }

    /// Sends a request and checks the answer for an error.
    async fn ask(&mut self, subject: &str, reply: &str, request: &Value) -> anyhow::Result<()> {
        let request = request.to_string();
        self.send(&format!(
            "PUB {subject} {reply} {}\r\n{request}",
            request.len()
        ))
        .await?;
        let answer = tokio::time::timeout(Duration::from_secs(10), self.reader.message()).await;
        let (_, answer) =
            answer.with_context(|| format!("nats-server does not answer {subject}"))??;
        let answer: Value = serde_json::from_slice(answer)?;
        ensure!(
            answer["error"].is_null(),
            "nats-server: {subject}: {}",
            answer["error"]
        );
        Ok(())
    }
}

impl Reader {
    /// The next message: its reply subject and its payload.
    async fn message(&mut self) -> anyhow::Result<(&str, &[u8])> {
        loop {
            self.line.clear();
            let read = self.from.read_line(&mut self.line).await?;
            ensure!(read > 0, "nats-server closed the connection");
            if self.line.starts_with("MSG ") {
                break;
            }
            ensure!(!self.line.starts_with("-ERR"), "nats-server: {}", self.line);
        }
        // MSG <subject> <sid> [reply] <bytes>
        let mut words = self.line.trim_end().split(' ').skip(3);
        let (first, second) = (words.next().context("MSG without a length")?, words.next());
        let (reply, bytes) = second.map_or(("", first), |bytes| (first, bytes));
        self.payload.resize(bytes.parse::<usize>()? + 2, 0);
        self.from.read_exact(&mut self.payload).await?;
        Ok((reply, &self.payload[..self.payload.len() - 2]))
    }

    /// Whether the buffer contains no further message.
    fn is_drained(&self) -> bool {
        self.from.buffer().is_empty()
    }
}
