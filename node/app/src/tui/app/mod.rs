//! The chat as a pure state machine: keys, events and answers go in; requests, bells and what to
//! draw come out. It reads no clock and does no I/O, so every state of the screen can be made in a
//! test.

mod alerts;
mod answers;
mod commands;
mod conversation;
mod events;
mod files;
mod io;
mod keys;
mod outbox;
mod people;
mod previews;
mod reading;
mod search;

use std::collections::VecDeque;

use hobnob::protocol::PeerId;
use hobnob::{ConversationRef, MessageId};
use hobnob_control::wire::{AnyRequest, GetStatus, ListFiles, ListPeers, ListRooms, Time};
use jiff::tz::TimeZone;

use super::completion::Completion;
use super::editor::Editor;
use super::layout::{Layout, ShownSidebars};
use super::previews::Previews;
use super::theme::Theme;
use super::timeline::{Note, Tone};
use super::transfers::Transfers;
use super::window::Window;
use crate::shared::settings::ScreenSettings;
use crate::shared::typed_path::Places;

pub(super) use conversation::Conversation;
pub(super) use io::{About, Input, Output, Start};
pub(super) use keys::KEYS;
pub(super) use outbox::{Doing, Pending};
pub(super) use search::Search;

use alerts::Alerts;
use outbox::Outbox;
use people::People;
use reading::Reading;

/// After a peer came or went, how long until it is asked who is in which room: a session takes a
/// moment to prove its rooms.
const LOOK_SOON_MS: u64 = 300;

/// How often the node is asked for its rooms and its status in any case.
const LOOK_EVERY_MS: u64 = 10_000;

/// Known peers that are asked about at the start, whether there is a conversation with them.
const TALKED_MAX: usize = 256;

/// What the keys act on.
#[derive(Debug)]
pub(super) enum Mode {
    Chat,
    Search(Search),
    /// The keys and commands, scrolled down by so many rows.
    Help(usize),
}

/// Something to say above the input.
#[derive(Debug)]
pub(super) enum Hint {
    /// These words.
    Words(&'static str),
    /// So many lines were pasted.
    Pasted(usize),
}

/// The state of the chat.
#[derive(Debug)]
pub(super) struct App {
    pub(super) theme: Theme,
    pub(super) zone: TimeZone,
    pub(super) now: Time,
    pub(super) size: (u16, u16),
    pub(super) sidebars: ShownSidebars,
    pub(super) mode: Mode,
    pub(super) people: People,
    pub(super) conversations: Vec<Conversation>,
    pub(super) current: usize,
    /// Of the current conversation.
    pub(super) window: Window,
    pub(super) editor: Editor,
    pub(super) outbox: Outbox,
    pub(super) files: Transfers,
    pub(super) previews: Previews,
    /// The message that a search led to.
    pub(super) found: Option<MessageId>,
    pub(super) mouse: bool,
    settings: ScreenSettings,
    /// Something to say above the input until the next key.
    pub(super) hint: Option<Hint>,
    /// Counts ticks, for what turns.
    pub(super) turn: usize,
    /// Where paths begin that are typed.
    places: Places,
    completion: Option<Completion>,
    /// Alt-j was pressed, and perhaps the first digit.
    jump: Option<Option<usize>>,
    focused: bool,
    connected: bool,
    look_at: Time,
    alerts: Alerts,
    interrupted_at: Time,
    reading: Reading,
    /// Measures the entries of the window in rows of the screen.
    row_heights: fn(&App) -> Vec<usize>,
    outputs: VecDeque<Output>,
    dirty: bool,
}

impl App {
    /// Opens on a room.
    pub(super) fn new(start: Start, size: (u16, u16), now: Time) -> App {
        let Start {
            room,
            theme,
            zone,
            seen,
            places,
            settings,
            row_heights,
        } = start;
        // The terminal leaves the mouse to itself until it is told.
        let outputs = if settings.mouse {
            VecDeque::from([Output::CaptureMouse(true)])
        } else {
            VecDeque::new()
        };
        let lobby = ConversationRef::Room(room);
        App {
            theme,
            zone,
            now,
            size,
            sidebars: ShownSidebars::of(settings.sidebars),
            mode: Mode::Chat,
            people: People::default(),
            conversations: vec![Conversation::new(lobby.clone())],
            current: 0,
            window: Window::new(lobby, 0),
            editor: Editor::default(),
            outbox: Outbox::default(),
            files: Transfers::default(),
            previews: Previews::default(),
            found: None,
            mouse: settings.mouse,
            alerts: Alerts::new(&settings),
            settings,
            hint: None,
            turn: 0,
            places,
            completion: None,
            jump: None,
            focused: true,
            connected: false,
            look_at: now,
            interrupted_at: Time(0),
            reading: Reading::new(seen, now),
            row_heights,
            outputs,
            dirty: true,
        }
    }

    /// Takes what happened at `now`.
    pub(super) fn handle(&mut self, now: Time, input: Input) {
        self.now = now;
        // That time has passed is seen only where something turns.
        self.dirty |= !matches!(input, Input::Tick);
        self.take(input);
        self.read_pages();
        self.want_preview();
    }

