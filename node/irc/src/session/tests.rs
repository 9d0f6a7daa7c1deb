//! Examples of sessions: what a client and the node send, and what the client sees.

use hobnob::{ConversationRef, DeliveryState, PeerState};
use hobnob_control::wire::{
    ActivityLine, AmendedLine, BodyFields, Done, ErasedLine, FileLine, MessageLine, MessageList,
    OfferFields, SentLine, Text,
};
use hobnob_protocol::{LogId, Target};

use super::*;
use crate::roster::samples::{contact, id, open_room, status};

const NOW: Time = Time(1_795_179_789_042);
const TOKEN: &str = "0123456789abcdef";

/// A client of Ann's node, which is in #lobby with Bob.
struct Client {
    session: Session,
    /// Requests to the node that have no answer yet.
    asked: VecDeque<(u64, AnyRequest)>,
    seen: Vec<String>,
}

impl Client {
    /// A client that has registered with these capabilities and seen everything so far.
    fn with(caps: &str) -> Client {
        let mut client = Client::connects();
        client.types(&format!("CAP REQ :{caps}"));
        client.types(&format!("PASS {TOKEN}"));
        client.types("NICK whoever");
        client.types("USER ann 0 * :Ann");
        client.types("CAP END");
        client.node_answers_all();
        client.seen();
        client
    }

    fn connects() -> Client {
        Client {
            session: Session::new(Token::for_tests(TOKEN), ReadMarkers::default(), NOW),
            asked: VecDeque::new(),
            seen: Vec::new(),
        }
    }

    fn types(&mut self, line: &str) {
        assert!(self.session.takes_lines(), "before {line}");
        self.session.line(NOW, line.as_bytes());
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(bytes) => {
                    let line = String::from_utf8(bytes).unwrap();
                    self.seen.push(line.trim_end().to_owned());
                }
                Output::Ask(number, request) => self.asked.push_back((number, *request)),
                Output::Attach => self.session.attached(NOW),
                Output::Close => self.seen.push("(closed)".to_owned()),
            }
        }
    }

    /// The lines since the last call.
    fn seen(&mut self) -> Vec<String> {
        std::mem::take(&mut self.seen)
    }

    /// Answers all requests as Ann's node does.
    fn node_answers_all(&mut self) {
        while let Some((number, request)) = self.asked.pop_front() {
            let value = if matches!(request, AnyRequest::ListPeers(_)) {
                json(&PeerList {
                    peers: vec![contact(1, "bob"), contact(2, "carol")],
                })
            } else if matches!(request, AnyRequest::GetStatus(_)) {
                json(&StatusLine {
                    rooms: vec![open_room("lobby", &[1])],
                    ..status("ann")
                })
            } else {
                assert!(
                    matches!(request, AnyRequest::HistoryFilter(_)),
                    "{request:?}"
                );
                json(&MessageList {
                    messages: Vec::new(),
                    more: false,
                })
            };
            self.session.answered(NOW, number, Ok(value));
            self.drain();
        }
    }

    /// The only request to the node.
    fn request(&mut self) -> (u64, AnyRequest) {
        assert_eq!(self.asked.len(), 1, "{:?}", self.asked);
        self.asked.pop_front().unwrap()
    }

    fn node_answers(&mut self, number: u64, answer: &impl serde::Serialize) {
        self.session.answered(NOW, number, Ok(json(answer)));
        self.drain();
    }

    fn node_reports(&mut self, event: WireEvent) {
        assert!(self.session.takes_events());
        self.session.event(NOW, event);
        self.drain();
    }
}

fn json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

fn message(seq: u64, from: u8, conversation: &str, text: &str) -> MessageLine {
    MessageLine {
        id: Text(MessageId { log: LogId(1), seq }),
        conversation: Text(conversation.parse().unwrap()),
        from: Text(id(from)),
        nick: "bob".into(),
        body: BodyFields {
            text: Some(text.to_owned()),
            ..BodyFields::default()
        },
        amended: Box::default(),
        sent_at: NOW,
        received_at: NOW,
        state: (from == 100).then_some(DeliveryState::Queued),
        reason: None,
        mention: false,
        notify: false,
        client_id: None,
        request: false,
    }
}

