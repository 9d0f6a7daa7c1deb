//! Checks which node answers at an address before that address is dialed.
//!
//! An address that mDNS or a peer names is only a claim: anybody can name the address of somebody
//! else. A dial sends several kilobytes, so the claim is checked first with a datagram of
//! [`AddressCheck::LEN`] bytes. The claim holds if the claimed peer answers. All checks share one
//! budget, with limits for each host, for each network and in all.
//!
//! The engine decides which claims it accepts, because that depends on interfaces and on who makes
//! the claim. Addresses that the user typed, or that answered in an earlier session, need no check.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use hobnob_limits::Pace;
use hobnob_protocol::datagram::{AddressCheck, CheckToken};
use hobnob_protocol::{DeviceId, PORT_NODE};

use super::send_budget::SendBudget;
use super::{Now, Rng};

/// Maximum addresses under check. One more replaces the address that is least likely to answer.
pub const CHECKED_MAX: usize = 4_096;

/// Maximum peers that are claimed to be at one address. One more replaces any of them.
pub const CLAIMS_PER_ADDR_MAX: usize = 32;

/// Checks in all.
pub const CHECKS: Pace = Pace::per_second(64, 256);

/// Checks of one host, whatever the port.
pub const CHECKS_PER_HOST: Pace = Pace::per_second(2, 32);

/// Checks of one network: an IPv4 /24 or an IPv6 /56.
pub const CHECKS_PER_NETWORK: Pace = Pace::per_second(32, 128);

/// Unanswered checks after which a peer's claim about an address is dropped.
pub const CHECKS_OF_PEERS_CLAIM: usize = 3;

/// Unanswered checks after which the claim of an mDNS record is dropped, if the record has not
/// expired before. The last one is sent an hour after the first.
pub const CHECKS_OF_RECORDS_CLAIM: usize = 8;

/// The waits between the checks of one address, in milliseconds.
const WAITS_MS: [u64; CHECKS_OF_RECORDS_CLAIM] = [
    400, 1_500, 5_000, 30_000, 120_000, 900_000, 2_700_000, 10_000,
];

/// Checks sent, the last of them a moment ago, after which an address counts as silent.
const SILENT_AFTER: usize = 3;

/// While checks wait for the budget, how often to look whether it allows one.
const BUDGET_EVERY: Duration = Duration::from_millis(50);

/// The origin of a claim that a peer is at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A peer, in a session.
    Peer,
    /// An mDNS record. [`AddressChecks::withdraw`] ends the claim when the record expires.
    Record,
}

/// An action for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send a question with this token to the address.
    Check(SocketAddr, CheckToken),
    /// The peer answers at this address: it may be dialed there.
    Answers(DeviceId, SocketAddr),
}

/// The checks of all addresses. See the module's doc.
#[derive(Debug)]
pub struct AddressChecks {
    /// Makes the tokens of the questions.
    secret: [u8; 32],
    rng: Rng,
    budget: SendBudget,
    checked: BTreeMap<SocketAddr, Checked>,
    /// Addresses that wait for the budget, the most promising one first.
    ready: BTreeSet<(Rank, SocketAddr)>,
    /// Addresses that wait for an answer, with the time of their next check.
    timers: BTreeSet<(Duration, SocketAddr)>,
    /// When to look at `ready` again.
    budget_at: Duration,
    outputs: VecDeque<Output>,
}

/// The order in which addresses get the budget: those that were checked least first, then the
/// usual port, then in random order. So a true claim soon has its turn among many false ones.
type Rank = (usize, bool, u64);

/// One address under check.
#[derive(Debug)]
struct Checked {
    claims: Vec<(DeviceId, Source)>,
    /// Questions that were sent.
    sent: usize,
    place: Place,
}

/// Where an address waits.
#[derive(Debug, Clone, Copy)]
enum Place {
    Ready(Rank),
    Timer(Duration),
}

