//! The status server: an HTTP port with a page for the operator, metrics and a health check.
//!
//! | path | content |
//! | --- | --- |
//! | `/` | the liveness table and the counters; updates itself, and works without its script |
//! | `/metrics` | the same counters for Prometheus (`metrics.rs` lists them) |
//! | `/healthz` | 200 only if a frame through the relay's own UDP port comes back and the relay is not stopping |
//!
//! Everybody who can connect to the port can read all of it and change nothing. So it is on
//! loopback by default. The page loads nothing from other servers and runs only its own script. All
//! text from peers and from the operator's files is escaped.

mod metrics;
mod page;
mod process;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Router, serve};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::server::{OperatorError, ProbeError, Server};
use page::Page;

/// The default address of the status server.
pub const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9627);

/// Maximum concurrent requests. Further ones get 503, so that requests cannot overload the relay.
const REQUESTS_MAX: usize = 16;

/// How long answers in progress may take once the relay stops.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// Headers of every answer. The browser loads nothing from other servers, shows the page in no
/// frame, sends no referrer and stores nothing.
const HEADERS: [(HeaderName, &str); 4] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
];

/// The status server can't listen.
#[derive(Debug, thiserror::Error)]
#[error("can't serve the status page on TCP {addr}: {error}")]
pub struct StatusError {
    /// The address.
    pub addr: SocketAddr,
    /// The error of the system.
    pub error: io::Error,
}

/// The bound port of the status server.
#[derive(Debug)]
pub struct Status {
    listener: TcpListener,
    addr: SocketAddr,
}

impl Status {
    /// Binds the port.
    pub async fn bind(addr: SocketAddr) -> Result<Status, StatusError> {
        let failed = |error| StatusError { addr, error };
        let listener = TcpListener::bind(addr).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        Ok(Status { listener, addr })
    }

    /// The address that the port is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves the status of this relay until `stop` is cancelled, and then finishes the answers in
    /// progress.
    pub async fn serve(self, server: Server, stop: CancellationToken) {
        let state = AppState {
            server,
            loopback: self.addr.ip().is_loopback(),
            places: Arc::new(Semaphore::new(REQUESTS_MAX)),
        };
        let served = serve(self.listener, router(state))
            .with_graceful_shutdown(stop.clone().cancelled_owned());
        let late = async {
            stop.cancelled().await;
            tokio::time::sleep(CLOSE_LIMIT).await;
        };
        tokio::select! {
            served = served => if let Err(error) = served {
                tracing::warn!(%error, "the status server failed");
            },
            () = late => tracing::debug!("a client of the status server read too slowly"),
        }
    }
}

#[derive(Debug, Clone)]
struct AppState {
    server: Server,
    loopback: bool,
    places: Arc<Semaphore>,
}

fn router(state: AppState) -> Router {
    let guard = middleware::from_fn_with_state(state.clone(), guard);
    Router::new()
        .route("/", get(show))
        .route(
            "/status.css",
            get(|| async { typed("text/css; charset=utf-8", page::STYLE) }),
        )
        .route(
            "/status.js",
            get(|| async { typed("text/javascript; charset=utf-8", page::SCRIPT) }),
        )
        .route("/metrics", get(scrape))
        .route("/healthz", get(health))
        .layer(guard)
        .with_state(state)
}

/// Limits and checks every request, and adds the headers to every answer.
async fn guard(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let mut response = match state.places.try_acquire() {
        Err(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "too many concurrent requests: try again\n",
        )
            .into_response(),
        Ok(_) if state.loopback && !is_local(request.headers()) => {
            (StatusCode::MISDIRECTED_REQUEST, NOT_LOCAL).into_response()
        }
        Ok(_place) => next.run(request).await,
    };
    let headers = HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value)));
    response.headers_mut().extend(headers);
    response
}

const NOT_LOCAL: &str = "this relay answers only requests for an IP address or localhost: a proxy in front of it must send Host: localhost\n";

/// Whether the request names this machine. It rejects DNS rebinding: pages of other servers whose
/// name resolves to this machine.
fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else {
        return false;
    };
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost"
        || host.parse::<SocketAddr>().is_ok()
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

async fn show(State(state): State<AppState>) -> Result<Html<String>, Failed> {
    let table = state.server.summary().await?;
    let page = Page {
        relay: state.server.id(),
        addrs: &state.server.addrs(),
        table: &table,
        counted: &state.server.counters(),
        mailboxes: state.server.mailboxes(),
    };
    Ok(Html(page.to_string()))
}

async fn scrape(State(state): State<AppState>, headers: HeaderMap) -> Result<Response, Failed> {
    let table = state.server.summary().await?;
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let sources = metrics::Sources {
        table: &table,
        counted: &state.server.counters(),
        newcomers: state.server.newcomers(),
        latency: state.server.latency(),
        mailboxes: state.server.mailboxes(),
    };
    let (media_type, text) = metrics::answer(sources, accept.unwrap_or_default());
    Ok(typed(media_type, text))
}

async fn health(State(state): State<AppState>) -> Result<&'static str, Failed> {
    // A stopping relay may still forward, but its table is not available.
    state.server.summary().await?;
    state.server.probe().await?;
    Ok("a frame sent through the relay's own port came back\n")
}

fn typed(content: &'static str, body: impl IntoResponse) -> Response {
    ([(CONTENT_TYPE, content)], body).into_response()
}

/// Why a request fails.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Table(#[from] OperatorError),
    #[error(transparent)]
    Health(#[from] ProbeError),
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (StatusCode::SERVICE_UNAVAILABLE, format!("{self}\n")).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_name_this_machine() {
        let local = |host: &str| {
            is_local(&HeaderMap::from_iter([(
                HOST,
                HeaderValue::from_str(host).expect("a header"),
            )]))
        };
        for host in [
            "127.0.0.1:9627",
            "127.0.0.1",
            "localhost",
            "localhost:9627",
            "[::1]:9627",
            "[::1]",
        ] {
            assert!(local(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:9627",
            "localhost.evil.example",
            "127.0.0.1.evil.example:9627",
            "",
            ":9627",
        ] {
            assert!(!local(host), "{host}");
        }
        assert!(!is_local(&HeaderMap::new()));
    }
}
