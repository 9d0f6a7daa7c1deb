//! The files that a session has shown, by the numbers that people type.

use std::collections::{BTreeMap, VecDeque};

use hobnob::{FileState, MessageId};

/// Maximum numbered files. One more makes the first one reachable by its name only.
pub(crate) const OFFERS_MAX: usize = 1_000;

/// The offered files of a session.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    last: usize,
    numbers: BTreeMap<MessageId, usize>,
    order: VecDeque<MessageId>,
    states: BTreeMap<MessageId, FileState>,
}

impl Offers {
    /// The number of an offer, which is the same as before if it had one.
    pub(crate) fn number(&mut self, id: MessageId) -> usize {
        if let Some(number) = self.numbers.get(&id) {
            return *number;
        }
        self.last += 1;
        self.numbers.insert(id, self.last);
        self.order.push_back(id);
        if self.order.len() > OFFERS_MAX
            && let Some(first) = self.order.pop_front()
        {
            self.numbers.remove(&first);
            self.states.remove(&first);
        }
        self.last
    }

    /// The offer with this number.
    pub(crate) fn by_number(&self, number: usize) -> Option<MessageId> {
        let found = self.numbers.iter().find(|(_, known)| **known == number);
        found.map(|(id, _)| *id)
    }

    /// Whether the state of an offer is another one than was reported before.
    pub(crate) fn changes(&mut self, id: MessageId, state: FileState) -> bool {
        self.number(id);
        self.states.insert(id, state) != Some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_protocol::LogId;

    fn id(seq: u64) -> MessageId {
        MessageId { log: LogId(1), seq }
    }

    #[test]
    fn an_offer_keeps_its_number_and_the_oldest_lose_theirs() {
        let mut offers = Offers::default();
        assert_eq!((offers.number(id(1)), offers.number(id(2))), (1, 2));
        assert_eq!(offers.number(id(1)), 1);
        assert_eq!(offers.by_number(2), Some(id(2)));
        for seq in 3..3 + OFFERS_MAX as u64 {
            offers.changes(id(seq), FileState::Moving);
        }
        assert_eq!(offers.by_number(1), None);
        assert_eq!(
            (offers.numbers.len(), offers.states.len()),
            (OFFERS_MAX, OFFERS_MAX)
        );
    }

    #[test]
    fn a_state_is_reported_once() {
        let mut offers = Offers::default();
        assert!(offers.changes(id(1), FileState::Moving));
        assert!(!offers.changes(id(1), FileState::Moving));
        assert!(offers.changes(id(1), FileState::Done));
    }
}
