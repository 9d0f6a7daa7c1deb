//! What peers say of themselves, and what we say of us: names, addresses, proofs of membership.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use hobnob_core::policy::DenyReason;
use hobnob_core::synthetic::is_synthetic;
use hobnob_core::{SessionId, paths, replica};
use hobnob_protocol::frame::{HELLO_ADDRS_MAX, Profile};
use hobnob_protocol::{Frame, Nickname, PeerId, close};
use tracing::warn;

use super::network::may_be_dialed;
use super::state::Engine;
use crate::api::{Event, PeerInfo, PeerState};
use crate::store::KnownPeer;

impl Engine {
    pub(super) fn profile(&mut self, id: SessionId, profile: Profile) {
        if !self.may_send_profile(id) {
            if let Some(link) = self.sessions.live.get(&id) {
                warn!(peer = ?link.peer, "refused: a flood of profiles");
                link.session.close(close::PROTOCOL, "a flood of profiles");
            }
            return;
        }
        if let Some(peer) = self.sessions.live.get(&id).map(|link| link.peer)
            && self.has_taken_name(peer, &profile.nick)
        {
            return self.part_with(peer, DenyReason::NameTaken);
        }
        if self.learn_profile(id, profile)
            && let Some(link) = self.sessions.live.get(&id)
        {
            self.somebody_changed();
            self.reports.event(Event::Peer(self.peer_info(link.peer)));
        }
    }

    fn may_send_profile(&mut self, id: SessionId) -> bool {
        let now = self.clock.now().mono;
        let Some(link) = self.sessions.live.get_mut(&id) else {
            return false;
        };
        link.profiles.allows(now)
    }

    /// A peer says who it is, where it listens, and which rooms it can prove to be in. Whether its
    /// name, or in which of our rooms it is, is news.
    pub(super) fn learn_profile(&mut self, id: SessionId, profile: Profile) -> bool {
        let Some(link) = self.sessions.live.get_mut(&id) else {
            return false;
        };
        let (peer, remote) = (link.peer, link.session.remote_addr());
        link.proofs = profile.proofs;
        let nick = Nickname::cleaned(&profile.nick);
        let mut addrs = vec![remote];
        let (own, interfaces) = (self.network.listening_addrs(), &self.network.interfaces);
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
        let Some(link) = self.sessions.live.get_mut(&id) else {
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
        let Some(link) = self.sessions.live.get(&id) else {
            return;
        };
        let hello = self.hello_maker()(&link.exporter);
        link.session
            .send_control(Frame::Profile(hello.profile).encode());
    }

    /// Tells all sessions what has changed about us.
    pub(super) fn tell_profile(&mut self) {
        for id in self.sessions.ids() {
            self.send_profile(id);
        }
    }

    pub(super) fn peer_info(&self, peer: PeerId) -> PeerInfo {
        let link = self.sessions.with(peer);
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
            path: addr.map(|addr| self.network.path_kind(addr)),
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
            lost: link.is_none() && self.lost.contains(peer),
            policy: self.policy.policies.of(peer),
        }
    }
}
