//! Mail: this node's own mailbox at holders, and what it deposits for contacts that are away.
//!
//! For each contact that is away there is a *session by mail*: the replica treats it like a session,
//! and its frames travel in envelopes. So entries, receipts and requests need no second
//! implementation. There is one more for each room with a key in which the contact is a member, while
//! something waits. `own` is this node's mailbox, `contacts` are those of others, `outgoing` packs
//! envelopes with batches from `item`, `held` notes what holders have, `holder` is the exchange with one holder, `page` decides
//! which arrived envelopes may be deleted, `refusals` notes which holders refuse envelopes,
//! `unanswered` keeps envelopes whose answers were lost, `reopening` opens streams again that have ended, `contents` lists small files that are still to be
//! deposited, `members` knows who is in which room. `node_holders` finds nodes that are holders.
//!
//! - `own` is this node's mailbox, `contacts` are those of others, `members` knows who is in which
//!   room.
//! - `holder` is the exchange with one holder. `node_holders` finds nodes that are holders, and
//!   `reopening` opens streams again that have ended.
//! - `outgoing` packs envelopes, `held` notes what holders have, `contents` lists small files that
//!   are still to be deposited.
//! - `refusals` notes which holders refuse envelopes, `unanswered` keeps envelopes whose answers
//!   were lost, `page` decides which arrived envelopes may be deleted.
//!
//! Not here: the effects on other parts, which are in `events`, `rooms`, `files`, `arriving` and
//! `info`.

mod arriving;
mod contacts;
mod contents;
mod events;
mod files;
mod held;
mod holder;
mod info;
mod item;
mod members;
mod node_holders;
mod outgoing;
mod own;
mod page;
mod refusals;
mod reopening;
mod rooms;
mod unanswered;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hobnob_core::SessionId;
use hobnob_core::mail_refusal::MailRefusal;
use hobnob_protocol::mailbox::KeyId;
use hobnob_protocol::{ConversationId, DeviceId, OfferId, SecretKey};

use self::contacts::ContactBoxes;
use self::contents::WaitingContents;
use self::held::Held;
use self::holder::{Facts, Holder};
use self::members::RoomMembers;
use self::outgoing::Outgoing;
use self::own::OwnMailbox;
use self::refusals::Refusals;
use self::reopening::Reopening;
use self::unanswered::Unanswered;
use crate::net::channels::RelayId;
use crate::store::{MailKind, MailRow};

/// How long a contact must be away before messages for it are deposited. Until then it may come
/// back, or be met at all.
const DEPOSIT_AFTER: Duration = Duration::from_secs(2);

/// Maximum holders of this node's mail that are remembered when they are not connected. A node has
/// fewer relays, unless their identities change.
const FORMER_MAX: usize = 32;

/// How often the running time of the key is counted.
const RUNNING_EVERY: Duration = Duration::from_secs(60 * 60);

/// Where a holder is connected. Relays come first: they are up more often than nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HolderAt {
    /// By the link to this relay.
    Relay(RelayId),
    /// By the session with a node.
    Session(SessionId),
}

/// The debts to a peer that mail must carry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Owed {
    /// Receipts for entries that arrived by mail.
    receipts: bool,
    /// The request to seal its messages again, because this node has lost the key for which they
    /// were sealed.
    request: bool,
}

impl Owed {
    fn to_row(self, (peer, room): OwedKey) -> MailRow {
        let value = vec![u8::from(self.receipts), u8::from(self.request)];
        let room = room.iter().flat_map(|room| room.as_bytes());
        MailRow {
            kind: MailKind::Owed,
            name: peer.as_bytes().iter().chain(room).copied().collect(),
            value: (self != Self::default()).then_some(value),
        }
    }

    fn read(row: &MailRow) -> Option<(OwedKey, Self)> {
        let (peer, room) = row.name.split_first_chunk::<32>()?;
        let room = match room {
            [] => None,
            room => Some(ConversationId::from_bytes(room.try_into().ok()?)),
        };
        let [receipts, request] = row.value.as_deref()?.try_into().ok()?;
        let owed = Self {
            receipts: receipts != 0,
            request: request != 0,
        };
        Some(((DeviceId::from_bytes(*peer), room), owed))
    }
}

