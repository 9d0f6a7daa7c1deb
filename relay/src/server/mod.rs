//! The relay's server: a QUIC endpoint for control connections on the plane's socket, and the hub
//! that drives the pure core.
//!
//! A newcomer comes in through the `gate`, and registers (`arrivals`); from then on a task carries
//! its `frames` to the `hub` and the hub's to it (`peer`). All that is decided is decided in the
//! hub, by [`crate::core`]; channel frames never get here, the plane moves them; peers that ask for
//! it are called by `callers`. The operator's hold on all this is the [`Server`].

mod addrs;
mod arrivals;
mod callers;
mod clock;
mod endpoint;
mod frames;
mod gate;
mod hub;
mod newcomers;
mod operator;
mod peer;
mod probe;
mod wording;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hobnob_protocol::PeerId;
use hobnob_protocol::relay::{PORT_RELAY, close};
use quinn::{AsyncUdpSocket, VarInt};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::{self, Admission, FileError, Rule};
use crate::core::{DRAIN_OVER, Limits, Relay};
use crate::keys::{self, KeyError};
use crate::plane::{self, Counted, PlaneConfig, PlaneHandle};
use arrivals::{ArrivalContext, STOPPING};
use callers::Callers;
use gate::{Gate, HANDSHAKES_MAX, WAITING_MAX};
use hub::{Event, Hub};
use operator::OperatorRequest;

pub use newcomers::{Fate, Newcomers};
pub use operator::{OperatorError, Peer, Table};
pub use probe::Unwell;

/// Events that wait for the hub. While it is full, peers' frames stay in their streams.
const EVENTS_MAX: usize = 1024;

/// How long peers and tasks may take to end once all have been told.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// How long the hub may take to tell all.
const DRAIN_LIMIT: Duration = DRAIN_OVER.saturating_add(Duration::from_secs(1));

/// How much of a second's rate a peer may send at once.
const BURST_PER_RATE: u64 = 4;

/// How a relay is to run.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; an unspecified IPv6 address means IPv4, too. None: port 4627 on all
    /// addresses, of IPv4 alone if the machine has no IPv6.
    pub listen: Option<SocketAddr>,
    /// The folder of its key and its bans, which must be there.
    pub home: PathBuf,
    /// Whom to let in.
    pub rule: Rule,
    /// What to take on.
    pub limits: Limits,
}

/// Why a relay can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Its bans.
    #[error(transparent)]
    File(#[from] FileError),
    /// Somebody else has the port.
    #[error(
        "UDP {0} is taken by another program, which may be another relay: end that, or name another port with --listen"
    )]
    Taken(SocketAddr),
    /// The address is not one of this machine's.
    #[error("{0} is not an address of this machine: name one that is, or [::]:{port} for all of them", port = .0.port())]
    NotHere(SocketAddr),
    /// The system forbids it.
    #[error("the system does not let this user listen on UDP {0}: choose a port above 1023")]
    Forbidden(SocketAddr),
    /// Anything else that the system says.
    #[error("can't listen on UDP {addr}: {error}")]
    Socket {
        /// Where.
        addr: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
}

impl StartError {
    fn of_socket(addr: SocketAddr, error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::AddrInUse {
            Self::Taken(addr)
        } else if error.kind() == io::ErrorKind::AddrNotAvailable {
            Self::NotHere(addr)
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            Self::Forbidden(addr)
        } else {
            Self::Socket { addr, error }
        }
    }
}

/// A running relay. Clones share it; it runs until [`Server::shutdown`], or until the last clone
/// goes.
#[derive(Debug, Clone)]
pub struct Server(Arc<Running>);

#[derive(Debug)]
struct Running {
    id: PeerId,
    home: PathBuf,
    endpoint: quinn::Endpoint,
    plane: PlaneHandle,
    newcomers: Arc<Newcomers>,
    hub: mpsc::Sender<Event>,
    tasks: TaskTracker,
    over: CancellationToken,
    /// Held while bans are changed and written, so that the file's last state is the last one
    /// decided.
    bans: Mutex<()>,
}

impl Server {
    /// Starts a relay, within a tokio runtime.
    pub fn start(config: Config) -> Result<Server, StartError> {
        let Config {
            listen,
            home,
            rule,
            limits,
        } = config;
        let key = keys::load_or_create(&home)?;
        let admission = Admission::load(rule, &home)?;
        let (socket, plane) = bind(listen, &plane_config(limits.rate))?;
        let endpoint = endpoint::new(socket, &key)
            .map_err(|e| StartError::of_socket(plane.local_addr(), e))?;
        let (tasks, over) = (TaskTracker::new(), CancellationToken::new());
        let (hub, events) = mpsc::channel(EVENTS_MAX);
        let relay = Relay::new(limits, keys::random());
        let newcomers = Arc::<Newcomers>::default();
        let callers = Callers::new(tasks.clone(), over.clone());
        let driver = Hub::new(relay, admission, plane.clone(), newcomers.clone(), callers);
        tasks.spawn(over.clone().run_until_cancelled_owned(driver.run(events)));
        let gate = Gate::new(HANDSHAKES_MAX, WAITING_MAX);
        let context = ArrivalContext {
            gate,
            hub: hub.clone(),
            tasks: tasks.clone(),
            connections: Arc::default(),
            newcomers: newcomers.clone(),
        };
        tasks.spawn(arrivals::let_in(endpoint.clone(), context));
        let running = Running {
            id: key.id(),
            home,
            endpoint,
            plane,
            newcomers,
            hub,
            tasks,
            over,
            bans: Mutex::new(()),
        };
        Ok(Server(Arc::new(running)))
    }

