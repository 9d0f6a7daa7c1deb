//! The order of requests that change something: the order of their lines.

use tokio::sync::oneshot;

/// Gives out tickets, one after the other.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// Resolves when the last ticket is dropped.
    last: Option<oneshot::Receiver<()>>,
}

impl Order {
    pub(super) fn next(&mut self) -> OrderTicket {
        let (done, next) = oneshot::channel();
        OrderTicket {
            before: self.last.replace(next),
            _done: done,
        }
    }
}

/// A place in the order. Dropping it lets the next one go ahead.
#[derive(Debug)]
pub(super) struct OrderTicket {
    before: Option<oneshot::Receiver<()>>,
    _done: oneshot::Sender<()>,
}

impl OrderTicket {
    /// Waits until every earlier ticket is dropped.
    pub(super) async fn wait(&mut self) {
        if let Some(before) = self.before.take() {
            // The error is the signal: the sender before this one was dropped.
            let _dropped = before.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_ticket_waits_until_the_one_before_is_dropped() {
        let mut order = Order::default();
        let (mut first, mut second) = (order.next(), order.next());
        first.wait().await;
        let waiting = tokio::time::timeout(Duration::from_millis(20), second.wait());
        assert!(waiting.await.is_err(), "the first is still held");

        let (third, mut fourth) = (order.next(), order.next());
        drop(third);
        fourth.wait().await;
        drop(first);
    }
}
