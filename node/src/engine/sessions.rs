//! The live sessions: one [`SessionState`] each, whether their peers answer, and which peers are
//! about to count as offline.
//!
//! Not here: the effects of a session's events on other parts, which are in `session_events`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use hobnob_core::presence::{self, Presence};
use hobnob_core::{Now, SessionId};
use hobnob_protocol::frame::PING_LIGHT;
use hobnob_protocol::frame::features::{DIAL_BACK, SLEEP};
use hobnob_protocol::{DeviceId, Frame};
use quinn::Connection;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::dialback::DialBackToken;
use super::membership::Membership;
use super::overslept::Overslept;
use super::reach::Reach;
use super::session_state::SessionState;
use crate::api::PathKind;
use crate::net::compression::Compressor;
use crate::net::session::{Greeted, Session, SessionEvent};

/// When a peer closes a connection as a duplicate, its other connection should arrive within this
/// time.
const OTHER_CONNECTION: Duration = Duration::from_secs(2);

/// How often to look which sessions carry contents, or data of programs, which keep them awake.
const TRAFFIC_EVERY: Duration = Duration::from_secs(10);

/// This machine was suspended if its clock went ahead by this much more than time passed.
const SUSPENDED_MS: u64 = 5_000;

/// The parts that the two ends of a session take, as this end sees them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Roles {
    /// See [`Membership::goes_first`].
    pub(super) goes_first: bool,
    /// Of two nodes, one pings first.
    pub(super) pings_first: bool,
}

/// All live sessions.
pub(super) struct Sessions {
    live: BTreeMap<SessionId, SessionState>,
    /// Decides whether peers still answer.
    presence: Presence,
    /// Where a session reports its events.
    events: mpsc::Sender<SessionEvent>,
    compressor: Compressor,
    /// How many acknowledgements each session had received when its light ping was sent.
    light_pings: BTreeMap<SessionId, u64>,
    going_offline: GoingOffline,
    overslept: Overslept,
    /// When [`Sessions::watch_traffic`] looked last, by both clocks.
    watched: Now,
}

impl Sessions {
    pub(super) fn new(events: mpsc::Sender<SessionEvent>) -> Self {
        Self {
            live: BTreeMap::new(),
            presence: Presence::default(),
            events,
            compressor: Compressor::default(),
            light_pings: BTreeMap::new(),
            going_offline: GoingOffline::default(),
            overslept: Overslept::default(),
            watched: Now {
                mono: Duration::ZERO,
                wall_ms: u64::MAX,
            },
        }
    }

    /// Starts a session on a greeted connection.
    pub(super) fn begin(
        &mut self,
        id: SessionId,
        greeted: Greeted,
        roles: Roles,
        now: Now,
        tasks: &TaskTracker,
    ) -> &SessionState {
        let (peer, exporter, hello) = (greeted.peer, greeted.exporter, greeted.hello.clone());
        // A second connection with a peer proves the same rooms as the first, but later.
        let before = self.with(peer);
        let shared = before.map(|state| state.membership.shared().clone());
        let session = Session::start(greeted, id, self.events.clone(), tasks, &self.compressor);
        let shared = shared.unwrap_or_default();
        let membership = Membership::new(exporter, roles.goes_first, shared);
        let state = SessionState::new(peer, session, membership, &hello, now);
        self.overslept.begins(peer, now.mono);
        let up = presence::Input::Up {
            session: id,
            first: roles.pings_first,
            // The peer has to reach this node unasked first.
            may_sleep: false,
        };
        self.presence.handle(now, up);
        self.live.insert(id, state);
        &self.live[&id]
    }

    /// Ends the engine's part of a session. The caller closes the connection if it is still open.
    pub(super) fn remove(&mut self, id: SessionId, now: Now) -> Option<SessionState> {
        let state = self.live.remove(&id)?;
        self.presence.handle(now, presence::Input::Down(id));
        self.light_pings.remove(&id);
        Some(state)
    }