    /// What is to be done next.
    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether the screen is to be drawn, once.
    pub(super) fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.dirty)
    }

    /// Whether it has changed since.
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Whether something that was typed here is not yet with everybody it is for.
    pub(super) fn has_undelivered(&self) -> bool {
        self.outbox.has_undelivered()
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Key(key) => self.key(key),
            Input::Paste(text) => self.paste(&text),
            Input::Wheel(up) => self.wheel(up),
            Input::Resize(columns, rows) => self.size = (columns, rows),
            Input::Focus(focused) => self.focus(focused),
            Input::Attached => self.attached(),
            Input::NodeGone => self.node_gone(),
            Input::Event(event) => self.event(event),
            Input::Answer(about, outcome) => self.answer(about, outcome),
            Input::Names {
                folder,
                names,
                typed,
                forth,
            } => self.take_names(&folder, &names, &typed, forth),
            Input::Pictured(wanted, picture) => self.previews.made(wanted, picture),
            Input::Cells => self.previews.forget(),
            Input::Tick => self.tick(),
        }
    }

    fn attached(&mut self) {
        self.connected = true;
        for (command, about) in [
            (AnyRequest::from(GetStatus {}), About::Status),
            (ListPeers { settle: false }.into(), About::Peers),
            (ListRooms {}.into(), About::Rooms),
            (ListFiles {}.into(), About::Files),
        ] {
            self.ask(command, about);
        }
        self.look_at = Time(self.now.0 + LOOK_EVERY_MS);
        // Whatever was asked of the last node is answered by nobody.
        if self.outbox.abandon() {
            self.note(
                Tone::Warning,
                "whether what you typed last was sent is not known: it is shown here if it was",
            );
        }
        let (of, requests) = (self.conversation().of.clone(), self.window.requests());
        self.window = Window::new(of, requests);
    }

    fn node_gone(&mut self) {
        self.connected = false;
        self.outputs
            .retain(|output| !matches!(output, Output::Ask(..)));
        self.note(
            Tone::Warning,
            "the node that this chat used has ended: going on with another",
        );
    }

    fn tick(&mut self) {
        self.turn += 1;
        self.dirty |= self.is_looking() || self.may_come_to_rest();
        if self.reading.is_due(self.now) {
            self.remember();
        }
        if self.connected && self.now >= self.look_at {
            self.look_at = Time(self.now.0 + LOOK_EVERY_MS);
            self.ask(ListRooms {}, About::Rooms);
            self.ask(GetStatus {}, About::Status);
        }
    }

    /// What is on the screen is read, if somebody looks at it.
    fn look(&mut self) {
        if let Some(last) = self.window.newest_shown().filter(|_| self.focused) {
            let of = self.conversation().of.clone();
            self.reading.mark(of, last);
        }
    }

    /// Has it kept what was read, if that has changed.
    pub(super) fn remember(&mut self) {
        self.look();
        if let Some(seen) = self.reading.take_changes() {
            self.outputs.push_back(Output::Remember(seen));
        }
    }

    /// Whether the screen shows that people are being looked for.
    pub(super) fn is_looking(&self) -> bool {
        self.is_new_here() && self.people.online().next().is_none()
    }

    /// Whether there is nothing to show but what to do next.
    pub(super) fn is_new_here(&self) -> bool {
        self.window.has_no_messages()
            && self.my_pending().next().is_none()
            && matches!(self.mode, Mode::Chat)
    }

    pub(super) fn conversation(&self) -> &Conversation {
        &self.conversations[self.current]
    }

    /// Messages on their way to the disk, in the conversation that is open.
    pub(super) fn my_pending(&self) -> impl Iterator<Item = &Pending> {
        self.outbox.pending_in(&self.conversation().of)
    }

    /// The people of the conversation that is open, without us.
    pub(super) fn people_here(&self) -> Vec<PeerId> {
        self.people.in_conversation(&self.conversation().of)
    }

    pub(super) fn layout(&self) -> Layout {
        Layout::of(
            self.size,
            self.sidebars,
            self.editor.text(),
            self.transfers().len(),
        )
    }

    fn ask(&mut self, request: impl Into<AnyRequest>, about: About) {
        self.outputs.push_back(Output::Ask(request.into(), about));
    }

    /// Says something in the conversation that is open.
    fn note(&mut self, tone: Tone, text: impl Into<String>) {
        self.note_in(self.current, tone, text.into());
    }

    fn note_in(&mut self, index: usize, tone: Tone, text: String) {
        let note = Note {
            at: self.now,
            tone,
            text,
        };
        self.conversations[index].remember(note.clone());
        if index == self.current {
            self.window.note(note);
        }
    }

    /// Asks for the messages that the screen needs and that are not here.
    fn read_pages(&mut self) {
        if !self.connected {
            return;
        }
        let rows = self.layout().rows();
        if let Some((request, filter)) = self.window.ask(rows) {
            self.ask(filter, About::Page(request));
        }
    }

    fn scroll(&mut self, up: bool, by: usize) {
        let rows = self.layout().rows();
        let heights = (self.row_heights)(self);
        if up {
            self.window.up(by, rows, |index| heights[index]);
        } else {
            self.window.down(by, rows, |index| heights[index]);
        }
    }
}
