//! The answer to `mailbox`.

use hobnob::{DepositInfo, HolderInfo, HoldingInfo, MailRefusal, MailboxInfo};
use hobnob_local::json::{Text, Time};
use hobnob_protocol::{DeviceId, PersonId, RelayAt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Answers `mailbox`: see [`MailboxInfo`]. The lines write times as text, so serde cannot derive
/// them from those types.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MailboxLine {
    /// The holders that hold mail for this node.
    pub held_by: Vec<HolderLine>,
    /// The peers for which this node has messages at holders, or tried to.
    pub deposited: Vec<DepositLine>,
    /// The mail that this node holds for others, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holding: Option<HoldingLine>,
}

/// The mail that a node holds for others: see [`HoldingInfo`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HoldingLine {
    /// The contacts that let this node hold their mail.
    pub recipients: u64,
    /// The envelopes that wait for them.
    pub envelopes: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The maximum of these bytes.
    pub bytes_max: u64,
}

/// A holder of this node's mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HolderLine {
    /// Its identity.
    pub id: Text<DeviceId>,
    /// Its address, if the node uses it as a relay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Text<RelayAt>>,
    /// Its name to show, if it is a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether there is a connection with it.
    pub up: bool,
    /// The envelopes that waited there when this node asked last.
    pub envelopes: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When it began to hold.
    pub since: Time,
    /// When this node last had all that waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetched_at: Option<Time>,
    /// The envelopes that this node has had from it in this run.
    pub fetched: u64,
}

/// Messages at a holder, for a peer that is away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DepositLine {
    /// The peer.
    pub peer: Text<PersonId>,
    /// Its name to show.
    pub name: String,
    /// The messages that are held and that the peer has not confirmed.
    pub messages: u64,
    /// The small files that are offered to it and whose contents are still to be deposited.
    pub files_waiting: u64,
    /// The holder of the newest of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Text<DeviceId>>,
    /// When that one was deposited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// Why no holder takes further messages now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<MailRefusal>,
}

impl From<MailboxInfo> for MailboxLine {
    fn from(info: MailboxInfo) -> Self {
        let MailboxInfo {
            held_by,
            deposited,
            holding,
        } = info;
        MailboxLine {
            held_by: held_by.into_iter().map(HolderLine::from).collect(),
            deposited: deposited.into_iter().map(DepositLine::from).collect(),
            holding: holding.map(HoldingLine::from),
        }
    }
}

impl From<HoldingInfo> for HoldingLine {
    fn from(info: HoldingInfo) -> Self {
        HoldingLine {
            recipients: info.recipients,
            envelopes: info.envelopes,
            bytes: info.bytes,
            bytes_max: info.bytes_max,
        }
    }
}

impl From<HolderInfo> for HolderLine {
    fn from(info: HolderInfo) -> Self {
        HolderLine {
            id: Text(info.id),
            at: info.at.map(Text),
            name: info.name,
            up: info.connected,
            envelopes: info.envelopes,
            bytes: info.bytes,
            since: Time(info.since_ms),
            fetched_at: info.fetched_at_ms.map(Time),
            fetched: info.fetched,
        }
    }
}

impl From<DepositInfo> for DepositLine {
    fn from(info: DepositInfo) -> Self {
        DepositLine {
            peer: Text(info.peer),
            name: info.name,
            messages: info.messages,
            files_waiting: info.files_waiting,
            holder: info.holder.map(Text),
            at: info.at_ms.map(Time),
            refused: info.refused,
        }
    }
}
