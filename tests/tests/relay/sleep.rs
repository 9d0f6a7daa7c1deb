//! Nodes whose link with the relay sleeps: they keep their registration by heartbeats, and connect
//! again when somebody needs them. A node sleeps after a minute, so these tests take time.

use std::time::Duration;

use hobnob_tests::lab::{Lab, Nat, Node, until};

use crate::relay_net::RelayNet;

/// A minute of idle time, and the start of a slow machine.
const FALLS_ASLEEP: Duration = Duration::from_secs(120);

/// Two heartbeats, one every 22 s, and a reconnection.
const NEXT_HEARTBEATS: Duration = Duration::from_secs(70);

/// Far less than the 75 s after which a silent sleeper is gone.
const AT_ONCE: Duration = Duration::from_secs(20);

#[test]
fn a_sleeping_node_keeps_its_place_behind_a_changing_nat_and_wakes_for_a_message() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let (home, ann) = net.alone_behind(Nat::PortRestricted, "ann");
    until_state(&net, &ann, "asleep", FALLS_ASLEEP);
    let before = addr(&net, &ann);
    home.rebind();
    until(
        "the relay knows the new address",
        NEXT_HEARTBEATS,
        || match addr(&net, &ann) {
            now if now != before => Ok(()),
            now => Err(format!("still {now:?}")),
        },
    );
    let (_office, bob) = net.alone_behind(Nat::PortRestricted, "bob");
    bob.run(&["send", ann.id(), "are you there?"]).expect(0);
    ann.shows_once("are you there?");
    until_state(&net, &ann, "alive", AT_ONCE);
}

#[test]
fn a_sleeping_node_returns_to_a_relay_that_restarts() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let (_home, ann) = net.alone_behind(Nat::Symmetric, "ann");
    until_state(&net, &ann, "asleep", FALLS_ASLEEP);
    net.relay.kill9();
    net.relay.start();
    until_state(&net, &ann, "alive", NEXT_HEARTBEATS);
}

#[test]
fn a_sleeping_node_that_stops_is_gone_at_once() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let (_home, ann) = net.alone_behind(Nat::PortRestricted, "ann");
    until_state(&net, &ann, "asleep", FALLS_ASLEEP);
    ann.terminate();
    until_state(&net, &ann, "gone", AT_ONCE);
}

fn until_state(net: &RelayNet, node: &Node, state: &str, within: Duration) {
    let what = format!("{} is {state}", node.nick());
    until(&what, within, || match net.relay.row(node.id()) {
        Some(row) if row["state"] == state => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

fn addr(net: &RelayNet, node: &Node) -> String {
    let row = net.relay.row(node.id()).expect("it is registered");
    row["addr"].to_string()
}