fn sent(seq: u64, conversation: ConversationRef, to: &[u8]) -> SentLine {
    SentLine {
        id: Text(MessageId { log: LogId(1), seq }),
        conversation: Text(conversation),
        to: to.iter().map(|number| Text(id(*number))).collect(),
        later: false,
        state: DeliveryState::Queued,
        reason: None,
        left_out: Vec::new(),
    }
}

fn lobby() -> ConversationRef {
    "#lobby".parse().unwrap()
}

/// The words of a line after its tags and source.
fn bare(line: &str) -> &str {
    let line = line
        .strip_prefix('@')
        .map_or(line, |line| line.split_once(' ').unwrap().1);
    line.strip_prefix(':')
        .map_or(line, |line| line.split_once(' ').unwrap().1)
}

fn bare_all(lines: &[String]) -> Vec<&str> {
    lines.iter().map(|line| bare(line)).collect()
}

#[test]
fn a_client_sees_the_rooms_after_its_registration() {
    let mut client = Client::connects();
    for line in [
        &format!("PASS {TOKEN}"),
        "NICK whoever",
        "USER ann 0 * :Ann",
    ] {
        client.types(line);
    }
    assert!(!client.session.takes_lines(), "until the node has answered");
    client.node_answers_all();
    let seen = client.seen();
    let numbers: Vec<&str> = seen
        .iter()
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    assert_eq!(&numbers[..6], ["001", "002", "003", "004", "005", "005"]);
    assert!(
        seen[0].starts_with(":hobnob.node 001 ann :"),
        "the node's own nickname: {}",
        seen[0]
    );
    let joined = seen
        .iter()
        .position(|line| line.contains(" JOIN :#lobby"))
        .unwrap();
    assert!(seen[joined].starts_with(":ann!"));
    assert_eq!(seen[joined + 1], ":hobnob.node 353 ann = #lobby :ann bob");
    assert!(client.session.takes_events());
}

#[test]
fn a_wrong_password_ends_the_connection() {
    let mut client = Client::connects();
    client.types("NICK ann");
    client.types("USER ann 0 * :Ann");
    let seen = client.seen();
    assert!(
        seen[0].contains(" 464 ann :this server needs a password"),
        "{seen:?}"
    );
    assert!(seen[1].starts_with("ERROR :") && seen[2] == "(closed)");
    assert!(client.asked.is_empty(), "the node was asked nothing");
}

#[test]
fn a_client_that_does_not_register_is_disconnected() {
    let mut client = Client::connects();
    client.session.tick(Time(NOW.0 + REGISTER_WITHIN_MS));
    client.drain();
    assert!(client.seen().is_empty());
    client.session.tick(Time(NOW.0 + REGISTER_WITHIN_MS + 1));
    client.drain();
    assert_eq!(
        client.seen(),
        ["ERROR :you did not register in time", "(closed)"]
    );
}

#[test]
fn a_message_goes_to_the_room_and_is_echoed_only_to_clients_that_want_it() {
    for (caps, echoes) in [("server-time", 0), ("echo-message", 1)] {
        let mut client = Client::with(caps);
        client.types("PRIVMSG #lobby :hi there");
        let (number, AnyRequest::BroadcastMessage(request)) = client.request() else {
            panic!("it is for the room")
        };
        assert_eq!(request.body.text.as_deref(), Some("hi there"));
        // The event may come before the answer.
        client.node_reports(WireEvent::Message(message(1, 100, "#lobby", "hi there")));
        client.node_answers(number, &sent(1, lobby(), &[1]));
        let seen = client.seen();
        assert_eq!(seen.len(), echoes, "{caps}: {seen:?}");
        // What another interface of this user sends is always shown.
        client.node_reports(WireEvent::Message(message(
            2,
            100,
            "#lobby",
            "by the screen",
        )));
        let seen = client.seen();
        assert!(seen[0].contains(":ann!") && seen[0].ends_with("PRIVMSG #lobby :by the screen"));
    }
}

