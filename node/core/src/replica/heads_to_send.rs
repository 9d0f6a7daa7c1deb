//! A list of heads that is sent to a peer in pages, as fast as the peer reads.

use std::time::Duration;

use hobnob_protocol::PersonId;

/// The last log of a page: its author, and its place among all logs by age. A list is sorted by
/// author, and an author's older logs come first.
pub(super) type PageEnd = (PersonId, u64);

/// The list of heads that a session is being sent.
#[derive(Debug, Default)]
pub(super) struct HeadsToSend {
    /// When the last list began.
    began_at: Option<Duration>,
    state: State,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Idle,
    /// The next page begins after this log, or at the beginning. If something changed meanwhile
    /// and the peer needs another list, `again` is set.
    Sending { after: Option<PageEnd>, again: bool },
}

impl HeadsToSend {
    /// The peer needs a list of heads. If one is on its way, another one follows it.
    pub(super) fn begin(&mut self, now: Duration) {
        self.state = match self.state {
            State::Sending {
                after: after @ Some(_),
                ..
            } => State::Sending { after, again: true },
            State::Idle | State::Sending { after: None, .. } => State::Sending {
                after: None,
                again: false,
            },
        };
        self.began_at = Some(now);
    }

    /// Whether a page must be sent, and if so, after which log it begins.
    pub(super) fn next_page(&self) -> Option<Option<PageEnd>> {
        match self.state {
            State::Idle => None,
            State::Sending { after, .. } => Some(after),
        }
    }

    /// A page was sent. `end` is its last log if more pages follow.
    pub(super) fn page_sent(&mut self, end: Option<PageEnd>) {
        let State::Sending { again, .. } = self.state else {
            unreachable!("a page was due");
        };
        self.state = match (end, again) {
            (Some(_), _) => State::Sending { after: end, again },
            (None, true) => State::Sending {
                after: None,
                again: false,
            },
            (None, false) => State::Idle,
        };
    }

    /// Whether a list was ever begun.
    pub(super) fn were_sent(&self) -> bool {
        self.began_at.is_some()
    }

    /// Whether the last list began less than this time ago.
    pub(super) fn began_within(&self, time: Duration, now: Duration) -> bool {
        self.began_at.is_some_and(|at| now - at < time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn log(ordinal: u64) -> PageEnd {
        (PersonId::from_bytes([7; 32]), ordinal)
    }

    #[test]
    fn pages_follow_each_other() {
        let mut heads = HeadsToSend::default();
        assert_eq!(heads.next_page(), None);
        heads.begin(NOW);
        assert_eq!(heads.next_page(), Some(None));
        heads.page_sent(Some(log(4)));
        assert_eq!(heads.next_page(), Some(Some(log(4))));
        heads.page_sent(None);
        assert_eq!(heads.next_page(), None);
    }

    #[test]
    fn a_list_that_is_needed_again_follows_the_one_on_its_way() {
        let mut heads = HeadsToSend::default();
        heads.begin(NOW);
        heads.begin(NOW);
        heads.page_sent(Some(log(4)));
        heads.begin(NOW);
        heads.page_sent(None);
        assert_eq!(heads.next_page(), Some(None), "the second list");
        heads.page_sent(None);
        assert_eq!(heads.next_page(), None);
    }

    #[test]
    fn the_time_of_the_last_list_is_known() {
        let (mut heads, second) = (HeadsToSend::default(), Duration::from_secs(1));
        assert!(!heads.were_sent() && !heads.began_within(second, NOW));
        heads.begin(NOW);
        assert!(heads.were_sent() && heads.began_within(second, NOW));
        assert!(!heads.began_within(second, NOW + second));
    }
}
