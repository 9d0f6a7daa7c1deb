//! Every kind of NAT with every other: messages pass through the relay at once, and directly a
//! moment later where the NATs allow it.
//!
//! `scripts/nat-matrix` lets each pair meet 20 times, and prints how long things took.

use std::time::Duration;

use hobnob_tests::lab::{Lab, Nat, Node, Site, Stopwatch, pause};

use crate::world::{World, submit};

#[test]
fn people_behind_full_cones_meet_everybody() {
    meets_everybody(Nat::FullCone);
}

#[test]
fn people_behind_address_restricted_nats_meet_everybody() {
    meets_everybody(Nat::AddressRestricted);
}

#[test]
fn people_behind_port_restricted_nats_meet_everybody() {
    meets_everybody(Nat::PortRestricted);
}

#[test]
fn people_behind_symmetric_nats_meet_everybody() {
    meets_everybody(Nat::Symmetric);
}

/// How long it took two who were both up …
#[derive(Debug)]
struct Meeting {
    /// … to have a message of the other.
    delivered: Duration,
    /// … to talk directly, from when they saw each other, if they came to that.
    direct: Option<Duration>,
}

fn meets_everybody(nat: Nat) {
    for other in Nat::ALL {
        let lab = Lab::open();
        let world = World::of(&lab);
        let (home, office) = (world.net.site(nat), world.net.site(other));
        let meetings: Vec<_> = (1..=rounds())
            .map(|round| meet(&world, [&home, &office], round))
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

/// Two new people come, each in one of the sites, say something to each other, and may find a
/// direct path.
fn meet(world: &World, [home, office]: [&Site; 2], round: usize) -> Meeting {
    let (ann, bob) = (
        world.up(&home.machine(&format!("a{round}")), "ann"),
        world.up(&office.machine(&format!("b{round}")), "bob"),
    );
    let up = Stopwatch::start();
    ann.sees(&bob);
    bob.sees(&ann);
    let seen = Stopwatch::start();
    assert!(
        ann.has_connected_over("relay", &bob) && bob.has_connected_over("relay", &ann),
        "strangers meet through the relay first"
    );
    for (from, to) in [(&ann, &bob), (&bob, &ann)] {
        let text = format!("{} is here", from.nick());
        submit(&mut from.client(), to, &text);
        to.wait_for(
            "hear the other",
            |event| event["event"] == "message" && event["text"] == text,
            Duration::from_secs(10),
        );
    }
    let delivered = up.elapsed();
    let direct = come_to_direct(&ann, &bob, seen);
    let path = if direct.is_some() { "direct" } else { "relay" };
    is_listed(&ann, &bob, path);
    is_listed(&bob, &ann, path);
    ann.tells(&bob, "still there?");
    bob.shows_once("still there?");
    // In good order, so that the relay names neither to those who come next.
    ann.terminate();
    bob.terminate();
    Meeting { delivered, direct }
}

/// That `hobnob peers` says how the other is reached, and how long a round trip takes.
fn is_listed(node: &Node, other: &Node, path: &str) {
    let row = node
        .peers()
        .into_iter()
        .find(|row| row["peer"] == other.id())
        .expect("who was met is listed");
    assert!(
        row["path"] == path && row["rtt_ms"].as_f64().is_some_and(|rtt| rtt > 0.0),
        "{path}: {row}"
    );
}

fn come_to_direct(ann: &Node, bob: &Node, since: Stopwatch) -> Option<Duration> {
    while since.elapsed() < DIRECT_WITHIN {
        if ann.is_connected_over("direct", bob) && bob.is_connected_over("direct", ann) {
            return Some(since.elapsed());
        }
        pause(Duration::from_millis(5));
    }
    let late = ann.has_connected_over("direct", bob) || bob.has_connected_over("direct", ann);
    assert!(
        !late,
        "one of the two has a direct path, and the other has not"
    );
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

/// How often each pair meets.
fn rounds() -> usize {
    std::env::var("NAT_ROUNDS")
        .ok()
        .map_or(1, |rounds| rounds.parse().expect("NAT_ROUNDS is a number"))
}

/// From when both are up, for both to have heard the other.
const DELIVERED_WITHIN: Duration = Duration::from_secs(2);

/// From when they see each other, through the relay.
const DIRECT_WITHIN: Duration = Duration::from_secs(3);
