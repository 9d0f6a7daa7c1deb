//! What goes into the chat and what comes out of it.

use crossterm::event::KeyEvent;
use hobnob::ConversationRef;
use hobnob::control::wire::{Command, WireEvent};
use hobnob::protocol::{Nickname, PeerId, RoomName};
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::cli::marks::Decision;
use crate::tui::looks::Looks;
use crate::tui::seen::Seen;

/// What a chat begins with.
#[derive(Debug)]
pub(crate) struct Start {
    /// Where it opens.
    pub(crate) room: RoomName,
    pub(crate) looks: Looks,
    pub(crate) zone: TimeZone,
    /// What was read at the last one.
    pub(crate) seen: Option<Seen>,
}

/// What comes in.
#[derive(Debug)]
pub(crate) enum Input {
    Key(KeyEvent),
    Paste(String),
    /// The mouse wheel: true is up.
    Wheel(bool),
    Resize(u16, u16),
    Focus(bool),
    /// There is a node to ask.
    Attached,
    /// It has ended; another is being looked for.
    NodeGone,
    Event(WireEvent),
    Answer(About, Result<Value, String>),
    /// Time has passed.
    Tick,
}

/// What comes out.
#[derive(Debug, PartialEq)]
pub(crate) enum Output {
    /// Keep what was read.
    Remember(Seen),
    /// Ask the node; its answer comes back as [`Input::Answer`].
    Ask(Command, About),
    /// Ring the terminal's bell, and tell the desktop.
    Ring(String),
    CaptureMouse(bool),
    /// Draw everything anew: something else may have written to the terminal.
    Repaint,
    Quit,
}

/// What a request was for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum About {
    Status,
    Peers,
    Rooms,
    /// Whether anything was ever said with this peer.
    Talked(PeerId),
    /// What came since it was last looked at.
    Unread(ConversationRef),
    /// A page of the conversation that is open, by the request's number.
    Page(u64),
    Search(String),
    /// What was typed in a conversation.
    Said(u64),
    /// `/msg`, and what it says.
    Told(String),
    Query,
    Whois,
    Join,
    Part(RoomName),
    Nick(Nickname),
    Decide(Decision),
    Kick,
    /// Whether the words were confirmed.
    Verify(Option<bool>),
    /// `/why` and `/doctor`.
    Diagnosis,
    History,
}
