//! The records of peers: learns them, passes public ones on in rooms, and sends this node's own.
//!
//! A public record goes only to peers that share a room with its peer. A contact record goes only
//! to contacts. Relays get neither.

use std::collections::BTreeSet;

use hobnob_core::SessionId;
use hobnob_core::peers::Learned;
use hobnob_protocol::record::RecordError;
use hobnob_protocol::{
    Checked, ContactRecord, ConversationId, DeviceId, Frame, PersonId, PublicRecord, RelayAddr,
    RoomKey, SignedRecord, close,
};
use tracing::{debug, warn};

use super::own_records::OwnRelayAddrs;
use super::session_state::SessionState;
use super::state::Engine;
use crate::net::channels::RelayId;
use crate::store::KnownPeer;

/// Relays that contacts name, of which a node uses one after another without being asked.
const CONTACT_RELAYS_MAX: usize = 8;

impl Engine {
    // Public records.

    /// The record that a peer shows of itself, if it is signed by the peer. One that is known
    /// already is not checked again.
    pub(super) fn checked_record(
        &self,
        peer: PersonId,
        signed: SignedRecord,
    ) -> Result<Checked<PublicRecord>, RecordError> {
        let held = self.peers.record(peer);
        match held.filter(|held| *held.signed() == signed) {
            Some(held) => Ok(held.clone()),
            None => signed.check(peer),
        }
    }

    /// The peer of a session shows its own record. Returns whether its name is news.
    pub(super) fn learn_own_record_of(
        &mut self,
        id: SessionId,
        peer: PersonId,
        record: Checked<PublicRecord>,
    ) -> bool {
        if self.forgotten.contains(peer) {
            return false;
        }
        let was_known = self.peers.knows(peer);
        let (learned, shows_other) = self.learn_record(id, peer, record);
        if learned == Learned::Older {
            // The peer runs from a backup, or twice. It signs a record above this one.
            let held = self
                .peers
                .record(peer)
                .expect("it is newer")
                .signed()
                .clone();
            self.send_records(id, false, vec![(peer, held)]);
        }
        !was_known || shows_other
    }

    /// A session passes on records, or answers a request.
    pub(super) fn records(
        &mut self,
        id: SessionId,
        answer: bool,
        records: Vec<(PersonId, SignedRecord)>,
    ) {
        let now = self.clock.now();
        for (peer, signed) in records {
            if !self.is_record_wanted(id, peer, &signed) {
                continue;
            }
            if !self.records.allow_check(id, now.mono) {
                debug!(session = ?id, "dropped: too many records");
                break;
            }
            match signed.check::<PublicRecord>(peer) {
                Ok(record) if peer == self.me => self.seen_own_public(&record),
                Ok(record) => self.learn_passed_on(id, peer, record),
                Err(RecordError::Signature) => {
                    let state = self.sessions.get(id);
                    let state = state.expect("the callers act on live sessions only");
                    warn!(by = ?state.peer(), of = ?peer, "refused: a forged record");
                    return state.close(close::PROTOCOL, "a record with a wrong signature");
                }
                // A later version may pass on what this one does not understand.
                Err(error) => debug!(of = ?peer, "refused: {error}"),
            }
        }
        self.request_picture(id);
        if answer && self.records.answered(id) {
            self.request_records(id);
            // Other sessions are asked for what this one did not have.
            self.records.members_changed(now.mono);
        }
    }

    /// Whether a record that a session passes on may be news, and is of a member of a room that
    /// this node knows. Nobody else decides whose names this node learns.
    fn is_record_wanted(&self, id: SessionId, peer: PersonId, signed: &SignedRecord) -> bool {
        let own = self.own.public();
        let held = if peer == self.me {
            Some(own)
        } else {
            self.peers.record(peer)
        };
        let is_old = held.is_some_and(|held| {
            let claimed = signed.claimed_number();
            held.signed() == signed || claimed.is_ok_and(|number| number < held.record().number)
        });
        let is_unwelcome = self.policy.of(peer).blocked || self.forgotten.contains(peer);
        !is_old && !is_unwelcome && (peer == self.me || self.is_member_with(id, peer))
    }

