//! The values that the handlers of requests share, and the words that the program lends them.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use axum::http::HeaderValue;
use hobnob::{ConversationRef, Notice};
use hobnob_control::wire::Diagnosis;
use hobnob_local::Home;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use crate::kept_uploads::KeptUploads;
use crate::links::Links;
use crate::tickets::Tickets;
use crate::tokens::Tokens;

/// Something that the program does for the page. It ends with the reason why it was not done, or none.
pub type Work = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// What the program that serves the page does for it, so that the page and the program use the same
/// words.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    /// Draws a QR code: rows of `true` for dark modules. Without rows, the text has no code.
    pub qr: fn(&str) -> Vec<Vec<bool>>,
    /// The lines that explain a diagnosis.
    pub diagnosis: fn(&Diagnosis) -> Vec<String>,
    /// The sentence for a notice.
    pub notice: fn(&Notice) -> String,
    /// The settings of a home, or why they can't be read.
    pub settings: fn(&Home) -> Result<Vec<Setting>, String>,
    /// Changes a setting in the file of a home, or returns why not. `null` removes it.
    pub set: fn(&Home, &str, &Value) -> Result<(), String>,
    /// Writes a backup of a home, encrypted with the passphrase, to a new file.
    pub backup: fn(Home, Zeroizing<String>, PathBuf) -> Work,
    /// Writes the messages of a conversation, or of all, to a new file: as `text`, `json` or `html`.
    pub messages: fn(Home, Option<ConversationRef>, String, PathBuf) -> Work,
    /// The password of this home's IRC clients; a new one, if that is asked for. Or why there is none.
    pub irc_password: fn(&Home, bool) -> Result<String, String>,
    /// How a home is locked, or why that is unknown. None: it is not locked.
    pub lock: fn(&Home) -> Result<Option<HomeLock>, String>,
    /// Changes the passphrase of a locked home: the old one, and the new one.
    pub change_passphrase: fn(Home, Zeroizing<String>, Zeroizing<String>) -> Work,
}

/// How a home is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct HomeLock {
    /// Whether a passphrase opens it.
    pub passphrase: bool,
    /// Whether the system keyring opens it.
    pub keyring: bool,
}

/// A setting: what the page shows of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setting {
    /// Its name in the settings file.
    pub name: String,
    /// What it is for, and its default.
    pub help: String,
    /// A value of the right type, such as the default.
    pub example: Value,
    /// The words to choose from, if there is no other value.
    pub choices: Vec<String>,
    /// The value in the settings file.
    pub value: Option<Value>,
    /// Whether a running node takes another value at once. Otherwise it applies at the next start.
    pub live: bool,
    /// The variable of the environment that overrides the file.
    pub fixed_by: Option<String>,
}

/// The values that every request needs.
pub(crate) struct Shared {
    pub(crate) home: Home,
    pub(crate) tokens: Tokens,
    pub(crate) tickets: Mutex<Tickets>,
    pub(crate) uploads: Arc<Semaphore>,
    pub(crate) kept_uploads: KeptUploads,
    pub(crate) links: Links,
    pub(crate) websockets: Arc<Semaphore>,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// Where `hobnob web` writes login files.
    pub(crate) runtime_dir: PathBuf,
    /// The only `Host`.
    pub(crate) host: String,
    /// The only `Origin`.
    pub(crate) origin: String,
    pub(crate) policy: HeaderValue,
    pub(crate) words: Words,
}
