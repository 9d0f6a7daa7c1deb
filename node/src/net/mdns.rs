//! Discovery on the local network by mDNS (RFC 6762) and DNS-SD (RFC 6763).
//!
//! A record contains a peer's id, its port and the version of the record, and nothing about the
//! person or the machine. Any machine on the network can forge a record, so it is only a claim.
//! This module drops addresses that are not on the link on which the record arrived. The engine
//! checks the others before it dials them, and the handshake proves the id.
//!
//! The crate mdns-sd implements the protocol on a thread that this module starts and stops. It uses
//! all interfaces and follows their changes. Loopback is included, so that two homes on one machine
//! find each other. A name contains the id, so it is unique and nothing waits for mDNS probes: a
//! newcomer learns at once which peers are there, and announces itself at once.
//!
//! A search that never ends would ask for each record again every 96 seconds, because addresses are
//! valid for two minutes (RFC 6762 section 10). Nobody needs that: once a peer was dialed, its
//! session shows whether it is there. So a node searches for [`SEARCH_FOR`] when it starts and when
//! its interfaces change. A link may carry nothing yet at that time, so it searches again after
//! each of `SEARCH_AGAIN_EARLY`, and then once an hour. In between it asks nobody, and hears who
//! announces itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hobnob_core::diagnosis::MdnsFault;
use hobnob_protocol::DeviceId;
use mdns_sd::{
    IfKind, InterfaceId, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo,
};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::interfaces::Interfaces;
use hobnob_transport::addr::undeliverable;

/// The service type that is searched and announced.
const SERVICE: &str = "_hobnob._udp.local.";

/// The version of the record, its TXT key `v`.
const RECORD_VERSION: &str = "1";

/// How often to check for changed interfaces.
const INTERFACES_EVERY_SECS: u32 = 1;

/// Maximum records whose expiry is reported. One more replaces the record that arrived first.
pub const RECORDS_MAX: usize = 1_000;

/// Maximum addresses used of one record.
pub const ADDRS_PER_RECORD_MAX: usize = 4;

/// While records name addresses on no known link, how often the interfaces are read again.
const INTERFACES_READ_EVERY: Duration = Duration::from_millis(250);

/// Maximum records that the mDNS thread caches, those of other services included. The crate has no
/// limit of its own, so beyond this number the thread is replaced by one with an empty cache.
pub const CACHED_MAX: i64 = 20_000;

/// How often the number of cached records is compared with [`CACHED_MAX`].
const CACHE_MEASURED_EVERY: Duration = Duration::from_secs(2);

/// How long a search lasts. It consists of four queries, one, two and four seconds apart.
pub const SEARCH_FOR: Duration = Duration::from_secs(10);

/// The pauses between the first searches. Each node adds up to a quarter.
const SEARCH_AGAIN_EARLY: [Duration; 4] = [
    Duration::from_secs(30),
    Duration::from_secs(2 * 60),
    Duration::from_secs(8 * 60),
    Duration::from_secs(30 * 60),
];

/// The pause between two later searches. Each node adds up to [`SEARCH_LATER_MAX`].
const SEARCH_AGAIN_AFTER: Duration = Duration::from_secs(60 * 60);

/// The most by which a node searches later than others, so that many nodes do not search together.
const SEARCH_LATER_MAX: Duration = Duration::from_secs(10 * 60);

/// Between searches, how often to read what the thread has heard.
const READ_EVERY: Duration = Duration::from_millis(500);

/// When to give a command again to a thread that has too many.
const COMMAND_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Maximum addresses that are remembered of one record, of several announcements.
const ADDRS_REMEMBERED_MAX: usize = 4 * ADDRS_PER_RECORD_MAX;

/// How long the goodbye may take.
const STOP_LIMIT: Duration = Duration::from_millis(500);

/// A record appeared, changed or expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordEvent {
    /// A record announces a peer.
    Found(Found),
    /// A record does not announce these addresses any more.
    Expired(Found),
}

/// A peer and its addresses, as a record announces them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The id in the record. It is not proved.
    pub peer: DeviceId,
    /// One to [`ADDRS_PER_RECORD_MAX`] addresses on the link on which the record arrived.
    pub addrs: Vec<SocketAddr>,
}

/// Maximum interfaces on which discovery runs. The mDNS thread joins one multicast group on each
/// with one socket, and Linux allows 20 groups (`igmp_max_memberships`). Beyond that it would leave
/// out whatever interface is last in the system's list.
pub const INTERFACES_MAX: usize = 18;

