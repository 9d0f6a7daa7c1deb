//! Checks PROTOCOL.md against the code. A node reads or writes each example line, and every command
//! and event has an example. The JSON Schema accepts each of them, too.

#[path = "common/schema.rs"]
mod common;

use std::collections::BTreeMap;
use std::fmt::Debug;

use common::Schema;
use hobnob_control::wire::{
    Answer, AnyRequest, EventLine, Request, WireEvent, json_schema, parse_request,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

const PAGE: &str = include_str!("../PROTOCOL.md");
const EVENTS: &str = include_str!("../src/wire/event.rs");

/// The example lines of each block: `>` marks what the program writes, `<` what it reads.
fn blocks() -> Vec<Vec<(char, &'static str)>> {
    let blocks = PAGE.split("```jsonl\n").skip(1).map(|rest| {
        rest.split("```")
            .next()
            .expect("split returns at least one part")
    });
    let line = |line: &'static str| match line.split_at(2) {
        ("> ", json) => ('>', json),
        ("< ", json) => ('<', json),
        _ => panic!("an example line begins with `> ` or `< `: {line}"),
    };
    blocks
        .map(|block| block.lines().map(line).collect())
        .collect()
}

/// Checks that the line parses as this type, and that the type serializes to the same JSON.
fn check<T: DeserializeOwned + Serialize + Debug>(line: &str) {
    let read: T = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let written = serde_json::to_value(&read).expect("the value serializes");
    assert_eq!(
        written,
        serde_json::from_str::<Value>(line).expect("the line is JSON"),
        "a node would write this line differently: {line}"
    );
}

/// Checks that the line is a complete answer to this request.
fn check_answer(request: &AnyRequest, line: &str) {
    fn check_one<R: Request<Answer: Serialize + Debug>>(_: &R, line: &str) {
        check::<Answer<R::Answer>>(line);
    }
    match request {
        AnyRequest::Ping(it) => check_one(it, line),
        AnyRequest::GetStatus(it) => check_one(it, line),
        AnyRequest::GetMailbox(it) => check_one(it, line),
        AnyRequest::SendMessage(it) => check_one(it, line),
        AnyRequest::BroadcastMessage(it) => check_one(it, line),
        AnyRequest::ReplyToMessage(it) => check_one(it, line),
        AnyRequest::EditMessage(it) => check_one(it, line),
        AnyRequest::ReactToMessage(it) => check_one(it, line),
        AnyRequest::CancelMessage(it) => check_one(it, line),
        AnyRequest::ShowTyping(it) => check_one(it, line),
        AnyRequest::MarkRead(it) => check_one(it, line),
        AnyRequest::SetStatus(it) => check_one(it, line),
        AnyRequest::ListActivity(it) => check_one(it, line),
        AnyRequest::OfferFile(it) => check_one(it, line),
        AnyRequest::ListFiles(it) => check_one(it, line),
        AnyRequest::AcceptFile(it) => check_one(it, line),
        AnyRequest::DeclineFile(it) => check_one(it, line),
        AnyRequest::PauseFile(it) => check_one(it, line),
        AnyRequest::ListPeers(it) => check_one(it, line),
        AnyRequest::HistoryFilter(it) => check_one(it, line),
        AnyRequest::CreateRoom(it) => check_one(it, line),
        AnyRequest::GetRoomTicket(it) => check_one(it, line),
        AnyRequest::ExportFor(it) => check_one(it, line),
        AnyRequest::ImportFile(it) => check_one(it, line),
        AnyRequest::Introduce(it) => check_one(it, line),
        AnyRequest::Invite(it) => check_one(it, line),
        AnyRequest::AwaitInvitation(it) => check_one(it, line),
        AnyRequest::AcceptInvite(it) => check_one(it, line),
        AnyRequest::SetTopic(it) => check_one(it, line),
        AnyRequest::PinMessage(it) => check_one(it, line),
        AnyRequest::ListPins(it) => check_one(it, line),
        AnyRequest::SetNotify(it) => check_one(it, line),
        AnyRequest::ListNotifyRules(it) => check_one(it, line),
        AnyRequest::JoinRoom(it) => check_one(it, line),
        AnyRequest::PartRoom(it) => check_one(it, line),
        AnyRequest::DeleteMessage(it) => check_one(it, line),
        AnyRequest::ClearConversation(it) => check_one(it, line),
        AnyRequest::ForgetPeer(it) => check_one(it, line),
        AnyRequest::KeepConversation(it) => check_one(it, line),
        AnyRequest::ListKeepTimes(it) => check_one(it, line),
        AnyRequest::TakeSnapshot(it) => check_one(it, line),
        AnyRequest::ReportBackup(it) => check_one(it, line),
        AnyRequest::ApplySettings(it) => check_one(it, line),
        AnyRequest::ListRooms(it) => check_one(it, line),
        AnyRequest::SetNick(it) => check_one(it, line),
        AnyRequest::SetPicture(it) => check_one(it, line),
        AnyRequest::GetPicture(it) => check_one(it, line),
        AnyRequest::AcceptContact(it) => check_one(it, line),
        AnyRequest::RemoveContact(it) => check_one(it, line),
        AnyRequest::Ignore(it) => check_one(it, line),
        AnyRequest::Unignore(it) => check_one(it, line),
        AnyRequest::Block(it) => check_one(it, line),
        AnyRequest::Unblock(it) => check_one(it, line),
        AnyRequest::Kick(it) => check_one(it, line),
        AnyRequest::Verify(it) => check_one(it, line),
        AnyRequest::Diagnose(it) => check_one(it, line),
        AnyRequest::Why(it) => check_one(it, line),
        AnyRequest::Subscribe(it) => check_one(it, line),
        AnyRequest::OpenApp(it) => check_one(it, line),
        AnyRequest::SendDatagram(it) => check_one(it, line),
        AnyRequest::OpenStream(it) => check_one(it, line),
        AnyRequest::ReadStream(it) => check_one(it, line),
        AnyRequest::WriteStream(it) => check_one(it, line),
        AnyRequest::EndStream(it) => check_one(it, line),
        AnyRequest::CloseStream(it) => check_one(it, line),
        AnyRequest::Resolve(it) => check_one(it, line),
    }
}

