//! Paths appear, fail and change while 1,000 numbered messages flow each way. No message is lost,
//! duplicated or out of order.

use std::time::Duration;

use hobnob_tests::lab::{Lab, Nat, Node, Relay, Site, Stopwatch, pause, until};

use crate::relay_net::{RelayNet, submit};

#[test]
fn the_path_changes_from_relay_to_direct() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let ((_home, ann), (_office, bob)) = (
        net.alone_behind(Nat::PortRestricted, "ann"),
        net.alone_behind(Nat::PortRestricted, "bob"),
    );
    wait_until_connected(&ann, &bob);
    talk_while(&ann, &bob, || wait_until_direct(&ann, &bob));
    assert!(ann.has_connected_over("relay", &bob) && bob.has_connected_over("relay", &ann));
}

#[test]
fn the_direct_path_fails_and_the_relay_takes_over() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let ((home, ann), (office, bob)) = (
        net.alone_behind(Nat::FullCone, "ann"),
        net.alone_behind(Nat::PortRestricted, "bob"),
    );
    wait_until_connected(&ann, &bob);
    wait_until_direct(&ann, &bob);
    talk_while(&ann, &bob, || {
        pause(MEANWHILE);
        net.internet.cut(&home, &office);
        wait_until_relayed(&ann, &bob);
    });
}

#[test]
fn the_relay_is_killed_and_restarts() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let ((_home, ann), (_office, bob)) = (
        net.alone_behind(Nat::Symmetric, "ann"),
        net.alone_behind(Nat::Symmetric, "bob"),
    );
    wait_until_connected(&ann, &bob);
    talk_while(&ann, &bob, || {
        for restarts in 1..=3 {
            pause(MEANWHILE);
            kill_and_restart(&net.relay, [&ann, &bob], restarts);
        }
    });
    assert!(!ann.has_connected_over("direct", &bob));
}

#[test]
fn a_relayed_node_gets_another_address() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let ((home, ann), (office, bob)) = (
        net.alone_behind(Nat::Symmetric, "ann"),
        net.alone_behind(Nat::Symmetric, "bob"),
    );
    wait_until_connected(&ann, &bob);
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
    let net = RelayNet::of(&lab);
    let ((home, ann), (office, bob)) = (
        net.alone_behind(Nat::PortRestricted, "ann"),
        net.alone_behind(Nat::AddressRestricted, "bob"),
    );
    wait_until_connected(&ann, &bob);
    wait_until_direct(&ann, &bob);
    talk_while(&ann, &bob, || {
        pause(MEANWHILE);
        home.renumber();
        pause(MEANWHILE);
        office.rebind();
    });
}

#[test]
fn a_message_after_a_change_of_the_nat_goes_by_the_relay_at_once() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let ((home, ann), (office, bob)) = (
        net.alone_behind(Nat::PortRestricted, "ann"),
        net.alone_behind(Nat::PortRestricted, "bob"),
    );
    wait_until_connected(&ann, &bob);
    // One of them dialed the connection, and the other accepted it.
    let rebind: Change = Site::rebind;
    let renumber: Change = Site::renumber;
    for (change, site, from, to) in [(rebind, &home, &ann, &bob), (renumber, &office, &bob, &ann)] {
        talks_directly_for_a_while(&ann, &bob);
        change(site);
        let took = delivered_after(from, to);
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}

#[test]
fn a_message_to_a_silent_node_behind_a_changed_nat_waits_for_its_next_ping() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let ((home, ann), (_office, bob)) = (
        net.alone_behind(Nat::PortRestricted, "ann"),
        net.alone_behind(Nat::PortRestricted, "bob"),
    );
    wait_until_connected(&ann, &bob);
    talks_directly_for_a_while(&ann, &bob);
    home.rebind();
    // Nobody can reach Ann, not even the relay, until she sends something.
    let took = delivered_after(&bob, &ann);
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn the_links_to_the_relay_lose_a_twentieth_of_all_packets() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let ((home, ann), (office, bob)) = (
        net.alone_behind(Nat::Symmetric, "ann"),
        net.alone_behind(Nat::Symmetric, "bob"),
    );
    wait_until_connected(&ann, &bob);
    home.loss(5);
    office.loss(5);
    net.relay.machine().loss(5);
    talk_while(&ann, &bob, || {});
}

