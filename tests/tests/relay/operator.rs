//! What a relay's operator does, and what goes wrong with relays, as the person at a node sees it.

use std::time::Duration;

use hobnob_tests::lab::{Lab, Nat, Node, until};
use serde_json::Value;

use crate::world::World;

#[test]
fn who_is_kicked_is_told_so_and_may_come_back() {
    let lab = Lab::open();
    let world = World::of(&lab);
    let (_home, ann) = world.alone_behind(Nat::PortRestricted, "ann");
    is_registered(&world, &ann);
    world.relay.run(&["kick", ann.id()]).expect(0);
    says(&ann.notices("relay-refused"), &["kicked", "operator"]);
    assert!(
        world
            .relay
            .row(ann.id())
            .is_none_or(|row| row["state"] != "alive")
    );
    ann.restart();
    is_registered(&world, &ann);
}

#[test]
fn who_is_banned_is_told_so_and_stays_out_when_the_relay_restarts() {
    let lab = Lab::open();
    let world = World::of(&lab);
    let ((_home, ann), (_office, bob)) = (
        world.alone_behind(Nat::Symmetric, "ann"),
        world.alone_behind(Nat::Symmetric, "bob"),
    );
    ann.sees(&bob);
    world.relay.run(&["ban", bob.id()]).expect(0);
    says(&bob.notices("relay-refused"), &["banned", "operator"]);
    ann.loses_within(&bob, Duration::from_secs(30));
    world.relay.restart();
    is_registered(&world, &ann);
    bob.restart();
    says(&bob.notices("relay-refused"), &["banned"]);
    assert!(
        world
            .relay
            .row(bob.id())
            .is_none_or(|row| row["state"] != "alive")
    );
    world.relay.run(&["unban", bob.id()]).expect(0);
    bob.restart();
    ann.sees(&bob);
}

#[test]
fn a_relay_that_wants_a_token_says_so_to_those_who_have_none() {
    let lab = Lab::open();
    let net = lab.internet();
    let token = lab.file("token", "for friends of the house");
    let relay = net.machine("relay").relay(&["--token-file", &token]);
    let home = net.site(Nat::FullCone);
    let name = relay.name();
    let stranger = home.machine("stranger").up("stranger", &["--relay", &name]);
    says(&stranger.notices("relay-refused"), &["token"]);
    let friend = home
        .machine("friend")
        .up("friend", &["--relay", &name, "--relay-token-file", &token]);
    friend.notices("relay-up");
}

#[test]
fn a_relay_that_became_another_is_refused_with_what_to_do_about_it() {
    let lab = Lab::open();
    let world = World::of(&lab);
    let at = world.relay.address().to_string();
    let ann = world
        .net
        .site(Nat::FullCone)
        .machine("ann")
        .up("ann", &["--relay", &at]);
    ann.notices("relay-up");
    ann.terminate();
    let another = world.relay.wipe().relay(&[]);
    ann.start();
    says(
        &ann.notices("relay-changed"),
        &[
            "another identity",
            &format!("--relay {}@{at}", another.id()),
        ],
    );
    assert_eq!(another.peers(), Vec::<Value>::new());
}

#[test]
fn a_site_that_blocks_udp_is_told_of_as_such() {
    let lab = Lab::open();
    let world = World::of(&lab);
    let home = world.net.site(Nat::PortRestricted);
    home.block_udp();
    let ann = world.up(&home.machine("ann"), "ann");
    says(
        &ann.notices("udp-blocked"),
        &[
            "UDP is blocked",
            "TCP",
            "port 4627",
            "firewall",
            "another network",
        ],
    );
    let listed = ann.run(&["peers"]);
    assert!(listed.stderr.contains("UDP is blocked"), "{listed}");
    home.allow_udp();
    is_registered(&world, &ann);
    let listed = ann.run(&["peers"]);
    assert!(!listed.stderr.contains("UDP"), "{listed}");
}

#[test]
fn a_relay_that_does_not_run_is_told_from_a_machine_that_is_not_there() {
    let lab = Lab::open();
    let world = World::of(&lab);
    let (home, name) = (world.net.site(Nat::Symmetric), world.relay.name());
    world.relay.terminate();
    let ann = home.machine("ann").up("ann", &["--relay", &name]);
    says(
        &ann.notices("relay-down"),
        &["no relay runs there", "nothing listens on UDP port 4627"],
    );
    world.relay.machine().unplug();
    let bob = home.machine("bob").up("bob", &["--relay", &name]);
    says(
        &bob.notices("relay-down"),
        &["nothing answers there", "is the address right"],
    );
    world.relay.machine().plug();
    world.relay.start();
    is_registered(&world, &ann);
    is_registered(&world, &bob);
}

#[test]
fn a_relay_that_dies_is_told_of_though_nobody_says_anything() {
    let lab = Lab::open();
    let world = World::of(&lab);
    let (_home, ann) = world.alone_behind(Nat::FullCone, "ann");
    is_registered(&world, &ann);
    world.relay.kill9();
    says(&ann.notices("relay-down"), &["does not answer any more"]);
    let why = |event: &Value| {
        event["code"] == "relay-down"
            && event["text"]
                .as_str()
                .is_some_and(|text| text.contains("nothing listens"))
    };
    ann.wait_for("say that no relay runs there", why, Duration::from_secs(30));
    world.relay.start();
    is_registered(&world, &ann);
}

#[test]
fn who_falls_silent_is_suspected_then_given_up_and_back_when_heard_again() {
    let lab = Lab::open();
    let world = World::of(&lab);
    let (home, ann) = world.alone_behind(Nat::PortRestricted, "ann");
    is_registered(&world, &ann);
    let since =
        |node: &Node| world.relay.row(node.id()).expect("it is in the table")["since"].clone();
    let before = since(&ann);
    home.unplug();
    stands_as(&world, &ann, "suspect");
    home.plug();
    is_registered(&world, &ann);
    assert_eq!(
        since(&ann),
        before,
        "a heartbeat that was missed costs nothing"
    );
    home.unplug();
    stands_as(&world, &ann, "suspect");
    stands_as(&world, &ann, "gone");
    home.plug();
    is_registered(&world, &ann);
}

/// Waits until the relay has the node in its table, alive.
fn is_registered(world: &World, node: &Node) {
    stands_as(world, node, "alive");
}

/// Waits until the relay's table says this of the node.
fn stands_as(world: &World, node: &Node, state: &str) {
    until(
        &format!("{} is {state}", node.nick()),
        Duration::from_secs(90),
        || {
            let row = world.relay.row(node.id());
            if row.as_ref().is_some_and(|row| row["state"] == state) {
                Ok(())
            } else {
                Err(format!("{row:?}"))
            }
        },
    );
}

fn says(notice: &Value, words: &[&str]) {
    let text = notice["text"].as_str().expect("a notice has a text");
    for word in words {
        assert!(text.contains(word), "expected {word:?} in {text:?}");
    }
}
