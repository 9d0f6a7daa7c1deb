//! Mailboxes: peers that are never online at the same time. A relay holds sealed envelopes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hobnob_tests::lab::{Lab, Machine, Node, Relay, until};
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(60);

/// A relay that holds mail, and two contacts that have met.
struct MailNet {
    relay: Relay,
    mail: PathBuf,
    ann: Node,
    bob: Node,
    _dir: TempDir,
    _lab: Lab,
}

impl MailNet {
    fn new() -> Self {
        let (lab, dir) = (Lab::open(), folder());
        let internet = lab.internet();
        let mail = dir.path().join("mail");
        let at = mail.to_str().expect("the folder's name is text");
        let relay = internet
            .machine("relay")
            .relay(&["--mailbox", at, "--mailbox-max", "1G"]);
        let up = |machine: &Machine, nick| machine.up(nick, &["--relay", &relay.name()]);
        let ann = up(&internet.machine("ann"), "ann");
        let bob = up(&internet.machine("bob"), "bob");
        ann.sees(&bob);
        bob.sees(&ann);
        ann.are_contacts(&bob);
        ann.tells(&bob, "hello");
        bob.tells(&ann, "hello yourself");
        let net = Self {
            relay,
            mail,
            ann,
            bob,
            _dir: dir,
            _lab: lab,
        };
        net.each_may_deposit();
        net
    }

    fn db(&self) -> Connection {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        Connection::open_with_flags(self.mail.join("mailbox.db"), flags).expect("it is there")
    }

    /// Waits until the relay knows both as recipients, with one sender each.
    fn each_may_deposit(&self) {
        until("two mailboxes with a sender", LIMIT, || {
            let sql = "SELECT count(DISTINCT recipient) FROM senders";
            let count: i64 = self
                .db()
                .query_row(sql, [], |row| row.get(0))
                .expect("a row");
            if count == 2 {
                Ok(())
            } else {
                Err(count.to_string())
            }
        });
    }

    /// The envelopes that wait for a peer.
    fn waiting_for(&self, node: &Node) -> u64 {
        let id: hobnob_protocol::PeerId = node.id().parse().expect("an id");
        let sql = "SELECT envelopes FROM recipients WHERE peer = ?1";
        let count = self
            .db()
            .query_row(sql, [&id.as_bytes()[..]], |row| row.get::<_, i64>(0));
        u64::try_from(count.expect("a mailbox")).expect("a count")
    }
}

fn folder() -> TempDir {
    let mut builder = tempfile::Builder::new();
    builder.prefix("hob").tempdir().expect("it is writable")
}

fn texts(count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("message {n}")).collect()
}

/// Waits until all own messages of a conversation have this state.
fn all_are(node: &Node, of: &Node, state: &str) {
    until(&format!("{}: all {state}", node.nick()), LIMIT, || {
        let history = node.history_of(of);
        let mut own = history.iter().filter(|it| it["from"] == node.id());
        match own.find(|message| message["state"] != state && message["state"] != "delivered") {
            Some(other) => Err(other.to_string()),
            None => Ok(()),
        }
    });
}

/// "Both must be online" is the oldest complaint about chat without servers (issue 15).
#[test]
fn messages_and_receipts_pass_between_peers_that_never_meet() {
    let net = MailNet::new();
    let (ann, bob) = (&net.ann, &net.bob);
    bob.terminate();
    let sent = texts(1_000);
    let mut client = ann.client();
    assert!(client.is_open());
    for text in &sent {
        let to = bob.id().parse().expect("an id");
        client.submit(to, text).expect("ann stores it");
    }
    drop(client);
    all_are(ann, bob, "held");
    let held = ann.history_of(bob);
    assert!(held.iter().any(|message| message["state"] == "held"));
    ann.terminate();
    bob.start();
    let expected: Vec<_> = ["hello".to_owned(), "hello yourself".to_owned()]
        .into_iter()
        .chain(sent)
        .collect();
    bob.shows_conversation(ann, &expected, LIMIT);
    until("receipts for ann", LIMIT, || {
        match (net.waiting_for(ann), net.waiting_for(bob)) {
            (1.., 0) => Ok(()),
            waiting => Err(format!("{waiting:?}")),
        }
    });
    bob.terminate();
    ann.start();
    all_are(ann, bob, "delivered");
    until("ann has her mail", LIMIT, || match net.waiting_for(ann) {
        0 => Ok(()),
        waiting => Err(waiting.to_string()),
    });
    assert!(!net.relay.id().is_empty());
}

/// A holder learns sender, recipient, size and time.
#[test]
fn the_holders_disk_has_no_text_and_no_name() {
    let net = MailNet::new();
    let (ann, bob) = (&net.ann, &net.bob);
    bob.terminate();
    let word = "xylophone-in-the-attic";
    ann.queues(bob, word);
    all_are(ann, bob, "held");
    assert!(net.waiting_for(bob) > 0);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&net.mail).expect("the folder of the relay") {
        files.push(entry.expect("a file").path());
    }
    let holds = |needle: &[u8]| files.iter().any(|file| contains(file, needle));
    assert!(!holds(word.as_bytes()), "the text");
    assert!(!holds(b"xylophone"), "a part of the text");
    let id: hobnob_protocol::PeerId = ann.id().parse().expect("an id");
    assert!(holds(id.as_bytes()), "the control: the sender is there");
}

fn contains(file: &Path, needle: &[u8]) -> bool {
    let bytes = std::fs::read(file).expect("it can be read");
    bytes.windows(needle.len()).any(|window| window == needle)
}
