//! A simulated link with a queue, and the senders that share it, in virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::path::Path;

const PACKET: u64 = 1200;

/// A link: what it carries, how long it takes there and back, and what its queue holds.
struct Link {
    bytes_per_s: u64,
    rtt: Duration,
    queue_bytes: u64,
    /// Acknowledgements arrive in groups, one group in this time, as they do over the air.
    bursts: Duration,
    free_at: Duration,
}

impl Link {
    fn new(mbit_per_s: u64, rtt_ms: u64, queue_bytes: u64) -> Self {
        let rtt = Duration::from_millis(rtt_ms);
        Self {
            bytes_per_s: mbit_per_s * 125_000,
            rtt,
            queue_bytes,
            bursts: Duration::from_nanos(1),
            free_at: Duration::ZERO,
        }
    }

    /// When the packet's acknowledgement is back, or nothing if the queue was full.
    fn carry(&mut self, now: Duration) -> Option<Duration> {
        let waits = self.free_at.saturating_sub(now);
        if waits.as_micros() * u128::from(self.bytes_per_s) / 1_000_000
            > u128::from(self.queue_bytes)
        {
            return None;
        }
        self.free_at =
            now + waits + Duration::from_nanos(PACKET * 1_000_000_000 / self.bytes_per_s);
        let at = (self.free_at + self.rtt).as_nanos();
        Some(Duration::from_nanos_u128(
            at.next_multiple_of(self.bursts.as_nanos()),
        ))
    }
}

/// A sender that fills its window: slow start, then one more packet per round, and half the window
/// after a loss.
struct Sender {
    path: Option<Path>,
    window: u64,
    threshold: u64,
    in_flight: u64,
    recovers_from: Duration,
    /// It has data until then, and from then on only this much a second.
    wants: fn(Duration) -> bool,
    got: u64,
}

impl Sender {
    fn new(is_bounded: bool) -> Self {
        Self {
            path: is_bounded.then(|| Path::of_mtu(1200)),
            window: 10 * PACKET,
            threshold: u64::MAX,
            in_flight: 0,
            recovers_from: Duration::ZERO,
            wants: |_| true,
            got: 0,
        }
    }

    fn while_it(mut self, wants: fn(Duration) -> bool) -> Self {
        self.wants = wants;
        self
    }

    fn may_send(&self) -> bool {
        let bound = self.path.as_ref().map_or(u64::MAX, Path::bound);
        self.in_flight + PACKET <= self.window.min(bound)
    }

    fn acked(&mut self, start: Instant, now: Duration, sent: Duration) {
        self.in_flight -= PACKET;
        self.got += PACKET;
        let bound = self.path.as_ref().map_or(u64::MAX, Path::bound);
        if self.window / 2 <= bound {
            self.window += if self.window < self.threshold {
                PACKET
            } else {
                PACKET * PACKET / self.window
            };
        }
        if let Some(path) = &mut self.path {
            path.acked(start + sent, PACKET, !(self.wants)(now));
            path.acks_end(start + now, self.in_flight);
        }
    }

    fn lost(&mut self, now: Duration, sent: Duration) {
        self.in_flight -= PACKET;
        if sent >= self.recovers_from {
            self.recovers_from = now;
            self.window = (self.window / 2).max(2 * PACKET);
            self.threshold = self.window;
        }
    }
}

/// When something happens, in what order, to whose packet, when it was sent, and whether it
/// arrives.
type Due = (Duration, u64, usize, Duration, bool);

/// The link and its senders as time passes.
struct Sim {
    start: Instant,
    now: Duration,
    link: Link,
    senders: Vec<Sender>,
    due: BinaryHeap<Reverse<Due>>,
    count: u64,
    queues: Vec<Duration>,
}

