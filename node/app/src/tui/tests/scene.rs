//! A chat with a fake node, which answers requests from lists of people, rooms and messages.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use hobnob::protocol::{Body, ContentHash, LogId, PersonId, RoomName, RoomTicket, Target};
use hobnob::store::Mentions;
use hobnob::{
    ConversationRef, DeliveryState, FileState, MessageId, PathKind, PeerState, RoomInfo, RoomTopic,
};
use hobnob_control::wire::{
    AcceptContact, AcceptFile, ActivityList, AmendedLine, AnyRequest, Base64, Block, BodyFields,
    BroadcastMessage, CreateRoom, DeclineFile, Diagnose, Diagnosis, Done, EditMessage, EditedLine,
    FileLine, FileList, GetRoomTicket, GetStatus, HistoryFilter, Ignore, JoinRoom, KeepTimeList,
    Kick, Kicked, ListFiles, ListPeers, ListRooms, MessageLine, MessageList, NotifyRuleList,
    OfferFields, OfferFile, PartRoom, PauseFile, PeerLine, PeerList, PictureFields, PictureFile,
    Ping, PolicyFields, ReactToMessage, ReactionLine, ReactorLine, ReceiptLine, RelayLine,
    RemoveContact, ReplyToLine, ReplyToMessage, Resolve, Resolved, RoomList, SendMessage, SentLine,
    SetNick, SetTopic, SharedRoom, StatusLine, Subscribe, Text, Time, Unblock, Unignore,
    Verification, Verify, Why, WireEvent,
};
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use serde::Serialize;
use serde_json::Value;

use crate::shared::offers;
use crate::shared::settings::ScreenSettings;
use crate::shared::typed_path::Places;
use crate::tui::app::{App, Input, NodeRequest, Output, Start};
use crate::tui::read_markers::ReadMarkers;
use crate::tui::text::width;
use crate::tui::view::{self, Appearance, Theme};

/// Friday, 20 November 2026, 14:03 UTC.
pub(super) const NOW: u64 = 1_795_183_380_000;
pub(super) const MINUTE: u64 = 60_000;
pub(super) const DAY: u64 = 24 * 60 * MINUTE;

pub(super) const ANN: u8 = 1;
pub(super) const BOB: u8 = 2;
pub(super) const CAT: u8 = 3;

pub(super) struct Scene {
    pub(super) app: App,
    appearance: Appearance,
    pub(super) now: u64,
    pub(super) messages: Vec<MessageLine>,
    pub(super) peers: Vec<PeerLine>,
    pub(super) rooms: Vec<RoomInfo>,
    pub(super) relays: Vec<RelayLine>,
    pub(super) files: Vec<FileLine>,
    /// The outputs of the chat.
    pub(super) outputs: Vec<Output>,
    /// The messages sent, in order: the conversation and the text.
    pub(super) sent: Vec<(String, String)>,
    /// While false, requests wait.
    pub(super) answers: bool,
    /// While true, the events of sent messages get lost.
    pub(super) loses_events: bool,
    waiting: Vec<NodeRequest>,
}

pub(super) fn id(byte: u8) -> PersonId {
    PersonId::from_bytes([byte; 32])
}

fn appearance(theme: Theme) -> Appearance {
    Appearance {
        theme,
        zone: TimeZone::UTC,
    }
}

fn start(theme: Theme, read: Option<ReadMarkers>) -> Start {
    let measured = appearance(theme);
    let places = Places {
        folder: "/home/ann/work".into(),
        home: Some("/home/ann".into()),
    };
    Start {
        room: RoomName::lobby(),
        read,
        commands: vec![],
        places,
        settings: ScreenSettings::default(),
        row_heights: Box::new(move |app| view::row_heights(app, &measured)),
    }
}

pub(super) fn room(name: &str) -> ConversationRef {
    ConversationRef::Room(name.parse().unwrap())
}

pub(super) fn with(byte: u8) -> ConversationRef {
    ConversationRef::Direct(id(byte))
}

pub(in crate::tui) fn peer(byte: u8, name: &str, state: PeerState) -> PeerLine {
    PeerLine {
        peer: Text(id(byte)),
        nick: name.split('~').next().map(|nick| nick.parse_nick()),
        name: name.into(),
        formerly: None,
        picture: None,
        state,
        path: (state != PeerState::Offline).then_some(PathKind::Lan),
        addr: "10.0.0.5:4626".parse().ok(),
        rtt_ms: (state != PeerState::Offline).then_some(0.4),
        lost: false,
        policy: PolicyFields::default(),
        awaits_consent: false,
        request: 0,
        away: false,
        status: String::new(),
    }
}

