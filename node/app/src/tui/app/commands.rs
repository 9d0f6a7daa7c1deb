//! Carries out what the user has typed: messages and commands. Parsing is in `shared::chat_input`.

use hobnob::protocol::invitation::InviteCode;
use hobnob::protocol::text::visible;
use hobnob::protocol::{Body, Nickname, PersonId, RoomName, RoomTarget, Target};
use hobnob::{ConversationRef, DeliveryState};
use hobnob_control::wire::{
    AcceptInvite, Base64, BroadcastMessage, CreateRoom, Diagnose, Done, GetRoomTicket, GetStatus,
    HistoryFilter, Introduce, Invite, JoinRoom, Kick, ListFiles, ListKeepTimes, ListNotifyRules,
    ListPeers, ListPins, ListRooms, PartRoom, Request, Resolve, Resolved, SendMessage, SentLine,
    SetNick, SetPicture, SharedRoom, StatusLine, Text, Verify, WaitOptions, Why,
};

use super::{App, Doing, Mode, NodeRequest, Output, Tone};
use crate::shared::actions::help;
use crate::shared::activity;
use crate::shared::alerting::{self, Notify};
use crate::shared::amending::{self, Amend, Which};
use crate::shared::chat_input::{self, Input as Typed};
use crate::shared::erasing::{self, Erase};
use crate::shared::pins;
use crate::shared::policy::{self, PolicyChange};
use crate::shared::receipts;
use crate::shared::values::ConversationArg;
use crate::shared::verification::{self, Syntax};
use crate::shared::{diagnosis, invitation, room_secrets, status, wording};
use crate::tui::text::fit;
use crate::tui::typed_commands::TypedCommand;

impl App {
    /// Enter was pressed.
    pub(super) fn enter(&mut self) {
        match chat_input::parse(self.composer.text()) {
            // What the user types next must not become a part of the wrong line.
            Err(error) => {
                self.composer.clear();
                self.note(Tone::Warning, format!("{error}; Up brings your line back"));
            }
            Ok(typed) => {
                if typed.may_be_stored() {
                    let (at, line) = (self.now, self.composer.text().to_owned());
                    let command = TypedCommand { at, line };
                    self.outputs.push_back(Output::SaveCommand(command));
                }
                self.composer.clear();
                self.carry_out(typed);
            }
        }
        self.show_newest();
    }

    fn carry_out(&mut self, typed: Typed) {
        match typed {
            Typed::Nothing => {}
            Typed::Say(text) => self.say(text),
            Typed::Msg(target, text) => self.say_to(target, text),
            Typed::Query(target) => self.resolve(target, |app, peer| {
                app.open(&ConversationRef::Direct(peer));
            }),
            Typed::Whois(target) => self.resolve(target, App::whois),
            Typed::Join(room, passphrase) => self.join(room, passphrase),
            Typed::CreateRoom(room) => self.create_room(room),
            Typed::RoomTicket(room) => self.room_ticket(room),
            Typed::Part(room) => self.part(room),
            Typed::Introduce(one, other) => self.introduce(one, other),
            Typed::Invite(room) => self.invite(room),
            Typed::AcceptInvite(code) => self.accept_invite(code),
            Typed::ChangePolicy(change, target) => self.change_policy(change, target),
            Typed::Kick(target) => self.kick(target),
            Typed::Verify(target, confirm) => self.verify(target, confirm),
            Typed::Why(target) => self.why(target),
            Typed::Doctor => self.diagnose(),
            Typed::Nick(nick) => self.set_nick(nick),
            Typed::Picture(None) => self.set_picture(None),
            Typed::Picture(Some(word)) => {
                let path = self.composer.path(&word);
                self.outputs.push_back(Output::ChoosePicture(path));
            }
            Typed::Search(words) => self.search(&words),
            Typed::History(limit) => self.list_history(limit),
            Typed::Mentions => self.ask(alerting::mentions(), App::take_mentions),
            Typed::Notify(notify) => self.notify(notify),
            Typed::KeepTimes => self.ask(ListKeepTimes {}, |app, list| {
                let lines = erasing::keep_times(&list, &app.people.names);
                app.note_lines(lines);
            }),
            Typed::Topic(topic) => self.topic(topic),
            Typed::Pins => self.list_pins(),
            Typed::Send(None, word) => self.offer(&word),
            Typed::Send(Some(to), word) => self.offer_to(to, &word),
            // Only this answer, and no event, says where own files are.
            Typed::Files => self.ask(ListFiles {}, App::take_file_list),
            Typed::Accept(word) => self.accept(word.as_deref()),
            Typed::Pause(word) => self.pause(word.as_deref()),
            Typed::Decline(word) => self.decline(word.as_deref()),
            Typed::Rooms => self.note_lines(self.list_of_rooms()),
            Typed::Names => self.note(Tone::Info, self.names_here()),
            Typed::Peers => self.ask(ListPeers { settle: false }, App::show_peers),
            Typed::Contacts => self.ask(ListPeers { settle: false }, App::take_contacts),
            Typed::Receipts => self.note_lines(self.receipts()),
            Typed::Id => self.note_lines(self.of_status(status::identity)),
            Typed::Help(None) => self.screen.set_mode(Mode::Help(0)),
            Typed::Help(Some(action)) => {
                let line = format!("{}: {}", help::synopsis(action), help::purpose(action));
                self.note(Tone::Info, line);
            }
            Typed::Cls => self.conversations.clear(),
            Typed::Status(away, text) => {
                self.ask(activity::status(away, text), move |app, _| {
                    app.note(Tone::Info, activity::done(away, "/back"));
                });
            }
            Typed::Amend(which, amend) => self.amend(which, amend),
            Typed::Erase(erase) => self.erase(erase),
            Typed::Quit => self.outputs.push_back(Output::Quit),
        }
    }

