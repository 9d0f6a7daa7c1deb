use super::*;
use crate::diagnosis::{Finding, Network, Subject, Verdict};

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// A relay, the address at which it sees this node, and the outcome of its dial-back.
fn relay(at: &str, seen: &str, dial_back: RelayDialBack) -> Relay {
    Relay {
        at: at.into(),
        state: RelayState::Up(addr(at), addr(seen)),
        probe: None,
        dial_back,
    }
}

/// A node with a private address and a public one.
fn evidence(relays: Vec<Relay>) -> Evidence {
    let network = |ip: &str| Network {
        interface: "eth0".into(),
        ip: ip.parse().expect("an address"),
        vpn: false,
        to_internet: true,
    };
    Evidence {
        port: 4626,
        networks: vec![network("192.168.1.7"), network("11.5.0.1")],
        relays,
        ..Evidence::default()
    }
}

const ONE: &str = "11.0.0.1:4627";
const OTHER_PORT: &str = "11.0.0.1:4700";
const TWO: &str = "11.0.0.2:4627";

const NO_DIAL_BACK: RelayDialBack = RelayDialBack {
    sent: false,
    arrived: false,
    seen: None,
};

fn answered(arrived: bool, seen: &str) -> RelayDialBack {
    RelayDialBack {
        sent: true,
        arrived,
        seen: Some(addr(seen)),
    }
}

fn kinds(evidence: &Evidence) -> [Option<&'static str>; 2] {
    let findings: Vec<_> = judge(evidence).into_iter().map(Finding::from).collect();
    [Subject::Nat, Subject::Filtering].map(|subject| {
        findings
            .iter()
            .find(|it| it.subject() == subject)
            .and_then(Finding::kind)
    })
}

fn dial_back_of(evidence: &Evidence) -> Verdict {
    Finding::from(judge(evidence).remove(0)).verdict()
}

#[test]
fn the_mapping_is_as_precise_as_the_relays_show_it() {
    let (same, other, third) = ("11.9.0.1:70", "11.9.0.1:71", "11.9.0.1:72");
    let cases = [
        ("unknown", vec![relay(ONE, same, NO_DIAL_BACK)]),
        (
            "endpoint-independent",
            vec![
                relay(ONE, same, NO_DIAL_BACK),
                relay(TWO, same, NO_DIAL_BACK),
            ],
        ),
        (
            "address-dependent-or-address-and-port-dependent",
            vec![
                relay(ONE, same, NO_DIAL_BACK),
                relay(TWO, other, NO_DIAL_BACK),
            ],
        ),
        (
            "endpoint-independent-or-address-dependent",
            vec![relay(ONE, same, answered(false, same))],
        ),
        (
            "endpoint-independent-or-address-dependent",
            vec![
                relay(ONE, same, NO_DIAL_BACK),
                relay(OTHER_PORT, same, NO_DIAL_BACK),
            ],
        ),
        (
            "address-and-port-dependent",
            vec![relay(ONE, same, answered(false, other))],
        ),
        (
            "address-and-port-dependent",
            vec![
                relay(ONE, same, NO_DIAL_BACK),
                relay(OTHER_PORT, other, NO_DIAL_BACK),
            ],
        ),
        (
            "address-and-port-dependent",
            vec![
                relay(ONE, same, answered(false, other)),
                relay(TWO, third, NO_DIAL_BACK),
            ],
        ),
        (
            "address-dependent",
            vec![
                relay(ONE, same, answered(false, same)),
                relay(TWO, other, answered(false, other)),
            ],
        ),
        (
            "endpoint-independent",
            vec![
                relay(ONE, same, answered(true, same)),
                relay(TWO, same, NO_DIAL_BACK),
            ],
        ),
        // Another family has another NAT, or none.
        (
            "unknown",
            vec![
                relay(ONE, same, NO_DIAL_BACK),
                relay("[2001:db8::1]:4627", "[2001:db8::9]:70", NO_DIAL_BACK),
            ],
        ),
    ];
    for (kind, relays) in cases {
        let evidence = evidence(relays);
        assert_eq!(kinds(&evidence)[0], Some(kind), "{evidence:?}");
    }
}

