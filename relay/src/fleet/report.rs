//! The reports of the relays of a fleet to each other, about the peers in rooms and about bans, and
//! questions and answers. Each is signed by the relay that sends it.
//!
//! A report is a signature and a body: a kind, the id of the relay, and the fields of the kind.
//! docs/decisions/0101-rosters-and-bans-of-a-fleet.md has the formats.

use hobnob_protocol::codec;
use hobnob_protocol::{DeviceId, RoomTag, SecretKey};
use serde::Deserialize;

use super::ListFile;
use super::ban_records::BanRecord;
use super::ban_sync::{BANS_IN_REPORT_MAX, BanReport, are_digests};
use super::message::{Ignored, Nonce, Unverified, sign, split};

/// Maximum changes in a message.
pub(super) const CHANGES_MAX: usize = 128;

/// Maximum rooms in a question.
pub(super) const ROOMS_MAX: usize = 64;

/// Maximum ids of rooms and peers in a part of an answer.
pub(super) const PART_IDS_MAX: usize = 256;

/// Maximum parts of an answer.
pub(super) const PARTS_MAX: u8 = 8;

/// Maximum size of a message, in bytes.
pub(super) const BYTES_MAX: usize = 12 * 1024;

/// Maximum memory of a decoded message, in bytes.
const MEMORY_MAX: usize = 64 * 1024;

/// The context under which messages are signed.
const LABEL: &str = "hobnob 1 fleet report";

/// The peers of a relay in one room.
pub(super) type RoomPeers = (RoomTag, Vec<DeviceId>);

/// A peer has joined a room at the relay that says so, or left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) peer: DeviceId,
    pub(super) room: RoomTag,
    /// Whether the peer is there now.
    pub(super) here: bool,
}

/// A message about the peers in rooms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Report {
    /// To all relays: what has changed since the message with the number before. Without changes it
    /// is a sign of life.
    Changes { number: u64, changes: Vec<Change> },
    /// To one relay: which peers does it have in these rooms?
    Question { nonce: Nonce, rooms: Vec<RoomTag> },
    /// To the relay that asked.
    Answer(AnswerPart),
    /// To all relays: the bans, and those that were removed.
    Bans(BanReport),
    /// To all relays: an operator has kicked a peer at this time, in milliseconds since 1970.
    Kick { peer: DeviceId, at_ms: u64 },
}

/// A part of an answer. A room without peers is named, too. Rooms that do not fit into
/// [`PARTS_MAX`] parts are left out, and a room may begin in one part and go on in the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AnswerPart {
    /// That of the question.
    pub(super) nonce: Nonce,
    /// The number of the last [`Report::Changes`] before.
    pub(super) number: u64,
    /// Which part it is, from 0.
    pub(super) part: u8,
    /// Number of all parts.
    pub(super) parts: u8,
    pub(super) rooms: Vec<RoomPeers>,
}

const CHANGES: u8 = 0;
const QUESTION: u8 = 1;
const ANSWER: u8 = 2;
const BAN_DIGESTS: u8 = 3;
const BANS: u8 = 4;
const KICK: u8 = 5;

impl Report {
    /// Signs and encodes the message for the fleet with this id.
    pub(super) fn encode(&self, fleet: DeviceId, key: &SecretKey) -> Vec<u8> {
        let relay = key.id();
        let body = match self {
            Self::Changes { number, changes } => {
                let change = |it: &Change| (it.here, it.peer, it.room);
                let changes: Vec<_> = changes.iter().map(change).collect();
                codec::encode(&(CHANGES, relay, number, changes))
            }
            Self::Question { nonce, rooms } => codec::encode(&(QUESTION, relay, nonce, rooms)),
            Self::Answer(part) => codec::encode(&(
                (ANSWER, relay, part.nonce, part.number),
                (part.part, part.parts, &part.rooms),
            )),
            Self::Bans(BanReport::Digests(digests)) => {
                codec::encode(&(BAN_DIGESTS, relay, digests))
            }
            Self::Kick { peer, at_ms } => codec::encode(&(KICK, relay, peer, at_ms)),
            Self::Bans(BanReport::Records(records)) => {
                let record = |it: &BanRecord| (it.target.to_string(), it.at_ms, it.banned);
                let records: Vec<_> = records.iter().map(record).collect();
                codec::encode(&(BANS, relay, records))
            }
        };
        sign(LABEL, fleet, key, &body)
    }

