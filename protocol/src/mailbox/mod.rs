//! Mailboxes: messages for a peer that is away wait, sealed, at a *holder*.
//!
//! `hpke` encrypts to a mailbox key. An [`Envelope`] has frames of a direct conversation, signed by
//! its sender, padded and sealed. [`ToHolder`] and [`FromHolder`] are the frames between a node and a
//! holder. A [`DepositToken`] lets a contact deposit. The mailbox key itself travels in a
//! [`MailboxRecord`](crate::record::MailboxRecord).
//!
//! Not here: where a holder stores envelopes, and when a node deposits and fetches them.

mod envelope;
mod frames;
pub(crate) mod hpke;
pub(crate) mod token;

pub use self::envelope::{
    CONTENT_BYTES_MAX, ENVELOPE_BYTES_MAX, Envelope, EnvelopeError, Opened, SIZES, content_size,
};
pub use self::frames::{
    Deposit, DepositAnswer, FromHolder, NUMBERS_MAX, SENDERS_MAX, ToHolder, Waiting,
};
pub use self::hpke::{MailboxKey, PUBLIC_KEY_LEN, PublicKey, SECRET_KEY_LEN};
pub use self::token::{DepositToken, KeyId, TokenHash};

/// The first byte of a stream that a node opens to a holder, on a connection that has another use: a
/// relay's control connection, or a session. It names the protocol of the stream's frames. On a
/// session all other streams begin with the length of a request for content, whose first byte is 0.
pub const STREAM_MAILBOX: u8 = 1;

/// The largest content of an offer that travels by mail, in bytes.
pub const MAILED_CONTENT_MAX: u64 = 1024 * 1024;

/// Bytes of each part of a content that travels by mail. The last one may be shorter.
pub const CONTENT_PART_BYTES: usize = 48 * 1024;

/// Maximum parts of one content.
pub const CONTENT_PARTS_MAX: usize = 22;
const _: () =
    assert!(MAILED_CONTENT_MAX.div_ceil(CONTENT_PART_BYTES as u64) == CONTENT_PARTS_MAX as u64);

/// A holder ends a page when its envelopes have so many bytes.
pub const PAGE_BYTES_MAX: u64 = 512 * 1024;

/// How long a holder keeps an envelope that its recipient does not fetch.
pub const HELD_FOR: std::time::Duration = std::time::Duration::from_secs(30 * 24 * 60 * 60);
