//! When this relay sends its bans to the other relays of the fleet, as a pure state machine.
//!
//! A change is sent at once. Each relay also sends the digests of its records, when it has connected
//! with NATS and once a minute. Whoever has other digests sends its records in those buckets, and its own
//! digests. So a relay that was not there gets what it has missed, and the others get what it has made.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::ban_records::{BUCKETS, BanRecord, BanRecords};

/// Maximum bans in a report.
pub(super) const BANS_IN_REPORT_MAX: usize = 128;

/// How often the digests are sent.
const DIGESTS_EVERY: Duration = Duration::from_secs(60);

/// How often they are sent again after a connection was made, and the pause. The other relays may not
/// have listened yet, nor this one.
const EARLY: u32 = 3;
const EARLY_EVERY: Duration = Duration::from_secs(2);

/// The shortest time between two answers to other digests, and between two times that a bucket is sent.
const REST: Duration = Duration::from_secs(5);

/// How soon the digests follow those of a relay that has others.
const ANSWER_AFTER: Duration = Duration::from_millis(300);

/// Buckets that are sent at once, and the pause after them.
const BUCKETS_AT_ONCE: usize = 4;
const PAUSE: Duration = Duration::from_millis(100);

/// Maximum changes that wait. Beyond, only the digests tell of them.
const FRESH_MAX: usize = 1_024;

/// What to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BanReport {
    /// The digest of each bucket.
    Digests(Vec<u64>),
    /// Records, at most [`BANS_IN_REPORT_MAX`].
    Records(Vec<BanRecord>),
}

/// The state of the exchange.
#[derive(Debug, Default)]
pub(super) struct BanSync {
    fresh: Vec<BanRecord>,
    to_send: BTreeSet<usize>,
    /// When each bucket was sent last.
    sent_at: BTreeMap<usize, Duration>,
    /// When the next buckets may be sent.
    buckets_at: Duration,
    /// When the digests are due. `None`: there is no connection with NATS.
    digests_at: Option<Duration>,
    digests_sent_at: Option<Duration>,
    /// How often the digests are still sent early.
    early: u32,
}

impl BanSync {
    /// There is a connection with NATS.
    pub(super) fn connected(&mut self, now: Duration) {
        (self.digests_at, self.early) = (Some(now), EARLY);
    }

    /// There is no connection with NATS any more.
    pub(super) fn lost(&mut self) {
        *self = Self::default();
    }

    /// The operator of this relay has changed a ban.
    pub(super) fn changed(&mut self, record: BanRecord) {
        if self.digests_at.is_some() && self.fresh.len() < FRESH_MAX {
            self.fresh.push(record);
        }
    }

    /// Another relay has these digests.
    pub(super) fn digests(&mut self, now: Duration, theirs: &[u64], ours: &BanRecords) {
        let Some(digests_at) = &mut self.digests_at else {
            return;
        };
        let both = theirs.iter().zip(ours.digests()).enumerate();
        let different = both.filter(|(_, (theirs, ours))| theirs != ours);
        let rests = |bucket: &usize| {
            let sent_at = self.sent_at.get(bucket);
            sent_at.is_some_and(|at| now < *at + REST)
        };
        let different: BTreeSet<usize> = different.map(|(bucket, _)| bucket).collect();
        if different.is_empty() {
            return;
        }
        let earliest = self.digests_sent_at.map_or(now, |at| at + REST);
        *digests_at = (*digests_at).min(earliest.max(now + ANSWER_AFTER));
        let to_send = different.into_iter().filter(|bucket| !rests(bucket));
        self.to_send.extend(to_send);
    }

    /// When [`BanSync::timeout`] has work.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let digests_at = self.digests_at?;
        if !self.fresh.is_empty() {
            return Some(Duration::ZERO);
        }
        let buckets_at = (!self.to_send.is_empty()).then_some(self.buckets_at);
        Some(buckets_at.map_or(digests_at, |at| at.min(digests_at)))
    }

    /// What is due.
    pub(super) fn timeout(&mut self, now: Duration, ours: &BanRecords) -> Vec<BanReport> {
        let Some(digests_at) = self.digests_at else {
            return Vec::new();
        };
        let mut records = std::mem::take(&mut self.fresh);
        if !self.to_send.is_empty() && now >= self.buckets_at {
            let buckets: BTreeSet<_> = self.to_send.iter().take(BUCKETS_AT_ONCE).copied().collect();
            for bucket in &buckets {
                self.to_send.remove(bucket);
                self.sent_at.insert(*bucket, now);
            }
            self.buckets_at = now + PAUSE;
            records.extend(ours.in_buckets(&buckets));
        }
        let chunks = records.chunks(BANS_IN_REPORT_MAX);
        let mut reports: Vec<_> = chunks.map(|it| BanReport::Records(it.to_vec())).collect();
        if now >= digests_at {
            let pause = if self.early > 0 {
                EARLY_EVERY
            } else {
                DIGESTS_EVERY
            };
            self.early = self.early.saturating_sub(1);
            self.digests_at = Some(now + pause);
            self.digests_sent_at = Some(now);
            reports.push(BanReport::Digests(ours.digests().to_vec()));
        }
        reports
    }
}

