//! Own entries that holders keep for peers that are away.

use std::collections::BTreeMap;

use hobnob_protocol::mailbox::HELD_FOR;
use hobnob_protocol::{ConversationId, DeviceId, LogName, OfferId, PersonId, Ranges, Seq, codec};

use crate::store::{MailKind, MailRow};

/// Memory that reading a row may claim.
const MEMORY_MAX: usize = 64 * 1024;

/// Maximum ranges that are stored of one log. Those beyond are deposited again after a restart.
const RANGES_MAX: usize = 512;

/// A row: the holder, the time, the ranges, the bytes of the envelopes, and those of the contents
/// of offers among the entries.
type StoredHeld = (DeviceId, u64, Vec<(Seq, Seq)>, u64, Vec<(Seq, u64)>);

#[derive(Debug, Clone)]
struct OfLog {
    holder: DeviceId,
    /// When the last of them was deposited, in milliseconds since the Unix epoch.
    at_ms: u64,
    ranges: Ranges,
    /// About this many bytes of the peer's mailbox. Entries that were delivered leave their share
    /// of it.
    bytes: u64,
    /// About this many bytes are parts of the contents of these offers. They are gone when the
    /// offer is delivered: the peer fetches them with it.
    contents: BTreeMap<Seq, u64>,
}

/// The held entries, by log and peer.
#[derive(Debug, Clone, Default)]
pub(super) struct Held(BTreeMap<(LogName, DeviceId), OfLog>);

impl Held {
    /// What earlier runs deposited. A holder drops envelopes after 30 days, so older ones do not
    /// count.
    pub(super) fn restore(rows: &[MailRow], wall_ms: u64) -> Self {
        let held_for = u64::try_from(HELD_FOR.as_millis()).expect("30 days");
        let held = rows.iter().filter(|row| row.kind == MailKind::Held);
        let held = held.filter_map(read);
        let held = held.filter(|(_, of_log)| wall_ms.saturating_sub(of_log.at_ms) < held_for);
        Self(held.collect())
    }

    /// A holder has these entries on disk, in this many bytes. Returns the row to store.
    pub(super) fn add(
        &mut self,
        (name, first, last): (LogName, Seq, Seq),
        bytes: u64,
        peer: DeviceId,
        holder: DeviceId,
        wall_ms: u64,
    ) -> MailRow {
        let of_log = self.0.entry((name, peer)).or_insert_with(|| OfLog {
            holder,
            at_ms: wall_ms,
            ranges: Ranges::new(),
            bytes: 0,
            contents: BTreeMap::new(),
        });
        (of_log.holder, of_log.at_ms) = (holder, wall_ms);
        of_log.ranges.insert(first, last);
        of_log.bytes += bytes;
        row(name, peer, Some(of_log))
    }

    /// A holder has a part of the content of an offer of this node on disk. Returns the row to
    /// store, if the offer is held.
    pub(super) fn add_content(
        &mut self,
        offer: OfferId,
        bytes: u64,
        peer: DeviceId,
    ) -> Option<MailRow> {
        let of_log = self.0.get_mut(&(offer.name, peer))?;
        if !of_log.ranges.contains(offer.seq) {
            return None;
        }
        *of_log.contents.entry(offer.seq).or_default() += bytes;
        Some(row(offer.name, peer, Some(of_log)))
    }

    /// The bytes of a peer's mailbox that contents take.
    pub(super) fn content_bytes(&self, peer: DeviceId) -> u64 {
        let all = self.0.iter().filter(|((_, of), _)| *of == peer);
        all.flat_map(|(_, of_log)| of_log.contents.values()).sum()
    }

    /// The peer has these entries. Returns the row to store, if any of them was held.
    pub(super) fn delivered(
        &mut self,
        name: LogName,
        peer: DeviceId,
        ranges: &Ranges,
    ) -> Option<MailRow> {
        let of_log = self.0.get_mut(&(name, peer))?;
        let left = of_log.ranges.minus(ranges);
        if left == of_log.ranges {
            return None;
        }
        let share = |bytes: u64| u128::from(bytes) * u128::from(left.len());
        let kept = share(of_log.bytes) / u128::from(of_log.ranges.len());
        of_log.bytes = u64::try_from(kept).expect("not more than before");
        of_log.contents.retain(|seq, _| left.contains(*seq));
        of_log.ranges = left;
        if of_log.ranges.is_empty() {
            self.0.remove(&(name, peer));
            return Some(row(name, peer, None));
        }
        Some(row(name, peer, self.0.get(&(name, peer))))
    }

