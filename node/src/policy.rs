//! The user's policy about peers: contact, verified, ignored, blocked, kicked. Policies are stored. A kick is
//! not: it lasts [`KICKED_FOR`](crate::KICKED_FOR), or until the node ends.

use hobnob_protocol::PersonId;
use hobnob_protocol::safety_number::{SAFETY_NUMBER_GROUPS, safety_number};

use super::engine::{Command, PolicyChange};
use crate::{Node, NodeError, PeerInfo, PolicyError};

impl Node {
    /// Accepts a stranger: it is a contact from now on, and its direct messages that waited arrive.
    /// To write to a peer accepts it, too.
    pub async fn accept_contact(&self, peer: PersonId) -> Result<PeerInfo, PolicyError> {
        self.change(peer, PolicyChange::Accept).await
    }

    /// Removes a contact: the peer is a stranger from now on, and not verified. Its messages stay.
    pub async fn remove_contact(&self, peer: PersonId) -> Result<PeerInfo, PolicyError> {
        self.change(peer, PolicyChange::Remove).await
    }

    /// Hides this peer's texts, old and new. Sessions and everything else continue.
    pub async fn ignore(&self, peer: PersonId) -> Result<PeerInfo, PolicyError> {
        self.change(peer, PolicyChange::Ignore).await
    }

    /// Undoes [`Node::ignore`].
    pub async fn unignore(&self, peer: PersonId) -> Result<PeerInfo, PolicyError> {
        self.change(peer, PolicyChange::Unignore).await
    }

    /// Disconnects this peer and refuses new connections. Its messages are hidden and no longer
    /// forwarded, and new ones are accepted from nobody.
    pub async fn block(&self, peer: PersonId) -> Result<PeerInfo, PolicyError> {
        self.change(peer, PolicyChange::Block).await
    }

    /// Undoes [`Node::block`] and [`Node::kick`].
    pub async fn unblock(&self, peer: PersonId) -> Result<PeerInfo, PolicyError> {
        self.change(peer, PolicyChange::Unblock).await
    }

    /// Disconnects this peer, and refuses new connections for [`KICKED_FOR`](crate::KICKED_FOR).
    pub async fn kick(&self, peer: PersonId) -> Result<PeerInfo, PolicyError> {
        self.change(peer, PolicyChange::Kick).await
    }

    /// The 60 digits that this node and the peer have in common, in groups of five, see
    /// [`safety_number`](hobnob_protocol::safety_number). Takes a few milliseconds of work.
    pub async fn safety_number(&self, peer: PersonId) -> [String; SAFETY_NUMBER_GROUPS] {
        let me = self.id;
        tokio::task::spawn_blocking(move || safety_number(me, peer))
            .await
            .expect("hashing does not panic")
    }

    /// Marks a peer as verified: the user has compared the safety number with it. From now on, sessions
    /// with other peers that use its name are refused. Undoes [`Node::block`], and makes the peer a
    /// contact.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// let ann = hobnob::Node::builder(dir.path().join("ann")).loopback().start().await?;
    /// let bob = hobnob::Node::builder(dir.path().join("bob")).loopback().start().await?;
    /// let peer = ann.resolve(bob.status().await?.ticket.into()).await?;
    /// println!("does bob see the same digits? {}", ann.safety_number(peer).await.join(" "));
    /// assert!(ann.verify(peer).await?.policy.verified.is_some());
    /// # Ok(()) }
    /// ```
    pub async fn verify(&self, peer: PersonId) -> Result<PeerInfo, PolicyError> {
        self.change(peer, PolicyChange::Verify).await
    }

    /// Undoes [`Node::verify`].
    pub async fn unverify(&self, peer: PersonId) -> Result<PeerInfo, PolicyError> {
        self.change(peer, PolicyChange::Unverify).await
    }

    async fn change(&self, peer: PersonId, change: PolicyChange) -> Result<PeerInfo, PolicyError> {
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
