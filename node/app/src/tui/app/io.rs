//! What goes into the chat and what comes out of it.

use std::path::PathBuf;

use crossterm::event::KeyEvent;
use hobnob::ConversationRef;
use hobnob::protocol::{Nickname, PeerId, RoomName};
use hobnob_control::wire::{AnyRequest, WireEvent};
use jiff::tz::TimeZone;
use serde_json::Value;

use super::App;
use crate::shared::policy::PolicyChange;
use crate::shared::settings::ScreenSettings;
use crate::shared::typed_path::{PathWord, Places};
use crate::tui::picture::Picture;
use crate::tui::previews::Wanted;
use crate::tui::read_markers::ReadMarkers;
use crate::tui::theme::Theme;

/// What a chat begins with.
#[derive(Debug)]
pub(crate) struct Start {
    /// Where it opens.
    pub(crate) room: RoomName,
    pub(crate) theme: Theme,
    pub(crate) zone: TimeZone,
    /// What was read at the last one.
    pub(crate) seen: Option<ReadMarkers>,
    /// Where paths begin that are typed.
    pub(crate) places: Places,
    pub(crate) settings: ScreenSettings,
    /// Measures the entries of the window in rows. The state does not know how they are drawn.
    pub(crate) row_heights: fn(&App) -> Vec<usize>,
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
    /// Names of a folder that begin as what was `typed`: see [`Output::List`].
    Names {
        folder: PathWord,
        names: Vec<String>,
        typed: String,
        forth: bool,
    },
    /// What [`Output::Picture`] has come to.
    Pictured(Wanted, Option<Picture>),
    /// The cells of the terminal have another size.
    Cells,
    /// Time has passed.
    Tick,
}

/// What comes out.
#[derive(Debug, PartialEq)]
pub(crate) enum Output {
    /// Keep what was read.
    Remember(ReadMarkers),
    /// Ask the node; its answer comes back as [`Input::Answer`].
    Ask(AnyRequest, About),
    /// Ring the terminal's bell, or tell the desktop this, or both.
    Ring {
        bell: bool,
        desktop: Option<String>,
    },
    CaptureMouse(bool),
    /// Look which names in a folder begin so; they come back as [`Input::Names`].
    List {
        /// As it was typed, and where it is.
        folder: PathWord,
        path: PathBuf,
        start: String,
        /// All of the path that stands before the cursor.
        typed: String,
        /// Whether the first is to be shown, or the last.
        forth: bool,
    },
    /// Make a small picture of this file; it comes back as [`Input::Pictured`].
    Picture {
        wanted: Wanted,
        path: PathBuf,
    },
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
    Files,
    /// `/files`.
    FileList,
    /// `/accept` and `/decline`.
    Decided,
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
    ChangePolicy(PolicyChange),
    Kick,
    /// Whether the words were confirmed.
    Verify(Option<bool>),
    /// `/why` and `/doctor`.
    Diagnosis,
    History,
}
