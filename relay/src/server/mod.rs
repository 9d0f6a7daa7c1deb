//! The relay's server: a QUIC endpoint for control connections on the plane's socket, and the hub
//! that drives the pure core.
//!
//! A newcomer passes the `gate` and registers (`arrivals`). From then on a task passes `frames`
//! between it and the `hub` (`peer`), which receives `event`s. The hub makes all decisions with
//! [`crate::core`]. Dial-backs are sent by `dial_back`. Channel frames never arrive here: the plane
//! forwards them. [`Server`] is the handle for the operator.

mod addrs;
mod arrivals;
pub(crate) mod clock;
mod close;
mod dial_back;
mod endpoint;
mod event;
mod frames;
mod hub;
mod inherited;
mod listen;
mod log_event;
mod newcomers;
mod operator;
mod peer;
mod probe;
mod proxied;
mod public_address;
mod streams;
mod usage_file;
mod wording;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hobnob_mailbox::Mailboxes;
use hobnob_protocol::DeviceId;
use hobnob_protocol::relay::{self, PORT_RELAY};
use hobnob_transport::gate::Gate;
use hobnob_transport::key_file::KeyFileError;
use hobnob_transport::stream;
use hobnob_transport::tls::Credentials;
use quinn::{AsyncUdpSocket, VarInt};
use tokio::sync::{Mutex, broadcast, mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::{Admission, BanTarget, Bans, FileError, Rule};
use crate::core::{DRAIN_OVER, Limits, Relay};
use crate::fleet::{
    self, CurrentList, FleetConfig, FleetError, ListFile, NewListError, SharedBans, Surroundings,
};
use crate::keys;
use crate::mailbox::{self, HoldError, MailboxConfig, Totals};
use crate::plane::{self, Counted, Latency, PlaneConfig, PlaneHandle};
use arrivals::{ArrivalContext, GATE_LIMITS};
use clock::Clock;
use close::STOPPING;
use dial_back::DialBacks;
use event::Event;
use hub::Hub;
use operator::{Change, OperatorRequest};
use streams::{Certificate, Listeners, StreamContext};

pub use inherited::Inherited;
pub use listen::raise_descriptor_limit;
pub use log_event::LogEvent;
pub use newcomers::{Fate, Newcomers};
pub use operator::{Changed, OperatorError, PeerStatus, Table};
pub use probe::ProbeError;
pub use streams::{ListenError, PROXIES, TcpConfig};

/// Maximum events that wait for the hub. Beyond it the frames of the peers stay in their streams.
const EVENTS_MAX: usize = 1024;

/// The sleepers that [`Server::summary`] lists.
const SLEEPERS_SHOWN: usize = 1_000;

/// Maximum events that wait for the operator's log. Beyond, the oldest are lost and counted.
const LOG_EVENTS_MAX: usize = 1024;

/// How often the quotas are stored. A crash forgets at most the bytes of this time.
const STORE_USAGE_EVERY: Duration = Duration::from_secs(60);

/// How soon changes of the bans by other relays of the fleet are on disk.
const STORE_BANS_AFTER: Duration = Duration::from_secs(1);

/// How long connections and tasks may take to end once the relay has closed them.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// How long the hub may take to disconnect all peers.
const DRAIN_LIMIT: Duration = DRAIN_OVER.saturating_add(Duration::from_secs(1));

/// How many ports of the system's choice are tried until one is free for both UDP and TCP.
const PORT_ATTEMPTS: u32 = 8;

/// The configuration of a relay.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address to listen on. An unspecified IPv6 address includes IPv4. `None`: port 4627 on
    /// all addresses, or on those of IPv4 if the machine has no IPv6.
    pub listen: Option<SocketAddr>,
    /// The folder of its key and its bans. It must exist.
    pub home: PathBuf,
    /// Which peers to admit.
    pub rule: Rule,
    /// How much to serve.
    pub limits: Limits,
    /// Where to accept streams of nodes behind firewalls that block UDP.
    pub tcp: TcpConfig,
    /// Sockets that another program has bound for the relay.
    pub inherited: Inherited,
    /// Where to hold mail for peers that are away. `None`: nowhere.
    pub mailbox: Option<MailboxConfig>,
    /// The fleet that the relay is a member of. `None`: it is alone.
    pub fleet: Option<FleetConfig>,
}