trait ParseNick {
    fn parse_nick(&self) -> hobnob::protocol::Nickname;
}

impl ParseNick for str {
    fn parse_nick(&self) -> hobnob::protocol::Nickname {
        hobnob::protocol::Nickname::new(self).unwrap()
    }
}

impl Scene {
    /// Ann alone.
    pub(super) fn alone() -> Scene {
        Scene::of(Theme {
            colour: true,
            unicode: true,
            light: false,
        })
    }

    pub(super) fn of(theme: Theme) -> Scene {
        Scene {
            app: App::new(start(theme, None), (80, 24), Time(NOW)),
            appearance: appearance(theme),
            now: NOW,
            messages: vec![],
            peers: vec![],
            rooms: vec![RoomInfo {
                name: RoomName::lobby(),
                open: true,
                fingerprint: None,
                here: vec![],
                topic: None,
            }],
            relays: vec![],
            files: vec![],
            outputs: vec![],
            sent: vec![],
            answers: true,
            loses_events: false,
            waiting: vec![],
        }
    }

    /// Ann, bob and cat, with these settings.
    pub(super) fn with_settings(settings: ScreenSettings) -> Scene {
        let scene = Scene::three();
        let app = App::new(
            Start {
                settings,
                ..start(scene.appearance.theme, None)
            },
            (80, 24),
            Time(NOW),
        );
        Scene { app, ..scene }
    }

    /// Ann with bob and cat in the lobby.
    pub(super) fn three() -> Scene {
        let mut scene = Scene::alone();
        scene.peers = vec![
            peer(BOB, "bob", PeerState::Online),
            peer(CAT, "cat", PeerState::Online),
        ];
        scene.rooms[0].here = vec![id(BOB), id(CAT)];
        scene
    }

    /// The same node, and a new chat.
    pub(super) fn started_again(self, seen: Option<ReadMarkers>) -> Scene {
        let saved = self.outputs.iter().filter_map(|output| {
            if let Output::SaveCommand(command) = output {
                Some(command.clone())
            } else {
                None
            }
        });
        let start = Start {
            commands: saved.collect(),
            ..start(self.appearance.theme, seen)
        };
        let app = App::new(start, (80, 24), Time(self.now));
        Scene { app, ..self }.opened()
    }

    /// The chat attaches to its node.
    pub(super) fn opened(mut self) -> Scene {
        self.handle(Input::Attached);
        self
    }

    /// A message arrives.
    pub(super) fn said(
        &mut self,
        from: u8,
        nick: &str,
        of: &ConversationRef,
        text: &str,
    ) -> MessageId {
        let message = self.message(from, nick, of, text);
        let id = message.id.0;
        self.messages.push(message.clone());
        self.handle(Input::Event(WireEvent::Message(message)));
        id
    }

    /// A message in the lobby from before the chat.
    pub(super) fn old(&mut self, from: u8, nick: &str, text: &str, ago: u64) {
        let mut message = self.message(from, nick, &room("lobby"), text);
        message.sent_at = Time(NOW - ago);
        message.received_at = message.sent_at;
        self.messages.push(message);
    }

    pub(super) fn message(
        &self,
        from: u8,
        nick: &str,
        of: &ConversationRef,
        text: &str,
    ) -> MessageLine {
        let seq = u64::try_from(self.messages.len()).unwrap() + 1;
        let me = Mentions::new(id(ANN), &"ann".parse_nick(), &[]);
        let mention = from != ANN && me.are_in(text);
        let direct = matches!(of, ConversationRef::Direct(_));
        MessageLine {
            mention,
            notify: from != ANN && (direct || mention),
            client_id: None,
            id: Text(MessageId {
                log: LogId(u64::from(from)),
                seq,
            }),
            conversation: Text(of.clone()),
            from: Text(id(from)),
            nick: nick.into(),
            body: Body::Text(text.into()).into(),
            sent_at: Time(self.now),
            received_at: Time(self.now),
            state: (from == ANN).then_some(DeliveryState::Queued),
            reason: None,
            request: false,
            amended: Box::default(),
        }
    }

