//! Carries out what concerns mail that arrives: envelopes are opened, judged by the replica, and
//! deleted at their holder.

use bytes::Bytes;
use hobnob_core::SessionId;
use hobnob_core::policy::DenyReason;
use hobnob_core::replica::{self, Refusal};
use hobnob_protocol::mailbox::{DepositToken, Envelope, Waiting};
use hobnob_protocol::record::MailboxRecord;
use hobnob_protocol::{ConversationId, DeviceId, Frame, OfferId, Signature, SignedRecord};
use tracing::debug;

use super::super::state::Engine;
use super::HolderAt;
use super::holder::{AfterPage, Holder};
use super::page::{ArrivedBatch, Content, Page, PageItem};
use crate::transfers::messages::ToTransfers;

/// Why an envelope can't be opened.
enum Unopened {
    /// It is malformed, or its signature is wrong.
    Invalid,
    /// It is sealed for a key that this node does not have any more.
    LostKey,
    /// It is sealed for a key that this node does not have yet: a newer copy of this home made it.
    NewerKey,
}

impl Engine {
    pub(super) fn envelope_arrives(&mut self, at: HolderAt, waiting: Waiting) {
        let holder = self.mail.holders.get(&at);
        if !holder.is_some_and(Holder::expects_envelope) {
            return;
        }
        let (number, sender, bytes) = (waiting.number, waiting.sender, waiting.envelope.len());
        let content = match self.policy.denies(sender.person(), self.clock.now()) {
            // Its mail waits as its sessions do.
            Some(DenyReason::Kicked) => Content::Later,
            Some(DenyReason::Blocked | DenyReason::NameTaken) => {
                self.drop_mail_of(sender);
                Content::Useless
            }
            None => self.envelope_content(at, waiting),
        };
        let holder = self.mail.holders.get_mut(&at);
        holder.expect("looked up above").arrives(PageItem {
            number,
            sender,
            bytes,
            content,
        });
    }

    fn envelope_content(&mut self, at: HolderAt, waiting: Waiting) -> Content {
        let sender = waiting.sender;
        match self.open_envelope(waiting) {
            Ok(frames) if self.policy.is_contact(sender.person()) => {
                Content::Batches(self.judge_mail(at, sender, frames))
            }
            Ok(_) => Content::Useless,
            Err(Unopened::LostKey) if self.policy.is_contact(sender.person()) => {
                self.must_seal_again(at, sender);
                Content::Useless
            }
            Err(Unopened::LostKey | Unopened::Invalid) => Content::Useless,
            Err(Unopened::NewerKey) => Content::UnknownKey,
        }
    }

    /// An envelope of a blocked peer is deleted unread. If the user undoes the block, the peer is asked
    /// to send again what was in it.
    fn drop_mail_of(&mut self, sender: DeviceId) {
        if self.policy.is_contact(sender.person()) {
            let row = self.mail.owe(sender, None, |owed| owed.request = true);
            self.store.set_mail(row);
        }
    }

    /// Opens an envelope, or says why that is impossible.
    fn open_envelope(&self, waiting: Waiting) -> Result<Vec<Frame>, Unopened> {
        let sender = waiting.sender;
        let invalid = |error| {
            debug!(?sender, "dropped: {error}");
            Unopened::Invalid
        };
        let envelope = Envelope::from_bytes(waiting.envelope.into()).map_err(invalid)?;
        let Some(key) = self.mail.own.key(envelope.key) else {
            debug!(
                ?sender,
                "an envelope is for a key that this node does not have"
            );
            let is_newer = envelope.key > self.mail.own.newest();
            return Err(if is_newer {
                Unopened::NewerKey
            } else {
                Unopened::LostKey
            });
        };
        let opened = envelope.open(key, sender, self.device).map_err(invalid)?;
        Ok(opened.frames)
    }

    /// An envelope of a contact is sealed for a key that this node has lost, for example because it
    /// was restored from a backup. The contact still has all messages in it. The request is on disk
    /// before the envelope is deleted at the holder.
    fn must_seal_again(&mut self, at: HolderAt, sender: DeviceId) {
        let Some(row) = self.mail.owe(sender, None, |owed| owed.request = true) else {
            return;
        };
        self.store.set_mail([row]);
        let id = self.mail_session_from(at, sender);
        self.request_again(id);
    }