    pub(super) fn get(&self, id: SessionId) -> Option<&SessionState> {
        self.live.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: SessionId) -> Option<&mut SessionState> {
        self.live.get_mut(&id)
    }

    /// The session with a peer. While there are two, the later one.
    pub(super) fn with(&self, peer: DeviceId) -> Option<&SessionState> {
        self.iter().rev().find(|state| state.peer() == peer)
    }

    /// The session with the peer at this address.
    pub(super) fn at(&self, addr: SocketAddr) -> Option<&SessionState> {
        self.iter().find(|state| state.remote_addr() == addr)
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &SessionState> {
        self.live.values()
    }

    /// The sessions there are now, for a loop that changes them.
    pub(super) fn ids(&self) -> Vec<SessionId> {
        self.live.keys().copied().collect()
    }

    /// The sessions with a peer.
    pub(super) fn ids_with(&self, peer: DeviceId) -> Vec<SessionId> {
        let with_peer = self.live.iter().filter(|(_, state)| state.peer() == peer);
        with_peer.map(|(id, _)| *id).collect()
    }

    /// All connections, to close them together.
    pub(super) fn connections(&self) -> impl Iterator<Item = Connection> {
        self.iter().map(SessionState::connection)
    }

    /// Queues a frame on a session's control stream. A session may have ended since the caller
    /// decided to send: its frames are lost, as those of any broken connection.
    pub(super) fn send(&self, id: SessionId, frame: &Frame) {
        self.send_encoded(id, frame.encode());
    }

    /// As [`Sessions::send`], for a frame that is encoded already.
    pub(super) fn send_encoded(&self, id: SessionId, frame: Bytes) {
        if let Some(state) = self.live.get(&id) {
            state.handle().send_control(frame);
        }
    }

    /// Queues a frame on the control stream of each session that `may_hear` admits.
    pub(super) fn send_to_all(&self, frame: &Frame, may_hear: impl Fn(SessionId) -> bool) {
        let frame = frame.encode();
        for (_, state) in self.live.iter().filter(|(id, _)| may_hear(**id)) {
            state.handle().send_control(frame.clone());
        }
    }

    /// Queues encoded batches on a session's batch stream.
    pub(super) fn send_batch(&mut self, id: SessionId, frame: Bytes, now: Now) {
        if let Some(state) = self.live.get(&id) {
            state.handle().send_batch(frame);
            self.presence.handle(now, presence::Input::Sent(id));
        }
    }

    /// The engine is done with this many batches: the session may deliver as many more.
    pub(super) fn release(&self, id: SessionId, batches: usize) {
        if let Some(state) = self.live.get(&id) {
            state.handle().release(batches);
        }
    }

    /// QUIC has taken frames of a session's control stream.
    pub(super) fn written(&mut self, id: SessionId, now: Now) {
        let state = self.live.get(&id);
        if state.is_some_and(|state| state.handle().take_begun()) {
            self.active(id, now);
        }
    }

    /// A relay reports that the peer is not there any more.
    pub(super) fn doubt(&mut self, id: SessionId, now: Now) {
        self.presence.handle(now, presence::Input::Doubt(id));
    }

    /// Something happened that keeps a session awake.
    pub(super) fn active(&mut self, id: SessionId, now: Now) {
        self.presence.handle(now, presence::Input::Active(id));
    }

    /// Something other than a pong arrived.
    pub(super) fn heard(&mut self, id: SessionId, now: Now) {
        self.presence.handle(now, presence::Input::Heard(id));
    }

    pub(super) fn pong(&mut self, id: SessionId, token: u64, now: Now) {
        self.presence.handle(now, presence::Input::Pong(id, token));
    }

    /// Asks a peer whether it is there. `reply` is used with its next pong, and dropped if there is
    /// no session.
    pub(super) fn ping(&mut self, peer: DeviceId, reply: oneshot::Sender<()>, now: Now) {
        let mut newest_first = self.live.iter_mut().rev();
        if let Some((id, state)) = newest_first.find(|(_, state)| state.peer() == peer) {
            state.responses.wait(reply);
            self.presence.handle(now, presence::Input::Check(*id));
        }
    }

    /// Somebody answers for a peer. If it is another run of the peer, the session is over.
    pub(super) fn check(&mut self, peer: DeviceId, now: Now) {
        let with_peer = self.live.iter_mut();
        for (id, state) in with_peer.filter(|(_, state)| state.peer() == peer) {
            if state.allow_check(now.mono) {
                self.presence.handle(now, presence::Input::Check(*id));
            }
        }
    }

    /// This machine's network changed: each peer has to show again that it is there.
    pub(super) fn network_changed(&mut self, now: Now) {
        self.presence.handle(now, presence::Input::NetworkChanged);
    }

    /// The interfaces have changed: no session may sleep until its peer has reached this node
    /// unasked once more.
    pub(super) fn links_changed(&mut self, now: Now) {
        for (id, state) in &mut self.live {
            state.reach = Reach::default();
            let input = presence::Input::MaySleep(*id, false);
            self.presence.handle(now, input);
        }
    }

    /// Asks the peers of sessions that could sleep to reach this node unasked. See [`Reach`].
    pub(super) fn ask_to_be_reached(
        &mut self,
        on_link: impl Fn(SocketAddr) -> bool,
        mut new_token: impl FnMut() -> DialBackToken,
        now: Now,
    ) {
        for state in self.live.values_mut() {
            let could_sleep = state.has_feature(SLEEP)
                && state.has_feature(DIAL_BACK)
                && on_link(state.remote_addr());
            if could_sleep && state.reach.is_due(state.age(now.mono), now.mono) {
                let token = new_token();
                state.reach.ask(token, now.mono);
                state.send(&Frame::DialBack(token));
            }
        }
    }

    /// A probe arrived. Returns whether it belongs to a request of
    /// [`Sessions::ask_to_be_reached`].
    pub(super) fn probe_arrived(&mut self, token: &DialBackToken, written_to: bool) -> bool {
        let mut live = self.live.values_mut();
        live.any(|state| state.reach.probe_arrived(token, written_to))
    }

    /// Whether the session can sleep if its peer is on a link of this machine.
    fn may_sleep(&self, state: &SessionState, now: Duration) -> bool {
        state.has_feature(SLEEP)
            && state.reach.is_reached()
            && self.overslept.may_sleep(state.peer(), now)
    }

    /// See [`Presence::has_slept`].
    pub(super) fn has_slept(&self, id: SessionId) -> bool {
        self.presence.has_slept(id)
    }

    /// A peer stopped answering while its session slept.
    pub(super) fn overslept(&mut self, id: SessionId, now: Now) {
        if let Some(state) = self.live.get(&id) {
            self.overslept.lost(state.peer(), now.mono);
        }
    }

    /// Whether [`Sessions::watch_traffic`] is due.
    pub(super) fn traffic_is_due(&self, now: Duration) -> bool {
        now >= self.watched.mono + TRAFFIC_EVERY
    }

    /// Keeps sessions awake that carry contents or data of programs. `in_use` names those on which
    /// a program has a stream. Decides again which sessions may sleep: the path of each may lead
    /// elsewhere by now. After a suspension of this machine, each peer is checked. Returns whether
    /// there was one.
    pub(super) fn watch_traffic(
        &mut self,
        on_link: impl Fn(SocketAddr) -> bool,
        in_use: impl Fn(SessionId) -> bool,
        now: Now,
    ) -> bool {
        let was_suspended = was_suspended(self.watched, now);
        self.watched = now;
        for (id, state) in &self.live {
            let may_sleep = on_link(state.remote_addr()) && self.may_sleep(state, now.mono);
            let input = presence::Input::MaySleep(*id, may_sleep);
            self.presence.handle(now, input);
        }
        for (id, state) in &mut self.live {
            if state.is_busy() || in_use(*id) {
                self.presence.handle(now, presence::Input::Active(*id));
            }
            if was_suspended {
                self.presence.handle(now, presence::Input::Check(*id));
            }
        }
        was_suspended
    }

    /// The next decision of `presence`.
    pub(super) fn poll_output(&mut self) -> Option<presence::Output> {
        let output = self.presence.poll_output()?;
        // Neither a light ping nor a message has a pong. QUIC's acknowledgement is the answer, so
        // count from here.
        if let presence::Output::Ping(id, PING_LIGHT) | presence::Output::Expect(id) = output
            && let Some(state) = self.live.get(&id)
        {
            self.light_pings.insert(id, state.acks());
        }
        Some(output)
    }

    /// When to call [`Sessions::time_out`], [`Sessions::take_offline`] and
    /// [`Sessions::watch_traffic`].
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        let offline = self.going_offline.next_due();
        self.presence
            .poll_timeout()
            .into_iter()
            .chain(offline)
            .chain([self.watched.mono + TRAFFIC_EVERY])
            .min()
    }

