//! The chat as a pure state machine: keys, events and answers go in; requests, bells and what to
//! draw come out. It reads no clock and does no I/O, so every state of the screen can be made in a
//! test.

mod answers;
mod commands;
mod conversation;
mod events;
mod files;
mod io;
mod keys;
mod previews;
mod search;

use std::collections::{BTreeMap, VecDeque};

use hobnob::protocol::{PeerId, RoomName};
use hobnob::{ConversationRef, MessageId, PeerState};
use hobnob_control::wire::{
    AnyRequest, GetStatus, ListFiles, ListPeers, ListRooms, MessageLine, PeerLine, RoomLine,
    StatusLine, Time,
};
use jiff::tz::TimeZone;

use super::completion::Completion;
use super::deliveries::Deliveries;
use super::editor::Editor;
use super::layout::Layout;
use super::previews::Previews;
use super::read_markers::ReadMarkers;
use super::theme::Theme;
use super::timeline::{Note, Tone};
use super::transfers::Transfers;
use super::view::rows;
use super::window::Window;
use crate::shared::settings::{ScreenSettings, Sidebars};
use crate::shared::typed_path::Places;
use crate::shared::wording::Names;

pub(super) use conversation::Conversation;
pub(super) use io::{About, Input, Output, Start};
pub(super) use keys::KEYS;
pub(super) use search::Search;

/// After a peer came or went, how long until it is asked who is in which room: a session takes a
/// moment to prove its rooms.
const LOOK_SOON_MS: u64 = 300;

/// And how often it is asked anyway.
const LOOK_EVERY_MS: u64 = 10_000;

/// How often it is kept what was read.
const KEEP_EVERY_MS: u64 = 5_000;

/// Between two bells.
const RING_EVERY_MS: u64 = 2_000;

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

/// A message that the node has not yet confirmed to be on disk.
#[derive(Debug)]
pub(super) struct Pending {
    number: u64,
    pub(super) conversation: ConversationRef,
    pub(super) text: String,
    pub(super) doing: Doing,
    /// Known once the answer has come, before the message itself has.
    id: Option<MessageId>,
}

/// Something to say above the input.
#[derive(Debug)]
pub(super) enum Hint {
    /// These words.
    Words(&'static str),
    /// So many lines were pasted.
    Pasted(usize),
}

/// What a message waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// It is being written to the disk.
    Saving,
    /// The file that it offers is being read.
    Reading,
}

/// What can be folded away; none means as the width of the screen allows.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Panes {
    pub(super) left: Option<bool>,
    pub(super) right: Option<bool>,
}

impl Panes {
    /// As they are at the start.
    fn of(sidebars: Sidebars) -> Panes {
        let panes = |left, right| Panes {
            left: Some(left),
            right: Some(right),
        };
        match sidebars {
            Sidebars::Auto => Panes::default(),
            Sidebars::Both => panes(true, true),
            Sidebars::Conversations => panes(true, false),
            Sidebars::People => panes(false, true),
            Sidebars::None => panes(false, false),
        }
    }
}

