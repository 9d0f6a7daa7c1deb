//! Tracks the peers present in an open room, who may receive its entries.
//!
//! Only the peers present when an entry arrives at this node may receive the entry from it. A peer
//! that disconnected without a goodbye counts as present for another hour, unless this node leaves
//! the network by which the peer was reached. Each entry is stamped with its *audience*. The store
//! keeps audiences across restarts.
//!
//! `Conversation::may_have` is the only reader of the audiences.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hobnob_protocol::{ConversationId, PersonId};

use crate::commit::{AudienceId, AudienceRecord, Lingerer, NetworkId, Op};
use crate::{Now, SessionId};

/// How long a peer that disconnected without a goodbye still counts as present, in milliseconds.
pub const LINGER_MS: u64 = 60 * 60 * 1000;

/// How long an entry of an open room is offered to its audience, in milliseconds. A peer away for
/// longer misses the entry.
pub const OPEN_ROOM_OFFER_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// An audience that formed this long ago is replaced by one with the same peers. So an audience can
/// be forgotten by its age, whatever the entries that arrived for it later.
const RENEWED_AFTER: Duration = Duration::from_secs(60 * 60);

/// Maximum members of all remembered audiences of all open rooms, which is 8 MiB. Each room has an
/// equal share. Beyond it the oldest audiences are forgotten, and their entries are offered to
/// nobody any more.
const AUDIENCE_MEMBERS_MAX: u64 = 256 * 1024;

/// Maximum peers that disconnected without a goodbye and count as present. One more replaces the
/// one whose hour ends first.
const LINGERERS_MAX: usize = 4096;

/// The presence of peers in an open room.
#[derive(Debug, Default)]
pub(super) struct Audiences {
    /// The sessions with each connected peer.
    present: BTreeMap<PersonId, BTreeMap<SessionId, Path>>,
    /// Peers that disconnected without a goodbye.
    dropped: BTreeMap<PersonId, Dropped>,
    /// The audience of the last entry.
    current: Option<AudienceId>,
    /// The audiences whose entries are still offered.
    remembered: BTreeMap<AudienceId, Audience>,
    /// Whether the store was asked in this run to forget the older ones.
    is_swept: bool,
    /// Audiences that formed while some connected peers were unconfirmed.
    provisional: BTreeMap<AudienceId, Provisional>,
    /// How many other open rooms share [`AUDIENCE_MEMBERS_MAX`].
    other_rooms: u64,
    /// How many audiences were forgotten although their entries would still be offered.
    forgotten_early: u64,
}

/// An audience.
#[derive(Debug)]
struct Audience {
    /// Sorted.
    peers: Vec<PersonId>,
    /// When it formed in this run, or when the run began, by the monotonic clock.
    formed: Duration,
}

impl Audience {
    /// How many peers it has.
    fn size(&self) -> u64 {
        self.peers.len() as u64
    }
}

/// How a session reaches its peer.
#[derive(Debug, Clone, Copy)]
struct Path {
    /// The network, or `None` for a relay.
    network: Option<NetworkId>,
    /// Whether the peer has responded since the node left another network by which this session
    /// reached it. Until then nobody knows whether the session still leads anywhere.
    heard: bool,
}

/// A peer that disconnected without a goodbye.
#[derive(Debug, Clone, Copy)]
struct Dropped {
    /// When it stops counting as present, by the monotonic clock.
    until: Duration,
    /// The network by which it was reached last, or `None` for a relay.
    network: Option<NetworkId>,
}

/// The event that an audience waits for.
#[derive(Debug)]
struct Provisional {
    /// The peers that were connected and unconfirmed when the audience formed.
    waits: BTreeSet<PersonId>,
    /// The networks of the node at that time. A peer that responds by one of them was meant.
    networks: BTreeSet<NetworkId>,
}

/// Whether a peer that was reached by `network` can still be there.
fn is_on(network: Option<NetworkId>, networks: &BTreeSet<NetworkId>) -> bool {
    network.is_none_or(|network| networks.contains(&network))
}

impl Audiences {
    /// This many other open rooms share the memory for audiences.
    pub(super) fn share_with(&mut self, other_rooms: u64) {
        self.other_rooms = other_rooms;
    }

