//! When a link dials its relay again.
//!
//! The wait doubles with each failure, with full jitter, so that thousands of nodes do not return
//! to a restarted relay at the same time. While the user wants the relay, because of a message or a
//! ticket, the wait is short.

use std::time::Duration;

use hobnob_core::Rng;

/// The first wait before a relay is dialed again, the longest one, and the one after a refusal.
const BACK_OFF_MIN: Duration = Duration::from_millis(500);
const BACK_OFF_MAX: Duration = Duration::from_secs(60);
const BACK_OFF_REFUSED: Duration = Duration::from_secs(60);

/// The longest wait after another connection of this identity has replaced this node's. It doubles
/// each time. So of two machines with one home, the one whose user acts keeps the relay.
const BACK_OFF_REPLACED: Duration = Duration::from_secs(5 * 60);
const BACK_OFF_REPLACED_MAX: Duration = Duration::from_secs(3600);

/// The wait while the user wants the relay. It bounds the dials that a flood of messages can cause.
const WANTED_EVERY: Duration = Duration::from_secs(1);

/// The same, for a relay that refuses this node.
const WANTED_EVERY_REFUSED: Duration = Duration::from_secs(2);

/// How long after the last action of the user the user still wants the relay.
const WANTED_FOR: Duration = Duration::from_secs(30);

/// Why an attempt failed, or a connection was lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Cause {
    /// The relay does not answer, or has ended.
    #[default]
    Lost,
    /// The relay refuses this node: an early attempt is useless, unless the user knows more.
    Refused,
    /// The relay has another connection of this identity.
    Replaced,
}

/// The waits of one link. All times are of the node's monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Redial {
    failures: u32,
    /// How often another connection of this identity has replaced this node's.
    replaced: u32,
    /// When the last attempt failed, and why.
    failed: (Duration, Cause),
    /// When the next attempt is due, unless the user wants the relay.
    due: Duration,
    wanted_at: Option<Duration>,
}

impl Redial {
    /// A connection was lost (`was_up`), or an attempt failed.
    pub(super) fn failed(&mut self, now: Duration, was_up: bool, cause: Cause, rng: &mut Rng) {
        self.failures = if was_up { 0 } else { self.failures + 1 };
        self.failed = (now, cause);
        let (least, most) = match cause {
            Cause::Lost => {
                let doubled = BACK_OFF_MIN * (1 << self.failures.min(7));
                (Duration::ZERO, doubled.min(BACK_OFF_MAX))
            }
            Cause::Refused => (BACK_OFF_REFUSED / 2, BACK_OFF_REFUSED),
            Cause::Replaced => {
                let doubled = BACK_OFF_REPLACED * (1 << self.replaced.min(4));
                self.replaced += 1;
                let most = doubled.min(BACK_OFF_REPLACED_MAX);
                (most / 2, most)
            }
        };
        let millis = u64::try_from((most - least).as_millis()).expect("an hour at most");
        self.due = now + least + Duration::from_millis(rng.below(millis.max(1)));
    }

    /// The user sends a message, or names a peer.
    pub(super) fn want(&mut self, now: Duration) {
        self.wanted_at = Some(now);
    }

    /// Whether the user wants the relay now.
    pub(super) fn is_wanted(&self, now: Duration) -> bool {
        self.wanted_at.is_some_and(|at| now < at + WANTED_FOR)
    }

    /// The network has changed. A refusal is the relay's own, whatever the network.
    pub(super) fn network_changed(&mut self, now: Duration) {
        if self.failed.1 == Cause::Lost {
            self.due = now;
        }
    }

    /// This node needs the relay, a member of a fleet, again. After a refusal the wait continues:
    /// others than the user can make this node need it.
    pub(super) fn needed(&mut self, now: Duration) {
        if self.failed.1 != Cause::Refused {
            self.due = now;
        }
    }

    /// The link has learned another name or a token. So it may succeed now.
    pub(super) fn begin_anew(&mut self, now: Duration) {
        self.due = now;
    }

