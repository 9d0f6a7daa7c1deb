//! What two hobnob endpoints must agree on: identity, addresses, conversations, entries, frames and
//! their encoding.
//!
//! There are no sockets, no clock and no tasks here. Bytes from a peer enter through
//! [`frame::Frame::decode`], [`relay::ToRelay::decode`], [`relay::FromRelay::decode`] and
//! [`batch::Batch::check`]; past these only valid values exist.

pub mod batch;
pub mod codec;
pub mod content;
pub mod conversation;
pub mod datagram;
pub mod entry;
pub mod frame;
pub mod identity;
pub mod invisible;
pub mod manifest;
pub mod offer;
pub mod ranges;
pub mod relay;
pub mod sas;
pub mod target;
pub mod text;

pub use batch::{Batch, BatchError, CheckedBatch};
pub use conversation::{ConversationId, RoomKey, RoomName};
pub use entry::{Body, Entry, EntryHash, LogId, LogName, Seq};
pub use frame::{Frame, FrameError, Hello};
pub use identity::{PeerId, SecretKey, Signature};
pub use offer::{ContentHash, Offer, OfferId, OfferWord};
pub use ranges::Ranges;
pub use target::{HostPort, RelayAddr, Target, Ticket};
pub use text::Nickname;

/// ALPN (RFC 7301) between two nodes. The number is the major version: nodes a major version apart
/// find no common protocol.
pub const ALPN_NODE: &[u8] = b"hobnob/1";

/// The UDP port a node listens on unless it is taken: HOBN on a phone's keypad.
pub const PORT_NODE: u16 = 4626;

/// The major and minor version in a Hello. A minor version adds frame kinds; a major one changes
/// those that exist.
pub const VERSION: (u16, u16) = (1, 0);

/// Application close codes of a session (RFC 9000 section 10.2): why one side ended it.
pub mod close {
    /// An orderly goodbye: the node stops, or the user left.
    pub const BYE: u32 = 0;
    /// Both sides had dialed; the connection of the smaller peer id stays, this one goes.
    pub const DUPLICATE: u32 = 1;
    /// A frame announced more than [`crate::frame::FRAME_MAX`] bytes.
    pub const FRAME_TOO_LARGE: u32 = 2;
    /// The first frame was no Hello, or a Hello of another major version.
    pub const VERSION: u32 = 3;
    /// A frame could not be decoded, or came where it may not.
    pub const PROTOCOL: u32 = 4;
    /// Another instance of the same identity, a newer one, has taken this session's place.
    pub const REPLACED: u32 = 5;
    /// The node already holds as many sessions as it will.
    pub const FULL: u32 = 6;
    /// The two ends are one identity.
    pub const SELF: u32 = 7;
    /// The peer stopped answering pings.
    pub const SILENT: u32 = 8;
    /// The user of the node wants no session with the peer.
    pub const BLOCKED: u32 = 9;
    /// The user of the node has shown the peer out, for a while.
    pub const KICKED: u32 = 10;
    /// The peer's nickname is that of somebody whom the user has verified with another key.
    pub const NAME_TAKEN: u32 = 11;

    /// The word that logs use for a close code.
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
