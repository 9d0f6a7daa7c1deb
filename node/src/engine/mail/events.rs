//! Carries out what concerns holders and deposits for contacts that are away.
//!
//! Not here: mail that arrives, which is in `arriving`.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use hobnob_core::SessionId;
use hobnob_core::mail_refusal::MailRefusal;
use hobnob_core::replica::{self, MailedRoom};
use hobnob_core::source_network::SourceNetwork;
use hobnob_protocol::mailbox::{DepositAnswer, DepositToken, Envelope, FromHolder, ToHolder};
use hobnob_protocol::record::{MailboxRecord, RECORD_RELAYS_MAX, RecordError};
use hobnob_protocol::{DeviceId, Frame, LogName, Ranges, SignedRecord, close};
use tracing::{debug, warn};

use super::super::session_state::SessionState;
use super::super::state::Engine;
use super::HolderAt;
use super::holder::{Deposited, Facts, Holder};
use super::outgoing::Outgoing;
use super::{DEPOSIT_AFTER, MailSession, RUNNING_EVERY};
use crate::api::{DeliveryState, NoticeReason};
use crate::net::mail::MailStream;

impl Engine {
    // What is known at the start.

    /// Shows the state of messages that an earlier run deposited.
    pub(crate) fn restore_held(&mut self) {
        for (name, peer, ranges) in self.mail.held.all() {
            self.outbox.note_held(name, peer, ranges);
        }
    }

    // The mailboxes of contacts, and this node's own one.

    /// Sends this node's mailbox to a contact.
    pub(in crate::engine) fn send_mailbox(&self, id: SessionId) {
        let Some(state) = self.sessions.get(id) else {
            return;
        };
        let peer = state.peer();
        if !self.policy.is_contact(peer.person()) {
            return;
        }
        if let Some(frame) = self.own_mailbox(peer) {
            state.send(&frame);
        }
    }

    /// This node's mailbox, for a contact. `None`: nobody holds mail for this node.
    fn own_mailbox(&self, contact: DeviceId) -> Option<Frame> {
        // The contact needs no holder to reach itself.
        let ids = self.mail.holder_ids().filter(|holder| *holder != contact);
        let token = |holder| (holder, self.mail.own.token(contact, holder));
        let tokens: Vec<_> = ids.take(RECORD_RELAYS_MAX).map(token).collect();
        let record = self.mail.own.record().clone();
        (!tokens.is_empty()).then_some(Frame::Mailbox { record, tokens })
    }

    pub(super) fn send_mailbox_to_all(&self) {
        for id in self.sessions.ids() {
            self.send_mailbox(id);
        }
    }

    /// A peer sends its mailbox.
    pub(in crate::engine) fn mailbox_frame(
        &mut self,
        id: SessionId,
        signed: SignedRecord,
        tokens: Vec<(DeviceId, DepositToken)>,
    ) {
        let now = self.clock.now().mono;
        let state = self.sessions.get_mut(id);
        let state = state.expect("the callers act on live sessions only");
        let peer = state.peer();
        if !state.limits.allow_profile(now) {
            warn!(?peer, "refused: a flood of mailbox records");
            return state.close(close::PROTOCOL, "a flood of mailbox records");
        }
        if !self.policy.is_contact(peer.person()) {
            // If the user accepts the peer later, it counts.
            state.mailbox = Some((signed, tokens));
            return;
        }
        match signed.check::<MailboxRecord>(peer) {
            Ok(record) => {
                let holders: Vec<_> = tokens.iter().map(|(holder, _)| *holder).collect();
                let row = self.mail.contacts.learn(peer, record, tokens);
                self.store.set_mail(row);
                for holder in holders {
                    self.use_as_holder(holder);
                }
            }
            Err(RecordError::Signature) => {
                warn!(?peer, "refused: a forged mailbox record");
                state.close(close::PROTOCOL, "a record with a wrong signature");
            }
            // A later version may send what this one does not understand.
            Err(error) => debug!(?peer, "refused: {error}"),
        }
    }

