//! When to ask the node for its rooms and its status. Events do not report all changes of these.

use hobnob_control::wire::Time;

/// Time between two polls.
const POLL_EVERY_MS: u64 = 10_000;

/// Time from an event about a peer to the next poll. A new session needs a moment to prove which
/// rooms it is in.
const POLL_SOON_MS: u64 = 300;

/// See the module.
#[derive(Debug)]
pub(crate) struct Polling {
    is_attached: bool,
    next: Time,
}

impl Polling {
    pub(super) fn new(now: Time) -> Polling {
        Polling {
            is_attached: false,
            next: now,
        }
    }

    /// Whether there is a node to ask.
    pub(super) fn is_attached(&self) -> bool {
        self.is_attached
    }

    /// There is a node, and the chat has just asked it for everything.
    pub(super) fn attached(&mut self, now: Time) {
        self.is_attached = true;
        self.next = Time(now.0 + POLL_EVERY_MS);
    }

    pub(super) fn detached(&mut self) {
        self.is_attached = false;
    }

    /// Something has changed at the node.
    pub(super) fn soon(&mut self, now: Time) {
        self.next = self.next.min(Time(now.0 + POLL_SOON_MS));
    }

    /// Whether it is time to poll. If so, the next poll is due later.
    pub(super) fn take_due(&mut self, now: Time) -> bool {
        let is_due = self.is_attached && now >= self.next;
        if is_due {
            self.next = Time(now.0 + POLL_EVERY_MS);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_is_polled_now_and_then_and_soon_after_a_change() {
        let mut polling = Polling::new(Time(0));
        assert!(!polling.take_due(Time(0)), "there is no node yet");
        polling.attached(Time(0));
        assert!(!polling.take_due(Time(9_999)));
        assert!(polling.take_due(Time(10_000)) && !polling.take_due(Time(10_000)));
        polling.soon(Time(11_000));
        polling.soon(Time(11_200));
        assert!(!polling.take_due(Time(11_299)));
        assert!(
            polling.take_due(Time(11_300)),
            "counted from the first change"
        );
        polling.detached();
        assert!(!polling.take_due(Time(99_999)));
    }
}
