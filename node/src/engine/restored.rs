//! Messages of this node that peers gave back to it, as after the restore of a backup. They arrive in
//! many batches and are reported once.

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob_protocol::PersonId;

/// Without another message for this long, the number is reported.
const QUIET: Duration = Duration::from_secs(1);

/// While messages arrive, the number so far is reported this often.
const REPORTED_EVERY: Duration = Duration::from_secs(10);

/// The messages that have not been reported yet.
#[derive(Debug, Default)]
pub(super) struct Restored {
    by_peer: BTreeMap<PersonId, u64>,
    /// When to report them, and when at the latest.
    due: Option<(Duration, Duration)>,
}

impl Restored {
    /// A peer gave back some messages.
    pub(super) fn add(&mut self, now: Duration, peer: PersonId, count: u64) {
        *self.by_peer.entry(peer).or_default() += count;
        let (_, latest) = self.due.unwrap_or((now, now + REPORTED_EVERY));
        self.due = Some(((now + QUIET).min(latest), latest));
    }

    /// When to call [`Restored::take`].
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        self.due.map(|(due, _)| due)
    }

    /// The peers that gave back messages, and how many. They count as reported.
    pub(super) fn take(&mut self) -> BTreeMap<PersonId, u64> {
        self.due = None;
        std::mem::take(&mut self.by_peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: PersonId = PersonId::from_bytes([1; 32]);

    #[test]
    fn messages_that_arrive_together_are_reported_once() {
        let mut restored = Restored::default();
        assert_eq!(restored.poll_timeout(), None);
        for ms in [0, 300, 600] {
            restored.add(Duration::from_millis(ms), ANN, 2);
        }
        assert_eq!(restored.poll_timeout(), Some(Duration::from_millis(1_600)));
        assert_eq!(restored.take(), BTreeMap::from([(ANN, 6)]));
        assert_eq!(restored.poll_timeout(), None);
    }

    #[test]
    fn a_long_restore_is_reported_in_between() {
        let mut restored = Restored::default();
        for second in 0..20 {
            restored.add(Duration::from_millis(900 * second), ANN, 1);
        }
        assert_eq!(restored.poll_timeout(), Some(REPORTED_EVERY));
    }
}
