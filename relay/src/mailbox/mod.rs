//! Mailboxes: sealed envelopes for peers that are away.
//!
//! `store` writes them to a database of its own, on a thread of its own. `serve` speaks with one node
//! on a stream of its connection. The relay's core knows nothing of this: an envelope needs no
//! routing. The relay can't read envelopes; their form is in [`hobnob_protocol::mailbox`].

mod config;
mod serve;
mod store;

pub use self::config::{MailboxConfig, RECIPIENT_BYTES_MAX, RECIPIENTS_MAX, SENDER_BYTES_MAX};
pub use self::store::{MailboxError, Totals};

pub(crate) use self::serve::{News, serve};
pub(crate) use self::store::Mailboxes;
