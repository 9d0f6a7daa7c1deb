//! Verdicts about the way to one peer.

use super::Answer;
use super::CLOCK_DIFFERENCE_MS;
use super::Check;
use super::PeerEvidence;
use super::Unmet;
use super::Verdict;
use super::span;
use crate::policy::DenyReason;

/// Why the peer can't be talked with, or that it can.
pub fn judge_peer(evidence: &PeerEvidence) -> Vec<Check> {
    let mut checks: Vec<Check> = [decided(evidence), turned_away(evidence)]
        .into_iter()
        .flatten()
        .collect();
    match &evidence.session {
        Some((path, clock_ahead_ms)) => {
            checks.push(Check::fine(
                "session",
                format!("{} is here ({path})", evidence.name),
            ));
            checks.extend(clock(&evidence.name, *clock_ahead_ms));
        }
        // The reason is known.
        None if checks.iter().any(|check| check.verdict == Verdict::Problem) => {}
        None => checks.push(absent(evidence)),
    }
    checks
}

/// What is at an address where no session came about: why that was so, and what a datagram to it
/// comes to.
pub fn judge_address(at: &str, unmet: &Unmet, answer: Answer) -> Check {
    match (unmet, answer) {
        (Unmet::OtherVersion, _) => Check::problem(
            "session",
            "other-version",
            format!(
                "what answers at {at} speaks another major version of hobnob, or is something else, such as a relay"
            ),
            "update the older of the two; a relay is named with --relay",
        ),
        (Unmet::Refused(why), _) => Check::problem(
            "session",
            "refused",
            format!("the node at {at} takes no session: {why}"),
            "ask its user, or try again in a while",
        ),
        (_, Answer::Refused) => Check::problem(
            "session",
            "not-running",
            format!("the machine at {at} is there, and no hobnob listens on that port"),
            "start hobnob there (`hobnob up`), or use the port that `hobnob id` shows there",
        ),
        (Unmet::OtherKey(_) | Unmet::Failed(_), Answer::Answered | Answer::Silent) => {
            Check::unknown(
                "session",
                format!(
                    "nobody answers at {at}: that machine is off or elsewhere, or a firewall there drops this UDP port; see there what `hobnob id` and \
                 `hobnob doctor` say"
                ),
            )
        }
    }
}

/// What the user of this node has decided about the peer.
fn decided(evidence: &PeerEvidence) -> Option<Check> {
    let name = &evidence.name;
    match evidence.denied {
        Some(DenyReason::Blocked) => Some(Check::problem(
            "decision",
            "you-blocked",
            format!("you have blocked {name}"),
            "`hobnob unblock NAME`, or /unban NAME in the chat, undoes it",
        )),
        Some(DenyReason::Kicked) => Some(Check::problem(
            "decision",
            "you-kicked",
            format!("you have kicked {name} within the last minutes"),
            "wait, or let them in at once with `hobnob unblock NAME` (/unban NAME in the chat)",
        )),
        Some(DenyReason::NameTaken) => Some(Check::problem(
            "decision",
            "name-taken",
            format!("{name} has the name of somebody whom you have verified with another key"),
            "compare words with them (`hobnob verify`), and confirm if they are the same",
        )),
        None if evidence.ignored => Some(Check::note(
            "decision",
            "you-ignore",
            format!("you ignore {name}: what they write comes, and is not shown"),
        )),
        None => None,
    }
}

fn turned_away(evidence: &PeerEvidence) -> Option<Check> {
    let name = &evidence.name;
    let (code, text, fix) = match evidence.turned_away? {
        DenyReason::Blocked => (
            "blocked-you",
            format!("{name} has blocked this node"),
            "only they can undo it; what you write waits here",
        ),
        DenyReason::Kicked => (
            "kicked-you",
            format!("{name} has shown this node out for a while"),
            "wait some minutes; what you write waits here",
        ),
        DenyReason::NameTaken => (
            "your-name-taken",
            format!(
                "{name} knows this node's nickname as that of somebody else, whom they have verified"
            ),
            "take another nickname, or ask them to compare words with you (`hobnob verify`)",
        ),
    };
    Some(Check::problem("session", code, text, fix))
}

fn clock(name: &str, ahead_ms: i64) -> Option<Check> {
    let off = ahead_ms.unsigned_abs();
    let way = if ahead_ms > 0 { "ahead of" } else { "behind" };
    (off >= CLOCK_DIFFERENCE_MS).then(|| {
        let text = format!(
            "{name}'s clock is {} {way} this machine's: one of the two is wrong",
            span(off)
        );
        Check::note("clock", "clock-differs", text)
    })
}

