//! Verdicts about this node's own machine and network.

use super::Answer;
use super::CLOCK_DIFFERENCE_MS;
use super::DISK_FREE_MIN;
use super::Relay;
use super::RelayState;
use super::SETTLED_AFTER;
use super::Session;
use super::reach;
use super::span;
use std::collections::{BTreeMap, BTreeSet};

use super::Check;
use super::Evidence;
use super::Verdict;

/// All checks of this node, in the order in which they build on one another.
pub fn judge(evidence: &Evidence) -> Vec<Check> {
    let udp = udp(evidence);
    let udp_blocked = udp.verdict == Verdict::Problem;
    let mut checks = vec![port(evidence), networks(evidence), udp];
    checks.extend(multicast(evidence, udp_blocked));
    checks.extend(isolated(evidence));
    checks.extend(reach::judge(evidence));
    checks.extend(
        evidence
            .relays
            .iter()
            .map(|relay| self::relay(relay, udp_blocked)),
    );
    checks.push(clock(evidence));
    checks.push(disk(evidence));
    checks
}

fn port(evidence: &Evidence) -> Check {
    let port = evidence.port;
    if !evidence.usual_port_taken {
        return Check::fine("port", format!("listens on UDP port {port}"));
    }
    let usual = hobnob_protocol::PORT_NODE;
    Check::problem(
        "port",
        "port-taken",
        format!(
            "UDP port {usual} is taken by another program, so this node listens on {port}: who types this machine's address without a port does not reach it"
        ),
        "end the other program (another hobnob?) and start this node again, or give people the ticket of `hobnob id`, which has the port",
    )
}

fn networks(evidence: &Evidence) -> Check {
    let names: BTreeSet<&str> = evidence
        .networks
        .iter()
        .filter(|it| !it.vpn)
        .map(|it| it.interface.as_str())
        .collect();
    let names: Vec<&str> = names.into_iter().collect();
    if evidence.networks.is_empty() {
        let fix = "connect this machine to a network: a cable, or Wi-Fi";
        return Check::problem(
            "networks",
            "no-network",
            "no network interface but loopback is up",
            fix,
        );
    }
    if let Some(vpn) = evidence.networks.iter().find(|it| it.vpn && it.to_internet) {
        let text = format!(
            "what goes to the internet goes through {}, which looks like a VPN: peers elsewhere see the VPN's address, and may be reached \
             through a relay only",
            vpn.interface
        );
        return Check::note("networks", "vpn", text);
    }
    match names.as_slice() {
        [_, _, ..] => {
            let text = format!(
                "this machine is on {} networks ({}): peers on one of them do not see those on the others, and this node passes on what is said \
                 in shared rooms",
                names.len(),
                names.join(", ")
            );
            Check::note("networks", "several-networks", text)
        }
        _ => Check::fine(
            "networks",
            format!("on one network, by {}", names.join(", ")),
        ),
    }
}

/// UDP as such: whether anything at all comes back over it.
fn udp(evidence: &Evidence) -> Check {
    let relayed = evidence
        .relays
        .iter()
        .any(|relay| matches!(relay.state, RelayState::Up(..)));
    if relayed || !evidence.sessions.is_empty() {
        return Check::fine("udp", "datagrams go out and come back");
    }
    let probes = || {
        evidence
            .relays
            .iter()
            .filter_map(|relay| Some((&relay.at, relay.probe?)))
    };
    if probes().any(|(_, (udp, _))| udp != Answer::Silent) {
        return Check::fine("udp", "datagrams go out and come back");
    }
    match probes().find(|(_, (_, tcp))| *tcp != Answer::Silent) {
        Some((at, _)) => Check::problem(
            "udp",
            "udp-blocked",
            format!(
                "the machine at {at} answers over TCP and not over UDP, and nothing else has come over UDP: something on the way drops UDP"
            ),
            "let UDP out of this machine's firewall and of your network's; where a network's owner blocks UDP, use another network",
        ),
        None => Check::unknown(
            "udp",
            "nobody has been met to try it with, and no relay has answered: start hobnob on a second machine of this network, and look again",
        ),
    }
}

