//! The peers that the relay seeks at the other relays of its fleet, as a pure state machine.
//!
//! A peer is nowhere only if NATS has reported twice that no relay has it. A peer that was just
//! registered may be unknown to a NATS server for a moment. If neither an answer nor this report comes,
//! or NATS is not connected, the relay is unsure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hobnob_protocol::DeviceId;

use super::message::Nonce;
use crate::core::{ConnectionId, Found};

/// Maximum searches at once. Beyond, the relay is unsure at once.
pub(super) const LOOKUPS_MAX: usize = 4_096;

/// Maximum peers that wait for one search. Beyond, the relay is unsure at once.
const ASKERS_MAX: usize = 1_024;

/// How long a relay may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_millis(700);

/// The pause before the question that confirms that nobody has the peer.
const CONFIRM_AFTER: Duration = Duration::from_millis(150);

/// How often a question is asked at most.
const ASKED_MAX: u32 = 3;

/// Reports that nobody has a peer, until it is nowhere.
const MISSES_MAX: u32 = 2;

/// All searches.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    pending: BTreeMap<Nonce, Lookup>,
    of: BTreeMap<DeviceId, Nonce>,
    due: BTreeSet<(Duration, Nonce)>,
}

#[derive(Debug)]
struct Lookup {
    peer: DeviceId,
    askers: Vec<ConnectionId>,
    /// How often the question was asked.
    asked: u32,
    /// After how many questions the answer was that nobody has the peer.
    misses: u32,
    /// The last question of those.
    missed: u32,
    due: Duration,
}

/// What follows from an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask all relays for this peer. The last number counts the questions of this search from 1.
    Ask(DeviceId, Nonce, u32),
    /// The search has ended, for the peers on these connections.
    Done(DeviceId, Vec<ConnectionId>, Found),
}

impl Lookups {
    /// A peer asks on a connection for another one. `nonce` must be random.
    pub(super) fn find(
        &mut self,
        now: Duration,
        asker: ConnectionId,
        peer: DeviceId,
        nonce: Nonce,
    ) -> Option<Step> {
        let unsure = Some(Step::Done(peer, vec![asker], Found::Unsure));
        if let Some(known) = self.of.get(&peer) {
            let lookup = self.pending.get_mut(known).expect(IS_PENDING);
            if lookup.askers.len() >= ASKERS_MAX {
                return unsure;
            }
            lookup.askers.push(asker);
            return None;
        }
        if self.pending.len() >= LOOKUPS_MAX {
            return unsure;
        }
        let due = now + ANSWER_LIMIT;
        let lookup = Lookup {
            peer,
            askers: vec![asker],
            asked: 1,
            misses: 0,
            missed: 0,
            due,
        };
        self.pending.insert(nonce, lookup);
        self.of.insert(peer, nonce);
        self.due.insert((due, nonce));
        Some(Step::Ask(peer, nonce, 1))
    }

    /// A relay has answered that it has the peer. The answer is checked.
    pub(super) fn answered(
        &mut self,
        nonce: Nonce,
        peer: DeviceId,
        relay: DeviceId,
    ) -> Option<Step> {
        let is_asked = self.pending.get(&nonce)?.peer == peer;
        is_asked.then(|| self.end(nonce, Found::At(relay)))
    }

    /// Whether there is a search with this number.
    pub(super) fn is_pending(&self, nonce: Nonce) -> bool {
        self.pending.contains_key(&nonce)
    }

    /// NATS reports that no relay has received the question with this count. Only the first report
    /// about the last question counts.
    pub(super) fn nobody(&mut self, now: Duration, nonce: Nonce, asked: u32) -> Option<Step> {
        let lookup = self.pending.get_mut(&nonce)?;
        if asked != lookup.asked || asked == lookup.missed {
            return None;
        }
        lookup.missed = asked;
        lookup.misses += 1;
        if lookup.misses >= MISSES_MAX {
            return Some(self.end(nonce, Found::Nowhere));
        }
        self.wait(nonce, now + CONFIRM_AFTER);
        None
    }

    /// There is no connection with NATS any more.
    pub(super) fn lost(&mut self) -> Vec<Step> {
        let all: Vec<Nonce> = self.pending.keys().copied().collect();
        let end = |nonce| self.end(nonce, Found::Unsure);
        all.into_iter().map(end).collect()
    }

    /// When [`Lookups::timeout`] has work.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Asks again where it is time, and ends the searches that were asked often enough.
    pub(super) fn timeout(&mut self, now: Duration) -> Vec<Step> {
        let mut steps = Vec::new();
        while let Some(&(_, nonce)) = self.due.first().filter(|(at, _)| *at <= now) {
            let lookup = self.pending.get_mut(&nonce).expect(IS_PENDING);
            if lookup.asked >= ASKED_MAX {
                steps.push(self.end(nonce, Found::Unsure));
                continue;
            }
            lookup.asked += 1;
            steps.push(Step::Ask(lookup.peer, nonce, lookup.asked));
            self.wait(nonce, now + ANSWER_LIMIT);
        }
        steps
    }

