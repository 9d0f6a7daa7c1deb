//! This machine's addresses: which of them peers can use, whether an address is in one of this
//! machine's networks, and when they change.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use hobnob_protocol::frame::HELLO_ADDRS_MAX;
use if_addrs::IfAddr;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use hobnob_core::commit::NetworkId;
use hobnob_core::scope::is_link_local;

/// All addresses of the interfaces that are up, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// Sorted, each once.
    own: Vec<OwnAddr>,
    /// The interfaces that lead to other machines, the most useful first.
    outward: Vec<String>,
}

/// An address of this machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnAddr {
    /// The name of its interface.
    pub interface: String,
    /// The address.
    pub ip: IpAddr,
    /// How many leading bits its network shares.
    pub prefix: u8,
}

impl OwnAddr {
    /// The address with all bits after the prefix set to zero.
    fn prefix_of(&self) -> IpAddr {
        match self.ip {
            IpAddr::V4(v4) => {
                let free = 32_u32.saturating_sub(self.prefix.into());
                let mask = u32::MAX.checked_shl(free).unwrap_or(0);
                Ipv4Addr::from_bits(v4.to_bits() & mask).into()
            }
            IpAddr::V6(v6) => {
                let free = 128_u32.saturating_sub(self.prefix.into());
                let mask = u128::MAX.checked_shl(free).unwrap_or(0);
                Ipv6Addr::from_bits(v6.to_bits() & mask).into()
            }
        }
    }

    /// Whether another machine of this network may have the address: it is neither the network's
    /// own number nor its broadcast address.
    fn neighbour_may_have(&self, ip: IpAddr) -> bool {
        if self.prefix == 0 || !self.network_has(ip) {
            return false;
        }
        let (IpAddr::V4(v4), 1..=30) = (ip, self.prefix) else {
            return true;
        };
        let host_bits = u32::MAX >> self.prefix;
        let host = v4.to_bits() & host_bits;
        host != 0 && host != host_bits
    }