    pub(super) fn time_out(&mut self, now: Now) {
        if self
            .presence
            .poll_timeout()
            .is_some_and(|at| at <= now.mono)
        {
            // QUIC does not report acknowledgements, so they are looked up when their time is up.
            self.note_acks(now);
            self.presence.handle(now, presence::Input::Timeout);
        }
    }

    fn note_acks(&mut self, now: Now) {
        let Self {
            light_pings,
            live,
            presence,
            ..
        } = self;
        light_pings.retain(|id, before| {
            let answered = live.get(id).is_some_and(|state| state.acks() > *before);
            if answered {
                presence.handle(now, presence::Input::Acked(*id));
            }
            !answered
        });
    }

    /// A peer closed a connection as a duplicate: it counts as offline only if its other
    /// connection does not arrive in time.
    pub(super) fn expect_other(&mut self, peer: DeviceId, now: Duration, path: PathKind) {
        self.going_offline.add(peer, now + OTHER_CONNECTION, path);
    }

    /// The other connection has arrived. Returns the path of the one that it replaces.
    pub(super) fn other_arrived(&mut self, peer: DeviceId) -> Option<PathKind> {
        self.going_offline.remove(peer)
    }

    /// The peers whose other connection has not arrived in time.
    pub(super) fn take_offline(&mut self, now: Duration) -> Vec<DeviceId> {
        self.going_offline.take_due(now)
    }
}