    /// Restores the state of the last run. Peers that were connected then have disconnected since.
    /// Peers that were reached by a network that the node is not on any more have left.
    pub(super) fn load(
        &mut self,
        lingerers: &[Lingerer],
        ended_at_ms: u64,
        networks: &BTreeSet<NetworkId>,
        now: Now,
    ) {
        for lingerer in lingerers
            .iter()
            .filter(|lingerer| is_on(lingerer.network, networks))
        {
            // If the clock was set back, the age is unknown, and the peer does not count as
            // present.
            let age_ms = now
                .wall_ms
                .checked_sub(lingerer.dropped_at_ms.unwrap_or(ended_at_ms));
            if let Some(left_ms) = age_ms.and_then(|age_ms| LINGER_MS.checked_sub(age_ms)) {
                let dropped = Dropped {
                    until: now.mono + Duration::from_millis(left_ms),
                    network: lingerer.network,
                };
                self.dropped.insert(lingerer.peer, dropped);
            }
        }
    }

    pub(super) fn load_audience(&mut self, record: AudienceRecord, now: Now) {
        let audience = Audience {
            peers: record.peers,
            formed: now.mono,
        };
        self.remembered.insert(record.id, audience);
    }

    /// Adds a session with the peer in this room. `heard` is whether the peer has responded by this
    /// network.
    pub(super) fn came(
        &mut self,
        peer: PersonId,
        session: SessionId,
        network: Option<NetworkId>,
        heard: bool,
    ) {
        let paths = self.present.entry(peer).or_default();
        paths.insert(session, Path { network, heard });
        if heard {
            self.dropped.remove(&peer);
        } else {
            // The next entry's audience must wait for this peer.
            self.current = None;
        }
    }

    pub(super) fn went(&mut self, peer: PersonId, session: SessionId, goodbye: bool, now: Now) {
        let Some(paths) = self.present.get_mut(&peer) else {
            return;
        };
        let path = paths.remove(&session);
        let still_heard = paths.values().any(|path| path.heard);
        if paths.is_empty() {
            self.present.remove(&peer);
            self.provisional.retain(|_, audience| {
                audience.waits.remove(&peer);
                !audience.waits.is_empty()
            });
        }
        if let Some(path) = path.filter(|path| path.heard && !still_heard && !goodbye) {
            let dropped = Dropped {
                until: now.mono + Duration::from_millis(LINGER_MS),
                network: path.network,
            };
            self.linger(peer, dropped, now);
        }
    }

    fn linger(&mut self, peer: PersonId, dropped: Dropped, now: Now) {
        self.dropped.retain(|_, dropped| now.mono < dropped.until);
        self.dropped.insert(peer, dropped);
        if self.dropped.len() > LINGERERS_MAX {
            let by_end = self.dropped.iter().min_by_key(|(_, it)| it.until);
            let first = *by_end.expect("there are too many").0;
            self.dropped.remove(&first);
        }
    }

    /// The node is on these networks now. Disconnected peers that were reached by another one no
    /// longer count as present. Connected peers that were reached by another one must respond
    /// first.
    pub(super) fn networks_changed(&mut self, networks: &BTreeSet<NetworkId>) {
        self.dropped
            .retain(|_, dropped| is_on(dropped.network, networks));
        for path in self.present.values_mut().flat_map(BTreeMap::values_mut) {
            path.heard &= is_on(path.network, networks);
        }
        self.provisional
            .retain(|_, audience| !audience.networks.is_disjoint(networks));
        self.current = None;
    }

    /// Counts a peer as present, since it responded by this network. Adds the peer to the audiences
    /// that waited for it, and returns those that grew.
    pub(super) fn confirmed(
        &mut self,
        peer: PersonId,
        session: SessionId,
        network: Option<NetworkId>,
    ) -> Vec<AudienceId> {
        let paths = self.present.entry(peer).or_default();
        let heard = true;
        paths.insert(session, Path { network, heard });
        self.dropped.remove(&peer);
        let mut grown = Vec::new();
        for (id, audience) in &mut self.provisional {
            if is_on(network, &audience.networks) && audience.waits.remove(&peer) {
                grown.push(*id);
            }
        }
        for id in &grown {
            let audience = self.remembered.get_mut(id);
            let peers = &mut audience.expect("forgotten ones wait for nobody").peers;
            if let Err(at) = peers.binary_search(&peer) {
                peers.insert(at, peer);
            }
        }
        self.provisional
            .retain(|_, audience| !audience.waits.is_empty());
        grown
    }