    /// A contact has lost the key for which its mail was sealed. It names its newest one.
    fn seal_again_requested(
        &mut self,
        id: SessionId,
        record: &SignedRecord,
        tokens: Vec<(DeviceId, DepositToken)>,
    ) {
        let session = self.mail.sessions.get(&id);
        let peer = session.expect("the caller has looked it up").peer;
        let Ok(record) = record.clone().check::<MailboxRecord>(peer) else {
            return debug!(?peer, "refused by mail: a mailbox record");
        };
        let row = self.mail.contacts.learn(peer, record, tokens);
        self.store.set_mail(row);
        if self.mail.may_resend(peer) {
            let session = self.mail.sessions.get_mut(&id);
            session.expect("looked up above").resend = true;
        }
    }

    /// Passes the frames of a contact's envelope to the replica. Returns the batches that it judges.
    fn judge_mail(
        &mut self,
        at: HolderAt,
        sender: DeviceId,
        frames: Vec<Frame>,
    ) -> Vec<ArrivedBatch> {
        let (rooms, direct): (Vec<_>, Vec<_>) = frames
            .into_iter()
            .partition(|frame| matches!(frame, Frame::Room(_)));
        let mut batches = Vec::new();
        if !direct.is_empty() {
            let id = self.mail_session_from(at, sender);
            batches.extend(self.judge_in(id, sender, None, direct));
        }
        for frame in rooms {
            let Frame::Room(mail) = frame else { continue };
            let Some((room, mut frames)) = self.open_room_mail(sender, &mail) else {
                debug!(?sender, "mail about a room that this node is not in");
                continue;
            };
            // All other kinds are about the direct conversation.
            frames
                .retain(|it| matches!(it, Frame::Batch(_) | Frame::Have(..) | Frame::Want { .. }));
            let id = self.mail_session_in(at, sender, room);
            batches.extend(self.judge_in(id, sender, Some(room), frames));
        }
        batches
    }

    fn judge_in(
        &mut self,
        id: SessionId,
        sender: DeviceId,
        room: Option<ConversationId>,
        frames: Vec<Frame>,
    ) -> Vec<ArrivedBatch> {
        if frames.iter().any(|frame| matches!(frame, Frame::Batch(_))) {
            // On disk no later than the entries, which are deleted at the holder afterwards.
            let row = self.mail.owe(sender, room, |owed| owed.receipts = true);
            self.store.set_mail(row);
        }
        let frames = frames.into_iter();
        frames
            .filter_map(|frame| self.mailed_frame(id, frame))
            .collect()
    }

    /// The session by mail with the sender of an envelope.
    fn mail_session_from(&mut self, at: HolderAt, sender: DeviceId) -> SessionId {
        if let Some(id) = self.mail.session_in(sender, None) {
            return id;
        }
        let is_here = self.sessions.with(sender).is_some();
        let now = self.clock.now().mono;
        let holder = self.mail.holder_for(sender, now).filter(|_| !is_here);
        self.begin_mail(sender, None, holder, self.source_of(at))
    }

    /// Passes on a frame. Returns the batch in it, unless it is malformed.
    fn mailed_frame(&mut self, id: SessionId, frame: Frame) -> Option<ArrivedBatch> {
        if let Frame::Batch(batch) = frame {
            let (name, first, signature) = (batch.name, batch.first, batch.signature);
            let last = batch.clone().read().ok()?.last();
            let was_settled = self.replica.has_settled(name, first, last);
            let session = self.mail.sessions.get_mut(&id);
            session.expect("the caller has looked it up").arriving += 1;
            self.tell_replica(replica::Input::Batch(id, batch));
            return Some(ArrivedBatch::new(name, first, last, signature, was_settled));
        }
        if let Frame::Content {
            id: offer,
            part,
            bytes,
        } = frame
        {
            self.mailed_part(id, offer, part, bytes);
        } else if let Frame::Mailbox { record, tokens } = frame {
            self.seal_again_requested(id, &record, tokens);
        } else if !frame.needs_connection() {
            self.tell_replica(replica::Input::Frame(id, frame));
        }
        None
    }

    /// A part of the content of an offer. The envelope waits until it is on disk.
    fn mailed_part(&mut self, id: SessionId, offer: OfferId, part: u8, bytes: Bytes) {
        let session = self.mail.sessions.get_mut(&id);
        let session = session.expect("the caller has looked it up");
        let peer = session.peer;
        let author = session.peer.person();
        let direct = ConversationId::direct(self.me, author);
        if offer.name.author != author || offer.name.conversation != direct {
            return debug!(?peer, "refused by mail: content of another's offer");
        }
        session.arriving += 1;
        self.files.send(ToTransfers::MailedPart {
            id: offer,
            part,
            bytes,
            session: id,
        });
    }

