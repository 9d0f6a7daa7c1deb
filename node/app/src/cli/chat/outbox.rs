//! The delivery of the messages of this chat. Pure.
//!
//! A conversation's deliveries are reported once none of its messages is under way, so that a paste
//! of a hundred lines is confirmed in one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hobnob::protocol::{PersonId, RoomName};
use hobnob::{ConversationRef, DeliveryState, MessageId};
use hobnob_control::wire::SentLine;

/// Maximum number of messages under way. Deliveries of further ones are not reported.
const UNDER_WAY_MAX: usize = 10_000;

/// Maximum number of receipts that arrived before the answer with the id of their message. The
/// oldest are dropped.
const EARLY_MAX: usize = 1_000;

/// After this many ticks, a conversation with messages under way is reported as waiting.
pub(crate) const LATE_TICKS: u64 = 30;

/// A report for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Report {
    /// All recipients have all messages of a conversation since its last report.
    Delivered {
        conversation: ConversationRef,
        messages: usize,
        people: usize,
    },
    /// Some recipients do not have them after a while. Reported once.
    Waiting {
        conversation: ConversationRef,
        missing: BTreeSet<PersonId>,
    },
    /// Nobody else is in the room.
    Alone {
        room: RoomName,
        /// Whether members receive the message later.
        later: bool,
    },
}

/// The messages under way, and what remains to be reported.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    under_way: BTreeMap<MessageId, UnderWay>,
    conversations: BTreeMap<ConversationRef, Group>,
    early: VecDeque<(MessageId, PersonId)>,
}

#[derive(Debug)]
struct UnderWay {
    conversation: ConversationRef,
    missing: BTreeSet<PersonId>,
}

/// The messages of one conversation since its last report.
#[derive(Debug)]
struct Group {
    since_tick: u64,
    under_way: usize,
    messages: usize,
    people: usize,
    told_waiting: bool,
}

impl Outbox {
    /// A message has been queued.
    pub(crate) fn sent(&mut self, tick: u64, sent: &SentLine) -> Option<Report> {
        let id = sent.id.0;
        let conversation = sent.conversation.0.clone();
        if let (ConversationRef::Room(room), true) = (&conversation, sent.to.is_empty()) {
            return Some(Report::Alone {
                room: room.clone(),
                later: sent.later,
            });
        }
        if self.under_way.len() >= UNDER_WAY_MAX {
            return None;
        }
        let missing: BTreeSet<PersonId> = sent.to.iter().map(|peer| peer.0).collect();
        let group = self
            .conversations
            .entry(conversation.clone())
            .or_insert(Group {
                since_tick: tick,
                under_way: 0,
                messages: 0,
                people: 0,
                told_waiting: false,
            });
        group.under_way += 1;
        group.messages += 1;
        group.people = group.people.max(missing.len());
        let early: Vec<PersonId> = self
            .early
            .iter()
            .filter(|(message, _)| *message == id)
            .map(|(_, peer)| *peer)
            .collect();
        self.early.retain(|(message, _)| *message != id);
        let everyone = if sent.state == DeliveryState::Delivered {
            missing.clone()
        } else {
            BTreeSet::new()
        };
        self.under_way.insert(
            id,
            UnderWay {
                conversation,
                missing,
            },
        );
        early
            .into_iter()
            .chain(everyone)
            .filter_map(|peer| self.delivered(id, peer))
            .last()
    }

    /// A peer has a message.
    pub(crate) fn delivered(&mut self, id: MessageId, peer: PersonId) -> Option<Report> {
        let Some(message) = self.under_way.get_mut(&id) else {
            self.early.push_back((id, peer));
            if self.early.len() > EARLY_MAX {
                self.early.pop_front();
            }
            return None;
        };
        message.missing.remove(&peer);
        if !message.missing.is_empty() {
            return None;
        }
        let conversation = self.under_way.remove(&id)?.conversation;
        let group = self.conversations.get_mut(&conversation)?;
        group.under_way -= 1;
        if group.under_way > 0 {
            return None;
        }
        let Group {
            messages, people, ..
        } = self.conversations.remove(&conversation)?;
        Some(Report::Delivered {
            conversation,
            messages,
            people,
        })
    }

