//! Messages: sent, received, waited for.

use std::collections::BTreeSet;

use hobnob_core::SessionId;
use hobnob_core::commit::ConversationKind;
use hobnob_core::policy::DenyReason;
use hobnob_core::replica::{self, Output, Refusal, Token};
use hobnob_protocol::{Body, CheckedBatch, ConversationId, LogName, PeerId, Ranges, Seq};
use tokio::sync::oneshot;
use tracing::{debug, warn};

use super::outbox::Sending;
use super::state::Engine;
use super::waiters::Waiter;
use crate::api::{ConversationRef, DeliveryState, Event, Message, MessageId, Sent};
use crate::error::{NodeError, SendError};

impl Engine {
    pub(super) fn send(
        &mut self,
        to: ConversationRef,
        certain: bool,
        body: Body,
        reply: oneshot::Sender<Result<Sent, SendError>>,
    ) {
        let conversation = match &to {
            ConversationRef::Direct(peer)
                if self.policy.denies(*peer, self.clock.now()) == Some(DenyReason::Blocked) =>
            {
                return drop(reply.send(Err(SendError::Blocked(self.peers.name(*peer)))));
            }
            ConversationRef::Direct(peer) if *peer == self.me => {
                return drop(reply.send(Err(SendError::Myself)));
            }
            ConversationRef::Direct(peer) if !certain && !self.peers.knows(*peer) => {
                return drop(reply.send(Err(SendError::UnknownId(*peer))));
            }
            ConversationRef::Direct(peer) => self.direct(*peer),
            ConversationRef::Room(room) => match self.joined_room(room) {
                Some(id) => id,
                None => return drop(reply.send(Err(SendError::NotInRoom(room.clone())))),
            },
        };
        let token = self.outbox.token();
        self.outbox.sending.insert(
            token,
            Sending {
                to,
                body: body.clone(),
                reply,
            },
        );
        self.tell_replica(replica::Input::Append {
            token,
            conversation,
            body,
        });
    }

    fn direct(&mut self, peer: PeerId) -> ConversationId {
        if let Some(id) = self.outbox.direct.get(&peer) {
            return *id;
        }
        let id = ConversationId::direct(self.me, peer);
        if !self.peers.knows(peer) {
            self.peers.learn(peer, None);
        }
        self.tell_replica(replica::Input::OpenDirect(peer));
        self.outbox.direct.insert(peer, id);
        id
    }

    pub(super) fn replica_output(&mut self, output: Output) {
        match output {
            Output::Commit(commit) => self.store.commit(commit),
            Output::Send(session, frame) => {
                if let Some(link) = self.sessions.live.get(&session) {
                    link.session.send_control(frame);
                }
            }
            Output::SendBatch(session, frame) => {
                if let Some(link) = self.sessions.live.get(&session) {
                    link.session.send_batch(frame);
                }
            }
            Output::Release(session, batches) => {
                if let Some(link) = self.sessions.live.get(&session) {
                    link.session.release(batches);
                }
            }
            Output::Read {
                session,
                name,
                from,
                to,
            } => self.read_for(session, name, from, to),
            Output::FindNewcomerCut {
                session,
                conversation,
                since_ms,
            } => self.find_cut(session, conversation, since_ms),
            Output::Appended { tokens, batch } => self.appended(tokens, &batch),
            Output::AppendFailed(token, why) => {
                if let Some(sending) = self.outbox.sending.remove(&token) {
                    let _ = sending.reply.send(Err(SendError::Store(why)));
                }
            }
            Output::Stored(token) => self.joined(token, Ok(())),
            Output::StoreFailed(token, why) => self.joined(token, Err(why)),
            Output::Received {
                batch,
                first,
                last,
                received_at_ms,
            } => {
                self.received(&batch, first, last, received_at_ms);
                self.offers_received(&batch, first, last, received_at_ms);
            }
            Output::Sent(name, peer, first, last) => {
                self.outbox.note_sent(name, peer, first, last);
                self.came_further(name, peer, &Ranges::span(first, last), DeliveryState::Sent);
            }
            Output::Delivered(name, peer, ranges) => {
                self.came_further(name, peer, &ranges, DeliveryState::Delivered)
            }
            Output::OwnRestored(_, peer, count) => self.own_restored(peer, count),
            Output::Refused(session, refusal) => self.refused(session, &refusal),
        }
    }

    fn appended(&mut self, tokens: Vec<Token>, batch: &CheckedBatch) {
        let heard = self.reports.events.is_heard();
        let mut events = Vec::new();
        for (token, (seq, written)) in tokens
            .into_iter()
            .zip((batch.first()..).zip(&batch.entries))
        {
            let Some(Sending { to, body, reply }) = self.outbox.sending.remove(&token) else {
                continue;
            };
            let id = MessageId {
                log: batch.batch.name.log,
                seq,
            };
            let addressees = self.addressees(id, &to, batch.batch.name.conversation);
            self.offer_made(batch.batch.name, seq, &body, written.entry.sent_at_ms);
            if heard {
                events.push(Event::Own(self.own_message(
                    id,
                    to.clone(),
                    body,
                    written.entry.sent_at_ms,
                )));
            }
            let _ = reply.send(Ok(Sent {
                id,
                conversation: to,
                to: addressees,
            }));
        }
        self.reports.events.publish_all(events);
    }

