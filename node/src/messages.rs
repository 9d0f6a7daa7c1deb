//! Every message, once, from where a program left off: read from the store, page by page; events
//! only say when to look again.

use std::collections::VecDeque;

use super::{Event, Events, HistoryQuery, Lagged, Message, MessageId, Node, NodeError};

/// Messages read ahead.
const PAGE: usize = 256;

/// Every message that is on disk here, once, in the order in which it came: see [`Node::messages`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let node = hobnob::Node::builder(dir.path()).loopback().start().await?;
/// let first = node.broadcast("lobby".parse()?, "one".into()).await?;
/// node.broadcast("lobby".parse()?, "two".into()).await?;
/// let mut messages = node.messages(Some(first.id));
/// assert_eq!(messages.next().await?.body, "two".into());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Messages {
    node: Node,
    events: Events,
    after: Option<MessageId>,
    ahead: VecDeque<Message>,
    /// There may be more on disk.
    behind: bool,
}

impl Messages {
    pub(super) fn new(node: Node, after: Option<MessageId>) -> Self {
        // Subscribed before the first page is read: what comes in between is not overlooked.
        let events = node.events();
        Self {
            node,
            events,
            after,
            ahead: VecDeque::new(),
            behind: true,
        }
    }

    /// The next message; waits for it if need be. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`NodeError::NoSuchMessage`] when the message to go on after is not held, or no longer: very
    /// old ones are let go in rooms where much is said. [`NodeError::Stopped`] when the node has
    /// stopped. [`NodeError::Store`] when the disk fails; the next call tries again.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let node = hobnob::Node::builder(dir.path()).loopback().start().await?;
    /// let mut messages = node.messages(None);
    /// node.shutdown().await;
    /// assert_eq!(messages.next().await, Err(hobnob::NodeError::Stopped));
    /// # Ok(()) }
    /// ```
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

    /// Waits until something is on disk. The events that wait besides are of messages that the next
    /// page brings.
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
                | Event::File(_)
                | Event::Notice(_),
            ) => {}
            Err(Lagged::Stopped) => return Err(NodeError::Stopped),
        }
        Ok(())
    }
}
