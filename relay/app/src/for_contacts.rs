//! A small relay that a node runs for its contacts, within its own process.
//!
//! It admits the contacts of the node and the node itself, by their identities, and nobody else. The
//! list changes while it runs. It lists nobody to anybody, holds no mail, and serves little, because it
//! shares the line of a home. Not here: how contacts learn of it.

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hobnob_protocol::{DeviceId, PersonId};
use hobnob_relay::admission::Rule;
use hobnob_relay::core::{Limits, State};
use hobnob_relay::server::{Config, Inherited, Server, StartError, TcpConfig};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Contacts that are registered at once. A further one is refused, or replaces the idlest of the
/// network that has the most.
pub const CONTACTS_MAX: usize = 64;

/// Bytes that are forwarded for one contact in a second. Datagrams beyond it are dropped, and the two
/// ends slow down.
pub const BYTES_PER_SECOND: u64 = 1_000_000;

/// Bytes that are forwarded for one contact in a day. Beyond it, the contact is refused until
/// 00:00 UTC.
pub const BYTES_PER_DAY: u64 = 2_000_000_000;

/// Channels of one contact, and of all.
const CHANNELS_PER_CONTACT: usize = 32;
const CHANNELS_MAX: usize = 512;

/// How long to wait before contacts are admitted or excluded again, if that failed.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The folder of its key and its counts within the data folder of the node.
const FOLDER: &str = "relay-for-contacts";

/// How a relay for contacts starts.
#[derive(Debug)]
pub struct Options {
    /// The data folder of the node.
    pub home: PathBuf,
    /// The address to listen on, for UDP and TCP. `None`: port 4627 on all addresses.
    pub listen: Option<SocketAddr>,
    /// The node that runs it.
    pub node: DeviceId,
    /// Whom it admits beside the node, now and after each change.
    pub contacts: watch::Receiver<BTreeSet<PersonId>>,
}

/// Why a relay for contacts does not start.
#[derive(Debug, thiserror::Error)]
pub enum LendError {
    /// Its folder can't be made.
    #[error("can't make the folder {}: {error}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// The relay can't start.
    #[error("can't run a relay for contacts: {0}{advice}", advice = advice(.0))]
    Start(#[from] StartError),
}

fn advice(error: &StartError) -> &'static str {
    match error {
        StartError::Taken(_)
        | StartError::NotHere(_)
        | StartError::Forbidden(_)
        | StartError::Tcp(_)
        | StartError::Socket { .. } => "; choose another address or port with --relay-listen",
        StartError::Key(_)
        | StartError::File(_)
        | StartError::Inherited(_)
        | StartError::Mailbox(_)
        | StartError::Fleet(_) => "",
    }
}

/// A relay for contacts and the task that follows the contacts.
#[derive(Debug)]
pub struct Running {
    relay: ContactRelay,
    admitting: JoinHandle<()>,
    stop: CancellationToken,
}

/// A handle for a running relay for contacts.
#[derive(Debug, Clone)]
pub struct ContactRelay {
    server: Server,
    node: DeviceId,
}

/// What a relay for contacts does at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The contacts that are registered, each with the bytes forwarded for it since then.
    pub contacts: Vec<(DeviceId, u64)>,
    /// The bytes that were forwarded since the start, for contacts and for the node.
    pub bytes: u64,
}

impl Running {
    /// Starts the relay, within a tokio runtime.
    pub fn start(options: Options) -> Result<Self, LendError> {
        let Options {
            home,
            listen,
            node,
            mut contacts,
        } = options;
        let home = folder(&home)?;
        let first = rule(node, &contacts.borrow_and_update());
        let server = Server::start(Config {
            listen,
            home,
            rule: first,
            limits: limits(),
            tcp: TcpConfig::default(),
            inherited: Inherited::default(),
            mailbox: None,
            fleet: None,
        })?;
        let stop = CancellationToken::new();
        let admit = stop
            .clone()
            .run_until_cancelled_owned(admit(server.clone(), node, contacts));
        Ok(Self {
            relay: ContactRelay { server, node },
            admitting: tokio::spawn(async move {
                // Nothing follows, whether it was stopped or has ended with the node.
                let _ended = admit.await;
            }),
            stop,
        })
    }

    /// The relay.
    pub fn relay(&self) -> &ContactRelay {
        &self.relay
    }

    /// Disconnects all, and stops.
    pub async fn stop(self) {
        self.stop.cancel();
        self.relay.server.shutdown().await;
        if let Err(error) = self.admitting.await {
            tracing::error!(%error, "the task that admits contacts failed");
        }
    }
}

impl ContactRelay {
    /// Its identity. It is not that of the node.
    pub fn id(&self) -> DeviceId {
        self.server.id()
    }

