//! `hobnob up --json` as the child of a program that has but its pipes.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use hobnob_control::wire::REQUEST_BYTES_MAX;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// A node that is spoken to through pipes, and ends with the test.
struct Piped {
    process: Child,
    requests: Option<ChildStdin>,
    lines: Option<BufReader<ChildStdout>>,
    /// Events that came while an answer was waited for.
    events: Vec<Value>,
}

impl Piped {
    fn up(home: &Path, nick: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hobnob"));
        command
            .args([
                "up",
                "--json",
                "--no-mdns",
                "--listen",
                "127.0.0.1:0",
                "--nick",
                nick,
                "--home",
            ])
            .arg(home.join(nick));
        command
            .env_remove("HOBNOB_HOME")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut process = command.spawn().expect("starts");
        let (requests, lines) = (
            process.stdin.take(),
            process.stdout.take().map(BufReader::new),
        );
        Self {
            process,
            requests,
            lines,
            events: Vec::new(),
        }
    }

    fn writes(&mut self, text: &str) {
        self.requests
            .as_mut()
            .expect("is open")
            .write_all(text.as_bytes())
            .expect("the node reads");
    }

    /// The next line that it prints; none after its end.
    fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.lines
            .as_mut()
            .expect("is open")
            .read_line(&mut line)
            .expect("reads");
        (!line.is_empty()).then(|| {
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
        })
    }

    /// The answer with this id; what else comes before it is kept, if it is an event.
    fn answer(&mut self, id: &Value) -> Value {
        loop {
            let line = self.line().expect("the node runs");
            match line.get("event") {
                Some(_) => self.events.push(line),
                None if line["id"] == *id => return line,
                None => {}
            }
        }
    }

    fn asks(&mut self, request: &Value) -> Value {
        self.writes(&format!("{request}\n"));
        self.answer(&request["id"])
    }

    /// The next event of this kind.
    fn event(&mut self, kind: &str) -> Value {
        loop {
            let event = if self.events.is_empty() {
                self.line().expect("the node runs")
            } else {
                self.events.remove(0)
            };
            if event["event"] == kind {
                return event;
            }
        }
    }

    fn ticket(&mut self) -> Value {
        self.asks(&json!({"id": 1, "cmd": "status"}))["ok"]["ticket"].clone()
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.process.kill();
        let _code = self.process.wait();
    }
}

#[test]
fn two_programs_talk_through_their_nodes() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut ann, mut bob) = (Piped::up(dir.path(), "ann"), Piped::up(dir.path(), "bob"));
    let ticket = bob.ticket();
    let sent = ann.asks(&json!({"id": 7, "cmd": "send", "target": ticket, "text": "hi"}));
    assert_eq!(
        (&sent["ok"]["state"], &sent["id"]),
        (&json!("delivered"), &json!(7))
    );
    let heard = bob.event("message");
    assert_eq!(
        (&heard["text"], &heard["nick"], &heard["v"]),
        (&json!("hi"), &json!("ann"), &json!(1))
    );
    let app = json!({"id": 8, "cmd": "send", "target": heard["from"], "kind": "org.example.chess", "bytes": "AQI="});
    assert_eq!(bob.asks(&app)["ok"]["state"], "delivered");
    let own = ann.event("message");
    assert_eq!(
        (&own["text"], &own["id"]),
        (&json!("hi"), &sent["ok"]["id"]),
        "a message of one's own is told, too"
    );
    let move_ = ann.event("message");
    assert_eq!(
        (&move_["kind"], &move_["bytes"]),
        (&json!("org.example.chess"), &json!("AQI="))
    );
}

#[test]
fn what_is_no_request_is_answered_and_what_comes_after_it_is_read() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut ann = Piped::up(dir.path(), "ann");
    for (wrong, says) in [
        ("nonsense\n".to_owned(), "not a request"),
        ("\n".to_owned(), "not a request"),
        ("\u{fffd}\u{0}\n".to_owned(), "not a request"),
        (
            format!("{}\n", "x".repeat(REQUEST_BYTES_MAX + 1)),
            "at most 262144 bytes",
        ),
        (
            format!(
                "{}{{\"id\":1,\"cmd\":\"ping\"}}\n",
                " ".repeat(REQUEST_BYTES_MAX)
            ),
            "at most 262144 bytes",
        ),
    ] {
        ann.writes(&wrong);
        let answer = ann.answer(&Value::Null);
        assert_eq!(answer["error"]["code"], "usage");
        assert!(
            answer["error"]["text"]
                .as_str()
                .expect("a text")
                .contains(says),
            "{answer}"
        );
    }
    let unknown = ann.asks(&json!({"id": 9, "cmd": "dance"}));
    assert_eq!(unknown["error"]["exit"], 2);
    let gone = ann.asks(&json!({"id": 10, "cmd": "history", "after": "00000000000000ab-7"}));
    assert_eq!(gone["error"]["code"], "no-such-message");
    assert_eq!(
        ann.asks(&json!({"id": 11, "cmd": "rooms"}))["ok"]["rooms"][0]["room"],
        "#lobby"
    );
}

