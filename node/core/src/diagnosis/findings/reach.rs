//! Findings about the reachability of this node.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::super::nat::{Filtering, Mapping};
use super::super::port_mapping::MappingProtocol;
use super::super::subject::{Parts, Subject, Verdict};

/// Findings about the reachability of this node: dial-backs and NAT. A *dial-back* is a packet from a
/// socket to which this node has never sent anything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum ReachFinding {
    /// A dial-back arrived, from the relay or, without one, from a peer.
    DialBackArrived {
        /// The relay.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        relay: Option<String>,
    },
    /// A dial-back from the relay or, without one, from a peer did not arrive. Only a firewall can have
    /// dropped it.
    DialBackBlocked {
        /// The relay.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        relay: Option<String>,
        /// Whether dial-backs from this network arrive.
        near: bool,
    },
    /// No connected peer or relay can dial back.
    DialBackUntested {},
    /// A dial-back did not arrive; the NAT may have dropped it.
    DialBackBehindNat {},
    /// A dial-back did not arrive; it may have been lost.
    DialBackLost {},
    /// No relay sees this node from outside.
    NatUnseen {},
    /// The only relay is on this machine's own network.
    NatRelayNear {},
    /// Peers can usually reach this node directly.
    NatOpen {
        /// The kind.
        kind: Mapping,
    },
    /// Each peer sees this node at another port.
    NatDependent {
        /// The kind.
        kind: Mapping,
    },
    /// The relays do not show which of several kinds the NAT has.
    NatUnclear {
        /// The kind.
        kind: Mapping,
    },
    /// Which packets the NAT lets in.
    Filtering {
        /// The kind.
        kind: Filtering,
    },
    /// A port of the router leads to this node.
    PortMapped {
        /// The protocol.
        protocol: MappingProtocol,
        /// The router's address and port.
        external: SocketAddr,
    },
    /// The router maps a port, but it is behind another NAT.
    RouterNotPublic {
        /// The protocol.
        protocol: MappingProtocol,
        /// The router's address and port.
        external: SocketAddr,
    },
    /// The router refuses to map a port.
    PortRefused {
        /// The protocol.
        protocol: MappingProtocol,
        /// The protocol's number for the reason.
        reason: u16,
    },
    /// The router answers in none of the protocols for port mapping.
    NoPortMapping {},
}

impl ReachFinding {
    pub(super) fn parts(&self) -> Parts {
        use Verdict::{Fine, Note, Problem, Unknown};
        match self {
            Self::DialBackArrived { .. } => (Subject::DialBack, Fine, "dial-back-arrived"),
            Self::DialBackBlocked { .. } => (Subject::DialBack, Problem, "dial-back-blocked"),
            Self::DialBackUntested {} => (Subject::DialBack, Unknown, "dial-back-untested"),
            Self::DialBackBehindNat {} => (Subject::DialBack, Unknown, "dial-back-behind-nat"),
            Self::DialBackLost {} => (Subject::DialBack, Unknown, "dial-back-lost"),
            Self::NatUnseen {} => (Subject::Nat, Unknown, "nat-unseen"),
            Self::NatRelayNear {} => (Subject::Nat, Unknown, "nat-relay-near"),
            Self::NatOpen { .. } => (Subject::Nat, Fine, "nat-open"),
            Self::NatDependent { .. } => (Subject::Nat, Note, "nat-dependent"),
            Self::NatUnclear { .. } => (Subject::Nat, Unknown, "nat-unclear"),
            Self::Filtering { kind } if *kind == Filtering::Unknown => {
                (Subject::Filtering, Unknown, "filtering")
            }
            Self::Filtering { .. } => (Subject::Filtering, Fine, "filtering"),
            Self::PortMapped { .. } => (Subject::Router, Fine, "port-mapped"),
            Self::RouterNotPublic { .. } => (Subject::Router, Note, "router-not-public"),
            Self::PortRefused { .. } => (Subject::Router, Note, "port-refused"),
            Self::NoPortMapping {} => (Subject::Router, Unknown, "no-port-mapping"),
        }
    }
}
