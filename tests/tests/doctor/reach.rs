//! Verdicts about reachability: firewalls that block incoming connections, and kinds of NAT (RFC
//! 5780).

use hobnob_tests::lab::{Lab, Nat, Node, until};

use super::{TIMEOUT, doctor_lines, doctor_reports, firewall};

#[test]
fn a_firewall_that_blocks_incoming_connections_is_reported() {
    let lab = Lab::open();
    let office = lab.switch();
    let machine = office.machine("ann");
    firewall(&machine, STATEFUL, "");
    let (ann, bob) = (machine.up("ann", &[]), office.machine("bob").up("bob", &[]));
    ann.sees(&bob);
    doctor_reports(&ann, &["dial-back-blocked"]);
    doctor_reports(&bob, &[]);
}

#[test]
fn a_relay_alone_is_enough_to_detect_the_firewall() {
    let lab = Lab::open();
    let net = lab.internet();
    let relay = net.machine("relay").relay(&[]);
    let machine = net.machine("ann");
    firewall(&machine, STATEFUL, "");
    let ann = machine.up("ann", &["--relay", &relay.name()]);
    doctor_reports(&ann, &["dial-back-blocked"]);
    machine
        .run("nft", &["delete", "table", "inet", "lab"])
        .expect(0);
    doctor_reports(&ann, &[]);
    doctor_finds(&ann, &[("dial-back", "fine", ""), ("nat", "fine", "none")]);
}

#[test]
fn each_kind_of_nat_is_detected_with_one_relay_and_with_two() {
    let lab = Lab::open();
    let net = lab.internet();
    let relays = ["one", "two"].map(|name| net.machine(name).relay(&["--no-roster"]));
    let names = relays.each_ref().map(|relay| relay.name());
    for nat in Nat::ALL {
        let site = net.site(nat);
        let by_one = site.machine("ann").up("ann", &["--relay", &names[0]]);
        let by_two = site
            .machine("bob")
            .up("bob", &["--relay", &names[0], "--relay", &names[1]]);
        let (filtering, mapping_by_one, mapping_by_two) = match nat {
            Nat::FullCone | Nat::AddressRestricted => (
                EI_OR_AD,
                ("unknown", EI_OR_AD),
                ("fine", "endpoint-independent"),
            ),
            Nat::PortRestricted => (APD, ("unknown", EI_OR_AD), ("fine", "endpoint-independent")),
            Nat::Symmetric => (APD, ("note", APD), ("note", APD)),
            Nat::Unfiltered => unreachable!("not one of the four"),
        };
        for (node, (verdict, kind)) in [(&by_one, mapping_by_one), (&by_two, mapping_by_two)] {
            doctor_finds(
                node,
                &[("nat", verdict, kind), ("filtering", "fine", filtering)],
            );
            doctor_reports(
                node,
                if nat == Nat::Symmetric {
                    &["nat-dependent"]
                } else {
                    &[]
                },
            );
        }
    }
}

#[test]
fn a_relay_behind_its_own_firewall_detects_only_some_kinds_of_nat() {
    let lab = Lab::open();
    let net = lab.internet();
    let machine = net.machine("relay");
    firewall(
        &machine,
        "ct state established,related accept; meta l4proto udp udp dport != 4627 drop",
        "",
    );
    let relay = machine.relay(&[]);
    let behind = |nat| {
        net.site(nat)
            .machine("ann")
            .up("ann", &["--relay", &relay.name()])
    };
    // The relay's probe opens the relay's firewall for answers from the port that it probes. A
    // port-restricted NAT answers from this port …
    doctor_finds(
        &behind(Nat::PortRestricted),
        &[("nat", "unknown", EI_OR_AD), ("filtering", "fine", APD)],
    );
    // … but a symmetric NAT answers from another port.
    let ann = behind(Nat::Symmetric);
    doctor_finds(
        &ann,
        &[
            ("nat", "unknown", "unknown"),
            ("filtering", "unknown", "unknown"),
        ],
    );
    doctor_reports(&ann, &[]);
}

#[test]
fn the_report_contains_the_kind_of_nat() {
    let lab = Lab::open();
    let net = lab.internet();
    let relay = net.machine("relay").relay(&[]);
    let ann = net
        .site(Nat::PortRestricted)
        .machine("ann")
        .up("ann", &["--relay", &relay.name()]);
    doctor_finds(&ann, &[("filtering", "fine", APD)]);
    let report = lab.file("report", "");
    ann.run(&["doctor", "--report", &report]).expect(0);
    let report = std::fs::read_to_string(report).expect("the report was written");
    assert!(
        report
            .lines()
            .any(|line| line.starts_with("filtering") && line.ends_with(APD)),
        "{report}"
    );
    assert!(
        !report.contains(&relay.address().ip().to_string()),
        "{report}"
    );
}

/// Waits until the doctor reports these verdicts and kinds for these checks.
fn doctor_finds(node: &Node, wanted: &[(&str, &str, &str)]) {
    until(
        &format!("{}'s doctor finds {wanted:?}", node.nick()),
        TIMEOUT,
        || {
            let lines = doctor_lines(node);
            let word = |line: &serde_json::Value, name: &str| {
                line[name].as_str().unwrap_or_default().to_owned()
            };
            let finds = |(check, verdict, kind): &(&str, &str, &str)| {
                lines.iter().any(|line| {
                    word(line, "check") == *check
                        && word(line, "verdict") == *verdict
                        && word(line, "kind") == *kind
                })
            };
            if wanted.iter().all(finds) {
                Ok(())
            } else {
                Err(format!("{lines:?}"))
            }
        },
    );
}

const STATEFUL: &str = "ct state established,related accept; udp dport 4626 drop";

const EI_OR_AD: &str = "endpoint-independent-or-address-dependent";
const APD: &str = "address-and-port-dependent";
