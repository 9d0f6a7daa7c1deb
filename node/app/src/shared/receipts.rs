//! Who has which message, and who has read it.

use std::collections::{BTreeMap, BTreeSet};

use hobnob::ConversationRef;
use hobnob::protocol::{LogId, PersonId, Seq};
use hobnob_control::wire::{ActivityLine, HistoryFilter, MessageLine, Text};

use super::wording::{self, Names};

/// Own messages that `/receipts` lists: the newest.
pub(crate) const RECEIPTS_SHOWN: usize = 3;

/// Messages among which `/receipts` looks for messages of this user: the newest.
const RECEIPTS_AMONG: usize = 500;

/// Read markers in memory. The first is forgotten.
const MARKERS_MAX: usize = 10_000;

/// The newest message of each log of this node that each peer has read in a conversation.
#[derive(Debug, Default)]
pub(crate) struct Readers(BTreeMap<(ConversationRef, PersonId, LogId), Seq>);

impl Readers {
    /// Takes the read marker of a line, if it has one.
    pub(crate) fn take(&mut self, line: &ActivityLine) {
        if let (Some(conversation), Some(read)) = (&line.conversation, line.read) {
            let of = (conversation.0.clone(), line.peer.0, read.0.log);
            if self.0.len() >= MARKERS_MAX && !self.0.contains_key(&of) {
                self.0.pop_first();
            }
            let newest = self.0.entry(of).or_default();
            *newest = read.0.seq.max(*newest);
        }
    }

    /// The peers that have read a message of this node. `later`: the messages after it, because
    /// whoever has read one of these has read it, too.
    pub(crate) fn of<'a>(
        &self,
        message: &'a MessageLine,
        later: impl Iterator<Item = &'a MessageLine>,
    ) -> BTreeSet<PersonId> {
        let of = &message.conversation.0;
        let own = [message].into_iter().chain(later);
        let own: Vec<_> = own.map(|message| message.id.0).collect();
        let has_read = |log: LogId, seq: Seq| own.iter().any(|id| id.log == log && id.seq <= seq);
        let here = self.0.iter().filter(|((at, ..), _)| at == of);
        here.filter(|((.., log), seq)| has_read(*log, **seq))
            .map(|((_, peer, _), _)| *peer)
            .collect()
    }
}

impl FromIterator<ActivityLine> for Readers {
    fn from_iter<T: IntoIterator<Item = ActivityLine>>(lines: T) -> Self {
        let mut readers = Readers::default();
        lines.into_iter().for_each(|line| readers.take(&line));
        readers
    }
}

/// The request for the messages whose receipts are listed.
pub(crate) fn receipts_among(conversation: ConversationRef) -> HistoryFilter {
    HistoryFilter {
        conversation: Some(Text(conversation)),
        limit: Some(RECEIPTS_AMONG),
        ..HistoryFilter::default()
    }
}

/// The newest own messages among these, oldest first, and who has read each.
pub(crate) fn receipts(
    messages: Vec<MessageLine>,
    readers: &Readers,
) -> Vec<(MessageLine, BTreeSet<PersonId>)> {
    let mut own = messages;
    own.retain(|message| message.state.is_some());
    own.drain(..own.len().saturating_sub(RECEIPTS_SHOWN));
    let read: Vec<_> = (0..own.len())
        .map(|place| readers.of(&own[place], own[place + 1..].iter()))
        .collect();
    own.into_iter().zip(read).collect()
}

/// The line that replaces an empty list of receipts.
pub(crate) const NO_RECEIPTS: &str = "you have sent no messages here yet";

/// `; read by bob, cat`, or nothing.
pub(crate) fn read_by(peers: &BTreeSet<PersonId>, names: &Names) -> String {
    if peers.is_empty() {
        return String::new();
    }
    let mut peers: Vec<_> = peers.iter().map(|peer| names.of(peer)).collect();
    peers.sort();
    format!("; read by {}", peers.join(", "))
}

/// `"noon?": delivered; read by bob`
pub(crate) fn receipt(message: &MessageLine, peers: &BTreeSet<PersonId>, names: &Names) -> String {
    let text = wording::body(&message.body);
    let state = message.state.map_or("", |state| state.as_str());
    format!("\"{text}\": {state}{}", read_by(peers, names))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::test_messages;

    const BOB: PersonId = PersonId::from_bytes([2; 32]);

    fn read(message: &MessageLine) -> ActivityLine {
        ActivityLine {
            peer: Text(BOB),
            nick: "bob".into(),
            conversation: Some(message.conversation.clone()),
            typing: None,
            read: Some(message.id),
            away: None,
            text: None,
        }
    }

    #[test]
    fn whoever_has_read_a_message_has_read_those_before_it() {
        let messages = [1, 2, 3].map(|seq| test_messages::message(seq, "hi"));
        let readers: Readers = [read(&messages[1]), read(&messages[0])]
            .into_iter()
            .collect();
        let has_read = |place: usize| {
            let later = messages[place + 1..].iter();
            readers.of(&messages[place], later).contains(&BOB)
        };
        assert_eq!([0, 1, 2].map(has_read), [true, true, false]);
        // A message of an earlier run has another log.
        let mut earlier = messages[0].clone();
        earlier.id.0.log = LogId(77);
        assert!(readers.of(&earlier, messages.iter()).contains(&BOB));
        assert!(readers.of(&earlier, messages[2..].iter()).is_empty());
    }

    #[test]
    fn markers_without_end_fill_no_memory() {
        let mut readers = Readers::default();
        let mut line = read(&test_messages::message(1, "hi"));
        for log in 0..=MARKERS_MAX as u64 {
            line.read.as_mut().expect("set above").0.log = LogId(log);
            readers.take(&line);
        }
        assert_eq!(readers.0.len(), MARKERS_MAX);
    }
}
