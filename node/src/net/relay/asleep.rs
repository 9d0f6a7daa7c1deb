//! A link that sleeps: its heartbeats, and what the relay says.
//!
//! The node has closed its connection in agreement with the relay and keeps its registration by
//! sealed heartbeats ([`hobnob_protocol::heartbeat`]). This is a pure state machine: it has no
//! clock and no socket.

use std::time::Duration;

use hobnob_protocol::DeviceId;
use hobnob_protocol::heartbeat::{
    ANSWERED, Datagram, Handle, Message, ReplayWindow, Reset, SLEEP_MAX, SleepSecret, Wanted,
};

/// A heartbeat that the relay answers is repeated after this time.
const REPEAT: Duration = Duration::from_secs(2);

/// After this many heartbeats without an answer the relay is gone.
const UNANSWERED_MAX: u32 = 4;

/// How often the goodbye is sent, because nobody confirms it.
pub(super) const GOODBYES: usize = 3;

/// The sleep that a relay has agreed to.
#[derive(Debug, Clone)]
pub(super) struct Agreement {
    pub(super) secret: SleepSecret,
    pub(super) handle: Handle,
    /// The token of the relay's [`Reset`].
    pub(super) reset: [u8; 16],
    /// The time between two heartbeats.
    pub(super) every: Duration,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing yet.
    Nothing,
    /// Send this.
    Send(Datagram),
    /// The sleep has lasted for as long as it may: connect again.
    Over,
    /// The relay does not answer: connect again.
    Silent,
}

/// What the relay says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing that matters, or nothing that it has said.
    Nothing,
    /// Send this to the relay.
    Send(Datagram),
    /// This peer wants a channel.
    Wanted(DeviceId),
    /// The relay does not know this node any more.
    Forgotten,
}

/// A sleeping link.
#[derive(Debug)]
pub(super) struct Asleep {
    agreement: Agreement,
    since: Duration,
    /// The last counter that was used.
    counter: u64,
    window: ReplayWindow,
    /// Heartbeats since the last one that the relay answers.
    since_asked: u64,
    /// Heartbeats without the answer that they should have.
    unanswered: u32,
    beat_at: Duration,
    next_at: Duration,
}

impl Asleep {
    /// A link that falls asleep now. Its first heartbeat is due at once.
    pub(super) fn new(now: Duration, agreement: Agreement) -> Self {
        Self {
            agreement,
            since: now,
            counter: 0,
            window: ReplayWindow::default(),
            // The relay wakes this node only at an address from which it has answered.
            since_asked: ANSWERED,
            unanswered: 0,
            beat_at: now,
            next_at: now,
        }
    }

    /// When to call [`Asleep::time_out`].
    pub(super) fn due(&self) -> Duration {
        self.next_at
    }

    /// A peer has not answered, perhaps because this node has another address: the next heartbeat
    /// is due now.
    pub(super) fn beat(&mut self, now: Duration) {
        self.next_at = self.next_at.min(now);
    }

    /// What is due now.
    pub(super) fn time_out(&mut self, now: Duration) -> Due {
        if now < self.next_at {
            return Due::Nothing;
        }
        if self.unanswered >= UNANSWERED_MAX {
            return Due::Silent;
        }
        if now >= self.since + SLEEP_MAX {
            return Due::Over;
        }
        let asks = self.unanswered > 0 || self.since_asked + 1 >= ANSWERED;
        self.beat_at = now;
        if asks {
            self.since_asked = 0;
            self.unanswered += 1;
            self.next_at = now + REPEAT;
        } else {
            self.since_asked += 1;
            self.next_at = now + self.agreement.every;
        }
        Due::Send(self.seal(&Message::Beat, asks))
    }