    /// The address that it listens on.
    pub fn listens(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// The address at which this machine reaches it.
    pub fn local(&self) -> SocketAddr {
        let bound = self.listens();
        match bound.ip().to_canonical() {
            // An unspecified IPv6 address includes IPv4.
            ip if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, bound.port()).into(),
            ip => (ip, bound.port()).into(),
        }
    }

    /// The addresses of this machine at which others may reach it.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.server.addrs()
    }

    /// What it does at the moment. Nothing if it has stopped.
    pub async fn served(&self) -> Option<Served> {
        let table = self.server.table().await.ok()?;
        let is_here = |state| match state {
            State::Alive | State::Suspect | State::Asleep => true,
            State::Gone => false,
        };
        let here = table.peers.into_iter().map(|peer| peer.row);
        let here = here.filter(|row| is_here(row.state) && row.peer != self.node);
        Some(Served {
            contacts: here.map(|row| (row.peer, row.metered.bytes)).collect(),
            bytes: self.server.counters().bytes,
        })
    }
}

fn limits() -> Limits {
    // The node itself has a place, too.
    let peers = CONTACTS_MAX + 1;
    Limits {
        peers,
        peers_per_network: peers,
        channels_per_peer: CHANNELS_PER_CONTACT,
        channels: CHANNELS_MAX,
        roster: false,
        guests: false,
        rate: BYTES_PER_SECOND,
        day_quota: BYTES_PER_DAY,
        ..Limits::default()
    }
}

fn rule(node: DeviceId, contacts: &BTreeSet<PersonId>) -> Rule {
    let contacts = contacts.iter().map(|peer| peer.only_device());
    Rule::Listed(contacts.chain([node]).collect())
}

/// The folder of the relay, which only the user can read.
fn folder(home: &Path) -> Result<PathBuf, LendError> {
    let path = home.join(FOLDER);
    let mut builder = DirBuilder::new();
    match builder.recursive(true).mode(0o700).create(&path) {
        Ok(()) => Ok(path),
        Err(error) => Err(LendError::Folder { path, error }),
    }
}

/// Admits new contacts, and disconnects those that are no contacts any more, until the node has
/// stopped.
async fn admit(server: Server, node: DeviceId, mut contacts: watch::Receiver<BTreeSet<PersonId>>) {
    while contacts.changed().await.is_ok() {
        loop {
            let rule = rule(node, &contacts.borrow_and_update());
            let Err(error) = server.change(rule, limits(), None).await else {
                break;
            };
            // It reads the file of bans in its folder again, which the user may have written.
            tracing::error!(%error, "the relay for contacts still admits those of before");
            sleep(AGAIN_AFTER).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_protocol::SecretKey;

    fn options(home: &Path, contacts: watch::Receiver<BTreeSet<PersonId>>) -> Options {
        Options {
            home: home.to_owned(),
            listen: Some((Ipv4Addr::LOCALHOST, 0).into()),
            node: SecretKey::from_seed([1; 32]).id(),
            contacts,
        }
    }

    #[tokio::test]
    async fn it_keeps_its_identity_which_is_not_that_of_the_node() {
        let home = tempfile::tempdir().unwrap();
        let (_sender, contacts) = watch::channel(BTreeSet::new());
        let running = Running::start(options(home.path(), contacts.clone())).unwrap();
        let relay = running.relay().clone();
        let id = relay.id();
        assert_ne!(id, SecretKey::from_seed([1; 32]).id());
        assert_eq!(relay.local(), relay.listens());
        let served = relay.served().await.unwrap();
        assert_eq!((served.contacts, served.bytes), (vec![], 0));
        running.stop().await;
        assert_eq!(relay.served().await, None);
        let running = Running::start(options(home.path(), contacts)).unwrap();
        assert_eq!(running.relay().id(), id);
        running.stop().await;
    }

    #[tokio::test]
    async fn a_port_in_use_is_an_error_with_advice() {
        let home = tempfile::tempdir().unwrap();
        let (_sender, contacts) = watch::channel(BTreeSet::new());
        let taken = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let error = Running::start(Options {
            listen: taken.local_addr().ok(),
            ..options(home.path(), contacts)
        });
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("in use by another program; choose"),
            "{error}"
        );
    }

    #[test]
    fn it_serves_little() {
        let limits = limits();
        assert_eq!(limits.peers, CONTACTS_MAX + 1, "the node, too");
        assert_eq!((limits.rate, limits.day_quota), (1_000_000, 2_000_000_000));
        assert_eq!((limits.channels_per_peer, limits.channels), (32, 512));
        assert!(!limits.roster && !limits.guests && !limits.mailboxes);
    }

    #[test]
    fn contacts_and_the_node_are_admitted_and_nobody_else() {
        let id = |n| SecretKey::from_seed([n; 32]).id();
        let contacts = BTreeSet::from([id(2).person()]);
        let expected = [id(1), id(2)].into_iter().collect();
        assert_eq!(rule(id(1), &contacts), Rule::Listed(expected));
    }
}
