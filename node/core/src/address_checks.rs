//! Checks whether a hobnob answers at an address before the node dials it.
//!
//! An address that mDNS or a peer names is a claim: anybody can name the address of somebody else. A
//! dial sends several kilobytes, so a claim is first checked with a datagram of a few bytes. Only an
//! address that answers is dialed. The checks have limits for each host, for each network and in
//! all, so that claims cannot aim many nodes at one victim. Addresses that answered in an earlier
//! session, or that the user typed, need no check.
//!
//! Which claims are accepted at all is not decided here but by the engine: the rules depend on
//! interfaces and on who makes the claim.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hobnob_protocol::PeerId;
use hobnob_protocol::datagram::AddressCheck;

use super::{Now, Rng};

/// Addresses that are being checked at most. Beyond, the one with the most unanswered checks makes
/// room.
pub const CHECKED_MAX: usize = 4_096;

/// Peers that may claim one address at the same time. Beyond, further claims are dropped.
pub const CLAIMS_PER_ADDR_MAX: usize = 8;

/// Checks a second, in all, and how many may be sent at once after a quiet time.
pub const CHECKS: Rate = Rate {
    per_second: 50,
    burst: 100,
};

/// Checks to one host, whatever its port.
pub const CHECKS_PER_HOST: Rate = Rate {
    per_second: 1,
    burst: 16,
};

/// Checks to one network: an IPv4 /24 or an IPv6 /56.
pub const CHECKS_PER_NETWORK: Rate = Rate {
    per_second: 20,
    burst: 64,
};

/// Hosts and networks whose rates are remembered, each. Beyond, the one used least recently is
/// forgotten.
pub const RATES_MAX: usize = 1_024;

/// Waits before the second and the third check. After the third, the claim has failed once.
const RETRY_AFTER: [Duration; 3] = [
    Duration::from_millis(300),
    Duration::from_millis(900),
    Duration::from_secs(2),
];

/// A claim that failed is checked again after this time, doubled each time, …
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// … until it has failed so often: then it is forgotten.
pub const FAILURES_MAX: u32 = 3;

/// How long an address is not checked for other peers after one of another identity answered there.
pub const WRONG_PEER_FOR: Duration = Duration::from_secs(600);

/// Addresses remembered as those of another identity. Beyond, the oldest is forgotten.
const WRONG_MAX: usize = 1_024;

/// How many in a second, and how many at once.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// Regained in each second.
    pub per_second: u32,
    /// After a quiet time.
    pub burst: u32,
}

/// What a check and its answer contain.
pub type CheckToken = [u8; AddressCheck::TOKEN_LEN];

/// What the engine does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send a check with this token to the address.
    Check(SocketAddr, CheckToken),
    /// A hobnob answers at this address: it may be dialed for the peer.
    Answers(PeerId, SocketAddr),
}

/// A token bucket.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// In thousandths.
    left: u64,
    at: Duration,
}

impl Bucket {
    fn full(rate: Rate, now: Duration) -> Self {
        Self {
            left: u64::from(rate.burst) * 1_000,
            at: now,
        }
    }

    fn refill(&mut self, rate: Rate, now: Duration) {
        let millis = u64::try_from(now.saturating_sub(self.at).as_millis()).unwrap_or(u64::MAX);
        let regained = millis.saturating_mul(u64::from(rate.per_second));
        self.left = self
            .left
            .saturating_add(regained)
            .min(u64::from(rate.burst) * 1_000);
        self.at = now;
    }

    fn has_one(&self) -> bool {
        self.left >= 1_000
    }

    fn take(&mut self) {
        self.left = self.left.saturating_sub(1_000);
    }
}

/// The rates of hosts or of networks.
#[derive(Debug)]
struct Rates<K> {
    rate: Rate,
    of: BTreeMap<K, Bucket>,
}

impl<K: Ord + Copy> Rates<K> {
    fn new(rate: Rate) -> Self {
        Self {
            rate,
            of: BTreeMap::new(),
        }
    }

