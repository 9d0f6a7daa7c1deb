//! Finds a direct path between two peers connected through a relay.
//!
//! Over the relayed session, each side sends its candidate addresses: its own, and those at which
//! relays see it. Each side first sends one probe to each candidate that ends before the peer's
//! router: it opens this node's NAT only. A router without a firewall would answer a probe that
//! came too early, and its NAT would then use another port towards this side. A moment later, both
//! sides repeatedly send probes to all candidates for a few seconds. The receiver answers a probe
//! at its source address. An answer proves that the path works in both directions. The peer with
//! the smaller id dials the first proven address, and the session moves there (see
//! [`super::paths`]).
//!
//! The caller filters the peer's candidates before passing them in. A probe proves only that its
//! sender knows the session's secret.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use hobnob_limits::Pace;
use hobnob_protocol::DeviceId;
use hobnob_protocol::datagram::Probe;

use super::send_budget::SendBudget;
use super::{Now, SessionId};

/// Maximum candidate addresses of one peer, including source addresses of its probes. Further ones
/// are ignored.
pub const CANDIDATES_MAX: usize = 24;

/// Probes to candidates, in all. Beyond, they are left out.
pub const PROBES: Pace = Pace::per_second(1_000, 4_000);

/// Probes to one host, whatever the session and port: peers cannot aim many sessions at one host.
pub const PROBES_PER_HOST: Pace = Pace::per_second(100, 1_000);

/// Probes to one network: an IPv4 /24 or an IPv6 /56.
pub const PROBES_PER_NETWORK: Pace = Pace::per_second(200, 2_000);

/// The interval between two probes of one session.
const PROBE_INTERVAL: Duration = Duration::from_millis(25);

/// The delay between the probes that open this node's NAT and the first ones that reach the peer.
/// Both ends start when they have the other's candidates: a slow path or a busy machine may delay
/// one.
const OPENS_BEFORE: Duration = Duration::from_millis(250);

/// How long an attempt sends probes.
const PROBE_FOR: Duration = Duration::from_secs(4);

/// The delay before a failed attempt is repeated. It doubles with each failure, up to
/// [`AGAIN_MAX`]. Within 30 seconds, a router may remember flows that the probes have left.
const AGAIN_MIN: Duration = Duration::from_secs(35);

/// The longest delay before a failed attempt is repeated.
const AGAIN_MAX: Duration = Duration::from_secs(600);

/// The secret in a session's probes. Each direction has its own.
pub type Token = [u8; 16];

/// An event for [`Rendezvous::handle`].
#[derive(Debug, Clone)]
pub enum Input {
    /// A relayed session is up.
    Up {
        /// The session.
        session: SessionId,
        /// Its peer.
        peer: DeviceId,
        /// Whether this side dials a proven address.
        dials: bool,
        /// The token of our probes.
        ours: Token,
        /// The token of the peer's probes.
        theirs: Token,
    },
    /// The peer sent its candidate addresses, here already filtered.
    Candidates(SessionId, Vec<SocketAddr>),
    /// A probe arrived from this address.
    Probed(SocketAddr, Probe),
    /// The session ended or no longer uses a relay.
    Down(SessionId),
    /// Our own addresses changed, or may have changed.
    NetworkChanged,
    /// The time returned by [`Rendezvous::poll_timeout`] has passed.
    Timeout,
}

/// An action for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send our candidate addresses to the peer of this session.
    SendCandidates(SessionId),
    /// Send a probe to this address.
    Probe(SocketAddr, Probe),
    /// Send a probe towards this address that ends at the first router behind this node's own.
    Open(SocketAddr, Probe),
    /// This address of the peer is proven: dial it.
    Proven(DeviceId, SocketAddr),
}

#[derive(Debug)]
struct Attempt {
    peer: DeviceId,
    dials: bool,
    ours: Token,
    theirs: Token,
    /// The next address to probe comes first.
    candidates: VecDeque<SocketAddr>,
    /// While probes are sent: the end of the attempt and the time of the next probe.
    probing: Option<(Duration, Duration)>,
    /// Whether this node's NAT is open for all candidates, or the peer's probes arrive without
    /// that.
    opened: bool,
    proven: bool,
    failures: u32,
    /// When the next attempt starts.
    again_at: Option<Duration>,
}

/// All current attempts. See the module's doc.
#[derive(Debug)]
pub struct Rendezvous {
    budget: SendBudget,
    attempts: BTreeMap<SessionId, Attempt>,
    by_token: BTreeMap<Token, SessionId>,
    outputs: VecDeque<Output>,
    held_back: u64,
}

