//! A relay as a member of a fleet: several relays that act as one.
//!
//! The relays of a fleet talk with each other over NATS, a message broker. Each subscribes to a subject
//! for each peer that is registered with it. So NATS knows where each peer is, and this directory has
//! no entries that could be wrong for long. Channels never pass between relays: a peer that asks for a
//! channel with a peer of another relay is told which relay that is, and visits it.
//!
//! - `list_file`: the file with the signed list of the fleet's relays
//! - `current_list`: the list in effect, which a reload replaces
//! - `message`: the signed messages between relays
//! - `lookups`: the peers that are being sought, as a pure state machine
//! - `report`: the signed reports of relays to each other, about the peers in rooms
//! - `own_roster`: this relay's peers in rooms, and what the others are told, as a pure state machine
//! - `rosters`: the peers of the others in those rooms, as a pure state machine
//! - `ban_records`: the bans of all relays, with the times of their changes
//! - `ban_sync`: when the relays exchange them, as a pure state machine
//! - `kicks`: the kicks of other relays
//! - `shared_bans`: the bans as the parts of a relay share them
//! - `nats`: the connection with NATS, which carries all out
//!
//! Most need the cargo feature `fleet`.

mod ban_records;
#[cfg(feature = "fleet")]
mod ban_sync;
mod current_list;
#[cfg(feature = "fleet")]
mod kicks;
mod list_file;
#[cfg(feature = "fleet")]
mod lookups;
#[cfg(feature = "fleet")]
mod message;
#[cfg(feature = "fleet")]
mod nats;
#[cfg(feature = "fleet")]
mod own_roster;
#[cfg(feature = "fleet")]
mod report;
#[cfg(feature = "fleet")]
mod rosters;
mod shared_bans;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use hobnob_protocol::{DeviceId, RoomTag, SecretKey};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use current_list::NewListError;
pub use list_file::{ListFile, ListFileError, ListTextError};
#[cfg(feature = "fleet")]
pub use nats::new_user_key;

pub(crate) use ban_records::BanRecord;
pub(crate) use current_list::CurrentList;
pub(crate) use shared_bans::SharedBans;

use crate::admission::BanTarget;
use crate::core::{ConnectionId, Found};

/// The configuration of a relay that is a member of a fleet.
#[derive(Debug, Clone)]
pub struct FleetConfig {
    /// The signed list of the fleet's relays.
    pub list: ListFile,
    /// Where the NATS servers are: `nats://host:port`. The connection always uses TLS.
    pub servers: Vec<String>,
    /// The file with the seed of the relay's NATS user key (nkey), which begins with `SU`.
    pub credentials: PathBuf,
    /// The file with the certificates (PEM) of the authorities that vouch for the NATS servers. `None`:
    /// those of the system.
    pub authorities: Option<PathBuf>,
}

/// Why a relay can't be a member of a fleet.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The list does not name this relay.
    #[error("the list of the fleet does not name this relay, whose identity is {0}")]
    NotMember(DeviceId),
    /// A file can't be read.
    #[error("can't read {0:?}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// The file has no seed of a user key.
    #[error("{0:?} has no seed of a NATS user key: it must begin with SU")]
    Seed(PathBuf),
    /// The address of a NATS server is invalid.
    #[error("{0:?} is no address of a NATS server: {1}")]
    Server(String, String),
    /// The feature `fleet` is not compiled in.
    #[error("this program was built without support for fleets")]
    NotBuilt,
}

/// A new user key (nkey) for NATS.
#[derive(Debug)]
pub struct UserKey {
    /// The public key, for the configuration of the NATS servers. It begins with `U`.
    pub public: String,
    /// The seed, for [`FleetConfig::credentials`]. It begins with `SU`.
    pub seed: String,
}

/// What the hub asks of the directory.
#[cfg_attr(
    not(feature = "fleet"),
    expect(dead_code, reason = "only the directory uses it")
)]
#[derive(Debug)]
pub(crate) enum DirectoryRequest {
    /// A peer has registered.
    Here {
        /// The peer.
        peer: DeviceId,
        /// Its connection.
        connection: ConnectionId,
        /// Whether it uses this relay as a member of the fleet. Then its registration ends an older one
        /// at another relay, and a newer one there ends this one. A peer that uses this relay alone may
        /// be registered at others, too.
        uses_fleet: bool,
    },
    /// A peer that uses the fleet is in these rooms from now on, on this connection.
    Rooms(DeviceId, ConnectionId, Vec<RoomTag>),
    /// The registration of this peer on this connection has ended.
    Gone(DeviceId, ConnectionId),
    /// The operator of this relay has changed a ban.
    BanChanged(BanRecord),
    /// The operator of this relay kicks a peer, which is not here.
    Kick(DeviceId),
    /// A peer asks on this connection for this other peer. The permit is a place in the queue.
    Find(ConnectionId, DeviceId, OwnedSemaphorePermit),
}

/// What the directory reports to the hub.
#[cfg_attr(
    not(feature = "fleet"),
    expect(dead_code, reason = "only the directory uses it")
)]
#[derive(Debug)]
pub(crate) enum DirectoryEvent {
    /// The end of a search for a peer, for the peers that ask on these connections.
    Found {
        /// The connections.
        askers: Vec<ConnectionId>,
        /// The peer that was sought.
        peer: DeviceId,
        /// Where it is.
        found: Found,
    },
    /// The peer of this connection has registered at another relay since.
    MovedAway(ConnectionId),
    /// Peers, and in which rooms other relays list them now. The rooms are sorted.
    Elsewhere(Vec<(DeviceId, Vec<RoomTag>)>),
    /// Other relays have changed these bans. The shared bans have the changes.
    BansChanged(Vec<BanTarget>),
    /// The operator of another relay kicks a peer.
    Kicked(DeviceId),
    /// Whether there is a connection with NATS.
    Connected(bool),
}

/// The parts of a server that the directory needs.
#[cfg_attr(
    not(feature = "fleet"),
    expect(dead_code, reason = "only the directory uses it")
)]
pub(crate) struct Surroundings<R> {
    pub(crate) key: Arc<SecretKey>,
    pub(crate) list: CurrentList,
    pub(crate) bans: SharedBans,
    /// Receives the events. It may wait.
    pub(crate) report: R,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

/// Starts the directory. The hub's requests never wait: the hub limits how many there are, and the
/// directory answers them at once while NATS is not connected.
#[cfg(feature = "fleet")]
pub(crate) fn start<R, F>(
    config: &FleetConfig,
    surroundings: Surroundings<R>,
) -> Result<mpsc::UnboundedSender<DirectoryRequest>, FleetError>
where
    R: Fn(DirectoryEvent) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let options = nats::options(config, surroundings.key.id())?;
    let (requests, queue) = mpsc::unbounded_channel();
    nats::start(options, surroundings, queue);
    Ok(requests)
}

/// Without the feature there is no directory.
#[cfg(not(feature = "fleet"))]
pub(crate) fn start<R, F>(
    _config: &FleetConfig,
    _surroundings: Surroundings<R>,
) -> Result<mpsc::UnboundedSender<DirectoryRequest>, FleetError>
where
    R: Fn(DirectoryEvent) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    Err(FleetError::NotBuilt)
}
