//! One room as the roster knows it: who is in it, and what has changed since a version.
//!
//! Only the first [`ROSTER_PEERS_MAX`] members are listed, that is told to the others; further ones
//! are counted and wait for a place. What changed is found without looking at those who did not:
//! members and those who left are indexed by the version in which they did.

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob_protocol::PeerId;

use super::roster::ROSTER_PEERS_MAX;

/// How many of those who left a room are remembered: these, or as many as there are members if that
/// is more. Beyond, whoever still has to hear of the first of them is told everything anew, which
/// is then no longer than the changes.
const LEFT_MIN: usize = 16;

/// Counts registrations and thereby names one peer's stay, in four bytes.
pub(super) type Stay = u32;

/// A change in a room.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    /// This peer was listed.
    Came(PeerId),
    /// This one is listed no longer.
    Left(PeerId, Stay),
}

/// A room with at least one member.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Members that are told to the others, with the version in which they came.
    listed: BTreeMap<PeerId, u64>,
    came: BTreeMap<u64, PeerId>,
    left: BTreeMap<u64, (PeerId, Stay)>,
    /// Members beyond the limit, longest stay first.
    waiting: BTreeMap<Stay, PeerId>,
    /// Changes up to this version may have been forgotten.
    forgotten: u64,
    /// Version of the latest change.
    version: u64,
    /// When the members are to be told of changes, if there are any.
    pub(super) stir_at: Option<Duration>,
    /// When they last were.
    pub(super) stirred_at: Option<Duration>,
}

impl Room {
    /// How many members there are.
    pub(super) fn len(&self) -> usize {
        self.listed.len() + self.waiting.len()
    }

    /// How many of them are told to the others.
    pub(super) fn listed_len(&self) -> usize {
        self.listed.len()
    }

    /// Those who are told to the others.
    pub(super) fn listed(&self) -> impl Iterator<Item = PeerId> {
        self.listed.keys().copied()
    }

    /// Whether this member is told to the others.
    pub(super) fn lists(&self, peer: PeerId) -> bool {
        self.listed.contains_key(&peer)
    }

    /// All members.
    pub(super) fn members(&self) -> impl Iterator<Item = PeerId> {
        self.listed.keys().chain(self.waiting.values()).copied()
    }

    /// A member comes. Says whether the others are to be told.
    pub(super) fn join(&mut self, version: u64, peer: PeerId, stay: Stay) -> bool {
        let listed = self.listed.len() < ROSTER_PEERS_MAX;
        if listed {
            self.list(version, peer);
        } else {
            self.waiting.insert(stay, peer);
        }
        listed
    }

    /// A member goes, and one that waited takes its place. Takes two versions. Says whether the
    /// others are to be told.
    pub(super) fn leave(&mut self, version: u64, peer: PeerId, stay: Stay) -> bool {
        let Some(came) = self.listed.remove(&peer) else {
            self.waiting.remove(&stay);
            return false;
        };
        self.came.remove(&came);
        self.left.insert(version, (peer, stay));
        self.version = version;
        if let Some((_, next)) = self.waiting.pop_first() {
            self.list(version + 1, next);
        }
        while self.left.len() > LEFT_MIN.max(self.len()) {
            let (version, _) = self.left.pop_first().expect("there are more than none");
            self.forgotten = version;
        }
        true
    }

    /// What changed after this version; none if that is no longer known.
    pub(super) fn since(&self, version: u64) -> Option<impl Iterator<Item = Change>> {
        let came = self
            .came
            .range(version + 1..)
            .map(|(_, peer)| Change::Came(*peer));
        let left = self
            .left
            .range(version + 1..)
            .map(|(_, (peer, stay))| Change::Left(*peer, *stay));
        (version >= self.forgotten).then(|| left.chain(came))
    }

    /// Whether anything changed after this version.
    pub(super) fn changed_since(&self, version: u64) -> bool {
        self.version > version
    }

    fn list(&mut self, version: u64, peer: PeerId) {
        self.listed.insert(peer, version);
        self.came.insert(version, peer);
        self.version = version;
    }
}
