//! The Hello that this node sends at the start of a session: version, instance, nickname, and proofs
//! of its rooms. Its addresses follow in a profile, to those peers that may have them.

use hobnob_core::paths::Instance;
use hobnob_protocol::frame::Profile;
use hobnob_protocol::frame::features::{CONTENT, DIAL_BACK, DISCOVERABLE};
use hobnob_protocol::{Hello, PeerId, RoomKey};

use crate::clock::Clock;

/// Makes this node's Hello and profile for any connection, from the state at one moment. A change
/// after that moment is sent as a profile once the session is up.
#[derive(Debug, Clone)]
pub(super) struct HelloMaker {
    pub(super) me: PeerId,
    pub(super) instance: Instance,
    pub(super) clock: Clock,
    /// Whether mDNS announces this node.
    pub(super) discoverable: bool,
    pub(super) nick: String,
    /// The keys of this node's rooms. Only proofs of them leave this machine.
    pub(super) rooms: Vec<RoomKey>,
}

impl HelloMaker {
    /// The Hello for the connection with this exporter secret.
    pub(super) fn hello(self, exporter: &[u8; 32]) -> Hello {
        let discoverable = if self.discoverable { DISCOVERABLE } else { 0 };
        Hello {
            version: hobnob_protocol::VERSION,
            features: CONTENT | DIAL_BACK | discoverable,
            instance: self.instance.number,
            started_at_ms: self.instance.started_at_ms,
            clock_ms: self.clock.now().wall_ms,
            profile: self.profile(exporter),
        }
    }

    /// The profile for the session with this exporter secret, without addresses.
    pub(super) fn profile(self, exporter: &[u8; 32]) -> Profile {
        let proofs = self.rooms.iter().map(|key| key.proof(exporter, self.me));
        Profile {
            proofs: proofs.collect(),
            nick: self.nick,
            // A profile follows that depends on the peer, which a dialing node may not know yet.
            addrs: Vec::new(),
            direct: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_proves_each_room_for_one_connection_only() {
        let key = RoomKey::derive(&"ops".parse().expect("a room"), b"secret");
        let me = PeerId::from_bytes([1; 32]);
        let maker = HelloMaker {
            me,
            instance: Instance {
                started_at_ms: 5,
                number: 7,
            },
            clock: Clock::start(),
            discoverable: false,
            nick: "ann".to_owned(),
            rooms: vec![key],
        };
        let hello = maker.clone().hello(&[1; 32]);
        assert_eq!((hello.instance, hello.started_at_ms), (7, 5));
        assert_eq!(hello.features & DISCOVERABLE, 0);
        assert_eq!(hello.profile.proofs, [key.proof(&[1; 32], me)]);
        assert_eq!(hello.profile.addrs, []);
        let other = maker.profile(&[2; 32]);
        assert_ne!(other.proofs, hello.profile.proofs);
    }
}
