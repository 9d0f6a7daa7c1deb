//! The engine's side of transfers: what they hear of sessions and offers, and what they ask of the
//! replica.

use hobnob_core::SessionId;
use hobnob_protocol::{Body, CheckedBatch, Frame, LogName, OfferId, OfferWord, Seq};

use super::state::Engine;
use crate::api::{Event, MessageId};
use crate::files::FileInfo;
use crate::transfers::messages::{FileNews, FromTransfers, ToTransfers};

impl Engine {
    /// A peer says something of an offer: it counts if the peer may have its entry.
    pub(super) fn offer_word(&self, id: SessionId, offer: OfferId, word: OfferWord) {
        let Some(link) = self.sessions.live.get(&id) else {
            return;
        };
        if self.replica.may_have(id, offer.name, offer.seq) {
            self.files.send(ToTransfers::Word(link.peer, offer, word));
        }
    }

    /// Entries from others are on disk: transfers hear of the offers among them.
    pub(super) fn offers_received(
        &self,
        batch: &CheckedBatch,
        first: Seq,
        last: Seq,
        received_at_ms: u64,
    ) {
        let name = batch.batch.name;
        if name.author == self.me || !self.policy.policies.shows(name.author) {
            return;
        }
        let verified = self.policy.policies.of(name.author).verified.is_some();
        for seq in first..=last {
            if let Some(Body::Offer(offer)) = batch.at(seq).map(|entry| &entry.entry.body) {
                let id = OfferId { name, seq };
                self.files
                    .offered(id, offer.clone(), verified, received_at_ms);
            }
        }
    }

    pub(super) fn transfers_ask(&self, what: FromTransfers) {
        match what {
            FromTransfers::MayHave(session, offer, reply) => {
                let _ = reply.send(self.replica.may_have(session, offer.name, offer.seq));
            }
            FromTransfers::Say(offer, word, only) => {
                let frame = Frame::Offer(offer, word).encode();
                let may_hear = |id: SessionId| {
                    only.is_none_or(|only| only == id)
                        && self.replica.may_have(id, offer.name, offer.seq)
                };
                for (_, link) in self.sessions.live.iter().filter(|(id, _)| may_hear(**id)) {
                    link.session.send_control(frame.clone());
                }
            }
            FromTransfers::News(news) => self
                .reports
                .events
                .publish_all(self.file_infos(news).into_iter().map(Event::File)),
            FromTransfers::Name(news, reply) => drop(reply.send(Ok(self.file_infos(news)))),
        }
    }

    fn file_infos(&self, news: Vec<FileNews>) -> Vec<FileInfo> {
        news.into_iter()
            .filter_map(|news| self.file_info(news))
            .collect()
    }

    fn file_info(&self, news: FileNews) -> Option<FileInfo> {
        let OfferId { name, seq } = news.id;
        let link = news
            .peers
            .first()
            .and_then(|peer| self.sessions.with(*peer));
        Some(FileInfo {
            id: MessageId { log: name.log, seq },
            conversation: self.conversation_ref(name.conversation)?,
            from: name.author,
            picture: self.files.picture(&news.offer),
            name: self.peers.name(name.author),
            offer: news.offer,
            own: name.author == self.me,
            state: news.state,
            bytes: news.bytes,
            rate: news.rate,
            path: link.map(|link| self.network.path_kind(link.session.remote_addr())),
            peers: news.peers,
            place: news.place,
            why: news.why,
            received_at_ms: news.received_at_ms,
        })
    }

    /// An own entry is on disk: transfers hear of it if it is an offer.
    pub(super) fn offer_made(&self, name: LogName, seq: Seq, body: &Body, received_at_ms: u64) {
        if let Body::Offer(offer) = body {
            let id = OfferId { name, seq };
            self.files.offered(id, offer.clone(), false, received_at_ms);
        }
    }
}
