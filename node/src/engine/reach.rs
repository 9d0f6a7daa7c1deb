//! Whether the peer of a session reaches this node unasked.
//!
//! A firewall that admits only answers forgets a path on which nothing was sent for a minute or two.
//! Then it drops what the peer of a sleeping session sends. So before a session may sleep, its peer is
//! asked for a dial-back: one datagram from a socket that this node has never sent anything to.

use std::time::Duration;

use super::dialback::DialBackToken;

/// The age of a session at which its peer is asked. Most sessions that end early never ask.
const ASK_AFTER: Duration = Duration::from_secs(30);

/// When to ask again a peer whose datagram has not arrived.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(60 * 60);

/// See the module's doc.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// The last request, and when it was made.
    asked: Option<(DialBackToken, Duration)>,
    is_reached: bool,
}

impl Reach {
    /// Whether to ask the peer now. `age`: that of the session.
    pub(super) fn is_due(&self, age: Duration, now: Duration) -> bool {
        let is_recent = |at: Duration| now.saturating_sub(at) < ASK_AGAIN_AFTER;
        let has_asked = self.asked.is_some_and(|(_, at)| is_recent(at));
        age >= ASK_AFTER && !self.is_reached && !has_asked
    }

    /// The peer was asked.
    pub(super) fn ask(&mut self, token: DialBackToken, now: Duration) {
        self.asked = Some((token, now));
    }

    /// A probe arrived. Returns whether it answers the request. From a socket that this node has
    /// written to, it proves nothing.
    pub(super) fn probe_arrived(&mut self, token: &DialBackToken, written_to: bool) -> bool {
        let is_answer = self.asked.is_some_and(|(asked, _)| asked == *token);
        self.is_reached |= is_answer && !written_to;
        is_answer
    }

    /// Whether the peer reaches this node unasked.
    pub(super) fn is_reached(&self) -> bool {
        self.is_reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: DialBackToken = [7; 16];

    #[test]
    fn a_peer_is_asked_once_an_hour_until_its_probe_arrives() {
        let (mut reach, now) = (Reach::default(), Duration::from_secs(1_000));
        assert!(!reach.is_due(ASK_AFTER / 2, now));
        assert!(reach.is_due(ASK_AFTER, now));
        reach.ask(TOKEN, now);
        assert!(!reach.is_due(ASK_AFTER, now + ASK_AGAIN_AFTER / 2));
        assert!(reach.is_due(ASK_AFTER, now + ASK_AGAIN_AFTER));
        assert!(reach.probe_arrived(&TOKEN, false));
        assert!(reach.is_reached());
        assert!(!reach.is_due(ASK_AFTER, now + ASK_AGAIN_AFTER));
    }

    #[test]
    fn only_a_probe_that_was_asked_for_and_could_not_be_an_answer_proves_something() {
        let mut reach = Reach::default();
        assert!(!reach.probe_arrived(&TOKEN, false), "nobody was asked");
        reach.ask(TOKEN, Duration::ZERO);
        assert!(!reach.probe_arrived(&[8; 16], false), "another token");
        assert!(reach.probe_arrived(&TOKEN, true));
        assert!(!reach.is_reached(), "this node has written to the socket");
    }
}
