//! The https server of one share.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Request, State};
use axum::http::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_RANGE, RANGE,
};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::file::{Shared, SharedFileError};
use super::range::{Part, part};
use super::uses::Uses;
use super::{lan, page, tls};
use crate::clock;
use crate::content::disposition;
use crate::http_limits::{ACCEPT_AGAIN, HEAD_BYTES_MAX, HEAD_WITHIN};
use crate::response::{CONTENT_POLICY, add_headers, typed};

/// Maximum number of connections. A further one is closed at once.
pub const CONNECTIONS_MAX: usize = 64;

/// Maximum number of connections from one address. A further one is closed at once.
pub const CONNECTIONS_PER_ADDR_MAX: u32 = 8;

/// How long a TLS handshake may take.
pub const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// After this time without progress, a download's connection ends.
pub const STALLED_AFTER: Duration = Duration::from_secs(60);

/// Chunks of the file that wait for one connection.
const CHUNKS_MAX: usize = 2;

/// How long the last download may take to leave the buffers, after it was read.
const FLUSH_WITHIN: Duration = Duration::from_secs(30);

/// Reports that wait for [`Share::next`]. Further ones are dropped.
const REPORTS_MAX: usize = 64;

/// Refused addresses that are reported, each once.
const REFUSED_MAX: usize = 16;

/// What is shared, and how long.
#[derive(Debug, Clone)]
pub struct ShareConfig {
    /// The file.
    pub path: PathBuf,
    /// Where to listen. None: any port of all addresses.
    pub addr: Option<SocketAddr>,
    /// How many downloads may begin. None: any number.
    pub times: Option<u32>,
    /// When it ends. None: at no time.
    pub time: Option<Duration>,
    /// Whether clients may be on other networks than those of this machine.
    pub anywhere: bool,
}

/// Why a file can't be shared.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// The file.
    #[error(transparent)]
    File(#[from] SharedFileError),
    /// The address.
    #[error("can't listen on {addr} ({error}): choose another address")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// The error of the system.
        error: io::Error,
    },
    /// The networks of this machine are unknown, or there is none.
    #[error("can't find a network of this machine ({0}): connect it, or name an address")]
    Networks(String),
    /// The certificate.
    #[error("can't make a certificate: {0}")]
    Certificate(String),
}

/// Why a share ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The file was downloaded as often as permitted.
    Used,
    /// The time is over.
    Expired,
}

/// What happened at a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    /// Somebody looked at the page.
    Visited(IpAddr),
    /// A download began, or went on.
    Began(IpAddr),
    /// The last byte of the file was sent.
    Downloaded {
        /// To whom.
        ip: IpAddr,
        /// How many downloads may still begin. None: any number.
        left: Option<u32>,
    },
    /// Somebody on another network was refused. Each address is reported once, and only some.
    Refused(IpAddr),
    /// The share has ended.
    Over(End),
}

/// A file that is shared now.
#[derive(Debug)]
pub struct Share {
    file: Arc<Shared>,
    fingerprint: String,
    links: Vec<String>,
    stop: CancellationToken,
    reports: mpsc::Receiver<Happened>,
    accepting: JoinHandle<()>,
}

impl Share {
    /// Reads the file, and listens.
    pub async fn start(config: ShareConfig) -> Result<Share, ShareError> {
        let path = config.path.clone();
        let file = tokio::task::spawn_blocking(move || Shared::open(&path))
            .await
            .expect("reading a file does not panic")?;
        let networks = |error: io::Error| ShareError::Networks(error.to_string());
        let own = lan::own().map_err(networks)?;
        let listener = listen(config.addr).await?;
        let addr = listener.local_addr().map_err(networks)?;
        let ips = match addr.ip().is_unspecified() {
            // A socket for IPv4 answers at no address of IPv6.
            true => {
                let mut ips = lan::reachable(&own);
                ips.retain(|ip| addr.is_ipv6() || ip.is_ipv4());
                ips
            }
            false => vec![addr.ip()],
        };
        if ips.is_empty() {
            return Err(ShareError::Networks("no interface is up".to_owned()));
        }
        let certificate = tls::certificate(&ips);
        let (tls, fingerprint) =
            certificate.map_err(|error| ShareError::Certificate(error.to_string()))?;
        let secret = clock::random_text();
        let link = |ip| format!("https://{}/{secret}/", SocketAddr::new(ip, addr.port()));
        let links = ips.into_iter().map(link).collect();
        let (reports, happened) = mpsc::channel(REPORTS_MAX);
        let file = Arc::new(file);
        let stop = CancellationToken::new();
        let site = Arc::new(Site {
            page: page::page(&file, &fingerprint),
            file: Arc::clone(&file),
            secret,
            uses: Mutex::new(Uses::new(config.times)),
            connected: Mutex::new(BTreeMap::new()),
            used: CancellationToken::new(),
            stop: stop.clone(),
            reports,
            tasks: TaskTracker::new(),
            anywhere: config.anywhere,
        });
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        Ok(Share {
            file,
            fingerprint,
            links,
            stop,
            reports: happened,
            accepting: tokio::spawn(accept(listener, acceptor, site, config.time)),
        })
    }

