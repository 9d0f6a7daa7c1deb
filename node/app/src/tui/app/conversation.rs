//! What is remembered of a conversation while another one is open.

use std::collections::VecDeque;

use hobnob::protocol::PeerId;
use hobnob::{ConversationRef, MessageId};

use crate::tui::timeline::Note;

/// Notes of one conversation that are remembered; the oldest are forgotten.
const NOTES_MAX: usize = 100;

/// People remembered in the order in which they spoke last.
const SPEAKERS_MAX: usize = 50;

/// One conversation of the list.
#[derive(Debug)]
pub(crate) struct Conversation {
    pub(crate) of: ConversationRef,
    /// Messages of others that came while nobody looked.
    pub(crate) unread: usize,
    /// One of them is for this user alone, or says their name.
    pub(crate) loud: bool,
    /// The first message that nobody has looked at: the unread line is above it.
    pub(crate) first_unread: Option<MessageId>,
    /// Who spoke here last, latest first.
    pub(crate) speakers: VecDeque<PeerId>,
    pub(crate) notes: VecDeque<Note>,
    /// What was typed here and not sent.
    pub(crate) draft: String,
}

impl Conversation {
    pub(crate) fn new(of: ConversationRef) -> Conversation {
        Conversation {
            of,
            unread: 0,
            loud: false,
            first_unread: None,
            speakers: VecDeque::new(),
            notes: VecDeque::new(),
            draft: String::new(),
        }
    }

    pub(crate) fn remember(&mut self, note: Note) {
        self.notes.push_back(note);
        if self.notes.len() > NOTES_MAX {
            self.notes.pop_front();
        }
    }

    pub(crate) fn spoke(&mut self, peer: PeerId) {
        if self.speakers.front() == Some(&peer) {
            return;
        }
        self.speakers.retain(|other| *other != peer);
        self.speakers.push_front(peer);
        self.speakers.truncate(SPEAKERS_MAX);
    }
}
