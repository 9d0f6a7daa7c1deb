//! What is typed: messages and commands.

use hobnob::protocol::text::visible;
use hobnob::protocol::{Body, RoomName};
use hobnob::{ConversationRef, DeliveryState};
use hobnob_control::wire::{
    AnyRequest, BroadcastMessage, Diagnose, HistoryFilter, JoinRoom, Kick, ListFiles, PartRoom,
    Resolve, SendMessage, SetNick, StatusLine, Text, Verify, WaitOptions, Why,
};

use super::{About, App, Conversation, Doing, Mode, Output, Tone};
use crate::shared::actions::help;
use crate::shared::chat_input::{self, Input as Typed};
use crate::shared::status;
use crate::shared::wording;
use crate::tui::window::{PageDirection, Window};

/// Own messages of which `/receipts` tells.
const RECEIPTS_SHOWN: usize = 3;

impl App {
    /// Enter was pressed.
    pub(super) fn enter(&mut self) {
        match chat_input::parse(self.editor.text()) {
            // What is wrong stays in the input, to be mended.
            Err(error) => self.note(Tone::Warning, error),
            Ok(typed) => {
                self.editor.take();
                self.carry_out(typed);
            }
        }
        self.show_newest();
    }

    /// Follows what is said from here on.
    pub(super) fn show_newest(&mut self) {
        self.found = None;
        if !self.window.follow() {
            let (request, filter) = self.window.begin(PageDirection::Newest);
            self.ask(filter, About::Page(request));
        }
    }

    fn carry_out(&mut self, typed: Typed) {
        match typed {
            Typed::Nothing => {}
            Typed::Say(text) => self.say(text),
            Typed::Msg(target, text) => {
                let body = Body::Text(text.clone()).into();
                self.ask(
                    SendMessage {
                        target: Text(target),
                        body,
                        options: WaitOptions::ON_DISK,
                    },
                    About::Told(text),
                );
            }
            Typed::Query(target) => self.ask(
                Resolve {
                    target: Text(target),
                },
                About::Query,
            ),
            Typed::Whois(target) => self.ask(
                Resolve {
                    target: Text(target),
                },
                About::Whois,
            ),
            Typed::Join(room) => self.ask(
                JoinRoom {
                    room: Text(room),
                    secret: None,
                },
                About::Join,
            ),
            Typed::Part(room) => self.part(room),
            Typed::ChangePolicy(change, target) => {
                self.ask(change.request(target), About::ChangePolicy(change))
            }
            Typed::Kick(target) => self.ask(
                Kick {
                    target: Text(target),
                },
                About::Kick,
            ),
            Typed::Verify(target, confirm) => {
                self.ask(
                    Verify {
                        target: Text(target),
                        confirm,
                    },
                    About::Verify(confirm),
                );
            }
            Typed::Why(target) => {
                self.note(Tone::Info, status::LOOKING);
                self.ask(
                    Why {
                        target: Text(target),
                    },
                    About::Diagnosis,
                );
            }
            Typed::Nick(nick) => self.ask(SetNick { nick: nick.clone() }, About::Nick(nick)),
            Typed::Search(words) => self.search(&words),
            Typed::History(limit) => {
                let filter = HistoryFilter {
                    limit: Some(limit),
                    ..HistoryFilter::default()
                };
                self.ask(filter, About::History);
            }
            Typed::Help(None) => self.mode = Mode::Help(0),
            Typed::Help(Some(action)) => {
                let line = format!("{}: {}", help::synopsis(action), help::purpose(action));
                self.note(Tone::Info, line);
            }
            Typed::Send(None, word) => self.offer(&word),
            Typed::Send(Some(to), word) => self.offer_to(to, &word),
            Typed::Accept(word) => self.accept(word.as_deref()),
            Typed::Decline(word) => self.decline(word.as_deref()),
            Typed::Clear => self.clear(),
            Typed::Quit => self.outputs.push_back(Output::Quit),
            Typed::Doctor => {
                self.of_status(status::overview)
                    .into_iter()
                    .for_each(|line| self.note(Tone::Info, line));
                self.ask(Diagnose {}, About::Diagnosis);
            }
            // Where one's own are is told only to who asks.
            Typed::Files => self.ask(ListFiles {}, About::FileList),
            Typed::Rooms | Typed::Names | Typed::Peers | Typed::Receipts | Typed::Id => {
                self.lines_of(&typed)
                    .into_iter()
                    .for_each(|line| self.note(Tone::Info, line));
            }
        }
    }