    /// Whom a message is for that was written just now.
    fn addressees(
        &mut self,
        id: MessageId,
        to: &ConversationRef,
        conversation: ConversationId,
    ) -> Vec<PeerId> {
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
            body,
            sent_at_ms,
            received_at_ms: sent_at_ms,
            state: Some(DeliveryState::Queued),
        }
    }

    fn received(&mut self, batch: &CheckedBatch, first: Seq, last: Seq, received_at_ms: u64) {
        let LogName {
            conversation,
            author: from,
            log,
        } = batch.batch.name;
        if !self.reports.events.is_heard() || !self.policy.policies.shows(from) {
            return;
        }
        let Some(conversation) = self.conversation_ref(conversation) else {
            return;
        };
        let name = self.peers.name(from);
        let entries = (first..=last).filter_map(|seq| Some((seq, &batch.at(seq)?.entry)));
        self.reports.events.publish_all(entries.map(|(seq, entry)| {
            Event::Message(Message {
                id: MessageId { log, seq },
                conversation: conversation.clone(),
                from,
                name: name.clone(),
                body: entry.body.clone(),
                sent_at_ms: entry.sent_at_ms,
                received_at_ms,
                state: None,
            })
        }));
    }

    pub(super) fn message(
        &self,
        name: LogName,
        seq: Seq,
        entry: hobnob_protocol::Entry,
        received_at_ms: u64,
    ) -> Option<Message> {
        let own = name.author == self.me;
        Some(Message {
            id: MessageId { log: name.log, seq },
            conversation: self.conversation_ref(name.conversation)?,
            from: name.author,
            name: self.peers.name(name.author),
            body: entry.body,
            sent_at_ms: entry.sent_at_ms,
            received_at_ms,
            state: own.then(|| {
                let delivered = self.replica.delivered_to(name, seq);
                self.outbox.state(name, seq, &delivered)
            }),
        })
    }

    fn came_further(&mut self, name: LogName, peer: PeerId, ranges: &Ranges, state: DeliveryState) {
        for (first, last) in ranges.iter() {
            self.outbox.waiters.reached(name, first, last, peer, state);
            if self.reports.events.is_heard() {
                let receipt = |seq| Event::Receipt {
                    id: MessageId { log: name.log, seq },
                    peer,
                    state,
                };
                self.reports.events.publish_all((first..=last).map(receipt));
            }
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
        let addressees = match self.replica.kind(name.conversation) {
            Some(ConversationKind::Direct(peer)) => vec![*peer],
            Some(ConversationKind::Room { .. }) | None => self.outbox.addressees(id),
        };
        let delivered = self.replica.delivered_to(name, id.seq);
        let missing: BTreeSet<_> = addressees
            .into_iter()
            .filter(|peer| self.outbox.state_with(name, id.seq, *peer, &delivered) < state)
            .collect();
        if missing.is_empty() {
            let _ = reply.send(Ok(state));
        } else {
            self.outbox.waiters.add(
                name,
                id.seq,
                Waiter {
                    state,
                    missing,
                    reply,
                },
            );
        }
    }

    /// The log of ours that a message id speaks of.
    fn own_log(&self, id: MessageId) -> Option<LogName> {
        self.replica
            .own_log(id.log)
            .filter(|(_, held)| held.contains(id.seq))
            .map(|(name, _)| name)
    }

    fn own_restored(&mut self, peer: PeerId, count: u64) {
        let name = self.peers.name(peer);
        let text = format!(
            "{count} messages of this node's own came back from {name}: this home is an older copy, as from a backup. They are in \
             the history again."
        );
        self.reports
            .notice("own-entries-restored", text, Some(peer));
    }

    fn refused(&mut self, session: SessionId, refusal: &Refusal) {
        let Some(link) = self.sessions.live.get_mut(&session) else {
            return;
        };
        let peer = link.peer;
        match refusal {
            // A user is told of each once in a session: no peer fills the screen.
            Refusal::IdentityReused | Refusal::Conflict if !link.refusals.is_news(refusal) => {}
            Refusal::IdentityReused => {
                let name = self.peers.name(peer);
                self.reports.notice(
                    "identity-copied",
                    format!("{name} has messages in this node's name that it never wrote."),
                    Some(peer),
                );
            }
            Refusal::Conflict => {
                let name = self.peers.name(peer);
                let text = format!(
                    "{name} sent messages that contradict what their author wrote before; they were refused."
                );
                self.reports.notice("conflict", text, Some(peer));
            }
            // These happen between honest nodes too, when rooms change or entries overtake each
            // other.
            Refusal::NotShared | Refusal::Gap | Refusal::Blocked => {
                debug!(?peer, "refused: {refusal}")
            }
            Refusal::NotAnAuthor | Refusal::Batch(_) | Refusal::Lamport | Refusal::Misplaced => {
                if let Some(count) = link.refusals.count_to_log() {
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

    /// Everybody with whom there is a conversation.
    pub(super) fn talked_with(&self) -> BTreeSet<PeerId> {
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
