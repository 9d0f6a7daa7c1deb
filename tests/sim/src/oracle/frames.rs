//! Checks frames of honest nodes: they contain nothing that the receiver must not have.

use bytes::Bytes;
use hobnob_protocol::frame::AuthorHeads;
use hobnob_protocol::{Batch, ConversationId, Frame, LogName, Ranges, Seq};

use super::super::world::World;
use super::is_of_other_device;

impl World {
    /// Checks that a frame contains nothing that the receiver must not have.
    pub(crate) fn check_frame(&mut self, node: usize, to: usize, frame: &Bytes) {
        let peer = self.nodes[to].id;
        let wrong = match Frame::decode(frame) {
            Ok(Frame::Batch(batch)) => self.wrong_batch(node, to, batch),
            Ok(Frame::Have(name, held)) => self.wrong_word(node, to, name, &held.settled),
            Ok(Frame::Heads {
                conversation,
                authors,
                ..
            }) => {
                let heads = authors.into_iter().flat_map(|of| {
                    let AuthorHeads {
                        author,
                        device,
                        logs,
                    } = of;
                    let name = move |log| LogName {
                        conversation,
                        author,
                        device,
                        log,
                    };
                    let logs = logs.into_iter();
                    logs.map(move |(log, held)| (name(log), held.settled))
                });
                let mut heads = heads.collect::<Vec<_>>().into_iter();
                heads.find_map(|(name, ranges)| self.wrong_word(node, to, name, &ranges))
            }
            Ok(
                Frame::Digest(conversation, _)
                | Frame::Prune(conversation, _)
                | Frame::Waiting(conversation),
            ) => self.not_theirs(conversation, node, to),
            Ok(Frame::Want { name, .. }) if self.has_blocked(node, name.author) => {
                Some(format!("a want of {name:?}, who is blocked"))
            }
            Ok(Frame::Want { name, .. }) if is_of_other_device(&name) => {
                Some(format!("a want of {name:?}, which no certificate allows"))
            }
            Ok(Frame::Want { name, .. } | Frame::Conflict(name)) => {
                self.not_theirs(name.conversation, node, to)
            }
            Ok(
                Frame::Hello(_)
                | Frame::Ping(_)
                | Frame::Pong(_)
                | Frame::Profile(_)
                | Frame::Records { .. }
                | Frame::WantRecords(_)
                | Frame::ContactRecord(_)
                | Frame::Mailbox { .. }
                | Frame::Content { .. }
                | Frame::Room(_)
                | Frame::HoldsMail(_)
                | Frame::WantPicture(_)
                | Frame::Picture(..)
                | Frame::Activity(_)
                | Frame::Candidates(_)
                | Frame::Offer(..)
                | Frame::Invite(_)
                | Frame::DialBack(_)
                | Frame::DialedBack(_)
                | Frame::Unknown(_),
            ) => Some("a frame that is not a replica's".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(wrong) = wrong {
            self.fail(format!("n{node} sends n{to} ({peer:?}) {wrong}"));
        }
    }

    /// Reports a receiver that is not a member of the conversation.
    fn not_theirs(&self, conversation: ConversationId, node: usize, to: usize) -> Option<String> {
        let (me, peer) = (self.nodes[node].id, self.nodes[to].id);
        let member = if Some(conversation) == self.oracle.secret {
            self.oracle.in_on_it.contains(&to)
        } else {
            self.oracle.is_open(conversation) || conversation == ConversationId::direct(me, peer)
        };
        (!member).then(|| format!("a frame of {conversation:?}, of which it is no member"))
    }

    fn wrong_word(&self, node: usize, to: usize, name: LogName, ranges: &Ranges) -> Option<String> {
        if let Some(wrong) = self.not_theirs(name.conversation, node, to) {
            return Some(wrong);
        }
        if is_of_other_device(&name) && !ranges.is_empty() {
            return Some(format!("word of {name:?}, which no certificate allows"));
        }
        let peer = self.nodes[to].id;
        if self.has_blocked(node, name.author) && self.oracle.hostile.is_empty() {
            let mut named = ranges.iter().flat_map(|(first, last)| first..=last);
            let news = named.find(|seq| !self.oracle.ever_had(peer, &name, *seq));
            return news.map(|seq| format!("word of {name:?} {seq}, whose author is blocked"));
        }
        if !self.oracle.is_open(name.conversation) || self.oracle.hostile.contains(&peer) {
            return None;
        }
        let mut named = ranges.iter().flat_map(|(first, last)| first..=last);
        let secret = |seq: &Seq| {
            !self.oracle.may_have(node, &name, *seq, peer)
                && !self.oracle.ever_had(peer, &name, *seq)
        };
        named
            .find(secret)
            .map(|seq| format!("word of {name:?} {seq}, which is not for it"))
    }

    fn wrong_batch(&mut self, node: usize, to: usize, batch: Batch) -> Option<String> {
        let name = batch.name;
        if let Some(wrong) = self.not_theirs(name.conversation, node, to) {
            return Some(wrong);
        }
        if self.has_blocked(node, name.author) {
            return Some(format!("entries of {name:?}, whose author is blocked"));
        }
        let Ok(batch) = batch.read() else {
            return Some("a batch that can't be read".to_owned());
        };
        let peer = self.nodes[to].id;
        self.stats.sent += batch.last() - batch.first() + 1;
        let holds = |seq: &Seq| self.nodes[node].disk.durable.holds(&name, *seq);
        if let Some(seq) = (batch.first()..=batch.last()).find(|seq| !holds(seq)) {
            return Some(format!("{name:?} {seq}, which is not on its own disk"));
        }
        let leaks = |seq: &Seq| !self.oracle.may_have(node, &name, *seq, peer);
        if self.oracle.is_open(name.conversation)
            && let Some(seq) = (batch.first()..=batch.last()).find(leaks)
        {
            return Some(format!("{name:?} {seq}, which is not for it"));
        }
        None
    }
}
