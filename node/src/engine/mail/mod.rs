//! Mail: this node's own mailbox at holders, and what it deposits for contacts that are away.
//!
//! For each contact that is away there is a *session by mail*: the replica treats it like a session,
//! and its frames travel in envelopes. So entries, receipts and requests need no second
//! implementation. `own` is this node's mailbox, `contacts` are those of others, `outgoing` packs
//! envelopes, `held` notes what holders have, `holder` is the exchange with one holder, `page` decides
//! which arrived envelopes may be deleted.
//!
//! Not here: the effects on other parts, which are in `events`.

mod contacts;
mod events;
mod held;
mod holder;
mod outgoing;
mod own;
mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hobnob_core::SessionId;
use hobnob_protocol::{PeerId, SecretKey};

use self::contacts::ContactBoxes;
use self::held::Held;
use self::holder::Holder;
use self::outgoing::Outgoing;
use self::own::OwnMailbox;
use crate::net::channels::RelayId;
use crate::store::{MailKind, MailRow};

/// How long a contact must be away before messages for it are deposited. Until then it may come back,
/// or be met at all.
const DEPOSIT_AFTER: Duration = Duration::from_secs(2);

/// After a holder has refused a deposit, the next attempt waits for so long.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// How often the running time of the key is counted.
const RUNNING_EVERY: Duration = Duration::from_secs(60 * 60);

/// A session by mail.
#[derive(Debug)]
struct MailSession {
    peer: PeerId,
    /// Where its envelopes go. `None`: it only receives, and its frames are dropped.
    holder: Option<RelayId>,
    outgoing: Outgoing,
    /// Envelopes that the holder has not answered.
    in_flight: usize,
    /// Batches that arrived and that the replica has not finished.
    arriving: usize,
}

/// Everything about mail.
#[derive(Debug)]
pub(crate) struct Mail {
    key: Arc<SecretKey>,
    own: OwnMailbox,
    contacts: ContactBoxes,
    held: Held,
    /// The relays that hold mail and are connected.
    holders: BTreeMap<RelayId, Holder>,
    sessions: BTreeMap<SessionId, MailSession>,
    /// Peers that must get receipts for entries that arrived by mail.
    owed: BTreeSet<PeerId>,
    /// When to begin a session by mail with a peer that is away.
    due: BTreeMap<PeerId, Duration>,
    /// When the running time of the key is counted next.
    count_at: Duration,
}

impl Mail {
    /// Continues with what the last run stored. Returns the rows to store.
    pub(crate) fn restore(
        key: Arc<SecretKey>,
        rows: &[MailRow],
        random: [u8; 32],
        wall_ms: u64,
    ) -> (Self, Vec<MailRow>) {
        let (own, to_store) = OwnMailbox::restore(key.clone(), rows, random, wall_ms);
        let owed = rows.iter().filter(|row| row.kind == MailKind::Owed);
        let owed = owed.filter_map(|row| row.name.as_slice().try_into().ok());
        let mail = Self {
            key,
            own,
            contacts: ContactBoxes::restore(rows),
            held: Held::restore(rows, wall_ms),
            holders: BTreeMap::new(),
            sessions: BTreeMap::new(),
            owed: owed.map(PeerId::from_bytes).collect(),
            due: BTreeMap::new(),
            count_at: RUNNING_EVERY,
        };
        (mail, to_store)
    }

    /// The session by mail with a peer.
    fn session_with(&self, peer: PeerId) -> Option<SessionId> {
        let mut all = self.sessions.iter();
        all.find(|(_, session)| session.peer == peer)
            .map(|(id, _)| *id)
    }

    /// A connected holder at which this node may deposit for a peer, and that accepts deposits.
    fn holder_for(&self, peer: PeerId) -> Option<RelayId> {
        let of_peer = self.contacts.get(peer)?;
        let mut holders = self.holders.iter();
        holders
            .find(|(_, holder)| of_peer.token(holder.id).is_some())
            .map(|(relay, _)| *relay)
    }

    /// Whether a peer must get receipts. Returns the row to store, if that is new.
    fn owe(&mut self, peer: PeerId, owes: bool) -> Option<MailRow> {
        let is_new = if owes {
            self.owed.insert(peer)
        } else {
            self.owed.remove(&peer)
        };
        is_new.then(|| MailRow {
            kind: MailKind::Owed,
            name: peer.as_bytes().to_vec(),
            value: owes.then(Vec::new),
        })
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        let due = self.due.values().copied().min();
        let retries = self.holders.values().filter_map(Holder::retry_at);
        due.into_iter().chain(retries).chain([self.count_at]).min()
    }

    /// The peers for which a session by mail is due.
    fn take_due(&mut self, now: Duration) -> Vec<PeerId> {
        let is_due = |(_, at): &(&PeerId, &Duration)| **at <= now;
        let due: Vec<_> = self
            .due
            .iter()
            .filter(is_due)
            .map(|(peer, _)| *peer)
            .collect();
        for peer in &due {
            self.due.remove(peer);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> PeerId {
        PeerId::from_bytes([n; 32])
    }

    fn restored(rows: &[MailRow]) -> Mail {
        let key = Arc::new(SecretKey::from_seed([1; 32]));
        Mail::restore(key, rows, [7; 32], 1_000).0
    }

    #[test]
    fn receipts_are_owed_across_a_restart() {
        let mut mail = restored(&[]);
        let row = mail.owe(peer(2), true).expect("new");
        assert_eq!(mail.owe(peer(2), true), None);
        let mut mail = restored(&[row]);
        assert!(mail.owed.contains(&peer(2)));
        let row = mail.owe(peer(2), false).expect("new");
        assert_eq!(row.value, None);
    }

    #[test]
    fn sessions_by_mail_are_due_a_moment_after_the_peer_left() {
        let mut mail = restored(&[]);
        mail.due.insert(peer(2), DEPOSIT_AFTER);
        mail.due.insert(peer(3), 2 * DEPOSIT_AFTER);
        assert_eq!(mail.poll_timeout(), Some(DEPOSIT_AFTER));
        assert_eq!(mail.take_due(DEPOSIT_AFTER), [peer(2)]);
        assert_eq!(mail.take_due(DEPOSIT_AFTER), []);
        assert_eq!(mail.poll_timeout(), Some(2 * DEPOSIT_AFTER));
    }
}
