//! Holders that die, forget or lie. Ann and Bob are never online together, unless a test says so.

use std::fs;
use std::path::Path;
use std::time::Duration;

use hobnob_tests::lab::{Node, pause, until};

use super::net::{LIMIT, MailNet, all_are, texts};

/// How often the holder is killed: 20 times, or as often as `HOBNOB_HOLDER_KILLS` says.
fn kills() -> usize {
    let longer = std::env::var("HOBNOB_HOLDER_KILLS").ok();
    longer.map_or(20, |count| count.parse().expect("a number"))
}

/// Waits until Bob's mail is fetched and Ann's receipts wait.
fn receipts_wait(net: &MailNet) {
    until("receipts for ann", LIMIT, || {
        match (net.waiting_for(&net.ann), net.waiting_for(&net.bob)) {
            (1.., 0) => Ok(()),
            waiting => Err(format!("{waiting:?}")),
        }
    });
}

fn none_is_delivered(net: &MailNet, of: &[String]) {
    let history = net.ann.history_of(&net.bob);
    for message in history {
        let is_new = of.iter().any(|text| message["text"] == **text);
        assert!(!is_new || message["state"] != "delivered", "{message}");
    }
}

/// The next process sees what is on disk. Each kill follows an envelope at a different distance.
#[test]
fn a_holder_that_is_killed_again_and_again_loses_nothing() {
    let net = MailNet::new();
    let (ann, bob) = (&net.ann, &net.bob);
    let mut all: Vec<String> = Vec::new();
    let mut killed = 0;
    while killed < kills() {
        bob.terminate();
        let mut new = Vec::new();
        for _ in 0..10 {
            let before = net.waiting_for(bob);
            // Five envelopes.
            let burst: Vec<_> = (0..20)
                .map(|n| format!("{killed} {n} {}", "x".repeat(12_000)))
                .collect();
            net.ann_writes(&burst);
            new.extend(burst);
            until("an envelope is on the holder's disk", LIMIT, || {
                match net.waiting_for(bob) > before {
                    true => Ok(()),
                    false => Err(before.to_string()),
                }
            });
            pause(Duration::from_millis((killed as u64 * 7) % 31));
            net.relay.kill9();
            net.relay.start();
            killed += 1;
        }
        none_is_delivered(&net, &new);
        all_are(ann, bob, "held");
        ann.terminate();
        all.extend(new);
        bob.launch();
        // While Bob fetches.
        pause(Duration::from_millis((killed as u64 * 13) % 400));
        net.relay.kill9();
        net.relay.start();
        bob.shows_conversation(ann, &net.after_hello(&all), LIMIT);
        receipts_wait(&net);
        bob.terminate();
        ann.start();
        until("ann has all receipts", LIMIT, || all_delivered(ann, bob));
        bob.start();
        bob.shows_conversation(ann, &net.after_hello(&all), LIMIT);
    }
}

/// The mail has used all that the relay buffers for ann, so her heartbeats wait, too.
#[test]
fn a_relay_that_stops_in_the_middle_of_a_deposit_is_noticed() {
    let net = MailNet::new();
    let (ann, bob) = (&net.ann, &net.bob);
    bob.terminate();
    let before = net.waiting_for(bob);
    let burst = |name: &str| -> Vec<_> {
        let long = "x".repeat(12_000);
        (0..20).map(|n| format!("{name} {n} {long}")).collect()
    };
    net.ann_writes(&burst("first"));
    until("the deposit has begun", LIMIT, || {
        let waiting = net.waiting_for(bob);
        (waiting > before).then_some(()).ok_or(waiting.to_string())
    });
    net.relay.freeze();
    net.ann_writes(&burst("second"));
    let is_noticed = |event: &serde_json::Value| event["code"] == "relay-down";
    ann.wait_for("notice that the relay is silent", is_noticed, LIMIT);
    net.relay.thaw();
    all_are(ann, bob, "held");
}

