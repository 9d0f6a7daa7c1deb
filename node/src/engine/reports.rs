//! Reports to the node's users: events, and notices about faults of the disk, of clocks and of
//! copied identities. Each notice appears once.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use hobnob_core::diagnosis::CLOCK_DIFFERENCE_MS;
use hobnob_core::paths::Instance;
use hobnob_limits::RecentSet;
use hobnob_protocol::{DeviceId, PersonId};
use tracing::{info, warn};

use crate::api::{CopyEvidence, Event, Notice, NoticeReason};
use crate::events::Publisher;
use crate::net::channels::RelayId;
use crate::store::{Repaired, StoreError};

/// The notices of a run that `Node::status` lists: the newest.
const NOTICES_MAX: usize = 32;

/// How often the user is informed that strangers are refused.
const PLACES_NOTICE_EVERY: Duration = Duration::from_secs(60 * 60);

/// Maximum reports in a run about peers with another clock, and about other instances of this identity,
/// each. Anybody can cause them, and they must not fill the screen.
const CLAIMANTS_MAX: usize = 64;

/// Wrong peers behind relays that are remembered, so that each is reported once.
const LIES_MAX: usize = 64;

/// Longest reason for a failed backup, in characters. The rest is cut off.
const BACKUP_FAULT_MAX: usize = 500;

/// Publishes events and notices, and remembers which notices the user has seen.
#[derive(Debug)]
pub(super) struct Reports {
    events: Publisher,
    notices: Notices,
    /// Peers whose clock differs from this machine's.
    clocks: BTreeSet<PersonId>,
    /// Other running instances of this identity.
    copies: BTreeSet<Instance>,
    store_failing: bool,
    /// Entries that the start dropped from a damaged database.
    dropped: Option<u64>,
    /// Whether the user was informed that the database is damaged.
    damage_noticed: bool,
    /// Why the last automatic backup failed.
    backup_fault: Option<String>,
    places: PlacesRefused,
    /// The peers with which relays connected this node instead of others.
    lies: RecentSet<(RelayId, DeviceId), LIES_MAX>,
}

/// Connections that were refused, and sessions of strangers that ended, because all places were
/// taken.
#[derive(Debug, Default)]
struct PlacesRefused {
    count: u64,
    noticed_at: Option<Duration>,
}

impl Reports {
    pub(super) fn new(events: Publisher) -> Self {
        Self {
            events,
            notices: Notices::default(),
            clocks: BTreeSet::new(),
            copies: BTreeSet::new(),
            store_failing: false,
            dropped: None,
            damage_noticed: false,
            backup_fault: None,
            places: PlacesRefused::default(),
            lies: RecentSet::default(),
        }
    }

    /// The start repaired the database.
    pub(super) fn repaired(&mut self, Repaired { lost, .. }: Repaired) {
        self.dropped = Some(lost);
        self.notice(NoticeReason::DatabaseRepaired { lost }, None);
    }

    /// A part of the database is damaged.
    pub(super) fn damaged(&mut self) {
        if !std::mem::replace(&mut self.damage_noticed, true) {
            self.notice(NoticeReason::DatabaseDamaged {}, None);
        }
    }

    /// The entries that the start dropped from a damaged database.
    pub(super) fn dropped(&self) -> Option<u64> {
        self.dropped
    }

    /// An automatic backup was made, or failed for this reason. The user gets a notice when the reason
    /// changes.
    pub(super) fn backup(&mut self, fault: Option<String>) {
        let fault = fault.map(|why| why.chars().take(BACKUP_FAULT_MAX).collect::<String>());
        let before = std::mem::replace(&mut self.backup_fault, fault.clone());
        match fault {
            Some(why) if before.as_deref() != Some(why.as_str()) => {
                self.notice(NoticeReason::BackupFailed { why }, None);
            }
            None if before.is_some() => self.notice(NoticeReason::BackupMade {}, None),
            Some(_) | None => {}
        }
    }

    /// Why the last automatic backup failed.
    pub(super) fn backup_fault(&self) -> Option<String> {
        self.backup_fault.clone()
    }

    pub(super) fn event(&self, event: Event) {
        self.events.publish(event);
    }

    /// Whether anybody reads events. If not, making them can be skipped.
    pub(super) fn is_heard(&self) -> bool {
        self.events.is_heard()
    }

    pub(super) fn events(&self, events: impl IntoIterator<Item = Event>) {
        self.events.publish_all(events);
    }

    /// Logs and publishes a notice, and keeps it for `Node::status`.
    pub(super) fn notice(&mut self, reason: NoticeReason, peer: Option<PersonId>) {
        info!(?peer, "notice {}: {reason:?}", reason.code());
        let notice = self.notices.add(reason, peer);
        self.event(Event::Notice(notice));
    }

