//! The list of conversations, which of them is open, and its messages that are in memory.
//!
//! Requests are not sent here: methods return the page to read next.

use hobnob::protocol::PersonId;
use hobnob::{ConversationRef, MessageId};
use hobnob_control::wire::MessageLine;

use super::conversation::Conversation;
use super::pages::{PageDirection, PageRequest};
use super::timeline::Note;
use super::window::Window;
use crate::shared::amending;

/// See the module.
#[derive(Debug)]
pub(crate) struct Conversations {
    /// Never empty.
    list: Vec<Conversation>,
    /// The index of the open one.
    current: usize,
    /// A part of the open conversation.
    window: Window,
    /// The message that a search led to.
    highlighted: Option<MessageId>,
}

impl Conversations {
    /// Opens the first conversation.
    pub(super) fn new(first: ConversationRef) -> Conversations {
        Conversations {
            list: vec![Conversation::new(first.clone())],
            current: 0,
            window: Window::new(first, 0),
            highlighted: None,
        }
    }

    pub(crate) fn list(&self) -> &[Conversation] {
        &self.list
    }

    pub(crate) fn current_index(&self) -> usize {
        self.current
    }

    /// The open conversation.
    pub(crate) fn current(&self) -> &Conversation {
        &self.list[self.current]
    }

    pub(crate) fn window(&self) -> &Window {
        &self.window
    }

    /// The message to highlight: the one that a search led to.
    pub(crate) fn highlighted(&self) -> Option<MessageId> {
        self.highlighted
    }

    pub(super) fn position(&self, of: &ConversationRef) -> Option<usize> {
        self.list
            .iter()
            .position(|conversation| conversation.of() == of)
    }

    /// The index of the conversation. A new one joins the end of the list.
    pub(super) fn add(&mut self, of: &ConversationRef) -> usize {
        self.position(of).unwrap_or_else(|| {
            self.list.push(Conversation::new(of.clone()));
            self.list.len() - 1
        })
    }

    /// The index of the conversation `by` places after the open one. The first follows the last.
    pub(super) fn index_after(&self, by: usize) -> usize {
        (self.current + by) % self.list.len()
    }

    /// The index of the conversation before the open one.
    pub(super) fn index_before(&self) -> usize {
        self.index_after(self.list.len() - 1)
    }

    /// The index of the next conversation with unread messages; urgent ones come first.
    pub(super) fn next_unread(&self) -> Option<usize> {
        (1..self.list.len())
            .map(|by| self.index_after(by))
            .filter(|index| self.list[*index].unread() > 0)
            // The first of equal ones is the nearest.
            .min_by_key(|index| !self.list[*index].is_urgent())
    }

    /// Opens the conversation at `index` and stores the draft of the one before. Returns the draft
    /// of the opened one; none if there is nothing to change.
    pub(super) fn go_to(&mut self, index: usize, draft: &str) -> Option<String> {
        if index == self.current || index >= self.list.len() {
            return None;
        }
        self.list[self.current].leave(draft.to_owned());
        self.current = index;
        Some(self.open_current())
    }

    /// Removes a conversation, except for the last one. If the open one is removed, opens its
    /// neighbour and returns the neighbour's draft.
    pub(super) fn close(&mut self, of: &ConversationRef) -> Option<String> {
        let index = self.position(of).filter(|_| self.list.len() > 1)?;
        self.list.remove(index);
        let was_open = index == self.current;
        if index < self.current || self.current == self.list.len() {
            self.current -= 1;
        }
        was_open.then(|| self.open_current())
    }

    fn open_current(&mut self) -> String {
        self.highlighted = None;
        self.restart();
        self.list[self.current].open()
    }

    /// Empties the window. The next page is read from the start.
    pub(super) fn restart(&mut self) {
        self.window = Window::new(self.current().of().clone(), self.window.requests());
    }

    /// Empties the screen and forgets the notes. The messages stay in the store.
    pub(super) fn clear(&mut self) {
        self.list[self.current].clear_notes();
        self.window.clear();
    }

    pub(super) fn note(&mut self, index: usize, note: Note) {
        if index == self.current {
            self.window.note(note.clone());
        }
        self.list[index].add_note(note);
    }

    /// Adds to a live reply the text that it answers, if that is in memory.
    pub(super) fn quote(&self, message: &mut MessageLine) {
        let shown = self.window.entries().iter().rev();
        amending::quote(message, shown.filter_map(|entry| entry.message()));
    }

    /// Shows a message that has arrived or was sent, if its conversation is open.
    pub(super) fn show(&mut self, index: usize, message: MessageLine) {
        if index == self.current {
            self.window.message(message);
        }
    }

    /// Counts a message from somebody else. `is_focused`: the user looks at the open conversation.
    pub(super) fn count(
        &mut self,
        index: usize,
        message: &MessageLine,
        is_urgent: bool,
        is_focused: bool,
    ) {
        let is_open = index == self.current;
        let conversation = &mut self.list[index];
        conversation.add_speaker(message.from.0);
        if !(is_open && is_focused) {
            conversation.begin_unread(message.id.0);
        }
        if !is_open {
            conversation.count_unread(is_urgent);
        }
    }

