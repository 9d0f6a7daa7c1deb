//! Findings about the path to one peer.

use super::findings::{Finding, PeerFinding};
use super::{Answer, CLOCK_DIFFERENCE_MS, PeerEvidence, Unmet};
use crate::policy::DenyReason;

/// Judges whether the peer is reachable, and why not.
pub fn judge_peer(evidence: &PeerEvidence) -> Vec<Finding> {
    let reasons = [decided(evidence), turned_away(evidence)];
    let mut findings: Vec<PeerFinding> = reasons.into_iter().flatten().collect();
    match &evidence.session {
        Some(session) => {
            findings.push(PeerFinding::Connected {
                peer: evidence.name.clone(),
                path: session.path.to_owned(),
                rtt_ms: session.rtt_ms,
            });
            findings.extend(clock(&evidence.name, session.clock_ahead_ms));
        }
        // The reason is known.
        None if evidence.denied.is_some() || evidence.turned_away.is_some() => {}
        None => {
            findings.push(absent(evidence));
            findings.extend(
                evidence
                    .mail_refused
                    .map(|reason| PeerFinding::MailRefused {
                        peer: evidence.name.clone(),
                        reason,
                    }),
            );
        }
    }
    findings.into_iter().map(Finding::from).collect()
}

/// Judges an address where no session was established, from the cause of the failure and the
/// outcome of a probe.
pub fn judge_address(at: &str, unmet: &Unmet, answer: Answer) -> Finding {
    let addr = at.to_owned();
    let finding = match (unmet, answer) {
        (Unmet::OtherVersion, _) => PeerFinding::OtherVersion { peer: None, addr },
        (Unmet::Refused(why), _) => PeerFinding::Refused {
            peer: None,
            addr,
            why: why.clone(),
        },
        (_, Answer::Refused) => PeerFinding::NotRunning { peer: None, addr },
        (Unmet::OtherKey(_) | Unmet::Failed(_), Answer::Answered | Answer::Silent) => {
            PeerFinding::Silent {
                peer: None,
                addrs: vec![addr],
                relays: vec![],
            }
        }
    };
    finding.into()
}

/// The policy of this node's user about the peer.
fn decided(evidence: &PeerEvidence) -> Option<PeerFinding> {
    let peer = evidence.name.clone();
    match evidence.denied {
        Some(DenyReason::Blocked) => Some(PeerFinding::YouBlocked { peer }),
        Some(DenyReason::Kicked) => Some(PeerFinding::YouKicked { peer }),
        Some(DenyReason::NameTaken) => Some(PeerFinding::NameTaken { peer }),
        None if evidence.ignored => Some(PeerFinding::YouIgnore { peer }),
        None if evidence.awaits_consent => Some(PeerFinding::AwaitsConsent { peer }),
        None => None,
    }
}

fn turned_away(evidence: &PeerEvidence) -> Option<PeerFinding> {
    let peer = evidence.name.clone();
    Some(match evidence.turned_away? {
        DenyReason::Blocked => PeerFinding::BlockedYou { peer },
        DenyReason::Kicked => PeerFinding::KickedYou { peer },
        DenyReason::NameTaken => PeerFinding::YourNameTaken { peer },
    })
}

fn clock(peer: &str, ahead_ms: i64) -> Option<PeerFinding> {
    (ahead_ms.unsigned_abs() >= CLOCK_DIFFERENCE_MS).then(|| PeerFinding::ClockDiffers {
        peer: peer.to_owned(),
        ahead_ms,
    })
}

