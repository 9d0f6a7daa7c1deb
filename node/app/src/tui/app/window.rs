//! The part of a conversation that is in memory: the messages around those on the screen, with the
//! notes between them. The rest stays in the store and is read in pages while the user scrolls.
//!
//! Pure: the window names the page that it needs, and receives it later. The number of entries and
//! bytes is bounded: the window drops those furthest from the screen, and reads them again when
//! they are needed.

use std::collections::VecDeque;

use hobnob::{ConversationRef, MessageId};
use hobnob_control::wire::{HistoryFilter, MessageLine, Text};

use super::entries::{BYTES_MAX, ENTRIES_MAX, Entries};
use super::pages::{PAGE, PageDirection, PageRequest, Pages};
use super::timeline::Note;

/// How far the user has scrolled up: the lowest entry on the screen has `below` entries below it,
/// and `rows` of its own rows are below the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scroll {
    pub(crate) below: usize,
    pub(crate) rows: usize,
}

const BOTTOM: Scroll = Scroll { below: 0, rows: 0 };

/// See the module.
#[derive(Debug)]
pub(crate) struct Window {
    of: ConversationRef,
    entries: Entries,
    /// Whether the first message of the conversation is in memory.
    at_start: bool,
    /// Whether the newest message of the conversation is in memory.
    at_end: bool,
    /// None: the screen shows the newest entry and follows new ones.
    scroll: Option<Scroll>,
    pages: Pages,
    /// Whether the user has emptied the screen.
    cleared: bool,
}

impl Window {
    /// An empty window. `requests`: the number of requests that earlier windows made, so that a
    /// late answer to one of them is not taken for an answer to this window.
    pub(crate) fn new(of: ConversationRef, requests: u64) -> Window {
        Window {
            of,
            entries: Entries::default(),
            at_start: false,
            at_end: false,
            scroll: None,
            pages: Pages::after(requests),
            cleared: false,
        }
    }

    /// A window with one message that a search found. The messages around it are read next.
    pub(crate) fn around(message: MessageLine, requests: u64) -> Window {
        let mut window = Window::new(message.conversation.0.clone(), requests);
        window.scroll = Some(BOTTOM);
        window.entries.push_message(message);
        window
    }

    pub(crate) fn entries(&self) -> &Entries {
        &self.entries
    }

    pub(crate) fn requests(&self) -> u64 {
        self.pages.requests()
    }

    pub(crate) fn scroll(&self) -> Option<Scroll> {
        self.scroll
    }

    /// Whether the conversation is known to have no messages at all.
    pub(crate) fn has_no_messages(&self) -> bool {
        self.at_start && !self.entries.has_messages() && !self.cleared
    }

    pub(crate) fn holds(&self, id: MessageId) -> bool {
        self.entries.contains(id)
    }

    /// The newest message of the conversation, if it is on the screen.
    pub(crate) fn newest_shown(&self) -> Option<MessageId> {
        let is_shown = self.at_end && self.scroll.is_none();
        self.entries
            .newest_message()
            .filter(|_| is_shown)
            .map(|id| id.0)
    }

    /// The number of entries below the screen, as far as it is known.
    pub(crate) fn below(&self) -> usize {
        self.scroll.map_or(0, |scroll| scroll.below) + self.pages.missed()
    }

    /// The page that a screen of this many rows needs next, if any. One page is read at a time.
    pub(crate) fn next_page(&mut self, rows: usize) -> Option<PageRequest> {
        if self.pages.is_reading() {
            return None;
        }
        let below = self.scroll.map_or(0, |scroll| scroll.below);
        let above = self.entries.len() - below.min(self.entries.len());
        let direction = if !self.entries.has_messages() && !self.at_end {
            PageDirection::Newest
        } else if !self.at_start && above < 2 * rows && self.entries.bytes() < BYTES_MAX / 2 {
            PageDirection::Older
        } else if !self.at_end && below < rows {
            PageDirection::Newer
        } else {
            return None;
        };
        Some(self.begin(direction))
    }

