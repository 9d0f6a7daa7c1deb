//! Carries out commands to the service `*hobnob`.

use std::path::PathBuf;

use hobnob::{ConversationRef, MessageId};
use hobnob_control::wire::{
    AcceptContact, AcceptFile, Block, CancelMessage, DeclineFile, DeleteMessage, EditMessage,
    FileLine, FileList, GetStatus, HistoryFilter, Ignore, JoinRoom, ListFiles, MessageList,
    OfferFile, PeerLine, ReactToMessage, RemoveContact, ReplyToMessage, StatusLine, Text, Time,
    Unblock, Unignore, Verification, Verify, WaitOptions,
};
use hobnob_local::output::size;
use hobnob_protocol::Target;
use serde_json::Value;

use super::{Session, Then};
use crate::face::read;
use crate::service::{self, COMMANDS, Command, PersonChange, ServiceAsk, Which};

/// Messages that one search shows.
const FOUND_MAX: usize = 20;

/// People that one answer lists.
const LISTED_MAX: usize = 100;

/// Files that one answer lists.
const FILES_MAX: usize = 30;

impl Session {
    /// Carries out a command to the service.
    pub(super) fn serve(&mut self, now: Time, text: &str) {
        match service::parse(text) {
            Ok(command) => self.carry_out(now, command),
            Err(why) => self.service(&why),
        }
    }

    fn asks(&mut self, request: impl Into<hobnob_control::wire::AnyRequest>, ask: ServiceAsk) {
        self.ask(request, Then::Service(ask));
    }

    fn carry_out(&mut self, now: Time, command: Command) {
        let done = |text: &str| ServiceAsk::Done(text.to_owned());
        match command {
            Command::Help => {
                for (name, takes, help) in COMMANDS {
                    self.service(format!("{name} {takes}").trim_end());
                    self.service(&format!("    {help}"));
                }
            }
            Command::Id => self.asks(GetStatus {}, ServiceAsk::Id),
            Command::Peers => self.list_people(|_| true, "nobody is known yet"),
            Command::Contacts => self.list_people(
                |peer| peer.policy.contact || peer.request > 0,
                "you have no contacts yet",
            ),
            Command::Files => self.asks(ListFiles {}, ServiceAsk::Files),
            Command::Person(change, nick) => self.change_person(change, &nick),
            Command::Accept(word) => self.file_command(&word, true),
            Command::Decline(word) => self.file_command(&word, false),
            Command::Send(to, path) => self.offer(&to, path),
            Command::Join(word) => match word.parse() {
                Ok(room) => {
                    let request = JoinRoom {
                        room: Text(room),
                        secret: None,
                    };
                    self.asks(request, done("you are in the room"));
                    self.ready().refresh.soon(now);
                }
                Err(error) => self.service(&format!("join: {error}")),
            },
            Command::Search(words) => {
                let request = HistoryFilter {
                    search: Some(words),
                    limit: Some(FOUND_MAX),
                    ..HistoryFilter::default()
                };
                self.asks(request, ServiceAsk::Found);
            }
            Command::Reply(which, text) => {
                if let Some(message) = self.which(which, false) {
                    let options = WaitOptions::ON_DISK;
                    let request = ReplyToMessage {
                        client_id: None,
                        message,
                        text,
                        options,
                    };
                    self.asks(request, done("answered"));
                }
            }
            Command::Edit(which, text) => {
                if let Some(message) = self.which(which, true) {
                    let options = WaitOptions::ON_DISK;
                    let request = EditMessage {
                        message,
                        text,
                        options,
                    };
                    self.asks(request, done("edited"));
                }
            }
            Command::React(which, emoji) => {
                if let Some(message) = self.which(which, false) {
                    let request = ReactToMessage {
                        message,
                        emoji,
                        off: false,
                        options: WaitOptions::ON_DISK,
                    };
                    self.asks(request, done("reacted"));
                }
            }
            Command::Delete(which) => {
                if let Some(message) = self.which(which, true) {
                    let request = DeleteMessage {
                        message,
                        here: false,
                        yes: false,
                    };
                    self.asks(request, done("deleted"));
                }
            }
            Command::Cancel(which) => {
                if let Some(message) = self.which(which, true) {
                    self.asks(CancelMessage { message }, done("cancelled"));
                }
            }
        }
    }

    /// The message that a command is about: the newest one is that of this user, or of others.
    fn which(&mut self, which: Which, own: bool) -> Option<Text<MessageId>> {
        let last = self.ready().last;
        let found = match which {
            Which::Id(id) => Some(id),
            Which::Last if own => last.1,
            Which::Last => last.0,
        };
        if found.is_none() {
            self.service("there is no such message in this session: give its id");
        }
        found.map(Text)
    }

    fn list_people(&mut self, listed: impl Fn(&PeerLine) -> bool, nobody: &str) {
        let roster = &self.ready().roster;
        let people = roster.peers().filter(|peer| listed(peer)).take(LISTED_MAX);
        let lines: Vec<String> = people
            .map(|peer| {
                let nick = roster.nick(peer.peer.0);
                let kind = match (&peer.policy, peer.request) {
                    (policy, _) if policy.blocked => "blocked".to_owned(),
                    (policy, _) if policy.verified => "contact, verified".to_owned(),
                    (policy, _) if policy.contact => "contact".to_owned(),
                    (_, 0) => "stranger".to_owned(),
                    (_, count) => format!("stranger, wrote {count} messages"),
                };
                format!("{nick}: {}, {kind}", peer.state.as_str())
            })
            .collect();
        if lines.is_empty() {
            self.service(nobody);
        }
        for line in lines {
            self.service(&line);
        }
    }

