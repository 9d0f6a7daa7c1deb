//! Whom to dial and when, and which of several connections with one peer stays.
//!
//! Both sides may dial at once. Both then keep the connection dialed by the smaller peer id,
//! without a word about it. A peer that dials although there has been a session for a while has
//! lost it: the new connection stays. Another instance of the peer takes the place of an older one,
//! never the reverse. A direct connection takes the place of a relayed one; a relayed one that of a
//! direct one only when that has been up for a while, which shows that the peer can no longer use
//! it.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use hobnob_protocol::PeerId;

use super::synthetic::is_synthetic;
use super::{Now, Rng, SessionId};

/// The first wait before a peer is dialed again; it doubles each time …
pub const BACK_OFF_MIN: Duration = Duration::from_secs(1);

/// … up to this one. The wait itself is a random part of it (full jitter).
pub const BACK_OFF_MAX: Duration = Duration::from_secs(60);

/// Addresses remembered of one peer; the least recently heard of is forgotten.
pub const ADDRS_PER_PEER_MAX: usize = 16;

/// Peers to dial that are remembered; further ones are not dialed until there is room.
pub const PEERS_MAX: usize = 10_000;

/// Within this time after a session came up, another one with the same instance means that both
/// sides dialed at once.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Sessions of a node at most.
pub const SESSIONS_MAX: usize = 512;

/// One run of a node, as its Hello names it: the later one is the newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instance {
    /// When it started, by its own clock.
    pub started_at_ms: u64,
    /// A random number.
    pub number: u64,
}

/// What can happen.
#[derive(Debug, Clone)]
pub enum Input {
    /// A peer may be at these addresses: somebody said so. A sign of life ends a back-off; a memory
    /// does not.
    Found {
        /// Who.
        peer: PeerId,
        /// Where.
        addrs: Vec<SocketAddr>,
        /// Whether this shows that the peer is there now.
        alive: bool,
    },
    /// A dial came to nothing.
    DialFailed(PeerId),
    /// A connection has exchanged its Hellos.
    Connected {
        /// Which.
        session: SessionId,
        /// With whom.
        peer: PeerId,
        /// Whether this side dialed.
        dialed: bool,
        /// Which run of the peer it is.
        instance: Instance,
        /// Whether it goes through a relay.
        relayed: bool,
        /// A number that both ends know of the connection, another for each: to settle on the same
        /// one of several.
        mark: u64,
    },
    /// The peer of a session has missed a ping: if it can be reached by a relay, that is tried now.
    Suspect(SessionId),
    /// The peer, with which there is a relayed session, has been heard from this address: dial it
    /// there.
    Proven(PeerId, SocketAddr),
    /// A session has ended.
    Down {
        /// Which.
        session: SessionId,
        /// Whether the peer said goodbye: then it is dialed only when it is heard of.
        goodbye: bool,
        /// Whether the peer wants no session with this instance now: then this one keeps away for a
        /// while.
        unwelcome: bool,
    },
    /// Our network changed: what could not be reached before may be reachable now.
    NetworkChanged,
    /// It is later than [`Paths::poll_timeout`] said.
    Timeout,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Dial the peer at these addresses, the likeliest first.
    Dial(PeerId, Vec<SocketAddr>),
    /// This connection is the session with its peer now.
    Keep(SessionId),
    /// This connection is not, or no longer: close it for this reason.
    Close(SessionId, CloseReason),
    /// The peer runs twice: both instances are connected to us at once.
    Copied(PeerId),
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// There is another connection with the same instance of the peer.
    Duplicate,
    /// There is a newer instance of the peer.
    Replaced,
    /// There are [`SESSIONS_MAX`] sessions.
    Full,
}

#[derive(Debug, Default)]
struct Path {
    /// Most recently heard of first.
    addrs: VecDeque<SocketAddr>,
    session: Option<Current>,
    dialing: bool,
    failures: u32,
    /// When to dial next; none: when it is heard of.
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

/// The ways to all peers. See the module's doc.
#[derive(Debug)]
pub struct Paths {
    me: PeerId,
    rng: Rng,
    paths: BTreeMap<PeerId, Path>,
    outputs: VecDeque<Output>,
}

impl Paths {
    /// No paths yet.
    pub fn new(me: PeerId, rng: Rng) -> Self {
        Self {
            me,
            rng,
            paths: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Tells what happened.
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

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to come back with [`Input::Timeout`].
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.paths
            .values()
            .filter(|path| path.wants_dial())
            .filter_map(|path| path.next_at)
            .min()
    }

    /// The session with a peer.
    pub fn session(&self, peer: PeerId) -> Option<SessionId> {
        self.paths
            .get(&peer)?
            .session
            .map(|current| current.session)
    }

    /// The addresses at which a peer may be, the likeliest first.
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

    /// The direct way may be dead: if there is one through a relay, the session moves there as soon
    /// as that is up.
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

    /// Dials at once, also while another dial is under way: that may be one to a private address of
    /// the peer's own network, which is another machine's here or nobody's, and the way that the
    /// knocks have opened does not stay open until it fails.
    fn proven(&mut self, peer: PeerId, addr: SocketAddr) {
        if self
            .paths
            .get(&peer)
            .is_some_and(|path| path.session.is_some_and(|current| current.relayed))
        {
            self.outputs.push_back(Output::Dial(peer, vec![addr]));
        }
    }

    /// Dials some of a peer's addresses although there is a session with it.
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

    /// Whether the older of two connections with one instance is the one that stays. Of those made
    /// at once it is the same one at both ends, in whatever order they come: a direct one, then one
    /// dialed by the smaller id, then that of the smaller mark.
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
            // The older of two instances can only dial while the newer has a session if both run at
            // once.
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
                // Stable: of each kind, the one most recently heard of comes first.
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
    fn a_peer_that_dials_again_later_has_lost_the_session() {
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
    fn after_a_goodbye_nobody_dials_until_the_peer_is_heard_of() {
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