impl Default for Rendezvous {
    fn default() -> Self {
        Self {
            budget: SendBudget::new(PROBES, PROBES_PER_HOST, PROBES_PER_NETWORK),
            attempts: BTreeMap::new(),
            by_token: BTreeMap::new(),
            outputs: VecDeque::new(),
            held_back: 0,
        }
    }
}

impl Rendezvous {
    /// The number of probes that the budget did not allow since the start.
    pub fn held_back(&self) -> u64 {
        self.held_back
    }

    /// Handles an event.
    pub fn handle(&mut self, now: Now, input: Input) {
        let now = now.mono;
        match input {
            Input::Up {
                session,
                peer,
                dials,
                ours,
                theirs,
            } => {
                let attempt = Attempt {
                    peer,
                    dials,
                    ours,
                    theirs,
                    candidates: VecDeque::new(),
                    probing: None,
                    opened: false,
                    proven: false,
                    failures: 0,
                    again_at: None,
                };
                let earlier = self.attempts.insert(session, attempt);
                debug_assert!(earlier.is_none(), "a session begins once");
                self.by_token.insert(theirs, session);
                self.outputs.push_back(Output::SendCandidates(session));
            }
            Input::Candidates(session, addrs) => self.candidates(session, addrs, now),
            Input::Probed(from, probe) => self.probed(from, probe, now),
            Input::Down(session) => {
                if let Some(attempt) = self.attempts.remove(&session) {
                    self.by_token.remove(&attempt.theirs);
                }
            }
            Input::NetworkChanged => self.network_changed(now),
            Input::Timeout => {}
        }
        self.time_out(now);
    }

    /// The next action, if any.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Rendezvous::handle`] with [`Input::Timeout`].
    pub fn poll_timeout(&self) -> Option<Duration> {
        let probe = self
            .attempts
            .values()
            .filter_map(|attempt| attempt.probing.map(|(_, next)| next))
            .min();
        let again = self
            .attempts
            .values()
            .filter_map(|attempt| attempt.again_at)
            .min();
        probe.into_iter().chain(again).min()
    }

    /// Replaces the peer's candidates and restarts the attempt, as the peer does at its end.
    fn candidates(&mut self, session: SessionId, addrs: Vec<SocketAddr>, now: Duration) {
        // Peers also send candidates on direct sessions, which need no attempt.
        let Some(attempt) = self.attempts.get_mut(&session) else {
            return;
        };
        attempt.candidates = addrs.into_iter().take(CANDIDATES_MAX).collect();
        attempt.begin(now);
    }

    fn probed(&mut self, from: SocketAddr, probe: Probe, now: Duration) {
        // Anybody can send a datagram. A probe without the token of a session gets no answer.
        let Some(&session) = self.by_token.get(&probe.token) else {
            return;
        };
        let attempt = self.attempts.get_mut(&session);
        let attempt = attempt.expect("an attempt and its token are removed together");
        if probe.answer {
            if attempt.dials && !attempt.proven {
                attempt.proven = true;
                self.outputs.push_back(Output::Proven(attempt.peer, from));
            }
            return;
        }
        self.outputs.push_back(Output::Probe(
            from,
            Probe {
                answer: true,
                token: attempt.ours,
            },
        ));
        if !attempt.candidates.contains(&from) && attempt.candidates.len() < CANDIDATES_MAX {
            attempt.candidates.push_front(from);
        }
        if attempt.probing.is_none() && !attempt.proven {
            attempt.begin(now);
            attempt.opened = true;
        }
    }

    fn network_changed(&mut self, now: Duration) {
        for (session, attempt) in &mut self.attempts {
            (attempt.failures, attempt.proven, attempt.again_at) = (0, false, None);
            attempt.begin(now);
            self.outputs.push_back(Output::SendCandidates(*session));
        }
    }