#[test]
fn a_direct_message_is_a_query() {
    let mut client = Client::with("server-time");
    let from_bob = format!("@{}", id(1));
    client.node_reports(WireEvent::Message(message(1, 1, &from_bob, "psst")));
    assert_eq!(bare_all(&client.seen()), ["PRIVMSG ann :psst"]);
    client.types("PRIVMSG BOB :what?");
    let (_, AnyRequest::SendMessage(request)) = client.request() else {
        panic!("it is for Bob")
    };
    assert_eq!(request.target.0, Target::Id(id(1)));
    client.types("PRIVMSG mallory :hi");
    client.types("PRIVMSG #ops :hi");
    client.types("PRIVMSG #lobby :\u{1}VERSION\u{1}");
    assert!(
        client.asked.is_empty(),
        "clients are not told about each other"
    );
    let seen = client.seen();
    assert!(seen[0].contains(" 401 ann mallory ") && seen[1].contains(" 404 ann #ops "));
}

#[test]
fn a_message_to_somebody_who_is_away_is_queued() {
    let mut client = Client::with("server-time");
    let offline = PeerLine {
        state: PeerState::Offline,
        ..contact(1, "bob")
    };
    client.node_reports(WireEvent::Peer(offline));
    client.types("PRIVMSG bob :later");
    let (number, _) = client.request();
    client.node_answers(number, &sent(1, ConversationRef::Direct(id(1)), &[1]));
    assert_eq!(
        client.seen(),
        [":hobnob.node 301 ann bob :is offline; the message is queued"]
    );
}

#[test]
fn a_refused_message_is_reported() {
    let mut client = Client::with("standard-replies");
    client.types("PRIVMSG #lobby :hi");
    let (number, _) = client.request();
    let refused = Failure::usage("the room is closed");
    client.session.answered(NOW, number, Err(refused));
    client.drain();
    assert_eq!(
        client.seen(),
        [":hobnob.node FAIL PRIVMSG CANNOT_SEND #lobby :the room is closed"]
    );
}

#[test]
fn people_come_go_and_change_their_names() {
    let mut client = Client::with("server-time");
    let carol = PeerLine {
        state: PeerState::Offline,
        ..contact(2, "caroline")
    };
    client.node_reports(WireEvent::Peer(carol));
    assert_eq!(bare_all(&client.seen()), ["NICK :caroline"]);
    // A peer that connects makes the session read the rooms again.
    client.node_reports(WireEvent::Peer(contact(2, "caroline")));
    client.session.tick(Time(NOW.0 + 200));
    client.drain();
    let (number, AnyRequest::GetStatus(_)) = client.request() else {
        panic!("the rooms are read again")
    };
    let rooms = |here: &[u8]| StatusLine {
        rooms: vec![open_room("lobby", here)],
        ..status("ann")
    };
    client.node_answers(number, &rooms(&[2]));
    assert_eq!(bare_all(&client.seen()), ["JOIN :#lobby", "QUIT :left"]);
}

#[test]
fn joining_and_leaving_a_room_is_that_of_the_node() {
    let mut client = Client::with("server-time");
    client.types("JOIN #ops,#lobby key");
    let (number, AnyRequest::JoinRoom(join)) = client.request() else {
        panic!("the node joins")
    };
    assert_eq!(join.secret.map(|key| key.0), Some(b"key".to_vec()));
    client.node_answers(number, &open_room("ops", &[]));
    let (number, _) = client.request();
    let both = StatusLine {
        rooms: vec![open_room("lobby", &[1]), open_room("ops", &[])],
        ..status("ann")
    };
    client.node_answers(number, &both);
    let seen = client.seen();
    assert_eq!(bare(&seen[0]), "JOIN :#ops");
    client.node_answers_all();
    client.types("PART #ops");
    let (number, AnyRequest::PartRoom(_)) = client.request() else {
        panic!("the node leaves")
    };
    client.node_answers(number, &Done {});
    client.node_answers_all();
    assert_eq!(bare(client.seen().last().unwrap()), "PART :#ops");
}