impl AddressChecks {
    /// No claims yet. The secret must be random: it keeps others from answering questions that they
    /// did not receive.
    pub fn new(secret: [u8; 32], rng: Rng) -> Self {
        Self {
            secret,
            rng,
            budget: SendBudget::new(CHECKS, CHECKS_PER_HOST, CHECKS_PER_NETWORK),
            checked: BTreeMap::new(),
            ready: BTreeSet::new(),
            timers: BTreeSet::new(),
            budget_at: Duration::ZERO,
            outputs: VecDeque::new(),
        }
    }

    /// A peer is claimed to be at an address.
    pub fn claim(&mut self, now: Now, peer: DeviceId, addr: SocketAddr, source: Source) {
        if let Some(checked) = self.checked.get_mut(&addr) {
            checked.claims.retain(|(claimed, _)| *claimed != peer);
            if checked.claims.len() >= CLAIMS_PER_ADDR_MAX {
                let any = self.rng.below(CLAIMS_PER_ADDR_MAX as u64);
                checked
                    .claims
                    .swap_remove(usize::try_from(any).expect("a small number"));
            }
            return checked.claims.push((peer, source));
        }
        if self.checked.len() >= CHECKED_MAX {
            self.drop_unlikeliest();
        }
        let checked = Checked {
            claims: vec![(peer, source)],
            sent: 0,
            place: Place::Timer(now.mono),
        };
        self.checked.insert(addr, checked);
        self.timers.insert((now.mono, addr));
        if self.budget.allows(now.mono, addr.ip()) {
            self.ask(addr, now.mono);
        } else {
            self.make_ready(addr);
        }
    }

    /// The mDNS record that claimed this has expired.
    pub fn withdraw(&mut self, peer: DeviceId, addr: SocketAddr) {
        let Some(checked) = self.checked.get_mut(&addr) else {
            return;
        };
        checked
            .claims
            .retain(|claim| *claim != (peer, Source::Record));
        if checked.claims.is_empty() {
            self.forget(addr);
        }
    }

    /// An answer arrived from this address. Only an answer to a question of this node counts.
    pub fn answered(&mut self, from: SocketAddr, answer: AddressCheck) {
        let token = AddressCheck::token(&self.secret, from);
        let Some(checked) = self.checked.get(&from).filter(|checked| checked.sent > 0) else {
            return;
        };
        if !matches!(answer, AddressCheck::Answer(of, _) if of == token) {
            return;
        }
        // The node at this address is known now: every claim about another peer is false.
        let true_claim = checked
            .claims
            .iter()
            .find(|(peer, _)| AddressCheck::answer(token, *peer) == answer);
        if let Some((peer, _)) = true_claim {
            self.outputs.push_back(Output::Answers(*peer, from));
        }
        self.forget(from);
    }

    /// The time returned by [`AddressChecks::poll_timeout`] has passed.
    pub fn time_out(&mut self, now: Now) {
        let now = now.mono;
        while let Some(&(at, addr)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            if self.drop_unanswered_claims(addr) {
                self.make_ready(addr);
            }
        }
        if self.budget_at <= now {
            self.budget_at = now + BUDGET_EVERY;
            self.ask_ready(now);
        }
    }

    /// The next action, if any.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`AddressChecks::time_out`].
    pub fn poll_timeout(&self) -> Option<Duration> {
        let ready = (!self.ready.is_empty()).then_some(self.budget_at);
        let timer = self.timers.first().map(|(at, _)| *at);
        ready.into_iter().chain(timer).min()
    }

    /// The peers that mDNS records announce at addresses where nobody answered several checks.
    pub fn silent(&self) -> impl Iterator<Item = (DeviceId, SocketAddr)> {
        let asked = self.checked.iter();
        let silent = asked.filter(|(_, checked)| checked.sent >= SILENT_AFTER);
        silent.flat_map(|(addr, checked)| {
            let announced = checked.claims.iter();
            let announced = announced.filter(|(_, source)| *source == Source::Record);
            announced.map(|(peer, _)| (*peer, *addr))
        })
    }