/// Whether these are digests of all buckets.
pub(super) fn are_digests(digests: &[u64]) -> bool {
    digests.len() == BUCKETS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{BanTarget, Bans};
    use hobnob_protocol::DeviceId;

    const SECOND: Duration = Duration::from_secs(1);

    fn target(n: u8) -> BanTarget {
        BanTarget::Peer(DeviceId::from_bytes([n; 32]))
    }

    /// A relay with its records, connected with NATS at second 0.
    struct Relay {
        sync: BanSync,
        records: BanRecords,
    }

    impl Relay {
        fn new(banned: &[u8]) -> Self {
            let mut bans = Bans::default();
            for n in banned {
                bans.set(target(*n), true);
            }
            let home = tempfile::tempdir().unwrap();
            let mut sync = BanSync::default();
            sync.connected(Duration::ZERO);
            Self {
                sync,
                records: BanRecords::load(home.path(), &bans, 1),
            }
        }

        fn hears(&mut self, now: Duration, reports: &[BanReport]) {
            for report in reports {
                match report {
                    BanReport::Digests(digests) => self.sync.digests(now, digests, &self.records),
                    BanReport::Records(records) => {
                        for record in records {
                            self.records.merge(*record);
                        }
                    }
                }
            }
        }
    }

    /// All relays hear each other until this time. Returns how many reports there were.
    fn talk(relays: &mut [Relay], until: Duration) -> usize {
        let mut count = 0;
        let due = |relays: &[Relay]| {
            let due = relays.iter().filter_map(|relay| relay.sync.next_due());
            due.min().unwrap()
        };
        let mut now = Duration::ZERO;
        while due(relays) <= until {
            now = now.max(due(relays));
            for n in 0..relays.len() {
                let Relay { sync, records } = &mut relays[n];
                let reports = sync.timeout(now, records);
                count += reports.len();
                for (_, other) in relays.iter_mut().enumerate().filter(|(m, _)| *m != n) {
                    other.hears(now, &reports);
                }
            }
        }
        count
    }

    #[test]
    fn relays_that_connect_have_the_same_records_soon() {
        let many: Vec<u8> = (0..200).collect();
        let mut relays = [Relay::new(&many), Relay::new(&[]), Relay::new(&[250, 251])];
        relays[1].records.note(target(7), false, 5);
        relays[1].records.note(target(8), false, 5);
        talk(&mut relays, 12 * SECOND);
        let [one, two, three] = &relays;
        assert!(one.records == two.records && two.records == three.records);
        assert!(!one.records.is_banned(target(7)) && two.records.is_banned(target(9)));
        assert!(one.records.is_banned(target(250)));
        // From then on there is little to say: two minutes later, each has sent its digests twice.
        let reports = talk(&mut relays, 130 * SECOND);
        assert!(reports <= 9, "{reports}");
    }

    #[test]
    fn a_change_is_sent_at_once() {
        let mut relays = [Relay::new(&[1]), Relay::new(&[1])];
        talk(&mut relays, 10 * SECOND);
        let [one, two] = &mut relays;
        one.sync.changed(one.records.note(target(2), true, 9));
        let reports = one.sync.timeout(11 * SECOND, &one.records);
        assert_eq!(reports.len(), 1);
        two.hears(11 * SECOND, &reports);
        assert!(two.records == one.records && two.records.is_banned(target(2)));
    }

    #[test]
    fn a_relay_that_never_agrees_is_not_answered_all_the_time() {
        let mut relay = Relay::new(&[1, 2, 3]);
        let mut reports = Vec::new();
        for tenth in 0..600 {
            let now = SECOND * tenth / 10;
            relay.sync.digests(now, &[1; BUCKETS], &relay.records);
            reports.extend(relay.sync.timeout(now, &relay.records));
        }
        let digests = |it: &&BanReport| matches!(it, BanReport::Digests(_));
        let digests = reports.iter().filter(digests).count();
        assert!((10..=16).contains(&digests), "{digests} in a minute");
        let records = reports.len() - digests;
        assert!((3..=36).contains(&records), "{records} in a minute");
    }
}
