//! The status page over real HTTP, of a real relay with a real node at it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use hobnob_protocol::relay::{ALPN_RELAY, FromRelay, Register, ToRelay, VERSION};
use hobnob_protocol::tls::{Credentials, SERVER_NAME};
use hobnob_protocol::{PeerId, SecretKey};
use hobnob_relay::admission::{AllowList, Rule};
use hobnob_relay::core::Limits;
use hobnob_relay::server::{Config, Server};
use hobnob_relay::status::Status;
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const LABEL: &str = "</bdi><script>alert('x')</script>&<img src=x> שלום";

/// A relay that lets in one node, which has a label of HTML.
struct Lab {
    server: Server,
    status: SocketAddr,
    end: CancellationToken,
    shown: tokio::task::JoinHandle<()>,
    home: TempDir,
    node: SecretKey,
}

impl Lab {
    async fn start() -> Lab {
        let (home, node) = (TempDir::new().expect("a folder"), SecretKey::from_seed([5; 32]));
        let list = home.path().join("allowed");
        std::fs::write(&list, format!("{} {LABEL}\n", node.id())).expect("written");
        let rule = Rule::Listed(AllowList::read(&list).expect("a list"));
        let listen = Some("127.0.0.1:0".parse().expect("an address"));
        let config = Config { listen, home: home.path().to_owned(), rule, limits: Limits::default() };
        let server = Server::start(config).expect("starts");
        let status = Status::bind("127.0.0.1:0".parse().expect("an address")).await.expect("a port");
        let (addr, end) = (status.local_addr(), CancellationToken::new());
        let shown = tokio::spawn(status.serve(server.clone(), end.clone()));
        Lab { server, status: addr, end, shown, home, node }
    }

    async fn get(&self, path: &str) -> Answer {
        get(self.status, path, &self.status.to_string()).await
    }

    async fn join(&self) -> Node {
        Node::register(&self.node, self.server.local_addr()).await
    }

    async fn stop(self) {
        self.end.cancel();
        timeout(Duration::from_secs(5), self.shown).await.expect("in time").expect("ended");
        self.server.shutdown().await;
        drop(self.home);
    }
}

/// A node at the relay, for as long as it is held.
struct Node {
    connection: Connection,
    streams: (SendStream, RecvStream),
    _endpoint: Endpoint,
}

impl Node {
    async fn register(key: &SecretKey, relay: SocketAddr) -> Node {
        let endpoint = Endpoint::client("127.0.0.1:0".parse().expect("an address")).expect("a socket");
        let setup = Credentials::new(key).client_config(None, ALPN_RELAY);
        let config = ClientConfig::new(setup.crypto);
        let connection = endpoint.connect_with(config, relay, SERVER_NAME).expect("dials").await.expect("connects");
        let mut streams = connection.open_bi().await.expect("a stream");
        let register = Register { version: VERSION, ..Register::default() };
        write(&mut streams.0, &ToRelay::Register(register)).await;
        let mut node = Node { connection, streams, _endpoint: endpoint };
        assert!(matches!(node.hears().await, FromRelay::Welcome(_)));
        node
    }

    async fn hears(&mut self) -> FromRelay {
        let mut len = [0; 4];
        self.streams.1.read_exact(&mut len).await.expect("a length");
        let mut frame = BytesMut::zeroed(u32::from_be_bytes(len) as usize);
        self.streams.1.read_exact(&mut frame).await.expect("a frame");
        FromRelay::decode(&frame).expect("decodes")
    }
}

