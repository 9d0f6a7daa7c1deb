//! The commands of a registered client.

use hobnob::ConversationRef;
use hobnob_control::wire::{
    AnyRequest, Base64, BodyFields, BroadcastMessage, DeleteMessage, JoinRoom, PartRoom,
    ReactToMessage, ReplyToMessage, SendMessage, SetNick, SetStatus, SetTopic, ShowTyping, Text,
    Time, WaitOptions,
};
use hobnob_protocol::text::ACTION;
use hobnob_protocol::{Nickname, PersonId, RoomName, RoomTarget, Target};

use super::{Session, Then};
use crate::caps::Cap;
use crate::line::{Line, cut};
use crate::registration::SERVER;
use crate::render::{SERVICE, message_id};
use crate::wording::without_codes;

/// Maximum recipients of one PRIVMSG, and rooms of one JOIN or PART.
const TARGETS_MAX: usize = 8;

/// Maximum bytes of a text about being away.
const AWAY_BYTES_MAX: usize = 256;

/// Maximum people in an answer to WHO without a room.
const WHO_MAX: usize = 500;

const MOTD: [&str; 4] = [
    "This is your own hobnob node. Rooms are channels, and direct messages are queries.",
    "NICK changes your nickname everywhere. JOIN and PART join and leave rooms everywhere.",
    "For files, contact requests and more, write to the service:",
    "  /msg *hobnob help",
];

impl Session {
    /// Carries out a command of a registered client.
    pub(super) fn command(&mut self, now: Time, line: &Line) {
        match line.command.as_str() {
            "PRIVMSG" | "NOTICE" => self.says(now, line),
            "TAGMSG" => self.tag_message(line),
            "REDACT" => self.redact(line),
            "JOIN" => self.join(line),
            "PART" => self.part(line),
            "NICK" | "SETNAME" => self.change_nick(line),
            "NAMES" => self.names(line.param(0)),
            "WHO" => self.who(line.param(0)),
            "WHOIS" => {
                let last = line.params.last().map_or("", String::as_str);
                self.whois(last);
            }
            "WHOWAS" => self.reply("406", &[line.param(0), "was not here"]),
            "TOPIC" => self.topic(line),
            "MODE" => self.mode(line),
            "LIST" => self.list(),
            "AWAY" => self.away(line.param(0)),
            "CHATHISTORY" => self.chathistory(line),
            "MARKREAD" => self.mark_read(line),
            "MOTD" => self.motd(),
            "LUSERS" => self.lusers(),
            "VERSION" => {
                let version = concat!("hobnob-", env!("CARGO_PKG_VERSION"));
                self.reply("351", &[version, SERVER, "a node of hobnob"]);
            }
            "TIME" => {
                let time = now.timestamp().strftime("%A, %d %B %Y, %H:%M:%S UTC");
                self.reply("391", &[SERVER, &time.to_string()]);
            }
            "USERHOST" => self.userhost(line),
            "ISON" => self.ison(line),
            "PING" => {
                let pong = Line::new(SERVER, "PONG", &[SERVER, line.param(0)]);
                self.send(&pong);
            }
            "PONG" => {}
            "QUIT" => self.close("you have quit"),
            "CAP" => {
                let (nick, mut replies) = (self.nick(), Vec::new());
                self.registration.cap(&nick, line, &mut replies);
                self.send_all(&replies);
            }
            "AUTHENTICATE" => self.reply("907", &["you are authenticated already"]),
            "PASS" | "USER" => self.reply("462", &["you are registered already"]),
            "KICK" | "INVITE" => {
                let why = "rooms have no operators: share the room's name, or its ticket";
                let room = if line.command == "KICK" {
                    line.param(0)
                } else {
                    line.param(1)
                };
                self.reply("482", &[room, why]);
            }
            other => self.reply("421", &[other, "unknown command"]),
        }
    }

    fn says(&mut self, now: Time, line: &Line) {
        let (targets, text) = (line.param(0), line.param(1));
        if targets.is_empty() {
            return self.reply("411", &["no recipient given"]);
        }
        let Some(text) = said(&line.command, text) else {
            return;
        };
        if text.trim().is_empty() {
            return self.reply("412", &["no text to send"]);
        }
        let reply_to = line.value_of("+draft/reply").or(line.value_of("+reply"));
        let reply_to = reply_to.and_then(message_id);
        for target in targets.split(',').take(TARGETS_MAX) {
            if target.eq_ignore_ascii_case(SERVICE) {
                self.serve(now, &text);
                continue;
            }
            let Some(conversation) = self.known_conversation(target) else {
                continue;
            };
            let text = text.clone();
            let request: AnyRequest = match (reply_to, conversation) {
                (Some(message), _) => ReplyToMessage {
                    client_id: None,
                    message: Text(message),
                    text,
                    options: WaitOptions::ON_DISK,
                }
                .into(),
                (None, ConversationRef::Room(room)) => BroadcastMessage {
                    room: Text(room),
                    body: body(text),
                    client_id: None,
                    options: WaitOptions::ON_DISK,
                }
                .into(),
                (None, ConversationRef::Direct(peer)) => SendMessage {
                    target: Text(Target::Id(peer)),
                    body: body(text),
                    client_id: None,
                    options: WaitOptions::ON_DISK,
                }
                .into(),
            };
            if !self.registration.caps.has(Cap::EchoMessage) {
                self.ready().echoes.sends();
            }
            self.ask(request, Then::Sent(target.to_owned()));
        }
    }

