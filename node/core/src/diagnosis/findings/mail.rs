//! Findings about mail: what others hold for this node, and what this node holds for others.

use serde::{Deserialize, Serialize};

use super::super::subject::{Parts, Subject, Verdict};

/// Findings about mail for peers that are away.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum MailFinding {
    /// Nobody holds mail for this node, and contacts are away.
    NoHolder {
        /// The number of contacts that are away now.
        away: u64,
        /// The number of all contacts.
        contacts: u64,
    },
    /// Relays or nodes hold mail for this node.
    MailHolders {
        /// How many are connected.
        connected: u64,
    },
    /// A holder of this node's mail has not been reachable for days.
    HolderAway {
        /// The holder.
        holder: String,
        /// Full days since there was a connection with it.
        days: u64,
    },
    /// Messages of this node wait at holders.
    MailHeld {
        /// How many.
        messages: u64,
        /// For how many peers.
        peers: u64,
        /// Full days since the last deposit for the peer that has waited longest.
        days: u64,
    },
    /// Contents of small files wait until a mailbox has room for them.
    FilesWait {
        /// How many.
        files: u64,
    },
    /// This node holds almost as much mail for others as it may.
    HoldingFull {
        /// The bytes that it holds.
        bytes: u64,
        /// The bytes that it may hold.
        bytes_max: u64,
    },
}

impl MailFinding {
    pub(super) fn parts(&self) -> Parts {
        use Verdict::{Fine, Note};
        match self {
            Self::NoHolder { .. } => (Subject::Mail, Note, "no-holder"),
            Self::MailHolders { .. } => (Subject::Mail, Fine, "mail-holders"),
            Self::HolderAway { .. } => (Subject::Mail, Note, "holder-away"),
            Self::MailHeld { days, .. } => {
                let verdict = if *days < super::super::LONG_HELD_DAYS {
                    Fine
                } else {
                    Note
                };
                (Subject::Mail, verdict, "mail-held")
            }
            Self::FilesWait { .. } => (Subject::Mail, Note, "files-wait"),
            Self::HoldingFull { .. } => (Subject::Mail, Note, "holding-full"),
        }
    }
}
