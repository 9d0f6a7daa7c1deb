//! The state of the chat: keys, events and answers go in; requests and other outputs come out.
//!
//! [`App`] owns the parts and passes each input to the part that it concerns. Each part has a file
//! here. Nothing here draws: `view` imports this module, and never the reverse. Nothing here reads
//! a clock or does I/O either, so a test can produce every state of the screen.

mod activity;
mod alerts;
mod answers;
mod commands;
mod completion;
mod composer;
mod conversation;
mod conversations;
mod deliveries;
mod earlier_lines;
mod editor;
mod emoji;
mod entries;
mod events;
mod file_commands;
mod io;
mod key_actions;
mod keys;
mod link_actions;
mod links;
mod node_request;
mod outbox;
mod pages;
mod path_completion;
mod people;
mod polling;
mod portraits;
mod previews;
mod reading;
mod screen;
mod search;
mod searching;
mod timeline;
mod transfers;
mod window;

use std::collections::{BTreeSet, VecDeque};

use hobnob::ConversationRef;
use hobnob::protocol::PersonId;
use hobnob_control::wire::{
    GetStatus, ListActivity, ListFiles, ListPeers, ListRooms, MarkRead, MessageLine, Request, Time,
};

use super::layout::{self, Layout};
use super::picture::Picture;
use super::typed_commands::TypedCommand;
use crate::shared::strangers::Strangers;
use crate::shared::wording;

pub(super) use composer::{FolderLookup, Pasted};
pub(super) use conversation::Conversation;
pub(super) use editor::Editor;
pub(super) use io::{Input, Output, Start};
pub(super) use keys::KEYS;
pub(super) use links::{Link, Links};
pub(super) use node_request::{AnswerHandler, NodeRequest, Outcome};
pub(super) use outbox::{Doing, Pending};
pub(super) use portraits::{PORTRAITS_MAX, SIZE as PORTRAIT_SIZE, WantedPortrait};
pub(super) use previews::{PICTURES_MAX, Wanted};
pub(super) use screen::{Hint, Mode};
pub(super) use search::Search;
pub(super) use timeline::{Entry, EntryContent, Note, Tone};
pub(super) use transfers::Transfer;

use activity::Activity;
use alerts::Alerts;
use composer::Composer;
use conversations::Conversations;
use io::RowHeights;
use keys::Keys;
use outbox::Outbox;
use pages::PageRequest;
use people::People;
use polling::Polling;
use portraits::Portraits;
use previews::Previews;
use reading::Reading;
use screen::Screen;
use transfers::Transfers;

/// The newest messages whose authors learn that the user has read them. Older ones are older news.
const READ_MAX: usize = 200;

/// The state of the chat.
pub(super) struct App {
    now: Time,
    pub(super) conversations: Conversations,
    pub(super) people: People,
    pub(super) strangers: Strangers,
    pub(super) outbox: Outbox,
    pub(super) activity: Activity,
    pub(super) files: Transfers,
    previews: Previews,
    portraits: Portraits,
    reading: Reading,
    alerts: Alerts,
    pub(super) composer: Composer,
    /// The commands of earlier chats, until the messages that were typed between them are known.
    earlier_commands: Option<Vec<TypedCommand>>,
    pub(super) keys: Keys,
    pub(super) screen: Screen,
    polling: Polling,
    row_heights: RowHeights,
    requests: VecDeque<NodeRequest>,
    outputs: VecDeque<Output>,
}

impl App {
    /// A chat that opens on a room. `size`: the columns and rows of the terminal.
    pub(super) fn new(start: Start, size: (u16, u16), now: Time) -> App {
        let Start {
            room,
            read,
            commands,
            places,
            settings,
            row_heights,
        } = start;
        // A terminal does not send the mouse to programs by default.
        let outputs = settings.mouse.then_some(Output::CaptureMouse(true));
        App {
            now,
            conversations: Conversations::new(ConversationRef::Room(room)),
            people: People::default(),
            strangers: Strangers::default(),
            outbox: Outbox::default(),
            activity: Activity::default(),
            files: Transfers::default(),
            previews: Previews::new(settings.previews),
            portraits: Portraits::new(settings.previews),
            reading: Reading::new(read, now),
            alerts: Alerts::new(&settings),
            composer: Composer::new(places),
            earlier_commands: Some(commands),
            keys: Keys::new(settings.keys.clone()),
            screen: Screen::new(&settings, size),
            polling: Polling::new(now),
            row_heights,
            requests: VecDeque::new(),
            outputs: outputs.into_iter().collect(),
        }
    }

    /// Takes an input that happened at `now`.
    pub(super) fn handle(&mut self, now: Time, input: Input) {
        self.now = now;
        // A tick alone changes the screen only where something moves: see `tick`.
        if !matches!(input, Input::Tick) {
            self.screen.mark_dirty();
        }
        self.dispatch(input);
        // Any input may have moved the window to messages that are not in memory, or to pictures
        // that are not made.
        self.read_next_page();
        self.make_next_picture();
    }

