//! This node's own mailbox: its keys, and who may deposit.

use std::sync::Arc;
use std::time::Duration;

use hobnob_protocol::codec;
use hobnob_protocol::mailbox::{DepositToken, KeyId, MailboxKey, SENDERS_MAX, TokenHash};
use hobnob_protocol::record::{Checked, MailboxRecord, next_number};
use hobnob_protocol::{DeviceId, PersonId, SecretKey, SignedRecord};

use crate::store::{MailKind, MailRow};

/// A key is replaced after the node has run for this long with it.
pub(super) const RENEW_AFTER: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A replaced key is destroyed after this long. Until then it opens mail that was sealed before.
pub(super) const DESTROY_AFTER: Duration = Duration::from_secs(21 * 24 * 60 * 60);

/// The number of the tokens that this version gives out.
const TOKEN_NUMBER: u32 = 1;

/// A key as it is stored: how long it was the newest one, when it was replaced, and its bytes.
type StoredKey = (u64, Option<u64>, Vec<u8>);

#[derive(Debug)]
struct OwnKey {
    id: KeyId,
    key: MailboxKey,
    /// How long the node has run while this was the newest key.
    ran_ms: u64,
    /// When it was replaced, in milliseconds since the Unix epoch.
    replaced_at_ms: Option<u64>,
}

/// The keys of this node's mailbox, and the secret from which it makes tokens.
#[derive(Debug)]
pub(super) struct OwnMailbox {
    identity: Arc<SecretKey>,
    secret: [u8; 32],
    /// Oldest first. There is at least one.
    keys: Vec<OwnKey>,
    record: Checked<MailboxRecord>,
}

impl OwnMailbox {
    /// Continues with the keys of the last run. Returns the rows to store. `random` is the secret
    /// of a new mailbox.
    pub(super) fn restore(
        identity: Arc<SecretKey>,
        rows: &[MailRow],
        random: [u8; 32],
        wall_ms: u64,
    ) -> (Self, Vec<MailRow>) {
        let of = |kind| rows.iter().filter(move |row| row.kind == kind);
        let secret = of(MailKind::Secret).find_map(|row| row.value.as_deref()?.try_into().ok());
        let mut to_store = Vec::new();
        if secret.is_none() {
            to_store.push(MailRow {
                kind: MailKind::Secret,
                name: Vec::new(),
                value: Some(random.to_vec()),
            });
        }
        let mut keys: Vec<_> = of(MailKind::Key).filter_map(read_key).collect();
        keys.sort_by_key(|key| key.id);
        if keys.last().is_none_or(|key| key.replaced_at_ms.is_some()) {
            let last = keys.last().map_or(0, |key| key.id);
            keys.push(new_key(last, wall_ms));
            to_store.extend(keys.last().map(key_row));
        }
        let record = sign(&keys, &identity);
        let own = Self {
            identity,
            secret: secret.unwrap_or(random),
            keys,
            record,
        };
        (own, to_store)
    }

    /// The record with the newest key.
    pub(super) fn record(&self) -> &SignedRecord {
        self.record.signed()
    }

    /// The newest key.
    pub(super) fn newest(&self) -> KeyId {
        self.record.record().key
    }

    /// The key with this id, if it is not destroyed.
    pub(super) fn key(&self, id: KeyId) -> Option<&MailboxKey> {
        let mut keys = self.keys.iter();
        keys.find(|key| key.id == id).map(|key| &key.key)
    }

    /// The permission of a contact to deposit at a holder.
    pub(super) fn token(&self, sender: DeviceId, holder: DeviceId) -> DepositToken {
        DepositToken::new(&self.secret, sender, holder, TOKEN_NUMBER)
    }

    /// The list of senders for a holder. Contacts beyond the limit can't deposit.
    pub(super) fn senders(&self, contacts: &[PersonId], holder: DeviceId) -> Vec<TokenHash> {
        let contacts = contacts.iter().map(|contact| contact.only_device());
        contacts
            .take(SENDERS_MAX)
            .map(|sender| self.token(sender, holder).hash(sender))
            .collect()
    }

    /// The node has run for some time. Returns the rows to store.
    pub(super) fn ran(&mut self, time: Duration) -> Vec<MailRow> {
        let newest = self.keys.last_mut().expect("there is at least one");
        newest.ran_ms += millis(time);
        vec![key_row(newest)]
    }

