//! Dials that need a channel with their peer: they wait until a relay has opened it, and until they
//! end, a channel that is lost is opened again.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use hobnob_protocol::DeviceId;
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
    #[error("the relay can't ask the other relays of its fleet now")]
    Unsure,
    #[error("the peer is at another relay of the fleet")]
    Elsewhere,
    #[error("this node does not use that relay any more")]
    Gone,
}

impl From<OpenRefusal> for OpenFailed {
    fn from(refusal: OpenRefusal) -> Self {
        match refusal {
            OpenRefusal::NotHere => Self::NotHere,
            OpenRefusal::Refused | OpenRefusal::Unknown(_) => Self::Refused,
            OpenRefusal::Limit => Self::Limit,
            OpenRefusal::Unsure => Self::Unsure,
        }
    }
}

/// A dial's claim to a channel with its peer. The dial keeps it until it ends.
#[derive(Debug)]
pub(crate) struct ChannelOpening {
    answer: oneshot::Receiver<Result<(), OpenFailed>>,
    _claim: Arc<()>,
}

impl ChannelOpening {
    /// Resolves when the relay has opened or refused the channel. Returns nothing if the node ends
    /// first.
    pub(crate) async fn opened(&mut self) -> Option<Result<(), OpenFailed>> {
        (&mut self.answer).await.ok()
    }

    #[cfg(test)]
    pub(super) fn answered(&mut self) -> Option<Result<(), OpenFailed>> {
        self.answer.try_recv().ok()
    }

    /// An opening that has failed for this reason.
    pub(crate) fn refused(why: OpenFailed) -> Self {
        let (reply, answer) = oneshot::channel();
        let _ = reply.send(Err(why));
        ChannelOpening {
            answer,
            _claim: Arc::default(),
        }
    }
}

/// The dials that need channels of one relay, by peer.
#[derive(Debug, Default)]
pub(super) struct Openings(BTreeMap<DeviceId, Dials>);

/// The dials that need a channel with one peer.
#[derive(Debug, Default)]
struct Dials {
    waiting: Vec<oneshot::Sender<Result<(), OpenFailed>>>,
    /// Of the dials that wait, and of those that use the channel.
    claims: Vec<Weak<()>>,
}

impl Dials {
    fn claim(&mut self) -> Arc<()> {
        let claim = Arc::new(());
        // Dials time out, and a relay that is down answers none of them.
        self.claims.retain(|claim| claim.strong_count() > 0);
        self.waiting.retain(|waiting| !waiting.is_closed());
        self.claims.push(Arc::downgrade(&claim));
        claim
    }
}

impl Openings {
    /// A dial waits for a channel with this peer.
    pub(super) fn wait(&mut self, peer: DeviceId) -> ChannelOpening {
        let (reply, answer) = oneshot::channel();
        let dials = self.0.entry(peer).or_default();
        let claim = dials.claim();
        dials.waiting.push(reply);
        ChannelOpening {
            answer,
            _claim: claim,
        }
    }

    /// A dial uses the channel that is open with this peer.
    pub(super) fn open(&mut self, peer: DeviceId) -> ChannelOpening {
        let (reply, answer) = oneshot::channel();
        let _ = reply.send(Ok(()));
        ChannelOpening {
            answer,
            _claim: self.0.entry(peer).or_default().claim(),
        }
    }

    /// The relay has opened or refused the channel.
    pub(super) fn done(&mut self, peer: DeviceId, result: Result<(), OpenFailed>) {
        let Some(dials) = self.0.get_mut(&peer) else {
            return;
        };
        for waiting in dials.waiting.drain(..) {
            let _ = waiting.send(result);
        }
        self.forget_ended();
    }

    /// No dial can have its channel here.
    pub(super) fn refuse_all(&mut self, why: OpenFailed) {
        for dials in self.0.values_mut() {
            for waiting in dials.waiting.drain(..) {
                let _ = waiting.send(Err(why));
            }
        }
        self.forget_ended();
    }

    /// Dials for another name of the relay wait here from now on.
    pub(super) fn take_over(&mut self, other: Self) {
        for (peer, dials) in other.0 {
            let known = self.0.entry(peer).or_default();
            known.waiting.extend(dials.waiting);
            known.claims.extend(dials.claims);
        }
    }

    /// The peers with which dials need a channel.
    pub(super) fn peers(&mut self) -> Vec<DeviceId> {
        self.forget_ended();
        self.0.keys().copied().collect()
    }

    /// Whether a dial needs a channel with this peer.
    pub(super) fn has(&self, peer: DeviceId) -> bool {
        let dials = self.0.get(&peer);
        dials.is_some_and(|dials| dials.claims.iter().any(|claim| claim.strong_count() > 0))
    }

    fn forget_ended(&mut self) {
        self.0
            .retain(|_, dials| dials.claims.iter().any(|claim| claim.strong_count() > 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dial_that_waits_learns_what_the_relay_says() {
        let [ann, bob] = [1, 2].map(|n| DeviceId::from_bytes([n; 32]));
        let mut openings = Openings::default();
        let mut to_ann = [openings.wait(ann), openings.wait(ann)];
        let mut to_bob = openings.wait(bob);
        openings.done(ann, Err(OpenFailed::NotHere));
        for opening in &mut to_ann {
            assert_eq!(opening.answered(), Some(Err(OpenFailed::NotHere)));
        }
        openings.done(bob, Ok(()));
        assert_eq!(to_bob.answered(), Some(Ok(())));
    }

    #[test]
    fn dials_that_wait_are_refused_together() {
        let [ann, bob] = [1, 2].map(|n| DeviceId::from_bytes([n; 32]));
        let mut openings = Openings::default();
        let mut waiting = [openings.wait(ann), openings.wait(bob)];
        openings.refuse_all(OpenFailed::Elsewhere);
        for opening in &mut waiting {
            assert_eq!(opening.answered(), Some(Err(OpenFailed::Elsewhere)));
        }
        let mut refused = ChannelOpening::refused(OpenFailed::Elsewhere);
        assert_eq!(refused.answered(), Some(Err(OpenFailed::Elsewhere)));
    }

    #[test]
    fn a_dial_needs_its_channel_until_it_ends() {
        let [ann, bob] = [1, 2].map(|n| DeviceId::from_bytes([n; 32]));
        let mut openings = Openings::default();
        let (to_ann, mut to_bob) = (openings.wait(ann), openings.open(bob));
        assert_eq!(to_bob.answered(), Some(Ok(())), "it is open");
        openings.done(ann, Ok(()));
        assert_eq!(openings.peers(), [ann, bob]);
        drop(to_ann);
        assert!(!openings.has(ann) && openings.has(bob));
        assert_eq!(openings.peers(), [bob]);
    }

    #[test]
    fn dials_that_gave_up_are_not_kept() {
        let ann = DeviceId::from_bytes([1; 32]);
        let mut openings = Openings::default();
        for _ in 0..100 {
            drop(openings.wait(ann));
        }
        let _last = openings.wait(ann);
        assert_eq!(openings.0[&ann].waiting.len(), 1);
        assert_eq!(openings.0[&ann].claims.len(), 1);
    }
}
