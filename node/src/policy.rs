//! What a user decides about peers: ignored, blocked, kicked, verified. Decisions are kept; a kick
//! holds for [`KICKED_FOR`](crate::KICKED_FOR) of this run.

use hobnob_protocol::PeerId;
use hobnob_protocol::sas::{SAFETY_WORDS, safety_words};

use super::engine::{Command, PolicyChange};
use crate::{Node, NodeError, PeerInfo, PolicyError};

impl Node {
    /// Shows no text of this peer from now on, new or old. Everything else goes on.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let node = hobnob::Node::builder(dir.path().join("ann")).loopback().start().await?;
    /// # let other = hobnob::Node::builder(dir.path().join("bob")).loopback().start().await?;
    /// # let mallory = node.resolve(other.status().await?.ticket.into()).await?;
    /// # node.send(mallory.into(), "to meet".into()).await?;
    /// assert!(node.ignore(mallory).await?.policy.ignored);
    /// # Ok(()) }
    /// ```
    pub async fn ignore(&self, peer: PeerId) -> Result<PeerInfo, PolicyError> {
        self.change(peer, PolicyChange::Ignore).await
    }

    /// Undoes [`Node::ignore`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let node = hobnob::Node::builder(dir.path().join("ann")).loopback().start().await?;
    /// # let other = hobnob::Node::builder(dir.path().join("bob")).loopback().start().await?;
    /// # let mallory = node.resolve(other.status().await?.ticket.into()).await?;
    /// # node.send(mallory.into(), "to meet".into()).await?;
    /// node.ignore(mallory).await?;
    /// assert!(!node.unignore(mallory).await?.policy.ignored);
    /// # Ok(()) }
    /// ```
    pub async fn unignore(&self, peer: PeerId) -> Result<PeerInfo, PolicyError> {
        self.change(peer, PolicyChange::Unignore).await
    }

    /// Ends the session with this peer and has no other. What it wrote is neither shown nor passed
    /// on, and of what it writes nothing is taken, from anybody.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let node = hobnob::Node::builder(dir.path().join("ann")).loopback().start().await?;
    /// # let other = hobnob::Node::builder(dir.path().join("bob")).loopback().start().await?;
    /// # let mallory = node.resolve(other.status().await?.ticket.into()).await?;
    /// # node.send(mallory.into(), "to meet".into()).await?;
    /// assert!(node.block(mallory).await?.policy.blocked);
    /// # Ok(()) }
    /// ```
    pub async fn block(&self, peer: PeerId) -> Result<PeerInfo, PolicyError> {
        self.change(peer, PolicyChange::Block).await
    }

    /// Undoes [`Node::block`] and [`Node::kick`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let node = hobnob::Node::builder(dir.path().join("ann")).loopback().start().await?;
    /// # let other = hobnob::Node::builder(dir.path().join("bob")).loopback().start().await?;
    /// # let mallory = node.resolve(other.status().await?.ticket.into()).await?;
    /// # node.send(mallory.into(), "to meet".into()).await?;
    /// node.block(mallory).await?;
    /// assert!(!node.unblock(mallory).await?.policy.blocked);
    /// # Ok(()) }
    /// ```
    pub async fn unblock(&self, peer: PeerId) -> Result<PeerInfo, PolicyError> {
        self.change(peer, PolicyChange::Unblock).await
    }

    /// Ends the session with this peer, and has no other for [`KICKED_FOR`](crate::KICKED_FOR).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let node = hobnob::Node::builder(dir.path().join("ann")).loopback().start().await?;
    /// # let other = hobnob::Node::builder(dir.path().join("bob")).loopback().start().await?;
    /// # let mallory = node.resolve(other.status().await?.ticket.into()).await?;
    /// # node.send(mallory.into(), "to meet".into()).await?;
    /// use hobnob::PeerState;
    ///
    /// assert_eq!(node.kick(mallory).await?.state, PeerState::Offline);
    /// # Ok(()) }
    /// ```
    pub async fn kick(&self, peer: PeerId) -> Result<PeerInfo, PolicyError> {
        self.change(peer, PolicyChange::Kick).await
    }

    /// The six words that this node and the peer have in common, see
    /// [`safety_words`](hobnob_protocol::sas::safety_words). Takes a moment of work.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// let ann = hobnob::Node::builder(dir.path().join("ann")).loopback().start().await?;
    /// let bob = hobnob::Node::builder(dir.path().join("bob")).loopback().start().await?;
    /// assert_eq!(ann.words(bob.id()).await, bob.words(ann.id()).await);
    /// # Ok(()) }
    /// ```
    pub async fn words(&self, peer: PeerId) -> [&'static str; SAFETY_WORDS] {
        let me = self.id;
        tokio::task::spawn_blocking(move || safety_words(me, peer))
            .await
            .expect("hashing does not panic")
    }

    /// The user has compared the words with the peer, and they are the same: from now on nobody
    /// else may have its name here. Undoes [`Node::block`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// let ann = hobnob::Node::builder(dir.path().join("ann")).loopback().start().await?;
    /// let bob = hobnob::Node::builder(dir.path().join("bob")).loopback().start().await?;
    /// let peer = ann.resolve(bob.status().await?.ticket.into()).await?;
    /// println!("does it say there, too: {}?", ann.words(peer).await.join(" "));
    /// assert!(ann.verify(peer).await?.policy.verified.is_some());
    /// # Ok(()) }
    /// ```
    pub async fn verify(&self, peer: PeerId) -> Result<PeerInfo, PolicyError> {
        self.change(peer, PolicyChange::Verify).await
    }

    /// Undoes [`Node::verify`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// let ann = hobnob::Node::builder(dir.path().join("ann")).loopback().start().await?;
    /// let bob = hobnob::Node::builder(dir.path().join("bob")).loopback().start().await?;
    /// let peer = ann.resolve(bob.status().await?.ticket.into()).await?;
    /// ann.verify(peer).await?;
    /// assert_eq!(ann.unverify(peer).await?.policy.verified, None);
    /// # Ok(()) }
    /// ```
    pub async fn unverify(&self, peer: PeerId) -> Result<PeerInfo, PolicyError> {
        self.change(peer, PolicyChange::Unverify).await
    }

    async fn change(&self, peer: PeerId, change: PolicyChange) -> Result<PeerInfo, PolicyError> {
        self.ask(|reply| Command::ChangePolicy {
            peer,
            change,
            reply,
        })
        .await?
    }
}

impl From<NodeError> for PolicyError {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::Store(why) => PolicyError::Store(why),
            NodeError::Stopped | NodeError::NoSuchMessage | NodeError::NoSuchConversation(_) => {
                PolicyError::Stopped
            }
        }
    }
}
