//! Those who wait for messages to come further.

use crate::api::DeliveryState;
use crate::error::NodeError;
use hobnob_protocol::{LogName, PeerId, Seq};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::oneshot;

/// Those who wait for a message to come further.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    of: BTreeMap<(LogName, Seq), Vec<Waiter>>,
    /// With so many messages waited for, it is time to forget those who no longer wait.
    tidy_at: usize,
}

/// Messages waited for that are not worth looking through.
const WAITERS_UNTIDY: usize = 64;

#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) state: DeliveryState,
    pub(super) missing: BTreeSet<PeerId>,
    pub(super) reply: oneshot::Sender<Result<DeliveryState, NodeError>>,
}
impl Waiters {
    /// The peer has these messages in this state: whoever waited only for that is told.
    pub(super) fn reached(
        &mut self,
        name: LogName,
        first: Seq,
        last: Seq,
        peer: PeerId,
        state: DeliveryState,
    ) {
        let mut done = Vec::new();
        for (key, waiters) in self.of.range_mut((name, first)..=(name, last)) {
            for waiter in waiters.iter_mut().filter(|waiter| waiter.state <= state) {
                waiter.missing.remove(&peer);
            }
            for waiter in waiters.extract_if(.., |waiter| waiter.missing.is_empty()) {
                let _ = waiter.reply.send(Ok(waiter.state));
            }
            if waiters.is_empty() {
                done.push(*key);
            }
        }
        for key in done {
            self.of.remove(&key);
        }
    }

    pub(super) fn add(&mut self, name: LogName, seq: Seq, waiter: Waiter) {
        self.tidy();
        self.of.entry((name, seq)).or_default().push(waiter);
    }

    /// Forgets those who no longer wait, whenever there are twice as many as after the last time:
    /// so that each costs little.
    fn tidy(&mut self) {
        if self.of.len() < self.tidy_at {
            return;
        }
        self.of.retain(|_, waiters| {
            waiters.retain(|waiter| !waiter.reply.is_closed());
            !waiters.is_empty()
        });
        self.tidy_at = 2 * self.of.len() + WAITERS_UNTIDY;
    }
}
