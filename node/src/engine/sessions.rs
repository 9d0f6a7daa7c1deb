//! The live sessions: one [`SessionState`] each, whether their peers answer, and which peers are
//! about to count as offline.
//!
//! What a session's events lead to elsewhere is in `session_events`.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::mem::{Discriminant, discriminant};
use std::net::SocketAddr;
use std::time::Duration;

use hobnob_core::presence::{self, Presence};
use hobnob_core::replica::Refusal;
use hobnob_core::{Now, SessionId};
use hobnob_protocol::frame::PING_LIGHT;
use hobnob_protocol::{ConversationId, PeerId};
use tokio::sync::{mpsc, oneshot};

use crate::api::PathKind;
use crate::net::session::{Session, SessionEvent};

/// When a peer closes a connection as a duplicate, its other connection should arrive within this
/// time.
const OTHER_CONNECTION: Duration = Duration::from_secs(2);

/// How many profiles a session may send in a burst, and how long it takes to earn another one. A
/// peer that sends more loses the session.
const PROFILES_BURST: u32 = 32;
const PROFILE_EVERY: Duration = Duration::from_secs(1);

/// Refusals of one session that are logged one by one. Of later ones, each is logged whose number
/// is a power of two.
const REFUSALS_LOGGED: u64 = 16;

/// All live sessions.
pub(super) struct Sessions {
    pub(super) live: BTreeMap<SessionId, SessionState>,
    /// Decides whether peers still answer.
    pub(super) presence: Presence,
    /// Where a session reports its events.
    pub(super) events: mpsc::Sender<SessionEvent>,
    /// How many acknowledgements each session had received when its light ping was sent.
    light_pings: BTreeMap<SessionId, u64>,
    going_offline: GoingOffline,
}

impl Sessions {
    pub(super) fn new(events: mpsc::Sender<SessionEvent>) -> Self {
        Self {
            live: BTreeMap::new(),
            presence: Presence::default(),
            events,
            light_pings: BTreeMap::new(),
            going_offline: GoingOffline::default(),
        }
    }

    /// The session with a peer. While there are two, the later one.
    pub(super) fn with(&self, peer: PeerId) -> Option<&SessionState> {
        self.live.values().rev().find(|state| state.peer == peer)
    }

    /// The sessions there are now, for a loop that changes them.
    pub(super) fn ids(&self) -> Vec<SessionId> {
        self.live.keys().copied().collect()
    }

    /// The sessions with a peer.
    pub(super) fn ids_with(&self, peer: PeerId) -> Vec<SessionId> {
        let with_peer = self.live.iter().filter(|(_, state)| state.peer == peer);
        with_peer.map(|(id, _)| *id).collect()
    }

    /// Remembers, for a light ping, how many acknowledgements the session has received so far.
    pub(super) fn note_light_ping(&mut self, output: &presence::Output) {
        if let presence::Output::Ping(id, PING_LIGHT) = output
            && let Some(state) = self.live.get(id)
        {
            self.light_pings.insert(*id, state.session.acks());
        }
    }

    /// Reports to `presence` which light pings QUIC has acknowledged. This is called when their
    /// time is up, because QUIC does not report acknowledgements.
    pub(super) fn note_acks(&mut self, now: Now) {
        let Self {
            light_pings,
            live,
            presence,
            ..
        } = self;
        light_pings.retain(|id, before| {
            let Some(state) = live.get(id) else {
                return false;
            };
            let answered = state.session.acks() > *before;
            if answered {
                presence.handle(now, presence::Input::Acked(*id));
            }
            !answered
        });
    }

    /// A peer closed a connection as a duplicate: it counts as offline only if its other
    /// connection does not arrive in time.
    pub(super) fn expect_other(&mut self, peer: PeerId, now: Duration, path: PathKind) {
        self.going_offline.add(peer, now + OTHER_CONNECTION, path);
    }

    /// The other connection has arrived. Returns the path of the one that it replaces.
    pub(super) fn other_arrived(&mut self, peer: PeerId) -> Option<PathKind> {
        self.going_offline.remove(peer)
    }

    /// The peers whose other connection has not arrived in time.
    pub(super) fn take_offline(&mut self, now: Duration) -> Vec<PeerId> {
        self.going_offline.take_due(now)
    }

    /// When [`Sessions::take_offline`] has something to return next.
    pub(super) fn offline_at(&self) -> Option<Duration> {
        self.going_offline.next_due()
    }
}