    fn learn_passed_on(&mut self, id: SessionId, peer: PersonId, record: Checked<PublicRecord>) {
        let nick = record.record().nick.as_ref();
        if nick.is_some_and(|nick| self.has_taken_name(peer, nick)) {
            return;
        }
        self.learn_record(id, peer, record);
    }

    /// Learns a record that a session has sent, and what follows from a newer one. Returns also
    /// whether the peer has another name or picture now.
    fn learn_record(
        &mut self,
        id: SessionId,
        peer: PersonId,
        record: Checked<PublicRecord>,
    ) -> (Learned, bool) {
        let before = self.peers.nick(peer).cloned();
        let picture = self.named_picture(peer);
        let learned = self.peers.learn_record(peer, record);
        if learned == Learned::Newer {
            self.note_renamed(peer, before.clone());
            self.picture_replaced(picture, peer);
            self.record_is_news(peer, id);
        }
        let shows_other =
            before.as_ref() != self.peers.nick(peer) || picture != self.named_picture(peer);
        (learned, shows_other)
    }

    /// A record has replaced an older one: stores it and passes it on.
    fn record_is_news(&mut self, peer: PersonId, from: SessionId) {
        for left in self.peers.take_left() {
            self.past_names.forget(left);
            self.store.forget_peer(left);
        }
        self.store_peer(peer);
        self.peers_changed();
        let may_have = |to| self.may_have_record(to, peer);
        let to = self.records.pass_on(peer, Some(from), may_have);
        let Some(record) = self.peers.record(peer).map(|held| held.signed().clone()) else {
            return;
        };
        for session in to {
            self.send_records(session, false, vec![(peer, record.clone())]);
        }
    }

    fn send_records(
        &mut self,
        id: SessionId,
        answer: bool,
        records: Vec<(PersonId, SignedRecord)>,
    ) {
        let frame = Frame::Records { answer, records }.encode();
        if self.records.allow_send(id, frame.len()) {
            self.sessions.send_encoded(id, frame);
        }
    }

    /// A session requests the records of peers, if they are newer than those it has.
    pub(super) fn want_records(&mut self, id: SessionId, wanted: Vec<(PersonId, u64)>) {
        if !self.records.allow_request(id, self.clock.now().mono) {
            return debug!(session = ?id, "ignored: too many requests for records");
        }
        let newer = |(peer, number): (PersonId, u64)| {
            let held = self.peers.record(peer)?;
            let is_newer = held.record().number > number;
            (is_newer && self.may_have_record(id, peer)).then(|| (peer, held.signed().clone()))
        };
        let records = wanted.into_iter().filter_map(newer).collect();
        self.send_records(id, true, records);
    }

    /// Requests the records of members of the rooms that a session shares.
    pub(super) fn request_records(&mut self, id: SessionId) {
        let members = self.members_with(id);
        let number = |peer| self.peers.record_number(peer);
        let now = self.clock.now().mono;
        if let Some(request) = self.records.next_request(id, members, number, now) {
            self.sessions.send(id, &Frame::WantRecords(request));
        }
    }

    pub(super) fn request_due_records(&mut self) {
        for id in self.records.take_due(self.clock.now().mono) {
            self.request_records(id);
            self.request_picture(id);
        }
    }

    /// Entries of an author have arrived. Its record is requested soon, if there is none, and its
    /// picture, if it is missing. `begins`: they are the first ones of a log.
    pub(super) fn note_author(&mut self, author: PersonId, begins: bool) {
        let lacks_picture = || {
            let named = self.named_picture(author);
            named.is_some_and(|picture| !self.profile_pictures.has(picture))
        };
        let is_missing = self.peers.record(author).is_none() || begins && lacks_picture();
        if is_missing && author != self.me {
            self.records.members_changed(self.clock.now().mono);
        }
    }

    /// The members of a room, as this node knows them: authors, and peers that a relay lists.
    pub(super) fn members_of(
        &self,
        room: ConversationId,
        key: &RoomKey,
    ) -> impl Iterator<Item = PersonId> {
        let listed = self.relays.members(key).into_iter();
        let authors = self.replica.authors(room).into_iter();
        authors.chain(listed.map(DeviceId::person))
    }