    /// Asks the node which peer a word names, and passes that peer on.
    fn resolve(&mut self, target: Target, then: fn(&mut App, PersonId)) {
        let target = Text(target);
        self.ask(Resolve { target }, move |app, Resolved { peer }| {
            then(app, peer.0);
        });
    }

    fn join(&mut self, room: RoomTarget, passphrase: Option<String>) {
        let request = JoinRoom {
            room: Text(room),
            secret: passphrase.map(|passphrase| Base64(passphrase.into_bytes())),
        };
        self.ask(request, App::take_join);
    }

    fn create_room(&mut self, room: RoomName) {
        let room = Text(room);
        self.ask(CreateRoom { room }, |app, shared: SharedRoom| {
            app.enter_room(shared.room.clone());
            app.note_lines(room_secrets::shared(&shared));
        });
    }

    /// Without a name: of the open conversation.
    fn room_ticket(&mut self, room: Option<RoomName>) {
        let current = self.conversations.current().of();
        let room = match (room, current) {
            (Some(room), _) => room,
            (None, ConversationRef::Room(room)) => room.clone(),
            (None, ConversationRef::Direct(_)) => {
                return self.note(Tone::Warning, "name a room: /room ticket ROOM");
            }
        };
        let room = Text(room);
        self.ask(GetRoomTicket { room }, |app, shared: SharedRoom| {
            app.note_lines(room_secrets::shared(&shared));
        });
    }

    fn introduce(&mut self, one: Target, other: Target) {
        let (target, other) = (Text(one), Text(other));
        self.ask(Introduce { target, other }, |app, Done {}| {
            app.note(Tone::Info, invitation::INTRODUCED);
        });
    }

    /// How the invitation ends is a notice.
    fn invite(&mut self, room: Option<RoomName>) {
        let room = room.map(Text);
        let request = Invite {
            room,
            share_relay: false,
        };
        self.ask(request, |app, created| {
            app.note_lines(invitation::created(&created));
        });
    }

    fn accept_invite(&mut self, code: InviteCode) {
        self.note(Tone::Info, invitation::LOOKING);
        let code = Text(code);
        self.ask(AcceptInvite { code }, |app, accepted| {
            let lines = invitation::accepted(&accepted);
            if let Some(room) = accepted.room {
                app.enter_room(room);
            }
            app.note_lines(lines);
        });
    }

    fn change_policy(&mut self, change: PolicyChange, target: Target) {
        self.ask(change.request(target), move |app, peer| {
            app.take_policy(change, &peer);
        });
    }

    /// `/reply`, `/edit`, `/react` and `/cancel`.
    fn amend(&mut self, which: Which, amend: Amend) {
        let shown = self.conversations.window().entries().iter().rev();
        let newest_first = shown
            .filter_map(|entry| entry.message())
            .map(|line| (line.id.0, line.state.is_some(), line));
        let id = match amend.choose(which, newest_first) {
            Ok(id) => id,
            Err(error) => return self.note(Tone::Warning, error),
        };
        let options = WaitOptions::ON_DISK;
        match amend {
            Amend::Reply(text) => {
                let request = amending::reply(id, text.clone(), options);
                self.say_pending(text, Doing::Saving, request);
            }
            // The event about the change shows it.
            Amend::Edit(text) => self.ask(amending::edit(id, text, options), |_, _| {}),
            Amend::React { emoji, off } => {
                self.ask(amending::react(id, emoji, off, options), |_, _| {});
            }
            // The pin is a message, which is shown.
            Amend::Pin { off } => self.ask(pins::pin(id, off, options), |_, _| {}),
            Amend::Cancel => self.ask(amending::cancel(id), |app, _| {
                app.note(Tone::Info, amending::CANCELLED);
            }),
        }
    }

