//! A shared file, over real sockets: TLS, the page, ranges, uses and limits.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use hobnob_web::share::{CONNECTIONS_PER_ADDR_MAX, End, Happened, Share, ShareConfig, ShareError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Accepts the certificate with this fingerprint only, as a careful person does.
#[derive(Debug)]
struct Compared {
    fingerprint: String,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Compared {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let digest = digest(&SHA256, certificate);
        let pairs = digest.as_ref().iter().map(|byte| format!("{byte:02X}"));
        if pairs.collect::<Vec<_>>().join(":") == self.fingerprint {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::General("another certificate".to_owned()))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A shared file in a folder of its own.
struct Shared {
    folder: tempfile::TempDir,
    content: Vec<u8>,
    share: Share,
}

const NAME: &str = "a <b> \u{202e}\u{e4}.bin";

impl Shared {
    async fn new(bytes: usize, change: impl FnOnce(&mut ShareConfig)) -> Shared {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let content: Vec<u8> = (0..bytes)
            .map(|n| u8::try_from(n % 251).expect("it is small"))
            .collect();
        let path = folder.path().join(NAME);
        std::fs::write(&path, &content).expect("the folder can be written");
        let mut config = config(&path);
        change(&mut config);
        let share = Share::start(config).await.expect("it can be shared");
        Shared {
            folder,
            content,
            share,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(NAME)
    }

    fn addr(&self) -> SocketAddr {
        let link = self.share.links()[0]
            .strip_prefix("https://")
            .expect("a link");
        let (addr, _) = link.split_once('/').expect("a link has a path");
        addr.parse().expect("a link has an address")
    }

    /// The secret part of the link.
    fn secret(&self) -> String {
        let parts: Vec<_> = self.share.links()[0].split('/').collect();
        parts[3].to_owned()
    }

    async fn connect(&self, from: Ipv4Addr) -> std::io::Result<TlsStream<TcpStream>> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let compared = Compared {
            fingerprint: self.share.fingerprint().to_owned(),
            algorithms: provider.signature_verification_algorithms,
        };
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has suites")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(compared))
            .with_no_client_auth();
        let name = ServerName::IpAddress(self.addr().ip().into());
        let stream = tcp(self.addr(), from).await?;
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }

    /// The head and the body of the answer to one request.
    async fn ask(
        &self,
        from: Ipv4Addr,
        method: &str,
        name: &str,
        headers: &str,
    ) -> (String, Vec<u8>) {
        let mut stream = self.connect(from).await.expect("it accepts a connection");
        let path = format!("/{}/{name}", self.secret());
        ask(&mut stream, method, &path, headers).await
    }

    async fn get(&self, name: &str, headers: &str) -> (String, Vec<u8>) {
        self.ask(Ipv4Addr::LOCALHOST, "GET", name, headers).await
    }

    /// Waits for a report that fits.
    async fn reports(&mut self, fits: impl Fn(Happened) -> bool) -> Happened {
        loop {
            let next = tokio::time::timeout(WITHIN, self.share.next()).await;
            let happened = next.expect("it reports in time").expect("it has not ended");
            if fits(happened) {
                return happened;
            }
        }
    }
}

const WITHIN: Duration = Duration::from_secs(20);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn config(path: &Path) -> ShareConfig {
    ShareConfig {
        path: path.to_owned(),
        addr: Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)),
        times: None,
        time: None,
        anywhere: false,
    }
}

async fn tcp(addr: SocketAddr, from: Ipv4Addr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from.into(), 0))?;
    socket.connect(addr).await
}

async fn ask(
    stream: &mut TlsStream<TcpStream>,
    method: &str,
    path: &str,
    headers: &str,
) -> (String, Vec<u8>) {
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it reads the request");
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer).await {
        Err(error) if error.kind() != ErrorKind::UnexpectedEof => panic!("{error}"),
        Ok(_) | Err(_) => {}
    }
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let body = answer.split_off(end.expect("the answer has a head") + 4);
    (String::from_utf8(answer).expect("a head is ASCII"), body)
}

#[tokio::test]
async fn the_page_shows_the_hashes_and_the_fingerprint_and_no_markup_of_the_name() {
    let shared = Shared::new(1_000, |_| {}).await;
    let (head, page) = shared.get("", "").await;
    let page = String::from_utf8(page).expect("a page is text");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    for header in [
        "content-security-policy: default-src 'none'; style-src 'self';",
        "x-content-type-options: nosniff",
        "x-frame-options: DENY",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
    ] {
        assert!(head.contains(header), "{header} is not in {head}");
    }
    for text in [
        "a &lt;b&gt;",
        "1000 bytes",
        blake3::hash(&shared.content).to_hex().as_str(),
        shared.share.file().sha256.as_str(),
        shared.share.fingerprint(),
    ] {
        assert!(page.contains(text), "{text} is not in {page}");
    }
    assert!(
        !page.contains('\u{202e}') && !page.contains("<b>"),
        "{page}"
    );
    let (head, _) = shared.get("style.css", "").await;
    assert!(head.contains("content-type: text/css"), "{head}");
}

