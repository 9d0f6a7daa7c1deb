//! The side whose user typed a code.

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob_protocol::DeviceId;
use hobnob_protocol::invitation::pake::{Confirmations, Ends, Exchange};
use hobnob_protocol::invitation::{CodeNumber, Confirmation, Element, InviteFrame, Refusal, Words};

use crate::SessionId;

/// How long an accepter looks for the inviter.
const LOOK_FOR: Duration = Duration::from_secs(20);

/// Maximum peers that are asked for one code.
const ASKED_MAX: usize = 256;

/// The attempt to accept an invitation. It ends with the first proof: a code has one guess.
#[derive(Debug)]
pub struct Accepting {
    number: CodeNumber,
    words: Words,
    until: Duration,
    asked: BTreeMap<SessionId, Asked>,
    /// The session to which this node has proved that it knows the words, and the proof that the
    /// peer must show.
    proved: Option<(SessionId, Confirmations)>,
}

/// A peer that was asked.
#[derive(Debug)]
struct Asked {
    exchange: Exchange,
    exporter: [u8; 32],
}

/// The consequence of a peer's frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this frame to the peer.
    Send(InviteFrame),
    /// The peer knows the words.
    Verified,
    /// The words were wrong, at one end or the other. The code is dead.
    Wrong,
    /// The peer answers no more numbers of this network for a while.
    TooOften,
    /// The frame changes nothing: it belongs to no exchange of this attempt.
    Nothing,
}

impl Accepting {
    /// The user has typed a code.
    pub fn new(now: Duration, number: CodeNumber, words: Words) -> Self {
        Self {
            number,
            words,
            until: now + LOOK_FOR,
            asked: BTreeMap::new(),
            proved: None,
        }
    }

    /// The number of the code.
    pub fn number(&self) -> CodeNumber {
        self.number
    }

    /// Whether a peer was asked that has not answered.
    pub fn is_waiting(&self) -> bool {
        !self.asked.is_empty() || self.has_proved()
    }

    /// Whether a peer has seen this node's proof, so that the guess is used.
    pub fn has_proved(&self) -> bool {
        self.proved.is_some()
    }

    /// When the attempt ends.
    pub fn until(&self) -> Duration {
        self.until
    }

    /// Asks a peer for the invitation. Returns nothing if it was asked before, or if this attempt
    /// asks nobody any more. The seed must be random and used once.
    pub fn ask(
        &mut self,
        session: SessionId,
        me: DeviceId,
        peer: DeviceId,
        exporter: [u8; 32],
        seed: [u8; 32],
    ) -> Option<InviteFrame> {
        let is_asked = self.asked.contains_key(&session) || self.asked.len() >= ASKED_MAX;
        if is_asked || self.proved.is_some() {
            return None;
        }
        let ends = Ends {
            inviter: peer,
            accepter: me,
        };
        let exchange = Exchange::accept(self.number, &self.words, ends, seed)?;
        let frame = InviteFrame::Ask(self.number, exchange.element());
        self.asked.insert(session, Asked { exchange, exporter });
        Some(frame)
    }

    /// A peer has an invitation of this number. The first one gets the only guess.
    pub fn answered(&mut self, session: SessionId, number: CodeNumber, theirs: &Element) -> Step {
        if number != self.number || self.proved.is_some() {
            return Step::Nothing;
        }
        let Some(asked) = self.asked.remove(&session) else {
            return Step::Nothing;
        };
        let Some(confirmations) = asked.exchange.finish(theirs, &asked.exporter) else {
            return Step::Wrong;
        };
        let proof = confirmations.ours();
        self.proved = Some((session, confirmations));
        Step::Send(InviteFrame::Confirm(number, proof))
    }

    /// A peer claims to have verified this node's proof, and shows its own.
    pub fn welcomed(&self, session: SessionId, number: CodeNumber, proof: &Confirmation) -> Step {
        match &self.proved {
            Some((proved, theirs)) if *proved == session && number == self.number => {
                if theirs.verify(proof) {
                    Step::Verified
                } else {
                    Step::Wrong
                }
            }
            Some(_) | None => Step::Nothing,
        }
    }

