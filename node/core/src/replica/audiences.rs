//! Tracks the peers present in an open room, who may receive its entries.
//!
//! Only the peers present when an entry arrives at this node may receive the entry from it. A peer
//! that disconnected without a goodbye counts as present for another hour, unless this node's
//! network changes. Each entry is stamped with its *audience*. The store keeps audiences across
//! restarts.
//!
//! `Conversation::may_have` is the only reader of the audiences.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hobnob_protocol::{ConversationId, PeerId};

use crate::Now;
use crate::commit::{AudienceId, AudienceRecord, Lingerer, Op};

/// How long a peer that disconnected without a goodbye still counts as present, in milliseconds.
pub const LINGER_MS: u64 = 60 * 60 * 1000;

/// How long an entry of an open room is offered to its audience, in milliseconds. A peer away for
/// longer misses the entry.
pub const OPEN_ROOM_OFFER_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// The presence of peers in an open room.
#[derive(Debug, Default)]
pub(super) struct Audiences {
    /// The number of sessions with each connected peer.
    present: BTreeMap<PeerId, usize>,
    /// Connected peers that have not responded since our network changed. They count as present
    /// once they respond.
    unconfirmed: BTreeSet<PeerId>,
    /// Peers that disconnected without a goodbye, and when they stop counting as present, by the
    /// monotonic clock.
    dropped: BTreeMap<PeerId, Duration>,
    /// The audience of the last entry.
    current: Option<AudienceId>,
    /// The peers in each audience.
    members: BTreeMap<AudienceId, Vec<PeerId>>,
    /// Audiences formed while some peers were unconfirmed, with those peers.
    provisional: BTreeMap<AudienceId, BTreeSet<PeerId>>,
}

impl Audiences {
    /// Restores the state of the last run. Peers that were connected then have disconnected since.
    pub(super) fn load(&mut self, lingerers: &[Lingerer], ended_at_ms: u64, now: Now) {
        for lingerer in lingerers {
            // If the clock was set back, the age is unknown, and the peer does not count as
            // present.
            let age_ms = now
                .wall_ms
                .checked_sub(lingerer.dropped_at_ms.unwrap_or(ended_at_ms));
            if let Some(left_ms) = age_ms.and_then(|age_ms| LINGER_MS.checked_sub(age_ms)) {
                self.dropped
                    .insert(lingerer.peer, now.mono + Duration::from_millis(left_ms));
            }
        }
    }

    pub(super) fn load_audience(&mut self, record: AudienceRecord) {
        self.members.insert(record.id, record.peers);
    }

    /// Counts a new session with the peer in this room. `heard` is whether the peer has responded
    /// on the current network.
    pub(super) fn came(&mut self, peer: PeerId, heard: bool) {
        let sessions = self.present.entry(peer).or_default();
        *sessions += 1;
        if heard {
            self.unconfirmed.remove(&peer);
            self.dropped.remove(&peer);
        } else if *sessions == 1 {
            self.unconfirmed.insert(peer);
        }
    }

    pub(super) fn went(&mut self, peer: PeerId, goodbye: bool, now: Now) {
        let Some(sessions) = self.present.get_mut(&peer) else {
            return;
        };
        *sessions -= 1;
        if *sessions > 0 {
            return;
        }
        self.present.remove(&peer);
        let confirmed = !self.unconfirmed.remove(&peer);
        if !goodbye && confirmed {
            self.dropped
                .insert(peer, now.mono + Duration::from_millis(LINGER_MS));
        }
    }

    /// On a new network, disconnected peers no longer count as present. Connected peers must
    /// respond first.
    pub(super) fn network_changed(&mut self) {
        self.dropped.clear();
        self.unconfirmed = self.present.keys().copied().collect();
        self.provisional.clear();
        self.current = None;
    }

    /// Counts an unconfirmed peer as present, since it responded on the new network. Adds the peer
    /// to the audiences formed since the change, and returns those that grew.
    pub(super) fn confirmed(&mut self, peer: PeerId) -> Vec<AudienceId> {
        if !self.unconfirmed.remove(&peer) {
            return Vec::new();
        }
        let of_peer = self
            .provisional
            .iter_mut()
            .filter_map(|(id, waits)| waits.remove(&peer).then_some(*id));
        let grown: Vec<_> = of_peer.collect();
        for id in &grown {
            if let Some(members) = self.members.get_mut(id)
                && let Err(at) = members.binary_search(&peer)
            {
                members.insert(at, peer);
            }
        }
        self.provisional.retain(|_, waits| !waits.is_empty());
        grown
    }

    /// The audience of an entry that arrives now.
    fn now(&self, now: Now) -> Vec<PeerId> {
        let here = self
            .present
            .keys()
            .filter(|peer| !self.unconfirmed.contains(*peer));
        let lingering = self
            .dropped
            .iter()
            .filter(|(_, until)| now.mono < **until)
            .map(|(peer, _)| peer);
        let all: BTreeSet<_> = here.chain(lingering).copied().collect();
        all.into_iter().collect()
    }

    /// The peers that would linger if this run ended now. Peers that are unconfirmed on this
    /// network do not.
    pub(super) fn lingerers(&self, now: Now) -> Vec<Lingerer> {
        let here = self
            .present
            .keys()
            .filter(|peer| !self.unconfirmed.contains(*peer));
        let here = here.map(|&peer| Lingerer {
            peer,
            dropped_at_ms: None,
        });
        let dropped = self
            .dropped
            .iter()
            .filter(|(_, until)| now.mono < **until)
            .map(|(&peer, &until)| {
                let left_ms = u64::try_from((until - now.mono).as_millis()).unwrap_or(LINGER_MS);
                Lingerer {
                    peer,
                    dropped_at_ms: Some(
                        now.wall_ms
                            .saturating_sub(LINGER_MS.saturating_sub(left_ms)),
                    ),
                }
            });
        here.chain(dropped).collect()
    }

    pub(super) fn record(
        &self,
        id: AudienceId,
        conversation: ConversationId,
        formed_at_ms: u64,
    ) -> AudienceRecord {
        AudienceRecord {
            id,
            conversation,
            formed_at_ms,
            peers: self.members.get(&id).cloned().unwrap_or_default(),
        }
    }

    /// The audience of an entry that arrives now. Pushes the op that stores the audience if it is
    /// new.
    pub(super) fn stamp(
        &mut self,
        conversation: ConversationId,
        last_audience: &mut u64,
        now: Now,
        ops: &mut Vec<Op>,
    ) -> AudienceId {
        let peers = self.now(now);
        if let Some(id) = self
            .current
            .filter(|id| self.members.get(id) == Some(&peers))
        {
            return id;
        }
        *last_audience += 1;
        let id = AudienceId(*last_audience);
        self.members.insert(id, peers);
        if !self.unconfirmed.is_empty() {
            self.provisional.insert(id, self.unconfirmed.clone());
        }
        self.current = Some(id);
        ops.push(Op::Audience(self.record(id, conversation, now.wall_ms)));
        id
    }

    /// Whether the peer belongs to this audience.
    pub(super) fn includes(&self, audience: AudienceId, peer: PeerId) -> bool {
        self.members
            .get(&audience)
            .is_some_and(|members| members.binary_search(&peer).is_ok())
    }

    /// Handles a failure to store the current audience: the next entry forms a new one.
    pub(super) fn not_stored(&mut self) {
        self.current = None;
    }
}