    /// The relay's identity.
    pub fn id(&self) -> PeerId {
        self.0.id
    }

    /// Where the socket is bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.0.plane.local_addr()
    }

    /// Where others can reach it, as far as this machine knows.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        addrs::reachable(self.local_addr())
    }

    /// What the forwarding plane has counted.
    pub fn counters(&self) -> Counted {
        self.0.plane.counters()
    }

    /// What became of those who came.
    pub fn newcomers(&self) -> &Newcomers {
        &self.0.newcomers
    }

    /// The liveness table.
    pub async fn table(&self) -> Result<Table, OperatorError> {
        self.ask(OperatorRequest::Peers).await
    }

    /// Ends a peer's connection; it may come back. A target is an id, the beginning of one, or a
    /// label.
    pub async fn kick(&self, target: &str) -> Result<PeerId, OperatorError> {
        self.ask(|answer| OperatorRequest::Kick(target.to_owned(), answer))
            .await?
    }

    /// Ends a peer's connection and keeps it out, over restarts. Returns when that is on disk.
    pub async fn ban(&self, target: &str) -> Result<PeerId, OperatorError> {
        self.set_banned(target, true).await
    }

    /// Keeps a peer out no longer. Returns when that is on disk.
    pub async fn unban(&self, target: &str) -> Result<PeerId, OperatorError> {
        self.set_banned(target, false).await
    }

    async fn set_banned(&self, target: &str, banned: bool) -> Result<PeerId, OperatorError> {
        let _in_order = self.0.bans.lock().await;
        let change = self
            .ask(|answer| OperatorRequest::SetBanned(target.to_owned(), banned, answer))
            .await??;
        let home = self.0.home.clone();
        let written =
            tokio::task::spawn_blocking(move || admission::write_banned(&home, &change.all)).await;
        written
            .map_err(|_| OperatorError::Stopping)?
            .map_err(OperatorError::NotKept)?;
        Ok(change.peer)
    }

    async fn ask<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<T>) -> OperatorRequest,
    ) -> Result<T, OperatorError> {
        let (answer, answered) = oneshot::channel();
        self.0
            .hub
            .send(Event::Operator(ask(answer)))
            .await
            .map_err(|_| OperatorError::Stopping)?;
        answered.await.map_err(|_| OperatorError::Stopping)
    }

    /// Sends a frame through the relay's own port, and waits until it comes back, for a second at
    /// most.
    pub async fn probe(&self) -> Result<(), Unwell> {
        probe::probe(&self.0.plane).await
    }

    /// Tells all peers to go, one after the other within three seconds, lets nobody in any more,
    /// and ends.
    pub async fn shutdown(&self) {
        let running = &self.0;
        let (done, drained) = oneshot::channel();
        let drain = async {
            if running.hub.send(Event::Drain(done)).await.is_ok() {
                // The hub may have ended meanwhile: then nobody is left to be told.
                let _ended = drained.await;
            }
        };
        if timeout(DRAIN_LIMIT, drain).await.is_err() {
            tracing::warn!("the relay could not tell all its peers in time that it stops");
        }
        running
            .endpoint
            .close(VarInt::from_u32(close::DRAINING), STOPPING.as_bytes());
        if timeout(CLOSE_LIMIT, running.endpoint.wait_idle())
            .await
            .is_err()
        {
            tracing::debug!("some peers did not confirm the relay's goodbye");
        }
        running.over.cancel();
        running.tasks.close();
        if timeout(CLOSE_LIMIT, running.tasks.wait()).await.is_err() {
            tracing::warn!("some tasks of the relay did not end in time");
        }
        running.plane.stop();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.over.cancel();
        self.endpoint
            .close(VarInt::from_u32(close::DRAINING), STOPPING.as_bytes());
    }
}

fn bind(
    listen: Option<SocketAddr>,
    config: &PlaneConfig,
) -> Result<(Arc<dyn AsyncUdpSocket>, PlaneHandle), StartError> {
    let at = |addr| {
        plane::bind(addr, config.clone()).map_err(|error| StartError::of_socket(addr, error))
    };
    if let Some(addr) = listen {
        return at(addr);
    }
    at((Ipv6Addr::UNSPECIFIED, PORT_RELAY).into()).or_else(|error| match error {
        StartError::NotHere(_) | StartError::Socket { .. } => {
            at((Ipv4Addr::UNSPECIFIED, PORT_RELAY).into())
        }
        StartError::Taken(_)
        | StartError::Forbidden(_)
        | StartError::Key(_)
        | StartError::File(_) => Err(error),
    })
}

/// A peer may send a quarter of a second's rate at once; the plane allows one batch in any case.
fn plane_config(rate: u64) -> PlaneConfig {
    PlaneConfig {
        rate,
        burst: rate / BURST_PER_RATE,
    }
}