    /// The newest notices of this run.
    pub(super) fn recent(&self) -> Vec<Notice> {
        self.notices.recent.iter().cloned().collect()
    }

    pub(super) fn store_is_failing(&self) -> bool {
        self.store_failing
    }

    pub(super) fn store_failed(&mut self, error: &StoreError) {
        warn!("a commit failed: {error}");
        if !std::mem::replace(&mut self.store_failing, true) {
            let why = error.to_string();
            self.notice(NoticeReason::StoreError { why }, None);
        }
    }

    pub(super) fn store_recovered(&mut self) {
        if std::mem::take(&mut self.store_failing) {
            self.notice(NoticeReason::StoreRecovered {}, None);
        }
    }

    /// All places for sessions are taken, and somebody got none or lost one. The user is informed now
    /// and then.
    pub(super) fn place_refused(&mut self, now: Duration) {
        self.places.count += 1;
        let noticed_at = self.places.noticed_at;
        if noticed_at.is_none_or(|at| now >= at + PLACES_NOTICE_EVERY) {
            self.places.noticed_at = Some(now);
            self.notice(NoticeReason::PlacesFull {}, None);
        }
    }

    /// How many connections were refused, or sessions ended, because all places were taken.
    pub(super) fn places_refused(&self) -> u64 {
        self.places.count
    }

    /// A relay connected this node with another peer than the expected one: reported once for each
    /// peer that answered.
    pub(super) fn relay_lies(
        &mut self,
        relay: RelayId,
        at: String,
        (expected, found): (DeviceId, DeviceId),
    ) {
        if !self.lies.contains((relay, found)) {
            self.lies.add((relay, found));
            self.notice(
                NoticeReason::RelayLies { relay: at, found },
                Some(expected.person()),
            );
        }
    }

    /// Compares a peer's clock with this machine's. `name` is the name to show for the peer.
    pub(super) fn compare_clocks(
        &mut self,
        peer: PersonId,
        name: &str,
        theirs_ms: u64,
        ours_ms: u64,
    ) {
        // Clocks are hostile input: a difference beyond the type's range is shown as its limit.
        let ahead_ms = i64::try_from(i128::from(theirs_ms) - i128::from(ours_ms)).unwrap_or(
            if theirs_ms > ours_ms {
                i64::MAX
            } else {
                i64::MIN
            },
        );
        if ahead_ms.unsigned_abs() < CLOCK_DIFFERENCE_MS || !is_news(&mut self.clocks, peer) {
            return;
        }
        let name = name.to_owned();
        self.notice(NoticeReason::Clock { name, ahead_ms }, Some(peer));
    }

    /// Another running node has this identity.
    pub(super) fn copied(&mut self, evidence: CopyEvidence) {
        self.notice(NoticeReason::IdentityCopied(evidence), None);
    }

    /// As [`Reports::copied`], once for each instance.
    pub(super) fn copied_by(&mut self, instance: Instance, addr: SocketAddr) {
        if is_news(&mut self.copies, instance) {
            self.copied(runs_at(addr));
        }
    }

    /// As [`Reports::copied`], unless an instance is known already.
    pub(super) fn copied_by_unknown(&mut self, addr: SocketAddr) {
        if self.copies.is_empty() {
            self.copied(runs_at(addr));
        }
    }
}

/// Where another node with this identity runs. A dual-stack socket has IPv4 addresses in their IPv6
/// form (RFC 4291 section 2.5.5.2), which nobody recognizes.
fn runs_at(mut addr: SocketAddr) -> CopyEvidence {
    addr.set_ip(addr.ip().to_canonical());
    CopyEvidence::RunsAt { addr }
}

/// Whether this one was not reported yet, and may be.
fn is_news<T: Ord>(reported: &mut BTreeSet<T>, claimant: T) -> bool {
    reported.len() < CLAIMANTS_MAX && reported.insert(claimant)
}

/// The notices of this run.
#[derive(Debug, Default)]
struct Notices {
    recent: VecDeque<Notice>,
    last: u64,
}

impl Notices {
    fn add(&mut self, reason: NoticeReason, peer: Option<PersonId>) -> Notice {
        self.last += 1;
        let notice = Notice {
            number: self.last,
            reason,
            peer,
        };
        if self.recent.len() == NOTICES_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(notice.clone());
        notice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(reports: &Reports) -> Vec<&'static str> {
        let recent = reports.recent();
        recent.iter().map(|notice| notice.reason.code()).collect()
    }

