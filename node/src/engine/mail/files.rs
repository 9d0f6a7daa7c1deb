//! Carries out what concerns the contents of small files that travel by mail: how many, and when.

use hobnob_core::SessionId;
use hobnob_core::mail_refusal::MailRefusal;
use hobnob_protocol::mailbox::{CONTENT_PARTS_MAX, ENVELOPE_BYTES_MAX};
use hobnob_protocol::{DeviceId, OfferId};
use tracing::debug;

use super::super::state::Engine;
use super::holder::Deposited;
use crate::transfers::messages::{MailContent, ToTransfers};

/// Maximum bytes of one contact's mailbox that this node fills with contents of files: half of its
/// share. The rest is for messages.
const FILES_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The bytes that one content takes at most.
const ONE_CONTENT_MAX: u64 = (CONTENT_PARTS_MAX * ENVELOPE_BYTES_MAX) as u64;

impl Engine {
    /// Reads the next content for a session by mail, if the peer's mailbox may have one more.
    pub(super) fn read_next_content(&mut self, id: SessionId) {
        let Some(session) = self.mail.sessions.get(&id) else {
            return;
        };
        let (Some(at), None) = (session.holder, session.room) else {
            return;
        };
        let peer = session.peer;
        let mut waiting = self.mail.contents.of_peer(peer);
        let next = waiting.find(|offer| !session.contents_begun.contains(offer));
        let (Some(offer), Some(holder)) = (next, self.mail.holders.get(&at)) else {
            return;
        };
        let now = self.clock.now().mono;
        let on_the_way = holder.bytes_on_the_way(peer, |it| it.packed.content_of.is_some());
        let taken = self.mail.held.content_bytes(peer) + on_the_way;
        let is_busy = session.reading || session.outgoing.has_content();
        let is_refused = self.mail.content_refusals.is_refusing(peer, holder.id, now);
        if is_busy || is_refused || taken + ONE_CONTENT_MAX > FILES_BYTES_MAX {
            return;
        }
        let session = self.mail.sessions.get_mut(&id);
        let session = session.expect("looked up above");
        session.reading = true;
        session.contents_begun.insert(offer);
        self.files.send(ToTransfers::ReadForMail(id, offer));
    }

    /// The content of an offer of this node was read, for a session by mail, unless the offer is
    /// paused or withdrawn, or can't be read.
    pub(in crate::engine) fn mail_content(
        &mut self,
        id: SessionId,
        offer: OfferId,
        content: &MailContent,
    ) {
        // The session may have ended. The next one asks again.
        let Some(session) = self.mail.sessions.get_mut(&id) else {
            return;
        };
        session.reading = false;
        match content {
            MailContent::Read(content) => session.outgoing.content(offer, content),
            // It counts as begun until the user lets it continue, so others are next.
            MailContent::Paused => {}
            MailContent::None => {
                let row = self.mail.contents.remove(session.peer, &[offer]);
                self.store.set_mail(row);
            }
        }
    }

    /// The user pauses the sending of an offer of this node. Parts that are not deposited yet stay
    /// here.
    pub(in crate::engine) fn mail_content_pauses(&mut self, offer: OfferId) {
        for session in self.mail.sessions.values_mut() {
            session.outgoing.drop_content(offer);
        }
    }

    /// The user lets an offer of this node continue. All of its content is sent, also what was sent
    /// before.
    pub(in crate::engine) fn mail_content_resumes(&mut self, offer: OfferId) {
        for session in self.mail.sessions.values_mut() {
            session.contents_begun.remove(&offer);
        }
    }

    /// A part of a content is on the holder's disk.
    pub(super) fn content_is_held(&mut self, deposited: &Deposited, offer: OfferId) {
        let peer = deposited.peer;
        let bytes = u64::try_from(deposited.envelope.len()).expect("at most a frame");
        let row = self.mail.held.add_content(offer, bytes, peer);
        self.store.set_mail(row);
        let session = self.mail.sessions.get(&deposited.session);
        // If another part of it was refused, all of them are deposited again.
        let is_whole = session.is_some_and(|it| it.contents_begun.contains(&offer));
        if deposited.packed.ends_content && is_whole {
            let row = self.mail.contents.remove(peer, &[offer]);
            self.store.set_mail(row);
        }
    }

    /// A holder refused a part of a content. All of it is offered again later. Messages continue.
    pub(super) fn content_refused(
        &mut self,
        id: SessionId,
        offer: OfferId,
        holder: DeviceId,
        why: MailRefusal,
    ) {
        let session = self.mail.sessions.get_mut(&id);
        let session = session.expect("the caller has looked it up");
        let peer = session.peer;
        debug!(?peer, ?why, "a holder refused a part of a file");
        session.in_flight -= 1;
        session.outgoing.drop_content(offer);
        session.contents_begun.remove(&offer);
        let now = self.clock.now().mono;
        let again_at = self.mail.content_refusals.refused(peer, holder, why, now);
        self.mail.due_by(peer, again_at);
    }
}
