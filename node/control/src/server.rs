//! Answers the control socket of one node.
//!
//! Each connection has its own task (`connection`), and each kind of request a handler
//! (`requests`). Datagrams and streams of the program behind a connection are in `programs`. A server
//! can end in two ways: [`Server::finish`] answers until the last client disconnects,
//! [`Server::stop`] ends at once.

mod connection;
mod order;
mod programs;
mod requests;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use hobnob::{LiveConfig, Node};
use hobnob_local::home::Claimed;
use hobnob_local::socket::{Listener, is_same_user};

use crate::wire::LentRelayLine;

/// Maximum number of connections. A further one is closed without an answer.
const CONNECTIONS_MAX: usize = 256;

/// Pause after a failed accept, for example when the process has no file descriptor left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// How long [`Server::stop`] waits until the last answers are written.
const STOP_WITHIN: Duration = Duration::from_millis(500);

/// Reads the settings of a node again, or returns why they can't be read. It may wait for the disk.
pub type ReadSettings = Arc<dyn Fn() -> Result<LiveConfig, String> + Send + Sync>;

/// Reports what the relay that this node runs for contacts does. `None` once it has stopped.
pub type ReportLentRelay =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Option<LentRelayLine>> + Send>> + Send + Sync>;

/// A control socket and the tasks that answer it.
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let config = || hobnob::Config { listen: "127.0.0.1:0".parse().ok(), mdns: false, ..hobnob::Config::new(dir.path()) };
/// # let home = hobnob_control::Home::at(dir.path())?;
/// use hobnob_control::{Claim, Client, Server};
///
/// let node = hobnob::Node::builder(dir.path().join("node")).loopback().start().await?;
/// let Claim::Ours(claimed) = home.claim()? else { panic!("another node runs here") };
/// let mut server = Server::start(node.clone(), &claimed)?;
/// # let _ = config;
/// drop(Client::connect(&home).await?);
/// server.finish().await; // once nobody uses it
/// server.stop().await; // or at once
/// node.shutdown().await;
/// # Ok(()) }
/// ```
pub struct Server {
    settings: Arc<OnceLock<ReadSettings>>,
    lent_relay: Arc<OnceLock<ReportLentRelay>>,
    ends: Ends,
    accepting: JoinHandle<()>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

/// The two ways in which a server ends.
#[derive(Debug, Clone, Default)]
struct Ends {
    /// Send goodbye, answer the remaining requests, and end with the last client.
    when_idle: CancellationToken,
    /// End now.
    now: CancellationToken,
}

/// The values that every connection needs.
#[derive(Clone)]
struct Serving {
    node: Node,
    data_dir: PathBuf,
    settings: Arc<OnceLock<ReadSettings>>,
    lent_relay: Arc<OnceLock<ReportLentRelay>>,
    ends: Ends,
}

impl Serving {
    /// What the relay that this node runs for contacts does, if it runs one.
    async fn lent_relay(&self) -> Option<LentRelayLine> {
        let report = self.lent_relay.get()?;
        report().await
    }
}

impl Server {
    /// Opens the socket of a claimed home and starts to answer it for `node`.
    pub fn start(node: Node, claimed: &Claimed) -> io::Result<Server> {
        let listener = Listener::bind(claimed)?;
        let ends = Ends::default();
        let (settings, lent_relay) = (Arc::default(), Arc::default());
        let serving = Serving {
            node,
            data_dir: claimed.home().data_dir().to_owned(),
            settings: Arc::clone(&settings),
            lent_relay: Arc::clone(&lent_relay),
            ends: ends.clone(),
        };
        Ok(Server {
            settings,
            lent_relay,
            ends,
            accepting: tokio::spawn(accept(listener, serving)),
        })
    }

    /// The way to read the node's settings again, for the request `apply-settings`. The first one
    /// stays.
    pub fn reads_settings(&self, read: ReadSettings) {
        let _first_stays = self.settings.set(read);
    }

    /// The way to ask the relay that the node runs for contacts what it does, for the requests `status`
    /// and `doctor`. The first one stays.
    pub fn shows_lent_relay(&self, report: ReportLentRelay) {
        let _first_stays = self.lent_relay.set(report);
    }

    /// Asks clients to disconnect, and returns when all have done so and the socket is closed. An
    /// idle client that stays is disconnected after two seconds.
    pub async fn finish(&mut self) {
        self.ends.when_idle.cancel();
        self.accepted().await;
    }

    /// Closes the socket and every connection within half a second. Requests that still wait for a
    /// delivery are answered with the state that was reached.
    pub async fn stop(&mut self) {
        self.ends.when_idle.cancel();
        self.ends.now.cancel();
        self.accepted().await;
    }

    async fn accepted(&mut self) {
        if self.accepting.is_finished() {
            return;
        }
        if let Err(error) = (&mut self.accepting).await {
            tracing::error!(%error, "the control socket's task failed");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.now.cancel();
    }
}

/// Accepts until one of the two ends, then closes the socket. A client that has connected but was
/// not accepted by then sees a reset before its first answer, and asks the next node.
async fn accept(listener: Listener, serving: Serving) {
    let connections = TaskTracker::new();
    loop {
        tokio::select! {
            biased;
            () = serving.ends.now.cancelled() => break,
            came = listener.accept() => match came {
                Ok(stream) => welcome(stream, &serving, &connections),
                Err(error) => {
                    tracing::warn!(%error, "a connection to the control socket could not be accepted");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            },
            () = idle(&serving.ends, &connections) => break,
        }
    }
    connections.close();
    if tokio::time::timeout(STOP_WITHIN, connections.wait())
        .await
        .is_err()
    {
        tracing::debug!("some control connections did not read their last answers");
    }
}

/// Resolves when the server is to end with its last client and that has disconnected.
async fn idle(ends: &Ends, connections: &TaskTracker) {
    ends.when_idle.cancelled().await;
    connections.close();
    connections.wait().await;
}

fn welcome(stream: UnixStream, serving: &Serving, connections: &TaskTracker) {
    match is_same_user(&stream) {
        Ok(true) if connections.len() < CONNECTIONS_MAX => {
            connections.spawn(connection::run(stream, serving.clone()));
        }
        Ok(true) => {
            tracing::warn!("{CONNECTIONS_MAX} control connections are open: refused another")
        }
        Ok(false) => tracing::warn!("refused a control connection of another user"),
        Err(error) => tracing::warn!(%error, "refused a control connection of an unknown user"),
    }
}

#[cfg(test)]
mod tests;
