//! How often somebody has failed lately.

use std::collections::BTreeMap;
use std::time::Duration;

/// Counts the failures of each key, such as a network that guesses, in windows of fixed length. A
/// window begins with the first failure.
#[derive(Debug)]
pub struct Failures<K> {
    max: u32,
    window: Duration,
    keys_max: usize,
    counts: BTreeMap<K, Count>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    began: Duration,
    failures: u32,
}

impl<K: Ord + Copy> Failures<K> {
    /// At most `max` failures in each window. Beyond `keys_max` keys, the one whose window began
    /// first is forgotten.
    pub fn new(max: u32, window: Duration, keys_max: usize) -> Self {
        Self {
            max,
            window,
            keys_max,
            counts: BTreeMap::new(),
        }
    }

    /// Whether the key may try again.
    pub fn may_try(&self, now: Duration, key: K) -> bool {
        let count = self.counts.get(&key);
        count.is_none_or(|count| count.failures < self.max || self.is_over(now, count))
    }

    /// The key has failed.
    pub fn add(&mut self, now: Duration, key: K) {
        if !self.counts.contains_key(&key) && self.counts.len() >= self.keys_max {
            self.make_room(now);
        }
        let window = self.window;
        let new = Count {
            began: now,
            failures: 0,
        };
        let count = self.counts.entry(key).or_insert(new);
        if now >= count.began + window {
            *count = new;
        }
        count.failures = count.failures.saturating_add(1);
    }

    fn is_over(&self, now: Duration, count: &Count) -> bool {
        now >= count.began + self.window
    }

    fn make_room(&mut self, now: Duration) {
        let window = self.window;
        self.counts.retain(|_, count| now < count.began + window);
        if self.counts.len() >= self.keys_max {
            let oldest = self.counts.iter().min_by_key(|(_, count)| count.began);
            let oldest = oldest.map(|(key, _)| *key).expect("the table is full");
            self.counts.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn after_the_last_failure_a_key_waits_until_its_window_ends() {
        let mut failures = Failures::new(5, HOUR, 10);
        let began = Duration::from_secs(7);
        for n in 0..5 {
            assert!(failures.may_try(began + Duration::from_secs(n), 'a'));
            failures.add(began + Duration::from_secs(n), 'a');
        }
        let just_before = began + HOUR - Duration::from_nanos(1);
        assert!(!failures.may_try(just_before, 'a'));
        assert!(failures.may_try(just_before, 'b'));
        assert!(failures.may_try(began + HOUR, 'a'));
        failures.add(began + HOUR, 'a');
        assert!(failures.may_try(began + HOUR, 'a'));
    }

    #[test]
    fn a_full_table_forgets_the_oldest_window() {
        let mut failures = Failures::new(1, HOUR, 2);
        for (seconds, key) in [(0, 'a'), (1, 'b'), (2, 'c')] {
            failures.add(Duration::from_secs(seconds), key);
        }
        assert_eq!(failures.counts.len(), 2);
        let now = Duration::from_secs(3);
        assert!(failures.may_try(now, 'a'));
        assert!(!failures.may_try(now, 'c'));
    }
}