/// Multicast, by interface: whether those who are known to be there, and to announce themselves,
/// are heard.
fn multicast(evidence: &Evidence, udp_blocked: bool) -> Vec<Check> {
    if !evidence.mdns {
        let text = "this node was told not to look for peers on the local network: --mdns, or mdns = true in the file that `hobnob config --path` names, \
                    undoes that";
        return vec![Check::note("multicast", "mdns-off", text)];
    }
    let mut there: BTreeMap<&str, Vec<&Session>> = BTreeMap::new();
    for session in evidence
        .sessions
        .iter()
        .filter(|it| it.discoverable && !it.relayed && it.age >= SETTLED_AFTER)
    {
        if let Some(interface) = &session.interface {
            there.entry(interface).or_default().push(session);
        }
    }
    if there.is_empty() || udp_blocked {
        let text = "nobody is known to be on this network, so nobody can be missing; if somebody should be there, write to them by address once \
                    (`hobnob send ADDRESS hi`; theirs is in their `hobnob id`), and look again";
        return vec![Check::unknown("multicast", text)];
    }
    let verdict = |(interface, sessions): (&str, Vec<&Session>)| {
        if let Some(heard) = sessions.iter().find(|it| it.heard) {
            return Check::fine(
                "multicast",
                format!("on {interface}, {} was found by mDNS", heard.name),
            );
        }
        Check::problem(
            "multicast",
            "multicast-unanswered",
            format!(
                "{} is on the network of {interface} and announces itself, and was not heard: multicast does not pass there",
                sessions[0].name
            ),
            "let UDP port 5353 (mDNS) through this machine's firewall (`sudo ufw allow 5353/udp`, or `sudo firewall-cmd --permanent --add-service=mdns` \
             and `sudo firewall-cmd --reload`); on Wi-Fi, switch off \"AP isolation\" or \"multicast filtering\" at the \
             access point; until then, reach peers by address or ticket",
        )
    };
    there.into_iter().map(verdict).collect()
}

/// Peers that share our network, as their addresses and ours say, and can be reached through a
/// relay only.
fn isolated(evidence: &Evidence) -> Option<Check> {
    let kept_apart = |it: &&Session| it.relayed && it.same_network && it.age >= SETTLED_AFTER;
    let session = evidence.sessions.iter().find(kept_apart)?;
    Some(Check::problem(
        "neighbours",
        "isolated",
        format!(
            "{} is on the same network as this machine, and nothing passes between the two but through a relay",
            session.name
        ),
        "the network keeps its machines apart, as Wi-Fi for guests does: switch \"AP isolation\" or \"client isolation\" off at the access point, or \
         go on through the relay",
    ))
}

fn relay(relay: &Relay, udp_blocked: bool) -> Check {
    let at = &relay.at;
    match &relay.state {
        RelayState::Up(..) => Check::fine("relay", format!("registered at {at}")),
        RelayState::Connecting if relay.probe.is_none() => {
            Check::unknown("relay", format!("{at} has not answered yet"))
        }
        RelayState::NoAddress(why) => Check::problem(
            "relay",
            "relay-name",
            format!("the name of the relay at {at} can't be looked up: {why}"),
            "check how it is spelled, and whether this machine's DNS works; an IP address does without",
        ),
        RelayState::OtherIdentity => Check::problem(
            "relay",
            "relay-identity",
            format!(
                "what answers at {at} proves another identity than the one that is known: nothing was sent to it"
            ),
            "ask its operator; if the relay has a new key, name it as --relay NEW-ID@HOST:PORT",
        ),
        RelayState::Refused(why) => Check::problem(
            "relay",
            "relay-refuses",
            format!("the relay at {at} does not admit this node: {why}"),
            "ask its operator: a token (--relay-token-file), or a line in its allow file, may be missing",
        ),
        RelayState::Connecting | RelayState::Down(_) => unreachable(relay, udp_blocked),
    }
}

fn unreachable(relay: &Relay, udp_blocked: bool) -> Check {
    let at = &relay.at;
    match relay.probe {
        _ if udp_blocked => {
            Check::unknown("relay", format!("{at} can't be asked while UDP is blocked"))
        }
        Some((Answer::Refused, _)) => Check::problem(
            "relay",
            "relay-down",
            format!("the machine at {at} is there, and no relay listens on that port"),
            "start the relay there (`hobnob relay`), or correct the port",
        ),
        Some((Answer::Silent, Answer::Refused | Answer::Answered)) => Check::problem(
            "relay",
            "relay-filtered",
            format!(
                "the machine at {at} is there, and its UDP port does not answer, while UDP works elsewhere"
            ),
            "open the relay's UDP port in the firewall of its machine",
        ),
        Some((Answer::Answered, _)) => Check::unknown(
            "relay",
            format!("{at} answers, and there is no connection with it yet"),
        ),
        Some((Answer::Silent, Answer::Silent)) | None => Check::unknown(
            "relay",
            format!(
                "{at} answers neither over UDP nor over TCP: it is off, or a firewall drops everything"
            ),
        ),
    }
}

