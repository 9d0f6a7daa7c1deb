//! Every pair of NAT kinds: messages pass through the relay at once. Where the NATs allow it, a
//! direct path follows a moment later.
//!
//! `scripts/nat-matrix` connects each pair 20 times, and prints the times.

use std::time::Duration;

use hobnob_tests::lab::{Lab, Nat, Node, Site, Stopwatch, pause};

use crate::relay_net::{RelayNet, submit};

#[test]
fn a_node_behind_a_full_cone_connects_with_every_kind() {
    connects_with_every_kind(Nat::FullCone);
}

#[test]
fn a_node_behind_an_address_restricted_nat_connects_with_every_kind() {
    connects_with_every_kind(Nat::AddressRestricted);
}

#[test]
fn a_node_behind_a_port_restricted_nat_connects_with_every_kind() {
    connects_with_every_kind(Nat::PortRestricted);
}

#[test]
fn a_node_behind_a_symmetric_nat_connects_with_every_kind() {
    connects_with_every_kind(Nat::Symmetric);
}

/// A probe that reaches such a router before it has sent anything occupies the port of the node.
/// Without a probe that opens the sender's router first, no pair gets a direct path.
#[test]
fn routers_without_a_firewall_allow_a_direct_path() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let mut met = (1..=4).map(|round| {
        // New routers: the flows of an earlier pair occupy ports.
        let [home, office] = [(); 2].map(|()| net.internet.site(Nat::Unfiltered));
        meet(&net, [&home, &office], round)
    });
    // Where other tests use the processors, one end may open its router too late.
    assert!(met.any(|meeting| meeting.direct.is_some()));
}

/// The times that two nodes needed to connect.
#[derive(Debug)]
struct Meeting {
    /// From when both were up until both had a message of the other.
    delivered: Duration,
    /// From when they saw each other until both had a direct path, if they found one.
    direct: Option<Duration>,
}

fn connects_with_every_kind(nat: Nat) {
    for other in Nat::ALL {
        let lab = Lab::open();
        let net = RelayNet::of(&lab);
        let (home, office) = (net.internet.site(nat), net.internet.site(other));
        let meetings: Vec<_> = (1..=rounds())
            .map(|round| meet(&net, [&home, &office], round))
            .collect();
        eprintln!("{nat:?} with {other:?}: {}", summary(&meetings));
        for Meeting { delivered, direct } in meetings {
            assert!(
                delivered < DELIVERED_WITHIN,
                "{nat:?} with {other:?}: delivered after {delivered:?}"
            );
            assert_eq!(
                direct.is_some(),
                nat.can_be_punched_with(other),
                "{nat:?} with {other:?}: direct after {direct:?}"
            );
        }
    }
}

/// Starts a new node in each site. Both send a message to the other and may find a direct path.
fn meet(net: &RelayNet, [home, office]: [&Site; 2], round: usize) -> Meeting {
    let (ann, bob) = (
        net.up(&home.machine(&format!("a{round}")), "ann"),
        net.up(&office.machine(&format!("b{round}")), "bob"),
    );
    let up = Stopwatch::start();
    ann.sees(&bob);
    bob.sees(&ann);
    let seen = Stopwatch::start();
    assert!(
        ann.has_connected_over("relay", &bob) && bob.has_connected_over("relay", &ann),
        "new peers connect through the relay first"
    );
    for (from, to) in [(&ann, &bob), (&bob, &ann)] {
        let text = format!("{} is here", from.nick());
        submit(&mut from.client(), to, &text);
        to.wait_for(
            "receive the other's message",
            |event| event["event"] == "message" && event["text"] == text,
            Duration::from_secs(10),
        );
    }
    let delivered = up.elapsed();
    let direct = wait_for_direct(&ann, &bob, seen);
    let path = if direct.is_some() { "direct" } else { "relay" };
    assert_listed(&ann, &bob, path);
    assert_listed(&bob, &ann, path);
    ann.tells(&bob, "still there?");
    bob.shows_once("still there?");
    // An orderly exit, so that the relay's roster names neither node to the next pair.
    ann.terminate();
    bob.terminate();
    Meeting { delivered, direct }
}

/// Checks that `hobnob peers` shows the path to the other node and the round trip time.
fn assert_listed(node: &Node, other: &Node, path: &str) {
    let row = node
        .peers()
        .into_iter()
        .find(|row| row["peer"] == other.id())
        .expect("a connected peer is listed");
    assert!(
        row["path"] == path && row["rtt_ms"].as_f64().is_some_and(|rtt| rtt > 0.0),
        "{path}: {row}"
    );
}

fn wait_for_direct(ann: &Node, bob: &Node, since: Stopwatch) -> Option<Duration> {
    while since.elapsed() < DIRECT_WITHIN {
        if ann.is_connected_over("direct", bob) && bob.is_connected_over("direct", ann) {
            return Some(since.elapsed());
        }
        pause(Duration::from_millis(5));
    }
    let late = ann.has_connected_over("direct", bob) || bob.has_connected_over("direct", ann);
    assert!(!late, "only one of the two nodes has a direct path");
    None
}

fn summary(meetings: &[Meeting]) -> String {
    let worst = |times: Vec<Duration>| {
        times.into_iter().max().map_or("never".to_owned(), |time| {
            format!("{} ms", time.as_millis())
        })
    };
    let delivered = worst(meetings.iter().map(|meeting| meeting.delivered).collect());
    let direct: Vec<_> = meetings
        .iter()
        .filter_map(|meeting| meeting.direct)
        .collect();
    format!(
        "{} meetings, delivered {delivered}, direct {} times, {}",
        meetings.len(),
        direct.len(),
        worst(direct)
    )
}

/// The number of times that each pair connects.
fn rounds() -> usize {
    std::env::var("NAT_ROUNDS")
        .ok()
        .map_or(1, |rounds| rounds.parse().expect("NAT_ROUNDS is a number"))
}

/// The limit from when both nodes are up until both have a message of the other.
const DELIVERED_WITHIN: Duration = Duration::from_secs(2);

/// The limit for a direct path, from when the nodes see each other through the relay.
const DIRECT_WITHIN: Duration = Duration::from_secs(3);