    fn erase(&mut self, erase: Erase) {
        let done = erase.done();
        self.ask(erase.request(), move |app, _| app.note(Tone::Info, done));
    }

    /// `/topic`: of the open room.
    fn topic(&mut self, topic: Option<String>) {
        let ConversationRef::Room(room) = self.conversations.current().of() else {
            return self.note(Tone::Warning, pins::ONLY_ROOMS);
        };
        if let Some(topic) = topic {
            let request = pins::set_topic(room.clone(), topic, WaitOptions::ON_DISK);
            // The topic is a message, which is shown.
            return self.ask(request, |app, _| app.ask(ListRooms {}, App::take_rooms));
        }
        let known = self.people.rooms.get(room);
        if let Some(line) = known.map(|room| pins::topic(room, &self.people.names)) {
            self.note(Tone::Info, line);
        }
    }

    fn list_pins(&mut self) {
        let conversation = Text(self.conversations.current().of().clone());
        self.ask(ListPins { conversation }, |app, list| {
            let lines = pins::pins(&list, &app.people.names, pins::PIN_IN_CHAT);
            app.note_lines(lines);
        });
    }

    /// `/notify` and `/mute`.
    fn notify(&mut self, notify: Notify) {
        match notify {
            Notify::List => self.ask(ListNotifyRules {}, |app, list| {
                let lines = alerting::rules(&list, &app.people.names, "/notify");
                app.note_lines(lines);
            }),
            Notify::Set(of, rule) => {
                let open = || match self.conversations.current().of() {
                    ConversationRef::Room(room) => ConversationArg::Room(room.clone()),
                    ConversationRef::Direct(peer) => ConversationArg::Peer(Target::Id(*peer)),
                };
                let of = of.unwrap_or_else(open);
                self.ask(rule.request(of), move |app, Done {}| {
                    app.note(Tone::Info, rule.done());
                });
            }
        }
    }

    fn kick(&mut self, target: Target) {
        let target = Text(target);
        self.ask(Kick { target }, |app, kicked| {
            app.note(Tone::Info, policy::kicked(&kicked));
        });
    }

    fn verify(&mut self, target: Target, confirm: Option<bool>) {
        let target = Text(target);
        self.ask(Verify { target, confirm }, move |app, verification| {
            app.note_lines(verification::lines(&verification, confirm, &Syntax::CHAT));
        });
    }

    fn why(&mut self, target: Target) {
        self.note(Tone::Info, status::LOOKING);
        let target = Text(target);
        self.ask(Why { target }, |app, diagnosis| {
            app.note_lines(diagnosis::lines(&diagnosis));
        });
    }

    fn diagnose(&mut self) {
        self.note_lines(self.of_status(status::overview));
        self.ask(Diagnose {}, |app, diagnosis| {
            app.note_lines(diagnosis::lines(&diagnosis));
        });
    }

    fn set_nick(&mut self, nick: Nickname) {
        let request = SetNick { nick: nick.clone() };
        self.ask(request, move |app, Done {}| app.take_nick(&nick));
    }

    /// Sets the profile picture, or removes it.
    pub(super) fn set_picture(&mut self, file: Option<Vec<u8>>) {
        let done = policy::picture_set(file.is_some());
        let bytes = file.map(Base64);
        self.ask(SetPicture { bytes }, move |app, Done {}| {
            app.note(Tone::Info, done);
            app.ask(GetStatus {}, App::take_status);
        });
    }

    fn list_history(&mut self, limit: usize) {
        let filter = HistoryFilter {
            limit: Some(limit),
            ..HistoryFilter::default()
        };
        self.ask(filter, |app, list| app.take_history(&list));
    }

    fn list_of_rooms(&self) -> Vec<String> {
        self.people.rooms.values().map(wording::room).collect()
    }

    fn say(&mut self, text: String) {
        let body = Body::Text(text.clone()).into();
        let options = WaitOptions::ON_DISK;
        match self.conversations.current().of().clone() {
            ConversationRef::Room(room) => {
                let room = Text(room);
                self.say_pending(
                    text,
                    Doing::Saving,
                    BroadcastMessage {
                        client_id: None,
                        room,
                        body,
                        options,
                    },
                );
            }
            ConversationRef::Direct(peer) => {
                let target = Text(Target::Id(peer));
                self.say_pending(
                    text,
                    Doing::Saving,
                    SendMessage {
                        client_id: None,
                        target,
                        body,
                        options,
                    },
                );
            }
        }
    }