    /// The file.
    pub fn file(&self) -> &Shared {
        &self.file
    }

    /// The SHA-256 fingerprint of the certificate: 32 pairs of hex digits, with colons.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The links to the page, one for each address of this machine, the most useful first.
    pub fn links(&self) -> &[String] {
        &self.links
    }

    /// What happens next. After [`Happened::Over`] it returns `None`.
    pub async fn next(&mut self) -> Option<Happened> {
        self.reports.recv().await
    }

    /// Ends all connections at once.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.accepting).await {
            tracing::error!(%error, "the task of a share failed");
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What all connections share.
struct Site {
    file: Arc<Shared>,
    page: String,
    secret: String,
    uses: Mutex<Uses>,
    /// The connections of each address.
    connected: Mutex<BTreeMap<IpAddr, u32>>,
    /// All uses are over: the last answers are still sent.
    used: CancellationToken,
    /// Everything ends.
    stop: CancellationToken,
    reports: mpsc::Sender<Happened>,
    tasks: TaskTracker,
    anywhere: bool,
}

/// The other end of one connection.
#[derive(Clone)]
struct Client {
    ip: IpAddr,
    /// Ends the connection.
    end: CancellationToken,
}

impl Site {
    /// Tells the user, if the user listens.
    fn report(&self, happened: Happened) {
        if self.reports.try_send(happened).is_err() {
            tracing::debug!(?happened, "nobody reads the reports of a share");
        }
    }

    fn may_connect(&self, ip: IpAddr) -> bool {
        // The networks of a machine change.
        self.anywhere || lan::own().is_ok_and(|own| lan::is_near(&own, ip))
    }

    /// Counts a connection of this address. None if it has as many as it may.
    fn connect(self: &Arc<Self>, ip: IpAddr) -> Option<Connected> {
        let mut connected = self
            .connected
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let count = connected.entry(ip).or_insert(0);
        if *count >= CONNECTIONS_PER_ADDR_MAX {
            return None;
        }
        *count += 1;
        Some(Connected {
            site: Arc::clone(self),
            ip,
        })
    }

    fn uses(&self) -> std::sync::MutexGuard<'_, Uses> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This many bytes of the file were sent, perhaps those at its end.
    fn sent(&self, ip: IpAddr, bytes: u64, is_end: bool) {
        let (left, over) = {
            let mut uses = self.uses();
            if !uses.sent(ip, bytes, is_end, self.file.size) {
                return;
            }
            (uses.left(), uses.are_over())
        };
        self.report(Happened::Downloaded { ip, left });
        if over {
            self.used.cancel();
        }
    }
}

/// Counts one connection for as long as it lives.
struct Connected {
    site: Arc<Site>,
    ip: IpAddr,
}

impl Drop for Connected {
    fn drop(&mut self) {
        let connected = &self.site.connected;
        let mut connected = connected.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = connected.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                connected.remove(&self.ip);
            }
        }
    }
}

