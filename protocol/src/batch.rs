//! Batches: entries on the wire and in the store. One signature over the last entry's hash covers
//! the whole batch and all entries before it.
//!
//! A batch is checked here as far as possible without knowing the log. Whether it continues what a
//! replica has is decided by the replica.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::body_hash::{BodyKey, Salts};
use crate::codec::{self, CodecError, FRAME_MAX, Raw};
use crate::entry::{EncodedEntry, Entry};
use crate::identity::{SecretKey, Signature};
use crate::log::{EntryHash, LogName, Seq};
use crate::ranges::Ranges;

/// Maximum bytes of entries in one batch. The batch with its header then fits a frame.
pub const BATCH_ENTRIES_BYTES_MAX: usize = FRAME_MAX - HEAD_BYTES_MAX;

/// Maximum bytes of a batch, and of the kind of its frame, without the entries.
const HEAD_BYTES_MAX: usize = 256;

/// The only suite of this version: Ed25519 signatures and BLAKE3 hashes.
const SUITE: u16 = 1;

/// A run of entries of one log, as received from a peer or the store. Nothing in it is proved yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The log.
    pub name: LogName,
    /// Sequence number of the first entry.
    pub first: Seq,
    /// Hash of the entry before the first.
    pub prev: EntryHash,
    /// The encoded entries, one after another.
    pub entries: Bytes,
    /// The author's signature over the log's name and the last entry's number and hash.
    pub signature: Signature,
}

/// A batch whose entries are well formed. [`CheckedBatch::verify`] checks its signature.
#[derive(Debug, Clone)]
pub struct CheckedBatch {
    /// The batch as it was received.
    pub batch: Batch,
    /// Its entries in order; the first is `batch.first`.
    pub entries: Vec<CheckedEntry>,
}

/// One entry of a checked batch.
#[derive(Debug, Clone)]
pub struct CheckedEntry {
    /// The exact bytes.
    pub bytes: Bytes,
    /// The hash of this entry and all entries before it.
    pub hash: EntryHash,
    /// The decoded entry.
    pub entry: Entry,
}

/// Why a batch is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// No entries, or more bytes of entries than fit a frame.
    #[error("a batch has 1 to {BATCH_ENTRIES_BYTES_MAX} bytes of entries")]
    Size,
    /// An entry cannot be decoded.
    #[error("an entry is {0}")]
    Entry(#[from] CodecError),
    /// The first number is 0, or a number could overflow.
    #[error("impossible sequence number")]
    Seq,
    /// The first batch of a log does not start from the hash of the log's name.
    #[error("the log does not start from the hash of its name")]
    Genesis,
    /// Lamport numbers must never decrease within a log. They may stay the same: a log that reaches
    /// the largest number continues with it.
    #[error("Lamport numbers decrease")]
    Lamport,
    /// The signature is not the author's over these bytes.
    #[error("the signature is not the author's")]
    Signature,
}

#[derive(Serialize, Deserialize)]
struct Encoded<'a> {
    suite: u16,
    name: LogName,
    first: Seq,
    prev: EntryHash,
    #[serde(borrow)]
    entries: Raw<'a>,
    #[serde(borrow)]
    signature: Raw<'a>,
}