    /// The next output for the event loop.
    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next request to send to the node. Its answer comes back as [`Input::Answer`].
    pub(super) fn poll_request(&mut self) -> Option<NodeRequest> {
        self.requests.pop_front()
    }

    /// Whether something has changed since the last drawing.
    pub(super) fn is_dirty(&self) -> bool {
        self.screen.is_dirty()
    }

    /// The screen is drawn now.
    pub(super) fn mark_drawn(&mut self) {
        self.screen.mark_drawn();
    }

    /// Whether some message that was typed here has not reached all its recipients.
    pub(super) fn has_undelivered(&self) -> bool {
        self.outbox.has_undelivered()
    }

    fn dispatch(&mut self, input: Input) {
        match input {
            Input::Key(key) => self.key(key),
            Input::Paste(text) => self.paste(&text),
            Input::Wheel(up) => self.wheel(up),
            Input::Resize(columns, rows) => self.screen.resize((columns, rows)),
            Input::Focus(is_focused) => self.focus(is_focused),
            Input::Attached => self.attached(),
            Input::NodeGone => self.node_gone(),
            Input::NoNode => self.note(Tone::Warning, wording::NODE_ENDED),
            Input::Event(event) => self.event(event),
            Input::Answer(handler, outcome) => handler.handle(self, outcome),
            Input::FolderNames(lookup, names) => self.composer.take_names(&lookup, &names),
            Input::PictureMade(wanted, picture) => self.previews.made(wanted, picture),
            Input::PortraitMade(wanted, picture) => self.portraits.made(wanted, picture),
            Input::PictureChosen(Ok(file)) => self.set_picture(Some(file)),
            Input::PictureChosen(Err(why)) => self.note(Tone::Warning, why),
            Input::CellsResized => {
                self.previews.forget();
                self.portraits.forget();
            }
            Input::LinkFailed(why) => self.link_failed(&why),
            Input::Tick => self.tick(),
        }
    }

    fn attached(&mut self) {
        self.ask(GetStatus {}, App::take_status);
        self.ask(ListPeers { settle: false }, App::take_peers);
        self.ask(ListRooms {}, App::take_rooms);
        self.ask(ListFiles {}, App::take_files);
        self.ask(ListActivity {}, |app, list| {
            let lines = list.activity.iter();
            lines.for_each(|line| app.activity.take(app.now, line));
        });
        self.ask_earlier_lines();
        self.activity.restart();
        self.polling.attached(self.now);
        // Nobody answers the requests to the node before.
        if self.outbox.abandon() {
            self.note(
                Tone::Warning,
                "it is not known whether your last message was sent: if it does not appear here, \
                 send it again",
            );
        }
        self.conversations.restart();
    }

    fn node_gone(&mut self) {
        self.polling.detached();
        self.requests.clear();
    }

    fn tick(&mut self) {
        self.screen.tick();
        let of = self.conversations.current().of();
        // The spinner turns, or a transfer may have stalled.
        if self.is_looking() || self.files.any_moves(of) {
            self.screen.mark_dirty();
        }
        if self.activity.expire(self.now) {
            self.screen.mark_dirty();
        }
        if self.reading.is_due(self.now) {
            self.save_read();
        } else {
            self.mark_read();
        }
        if self.polling.take_due(self.now) {
            self.ask(ListRooms {}, App::take_rooms);
            self.ask(GetStatus {}, App::take_status);
        }
    }

    /// Marks the messages on the screen as read, if somebody may be looking.
    fn mark_read(&mut self) {
        if !self.screen.is_focused() {
            return;
        }
        if let Some(last) = self.conversations.window().newest_shown() {
            if self.activity.looks_at(last) {
                self.show_read();
            }
            let of = self.conversations.current().of().clone();
            self.reading.mark(of, last);
        }
    }

    /// The authors of the newest messages learn that the user has read them.
    fn show_read(&mut self) {
        let me = self.people.status.as_ref().map(|status| status.peer.0);
        let shown = self.conversations.window().entries().iter().rev();
        let messages = shown.filter_map(Entry::message).take(READ_MAX);
        let mut authors = BTreeSet::from_iter(me);
        let newest = messages.filter(|message| authors.insert(message.from.0));
        let newest: Vec<_> = newest.map(|message| message.id).collect();
        for message in newest {
            if self.polling.is_attached() && self.activity.has_read(message.0) {
                self.ask(MarkRead { message }, |_, _| {});
            }
        }
    }

    /// Saves what the user has read, if that has changed.
    pub(super) fn save_read(&mut self) {
        self.mark_read();
        if let Some(read) = self.reading.take_changes() {
            self.outputs.push_back(Output::SaveRead(read));
        }
    }

    /// Whether the screen says that it is looking for people.
    pub(super) fn is_looking(&self) -> bool {
        self.is_new_here() && self.people.online().next().is_none()
    }

