//! The words that every finding has: its subject and its verdict.

use serde::{Deserialize, Serialize};

/// The result of a check, as a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It works.
    Fine,
    /// Nothing is broken, and the finding explains something.
    Note,
    /// It is broken.
    Problem,
    /// The evidence does not suffice.
    Unknown,
}

impl Verdict {
    /// The word for it on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Fine => "fine",
            Verdict::Note => "note",
            Verdict::Problem => "problem",
            Verdict::Unknown => "unknown",
        }
    }
}

/// The subject of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// The UDP port of this node.
    Port,
    /// The networks of this machine.
    Networks,
    /// UDP as such.
    Udp,
    /// mDNS on one network.
    Multicast,
    /// Peers on the same network.
    Neighbours,
    /// Whether packets from strangers arrive.
    DialBack,
    /// The mapping of the NAT (RFC 5780).
    Nat,
    /// The filtering of the NAT (RFC 5780).
    Filtering,
    /// The port that the router maps to this node.
    Router,
    /// One relay.
    Relay,
    /// This machine's clock, or a peer's.
    Clock,
    /// The disk of the messages.
    Disk,
    /// The limits on what others can make this node hold and do.
    Limits,
    /// Mail for peers that are away.
    Mail,
    /// This program itself.
    Program,
    /// The user's policy about a peer.
    Policy,
    /// The session with a peer.
    Session,
}

impl Subject {
    /// The word for it on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Subject::Port => "port",
            Subject::Networks => "networks",
            Subject::Udp => "udp",
            Subject::Multicast => "multicast",
            Subject::Neighbours => "neighbours",
            Subject::DialBack => "dial-back",
            Subject::Nat => "nat",
            Subject::Filtering => "filtering",
            Subject::Router => "router",
            Subject::Relay => "relay",
            Subject::Clock => "clock",
            Subject::Disk => "disk",
            Subject::Limits => "limits",
            Subject::Mail => "mail",
            Subject::Program => "program",
            Subject::Policy => "policy",
            Subject::Session => "session",
        }
    }
}

/// The subject, the verdict and the code of a finding.
pub(super) type Parts = (Subject, Verdict, &'static str);
