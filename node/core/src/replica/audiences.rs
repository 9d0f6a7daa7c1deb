//! Who is present in an open room, and so for whom its entries are.
//!
//! An entry of an open room is for the peers that were present when it arrived, as this node saw
//! it. Peers that dropped out without a goodbye in the hour before count as present, while this
//! node's own network stays the same. The entry never goes to anybody else. So each entry is
//! stamped with an *audience*, and audiences are durable.
//!
//! `Conversation::may_have` is the only reader of the audiences.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hobnob_protocol::{ConversationId, PeerId};

use crate::Now;
use crate::commit::{AudienceId, AudienceRecord, Lingerer, Op};

/// How long a peer that dropped out without a goodbye still counts as being in an open room.
pub const LINGER_MS: u64 = 60 * 60 * 1000;

/// For how long an entry of an open room is offered to those it was for; who stayed away longer has
/// missed it.
pub const OPEN_ROOM_OFFER_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// The presence side of an open room.
#[derive(Debug, Default)]
pub(super) struct Audiences {
    /// How many sessions each peer that is here has.
    present: BTreeMap<PeerId, usize>,
    /// Peers that are here by a session from before our network changed: they count again once they
    /// are heard from.
    unconfirmed: BTreeSet<PeerId>,
    /// Those who dropped out, and until when they count as being here: by the clock that does not
    /// jump.
    dropped: BTreeMap<PeerId, Duration>,
    /// The audience of the last entry.
    current: Option<AudienceId>,
    /// Who is in each audience.
    members: BTreeMap<AudienceId, Vec<PeerId>>,
    /// Audiences that formed while somebody was unconfirmed, and who was.
    provisional: BTreeMap<AudienceId, BTreeSet<PeerId>>,
}

impl Audiences {
    /// Takes up where the last run ended: who was here then has dropped out since.
    pub(super) fn load(&mut self, lingerers: &[Lingerer], ended_at_ms: u64, now: Now) {
        for lingerer in lingerers {
            // A clock that was set back can't tell how long ago that was: then it was too long ago.
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

    /// A session with the peer shares the room from now on; `heard` says whether it was heard from
    /// on the network we are on.
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

    /// On another network, those who dropped out are not here, and those who seem to be here must
    /// be heard from first.
    pub(super) fn network_changed(&mut self) {
        self.dropped.clear();
        self.unconfirmed = self.present.keys().copied().collect();
        self.provisional.clear();
        self.current = None;
    }

    /// The peer was heard from on the new network: what came since the change is for it as well.
    /// Says which audiences grew.
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

    /// Everybody an entry that comes now is for.
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

    /// Who would linger if this run ended now: not those who were not heard from on this network.
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

    /// The audience of an entry that comes now, with the op that makes it durable where it is a new
    /// one.
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

    /// Whether entries for this audience are for the peer.
    pub(super) fn includes(&self, audience: AudienceId, peer: PeerId) -> bool {
        self.members
            .get(&audience)
            .is_some_and(|members| members.binary_search(&peer).is_ok())
    }

    /// The op that made the current audience durable has failed: the next entry makes another.
    pub(super) fn not_stored(&mut self) {
        self.current = None;
    }
}
