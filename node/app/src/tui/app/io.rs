//! The inputs and outputs of the chat.

use std::path::PathBuf;

use crossterm::event::KeyEvent;
use hobnob::protocol::RoomName;
use hobnob_control::wire::WireEvent;

use super::App;
use super::composer::FolderLookup;
use super::node_request::{AnswerHandler, Outcome};
use super::portraits::WantedPortrait;
use super::previews::Wanted;
use crate::shared::settings::ScreenSettings;
use crate::shared::typed_path::Places;
use crate::tui::picture::Picture;
use crate::tui::read_markers::ReadMarkers;
use crate::tui::typed_commands::TypedCommand;

/// The rows that each entry of the window takes on the screen.
pub(crate) type RowHeights = Box<dyn Fn(&App) -> Vec<usize> + Send>;

/// The values that a chat starts with.
pub(crate) struct Start {
    /// The first conversation.
    pub(crate) room: RoomName,
    /// The messages that the user had read when the last chat ended. `None` before the first chat of
    /// this home.
    pub(crate) read: Option<ReadMarkers>,
    /// The commands of earlier chats, oldest first.
    pub(crate) commands: Vec<TypedCommand>,
    /// The folders that typed paths are relative to.
    pub(crate) places: Places,
    pub(crate) settings: ScreenSettings,
    /// Measures the entries, because scrolling depends on it and the state does not draw.
    pub(crate) row_heights: RowHeights,
}

/// An input of the chat.
#[derive(Debug)]
pub(crate) enum Input {
    Key(KeyEvent),
    Paste(String),
    /// The mouse wheel was turned: up if true.
    Wheel(bool),
    /// The terminal has this many columns and rows.
    Resize(u16, u16),
    /// The terminal has got or lost the keyboard focus.
    Focus(bool),
    /// The chat is attached to a node.
    Attached,
    /// The node has ended. The event loop attaches to another.
    NodeGone,
    /// It takes a while to attach to another node.
    NoNode,
    Event(WireEvent),
    /// The node answered a request.
    Answer(AnswerHandler, Outcome),
    /// The names that [`Output::ListFolder`] asked for.
    FolderNames(FolderLookup, Vec<String>),
    /// The picture that [`Output::MakePicture`] asked for; none if the file has no picture.
    PictureMade(Wanted, Option<Picture>),
    /// The picture that [`Output::MakePortrait`] asked for.
    PortraitMade(WantedPortrait, Option<Picture>),
    /// The profile picture that [`Output::ChoosePicture`] asked for, or why there is none.
    PictureChosen(Result<Vec<u8>, String>),
    /// The terminal's cells have another size in pixels.
    CellsResized,
    /// The link of [`Output::OpenLink`] could not be opened, and why.
    LinkFailed(String),
    /// Some time has passed.
    Tick,
}

/// A task for the event loop. Requests to the node are separate.
#[derive(Debug, PartialEq)]
pub(crate) enum Output {
    /// Save what the user has read.
    SaveRead(ReadMarkers),
    /// Save a command, so that a later chat recalls it.
    SaveCommand(TypedCommand),
    /// Ring the terminal's bell, or show a desktop notification, or both.
    Ring {
        bell: bool,
        desktop: Option<String>,
    },
    /// Whether the terminal sends the mouse wheel to the chat.
    CaptureMouse(bool),
    /// List the names in a folder that begin with some text.
    ListFolder(FolderLookup),
    /// Make a small picture of this file.
    MakePicture {
        wanted: Wanted,
        path: PathBuf,
    },
    /// Make a small picture of this profile picture.
    MakePortrait {
        wanted: WantedPortrait,
        file: Vec<u8>,
    },
    /// Make a profile picture of this file.
    ChoosePicture(PathBuf),
    /// Show this web address in the user's browser.
    OpenLink(String),
    /// Copy this text to the clipboard.
    Copy(String),
    /// Draw every cell again: another program may have written to the terminal.
    Repaint,
    /// Give the terminal back to the shell, and stop until the shell continues this job.
    Suspend,
    Quit,
}