    fn time_out(&mut self, now: Duration) {
        for (session, attempt) in &mut self.attempts {
            if attempt.again_at.is_some_and(|at| at <= now) {
                (attempt.again_at, attempt.proven) = (None, false);
                self.outputs.push_back(Output::SendCandidates(*session));
                attempt.begin(now);
            }
            let Some((until, next)) = attempt.probing else {
                continue;
            };
            if next > now {
                continue;
            }
            if now >= until {
                attempt.give_up(now);
            } else if !attempt.opened && !attempt.candidates.is_empty() {
                attempt.opened = true;
                attempt.probing = Some((until, now + OPENS_BEFORE));
                let opening = Probe {
                    answer: false,
                    token: attempt.ours,
                };
                for to in &attempt.candidates {
                    if self.budget.allows(now, to.ip()) {
                        self.outputs.push_back(Output::Open(*to, opening));
                    } else {
                        self.held_back += 1;
                    }
                }
            } else if let Some(to) = attempt.candidates.pop_front() {
                attempt.candidates.push_back(to);
                attempt.probing = Some((until, now + PROBE_INTERVAL));
                if !self.budget.allows(now, to.ip()) {
                    self.held_back += 1;
                    continue;
                }
                self.outputs.push_back(Output::Probe(
                    to,
                    Probe {
                        answer: false,
                        token: attempt.ours,
                    },
                ));
            } else {
                attempt.probing = Some((until, now + PROBE_INTERVAL));
            }
        }
    }
}

impl Attempt {
    fn begin(&mut self, now: Duration) {
        let next = self.probing.map_or(now, |(_, next)| next);
        self.probing = Some((now + PROBE_FOR, next));
        self.opened = false;
    }

    /// Schedules another attempt, since NATs and networks change. A session that has moved to a
    /// direct path ends its attempts by [`Input::Down`], so this session is still relayed.
    fn give_up(&mut self, now: Duration) {
        self.probing = None;
        let wait = AGAIN_MIN
            .saturating_mul(1 << self.failures.min(6))
            .min(AGAIN_MAX);
        self.failures += 1;
        self.again_at = Some(now + wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::send_budget::earned_in;
    use hobnob_protocol::SecretKey;

    const SESSION: SessionId = SessionId(1);
    const A_TO_B: Token = [1; 16];
    const B_TO_A: Token = [2; 16];

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([11, 0, 0, 1], port))
    }

    /// Two ends with a simulated network between them.
    struct Pair {
        ends: [Rendezvous; 2],
        now: Duration,
        proven: Vec<SocketAddr>,
        probes: usize,
    }

    impl Pair {
        fn new() -> Self {
            let mut pair = Pair {
                ends: Default::default(),
                now: Duration::ZERO,
                proven: Vec::new(),
                probes: 0,
            };
            let peer = SecretKey::from_seed([1; 32]).id();
            for (end, ours, theirs) in [(0, A_TO_B, B_TO_A), (1, B_TO_A, A_TO_B)] {
                pair.tell(
                    end,
                    Input::Up {
                        session: SESSION,
                        peer,
                        dials: end == 0,
                        ours,
                        theirs,
                    },
                );
            }
            pair
        }

        fn tell(&mut self, end: usize, input: Input) {
            self.ends[end].handle(
                Now {
                    mono: self.now,
                    wall_ms: 0,
                },
                input,
            );
        }

        /// Runs for a duration. For each probe that `end` sends to an address, `net` returns the
        /// source address seen by the other end, or `None` if the probe is lost.
        fn run(
            &mut self,
            time: Duration,
            mut net: impl FnMut(usize, SocketAddr) -> Option<SocketAddr>,
        ) {
            let until = self.now + time;
            while self.now < until {
                for end in [0, 1] {
                    self.tell(end, Input::Timeout);
                    while let Some(output) = self.ends[end].poll_output() {
                        match output {
                            Output::Probe(to, probe) => {
                                self.probes += 1;
                                if let Some(from) = net(end, to) {
                                    self.tell(1 - end, Input::Probed(from, probe));
                                }
                            }
                            Output::Proven(_, addr) => self.proven.push(addr),
                            Output::SendCandidates(_) | Output::Open(..) => {}
                        }
                    }
                }
                self.now += Duration::from_millis(5);
            }
        }

        fn exchange(&mut self, of_a: &[u16], of_b: &[u16]) {
            for (end, ports) in [(0, of_b), (1, of_a)] {
                self.tell(
                    end,
                    Input::Candidates(SESSION, ports.iter().copied().map(addr).collect()),
                );
            }
        }
    }

