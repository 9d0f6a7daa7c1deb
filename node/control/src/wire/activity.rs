//! What users do at the moment, in lines.

use hobnob_protocol::PersonId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use hobnob::{ActivityInfo, ActivityKind, ConversationRef, MessageId};
use hobnob_local::json::Text;

/// What another user does: see [`ActivityInfo`]. It has `typing`, `read` or `away`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActivityLine {
    /// The peer.
    pub peer: Text<PersonId>,
    /// Its name to show.
    pub nick: String,
    /// The conversation, for `typing` and `read`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<Text<ConversationRef>>,
    /// Whether the user types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typing: Option<bool>,
    /// The newest message of this node that the user has read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<Text<MessageId>>,
    /// Whether the user is away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away: Option<bool>,
    /// What the user says about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl From<ActivityInfo> for ActivityLine {
    fn from(info: ActivityInfo) -> Self {
        let line = ActivityLine {
            peer: Text(info.peer),
            nick: info.name,
            conversation: None,
            typing: None,
            read: None,
            away: None,
            text: None,
        };
        match info.kind {
            ActivityKind::Typing { conversation, on } => ActivityLine {
                conversation: Some(Text(conversation)),
                typing: Some(on),
                ..line
            },
            ActivityKind::Read { conversation, id } => ActivityLine {
                conversation: Some(Text(conversation)),
                read: Some(Text(id)),
                ..line
            },
            ActivityKind::Status { away, text } => ActivityLine {
                away: Some(away),
                text: Some(text),
                ..line
            },
        }
    }
}