    /// The peer can't open what is held for it. Returns the rows to store.
    pub(super) fn forget(&mut self, peer: DeviceId) -> Vec<MailRow> {
        self.forget_where(|_, of| of == peer)
    }

    fn forget_where(&mut self, is_gone: impl Fn(&LogName, DeviceId) -> bool) -> Vec<MailRow> {
        let mut rows = Vec::new();
        self.0.retain(|(name, of), _| {
            let is_gone = is_gone(name, *of);
            if is_gone {
                rows.push(row(*name, *of, None));
            }
            !is_gone
        });
        rows
    }

    /// The peer has left a room. Returns the rows to store.
    pub(super) fn forget_in(&mut self, room: ConversationId, peer: DeviceId) -> Vec<MailRow> {
        self.forget_where(|name, of| of == peer && name.conversation == room)
    }

    /// The bytes of a peer's mailbox that entries of rooms take.
    pub(super) fn room_bytes(&self, me: PersonId, peer: DeviceId) -> u64 {
        let direct = ConversationId::direct(me, peer.person());
        let all = self.0.iter().filter(|((_, of), _)| *of == peer);
        let of_rooms = all.filter(|((name, _), _)| name.conversation != direct);
        of_rooms.map(|(_, of_log)| of_log.bytes).sum()
    }

    /// The entries that are held for a peer, by log.
    pub(super) fn of_peer(&self, peer: DeviceId) -> Vec<(LogName, Ranges)> {
        let all = self.0.iter().filter(|((_, of), _)| *of == peer);
        all.map(|((name, _), of_log)| (*name, of_log.ranges.clone()))
            .collect()
    }

    /// Of each log and peer: the peer, how many entries are held, and where and when the last of
    /// them was deposited.
    pub(super) fn counts(&self) -> impl Iterator<Item = (DeviceId, u64, DeviceId, u64)> {
        let all = self.0.iter();
        all.map(|((_, peer), it)| (*peer, it.ranges.len(), it.holder, it.at_ms))
    }

    /// All held entries.
    pub(super) fn all(&self) -> impl Iterator<Item = (LogName, DeviceId, &Ranges)> {
        let all = self.0.iter();
        all.map(|((name, peer), of_log)| (*name, *peer, &of_log.ranges))
    }
}

fn row(name: LogName, peer: DeviceId, of_log: Option<&OfLog>) -> MailRow {
    let value = of_log.map(|of_log| {
        let ranges: Vec<_> = of_log.ranges.iter().take(RANGES_MAX).collect();
        let contents = of_log.contents.iter();
        let contents = contents.map(|(seq, bytes)| (*seq, *bytes)).collect();
        let stored: StoredHeld = (of_log.holder, of_log.at_ms, ranges, of_log.bytes, contents);
        codec::encode(&stored)
    });
    MailRow {
        kind: MailKind::Held,
        name: codec::encode(&(name, peer)),
        value,
    }
}

