//! The keys of rooms: what they prove to other members, and what others see of them. `passphrase`
//! makes a key from a passphrase, and `room_ticket` writes one as text.
//!
//! Everything that leaves the machine is derived under a label of its own for each kind of room and
//! each purpose, so nothing that one party sees can be used in another place.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::conversation::{ConversationId, RoomName};
use crate::identity::DeviceId;
use crate::short_hex::short_hex;
use crate::words::words_of;

/// Words in the fingerprint of a room's key. Together they are 55 bits.
pub const FINGERPRINT_WORDS: usize = 5;

/// The epoch of a room's first key. In this version a room keeps its first key.
const FIRST_EPOCH: u32 = 0;

/// How the key of a room was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoomKind {
    /// From the room's name: everybody can enter.
    Open,
    /// From a passphrase that people agree on, see [`RoomKey::from_passphrase`].
    Passphrase,
    /// From 32 random bytes.
    Random,
}

impl RoomKind {
    /// The number of the kind on disk and in tickets.
    pub const fn code(self) -> u8 {
        match self {
            Self::Open => 0,
            Self::Passphrase => 1,
            Self::Random => 2,
        }
    }

    /// The kind with this number. `None`: a later version may know it.
    pub const fn of_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Open),
            1 => Some(Self::Passphrase),
            2 => Some(Self::Random),
            _ => None,
        }
    }
}

/// The values that are derived from a room's key.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    Id,
    Proof,
    RelayTag,
    Fingerprint,
    MailKey,
    MailTag,
}

/// The context string of BLAKE3's `derive_key` for each kind and purpose.
const fn label(kind: RoomKind, purpose: Purpose) -> &'static str {
    match (kind, purpose) {
        (RoomKind::Open, Purpose::Id) => "hobnob 1 open room: id",
        (RoomKind::Open, Purpose::Proof) => "hobnob 1 open room: proof",
        (RoomKind::Open, Purpose::RelayTag) => "hobnob 1 open room: relay tag",
        (RoomKind::Open, Purpose::Fingerprint) => "hobnob 1 open room: fingerprint",
        (RoomKind::Open, Purpose::MailKey) => "hobnob 1 open room: mail key",
        (RoomKind::Open, Purpose::MailTag) => "hobnob 1 open room: mail tag",
        (RoomKind::Passphrase, Purpose::Id) => "hobnob 1 passphrase room: id",
        (RoomKind::Passphrase, Purpose::Proof) => "hobnob 1 passphrase room: proof",
        (RoomKind::Passphrase, Purpose::RelayTag) => "hobnob 1 passphrase room: relay tag",
        (RoomKind::Passphrase, Purpose::Fingerprint) => "hobnob 1 passphrase room: fingerprint",
        (RoomKind::Passphrase, Purpose::MailKey) => "hobnob 1 passphrase room: mail key",
        (RoomKind::Passphrase, Purpose::MailTag) => "hobnob 1 passphrase room: mail tag",
        (RoomKind::Random, Purpose::Id) => "hobnob 1 random room: id",
        (RoomKind::Random, Purpose::Proof) => "hobnob 1 random room: proof",
        (RoomKind::Random, Purpose::RelayTag) => "hobnob 1 random room: relay tag",
        (RoomKind::Random, Purpose::Fingerprint) => "hobnob 1 random room: fingerprint",
        (RoomKind::Random, Purpose::MailKey) => "hobnob 1 random room: mail key",
        (RoomKind::Random, Purpose::MailTag) => "hobnob 1 random room: mail tag",
    }
}

/// The key that the members of a room share. `Debug` does not show it, and its memory is overwritten
/// when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct RoomKey {
    kind: RoomKind,
    epoch: u32,
    bytes: Zeroizing<[u8; 32]>,
}

impl RoomKey {
    /// The key of the open room with this name. Everybody can compute it.
    pub fn open(name: &RoomName) -> Self {
        let bytes = blake3::derive_key("hobnob 1 open room: key", name.as_str().as_bytes());
        Self::from_bytes(RoomKind::Open, bytes)
    }

    /// The key of a new room. The caller provides the 32 random bytes.
    pub fn random(bytes: [u8; 32]) -> Self {
        Self::from_bytes(RoomKind::Random, bytes)
    }

    /// A key that was stored or came by ticket.
    pub fn from_bytes(kind: RoomKind, bytes: [u8; 32]) -> Self {
        Self {
            kind,
            epoch: FIRST_EPOCH,
            bytes: Zeroizing::new(bytes),
        }
    }

    /// How the key was made.
    pub const fn kind(&self) -> RoomKind {
        self.kind
    }

    /// Whether everybody can compute the key.
    pub const fn is_open(&self) -> bool {
        matches!(self.kind, RoomKind::Open)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// The id of the room that this key creates. The room keeps the id when its key changes, so a
    /// node stores the id beside the key.
    pub fn conversation(&self) -> ConversationId {
        ConversationId::from_bytes(*self.derive(Purpose::Id, &[]).as_bytes())
    }

    /// The proof that `prover` has the key. It is bound to one session by the TLS exporter (RFC
    /// 8446 section 7.5) and to the prover, so it is useless in other sessions and to other peers.
    pub fn proof(&self, exporter: &[u8; 32], prover: DeviceId) -> RoomProof {
        let hash = self.derive(Purpose::Proof, &[exporter, prover.as_bytes()]);
        RoomProof {
            epoch: self.epoch,
            hash: *hash.as_bytes(),
        }
    }

    /// The name of the room at one relay. It does not reveal the key, and two relays cannot find
    /// out that they serve the same room.
    pub fn relay_tag(&self, relay: DeviceId) -> RoomTag {
        RoomTag(
            *self
                .derive(Purpose::RelayTag, &[relay.as_bytes()])
                .as_bytes(),
        )
    }

    /// The number of the key, 0 for a room's first one.
    pub(crate) const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The key of one sealed part of an envelope, which has its own random `salt`.
    pub(crate) fn mail_key(&self, salt: &[u8; 32]) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(*self.derive(Purpose::MailKey, &[salt]).as_bytes())
    }

