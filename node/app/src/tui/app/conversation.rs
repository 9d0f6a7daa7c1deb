//! One conversation of the list: what the chat remembers of it while another one is open.

use std::collections::VecDeque;

use hobnob::protocol::PersonId;
use hobnob::{ConversationRef, MessageId};

use super::timeline::Note;

/// Maximum number of notes that one conversation remembers. The oldest are forgotten.
const NOTES_MAX: usize = 100;

/// Maximum number of speakers that one conversation remembers.
const SPEAKERS_MAX: usize = 50;

/// See the module.
#[derive(Debug)]
pub(crate) struct Conversation {
    of: ConversationRef,
    /// Messages from others that arrived while another conversation was open.
    unread: usize,
    /// Whether an unread message is direct or contains this user's name.
    is_urgent: bool,
    first_unread: Option<MessageId>,
    /// Latest first.
    speakers: VecDeque<PersonId>,
    notes: VecDeque<Note>,
    draft: String,
}

impl Conversation {
    pub(super) fn new(of: ConversationRef) -> Conversation {
        Conversation {
            of,
            unread: 0,
            is_urgent: false,
            first_unread: None,
            speakers: VecDeque::new(),
            notes: VecDeque::new(),
            draft: String::new(),
        }
    }

    pub(crate) fn of(&self) -> &ConversationRef {
        &self.of
    }

    /// The number of unread messages. The list shows it.
    pub(crate) fn unread(&self) -> usize {
        self.unread
    }

    /// Whether an unread message is direct or contains this user's name.
    pub(crate) fn is_urgent(&self) -> bool {
        self.is_urgent
    }

    /// The first message that nobody has looked at. The unread line is drawn above it.
    pub(crate) fn first_unread(&self) -> Option<MessageId> {
        self.first_unread
    }

    /// The people who wrote here, the latest first.
    pub(super) fn speakers(&self) -> impl Iterator<Item = PersonId> {
        self.speakers.iter().copied()
    }

    pub(super) fn notes(&self) -> &VecDeque<Note> {
        &self.notes
    }

    pub(super) fn add_note(&mut self, note: Note) {
        self.notes.push_back(note);
        if self.notes.len() > NOTES_MAX {
            self.notes.pop_front();
        }
    }

    pub(super) fn clear_notes(&mut self) {
        self.notes.clear();
    }

    pub(super) fn add_speaker(&mut self, peer: PersonId) {
        // A linear search through at most SPEAKERS_MAX, and none for somebody who writes on.
        if self.speakers.front() == Some(&peer) {
            return;
        }
        self.speakers.retain(|other| *other != peer);
        self.speakers.push_front(peer);
        self.speakers.truncate(SPEAKERS_MAX);
    }

    /// Draws the unread line above this message, unless the line is above an earlier one.
    pub(super) fn begin_unread(&mut self, message: MessageId) {
        self.first_unread.get_or_insert(message);
    }

    /// Removes the unread line.
    pub(super) fn end_unread(&mut self) {
        self.first_unread = None;
    }

    pub(super) fn count_unread(&mut self, is_urgent: bool) {
        self.unread += 1;
        self.is_urgent |= is_urgent;
    }

    /// Takes over the messages that arrived while no chat was running: their number and the first.
    pub(super) fn set_unread(&mut self, first: MessageId) {
        self.first_unread = Some(first);
    }

    /// Raises the count to `unread`.
    pub(super) fn raise_unread(&mut self, unread: usize, is_urgent: bool) {
        self.unread = self.unread.max(unread);
        self.is_urgent |= is_urgent;
    }

    /// The user opens the conversation: nothing counts as unread any more. Returns the draft. The
    /// unread line stays until the user leaves again.
    pub(super) fn open(&mut self) -> String {
        (self.unread, self.is_urgent) = (0, false);
        std::mem::take(&mut self.draft)
    }

    /// The user opens another conversation and leaves `draft` in the input.
    pub(super) fn leave(&mut self, draft: String) {
        self.end_unread();
        self.draft = draft;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob::protocol::LogId;
    use hobnob_control::wire::Time;

    use crate::tui::app::timeline::Tone;

    fn message(seq: u64) -> MessageId {
        MessageId { log: LogId(1), seq }
    }

    fn lobby() -> Conversation {
        Conversation::new("#lobby".parse().unwrap())
    }

    #[test]
    fn the_unread_line_stays_above_the_first_message_until_the_user_leaves() {
        let mut lobby = lobby();
        for seq in 1..4 {
            lobby.begin_unread(message(seq));
            lobby.count_unread(false);
        }
        assert_eq!(
            (lobby.unread(), lobby.first_unread()),
            (3, Some(message(1)))
        );
        lobby.open();
        assert_eq!(
            (lobby.unread(), lobby.first_unread()),
            (0, Some(message(1)))
        );
        lobby.leave("half a sentence".into());
        assert_eq!(lobby.first_unread(), None);
        assert_eq!(lobby.open(), "half a sentence");
    }

    #[test]
    fn the_latest_speaker_comes_first_and_each_once() {
        let [ann, bob] = [1, 2].map(|byte| PersonId::from_bytes([byte; 32]));
        let mut lobby = lobby();
        for peer in [ann, bob, ann] {
            lobby.add_speaker(peer);
        }
        assert_eq!(lobby.speakers().collect::<Vec<_>>(), [ann, bob]);
    }

    #[test]
    fn old_notes_are_forgotten() {
        let mut lobby = lobby();
        for at in 0..500 {
            lobby.add_note(Note {
                at: Time(at),
                tone: Tone::Info,
                text: String::new(),
                portrait: None,
            });
        }
        assert_eq!(lobby.notes().len(), NOTES_MAX);
        assert_eq!(lobby.notes()[0].at, Time(400));
    }
}