fn read(row: &MailRow) -> Option<((LogName, DeviceId), OfLog)> {
    let named = codec::decode::<(LogName, DeviceId), MEMORY_MAX>(&row.name);
    let (name, peer) = named.ok()?;
    let value = row.value.as_deref()?;
    let stored = codec::decode::<StoredHeld, MEMORY_MAX>(value);
    // A version before this one did not count bytes.
    let stored = stored.or_else(|_| {
        let before = codec::decode::<(DeviceId, u64, Vec<(Seq, Seq)>), MEMORY_MAX>(value);
        before.map(|(holder, at_ms, spans)| (holder, at_ms, spans, 0, Vec::new()))
    });
    let (holder, at_ms, spans, bytes, contents) = stored.ok()?;
    let mut ranges = Ranges::new();
    for (first, last) in spans.into_iter().filter(|(first, last)| first <= last) {
        ranges.insert(first, last);
    }
    let of_log = OfLog {
        holder,
        at_ms,
        ranges,
        bytes,
        contents: contents.into_iter().collect(),
    };
    Some(((name, peer), of_log))
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::LogId;

    use super::*;

    const DAY_MS: u64 = 24 * 60 * 60 * 1000;

    fn peer(n: u8) -> DeviceId {
        DeviceId::from_bytes([n; 32])
    }

    fn log() -> LogName {
        LogName {
            conversation: ConversationId::direct(peer(1).person(), peer(2).person()),
            author: peer(1).person(),
            device: peer(1),
            log: LogId(3),
        }
    }

    #[test]
    fn entries_are_held_until_the_peer_has_them_or_the_holder_drops_them() {
        let mut held = Held::default();
        held.add((log(), 1, 4), 4_000, peer(2), peer(8), 1_000);
        let row = held.add((log(), 5, 9), 5_000, peer(2), peer(8), 2_000);
        assert_eq!(held.of_peer(peer(2)), [(log(), Ranges::span(1, 9))]);
        assert_eq!(held.of_peer(peer(3)), []);
        let restored = |at_ms| Held::restore(std::slice::from_ref(&row), at_ms).of_peer(peer(2));
        assert_eq!(restored(2_000 + 30 * DAY_MS - 1).len(), 1);
        assert_eq!(restored(2_000 + 30 * DAY_MS), []);
        assert!(
            held.delivered(log(), peer(2), &Ranges::span(1, 5))
                .is_some()
        );
        assert_eq!(held.delivered(log(), peer(2), &Ranges::span(1, 5)), None);
        assert_eq!(held.of_peer(peer(2)), [(log(), Ranges::span(6, 9))]);
        assert_eq!(held.forget(peer(3)), []);
        assert_eq!(held.clone().forget(peer(2)).len(), 1);
        let row = held.delivered(log(), peer(2), &Ranges::span(6, 9));
        assert_eq!(row.map(|row| row.value), Some(None));
        assert_eq!(held.all().count(), 0);
    }

    #[test]
    fn contents_take_a_part_of_a_mailbox_until_their_offers_are_delivered() {
        let mut held = Held::default();
        let offer = |seq| OfferId { name: log(), seq };
        assert_eq!(held.add_content(offer(2), 100, peer(2)), None, "delivered");
        held.add((log(), 1, 4), 4_000, peer(2), peer(8), 1_000);
        held.add_content(offer(2), 100, peer(2));
        let row = held.add_content(offer(2), 200, peer(2)).expect("held");
        let mut held = Held::restore(&[row], 2_000);
        held.add_content(offer(3), 50, peer(2));
        assert_eq!(
            (held.content_bytes(peer(2)), held.content_bytes(peer(3))),
            (350, 0)
        );
        held.delivered(log(), peer(2), &Ranges::span(1, 2));
        assert_eq!(held.content_bytes(peer(2)), 50);
    }

    #[test]
    fn what_rooms_take_of_a_mailbox_is_known_after_a_restart() {
        let (mut held, me) = (Held::default(), peer(1).person());
        let room = ConversationId::from_bytes([7; 32]);
        let in_room = LogName {
            conversation: room,
            ..log()
        };
        held.add((log(), 1, 4), 4_000, peer(2), peer(8), 1_000);
        let row = held.add((in_room, 1, 10), 10_000, peer(2), peer(8), 1_000);
        assert_eq!(held.room_bytes(me, peer(2)), 10_000);
        let mut held = Held::restore(&[row], 2_000);
        held.delivered(in_room, peer(2), &Ranges::span(1, 7));
        assert_eq!(held.room_bytes(me, peer(2)), 3_000);
        assert_eq!(held.forget_in(room, peer(3)), []);
        assert_eq!(held.forget_in(room, peer(2)).len(), 1);
        assert_eq!(held.room_bytes(me, peer(2)), 0);
    }
}
