//! How many datagrams may be sent to addresses that have not answered: to one host, to one network
//! and in all.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use hobnob_limits::{Bucket, Network, Pace};

/// When this many hosts or networks have used their budget lately, those that regained all of it
/// are forgotten. The overall budget bounds the number of the others.
const SWEPT_AT: usize = 1_024;

/// The budget of datagrams. See the module's doc.
#[derive(Debug)]
pub struct SendBudget {
    pace: Pace,
    all: Bucket,
    hosts: Buckets<IpAddr>,
    networks: Buckets<Network>,
}

impl SendBudget {
    /// All of the budget is available.
    pub fn new(all: Pace, per_host: Pace, per_network: Pace) -> Self {
        Self {
            pace: all,
            all: Bucket::default(),
            hosts: Buckets::new(per_host),
            networks: Buckets::new(per_network),
        }
    }

    /// Whether a datagram may be sent to some host now.
    pub fn allows_any(&self, now: Duration) -> bool {
        self.all.has_one(now, self.pace)
    }

    /// Whether a datagram may be sent to this host now. If so, it counts as sent.
    pub fn allows(&mut self, now: Duration, host: IpAddr) -> bool {
        let (host, network) = (host.to_canonical(), Network::of(host));
        let allowed = self.allows_any(now)
            && self.hosts.has_one(host, now)
            && self.networks.has_one(network, now);
        if allowed {
            self.all.take(now, self.pace);
            self.hosts.take(host, now);
            self.networks.take(network, now);
        }
        allowed
    }
}

/// The buckets of hosts or networks. One that is not listed is full.
#[derive(Debug)]
struct Buckets<K> {
    pace: Pace,
    used: BTreeMap<K, Bucket>,
}

impl<K: Ord> Buckets<K> {
    fn new(pace: Pace) -> Self {
        Self {
            pace,
            used: BTreeMap::new(),
        }
    }

    fn has_one(&self, key: K, now: Duration) -> bool {
        let bucket = self.used.get(&key);
        bucket.is_none_or(|bucket| bucket.has_one(now, self.pace))
    }

    fn take(&mut self, key: K, now: Duration) {
        if self.used.len() >= SWEPT_AT {
            self.used.retain(|_, bucket| !bucket.is_full(now));
        }
        self.used.entry(key).or_default().take(now, self.pace);
    }
}

/// How often something may happen in this time, without the burst.
#[cfg(test)]
pub(crate) fn earned_in(pace: Pace, time: Duration) -> usize {
    usize::try_from(time.as_nanos() / pace.every.as_nanos()).expect("a test is short")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(n: u32) -> IpAddr {
        let [_, b, c, d] = n.to_be_bytes();
        IpAddr::from([10, b, c, d])
    }

    fn sent(budget: &mut SendBudget, now: Duration, hosts: impl Iterator<Item = IpAddr>) -> usize {
        hosts.filter(|host| budget.allows(now, *host)).count()
    }

    #[test]
    fn a_host_a_network_and_all_together_have_a_budget_each() {
        let mut budget = SendBudget::new(
            Pace::per_second(10, 100),
            Pace::per_second(1, 5),
            Pace::per_second(2, 20),
        );
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
        let mut budget = SendBudget::new(
            Pace::per_second(1, 1),
            Pace::per_second(1, 1),
            Pace::per_second(1, 1),
        );
        let steps = (0..10_000).map(|n| Duration::from_micros(500) * n);
        let allowed = steps.filter(|now| budget.allows(*now, host(1))).count();
        assert_eq!(allowed, 5);
    }

    #[test]
    fn hosts_that_have_regained_their_budget_are_forgotten() {
        let mut budget = SendBudget::new(
            Pace::per_second(100, 100),
            Pace::per_second(1, 5),
            Pace::per_second(100, 100),
        );
        for n in 0..100_000 {
            budget.allows(Duration::from_millis(10) * n, host(n));
        }
        assert!(budget.hosts.used.len() <= SWEPT_AT);
        assert!(budget.networks.used.len() <= SWEPT_AT);
    }
}
