//! Who can be reached through a relay, and by what name.

use std::net::Ipv4Addr;
use std::time::Duration;

use hobnob_tests::lab::{Addresses, Lab, Nat, Node, OnInternet, pause};

use crate::world::World;

#[test]
fn a_peer_is_reached_by_its_id_at_a_relay_that_names_nobody() {
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
fn a_ticket_brings_somebody_to_a_relay_that_they_did_not_know() {
    let lab = Lab::open();
    let world = World::of(&lab);
    let (_home, ann) = world.alone_behind(Nat::Symmetric, "ann");
    let ticket = ann.ticket();
    ann.notices("relay-up");
    let bob = world
        .net
        .site(Nat::PortRestricted)
        .machine("bob")
        .up("bob", &[]);
    bob.tells(ticket, "by ticket");
    ann.shows_once("by ticket");
}

#[test]
fn a_relay_and_its_people_need_nothing_but_ipv6() {
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
fn neighbours_who_meet_at_a_relay_go_on_over_their_own_network() {
    let lab = Lab::open();
    let world = World::of(&lab);
    let home = world.net.site(Nat::PortRestricted);
    let name = world.relay.name();
    // Without mDNS, and with no hairpin at their router: only their own addresses can bring them
    // together.
    let [ann, bob] = ["ann", "bob"].map(|nick| {
        home.machine(nick)
            .up(nick, &["--no-mdns", "--relay", &name])
    });
    ann.connects_over("lan", &bob, Duration::from_secs(10));
    bob.connects_over("lan", &ann, Duration::from_secs(10));
}

#[test]
fn private_addresses_of_other_networks_are_never_knocked_at() {
    let lab = Lab::open();
    let world = World::of(&lab);
    let home = world
        .net
        .site_with(Nat::Symmetric, Ipv4Addr::new(10, 1, 2, 0));
    let office = world
        .net
        .site_with(Nat::PortRestricted, Ipv4Addr::new(172, 16, 9, 0));
    let (ann, bob) = (
        world.up(&home.machine("ann"), "ann"),
        world.up(&office.machine("bob"), "bob"),
    );
    let (_cafe, cat) = world.alone_behind(Nat::FullCone, "cat");
    for other in [&ann, &bob] {
        cat.connects_over("direct", other, Duration::from_secs(10));
    }
    ann.tells(&bob, "through the relay");
    assert_eq!(world.net.strays(), 0);
}

#[test]
fn two_who_say_nothing_keep_their_path_through_nats_that_forget_after_half_a_minute() {
    let lab = Lab::open();
    let world = World::of(&lab);
    let (_home, ann) = world.alone_behind(Nat::PortRestricted, "ann");
    let (_office, bob) = world.alone_behind(Nat::PortRestricted, "bob");
    let (_cafe, cat) = world.alone_behind(Nat::Symmetric, "cat");
    ann.connects_over("direct", &bob, Duration::from_secs(10));
    ann.connects_over("relay", &cat, Duration::from_secs(10));
    let registered =
        |node: &Node| world.relay.row(node.id()).expect("it is registered")["since"].clone();
    let before = [&ann, &bob, &cat].map(registered);
    let said = ann.events().len();
    pause(Duration::from_secs(65));
    assert_eq!(
        ann.events().len(),
        said,
        "nobody was suspected, lost or found again"
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
fn a_direct_path_that_died_comes_back() {
    let lab = Lab::open();
    let world = World::of(&lab);
    let (home, ann) = world.alone_behind(Nat::PortRestricted, "ann");
    let (office, bob) = world.alone_behind(Nat::AddressRestricted, "bob");
    ann.connects_over("direct", &bob, Duration::from_secs(10));
    world.net.cut(&home, &office);
    ann.connects_over("relay", &bob, Duration::from_secs(30));
    world.net.heal(&home, &office);
    // Half a minute passes between two attempts.
    ann.connects_over("direct", &bob, Duration::from_secs(60));
    bob.connects_over("direct", &ann, Duration::from_secs(3));
}

#[test]
fn a_goodbye_is_heard_through_a_relay() {
    let lab = Lab::open();
    let world = World::of(&lab);
    let ((_home, ann), (_office, bob)) = (
        world.alone_behind(Nat::Symmetric, "ann"),
        world.alone_behind(Nat::Symmetric, "bob"),
    );
    for _ in 0..5 {
        ann.sees(&bob);
        bob.sees(&ann);
        assert!(bob.is_connected_over("relay", &ann));
        bob.terminate();
        // Who leaves without a word is missed after a quarter of a minute.
        ann.loses_within(&bob, Duration::from_secs(5));
        bob.start();
    }
}

#[test]
fn a_laptop_that_goes_elsewhere_is_found_again() {
    let lab = Lab::open();
    let world = World::of(&lab);
    let (home, ann) = world.alone_behind(Nat::PortRestricted, "ann");
    let (_office, bob) = world.alone_behind(Nat::PortRestricted, "bob");
    ann.connects_over("direct", &bob, Duration::from_secs(10));
    let cafe = world
        .net
        .site_with(Nat::Symmetric, Ipv4Addr::new(192, 168, 77, 0));
    assert_ne!(cafe.public_ipv4(), home.public_ipv4());
    ann.machine().move_to(cafe.lan());
    bob.connects_over("relay", &ann, Duration::from_secs(30));
    ann.tells(&bob, "from the café");
    bob.shows_once("from the café");
}
