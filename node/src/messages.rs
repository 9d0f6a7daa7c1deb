//! [`Messages`]: every message once, beginning where a program left off. Messages are read from the
//! store in pages; events only trigger the next read.

use std::collections::VecDeque;

use super::{Event, Events, HistoryQuery, Lagged, Message, MessageId, Node, NodeError};

/// Messages in one page.
const PAGE: usize = 256;

/// Every message on this node's disk, once, in order of arrival: see [`Node::messages`].
#[derive(Debug)]
pub struct Messages {
    node: Node,
    events: Events,
    after: Option<MessageId>,
    ahead: VecDeque<Message>,
    /// Whether there may be more on disk.
    behind: bool,
}

impl Messages {
    pub(super) fn new(node: Node, after: Option<MessageId>) -> Self {
        // Subscribe before the first page is read, so that no message in between is missed.
        let events = node.events();
        Self {
            node,
            events,
            after,
            ahead: VecDeque::new(),
            behind: true,
        }
    }

    /// Waits for the next message. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`NodeError::NoSuchMessage`] if the message to continue after is not stored here, or no longer:
    /// busy rooms drop very old messages. [`NodeError::Stopped`] if the node has stopped.
    /// [`NodeError::Store`] if the disk fails; the next call tries again.
    pub async fn next(&mut self) -> Result<Message, NodeError> {
        loop {
            if let Some(message) = self.ahead.pop_front() {
                self.after = Some(message.id);
                return Ok(message);
            }
            if self.behind {
                self.read().await?;
            } else {
                self.wait().await?;
            }
        }
    }

    async fn read(&mut self) -> Result<(), NodeError> {
        let query = HistoryQuery {
            after: self.after,
            oldest: true,
            limit: Some(PAGE),
            ..HistoryQuery::default()
        };
        self.ahead = self.node.history(query).await?.into();
        self.behind = self.ahead.len() == PAGE;
        Ok(())
    }

    /// Waits until a message is on disk. Other waiting events are dropped, since the next page contains
    /// their messages.
    async fn wait(&mut self) -> Result<(), NodeError> {
        match self.events.next().await {
            Ok(Event::Message(_) | Event::Own(_)) | Err(Lagged::Behind(_)) => {
                self.events.skip();
                self.behind = true;
            }
            Ok(
                Event::Listening { .. }
                | Event::Peer(_)
                | Event::Receipt { .. }
                | Event::Amended(_)
                | Event::Erased { .. }
                | Event::File(_)
                | Event::Notice(_),
            ) => {}
            Err(Lagged::Stopped) => return Err(NodeError::Stopped),
        }
        Ok(())
    }
}
