//! Invitations by code, as the user sees them.

use hobnob_protocol::RelayAt;
use hobnob_protocol::invitation::InviteCode;
use serde::{Deserialize, Serialize};

use super::peer::PeerInfo;
use super::status::RoomInfo;

/// An invitation that this node has just created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The code for the other user. Whoever has it first becomes a verified contact.
    pub code: InviteCode,
    /// After this many seconds it expires.
    pub seconds: u64,
    /// What becomes of the token for the relay in the code.
    pub relay_token: RelayTokenUse,
}

/// What an inviter does with its token for the relay in the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RelayTokenUse {
    /// It has none, or the code names no relay.
    None,
    /// It keeps the token to itself. If the relay requires one, the accepter is a guest there for
    /// two minutes, and then needs a token of its own.
    Kept,
    /// The accepter gets it.
    Shared,
}

/// How an invitation ended.
#[derive(Debug, Clone, PartialEq)]
pub enum InvitationEnd {
    /// This peer has proved that it knows the code. It is a verified contact now.
    Accepted(Box<PeerInfo>),
    /// Somebody has typed wrong words, so the code is dead.
    Wrong,
    /// Nobody has used it in time.
    Expired,
}

/// An invitation that this node has accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct AcceptedInvitation {
    /// The inviter, which is a verified contact now.
    pub peer: PeerInfo,
    /// The room to which it invited this node.
    pub room: Option<RoomInfo>,
    /// A relay that the inviter shares: this node has the token for it now, and uses it in this run
    /// and later ones.
    pub relay: Option<RelayAt>,
    /// A relay that admits this node as a guest only. It requires a token, which this node does not
    /// have.
    pub needs_token: Option<RelayAt>,
}
