//! Conversions between the node's values and SQLite's columns.

use std::net::SocketAddr;

use hobnob_protocol::codec::CodecError;
use hobnob_protocol::{
    Body, ConversationId, DeviceId, Entry, EntryHash, LogId, LogName, PersonId, Ranges, RelayAddr,
    RoomKey, RoomKind, RoomName, Seq, Signature,
};
use rusqlite::Row;

use hobnob_core::commit::{ConversationKind, ConversationRecord};

use super::error::Fault;

/// The highest entry number that the store can hold.
pub const SEQ_MAX: Seq = (1 << SEQ_BITS) - 1;

/// The highest ordinal of a log.
const ORDINAL_MAX: i64 = (1 << (63 - SEQ_BITS)) - 1;

/// The number of low bits of an [`EntryId`] that contain the entry's number.
pub(super) const SEQ_BITS: u32 = 40;

/// The row id of an entry: the ordinal of its log, then its number. So consecutive entries of a log
/// are a range of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EntryId(pub(super) i64);

impl EntryId {
    /// The entry `seq` of the log `ordinal`.
    pub(super) fn new(ordinal: i64, seq: Seq) -> Result<Self, Fault> {
        if !(0..=ORDINAL_MAX).contains(&ordinal) {
            return Err(Fault::Beyond("the number of logs"));
        }
        if seq > SEQ_MAX {
            return Err(Fault::Beyond("the number of an entry"));
        }
        Ok(Self((ordinal << SEQ_BITS) | number(seq)))
    }

    /// The ordinal of the log.
    pub(super) fn log(self) -> i64 {
        self.0 >> SEQ_BITS
    }

    /// The number of the entry in its log.
    pub(super) fn seq(self) -> Seq {
        self.0.cast_unsigned() & SEQ_MAX
    }
}

/// The state of an entry's body in the store: the column `state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyState {
    /// The body, for the user to see.
    Shown = 0,
    /// The user or the retention erased it here. The entry is not shown any more.
    ErasedHere = 1,
    /// It has not arrived. The entry is shown as a placeholder.
    Missing = 2,
    /// Its author deleted it. The entry is shown as a placeholder.
    Deleted = 3,
    /// The body of an entry that is not shown, such as a deletion.
    NotShown = 4,
}

impl BodyState {
    /// The value of the column.
    pub(super) fn code(self) -> i64 {
        self as i64
    }

    /// Whether a row in this state may have this body.
    pub(super) fn suits(self, body: &Body) -> bool {
        let is_erased = matches!(body, Body::Erased { .. });
        match self {
            Self::Shown => !is_erased && !body.is_deletion(),
            Self::NotShown => body.is_deletion(),
            Self::ErasedHere | Self::Missing | Self::Deleted => is_erased,
        }
    }

    /// Reads the column.
    pub(super) fn read(row: &Row<'_>, column: usize) -> Result<Self, Fault> {
        let code: i64 = row.get(column)?;
        Self::of_code(code).ok_or_else(|| Fault::Damaged(format!("a body in state {code}")))
    }

    /// The state with this value.
    pub(super) fn of_code(code: i64) -> Option<Self> {
        let all = [
            Self::Shown,
            Self::ErasedHere,
            Self::Missing,
            Self::Deleted,
            Self::NotShown,
        ];
        all.into_iter().find(|state| state.code() == code)
    }
}

/// Writes a count or a time. A value beyond SQLite's signed integers becomes their maximum. Only a
/// false time that an author has written can exceed it.
pub(super) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Reads a count or a time.
pub(super) fn count(row: &Row<'_>, column: usize) -> Result<u64, Fault> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| Fault::Damaged(format!("a count of {value}")))
}

/// A blob of exactly `N` bytes.
pub(super) fn blob<const N: usize>(row: &Row<'_>, column: usize) -> Result<[u8; N], Fault> {
    let bytes = row
        .get_ref(column)?
        .as_blob()
        .map_err(|error| Fault::Damaged(error.to_string()))?;
    bytes
        .try_into()
        .map_err(|_| Fault::Damaged(format!("a value of {} bytes for one of {N}", bytes.len())))
}

/// A peer id.
pub(super) fn peer(row: &Row<'_>, column: usize) -> Result<PersonId, Fault> {
    Ok(PersonId::from_bytes(blob(row, column)?))
}

/// A device.
pub(super) fn device(row: &Row<'_>, column: usize) -> Result<DeviceId, Fault> {
    Ok(DeviceId::from_bytes(blob(row, column)?))
}

/// A device, or null.
pub(super) fn device_or_null(row: &Row<'_>, column: usize) -> Result<Option<DeviceId>, Fault> {
    let is_null = row.get_ref(column)?.data_type() == rusqlite::types::Type::Null;
    if is_null {
        Ok(None)
    } else {
        Ok(Some(device(row, column)?))
    }
}

/// A conversation's id.
pub(super) fn conversation(row: &Row<'_>, column: usize) -> Result<ConversationId, Fault> {
    Ok(ConversationId::from_bytes(blob(row, column)?))
}

/// An entry's hash.
pub(super) fn hash(row: &Row<'_>, column: usize) -> Result<EntryHash, Fault> {
    Ok(EntryHash::from_bytes(blob(row, column)?))
}

/// A signature, or none.
pub(super) fn signature(row: &Row<'_>, column: usize) -> Result<Option<Signature>, Fault> {
    if row.get_ref(column)? == rusqlite::types::ValueRef::Null {
        return Ok(None);
    }
    Ok(Some(Signature::from_bytes(blob(row, column)?)))
}