#[test]
fn all_changes_at_once() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let ((home, ann), (office, bob)) = (
        net.alone_behind(Nat::FullCone, "ann"),
        net.alone_behind(Nat::PortRestricted, "bob"),
    );
    wait_until_connected(&ann, &bob);
    talk_while(&ann, &bob, || {
        wait_until_direct(&ann, &bob);
        net.internet.cut(&home, &office);
        pause(MEANWHILE);
        home.renumber();
        net.relay.kill9();
        pause(MEANWHILE);
        net.relay.start();
        wait_until_relayed(&ann, &bob);
        net.internet.heal(&home, &office);
        office.rebind();
        pause(MEANWHILE);
    });
}

fn wait_until_connected(ann: &Node, bob: &Node) {
    ann.are_contacts(bob);
    ann.sees(bob);
    bob.sees(ann);
}

fn wait_until_direct(ann: &Node, bob: &Node) {
    ann.connects_over("direct", bob, DIRECT_WITHIN);
    bob.connects_over("direct", ann, DIRECT_WITHIN);
}

/// What happens at the router of a site.
type Change = fn(&Site);

/// A direct connection that is younger than some seconds is not given up for a relayed one.
fn talks_directly_for_a_while(ann: &Node, bob: &Node) {
    wait_until_direct(ann, bob);
    pause(SETTLED);
}

/// How long a message takes until its author knows that it was delivered.
fn delivered_after(from: &Node, to: &Node) -> Duration {
    let submitted = Stopwatch::start();
    let id = from.queues(to, "after the change");
    from.gets_receipt(&id, to);
    let took = submitted.elapsed();
    eprintln!("a message of {} was delivered after {took:?}", from.nick());
    took
}

/// The nodes notice a failed path when pings get no answer, so this takes longer.
fn wait_until_relayed(ann: &Node, bob: &Node) {
    ann.connects_over("relay", bob, Duration::from_secs(20));
    bob.connects_over("relay", ann, Duration::from_secs(20));
}

/// Kills and restarts the relay, and waits until both nodes have registered again. `restarts` is
/// the number of restarts so far, this one included.
fn kill_and_restart(relay: &Relay, nodes: [&Node; 2], restarts: usize) {
    relay.kill9();
    relay.start();
    let since_restart = Stopwatch::start();
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
    eprintln!(
        "a restarted relay was noticed after {:?}",
        since_restart.elapsed()
    );
}

/// Both nodes send numbered messages while `change` runs. Then checks that both have every message.
fn talk_while(ann: &Node, bob: &Node, change: impl FnOnce()) {
    std::thread::scope(|scope| {
        let senders =
            [(ann, bob), (bob, ann)].map(|(from, to)| scope.spawn(move || send_numbered(from, to)));
        change();
        senders.map(|sender| sender.join().expect("the panic above gives the cause"))
    });
    for (from, to) in [(ann, bob), (bob, ann)] {
        assert_has_all(to, from);
        assert_has_all(from, from);
    }
}

fn send_numbered(from: &Node, to: &Node) {
    let mut client = from.client();
    for text in numbered(from) {
        submit(&mut client, to, &text);
        pause(PACE);
    }
}

/// Waits until the node has every message of this author, and checks that it showed each once, in
/// order.
fn assert_has_all(node: &Node, author: &Node) {
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
        assert_eq!(shown, expected, "the messages that {} showed", node.nick());
    }
}

fn numbered(author: &Node) -> impl Iterator<Item = String> {
    let nick = author.nick().to_owned();
    (1..=MESSAGES).map(move |number| format!("{nick} {number}"))
}

const MESSAGES: u32 = 1_000;

/// The pause between two messages, so that the changes happen while messages flow.
const PACE: Duration = Duration::from_millis(6);

/// The pause between two changes, so that messages flow.
const MEANWHILE: Duration = Duration::from_millis(800);

/// The limit for hole punching.
const DIRECT_WITHIN: Duration = Duration::from_secs(30);

/// After this time a direct connection counts as settled.
const SETTLED: Duration = Duration::from_secs(6);

/// The limit from the relay's restart to the new registrations.
const NOTICED_WITHIN: Duration = Duration::from_secs(2);

/// The limit for the last message to arrive after all changes.
const SETTLING: Duration = Duration::from_secs(60);
