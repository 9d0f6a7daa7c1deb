//! Requests of the relay's operator and their answers, as types. Resolves a target to a peer.
//!
//! The hub executes them. The sentences for the operator are in the relay's program.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use hobnob_protocol::PeerId;
use hobnob_protocol::identity::PEER_ID_SHORT_LEN;
use tokio::sync::oneshot;

use crate::admission::{Admission, FileError};
use crate::core::{Counts, Row};

/// A request of the operator, with the channel for its answer.
#[derive(Debug)]
pub(super) enum OperatorRequest {
    /// Return the liveness table.
    Peers(oneshot::Sender<Table>),
    /// End the connection of this target.
    Kick(String, oneshot::Sender<Result<PeerId, OperatorError>>),
    /// Ban this target, or remove its ban. The answer has all bans, for the caller to store.
    SetBanned(String, bool, oneshot::Sender<Result<Banned, OperatorError>>),
}

/// The liveness table at one moment, with the totals of the relay.
#[derive(Debug, Clone)]
pub struct Table {
    /// The peers that are connected, or were within the last hour.
    pub peers: Vec<PeerStatus>,
    /// The banned peers.
    pub banned: BTreeSet<PeerId>,
    /// The counters of the core since the start.
    pub counts: Counts,
    /// Number of registered control connections.
    pub connections: usize,
    /// Number of channels.
    pub channels: usize,
    /// Number of rooms with a connected peer.
    pub rooms: usize,
    /// How long the relay has been running.
    pub up: Duration,
}

/// A peer in the liveness table.
#[derive(Debug, Clone)]
pub struct PeerStatus {
    /// The state of the core. Times are since the relay's start.
    pub row: Row,
    /// The operator's label for it.
    pub label: Option<String>,
    /// When it registered.
    pub since: SystemTime,
    /// Time since its last frame.
    pub heard_ago: Duration,
}

/// A change of the bans.
#[derive(Debug)]
pub(super) struct Banned {
    pub(super) peer: PeerId,
    pub(super) all: BTreeSet<PeerId>,
}

/// Why a request of the operator failed.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// No peer matches the target.
    #[error("no peer matches {0:?}")]
    Unknown(String),
    /// Several peers match the target.
    #[error("{target:?} matches several peers: {}", join(among))]
    Ambiguous {
        /// The text that the operator wrote.
        target: String,
        /// The peers that match.
        among: Vec<PeerId>,
    },
    /// The peer is known but not connected.
    #[error("{0} is not connected")]
    NotConnected(PeerId),
    /// The peer is banned already.
    #[error("{0} is already banned")]
    BannedAlready(PeerId),
    /// The peer is not banned.
    #[error("{0} is not banned")]
    NotBanned(PeerId),
    /// The change of bans took effect, but could not be stored. It lasts until the relay ends.
    #[error("the change lasts only until the relay ends: {0}")]
    NotStored(FileError),
    /// The relay is stopping.
    #[error("the relay is stopping")]
    Stopping,
}

/// The peer that a target means. A whole id means that peer, even an unknown one. A label, or the
/// beginning of an id, means a known peer.
pub(super) fn resolve(
    target: String,
    admission: &Admission,
    rows: &[Row],
) -> Result<PeerId, OperatorError> {
    if let Ok(peer) = target.parse() {
        return Ok(peer);
    }
    let mut among: BTreeSet<PeerId> = admission.labelled(&target).into_iter().collect();
    if among.is_empty() && target.len() >= PEER_ID_SHORT_LEN {
        let known = rows
            .iter()
            .map(|row| row.peer)
            .chain(admission.banned().iter().copied())
            .chain(admission.listed());
        among = known
            .filter(|peer| peer.to_string().starts_with(&target))
            .collect();
    }
    let among: Vec<PeerId> = among.into_iter().collect();
    match among[..] {
        [] => Err(OperatorError::Unknown(target)),
        [peer] => Ok(peer),
        [..] => Err(OperatorError::Ambiguous { target, among }),
    }
}

fn join(peers: &[PeerId]) -> String {
    let peers: Vec<String> = peers.iter().map(PeerId::to_string).collect();
    peers.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{AllowList, Rule};

    /// Ids that begin alike for 8 characters (40 bits) and differ later.
    fn alike(last: u8) -> PeerId {
        let mut bytes = [1; 32];
        bytes[31] = last;
        PeerId::from_bytes(bytes)
    }

    /// An admission that lists the first two peers of one prefix, the first of them as "ann".
    fn admission() -> Admission {
        let home = tempfile::tempdir().unwrap();
        let list = home.path().join("allow");
        std::fs::write(&list, format!("{} ann\n{}\n", alike(1), alike(2))).unwrap();
        let rule = Rule::Listed(AllowList::read(&list).unwrap());
        Admission::load(rule, home.path()).unwrap()
    }

    #[test]
    fn a_target_is_a_whole_id_a_label_or_the_beginning_of_an_id() {
        let mut admission = admission();
        let banned = PeerId::from_bytes([9; 32]);
        admission.set_banned(banned, true);
        let stranger = PeerId::from_bytes([5; 32]);
        for (target, peer) in [
            (stranger.to_string(), stranger),
            ("ann".to_owned(), alike(1)),
            (banned.short(), banned),
        ] {
            assert_eq!(resolve(target, &admission, &[]).unwrap(), peer);
        }
    }

    #[test]
    fn an_unknown_or_ambiguous_target_is_an_error() {
        let admission = admission();
        for target in ["bob", "an", &alike(1).to_string()[..7]] {
            let error = resolve(target.to_owned(), &admission, &[]).unwrap_err();
            assert!(matches!(error, OperatorError::Unknown(_)), "{target}");
        }
        match resolve(alike(1).short(), &admission, &[]) {
            Err(OperatorError::Ambiguous { among, .. }) => {
                assert_eq!(among, [alike(1), alike(2)]);
            }
            other => panic!("{other:?}"),
        }
    }
}
