//! A session with a client that sends lines of text: netcat, telnet, or the program of a tutorial
//! about sockets.
//!
//! Nobody proves anything here, so such a client has the lobby alone. It may write to a person who
//! is in the lobby, and sees what that person answers; other direct messages it does not see.

use std::collections::{BTreeSet, VecDeque};

use hobnob::{ConversationRef, PeerState};
use hobnob_control::wire::{
    AnyRequest, BodyFields, BroadcastMessage, Failure, GetStatus, ListPeers, MessageLine, PeerLine,
    PeerList, SendMessage, SentLine, StatusLine, Text, Time, WaitOptions, WireEvent,
};
use hobnob_protocol::text::{ACTION, TEXT_BYTES_MAX};
use hobnob_protocol::{PersonId, RoomName, Target};
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::echoes::Echoes;
use crate::face::{ASKS_MAX, Asks, Face, Output, read};
use crate::refresh::Refresh;
use crate::render::offered;
use crate::roster::{Change, Roster};
use crate::wording;

/// Longest line that such a client sends, in bytes: the longest text of a message.
const LINE_BYTES_MAX: usize = TEXT_BYTES_MAX;

/// Maximum people to whom one client writes directly.
const PARTNERS_MAX: usize = 256;

const COMMANDS: &str = "* Lines that you type go to everybody here. /msg NAME text writes to one person, /who lists \
                        who is here, /quit leaves.";

/// A session with one client.
#[derive(Debug)]
pub(crate) struct Plain {
    time_zone: TimeZone,
    phase: Phase,
    asks: Asks<Then>,
    out: VecDeque<Output>,
    /// Whether the client ends its lines with CR LF, and so expects the same.
    sends_cr: bool,
}

#[derive(Debug)]
enum Phase {
    /// Waits for the node's first answers.
    Attaching(Vec<PeerLine>),
    Ready(Box<Lobby>),
    Closed,
}

/// What the client sees.
#[derive(Debug)]
struct Lobby {
    roster: Roster,
    echoes: Echoes,
    /// The people to whom the client has written.
    partners: BTreeSet<PersonId>,
    /// Whether the client knows that nobody receives its lines.
    knows_it_is_alone: bool,
    refresh: Refresh,
}

#[derive(Debug)]
enum Then {
    Peers,
    Status,
    Sent,
}

impl Plain {
    /// A session with a client that has just connected. Times are shown in this zone.
    pub(crate) fn new(time_zone: TimeZone) -> Plain {
        let mut out = VecDeque::new();
        out.push_back(Output::Attach);
        Plain {
            time_zone,
            phase: Phase::Attaching(Vec::new()),
            asks: Asks::new(),
            out,
            sends_cr: false,
        }
    }

    fn send(&mut self, line: &str) {
        let end = if self.sends_cr { "\r\n" } else { "\n" };
        let line = format!("{line}{end}");
        self.out.push_back(Output::Send(line.into_bytes()));
    }

    fn ask(&mut self, request: impl Into<AnyRequest>, then: Then) {
        self.asks.ask(&mut self.out, request, then);
    }

    fn close(&mut self, why: &str) {
        self.send(why);
        self.out.push_back(Output::Close);
        self.phase = Phase::Closed;
    }

    fn status(&mut self, now: Time, status: StatusLine) {
        match &mut self.phase {
            Phase::Attaching(peers) => {
                let mut roster = Roster::of(&status, std::mem::take(peers));
                // Nobody is shown yet, so nothing changes for the client.
                let _unseen = roster.set_rooms(status.rooms);
                self.phase = Phase::Ready(Box::new(Lobby {
                    roster,
                    echoes: Echoes::default(),
                    partners: BTreeSet::new(),
                    knows_it_is_alone: false,
                    refresh: Refresh::new(now),
                }));
                self.welcome(now);
            }
            Phase::Ready(lobby) => {
                lobby.refresh.done();
                let mut changes = lobby.roster.rename_me(status.nick.as_str());
                changes.extend(lobby.roster.set_rooms(status.rooms));
                self.show_changes(changes);
            }
            Phase::Closed => {}
        }
    }