    #[test]
    fn many_peers_that_name_one_host_cannot_aim_at_it() {
        let mut rendezvous = Rendezvous::default();
        let at = |now| Now {
            mono: now,
            wall_ms: 0,
        };
        let peer = SecretKey::from_seed([1; 32]).id();
        for n in 0..200 {
            let session = SessionId(n);
            let theirs = u128::from(n).to_be_bytes();
            let up = Input::Up {
                session,
                peer,
                dials: true,
                ours: A_TO_B,
                theirs,
            };
            rendezvous.handle(at(Duration::ZERO), up);
            let victim = (1..=16).map(addr).collect();
            rendezvous.handle(at(Duration::ZERO), Input::Candidates(session, victim));
        }
        let mut probes = 0;
        while let Some(now) = rendezvous.poll_timeout().filter(|now| *now < PROBE_FOR) {
            rendezvous.handle(at(now), Input::Timeout);
            let outputs = std::iter::from_fn(|| rendezvous.poll_output());
            probes += outputs
                .filter(|output| matches!(output, Output::Probe(..) | Output::Open(..)))
                .count();
        }
        let most = PROBES_PER_HOST.burst as usize + earned_in(PROBES_PER_HOST, PROBE_FOR);
        assert!(probes <= most, "{probes}");
        assert!(rendezvous.held_back() > 0);
    }

    #[test]
    fn the_only_open_path_is_found_and_dialed_once() {
        let mut pair = Pair::new();
        pair.exchange(&[1, 2, 3], &[11, 12, 13]);
        pair.run(PROBE_FOR, |end, to| match (end, to.port()) {
            (0, 12) => Some(addr(2)),
            (1, 2) => Some(addr(12)),
            _ => None,
        });
        assert_eq!(
            pair.proven,
            [addr(12)],
            "only the smaller id dials, and once"
        );
    }

    #[test]
    fn the_own_nat_is_open_before_the_first_probe_can_reach_the_peer() {
        let mut pair = Pair::new();
        pair.exchange(&[1, 2], &[11, 12]);
        pair.tell(0, Input::Timeout);
        let mut outputs = std::iter::from_fn(|| pair.ends[0].poll_output());
        let opening = Probe {
            answer: false,
            token: A_TO_B,
        };
        assert_eq!(outputs.next(), Some(Output::SendCandidates(SESSION)));
        assert_eq!(outputs.next(), Some(Output::Open(addr(11), opening)));
        assert_eq!(outputs.next(), Some(Output::Open(addr(12), opening)));
        assert_eq!(outputs.next(), None);
        assert_eq!(pair.ends[0].poll_timeout(), Some(OPENS_BEFORE));
        pair.now = OPENS_BEFORE;
        pair.tell(0, Input::Timeout);
        let probe = Output::Probe(addr(11), opening);
        assert_eq!(pair.ends[0].poll_output(), Some(probe));
    }

    #[test]
    fn a_peer_behind_a_symmetric_nat_is_found_where_its_probe_came_from() {
        let mut pair = Pair::new();
        pair.exchange(&[1], &[11]);
        // The peer's NAT sends its probes from another port, 77, and admits packets to that port.
        pair.run(PROBE_FOR, |end, to| match (end, to.port()) {
            (1, 1) => Some(addr(77)),
            (0, 77) => Some(addr(1)),
            _ => None,
        });
        assert_eq!(pair.proven, [addr(77)]);
    }

    #[test]
    fn a_one_way_path_is_not_proven_and_probing_ends() {
        let mut pair = Pair::new();
        pair.exchange(&[1], &[11]);
        pair.run(Duration::from_secs(20), |end, _| {
            (end == 0).then(|| addr(1))
        });
        assert!(pair.proven.is_empty());
        let probes = pair.probes;
        assert!(probes > 100, "{probes}");
        pair.run(Duration::from_secs(2), |_, _| None);
        assert_eq!(pair.probes, probes);
        // The next attempt succeeds, since the path is open by then.
        pair.run(AGAIN_MIN, |end, _| {
            Some(if end == 0 { addr(1) } else { addr(11) })
        });
        assert_eq!(pair.proven, [addr(11)]);
    }

    #[test]
    fn strangers_get_no_answer_and_a_list_is_bounded() {
        let mut pair = Pair::new();
        let many: Vec<_> = (1..200).collect();
        pair.exchange(&many, &many);
        while pair.ends[0].poll_output().is_some() {}
        pair.tell(
            0,
            Input::Probed(
                addr(9),
                Probe {
                    answer: false,
                    token: [9; 16],
                },
            ),
        );
        assert_eq!(pair.ends[0].poll_output(), None);
        assert_eq!(
            pair.ends[0].attempts[&SESSION].candidates.len(),
            CANDIDATES_MAX
        );
        pair.tell(0, Input::Down(SESSION));
        pair.tell(
            0,
            Input::Probed(
                addr(9),
                Probe {
                    answer: false,
                    token: B_TO_A,
                },
            ),
        );
        assert_eq!(
            (pair.ends[0].poll_output(), pair.ends[0].poll_timeout()),
            (None, None)
        );
    }
}