    /// The user has accepted or removed a contact.
    pub(in crate::engine) fn mail_contact_changed(&mut self, peer: DeviceId) {
        let all: Vec<_> = self.mail.holders.keys().copied().collect();
        all.into_iter().for_each(|at| self.hold_at(at));
        self.update_holding();
        self.use_as_holder(peer);
        let is_contact = self.policy.is_contact(peer.person());
        if !is_contact || self.denies_mail(peer) {
            // It gets no messages of rooms from this node until it has been in them again.
            self.mail_members_gone(peer, &BTreeSet::new());
            self.mail.unanswered.forget(peer);
            self.end_mail_with(peer);
        }
        if !is_contact {
            self.mail.refusals.forget(peer);
            self.mail.room_refusals.forget(peer);
            self.mail.content_refusals.forget(peer);
            let rows = self.mail.members.forget(peer);
            self.store.set_mail(rows);
            let row = self.mail.contents.forget(peer);
            self.store.set_mail(row);
            if self.mail.former.remove(&peer).is_some() {
                self.send_mailbox_to_all();
            }
            let row = self.mail.contacts.forget(peer);
            self.store.set_mail(row);
            return;
        }
        if self.paths.session(peer).is_none() {
            // It may be denied no longer.
            self.expect_mail(peer);
        }
        for id in self.sessions.ids_with(peer) {
            self.send_mailbox(id);
            let state = self.sessions.get_mut(id).expect("listed just now");
            if let Some((record, tokens)) = state.mailbox.take() {
                self.mailbox_frame(id, record, tokens);
            }
        }
    }

    /// Whether no mail passes between this node and a peer: it may have no session either.
    pub(super) fn denies_mail(&self, peer: DeviceId) -> bool {
        let denied = self.policy.denies(peer.person(), self.clock.now());
        denied.is_some()
    }

    /// Asks a holder to hold mail from all contacts.
    pub(super) fn hold_at(&mut self, at: HolderAt) {
        let Some(holder) = self.mail.holders.get(&at).filter(|it| it.is_own) else {
            return;
        };
        let mut contacts = self.policy.contacts();
        contacts.retain(|peer| !self.policy.of(*peer).blocked);
        let senders = self.mail.own.senders(&contacts, holder.id);
        let record = self.mail.own.record().clone();
        holder.send(ToHolder::Hold { record, senders });
    }

    // Holders.

    /// There is a stream to a holder: a relay that has registered this node, or a connected node.
    /// `is_own`: this node's own mail is to be held there, too.
    pub(in crate::engine) fn holder_up(
        &mut self,
        at: HolderAt,
        id: DeviceId,
        stream: MailStream,
        is_own: bool,
    ) {
        self.holder_down(at);
        let mut holder = Holder::new(id, stream, is_own);
        if let Some(facts) = self.mail.former.remove(&id) {
            holder.count_from(facts);
        }
        self.mail.holders.insert(at, holder);
        self.hold_at(at);
        if is_own {
            let holder = self.mail.holders.get_mut(&at);
            holder.expect("inserted above").fetch();
        }
        self.deposit_again(at);
        let due = self.clock.now().mono + DEPOSIT_AFTER;
        for peer in self.mail.contacts.at(id) {
            self.mail.due.entry(peer).or_insert(due);
        }
    }

    /// Deposits what a holder had not answered when the last connection with it was lost.
    fn deposit_again(&mut self, at: HolderAt) {
        let holder = self.mail.holders.get(&at);
        let id = holder.expect("the caller has inserted it").id;
        for deposited in self.mail.unanswered.take(id) {
            let (peer, room) = (deposited.peer, deposited.room);
            // If the peer is here, or another holder has the messages, nothing must be repeated.
            if self.sessions.with(peer).is_some() || self.mail.session_in(peer, room).is_some() {
                continue;
            }
            if self.denies_mail(peer) || !self.gets_mail_of(room, peer) {
                continue;
            }
            let of_peer = self.mail.contacts.get(peer);
            if let Some(token) = of_peer.and_then(|it| it.token(id)).cloned()
                && let Some(holder) = self.mail.holders.get_mut(&at)
            {
                holder.deposit(deposited, token);
            }
        }
    }

    /// There is no stream to a holder any more. What it had not answered is deposited again later.
    pub(in crate::engine) fn holder_down(&mut self, at: HolderAt) {
        let Some(mut holder) = self.mail.holders.remove(&at) else {
            return;
        };
        let unanswered = holder.take_unanswered();
        self.mail.unanswered.lost(holder.id, unanswered);
        if let Some(facts) = holder.holding().filter(|_| holder.is_own) {
            let facts = Facts {
                is_node: matches!(at, HolderAt::Session(_)),
                lost_at_ms: Some(self.clock.now().wall_ms),
                ..facts.clone()
            };
            self.mail.remember(holder.id, facts);
        }
        let by_it = |session: &MailSession| session.holder == Some(at);
        let all = self.mail.sessions.iter().filter(|(_, it)| by_it(it));
        let ended: Vec<_> = all.map(|(id, session)| (*id, session.peer)).collect();
        for (id, peer) in ended {
            self.end_mail(id);
            self.expect_mail(peer);
        }
    }