    /// The connected peers that have responded, and the network by which each is reached.
    fn here(&self) -> impl Iterator<Item = (PersonId, Option<NetworkId>)> {
        self.present.iter().filter_map(|(peer, paths)| {
            let heard = paths.values().rfind(|path| path.heard);
            heard.map(|path| (*peer, path.network))
        })
    }

    /// The connected peers that have not responded yet.
    fn unconfirmed(&self) -> impl Iterator<Item = PersonId> {
        let silent = |paths: &BTreeMap<_, Path>| !paths.values().any(|path| path.heard);
        let present = self.present.iter();
        present
            .filter(move |(_, paths)| silent(paths))
            .map(|(peer, _)| *peer)
    }

    /// The disconnected peers that still count as present.
    fn lingering(&self, now: Now) -> impl Iterator<Item = (PersonId, Dropped)> {
        self.dropped
            .iter()
            .filter(move |(_, dropped)| now.mono < dropped.until)
            .map(|(peer, dropped)| (*peer, *dropped))
    }

    /// The audience of an entry that arrives now.
    fn now(&self, now: Now) -> Vec<PersonId> {
        let here = self.here().map(|(peer, _)| peer);
        let lingering = self.lingering(now).map(|(peer, _)| peer);
        let all: BTreeSet<_> = here.chain(lingering).collect();
        all.into_iter().collect()
    }

