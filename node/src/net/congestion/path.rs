//! Measures the capacity of a path: its rate, times its round trip without a queue.
//!
//! The two cannot be measured at the same time. The rate shows while there is a queue, and the
//! round trip while there is none. The rate is the best of some rounds. A round lasts from an
//! acknowledgement to that of a packet sent after it. The round trip is the shortest one. If it has
//! not been seen for a while, the path is drained: so little is sent for a moment that no packet of
//! this connection waits. So far this is BBR's model of a path (draft-ietf-ccwg-bbr).
//!
//! If the round trip is much longer after draining, there is a new route through the network, or
//! other senders keep the queue full. The longer value is accepted when it is found a second time.

use std::time::{Duration, Instant};

/// Rounds whose best rate counts.
const ROUNDS: usize = 5;

/// How long the shortest round trip counts before it must be seen again.
const BASE_LASTS: Duration = Duration::from_secs(10);

/// The queue that this connection may build: as much as the path carries in this time, as in CoDel
/// (RFC 8289), at most [`QUEUE_BYTES_MAX`]; or a quarter of the path's capacity if that is more.
/// With less, the path runs dry when acknowledgements or data arrive in bursts.
const QUEUE_TIME: Duration = Duration::from_millis(5);
const QUEUE_BYTES_MAX: u64 = 128 * 1024;

/// The smallest bound, in packets. Two packets are acknowledged together.
const PACKETS_MIN: u64 = 4;

/// The smallest bound until the rate is known: the usual first window (RFC 9002 section 7.2).
const PACKETS_FIRST: u64 = 10;

/// The path counts as full when its rate has not grown by a quarter in this many rounds.
const FULL_AFTER: u8 = 3;

/// The queue counts as that of other senders when, for this many rounds, packets waited longer than
/// this connection's own packets explain.
const CROWDED_AFTER: u8 = 8;

#[derive(Debug, Clone)]
pub(super) struct Path {
    /// Bytes of the largest packet.
    mtu: u64,
    /// Bytes per second, in the last rounds in which the sender had enough data.
    rates: [u64; ROUNDS],
    next: usize,
    base: Option<Base>,
    phase: Phase,
    round: Option<Round>,
    /// When the newest packet was sent that the present acknowledgements cover.
    newest: Option<Instant>,
    /// The bytes that may be in flight, once that is known.
    bound: Option<u64>,
}

/// The round trip without a queue.
#[derive(Debug, Clone, Copy)]
struct Base {
    rtt: Duration,
    seen: Instant,
    /// The last result, if it was so much longer that it may have included the queue of others.
    doubted: Option<Duration>,
}