/// A log's name, from four consecutive columns: conversation id, author, device and log id. The
/// first is `column`.
pub(super) fn log_name(row: &Row<'_>, column: usize) -> Result<LogName, Fault> {
    let log: i64 = row.get(column + 3)?;
    Ok(LogName {
        conversation: conversation(row, column)?,
        author: peer(row, column + 1)?,
        device: device(row, column + 2)?,
        log: LogId(log.cast_unsigned()),
    })
}

/// A blob.
pub(super) fn bytes<'a>(row: &'a Row<'_>, column: usize) -> Result<&'a [u8], Fault> {
    let bytes = row.get_ref(column)?.as_blob();
    bytes.map_err(|error| Fault::Damaged(error.to_string()))
}

/// An entry from its bytes.
pub(super) fn entry(bytes: &[u8]) -> Result<Entry, Fault> {
    Entry::decode(bytes).map_err(damaged_entry)
}

/// An entry that cannot be read.
pub(super) fn damaged_entry(error: CodecError) -> Fault {
    Fault::Damaged(format!("an entry is {error}"))
}

/// A conversation from the columns id, peer, room, key, kind and joined.
pub(super) fn conversation_record(row: &Row<'_>) -> Result<ConversationRecord, Fault> {
    let room: Option<String> = row.get(2)?;
    let kind = match room {
        None => ConversationKind::Direct(peer(row, 1)?),
        Some(name) => ConversationKind::Room {
            name: name
                .parse::<RoomName>()
                .map_err(|error| Fault::Damaged(error.to_string()))?,
            key: RoomKey::from_bytes(room_kind(row.get(4)?)?, blob(row, 3)?),
            joined: row.get(5)?,
        },
    };
    Ok(ConversationRecord {
        id: conversation(row, 0)?,
        kind,
    })
}

fn room_kind(code: u8) -> Result<RoomKind, Fault> {
    let kind = RoomKind::of_code(code);
    kind.ok_or_else(|| Fault::Damaged(format!("no kind of room has number {code}")))
}

/// Writes peers as a blob of 32 bytes each.
pub(super) fn peers_to_blob(peers: &[PersonId]) -> Vec<u8> {
    peers
        .iter()
        .flat_map(|peer| peer.as_bytes())
        .copied()
        .collect()
}

/// Reads peers.
pub(super) fn peers_from_blob(bytes: &[u8]) -> Result<Vec<PersonId>, Fault> {
    let (peers, rest) = bytes.as_chunks::<32>();
    if rest.is_empty() {
        Ok(peers
            .iter()
            .map(|peer| PersonId::from_bytes(*peer))
            .collect())
    } else {
        Err(Fault::Damaged("a list of peers ends early".to_owned()))
    }
}

/// Writes ranges as pairs of little-endian numbers.
pub(super) fn ranges_to_blob(ranges: &Ranges) -> Vec<u8> {
    ranges
        .iter()
        .flat_map(|(first, last)| [first.to_le_bytes(), last.to_le_bytes()])
        .flatten()
        .collect()
}

/// Bytes of the checksum of a receipt.
const CHECKSUM: usize = 8;

/// Writes the entries of a log that a peer has confirmed. No chain proves them, so a checksum tells
/// a damaged receipt, which would count a message as delivered too early.
pub(super) fn receipt_to_blob(log: i64, peer: DeviceId, ranges: &Ranges) -> Vec<u8> {
    let mut bytes = ranges_to_blob(ranges);
    let checksum = checksum(log, peer, &bytes);
    bytes.extend(checksum);
    bytes
}

/// Reads a receipt. `None`: it is damaged.
pub(super) fn receipt_from_blob(log: i64, peer: DeviceId, bytes: &[u8]) -> Option<Ranges> {
    let (ranges, stored) = bytes.split_last_chunk::<CHECKSUM>()?;
    if checksum(log, peer, ranges) != *stored {
        return None;
    }
    ranges_from_blob(ranges).ok()
}

fn checksum(log: i64, peer: DeviceId, ranges: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&log.to_le_bytes());
    hasher.update(peer.as_bytes());
    hasher.update(ranges);
    let hash = hasher.finalize();
    let (first, _) = hash
        .as_bytes()
        .split_first_chunk::<CHECKSUM>()
        .expect("32 bytes");
    *first
}

/// Reads ranges.
pub(super) fn ranges_from_blob(bytes: &[u8]) -> Result<Ranges, Fault> {
    let (numbers, rest) = bytes.as_chunks::<8>();
    let (pairs, odd) = numbers.as_chunks::<2>();
    if !rest.is_empty() || !odd.is_empty() {
        return Err(Fault::Damaged("a list of ranges ends early".to_owned()));
    }
    let mut ranges = Ranges::new();
    for [first, last] in pairs {
        ranges.insert(u64::from_le_bytes(*first), u64::from_le_bytes(*last));
    }
    Ok(ranges)
}

/// Writes addresses with spaces between them.
pub(super) fn addrs_to_text(addrs: &[SocketAddr]) -> String {
    addrs
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Reads addresses. They are hints, so an invalid one is skipped.
pub(super) fn addrs_from_text(text: &str) -> Vec<SocketAddr> {
    text.split(' ')
        .filter_map(|addr| addr.parse().ok())
        .collect()
}

pub(super) fn relays_to_text(relays: &[RelayAddr]) -> String {
    let relays: Vec<_> = relays.iter().map(ToString::to_string).collect();
    relays.join(" ")
}

/// Reads the addresses of relays. They are hints, so an invalid one is skipped.
pub(super) fn relays_from_text(text: &str) -> Vec<RelayAddr> {
    let relays = text.split(' ');
    relays.filter_map(|relay| relay.parse().ok()).collect()
}
