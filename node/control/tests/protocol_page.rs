//! PROTOCOL.md says what is so: each of its lines is one that a node would write or read, and
//! nothing is missing from it.

use std::collections::BTreeMap;
use std::fmt::Debug;

use hobnob_control::wire::{Answer, AnyRequest, EventLine, Request, WireEvent, parse_request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

const PAGE: &str = include_str!("../PROTOCOL.md");
const EVENTS: &str = include_str!("../src/wire/event.rs");

/// The example lines of each block: what the program writes, and what it reads.
fn blocks() -> Vec<Vec<(char, &'static str)>> {
    let blocks = PAGE
        .split("```jsonl\n")
        .skip(1)
        .map(|rest| rest.split("```").next().expect("a block ends"));
    let line = |line: &'static str| match line.split_at(2) {
        ("> ", json) => ('>', json),
        ("< ", json) => ('<', json),
        _ => panic!("an example line begins with `> ` or `< `: {line}"),
    };
    blocks
        .map(|block| block.lines().map(line).collect())
        .collect()
}

/// The line reads as this type, and the type writes the same.
fn check<T: DeserializeOwned + Serialize + Debug>(line: &str) {
    let read: T = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let written = serde_json::to_value(&read).expect("writes");
    assert_eq!(
        written,
        serde_json::from_str::<Value>(line).expect("is JSON"),
        "a node would write this otherwise: {line}"
    );
}

/// The line is a whole answer to this request.
fn check_answer(request: &AnyRequest, line: &str) {
    fn check_one<R: Request<Answer: Serialize + Debug>>(_: &R, line: &str) {
        check::<Answer<R::Answer>>(line);
    }
    match request {
        AnyRequest::Ping(it) => check_one(it, line),
        AnyRequest::GetStatus(it) => check_one(it, line),
        AnyRequest::SendMessage(it) => check_one(it, line),
        AnyRequest::BroadcastMessage(it) => check_one(it, line),
        AnyRequest::OfferFile(it) => check_one(it, line),
        AnyRequest::ListFiles(it) => check_one(it, line),
        AnyRequest::AcceptFile(it) => check_one(it, line),
        AnyRequest::DeclineFile(it) => check_one(it, line),
        AnyRequest::ListPeers(it) => check_one(it, line),
        AnyRequest::HistoryFilter(it) => check_one(it, line),
        AnyRequest::JoinRoom(it) => check_one(it, line),
        AnyRequest::PartRoom(it) => check_one(it, line),
        AnyRequest::ListRooms(it) => check_one(it, line),
        AnyRequest::SetNick(it) => check_one(it, line),
        AnyRequest::Ignore(it) => check_one(it, line),
        AnyRequest::Unignore(it) => check_one(it, line),
        AnyRequest::Block(it) => check_one(it, line),
        AnyRequest::Unblock(it) => check_one(it, line),
        AnyRequest::Kick(it) => check_one(it, line),
        AnyRequest::Verify(it) => check_one(it, line),
        AnyRequest::Diagnose(it) => check_one(it, line),
        AnyRequest::Why(it) => check_one(it, line),
        AnyRequest::Subscribe(it) => check_one(it, line),
        AnyRequest::Resolve(it) => check_one(it, line),
    }
}

#[test]
fn every_example_line_is_one_that_a_node_would_read_or_write() {
    for block in blocks() {
        let mut asked = BTreeMap::new();
        for (way, line) in block {
            let json: Value =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            if way == '>' {
                let request = parse_request(line.as_bytes())
                    .unwrap_or_else(|answer| panic!("{answer:?}: {line}"));
                assert_eq!(
                    asked.insert(request.id, request.request),
                    None,
                    "two requests with one id in a block: {line}"
                );
            } else if json.get("event").is_some() {
                let event: EventLine = serde_json::from_str(line).expect(line);
                assert_ne!(event.event, WireEvent::Unknown, "{line}");
                check::<EventLine>(line);
            } else {
                let id = json["id"]
                    .as_u64()
                    .unwrap_or_else(|| panic!("no event and no answer: {line}"));
                let request = asked
                    .get(&id)
                    .unwrap_or_else(|| panic!("nothing in this block asked for {line}"));
                check_answer(request, line);
            }
        }
    }
}

#[test]
fn every_command_has_an_example_or_a_heading() {
    let commands = PAGE
        .split("\n## Commands\n")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next())
        .expect("a section of commands");
    let headings: Vec<_> = commands
        .lines()
        .filter_map(|line| line.strip_prefix("### ")?.split(':').next())
        .collect();
    let named: Vec<_> = headings
        .iter()
        .flat_map(|heading| heading.split(", "))
        .collect();
    for name in AnyRequest::NAMES {
        assert!(
            named.contains(name),
            "docs/PROTOCOL.md lacks the command `{name}`: add a heading `### {name}: what it does` under \"Commands\", its fields, and a \
             block ```jsonl with a line `> {{\"id\":1,\"cmd\":\"{name}\",…}}` and its answer after `< `"
        );
    }
}

#[test]
fn every_kind_of_event_has_an_example() {
    let kinds = EVENTS
        .split("pub enum WireEvent {")
        .nth(1)
        .and_then(|rest| rest.split("\n}").next())
        .expect("the enum");
    // A variant stands alone in its line, indented once; comments and attributes do not begin with
    // a capital.
    let variants = kinds
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(char::is_uppercase));
    let name = |line: &str| {
        line.chars()
            .take_while(|c| c.is_alphanumeric())
            .collect::<String>()
    };
    let names: Vec<_> = variants
        .map(name)
        .filter(|name| name != "Unknown")
        .map(|name| name.to_lowercase())
        .collect();
    assert!(
        names.iter().any(|name| name == "message") && names.len() > 7,
        "{names:?}"
    );
    let shown = |name: &str| {
        blocks()
            .iter()
            .flatten()
            .any(|(_, line)| line.contains(&format!("\"event\":\"{name}\"")))
    };
    for name in names {
        assert!(
            shown(&name),
            "docs/PROTOCOL.md lacks the event `{name}`: add it to the table under \"Events\", and to the block below that a line \
             `< {{\"v\":1,\"event\":\"{name}\",…}}`, as a node writes it"
        );
    }
}
