//! The profiles of peers, and this node's own: records, addresses, proofs of membership.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use hobnob_core::address_checks::Source;
use hobnob_core::known_addrs::Origin;
use hobnob_core::policy::DenyReason;
use hobnob_core::synthetic::is_synthetic;
use hobnob_core::{SessionId, paths, replica};
use hobnob_protocol::frame::Profile;
use hobnob_protocol::{
    Checked, ConversationId, Frame, PersonId, PublicRecord, RoomKey, RoomKind, close,
};
use tracing::warn;

use super::proofs::RoomProofs;
use super::session_state::SessionState;
use super::state::Engine;
use crate::api::{Event, PeerInfo, PeerState};
use crate::store::KnownPeer;

/// Addresses of a stranger that are stored. Ten thousand strangers must not fill the disk.
const STRANGERS_ADDRS_MAX: usize = 4;

impl Engine {
    /// A peer sends a new profile.
    pub(super) fn profile(&mut self, id: SessionId, profile: Profile) {
        let now = self.clock.now().mono;
        let state = self.live_session(id);
        let peer = state.peer();
        if !state.limits.allow_profile(now) {
            warn!(?peer, "refused: a flood of profiles");
            return state.close(close::PROTOCOL, "a flood of profiles");
        }
        let record = match self.checked_record(peer.person(), profile.record.clone()) {
            Ok(record) => record,
            Err(error) => {
                warn!(?peer, "refused: {error}");
                return self
                    .live_session(id)
                    .close(close::PROTOCOL, "a damaged record");
            }
        };
        let nick = record.record().nick.as_ref();
        if nick.is_some_and(|nick| self.has_taken_name(peer.person(), nick)) {
            return self.part_with(peer.person(), DenyReason::NameTaken);
        }
        let is_news = self.learn_profile(id, profile, record);
        self.send_new_proofs(id);
        if is_news {
            self.peers_changed();
            self.reports
                .event(Event::Peer(self.peer_info(peer.person())));
        }
        self.update_direct_path(id);
    }

    /// Learns a peer's record, its addresses, and the rooms that it proves to be in. Returns whether
    /// its name or the shared rooms are news.
    pub(super) fn learn_profile(
        &mut self,
        id: SessionId,
        profile: Profile,
        record: Checked<PublicRecord>,
    ) -> bool {
        let state = self.live_session(id);
        let (peer, remote) = (state.peer(), state.remote_addr());
        state.membership.set_proofs(profile.proofs);
        state.direct.set_theirs(profile.direct);
        self.tell_paths(paths::Input::Found {
            peer,
            addrs: vec![remote],
            origin: Origin::Answered,
            alive: false,
        });
        for addr in profile.addrs {
            if addr != remote && self.may_name(peer.person(), remote, addr) {
                self.claim(peer, addr, Source::Peer);
            }
        }
        let moved = self.compare_rooms(id);
        let named = self.learn_own_record_of(id, peer.person(), record);
        if named {
            self.update_holding();
        }
        self.store_peer(peer.person());
        self.request_records(id);
        self.request_picture(id);
        named || moved
    }

    /// Whether the peer of a session with this remote address may name an address. A relayed peer
    /// may not: it sends candidates when both look for a direct path.
    fn may_name(&self, peer: PersonId, remote: SocketAddr, addr: SocketAddr) -> bool {
        !is_synthetic(remote.ip())
            && self.network.may_dial(addr, remote)
            && (self.policy.is_contact(peer) || self.network.same_link(addr, remote))
    }

    /// The addresses of this node that the peer of a session is told. On one link they are known
    /// anyway.
    fn addrs_for(&self, state: &SessionState) -> Vec<SocketAddr> {
        let remote = state.remote_addr();
        let mut addrs = self.reachable_addrs();
        let all = self.goes_direct_with(state.person());
        addrs.retain(|addr| all || self.network.same_link(*addr, remote));
        if state.is_relayed() {
            addrs.clear();
        }
        addrs
    }

    /// Stores what later runs may use of a peer. Addresses without a session are not among it.
    pub(super) fn store_peer(&self, peer: PersonId) {
        if self.forgotten.contains(peer) {
            return;
        }
        let (mut addrs, named) = self.paths.lasting_addrs(peer.only_device());
        if !self.policy.is_contact(peer) {
            addrs.truncate(STRANGERS_ADDRS_MAX);
        }
        let (public, contact) = (self.peers.record(peer), self.known_relays.contact(peer));
        self.store.remember_peer(KnownPeer {
            peer,
            public: public.map(|record| record.signed().clone()),
            contact: contact.map(|record| record.signed().clone()),
            relays: self.known_relays.named(peer).to_vec(),
            addrs,
            named,
            seen_at_ms: self.clock.now().wall_ms,
        });
    }

