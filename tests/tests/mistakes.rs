//! Mistakes of users: an old backup restored, two copies of one home running, a wrong clock.

use std::time::Duration;

use hobnob_tests::lab::{Lab, Node, until};

#[test]
fn a_restored_old_backup_gets_its_later_messages_back() {
    let lab = Lab::open();
    let office = lab.switch();
    let ann = office.machine("ann").home("ann");
    let bob = office.machine("bob").up("bob", &[]);
    let mut texts = Vec::new();
    let backup = {
        let ann = ann.up(&[]);
        ann.sees(&bob);
        converse(&ann, &bob, "before the backup", &mut texts);
        ann.terminate();
        ann.home().backup()
    };
    {
        let ann = ann.up(&[]);
        ann.sees(&bob);
        converse(&ann, &bob, "after the backup", &mut texts);
        ann.terminate();
    }
    ann.restore(&backup);
    let ann = ann.up(&[]);
    ann.notices("own-entries-restored");
    ann.shows_conversation(&bob, &texts, TIMEOUT);
    converse(&ann, &bob, "after all that", &mut texts);
    bob.shows_conversation(&ann, &texts, TIMEOUT);
    ann.shows_conversation(&bob, &texts, TIMEOUT);
}

#[test]
fn a_restored_backup_that_writes_before_it_syncs_loses_no_message() {
    let lab = Lab::open();
    let office = lab.switch();
    let home = office.machine("ann").home("ann");
    let bob = office.machine("bob").up("bob", &[]);
    let mut texts = Vec::new();
    let first = home.up(&[]);
    first.sees(&bob);
    converse(&first, &bob, "before the backup", &mut texts);
    first.terminate();
    let backup = home.backup();
    first.start();
    first.sees(&bob);
    converse(&first, &bob, "after the backup", &mut texts);
    first.terminate();
    drop(first);

    bob.terminate();
    home.restore(&backup);
    let ann = home.up(&[]);
    for number in 1..=3 {
        let text = format!("written alone, {number}");
        ann.queues(&bob, &text);
        texts.push(text);
    }
    bob.start();
    ann.notices("own-entries-restored");
    for number in 1..=3 {
        bob.shows_once(&format!("written alone, {number}"));
    }
    converse(&ann, &bob, "together again", &mut texts);
    wait_until_both_have_exactly(&ann, &bob, &texts);
    ann.restart();
    ann.sees(&bob);
    converse(&ann, &bob, "and for good", &mut texts);
    wait_until_both_have_exactly(&ann, &bob, &texts);
}

#[test]
fn one_identity_on_two_machines_is_reported_on_both_and_loses_no_message() {
    let lab = Lab::open();
    let office = lab.switch();
    let bob = office.machine("bob").up("bob", &[]);
    let ann = office.machine("ann").up("ann", &[]);
    ann.sees(&bob);
    let mut texts = Vec::new();
    converse(&ann, &bob, "as one", &mut texts);
    ann.terminate();
    let copied = office.machine("copy").home("ann");
    copied.become_copy_of(ann.home());

    ann.start();
    bob.sees(&ann);
    let copy = copied.up(&[]);
    ann.notices("identity-copied");
    copy.notices("identity-copied");
    // Both copies write to the log that each believes is its own. Peers accept the newer instance.
    // The older one syncs after the newer one has stopped.
    copy.queues(&bob, "from the copy");
    ann.queues(&bob, "from the original");
    bob.shows_once("from the copy");
    copy.terminate();
    bob.shows_once_within("from the original", Duration::from_secs(90));
    texts.extend(["from the copy".to_owned(), "from the original".to_owned()]);
    wait_until_both_have_exactly(&ann, &bob, &texts);
}