    fn say_to(&mut self, target: Target, text: String) {
        let request = SendMessage {
            client_id: None,
            target: Text(target),
            body: Body::Text(text.clone()).into(),
            options: WaitOptions::ON_DISK,
        };
        self.ask(request, move |app, sent| {
            app.take_said_elsewhere(&text, &sent);
        });
    }

    /// Sends a message and shows it as pending until it is on disk.
    pub(super) fn say_pending<R>(&mut self, text: String, doing: Doing, request: R)
    where
        R: Request<Answer = SentLine> + 'static,
    {
        let conversation = self.conversations.current().of().clone();
        let number = self.outbox.add(conversation, text, doing);
        self.requests.push_back(NodeRequest::with_cleanup(
            request,
            move |app, sent| app.take_said(number, &sent),
            move |app| app.outbox.remove(number),
        ));
        // A user who answers has read what is above.
        self.conversations.end_unread();
    }

    fn part(&mut self, room: Option<RoomName>) {
        match room.map_or_else(
            || self.conversations.current().of().clone(),
            ConversationRef::Room,
        ) {
            ConversationRef::Room(room) => {
                let request = PartRoom {
                    room: Text(room.clone()),
                };
                self.ask(request, move |app, Done {}| app.take_part(room));
            }
            direct @ ConversationRef::Direct(_) => self.leave(&direct),
        }
    }

    /// Removes a conversation from the list, as the user wants.
    pub(super) fn leave(&mut self, of: &ConversationRef) {
        self.close(of);
        if self.conversations.current().of() == of {
            self.note(
                Tone::Warning,
                "this is the only conversation, so it stays open: /join ROOM or /query TARGET opens another",
            );
        }
    }

    fn names_here(&self) -> String {
        let mut names: Vec<String> = self
            .people_here()
            .iter()
            .map(|peer| self.people.names.of(peer))
            .collect();
        names.sort();
        let me = self.people.status.as_ref().map_or_else(
            || "you".to_owned(),
            |status| format!("{} (you)", visible(status.nick.as_str())),
        );
        names.insert(0, me);
        format!(
            "in {}: {}",
            self.people
                .names
                .of_conversation(self.conversations.current().of()),
            names.join(", ")
        )
    }

    fn of_status(&self, lines: impl Fn(&StatusLine) -> Vec<String>) -> Vec<String> {
        let none = || vec!["the node has not answered yet: try again".to_owned()];
        self.people.status.as_ref().map_or_else(none, lines)
    }

    fn receipts(&self) -> Vec<String> {
        let shown = self.conversations.window().entries().iter().rev();
        let mine: Vec<_> = shown
            .filter_map(|entry| entry.message())
            .filter(|message| message.state.is_some())
            .take(receipts::RECEIPTS_SHOWN)
            .collect();
        let lines: Vec<String> = mine
            .iter()
            .enumerate()
            .map(|(place, message)| {
                let later = mine[..place].iter().copied();
                let readers = self.activity.readers().of(message, later);
                self.receipt_of(message) + &receipts::read_by(&readers, &self.people.names)
            })
            .collect();
        if lines.is_empty() {
            vec![receipts::NO_RECEIPTS.to_owned()]
        } else {
            lines.into_iter().rev().collect()
        }
    }

    fn receipt_of(&self, message: &hobnob_control::wire::MessageLine) -> String {
        let said = fit(&wording::body(&message.body), 30);
        let names = |peers: std::collections::BTreeSet<_>| {
            peers
                .iter()
                .map(|peer| self.people.names.of(peer))
                .collect::<Vec<_>>()
                .join(", ")
        };
        match self
            .outbox
            .deliveries
            .get(message.id.0)
            .map(|delivery| delivery.have_and_lack())
        {
            Some((have, lack)) if lack.is_empty() && !have.is_empty() => {
                format!("\"{said}\": delivered to {}", names(have))
            }
            Some((have, lack)) if !have.is_empty() => {
                format!(
                    "\"{said}\": delivered to {}; not yet to {}",
                    names(have),
                    names(lack)
                )
            }
            Some((_, lack)) if !lack.is_empty() => {
                format!("\"{said}\": not yet delivered to {}", names(lack))
            }
            Some(_) | None => format!(
                "\"{said}\": {}",
                message.state.map_or("", DeliveryState::as_str)
            ),
        }
    }
}
