//! Findings about one relay.

use serde::{Deserialize, Serialize};

use super::super::subject::{Parts, Subject, Verdict};

/// Findings about one relay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum RelayFinding {
    /// The node is registered at a relay.
    RelayUp {
        /// The relay.
        relay: String,
    },
    /// The node is registered at a relay through a stream, because UDP is blocked.
    RelayByTcp {
        /// The relay.
        relay: String,
    },
    /// The relay has not answered yet.
    RelayConnecting {
        /// The relay.
        relay: String,
    },
    /// The relay's name has no address.
    RelayName {
        /// The relay.
        relay: String,
        /// The reason.
        why: String,
    },
    /// Another identity than the known one answers at the relay's address.
    RelayIdentity {
        /// The relay.
        relay: String,
    },
    /// The relay does not admit this node.
    RelayRefuses {
        /// The relay.
        relay: String,
        /// The reason.
        why: String,
    },
    /// The relay's machine is up, and nothing listens on the port.
    RelayDown {
        /// The relay.
        relay: String,
    },
    /// The relay's machine is up, and its UDP port is silent, while UDP works elsewhere.
    RelayFiltered {
        /// The relay.
        relay: String,
    },
    /// The relay cannot be tested while UDP is blocked.
    RelayUntested {
        /// The relay.
        relay: String,
    },
    /// The relay's port answers, and there is no connection yet.
    RelayAnswers {
        /// The relay.
        relay: String,
    },
    /// The relay answers neither over UDP nor over TCP.
    RelaySilent {
        /// The relay.
        relay: String,
    },
    /// This node runs a relay for its contacts.
    RelayForContacts {
        /// Where contacts reach it.
        relay: String,
        /// The contacts that are registered there.
        contacts: u64,
        /// The maximum of them.
        contacts_max: u64,
        /// The bytes that it has forwarded since the start.
        bytes: u64,
    },
    /// This node runs a relay for its contacts, and does not know where they can reach it.
    RelayForContactsHidden {
        /// The address that it listens on.
        listens: String,
    },
}

impl RelayFinding {
    pub(super) fn parts(&self) -> Parts {
        use Verdict::{Fine, Problem, Unknown};
        match self {
            Self::RelayUp { .. } => (Subject::Relay, Fine, "relay-up"),
            Self::RelayByTcp { .. } => (Subject::Relay, Fine, "relay-by-tcp"),
            Self::RelayConnecting { .. } => (Subject::Relay, Unknown, "relay-connecting"),
            Self::RelayName { .. } => (Subject::Relay, Problem, "relay-name"),
            Self::RelayIdentity { .. } => (Subject::Relay, Problem, "relay-identity"),
            Self::RelayRefuses { .. } => (Subject::Relay, Problem, "relay-refuses"),
            Self::RelayDown { .. } => (Subject::Relay, Problem, "relay-down"),
            Self::RelayFiltered { .. } => (Subject::Relay, Problem, "relay-filtered"),
            Self::RelayUntested { .. } => (Subject::Relay, Unknown, "relay-untested"),
            Self::RelayAnswers { .. } => (Subject::Relay, Unknown, "relay-answers"),
            Self::RelaySilent { .. } => (Subject::Relay, Unknown, "relay-silent"),
            Self::RelayForContacts { .. } => (Subject::Relay, Fine, "relay-for-contacts"),
            Self::RelayForContactsHidden { .. } => {
                (Subject::Relay, Problem, "relay-for-contacts-hidden")
            }
        }
    }
}
