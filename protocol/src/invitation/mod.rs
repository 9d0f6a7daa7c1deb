//! Invitations: the code that a user reads to somebody, and the frames by which the two nodes prove
//! to each other that both know it.
//!
//! The number of a code is public: it finds the inviter. The words are the secret. [`pake`] compares
//! them without showing them. Who may try, how often and for how long is decided elsewhere.

mod code;
#[cfg_attr(not(feature = "invitations"), path = "no_pake.rs")]
pub mod pake;

pub use code::{CODE_LEN_MAX, CodeError, CodeNumber, InviteCode, Words};

use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};

/// How long an invitation can be accepted, in seconds.
pub const INVITATION_SECONDS: u64 = 10 * 60;

/// Longest ticket in a [`Letter`], in bytes.
pub const LETTER_TICKET_MAX: usize = 2 * 1024;

/// Longest name of a [`SharedRelay`], in bytes.
pub const SHARED_RELAY_MAX: usize = 512;

/// Longest token of a [`SharedRelay`], in bytes: as long as any token of a relay.
pub const SHARED_TOKEN_MAX: usize = 256;

/// The first message of either end: an element of the group.
pub type Element = [u8; 32];

/// The proof that its sender has derived the same key.
pub type Confirmation = [u8; 32];

/// A step of the exchange between an inviter and an accepter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum InviteFrame {
    /// The accepter asks whether the receiver has an invitation of this number.
    Ask(CodeNumber, Element),
    /// The inviter has it.
    Answer(CodeNumber, Element),
    /// The accepter proves that it knows the words.
    Confirm(CodeNumber, Confirmation),
    /// The inviter proves the same. It has verified the accepter's proof, so it introduces itself.
    Welcome(CodeNumber, Confirmation, Letter),
    /// The accepter has verified the inviter's proof, and introduces itself.
    Thanks(CodeNumber, Letter),
    /// The exchange ends without success.
    No(CodeNumber, Refusal),
    /// The inviter shares a relay that requires a token. It has verified the accepter's proof, and
    /// sends its Welcome next: before that, the accepter uses nothing of this.
    Relay(CodeNumber, SharedRelay),
}

/// A relay, and the token with which it admits the accepter from now on.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedRelay {
    /// The relay with its identity, as text, at most [`SHARED_RELAY_MAX`] bytes. The token is for no
    /// other identity.
    pub relay: String,
    /// The token, at most [`SHARED_TOKEN_MAX`] bytes.
    pub token: Vec<u8>,
}

/// Shows no token.
impl std::fmt::Debug for SharedRelay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedRelay")
            .field("relay", &self.relay)
            .finish_non_exhaustive()
    }
}

/// The data that two ends exchange once each has verified the other.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// The sender's ticket, at most [`LETTER_TICKET_MAX`] bytes.
    pub ticket: String,
    /// The ticket of the room that the inviter invites to.
    pub room: Option<String>,
}

/// Shows no ticket of a room: it contains the room's key.
impl std::fmt::Debug for Letter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Letter")
            .field("ticket", &self.ticket)
            .field("has_room", &self.room.is_some())
            .finish()
    }
}

/// Why an exchange ends without success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", from = "u8")]
pub enum Refusal {
    /// The receiver has no invitation of this number, or no longer.
    NotHere,
    /// The words were wrong, so the code is dead.
    Wrong,
    /// The asker's network has named too many wrong numbers.
    TooOften,
    /// A cause that this version does not know.
    Unknown(u8),
}

impl From<Refusal> for u8 {
    fn from(cause: Refusal) -> u8 {
        match cause {
            Refusal::NotHere => 0,
            Refusal::Wrong => 1,
            Refusal::TooOften => 2,
            Refusal::Unknown(number) => number,
        }
    }
}

impl From<u8> for Refusal {
    fn from(number: u8) -> Refusal {
        match number {
            0 => Refusal::NotHere,
            1 => Refusal::Wrong,
            2 => Refusal::TooOften,
            number => Refusal::Unknown(number),
        }
    }
}

/// The number of steps that this version knows. A step begins with its number.
const STEPS: u32 = 7;

/// Memory that decoding a step may claim.
const MEMORY_MAX: usize = 8 * 1024;

impl InviteFrame {
    /// Decodes a step. `None` stands for a step that only a newer version knows.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Option<Self>, CodecError> {
        let (step, _) = codec::decode_prefix::<u32, MEMORY_MAX>(bytes)?;
        if step >= STEPS {
            return Ok(None);
        }
        codec::decode_extended::<Self, MEMORY_MAX>(bytes).map(Some)
    }

    /// Whether all texts are within their limits.
    pub(crate) fn is_within_limits(&self) -> bool {
        match self {
            Self::Welcome(_, _, letter) | Self::Thanks(_, letter) => {
                let room = letter.room.as_ref().map_or(0, String::len);
                letter.ticket.len() <= LETTER_TICKET_MAX
                    && room <= crate::room_ticket::ROOM_TICKET_MAX
            }
            Self::Relay(_, shared) => {
                shared.relay.len() <= SHARED_RELAY_MAX
                    && (1..=SHARED_TOKEN_MAX).contains(&shared.token.len())
            }
            Self::Ask(..) | Self::Answer(..) | Self::Confirm(..) | Self::No(..) => true,
        }
    }
}
