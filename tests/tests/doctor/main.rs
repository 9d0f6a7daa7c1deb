//! The verdicts of `hobnob doctor` and `hobnob why`. Each test causes one fault and expects exactly
//! the verdict for it. A healthy network has no verdicts.

mod reach;
mod why;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use hobnob_tests::lab::{Lab, Machine, Nat, Node, until};

#[test]
fn a_healthy_network_has_no_verdicts_and_a_report_contains_no_names() {
    let lab = Lab::open();
    let (ann, bob) = lab.ann_and_bob();
    ann.tells(&bob, "a word between us");
    // Otherwise bob's doctor notes that a stranger waits.
    bob.befriends(&ann);
    for node in [&ann, &bob] {
        // All checks are done, and none found a problem.
        doctor_reports(node, &[]);
        until("multicast and dial-back are checked", TIMEOUT, || {
            let fine = |name: &str| {
                doctor(node)
                    .iter()
                    .any(|(check, verdict, _)| check == name && verdict == "fine")
            };
            if fine("multicast") && fine("dial-back") {
                Ok(())
            } else {
                Err(format!("{:?}", doctor(node)))
            }
        });
        assert_eq!(codes(node), [""; 0]);
    }
    let report = lab.file("report", "");
    ann.run(&["doctor", "--report", &report]).expect(0);
    let report = std::fs::read_to_string(report).expect("the report was written");
    assert!(report.contains("multicast   fine"), "{report}");
    let secrets = [
        &ann.id()[..8],
        &bob.id()[..8],
        "10.77.",
        "fe80",
        "4626",
        "bob",
        "a word",
        "lobby",
        "eth0",
    ];
    assert!(
        !secrets.iter().any(|secret| report.contains(secret)),
        "{report}"
    );
    assert_eq!(why::why(&ann, &bob), [""; 0]);
}

#[test]
fn a_port_in_use_is_reported() {
    let lab = Lab::open();
    let machine = lab.switch().machine("ann");
    let _other = machine
        .inside(|| UdpSocket::bind("[::]:4626"))
        .expect("the port is free");
    doctor_reports(&machine.up("ann", &[]), &["port-taken"]);
}

#[test]
fn blocked_udp_is_reported() {
    let lab = Lab::open();
    let net = lab.internet();
    let relay = net.machine("relay").relay(&[]);
    let home = net.site(Nat::PortRestricted);
    home.block_udp();
    let ann = home.machine("ann").up("ann", &["--relay", &relay.name()]);
    doctor_reports(&ann, &["udp-blocked"]);
    home.allow_udp();
    doctor_reports(&ann, &[]);
}

#[test]
fn blocked_multicast_is_reported() {
    let lab = Lab::open();
    let office = lab.switch();
    let machine = office.machine("ann");
    firewall(
        &machine,
        "ip daddr 224.0.0.0/4 drop; ip6 daddr ff02::fb drop",
        "ip daddr 224.0.0.0/4 drop; ip6 daddr ff02::fb drop",
    );
    let (ann, bob) = (machine.up("ann", &[]), office.machine("bob").up("bob", &[]));
    ann.tells(format!("{}:4626", bob.machine().ipv4()), "found you");
    doctor_reports(&ann, &["multicast-unanswered"]);
}

#[test]
fn client_isolation_is_reported() {
    let lab = Lab::open();
    let net = lab.internet();
    let relay = net.machine("relay").relay(&[]);
    let cafe = net.site(Nat::PortRestricted);
    let machines = ["ann", "bob"].map(|name| cafe.machine(name));
    // Like a Wi-Fi access point with client isolation: machines reach the router, but not each
    // other.
    lab.cut(&[&machines[0]]);
    let [ann, bob] =
        machines.map(|machine| machine.up(machine.name(), &["--relay", &relay.name()]));
    ann.connects_over("relay", &bob, TIMEOUT);
    // Only contacts learn that they are neighbours.
    ann.are_contacts(&bob);
    doctor_reports(&ann, &["isolated"]);
}

#[test]
fn a_relay_that_is_down_or_has_a_new_identity_is_reported() {
    let lab = Lab::open();
    let net = lab.internet();
    let relay = net.machine("relay").relay(&[]);
    let at = relay.address().to_string();
    let ann = net
        .site(Nat::PortRestricted)
        .machine("ann")
        .up("ann", &["--relay", &at]);
    ann.notices("relay-up");
    relay.kill9();
    ann.restart();
    doctor_reports(&ann, &["relay-down"]);
    let _other = relay.wipe().relay(&[]);
    doctor_reports(&ann, &["relay-identity"]);
}