    /// A datagram came from the relay's address.
    pub(super) fn received(&mut self, datagram: &Datagram) -> Heard {
        let Agreement {
            secret,
            handle,
            reset,
            ..
        } = &self.agreement;
        let bytes = datagram.as_slice();
        if Reset::is(bytes, *handle, reset) {
            return Heard::Forgotten;
        }
        let Some((counter, message)) = secret.open(bytes) else {
            return Heard::Nothing;
        };
        match message {
            // This node's own words, sent back.
            Message::Beat | Message::Leave | Message::Reached | Message::Declined(_) => {
                return Heard::Nothing;
            }
            Message::Answer | Message::Challenge | Message::Wake(..) => {}
        }
        if !self.window.accept(counter) {
            return Heard::Nothing;
        }
        self.answered();
        match message {
            Message::Challenge => {
                let Agreement { secret, handle, .. } = &self.agreement;
                Heard::Send(secret.seal(*handle, counter, &Message::Reached))
            }
            Message::Wake(peer, Wanted::Channel) => Heard::Wanted(peer),
            Message::Wake(_, Wanted::Unknown(_))
            | Message::Answer
            | Message::Beat
            | Message::Leave
            | Message::Reached
            | Message::Declined(_) => Heard::Nothing,
        }
    }

    /// The node does not want to connect for this peer.
    pub(super) fn decline(&mut self, peer: DeviceId) -> Datagram {
        self.seal(&Message::Declined(peer), false)
    }

    /// The node leaves.
    pub(super) fn leave(&mut self) -> Datagram {
        self.seal(&Message::Leave, false)
    }

    /// The relay is there.
    fn answered(&mut self) {
        if self.unanswered > 0 {
            self.unanswered = 0;
            self.next_at = self.beat_at + self.agreement.every;
        }
    }

