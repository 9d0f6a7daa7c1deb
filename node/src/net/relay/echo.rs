//! Whether a relay is still there: what goes to it, and what comes from it.

use std::time::Duration;

/// How often it is looked.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(250);

/// After so many looks with frames sent through the relay and none received, it is asked whether it
/// is there. One that has restarted answers with a reset.
const SILENT_LOOKS: u32 = 3;

/// After so many looks without as much as an acknowledgement, six seconds, nobody is there: QUIC
/// has sent the question five times by then. A relay that is too busy to answer still acknowledges.
const UNANSWERED_LOOKS: u32 = 24;

/// What has gone to a relay and come from it so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Transmissions to peers beyond it.
    pub(super) sent: u64,
    /// Receptions from such peers.
    pub(super) received: u64,
    /// Datagrams of its own connection.
    pub(super) own: u64,
}

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
    seen: Seen,
    silent: u32,
    /// Looks since the relay was asked something, if nothing came from it since.
    unanswered: Option<u32>,
}

impl Echo {
    /// The relay was asked something.
    pub(super) fn asked(&mut self) {
        self.unanswered.get_or_insert(0);
    }

    /// The relay said something: it is there, and what is missing is the peers' own silence.
    pub(super) fn heard(&mut self) {
        self.silent = 0;
    }

    /// Looks.
    pub(super) fn look(&mut self, seen: Seen) -> Look {
        let before = std::mem::replace(&mut self.seen, seen);
        if seen.received > before.received {
            self.silent = 0;
        } else if seen.sent > before.sent || self.silent > 0 {
            self.silent += 1;
        }
        let came = seen.received > before.received || seen.own > before.own;
        self.unanswered = self.unanswered.filter(|_| !came).map(|looks| looks + 1);
        match () {
            () if self
                .unanswered
                .is_some_and(|looks| looks > UNANSWERED_LOOKS) =>
            {
                Look::Dead
            }
            () if self.silent > 0 && self.silent.is_multiple_of(SILENT_LOOKS) => Look::Ask,
            () => Look::Well,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(echo: &mut Echo, sent: u64, received: u64, n: u32) -> Vec<u32> {
        (1..=n)
            .filter(|_| {
                echo.look(Seen {
                    sent,
                    received,
                    own: 0,
                }) == Look::Ask
            })
            .collect()
    }

    #[test]
    fn silence_after_something_was_sent_is_noticed_and_silence_of_both_is_not() {
        let mut echo = Echo::default();
        assert!(looks(&mut echo, 0, 0, 5).is_empty());
        assert_eq!(
            looks(&mut echo, 4, 0, 6),
            [3, 6],
            "it is asked again and again"
        );
        assert!(looks(&mut echo, 4, 1, 5).is_empty());
        assert!(looks(&mut echo, 9, 8, 5).is_empty());
        assert!(looks(&mut echo, 10, 8, 2).is_empty());
        echo.heard();
        assert!(
            looks(&mut echo, 10, 8, 9).is_empty(),
            "a relay that answers is there, whatever the peer does"
        );
    }

    #[test]
    fn who_acknowledges_nothing_for_six_seconds_is_dead() {
        let mut echo = Echo::default();
        let dies = |echo: &mut Echo, seen| (1..=100).find(|_| echo.look(seen) == Look::Dead);
        let nothing = Seen::default();
        assert_eq!(dies(&mut echo, nothing), None, "nobody asked");
        echo.asked();
        assert!(looks(&mut echo, 0, 0, UNANSWERED_LOOKS).is_empty());
        echo.asked();
        assert_eq!(
            dies(&mut echo, nothing),
            Some(1),
            "asking again gives it no more time"
        );
        for something in [
            Seen { own: 1, ..nothing },
            Seen {
                own: 1,
                received: 1,
                ..nothing
            },
        ] {
            echo.asked();
            looks(&mut echo, 0, 0, UNANSWERED_LOOKS);
            assert_eq!(dies(&mut echo, something), None);
            echo = Echo::default();
        }
    }
}