    /// Compares the rooms that a session's peer has proved to be in with this node's, and informs
    /// the replica. Returns whether the shared rooms have changed.
    pub(super) fn compare_rooms(&mut self, id: SessionId) -> bool {
        let state = self
            .sessions
            .get_mut(id)
            .expect("the callers act on live sessions only");
        let rooms = self.replica.rooms().map(|(room, _, key)| (room, key));
        let changed = state.membership.compare(state.person(), rooms);
        let shared = state.membership.shared().clone();
        let rooms = self.replica.rooms();
        let closed = rooms.filter(|(id, _, key)| !key.is_open() && shared.contains(id));
        let closed: Vec<_> = closed.map(|(id, ..)| id).collect();
        let peer = state.peer();
        self.members.add(peer.person(), &closed);
        self.mail_members_here(peer, &closed);
        self.tell_replica(replica::Input::SessionRooms(id, shared));
        self.share_activity(id);
        if changed {
            self.send_refused_picture(id);
            self.request_picture(id);
        }
        changed
    }

    fn live_session(&mut self, id: SessionId) -> &mut SessionState {
        self.sessions
            .get_mut(id)
            .expect("the callers act on live sessions only")
    }

    pub(super) fn send_profile(&mut self, id: SessionId) {
        let rooms = self.session_proofs(id);
        let proved = rooms.proved();
        let maker = self.hello_with(rooms);
        let state = self.sessions.get(id);
        let state = state.expect("the callers act on live sessions only");
        let mut profile = maker.profile(state.membership.exporter());
        profile.direct = self.goes_direct_with(state.person());
        profile.addrs = self.addrs_for(state);
        let state = self.live_session(id);
        state.direct.set_ours(profile.direct);
        state.membership.set_proved(proved);
        state.send(&Frame::Profile(profile));
    }

    /// Sends the profile if this node may prove more rooms to the peer than it has proved.
    fn send_new_proofs(&mut self, id: SessionId) {
        let proved = self.session_proofs(id).proved();
        if !proved.is_subset(self.live_session(id).membership.proved()) {
            self.send_profile(id);
        }
    }

    /// A peer may have become a contact: proves rooms to it.
    pub(super) fn send_new_proofs_with(&mut self, peer: PersonId) {
        for id in self.sessions.ids_with(peer.only_device()) {
            self.send_new_proofs(id);
        }
    }

    /// Peers may have become trusted with rooms: proves these rooms to them.
    pub(super) fn send_new_proofs_to_all(&mut self) {
        for id in self.sessions.ids() {
            self.send_new_proofs(id);
        }
    }

    fn session_proofs(&self, id: SessionId) -> RoomProofs {
        let state = self.sessions.get(id);
        let state = state.expect("the callers act on live sessions only");
        let membership = &state.membership;
        self.room_proofs(
            Some(state.person()),
            membership.goes_first(),
            membership.shared(),
        )
    }

    /// The rooms to prove to a peer. `shared` are the rooms that it has proved.
    pub(super) fn room_proofs(
        &self,
        peer: Option<PersonId>,
        goes_first: bool,
        shared: &BTreeSet<ConversationId>,
    ) -> RoomProofs {
        let mut rooms = RoomProofs::new(self.device, self.proof_filler);
        for (id, _, key) in self.replica.rooms() {
            let withheld = match key.kind() {
                RoomKind::Open | RoomKind::Random => false,
                RoomKind::Passphrase => {
                    let trusts = |peer| self.trusts_with_room(peer, id, key);
                    !(goes_first || shared.contains(&id) || peer.is_some_and(trusts))
                }
            };
            rooms.add(id, key.clone(), withheld);
        }
        rooms
    }

    /// Whether a peer may see proofs of a room with a passphrase before it has proved the room:
    /// contacts, peers that the user named by an address, members, and peers that a relay's roster
    /// lists in the room.
    fn trusts_with_room(&self, peer: PersonId, room: ConversationId, key: &RoomKey) -> bool {
        self.policy.of(peer).contact
            || self.paths.is_named(peer.only_device())
            || self.members.contains(room, peer)
            || self.replica.has_author(room, peer)
            || self.relays.list_in_room(peer.only_device(), key)
    }

    /// Informs all sessions of a change of this node.
    pub(super) fn send_profile_to_all(&mut self) {
        for id in self.sessions.ids() {
            self.send_profile(id);
        }
    }

    pub(super) fn peer_info(&self, peer: PersonId) -> PeerInfo {
        let session = self.sessions.with(peer.only_device());
        let addr = session.map(SessionState::remote_addr);
        let known = || self.paths.addrs(peer.only_device()).into_iter();
        let (away, status) = self.status_of(peer);
        PeerInfo {
            peer,
            nick: self.peers.nick(peer).cloned(),
            formerly: self.formerly(peer),
            picture: self.picture_of(peer),
            name: self.peers.name(peer),
            state: match session {
                Some(state) if state.responses.is_suspect() => PeerState::Suspect,
                Some(_) => PeerState::Online,
                None => PeerState::Offline,
            },
            path: addr.map(|addr| self.network.path_kind(addr)),
            addr: match addr {
                Some(addr) if is_synthetic(addr.ip()) => self.relay_of(addr),
                Some(addr) => Some(addr),
                None => known().find(|addr| !is_synthetic(addr.ip())),
            },
            rtt_ms: session.map(SessionState::rtt_ms),
            lost: session.is_none() && self.lost.contains(peer),
            awaits_consent: self.outbox.awaits_consent(peer),
            refuses: self.policy.refused_by(peer),
            request: self.replica.request_of(peer),
            away,
            status,
            policy: self.policy.of(peer),
        }
    }
}
