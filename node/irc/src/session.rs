//! A session with an IRC client, without I/O.
//!
//! This file has the session's life: registration, the first requests to the node, and the
//! dispatch of answers and events. `session/commands` carries out the commands of the client,
//! `session/reports` shows what the node reports, `session/past` shows history, `session/reading`
//! how far the user has read, and `session/services` carries out commands to the service `*hobnob`.

mod commands;
mod past;
mod reading;
mod reports;
mod services;

use std::collections::{BTreeMap, VecDeque};

use hobnob::MessageId;
use hobnob_control::wire::{
    AnyRequest, Failure, GetStatus, ListPeers, PeerLine, PeerList, StatusLine, Time, WireEvent,
};
use hobnob_limits::RecentSet;
use hobnob_protocol::{PersonId, RoomName};
use serde_json::Value;

use crate::caps::Cap;
use crate::echoes::Echoes;
use crate::face::{ASKS_MAX, Asks, Face, Output, read};
use crate::history::{ISUPPORT, Targets, Wanted};
use crate::line::{LINE_BYTES_MAX, Line, LineError, TAGS_BYTES_MAX};
use crate::markers::ReadMarkers;
use crate::offers::Offers;
use crate::refresh::Refresh;
use crate::registration::{Registration, SERVER, Step};
use crate::render::{Render, SERVICE};
use crate::roster::{Change, Roster};
use crate::service::ServiceAsk;
use crate::token::Token;

/// Time to register.
const REGISTER_WITHIN_MS: u64 = 30_000;

/// After this time without a line, the client gets a PING.
const PING_AFTER_MS: u64 = 120_000;

/// After this time without a line, the connection ends.
const GONE_AFTER_MS: u64 = 240_000;

/// Maximum ids of replayed messages that are remembered, so that they are not shown again.
const REPLAYED_MAX: usize = 8_192;

/// A session with one IRC client.
#[derive(Debug)]
pub(crate) struct Session {
    registration: Registration,
    markers: ReadMarkers,
    began: Time,
    heard: Time,
    pinged: bool,
    phase: Phase,
    asks: Asks<Then>,
    out: VecDeque<Output>,
    batches: u64,
}

#[derive(Debug)]
enum Phase {
    Registering,
    /// Waits for the node's first answers: the peers, then the rooms, which list people by name.
    Attaching(Vec<PeerLine>),
    Ready(Box<Chat>),
    Closed,
}

/// What a registered client sees.
#[derive(Debug)]
struct Chat {
    roster: Roster,
    echoes: Echoes,
    offers: Offers,
    /// Whether this user is away.
    away: bool,
    /// The people who are away, with what they say about it.
    away_people: BTreeMap<PersonId, String>,
    /// The newest messages: of others, and of this user.
    last: (Option<MessageId>, Option<MessageId>),
    recent: Recent,
    /// Messages that were replayed, which events may report again.
    replayed: RecentSet<MessageId, REPLAYED_MAX>,
    /// Requests for history to replay that have no answer yet.
    replays: usize,
    targets: Option<Targets>,
    refresh: Refresh,
    /// The number of changes of read markers that the client has seen.
    marker_changes: u64,
}

/// What follows from an answer of the node.
#[derive(Debug)]
enum Then {
    Status,
    Peers,
    /// A message of the client: the conversation as the client named it.
    Sent(String),
    /// A change whose success needs no words: the command, and what it was about.
    Changed(&'static str, String),
    Joined(RoomName),
    /// The user is away now, or back.
    Away(bool),
    /// The messages of a conversation, for a client that does not ask for history itself.
    Replay,
    /// The latest messages of all conversations, of which the direct ones are replayed.
    ReplayDirect,
    /// The first message at or after the end of what `CHATHISTORY` asks for.
    End(String, Wanted),
    Messages(String),
    /// The newest messages of a conversation of which the user has read those up to this time.
    ReadUpTo(Time),
    /// The newest message of the conversation with this name.
    Target(String),
    Service(ServiceAsk),
}

/// The authors of the messages that were shown last.
#[derive(Debug, Default)]
struct Recent {
    authors: VecDeque<(MessageId, PersonId)>,
}

/// Maximum messages whose authors are remembered.
const RECENT_MAX: usize = 1_024;

impl Recent {
    fn add(&mut self, id: MessageId, author: PersonId) {
        self.authors.push_back((id, author));
        if self.authors.len() > RECENT_MAX {
            self.authors.pop_front();
        }
    }

