//! The names and addresses that lead to one relay.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hobnob_core::synthetic::is_synthetic;
use hobnob_protocol::RelayAt;
use hobnob_transport::stream::proxy::Proxy;
use tokio::task::JoinSet;

use super::error::LinkDown;
use super::race::{Map, Preferred, Way, ways};

/// Names and addresses of one relay, at most. Further ones are ignored.
pub const LOCATIONS_MAX: usize = 4;

/// Addresses of a relay's name that are tried.
const ADDRS_MAX: usize = 4;

/// Time between the first attempts by one location and by the next. All carriers of the first have
/// begun by then.
const LOCATION_DELAY: Duration = Duration::from_millis(500);

/// A name or an address of a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The name or the address.
    pub at: RelayAt,
    /// Whether addresses of this machine, and those of groups of machines, are refused: a peer named
    /// the relay.
    pub only_remote: bool,
    /// The proxy for TCP connections.
    pub proxy: Option<Proxy>,
}

/// The locations of one relay.
#[derive(Debug)]
pub(super) struct Locations {
    /// The first one counts most. It is never empty.
    list: Vec<Located>,
    /// Whether nothing may be sent to the relay except through the proxy.
    proxy_only: bool,
}

/// A location, and the addresses of its name at the last look-up.
#[derive(Debug)]
struct Located {
    location: Location,
    addrs: Vec<SocketAddr>,
}

impl Locations {
    pub(super) fn new(first: Location, proxy_only: bool) -> Self {
        let mut locations = Self {
            list: Vec::new(),
            proxy_only,
        };
        locations.add(first);
        locations
    }

    /// Adds another name or address of the relay, unless there are too many. If it is known, the user
    /// may have named it now.
    pub(super) fn add(&mut self, location: Location) {
        let mut all = self.list.iter_mut();
        if let Some(known) = all.find(|known| known.location.at == location.at) {
            known.location.only_remote &= location.only_remote;
        } else if self.list.len() < LOCATIONS_MAX {
            let addrs = Vec::new();
            self.list.push(Located { location, addrs });
        }
    }

    /// The relay has moved: from now on this name or address counts most. The one before it stays behind
    /// it, for the connection that there may be. Others are forgotten.
    pub(super) fn moved_to(&mut self, location: Location) {
        let mut addrs = Vec::new();
        self.list.retain_mut(|known| {
            let is_same = known.location.at == location.at;
            if is_same {
                addrs = std::mem::take(&mut known.addrs);
            }
            !is_same
        });
        self.list.truncate(1);
        self.list.insert(0, Located { location, addrs });
    }

    /// The name or address that counts most.
    pub(super) fn first(&self) -> &RelayAt {
        &self.list[0].location.at
    }

    /// Whether the relay may be reached over UDP.
    pub(super) fn has_udp(&self) -> bool {
        !self.proxy_only && self.by_udp().next().is_some()
    }

    /// The addresses for UDP.
    pub(super) fn udp_addrs(&self) -> Vec<SocketAddr> {
        if self.proxy_only {
            return Vec::new();
        }
        let all = self.by_udp().flat_map(|located| &located.addrs);
        all.copied().collect()
    }

    fn by_udp(&self) -> impl Iterator<Item = &Located> {
        let all = self.list.iter();
        all.filter(|located| located.location.at.path().is_none())
    }

    /// Looks up all names side by side. Fails if the first one has no address, unless another one
    /// has, or a proxy may know the name.
    pub(super) async fn look_up(&mut self) -> Result<(), LinkDown> {
        if self.proxy_only {
            return Ok(());
        }
        let mut looking = JoinSet::new();
        for (n, located) in self.list.iter().enumerate() {
            let location = located.location.clone();
            looking.spawn(async move { (n, look_up(&location).await) });
        }
        let mut errors = Vec::new();
        // Nothing in a look-up panics, and nobody aborts one.
        while let Some(Ok((n, found))) = looking.join_next().await {
            self.list[n].addrs = found.unwrap_or_else(|error| {
                errors.push((n, error));
                Vec::new()
            });
        }
        let is_usable = |it: &Located| !it.addrs.is_empty() || it.location.proxy.is_some();
        if self.list.iter().any(is_usable) {
            return Ok(());
        }
        errors.sort_by_key(|(n, _)| *n);
        let (_, first) = errors.remove(0);
        Err(first)
    }

    /// The ways by all locations. No way is listed twice.
    pub(super) fn ways(&self, preferred: Option<Preferred>) -> Vec<(Duration, Way)> {
        let mut all: Vec<(Duration, Way)> = Vec::new();
        for (n, located) in (0..).zip(&self.list) {
            let map = Map {
                at: &located.location.at,
                addrs: &located.addrs,
                proxy: located.location.proxy.as_ref(),
                udp: !self.proxy_only,
            };
            for (after, way) in ways(map, preferred) {
                if !all.iter().any(|(_, known)| *known == way) {
                    all.push((after + LOCATION_DELAY * n, way));
                }
            }
        }
        all
    }