/// Without a session, returns the most informative outcome of the attempts.
fn absent(evidence: &PeerEvidence) -> PeerFinding {
    let peer = || evidence.name.clone();
    for (addr, unmet) in &evidence.unmet {
        match unmet {
            Unmet::OtherKey(found) => {
                return PeerFinding::KeyMismatch {
                    peer: peer(),
                    addr: *addr,
                    found: found.to_string(),
                };
            }
            Unmet::OtherVersion => {
                return PeerFinding::OtherVersion {
                    peer: Some(peer()),
                    addr: addr.to_string(),
                };
            }
            Unmet::Refused(_) | Unmet::Failed(_) => {}
        }
    }
    let refused = |(_, answer): &&(_, Answer)| *answer == Answer::Refused;
    if let Some((addr, _)) = evidence.probes.iter().find(refused) {
        return PeerFinding::NotRunning {
            peer: Some(peer()),
            addr: addr.to_string(),
        };
    }
    for (addr, unmet) in &evidence.unmet {
        if let Unmet::Refused(why) = unmet {
            return PeerFinding::Refused {
                peer: Some(peer()),
                addr: addr.to_string(),
                why: why.clone(),
            };
        }
    }
    if evidence.unmet.is_empty() && evidence.probes.is_empty() && evidence.not_at.is_empty() {
        return PeerFinding::NoAddress { peer: peer() };
    }
    let probed = evidence.probes.iter().map(|(addr, _)| addr.to_string());
    let dialed = evidence.unmet.iter().map(|(addr, _)| addr.to_string());
    let mut addrs: Vec<String> = probed.collect();
    if addrs.is_empty() && evidence.not_at.is_empty() {
        addrs.extend(dialed);
    }
    PeerFinding::Silent {
        peer: Some(peer()),
        addrs,
        relays: evidence.not_at.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::{PeerSession, Verdict};
    use hobnob_protocol::DeviceId;

    fn away() -> PeerEvidence {
        let addr = "10.0.0.2:4626".parse().expect("an address");
        PeerEvidence {
            name: "bob".into(),
            unmet: vec![(addr, Unmet::Failed("nobody answered".into()))],
            probes: vec![(addr, Answer::Silent)],
            ..PeerEvidence::default()
        }
    }

    fn codes(evidence: &PeerEvidence) -> Vec<&'static str> {
        judge_peer(evidence).iter().map(Finding::code).collect()
    }

    fn session(clock_ahead_ms: i64) -> Option<PeerSession> {
        Some(PeerSession {
            path: "lan",
            rtt_ms: 1.2,
            clock_ahead_ms,
        })
    }

    #[test]
    fn a_session_shows_that_the_peer_is_reachable() {
        let mut here = PeerEvidence {
            session: session(0),
            ..away()
        };
        assert_eq!(codes(&here), ["connected"]);
        here.session = session(3_600_000);
        assert_eq!(codes(&here), ["connected", "clock-differs"]);
        here.awaits_consent = true;
        assert_eq!(codes(&here)[0], "awaits-consent");
        here.ignored = true;
        assert_eq!(codes(&here)[0], "you-ignore");
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
                unmet(Unmet::OtherKey(DeviceId::from_bytes([7; 32]))),
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
            assert_eq!(codes(&evidence), [code]);
        }
    }

    #[test]
    fn an_address_is_judged_by_the_failed_dial_and_the_probe() {
        let code = |unmet, answer| judge_address("10.0.0.2:4626", &unmet, answer).code();
        let failed = || Unmet::Failed("nobody answered".into());
        assert_eq!(code(failed(), Answer::Refused), "not-running");
        assert_eq!(
            code(Unmet::Refused("full".into()), Answer::Silent),
            "refused"
        );
        assert_eq!(code(Unmet::OtherVersion, Answer::Answered), "other-version");
        assert_eq!(
            judge_address("10.0.0.2:4626", &failed(), Answer::Silent).verdict(),
            Verdict::Unknown
        );
    }

    #[test]
    fn silence_lists_the_addresses_that_were_tried() {
        let silent = PeerFinding::Silent {
            peer: Some("bob".into()),
            addrs: vec!["10.0.0.2:4626".into()],
            relays: vec![],
        };
        assert_eq!(judge_peer(&away()), [silent.into()]);
        let never = PeerEvidence {
            name: "bob".into(),
            ..PeerEvidence::default()
        };
        assert_eq!(codes(&never), ["no-address"]);
    }
}
