//! How many bytes the relay forwarded today for each peer.
//!
//! The counts outlive a connection, so that a peer cannot get a new quota by connecting again. The
//! shell stores them, so they outlive a restart, too.

use std::collections::{BTreeMap, BTreeSet};

use hobnob_protocol::DeviceId;

/// Maximum peers that are counted. Beyond, the peer with the least bytes is forgotten.
pub const QUOTA_PEERS_MAX: usize = 100_000;

/// The bytes of one day.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    /// The day, counted from 1970 in UTC.
    day: u64,
    used: BTreeMap<DeviceId, u64>,
    /// The same by bytes, the least first.
    by_bytes: BTreeSet<(u64, DeviceId)>,
}

impl Quotas {
    /// The counts of an earlier run.
    pub(super) fn restored(day: u64, used: impl IntoIterator<Item = (DeviceId, u64)>) -> Self {
        let mut quotas = Self {
            day,
            ..Self::default()
        };
        for (peer, bytes) in used {
            quotas.add(peer, bytes);
        }
        quotas
    }

    /// Notes the day. On a new one, all counts start at 0.
    pub(super) fn begin(&mut self, day: u64) {
        if day != self.day {
            *self = Self {
                day,
                ..Self::default()
            };
        }
    }

    /// Adds forwarded bytes. Returns the peer's bytes of today.
    pub(super) fn add(&mut self, peer: DeviceId, bytes: u64) -> u64 {
        let before = self.used(peer);
        if bytes == 0 {
            return before;
        }
        let after = before.saturating_add(bytes);
        self.by_bytes.remove(&(before, peer));
        self.used.insert(peer, after);
        self.by_bytes.insert((after, peer));
        if self.used.len() > QUOTA_PEERS_MAX
            && let Some((_, least)) = self.by_bytes.pop_first()
        {
            self.used.remove(&least);
        }
        after
    }

    /// The peer's bytes of today.
    pub(super) fn used(&self, peer: DeviceId) -> u64 {
        self.used.get(&peer).copied().unwrap_or(0)
    }

    /// The day, and the bytes of all peers.
    pub(super) fn all(&self) -> (u64, BTreeMap<DeviceId, u64>) {
        (self.day, self.used.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u32) -> DeviceId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        DeviceId::from_bytes(bytes)
    }

    #[test]
    fn bytes_add_up_until_the_day_ends() {
        let mut quotas = Quotas::default();
        quotas.begin(20_000);
        assert_eq!(quotas.add(peer(1), 5), 5);
        quotas.begin(20_000);
        assert_eq!(quotas.add(peer(1), 6), 11);
        assert_eq!(quotas.used(peer(2)), 0);
        quotas.begin(20_001);
        assert_eq!(quotas.used(peer(1)), 0);
    }

    #[test]
    fn a_restart_on_the_same_day_continues_the_counts() {
        let mut quotas = Quotas::restored(20_000, [(peer(1), 7)]);
        quotas.begin(20_000);
        assert_eq!(quotas.add(peer(1), 1), 8);
        assert_eq!(quotas.all(), (20_000, BTreeMap::from([(peer(1), 8)])));
        quotas.begin(20_001);
        assert_eq!(quotas.all().1.len(), 0);
    }

    #[test]
    fn the_peer_with_the_least_bytes_is_forgotten_first() {
        let mut quotas = Quotas::default();
        let max = u32::try_from(QUOTA_PEERS_MAX).unwrap();
        for n in 0..=max {
            quotas.add(peer(n), u64::from(if n == 7 { 1 } else { 10 + n }));
        }
        assert_eq!(quotas.used.len(), QUOTA_PEERS_MAX);
        assert_eq!(quotas.used(peer(7)), 0);
        assert_eq!(quotas.used(peer(max)), u64::from(10 + max));
    }
}