/// The state of the chat.
#[derive(Debug)]
pub(super) struct App {
    pub(super) theme: Theme,
    pub(super) zone: TimeZone,
    pub(super) now: Time,
    pub(super) size: (u16, u16),
    pub(super) panes: Panes,
    pub(super) mode: Mode,
    pub(super) status: Option<StatusLine>,
    pub(super) peers: BTreeMap<PeerId, PeerLine>,
    pub(super) names: Names,
    pub(super) rooms: BTreeMap<RoomName, RoomLine>,
    pub(super) conversations: Vec<Conversation>,
    pub(super) current: usize,
    /// Of the current conversation.
    pub(super) window: Window,
    pub(super) editor: Editor,
    pub(super) deliveries: Deliveries,
    pub(super) files: Transfers,
    pub(super) previews: Previews,
    pub(super) pending: Vec<Pending>,
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
    numbers: u64,
    look_at: Time,
    rung_at: Time,
    interrupted_at: Time,
    listed: bool,
    /// None before the first screen of this home: then nothing is unread.
    seen: Option<ReadMarkers>,
    kept: Option<ReadMarkers>,
    keep_at: Time,
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
            panes: Panes::of(settings.sidebars),
            mode: Mode::Chat,
            status: None,
            peers: BTreeMap::new(),
            names: Names::default(),
            rooms: BTreeMap::new(),
            conversations: vec![Conversation::new(lobby.clone())],
            current: 0,
            window: Window::new(lobby, 0),
            editor: Editor::default(),
            deliveries: Deliveries::default(),
            files: Transfers::default(),
            previews: Previews::default(),
            pending: Vec::new(),
            found: None,
            mouse: settings.mouse,
            settings,
            hint: None,
            turn: 0,
            places,
            completion: None,
            jump: None,
            focused: true,
            connected: false,
            numbers: 0,
            look_at: now,
            rung_at: Time(0),
            interrupted_at: Time(0),
            listed: false,
            seen: seen.clone(),
            kept: seen,
            keep_at: now,
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
        !self.pending.is_empty() || self.deliveries.any_lacks()
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
        if !self.pending.is_empty() {
            self.pending.clear();
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
        if self.now >= self.keep_at {
            self.keep_at = Time(self.now.0 + KEEP_EVERY_MS);
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
            self.seen.get_or_insert_default().insert(of, last);
        }
    }

    /// Has it kept what was read, if that has changed.
    pub(super) fn remember(&mut self) {
        self.look();
        if self.seen != self.kept
            && let Some(seen) = self.seen.clone()
        {
            self.kept = Some(seen.clone());
            self.outputs.push_back(Output::Remember(seen));
        }
    }

    /// Whether the screen shows that people are being looked for.
    pub(super) fn is_looking(&self) -> bool {
        self.is_new_here() && self.here().next().is_none()
    }

    /// Whether there is nothing to show but what to do next.
    pub(super) fn is_new_here(&self) -> bool {
        self.window.has_no_messages()
            && self.my_pending().next().is_none()
            && matches!(self.mode, Mode::Chat)
    }

    /// Peers that are there.
    pub(super) fn here(&self) -> impl Iterator<Item = &PeerLine> {
        self.peers
            .values()
            .filter(|peer| peer.state != PeerState::Offline)
    }

    pub(super) fn me(&self) -> Option<PeerId> {
        self.status.as_ref().map(|status| status.peer.0)
    }

    pub(super) fn conversation(&self) -> &Conversation {
        &self.conversations[self.current]
    }

    /// Messages on their way to the disk, in the conversation that is open.
    pub(super) fn my_pending(&self) -> impl Iterator<Item = &Pending> {
        let of = &self.conversation().of;
        self.pending
            .iter()
            .filter(move |pending| pending.conversation == *of)
    }

    /// The people of the conversation that is open, without us.
    pub(super) fn people(&self) -> Vec<PeerId> {
        match &self.conversation().of {
            ConversationRef::Direct(peer) => vec![*peer],
            ConversationRef::Room(room) => self
                .rooms
                .get(room)
                .map_or(vec![], |r| r.here.iter().map(|peer| peer.0).collect()),
        }
    }

    pub(super) fn layout(&self) -> Layout {
        Layout::of(
            self.size,
            self.panes,
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

    fn is_mine(&self, message: &MessageLine) -> bool {
        message.state.is_some() || self.me() == Some(message.from.0)
    }

    fn scroll(&mut self, up: bool, by: usize) {
        let rows = self.layout().rows();
        let context = rows::Context::of(self);
        let heights: Vec<usize> = (0..self.window.entries().len())
            .map(|index| context.height(index))
            .collect();
        if up {
            self.window.up(by, rows, |index| heights[index]);
        } else {
            self.window.down(by, rows, |index| heights[index]);
        }
    }
}
