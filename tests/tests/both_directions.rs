//! Two peers that send at the same time, dial at the same time, and use a network that loses
//! packets.

use std::time::Duration;

use hobnob_tests::lab::{Lab, Node, Switch, until};

#[test]
fn five_hundred_messages_each_way_at_the_same_time_all_arrive_in_order() {
    let lab = Lab::open();
    let (ann, bob) = two_connected_nodes(&lab.switch());
    exchange(&ann, &bob, 500, Duration::from_secs(60));
}

#[test]
fn no_message_is_lost_on_a_network_that_loses_packets() {
    let lab = Lab::open();
    let (ann, bob) = two_connected_nodes(&lab.switch());
    ann.machine().loss(20);
    bob.machine().loss(20);
    exchange(&ann, &bob, 50, Duration::from_secs(120));
}

#[test]
fn two_nodes_that_dial_each_other_have_one_session() {
    let lab = Lab::open();
    let (ann, bob) = two_connected_nodes(&lab.switch());
    for round in 0..10 {
        // Both have stored the other's address, so both dial as soon as they start.
        ann.terminate();
        bob.terminate();
        std::thread::scope(|scope| {
            scope.spawn(|| ann.start());
            scope.spawn(|| bob.start());
        });
        ann.sees(&bob);
        bob.sees(&ann);
        for (from, to) in [(&ann, &bob), (&bob, &ann)] {
            let text = format!("round {round} from {}", from.nick());
            from.tells(to, &text);
            to.shows_once(&text);
            let lines = from.peers();
            let one =
                lines.len() == 1 && lines[0]["peer"] == to.id() && lines[0]["state"] == "online";
            assert!(one, "round {round}: {} has {lines:?}", from.nick());
        }
    }
}

#[test]
fn a_message_of_the_maximum_length_is_delivered_and_a_longer_one_is_rejected_with_its_size() {
    let lab = Lab::open();
    let (ann, bob) = two_connected_nodes(&lab.switch());
    let longest = "é".repeat(8 * 1024);
    ann.tells(&bob, &longest);
    bob.shows_once(&longest);
    let too_long = format!("{longest}!");
    let refused = ann.run(&["send", bob.id(), &too_long]).says(&["16385"]);
    assert_ne!(refused.code, Some(0), "{refused}");
    assert_eq!(ann.history().len(), 1);
}

#[test]
fn send_reads_the_text_from_standard_input() {
    let lab = Lab::open();
    let (ann, bob) = two_connected_nodes(&lab.switch());
    ann.home()
        .run_with_input(&["send", "bob", "-"], "two\nlines")
        .expect(0);
    bob.shows_once("two\nlines");
}

/// Both send `count` numbered messages at the same time. Each must receive all messages of the
/// other, in order.
fn exchange(ann: &Node, bob: &Node, count: usize, within: Duration) {
    std::thread::scope(|scope| {
        for (from, to) in [(ann, bob), (bob, ann)] {
            scope.spawn(move || {
                for text in numbered(from, count) {
                    from.queues(to, &text);
                }
            });
        }
    });
    for (from, to) in [(ann, bob), (bob, ann)] {
        until(
            &format!("{} has all from {}", to.nick(), from.nick()),
            within,
            || {
                let received = texts_from(to, from);
                if received == numbered(from, count) {
                    Ok(())
                } else {
                    Err(format!("{} of {count}: {received:?}", received.len()))
                }
            },
        );
    }
    until("both show the same conversation", within, || {
        let (one, other) = (ann.texts_of(bob), bob.texts_of(ann));
        if one == other {
            Ok(())
        } else {
            Err(format!("{one:?}\n{other:?}"))
        }
    });
}

fn numbered(from: &Node, count: usize) -> Vec<String> {
    (1..=count)
        .map(|n| format!("{} {n}", from.nick()))
        .collect()
}

fn texts_from(at: &Node, from: &Node) -> Vec<String> {
    let theirs = at
        .history_of(from)
        .into_iter()
        .filter(|m| m["from"] == from.id());
    theirs
        .map(|m| m["text"].as_str().expect("a message has a text").to_owned())
        .collect()
}

fn two_connected_nodes(office: &Switch) -> (Node, Node) {
    let (ann, bob) = (
        office.machine("ann").up("ann", &[]),
        office.machine("bob").up("bob", &[]),
    );
    ann.sees(&bob);
    bob.sees(&ann);
    (ann, bob)
}