    /// Addresses under check.
    pub fn len(&self) -> usize {
        self.checked.len()
    }

    /// Addresses that wait until the budget allows a check of them.
    pub fn waiting(&self) -> usize {
        self.ready.len()
    }

    /// Whether no address is under check.
    pub fn is_empty(&self) -> bool {
        self.checked.is_empty()
    }

    fn ask_ready(&mut self, now: Duration) {
        let mut asked = Vec::new();
        for (_, addr) in &self.ready {
            if !self.budget.allows_any(now) {
                break;
            }
            if self.budget.allows(now, addr.ip()) {
                asked.push(*addr);
            }
        }
        for addr in asked {
            let place = self.checked[&addr].place;
            let Place::Ready(rank) = place else {
                unreachable!("it was found among those that are ready");
            };
            self.ready.remove(&(rank, addr));
            self.ask(addr, now);
        }
    }

    /// Sends a question that the budget has allowed. The address is in no queue, or in that of the
    /// timers.
    fn ask(&mut self, addr: SocketAddr, now: Duration) {
        let checked = self.checked.get_mut(&addr).expect("callers found it");
        if let Place::Timer(at) = checked.place {
            self.timers.remove(&(at, addr));
        }
        let wait = WAITS_MS[checked.sent.min(WAITS_MS.len() - 1)];
        checked.sent += 1;
        let next = now + Duration::from_millis(wait);
        checked.place = Place::Timer(next);
        self.timers.insert((next, addr));
        let token = AddressCheck::token(&self.secret, addr);
        self.outputs.push_back(Output::Check(addr, token));
    }

    /// Moves an address from the timers to those that wait for the budget.
    fn make_ready(&mut self, addr: SocketAddr) {
        let order = self.rng.draw();
        let checked = self.checked.get_mut(&addr).expect("callers found it");
        if let Place::Timer(at) = checked.place {
            self.timers.remove(&(at, addr));
        }
        let rank = (checked.sent, addr.port() != PORT_NODE, order);
        checked.place = Place::Ready(rank);
        self.ready.insert((rank, addr));
    }

    /// Drops the claims for which enough questions were sent without an answer. Returns whether any
    /// is left.
    fn drop_unanswered_claims(&mut self, addr: SocketAddr) -> bool {
        let checked = self.checked.get_mut(&addr).expect("it has a timer");
        let sent = checked.sent;
        checked.claims.retain(|(_, source)| {
            sent < match source {
                Source::Peer => CHECKS_OF_PEERS_CLAIM,
                Source::Record => CHECKS_OF_RECORDS_CLAIM,
            }
        });
        let any = !checked.claims.is_empty();
        if !any {
            self.checked.remove(&addr);
        }
        any
    }

    fn forget(&mut self, addr: SocketAddr) {
        let checked = self.checked.remove(&addr).expect("callers found it");
        match checked.place {
            Place::Ready(rank) => self.ready.remove(&(rank, addr)),
            Place::Timer(at) => self.timers.remove(&(at, addr)),
        };
    }

