//! Findings about this node's own machine and network.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::findings::{Finding, MachineFinding, MdnsFault, NetworkFinding, RelayFinding};
use super::subject::Verdict;
use super::{
    Answer, CHECKS_WAITING_MIN, CLOCK_DIFFERENCE_MS, DISK_FREE_MIN, Evidence, FullRoom, Mdns,
    Relay, RelayState, SETTLED_AFTER, Session, mail, reach,
};
use crate::replica::REQUESTS_BYTES_MAX;

/// Runs all checks of this node. A later check builds on the earlier ones.
pub fn judge(evidence: &Evidence) -> Vec<Finding> {
    let udp = Finding::from(udp(evidence));
    let udp_blocked = udp.verdict() == Verdict::Problem;
    let mut findings = vec![port(evidence).into(), networks(evidence).into(), udp];
    findings.extend(send_refused(evidence).map(Finding::from));
    findings.extend(
        multicast(evidence, udp_blocked)
            .into_iter()
            .map(Finding::from),
    );
    findings.extend(isolated(evidence).map(Finding::from));
    findings.extend(evidence.silent.iter().map(silent).map(Finding::from));
    findings.extend(reach::judge(evidence).into_iter().map(Finding::from));
    let relays = evidence.relays.iter();
    findings.extend(relays.map(|relay| self::relay(relay, udp_blocked).into()));
    findings.extend([clock(evidence), disk(evidence)].map(Finding::from));
    findings.extend(damage(evidence).map(Finding::from));
    let backup = evidence.backup_fault.clone();
    findings.extend(backup.map(|why| MachineFinding::BackupFailed { why }.into()));
    findings.extend(mail::judge(&evidence.mail));
    findings.extend(requests(evidence).map(Finding::from));
    findings.extend(limits(evidence).into_iter().map(Finding::from));
    findings.extend(faults(evidence).map(Finding::from));
    findings
}

fn port(evidence: &Evidence) -> MachineFinding {
    let port = evidence.port;
    if evidence.usual_port_taken {
        MachineFinding::PortTaken {
            port,
            usual: hobnob_protocol::PORT_NODE,
        }
    } else {
        MachineFinding::PortOpen { port }
    }
}

fn networks(evidence: &Evidence) -> NetworkFinding {
    if evidence.networks.is_empty() {
        return NetworkFinding::NoNetwork {};
    }
    if let Some(vpn) = evidence.networks.iter().find(|it| it.vpn && it.to_internet) {
        let interface = vpn.interface.clone();
        return NetworkFinding::Vpn { interface };
    }
    let own = evidence.networks.iter().filter(|it| !it.vpn);
    let interfaces: BTreeSet<&String> = own.map(|it| &it.interface).collect();
    if interfaces.len() > 1 {
        NetworkFinding::SeveralNetworks {
            interfaces: interfaces.into_iter().cloned().collect(),
        }
    } else {
        NetworkFinding::OneNetwork {
            interface: interfaces.first().map(|&interface| interface.clone()),
        }
    }
}

/// UDP as such: whether anything at all arrives over it.
fn udp(evidence: &Evidence) -> NetworkFinding {
    if evidence.proxy_only {
        return NetworkFinding::ProxyOnly {};
    }
    let relayed = evidence
        .relays
        .iter()
        .any(|relay| matches!(relay.state, RelayState::Up(..)));
    // A relayed session may go through a relay that is reached over TCP.
    if relayed || evidence.sessions.iter().any(|session| !session.relayed) {
        return NetworkFinding::UdpWorks {};
    }
    let mut relays = evidence.relays.iter();
    if let Some(relay) = relays.find(|relay| relay.state == RelayState::UpByTcp) {
        return NetworkFinding::UdpBlocked {
            relay: relay.at.clone(),
        };
    }
    let probes = || {
        evidence
            .relays
            .iter()
            .filter_map(|relay| Some((&relay.at, relay.probe?)))
    };
    if probes().any(|(_, (udp, _))| udp != Answer::Silent) {
        return NetworkFinding::UdpWorks {};
    }
    match probes().find(|(_, (_, tcp))| *tcp != Answer::Silent) {
        Some((at, _)) => NetworkFinding::UdpBlocked { relay: at.clone() },
        None => NetworkFinding::UdpUntested {},
    }
}

/// Whether this machine itself refuses what the node sends, as a firewall does.
fn send_refused(evidence: &Evidence) -> Option<NetworkFinding> {
    let to = evidence.send_refused?.to_string();
    Some(NetworkFinding::SendRefused { to })
}