    fn author(&self, id: MessageId) -> Option<PersonId> {
        let found = self.authors.iter().rev().find(|(known, _)| *known == id);
        found.map(|(_, author)| *author)
    }
}

impl Session {
    /// A session with a client that has just connected.
    pub(crate) fn new(token: Token, markers: ReadMarkers, now: Time) -> Session {
        Session {
            registration: Registration::new(token),
            markers,
            began: now,
            heard: now,
            pinged: false,
            phase: Phase::Registering,
            asks: Asks::new(),
            out: VecDeque::new(),
            batches: 0,
        }
    }

    fn send(&mut self, line: &Line) {
        self.out.push_back(Output::Send(line.to_wire()));
    }

    fn send_all(&mut self, lines: &[Line]) {
        for line in lines {
            self.send(line);
        }
    }

    fn ask(&mut self, request: impl Into<AnyRequest>, then: Then) {
        self.asks.ask(&mut self.out, request, then);
    }

    /// The client's nickname.
    fn nick(&self) -> String {
        match &self.phase {
            Phase::Ready(chat) => chat.roster.names().me().to_owned(),
            Phase::Registering | Phase::Attaching(_) | Phase::Closed => {
                self.registration.nick().to_owned()
            }
        }
    }

    /// A numbered reply.
    fn reply(&mut self, number: &str, params: &[&str]) {
        let nick = self.nick();
        let line = Line::new(SERVER, number, &[&[nick.as_str()], params].concat());
        self.send(&line);
    }

    /// A failure, as a standard reply where the client knows them.
    fn fail(&mut self, command: &str, code: &str, about: &str, text: &str) {
        if self.registration.caps.has(Cap::StandardReplies) {
            let mut params = vec![command, code];
            params.extend((!about.is_empty()).then_some(about));
            params.push(text);
            let line = Line::new(SERVER, "FAIL", &params);
            return self.send(&line);
        }
        let nick = self.nick();
        let text = match about {
            "" => format!("{command}: {text}"),
            about => format!("{command} {about}: {text}"),
        };
        let place = if about.starts_with('#') { about } else { &nick };
        let line = Line::new(SERVER, "NOTICE", &[place, &text]);
        self.send(&line);
    }

    /// A line of the service.
    fn service(&mut self, text: &str) {
        let nick = self.nick();
        let source = format!("{SERVICE}!hobnob@{SERVER}");
        for line in crate::wording::lines(text) {
            let line = Line::new(&source, "NOTICE", &[&nick, &line]);
            self.send(&line);
        }
    }

    /// Ends the connection after this reason.
    fn close(&mut self, why: &str) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        self.send(&Line {
            command: "ERROR".into(),
            params: vec![why.to_owned()],
            ..Line::default()
        });
        self.out.push_back(Output::Close);
        self.phase = Phase::Closed;
    }

    fn registers(&mut self, line: &Line) {
        let mut replies = Vec::new();
        let step = self.registration.line(line, &mut replies);
        self.send_all(&replies);
        match step {
            Step::More => {}
            Step::Refused(why) => {
                self.reply("464", &[why]);
                self.close(why);
            }
            Step::Done => {
                self.phase = Phase::Attaching(Vec::new());
                self.out.push_back(Output::Attach);
            }
        }
    }

    /// Takes the node's state: the first time, or again.
    fn status(&mut self, now: Time, status: StatusLine) {
        match &mut self.phase {
            Phase::Attaching(peers) => {
                let roster = Roster::of(&status, std::mem::take(peers));
                self.welcome(now, roster, status);
            }
            Phase::Ready(chat) => {
                chat.refresh.done();
                let mut changes = chat.roster.rename_me(status.nick.as_str());
                changes.extend(chat.roster.set_rooms(status.rooms));
                self.show_changes(now, changes);
            }
            Phase::Registering | Phase::Closed => {}
        }
    }