    /// Takes over messages that arrived while no chat was running.
    pub(super) fn count_missed(
        &mut self,
        index: usize,
        first: MessageId,
        count: usize,
        is_urgent: bool,
    ) {
        let is_open = index == self.current;
        let conversation = &mut self.list[index];
        conversation.set_unread(first);
        if !is_open {
            conversation.raise_unread(count, is_urgent);
        }
    }

    /// Removes the unread line from the open conversation.
    pub(super) fn end_unread(&mut self) {
        self.list[self.current].end_unread();
    }

    /// Shows the newest messages and follows new ones. Returns the page to read first, if any.
    pub(super) fn follow(&mut self) -> Option<PageRequest> {
        self.highlighted = None;
        let is_there = self.window.follow();
        (!is_there).then(|| self.window.begin(PageDirection::Newest))
    }

    /// The page with the first messages of the conversation.
    pub(super) fn oldest_page(&mut self) -> PageRequest {
        self.window.begin(PageDirection::Oldest)
    }

    /// The page with the newest messages, unless the user looks at older ones.
    pub(super) fn newest_page_again(&mut self) -> Option<PageRequest> {
        let is_following = self.window.scroll().is_none();
        is_following.then(|| self.window.begin(PageDirection::Newest))
    }

    /// The page that a screen of this many rows needs next.
    pub(super) fn next_page(&mut self, rows: usize) -> Option<PageRequest> {
        self.window.next_page(rows)
    }

    /// Shows a message that was found, and reads what is around it.
    pub(super) fn show_found(&mut self, message: MessageLine) {
        self.highlighted = Some(message.id.0);
        self.window = Window::around(message, self.window.requests());
    }

    /// Takes the messages of a page. `me`: the id of this user.
    pub(super) fn take_page(
        &mut self,
        number: u64,
        messages: Vec<MessageLine>,
        me: Option<PersonId>,
    ) {
        let conversation = &mut self.list[self.current];
        if conversation.speakers().next().is_none() {
            let authors = messages.iter().map(|message| message.from.0);
            authors
                .filter(|from| Some(*from) != me)
                .for_each(|from| conversation.add_speaker(from));
        }
        self.window.page(number, messages, conversation.notes());
    }

    /// The page could not be read. The window asks again when it needs it.
    pub(super) fn page_failed(&mut self, number: u64) {
        self.window.failed(number);
    }

    /// Scrolls by rows. `heights`: the rows of each entry of the window.
    pub(super) fn scroll(&mut self, up: bool, by: usize, screen_rows: usize, heights: &[usize]) {
        if up {
            self.window.up(by, screen_rows, |index| heights[index]);
        } else {
            self.window.down(by, screen_rows, |index| heights[index]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::test_messages;

    fn room(name: &str) -> ConversationRef {
        format!("#{name}").parse().unwrap()
    }

    fn message(seq: u64) -> MessageLine {
        test_messages::message(seq, "hi")
    }

    /// The rooms a, b and c; a is open.
    fn three() -> Conversations {
        let mut conversations = Conversations::new(room("a"));
        conversations.add(&room("b"));
        conversations.add(&room("c"));
        conversations
    }

    #[test]
    fn a_conversation_is_in_the_list_once() {
        let mut conversations = three();
        assert_eq!(conversations.add(&room("b")), 1);
        assert_eq!(conversations.add(&room("d")), 3);
        assert_eq!(conversations.position(&room("x")), None);
    }

    #[test]
    fn each_conversation_keeps_its_draft() {
        let mut conversations = three();
        assert_eq!(conversations.go_to(1, "for a"), Some(String::new()));
        assert_eq!(conversations.go_to(0, "for b"), Some("for a".into()));
        assert_eq!(conversations.go_to(0, ""), None, "a is open already");
        assert_eq!(conversations.go_to(9, ""), None, "there is no tenth");
    }

    #[test]
    fn closing_the_open_conversation_opens_its_neighbour() {
        let mut conversations = three();
        conversations.go_to(2, "");
        assert_eq!(conversations.close(&room("c")), Some(String::new()));
        assert_eq!(conversations.current().of(), &room("b"));
        assert_eq!(conversations.close(&room("a")), None);
        assert_eq!(conversations.current().of(), &room("b"));
        assert_eq!(conversations.close(&room("b")), None, "the last one stays");
        assert_eq!(conversations.list().len(), 1);
    }

    #[test]
    fn urgent_messages_come_before_nearer_ones() {
        let mut conversations = three();
        assert_eq!(conversations.next_unread(), None);
        conversations.count(1, &message(1), false, true);
        assert_eq!(conversations.next_unread(), Some(1));
        conversations.count(2, &message(2), true, true);
        assert_eq!(conversations.next_unread(), Some(2));
    }

    #[test]
    fn only_what_nobody_looks_at_is_unread() {
        let mut conversations = three();
        conversations.count(0, &message(1), false, true);
        assert_eq!(conversations.current().first_unread(), None);
        conversations.count(0, &message(2), false, false);
        assert_eq!(
            conversations.current().first_unread(),
            Some(message(2).id.0)
        );
        assert_eq!(conversations.current().unread(), 0, "it is open");
        conversations.end_unread();
        assert_eq!(conversations.current().first_unread(), None);
    }

    #[test]
    fn the_next_conversation_after_the_last_is_the_first() {
        let mut conversations = three();
        conversations.go_to(2, "");
        assert_eq!(
            (conversations.index_after(1), conversations.index_before()),
            (0, 1)
        );
    }
}
