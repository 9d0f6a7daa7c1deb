//! Users who wait until a message is sent or delivered.

use std::collections::{BTreeMap, BTreeSet};

use hobnob_protocol::{ConversationId, LogName, PersonId, Ranges, Seq};
use tokio::sync::oneshot;

use crate::api::DeliveryState;
use crate::error::NodeError;

/// Messages with waiters below which waiters that gave up are not looked for.
const WAITERS_UNTIDY: usize = 64;

/// Users who wait, by the message that they wait for.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    of: BTreeMap<LogName, BTreeMap<Seq, Vec<Waiter>>>,
    /// How many messages are waited for.
    messages: usize,
    /// With this many messages waited for, it is time to forget waiters that gave up.
    tidy_at: usize,
}

/// A user who waits until a message has this state with these peers.
#[derive(Debug)]
pub(super) struct Waiter {
    /// Whether the message is for one peer, not for a room.
    pub(super) is_direct: bool,
    pub(super) state: DeliveryState,
    /// The peers that do not have the message in this state yet.
    pub(super) missing: BTreeSet<PersonId>,
    pub(super) reply: oneshot::Sender<Result<DeliveryState, NodeError>>,
}

impl Waiters {
    /// Messages have reached this state with a peer. Answers the users for whom it was the last.
    pub(super) fn reached(
        &mut self,
        name: LogName,
        ranges: &Ranges,
        peer: PersonId,
        state: DeliveryState,
    ) {
        let Some(of_log) = self.of.get_mut(&name) else {
            return;
        };
        let mut done = Vec::new();
        for (first, last) in ranges.iter() {
            for (seq, waiters) in of_log.range_mut(first..=last) {
                for waiter in waiters.iter_mut().filter(|waiter| waiter.state <= state) {
                    waiter.missing.remove(&peer);
                }
                for waiter in waiters.extract_if(.., |waiter| waiter.missing.is_empty()) {
                    let _ = waiter.reply.send(Ok(waiter.state));
                }
                if waiters.is_empty() {
                    done.push(*seq);
                }
            }
        }
        self.messages -= done.len();
        for seq in done {
            of_log.remove(&seq);
        }
        if of_log.is_empty() {
            self.of.remove(&name);
        }
    }

    /// A peer refuses direct messages for now. Users who wait for the delivery of a message that
    /// was sent to it are answered with that state.
    pub(super) fn give_up(&mut self, peer: PersonId, is_sent: impl Fn(&(LogName, Seq)) -> bool) {
        self.prune(|key, waiters| {
            let in_vain = |waiter: &mut Waiter| {
                let is_for_it = waiter.is_direct && waiter.missing.contains(&peer);
                is_for_it && waiter.state > DeliveryState::Sent && is_sent(key)
            };
            for waiter in waiters.extract_if(.., in_vain) {
                let _ = waiter.reply.send(Ok(DeliveryState::Sent));
            }
        });
    }

    /// A peer has left a room. Users who wait only for it are answered: the message was not delivered
    /// to all for whom it was.
    pub(super) fn left(&mut self, room: ConversationId, peer: PersonId) {
        self.prune(|(name, _), waiters| {
            let in_vain = |waiter: &mut Waiter| {
                let is_for_it = name.conversation == room && waiter.missing.remove(&peer);
                is_for_it && waiter.missing.is_empty()
            };
            for waiter in waiters.extract_if(.., in_vain) {
                let _ = waiter.reply.send(Ok(waiter.state.min(DeliveryState::Sent)));
            }
        });
    }

    /// A user waits. One for whom no peer is missing is answered at once.
    pub(super) fn add(&mut self, name: LogName, seq: Seq, waiter: Waiter) {
        if waiter.missing.is_empty() {
            let _ = waiter.reply.send(Ok(waiter.state));
            return;
        }
        self.tidy();
        let waiters = self.of.entry(name).or_default().entry(seq).or_default();
        self.messages += usize::from(waiters.is_empty());
        waiters.push(waiter);
    }

    /// Removes the waiters that `take_out` removes from the lists that it is given.
    fn prune(&mut self, take_out: impl Fn(&(LogName, Seq), &mut Vec<Waiter>)) {
        self.messages = 0;
        self.of.retain(|name, of_log| {
            of_log.retain(|seq, waiters| {
                take_out(&(*name, *seq), waiters);
                !waiters.is_empty()
            });
            self.messages += of_log.len();
            !of_log.is_empty()
        });
    }

