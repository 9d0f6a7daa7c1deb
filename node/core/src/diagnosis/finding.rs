//! The possible findings of the checks: one variant per distinct finding, with the data that
//! explains it. The user interfaces turn findings into sentences and advice.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The result of a check, as a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// One relay.
    Relay,
    /// This machine's clock, or a peer's.
    Clock,
    /// The disk of the messages.
    Disk,
    /// This program itself.
    Program,
    /// The user's policy about a peer.
    Decision,
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
            Subject::Relay => "relay",
            Subject::Clock => "clock",
            Subject::Disk => "disk",
            Subject::Program => "program",
            Subject::Decision => "decision",
            Subject::Session => "session",
        }
    }
}

/// How a NAT maps sockets to public ports (RFC 5780, section 4), as far as the relays show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mapping {
    /// There is no NAT.
    None,
    /// One public port for all destinations.
    EndpointIndependent,
    /// One public port per destination address.
    AddressDependent,
    /// One public port per destination address and port.
    AddressAndPortDependent,
    /// One of the first two: it does not depend on the port.
    EndpointIndependentOrAddressDependent,
    /// One of the last two: it is not endpoint-independent.
    AddressDependentOrAddressAndPortDependent,
    /// Nothing could be compared.
    Unknown,
}

impl Mapping {
    /// The word for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Mapping::None => "none",
            Mapping::EndpointIndependent => "endpoint-independent",
            Mapping::AddressDependent => "address-dependent",
            Mapping::AddressAndPortDependent => "address-and-port-dependent",
            Mapping::EndpointIndependentOrAddressDependent => {
                "endpoint-independent-or-address-dependent"
            }
            Mapping::AddressDependentOrAddressAndPortDependent => {
                "address-dependent-or-address-and-port-dependent"
            }
            Mapping::Unknown => "unknown",
        }
    }
}

/// Which packets a NAT lets in (RFC 5780, section 5), as far as dial-backs show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filtering {
    /// Packets from other ports, too. Only a sender that this node never wrote to could
    /// distinguish the two kinds, and a relay is not such a sender.
    EndpointIndependentOrAddressDependent,
    /// Only packets from the exact ports that this node has written to.
    AddressAndPortDependent,
    /// No relay could send a dial-back that proves something.
    Unknown,
}

impl Filtering {
    /// The word for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Filtering::EndpointIndependentOrAddressDependent => {
                "endpoint-independent-or-address-dependent"
            }
            Filtering::AddressAndPortDependent => "address-and-port-dependent",
            Filtering::Unknown => "unknown",
        }
    }
}

/// The subject, the verdict and the code of a finding.
type Parts = (Subject, Verdict, &'static str);

/// One finding of a diagnosis. Peers and relays are named as people know them. In JSON, the field
/// `code` names the variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Finding {
    /// About the machine.
    Machine(MachineFinding),
    /// About the local network.
    Network(NetworkFinding),
    /// About the reachability of this node.
    Reach(ReachFinding),
    /// About one relay.
    Relay(RelayFinding),
    /// About the way to one peer.
    Peer(PeerFinding),
}

impl Finding {
    /// The examined subject.
    pub fn subject(&self) -> Subject {
        self.parts().0
    }

    /// The verdict.
    pub fn verdict(&self) -> Verdict {
        self.parts().1
    }

    /// The fixed word for the finding, in JSON and in reports.
    pub fn code(&self) -> &'static str {
        self.parts().2
    }

    /// The fixed word for the kind of NAT or filtering, if the finding is about those.
    pub fn kind(&self) -> Option<&'static str> {
        let Finding::Reach(reach) = self else {
            return None;
        };
        match reach {
            ReachFinding::NatOpen { kind }
            | ReachFinding::NatDependent { kind }
            | ReachFinding::NatUnclear { kind } => Some(kind.as_str()),
            ReachFinding::Filtering { kind } => Some(kind.as_str()),
            ReachFinding::DialBackArrived { .. }
            | ReachFinding::DialBackBlocked { .. }
            | ReachFinding::DialBackUntested {}
            | ReachFinding::DialBackBehindNat {}
            | ReachFinding::DialBackLost {}
            | ReachFinding::NatUnseen {}
            | ReachFinding::NatRelayNear {} => None,
        }
    }

    fn parts(&self) -> Parts {
        match self {
            Finding::Machine(finding) => finding.parts(),
            Finding::Network(finding) => finding.parts(),
            Finding::Reach(finding) => finding.parts(),
            Finding::Relay(finding) => finding.parts(),
            Finding::Peer(finding) => finding.parts(),
        }
    }
}

impl From<MachineFinding> for Finding {
    fn from(finding: MachineFinding) -> Self {
        Finding::Machine(finding)
    }
}

impl From<NetworkFinding> for Finding {
    fn from(finding: NetworkFinding) -> Self {
        Finding::Network(finding)
    }
}

impl From<ReachFinding> for Finding {
    fn from(finding: ReachFinding) -> Self {
        Finding::Reach(finding)
    }
}

impl From<RelayFinding> for Finding {
    fn from(finding: RelayFinding) -> Self {
        Finding::Relay(finding)
    }
}

impl From<PeerFinding> for Finding {
    fn from(finding: PeerFinding) -> Self {
        Finding::Peer(finding)
    }
}

