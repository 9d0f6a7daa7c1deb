//! The kinds of NAT mapping and filtering, in the terms of RFC 5780.

use serde::{Deserialize, Serialize};

/// How a NAT maps sockets to public ports (RFC 5780, section 4), as far as the relays show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
