//! The HTTP server of one home.
//!
//! | path | content |
//! | --- | --- |
//! | `/` and the files of the page | the same for everybody, without secrets |
//! | `POST /login` | exchanges a one-time token for the page's token |
//! | `/ws` | the WebSocket with the JSON lines |
//! | `PUT /upload/CONVERSATION/NAME`, `…/NAME/CAPTION` | offers the request's body as a file |
//! | `PUT /folder/CONVERSATION/NAME`, `…/NAME/CAPTION` | offers a folder, whose files are in the body |
//! | `/content/ID`, `POST /ticket/ID`, `/download/TICKET` | the content of a file |
//! | `POST /export/PEER`, `PUT /import` | messages that are carried by hand: a sealed file for a peer, and one of a peer |
//! | `POST /messages/FORMAT`, `…/FORMAT/CONVERSATION` | messages, to read them elsewhere |
//! | `PUT /link`, `GET /links/SEEN`, `DELETE /link/NUMBER` | links to files, for people without hobnob |
//! | `GET`, `POST /tokens`, `DELETE /tokens/NAME` | the tokens of programs and pages |
//! | `GET`, `POST /irc-password` | the password of IRC clients, and a new one |
//! | `GET /lock`, `PUT /passphrase` | how the home is locked, and another passphrase |
//! | `POST /backup` | a backup of the home, encrypted with the passphrase in the body |
//! | `POST /qr` | the modules of a QR code |
//! | `GET /settings`, `PUT /settings/NAME` | the settings of the home, and a new value of one |
//! | `POST /words/diagnosis`, `POST /words/notice` | the sentences for the `ok` of `doctor`, and for a notice |
//!
//! A page of a stranger in the same browser can send requests to this server. It cannot read
//! answers, because no answer permits other origins. The checks of `guard` refuse its requests
//! before anything happens: a name that resolves to this machine (DNS rebinding) is not the exact
//! `Host`, and a browser adds the true `Origin` to each WebSocket and each POST.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, delete, get, post, put};
use hobnob_control::wire::{Failure, Right};
use hobnob_local::Home;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::announcement::Announcement;
use crate::assets::{self, ASSETS, Asset};
use crate::carried;
use crate::content;
use crate::http_limits::{ACCEPT_AGAIN, HEAD_BYTES_MAX, HEAD_WITHIN};
use crate::kept_uploads::KeptUploads;
use crate::links::Links;
use crate::response::{HttpError, add_headers, authorized, json, policy, typed};
use crate::shared::{Shared, Words};
use crate::tickets::Tickets;
use crate::tokens::Tokens;
use crate::{
    clock, home, link_requests, login, programs, session, settings, upload, upload_cleaner,
};

/// Maximum number of TCP connections. A further one is closed at once.
pub const CONNECTIONS_MAX: usize = 128;

/// Maximum number of WebSockets. A further one is refused with 503.
pub const WEBSOCKETS_MAX: usize = 32;

/// The longest body of a request, in bytes. Uploads have no limit but the disk.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// How long connections may take to end when the server stops.
const STOP_WITHIN: Duration = Duration::from_millis(500);

/// Why the page can't be served.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// Others could connect to the address.
    #[error(
        "the web page is for this machine only, and {0} is not a loopback address: use 127.0.0.1:{port}",
        port = .0.port()
    )]
    NotLoopback(SocketAddr),
    /// The port can't be used.
    #[error("can't serve the web page on {addr} ({error}): choose another port")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// The error of the system.
        error: io::Error,
    },
    /// Another process serves the page of this home.
    #[error("the web page of this home is served on {0} already: use it, or end that process")]
    AlreadyServed(SocketAddr),
    /// The file with the address can't be written.
    #[error("can't use {path:?} for the address of the web page ({error})")]
    Announce {
        /// The folder.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
}

/// The running server of a home's page.
#[derive(Debug)]
pub struct WebServer {
    addr: SocketAddr,
    stop: CancellationToken,
    accepting: JoinHandle<()>,
    _announcement: Announcement,
}

