//! Whether the peer at the other end of a session is still there, and how far away it is.
//!
//! A ping goes out after [`QUIET`] of silence and then every [`MISS`] until something is heard. One
//! miss makes the peer suspect, [`MISSES_MAX`] of them end the session: a silent death shows within
//! 15 seconds. Round trips are measured by the same pings.
//!
//! Most pings are light: what answers them is QUIC's own acknowledgement, so that an idle session
//! costs two packets a round. Every so often, and whenever it matters, a ping wants a pong from the
//! other program.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hobnob_protocol::frame::PING_LIGHT;

use super::{Now, SessionId};

/// Silence after which the end that listens less patiently asks.
pub const QUIET: Duration = Duration::from_secs(10);

/// How much longer the other end waits, so that one ping a round serves both.
pub const QUIET_OTHER_END: Duration = Duration::from_millis(500);

/// How long an answer may take, and the time between pings while none has come.
pub const MISS: Duration = Duration::from_secs(1);

/// Pings without an answer after which the peer is gone.
pub const MISSES_MAX: u32 = 4;

/// Light pings between two that want a pong.
pub const LIGHT_PINGS: u32 = 5;

/// What can happen to the sessions that are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// A session is up. `first` says whether this end is the one to ask first.
    Up {
        /// Which.
        session: SessionId,
        /// Whether this end asks after [`QUIET`]; the other end waits a little longer.
        first: bool,
    },
    /// Something other than a pong came.
    Heard(SessionId),
    /// A pong came.
    Pong(SessionId, u64),
    /// The peer's QUIC has acknowledged something since the last ping.
    Acked(SessionId),
    /// A session has ended.
    Down(SessionId),
    /// Somebody wants to know whether the peer is there now.
    Ask(SessionId),
    /// Our network changed: every peer has to show again that it is there.
    NetworkChanged,
    /// It is later than [`Presence::poll_timeout`] said.
    Timeout,
}

/// What is to be done, or said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Send a ping with this number; [`PING_LIGHT`] is one that asks for [`Input::Acked`] only.
    Ping(SessionId, u64),
    /// The peer missed a ping.
    Suspect(SessionId),
    /// The peer answered after it was suspect.
    Recovered(SessionId),
    /// A round trip was measured.
    Rtt(SessionId, Duration),
    /// The peer was heard from since our network changed.
    Confirmed(SessionId),
    /// The peer is gone.
    Lost(SessionId),
}

#[derive(Debug)]
struct Watch {
    quiet: Duration,
    heard_at: Duration,
    /// Pings that were sent and not answered, oldest first.
    asked: VecDeque<(u64, Duration)>,
    /// When a light ping went out of whose answer nothing is known.
    touched_at: Option<Duration>,
    /// Light pings until the next that wants a pong.
    light: u32,
    misses: u32,
    next_at: Duration,
    /// Pongs to pings from here on are proof of life on the network we are on now.
    confirm_from: Option<u64>,
}

/// Watches all sessions of a node. See the module's doc.
#[derive(Debug, Default)]
pub struct Presence {
    watches: BTreeMap<SessionId, Watch>,
    last_token: u64,
    outputs: VecDeque<Output>,
}

impl Presence {
    /// Tells what happened.
    pub fn handle(&mut self, now: Now, input: Input) {
        let now = now.mono;
        match input {
            Input::Up { session, first } => self.up(session, first, now),
            Input::Heard(session) => self.heard(session, now),
            Input::Pong(session, token) => self.pong(session, token, now),
            Input::Acked(session) => self.acked(session),
            Input::Down(session) => drop(self.watches.remove(&session)),
            Input::Ask(session) => self.ask_now(session, now),
            Input::NetworkChanged => self.network_changed(now),
            Input::Timeout => self.timeout(now),
        }
    }

