//! Holders that refuse envelopes for a peer, and until when they are not asked again.

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob_core::mail_refusal::MailRefusal;
use hobnob_protocol::DeviceId;

/// After a holder has refused an envelope, the next attempt there waits for this long.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// After a holder could not store an envelope, the next attempt there waits for this long.
const FAILED_FOR: Duration = Duration::from_secs(10);

/// The refusals. There is at most one entry for each contact and each holder that it named.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// Until when a holder is not asked to hold for a peer. The key is the peer and the holder.
    until: BTreeMap<(DeviceId, DeviceId), Duration>,
    /// The peers for which no holder takes messages now.
    stuck: BTreeMap<DeviceId, MailRefusal>,
}

impl Refusals {
    /// A holder has refused an envelope for a peer. Returns when to ask it again.
    pub(super) fn refused(
        &mut self,
        peer: DeviceId,
        holder: DeviceId,
        why: MailRefusal,
        now: Duration,
    ) -> Duration {
        let until = now
            + match why {
                MailRefusal::Failed => FAILED_FOR,
                MailRefusal::Full | MailRefusal::NotAccepted | MailRefusal::Unknown => REFUSED_FOR,
            };
        self.until.insert((peer, holder), until);
        until
    }

    pub(super) fn is_refusing(&self, peer: DeviceId, holder: DeviceId, now: Duration) -> bool {
        let until = self.until.get(&(peer, holder));
        until.is_some_and(|until| now < *until)
    }

    /// When the next holder may be asked again to hold for a peer.
    pub(super) fn next(&self, peer: DeviceId, now: Duration) -> Option<Duration> {
        let all = self.until.iter().filter(|((of, _), _)| *of == peer);
        all.map(|(_, until)| *until).filter(|at| now < *at).min()
    }

    /// No holder takes messages for a peer. Returns whether the user must learn that.
    pub(super) fn stuck(&mut self, peer: DeviceId, why: MailRefusal) -> bool {
        self.stuck.insert(peer, why) != Some(why)
    }

    /// A holder has stored an envelope for a peer, or the peer is here.
    pub(super) fn over(&mut self, peer: DeviceId) {
        self.stuck.remove(&peer);
    }

    /// The peer is no contact any more.
    pub(super) fn forget(&mut self, peer: DeviceId) {
        self.over(peer);
        self.until.retain(|(of, _), _| *of != peer);
    }

    /// Why no holder takes messages for a peer.
    pub(super) fn why(&self, peer: DeviceId) -> Option<MailRefusal> {
        self.stuck.get(&peer).copied()
    }

    /// All peers for which no holder takes messages.
    pub(super) fn all(&self) -> impl Iterator<Item = (DeviceId, MailRefusal)> {
        self.stuck.iter().map(|(peer, why)| (*peer, *why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOB: DeviceId = DeviceId::from_bytes([2; 32]);
    const HOLDERS: [DeviceId; 2] = [DeviceId::from_bytes([8; 32]), DeviceId::from_bytes([9; 32])];
    const START: Duration = Duration::from_secs(100);

    #[test]
    fn a_holder_that_refuses_is_asked_again_after_a_minute() {
        let mut refusals = Refusals::default();
        let until = refusals.refused(BOB, HOLDERS[0], MailRefusal::Full, START);
        assert!(refusals.is_refusing(BOB, HOLDERS[0], START));
        assert!(
            !refusals.is_refusing(BOB, HOLDERS[1], START),
            "the other one is asked"
        );
        assert!(
            !refusals.is_refusing(HOLDERS[0], HOLDERS[0], START),
            "another peer"
        );
        refusals.refused(
            BOB,
            HOLDERS[1],
            MailRefusal::Full,
            START + Duration::from_secs(1),
        );
        assert_eq!(refusals.next(BOB, START), Some(until));
        assert!(!refusals.is_refusing(BOB, HOLDERS[0], until));
        refusals.forget(BOB);
        assert_eq!(refusals.next(BOB, START), None);
        let soon = refusals.refused(BOB, HOLDERS[0], MailRefusal::Failed, START);
        assert!(soon < until, "a disk can have room again at any time");
    }

    #[test]
    fn the_user_learns_each_reason_once() {
        let mut refusals = Refusals::default();
        assert!(refusals.stuck(BOB, MailRefusal::Full));
        assert!(!refusals.stuck(BOB, MailRefusal::Full));
        assert!(refusals.stuck(BOB, MailRefusal::NotAccepted));
        assert_eq!(refusals.why(BOB), Some(MailRefusal::NotAccepted));
        refusals.over(BOB);
        assert_eq!((refusals.why(BOB), refusals.all().count()), (None, 0));
        assert!(refusals.stuck(BOB, MailRefusal::Full), "it is full again");
    }
}