    /// Somebody offers a file.
    pub(super) fn offers(
        &mut self,
        from: u8,
        nick: &str,
        of: &ConversationRef,
        name: &str,
        size: u64,
    ) -> MessageId {
        let offer = OfferFields {
            caption: String::new(),
            name: name.into(),
            media: if name.ends_with(".png") {
                "image/png"
            } else {
                "application/octet-stream"
            }
            .into(),
            size,
            hash: Text(ContentHash([7; 32])),
            files: None,
            manifest: None,
        };
        let mut message = self.message(from, nick, of, "");
        message.body = BodyFields {
            file: Some(Box::new(offer)),
            ..BodyFields::default()
        };
        self.messages.push(message.clone());
        let line = offers::unanswered(&message).unwrap();
        self.files.push(line.clone());
        let id = message.id.0;
        self.app
            .handle(Time(self.now), Input::Event(WireEvent::Message(message)));
        if from != ANN {
            self.app.handle(
                Time(self.now),
                Input::Event(WireEvent::File(Box::new(line))),
            );
        }
        self.work();
        id
    }

    /// The node reports a change of a file.
    pub(super) fn file_is(&mut self, id: MessageId, change: impl FnOnce(&mut FileLine)) {
        let line = self.files.iter_mut().find(|line| line.id.0 == id).unwrap();
        change(line);
        let line = Box::new(line.clone());
        self.handle(Input::Event(WireEvent::File(line)));
    }

    pub(super) fn receipt(&mut self, id: MessageId, from: u8, state: DeliveryState) {
        self.handle(Input::Event(WireEvent::Receipt(ReceiptLine {
            id: Text(id),
            peer: Text(self::id(from)),
            state,
        })));
    }

    pub(super) fn types(&mut self, text: &str) {
        for c in text.chars() {
            self.press(KeyCode::Char(c), KeyModifiers::NONE);
        }
    }

    /// Types a line and presses Enter.
    pub(super) fn enters(&mut self, line: &str) {
        self.types(line);
        self.press(KeyCode::Enter, KeyModifiers::NONE);
    }

    pub(super) fn ctrl(&mut self, c: char) {
        self.press(KeyCode::Char(c), KeyModifiers::CONTROL);
    }

    pub(super) fn alt(&mut self, c: char) {
        self.press(KeyCode::Char(c), KeyModifiers::ALT);
    }

    pub(super) fn key(&mut self, code: KeyCode) {
        self.press(code, KeyModifiers::NONE);
    }

    pub(super) fn press(&mut self, code: KeyCode, modifiers: KeyModifiers) {
        self.handle(Input::Key(KeyEvent::new(code, modifiers)));
    }

    pub(super) fn handle(&mut self, input: Input) {
        self.app.handle(Time(self.now), input);
        self.work();
    }

    /// Answers all requests, including those that the answers cause.
    pub(super) fn work(&mut self) {
        loop {
            while let Some(output) = self.app.poll_output() {
                self.outputs.push(output);
            }
            while let Some(request) = self.app.poll_request() {
                self.waiting.push(request);
            }
            if !self.answers || self.waiting.is_empty() {
                return;
            }
            let NodeRequest { request, handler } = self.waiting.remove(0);
            let outcome = self.answer(request);
            self.app
                .handle(Time(self.now), Input::Answer(handler, outcome));
        }
    }