#[tokio::test]
async fn nothing_else_is_there() {
    let shared = Shared::new(10, |_| {}).await;
    let (head, _) = shared.get("other", "").await;
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
    for path in [
        "/",
        "/file",
        "//file",
        "/../file",
        "/aaaa/file",
        &format!("/{}", shared.secret()),
    ] {
        let mut stream = shared
            .connect(Ipv4Addr::LOCALHOST)
            .await
            .expect("it accepts");
        let (head, body) = ask(&mut stream, "GET", path, "").await;
        assert!(head.starts_with("HTTP/1.1 404"), "{path}: {head}");
        assert_eq!(body, b"There is nothing here.\n", "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let (head, _) = shared.ask(Ipv4Addr::LOCALHOST, method, "file", "").await;
        assert!(head.starts_with("HTTP/1.1 405"), "{method}: {head}");
    }
    assert_eq!(shared.secret().len(), 52, "256 bits");
}

#[tokio::test]
async fn a_download_can_be_continued_and_never_mixes_two_contents() {
    let shared = Shared::new(600_000, |_| {}).await;
    let (head, whole) = shared.get("file", "").await;
    assert!(head.contains("accept-ranges: bytes"), "{head}");
    assert!(head.contains("content-disposition: attachment"), "{head}");
    assert!(whole == shared.content, "the content differs");
    let etag = head
        .lines()
        .find_map(|line| line.strip_prefix("etag: "))
        .expect("it names the content");
    let resume = format!("Range: bytes=300000-\r\nIf-Range: {etag}\r\n");
    let (head, rest) = shared.get("file", &resume).await;
    assert!(head.starts_with("HTTP/1.1 206"), "{head}");
    assert!(
        head.contains("content-range: bytes 300000-599999/600000"),
        "{head}"
    );
    assert!(rest == shared.content[300_000..], "the rest differs");
    let of_another = "Range: bytes=300000-\r\nIf-Range: \"other\"\r\n";
    let (head, whole) = shared.get("file", of_another).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(whole.len(), 600_000);
    let (head, _) = shared.get("file", "Range: bytes=600000-\r\n").await;
    assert!(head.starts_with("HTTP/1.1 416"), "{head}");
    assert!(head.contains("content-range: bytes */600000"), "{head}");
    let (head, body) = shared.ask(Ipv4Addr::LOCALHOST, "HEAD", "file", "").await;
    assert!(head.contains("content-length: 600000"), "{head}");
    assert!(body.is_empty());
    std::fs::write(shared.path(), "changed").expect("the folder can be written");
    let (head, _) = shared.get("file", "").await;
    assert!(head.starts_with("HTTP/1.1 410"), "{head}");
}

#[tokio::test]
async fn it_ends_when_all_uses_are_over_and_the_last_download_is_whole() {
    let mut shared = Shared::new(5_000_000, |config| config.times = Some(2)).await;
    let (_, first) = shared.get("file", "").await;
    assert!(first == shared.content, "the content differs");
    let done = shared
        .reports(|happened| matches!(happened, Happened::Downloaded { .. }))
        .await;
    let ip = Ipv4Addr::LOCALHOST.into();
    assert_eq!(done, Happened::Downloaded { ip, left: Some(1) });
    // The end alone, as programs that look into an archive ask for it, is not the whole file.
    let (head, end) = shared
        .ask(OTHER, "GET", "file", "Range: bytes=-9\r\n")
        .await;
    assert!(head.starts_with("HTTP/1.1 206"), "{head}");
    assert!(end == shared.content[4_999_991..], "the end differs");
    // A part of another address: its use has begun and is not over.
    let (head, _) = shared
        .ask(OTHER, "GET", "file", "Range: bytes=0-9\r\n")
        .await;
    assert!(head.starts_with("HTTP/1.1 206"), "{head}");
    let (head, _) = shared.get("file", "").await;
    assert!(head.starts_with("HTTP/1.1 410"), "a third use: {head}");
    let (_, second) = shared.ask(OTHER, "GET", "file", "").await;
    assert!(second == shared.content, "the content differs");
    let over = shared
        .reports(|happened| matches!(happened, Happened::Over(_)))
        .await;
    assert_eq!(over, Happened::Over(End::Used));
    assert!(shared.share.next().await.is_none());
    assert!(
        shared.connect(OTHER).await.is_err(),
        "nobody listens any more"
    );
}

#[tokio::test]
async fn it_ends_at_its_time_and_with_it_every_connection() {
    let mut shared = Shared::new(10, |config| config.time = Some(Duration::from_millis(700))).await;
    let mut idle = shared
        .connect(Ipv4Addr::LOCALHOST)
        .await
        .expect("it accepts");
    let over = shared
        .reports(|happened| matches!(happened, Happened::Over(_)))
        .await;
    assert_eq!(over, Happened::Over(End::Expired));
    let mut byte = [0];
    assert!(
        matches!(idle.read(&mut byte).await, Ok(0) | Err(_)),
        "it is open"
    );
    assert!(shared.connect(Ipv4Addr::LOCALHOST).await.is_err());
}

#[tokio::test]
async fn one_address_has_a_few_connections_and_others_still_connect() {
    let shared = Shared::new(10, |_| {}).await;
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS_PER_ADDR_MAX {
        open.push(shared.connect(OTHER).await.expect("there is a place"));
    }
    assert!(shared.connect(OTHER).await.is_err(), "one too many");
    let (head, _) = shared.get("", "").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    drop(open.pop());
    let again = async {
        while shared.connect(OTHER).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WITHIN, again)
        .await
        .expect("a place is free again");
}

#[tokio::test]
async fn a_folder_is_not_shared() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let refused = Share::start(config(folder.path())).await;
    assert!(matches!(refused, Err(ShareError::File(_))), "{refused:?}");
}