impl Batch {
    /// Encodes the batch as the body of a frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.entries.len() + HEAD_BYTES_MAX);
        let encoded = Encoded {
            suite: SUITE,
            name: self.name,
            first: self.first,
            prev: self.prev,
            entries: Raw(&self.entries),
            signature: Raw(self.signature.as_bytes()),
        };
        codec::append(&encoded, &mut body);
        body
    }

    /// Decodes a batch from the body of a frame. The entries share the memory of `bytes`.
    pub fn decode(bytes: &Bytes) -> Result<Batch, CodecError> {
        let encoded = codec::decode_extended::<Encoded<'_>, FRAME_MAX>(bytes)?;
        if encoded.suite != SUITE {
            return Err(CodecError::NeedsNewerVersion(encoded.suite));
        }
        let Raw(signature) = encoded.signature;
        let signature: [u8; 64] = signature.try_into().map_err(|_| {
            CodecError::Malformed(format!("a signature of {} bytes", signature.len()))
        })?;
        Ok(Batch {
            name: encoded.name,
            first: encoded.first,
            prev: encoded.prev,
            entries: bytes.slice_ref(encoded.entries.0),
            signature: Signature::from_bytes(signature),
        })
    }

    /// Checks everything that can be checked without knowing the log: bounds, form and signature.
    pub fn check(self) -> Result<CheckedBatch, BatchError> {
        let checked = self.read()?;
        checked.verify()?;
        Ok(checked)
    }

    /// Checks bounds and form, but not the signature, which costs the most. A replica first decides
    /// whether it needs the entries, and then calls [`CheckedBatch::verify`].
    pub fn read(self) -> Result<CheckedBatch, BatchError> {
        if self.entries.is_empty() || self.entries.len() > BATCH_ENTRIES_BYTES_MAX {
            return Err(BatchError::Size);
        }
        // An entry has at least five bytes, so a batch has fewer entries than bytes.
        let most = self.entries.len() as u64;
        if self.first == 0 || self.first >= Seq::MAX - most - 1 {
            return Err(BatchError::Seq);
        }
        if self.first == 1 && self.prev != self.name.genesis() {
            return Err(BatchError::Genesis);
        }
        let entries = self.read_entries()?;
        Ok(CheckedBatch {
            batch: self,
            entries,
        })
    }

    /// These batches, each of which follows the one before it, as one that their author signs. `last`
    /// and `head` are the number and the hash of the last entry. The entries must fit a batch, and
    /// their Lamport numbers must not decrease.
    pub fn joined(batches: &[&Batch], last: Seq, head: &EntryHash, key: &SecretKey) -> Self {
        let first = batches.first().expect("the caller joins several batches");
        let name = first.name;
        debug_assert!(key.id() == name.device);
        let entries: Vec<&[u8]> = batches.iter().map(|it| it.entries.as_ref()).collect();
        let entries = Bytes::from(entries.concat());
        debug_assert!(entries.len() <= BATCH_ENTRIES_BYTES_MAX);
        Self {
            name,
            first: first.first,
            prev: first.prev,
            entries,
            signature: key.sign(&signed_bytes(&name, last, head)),
        }
    }

    fn read_entries(&self) -> Result<Vec<CheckedEntry>, BatchError> {
        let mut entries: Vec<CheckedEntry> = Vec::new();
        let key = BodyKey::of(&self.name);
        let (mut at, mut seq, mut hash) = (0, self.first, self.prev);
        while at < self.entries.len() {
            let encoded = EncodedEntry::read_prefix(&self.entries[at..])?;
            let used = encoded.len;
            hash = encoded.hash_after(&hash, &key, seq);
            let entry = encoded.entry()?;
            if entries
                .last()
                .is_some_and(|before| before.entry.lamport > entry.lamport)
            {
                return Err(BatchError::Lamport);
            }
            let bytes = self.entries.slice(at..at + used);
            entries.push(CheckedEntry { bytes, hash, entry });
            (at, seq) = (at + used, seq + 1);
        }
        Ok(entries)
    }
}

impl CheckedBatch {
    /// Signs `entries` as the continuation of the entry with number `first - 1` and hash `prev`.
    ///
    /// There must be at least one entry, they must fit a batch, and their Lamport numbers must not
    /// decrease.
    pub fn author(
        key: &SecretKey,
        name: LogName,
        first: Seq,
        prev: EntryHash,
        entries: Vec<Entry>,
        salts: &mut Salts,
    ) -> Self {
        debug_assert!(key.id() == name.device && !entries.is_empty());
        let mut joined = Vec::with_capacity(entries.len() * 80);
        let mut ends = Vec::with_capacity(entries.len());
        let bodies = BodyKey::of(&name);
        let (mut hash, mut seq) = (prev, first);
        for entry in &entries {
            hash = entry.append_to(&mut joined, &salts.draw(), &bodies, seq, &hash);
            ends.push((joined.len(), hash));
            seq += 1;
        }
        debug_assert!(joined.len() <= BATCH_ENTRIES_BYTES_MAX);
        let joined = Bytes::from(joined);
        let mut at = 0;
        let checked = entries.into_iter().zip(ends).map(|(entry, (end, hash))| {
            let bytes = joined.slice(at..end);
            at = end;
            CheckedEntry { bytes, hash, entry }
        });
        let checked: Vec<_> = checked.collect();
        let last = first + checked.len() as u64 - 1;
        let signature = key.sign(&signed_bytes(&name, last, &hash));
        Self {
            batch: Batch {
                name,
                first,
                prev,
                entries: joined,
                signature,
            },
            entries: checked,
        }
    }