    /// The conversation that a word names, or none after an error to the client.
    pub(super) fn known_conversation(&mut self, word: &str) -> Option<ConversationRef> {
        let roster = &self.ready().roster;
        let found = roster.conversation(word);
        match &found {
            Some(ConversationRef::Room(room)) if roster.room(room).is_none() => {
                self.reply("404", &[word, "you are not in this room"]);
                None
            }
            Some(_) => found,
            None if word.starts_with('#') => {
                self.reply("403", &[word, "there is no such room"]);
                None
            }
            None if roster.names().is_me(word) => {
                self.reply("401", &[word, "this is you"]);
                None
            }
            None => {
                self.reply("401", &[word, "nobody of this nickname is known"]);
                None
            }
        }
    }

    /// A reaction, or that the user types, is a message of tags alone.
    fn tag_message(&mut self, line: &Line) {
        let value = |name: &str| line.value_of(name);
        if let Some(state) = value("+typing") {
            if let Some(conversation) = self.ready().roster.conversation(line.param(0)) {
                let request = ShowTyping {
                    conversation: Text(conversation),
                    off: state != "active",
                };
                self.ask(request, Then::Changed("TAGMSG", line.param(0).to_owned()));
            }
            return;
        }
        let message = value("+draft/reply")
            .or(value("+reply"))
            .and_then(message_id);
        let (on, off) = (value("+draft/react"), value("+draft/unreact"));
        let (Some(message), Some(emoji)) = (message, on.or(off)) else {
            return;
        };
        let request = ReactToMessage {
            message: Text(message),
            emoji: emoji.to_owned(),
            off: on.is_none(),
            options: WaitOptions::ON_DISK,
        };
        self.ask(request, Then::Changed("TAGMSG", line.param(0).to_owned()));
    }

    fn redact(&mut self, line: &Line) {
        let (target, id) = (line.param(0), line.param(1));
        let Some(message) = message_id(id) else {
            return self.fail(
                "REDACT",
                "UNKNOWN_MSGID",
                target,
                "there is no such message",
            );
        };
        let request = DeleteMessage {
            message: Text(message),
            here: false,
            yes: false,
        };
        self.ask(request, Then::Changed("REDACT", target.to_owned()));
    }

    fn join(&mut self, line: &Line) {
        let keys: Vec<&str> = line.param(1).split(',').collect();
        let names = line.param(0).split(',').take(TARGETS_MAX);
        for (name, at) in names.zip(0..) {
            let room: RoomName = match name.parse() {
                Ok(room) if name.starts_with('#') => room,
                Ok(_) | Err(_) => {
                    let why = "a room's name is # and up to 32 characters of a-z 0-9 - _ .";
                    self.reply("403", &[name, why]);
                    continue;
                }
            };
            if self.ready().roster.room(&room).is_some() {
                // Clients join again what they have been shown. They are in it.
                continue;
            }
            let key = keys.get(at).filter(|key| !key.is_empty());
            let request = JoinRoom {
                room: Text(RoomTarget::Name(room.clone())),
                secret: key.map(|key| Base64(key.as_bytes().to_vec())),
            };
            self.ask(request, Then::Joined(room));
        }
    }

    fn part(&mut self, line: &Line) {
        for name in line.param(0).split(',').take(TARGETS_MAX) {
            let room = name.parse().ok();
            let room = room.filter(|room| self.ready().roster.room(room).is_some());
            match room {
                Some(room) => {
                    let then = Then::Changed("PART", room.to_string());
                    self.ask(PartRoom { room: Text(room) }, then);
                }
                None => self.reply("442", &[name, "you are not in this room"]),
            }
        }
    }

    /// NICK, and SETNAME for nicknames that IRC does not allow.
    fn change_nick(&mut self, line: &Line) {
        let word = line.param(0);
        match Nickname::new(word) {
            Ok(nick) => {
                let then = Then::Changed("NICK", word.to_owned());
                self.ask(SetNick { nick }, then);
            }
            Err(error) => self.reply("432", &[word, &error.to_string()]),
        }
    }