/// A peer, and a room or the direct conversation.
type OwedKey = (DeviceId, Option<ConversationId>);

/// A session by mail.
#[derive(Debug)]
struct MailSession {
    peer: DeviceId,
    /// The room that it is about. `None`: the direct conversation.
    room: Option<ConversationId>,
    /// Where its envelopes go. `None`: it only receives, and its frames are dropped.
    holder: Option<HolderAt>,
    outgoing: Outgoing,
    /// Envelopes that the holder has not answered.
    in_flight: usize,
    /// Batches that arrived and that the replica has not finished.
    arriving: usize,
    /// The contents that were handed out to this session. `reading`: one is being read.
    contents_begun: BTreeSet<OfferId>,
    reading: bool,
    /// Whether the peer asks to seal again all that it has not confirmed.
    resend: bool,
}

/// Everything about mail.
#[derive(Debug)]
pub(crate) struct Mail {
    key: Arc<SecretKey>,
    own: OwnMailbox,
    contacts: ContactBoxes,
    held: Held,
    /// The holders to which there is a stream.
    holders: BTreeMap<HolderAt, Holder>,
    /// How many streams to other nodes there were.
    streams: u64,
    reopening: Reopening,
    /// The known facts about holders of this node's mail that are not connected.
    former: BTreeMap<DeviceId, Facts>,
    refusals: Refusals,
    /// The same for messages in rooms, and for contents, which may be refused though others are
    /// not.
    room_refusals: Refusals,
    content_refusals: Refusals,
    members: RoomMembers,
    unanswered: Unanswered,
    sessions: BTreeMap<SessionId, MailSession>,
    /// Peers that must get something by mail.
    owed: BTreeMap<OwedKey, Owed>,
    /// For which newest key of a contact its messages were deposited again in this run.
    resent_for: BTreeMap<DeviceId, KeyId>,
    contents: WaitingContents,
    /// When to begin a session by mail with a peer that is away.
    due: BTreeMap<DeviceId, Duration>,
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
        let mail = Self {
            key,
            own,
            contacts: ContactBoxes::restore(rows),
            held: Held::restore(rows, wall_ms),
            holders: BTreeMap::new(),
            streams: 0,
            reopening: Reopening::default(),
            former: BTreeMap::new(),
            refusals: Refusals::default(),
            room_refusals: Refusals::default(),
            content_refusals: Refusals::default(),
            members: RoomMembers::restore(rows),
            unanswered: Unanswered::default(),
            sessions: BTreeMap::new(),
            owed: owed.filter_map(Owed::read).collect(),
            resent_for: BTreeMap::new(),
            contents: WaitingContents::restore(rows),
            due: BTreeMap::new(),
            count_at: RUNNING_EVERY,
        };
        (mail, to_store)
    }

    /// This node's key.
    pub(super) fn key(&self) -> Arc<SecretKey> {
        self.key.clone()
    }

    /// The session by mail with a peer about a room, or about their direct conversation.
    fn session_in(&self, peer: DeviceId, room: Option<ConversationId>) -> Option<SessionId> {
        let mut all = self.sessions.iter();
        all.find(|(_, session)| session.peer == peer && session.room == room)
            .map(|(id, _)| *id)
    }

    /// The sessions by mail with a peer.
    fn sessions_with(&self, peer: DeviceId) -> Vec<SessionId> {
        let all = self.sessions.iter();
        let of_peer = all.filter(|(_, session)| session.peer == peer);
        of_peer.map(|(id, _)| *id).collect()
    }

    /// A connected holder at which this node may deposit for a peer, and that has not refused a
    /// deposit for it a moment ago.
    fn holder_for(&self, peer: DeviceId, now: Duration) -> Option<HolderAt> {
        let of_peer = self.contacts.get(peer)?;
        let takes = |holder: &Holder| {
            of_peer.token(holder.id).is_some() && !self.refusals.is_refusing(peer, holder.id, now)
        };
        let mut holders = self.holders.iter();
        holders.find(|(_, holder)| takes(holder)).map(|(at, _)| *at)
    }

    /// The same for messages in rooms.
    fn holder_for_rooms(&self, peer: DeviceId, now: Duration) -> Option<HolderAt> {
        let at = self.holder_for(peer, now)?;
        let id = self.holders[&at].id;
        (!self.room_refusals.is_refusing(peer, id, now)).then_some(at)
    }

    /// A peer is away: something is due then, if nothing is earlier.
    fn due_by(&mut self, peer: DeviceId, at: Duration) {
        let due = self.due.entry(peer).or_insert(at);
        *due = at.min(*due);
    }

    /// The holders of this node's mail, the best first. A node that was connected in this run
    /// counts, because it may return before this node does. A relay that this node has left does
    /// not.
    fn holder_ids(&self) -> impl Iterator<Item = DeviceId> {
        let connected = self.holders.values().filter(|holder| holder.is_own);
        let connected = connected.filter(|holder| holder.holding().is_some());
        let nodes = self.former.iter().filter(|(_, facts)| facts.is_node);
        let connected = connected.map(|holder| holder.id);
        connected.chain(nodes.map(|(id, _)| *id))
    }

    /// Whether a connected holder has not answered an envelope for a peer about this conversation.
    fn is_on_its_way(&self, peer: DeviceId, room: Option<ConversationId>) -> bool {
        self.holders
            .values()
            .any(|holder| holder.is_asked_for(peer, room))
    }

    /// A holder of this node's mail is not connected any more.
    fn remember(&mut self, holder: DeviceId, facts: Facts) {
        self.former.insert(holder, facts);
        if self.former.len() > FORMER_MAX {
            self.former.pop_first();
        }
    }

    /// Why no holder takes messages for a peer that is away.
    pub(super) fn refused(&self, peer: DeviceId) -> Option<MailRefusal> {
        self.refusals.why(peer)
    }

    fn owed(&self, peer: DeviceId, room: Option<ConversationId>) -> Owed {
        self.owed.get(&(peer, room)).copied().unwrap_or_default()
    }

    /// Changes what a peer must get by mail. Returns the row to store, if that is a change.
    fn owe(
        &mut self,
        peer: DeviceId,
        room: Option<ConversationId>,
        change: impl FnOnce(&mut Owed),
    ) -> Option<MailRow> {
        let before = self.owed(peer, room);
        let mut owed = before;
        change(&mut owed);
        if owed == Owed::default() {
            self.owed.remove(&(peer, room));
        } else {
            self.owed.insert((peer, room), owed);
        }
        (owed != before).then(|| owed.to_row((peer, room)))
    }

    /// A contact asks to seal again what it has not confirmed. Returns whether that was not done
    /// for its newest key yet.
    fn may_resend(&mut self, peer: DeviceId) -> bool {
        let Some(of_peer) = self.contacts.get(peer) else {
            return false;
        };
        let key = of_peer.record.record().key;
        self.resent_for.insert(peer, key) != Some(key)
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        let due = self.due.values().copied().min();
        let retries = self.holders.values().filter_map(Holder::retry_at);
        let reopening = self.reopening.next();
        let due = due.into_iter().chain(reopening);
        due.chain(retries).chain([self.count_at]).min()
    }

    /// The peers for which a session by mail is due.
    fn take_due(&mut self, now: Duration) -> Vec<DeviceId> {
        let is_due = |(_, at): &(&DeviceId, &Duration)| **at <= now;
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

    fn peer(n: u8) -> DeviceId {
        DeviceId::from_bytes([n; 32])
    }

    fn restored(rows: &[MailRow]) -> Mail {
        let key = Arc::new(SecretKey::from_seed([1; 32]));
        Mail::restore(key, rows, [7; 32], 1_000).0
    }

    #[test]
    fn receipts_and_requests_are_owed_across_a_restart() {
        let mut mail = restored(&[]);
        mail.owe(peer(2), None, |owed| owed.receipts = true)
            .expect("new");
        assert_eq!(mail.owe(peer(2), None, |owed| owed.receipts = true), None);
        let row = mail
            .owe(peer(2), None, |owed| owed.request = true)
            .expect("new");
        let mut mail = restored(&[row]);
        let both = Owed {
            receipts: true,
            request: true,
        };
        assert_eq!(mail.owed(peer(2), None), both);
        mail.owe(peer(2), None, |owed| owed.request = false)
            .expect("new");
        let row = mail.owe(peer(2), None, |owed| owed.receipts = false);
        assert_eq!(row.expect("new").value, None);
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