    fn wait(&mut self, nonce: Nonce, until: Duration) {
        let lookup = self.pending.get_mut(&nonce).expect(IS_PENDING);
        self.due.remove(&(lookup.due, nonce));
        lookup.due = until;
        self.due.insert((until, nonce));
    }

    fn end(&mut self, nonce: Nonce, found: Found) -> Step {
        let lookup = self.pending.remove(&nonce).expect(IS_PENDING);
        self.of.remove(&lookup.peer);
        self.due.remove(&(lookup.due, nonce));
        Step::Done(lookup.peer, lookup.askers, found)
    }
}

const IS_PENDING: &str = "the three maps have the same searches";

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);
    const ANN: ConnectionId = ConnectionId(1);
    const EVE: ConnectionId = ConnectionId(2);

    fn peer(n: usize) -> DeviceId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        DeviceId::from_bytes(bytes)
    }

    fn nonce(n: usize) -> Nonce {
        (n as u128).to_be_bytes()
    }

    fn searching() -> Lookups {
        let mut lookups = Lookups::default();
        let step = lookups.find(NOW, ANN, peer(1), nonce(1));
        assert_eq!(step, Some(Step::Ask(peer(1), nonce(1), 1)));
        lookups
    }

    fn is_over(lookups: &Lookups) -> bool {
        lookups.pending.is_empty() && lookups.of.is_empty() && lookups.due.is_empty()
    }

    #[test]
    fn an_answer_ends_the_search_for_all_who_ask() {
        let mut lookups = searching();
        assert_eq!(lookups.find(NOW, EVE, peer(1), nonce(2)), None);
        let done = Step::Done(peer(1), vec![ANN, EVE], Found::At(peer(9)));
        assert_eq!(lookups.answered(nonce(1), peer(1), peer(9)), Some(done));
        assert!(is_over(&lookups));
    }

    #[test]
    fn an_answer_to_another_question_is_ignored() {
        let mut lookups = searching();
        assert_eq!(lookups.answered(nonce(2), peer(1), peer(9)), None);
        assert_eq!(lookups.answered(nonce(1), peer(2), peer(9)), None);
        assert_eq!(lookups.nobody(NOW, nonce(2), 1), None);
        assert!(!is_over(&lookups));
        assert!(lookups.answered(nonce(1), peer(1), peer(9)).is_some());
        assert_eq!(
            lookups.answered(nonce(1), peer(1), peer(9)),
            None,
            "replayed"
        );
    }

    #[test]
    fn a_peer_is_nowhere_when_nobody_has_it_twice() {
        let mut lookups = searching();
        assert_eq!(lookups.nobody(NOW, nonce(1), 1), None);
        let again = NOW + CONFIRM_AFTER;
        assert_eq!(lookups.next_due(), Some(again));
        for asked in [1, 2] {
            let early = lookups.nobody(NOW, nonce(1), asked);
            assert_eq!(early, None, "a report repeated, or about no question");
        }
        assert_eq!(lookups.timeout(again), [Step::Ask(peer(1), nonce(1), 2)]);
        assert_eq!(lookups.nobody(again, nonce(1), 1), None, "a late report");
        let done = Step::Done(peer(1), vec![ANN], Found::Nowhere);
        assert_eq!(lookups.nobody(again, nonce(1), 2), Some(done));
        assert!(is_over(&lookups));
    }

    #[test]
    fn without_any_answer_the_relay_is_unsure() {
        let mut lookups = searching();
        let mut steps = Vec::new();
        while let Some(due) = lookups.next_due() {
            steps.extend(lookups.timeout(due));
        }
        let ask = |asked| Step::Ask(peer(1), nonce(1), asked);
        let done = Step::Done(peer(1), vec![ANN], Found::Unsure);
        assert_eq!(steps, [ask(2), ask(3), done]);
        let mut lookups = searching();
        let done = Step::Done(peer(1), vec![ANN], Found::Unsure);
        assert_eq!(lookups.lost(), [done]);
        assert!(is_over(&lookups));
    }

    #[test]
    fn a_flood_of_searches_is_answered_at_once() {
        let mut lookups = Lookups::default();
        for n in 0..LOOKUPS_MAX {
            assert!(matches!(
                lookups.find(NOW, ANN, peer(n), nonce(n)),
                Some(Step::Ask(..))
            ));
        }
        let n = LOOKUPS_MAX;
        let unsure = |n| Some(Step::Done(peer(n), vec![ANN], Found::Unsure));
        assert_eq!(lookups.find(NOW, ANN, peer(n), nonce(n)), unsure(n));
        for _ in 1..ASKERS_MAX {
            assert_eq!(lookups.find(NOW, ANN, peer(0), nonce(n)), None);
        }
        assert_eq!(lookups.find(NOW, ANN, peer(0), nonce(n)), unsure(0));
        assert_eq!(lookups.lost().len(), LOOKUPS_MAX);
    }
}