/// Why discovery cannot start. The node runs without it, and tries again.
#[derive(Debug, thiserror::Error)]
pub enum MdnsError {
    /// There is no interface for multicast.
    #[error(
        "no network interface can multicast, so peers on this network can't be found; name them by address instead"
    )]
    NoInterface,
    /// Another program has the mDNS port and does not share it.
    #[error(
        "UDP port 5353 is held by a program that does not share it ({0}), so peers on this network can't be found; \
         end that program, or name peers by address"
    )]
    Port(io::Error),
    /// The mDNS thread can't be started.
    #[error("peers on this network can't be found: {0}")]
    Daemon(#[from] mdns_sd::Error),
}

impl From<&MdnsError> for MdnsFault {
    fn from(error: &MdnsError) -> Self {
        match error {
            MdnsError::NoInterface => Self::NoInterface,
            MdnsError::Port(_) => Self::PortHeld,
            MdnsError::Daemon(_) => Self::Thread,
        }
    }
}

/// The data that this node announces.
#[derive(Debug, Clone, Copy)]
pub struct Own {
    /// Its id.
    pub id: DeviceId,
    /// A random number of this run. It is part of the announced name, so that a copy of this
    /// identity on another machine is found like any peer.
    pub run: u64,
    /// The address on which it listens.
    pub bound: SocketAddr,
}

/// A running search and announcement. It ends with [`Discovery::stop`], or without a goodbye when
/// it is dropped.
#[derive(Debug)]
pub struct Discovery {
    /// The thread that runs now. The listener replaces it when its cache overflows.
    daemon: Arc<Mutex<Daemon>>,
    listener: JoinHandle<()>,
    /// Begins another search.
    search: Arc<Notify>,
}

/// When a node searches.
#[derive(Debug, Clone, Copy)]
struct Timing {
    search_for: Duration,
    /// Nodes search at different times, which depend on their runs.
    run: u64,
}

impl Timing {
    fn of_run(run: u64) -> Self {
        Self {
            search_for: SEARCH_FOR,
            run,
        }
    }

    /// The pause after this many searches since the start, or since the interfaces changed.
    fn pause_after(&self, searches: usize) -> Duration {
        let early = searches.checked_sub(1);
        let early = early.and_then(|n| SEARCH_AGAIN_EARLY.get(n)).copied();
        let pause = early.unwrap_or(SEARCH_AGAIN_AFTER);
        let later_max = SEARCH_LATER_MAX.min(pause / 4);
        pause + Duration::from_secs(self.run % later_max.as_secs())
    }
}

impl Discovery {
    /// Announces this node on `interfaces`, and reports the records of other nodes. Must be called
    /// within a tokio runtime.
    pub fn start(
        own: &Own,
        interfaces: &Interfaces,
        events: mpsc::Sender<RecordEvent>,
    ) -> Result<Self, MdnsError> {
        Self::start_at_times(own, interfaces, events, Timing::of_run(own.run))
    }

    fn start_at_times(
        own: &Own,
        interfaces: &Interfaces,
        events: mpsc::Sender<RecordEvent>,
        timing: Timing,
    ) -> Result<Self, MdnsError> {
        check_multicast()?;
        let name = instance_name(own.id, own.run);
        let announcement = announcement(own.id, &name, own.bound)?;
        let daemon = Daemon::start(&announcement, left_out(interfaces))?;
        let daemon = Arc::new(Mutex::new(daemon));
        let search = Arc::new(Notify::new());
        let listener = Listener {
            own: name,
            announcement,
            daemon: daemon.clone(),
            events,
            records: Records::default(),
            links: Links::default(),
            search: search.clone(),
            timing,
            names_heard: 0,
        };
        let listener = tokio::spawn(listener.listen());
        Ok(Self {
            daemon,
            listener,
            search,
        })
    }

    /// The machine's interfaces have changed.
    pub fn set_interfaces(&self, interfaces: &Interfaces) {
        if let Err(error) = lock(&self.daemon).leave_out(left_out(interfaces)) {
            tracing::debug!(%error, "the mDNS thread has ended");
        }
        self.search();
    }

    /// Searches now, and again as after a start.
    pub fn search(&self) {
        self.search.notify_one();
    }

    /// Withdraws the announcement and ends the mDNS thread. Takes half a second at most.
    pub async fn stop(self) {
        let Self {
            daemon,
            mut listener,
            search: _,
        } = self;
        let ended = async {
            // The listener must not start another thread from now on.
            listener.abort();
            let _ = (&mut listener).await;
            let daemon = lock(&daemon).thread.clone();
            if let Ok(status) = daemon.shutdown() {
                // The daemon has sent the goodbyes when it answers.
                let _ = status.recv_async().await;
            }
        };
        if timeout(STOP_LIMIT, ended).await.is_err() {
            tracing::debug!("mDNS did not stop in time");
        }
    }
}