    /// Seals a message with a new counter, which is one that the relay answers if this node `asks`.
    fn seal(&mut self, message: &Message, asks: bool) -> Datagram {
        let next = self.counter + 1;
        self.counter = match (asks, next.is_multiple_of(ANSWERED)) {
            (true, _) => next.next_multiple_of(ANSWERED),
            (false, true) => next + 1,
            (false, false) => next,
        };
        let Agreement { secret, handle, .. } = &self.agreement;
        secret.seal(*handle, self.counter, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const HANDLE: Handle = Handle([7; 8]);
    const EVERY: Duration = Duration::from_secs(25);

    fn secret() -> SleepSecret {
        SleepSecret::new([9; 32])
    }

    fn asleep() -> Asleep {
        let agreement = Agreement {
            secret: secret(),
            handle: HANDLE,
            reset: [5; 16],
            every: EVERY,
        };
        Asleep::new(100 * SECOND, agreement)
    }

    fn peer() -> DeviceId {
        DeviceId::from_bytes([1; 32])
    }

    /// The heartbeats until this second: when, and with which counter. A relay answers if
    /// `answers`. Ends early when the sleep is over.
    fn beats(asleep: &mut Asleep, until: u64, answers: bool) -> (Vec<(u64, u64)>, bool) {
        let mut beats = Vec::new();
        let mut relays_counter = 0;
        while asleep.due() <= Duration::from_secs(until) {
            let now = asleep.due();
            match asleep.time_out(now) {
                Due::Send(datagram) => {
                    let (counter, message) = secret().open(datagram.as_slice()).expect("sealed");
                    assert_eq!(message, Message::Beat);
                    beats.push((now.as_secs(), counter));
                    if answers && counter.is_multiple_of(ANSWERED) {
                        relays_counter += 1;
                        let answer = secret().seal(HANDLE, relays_counter, &Message::Answer);
                        assert_eq!(asleep.received(&answer), Heard::Nothing);
                    }
                }
                Due::Over | Due::Silent => return (beats, true),
                Due::Nothing => panic!("it was due"),
            }
        }
        (beats, false)
    }

    #[test]
    fn the_first_heartbeat_and_every_fourth_is_answered() {
        let (beats, over) = beats(&mut asleep(), 350, true);
        let expected = [
            (100, 4),
            (125, 5),
            (150, 6),
            (175, 7),
            (200, 8),
            (225, 9),
            (250, 10),
            (275, 11),
            (300, 12),
            (325, 13),
            (350, 14),
        ];
        assert_eq!((&beats[..], over), (&expected[..], false));
    }

    #[test]
    fn a_relay_that_does_not_answer_is_noticed_within_110_seconds() {
        let mut asleep = asleep();
        beats(&mut asleep, 100, true);
        let (last, over) = beats(&mut asleep, 1_000, false);
        assert!(over);
        assert_eq!(last[3..], [(200, 8), (202, 12), (204, 16), (206, 20)]);
        assert_eq!(asleep.time_out(208 * SECOND), Due::Silent);
    }

    #[test]
    fn one_lost_answer_is_asked_for_again() {
        let mut asleep = asleep();
        let (unanswered, _) = beats(&mut asleep, 101, false);
        assert_eq!(unanswered, [(100, 4)]);
        let (then, over) = beats(&mut asleep, 160, true);
        assert_eq!(then, [(102, 8), (127, 9), (152, 10)]);
        assert!(!over);
    }

    #[test]
    fn a_sleep_ends_after_a_day() {
        let mut asleep = asleep();
        let (beats, over) = beats(&mut asleep, 200_000, true);
        let (last, _) = beats.last().copied().expect("many");
        assert!(over && last < 100 + 86_400 && last > 86_400, "{last}");
        assert_eq!(asleep.time_out(asleep.due()), Due::Over);
    }

    #[test]
    fn a_challenge_is_answered_with_its_counter() {
        let mut asleep = asleep();
        let challenge = secret().seal(HANDLE, 7, &Message::Challenge);
        let Heard::Send(reached) = asleep.received(&challenge) else {
            panic!("an answer");
        };
        assert_eq!(
            secret().open(reached.as_slice()),
            Some((7, Message::Reached))
        );
        assert_eq!(asleep.received(&challenge), Heard::Nothing, "a replay");
    }

    #[test]
    fn a_wake_is_reported_and_may_be_declined() {
        let mut asleep = asleep();
        let wake = secret().seal(HANDLE, 1, &Message::Wake(peer(), Wanted::Channel));
        assert_eq!(asleep.received(&wake), Heard::Wanted(peer()));
        assert_eq!(asleep.received(&wake), Heard::Nothing);
        let other = secret().seal(HANDLE, 2, &Message::Wake(peer(), Wanted::Unknown(9)));
        assert_eq!(asleep.received(&other), Heard::Nothing);
        let declined = asleep.decline(peer());
        let (counter, message) = secret().open(declined.as_slice()).expect("sealed");
        assert_eq!(message, Message::Declined(peer()));
        let leave = asleep.leave();
        let (later, message) = secret().open(leave.as_slice()).expect("sealed");
        assert_eq!(message, Message::Leave);
        assert!(later > counter);
    }

    #[test]
    fn forged_and_reflected_datagrams_change_nothing() {
        let mut asleep = asleep();
        let forger = SleepSecret::new([8; 32]);
        let wake = Message::Wake(peer(), Wanted::Channel);
        for datagram in [
            forger.seal(HANDLE, 1, &wake),
            secret().seal(Handle([0; 8]), 1, &Message::Leave),
            secret().seal(HANDLE, 1, &Message::Beat),
            secret().seal(HANDLE, 1, &Message::Declined(peer())),
        ] {
            assert_eq!(asleep.received(&datagram), Heard::Nothing);
        }
        let reset = |token| Datagram::of(&Reset::encode(HANDLE, token)).expect("it fits");
        assert_eq!(asleep.received(&reset(&[6; 16])), Heard::Nothing);
        assert_eq!(asleep.received(&reset(&[5; 16])), Heard::Forgotten);
    }

    #[test]
    fn a_heartbeat_can_be_sent_early() {
        let mut asleep = asleep();
        beats(&mut asleep, 100, true);
        asleep.beat(101 * SECOND);
        let (early, _) = beats(&mut asleep, 130, true);
        assert_eq!(early, [(101, 5), (126, 6)]);
    }
}