    fn answer(&mut self, request: AnyRequest) -> Result<Value, String> {
        match request {
            AnyRequest::GetStatus(GetStatus {}) => value(&self.status()),
            AnyRequest::ListPeers(ListPeers { .. }) => value(&PeerList {
                peers: self.peers.clone(),
            }),
            AnyRequest::ListRooms(ListRooms {}) => value(&RoomList {
                rooms: self.rooms.clone(),
            }),
            AnyRequest::ListFiles(ListFiles {}) => value(&FileList {
                files: self.files.clone(),
            }),
            AnyRequest::HistoryFilter(filter) => value(&self.history(&filter)),
            AnyRequest::Resolve(Resolve { target }) => value(&Resolved {
                peer: Text(self.resolve(&target.0)?),
            }),
            AnyRequest::JoinRoom(request) => value(&self.join(request)),
            AnyRequest::CreateRoom(CreateRoom { room })
            | AnyRequest::GetRoomTicket(GetRoomTicket { room }) => value(&self.share(room.0)),
            AnyRequest::PartRoom(PartRoom { room }) => {
                self.rooms.retain(|line| line.name != room.0);
                value(&Done {})
            }
            AnyRequest::GetPicture(_) => value(&PictureFile {
                picture: Some(PictureFields {
                    hash: Text(ContentHash([7; 32])),
                    media: "image/png".to_owned(),
                    bytes: Base64(vec![1]),
                }),
            }),
            AnyRequest::SetNick(SetNick { .. })
            | AnyRequest::SetPicture(_)
            | AnyRequest::ShowTyping(_)
            | AnyRequest::MarkRead(_)
            | AnyRequest::SetStatus(_)
            | AnyRequest::CancelMessage(_)
            | AnyRequest::DeleteMessage(_)
            | AnyRequest::ClearConversation(_)
            | AnyRequest::ForgetPeer(_)
            | AnyRequest::SetNotify(_)
            | AnyRequest::KeepConversation(_) => value(&Done {}),
            AnyRequest::ListNotifyRules(_) => value(&NotifyRuleList { rules: vec![] }),
            AnyRequest::ListKeepTimes(_) => value(&KeepTimeList {
                default_seconds: None,
                times: vec![],
            }),
            AnyRequest::ListActivity(_) => value(&ActivityList { activity: vec![] }),
            AnyRequest::ReplyToMessage(request) => Ok(self.reply(request)),
            AnyRequest::EditMessage(request) => Ok(self.edit(request)),
            AnyRequest::ReactToMessage(request) => Ok(self.react(request)),
            AnyRequest::SetTopic(request) => Ok(self.set_topic(request)),
            AnyRequest::PinMessage(_) | AnyRequest::ListPins(_) => {
                value(&self.history(&HistoryFilter::default()))
            }
            AnyRequest::BroadcastMessage(request) => Ok(self.broadcast(request)),
            AnyRequest::SendMessage(request) => self.send_to_peer(request),
            AnyRequest::AcceptContact(AcceptContact { target })
            | AnyRequest::RemoveContact(RemoveContact { target })
            | AnyRequest::Ignore(Ignore { target })
            | AnyRequest::Unignore(Unignore { target })
            | AnyRequest::Block(Block { target })
            | AnyRequest::Unblock(Unblock { target }) => value(self.known(&target.0)?),
            AnyRequest::Kick(Kick { target }) => value(&Kicked {
                peer: self.known(&target.0)?.clone(),
                for_s: 600,
            }),
            AnyRequest::Verify(Verify { target, .. }) => value(&Verification {
                peer: self.known(&target.0)?.clone(),
                safety_number: ["12345"; 12].join(" "),
            }),
            AnyRequest::OfferFile(request) => self.offer_file(request),
            AnyRequest::AcceptFile(AcceptFile { offer }) => {
                self.file_is(offer.0, |line| line.state = FileState::Waiting);
                value(&Done {})
            }
            AnyRequest::PauseFile(PauseFile { offer }) => {
                self.file_is(offer.0, |line| line.state = FileState::Paused);
                value(&Done {})
            }
            AnyRequest::DeclineFile(DeclineFile { offer }) => {
                self.file_is(offer.0, |line| line.state = FileState::Declined);
                value(&Done {})
            }
            AnyRequest::Diagnose(Diagnose {}) | AnyRequest::Why(Why { .. }) => {
                value(&Diagnosis { checks: vec![] })
            }
            AnyRequest::Ping(Ping {})
            | AnyRequest::Subscribe(Subscribe {})
            | AnyRequest::GetMailbox(_)
            | AnyRequest::TakeSnapshot(_)
            | AnyRequest::ReportBackup(_)
            | AnyRequest::ApplySettings(_)
            | AnyRequest::OpenApp(_)
            | AnyRequest::SendDatagram(_)
            | AnyRequest::OpenStream(_)
            | AnyRequest::ReadStream(_)
            | AnyRequest::WriteStream(_)
            | AnyRequest::EndStream(_)
            | AnyRequest::CloseStream(_)
            | AnyRequest::Introduce(_)
            | AnyRequest::Invite(_)
            | AnyRequest::AwaitInvitation(_)
            | AnyRequest::AcceptInvite(_)
            | AnyRequest::ExportFor(_)
            | AnyRequest::ImportFile(_) => {
                unreachable!("no test types these")
            }
        }
    }

    fn join(&mut self, request: JoinRoom) -> RoomInfo {
        let line = RoomInfo {
            name: request.room.0.name().clone(),
            open: true,
            fingerprint: None,
            here: vec![],
            topic: None,
        };
        self.rooms.push(line.clone());
        line
    }

