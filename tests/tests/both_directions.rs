//! Two peers talk at once, dial at once, and over a bad line.

use std::time::Duration;

use hobnob_tests::lab::{Lab, Node, Switch, until};

#[test]
fn five_hundred_messages_each_way_at_the_same_time_all_arrive_in_order() {
    let lab = Lab::open();
    let (ann, bob) = two_who_see_each_other(&lab.switch());
    exchange(&ann, &bob, 500, Duration::from_secs(60));
}

#[test]
fn a_bad_line_loses_nothing() {
    let lab = Lab::open();
    let (ann, bob) = two_who_see_each_other(&lab.switch());
    ann.machine().loss(20);
    bob.machine().loss(20);
    exchange(&ann, &bob, 50, Duration::from_secs(120));
}

#[test]
fn both_dialing_at_once_end_with_one_session() {
    let lab = Lab::open();
    let (ann, bob) = two_who_see_each_other(&lab.switch());
    for round in 0..10 {
        // Each remembers the other's address: both dial the moment they are up.
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
fn a_message_of_the_greatest_length_passes_and_a_longer_one_is_refused_with_its_size() {
    let lab = Lab::open();
    let (ann, bob) = two_who_see_each_other(&lab.switch());
    let longest = "é".repeat(8 * 1024);
    ann.tells(&bob, &longest);
    bob.shows_once(&longest);
    let too_long = format!("{longest}!");
    let refused = ann.run(&["send", bob.id(), &too_long]).says(&["16385"]);
    assert_ne!(refused.code, Some(0), "{refused}");
    assert_eq!(ann.history().len(), 1);
}

#[test]
fn text_comes_from_standard_input_too() {
    let lab = Lab::open();
    let (ann, bob) = two_who_see_each_other(&lab.switch());
    ann.home()
        .run_with_input(&["send", "bob", "-"], "two\nlines")
        .expect(0);
    bob.shows_once("two\nlines");
}

/// Both send `count` numbered messages at the same time; each must come to have all of the other's,
/// in order.
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
                let came = texts_from(to, from);
                if came == numbered(from, count) {
                    Ok(())
                } else {
                    Err(format!("{} of {count}: {came:?}", came.len()))
                }
            },
        );
    }
    until("both show one conversation", within, || {
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

fn two_who_see_each_other(office: &Switch) -> (Node, Node) {
    let (ann, bob) = (
        office.machine("ann").up("ann", &[]),
        office.machine("bob").up("bob", &[]),
    );
    ann.sees(&bob);
    bob.sees(&ann);
    (ann, bob)
}
