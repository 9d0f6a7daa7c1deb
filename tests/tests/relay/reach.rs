//! Peers that are reached through a relay: by id, by ticket, over IPv6, idle, and after a move.

use std::net::Ipv4Addr;
use std::time::Duration;

use hobnob_tests::lab::{Addresses, Lab, Machine, Nat, Node, OnInternet, pause};

use crate::relay_net::RelayNet;

#[test]
fn a_peer_is_reached_by_its_id_at_a_relay_without_a_roster() {
    let lab = Lab::open();
    let net = lab.internet();
    let relay = net.machine("relay").relay(&["--no-roster"]);
    let (home, office) = (net.site(Nat::Symmetric), net.site(Nat::Symmetric));
    let name = relay.name();
    let ann = home.machine("ann").up("ann", &["--relay", &name]);
    let bob = office.machine("bob").up("bob", &["--relay", &name]);
    bob.notices("relay-up");
    ann.tells(format!("{}@{}", bob.id(), relay.address()), "found you");
    bob.shows_once("found you");
    assert!(ann.is_connected_over("relay", &bob));
}

#[test]
fn a_ticket_leads_to_an_unknown_relay() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let (_home, ann) = net.alone_behind(Nat::Symmetric, "ann");
    let ticket = ann.ticket();
    ann.notices("relay-up");
    let bob = net
        .internet
        .site(Nat::PortRestricted)
        .machine("bob")
        .up("bob", &[]);
    bob.tells(ticket, "by ticket");
    ann.shows_once("by ticket");
}

#[test]
fn a_relay_and_its_peers_work_with_ipv6_only() {
    let lab = Lab::open();
    let office = lab.switch_with(Addresses::Ipv6Only);
    let relay = office.machine("relay").relay(&[]);
    let name = relay.name_by_ipv6();
    let [ann, bob] = ["ann", "bob"].map(|nick| {
        office
            .machine(nick)
            .up(nick, &["--no-mdns", "--relay", &name])
    });
    ann.sees(&bob);
    bob.sees(&ann);
    assert!(ann.has_connected_over("relay", &bob));
    ann.tells(&bob, "over IPv6");
    bob.shows_once("over IPv6");
}

#[test]
fn peers_of_one_network_switch_from_the_relay_to_the_lan() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let home = net.internet.site(Nat::PortRestricted);
    let name = net.relay.name();
    // There is no mDNS and the router does not hairpin, so only the private addresses can connect
    // them.
    let [ann, bob] = ["ann", "bob"].map(|nick| {
        home.machine(nick)
            .up(nick, &["--no-mdns", "--relay", &name])
    });
    ann.are_contacts(&bob);
    ann.connects_over("lan", &bob, Duration::from_secs(10));
    bob.connects_over("lan", &ann, Duration::from_secs(10));
}

#[test]
fn peers_in_two_routed_networks_behind_one_nat_connect_directly() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let home = net.internet.site(Nat::PortRestricted);
    let cellar = lab.switch();
    // This machine connects the two networks.
    let router = home.machine("router");
    router.join(&cellar);
    router
        .run("sysctl", &["-q", "-w", "net.ipv4.ip_forward=1"])
        .expect(0);
    let bob = cellar.machine("bob");
    let network = format!(
        "{}.0/24",
        bob.ipv4().rsplit_once('.').expect("four parts").0
    );
    home.route(&network, &router);
    bob.run(
        "ip",
        &["route", "add", "default", "via", &inner_ipv4(&router)],
    )
    .expect(0);

    let ann = home.machine("ann");
    ann.run("ip", &["route", "add", &network, "via", &router.ipv4()])
        .expect(0);

    let name = net.relay.name();
    let up = |machine: &Machine, nick: &str| machine.up(nick, &["--no-mdns", "--relay", &name]);
    let (ann, bob) = (up(&ann, "ann"), up(&bob, "bob"));
    ann.are_contacts(&bob);
    ann.connects_over("direct", &bob, Duration::from_secs(20));
    bob.connects_over("direct", &ann, Duration::from_secs(20));
}

/// A machine's address on its second network.
fn inner_ipv4(machine: &Machine) -> String {
    let cards = machine.run("ip", &["-j", "-4", "addr", "show", "dev", "eth1"]);
    let cards = cards.expect(0).json();
    let ip = cards[0][0]["addr_info"][0]["local"].as_str();
    ip.expect("the second network has IPv4").to_owned()
}

