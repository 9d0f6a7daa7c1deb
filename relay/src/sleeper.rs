//! The types about sleeping peers that the core, the server and the plane share.
//!
//! A sleeping peer has no connection. The plane has its keys and address, and handles its heartbeats
//! ([`hobnob_protocol::heartbeat`]). The core knows that the peer is registered. It orders the plane
//! with [`SleepUpdate`]s, and the plane reports [`SleeperNews`].

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use hobnob_protocol::DeviceId;
use hobnob_protocol::heartbeat::{Handle, SleepSecret};

/// A peer that may sleep from now on.
#[derive(Debug)]
pub struct NewSleeper {
    /// The name of its sleep.
    pub handle: Handle,
    /// The peer.
    pub peer: DeviceId,
    /// The secret of its sleep.
    pub secret: SleepSecret,
    /// Its address, as the plane sees senders.
    pub addr: SocketAddr,
    /// The address of the relay that it sends to, if the system reports it.
    pub at: Option<IpAddr>,
}

/// A change of the plane's table of sleepers.
#[derive(Debug)]
pub enum SleepUpdate {
    /// Add a sleeper.
    Add(Box<NewSleeper>),
    /// Tell a sleeper that this peer wants a channel with it.
    Wake(Handle, DeviceId),
    /// Remove a sleeper.
    Remove {
        /// The name of its sleep.
        handle: Handle,
        /// Whether to tell the node, so that it connects again at once.
        inform: bool,
    },
}

/// What the plane has heard from a sleeper, or that it heard nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SleeperNews {
    /// The sleeper.
    pub peer: DeviceId,
    /// The name of its sleep.
    pub handle: Handle,
    /// The news.
    pub kind: NewsKind,
}

/// The kinds of [`SleeperNews`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewsKind {
    /// Its first heartbeat has arrived: it sleeps, even if the end of its connection was lost.
    Began,
    /// It has proved that it is at this address now.
    Moved(SocketAddr),
    /// It has sent no heartbeat for too long, or has slept for too long.
    Silent,
    /// It leaves.
    Left,
    /// It does not want to be woken for this peer.
    Declined(DeviceId),
}

/// A socket address in 24 bytes, of which there can be a million. The flow label of IPv6 is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CompactAddr {
    ip: [u8; 16],
    scope: u32,
    port: u16,
    is_v4: bool,
}

impl CompactAddr {
    pub(crate) fn of(addr: SocketAddr) -> Self {
        let (ip, scope, is_v4) = match addr {
            SocketAddr::V4(v4) => (v4.ip().to_ipv6_mapped(), 0, true),
            SocketAddr::V6(v6) => (*v6.ip(), v6.scope_id(), false),
        };
        Self {
            ip: ip.octets(),
            scope,
            port: addr.port(),
            is_v4,
        }
    }

    pub(crate) fn socket_addr(self) -> SocketAddr {
        let ip = Ipv6Addr::from(self.ip);
        match ip.to_ipv4_mapped().filter(|_| self.is_v4) {
            Some(v4) => SocketAddr::new(v4.into(), self.port),
            None => SocketAddrV6::new(ip, self.port, 0, self.scope).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compact_address_is_the_same_address() {
        for addr in [
            "192.0.2.1:7",
            "[::ffff:192.0.2.1]:7",
            "[2001:db8::1]:4627",
            "[fe80::1%3]:4627",
        ] {
            let addr: SocketAddr = addr.parse().expect("an address");
            assert_eq!(CompactAddr::of(addr).socket_addr(), addr);
        }
        assert_eq!(size_of::<CompactAddr>(), 24);
    }
}