    fn of(&mut self, key: K, now: Duration) -> &mut Bucket {
        if self.of.len() >= RATES_MAX && !self.of.contains_key(&key) {
            let oldest = self.of.iter().min_by_key(|(_, bucket)| bucket.at);
            let oldest = *oldest.expect("RATES_MAX is not 0").0;
            self.of.remove(&oldest);
        }
        let rate = self.rate;
        let bucket = self.of.entry(key).or_insert(Bucket::full(rate, now));
        bucket.refill(rate, now);
        bucket
    }
}

/// The network of a host, for a limit that a whole network shares.
pub fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            IpAddr::from([a, b, c, 0])
        }
        IpAddr::V6(v6) => {
            let mut octets = v6.octets();
            octets[7..].fill(0);
            IpAddr::from(octets)
        }
    }
}

/// One address that peers are claimed to be at.
#[derive(Debug)]
struct Checked {
    /// Until when each claim holds.
    claims: BTreeMap<PeerId, Duration>,
    /// Checks of this round that were sent.
    sent: u32,
    failures: u32,
    next_at: Duration,
}

impl Checked {
    fn is_due(&self, now: Duration) -> bool {
        self.next_at <= now
    }
}

/// All checks. See the module's documentation.
#[derive(Debug)]
pub struct AddressChecks {
    /// Makes the tokens of the checks.
    secret: [u8; 32],
    rng: Rng,
    all: Bucket,
    hosts: Rates<IpAddr>,
    networks: Rates<IpAddr>,
    checked: BTreeMap<SocketAddr, Checked>,
    /// Since when an address is known to be another peer's.
    wrong: BTreeMap<SocketAddr, Duration>,
    outputs: VecDeque<Output>,
}

