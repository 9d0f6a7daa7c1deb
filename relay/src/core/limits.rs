//! What a relay takes on, in all and from one peer, and how fast one peer may ask for things.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hobnob_protocol::PeerId;
use hobnob_protocol::relay::close;

/// How often something may happen: `burst` times at once, then once every `every`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Time in which one more becomes allowed.
    pub every: Duration,
    /// How many may happen at once after a long rest; at least 1.
    pub burst: u32,
}

impl Pace {
    const fn new(burst: u32, every: Duration) -> Self {
        Self { every, burst }
    }
}

/// What the relay takes on. Beyond a limit nobody else suffers: the one who asked is told, in a
/// sentence that names the limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Peers registered at once. Beyond: the newcomer is turned away (`full`).
    pub peers: usize,
    /// Peers registered at once from one /24 (IPv4) or one /48 (IPv6). Beyond: the newcomer is
    /// turned away (`full`).
    pub peers_per_network: usize,
    /// Room memberships of all peers together. Beyond: the newcomer is turned away (`full`), a
    /// change of rooms ends its peer's connection.
    pub memberships: usize,
    /// Channels of one peer at once. Beyond: `NotOpened(Limit)`.
    pub channels_per_peer: usize,
    /// Channels in all. Beyond: `NotOpened(Limit)`.
    pub channels: usize,
    /// Whether peers are told who else is in their rooms. If not, room tags are forgotten as they
    /// come.
    pub roster: bool,
    /// Bytes a second that the relay passes on for one peer; 0: as many as it can. The core only
    /// says it; the plane keeps to it.
    pub rate: u64,
    /// Registrations of one peer. Beyond: the new connection ends (`limit`), the old one stays.
    pub registrations: Pace,
    /// Frames of any kind from one peer. Beyond, here and below: its connection ends (`limit`).
    pub frames: Pace,
    /// Heartbeats of one peer.
    pub heartbeats: Pace,
    /// Changes of its rooms by one peer.
    pub room_changes: Pace,
    /// Channels that one peer asks for.
    pub opens: Pace,
    /// Changes of one peer's address.
    pub moves: Pace,
    /// Calls that one peer asks for. Beyond: it is not called, and told so; the connection stays.
    pub calls: Pace,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            peers: 20_000,
            peers_per_network: 2_000,
            memberships: 400_000,
            channels_per_peer: 64,
            channels: 200_000,
            roster: true,
            rate: 0,
            registrations: Pace::new(20, Duration::from_secs(5)),
            frames: Pace::new(500, Duration::from_millis(20)),
            heartbeats: Pace::new(20, Duration::from_secs(2)),
            room_changes: Pace::new(20, Duration::from_secs(2)),
            opens: Pace::new(128, Duration::from_millis(250)),
            moves: Pace::new(30, Duration::from_secs(1)),
            calls: Pace::new(12, Duration::from_secs(1)),
        }
    }
}

/// What one peer has used up of one [`Pace`]: the generic cell rate algorithm, which needs one
/// number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bucket {
    /// When the bucket is full again.
    full_at: Duration,
}

impl Bucket {
    /// Takes one, or says that there is none.
    pub(super) fn take(&mut self, now: Duration, pace: Pace) -> bool {
        let full_at = self.full_at.max(now) + pace.every;
        let allowed = full_at <= now + pace.every * pace.burst.max(1);
        if allowed {
            self.full_at = full_at;
        }
        allowed
    }
}

/// What one peer has used up of every [`Pace`] in [`Limits`].
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Allowance {
    pub(super) registrations: Bucket,
    pub(super) frames: Bucket,
    pub(super) heartbeats: Bucket,
    pub(super) room_changes: Bucket,
    pub(super) opens: Bucket,
    pub(super) moves: Bucket,
    pub(super) calls: Bucket,
}

/// Whom one subscriber of a network can pretend to be: the /24 of an IPv4 address, the /48 of an
/// IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Network {
    V4([u8; 3]),
    V6([u8; 6]),
}

impl Network {
    pub(super) fn of(addr: SocketAddr) -> Self {
        match addr.ip().to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                Network::V4([a, b, c])
            }
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, ..] = ip.octets();
                Network::V6([a, b, c, d, e, f])
            }
        }
    }
}

/// Why a newcomer is turned away. The text is for the user of the node that came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TurnedAway {
    #[error(
        "this relay has all the {0} peers that it takes: try again later, or use another relay"
    )]
    Full(usize),
    #[error(
        "this relay has all the {0} peers that it takes from one network: try again later, or use another relay"
    )]
    NetworkFull(usize),
    #[error("this relay knows of as many rooms as it takes: try again later, or use another relay")]
    RoomsFull,
    #[error("{} registered too often: at most {} times at once, then once every {:?}; is one identity in use on two machines?", .0.short(), .1.burst, .1.every)]
    TooOften(PeerId, Pace),
}

impl TurnedAway {
    /// The close code that goes with the sentence.
    pub(super) fn code(&self) -> u32 {
        match self {
            TurnedAway::Full(_) | TurnedAway::NetworkFull(_) | TurnedAway::RoomsFull => close::FULL,
            TurnedAway::TooOften(..) => close::LIMIT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_one_at_a_time() {
        let pace = Pace::new(3, Duration::from_secs(2));
        let mut bucket = Bucket::default();
        let taken: Vec<_> = [10, 10, 10, 10, 11, 12, 12, 20, 20, 20, 20]
            .into_iter()
            .filter(|second| bucket.take(Duration::from_secs(*second), pace))
            .collect();
        assert_eq!(taken, [10, 10, 10, 12, 20, 20, 20]);
    }

    #[test]
    fn a_network_is_the_same_for_all_of_a_subscribers_addresses() {
        let network = |addr: &str| Network::of(addr.parse().expect("an address"));
        assert_eq!(network("11.0.0.1:1"), network("11.0.0.255:2"));
        assert_eq!(network("11.0.0.1:1"), network("[::ffff:11.0.0.9]:1"));
        assert_ne!(network("11.0.0.1:1"), network("11.0.1.1:1"));
        assert_eq!(
            network("[2001:db8:7:1::1]:1"),
            network("[2001:db8:7:ffff::2]:1")
        );
        assert_ne!(network("[2001:db8:7::1]:1"), network("[2001:db8:8::1]:1"));
    }
}
