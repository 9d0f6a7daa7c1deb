//! Findings about the local network.

use serde::{Deserialize, Serialize};

use super::super::subject::{Parts, Subject, Verdict};

/// Why mDNS cannot start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum MdnsFault {
    /// No network interface can multicast.
    NoInterface,
    /// Another program has the mDNS port and does not share it.
    PortHeld,
    /// The mDNS thread cannot be started.
    Thread,
}

/// Findings about the local network: interfaces, UDP, multicast and neighbours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum NetworkFinding {
    /// No network interface but loopback is up.
    NoNetwork {},
    /// Packets to the internet leave through an interface that looks like a VPN.
    Vpn {
        /// The interface.
        interface: String,
    },
    /// The machine is on several networks.
    SeveralNetworks {
        /// The interfaces.
        interfaces: Vec<String>,
    },
    /// The machine is on one network; none if that is a VPN.
    OneNetwork {
        /// The interface.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interface: Option<String>,
    },
    /// Datagrams leave and arrive.
    UdpWorks {},
    /// A relay's machine answers over TCP, and nothing has arrived over UDP.
    UdpBlocked {
        /// The relay.
        relay: String,
    },
    /// This machine refuses to send the node's datagrams to an address.
    SendRefused {
        /// The address.
        to: String,
    },
    /// Nothing is known that could answer a test.
    UdpUntested {},
    /// The user wants nothing to be sent beyond the links except through a proxy.
    ProxyOnly {},
    /// The user has disabled mDNS.
    MdnsOff {},
    /// mDNS is enabled and cannot start.
    MdnsFailed {
        /// The reason.
        reason: MdnsFault,
    },
    /// No peer that announces itself is known to be on this network.
    MulticastUntested {},
    /// A peer on this network was found by mDNS.
    MulticastHeard {
        /// The interface.
        interface: String,
        /// The peer.
        peer: String,
    },
    /// A peer on this network announces itself, but mDNS did not find it.
    MulticastUnanswered {
        /// The interface.
        interface: String,
        /// The peer.
        peer: String,
    },
    /// A peer announces itself on this network by mDNS, and its machine does not answer.
    SilentNeighbour {
        /// The peer.
        peer: String,
        /// Its address.
        addr: String,
    },
    /// A peer on the same network can be reached only through a relay.
    Isolated {
        /// The peer.
        peer: String,
    },
}

impl NetworkFinding {
    pub(super) fn parts(&self) -> Parts {
        use Verdict::{Fine, Note, Problem, Unknown};
        match self {
            Self::NoNetwork {} => (Subject::Networks, Problem, "no-network"),
            Self::Vpn { .. } => (Subject::Networks, Note, "vpn"),
            Self::SeveralNetworks { .. } => (Subject::Networks, Note, "several-networks"),
            Self::OneNetwork { .. } => (Subject::Networks, Fine, "one-network"),
            Self::UdpWorks {} => (Subject::Udp, Fine, "udp-works"),
            Self::UdpBlocked { .. } => (Subject::Udp, Problem, "udp-blocked"),
            Self::SendRefused { .. } => (Subject::Udp, Problem, "send-refused"),
            Self::ProxyOnly {} => (Subject::Udp, Fine, "proxy-only"),
            Self::UdpUntested {} => (Subject::Udp, Unknown, "udp-untested"),
            Self::MdnsOff {} => (Subject::Multicast, Note, "mdns-off"),
            Self::MdnsFailed { .. } => (Subject::Multicast, Problem, "mdns-failed"),
            Self::MulticastUntested {} => (Subject::Multicast, Unknown, "multicast-untested"),
            Self::MulticastHeard { .. } => (Subject::Multicast, Fine, "multicast-heard"),
            Self::MulticastUnanswered { .. } => {
                (Subject::Multicast, Problem, "multicast-unanswered")
            }
            Self::SilentNeighbour { .. } => (Subject::Neighbours, Note, "silent-neighbour"),
            Self::Isolated { .. } => (Subject::Neighbours, Problem, "isolated"),
        }
    }
}
