//! Mailboxes: messages for a peer that is away wait, sealed, at a *holder*.
//!
//! `hpke` encrypts to a mailbox key. An [`Envelope`] has frames of one conversation, signed by
//! its sender, padded and sealed. Those of a room with a key are a [`RoomMail`], sealed under that
//! key as well. [`ToHolder`] and [`FromHolder`] are the frames between a node and a
//! holder. A [`DepositToken`] lets a contact deposit. The mailbox key itself travels in a
//! [`MailboxRecord`](crate::record::MailboxRecord).
//!
//! Not here: where a holder stores envelopes, and when a node deposits and fetches them.

mod envelope;
mod frames;
pub(crate) mod hpke;
pub(crate) mod parts;
pub(crate) mod room;
mod room_frames;
pub(crate) mod token;

pub use self::envelope::{
    CONTENT_BYTES_MAX, ENVELOPE_BYTES_MAX, Envelope, EnvelopeError, Opened, SIZES, content_size,
};
pub use self::frames::{
    Deposit, DepositAnswer, FromHolder, NUMBERS_MAX, SENDERS_MAX, ToHolder, Waiting,
};
pub use self::hpke::{MailboxKey, PUBLIC_KEY_LEN, PublicKey, SECRET_KEY_LEN};
pub use self::parts::{CONTENT_PART_BYTES, CONTENT_PARTS_MAX, MAILED_CONTENT_MAX};
pub use self::room::RoomMail;
pub use self::room_frames::ROOM_CONTENT_BYTES_MAX;
pub use self::token::{DepositToken, KeyId, TokenHash};

/// The first byte of a stream that a node opens to a holder, on a connection that has another use:
/// a relay's control connection, or a session. It names the protocol of the stream's frames. On a
/// session all other streams begin with the length of a request for content, whose first byte is 0.
pub const STREAM_MAILBOX: u8 = 1;

/// A holder ends a page when its envelopes have this many bytes.
pub const PAGE_BYTES_MAX: u64 = 512 * 1024;

/// How long a holder keeps an envelope that its recipient does not fetch.
pub const HELD_FOR: std::time::Duration = std::time::Duration::from_secs(30 * 24 * 60 * 60);