/// The definition of the request whose `cmd` this is, in the schema.
fn request_named(cmd: &str) -> String {
    let document = json_schema();
    let definitions = document["$defs"].as_object().expect("an object");
    definitions
        .iter()
        .find(|(_, definition)| definition["properties"]["cmd"]["const"] == cmd)
        .map(|(key, _)| key.clone())
        .unwrap_or_else(|| panic!("the schema lacks the request {cmd}"))
}

/// The definition of the answer to a request, in the schema.
fn answer_to(cmd: &str) -> String {
    let reference = json_schema()["$defs"][request_named(cmd)]["x-answer"]["$ref"].clone();
    let key = reference.as_str().and_then(|path| path.rsplit('/').next());
    key.expect("each request has an answer").to_owned()
}

#[test]
fn a_node_reads_or_writes_every_example_line() {
    let mut schema = Schema::new(json_schema());
    for block in blocks() {
        let mut requests = BTreeMap::new();
        for (direction, line) in block {
            let json: Value =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            if direction == '>' {
                schema.accepts("Request", line);
                let cmd = json["cmd"].as_str().unwrap_or_default();
                schema.accepts(&request_named(cmd), line);
                let request = parse_request(line.as_bytes())
                    .unwrap_or_else(|answer| panic!("{answer:?}: {line}"));
                assert_eq!(
                    requests.insert(request.id, request.request),
                    None,
                    "two requests of a block have the same id: {line}"
                );
            } else if json.get("event").is_some() {
                let event: EventLine = serde_json::from_str(line).expect(line);
                assert_ne!(event.event, WireEvent::Unknown, "{line}");
                check::<EventLine>(line);
                schema.accepts("Event", line);
            } else {
                let id = json["id"]
                    .as_u64()
                    .unwrap_or_else(|| panic!("neither an event nor an answer: {line}"));
                let request = requests
                    .get(&id)
                    .unwrap_or_else(|| panic!("no request of this block has the id of {line}"));
                check_answer(request, line);
                let cmd = serde_json::to_value(request).expect("a request is JSON")["cmd"].clone();
                schema.accepts(&answer_to(cmd.as_str().expect("a word")), line);
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
        .expect("the page has a section of commands");
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
        .expect("the file defines the enum");
    // Each variant starts a line of its own, indented once. Comments and attributes do not start
    // with a capital letter.
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