/// Whether this machine was suspended between two moments. The monotonic clock stops meanwhile, so
/// the peers may have ended sessions that seem to sleep.
fn was_suspended(before: Now, now: Now) -> bool {
    let passed = now.mono.saturating_sub(before.mono).as_millis();
    let ahead_ms = now.wall_ms.saturating_sub(before.wall_ms);
    u128::from(ahead_ms) > passed + u128::from(SUSPENDED_MS)
}

/// Peers whose last connection was closed as a duplicate of one that has not arrived yet.
#[derive(Debug, Default)]
struct GoingOffline(BTreeMap<DeviceId, (Duration, PathKind)>);

impl GoingOffline {
    fn add(&mut self, peer: DeviceId, due: Duration, path: PathKind) {
        self.0.insert(peer, (due, path));
    }

    fn remove(&mut self, peer: DeviceId) -> Option<PathKind> {
        self.0.remove(&peer).map(|(_, path)| path)
    }

    fn next_due(&self) -> Option<Duration> {
        self.0.values().map(|(due, _)| *due).min()
    }

    fn take_due(&mut self, now: Duration) -> Vec<DeviceId> {
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
    use crate::net::tests::{meet, node};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_peer_whose_other_connection_does_not_arrive_is_offline() {
        let [ann, bob] = [1, 2].map(|n| DeviceId::from_bytes([n; 32]));
        let mut going = GoingOffline::default();
        going.add(ann, 3 * SECOND, PathKind::Lan);
        going.add(bob, 2 * SECOND, PathKind::Relay);
        assert_eq!(going.next_due(), Some(2 * SECOND));
        assert_eq!(going.remove(bob), Some(PathKind::Relay), "it arrived");
        assert_eq!(going.take_due(2 * SECOND), []);
        assert_eq!(going.take_due(3 * SECOND), [ann]);
        assert_eq!(going.next_due(), None);
    }

    fn at(mono: Duration) -> Now {
        Now { mono, wall_ms: 0 }
    }

    /// Two sessions with one peer over real connections, and the peer.
    async fn two_sessions() -> (Sessions, DeviceId, TaskTracker) {
        let (ann, mut bob) = (node(1), node(2));
        let (events, _queue) = mpsc::channel(8);
        let (mut sessions, tasks) = (Sessions::new(events), TaskTracker::new());
        for id in [1_u32, 2] {
            let (mut ours, _theirs) = meet(&ann, &mut bob).await;
            ours.hello.features = SLEEP | DIAL_BACK;
            sessions.begin(
                SessionId(id.into()),
                ours,
                Roles {
                    pings_first: true,
                    ..Roles::default()
                },
                at(id * SECOND),
                &tasks,
            );
        }
        (sessions, bob.id, tasks)
    }

    #[tokio::test]
    async fn of_two_sessions_with_a_peer_the_later_one_counts() {
        let (mut sessions, bob, _tasks) = two_sessions().await;
        let age = |sessions: &Sessions| sessions.with(bob).map(|state| state.age(5 * SECOND));
        assert_eq!(age(&sessions), Some(3 * SECOND));
        assert_eq!(sessions.ids_with(bob), [SessionId(1), SessionId(2)]);
        assert!(sessions.remove(SessionId(2), at(5 * SECOND)).is_some());
        assert!(sessions.remove(SessionId(2), at(5 * SECOND)).is_none());
        assert_eq!(age(&sessions), Some(4 * SECOND));
    }

    #[tokio::test]
    async fn a_user_who_asks_is_answered_with_the_next_pong() {
        let (mut sessions, bob, _tasks) = two_sessions().await;
        // Each session has pinged once at its beginning.
        while sessions.poll_output().is_some() {}
        let (reply, mut answer) = oneshot::channel();
        sessions.ping(bob, reply, at(3 * SECOND));
        let mut outputs = std::iter::from_fn(|| sessions.poll_output());
        let ping = outputs.find_map(|output| {
            if let presence::Output::Ping(id, token) = output {
                Some((id, token))
            } else {
                None
            }
        });
        let (id, token) = ping.expect("it asks at once");
        assert_eq!(id, SessionId(2), "the later session");
        sessions.pong(id, token, at(4 * SECOND));
        let mut outputs = std::iter::from_fn(|| sessions.poll_output());
        let measured = outputs.find_map(|output| {
            if let presence::Output::Rtt(id, rtt) = output {
                Some((id, rtt))
            } else {
                None
            }
        });
        assert_eq!(measured, Some((id, SECOND)));
        let state = sessions.get_mut(id).expect("it is live");
        state.responses.measured(SECOND);
        assert_eq!(answer.try_recv(), Ok(()));
    }

    #[test]
    fn a_suspended_machine_is_noticed_by_its_two_clocks() {
        let now = |secs, wall_ms| Now {
            mono: Duration::from_secs(secs),
            wall_ms,
        };
        assert!(!was_suspended(now(10, 500_000), now(20, 510_000)));
        assert!(
            !was_suspended(now(10, 500_000), now(20, 515_000)),
            "a clock that was set"
        );
        assert!(
            !was_suspended(now(10, 500_000), now(20, 400_000)),
            "set back"
        );
        assert!(was_suspended(now(10, 500_000), now(20, 515_001)));
        assert!(
            !was_suspended(now(0, u64::MAX), now(20, 510_000)),
            "the first look"
        );
    }

    #[tokio::test]
    async fn a_datagram_of_a_program_makes_a_session_busy() {
        let (ann, mut bob) = (node(1), node(2));
        let (events, _queue) = mpsc::channel(8);
        let (mut sessions, tasks) = (Sessions::new(events), TaskTracker::new());
        let (ours, _theirs) = meet(&ann, &mut bob).await;
        let (id, roles) = (SessionId(1), Roles::default());
        sessions.begin(id, ours, roles, at(SECOND), &tasks);
        let datagram = b"ball at 3,4"[..].into();
        let sent = sessions.connections().next().expect("there is one");
        sent.send_datagram(datagram).expect("it fits");
        // QUIC may also send what ends the handshake, so wait for the datagram itself.
        while sent.stats().frame_tx.datagram == 0 {
            tokio::task::yield_now().await;
        }
        let state = sessions.get_mut(id).expect("it is live");
        assert!(state.is_busy());
    }

    #[tokio::test]
    async fn traffic_is_watched_every_ten_seconds() {
        let (mut sessions, _, _tasks) = two_sessions().await;
        assert!(!sessions.traffic_is_due(TRAFFIC_EVERY / 2));
        assert!(sessions.traffic_is_due(TRAFFIC_EVERY));
        assert!(!sessions.watch_traffic(|_| true, |_| false, at(TRAFFIC_EVERY)));
        assert!(!sessions.traffic_is_due(TRAFFIC_EVERY));
        assert!(sessions.traffic_is_due(2 * TRAFFIC_EVERY));
    }

    #[test]
    fn a_suspension_is_noticed_without_sessions() {
        let (events, _queue) = mpsc::channel(8);
        let mut sessions = Sessions::new(events);
        let mut look = |mono, wall_ms| {
            assert!(sessions.traffic_is_due(mono));
            sessions.watch_traffic(|_| true, |_| false, Now { mono, wall_ms })
        };
        assert!(!look(TRAFFIC_EVERY, 500_000));
        assert!(look(2 * TRAFFIC_EVERY, 900_000));
    }

    #[tokio::test]
    async fn a_session_may_sleep_once_its_peer_has_reached_this_node_unasked() {
        let (mut sessions, bob, _tasks) = two_sessions().await;
        let (token, now) = ([7; 16], at(60 * SECOND));
        sessions.ask_to_be_reached(|_| false, || token, now);
        assert!(!sessions.probe_arrived(&token, false), "not on a link");
        sessions.ask_to_be_reached(|_| true, || token, now);
        assert!(sessions.probe_arrived(&token, true));
        let may_sleep = |sessions: &Sessions| {
            let with_bob = sessions.ids_with(bob);
            let may = |id: &&SessionId| sessions.may_sleep(&sessions.live[*id], now.mono);
            with_bob.iter().filter(may).count()
        };
        assert_eq!(
            may_sleep(&sessions),
            0,
            "this node has written to the socket"
        );
        assert!(sessions.probe_arrived(&token, false));
        assert_eq!(may_sleep(&sessions), 1, "a probe is for one session");
        sessions.links_changed(now);
        assert_eq!(may_sleep(&sessions), 0);
    }

    #[tokio::test]
    async fn whoever_answers_for_a_peer_causes_few_checks() {
        let (mut sessions, bob, _tasks) = two_sessions().await;
        let mut pings = |mono| {
            while sessions.poll_output().is_some() {}
            sessions.check(bob, at(mono));
            let outputs = std::iter::from_fn(|| sessions.poll_output());
            let is_ping = |output: &presence::Output| matches!(output, presence::Output::Ping(..));
            outputs.filter(is_ping).count()
        };
        assert_eq!(pings(3 * SECOND), 2, "one for each session");
        assert_eq!(pings(4 * SECOND), 0);
        assert_eq!(pings(9 * SECOND), 2);
    }

    #[tokio::test]
    async fn nobody_answers_for_a_peer_without_a_session() {
        let (mut sessions, _, _tasks) = two_sessions().await;
        let (reply, mut answer) = oneshot::channel();
        sessions.ping(DeviceId::from_bytes([9; 32]), reply, at(SECOND));
        assert_eq!(answer.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }
}