async fn write(stream: &mut SendStream, frame: &ToRelay) {
    let bytes = frame.encode();
    let len = u32::try_from(bytes.len()).expect("short").to_be_bytes();
    stream.write_all(&[&len[..], &bytes].concat()).await.expect("written");
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

async fn get(addr: SocketAddr, path: &str, host: &str) -> Answer {
    let mut stream = TcpStream::connect(addr).await.expect("connects");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut answer = String::new();
    timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await.expect("in time").expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// The value of a metric.
fn metric(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next()?.parse().ok()
}

fn row(page: &str, peer: PeerId) -> Option<&str> {
    page.lines().find(|line| line.starts_with("<tr") && line.contains(&peer.to_string()))
}

#[tokio::test]
async fn the_page_shows_who_is_there_and_a_label_of_html_as_text() {
    let lab = Lab::start().await;
    let peer = lab.node.id();
    let empty = lab.get("/").await;
    assert!(empty.status == 200 && row(&empty.body, peer).is_none() && empty.body.contains("Nobody is here"));
    assert!(empty.body.contains(&lab.server.id().to_string()));
    let node = lab.join().await;
    let page = lab.get("/").await.body;
    let shown = row(&page, peer).expect("listed");
    assert!(shown.contains("<span class=\"state alive\">alive</span>") && shown.contains("127.0.0.1:"), "{shown}");
    let escaped = "&lt;/bdi&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&lt;img src=x&gt; שלום";
    assert!(shown.contains(escaped), "{shown}");
    assert!(!page.contains("<img") && page.matches("<script").count() == 1, "{page}");
    lab.server.kick(&peer.to_string()).await.expect("kicked");
    node.connection.closed().await;
    let page = lab.get("/").await.body;
    assert!(row(&page, peer).expect("listed").contains("<span class=\"state gone\">gone</span>"));
    lab.stop().await;
}

#[tokio::test]
async fn every_answer_forbids_what_the_page_does_not_need() {
    let lab = Lab::start().await;
    for path in ["/", "/status.css", "/status.js", "/metrics", "/healthz", "/nothing"] {
        let answer = lab.get(path).await;
        assert_eq!(answer.status, if path == "/nothing" { 404 } else { 200 }, "{path}");
        assert!(
            answer.head.contains("content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'"),
            "{path}"
        );
        assert!(answer.head.contains("x-content-type-options: nosniff") && answer.head.contains("no-store"), "{path}");
    }
    let page = lab.get("/").await.body;
    // Nothing from elsewhere, and nothing inline that the policy would stop.
    for inline in ["http://", "https://", "<style", " style=", "onclick", "javascript:"] {
        assert!(!page.contains(inline), "{inline}");
    }
    lab.stop().await;
}

#[tokio::test]
async fn a_page_from_elsewhere_whose_name_leads_here_gets_nothing() {
    let lab = Lab::start().await;
    let answer = get(lab.status, "/", "evil.example:9627").await;
    assert!(answer.status == 421 && !answer.body.contains(&lab.server.id().to_string()), "{answer:?}");
    lab.stop().await;
}

#[tokio::test]
async fn metrics_count_what_happened_and_each_is_explained() {
    let lab = Lab::start().await;
    let _node = lab.join().await;
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.send_to(&[0x10; 40], lab.server.local_addr()).expect("sent");
    let answer = loop {
        let answer = lab.get("/metrics").await;
        if metric(&answer.body, "hobnob_relay_dropped_total{cause=\"unknown-channel\"}") == Some(1.0) {
            break answer;
        }
    };
    let text = &answer.body;
    assert!(answer.head.contains("content-type: application/openmetrics-text; version=1.0.0"));
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert_eq!(metric(text, "hobnob_relay_peers{state=\"alive\"}"), Some(1.0), "{text}");
    assert_eq!(metric(text, "hobnob_relay_registered_total"), Some(1.0));
    let documented = include_str!("../src/status/metrics.rs");
    let helped: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next()).collect();
    assert!(helped.len() > 15, "{helped:?}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().expect("a name");
        let family = name.strip_suffix("_total").unwrap_or(name);
        assert!(helped.contains(&family), "{name} has no HELP");
        assert!(documented.contains(&format!("//! | `{name}")), "{name} is not in the module's table");
    }
    lab.stop().await;
}

#[tokio::test]
async fn a_relay_is_well_if_a_frame_comes_back_through_its_own_port_and_it_is_not_stopping() {
    let lab = Lab::start().await;
    let forwarded = lab.server.counters().frames;
    let answer = lab.get("/healthz").await;
    assert!(answer.status == 200 && lab.server.counters().frames > forwarded, "{answer:?}");
    lab.server.shutdown().await;
    let answer = lab.get("/healthz").await;
    assert!(answer.status == 503 && answer.body.contains("stopping"), "{answer:?}");
    assert_eq!(lab.get("/").await.status, 503);
    lab.stop().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let lab = Lab::start().await;
    let error = Status::bind(lab.status).await.expect_err("taken").to_string();
    assert!(error.contains(&lab.status.to_string()) && error.contains("--status"), "{error}");
    lab.stop().await;
}
