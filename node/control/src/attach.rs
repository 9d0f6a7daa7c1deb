//! Finds the running node of a home, or becomes it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::client::{Client, ClientError};
use super::server::{ReadSettings, ReportLentRelay, Server};
use hobnob::{Config, Node, StartError};
use hobnob_local::home::{Claim, Claimed, Home, HomeError};

/// How long the process that holds a home may take until it answers or ends.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The pause between two attempts: the first doubles up to the second.
const LOOK_AGAIN: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(100)];

/// How long a node may take to stop.
const SHUTDOWN_WITHIN: Duration = Duration::from_secs(5);

/// A connection to the node of a home, which may run in this process.
pub struct Attached {
    /// The connection.
    pub client: Client,
    /// The node, if this process runs it.
    pub host: Option<Host>,
}

/// A node that this process runs for a home, and its control socket.
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let config = || hobnob::Config { listen: "127.0.0.1:0".parse().ok(), mdns: false, ..hobnob::Config::new(dir.path()) };
/// # let home = hobnob_control::Home::at(dir.path())?;
/// use hobnob_control::{Claim, Host};
///
/// let Claim::Ours(claimed) = home.claim()? else { panic!("another node runs here") };
/// let mut host = Host::start(claimed, config()).await?; // from now on, others attach to it
/// host.finish().await; // once nobody uses it
/// host.stop().await; // or at once
/// # Ok(()) }
/// ```
pub struct Host {
    node: Node,
    server: Server,
    /// The last field, because fields drop in order: the home is free once node and server are gone.
    claimed: Claimed,
}

/// The reason why there is no connection to the node of a home.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The folder can't be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The node could not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A node answers with an error.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The control socket can't be created.
    #[error("can't create the control socket {path:?} ({error})")]
    Socket {
        /// Its path.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// Another process holds the home and doesn't answer.
    #[error("another hobnob{} uses {home:?} and does not answer: try again, and stop that process if it stays silent", process(*pid))]
    Silent {
        /// The home.
        home: PathBuf,
        /// The id of the process, if it is known.
        pid: Option<u32>,
    },
}

/// Connects to the running node of `home`. If none runs, claims the home, starts a node in this
/// process, and connects to it. If several processes do so at once, one runs the node and the others
/// become its clients.
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// use hobnob_control::attach::attach;
/// use hobnob_control::wire::Ping;
/// use hobnob_control::{Attached, Home};
///
/// let home = Home::at(dir.path())?;
/// let config = || hobnob::Config { listen: "127.0.0.1:0".parse().ok(), mdns: false, ..hobnob::Config::new(dir.path()) };
/// let first: Attached = attach(&home, config).await?;
/// let second = attach(&home, config).await?;
/// assert!(first.host.is_some() && second.host.is_none(), "the first one runs the node, the second uses it");
/// let pong = second.client.ask(Ping {}).await?;
/// assert_eq!(pong.pid, std::process::id());
/// second.finish().await;
/// first.finish().await; // the node has ended
/// # Ok(()) }
/// ```
pub async fn attach(home: &Home, config: impl FnOnce() -> Config) -> Result<Attached, AttachError> {
    match find_within(home, ANSWER_WITHIN).await? {
        Found::Running(client) => Ok(Attached { client, host: None }),
        Found::Free(claimed) => {
            let host = Host::start(claimed, config()).await?;
            let client = Client::connect(host.claimed.home()).await?;
            Ok(Attached {
                client,
                host: Some(host),
            })
        }
    }
}

enum Found {
    Running(Client),
    Free(Claimed),
}

async fn find_within(home: &Home, limit: Duration) -> Result<Found, AttachError> {
    let mut holder = None;
    let found = tokio::time::timeout(limit, find(home, &mut holder)).await;
    found.unwrap_or_else(|_| {
        Err(AttachError::Silent {
            home: home.data_dir().to_owned(),
            pid: holder,
        })
    })
}

/// Tries until a node answers or the home is free. A process that holds the home and does not answer
/// is starting or stopping.
async fn find(home: &Home, holder: &mut Option<u32>) -> Result<Found, AttachError> {
    let [mut pause, longest] = LOOK_AGAIN;
    loop {
        match Client::connect(home).await {
            Ok(client) => return Ok(Found::Running(client)),
            Err(ClientError::NotRunning { .. }) => {}
            Err(other) => return Err(other.into()),
        }
        match home.claim()? {
            Claim::Ours(claimed) => return Ok(Found::Free(claimed)),
            Claim::Busy(pid) => *holder = pid,
        }
        tokio::time::sleep(pause).await;
        pause = longest.min(pause * 2);
    }
}

impl Attached {
    /// Disconnects. A node in this process stops as soon as no other process uses it.
    pub async fn finish(self) {
        drop(self.client);
        if let Some(mut host) = self.host {
            host.finish().await;
        }
    }
}

impl Host {
    /// Starts a node on a claimed home. Its socket exists only once it can answer.
    pub async fn start(claimed: Claimed, config: Config) -> Result<Host, AttachError> {
        let node = Node::start_locked(config).await?;
        match Server::start(node.clone(), &claimed) {
            Ok(server) => Ok(Host {
                node,
                server,
                claimed,
            }),
            Err(error) => {
                stop(&node).await;
                Err(AttachError::Socket {
                    path: claimed.home().socket().to_owned(),
                    error,
                })
            }
        }
    }

    /// The way to read the node's settings again, for the request `apply-settings`.
    pub fn reads_settings(&self, read: ReadSettings) {
        self.server.reads_settings(read);
    }

    /// The way to ask the relay that the node runs for contacts what it does, for the requests `status`
    /// and `doctor`.
    pub fn shows_lent_relay(&self, report: ReportLentRelay) {
        self.server.shows_lent_relay(report);
    }

    /// The node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Stops when no client is connected any more. Cancel safe: call [`Host::stop`] instead then.
    pub async fn finish(&mut self) {
        self.server.finish().await;
        stop(&self.node).await;
    }

    /// Stops now.
    pub async fn stop(&mut self) {
        self.server.stop().await;
        stop(&self.node).await;
    }
}

async fn stop(node: &Node) {
    if tokio::time::timeout(SHUTDOWN_WITHIN, node.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("the node did not stop in time; its messages are on disk");
    }
}

fn process(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_home_whose_holder_is_silent_is_named_with_its_process() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path()).unwrap();
        let _held = home.claim().unwrap();
        match find_within(&home, Duration::from_millis(20)).await {
            Err(error @ AttachError::Silent { .. }) => {
                let pid = std::process::id().to_string();
                assert!(error.to_string().contains(&pid), "{error}");
            }
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("the home is held"),
        }
    }
}
