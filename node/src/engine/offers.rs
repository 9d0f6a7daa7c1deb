//! The engine's side of transfers: informs them of offers, and answers their requests.

use hobnob_core::SessionId;
use hobnob_protocol::{Body, CheckedBatch, Frame, LogName, OfferId, OfferWord, Seq};

use super::state::Engine;
use crate::api::{Event, MessageId};
use crate::files::FileInfo;
use crate::store::StoredOffer;
use crate::transfers::messages::{FileUpdate, FromTransfers, ToTransfers};

impl Engine {
    /// A peer sends a word about an offer. It counts if the peer may have the offer's entry.
    pub(super) fn offer_word(&self, id: SessionId, offer: OfferId, word: OfferWord) {
        let state = self.sessions.get(id);
        let peer = state.expect("the callers act on live sessions only").peer();
        if self.replica.may_have(id, offer.name, offer.seq) {
            self.files
                .send(ToTransfers::PeerWord(peer.person(), offer, word));
        }
    }

    /// Entries of other authors are on disk. Informs transfers of the offers among them.
    pub(super) fn offers_received(
        &self,
        batch: &CheckedBatch,
        first: Seq,
        last: Seq,
        received_at_ms: u64,
    ) {
        let name = batch.batch.name;
        if name.author == self.me || !self.policy.shows(name.author) {
            return;
        }
        let verified = self.policy.is_verified(name.author);
        for seq in first..=last {
            if let Some(Body::Offer(offer)) = batch.at(seq).map(|entry| &entry.entry.body) {
                let id = OfferId { name, seq };
                self.files
                    .offered(id, offer.clone(), verified, received_at_ms);
            }
        }
    }

    /// Transfers ask for something.
    pub(super) fn transfers_request(&mut self, request: FromTransfers) {
        match request {
            FromTransfers::MayHave(session, offer, reply) => {
                let _ = reply.send(self.replica.may_have(session, offer.name, offer.seq));
            }
            FromTransfers::SendWord(offer, word, only) => {
                let may_hear = |id: SessionId| {
                    only.is_none_or(|only| only == id)
                        && self.replica.may_have(id, offer.name, offer.seq)
                };
                self.sessions
                    .send_to_all(&Frame::Offer(offer, word), may_hear);
                match word {
                    OfferWord::Paused => self.mail_content_pauses(offer),
                    OfferWord::Resumed => self.mail_content_resumes(offer),
                    OfferWord::Whole
                    | OfferWord::Declined
                    | OfferWord::Withdrawn
                    | OfferWord::Changed
                    | OfferWord::Failed
                    | OfferWord::Unknown(_) => {}
                }
            }
            FromTransfers::PartStored(session) => self.mailed_part_stored(session),
            FromTransfers::ReadForMail(session, offer, content) => {
                self.mail_content(session, offer, &content);
            }
            FromTransfers::Publish(updates) => {
                let infos = self.file_infos(updates);
                self.reports.events(infos.into_iter().map(Event::File));
            }
            FromTransfers::Describe(updates, reply) => {
                drop(reply.send(Ok(self.file_infos(updates))));
            }
        }
    }

    fn file_infos(&self, updates: Vec<FileUpdate>) -> Vec<FileInfo> {
        updates
            .into_iter()
            .filter_map(|update| self.file_info(update))
            .collect()
    }

    fn file_info(&self, update: FileUpdate) -> Option<FileInfo> {
        let StoredOffer {
            id: OfferId { name, seq },
            offer,
            received_at_ms,
        } = update.offer;
        let first = update.peers.first();
        let session = first.and_then(|peer| self.sessions.with(peer.only_device()));
        Some(FileInfo {
            id: MessageId { log: name.log, seq },
            conversation: self.conversation_ref(name.conversation)?,
            from: name.author,
            picture: self.files.picture(&offer),
            name: self.peers.name(name.author),
            offer,
            own: name.author == self.me,
            state: update.state,
            bytes: update.bytes,
            rate: update.rate,
            path: session.map(|state| self.network.path_kind(state.remote_addr())),
            peers: update.peers,
            place: update.place,
            why: update.why,
            received_at_ms,
        })
    }

    /// An entry of this node is on disk. Informs transfers if it is an offer.
    pub(super) fn offer_made(&self, name: LogName, seq: Seq, body: &Body, received_at_ms: u64) {
        if let Body::Offer(offer) = body {
            let id = OfferId { name, seq };
            self.files.offered(id, offer.clone(), false, received_at_ms);
        }
    }
}