#[test]
fn a_nickname_that_irc_does_not_allow_is_set_by_setname() {
    let mut client = Client::with("setname");
    client.types("SETNAME :Ann Marie");
    let (number, AnyRequest::SetNick(request)) = client.request() else {
        panic!("the nickname changes")
    };
    assert_eq!(request.nick.as_str(), "Ann Marie");
    client.node_answers(number, &Done {});
    let (number, _) = client.request();
    client.node_answers(number, &status("Ann Marie"));
    let seen = client.seen();
    assert!(
        seen[0].starts_with(":ann!") && seen[0].ends_with(" NICK :Ann_Marie"),
        "{seen:?}"
    );
}

#[test]
fn edits_reactions_and_deletions_are_shown() {
    let mut client = Client::with("message-tags draft/message-redaction");
    client.node_reports(WireEvent::Message(message(1, 1, "#lobby", "lunch at noon")));
    client.seen();
    let amended = |text: Option<&str>, emoji: Option<&str>| AmendedLine {
        message: Text(MessageId {
            log: LogId(1),
            seq: 1,
        }),
        conversation: Text(lobby()),
        from: Text(id(1)),
        nick: "bob".into(),
        text: text.map(str::to_owned),
        emoji: emoji.map(str::to_owned),
        off: false,
    };
    client.node_reports(WireEvent::Amended(amended(Some("lunch at one"), None)));
    client.node_reports(WireEvent::Amended(amended(None, Some("👍"))));
    client.node_reports(WireEvent::Erased(ErasedLine {
        conversation: Text(lobby()),
        ids: vec![Text(MessageId {
            log: LogId(1),
            seq: 1,
        })],
        by_author: true,
    }));
    let seen = client.seen();
    assert!(seen[0].starts_with("@+draft/reply=0000000000000001-1 :bob!"));
    assert_eq!(bare(&seen[0]), "PRIVMSG #lobby :(edited) lunch at one");
    assert!(seen[1].starts_with("@+draft/react=👍;+draft/reply=0000000000000001-1 :bob!"));
    assert_eq!(bare(&seen[1]), "TAGMSG :#lobby");
    assert!(
        seen[2].starts_with(":bob!"),
        "the author is known: {}",
        seen[2]
    );
    assert_eq!(bare(&seen[2]), "REDACT #lobby 0000000000000001-1 :deleted");
}

#[test]
fn replies_reactions_and_deletions_are_sent() {
    let mut client = Client::with("message-tags draft/message-redaction");
    let id = "0000000000000001-1";
    client.types(&format!("@+draft/reply={id} PRIVMSG #lobby :yes"));
    assert!(matches!(client.request().1, AnyRequest::ReplyToMessage(_)));
    client.types(&format!("@+draft/reply={id};+draft/react=👍 TAGMSG #lobby"));
    assert!(matches!(client.request().1, AnyRequest::ReactToMessage(react) if !react.off));
    client.types(&format!("REDACT #lobby {id} :oops"));
    assert!(matches!(client.request().1, AnyRequest::DeleteMessage(_)));
    client.types("@+typing=active TAGMSG #lobby");
    assert!(matches!(client.request().1, AnyRequest::ShowTyping(typing) if !typing.off));
    client.types("@+draft/other=1 TAGMSG #lobby");
    assert!(client.asked.is_empty());
}

