//! Who is there: an orderly exit shows at once, a silent death within 15 seconds.

use std::time::Duration;

use hobnob_tests::lab::{Lab, Node, Switch, until};
use serde_json::json;

#[test]
fn an_orderly_exit_is_seen_at_once() {
    let lab = Lab::open();
    let (ann, bob) = two_who_see_each_other(&lab.switch());
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
fn a_crash_on_a_dead_line_is_seen_within_fifteen_seconds() {
    let lab = Lab::open();
    let (ann, bob) = two_who_see_each_other(&lab.switch());
    bob.machine().unplug();
    bob.kill9();
    ann.loses_within(&bob, SILENT_DEATH);
    let lines = ann.peers();
    assert!(
        lines
            .iter()
            .all(|line| line["state"] == "offline" && line["lost"] == true),
        "{lines:?}"
    );
}

#[test]
fn a_dead_line_between_two_who_live_is_seen_by_both_and_so_is_its_repair() {
    let lab = Lab::open();
    let (ann, bob) = two_who_see_each_other(&lab.switch());
    bob.machine().unplug();
    std::thread::scope(|scope| {
        scope.spawn(|| ann.loses_within(&bob, SILENT_DEATH));
        scope.spawn(|| bob.loses_within(&ann, SILENT_DEATH));
    });
    bob.machine().plug();
    ann.sees_within(&bob, BACKED_OFF);
    bob.sees_within(&ann, BACKED_OFF);
}

#[test]
fn a_dying_peer_is_suspected_before_it_is_given_up() {
    let lab = Lab::open();
    let (ann, bob) = two_who_see_each_other(&lab.switch());
    bob.machine().unplug();
    ann.loses_within(&bob, SILENT_DEATH);
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
fn a_peer_that_starts_again_after_a_crash_is_seen_again_at_once() {
    let lab = Lab::open();
    let (ann, bob) = two_who_see_each_other(&lab.switch());
    bob.kill9();
    bob.start();
    bob.sees_within(&ann, Duration::from_secs(5));
    bob.tells(&ann, "that was quick");
    ann.shows_once("that was quick");
}

#[test]
fn who_comes_into_a_room_or_leaves_it_is_told_of() {
    let lab = Lab::open();
    let (ann, bob) = two_who_see_each_other(&lab.switch());
    ann.joins("ops", "a word");
    let told = || {
        ann.events()
            .iter()
            .filter(|event| event["event"] == "peer" && event["peer"] == bob.id())
            .count()
    };
    for (change, here) in [("join", true), ("part", false)] {
        let before = told();
        match here {
            true => bob.joins("ops", "a word"),
            false => drop(bob.run(&["part", "ops"]).expect(0)),
        }
        let wanted = if here { json!([bob.id()]) } else { json!([]) };
        until(&format!("ann is told of the {change}"), AT_ONCE, || {
            let rooms = ann.run(&["rooms"]).expect(0).json();
            let ops = rooms
                .iter()
                .find(|room| room["room"] == "#ops")
                .expect("she is in it");
            if told() > before && ops["here"] == wanted {
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
    let (ann, bob) = two_who_see_each_other(&lab.switch());
    let lines = ann.peers();
    let line = lines.first().expect("bob is there");
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

fn two_who_see_each_other(office: &Switch) -> (Node, Node) {
    let (ann, bob) = (
        office.machine("ann").up("ann", &[]),
        office.machine("bob").up("bob", &[]),
    );
    ann.sees(&bob);
    bob.sees(&ann);
    (ann, bob)
}

const AT_ONCE: Duration = Duration::from_secs(2);

/// Fifteen seconds, and a margin for a machine that is busy with other tests.
const SILENT_DEATH: Duration = Duration::from_secs(18);

/// The longest pause between two dials, and a margin.
const BACKED_OFF: Duration = Duration::from_secs(75);