/// The interfaces on which discovery does not run, because the machine has more than
/// [`INTERFACES_MAX`].
fn left_out(interfaces: &Interfaces) -> BTreeSet<String> {
    let by_use = interfaces.by_use().into_iter();
    by_use.skip(INTERFACES_MAX).map(str::to_owned).collect()
}

/// The mDNS thread. It outlives its handles, so dropping this ends it.
struct Daemon {
    thread: ServiceDaemon,
    left_out: BTreeSet<String>,
}

impl Daemon {
    /// Starts the thread and announces this node.
    fn start(
        announcement: &ServiceInfo,
        left_out: BTreeSet<String>,
    ) -> Result<Self, mdns_sd::Error> {
        let mut daemon = Self {
            thread: ServiceDaemon::new()?,
            left_out: BTreeSet::new(),
        };
        daemon.thread.set_ip_check_interval(INTERFACES_EVERY_SECS)?;
        // Announcements count between searches, too.
        daemon.thread.accept_unsolicited(true)?;
        daemon.leave_out(left_out)?;
        daemon.thread.register(announcement.clone())?;
        Ok(daemon)
    }

    /// Uses all interfaces but these from now on.
    fn leave_out(&mut self, left_out: BTreeSet<String>) -> Result<(), mdns_sd::Error> {
        // The thread keeps a list of all changes, so it is sent nothing else.
        let kinds = |names: std::collections::btree_set::Difference<'_, String>| {
            names.map(|name| IfKind::Name(name.clone())).collect()
        };
        let disabled: Vec<_> = kinds(left_out.difference(&self.left_out));
        let enabled: Vec<_> = kinds(self.left_out.difference(&left_out));
        if !disabled.is_empty() {
            tracing::warn!(
                ?left_out,
                "too many interfaces: discovery leaves some out, which lead to no other machine"
            );
            self.thread.disable_interface(disabled)?;
        }
        if !enabled.is_empty() {
            self.thread.enable_interface(enabled)?;
        }
        self.left_out = left_out;
        Ok(())
    }
}

fn lock(daemon: &Mutex<Daemon>) -> MutexGuard<'_, Daemon> {
    daemon.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.thread.shutdown();
    }
}

impl std::fmt::Debug for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Daemon(..)")
    }
}

/// The name of one run of a node: 52 characters of id, a dash, and eight of the run, which is less
/// than the 63 that a name holds.
fn instance_name(id: DeviceId, run: u64) -> String {
    format!("{id}-{:08x}", run & 0xffff_ffff)
}

/// This node's record.
fn announcement(
    id: DeviceId,
    name: &str,
    bound: SocketAddr,
) -> Result<ServiceInfo, mdns_sd::Error> {
    let text = id.to_string();
    let host = format!("{name}.local.");
    let properties = [("id", text.as_str()), ("v", RECORD_VERSION)];
    let ip = bound.ip();
    let mut info = if ip.is_unspecified() {
        ServiceInfo::new(SERVICE, name, &host, (), bound.port(), &properties[..])?
            .enable_addr_auto()
    } else {
        ServiceInfo::new(SERVICE, name, &host, ip, bound.port(), &properties[..])?
    };
    if ip.is_ipv4() {
        info.set_interfaces(vec![IfKind::IPv4]);
    }
    info.set_requires_probe(false);
    Ok(info)
}

/// Checks whether this machine can multicast. mdns-sd would report a failure only in its log.
fn check_multicast() -> Result<(), MdnsError> {
    const MDNS_PORT: u16 = 5353;
    const MDNS_GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let mut up = interfaces
        .iter()
        .filter(|interface| interface.is_oper_up())
        .peekable();
    if up.peek().is_none() {
        return Err(MdnsError::NoInterface);
    }
    let socket = match shared_socket(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), MDNS_PORT)) {
        Ok(socket) => socket,
        // IPv6 alone is enough, and its groups can be joined wherever there is an address.
        Err(error) => {
            let v6 = SocketAddr::new(std::net::Ipv6Addr::UNSPECIFIED.into(), MDNS_PORT);
            return shared_socket(v6)
                .map(|_| ())
                .map_err(|_| MdnsError::Port(error));
        }
    };
    let joined = up.any(|interface| match interface.ip() {
        IpAddr::V4(ip) => socket.join_multicast_v4(&MDNS_GROUP_V4, &ip).is_ok(),
        IpAddr::V6(_) => true,
    });
    if joined {
        Ok(())
    } else {
        Err(MdnsError::NoInterface)
    }
}

