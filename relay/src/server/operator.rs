//! Requests of the relay's operator and their answers, as types. Resolves a target to a peer.
//!
//! The hub executes them. The sentences for the operator are in the relay's program.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use hobnob_protocol::DeviceId;
use hobnob_protocol::identity::PEER_ID_SHORT_LEN;
use hobnob_transport::stream::tls::CertificateError;
use tokio::sync::oneshot;

use super::usage_file::Usage;
use crate::admission::{Admission, BANS_MAX, BanTarget, Bans, FileError, Rule};
use crate::core::{Counts, Limits, Row};

/// A request of the operator, with the channel for its answer.
#[derive(Debug)]
pub(super) enum OperatorRequest {
    /// Return the liveness table, with at most this many sleepers.
    Peers(usize, oneshot::Sender<Table>),
    /// End the connection of this target.
    Kick(String, oneshot::Sender<Result<DeviceId, OperatorError>>),
    /// Ban this target, or remove its ban. The answer has all bans, for the caller to store.
    SetBanned(String, bool, oneshot::Sender<Result<Banned, OperatorError>>),
    /// Use these settings from now on.
    Change(Box<Change>, oneshot::Sender<Changed>),
    /// Return the bytes of today of each peer, for the caller to store.
    Usage(oneshot::Sender<Usage>),
}

/// New settings of a running relay.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) rule: Rule,
    pub(super) bans: Bans,
    pub(super) limits: Limits,
}

/// The effect of new settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changed {
    /// Bans that were not in effect before.
    pub bans_added: usize,
    /// Bans that are not in effect any more.
    pub bans_removed: usize,
    /// Peers that were disconnected because the new settings do not admit them.
    pub disconnected: usize,
}

/// The liveness table at one moment, with the totals of the relay.
#[derive(Debug, Clone)]
pub struct Table {
    /// The peers that are connected, or were within the last hour, and sleepers: all of them or some.
    pub peers: Vec<PeerStatus>,
    /// Number of sleeping peers.
    pub asleep: usize,
    /// The maximum number of connected peers.
    pub peers_max: usize,
    /// The bans.
    pub bans: Bans,
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
    pub(super) target: BanTarget,
    pub(super) all: Bans,
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
        among: Vec<DeviceId>,
    },
    /// The peer is known but not connected.
    #[error("{0} is not connected")]
    NotConnected(DeviceId),
    /// The target is banned already.
    #[error("{0} is already banned")]
    BannedAlready(BanTarget),
    /// The target is not banned.
    #[error("{0} is not banned")]
    NotBanned(BanTarget),
    /// There are as many bans as possible.
    #[error(
        "there are {BANS_MAX} bans, the maximum: ban a range of addresses instead of single ones, or unban some"
    )]
    TooManyBans,
    /// The change of bans took effect, but could not be stored. It lasts until the relay ends.
    #[error("the change lasts only until the relay ends: {0}")]
    NotStored(FileError),
    /// A file of the relay's home is unusable, so the old settings stay.
    #[error(transparent)]
    File(FileError),
    /// A certificate or its key is unusable, so the old settings stay.
    #[error(transparent)]
    Certificate(CertificateError),
    /// The relay still disconnects its peers. It is busy.
    #[error("the relay is busy, and still disconnects its peers")]
    StillDraining,
    /// The relay is stopping.
    #[error("the relay is stopping")]
    Stopping,
}

/// The peer that a target means. A whole id means that peer, even an unknown one. A label, or the
/// beginning of an id, means a known peer.
pub(super) fn resolve(
    target: String,
    admission: &Admission,
    known: impl Iterator<Item = DeviceId>,
) -> Result<DeviceId, OperatorError> {
    if let Ok(peer) = target.parse() {
        return Ok(peer);
    }
    let mut among: BTreeSet<DeviceId> = admission.labelled(&target).into_iter().collect();
    if among.is_empty() && target.len() >= PEER_ID_SHORT_LEN {
        let known = known
            .chain(admission.bans().peers.iter().copied())
            .chain(admission.listed());
        among = known
            .filter(|peer| peer.to_string().starts_with(&target))
            .collect();
    }
    let among: Vec<DeviceId> = among.into_iter().collect();
    match among[..] {
        [] => Err(OperatorError::Unknown(target)),
        [peer] => Ok(peer),
        [..] => Err(OperatorError::Ambiguous { target, among }),
    }
}

/// The target of a ban: addresses such as 192.0.2.0/24, or a peer.
pub(super) fn resolve_ban(
    target: String,
    admission: &Admission,
    known: impl Iterator<Item = DeviceId>,
) -> Result<BanTarget, OperatorError> {
    match target.parse() {
        Ok(range) if admission.labelled(&target).is_empty() => Ok(BanTarget::Range(range)),
        Ok(_) | Err(_) => resolve(target, admission, known).map(BanTarget::Peer),
    }
}

fn join(peers: &[DeviceId]) -> String {
    let peers: Vec<String> = peers.iter().map(DeviceId::to_string).collect();
    peers.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{AllowList, Rule};

    /// Ids that begin alike for 8 characters (40 bits) and differ later.
    fn alike(last: u8) -> DeviceId {
        let mut bytes = [1; 32];
        bytes[31] = last;
        DeviceId::from_bytes(bytes)
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
        let banned = DeviceId::from_bytes([9; 32]);
        admission.set_banned(BanTarget::Peer(banned), true);
        let stranger = DeviceId::from_bytes([5; 32]);
        for (target, peer) in [
            (stranger.to_string(), stranger),
            ("ann".to_owned(), alike(1)),
            (banned.short(), banned),
        ] {
            assert_eq!(
                resolve(target, &admission, std::iter::empty()).unwrap(),
                peer
            );
        }
    }

    #[test]
    fn a_ban_may_also_mean_addresses() {
        let admission = admission();
        let means =
            |target: &str| resolve_ban(target.to_owned(), &admission, std::iter::empty()).unwrap();
        let range = BanTarget::Range("192.0.2.0/24".parse().unwrap());
        assert_eq!(means("192.0.2.0/24"), range);
        assert_eq!(means("ann"), BanTarget::Peer(alike(1)));
    }

    #[test]
    fn an_unknown_or_ambiguous_target_is_an_error() {
        let admission = admission();
        for target in ["bob", "an", &alike(1).to_string()[..7]] {
            let error = resolve(target.to_owned(), &admission, std::iter::empty()).unwrap_err();
            assert!(matches!(error, OperatorError::Unknown(_)), "{target}");
        }
        match resolve(alike(1).short(), &admission, std::iter::empty()) {
            Err(OperatorError::Ambiguous { among, .. }) => {
                assert_eq!(among, [alike(1), alike(2)]);
            }
            other => panic!("{other:?}"),
        }
    }
}
