//! [`Messages`]: every message once, beginning where a program left off. Messages are read from the
//! store in pages; events only trigger the next read.

use std::collections::VecDeque;

use tokio::sync::{mpsc, oneshot};

use crate::engine::Command;

use super::{Event, Events, HistoryQuery, Lagged, Message, MessageId, Node, NodeError};

/// Messages in one page.
const PAGE: usize = 256;

/// Every message on this node's disk, once, in order of arrival: see [`Node::messages`].
#[derive(Debug)]
pub struct Messages {
    /// Weak, so that a reader does not keep the node running.
    commands: mpsc::WeakSender<Command>,
    events: Events,
    after: Option<MessageId>,
    ahead: VecDeque<Message>,
    /// Whether there may be more on disk.
    behind: bool,
}

impl Messages {
    pub(super) fn new(node: &Node, after: Option<MessageId>) -> Self {
        // Subscribe before the first page is read, so that no message in between is missed.
        let events = node.events();
        Self {
            commands: node.commands.downgrade(),
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
        let (reply, answer) = oneshot::channel();
        let commands = self.commands.upgrade().ok_or(NodeError::Stopped)?;
        let sent = commands.send(Command::History { query, reply }).await;
        sent.map_err(|_| NodeError::Stopped)?;
        drop(commands);
        self.ahead = answer.await.map_err(|_| NodeError::Stopped)??.into();
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
                | Event::Activity(_)
                | Event::Erased { .. }
                | Event::File(_)
                | Event::Notice(_),
            ) => {}
            Err(Lagged::Stopped) => return Err(NodeError::Stopped),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_does_not_keep_a_node_running() {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::builder(dir.path()).loopback().start().await.unwrap();
        let mut messages = node.messages(None);
        node.broadcast("lobby".parse().unwrap(), "hi".into())
            .await
            .unwrap();
        assert_eq!(messages.next().await.unwrap().body, "hi".into());
        drop(node);
        assert_eq!(messages.next().await, Err(NodeError::Stopped));
    }
}
