//! Discovery on the local network by mDNS (RFC 6762) and DNS-SD (RFC 6763).
//!
//! A record contains a peer's id, its port and the version of the record, and nothing about the
//! person or the machine. Any machine on the network can forge a record, so it is only a hint: the
//! handshake proves the id, and the engine decides whether to dial.
//!
//! The crate mdns-sd implements the protocol on a thread that this module starts and stops. It uses
//! all interfaces and follows their changes. Loopback is included, so that two homes on one machine
//! find each other. A name contains the id, so it is unique and nothing waits for mDNS probes: a
//! newcomer learns at once which peers are there, and announces itself at once.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hobnob_protocol::PeerId;
use mdns_sd::{
    IfKind, InterfaceId, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use hobnob_transport::addr::undeliverable;

/// The service type that is searched and announced.
const SERVICE: &str = "_hobnob._udp.local.";

/// The version of the record, its TXT key `v`.
const RECORD_VERSION: &str = "1";

/// How often to check for changed interfaces.
const INTERFACES_EVERY_SECS: u32 = 1;

/// Peers that are remembered. Records of further ones are dropped until one of these says goodbye or
/// expires.
const RECORDS_MAX: usize = 1_000;

/// Records that are passed on in a burst, and per second. Further ones are dropped. Peers repeat
/// their records, so nothing is lost for good.
const RECORDS_BURST: u32 = 256;
const RECORDS_PER_SECOND: u32 = 64;

/// Addresses taken from one record.
const ADDRS_MAX: usize = 16;

/// How long the goodbye may take.
const STOP_LIMIT: Duration = Duration::from_millis(500);

/// A peer that a record announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The id in the record. It is not proved.
    pub peer: PeerId,
    /// At least one address, in no particular order.
    pub addrs: Vec<SocketAddr>,
}

/// Why discovery cannot start. The node runs without it.
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

/// A running search and announcement. It ends with [`Discovery::stop`], or without a goodbye when it is
/// dropped.
#[derive(Debug)]
pub struct Discovery {
    daemon: Daemon,
    listener: JoinHandle<()>,
    dropped: Arc<AtomicU64>,
}

impl Discovery {
    /// Announces that `id` listens at `bound`, and reports the peers that it finds. Peers that do not
    /// fit into `found` are dropped and counted. Must be called within a tokio runtime.
    ///
    /// `run` is a random number of this run. It is part of the announced name, so that a copy of this
    /// identity on another machine is found like any peer.
    pub fn start(
        id: PeerId,
        run: u64,
        bound: SocketAddr,
        found: mpsc::Sender<Found>,
    ) -> Result<Self, MdnsError> {
        check_multicast()?;
        let daemon = Daemon(ServiceDaemon::new()?);
        daemon.0.set_ip_check_interval(INTERFACES_EVERY_SECS)?;
        let dropped = Arc::<AtomicU64>::default();
        let own = instance_name(id, run);
        let listener = Listener {
            own: own.clone(),
            found,
            records: Records::default(),
            dropped: dropped.clone(),
        };
        let listener = tokio::spawn(listener.listen(daemon.0.clone()));
        daemon.0.register(announcement(id, &own, bound)?)?;
        Ok(Self {
            daemon,
            listener,
            dropped,
        })
    }

    /// The number of records that were dropped because there were too many.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Withdraws the announcement and ends the mDNS thread. Takes half a second at most.
    pub async fn stop(self) {
        let Self {
            daemon,
            mut listener,
            ..
        } = self;
        let ended = async {
            if let Ok(status) = daemon.0.shutdown() {
                // The daemon has sent the goodbyes when it answers.
                let _ = status.recv_async().await;
            }
            let _ = (&mut listener).await;
        };
        if timeout(STOP_LIMIT, ended).await.is_err() {
            tracing::debug!("mDNS did not stop in time");
            listener.abort();
        }
    }
}

/// The mDNS thread. It outlives its handles, so dropping this ends it.
struct Daemon(ServiceDaemon);

impl Drop for Daemon {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.0.shutdown();
    }
}