/// Multicast, by interface: whether mDNS finds the peers that are on that network and announce
/// themselves.
fn multicast(evidence: &Evidence, udp_blocked: bool) -> Vec<NetworkFinding> {
    match evidence.mdns {
        Mdns::Off => return vec![NetworkFinding::MdnsOff {}],
        // Without a network there is nothing to multicast on.
        Mdns::Failed(MdnsFault::NoInterface) if evidence.networks.is_empty() => return vec![],
        Mdns::Failed(reason) => return vec![NetworkFinding::MdnsFailed { reason }],
        Mdns::On => {}
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
        return vec![NetworkFinding::MulticastUntested {}];
    }
    let finding = |(interface, sessions): (&str, Vec<&Session>)| {
        let interface = interface.to_owned();
        match sessions.iter().find(|it| it.heard) {
            Some(heard) => NetworkFinding::MulticastHeard {
                interface,
                peer: heard.name.clone(),
            },
            None => NetworkFinding::MulticastUnanswered {
                interface,
                peer: sessions[0].name.clone(),
            },
        }
    };
    there.into_iter().map(finding).collect()
}

/// A peer that announces itself on this network, and whose machine answers no check.
fn silent((peer, addr): &(String, SocketAddr)) -> NetworkFinding {
    NetworkFinding::SilentNeighbour {
        peer: peer.clone(),
        addr: addr.to_string(),
    }
}

/// A peer that shares this machine's network, according to both ends' addresses, but can be reached
/// only through a relay.
fn isolated(evidence: &Evidence) -> Option<NetworkFinding> {
    let kept_apart = |it: &&Session| it.relayed && it.same_network && it.age >= SETTLED_AFTER;
    let session = evidence.sessions.iter().find(kept_apart)?;
    Some(NetworkFinding::Isolated {
        peer: session.name.clone(),
    })
}

fn relay(relay: &Relay, udp_blocked: bool) -> RelayFinding {
    let at = relay.at.clone();
    match &relay.state {
        RelayState::Up(..) => RelayFinding::RelayUp { relay: at },
        RelayState::UpByTcp => RelayFinding::RelayByTcp { relay: at },
        RelayState::Connecting if relay.probe.is_none() => {
            RelayFinding::RelayConnecting { relay: at }
        }
        RelayState::NoAddress(why) => RelayFinding::RelayName {
            relay: at,
            why: why.clone(),
        },
        RelayState::OtherIdentity => RelayFinding::RelayIdentity { relay: at },
        RelayState::Refused(why) => RelayFinding::RelayRefuses {
            relay: at,
            why: why.clone(),
        },
        RelayState::Connecting | RelayState::Down(_) => unreachable(relay, udp_blocked),
    }
}

fn unreachable(relay: &Relay, udp_blocked: bool) -> RelayFinding {
    let at = relay.at.clone();
    match relay.probe {
        _ if udp_blocked => RelayFinding::RelayUntested { relay: at },
        Some((Answer::Refused, _)) => RelayFinding::RelayDown { relay: at },
        Some((Answer::Silent, Answer::Refused | Answer::Answered)) => {
            RelayFinding::RelayFiltered { relay: at }
        }
        Some((Answer::Answered, _)) => RelayFinding::RelayAnswers { relay: at },
        Some((Answer::Silent, Answer::Silent)) | None => RelayFinding::RelaySilent { relay: at },
    }
}

/// If one clock differs, either of the two can be wrong. If most differ in the same direction, this
/// machine's is wrong.
fn clock(evidence: &Evidence) -> MachineFinding {
    let ahead: Vec<i64> = evidence
        .sessions
        .iter()
        .map(|session| session.clock_ahead_ms)
        .collect();
    let differ = |ms: &&i64| ms.unsigned_abs() >= CLOCK_DIFFERENCE_MS;
    let off: Vec<i64> = ahead.iter().filter(differ).copied().collect();
    match (ahead.len(), off.as_slice()) {
        (0, _) => MachineFinding::ClockUntested {},
        (_, []) => MachineFinding::ClockAgrees { all: true },
        (1, [_]) => MachineFinding::ClockUnclear {},
        (all, off) if 2 * off.len() > all && off.iter().all(|ms| (*ms > 0) == (off[0] > 0)) => {
            MachineFinding::Clock { ahead_ms: off[0] }
        }
        (_, _) => MachineFinding::ClockAgrees { all: false },
    }
}

