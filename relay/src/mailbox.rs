//! Mailboxes: sealed envelopes for peers that are away.
//!
//! `hobnob_mailbox` stores them. Here are the folder of the database, and the streams of a node's
//! connection. The relay's core knows nothing of mail: an envelope needs no routing.

use std::fs;
use std::path::PathBuf;

use hobnob_mailbox::{MailboxError, Mailboxes};
use hobnob_protocol::DeviceId;
use hobnob_protocol::mailbox::STREAM_MAILBOX;
use quinn::Connection;

pub use hobnob_mailbox::Totals;

/// The configuration of the mailboxes of a relay.
#[derive(Debug, Clone)]
pub struct MailboxConfig {
    /// The folder of the database. Created if it is missing.
    pub dir: PathBuf,
    /// Maximum bytes of all envelopes.
    pub bytes_max: u64,
}

/// Why the relay can't hold mail.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// The folder can't be created.
    #[error("can't create the folder {0:?}: {1}")]
    Folder(PathBuf, std::io::Error),
    /// The database can't be opened or used.
    #[error(transparent)]
    Database(#[from] MailboxError),
}

/// Opens the mailboxes. `wall_ms` reads the wall clock, in milliseconds since the Unix epoch.
pub(crate) fn open(
    config: &MailboxConfig,
    wall_ms: impl Fn() -> u64 + Send + 'static,
) -> Result<Mailboxes, HoldError> {
    let dir = &config.dir;
    fs::create_dir_all(dir).map_err(|error| HoldError::Folder(dir.clone(), error))?;
    let path = dir.join("mailbox.db");
    let conn = rusqlite::Connection::open(&path)
        .map_err(|error| MailboxError::Database(path.clone(), error))?;
    Ok(Mailboxes::open(conn, &path, config.bytes_max, wall_ms)?)
}

/// Serves the streams about mailboxes that a node opens, one after another, until the connection
/// ends. Returns early if the node violates the protocol. The text says how.
pub(crate) async fn serve(
    connection: &Connection,
    peer: DeviceId,
    mailboxes: &Mailboxes,
) -> Option<String> {
    loop {
        let Ok((send, mut receive)) = connection.accept_bi().await else {
            return None;
        };
        let mut kind = [0];
        if receive.read_exact(&mut kind).await.is_err() {
            continue;
        }
        if kind != [STREAM_MAILBOX] {
            return Some("a stream of an unknown kind".to_owned());
        }
        // Each registered node gets a mailbox.
        let served = hobnob_mailbox::serve(send, receive, peer, mailboxes, |_| true);
        if let Err(wrong) = served.await {
            return Some(wrong);
        }
    }
}