    /// The entries whose bodies are in the batch.
    pub fn with_bodies(&self) -> Ranges {
        let mut whole = Ranges::new();
        for (seq, entry) in (self.first()..).zip(&self.entries) {
            if !entry.entry.body.is_erased() {
                whole.insert(seq, seq);
            }
        }
        whole
    }

    /// The same batch without the bodies of these entries, apart from deletions, which are never
    /// erased. Hashes and signature stay valid.
    pub fn erased(&self, seqs: &Ranges) -> Self {
        let key = BodyKey::of(&self.batch.name);
        let mut joined = Vec::with_capacity(self.batch.entries.len());
        for (seq, entry) in (self.first()..).zip(&self.entries) {
            if seqs.contains(seq) && !entry.entry.body.is_deletion() {
                let encoded = EncodedEntry::read_prefix(&entry.bytes);
                let encoded = encoded.expect("the entries of a checked batch can be read");
                joined.extend(encoded.erased(&key, seq));
            } else {
                joined.extend_from_slice(&entry.bytes);
            }
        }
        let batch = Batch {
            entries: joined.into(),
            ..self.batch.clone()
        };
        let entries = batch.read_entries();
        Self {
            entries: entries.expect("erasing a body that is not a deletion keeps an entry valid"),
            batch,
        }
    }

    /// The entries in pieces of at most `bytes_max` encoded bytes, each signed by the author. One
    /// entry must fit. For transports with smaller frames.
    pub fn split(&self, key: &SecretKey, bytes_max: usize) -> Vec<Batch> {
        debug_assert!(key.id() == self.batch.name.device);
        let (mut pieces, mut rest) = (Vec::new(), &self.entries[..]);
        let (mut first, mut prev, mut at) = (self.first(), self.batch.prev, 0);
        while !rest.is_empty() {
            let (mut count, mut bytes) = (0, 0);
            for entry in rest {
                if count > 0 && bytes + entry.bytes.len() > bytes_max {
                    break;
                }
                bytes += entry.bytes.len();
                count += 1;
            }
            let (piece, later) = rest.split_at(count);
            let last = first + count as u64 - 1;
            let head = piece.last().expect("at least one entry").hash;
            pieces.push(Batch {
                name: self.batch.name,
                first,
                prev,
                entries: self.batch.entries.slice(at..at + bytes),
                signature: key.sign(&signed_bytes(&self.batch.name, last, &head)),
            });
            (first, prev, at, rest) = (last + 1, head, at + bytes, later);
        }
        pieces
    }

    /// Checks that the author's device signed the last entry, and with it all entries before it.
    pub fn verify(&self) -> Result<(), BatchError> {
        let Batch {
            name, signature, ..
        } = &self.batch;
        if is_signed(name, self.last(), &self.head(), signature) {
            Ok(())
        } else {
            Err(BatchError::Signature)
        }
    }

    /// Sequence number of the first entry.
    pub fn first(&self) -> Seq {
        self.batch.first
    }

    /// Sequence number of the last entry.
    pub fn last(&self) -> Seq {
        self.batch.first + self.entries.len() as u64 - 1
    }

    /// Hash of the last entry.
    pub fn head(&self) -> EntryHash {
        self.entries
            .last()
            .expect("read and author create batches of at least one entry")
            .hash
    }

    /// The entry at `seq`, if the batch contains it.
    pub fn at(&self, seq: Seq) -> Option<&CheckedEntry> {
        let index = seq.checked_sub(self.batch.first)?;
        self.entries.get(usize::try_from(index).ok()?)
    }