    #[test]
    fn a_failing_disk_is_reported_once_and_so_is_its_recovery() {
        let mut reports = Reports::new(Publisher::new());
        reports.store_recovered();
        assert_eq!(codes(&reports), [""; 0], "it never failed");
        reports.store_failed(&StoreError::Closed);
        reports.store_failed(&StoreError::Closed);
        assert!(reports.store_is_failing());
        reports.store_recovered();
        assert_eq!(codes(&reports), ["store-error", "store-recovered"]);
        assert!(!reports.store_is_failing());
    }

    #[test]
    fn a_wrong_clock_is_reported_once_for_each_peer() {
        let mut reports = Reports::new(Publisher::new());
        let ann = PersonId::from_bytes([1; 32]);
        reports.compare_clocks(ann, "ann", 1_000, 1_000 + CLOCK_DIFFERENCE_MS - 1);
        assert_eq!(codes(&reports), [""; 0]);
        for _ in 0..2 {
            reports.compare_clocks(ann, "ann", 1_000, 1_000 + CLOCK_DIFFERENCE_MS);
        }
        assert_eq!(codes(&reports), ["clock"]);
        let behind = NoticeReason::Clock {
            name: "ann".to_owned(),
            ahead_ms: -CLOCK_DIFFERENCE_MS.cast_signed(),
        };
        assert_eq!(reports.recent()[0].reason, behind);
    }

    #[test]
    fn the_place_of_a_copy_is_an_address_that_people_know() {
        for (seen, shown) in [
            ("[::ffff:10.0.0.1]:4626", "10.0.0.1:4626"),
            ("10.0.0.1:4626", "10.0.0.1:4626"),
            ("[fe80::1%3]:4626", "[fe80::1%3]:4626"),
        ] {
            let [seen, addr] = [seen, shown].map(|at| at.parse().expect("an address"));
            assert_eq!(runs_at(seen), CopyEvidence::RunsAt { addr });
        }
    }

    #[test]
    fn a_crowd_with_wrong_clocks_does_not_fill_the_screen() {
        let mut reported = BTreeSet::new();
        let news = (0..1_000).filter(|n| is_news(&mut reported, *n));
        assert_eq!(news.count(), CLAIMANTS_MAX);
        assert!(!is_news(&mut reported, 0));
    }

    #[test]
    fn refused_strangers_are_counted_and_reported_once_an_hour() {
        let mut reports = Reports::new(Publisher::new());
        let hour = PLACES_NOTICE_EVERY;
        for at in [hour, hour, 2 * hour - Duration::from_millis(1)] {
            reports.place_refused(at);
        }
        assert_eq!(codes(&reports), ["places-full"]);
        reports.place_refused(2 * hour);
        assert_eq!(codes(&reports), ["places-full"; 2]);
        assert_eq!(reports.places_refused(), 4);
    }

    #[test]
    fn a_relay_that_lies_at_every_dial_is_reported_once() {
        let mut reports = Reports::new(Publisher::new());
        let [ann, bob, eve] = [1, 2, 3].map(|n| PersonId::from_bytes([n; 32]));
        for expected in [ann, ann, bob] {
            reports.relay_lies(
                RelayId(1),
                "relay:4627".to_owned(),
                (expected.only_device(), eve.only_device()),
            );
        }
        assert_eq!(codes(&reports), ["relay-lies"]);
        reports.relay_lies(
            RelayId(1),
            "relay:4627".to_owned(),
            (ann.only_device(), bob.only_device()),
        );
        assert_eq!(codes(&reports), ["relay-lies"; 2]);
    }

    #[test]
    fn a_long_reason_for_a_failed_backup_is_cut_off() {
        let mut reports = Reports::new(Publisher::new());
        reports.backup(Some("é".repeat(BACKUP_FAULT_MAX + 1)));
        let kept = reports.backup_fault().expect("it failed");
        assert_eq!(kept, "é".repeat(BACKUP_FAULT_MAX));
    }

    #[test]
    fn a_failed_backup_is_reported_once_for_each_reason_and_when_one_is_made_again() {
        let mut reports = Reports::new(Publisher::new());
        reports.backup(None);
        for why in ["no room", "no room", "no folder"] {
            reports.backup(Some(why.to_owned()));
        }
        assert_eq!(reports.backup_fault().as_deref(), Some("no folder"));
        reports.backup(None);
        reports.backup(None);
        assert_eq!(reports.backup_fault(), None);
        assert_eq!(
            codes(&reports),
            ["backup-failed", "backup-failed", "backup-made"]
        );
    }

    #[test]
    fn old_notices_are_dropped_and_numbers_go_on() {
        let mut reports = Reports::new(Publisher::new());
        for _ in 0..=NOTICES_MAX {
            reports.notice(NoticeReason::StoreRecovered {}, None);
        }
        let recent = reports.recent();
        assert_eq!((recent.len(), recent[0].number), (NOTICES_MAX, 2));
    }
}
