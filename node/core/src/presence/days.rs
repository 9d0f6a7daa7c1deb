//! Two ends of one session over simulated days: what they send, and when each learns of a death.

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob_protocol::frame::PING_LIGHT;

use super::{Input, MISS, Output, Presence, QUIET, SLEEP_AFTER, SLEEP_PING_EVERY};
use crate::{Now, Rng, SessionId};

const S: SessionId = SessionId(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const ONE_WAY: Duration = Duration::from_millis(1);

/// What reaches an end.
#[derive(Debug, Clone, Copy)]
enum Arrival {
    Ping(u64),
    Pong(u64),
    /// QUIC acknowledges a light ping or a message.
    Ack,
    Message,
}

#[derive(Debug)]
struct End {
    presence: Presence,
    is_alive: bool,
    /// As the engine does it, an acknowledgement is looked up when the time for it is over.
    is_acked: bool,
    suspect_at: Option<Duration>,
    lost_at: Option<Duration>,
}

/// The two ends, and the packets between them.
struct Couple {
    now: Duration,
    ends: [End; 2],
    in_flight: BTreeMap<(Duration, u64), (usize, Arrival)>,
    /// Whether the path carries packets.
    is_open: bool,
    /// One round trip in this many fails, with all that QUIC sends again. 0: none fails.
    one_fails_of: u64,
    rng: Rng,
    packets: u64,
    pings: u64,
    number: u64,
}

impl Couple {
    /// Two ends that sleep, or not.
    fn new(seed: u64, may_sleep: [bool; 2]) -> Self {
        let end = |first, may_sleep| {
            let mut presence = Presence::default();
            let up = Input::Up {
                session: S,
                first,
                may_sleep,
            };
            presence.handle(at(Duration::ZERO), up);
            End {
                presence,
                is_alive: true,
                is_acked: false,
                suspect_at: None,
                lost_at: None,
            }
        };
        let mut couple = Self {
            now: Duration::ZERO,
            ends: [end(true, may_sleep[0]), end(false, may_sleep[1])],
            in_flight: BTreeMap::new(),
            is_open: true,
            one_fails_of: 0,
            rng: Rng::new(seed),
            packets: 0,
            pings: 0,
            number: 0,
        };
        couple.carry_out();
        couple
    }

    fn is_asleep(&self) -> [bool; 2] {
        [0, 1].map(|end| self.ends[end].presence.is_asleep(S))
    }

    fn tell(&mut self, end: usize, input: Input) {
        self.ends[end].presence.handle(at(self.now), input);
        self.carry_out();
    }

    /// One end writes to the other.
    fn say(&mut self, from: usize) {
        self.send(from, Arrival::Message);
        self.tell(from, Input::Sent(S));
    }

    fn send(&mut self, from: usize, what: Arrival) {
        let fails = self.one_fails_of > 0 && self.rng.below(self.one_fails_of) == 0;
        self.packets += 1;
        if self.is_open && !fails {
            self.number += 1;
            let key = (self.now + ONE_WAY, self.number);
            self.in_flight.insert(key, (1 - from, what));
        }
    }

    fn carry_out(&mut self) {
        for end in [0, 1] {
            while let Some(output) = self.ends[end].presence.poll_output() {
                match output {
                    Output::Ping(_, token) => {
                        self.ends[end].is_acked = false;
                        self.pings += 1;
                        self.send(end, Arrival::Ping(token));
                    }
                    Output::Expect(_) => self.ends[end].is_acked = false,
                    Output::Suspect(_) => self.ends[end].suspect_at = Some(self.now),
                    Output::Recovered(_) => self.ends[end].suspect_at = None,
                    Output::Lost(_) => self.ends[end].lost_at = Some(self.now),
                    Output::Rtt(..) | Output::Confirmed(_) | Output::Overslept(_) => {}
                }
            }
        }
    }

    fn arrive(&mut self, to: usize, what: Arrival) {
        if !self.ends[to].is_alive {
            return;
        }
        match what {
            Arrival::Ping(token) => {
                let answer = if token == PING_LIGHT {
                    Arrival::Ack
                } else {
                    Arrival::Pong(token)
                };
                self.send(to, answer);
                self.tell(to, Input::Heard(S));
            }
            Arrival::Pong(token) => self.tell(to, Input::Pong(S, token)),
            Arrival::Ack => self.ends[to].is_acked = true,
            Arrival::Message => {
                self.send(to, Arrival::Ack);
                self.tell(to, Input::Heard(S));
                self.tell(to, Input::Active(S));
            }
        }
    }

    fn run(&mut self, until: Duration) {
        loop {
            let packet = self.in_flight.keys().next().map(|(at, _)| *at);
            let timers = self.ends.iter().filter(|end| end.is_alive);
            let timer = timers.filter_map(|end| end.presence.poll_timeout()).min();
            let Some(next) = packet.into_iter().chain(timer).min() else {
                break;
            };
            if next > until {
                break;
            }
            self.now = self.now.max(next);
            if packet == Some(next) {
                let (_, (to, what)) = self.in_flight.pop_first().expect("there is one");
                self.arrive(to, what);
                continue;
            }
            for end in [0, 1] {
                let due = self.ends[end].presence.poll_timeout();
                if self.ends[end].is_alive && due.is_some_and(|at| at <= self.now) {
                    if std::mem::take(&mut self.ends[end].is_acked) {
                        self.tell(end, Input::Acked(S));
                    }
                    self.tell(end, Input::Timeout);
                }
            }
        }
        self.now = until;
    }

    /// Both ends sleep.
    fn asleep(seed: u64) -> Self {
        let mut couple = Self::new(seed, [true; 2]);
        couple.run(SLEEP_AFTER + 3 * QUIET);
        assert_eq!(couple.is_asleep(), [true; 2]);
        couple
    }

    fn nobody_is_lost(&self) -> bool {
        self.ends.iter().all(|end| end.lost_at.is_none())
    }
}

fn at(mono: Duration) -> Now {
    Now { mono, wall_ms: 0 }
}

#[test]
fn an_idle_day_costs_one_round_in_280_seconds() {
    let mut couple = Couple::asleep(1);
    let before = (couple.packets, couple.pings);
    couple.run(couple.now + DAY);
    let rounds = DAY.as_secs() / SLEEP_PING_EVERY.as_secs();
    let pings = couple.pings - before.1;
    assert!((rounds..=rounds + 1).contains(&pings), "{pings}");
    assert_eq!(couple.packets - before.0, 2 * pings, "each is acknowledged");
    assert!(couple.nobody_is_lost());
    assert_eq!(couple.is_asleep(), [true; 2]);
}

#[test]
fn a_death_at_any_moment_of_a_sleep_is_noticed_within_five_minutes() {
    for seed in 0..300_u64 {
        let mut couple = Couple::asleep(seed);
        let (dead, after) = (
            usize::from(seed.is_multiple_of(2)),
            couple.rng.below(1_000_000),
        );
        couple.run(couple.now + Duration::from_millis(after));
        couple.ends[dead].is_alive = false;
        let died_at = couple.now;
        couple.run(died_at + DAY);
        let lost_at = couple.ends[1 - dead].lost_at.expect("it is noticed");
        assert!(lost_at - died_at < Duration::from_secs(300), "seed {seed}");
    }
}

#[test]
fn a_message_to_a_dead_sleeper_finds_the_death_within_five_seconds() {
    for seed in 0..100_u64 {
        let mut couple = Couple::asleep(seed);
        let (dead, after) = (
            usize::from(seed.is_multiple_of(2)),
            couple.rng.below(100_000),
        );
        couple.ends[dead].is_alive = false;
        couple.run(couple.now + Duration::from_millis(after));
        let said_at = couple.now;
        couple.say(1 - dead);
        couple.run(said_at + MISS);
        let other = &couple.ends[1 - dead];
        assert!(other.suspect_at.is_some(), "seed {seed}");
        couple.run(said_at + 5 * MISS);
        assert!(couple.ends[1 - dead].lost_at.is_some(), "seed {seed}");
    }
}

#[test]
fn a_message_wakes_both_ends_for_a_minute_and_a_death_then_shows_within_15_seconds() {
    for seed in 0..100_u64 {
        let mut couple = Couple::asleep(seed);
        let after = couple.rng.below(600_000);
        couple.run(couple.now + Duration::from_millis(after));
        let (from, dead) = (
            usize::from(seed.is_multiple_of(2)),
            usize::from(seed % 4 < 2),
        );
        couple.say(from);
        let awake = couple.rng.below(55_000) + 3;
        couple.run(couple.now + Duration::from_millis(awake));
        assert_eq!(couple.is_asleep(), [false; 2], "seed {seed}");
        couple.ends[dead].is_alive = false;
        let died_at = couple.now;
        couple.run(died_at + DAY);
        let lost_at = couple.ends[1 - dead].lost_at.expect("it is noticed");
        assert!(lost_at - died_at <= Duration::from_secs(15), "seed {seed}");
    }
}

#[test]
fn an_end_that_may_not_sleep_and_one_that_sleeps_get_along_for_days() {
    for may_sleep in [[true, false], [false, true], [false, false]] {
        let mut couple = Couple::new(1, may_sleep);
        couple.run(2 * DAY);
        assert!(couple.nobody_is_lost());
        assert_eq!(couple.is_asleep(), may_sleep);
    }
}

#[test]
fn days_of_lost_packets_storms_and_short_gaps_lose_no_session() {
    for seed in 0..20_u64 {
        let mut couple = Couple::new(seed, [true; 2]);
        // A packet counts as lost if all that QUIC sent again within a second was lost, too.
        couple.one_fails_of = 10_000;
        while couple.now < 2 * DAY {
            let pause = couple.rng.below(900_000);
            couple.run(couple.now + Duration::from_millis(pause));
            match couple.rng.below(3) {
                0 => {
                    // Both talk at once, hundreds of times.
                    for n in 0..300 {
                        couple.say(n % 2);
                        couple.run(couple.now + Duration::from_millis(50));
                    }
                }
                1 => {
                    couple.is_open = false;
                    couple.run(couple.now + MISS);
                    couple.is_open = true;
                }
                _ => couple.say(usize::from(pause.is_multiple_of(2))),
            }
            assert!(couple.nobody_is_lost(), "seed {seed} at {:?}", couple.now);
        }
    }
}

#[test]
fn a_partition_of_five_minutes_ends_a_sleeping_session_at_both_ends() {
    for seed in 0..100_u64 {
        let mut couple = Couple::asleep(seed);
        let after = couple.rng.below(600_000);
        couple.run(couple.now + Duration::from_millis(after));
        couple.is_open = false;
        couple.run(couple.now + Duration::from_secs(300));
        assert!(couple.ends.iter().all(|end| end.lost_at.is_some()));
        assert_eq!(couple.in_flight.len(), 0);
    }
}