    /// Begins to read a page. The answer to an earlier request is void from now on.
    pub(crate) fn begin(&mut self, direction: PageDirection) -> PageRequest {
        let number = self.pages.begin(direction);
        let filter = HistoryFilter {
            conversation: Some(Text(self.of.clone())),
            limit: Some(PAGE),
            ..HistoryFilter::default()
        };
        let filter = match direction {
            PageDirection::Newest => filter,
            PageDirection::Oldest => HistoryFilter {
                oldest: true,
                ..filter
            },
            PageDirection::Older => HistoryFilter {
                before: self.entries.oldest_message(),
                ..filter
            },
            PageDirection::Newer => HistoryFilter {
                after: self.entries.newest_message(),
                oldest: true,
                ..filter
            },
        };
        PageRequest { number, filter }
    }

    /// Takes a page, unless another one was begun since. Where the page replaces all entries,
    /// `notes` are merged into it.
    pub(crate) fn page(
        &mut self,
        request: u64,
        messages: Vec<MessageLine>,
        notes: &VecDeque<Note>,
    ) {
        let Some(direction) = self.pages.end(request) else {
            return;
        };
        let full = messages.len() >= PAGE;
        match direction {
            PageDirection::Newest => {
                let messages = messages.into_iter().chain(self.pages.take_live()).collect();
                self.replace(messages, notes, !full, true);
                self.scroll = None;
            }
            PageDirection::Oldest => {
                let end = self.replace(messages, notes, true, !full);
                self.scroll = Some(Scroll {
                    below: end,
                    rows: usize::MAX,
                });
            }
            PageDirection::Older => {
                self.at_start = !full;
                for message in messages.into_iter().rev() {
                    self.entries.push_message_front(message);
                }
                self.drop_below();
            }
            PageDirection::Newer => self.newer(messages, full),
        }
    }

    /// The page could not be read.
    pub(crate) fn failed(&mut self, request: u64) {
        self.pages.end(request);
    }

    /// A message has arrived, or the user has sent it.
    pub(crate) fn message(&mut self, message: MessageLine) {
        self.pages.arrived(&message);
        if self.at_end && (self.scroll.is_none() || self.entries.len() < ENTRIES_MAX) {
            let added = self.entries.push_message(message);
            self.follow_or_stay(added);
        } else if !self.entries.contains(message.id.0) {
            self.at_end = false;
            self.pages.miss();
        }
    }

    pub(crate) fn note(&mut self, note: Note) {
        if self.at_end {
            let added = self.entries.push_note(note);
            self.follow_or_stay(added);
        }
    }

    /// Empties the window. The messages stay in the store.
    pub(crate) fn clear(&mut self) {
        let (at_start, at_end, cleared) = (true, true, true);
        *self = Window {
            at_start,
            at_end,
            cleared,
            ..Window::new(self.of.clone(), self.pages.requests())
        };
    }

    /// Scrolls to the newest entry and follows new ones. Returns false if the newest messages have
    /// to be read first.
    pub(crate) fn follow(&mut self) -> bool {
        if self.at_end {
            self.scroll = None;
            while self.entries.is_too_large() {
                self.pop_front();
            }
        }
        self.at_end
    }

    /// Scrolls up. `rows`: the rows of the screen; `height`: the rows of the entry with an index.
    pub(crate) fn up(&mut self, by: usize, rows: usize, height: impl Fn(usize) -> usize) {
        let mut scroll = self.settled(rows, &height);
        scroll.rows = scroll.rows.saturating_add(by);
        self.set_scroll(self.settle(scroll, rows, &height));
    }