impl std::fmt::Debug for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Daemon(..)")
    }
}

/// The name of one run of a node: 52 characters of id, a dash, and eight of the run, which is less
/// than the 63 that a name holds.
fn instance_name(id: PeerId, run: u64) -> String {
    format!("{id}-{:08x}", run & 0xffff_ffff)
}

/// This node's record.
fn announcement(id: PeerId, name: &str, bound: SocketAddr) -> Result<ServiceInfo, mdns_sd::Error> {
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
    found: mpsc::Sender<Found>,
    records: Records,
    dropped: Arc<AtomicU64>,
}

impl Listener {
    /// Reads until the daemon ends. The daemon ends a search that is not read fast enough; then this
    /// begins another one.
    async fn listen(mut self, daemon: ServiceDaemon) {
        while let Ok(events) = daemon.browse(SERVICE) {
            while let Ok(event) = events.recv_async().await {
                self.heard(event);
            }
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this driver reads the clock for its rate limit"
    )]
    fn heard(&mut self, event: ServiceEvent) {
        if let ServiceEvent::ServiceResolved(service) = event {
            self.resolved(&service, Instant::now());
        } else if let ServiceEvent::ServiceRemoved(_, name) = event
            && let Some(peer) = peer_in(&name)
        {
            self.records.forget(peer);
        }
    }

