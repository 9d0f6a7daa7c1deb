//! What a path holds: the rate at which it carries, times the time it takes when nothing waits.
//!
//! Both are seen only one at a time: the rate while there is a queue, the time while there is none.
//! The rate is the best of some rounds, a round being from an acknowledgement to that of a packet
//! sent after it. The time is the shortest round trip; once in a while, if none as short has been
//! seen again, so little is sent for a moment that what was sent here waits nowhere. So far that is
//! how BBR sees a path (draft-ietf-ccwg-bbr). A round trip that is much longer then is another way
//! through the network, or a queue that others keep full: it is believed when it is found a second
//! time.

use std::time::{Duration, Instant};

/// Rounds whose best rate counts.
const ROUNDS: usize = 5;

/// How long the shortest round trip is believed in.
const BASE_LASTS: Duration = Duration::from_secs(10);

/// What may wait in the queue: as much as goes in this time, as in CoDel (RFC 8289), at most so
/// many bytes; or a quarter of what the path holds if that is more. Less, and the path runs dry
/// when acknowledgements or the sender come in bursts.
const QUEUE_TIME: Duration = Duration::from_millis(5);
const QUEUE_BYTES_MAX: u64 = 128 * 1024;

/// The least that may be on the way: so many packets, two of which are acknowledged together.
const PACKETS_MIN: u64 = 4;

/// The same while the rate is still to be found: the usual first window (RFC 9002 section 7.2).
const PACKETS_FIRST: u64 = 10;

/// The path is held to be full when its rate has not grown by a quarter in so many rounds.
const FULL_AFTER: u8 = 3;

/// The queue is held to be that of others when, for so many rounds, packets waited in it longer
/// than can be by what was sent here.
const CROWDED_AFTER: u8 = 8;

#[derive(Debug, Clone)]
pub(super) struct Path {
    /// Bytes of the largest packet.
    mtu: u64,
    /// Bytes a second, of the last rounds in which the sender did not want for data.
    rates: [u64; ROUNDS],
    next: usize,
    base: Option<Base>,
    phase: Phase,
    round: Option<Round>,
    /// When the newest packet was sent that the present acknowledgements are for.
    newest: Option<Instant>,
    /// What may be on the way, if that can be said yet.
    bound: Option<u64>,
}

/// The round trip when nothing waits.
#[derive(Debug, Clone, Copy)]
struct Base {
    rtt: Duration,
    seen: Instant,
    /// What was found last, if it was so much longer that it may have been others' queue.
    doubted: Option<Duration>,
}

impl Base {
    /// The shortest round trip without a queue of our own is now this. Says how to go on.
    fn found(&mut self, now: Instant, rtt: Duration) -> Phase {
        // Others' queues change, the way through a network seldom.
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
    /// How much the path carries is still to be found: each round may bring twice as much as the
    /// last.
    Rising { best: u64, rounds_since: u8 },
    /// For so many rounds, packets have waited longer than can be by what is sent here; and the
    /// best rate meanwhile.
    Steady { crowded: u8, best: u64 },
    /// Others keep the queue full. Who holds back among them gets next to nothing, and shortens
    /// nobody's wait.
    Crowded,
    /// The queue is to run dry, or is since `dry`; and the shortest round trip of packets sent
    /// since.
    Draining { dry: Option<Instant>, rtt: Duration },
}

#[derive(Debug, Clone, Copy)]
struct Round {
    since: Instant,
    /// When the packet was sent whose acknowledgement began it.
    sent: Instant,
    bytes: u64,
    /// Less was sent than might have been.
    is_limited: bool,
    /// More was on the way when it began than may be.
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

    /// A packet arrived there; what it carried, when it was sent, and whether the sender wants for
    /// data.
    pub(super) fn acked(&mut self, sent: Instant, bytes: u64, is_limited: bool) {
        self.newest = self.newest.max(Some(sent));
        if let Some(round) = &mut self.round {
            round.bytes += bytes;
            round.is_limited |= is_limited;
        }
    }

    /// All that one acknowledgement acknowledges has been told of; so much is on the way still.
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

    /// How many bytes may be on the way.
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

    /// The round that ends with this packet's acknowledgement, if one does.
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
        // What was sent over some time did not arrive in less, though acknowledgements may come all
        // at once.
        let took = now
            .saturating_duration_since(round.since)
            .max(sent.saturating_duration_since(round.sent));
        let nanos = took.as_nanos().max(1);
        let rate =
            u64::try_from(u128::from(round.bytes) * 1_000_000_000 / nanos).unwrap_or(u64::MAX);
        // A round in which too little was sent shows only that the path carries at least this.
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
        // What was sent when more was allowed is still on the way.
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
            // Half of what it held in the worst round: it may have become slower.
            Phase::Draining { .. } => {
                in_time(self.rates.into_iter().min().unwrap_or(0), base.rtt) / 2
            }
        };
        Some(bound.max(self.bound_min()))
    }
}

/// How long packets may wait at most by what is sent here, except where that is a few packets at
/// least.
fn queue_time(base: Duration) -> Duration {
    (base / 4).max(QUEUE_TIME)
}

/// Bytes that go in this time.
fn in_time(bytes_per_s: u64, time: Duration) -> u64 {
    u64::try_from(u128::from(bytes_per_s) * time.as_micros() / 1_000_000).unwrap_or(u64::MAX)
}
