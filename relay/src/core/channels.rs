//! Channels: the two peers of each one, the names that the ends use, and when a channel is idle.
//!
//! There are no addresses here. The relay creates routes from these channels and its registry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hobnob_protocol::DeviceId;
use hobnob_protocol::datagram::ChannelId;
use hobnob_protocol::relay::OpenRefusal;

use super::limits::Limits;
use crate::route::Used;

/// A channel ends when nothing passed through it for this time.
pub const CHANNEL_IDLE: Duration = Duration::from_secs(5 * 60);

/// How often a channel is checked. It ends at most this much too late.
const IDLE_LOOK: Duration = Duration::from_secs(60);

/// One end of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) peer: DeviceId,
    /// The name that this end uses for the channel.
    pub(super) name: ChannelId,
}

/// A channel between two peers.
#[derive(Debug, Clone)]
pub(super) struct Channel {
    pub(super) ends: [End; 2],
    pub(super) used: Arc<Used>,
    /// The last check that found the channel in use, or its start.
    used_at: Duration,
}

impl Channel {
    /// This peer's end, and the other one.
    pub(super) fn seen_from(&self, peer: DeviceId) -> (End, End) {
        let [a, b] = self.ends;
        if a.peer == peer { (a, b) } else { (b, a) }
    }
}

/// The number of a channel, unique for the life of the relay.
type Number = u64;

/// All channels.
#[derive(Debug)]
pub(super) struct Channels {
    channels: BTreeMap<Number, Channel>,
    names: BTreeMap<ChannelId, Number>,
    /// For each peer with channels: the other peers and the channels.
    of: BTreeMap<DeviceId, BTreeMap<DeviceId, Number>>,
    looks: BTreeSet<(Duration, Number)>,
    next: Number,
    ids: blake3::OutputReader,
}

/// The result of a request for a channel.
#[derive(Debug)]
pub(super) enum Opening {
    /// The channel is new: inform both ends and create the routes.
    New(Channel),
    /// The channel exists: inform the peer that asked.
    Already(Channel),
    /// There is no channel.
    Refused(OpenRefusal),
}

impl Channels {
    /// No channels yet. The ids derive from the seed, so nobody else can guess them.
    pub(super) fn new(seed: &[u8; 32]) -> Self {
        let ids = blake3::Hasher::new_keyed(seed)
            .update(b"hobnob 1 channel ids")
            .finalize_xof();
        let (channels, names, of, looks) = Default::default();
        Self {
            channels,
            names,
            of,
            looks,
            next: 0,
            ids,
        }
    }

    /// Number of channels.
    pub(super) fn len(&self) -> usize {
        self.channels.len()
    }

    /// Number of a peer's channels.
    pub(super) fn count(&self, peer: DeviceId) -> usize {
        self.of.get(&peer).map_or(0, BTreeMap::len)
    }

    /// All channels of a peer.
    pub(super) fn of(&self, peer: DeviceId) -> impl Iterator<Item = &Channel> {
        self.of
            .get(&peer)
            .into_iter()
            .flat_map(|with| with.values())
            .map(|number| &self.channels[number])
    }

    /// Opens a channel between two registered peers.
    pub(super) fn open(
        &mut self,
        now: Duration,
        asker: DeviceId,
        other: DeviceId,
        limits: &Limits,
    ) -> Opening {
        if let Some(number) = self.of.get(&asker).and_then(|with| with.get(&other)) {
            return Opening::Already(self.channels[number].clone());
        }
        let most = self.count(asker).max(self.count(other));
        if most >= limits.channels_per_peer || self.len() >= limits.channels {
            return Opening::Refused(OpenRefusal::Limit);
        }
        let ends = [asker, other].map(|peer| End {
            peer,
            name: self.name(),
        });
        let channel = Channel {
            ends,
            used: Arc::default(),
            used_at: now,
        };
        self.insert(now, channel.clone());
        Opening::New(channel)
    }

    /// Ends the channel with this name of this peer. `None` if the peer has no such channel.
    pub(super) fn close(&mut self, peer: DeviceId, name: ChannelId) -> Option<Channel> {
        let number = *self.names.get(&name)?;
        let mine = self.channels[&number].ends.contains(&End { peer, name });
        if mine { self.remove(number) } else { None }
    }

    /// Ends all channels of a peer.
    pub(super) fn leave(&mut self, peer: DeviceId) -> Vec<Channel> {
        let numbers: Vec<_> = self
            .of
            .get(&peer)
            .into_iter()
            .flat_map(|with| with.values().copied())
            .collect();
        numbers
            .into_iter()
            .filter_map(|number| self.remove(number))
            .collect()
    }

    /// When [`Channels::idle`] has work.
    pub(super) fn next_look(&self) -> Option<Duration> {
        self.looks.first().map(|(at, _)| *at)
    }

