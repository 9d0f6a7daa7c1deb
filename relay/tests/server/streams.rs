//! Connections to the relay's TCP port that are no honest nodes. Each ends soon, and none keeps
//! others out.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hobnob_relay::server::Fate;
use hobnob_transport::stream::message::encode;
use hobnob_transport::stream::{handshake, push_datagram, request, tls};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Relay, TcpConfig};

/// A newcomer has five seconds. The machine may be busy.
const ENDED: Duration = Duration::from_secs(9);

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

async fn tcp(relay: &Relay) -> TcpStream {
    TcpStream::connect(relay.addr()).await.unwrap()
}

/// Sends a request over TLS. Returns the connection and the answer's head.
async fn asks(relay: &Relay, request: &[u8]) -> (Box<dyn Io>, request::Head, Vec<u8>) {
    let mut io = tls::connect("relay.example", tcp(relay).await)
        .await
        .unwrap();
    io.write_all(request).await.unwrap();
    io.flush().await.unwrap();
    let mut rest = Vec::new();
    let head = request::read_head(&mut io, &mut rest).await.unwrap();
    (Box::new(io), head, rest)
}

async fn upgraded(relay: &Relay) -> Box<dyn Io> {
    let (asked, key) = handshake::request("relay.example", handshake::PATH, [7; 16]);
    let (io, answer, rest) = asks(relay, &asked).await;
    assert!(handshake::is_upgraded(&answer, &key) && rest.is_empty());
    io
}

/// Waits until the relay has ended a connection.
async fn ends(mut io: impl AsyncRead + Unpin) {
    let mut rest = Vec::new();
    let ended = timeout(ENDED, io.read_to_end(&mut rest)).await;
    // An error, such as a reset, is an end, too.
    let _ended: io::Result<usize> = ended.expect("the relay ends it");
}

