//! Visitors: peers of other relays of the fleet. Each is here for channels with peers of this
//! relay, and leaves when it has had none for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hobnob_protocol::DeviceId;

/// Maximum visitors at once. Beyond: the newcomer is rejected (`full`).
pub const VISITORS_MAX: usize = 10_000;

/// How long a visitor may stay without a channel. It is checked this often, so a visitor leaves at
/// most this much too late.
pub const VISITOR_IDLE: Duration = Duration::from_secs(120);

/// The visitors of a relay.
#[derive(Debug, Default)]
pub(super) struct Visitors {
    /// When to check each one.
    look_at: BTreeMap<DeviceId, Duration>,
    looks: BTreeSet<(Duration, DeviceId)>,
}

impl Visitors {
    /// Whether another visitor can be admitted.
    pub(super) fn has_room(&self) -> bool {
        self.look_at.len() < VISITORS_MAX
    }

    pub(super) fn is_visitor(&self, peer: DeviceId) -> bool {
        self.look_at.contains_key(&peer)
    }

    /// A visitor has registered.
    pub(super) fn admit(&mut self, now: Duration, peer: DeviceId) {
        self.left(peer);
        self.look(now, peer);
    }

    /// A peer has disconnected, or has a new connection.
    pub(super) fn left(&mut self, peer: DeviceId) {
        if let Some(at) = self.look_at.remove(&peer) {
            self.looks.remove(&(at, peer));
        }
    }

    /// When [`Visitors::idle`] has work.
    pub(super) fn next_look(&self) -> Option<Duration> {
        self.looks.first().map(|(at, _)| *at)
    }

    /// The visitors that are due and have no channel, for the caller to disconnect.
    pub(super) fn idle(
        &mut self,
        now: Duration,
        has_channels: impl Fn(DeviceId) -> bool,
    ) -> Vec<DeviceId> {
        let mut idle = Vec::new();
        while let Some(&(at, peer)) = self.looks.first().filter(|(at, _)| *at <= now) {
            self.looks.remove(&(at, peer));
            if !has_channels(peer) {
                idle.push(peer);
            }
            self.look(now, peer);
        }
        idle
    }

    fn look(&mut self, now: Duration, peer: DeviceId) {
        let at = now + VISITOR_IDLE;
        self.look_at.insert(peer, at);
        self.looks.insert((at, peer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: usize) -> DeviceId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        DeviceId::from_bytes(bytes)
    }

    #[test]
    fn a_visitor_without_a_channel_leaves_and_one_with_a_channel_stays() {
        let mut visitors = Visitors::default();
        let start = Duration::from_secs(100);
        visitors.admit(start, peer(1));
        visitors.admit(start, peer(2));
        assert_eq!(visitors.next_look(), Some(start + VISITOR_IDLE));
        let talks = |visitor| visitor == peer(2);
        assert_eq!(visitors.idle(start, talks), []);
        let end = start + VISITOR_IDLE;
        assert_eq!(visitors.idle(end, talks), [peer(1)]);
        visitors.left(peer(1));
        assert!(!visitors.is_visitor(peer(1)) && visitors.is_visitor(peer(2)));
        assert_eq!(visitors.next_look(), Some(end + VISITOR_IDLE));
    }

    #[test]
    fn there_are_ten_thousand_visitors_at_most() {
        let mut visitors = Visitors::default();
        for n in 0..VISITORS_MAX {
            assert!(visitors.has_room());
            visitors.admit(Duration::ZERO, peer(n));
        }
        assert!(!visitors.has_room());
        visitors.left(peer(0));
        assert!(visitors.has_room());
        visitors.left(peer(1));
        visitors.admit(Duration::ZERO, peer(2));
        assert_eq!(visitors.look_at.len(), VISITORS_MAX - 2);
        assert_eq!(visitors.looks.len(), VISITORS_MAX - 2);
    }
}