/// A socket on a port that several programs listen on.
fn shared_socket(addr: SocketAddr) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(addr),
        socket2::Type::DGRAM,
        None,
    )?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    rustix::net::sockopt::set_socket_reuseport(&socket, true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// Passes on the records that the mDNS thread receives.
struct Listener {
    own: String,
    announcement: ServiceInfo,
    daemon: Arc<Mutex<Daemon>>,
    events: mpsc::Sender<RecordEvent>,
    records: Records,
    links: Links,
    search: Arc<Notify>,
    timing: Timing,
    /// The names that the present thread has heard between searches. It keeps each of them.
    names_heard: i64,
}

impl Listener {
    /// Searches and listens until the thread ends, or until nobody reads the events.
    async fn listen(mut self) {
        loop {
            let daemon = lock(&self.daemon).thread.clone();
            let overflow = cache_overflows(daemon.clone());
            let end = tokio::select! {
                end = self.search_and_listen(&daemon) => end,
                () = overflow => End::CacheFull,
            };
            match end {
                End::CacheFull => {
                    if let Err(error) = self.replace_daemon() {
                        return tracing::warn!("discovery ends: {error}");
                    }
                }
                End::Over => return,
            }
        }
    }

    async fn search_and_listen(&mut self, daemon: &ServiceDaemon) -> End {
        let mut searches = 0;
        loop {
            if let Err(end) = self.search(daemon).await {
                return end;
            }
            searches += 1;
            let again = tokio::time::sleep(self.timing.pause_after(searches));
            tokio::pin!(again);
            let search = self.search.clone();
            loop {
                tokio::select! {
                    () = &mut again => break,
                    () = search.notified() => {
                        searches = 0;
                        break;
                    }
                    () = tokio::time::sleep(READ_EVERY) => {}
                }
                if let Err(end) = self.read_heard(daemon).await {
                    return end;
                }
            }
        }
    }

    /// Searches for [`Timing::search_for`]. The thread ends a search that is not read fast enough.
    /// Then this begins another one, which reports every record again.
    async fn search(&mut self, daemon: &ServiceDaemon) -> Result<(), End> {
        let over = tokio::time::sleep(self.timing.search_for);
        tokio::pin!(over);
        loop {
            let search = command(|| daemon.browse(SERVICE)).await?;
            loop {
                let event = tokio::select! {
                    event = search.recv_async() => event,
                    () = &mut over => {
                        return command(|| daemon.stop_browse(SERVICE)).await;
                    }
                };
                let Ok(event) = event else { break };
                let events = self.found(event);
                self.report(events).await?;
            }
        }
    }

    /// Reads the announcements that the thread has received since the last time, and the answers to
    /// the searches of others. The thread forgets them, unless there are more than its channel
    /// holds: then it has dropped the search before it was stopped, and would name the same records
    /// next time. Such a thread is replaced. That happens once in [`SEARCH_FOR`] at most, because
    /// each thread searches first.
    async fn read_heard(&mut self, daemon: &ServiceDaemon) -> Result<(), End> {
        let heard = command(|| daemon.browse_cache(SERVICE)).await?;
        command(|| daemon.stop_browse(SERVICE)).await?;
        let mut was_stopped = false;
        while let Ok(event) = heard.recv_async().await {
            was_stopped |= matches!(event, ServiceEvent::SearchStopped(_));
            let events = self.heard(event);
            self.report(events).await?;
        }
        if !was_stopped || self.names_heard > CACHED_MAX {
            return Err(End::CacheFull);
        }
        Ok(())
    }

    async fn report(&self, events: Vec<RecordEvent>) -> Result<(), End> {
        for event in events {
            self.events.send(event).await.map_err(|_| End::Over)?;
        }
        Ok(())
    }

    /// Starts another mDNS thread, with an empty cache. The records that were reported stay valid.
    fn replace_daemon(&mut self) -> Result<(), mdns_sd::Error> {
        tracing::warn!("too many mDNS records on this network: they are forgotten");
        self.names_heard = 0;
        let mut daemon = lock(&self.daemon);
        let new = Daemon::start(&self.announcement, daemon.left_out.clone())?;
        // The old thread says goodbye when it is dropped. The new one announces this node twice,
        // and the second announcement comes after that goodbye.
        *daemon = new;
        Ok(())
    }

    /// An event of a search: it reports what a record says now, and when it expires.
    fn found(&mut self, event: ServiceEvent) -> Vec<RecordEvent> {
        if let ServiceEvent::ServiceResolved(service) = event {
            let found = self.read(&service);
            found.map_or_else(Vec::new, |found| {
                self.records.update(service.get_fullname(), found)
            })
        } else if let ServiceEvent::ServiceRemoved(_, name) = event {
            let expired = self.records.remove(&name).map(RecordEvent::Expired);
            expired.into_iter().collect()
        } else {
            Vec::new()
        }
    }

    /// A record that the thread has received without a search, or a part of one.
    fn heard(&mut self, event: ServiceEvent) -> Vec<RecordEvent> {
        let ServiceEvent::ServiceResolved(service) = event else {
            return Vec::new();
        };
        let name = service.get_fullname();
        let is_own = name_in(name) == Some(&self.own);
        if !is_own && !self.records.knows(name) {
            self.names_heard += 1;
        }
        let found = self.read(&service);
        found.map_or_else(Vec::new, |found| self.records.add(name, found))
    }

    /// The peer that a record announces, unless it is this node.
    #[expect(
        clippy::disallowed_methods,
        reason = "this driver reads the clock to limit how often it reads the interfaces"
    )]
    fn read(&mut self, service: &ResolvedService) -> Option<Found> {
        let now = Instant::now();
        let Some((peer, claimed)) = read(service) else {
            tracing::debug!("an mDNS record that is not a hobnob's of this version");
            return None;
        };
        if name_in(service.get_fullname()) == Some(&self.own) {
            return None;
        }
        let mut addrs: Vec<_> = claimed
            .into_iter()
            .filter(|claimed| self.links.have(claimed, now))
            .map(|claimed| claimed.addr)
            .collect();
        addrs.sort();
        addrs.truncate(ADDRS_PER_RECORD_MAX);
        Some(Found { peer, addrs })
    }
}

