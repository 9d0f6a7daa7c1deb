//! Decides which peers to dial, when to dial them, and which of several connections to a peer
//! stays.
//!
//! Both sides may dial at the same time. Both then keep the connection dialed by the smaller peer
//! id, without negotiating. If a peer dials although a session has been up for a while, the peer
//! has lost that session: the new connection stays. A newer instance of a peer replaces an older
//! one, never the reverse. A direct connection replaces a relayed one. A relayed connection
//! replaces a direct one only if the direct one has been up for a while, which shows that the peer
//! can no longer use it.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use hobnob_protocol::PeerId;

use super::synthetic::is_synthetic;
use super::{Now, Rng, SessionId};

/// Base of the exponential back-off. Each failed dial doubles the longest wait, up to
/// [`BACK_OFF_MAX`].
pub const BACK_OFF_MIN: Duration = Duration::from_secs(1);

/// The longest wait before a peer is dialed again. The actual wait is random (full jitter).
pub const BACK_OFF_MAX: Duration = Duration::from_secs(60);

/// Maximum addresses stored per peer. The least recently reported address is dropped.
pub const ADDRS_PER_PEER_MAX: usize = 16;

/// Maximum peers to dial. Reports of further peers are ignored.
pub const PEERS_MAX: usize = 10_000;

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
        peer: PeerId,
        /// Its possible addresses.
        addrs: Vec<SocketAddr>,
        /// Whether this is a sign of life: the peer is online now.
        alive: bool,
    },
    /// A dial failed.
    DialFailed(PeerId),
    /// A connection completed the exchange of Hellos.
    Connected {
        /// The new connection.
        session: SessionId,
        /// Its peer.
        peer: PeerId,
        /// Whether this side dialed.
        dialed: bool,
        /// The run of the peer.
        instance: Instance,
        /// Whether the connection goes through a relay.
        relayed: bool,
        /// A number of this connection that both ends know. It lets both ends choose the same one
        /// of several connections.
        mark: u64,
    },
    /// The peer of a session missed a ping. If the peer has a relayed address, that one is dialed
    /// now.
    Suspect(SessionId),
    /// A probe proved this direct address of a peer with a relayed session: dial it.
    Proven(PeerId, SocketAddr),
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

/// An action for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Dial the peer at these addresses, in order of preference.
    Dial(PeerId, Vec<SocketAddr>),
    /// This connection is now the session with its peer.
    Keep(SessionId),
    /// Close this connection, which is not or no longer the session, with this reason.
    Close(SessionId, CloseReason),
    /// Two instances with this peer's identity are connected at the same time.
    Copied(PeerId),
}

/// Why a connection must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The same instance of the peer has another connection.
    Duplicate,
    /// A newer instance of the peer is connected.
    Replaced,
    /// The node has [`SESSIONS_MAX`] sessions.
    Full,
}