    fn names(&mut self, name: &str) {
        let room: Option<RoomName> = name.parse().ok();
        match room.filter(|room| self.ready().roster.room(room).is_some()) {
            Some(room) => {
                let lines = self.render(|render| render.names(&room));
                self.send_all(&lines);
            }
            None => self.reply("366", &[name, "end of /NAMES list"]),
        }
    }

    fn who(&mut self, mask: &str) {
        let roster = &self.ready().roster;
        let room = mask.parse().ok().filter(|_| mask.starts_with('#'));
        let room = room.and_then(|room: RoomName| roster.room(&room));
        let me = roster.me();
        let people: Vec<PersonId> = match (room, mask) {
            (Some(room), _) => [me].into_iter().chain(room.here.iter().copied()).collect(),
            (None, "" | "*" | "0") => {
                let here = roster.peers().map(|peer| peer.peer.0);
                let here = here.filter(|peer| roster.is_here(*peer));
                [me].into_iter().chain(here).take(WHO_MAX).collect()
            }
            (None, nick) if roster.names().is_me(nick) => vec![me],
            (None, nick) => roster.names().peer(nick).into_iter().collect(),
        };
        let place = if room.is_some() { mask } else { "*" };
        for peer in people {
            let roster = &self.ready().roster;
            let nick = roster.nick(peer).to_owned();
            let away = match peer == me {
                true => self.ready().away,
                false => !roster.is_here(peer) || self.ready().away_people.contains_key(&peer),
            };
            let flags = if away { "G" } else { "H" };
            let last = format!("0 {}", self.real_name(peer));
            let user = peer.short();
            let params = [place, &user, SERVER, SERVER, &nick, flags, &last];
            self.reply("352", &params);
        }
        let mask = if mask.is_empty() { "*" } else { mask };
        self.reply("315", &[mask, "end of /WHO list"]);
    }

    /// The nickname as its owner chose it.
    fn real_name(&mut self, peer: PersonId) -> String {
        let roster = &self.ready().roster;
        if peer == roster.me() {
            return roster.own_nick().to_owned();
        }
        let nick = roster.peer(peer).and_then(|peer| peer.nick.as_ref());
        nick.map_or_else(|| "no nickname".to_owned(), ToString::to_string)
    }

    fn whois(&mut self, word: &str) {
        let roster = &self.ready().roster;
        let me = roster.me();
        let found = match roster.names().is_me(word) {
            true => Some(me),
            false => roster.names().peer(word),
        };
        let Some(peer) = found else {
            self.reply("401", &[word, "nobody of this nickname is known"]);
            return self.reply("318", &[word, "end of /WHOIS list"]);
        };
        let nick = roster.nick(peer).to_owned();
        let rooms: Vec<String> = roster
            .rooms()
            .filter(|(_, room)| peer == me || room.here.contains(&peer))
            .map(|(name, _)| name.to_string())
            .collect();
        let line = roster.peer(peer).cloned();
        let here = roster.is_here(peer);
        let real_name = self.real_name(peer);
        self.reply("311", &[&nick, &peer.short(), SERVER, "*", &real_name]);
        if !rooms.is_empty() {
            self.reply("319", &[&nick, &rooms.join(" ")]);
        }
        self.reply("312", &[&nick, SERVER, "hobnob"]);
        if !here {
            self.reply("301", &[&nick, "offline"]);
        } else if let Some(text) = self.ready().away_people.get(&peer).cloned() {
            self.reply("301", &[&nick, &text]);
        }
        self.reply("330", &[&nick, &peer.to_string(), "has the id"]);
        if let Some(line) = line {
            let policy = line.policy;
            let words = [
                (policy.contact, "is a contact"),
                (!policy.contact, "is a stranger"),
                (policy.verified, "is verified"),
                (policy.ignored, "is ignored"),
                (policy.blocked, "is blocked"),
                (line.awaits_consent, "has not accepted you yet"),
            ];
            let words = words.into_iter().filter(|(is, _)| *is);
            let words: Vec<&str> = words.map(|(_, word)| word).collect();
            self.reply("320", &[&nick, &words.join(", ")]);
            if let Some(addr) = line.addr {
                self.reply("338", &[&nick, &addr.ip().to_string(), "is at"]);
            }
        }
        self.reply("318", &[&nick, "end of /WHOIS list"]);
    }

