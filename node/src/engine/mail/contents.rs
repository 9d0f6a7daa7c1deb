//! This node's offers whose small contents no holder has completely yet.
//!
//! The list is stored, so a node that stops too early sends the contents in its next run.

use std::collections::{BTreeMap, BTreeSet};

use hobnob_protocol::{DeviceId, OfferId, codec};

use crate::store::{MailKind, MailRow};

/// Maximum offers to one peer whose contents wait for mail. The contents of further ones are downloaded
/// when both are connected.
const CONTENTS_MAX: usize = 64;

/// Memory that reading a row may claim.
const MEMORY_MAX: usize = 64 * 1024;

/// The offers, by the peer that is away.
#[derive(Debug, Default)]
pub(super) struct WaitingContents(BTreeMap<DeviceId, BTreeSet<OfferId>>);

impl WaitingContents {
    /// What earlier runs did not finish.
    pub(super) fn restore(rows: &[MailRow]) -> Self {
        let rows = rows.iter().filter(|row| row.kind == MailKind::Contents);
        Self(rows.filter_map(read).collect())
    }

    /// A small file is offered. Returns the row to store, unless it is known or there are too many.
    pub(super) fn add(&mut self, peer: DeviceId, offer: OfferId) -> Option<MailRow> {
        let offers = self.0.entry(peer).or_default();
        let is_new = offers.len() < CONTENTS_MAX && offers.insert(offer);
        is_new.then(|| self.row(peer))
    }

    /// These contents need not be sent any more. Returns the row to store, if one of them waited.
    pub(super) fn remove(&mut self, peer: DeviceId, done: &[OfferId]) -> Option<MailRow> {
        let offers = self.0.get_mut(&peer)?;
        let before = offers.len();
        offers.retain(|offer| !done.contains(offer));
        if offers.len() == before {
            return None;
        }
        if offers.is_empty() {
            self.0.remove(&peer);
        }
        Some(self.row(peer))
    }

    /// The peer is here, or is no contact any more. Returns the row to store, if something waited.
    pub(super) fn forget(&mut self, peer: DeviceId) -> Option<MailRow> {
        self.0.remove(&peer).map(|_| self.row(peer))
    }

    /// The offers to a peer.
    pub(super) fn of_peer(&self, peer: DeviceId) -> impl Iterator<Item = OfferId> {
        self.0.get(&peer).into_iter().flatten().copied()
    }

    /// How many wait for each peer.
    pub(super) fn counts(&self) -> impl Iterator<Item = (DeviceId, u64)> {
        let count =
            |offers: &BTreeSet<_>| u64::try_from(offers.len()).expect("at most CONTENTS_MAX");
        self.0
            .iter()
            .map(move |(peer, offers)| (*peer, count(offers)))
    }

    fn row(&self, peer: DeviceId) -> MailRow {
        let offers = self.0.get(&peer);
        MailRow {
            kind: MailKind::Contents,
            name: peer.as_bytes().to_vec(),
            value: offers.map(codec::encode),
        }
    }
}

fn read(row: &MailRow) -> Option<(DeviceId, BTreeSet<OfferId>)> {
    let peer = DeviceId::from_bytes(row.name.as_slice().try_into().ok()?);
    let offers = codec::decode::<Vec<OfferId>, MEMORY_MAX>(row.value.as_deref()?);
    Some((peer, offers.ok()?.into_iter().take(CONTENTS_MAX).collect()))
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::{ConversationId, LogId, LogName, Seq};

    use super::*;

    fn peer(n: u8) -> DeviceId {
        DeviceId::from_bytes([n; 32])
    }

    fn offer(seq: Seq) -> OfferId {
        let name = LogName {
            conversation: ConversationId::direct(peer(1).person(), peer(2).person()),
            author: peer(1).person(),
            device: peer(1),
            log: LogId(3),
        };
        OfferId { name, seq }
    }

    #[test]
    fn contents_that_no_holder_has_wait_across_a_restart() {
        let mut contents = WaitingContents::default();
        contents.add(peer(2), offer(1)).expect("new");
        assert_eq!(contents.add(peer(2), offer(1)), None, "known");
        let row = contents.add(peer(2), offer(2)).expect("new");
        let mut contents = WaitingContents::restore(&[row]);
        let waiting: Vec<_> = contents.of_peer(peer(2)).collect();
        assert_eq!(waiting, [offer(1), offer(2)]);
        assert_eq!(contents.counts().collect::<Vec<_>>(), [(peer(2), 2)]);

        assert_eq!(contents.remove(peer(2), &[offer(9)]), None);
        assert_eq!(contents.remove(peer(3), &[offer(1)]), None);
        let row = contents.remove(peer(2), &[offer(1)]).expect("it waited");
        let waiting = WaitingContents::restore(std::slice::from_ref(&row));
        assert_eq!(
            waiting.of_peer(peer(2)).collect::<Vec<_>>(),
            [offer(2)],
            "one is left"
        );
        let row = contents.forget(peer(2)).expect("one waited");
        assert_eq!(row.value, None);
        assert_eq!(contents.forget(peer(2)), None);
    }

    #[test]
    fn so_many_contents_wait_for_one_peer() {
        let mut contents = WaitingContents::default();
        let mut last = None;
        for seq in 1..=64 {
            last = contents.add(peer(2), offer(seq));
        }
        assert_eq!(contents.add(peer(2), offer(65)), None);
        assert!(contents.add(peer(3), offer(65)).is_some());
        let restored = WaitingContents::restore(&[last.expect("new")]);
        assert_eq!(
            restored.of_peer(peer(2)).count(),
            CONTENTS_MAX,
            "a full row is readable"
        );
    }
}
