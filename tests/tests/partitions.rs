//! Network partitions, chains of machines, travelling laptops, and which peers may receive a room's
//! messages.

use std::time::Duration;

use hobnob_tests::lab::{Lab, Node, until};

#[test]
fn both_halves_of_a_healed_partition_show_the_same_history() {
    let lab = Lab::open();
    let office = lab.switch();
    let nodes = ["ann", "bob", "cat", "dan"].map(|name| office.machine(name).up(name, &[]));
    let [ann, bob, cat, dan] = &nodes;
    wait_until_all_connect(&nodes);
    ann.says("before");
    for other in [bob, cat, dan] {
        other.shows_once("before");
    }

    lab.cut(&[ann.machine(), bob.machine()]);
    for number in 1..=10 {
        for node in &nodes {
            node.says(&format!("{} {number}", node.nick()));
        }
    }
    for (one, other) in [(ann, bob), (bob, ann), (cat, dan), (dan, cat)] {
        other.shows_once(&format!("{} 10", one.nick()));
    }
    ann.has_not("cat 1");
    dan.has_not("bob 1");

    lab.heal();
    let same = wait_for_the_same_history("#lobby", &nodes, 41);
    for node in &nodes {
        let theirs: Vec<_> = same
            .iter()
            .filter(|text| text.starts_with(node.nick()))
            .cloned()
            .collect();
        let wrote: Vec<_> = (1..=10)
            .map(|number| format!("{} {number}", node.nick()))
            .collect();
        assert_eq!(theirs, wrote, "each author's order is preserved");
    }
}

#[test]
fn direct_messages_written_during_a_cut_arrive_once_after_it() {
    let lab = Lab::open();
    let office = lab.switch();
    let nodes = ["ann", "bob"].map(|name| office.machine(name).up(name, &[]));
    let [ann, bob] = &nodes;
    wait_until_all_connect(&nodes);
    lab.cut(&[ann.machine()]);
    ann.loses_within(bob, Duration::from_secs(20));
    ann.queues(bob, "from this side");
    bob.queues(ann, "from that side");
    lab.heal();
    bob.shows_once_within("from this side", RECONNECT);
    ann.shows_once_within("from that side", RECONNECT);
}

#[test]
fn the_middle_of_three_nodes_forwards_room_messages_both_ways() {
    let lab = Lab::open();
    let (left, right) = (lab.switch(), lab.switch());
    let [here, middle, there] = [
        left.machine("ann"),
        left.machine("bob"),
        right.machine("cat"),
    ];
    middle.join(&right);
    let (ann, bob, cat) = (
        here.up("ann", &[]),
        middle.up("bob", &[]),
        there.up("cat", &[]),
    );
    for end in [&ann, &cat] {
        end.sees(&bob);
        bob.sees(end);
    }
    ann.says("from the left end");
    cat.shows_once("from the left end");
    cat.says("from the right end");
    ann.shows_once("from the right end");
    assert_eq!(ann.texts_of("#lobby"), cat.texts_of("#lobby"));
    // Direct messages are not forwarded.
    ann.tells(&bob, "not for cat");
    ann.says("after that");
    cat.shows_once("after that");
    cat.has_not("not for cat");
}

#[test]
fn a_travelling_laptop_carries_no_message_between_two_lobbies() {
    let lab = Lab::open();
    let (office, cafe) = (lab.switch(), lab.switch());
    let [laptop, desk, bar] = [
        office.machine("ann"),
        office.machine("bob"),
        cafe.machine("carl"),
    ];
    let (ann, bob, carl) = (
        laptop.up("ann", &[]),
        desk.up("bob", &[]),
        bar.up("carl", &[]),
    );
    wait_until_all_connect(&[&ann, &bob]);
    ann.says("at the office, by ann");
    bob.says("at the office, by bob");
    bob.shows_once("at the office, by ann");
    ann.shows_once("at the office, by bob");

    laptop.move_to(&cafe);
    wait_until_all_connect(&[&ann, &carl]);
    ann.loses_within(&bob, Duration::from_secs(20));
    bob.says("while ann was away");
    ann.says("at the café, by ann");
    carl.says("at the café, by carl");
    carl.shows_once("at the café, by ann");
    ann.shows_once("at the café, by carl");
    for text in [
        "at the office, by ann",
        "at the office, by bob",
        "while ann was away",
    ] {
        carl.has_not(text);
    }

    laptop.move_to(&office);
    wait_until_all_connect(&[&ann, &bob]);
    // Ann left without a goodbye and bob's network did not change. So ann is a lingerer in the
    // office's lobby, and bob's message is for her, too.
    ann.shows_once("while ann was away");
    ann.says("back at the office");
    bob.shows_once("back at the office");
    for text in ["at the café, by ann", "at the café, by carl"] {
        bob.has_not(text);
    }
    carl.has_not("back at the office");
    assert_eq!(carl.texts_of("#lobby").len(), 2);
}