    fn welcome(&mut self, now: Time) {
        let time = now.timestamp().to_zoned(self.time_zone.clone());
        let time = time.strftime("%A, %d %B %Y, %H:%M:%S (UTC%:z)").to_string();
        let Phase::Ready(lobby) = &self.phase else {
            return;
        };
        let me = lobby.roster.own_nick().to_owned();
        let in_lobby = lobby.roster.room(&RoomName::lobby()).is_some();
        self.send(&format!("* Welcome to hobnob, {me}. It is {time}."));
        if !in_lobby {
            self.send("* This node is not in #lobby, so nobody receives your lines: start it with --room lobby.");
        }
        self.who();
        self.send(COMMANDS);
    }

    fn who(&mut self) {
        let Phase::Ready(lobby) = &self.phase else {
            return;
        };
        let roster = &lobby.roster;
        let here = roster.room(&RoomName::lobby()).map(|room| &room.here);
        let others = here.into_iter().flatten().map(|peer| roster.nick(*peer));
        let me = format!("{} (you)", roster.nick(roster.me()));
        let all: Vec<&str> = [me.as_str()].into_iter().chain(others).collect();
        let line = format!("* Here in #lobby: {}", all.join(", "));
        self.send(&line);
    }

    fn typed(&mut self, text: &str) {
        if let Some(command) = text.strip_prefix('/')
            && !text.starts_with(ACTION)
            && !command.starts_with('/')
        {
            return self.command(command);
        }
        // Two slashes are one, at the start of a text.
        let text = text
            .strip_prefix('/')
            .filter(|rest| rest.starts_with('/'))
            .unwrap_or(text);
        self.send_message(BroadcastMessage {
            room: Text(RoomName::lobby()),
            body: body(text),
            client_id: None,
            options: WaitOptions::ON_DISK,
        });
    }

    fn send_message(&mut self, request: impl Into<AnyRequest>) {
        if let Phase::Ready(lobby) = &mut self.phase {
            lobby.echoes.sends();
            self.ask(request, Then::Sent);
        }
    }

    fn command(&mut self, command: &str) {
        let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
        match name.to_ascii_lowercase().as_str() {
            "who" | "names" => self.who(),
            "quit" | "exit" => self.close("* Goodbye."),
            "help" => self.send(COMMANDS),
            "msg" => {
                let (nick, text) = rest.trim_start().split_once(' ').unwrap_or((rest, ""));
                self.write_to(nick, text.trim_start());
            }
            _ => {
                let name = wording::lines(name).join(" ");
                self.send(&format!("! There is no command /{name}."));
                self.send(COMMANDS);
            }
        }
    }

    fn write_to(&mut self, nick: &str, text: &str) {
        let Phase::Ready(lobby) = &mut self.phase else {
            return;
        };
        let here = lobby.roster.room(&RoomName::lobby()).map(|room| &room.here);
        let peer = lobby.roster.names().peer(nick);
        let peer = peer.filter(|peer| here.is_some_and(|here| here.contains(peer)));
        match peer {
            Some(_) if text.is_empty() => self.send("! Type /msg NAME text."),
            Some(_) if lobby.partners.len() >= PARTNERS_MAX => {
                self.send("! You have written to too many people: connect again.");
            }
            Some(peer) => {
                lobby.partners.insert(peer);
                self.send_message(SendMessage {
                    target: Text(Target::Id(peer)),
                    body: body(text),
                    client_id: None,
                    options: WaitOptions::ON_DISK,
                });
            }
            None => {
                let nick = wording::lines(nick).join(" ");
                self.send(&format!(
                    "! Nobody called {nick} is here: /who lists who is."
                ));
            }
        }
    }