fn disk(evidence: &Evidence) -> MachineFinding {
    match evidence.disk_free {
        _ if evidence.store_failing => MachineFinding::Disk { free_bytes: None },
        Some(free) if free < DISK_FREE_MIN => MachineFinding::Disk {
            free_bytes: Some(free),
        },
        Some(free_bytes) => MachineFinding::DiskFree { free_bytes },
        None => MachineFinding::DiskUnknown {},
    }
}

/// Damage of the database, in this run or found by the start. There is no finding without any.
fn damage(evidence: &Evidence) -> Option<MachineFinding> {
    if evidence.damaged {
        return Some(MachineFinding::DatabaseDamaged {});
    }
    let lost = evidence.dropped?;
    Some(MachineFinding::DatabaseRepaired { lost })
}

/// The messages that strangers have stored. There is no finding without any.
fn requests(evidence: &Evidence) -> Option<MachineFinding> {
    let (strangers, bytes) = (evidence.strangers, evidence.strangers_bytes);
    // One network fills at most an eighth, so this much needs many networks.
    if evidence.requests_refused > 0 || bytes >= REQUESTS_BYTES_MAX / 2 {
        return Some(MachineFinding::RequestsFull { strangers, bytes });
    }
    (strangers > 0).then_some(MachineFinding::Requests { strangers, bytes })
}

/// The limits that others have reached. There is no finding for the others.
fn limits(evidence: &Evidence) -> Vec<MachineFinding> {
    let mut reached = Vec::new();
    let refused = evidence.places_refused;
    if refused > 0 {
        reached.push(MachineFinding::PlacesFull { refused });
    }
    let rooms = evidence.full_rooms.iter().cloned();
    reached
        .extend(rooms.map(|FullRoom { name, lost }| MachineFinding::RoomFull { room: name, lost }));
    let addresses = evidence.checks_waiting;
    if addresses >= CHECKS_WAITING_MIN {
        reached.push(MachineFinding::ChecksWaiting { addresses });
    }
    let probes = evidence.probes_held_back;
    if probes > 0 {
        reached.push(MachineFinding::ProbesHeldBack { probes });
    }
    let audiences = evidence.audiences_forgotten;
    if audiences > 0 {
        reached.push(MachineFinding::AudiencesForgotten { audiences });
    }
    let peers = evidence.peers_forgotten;
    if peers > 0 {
        reached.push(MachineFinding::PeersForgotten { peers });
    }
    reached
}

