//! How datagrams travel between this node and a relay.

use serde::{Deserialize, Serialize};

/// The carrier of the datagrams between this node and a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Carrier {
    /// UDP, as always where it works.
    Udp,
    /// A stream: TLS over TCP, where UDP is blocked.
    Tcp,
}

impl Carrier {
    /// The carrier of a connection with a stream, or without one.
    pub fn of_stream(has_stream: bool) -> Self {
        if has_stream { Self::Tcp } else { Self::Udp }
    }
}
