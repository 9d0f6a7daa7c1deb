//! What the relay's operator asks, and what the hub answers.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use hobnob_protocol::PeerId;
use hobnob_protocol::identity::PEER_ID_SHORT_LEN;
use tokio::sync::oneshot;

use super::hub::Hub;
use crate::admission::{Admission, FileError};
use crate::core::{Counts, Input, Row, State};

/// Something the operator asks, with where the answer goes.
#[derive(Debug)]
pub(super) enum OperatorRequest {
    /// The liveness table.
    Peers(oneshot::Sender<Table>),
    /// End this peer's connection.
    Kick(String, oneshot::Sender<Result<PeerId, OperatorError>>),
    /// Keep this peer out, or no longer; answered with who is kept out then, for the caller to
    /// write down.
    SetBanned(String, bool, oneshot::Sender<Result<Banned, OperatorError>>),
}

/// The liveness table at one moment, and what goes with it.
#[derive(Debug, Clone)]
pub struct Table {
    /// The peers that are here, or were within the hour.
    pub peers: Vec<Peer>,
    /// Who is kept out.
    pub banned: BTreeSet<PeerId>,
    /// What the core has counted since the start.
    pub counts: Counts,
    /// Control connections that are registered.
    pub connections: usize,
    /// Channels there are.
    pub channels: usize,
    /// Rooms with a connected peer in them.
    pub rooms: usize,
    /// How long the relay has been running.
    pub up: Duration,
}

/// A peer in the liveness table.
#[derive(Debug, Clone)]
pub struct Peer {
    /// What the core knows; its times are since the relay's start.
    pub row: Row,
    /// The operator's name for it.
    pub label: Option<String>,
    /// When it registered.
    pub since: SystemTime,
    /// How long ago something last came from it.
    pub heard_ago: Duration,
}

/// A change of who is kept out.
#[derive(Debug)]
pub(super) struct Banned {
    pub(super) peer: PeerId,
    pub(super) all: BTreeSet<PeerId>,
}

/// Why what the operator asked was not done. The text is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// Nobody is called so.
    #[error(
        "nobody here is called {0:?}: name a peer by its label, its id or the first {PEER_ID_SHORT_LEN} or more characters of it \
         (hobnob relay peers lists them), and one that has not been here by its whole id"
    )]
    Unknown(String),
    /// Several are called so.
    #[error("{word:?} may be any of {}: write more of the id", join(among))]
    Ambiguous {
        /// What the operator wrote.
        word: String,
        /// Whom it may mean.
        among: Vec<PeerId>,
    },
    /// It is known, and not connected.
    #[error("{0} is not connected now")]
    NotConnected(PeerId),
    /// It is banned already.
    #[error("{0} is banned already")]
    BannedAlready(PeerId),
    /// It is not banned.
    #[error("{0} is not banned")]
    NotBanned(PeerId),
    /// It is done, and will be forgotten.
    #[error("done, but only until the relay ends: {0}")]
    NotKept(FileError),
    /// The relay stops.
    #[error("the relay is stopping")]
    Stopping,
}

impl OperatorError {
    /// Whether nobody, or nobody in particular, is meant by what the operator wrote.
    pub fn is_about_the_name(&self) -> bool {
        match self {
            Self::Unknown(_) | Self::Ambiguous { .. } => true,
            Self::NotConnected(_)
            | Self::BannedAlready(_)
            | Self::NotBanned(_)
            | Self::NotKept(_)
            | Self::Stopping => false,
        }
    }
}

impl Hub {
    pub(super) fn ask(&mut self, ask: OperatorRequest) {
        // Whoever asked may have gone: then the answer falls on deaf ears.
        match ask {
            OperatorRequest::Peers(answer) => drop(answer.send(self.table())),
            OperatorRequest::Kick(word, answer) => drop(answer.send(self.kick(word))),
            OperatorRequest::SetBanned(word, banned, answer) => {
                drop(answer.send(self.set_banned(word, banned)))
            }
        }
    }

    fn table(&self) -> Table {
        let now = self.clock.now();
        let peer = |row: Row| Peer {
            label: self.admission.label(row.peer).map(str::to_owned),
            since: self.clock.wall(row.since),
            heard_ago: now.saturating_sub(row.heard_at),
            row,
        };
        Table {
            peers: self.relay.table().into_iter().map(peer).collect(),
            banned: self.admission.banned().clone(),
            counts: self.relay.counts(),
            connections: self.connections(),
            channels: self.relay.channels(),
            rooms: self.relay.rooms(),
            up: now,
        }
    }

    fn kick(&mut self, word: String) -> Result<PeerId, OperatorError> {
        let rows = self.relay.table();
        let peer = resolve(word, &self.admission, &rows)?;
        if !rows
            .iter()
            .any(|row| row.peer == peer && row.state != State::Gone)
        {
            return Err(OperatorError::NotConnected(peer));
        }
        self.tell(Input::Kick(peer));
        Ok(peer)
    }

    fn set_banned(&mut self, word: String, banned: bool) -> Result<Banned, OperatorError> {
        let peer = resolve(word, &self.admission, &self.relay.table())?;
        if !self.admission.set_banned(peer, banned) {
            return Err(if banned {
                OperatorError::BannedAlready(peer)
            } else {
                OperatorError::NotBanned(peer)
            });
        }
        if banned {
            self.tell(Input::Ban(peer));
        }
        Ok(Banned {
            peer,
            all: self.admission.banned().clone(),
        })
    }
}

/// Whom a word means: a whole id means that peer, whoever it is; the beginning of one, or a label,
/// a peer that is known.
fn resolve(word: String, admission: &Admission, rows: &[Row]) -> Result<PeerId, OperatorError> {
    if let Ok(peer) = word.parse() {
        return Ok(peer);
    }
    let mut among: BTreeSet<PeerId> = admission.labelled(&word).into_iter().collect();
    if among.is_empty() && word.len() >= PEER_ID_SHORT_LEN {
        let known = rows
            .iter()
            .map(|row| row.peer)
            .chain(admission.banned().iter().copied())
            .chain(admission.listed());
        among = known
            .filter(|peer| peer.to_string().starts_with(&word))
            .collect();
    }
    let among: Vec<PeerId> = among.into_iter().collect();
    match among[..] {
        [] => Err(OperatorError::Unknown(word)),
        [peer] => Ok(peer),
        [..] => Err(OperatorError::Ambiguous { word, among }),
    }
}

fn join(peers: &[PeerId]) -> String {
    peers
        .iter()
        .map(PeerId::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
