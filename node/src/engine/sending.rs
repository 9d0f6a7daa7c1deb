//! Messages: sent, received, waited for. Carries out what the replica decides.

use std::collections::BTreeSet;

use hobnob_core::commit::ConversationKind;
use hobnob_core::paths;
use hobnob_core::policy::DenyReason;
use hobnob_core::replica::{self, Output, Refusal, Token};
use hobnob_core::{ClientId, SessionId};
use hobnob_protocol::{Body, CheckedBatch, ConversationId, LogName, PersonId, Ranges, Seq};
use tokio::sync::oneshot;
use tracing::{debug, warn};

use super::internal::{Internal, NamedRead};
use super::outbox::{AnswerTo, Sending};
use super::reading;
use super::state::Engine;
use crate::api::{
    ConversationRef, CopyEvidence, DeliveryState, Event, Message, MessageId, NoticeReason, Sent,
};
use crate::error::{EraseError, NodeError, SendError};
use crate::invariants;
use crate::net::session::StreamKind;
use crate::store::HistoryRow;

impl Engine {
    /// A user sends a message. `certain`: the peer, if it is for one, is known to exist.
    pub(super) fn send(
        &mut self,
        to: ConversationRef,
        certain: bool,
        body: Body,
        reply: oneshot::Sender<Result<Sent, SendError>>,
    ) {
        self.append_message(to, certain, body, AnswerTo::User(reply));
    }

    /// A user sends a message to which a program gave a name. If a message has the name already, the
    /// user gets the answer of that one.
    pub(super) fn send_once(
        &mut self,
        id: ClientId,
        to: ConversationRef,
        certain: bool,
        body: Body,
        reply: oneshot::Sender<Result<Sent, SendError>>,
    ) {
        if !self.outbox.claims.claim(&id, reply) {
            return;
        }
        let found = self.store.named(id.clone());
        let reports = self.tasks.reporter();
        self.tasks.spawn(async move {
            let found = reading::answer(found).await;
            let _ = reports.send(Internal::Named(NamedRead {
                id,
                to,
                certain,
                body,
                found,
            }));
        });
    }

    /// The store was asked for the message with a name.
    pub(super) fn named_read(&mut self, read: NamedRead) {
        let (id, to) = (read.id, read.to);
        let outcome = match read.found {
            Ok(None) => {
                return self.append_message(to, read.certain, read.body, AnswerTo::Named(id));
            }
            Ok(Some((name, seq))) => Ok(self.sent_before(name, seq, to)),
            Err(error) => Err(SendError::Store(error.to_string())),
        };
        self.outbox.answer(AnswerTo::Named(id), outcome);
    }

    /// A message of an earlier request. `to` is the conversation of the new one.
    fn sent_before(&self, name: LogName, seq: Seq, to: ConversationRef) -> Sent {
        let id = MessageId { log: name.log, seq };
        let conversation = self.conversation_ref(name.conversation).unwrap_or(to);
        let to = match &conversation {
            ConversationRef::Direct(peer) => vec![*peer],
            ConversationRef::Room(_) => self.outbox.addressees(id),
        };
        Sent {
            id,
            conversation,
            to,
            later: self.is_for_later_members(name.conversation),
            left_out: Vec::new(),
        }
    }

    fn is_for_later_members(&self, conversation: ConversationId) -> bool {
        let kind = self.replica.kind(conversation);
        matches!(kind, Some(ConversationKind::Room { key, .. }) if !key.is_open())
    }

    fn append_message(&mut self, to: ConversationRef, certain: bool, body: Body, answer: AnswerTo) {
        let conversation = match self.conversation_to(&to, certain) {
            Ok(conversation) => conversation,
            Err(error) => return self.outbox.answer(answer, Err(error)),
        };
        let client_id = match &answer {
            AnswerTo::Named(id) => Some(id.clone()),
            AnswerTo::User(_) => None,
        };
        let token = self.outbox.add(Sending {
            to,
            body: body.clone(),
            answer,
        });
        if let Some(id) = client_id {
            self.tell_replica(replica::Input::NameAppend(token, id));
        }
        self.tell_replica(replica::Input::Append {
            token,
            conversation,
            body,
        });
    }

