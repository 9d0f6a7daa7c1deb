//! Admission by token, where a socket's permissions do not protect the lines: over a WebSocket.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The first message of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenLine {
    /// The token: from `hobnob token create`, or that of a page.
    pub token: String,
}

/// A group of requests that a token permits.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Read everything that the node's user can read, and receive events.
    Read,
    /// Send, edit and cancel messages, and react to them.
    Send,
    /// Everything else: rooms, contacts, files of this machine, deletion, backups.
    Manage,
}

impl Right {
    /// All rights.
    pub const ALL: [Right; 3] = [Right::Read, Right::Send, Right::Manage];

    /// The fixed word for the right.
    pub fn as_str(self) -> &'static str {
        match self {
            Right::Read => "read",
            Right::Send => "send",
            Right::Manage => "manage",
        }
    }
}

/// The answer to the first message. It has the id `null`, as that message has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Admitted {
    /// The rights of the token.
    pub rights: BTreeSet<Right>,
}
