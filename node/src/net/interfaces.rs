//! This machine's addresses: which of them peers can use, whether an address is in one of this
//! machine's networks, and when they change.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use hobnob_protocol::frame::HELLO_ADDRS_MAX;
use if_addrs::IfAddr;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use hobnob_core::scope::is_link_local;

/// All addresses of the interfaces that are up, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// Sorted, each once.
    own: Vec<OwnAddr>,
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
        Ok(Self::of(up.map(|interface| {
            let prefix = match &interface.addr {
                IfAddr::V4(v4) => v4.prefixlen,
                IfAddr::V6(v6) => v6.prefixlen,
            };
            OwnAddr {
                ip: interface.ip(),
                interface: interface.name,
                prefix,
            }
        })))
    }

    /// These addresses.
    pub fn of(own: impl IntoIterator<Item = OwnAddr>) -> Self {
        let mut own: Vec<_> = own.into_iter().collect();
        own.sort();
        own.dedup();
        Self { own }
    }

    /// The addresses, sorted by interface.
    pub fn addrs(&self) -> &[OwnAddr] {
        &self.own
    }

    /// Identifies the network that this machine is in. It is the same, also in later runs, as long as
    /// no interface, address or prefix changes. Loopback does not count.
    pub fn fingerprint(&self) -> u64 {
        let outside = self.own.iter().filter(|own| !own.ip.is_loopback());
        let text: String = outside
            .map(|own| format!("{}\0{}/{}\n", own.interface, own.ip, own.prefix))
            .collect();
        let mut first = [0; 8];
        first.copy_from_slice(&digest(&SHA256, text.as_bytes()).as_ref()[..8]);
        u64::from_le_bytes(first)
    }

    /// Whether no router is between this machine and an address: the address is this machine,
    /// link-local, or in one of its networks.
    pub fn is_on_link(&self, addr: IpAddr) -> bool {
        let addr = addr.to_canonical();
        addr.is_loopback()
            || is_link_local(addr)
            || self.own.iter().any(|own| own.network_has(addr))
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
    /// [`HELLO_ADDRS_MAX`], IPv4 first.
    ///
    /// Loopback addresses are listed only if there are no others. IPv6 link-local addresses are left
    /// out: they need the interface of the machine that dials, which mDNS provides.
    pub fn listening_addrs(&self, bound: SocketAddr) -> Vec<SocketAddr> {
        if !bound.ip().is_unspecified() {
            return vec![bound];
        }
        let mut ips: Vec<IpAddr> = self
            .own
            .iter()
            .map(|own| own.ip)
            .filter(|ip| ip.is_ipv4() || bound.is_ipv6())
            .collect();
        ips.retain(|&ip| !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local()));
        if ips.iter().any(|ip| !ip.is_loopback()) {
            ips.retain(|ip| !ip.is_loopback());
        }
        ips.sort();
        ips.dedup();
        ips.into_iter()
            .take(HELLO_ADDRS_MAX)
            .map(|ip| SocketAddr::new(ip, bound.port()))
            .collect()
    }

    /// Reads the addresses at this interval, and sends them whenever they have changed. Ends when the
    /// receiver is dropped.
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
        assert_eq!(here.fingerprint(), Interfaces::now().unwrap().fingerprint());
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

    #[test]
    fn a_change_of_network_changes_the_fingerprint_and_the_order_of_interfaces_does_not() {
        let office = office();
        let reversed = Interfaces::of(office.own.iter().rev().cloned());
        let without_loopback = Interfaces::of(
            office
                .own
                .iter()
                .filter(|own| own.interface != "lo")
                .cloned(),
        );
        assert_eq!(office.fingerprint(), reversed.fingerprint());
        assert_eq!(office.fingerprint(), without_loopback.fingerprint());
        for change in [
            own("eth0", "192.0.2.8/24"),
            own("eth0", "192.0.2.7/16"),
            own("eth1", "192.0.2.7/24"),
        ] {
            let moved: Vec<_> = office
                .own
                .iter()
                .map(|o| {
                    if o.ip == "192.0.2.7".parse::<IpAddr>().unwrap() {
                        change.clone()
                    } else {
                        o.clone()
                    }
                })
                .collect();
            assert_ne!(
                office.fingerprint(),
                Interfaces::of(moved).fingerprint(),
                "{change:?}"
            );
        }
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
        let many = Interfaces::of((0..100).map(|n| own("eth0", &format!("10.0.0.{n}/8"))));
        assert_eq!(
            many.listening_addrs("[::]:9".parse().unwrap()).len(),
            HELLO_ADDRS_MAX
        );
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