    fn sent(&mut self, sent: &SentLine) {
        let Phase::Ready(lobby) = &mut self.phase else {
            return;
        };
        let others = lobby.echoes.answered(Some(sent.id.0));
        let room = matches!(sent.conversation.0, ConversationRef::Room(_));
        let alone = room && sent.to.is_empty() && !sent.later;
        let say = alone && !lobby.knows_it_is_alone;
        if room {
            lobby.knows_it_is_alone = alone;
        }
        for message in others {
            self.show(&message);
        }
        if say {
            self.send("! Nobody else is here, so nobody receives this.");
        }
    }

    fn show(&mut self, message: &MessageLine) {
        let Phase::Ready(lobby) = &mut self.phase else {
            return;
        };
        lobby.roster.learn_author(message);
        let own = message.from.0 == lobby.roster.me();
        // A message that the client missed when it was slow may be older than the last new name.
        let nick = match own {
            true => lobby.roster.nick(message.from.0).to_owned(),
            false => lobby.roster.nick_then(message.from.0, &message.nick),
        };
        let direct = match &message.conversation.0 {
            ConversationRef::Direct(peer) if own => {
                format!("*{nick} to {}* ", lobby.roster.nick(*peer))
            }
            ConversationRef::Direct(_) => format!("*{nick}* "),
            ConversationRef::Room(_) => format!("<{nick}> "),
        };
        if message.body.erased.is_some() {
            return;
        }
        if let Some(file) = &message.body.file {
            return self.send(&format!("{direct}{}", offered(file, None)));
        }
        let Some(text) = &message.body.text else {
            return;
        };
        if let Some(action) = text.strip_prefix(ACTION) {
            let action = wording::lines(action).join(" ");
            return self.send(&format!("* {nick} {action}"));
        }
        for line in wording::lines(text) {
            self.send(&format!("{direct}{line}"));
        }
    }

    fn message(&mut self, message: MessageLine) {
        let Phase::Ready(lobby) = &mut self.phase else {
            return;
        };
        let shown = match &message.conversation.0 {
            ConversationRef::Room(room) => *room == RoomName::lobby(),
            ConversationRef::Direct(peer) => lobby.partners.contains(peer),
        };
        if !shown || message.request {
            return;
        }
        if message.state.is_none() {
            return self.show(&message);
        }
        for message in lobby.echoes.event(message) {
            self.show(&message);
        }
    }

    fn show_changes(&mut self, changes: Vec<Change>) {
        let lobby_room = RoomName::lobby();
        for change in changes {
            let Phase::Ready(lobby) = &mut self.phase else {
                return;
            };
            let roster = &lobby.roster;
            let line = match change {
                Change::Joined(room, peer) if room == lobby_room => {
                    lobby.knows_it_is_alone = false;
                    format!("* {} is here.", roster.nick(peer))
                }
                Change::Parted(room, peer) if room == lobby_room => {
                    format!("* {} has left.", roster.nick(peer))
                }
                Change::Quit(peer) => format!("* {} has left.", roster.nick(peer)),
                Change::Renamed(renamed) => {
                    format!("* {} is now {}.", renamed.before, renamed.now)
                }
                Change::RenamedMe(_) => format!("* You are now {}.", roster.names().me()),
                Change::Exited(room) if room == lobby_room => {
                    "* This node has left #lobby: nobody receives your lines.".to_owned()
                }
                Change::Entered(room) if room == lobby_room => {
                    "* This node is in #lobby again.".to_owned()
                }
                Change::Topic(room) if room == lobby_room => {
                    let room = roster.room(&room);
                    match room.and_then(|room| room.topic.as_ref()) {
                        Some(topic) => {
                            let text = wording::lines(&topic.text).join(" ");
                            format!(
                                "* The topic is now: {text} (set by {})",
                                roster.nick(topic.by)
                            )
                        }
                        None => "* There is no topic any more.".to_owned(),
                    }
                }
                Change::Joined(..)
                | Change::Parted(..)
                | Change::Topic(_)
                | Change::Exited(_)
                | Change::Entered(_)
                | Change::Request(_) => continue,
            };
            self.send(&line);
        }
    }