    /// A private room with its ticket.
    fn share(&mut self, name: RoomName) -> SharedRoom {
        let key = hobnob::protocol::RoomKey::random([7; 32]);
        let room = RoomInfo {
            name: name.clone(),
            open: false,
            fingerprint: key.fingerprint().map(|words| words.join(" ")),
            here: vec![],
            topic: None,
        };
        self.rooms.push(room.clone());
        SharedRoom {
            room,
            ticket: Text(RoomTicket::new(name, key).unwrap()),
        }
    }

    fn offer_file(&mut self, request: OfferFile) -> Result<Value, String> {
        let OfferFile {
            target, room, path, ..
        } = request;
        if path.ends_with("missing") {
            return Err(format!("can't read {}", path.display()));
        }
        let (of, to) = match (target, room) {
            (Some(target), _) => {
                let peer = self.resolve(&target.0)?;
                (ConversationRef::Direct(peer), vec![Text(peer)])
            }
            (None, room) => (ConversationRef::Room(room.unwrap().0), vec![]),
        };
        self.sent.push((of.to_string(), path.display().to_string()));
        let name = path.file_name().unwrap().to_str().unwrap();
        let id = self.offers(ANN, "ann", &of, name, 5_200_000);
        self.files.last_mut().unwrap().saved = Some(path);
        value(&SentLine {
            id: Text(id),
            conversation: Text(of),
            to,
            later: false,
            state: DeliveryState::Queued,
            reason: None,
            left_out: Vec::new(),
        })
    }

    fn broadcast(&mut self, request: BroadcastMessage) -> Value {
        let BroadcastMessage { room, body, .. } = request;
        let here = self
            .rooms
            .iter()
            .filter(|line| line.name == room.0)
            .flat_map(|line| line.here.iter().copied().map(Text))
            .collect();
        self.send(
            ConversationRef::Room(room.0),
            body.text.unwrap_or_default(),
            here,
        )
    }

    fn set_topic(&mut self, request: SetTopic) -> Value {
        let mut rooms = self.rooms.iter_mut();
        let room = rooms.find(|line| line.name == request.room.0);
        room.expect("the room exists").topic = Some(RoomTopic {
            text: request.topic.clone(),
            by: id(ANN),
            at_ms: self.now,
        });
        self.send(ConversationRef::Room(request.room.0), request.topic, vec![])
    }

    fn send_to_peer(&mut self, request: SendMessage) -> Result<Value, String> {
        let SendMessage { target, body, .. } = request;
        let peer = self.resolve(&target.0)?;
        Ok(self.send(
            ConversationRef::Direct(peer),
            body.text.unwrap_or_default(),
            vec![Text(peer)],
        ))
    }

    fn send(&mut self, of: ConversationRef, text: String, to: Vec<Text<PersonId>>) -> Value {
        let message = self.message(ANN, "ann", &of, &text);
        self.messages.push(message.clone());
        self.sent.push((of.to_string(), text));
        let sent = SentLine {
            id: message.id,
            conversation: Text(of),
            to,
            later: false,
            state: DeliveryState::Queued,
            reason: None,
            left_out: Vec::new(),
        };
        if !self.loses_events {
            self.app
                .handle(Time(self.now), Input::Event(WireEvent::Message(message)));
        }
        value(&sent).unwrap()
    }

    fn line_of(&mut self, id: MessageId) -> &mut MessageLine {
        let mut lines = self.messages.iter_mut();
        lines.find(|line| line.id.0 == id).expect("it is here")
    }

    fn reply(&mut self, request: ReplyToMessage) -> Value {
        let to = self.line_of(request.message.0).clone();
        let answer = self.send(to.conversation.0.clone(), request.text, vec![]);
        // The event of the reply has no quote. The history has.
        let text = to.body.text.clone();
        let (id, from, nick) = (to.id, to.from, to.nick);
        let reply = self.messages.last_mut().unwrap();
        reply.amended.reply_to = Some(ReplyToLine {
            id,
            from,
            nick,
            text,
        });
        let (message, conversation) = (reply.id, reply.conversation.clone());
        self.amended(message, conversation);
        answer
    }

    fn edit(&mut self, request: EditMessage) -> Value {
        let line = self.line_of(request.message.0);
        let earlier = line.body.text.replace(request.text).into_iter().collect();
        line.amended.edited = Some(EditedLine {
            at: line.sent_at,
            earlier,
        });
        let (message, of) = (line.id, line.conversation.clone());
        self.amended(message, of)
    }