#[test]
fn a_relay_that_refuses_or_has_a_wrong_name_is_reported() {
    let lab = Lab::open();
    let net = lab.internet();
    let token = lab.file("token", "for friends of the house");
    let relay = net.machine("relay").relay(&["--token-file", &token]);
    let home = net.site(Nat::PortRestricted);
    doctor_reports(
        &home.machine("ann").up("ann", &["--relay", &relay.name()]),
        &["relay-refuses"],
    );
    doctor_reports(
        &home
            .machine("bob")
            .up("bob", &["--relay", "no.such.name.invalid:4627"]),
        &["relay-name"],
    );
}

#[test]
fn a_filtered_relay_port_is_reported() {
    let lab = Lab::open();
    let net = lab.internet();
    let [one, other] = ["one", "other"].map(|name| net.machine(name));
    firewall(&one, "udp dport 4627 drop", "");
    let relays = [one, other].map(|machine| machine.relay(&["--no-tcp"]));
    let names = relays.each_ref().map(|relay| relay.name());
    let ann = net
        .site(Nat::PortRestricted)
        .machine("ann")
        .up("ann", &["--relay", &names[0], "--relay", &names[1]]);
    doctor_reports(&ann, &["relay-filtered"]);
}

#[test]
fn a_missing_network_is_reported() {
    let lab = Lab::open();
    let machine = lab.machine("ann");
    let ann = machine.up("ann", &[]);
    doctor_reports(&ann, &["no-network"]);
    machine.join(&lab.switch());
    doctor_reports(&ann, &[]);
}

#[test]
fn disabled_discovery_is_reported() {
    let lab = Lab::open();
    let office = lab.switch();
    let (ann, bob) = (
        office.machine("ann").up("ann", &["--no-mdns"]),
        office.machine("bob").up("bob", &[]),
    );
    ann.tells(format!("{}:4626", bob.machine().ipv4()), "found you");
    bob.befriends(&ann);
    doctor_reports(&ann, &["mdns-off"]);
    doctor_reports(&bob, &[]);
}

#[test]
fn discovery_starts_when_another_program_frees_the_mdns_port() {
    let lab = Lab::open();
    let office = lab.switch();
    let machine = office.machine("ann");
    // The first socket has both families where the system allows it.
    let any: [IpAddr; 2] = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
    let port = machine.inside(|| any.map(|ip| UdpSocket::bind((ip, 5353))));
    assert!(port[0].is_ok());
    let (ann, bob) = (machine.up("ann", &[]), office.machine("bob").up("bob", &[]));
    doctor_reports(&ann, &["mdns-failed"]);
    drop(port);
    ann.sees(&bob);
    doctor_reports(&ann, &[]);
}

#[test]
fn the_lan_is_found_behind_more_interfaces_than_multicast_groups() {
    let lab = Lab::open();
    let office = lab.switch();
    let machine = office.machine("ann");
    for n in 0..30 {
        // The names are before the LAN's interface in the system's list, and so are the addresses.
        let bridge = format!("br-{n:02}");
        for line in [
            format!("link add {bridge} type bridge"),
            format!("addr add 10.0.{n}.1/24 dev {bridge}"),
            format!("link set {bridge} up"),
        ] {
            let words: Vec<_> = line.split(' ').collect();
            machine.run("ip", &words).expect(0);
        }
    }
    machine
        .run("ip", &["route", "add", "default", "dev", "eth0"])
        .expect(0);
    let ann = machine.up("ann", &[]);
    let bob = office.machine("bob").up("bob", &[]);
    ann.sees(&bob);
    bob.sees(&ann);
    let id = ann.run(&["id"]).expect(0).json();
    let addrs = id[0]["addrs"].to_string();
    assert!(addrs.contains(&machine.ipv4()), "{addrs}");
}

#[test]
fn a_firewall_that_refuses_to_send_is_reported() {
    let lab = Lab::open();
    let office = lab.switch();
    let [ann, bob] = ["ann", "bob"].map(|name| office.machine(name).up(name, &[]));
    ann.sees(&bob);
    bob.befriends(&ann);
    doctor_reports(&ann, &[]);
    firewall(ann.machine(), "", "udp sport 4626 drop");
    let to_bob = ann.run(&["send", "--wait", "queued", bob.id(), "can you hear me?"]);
    to_bob.expect(0);
    until("the refusal is reported", TIMEOUT, || {
        let reported = codes(&ann);
        if reported.contains(&"send-refused".to_owned()) {
            Ok(())
        } else {
            Err(format!("{reported:?}"))
        }
    });
}

