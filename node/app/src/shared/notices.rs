//! Notices as sentences: what happened, and what to do.

use hobnob::protocol::text::visible;
use hobnob::{Carrier, CopyEvidence, DenyReason, MailRefusal, Notice, NoticeReason};
use hobnob_local::output::count_u64;

use super::mail_refusal;
use super::values::time_span;

/// A notice in one or two sentences, safe to print.
pub(crate) fn words(notice: &Notice) -> String {
    let text = match &notice.reason {
        NoticeReason::OwnEntriesRestored { name, count } => format!(
            "{name} returned {} that this node wrote but does not have: this home is an older \
             copy, such as a backup. What came back is in the history again.",
            count_u64(*count, "message")
        ),
        NoticeReason::IdentityCopied(evidence) => copied(evidence),
        NoticeReason::Conflict { name } => format!(
            "{name} sent messages that contradict earlier ones of the same author. They were \
             rejected."
        ),
        NoticeReason::StoreError { why } => format!(
            "Messages cannot be stored: {why}. Nothing is acknowledged until they can be stored \
             again."
        ),
        NoticeReason::StoreRecovered {} => "Messages can be stored again.".to_owned(),
        NoticeReason::DatabaseDamaged {} => "A part of the database is damaged. The messages there are \
             not shown. Restart hobnob: it drops them, and peers that have them send them again. Then \
             check the disk."
            .to_owned(),
        NoticeReason::DatabaseRepaired { lost } => format!(
            "The database was damaged. Messages that were dropped: {lost}. Peers that have them send \
             them again. Check the disk, and make a backup."
        ),
        NoticeReason::BackupFailed { why } => {
            format!("No automatic backup was made: {why}. The node tries again.")
        }
        NoticeReason::BackupMade {} => "An automatic backup was made again.".to_owned(),
        NoticeReason::Clock { name, ahead_ms } => clock(name, *ahead_ms),
        NoticeReason::NoDiscovery { why } => why.clone(),
        NoticeReason::TurnedAway { name, reason } => turned_away(name, *reason),
        NoticeReason::RequestFull { name } => {
            let id = notice.peer.map(|peer| peer.short()).unwrap_or_default();
            format!(
                "{name} has more messages for you. They wait at {name} until you accept: answer, \
                 or run `hobnob contacts accept {id}`."
            )
        }
        NoticeReason::MailRefused { name, reason } => mail_refused(name, *reason),
        NoticeReason::InvitationAccepted { name } => {
            format!("{name} has accepted your invitation, and is a verified contact now.")
        }
        NoticeReason::Introduction { name, introducer } => {
            let id = notice.peer.map(|peer| peer.short()).unwrap_or_default();
            format!(
                "{introducer} wants to introduce {name} ({id}) to you. To accept, run `hobnob \
                 contacts accept {id}`. You are contacts once {name} accepts, too."
            )
        }
        NoticeReason::Introduced { name } => {
            format!("{name} has accepted, too: you are contacts now.")
        }
        NoticeReason::InvitationWrong { code_number } => format!(
            "Somebody typed wrong words for your invitation {code_number}, so its code is dead. Make a \
             new one with `hobnob invite`."
        ),
        NoticeReason::PlacesFull {} => {
            "So many peers are connected that newcomers are refused, unless they are your \
             contacts. Nothing of your contacts is affected: accept the peers you know (`hobnob \
             contacts accept NAME`)."
                .to_owned()
        }
        NoticeReason::RoomFull { room } => format!(
            "The room {room} is full: messages of those who send most are dropped or refused there. \
             A room with a key keeps others out (`hobnob room create NAME`), and takes the messages \
             of your contacts last of all."
        ),
        NoticeReason::VerifiedName { name, verified } => {
            let key = verified.short();
            let other = notice.peer.map(|peer| peer.short()).unwrap_or_default();
            format!(
                "Another peer uses the name {name}, but you have verified {name} with the key \
                 {key}. Its key is {other}. The connection was refused, and nothing was sent. If \
                 {name} has a new key, compare the safety number over the telephone (`hobnob \
                 verify {other}`), then run `hobnob verify {other} --confirm`."
            )
        }
        NoticeReason::RelayUp {
            relay,
            id,
            observed,
            carrier: Carrier::Tcp,
        } => format!(
            "Registered with the relay at {relay} ({}) over TCP, because UDP is blocked. It sees this node at {}.",
            id.short(),
            observed.ip()
        ),
        NoticeReason::RelayUp {
            relay,
            id,
            observed,
            carrier: Carrier::Udp,
        } => format!(
            "Registered with the relay at {relay} ({}), which sees this node at {observed}.",
            id.short()
        ),
        NoticeReason::RelayDown { relay, why } => {
            format!("The relay at {relay} cannot be used now: {why} (retrying)")
        }
        NoticeReason::UdpBlocked { relay, why } => {
            format!("The relay at {relay} cannot be used from here: {why} (retrying)")
        }
        NoticeReason::RelayRefused { relay, kind, why } => {
            format!("The relay at {relay} refuses this node ({kind}): {why}")
        }
        NoticeReason::RelayChanged {
            relay,
            expected,
            found,
            was_expected: true,
        } => format!(
            "The relay at {relay} has another identity than before ({found}, not {expected}). \
             Nothing was sent to it. If its operator confirms the new identity, use it: --relay \
             {found}@{relay}"
        ),
        NoticeReason::RelayChanged {
            relay,
            expected,
            found,
            was_expected: false,
        } => format!(
            "The relay at {relay} has the identity {found}, not {expected} as given. Nothing was \
             sent to it. The given identity is mistyped, or something else answers at this \
             address: ask its operator for the identity."
        ),
        NoticeReason::RelayLies { relay, found } => {
            let expected = notice.peer.map(|peer| peer.short()).unwrap_or_default();
            format!(
                "The relay at {relay} connected this node with {} instead of {expected}: the relay \
                 is broken or lies. Nothing was sent.",
                found.short()
            )
        }
        NoticeReason::RelayDoubtful { relay, peers } => format!(
            "The relay at {relay} names at least {peers} peers, and none of them is reached \
             through it: it does not forward messages, or its list of peers is wrong. Your \
             messages to them stay queued. Ask its operator, or use another relay."
        ),
        NoticeReason::Unknown => {
            "The node reports something that only a newer version can show.".to_owned()
        }
    };
    visible(&text).into_owned()
}

