//! Networks that part and heal, lines of machines, laptops that travel, and who may have what of a
//! room.

use std::time::Duration;

use hobnob_tests::lab::{Lab, Node, until};

#[test]
fn two_halves_that_chatted_apart_read_the_same_after_they_heal() {
    let lab = Lab::open();
    let office = lab.switch();
    let nodes = ["ann", "bob", "cat", "dan"].map(|name| office.machine(name).up(name, &[]));
    let [ann, bob, cat, dan] = &nodes;
    all_see_each_other(&nodes);
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
    let same = all_come_to_read_the_same("#lobby", &nodes, 41);
    for node in &nodes {
        let theirs: Vec<_> = same
            .iter()
            .filter(|text| text.starts_with(node.nick()))
            .cloned()
            .collect();
        let wrote: Vec<_> = (1..=10)
            .map(|number| format!("{} {number}", node.nick()))
            .collect();
        assert_eq!(theirs, wrote, "each author's order holds");
    }
}

#[test]
fn direct_messages_written_during_a_cut_arrive_once_after_it() {
    let lab = Lab::open();
    let office = lab.switch();
    let nodes = ["ann", "bob"].map(|name| office.machine(name).up(name, &[]));
    let [ann, bob] = &nodes;
    all_see_each_other(&nodes);
    lab.cut(&[ann.machine()]);
    ann.loses_within(bob, Duration::from_secs(20));
    ann.queues(bob, "from this side");
    bob.queues(ann, "from that side");
    lab.heal();
    bob.shows_once_within("from this side", HEALING);
    ann.shows_once_within("from that side", HEALING);
}

#[test]
fn a_line_of_three_passes_on_what_is_said_to_all_both_ways() {
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
    // What is between two stays between two.
    ann.tells(&bob, "not for cat");
    ann.says("after that");
    cat.shows_once("after that");
    cat.has_not("not for cat");
}

#[test]
fn a_traveller_carries_nothing_between_two_lobbies() {
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
    all_see_each_other(&[&ann, &bob]);
    ann.says("at the office, by ann");
    bob.says("at the office, by bob");
    bob.shows_once("at the office, by ann");
    ann.shows_once("at the office, by bob");

    laptop.move_to(&cafe);
    all_see_each_other(&[&ann, &carl]);
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
    all_see_each_other(&[&ann, &bob]);
    // She had dropped out without a goodbye, and bob's network had not changed: she is still one of
    // those who were there.
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
fn a_stranger_who_comes_later_gets_nothing_of_an_open_room_from_before() {
    let lab = Lab::open();
    let office = lab.switch();
    let nodes = ["ann", "bob"].map(|name| office.machine(name).up(name, &[]));
    let [ann, bob] = &nodes;
    all_see_each_other(&nodes);
    ann.says("among ourselves");
    bob.shows_once("among ourselves");
    let cat = office.machine("cat").up("cat", &[]);
    all_see_each_other(&[ann, bob, &cat]);
    ann.says("hello cat");
    cat.shows_once("hello cat");
    cat.has_not("among ourselves");
}

#[test]
fn a_room_with_a_secret_goes_to_its_members_only_with_its_history() {
    let lab = Lab::open();
    let office = lab.switch();
    let nodes = ["ann", "bob", "cat", "dan"].map(|name| office.machine(name).up(name, &[]));
    let [ann, bob, cat, dan] = &nodes;
    all_see_each_other(&nodes);
    ann.joins("plans", "swordfish");
    bob.joins("plans", "swordfish");
    cat.joins("plans", "guessed wrong");
    let first = ann.says_in("plans", "the first plan");
    ann.gets_receipt(&first, bob);
    bob.says_in("plans", "the second plan");
    ann.shows_once("the second plan");

    dan.joins("plans", "swordfish");
    dan.shows_once("the first plan");
    dan.shows_once("the second plan");
    dan.says_in("plans", "thanks for the plans");
    let same = all_come_to_read_the_same("#plans", &[ann, bob, dan], 3);
    assert_eq!(
        same,
        ["the first plan", "the second plan", "thanks for the plans"]
    );

    // What cat says in her room of the same name is for nobody here.
    cat.says_in("plans", "let me in");
    cat.says("is this on?");
    ann.says("it is");
    cat.shows_once("it is");
    ann.shows_once("is this on?");
    ann.has_not("let me in");
    assert_eq!(cat.texts_of("#plans"), ["let me in"]);
}

#[test]
fn one_who_parted_gets_no_more_of_a_room() {
    let lab = Lab::open();
    let office = lab.switch();
    let nodes = ["ann", "bob"].map(|name| office.machine(name).up(name, &[]));
    let [ann, bob] = &nodes;
    all_see_each_other(&nodes);
    ann.joins("plans", "swordfish");
    bob.joins("plans", "swordfish");
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

/// Waits until all have the same sequence of this many messages in the room, and returns their
/// texts.
fn all_come_to_read_the_same<N: std::borrow::Borrow<Node>>(
    room: &str,
    nodes: &[N],
    count: usize,
) -> Vec<String> {
    until(
        &format!("all read the same {count} messages in {room}"),
        HEALING,
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

fn all_see_each_other<N: std::borrow::Borrow<Node>>(nodes: &[N]) {
    for one in nodes.iter().map(N::borrow) {
        for other in nodes
            .iter()
            .map(N::borrow)
            .filter(|other| other.id() != one.id())
        {
            one.sees_within(other, HEALING);
        }
    }
}

/// Dialing backs off to a minute at most; then nodes must have found each other again.
const HEALING: Duration = Duration::from_secs(90);