    /// Scrolls down.
    pub(crate) fn down(&mut self, mut by: usize, rows: usize, height: impl Fn(usize) -> usize) {
        let mut scroll = self.settled(rows, &height);
        while scroll.rows < by && scroll.below > 0 {
            by -= scroll.rows;
            scroll.below -= 1;
            scroll.rows = height(self.entries.len() - 1 - scroll.below);
        }
        scroll.rows = scroll.rows.saturating_sub(by);
        self.set_scroll(scroll);
    }

    /// The scroll position for a screen of this many rows.
    pub(crate) fn settled(&self, rows: usize, height: impl Fn(usize) -> usize) -> Scroll {
        self.scroll
            .map_or(BOTTOM, |scroll| self.settle(scroll, rows, &height))
    }

    fn set_scroll(&mut self, scroll: Scroll) {
        self.scroll = (scroll != BOTTOM || !self.at_end).then_some(scroll);
    }

    /// Normalizes a scroll position: `rows` becomes less than the rows of one entry, and the first
    /// entry is not below the top of the screen.
    fn settle(&self, mut scroll: Scroll, rows: usize, height: &impl Fn(usize) -> usize) -> Scroll {
        let len = self.entries.len();
        while scroll.below < len {
            let tall = height(len - 1 - scroll.below);
            if scroll.rows < tall {
                break;
            }
            scroll.rows -= tall;
            scroll.below += 1;
        }
        let top = self.top(rows, height);
        if (scroll.below, scroll.rows) > (top.below, top.rows) {
            top
        } else {
            scroll
        }
    }

    /// The scroll position with the first entry at the top of the screen.
    fn top(&self, rows: usize, height: &impl Fn(usize) -> usize) -> Scroll {
        let mut on_screen = 0;
        for index in 0..self.entries.len() {
            on_screen += height(index);
            if on_screen >= rows {
                return Scroll {
                    below: self.entries.len() - 1 - index,
                    rows: on_screen - rows,
                };
            }
        }
        BOTTOM
    }

    fn replace(
        &mut self,
        messages: Vec<MessageLine>,
        notes: &VecDeque<Note>,
        at_start: bool,
        at_end: bool,
    ) -> usize {
        *self = Window {
            at_start,
            at_end,
            ..Window::new(self.of.clone(), self.pages.requests())
        };
        let mut notes = notes.iter().peekable();
        for message in messages {
            // A note before the first message belongs to an older page, unless there is none.
            while let Some(note) = notes.next_if(|note| note.at < message.received_at) {
                if at_start || self.entries.len() > 0 {
                    self.entries.push_note(note.clone());
                }
            }
            self.entries.push_message(message);
        }
        if at_end {
            for note in notes {
                self.entries.push_note(note.clone());
            }
        }
        self.entries.len().saturating_sub(1)
    }

    fn newer(&mut self, messages: Vec<MessageLine>, full: bool) {
        let added: usize = messages
            .into_iter()
            .map(|message| self.entries.push_message(message))
            .sum();
        if let Some(scroll) = &mut self.scroll {
            scroll.below += added;
        }
        self.at_end = self.pages.newer_read(full, added);
        let below = self.scroll.map_or(0, |scroll| scroll.below);
        while self.entries.is_too_large() && self.entries.len() > below + 1 {
            self.pop_front();
        }
    }

    /// Entries were added at the end: follows them, or keeps the view where the user has scrolled.
    fn follow_or_stay(&mut self, added: usize) {
        if let Some(scroll) = &mut self.scroll {
            scroll.below += added;
            return;
        }
        while self.entries.is_too_large() {
            self.pop_front();
        }
    }

    /// Drops entries below the screen as long as there are too many.
    fn drop_below(&mut self) {
        while self.entries.is_too_large()
            && let Some(scroll) = &mut self.scroll
            && scroll.below > 0
        {
            scroll.below -= 1;
            self.entries.pop_back();
            self.at_end = false;
        }
    }

