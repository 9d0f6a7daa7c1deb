//! When to open a stream about mailboxes to a connected node again, after one has ended.

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob_protocol::DeviceId;

/// The first pause. Each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_secs(5);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(10 * 60);

#[derive(Debug)]
struct Attempt {
    /// When the next one is due. `None`: a stream is open.
    at: Option<Duration>,
    /// The pause after that stream has ended.
    pause: Duration,
}

/// The connected nodes whose streams have ended in this session.
#[derive(Debug, Default)]
pub(super) struct Reopening(BTreeMap<DeviceId, Attempt>);

impl Reopening {
    /// A stream has ended.
    pub(super) fn ended(&mut self, peer: DeviceId, now: Duration) {
        let attempt = self.0.entry(peer).or_insert(Attempt {
            at: None,
            pause: PAUSE_FIRST,
        });
        attempt.at = Some(now + attempt.pause);
        attempt.pause = PAUSE_MAX.min(2 * attempt.pause);
    }

    /// The peer answers on a stream.
    pub(super) fn works(&mut self, peer: DeviceId) {
        if self.0.get(&peer).is_some_and(|it| it.at.is_none()) {
            self.0.remove(&peer);
        }
    }

    /// A session with the peer begins, or the last one has ended.
    pub(super) fn forget(&mut self, peer: DeviceId) {
        self.0.remove(&peer);
    }

    /// When the next attempt is due.
    pub(super) fn next(&self) -> Option<Duration> {
        self.0.values().filter_map(|it| it.at).min()
    }

    /// The peers to which a stream is opened now.
    pub(super) fn take_due(&mut self, now: Duration) -> Vec<DeviceId> {
        let is_due = |it: &Attempt| it.at.is_some_and(|at| at <= now);
        let due = self.0.iter_mut().filter(|(_, it)| is_due(it));
        due.map(|(peer, it)| {
            it.at = None;
            *peer
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAROL: DeviceId = DeviceId::from_bytes([3; 32]);

    #[test]
    fn a_stream_that_ends_again_and_again_is_opened_less_and_less_often() {
        let (mut reopening, mut now) = (Reopening::default(), Duration::ZERO);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            reopening.ended(CAROL, now);
            let next = reopening.next().expect("it is due");
            assert_eq!(reopening.take_due(next - Duration::from_secs(1)), []);
            assert_eq!(reopening.take_due(next), [CAROL]);
            assert_eq!(reopening.next(), None, "it is open");
            pauses.push((next - now).as_secs());
            now = next;
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
        reopening.works(CAROL);
        reopening.ended(CAROL, now);
        reopening.works(CAROL);
        assert_eq!(reopening.next(), Some(now + PAUSE_FIRST), "it worked");
        reopening.forget(CAROL);
        assert_eq!(reopening.next(), None);
    }
}
