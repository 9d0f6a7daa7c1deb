//! The methods of [`Node`] about what users do at the moment: typing, reading, being away.

use hobnob_protocol::activity::STATUS_BYTES_MAX;

use crate::engine::Command;
use crate::{ActivityInfo, ConversationRef, MessageId, Node, NodeError};

impl Node {
    /// Shows others that the user types in a conversation, or has stopped. Repeat it every few seconds.
    /// [`Config::sharing`](crate::Config::sharing) decides who learns it.
    ///
    /// # Errors
    ///
    /// [`NodeError::Stopped`].
    pub async fn typing(&self, conversation: ConversationRef, on: bool) -> Result<(), NodeError> {
        self.tell(Command::Typing(conversation, on)).await
    }

    /// Shows the author of a message that the user has read it, and those before it.
    /// [`Config::sharing`](crate::Config::sharing) decides whether the author learns it.
    ///
    /// # Errors
    ///
    /// [`NodeError::Stopped`].
    pub async fn mark_read(&self, id: MessageId) -> Result<(), NodeError> {
        self.tell(Command::ReadBy(id)).await
    }

    /// Shows others that the user is away, or back. The text is cut to 256 bytes. It counts until the
    /// node stops. [`Config::sharing`](crate::Config::sharing) decides who learns it.
    ///
    /// # Errors
    ///
    /// [`NodeError::Stopped`].
    pub async fn set_status(&self, away: bool, text: &str) -> Result<(), NodeError> {
        let mut text = text.to_owned();
        while text.len() > STATUS_BYTES_MAX {
            text.pop();
        }
        self.tell(Command::SetStatus(away, text)).await
    }

    /// The last reports of other users: how far they have read, and who is away.
    ///
    /// # Errors
    ///
    /// [`NodeError::Stopped`].
    pub async fn activity(&self) -> Result<Vec<ActivityInfo>, NodeError> {
        self.ask(Command::Activity).await
    }
}