#[test]
fn who_types_and_who_is_away_is_shown_both_ways() {
    let mut client = Client::with("message-tags away-notify");
    let nothing = ActivityLine {
        peer: Text(id(1)),
        nick: "bob".into(),
        conversation: None,
        typing: None,
        read: None,
        away: None,
        text: None,
    };
    client.node_reports(WireEvent::Activity(ActivityLine {
        conversation: Some(Text(lobby())),
        typing: Some(true),
        ..nothing.clone()
    }));
    client.node_reports(WireEvent::Activity(ActivityLine {
        away: Some(true),
        text: Some("lunch".into()),
        ..nothing.clone()
    }));
    client.node_reports(WireEvent::Activity(ActivityLine {
        away: Some(false),
        ..nothing
    }));
    let seen = client.seen();
    assert!(seen[0].starts_with("@+typing=active :bob!"), "{seen:?}");
    assert_eq!(bare_all(&seen), ["TAGMSG :#lobby", "AWAY :lunch", "AWAY"]);
    client.types("AWAY :lunch");
    let (number, AnyRequest::SetStatus(status)) = client.request() else {
        panic!("others see it")
    };
    assert_eq!((status.text.as_str(), status.back), ("lunch", false));
    client.node_answers(number, &Done {});
    assert_eq!(
        client.seen(),
        [":hobnob.node 306 ann :you are marked as away"]
    );
}

#[test]
fn a_read_marker_is_kept_and_shows_others_what_was_read() {
    let mut client = Client::with("draft/read-marker");
    client.types("MARKREAD #lobby");
    assert_eq!(client.seen(), [":hobnob.node MARKREAD #lobby :timestamp=*"]);
    let at = "2026-11-20T13:03:09.042Z";
    client.types(&format!("MARKREAD #lobby timestamp={at}"));
    let marker = format!(":hobnob.node MARKREAD #lobby :timestamp={at}");
    assert_eq!(client.seen(), [marker.as_str()]);
    let (number, AnyRequest::HistoryFilter(filter)) = client.request() else {
        panic!("the messages up to then are read")
    };
    assert_eq!(filter.conversation, Some(Text(lobby())));
    let later = Time(NOW.0 + 60_000);
    let messages = vec![
        message(1, 1, "#lobby", "read"),
        MessageLine {
            received_at: later,
            ..message(2, 2, "#lobby", "not read yet")
        },
    ];
    let wanted = messages[0].id;
    let more = false;
    client.node_answers(number, &MessageList { messages, more });
    let (_, AnyRequest::MarkRead(mark)) = client.request() else {
        panic!("its author learns it, if the settings permit that")
    };
    assert_eq!(mark.message, wanted);

    // It never moves back, and other places are refused.
    client.types("MARKREAD #lobby timestamp=2026-11-20T13:03:08.000Z");
    assert_eq!(client.seen(), [marker.as_str()]);
    assert!(client.asked.is_empty());
    for wrong in [
        "MARKREAD",
        "MARKREAD #nowhere",
        "MARKREAD #lobby timestamp=soon",
    ] {
        client.types(wrong);
        assert_eq!(client.seen().len(), 1, "{wrong}");
    }

    // Another client of this user is told.
    let other = client.session.markers.clone();
    assert!(other.advance(lobby(), later));
    client.session.tick(NOW);
    client.drain();
    let seen = client.seen();
    assert!(
        seen[0].starts_with(":hobnob.node MARKREAD #lobby :timestamp="),
        "{seen:?}"
    );
    client.session.tick(NOW);
    client.drain();
    assert_eq!(client.seen(), Vec::<String>::new());
}

