//! The sentences for users that the relay sends when it ends or refuses a connection. They travel
//! as the reason beside the close code.

use crate::admission::Refusal;
use crate::core::{EndReason, LimitedAction};

const ADDRESS_BANNED: &str = "the relay's operator has banned the addresses of your network: ask them to lift the ban, or use another relay";

/// The sentence for a peer that is not admitted.
pub(super) fn refusal(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Banned => {
            "the relay's operator has banned this identity: ask them to lift the ban, or use another relay"
        }
        Refusal::AddressBanned => ADDRESS_BANNED,
        Refusal::ExpiredToken => {
            "your token for this relay has expired: ask its operator for the current one"
        }
        Refusal::NoToken => {
            "this relay requires a token: ask its operator for it, and name its file with --relay-token-file and the relay with --relay"
        }
        Refusal::WrongToken => {
            "this relay does not accept your token: ask its operator for the current one"
        }
        Refusal::NotListed => {
            "this relay admits only the peers on its operator's list: send the operator your id (hobnob id) and ask to be added"
        }
    }
}

/// The sentence for a reason of the core: what happened and what to do.
pub(super) fn end_reason(reason: &EndReason) -> String {
    match reason {
        EndReason::Replaced => "this identity has connected again, from this machine or another one, and only the newer connection counts. If a copy of this home runs on another machine, end one of the two".into(),
        EndReason::Silent => "the relay received nothing for too long".into(),
        EndReason::Kicked => "the relay's operator has disconnected you; you may connect again".into(),
        EndReason::Banned => "the relay's operator has banned this identity: ask them to lift the ban, or use another relay".into(),
        EndReason::AddressBanned => ADDRESS_BANNED.into(),
        EndReason::NotAdmitted => "the relay's operator has changed who may use it, and you are not admitted any more: ask them for a token, or to be added to their list".into(),
        EndReason::QuotaUsed(bytes) => format!("you have used your quota of today at this relay, {} MB: it is renewed at 00:00 UTC; use another relay until then", bytes.div_ceil(1_000_000)),
        EndReason::GuestOver => "this relay admits you for two minutes to accept an invitation, and they are over: ask its operator for a token".into(),
        EndReason::VisitOver => "you visited this relay for channels with its peers, and have none any more".into(),
        EndReason::Asleep => "this peer sleeps".into(),
        EndReason::Draining => "this relay is about to stop: try again later, or use another relay".into(),
        EndReason::RegisteredTwice => "this connection was already registered: register only once on each connection".into(),
        EndReason::Full(peers) => format!("this relay has {peers} peers, the maximum: try again later, or use another relay"),
        EndReason::MadeRoom => "this relay is full, and your network has the most peers here: try again later, or use another relay".to_owned(),
        EndReason::NetworkFull(peers) => format!("this relay has {peers} peers from one network, the maximum: try again later, or use another relay"),
        EndReason::RoomsFull | EndReason::TooManyRooms => "this relay has the maximum number of rooms: try again later, or use another relay".into(),
        EndReason::RegisteredTooOften(peer, pace) => format!(
            "{} registered too often: at most {} times at once, then once every {:?}; is one identity in use on two machines?",
            peer.short(),
            pace.burst,
            pace.every
        ),
        EndReason::TooOften(action, pace) => format!(
            "too many {}: this relay allows {} at once, then one every {:?}",
            plural(*action),
            pace.burst,
            pace.every
        ),
    }
}

fn plural(action: LimitedAction) -> &'static str {
    match action {
        LimitedAction::Frames => "frames",
        LimitedAction::Heartbeats => "heartbeats",
        LimitedAction::RoomChanges => "changes of rooms",
        LimitedAction::Opens => "requests for channels",
        LimitedAction::Moves => "changes of address",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Limits;

    #[test]
    fn a_limit_is_named_with_its_pace() {
        let pace = Limits::default().heartbeats;
        assert_eq!(
            end_reason(&EndReason::TooOften(LimitedAction::Heartbeats, pace)),
            "too many heartbeats: this relay allows 20 at once, then one every 2s"
        );
    }

    #[test]
    fn a_used_quota_is_named_with_its_size_and_end() {
        let text = end_reason(&EndReason::QuotaUsed(5_000_000_000));
        assert!(
            text.contains("5000 MB") && text.contains("00:00 UTC"),
            "{text}"
        );
    }

    #[test]
    fn the_operators_decisions_name_the_operator() {
        for reason in [EndReason::Kicked, EndReason::Banned] {
            assert!(end_reason(&reason).contains("operator"));
        }
    }
}
