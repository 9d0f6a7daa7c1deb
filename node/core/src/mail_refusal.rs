//! Why a holder did not take a message for a peer that is away.

use serde::{Deserialize, Serialize};

/// Why a holder did not take a message. The message stays queued at its author.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum MailRefusal {
    /// A quota is used up: the sender's, the recipient's or the holder's.
    Full,
    /// The holder does not hold mail for the peer, or not from this node.
    NotAccepted,
    /// The holder can't store anything now.
    Failed,
    /// A reason that only a newer version knows.
    #[serde(other)]
    Unknown,
}
