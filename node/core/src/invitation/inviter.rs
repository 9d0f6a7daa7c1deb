//! The side that created codes.

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob_limits::Failures;
use hobnob_protocol::invitation::pake::{Confirmations, Ends, Exchange};
use hobnob_protocol::invitation::{
    CodeNumber, Confirmation, Element, INVITATION_SECONDS, InviteFrame, Refusal, Words,
};

use crate::SessionId;
use crate::source_network::SourceNetwork;

/// Maximum invitations that are open at once.
pub const INVITATIONS_MAX: usize = 16;

/// Maximum sessions that have begun an exchange for one code and not proved anything yet. Beyond, the
/// oldest begins again.
const EXCHANGES_MAX: usize = 8;

/// Wrong numbers that one network may name in [`GUESS_WINDOW`].
pub const WRONG_NUMBERS_MAX: u32 = 5;

/// The time in which wrong numbers are counted.
pub const GUESS_WINDOW: Duration = Duration::from_secs(60 * 60);

/// Networks whose wrong numbers are counted.
const NETWORKS_MAX: usize = 1_024;

/// The invitations that this node's user has open.
#[derive(Debug)]
pub struct Invitations {
    open: BTreeMap<CodeNumber, Invitation>,
    /// Sessions whose peers have proved that they know a code, and have not introduced themselves.
    welcomed: BTreeMap<SessionId, CodeNumber>,
    wrong_numbers: Failures<SourceNetwork>,
}

#[derive(Debug)]
struct Invitation {
    words: Words,
    until: Duration,
    exchanges: BTreeMap<SessionId, Confirmations>,
}

/// There are [`INVITATIONS_MAX`] invitations already, or the number is in use.
#[derive(Debug, PartialEq, Eq)]
pub struct TooMany;

/// A question for an invitation, with what the caller knows of the session.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// The session.
    pub session: SessionId,
    /// The network of its peer.
    pub network: SourceNetwork,
    /// Both ends of the session.
    pub ends: Ends,
    /// A secret of its TLS connection.
    pub exporter: [u8; 32],
    /// Random, and used once.
    pub seed: [u8; 32],
}

/// The result of an accepter's proof.
#[derive(Debug, PartialEq, Eq)]
pub enum GuessVerdict {
    /// The peer knows the words. The code is used. This is the proof for the peer.
    Right(Confirmation),
    /// The words were wrong. The code is dead.
    Wrong,
    /// The session has begun no exchange for this code.
    NotAsked,
}

impl Default for Invitations {
    fn default() -> Self {
        Self {
            open: BTreeMap::new(),
            welcomed: BTreeMap::new(),
            wrong_numbers: Failures::new(WRONG_NUMBERS_MAX, GUESS_WINDOW, NETWORKS_MAX),
        }
    }
}

impl Invitations {
    /// The user invites somebody with this code.
    pub fn invite(
        &mut self,
        now: Duration,
        number: CodeNumber,
        words: Words,
    ) -> Result<(), TooMany> {
        if self.open.len() >= INVITATIONS_MAX || self.open.contains_key(&number) {
            return Err(TooMany);
        }
        let invitation = Invitation {
            words,
            until: now + Duration::from_secs(INVITATION_SECONDS),
            exchanges: BTreeMap::new(),
        };
        self.open.insert(number, invitation);
        Ok(())
    }

    /// The open codes.
    pub fn numbers(&self) -> impl Iterator<Item = CodeNumber> {
        self.open.keys().copied()
    }

    /// Answers the question for an invitation.
    pub fn asked(
        &mut self,
        now: Duration,
        number: CodeNumber,
        theirs: &Element,
        ask: Question,
    ) -> InviteFrame {
        let no = |why| InviteFrame::No(number, why);
        if !self.wrong_numbers.may_try(now, ask.network) {
            return no(Refusal::TooOften);
        }
        let open = self.open.get_mut(&number).filter(|it| now < it.until);
        let Some(invitation) = open else {
            self.wrong_numbers.add(now, ask.network);
            return no(Refusal::NotHere);
        };
        let Some(exchange) = Exchange::invite(number, &invitation.words, ask.ends, ask.seed) else {
            return no(Refusal::NotHere);
        };
        let element = exchange.element();
        let Some(confirmations) = exchange.finish(theirs, &ask.exporter) else {
            return no(Refusal::Wrong);
        };
        // A session that asks again begins anew. Nothing of the words was shown so far.
        let exchanges = &mut invitation.exchanges;
        if exchanges.len() >= EXCHANGES_MAX && !exchanges.contains_key(&ask.session) {
            exchanges.pop_first();
        }
        exchanges.insert(ask.session, confirmations);
        InviteFrame::Answer(number, element)
    }

    /// Judges an accepter's proof. Each code has one guess: whatever the verdict, it ends, unless
    /// the session has begun no exchange.
    pub fn confirmed(
        &mut self,
        now: Duration,
        session: SessionId,
        number: CodeNumber,
        proof: &Confirmation,
    ) -> GuessVerdict {
        let open = self.open.get_mut(&number).filter(|it| now < it.until);
        let begun = open.and_then(|invitation| invitation.exchanges.remove(&session));
        let Some(confirmations) = begun else {
            return GuessVerdict::NotAsked;
        };
        self.open.remove(&number);
        if confirmations.verify(proof) {
            self.welcomed.insert(session, number);
            GuessVerdict::Right(confirmations.ours())
        } else {
            GuessVerdict::Wrong
        }
    }

    /// A peer introduces itself. Returns whether it has proved that it knows the code.
    pub fn thanked(&mut self, session: SessionId, number: CodeNumber) -> bool {
        let is_welcomed = self.welcomed.get(&session) == Some(&number);
        if is_welcomed {
            self.welcomed.remove(&session);
        }
        is_welcomed
    }

    /// A session has ended.
    pub fn session_down(&mut self, session: SessionId) {
        self.welcomed.remove(&session);
        for invitation in self.open.values_mut() {
            invitation.exchanges.remove(&session);
        }
    }

    /// When the next invitation expires.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.open.values().map(|invitation| invitation.until).min()
    }

    /// Removes the codes that have expired by now, and returns them.
    pub fn time_out(&mut self, now: Duration) -> Vec<CodeNumber> {
        let expired = self.open.iter().filter(|(_, it)| it.until <= now);
        let expired: Vec<_> = expired.map(|(number, _)| *number).collect();
        for number in &expired {
            self.open.remove(number);
        }
        expired
    }
}
