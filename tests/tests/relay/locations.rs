//! How a relay is found: by several names, by several addresses of a name, and after an outage.

use std::time::Duration;

use hobnob_tests::lab::{Lab, Nat, Node, Stopwatch, pause, until};

use crate::relay_net::RelayNet;

/// Issue 14: two links to one relay replaced each other for ever, and the user read that the
/// identity is used elsewhere.
#[test]
fn a_relay_with_two_names_is_one_relay() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let address = net.relay.address().ip().to_string();
    let [home, office] = [(); 2].map(|()| net.internet.site(Nat::Symmetric));
    let [at_home, at_work] = [home.machine("ann"), office.machine("bob")];
    for machine in [&at_home, &at_work] {
        machine.knows_hosts(&[("relay.example", &address)]);
    }
    let by_name = format!("{}@relay.example:4627", net.relay.id());
    let bob = at_work.up("bob", &["--relay", &by_name]);
    bob.notices("relay-up");
    // The settings do not name the relay's identity. bob's ticket does.
    let ann = at_home.up("ann", &["--relay", &net.relay.address().to_string()]);
    assert!(bob.ticket().contains("relay.example"), "{}", bob.ticket());
    ann.tells(&*bob.ticket(), "by another name");
    bob.shows_once("by another name");
    ann.restart();
    ann.tells(bob.id(), "after a restart");
    pause(Duration::from_secs(2));
    for node in [&ann, &bob] {
        let refused = node.events().into_iter();
        let refused: Vec<_> = refused
            .filter(|event| event["code"] == "relay-refused" || event["code"] == "identity-copied")
            .collect();
        assert!(refused.is_empty(), "{refused:?}");
    }
    assert_eq!(relays_up(&ann), 2, "one registration for each start");
}

/// Two names in the settings, neither with an identity.
#[test]
fn two_names_in_the_settings_are_one_relay() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let address = net.relay.address();
    let site = net.internet.site(Nat::Symmetric);
    let machine = site.machine("ann");
    machine.knows_hosts(&[("relay.example", &address.ip().to_string())]);
    let names = [
        "--relay",
        &address.to_string(),
        "--relay",
        "relay.example:4627",
    ];
    let ann = machine.up("ann", &names);
    let (_office, bob) = net.alone_behind(Nat::Symmetric, "bob");
    ann.sees(&bob);
    bob.tells(&ann, "you have one relay");
    ann.shows_once("you have one relay");
    assert_eq!(relays_up(&ann), 1);
}

/// Issue 14: a dead AAAA record cost 6.4 s at every start and reconnect.
#[test]
fn a_dead_address_of_a_name_costs_no_time() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let address = net.relay.address().ip().to_string();
    let site = net.internet.site(Nat::Symmetric);
    let machine = site.machine("ann");
    machine.has_dead_ipv6();
    machine.knows_hosts(&[
        ("relay.example", "2001:db8:9::1"),
        ("relay.example", "2001:db8:9::2"),
        ("relay.example", "2001:db8:9::3"),
        ("relay.example", "2001:db8:9::4"),
        ("relay.example", &address),
    ]);
    let (_office, bob) = net.alone_behind(Nat::Symmetric, "bob");
    bob.notices("relay-up");
    let ann = machine.up("ann", &["--relay", "relay.example:4627"]);
    let started = Stopwatch::start();
    ann.sees(&bob);
    println!("connected after {:?}", started.elapsed());
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
}

/// Issue 14: after an unban or a kick, the relay was not dialed for 29 to 41 s while the user sent.
#[test]
fn a_relay_that_lets_a_node_in_again_is_dialed_when_the_user_sends() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let ((_home, ann), (_office, bob)) = (
        net.alone_behind(Nat::Symmetric, "ann"),
        net.alone_behind(Nat::Symmetric, "bob"),
    );
    ann.tells(&bob, "before");
    net.relay.run(&["ban", ann.id()]).expect(0);
    ann.notices("relay-refused");
    net.relay.run(&["unban", ann.id()]).expect(0);
    let sent = Stopwatch::start();
    ann.tells(&bob, "after an unban");
    println!("delivered {:?} after the unban", sent.elapsed());
    assert!(sent.elapsed() < SOON, "{:?}", sent.elapsed());
    net.relay.run(&["kick", ann.id()]).expect(0);
    let sent = Stopwatch::start();
    ann.tells(&bob, "after a kick");
    println!("delivered {:?} after the kick", sent.elapsed());
    assert!(sent.elapsed() < SOON, "{:?}", sent.elapsed());
}

/// Issue 14: 1.0 to 50.7 s after an outage of 70 to 100 s.
#[test]
fn a_relay_that_is_back_is_found_while_the_user_sends() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let ((_home, ann), (_office, bob)) = (
        net.alone_behind(Nat::Symmetric, "ann"),
        net.alone_behind(Nat::Symmetric, "bob"),
    );
    ann.tells(&bob, "before");
    net.relay.kill9();
    for node in [&ann, &bob] {
        node.notices("relay-down");
    }
    // Long enough for several failures.
    pause(Duration::from_secs(30));
    net.relay.start();
    let back = Stopwatch::start();
    bob.queues(&ann, "I am here");
    ann.queues(&bob, "after the outage");
    bob.shows_once("after the outage");
    println!("delivered {:?} after the start", back.elapsed());
    assert!(back.elapsed() < SOON, "{:?}", back.elapsed());
}

/// How often the node has registered at a relay, in all runs.
fn relays_up(node: &Node) -> usize {
    until("an event of the relay", Duration::from_secs(10), || {
        let all = node.events();
        match all
            .iter()
            .filter(|event| event["code"] == "relay-up")
            .count()
        {
            0 => Err("none".to_owned()),
            times => Ok(times),
        }
    })
}

/// Less than any of the faults cost, on a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(6);