    /// What is to be done or said next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to come back with [`Input::Timeout`].
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.watches.values().map(|watch| watch.next_at).min()
    }

    fn up(&mut self, session: SessionId, first: bool, now: Duration) {
        let quiet = if first {
            QUIET
        } else {
            QUIET + QUIET_OTHER_END
        };
        let watch = Watch {
            quiet,
            heard_at: now,
            asked: VecDeque::new(),
            touched_at: None,
            light: 0,
            misses: 0,
            next_at: now + quiet,
            confirm_from: None,
        };
        self.watches.insert(session, watch);
        // The first ping measures the round trip at once.
        self.ask(session, now);
    }

    fn heard(&mut self, session: SessionId, now: Duration) {
        let Some(watch) = self.watches.get_mut(&session) else {
            return;
        };
        watch.heard_at = now;
        watch.touched_at = None;
        if watch.misses > 0 {
            watch.misses = 0;
            self.outputs.push_back(Output::Recovered(session));
        }
        watch.next_at = now + watch.quiet;
    }

    fn pong(&mut self, session: SessionId, token: u64, now: Duration) {
        let Some(watch) = self.watches.get_mut(&session) else {
            return;
        };
        let Some(at) = watch.asked.iter().position(|(asked, _)| *asked == token) else {
            return;
        };
        let (_, asked_at) = watch.asked[at];
        watch.asked.drain(..=at);
        self.outputs.push_back(Output::Rtt(session, now - asked_at));
        if watch.confirm_from.is_some_and(|from| token >= from) {
            watch.confirm_from = None;
            self.outputs.push_back(Output::Confirmed(session));
        }
        self.heard(session, now);
    }

    /// The light ping was answered, if there was one: the next round counts from there, whenever
    /// this became known.
    fn acked(&mut self, session: SessionId) {
        let Some(watch) = self.watches.get_mut(&session) else {
            return;
        };
        if let Some(at) = watch.touched_at.take() {
            watch.heard_at = at;
            watch.next_at = at + watch.quiet;
        }
    }

    fn network_changed(&mut self, now: Duration) {
        let from = self.last_token + 1;
        for watch in self.watches.values_mut() {
            watch.confirm_from = Some(from);
        }
        for session in self.watches.keys().copied().collect::<Vec<_>>() {
            self.ask_now(session, now);
        }
    }

    /// Wants a pong, at once.
    fn ask_now(&mut self, session: SessionId, now: Duration) {
        if let Some(watch) = self.watches.get_mut(&session) {
            watch.light = 0;
            self.ask(session, now);
        }
    }

    fn ask(&mut self, session: SessionId, now: Duration) {
        let Some(watch) = self.watches.get_mut(&session) else {
            return;
        };
        watch.next_at = now + MISS;
        if watch.misses == 0 && watch.light > 0 {
            watch.light -= 1;
            watch.touched_at = Some(now);
            self.outputs.push_back(Output::Ping(session, PING_LIGHT));
            return;
        }
        self.last_token += 1;
        watch.light = LIGHT_PINGS;
        watch.touched_at = None;
        watch.asked.push_back((self.last_token, now));
        self.outputs
            .push_back(Output::Ping(session, self.last_token));
    }

    fn timeout(&mut self, now: Duration) {
        let due: Vec<_> = self
            .watches
            .iter()
            .filter(|(_, watch)| watch.next_at <= now)
            .map(|(id, _)| *id)
            .collect();
        for session in due {
            self.watch_timed_out(session, now);
        }
    }

    fn watch_timed_out(&mut self, session: SessionId, now: Duration) {
        let Some(watch) = self.watches.get_mut(&session) else {
            return;
        };
        let unanswered = watch.touched_at.is_some()
            || watch
                .asked
                .back()
                .is_some_and(|(_, at)| *at >= watch.heard_at);
        if unanswered {
            watch.misses += 1;
            match watch.misses {
                1 => self.outputs.push_back(Output::Suspect(session)),
                MISSES_MAX => {
                    self.watches.remove(&session);
                    self.outputs.push_back(Output::Lost(session));
                    return;
                }
                _ => {}
            }
        }
        self.ask(session, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: SessionId = SessionId(1);

    struct Clock(Presence, Duration);

    impl Clock {
        fn new() -> Self {
            let mut clock = Clock(Presence::default(), Duration::ZERO);
            clock.tell(Input::Up {
                session: S,
                first: true,
            });
            clock
        }

        fn tell(&mut self, input: Input) -> Vec<Output> {
            self.0.handle(
                Now {
                    mono: self.1,
                    wall_ms: 0,
                },
                input,
            );
            std::iter::from_fn(|| self.0.poll_output()).collect()
        }

        /// Lets time run, with a peer that answers each ping with this luck; returns what was said
        /// and when.
        fn run(
            &mut self,
            until: Duration,
            mut answers: impl FnMut() -> bool,
        ) -> Vec<(Duration, Output)> {
            let mut said = Vec::new();
            while let Some(at) = self.0.poll_timeout().filter(|at| *at <= until) {
                self.1 = at;
                let mut outputs = VecDeque::from(self.tell(Input::Timeout));
                while let Some(output) = outputs.pop_front() {
                    said.push((self.1, output));
                    if let Output::Ping(session, token) = output
                        && answers()
                    {
                        self.1 += Duration::from_millis(2);
                        let answer = if token == PING_LIGHT {
                            Input::Acked(session)
                        } else {
                            Input::Pong(session, token)
                        };
                        outputs.extend(self.tell(answer));
                    }
                }
            }
            said
        }
    }

    #[test]
    fn a_silent_death_is_suspect_after_one_miss_and_lost_within_15_seconds() {
        let mut clock = Clock::new();
        clock.tell(Input::Pong(S, 1));
        let said = clock.run(Duration::from_secs(60), || false);
        let when = |wanted| {
            said.iter()
                .find(|(_, output)| *output == wanted)
                .map(|(at, _)| at.as_millis())
        };
        assert_eq!(when(Output::Suspect(S)), Some(11_000));
        assert_eq!(when(Output::Lost(S)), Some(14_000));
    }

    #[test]
    fn whoever_answers_is_never_lost_and_its_round_trip_is_known() {
        let mut clock = Clock::new();
        let said = clock.run(Duration::from_secs(3600), || true);
        assert!(
            !said
                .iter()
                .any(|(_, output)| matches!(output, Output::Lost(_)))
        );
        assert!(
            said.iter()
                .any(|(_, output)| *output == Output::Rtt(S, Duration::from_millis(2)))
        );
    }

    #[test]
    fn most_pings_of_an_idle_session_are_light_and_go_out_every_ten_seconds() {
        let mut clock = Clock::new();
        clock.tell(Input::Pong(S, 1));
        let said = clock.run(Duration::from_secs(3600), || true);
        let pings = |wanted: fn(u64) -> bool| {
            said.iter()
                .filter(|(_, output)| matches!(output, Output::Ping(_, token) if wanted(*token)))
                .count()
        };
        assert!(
            (359..=360).contains(&pings(|_| true)),
            "{}",
            pings(|_| true)
        );
        assert_eq!(pings(|token| token == PING_LIGHT), 300);
    }

    #[test]
    fn a_program_that_hangs_is_lost_although_its_quic_goes_on_acknowledging() {
        let mut clock = Clock::new();
        clock.tell(Input::Pong(S, 1));
        let mut lost = false;
        while let Some(at) = clock.0.poll_timeout() {
            assert!(at < Duration::from_secs(75));
            clock.1 = at;
            clock.tell(Input::Acked(S));
            lost |= clock.tell(Input::Timeout).contains(&Output::Lost(S));
        }
        assert!(lost);
    }

    #[test]
    fn a_suspect_that_answers_has_recovered() {
        let mut clock = Clock::new();
        clock.1 = Duration::from_secs(1);
        assert!(clock.tell(Input::Timeout).contains(&Output::Suspect(S)));
        assert!(
            clock
                .tell(Input::Pong(S, 2))
                .contains(&Output::Recovered(S))
        );
    }

    #[test]
    fn whoever_is_asked_for_is_pinged_at_once_for_a_pong_and_lost_within_4_seconds() {
        let mut clock = Clock::new();
        clock.tell(Input::Pong(S, 1));
        clock.1 = Duration::from_secs(5);
        assert_eq!(clock.tell(Input::Ask(S)), [Output::Ping(S, 2)]);
        let lost = clock.run(Duration::from_secs(60), || false).pop();
        assert_eq!(lost, Some((Duration::from_secs(9), Output::Lost(S))));
        assert_eq!(clock.tell(Input::Ask(S)), []);
    }

    #[test]
    fn talk_saves_pings() {
        let mut clock = Clock::new();
        for second in 1..100 {
            clock.1 = Duration::from_secs(second * 5);
            clock.tell(Input::Heard(S));
            assert_eq!(clock.tell(Input::Timeout), []);
        }
    }

    #[test]
    fn after_a_change_of_network_only_an_answer_to_a_later_ping_counts() {
        let mut clock = Clock::new();
        assert_eq!(clock.tell(Input::NetworkChanged), [Output::Ping(S, 2)]);
        assert!(
            !clock
                .tell(Input::Pong(S, 1))
                .contains(&Output::Confirmed(S))
        );
        assert!(!clock.tell(Input::Heard(S)).contains(&Output::Confirmed(S)));
        assert!(
            clock
                .tell(Input::Pong(S, 2))
                .contains(&Output::Confirmed(S))
        );
    }

    #[test]
    fn in_an_hour_of_five_percent_loss_nobody_is_called_offline() {
        // A ping or its answer is lost in 9.75 % of tries. QUIC tries again after a probe timeout,
        // doubled each time: within its second a ping over a local network is sent at least four
        // times.
        for seed in 0..1000 {
            let mut rng = crate::Rng::new(seed);
            let mut round_trip_fails = || rng.below(10_000) < 975;
            let mut clock = Clock::new();
            let said = clock.run(Duration::from_secs(3600), || {
                !(0..4).all(|_| round_trip_fails())
            });
            assert!(
                said.iter()
                    .all(|(_, output)| !matches!(output, Output::Lost(_))),
                "seed {seed}"
            );
        }
    }
}
