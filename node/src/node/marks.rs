//! What a user decides about peers: ignored, blocked, kicked. Decisions are kept; a kick holds for [`KICKED_FOR`] of this run.

use hobnob_protocol::PeerId;

use super::engine::{Command, Mark};
use super::*;

impl Node {
    /// Shows no text of this peer from now on, new or old. Everything else goes on.
    pub async fn ignore(&self, peer: PeerId) -> Result<PeerInfo, MarkError> {
        self.mark(peer, Mark::Ignore).await
    }

    /// Undoes [`Node::ignore`].
    pub async fn unignore(&self, peer: PeerId) -> Result<PeerInfo, MarkError> {
        self.mark(peer, Mark::Unignore).await
    }

    /// Ends the session with this peer and has no other. What it wrote is neither shown nor passed on, and of what it writes nothing
    /// is taken, from anybody.
    pub async fn block(&self, peer: PeerId) -> Result<PeerInfo, MarkError> {
        self.mark(peer, Mark::Block).await
    }

    /// Undoes [`Node::block`] and [`Node::kick`].
    pub async fn unblock(&self, peer: PeerId) -> Result<PeerInfo, MarkError> {
        self.mark(peer, Mark::Unblock).await
    }

    /// Ends the session with this peer, and has no other for [`KICKED_FOR`].
    pub async fn kick(&self, peer: PeerId) -> Result<PeerInfo, MarkError> {
        self.mark(peer, Mark::Kick).await
    }

    async fn mark(&self, peer: PeerId, mark: Mark) -> Result<PeerInfo, MarkError> {
        self.ask(|reply| Command::Mark { peer, mark, reply }).await?
    }
}

impl From<NodeError> for MarkError {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::Store(why) => MarkError::Store(why),
            NodeError::Stopped | NodeError::NoSuchMessage | NodeError::NoSuchConversation(_) => MarkError::Stopped,
        }
    }
}