    /// The members of the rooms that a session shares.
    fn members_with(&self, id: SessionId) -> BTreeSet<PersonId> {
        let mut members = BTreeSet::new();
        for (room, key) in self.rooms_with(id) {
            members.extend(self.members_of(room, &key));
        }
        let is_welcome =
            |peer: &PersonId| !self.policy.of(*peer).blocked && !self.forgotten.contains(*peer);
        members.into_iter().filter(is_welcome).collect()
    }

    /// Whether a peer is a member of a room that a session shares.
    fn is_member_with(&self, id: SessionId, peer: PersonId) -> bool {
        self.are_together(id, peer)
            || self.rooms_with(id).into_iter().any(|(room, key)| {
                self.relays.list_in_room(peer.only_device(), &key)
                    || self.replica.has_author(room, peer)
            })
    }

    /// Whether the peer of a session may have the record of another one: they share a room, and may
    /// see each other's entries there.
    fn may_have_record(&self, id: SessionId, peer: PersonId) -> bool {
        if self.policy.of(peer).blocked || self.forgotten.contains(peer) {
            return false;
        }
        self.are_together(id, peer)
            || self.rooms_with(id).into_iter().any(|(room, key)| {
                self.relays.list_in_room(peer.only_device(), &key)
                    || self.replica.may_have_from(id, room, peer)
            })
    }

    /// Whether a peer has a session that shares a room with this one.
    fn are_together(&self, id: SessionId, peer: PersonId) -> bool {
        let shared = |state: &SessionState| state.membership.shared().clone();
        let (this, other) = (
            self.sessions.get(id),
            self.sessions.with(peer.only_device()),
        );
        match (this.map(shared), other.map(shared)) {
            (Some(this), Some(other)) => !this.is_disjoint(&other),
            (_, _) => false,
        }
    }

    pub(super) fn rooms_with(&self, id: SessionId) -> Vec<(ConversationId, RoomKey)> {
        let Some(state) = self.sessions.get(id) else {
            return Vec::new();
        };
        let shared = state.membership.shared();
        let rooms = self
            .replica
            .rooms()
            .filter(|(room, ..)| shared.contains(room));
        rooms.map(|(room, _, key)| (room, key.clone())).collect()
    }

    /// Somebody else has a public record of this node.
    fn seen_own_public(&mut self, record: &Checked<PublicRecord>) {
        if self.own.seen_public(record, self.clock.now().wall_ms) {
            self.store_own_records();
            self.send_profile_to_all();
        }
    }

    // Contact records.

    /// A peer sends its contact record, or one of this node that is newer than the one that
    /// this node has sent.
    pub(super) fn contact_record(&mut self, id: SessionId, signed: SignedRecord) {
        let now = self.clock.now();
        let me = self.me;
        let state = self.sessions.get_mut(id);
        let state = state.expect("the callers act on live sessions only");
        let peer = state.peer();
        if !state.limits.allow_profile(now.mono) {
            warn!(?peer, "refused: a flood of contact records");
            return state.close(close::PROTOCOL, "a flood of contact records");
        }
        match signed.clone().check::<ContactRecord>(peer.person()) {
            Ok(record) if self.policy.is_contact(peer.person()) => {
                self.learn_contact_record(id, peer.person(), record);
            }
            // If the user accepts the peer later, this record counts.
            Ok(record) => state.contact_record = Some(record),
            Err(RecordError::Signature) => match signed.check::<ContactRecord>(me) {
                Ok(own) => {
                    if self.own.seen_contact(&own, now.wall_ms) {
                        self.own_contact_changed();
                    }
                }
                Err(_) => {
                    warn!(?peer, "refused: a forged contact record");
                    state.close(close::PROTOCOL, "a record with a wrong signature");
                }
            },
            Err(error) => debug!(?peer, "refused: {error}"),
        }
    }