    /// The value by which members find out which room a sealed part is about. Others cannot tell it
    /// from random bytes.
    pub(crate) fn mail_tag(&self, salt: &[u8; 32], sender: DeviceId) -> [u8; 32] {
        let hash = self.derive(Purpose::MailTag, &[salt, sender.as_bytes()]);
        *hash.as_bytes()
    }

    /// Words by which two people can see that they have the same key. Open rooms have none.
    pub fn fingerprint(&self) -> Option<[&'static str; FINGERPRINT_WORDS]> {
        let hash = self.derive(Purpose::Fingerprint, &[]);
        (!self.is_open()).then(|| words_of(hash.as_bytes()))
    }

    /// Hashes the key, its epoch and further values of fixed length.
    fn derive(&self, purpose: Purpose, values: &[&[u8; 32]]) -> blake3::Hash {
        let mut hash = blake3::Hasher::new_derive_key(label(self.kind, purpose));
        hash.update(&self.bytes[..])
            .update(&self.epoch.to_le_bytes());
        for value in values {
            hash.update(*value);
        }
        hash.finalize()
    }
}

impl fmt::Debug for RoomKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoomKey({:?})", self.kind)
    }
}

/// Shows one peer, in one session, that the sender has the key of a room. A peer without the key
/// cannot tell it from random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RoomProof {
    /// The number of the room's key, 0 for its first one.
    pub epoch: u32,
    /// The proof.
    pub hash: [u8; 32],
}

impl RoomProof {
    /// A value that looks like a proof and proves nothing, to fill up a list of proofs. Places in
    /// one session have different fillers, which depend on a random `seed`.
    pub fn filler(seed: &[u8; 32], exporter: &[u8; 32], place: u64) -> Self {
        let mut hash = blake3::Hasher::new_keyed(seed);
        hash.update(exporter).update(&place.to_le_bytes());
        Self {
            epoch: FIRST_EPOCH,
            hash: *hash.finalize().as_bytes(),
        }
    }
}

/// The name of a room at one relay, see [`RoomKey::relay_tag`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RoomTag([u8; 32]);

impl RoomTag {
    /// A tag from its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for RoomTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        short_hex(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const KINDS: [RoomKind; 3] = [RoomKind::Open, RoomKind::Passphrase, RoomKind::Random];

    fn peer(n: u8) -> DeviceId {
        DeviceId::from_bytes([n; 32])
    }

    #[test]
    fn a_proof_is_valid_for_one_room_one_session_and_one_prover() {
        let key = RoomKey::random([7; 32]);
        let proof = key.proof(&[1; 32], peer(1));
        assert_eq!(proof.epoch, 0);
        assert_eq!(proof, key.proof(&[1; 32], peer(1)));
        assert_ne!(proof, key.proof(&[2; 32], peer(1)));
        assert_ne!(proof, key.proof(&[1; 32], peer(2)));
        assert_ne!(proof, RoomKey::random([8; 32]).proof(&[1; 32], peer(1)));
    }

    #[test]
    fn two_relays_see_different_tags() {
        let key = RoomKey::random([7; 32]);
        assert_eq!(key.relay_tag(peer(1)), key.relay_tag(peer(1)));
        assert_ne!(key.relay_tag(peer(1)), key.relay_tag(peer(2)));
    }

    #[test]
    fn each_kind_and_purpose_has_a_label_of_its_own() {
        let purposes = [
            Purpose::Id,
            Purpose::Proof,
            Purpose::RelayTag,
            Purpose::Fingerprint,
            Purpose::MailKey,
            Purpose::MailTag,
        ];
        let labels: BTreeSet<_> = KINDS
            .iter()
            .flat_map(|&kind| purposes.map(|purpose| label(kind, purpose)))
            .collect();
        assert_eq!(labels.len(), KINDS.len() * purposes.len());
    }

    #[test]
    fn the_same_bytes_make_different_rooms_of_each_kind() {
        let ids: BTreeSet<_> = KINDS
            .map(|kind| RoomKey::from_bytes(kind, [7; 32]).conversation())
            .into();
        assert_eq!(ids.len(), KINDS.len());
    }

    #[test]
    fn open_rooms_have_no_fingerprint() {
        let name = "ops".parse().expect("a room");
        assert_eq!(RoomKey::open(&name).fingerprint(), None);
        let [one, other] = [7, 8].map(|n| RoomKey::random([n; 32]).fingerprint().expect("words"));
        assert_ne!(one, other);
    }

    #[test]
    fn kinds_are_known_by_their_numbers() {
        for kind in KINDS {
            assert_eq!(RoomKind::of_code(kind.code()), Some(kind));
        }
        assert_eq!(RoomKind::of_code(3), None);
    }
}