/// Faults of this program. There is no finding without any.
fn faults(evidence: &Evidence) -> Option<MachineFinding> {
    let count = evidence.faults;
    (count > 0).then_some(MachineFinding::InternalFaults { count })
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
            dial_back: RelayDialBack::default(),
        }
    }

    fn healthy() -> Evidence {
        Evidence {
            port: 4626,
            networks: vec![network("eth0", "192.168.1.7")],
            mdns: Mdns::On,
            sessions: vec![session("bob"), session("cat")],
            relays: vec![
                relay(
                    "one:4627",
                    RelayState::Up(addr("11.0.0.1:4627"), addr("11.9.0.1:70")),
                    None,
                ),
                Relay {
                    dial_back: RelayDialBack {
                        sent: true,
                        arrived: true,
                        seen: Some(addr("11.9.0.1:70")),
                    },
                    ..relay(
                        "two:4627",
                        RelayState::Up(addr("11.0.0.2:4627"), addr("11.9.0.1:70")),
                        None,
                    )
                },
            ],
            dial_backs: vec![PeerDialBack {
                neighbour: true,
                sent: true,
                arrived: true,
            }],
            disk_free: Some(1 << 40),
            ..Evidence::default()
        }
    }

    fn codes(evidence: &Evidence) -> Vec<&'static str> {
        judge(evidence)
            .iter()
            .filter(|it| [Verdict::Note, Verdict::Problem].contains(&it.verdict()))
            .map(Finding::code)
            .collect()
    }

    #[test]
    fn a_healthy_network_has_only_fine_findings() {
        let findings = judge(&healthy());
        assert!(
            findings.iter().all(|it| it.verdict() == Verdict::Fine),
            "{findings:#?}"
        );
    }

    #[test]
    fn a_relay_that_is_reached_over_tcp_shows_that_udp_is_blocked() {
        let relayed = Session {
            relayed: true,
            interface: None,
            ..session("bob")
        };
        let hotel = Evidence {
            sessions: vec![relayed],
            relays: vec![relay("one:4627", RelayState::UpByTcp, None)],
            dial_backs: vec![],
            ..healthy()
        };
        assert_eq!(codes(&hotel), ["udp-blocked"]);
        let findings = judge(&hotel);
        assert!(findings.iter().any(|it| it.code() == "relay-by-tcp"));
    }

    #[test]
    fn a_node_without_peers_has_unknown_findings_and_no_problems() {
        let alone = Evidence {
            sessions: vec![],
            relays: vec![],
            dial_backs: vec![],
            ..healthy()
        };
        assert_eq!(codes(&alone), [""; 0]);
        let unknown: Vec<_> = judge(&alone)
            .into_iter()
            .filter(|it| it.verdict() == Verdict::Unknown)
            .map(|it| it.subject().as_str())
            .collect();
        assert_eq!(unknown, ["udp", "multicast", "dial-back", "nat", "clock"]);
    }

    /// The code of the one expected finding, and the fault that causes it.
    type Case = (&'static str, fn(&mut Evidence));

    #[test]
    fn mail_is_part_of_the_diagnosis() {
        let mut alone = healthy();
        alone.mail.contacts = 1;
        alone.mail.contacts_away = 1;
        assert_eq!(codes(&alone), ["no-holder"]);
    }

    #[test]
    fn each_fault_has_its_own_finding_and_no_other() {
        let cases: [Case; 31] = [
            ("port-taken", |it| it.usual_port_taken = true),
            ("internal-faults", |it| it.faults = 1),
            ("requests-full", |it| {
                it.strangers_bytes = REQUESTS_BYTES_MAX
            }),
            ("requests-full", |it| it.requests_refused = 1),
            ("places-full", |it| it.places_refused = 1),
            ("room-full", |it| {
                let name = "lobby".into();
                it.full_rooms.push(FullRoom { name, lost: 1 });
            }),
            ("checks-waiting", |it| {
                it.checks_waiting = CHECKS_WAITING_MIN
            }),
            ("probes-held-back", |it| it.probes_held_back = 1),
            ("audiences-forgotten", |it| it.audiences_forgotten = 1),
            ("peers-forgotten", |it| it.peers_forgotten = 1),
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
            ("send-refused", |it| {
                it.send_refused = Some(addr("192.168.1.9:4626"))
            }),
            ("mdns-off", |it| it.mdns = Mdns::Off),
            ("mdns-failed", |it| {
                it.mdns = Mdns::Failed(MdnsFault::PortHeld)
            }),
            ("multicast-unanswered", |it| {
                it.sessions
                    .iter_mut()
                    .for_each(|session| session.heard = false)
            }),
            ("silent-neighbour", |it| {
                it.silent = vec![("dan".to_owned(), addr("192.168.1.9:4626"))]
            }),
            ("isolated", |it| {
                let session = &mut it.sessions[0];
                (session.relayed, session.interface, session.same_network) = (true, None, true);
            }),
            ("dial-back-blocked", |it| {
                it.dial_backs[0].arrived = false;
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
            ("database-damaged", |it| it.damaged = true),
            ("database-repaired", |it| it.dropped = Some(3)),
            ("backup-failed", |it| {
                it.backup_fault = Some("no room".into())
            }),
        ];
        for (code, break_it) in cases {
            let mut evidence = healthy();
            break_it(&mut evidence);
            assert_eq!(codes(&evidence), [code]);
        }
    }

    #[test]
    fn blocked_udp_is_one_finding_without_consequences() {
        let down = |at| {
            relay(
                at,
                RelayState::Down(String::new()),
                Some((Answer::Silent, Answer::Refused)),
            )
        };
        let blocked = Evidence {
            sessions: vec![],
            dial_backs: vec![],
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
    fn a_young_session_that_mdns_has_not_found_yet_is_no_problem() {
        let mut evidence = healthy();
        for session in &mut evidence.sessions {
            (session.heard, session.age) = (false, Duration::from_secs(1));
        }
        assert_eq!(codes(&evidence), [""; 0]);
    }

    #[test]
    fn one_wrong_clock_among_several_is_not_this_machines() {
        let mut evidence = healthy();
        evidence.sessions.push(session("dan"));
        evidence.sessions[0].clock_ahead_ms = 3_600_000;
        assert_eq!(codes(&evidence), [""; 0]);
        evidence.sessions.truncate(1);
        assert!(judge(&evidence).contains(&MachineFinding::ClockUnclear {}.into()));
    }
}
