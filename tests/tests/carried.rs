//! Messages that are carried by hand: two machines without any network in common exchange sealed
//! files. Also the files of `hobnob export` for people.

use std::fs;
use std::path::PathBuf;

use hobnob_tests::lab::{Lab, Node};
use tempfile::TempDir;

const USAGE: i32 = 2;

/// A USB stick.
struct Stick(TempDir);

impl Stick {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("it is writable"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str) -> String {
        let path = self.path(name);
        path.to_str().expect("the folder's name is text").to_owned()
    }

    /// A copy of a file with other bytes.
    fn changed(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut bytes = fs::read(self.path(name)).expect("it was written");
        change(&mut bytes);
        fs::write(self.path("changed"), bytes).expect("the stick is writable");
        self.file("changed")
    }
}

/// The numbers of an import.
fn import(node: &Node, file: &str) -> (u64, u64, u64) {
    let line = node.run(&["import", file]).expect(0).one_json();
    let number = |field: &str| line[field].as_u64().expect("a number");
    (number("messages"), number("delivered"), number("refused"))
}

fn export(node: &Node, reader: &Node, file: &str) -> u64 {
    let line = node.run(&["export", "--for", reader.id(), file]);
    let line = line.expect(0).one_json();
    line["messages"].as_u64().expect("a number")
}

fn ticket_of(id: &str) -> String {
    format!("hobnob:{id}")
}

/// Two nodes without any network in common.
fn apart(lab: &Lab) -> (Node, Node) {
    let ann = lab.switch().machine("ann").up("ann", &[]);
    let bob = lab.switch().machine("bob").up("bob", &[]);
    (ann, bob)
}

#[test]
fn messages_and_receipts_are_carried_both_ways_in_order_and_once() {
    let lab = Lab::open();
    let stick = Stick::new();
    let (ann, bob) = apart(&lab);
    let sent: Vec<_> = (1..=50).map(|n| format!("message {n}")).collect();
    for text in &sent {
        ann.queues(ticket_of(bob.id()), text);
    }
    let to_bob = stick.file("to-bob");
    assert_eq!(export(&ann, &bob, &to_bob), 50);
    let content = fs::read(stick.path("to-bob")).expect("it was written");
    assert!(!content.windows(7).any(|bytes| bytes == b"message"));
    // Ann is a stranger to bob, so bob takes only her first messages.
    let (first, _, refused) = import(&bob, &to_bob);
    assert!((1..50).contains(&first) && refused > 0, "{first} {refused}");
    bob.run(&["contacts", "accept", ann.id()]).expect(0);
    let (rest, _, _) = import(&bob, &to_bob);
    assert_eq!(first + rest, 50);
    assert_eq!(bob.texts_of(&ann), sent);
    assert_eq!(import(&bob, &to_bob), (0, 0, 0), "a second time");

    bob.queues(ann.id(), "all of them are here");
    let to_ann = stick.file("to-ann");
    assert_eq!(export(&bob, &ann, &to_ann), 1);
    assert_eq!(import(&ann, &to_ann), (1, 50, 0));
    let all: Vec<_> = sent
        .into_iter()
        .chain(["all of them are here".to_owned()])
        .collect();
    assert_eq!(ann.texts_of(&bob), all);
    let history = ann.history_of(&bob);
    let mut own = history.iter().filter(|message| message["from"] == ann.id());
    assert!(own.all(|message| message["state"] == "delivered"));

    // The next file has only the receipt for bob's message.
    let again = stick.file("to-bob-again");
    assert_eq!(export(&ann, &bob, &again), 0);
    assert_eq!(import(&bob, &again), (0, 1, 0));
    for node in [&ann, &bob] {
        node.restart();
    }
    assert_eq!(bob.texts_of(&ann), all);
}

#[test]
fn files_that_are_cut_altered_or_for_somebody_else_are_refused() {
    let lab = Lab::open();
    let stick = Stick::new();
    let (ann, bob) = apart(&lab);
    let eve = lab.switch().machine("eve").up("eve", &[]);
    ann.queues(ticket_of(bob.id()), "for bob only");
    let file = stick.file("to-bob");
    export(&ann, &bob, &file);
    eve.run(&["import", &file])
        .expect(USAGE)
        .says(&["for somebody else"]);
    ann.run(&["import", &file])
        .expect(USAGE)
        .says(&["for somebody else"]);
    let cut = stick.changed("to-bob", |bytes| bytes.truncate(bytes.len() - 1));
    bob.run(&["import", &cut]).expect(USAGE);
    let short = stick.changed("to-bob", |bytes| bytes.truncate(30));
    bob.run(&["import", &short])
        .expect(USAGE)
        .says(&["truncated"]);
    let altered = stick.changed("to-bob", |bytes| {
        let last = bytes.len() - 20;
        bytes[last] ^= 1;
    });
    bob.run(&["import", &altered])
        .expect(USAGE)
        .says(&["damaged"]);
    let other = stick.changed("to-bob", |bytes| bytes.fill(7));
    bob.run(&["import", &other])
        .expect(USAGE)
        .says(&["not a file of sealed messages"]);
    bob.run(&["import", &stick.file("missing")])
        .expect(1)
        .says(&["missing"]);
    // An export replaces no file, and leaves none behind when it fails.
    ann.run(&["export", "--for", bob.id(), &file]).expect(1);
    ann.run(&["export", "--for", ann.id(), &stick.file("own")])
        .expect(USAGE);
    assert!(!stick.path("own").exists());
    assert_eq!(import(&bob, &file).0, 1);
}

#[test]
fn a_conversation_is_exported_as_text_json_and_a_web_page() {
    let lab = Lab::open();
    let stick = Stick::new();
    let office = lab.switch();
    let ann = office.machine("ann").up("ann", &[]);
    let bob = office.machine("bob").up("bob", &[]);
    ann.sees(&bob);
    ann.tells(&bob, "is 1 < 2 & 2 > 1?");
    bob.tells(&ann, "always");
    ann.shows_once("always");
    let read = |name: &str, format: &[&str]| {
        let file = stick.file(name);
        let arguments = [&["export", bob.id(), "--output", &file], format].concat();
        ann.run(&arguments).expect(0);
        fs::read_to_string(stick.path(name)).expect("it was written")
    };
    let text = read("talk.txt", &["--format", "text"]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(
        lines[0].contains("is 1 < 2 & 2 > 1?") && lines[1].contains("always"),
        "{text}"
    );
    let json = read("talk.jsonl", &[]);
    let texts: Vec<_> = json
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["text"].clone())
        .collect();
    assert_eq!(texts, ["is 1 < 2 & 2 > 1?", "always"]);
    let page = read("talk.html", &["--format", "html"]);
    assert!(page.starts_with("<!doctype html>") || page.starts_with("<!DOCTYPE html>"));
    assert!(page.contains("is 1 &lt; 2 &amp; 2 &gt; 1?") && page.contains("always"));
    assert!(!page.contains("<script"));
    // A file that exists is not replaced.
    let file = stick.file("talk.html");
    ann.run(&["export", bob.id(), "--output", &file])
        .expect(USAGE)
        .says(&["exists"]);
}