    /// Makes room for another address. An address whose next check is far away has not answered
    /// several; without such an address, the last in the queue for the budget goes.
    fn drop_unlikeliest(&mut self) {
        let last_timer = self.timers.last().map(|(_, addr)| *addr);
        let last_ready = self.ready.last().map(|(_, addr)| *addr);
        let candidates = last_timer.into_iter().chain(last_ready);
        let sent = |addr: &SocketAddr| self.checked[addr].sent;
        let unlikeliest = candidates.max_by_key(sent);
        self.forget(unlikeliest.expect("each address is in one of the queues"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::send_budget::earned_in;

    const SECRET: [u8; 32] = [7; 32];

    struct Checks {
        checks: AddressChecks,
        now: Duration,
    }

    fn peer(n: u32) -> DeviceId {
        let mut bytes = [9; 32];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        DeviceId::from_bytes(bytes)
    }

    /// An address in 10.0.0.0/8.
    fn addr(host: u32, port: u16) -> SocketAddr {
        let [_, b, c, d] = host.to_be_bytes();
        SocketAddr::from(([10, b, c, d], port))
    }

    fn answer(addr: SocketAddr, peer: DeviceId) -> AddressCheck {
        AddressCheck::answer(AddressCheck::token(&SECRET, addr), peer)
    }

    impl Checks {
        fn new() -> Self {
            Self {
                checks: AddressChecks::new(SECRET, Rng::new(1)),
                now: Duration::ZERO,
            }
        }

        fn now(&self) -> Now {
            Now {
                mono: self.now,
                wall_ms: 0,
            }
        }

        /// Claims that the peer is at the address. Returns the number of checks sent.
        fn claim(&mut self, peer: DeviceId, addr: SocketAddr, source: Source) -> usize {
            self.checks.claim(self.now(), peer, addr, source);
            self.outputs().len()
        }

        fn outputs(&mut self) -> Vec<Output> {
            std::iter::from_fn(|| self.checks.poll_output()).collect()
        }

        /// Returns what is sent in a span of time.
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

    const HOURS: Duration = Duration::from_secs(10_000);

    #[test]
    fn an_announced_address_is_silent_after_several_checks() {
        let mut it = Checks::new();
        it.claim(peer(1), addr(1, 4626), Source::Record);
        it.claim(peer(2), addr(2, 4626), Source::Peer);
        let silent = |it: &Checks| it.checks.silent().collect::<Vec<_>>();
        assert_eq!(silent(&it), []);
        it.run(Duration::from_secs(5));
        assert_eq!(silent(&it), [(peer(1), addr(1, 4626))]);
        it.checks.withdraw(peer(1), addr(1, 4626));
        assert_eq!(silent(&it), []);
    }

    #[test]
    fn an_address_at_which_the_claimed_peer_answers_may_be_dialed() {
        let mut checks = Checks::new();
        let (ann, at) = (peer(1), addr(1, 1));
        assert_eq!(checks.claim(ann, at, Source::Peer), 1);
        let forged = AddressCheck::answer([0; 16], ann);
        checks.checks.answered(at, forged);
        checks.checks.answered(addr(2, 1), answer(at, ann));
        assert_eq!(checks.outputs(), [], "it was not asked, or not there");
        checks.checks.answered(at, answer(at, ann));
        assert_eq!(checks.outputs(), [Output::Answers(ann, at)]);
        assert_eq!(checks.run(HOURS), [], "nothing is left to check");
    }

    #[test]
    fn of_many_claims_about_one_address_only_the_true_one_leads_to_a_dial() {
        let mut checks = Checks::new();
        let (bob, at) = (peer(20), addr(1, 1));
        let sent: usize = (0..30)
            .map(|n| checks.claim(peer(n), at, Source::Record))
            .sum();
        assert_eq!(sent, 1);
        checks.checks.answered(at, answer(at, bob));
        assert_eq!(checks.outputs(), [Output::Answers(bob, at)]);
    }

    #[test]
    fn a_node_that_nobody_was_claimed_to_be_is_not_dialed() {
        let mut checks = Checks::new();
        checks.claim(peer(1), addr(1, 1), Source::Record);
        checks
            .checks
            .answered(addr(1, 1), answer(addr(1, 1), peer(2)));
        assert_eq!(checks.outputs(), []);
        assert_eq!(checks.checks.poll_timeout(), None);
    }

    #[test]
    fn what_a_peer_claims_is_checked_three_times_and_what_a_record_claims_eight_times() {
        for (source, expected) in [(Source::Peer, 3), (Source::Record, 8)] {
            let mut checks = Checks::new();
            let first = checks.claim(peer(1), addr(1, 1), source);
            assert_eq!(first + checks.run(HOURS).len(), expected);
            assert_eq!(checks.checks.poll_timeout(), None);
        }
    }

    #[test]
    fn an_expired_record_is_not_checked() {
        let mut checks = Checks::new();
        checks.claim(peer(1), addr(1, 1), Source::Record);
        checks.checks.withdraw(peer(2), addr(1, 1));
        assert_eq!(checks.run(Duration::from_secs(1)).len(), 1);
        checks.checks.withdraw(peer(1), addr(1, 1));
        assert_eq!(checks.run(HOURS), []);
        assert!(checks.checks.is_empty());
    }

    #[test]
    fn claims_about_many_peers_and_ports_cannot_aim_at_one_host() {
        let mut checks = Checks::new();
        let mut sent = 0;
        for n in 0..2_000u16 {
            sent += checks.claim(peer(n.into()), addr(1, n + 1), Source::Record);
        }
        sent += checks.run(Duration::from_secs(180)).len();
        let earned = earned_in(CHECKS_PER_HOST, Duration::from_secs(180));
        let most = CHECKS_PER_HOST.burst as usize + earned;
        assert!(sent <= most, "{sent}");
    }

    #[test]
    fn claims_about_many_hosts_cannot_aim_at_one_network() {
        let mut checks = Checks::new();
        let mut sent = 0;
        for n in 0..2_000u16 {
            let at = addr(u32::from(n % 250), n);
            sent += checks.claim(peer(n.into()), at, Source::Record);
        }
        sent += checks.run(Duration::from_secs(10)).len();
        let earned = earned_in(CHECKS_PER_NETWORK, Duration::from_secs(10));
        let most = CHECKS_PER_NETWORK.burst as usize + earned;
        assert!(sent <= most, "{sent}");
    }

    #[test]
    fn a_true_claim_is_checked_soon_among_many_false_ones() {
        // The second true claim is about the host that all false ones are about.
        for (real, host) in [(addr(7, PORT_NODE), 256), (addr(1, PORT_NODE), 0)] {
            let mut checks = Checks::new();
            for n in 0..1_000 {
                let port = u16::try_from(n + 5_000).expect("a port");
                checks.claim(peer(n), addr(host * n + 1, port), Source::Record);
            }
            checks
                .checks
                .claim(checks.now(), peer(5_000), real, Source::Record);
            let mut sent = checks.outputs();
            sent.extend(checks.run(Duration::from_secs(1)));
            let to_real = |output: &Output| matches!(output, Output::Check(to, _) if *to == real);
            assert!(sent.iter().any(to_real), "{real}");
        }
    }

    #[test]
    fn a_flood_of_claims_is_bounded_in_memory_and_rate() {
        let mut checks = Checks::new();
        let mut sent = 0;
        for n in 0..8_000 {
            sent += checks.claim(peer(n), addr(256 * n + 1, 1), Source::Record);
        }
        assert_eq!(sent, CHECKS.burst as usize);
        assert_eq!(checks.checks.len(), CHECKED_MAX);
        let later = checks.run(Duration::from_secs(60)).len();
        let most = earned_in(CHECKS, Duration::from_secs(61));
        assert!(later <= most, "{later}");
        let queued = checks.checks.ready.len() + checks.checks.timers.len();
        assert_eq!(queued, checks.checks.len());
    }

    #[test]
    fn a_new_address_replaces_one_that_has_not_answered() {
        let mut checks = Checks::new();
        checks.claim(peer(1), addr(1, 1), Source::Record);
        checks.run(Duration::from_secs(30));
        for n in 0..u32::try_from(CHECKED_MAX).expect("a small number") {
            checks.claim(peer(n), addr(256 * n + 2, 1), Source::Record);
        }
        assert!(!checks.checks.checked.contains_key(&addr(1, 1)));
        assert!(checks.checks.checked.contains_key(&addr(2, 1)));
    }
}
