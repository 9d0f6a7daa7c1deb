//! Channels: which two peers have one, what each end calls it, and when it has been idle for too
//! long.
//!
//! Owns no addresses: the relay makes routes from these channels and its registry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hobnob_protocol::PeerId;
use hobnob_protocol::datagram::ChannelId;
use hobnob_protocol::relay::OpenRefusal;

use super::limits::Limits;
use crate::route::Used;

/// A channel through which nothing went for this long ends.
pub const CHANNEL_IDLE: Duration = Duration::from_secs(5 * 60);

/// How often a channel is looked at: it ends at most this much later than it should.
const IDLE_LOOK: Duration = Duration::from_secs(60);

/// One end of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) peer: PeerId,
    /// What this end calls the channel.
    pub(super) name: ChannelId,
}

/// A channel between two peers.
#[derive(Debug, Clone)]
pub(super) struct Channel {
    pub(super) ends: [End; 2],
    pub(super) used: Arc<Used>,
    /// When something was last known to have gone through.
    used_at: Duration,
}

impl Channel {
    /// This peer's end, and the other one.
    pub(super) fn seen_from(&self, peer: PeerId) -> (End, End) {
        let [a, b] = self.ends;
        if a.peer == peer { (a, b) } else { (b, a) }
    }
}

/// Counts channels for the life of the relay; never used twice.
type Number = u64;

/// All channels.
#[derive(Debug)]
pub(super) struct Channels {
    channels: BTreeMap<Number, Channel>,
    names: BTreeMap<ChannelId, Number>,
    /// For each peer that has any: with whom, and which.
    of: BTreeMap<PeerId, BTreeMap<PeerId, Number>>,
    looks: BTreeSet<(Duration, Number)>,
    next: Number,
    ids: blake3::OutputReader,
}

/// What came of asking for a channel.
#[derive(Debug)]
pub(super) enum Opening {
    /// It is new: both ends are to be told, and the routes to be made.
    New(Channel),
    /// There was one: whoever asked is to be told again.
    Already(Channel),
    /// There is none.
    Refused(OpenRefusal),
}

impl Channels {
    /// No channels yet. Whoever does not know the seed can't guess an id.
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

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.channels.len()
    }

    /// How many a peer has.
    pub(super) fn count(&self, peer: PeerId) -> usize {
        self.of.get(&peer).map_or(0, BTreeMap::len)
    }

    /// All channels of a peer.
    pub(super) fn of(&self, peer: PeerId) -> impl Iterator<Item = &Channel> {
        self.of
            .get(&peer)
            .into_iter()
            .flat_map(|with| with.values())
            .map(|number| &self.channels[number])
    }

    /// Opens a channel between two peers that are registered and may speak to each other.
    pub(super) fn open(
        &mut self,
        now: Duration,
        asker: PeerId,
        other: PeerId,
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

    /// Ends the channel that this peer calls so.
    pub(super) fn close(&mut self, peer: PeerId, name: ChannelId) -> Option<Channel> {
        let number = *self.names.get(&name)?;
        let mine = self.channels[&number].ends.contains(&End { peer, name });
        if mine { self.remove(number) } else { None }
    }

    /// Ends all channels of a peer.
    pub(super) fn leave(&mut self, peer: PeerId) -> Vec<Channel> {
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

    /// When [`Channels::idle`] is to be asked.
    pub(super) fn next_look(&self) -> Option<Duration> {
        self.looks.first().map(|(at, _)| *at)
    }

    /// Ends the channels through which nothing went for [`CHANNEL_IDLE`].
    pub(super) fn idle(&mut self, now: Duration) -> Vec<Channel> {
        let mut ended = Vec::new();
        while let Some(&(at, number)) = self.looks.first().filter(|(at, _)| *at <= now) {
            self.looks.remove(&(at, number));
            let Some(channel) = self.channels.get_mut(&number) else {
                continue;
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
                .expect("both ends are listed as long as the channel is there");
            with.remove(&other.peer);
            if with.is_empty() {
                self.of.remove(&end.peer);
            }
        }
        // Its next look finds nothing, and is dropped then.
        Some(channel)
    }

    /// An id that nobody has and nobody can guess.
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
