//! What peers say of themselves, and what we say of us: names, addresses, proofs of membership.

use std::net::SocketAddr;
use std::time::Duration;

use hobnob_protocol::frame::HELLO_ADDRS_MAX;
use hobnob_protocol::{Frame, close};
use tracing::warn;

use super::Engine;
use super::sessions::SessionState;
use crate::Event;
use crate::PathKind;
use crate::PeerInfo;
use crate::PeerState;
use crate::net::interfaces::Interfaces;
use crate::store::KnownPeer;
use hobnob_core::SessionId;
use hobnob_core::paths;
use hobnob_core::policy::DenyReason;
use hobnob_core::replica;
use hobnob_core::scope::is_link_local;
use hobnob_core::synthetic::is_synthetic;
use hobnob_protocol::Nickname;
use hobnob_protocol::PeerId;
use hobnob_protocol::frame::Profile;
use std::collections::BTreeSet;

/// Profiles that a session may send in a burst, and how long it takes to earn another one; who
/// sends more loses the session.
const PROFILES_BURST: u32 = 32;
const PROFILE_EVERY: Duration = Duration::from_secs(1);

impl Engine {
    pub(super) fn profile(&mut self, id: SessionId, profile: Profile) {
        if !self.may_send_profile(id) {
            if let Some(link) = self.links.get(&id) {
                warn!(peer = ?link.peer, "refused: a flood of profiles");
                link.session.close(close::PROTOCOL, "a flood of profiles");
            }
            return;
        }
        if let Some(peer) = self.links.get(&id).map(|link| link.peer)
            && self.has_taken_name(peer, &profile.nick)
        {
            return self.part_with(peer, DenyReason::NameTaken);
        }
        if self.learn_profile(id, profile)
            && let Some(link) = self.links.get(&id)
        {
            self.somebody_changed();
            self.say(Event::Peer(self.peer_info(link.peer)));
        }
    }

    fn may_send_profile(&mut self, id: SessionId) -> bool {
        let now = self.clock.now().mono;
        let Some(link) = self.links.get_mut(&id) else {
            return false;
        };
        let earned = (now - link.profiles_since).as_secs() / PROFILE_EVERY.as_secs();
        if earned > 0 {
            link.profiles = link
                .profiles
                .saturating_sub(u32::try_from(earned).unwrap_or(u32::MAX));
            link.profiles_since = now;
        }
        link.profiles += 1;
        link.profiles <= PROFILES_BURST
    }

    /// A peer says who it is, where it listens, and which rooms it can prove to be in. Whether its
    /// name, or in which of our rooms it is, is news.
    pub(super) fn learn_profile(&mut self, id: SessionId, profile: Profile) -> bool {
        let Some(link) = self.links.get_mut(&id) else {
            return false;
        };
        let (peer, remote) = (link.peer, link.session.remote_addr());
        link.proofs = profile.proofs;
        let nick = Nickname::cleaned(&profile.nick);
        let mut addrs = vec![remote];
        let (own, interfaces) = (self.listening_addrs(), &self.interfaces);
        let may = |addr: &SocketAddr| {
            *addr != remote && !own.contains(addr) && may_be_dialed(*addr, remote, interfaces)
        };
        addrs.extend(profile.addrs.into_iter().filter(may));
        addrs.truncate(HELLO_ADDRS_MAX);
        let known = KnownPeer {
            peer,
            nick: nick.as_ref().map(ToString::to_string),
            addrs: addrs
                .iter()
                .copied()
                .filter(|addr| !is_synthetic(addr.ip()))
                .collect(),
            seen_at_ms: self.clock.now().wall_ms,
        };
        self.store.remember_peer(known);
        self.paths.handle(
            self.clock.now(),
            paths::Input::Found {
                peer,
                addrs,
                alive: false,
            },
        );
        let named = self.peers.learn(peer, nick);
        let moved = self.compare_rooms(id);
        named || moved
    }

    /// The rooms of which both ends have shown that they are members. Whether they are others than
    /// before.
    pub(super) fn compare_rooms(&mut self, id: SessionId) -> bool {
        let Some(link) = self.links.get_mut(&id) else {
            return false;
        };
        let proved = |key: &hobnob_protocol::RoomKey| {
            link.proofs.contains(&key.proof(&link.exporter, link.peer))
        };
        let shared: BTreeSet<_> = self
            .replica
            .rooms()
            .filter(|(_, _, key, _)| proved(key))
            .map(|(id, ..)| id)
            .collect();
        let before = std::mem::replace(&mut link.shared, shared.clone());
        let moved = before != shared;
        self.tell_replica(replica::Input::SessionRooms(id, shared));
        moved
    }

