//! The state of a node: its addresses, rooms and relays.

use std::net::SocketAddr;

use hobnob_core::carrier::Carrier;
use hobnob_protocol::{ContentHash, DeviceId, Nickname, PersonId, RelayAt, RoomName, Ticket};
use serde::{Deserialize, Serialize};

use super::notice::Notice;

/// The state of a node.
#[derive(Debug, Clone)]
pub struct Status {
    /// Its id.
    pub id: PersonId,
    /// Its nickname.
    pub nick: Nickname,
    /// The hash of its profile picture.
    pub picture: Option<ContentHash>,
    /// The addresses at which others can reach it.
    pub addrs: Vec<SocketAddr>,
    /// The ticket with its id, addresses and relays.
    pub ticket: Ticket,
    /// The rooms that it has joined.
    pub rooms: Vec<RoomInfo>,
    /// Its relays.
    pub relays: Vec<RelayInfo>,
    /// The latest notices of this run.
    pub notices: Vec<Notice>,
}

/// A room that a node has joined. This type is also the JSON form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RoomInfo {
    /// Its name.
    #[serde(rename = "room")]
    pub name: RoomName,
    /// Whether it has no key: everybody can enter by the name.
    pub open: bool,
    /// Five words that are the same for everybody who has the room's key. Open rooms have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The members that this node has a session with.
    pub here: Vec<PersonId>,
    /// Its topic, if it has one. [`Node::rooms`](crate::Node::rooms) and
    /// [`Node::status`](crate::Node::status) have it, answers to joining do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<RoomTopic>,
}

/// The topic of a room. This type is also the JSON form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RoomTopic {
    /// The text, never empty.
    pub text: String,
    /// Who set it.
    pub by: PersonId,
    /// When, by that peer's clock, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// A relay that a node uses.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let node = hobnob::Node::builder(dir.path()).loopback().relay("127.0.0.1:9".parse()?).start().await?;
/// for relay in node.status().await?.relays {
///     match relay.observed {
///         Some(addr) => println!("{} sees this node at {addr}", relay.at),
///         None => println!("{} can't be reached: {:?}", relay.at, relay.why),
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayInfo {
    /// Its address.
    pub at: RelayAt,
    /// Its identity, once it has proved one.
    pub id: Option<DeviceId>,
    /// The address at which it sees this node. `None` without a connection.
    ///
    /// Its port is 0 if the relay is reached over TCP: no datagram arrives there.
    pub observed: Option<SocketAddr>,
    /// The carrier of the datagrams between this node and the relay. `None` without a connection.
    pub carrier: Option<Carrier>,
    /// Why there is no connection, if that is known.
    pub why: Option<String>,
    /// Whether a contact lends it, so that contacts find this node there: see
    /// [`Config::borrow_relays`](crate::Config::borrow_relays).
    pub borrowed: bool,
}

/// A relay on this machine that admits the contacts of this node: see
/// [`Node::lend_relay`](crate::Node::lend_relay).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LentRelay {
    /// Its identity.
    pub id: DeviceId,
    /// Where contacts reach it. `None`: nowhere, as far as is known, so they do not learn of it.
    pub at: Option<RelayAt>,
    /// Where this machine reaches it.
    pub local: SocketAddr,
}
