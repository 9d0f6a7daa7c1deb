//! While 1,000 numbered messages flow each way, paths come, die and change. Nothing is lost,
//! doubled or out of order.

use std::time::Duration;

use hobnob_tests::lab::{Lab, Nat, Node, Relay, Stopwatch, pause, until};

use crate::world::{World, submit};

#[test]
fn from_the_relay_to_a_direct_path() {
    let lab = Lab::open();
    let world = World::of(&lab);
    let ((_home, ann), (_office, bob)) = (
        world.alone_behind(Nat::PortRestricted, "ann"),
        world.alone_behind(Nat::PortRestricted, "bob"),
    );
    meet(&ann, &bob);
    talk_while(&ann, &bob, || be_direct(&ann, &bob));
    assert!(ann.has_connected_over("relay", &bob) && bob.has_connected_over("relay", &ann));
}

#[test]
fn the_direct_path_dies_and_the_relay_takes_over() {
    let lab = Lab::open();
    let world = World::of(&lab);
    let ((home, ann), (office, bob)) = (
        world.alone_behind(Nat::FullCone, "ann"),
        world.alone_behind(Nat::PortRestricted, "bob"),
    );
    meet(&ann, &bob);
    be_direct(&ann, &bob);
    talk_while(&ann, &bob, || {
        pause(MEANWHILE);
        world.net.cut(&home, &office);
        be_relayed(&ann, &bob);
    });
}

#[test]
fn the_relay_is_killed_and_comes_back() {
    let lab = Lab::open();
    let world = World::of(&lab);
    let ((_home, ann), (_office, bob)) = (
        world.alone_behind(Nat::Symmetric, "ann"),
        world.alone_behind(Nat::Symmetric, "bob"),
    );
    meet(&ann, &bob);
    talk_while(&ann, &bob, || {
        for restarts in 1..=3 {
            pause(MEANWHILE);
            kill_and_restart(&world.relay, [&ann, &bob], restarts);
        }
    });
    assert!(!ann.has_connected_over("direct", &bob));
}

#[test]
fn a_relayed_node_gets_another_address() {
    let lab = Lab::open();
    let world = World::of(&lab);
    let ((home, ann), (office, bob)) = (
        world.alone_behind(Nat::Symmetric, "ann"),
        world.alone_behind(Nat::Symmetric, "bob"),
    );
    meet(&ann, &bob);
    talk_while(&ann, &bob, || {
        pause(MEANWHILE);
        home.rebind();
        pause(MEANWHILE);
        office.renumber();
        pause(MEANWHILE);
        home.renumber();
        office.rebind();
    });
}

#[test]
fn a_directly_connected_node_gets_another_address() {
    let lab = Lab::open();
    let world = World::of(&lab);
    let ((home, ann), (office, bob)) = (
        world.alone_behind(Nat::PortRestricted, "ann"),
        world.alone_behind(Nat::AddressRestricted, "bob"),
    );
    meet(&ann, &bob);
    be_direct(&ann, &bob);
    talk_while(&ann, &bob, || {
        pause(MEANWHILE);
        home.renumber();
        pause(MEANWHILE);
        office.rebind();
    });
}

#[test]
fn the_lines_to_the_relay_lose_a_twentieth() {
    let lab = Lab::open();
    let world = World::of(&lab);
    let ((home, ann), (office, bob)) = (
        world.alone_behind(Nat::Symmetric, "ann"),
        world.alone_behind(Nat::Symmetric, "bob"),
    );
    meet(&ann, &bob);
    home.loss(5);
    office.loss(5);
    world.relay.machine().loss(5);
    talk_while(&ann, &bob, || {});
}

#[test]
fn everything_at_once() {
    let lab = Lab::open();
    let world = World::of(&lab);
    let ((home, ann), (office, bob)) = (
        world.alone_behind(Nat::FullCone, "ann"),
        world.alone_behind(Nat::PortRestricted, "bob"),
    );
    meet(&ann, &bob);
    talk_while(&ann, &bob, || {
        be_direct(&ann, &bob);
        world.net.cut(&home, &office);
        pause(MEANWHILE);
        home.renumber();
        world.relay.kill9();
        pause(MEANWHILE);
        world.relay.start();
        be_relayed(&ann, &bob);
        world.net.heal(&home, &office);
        office.rebind();
        pause(MEANWHILE);
    });
}