    /// A holder sent a frame. `None`: its stream has ended.
    pub(in crate::engine) fn mail_frame(
        &mut self,
        at: HolderAt,
        stream: u64,
        frame: Option<FromHolder>,
    ) {
        let Some(holder) = self.mail.holders.get_mut(&at) else {
            return;
        };
        if !holder.is_stream(stream) {
            return;
        }
        let id = holder.id;
        let Some(frame) = frame else {
            if matches!(at, HolderAt::Session(_)) {
                let now = self.clock.now().mono;
                self.mail.reopening.ended(id, now);
            }
            return self.holder_down(at);
        };
        self.mail.reopening.works(id);
        match frame {
            // A holder of a contact's mail was not asked to hold this node's.
            FromHolder::Holding { .. } | FromHolder::NotHolding | FromHolder::News
                if !holder.is_own => {}
            FromHolder::Holding {
                envelopes,
                bytes,
                since_ms,
            } => {
                if holder.holds(envelopes, bytes, since_ms) {
                    self.send_mailbox_to_all();
                }
            }
            FromHolder::NotHolding => {
                if holder.holds_nothing() {
                    self.send_mailbox_to_all();
                }
            }
            FromHolder::Answer(number, answer) => self.deposit_answered(at, number, answer),
            FromHolder::Waiting(waiting) => self.envelope_arrives(at, waiting),
            FromHolder::PageEnd(more) => holder.page_ends(more),
            FromHolder::News => holder.fetch(),
            FromHolder::Unknown(_) => {}
        }
    }

    // Sessions by mail.

    /// A peer is away: messages for it are deposited soon, if it stays away.
    pub(in crate::engine) fn expect_mail(&mut self, peer: DeviceId) {
        if self.mail.contacts.get(peer).is_some() {
            let due = self.clock.now().mono + DEPOSIT_AFTER;
            self.mail.due.entry(peer).or_insert(due);
        }
    }

    /// A session with a peer has begun. Mail is not needed any more.
    pub(in crate::engine) fn mail_not_needed(&mut self, peer: DeviceId) {
        self.mail.due.remove(&peer);
        let row = self.mail.contents.forget(peer);
        self.store.set_mail(row);
        self.mail.refusals.over(peer);
        // Both compare what they have, so nothing must be sealed again.
        let row = self.mail.owe(peer, None, |owed| owed.request = false);
        self.store.set_mail(row);
        for id in self.mail.sessions_with(peer) {
            if self.mail.sessions[&id].arriving == 0 {
                self.end_mail(id);
            }
        }
    }

    pub(super) fn end_mail_with(&mut self, peer: DeviceId) {
        for id in self.mail.sessions_with(peer) {
            self.end_mail(id);
        }
    }

    pub(super) fn end_mail(&mut self, id: SessionId) {
        if self.mail.sessions.remove(&id).is_some() {
            self.tell_replica(replica::Input::SessionDown {
                session: id,
                goodbye: true,
            });
        }
    }

    /// Begins a session by mail about a room or the direct conversation. It may only receive if there
    /// is no holder for the peer.
    pub(super) fn begin_mail(
        &mut self,
        peer: DeviceId,
        room: Option<MailedRoom>,
        holder: Option<HolderAt>,
        source: SourceNetwork,
    ) -> SessionId {
        let id = self.handshakes.next_session();
        let about = room.map(|room| room.id);
        let session = MailSession {
            peer,
            room: about,
            holder,
            outgoing: about.map_or_else(Outgoing::direct, |_| Outgoing::in_room()),
            in_flight: 0,
            arriving: 0,
            contents_begun: BTreeSet::new(),
            reading: false,
            resend: false,
        };
        self.mail.sessions.insert(id, session);
        let input = replica::Input::MailUp {
            session: id,
            peer,
            source,
            room,
            held: self.mail.held.of_peer(peer),
            receipts: holder.is_some() && self.mail.owed(peer, about).receipts,
        };
        self.tell_replica(input);
        if room.is_none() {
            self.request_again(id);
        }
        id
    }