    /// Forgets waiters that gave up, whenever twice as many messages have waiters as after the last
    /// time. So the cost for each is small.
    fn tidy(&mut self) {
        if self.messages < self.tidy_at {
            return;
        }
        self.prune(|_, waiters| waiters.retain(|waiter| !waiter.reply.is_closed()));
        self.tidy_at = 2 * self.messages + WAITERS_UNTIDY;
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::LogId;

    use super::*;

    fn peer(n: u8) -> PersonId {
        PersonId::from_bytes([n; 32])
    }

    fn log() -> LogName {
        LogName {
            conversation: ConversationId::from_bytes([7; 32]),
            author: peer(9),
            device: peer(9).only_device(),
            log: LogId(1),
        }
    }

    fn waiter(
        state: DeliveryState,
        missing: &[PersonId],
    ) -> (Waiter, oneshot::Receiver<Result<DeliveryState, NodeError>>) {
        let (reply, answer) = oneshot::channel();
        let missing = missing.iter().copied().collect();
        let waiter = Waiter {
            is_direct: true,
            state,
            missing,
            reply,
        };
        (waiter, answer)
    }

    #[test]
    fn a_user_waits_for_the_last_peer() {
        let mut waiters = Waiters::default();
        let (waiter, mut answer) = waiter(DeliveryState::Delivered, &[peer(1), peer(2)]);
        waiters.add(log(), 5, waiter);
        let all = Ranges::span(1, 9);
        waiters.reached(log(), &all, peer(1), DeliveryState::Delivered);
        waiters.reached(log(), &all, peer(2), DeliveryState::Sent);
        assert!(answer.try_recv().is_err(), "one of them has not stored it");
        waiters.reached(
            log(),
            &Ranges::span(6, 9),
            peer(2),
            DeliveryState::Delivered,
        );
        assert!(answer.try_recv().is_err(), "that is another message");
        waiters.reached(log(), &all, peer(2), DeliveryState::Delivered);
        assert!(matches!(
            answer.try_recv(),
            Ok(Ok(DeliveryState::Delivered))
        ));
        assert!(waiters.of.is_empty());
    }

    #[test]
    fn a_delivered_message_is_also_sent() {
        let mut waiters = Waiters::default();
        let (waiter, mut answer) = waiter(DeliveryState::Sent, &[peer(1)]);
        waiters.add(log(), 5, waiter);
        waiters.reached(
            log(),
            &Ranges::span(5, 5),
            peer(1),
            DeliveryState::Delivered,
        );
        assert!(matches!(answer.try_recv(), Ok(Ok(DeliveryState::Sent))));
    }

    #[test]
    fn a_user_is_answered_when_the_peer_refuses_the_message() {
        let mut waiters = Waiters::default();
        let (sent, mut of_sent) = waiter(DeliveryState::Delivered, &[peer(1)]);
        let (queued, mut of_queued) = waiter(DeliveryState::Delivered, &[peer(1)]);
        waiters.add(log(), 5, sent);
        waiters.add(log(), 6, queued);
        waiters.give_up(peer(2), |_| true);
        assert!(of_sent.try_recv().is_err(), "that is another peer");
        waiters.give_up(peer(1), |(_, seq)| *seq == 5);
        assert!(matches!(of_sent.try_recv(), Ok(Ok(DeliveryState::Sent))));
        assert!(of_queued.try_recv().is_err());
    }

    #[test]
    fn nobody_waits_for_a_peer_that_has_left_the_room() {
        let mut waiters = Waiters::default();
        let (both, mut of_both) = waiter(DeliveryState::Delivered, &[peer(1), peer(2)]);
        let (one, mut of_one) = waiter(DeliveryState::Queued, &[peer(1)]);
        waiters.add(log(), 5, both);
        waiters.add(log(), 6, one);
        waiters.left(ConversationId::from_bytes([200; 32]), peer(1));
        assert!(of_one.try_recv().is_err(), "that is another room");
        waiters.left(log().conversation, peer(1));
        assert!(matches!(of_one.try_recv(), Ok(Ok(DeliveryState::Queued))));
        assert!(of_both.try_recv().is_err(), "one is still there");
        waiters.left(log().conversation, peer(2));
        assert!(matches!(of_both.try_recv(), Ok(Ok(DeliveryState::Sent))));
        assert_eq!((waiters.messages, waiters.of.len()), (0, 0));
    }

    #[test]
    fn nobody_waits_for_nobody() {
        let mut waiters = Waiters::default();
        let (waiter, mut answer) = waiter(DeliveryState::Delivered, &[]);
        waiters.add(log(), 5, waiter);
        assert!(matches!(
            answer.try_recv(),
            Ok(Ok(DeliveryState::Delivered))
        ));
    }

    #[test]
    fn waiters_that_gave_up_are_forgotten() {
        let mut waiters = Waiters::default();
        for seq in 0..1_000 {
            waiters.add(log(), seq, waiter(DeliveryState::Sent, &[peer(1)]).0);
        }
        assert!(waiters.messages <= WAITERS_UNTIDY + 1);
        let held = waiters.of.values().map(BTreeMap::len).sum::<usize>();
        assert_eq!(waiters.messages, held);
    }
}