#[test]
fn the_end_of_the_requests_is_not_the_end_of_the_node() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut ann, mut bob) = (Piped::up(dir.path(), "ann"), Piped::up(dir.path(), "bob"));
    let ticket = bob.ticket();
    bob.writes("{\"id\":2,\"cmd\":\"rooms\"}\n");
    drop(bob.requests.take());
    assert!(
        bob.answer(&json!(2))["ok"].is_object(),
        "what was asked is answered"
    );
    ann.asks(&json!({"id": 2, "cmd": "send", "target": ticket, "text": "are you there?"}));
    assert_eq!(bob.event("message")["text"], "are you there?");
}

#[test]
fn events_are_not_told_twice_to_one_who_subscribes_as_on_the_socket() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut ann = Piped::up(dir.path(), "ann");
    assert_eq!(
        ann.asks(&json!({"id": 1, "cmd": "subscribe"}))["ok"],
        json!({})
    );
    for (id, text) in [(2, "one"), (3, "two")] {
        ann.asks(&json!({"id": id, "cmd": "broadcast", "text": text, "wait": "queued"}));
    }
    assert_eq!(
        [ann.event("message"), ann.event("message")].map(|event| event["text"].clone()),
        ["one", "two"]
    );
}

#[test]
fn a_request_that_waits_is_answered_when_the_node_is_told_to_end() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut ann = Piped::up(dir.path(), "ann");
    let nobody = format!("hobnob:{}", "a".repeat(52));
    ann.writes(&format!(
        "{}\n",
        json!({"id": 5, "cmd": "send", "target": nobody, "text": "hi", "timeout_ms": 600_000})
    ));
    assert_eq!(ann.event("message")["state"], "queued");
    kill_process(Pid::from_child(&ann.process), Signal::TERM).expect("it runs");
    assert_eq!(ann.answer(&json!(5))["ok"]["state"], "queued");
    while ann.line().is_some() {}
    assert_eq!(ann.process.wait().expect("ends").code(), Some(0));
}

#[test]
fn a_node_that_nobody_reads_any_more_ends_and_leaves_its_home() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut ann = Piped::up(dir.path(), "ann");
    ann.ticket();
    // Nothing happens at this node: it must notice by itself.
    drop(ann.lines.take());
    assert_eq!(ann.process.wait().expect("ends").code(), Some(0));
}

#[test]
fn one_that_reads_late_is_told_so_and_still_gets_every_message_once_and_in_order() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut ann, mut bob) = (Piped::up(dir.path(), "ann"), Piped::up(dir.path(), "bob"));
    let peer =
        ann.asks(&json!({"id": 1, "cmd": "resolve", "target": bob.ticket()}))["ok"]["peer"].clone();
    // Several times as much as a node keeps for a reader that is slow. Bob's output is not read
    // meanwhile.
    let padding = "x".repeat(4_000);
    for batch in 0..250 {
        for n in batch * 8..(batch + 1) * 8 {
            let text = format!("{n} {padding}");
            ann.writes(&format!(
                "{}\n",
                json!({"id": n + 10, "cmd": "send", "target": peer, "text": text, "wait": "queued"})
            ));
        }
        for n in batch * 8..(batch + 1) * 8 {
            ann.answer(&json!(n + 10));
        }
        ann.events.clear();
    }
    ann.asks(&json!({"id": 2, "cmd": "send", "target": peer, "text": "last"}));
    let mut lagged = false;
    let mut heard = Vec::new();
    loop {
        let event = bob.line().expect("the node runs");
        lagged |= event["event"] == "lagged";
        if event["event"] == "message" {
            let text = event["text"].as_str().expect("a text").to_owned();
            if text == "last" {
                break;
            }
            heard.push(
                text.split(' ')
                    .next()
                    .and_then(|n| n.parse::<u32>().ok())
                    .expect("a number"),
            );
        }
    }
    assert!(lagged, "more was said than is kept");
    assert_eq!(heard, (0..2_000).collect::<Vec<_>>());
}
