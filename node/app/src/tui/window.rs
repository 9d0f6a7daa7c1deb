//! The part of a conversation that is in memory: a bounded run of messages around what the screen
//! shows, with the notes that were made meanwhile between them. The rest stays in the store and
//! comes a page at a time as one scrolls.
//!
//! Pure: it says which page it needs, and takes it when it has come.

use std::collections::{BTreeSet, VecDeque};

use hobnob::{ConversationRef, MessageId};
use hobnob_control::wire::{HistoryFilter, MessageLine, Text};

use super::timeline::{Entry, EntryContent, Note};

/// Messages asked for at once. Fewer in the answer mean that there are no more in that direction.
pub(super) const PAGE: usize = 200;

/// Entries held; those furthest from what is shown are let go, and read again when they are needed.
const ENTRIES_MAX: usize = 1_000;

/// Bytes of text held, likewise.
const BYTES_MAX: usize = 4 << 20;

/// Which page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageDirection {
    /// The newest messages, in place of all that is held.
    Newest,
    /// The first ones, likewise.
    Oldest,
    /// Those before the first that is held.
    Older,
    /// Those after the last that is held.
    Newer,
}

/// What is shown does not follow the newest entry: the lowest that is on the screen has so many
/// entries below it, and so many of its own rows are below the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scroll {
    pub(super) below: usize,
    pub(super) rows: usize,
}

const BOTTOM: Scroll = Scroll { below: 0, rows: 0 };

/// See the module.
#[derive(Debug)]
pub(super) struct Window {
    of: ConversationRef,
    entries: VecDeque<Entry>,
    ids: BTreeSet<MessageId>,
    bytes: usize,
    at_start: bool,
    at_end: bool,
    scroll: Option<Scroll>,
    /// The page that is being read, and the number of that request.
    asked: Option<(PageDirection, u64)>,
    requests: u64,
    /// What came since the newest page was asked for.
    live: Vec<MessageLine>,
    /// Messages that came while the newest were not held, and how many of them since a page was
    /// asked for last.
    missed: usize,
    since_asked: usize,
    /// The user did not want to see what was there.
    cleared: bool,
}

impl Window {
    /// Holds nothing yet. So many requests were made by others before it.
    pub(super) fn new(of: ConversationRef, requests: u64) -> Window {
        Window {
            of,
            entries: VecDeque::new(),
            ids: BTreeSet::new(),
            bytes: 0,
            at_start: false,
            at_end: false,
            scroll: None,
            asked: None,
            requests,
            live: Vec::new(),
            missed: 0,
            since_asked: 0,
            cleared: false,
        }
    }

    /// Holds one message that was found; what is around it comes when it is needed.
    pub(super) fn around(message: MessageLine, requests: u64) -> Window {
        let mut window = Window::new(message.conversation.0.clone(), requests);
        window.scroll = Some(BOTTOM);
        window.push_back(Entry::new(EntryContent::Message(message)));
        window
    }

    pub(super) fn entries(&self) -> &VecDeque<Entry> {
        &self.entries
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests
    }

    pub(super) fn scroll(&self) -> Option<Scroll> {
        self.scroll
    }

    /// Whether all there is on disk is here, and it is nothing.
    pub(super) fn has_no_messages(&self) -> bool {
        self.at_start && self.ids.is_empty() && !self.cleared
    }

    pub(super) fn holds(&self, id: MessageId) -> bool {
        self.ids.contains(&id)
    }

    /// The newest message there is, if the screen shows it.
    pub(super) fn newest_shown(&self) -> Option<MessageId> {
        let newest = self
            .entries
            .iter()
            .rev()
            .find_map(|entry| entry.message())?;
        (self.at_end && self.scroll.is_none()).then_some(newest.id.0)
    }

    /// Entries below the screen, as far as is known.
    pub(super) fn below(&self) -> usize {
        self.scroll.map_or(0, |scroll| scroll.below) + self.missed
    }

