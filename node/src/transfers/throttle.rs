//! Delays the content of files, so that transfers stay within the limits of the configuration.
//!
//! Messages are not delayed: only content passes here.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use hobnob_core::SessionId;
use hobnob_protocol::OfferId;

use crate::BandwidthLimits;
use crate::clock::Clock;

/// How much time a transfer that was slower for a while may make up for.
const SAVED: Duration = Duration::from_millis(250);

/// Number of transfers from which the finished ones are forgotten.
const TRANSFERS_KEPT: usize = 256;

/// The content of one offer from or to one peer. A download may have several sources, which share
/// the limit: it has no session here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Transfer {
    Download(OfferId),
    Upload(SessionId, OfferId),
}

/// Shared by all content streams.
#[derive(Debug, Clone)]
pub(super) struct Throttle {
    limits: Arc<RwLock<BandwidthLimits>>,
    clock: Clock,
    lanes: Arc<Mutex<Lanes>>,
}

impl Throttle {
    pub(super) fn new(limits: BandwidthLimits, clock: Clock) -> Self {
        Self {
            limits: Arc::new(RwLock::new(limits)),
            clock,
            lanes: Arc::default(),
        }
    }

    /// Other limits apply to each further piece.
    pub(super) fn set(&self, limits: BandwidthLimits) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    fn limits(&self) -> BandwidthLimits {
        let limits = self.limits.read().unwrap_or_else(PoisonError::into_inner);
        limits.clone()
    }

    /// Waits until this many bytes of a transfer may pass.
    pub(super) async fn pass(&self, transfer: Transfer, bytes: usize) {
        let limits = self.limits();
        if !limits.apply_now() {
            return;
        }
        let now = self.clock.now().mono;
        let at = {
            let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
            lanes.reserve(now, transfer, bytes as u64, &limits)
        };
        if at > now {
            tokio::time::sleep_until(self.clock.at(at)).await;
        }
    }
}

/// The limits in use: one for each direction, and one for each transfer.
#[derive(Debug, Default)]
struct Lanes {
    downloads: Lane,
    uploads: Lane,
    each: BTreeMap<Transfer, Lane>,
}

impl Lanes {
    /// When these bytes may pass.
    fn reserve(
        &mut self,
        now: Duration,
        transfer: Transfer,
        bytes: u64,
        limits: &BandwidthLimits,
    ) -> Duration {
        let (lane, limit) = match transfer {
            Transfer::Download(_) => (&mut self.downloads, limits.download),
            Transfer::Upload(..) => (&mut self.uploads, limits.upload),
        };
        let mut at = lane.reserve(now, bytes, limit);
        if limits.each.is_some() {
            if self.each.len() >= TRANSFERS_KEPT {
                self.each.retain(|_, lane| lane.free_at > now);
            }
            let lane = self.each.entry(transfer).or_default();
            at = at.max(lane.reserve(now, bytes, limits.each));
        }
        at
    }
}

/// The use of one limit.
#[derive(Debug, Default, Clone, Copy)]
struct Lane {
    /// When the bytes have passed that were reserved.
    free_at: Duration,
}

impl Lane {
    fn reserve(&mut self, now: Duration, bytes: u64, limit: Option<NonZeroU64>) -> Duration {
        let Some(limit) = limit else { return now };
        let at = self.free_at.max(now.saturating_sub(SAVED));
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(limit.get());
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.free_at = at.saturating_add(takes);
        at.max(now)
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::{ConversationId, DeviceId, LogId, LogName};

    use super::*;

    const NOW: Duration = Duration::from_secs(10);
    const PIECE: u64 = 1_000;

    fn download(seq: u64) -> Transfer {
        let name = LogName {
            conversation: ConversationId::from_bytes([1; 32]),
            author: DeviceId::from_bytes([2; 32]).person(),
            device: DeviceId::from_bytes([2; 32]),
            log: LogId(3),
        };
        Transfer::Download(OfferId { name, seq })
    }

    fn bytes_a_second(number: u64) -> Option<NonZeroU64> {
        NonZeroU64::new(number)
    }

    /// The bytes that pass in a second if each of these transfers always has more.
    fn passed_in_a_second(limits: &BandwidthLimits, transfers: &[Transfer]) -> Vec<u64> {
        let mut lanes = Lanes::default();
        let mut passed = vec![0; transfers.len()];
        // The time at which each transfer asks for its next piece.
        let mut next = vec![NOW; transfers.len()];
        while let Some(index) = (0..next.len()).min_by_key(|index| next[*index])
            && next[index] < NOW + Duration::from_secs(1)
        {
            let at = lanes.reserve(next[index], transfers[index], PIECE, limits);
            next[index] = at.max(next[index] + Duration::from_micros(1));
            passed[index] += PIECE;
        }
        passed
    }

    #[test]
    fn all_downloads_share_one_limit_fairly() {
        let limits = BandwidthLimits {
            download: bytes_a_second(100_000),
            ..BandwidthLimits::default()
        };
        let passed = passed_in_a_second(&limits, &[download(1), download(2)]);
        let all: u64 = passed.iter().sum();
        // What was saved up before comes on top.
        assert!((100_000..=130_000).contains(&all), "{passed:?}");
        assert!(passed[0].abs_diff(passed[1]) <= 2 * PIECE, "{passed:?}");
    }

    #[test]
    fn each_transfer_has_its_own_limit() {
        let limits = BandwidthLimits {
            each: bytes_a_second(10_000),
            ..BandwidthLimits::default()
        };
        for passed in passed_in_a_second(&limits, &[download(1), download(2)]) {
            assert!((10_000..=14_000).contains(&passed), "{passed}");
        }
    }

    #[test]
    fn uploads_do_not_use_the_limit_of_downloads() {
        let limits = BandwidthLimits {
            download: bytes_a_second(1),
            ..BandwidthLimits::default()
        };
        let Transfer::Download(offer) = download(1) else {
            unreachable!("made as a download")
        };
        let mut lanes = Lanes::default();
        let upload = Transfer::Upload(SessionId(1), offer);
        for _ in 0..3 {
            assert_eq!(lanes.reserve(NOW, upload, PIECE, &limits), NOW);
        }
    }

    #[test]
    fn finished_transfers_are_forgotten() {
        let limits = BandwidthLimits {
            each: bytes_a_second(1_000_000),
            ..BandwidthLimits::default()
        };
        let mut lanes = Lanes::default();
        for seq in 0..3 * TRANSFERS_KEPT as u64 {
            let now = NOW + Duration::from_secs(seq);
            lanes.reserve(now, download(seq), PIECE, &limits);
        }
        assert!(lanes.each.len() <= TRANSFERS_KEPT);
    }

    #[tokio::test]
    async fn limits_that_do_not_apply_now_delay_nothing() {
        for applies in [false, true] {
            let limits = BandwidthLimits {
                download: bytes_a_second(1),
                applies: Some(Arc::new(move || applies)),
                ..BandwidthLimits::default()
            };
            let throttle = Throttle::new(limits, Clock::start());
            // What was saved up lets the first bytes pass.
            throttle.pass(download(1), 1 << 30).await;
            let is_delayed = tokio::select! {
                biased;
                () = throttle.pass(download(1), 1) => false,
                () = std::future::ready(()) => true,
            };
            assert_eq!(is_delayed, applies);
        }
    }
}