#[test]
fn private_addresses_of_other_networks_are_never_probed() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let home = net
        .internet
        .site_with(Nat::Symmetric, Ipv4Addr::new(10, 1, 2, 0));
    let office = net
        .internet
        .site_with(Nat::PortRestricted, Ipv4Addr::new(172, 16, 9, 0));
    let (ann, bob) = (
        net.up(&home.machine("ann"), "ann"),
        net.up(&office.machine("bob"), "bob"),
    );
    let (_cafe, cat) = net.alone_behind(Nat::FullCone, "cat");
    ann.are_contacts(&bob);
    for other in [&ann, &bob] {
        cat.are_contacts(other);
        cat.connects_over("direct", other, Duration::from_secs(10));
    }
    ann.tells(&bob, "through the relay");
    assert_eq!(net.internet.strays(), 0);
}

#[test]
fn idle_peers_keep_their_path_through_nats_that_expire_after_half_a_minute() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let (_home, ann) = net.alone_behind(Nat::PortRestricted, "ann");
    let (_office, bob) = net.alone_behind(Nat::PortRestricted, "bob");
    let (_cafe, cat) = net.alone_behind(Nat::Symmetric, "cat");
    ann.are_contacts(&bob);
    ann.are_contacts(&cat);
    ann.connects_over("direct", &bob, Duration::from_secs(10));
    ann.connects_over("relay", &cat, Duration::from_secs(10));
    let registered =
        |node: &Node| net.relay.row(node.id()).expect("the node is registered")["since"].clone();
    let before = [&ann, &bob, &cat].map(registered);
    let events = ann.events().len();
    pause(Duration::from_secs(65));
    assert_eq!(
        ann.events().len(),
        events,
        "no peer was suspected, lost or seen again"
    );
    assert_eq!([&ann, &bob, &cat].map(registered), before);
    for other in [&bob, &cat] {
        other.tells(&ann, &format!("{} is still here", other.nick()));
        ann.shows_once_within(
            &format!("{} is still here", other.nick()),
            Duration::from_secs(1),
        );
    }
    assert!(ann.is_connected_over("direct", &bob) && ann.is_connected_over("relay", &cat));
}

#[test]
fn a_failed_direct_path_is_restored() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let (home, ann) = net.alone_behind(Nat::PortRestricted, "ann");
    let (office, bob) = net.alone_behind(Nat::AddressRestricted, "bob");
    ann.are_contacts(&bob);
    ann.connects_over("direct", &bob, Duration::from_secs(10));
    net.internet.cut(&home, &office);
    ann.connects_over("relay", &bob, Duration::from_secs(30));
    net.internet.heal(&home, &office);
    // The nodes try again every half minute.
    ann.connects_over("direct", &bob, Duration::from_secs(60));
    bob.connects_over("direct", &ann, Duration::from_secs(3));
}

#[test]
fn an_orderly_close_passes_through_a_relay() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let ((_home, ann), (_office, bob)) = (
        net.alone_behind(Nat::Symmetric, "ann"),
        net.alone_behind(Nat::Symmetric, "bob"),
    );
    for _ in 0..5 {
        ann.sees(&bob);
        bob.sees(&ann);
        assert!(bob.is_connected_over("relay", &ann));
        bob.terminate();
        // Without an orderly close, ann would notice after 15 seconds.
        ann.loses_within(&bob, Duration::from_secs(5));
        bob.start();
    }
}

#[test]
fn a_laptop_that_changes_networks_is_reconnected() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let (home, ann) = net.alone_behind(Nat::PortRestricted, "ann");
    let (_office, bob) = net.alone_behind(Nat::PortRestricted, "bob");
    ann.are_contacts(&bob);
    ann.connects_over("direct", &bob, Duration::from_secs(10));
    let cafe = net
        .internet
        .site_with(Nat::Symmetric, Ipv4Addr::new(192, 168, 77, 0));
    assert_ne!(cafe.public_ipv4(), home.public_ipv4());
    ann.machine().move_to(cafe.lan());
    bob.connects_over("relay", &ann, Duration::from_secs(30));
    ann.tells(&bob, "from the café");
    bob.shows_once("from the café");
}

#[test]
fn a_stranger_learns_no_address_through_a_relay() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let (_home, ann) = net.alone_behind(Nat::FullCone, "ann");
    let (_office, bob) = net.alone_behind(Nat::FullCone, "bob");
    ann.sees(&bob);
    bob.tells(&ann, "do you know me?");
    ann.shows_once("do you know me?");
    // Bob would go direct by now. Ann has not accepted him.
    pause(DIRECT_WITHIN);
    assert!(!ann.has_connected_over("direct", &bob) && !bob.has_connected_over("direct", &ann));
    ann.tells(&bob, "I do");
    ann.connects_over("direct", &bob, DIRECT_WITHIN);
}

/// Contacts behind NATs that allow it have a direct path within this time.
const DIRECT_WITHIN: Duration = Duration::from_secs(3);