#[test]
fn a_backup_restored_with_replace_gets_its_later_messages_back_and_forks_nothing() {
    let lab = Lab::open();
    let office = lab.switch();
    let words = lab.file("words", "tin roof rust");
    let home = office.machine("ann").home("ann");
    let bob = office.machine("bob").up("bob", &[]);
    let ann = home.up(&[]);
    ann.sees(&bob);
    let mut texts = Vec::new();
    converse(&ann, &bob, "before the backup", &mut texts);
    let file = format!("{}.age", ann.home().path().display());
    let backup = ["backup", &file, "--passphrase-file", &words];
    ann.run(&backup).expect(0);
    converse(&ann, &bob, "after the backup", &mut texts);
    let restore = ["restore", &file, "--passphrase-file", &words, "--replace"];
    ann.run(&restore).expect(1).says(&["stop it first"]);
    ann.terminate();
    drop(ann);
    home.run(&restore).expect(0);
    // Messages arrive again, so this is another node for the check that each is shown once.
    let ann = home.up(&[]);
    ann.notices("own-entries-restored");
    ann.shows_conversation(&bob, &texts, TIMEOUT);
    converse(&ann, &bob, "after all that", &mut texts);
    wait_until_both_have_exactly(&ann, &bob, &texts);
}

#[test]
fn a_backup_restored_while_the_old_node_runs_is_reported_on_both() {
    let lab = Lab::open();
    let office = lab.switch();
    let words = lab.file("words", "tin roof rust");
    let bob = office.machine("bob").up("bob", &[]);
    let old = office.machine("old").up("ann", &[]);
    old.sees(&bob);
    let mut texts = Vec::new();
    converse(&old, &bob, "as one", &mut texts);
    let file = format!("{}.age", old.home().path().display());
    let backup = ["backup", &file, "--passphrase-file", &words];
    old.run(&backup).expect(0);
    let new = office.machine("new").home("ann");
    let restore = ["restore", &file, "--passphrase-file", &words];
    new.run(&restore).expect(0).says(&["stop it"]);
    let new = new.up(&[]);
    old.notices("identity-copied");
    new.notices("identity-copied");
    new.shows_conversation(&bob, &texts, TIMEOUT);
}

#[test]
fn a_clock_ten_years_ahead_changes_no_order_and_loses_nothing() {
    check_order_with_clock_offset("+3650d");
}

#[test]
fn a_clock_ten_years_behind_changes_no_order_and_loses_nothing() {
    check_order_with_clock_offset("-3650d");
}

fn check_order_with_clock_offset(offset: &str) {
    let lab = Lab::open();
    let office = lab.switch();
    let wrong = office.machine("cat").home("cat").with_clock(offset);
    let nodes = [
        office.machine("ann").up("ann", &[]),
        office.machine("bob").up("bob", &[]),
        wrong.up(&[]),
    ];
    for (one, other) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
        nodes[one].sees(&nodes[other]);
    }
    // Each node writes after it received the previous message, so only one order is right.
    let mut texts = Vec::new();
    for turn in 0..12 {
        let author = &nodes[turn % 3];
        let text = format!("turn {turn}, {}", author.nick());
        author.says(&text);
        for receiver in nodes.iter().filter(|node| node.id() != author.id()) {
            receiver.shows_once(&text);
        }
        texts.push(text);
    }
    for node in &nodes {
        node.shows_conversation("#lobby", &texts, TIMEOUT);
        node.restart();
        assert_eq!(
            node.texts_of("#lobby"),
            texts,
            "{} after a restart",
            node.nick()
        );
    }
}

/// Both send three messages to the other, each after the previous one arrived.
fn converse(ann: &Node, bob: &Node, about: &str, texts: &mut Vec<String>) {
    for number in 1..=3 {
        for (from, to) in [(ann, bob), (bob, ann)] {
            let text = format!("{about}, {number}, {}", from.nick());
            from.tells(to, &text);
            to.shows_once(&text);
            texts.push(text);
        }
    }
}

/// Waits until both nodes have each of these texts once, in the same order.
fn wait_until_both_have_exactly(ann: &Node, bob: &Node, texts: &[String]) {
    let mut wanted = texts.to_vec();
    wanted.sort();
    until("both have every message once", TIMEOUT, || {
        let (one, other) = (ann.texts_of(bob), bob.texts_of(ann));
        let mut sorted = one.clone();
        sorted.sort();
        if one == other && sorted == wanted {
            Ok(())
        } else {
            Err(format!("{one:#?}\n{other:#?}"))
        }
    });
}

const TIMEOUT: Duration = Duration::from_secs(30);
