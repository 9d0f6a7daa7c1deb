//! Introductions of two contacts to each other: those that this node makes, and those that contacts
//! have proposed to it.
//!
//! The messages and their effects on other parts are in `events`.

mod events;

use std::collections::BTreeMap;
use std::fmt::Write;

use hobnob_protocol::PersonId;

/// The setting that holds all introductions.
const INTRODUCTIONS_SETTING: &str = "introductions";

/// Maximum introductions of this node that wait for an answer. Beyond, the one with the lowest
/// number is forgotten: numbers are random.
const OWN_MAX: usize = 64;

/// Maximum proposals of one contact, and of all, that wait for the user. Further ones are ignored.
const PROPOSALS_PER_PEER_MAX: usize = 8;
const PROPOSALS_MAX: usize = 64;

/// The introductions of a node.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Introductions {
    own: BTreeMap<u64, Own>,
    /// By introducer and number.
    proposals: BTreeMap<(PersonId, u64), Proposal>,
}

/// An introduction that this node makes.
#[derive(Debug, PartialEq, Eq)]
struct Own {
    /// The two contacts, and whether each has accepted.
    ends: [(PersonId, bool); 2],
}

/// An introduction that a contact has proposed.
#[derive(Debug, PartialEq, Eq)]
struct Proposal {
    other: PersonId,
    accepted: bool,
}

impl Introductions {
    /// Starts with what an earlier run stored. Damaged lines are left out.
    pub(crate) fn restore(settings: &BTreeMap<String, String>) -> Self {
        Self::of_text(settings.get(INTRODUCTIONS_SETTING))
    }

    fn of_text(text: Option<&String>) -> Self {
        let mut all = Self::default();
        for line in text.map_or("", String::as_str).lines() {
            all.restore_line(line);
        }
        all
    }

