//! What the router answered when it was asked for a port.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::findings::ReachFinding;

/// A protocol by which routers map ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum MappingProtocol {
    /// The Port Control Protocol (RFC 6887).
    Pcp,
    /// The NAT Port Mapping Protocol (RFC 6886).
    NatPmp,
    /// UPnP Internet Gateway Device.
    Upnp,
}

impl MappingProtocol {
    /// The name that people know.
    pub fn as_str(self) -> &'static str {
        match self {
            MappingProtocol::Pcp => "PCP",
            MappingProtocol::NatPmp => "NAT-PMP",
            MappingProtocol::Upnp => "UPnP",
        }
    }
}

/// The state of the port mapping.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PortMapping {
    /// No router was asked, or none has answered yet.
    #[default]
    None,
    /// The machine has no default gateway, or a public address of its own.
    NoRouter,
    /// A port of the router leads to this node.
    Mapped {
        /// The protocol.
        protocol: MappingProtocol,
        /// The router's address and port.
        external: SocketAddr,
    },
    /// The router maps a port, but its own address is not public: it is behind another NAT.
    NotPublic {
        /// The protocol.
        protocol: MappingProtocol,
        /// The router's address and port.
        external: SocketAddr,
    },
    /// The router refuses.
    Refused {
        /// The protocol.
        protocol: MappingProtocol,
        /// The protocol's number for the reason.
        reason: u16,
    },
    /// The router answers in none of the protocols.
    Silent,
}

impl PortMapping {
    /// The address at which the router accepts packets for this node.
    pub fn external(&self) -> Option<SocketAddr> {
        match self {
            PortMapping::Mapped { external, .. } => Some(*external),
            PortMapping::None
            | PortMapping::NoRouter
            | PortMapping::NotPublic { .. }
            | PortMapping::Refused { .. }
            | PortMapping::Silent => None,
        }
    }

    /// The finding, if there was a router to ask.
    pub(super) fn judge(&self) -> Option<ReachFinding> {
        match *self {
            PortMapping::None | PortMapping::NoRouter => None,
            PortMapping::Mapped { protocol, external } => {
                Some(ReachFinding::PortMapped { protocol, external })
            }
            PortMapping::NotPublic { protocol, external } => {
                Some(ReachFinding::RouterNotPublic { protocol, external })
            }
            PortMapping::Refused { protocol, reason } => {
                Some(ReachFinding::PortRefused { protocol, reason })
            }
            PortMapping::Silent => Some(ReachFinding::NoPortMapping {}),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Evidence, Finding, Verdict, judge};
    use super::*;

    #[test]
    fn a_report_shows_what_the_router_answered() {
        let protocol = MappingProtocol::Upnp;
        let external = "11.1.0.2:4626".parse().expect("an address");
        for (port_mapping, expected) in [
            (PortMapping::None, None),
            (PortMapping::NoRouter, None),
            (
                PortMapping::Mapped { protocol, external },
                Some(("port-mapped", Verdict::Fine)),
            ),
            (
                PortMapping::NotPublic { protocol, external },
                Some(("router-not-public", Verdict::Note)),
            ),
            (
                PortMapping::Refused {
                    protocol,
                    reason: 2,
                },
                Some(("port-refused", Verdict::Note)),
            ),
            (
                PortMapping::Silent,
                Some(("no-port-mapping", Verdict::Unknown)),
            ),
        ] {
            let evidence = Evidence {
                port_mapping,
                ..Evidence::default()
            };
            let findings = judge(&evidence);
            let of_port = |it: &&Finding| it.subject().as_str() == "router";
            let found = findings.iter().find(of_port);
            let found = found.map(|finding| (finding.code(), finding.verdict()));
            assert_eq!(found, expected, "{:?}", evidence.port_mapping);
        }
    }
}
