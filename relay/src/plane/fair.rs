//! Fairness under overload: a cap on what the relay forwards for one sender, so that the largest
//! senders lose frames and small ones do not.
//!
//! All senders share the socket's one receive buffer. When it overflows, the kernel drops any
//! further datagram, so a peer that floods the relay harms all others. Dropping a frame here costs
//! a fraction of forwarding it. So an overloaded relay caps what it forwards for each sender. The
//! cap decreases until less than half of the receive buffer is full, and increases again until it
//! drops nothing. A sender below the cap loses nothing.
//!
//! The buffer can also fill for other reasons: garbage, or a machine that is busy otherwise. A cap
//! does not help then. So the cap stays above half of an equal share, and does not decrease while
//! most arriving datagrams are not frames.

use super::bucket::Rate;
use crate::route::Meter;

/// How often the cap changes, in nanoseconds. Within this time the other half of the receive buffer
/// does not fill.
const WINDOW: u64 = 5_000_000;

/// The cap decreases by one part in this many per window.
const DOWN: u64 = 8;

/// The cap increases by one part in this many per window: more slowly, so that it stays near the
/// right value.
const UP: u64 = 32;

/// Smallest cap, in bytes per second. It suffices for a conversation.
const CAP_MIN: u64 = 256 * 1024;

/// The largest observed throughput decays by one part in this many per window: by half in ten
/// seconds.
const FADE: u64 = 2_900;

/// A capped sender may send this fraction of a second's cap at once, so that small senders with
/// bursts lose nothing.
const BURST_PER_CAP: u64 = 10;

/// Computes the cap, window by window.
#[derive(Debug)]
pub(super) struct Fairness {
    /// The operator's limit for each sender.
    allowed: Option<Rate>,
    /// The cap in bytes per second. `None` without overload.
    cap: Option<u64>,
    /// The cap as the rate of a bucket.
    capped: Option<Rate>,
    /// The number of the window, from 1. A new meter belongs to none.
    window: u64,
    began: u64,
    crowded: bool,
    /// The largest recent throughput, in bytes per second.
    most: u64,
    /// Bytes forwarded in this window.
    passed: u64,
    senders: u64,
    cut: bool,
    /// Datagrams in this window, and the channel frames among them.
    datagrams: u64,
    frames: u64,
}

impl Fairness {
    /// Starts without a cap. `allowed` is the operator's limit for each sender.
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

    /// Changes the operator's limit for each sender.
    pub(super) fn allow(&mut self, allowed: Option<Rate>) {
        self.allowed = allowed;
    }

    /// Counts arrived datagrams of any kind.
    pub(super) fn came(&mut self, datagrams: u64) {
        self.datagrams += datagrams;
    }

    /// Notes the end of a receive call. `crowded`: whether it left more than half of the buffer
    /// full. `now` is in nanoseconds.
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
            // A single sender does not compete, so it needs no cap.
            None if !crowded || self.senders < 2 => None,
            None => Some(per_second.max(least)),
            Some(cap) if crowded => Some((cap - cap / DOWN).max(least)),
            Some(cap) if self.cut => Some(cap + cap / UP),
            Some(_) => None,
        }
    }

    /// Returns how many of a sender's frames, of `cost` bytes each, may be forwarded now.
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

    /// The current limit of one sender, if there is one.
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

    /// A relay that can forward `ceiling` bytes in a window, and its peers.
    struct Busy {
        fairness: Fairness,
        ceiling: u64,
        peers: Vec<Meter>,
        now: u64,
    }

    impl Busy {
        /// Runs one window in which the peers send these bytes. Returns the forwarded bytes of
        /// each.
        fn window(&mut self, sent: &[u64]) -> Vec<u64> {
            let mut passed = vec![0; sent.len()];
            // In a hundred steps. A relay can examine at most twice what it can forward.
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
    fn a_flood_is_limited_and_the_other_peers_lose_nothing() {
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
    fn peers_that_send_the_same_get_the_same() {
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
    fn the_cap_ends_with_the_flood() {
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
    fn garbage_that_fills_the_buffer_limits_no_peer() {
        let mut relay = busy(0, None);
        let sent = [100, 1, 1, 1].map(|n| n * 100 * FRAME);
        for _ in 0..100 {
            relay.fairness.came(1_000_000);
            assert_eq!(relay.window(&sent), sent);
        }
    }

    #[test]
    fn on_a_busy_machine_each_peer_keeps_half_of_an_equal_share() {
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
    fn the_operator_can_change_the_limit() {
        let mut relay = busy(1_000 * MIB, None);
        let sent = [100 * FRAME * 100];
        assert_eq!(relay.window(&sent), sent);
        let second = 1_000_000_000 / WINDOW;
        relay.fairness.allow(Some(Rate::new(FRAME * second, FRAME)));
        assert!(relay.window(&sent)[0] <= 2 * FRAME);
        relay.fairness.allow(None);
        assert_eq!(relay.window(&sent), sent);
    }

    #[test]
    fn a_single_peer_is_never_limited() {
        let mut relay = busy(100 * MIB, None);
        for _ in 0..100 {
            assert_eq!(relay.window(&[1000 * 100 * FRAME]), [1000 * 100 * FRAME]);
        }
    }

    #[test]
    fn the_lower_of_the_operators_limit_and_the_cap_applies() {
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