    fn peers(&mut self, now: Time, list: PeerList) {
        match &mut self.phase {
            Phase::Attaching(peers) => {
                *peers = list.peers;
                self.ask(GetStatus {}, Then::Status);
            }
            Phase::Ready(chat) => {
                let learned = list
                    .peers
                    .into_iter()
                    .flat_map(|peer| chat.roster.learn(peer));
                let changes: Vec<Change> = learned.collect();
                self.show_changes(now, changes);
            }
            Phase::Registering | Phase::Closed => {}
        }
    }

    /// Greets a registered client and shows it the rooms.
    fn welcome(&mut self, now: Time, roster: Roster, status: StatusLine) {
        let away = roster.peers().filter(|peer| peer.away);
        let away_people = away
            .map(|peer| (peer.peer.0, away_text(&peer.status)))
            .collect();
        let (_, marker_changes) = self.markers.moved_since(0);
        self.phase = Phase::Ready(Box::new(Chat {
            marker_changes,
            roster,
            echoes: Echoes::default(),
            offers: Offers::default(),
            away: false,
            away_people,
            last: (None, None),
            recent: Recent::default(),
            replayed: RecentSet::default(),
            replays: 0,
            targets: None,
            refresh: Refresh::new(now),
        }));
        let version = concat!("hobnob-", env!("CARGO_PKG_VERSION"));
        let nick = self.nick();
        self.reply("001", &[&format!("Welcome to hobnob, {nick}")]);
        self.reply(
            "002",
            &[&format!("Your node is {SERVER}, version {version}")],
        );
        self.reply("003", &["Only you can connect here"]);
        self.reply("004", &[SERVER, version, "i", "kn"]);
        for tokens in ISUPPORT {
            let params = [tokens, &["are supported by this server"]].concat();
            self.reply("005", &params);
        }
        self.motd();
        let rooms = self.ready().roster.set_rooms(status.rooms);
        let requests = self.ready().roster.requests();
        self.show_changes(now, rooms);
        self.show_changes(now, requests);
        self.replay_direct(now);
    }

    /// The state of a registered client. Called only where the phase was checked.
    fn ready(&mut self) -> &mut Chat {
        match &mut self.phase {
            Phase::Ready(chat) => chat,
            Phase::Registering | Phase::Attaching(_) | Phase::Closed => {
                panic!("the caller has checked that the client is registered")
            }
        }
    }

    /// Makes lines for this client, of a registered client.
    fn render<T>(&mut self, make: impl FnOnce(Render<'_>) -> T) -> T {
        let Session {
            registration,
            phase: Phase::Ready(chat),
            ..
        } = self
        else {
            panic!("the caller has checked that the client is registered")
        };
        make(Render {
            roster: &chat.roster,
            caps: &registration.caps,
        })
    }

    fn refused(&mut self, then: &Then, failure: &Failure) {
        match then {
            Then::Status | Then::Peers => self.close(&format!("the node failed: {failure}")),
            Then::Sent(target) => {
                if !self.registration.caps.has(Cap::EchoMessage) {
                    let others = self.ready().echoes.answered(None);
                    self.show_own(others);
                }
                let target = target.clone();
                self.fail("PRIVMSG", "CANNOT_SEND", &target, &failure.text);
            }
            Then::Changed(command, about) => {
                let about = about.clone();
                self.fail(command, "REFUSED", &about, &failure.text);
            }
            Then::Joined(room) => {
                let room = room.to_string();
                self.reply("475", &[&room, &failure.text]);
            }
            Then::Away(_) => self.fail("AWAY", "REFUSED", "", &failure.text),
            Then::Replay | Then::ReplayDirect => self.ready().replays -= 1,
            // An unknown message: there is no history around it.
            Then::End(target, _) | Then::Messages(target) => {
                let target = target.clone();
                self.show_batch(&target, Vec::new());
            }
            Then::Target(_) => self.target_found(None),
            Then::ReadUpTo(_) => {}
            Then::Service(_) => self.service(&failure.text),
        }
    }

    fn answer(&mut self, now: Time, then: Then, value: Value) -> Result<(), serde_json::Error> {
        match then {
            Then::Status => self.status(now, read(value)?),
            Then::Peers => self.peers(now, read(value)?),
            Then::Sent(target) => self.sent(&target, &read(value)?),
            Then::Changed(command, _) => {
                self.ready().refresh.soon(now);
                if ["NICK", "PART"].contains(&command) {
                    self.ask(GetStatus {}, Then::Status);
                }
            }
            Then::Joined(_) => {
                self.ready().refresh.soon(now);
                self.ask(GetStatus {}, Then::Status);
            }
            Then::Away(away) => self.away_is(away),
            Then::Replay => self.replayed(read(value)?),
            Then::ReplayDirect => self.replayed_direct(read(value)?),
            Then::End(target, wanted) => self.end_found(&target, wanted, read(value)?),
            Then::Messages(target) => self.show_history(&target, read(value)?),
            Then::Target(target) => self.newest_found(&target, read(value)?),
            Then::ReadUpTo(at) => self.show_read(at, read(value)?),
            Then::Service(ask) => self.service_answered(now, ask, value)?,
        }
        Ok(())
    }
}

/// What somebody says about being away.
fn away_text(status: &str) -> String {
    match status {
        "" => "away".to_owned(),
        status => crate::wording::lines(status).join(" "),
    }
}

impl Face for Session {
    fn line(&mut self, now: Time, bytes: &[u8]) {
        self.heard = now;
        self.pinged = false;
        let line = match Line::parse(bytes) {
            Ok(line) => line,
            Err(LineError::NoCommand) => return,
            Err(LineError::TooLong) => return self.too_long(),
            Err(LineError::NotUtf8) => {
                return self.fail(
                    "*",
                    "INVALID_UTF8",
                    "",
                    "a line must be UTF-8; it was not sent",
                );
            }
        };
        match self.phase {
            Phase::Registering => self.registers(&line),
            Phase::Ready(_) => self.command(now, &line),
            // `takes_lines` says no.
            Phase::Attaching(_) | Phase::Closed => {}
        }
    }

