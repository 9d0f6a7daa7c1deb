//! Machines on one network discover each other without any option.

use hobnob_tests::lab::{Addresses, Lab, Node};

#[test]
fn three_machines_find_each_other_in_any_starting_order() {
    let lab = Lab::open();
    for order in [
        ["ann", "bob", "cat"],
        ["bob", "cat", "ann"],
        ["cat", "ann", "bob"],
    ] {
        let office = lab.switch();
        // Each node listens before the next one starts.
        let nodes = order.map(|name| office.machine(name).up(name, &[]));
        all_see_each_other(&nodes);
    }
}

#[test]
fn machines_that_start_at_the_same_moment_find_each_other() {
    let lab = Lab::open();
    let office = lab.switch();
    let machines = ["ann", "bob", "cat"].map(|name| office.machine(name));
    let nodes = std::thread::scope(|scope| {
        let starting: Vec<_> = machines
            .iter()
            .map(|machine| scope.spawn(|| machine.up(machine.name(), &[])))
            .collect();
        starting
            .into_iter()
            .map(|node| node.join().expect("the node starts"))
            .collect::<Vec<_>>()
    });
    all_see_each_other(&nodes);
}

#[test]
fn discovered_peers_exchange_direct_and_lobby_messages() {
    let lab = Lab::open();
    let office = lab.switch();
    let [ann, bob, cat] = ["ann", "bob", "cat"].map(|name| office.machine(name).up(name, &[]));
    all_see_each_other(&[&ann, &bob, &cat]);
    ann.says("good morning all");
    bob.shows_once("good morning all");
    cat.shows_once("good morning all");
    bob.tells("ann", "good morning ann");
    ann.shows_once("good morning ann");
    cat.says("that is the end");
    ann.shows_once("that is the end");
    cat.has_not("good morning ann");
}

#[test]
fn two_homes_on_one_machine_are_two_peers() {
    let lab = Lab::open();
    let desk = lab.switch().machine("desk");
    let (ann, bob) = (desk.up("ann", &[]), desk.up("bob", &[]));
    all_see_each_other(&[&ann, &bob]);
    ann.tells(&bob, "move over");
    bob.shows_once("move over");
}

#[test]
fn two_homes_on_a_machine_without_a_network_are_two_peers() {
    let lab = Lab::open();
    let desk = lab.machine("desk");
    let (ann, bob) = (
        desk.up("ann", &["--no-mdns"]),
        desk.up("bob", &["--no-mdns", "--listen", "127.0.0.1:5000"]),
    );
    ann.tells("127.0.0.1:5000", "move over");
    bob.shows_once("move over");
}

#[test]
fn machines_with_ipv6_only_find_each_other() {
    let lab = Lab::open();
    let office = lab.switch_with(Addresses::Ipv6Only);
    let [ann, bob, cat] = ["ann", "bob", "cat"].map(|name| office.machine(name).up(name, &[]));
    all_see_each_other(&[&ann, &bob, &cat]);
    ann.tells(&bob, "who needs four");
    bob.shows_once("who needs four");
}

#[test]
fn without_mdns_a_message_can_be_sent_to_an_address() {
    let lab = Lab::open();
    let office = lab.switch();
    let (here, there) = (office.machine("ann"), office.machine("bob"));
    let bob = there.up("bob", &["--no-mdns"]);
    here.home("ann")
        .run(&["send", "--no-mdns", &format!("{}:4626", there.ipv4()), "hi"])
        .expect(0);
    bob.shows_once("hi");
    // An address without a port means the default port.
    here.home("ann")
        .run(&["send", "--no-mdns", &there.ipv4(), "hi again"])
        .expect(0);
    bob.shows_once("hi again");
}

#[test]
fn without_mdns_a_node_is_not_discovered() {
    let lab = Lab::open();
    let office = lab.switch();
    let hidden = office.machine("ann").up("ann", &["--no-mdns"]);
    let (bob, cat) = (
        office.machine("bob").up("bob", &[]),
        office.machine("cat").up("cat", &[]),
    );
    // When these two have discovered each other, they would also have discovered the third.
    all_see_each_other(&[&bob, &cat]);
    assert!(
        hidden.peers().is_empty() && bob.peers().len() == 1,
        "{:?} {:?}",
        hidden.peers(),
        bob.peers()
    );
}

#[test]
fn a_machine_that_joins_the_network_later_is_discovered() {
    let lab = Lab::open();
    let office = lab.switch();
    let bob = office.machine("bob").up("bob", &[]);
    let roamer = lab.machine("ann");
    let ann = roamer.up("ann", &[]);
    roamer.join(&office);
    all_see_each_other(&[&ann, &bob]);
}

fn all_see_each_other<N: std::borrow::Borrow<Node>>(nodes: &[N]) {
    for one in nodes.iter().map(N::borrow) {
        for other in nodes
            .iter()
            .map(N::borrow)
            .filter(|other| other.id() != one.id())
        {
            one.sees(other);
        }
    }
}