#[test]
fn the_filtering_follows_from_dial_backs_and_answers() {
    let seen = "11.9.0.1:70";
    let cases = [
        (
            "endpoint-independent-or-address-dependent",
            answered(true, seen),
        ),
        (
            "endpoint-independent-or-address-dependent",
            RelayDialBack {
                seen: None,
                ..answered(true, seen)
            },
        ),
        ("address-and-port-dependent", answered(false, seen)),
        ("address-and-port-dependent", answered(false, "11.9.0.1:71")),
        ("unknown", NO_DIAL_BACK),
        (
            "unknown",
            RelayDialBack {
                seen: None,
                ..answered(false, seen)
            },
        ),
    ];
    for (kind, dial_back) in cases {
        assert_eq!(
            kinds(&evidence(vec![relay(ONE, seen, dial_back)]))[1],
            Some(kind),
            "{dial_back:?}"
        );
    }
}

#[test]
fn a_node_seen_at_its_own_address_has_no_nat_unless_only_neighbours_see_it() {
    let seen_at = |seens: &[&str]| {
        evidence(
            seens
                .iter()
                .map(|seen| relay(ONE, seen, NO_DIAL_BACK))
                .collect(),
        )
    };
    assert_eq!(kinds(&seen_at(&["11.5.0.1:4626"])), [Some("none"), None]);
    for near in ["192.168.1.7:4626", "127.0.0.1:4626", "[fe80::1]:4626"] {
        let nat = judge(&seen_at(&[near])).remove(1);
        assert_eq!(nat, ReachFinding::NatRelayNear {}, "{near}");
        // A relay beyond the NAT overrides it.
        assert_eq!(
            kinds(&seen_at(&[near, "11.9.0.1:70"])),
            [Some("unknown"), Some("unknown")]
        );
    }
    // Another port at this node's address: a NAT on this machine.
    assert_eq!(
        kinds(&seen_at(&["11.5.0.1:70"])),
        [Some("unknown"), Some("unknown")]
    );
    assert_eq!(judge(&evidence(vec![]))[1], ReachFinding::NatUnseen {});
}

#[test]
fn a_lost_dial_back_of_a_relay_means_a_firewall_if_there_is_no_nat() {
    let (blocked, unknown, fine) = (Verdict::Problem, Verdict::Unknown, Verdict::Fine);
    let (own, nat) = ("11.5.0.1:4626", "11.9.0.1:70");
    let of = |seen, dial_back| dial_back_of(&evidence(vec![relay(ONE, seen, dial_back)]));
    assert_eq!(of(own, answered(false, own)), blocked);
    assert_eq!(of(own, answered(true, own)), fine);
    assert_eq!(
        of(nat, answered(false, nat)),
        unknown,
        "that is what NATs do"
    );
    assert_eq!(of(nat, answered(true, nat)), fine);
    // The relay may not have sent it, or the path may be bad.
    assert_eq!(
        of(
            own,
            RelayDialBack {
                seen: None,
                ..answered(false, own)
            }
        ),
        unknown
    );
    assert_eq!(of(own, NO_DIAL_BACK), unknown);
}

#[test]
fn a_lost_dial_back_of_a_peer_means_a_firewall_if_no_nat_is_between() {
    let dial_back = |neighbour, arrived| PeerDialBack {
        neighbour,
        sent: true,
        arrived,
    };
    let with = |relays, dial_backs| {
        dial_back_of(&Evidence {
            dial_backs,
            ..evidence(relays)
        })
    };
    let blocked = Verdict::Problem;
    let (own, nat) = (
        |dial_back| relay(ONE, "11.5.0.1:4626", dial_back),
        || relay(ONE, "11.9.0.1:70", NO_DIAL_BACK),
    );
    assert_eq!(with(vec![], vec![dial_back(true, false)]), blocked);
    assert_eq!(with(vec![nat()], vec![dial_back(true, false)]), blocked);
    assert_eq!(
        with(vec![own(NO_DIAL_BACK)], vec![dial_back(false, false)]),
        blocked
    );
    for relays in [vec![], vec![nat()]] {
        assert_eq!(
            with(relays, vec![dial_back(false, false)]),
            Verdict::Unknown,
            "a NAT may stand between"
        );
    }
    assert_eq!(
        with(vec![], vec![dial_back(true, false), dial_back(true, true)]),
        Verdict::Fine
    );
    // Only dial-backs from neighbours arrive.
    assert_eq!(
        with(
            vec![own(answered(false, "11.5.0.1:4626"))],
            vec![dial_back(true, true)]
        ),
        blocked
    );
    assert_eq!(
        with(
            vec![own(answered(false, "11.5.0.1:4626"))],
            vec![dial_back(false, true)]
        ),
        Verdict::Fine
    );
}
