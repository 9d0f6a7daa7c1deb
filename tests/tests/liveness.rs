//! Presence: peers notice an orderly exit at once, and a silent failure within 15 seconds.

use std::time::Duration;

use hobnob_tests::lab::{Lab, Node, Switch, until};
use serde_json::json;

#[test]
fn an_orderly_exit_is_noticed_at_once() {
    let lab = Lab::open();
    let (ann, bob) = connected_pair(&lab.switch());
    bob.terminate();
    ann.loses_within(&bob, AT_ONCE);
    let lines = ann.peers();
    assert!(
        lines
            .iter()
            .all(|line| line["state"] == "offline" && line["lost"].is_null()),
        "{lines:?}"
    );
}

#[test]
fn a_crash_of_an_unplugged_peer_is_noticed_within_fifteen_seconds() {
    let lab = Lab::open();
    let (ann, bob) = connected_pair(&lab.switch());
    bob.machine().unplug();
    bob.kill9();
    ann.loses_within(&bob, SILENT_FAILURE);
    let lines = ann.peers();
    assert!(
        lines
            .iter()
            .all(|line| line["state"] == "offline" && line["lost"] == true),
        "{lines:?}"
    );
}

#[test]
fn both_peers_notice_a_dead_link_and_its_repair() {
    let lab = Lab::open();
    let (ann, bob) = connected_pair(&lab.switch());
    bob.machine().unplug();
    std::thread::scope(|scope| {
        scope.spawn(|| ann.loses_within(&bob, SILENT_FAILURE));
        scope.spawn(|| bob.loses_within(&ann, SILENT_FAILURE));
    });
    bob.machine().plug();
    ann.sees_within(&bob, LONGEST_REDIAL);
    bob.sees_within(&ann, LONGEST_REDIAL);
}

#[test]
fn a_silent_peer_is_suspected_before_it_is_offline() {
    let lab = Lab::open();
    let (ann, bob) = connected_pair(&lab.switch());
    bob.machine().unplug();
    ann.loses_within(&bob, SILENT_FAILURE);
    let states: Vec<_> = ann
        .events()
        .into_iter()
        .filter(|e| e["event"] == "peer" && e["peer"] == bob.id())
        .collect();
    let states: Vec<_> = states
        .iter()
        .rev()
        .take(2)
        .map(|e| e["state"].as_str().unwrap_or("none"))
        .collect();
    assert_eq!(states, ["offline", "suspect"]);
}

#[test]
fn a_peer_that_restarts_after_a_crash_is_online_at_once() {
    let lab = Lab::open();
    let (ann, bob) = connected_pair(&lab.switch());
    bob.kill9();
    bob.start();
    bob.sees_within(&ann, Duration::from_secs(5));
    bob.tells(&ann, "that was quick");
    ann.shows_once("that was quick");
}

#[test]
fn joining_and_leaving_a_room_is_reported_to_its_members() {
    let lab = Lab::open();
    let (ann, bob) = connected_pair(&lab.switch());
    ann.joins("ops", "four unrelated words");
    let peer_events = || {
        ann.events()
            .iter()
            .filter(|event| event["event"] == "peer" && event["peer"] == bob.id())
            .count()
    };
    for (change, here) in [("join", true), ("part", false)] {
        let before = peer_events();
        match here {
            true => bob.joins("ops", "four unrelated words"),
            false => drop(bob.run(&["part", "ops"]).expect(0)),
        }
        let wanted = if here { json!([bob.id()]) } else { json!([]) };
        until(&format!("ann learns of the {change}"), AT_ONCE, || {
            let rooms = ann.run(&["rooms"]).expect(0).json();
            let ops = rooms
                .iter()
                .find(|room| room["room"] == "#ops")
                .expect("ann is in the room");
            if peer_events() > before && ops["here"] == wanted {
                Ok(())
            } else {
                Err(ops.to_string())
            }
        });
    }
}

#[test]
fn peers_shows_name_state_path_address_and_round_trip() {
    let lab = Lab::open();
    let (ann, bob) = connected_pair(&lab.switch());
    let lines = ann.peers();
    let line = lines.first().expect("ann lists bob");
    assert_eq!(
        (&line["nick"], &line["state"], &line["path"]),
        (&"bob".into(), &"online".into(), &"lan".into()),
        "{line}"
    );
    assert!(
        line["addr"].as_str().is_some_and(|addr| !addr.is_empty()),
        "{line}"
    );
    assert!(line["peer"] == bob.id() && lines.len() == 1, "{lines:?}");
}

fn connected_pair(office: &Switch) -> (Node, Node) {
    let (ann, bob) = (
        office.machine("ann").up("ann", &[]),
        office.machine("bob").up("bob", &[]),
    );
    ann.sees(&bob);
    bob.sees(&ann);
    (ann, bob)
}

const AT_ONCE: Duration = Duration::from_secs(2);

/// 15 seconds, plus a margin because other tests use the machine at the same time.
const SILENT_FAILURE: Duration = Duration::from_secs(18);

/// The longest pause between two dials, plus a margin.
const LONGEST_REDIAL: Duration = Duration::from_secs(75);
