//! A session that nobody uses falls asleep. It wakes with the first message, and a death shows.

use std::time::Duration;

use hobnob_tests::lab::{Lab, Machine, Node, Stopwatch, Traffic, pause, until};

#[test]
fn an_idle_session_sleeps_wakes_with_a_message_and_shows_an_exit_at_once() {
    let lab = Lab::open();
    let (ann, bob) = connected_pair(&lab);
    until_asleep(&[&ann, &bob]);
    let (before, begun) = (packets(ann.machine()), Stopwatch::start());
    ann.tells(&bob, "are you there?");
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    bob.shows_once("are you there?");
    // Awake, it pings within eleven seconds of silence.
    let after = packets(ann.machine());
    assert!(after > before);
    until("it pings again", 2 * PINGS_APART, || {
        let now = packets(ann.machine());
        (now > after).then_some(()).ok_or(format!("{now} packets"))
    });
    until_asleep(&[&ann, &bob]);
    bob.terminate();
    ann.loses_within(&bob, AT_ONCE);
}

#[test]
fn an_idle_session_whose_peer_died_ends_when_somebody_writes() {
    let lab = Lab::open();
    let (ann, bob) = connected_pair(&lab);
    until_asleep(&[&ann, &bob]);
    bob.machine().unplug();
    bob.kill9();
    ann.queues(&bob, "are you there?");
    ann.loses_within(&bob, FOUND_BY_A_MESSAGE);
}

#[test]
fn an_idle_session_costs_no_mdns() {
    let lab = Lab::open();
    let (ann, bob) = connected_pair(&lab);
    // The search at the start is over, and the one half a minute later.
    pause(Duration::from_secs(65));
    let before = [&ann, &bob].map(|node| node.machine().traffic().mdns);
    // Without the end of the search, there would be a query 127 seconds after it began, and addresses
    // would be asked for again after 96 seconds. The next search is due after 170 seconds.
    pause(Duration::from_secs(75));
    let after = [&ann, &bob].map(|node| node.machine().traffic().mdns);
    assert_eq!(before, after);
    // They still answer, and hear, a newcomer.
    let cat = ann.machine().home("cat").up(&[]);
    ann.sees(&cat);
    bob.sees(&cat);
}

/// Two nodes with a session, whose machines count what they send.
fn connected_pair(lab: &Lab) -> (Node, Node) {
    let switch = lab.switch();
    let [ann, bob] = ["ann", "bob"].map(|name| {
        let machine = switch.machine(name);
        machine.count_traffic();
        machine.up(name, &[])
    });
    ann.sees(&bob);
    bob.sees(&ann);
    ann.are_contacts(&bob);
    (ann, bob)
}

/// Waits until nobody sends anything for longer than the pause between two pings of an awake
/// session.
fn until_asleep(nodes: &[&Node]) {
    until("the session sleeps", Duration::from_secs(240), || {
        let count = || -> u64 { nodes.iter().map(|node| packets(node.machine())).sum() };
        let before = count();
        pause(2 * PINGS_APART);
        let sent = count() - before;
        (sent == 0).then_some(()).ok_or(format!("{sent} packets"))
    });
    for node in nodes {
        let peers = node.peers();
        assert!(
            peers.iter().all(|peer| peer["state"] == "online"),
            "{peers:?}"
        );
    }
}

fn packets(machine: &Machine) -> u64 {
    let Traffic { sessions, .. } = machine.traffic();
    sessions.packets
}

/// Sooner than the next ping of an awake session.
const AT_ONCE: Duration = Duration::from_secs(5);

/// The longest silence of an awake session.
const PINGS_APART: Duration = Duration::from_millis(10_500);

/// Four unanswered pings, and a margin because other tests use the machine at the same time. Without
/// a message it would be nearly five minutes.
const FOUND_BY_A_MESSAGE: Duration = Duration::from_secs(20);
