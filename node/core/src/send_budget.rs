//! How many datagrams may be sent to addresses that have not answered: to one host, to one network
//! and in all.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// When so many hosts or networks have used their budget lately, those that regained all of it are
/// forgotten. The overall budget bounds the number of the others.
const SWEPT_AT: usize = 1_024;

/// A number per second, and how much of it may be saved up.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// Regained in each second.
    pub per_second: u32,
    /// Available after a quiet time.
    pub burst: u32,
}

/// What may be sent. See the module's doc.
#[derive(Debug)]
pub struct SendBudget {
    rate: Rate,
    all: Bucket,
    hosts: Buckets,
    networks: Buckets,
}

impl SendBudget {
    /// All of the budget is available.
    pub fn new(all: Rate, per_host: Rate, per_network: Rate) -> Self {
        Self {
            rate: all,
            all: Bucket::full(all, Duration::ZERO),
            hosts: Buckets::new(per_host),
            networks: Buckets::new(per_network),
        }
    }

    /// Whether a datagram may be sent to some host now.
    pub fn allows_any(&mut self, now: Duration) -> bool {
        self.all.refill(self.rate, now);
        self.all.has_one()
    }

    /// Whether a datagram may be sent to this host now. If so, it counts as sent.
    pub fn allows(&mut self, now: Duration, host: IpAddr) -> bool {
        let (all, network) = (self.allows_any(now), network_of(host));
        let allowed = all && self.hosts.has_one(host, now) && self.networks.has_one(network, now);
        if allowed {
            self.all.take();
            self.hosts.take(host);
            self.networks.take(network);
        }
        allowed
    }
}

/// The network of a host, for a limit that the whole network shares.
fn network_of(host: IpAddr) -> IpAddr {
    match host.to_canonical() {
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

/// A token bucket.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    thousandths: u64,
    at: Duration,
}

impl Bucket {
    fn full(rate: Rate, now: Duration) -> Self {
        Self {
            thousandths: u64::from(rate.burst) * 1_000,
            at: now,
        }
    }

    fn refill(&mut self, rate: Rate, now: Duration) {
        let millis = now.saturating_sub(self.at).as_millis();
        let regained = millis.saturating_mul(rate.per_second.into());
        let most = u64::from(rate.burst) * 1_000;
        self.thousandths = u64::try_from(regained)
            .unwrap_or(most)
            .saturating_add(self.thousandths)
            .min(most);
        // Less than a millisecond adds nothing, so it must not be lost either.
        if millis > 0 {
            self.at = now;
        }
    }

    fn has_one(&self) -> bool {
        self.thousandths >= 1_000
    }

    fn take(&mut self) {
        self.thousandths -= 1_000;
    }
}

/// The buckets of hosts or networks. One that is not listed is full.
#[derive(Debug)]
struct Buckets {
    rate: Rate,
    of: BTreeMap<IpAddr, Bucket>,
}

impl Buckets {
    fn new(rate: Rate) -> Self {
        Self {
            rate,
            of: BTreeMap::new(),
        }
    }

    fn has_one(&mut self, key: IpAddr, now: Duration) -> bool {
        let rate = self.rate;
        if self.of.len() >= SWEPT_AT {
            let full = u64::from(rate.burst) * 1_000;
            self.of.retain(|_, bucket| {
                bucket.refill(rate, now);
                bucket.thousandths < full
            });
        }
        let bucket = self.of.entry(key).or_insert(Bucket::full(rate, now));
        bucket.refill(rate, now);
        bucket.has_one()
    }

    fn take(&mut self, key: IpAddr) {
        self.of.get_mut(&key).expect("it had one").take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn rate(per_second: u32, burst: u32) -> Rate {
        Rate { per_second, burst }
    }

    fn host(n: u32) -> IpAddr {
        let [_, b, c, d] = n.to_be_bytes();
        IpAddr::from([10, b, c, d])
    }

    fn sent(budget: &mut SendBudget, now: Duration, hosts: impl Iterator<Item = IpAddr>) -> usize {
        hosts.filter(|host| budget.allows(now, *host)).count()
    }

    #[test]
    fn a_host_a_network_and_all_together_have_a_budget_each() {
        let mut budget = SendBudget::new(rate(10, 100), rate(1, 5), rate(2, 20));
        let now = Duration::from_secs(1);
        assert_eq!(sent(&mut budget, now, (0..50).map(|_| host(1))), 5);
        assert_eq!(sent(&mut budget, now, (2..50).map(host)), 15);
        assert_eq!(sent(&mut budget, now, (1..200).map(|n| host(256 * n))), 80);
        assert!(!budget.allows_any(now));
        let later = now + Duration::from_secs(2);
        assert_eq!(sent(&mut budget, later, (0..50).map(|_| host(1))), 2);
        assert_eq!(sent(&mut budget, later, (2..50).map(host)), 2);
    }

    #[test]
    fn frequent_questions_do_not_lose_what_is_regained() {
        let mut budget = SendBudget::new(rate(1, 1), rate(1, 1), rate(1, 1));
        let steps = (0..10_000).map(|n| Duration::from_micros(500) * n);
        let allowed = steps.filter(|now| budget.allows(*now, host(1))).count();
        assert_eq!(allowed, 5);
    }

    #[test]
    fn hosts_that_have_regained_their_budget_are_forgotten() {
        let mut budget = SendBudget::new(rate(100, 100), rate(1, 5), rate(100, 100));
        for n in 0..100_000 {
            budget.allows(Duration::from_millis(10) * n, host(n));
        }
        assert!(budget.hosts.of.len() <= SWEPT_AT);
        assert!(budget.networks.of.len() <= SWEPT_AT);
    }
}