    fn pop_front(&mut self) {
        self.entries.pop_front();
        self.at_start = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::test_messages;
    use hobnob_control::wire::Time;

    /// Rows of the screen. Each entry takes one.
    const ROWS: usize = 10;

    fn message(seq: u64) -> MessageLine {
        MessageLine {
            sent_at: Time(seq),
            received_at: Time(seq),
            ..test_messages::message(seq, "hi")
        }
    }

    /// Answers the request as a store with the messages 1 to `last` would.
    fn answer(window: &mut Window, request: &PageRequest, last: u64) {
        let place = |id: Option<Text<MessageId>>| id.map(|id| id.0.seq);
        let from = place(request.filter.after).map_or(1, |seq| seq + 1);
        let until = place(request.filter.before).map_or(last, |seq| seq - 1);
        let mut page: Vec<_> = (from..=until).map(message).collect();
        if request.filter.oldest {
            page.truncate(PAGE);
        } else {
            page.drain(..page.len().saturating_sub(PAGE));
        }
        window.page(request.number, page, &VecDeque::new());
    }

    /// Reads pages until the screen needs no more.
    fn read(window: &mut Window, last: u64) {
        while let Some(request) = window.next_page(ROWS) {
            answer(window, &request, last);
        }
    }

    fn opened(last: u64) -> Window {
        let mut window = Window::new("#lobby".parse().unwrap(), 0);
        read(&mut window, last);
        window
    }

    fn seqs(window: &Window) -> Vec<u64> {
        let messages = window.entries().iter().filter_map(|entry| entry.message());
        messages.map(|message| message.id.0.seq).collect()
    }

    #[test]
    fn it_opens_with_the_newest_page_and_follows() {
        let mut window = opened(1_000);
        assert_eq!(seqs(&window), (801..=1_000).collect::<Vec<_>>());
        window.message(message(1_001));
        assert_eq!(window.newest_shown(), Some(message(1_001).id.0));
    }

    #[test]
    fn scrolling_up_reads_older_pages_until_the_start() {
        let mut window = opened(450);
        for _ in 0..50 {
            window.up(ROWS, ROWS, |_| 1);
            read(&mut window, 450);
        }
        assert_eq!(seqs(&window), (1..=450).collect::<Vec<_>>());
        let top = window.settled(ROWS, |_| 1);
        assert_eq!(top.below, 440, "the first ten messages are on the screen");
    }

    #[test]
    fn a_message_is_in_the_window_once() {
        let mut window = opened(3);
        window.message(message(3));
        assert_eq!(seqs(&window), [1, 2, 3]);
    }

    #[test]
    fn the_answer_to_an_earlier_request_is_ignored() {
        let mut window = opened(300);
        let older = window.begin(PageDirection::Older);
        let newest = window.begin(PageDirection::Newest);
        answer(&mut window, &older, 300);
        assert_eq!(seqs(&window).len(), PAGE);
        answer(&mut window, &newest, 300);
        assert_eq!(seqs(&window).last(), Some(&300));
    }

    #[test]
    fn messages_that_arrive_while_the_newest_page_is_read_are_not_lost() {
        let mut window = opened(300);
        let request = window.begin(PageDirection::Newest);
        window.message(message(301));
        answer(&mut window, &request, 300);
        assert_eq!(seqs(&window).last(), Some(&301));
    }

    #[test]
    fn a_user_who_has_scrolled_up_keeps_the_view_and_memory_stays_bounded() {
        let mut window = opened(300);
        window.up(5, ROWS, |_| 1);
        for seq in 301..3_000 {
            window.message(message(seq));
        }
        assert!(window.entries().len() <= ENTRIES_MAX);
        assert_eq!(window.newest_shown(), None);
        assert_eq!(window.below(), 5 + 2_699);
        assert!(!window.follow(), "the newest messages have to be read");
    }

    #[test]
    fn an_emptied_window_reads_nothing_by_itself() {
        let mut window = opened(300);
        window.clear();
        assert_eq!(window.next_page(ROWS), None);
        assert!(!window.has_no_messages(), "the store has messages");
    }
}
