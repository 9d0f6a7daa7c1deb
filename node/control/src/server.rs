//! Answers the control socket of one node.
//!
//! Each connection has its own task; `connection` says how its requests are carried out. There are
//! two ways to end: [`Server::finish`] goes on answering until the last client has left,
//! [`Server::stop`] ends at once.

mod connection;
mod requests;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use hobnob::Node;
use hobnob_local::home::Claimed;
use hobnob_local::socket::{Listener, is_same_user};

/// Connections at once; a further one is closed without a word.
const CONNECTIONS_MAX: usize = 256;

/// How long to leave the socket alone when the system has no file descriptor for another
/// connection.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// How long [`Server::stop`] waits for answers to be written.
const STOP_WITHIN: Duration = Duration::from_millis(500);

/// The control socket, being answered.
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
#[derive(Debug)]
pub struct Server {
    ends: Ends,
    accepting: JoinHandle<()>,
}

/// The two ways in which a server ends.
#[derive(Debug, Clone, Default)]
struct Ends {
    /// Say goodbye, answer what is still asked, and end with the last client.
    when_idle: CancellationToken,
    /// End now.
    now: CancellationToken,
}

/// What every connection knows.
#[derive(Clone)]
struct Serving {
    node: Node,
    data_dir: PathBuf,
    ends: Ends,
}

impl Server {
    /// Opens the socket of a claimed home, and answers for `node` from now on.
    pub fn start(node: Node, claimed: &Claimed) -> io::Result<Server> {
        let listener = Listener::bind(claimed)?;
        let ends = Ends::default();
        let serving = Serving {
            node,
            data_dir: claimed.home().data_dir().to_owned(),
            ends: ends.clone(),
        };
        Ok(Server {
            ends,
            accepting: tokio::spawn(accept(listener, serving)),
        })
    }

    /// Tells clients to go, and returns when all have gone and the socket is closed. A client that
    /// has nothing to ask and does not go is cut off after a few seconds.
    pub async fn finish(&mut self) {
        self.ends.when_idle.cancel();
        self.accepted().await;
    }

    /// Closes the socket and every connection, within half a second. Requests that still wait for a
    /// delivery are answered with what has been reached.
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

/// Accepts until one of the two ends, then closes the socket. Who has connected and not been
/// accepted by then gets a reset before its first answer, and asks the next node.
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
        tracing::debug!("some control connections did not take their last answers");
    }
}

/// Resolves when the server is to end with its last client, and that has gone.
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