fn all_delivered(ann: &Node, bob: &Node) -> Result<(), String> {
    let history = ann.history_of(bob);
    let mut own = history.iter().filter(|it| it["from"] == ann.id());
    match own.find(|message| message["state"] != "delivered") {
        Some(other) => Err(other.to_string()),
        None => Ok(()),
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("it is writable");
    for entry in fs::read_dir(from).expect("the folder of the relay") {
        let file = entry.expect("a file");
        fs::copy(file.path(), to.join(file.file_name())).expect("it is a file");
    }
}

/// Ann sends again what the older copy lacks, by mail alone: Bob misses it and asks for it.
#[test]
fn a_holder_restored_from_an_older_copy_delays_messages_only() {
    let net = MailNet::new();
    let (ann, bob) = (&net.ann, &net.bob);
    bob.terminate();
    let [first, second, third] = ["first", "second", "third"].map(|word| {
        let named = texts(5).into_iter().map(|text| format!("{word} {text}"));
        named.collect::<Vec<_>>()
    });
    net.ann_writes(&first);
    all_are(ann, bob, "held");
    net.relay.terminate();
    let older = net.mail.with_file_name("older");
    copy(&net.mail, &older);
    net.relay.start();
    net.ann_writes(&second);
    all_are(ann, bob, "held");

    net.relay.terminate();
    fs::remove_dir_all(&net.mail).expect("it is there");
    copy(&older, &net.mail);
    net.relay.start();
    net.ann_writes(&third);
    all_are(ann, bob, "held");
    ann.terminate();
    bob.start();
    bob.shows_conversation(ann, &net.after_hello(&first), LIMIT);
    until("a request for the second ones", LIMIT, || {
        match net.waiting_for(ann) {
            0 => Err("nothing".to_owned()),
            _ => Ok(()),
        }
    });
    bob.terminate();
    ann.start();
    none_is_delivered(&net, &second);
    until("the second ones are at the holder", LIMIT, || {
        match (net.waiting_for(ann), net.waiting_for(bob)) {
            (0, 2..) => Ok(()),
            waiting => Err(format!("{waiting:?}")),
        }
    });
    ann.terminate();
    bob.start();
    let all: Vec<_> = [first, second, third].concat();
    bob.shows_conversation(ann, &net.after_hello(&all), LIMIT);

    // The same envelopes once more.
    bob.terminate();
    net.relay.terminate();
    fs::remove_dir_all(&net.mail).expect("it is there");
    copy(&older, &net.mail);
    net.relay.start();
    bob.start();
    until("bob has seen them", LIMIT, || match net.waiting_for(bob) {
        0 => Ok(()),
        waiting => Err(waiting.to_string()),
    });
    bob.shows_conversation(ann, &net.after_hello(&all), LIMIT);
    ann.start();
    until("ann has all receipts", LIMIT, || all_delivered(ann, bob));
    bob.shows_conversation(ann, &net.after_hello(&all), LIMIT);
}

/// The holder's database is changed between two runs, as a lying holder would answer.
#[test]
fn a_holder_that_drops_repeats_reorders_and_misdirects_only_delays_messages() {
    let net = MailNet::new();
    let (ann, bob) = (&net.ann, &net.bob);
    bob.terminate();
    let sent: Vec<_> = (1..=40)
        .map(|n| format!("{n} {}", "x".repeat(14_000)))
        .collect();
    net.ann_writes(&sent);
    all_are(ann, bob, "held");
    let envelopes = net.waiting_for(bob);
    assert!(envelopes >= 8, "{envelopes}");
    ann.terminate();
    net.relay.terminate();
    net.change_mail(
        "-- It claims to be empty.
         CREATE TABLE hidden AS SELECT * FROM envelopes;
         DELETE FROM envelopes;",
    );
    net.relay.start();
    bob.start();
    until("bob was told that nothing waits", LIMIT, || {
        let shown = bob.run(&["mailbox"]).expect(0).json();
        let fetched = &shown[0]["held_by"][0]["fetched_at"];
        fetched
            .as_str()
            .map(|_| ())
            .ok_or_else(|| shown[0].to_string())
    });
    bob.shows_conversation(ann, &net.after_hello(&[]), LIMIT);
    bob.terminate();
    net.relay.terminate();
    net.change_mail(
        "-- It drops the third envelope, reverses the others, repeats each, and gives Bob's to Ann.
         DELETE FROM hidden WHERE number = (SELECT number FROM hidden ORDER BY number LIMIT 1 OFFSET 2);
         INSERT INTO envelopes (number, recipient, sender, at_ms, size, bytes)
             SELECT 1000 - number, recipient, sender, at_ms, size, bytes FROM hidden;
         INSERT INTO envelopes (number, recipient, sender, at_ms, size, bytes)
             SELECT 2000 + number, recipient, sender, at_ms, size, bytes FROM hidden;
         INSERT INTO envelopes (number, recipient, sender, at_ms, size, bytes)
             SELECT 3000 + number, (SELECT id FROM recipients WHERE id != recipient LIMIT 1),
                    sender, at_ms, size, bytes FROM hidden;
         UPDATE sqlite_sequence SET seq = 5000 WHERE name = 'envelopes';",
    );
    net.relay.start();
    bob.start();
    // The messages before the dropped one arrive, in order.
    let whole = net.after_hello(&sent);
    until("bob has the beginning", LIMIT, || {
        let has = bob.texts_of(ann);
        assert!(whole.starts_with(&has), "out of order, twice or forged");
        match has.len() {
            0..6 => Err(has.len().to_string()),
            _ => Ok(()),
        }
    });
    until("a request to ann", LIMIT, || match net.db_count(NEW, ann) {
        0 => Err("nothing".to_owned()),
        _ => Ok(()),
    });
    bob.terminate();
    let before = bob_has(&net);
    ann.start();
    until("ann sends the dropped ones again", LIMIT, || {
        match net.db_count(NEW, bob) {
            0 => Err("nothing".to_owned()),
            _ => Ok(()),
        }
    });
    let history = ann.history_of(bob);
    let delivered = history.iter().filter(|it| it["state"] == "delivered");
    assert!(delivered.count() <= before, "delivered is early");
    ann.terminate();
    bob.start();
    bob.shows_conversation(ann, &whole, LIMIT);
    ann.start();
    until("ann has all receipts", LIMIT, || all_delivered(ann, bob));
    bob.shows_conversation(ann, &whole, LIMIT);
}

/// Envelopes for a node that arrived after the holder's database was changed.
const NEW: &str = "recipient = (SELECT id FROM recipients WHERE peer = ?1) AND number > 5000";

/// Backups have no mailbox keys. Ann seals the messages again, and the two never meet.
#[test]
fn a_node_restored_from_a_backup_asks_for_its_mail_again() {
    let net = MailNet::new();
    let (ann, bob) = (&net.ann, &net.bob);
    bob.terminate();
    let sent = texts(50);
    net.ann_writes(&sent);
    all_are(ann, bob, "held");
    ann.terminate();
    let db = rusqlite::Connection::open(bob.home().database()).expect("it is there");
    let keys = db.execute("DELETE FROM mail WHERE kind = 1", []);
    assert_eq!(keys, Ok(1), "one key");
    drop(db);
    bob.start();
    receipts_wait(&net);
    bob.has_not("message 1");
    bob.terminate();
    ann.start();
    until("ann seals them again", LIMIT, || {
        match (net.waiting_for(ann), net.waiting_for(bob)) {
            (0, 1..) => Ok(()),
            waiting => Err(format!("{waiting:?}")),
        }
    });
    all_are(ann, bob, "held");
    none_is_delivered(&net, &sent);
    ann.terminate();
    bob.start();
    bob.shows_conversation(ann, &net.after_hello(&sent), LIMIT);
    ann.start();
    until("ann has all receipts", LIMIT, || all_delivered(ann, bob));
}

/// How many of the texts Bob had, the one that he wrote included.
fn bob_has(net: &MailNet) -> usize {
    net.bob.texts_of(&net.ann).len()
}
