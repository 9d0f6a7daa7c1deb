//! Decides which peers to dial, when to dial them, and which of several connections to a peer
//! stays.
//!
//! Both sides may dial at the same time. Both then keep the connection dialed by the smaller peer
//! id, without negotiating. If a peer dials although a session has been up for a while, the peer
//! has lost that session: the new connection stays. A newer instance of a peer replaces an older
//! one, never the reverse. A direct connection replaces a relayed one. A relayed connection
//! replaces a direct one only if the direct one has been up for a while, which shows that the peer
//! can no longer use it.
//!
//! The caller reports only addresses that may be dialed, see [`Origin`].

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use hobnob_limits::{Entrance, Places};
use hobnob_protocol::DeviceId;

use super::known_addrs::{KnownAddrs, Origin};
use super::source_network::SourceNetwork;
use super::synthetic::is_synthetic;
use super::{Now, Rng, SessionId};

/// Base of the exponential back-off. Each failed dial doubles the longest wait, up to
/// [`BACK_OFF_MAX`].
pub const BACK_OFF_MIN: Duration = Duration::from_secs(1);

/// The longest wait before a peer is dialed again. The actual wait is random (full jitter).
pub const BACK_OFF_MAX: Duration = Duration::from_secs(60);

/// The longest wait before a peer is dialed again after `LONG_AWAY` failures in a row, unless the
/// user named its address.
pub const BACK_OFF_LONG: Duration = Duration::from_secs(15 * 60);

/// After this many failures, about half an hour, a peer counts as away for long.
const LONG_AWAY: u32 = 60;

/// Maximum peers with addresses. One more replaces the peer that was of use least recently, among
/// those without a session. Peers whose address the user named go last.
pub const PEERS_MAX: usize = 10_000;

/// After a change of the network, a peer that was met within this time is dialed at once. The
/// others follow one by one.
pub const MET_LATELY: Duration = Duration::from_secs(3600);

/// When the first of the others is dialed after a change of the network, …
const OTHERS_AFTER: Duration = Duration::from_secs(2);

/// … and how long after it the next one.
pub const OTHERS_EVERY: Duration = Duration::from_millis(250);

/// Peers that an earlier run met and whose addresses are used in this run.
pub const REMEMBERED_MAX: usize = 1_000;

/// Of these, how many are dialed at the start, …
pub const DIALED_AT_START: usize = 64;

/// … and how long after one the next one.
const REMEMBERED_EVERY: Duration = Duration::from_millis(25);

/// If the same instance connects twice within this time, both sides dialed simultaneously.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Maximum sessions of a node.
pub const SESSIONS_MAX: usize = 512;

/// One run of a node, as announced in its Hello. The greater of two instances is the newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instance {
    /// The start time, by the node's own clock.
    pub started_at_ms: u64,
    /// A random number.
    pub number: u64,
}

/// An event for [`Paths::handle`].
#[derive(Debug, Clone)]
pub enum Input {
    /// Possible addresses of a peer. A sign of life or a new address ends the back-off.
    Found {
        /// The peer.
        peer: DeviceId,
        /// Its possible addresses.
        addrs: Vec<SocketAddr>,
        /// Why they may be dialed.
        origin: Origin,
        /// Whether this is a sign of life: the peer is online now.
        alive: bool,
    },
    /// The peers that earlier runs met, most recently met first.
    Remembered(Vec<MetPeer>),
    /// The user wants to reach this peer now, whatever the back-off.
    Wanted(DeviceId),
    /// The user forgets this peer: its addresses are dropped, also those that the user named.
    Forget(DeviceId),
    /// A dial failed.
    DialFailed(DeviceId),
    /// Another peer is at this address.
    WrongPeer(DeviceId, SocketAddr),
    /// A connection completed the exchange of Hellos.
    Connected {
        /// The new connection.
        session: SessionId,
        /// Its peer.
        peer: DeviceId,
        /// Whether this side dialed.
        dialed: bool,
        /// The run of the peer.
        instance: Instance,
        /// Whether the connection goes through a relay.
        relayed: bool,
        /// Where the peer connects from.
        source: SourceNetwork,
        /// Whether the peer is more than a stranger to the user: no stranger takes its place.
        protected: bool,
        /// A number of this connection that both ends know. It lets both ends choose the same one
        /// of several connections.
        mark: u64,
    },
    /// The peer of a session, which is at this address, missed a ping. If the peer has other
    /// relayed addresses, they are dialed now.
    Suspect(SessionId, SocketAddr),
    /// A probe proved this direct address of a peer with a relayed session: dial it.
    Proven(DeviceId, SocketAddr),
    /// A session ended.
    Down {
        /// The session.
        session: SessionId,
        /// Whether the peer said goodbye. The next dial then waits for a report of the peer or a
        /// network change.
        goodbye: bool,
        /// Whether the peer rejects this instance for now. The next dial then waits
        /// [`BACK_OFF_MAX`].
        unwelcome: bool,
    },
    /// The local network changed: unreachable peers may be reachable now.
    NetworkChanged,
    /// The time returned by [`Paths::poll_timeout`] has passed.
    Timeout,
}

