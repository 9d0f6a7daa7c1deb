//! `hobnob up --json` as the child process of a program that uses only its pipes.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use hobnob_control::wire::REQUEST_BYTES_MAX;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// A node that the test controls through pipes. It ends with the test.
struct Piped {
    process: Child,
    requests: Option<ChildStdin>,
    lines: Option<BufReader<ChildStdout>>,
    /// Events that arrived while the test waited for an answer.
    events: Vec<Value>,
    /// Answers that arrived before the one that the test waits for.
    answers: Vec<Value>,
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
        let mut process = command.spawn().expect("hobnob starts");
        let (requests, lines) = (
            process.stdin.take(),
            process.stdout.take().map(BufReader::new),
        );
        Self {
            process,
            requests,
            lines,
            events: Vec::new(),
            answers: Vec::new(),
        }
    }

    fn write(&mut self, text: &str) {
        self.requests
            .as_mut()
            .expect("the pipe is open")
            .write_all(text.as_bytes())
            .expect("the node reads");
    }

    /// Returns the next line of output, or `None` after the end.
    fn next_line(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.lines
            .as_mut()
            .expect("the pipe is open")
            .read_line(&mut line)
            .expect("the pipe is readable");
        (!line.is_empty()).then(|| {
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
        })
    }

    /// Waits for the answer with this id. Keeps the events and the other answers that arrive before
    /// it: the node answers each request as soon as it is ready.
    fn answer(&mut self, id: &Value) -> Value {
        let is_asked = |answer: &Value| answer["id"] == *id;
        if let Some(index) = self.answers.iter().position(is_asked) {
            return self.answers.remove(index);
        }
        loop {
            let line = self.next_line().expect("the node runs");
            match line.get("event") {
                Some(_) => self.events.push(line),
                None if is_asked(&line) => return line,
                None => self.answers.push(line),
            }
        }
    }

    fn ask(&mut self, request: &Value) -> Value {
        self.write(&format!("{request}\n"));
        self.answer(&request["id"])
    }

    /// Waits for the next event of this kind.
    fn event(&mut self, kind: &str) -> Value {
        loop {
            let event = if self.events.is_empty() {
                self.next_line().expect("the node runs")
            } else {
                self.events.remove(0)
            };
            if event["event"] == kind {
                return event;
            }
        }
    }

    fn ticket(&mut self) -> Value {
        self.ask(&json!({"id": 1, "cmd": "status"}))["ok"]["ticket"].clone()
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        // The node may have ended already.
        let _ended = self.process.kill();
        let _code = self.process.wait();
    }
}

/// The JSON lines that a command prints, in a home whose node already runs.
fn command(home: &Path, arguments: &[&str]) -> Vec<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_hobnob"))
        .arg("--home")
        .arg(home)
        .arg("--json")
        .args(arguments)
        .output()
        .expect("the program runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    let lines = output.stdout.split(|byte| *byte == b'\n');
    let json = lines.filter(|line| !line.is_empty());
    json.map(|line| serde_json::from_slice(line).expect("JSON"))
        .collect()
}

#[test]
fn commands_find_kick_and_rename_through_the_running_node() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut ann, mut bob) = (Piped::up(dir.path(), "ann"), Piped::up(dir.path(), "bob"));
    let ticket = bob.ticket();
    ann.ask(&json!({"id": 7, "cmd": "send", "target": ticket, "text": "lunch at noon?"}));
    let home = dir.path().join("ann");

    let found = command(&home, &["search", "lunch"]);
    assert_eq!(found[0]["text"], "lunch at noon?");
    let known = command(&home, &["whois", "bob"]);
    assert_eq!(
        (&known[0]["name"], &known[0]["state"]),
        (&json!("bob"), &json!("online"))
    );
    let kicked = command(&home, &["kick", "bob"]);
    assert_eq!(
        (&kicked[0]["event"], &kicked[0]["name"], &kicked[0]["for_s"]),
        (&json!("peer"), &json!("bob"), &json!(600))
    );
    assert!(command(&home, &["nick", "ann at home"]).is_empty());
    let status = ann.ask(&json!({"id": 8, "cmd": "status"}));
    assert_eq!(status["ok"]["nick"], "ann at home");
}

#[test]
fn two_programs_talk_through_their_nodes() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (mut ann, mut bob) = (Piped::up(dir.path(), "ann"), Piped::up(dir.path(), "bob"));
    let ticket = bob.ticket();
    let sent = ann.ask(&json!({"id": 7, "cmd": "send", "target": ticket, "text": "hi"}));
    assert_eq!(
        (&sent["ok"]["state"], &sent["id"]),
        (&json!("delivered"), &json!(7))
    );
    let received = bob.event("message");
    assert_eq!(
        (&received["text"], &received["nick"], &received["v"]),
        (&json!("hi"), &json!("ann"), &json!(1))
    );
    let app = json!({"id": 8, "cmd": "send", "target": received["from"], "kind": "org.example.chess", "bytes": "AQI="});
    assert_eq!(bob.ask(&app)["ok"]["state"], "delivered");
    let own = ann.event("message");
    assert_eq!(
        (&own["text"], &own["id"]),
        (&json!("hi"), &sent["ok"]["id"]),
        "own messages are events, too"
    );
    let move_ = ann.event("message");
    assert_eq!(
        (&move_["kind"], &move_["bytes"]),
        (&json!("org.example.chess"), &json!("AQI="))
    );
}