    fn restore_line(&mut self, line: &str) -> Option<()> {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["own", number, one, one_accepts, other, other_accepts] => {
                let one = (one.parse().ok()?, one_accepts == "yes");
                let other = (other.parse().ok()?, other_accepts == "yes");
                let ends = [one, other];
                self.own.insert(number.parse().ok()?, Own { ends });
            }
            ["proposal", introducer, number, other, accepted] => {
                let key = (introducer.parse().ok()?, number.parse().ok()?);
                let proposal = Proposal {
                    other: other.parse().ok()?,
                    accepted: accepted == "yes",
                };
                self.proposals.insert(key, proposal);
            }
            _ => {}
        }
        Some(())
    }

    /// The text for the store.
    fn text(&self) -> String {
        let yes = |accepted: bool| if accepted { "yes" } else { "no" };
        let mut text = String::new();
        for (
            number,
            Own {
                ends: [(one, a), (other, b)],
            },
        ) in &self.own
        {
            let (a, b) = (yes(*a), yes(*b));
            let line = writeln!(text, "own {number} {one} {a} {other} {b}");
            line.expect("a string takes any text");
        }
        for ((introducer, number), Proposal { other, accepted }) in &self.proposals {
            let accepted = yes(*accepted);
            let line = writeln!(text, "proposal {introducer} {number} {other} {accepted}");
            line.expect("a string takes any text");
        }
        text
    }

    /// The user introduces two contacts.
    fn introduce(&mut self, number: u64, ends: [PersonId; 2]) {
        if self.own.len() >= OWN_MAX {
            self.own.pop_first();
        }
        let ends = ends.map(|peer| (peer, false));
        self.own.insert(number, Own { ends });
    }

    /// A contact accepts an introduction of this node. Returns both, if it was the second one.
    fn accepted_by(&mut self, number: u64, peer: PersonId) -> Option<[PersonId; 2]> {
        let own = self.own.get_mut(&number)?;
        let end = own.ends.iter_mut().find(|(end, _)| *end == peer)?;
        end.1 = true;
        if own.ends.iter().all(|(_, accepted)| *accepted) {
            let own = self.own.remove(&number)?;
            return Some(own.ends.map(|(peer, _)| peer));
        }
        None
    }

    /// A contact proposes an introduction. Returns whether it is new and fits.
    fn propose(&mut self, introducer: PersonId, number: u64, other: PersonId) -> bool {
        let mut others = self.proposals.iter();
        let is_known = others.any(|((by, _), it)| *by == introducer && it.other == other);
        let of_peer = self.proposals.keys().filter(|(by, _)| *by == introducer);
        let is_full =
            self.proposals.len() >= PROPOSALS_MAX || of_peer.count() >= PROPOSALS_PER_PEER_MAX;
        if is_known || is_full {
            return false;
        }
        let proposal = Proposal {
            other,
            accepted: false,
        };
        self.proposals.insert((introducer, number), proposal);
        true
    }

    /// The user accepts a peer as a contact. Returns the introductions that proposed it.
    fn accept(&mut self, other: PersonId) -> Vec<(PersonId, u64)> {
        let proposals = self.proposals.iter_mut();
        let new = proposals.filter(|(_, it)| it.other == other && !it.accepted);
        new.map(|(key, proposal)| {
            proposal.accepted = true;
            *key
        })
        .collect()
    }

    /// Both peers of an introduction have accepted. Returns the other one, if the user has.
    fn meet(&mut self, introducer: PersonId, number: u64) -> Option<PersonId> {
        let key = (introducer, number);
        self.proposals.get(&key).filter(|it| it.accepted)?;
        self.proposals.remove(&key).map(|proposal| proposal.other)
    }

    /// A peer is not a contact any more: its proposals are dropped. Returns whether there were any.
    fn forget(&mut self, peer: PersonId) -> bool {
        let before = self.proposals.len();
        self.proposals
            .retain(|(introducer, _), it| *introducer != peer && it.other != peer);
        self.proposals.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: PersonId = PersonId::from_bytes([1; 32]);
    const BOB: PersonId = PersonId::from_bytes([2; 32]);
    const CAROL: PersonId = PersonId::from_bytes([3; 32]);

    #[test]
    fn two_contacts_meet_when_both_have_accepted() {
        let mut ann = Introductions::default();
        ann.introduce(7, [BOB, CAROL]);
        assert_eq!(ann.accepted_by(7, BOB), None);
        assert_eq!(ann.accepted_by(7, BOB), None, "once more");
        assert_eq!(ann.accepted_by(7, ANN), None, "it was not asked");
        assert_eq!(ann.accepted_by(7, CAROL), Some([BOB, CAROL]));
        assert_eq!(ann.accepted_by(7, CAROL), None, "it is over");
    }

    #[test]
    fn a_peer_meets_only_whom_its_user_has_accepted() {
        let mut bob = Introductions::default();
        assert!(bob.propose(ANN, 7, CAROL));
        assert_eq!(bob.meet(ANN, 7), None);
        assert_eq!(bob.accept(ANN), []);
        assert_eq!(bob.accept(CAROL), [(ANN, 7)]);
        assert_eq!(bob.accept(CAROL), [], "once more");
        assert_eq!(bob.meet(CAROL, 7), None, "another introducer");
        assert_eq!(bob.meet(ANN, 7), Some(CAROL));
        assert_eq!(bob.meet(ANN, 7), None);
    }

    #[test]
    fn introductions_survive_a_restart() {
        let mut all = Introductions::default();
        all.introduce(7, [BOB, CAROL]);
        all.accepted_by(7, BOB);
        all.propose(CAROL, 8, BOB);
        all.accept(BOB);
        let text = all.text();
        assert_eq!(Introductions::of_text(Some(&text)), all);
        let damaged = format!("own x y\n{text}garbage\n");
        assert_eq!(Introductions::of_text(Some(&damaged)), all);
        assert_eq!(Introductions::of_text(None), Introductions::default());
    }

    #[test]
    fn proposals_have_limits_and_end_with_the_contact() {
        let mut bob = Introductions::default();
        let proposed = (0..100).filter(|n| {
            let other = PersonId::from_bytes([u8::try_from(100 + n).expect("few"); 32]);
            bob.propose(ANN, *n, other)
        });
        assert_eq!(proposed.count(), PROPOSALS_PER_PEER_MAX);
        assert!(bob.forget(ANN) && !bob.forget(ANN));
        assert!(bob.propose(ANN, 1, CAROL));
        assert!(!bob.propose(ANN, 2, CAROL), "the same peer");
    }
}