/// A peer that an earlier run met, or that the user named.
#[derive(Debug, Clone)]
pub struct MetPeer {
    /// The peer.
    pub peer: DeviceId,
    /// Its lasting addresses.
    pub addrs: Vec<SocketAddr>,
    /// Those of them that the user named.
    pub named: Vec<SocketAddr>,
}

/// An action for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Dial the peer at these addresses, in order of preference.
    Dial(DeviceId, Vec<SocketAddr>),
    /// This connection is now the session with its peer.
    Keep(SessionId),
    /// Close this connection, which is not or no longer the session, with this reason.
    Close(SessionId, CloseReason),
    /// Two instances with this peer's identity are connected at the same time.
    Copied(DeviceId),
}

/// Why a connection must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The same instance of the peer has another connection.
    Duplicate,
    /// A newer instance of the peer is connected.
    Replaced,
    /// The node has [`SESSIONS_MAX`] sessions, and this one has the weakest claim to its place.
    Full,
}

#[derive(Debug, Default)]
struct Path {
    addrs: KnownAddrs,
    session: Option<Current>,
    dialing: bool,
    failures: u32,
    /// When a session last began or ended, in this run.
    met_at: Option<Duration>,
    /// When the path last was of use: it was reported, or [`Path::met_at`].
    useful_at: Duration,
    /// Whether the peer said goodbye. It is then dialed once after each change of the network.
    is_gone: bool,
    /// The next dial; `None` waits for a report of the peer or a network change.
    next_at: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct Current {
    session: SessionId,
    dialed: bool,
    relayed: bool,
    source: SourceNetwork,
    protected: bool,
    mark: u64,
    instance: Instance,
    since: Duration,
}

/// The paths to all peers. See the module's doc.
#[derive(Debug)]
pub struct Paths {
    me: DeviceId,
    rng: Rng,
    paths: BTreeMap<DeviceId, Path>,
    /// The peers with sessions.
    places: Places<SourceNetwork, DeviceId>,
    outputs: VecDeque<Output>,
}

impl Paths {
    /// Creates the state machine without any peers.
    pub fn new(me: DeviceId, rng: Rng) -> Self {
        Self {
            me,
            rng,
            paths: BTreeMap::new(),
            places: Places::new(SESSIONS_MAX),
            outputs: VecDeque::new(),
        }
    }

    /// Handles an event.
    pub fn handle(&mut self, now: Now, input: Input) {
        let now = now.mono;
        match input {
            Input::Found {
                peer,
                addrs,
                origin,
                alive,
            } => self.found(peer, addrs, origin, alive, now),
            Input::Remembered(peers) => self.remembered(peers, now),
            Input::Wanted(peer) => self.wanted(peer, now),
            Input::Forget(peer) => self.forget(peer),
            Input::DialFailed(peer) => self.dial_failed(peer, now),
            Input::WrongPeer(peer, addr) => {
                if let Some(path) = self.paths.get_mut(&peer) {
                    path.addrs.wrong(addr);
                }
            }
            Input::Connected {
                session,
                peer,
                dialed,
                instance,
                relayed,
                source,
                protected,
                mark,
            } => {
                self.connected(
                    peer,
                    Current {
                        session,
                        dialed,
                        relayed,
                        source,
                        protected,
                        mark,
                        instance,
                        since: now,
                    },
                );
            }
            Input::Suspect(session, remote) => self.suspect(session, remote),
            Input::Proven(peer, addr) => self.proven(peer, addr),
            Input::Down {
                session,
                goodbye,
                unwelcome,
            } => self.down(session, goodbye, unwelcome, now),
            Input::NetworkChanged => self.network_changed(now),
            Input::Timeout => {}
        }
        self.dial_due(now);
    }

    /// The next action, if any.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Paths::handle`] with [`Input::Timeout`].
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.paths
            .values()
            .filter(|path| path.wants_dial())
            .filter_map(|path| path.next_at)
            .min()
    }

    /// The current session with a peer.
    pub fn session(&self, peer: DeviceId) -> Option<SessionId> {
        self.paths
            .get(&peer)?
            .session
            .map(|current| current.session)
    }

    /// The possible addresses of a peer, most recently reported first.
    pub fn addrs(&self, peer: DeviceId) -> Vec<SocketAddr> {
        self.paths
            .get(&peer)
            .map(|path| path.addrs.iter().collect())
            .unwrap_or_default()
    }

    /// Whether the user has named an address of this peer, in this run or an earlier one.
    pub fn is_named(&self, peer: DeviceId) -> bool {
        self.paths
            .get(&peer)
            .is_some_and(|path| path.addrs.has_named())
    }