    fn network_has(&self, ip: IpAddr) -> bool {
        match (self.ip, ip) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => {
                same_prefix(own.to_bits().into(), ip.to_bits().into(), 32, self.prefix)
            }
            (IpAddr::V6(own), IpAddr::V6(ip)) => {
                same_prefix(own.to_bits(), ip.to_bits(), 128, self.prefix)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl Interfaces {
    /// The present addresses, from the system.
    pub fn now() -> io::Result<Self> {
        let up = if_addrs::get_if_addrs()?
            .into_iter()
            .filter(if_addrs::Interface::is_oper_up);
        let mut now = Self::of(up.map(|interface| {
            let prefix = match &interface.addr {
                IfAddr::V4(v4) => v4.prefixlen,
                IfAddr::V6(v6) => v6.prefixlen,
            };
            OwnAddr {
                ip: interface.ip(),
                interface: interface.name,
                prefix,
            }
        }));
        let to_internet = INTERNET.map(|addr| source_toward(addr).ok());
        now.outward = now.outward(&to_internet, is_hardware);
        Ok(now)
    }

    /// These addresses.
    pub fn of(own: impl IntoIterator<Item = OwnAddr>) -> Self {
        let mut own: Vec<_> = own.into_iter().collect();
        own.sort();
        own.dedup();
        let outward = Vec::new();
        Self { own, outward }
    }

    /// The interfaces of the default route, then those of hardware. The others, such as the bridges
    /// of containers, rarely lead to another person.
    fn outward(
        &self,
        to_internet: &[Option<IpAddr>],
        is_hardware: impl Fn(&str) -> bool,
    ) -> Vec<String> {
        let mut outward: Vec<String> = Vec::new();
        let of_route = self
            .own
            .iter()
            .filter(|o| to_internet.contains(&Some(o.ip)));
        let of_hardware = self.own.iter().filter(|own| is_hardware(&own.interface));
        for own in of_route.chain(of_hardware) {
            if !own.ip.is_loopback() && !outward.contains(&own.interface) {
                outward.push(own.interface.clone());
            }
        }
        outward
    }

    /// The names of all interfaces with an IPv4 address, the most useful first: those that lead to
    /// other machines, loopback, and the rest.
    pub fn by_use(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for own in self.own.iter().filter(|own| own.ip.is_ipv4()) {
            if !names.contains(&own.interface.as_str()) {
                names.push(&own.interface);
            }
        }
        let is_loopback = |name: &str| {
            let mut own = self.own.iter().filter(|own| own.interface == name);
            own.all(|own| own.ip.is_loopback())
        };
        names.sort_by_cached_key(|name| (self.rank(name), !is_loopback(name)));
        names
    }

    /// The place of an interface among those that lead to other machines. The others are last.
    fn rank(&self, interface: &str) -> usize {
        let at = self.outward.iter().position(|name| name == interface);
        at.unwrap_or(usize::MAX)
    }

    /// The addresses, sorted by interface.
    pub fn addrs(&self) -> &[OwnAddr] {
        &self.own
    }

    /// The addresses that stand for this machine's networks: all but loopback. IPv6 link-local
    /// addresses count only where an interface has no others, as with a cable between two laptops.
    pub fn networked(&self) -> impl Iterator<Item = &OwnAddr> {
        let is_v6_link_local = |own: &OwnAddr| own.ip.is_ipv6() && is_link_local(own.ip);
        self.own.iter().filter(move |own| {
            let mut same_interface = self.own.iter().filter(|o| o.interface == own.interface);
            !own.ip.is_loopback()
                && (!is_v6_link_local(own) || same_interface.all(is_v6_link_local))
        })
    }

    /// The networks that this machine is in, and loopback. They have the same ids in later runs.
    pub fn networks(&self) -> BTreeSet<NetworkId> {
        self.own.iter().map(|own| self.network(own)).collect()
    }

    /// The network by which this machine reaches an address now. `None` if the system knows no
    /// route, or has added the network a moment ago.
    pub fn network_of(&self, remote: SocketAddr) -> Option<NetworkId> {
        let ip = remote.ip().to_canonical();
        let source = source_toward(remote).ok();
        let sends_from = self.own.iter().find(|own| Some(own.ip) == source);
        let own = sends_from.or_else(|| self.own.iter().find(|own| own.network_has(ip)))?;
        Some(self.network(own))
    }

    /// The network of an address of this machine: its interface and the prefix. An address that
    /// changes within its prefix, as IPv6's temporary addresses do, does not change the network.
    fn network(&self, own: &OwnAddr) -> NetworkId {
        if !is_link_local(own.ip) {
            return network_id(&own.interface, own.prefix_of(), own.prefix);
        }
        // All links have the same link-local prefix. The interface's other prefix tells them apart.
        let same_interface = self.own.iter().filter(|o| o.interface == own.interface);
        let mut routed = same_interface.filter(|own| !is_link_local(own.ip));
        match routed.next() {
            Some(routed) => self.network(routed),
            None => network_id(&own.interface, own.ip, own.prefix),
        }
    }

    /// Whether no router is between this machine and an address: the address is this machine,
    /// link-local, or in one of its networks.
    pub fn is_on_link(&self, addr: IpAddr) -> bool {
        let addr = addr.to_canonical();
        addr.is_loopback()
            || is_link_local(addr)
            || self.own.iter().any(|own| own.network_has(addr))
    }

    /// Whether an address is that of a machine on the link of this interface.
    pub fn link_has(&self, interface: &str, addr: IpAddr) -> bool {
        let addr = addr.to_canonical();
        let mut own = self.own.iter().filter(|own| own.interface == interface);
        own.any(|own| own.neighbour_may_have(addr))
    }

    /// Whether an address is the broadcast address or the number of one of this machine's networks.
    pub fn is_broadcast(&self, addr: IpAddr) -> bool {
        let addr = addr.to_canonical();
        let mut own = self.own.iter().filter(|own| own.prefix != 0);
        own.any(|own| own.network_has(addr) && !own.neighbour_may_have(addr))
    }

    /// Whether this machine has the address.
    pub fn has(&self, addr: IpAddr) -> bool {
        let addr = addr.to_canonical();
        self.own.iter().any(|own| own.ip == addr)
    }

    /// The interface in whose network an address is. Loopback does not count.
    pub fn interface_of(&self, addr: IpAddr) -> Option<&str> {
        let addr = addr.to_canonical();
        let own = self
            .own
            .iter()
            .filter(|own| !own.ip.is_loopback())
            .find(|own| own.network_has(addr));
        own.map(|own| own.interface.as_str())
    }

    /// The addresses at which peers can reach a socket that is bound to `bound`: at most
    /// [`HELLO_ADDRS_MAX`]. Those of the interfaces that lead to other machines are first, and IPv4
    /// is before IPv6.
    ///
    /// Loopback addresses are listed only if the machine has no others. IPv6 link-local addresses
    /// are left out: they need the interface of the machine that dials, which mDNS provides.
    pub fn listening_addrs(&self, bound: SocketAddr) -> Vec<SocketAddr> {
        if !bound.ip().is_unspecified() {
            return vec![bound];
        }
        let mut ips: Vec<(usize, IpAddr)> = self
            .own
            .iter()
            .map(|own| (self.rank(&own.interface), own.ip))
            .filter(|(_, ip)| ip.is_ipv4() || bound.is_ipv6())
            .collect();
        ips.retain(|(_, ip)| !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local()));
        if self.own.iter().any(|own| !own.ip.is_loopback()) {
            ips.retain(|(_, ip)| !ip.is_loopback());
        }
        ips.sort();
        let mut listed = BTreeSet::new();
        ips.into_iter()
            .map(|(_, ip)| ip)
            .filter(|ip| listed.insert(*ip))
            .take(HELLO_ADDRS_MAX)
            .map(|ip| SocketAddr::new(ip, bound.port()))
            .collect()
    }

    /// Reads the addresses at this interval, and sends them whenever they have changed. Ends when
    /// the receiver is dropped.
    pub async fn watch(mut self, every: Duration, changed: mpsc::Sender<Interfaces>) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = changed.closed() => return,
            }
            match Self::now() {
                Ok(now) if now == self => {}
                Ok(now) => {
                    self = now.clone();
                    if changed.send(now).await.is_err() {
                        return;
                    }
                }
                Err(error) => tracing::debug!(%error, "the system does not tell its addresses"),
            }
        }
    }
}