    /// Decodes a message whose sender is on the list. Its signature is not checked yet.
    pub(super) fn decode(bytes: &[u8], list: &ListFile) -> Result<Unverified<Self>, Ignored> {
        let parts = split(bytes, BYTES_MAX)?;
        let (head, rest) = codec::decode_prefix::<(u8, DeviceId), MEMORY_MAX>(parts.1)
            .map_err(|_| Ignored::Malformed)?;
        let (kind, relay) = head;
        let message = match kind {
            CHANGES => {
                let (number, changes): (u64, Vec<(bool, DeviceId, RoomTag)>) = fields(rest)?;
                let change = |(here, peer, room)| Change { peer, room, here };
                let changes: Vec<_> = changes.into_iter().map(change).collect();
                at_most(changes.len(), CHANGES_MAX)?;
                Self::Changes { number, changes }
            }
            QUESTION => {
                let (nonce, rooms): (Nonce, Vec<RoomTag>) = fields(rest)?;
                at_most(rooms.len(), ROOMS_MAX)?;
                Self::Question { nonce, rooms }
            }
            ANSWER => {
                let (nonce, number, part, parts, rooms): (_, _, u8, u8, Vec<RoomPeers>) =
                    fields(rest)?;
                let ids = rooms.iter().map(|(_, peers)| 1 + peers.len()).sum();
                at_most(ids, PART_IDS_MAX)?;
                at_most(parts.into(), PARTS_MAX.into())?;
                if part >= parts {
                    return Err(Ignored::Malformed);
                }
                Self::Answer(AnswerPart {
                    nonce,
                    number,
                    part,
                    parts,
                    rooms,
                })
            }
            BAN_DIGESTS => {
                let digests: Vec<u64> = fields(rest)?;
                if !are_digests(&digests) {
                    return Err(Ignored::Malformed);
                }
                Self::Bans(BanReport::Digests(digests))
            }
            BANS => {
                let records: Vec<(&str, u64, bool)> = fields(rest)?;
                at_most(records.len(), BANS_IN_REPORT_MAX)?;
                let record = |(target, at_ms, banned): (&str, u64, bool)| {
                    let target = target.parse().map_err(|_| Ignored::Malformed)?;
                    Ok(BanRecord {
                        target,
                        at_ms,
                        banned,
                    })
                };
                let records = records.into_iter().map(record).collect::<Result<_, _>>()?;
                Self::Bans(BanReport::Records(records))
            }
            KICK => {
                let (peer, at_ms) = fields(rest)?;
                Self::Kick { peer, at_ms }
            }
            _ => return Err(Ignored::Malformed),
        };
        Unverified::new(LABEL, list, relay, message, parts)
    }
}

fn fields<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Ignored> {
    codec::decode::<T, MEMORY_MAX>(bytes).map_err(|_| Ignored::Malformed)
}

fn at_most(count: usize, max: usize) -> Result<(), Ignored> {
    if count > max {
        Err(Ignored::Malformed)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::ban_records::BUCKETS;
    use super::super::list_file::tests::{list, relay};
    use super::*;
    use crate::admission::BanTarget;

    fn key(n: u8) -> SecretKey {
        SecretKey::from_seed([n; 32])
    }

    fn room(n: u8) -> RoomTag {
        RoomTag::from_bytes([n; 32])
    }

    fn read(bytes: &[u8], list: &ListFile) -> Result<(DeviceId, Report), Ignored> {
        Report::decode(bytes, list)?.verify()
    }

    fn changes(count: usize) -> Report {
        let change = Change {
            peer: relay(7),
            room: room(8),
            here: true,
        };
        Report::Changes {
            number: u64::MAX,
            changes: vec![change; count],
        }
    }

    fn question(count: usize) -> Report {
        Report::Question {
            nonce: [9; 16],
            rooms: vec![room(1); count],
        }
    }

    fn answer(peers: usize, (part, parts): (u8, u8)) -> Report {
        Report::Answer(AnswerPart {
            nonce: [9; 16],
            number: u64::MAX,
            part,
            parts,
            rooms: vec![(room(1), vec![relay(7); peers]), (room(2), Vec::new())],
        })
    }

    fn bans(count: usize) -> Report {
        let record = |at_ms| BanRecord {
            target: BanTarget::Peer(relay(7)),
            at_ms,
            banned: true,
        };
        Report::Bans(BanReport::Records(vec![record(u64::MAX); count]))
    }

    fn digests(count: usize) -> Report {
        Report::Bans(BanReport::Digests(vec![u64::MAX; count]))
    }

    fn kick() -> Report {
        let (peer, at_ms) = (relay(7), u64::MAX);
        Report::Kick { peer, at_ms }
    }

    /// The largest message of each kind.
    fn largest() -> [Report; 6] {
        let answer = answer(PART_IDS_MAX - 2, (PARTS_MAX - 1, PARTS_MAX));
        [
            changes(CHANGES_MAX),
            question(ROOMS_MAX),
            answer,
            bans(BANS_IN_REPORT_MAX),
            digests(BUCKETS),
            kick(),
        ]
    }

    #[test]
    fn the_largest_message_of_a_member_is_read_back_and_one_more_is_ignored() {
        let list = list(1, 1, &[2, 3]);
        for message in largest() {
            let bytes = message.encode(list.fleet(), &key(2));
            assert_eq!(read(&bytes, &list), Ok((relay(2), message)));
        }
        for message in [
            changes(CHANGES_MAX + 1),
            question(ROOMS_MAX + 1),
            answer(PART_IDS_MAX - 1, (0, 1)),
            answer(1, (0, PARTS_MAX + 1)),
            answer(1, (1, 1)),
            answer(1, (0, 0)),
            bans(BANS_IN_REPORT_MAX + 1),
            digests(BUCKETS + 1),
            digests(BUCKETS - 1),
        ] {
            let bytes = message.encode(list.fleet(), &key(2));
            assert_eq!(read(&bytes, &list), Err(Ignored::Malformed), "{message:?}");
        }
    }

    #[test]
    fn messages_of_strangers_and_of_other_fleets_are_ignored() {
        let list = list(1, 1, &[2, 3]);
        for message in largest() {
            let stranger = message.encode(list.fleet(), &key(4));
            assert_eq!(read(&stranger, &list), Err(Ignored::NotMember));
            let other_fleet = message.encode(relay(9), &key(2));
            assert_eq!(read(&other_fleet, &list), Err(Ignored::Signature));
        }
    }

    #[test]
    fn a_changed_or_cut_message_is_ignored() {
        let list = list(1, 1, &[2, 3]);
        for message in [changes(2), question(2), answer(2, (0, 2)), bans(2), kick()] {
            let bytes = message.encode(list.fleet(), &key(2));
            for at in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                assert!(read(&changed, &list).is_err(), "{at}");
                assert!(read(&bytes[..at], &list).is_err(), "{at}");
            }
        }
    }
}