    /// When the next attempt is due.
    pub(super) fn due(&self) -> Duration {
        let (failed_at, cause) = self.failed;
        let every = match cause {
            Cause::Lost => WANTED_EVERY,
            Cause::Refused | Cause::Replaced => WANTED_EVERY_REFUSED,
        };
        let wanted = failed_at + every;
        if self.is_wanted(wanted) {
            self.due.min(wanted)
        } else {
            self.due
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A link that has failed this often in a row, the last time at second 100.
    fn failed(times: u32, cause: Cause) -> Redial {
        let (mut redial, mut rng) = (Redial::default(), Rng::new(7));
        for _ in 0..times {
            redial.failed(100 * SECOND, false, cause, &mut rng);
        }
        redial
    }

    #[test]
    fn the_wait_grows_to_a_minute_and_a_refusal_waits_half_of_one_at_least() {
        assert!(failed(1, Cause::Lost).due() <= 101 * SECOND);
        assert!((0..50).any(|_| failed(20, Cause::Lost).due() > 105 * SECOND));
        assert!(failed(1, Cause::Refused).due() >= 130 * SECOND);
        assert!(failed(99, Cause::Refused).due() <= 160 * SECOND);
    }

    #[test]
    fn a_message_ends_the_wait_at_once() {
        for (cause, every) in [
            (Cause::Lost, WANTED_EVERY),
            (Cause::Refused, WANTED_EVERY_REFUSED),
            (Cause::Replaced, WANTED_EVERY_REFUSED),
        ] {
            let mut redial = failed(20, cause);
            redial.want(104 * SECOND);
            assert_eq!(redial.due(), 100 * SECOND + every, "it is overdue");
        }
    }

    #[test]
    fn a_flood_of_messages_dials_once_a_second() {
        let (mut redial, mut rng) = (failed(20, Cause::Lost), Rng::new(7));
        let (mut dials, mut now) = (0, 100 * SECOND);
        while now < 110 * SECOND {
            redial.want(now);
            if redial.due() <= now {
                dials += 1;
                redial.failed(now, false, Cause::Lost, &mut rng);
            }
            now += SECOND / 100;
        }
        assert!((9..=11).contains(&dials), "{dials}");
    }

    #[test]
    fn half_a_minute_after_the_last_message_the_wait_is_long_again() {
        let (mut redial, mut rng) = (Redial::default(), Rng::new(7));
        redial.want(100 * SECOND);
        redial.failed(120 * SECOND, false, Cause::Refused, &mut rng);
        assert_eq!(redial.due(), 120 * SECOND + WANTED_EVERY_REFUSED);
        redial.failed(130 * SECOND, false, Cause::Refused, &mut rng);
        assert!(redial.due() >= 160 * SECOND);
    }

    #[test]
    fn two_machines_with_one_home_do_not_take_turns_for_long() {
        let waits = |times| failed(times, Cause::Replaced).due() - 100 * SECOND;
        assert!((150 * SECOND..=300 * SECOND).contains(&waits(1)));
        assert!((300 * SECOND..=600 * SECOND).contains(&waits(2)));
        assert!((1_800 * SECOND..=3_600 * SECOND).contains(&waits(99)));
    }

    #[test]
    fn another_network_helps_unless_the_relay_itself_refuses() {
        let (mut lost, mut refused) = (failed(20, Cause::Lost), failed(20, Cause::Refused));
        lost.network_changed(100 * SECOND);
        refused.network_changed(100 * SECOND);
        assert_eq!(lost.due(), 100 * SECOND);
        assert!(refused.due() >= 130 * SECOND);
        refused.begin_anew(101 * SECOND);
        assert_eq!(refused.due(), 101 * SECOND);
    }

    #[test]
    fn a_member_that_refuses_this_node_is_left_alone_although_peers_are_there() {
        let (mut lost, mut refused) = (failed(20, Cause::Lost), failed(1, Cause::Refused));
        let mut replaced = failed(1, Cause::Replaced);
        lost.needed(101 * SECOND);
        replaced.needed(101 * SECOND);
        refused.needed(101 * SECOND);
        assert_eq!(lost.due(), 101 * SECOND);
        assert_eq!(replaced.due(), 101 * SECOND, "this node moves there");
        assert!(refused.due() >= 130 * SECOND);
    }
}