/// Listens on the address, or on all addresses: of IPv6 and IPv4, or of IPv4 if there is no IPv6.
async fn listen(addr: Option<SocketAddr>) -> Result<TcpListener, ShareError> {
    let bind = async |addr: SocketAddr| {
        let bound = TcpListener::bind(addr).await;
        bound.map_err(|error| ShareError::Bind { addr, error })
    };
    match addr {
        Some(addr) => bind(addr).await,
        None => match bind(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0)).await {
            Ok(listener) => Ok(listener),
            Err(_) => bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0)).await,
        },
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    site: Arc<Site>,
    time: Option<Duration>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut refused = BTreeSet::new();
    let router = Router::new().fallback(answer).with_state(Arc::clone(&site));
    let expired = async {
        match time {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(expired);
    let end = loop {
        let accepted = tokio::select! {
            () = site.stop.cancelled() => break None,
            () = site.used.cancelled() => break Some(End::Used),
            () = &mut expired => break Some(End::Expired),
            accepted = listener.accept() => accepted,
        };
        let (stream, ip) = match accepted {
            Ok((stream, addr)) => (stream, addr.ip().to_canonical()),
            Err(error) => {
                tracing::warn!(%error, "a connection to a share could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        if !site.may_connect(ip) {
            if refused.len() < REFUSED_MAX && refused.insert(ip) {
                site.report(Happened::Refused(ip));
            }
            continue;
        }
        let place = Arc::clone(&places).try_acquire_owned().ok();
        if let Some((place, connected)) = place.zip(site.connect(ip)) {
            let serving = serve(stream, acceptor.clone(), router.clone(), place, connected);
            site.tasks.spawn(serving);
        } else {
            tracing::debug!(%ip, "a share has too many connections: refused another");
        }
    };
    drop(listener);
    site.tasks.close();
    if end == Some(End::Used) {
        // The last answer leaves the buffers.
        let flushed = timeout(FLUSH_WITHIN, site.tasks.wait()).await;
        tracing::debug!(in_time = flushed.is_ok(), "a share was used");
    }
    site.stop.cancel();
    site.tasks.wait().await;
    if let Some(end) = end
        && site.reports.send(Happened::Over(end)).await.is_err()
    {
        tracing::debug!("nobody waits for the end of a share");
    }
}

/// Serves one connection, until it ends or the share does.
async fn serve(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    router: Router,
    _place: OwnedSemaphorePermit,
    connected: Connected,
) {
    let site = &connected.site;
    let shaken = tokio::select! {
        shaken = timeout(HANDSHAKE_WITHIN, acceptor.accept(stream)) => shaken,
        () = site.stop.cancelled() => return,
        () = site.used.cancelled() => return,
    };
    let stream = match shaken {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake with a share failed");
            return;
        }
        Err(_) => return,
    };
    let client = Client {
        ip: connected.ip,
        end: site.stop.child_token(),
    };
    let router = router.layer(Extension(client.clone()));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let mut last = false;
    loop {
        tokio::select! {
            served = &mut connection => {
                if let Err(error) = served {
                    tracing::debug!(%error, "a connection to a share ended");
                }
                return;
            }
            () = client.end.cancelled() => return,
            () = site.used.cancelled(), if !last => {
                connection.as_mut().graceful_shutdown();
                last = true;
            }
        }
    }
}

/// Answers a request.
async fn answer(
    State(site): State<Arc<Site>>,
    Extension(client): Extension<Client>,
    request: Request,
) -> Response {
    let mut response = respond(&site, &client, &request);
    add_headers(&mut response, &HeaderValue::from_static(page::POLICY));
    response
}

fn respond(site: &Arc<Site>, client: &Client, request: &Request) -> Response {
    let is_get = request.method() == Method::GET;
    if !is_get && request.method() != Method::HEAD {
        return (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET, HEAD")]).into_response();
    }
    let path = request.uri().path().strip_prefix('/').unwrap_or_default();
    let Some((secret, name)) = path.split_once('/') else {
        return nothing_here();
    };
    if verify_slices_are_equal(secret.as_bytes(), site.secret.as_bytes()).is_err() {
        return nothing_here();
    }
    match name {
        "" => {
            if is_get {
                site.report(Happened::Visited(client.ip));
            }
            typed("text/html; charset=utf-8", site.page.clone())
        }
        "style.css" => typed("text/css", page::STYLE),
        "file" => content(site, client, request),
        _ => nothing_here(),
    }
}

/// The same answer for a wrong secret and for a wrong name.
fn nothing_here() -> Response {
    (StatusCode::NOT_FOUND, "There is nothing here.\n").into_response()
}

fn gone(text: &'static str) -> Response {
    (StatusCode::GONE, text).into_response()
}

/// The file, or a part of it.
fn content(site: &Arc<Site>, client: &Client, request: &Request) -> Response {
    let file = &site.file;
    if !file.is_unchanged() {
        return gone("The file has changed since it was shared. Ask for a new link.\n");
    }
    let etag = format!("\"{}\"", file.blake3);
    let header = |name| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    // A range of another content would be a part of nothing.
    let is_same = header(IF_RANGE).is_none_or(|known| known == etag);
    let part = part(header(RANGE).filter(|_| is_same), file.size);
    let (status, range) = match part {
        Part::Whole => (StatusCode::OK, 0..file.size),
        Part::Bytes(range) => (StatusCode::PARTIAL_CONTENT, range),
        Part::Outside => {
            let size = [(CONTENT_RANGE, format!("bytes */{}", file.size))];
            return (StatusCode::RANGE_NOT_SATISFIABLE, size).into_response();
        }
    };
    let mut response = (
        status,
        [
            // The browser must save it, and never show it as a page.
            (CONTENT_TYPE, "application/octet-stream".to_owned()),
            (CONTENT_LENGTH, (range.end - range.start).to_string()),
            (CONTENT_DISPOSITION, disposition(&file.name)),
            (CONTENT_SECURITY_POLICY, CONTENT_POLICY.to_owned()),
            (ACCEPT_RANGES, "bytes".to_owned()),
            (ETAG, etag),
        ],
    )
        .into_response();
    if status == StatusCode::PARTIAL_CONTENT {
        let named = format!("bytes {}-{}/{}", range.start, range.end - 1, file.size);
        let named = HeaderValue::try_from(named).expect("numbers are ASCII");
        response.headers_mut().insert(CONTENT_RANGE, named);
    }
    if request.method() == Method::HEAD {
        return response;
    }
    if !site.uses().begin(client.ip) {
        return gone("This link was used. Ask for a new one.\n");
    }
    site.report(Happened::Began(client.ip));
    let (chunks, mut read) = mpsc::channel(CHUNKS_MAX);
    let reaches_the_end = range.end == file.size;
    let mut left = range.end - range.start;
    if left == 0 {
        site.sent(client.ip, 0, true); // an empty file
    }
    let (owner, ip) = (Arc::clone(site), client.ip);
    site.tasks
        .spawn(send(Arc::clone(site), client.clone(), range, chunks));
    *response.body_mut() = Body::from_stream(stream::poll_fn(move |context| {
        let polled = read.poll_recv(context);
        if let Poll::Ready(Some(Ok(chunk))) = &polled {
            let bytes = u64::try_from(chunk.len()).expect("a chunk is small");
            left -= bytes;
            owner.sent(ip, bytes, left == 0 && reaches_the_end);
        }
        polled
    }));
    response
}

/// Reads a part of the file for a connection that takes it.
async fn send(
    site: Arc<Site>,
    client: Client,
    range: Range<u64>,
    chunks: mpsc::Sender<io::Result<Bytes>>,
) {
    let Range { mut start, end } = range;
    while start < end {
        let file = Arc::clone(&site.file);
        let read = tokio::task::spawn_blocking(move || file.read(start, end)).await;
        let chunk = match read {
            Ok(Ok(chunk)) => chunk,
            Ok(Err(error)) => {
                tracing::warn!(%error, "a shared file can't be read");
                return client.end.cancel();
            }
            Err(error) => {
                tracing::error!(%error, "reading a shared file failed");
                return client.end.cancel();
            }
        };
        start += u64::try_from(chunk.len()).expect("a chunk is small");
        let taken = tokio::select! {
            taken = timeout(STALLED_AFTER, chunks.send(Ok(chunk.into()))) => taken,
            () = client.end.cancelled() => return,
        };
        match taken {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return, // the connection has ended
            Err(_) => return client.end.cancel(),
        }
    }
}
