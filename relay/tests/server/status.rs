//! The status page over real HTTP, of a real relay with a real node at it.

use std::net::SocketAddr;

use hobnob_protocol::{DeviceId, SecretKey};
use hobnob_relay::admission::{AllowList, Rule};
use hobnob_relay::status::Status;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::Relay;
use crate::client::{Client, LIMIT, Link, seed_of, until, within};

pub(crate) const LABEL: &str = "</bdi><script>alert('x')</script>&<img src=x> שלום";

/// The seed of the one node that the relay admits. Its label is HTML.
const NODE: u16 = 5;

/// A relay with a status server.
pub(crate) struct StatusRelay {
    pub(crate) relay: Relay,
    pub(crate) status: SocketAddr,
    end: CancellationToken,
    shown: JoinHandle<()>,
}

impl StatusRelay {
    pub(crate) async fn start() -> StatusRelay {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("allowed");
        std::fs::write(&list, format!("{} {LABEL}\n", node())).unwrap();
        let relay = Relay::with(Rule::Listed(AllowList::read(&list).unwrap()));
        let status = Status::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let (addr, end) = (status.local_addr(), CancellationToken::new());
        let shown = tokio::spawn(status.serve(relay.server.clone(), end.clone()));
        StatusRelay {
            relay,
            status: addr,
            end,
            shown,
        }
    }

    async fn get(&self, path: &str) -> Answer {
        get(self.status, path, &self.status.to_string()).await
    }

    pub(crate) async fn join(&self) -> (Client, Link) {
        let client = Client::new(NODE, self.relay.addr()).await;
        let (link, _) = client.joins(&[]).await;
        (client, link)
    }

    pub(crate) async fn stop(self) {
        self.end.cancel();
        within(self.shown).await.unwrap();
        within(self.relay.server.shutdown()).await;
    }
}

pub(crate) fn node() -> DeviceId {
    SecretKey::from_seed(seed_of(NODE)).id()
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

async fn get(addr: SocketAddr, path: &str, host: &str) -> Answer {
    get_as(addr, path, host, "*/*").await
}

async fn get_as(addr: SocketAddr, path: &str, host: &str, accept: &str) -> Answer {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap();
    Answer {
        status,
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

/// The value of a metric.
fn metric(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(' '))
    })?;
    line.rsplit(' ').next()?.parse().ok()
}

fn row(page: &str, peer: DeviceId) -> Option<&str> {
    page.lines()
        .find(|line| line.starts_with("<tr") && line.contains(&peer.to_string()))
}

#[tokio::test]
async fn the_page_shows_the_peers_and_escapes_their_labels() {
    let fixture = StatusRelay::start().await;
    let peer = node();
    let empty = fixture.get("/").await;
    assert!(
        empty.status == 200
            && row(&empty.body, peer).is_none()
            && empty.body.contains("No peer is connected")
    );
    assert!(empty.body.contains(&fixture.relay.server.id().to_string()));
    let (_client, mut link) = fixture.join().await;
    let page = fixture.get("/").await.body;
    let shown = row(&page, peer).unwrap();
    assert!(
        shown.contains("<span class=\"state alive\">alive</span>") && shown.contains("127.0.0.1:"),
        "{shown}"
    );
    let escaped =
        "&lt;/bdi&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&lt;img src=x&gt; שלום";
    assert!(shown.contains(escaped), "{shown}");
    assert!(
        !page.contains("<img") && page.matches("<script").count() == 1,
        "{page}"
    );
    fixture.relay.server.kick(&peer.to_string()).await.unwrap();
    link.ends().await;
    let page = fixture.get("/").await.body;
    assert!(
        row(&page, peer)
            .unwrap()
            .contains("<span class=\"state gone\">gone</span>")
    );
    fixture.stop().await;
}

