//! Rooms whose people are on several local networks, and alone behind NATs.

use hobnob_tests::lab::{Lab, Nat, Node};

use crate::world::World;

#[test]
fn a_broadcast_reaches_two_local_networks_and_two_who_are_alone() {
    let lab = Lab::open();
    let world = World::of(&lab);
    let (home, office) = (
        world.net.site(Nat::PortRestricted),
        world.net.site(Nat::Symmetric),
    );
    // Of each local network one has named the relay; the others are reached by way of that one.
    let (ann, bob) = (
        world.up(&home.machine("ann"), "ann"),
        world.up(&office.machine("bob"), "bob"),
    );
    let [amy, art] = ["amy", "art"].map(|nick| home.machine(nick).up(nick, &[]));
    let ben = office.machine("ben").up("ben", &[]);
    let (_, cat) = world.alone_behind(Nat::Symmetric, "cat");
    let (_, dan) = world.alone_behind(Nat::AddressRestricted, "dan");
    let relayed = [&ann, &bob, &cat, &dan];
    all_see_each_other(&relayed);
    all_see_each_other(&[&ann, &amy, &art]);
    all_see_each_other(&[&bob, &ben]);
    let everybody = [&ann, &bob, &cat, &dan, &amy, &art, &ben];
    everybody_hears_everybody(&everybody, "lobby");
    for node in everybody {
        node.joins("ops", "a secret of seven people");
    }
    everybody_hears_everybody(&everybody, "ops");
}

fn all_see_each_other(nodes: &[&Node]) {
    for one in nodes {
        for other in nodes.iter().filter(|other| other.id() != one.id()) {
            one.sees(other);
        }
    }
}

fn everybody_hears_everybody(nodes: &[&Node], room: &str) {
    for speaker in nodes {
        let text = format!("{} speaks in {room}", speaker.nick());
        speaker.says_in(room, &text);
        for listener in nodes
            .iter()
            .filter(|listener| listener.id() != speaker.id())
        {
            listener.shows_once(&text);
        }
    }
}