/// One clock that differs may be either's; where most differ from ours alike, it is ours.
fn clock(evidence: &Evidence) -> Check {
    let ahead: Vec<i64> = evidence
        .sessions
        .iter()
        .map(|session| session.clock_ahead_ms)
        .collect();
    let differ = |ms: &&i64| ms.unsigned_abs() >= CLOCK_DIFFERENCE_MS;
    let off: Vec<i64> = ahead.iter().filter(differ).copied().collect();
    match (ahead.len(), off.as_slice()) {
        (0, _) => Check::unknown("clock", "nobody is here to compare clocks with"),
        (_, []) => Check::fine("clock", "agrees with the peers'"),
        (1, [_]) => Check::unknown(
            "clock",
            "differs from the only peer's: one of the two is wrong",
        ),
        (all, off) if 2 * off.len() > all && off.iter().all(|ms| (*ms > 0) == (off[0] > 0)) => {
            Check::problem(
                "clock",
                "clock",
                format!(
                    "this machine's clock is {} {} the others'",
                    span(off[0].unsigned_abs()),
                    if off[0] > 0 { "behind" } else { "ahead of" }
                ),
                "set this machine's clock, and let it be kept right (timedatectl set-ntp true); messages keep their order meanwhile",
            )
        }
        (_, _) => Check::fine("clock", "agrees with most peers'"),
    }
}