    /// Whether a way leads to the location that counts most. By another one, somebody else's relay
    /// may be reached: whoever named it may be wrong.
    pub(super) fn is_by_first(&self, way: &Way) -> bool {
        let first = &self.list[0];
        match way {
            Way::Udp(addr) => first.addrs.contains(addr),
            Way::Stream(to) => to.host == first.location.at.host_port().host,
        }
    }
}

async fn look_up(location: &Location) -> Result<Vec<SocketAddr>, LinkDown> {
    let at = location.at.host_port();
    let found = tokio::net::lookup_host((at.host.as_str(), at.port)).await;
    let found = found.map_err(|error| LinkDown::NoAddress(error.to_string()))?;
    let found = found.filter(|addr| !location.only_remote || is_remote(addr.ip()));
    let addrs = alternating(found.collect());
    if addrs.is_empty() {
        return Err(LinkDown::NoAddress("the name has none".to_owned()));
    }
    Ok(addrs)
}

/// The first [`ADDRS_MAX`] addresses, with IPv6 and IPv4 in turn (RFC 8305 section 4): one of the two
/// may not work at all here.
fn alternating(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (one, other): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|addr| addr.is_ipv6() == first_is_v6);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut addrs = Vec::new();
    loop {
        let before = addrs.len();
        addrs.extend(one.next());
        addrs.extend(other.next());
        if addrs.len() == before || addrs.len() >= ADDRS_MAX {
            addrs.truncate(ADDRS_MAX);
            return addrs;
        }
    }
}

/// Whether an address may be that of a relay on another machine.
fn is_remote(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    let refused = ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || broadcast;
    !refused && !is_synthetic(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(at: &str) -> Location {
        Location {
            at: at.parse().unwrap(),
            only_remote: false,
            proxy: None,
        }
    }

    fn addrs(all: &[&str]) -> Vec<SocketAddr> {
        all.iter().map(|addr| addr.parse().unwrap()).collect()
    }

    #[tokio::test]
    async fn one_relay_is_tried_by_all_its_names_and_by_each_address_once() {
        let mut locations = Locations::new(location("127.0.0.1:4627"), false);
        locations.add(location("127.0.0.1:4627"));
        locations.add(location("127.0.0.2:4627"));
        locations.look_up().await.unwrap();
        let by_udp = |(after, way)| match way {
            Way::Udp(addr) => Some((after, addr)),
            Way::Stream(_) => None,
        };
        let ways: Vec<_> = locations
            .ways(None)
            .into_iter()
            .filter_map(by_udp)
            .collect();
        let [first, second] = addrs(&["127.0.0.1:4627", "127.0.0.2:4627"])[..] else {
            unreachable!("two were parsed")
        };
        assert_eq!(ways, [(Duration::ZERO, first), (LOCATION_DELAY, second)]);
        assert!(locations.is_by_first(&Way::Udp(first)));
        assert!(!locations.is_by_first(&Way::Udp(second)));
        assert_eq!(locations.udp_addrs(), [first, second]);
    }

    #[tokio::test]
    async fn a_relay_whose_first_name_is_gone_is_reached_by_another() {
        let mut locations = Locations::new(location("gone.invalid:4627"), false);
        let down = locations.look_up().await;
        assert!(matches!(down, Err(LinkDown::NoAddress(_))), "{down:?}");
        locations.add(location("127.0.0.1:4627"));
        assert_eq!(locations.look_up().await, Ok(()));
        assert_eq!(locations.udp_addrs(), addrs(&["127.0.0.1:4627"]));
    }

    #[test]
    fn a_relay_that_moves_again_and_again_is_dialed_at_its_last_address_first() {
        let mut locations = Locations::new(location("r0.example:1"), false);
        for n in 1..10 {
            locations.moved_to(location(&format!("r{n}.example:1")));
            assert_eq!(locations.first().to_string(), format!("r{n}.example:1"));
            assert_eq!(locations.list.len(), 2, "and at the one before");
        }
        let local = Location {
            only_remote: true,
            ..location("r9.example:1")
        };
        locations.moved_to(local);
        assert!(locations.list[0].location.only_remote);
        assert_eq!(locations.list.len(), 2);
        // The user names the address that a peer had named.
        locations.add(location("r9.example:1"));
        assert!(!locations.list[0].location.only_remote);
        assert_eq!(locations.list.len(), 2);
    }

    #[test]
    fn there_are_four_locations_at_most() {
        let mut locations = Locations::new(location("r0.example:1"), false);
        for n in 1..10 {
            locations.add(location(&format!("r{n}.example:1")));
        }
        assert_eq!(locations.list.len(), LOCATIONS_MAX);
        assert_eq!(locations.first().to_string(), "r0.example:1");
    }

    #[test]
    fn a_name_with_many_addresses_of_one_kind_is_tried_by_the_other_kind_too() {
        let found = addrs(&[
            "[2001:db8::1]:1",
            "[2001:db8::2]:1",
            "[2001:db8::3]:1",
            "[2001:db8::4]:1",
            "192.0.2.1:1",
        ]);
        let tried = addrs(&[
            "[2001:db8::1]:1",
            "192.0.2.1:1",
            "[2001:db8::2]:1",
            "[2001:db8::3]:1",
        ]);
        assert_eq!(alternating(found), tried);
        assert_eq!(alternating(Vec::new()), []);
    }
}