    /// What can be told from what is known here.
    fn lines_of(&self, typed: &Typed) -> Vec<String> {
        match typed {
            Typed::Rooms => self.people.rooms.values().map(wording::room).collect(),
            Typed::Names => vec![self.names_here()],
            Typed::Peers if self.people.peers.is_empty() => {
                vec![wording::NOBODY_MET.to_owned()]
            }
            Typed::Peers => {
                wording::peers(&self.people.peers.values().cloned().collect::<Vec<_>>())
            }
            Typed::Receipts => self.receipts(),
            Typed::Id => self.of_status(status::identity),
            Typed::Nothing
            | Typed::Say(_)
            | Typed::Msg(..)
            | Typed::Query(_)
            | Typed::Join(_)
            | Typed::Part(_)
            | Typed::Whois(_)
            | Typed::Nick(_)
            | Typed::ChangePolicy(..)
            | Typed::Kick(_)
            | Typed::Verify(..)
            | Typed::Why(_)
            | Typed::Doctor
            | Typed::Search(_)
            | Typed::History(_)
            | Typed::Send(..)
            | Typed::Files
            | Typed::Accept(_)
            | Typed::Decline(_)
            | Typed::Clear
            | Typed::Help(_)
            | Typed::Quit => vec![],
        }
    }

    fn say(&mut self, text: String) {
        let body = Body::Text(text.clone()).into();
        let request = match &self.conversation().of {
            ConversationRef::Room(room) => BroadcastMessage {
                room: Text(room.clone()),
                body,
                options: WaitOptions::ON_DISK,
            }
            .into(),
            ConversationRef::Direct(peer) => {
                let target = Text(hobnob::protocol::Target::Id(*peer));
                SendMessage {
                    target,
                    body,
                    options: WaitOptions::ON_DISK,
                }
                .into()
            }
        };
        self.say_pending(text, Doing::Saving, request);
    }

    /// Shows what was typed until the message is on disk.
    pub(super) fn say_pending(&mut self, text: String, doing: Doing, request: AnyRequest) {
        let conversation = self.conversation().of.clone();
        let number = self.outbox.add(conversation, text, doing);
        self.ask(request, About::Said(number));
        // Who answers has read what is above.
        self.conversations[self.current].first_unread = None;
    }

    fn part(&mut self, room: Option<RoomName>) {
        match room.map_or_else(|| self.conversation().of.clone(), ConversationRef::Room) {
            ConversationRef::Room(room) => self.ask(
                PartRoom {
                    room: Text(room.clone()),
                },
                About::Part(room),
            ),
            direct @ ConversationRef::Direct(_) => self.leave(&direct),
        }
    }

    fn clear(&mut self) {
        self.conversations[self.current].notes.clear();
        self.window.clear();
    }

    /// Opens a conversation, because the user asked for it.
    pub(super) fn open(&mut self, of: &ConversationRef) {
        let index = self.place(of);
        self.go_to(index);
    }

    /// Opens the conversation at this place of the list, if there is one.
    pub(super) fn go_to(&mut self, index: usize) {
        if index == self.current || index >= self.conversations.len() {
            return;
        }
        self.look();
        self.conversations[self.current].first_unread = None;
        self.conversations[self.current].draft = self.editor.text().to_owned();
        self.current = index;
        self.show_current();
    }

    /// Takes a conversation from the list because the user wants that.
    pub(super) fn leave(&mut self, of: &ConversationRef) {
        self.close(of);
        if self.conversation().of == *of {
            self.note(
                Tone::Warning,
                "there is no other conversation to show: /join ROOM, or /query TARGET",
            );
        }
    }

    /// Takes a conversation from the list. One always stays.
    pub(super) fn close(&mut self, of: &ConversationRef) {
        let Some(index) = self
            .conversations
            .iter()
            .position(|conversation| conversation.of == *of)
        else {
            return;
        };
        if self.conversations.len() == 1 {
            return;
        }
        self.conversations.remove(index);
        let was_open = index == self.current;
        if index < self.current || (was_open && self.current == self.conversations.len()) {
            self.current -= 1;
        }
        if was_open {
            self.show_current();
        }
    }

    fn show_current(&mut self) {
        let conversation: &mut Conversation = &mut self.conversations[self.current];
        (conversation.unread, conversation.loud) = (0, false);
        self.editor.set(std::mem::take(&mut conversation.draft));
        self.window = Window::new(conversation.of.clone(), self.window.requests());
        self.found = None;
        self.mode = Mode::Chat;
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
            self.people.names.of_conversation(&self.conversation().of),
            names.join(", ")
        )
    }

    fn of_status(&self, lines: impl Fn(&StatusLine) -> Vec<String>) -> Vec<String> {
        self.people
            .status
            .as_ref()
            .map_or_else(|| vec!["the node has not answered yet".to_owned()], lines)
    }

    fn receipts(&self) -> Vec<String> {
        let mine = self
            .window
            .entries()
            .iter()
            .rev()
            .filter_map(|entry| entry.message())
            .filter(|message| message.state.is_some());
        let lines: Vec<String> = mine
            .take(RECEIPTS_SHOWN)
            .map(|message| self.receipt_of(message))
            .collect();
        if lines.is_empty() {
            vec!["you have said nothing here yet".to_owned()]
        } else {
            lines.into_iter().rev().collect()
        }
    }

    fn receipt_of(&self, message: &hobnob_control::wire::MessageLine) -> String {
        let said = crate::tui::text::fit(&wording::body(&message.body), 30);
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