    /// The hash of the entry at `seq`, which may also be the entry before the first.
    pub fn hash_at(&self, seq: Seq) -> Option<EntryHash> {
        if seq.checked_add(1)? == self.batch.first {
            Some(self.batch.prev)
        } else {
            self.at(seq).map(|e| e.hash)
        }
    }
}

/// Whether the device of a log signed the entry `last`, whose hash in the chain is `head`.
pub fn is_signed(name: &LogName, last: Seq, head: &EntryHash, signature: &Signature) -> bool {
    name.device
        .verifies(&signed_bytes(name, last, head), signature)
}

/// The bytes that the author's device signs.
///
/// They name the log, although the chain starts from its name: a replica may accept a batch without
/// the entries before it, and then nothing else binds the batch to its log. The device is not
/// named, because its key signs. The author is named only if the author's own key does not sign.
fn signed_bytes(name: &LogName, last: Seq, head: &EntryHash) -> Vec<u8> {
    let mut signed = Vec::with_capacity(128);
    signed.extend_from_slice(b"hobnob 1 batch \0");
    signed.extend_from_slice(name.conversation.as_bytes());
    signed.extend_from_slice(&name.log.0.to_le_bytes());
    signed.extend_from_slice(&last.to_le_bytes());
    signed.extend_from_slice(head.as_bytes());
    if !name.is_of_own_key() {
        signed.extend_from_slice(name.author.as_bytes());
    }
    signed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::ConversationId;
    use crate::entry::Body;
    use crate::log::LogId;
    use proptest::prelude::*;

    fn key() -> SecretKey {
        SecretKey::from_seed([5; 32])
    }

    fn name() -> LogName {
        LogName {
            conversation: ConversationId::from_bytes([1; 32]),
            author: key().id().person(),
            device: key().id(),
            log: LogId(7),
        }
    }

    fn salts() -> Salts {
        Salts::new([3; 32])
    }

    fn texts(lamport: u64, texts: &[&str]) -> Vec<Entry> {
        let entry =
            |(i, t): (usize, &&str)| Entry::new(lamport + i as u64, 9, Body::Text((*t).into()));
        texts.iter().enumerate().map(entry).collect()
    }

    fn batch() -> CheckedBatch {
        CheckedBatch::author(
            &key(),
            name(),
            1,
            name().genesis(),
            texts(1, &["a", "b", "c"]),
            &mut salts(),
        )
    }

    #[test]
    fn an_authors_batch_passes_the_check_and_the_next_one_continues_it() {
        let first = batch();
        let body = Bytes::from(first.batch.encode());
        let read = Batch::decode(&body)
            .expect("decodes")
            .check()
            .expect("the author signed it");
        assert_eq!(
            (read.first(), read.last(), read.head()),
            (1, 3, first.head())
        );
        let next = CheckedBatch::author(
            &key(),
            name(),
            4,
            first.head(),
            texts(4, &["d"]),
            &mut salts(),
        );
        assert_eq!(next.hash_at(3), first.hash_at(3));
        assert!(next.batch.check().is_ok());
    }

    #[test]
    fn batches_that_follow_each_other_can_be_joined() {
        let whole = batch();
        let pieces = whole.split(&key(), 1);
        assert_eq!(pieces.len(), 3);
        let pieces: Vec<_> = pieces.iter().collect();
        let joined = Batch::joined(&pieces, 3, &whole.head(), &key());
        assert_eq!(joined, whole.batch);
        let checked = Batch::joined(&pieces[1..], 3, &whole.head(), &key()).check();
        let checked = checked.expect("the author signed it");
        assert_eq!((checked.first(), checked.head()), (2, whole.head()));
    }

    #[test]
    fn erased_bodies_leave_a_valid_batch() {
        let whole = batch();
        let erased = whole.erased(&Ranges::span(2, 2));
        assert_eq!(erased.head(), whole.head());
        assert_eq!(erased.batch.signature, whole.batch.signature);
        let bodies: Vec<_> = erased.entries.iter().map(|it| &it.entry.body).collect();
        assert!(matches!(
            bodies[..],
            [Body::Text(_), Body::Erased { kind: 1, .. }, Body::Text(_)]
        ));
        assert!(erased.batch.check().is_ok());
    }

    #[test]
    fn a_deletion_of_a_newer_version_is_not_erased() {
        let kind = 4;
        let bytes = Vec::new();
        let mut entries = texts(1, &["a", "b"]);
        entries[1].body = Body::Unknown { kind, bytes };
        entries[1]
            .extensions
            .set(34, b"even: must be known".to_vec());
        let name = name();
        let whole = CheckedBatch::author(&key(), name, 1, name.genesis(), entries, &mut salts());
        let erased = whole.erased(&Ranges::span(1, 2));
        assert!(erased.entries[0].entry.body.is_erased());
        assert!(erased.entries[1].entry.body.is_deletion());
        assert!(erased.batch.check().is_ok());
    }

    #[test]
    fn forged_moved_and_reordered_batches_are_rejected() {
        let good = batch().batch;
        let mut reordered = good.entries.to_vec();
        let entry = batch().entries[0].bytes.len();
        reordered.rotate_left(entry);
        let cases = [
            (
                "other author",
                Batch {
                    name: LogName {
                        author: SecretKey::from_seed([6; 32]).id().person(),
                        device: SecretKey::from_seed([6; 32]).id(),
                        ..name()
                    },
                    ..good.clone()
                },
            ),
            (
                "other log",
                Batch {
                    name: LogName {
                        log: LogId(8),
                        ..name()
                    },
                    ..good.clone()
                },
            ),
            (
                "other conversation",
                Batch {
                    name: LogName {
                        conversation: ConversationId::from_bytes([2; 32]),
                        ..name()
                    },
                    ..good.clone()
                },
            ),
            (
                "other place",
                Batch {
                    first: 2,
                    ..good.clone()
                },
            ),
            (
                "no place",
                Batch {
                    first: 0,
                    ..good.clone()
                },
            ),
            (
                "beyond all places",
                Batch {
                    first: Seq::MAX - 1,
                    ..good.clone()
                },
            ),
            (
                "other past",
                Batch {
                    first: 2,
                    prev: EntryHash::from_bytes([0; 32]),
                    ..good.clone()
                },
            ),
            (
                "a false start",
                Batch {
                    prev: EntryHash::from_bytes([0; 32]),
                    ..good.clone()
                },
            ),
            (
                "reordered",
                Batch {
                    entries: reordered.into(),
                    ..good.clone()
                },
            ),
            (
                "one dropped",
                Batch {
                    entries: good.entries.slice(entry..),
                    ..good.clone()
                },
            ),
            (
                "truncated",
                Batch {
                    entries: good.entries.slice(..good.entries.len() - 1),
                    ..good.clone()
                },
            ),
            (
                "empty",
                Batch {
                    entries: Bytes::new(),
                    ..good.clone()
                },
            ),
            (
                "no signature",
                Batch {
                    signature: Signature::from_bytes([0; 64]),
                    ..good.clone()
                },
            ),
        ];
        assert!(good.check().is_ok());
        let later = CheckedBatch::author(
            &key(),
            name(),
            4,
            batch().head(),
            texts(4, &["d"]),
            &mut salts(),
        )
        .batch;
        let moved = Batch {
            name: LogName {
                log: LogId(8),
                ..name()
            },
            ..later.clone()
        };
        assert!(
            later.check().is_ok() && moved.check().is_err(),
            "a later batch, moved to another log"
        );
        for (what, wrong) in cases {
            assert!(wrong.check().is_err(), "{what}");
        }
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_noticed(at in 0usize..10_000, bit in 0u8..8) {
            let mut body = batch().batch.encode();
            let at = at % body.len();
            body[at] ^= 1 << bit;
            let refused = Batch::decode(&Bytes::from(body)).map_or(true, |b| b.check().is_err());
            prop_assert!(refused);
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Batch::decode(&Bytes::from(bytes)).map(Batch::check);
        }
    }
}