    /// TOPIC shows the topic of a room, or sets it. The message of the new topic reports it.
    fn topic(&mut self, line: &Line) {
        let name = line.param(0);
        let room = name.parse().ok();
        let Some(room) = room.filter(|room| self.ready().roster.room(room).is_some()) else {
            return self.reply("442", &[name, "you are not in this room"]);
        };
        if line.params.len() > 1 {
            let request = SetTopic {
                room: Text(room),
                topic: without_codes(line.param(1)),
                options: WaitOptions::ON_DISK,
            };
            return self.ask(request, Then::Changed("TOPIC", name.to_owned()));
        }
        let lines = self.render(|render| render.topic(&room));
        match lines.is_empty() {
            true => self.reply("331", &[name, "no topic is set"]),
            false => self.send_all(&lines),
        }
    }

    fn mode(&mut self, line: &Line) {
        let word = line.param(0);
        let Ok(room) = word.parse::<RoomName>() else {
            return self.reply("221", &["+i"]);
        };
        if !word.starts_with('#') {
            return self.reply("221", &["+i"]);
        }
        let Some(open) = self.ready().roster.room(&room).map(|room| room.open) else {
            return self.reply("442", &[word, "you are not in this room"]);
        };
        match line.param(1) {
            "" if open => self.reply("324", &[word, "+n"]),
            "" => self.reply("324", &[word, "+nk"]),
            "b" | "+b" => self.reply("368", &[word, "end of the list of bans"]),
            _ => self.reply("482", &[word, "rooms have no modes"]),
        }
    }

    fn list(&mut self) {
        let rooms: Vec<(String, String, String)> = self
            .ready()
            .roster
            .rooms()
            .map(|(name, room)| {
                let about = match &room.fingerprint {
                    Some(words) => format!("a room with a key: {words}"),
                    None => "an open room".to_owned(),
                };
                (name.to_string(), (room.here.len() + 1).to_string(), about)
            })
            .collect();
        self.reply("321", &["Channel", "Users  Name"]);
        for (name, count, about) in rooms {
            self.reply("322", &[&name, &count, &about]);
        }
        self.reply("323", &["end of /LIST"]);
    }

    fn away(&mut self, text: &str) {
        let back = text.is_empty();
        let (text, _too_long) = cut(text, AWAY_BYTES_MAX);
        let request = SetStatus {
            text: without_codes(text),
            back,
        };
        self.ask(request, Then::Away(!back));
    }

    /// The node shows others that the user is away, or back.
    pub(super) fn away_is(&mut self, away: bool) {
        self.ready().away = away;
        match away {
            true => self.reply("306", &["you are marked as away"]),
            false => self.reply("305", &["you are no longer marked as away"]),
        }
    }

    pub(super) fn motd(&mut self) {
        self.reply("375", &["hobnob"]);
        for text in MOTD {
            self.reply("372", &[text]);
        }
        self.reply("376", &["end of /MOTD command"]);
    }

    fn lusers(&mut self) {
        let roster = &self.ready().roster;
        let here = roster
            .peers()
            .filter(|peer| roster.is_here(peer.peer.0))
            .count()
            + 1;
        let rooms = roster.rooms().count();
        self.reply(
            "251",
            &[&format!("{here} people are here, in {rooms} rooms")],
        );
    }

    fn userhost(&mut self, line: &Line) {
        let mut found = Vec::new();
        for word in line.params.iter().take(5) {
            let roster = &self.ready().roster;
            let me = roster.names().is_me(word).then(|| roster.me());
            if let Some(peer) = me.or(roster.names().peer(word)) {
                found.push(format!("{}=+{}@{SERVER}", roster.nick(peer), peer.short()));
            }
        }
        self.reply("302", &[&found.join(" ")]);
    }

    fn ison(&mut self, line: &Line) {
        let words = line.params.iter().flat_map(|param| param.split(' '));
        let roster = &self.ready().roster;
        let here = words.filter(|word| {
            let peer = roster.names().peer(word);
            roster.names().is_me(word) || peer.is_some_and(|peer| roster.is_here(peer))
        });
        let here: Vec<&str> = here.collect();
        let here = here.join(" ");
        self.reply("303", &[&here]);
    }
}

/// The text of a message to send. None for requests from client to client (CTCP), which go to
/// nobody: they would tell others about this user's client.
fn said(command: &str, text: &str) -> Option<String> {
    let Some(ctcp) = text.strip_prefix('\u{1}') else {
        return Some(without_codes(text));
    };
    let ctcp = ctcp.strip_suffix('\u{1}').unwrap_or(ctcp);
    let action = ctcp
        .strip_prefix("ACTION ")
        .filter(|_| command == "PRIVMSG");
    action.map(|action| format!("{ACTION}{}", without_codes(action)))
}

fn body(text: String) -> BodyFields {
    BodyFields {
        text: Some(text),
        ..BodyFields::default()
    }
}
