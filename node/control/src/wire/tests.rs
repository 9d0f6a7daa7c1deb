//! Golden lines: programs of other people read and write these.

use std::path::PathBuf;

use hobnob_protocol::offer::Folder;
use hobnob_protocol::{Body, ContentHash, LogId, Nickname, Offer, PersonId, RoomName, Target};

use super::*;
use hobnob::{
    ConversationRef, DeliveryState, Event, FileInfo, FileState, Message, MessageId, Notice,
    NoticeReason, PathKind, PeerInfo, PeerPolicy, PeerState, Picture, RoomInfo, Sent,
};

#[path = "../../tests/common/schema.rs"]
mod common;
use common::Schema;

const ANN: &str = "aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaq";
const BOB: &str = "aibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaiba";

fn id(byte: u8) -> PersonId {
    PersonId::from_bytes([byte; 32])
}

fn message_id() -> MessageId {
    MessageId {
        log: LogId(0xab),
        seq: 7,
    }
}

fn golden_id(line: &str) -> String {
    line.replace("ANN", ANN).replace("BOB", BOB)
}

/// The line means this command, and the command prints as a line that means the same.
fn check_request(line: &str, request: impl Into<AnyRequest>) {
    let request = RequestLine {
        id: 7,
        request: request.into(),
    };
    assert_eq!(
        parse_request(golden_id(line).as_bytes()).as_ref(),
        Ok(&request),
        "{line}"
    );
    assert_eq!(
        parse_request(to_line(&request).as_bytes()),
        Ok(request),
        "{line}"
    );
    Schema::new(json_schema()).accepts("Request", &golden_id(line));
}

fn check_event(event: impl Into<WireEvent>, line: &str) {
    let event = EventLine::from(event.into());
    let printed = to_line(&event);
    assert_eq!(printed.trim_end(), golden_id(line));
    assert_eq!(serde_json::from_str::<EventLine>(&printed).unwrap(), event);
    Schema::new(json_schema()).accepts("Event", &printed);
}

fn text(text: &str) -> BodyFields {
    Body::Text(text.into()).into()
}