/// Why the listener listens no more to a thread.
#[derive(Debug)]
enum End {
    /// The thread holds too much.
    CacheFull,
    /// The thread has ended, or nobody reads the events.
    Over,
}

/// Gives a command to the thread, and waits while the thread has too many.
async fn command<T>(mut give: impl FnMut() -> Result<T, mdns_sd::Error>) -> Result<T, End> {
    loop {
        match give() {
            Ok(done) => return Ok(done),
            Err(mdns_sd::Error::Again) => tokio::time::sleep(COMMAND_AGAIN_AFTER).await,
            Err(_) => return Err(End::Over),
        }
    }
}

/// Waits until the thread caches more than [`CACHED_MAX`] records. Waits forever if it has ended.
async fn cache_overflows(daemon: ServiceDaemon) {
    loop {
        tokio::time::sleep(CACHE_MEASURED_EVERY).await;
        let Ok(answer) = daemon.get_metrics() else {
            return std::future::pending().await;
        };
        let Ok(metrics) = answer.recv_async().await else {
            return std::future::pending().await;
        };
        let is_cache = |(name, _): &(&String, &i64)| name.starts_with("cached-");
        let cached: i64 = metrics
            .iter()
            .filter(is_cache)
            .map(|(_, count)| *count)
            .sum();
        if cached > CACHED_MAX {
            return;
        }
    }
}

/// An address in a record, and the interfaces on which the record arrived.
#[derive(Debug, PartialEq, Eq)]
pub struct ClaimedAddr {
    /// The address.
    pub addr: SocketAddr,
    /// The names of the interfaces.
    pub interfaces: Vec<String>,
}

/// The links of this machine, as far as records need them.
#[derive(Debug, Default)]
struct Links {
    interfaces: Interfaces,
    read_at: Option<Instant>,
}

impl Links {
    /// Whether the address is on the link on which its record arrived. The address may belong to a
    /// network that this machine has just joined, so "no" is only an answer of recent interfaces.
    fn have(&mut self, claimed: &ClaimedAddr, now: Instant) -> bool {
        let has = |interfaces: &Interfaces| {
            let mut names = claimed.interfaces.iter();
            names.any(|name| interfaces.link_has(name, claimed.addr.ip()))
        };
        if has(&self.interfaces) {
            return true;
        }
        let is_recent = |at: Instant| now.saturating_duration_since(at) < INTERFACES_READ_EVERY;
        if self.read_at.is_some_and(is_recent) {
            return false;
        }
        self.read_at = Some(now);
        match Interfaces::now() {
            Ok(interfaces) => self.interfaces = interfaces,
            Err(error) => tracing::debug!(%error, "cannot read the interfaces"),
        }
        has(&self.interfaces)
    }
}

/// The addresses of each record, to report those that it does not announce any more.
#[derive(Debug, Default)]
struct Records {
    by_name: BTreeMap<String, Found>,
    /// The names in order of arrival.
    order: VecDeque<String>,
}