    fn conversation_to(
        &mut self,
        to: &ConversationRef,
        certain: bool,
    ) -> Result<ConversationId, SendError> {
        match to {
            ConversationRef::Direct(peer)
                if self.denies(peer.only_device()) == Some(DenyReason::Blocked) =>
            {
                Err(SendError::Blocked(self.peers.name(*peer)))
            }
            ConversationRef::Direct(peer) if *peer == self.me => Err(SendError::Myself),
            ConversationRef::Direct(peer) if !certain && !self.knows(*peer) => {
                Err(SendError::UnknownId(*peer))
            }
            ConversationRef::Direct(peer) => Ok(self.direct(*peer)),
            ConversationRef::Room(room) => {
                // Members may be at a relay that was down.
                self.relays.want();
                self.joined_room(room)
                    .ok_or_else(|| SendError::NotInRoom(room.clone()))
            }
        }
    }

    fn direct(&mut self, peer: PersonId) -> ConversationId {
        self.forgotten.remove(peer);
        let (id, is_new) = self.outbox.open_direct(self.me, peer);
        if is_new {
            self.peers.keep(peer);
            self.tell_replica(replica::Input::OpenDirect(peer));
        }
        if !self.is_reached(peer) {
            self.relays.want();
        }
        if self.sessions.with(peer.only_device()).is_none() {
            for relay in self.relays.naming(peer.only_device()) {
                self.found_at(relay, peer.only_device());
            }
            self.reach_at_relays_of(peer);
            // The user is waiting, so no back-off counts.
            self.tell_paths(paths::Input::Wanted(peer.only_device()));
            self.mail_wanted(peer.only_device());
        }
        id
    }

    /// Whether a session with a peer works as far as this node knows. One through a relay without a
    /// connection does not.
    fn is_reached(&self, peer: PersonId) -> bool {
        self.sessions.with(peer.only_device()).is_some_and(|state| {
            let relay = self.network.channels().peer_at(state.remote_addr());
            relay.is_none_or(|(relay, _)| self.relays.addr_of(relay).is_some())
        })
    }

    pub(super) fn replica_output(&mut self, output: Output) {
        match output {
            Output::Commit(commit) => self.store.commit(commit),
            Output::Send(session, frame) if self.is_by_mail(session) => {
                self.mail_out(session, frame)
            }
            Output::SendBatch(session, frame) if self.is_by_mail(session) => {
                self.mail_out_batch(session, frame);
            }
            Output::Release(session, batches) if self.is_by_mail(session) => {
                self.mail_released(session, batches);
            }
            Output::Refused(session, batch, refusal) if self.is_by_mail(session) => {
                self.mail_refused(session, batch, &refusal);
            }
            Output::Send(session, frame) if self.carried.has(session) => {
                self.carry_out_frame(session, StreamKind::Control, frame);
            }
            Output::SendBatch(session, frame) if self.carried.has(session) => {
                self.carry_out_frame(session, StreamKind::Batch, frame);
            }
            Output::Release(session, batches) if self.carried.has(session) => {
                self.carried_released(session, batches);
            }
            Output::Refused(session, _, refusal) if self.carried.has(session) => {
                self.carried_refused(session, &refusal);
            }
            Output::Send(session, frame) => self.sessions.send_encoded(session, frame),
            Output::SendBatch(session, frame) => {
                let now = self.clock.now();
                self.sessions.send_batch(session, frame, now);
            }
            Output::Release(session, batches) => self.sessions.release(session, batches),
            Output::Read {
                session,
                name,
                from,
                to,
            } => {
                self.carried.reads(session);
                self.read_for(session, name, from, to);
            }
            Output::FindNewcomerCut {
                session,
                conversation,
                since_ms,
            } => self.find_cut(session, conversation, since_ms),
            Output::Appended { tokens, batch } => self.appended(tokens, &batch),
            Output::AppendFailed(token, why) => self.append_failed(token, why),
            Output::Stored(token) => self.joined(token, Ok(())),
            Output::StoreFailed(token, why) => self.joined(token, Err(why)),
            Output::Received {
                batch,
                first,
                last,
                received_at_ms,
            } => {
                self.known_again(batch.batch.name.author);
                self.note_author(batch.batch.name.author, first == 1);
                self.carried
                    .received(batch.batch.name.author, last - first + 1);
                self.received(&batch, first, last, received_at_ms);
                self.offers_received(&batch, first, last, received_at_ms);
                self.introductions_received(&batch, first, last);
            }
            Output::Sent(name, peer, first, last) => {
                let ranges = Ranges::span(first, last);
                self.outbox.note_sent(name, peer, &ranges);
                self.publish_receipts(name, peer.person(), &ranges, DeliveryState::Sent);
            }
            Output::Delivered(name, peer, ranges) => {
                self.outbox.note_delivered(name, peer, &ranges);
                self.no_longer_held(name, peer, &ranges);
                self.carried.delivered(peer, &ranges);
                self.publish_receipts(name, peer.person(), &ranges, DeliveryState::Delivered);
            }
            Output::Accepted(peer) => self.accepted_by_writing(peer),
            Output::AwaitsConsent(peer, awaits) => self.awaits_consent(peer, awaits),
            Output::RequestFull(peer) => self.request_full(peer),
            Output::RoomFull(room) => self.room_full(room),
            Output::Erased {
                name,
                seqs,
                by_author,
            } => self.erased(name, &seqs, by_author),
            Output::EraseRefused(token, undelivered) => self.erase_refused(token, &undelivered),
            Output::OwnRestored(_, peer, count) => {
                self.restored.add(self.clock.now().mono, peer, count);
            }
            Output::Refused(session, _, refusal) => self.refused(session, &refusal),
        }
    }

