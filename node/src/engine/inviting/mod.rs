//! Invitations by code: the open ones of this node, the users who wait for them, and the code that
//! the user is accepting.
//!
//! The rules are in [`hobnob_core::invitation`]; the frames and their effects on other parts are in
//! `events`.

mod events;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use hobnob_core::SessionId;
use hobnob_core::invitation::{Accepting, INVITATIONS_MAX, Invitations};
use hobnob_protocol::invitation::{CodeNumber, InviteCode, SharedRelay};
use hobnob_protocol::{DeviceId, RoomTarget};
use tokio::sync::oneshot;

use crate::api::{AcceptedInvitation, InvitationEnd};
use crate::error::InviteError;
use crate::net::channels::RelayId;

/// An accepter looks at least this long for an inviter on its links.
const LOOK_AT_LEAST: Duration = Duration::from_secs(5);

/// The reply to the user who accepts an invitation.
pub(crate) type AcceptReply = oneshot::Sender<Result<AcceptedInvitation, InviteError>>;

/// The invitations of a node.
#[derive(Debug, Default)]
pub(super) struct Inviting {
    pub(super) open: Invitations,
    /// The rooms to which codes invite.
    rooms: BTreeMap<CodeNumber, RoomTarget>,
    /// The relays that codes share.
    relays: BTreeMap<CodeNumber, SharedRelay>,
    ends: EndedInvitations,
    accepting: Option<Attempt>,
}

impl Inviting {
    /// When the next invitation expires, or the attempt to accept one ends.
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        let attempt = self.accepting.as_ref().map(Attempt::poll_timeout);
        [self.open.poll_timeout(), attempt]
            .into_iter()
            .flatten()
            .min()
    }
}

/// The attempt to accept a code.
#[derive(Debug)]
struct Attempt {
    accepting: Accepting,
    began: Duration,
    /// Peers that relays named for the number. Peers on a link of this machine are asked, too.
    named: BTreeSet<DeviceId>,
    /// Relays that have not answered yet.
    relays: BTreeSet<RelayId>,
    /// A relay or a peer answers no more numbers of this network for a while.
    too_often: bool,
    /// A relay that a peer shares, in this session. It counts once that peer has proved that it is
    /// the inviter.
    relay: Option<(SessionId, SharedRelay)>,
    reply: AcceptReply,
}

impl Attempt {
    fn new(
        now: Duration,
        code: &InviteCode,
        relays: BTreeSet<RelayId>,
        reply: AcceptReply,
    ) -> Self {
        Self {
            accepting: Accepting::new(now, code.number, code.words),
            began: now,
            named: BTreeSet::new(),
            relays,
            too_often: false,
            relay: None,
            reply,
        }
    }

    /// Whether nobody is left who could have the invitation.
    fn is_hopeless(&self) -> bool {
        self.relays.is_empty() && self.named.is_empty() && !self.accepting.is_waiting()
    }

    fn poll_timeout(&self) -> Duration {
        let until = self.accepting.until();
        if self.is_hopeless() {
            until.min(self.began + LOOK_AT_LEAST)
        } else {
            until
        }
    }

    /// Why the attempt ends when its time is over.
    fn failure(&self) -> InviteError {
        if self.accepting.has_proved() {
            InviteError::Lost
        } else if self.too_often {
            InviteError::TooOften
        } else {
            InviteError::NotFound(self.accepting.number())
        }
    }
}

/// How the last invitations ended, and the users who wait for that.
#[derive(Debug, Default)]
struct EndedInvitations {
    ended: VecDeque<(CodeNumber, InvitationEnd)>,
    waiting: Vec<(
        CodeNumber,
        oneshot::Sender<Result<InvitationEnd, InviteError>>,
    )>,
}

impl EndedInvitations {
    /// A user waits for the end of an invitation. `is_open`: it has not ended.
    fn wait(
        &mut self,
        number: CodeNumber,
        is_open: bool,
        reply: oneshot::Sender<Result<InvitationEnd, InviteError>>,
    ) {
        // Callers may give up. Without this their senders would collect.
        self.waiting.retain(|(_, reply)| !reply.is_closed());
        let ended = self.ended.iter().rev().find(|(of, _)| *of == number);
        match ended {
            _ if is_open => self.waiting.push((number, reply)),
            Some((_, end)) => drop(reply.send(Ok(end.clone()))),
            None => drop(reply.send(Err(InviteError::NoSuchInvitation(number)))),
        }
    }

    fn end(&mut self, number: CodeNumber, end: &InvitationEnd) {
        for (_, reply) in self.waiting.extract_if(.., |(of, _)| *of == number) {
            let _ = reply.send(Ok(end.clone()));
        }
        if self.ended.len() >= INVITATIONS_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back((number, end.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(n: u64) -> CodeNumber {
        CodeNumber::random(n)
    }

    fn attempt(relays: &[u32]) -> Attempt {
        let code = "481593-maple-violin-stone".parse().expect("a code");
        let relays = relays.iter().map(|relay| RelayId(*relay)).collect();
        Attempt::new(Duration::ZERO, &code, relays, oneshot::channel().0)
    }

    #[test]
    fn who_waits_for_an_invitation_learns_its_end() {
        let mut ends = EndedInvitations::default();
        let [(early, mut before), (late, mut after), (wrong, mut unknown)] =
            [oneshot::channel(), oneshot::channel(), oneshot::channel()];
        ends.wait(number(1), true, early);
        ends.end(number(1), &InvitationEnd::Expired);
        assert_eq!(before.try_recv(), Ok(Ok(InvitationEnd::Expired)));
        ends.wait(number(1), false, late);
        assert_eq!(after.try_recv(), Ok(Ok(InvitationEnd::Expired)));
        ends.wait(number(2), false, wrong);
        assert_eq!(
            unknown.try_recv(),
            Ok(Err(InviteError::NoSuchInvitation(number(2))))
        );
        for n in 0..100 {
            ends.end(number(n), &InvitationEnd::Wrong);
        }
        assert_eq!(ends.ended.len(), INVITATIONS_MAX);
    }

    #[test]
    fn an_attempt_ends_early_when_nobody_is_left_to_ask() {
        let mut attempt = attempt(&[1]);
        assert_eq!(attempt.poll_timeout(), attempt.accepting.until());
        attempt.relays.clear();
        assert_eq!(attempt.poll_timeout(), LOOK_AT_LEAST);
        assert_eq!(attempt.failure(), InviteError::NotFound(number(481_593)));
        attempt.too_often = true;
        assert_eq!(attempt.failure(), InviteError::TooOften);
    }
}