/// Findings about the machine: port, clock and disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum MachineFinding {
    /// The node listens on its usual UDP port, or on the configured one.
    PortOpen {
        /// The port.
        port: u16,
    },
    /// Another program has the usual UDP port, so the node listens on another one.
    PortTaken {
        /// The port.
        port: u16,
        /// The usual port.
        usual: u16,
    },
    /// No peer is connected to compare clocks with.
    ClockUntested {},
    /// This machine's clock agrees with those of all peers, or of most.
    ClockAgrees {
        /// Whether all agree.
        all: bool,
    },
    /// This machine's clock differs from that of the only peer: one of the two is wrong.
    ClockUnclear {},
    /// Most peers' clocks are ahead of this machine's by this difference.
    Clock {
        /// The difference in milliseconds; negative: behind.
        ahead_ms: i64,
    },
    /// The last commit failed (no size), or too little space is free on the disk of the messages.
    Disk {
        /// The free space.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        free_bytes: Option<u64>,
    },
    /// Enough space is free on the disk of the messages.
    DiskFree {
        /// The free space.
        free_bytes: u64,
    },
    /// The system does not report the free space.
    DiskUnknown {},
    /// The program detected internal faults.
    InternalFaults {
        /// The number of faults since the program started.
        count: u64,
    },
}

impl MachineFinding {
    fn parts(&self) -> Parts {
        use Verdict::{Fine, Problem, Unknown};
        match self {
            Self::PortOpen { .. } => (Subject::Port, Fine, "port-open"),
            Self::PortTaken { .. } => (Subject::Port, Problem, "port-taken"),
            Self::ClockUntested {} => (Subject::Clock, Unknown, "clock-untested"),
            Self::ClockAgrees { .. } => (Subject::Clock, Fine, "clock-agrees"),
            Self::ClockUnclear {} => (Subject::Clock, Unknown, "clock-unclear"),
            Self::Clock { .. } => (Subject::Clock, Problem, "clock"),
            Self::Disk { .. } => (Subject::Disk, Problem, "disk"),
            Self::DiskFree { .. } => (Subject::Disk, Fine, "disk-free"),
            Self::DiskUnknown {} => (Subject::Disk, Unknown, "disk-unknown"),
            Self::InternalFaults { .. } => (Subject::Program, Problem, "internal-faults"),
        }
    }
}

/// Findings about the local network: interfaces, UDP, multicast and neighbours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// Nothing is known that could answer a test.
    UdpUntested {},
    /// The user has disabled mDNS.
    MdnsOff {},
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
    /// A peer on the same network can be reached only through a relay.
    Isolated {
        /// The peer.
        peer: String,
    },
}

impl NetworkFinding {
    fn parts(&self) -> Parts {
        use Verdict::{Fine, Note, Problem, Unknown};
        match self {
            Self::NoNetwork {} => (Subject::Networks, Problem, "no-network"),
            Self::Vpn { .. } => (Subject::Networks, Note, "vpn"),
            Self::SeveralNetworks { .. } => (Subject::Networks, Note, "several-networks"),
            Self::OneNetwork { .. } => (Subject::Networks, Fine, "one-network"),
            Self::UdpWorks {} => (Subject::Udp, Fine, "udp-works"),
            Self::UdpBlocked { .. } => (Subject::Udp, Problem, "udp-blocked"),
            Self::UdpUntested {} => (Subject::Udp, Unknown, "udp-untested"),
            Self::MdnsOff {} => (Subject::Multicast, Note, "mdns-off"),
            Self::MulticastUntested {} => (Subject::Multicast, Unknown, "multicast-untested"),
            Self::MulticastHeard { .. } => (Subject::Multicast, Fine, "multicast-heard"),
            Self::MulticastUnanswered { .. } => {
                (Subject::Multicast, Problem, "multicast-unanswered")
            }
            Self::Isolated { .. } => (Subject::Neighbours, Problem, "isolated"),
        }
    }
}

/// Findings about the reachability of this node: dial-backs and NAT. A *dial-back* is a packet from a
/// socket to which this node has never sent anything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
}

impl ReachFinding {
    fn parts(&self) -> Parts {
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
        }
    }
}

/// Findings about one relay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum RelayFinding {
    /// The node is registered at a relay.
    RelayUp {
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
}

impl RelayFinding {
    fn parts(&self) -> Parts {
        use Verdict::{Fine, Problem, Unknown};
        match self {
            Self::RelayUp { .. } => (Subject::Relay, Fine, "relay-up"),
            Self::RelayConnecting { .. } => (Subject::Relay, Unknown, "relay-connecting"),
            Self::RelayName { .. } => (Subject::Relay, Problem, "relay-name"),
            Self::RelayIdentity { .. } => (Subject::Relay, Problem, "relay-identity"),
            Self::RelayRefuses { .. } => (Subject::Relay, Problem, "relay-refuses"),
            Self::RelayDown { .. } => (Subject::Relay, Problem, "relay-down"),
            Self::RelayFiltered { .. } => (Subject::Relay, Problem, "relay-filtered"),
            Self::RelayUntested { .. } => (Subject::Relay, Unknown, "relay-untested"),
            Self::RelayAnswers { .. } => (Subject::Relay, Unknown, "relay-answers"),
            Self::RelaySilent { .. } => (Subject::Relay, Unknown, "relay-silent"),
        }
    }
}

/// Findings about the way to one peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    fn parts(&self) -> Parts {
        use Verdict::{Fine, Note, Problem, Unknown};
        match self {
            Self::YouBlocked { .. } => (Subject::Decision, Problem, "you-blocked"),
            Self::YouKicked { .. } => (Subject::Decision, Problem, "you-kicked"),
            Self::YouIgnore { .. } => (Subject::Decision, Note, "you-ignore"),
            Self::NameTaken { .. } => (Subject::Decision, Problem, "name-taken"),
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
