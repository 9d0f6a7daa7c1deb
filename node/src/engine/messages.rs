//! Messages: written, waited for, received, read back.

use hobnob_core::SessionId;
use std::collections::HashSet;
use std::mem::{Discriminant, discriminant};

use hobnob_protocol::CheckedBatch;
use tracing::{debug, warn};

use super::Engine;
use super::waiters::Waiter;
use crate::ConversationRef;
use crate::DeliveryState;
use crate::Event;
use crate::Message;
use crate::MessageId;
use crate::NodeError;
use crate::SendError;
use crate::Sent;
use hobnob_core::commit::ConversationKind;
use hobnob_core::policy::DenyReason;
use hobnob_core::replica;
use hobnob_core::replica::Token;
use hobnob_core::replica::{Output, Refusal};
use hobnob_protocol::Body;
use hobnob_protocol::ConversationId;
use hobnob_protocol::LogName;
use hobnob_protocol::PeerId;
use hobnob_protocol::Ranges;
use hobnob_protocol::Seq;
use std::collections::BTreeSet;
use tokio::sync::oneshot;

/// Messages to rooms of which it is remembered whom they are for; older ones are waited for as if
/// nobody was there.
const ADDRESSED_MAX: usize = 8192;

/// Refusals of one session that are logged one by one; of later ones each is logged whose number is
/// a power of two.
const REFUSALS_LOGGED: u64 = 16;

/// What was refused in a session so far, to tell no more of it than helps.
#[derive(Debug, Default)]
pub(super) struct Refused {
    notices: HashSet<Discriminant<Refusal>>,
    others: u64,
}

impl Refused {
    /// Counts one more.
    fn count(&mut self) -> u64 {
        self.others += 1;
        self.others
    }
}

/// A message on its way to the disk.
pub(super) struct Sending {
    to: ConversationRef,
    body: Body,
    reply: oneshot::Sender<Result<Sent, SendError>>,
}

impl Engine {
    pub(super) fn send(
        &mut self,
        to: ConversationRef,
        certain: bool,
        body: Body,
        reply: oneshot::Sender<Result<Sent, SendError>>,
    ) {
        let conversation = match &to {
            ConversationRef::Direct(peer) if self.bar(*peer) == Some(DenyReason::Blocked) => {
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
        let token = self.token();
        self.sending.insert(
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
        if let Some(id) = self.directs.get(&peer) {
            return *id;
        }
        let id = ConversationId::direct(self.me, peer);
        if !self.peers.knows(peer) {
            self.peers.learn(peer, None);
        }
        self.tell_replica(replica::Input::OpenDirect(peer));
        self.directs.insert(peer, id);
        id
    }

    pub(super) fn token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }

    pub(super) fn replica_output(&mut self, output: Output) {
        match output {
            Output::Commit(commit) => self.store.commit(commit),
            Output::Send(session, frame) => {
                if let Some(link) = self.links.get(&session) {
                    link.session.send_control(frame);
                }
            }
            Output::SendBatch(session, frame) => {
                if let Some(link) = self.links.get(&session) {
                    link.session.send_batch(frame);
                }
            }
            Output::Release(session, batches) => {
                if let Some(link) = self.links.get(&session) {
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
                if let Some(sending) = self.sending.remove(&token) {
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
                self.sent
                    .entry((name, peer))
                    .or_default()
                    .insert(first, last);
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
        let heard = self.events.is_heard();
        let mut events = Vec::new();
        for (token, (seq, written)) in tokens
            .into_iter()
            .zip((batch.first()..).zip(&batch.entries))
        {
            let Some(Sending { to, body, reply }) = self.sending.remove(&token) else {
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
        self.events.publish_all(events);
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
        self.addressed.push_back((id, here.clone()));
        if self.addressed.len() > ADDRESSED_MAX {
            self.addressed.pop_front();
        }
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
        if !self.events.is_heard() || !self.policies.shows(from) {
            return;
        }
        let Some(conversation) = self.conversation_ref(conversation) else {
            return;
        };
        let name = self.peers.name(from);
        let entries = (first..=last).filter_map(|seq| Some((seq, &batch.at(seq)?.entry)));
        self.events.publish_all(entries.map(|(seq, entry)| {
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
            state: own.then(|| self.state_of(name, seq)),
        })
    }

    /// How far a message of ours has come: with its one addressee, or in a room with the least of
    /// those it went to.
    fn state_of(&self, name: LogName, seq: Seq) -> DeliveryState {
        let delivered = self.replica.delivered_to(name, seq);
        let of_log = self
            .sent
            .range((name, PeerId::from_bytes([0; 32]))..)
            .take_while(|((of, _), _)| *of == name);
        let mut sent_to = of_log
            .filter(|(_, ranges)| ranges.contains(seq))
            .map(|((_, peer), _)| *peer);
        match sent_to.find(|peer| !delivered.contains(peer)) {
            Some(_) => DeliveryState::Sent,
            None if !delivered.is_empty() => DeliveryState::Delivered,
            None => DeliveryState::Queued,
        }
    }

    fn came_further(&mut self, name: LogName, peer: PeerId, ranges: &Ranges, state: DeliveryState) {
        for (first, last) in ranges.iter() {
            self.waiters.reached(name, first, last, peer, state);
            if self.events.is_heard() {
                let receipt = |seq| Event::Receipt {
                    id: MessageId { log: name.log, seq },
                    peer,
                    state,
                };
                self.events.publish_all((first..=last).map(receipt));
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
            Some(ConversationKind::Room { .. }) | None => self
                .addressed
                .iter()
                .rev()
                .find(|(of, _)| *of == id)
                .map(|(_, peers)| peers.clone())
                .unwrap_or_default(),
        };
        let missing: BTreeSet<_> = addressees
            .into_iter()
            .filter(|peer| self.state_with(name, id.seq, *peer) < state)
            .collect();
        if missing.is_empty() {
            let _ = reply.send(Ok(state));
        } else {
            self.waiters.add(
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

    fn state_with(&self, name: LogName, seq: Seq, peer: PeerId) -> DeliveryState {
        if self.replica.delivered_to(name, seq).contains(&peer) {
            DeliveryState::Delivered
        } else if self
            .sent
            .get(&(name, peer))
            .is_some_and(|sent| sent.contains(seq))
        {
            DeliveryState::Sent
        } else {
            DeliveryState::Queued
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
        self.notice("own-entries-restored", text, Some(peer));
    }

    fn refused(&mut self, session: SessionId, refusal: &Refusal) {
        let Some(link) = self.links.get_mut(&session) else {
            return;
        };
        let peer = link.peer;
        match refusal {
            // A user is told of each once in a session: no peer fills the screen.
            Refusal::IdentityReused | Refusal::Conflict
                if !link.refused.notices.insert(discriminant(refusal)) => {}
            Refusal::IdentityReused => {
                let name = self.peers.name(peer);
                self.notice(
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
                self.notice("conflict", text, Some(peer));
            }
            // These happen between honest nodes too, when rooms change or entries overtake each
            // other.
            Refusal::NotShared | Refusal::Gap | Refusal::Blocked => {
                debug!(?peer, "refused: {refusal}")
            }
            Refusal::NotAnAuthor | Refusal::Batch(_) | Refusal::Lamport | Refusal::Misplaced => {
                let count = link.refused.count();
                if count <= REFUSALS_LOGGED || count.is_power_of_two() {
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
