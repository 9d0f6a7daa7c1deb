//! Datagrams on the node's socket that are not QUIC and that the node uses.

use std::net::{IpAddr, SocketAddr};

use hobnob_protocol::datagram::{AddressCheck, Probe};
use hobnob_transport::stun::client::Seen;

/// A datagram on the node's socket that is not QUIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SideDatagram {
    /// Where it came from.
    pub from: SocketAddr,
    /// The address of this machine that it was sent to, if the system reports it.
    pub to: Option<IpAddr>,
    /// Its kind and content.
    pub kind: DatagramKind,
}

/// The kinds of datagrams, other than QUIC, that the node uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatagramKind {
    /// A probe: for hole punching, or a dial-back.
    Probe(Probe),
    /// A question which node is at an address, or the answer.
    AddressCheck(AddressCheck),
    /// The answer to a STUN request: the address at which another machine sees this node.
    StunAnswer(Seen),
}
