//! Who may have which entries of a room: the one place that decides it.
//!
//! An entry of an open room is for those who were there when it came, as this node saw it, and for
//! those who had dropped out without a goodbye in the hour before while this node's own network
//! stayed the same. It is for nobody else, ever. So each entry is stamped with an *audience*;
//! audiences are durable, and only [`Conversation::may_have`] reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hobnob_protocol::{ConversationId, LogName, PeerId, Ranges};

use super::log::Log;
use super::{Conversation, LAMPORT_AHEAD_MAX, LogKey};
use crate::Now;
use crate::commit::{AudienceId, AudienceRecord, ConversationKind, Lingerer, Op};

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
    fn stamp(
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

    /// The op that made the current audience durable has failed: the next entry makes another.
    pub(super) fn not_stored(&mut self) {
        self.current = None;
    }
}

impl Conversation {
    /// Whether whoever knows its name may come in, and hears only what is said while they are
    /// there.
    pub(super) fn is_open_room(&self) -> bool {
        matches!(self.record.kind, ConversationKind::Room { open: true, .. })
    }

    /// Whether only those who know a secret are in it: they get its history, but a newcomer only
    /// the end of it.
    pub(super) fn is_closed_room(&self) -> bool {
        matches!(self.record.kind, ConversationKind::Room { open: false, .. })
    }

    /// The audience of entries that come now.
    pub(super) fn stamp(
        &mut self,
        last_audience: &mut u64,
        now: Now,
        ops: &mut Vec<Op>,
    ) -> AudienceId {
        if self.is_open_room() {
            self.audiences
                .stamp(self.record.id, last_audience, now, ops)
        } else {
            AudienceId::MEMBERS
        }
    }

    /// **The rule.** Whether `peer`, which has proved that it belongs to this conversation, may
    /// have entries that `author` wrote and that came for `audience`.
    pub(super) fn may_have(&self, peer: PeerId, author: PeerId, audience: AudienceId) -> bool {
        if !self.is_open_room() || author == peer {
            return true;
        }
        self.audiences
            .members
            .get(&audience)
            .is_some_and(|members| members.binary_search(&peer).is_ok())
    }

    /// What of one log is on disk here and may go to `peer`.
    pub(super) fn offer_of(&self, peer: PeerId, key: &LogKey, log: &Log) -> Ranges {
        let mut offer = Ranges::new();
        for run in log
            .runs()
            .iter()
            .filter(|run| self.may_have(peer, key.author, run.audience))
        {
            offer.insert(run.first, run.last);
        }
        offer
    }

    /// All of this conversation that `peer` may have, by log.
    pub(super) fn offer(&self, peer: PeerId) -> BTreeMap<LogKey, Ranges> {
        let offers = self
            .logs
            .iter()
            .map(|(key, log)| (*key, self.offer_of(peer, key, log)));
        offers.filter(|(_, ranges)| !ranges.is_empty()).collect()
    }

    /// Moves Lamport's clock on, but not by any jump: one liar must not use up the numbers.
    pub(super) fn heard_lamport(&mut self, lamport: u64) {
        self.lamport = self
            .lamport
            .max(lamport.min(self.lamport.saturating_add(LAMPORT_AHEAD_MAX)));
    }

    /// The place of a log among all logs, by age; 0 where it is not held.
    pub(super) fn ordinal(&self, key: &LogKey) -> u64 {
        self.logs.get(key).map_or(0, |log| log.ordinal)
    }

    pub(super) fn name(&self, key: &LogKey) -> LogName {
        LogName {
            conversation: self.record.id,
            author: key.author,
            log: key.log,
        }
    }
}
