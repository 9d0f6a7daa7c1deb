//! The mailboxes of contacts: for which key to seal, and where this node may deposit.

use std::collections::BTreeMap;

use hobnob_protocol::codec;
use hobnob_protocol::mailbox::DepositToken;
use hobnob_protocol::record::{Checked, MAILBOX_BYTES_MAX, MailboxRecord, RECORD_RELAYS_MAX};
use hobnob_protocol::{DeviceId, SignedRecord};

use crate::store::{MailKind, MailRow};

/// Memory that reading a stored mailbox may claim.
const MEMORY_MAX: usize = 4 * MAILBOX_BYTES_MAX;

/// The mailbox of a contact.
#[derive(Debug, Clone)]
pub(super) struct ContactBox {
    pub(super) record: Checked<MailboxRecord>,
    tokens: Vec<(DeviceId, DepositToken)>,
}

impl ContactBox {
    /// The token for a holder.
    pub(super) fn token(&self, holder: DeviceId) -> Option<&DepositToken> {
        let mut tokens = self.tokens.iter();
        tokens.find(|(at, _)| *at == holder).map(|(_, token)| token)
    }
}

/// The mailboxes of contacts.
#[derive(Debug, Default)]
pub(super) struct ContactBoxes(BTreeMap<DeviceId, ContactBox>);

impl ContactBoxes {
    pub(super) fn restore(rows: &[MailRow]) -> Self {
        let of_contacts = rows.iter().filter(|row| row.kind == MailKind::Contact);
        Self(of_contacts.filter_map(read).collect())
    }

    pub(super) fn get(&self, peer: DeviceId) -> Option<&ContactBox> {
        self.0.get(&peer)
    }

    /// The contacts for which this node may deposit at a holder.
    pub(super) fn at(&self, holder: DeviceId) -> impl Iterator<Item = DeviceId> {
        let all = self.0.iter();
        all.filter(move |(_, of_peer)| of_peer.token(holder).is_some())
            .map(|(peer, _)| *peer)
    }

    /// A contact names its key and its holders. Returns the row to store, if that is news.
    pub(super) fn learn(
        &mut self,
        peer: DeviceId,
        record: Checked<MailboxRecord>,
        mut tokens: Vec<(DeviceId, DepositToken)>,
    ) -> Option<MailRow> {
        tokens.truncate(RECORD_RELAYS_MAX);
        let held = self.0.get(&peer);
        let record = match held {
            Some(held) if held.record.is_newer_than(&record) => held.record.clone(),
            Some(_) | None => record,
        };
        let is_same = held.is_some_and(|held| held.record == record && held.tokens == tokens);
        if is_same || record.record().needs_newer_version {
            return None;
        }
        let stored = (record.signed().clone(), &tokens);
        let row = MailRow {
            kind: MailKind::Contact,
            name: peer.as_bytes().to_vec(),
            value: Some(codec::encode(&stored)),
        };
        self.0.insert(peer, ContactBox { record, tokens });
        Some(row)
    }

    /// A holder names a newer key of a contact. Returns the row to store, if that is so.
    pub(super) fn learn_key(
        &mut self,
        peer: DeviceId,
        record: Checked<MailboxRecord>,
    ) -> Option<MailRow> {
        let held = self.0.get(&peer)?;
        if !record.is_newer_than(&held.record) {
            return None;
        }
        let tokens = held.tokens.clone();
        self.learn(peer, record, tokens)
    }

    /// The user has forgotten a peer.
    pub(super) fn forget(&mut self, peer: DeviceId) -> Option<MailRow> {
        self.0.remove(&peer)?;
        Some(MailRow {
            kind: MailKind::Contact,
            name: peer.as_bytes().to_vec(),
            value: None,
        })
    }
}

fn read(row: &MailRow) -> Option<(DeviceId, ContactBox)> {
    let peer = DeviceId::from_bytes(row.name.as_slice().try_into().ok()?);
    let stored = codec::decode::<(SignedRecord, Vec<(DeviceId, DepositToken)>), MEMORY_MAX>(
        row.value.as_deref()?,
    );
    let (record, tokens) = stored.ok()?;
    let record = record.check(peer).ok()?;
    Some((peer, ContactBox { record, tokens }))
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::SecretKey;
    use hobnob_protocol::mailbox::MailboxKey;

    use super::*;

    fn bob() -> SecretKey {
        SecretKey::from_seed([2; 32])
    }

    fn relay() -> DeviceId {
        DeviceId::from_bytes([8; 32])
    }

    fn record(number: u64) -> Checked<MailboxRecord> {
        let record = MailboxRecord {
            number,
            key: number,
            public: MailboxKey::generate().public(),
            needs_newer_version: false,
        };
        Checked::sign(record, &bob())
    }

    fn tokens() -> Vec<(DeviceId, DepositToken)> {
        let me = DeviceId::from_bytes([1; 32]);
        vec![(relay(), DepositToken::new(&[7; 32], me, relay(), 1))]
    }

    #[test]
    fn what_a_contact_says_is_known_after_a_restart() {
        let (mut boxes, peer) = (ContactBoxes::default(), bob().id());
        let first = record(5);
        let row = boxes.learn(peer, first.clone(), tokens()).expect("news");
        assert_eq!(boxes.learn(peer, first.clone(), tokens()), None);
        let boxes = ContactBoxes::restore(&[row]);
        let of_bob = boxes.get(peer).expect("stored");
        assert_eq!(of_bob.record, first);
        assert_eq!(of_bob.token(relay()), Some(&tokens()[0].1));
        assert_eq!(of_bob.token(peer), None);
        assert_eq!(boxes.at(relay()).collect::<Vec<_>>(), [peer]);
    }

    #[test]
    fn an_older_key_does_not_replace_a_newer_one() {
        let (mut boxes, peer) = (ContactBoxes::default(), bob().id());
        assert_eq!(boxes.learn_key(peer, record(5)), None, "no token");
        boxes.learn(peer, record(5), tokens());
        assert_eq!(boxes.learn_key(peer, record(4)), None);
        assert!(boxes.learn_key(peer, record(6)).is_some());
        boxes.learn(peer, record(5), tokens());
        let key = boxes.get(peer).map(|it| it.record.record().key);
        assert_eq!(key, Some(6));
        assert!(boxes.forget(peer).is_some());
        assert!(boxes.get(peer).is_none());
    }
}