    fn react(&mut self, request: ReactToMessage) -> Value {
        let by = vec![ReactorLine {
            peer: Text(id(ANN)),
            nick: "ann".into(),
        }];
        let line = self.line_of(request.message.0);
        let emoji = request.emoji;
        line.amended.reactions = vec![ReactionLine { emoji, by }];
        let (message, of) = (line.id, line.conversation.clone());
        self.amended(message, of)
    }

    fn amended(&mut self, message: Text<MessageId>, conversation: Text<ConversationRef>) -> Value {
        let line = AmendedLine {
            message,
            conversation: conversation.clone(),
            from: Text(id(ANN)),
            nick: "ann".into(),
            text: None,
            emoji: None,
            off: false,
        };
        let event = Input::Event(WireEvent::Amended(line));
        self.app.handle(Time(self.now), event);
        value(&SentLine {
            id: message,
            conversation,
            to: vec![],
            later: false,
            state: DeliveryState::Queued,
            reason: None,
            left_out: vec![],
        })
        .unwrap()
    }

    fn resolve(&self, target: &Target) -> Result<PersonId, String> {
        self.known(target).map(|peer| peer.peer.0)
    }

    fn known(&self, target: &Target) -> Result<&PeerLine, String> {
        let word = target.to_string();
        let known = self
            .peers
            .iter()
            .find(|peer| peer.name == word || peer.peer.0.to_string() == word);
        known.ok_or_else(|| format!("nobody is known as {word}"))
    }

    fn history(&self, filter: &HistoryFilter) -> MessageList {
        let place =
            |id: &Text<MessageId>| self.messages.iter().position(|message| message.id == *id);
        let from = filter.after.as_ref().and_then(place).map_or(0, |at| at + 1);
        let until = filter
            .before
            .as_ref()
            .and_then(place)
            .unwrap_or(self.messages.len());
        let fits = |message: &&MessageLine| {
            filter
                .conversation
                .as_ref()
                .is_none_or(|of| *of == message.conversation)
                && (message.mention || !filter.mentions)
                && filter.search.as_ref().is_none_or(|words| {
                    message
                        .body
                        .text
                        .as_ref()
                        .is_some_and(|text| text.contains(words))
                })
        };
        let mut messages: Vec<MessageLine> = self.messages[from..until]
            .iter()
            .filter(fits)
            .cloned()
            .collect();
        let limit = filter.limit.unwrap_or(usize::MAX);
        if filter.oldest {
            messages.truncate(limit);
        } else {
            messages.drain(..messages.len().saturating_sub(limit));
        }
        MessageList {
            messages,
            more: false,
        }
    }

    fn status(&self) -> StatusLine {
        StatusLine {
            peer: Text(id(ANN)),
            nick: "ann".parse_nick(),
            picture: None,
            addrs: vec!["10.0.0.3:4626".parse().unwrap()],
            ticket: format!("hobnob:{}?a=10.0.0.3:4626", id(ANN)),
            rooms: self.rooms.clone(),
            relays: self.relays.clone(),
            lends: None,
            notices: vec![],
        }
    }

    /// The number of rows with a picture, on a screen of this size.
    #[cfg(feature = "pictures")]
    pub(super) fn coloured_rows(&mut self, columns: u16, rows: u16) -> usize {
        let buffer = self.drawn(columns, rows);
        (0..rows)
            .filter(|y| {
                (0..columns).any(|x| matches!(buffer[(x, *y)].bg, ratatui::style::Color::Rgb(..)))
            })
            .count()
    }

    fn drawn(&mut self, columns: u16, rows: u16) -> Buffer {
        self.handle(Input::Resize(columns, rows));
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal
            .draw(|frame| view::render(&self.app, &self.appearance, frame))
            .unwrap();
        terminal.backend().buffer().clone()
    }

    /// The screen at this size, without trailing spaces.
    pub(super) fn screen(&mut self, columns: u16, rows: u16) -> String {
        let buffer = self.drawn(columns, rows);
        let row = |y: u16| {
            // A wide character also covers the next cell.
            let mut covered = 0;
            let symbols = (0..columns)
                .map(|x| buffer[(x, y)].symbol())
                .filter(|symbol| {
                    let free = covered == 0;
                    covered = if free {
                        width(symbol).saturating_sub(1)
                    } else {
                        covered - 1
                    };
                    free
                });
            symbols.collect::<String>().trim_end().to_owned()
        };
        (0..rows).map(row).collect::<Vec<_>>().join("\n")
    }
}

fn value(answer: &impl Serialize) -> Result<Value, String> {
    Ok(serde_json::to_value(answer).unwrap())
}