    fn learn_contact_record(
        &mut self,
        id: SessionId,
        peer: PersonId,
        record: Checked<ContactRecord>,
    ) {
        if self.known_relays.learn(peer, record.clone()) {
            self.store_peer(peer);
            return self.choose_lent_relays();
        }
        let held = self.known_relays.contact(peer).expect("it is not older");
        if held.signed() != record.signed() {
            // The peer runs from a backup, or twice.
            let held = Frame::ContactRecord(held.signed().clone());
            self.sessions.send(id, &held);
        }
    }

    /// Sends this node's contact record to a contact.
    pub(super) fn send_contact_record(&mut self, id: SessionId) {
        let state = self.sessions.get(id);
        let state = state.expect("the callers act on live sessions only");
        if let Some(contact) = self.own.contact()
            && self.policy.is_contact(state.person())
        {
            state.send(&Frame::ContactRecord(contact.signed().clone()));
        }
    }

    /// The user has accepted or removed a contact, or has written to a peer.
    pub(super) fn contact_changed(&mut self, peer: PersonId) {
        self.apps
            .set_accepted(peer, self.policy.may_run_programs(peer));
        self.mail_contact_changed(peer.only_device());
        self.admitted_contacts_changed();
        if !self.policy.is_contact(peer) {
            self.known_relays.forget_contact(peer);
            self.choose_lent_relays();
            return self.store_peer(peer);
        }
        for id in self.sessions.ids_with(peer.only_device()) {
            self.send_contact_record(id);
            self.share_activity(id);
            self.send_refused_picture(id);
            self.profile_pictures.ask_again(id);
            self.request_picture(id);
            let state = self.sessions.get_mut(id).expect("listed just now");
            if let Some(record) = state.contact_record.take() {
                self.learn_contact_record(id, peer, record);
            }
        }
        self.choose_lent_relays();
        self.seek_at_lent_relays(peer);
    }

    /// The relays at which peers find this node may have changed.
    pub(crate) fn own_relays_changed(&mut self) {
        let relays = OwnRelayAddrs {
            relays: self.relays.addrs(),
            lends: self.lending.offer().cloned(),
            borrows: self.lending.borrowed().collect(),
        };
        if self.own.set_relays(relays, self.clock.now().wall_ms) {
            self.own_contact_changed();
        }
    }

    fn own_contact_changed(&mut self) {
        self.store_own_records();
        for id in self.sessions.ids() {
            self.send_contact_record(id);
        }
    }

    /// The store keeps this node's own records as those of a peer.
    pub(crate) fn store_own_records(&self) {
        self.store.remember_peer(KnownPeer {
            peer: self.me,
            public: Some(self.own.public().signed().clone()),
            contact: self.own.contact().map(|record| record.signed().clone()),
            relays: Vec::new(),
            addrs: Vec::new(),
            named: Vec::new(),
            // Never the one seen least recently.
            seen_at_ms: i64::MAX.cast_unsigned(),
        });
    }

    // The relays of peers.

    /// Looks for all peers at the relays that the user named for them, and for contacts at those in
    /// their contact records.
    pub(crate) fn reach_at_known_relays(&mut self) {
        for peer in self.known_relays.peers() {
            self.reach_at_relays_of(peer);
        }
    }

    /// As [`Engine::reach_at_known_relays`], for one peer.
    pub(super) fn reach_at_relays_of(&mut self, peer: PersonId) {
        for relay in self.known_relays.named(peer).to_vec() {
            if let Some(relay) = self.add_relay(relay, false) {
                self.found_at(relay, peer.only_device());
            }
        }
        if !self.policy.is_contact(peer) {
            return;
        }
        for relay in self.relays_of_contact(peer) {
            if let Some(relay) = self.relay_of_contact(relay) {
                self.found_at(relay, peer.only_device());
            }
        }
    }

    /// The relay that a contact names. Nothing if there are too many, or if it may not be dialed.
    fn relay_of_contact(&mut self, relay: RelayAddr) -> Option<RelayId> {
        if let Some(known) = self.relays.find(&relay) {
            return Some(known);
        }
        if self.relays.of_contacts() >= CONTACT_RELAYS_MAX {
            debug!(%relay, "not used: too many relays of contacts");
            return None;
        }
        self.add_contact_relay(relay)
    }
}