fn copied(evidence: &CopyEvidence) -> String {
    let place = match evidence {
        CopyEvidence::RunsAt { addr } => format!("at {addr}"),
        CopyEvidence::StartedLater { name } => {
            format!("that was started later and is connected to {name}")
        }
        CopyEvidence::UnknownEntries { name } => {
            return format!(
                "{name} has messages under this node's identity that this node never wrote."
            );
        }
        CopyEvidence::PeerRunsTwice { name } => {
            return format!(
                "{name} runs in two places at once. This node uses the connection with the one \
                 that started last."
            );
        }
    };
    format!(
        "This identity is in use by another running node {place}. Messages may reach either of the \
         two: stop one, and give it a home folder of its own."
    )
}

fn clock(name: &str, ahead_ms: i64) -> String {
    let relation = if ahead_ms > 0 { "ahead of" } else { "behind" };
    format!(
        "The clock of {name} is {} {relation} this machine's: one of the two is wrong. Messages \
         keep their order, but the times shown with them may be wrong.",
        time_span(ahead_ms.unsigned_abs())
    )
}

fn mail_refused(name: &str, refusal: MailRefusal) -> String {
    format!(
        "Your messages to {name} stay queued: {}. They are offered again every minute, and are \
         delivered at the latest when {name} and you are online together.",
        mail_refusal::reason(name, refusal)
    )
}

fn turned_away(name: &str, reason: DenyReason) -> String {
    match reason {
        DenyReason::Blocked => format!(
            "{name} has blocked this node. Your messages to them stay queued here, in case they \
             unblock it."
        ),
        DenyReason::NameTaken => format!(
            "{name} has verified another peer with this node's nickname, and refuses this node. \
             Choose another nickname, or compare the safety number with them (`hobnob verify`)."
        ),
        DenyReason::Kicked => format!(
            "{name} has disconnected this node for a while. Your messages to them stay queued \
             until then."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob::protocol::PersonId;

    fn sentence(reason: NoticeReason, peer: Option<PersonId>) -> String {
        words(&Notice {
            number: 1,
            reason,
            peer,
        })
    }

    #[test]
    fn a_clock_is_ahead_or_behind_by_its_largest_unit() {
        let of = |ahead_ms| {
            let name = "bob".to_owned();
            sentence(NoticeReason::Clock { name, ahead_ms }, None)
        };
        assert!(of(7_200_000).starts_with("The clock of bob is 2 hours ahead of this machine's"));
        assert!(of(-180_000).starts_with("The clock of bob is 3 minutes behind this machine's"));
    }

    #[test]
    fn one_message_that_came_back_is_no_plural() {
        let of = |count| {
            let name = "bob".to_owned();
            sentence(NoticeReason::OwnEntriesRestored { name, count }, None)
        };
        assert!(of(1).starts_with("bob returned 1 message that this node wrote"));
        assert!(of(2).starts_with("bob returned 2 messages that this node wrote"));
    }

    #[test]
    fn a_relay_with_a_new_identity_comes_with_the_option_that_accepts_it() {
        let (expected, found) = (PersonId::from_bytes([1; 32]), PersonId::from_bytes([2; 32]));
        let relay = "relay.example:4627".to_owned();
        let text = |was_expected| {
            let changed = NoticeReason::RelayChanged {
                relay: relay.clone(),
                expected: expected.only_device(),
                found: found.only_device(),
                was_expected,
            };
            sentence(changed, None)
        };
        let changed = text(true);
        assert!(changed.contains("another identity"), "{changed}");
        let advice = format!("--relay {found}@relay.example:4627");
        assert!(changed.ends_with(&advice), "{changed}");
        // A mistyped identity must not lead the user to trust any identity that answers.
        let mistyped = text(false);
        assert!(!mistyped.contains("--relay"), "{mistyped}");
    }

    #[test]
    fn a_peer_with_a_verified_name_is_named_by_its_key() {
        let (verified, other) = (PersonId::from_bytes([1; 32]), PersonId::from_bytes([2; 32]));
        let name = "bob".to_owned();
        let text = sentence(NoticeReason::VerifiedName { name, verified }, Some(other));
        let command = format!("`hobnob verify {} --confirm`", other.short());
        assert!(text.contains(&command), "{text}");
        assert!(text.contains(&verified.short()), "{text}");
    }

    #[test]
    fn texts_from_other_machines_are_safe_to_print() {
        let refused = NoticeReason::RelayRefused {
            relay: "relay.example:4627".to_owned(),
            kind: "banned".to_owned(),
            why: "go away\u{1b}[2J".to_owned(),
        };
        let text = sentence(refused, None);
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