    /// Asks the peer of a session by mail to seal its messages again, if this node owes that.
    pub(super) fn request_again(&mut self, id: SessionId) {
        let session = self.mail.sessions.get(&id);
        let peer = session.expect("the caller has looked it up").peer;
        if !self.mail.owed(peer, None).request {
            return;
        }
        // Without a mailbox there is no key for which the peer could seal.
        let Some(frame) = self.own_mailbox(peer) else {
            return;
        };
        let session = self.mail.sessions.get_mut(&id);
        let session = session.expect("looked up above");
        if session.holder.is_some() {
            session.outgoing.request(frame.encode());
        }
    }

    pub(super) fn source_of(&self, at: HolderAt) -> SourceNetwork {
        let addr = match at {
            HolderAt::Relay(relay) => self.relays.addr_of(relay),
            HolderAt::Session(id) => self.sessions.get(id).map(SessionState::remote_addr),
        };
        addr.map_or(SourceNetwork(0), |addr| self.network.source_network(addr))
    }

    /// Begins the sessions by mail that are due, and counts how long the key is in use.
    pub(in crate::engine) fn mail_time_out(&mut self) {
        let now = self.clock.now().mono;
        for peer in self.mail.take_due(now) {
            let is_here = self.paths.session(peer).is_some() || self.sessions.with(peer).is_some();
            if is_here {
                continue;
            }
            if self.denies_mail(peer) {
                let until = self.policy.kicked_until(peer.person(), self.clock.now());
                until.into_iter().for_each(|at| self.mail.due_by(peer, at));
                continue;
            }
            self.begin_direct_mail(peer, now);
            self.begin_mail_in_rooms(peer, now);
        }
        let holders = self.mail.holders.values_mut();
        let due = holders.filter(|holder| holder.retry_at().is_some_and(|at| at <= now));
        due.for_each(Holder::fetch);
        for peer in self.mail.reopening.take_due(now) {
            self.use_as_holder(peer);
        }
        if self.mail.count_at <= now {
            self.mail.count_at = now + RUNNING_EVERY;
            let rows = self.mail.own.ran(RUNNING_EVERY);
            self.store.set_mail(rows);
            self.holding.expire();
        }
    }

    fn begin_direct_mail(&mut self, peer: DeviceId, now: Duration) {
        let known = self.mail.session_in(peer, None);
        if known.is_some_and(|id| self.mail.sessions[&id].holder.is_some()) {
            return;
        }
        if self.mail.is_on_its_way(peer, None) {
            // What the holder answers need not be deposited again.
            return self.mail.due_by(peer, now + DEPOSIT_AFTER);
        }
        let Some(holder) = self.mail.holder_for(peer, now) else {
            if let Some(at) = self.mail.refusals.next(peer, now) {
                self.mail.due_by(peer, at);
            }
            return;
        };
        known.into_iter().for_each(|id| self.end_mail(id));
        self.begin_mail(peer, None, Some(holder), self.source_of(holder));
    }

    /// Whether a session of the replica is one by mail.
    pub(in crate::engine) fn is_by_mail(&self, id: SessionId) -> bool {
        self.mail.sessions.contains_key(&id)
    }

    /// The replica sends a frame by mail.
    pub(in crate::engine) fn mail_out(&mut self, id: SessionId, frame: Bytes) {
        let session = self.mail.sessions.get_mut(&id);
        let session = session.expect("the caller has looked it up");
        let (bytes, me) = (frame.len(), self.device);
        if session.holder.is_some() {
            session.outgoing.frame(frame, me);
        }
        self.tell_replica(replica::Input::FramesWritten(id, bytes));
    }

    /// The replica sends a batch by mail.
    pub(in crate::engine) fn mail_out_batch(&mut self, id: SessionId, frame: Bytes) {
        let key = self.mail.key.clone();
        let session = self.mail.sessions.get_mut(&id);
        let session = session.expect("the caller has looked it up");
        let (dropped, offers) = match session.holder {
            Some(_) => session.outgoing.batch(frame, &key),
            None => (frame.len(), Vec::new()),
        };
        let peer = session.peer;
        for offer in offers {
            if let Some(row) = self.mail.contents.add(peer, offer) {
                self.store.set_mail([row]);
            }
        }
        if dropped > 0 {
            self.tell_replica(replica::Input::BatchesWritten(id, dropped));
        }
    }