/// Why a relay can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The key file is unusable.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The file of bans is unusable.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another program uses the port.
    #[error("UDP {0} is in use by another program")]
    Taken(SocketAddr),
    /// The address is not one of this machine.
    #[error("{0} is not an address of this machine")]
    NotHere(SocketAddr),
    /// The user may not listen on this port.
    #[error("this user may not listen on UDP {0}")]
    Forbidden(SocketAddr),
    /// It cannot accept streams.
    #[error(transparent)]
    Tcp(#[from] ListenError),
    /// A socket that another program has bound can't be used.
    #[error("can't use an inherited socket: {0}")]
    Inherited(io::Error),
    /// It cannot hold mail.
    #[error(transparent)]
    Mailbox(#[from] HoldError),
    /// It cannot be a member of its fleet.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// Any other error of the system.
    #[error("can't listen on UDP {addr}: {error}")]
    Socket {
        /// The address.
        addr: SocketAddr,
        /// The error of the system.
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

/// A running relay. Clones share it. It runs until [`Server::shutdown`], or until the last clone is
/// dropped.
#[derive(Debug, Clone)]
pub struct Server(Arc<Running>);

#[derive(Debug)]
struct Running {
    id: DeviceId,
    home: PathBuf,
    endpoint: quinn::Endpoint,
    plane: PlaneHandle,
    tcp_addrs: Vec<SocketAddr>,
    certificate: Certificate,
    newcomers: Arc<Newcomers>,
    mailboxes: Option<Mailboxes>,
    fleet: Option<CurrentList>,
    shared_bans: Option<SharedBans>,
    hub: mpsc::Sender<Event>,
    tasks: TaskTracker,
    stop: CancellationToken,
    log: broadcast::Sender<LogEvent>,
    /// Held while bans are changed and written, so that the file ends with the latest state.
    bans: Mutex<()>,
}

impl Server {
    /// Starts a relay, within a tokio runtime.
    pub fn start(config: Config) -> Result<Server, StartError> {
        let Config {
            listen,
            home,
            rule,
            mut limits,
            tcp,
            inherited,
            mailbox,
            fleet,
        } = config;
        let key = keys::load_or_create(&home)?;
        let sleep_resets = keys::Derived::from(&key).sleep_resets;
        let admission = Admission::load(rule, &home)?;
        let credentials = Credentials::new(&key);
        let mailboxes = mailbox
            .map(|config| mailbox::open(&config, wall_ms))
            .transpose()?;
        limits.mailboxes = mailboxes.is_some();
        limits.fleet = fleet.is_some();
        let list = fleet
            .as_ref()
            .map(|fleet| {
                let list = CurrentList::new(key.id(), fleet.list.clone());
                list.ok_or(FleetError::NotMember(key.id()))
            })
            .transpose()?;
        let load_bans = |_: &_| SharedBans::load(&home, admission.bans(), wall_ms());
        let shared_bans = list.as_ref().map(load_bans);
        let (socket, plane, listeners) = bind_all(
            listen,
            &PlaneConfig::of_rate(limits.rate),
            &tcp,
            &credentials,
            &inherited,
        )?;
        // The control stream, and one about mailboxes.
        let streams = if mailboxes.is_some() { 2 } else { 1 };
        let endpoint = endpoint::new(socket, &key, streams)
            .map_err(|e| StartError::of_socket(plane.local_addr(), e))?;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let (hub, events) = mpsc::channel(EVENTS_MAX);
        let mut relay = Relay::new(limits, keys::random());
        let (day, used) = usage_file::read(&home);
        relay.restore_usage(day, used);
        let (log, _) = broadcast::channel(LOG_EVENTS_MAX);
        let newcomers = Arc::<Newcomers>::default();
        let dial_backs = DialBacks::new(tasks.clone(), stop.clone());
        let id = key.id();
        let directory = fleet
            .zip(list.clone().zip(shared_bans.clone()))
            .map(|(config, (list, bans))| {
                let hub = hub.clone();
                let report = move |event| {
                    let hub = hub.clone();
                    async move {
                        // If the hub has ended, nothing needs this event.
                        let _ended = hub.send(Event::Fleet(event)).await;
                    }
                };
                let surroundings = Surroundings {
                    key: Arc::new(key),
                    list,
                    bans,
                    report,
                    tasks: tasks.clone(),
                    stop: stop.clone(),
                };
                fleet::start(&config, surroundings)
            })
            .transpose()?;
        let driver = Hub::new(
            relay,
            admission,
            (plane.clone(), sleep_resets),
            newcomers.clone(),
            dial_backs,
            directory,
            list.clone().zip(shared_bans.clone()),
            log.clone(),
        );
        tasks.spawn(stop.clone().run_until_cancelled_owned(driver.run(events)));
        let gate = Gate::new(GATE_LIMITS);
        let context = ArrivalContext {
            gate,
            hub: hub.clone(),
            tasks: tasks.clone(),
            connections: Arc::default(),
            newcomers: newcomers.clone(),
            plane: plane.clone(),
            mailboxes: mailboxes.clone(),
            fleet: list.clone(),
        };
        let (tcp_addrs, certificate) = (listeners.addrs(), listeners.certificate.clone());
        listeners.serve(&StreamContext {
            plane: plane.clone(),
            newcomers: newcomers.clone(),
            tasks: tasks.clone(),
            stop: stop.clone(),
        });
        tasks.spawn(arrivals::accept_all(endpoint.clone(), context));
        let running = Running {
            id,
            home,
            endpoint,
            plane,
            tcp_addrs,
            certificate,
            newcomers,
            mailboxes,
            fleet: list,
            shared_bans,
            hub,
            tasks,
            stop,
            log,
            bans: Mutex::new(()),
        };
        let server = Server(Arc::new(running));
        server.store_usage_regularly();
        server.store_shared_bans();
        Ok(server)
    }

    /// The relay's identity.
    pub fn id(&self) -> DeviceId {
        self.0.id
    }

    /// The address that the socket is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.0.plane.local_addr()
    }

    /// The TCP addresses that the relay listens on.
    pub fn tcp_addrs(&self) -> &[SocketAddr] {
        &self.0.tcp_addrs
    }

    /// The addresses at which others can reach the relay, as far as this machine knows.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        addrs::reachable(self.local_addr())
    }

    /// The counters of the forwarding plane.
    pub fn counters(&self) -> Counted {
        self.0.plane.counters()
    }

    /// How long forwarding took since the start.
    pub fn latency(&self) -> Latency {
        self.0.plane.latency()
    }

    /// The newcomers since the start, by fate.
    pub fn newcomers(&self) -> &Newcomers {
        &self.0.newcomers
    }

    /// How much mail the relay holds, if it holds any.
    pub fn mailboxes(&self) -> Option<Totals> {
        self.0.mailboxes.as_ref().map(Mailboxes::totals)
    }

    /// The liveness table.
    pub async fn table(&self) -> Result<Table, OperatorError> {
        self.ask(|answer| OperatorRequest::Peers(usize::MAX, answer))
            .await
    }

    /// The liveness table with the first thousand sleepers only. There can be a million, and to list
    /// them delays the relay.
    pub async fn summary(&self) -> Result<Table, OperatorError> {
        self.ask(|answer| OperatorRequest::Peers(SLEEPERS_SHOWN, answer))
            .await
    }

    /// Ends a peer's connection. The peer may connect again. A target is an id, the beginning of an
    /// id, or a label.
    pub async fn kick(&self, target: &str) -> Result<DeviceId, OperatorError> {
        self.ask(|answer| OperatorRequest::Kick(target.to_owned(), answer))
            .await?
    }

    /// Bans a peer, or addresses such as 192.0.2.0/24, and ends the connections that this concerns.
    /// Returns when the ban is on disk.
    pub async fn ban(&self, target: &str) -> Result<BanTarget, OperatorError> {
        self.set_banned(target, true).await
    }

    /// Removes the ban of a peer or of addresses. Returns when the change is on disk.
    pub async fn unban(&self, target: &str) -> Result<BanTarget, OperatorError> {
        self.set_banned(target, false).await
    }

    /// Replaces rule, limits and certificate, and reads the bans in the relay's home again. Ends the
    /// connections of peers that are not admitted any more. If a file is unusable, nothing changes.
    ///
    /// `certificate`: the files of a certificate and its key. Without them the old one stays.
    pub async fn change(
        &self,
        rule: Rule,
        mut limits: Limits,
        certificate: Option<(PathBuf, PathBuf)>,
    ) -> Result<Changed, OperatorError> {
        limits.mailboxes = self.0.mailboxes.is_some();
        limits.fleet = self.0.fleet.is_some();
        let _in_order = self.0.bans.lock().await;
        let (home, shared) = (self.0.home.clone(), self.0.shared_bans.clone());
        let read = move || {
            // Otherwise what other relays have just banned would count as removed by the operator.
            if let Some(shared) = shared {
                shared.write_merged(&home).map_err(OperatorError::File)?;
            }
            let acceptor = certificate
                .map(|(certificate, key)| stream::tls::acceptor_from_files(&certificate, &key))
                .transpose()
                .map_err(OperatorError::Certificate)?;
            let bans = Bans::load(&home).map_err(OperatorError::File)?;
            Ok::<_, OperatorError>((bans, acceptor))
        };
        let read = tokio::task::spawn_blocking(read).await;
        let (bans, acceptor) = read.map_err(|_| OperatorError::Stopping)??;
        if let Some(acceptor) = acceptor {
            self.0.certificate.replace(acceptor);
        }
        let change = Box::new(Change { rule, bans, limits });
        let changed = self
            .ask(|answer| OperatorRequest::Change(change, answer))
            .await?;
        if let Some(shared) = self.0.shared_bans.clone() {
            let home = self.0.home.clone();
            let written = tokio::task::spawn_blocking(move || shared.write_merged(&home)).await;
            written
                .map_err(|_| OperatorError::Stopping)?
                .map_err(OperatorError::NotStored)?;
        }
        Ok(changed)
    }

    /// Whether [`Server::change_fleet_list`] would replace the list of the fleet by this one, unless it
    /// fails.
    pub fn check_fleet_list(&self, list: &ListFile) -> Result<bool, NewListError> {
        let current = self.0.fleet.as_ref().ok_or(NewListError::NoFleet)?;
        current.check(list)
    }

    /// Replaces the list of the fleet by one with a higher number. Returns whether it has changed.
    pub fn change_fleet_list(&self, list: ListFile) -> Result<bool, NewListError> {
        let current = self.0.fleet.as_ref().ok_or(NewListError::NoFleet)?;
        current.replace(list)
    }

    /// The events for the operator's log, from now on. A receiver that is too slow loses the oldest.
    pub fn log_events(&self) -> broadcast::Receiver<LogEvent> {
        self.0.log.subscribe()
    }

    async fn set_banned(&self, target: &str, banned: bool) -> Result<BanTarget, OperatorError> {
        let _in_order = self.0.bans.lock().await;
        let change = self
            .ask(|answer| OperatorRequest::SetBanned(target.to_owned(), banned, answer))
            .await??;
        let (home, shared) = (self.0.home.clone(), self.0.shared_bans.clone());
        let write = move || {
            change.all.write(&home)?;
            shared.map_or(Ok(()), |shared| shared.write_merged(&home))
        };
        let written = tokio::task::spawn_blocking(write).await;
        written
            .map_err(|_| OperatorError::Stopping)?
            .map_err(OperatorError::NotStored)?;
        Ok(change.target)
    }

    /// Writes what other relays of the fleet have changed of the bans, until the relay stops. The task
    /// does not keep the relay running.
    fn store_shared_bans(&self) {
        let Some(shared) = self.0.shared_bans.clone() else {
            return;
        };
        let (running, stop) = (Arc::downgrade(&self.0), self.0.stop.clone());
        let store = async move {
            loop {
                shared.merged().await;
                // Further changes may follow.
                sleep(STORE_BANS_AFTER).await;
                let Some(running) = running.upgrade() else {
                    return;
                };
                Server(running).write_merged_bans(&shared).await;
            }
        };
        self.0.tasks.spawn(stop.run_until_cancelled_owned(store));
    }

    /// Writes what other relays have changed of the bans. An error is logged: the next change tries
    /// again.
    async fn write_merged_bans(&self, shared: &SharedBans) {
        let _in_order = self.0.bans.lock().await;
        let (home, shared) = (self.0.home.clone(), shared.clone());
        let written = tokio::task::spawn_blocking(move || shared.write_merged(&home)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, "can't store the bans that other relays have made");
        }
    }

    /// Stores the quotas every minute until the relay stops. The task does not keep the relay
    /// running.
    fn store_usage_regularly(&self) {
        let (running, stop) = (Arc::downgrade(&self.0), self.0.stop.clone());
        let store = async move {
            loop {
                sleep(STORE_USAGE_EVERY).await;
                let Some(running) = running.upgrade() else {
                    return;
                };
                Server(running).store_usage().await;
            }
        };
        self.0.tasks.spawn(stop.run_until_cancelled_owned(store));
    }

    /// Stores the quotas. An error is logged: the relay can serve without the file.
    async fn store_usage(&self) {
        let Ok(usage) = self.ask(OperatorRequest::Usage).await else {
            return;
        };
        if usage.1.is_empty() {
            return;
        }
        let home = self.0.home.clone();
        let stored = tokio::task::spawn_blocking(move || usage_file::write(&home, &usage)).await;
        if let Ok(Err(error)) = stored {
            tracing::warn!(%error, "can't store the quotas of today");
        }
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

    /// Checks the relay's health: sends a frame through the relay's own port and waits for it, at
    /// most one second.
    pub async fn probe(&self) -> Result<(), ProbeError> {
        probe::probe(&self.0.plane).await
    }

    /// Disconnects all peers one by one within three seconds, and refuses new ones until the relay
    /// stops. Peers of a fleet move to its other relays. Returns how many were connected.
    pub async fn drain(&self) -> Result<usize, OperatorError> {
        let (done, drained) = oneshot::channel();
        let sent = self.0.hub.send(Event::Drain(done)).await;
        sent.map_err(|_| OperatorError::Stopping)?;
        match timeout(DRAIN_LIMIT, drained).await {
            Ok(count) => count.map_err(|_| OperatorError::Stopping),
            Err(_) => Err(OperatorError::StillDraining),
        }
    }

    /// Disconnects all peers one by one within three seconds, refuses new ones, and stops.
    pub async fn shutdown(&self) {
        let running = &self.0;
        if let Err(OperatorError::StillDraining) = self.drain().await {
            tracing::warn!("could not disconnect all peers in time");
        }
        // The connections have ended, so the counts are final.
        self.store_usage().await;
        if let Some(shared) = &running.shared_bans {
            self.write_merged_bans(shared).await;
        }
        running.endpoint.close(
            VarInt::from_u32(relay::close::DRAINING),
            STOPPING.as_bytes(),
        );
        if timeout(CLOSE_LIMIT, running.endpoint.wait_idle())
            .await
            .is_err()
        {
            tracing::debug!("some peers did not confirm the end of their connections");
        }
        running.stop.cancel();
        running.tasks.close();
        if timeout(CLOSE_LIMIT, running.tasks.wait()).await.is_err() {
            tracing::warn!("some tasks did not end in time");
        }
        running.plane.stop();
        if let Some(mailboxes) = running.mailboxes.clone() {
            let closed = tokio::task::spawn_blocking(move || mailboxes.close());
            if timeout(CLOSE_LIMIT, closed).await.is_err() {
                tracing::warn!("the database of the mailboxes was not closed in time");
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
        self.endpoint.close(
            VarInt::from_u32(relay::close::DRAINING),
            STOPPING.as_bytes(),
        );
    }
}

/// The wall clock, in milliseconds since the Unix epoch.
fn wall_ms() -> u64 {
    Clock::start().date_ms()
}

/// The bound sockets of a relay.
type Bound = (Arc<dyn AsyncUdpSocket>, PlaneHandle, Listeners);

/// Binds the UDP socket and the TCP listeners.
fn bind_all(
    listen: Option<SocketAddr>,
    config: &PlaneConfig,
    tcp: &TcpConfig,
    credentials: &Credentials,
    inherited: &Inherited,
) -> Result<Bound, StartError> {
    let mut attempts = 0;
    loop {
        let (socket, plane) = bind(listen, config, inherited)?;
        attempts += 1;
        match Listeners::bind(tcp, plane.local_addr(), credentials, inherited) {
            Ok(listeners) => return Ok((socket, plane, listeners)),
            // The system chose a port that is free for UDP only.
            Err(ListenError::Socket { error, .. })
                if error.kind() == io::ErrorKind::AddrInUse
                    && listen.is_some_and(|addr| addr.port() == 0)
                    && attempts < PORT_ATTEMPTS => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn bind(
    listen: Option<SocketAddr>,
    config: &PlaneConfig,
    inherited: &Inherited,
) -> Result<(Arc<dyn AsyncUdpSocket>, PlaneHandle), StartError> {
    if let Some(socket) = inherited.udp().map_err(StartError::Inherited)? {
        return plane::start(socket, config.clone()).map_err(StartError::Inherited);
    }
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
        | StartError::Tcp(_)
        | StartError::Inherited(_)
        | StartError::File(_)
        | StartError::Mailbox(_)
        | StartError::Fleet(_) => Err(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    #[test]
    fn socket_errors_are_distinguished_by_the_operators_remedy() {
        let addr: SocketAddr = "192.0.2.7:9".parse().unwrap();
        let error = |kind: ErrorKind| StartError::of_socket(addr, kind.into());
        assert!(matches!(error(ErrorKind::AddrInUse), StartError::Taken(_)));
        assert!(matches!(
            error(ErrorKind::AddrNotAvailable),
            StartError::NotHere(_)
        ));
        assert!(matches!(
            error(ErrorKind::PermissionDenied),
            StartError::Forbidden(_)
        ));
        assert!(matches!(error(ErrorKind::Other), StartError::Socket { .. }));
    }
}