    fn answer(&mut self, now: Time, then: &Then, value: Value) -> Result<(), serde_json::Error> {
        match then {
            Then::Peers => {
                let PeerList { peers } = read(value)?;
                if let Phase::Attaching(known) = &mut self.phase {
                    *known = peers;
                    self.ask(GetStatus {}, Then::Status);
                }
            }
            Then::Status => self.status(now, read(value)?),
            Then::Sent => self.sent(&read(value)?),
        }
        Ok(())
    }
}

fn body(text: &str) -> BodyFields {
    BodyFields {
        text: Some(text.to_owned()),
        ..BodyFields::default()
    }
}

impl Face for Plain {
    fn line(&mut self, _now: Time, bytes: &[u8]) {
        self.sends_cr = bytes.last() == Some(&b'\r');
        let bytes = without_telnet(bytes);
        let Ok(text) = std::str::from_utf8(&bytes) else {
            return self.send(
                "! This line is not UTF-8, so it was not sent. Switch your client to UTF-8.",
            );
        };
        let text = text.trim_end_matches('\r').trim_start_matches('\u{feff}');
        let text: String = text
            .chars()
            .filter(|c| !c.is_control() || *c == '\t')
            .collect();
        if !text.trim().is_empty() {
            self.typed(&text);
        }
    }

    fn too_long(&mut self) {
        let why = format!("! A line has at most {LINE_BYTES_MAX} bytes; this one was not sent.");
        self.send(&why);
    }

    fn attached(&mut self, _now: Time) {
        self.ask(ListPeers { settle: false }, Then::Peers);
    }

    fn answered(&mut self, now: Time, number: u64, answer: Result<Value, Failure>) {
        let Some(then) = self.asks.take(number) else {
            return;
        };
        let failed = match answer {
            Ok(value) => match self.answer(now, &then, value) {
                Ok(()) => return,
                Err(error) => error.to_string(),
            },
            Err(failure) => failure.text,
        };
        match (&then, &mut self.phase) {
            (Then::Sent, Phase::Ready(lobby)) => {
                for message in lobby.echoes.answered(None) {
                    self.show(&message);
                }
                self.send(&format!("! This was not sent: {failed}"));
            }
            (Then::Sent | Then::Peers | Then::Status, _) => {
                self.close(&format!("! The node failed: {failed}"));
            }
        }
    }

    fn event(&mut self, now: Time, event: WireEvent) {
        match event {
            WireEvent::Message(message) => self.message(message),
            WireEvent::Peer(line) => {
                let Phase::Ready(lobby) = &mut self.phase else {
                    return;
                };
                let before = lobby.roster.peer(line.peer.0).map(|peer| peer.state);
                if before.unwrap_or(PeerState::Offline) != line.state {
                    lobby.refresh.soon(now);
                }
                let changes = lobby.roster.learn(line);
                let here = lobby
                    .roster
                    .room(&RoomName::lobby())
                    .map(|room| room.here.clone());
                let here = here.unwrap_or_default();
                // Only the new names of people who are shown are news.
                let shown = changes.into_iter().filter(
                    |change| matches!(change, Change::Renamed(renamed) if here.contains(&renamed.peer)),
                );
                let shown = shown.collect();
                self.show_changes(shown);
            }
            WireEvent::Lagged { .. } => self.ask(GetStatus {}, Then::Status),
            WireEvent::Activity(_)
            | WireEvent::Amended(_)
            | WireEvent::Erased(_)
            | WireEvent::File(_)
            | WireEvent::Listening(_)
            | WireEvent::Receipt(_)
            | WireEvent::Sent(_)
            | WireEvent::Room(_)
            | WireEvent::Status(_)
            | WireEvent::Notice(_)
            | WireEvent::Datagram(_)
            | WireEvent::Stream(_)
            | WireEvent::Goodbye
            | WireEvent::Unknown => {}
        }
    }

    fn detached(&mut self, why: &str) {
        if !matches!(self.phase, Phase::Closed) {
            self.close(&format!("! {why}"));
        }
    }

