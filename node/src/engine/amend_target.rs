//! The message that the user answers, edits or reacts to.

use hobnob_protocol::{EntryRef, PersonId};

use crate::api::ConversationRef;

/// A message that another one is about.
#[derive(Debug, Clone)]
pub(crate) struct AmendTarget {
    pub(crate) conversation: ConversationRef,
    pub(crate) author: PersonId,
    /// The author's name to show.
    pub(crate) name: String,
    /// The message. If the user named an edit or a reaction, the message that it is about.
    pub(crate) entry: EntryRef,
    /// Whether it has a text that its author can replace.
    pub(crate) has_text: bool,
}
