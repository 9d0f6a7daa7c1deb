//! Invitations by code, as the user sees them.

use hobnob_protocol::invitation::InviteCode;

use super::peer::PeerInfo;
use super::status::RoomInfo;

/// An invitation that this node has just created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The code for the other user. Whoever has it first becomes a verified contact.
    pub code: InviteCode,
    /// After so many seconds it expires.
    pub seconds: u64,
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
}
