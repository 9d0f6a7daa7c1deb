//! Tells peers apart by source network without naming the network.

use std::time::Duration;

use hobnob_limits::Network;
use hobnob_protocol::relay::Origin;

/// How long a key is used. Two days of one network cannot be linked.
const KEY_STAYS: Duration = Duration::from_secs(24 * 60 * 60);

/// Computes the [`Origin`] of each source network.
#[derive(Debug)]
pub(super) struct Origins {
    seed: [u8; 32],
    day: u128,
    key: [u8; 32],
}

impl Origins {
    /// The seed must be random and secret.
    pub(super) fn new(seed: &[u8; 32]) -> Self {
        Self {
            seed: *seed,
            day: 0,
            key: key(seed, 0),
        }
    }

    /// The origin of a network, by today's key.
    pub(super) fn of(&mut self, now: Duration, network: Network) -> Origin {
        let day = now.as_nanos() / KEY_STAYS.as_nanos();
        if day != self.day {
            self.day = day;
            self.key = key(&self.seed, day);
        }
        let (family, bytes) = match &network {
            Network::V4(bytes) => (4, &bytes[..]),
            Network::V6(bytes) => (6, &bytes[..]),
        };
        let mac = blake3::keyed_hash(&self.key, &[&[family], bytes].concat());
        let mut origin = Origin::default();
        origin.copy_from_slice(&mac.as_bytes()[..size_of::<Origin>()]);
        origin
    }
}

fn key(seed: &[u8; 32], day: u128) -> [u8; 32] {
    blake3::derive_key(
        "hobnob 1 relay origins",
        &[&seed[..], &day.to_be_bytes()].concat(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_stands_for_one_network_at_one_relay_on_one_day() {
        let network = |ip: &str| Network::of(ip.parse().expect("an address"));
        let mut origins = Origins::new(&[1; 32]);
        let home = origins.of(Duration::ZERO, network("192.0.2.1"));
        assert_eq!(home, origins.of(KEY_STAYS / 2, network("192.0.2.99")));
        assert_ne!(home, origins.of(Duration::ZERO, network("192.0.3.1")));
        assert_ne!(home, origins.of(KEY_STAYS, network("192.0.2.1")));
        let mut elsewhere = Origins::new(&[2; 32]);
        assert_ne!(home, elsewhere.of(Duration::ZERO, network("192.0.2.1")));
    }
}