impl WebServer {
    /// Listens on a loopback address, for the page of `home`. A node need not run yet.
    pub async fn start(home: &Home, addr: SocketAddr, words: Words) -> Result<WebServer, WebError> {
        if !addr.ip().is_loopback() {
            return Err(WebError::NotLoopback(addr));
        }
        let bind = |error| WebError::Bind { addr, error };
        let listener = TcpListener::bind(addr).await.map_err(bind)?;
        let addr = listener.local_addr().map_err(bind)?;
        let runtime_dir = home.socket().parent().unwrap_or(home.data_dir()).to_owned();
        let announce = |error| WebError::Announce {
            path: runtime_dir.clone(),
            error,
        };
        let published = Announcement::publish(&runtime_dir, addr).map_err(announce)?;
        let announcement = published.map_err(|other| WebError::AlreadyServed(other.addr))?;
        login::sweep(&runtime_dir, clock::now_ms()).map_err(announce)?;
        let host = authority(addr);
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            home: home.clone(),
            tokens: Tokens::of(home),
            tickets: Mutex::new(Tickets::default()),
            uploads: Arc::new(Semaphore::new(upload::UPLOADS_MAX)),
            kept_uploads: KeptUploads::of(home.data_dir()),
            links: Links::of(home.data_dir()).map_err(announce)?,
            websockets: Arc::new(Semaphore::new(WEBSOCKETS_MAX)),
            stop: stop.clone(),
            tasks: TaskTracker::new(),
            runtime_dir,
            origin: format!("http://{host}"),
            policy: HeaderValue::try_from(policy(&host)).expect("an address is ASCII"),
            host,
            words,
        });
        Ok(WebServer {
            addr,
            stop,
            accepting: tokio::spawn(accept(listener, shared)),
            _announcement: announcement,
        })
    }

    /// The address that the page is served on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Ends all connections.
    pub async fn stop(&mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.accepting).await {
            tracing::error!(%error, "the web server's task failed");
        }
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The `Host` that a browser sends for an address. It leaves out the port of HTTP.
fn authority(addr: SocketAddr) -> String {
    let text = addr.to_string();
    match addr.port() {
        80 => text.trim_end_matches(":80").to_owned(),
        _ => text,
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let router = router(Arc::clone(&shared));
    shared.kept_uploads.look_again();
    shared
        .tasks
        .spawn(upload_cleaner::clean(Arc::clone(&shared)));
    loop {
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match (accepted, Arc::clone(&places).try_acquire_owned()) {
            (Ok((stream, _)), Ok(place)) => {
                let serving = serve(stream, router.clone(), shared.stop.clone());
                shared.tasks.spawn(async move {
                    serving.await;
                    drop(place);
                });
            }
            (Ok(_), Err(_)) => {
                tracing::warn!("{CONNECTIONS_MAX} web connections are open: refused another");
            }
            (Err(error), _) => {
                tracing::warn!(%error, "a web connection could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    shared.tasks.close();
    let ended = tokio::time::timeout(STOP_WITHIN, shared.tasks.wait()).await;
    if ended.is_err() {
        tracing::debug!("some web connections did not end in time");
    }
}

/// Serves one connection. A WebSocket continues in a task of its own.
async fn serve(stream: TcpStream, router: Router, stop: CancellationToken) {
    // Small answers should not wait for each other.
    let _only_slower = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    tokio::select! {
        served = connection => if let Err(error) = served {
            tracing::debug!(%error, "a web connection ended");
        },
        () = stop.cancelled() => {}
    }
}

fn router(shared: Arc<Shared>) -> Router {
    let guard = middleware::from_fn_with_state(Arc::clone(&shared), guard);
    let files = ASSETS.iter().fold(Router::new(), |router, asset| {
        let Asset {
            path,
            media_type,
            content,
        } = *asset;
        router.route(path, get(move || async move { typed(media_type, content) }))
    });
    files
        .route("/login", post(log_in))
        .route("/ws", any(session::upgrade))
        .route("/qr", post(qr))
        .route("/settings", get(settings::list))
        .route("/settings/{name}", put(settings::set))
        .route("/words/diagnosis", post(explain))
        .route("/words/notice", post(notice))
        .route("/content/{id}", get(content::content))
        .route("/ticket/{id}", post(content::ticket))
        .route("/download/{ticket}", get(content::download))
        .route("/export/{peer}", post(carried::export))
        .route("/messages/{format}", post(carried::messages))
        .route("/messages/{format}/{conversation}", post(carried::messages))
        .route("/links/{seen}", get(link_requests::list))
        .route("/link/{number}", delete(link_requests::end))
        .route("/tokens", get(programs::list).post(programs::create))
        .route("/tokens/{name}", delete(programs::revoke))
        .route(
            "/irc-password",
            get(programs::irc_password).post(programs::new_irc_password),
        )
        .route("/lock", get(home::lock))
        .route("/passphrase", put(home::change_passphrase))
        .route("/backup", post(carried::backup))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        // After the limit, which does not concern these.
        .route("/upload/{conversation}/{name}", put(upload::upload))
        .route(
            "/upload/{conversation}/{name}/{caption}",
            put(upload::upload),
        )
        .route("/folder/{conversation}/{name}", put(upload::upload_folder))
        .route(
            "/folder/{conversation}/{name}/{caption}",
            put(upload::upload_folder),
        )
        .route("/link", put(link_requests::create))
        .route("/import", put(carried::import))
        .layer(guard)
        .with_state(shared)
}

/// Refuses what another site may have sent, and adds the headers to every answer.
async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let mut response = match check(&shared, &request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    add_headers(&mut response, &shared.policy);
    response
}

fn check(shared: &Shared, request: &Request<Body>) -> Result<(), HttpError> {
    let headers = request.headers();
    if only(headers, HOST) != Some(shared.host.as_bytes()) {
        return Err(HttpError::new(
            StatusCode::MISDIRECTED_REQUEST,
            Failure::forbidden(format!("this server is {} only", shared.host)),
        ));
    }
    if !headers.contains_key(ORIGIN) {
        // A browser adds it to everything but GET and HEAD of the same origin, and navigation.
        return Ok(());
    }
    let origin = only(headers, ORIGIN);
    // A login file has no origin. Its one-time token is the proof.
    let is_login = request.method() == Method::POST && request.uri().path() == "/login";
    match origin {
        Some(b"null") if is_login => Ok(()),
        Some(origin) if origin == shared.origin.as_bytes() => Ok(()),
        Some(_) | None => Err(HttpError::new(
            StatusCode::FORBIDDEN,
            Failure::forbidden("pages of other sites may not use this server"),
        )),
    }
}

/// The value of a header that is there exactly once.
fn only(headers: &HeaderMap, name: axum::http::HeaderName) -> Option<&[u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.as_bytes())
}

/// Exchanges the one-time token of a login file for a token of the page.
async fn log_in(State(shared): State<Arc<Shared>>, form: String) -> Result<Response, HttpError> {
    let token = form.strip_prefix("token=").unwrap_or_default();
    let now = clock::now_ms();
    if !login::redeem(&shared.runtime_dir, token, now) {
        return Err(HttpError::new(
            StatusCode::FORBIDDEN,
            Failure::forbidden("this login is used or older than a minute: run `hobnob web` again"),
        ));
    }
    let secret = shared
        .tokens
        .create_for_page(now)
        .map_err(HttpError::fault)?;
    Ok(Html(assets::logged_in(&secret)).into_response())
}

/// The rows of a QR code, each as a text of `1` and `0`.
async fn qr(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    text: String,
) -> Result<Response, HttpError> {
    authorized(&shared, &headers, Right::Read)?;
    let drawn = (shared.words.qr)(&text);
    let digits = |row: &Vec<bool>| -> String {
        let digit = |dark: &bool| if *dark { '1' } else { '0' };
        row.iter().map(digit).collect()
    };
    Ok(json(&drawn.iter().map(digits).collect::<Vec<_>>()))
}

/// The lines that explain the `ok` of `doctor` or `why`.
async fn explain(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    diagnosis: String,
) -> Result<Response, HttpError> {
    authorized(&shared, &headers, Right::Read)?;
    let diagnosis = serde_json::from_str(&diagnosis).map_err(HttpError::usage)?;
    Ok(json(&(shared.words.diagnosis)(&diagnosis)))
}

/// The sentence for an event `notice`.
async fn notice(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    notice: String,
) -> Result<Response, HttpError> {
    authorized(&shared, &headers, Right::Read)?;
    let notice = serde_json::from_str(&notice).map_err(HttpError::usage)?;
    Ok(json(&(shared.words.notice)(&notice)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: Words = Words {
        qr: |_| Vec::new(),
        diagnosis: |_| Vec::new(),
        notice: |_| String::new(),
        settings: |_| Ok(Vec::new()),
        set: |_, _, _| Ok(()),
        backup: |_, _, _| Box::pin(async { Ok(()) }),
        messages: |_, _, _, _| Box::pin(async { Ok(()) }),
        irc_password: |_, _| Ok(String::new()),
        lock: |_| Ok(None),
        change_passphrase: |_, _, _| Box::pin(async { Ok(()) }),
    };

    #[test]
    fn the_host_is_what_a_browser_sends() {
        for (addr, host) in [
            ("127.0.0.1:4680", "127.0.0.1:4680"),
            ("[::1]:4680", "[::1]:4680"),
            ("127.0.0.1:80", "127.0.0.1"),
        ] {
            assert_eq!(authority(addr.parse().unwrap()), host);
        }
    }

    #[tokio::test]
    async fn only_loopback_is_served() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path()).unwrap();
        let addr = "0.0.0.0:0".parse().unwrap();
        let refused = WebServer::start(&home, addr, WORDS).await;
        assert!(matches!(refused, Err(WebError::NotLoopback(_))));
    }
}