impl Sim {
    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant can be had from the clock alone; only what is added to it counts"
    )]
    fn new(link: Link, senders: impl IntoIterator<Item = Sender>) -> Self {
        Self {
            start: Instant::now(),
            now: Duration::ZERO,
            link,
            senders: senders.into_iter().collect(),
            due: BinaryHeap::new(),
            count: 0,
            queues: Vec::new(),
        }
    }

    /// Lets time pass; says what share of what the link could carry each sender got meanwhile.
    fn run(&mut self, seconds: u64) -> Vec<f64> {
        let (from, until) = (self.now, self.now + Duration::from_secs(seconds));
        let before: Vec<u64> = self.senders.iter().map(|sender| sender.got).collect();
        self.queues.clear();
        while self.now < until {
            self.send();
            self.step(from + Duration::from_secs(seconds));
        }
        let could = (self.link.bytes_per_s * seconds) as f64;
        self.senders
            .iter()
            .zip(before)
            .map(|(sender, before)| (sender.got - before) as f64 / could)
            .collect()
    }

    /// How long the queue was, all but a hundredth of the time.
    fn queue(&mut self) -> Duration {
        self.queues.sort_unstable();
        self.queues[self.queues.len() * 99 / 100]
    }

    fn send(&mut self) {
        let turn = usize::try_from(self.count).unwrap_or(0);
        let all = self.senders.len();
        for index in (0..all).map(|index| (index + turn) % all) {
            let sender = &mut self.senders[index];
            while (sender.wants)(self.now) && sender.may_send() {
                sender.in_flight += PACKET;
                self.count += 1;
                // Who loses a packet learns of it when those behind it have arrived.
                let (at, arrives) = match self.link.carry(self.now) {
                    Some(at) => (at, true),
                    None => (self.link.free_at + self.link.rtt, false),
                };
                self.due
                    .push(Reverse((at, self.count, index, self.now, arrives)));
            }
        }
        self.queues.push(self.link.free_at.saturating_sub(self.now));
    }

    /// On to the next thing that happens, and at least a little.
    fn step(&mut self, until: Duration) {
        let tick = self.now + Duration::from_millis(1);
        match self.due.peek() {
            Some(Reverse((at, ..))) if *at <= tick => {
                if let Some(Reverse((at, _, index, sent, arrives))) = self.due.pop() {
                    self.now = at;
                    let sender = &mut self.senders[index];
                    if arrives {
                        sender.acked(self.start, at, sent)
                    } else {
                        sender.lost(at, sent)
                    }
                }
            }
            _ => self.now = tick.min(until),
        }
    }
}

const ENDLESS: u64 = 100_000_000;

#[test]
fn a_link_is_used_whole_and_its_queue_stays_short() {
    for (mbit_per_s, rtt_ms) in [
        (1, 50),
        (20, 20),
        (100, 2),
        (100, 100),
        (1000, 1),
        (1000, 50),
    ] {
        let mut sim = Sim::new(Link::new(mbit_per_s, rtt_ms, ENDLESS), [Sender::new(true)]);
        sim.run(3);
        let share = sim.run(25)[0];
        // A quarter of the round trip, or 5 ms, or the least that is sent; and what comes of
        // counting in whole packets.
        let packets = Duration::from_millis(5 * 1200 / (mbit_per_s * 125));
        let allowed = Duration::from_millis((rtt_ms / 4).max(5)).max(packets)
            + packets
            + Duration::from_millis(1);
        assert!(
            share > 0.93,
            "{mbit_per_s} Mbit/s, {rtt_ms} ms: only {share:.2} used"
        );
        assert!(
            sim.queue() <= allowed,
            "{mbit_per_s} Mbit/s, {rtt_ms} ms: {:?} of queue",
            sim.queue()
        );
    }
}

#[test]
fn without_the_bound_the_queue_grows() {
    let mut sim = Sim::new(Link::new(20, 20, 1_000_000), [Sender::new(false)]);
    sim.run(10);
    assert!(
        sim.queue() > Duration::from_millis(300),
        "the test's link has no queue: {:?}",
        sim.queue()
    );
}

#[test]
fn a_short_queue_loses_packets_and_the_link_is_used_all_the_same() {
    let mut sim = Sim::new(Link::new(100, 20, 100_000), [Sender::new(true)]);
    sim.run(5);
    assert!(sim.run(20)[0] > 0.9);
}

