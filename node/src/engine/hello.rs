//! The Hello that this node sends at the start of a session: version, instance, record, and proofs
//! of its rooms. Its addresses follow in a profile, to those peers that may have them.

use hobnob_core::paths::Instance;
use hobnob_protocol::frame::Profile;
use hobnob_protocol::frame::features::{
    APPS, COMPRESSION, CONTENT, DIAL_BACK, DISCOVERABLE, PICTURES, SLEEP,
};
use hobnob_protocol::{DeviceId, Hello, SignedRecord};

use super::proofs::RoomProofs;
use crate::clock::Clock;

/// Makes this node's Hello and profile for a connection with one peer, from the state at one moment.
/// A change after that moment is sent as a profile once the session is up.
#[derive(Debug, Clone)]
pub(super) struct HelloMaker {
    pub(super) me: DeviceId,
    pub(super) instance: Instance,
    pub(super) clock: Clock,
    /// Whether mDNS announces this node.
    pub(super) discoverable: bool,
    /// This node's public record.
    pub(super) record: SignedRecord,
    /// The rooms to prove. Only proofs of their keys leave this machine.
    pub(super) rooms: RoomProofs,
}

impl HelloMaker {
    /// The Hello for the connection with this exporter secret.
    pub(super) fn hello(self, exporter: &[u8; 32]) -> Hello {
        let discoverable = if self.discoverable { DISCOVERABLE } else { 0 };
        Hello {
            version: hobnob_protocol::VERSION,
            features: CONTENT | DIAL_BACK | APPS | PICTURES | SLEEP | COMPRESSION | discoverable,
            instance: self.instance.number,
            started_at_ms: self.instance.started_at_ms,
            clock_ms: self.clock.now().wall_ms,
            profile: self.profile(exporter),
        }
    }

    /// The Hello that answers the Hello of a peer that has dialed. It also proves the rooms that the
    /// peer has proved.
    pub(super) fn answer(mut self, exporter: &[u8; 32], peer: DeviceId, theirs: &Hello) -> Hello {
        self.rooms = self.rooms.answer(exporter, peer, &theirs.profile.proofs);
        self.hello(exporter)
    }

    /// The profile for the session with this exporter secret, without addresses.
    pub(super) fn profile(self, exporter: &[u8; 32]) -> Profile {
        Profile {
            proofs: self.rooms.list(exporter),
            record: self.record,
            // A profile follows that depends on the peer, which a dialing node may not know yet.
            addrs: Vec::new(),
            direct: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_protocol::{RoomKey, RoomKind};

    fn maker(me: DeviceId, key: &RoomKey, withheld: bool) -> HelloMaker {
        let mut rooms = RoomProofs::new(me, [9; 32]);
        rooms.add(key.conversation(), key.clone(), withheld);
        HelloMaker {
            me,
            instance: Instance {
                started_at_ms: 5,
                number: 7,
            },
            clock: Clock::start(),
            discoverable: false,
            record: SignedRecord::default(),
            rooms,
        }
    }

    #[test]
    fn a_hello_proves_each_room_for_one_connection_only() {
        let (me, key) = (DeviceId::from_bytes([1; 32]), RoomKey::random([7; 32]));
        let maker = maker(me, &key, false);
        let hello = maker.clone().hello(&[1; 32]);
        assert_eq!((hello.instance, hello.started_at_ms), (7, 5));
        assert_eq!(hello.features & DISCOVERABLE, 0);
        assert!(hello.profile.proofs.contains(&key.proof(&[1; 32], me)));
        assert_eq!(hello.profile.addrs, []);
        let other = maker.profile(&[2; 32]);
        assert!(
            other
                .proofs
                .iter()
                .all(|proof| !hello.profile.proofs.contains(proof))
        );
    }

    #[test]
    fn an_answer_proves_what_the_dialing_peer_has_proved() {
        let [ann, bob] = [1, 2].map(|n| DeviceId::from_bytes([n; 32]));
        let key = RoomKey::from_bytes(RoomKind::Passphrase, [7; 32]);
        let (exporter, ours) = ([1; 32], maker(ann, &key, true));
        let proves = |hello: &Hello, who| hello.profile.proofs.contains(&key.proof(&exporter, who));
        let stranger = maker(bob, &RoomKey::random([8; 32]), false).hello(&exporter);
        assert!(!proves(
            &ours.clone().answer(&exporter, bob, &stranger),
            ann
        ));
        let member = maker(bob, &key, false).hello(&exporter);
        assert!(proves(&member, bob));
        assert!(proves(&ours.answer(&exporter, bob, &member), ann));
    }
}