    fn resolved(&mut self, service: &ResolvedService, now: Instant) {
        let Some(found) = read(service) else {
            return tracing::debug!("an mDNS record that is not a hobnob's of this version");
        };
        if name_in(service.get_fullname()) == Some(&self.own) {
            return;
        }
        let admitted = self.records.admit(found.peer, now) && self.found.try_send(found).is_ok();
        if !admitted {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Limits what other machines on the network can make this node remember and do.
#[derive(Debug, Default)]
struct Records {
    peers: BTreeSet<PeerId>,
    /// Records passed on lately. The count falls with time.
    level: u32,
    since: Option<Instant>,
}

impl Records {
    fn admit(&mut self, peer: PeerId, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let seconds = now.saturating_duration_since(since).as_secs();
        if seconds > 0 {
            self.since = Some(now);
            let forgiven = u32::try_from(seconds)
                .unwrap_or(u32::MAX)
                .saturating_mul(RECORDS_PER_SECOND);
            self.level = self.level.saturating_sub(forgiven);
        }
        let known = self.peers.contains(&peer);
        if self.level >= RECORDS_BURST || (!known && self.peers.len() >= RECORDS_MAX) {
            return false;
        }
        self.level += 1;
        self.peers.insert(peer);
        true
    }

    fn forget(&mut self, peer: PeerId) {
        self.peers.remove(&peer);
    }
}

/// Reads a record. Returns nothing if it is not hobnob's, contradicts itself, or has no usable address.
fn read(service: &ResolvedService) -> Option<Found> {
    let peer = peer_in(service.get_fullname())?;
    let text = |key| service.get_property_val_str(key);
    if text("v") != Some(RECORD_VERSION) || text("id") != Some(peer.to_string().as_str()) {
        return None;
    }
    let port = service.get_port();
    let addrs = service
        .get_addresses()
        .iter()
        .filter_map(|ip| socket_addr(ip, port));
    let mut addrs: Vec<_> = addrs
        .filter(|&addr| undeliverable(addr).is_none())
        .collect();
    addrs.sort();
    addrs.truncate(ADDRS_MAX);
    (!addrs.is_empty()).then_some(Found { peer, addrs })
}

/// The peer that a full instance name, `<id>-<run>._hobnob._udp.local.`, claims.
fn peer_in(name: &str) -> Option<PeerId> {
    let (id, _run) = name_in(name)?.split_once('-')?;
    id.parse().ok()
}

fn name_in(full: &str) -> Option<&str> {
    full.strip_suffix(SERVICE)?.strip_suffix('.')
}

/// The address with the scope of the interface that received it, if it needs one. A loopback address
/// from another machine is dropped: it would make this node dial its own machine.
fn socket_addr(ip: &ScopedIp, port: u16) -> Option<SocketAddr> {
    if ip.is_loopback() && !heard_on(ip).iter().any(is_loopback) {
        return None;
    }
    if let ScopedIp::V6(v6) = ip
        && v6.addr().is_unicast_link_local()
    {
        return Some(SocketAddrV6::new(*v6.addr(), port, 0, v6.scope_id().index).into());
    }
    Some(SocketAddr::new(ip.to_ip_addr(), port))
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

fn is_loopback(interface: &InterfaceId) -> bool {
    interface.get_addrs().iter().any(IpAddr::is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_protocol::SecretKey;

    fn peer(n: u16) -> PeerId {
        let mut seed = [0; 32];
        seed[..2].copy_from_slice(&n.to_le_bytes());
        SecretKey::from_seed(seed).id()
    }

    fn record(name: &str, id: &str, version: &str, addr: &str, port: u16) -> Option<Found> {
        let properties = [("id", id), ("v", version)];
        let info =
            ServiceInfo::new(SERVICE, name, "host.local.", addr, port, &properties[..]).unwrap();
        read(&info.as_resolved_service())
    }

    #[test]
    fn a_record_is_an_id_and_addresses_or_nothing() {
        let id = peer(1).to_string();
        let found = record(
            &format!("{id}-0badcafe"),
            &id,
            "1",
            "192.0.2.1,2001:db8::1",
            9,
        )
        .unwrap();
        assert_eq!(found.peer, peer(1));
        assert_eq!(
            found.addrs,
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
            (
                "no port",
                record(&format!("{id}-0badcafe"), &id, "1", "192.0.2.1", 0),
            ),
            (
                "no machine",
                record(&format!("{id}-0badcafe"), &id, "1", "0.0.0.0", 9),
            ),
            (
                "many machines",
                record(&format!("{id}-0badcafe"), &id, "1", "224.0.0.1", 9),
            ),
            (
                "this machine, from nowhere",
                record(&format!("{id}-0badcafe"), &id, "1", "127.0.0.1", 9),
            ),
        ] {
            assert_eq!(record, None, "{what}");
        }
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
            read(&info).unwrap(),
            Found {
                peer: peer(1),
                addrs: vec!["192.0.2.1:9".parse().unwrap()]
            }
        );
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do to count from"
    )]
    fn a_flood_of_records_is_bounded_in_number_and_rate() {
        let start = Instant::now();
        let mut records = Records::default();
        let burst = (0..2_000)
            .filter(|&n| records.admit(peer(n), start))
            .count();
        assert_eq!(burst, usize::try_from(RECORDS_BURST).unwrap());
        let mut now = start;
        for round in 0..40 {
            now += Duration::from_secs(1);
            let admitted = (0..100)
                .filter(|n| records.admit(peer(round * 100 + n), now))
                .count();
            assert!(admitted <= usize::try_from(RECORDS_PER_SECOND).unwrap());
        }
        assert_eq!(records.peers.len(), RECORDS_MAX);
        now += Duration::from_secs(60);
        assert!(!records.admit(peer(5_000), now), "full");
        records.forget(peer(0));
        assert!(records.admit(peer(5_000), now));
        assert!(
            records.admit(peer(1), now),
            "the known are never forgotten for the unknown"
        );
    }

    /// A node of this machine that looks for others, and what it hears.
    struct Seeker {
        id: PeerId,
        port: u16,
        discovery: Discovery,
        heard: mpsc::Receiver<Found>,
    }

    impl Seeker {
        /// Ids are of this run alone: others may be testing on the same network. None, loudly,
        /// where nothing can multicast.
        fn start(n: u8, port: u16) -> Option<Self> {
            let mut seed = [n; 32];
            seed[..4].copy_from_slice(&std::process::id().to_le_bytes());
            let id = SecretKey::from_seed(seed).id();
            let (found, heard) = mpsc::channel(64);
            match Discovery::start(
                id,
                7,
                SocketAddr::new(std::net::Ipv6Addr::UNSPECIFIED.into(), port),
                found,
            ) {
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
                    let found = self.heard.recv().await.unwrap();
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
