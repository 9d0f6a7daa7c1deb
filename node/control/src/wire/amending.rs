//! Replies, edits and reactions in lines: the fields that they add to a message, and the events about
//! them.

use hobnob_protocol::PersonId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use hobnob::{Amended, Change, ConversationRef, Edited, MessageId, Reaction, ReplyTo};
use hobnob_local::json::{Text, Time};

/// The facts that other entries add to a message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AmendedFields {
    /// The message that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<ReplyToLine>,
    /// Set if its author has edited it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited: Option<EditedLine>,
    /// The reactions to it, in answers to `history`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reactions: Vec<ReactionLine>,
    /// For own messages that are deleted: how many peers have erased it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<usize>,
}

/// The message that a reply answers: see [`ReplyTo`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplyToLine {
    /// Its id.
    pub id: Text<MessageId>,
    /// Its author.
    pub from: Text<PersonId>,
    /// The author's name to show.
    pub nick: String,
    /// Its text, the name of the file that it offers, or the topic that it sets, in answers to
    /// `history`, if it is here. Empty if it removes a topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// An edited message: see [`Edited`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EditedLine {
    /// When the newest text was written, by the author's clock.
    pub at: Time,
    /// The earlier texts, oldest first.
    pub earlier: Vec<String>,
}

/// An emoji on a message: see [`Reaction`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReactionLine {
    /// The emoji.
    pub emoji: String,
    /// The peers that have added it.
    pub by: Vec<ReactorLine>,
}

/// A peer that has added an emoji.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReactorLine {
    /// Its id.
    pub peer: Text<PersonId>,
    /// Its name to show.
    pub nick: String,
}

/// A change of a message: see [`Amended`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AmendedLine {
    /// The message.
    pub message: Text<MessageId>,
    /// Its conversation.
    pub conversation: Text<ConversationRef>,
    /// The peer that changed it.
    pub from: Text<PersonId>,
    /// The name to show of that peer.
    pub nick: String,
    /// The new text, if the author edited the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The emoji, if somebody reacted to the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emoji: Option<String>,
    /// Whether the emoji was taken back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub off: bool,
}

impl From<Amended> for AmendedLine {
    fn from(amended: Amended) -> Self {
        let (text, emoji, off) = match amended.change {
            Change::Edited { text } => (Some(text), None, false),
            Change::Reacted { emoji, on } => (None, Some(emoji), !on),
        };
        AmendedLine {
            message: Text(amended.id),
            conversation: Text(amended.conversation),
            from: Text(amended.from),
            nick: amended.name,
            text,
            emoji,
            off,
        }
    }
}

impl From<ReplyTo> for ReplyToLine {
    fn from(reply_to: ReplyTo) -> Self {
        ReplyToLine {
            id: Text(reply_to.id),
            from: Text(reply_to.from),
            nick: reply_to.name,
            text: reply_to.text,
        }
    }
}

impl From<Edited> for EditedLine {
    fn from(edited: Edited) -> Self {
        EditedLine {
            at: Time(edited.at_ms),
            earlier: edited.earlier,
        }
    }
}

impl From<Reaction> for ReactionLine {
    fn from(reaction: Reaction) -> Self {
        let by = reaction.by.into_iter().map(|reactor| ReactorLine {
            peer: Text(reactor.peer),
            nick: reactor.name,
        });
        ReactionLine {
            emoji: reaction.emoji,
            by: by.collect(),
        }
    }
}