    fn change_person(&mut self, change: PersonChange, nick: &str) {
        let Some(peer) = self.ready().roster.names().peer(nick) else {
            return self.service(&format!("nobody called {nick} is known"));
        };
        let target = Text(Target::Id(peer));
        let done = |text: &str| ServiceAsk::Done(format!("{nick} {text}"));
        match change {
            PersonChange::Accept => {
                self.asks(AcceptContact { target }, ServiceAsk::Accepted(peer));
            }
            PersonChange::Remove => {
                self.asks(RemoveContact { target }, done("is a stranger again"));
            }
            PersonChange::Ignore => self.asks(Ignore { target }, done("is ignored")),
            PersonChange::Unignore => self.asks(Unignore { target }, done("is shown again")),
            PersonChange::Block => self.asks(Block { target }, done("is blocked")),
            PersonChange::Unblock => self.asks(Unblock { target }, done("is not blocked any more")),
            PersonChange::Verify => {
                let confirm = None;
                self.asks(Verify { target, confirm }, ServiceAsk::Safety);
            }
            PersonChange::Confirm => {
                let confirm = Some(true);
                self.asks(Verify { target, confirm }, done("is verified"));
            }
        }
    }

    fn file_command(&mut self, word: &str, accept: bool) {
        let number = word.parse().ok();
        let known = number.and_then(|number| self.ready().offers.by_number(number));
        match known {
            Some(offer) => self.decide(offer, accept),
            None => self.asks(ListFiles {}, ServiceAsk::Find(word.to_owned(), accept)),
        }
    }

    fn decide(&mut self, offer: MessageId, accept: bool) {
        let offer = Text(offer);
        match accept {
            true => self.asks(
                AcceptFile { offer },
                ServiceAsk::Done("accepted".to_owned()),
            ),
            false => self.asks(
                DeclineFile { offer },
                ServiceAsk::Done("declined".to_owned()),
            ),
        }
    }

    fn offer(&mut self, to: &str, path: String) {
        let Some(conversation) = self.known_conversation(to) else {
            return;
        };
        let path = PathBuf::from(path);
        if !path.is_absolute() {
            return self.service("send: give the whole path of the file, which begins with /");
        }
        let request = OfferFile::new(conversation, path);
        self.asks(request, ServiceAsk::Done("offered".to_owned()));
    }

    /// Says what the node has answered to a command.
    pub(super) fn service_answered(
        &mut self,
        now: Time,
        ask: ServiceAsk,
        value: Value,
    ) -> Result<(), serde_json::Error> {
        match ask {
            ServiceAsk::Done(text) => {
                self.ready().refresh.soon(now);
                self.service(&text);
            }
            ServiceAsk::Accepted(peer) => {
                let nick = self.ready().roster.nick(peer).to_owned();
                self.service(&format!("{nick} is a contact"));
                self.replay_peer(peer);
            }
            ServiceAsk::Id => {
                let status: StatusLine = read(value)?;
                self.service(&format!("your id: {}", status.peer.0));
                self.service(&format!("your ticket: {}", status.ticket));
            }
            ServiceAsk::Files => {
                let FileList { files } = read(value)?;
                self.list_files(&files);
            }
            ServiceAsk::Find(word, accept) => {
                let FileList { files } = read(value)?;
                let fits = |file: &&FileLine| {
                    file.offer.name == word || file.id.0.to_string().starts_with(&word)
                };
                match files.iter().rev().find(fits).map(|file| file.id.0) {
                    Some(offer) => self.decide(offer, accept),
                    None => self.service(&format!("there is no file {word}: try files")),
                }
            }
            ServiceAsk::Found => {
                let list: MessageList = read(value)?;
                self.show_found(&list);
            }
            ServiceAsk::Safety => {
                let safety: Verification = read(value)?;
                self.service(&format!("safety number: {}", safety.safety_number));
                self.service("If the other side sees the same digits: verify NICK confirm");
            }
        }
        Ok(())
    }

    fn list_files(&mut self, files: &[FileLine]) {
        if files.is_empty() {
            self.service("nobody has offered a file yet");
        }
        for file in &files[files.len().saturating_sub(FILES_MAX)..] {
            let chat = self.ready();
            let number = chat.offers.number(file.id.0);
            let name = hobnob_protocol::text::visible(&file.offer.name).into_owned();
            let from = match file.own {
                true => "you".to_owned(),
                false => chat.roster.nick(file.from.0).to_owned(),
            };
            let (size, state) = (size(file.offer.size), file.state.as_str());
            self.service(&format!("{number} {name}, {size}, of {from}: {state}"));
        }
    }

    fn show_found(&mut self, list: &MessageList) {
        if list.messages.is_empty() {
            self.service("no message has these words");
        }
        for message in &list.messages {
            let Some(text) = &message.body.text else {
                continue;
            };
            let time = message.received_at.timestamp().strftime("%Y-%m-%d %H:%M");
            let place = match &message.conversation.0 {
                ConversationRef::Room(room) => room.to_string(),
                ConversationRef::Direct(peer) => self.ready().roster.nick(*peer).to_owned(),
            };
            let nick = self.ready().roster.nick(message.from.0).to_owned();
            let line = format!("{time} {place} <{nick}> {text}");
            self.service(&line);
        }
    }
}