#[test]
fn requests_are_read_with_the_defaults_of_the_command_line() {
    let options = WaitOptions {
        wait: DeliveryState::Delivered,
        timeout_ms: 10_000,
    };
    let bob = || Text(Target::Id(id(2)));
    check_request(r#"{"id":7,"cmd":"ping"}"#, Ping {});
    check_request(r#"{"id":7,"cmd":"status"}"#, GetStatus {});
    check_request(
        r#"{"id":7,"cmd":"send","target":"BOB","text":"hi"}"#,
        SendMessage {
            client_id: None,
            target: bob(),
            body: text("hi"),
            options,
        },
    );
    check_request(
        r#"{"id":7,"cmd":"send","target":"bob","kind":"org.example.chess","bytes":"AQI=","wait":"queued","timeout_ms":5}"#,
        SendMessage {
            client_id: None,
            target: Text("bob".parse().unwrap()),
            body: Body::App {
                kind: "org.example.chess".into(),
                bytes: vec![1, 2],
            }
            .into(),
            options: WaitOptions {
                wait: DeliveryState::Queued,
                timeout_ms: 5,
            },
        },
    );
    check_request(
        r#"{"id":7,"cmd":"broadcast","text":"hi"}"#,
        BroadcastMessage {
            client_id: None,
            room: Text(RoomName::lobby()),
            body: text("hi"),
            options,
        },
    );
    check_request(r#"{"id":7,"cmd":"peers"}"#, ListPeers { settle: false });
    check_request(r#"{"id":7,"cmd":"history"}"#, HistoryFilter::default());
    check_request(
        r##"{"id":7,"cmd":"history","conversation":"#ops","search":"x","since":"1970-01-01T00:00:01Z","before":"00000000000000ab-7","limit":5}"##,
        HistoryFilter {
            conversation: Some(Text(ConversationRef::Room("ops".parse().unwrap()))),
            search: Some("x".into()),
            since: Some(Time(1_000)),
            before: Some(Text(message_id())),
            limit: Some(5),
            ..HistoryFilter::default()
        },
    );
    check_request(
        r#"{"id":7,"cmd":"history","after":"00000000000000ab-7","oldest":true}"#,
        HistoryFilter {
            after: Some(Text(message_id())),
            oldest: true,
            ..HistoryFilter::default()
        },
    );
    check_request(
        r#"{"id":7,"cmd":"join","room":"ops","secret":"czNjcmV0"}"#,
        JoinRoom {
            room: Text("ops".parse().unwrap()),
            secret: Some(Base64(b"s3cret".to_vec())),
        },
    );
    check_request(
        r##"{"id":7,"cmd":"part","room":"#ops"}"##,
        PartRoom {
            room: Text("ops".parse().unwrap()),
        },
    );
    check_request(r#"{"id":7,"cmd":"rooms"}"#, ListRooms {});
    check_request(
        r#"{"id":7,"cmd":"nick","nick":"ann"}"#,
        SetNick {
            nick: Nickname::new("ann").unwrap(),
        },
    );
    check_request(
        r#"{"id":7,"cmd":"ignore","target":"BOB"}"#,
        Ignore { target: bob() },
    );
    check_request(
        r#"{"id":7,"cmd":"unignore","target":"BOB"}"#,
        Unignore { target: bob() },
    );
    check_request(
        r#"{"id":7,"cmd":"block","target":"BOB"}"#,
        Block { target: bob() },
    );
    check_request(
        r#"{"id":7,"cmd":"unblock","target":"BOB"}"#,
        Unblock { target: bob() },
    );
    check_request(
        r#"{"id":7,"cmd":"kick","target":"BOB"}"#,
        Kick { target: bob() },
    );
    check_request(
        r#"{"id":7,"cmd":"verify","target":"BOB"}"#,
        Verify {
            target: bob(),
            confirm: None,
        },
    );
    check_request(
        r#"{"id":7,"cmd":"verify","target":"BOB","confirm":true}"#,
        Verify {
            target: bob(),
            confirm: Some(true),
        },
    );
    check_request(r#"{"id":7,"cmd":"doctor"}"#, Diagnose {});
    check_request(
        r#"{"id":7,"cmd":"why","target":"BOB"}"#,
        Why { target: bob() },
    );
    check_request(r#"{"id":7,"cmd":"subscribe"}"#, Subscribe {});
    check_request(
        r#"{"id":7,"cmd":"resolve","target":"BOB"}"#,
        Resolve { target: bob() },
    );
}

#[test]
fn a_line_that_is_no_request_is_answered_with_what_is_wrong_and_its_id_where_it_has_one() {
    let cases = [
        ("nonsense", None, "expected"),
        (r#"{"cmd":"ping"}"#, None, "a request needs an id"),
        (
            r#"{"id":4,"cmd":"dance"}"#,
            Some(4),
            "unknown variant `dance`",
        ),
        (
            r#"{"id":4,"cmd":"send","target":"host:0","text":"x"}"#,
            Some(4),
            "has no valid port",
        ),
        (
            r#"{"id":4,"cmd":"send","target":"bob","text":"x","wait":"soon"}"#,
            Some(4),
            "`queued`, `sent`, `held`, `delivered`",
        ),
        (
            r#"{"id":4,"cmd":"join","room":"ops","secret":"?"}"#,
            Some(4),
            "base64",
        ),
    ];
    for (line, asker, says) in cases {
        let Answer {
            id,
            outcome: Outcome::Error(failure),
        } = parse_request(line.as_bytes()).expect_err(line)
        else {
            panic!("{line} was read")
        };
        assert_eq!((id, failure.exit), (asker, 2), "{line}");
        assert!(failure.text.contains(says), "{line}: {failure}");
    }
}

#[test]
fn a_body_is_a_text_or_an_app_message_and_not_both() {
    for wrong in [
        BodyFields::default(),
        BodyFields {
            kind: Some("k".into()),
            ..text("x")
        },
    ] {
        assert!(Body::try_from(wrong).is_err());
    }
    for body in [
        Body::Text("x".into()),
        Body::App {
            kind: "k".into(),
            bytes: vec![0],
        },
    ] {
        assert_eq!(Body::try_from(BodyFields::from(body.clone())), Ok(body));
    }
}

#[test]
fn answers() {
    let ok = Answer {
        id: Some(7),
        outcome: Outcome::Ok(Done {}),
    };
    assert_eq!(to_line(&ok), "{\"id\":7,\"ok\":{}}\n");
    let failure = Failure {
        code: "no-such-peer".into(),
        exit: 3,
        text: "nobody".into(),
    };
    let error = Answer::<Done> {
        id: None,
        outcome: Outcome::Error(failure),
    };
    let line =
        "{\"id\":null,\"error\":{\"code\":\"no-such-peer\",\"exit\":3,\"text\":\"nobody\"}}\n";
    assert_eq!(to_line(&error), line);
    assert_eq!(serde_json::from_str::<Answer<Done>>(line).unwrap(), error);
    for line in [to_line(&ok), line.to_owned()] {
        Schema::new(json_schema()).accepts("DoneAnswer", &line);
    }
}

#[test]
fn event_lines() {
    check_event(
        Event::Listening {
            peer: id(1),
            addrs: vec!["[::1]:4626".parse().unwrap()],
        },
        r#"{"v":1,"event":"listening","peer":"ANN","addrs":["[::1]:4626"]}"#,
    );
    check_event(
        Event::Receipt {
            id: message_id(),
            peer: id(2),
            state: DeliveryState::Delivered,
        },
        r#"{"v":1,"event":"receipt","id":"00000000000000ab-7","peer":"BOB","state":"delivered"}"#,
    );
    check_event(
        Event::Notice(Notice {
            number: 1,
            reason: NoticeReason::Clock {
                name: "bob".into(),
                ahead_ms: 7_200_000,
            },
            peer: None,
        }),
        r#"{"v":1,"event":"notice","number":1,"code":"clock","name":"bob","ahead_ms":7200000,"peer":null}"#,
    );
    let sent = Sent {
        id: message_id(),
        conversation: ConversationRef::Direct(id(2)),
        to: vec![id(2)],
        later: false,
        left_out: Vec::new(),
    };
    check_event(
        WireEvent::Sent(SentLine::new(sent, DeliveryState::Queued, None)),
        r#"{"v":1,"event":"sent","id":"00000000000000ab-7","conversation":"@BOB","to":["BOB"],"state":"queued"}"#,
    );
    check_event(
        WireEvent::Room(RoomInfo {
            name: RoomName::lobby(),
            open: true,
            fingerprint: None,
            here: vec![id(2)],
            topic: None,
        }),
        r##"{"v":1,"event":"room","room":"#lobby","open":true,"here":["BOB"]}"##,
    );
    check_event(
        WireEvent::Lagged { missed: 3 },
        r#"{"v":1,"event":"lagged","missed":3}"#,
    );
    check_event(WireEvent::Goodbye, r#"{"v":1,"event":"goodbye"}"#);
}

#[test]
fn peer_lines() {
    let here = PeerInfo {
        peer: id(2),
        nick: Nickname::new("bob").ok(),
        name: "bob~aiba".into(),
        formerly: Some("rob".into()),
        picture: Some(ContentHash([7; 32])),
        state: PeerState::Online,
        path: Some(PathKind::Lan),
        addr: "10.0.0.2:4626".parse().ok(),
        rtt_ms: Some(1.234_567_8),
        lost: false,
        policy: PeerPolicy {
            contact: true,
            ignored: true,
            blocked: true,
            verified: Nickname::new("bob").ok(),
            by_code: true,
        },
        awaits_consent: false,
        refuses: None,
        request: 0,
        away: true,
        status: "lunch".to_owned(),
    };
    check_event(
        Event::Peer(here),
        r#"{"v":1,"event":"peer","peer":"BOB","nick":"bob","name":"bob~aiba","formerly":"rob","picture":"0707070707070707070707070707070707070707070707070707070707070707","state":"online","path":"lan","addr":"10.0.0.2:4626","rtt_ms":1.235,"away":true,"status":"lunch","contact":true,"ignored":true,"blocked":true,"verified":true,"by_code":true}"#,
    );
    let gone = PeerInfo {
        peer: id(2),
        nick: None,
        name: "aibaeaqc".into(),
        formerly: None,
        picture: None,
        state: PeerState::Offline,
        path: None,
        addr: None,
        rtt_ms: None,
        lost: true,
        policy: PeerPolicy::default(),
        awaits_consent: false,
        refuses: None,
        request: 0,
        away: false,
        status: String::new(),
    };
    check_event(
        Event::Peer(gone),
        r#"{"v":1,"event":"peer","peer":"BOB","nick":null,"name":"aibaeaqc","state":"offline","path":null,"addr":null,"rtt_ms":null,"lost":true}"#,
    );
}

#[test]
fn message_lines_are_safe_for_a_terminal_and_keep_their_value() {
    let message = Message {
        client_id: None,
        mention: false,
        notify: false,
        id: message_id(),
        conversation: ConversationRef::Room(RoomName::lobby()),
        from: id(1),
        name: "ann".into(),
        body: Body::Text("a\u{1b}\u{202e}b".into()),
        reply_to: None,
        edited: None,
        reactions: Vec::new(),
        confirmed: None,
        sent_at_ms: 1_795_179_789_042,
        received_at_ms: 0,
        state: None,
        request: false,
        awaits_consent: false,
        mail_refused: None,
        deleted: false,
    };
    let own = Message {
        state: Some(DeliveryState::Sent),
        body: Body::App {
            kind: "k".into(),
            bytes: vec![1],
        },
        ..message.clone()
    };
    let unknown = Message {
        body: Body::Unknown {
            kind: 9,
            bytes: vec![1],
        },
        ..message.clone()
    };
    let message = Message {
        mention: true,
        notify: true,
        ..message
    };
    check_event(
        Event::Message(message),
        r##"{"v":1,"event":"message","id":"00000000000000ab-7","conversation":"#lobby","from":"ANN","nick":"ann","text":"a\u001b\u202eb","sent_at":"2026-11-20T13:03:09.042Z","received_at":"1970-01-01T00:00:00.000Z","mention":true,"notify":true}"##,
    );
    check_event(
        Event::Own(own),
        r##"{"v":1,"event":"message","id":"00000000000000ab-7","conversation":"#lobby","from":"ANN","nick":"ann","kind":"k","bytes":"AQ==","sent_at":"2026-11-20T13:03:09.042Z","received_at":"1970-01-01T00:00:00.000Z","state":"sent"}"##,
    );
    check_event(
        Event::Message(unknown),
        r##"{"v":1,"event":"message","id":"00000000000000ab-7","conversation":"#lobby","from":"ANN","nick":"ann","unknown":9,"bytes":"AQ==","sent_at":"2026-11-20T13:03:09.042Z","received_at":"1970-01-01T00:00:00.000Z"}"##,
    );
}

#[test]
fn a_line_of_a_newer_version_is_no_error() {
    let line: EventLine =
        serde_json::from_str(r#"{"v":1,"event":"weather","sky":"blue"}"#).unwrap();
    assert_eq!(line.event, WireEvent::Unknown);
}

#[test]
fn file_lines() {
    let folder = Some(Folder {
        manifest_bytes: 9,
        files: 2,
    });
    let offer = Offer {
        attributes: hobnob_protocol::offer::Attributes::default(),
        caption: String::new(),
        name: "a".into(),
        media: "b/c".into(),
        size: 300,
        hash: ContentHash([7; 32]),
        folder,
    };
    let moving = FileInfo {
        id: message_id(),
        conversation: ConversationRef::Direct(id(1)),
        from: id(1),
        name: "ann".into(),
        offer: offer.clone(),
        own: false,
        state: FileState::Moving,
        bytes: 100,
        rate: Some(90),
        peers: vec![id(1)],
        path: Some(PathKind::Lan),
        place: None,
        picture: None,
        why: None,
        received_at_ms: 0,
    };
    let hash = "07".repeat(32);
    let start = r#"{"v":1,"event":"file","id":"00000000000000ab-7","conversation":"@ANN","from":"ANN","nick":"ann","name":"a","media":"b/c","size":300"#;
    let line = format!(
        r#"{start},"hash":"{hash}","files":2,"manifest":9,"own":false,"state":"moving","bytes":100,"rate":90,"left_s":3,"peers":["ANN"],"path":"lan","received_at":"1970-01-01T00:00:00.000Z"}}"#
    );
    check_event(Event::File(moving.clone()), &line);
    let done = FileInfo {
        offer: Offer {
            folder: None,
            ..offer
        },
        state: FileState::Done,
        bytes: 300,
        rate: None,
        peers: vec![],
        path: None,
        place: Some("/d/a".into()),
        picture: Some(Picture {
            width: 1920,
            height: 1080,
            path: "/d/a".into(),
        }),
        ..moving
    };
    let line = format!(
        r#"{start},"hash":"{hash}","own":false,"state":"done","bytes":300,"peers":[],"saved":"/d/a","picture":{{"width":1920,"height":1080,"path":"/d/a"}},"received_at":"1970-01-01T00:00:00.000Z"}}"#
    );
    check_event(Event::File(done), &line);
}

#[test]
fn requests_about_files() {
    let options = WaitOptions {
        wait: DeliveryState::Delivered,
        timeout_ms: 10_000,
    };
    let (target, path) = (Some(Text(Target::Id(id(2)))), PathBuf::from("/d/a"));
    check_request(
        r#"{"id":7,"cmd":"offer","target":"BOB","path":"/d/a"}"#,
        OfferFile {
            caption: String::new(),
            client_id: None,
            target,
            room: None,
            path,
            options,
        },
    );
    check_request(r#"{"id":7,"cmd":"files"}"#, ListFiles {});
    check_request(
        r#"{"id":7,"cmd":"accept","offer":"00000000000000ab-7"}"#,
        AcceptFile {
            offer: Text(message_id()),
        },
    );
    check_request(
        r#"{"id":7,"cmd":"decline","offer":"00000000000000ab-7"}"#,
        DeclineFile {
            offer: Text(message_id()),
        },
    );
}

#[test]
fn a_node_without_any_usable_relay_names_one_that_fails() {
    let relay = |at: &str, up: bool, why: Option<&str>| RelayLine {
        at: Text(at.parse().unwrap()),
        id: None,
        up,
        observed: None,
        carrier: None,
        why: why.map(str::to_owned),
        borrowed: false,
    };
    let fault_of = |relays: &[&RelayLine]| {
        let status = StatusLine {
            peer: Text(id(1)),
            nick: Nickname::new("ann").unwrap(),
            picture: None,
            addrs: vec![],
            ticket: String::new(),
            rooms: vec![],
            relays: relays.iter().copied().cloned().collect(),
            lends: None,
            notices: vec![],
        };
        status.relay_fault().map(|(at, why)| format!("{at}: {why}"))
    };
    let banned = relay("one.example:4627", false, Some("you are banned"));
    let up = relay("two.example:4627", true, None);
    let connecting = relay("three.example:4627", false, None);
    let fault = Some("one.example:4627: you are banned".to_owned());
    assert_eq!(fault_of(&[&connecting, &banned]), fault);
    assert_eq!(fault_of(&[&banned, &up]), None, "another relay works");
    assert_eq!(fault_of(&[&connecting]), None, "nothing is known yet");
    assert_eq!(fault_of(&[]), None, "it has no relay");
}