fn message(datagrams: &[&[u8]]) -> Vec<u8> {
    let (mut run, mut bytes) = (Vec::new(), Vec::new());
    for datagram in datagrams {
        assert!(push_datagram(&mut run, datagram));
    }
    encode(&run, Some([1, 2, 3, 4]), &mut bytes);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_request_learns_what_this_is() {
    let relay = Relay::start();
    let (mut io, head, mut text) = asks(&relay, b"GET / HTTP/1.1\r\nHost: r\r\n\r\n").await;
    assert_eq!(head.status(), Some(200));
    io.read_to_end(&mut text).await.unwrap();
    assert!(String::from_utf8(text).unwrap().contains("hobnob relay"));
    for (request, status) in [
        (&b"GET /admin HTTP/1.1\r\nHost: r\r\n\r\n"[..], 404),
        (b"POST / HTTP/1.1\r\nHost: r\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
    ] {
        let (_, head, _) = asks(&relay, request).await;
        assert_eq!(head.status(), Some(status));
    }
    let (asked, _) = handshake::request("r", "/", [7; 16]);
    let page = String::from_utf8(asked).unwrap();
    let page = page.replace("Host: r", "Host: r\r\nOrigin: https://page.example");
    let (_, head, _) = asks(&relay, page.as_bytes()).await;
    assert_eq!(head.status(), Some(403));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_that_does_not_register_is_disconnected() {
    let relay = Relay::start();
    let silent = tcp(&relay).await;
    let mut half_open = tcp(&relay).await;
    half_open.write_all(&[22, 3, 1, 2, 0, 1, 0]).await.unwrap();
    let mut slow = tls::connect("r", tcp(&relay).await).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: r\r\nX-Slow")
        .await
        .unwrap();
    slow.flush().await.unwrap();
    let idle = upgraded(&relay).await;
    tokio::join!(ends(silent), ends(half_open), ends(slow), ends(idle));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_violation_ends_the_connection_at_once() {
    let relay = Relay::start();
    let long = message(&[&[0x40; 1200][..]; 15]);
    let probe = message(&[&[hobnob_protocol::datagram::PROBE; 20][..]]);
    let text = vec![0x81, 0x80, 0, 0, 0, 0];
    let compressed = vec![0xc2, 0x80, 0, 0, 0, 0];
    let endless = vec![0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let empty = vec![0x82, 0x82, 0, 0, 0, 0, 0, 0];
    for bytes in [long, probe, text, compressed, endless, empty] {
        let mut io = upgraded(&relay).await;
        io.write_all(&bytes).await.unwrap();
        io.flush().await.unwrap();
        // Sooner than a newcomer that does not register.
        let ended = timeout(Duration::from_secs(4), ends(io)).await;
        assert!(ended.is_ok(), "{:?}", &bytes[..4]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_network_cannot_keep_others_out() {
    let relay = Relay::start();
    let mut held = Vec::new();
    for _ in 0..2_000 {
        held.push(tcp(&relay).await);
    }
    // The relay has refused all but eight.
    let refused = || relay.server.newcomers().read(Fate::Refused);
    timeout(ENDED, async {
        while refused() < 1_992 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it refuses them");
    // Another network is served meanwhile.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket
        .bind((Ipv4Addr::new(127, 9, 9, 9), 0).into())
        .unwrap();
    let other = socket.connect(relay.addr()).await.unwrap();
    let io = timeout(ENDED, tls::connect("r", other)).await;
    assert!(io.expect("it answers").is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reverse_proxy_speaks_plain_http_on_loopback() {
    let home = tempfile::tempdir().unwrap();
    let proxied = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = hobnob_relay::server::Config {
        tcp: TcpConfig {
            also: vec![proxied],
            proxies: Some(hobnob_relay::server::PROXIES.to_vec()),
            ..TcpConfig::default()
        },
        ..super::config_in(&home, "[::]:0".parse().unwrap(), super::Rule::Open)
    };
    let server = hobnob_relay::server::Server::start(config).unwrap();
    let [_, at] = server.tcp_addrs() else {
        panic!("{:?}", server.tcp_addrs());
    };
    for header in [
        &b""[..],
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x7f\0\0\x01\x13\x88\0P",
    ] {
        let mut io = TcpStream::connect(at).await.unwrap();
        let (asked, key) = handshake::request("relay.example", "/some/path", [7; 16]);
        io.write_all(&[header, &asked].concat()).await.unwrap();
        let answer = request::read_head(&mut io, &mut Vec::new()).await.unwrap();
        assert!(handshake::is_upgraded(&answer, &key));
    }
    server.shutdown().await;
}

/// Writes a certificate for a name and its key as PEM files. Returns their paths, and the
/// certificate.
fn certificate(folder: &Path, name: &str) -> (PathBuf, PathBuf, Vec<u8>) {
    let pair = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.self_signed(&pair).unwrap();
    let write = |file: &str, label: &str, der: &[u8]| {
        let (path, body) = (folder.join(file), data_encoding::BASE64.encode(der));
        let text = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
        std::fs::write(&path, text).unwrap();
        path
    };
    (
        write("tls.crt", "CERTIFICATE", certificate.der()),
        write("tls.key", "PRIVATE KEY", &pair.serialize_der()),
        certificate.der().to_vec(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_used_for_new_connections_and_a_broken_one_never() {
    let home = tempfile::tempdir().unwrap();
    let (file, key, first) = certificate(home.path(), "first.example");
    let files = (file, key);
    let config = hobnob_relay::server::Config {
        tcp: TcpConfig {
            certificate: Some(files.clone()),
            ..TcpConfig::default()
        },
        ..super::config_in(&home, "[::]:0".parse().unwrap(), super::Rule::Open)
    };
    let server = hobnob_relay::server::Server::start(config).unwrap();
    let shown = async || {
        let tcp = TcpStream::connect(super::loopback_addr(&server))
            .await
            .unwrap();
        let io = tls::connect("relay.example", tcp).await.unwrap();
        io.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let reload = async || {
        let limits = hobnob_relay::core::Limits::default();
        let files = Some(files.clone());
        server.change(super::Rule::Open, limits, files).await
    };
    assert_eq!(shown().await, first);
    let (_, _, second) = certificate(home.path(), "second.example");
    assert_eq!(shown().await, first);
    reload().await.unwrap();
    assert_eq!(shown().await, second);
    std::fs::write(&files.1, "no key").unwrap();
    let error = reload().await.unwrap_err();
    assert!(error.to_string().contains("tls.key"), "{error}");
    assert_eq!(shown().await, second);
    server.shutdown().await;
}