    /// Deposits what waits. A short envelope waits until the one before it is answered, so messages
    /// in quick succession share one.
    pub(super) fn deposit_waiting(&mut self) {
        let sessions = self.mail.sessions.iter();
        let mut order: Vec<_> = sessions.map(|(id, it)| (it.room.is_some(), *id)).collect();
        // What is for one peer alone comes before what is said in rooms.
        order.sort_unstable();
        for (_, id) in order {
            self.read_next_content(id);
            while self.deposit_next(id) {}
        }
    }

    /// Deposits the next envelope of a session by mail. Returns whether that was possible.
    fn deposit_next(&mut self, id: SessionId) -> bool {
        // The session may have ended with another about the same peer.
        let Some(session) = self.mail.sessions.get(&id) else {
            return false;
        };
        let Some(at) = session.holder else {
            return false;
        };
        let (peer, room) = (session.peer, session.room);
        let is_ready = session.in_flight == 0 || session.outgoing.is_full();
        let holder = self.mail.holders.get(&at);
        let has_room = holder.is_some_and(|holder| match room {
            None => holder.has_room(),
            Some(_) => holder.has_room_for_rooms(),
        });
        if session.outgoing.is_empty() || !is_ready || !has_room {
            return false;
        }
        if room.is_some() && self.rooms_are_full(peer, at) {
            let holder = self.mail.holders[&at].id;
            self.room_refused(peer, holder, MailRefusal::Full);
            return false;
        }
        let key = self.mail.key.clone();
        let session = self.mail.sessions.get_mut(&id);
        let session = session.expect("looked up above");
        session.in_flight += 1;
        let packed = session.outgoing.pack(&key);
        let deposited = Deposited {
            session: id,
            peer,
            room,
            packed,
            envelope: Vec::new(),
            again: false,
        };
        self.deposit(at, deposited)
    }

    /// Seals and sends an envelope. Returns whether that was possible.
    fn deposit(&mut self, at: HolderAt, mut deposited: Deposited) -> bool {
        let Some(session) = self.mail.sessions.get(&deposited.session) else {
            return false;
        };
        let recipient = session.peer;
        let frames = &deposited.packed.frames;
        let Some(frames) = self.sealed_for(deposited.room, recipient, frames) else {
            self.end_mail(deposited.session);
            return false;
        };
        let holder = self.mail.holders.get_mut(&at);
        let holder = holder.expect("the caller has looked it up");
        let of_peer = self.mail.contacts.get(recipient);
        let Some((of_peer, token)) = of_peer.and_then(|it| Some((it, it.token(holder.id)?))) else {
            self.end_mail_with(recipient);
            return false;
        };
        let record = of_peer.record.record();
        let (key, public) = (record.key, &record.public);
        let sealed = Envelope::seal(&frames, &self.mail.key, recipient, key, public);
        let token = token.clone();
        match sealed {
            Ok(envelope) => deposited.envelope = envelope.as_bytes().to_vec(),
            Err(error) => {
                debug!(?recipient, "not deposited: {error}");
                self.end_mail_with(recipient);
                return false;
            }
        }
        holder.deposit(deposited, token);
        true
    }

