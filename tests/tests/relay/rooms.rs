//! Rooms with members on several local networks and single members behind NATs.

use hobnob_tests::lab::{Lab, Nat, Node};

use crate::relay_net::RelayNet;

#[test]
fn a_broadcast_reaches_two_local_networks_and_two_single_nodes() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let (home, office) = (
        net.internet.site(Nat::PortRestricted),
        net.internet.site(Nat::Symmetric),
    );
    // One node of each local network uses the relay. It forwards messages for the others.
    let (ann, bob) = (
        net.up(&home.machine("ann"), "ann"),
        net.up(&office.machine("bob"), "bob"),
    );
    let [amy, art] = ["amy", "art"].map(|nick| home.machine(nick).up(nick, &[]));
    let ben = office.machine("ben").up("ben", &[]);
    let (_, cat) = net.alone_behind(Nat::Symmetric, "cat");
    let (_, dan) = net.alone_behind(Nat::AddressRestricted, "dan");
    let relayed = [&ann, &bob, &cat, &dan];
    wait_until_all_connect(&relayed);
    wait_until_all_connect(&[&ann, &amy, &art]);
    wait_until_all_connect(&[&bob, &ben]);
    let everybody = [&ann, &bob, &cat, &dan, &amy, &art, &ben];
    everyone_receives_every_message(&everybody, "lobby");
    for node in everybody {
        node.joins("ops", "a secret of seven people");
    }
    everyone_receives_every_message(&everybody, "ops");
}

fn wait_until_all_connect(nodes: &[&Node]) {
    for one in nodes {
        for other in nodes.iter().filter(|other| other.id() != one.id()) {
            one.sees(other);
        }
    }
}

fn everyone_receives_every_message(nodes: &[&Node], room: &str) {
    for author in nodes {
        let text = format!("{} speaks in {room}", author.nick());
        author.says_in(room, &text);
        for receiver in nodes.iter().filter(|receiver| receiver.id() != author.id()) {
            receiver.shows_once(&text);
        }
    }
}

#[test]
fn members_of_a_large_lobby_can_be_written_to_without_having_met() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let crowd: Vec<_> = (0..11)
        .map(|n| net.alone_behind(Nat::Symmetric, &format!("peer{n}")))
        .collect();
    let nodes: Vec<_> = crowd.iter().map(|(_, node)| node).collect();
    let ann = nodes[0];
    // A node connects with eight members of a room at a relay, so ann has not met two of them.
    for (n, other) in nodes.iter().enumerate().skip(1) {
        let by_id = format!("to id {n}");
        ann.tells(other.id(), &by_id);
        other.shows_once(&by_id);
        let by_start = format!("to the start of id {n}");
        ann.tells(&other.id()[..8], &by_start);
        other.shows_once(&by_start);
    }
}
