//! Creating, joining and leaving rooms.

use hobnob_protocol::{RoomKey, RoomName, RoomTicket};
use tokio::sync::Semaphore;

use super::engine::Command;
use crate::clock::random_seed;
use crate::{JoinError, Node, NodeError, RoomInfo};

/// Each stretching takes 64 MiB, so one at a time.
static STRETCHING: Semaphore = Semaphore::const_new(1);

impl Node {
    /// Creates a room with a random key, and joins it. Others join it with its ticket.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let ann = hobnob::Node::builder(dir.path().join("ann")).loopback().start().await?;
    /// # let bob = hobnob::Node::builder(dir.path().join("bob")).loopback().start().await?;
    /// let created = ann.create_room("ops".parse()?).await?;
    /// let ticket = ann.room_ticket("ops".parse()?).await?;
    /// let joined = bob.join_with_ticket(ticket).await?;
    /// assert_eq!(created.fingerprint, joined.fingerprint);
    /// # Ok(()) }
    /// ```
    pub async fn create_room(&self, room: RoomName) -> Result<RoomInfo, JoinError> {
        self.join_with_key(room, RoomKey::random(random_seed()))
            .await
    }

    /// Joins a room, for this run and later ones. With a passphrase, only peers that know it are
    /// members. It is not the same room as the open one with that name.
    ///
    /// Deriving the key takes about 0.1 s. The node stores the key and not the passphrase.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let node = hobnob::Node::builder(dir.path()).loopback().start().await?;
    /// use hobnob::JoinError;
    ///
    /// let room = node.join("ops".parse()?, Some(b"correct horse battery staple".to_vec())).await?;
    /// assert!(!room.open);
    /// let weak = node.join("ops".parse()?, Some(b"summer2024!".to_vec())).await;
    /// assert!(matches!(weak, Err(JoinError::Passphrase(_))));
    /// let open = node.join("ops".parse()?, None).await;
    /// assert!(matches!(open, Err(JoinError::OtherSecret(_))));
    /// # Ok(()) }
    /// ```
    pub async fn join(
        &self,
        room: RoomName,
        passphrase: Option<Vec<u8>>,
    ) -> Result<RoomInfo, JoinError> {
        let key = match passphrase {
            None => RoomKey::open(&room),
            Some(passphrase) => stretch(room.clone(), passphrase).await?,
        };
        self.join_with_key(room, key).await
    }

    /// Joins the room of a ticket, for this run and later ones.
    pub async fn join_with_ticket(&self, ticket: RoomTicket) -> Result<RoomInfo, JoinError> {
        self.join_with_key(ticket.name().clone(), ticket.key().clone())
            .await
    }

    async fn join_with_key(&self, room: RoomName, key: RoomKey) -> Result<RoomInfo, JoinError> {
        self.ask(|reply| Command::Join { room, key, reply }).await?
    }

    /// The ticket of a room that this node is in. Anybody who has the ticket can join the room and
    /// read it.
    pub async fn room_ticket(&self, room: RoomName) -> Result<RoomTicket, JoinError> {
        self.ask(|reply| Command::RoomTicket { room, reply })
            .await?
    }

    /// Leaves a room. Its stored messages stay readable.
    pub async fn part(&self, room: RoomName) -> Result<(), JoinError> {
        self.ask(|reply| Command::Part { room, reply }).await?
    }

    /// The rooms that this node is in.
    pub async fn rooms(&self) -> Result<Vec<RoomInfo>, NodeError> {
        self.status().await.map(|status| status.rooms)
    }
}

async fn stretch(room: RoomName, passphrase: Vec<u8>) -> Result<RoomKey, JoinError> {
    let _turn = STRETCHING
        .acquire()
        .await
        .expect("the semaphore is never closed");
    let stretching =
        tokio::task::spawn_blocking(move || RoomKey::from_passphrase(&room, &passphrase));
    Ok(stretching.await.expect("stretching does not panic")?)
}