    /// The user removes an address of a peer, whoever named it. Returns whether it was there.
    pub fn forget_addr(&mut self, peer: DeviceId, addr: SocketAddr) -> bool {
        let path = self.paths.get_mut(&peer);
        path.is_some_and(|path| path.addrs.remove(addr))
    }

    /// The addresses of a peer that the next run may use, and those of them that the user named.
    pub fn lasting_addrs(&self, peer: DeviceId) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
        let known = self.paths.get(&peer).map(|path| &path.addrs);
        known
            .map(|addrs| (addrs.lasting().collect(), addrs.named().collect()))
            .unwrap_or_default()
    }

    fn found(
        &mut self,
        peer: DeviceId,
        addrs: Vec<SocketAddr>,
        origin: Origin,
        alive: bool,
        now: Duration,
    ) {
        if peer == self.me {
            return;
        }
        let path = self.path(peer, now);
        let is_news = path.addrs.report(addrs, origin);
        if alive || is_news {
            path.failures = 0;
            path.is_gone = false;
            path.next_at = Some(now);
        }
        if alive && path.session.is_some_and(|current| current.relayed) {
            self.dial_some(peer, |addr| !is_synthetic(addr.ip()));
        }
    }

    fn remembered(&mut self, peers: Vec<MetPeer>, now: Duration) {
        let mut at = now;
        for (i, met) in peers.into_iter().enumerate() {
            let is_named = !met.named.is_empty();
            if i >= REMEMBERED_MAX && !is_named {
                continue;
            }
            let path = self.path(met.peer, now);
            path.addrs.report(met.addrs, Origin::Answered);
            path.addrs.report(met.named, Origin::Named);
            if i < DIALED_AT_START || is_named {
                path.next_at = Some(at);
                at += REMEMBERED_EVERY;
            }
        }
    }

    fn wanted(&mut self, peer: DeviceId, now: Duration) {
        if let Some(path) = self.paths.get_mut(&peer) {
            path.is_gone = false;
            path.next_at = Some(now);
        }
    }

    /// The path to a peer. If there is none, makes one, and makes room for it.
    fn path(&mut self, peer: DeviceId, now: Duration) -> &mut Path {
        if self.paths.len() >= PEERS_MAX && !self.paths.contains_key(&peer) {
            let idle = |(_, path): &(&DeviceId, &Path)| path.session.is_none();
            let usefulness = |path: &Path| (path.addrs.has_named(), path.useful_at);
            let all = self.paths.iter().filter(idle);
            let least = all.min_by_key(|(_, path)| usefulness(path));
            let least = *least.expect("PEERS_MAX is more than SESSIONS_MAX").0;
            self.paths.remove(&least);
        }
        let path = self.paths.entry(peer).or_default();
        path.useful_at = now;
        path
    }

    /// Dials the other relayed addresses, since the path may be dead. The session moves when a
    /// connection is up there.
    fn suspect(&mut self, session: SessionId, remote: SocketAddr) {
        let of_session = |path: &Path| {
            path.session
                .is_some_and(|current| current.session == session)
        };
        let Some((&peer, _)) = self.paths.iter().find(|(_, path)| of_session(path)) else {
            return;
        };
        self.dial_some(peer, |addr| is_synthetic(addr.ip()) && *addr != remote);
    }

    /// Dials immediately, even during another dial. That dial may target a private address from the
    /// peer's own network, which is useless here. The NAT mapping opened by the probes would expire
    /// before that dial fails.
    fn proven(&mut self, peer: DeviceId, addr: SocketAddr) {
        if self
            .paths
            .get(&peer)
            .is_some_and(|path| path.session.is_some_and(|current| current.relayed))
        {
            self.outputs.push_back(Output::Dial(peer, vec![addr]));
        }
    }

    /// Dials some of a peer's addresses despite an existing session.
    fn dial_some(&mut self, peer: DeviceId, which: impl Fn(&SocketAddr) -> bool) {
        let Some(path) = self.paths.get_mut(&peer) else {
            return;
        };
        let addrs: Vec<_> = path.addrs.iter().filter(which).collect();
        if !path.dialing && !addrs.is_empty() {
            path.dialing = true;
            self.outputs.push_back(Output::Dial(peer, addrs));
        }
    }

    fn forget(&mut self, peer: DeviceId) {
        let Some(path) = self.paths.get_mut(&peer) else {
            return;
        };
        path.addrs = KnownAddrs::default();
        // A dial that is under way ends by itself. Then nothing is left of the peer.
        if path.session.is_none() && !path.dialing {
            self.paths.remove(&peer);
        }
    }

    fn dial_failed(&mut self, peer: DeviceId, now: Duration) {
        let Some(path) = self.paths.get_mut(&peer) else {
            return;
        };
        path.dialing = false;
        path.addrs.failed();
        if path.addrs.is_empty() && path.session.is_none() {
            self.paths.remove(&peer);
            return;
        }
        path.failures = path.failures.saturating_add(1);
        if path.is_gone {
            return;
        }
        let most = if path.failures > LONG_AWAY && !path.addrs.has_named() {
            BACK_OFF_LONG
        } else {
            let doubled = BACK_OFF_MIN.saturating_mul(1 << path.failures.min(6));
            doubled.min(BACK_OFF_MAX)
        };
        path.next_at = Some(now + jittered(&mut self.rng, most));
    }

    /// Notes that a peer with a session uses it. Of the sessions that may have to make room for
    /// others, the idlest ends first.
    pub fn active(&mut self, peer: DeviceId) {
        self.places.active(peer);
    }

    /// Changes whether a peer with a session is protected (see [`Input::Connected`]).
    pub fn protect(&mut self, peer: DeviceId, protected: bool) {
        self.places.protect(peer, protected);
    }

    fn connected(&mut self, peer: DeviceId, new: Current) {
        let path = self.path(peer, new.since);
        if new.dialed {
            path.dialing = false;
        }
        let Some(old) = path.session else {
            return match self.places.enter(peer, new.source, new.protected) {
                Entrance::Free => self.keep(peer, new),
                Entrance::Replaces(other) => {
                    self.end_for_another(other);
                    self.keep(peer, new);
                }
                Entrance::Full => self
                    .outputs
                    .push_back(Output::Close(new.session, CloseReason::Full)),
            };
        };
        if new.instance != old.instance {
            self.another_instance(peer, old, new);
        } else if self.stays(peer, old, new) {
            self.outputs
                .push_back(Output::Close(new.session, CloseReason::Duplicate));
        } else {
            self.keep(peer, new);
            self.outputs
                .push_back(Output::Close(old.session, CloseReason::Duplicate));
        }
    }

    /// Whether the older of two connections to one instance stays. For simultaneous connections,
    /// both ends choose the same one, in any order of arrival. A direct one wins over a relayed
    /// one, then the smaller dialer id wins, then the smaller mark.
    fn stays(&self, peer: DeviceId, old: Current, new: Current) -> bool {
        if new.since - old.since > AT_ONCE {
            return false;
        }
        let rank = |current: Current| {
            (
                current.relayed,
                current.dialed != (self.me < peer),
                current.mark,
            )
        };
        rank(old) <= rank(new)
    }

    fn another_instance(&mut self, peer: DeviceId, old: Current, new: Current) {
        if new.instance > old.instance {
            self.keep(peer, new);
            self.outputs
                .push_back(Output::Close(old.session, CloseReason::Replaced));
        } else {
            // An older instance dials during a session of the newer one only if both run at the
            // same time.
            self.outputs
                .push_back(Output::Close(new.session, CloseReason::Replaced));
            self.outputs.push_back(Output::Copied(peer));
        }
    }

    /// Ends the session of a peer that has lost its place. The peer is not dialed again until
    /// something is heard of it.
    fn end_for_another(&mut self, peer: DeviceId) {
        let path = self.paths.get_mut(&peer);
        let path = path.expect("a peer with a place is known");
        let session = path.session.take();
        let session = session.expect("a peer with a place has a session");
        path.is_gone = true;
        self.outputs
            .push_back(Output::Close(session.session, CloseReason::Full));
    }

    fn keep(&mut self, peer: DeviceId, new: Current) {
        self.places.relocate(peer, new.source);
        self.places.protect(peer, new.protected);
        let path = self.path(peer, new.since);
        path.session = Some(new);
        path.failures = 0;
        path.next_at = None;
        path.met_at = Some(new.since);
        path.is_gone = false;
        self.outputs.push_back(Output::Keep(new.session));
    }

    fn down(&mut self, session: SessionId, goodbye: bool, unwelcome: bool, now: Duration) {
        let of_session = |(_, path): &(&DeviceId, &mut Path)| {
            path.session
                .is_some_and(|current| current.session == session)
        };
        let Some((peer, path)) = self.paths.iter_mut().find(of_session) else {
            return;
        };
        path.session = None;
        (path.met_at, path.useful_at) = (Some(now), now);
        path.is_gone = goodbye;
        self.places.leave(*peer);
        path.next_at = match (goodbye, unwelcome) {
            (true, _) => None,
            (false, true) => Some(now + BACK_OFF_MAX),
            (false, false) => Some(now + jittered(&mut self.rng, BACK_OFF_MIN)),
        };
    }

    /// Dials the peers that may be reachable again: at once those that were here a moment ago, then
    /// the others one by one, so that a machine that travels does not dial everybody it ever met.
    fn network_changed(&mut self, now: Duration) {
        let lately = now.saturating_sub(MET_LATELY);
        let mut others = Vec::new();
        let offline = self.paths.iter_mut();
        for (peer, path) in offline.filter(|(_, path)| path.session.is_none()) {
            path.failures = 0;
            let met_lately = path.met_at.is_some_and(|at| at >= lately);
            if !path.is_gone && (met_lately || path.addrs.has_named()) {
                path.next_at = Some(now + jittered(&mut self.rng, BACK_OFF_MIN));
            } else {
                others.push((path.useful_at, *peer));
            }
        }
        others.sort_unstable_by(|one, other| other.cmp(one));
        let mut at = now + OTHERS_AFTER;
        for (_, peer) in others {
            let path = self.paths.get_mut(&peer).expect("it was found above");
            path.next_at = Some(at + jittered(&mut self.rng, OTHERS_EVERY));
            at += OTHERS_EVERY;
        }
    }

    fn dial_due(&mut self, now: Duration) {
        for (peer, path) in &mut self.paths {
            if path.wants_dial() && path.next_at.is_some_and(|at| at <= now) {
                path.dialing = true;
                path.next_at = None;
                let mut addrs: Vec<_> = path.addrs.iter().collect();
                // The sort is stable: within each kind, the most recently reported address stays
                // first.
                addrs.sort_by_key(|addr| is_synthetic(addr.ip()));
                self.outputs.push_back(Output::Dial(*peer, addrs));
            }
        }
    }
}