    pub(super) fn send_profile(&self, id: SessionId) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let hello = self.hello_maker()(&link.exporter);
        link.session
            .send_control(Frame::Profile(hello.profile).encode());
    }

    /// Tells all sessions what has changed about us.
    pub(super) fn tell_profile(&mut self) {
        for id in self.links.keys().copied().collect::<Vec<_>>() {
            self.send_profile(id);
        }
    }

    /// The session with a peer: the latest, for the moment in which there are two.
    pub(super) fn link_with(&self, peer: PeerId) -> Option<&SessionState> {
        self.links.values().rev().find(|link| link.peer == peer)
    }

    pub(super) fn peer_info(&self, peer: PeerId) -> PeerInfo {
        let link = self.link_with(peer);
        let addr = link.map(|link| link.session.remote_addr());
        PeerInfo {
            peer,
            nick: self.peers.nick(peer).cloned(),
            name: self.peers.name(peer),
            state: match link {
                Some(link) if link.suspect => PeerState::Suspect,
                Some(_) => PeerState::Online,
                None => PeerState::Offline,
            },
            path: addr.map(|addr| self.path_kind(addr)),
            addr: match addr {
                Some(addr) if is_synthetic(addr.ip()) => self.relay_of(addr),
                Some(addr) => Some(addr),
                None => self
                    .paths
                    .addrs(peer)
                    .into_iter()
                    .find(|addr| !is_synthetic(addr.ip())),
            },
            rtt_ms: link
                .map(|link| link.rtt.unwrap_or_else(|| link.session.rtt()).as_secs_f64() * 1000.0),
            lost: link.is_none() && self.noted.is_lost(peer),
            marks: self.policies.marks(peer),
        }
    }

    pub(super) fn path_kind(&self, addr: SocketAddr) -> PathKind {
        match addr.ip() {
            ip if is_synthetic(ip) => PathKind::Relay,
            ip if self.interfaces.is_on_link(ip) => PathKind::Lan,
            _ => PathKind::Direct,
        }
    }
}

/// Whether an address that a peer names may be dialed: nobody can make us knock at our own machine,
/// at no machine or at many, or at hosts of a private network that isn't ours, where whoever has
/// the address is somebody else.
pub(super) fn may_be_dialed(addr: SocketAddr, remote: SocketAddr, interfaces: &Interfaces) -> bool {
    let ip = addr.ip().to_canonical();
    let private = match ip {
        std::net::IpAddr::V4(v4) => v4.is_private(),
        std::net::IpAddr::V6(v6) => v6.is_unique_local(),
    };
    let private_elsewhere =
        private && ip != remote.ip().to_canonical() && !interfaces.is_on_link(ip);
    let broadcast = matches!(ip, std::net::IpAddr::V4(v4) if v4.is_broadcast());
    let loopback_elsewhere = ip.is_loopback() && !remote.ip().to_canonical().is_loopback();
    addr.port() != 0
        && !is_synthetic(ip)
        && !ip.is_unspecified()
        && !ip.is_multicast()
        // Without its zone a link-local address leads nowhere; the address that the peer came from
        // has it.
        && !is_link_local(ip)
        && !broadcast
        && !loopback_elsewhere
        && !private_elsewhere
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::interfaces::OwnAddr;

    #[test]
    fn a_peer_can_name_only_addresses_whose_dialing_harms_nobody_else() {
        let own = |ip: &str, prefix| OwnAddr {
            interface: "eth0".into(),
            ip: ip.parse().expect("an address"),
            prefix,
        };
        let ours = Interfaces::of([own("192.168.7.2", 24), own("fd00:7::2", 64)]);
        let may = |addr: &str, remote: &str| {
            may_be_dialed(
                addr.parse().expect("an address"),
                remote.parse().expect("an address"),
                &ours,
            )
        };
        for good in [
            "192.168.7.9:1",
            "[fd00:7::9]:1",
            "203.0.113.9:1",
            "[2001:db8::9]:1",
            "10.1.2.3:77",
        ] {
            assert!(may(good, "10.1.2.3:4"), "{good}");
        }
        let bad = [
            "192.168.8.9:1",
            "10.1.2.4:1",
            "172.16.0.1:1",
            "[fd00:8::9]:1",
            "[::ffff:10.1.2.4]:1",
            "127.0.0.1:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
            "0.0.0.0:1",
            "[::]:1",
            "224.0.0.251:1",
            "[ff02::fb]:1",
            "255.255.255.255:1",
            "169.254.1.1:1",
            "[fe80::1%2]:1",
            "203.0.113.9:0",
            "[fd68:6f62:6e6f::9]:1",
            "240.0.0.9:1",
        ];
        for bad in bad {
            assert!(!may(bad, "10.1.2.3:4"), "{bad}");
        }
        assert!(
            may("127.0.0.1:1", "127.0.0.1:2"),
            "who is on this machine can name it"
        );
    }
}
