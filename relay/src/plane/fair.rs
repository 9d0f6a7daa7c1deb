//! Who is cut when the relay gets more than it can pass on: those who send most, to what is left
//! for them.
//!
//! All senders share the socket's one receive buffer. When it overflows, the kernel drops whatever
//! comes next, so that a peer that floods the relay takes from everybody in proportion. Dropping a
//! frame here costs a fraction of passing it on; so while the relay is overloaded, it caps what any
//! one peer may have passed on. The cap comes down until less than half of the receive buffer is
//! taken, and goes up again until nobody is cut: whoever sends less than the cap loses nothing.
//!
//! The buffer may also fill for another reason: garbage, or a machine that is busy with something
//! else. Capping would not help then, so the cap stays above half of an equal share, and does not
//! come down while most of what arrives is not frames.

use super::bucket::Rate;
use crate::route::Meter;

/// How often the cap changes, in nanoseconds: often enough for the other half of the receive buffer
/// not to fill meanwhile.
const WINDOW: u64 = 5_000_000;

/// By what part of itself the cap comes down from window to window.
const DOWN: u64 = 8;

/// By what part of itself it goes up: more slowly, so that it stays near what is right.
const UP: u64 = 32;

/// The cap never comes below this, in bytes a second: a conversation.
const CAP_MIN: u64 = 256 * 1024;

/// By what part of itself the most that was ever passed on fades from window to window: a half in
/// ten seconds.
const FADE: u64 = 2_900;

/// A capped sender may send a tenth of a second's worth at once, so that those who send little, but
/// in bursts, are not cut.
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
    /// The most bytes a second that were passed on lately.
    most: u64,
    /// Bytes that were passed on in this window.
    passed: u64,
    senders: u64,
    cut: bool,
    /// Datagrams in this window, and those among them that were frames of a channel.
    datagrams: u64,
    frames: u64,
}

impl Fairness {
    /// No cap yet; `allowed` is what the operator allows each sender.
    pub(super) fn new(allowed: Option<Rate>) -> Self {
        let (crowded, cut) = (false, false);
        let (began, most, passed, senders, datagrams, frames) = (0, 0, 0, 0, 0, 0);
        Self {
            allowed,
            cap: None,
            capped: None,
            window: 1,
            began,
            crowded,
            most,
            passed,
            senders,
            cut,
            datagrams,
            frames,
        }
    }

    /// So many datagrams have come, of whatever kind.
    pub(super) fn came(&mut self, datagrams: u64) {
        self.datagrams += datagrams;
    }

    /// A receive has ended; `crowded` if it left more than half of the buffer taken. `now` is in
    /// nanoseconds.
    pub(super) fn received(&mut self, now: u64, crowded: bool) {
        self.crowded |= crowded;
        let took = now.saturating_sub(self.began);
        if took >= WINDOW {
            self.end_window(took);
            self.began = now;
        }
    }

    fn end_window(&mut self, took: u64) {
        let per_second = u128::from(self.passed) * 1_000_000_000 / u128::from(took);
        let per_second = u64::try_from(per_second).unwrap_or(u64::MAX);
        self.most = per_second.max(self.most - self.most / FADE);
        self.cap = self.next_cap(per_second);
        self.capped = self.cap.map(|cap| Rate::new(cap, cap / BURST_PER_CAP));
        self.window += 1;
        (self.crowded, self.cut) = (false, false);
        (self.passed, self.senders, self.datagrams, self.frames) = (0, 0, 0, 0);
    }

    fn next_cap(&self, per_second: u64) -> Option<u64> {
        let crowded = self.crowded && self.frames >= self.datagrams / 2;
        let least = CAP_MIN.max(self.most / (2 * self.senders.max(1)));
        match self.cap {
            // One alone has nobody to share with.
            None if !crowded || self.senders < 2 => None,
            None => Some(per_second.max(least)),
            Some(cap) if crowded => Some((cap - cap / DOWN).max(least)),
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
        self.frames += frames;
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
            // A hundredth of it at a time. A relay that cuts can look at some more than it can pass
            // on, and no more.
            let (all, room) = (sent.iter().sum::<u64>(), 2 * self.ceiling);
            for _ in 0..100 {
                for ((passed, peer), sent) in passed.iter_mut().zip(&self.peers).zip(sent) {
                    let frames = if all > room && room > 0 {
                        sent * room / all
                    } else {
                        *sent
                    } / FRAME
                        / 100;
                    self.fairness.came(frames);
                    *passed += FRAME * self.fairness.grant(self.now, peer, FRAME, frames);
                }
                self.now += WINDOW / 100;
            }
            self.fairness
                .received(self.now, passed.iter().sum::<u64>() > self.ceiling);
            passed
        }
    }

    fn busy(ceiling: u64, allowed: Option<Rate>) -> Busy {
        let peers = (0..4).map(|_| Meter::default()).collect();
        Busy {
            fairness: Fairness::new(allowed),
            ceiling,
            peers,
            now: 0,
        }
    }

    #[test]
    fn a_flood_is_cut_to_what_the_others_leave_and_they_lose_nothing() {
        let mut relay = busy(100 * MIB, None);
        let sent = [160, 5, 10, 20].map(|n| n * 1000 * FRAME);
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
        assert!(
            passed
                .iter()
                .all(|passed| (18 * MIB..32 * MIB).contains(passed)),
            "{passed:?}"
        );
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
    fn garbage_that_fills_the_buffer_cuts_nobody() {
        let mut relay = busy(0, None);
        let sent = [100, 1, 1, 1].map(|n| n * 100 * FRAME);
        for _ in 0..100 {
            relay.fairness.came(1_000_000);
            assert_eq!(relay.window(&sent), sent);
        }
    }

    #[test]
    fn a_machine_that_is_busy_with_something_else_leaves_half_of_an_equal_share() {
        let mut relay = busy(0, None);
        let sent = [400, 100, 100, 100].map(|n| n * 100 * FRAME);
        for _ in 0..100 {
            relay.window(&sent);
        }
        let passed = relay.window(&sent);
        let share = sent.iter().sum::<u64>() / 4;
        assert!(
            passed.iter().all(|&passed| passed > share / 3),
            "{passed:?}"
        );
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
