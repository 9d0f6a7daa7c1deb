//! What other users do: who types, and how far each has read. And when to show them what this user
//! does. Who is away is in `people`.

use std::collections::BTreeMap;

use hobnob::protocol::{LogId, PersonId, Seq};
use hobnob::{ConversationRef, MessageId};
use hobnob_control::wire::{ActivityLine, Time};

use crate::shared::receipts::Readers;

/// How long somebody types after the last report of it.
const TYPES_MS: u64 = 6_000;

/// Others learn that this user types this often.
const SHOW_TYPING_MS: u64 = 3_000;

/// Logs that the user has read, in memory. The first is forgotten, and its author may learn again
/// what it knows.
const LOGS_MAX: usize = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    typing: BTreeMap<(ConversationRef, PersonId), Time>,
    readers: Readers,
    shown_typing: Option<(ConversationRef, Time)>,
    /// The newest message that was on the screen when the user last read.
    looked_at: Option<MessageId>,
    shown_read: BTreeMap<LogId, Seq>,
}

impl Activity {
    pub(super) fn take(&mut self, now: Time, line: &ActivityLine) {
        let peer = line.peer.0;
        if let Some(conversation) = &line.conversation {
            let of = (conversation.0.clone(), peer);
            match line.typing {
                Some(true) => drop(self.typing.insert(of, Time(now.0 + TYPES_MS))),
                Some(false) => drop(self.typing.remove(&of)),
                None => {}
            }
        }
        self.readers.take(line);
    }

    /// A message has arrived: its author types no more.
    pub(super) fn wrote(&mut self, of: &ConversationRef, peer: PersonId) {
        self.typing.remove(&(of.clone(), peer));
    }

    /// Forgets those who have not typed for a while. Returns whether there were any.
    pub(super) fn expire(&mut self, now: Time) -> bool {
        let before = self.typing.len();
        self.typing.retain(|_, until| *until > now);
        self.typing.len() < before
    }

    /// Who types in a conversation.
    pub(crate) fn typing_in<'a>(
        &'a self,
        of: &'a ConversationRef,
    ) -> impl Iterator<Item = PersonId> + 'a {
        let here = self.typing.keys().filter(move |(at, _)| at == of);
        here.map(|(_, peer)| *peer)
    }

    /// How far others have read.
    pub(super) fn readers(&self) -> &Readers {
        &self.readers
    }

    /// The user types. Returns whether others should learn of it now.
    pub(super) fn types(&mut self, now: Time, of: &ConversationRef) -> bool {
        let is_shown = self
            .shown_typing
            .as_ref()
            .is_some_and(|(at, since)| at == of && now.0 < since.0 + SHOW_TYPING_MS);
        if !is_shown {
            self.shown_typing = Some((of.clone(), now));
        }
        !is_shown
    }

    /// Another node runs now. It does not know what the user has read.
    pub(super) fn restart(&mut self) {
        self.looked_at = None;
        self.shown_read.clear();
        self.typing.clear();
    }

    /// The user looks at the newest messages, the last of which is `last`. Returns whether it is new.
    pub(super) fn looks_at(&mut self, last: MessageId) -> bool {
        self.looked_at.replace(last) != Some(last)
    }

    /// The user has read this message. Returns whether its author should learn of it.
    pub(super) fn has_read(&mut self, MessageId { log, seq }: MessageId) -> bool {
        if self.shown_read.len() >= LOGS_MAX && !self.shown_read.contains_key(&log) {
            self.shown_read.pop_first();
        }
        let known = self.shown_read.entry(log).or_default();
        let is_news = seq > *known;
        *known = seq.max(*known);
        is_news
    }
}

#[cfg(test)]
mod tests {
    use hobnob::protocol::LogId;
    use hobnob_control::wire::Text;

    use super::*;

    const BOB: PersonId = PersonId::from_bytes([2; 32]);

    fn lobby() -> ConversationRef {
        "#lobby".parse().unwrap()
    }

    fn line() -> ActivityLine {
        ActivityLine {
            peer: Text(BOB),
            nick: "bob".into(),
            conversation: Some(Text(lobby())),
            typing: None,
            read: None,
            away: None,
            text: None,
        }
    }

    #[test]
    fn somebody_types_until_a_message_comes_or_time_passes() {
        let mut activity = Activity::default();
        let typing = ActivityLine {
            typing: Some(true),
            ..line()
        };
        for end in ["message", "time"] {
            activity.take(Time(0), &typing);
            assert_eq!(activity.typing_in(&lobby()).collect::<Vec<_>>(), [BOB]);
            match end {
                "message" => activity.wrote(&lobby(), BOB),
                _ => assert!(activity.expire(Time(TYPES_MS))),
            }
            assert_eq!(activity.typing_in(&lobby()).count(), 0);
        }
    }

    #[test]
    fn others_learn_now_and_then_that_the_user_types_and_once_what_it_has_read() {
        let mut activity = Activity::default();
        assert!(activity.types(Time(0), &lobby()));
        assert!(!activity.types(Time(2_999), &lobby()));
        assert!(activity.types(Time(3_000), &lobby()));
        let id = MessageId {
            log: LogId(1),
            seq: 1,
        };
        assert!(activity.has_read(id) && !activity.has_read(id));
        assert!(activity.looks_at(id) && !activity.looks_at(id));
        activity.restart();
        assert!(activity.looks_at(id) && activity.has_read(id));
    }
}