/// There is no session: the most telling of what was tried.
fn absent(evidence: &PeerEvidence) -> Check {
    let name = &evidence.name;
    for (addr, unmet) in &evidence.unmet {
        match unmet {
            Unmet::OtherKey(found) => {
                return Check::problem(
                    "session",
                    "key-mismatch",
                    format!(
                        "at {addr}, where {name} was, somebody with another key answers ({})",
                        found.short()
                    ),
                    "if it is their new machine or they have lost their key, compare words (`hobnob verify`) and use the new id; else somebody \
                     else has that address now",
                );
            }
            Unmet::OtherVersion => {
                return Check::problem(
                    "session",
                    "other-version",
                    format!(
                        "at {addr}, where {name} was, another major version of hobnob answers, or something else"
                    ),
                    "update the older of the two",
                );
            }
            Unmet::Refused(_) | Unmet::Failed(_) => {}
        }
    }
    if let Some((addr, _)) = evidence
        .probes
        .iter()
        .find(|(_, answer)| *answer == Answer::Refused)
    {
        return Check::problem(
            "session",
            "not-running",
            format!("{name}'s machine is there, and no hobnob listens on {addr}"),
            "start hobnob there; what you write waits here until then",
        );
    }
    if let Some((addr, Unmet::Refused(why))) = evidence
        .unmet
        .iter()
        .find(|(_, unmet)| matches!(unmet, Unmet::Refused(_)))
    {
        return Check::problem(
            "session",
            "refused",
            format!("{name} at {addr} takes no session: {why}"),
            "ask them; what you write waits here",
        );
    }
    if evidence.unmet.is_empty() && evidence.probes.is_empty() && evidence.not_at.is_empty() {
        return Check::unknown(
            "session",
            format!(
                "{name} has not been heard of, and there is no address to try: use an address or a ticket"
            ),
        );
    }
    let mut tried: Vec<String> = evidence
        .probes
        .iter()
        .map(|(addr, _)| format!("nobody answers at {addr}"))
        .collect();
    tried.extend(
        evidence
            .not_at
            .iter()
            .map(|relay| format!("not at the relay {relay}")),
    );
    if tried.is_empty() {
        tried.extend(
            evidence
                .unmet
                .iter()
                .map(|(addr, _)| format!("nobody answers at {addr}")),
        );
    }
    Check::unknown(
        "session",
        format!(
            "{name} is off, elsewhere, or behind a firewall ({}): what you write waits here",
            tried.join("; ")
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::*;

    fn away() -> PeerEvidence {
        let addr = "10.0.0.2:4626".parse().expect("an address");
        PeerEvidence {
            name: "bob".into(),
            unmet: vec![(addr, Unmet::Failed("nobody answered".into()))],
            probes: vec![(addr, Answer::Silent)],
            ..PeerEvidence::default()
        }
    }

    fn codes(evidence: &PeerEvidence) -> Vec<Option<&'static str>> {
        judge_peer(evidence)
            .into_iter()
            .map(|check| check.code)
            .collect()
    }

    #[test]
    fn who_is_here_is_here() {
        let mut here = PeerEvidence {
            session: Some(("lan".into(), 0)),
            ..away()
        };
        assert_eq!(codes(&here), [None]);
        here.session = Some(("lan".into(), 3_600_000));
        assert_eq!(codes(&here), [None, Some("clock-differs")]);
        here.ignored = true;
        assert_eq!(codes(&here)[0], Some("you-ignore"));
    }

    #[test]
    fn each_reason_has_its_verdict_and_hides_no_other() {
        let addr = away().unmet[0].0;
        let unmet = |unmet| PeerEvidence {
            unmet: vec![(addr, unmet)],
            ..away()
        };
        let cases = [
            (
                "you-blocked",
                PeerEvidence {
                    denied: Some(DenyReason::Blocked),
                    ..away()
                },
            ),
            (
                "you-kicked",
                PeerEvidence {
                    denied: Some(DenyReason::Kicked),
                    ..away()
                },
            ),
            (
                "name-taken",
                PeerEvidence {
                    denied: Some(DenyReason::NameTaken),
                    ..away()
                },
            ),
            (
                "blocked-you",
                PeerEvidence {
                    turned_away: Some(DenyReason::Blocked),
                    ..away()
                },
            ),
            (
                "kicked-you",
                PeerEvidence {
                    turned_away: Some(DenyReason::Kicked),
                    ..away()
                },
            ),
            (
                "your-name-taken",
                PeerEvidence {
                    turned_away: Some(DenyReason::NameTaken),
                    ..away()
                },
            ),
            (
                "key-mismatch",
                unmet(Unmet::OtherKey(PeerId::from_bytes([7; 32]))),
            ),
            ("other-version", unmet(Unmet::OtherVersion)),
            ("refused", unmet(Unmet::Refused("full".into()))),
            (
                "not-running",
                PeerEvidence {
                    probes: vec![(addr, Answer::Refused)],
                    ..away()
                },
            ),
        ];
        for (code, evidence) in cases {
            assert_eq!(codes(&evidence), [Some(code)]);
        }
    }

    #[test]
    fn an_address_is_told_by_what_answers_there() {
        let code = |unmet, answer| judge_address("10.0.0.2:4626", &unmet, answer).code;
        let failed = || Unmet::Failed("nobody answered".into());
        assert_eq!(code(failed(), Answer::Refused), Some("not-running"));
        assert_eq!(
            code(Unmet::Refused("full".into()), Answer::Silent),
            Some("refused")
        );
        assert_eq!(
            code(Unmet::OtherVersion, Answer::Answered),
            Some("other-version")
        );
        assert_eq!(
            judge_address("10.0.0.2:4626", &failed(), Answer::Silent).verdict,
            Verdict::Unknown
        );
    }

    #[test]
    fn silence_is_told_as_what_it_is() {
        let checks = judge_peer(&away());
        assert!(
            checks[0].verdict == Verdict::Unknown
                && checks[0].text.contains("nobody answers at 10.0.0.2:4626"),
            "{checks:?}"
        );
        let never = judge_peer(&PeerEvidence {
            name: "bob".into(),
            ..PeerEvidence::default()
        });
        assert!(
            never[0].verdict == Verdict::Unknown && never[0].text.contains("no address to try"),
            "{never:?}"
        );
    }
}
