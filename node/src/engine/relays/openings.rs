//! Dials that wait until a relay has opened a channel with their peer.

use std::collections::BTreeMap;

use hobnob_protocol::PeerId;
use hobnob_protocol::relay::OpenRefusal;
use tokio::sync::oneshot;

/// Why there is no channel with a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpenFailed {
    #[error("the peer is not at that relay now")]
    NotHere,
    #[error("the relay does not allow it")]
    Refused,
    #[error("too many channels are open")]
    Limit,
}

impl From<OpenRefusal> for OpenFailed {
    fn from(refusal: OpenRefusal) -> Self {
        match refusal {
            OpenRefusal::NotHere => Self::NotHere,
            OpenRefusal::Refused => Self::Refused,
            OpenRefusal::Limit => Self::Limit,
        }
    }
}

/// Resolves when the relay has opened or refused a channel.
pub(crate) type ChannelOpening = oneshot::Receiver<Result<(), OpenFailed>>;

/// The dials that wait for channels of one relay, by peer.
#[derive(Debug, Default)]
pub(super) struct Openings(BTreeMap<PeerId, Vec<oneshot::Sender<Result<(), OpenFailed>>>>);

impl Openings {
    /// A dial waits for a channel with this peer.
    pub(super) fn wait(&mut self, peer: PeerId) -> ChannelOpening {
        let (reply, opening) = oneshot::channel();
        let waiting = self.0.entry(peer).or_default();
        // Dials time out, and a relay that is down answers none of them.
        waiting.retain(|waiting| !waiting.is_closed());
        waiting.push(reply);
        opening
    }

    /// The relay has opened or refused the channel.
    pub(super) fn done(&mut self, peer: PeerId, result: Result<(), OpenFailed>) {
        for waiting in self.0.remove(&peer).into_iter().flatten() {
            let _ = waiting.send(result);
        }
    }

    /// The peers with which dials wait for a channel.
    pub(super) fn peers(&self) -> impl Iterator<Item = PeerId> {
        self.0.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dial_that_waits_learns_what_the_relay_says() {
        let [ann, bob] = [1, 2].map(|n| PeerId::from_bytes([n; 32]));
        let mut openings = Openings::default();
        let mut to_ann = [openings.wait(ann), openings.wait(ann)];
        let mut to_bob = openings.wait(bob);
        openings.done(ann, Err(OpenFailed::NotHere));
        for opening in &mut to_ann {
            assert_eq!(opening.try_recv(), Ok(Err(OpenFailed::NotHere)));
        }
        assert_eq!(openings.peers().collect::<Vec<_>>(), [bob]);
        openings.done(bob, Ok(()));
        assert_eq!(to_bob.try_recv(), Ok(Ok(())));
    }

    #[test]
    fn dials_that_gave_up_are_not_kept() {
        let ann = PeerId::from_bytes([1; 32]);
        let mut openings = Openings::default();
        for _ in 0..100 {
            drop(openings.wait(ann));
        }
        let _last = openings.wait(ann);
        assert_eq!(openings.0[&ann].len(), 1);
    }
}