    /// Whether the open conversation has no messages, so that the screen has room for a welcome.
    pub(super) fn is_new_here(&self) -> bool {
        self.conversations.window().has_no_messages()
            && self.pending_here().next().is_none()
            && matches!(self.screen.mode(), Mode::Chat)
    }

    /// The messages of the open conversation that are not on disk yet.
    pub(super) fn pending_here(&self) -> impl Iterator<Item = &Pending> {
        self.outbox.pending_in(self.conversations.current().of())
    }

    /// The other people of the open conversation.
    pub(super) fn people_here(&self) -> Vec<PersonId> {
        self.people
            .in_conversation(self.conversations.current().of())
    }

    /// The transfers in progress in the open conversation.
    pub(super) fn transfers_here(&self) -> Vec<Transfer<'_>> {
        self.files
            .transfers(self.now, self.conversations.current().of())
    }

    /// The state of a file in words.
    pub(super) fn file_state(&self, file: &transfers::File) -> String {
        file.state(self.now, &self.people.names)
    }

    /// The picture that a message offers, if it is made and may be shown.
    pub(super) fn preview(&self, message: &MessageLine) -> Option<&Picture> {
        self.previews.shown(message, &self.files, &self.people)
    }

    /// The profile picture of a peer, if it is made.
    pub(super) fn portrait(&self, peer: PersonId) -> Option<&Picture> {
        self.portraits.of(peer)
    }

    pub(super) fn layout(&self) -> Layout {
        Layout::of(
            self.screen.size(),
            self.screen.sidebars(),
            self.composer.text(),
            self.transfers_here().len(),
        )
    }

    /// Sends a request to the node. `take` receives its answer.
    fn ask<R: Request + 'static>(
        &mut self,
        request: R,
        take: impl FnOnce(&mut App, R::Answer) + Send + 'static,
    ) {
        self.requests.push_back(NodeRequest::new(request, take));
    }

    /// Asks for a page of the open conversation.
    fn ask_page(&mut self, PageRequest { number, filter }: PageRequest) {
        self.requests.push_back(NodeRequest::with_cleanup(
            filter,
            move |app, list| app.take_page(number, list),
            move |app| app.conversations.page_failed(number),
        ));
    }

    fn read_next_page(&mut self) {
        if !self.polling.is_attached() {
            return;
        }
        let rows = self.layout().rows();
        if let Some(page) = self.conversations.next_page(rows) {
            self.ask_page(page);
        }
    }

    fn make_next_picture(&mut self) {
        let window = self.conversations.window();
        let below = window.scroll().map_or(0, |scroll| scroll.below);
        let screen_rows = self.screen.size().1;
        // A screen holds at most as many messages as it has rows; another screenful is prepared.
        let near = window
            .entries()
            .iter()
            .rev()
            .skip(below)
            .take(2 * usize::from(screen_rows))
            .filter_map(Entry::message);
        let text_columns = layout::text_columns(usize::from(self.layout().body.width));
        let room = previews::room(text_columns, screen_rows);
        if let Some((wanted, path)) = self.previews.next(near, room, &self.files, &self.people) {
            self.outputs.push_back(Output::MakePicture { wanted, path });
        }
    }

    /// Writes a note into the open conversation.
    fn note(&mut self, tone: Tone, text: impl Into<String>) {
        self.note_in(self.conversations.current_index(), tone, text.into());
    }

    fn note_lines(&mut self, lines: Vec<String>) {
        for line in lines {
            self.note(Tone::Info, line);
        }
    }

    fn note_in(&mut self, index: usize, tone: Tone, text: String) {
        let note = Note {
            at: self.now,
            tone,
            text,
            portrait: None,
        };
        self.conversations.note(index, note);
    }

    /// Opens a conversation, which joins the list if it is new.
    fn open(&mut self, of: &ConversationRef) {
        let index = self.conversations.add(of);
        self.go_to(index);
    }

    /// Opens the conversation with this index, if there is one.
    fn go_to(&mut self, index: usize) {
        self.mark_read();
        let draft = self.conversations.go_to(index, self.composer.text());
        self.show_opened(draft);
    }

    /// Removes a conversation from the list, unless it is the only one.
    fn close(&mut self, of: &ConversationRef) {
        let draft = self.conversations.close(of);
        self.show_opened(draft);
    }

    /// Another conversation is open now, if there is a draft.
    fn show_opened(&mut self, draft: Option<String>) {
        if let Some(draft) = draft {
            self.composer.set_draft(draft);
            self.screen.set_mode(Mode::Chat);
        }
    }

    /// Scrolls to the newest messages and follows new ones.
    fn show_newest(&mut self) {
        if let Some(page) = self.conversations.follow() {
            self.ask_page(page);
        }
    }

    fn scroll(&mut self, up: bool, by: usize) {
        let rows = self.layout().rows();
        let heights = (self.row_heights)(self);
        self.conversations.scroll(up, by, rows, &heights);
    }
}