    /// All mail was fetched: replaces a key that is old enough, and destroys replaced ones. Returns
    /// the rows to store, which name a new key last, if there is one.
    pub(super) fn renew(&mut self, wall_ms: u64) -> Vec<MailRow> {
        let mut rows = Vec::new();
        let is_over = |key: &OwnKey| {
            // A clock that was set back postpones the end at most once by this much.
            key.replaced_at_ms
                .is_some_and(|at| wall_ms.abs_diff(at) >= millis(DESTROY_AFTER))
        };
        for key in self.keys.extract_if(.., |key| is_over(key)) {
            rows.push(MailRow {
                kind: MailKind::Key,
                name: key.id.to_be_bytes().to_vec(),
                value: None,
            });
        }
        let newest = self
            .keys
            .last_mut()
            .expect("the newest one is not replaced");
        if newest.ran_ms < millis(RENEW_AFTER) {
            return rows;
        }
        newest.replaced_at_ms = Some(wall_ms);
        rows.push(key_row(newest));
        let key = new_key(newest.id, wall_ms);
        rows.push(key_row(&key));
        self.keys.push(key);
        self.record = sign(&self.keys, &self.identity);
        rows
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn new_key(last: KeyId, wall_ms: u64) -> OwnKey {
    OwnKey {
        id: next_number(last, wall_ms),
        key: MailboxKey::generate(),
        ran_ms: 0,
        replaced_at_ms: None,
    }
}

fn sign(keys: &[OwnKey], identity: &SecretKey) -> Checked<MailboxRecord> {
    let newest = keys.last().expect("there is at least one");
    let record = MailboxRecord {
        // Each key has one record.
        number: newest.id,
        key: newest.id,
        public: newest.key.public(),
        needs_newer_version: false,
    };
    Checked::sign(record, identity)
}

fn key_row(key: &OwnKey) -> MailRow {
    let stored: StoredKey = (key.ran_ms, key.replaced_at_ms, key.key.as_bytes().to_vec());
    MailRow {
        kind: MailKind::Key,
        name: key.id.to_be_bytes().to_vec(),
        value: Some(codec::encode(&stored)),
    }
}

/// Damaged keys count for nothing.
fn read_key(row: &MailRow) -> Option<OwnKey> {
    let stored = codec::decode::<StoredKey, 16_384>(row.value.as_deref()?);
    let (ran_ms, replaced_at_ms, bytes) = stored.ok()?;
    Some(OwnKey {
        id: u64::from_be_bytes(row.name.as_slice().try_into().ok()?),
        key: MailboxKey::from_bytes(&bytes)?,
        ran_ms,
        replaced_at_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn restored(rows: &[MailRow], wall_ms: u64) -> (OwnMailbox, Vec<MailRow>) {
        let identity = Arc::new(SecretKey::from_seed([1; 32]));
        OwnMailbox::restore(identity, rows, [7; 32], wall_ms)
    }

    #[test]
    fn a_mailbox_continues_after_a_restart() {
        let (first, rows) = restored(&[], 1_000);
        assert_eq!(first.newest(), 1_000);
        let (second, none) = restored(&rows, 2_000);
        assert_eq!((second.newest(), none), (1_000, Vec::new()));
        assert_eq!(second.record(), first.record());
        let [ann, relay] = [2, 3].map(|n| DeviceId::from_bytes([n; 32]));
        assert_eq!(first.token(ann, relay), second.token(ann, relay));
    }

    #[test]
    fn a_key_is_replaced_after_a_week_of_running_and_destroyed_three_weeks_later() {
        let (mut own, _) = restored(&[], 1_000);
        let old = own.newest();
        own.ran(6 * DAY);
        assert_eq!(own.renew(1_001), [], "it has not run long enough");
        own.ran(DAY);
        assert_eq!(own.newest(), old, "mail is fetched first");
        let rows = own.renew(5_000);
        assert_eq!((own.newest(), rows.len()), (5_000, 2));
        assert!(own.key(old).is_some(), "it still opens mail");
        let (mut own, _) = restored(&rows, 6_000);
        assert_eq!(own.renew(5_000 + millis(DESTROY_AFTER) - 1), []);
        let destroyed = own.renew(5_000 + millis(DESTROY_AFTER));
        assert_eq!(destroyed.len(), 1);
        assert_eq!(destroyed[0].value, None);
        assert!(own.key(old).is_none());
        assert!(own.key(5_000).is_some());
    }

    #[test]
    fn a_home_without_keys_gets_a_new_one() {
        let (first, rows) = restored(&[], 1_000);
        // Backups have no keys.
        let without: Vec<_> = rows
            .into_iter()
            .filter(|row| row.kind != MailKind::Key)
            .collect();
        let (second, rows) = restored(&without, 2_000);
        assert!(second.newest() > first.newest());
        assert_eq!(rows.len(), 1);
    }
}
