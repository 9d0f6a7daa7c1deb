//! Whether a relay is still there: what goes to it, what comes from it, and what it owes an answer to.

use std::time::Duration;

/// How often it is looked.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(250);

/// After so many looks with frames sent through the relay and none received, it is asked whether it is there. One that has
/// restarted answers with a reset.
const SILENT_LOOKS: u32 = 3;

/// After so many looks without an answer, six seconds, nobody is there: QUIC has sent the question five times by then.
const UNANSWERED_LOOKS: u32 = 24;

/// What comes of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// The relay is there, as far as can be told.
    Well,
    /// It should be asked.
    Ask,
    /// It was asked, and does not answer.
    Dead,
}

/// Notices when a relay falls silent. Looks are its clock.
#[derive(Debug, Default)]
pub(super) struct Echo {
    sent: u64,
    received: u64,
    silent: u32,
    /// Looks since the relay was asked something that it has not answered.
    unanswered: Option<u32>,
}

impl Echo {
    /// The relay was asked something.
    pub(super) fn asked(&mut self) {
        self.unanswered.get_or_insert(0);
    }

    /// The relay itself said something: it is there, and what is missing is the peers' own silence.
    pub(super) fn heard(&mut self) {
        (self.silent, self.unanswered) = (0, None);
    }

    /// Looks, with the numbers of transmissions to the relay and receptions from it so far.
    pub(super) fn look(&mut self, (sent, received): (u64, u64)) -> Look {
        if received > self.received {
            self.heard();
        } else if sent > self.sent || self.silent > 0 {
            self.silent += 1;
        }
        (self.sent, self.received) = (sent, received);
        self.unanswered = self.unanswered.map(|looks| looks + 1);
        match () {
            () if self.unanswered.is_some_and(|looks| looks > UNANSWERED_LOOKS) => Look::Dead,
            () if self.silent > 0 && self.silent.is_multiple_of(SILENT_LOOKS) => Look::Ask,
            () => Look::Well,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(echo: &mut Echo, sent: u64, received: u64, n: u32) -> Vec<u32> {
        (1..=n).filter(|_| echo.look((sent, received)) == Look::Ask).collect()
    }

    #[test]
    fn silence_after_something_was_sent_is_noticed_and_silence_of_both_is_not() {
        let mut echo = Echo::default();
        assert!(looks(&mut echo, 0, 0, 5).is_empty());
        assert_eq!(looks(&mut echo, 4, 0, 6), [3, 6], "it is asked again and again");
        assert!(looks(&mut echo, 4, 1, 5).is_empty());
        assert!(looks(&mut echo, 9, 8, 5).is_empty());
        assert!(looks(&mut echo, 10, 8, 2).is_empty());
        echo.heard();
        assert!(looks(&mut echo, 10, 8, 9).is_empty(), "a relay that answers is there, whatever the peer does");
    }

    #[test]
    fn who_does_not_answer_for_six_seconds_is_dead_and_any_frame_is_an_answer() {
        let mut echo = Echo::default();
        let dies = |echo: &mut Echo, received| (1..=100).find(|_| echo.look((0, received)) == Look::Dead);
        assert_eq!(dies(&mut echo, 0), None, "nobody asked");
        echo.asked();
        assert!(looks(&mut echo, 0, 0, UNANSWERED_LOOKS).is_empty());
        echo.asked();
        assert_eq!(dies(&mut echo, 0), Some(1), "asking again gives it no more time");
        for answer in [Echo::heard, |echo: &mut Echo| assert_eq!(echo.look((0, 1)), Look::Well)] {
            echo.asked();
            looks(&mut echo, 0, 0, UNANSWERED_LOOKS);
            answer(&mut echo);
            assert_eq!(dies(&mut echo, 1), None);
        }
    }
}