#[test]
fn a_late_peer_receives_no_earlier_message_of_an_open_room() {
    let lab = Lab::open();
    let office = lab.switch();
    let nodes = ["ann", "bob"].map(|name| office.machine(name).up(name, &[]));
    let [ann, bob] = &nodes;
    wait_until_all_connect(&nodes);
    ann.says("among ourselves");
    bob.shows_once("among ourselves");
    let cat = office.machine("cat").up("cat", &[]);
    wait_until_all_connect(&[ann, bob, &cat]);
    ann.says("hello cat");
    cat.shows_once("hello cat");
    cat.has_not("among ourselves");
}

#[test]
fn a_room_with_a_secret_sends_its_history_to_members_only() {
    let lab = Lab::open();
    let office = lab.switch();
    let nodes = ["ann", "bob", "cat", "dan"].map(|name| office.machine(name).up(name, &[]));
    let [ann, bob, cat, dan] = &nodes;
    wait_until_all_connect(&nodes);
    ann.joins("plans", "four unrelated words");
    bob.joins("plans", "four unrelated words");
    cat.joins("plans", "three wrong guesses");
    let first = ann.says_in("plans", "the first plan");
    ann.gets_receipt(&first, bob);
    bob.says_in("plans", "the second plan");
    ann.shows_once("the second plan");

    dan.joins("plans", "four unrelated words");
    dan.shows_once("the first plan");
    dan.shows_once("the second plan");
    dan.says_in("plans", "thanks for the plans");
    let same = wait_for_the_same_history("#plans", &[ann, bob, dan], 3);
    assert_eq!(
        same,
        ["the first plan", "the second plan", "thanks for the plans"]
    );

    // Cat's room has the same name but another secret, so nobody else receives her message.
    cat.says_in("plans", "let me in");
    cat.says("is this on?");
    ann.says("it is");
    cat.shows_once("it is");
    ann.shows_once("is this on?");
    ann.has_not("let me in");
    assert_eq!(cat.texts_of("#plans"), ["let me in"]);
}

#[test]
fn a_peer_that_parts_receives_no_more_messages_of_the_room() {
    let lab = Lab::open();
    let office = lab.switch();
    let nodes = ["ann", "bob"].map(|name| office.machine(name).up(name, &[]));
    let [ann, bob] = &nodes;
    wait_until_all_connect(&nodes);
    ann.joins("plans", "four unrelated words");
    bob.joins("plans", "four unrelated words");
    ann.says_in("plans", "with bob");
    bob.shows_once("with bob");
    bob.run(&["part", "plans"]).expect(0);
    assert!(!bob.run(&["rooms"]).expect(0).stdout.contains("plans"));
    ann.says("bob is leaving");
    bob.shows_once("bob is leaving");
    ann.says_in("plans", "without bob");
    ann.says("bob has left");
    bob.shows_once("bob has left");
    bob.has_not("without bob");
}

/// Waits until all nodes have the same sequence of this many messages in the room. Returns their
/// texts.
fn wait_for_the_same_history<N: std::borrow::Borrow<Node>>(
    room: &str,
    nodes: &[N],
    count: usize,
) -> Vec<String> {
    until(
        &format!("all nodes have the same {count} messages in {room}"),
        RECONNECT,
        || {
            let all: Vec<Vec<String>> = nodes
                .iter()
                .map(|node| ids_and_texts(node.borrow(), room))
                .collect();
            let same = all[0].len() == count && all.iter().all(|one| *one == all[0]);
            if same {
                Ok(())
            } else {
                Err(format!("{all:#?}"))
            }
        },
    );
    nodes[0].borrow().texts_of(room)
}

fn ids_and_texts(node: &Node, room: &str) -> Vec<String> {
    node.history_of(room)
        .iter()
        .map(|m| format!("{} {}", m["id"], m["text"]))
        .collect()
}

fn wait_until_all_connect<N: std::borrow::Borrow<Node>>(nodes: &[N]) {
    for one in nodes.iter().map(N::borrow) {
        for other in nodes
            .iter()
            .map(N::borrow)
            .filter(|other| other.id() != one.id())
        {
            one.sees_within(other, RECONNECT);
        }
    }
}

/// The pause between two dials is at most one minute, so nodes reconnect within this time.
const RECONNECT: Duration = Duration::from_secs(90);