impl Records {
    /// A record has appeared or changed.
    fn update(&mut self, name: &str, found: Found) -> Vec<RecordEvent> {
        let mut events = Vec::new();
        if let Some(mut before) = self.remove(name) {
            before.addrs.retain(|addr| !found.addrs.contains(addr));
            events.push(RecordEvent::Expired(before));
        }
        if self.order.len() >= RECORDS_MAX {
            // Its addresses were reported. Only their expiry is not.
            let first = self.order.pop_front().expect("RECORDS_MAX is not 0");
            self.by_name.remove(&first);
        }
        self.order.push_back(name.to_owned());
        self.by_name.insert(name.to_owned(), found.clone());
        events.push(RecordEvent::Found(found));
        events.retain(|(RecordEvent::Found(of) | RecordEvent::Expired(of))| !of.addrs.is_empty());
        events
    }

    fn knows(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// A record was heard, or a part of it. Reports the addresses that are new.
    fn add(&mut self, name: &str, mut found: Found) -> Vec<RecordEvent> {
        let Some(known) = self.by_name.get_mut(name) else {
            return self.update(name, found);
        };
        found.addrs.retain(|addr| !known.addrs.contains(addr));
        if found.addrs.is_empty() {
            return Vec::new();
        }
        known.addrs.extend(&found.addrs);
        let too_many = known.addrs.len().saturating_sub(ADDRS_REMEMBERED_MAX);
        known.addrs.drain(..too_many);
        vec![RecordEvent::Found(found)]
    }

    fn remove(&mut self, name: &str) -> Option<Found> {
        let found = self.by_name.remove(name)?;
        self.order.retain(|other| other != name);
        Some(found)
    }
}

/// Reads a record. Returns nothing if it is not hobnob's, or contradicts itself.
pub fn read(service: &ResolvedService) -> Option<(DeviceId, Vec<ClaimedAddr>)> {
    let peer = peer_in(service.get_fullname())?;
    let text = |key| service.get_property_val_str(key);
    if text("v") != Some(RECORD_VERSION) || text("id") != Some(peer.to_string().as_str()) {
        return None;
    }
    let port = service.get_port();
    let addrs = service
        .get_addresses()
        .iter()
        .map(|ip| claimed_addr(ip, port))
        .filter(|claimed| undeliverable(claimed.addr).is_none());
    Some((peer, addrs.collect()))
}

/// The peer that a full instance name, `<id>-<run>._hobnob._udp.local.`, claims.
fn peer_in(name: &str) -> Option<DeviceId> {
    let (id, _run) = name_in(name)?.split_once('-')?;
    id.parse().ok()
}

fn name_in(full: &str) -> Option<&str> {
    full.strip_suffix(SERVICE)?.strip_suffix('.')
}

/// The address with the scope of the interface that received it, if it needs one.
fn claimed_addr(ip: &ScopedIp, port: u16) -> ClaimedAddr {
    let addr = if let ScopedIp::V6(v6) = ip
        && v6.addr().is_unicast_link_local()
    {
        SocketAddrV6::new(*v6.addr(), port, 0, v6.scope_id().index).into()
    } else {
        SocketAddr::new(ip.to_ip_addr(), port)
    };
    let interfaces = heard_on(ip).iter().map(|interface| interface.name.clone());
    ClaimedAddr {
        addr,
        interfaces: interfaces.collect(),
    }
}

fn heard_on(ip: &ScopedIp) -> &[InterfaceId] {
    if let ScopedIp::V4(v4) = ip {
        v4.interface_ids()
    } else if let ScopedIp::V6(v6) = ip {
        std::slice::from_ref(v6.scope_id())
    } else {
        &[]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::interfaces::OwnAddr;
    use hobnob_protocol::SecretKey;

    fn peer(n: u16) -> DeviceId {
        let mut seed = [0; 32];
        seed[..2].copy_from_slice(&n.to_le_bytes());
        SecretKey::from_seed(seed).id()
    }

    fn record(
        name: &str,
        id: &str,
        version: &str,
        addr: &str,
        port: u16,
    ) -> Option<(DeviceId, Vec<SocketAddr>)> {
        let properties = [("id", id), ("v", version)];
        let info =
            ServiceInfo::new(SERVICE, name, "host.local.", addr, port, &properties[..]).unwrap();
        read_addrs(&info.as_resolved_service())
    }

    fn read_addrs(service: &ResolvedService) -> Option<(DeviceId, Vec<SocketAddr>)> {
        let (peer, claimed) = read(service)?;
        let mut addrs: Vec<_> = claimed.iter().map(|claimed| claimed.addr).collect();
        addrs.sort();
        Some((peer, addrs))
    }

    #[test]
    fn a_record_is_an_id_and_addresses_or_nothing() {
        let id = peer(1).to_string();
        let (found, addrs) = record(
            &format!("{id}-0badcafe"),
            &id,
            "1",
            "192.0.2.1,2001:db8::1",
            9,
        )
        .unwrap();
        assert_eq!(found, peer(1));
        assert_eq!(
            addrs,
            [
                "192.0.2.1:9".parse().unwrap(),
                "[2001:db8::1]:9".parse().unwrap()
            ]
        );
        let other = peer(2).to_string();
        for (what, record) in [
            (
                "a name that is no id",
                record("printer", &id, "1", "192.0.2.1", 9),
            ),
            (
                "an id that is none",
                record(&id, "x\x1b[2J", "1", "192.0.2.1", 9),
            ),
            (
                "another id than its name",
                record(&format!("{id}-0badcafe"), &other, "1", "192.0.2.1", 9),
            ),
            (
                "a later version",
                record(&format!("{id}-0badcafe"), &id, "2", "192.0.2.1", 9),
            ),
        ] {
            assert_eq!(record, None, "{what}");
        }
        for (addr, port) in [("192.0.2.1", 0), ("0.0.0.0", 9), ("224.0.0.1", 9)] {
            let (_, addrs) = record(&format!("{id}-0badcafe"), &id, "1", addr, port).unwrap();
            assert_eq!(addrs, [], "{addr} {port}");
        }
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do to count from"
    )]
    fn a_claimed_address_is_on_the_link_that_its_record_arrived_on() {
        let own = |interface: &str, ip: &str, prefix| OwnAddr {
            interface: interface.into(),
            ip: ip.parse().unwrap(),
            prefix,
        };
        let now = Instant::now();
        let mut links = Links {
            interfaces: Interfaces::of([
                own("eth0", "192.0.2.7", 24),
                own("eth1", "198.51.100.7", 24),
                own("lo", "127.0.0.1", 8),
            ]),
            read_at: Some(now),
        };
        let mut have = |addr: &str, interface: &str| {
            let claimed = ClaimedAddr {
                addr: addr.parse().unwrap(),
                interfaces: vec![interface.into()],
            };
            links.have(&claimed, now)
        };
        assert!(have("192.0.2.9:1", "eth0"));
        assert!(!have("192.0.2.9:1", "eth1"), "another link");
        assert!(!have("203.0.113.9:1", "eth0"), "no link");
        assert!(!have("127.0.0.1:1", "eth0"), "this machine");
        assert!(have("127.0.0.1:1", "lo"), "another node on this machine");
    }

    #[test]
    fn what_a_node_announces_reads_back_and_says_nothing_more() {
        let info = announcement(
            peer(1),
            &instance_name(peer(1), 7),
            "192.0.2.1:9".parse().unwrap(),
        )
        .unwrap()
        .as_resolved_service();
        let keys: Vec<_> = info
            .get_properties()
            .iter()
            .map(|property| property.key().to_owned())
            .collect();
        assert_eq!(keys, ["id", "v"]);
        assert_eq!(
            info.get_hostname(),
            format!("{}.local.", instance_name(peer(1), 7))
        );
        assert_eq!(
            read_addrs(&info).unwrap(),
            (peer(1), vec!["192.0.2.1:9".parse().unwrap()])
        );
    }

    fn found(n: u16, ports: &[u16]) -> Found {
        let addr = |port: &u16| SocketAddr::from(([192, 0, 2, 1], *port));
        Found {
            peer: peer(n),
            addrs: ports.iter().map(addr).collect(),
        }
    }

    #[test]
    fn addresses_that_a_record_does_not_announce_any_more_expire() {
        let mut records = Records::default();
        let first = records.update("ann", found(1, &[1, 2]));
        assert_eq!(first, [RecordEvent::Found(found(1, &[1, 2]))]);
        let second = records.update("ann", found(1, &[2, 3]));
        assert_eq!(
            second,
            [
                RecordEvent::Expired(found(1, &[1])),
                RecordEvent::Found(found(1, &[2, 3]))
            ]
        );
        assert_eq!(records.remove("ann"), Some(found(1, &[2, 3])));
        assert_eq!(
            records.update("bob", found(2, &[])),
            [],
            "no usable address"
        );
    }

    #[test]
    fn an_announcement_that_was_heard_adds_addresses_and_is_reported_once() {
        let mut records = Records::default();
        let first = records.add("ann", found(1, &[1]));
        assert_eq!(first, [RecordEvent::Found(found(1, &[1]))]);
        assert_eq!(records.add("ann", found(1, &[1])), [], "nothing new");
        let second = records.add("ann", found(1, &[1, 2]));
        assert_eq!(second, [RecordEvent::Found(found(1, &[2]))]);
        assert!(records.knows("ann") && !records.knows("bob"));
        for port in 3..1_000 {
            records.add("ann", found(1, &[port]));
        }
        let kept = records.remove("ann").expect("it is known");
        assert_eq!(kept.addrs.len(), ADDRS_REMEMBERED_MAX);
        assert_eq!(kept.addrs.last().map(SocketAddr::port), Some(999));
    }

    #[test]
    fn the_first_searches_follow_soon_and_not_all_together() {
        let pauses = |run| [1, 2, 3, 4, 5].map(|n| Timing::of_run(run).pause_after(n).as_secs());
        assert_eq!(pauses(0), [30, 120, 480, 1_800, 3_600]);
        assert_eq!(pauses(7), [30, 127, 487, 1_807, 3_607]);
        assert_eq!(pauses(13), [36, 133, 493, 1_813, 3_613]);
    }

    #[test]
    fn nodes_search_an_hour_apart_and_not_all_together() {
        let after = |run| Timing::of_run(run).pause_after(100);
        assert_eq!(after(0), SEARCH_AGAIN_AFTER);
        assert_eq!(after(7), SEARCH_AGAIN_AFTER + Duration::from_secs(7));
        assert_eq!(after(600), SEARCH_AGAIN_AFTER);
        assert!(after(u64::MAX) < SEARCH_AGAIN_AFTER + SEARCH_LATER_MAX);
    }

    #[test]
    fn a_flood_of_records_keeps_nobody_from_being_reported() {
        let mut records = Records::default();
        for n in 0..2_000 {
            let events = records.update(&n.to_string(), found(n, &[n]));
            assert_eq!(events.len(), 1);
        }
        assert_eq!(records.by_name.len(), RECORDS_MAX);
        assert_eq!(records.order.len(), RECORDS_MAX);
        assert_eq!(records.remove("0"), None);
        assert!(records.remove("1999").is_some());
    }

    /// A node of this machine that looks for others, and what it hears.
    struct Seeker {
        id: DeviceId,
        port: u16,
        discovery: Discovery,
        heard: mpsc::Receiver<RecordEvent>,
    }

    impl Seeker {
        /// Ids are of this run alone: others may be testing on the same network. None, loudly,
        /// where nothing can multicast.
        fn start(n: u8, port: u16) -> Option<Self> {
            Self::start_at_times(n, port, Timing::of_run(0))
        }

        fn start_at_times(n: u8, port: u16, timing: Timing) -> Option<Self> {
            let mut seed = [n; 32];
            seed[..4].copy_from_slice(&std::process::id().to_le_bytes());
            let id = SecretKey::from_seed(seed).id();
            let (found, heard) = mpsc::channel(64);
            let own = Own {
                id,
                run: 7,
                bound: SocketAddr::new(std::net::Ipv6Addr::UNSPECIFIED.into(), port),
            };
            let interfaces = Interfaces::now().expect("the system lists them");
            match Discovery::start_at_times(&own, &interfaces, found, timing) {
                Ok(discovery) => Some(Self {
                    id,
                    port,
                    discovery,
                    heard,
                }),
                Err(error) => {
                    println!("SKIPPED: {error}");
                    None
                }
            }
        }

        async fn finds(&mut self, other: &Seeker) -> Vec<SocketAddr> {
            let wanted = async {
                loop {
                    let RecordEvent::Found(found) = self.heard.recv().await.unwrap() else {
                        continue;
                    };
                    if found.peer == other.id
                        && found.addrs.iter().all(|addr| addr.port() == other.port)
                    {
                        return found.addrs;
                    }
                }
            };
            timeout(Duration::from_secs(20), wanted)
                .await
                .expect("they find each other")
        }

        async fn stop(mut self) {
            self.discovery.stop().await;
            // The listener has ended, and with it the sender.
            while self.heard.recv().await.is_some() {}
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_node_that_searches_no_more_hears_a_newcomer() {
        let searched = Timing {
            search_for: Duration::ZERO,
            run: 0,
        };
        let Some(mut ann) = Seeker::start_at_times(3, 1111, searched) else {
            return;
        };
        let bob = Seeker::start(4, 2222).expect("as the first");
        ann.finds(&bob).await;
        ann.stop().await;
        bob.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nodes_of_one_machine_find_each_other_and_again_after_a_restart() {
        let (Some(mut ann), Some(mut bob)) = (Seeker::start(1, 1111), Seeker::start(2, 2222))
        else {
            return;
        };
        let addrs = bob.finds(&ann).await;
        assert!(
            addrs.iter().all(|&addr| undeliverable(addr).is_none()),
            "{addrs:?}"
        );
        ann.finds(&bob).await;
        ann.stop().await;
        let mut ann = Seeker::start(1, 3333).unwrap();
        bob.finds(&ann).await;
        ann.finds(&bob).await;
        ann.stop().await;
        bob.stop().await;
    }
}
