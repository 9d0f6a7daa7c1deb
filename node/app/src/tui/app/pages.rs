//! The pages of a conversation that are read from the store: the request that is open, and the
//! messages that arrive meanwhile. Not here: the entries in memory, which are in `window`.

use hobnob_control::wire::{HistoryFilter, MessageLine};

/// Messages per page. An answer with fewer means that there are no more in that direction.
pub(crate) const PAGE: usize = 200;

/// Which page to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PageDirection {
    /// The newest messages, replacing all entries.
    Newest,
    /// The first messages, replacing all entries.
    Oldest,
    /// The messages before the first entry.
    Older,
    /// The messages after the last entry.
    Newer,
}

/// A page to ask the node for. The number identifies the answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PageRequest {
    pub(crate) number: u64,
    pub(crate) filter: HistoryFilter,
}

/// The requests for pages of one conversation. One page is read at a time.
#[derive(Debug)]
pub(super) struct Pages {
    /// The page that was asked for, and the number of that request.
    asked: Option<(PageDirection, u64)>,
    /// The number of requests so far. An answer to an earlier one is void.
    requests: u64,
    /// Messages that arrived since the newest page was asked for.
    live: Vec<MessageLine>,
    /// The number of messages that arrived while the newest ones were not in memory.
    missed: usize,
    /// How many of `missed` arrived since a page was asked for last.
    since_asked: usize,
}

impl Pages {
    /// Continues to count after this number of requests.
    pub(super) fn after(requests: u64) -> Pages {
        Pages {
            asked: None,
            requests,
            live: Vec::new(),
            missed: 0,
            since_asked: 0,
        }
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests
    }

    pub(super) fn is_reading(&self) -> bool {
        self.asked.is_some()
    }

    /// The number of messages that arrived while the newest ones were not in memory.
    pub(super) fn missed(&self) -> usize {
        self.missed
    }

    /// Begins to read a page, and returns the number of the request. The answer to an earlier
    /// request is void from now on.
    pub(super) fn begin(&mut self, direction: PageDirection) -> u64 {
        self.requests += 1;
        self.asked = Some((direction, self.requests));
        self.live.clear();
        self.since_asked = 0;
        self.requests
    }

    /// Ends the request with this number. Returns its direction, or `None` if the request is void.
    pub(super) fn end(&mut self, request: u64) -> Option<PageDirection> {
        let ended = self.asked.take_if(|(_, asked)| *asked == request);
        ended.map(|(direction, _)| direction)
    }

    /// A message arrived. The newest page may have been read just before.
    pub(super) fn arrived(&mut self, message: &MessageLine) {
        if matches!(self.asked, Some((PageDirection::Newest, _))) {
            self.live.push(message.clone());
        }
    }

    /// The messages that arrived since the newest page was asked for.
    pub(super) fn take_live(&mut self) -> Vec<MessageLine> {
        std::mem::take(&mut self.live)
    }

    /// A message arrived while the newest ones are not in memory.
    pub(super) fn miss(&mut self) {
        self.missed += 1;
        self.since_asked += 1;
    }

    /// A page of newer messages added `added` entries. Returns whether the newest message is now in
    /// memory.
    pub(super) fn newer_read(&mut self, full: bool, added: usize) -> bool {
        // Messages that arrived while this page was read may be on it or not. If there are any,
        // the next page shows it.
        let at_end = !full && self.since_asked == 0;
        self.missed = if full {
            self.missed.saturating_sub(added)
        } else {
            self.since_asked
        };
        at_end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_an_earlier_request_is_void() {
        let mut pages = Pages::after(7);
        let older = pages.begin(PageDirection::Older);
        let newest = pages.begin(PageDirection::Newest);
        assert_eq!((older, newest), (8, 9));
        assert_eq!(pages.end(older), None);
        assert!(pages.is_reading());
        assert_eq!(pages.end(newest), Some(PageDirection::Newest));
        assert!(!pages.is_reading());
    }

    #[test]
    fn a_message_that_arrives_during_the_last_page_needs_one_more() {
        let mut pages = Pages::after(0);
        pages.miss();
        pages.begin(PageDirection::Newer);
        pages.miss();
        assert!(!pages.newer_read(false, 1));
        assert_eq!(pages.missed(), 1);
        pages.begin(PageDirection::Newer);
        assert!(pages.newer_read(false, 1));
        assert_eq!(pages.missed(), 0);
    }
}