/// One live session.
#[derive(Debug)]
pub(super) struct SessionState {
    pub(super) peer: PeerId,
    pub(super) session: Session,
    pub(super) exporter: [u8; 32],
    /// The peer's proofs of membership in rooms.
    pub(super) proofs: Vec<[u8; 32]>,
    /// The rooms that both ends are members of.
    pub(super) shared: BTreeSet<ConversationId>,
    pub(super) profiles: ProfileLimit,
    pub(super) refusals: Refusals,
    /// The peer missed a ping.
    pub(super) suspect: bool,
    pub(super) rtt: Option<Duration>,
    /// When the session began.
    pub(super) since: Duration,
    /// The feature bits of the peer's Hello.
    pub(super) features: u64,
    pub(super) clock_ahead_ms: i64,
    /// The addresses that the peer of a relayed session named for a direct path.
    pub(super) candidates: Vec<SocketAddr>,
    /// When this node last dialed the peer back, at the peer's request.
    pub(super) dialed_back_at: Option<Duration>,
    /// Replies to send with the next pong.
    pub(super) pings: Vec<oneshot::Sender<()>>,
}

/// Limits how often a session may send its profile.
#[derive(Debug)]
pub(super) struct ProfileLimit {
    used: u32,
    since: Duration,
}

impl ProfileLimit {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            used: 0,
            since: now,
        }
    }

    /// Counts a profile. Returns whether it is within the limit.
    pub(super) fn allows(&mut self, now: Duration) -> bool {
        let earned = (now - self.since).as_secs() / PROFILE_EVERY.as_secs();
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(u32::MAX);
            self.used = self.used.saturating_sub(earned);
            self.since = now;
        }
        self.used += 1;
        self.used <= PROFILES_BURST
    }
}

/// What this node refused in a session, so that no peer fills the screen or the log.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    noticed: HashSet<Discriminant<Refusal>>,
    logged: u64,
}

impl Refusals {
    /// Whether the user is to be notified: once in a session for each kind of refusal.
    pub(super) fn is_news(&mut self, refusal: &Refusal) -> bool {
        self.noticed.insert(discriminant(refusal))
    }

    /// Counts a refusal. Returns the count if this one is to be logged.
    pub(super) fn count_to_log(&mut self) -> Option<u64> {
        self.logged += 1;
        (self.logged <= REFUSALS_LOGGED || self.logged.is_power_of_two()).then_some(self.logged)
    }
}

/// Peers whose last connection was closed as a duplicate of one that has not arrived yet.
#[derive(Debug, Default)]
struct GoingOffline(BTreeMap<PeerId, (Duration, PathKind)>);

impl GoingOffline {
    fn add(&mut self, peer: PeerId, due: Duration, path: PathKind) {
        self.0.insert(peer, (due, path));
    }

    fn remove(&mut self, peer: PeerId) -> Option<PathKind> {
        self.0.remove(&peer).map(|(_, path)| path)
    }

    fn next_due(&self) -> Option<Duration> {
        self.0.values().map(|(due, _)| *due).min()
    }

    fn take_due(&mut self, now: Duration) -> Vec<PeerId> {
        let due: Vec<_> = self
            .0
            .iter()
            .filter(|(_, (due, _))| *due <= now)
            .map(|(peer, _)| *peer)
            .collect();
        for peer in &due {
            self.0.remove(peer);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_of_profiles_is_allowed_and_then_one_a_second() {
        let mut limit = ProfileLimit::new(SECOND);
        for _ in 0..PROFILES_BURST {
            assert!(limit.allows(SECOND));
        }
        assert!(!limit.allows(SECOND));
        assert!(
            limit.allows(3 * SECOND),
            "two seconds later, two are earned"
        );
        assert!(!limit.allows(3 * SECOND));
    }

    #[test]
    fn each_kind_of_refusal_is_news_once() {
        let mut refusals = Refusals::default();
        assert!(refusals.is_news(&Refusal::Conflict));
        assert!(!refusals.is_news(&Refusal::Conflict));
        assert!(refusals.is_news(&Refusal::IdentityReused));
    }

    #[test]
    fn many_refusals_are_logged_ever_more_seldom() {
        let mut refusals = Refusals::default();
        let logged: Vec<_> = (0..70).filter_map(|_| refusals.count_to_log()).collect();
        assert_eq!(logged[..16], (1..=16).collect::<Vec<_>>());
        assert_eq!(logged[16..], [32, 64]);
    }

    #[test]
    fn a_peer_whose_other_connection_does_not_arrive_is_offline() {
        let [ann, bob] = [1, 2].map(|n| PeerId::from_bytes([n; 32]));
        let mut going = GoingOffline::default();
        going.add(ann, 3 * SECOND, PathKind::Lan);
        going.add(bob, 2 * SECOND, PathKind::Relay);
        assert_eq!(going.next_due(), Some(2 * SECOND));
        assert_eq!(going.remove(bob), Some(PathKind::Relay), "it arrived");
        assert_eq!(going.take_due(2 * SECOND), []);
        assert_eq!(going.take_due(3 * SECOND), [ann]);
        assert_eq!(going.next_due(), None);
    }
}