fn disk(evidence: &Evidence) -> Check {
    let fix = "make room on that disk; nothing is acknowledged that is not stored, so nothing is lost meanwhile";
    match evidence.disk_free {
        _ if evidence.store_failing => Check::problem(
            "disk",
            "disk",
            "messages can't be stored at the moment",
            fix,
        ),
        Some(free) if free < DISK_FREE_MIN => Check::problem(
            "disk",
            "disk",
            format!(
                "the disk of the messages is nearly full: {} MiB are left",
                free / 1024 / 1024
            ),
            fix,
        ),
        Some(free) => Check::fine("disk", format!("{} MiB are free", free / 1024 / 1024)),
        None => Check::unknown("disk", "the system does not say how much is free"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::*;
    use std::net::SocketAddr;
    use std::time::Duration;

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn network(interface: &str, ip: &str) -> Network {
        Network {
            interface: interface.into(),
            ip: ip.parse().expect("an address"),
            vpn: false,
            to_internet: true,
        }
    }

    fn session(name: &str) -> Session {
        Session {
            name: name.into(),
            age: Duration::from_secs(60),
            interface: Some("eth0".into()),
            relayed: false,
            discoverable: true,
            heard: true,
            same_network: false,
            clock_ahead_ms: 500,
        }
    }

    fn relay(at: &str, state: RelayState, probe: Option<(Answer, Answer)>) -> Relay {
        Relay {
            at: at.into(),
            state,
            probe,
            call: RelayCall::default(),
        }
    }

    fn healthy() -> Evidence {
        Evidence {
            port: 4626,
            networks: vec![network("eth0", "192.168.1.7")],
            mdns: true,
            sessions: vec![session("bob"), session("cat")],
            relays: vec![
                relay(
                    "one:4627",
                    RelayState::Up(addr("11.0.0.1:4627"), addr("11.9.0.1:70")),
                    None,
                ),
                Relay {
                    call: RelayCall {
                        made: true,
                        came: true,
                        seen: Some(addr("11.9.0.1:70")),
                    },
                    ..relay(
                        "two:4627",
                        RelayState::Up(addr("11.0.0.2:4627"), addr("11.9.0.1:70")),
                        None,
                    )
                },
            ],
            calls: vec![Call {
                neighbour: true,
                made: true,
                came: true,
            }],
            disk_free: Some(1 << 40),
            ..Evidence::default()
        }
    }

    fn codes(evidence: &Evidence) -> Vec<&'static str> {
        judge(evidence)
            .into_iter()
            .filter_map(|check| check.code)
            .collect()
    }

    #[test]
    fn a_healthy_network_gives_no_verdict_and_knows_everything() {
        let checks = judge(&healthy());
        assert!(
            checks.iter().all(|check| check.verdict == Verdict::Fine),
            "{checks:#?}"
        );
    }

    #[test]
    fn a_node_that_knows_nobody_says_unknown_and_nothing_worse() {
        let alone = Evidence {
            sessions: vec![],
            relays: vec![],
            calls: vec![],
            ..healthy()
        };
        assert_eq!(codes(&alone), [""; 0]);
        let unknown: Vec<_> = judge(&alone)
            .into_iter()
            .filter(|it| it.verdict == Verdict::Unknown)
            .map(|it| it.check)
            .collect();
        assert_eq!(unknown, ["udp", "multicast", "calls", "nat", "clock"]);
    }

    /// Something that breaks, and the one verdict for it.
    type Case = (&'static str, fn(&mut Evidence));

    #[test]
    fn each_thing_that_breaks_gives_its_own_verdict_and_no_other() {
        let cases: [Case; 16] = [
            ("port-taken", |it| it.usual_port_taken = true),
            ("no-network", |it| it.networks.clear()),
            ("vpn", |it| {
                it.networks.push(Network {
                    vpn: true,
                    ..network("wg0", "10.9.0.2")
                })
            }),
            ("several-networks", |it| {
                it.networks.push(Network {
                    to_internet: false,
                    ..network("eth1", "10.9.0.2")
                })
            }),
            ("mdns-off", |it| it.mdns = false),
            ("multicast-unanswered", |it| {
                it.sessions
                    .iter_mut()
                    .for_each(|session| session.heard = false)
            }),
            ("isolated", |it| {
                let session = &mut it.sessions[0];
                (session.relayed, session.interface, session.same_network) = (true, None, true);
            }),
            ("calls-blocked", |it| {
                it.calls[0].came = false;
                it.relays.truncate(1);
            }),
            ("nat-dependent", |it| {
                it.relays[1].state = RelayState::Up(addr("11.0.0.2:4627"), addr("11.9.0.1:71"))
            }),
            ("relay-name", |it| {
                it.relays[0].state = RelayState::NoAddress("no such name".into())
            }),
            ("relay-identity", |it| {
                it.relays[0].state = RelayState::OtherIdentity
            }),
            ("relay-refuses", |it| {
                it.relays[0].state = RelayState::Refused("no token".into())
            }),
            ("relay-down", |it| {
                it.relays[0] = relay(
                    "one",
                    RelayState::Down(String::new()),
                    Some((Answer::Refused, Answer::Refused)),
                );
            }),
            ("relay-filtered", |it| {
                it.relays[0] = relay(
                    "one",
                    RelayState::Down(String::new()),
                    Some((Answer::Silent, Answer::Refused)),
                );
            }),
            ("clock", |it| {
                it.sessions
                    .iter_mut()
                    .for_each(|session| session.clock_ahead_ms = -3_600_000)
            }),
            ("disk", |it| it.disk_free = Some(DISK_FREE_MIN - 1)),
        ];
        for (code, break_it) in cases {
            let mut evidence = healthy();
            break_it(&mut evidence);
            assert_eq!(codes(&evidence), [code]);
        }
    }

    #[test]
    fn blocked_udp_is_told_once_and_not_also_as_what_follows_from_it() {
        let down = |at| {
            relay(
                at,
                RelayState::Down(String::new()),
                Some((Answer::Silent, Answer::Refused)),
            )
        };
        let blocked = Evidence {
            sessions: vec![],
            calls: vec![],
            relays: vec![down("one"), down("two")],
            ..healthy()
        };
        assert_eq!(codes(&blocked), ["udp-blocked"]);
        let off = relay(
            "one",
            RelayState::Down(String::new()),
            Some((Answer::Silent, Answer::Silent)),
        );
        assert_eq!(
            codes(&Evidence {
                relays: vec![off],
                ..blocked
            }),
            [""; 0],
            "a relay that is off looks the same as no network"
        );
    }

    #[test]
    fn what_has_not_been_heard_yet_is_not_missing_yet() {
        let mut evidence = healthy();
        for session in &mut evidence.sessions {
            (session.heard, session.age) = (false, Duration::from_secs(1));
        }
        assert_eq!(codes(&evidence), [""; 0]);
    }

    #[test]
    fn one_wrong_clock_among_several_is_its_owners() {
        let mut evidence = healthy();
        evidence.sessions.push(session("dan"));
        evidence.sessions[0].clock_ahead_ms = 3_600_000;
        assert_eq!(codes(&evidence), [""; 0]);
        evidence.sessions.truncate(1);
        let clock = judge(&evidence)
            .into_iter()
            .find(|check| check.check == "clock")
            .expect("there is one");
        assert_eq!(clock.verdict, Verdict::Unknown);
    }
}