#[tokio::test]
async fn every_answer_has_restrictive_headers() {
    let fixture = StatusRelay::start().await;
    for path in [
        "/",
        "/status.css",
        "/status.js",
        "/metrics",
        "/healthz",
        "/nothing",
    ] {
        let answer = fixture.get(path).await;
        assert_eq!(
            answer.status,
            if path == "/nothing" { 404 } else { 200 },
            "{path}"
        );
        assert!(
            answer.head.contains(
                "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'"
            ),
            "{path}"
        );
        assert!(
            answer.head.contains("x-content-type-options: nosniff")
                && answer.head.contains("no-store"),
            "{path}"
        );
    }
    let page = fixture.get("/").await.body;
    // Nothing from other servers, and nothing inline that the policy would block.
    for inline in [
        "http://",
        "https://",
        "<style",
        " style=",
        "onclick",
        "javascript:",
    ] {
        assert!(!page.contains(inline), "{inline}");
    }
    fixture.stop().await;
}

#[tokio::test]
async fn dns_rebinding_gets_nothing() {
    let fixture = StatusRelay::start().await;
    let answer = get(fixture.status, "/", "evil.example:9627").await;
    assert!(
        answer.status == 421 && !answer.body.contains(&fixture.relay.server.id().to_string()),
        "{answer:?}"
    );
    fixture.stop().await;
}

#[tokio::test]
async fn metrics_count_events_and_each_is_documented() {
    let fixture = StatusRelay::start().await;
    let _node = fixture.join().await;
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(&[0x10; 40], fixture.relay.addr()).unwrap();
    let answer = loop {
        let (addr, host) = (fixture.status, fixture.status.to_string());
        let accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
        let answer = get_as(addr, "/metrics", &host, accept).await;
        if metric(
            &answer.body,
            "hobnob_relay_dropped_total{cause=\"unknown-channel\"}",
        ) == Some(1.0)
        {
            break answer;
        }
    };
    let text = &answer.body;
    assert!(
        answer
            .head
            .contains("content-type: application/openmetrics-text; version=1.0.0")
    );
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert_eq!(
        metric(text, "hobnob_relay_peers{state=\"alive\"}"),
        Some(1.0),
        "{text}"
    );
    assert_eq!(metric(text, "hobnob_relay_registered_total"), Some(1.0));
    let plain = fixture.get("/metrics").await;
    assert!(
        plain
            .head
            .contains("content-type: text/plain; version=0.0.4")
    );
    let registered = "# TYPE hobnob_relay_registered_total counter";
    assert!(plain.body.contains(registered), "{}", plain.body);
    let documented = include_str!("../../src/status/metrics.rs");
    let helped: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next())
        .collect();
    assert!(helped.len() > 15, "{helped:?}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family = ["_total", "_bucket", "_sum", "_count"]
            .into_iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .unwrap_or(name);
        assert!(helped.contains(&family), "{name} has no HELP");
        assert!(
            documented.contains(&format!("//! | `{family}")),
            "{name} is not in the module's table"
        );
    }
    fixture.stop().await;
}

#[tokio::test]
async fn a_relay_is_healthy_if_its_port_forwards_and_it_is_not_stopping() {
    let fixture = StatusRelay::start().await;
    let forwarded = fixture.relay.server.counters().frames;
    let answer = fixture.get("/healthz").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    // The relay counts a frame after it was sent, so the answer may be here before the count.
    until(LIMIT, || fixture.relay.server.counters().frames > forwarded).await;
    fixture.relay.server.shutdown().await;
    let answer = fixture.get("/healthz").await;
    assert!(
        answer.status == 503 && answer.body.contains("stopping"),
        "{answer:?}"
    );
    assert_eq!(fixture.get("/").await.status, 503);
    fixture.stop().await;
}

#[tokio::test]
async fn a_taken_port_is_named_in_the_error() {
    let fixture = StatusRelay::start().await;
    let error = Status::bind(fixture.status)
        .await
        .expect_err("taken")
        .to_string();
    assert!(error.contains(&fixture.status.to_string()), "{error}");
    fixture.stop().await;
}