    fn append_failed(&mut self, token: Token, why: String) {
        if let Some(pending) = self.erasing.take(token) {
            return self.erase_failed(pending.reply, EraseError::Store(why));
        }
        match self.outbox.take(token) {
            Some(sending) => self
                .outbox
                .answer(sending.answer, Err(SendError::Store(why))),
            None => invariants::broken("the replica refused a message that nobody sent"),
        }
    }

    /// Messages of this node are on disk, one for each token.
    fn appended(&mut self, tokens: Vec<Token>, batch: &CheckedBatch) {
        let name = batch.batch.name;
        let heard = self.reports.is_heard();
        let mut events = Vec::new();
        let entries = (batch.first()..).zip(&batch.entries);
        for (token, (seq, written)) in tokens.into_iter().zip(entries) {
            if let Some(pending) = self.erasing.take(token) {
                self.deleted_for_user(pending);
                continue;
            }
            let Some(Sending { to, body, answer }) = self.outbox.take(token) else {
                invariants::broken("the replica stored a message that nobody sent");
                continue;
            };
            let (id, sent_at_ms) = (MessageId { log: name.log, seq }, written.entry.sent_at_ms);
            let addressees = self.addressees(id, &to, name.conversation);
            self.offer_made(name, seq, &body, sent_at_ms);
            if heard {
                let client_id = match &answer {
                    AnswerTo::Named(id) => Some(id.clone()),
                    AnswerTo::User(_) => None,
                };
                events.push(match self.amended(&to, self.me, &body) {
                    Some(amended) => Event::Amended(amended),
                    None => Event::Own(Message {
                        client_id,
                        ..self.own_message(id, to.clone(), body, sent_at_ms)
                    }),
                });
            }
            let sent = Sent {
                id,
                conversation: to,
                to: addressees,
                later: self.is_for_later_members(name.conversation),
                left_out: Vec::new(),
            };
            self.outbox.answer(answer, Ok(sent));
        }
        self.mail_wanted_in(name.conversation);
        self.reports.events(events);
    }

    /// The peers that a new message is for.
    fn addressees(
        &mut self,
        id: MessageId,
        to: &ConversationRef,
        conversation: ConversationId,
    ) -> Vec<PersonId> {
        if let ConversationRef::Direct(peer) = to {
            return vec![*peer];
        }
        let here: Vec<_> = self.replica.here(conversation).into_iter().collect();
        self.outbox.note_addressees(id, here.clone());
        here
    }

    fn own_message(
        &self,
        id: MessageId,
        conversation: ConversationRef,
        body: Body,
        sent_at_ms: u64,
    ) -> Message {
        Message {
            id,
            conversation,
            from: self.me,
            name: self.peers.own().to_string(),
            reply_to: self.live_reply_to(self.me, &body),
            edited: None,
            reactions: Vec::new(),
            body,
            sent_at_ms,
            received_at_ms: sent_at_ms,
            state: Some(DeliveryState::Queued),
            request: false,
            awaits_consent: false,
            mail_refused: None,
            deleted: false,
            confirmed: None,
            client_id: None,
            mention: false,
            notify: false,
        }
    }

