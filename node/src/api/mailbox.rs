//! Mailboxes: the holders of a node's mail, what holders have for others, and what the node holds.

use hobnob_core::mail_refusal::MailRefusal;
use hobnob_protocol::{DeviceId, PersonId, RelayAt};

/// The state of a node's mail: the result of [`Node::mailbox`](crate::Node::mailbox).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MailboxInfo {
    /// The holders that hold mail for this node. After a start, a holder is listed once there was a
    /// connection with it.
    pub held_by: Vec<HolderInfo>,
    /// The peers that are away and for which this node has messages at holders, or tried to.
    pub deposited: Vec<DepositInfo>,
    /// The mail that this node holds for others. `None`: it holds none.
    pub holding: Option<HoldingInfo>,
}

/// The mail that a node holds for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldingInfo {
    /// The contacts that let this node hold their mail.
    pub recipients: u64,
    /// The envelopes that wait for them.
    pub envelopes: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The maximum of these bytes: see [`Config::hold_max`](crate::Config::hold_max).
    pub bytes_max: u64,
}

/// A holder of a node's mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HolderInfo {
    /// Its identity.
    pub id: DeviceId,
    /// Its address, if the node uses it as a relay.
    pub at: Option<RelayAt>,
    /// Its name to show, if it is a node, not a relay.
    pub name: Option<String>,
    /// Whether there is a connection with it now.
    pub connected: bool,
    /// The envelopes that waited there when this node asked last.
    pub envelopes: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When it began to hold, by its clock, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// When this node last had all that waited, by this node's clock, in milliseconds since the Unix
    /// epoch. `None`: not yet in this run.
    pub fetched_at_ms: Option<u64>,
    /// The envelopes that this node has had from it in this run.
    pub fetched: u64,
}

/// Messages of a node at a holder, for a peer that is away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DepositInfo {
    /// The peer.
    pub peer: PersonId,
    /// Its name to show: see [`PeerInfo::name`](crate::PeerInfo::name).
    pub name: String,
    /// The messages that are held and that the peer has not confirmed.
    pub messages: u64,
    /// The small files that are offered to it and whose contents are still to be deposited.
    pub files_waiting: u64,
    /// The holder of the newest of them.
    pub holder: Option<DeviceId>,
    /// When that one was deposited, in milliseconds since the Unix epoch.
    pub at_ms: Option<u64>,
    /// Why no holder takes further messages now. They stay queued.
    pub refused: Option<MailRefusal>,
}