fn network_id(interface: &str, ip: IpAddr, prefix: u8) -> NetworkId {
    let text = format!("{interface}\0{ip}/{prefix}");
    let mut first = [0; 8];
    first.copy_from_slice(&digest(&SHA256, text.as_bytes()).as_ref()[..8]);
    NetworkId(u64::from_le_bytes(first))
}

/// This machine's address from which the system sends to `remote`. Connecting a UDP socket looks up
/// the route, and sends nothing.
fn source_toward(remote: SocketAddr) -> io::Result<IpAddr> {
    let mut remote = remote;
    remote.set_ip(remote.ip().to_canonical());
    let any: IpAddr = match remote.ip() {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(remote)?;
    Ok(socket.local_addr()?.ip())
}

/// Addresses that no network has (RFC 5737 and RFC 3849), so the default route leads there.
const INTERNET: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9),
    SocketAddr::new(
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        9,
    ),
];

/// Whether an interface belongs to a device. Where the system does not say, none does.
fn is_hardware(interface: &str) -> bool {
    let path = std::path::Path::new("/sys/class/net").join(interface);
    path.join("device").exists()
}

/// Whether two addresses of `bits` bits agree in the first `prefix`.
fn same_prefix(a: u128, b: u128, bits: u8, prefix: u8) -> bool {
    let free = u32::from(bits.saturating_sub(prefix));
    (a ^ b).checked_shr(free).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(interface: &str, addr: &str) -> OwnAddr {
        let (ip, prefix) = addr.split_once('/').unwrap();
        OwnAddr {
            interface: interface.into(),
            ip: ip.parse().unwrap(),
            prefix: prefix.parse().unwrap(),
        }
    }

    fn office() -> Interfaces {
        Interfaces::of([
            own("lo", "127.0.0.1/8"),
            own("lo", "::1/128"),
            own("eth0", "192.0.2.7/24"),
            own("eth0", "fe80::7/64"),
            own("eth0", "2001:db8::7/64"),
            own("tun0", "10.9.0.1/32"),
        ])
    }

    #[test]
    fn this_machine_is_on_its_own_networks() {
        let here = Interfaces::now().unwrap();
        assert!(here.addrs().iter().all(|own| here.is_on_link(own.ip)));
        assert_eq!(here.networks(), Interfaces::now().unwrap().networks());
    }

    #[test]
    fn on_link_means_no_router_between() {
        for (ip, on_link) in [
            ("192.0.2.200", true),
            ("::ffff:192.0.2.200", true),
            ("192.0.3.1", false),
            ("127.0.0.9", true),
            ("169.254.1.1", true),
            ("fe80::99", true),
            ("2001:db8::99", true),
            ("2001:db8:0:1::99", false),
            ("10.9.0.1", true),
            ("10.9.0.2", false),
        ] {
            assert_eq!(office().is_on_link(ip.parse().unwrap()), on_link, "{ip}");
        }
        assert!(Interfaces::of([own("x", "0.0.0.0/0")]).is_on_link("8.8.8.8".parse().unwrap()));
    }

    /// The office's interfaces, with `new` instead of `old`.
    fn office_with(old: &str, new: OwnAddr) -> Interfaces {
        let old: IpAddr = old.parse().unwrap();
        let others = office().own.into_iter().filter(|own| own.ip != old);
        Interfaces::of(others.chain([new]))
    }

    #[test]
    fn the_link_of_an_interface_has_the_machines_of_its_networks() {
        for (interface, ip, has) in [
            ("eth0", "192.0.2.200", true),
            ("eth0", "::ffff:192.0.2.200", true),
            ("eth0", "192.0.2.255", false),
            ("eth0", "192.0.2.0", false),
            ("eth0", "192.0.3.1", false),
            ("eth0", "127.0.0.1", false),
            ("eth0", "fe80::99", true),
            ("tun0", "192.0.2.200", false),
            ("tun0", "10.9.0.1", true),
            ("lo", "127.0.0.1", true),
        ] {
            let found = office().link_has(interface, ip.parse().unwrap());
            assert_eq!(found, has, "{interface} {ip}");
        }
        let everything = Interfaces::of([own("x", "0.0.0.0/0")]);
        assert!(!everything.link_has("x", "8.8.8.8".parse().unwrap()));
        assert!(office().is_broadcast("192.0.2.255".parse().unwrap()));
        assert!(!office().is_broadcast("192.0.3.255".parse().unwrap()));
    }

    #[test]
    fn another_address_of_the_same_prefix_is_the_same_network() {
        let networks = office().networks();
        for (old, new) in [
            ("192.0.2.7", own("eth0", "192.0.2.8/24")),
            ("2001:db8::7", own("eth0", "2001:db8::aa:8/64")),
            ("fe80::7", own("eth0", "fe80::8/64")),
        ] {
            assert_eq!(
                office_with(old, new.clone()).networks(),
                networks,
                "{new:?}"
            );
        }
    }

    #[test]
    fn another_interface_or_prefix_is_another_network() {
        let networks = office().networks();
        for change in [
            own("eth0", "192.0.3.7/24"),
            own("eth0", "192.0.2.7/16"),
            own("eth1", "192.0.2.7/24"),
        ] {
            let moved = office_with("192.0.2.7", change.clone()).networks();
            assert_eq!(moved.len(), networks.len(), "{change:?}");
            assert_eq!(networks.difference(&moved).count(), 1, "{change:?}");
        }
    }

    #[test]
    fn a_network_that_appears_changes_no_other_one() {
        let containers = own("docker0", "172.17.0.1/16");
        let more = Interfaces::of(office().own.into_iter().chain([containers]));
        let (before, after) = (office().networks(), more.networks());
        assert!(before.is_subset(&after));
        assert_eq!(after.len(), before.len() + 1);
    }

    #[test]
    fn a_neighbour_is_reached_by_the_network_that_has_its_address() {
        let of = |remote: &str| office().network_of(remote.parse().unwrap());
        let network =
            |interface, ip: &str, prefix| Some(network_id(interface, ip.parse().unwrap(), prefix));
        assert_eq!(of("192.0.2.9:1"), network("eth0", "192.0.2.0", 24));
        assert_eq!(of("[::ffff:192.0.2.9]:1"), of("192.0.2.9:1"));
        assert_eq!(of("[2001:db8::9]:1"), network("eth0", "2001:db8::", 64));
        // All links have the link-local prefix, so the interface's first other network counts.
        assert_eq!(of("[fe80::9]:1"), of("192.0.2.9:1"));
        assert_eq!(of("127.0.0.1:1"), network("lo", "127.0.0.0", 8));
    }

    #[test]
    fn others_are_told_what_they_can_use() {
        let addrs = |text: &[&str]| {
            text.iter()
                .map(|a| a.parse().unwrap())
                .collect::<Vec<SocketAddr>>()
        };
        let told = |bound: &str| office().listening_addrs(bound.parse().unwrap());
        assert_eq!(
            told("[::]:9"),
            addrs(&["10.9.0.1:9", "192.0.2.7:9", "[2001:db8::7]:9"])
        );
        assert_eq!(told("0.0.0.0:9"), addrs(&["10.9.0.1:9", "192.0.2.7:9"]));
        assert_eq!(told("127.0.0.1:9"), addrs(&["127.0.0.1:9"]));
        let alone = Interfaces::of([own("lo", "127.0.0.1/8"), own("lo", "::1/128")]);
        assert_eq!(
            alone.listening_addrs("[::]:9".parse().unwrap()),
            addrs(&["127.0.0.1:9", "[::1]:9"])
        );
        let cable = Interfaces::of([own("lo", "127.0.0.1/8"), own("eth0", "fe80::7/64")]);
        assert_eq!(cable.listening_addrs("[::]:9".parse().unwrap()), []);
        let many = Interfaces::of((0..100).map(|n| own("eth0", &format!("10.0.0.{n}/8"))));
        assert_eq!(
            many.listening_addrs("[::]:9".parse().unwrap()).len(),
            HELLO_ADDRS_MAX
        );
    }

    #[test]
    fn a_link_local_address_stands_for_a_network_without_others() {
        let ips = |here: &Interfaces| {
            let ips = here.networked().map(|own| own.ip.to_string());
            ips.collect::<Vec<_>>()
        };
        assert_eq!(ips(&office()), ["192.0.2.7", "2001:db8::7", "10.9.0.1"]);
        let cable = Interfaces::of([own("lo", "127.0.0.1/8"), own("eth0", "fe80::7/64")]);
        assert_eq!(ips(&cable), ["fe80::7"]);
    }

    /// A machine with a LAN, a VPN that is not the default route, and many bridges of containers.
    fn with_bridges(bridges: u8) -> Interfaces {
        let bridge = |n| own(&format!("br-{n:02}"), &format!("172.{}.0.1/16", 17 + n));
        let mut here = Interfaces::of(
            (0..bridges)
                .map(bridge)
                .chain([own("wg0", "10.9.0.1/24"), own("eth0", "192.168.1.7/24")])
                .chain([own("lo", "127.0.0.1/8"), own("wlan0", "192.168.2.7/24")]),
        );
        let route = ["192.168.1.7".parse().ok(), None];
        here.outward = here.outward(&route, |name| name == "eth0" || name == "wlan0");
        here
    }

    #[test]
    fn bridges_of_containers_do_not_displace_the_address_of_the_lan() {
        let listed = with_bridges(30).listening_addrs("0.0.0.0:9".parse().unwrap());
        assert_eq!(listed.len(), HELLO_ADDRS_MAX);
        assert_eq!(listed[0], "192.168.1.7:9".parse().unwrap());
        assert_eq!(listed[1], "192.168.2.7:9".parse().unwrap());
    }

    #[test]
    fn the_interface_of_the_default_route_is_the_most_useful_one() {
        let here = with_bridges(30);
        let names = here.by_use();
        assert_eq!(names[..4], ["eth0", "wlan0", "lo", "br-00"]);
        assert_eq!(names.len(), 34);
    }

    #[tokio::test]
    async fn a_change_is_reported_once_and_watching_ends_with_the_listener() {
        let (changed, mut changes) = mpsc::channel(1);
        let watch = tokio::spawn(office().watch(Duration::from_millis(1), changed));
        assert_eq!(changes.recv().await.unwrap(), Interfaces::now().unwrap());
        drop(changes);
        watch.await.unwrap();
    }
}
