//! Envelopes whose answers were lost with the connection with their holder.
//!
//! The holder may have stored them. They are deposited again as they are, so the holder recognizes
//! them and stores each once. Without that, a holder that is lost again and again would fill this
//! node's share of the mailbox with copies.

use std::collections::{BTreeMap, VecDeque};

use hobnob_protocol::DeviceId;

use super::holder::Deposited;

/// Maximum holders of which such envelopes are remembered. Each has at most
/// [`DEPOSITS_MAX`](super::holder::DEPOSITS_MAX) of them. The messages in others are sealed again.
const HOLDERS_MAX: usize = 4;

/// The envelopes, by holder.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    of: BTreeMap<DeviceId, Vec<Deposited>>,
    /// The holders, the one that was lost first at the front.
    order: VecDeque<DeviceId>,
}

impl Unanswered {
    /// The connection with a holder is lost.
    pub(super) fn lost(&mut self, holder: DeviceId, deposits: Vec<Deposited>) {
        if deposits.is_empty() {
            return;
        }
        self.take(holder);
        self.of.insert(holder, deposits);
        self.order.push_back(holder);
        if self.order.len() > HOLDERS_MAX
            && let Some(first) = self.order.pop_front()
        {
            self.of.remove(&first);
        }
    }

    /// The holder is connected again.
    pub(super) fn take(&mut self, holder: DeviceId) -> Vec<Deposited> {
        self.order.retain(|other| *other != holder);
        self.of.remove(&holder).unwrap_or_default()
    }

    /// The peer is no contact any more.
    pub(super) fn forget(&mut self, peer: DeviceId) {
        for deposits in self.of.values_mut() {
            deposits.retain(|it| it.peer != peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use hobnob_core::SessionId;

    use super::super::outgoing::Packed;
    use super::*;

    fn peer(n: u8) -> DeviceId {
        DeviceId::from_bytes([n; 32])
    }

    fn envelope(to: u8, n: u8) -> Deposited {
        Deposited {
            session: SessionId(1),
            peer: peer(to),
            room: None,
            packed: Packed::default(),
            envelope: vec![n],
            again: false,
        }
    }

    fn bytes(deposits: &[Deposited]) -> Vec<u8> {
        deposits.iter().flat_map(|it| it.envelope.clone()).collect()
    }

    #[test]
    fn the_same_envelopes_are_deposited_again_when_the_holder_returns() {
        let mut unanswered = Unanswered::default();
        unanswered.lost(
            peer(8),
            vec![envelope(2, 1), envelope(3, 2), envelope(2, 3)],
        );
        assert_eq!(bytes(&unanswered.take(peer(9))), [0; 0]);
        unanswered.forget(peer(3));
        assert_eq!(bytes(&unanswered.take(peer(8))), [1, 3]);
        assert_eq!(bytes(&unanswered.take(peer(8))), [0; 0], "once");
    }

    #[test]
    fn the_holder_that_was_lost_first_is_forgotten() {
        let mut unanswered = Unanswered::default();
        for n in 0..=u8::try_from(HOLDERS_MAX).expect("few") {
            unanswered.lost(peer(n), vec![envelope(100, n)]);
            unanswered.lost(peer(n), Vec::new());
        }
        assert_eq!(bytes(&unanswered.take(peer(0))), [0; 0]);
        assert_eq!(bytes(&unanswered.take(peer(1))), [1]);
    }
}