    /// Ends the channels that nothing passed through for [`CHANNEL_IDLE`].
    pub(super) fn idle(&mut self, now: Duration) -> Vec<Channel> {
        let mut ended = Vec::new();
        while let Some(&(at, number)) = self.looks.first().filter(|(at, _)| *at <= now) {
            self.looks.remove(&(at, number));
            let Some(channel) = self.channels.get_mut(&number) else {
                continue; // It has ended since, and this was its last check.
            };
            if channel.used.take() {
                channel.used_at = now;
            }
            if now >= channel.used_at + CHANNEL_IDLE {
                ended.extend(self.remove(number));
            } else {
                self.looks.insert((now + IDLE_LOOK, number));
            }
        }
        ended
    }

    fn insert(&mut self, now: Duration, channel: Channel) {
        let number = self.next;
        self.next += 1;
        let [a, b] = channel.ends;
        for (end, other) in [(a, b), (b, a)] {
            self.names.insert(end.name, number);
            self.of
                .entry(end.peer)
                .or_default()
                .insert(other.peer, number);
        }
        self.looks.insert((now + IDLE_LOOK, number));
        self.channels.insert(number, channel);
    }

    fn remove(&mut self, number: Number) -> Option<Channel> {
        let channel = self.channels.remove(&number)?;
        let [a, b] = channel.ends;
        for (end, other) in [(a, b), (b, a)] {
            self.names.remove(&end.name);
            let with = self
                .of
                .get_mut(&end.peer)
                .expect("both ends list the channel until it is removed");
            with.remove(&other.peer);
            if with.is_empty() {
                self.of.remove(&end.peer);
            }
        }
        // Its entry in `looks` stays. The next check finds no channel and drops the entry.
        Some(channel)
    }

    /// A new id that nobody can guess.
    fn name(&mut self) -> ChannelId {
        loop {
            let mut id = [0; 8];
            self.ids.fill(&mut id);
            if !self.names.contains_key(&ChannelId(id)) {
                return ChannelId(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn peer(n: u8) -> DeviceId {
        DeviceId::from_bytes([n; 32])
    }

    fn open(channels: &mut Channels, asker: u8, other: u8) -> Channel {
        match channels.open(NOW, peer(asker), peer(other), &Limits::default()) {
            Opening::New(channel) | Opening::Already(channel) => channel,
            Opening::Refused(why) => panic!("{why:?}"),
        }
    }

    #[test]
    fn two_peers_share_one_channel_with_a_name_for_each() {
        let mut channels = Channels::new(&[7; 32]);
        let first = open(&mut channels, 1, 2);
        let again = open(&mut channels, 2, 1);
        assert_eq!((first.ends, channels.len()), (again.ends, 1));
        let (mine, theirs) = first.seen_from(peer(2));
        assert_eq!((mine.peer, theirs.peer), (peer(2), peer(1)));
        assert_ne!(mine.name, theirs.name);
    }

    #[test]
    fn a_peer_closes_only_its_own_channels_by_its_own_names() {
        let mut channels = Channels::new(&[7; 32]);
        let (mine, theirs) = open(&mut channels, 1, 2).seen_from(peer(1));
        assert!(channels.close(peer(1), theirs.name).is_none());
        assert!(channels.close(peer(3), mine.name).is_none());
        assert!(channels.close(peer(1), mine.name).is_some());
        assert_eq!((channels.len(), channels.count(peer(2))), (0, 0));
    }

    #[test]
    fn a_channel_in_use_stays_and_an_idle_one_ends() {
        let mut channels = Channels::new(&[7; 32]);
        let used = open(&mut channels, 1, 2);
        open(&mut channels, 1, 3);
        let mut ended = Vec::new();
        while let Some(at) = channels.next_look().filter(|at| *at <= NOW + CHANNEL_IDLE) {
            used.used.mark();
            ended.extend(channels.idle(at));
        }
        assert_eq!(ended.len(), 1);
        assert_eq!(channels.count(peer(2)), 1);
        assert_eq!(channels.count(peer(3)), 0);
    }

    #[test]
    fn limits_count_the_channels_of_both_peers_and_of_the_relay() {
        let limits = |channels_per_peer, channels| Limits {
            channels_per_peer,
            channels,
            ..Limits::default()
        };
        let mut channels = Channels::new(&[7; 32]);
        open(&mut channels, 1, 2);
        for (limits, asker, other, refused) in [
            (limits(1, 9), 1, 3, true),
            (limits(1, 9), 3, 2, true),
            (limits(9, 1), 3, 4, true),
            (limits(2, 2), 1, 3, false),
        ] {
            let opening = channels.open(NOW, peer(asker), peer(other), &limits);
            assert_eq!(matches!(opening, Opening::Refused(_)), refused);
        }
    }
}