#[test]
fn history_is_one_batch_of_messages_with_their_times() {
    let mut client = Client::with(
        "batch draft/chathistory message-tags server-time echo-message standard-replies",
    );
    client.types("CHATHISTORY LATEST #lobby * 10");
    let (number, AnyRequest::HistoryFilter(filter)) = client.request() else {
        panic!("the history is read")
    };
    assert_eq!(
        (filter.conversation.map(|it| it.0), filter.limit),
        (Some(lobby()), Some(10))
    );
    let messages = vec![
        message(1, 1, "#lobby", "one"),
        message(2, 100, "#lobby", "two"),
    ];
    let more = false;
    client.node_answers(number, &MessageList { messages, more });
    let seen = client.seen();
    assert_eq!(seen[0], ":hobnob.node BATCH +h1 chathistory :#lobby");
    assert!(seen[1].contains("batch=h1") && seen[1].contains("time=2026-11-20T13:03:09.042Z"));
    assert_eq!(bare(&seen[2]), "PRIVMSG #lobby :two");
    assert_eq!(seen[3], ":hobnob.node BATCH :-h1");
    client.types("CHATHISTORY LATEST #nowhere * 10");
    assert!(client.seen()[0].contains("INVALID_TARGET"));
}

#[test]
fn a_client_without_chathistory_sees_the_latest_messages_once() {
    let mut client = Client::connects();
    for line in [
        &format!("PASS {TOKEN}"),
        "NICK whoever",
        "USER ann 0 * :Ann",
    ] {
        client.types(line);
    }
    let (number, _) = client.request();
    client.node_answers(
        number,
        &PeerList {
            peers: vec![contact(1, "bob")],
        },
    );
    let (number, _) = client.request();
    let here = StatusLine {
        rooms: vec![open_room("lobby", &[1])],
        ..status("ann")
    };
    client.node_answers(number, &here);
    assert!(!client.session.takes_events(), "until the replay is there");
    let early = message(1, 1, "#lobby", "early");
    let (room, _) = client.asked.pop_front().unwrap();
    let (direct, _) = client.asked.pop_front().unwrap();
    let list = |messages| MessageList {
        messages,
        more: false,
    };
    client.node_answers(room, &list(vec![early.clone()]));
    client.node_answers(direct, &list(Vec::new()));
    let seen = client.seen();
    assert_eq!(
        bare(seen.last().unwrap()),
        "PRIVMSG #lobby :[2026-11-20 13:03] early"
    );
    // The subscription began before, so it may report the message again.
    client.node_reports(WireEvent::Message(early));
    assert!(client.seen().is_empty());
}

#[test]
fn a_file_is_accepted_by_its_number() {
    let mut client = Client::with("server-time");
    let mut offer = message(1, 1, "#lobby", "");
    let fields = OfferFields {
        name: "film.mp4".into(),
        media: "video/mp4".into(),
        size: 3_140_000,
        hash: Text(hobnob_protocol::ContentHash([0; 32])),
        files: None,
        manifest: None,
        caption: String::new(),
    };
    offer.body = BodyFields {
        file: Some(Box::new(fields.clone())),
        ..BodyFields::default()
    };
    client.node_reports(WireEvent::Message(offer.clone()));
    assert_eq!(
        bare_all(&client.seen()),
        ["NOTICE #lobby :(offers film.mp4, 3.1 MB: /msg *hobnob accept 1)"]
    );
    client.types("PRIVMSG *hobnob :accept 1");
    let (number, AnyRequest::AcceptFile(accept)) = client.request() else {
        panic!("it is accepted")
    };
    assert_eq!(accept.offer, offer.id);
    client.node_answers(number, &Done {});
    assert_eq!(bare_all(&client.seen()), ["NOTICE ann :accepted"]);
    let file = FileLine {
        id: offer.id,
        conversation: offer.conversation,
        from: offer.from,
        nick: "bob".into(),
        offer: fields,
        own: false,
        state: hobnob::FileState::Done,
        bytes: 3_140_000,
        rate: None,
        left_s: None,
        peers: Vec::new(),
        path: None,
        saved: Some("/home/ann/film.mp4".into()),
        picture: None,
        why: None,
        received_at: NOW,
    };
    client.node_reports(WireEvent::File(Box::new(file)));
    assert_eq!(
        bare_all(&client.seen()),
        ["NOTICE ann :film.mp4 is complete: /home/ann/film.mp4"]
    );
}