impl Base {
    /// Draining has found this round trip. Returns the next phase.
    fn found(&mut self, now: Instant, rtt: Duration) -> Phase {
        // The queues of others change from one measurement to the next, a route seldom does.
        let is_same_again = self
            .doubted
            .is_some_and(|doubted| doubted.abs_diff(rtt) <= rtt / 16);
        if rtt <= self.rtt + 2 * queue_time(self.rtt) || is_same_again {
            *self = Self {
                rtt,
                seen: now,
                doubted: None,
            };
            Phase::Steady {
                crowded: 0,
                best: 0,
            }
        } else {
            *self = Self {
                rtt: self.rtt,
                seen: now,
                doubted: Some(rtt),
            };
            Phase::Crowded
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// The rate is not known yet: each round may have twice the rate of the one before.
    Rising { best: u64, rounds_since: u8 },
    /// The rate is known. `crowded` counts the rounds in which packets waited longer than this
    /// connection's own packets explain; `best` is the best rate meanwhile.
    Steady { crowded: u8, best: u64 },
    /// Other senders keep the queue full. A connection that held back now would get almost nothing,
    /// and the queue would stay as long.
    Crowded,
    /// The queue is being emptied, and has been empty since `dry`. `rtt` is the shortest round trip
    /// of packets sent since.
    Draining { dry: Option<Instant>, rtt: Duration },
}

#[derive(Debug, Clone, Copy)]
struct Round {
    since: Instant,
    /// When the packet was sent whose acknowledgement began the round.
    sent: Instant,
    bytes: u64,
    /// The sender had less data than it was allowed to send.
    is_limited: bool,
    /// More bytes were in flight at its beginning than are allowed.
    is_over: bool,
    shortest: Duration,
}

impl Path {
    pub(super) fn of_mtu(mtu: u16) -> Self {
        Self {
            mtu: mtu.into(),
            rates: [0; ROUNDS],
            next: 0,
            base: None,
            phase: Phase::Rising {
                best: 0,
                rounds_since: 0,
            },
            round: None,
            newest: None,
            bound: None,
        }
    }

    pub(super) fn on_mtu_update(&mut self, mtu: u16) {
        self.mtu = mtu.into();
        self.bound = self.reckon();
    }

    /// A packet was acknowledged: when it was sent, its bytes, and whether the sender lacks data.
    pub(super) fn acked(&mut self, sent: Instant, bytes: u64, is_limited: bool) {
        self.newest = self.newest.max(Some(sent));
        if let Some(round) = &mut self.round {
            round.bytes += bytes;
            round.is_limited |= is_limited;
        }
    }

    /// The end of the packets of one acknowledgement. `in_flight` bytes are not acknowledged yet.
    pub(super) fn acks_end(&mut self, now: Instant, in_flight: u64) {
        let Some(sent) = self.newest.take() else {
            return;
        };
        self.see_round_trip(now, sent, in_flight);
        if let Some(round) = self.end_of_round(now, sent, in_flight) {
            self.see_rate(now, sent, &round);
            self.see_crowd(&round);
        }
        self.bound = self.reckon();
    }

    /// The bytes that may be in flight.
    pub(super) fn bound(&self) -> u64 {
        self.bound.unwrap_or(u64::MAX)
    }

    fn see_round_trip(&mut self, now: Instant, sent: Instant, in_flight: u64) {
        let rtt = now.saturating_duration_since(sent);
        if let Some(round) = &mut self.round {
            round.shortest = rtt.min(round.shortest);
        }
        let base = self.base.get_or_insert(Base {
            rtt,
            seen: now,
            doubted: None,
        });
        if rtt <= base.rtt {
            *base = Base {
                rtt,
                seen: now,
                doubted: None,
            };
        }
        match &mut self.phase {
            Phase::Draining {
                dry: dry @ None, ..
            } => {
                if in_flight <= self.bound.unwrap_or(0) {
                    *dry = Some(now);
                }
            }
            Phase::Draining {
                dry: Some(dry),
                rtt: shortest,
            } if sent >= *dry => {
                *shortest = rtt.min(*shortest);
                // Packets of one whole round trip have been seen.
                if sent >= *dry + *shortest {
                    self.phase = base.found(now, *shortest);
                }
            }
            Phase::Draining { .. } => {}
            Phase::Rising { .. } | Phase::Steady { .. } | Phase::Crowded => {
                if now.saturating_duration_since(base.seen) >= BASE_LASTS {
                    self.phase = Phase::Draining {
                        dry: None,
                        rtt: Duration::MAX,
                    };
                }
            }
        }
    }

    /// The round that ends with the acknowledgement of this packet, if one does.
    fn end_of_round(&mut self, now: Instant, sent: Instant, in_flight: u64) -> Option<Round> {
        let is_draining = matches!(self.phase, Phase::Draining { .. });
        let is_over = in_flight > self.bound();
        let next = Round {
            since: now,
            sent,
            bytes: 0,
            is_limited: is_draining,
            is_over,
            shortest: Duration::MAX,
        };
        let round = self.round.get_or_insert(next);
        round.is_limited |= is_draining;
        (sent >= round.since).then(|| std::mem::replace(round, next))
    }

    fn see_rate(&mut self, now: Instant, sent: Instant, round: &Round) {
        // Acknowledgements may arrive in a burst. But packets that were sent over some time cannot
        // have arrived in less.
        let took = now
            .saturating_duration_since(round.since)
            .max(sent.saturating_duration_since(round.sent));
        let nanos = took.as_nanos().max(1);
        let rate =
            u64::try_from(u128::from(round.bytes) * 1_000_000_000 / nanos).unwrap_or(u64::MAX);
        // A round in which the sender lacked data gives only a lower bound of the rate.
        if round.is_limited && rate <= self.rate() {
            return;
        }
        self.rates[self.next] = rate;
        self.next = (self.next + 1) % ROUNDS;
        if let Phase::Rising { best, rounds_since } = &mut self.phase {
            if rate >= best.saturating_add(*best / 4) {
                (*best, *rounds_since) = (rate, 0);
            } else if !round.is_limited {
                *rounds_since += 1;
                if *rounds_since >= FULL_AFTER {
                    self.phase = Phase::Steady {
                        crowded: 0,
                        best: 0,
                    };
                }
            }
        }
    }

    fn see_crowd(&mut self, round: &Round) {
        let (rate, bound_min) = (self.rate(), self.bound_min());
        let (Phase::Steady { crowded, best }, Some(base)) = (&mut self.phase, self.base) else {
            return;
        };
        *best = rate.max(*best);
        // Packets from when more was allowed are still in flight.
        if round.is_over {
            return;
        }
        let few = Duration::from_micros(bound_min.saturating_mul(1_000_000) / (*best).max(1));
        let ours = queue_time(base.rtt).max(few);
        *crowded = if round.shortest > base.rtt + 2 * ours {
            *crowded + 1
        } else {
            0
        };
        if *crowded >= CROWDED_AFTER {
            self.phase = Phase::Crowded;
        }
    }

    fn rate(&self) -> u64 {
        self.rates.into_iter().max().unwrap_or(0)
    }

    fn bound_min(&self) -> u64 {
        PACKETS_MIN * self.mtu
    }

    fn reckon(&self) -> Option<u64> {
        let (base, rate) = (self.base?, self.rate());
        if rate == 0 {
            return None;
        }
        let holds = in_time(rate, base.rtt);
        let queue = in_time(rate, QUEUE_TIME)
            .min(QUEUE_BYTES_MAX)
            .max(holds / 4);
        let bound = match self.phase {
            Phase::Crowded => return None,
            Phase::Rising { .. } => holds
                .saturating_mul(2)
                .saturating_add(queue)
                .max(PACKETS_FIRST * self.mtu),
            Phase::Steady { .. } => holds.saturating_add(queue),
            // Half of the capacity in the worst round, since the path may have become slower.
            Phase::Draining { .. } => {
                in_time(self.rates.into_iter().min().unwrap_or(0), base.rtt) / 2
            }
        };
        Some(bound.max(self.bound_min()))
    }
}

/// The longest wait that this connection's own packets explain, except where a few packets take
/// longer.
fn queue_time(base: Duration) -> Duration {
    (base / 4).max(QUEUE_TIME)
}

/// The bytes that the path carries in this time.
fn in_time(bytes_per_s: u64, time: Duration) -> u64 {
    u64::try_from(u128::from(bytes_per_s) * time.as_micros() / 1_000_000).unwrap_or(u64::MAX)
}