    fn too_long(&mut self) {
        self.reply("417", &["this line is too long; it was not sent"]);
    }

    fn attached(&mut self, _now: Time) {
        self.ask(ListPeers { settle: false }, Then::Peers);
    }

    fn answered(&mut self, now: Time, number: u64, answer: Result<Value, Failure>) {
        let Some(then) = self.asks.take(number) else {
            return;
        };
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        match answer {
            Err(failure) => self.refused(&then, &failure),
            Ok(value) => {
                if let Err(error) = self.answer(now, then, value) {
                    self.close(&format!("the node's answer can't be read: {error}"));
                }
            }
        }
    }

    fn event(&mut self, now: Time, event: WireEvent) {
        if matches!(self.phase, Phase::Ready(_)) {
            self.report(now, event);
        }
    }

    fn detached(&mut self, why: &str) {
        self.close(why);
    }

    fn tick(&mut self, now: Time) {
        match &mut self.phase {
            Phase::Registering if now.0 > self.began.0 + REGISTER_WITHIN_MS => {
                self.close("you did not register in time");
            }
            Phase::Ready(chat) => {
                let begins = chat.refresh.begins(now);
                if begins {
                    self.ask(GetStatus {}, Then::Status);
                }
                self.show_moved_markers();
                if now.0 > self.heard.0 + GONE_AFTER_MS {
                    self.close("no answer to a PING");
                } else if now.0 > self.heard.0 + PING_AFTER_MS && !self.pinged {
                    self.pinged = true;
                    self.send(&Line {
                        command: "PING".into(),
                        params: vec![SERVER.into()],
                        ..Line::default()
                    });
                }
            }
            Phase::Registering | Phase::Attaching(_) | Phase::Closed => {}
        }
    }

    fn takes_events(&self) -> bool {
        matches!(&self.phase, Phase::Ready(chat) if chat.replays == 0)
    }

    fn takes_lines(&self) -> bool {
        match self.phase {
            Phase::Registering => true,
            Phase::Ready(_) => self.asks.len() < ASKS_MAX,
            Phase::Attaching(_) | Phase::Closed => false,
        }
    }

    fn waits(&self) -> bool {
        self.asks.len() > 0
    }

    fn line_bytes_max(&self) -> usize {
        TAGS_BYTES_MAX + LINE_BYTES_MAX
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }
}

#[cfg(test)]
mod tests;