    /// A part is on disk, or can't be stored.
    pub(in crate::engine) fn mailed_part_stored(&mut self, id: SessionId) {
        // The session may have ended.
        if let Some(session) = self.mail.sessions.get_mut(&id) {
            session.arriving = session.arriving.saturating_sub(1);
        }
    }

    /// The replica has finished with batches of a session by mail.
    pub(in crate::engine) fn mail_released(&mut self, id: SessionId, batches: usize) {
        let session = self.mail.sessions.get_mut(&id);
        let session = session.expect("the caller has looked it up");
        session.arriving = session.arriving.saturating_sub(batches);
    }

    /// The replica refused something that arrived by mail.
    pub(in crate::engine) fn mail_refused(
        &mut self,
        id: SessionId,
        batch: Option<Signature>,
        refusal: &Refusal,
    ) {
        let session = self.mail.sessions.get(&id);
        let sender = session.expect("the caller has looked it up").peer;
        debug!(?sender, "refused by mail: {refusal}");
        // Batches after a gap are accepted when the gap is filled.
        let for_good = !matches!(refusal, Refusal::Gap);
        if let Some(signature) = batch.filter(|_| for_good) {
            let holders = self.mail.holders.values_mut();
            holders.for_each(|holder| holder.refused(sender, signature));
        }
    }

    /// Finishes pages that are handled, and deposits what waits. The loop calls this after the
    /// replica's outputs, so refusals of a page are known, and what was written together shares an
    /// envelope.
    pub(in crate::engine) fn advance_mail(&mut self) {
        self.finish_pages();
        self.deposit_waiting();
        self.end_idle_room_mail();
    }

    /// Deletes the envelopes of pages that are handled at their holders, and requests the next ones.
    fn finish_pages(&mut self) {
        let all: Vec<_> = self.mail.holders.keys().copied().collect();
        for at in all {
            let holder = self.mail.holders.get(&at).expect("listed just now");
            let mut sessions = self.mail.sessions.values();
            if sessions.any(|it| it.arriving > 0 && holder.page_is_from(it.peer)) {
                continue;
            }
            let holder = self.mail.holders.get_mut(&at).expect("listed just now");
            if let Some((page, more)) = holder.take_page() {
                self.page_is_handled(at, &page, more);
            }
        }
    }

    fn page_is_handled(&mut self, at: HolderAt, page: &Page, more: bool) {
        let now = self.clock.now();
        let replica = &self.replica;
        let decided = page.decide(|name, first, last| replica.has_settled(name, first, last));
        let holder = self.mail.holders.get_mut(&at);
        let holder = holder.expect("the caller has looked it up");
        let last = page.last().filter(|_| more);
        if holder.page_decided(&decided, last, now) == AfterPage::AllFetched {
            self.all_fetched(at);
        }
        if decided.settled {
            let others = self
                .mail
                .holders
                .iter_mut()
                .filter(|(other, _)| **other != at);
            others.for_each(|(_, holder)| holder.settled_elsewhere());
        }
        self.rest_mail();
    }

    /// Sessions by mail that only received end when all of it is handled.
    fn rest_mail(&mut self) {
        let sessions = self.mail.sessions.iter();
        let idle = sessions.filter(|(_, session)| session.arriving == 0);
        let mut over = Vec::new();
        for (id, session) in idle {
            let is_over = session.holder.is_none() || self.paths.session(session.peer).is_some();
            if is_over || session.resend {
                over.push((*id, session.peer, session.resend));
            }
        }
        for (id, peer, resend) in over {
            if resend {
                let rows = self.mail.held.forget(peer);
                self.store.set_mail(rows);
                self.outbox.note_nothing_held(peer);
                self.end_mail_with(peer);
            }
            self.end_mail(id);
            self.expect_mail(peer);
        }
    }

    /// A holder has no more mail for this node: old keys can go, and a new one may begin.
    fn all_fetched(&mut self, at: HolderAt) {
        let before = self.mail.own.newest();
        let rows = self.mail.own.renew(self.clock.now().wall_ms);
        let destroyed = rows.iter().any(|row| row.value.is_none());
        self.store.set_mail(rows);
        if destroyed {
            // Otherwise the key stays in the write-ahead log.
            drop(self.store.scrub());
        }
        if self.mail.own.newest() != before {
            debug!(?at, "a new mailbox key");
            let all: Vec<_> = self.mail.holders.keys().copied().collect();
            all.into_iter().for_each(|at| self.hold_at(at));
            self.send_mailbox_to_all();
        }
    }
}
