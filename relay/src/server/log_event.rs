//! The relay's log of events for its operator: who registered, who was refused, kicked or banned.
//!
//! The form of a line is documented in docs/RELAY.md and does not change: programs such as fail2ban
//! read it. The program adds the time and limits the rate.

use std::fmt;
use std::net::SocketAddr;

use hobnob_protocol::DeviceId;

use crate::admission::BanTarget;

/// An event for the operator's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEvent {
    /// A peer has registered.
    Registered {
        /// The peer.
        peer: DeviceId,
        /// Its address.
        addr: SocketAddr,
        /// The name of the token that it knows.
        token: Option<String>,
    },
    /// A peer that proved its identity was not admitted.
    Refused {
        /// The peer.
        peer: DeviceId,
        /// Its address.
        addr: SocketAddr,
        /// Why, as a fixed word.
        reason: &'static str,
    },
    /// The relay ended the connection of a registered peer.
    Ended {
        /// The peer.
        peer: DeviceId,
        /// Its address.
        addr: SocketAddr,
        /// Why, as a fixed word. `kicked` and `banned` among them.
        reason: &'static str,
    },
    /// Peers of several networks reach the relay at this address, which is none of this machine's.
    ReachedAt(SocketAddr),
    /// Whether the relay can ask the other relays of its fleet.
    Fleet {
        /// There is a connection with NATS.
        connected: bool,
    },
    /// The operator banned somebody.
    Banned(BanTarget),
    /// The operator removed a ban.
    Unbanned(BanTarget),
}

impl fmt::Display for LogEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registered { peer, addr, token } => {
                write!(f, "registered {} peer={peer}", At(addr))?;
                match token {
                    Some(token) => write!(f, " token={token}"),
                    None => Ok(()),
                }
            }
            Self::Refused { peer, addr, reason } => {
                write!(f, "refused {} peer={peer} reason={reason}", At(addr))
            }
            Self::Ended { peer, addr, reason } => {
                write!(f, "ended {} peer={peer} reason={reason}", At(addr))
            }
            Self::ReachedAt(addr) => write!(f, "reached-at {}", At(addr)),
            Self::Fleet { connected: true } => write!(f, "fleet-connected"),
            Self::Fleet { connected: false } => write!(f, "fleet-disconnected"),
            Self::Banned(target) => write!(f, "banned target={target}"),
            Self::Unbanned(target) => write!(f, "unbanned target={target}"),
        }
    }
}

/// An address as two fields, because fail2ban needs the IP address alone.
struct At<'a>(&'a SocketAddr);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "addr={} port={}",
            self.0.ip().to_canonical(),
            self.0.port()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_documented_form() {
        let peer = DeviceId::from_bytes([1; 32]);
        let addr = "[::ffff:192.0.2.7]:4000".parse().unwrap();
        let at = format!("addr=192.0.2.7 port=4000 peer={peer}");
        for (event, line) in [
            (
                LogEvent::Registered {
                    peer,
                    addr,
                    token: Some("summer".into()),
                },
                format!("registered {at} token=summer"),
            ),
            (
                LogEvent::Registered {
                    peer,
                    addr,
                    token: None,
                },
                format!("registered {at}"),
            ),
            (
                LogEvent::Refused {
                    peer,
                    addr,
                    reason: "wrong-token",
                },
                format!("refused {at} reason=wrong-token"),
            ),
            (
                LogEvent::Ended {
                    peer,
                    addr,
                    reason: "kicked",
                },
                format!("ended {at} reason=kicked"),
            ),
            (
                LogEvent::ReachedAt("203.0.113.7:443".parse().unwrap()),
                "reached-at addr=203.0.113.7 port=443".to_owned(),
            ),
            (
                LogEvent::Fleet { connected: true },
                "fleet-connected".to_owned(),
            ),
            (
                LogEvent::Banned(BanTarget::Range("192.0.2.0/24".parse().unwrap())),
                "banned target=192.0.2.0/24".to_owned(),
            ),
            (
                LogEvent::Unbanned(BanTarget::Peer(peer)),
                format!("unbanned target={peer}"),
            ),
        ] {
            assert_eq!(event.to_string(), line);
        }
    }
}