    /// A peer refuses.
    pub fn refused(&mut self, session: SessionId, number: CodeNumber, why: Refusal) -> Step {
        if number != self.number {
            return Step::Nothing;
        }
        let had_proof = self.proved.as_ref().is_some_and(|(to, _)| *to == session);
        let was_asked = self.asked.remove(&session).is_some();
        match why {
            Refusal::TooOften if was_asked => Step::TooOften,
            // Only the peer that has seen the proof can know that it is wrong.
            Refusal::Wrong if had_proof => Step::Wrong,
            Refusal::NotHere | Refusal::Wrong | Refusal::TooOften | Refusal::Unknown(_) => {
                Step::Nothing
            }
        }
    }

    /// A session has ended. Returns whether the code is lost with it: its guess is used.
    pub fn session_down(&mut self, session: SessionId) -> bool {
        self.asked.remove(&session);
        self.proved.as_ref().is_some_and(|(to, _)| *to == session)
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::invitation::{INVITATION_SECONDS, InviteFrame::*};

    use super::*;
    use crate::invitation::{GUESS_WINDOW, INVITATIONS_MAX, Invitations, Question};
    use crate::invitation::{GuessVerdict, TooMany, WRONG_NUMBERS_MAX};
    use crate::source_network::SourceNetwork;

    const NOW: Duration = Duration::from_secs(100);
    const SESSION: SessionId = SessionId(1);

    fn peer(n: u8) -> DeviceId {
        DeviceId::from_bytes([n; 32])
    }

    fn number(n: u64) -> CodeNumber {
        CodeNumber::random(n)
    }

    fn words(n: u64) -> Words {
        let mut seed = [0; 32];
        // The words are the first 33 bits.
        seed[..8].copy_from_slice(&(n << 31).to_be_bytes());
        Words::random(&seed)
    }

    fn inviter() -> Invitations {
        let mut inviter = Invitations::default();
        assert_eq!(inviter.invite(NOW, number(1), words(1)), Ok(()));
        inviter
    }

    fn question(session: SessionId) -> Question {
        Question {
            session,
            network: SourceNetwork(session.0),
            ends: Ends {
                inviter: peer(1),
                accepter: peer(2),
            },
            exporter: [5; 32],
            seed: [6; 32],
        }
    }

    fn ask(accepter: &mut Accepting, session: SessionId) -> (CodeNumber, Element) {
        match accepter.ask(session, peer(2), peer(1), [5; 32], [7; 32]) {
            Some(Ask(number, element)) => (number, element),
            other => panic!("{other:?}"),
        }
    }

    /// The accepter's proof for a code of these words, and the accepter.
    fn proof_for(
        inviter: &mut Invitations,
        now: Duration,
        n: u64,
    ) -> Option<(Accepting, Confirmation)> {
        let mut accepter = Accepting::new(now, number(1), words(n));
        let (number, element) = ask(&mut accepter, SESSION);
        let Answer(_, element) = inviter.asked(now, number, &element, question(SESSION)) else {
            return None;
        };
        let step = accepter.answered(SESSION, number, &element);
        let Step::Send(Confirm(_, proof)) = step else {
            panic!("{step:?}")
        };
        Some((accepter, proof))
    }

    #[test]
    fn the_right_words_verify_both_ends_once() {
        let mut inviter = inviter();
        let (accepter, proof) = proof_for(&mut inviter, NOW, 1).expect("the code is open");
        let GuessVerdict::Right(theirs) = inviter.confirmed(NOW, SESSION, number(1), &proof) else {
            panic!("the words are right")
        };
        assert_eq!(
            accepter.welcomed(SESSION, number(1), &theirs),
            Step::Verified
        );
        assert!(inviter.thanked(SESSION, number(1)));
        assert!(!inviter.thanked(SESSION, number(1)));
        // The code is used.
        assert!(proof_for(&mut inviter, NOW, 1).is_none());
    }

    #[test]
    fn one_wrong_guess_kills_the_code() {
        let mut inviter = inviter();
        let (mut accepter, wrong) = proof_for(&mut inviter, NOW, 2).expect("the code is open");
        assert_eq!(
            inviter.confirmed(NOW, SESSION, number(1), &wrong),
            GuessVerdict::Wrong
        );
        assert_eq!(
            accepter.refused(SESSION, number(1), Refusal::Wrong),
            Step::Wrong
        );
        assert_eq!(inviter.numbers().count(), 0);
        assert!(proof_for(&mut inviter, NOW, 1).is_none());
    }

    #[test]
    fn a_false_inviter_verifies_nobody() {
        let mut inviter = inviter();
        let (mut accepter, _) = proof_for(&mut inviter, NOW, 1).expect("the code is open");
        assert_eq!(accepter.welcomed(SESSION, number(1), &[0; 32]), Step::Wrong);
        assert!(
            accepter
                .ask(SessionId(9), peer(2), peer(3), [5; 32], [8; 32])
                .is_none()
        );
        assert!(accepter.session_down(SESSION), "the guess is used");
    }

    #[test]
    fn a_code_expires_after_ten_minutes() {
        let mut inviter = inviter();
        let end = NOW + Duration::from_secs(INVITATION_SECONDS);
        let (_, proof) =
            proof_for(&mut inviter, end - Duration::from_nanos(1), 1).expect("still open");
        assert_eq!(inviter.poll_timeout(), Some(end));
        assert_eq!(
            inviter.confirmed(end, SESSION, number(1), &proof),
            GuessVerdict::NotAsked
        );
        assert!(proof_for(&mut inviter, end, 1).is_none());
        assert_eq!(inviter.time_out(end), [number(1)]);
        assert_eq!(inviter.poll_timeout(), None);
    }

    #[test]
    fn ten_thousand_guesses_open_nothing() {
        let mut inviter = inviter();
        for guess in 0..10_000 {
            // A patient attacker has any number of networks, and the user makes a new code after
            // each dead one.
            if inviter.numbers().next().is_none() {
                assert_eq!(inviter.invite(NOW, number(1), words(1)), Ok(()));
            }
            let (_, wrong) = proof_for(&mut inviter, NOW, 2 + guess).expect("the code is open");
            let verdict = inviter.confirmed(NOW, SESSION, number(1), &wrong);
            assert_eq!(verdict, GuessVerdict::Wrong, "guess {guess}");
        }
    }

    #[test]
    fn wrong_numbers_are_limited_for_each_network() {
        let mut inviter = inviter();
        let mut name = |now, n, session| {
            let frame = inviter.asked(now, number(n), &[1; 32], question(SessionId(session)));
            let No(_, why) = frame else { return None };
            Some(why)
        };
        for n in 0..WRONG_NUMBERS_MAX {
            assert_eq!(name(NOW, 100 + u64::from(n), 1), Some(Refusal::NotHere));
        }
        assert_eq!(name(NOW, 1, 1), Some(Refusal::TooOften));
        assert_eq!(name(NOW, 200, 2), Some(Refusal::NotHere), "another network");
        let later = NOW + GUESS_WINDOW;
        assert_eq!(name(later, 200, 1), Some(Refusal::NotHere));
    }

    #[test]
    fn invitations_and_exchanges_have_limits() {
        let mut inviter = Invitations::default();
        for n in 0..u64::try_from(INVITATIONS_MAX).expect("few") {
            assert_eq!(inviter.invite(NOW, number(n), words(n)), Ok(()));
        }
        assert_eq!(inviter.invite(NOW, number(99), words(1)), Err(TooMany));
        let mut accepter = Accepting::new(NOW, number(1), words(1));
        let (number, element) = ask(&mut accepter, SESSION);
        for session in 1..100 {
            inviter.asked(NOW, number, &element, question(SessionId(session)));
        }
        // The first one has to ask again.
        assert_eq!(
            inviter.confirmed(NOW, SESSION, number, &[0; 32]),
            GuessVerdict::NotAsked
        );
    }

    #[test]
    fn only_the_first_peer_that_answers_gets_a_proof() {
        let mut inviter = inviter();
        let mut accepter = Accepting::new(NOW, number(1), words(1));
        let (number, element) = ask(&mut accepter, SESSION);
        ask(&mut accepter, SessionId(2));
        let Answer(_, answer) = inviter.asked(NOW, number, &element, question(SESSION)) else {
            panic!("the code is open")
        };
        let first = accepter.answered(SESSION, number, &answer);
        assert!(matches!(first, Step::Send(Confirm(..))));
        assert_eq!(
            accepter.answered(SessionId(2), number, &answer),
            Step::Nothing
        );
    }
}