#[test]
fn beside_one_who_fills_the_queue_it_is_not_starved() {
    let mut sim = Sim::new(
        Link::new(20, 20, 200_000),
        [Sender::new(true), Sender::new(false)],
    );
    sim.run(15);
    let shares = sim.run(60);
    assert!(shares[0] > 0.1, "{shares:?}");
    assert!(shares.iter().sum::<f64>() > 0.95, "{shares:?}");
}

#[test]
fn when_the_other_has_gone_the_queue_is_short_again() {
    let rival = Sender::new(false).while_it(|now| now < Duration::from_secs(20));
    let mut sim = Sim::new(Link::new(20, 20, 200_000), [Sender::new(true), rival]);
    sim.run(45);
    assert!(sim.run(30)[0] > 0.93);
    assert!(
        sim.queue() <= Duration::from_millis(10),
        "{:?} of queue",
        sim.queue()
    );
}

#[test]
fn acknowledgements_that_come_in_bursts_do_not_slow_it() {
    for bursts_ms in [2, 5, 10] {
        let mut link = Link::new(200, 4, ENDLESS);
        link.bursts = Duration::from_millis(bursts_ms);
        let mut sim = Sim::new(link, [Sender::new(true)]);
        sim.run(3);
        let share = sim.run(20)[0];
        assert!(
            share > 0.9,
            "bursts of {bursts_ms} ms: only {share:.2} used"
        );
    }
}

#[test]
fn two_of_a_kind_share() {
    let mut sim = Sim::new(
        Link::new(100, 20, ENDLESS),
        [Sender::new(true), Sender::new(true)],
    );
    sim.run(30);
    let shares = sim.run(60);
    assert!(shares.iter().all(|share| *share > 0.15), "{shares:?}");
}

#[test]
fn a_way_that_has_become_longer_is_found_out() {
    let mut sim = Sim::new(Link::new(100, 10, ENDLESS), [Sender::new(true)]);
    sim.run(5);
    sim.link.rtt = Duration::from_millis(100);
    assert!(sim.run(30)[0] > 0.9);
    assert!(sim.run(30)[0] > 0.93);
    assert!(
        sim.queue() <= Duration::from_millis(26),
        "{:?} of queue",
        sim.queue()
    );
}

#[test]
fn a_link_that_has_become_faster_or_slower_is_found_out() {
    let mut sim = Sim::new(Link::new(20, 20, ENDLESS), [Sender::new(true)]);
    sim.run(5);
    sim.link.bytes_per_s *= 20;
    sim.run(2);
    assert!(sim.run(10)[0] > 0.93);
    sim.link.bytes_per_s /= 40;
    sim.run(10);
    sim.run(10);
    assert!(
        sim.queue() < Duration::from_millis(15),
        "{:?} of queue",
        sim.queue()
    );
}

#[test]
fn who_pauses_goes_on_at_the_rate_it_had() {
    let pauses = |now: Duration| now.as_millis() % 1000 < 300;
    let mut sim = Sim::new(
        Link::new(100, 20, ENDLESS),
        [Sender::new(true).while_it(pauses)],
    );
    sim.run(5);
    let share = sim.run(20)[0];
    assert!(share > 0.25, "{share:.2} of 0.30");
}

#[test]
fn who_has_said_little_is_as_quick_as_a_newcomer() {
    let share_of_first_second = |said_before: bool| {
        let mut sim = Sim::new(Link::new(100, 50, ENDLESS), [Sender::new(true)]);
        for n in (0..20).filter(|_| said_before) {
            let (sent, path) = (
                sim.start + sim.now,
                sim.senders[0].path.as_mut().expect("it is bounded"),
            );
            path.acked(sent, 100 + n, true);
            path.acks_end(sent + sim.link.rtt, 0);
            sim.now += sim.link.rtt;
        }
        sim.run(1)[0]
    };
    let (newcomer, other) = (share_of_first_second(false), share_of_first_second(true));
    assert!(
        other > 0.8 * newcomer,
        "{other:.2}, and {newcomer:.2} for a newcomer"
    );
}