#[test]
fn an_invalid_request_is_answered_and_later_requests_still_work() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut ann = Piped::up(dir.path(), "ann");
    for (wrong, expected) in [
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
        ann.write(&wrong);
        let answer = ann.answer(&Value::Null);
        assert_eq!(answer["error"]["code"], "usage");
        assert!(
            answer["error"]["text"]
                .as_str()
                .expect("the line has a text")
                .contains(expected),
            "{answer}"
        );
    }
    let unknown = ann.ask(&json!({"id": 9, "cmd": "dance"}));
    assert_eq!(unknown["error"]["exit"], 2);
    let gone = ann.ask(&json!({"id": 10, "cmd": "history", "after": "00000000000000ab-7"}));
    assert_eq!(gone["error"]["code"], "no-such-message");
    assert_eq!(
        ann.ask(&json!({"id": 11, "cmd": "rooms"}))["ok"]["rooms"][0]["room"],
        "#lobby"
    );
}

#[test]
fn the_node_keeps_running_when_its_input_ends() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (mut ann, mut bob) = (Piped::up(dir.path(), "ann"), Piped::up(dir.path(), "bob"));
    let ticket = bob.ticket();
    bob.write("{\"id\":2,\"cmd\":\"rooms\"}\n");
    drop(bob.requests.take());
    assert!(
        bob.answer(&json!(2))["ok"].is_object(),
        "the request is answered"
    );
    ann.ask(&json!({"id": 2, "cmd": "send", "target": ticket, "text": "are you there?"}));
    assert_eq!(bob.event("message")["text"], "are you there?");
}

#[test]
fn a_subscribe_request_does_not_duplicate_events() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut ann = Piped::up(dir.path(), "ann");
    assert_eq!(
        ann.ask(&json!({"id": 1, "cmd": "subscribe"}))["ok"],
        json!({})
    );
    for (id, text) in [(2, "one"), (3, "two")] {
        ann.ask(&json!({"id": id, "cmd": "broadcast", "text": text, "wait": "queued"}));
    }
    assert_eq!(
        [ann.event("message"), ann.event("message")].map(|event| event["text"].clone()),
        ["one", "two"]
    );
}

#[test]
fn a_waiting_request_is_answered_when_the_node_is_terminated() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut ann = Piped::up(dir.path(), "ann");
    let nobody = format!("hobnob:{}", "a".repeat(52));
    ann.write(&format!(
        "{}\n",
        json!({"id": 5, "cmd": "send", "target": nobody, "text": "hi", "timeout_ms": 600_000})
    ));
    // A request that comes before the node is ready waits until its events can be shown.
    let first = ann.next_line().expect("it prints a line");
    assert_eq!(first["event"], "listening", "{first}");
    assert_eq!(ann.event("message")["state"], "queued");
    kill_process(Pid::from_child(&ann.process), Signal::TERM).expect("the node runs");
    assert_eq!(ann.answer(&json!(5))["ok"]["state"], "queued");
    while ann.next_line().is_some() {}
    assert_eq!(ann.process.wait().expect("the node ends").code(), Some(0));
}

#[test]
fn a_node_whose_output_is_closed_ends() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut ann = Piped::up(dir.path(), "ann");
    ann.ticket();
    // The node is idle, so it must notice without an attempt to write.
    drop(ann.lines.take());
    assert_eq!(ann.process.wait().expect("the node ends").code(), Some(0));
}

#[test]
fn a_slow_reader_is_informed_and_gets_every_message_once_and_in_order() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (mut ann, mut bob) = (Piped::up(dir.path(), "ann"), Piped::up(dir.path(), "bob"));
    let peer =
        ann.ask(&json!({"id": 1, "cmd": "resolve", "target": bob.ticket()}))["ok"]["peer"].clone();
    bob.ask(&json!({"id": 1, "cmd": "accept-contact", "target": ann.ticket()}));
    // Several times as many events as a node buffers for a slow reader. The test does not read
    // bob's output meanwhile.
    let padding = "x".repeat(4_000);
    for batch in 0..250 {
        for n in batch * 8..(batch + 1) * 8 {
            let text = format!("{n} {padding}");
            ann.write(&format!(
                "{}\n",
                json!({"id": n + 10, "cmd": "send", "target": peer, "text": text, "wait": "queued"})
            ));
        }
        for n in batch * 8..(batch + 1) * 8 {
            ann.answer(&json!(n + 10));
        }
        ann.events.clear();
    }
    ann.ask(&json!({"id": 2, "cmd": "send", "target": peer, "text": "last"}));
    let mut lagged = false;
    let mut received = Vec::new();
    loop {
        let event = bob.next_line().expect("the node runs");
        lagged |= event["event"] == "lagged";
        if event["event"] == "message" {
            let text = event["text"]
                .as_str()
                .expect("the line has a text")
                .to_owned();
            if text == "last" {
                break;
            }
            received.push(
                text.split(' ')
                    .next()
                    .and_then(|n| n.parse::<u32>().ok())
                    .expect("a number"),
            );
        }
    }
    assert!(lagged, "the messages exceed the node's buffer");
    assert_eq!(received, (0..2_000).collect::<Vec<_>>());
}

#[test]
fn the_program_prints_the_schema_of_its_lines() {
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hobnob"));
        command.args(arguments).output().expect("hobnob runs")
    };
    for (flag, document) in [
        ("--schema", hobnob_control::wire::json_schema()),
        ("--asyncapi", hobnob_control::wire::asyncapi()),
    ] {
        let printed = run(&["help", "protocol", flag]);
        let printed: Value = serde_json::from_slice(&printed.stdout).expect("it is JSON");
        assert_eq!(printed, document, "{flag}");
    }
    let wrong = run(&["help", "send", "--schema"]);
    assert_eq!(wrong.status.code(), Some(2));
    let advice = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(advice.contains("hobnob help protocol --schema"), "{advice}");
}