    /// The peers that would linger if this run ended now. Unconfirmed peers do not.
    pub(super) fn lingerers(&self, now: Now) -> Vec<Lingerer> {
        let here = self.here().map(|(peer, network)| Lingerer {
            peer,
            network,
            dropped_at_ms: None,
        });
        let dropped = self.lingering(now).map(|(peer, dropped)| {
            let left = (dropped.until - now.mono).as_millis();
            let left_ms = u64::try_from(left).unwrap_or(LINGER_MS);
            let ago_ms = LINGER_MS.saturating_sub(left_ms);
            Lingerer {
                peer,
                network: dropped.network,
                dropped_at_ms: Some(now.wall_ms.saturating_sub(ago_ms)),
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
            peers: self.members_of(id).to_vec(),
        }
    }

    /// The audience of an entry that arrives now. Pushes the op that stores the audience if it is
    /// new.
    pub(super) fn stamp(
        &mut self,
        conversation: ConversationId,
        last_audience: &mut u64,
        networks: &BTreeSet<NetworkId>,
        now: Now,
        ops: &mut Vec<Op>,
    ) -> AudienceId {
        let peers = self.now(now);
        let is_right = |audience: &Audience| {
            audience.peers == peers && now.mono < audience.formed + RENEWED_AFTER
        };
        let current = self
            .current
            .filter(|id| self.remembered.get(id).is_some_and(is_right));
        if let Some(id) = current {
            return id;
        }
        *last_audience += 1;
        let id = AudienceId(*last_audience);
        let formed = now.mono;
        self.remembered.insert(id, Audience { peers, formed });
        let waits: BTreeSet<_> = self.unconfirmed().collect();
        if !waits.is_empty() {
            let networks = networks.clone();
            self.provisional.insert(id, Provisional { waits, networks });
        }
        self.current = Some(id);
        ops.push(Op::Audience(self.record(id, conversation, now.wall_ms)));
        let is_first = !std::mem::replace(&mut self.is_swept, true);
        if self.forget_old(now) || is_first {
            let (first, _) = self.remembered.first_key_value().expect("one was added");
            ops.push(Op::AudiencesBefore(conversation, *first));
        }
        id
    }

    /// Forgets audiences that formed too long ago, and the oldest of too many. The newest one
    /// stays. Returns whether any was forgotten.
    fn forget_old(&mut self, now: Now) -> bool {
        let before = self.remembered.len();
        let mut members: u64 = self.remembered.values().map(Audience::size).sum();
        let members_max = AUDIENCE_MEMBERS_MAX / (self.other_rooms + 1);
        let offered_for = Duration::from_millis(OPEN_ROOM_OFFER_MS);
        while self.remembered.len() > 1
            && let Some(oldest) = self.remembered.first_entry()
        {
            let is_past = oldest.get().formed + offered_for < now.mono;
            if members <= members_max && !is_past {
                break;
            }
            self.forgotten_early += u64::from(!is_past);
            let (id, audience) = oldest.remove_entry();
            members -= audience.size();
            self.provisional.remove(&id);
        }
        self.remembered.len() < before
    }

    /// How many audiences were forgotten for lack of memory since the start.
    pub(super) fn forgotten_early(&self) -> u64 {
        self.forgotten_early
    }

    /// Whether the peer was in the room when one of the entries arrived that are still offered, or
    /// is in it now.
    pub(super) fn know(&self, peer: PersonId) -> bool {
        let is_member = |audience: &Audience| audience.peers.binary_search(&peer).is_ok();
        self.present.contains_key(&peer)
            || self.dropped.contains_key(&peer)
            || self.remembered.values().any(is_member)
    }

    /// Those of these authors that [`Audiences::know`] knows. There may be many more members than
    /// authors.
    pub(super) fn known_of(&self, authors: &BTreeSet<PersonId>) -> BTreeSet<PersonId> {
        let members = self.remembered.values().flat_map(|it| &it.peers);
        let now = self.present.keys().chain(self.dropped.keys());
        let all = members.chain(now);
        all.filter(|peer| authors.contains(*peer))
            .copied()
            .collect()
    }

    /// Whether entries of this audience are still offered.
    pub(super) fn remember(&self, audience: AudienceId) -> bool {
        self.remembered.contains_key(&audience)
    }

    /// Whether the peer belongs to this audience.
    pub(super) fn includes(&self, audience: AudienceId, peer: PersonId) -> bool {
        self.members_of(audience).binary_search(&peer).is_ok()
    }

    /// The peers of an audience. None if it formed too long ago to be remembered.
    pub(super) fn members_of(&self, audience: AudienceId) -> &[PersonId] {
        let audience = self.remembered.get(&audience);
        audience.map_or(&[], |audience| audience.peers.as_slice())
    }

    /// Handles a failure to store the current audience: the next entry forms a new one.
    pub(super) fn not_stored(&mut self) {
        self.current = None;
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::SecretKey;

    use super::*;

    const OFFICE: NetworkId = NetworkId(1);
    const CONTAINERS: NetworkId = NetworkId(2);
    const CAFE: NetworkId = NetworkId(3);
    const FIRST: SessionId = SessionId(1);
    const SECOND: SessionId = SessionId(2);
    const NOW: Now = Now {
        mono: Duration::from_secs(7200),
        wall_ms: 100_000_000,
    };

    fn ann() -> PersonId {
        SecretKey::from_seed([1; 32]).id().person()
    }

    fn networks(ids: &[NetworkId]) -> BTreeSet<NetworkId> {
        ids.iter().copied().collect()
    }

    /// Ann was reached by this network, and dropped out.
    fn without_ann(network: Option<NetworkId>) -> Audiences {
        let mut audiences = Audiences::default();
        audiences.came(ann(), FIRST, network, true);
        audiences.went(ann(), FIRST, false, NOW);
        audiences
    }

    fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(60 * minutes)
    }

    /// This much later, on both clocks.
    fn later(now: Now, by: Duration) -> Now {
        let by_ms = u64::try_from(by.as_millis()).expect("a short test");
        Now {
            mono: now.mono + by,
            wall_ms: now.wall_ms + by_ms,
        }
    }

    #[test]
    fn a_peer_that_dropped_out_counts_for_an_hour() {
        let audiences = without_ann(Some(OFFICE));
        let present = |by| audiences.now(later(NOW, by));
        assert_eq!(present(minutes(60) - Duration::from_millis(1)), [ann()]);
        assert_eq!(present(minutes(60)), []);
    }

    #[test]
    fn a_restart_does_not_renew_the_hour() {
        let saved_at = later(NOW, minutes(10));
        let stored = without_ann(Some(OFFICE)).lingerers(saved_at);
        let restart = Now {
            mono: minutes(1),
            ..later(NOW, minutes(30))
        };
        let mut audiences = Audiences::default();
        audiences.load(&stored, saved_at.wall_ms, &networks(&[OFFICE]), restart);
        let present = |by| audiences.now(later(restart, by));
        assert_eq!(present(minutes(30) - Duration::from_millis(1)), [ann()]);
        assert_eq!(present(minutes(30)), []);
    }

    #[test]
    fn a_peer_that_said_goodbye_does_not_count() {
        let mut audiences = Audiences::default();
        audiences.came(ann(), FIRST, Some(OFFICE), true);
        audiences.went(ann(), FIRST, true, NOW);
        assert_eq!(audiences.now(NOW), []);
    }

    #[test]
    fn only_leaving_the_network_of_a_peer_ends_its_claim() {
        let mut audiences = without_ann(Some(OFFICE));
        audiences.networks_changed(&networks(&[OFFICE, CONTAINERS]));
        audiences.networks_changed(&networks(&[OFFICE]));
        assert_eq!(audiences.now(NOW), [ann()]);
        audiences.networks_changed(&networks(&[CAFE]));
        assert_eq!(audiences.now(NOW), []);
        audiences.networks_changed(&networks(&[OFFICE]));
        assert_eq!(audiences.now(NOW), [], "the claim does not return");
    }

    #[test]
    fn a_relay_is_not_left_with_a_network() {
        let mut audiences = without_ann(None);
        audiences.networks_changed(&networks(&[CAFE]));
        assert_eq!(audiences.now(NOW), [ann()]);
    }

    #[test]
    fn a_connected_peer_of_another_network_must_respond_first() {
        let mut audiences = Audiences::default();
        audiences.came(ann(), FIRST, Some(OFFICE), true);
        audiences.networks_changed(&networks(&[OFFICE, CONTAINERS]));
        assert_eq!(audiences.now(NOW), [ann()], "her network is still there");
        audiences.networks_changed(&networks(&[CAFE]));
        assert_eq!(audiences.now(NOW), []);
        audiences.confirmed(ann(), FIRST, Some(CAFE));
        assert_eq!(audiences.now(NOW), [ann()]);
    }

    /// An entry arrives. Returns its audience.
    fn stamp(audiences: &mut Audiences, last: &mut u64, here: &[NetworkId]) -> AudienceId {
        let room = ConversationId::from_bytes([1; 32]);
        audiences.stamp(room, last, &networks(here), NOW, &mut Vec::new())
    }

    #[test]
    fn an_entry_waits_for_peers_that_respond_by_the_network_of_that_time() {
        let (mut audiences, mut last) = (Audiences::default(), 0);
        audiences.came(ann(), FIRST, Some(OFFICE), true);
        audiences.networks_changed(&networks(&[CAFE]));
        let at_cafe = stamp(&mut audiences, &mut last, &[CAFE]);
        // A container starts before she responds. She is still at the café.
        audiences.networks_changed(&networks(&[CAFE, CONTAINERS]));
        let grown = audiences.confirmed(ann(), FIRST, Some(CAFE));
        assert_eq!(grown, [at_cafe]);
        assert!(audiences.includes(at_cafe, ann()));
    }

    #[test]
    fn an_entry_of_a_network_that_was_left_waits_for_nobody() {
        let (mut audiences, mut last) = (Audiences::default(), 0);
        audiences.came(ann(), FIRST, Some(OFFICE), true);
        audiences.networks_changed(&networks(&[CAFE]));
        let at_cafe = stamp(&mut audiences, &mut last, &[CAFE]);
        audiences.networks_changed(&networks(&[OFFICE]));
        assert_eq!(audiences.confirmed(ann(), FIRST, Some(OFFICE)), []);
        assert!(!audiences.includes(at_cafe, ann()));
    }

    /// An entry arrives at this time. Returns its audience, and what the store is asked to do.
    fn stamp_at(audiences: &mut Audiences, last: &mut u64, now: Now) -> (AudienceId, Vec<Op>) {
        let room = ConversationId::from_bytes([1; 32]);
        let mut ops = Vec::new();
        let id = audiences.stamp(room, last, &networks(&[]), now, &mut ops);
        (id, ops)
    }

    #[test]
    fn an_audience_is_renewed_every_hour_and_forgotten_after_a_week() {
        let (mut audiences, mut last) = (Audiences::default(), 0);
        let at = |hours: u32| later(NOW, hours * minutes(60));
        audiences.came(ann(), FIRST, Some(OFFICE), true);
        let (first, _) = stamp_at(&mut audiences, &mut last, NOW);
        let (same, ops) = stamp_at(&mut audiences, &mut last, later(NOW, minutes(59)));
        assert_eq!((same, ops.len()), (first, 0));
        let (second, _) = stamp_at(&mut audiences, &mut last, at(1));
        assert_ne!(second, first);
        stamp_at(&mut audiences, &mut last, at(7 * 24));
        assert!(audiences.includes(first, ann()));
        let (_, ops) = stamp_at(&mut audiences, &mut last, at(7 * 24 + 1));
        assert!(matches!(ops[1], Op::AudiencesBefore(_, kept) if kept == second));
        assert!(!audiences.remember(first) && audiences.includes(second, ann()));
    }

    #[test]
    fn an_author_is_known_by_an_audience_or_by_being_here_or_dropped() {
        let (mut audiences, mut last) = (Audiences::default(), 0);
        let [bob, cat, dan] = [2, 3, 4].map(|n| SecretKey::from_seed([n; 32]).id().person());
        audiences.came(ann(), FIRST, None, true);
        stamp(&mut audiences, &mut last, &[]);
        audiences.went(ann(), FIRST, true, NOW);
        audiences.came(bob, FIRST, None, true);
        audiences.went(bob, FIRST, false, NOW);
        audiences.came(cat, SECOND, None, true);
        let authors = BTreeSet::from([ann(), bob, cat, dan]);
        assert_eq!(
            audiences.known_of(&authors),
            BTreeSet::from([ann(), bob, cat])
        );
        for peer in [ann(), bob, cat] {
            assert!(audiences.know(peer));
        }
        assert!(!audiences.know(dan));
        assert_eq!(audiences.known_of(&BTreeSet::from([dan])), BTreeSet::new());
    }

    /// An audience of this many peers, which formed at this time.
    fn remember(audiences: &mut Audiences, id: u64, peers: u64, formed: Duration) {
        let peer = |n: u64| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            PersonId::from_bytes(bytes)
        };
        let peers = (0..peers).map(peer).collect();
        let audience = Audience { peers, formed };
        audiences.remembered.insert(AudienceId(id), audience);
    }

    fn ids(audiences: &Audiences) -> Vec<u64> {
        audiences.remembered.keys().map(|id| id.0).collect()
    }

    #[test]
    fn audiences_with_as_many_members_as_may_be_stay_and_one_more_forgets_the_oldest() {
        let mut audiences = Audiences::default();
        remember(&mut audiences, 1, 10, NOW.mono);
        remember(&mut audiences, 2, AUDIENCE_MEMBERS_MAX - 20, NOW.mono);
        remember(&mut audiences, 3, 10, NOW.mono);
        assert!(!audiences.forget_old(NOW), "exactly as many as may be");
        assert_eq!(ids(&audiences), [1, 2, 3]);
        remember(&mut audiences, 4, 1, NOW.mono);
        assert!(audiences.forget_old(NOW));
        assert_eq!(ids(&audiences), [2, 3, 4], "one was enough");
        assert_eq!(audiences.forgotten_early(), 1);
        // The sum counts what was forgotten.
        remember(&mut audiences, 5, 21, NOW.mono);
        assert!(audiences.forget_old(NOW));
        assert_eq!(ids(&audiences), [3, 4, 5]);
        assert!(!audiences.forget_old(NOW), "nothing is left to forget");
    }

    #[test]
    fn the_newest_audience_stays_however_large_and_old_it_is() {
        let mut audiences = Audiences::default();
        remember(&mut audiences, 1, 1, Duration::ZERO);
        remember(&mut audiences, 2, AUDIENCE_MEMBERS_MAX + 1, Duration::ZERO);
        let much_later = later(NOW, Duration::from_millis(2 * OPEN_ROOM_OFFER_MS));
        assert!(audiences.forget_old(much_later));
        assert_eq!(ids(&audiences), [2]);
        assert!(!audiences.forget_old(much_later));
    }

    #[test]
    fn an_audience_is_forgotten_right_after_its_week() {
        let week = Duration::from_millis(OPEN_ROOM_OFFER_MS);
        let mut audiences = Audiences::default();
        remember(&mut audiences, 1, 1, NOW.mono);
        remember(&mut audiences, 2, 1, NOW.mono + Duration::from_millis(1));
        remember(&mut audiences, 3, 1, NOW.mono + week);
        assert!(!audiences.forget_old(later(NOW, week)));
        assert!(audiences.forget_old(later(NOW, week + Duration::from_millis(1))));
        assert_eq!(ids(&audiences), [2, 3]);
        assert_eq!(audiences.forgotten_early(), 0, "it was past");
    }

    #[test]
    fn an_audience_that_is_forgotten_waits_for_nobody() {
        let (mut audiences, mut last) = (Audiences::default(), 0);
        audiences.came(ann(), FIRST, Some(OFFICE), true);
        audiences.networks_changed(&networks(&[CAFE]));
        let waiting = stamp(&mut audiences, &mut last, &[CAFE]);
        assert!(audiences.provisional.contains_key(&waiting));
        remember(&mut audiences, 2, AUDIENCE_MEMBERS_MAX, NOW.mono);
        remember(&mut audiences, 3, 1, NOW.mono);
        assert!(audiences.forget_old(NOW));
        assert!(audiences.provisional.is_empty());
        assert_eq!(audiences.confirmed(ann(), FIRST, Some(CAFE)), []);
    }

    #[test]
    fn open_rooms_share_the_memory_for_audiences() {
        let mut audiences = Audiences::default();
        audiences.share_with(3);
        remember(&mut audiences, 1, 1, NOW.mono);
        remember(&mut audiences, 2, AUDIENCE_MEMBERS_MAX / 4 - 1, NOW.mono);
        assert!(!audiences.forget_old(NOW));
        remember(&mut audiences, 3, 1, NOW.mono);
        assert!(audiences.forget_old(NOW));
        assert_eq!(ids(&audiences), [2, 3]);
    }

    #[test]
    fn peers_that_come_and_go_fill_no_memory() {
        let (mut audiences, mut last) = (Audiences::default(), 0);
        let newcomer =
            |n: u32| PersonId::from_bytes(std::array::from_fn(|i| n.to_be_bytes()[i % 4]));
        for n in 0..1_000 {
            audiences.came(newcomer(n), FIRST, None, true);
        }
        for n in 0..400 {
            audiences.went(newcomer(n), FIRST, true, NOW);
            stamp_at(&mut audiences, &mut last, NOW);
        }
        let members = audiences.remembered.values().map(Audience::size);
        assert!(members.sum::<u64>() <= AUDIENCE_MEMBERS_MAX);
        assert!(audiences.remembered.len() > 300);
        for n in 0..=u32::try_from(LINGERERS_MAX).expect("a small number") {
            audiences.came(newcomer(n), FIRST, None, true);
            audiences.went(
                newcomer(n),
                FIRST,
                false,
                later(NOW, Duration::from_millis(u64::from(n))),
            );
        }
        assert_eq!(audiences.dropped.len(), LINGERERS_MAX);
        assert!(!audiences.dropped.contains_key(&newcomer(0)));
    }

    #[test]
    fn a_second_session_decides_by_which_network_a_peer_was_reached_last() {
        let mut audiences = Audiences::default();
        audiences.came(ann(), FIRST, Some(OFFICE), true);
        audiences.came(ann(), SECOND, Some(CAFE), true);
        audiences.went(ann(), FIRST, true, NOW);
        audiences.went(ann(), SECOND, false, NOW);
        audiences.networks_changed(&networks(&[CAFE]));
        assert_eq!(audiences.now(NOW), [ann()]);
    }

    #[test]
    fn a_restart_on_another_network_ends_the_claims_of_the_old_one() {
        let stored = without_ann(Some(OFFICE)).lingerers(NOW);
        let load = |here| {
            let mut audiences = Audiences::default();
            audiences.load(&stored, NOW.wall_ms, &networks(&[here]), NOW);
            audiences.now(NOW)
        };
        assert_eq!(load(OFFICE), [ann()]);
        assert_eq!(load(CAFE), []);
    }
}