fn meet(ann: &Node, bob: &Node) {
    ann.sees(bob);
    bob.sees(ann);
}

fn be_direct(ann: &Node, bob: &Node) {
    ann.connects_over("direct", bob, Duration::from_secs(3));
    bob.connects_over("direct", ann, Duration::from_secs(3));
}

/// A silent death is noticed by pings that are not answered.
fn be_relayed(ann: &Node, bob: &Node) {
    ann.connects_over("relay", bob, Duration::from_secs(20));
    bob.connects_over("relay", ann, Duration::from_secs(20));
}

/// Kills the relay for the n-th time, starts it again, and waits until the nodes have noticed.
fn kill_and_restart(relay: &Relay, nodes: [&Node; 2], restarts: usize) {
    relay.kill9();
    relay.start();
    let back = Stopwatch::start();
    for node in nodes {
        until(
            &format!("{} notices that the relay has restarted", node.nick()),
            NOTICED_WITHIN,
            || {
                let times = node
                    .events()
                    .iter()
                    .filter(|event| event["code"] == "relay-up")
                    .count();
                if times > restarts {
                    Ok(())
                } else {
                    Err(format!("registered {times} times"))
                }
            },
        );
    }
    eprintln!("a restarted relay was noticed after {:?}", back.elapsed());
}

/// Lets each tell the other numbered messages while `something` happens, and checks what has come
/// in the end.
fn talk_while(ann: &Node, bob: &Node, something: impl FnOnce()) {
    std::thread::scope(|scope| {
        let talkers =
            [(ann, bob), (bob, ann)].map(|(from, to)| scope.spawn(move || talk(from, to)));
        something();
        talkers.map(|talker| talker.join().expect("the message above says why"))
    });
    for (from, to) in [(ann, bob), (bob, ann)] {
        has_all(to, from);
        has_all(from, from);
    }
}

fn talk(from: &Node, to: &Node) {
    let mut client = from.client();
    for text in numbered(from) {
        submit(&mut client, to, &text);
        pause(PACE);
    }
}

/// Waits until the node has every message of this author, and checks that it showed each once, in
/// order.
fn has_all(node: &Node, author: &Node) {
    let expected: Vec<_> = numbered(author).collect();
    let from_author = |messages: Vec<serde_json::Value>| -> Vec<String> {
        let theirs = messages
            .into_iter()
            .filter(|message| message["from"] == author.id());
        theirs
            .map(|message| {
                message["text"]
                    .as_str()
                    .expect("a message has a text")
                    .to_owned()
            })
            .collect()
    };
    let with = if node.id() == author.id() {
        None
    } else {
        Some(author)
    };
    until(
        &format!("{} has all messages of {}", node.nick(), author.nick()),
        SETTLING,
        || {
            let has =
                from_author(with.map_or_else(|| node.history(), |author| node.history_of(author)));
            if has.len() < expected.len() {
                Err(format!("{} of {}", has.len(), expected.len()))
            } else {
                Ok(())
            }
        },
    );
    let has = from_author(node.history());
    assert_eq!(has, expected, "the history of {}", node.nick());
    if with.is_some() {
        let shown = from_author(
            node.events()
                .into_iter()
                .filter(|event| event["event"] == "message")
                .collect(),
        );
        assert_eq!(shown, expected, "what {} showed", node.nick());
    }
}

fn numbered(author: &Node) -> impl Iterator<Item = String> {
    let nick = author.nick().to_owned();
    (1..=MESSAGES).map(move |number| format!("{nick} {number}"))
}

const MESSAGES: u32 = 1_000;

/// Between two messages, so that what happens meanwhile happens in their midst.
const PACE: Duration = Duration::from_millis(6);

/// Between two events, for messages to flow.
const MEANWHILE: Duration = Duration::from_millis(800);

/// From when the relay listens again.
const NOTICED_WITHIN: Duration = Duration::from_secs(2);

/// For the last message to come, after whatever has happened.
const SETTLING: Duration = Duration::from_secs(60);
