//! Findings about the path to one peer.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::mail_refusal::MailRefusal;

use super::super::subject::{Parts, Subject, Verdict};

/// Findings about the path to one peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum PeerFinding {
    /// The user has blocked the peer.
    YouBlocked {
        /// The peer.
        peer: String,
    },
    /// The user has kicked the peer a while ago.
    YouKicked {
        /// The peer.
        peer: String,
    },
    /// The user ignores the peer.
    YouIgnore {
        /// The peer.
        peer: String,
    },
    /// The peer's user has not accepted this node. Further direct messages wait until then.
    AwaitsConsent {
        /// The peer.
        peer: String,
    },
    /// The peer is away, and no holder takes messages for it. They stay queued.
    MailRefused {
        /// The peer.
        peer: String,
        /// The holder's reason.
        reason: MailRefusal,
    },
    /// The peer uses the name of another peer that the user has verified.
    NameTaken {
        /// The peer.
        peer: String,
    },
    /// The peer has blocked this node.
    BlockedYou {
        /// The peer.
        peer: String,
    },
    /// The peer has kicked this node a while ago.
    KickedYou {
        /// The peer.
        peer: String,
    },
    /// The peer has verified another peer with this node's nickname.
    YourNameTaken {
        /// The peer.
        peer: String,
    },
    /// There is a session with the peer.
    Connected {
        /// The peer.
        peer: String,
        /// `lan`, `direct` or `relay`.
        path: String,
        /// The last round trip.
        rtt_ms: f64,
    },
    /// One peer's clock is ahead of this machine's by this difference.
    ClockDiffers {
        /// The peer.
        peer: String,
        /// The difference in milliseconds; negative: behind.
        ahead_ms: i64,
    },
    /// Another key answers where the peer was.
    KeyMismatch {
        /// The peer.
        peer: String,
        /// The address.
        addr: SocketAddr,
        /// The id of the key.
        found: String,
    },
    /// Another major version of hobnob answers, or another program. Without a peer: the user named
    /// the address.
    OtherVersion {
        /// The peer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        peer: Option<String>,
        /// The address.
        addr: String,
    },
    /// The machine is up, and no hobnob listens on the port.
    NotRunning {
        /// The peer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        peer: Option<String>,
        /// The address.
        addr: String,
    },
    /// The node at the address refuses a session.
    Refused {
        /// The peer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        peer: Option<String>,
        /// The address.
        addr: String,
        /// The reason.
        why: String,
    },
    /// No address of the peer is known.
    NoAddress {
        /// The peer.
        peer: String,
    },
    /// Nobody answers at these addresses, and the peer is not at these relays.
    Silent {
        /// The peer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        peer: Option<String>,
        /// The addresses.
        addrs: Vec<String>,
        /// The relays.
        relays: Vec<String>,
    },
}

impl PeerFinding {
    pub(super) fn parts(&self) -> Parts {
        use Verdict::{Fine, Note, Problem, Unknown};
        match self {
            Self::YouBlocked { .. } => (Subject::Policy, Problem, "you-blocked"),
            Self::YouKicked { .. } => (Subject::Policy, Problem, "you-kicked"),
            Self::AwaitsConsent { .. } => (Subject::Policy, Note, "awaits-consent"),
            Self::MailRefused { .. } => (Subject::Session, Note, "mail-refused"),
            Self::YouIgnore { .. } => (Subject::Policy, Note, "you-ignore"),
            Self::NameTaken { .. } => (Subject::Policy, Problem, "name-taken"),
            Self::BlockedYou { .. } => (Subject::Session, Problem, "blocked-you"),
            Self::KickedYou { .. } => (Subject::Session, Problem, "kicked-you"),
            Self::YourNameTaken { .. } => (Subject::Session, Problem, "your-name-taken"),
            Self::Connected { .. } => (Subject::Session, Fine, "connected"),
            Self::ClockDiffers { .. } => (Subject::Clock, Note, "clock-differs"),
            Self::KeyMismatch { .. } => (Subject::Session, Problem, "key-mismatch"),
            Self::OtherVersion { .. } => (Subject::Session, Problem, "other-version"),
            Self::NotRunning { .. } => (Subject::Session, Problem, "not-running"),
            Self::Refused { .. } => (Subject::Session, Problem, "refused"),
            Self::NoAddress { .. } => (Subject::Session, Unknown, "no-address"),
            Self::Silent { .. } => (Subject::Session, Unknown, "silent"),
        }
    }
}