    /// The page that is to be read now, if any, for a screen of so many rows.
    pub(super) fn ask(&mut self, rows: usize) -> Option<(u64, HistoryFilter)> {
        if self.asked.is_some() {
            return None;
        }
        let below = self.scroll.map_or(0, |scroll| scroll.below);
        let above = self.entries.len() - below.min(self.entries.len());
        let direction = if self.ids.is_empty() && !self.at_end {
            PageDirection::Newest
        } else if !self.at_start && above < 2 * rows && self.bytes < BYTES_MAX / 2 {
            PageDirection::Older
        } else if !self.at_end && below < rows {
            PageDirection::Newer
        } else {
            return None;
        };
        Some(self.begin(direction))
    }

    /// Asks for another part of the conversation.
    pub(super) fn begin(&mut self, direction: PageDirection) -> (u64, HistoryFilter) {
        self.requests += 1;
        self.asked = Some((direction, self.requests));
        self.live.clear();
        self.since_asked = 0;
        let message = |entry: &Entry| entry.message().map(|message| message.id);
        let first = || self.entries.iter().find_map(message);
        let last = || self.entries.iter().rev().find_map(message);
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
                before: first(),
                ..filter
            },
            PageDirection::Newer => HistoryFilter {
                after: last(),
                oldest: true,
                ..filter
            },
        };
        (self.requests, filter)
    }

    /// Takes a page; one that is no longer wanted is dropped. `notes` are put between the messages
    /// where these are replaced.
    pub(super) fn page(
        &mut self,
        request: u64,
        messages: Vec<MessageLine>,
        notes: &VecDeque<Note>,
    ) {
        let Some((direction, _)) = self.asked.take_if(|(_, asked)| *asked == request) else {
            return;
        };
        let full = messages.len() >= PAGE;
        match direction {
            PageDirection::Newest => {
                let messages = messages
                    .into_iter()
                    .chain(std::mem::take(&mut self.live))
                    .collect();
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
                    self.push_front(Entry::new(EntryContent::Message(message)));
                }
                self.let_go_below();
            }
            PageDirection::Newer => self.newer(messages, full),
        }
    }

    /// The page could not be read.
    pub(super) fn failed(&mut self, request: u64) {
        self.asked.take_if(|(_, asked)| *asked == request);
    }

    /// A message came, or was written.
    pub(super) fn message(&mut self, message: MessageLine) {
        if matches!(self.asked, Some((PageDirection::Newest, _))) {
            self.live.push(message.clone());
        }
        if self.at_end && (self.scroll.is_none() || self.entries.len() < ENTRIES_MAX) {
            self.append(Entry::new(EntryContent::Message(message)));
        } else if !self.ids.contains(&message.id.0) {
            self.at_end = false;
            self.missed += 1;
            self.since_asked += 1;
        }
    }

    pub(super) fn note(&mut self, note: Note) {
        if self.at_end {
            self.append(Entry::new(EntryContent::Note(note)));
        }
    }

    /// Forgets what is held; the store does not.
    pub(super) fn clear(&mut self) {
        let (at_start, at_end, cleared) = (true, true, true);
        *self = Window {
            at_start,
            at_end,
            cleared,
            ..Window::new(self.of.clone(), self.requests)
        };
    }

    /// Shows the newest entry, and follows. False where the newest must be read first.
    pub(super) fn follow(&mut self) -> bool {
        if self.at_end {
            self.scroll = None;
            while self.entries.len() > ENTRIES_MAX || self.bytes > BYTES_MAX {
                self.pop_front();
            }
        }
        self.at_end
    }

    /// Scrolls back. `height` is how many rows the entry of an index takes; `rows`, how many the
    /// screen has.
    pub(super) fn up(&mut self, by: usize, rows: usize, height: impl Fn(usize) -> usize) {
        let mut scroll = self.settled(rows, &height);
        scroll.rows = scroll.rows.saturating_add(by);
        self.come_to(self.settle(scroll, rows, &height));
    }

    /// Scrolls forth.
    pub(super) fn down(&mut self, mut by: usize, rows: usize, height: impl Fn(usize) -> usize) {
        let mut scroll = self.settled(rows, &height);
        while scroll.rows < by && scroll.below > 0 {
            by -= scroll.rows;
            scroll.below -= 1;
            scroll.rows = height(self.entries.len() - 1 - scroll.below);
        }
        scroll.rows = scroll.rows.saturating_sub(by);
        self.come_to(scroll);
    }

    /// Where the lowest row of a screen of so many rows is.
    pub(super) fn settled(&self, rows: usize, height: impl Fn(usize) -> usize) -> Scroll {
        self.scroll
            .map_or(BOTTOM, |scroll| self.settle(scroll, rows, &height))
    }

    fn come_to(&mut self, scroll: Scroll) {
        self.scroll = (scroll != BOTTOM || !self.at_end).then_some(scroll);
    }

    /// Puts a scroll that went too far back to where the first entry is at the top of the screen,
    /// and one that counts rows of several entries to one that counts rows of one.
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

    /// The scroll that has the first entry at the top of the screen.
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
            ..Window::new(self.of.clone(), self.requests)
        };
        let mut notes = notes.iter().peekable();
        for message in messages {
            // Notes older than all that is held belong to what is not.
            while let Some(note) = notes.next_if(|note| note.at < message.received_at) {
                if at_start || !self.entries.is_empty() {
                    self.push_back(Entry::new(EntryContent::Note(note.clone())));
                }
            }
            self.push_back(Entry::new(EntryContent::Message(message)));
        }
        if at_end {
            notes.for_each(|note| self.push_back(Entry::new(EntryContent::Note(note.clone()))));
        }
        self.entries.len().saturating_sub(1)
    }

    fn newer(&mut self, messages: Vec<MessageLine>, full: bool) {
        let before = self.entries.len();
        for message in messages {
            self.push_back(Entry::new(EntryContent::Message(message)));
        }
        let added = self.entries.len() - before;
        if let Some(scroll) = &mut self.scroll {
            scroll.below += added;
        }
        // What came while this page was read may be on it or not: then the next page tells.
        self.at_end = !full && self.since_asked == 0;
        self.missed = if full {
            self.missed.saturating_sub(added)
        } else {
            self.since_asked
        };
        let below = self.scroll.map_or(0, |scroll| scroll.below);
        while self.is_too_large() && self.entries.len() > below + 1 {
            self.pop_front();
        }
    }

    fn append(&mut self, entry: Entry) {
        let before = self.entries.len();
        self.push_back(entry);
        match &mut self.scroll {
            Some(scroll) => scroll.below += self.entries.len() - before,
            None => {
                while self.is_too_large() {
                    self.pop_front();
                }
            }
        }
    }

    fn is_too_large(&self) -> bool {
        self.entries.len() > ENTRIES_MAX || (self.bytes > BYTES_MAX && self.entries.len() > 1)
    }

    fn let_go_below(&mut self) {
        while self.is_too_large()
            && let Some(scroll) = &mut self.scroll
            && scroll.below > 0
        {
            scroll.below -= 1;
            if let Some(entry) = self.entries.pop_back() {
                self.forget(&entry);
            }
            self.at_end = false;
        }
    }

    fn pop_front(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.forget(&entry);
            self.at_start = false;
        }
    }

    fn forget(&mut self, entry: &Entry) {
        self.bytes -= entry.bytes();
        if let Some(message) = entry.message() {
            self.ids.remove(&message.id.0);
        }
    }

    fn push_back(&mut self, entry: Entry) {
        if self.admit(&entry) {
            self.entries.push_back(entry);
        }
    }

    fn push_front(&mut self, entry: Entry) {
        if self.admit(&entry) {
            self.entries.push_front(entry);
        }
    }

    /// A message is held once.
    fn admit(&mut self, entry: &Entry) -> bool {
        let new = entry
            .message()
            .is_none_or(|message| self.ids.insert(message.id.0));
        if new {
            self.bytes += entry.bytes();
        }
        new
    }
}