#[test]
fn a_stranger_is_announced_and_accepted_by_the_service() {
    let mut client = Client::with("server-time");
    let mut mallory = contact(3, "mallory");
    mallory.policy.contact = false;
    client.node_reports(WireEvent::Peer(mallory.clone()));
    client.seen();
    let mut first = message(1, 3, &format!("@{}", id(3)), "buy this");
    first.nick = "mallory".into();
    first.request = true;
    client.node_reports(WireEvent::Message(first.clone()));
    let seen = client.seen();
    assert!(seen[0].contains("contacts accept mallory"), "{seen:?}");
    assert_eq!(seen.len(), 1, "it is not shown as a query");
    mallory.request = 1;
    client.node_reports(WireEvent::Peer(mallory));
    assert!(client.seen().is_empty(), "it is reported once");
    client.types("PRIVMSG *hobnob :contacts accept mallory");
    let (number, AnyRequest::AcceptContact(_)) = client.request() else {
        panic!("the stranger is accepted")
    };
    client.node_answers(number, &contact(3, "mallory"));
    let (number, AnyRequest::HistoryFilter(_)) = client.request() else {
        panic!("what the stranger wrote is read")
    };
    first.request = false;
    let messages = vec![first];
    client.node_answers(
        number,
        &MessageList {
            messages,
            more: false,
        },
    );
    assert_eq!(
        bare_all(&client.seen()),
        ["NOTICE ann :mallory is a contact", "PRIVMSG ann :buy this"]
    );
}

#[test]
fn a_silent_client_is_asked_and_then_disconnected() {
    let mut client = Client::with("server-time");
    client.session.tick(Time(NOW.0 + PING_AFTER_MS + 1));
    client.drain();
    assert_eq!(client.seen(), ["PING :hobnob.node"]);
    client.session.tick(Time(NOW.0 + GONE_AFTER_MS + 1));
    client.drain();
    assert!(client.seen().contains(&"(closed)".to_owned()));
}

#[test]
fn a_client_that_asks_too_much_has_to_wait() {
    let mut client = Client::with("echo-message");
    for _ in 0..ASKS_MAX {
        client.types("PRIVMSG #lobby :hi");
    }
    assert!(!client.session.takes_lines());
    let (number, _) = client.asked.pop_front().unwrap();
    client.node_answers(number, &sent(1, lobby(), &[1]));
    assert!(client.session.takes_lines());
}

#[test]
fn the_usual_questions_of_clients_are_answered() {
    let mut client = Client::with("server-time");
    for (line, answer) in [
        ("PING x", "PONG hobnob.node :x"),
        ("NAMES #lobby", "353 ann = #lobby :ann bob"),
        ("MODE #lobby", "324 ann #lobby :+n"),
        ("MODE #lobby b", "368 ann #lobby :end of the list of bans"),
        ("MODE ann", "221 ann :+i"),
        ("TOPIC #lobby", "331 ann #lobby :no topic is set"),
        (
            "TOPIC #nowhere",
            "442 ann #nowhere :you are not in this room",
        ),
        ("ISON bob nobody", "303 ann :bob"),
        ("DANCE", "421 ann DANCE :unknown command"),
        (
            "NICK :",
            "432 ann * :a nickname needs at least one character",
        ),
        (
            "JOIN ops",
            "403 ann ops :a room's name is # and up to 32 characters of a-z 0-9 - _ .",
        ),
        ("CAP LIST", "CAP ann LIST :server-time"),
    ] {
        client.types(line);
        assert_eq!(bare(&client.seen()[0]), answer, "{line}");
    }
    client.types("WHOIS bob");
    let seen = client.seen();
    let numbers: Vec<&str> = seen
        .iter()
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    assert_eq!(numbers, ["311", "319", "312", "330", "320", "318"]);
    client.types("WHO #lobby");
    assert_eq!(client.seen().len(), 3);
    client.types("LIST");
    assert_eq!(bare(&client.seen()[1]), "322 ann #lobby 2 :an open room");
}