    fn received(&self, batch: &CheckedBatch, first: Seq, last: Seq, received_at_ms: u64) {
        let LogName {
            conversation: id,
            author: from,
            log,
            ..
        } = batch.batch.name;
        if !self.reports.is_heard() || !self.policy.shows(from) {
            return;
        }
        let Some(conversation) = self.conversation_ref(id) else {
            return invariants::broken("the replica received an entry of no conversation");
        };
        let name = self.peers.name(from);
        let request = self.is_request(&conversation, from);
        let entries = (first..=last).filter_map(|seq| Some((seq, &batch.at(seq)?.entry)));
        self.reports.events(entries.map(|(seq, entry)| {
            if let Some(amended) = self.amended(&conversation, from, &entry.body) {
                return Event::Amended(amended);
            }
            let mention = self.attention.is_mention(&entry.body);
            Event::Message(Message {
                id: MessageId { log, seq },
                conversation: conversation.clone(),
                from,
                name: name.clone(),
                reply_to: self.live_reply_to(from, &entry.body),
                edited: None,
                reactions: Vec::new(),
                body: entry.body.clone(),
                sent_at_ms: entry.sent_at_ms,
                received_at_ms,
                state: None,
                request,
                awaits_consent: false,
                mail_refused: None,
                deleted: false,
                confirmed: None,
                client_id: None,
                mention,
                notify: self.attention.alerts(id, &conversation, mention),
            })
        }));
    }

    /// A stored entry as users see it.
    pub(super) fn message(&self, row: HistoryRow) -> Option<Message> {
        let (name, seq, entry) = (row.name, row.seq, row.entry);
        let own = name.author == self.me;
        let conversation = self.conversation_ref(name.conversation)?;
        let state = own.then(|| {
            let delivered = self.replica.delivered_to(name, seq);
            self.outbox.state(name, seq, &delivered)
        });
        let to = match conversation {
            ConversationRef::Direct(peer) => Some(peer),
            ConversationRef::Room(_) => None,
        };
        let is = |this| state == Some(this);
        // A name or a word of today changes nothing about messages that were judged before.
        let mention = row.mention;
        let mention = mention.unwrap_or_else(|| self.attention.is_mention(&entry.body)) && !own;
        let id = name.conversation;
        let notify = !own && self.attention.alerts(id, &conversation, mention);
        Some(Message {
            id: MessageId { log: name.log, seq },
            request: self.is_request(&conversation, name.author),
            awaits_consent: is(DeliveryState::Sent)
                && to.is_some_and(|peer| self.outbox.awaits_consent(peer)),
            mail_refused: to
                .filter(|_| is(DeliveryState::Queued))
                .and_then(|peer| self.mail.refused(peer.only_device())),
            conversation,
            from: name.author,
            name: self.name_at(name.author, row.received_at_ms),
            reply_to: None,
            edited: None,
            reactions: Vec::new(),
            body: entry.body,
            sent_at_ms: entry.sent_at_ms,
            received_at_ms: row.received_at_ms,
            state,
            deleted: row.deleted,
            confirmed: None,
            client_id: row.client_id.and_then(|id| id.parse().ok()),
            mention,
            notify,
        })
    }

    /// Whether a message is from a stranger, to this node only.
    fn is_request(&self, conversation: &ConversationRef, from: PersonId) -> bool {
        let direct = matches!(conversation, ConversationRef::Direct(_));
        direct && from != self.me && !self.policy.is_contact(from)
    }

    pub(super) fn publish_receipts(
        &self,
        name: LogName,
        peer: PersonId,
        ranges: &Ranges,
        state: DeliveryState,
    ) {
        if !self.reports.is_heard() {
            return;
        }
        for (first, last) in ranges.iter() {
            let receipt = |seq| Event::Receipt {
                id: MessageId { log: name.log, seq },
                peer,
                state,
            };
            self.reports.events((first..=last).map(receipt));
        }
    }

    pub(super) fn wait_for(
        &mut self,
        id: MessageId,
        state: DeliveryState,
        reply: oneshot::Sender<Result<DeliveryState, NodeError>>,
    ) {
        let Some(name) = self.own_log(id) else {
            return drop(reply.send(Err(NodeError::NoSuchMessage)));
        };
        let (is_direct, addressees) = match self.replica.kind(name.conversation) {
            Some(ConversationKind::Direct(peer)) => (true, vec![*peer]),
            Some(ConversationKind::Room { .. }) | None => (false, self.outbox.addressees(id)),
        };
        let delivered = self.replica.delivered_to(name, id.seq);
        let message = (name, id.seq);
        self.outbox
            .wait_for(message, state, is_direct, addressees, &delivered, reply);
    }

    /// The log of this node that a message id names, if the message is on disk.
    fn own_log(&self, id: MessageId) -> Option<LogName> {
        self.replica
            .own_log(id.log)
            .filter(|(_, held)| held.contains(id.seq))
            .map(|(name, _)| name)
    }