    fn deposit_answered(&mut self, at: HolderAt, number: u64, answer: DepositAnswer) {
        let holder = self.mail.holders.get_mut(&at);
        let holder = holder.expect("the caller has looked it up");
        let (holder_id, Some(deposited)) = (holder.id, holder.answered(number)) else {
            return;
        };
        let peer = deposited.peer;
        let is_stored = answer == DepositAnswer::Stored;
        let Some(session) = self.mail.sessions.get_mut(&deposited.session) else {
            // If the peer is here, its receipts say what it has.
            let is_away = self.paths.session(peer).is_none();
            if is_stored && is_away && self.gets_mail_of(deposited.room, peer) {
                self.now_held(&deposited, holder_id);
                if let Some(offer) = deposited.packed.content_of {
                    self.content_is_held(&deposited, offer);
                }
            }
            if !self.mail.is_on_its_way(peer, deposited.room)
                && let Some(due) = self.mail.due.get_mut(&peer)
            {
                *due = self.clock.now().mono;
            }
            return;
        };
        let refusal = match answer {
            DepositAnswer::Stored => {
                session.in_flight -= 1;
                let packed = &deposited.packed;
                let all_receipts = packed.has_receipts && !session.outgoing.owes_receipts();
                let row = self.mail.owe(peer, deposited.room, |owed| {
                    owed.receipts &= !all_receipts;
                    owed.request &= !packed.has_request;
                });
                self.store.set_mail(row);
                if let Some(offer) = packed.content_of {
                    self.content_is_held(&deposited, offer);
                }
                // A mailbox that has no room for messages may have some for receipts.
                if !packed.items.is_empty() && deposited.room.is_none() {
                    self.mail.refusals.over(peer);
                }
                let written = self.now_held(&deposited, holder_id);
                if written > 0 {
                    let input = replica::Input::BatchesWritten(deposited.session, written);
                    self.tell_replica(input);
                }
                return;
            }
            DepositAnswer::SealAgain(record) if !deposited.again => {
                let record = record.check::<MailboxRecord>(peer).ok();
                let row = record.and_then(|record| self.mail.contacts.learn_key(peer, record));
                self.store.set_mail(row);
                let again = Deposited {
                    again: true,
                    ..deposited
                };
                self.deposit(at, again);
                return;
            }
            DepositAnswer::Full => MailRefusal::Full,
            DepositAnswer::NotAccepted | DepositAnswer::SealAgain(_) => MailRefusal::NotAccepted,
            DepositAnswer::Failed => MailRefusal::Failed,
            DepositAnswer::Unknown(_) => MailRefusal::Unknown,
        };
        if deposited.room.is_some() {
            return self.room_refused(peer, holder_id, refusal);
        }
        if let Some(offer) = deposited.packed.content_of {
            return self.content_refused(deposited.session, offer, holder_id, refusal);
        }
        let has_messages = !deposited.packed.items.is_empty();
        self.deposit_refused(peer, holder_id, refusal, has_messages);
    }

    /// A holder refused an envelope. All that was in it stays queued here. A later session by mail
    /// offers it again, to another holder of the peer at once.
    fn deposit_refused(
        &mut self,
        peer: DeviceId,
        holder: DeviceId,
        why: MailRefusal,
        has_messages: bool,
    ) {
        debug!(?peer, ?why, "a holder refused an envelope");
        self.end_mail_with(peer);
        let now = self.clock.now().mono;
        let again_at = self.mail.refusals.refused(peer, holder, why, now);
        if self.mail.holder_for(peer, now).is_some() {
            return self.mail.due_by(peer, now);
        }
        self.mail.due_by(peer, again_at);
        // Receipts concern the other end only.
        if has_messages && self.mail.refusals.stuck(peer, why) {
            let name = self.peers.name(peer.person());
            let reason = NoticeReason::MailRefused { name, reason: why };
            self.reports.notice(reason, Some(peer.person()));
        }
    }

    /// The entries in an envelope are on the holder's disk. Returns the bytes that count as written.
    fn now_held(&mut self, deposited: &Deposited, holder: DeviceId) -> usize {
        let peer = deposited.peer;
        let wall_ms = self.clock.now().wall_ms;
        let mut written = 0;
        let envelope = u64::try_from(deposited.envelope.len()).expect("at most a frame");
        let bytes = envelope / (deposited.packed.items.len() as u64).max(1);
        for item in &deposited.packed.items {
            written += item.credit;
            let Some((name, first, last)) = item.span else {
                continue;
            };
            let span = (name, first, last);
            let row = self.mail.held.add(span, bytes, peer, holder, wall_ms);
            self.store.set_mail([row]);
            let ranges = Ranges::span(first, last);
            self.outbox.note_held(name, peer, &ranges);
            self.publish_receipts(name, peer.person(), &ranges, DeliveryState::Held);
        }
        written
    }

    /// A peer has messages on disk, so a holder's copies do not matter any more.
    pub(in crate::engine) fn no_longer_held(
        &mut self,
        name: LogName,
        peer: DeviceId,
        ranges: &Ranges,
    ) {
        let row = self.mail.held.delivered(name, peer, ranges);
        self.store.set_mail(row);
    }

    /// The user writes to a peer. If the peer is away, the message is deposited soon.
    pub(in crate::engine) fn mail_wanted(&mut self, peer: DeviceId) {
        let is_away = self.paths.session(peer).is_none();
        if is_away && self.mail.session_in(peer, None).is_none() {
            self.expect_mail(peer);
        }
    }
}
