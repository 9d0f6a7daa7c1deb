//! Logs: their names, the numbers of their entries, and the hash chain that binds the entries.
//!
//! An entry is hashed and signed as the exact bytes that travel. Those bytes contain neither its
//! sequence number nor the hash of the entry before it. Both enter its hash instead:
//! `H(n) = BLAKE3(H(n-1) ‖ n ‖ header ‖ body hash)`, where `H(0)` is derived from the log's name. So
//! the hash of one entry fixes its place, all entries before it, and the conversation, author, device
//! and log. It stays the same when the body is erased: see [`crate::body_hash`].
//!
//! The entries themselves are in [`crate::entry`].

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::conversation::ConversationId;
use crate::identity::{DeviceId, PersonId};
use crate::short_hash;
use crate::short_hex::short_hex;

/// The place of an entry in its log: 1, 2, 3 and so on, without gaps.
pub type Seq = u64;

/// One log of an author.
///
/// Each run of a store starts new logs with random ids. So no other run, machine or restored backup
/// writes into an existing log.
///
/// ```
/// use hobnob_protocol::{ConversationId, LogId, PersonId};
///
/// let [ann, bob] = [1, 2].map(|n| PersonId::from_bytes([n; 32]));
/// let conversation = ConversationId::direct(ann, bob);
/// let (this_run, the_next) = (LogId::of_run(1, &conversation), LogId::of_run(2, &conversation));
/// assert_ne!(this_run, the_next, "nobody writes into a log of an earlier run");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogId(pub u64);

impl LogId {
    /// The log that a run of a node writes in a conversation. `run` is the run's random number.
    pub fn of_run(run: u64, conversation: &ConversationId) -> Self {
        let mut hash = blake3::Hasher::new_derive_key("hobnob 1 log id");
        hash.update(&run.to_le_bytes())
            .update(conversation.as_bytes());
        let mut id = [0; 8];
        id.copy_from_slice(&hash.finalize().as_bytes()[..8]);
        Self(u64::from_le_bytes(id))
    }
}

/// The name of a log, unique everywhere.
///
/// The device travels only if its key is not the author's own. Only the author's own key can sign a
/// log today: see [`LogName::is_of_own_key`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogName {
    /// The conversation that its entries belong to.
    pub conversation: ConversationId,
    /// The person who writes it.
    pub author: PersonId,
    /// The device that writes and signs it.
    pub device: DeviceId,
    /// Which of the author's logs in that conversation it is.
    pub log: LogId,
}

impl LogName {
    /// A log that the author writes with the author's own key.
    pub const fn of_only_device(
        conversation: ConversationId,
        author: PersonId,
        log: LogId,
    ) -> Self {
        let device = author.only_device();
        Self {
            conversation,
            author,
            device,
            log,
        }
    }

    /// Whether the author's own key signs the log. The log of another device needs a certificate by
    /// the author in the header of its first entry: see [`tag::CERTIFICATE`](crate::header::tag).
    pub fn is_of_own_key(&self) -> bool {
        self.device == self.author.only_device()
    }

    /// `H(0)`: the hash before the first entry. The name of a log of another device has 32 bytes
    /// more, so no two names give the same bytes.
    pub fn genesis(&self) -> EntryHash {
        let mut hash = blake3::Hasher::new_derive_key("hobnob 1 log");
        self.hash_into(&mut hash);
        EntryHash(*hash.finalize().as_bytes())
    }

    /// Adds the name to a hash.
    pub(crate) fn hash_into(&self, hash: &mut blake3::Hasher) {
        hash.update(self.conversation.as_bytes())
            .update(self.author.as_bytes())
            .update(&self.log.0.to_le_bytes());
        if !self.is_of_own_key() {
            hash.update(self.device.as_bytes());
        }
    }
}

