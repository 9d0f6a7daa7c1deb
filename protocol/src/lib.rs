//! The definitions that two hobnob endpoints share: identity, addresses, conversations, entries, frames and
//! their encoding.
//!
//! This crate has no sockets, no clock and no tasks. Bytes from a peer enter through
//! [`frame::Frame::decode`], [`relay::ToRelay::decode`], [`relay::FromRelay::decode`] and
//! [`batch::Batch::check`]. Beyond these only valid values exist.

pub mod activity;
pub mod app;
pub mod batch;
pub mod body_hash;
pub mod codec;
pub mod compression;
pub mod content;
pub mod conversation;
pub mod datagram;
pub mod entry;
pub mod fleet;
pub mod frame;
pub mod header;
pub mod heartbeat;
pub mod identity;
pub mod introduction;
pub mod invisible;
pub mod invitation;
#[cfg(feature = "schema")]
pub mod json_schema;
pub mod log;
pub mod mailbox;
pub mod manifest;
pub mod offer;
pub mod passphrase;
pub mod picture;
pub mod ranges;
pub mod reaction;
pub mod record;
pub mod relay;
pub mod relay_token;
pub mod room_key;
pub mod room_ticket;
pub mod safety_number;
pub mod sealed;
mod short_hash;
mod short_hex;
pub mod target;
pub mod text;
mod words;

pub use activity::Activity;
pub use app::AppName;
pub use batch::{Batch, BatchError, CheckedBatch};
pub use body_hash::{BodyKey, Salts};
pub use compression::CompressedBatch;
pub use conversation::{ConversationId, RoomName};
pub use entry::{Body, Entry};
pub use frame::{Frame, FrameError, Hello, Holding};
pub use header::{EntryRef, Extensions};
pub use identity::{DeviceId, PersonId, SecretKey, Signature};
pub use log::{BodyHash, EntryHash, LogId, LogName, Seq};
pub use offer::{ContentHash, Offer, OfferId, OfferWord};
pub use ranges::Ranges;
pub use record::{Checked, ContactRecord, MailboxRecord, PublicRecord, SignedRecord};
pub use relay_token::RelayToken;
pub use room_key::{RoomKey, RoomKind, RoomProof, RoomTag};
pub use room_ticket::{RoomTarget, RoomTicket};
pub use target::{HostPort, RelayAddr, RelayAt, Target, Ticket};
pub use text::Nickname;

/// ALPN (RFC 7301) between two nodes. The number is the major version: nodes of different major
/// versions have no protocol in common.
pub const ALPN_NODE: &[u8] = b"hobnob/1";

/// The UDP port that a node listens on if it is free: HOBN on a phone's keypad.
pub const PORT_NODE: u16 = 4626;

/// The major and minor version in a Hello. A minor version adds frame kinds; a major version
/// changes existing ones.
pub const VERSION: (u16, u16) = (1, 0);

/// Application close codes of a session (RFC 9000 section 10.2): why one side ended it.
pub mod close {
    /// An orderly goodbye: the node stops, or the user left.
    pub const BYE: u32 = 0;
    /// Both sides dialed. The connection that the smaller peer id dialed stays, this one ends.
    pub const DUPLICATE: u32 = 1;
    /// A frame announced more than [`crate::frame::FRAME_MAX`] bytes.
    pub const FRAME_TOO_LARGE: u32 = 2;
    /// The first frame was not a Hello, or a Hello of another major version.
    pub const VERSION: u32 = 3;
    /// A frame could not be decoded, or is not allowed where it arrived.
    pub const PROTOCOL: u32 = 4;
    /// A newer instance of the same identity has replaced this session.
    pub const REPLACED: u32 = 5;
    /// The node has the maximum number of sessions.
    pub const FULL: u32 = 6;
    /// Both ends have the same identity.
    pub const SELF: u32 = 7;
    /// The peer stopped answering pings.
    pub const SILENT: u32 = 8;
    /// The user of the node has blocked the peer.
    pub const BLOCKED: u32 = 9;
    /// The user of the node has kicked the peer: no session for a while.
    pub const KICKED: u32 = 10;
    /// The peer's nickname belongs to a peer whom the user verified with another key.
    pub const NAME_TAKEN: u32 = 11;

    /// The name of a close code in logs.
    pub fn name(code: u64) -> &'static str {
        const NAMES: [&str; 12] = [
            "bye",
            "duplicate",
            "frame-too-large",
            "version",
            "protocol",
            "replaced",
            "full",
            "self",
            "silent",
            "blocked",
            "kicked",
            "name-taken",
        ];
        usize::try_from(code)
            .ok()
            .and_then(|i| NAMES.get(i))
            .copied()
            .unwrap_or("unknown")
    }
}
