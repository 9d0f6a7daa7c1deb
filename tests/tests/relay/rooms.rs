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