/// As it travels: conversation, author, the device if its key is not the author's own, log.
impl Serialize for LogName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let device = device_to_wire(self.author, self.device);
        (self.conversation, self.author, device, self.log).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for LogName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (conversation, author, device, log) = Deserialize::deserialize(deserializer)?;
        let device = device_from_wire(author, device).map_err(D::Error::custom)?;
        Ok(Self {
            conversation,
            author,
            device,
            log,
        })
    }
}

/// A device beside its person, as it travels: nothing for the person's own key.
pub(crate) fn device_to_wire(author: PersonId, device: DeviceId) -> Option<DeviceId> {
    Some(device).filter(|device| *device != author.only_device())
}

/// Reads a device beside its person. There is one encoding for each device.
pub(crate) fn device_from_wire(
    author: PersonId,
    device: Option<DeviceId>,
) -> Result<DeviceId, &'static str> {
    let own = author.only_device();
    match device {
        None => Ok(own),
        Some(device) if device == own => Err("the author's own key stands as another device"),
        Some(device) => Ok(device),
    }
}

/// BLAKE3 hash of an entry and all entries before it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryHash([u8; 32]);

impl EntryHash {
    /// The hash of the entry at `seq`, whose predecessor has this hash. `header` is encoded.
    pub fn next(&self, seq: Seq, header: &[u8], body: &BodyHash) -> EntryHash {
        let parts = [&self.0[..], &seq.to_le_bytes(), header, body.as_bytes()];
        EntryHash(short_hash::of(None, parts))
    }

    /// A hash from its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for EntryHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        short_hex(&self.0, f)
    }
}

/// The hash of one body at one place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BodyHash([u8; 32]);

impl BodyHash {
    /// A hash from its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for BodyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        short_hex(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    fn name() -> LogName {
        LogName {
            conversation: ConversationId::from_bytes([1; 32]),
            author: PersonId::from_bytes([2; 32]),
            device: DeviceId::from_bytes([2; 32]),
            log: LogId(3),
        }
    }

    #[test]
    fn an_entry_moved_to_another_place_has_another_hash() {
        let body = BodyHash::from_bytes([5; 32]);
        let first = name().genesis().next(1, b"a", &body);
        let other_log = LogName {
            log: LogId(4),
            ..name()
        };
        let other_author = LogName {
            author: PersonId::from_bytes([9; 32]),
            device: PersonId::from_bytes([9; 32]).only_device(),
            ..name()
        };
        let other_device = LogName {
            device: DeviceId::from_bytes([9; 32]),
            ..name()
        };
        let other_conversation = LogName {
            conversation: ConversationId::from_bytes([9; 32]),
            ..name()
        };
        assert_ne!(first, name().genesis().next(2, b"a", &body));
        for other in [other_log, other_author, other_device, other_conversation] {
            assert_ne!(first, other.genesis().next(1, b"a", &body));
        }
    }

    #[test]
    fn golden_bytes_of_a_name() {
        let own = [&[1; 32][..], &[2; 32], &[0, 3]].concat();
        assert_eq!(codec::encode(&name()), own);
        assert_eq!(codec::decode::<LogName, 1024>(&own), Ok(name()));
        let device = DeviceId::from_bytes([9; 32]);
        let of_other = LogName { device, ..name() };
        let other = [&[1; 32][..], &[2; 32], &[1], &[9; 32], &[3]].concat();
        assert_eq!(codec::encode(&of_other), other);
        assert_eq!(codec::decode::<LogName, 1024>(&other), Ok(of_other));
    }

    #[test]
    fn the_own_key_has_one_encoding() {
        let twice = [&[1; 32][..], &[2; 32], &[1], &[2; 32], &[3]].concat();
        assert!(codec::decode::<LogName, 1024>(&twice).is_err());
    }

    #[test]
    fn a_run_has_one_log_in_each_conversation() {
        let [one, other] = [1, 2].map(|n| ConversationId::from_bytes([n; 32]));
        assert_eq!(LogId::of_run(7, &one), LogId::of_run(7, &one));
        assert_ne!(LogId::of_run(7, &one), LogId::of_run(7, &other));
    }
}
