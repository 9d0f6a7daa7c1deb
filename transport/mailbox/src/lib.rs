//! Mailboxes: a *holder* stores sealed envelopes for peers that are away. A relay can be one, and a
//! node.
//!
//! [`Mailboxes`] writes them to a database, on a thread of its own. [`serve`] speaks with one node on
//! a stream. A holder can't read envelopes; their form is in [`hobnob_protocol::mailbox`].
//!
//! Not here: how a node deposits and fetches mail, and which nodes may open a stream.

mod config;
mod news;
mod serve;
mod store;

pub use config::{RECIPIENT_BYTES_MAX, RECIPIENTS_MAX, SENDER_BYTES_MAX};
pub use serve::serve;
pub use store::{MailboxError, Mailboxes, Totals};
