//! The values that the handlers of requests share, and the words that the program lends them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::http::HeaderValue;
use hobnob::Notice;
use hobnob_control::wire::Diagnosis;
use hobnob_local::Home;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::tickets::Tickets;
use crate::tokens::Tokens;

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
}

/// The values that every request needs.
pub(crate) struct Shared {
    pub(crate) home: Home,
    pub(crate) tokens: Tokens,
    pub(crate) tickets: Mutex<Tickets>,
    pub(crate) uploads: Arc<Semaphore>,
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
