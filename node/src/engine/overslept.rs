//! Peers with whom a session does not outlast a sleep.
//!
//! A virtual machine, a container or a VPN can hide a NAT between two machines that take each other
//! for neighbours. It forgets the path of a sleeping session, so the session is lost, and the peer
//! is back at once by another one. For a day, sessions with such a peer stay awake.

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob_protocol::DeviceId;

/// A peer that is back within this time was not away.
const BACK_WITHIN: Duration = Duration::from_secs(30);

/// How long sessions with a peer stay awake.
const AWAKE_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// Maximum peers that are remembered of each kind. Sessions with further ones sleep.
pub(super) const OVERSLEPT_MAX: usize = 1_024;

/// See the module's doc.
#[derive(Debug, Default)]
pub(super) struct Overslept {
    /// When a sleeping session with the peer was lost.
    lost: BTreeMap<DeviceId, Duration>,
    /// The peers that came back at once, and when they did.
    awake: BTreeMap<DeviceId, Duration>,
}

impl Overslept {
    /// A sleeping session was lost.
    pub(super) fn lost(&mut self, peer: DeviceId, now: Duration) {
        self.lost
            .retain(|_, lost_at| now.saturating_sub(*lost_at) < BACK_WITHIN);
        if self.lost.len() < OVERSLEPT_MAX {
            self.lost.insert(peer, now);
        }
    }

    /// A session with a peer begins.
    pub(super) fn begins(&mut self, peer: DeviceId, now: Duration) {
        let lost_at = self.lost.remove(&peer);
        let is_back = lost_at.is_some_and(|at| now.saturating_sub(at) < BACK_WITHIN);
        if !is_back {
            return;
        }
        self.awake
            .retain(|_, since| now.saturating_sub(*since) < AWAKE_FOR);
        if self.awake.len() < OVERSLEPT_MAX {
            self.awake.insert(peer, now);
        }
    }

    /// Whether sessions with a peer may sleep.
    pub(super) fn may_sleep(&self, peer: DeviceId, now: Duration) -> bool {
        let since = self.awake.get(&peer);
        since.is_none_or(|since| now.saturating_sub(*since) >= AWAKE_FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: usize) -> DeviceId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        DeviceId::from_bytes(bytes)
    }

    #[test]
    fn a_peer_that_is_back_at_once_sleeps_no_more_and_one_that_was_away_does() {
        let (mut overslept, now) = (Overslept::default(), Duration::from_secs(1_000));
        overslept.begins(peer(1), now);
        assert!(overslept.may_sleep(peer(1), now));
        overslept.lost(peer(1), now);
        overslept.lost(peer(2), now);
        overslept.begins(peer(1), now + BACK_WITHIN / 2);
        overslept.begins(peer(2), now + BACK_WITHIN);
        let later = now + BACK_WITHIN;
        assert!(!overslept.may_sleep(peer(1), later));
        assert!(overslept.may_sleep(peer(2), later));
    }

    #[test]
    fn a_peer_is_tried_again_after_a_day() {
        let (mut overslept, now) = (Overslept::default(), Duration::from_secs(1_000));
        overslept.lost(peer(1), now);
        overslept.begins(peer(1), now);
        assert!(!overslept.may_sleep(peer(1), now + AWAKE_FOR - BACK_WITHIN));
        assert!(overslept.may_sleep(peer(1), now + AWAKE_FOR));
        overslept.lost(peer(2), now + AWAKE_FOR);
        overslept.begins(peer(2), now + AWAKE_FOR);
        assert_eq!(overslept.awake.len(), 1, "the first is forgotten");
    }

    #[test]
    fn a_limited_number_of_peers_is_remembered() {
        let mut overslept = Overslept::default();
        for n in 0..2 * OVERSLEPT_MAX {
            overslept.lost(peer(n), Duration::ZERO);
        }
        assert_eq!(overslept.lost.len(), OVERSLEPT_MAX);
        overslept.lost(peer(9), BACK_WITHIN);
        assert_eq!(overslept.lost.len(), 1, "the others were away");
        for n in 0..2 * OVERSLEPT_MAX {
            overslept.lost(peer(n), BACK_WITHIN);
            overslept.begins(peer(n), BACK_WITHIN);
        }
        assert_eq!(overslept.awake.len(), OVERSLEPT_MAX);
    }
}
