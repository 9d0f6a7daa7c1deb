//! Whether a relay still answers, judged by the traffic to and from it.

use std::time::Duration;

/// How often liveness is checked.
pub(super) const CHECK_EVERY: Duration = Duration::from_millis(250);

/// After this many checks with frames sent through the relay and none received, the relay is asked
/// whether it is there. A relay that has restarted answers with a reset.
const SILENT_CHECKS: u32 = 3;

/// After this many checks, six seconds, without as much as an acknowledgement, the relay is gone:
/// QUIC has sent the question five times by then. A relay that is too busy to answer still
/// acknowledges.
const UNANSWERED_CHECKS: u32 = 24;

/// Counts of the traffic with a relay so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Transmissions to peers beyond it.
    pub(super) sent: u64,
    /// Receptions from such peers.
    pub(super) received: u64,
    /// Datagrams received on its own connection.
    pub(super) own: u64,
}

/// After this many checks, three quarters of a second, without an acknowledgement, UDP may be
/// blocked: the link looks for another way.
const SUSPECT_CHECKS: u32 = 3;

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    /// Nothing suggests that the relay is gone.
    Alive,
    /// Ask the relay whether it is there.
    Ask,
    /// The relay was asked and does not answer.
    Dead,
}

/// Notices when a relay becomes silent. The calls of [`Liveness::check`] are its clock.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    counts: Counts,
    /// Checks since frames were sent and none received.
    silent: u32,
    /// Checks since the relay was asked, if nothing was received from it since.
    unanswered: Option<u32>,
}

impl Liveness {
    /// The relay was asked whether it is there.
    pub(super) fn asked(&mut self) {
        self.unanswered.get_or_insert(0);
    }

    /// The relay sent a frame. So it is there, and only its peers are silent.
    pub(super) fn heard(&mut self) {
        self.silent = 0;
    }

    /// Whether the relay was asked and is silent for longer than usual.
    pub(super) fn is_suspect(&self) -> bool {
        self.unanswered
            .is_some_and(|checks| checks >= SUSPECT_CHECKS)
    }

    /// Judges the traffic since the last check.
    pub(super) fn check(&mut self, counts: Counts) -> Health {
        let before = std::mem::replace(&mut self.counts, counts);
        if counts.received > before.received {
            self.silent = 0;
        } else if counts.sent > before.sent || self.silent > 0 {
            self.silent += 1;
        }
        let answered = counts.received > before.received || counts.own > before.own;
        self.unanswered = self
            .unanswered
            .filter(|_| !answered)
            .map(|checks| checks + 1);
        if self
            .unanswered
            .is_some_and(|checks| checks > UNANSWERED_CHECKS)
        {
            Health::Dead
        } else if self.silent > 0 && self.silent.is_multiple_of(SILENT_CHECKS) {
            Health::Ask
        } else {
            Health::Alive
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(liveness: &mut Liveness, sent: u64, received: u64, n: u32) -> Vec<u32> {
        (1..=n)
            .filter(|_| {
                liveness.check(Counts {
                    sent,
                    received,
                    own: 0,
                }) == Health::Ask
            })
            .collect()
    }

    #[test]
    fn silence_after_frames_were_sent_is_noticed() {
        let mut liveness = Liveness::default();
        assert!(checks(&mut liveness, 0, 0, 5).is_empty());
        assert_eq!(
            checks(&mut liveness, 4, 0, 6),
            [3, 6],
            "it is asked again and again"
        );
        assert!(checks(&mut liveness, 4, 1, 5).is_empty());
        assert!(checks(&mut liveness, 9, 8, 5).is_empty());
        assert!(checks(&mut liveness, 10, 8, 2).is_empty());
        liveness.heard();
        assert!(
            checks(&mut liveness, 10, 8, 9).is_empty(),
            "a relay that answers is there, whatever the peer does"
        );
    }

    #[test]
    fn a_relay_is_suspect_until_it_acknowledges() {
        let mut liveness = Liveness::default();
        liveness.asked();
        checks(&mut liveness, 0, 0, SUSPECT_CHECKS - 1);
        assert!(!liveness.is_suspect());
        checks(&mut liveness, 0, 0, 1);
        assert!(liveness.is_suspect());
        checks(&mut liveness, 0, 1, 1);
        assert!(!liveness.is_suspect());
    }

    #[test]
    fn a_relay_that_acknowledges_nothing_for_six_seconds_is_dead() {
        let mut liveness = Liveness::default();
        let dies = |liveness: &mut Liveness, counts| {
            (1..=100).find(|_| liveness.check(counts) == Health::Dead)
        };
        let nothing = Counts::default();
        assert_eq!(dies(&mut liveness, nothing), None, "nobody asked");
        liveness.asked();
        assert!(checks(&mut liveness, 0, 0, UNANSWERED_CHECKS).is_empty());
        liveness.asked();
        assert_eq!(
            dies(&mut liveness, nothing),
            Some(1),
            "asking again gives it no more time"
        );
        for something in [
            Counts { own: 1, ..nothing },
            Counts {
                own: 1,
                received: 1,
                ..nothing
            },
        ] {
            liveness.asked();
            checks(&mut liveness, 0, 0, UNANSWERED_CHECKS);
            assert_eq!(dies(&mut liveness, something), None);
            liveness = Liveness::default();
        }
    }
}