    /// The conversations that have waited too long, each once.
    pub(crate) fn late(&mut self, tick: u64) -> Vec<Report> {
        self.waiting(|group| tick.saturating_sub(group.since_tick) >= LATE_TICKS)
    }

    /// All waiting conversations that were not reported, because the chat ends.
    pub(crate) fn all_late(&mut self) -> Vec<Report> {
        self.waiting(|_| true)
    }

    fn waiting(&mut self, is_late: impl Fn(&Group) -> bool) -> Vec<Report> {
        let mut reports = Vec::new();
        for (conversation, group) in &mut self.conversations {
            if group.told_waiting || !is_late(group) {
                continue;
            }
            group.told_waiting = true;
            let theirs = self
                .under_way
                .values()
                .filter(|message| message.conversation == *conversation);
            let missing = theirs
                .flat_map(|message| message.missing.iter().copied())
                .collect();
            reports.push(Report::Waiting {
                conversation: conversation.clone(),
                missing,
            });
        }
        reports
    }

    /// Whether everything has arrived.
    pub(crate) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob::protocol::LogId;
    use hobnob_control::wire::Text;

    fn id(seq: u64) -> MessageId {
        MessageId { log: LogId(1), seq }
    }

    fn peer(byte: u8) -> PersonId {
        PersonId::from_bytes([byte; 32])
    }

    fn sent(seq: u64, conversation: ConversationRef, to: &[u8]) -> SentLine {
        let to = to.iter().map(|&byte| Text(peer(byte))).collect();
        SentLine {
            id: Text(id(seq)),
            conversation: Text(conversation),
            to,
            later: false,
            state: DeliveryState::Queued,
            reason: None,
            left_out: Vec::new(),
        }
    }

    fn bob() -> ConversationRef {
        ConversationRef::Direct(peer(2))
    }

    fn lobby() -> ConversationRef {
        ConversationRef::Room(RoomName::lobby())
    }

    #[test]
    fn a_paste_is_confirmed_in_one_line() {
        let mut outbox = Outbox::default();
        for seq in 1..=3 {
            assert_eq!(outbox.sent(0, &sent(seq, lobby(), &[2, 3])), None);
        }
        for seq in 1..=3 {
            assert_eq!(outbox.delivered(id(seq), peer(2)), None);
        }
        assert_eq!(outbox.delivered(id(1), peer(3)), None);
        assert_eq!(outbox.delivered(id(2), peer(3)), None);
        let report = Report::Delivered {
            conversation: lobby(),
            messages: 3,
            people: 2,
        };
        assert_eq!(outbox.delivered(id(3), peer(3)), Some(report));
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_receipt_that_comes_before_the_answer_counts() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.delivered(id(1), peer(2)), None);
        let report = Report::Delivered {
            conversation: bob(),
            messages: 1,
            people: 1,
        };
        assert_eq!(outbox.sent(0, &sent(1, bob(), &[2])), Some(report));
    }

    #[test]
    fn waiting_is_told_once_and_the_delivery_after_it() {
        let mut outbox = Outbox::default();
        outbox.sent(0, &sent(1, bob(), &[2]));
        assert_eq!(outbox.late(LATE_TICKS - 1), []);
        assert_eq!(
            outbox.late(LATE_TICKS),
            [Report::Waiting {
                conversation: bob(),
                missing: [peer(2)].into()
            }]
        );
        assert_eq!(outbox.late(LATE_TICKS + 1), []);
        assert_eq!(outbox.all_late(), []);
        assert!(outbox.delivered(id(1), peer(2)).is_some());
    }

    #[test]
    fn a_room_with_nobody_in_it_is_told_at_once() {
        let mut outbox = Outbox::default();
        assert_eq!(
            outbox.sent(0, &sent(1, lobby(), &[])),
            Some(Report::Alone {
                room: RoomName::lobby(),
                later: false,
            })
        );
        assert!(outbox.is_empty());
    }

    #[test]
    fn receipts_of_other_programs_cost_little_memory() {
        let mut outbox = Outbox::default();
        for seq in 0..5_000 {
            outbox.delivered(id(seq), peer(2));
        }
        assert_eq!(outbox.early.len(), EARLY_MAX);
    }
}
