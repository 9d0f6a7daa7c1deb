//! Carries out what concerns mail: deposits for contacts that are away, and mail that arrives.

use hobnob_core::SessionId;
use hobnob_core::replica::{self, Refusal};
use hobnob_core::source_network::SourceNetwork;
use hobnob_protocol::mailbox::{
    Deposit, DepositAnswer, DepositToken, Envelope, FromHolder, ToHolder, Waiting,
};
use hobnob_protocol::record::{MailboxRecord, RecordError};
use hobnob_protocol::{Frame, LogName, PeerId, Ranges, Signature, SignedRecord, close};
use tracing::{debug, warn};

use super::super::state::Engine;
use super::holder::{AfterPage, Deposited, Holder};
use super::outgoing::Outgoing;
use super::page::{ArrivedBatch, Content, Page, PageItem};
use super::{DEPOSIT_AFTER, MailSession, REFUSED_FOR, RUNNING_EVERY};
use crate::api::DeliveryState;
use crate::net::channels::RelayId;
use crate::net::relay::MailStream;

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
        if !self.policy.is_contact(peer) {
            return;
        }
        let own = self.mail.holders.values().filter(|holder| holder.is_own);
        let holding = own.filter(|holder| holder.holding.is_some());
        let tokens: Vec<_> = holding
            .map(|holder| (holder.id, self.mail.own.token(peer, holder.id)))
            .collect();
        if !tokens.is_empty() {
            let record = self.mail.own.record().clone();
            state.send(&Frame::Mailbox { record, tokens });
        }
    }

    fn send_mailbox_to_all(&self) {
        for id in self.sessions.ids() {
            self.send_mailbox(id);
        }
    }

    /// A peer sends its mailbox.
    pub(in crate::engine) fn mailbox_frame(
        &mut self,
        id: SessionId,
        signed: SignedRecord,
        tokens: Vec<(PeerId, DepositToken)>,
    ) {
        let now = self.clock.now().mono;
        let state = self.sessions.get_mut(id);
        let state = state.expect("the callers act on live sessions only");
        let peer = state.peer();
        if !state.limits.allow_profile(now) {
            warn!(?peer, "refused: a flood of mailbox records");
            return state.close(close::PROTOCOL, "a flood of mailbox records");
        }
        if !self.policy.is_contact(peer) {
            // If the user accepts the peer later, it counts.
            state.mailbox = Some((signed, tokens));
            return;
        }
        match signed.check::<MailboxRecord>(peer) {
            Ok(record) => {
                let row = self.mail.contacts.learn(peer, record, tokens);
                row.into_iter().for_each(|row| self.store.set_mail(row));
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
    pub(in crate::engine) fn mail_contact_changed(&mut self, peer: PeerId) {
        let relays: Vec<_> = self.mail.holders.keys().copied().collect();
        relays.into_iter().for_each(|relay| self.hold_at(relay));
        if !self.policy.is_contact(peer) {
            let row = self.mail.contacts.forget(peer);
            row.into_iter().for_each(|row| self.store.set_mail(row));
            return self.end_mail_with(peer);
        }
        for id in self.sessions.ids_with(peer) {
            self.send_mailbox(id);
            let state = self.sessions.get_mut(id).expect("listed just now");
            if let Some((record, tokens)) = state.mailbox.take() {
                self.mailbox_frame(id, record, tokens);
            }
        }
    }

    /// Asks a holder to hold mail from all contacts.
    fn hold_at(&mut self, relay: RelayId) {
        let Some(holder) = self.mail.holders.get(&relay).filter(|it| it.is_own) else {
            return;
        };
        let mut contacts = self.policy.contacts();
        contacts.retain(|peer| !self.policy.of(*peer).blocked);
        let senders = self.mail.own.senders(&contacts, holder.id);
        let record = self.mail.own.record().clone();
        holder.send(ToHolder::Hold { record, senders });
    }

    // Holders.

    /// A relay that holds mail has registered this node.
    pub(in crate::engine) fn holder_up(&mut self, relay: RelayId, id: PeerId, stream: MailStream) {
        self.holder_down(relay);
        let is_own = self.relays.is_in_rooms(relay);
        let holder = Holder::new(id, stream, is_own);
        self.mail.holders.insert(relay, holder);
        self.hold_at(relay);
        if is_own {
            let holder = self.mail.holders.get_mut(&relay);
            holder.expect("inserted above").fetch();
        }
        let due = self.clock.now().mono + DEPOSIT_AFTER;
        for peer in self.mail.contacts.at(id) {
            self.mail.due.entry(peer).or_insert(due);
        }
    }

    /// There is no connection with a relay. What it had not answered is deposited again later.
    pub(in crate::engine) fn holder_down(&mut self, relay: RelayId) {
        if self.mail.holders.remove(&relay).is_none() {
            return;
        }
        let by_it = |session: &MailSession| session.holder == Some(relay);
        let all = self.mail.sessions.iter().filter(|(_, it)| by_it(it));
        let peers: Vec<_> = all.map(|(_, session)| session.peer).collect();
        for peer in peers {
            self.end_mail_with(peer);
            self.expect_mail(peer);
        }
    }

    pub(in crate::engine) fn mail_frame(&mut self, relay: RelayId, stream: u64, frame: FromHolder) {
        let Some(holder) = self.mail.holders.get_mut(&relay) else {
            return;
        };
        if !holder.is_stream(stream) {
            return;
        }
        match frame {
            FromHolder::Holding {
                envelopes,
                bytes,
                since_ms,
            } => {
                let before = holder.holding.replace((envelopes, bytes, since_ms));
                if before.is_none() {
                    self.send_mailbox_to_all();
                }
            }
            FromHolder::NotHolding => {
                if holder.holding.take().is_some() {
                    self.send_mailbox_to_all();
                }
            }
            FromHolder::Answer(number, answer) => self.deposit_answered(relay, number, answer),
            FromHolder::Waiting(waiting) => self.envelope_arrives(relay, waiting),
            FromHolder::PageEnd(more) => holder.page_ends(more),
            FromHolder::News => holder.fetch(),
            FromHolder::Unknown(_) => {}
        }
    }

    // Sessions by mail.

    /// A peer is away: messages for it are deposited soon, if it stays away.
    pub(in crate::engine) fn expect_mail(&mut self, peer: PeerId) {
        if self.mail.contacts.get(peer).is_some() {
            let due = self.clock.now().mono + DEPOSIT_AFTER;
            self.mail.due.entry(peer).or_insert(due);
        }
    }

    /// A session with a peer has begun. Mail is not needed any more.
    pub(in crate::engine) fn mail_not_needed(&mut self, peer: PeerId) {
        self.mail.due.remove(&peer);
        let is_arriving = self.mail.session_with(peer).is_some_and(|id| {
            let session = &self.mail.sessions[&id];
            session.arriving > 0
        });
        if !is_arriving {
            self.end_mail_with(peer);
        }
    }

    fn end_mail_with(&mut self, peer: PeerId) {
        if let Some(id) = self.mail.session_with(peer) {
            self.mail.sessions.remove(&id);
            self.tell_replica(replica::Input::SessionDown {
                session: id,
                goodbye: true,
            });
        }
    }

    /// Begins a session by mail, which may only receive if there is no holder for the peer.
    fn begin_mail(&mut self, peer: PeerId, holder: Option<RelayId>, source: SourceNetwork) {
        let id = self.handshakes.next_session();
        let session = MailSession {
            peer,
            holder,
            outgoing: Outgoing::default(),
            in_flight: 0,
            arriving: 0,
        };
        self.mail.sessions.insert(id, session);
        let input = replica::Input::MailUp {
            session: id,
            peer,
            source,
            held: self.mail.held.of_peer(peer),
            receipts: holder.is_some() && self.mail.owed.contains(&peer),
        };
        self.tell_replica(input);
    }

    fn source_of(&self, relay: RelayId) -> SourceNetwork {
        let addr = self.relays.addr_of(relay);
        addr.map_or(SourceNetwork(0), |addr| self.network.source_network(addr))
    }

    /// Begins the sessions by mail that are due, and counts how long the key is in use.
    pub(in crate::engine) fn mail_time_out(&mut self) {
        let now = self.clock.now().mono;
        for peer in self.mail.take_due(now) {
            let is_here = self.paths.session(peer).is_some() || self.sessions.with(peer).is_some();
            let known = self.mail.session_with(peer);
            if is_here || known.is_some_and(|id| self.mail.sessions[&id].holder.is_some()) {
                continue;
            }
            let Some(holder) = self.mail.holder_for(peer) else {
                continue;
            };
            self.end_mail_with(peer);
            self.begin_mail(peer, Some(holder), self.source_of(holder));
        }
        let holders = self.mail.holders.values_mut();
        let due = holders.filter(|holder| holder.retry_at().is_some_and(|at| at <= now));
        due.for_each(Holder::fetch);
        if self.mail.count_at <= now {
            self.mail.count_at = now + RUNNING_EVERY;
            let rows = self.mail.own.ran(RUNNING_EVERY);
            rows.into_iter().for_each(|row| self.store.set_mail(row));
        }
    }

    /// Whether a session of the replica is one by mail.
    pub(in crate::engine) fn is_by_mail(&self, id: SessionId) -> bool {
        self.mail.sessions.contains_key(&id)
    }

    /// The replica sends a frame by mail.
    pub(in crate::engine) fn mail_out(&mut self, id: SessionId, frame: bytes::Bytes) {
        let session = self.mail.sessions.get_mut(&id);
        let session = session.expect("the caller has looked it up");
        let bytes = frame.len();
        if session.holder.is_some() {
            session.outgoing.frame(frame);
        }
        self.tell_replica(replica::Input::FramesWritten(id, bytes));
    }

    /// The replica sends a batch by mail.
    pub(in crate::engine) fn mail_out_batch(&mut self, id: SessionId, frame: bytes::Bytes) {
        let key = self.mail.key.clone();
        let session = self.mail.sessions.get_mut(&id);
        let session = session.expect("the caller has looked it up");
        let dropped = match session.holder {
            Some(_) => session.outgoing.batch(frame, &key),
            None => frame.len(),
        };
        if dropped > 0 {
            self.tell_replica(replica::Input::BatchesWritten(id, dropped));
        }
    }

    /// Deposits what waits. A short envelope waits until the one before it is answered, so messages
    /// in quick succession share one.
    fn deposit_waiting(&mut self) {
        let ids: Vec<_> = self.mail.sessions.keys().copied().collect();
        for id in ids {
            loop {
                let session = self.mail.sessions.get_mut(&id).expect("listed just now");
                let Some(relay) = session.holder else { break };
                let is_ready = session.in_flight == 0 || session.outgoing.is_full();
                let holder = self.mail.holders.get(&relay);
                let has_room = holder.is_some_and(Holder::has_room);
                if session.outgoing.is_empty() || !is_ready || !has_room {
                    break;
                }
                session.in_flight += 1;
                let packed = session.outgoing.pack();
                let deposited = Deposited {
                    session: id,
                    packed,
                    again: false,
                };
                if !self.deposit(relay, deposited) {
                    break;
                }
            }
        }
    }

    /// Seals and sends an envelope. Returns whether that was possible.
    fn deposit(&mut self, relay: RelayId, deposited: Deposited) -> bool {
        let Some(session) = self.mail.sessions.get(&deposited.session) else {
            return false;
        };
        let recipient = session.peer;
        let holder = self.mail.holders.get_mut(&relay);
        let holder = holder.expect("the caller has looked it up");
        let of_peer = self.mail.contacts.get(recipient);
        let Some((of_peer, token)) = of_peer.and_then(|it| Some((it, it.token(holder.id)?))) else {
            self.end_mail_with(recipient);
            return false;
        };
        let record = of_peer.record.record();
        let (key, public, frames) = (record.key, &record.public, &deposited.packed.frames);
        let sealed = Envelope::seal(frames, &self.mail.key, recipient, key, public);
        let token = token.clone();
        let envelope = match sealed {
            Ok(envelope) => envelope.as_bytes().to_vec(),
            Err(error) => {
                debug!(?recipient, "not deposited: {error}");
                self.end_mail_with(recipient);
                return false;
            }
        };
        let number = holder.deposit(deposited);
        holder.send(ToHolder::Deposit(Deposit {
            number,
            recipient,
            token,
            envelope,
        }));
        true
    }

    fn deposit_answered(&mut self, relay: RelayId, number: u64, answer: DepositAnswer) {
        let holder = self.mail.holders.get_mut(&relay);
        let holder = holder.expect("the caller has looked it up");
        let (holder_id, Some(deposited)) = (holder.id, holder.answered(number)) else {
            return;
        };
        let Some(session) = self.mail.sessions.get_mut(&deposited.session) else {
            // The peer came back. What it has, it says itself.
            return;
        };
        let peer = session.peer;
        match answer {
            DepositAnswer::Stored => {
                session.in_flight -= 1;
                if deposited.packed.has_receipts && !session.outgoing.owes_receipts() {
                    let row = self.mail.owe(peer, false);
                    row.into_iter().for_each(|row| self.store.set_mail(row));
                }
                self.now_held(&deposited, peer, holder_id);
            }
            DepositAnswer::SealAgain(record) if !deposited.again => {
                let record = record.check::<MailboxRecord>(peer).ok();
                let row = record.and_then(|record| self.mail.contacts.learn_key(peer, record));
                row.into_iter().for_each(|row| self.store.set_mail(row));
                let again = Deposited {
                    again: true,
                    ..deposited
                };
                self.deposit(relay, again);
            }
            DepositAnswer::Full
            | DepositAnswer::NotAccepted
            | DepositAnswer::SealAgain(_)
            | DepositAnswer::Failed
            | DepositAnswer::Unknown(_) => {
                debug!(?peer, ?answer, "a holder refused an envelope");
                // Everything stays queued here. A later session by mail offers it again.
                self.end_mail_with(peer);
                let due = self.clock.now().mono + REFUSED_FOR;
                self.mail.due.insert(peer, due);
            }
        }
    }

    /// The entries in an envelope are on the holder's disk.
    fn now_held(&mut self, deposited: &Deposited, peer: PeerId, holder: PeerId) {
        let wall_ms = self.clock.now().wall_ms;
        let mut written = 0;
        for item in &deposited.packed.items {
            written += item.credit;
            let Some((name, first, last)) = item.span else {
                continue;
            };
            let row = self
                .mail
                .held
                .add((name, first, last), peer, holder, wall_ms);
            self.store.set_mail(row);
            let ranges = Ranges::span(first, last);
            self.outbox.note_held(name, peer, &ranges);
            self.publish_receipts(name, peer, &ranges, DeliveryState::Held);
        }
        if written > 0 {
            let input = replica::Input::BatchesWritten(deposited.session, written);
            self.tell_replica(input);
        }
    }

    /// A peer has messages on disk, so a holder's copies do not matter any more.
    pub(in crate::engine) fn no_longer_held(
        &mut self,
        name: LogName,
        peer: PeerId,
        ranges: &Ranges,
    ) {
        let row = self.mail.held.delivered(name, peer, ranges);
        row.into_iter().for_each(|row| self.store.set_mail(row));
    }

    // Mail that arrives.

    fn envelope_arrives(&mut self, relay: RelayId, waiting: Waiting) {
        let holder = self.mail.holders.get(&relay);
        if !holder.is_some_and(Holder::expects_envelope) {
            return;
        }
        let (number, sender, bytes) = (waiting.number, waiting.sender, waiting.envelope.len());
        let content = match self.open_envelope(waiting) {
            Ok(frames) if self.policy.is_contact(sender) => {
                Content::Batches(self.judge_mail(relay, sender, frames))
            }
            Ok(_) => Content::Useless,
            Err(content) => content,
        };
        let holder = self.mail.holders.get_mut(&relay);
        holder.expect("looked up above").arrives(PageItem {
            number,
            sender,
            bytes,
            content,
        });
    }

    /// Opens an envelope, or says why that is impossible.
    fn open_envelope(&self, waiting: Waiting) -> Result<Vec<Frame>, Content> {
        let sender = waiting.sender;
        let envelope = Envelope::from_bytes(waiting.envelope.into());
        let opened = envelope.and_then(|envelope| match self.mail.own.key(envelope.key) {
            Some(key) => envelope.open(key, sender, self.me).map(Some),
            None => Ok(None),
        });
        match opened {
            Ok(Some(opened)) => Ok(opened.frames),
            Ok(None) => {
                // The sender still has what is in it.
                debug!(
                    ?sender,
                    "an envelope is for a key that this node does not have"
                );
                Err(Content::UnknownKey)
            }
            Err(error) => {
                debug!(?sender, "dropped: {error}");
                Err(Content::Useless)
            }
        }
    }

    /// Passes the frames of a contact's envelope to the replica. Returns the batches that it judges.
    fn judge_mail(
        &mut self,
        relay: RelayId,
        sender: PeerId,
        frames: Vec<Frame>,
    ) -> Vec<ArrivedBatch> {
        let id = self.mail_session_from(relay, sender);
        if frames.iter().any(|frame| matches!(frame, Frame::Batch(_))) {
            // On disk no later than the entries, which are deleted at the holder afterwards.
            let row = self.mail.owe(sender, true);
            row.into_iter().for_each(|row| self.store.set_mail(row));
        }
        let frames = frames.into_iter();
        frames
            .filter_map(|frame| self.mailed_frame(id, frame))
            .collect()
    }

    /// The session by mail with the sender of an envelope.
    fn mail_session_from(&mut self, relay: RelayId, sender: PeerId) -> SessionId {
        if let Some(id) = self.mail.session_with(sender) {
            return id;
        }
        let is_here = self.sessions.with(sender).is_some();
        let holder = self.mail.holder_for(sender).filter(|_| !is_here);
        self.begin_mail(sender, holder, self.source_of(relay));
        self.mail.session_with(sender).expect("begun above")
    }

    /// Passes on a frame. Returns the batch in it, unless it is malformed.
    fn mailed_frame(&mut self, id: SessionId, frame: Frame) -> Option<ArrivedBatch> {
        match frame {
            Frame::Batch(batch) => {
                let (name, first, signature) = (batch.name, batch.first, batch.signature);
                let last = batch.clone().read().ok()?.last();
                let session = self.mail.sessions.get_mut(&id);
                session.expect("the caller has looked it up").arriving += 1;
                self.tell_replica(replica::Input::Batch(id, batch));
                Some(ArrivedBatch::new(name, first, last, signature))
            }
            frame @ (Frame::Have(..) | Frame::Want { .. }) => {
                self.tell_replica(replica::Input::Frame(id, frame));
                None
            }
            // Nothing else is of use to a node whose peer can't hear it.
            Frame::Hello(_)
            | Frame::Ping(_)
            | Frame::Pong(_)
            | Frame::Profile(_)
            | Frame::Candidates(_)
            | Frame::DialBack(_)
            | Frame::DialedBack(_)
            | Frame::Records { .. }
            | Frame::WantRecords(_)
            | Frame::ContactRecord(_)
            | Frame::Mailbox { .. }
            | Frame::Digest(..)
            | Frame::Heads { .. }
            | Frame::Prune(..)
            | Frame::Conflict(_)
            | Frame::Waiting(_)
            | Frame::Offer(..)
            | Frame::Unknown(_) => None,
        }
    }

    /// The replica has finished with batches of a session by mail.
    pub(in crate::engine) fn mail_released(&mut self, id: SessionId, batches: usize) {
        let session = self.mail.sessions.get_mut(&id);
        let session = session.expect("the caller has looked it up");
        session.arriving = session.arriving.saturating_sub(batches);
    }

    /// The replica refused something that arrived by mail.
    pub(in crate::engine) fn mail_refused(
        &mut self,
        id: SessionId,
        batch: Option<Signature>,
        refusal: &Refusal,
    ) {
        let session = self.mail.sessions.get(&id);
        let sender = session.expect("the caller has looked it up").peer;
        debug!(?sender, "refused by mail: {refusal}");
        // What follows a gap is accepted when the gap is filled.
        let for_good = !matches!(refusal, Refusal::Gap);
        if let Some(signature) = batch.filter(|_| for_good) {
            let holders = self.mail.holders.values_mut();
            holders.for_each(|holder| holder.refused(sender, signature));
        }
    }

    /// Finishes pages that are handled, and deposits what waits. The loop calls this after the
    /// replica's outputs, so refusals of a page are known, and what was written together shares an
    /// envelope.
    pub(in crate::engine) fn advance_mail(&mut self) {
        self.finish_pages();
        self.deposit_waiting();
    }

    /// Deletes the envelopes of pages that are handled at their holders, and requests the next ones.
    fn finish_pages(&mut self) {
        let relays: Vec<_> = self.mail.holders.keys().copied().collect();
        for relay in relays {
            let holder = self.mail.holders.get(&relay).expect("listed just now");
            let mut sessions = self.mail.sessions.values();
            if sessions.any(|it| it.arriving > 0 && holder.page_is_from(it.peer)) {
                continue;
            }
            let holder = self.mail.holders.get_mut(&relay).expect("listed just now");
            if let Some((page, more)) = holder.take_page() {
                self.page_is_handled(relay, &page, more);
            }
        }
    }

    fn page_is_handled(&mut self, relay: RelayId, page: &Page, more: bool) {
        let now = self.clock.now().mono;
        let replica = &self.replica;
        let decided = page.decide(|name, first, last| replica.has_settled(name, first, last));
        let holder = self.mail.holders.get_mut(&relay);
        let holder = holder.expect("the caller has looked it up");
        let last = page.last().filter(|_| more);
        if holder.page_decided(&decided, last, now) == AfterPage::AllFetched {
            self.all_fetched(relay);
        }
        self.rest_mail();
    }

    /// Sessions by mail that only received end when all of it is handled.
    fn rest_mail(&mut self) {
        let sessions = self.mail.sessions.values();
        let idle = sessions.filter(|session| session.arriving == 0);
        let mut over = Vec::new();
        for session in idle {
            if session.holder.is_none() || self.paths.session(session.peer).is_some() {
                over.push(session.peer);
            }
        }
        for peer in over {
            self.end_mail_with(peer);
            self.expect_mail(peer);
        }
    }

    /// A holder has no more mail for this node: old keys can go, and a new one may begin.
    fn all_fetched(&mut self, relay: RelayId) {
        let before = self.mail.own.newest();
        let rows = self.mail.own.renew(self.clock.now().wall_ms);
        let destroyed = rows.iter().any(|row| row.value.is_none());
        rows.into_iter().for_each(|row| self.store.set_mail(row));
        if destroyed {
            // Otherwise the key stays in the write-ahead log.
            drop(self.store.scrub());
        }
        if self.mail.own.newest() != before {
            debug!(?relay, "a new mailbox key");
            let relays: Vec<_> = self.mail.holders.keys().copied().collect();
            relays.into_iter().for_each(|relay| self.hold_at(relay));
            self.send_mailbox_to_all();
        }
    }

    /// The user writes to a peer. If the peer is away, the message is deposited soon.
    pub(in crate::engine) fn mail_wanted(&mut self, peer: PeerId) {
        if self.paths.session(peer).is_none() && self.mail.session_with(peer).is_none() {
            self.expect_mail(peer);
        }
    }
}