    fn tick(&mut self, now: Time) {
        let Phase::Ready(lobby) = &mut self.phase else {
            return;
        };
        if lobby.refresh.begins(now) {
            self.ask(GetStatus {}, Then::Status);
        }
    }

    fn takes_events(&self) -> bool {
        matches!(self.phase, Phase::Ready(_))
    }

    fn takes_lines(&self) -> bool {
        matches!(self.phase, Phase::Ready(_)) && self.asks.len() < ASKS_MAX
    }

    fn waits(&self) -> bool {
        self.asks.len() > 0
    }

    fn line_bytes_max(&self) -> usize {
        LINE_BYTES_MAX
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }
}

/// The bytes of a line without the commands of telnet (RFC 854). No text in UTF-8 contains them.
fn without_telnet(bytes: &[u8]) -> Vec<u8> {
    const IAC: u8 = 255;
    const SB: u8 = 250;
    const SE: u8 = 240;
    const WITH_OPTION: std::ops::RangeInclusive<u8> = 251..=254;
    if !bytes.contains(&IAC) {
        return bytes.to_vec();
    }
    let mut text = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        rest = match (first, after) {
            (&IAC, [command, after @ ..]) if WITH_OPTION.contains(command) => {
                after.get(1..).unwrap_or_default()
            }
            (&IAC, [SB, after @ ..]) => {
                let end = after.windows(2).position(|pair| pair == [IAC, SE]);
                end.map_or(&[][..], |end| &after[end + 2..])
            }
            (&IAC, [SE..=249, after @ ..]) => after,
            // Not a command: no UTF-8 either, which the caller reports.
            (byte, after) => {
                text.push(*byte);
                after
            }
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::samples::{contact, id, open_room, status};
    use hobnob::MessageId;
    use hobnob_control::wire::BroadcastMessage;
    use hobnob_protocol::LogId;

    const NOW: Time = Time(1_795_179_789_042);

    /// A client in the lobby with Bob, and what it was sent.
    struct Client(Plain);

    impl Client {
        fn new() -> Client {
            let mut plain = Plain::new(TimeZone::UTC);
            assert_eq!(plain.poll_output(), Some(Output::Attach));
            plain.attached(NOW);
            let mut client = Client(plain);
            let peers = PeerList {
                peers: vec![contact(1, "bob"), contact(2, "carol")],
            };
            client.is_answered(&peers);
            let status = StatusLine {
                rooms: vec![open_room("lobby", &[1])],
                ..status("ann")
            };
            client.is_answered(&status);
            client
        }

        /// Answers the only request that waits.
        fn is_answered(&mut self, answer: &impl serde::Serialize) {
            let (number, _) = self.asks().pop().unwrap();
            let value = serde_json::to_value(answer).unwrap();
            self.0.answered(NOW, number, Ok(value));
        }

        fn asks(&mut self) -> Vec<(u64, AnyRequest)> {
            self.outputs().1
        }

        fn outputs(&mut self) -> (Vec<String>, Vec<(u64, AnyRequest)>) {
            let (mut lines, mut asks) = (Vec::new(), Vec::new());
            while let Some(output) = self.0.poll_output() {
                match output {
                    Output::Send(bytes) => lines.push(String::from_utf8(bytes).unwrap()),
                    Output::Ask(number, request) => asks.push((number, *request)),
                    Output::Close => lines.push("(closed)".to_owned()),
                    Output::Attach => panic!("it is attached"),
                }
            }
            (lines, asks)
        }

        fn lines(&mut self) -> Vec<String> {
            self.outputs().0
        }

        fn types(&mut self, line: &[u8]) -> (Vec<String>, Vec<AnyRequest>) {
            self.0.line(NOW, line);
            let (lines, asks) = self.outputs();
            (
                lines,
                asks.into_iter().map(|(_, request)| request).collect(),
            )
        }

        fn hears(&mut self, from: u8, conversation: &str, text: &str) -> Vec<String> {
            let message = MessageLine {
                id: Text(MessageId {
                    log: LogId(1),
                    seq: 1,
                }),
                conversation: Text(conversation.parse().unwrap()),
                from: Text(id(from)),
                nick: "bob".into(),
                body: body(text),
                amended: Box::default(),
                sent_at: NOW,
                received_at: NOW,
                state: None,
                reason: None,
                mention: false,
                notify: false,
                client_id: None,
                request: false,
            };
            self.0.event(NOW, WireEvent::Message(message));
            self.lines()
        }
    }

    #[test]
    fn a_client_is_welcomed_with_the_time_and_who_is_there() {
        let lines = Client::new().lines();
        assert_eq!(
            lines[0],
            "* Welcome to hobnob, ann. It is Friday, 20 November 2026, 13:03:09 (UTC+00:00).\n"
        );
        assert_eq!(lines[1], "* Here in #lobby: ann (you), bob\n");
        assert!(lines[2].contains("/msg NAME text"));
    }

    #[test]
    fn lines_go_to_the_lobby_and_come_from_it() {
        let mut client = Client::new();
        client.lines();
        let (lines, asks) = client.types(b"hi there\r");
        assert_eq!(lines, Vec::<String>::new());
        let [AnyRequest::BroadcastMessage(BroadcastMessage { room, body, .. })] = asks.as_slice()
        else {
            panic!("{asks:?}")
        };
        assert_eq!(
            (room.0.as_str(), body.text.as_deref()),
            ("lobby", Some("hi there"))
        );
        // It has sent CR LF, so it gets CR LF.
        assert_eq!(
            client.hears(1, "#lobby", "hello\nann"),
            ["<bob> hello\r\n", "<bob> ann\r\n"]
        );
        assert_eq!(client.hears(1, "#lobby", "/me waves"), ["* bob waves\r\n"]);
        assert_eq!(
            client.hears(1, "#ops", "not for the lobby"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_direct_message_goes_only_to_people_who_are_here_and_shows_their_answers() {
        let mut client = Client::new();
        client.lines();
        let from_bob = format!("@{}", id(1));
        assert_eq!(client.hears(1, &from_bob, "secret"), Vec::<String>::new());
        let (lines, asks) = client.types(b"/msg carol hi");
        assert!(lines[0].contains("Nobody called carol is here") && asks.is_empty());
        let (lines, asks) = client.types(b"/msg BOB  how are you?");
        assert!(lines.is_empty());
        let [AnyRequest::SendMessage(send)] = asks.as_slice() else {
            panic!("{asks:?}")
        };
        assert_eq!(send.body.text.as_deref(), Some("how are you?"));
        assert_eq!(client.hears(1, &from_bob, "fine"), ["*bob* fine\n"]);
    }

    #[test]
    fn what_cannot_be_sent_is_explained() {
        let mut client = Client::new();
        client.lines();
        let (lines, asks) = client.types(b"caf\xe9");
        assert!(
            lines[0].contains("not UTF-8") && asks.is_empty(),
            "{lines:?}"
        );
        let (lines, _) = client.types(b"/dance");
        assert_eq!(lines[0], "! There is no command /dance.\n");
        assert!(lines[1].starts_with("* Lines that you type"));
        let (_, asks) = client.types(b"//dance");
        assert!(format!("{asks:?}").contains("\"/dance\""), "{asks:?}");
        client.0.too_long();
        assert!(client.lines()[0].contains("16384 bytes"));
        assert_eq!(client.types(b"/quit").0, ["* Goodbye.\n", "(closed)"]);
    }

    #[test]
    fn telnet_commands_are_not_text() {
        let negotiation = b"\xff\xfd\x03\xff\xfa\x18\x00xterm\xff\xf0\xff\xf1hi";
        assert_eq!(without_telnet(negotiation), b"hi");
        assert_eq!(without_telnet(b"hi\xff\xfd"), b"hi");
        assert_eq!(without_telnet("été".as_bytes()), "été".as_bytes());
    }
}