impl Path {
    fn wants_dial(&self) -> bool {
        self.session.is_none() && !self.dialing && !self.addrs.is_empty()
    }
}

fn jittered(rng: &mut Rng, most: Duration) -> Duration {
    let millis = u64::try_from(most.as_millis()).expect("a minute at most");
    Duration::from_millis(rng.below(millis.max(1)) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_protocol::SecretKey;

    const FIRST: Instance = Instance {
        started_at_ms: 1,
        number: 9,
    };
    const SECOND: Instance = Instance {
        started_at_ms: 2,
        number: 3,
    };

    const HERE: SourceNetwork = SourceNetwork(1);
    const ELSEWHERE: SourceNetwork = SourceNetwork(2);

    struct Side {
        paths: Paths,
        now: Duration,
    }

    fn ids() -> (DeviceId, DeviceId) {
        let [a, b] = [1, 2].map(|n| SecretKey::from_seed([n; 32]).id());
        (a.min(b), a.max(b))
    }

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    impl Side {
        fn new(me: DeviceId) -> Self {
            Self {
                paths: Paths::new(me, Rng::new(1)),
                now: Duration::ZERO,
            }
        }

        fn tell(&mut self, input: Input) -> Vec<Output> {
            self.paths.handle(
                Now {
                    mono: self.now,
                    wall_ms: 0,
                },
                input,
            );
            std::iter::from_fn(|| self.paths.poll_output()).collect()
        }

        fn connected(
            &mut self,
            session: u64,
            peer: DeviceId,
            dialed: bool,
            instance: Instance,
        ) -> Vec<Output> {
            self.tell(Input::Connected {
                session: SessionId(session),
                peer,
                dialed,
                instance,
                relayed: false,
                source: HERE,
                protected: false,
                mark: session,
            })
        }
    }

    fn kept(outputs: &[Output]) -> Vec<u64> {
        outputs
            .iter()
            .filter_map(|o| {
                if let Output::Keep(s) = o {
                    Some(s.0)
                } else {
                    None
                }
            })
            .collect()
    }

    #[test]
    fn when_both_dial_at_once_both_keep_the_connection_of_the_smaller_id_in_any_order() {
        let (small, large) = ids();
        // Connection 1 was dialed by the smaller id, 2 by the larger.
        for order_small in [[1, 2], [2, 1]] {
            for order_large in [[1, 2], [2, 1]] {
                let (mut a, mut b) = (Side::new(small), Side::new(large));
                for c in order_small {
                    a.connected(c, large, c == 1, FIRST);
                }
                for c in order_large {
                    b.connected(c, small, c == 2, FIRST);
                }
                assert_eq!(a.paths.session(large), Some(SessionId(1)));
                assert_eq!(b.paths.session(small), Some(SessionId(1)));
            }
        }
    }

    #[test]
    fn of_several_dials_by_one_side_both_ends_keep_the_same_in_any_order() {
        let (small, large) = ids();
        for dialer_is_small in [true, false] {
            let (mut a, mut b) = (Side::new(small), Side::new(large));
            for connection in [1, 2] {
                a.connected(connection, large, dialer_is_small, FIRST);
            }
            for connection in [2, 1] {
                b.connected(connection, small, !dialer_is_small, FIRST);
            }
            assert_eq!(
                (a.paths.session(large), b.paths.session(small)),
                (Some(SessionId(1)), Some(SessionId(1)))
            );
        }
    }

    #[test]
    fn a_later_connection_of_the_same_instance_replaces_the_session() {
        let (small, large) = ids();
        let mut a = Side::new(small);
        a.connected(1, large, true, FIRST);
        a.now += Duration::from_secs(6);
        let outputs = a.connected(2, large, false, FIRST);
        assert_eq!(
            outputs,
            [
                Output::Keep(SessionId(2)),
                Output::Close(SessionId(1), CloseReason::Duplicate)
            ]
        );
    }

    #[test]
    fn a_restarted_peer_replaces_itself_and_an_older_copy_does_not() {
        let (small, large) = ids();
        let mut a = Side::new(small);
        a.connected(1, large, true, FIRST);
        let outputs = a.connected(2, large, false, SECOND);
        assert_eq!(
            outputs,
            [
                Output::Keep(SessionId(2)),
                Output::Close(SessionId(1), CloseReason::Replaced)
            ]
        );
        for session in 3..10 {
            let outputs = a.connected(session, large, false, FIRST);
            assert_eq!(
                outputs,
                [
                    Output::Close(SessionId(session), CloseReason::Replaced),
                    Output::Copied(large)
                ]
            );
        }
        assert_eq!(a.paths.session(large), Some(SessionId(2)));
    }

    #[test]
    fn back_off_grows_to_a_minute_and_a_sign_of_life_ends_it() {
        let (small, large) = ids();
        let mut a = Side::new(small);
        let found = |alive| Input::Found {
            peer: large,
            addrs: vec![addr(1)],
            origin: Origin::Answered,
            alive,
        };
        assert_eq!(a.tell(found(true)), [Output::Dial(large, vec![addr(1)])]);
        for failures in 1..20u32 {
            a.tell(Input::DialFailed(large));
            let at = a.paths.poll_timeout().expect("will dial again");
            assert!(
                at - a.now
                    <= BACK_OFF_MAX.min(BACK_OFF_MIN * 2u32.pow(failures.min(6)))
                        + Duration::from_millis(1)
            );
            a.now = at;
            assert_eq!(a.tell(Input::Timeout).len(), 1);
        }
        a.tell(Input::DialFailed(large));
        assert_eq!(a.tell(found(false)), [], "a memory is no sign of life");
        assert_eq!(a.tell(found(true)).len(), 1);
    }

    #[test]
    fn after_a_goodbye_the_peer_is_dialed_only_when_found_again() {
        let (small, large) = ids();
        let mut a = Side::new(small);
        a.tell(Input::Found {
            peer: large,
            addrs: vec![addr(1)],
            origin: Origin::Answered,
            alive: true,
        });
        assert_eq!(kept(&a.connected(1, large, true, FIRST)), [1]);
        a.tell(Input::Down {
            session: SessionId(1),
            goodbye: true,
            unwelcome: false,
        });
        assert_eq!(a.paths.poll_timeout(), None);
        assert_eq!(
            a.tell(Input::Found {
                peer: large,
                addrs: vec![addr(2)],
                origin: Origin::Answered,
                alive: true
            })
            .len(),
            1
        );
    }

    #[test]
    fn a_lost_session_is_dialed_again_within_a_second() {
        let (small, large) = ids();
        let mut a = Side::new(small);
        a.tell(Input::Found {
            peer: large,
            addrs: vec![addr(1)],
            origin: Origin::Answered,
            alive: true,
        });
        a.connected(1, large, true, FIRST);
        a.tell(Input::Down {
            session: SessionId(1),
            goodbye: false,
            unwelcome: false,
        });
        assert!(
            a.paths.poll_timeout().expect("will dial") <= BACK_OFF_MIN + Duration::from_millis(1)
        );
    }

    fn stranger(n: u64) -> DeviceId {
        let mut bytes = [9; 32];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        DeviceId::from_bytes(bytes)
    }

    /// A node whose sessions are all with peers of one host.
    fn crowded() -> Side {
        let (small, _) = ids();
        let mut side = Side::new(small);
        for n in 0..SESSIONS_MAX as u64 {
            let outputs = side.connected(n, stranger(n), false, FIRST);
            assert_eq!(kept(&outputs), [n]);
        }
        side
    }

    fn arrival(n: u64, source: SourceNetwork, protected: bool) -> Input {
        Input::Connected {
            session: SessionId(n),
            peer: stranger(n),
            dialed: false,
            instance: FIRST,
            relayed: false,
            source,
            protected,
            mark: n,
        }
    }

    #[test]
    fn sessions_are_limited() {
        let outputs = crowded().tell(arrival(9999, HERE, false));
        assert_eq!(outputs, [Output::Close(SessionId(9999), CloseReason::Full)]);
    }

    #[test]
    fn when_sessions_run_short_a_crowd_makes_room_for_others() {
        let mut a = crowded();
        a.paths.active(stranger(0));
        let outputs = a.tell(arrival(9999, ELSEWHERE, false));
        let replaced = [
            Output::Close(SessionId(1), CloseReason::Full),
            Output::Keep(SessionId(9999)),
        ];
        assert_eq!(outputs, replaced, "the first of the crowd is active");
        assert_eq!(a.paths.session(stranger(1)), None);
        assert_eq!(a.paths.poll_timeout(), None, "it is not dialed again");
        a.tell(Input::Down {
            session: SessionId(1),
            goodbye: false,
            unwelcome: false,
        });
        let outputs = a.tell(arrival(10_000, HERE, false));
        let full = [Output::Close(SessionId(10_000), CloseReason::Full)];
        assert_eq!(outputs, full, "a session counts once");
    }

    #[test]
    fn no_stranger_takes_the_place_of_a_contact() {
        let mut a = crowded();
        for n in 1..SESSIONS_MAX as u64 {
            a.paths.protect(stranger(n), true);
        }
        let outputs = a.tell(arrival(9998, HERE, true));
        let replaced = [
            Output::Close(SessionId(0), CloseReason::Full),
            Output::Keep(SessionId(9998)),
        ];
        assert_eq!(outputs, replaced);
        let outputs = a.tell(arrival(9999, HERE, false));
        assert_eq!(outputs, [Output::Close(SessionId(9999), CloseReason::Full)]);
    }

    fn peer(n: usize) -> DeviceId {
        let mut bytes = [9; 32];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        DeviceId::from_bytes(bytes)
    }

    /// A report of one address of a peer, which is dialed at once.
    fn report(peer: DeviceId, origin: Origin) -> Input {
        Input::Found {
            peer,
            addrs: vec![addr(1)],
            origin,
            alive: true,
        }
    }

    #[test]
    fn a_checked_address_is_dialed_three_times_and_a_named_one_for_ever() {
        let (small, large) = ids();
        for (origin, dials) in [(Origin::Checked, 3), (Origin::Named, 100)] {
            let mut a = Side::new(small);
            let mut dialed = a.tell(report(large, origin)).len();
            assert_eq!(a.paths.is_named(large), origin == Origin::Named);
            for _ in 0..99 {
                a.tell(Input::DialFailed(large));
                let Some(at) = a.paths.poll_timeout() else {
                    break;
                };
                assert!(at - a.now <= BACK_OFF_MAX + Duration::from_millis(1));
                a.now = at;
                dialed += a.tell(Input::Timeout).len();
            }
            assert_eq!(dialed, dials);
            assert_eq!(a.paths.paths.len(), usize::from(origin == Origin::Named));
        }
    }

    #[test]
    fn a_peer_that_is_away_for_long_is_dialed_ever_more_seldom_until_the_user_wants_it() {
        let (small, large) = ids();
        let mut a = Side::new(small);
        a.tell(report(large, Origin::Answered));
        let mut longest = Duration::ZERO;
        for _ in 0..200 {
            a.tell(Input::DialFailed(large));
            let at = a.paths.poll_timeout().expect("dials again");
            longest = longest.max(at - a.now);
            a.now = at;
            a.tell(Input::Timeout);
        }
        assert!(longest > BACK_OFF_MAX && longest <= BACK_OFF_LONG + Duration::from_millis(1));
        a.tell(Input::DialFailed(large));
        assert_eq!(a.tell(Input::Wanted(large)).len(), 1);
    }

    #[test]
    fn a_flood_of_peers_pushes_out_neither_sessions_nor_named_peers_nor_newcomers() {
        let mut a = Side::new(ids().0);
        a.connected(1, peer(0), false, FIRST);
        a.tell(report(peer(1), Origin::Named));
        for n in 2..PEERS_MAX + 3 {
            a.now += Duration::from_millis(1);
            assert_eq!(a.tell(report(peer(n), Origin::Checked)).len(), 1);
        }
        assert_eq!(a.paths.paths.len(), PEERS_MAX);
        let known = |n| a.paths.paths.contains_key(&peer(n));
        assert!(known(0) && known(1) && !known(2) && known(PEERS_MAX + 2));
    }

    #[test]
    fn after_a_change_of_network_most_peers_are_dialed_one_by_one() {
        let mut a = Side::new(ids().0);
        let met = |n| MetPeer {
            peer: peer(n),
            addrs: vec![addr(1)],
            named: Vec::new(),
        };
        let remembered = (0..100).map(met).collect();
        let mut at_start = a.tell(Input::Remembered(remembered)).len();
        a.now = Duration::from_secs(10);
        at_start += a.tell(Input::Timeout).len();
        assert_eq!(at_start, DIALED_AT_START);
        for n in 0..DIALED_AT_START {
            a.tell(Input::DialFailed(peer(n)));
        }
        // Peer 0 was here a moment ago, peer 1 has said goodbye.
        for (n, goodbye) in [(0, false), (1, true)] {
            a.connected(n, peer(usize::try_from(n).expect("small")), true, FIRST);
            a.tell(Input::Down {
                session: SessionId(n),
                goodbye,
                unwelcome: false,
            });
        }
        a.tell(Input::NetworkChanged);
        let mut dialed = Vec::new();
        let start = a.now;
        while dialed.len() < 100 {
            a.now = a.paths.poll_timeout().expect("there are more");
            let outputs = a.tell(Input::Timeout);
            dialed.extend(outputs.into_iter().map(|output| (a.now - start, output)));
        }
        assert!(matches!(dialed[0], (_, Output::Dial(to, _)) if to == peer(0)));
        assert!(dialed[0].0 <= BACK_OFF_MIN + Duration::from_millis(1));
        assert!(dialed[1].0 >= OTHERS_AFTER);
        for three in dialed.windows(3) {
            let (first, last) = (three[0].0, three[2].0);
            assert!(last - first >= OTHERS_EVERY, "{first:?} {last:?}");
        }
        a.tell(Input::DialFailed(peer(1)));
        assert_eq!(a.paths.paths[&peer(1)].next_at, None, "one attempt");
    }

    #[test]
    fn an_address_at_which_another_peer_answered_is_not_dialed_again() {
        let (small, large) = ids();
        let mut a = Side::new(small);
        a.tell(report(large, Origin::Answered));
        a.tell(Input::WrongPeer(large, addr(1)));
        a.tell(Input::DialFailed(large));
        assert_eq!(a.paths.poll_timeout(), None);
    }

    fn relayed_addr() -> SocketAddr {
        crate::synthetic::from_random(true, 1, 2)
    }

    #[test]
    fn a_session_moves_to_a_direct_path_and_back_when_that_dies() {
        let (small, large) = ids();
        let mut a = Side::new(small);
        a.tell(Input::Found {
            peer: large,
            addrs: vec![relayed_addr()],
            origin: Origin::Relayed,
            alive: true,
        });
        let connected = |session, relayed| Input::Connected {
            session: SessionId(session),
            peer: large,
            dialed: true,
            instance: FIRST,
            relayed,
            source: HERE,
            protected: false,
            mark: 0,
        };
        assert_eq!(a.tell(connected(1, true)), [Output::Keep(SessionId(1))]);
        assert_eq!(
            a.tell(Input::Proven(large, addr(7))),
            [Output::Dial(large, vec![addr(7)])]
        );
        assert_eq!(
            a.tell(Input::Proven(large, addr(8))),
            [Output::Dial(large, vec![addr(8)])],
            "also during another dial"
        );
        let moved = [
            Output::Keep(SessionId(2)),
            Output::Close(SessionId(1), CloseReason::Duplicate),
        ];
        assert_eq!(a.tell(connected(2, false)), moved);
        assert_eq!(
            a.tell(connected(3, true)),
            [Output::Close(SessionId(3), CloseReason::Duplicate)]
        );
        a.now += Duration::from_secs(60);
        assert_eq!(
            a.tell(Input::Suspect(SessionId(2), addr(7))),
            [Output::Dial(large, vec![relayed_addr()])]
        );
        let back = [
            Output::Keep(SessionId(4)),
            Output::Close(SessionId(2), CloseReason::Duplicate),
        ];
        assert_eq!(a.tell(connected(4, true)), back);
        assert_eq!(
            a.tell(Input::Suspect(SessionId(4), relayed_addr())),
            [],
            "there is no other relay to try"
        );
        let elsewhere = crate::synthetic::from_random(true, 3, 4);
        a.tell(Input::Found {
            peer: large,
            addrs: vec![elsewhere],
            origin: Origin::Relayed,
            alive: false,
        });
        a.now += Duration::from_secs(60);
        assert_eq!(
            a.tell(Input::Suspect(SessionId(4), relayed_addr())),
            [Output::Dial(large, vec![elsewhere])]
        );
        let moved = [
            Output::Keep(SessionId(5)),
            Output::Close(SessionId(4), CloseReason::Duplicate),
        ];
        assert_eq!(a.tell(connected(5, true)), moved);
    }

    #[test]
    fn a_direct_address_is_tried_first_and_also_while_there_is_a_relayed_session() {
        let (small, large) = ids();
        let mut a = Side::new(small);
        a.tell(Input::Connected {
            session: SessionId(1),
            peer: large,
            dialed: true,
            instance: FIRST,
            relayed: true,
            source: HERE,
            protected: false,
            mark: 0,
        });
        let found = |addrs| Input::Found {
            peer: large,
            addrs,
            origin: Origin::Answered,
            alive: true,
        };
        assert_eq!(a.tell(found(vec![relayed_addr()])), []);
        assert_eq!(
            a.tell(found(vec![addr(1)])),
            [Output::Dial(large, vec![addr(1)])]
        );
        a.tell(Input::DialFailed(large));
        a.tell(Input::Down {
            session: SessionId(1),
            goodbye: false,
            unwelcome: false,
        });
        a.tell(found(vec![relayed_addr()]));
        assert_eq!(a.paths.addrs(large), [relayed_addr(), addr(1)]);
        a.now += BACK_OFF_MIN * 2;
        a.tell(Input::DialFailed(large));
        let at = a.paths.poll_timeout().expect("dials again");
        a.now = at;
        assert_eq!(
            a.tell(Input::Timeout),
            [Output::Dial(large, vec![addr(1), relayed_addr()])]
        );
    }
}
