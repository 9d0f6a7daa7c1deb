//! The demonstration that `scripts/demo` runs: three machines in the lab discover each other and
//! exchange messages. It prints what each user saw.

use std::time::Duration;

use hobnob_tests::lab::{Lab, Node};
use serde_json::Value;

fn main() {
    let lab = Lab::open();
    println!(
        "Three machines on one switch. Each runs `hobnob up` without options, servers or internet.\n"
    );
    let office = lab.switch();
    let nodes = ["ann", "bob", "cat"].map(|name| office.machine(name).up(name, &[]));
    let [ann, bob, cat] = &nodes;
    for node in &nodes {
        println!(
            "  {} is {} at {}",
            node.nick(),
            &node.id()[..8],
            node.machine().ipv4()
        );
    }
    for node in &nodes {
        for other in nodes.iter().filter(|other| other.id() != node.id()) {
            node.sees(other);
        }
    }

    println!(
        "\nThey have discovered each other. Ann writes to all, Bob only to Ann. Cat is offline for a while.\n"
    );
    ann.says("good morning, everybody");
    bob.shows_once("good morning, everybody");
    cat.shows_once("good morning, everybody");
    bob.tells("ann", "lunch at noon?");
    ann.tells("bob", "with pleasure");
    bob.shows_once("with pleasure");
    lab.cut(&[cat.machine()]);
    ann.loses_within(cat, Duration::from_secs(30));
    ann.queues(cat, "lunch at noon, if you get this");
    lab.heal();
    cat.shows_once_within("lunch at noon, if you get this", Duration::from_secs(90));
    cat.says("I got it, and I am hungry");
    ann.shows_once("I got it, and I am hungry");
    bob.shows_once("I got it, and I am hungry");

    for node in &nodes {
        println!("What {} saw:", node.nick());
        for line in node
            .events()
            .iter()
            .filter_map(|event| describe(event, &nodes))
        {
            println!("  {line}");
        }
        println!();
    }
}

/// An event as one line of text, or `None` if it is not interesting here.
fn describe(event: &Value, nodes: &[Node]) -> Option<String> {
    let nick = |id: &Value| {
        nodes
            .iter()
            .find(|node| *id == node.id())
            .map_or("somebody", |node| node.nick())
    };
    match event["event"].as_str()? {
        "peer" => {
            let path = event["path"]
                .as_str()
                .map_or(String::new(), |path| format!(" ({path})"));
            Some(format!(
                "{} is {}{path}",
                nick(&event["peer"]),
                event["state"].as_str()?
            ))
        }
        "message" => {
            let room = event["conversation"].as_str()?;
            let place = if room.starts_with('#') {
                format!(" in {room}")
            } else {
                String::new()
            };
            Some(format!(
                "{}{place}: {}",
                nick(&event["from"]),
                event["code"].as_str()?
            ))
        }
        "receipt" if event["state"] == "delivered" => Some(format!(
            "{} has received the message {}",
            nick(&event["peer"]),
            event["id"].as_str()?
        )),
        "notice" => Some(format!("notice: {}", event["code"].as_str()?)),
        _ => None,
    }
}
