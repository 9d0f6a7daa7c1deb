//! Who is cut when the relay gets more than it can pass on: those who send most, to what is left for them.
//!
//! All senders share the socket's one receive buffer. When it overflows, the kernel drops whatever comes next, so that a peer that
//! floods the relay takes from everybody in proportion. Dropping a frame here costs a fraction of passing it on; so while the relay
//! is overloaded, it caps what any one peer may have passed on. The cap comes down until less than half of the receive buffer is
//! taken, and goes up again until nobody is cut: whoever sends less than the cap loses nothing.

use super::bucket::Rate;
use crate::route::Meter;

/// How often the cap changes, in nanoseconds: often enough for the other half of the receive buffer not to fill meanwhile.
const WINDOW: u64 = 5_000_000;

/// By what part of itself the cap comes down from window to window.
const DOWN: u64 = 8;

/// By what part of itself it goes up: more slowly, so that it stays near what is right.
const UP: u64 = 32;

/// The cap never comes below this, in bytes a second: a conversation.
const CAP_MIN: u64 = 64 * 1024;

/// A capped sender may send a tenth of a second's worth at once, so that those who send little, but in bursts, are not cut.
const BURST_PER_CAP: u64 = 10;

/// The judgement of one window after the other.
#[derive(Debug)]
pub(super) struct Fairness {
    /// What the operator allows each sender.
    allowed: Option<Rate>,
    /// Bytes a second; none while all is well.
    cap: Option<u64>,
    /// The same, as a bucket takes it.
    capped: Option<Rate>,
    /// Counts windows from 1, so that a fresh meter is of none.
    window: u64,
    began: u64,
    crowded: bool,
    /// Bytes that were passed on.
    passed: u64,
    senders: u64,
    cut: bool,
}

impl Fairness {
    /// No cap yet; `allowed` is what the operator allows each sender.
    pub(super) fn new(allowed: Option<Rate>) -> Self {
        let (cap, capped, window) = (None, None, 1);
        Self { allowed, cap, capped, window, began: 0, crowded: false, passed: 0, senders: 0, cut: false }
    }

    /// A receive has ended; `crowded` if it left more than half of the buffer taken. `now` is in nanoseconds.
    pub(super) fn received(&mut self, now: u64, crowded: bool) {
        self.crowded |= crowded;
        let took = now.saturating_sub(self.began);
        if took >= WINDOW {
            self.cap = self.next_cap(took);
            self.capped = self.cap.map(|cap| Rate::new(cap, cap / BURST_PER_CAP));
            let window = self.window + 1;
            (self.began, self.window, self.crowded) = (now, window, false);
            (self.passed, self.senders, self.cut) = (0, 0, false);
        }
    }

    fn next_cap(&self, took: u64) -> Option<u64> {
        match self.cap {
            // One alone has nobody to share with.
            None if !self.crowded || self.senders < 2 => None,
            None => {
                let per_second = u128::from(self.passed) * 1_000_000_000 / u128::from(took);
                Some(u64::try_from(per_second).unwrap_or(u64::MAX).max(CAP_MIN))
            }
            Some(cap) if self.crowded => Some((cap - cap / DOWN).max(CAP_MIN)),
            Some(cap) if self.cut => Some(cap + cap / UP),
            Some(_) => None,
        }
    }

    /// How many of a sender's frames, of `cost` bytes each, may be passed on now.
    pub(super) fn grant(&mut self, now: u64, sender: &Meter, cost: u64, frames: u64) -> u64 {
        let granted = match self.limit() {
            None => frames,
            Some(limit) => {
                let (granted, paid_until) = limit.grant(sender.paid_until(), now, cost, frames);
                sender.pay_until(paid_until);
                granted
            }
        };
        self.passed = self.passed.saturating_add(granted * cost);
        self.senders += u64::from(sender.is_first_in(self.window));
        self.cut |= granted < frames;
        granted
    }

    /// What one sender may have passed on at most, if that is limited now.
    fn limit(&self) -> Option<Rate> {
        match (self.allowed, self.capped) {
            (Some(allowed), Some(capped)) => Some(allowed.stricter(capped)),
            (allowed, capped) => allowed.or(capped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// The length of a frame, here.
    const FRAME: u64 = 1024;

    /// A relay that passes on so many bytes in a window, and peers that send so many each.
    struct Busy {
        fairness: Fairness,
        ceiling: u64,
        peers: Vec<Meter>,
        now: u64,
    }

    impl Busy {
        /// One window; says how many of each peer's bytes were passed on.
        fn window(&mut self, sent: &[u64]) -> Vec<u64> {
            let mut passed = vec![0; sent.len()];
            // A hundredth of it at a time.
            for _ in 0..100 {
                for ((passed, peer), sent) in passed.iter_mut().zip(&self.peers).zip(sent) {
                    *passed += FRAME * self.fairness.grant(self.now, peer, FRAME, sent / FRAME / 100);
                }
                self.now += WINDOW / 100;
            }
            self.fairness.received(self.now, passed.iter().sum::<u64>() > self.ceiling);
            passed
        }
    }

    fn busy(ceiling: u64, allowed: Option<Rate>) -> Busy {
        let peers = (0..4).map(|_| Meter::default()).collect();
        Busy { fairness: Fairness::new(allowed), ceiling, peers, now: 0 }
    }

    #[test]
    fn a_flood_is_cut_to_what_the_others_leave_and_they_lose_nothing() {
        let mut relay = busy(100 * MIB, None);
        let sent = [1000, 5, 10, 20].map(|n| n * 100 * FRAME * 10);
        for _ in 0..100 {
            relay.window(&sent);
        }
        for _ in 0..100 {
            let passed = relay.window(&sent);
            assert_eq!(passed[1..], sent[1..]);
            assert!((40 * MIB..90 * MIB).contains(&passed[0]), "{passed:?}");
        }
    }

    #[test]
    fn equals_share_equally() {
        let mut relay = busy(100 * MIB, None);
        let sent = [50 * MIB; 4];
        for _ in 0..100 {
            relay.window(&sent);
        }
        let passed = relay.window(&sent);
        assert!(passed.iter().all(|passed| (18 * MIB..32 * MIB).contains(passed)), "{passed:?}");
    }

    #[test]
    fn the_cap_goes_when_the_flood_does() {
        let mut relay = busy(100 * MIB, None);
        for _ in 0..100 {
            relay.window(&[1000 * MIB, MIB]);
        }
        assert!(relay.fairness.limit().is_some());
        for _ in 0..50 {
            relay.window(&[50 * MIB, MIB]);
        }
        assert!(relay.fairness.limit().is_none());
    }

    #[test]
    fn one_alone_is_never_cut() {
        let mut relay = busy(100 * MIB, None);
        for _ in 0..100 {
            assert_eq!(relay.window(&[1000 * 100 * FRAME]), [1000 * 100 * FRAME]);
        }
    }

    #[test]
    fn the_stricter_of_the_operators_limit_and_the_cap_holds() {
        let second = 1_000_000_000 / WINDOW;
        for (allowed, most) in [(MIB, 2 * MIB), (10_000 * MIB, 110 * MIB)] {
            let mut relay = busy(100 * MIB, Some(Rate::new(allowed * second, FRAME * 100)));
            for _ in 0..200 {
                relay.window(&[1000 * MIB, MIB]);
            }
            let passed = relay.window(&[1000 * MIB, MIB]);
            assert!(passed[0] <= most, "{passed:?} of {allowed}");
        }
    }
}