#[test]
fn a_neighbour_whose_firewall_drops_everything_is_named() {
    let lab = Lab::open();
    let office = lab.switch();
    let machine = office.machine("bob");
    // Bob hears mDNS and announces himself. Everything else is dropped.
    firewall(&machine, "udp dport != 5353 drop", "udp dport != 5353 drop");
    let ann = office.machine("ann").up("ann", &[]);
    let _bob = machine.up("bob", &[]);
    doctor_reports(&ann, &["silent-neighbour"]);
}

#[test]
fn two_laptops_on_one_cable_have_a_network() {
    let lab = Lab::open();
    let cable = lab.switch();
    let [ann, bob] = ["ann", "bob"].map(|name| {
        let machine = cable.machine(name);
        // Only the IPv6 link-local address is left.
        machine
            .run("ip", &["-4", "addr", "flush", "dev", "eth0"])
            .expect(0);
        machine
            .run(
                "ip",
                &["-6", "addr", "flush", "dev", "eth0", "scope", "global"],
            )
            .expect(0);
        machine.up(name, &[])
    });
    ann.sees(&bob);
    ann.tells(&bob, "over the cable");
    bob.befriends(&ann);
    doctor_reports(&ann, &[]);
}

#[test]
fn a_wrong_clock_is_reported() {
    let lab = Lab::open();
    let office = lab.switch();
    let wrong = office.machine("ann").home("ann").with_clock("+1h");
    let [bob, cat] = ["bob", "cat"].map(|name| office.machine(name).up(name, &[]));
    let ann = wrong.up(&[]);
    for node in [&bob, &cat] {
        ann.sees(node);
        node.sees(&ann);
    }
    bob.sees(&cat);
    doctor_reports(&ann, &["clock"]);
    doctor_reports(&bob, &[]);
    assert_eq!(why::why(&bob, &ann), ["clock-differs"]);
}

#[test]
fn a_nearly_full_disk_is_reported() {
    let lab = Lab::open();
    let home = lab.switch().machine("ann").home("ann");
    home.put_on_small_disk("8m");
    doctor_reports(&home.up(&[]), &["disk"]);
}

#[test]
fn several_networks_and_a_vpn_are_reported() {
    let lab = Lab::open();
    let (office, other) = (lab.switch(), lab.switch());
    let machine = office.machine("ann");
    machine.join(&other);
    doctor_reports(&machine.up("ann", &[]), &["several-networks"]);
    let traveller = office.machine("bob");
    let tunnel = [
        "link add wg0 type veth peer name far",
        "link set far up",
        "link set wg0 up",
        "addr add 10.9.0.2/24 dev wg0",
    ];
    for line in tunnel.into_iter().chain(["route replace default dev wg0"]) {
        traveller
            .run("ip", &line.split(' ').collect::<Vec<_>>())
            .expect(0);
    }
    doctor_reports(&traveller.up("bob", &[]), &["vpn"]);
}

/// The doctor's output: check and verdict of each line, and the code of notes and problems.
fn doctor(node: &Node) -> Vec<(String, String, String)> {
    checks(node, &["doctor"])
}

fn doctor_lines(node: &Node) -> Vec<serde_json::Value> {
    node.run(&["doctor"]).expect_one_of(&[0, 1]).json()
}

fn checks(node: &Node, command: &[&str]) -> Vec<(String, String, String)> {
    let lines = node.run(command).expect_one_of(&[0, 1]).json();
    let word =
        |line: &serde_json::Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    lines
        .iter()
        .map(|line| {
            let (verdict, code) = (word(line, "verdict"), word(line, "code"));
            let tells = ["note", "problem"].contains(&verdict.as_str());
            (
                word(line, "check"),
                verdict,
                if tells { code } else { String::new() },
            )
        })
        .collect()
}

/// The codes of notes and problems.
fn codes(node: &Node) -> Vec<String> {
    doctor(node)
        .into_iter()
        .map(|(_, _, code)| code)
        .filter(|code| !code.is_empty())
        .collect()
}

/// Waits until the doctor reports exactly these codes.
fn doctor_reports(node: &Node, wanted: &[&str]) {
    until(
        &format!("{}'s doctor reports {wanted:?}", node.nick()),
        TIMEOUT,
        || {
            let reported = codes(node);
            if reported == wanted {
                Ok(())
            } else {
                Err(format!("{:?}", doctor(node)))
            }
        },
    );
}

/// Adds rules for packets to and from a machine.
fn firewall(machine: &Machine, input: &str, output: &str) {
    let rules = format!(
        "table inet lab {{\nchain input {{ type filter hook input priority filter; {input}; }}\n\
         chain output {{ type filter hook output priority filter; {output}{} }}\n}}\n",
        if output.is_empty() { "" } else { ";" }
    );
    machine
        .run_with("nft", &["-f", "-"], &BTreeMap::new(), &rules)
        .expect(0);
}

const TIMEOUT: Duration = Duration::from_secs(60);