    /// A peer begins or ceases to refuse messages of this node until its user accepts this node.
    fn awaits_consent(&mut self, peer: PersonId, awaits: bool) {
        // Only a peer that the user has written to can refuse messages.
        if awaits && !self.replica.is_contact(peer) {
            return;
        }
        if self.outbox.note_awaits_consent(peer, awaits) {
            self.reports.event(Event::Peer(self.peer_info(peer)));
        }
    }

    /// A stranger has sent more than it may before the user accepts it.
    fn request_full(&mut self, peer: PersonId) {
        // The user need not hear of a stranger that is ignored or blocked.
        if !self.policy.shows(peer) || !self.policy.note_request_full(peer) {
            return;
        }
        let name = self.peers.name(peer);
        let reason = NoticeReason::RequestFull { name };
        self.reports.notice(reason, Some(peer));
    }

    /// Logs of a room are dropped or refused from now on.
    fn room_full(&mut self, room: ConversationId) {
        let room = self.room_name(room);
        self.reports.notice(NoticeReason::RoomFull { room }, None);
    }

    /// The name of a room, for the user.
    pub(super) fn room_name(&self, room: ConversationId) -> String {
        match self.replica.kind(room) {
            Some(ConversationKind::Room { name, .. }) => name.to_string(),
            Some(ConversationKind::Direct(_)) | None => String::new(),
        }
    }

    /// Reports the messages of this node that peers gave back.
    pub(super) fn report_restored(&mut self) {
        for (peer, count) in self.restored.take() {
            let name = self.peers.name(peer);
            self.reports
                .notice(NoticeReason::OwnEntriesRestored { name, count }, Some(peer));
        }
    }

    /// The replica refused something that a session sent. The session may have ended since.
    fn refused(&mut self, session: SessionId, refusal: &Refusal) {
        let Some(state) = self.sessions.get_mut(session) else {
            return;
        };
        let (peer, name) = (state.peer(), self.peers.name(state.person()));
        match refusal {
            // One notice for each kind and session, so that no peer can flood the screen.
            Refusal::IdentityReused | Refusal::Conflict if !state.limits.is_news(refusal) => {}
            Refusal::IdentityReused => {
                let evidence = CopyEvidence::UnknownEntries { name };
                self.reports
                    .notice(NoticeReason::IdentityCopied(evidence), Some(peer.person()));
            }
            Refusal::Conflict => {
                self.reports
                    .notice(NoticeReason::Conflict { name }, Some(peer.person()));
            }
            // These happen between honest nodes too, when rooms change or are full, or entries
            // overtake each other.
            Refusal::NotShared | Refusal::Gap | Refusal::Blocked | Refusal::RoomFull => {
                debug!(?peer, "refused: {refusal}")
            }
            Refusal::NotAnAuthor
            | Refusal::NoCertificate
            | Refusal::NewerCertificate
            | Refusal::Batch(_)
            | Refusal::Lamport
            | Refusal::Misplaced => {
                if let Some(count) = state.limits.count_refusal() {
                    warn!(?peer, count, "refused: {refusal}");
                }
            }
        }
    }

    pub(super) fn conversation_ref(&self, id: ConversationId) -> Option<ConversationRef> {
        Some(match self.replica.kind(id)? {
            ConversationKind::Direct(peer) => ConversationRef::Direct(*peer),
            ConversationKind::Room { name, .. } => ConversationRef::Room(name.clone()),
        })
    }

    pub(super) fn conversation_id(&self, named: &ConversationRef) -> Option<ConversationId> {
        match named {
            ConversationRef::Direct(peer) => Some(ConversationId::direct(self.me, *peer)),
            ConversationRef::Room(room) => self.joined_room(room).or_else(|| {
                let of_name = |kind: &ConversationKind| matches!(kind, ConversationKind::Room { name, .. } if name == room);
                self.replica.conversations().find(|record| of_name(&record.kind)).map(|record| record.id)
            }),
        }
    }

    /// The peers with which there is a direct conversation.
    pub(super) fn talked_with(&self) -> BTreeSet<PersonId> {
        let peer = |kind: &ConversationKind| match kind {
            ConversationKind::Direct(peer) => Some(*peer),
            ConversationKind::Room { .. } => None,
        };
        self.replica
            .conversations()
            .filter_map(|record| peer(&record.kind))
            .collect()
    }
}
