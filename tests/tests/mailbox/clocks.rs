//! Mail between machines whose clocks differ by years.

use hobnob_tests::lab::{Lab, Node, Relay, until};

use super::net::{LIMIT, MailNet, all_are, meet};

#[test]
fn machines_whose_clocks_differ_by_years_exchange_mail() {
    let net = MailNet::with_clocks(["-3650d", "+3650d", "+365d"]);
    net.passes_without_meeting(20);
}

/// Waits until both relays hold mail for this node.
fn both_hold_for(node: &Node) {
    until("two holders", LIMIT, || {
        let shown = node.run(&["mailbox"]).expect(0).json();
        let holders = shown[0]["held_by"].as_array().cloned().unwrap_or_default();
        let ready = holders.iter().filter(|it| it["fetched_at"].is_string());
        match ready.count() {
            2 => Ok(()),
            _ => Err(shown[0].to_string()),
        }
    });
}

#[test]
fn a_recipient_with_two_holders_of_which_one_is_a_year_behind_gets_all_mail() {
    let lab = Lab::open();
    let internet = lab.internet();
    let holder = |name: &str, clock: Option<&str>| -> Relay {
        let home = internet.machine(name).home(name);
        let home = match clock {
            Some(offset) => home.with_clock(offset),
            None => home,
        };
        let mail = home.path().join("mail");
        let mail = mail.to_str().expect("the folder's name is text");
        home.relay(&["--mailbox", mail, "--mailbox-max", "1G"])
    };
    let (right, behind) = (holder("right", None), holder("behind", Some("-365d")));
    let arguments = ["--relay", &right.name(), "--relay", &behind.name()];
    let ann = internet.machine("ann").up("ann", &arguments);
    let bob = internet.machine("bob").up("bob", &arguments);
    let mut all = meet(&ann, &bob);
    both_hold_for(&ann);
    both_hold_for(&bob);
    ann.tells(&bob, "two holders");
    bob.tells(&ann, "for me, too");
    all.extend(["two holders", "for me, too"].map(str::to_owned));
    bob.terminate();

    // Each holder has a part of the conversation.
    for (off, word) in [(&right, "first"), (&behind, "second")] {
        off.terminate();
        for number in 1..=10 {
            let text = format!("{word} {number}");
            ann.queues(&bob, &text);
            all.push(text);
        }
        all_are(&ann, &bob, "held");
        off.start();
    }
    ann.terminate();
    bob.start();
    bob.shows_conversation(&ann, &all, LIMIT);
}
