//! The possible findings of the checks: one variant per distinct finding, with the data that
//! explains it. The user interfaces turn findings into sentences and advice.
//!
//! One file for each family of findings.

mod machine;
mod mail;
mod network;
mod peer;
mod reach;
mod relay;

use serde::{Deserialize, Serialize};

use super::subject::{Parts, Subject, Verdict};
pub use machine::MachineFinding;
pub use mail::MailFinding;
pub use network::{MdnsFault, NetworkFinding};
pub use peer::PeerFinding;
pub use reach::ReachFinding;
pub use relay::RelayFinding;

/// One finding of a diagnosis. Peers and relays are named as people know them. In JSON, the field
/// `code` names the variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// About mail for peers that are away.
    Mail(MailFinding),
    /// About the path to one peer.
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
            | ReachFinding::NatRelayNear {}
            | ReachFinding::PortMapped { .. }
            | ReachFinding::RouterNotPublic { .. }
            | ReachFinding::PortRefused { .. }
            | ReachFinding::NoPortMapping {} => None,
        }
    }

    fn parts(&self) -> Parts {
        match self {
            Finding::Machine(finding) => finding.parts(),
            Finding::Network(finding) => finding.parts(),
            Finding::Reach(finding) => finding.parts(),
            Finding::Relay(finding) => finding.parts(),
            Finding::Mail(finding) => finding.parts(),
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

impl From<MailFinding> for Finding {
    fn from(finding: MailFinding) -> Self {
        Finding::Mail(finding)
    }
}

impl From<PeerFinding> for Finding {
    fn from(finding: PeerFinding) -> Self {
        Finding::Peer(finding)
    }
}