impl AddressChecks {
    /// No claims yet. The secret keeps others from answering checks that they did not receive.
    pub fn new(secret: [u8; 32], rng: Rng) -> Self {
        Self {
            secret,
            rng,
            all: Bucket::full(CHECKS, Duration::ZERO),
            hosts: Rates::new(CHECKS_PER_HOST),
            networks: Rates::new(CHECKS_PER_NETWORK),
            checked: BTreeMap::new(),
            wrong: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// A peer is claimed to be at an address. The claim expires after `for_`.
    pub fn claim(&mut self, now: Now, peer: PeerId, addr: SocketAddr, for_: Duration) {
        let now = now.mono;
        let is_wrong = |since: &Duration| now < *since + WRONG_PEER_FOR;
        if self.wrong.get(&addr).is_some_and(is_wrong) {
            return;
        }
        if !self.checked.contains_key(&addr) {
            self.make_room();
            let checked = Checked {
                claims: BTreeMap::new(),
                sent: 0,
                failures: 0,
                next_at: now,
            };
            self.checked.insert(addr, checked);
        }
        let checked = self.checked.get_mut(&addr).expect("inserted above");
        if checked.claims.len() < CLAIMS_PER_ADDR_MAX || checked.claims.contains_key(&peer) {
            checked.claims.insert(peer, now + for_);
        }
        self.all.refill(CHECKS, now);
        if self.checked[&addr].is_due(now) && self.all.has_one() {
            self.send_one(addr, now);
        }
    }

    /// The answer to a check arrived from this address. Returns whether the token is that of a
    /// check.
    pub fn answered(&mut self, from: SocketAddr, token: CheckToken) -> bool {
        if token != AddressCheck::token(&self.secret, from) {
            return false;
        }
        let Some(checked) = self.checked.remove(&from) else {
            // A second answer, or one that came after the claim had expired.
            return true;
        };
        let peers: BTreeSet<_> = checked.claims.into_keys().collect();
        let answers = peers.into_iter().map(|peer| Output::Answers(peer, from));
        self.outputs.extend(answers);
        true
    }

    /// A dial has shown that another peer than the claimed one is at this address.
    pub fn wrong_peer(&mut self, now: Now, addr: SocketAddr) {
        self.checked.remove(&addr);
        if self.wrong.len() >= WRONG_MAX {
            let oldest = self.wrong.iter().min_by_key(|(_, since)| **since);
            let oldest = *oldest.expect("WRONG_MAX is not 0").0;
            self.wrong.remove(&oldest);
        }
        self.wrong.insert(addr, now.mono);
    }

    /// It is later than [`AddressChecks::poll_timeout`] said.
    pub fn time_out(&mut self, now: Now) {
        self.send_due(now.mono);
    }

    /// What to do next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`AddressChecks::time_out`].
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.checked.values().map(|checked| checked.next_at).min()
    }

    /// Forgets the address that is least likely to answer, if there is no room for another.
    fn make_room(&mut self) {
        if self.checked.len() < CHECKED_MAX {
            return;
        }
        let unlikeliest = |checked: &Checked| (checked.failures, checked.sent, checked.next_at);
        let worst = self.checked.iter().max_by_key(|(_, c)| unlikeliest(c));
        let worst = *worst.expect("CHECKED_MAX is not 0").0;
        self.checked.remove(&worst);
    }

    /// Sends the checks that are due, as far as the rates allow. Addresses that were checked least
    /// come first, in random order: so a new claim soon gets its turn among many false ones.
    fn send_due(&mut self, now: Duration) {
        self.expire(now);
        self.all.refill(CHECKS, now);
        let due = self.checked.iter().filter(|(_, c)| c.is_due(now));
        let rng = &mut self.rng;
        let mut due: Vec<_> = due
            .map(|(addr, c)| (c.failures, c.sent, rng.draw(), *addr))
            .collect();
        due.sort_unstable();
        for (.., addr) in due {
            if self.all.has_one() {
                self.send_one(addr, now);
            } else {
                // It waits for the next token of the common rate.
                let wait = Duration::from_millis(1_000 / u64::from(CHECKS.per_second));
                self.get_mut(addr).next_at = now + wait;
            }
        }
    }

    fn send_one(&mut self, addr: SocketAddr, now: Duration) {
        let host = addr.ip().to_canonical();
        let allowed =
            self.hosts.of(host, now).has_one() && self.networks.of(network_of(host), now).has_one();
        if !allowed {
            // The host's rate is the slowest: it has another check after a second.
            self.get_mut(addr).next_at = now + Duration::from_secs(1);
            return;
        }
        self.all.take();
        self.hosts.of(host, now).take();
        self.networks.of(network_of(host), now).take();
        let checked = self.get_mut(addr);
        checked.next_at = now + RETRY_AFTER[checked.sent.min(2) as usize];
        checked.sent += 1;
        let token = AddressCheck::token(&self.secret, addr);
        self.outputs.push_back(Output::Check(addr, token));
    }

    /// Drops claims that have expired, and counts rounds of checks that nobody answered.
    fn expire(&mut self, now: Duration) {
        self.checked.retain(|_, checked| {
            checked.claims.retain(|_, until| now < *until);
            if checked.sent >= 3 && checked.next_at <= now {
                checked.failures += 1;
                checked.sent = 0;
                checked.next_at = now + AGAIN_AFTER * (1 << checked.failures.min(FAILURES_MAX));
            }
            !checked.claims.is_empty() && checked.failures < FAILURES_MAX
        });
    }

    fn get_mut(&mut self, addr: SocketAddr) -> &mut Checked {
        self.checked
            .get_mut(&addr)
            .expect("the address is one of those being checked")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(120);

    struct Checks {
        checks: AddressChecks,
        now: Duration,
    }

    fn peer(n: u32) -> PeerId {
        let mut bytes = [9; 32];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        PeerId::from_bytes(bytes)
    }

    fn addr(host: u32, port: u16) -> SocketAddr {
        let [_, b, c, d] = host.to_be_bytes();
        SocketAddr::from(([10, b, c, d], port))
    }

    impl Checks {
        fn new() -> Self {
            Self {
                checks: AddressChecks::new([7; 32], Rng::new(1)),
                now: Duration::ZERO,
            }
        }

        fn now(&self) -> Now {
            Now {
                mono: self.now,
                wall_ms: 0,
            }
        }

        fn claim(&mut self, peer: PeerId, addr: SocketAddr) -> Vec<Output> {
            self.checks.claim(self.now(), peer, addr, TTL);
            self.outputs()
        }

        fn outputs(&mut self) -> Vec<Output> {
            std::iter::from_fn(|| self.checks.poll_output()).collect()
        }

        /// Runs for so long, and returns what was sent.
        fn run(&mut self, time: Duration) -> Vec<Output> {
            let end = self.now + time;
            let mut outputs = Vec::new();
            while let Some(at) = self.checks.poll_timeout().filter(|at| *at <= end) {
                self.now = at.max(self.now);
                self.checks.time_out(self.now());
                outputs.extend(self.outputs());
            }
            self.now = end;
            outputs
        }
    }

    fn token(output: &Output) -> CheckToken {
        match output {
            Output::Check(_, token) => *token,
            Output::Answers(..) => panic!("not a check: {output:?}"),
        }
    }

    #[test]
    fn an_address_that_answers_may_be_dialed() {
        let mut checks = Checks::new();
        let sent = checks.claim(peer(1), addr(1, 1));
        assert_eq!(sent.len(), 1);
        assert!(
            !checks.checks.answered(addr(1, 1), [0; 16]),
            "a wrong token"
        );
        assert!(!checks.checks.answered(addr(2, 1), token(&sent[0])));
        assert!(checks.checks.answered(addr(1, 1), token(&sent[0])));
        assert_eq!(checks.outputs(), [Output::Answers(peer(1), addr(1, 1))]);
        assert_eq!(checks.run(TTL), [], "nothing is left to check");
    }

    #[test]
    fn an_address_that_does_not_answer_is_checked_nine_times_and_forgotten() {
        let mut checks = Checks::new();
        let first = checks.claim(peer(1), addr(1, 1)).len();
        assert_eq!(first + checks.run(TTL).len(), 9);
        assert_eq!(checks.checks.poll_timeout(), None);
    }

    #[test]
    fn a_claim_ends_when_its_record_expires() {
        let mut checks = Checks::new();
        checks
            .checks
            .claim(checks.now(), peer(1), addr(1, 1), Duration::from_secs(1));
        assert!(checks.outputs().len() + checks.run(TTL).len() < 9);
    }

    #[test]
    fn the_address_of_another_peer_is_left_alone_for_ten_minutes() {
        let mut checks = Checks::new();
        checks.checks.wrong_peer(checks.now(), addr(1, 1));
        assert_eq!(checks.claim(peer(1), addr(1, 1)), []);
        checks.now += WRONG_PEER_FOR;
        assert_eq!(checks.claim(peer(1), addr(1, 1)).len(), 1);
    }

    #[test]
    fn claims_of_many_peers_and_ports_cannot_aim_at_one_host() {
        let mut checks = Checks::new();
        let mut sent = 0;
        for n in 0..2_000u16 {
            sent += checks.claim(peer(n.into()), addr(1, n + 1)).len();
        }
        sent += checks.run(Duration::from_secs(180)).len();
        let most = CHECKS_PER_HOST.burst + 180 * CHECKS_PER_HOST.per_second + 1;
        assert!(sent <= most as usize, "{sent}");
    }

    #[test]
    fn a_true_claim_is_found_among_many_false_ones() {
        let mut checks = Checks::new();
        for n in 0..1_000 {
            checks.claim(peer(n), addr(256 * n + 1, 1));
        }
        let real = addr(7, 4626);
        let mut sent = checks.claim(peer(5_000), real);
        sent.extend(checks.run(Duration::from_secs(30)));
        let to_real = |output: &&Output| matches!(output, Output::Check(to, _) if *to == real);
        assert!(sent.iter().any(|output| to_real(&output)));
    }

    #[test]
    fn a_flood_of_claims_is_bounded_in_memory_and_rate() {
        let mut checks = Checks::new();
        let mut sent = 0;
        for n in 0..8_000 {
            sent += checks.claim(peer(n), addr(256 * n + 1, 1)).len();
        }
        assert!(sent <= CHECKS.burst as usize);
        assert_eq!(checks.checks.checked.len(), CHECKED_MAX);
        assert!(checks.checks.hosts.of.len() <= RATES_MAX);
        assert!(checks.checks.networks.of.len() <= RATES_MAX);
        let later = checks.run(Duration::from_secs(10)).len();
        assert!(later <= 11 * CHECKS.per_second as usize, "{later}");
    }
}