#[derive(Debug, Default)]
struct Path {
    /// Most recently reported first.
    addrs: VecDeque<SocketAddr>,
    session: Option<Current>,
    dialing: bool,
    failures: u32,
    /// The next dial; `None` waits for a report of the peer or a network change.
    next_at: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct Current {
    session: SessionId,
    dialed: bool,
    relayed: bool,
    mark: u64,
    instance: Instance,
    since: Duration,
}

/// The paths to all peers. See the module's doc.
#[derive(Debug)]
pub struct Paths {
    me: PeerId,
    rng: Rng,
    paths: BTreeMap<PeerId, Path>,
    outputs: VecDeque<Output>,
}

impl Paths {
    /// Creates the state machine without any peers.
    pub fn new(me: PeerId, rng: Rng) -> Self {
        Self {
            me,
            rng,
            paths: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Handles an event.
    pub fn handle(&mut self, now: Now, input: Input) {
        let now = now.mono;
        match input {
            Input::Found { peer, addrs, alive } => self.found(peer, addrs, alive, now),
            Input::DialFailed(peer) => self.dial_failed(peer, now),
            Input::Connected {
                session,
                peer,
                dialed,
                instance,
                relayed,
                mark,
            } => {
                self.connected(
                    peer,
                    Current {
                        session,
                        dialed,
                        relayed,
                        mark,
                        instance,
                        since: now,
                    },
                );
            }
            Input::Suspect(session) => self.suspect(session),
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
    pub fn session(&self, peer: PeerId) -> Option<SessionId> {
        self.paths
            .get(&peer)?
            .session
            .map(|current| current.session)
    }

    /// The possible addresses of a peer, most recently reported first.
    pub fn addrs(&self, peer: PeerId) -> Vec<SocketAddr> {
        self.paths
            .get(&peer)
            .map(|path| path.addrs.iter().copied().collect())
            .unwrap_or_default()
    }

    fn found(&mut self, peer: PeerId, addrs: Vec<SocketAddr>, alive: bool, now: Duration) {
        if peer == self.me || (self.paths.len() >= PEERS_MAX && !self.paths.contains_key(&peer)) {
            return;
        }
        let path = self.paths.entry(peer).or_default();
        let mut news = false;
        for addr in addrs.into_iter().rev() {
            news |= !path.addrs.contains(&addr);
            path.addrs.retain(|known| *known != addr);
            path.addrs.push_front(addr);
        }
        path.addrs.truncate(ADDRS_PER_PEER_MAX);
        if alive || news {
            path.failures = 0;
            path.next_at = Some(now);
        }
        if alive && path.session.is_some_and(|current| current.relayed) {
            self.dial_some(peer, |addr| !is_synthetic(addr.ip()));
        }
    }

    /// Dials the relayed addresses, since the direct path may be dead. The session moves when a
    /// relayed connection is up.
    fn suspect(&mut self, session: SessionId) {
        let of_session = |path: &Path| {
            path.session
                .is_some_and(|current| current.session == session && !current.relayed)
        };
        let Some((&peer, _)) = self.paths.iter().find(|(_, path)| of_session(path)) else {
            return;
        };
        self.dial_some(peer, |addr| is_synthetic(addr.ip()));
    }

    /// Dials immediately, even during another dial. That dial may target a private address from the
    /// peer's own network, which is useless here. The NAT mapping opened by the probes would expire
    /// before that dial fails.
    fn proven(&mut self, peer: PeerId, addr: SocketAddr) {
        if self
            .paths
            .get(&peer)
            .is_some_and(|path| path.session.is_some_and(|current| current.relayed))
        {
            self.outputs.push_back(Output::Dial(peer, vec![addr]));
        }
    }

    /// Dials some of a peer's addresses despite an existing session.
    fn dial_some(&mut self, peer: PeerId, which: impl Fn(&SocketAddr) -> bool) {
        let Some(path) = self.paths.get_mut(&peer) else {
            return;
        };
        let addrs: Vec<_> = path.addrs.iter().copied().filter(which).collect();
        if !path.dialing && !addrs.is_empty() {
            path.dialing = true;
            self.outputs.push_back(Output::Dial(peer, addrs));
        }
    }

    fn dial_failed(&mut self, peer: PeerId, now: Duration) {
        let Some(path) = self.paths.get_mut(&peer) else {
            return;
        };
        path.dialing = false;
        path.failures = path.failures.saturating_add(1);
        let most = BACK_OFF_MIN
            .saturating_mul(1 << path.failures.min(6))
            .min(BACK_OFF_MAX);
        path.next_at = Some(now + jittered(&mut self.rng, most));
    }

    fn connected(&mut self, peer: PeerId, new: Current) {
        let full = self
            .paths
            .values()
            .filter(|path| path.session.is_some())
            .count()
            >= SESSIONS_MAX;
        let path = self.paths.entry(peer).or_default();
        if new.dialed {
            path.dialing = false;
        }
        let Some(old) = path.session else {
            if full {
                self.outputs
                    .push_back(Output::Close(new.session, CloseReason::Full));
                return;
            }
            self.keep(peer, new);
            return;
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
    fn stays(&self, peer: PeerId, old: Current, new: Current) -> bool {
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

    fn another_instance(&mut self, peer: PeerId, old: Current, new: Current) {
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

    fn keep(&mut self, peer: PeerId, new: Current) {
        let path = self.paths.entry(peer).or_default();
        path.session = Some(new);
        path.failures = 0;
        path.next_at = None;
        self.outputs.push_back(Output::Keep(new.session));
    }

    fn down(&mut self, session: SessionId, goodbye: bool, unwelcome: bool, now: Duration) {
        let of_session = |path: &&mut Path| {
            path.session
                .is_some_and(|current| current.session == session)
        };
        let Some(path) = self.paths.values_mut().find(of_session) else {
            return;
        };
        path.session = None;
        path.next_at = match (goodbye, unwelcome) {
            (true, _) => None,
            (false, true) => Some(now + BACK_OFF_MAX),
            (false, false) => Some(now + jittered(&mut self.rng, BACK_OFF_MIN)),
        };
    }

    fn network_changed(&mut self, now: Duration) {
        for path in self
            .paths
            .values_mut()
            .filter(|path| path.session.is_none())
        {
            path.failures = 0;
            path.next_at = Some(now + jittered(&mut self.rng, BACK_OFF_MIN));
        }
    }

    fn dial_due(&mut self, now: Duration) {
        for (peer, path) in &mut self.paths {
            if path.wants_dial() && path.next_at.is_some_and(|at| at <= now) {
                path.dialing = true;
                path.next_at = None;
                let mut addrs: Vec<_> = path.addrs.iter().copied().collect();
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

    struct Side {
        paths: Paths,
        now: Duration,
    }

    fn ids() -> (PeerId, PeerId) {
        let [a, b] = [1, 2].map(|n| SecretKey::from_seed([n; 32]).id());
        (a.min(b), a.max(b))
    }

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    impl Side {
        fn new(me: PeerId) -> Self {
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
            peer: PeerId,
            dialed: bool,
            instance: Instance,
        ) -> Vec<Output> {
            self.tell(Input::Connected {
                session: SessionId(session),
                peer,
                dialed,
                instance,
                relayed: false,
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

    #[test]
    fn sessions_are_limited() {
        let (small, _) = ids();
        let mut a = Side::new(small);
        for n in 0..SESSIONS_MAX as u64 {
            let mut bytes = [9; 32];
            bytes[..8].copy_from_slice(&n.to_le_bytes());
            assert_eq!(
                kept(&a.connected(n, PeerId::from_bytes(bytes), false, FIRST)),
                [n]
            );
        }
        let outputs = a.connected(9999, PeerId::from_bytes([1; 32]), false, FIRST);
        assert_eq!(outputs, [Output::Close(SessionId(9999), CloseReason::Full)]);
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
            alive: true,
        });
        let connected = |session, relayed| Input::Connected {
            session: SessionId(session),
            peer: large,
            dialed: true,
            instance: FIRST,
            relayed,
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
            a.tell(Input::Suspect(SessionId(2))),
            [Output::Dial(large, vec![relayed_addr()])]
        );
        let back = [
            Output::Keep(SessionId(4)),
            Output::Close(SessionId(2), CloseReason::Duplicate),
        ];
        assert_eq!(a.tell(connected(4, true)), back);
        assert_eq!(
            a.tell(Input::Suspect(SessionId(4))),
            [],
            "there is no other relay to try"
        );
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
            mark: 0,
        });
        let found = |addrs| Input::Found {
            peer: large,
            addrs,
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
