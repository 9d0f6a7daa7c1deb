//! Serves content to one peer: each ask is checked anew, against the rule of who may have the
//! offer's entry.

use std::sync::Arc;

use bytes::Bytes;
use hobnob_protocol::content::{Answer, PieceRequest};
use hobnob_protocol::{Body, ContentHash, Offer, OfferId};
use tokio::sync::{mpsc, oneshot};

use super::content_index::{ContentError, ContentIndex, IndexedContent};
use super::messages::EngineLine;
use crate::net::content::{ContentStream, StreamEnd};
use crate::store::{OfferStore, WhichOffers};
use hobnob_core::SessionId;
use hobnob_core::commit::OfferState;

/// Pieces that are read together: what is held in memory for a peer is this, twice.
const PIECES_PER_READ: u64 = 8;

/// What happens while content is served.
#[derive(Debug)]
pub(super) enum Served {
    /// So many bytes were handed over.
    Bytes(SessionId, OfferId, u64),
    /// The content is not there, or not what it was; with what to tell the user.
    Failed(OfferId, ContentError),
}

/// What is needed to serve.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) session: SessionId,
    pub(super) engine: EngineLine,
    pub(super) offers: OfferStore,
    pub(super) index: ContentIndex,
    pub(super) reports: mpsc::Sender<Served>,
}

/// Why an ask gets no content.
enum Refusal {
    Answer(Answer),
    BrokenOff,
    Stream(StreamEnd),
}

impl From<StreamEnd> for Refusal {
    fn from(end: StreamEnd) -> Self {
        Refusal::Stream(end)
    }
}

impl Server {
    /// Answers asks until the peer has no more, or breaks the rules.
    pub(super) async fn run(self, mut stream: ContentStream) {
        let mut open: Option<(ContentHash, Arc<IndexedContent>)> = None;
        while let Ok(Some(ask)) = stream.next_ask().await {
            match self.serve(&mut stream, ask, &mut open).await {
                Ok(()) => {}
                Err(Refusal::Answer(answer)) => {
                    if stream
                        .send(Bytes::copy_from_slice(&[answer.code()]))
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
                Err(Refusal::BrokenOff) => return stream.break_off(),
                Err(Refusal::Stream(end)) => {
                    return tracing::debug!(session = ?self.session, "a content stream ended: {end:?}");
                }
            }
        }
    }

    async fn serve(
        &self,
        stream: &mut ContentStream,
        ask: PieceRequest,
        open: &mut Option<(ContentHash, Arc<IndexedContent>)>,
    ) -> Result<(), Refusal> {
        let offer = self
            .offer(ask.offer)
            .await
            .ok_or(Refusal::Answer(Answer::Refused))?;
        let content = match open {
            Some((hash, content)) if *hash == offer.hash => content.clone(),
            _ => {
                let content = self.open(ask.offer, &offer).await?;
                open.insert((offer.hash, content)).1.clone()
            }
        };
        if !ask.fits(content.shape) {
            return Err(Refusal::Stream(StreamEnd::Broken));
        }
        self.send(stream, ask, &content).await
    }

    /// The offer, if the peer may have its entry, it is on disk, and it has not been taken back.
    async fn offer(&self, id: OfferId) -> Option<Offer> {
        if !self.engine.may_have(self.session, id).await {
            return None;
        }
        let rows = self
            .offers
            .read(WhichOffers::One(id.name.log, id.seq))
            .await
            .ok()?
            .ok()?;
        let row = rows.into_iter().find(|row| row.entry.name == id.name)?;
        let taken_back = row.record.state == OfferState::Declined;
        if let Body::Offer(offer) = row.entry.entry.body {
            (!taken_back).then_some(offer)
        } else {
            None
        }
    }

    async fn open(&self, id: OfferId, offer: &Offer) -> Result<Arc<IndexedContent>, Refusal> {
        let (index, hash, size) = (self.index.clone(), offer.hash, offer.size);
        let found = tokio::task::spawn_blocking(move || index.find(hash, size)).await;
        match found.unwrap_or_else(|error| Err(std::io::Error::other(error).into())) {
            Ok(content) => Ok(Arc::new(content)),
            Err(error) => Err(self.failed(id, error).await),
        }
    }

    async fn send(
        &self,
        stream: &mut ContentStream,
        ask: PieceRequest,
        content: &Arc<IndexedContent>,
    ) -> Result<(), Refusal> {
        let proof = self.read(ask.offer, content, move |content| {
            Ok(content.proof(ask.span)?)
        });
        let pieces_read = self.read(ask.offer, content, pieces(ask, 0));
        // Read before the first byte is sent, so that what can't be had is refused rather than
        // broken off.
        let (proof, mut bytes) = (got(proof).await?, got(pieces_read).await?);
        stream
            .send(Bytes::copy_from_slice(&[Answer::Here.code()]))
            .await?;
        stream.send(proof).await?;
        let mut done = PIECES_PER_READ;
        loop {
            let more = (done < u64::from(ask.count))
                .then(|| self.read(ask.offer, content, pieces(ask, done)));
            let len = bytes.len() as u64;
            stream.send(bytes).await?;
            // Whoever counts may be busy; no peer waits for that.
            let _ = self
                .reports
                .try_send(Served::Bytes(self.session, ask.offer, len));
            let Some(more) = more else { return Ok(()) };
            bytes = got(more).await.map_err(|_| Refusal::BrokenOff)?;
            done += PIECES_PER_READ;
        }
    }

    /// Reads in a thread that may wait for the disk. What fails is reported.
    fn read(
        &self,
        id: OfferId,
        content: &Arc<IndexedContent>,
        read: impl FnOnce(&IndexedContent) -> Result<Bytes, ContentError> + Send + 'static,
    ) -> oneshot::Receiver<Result<Bytes, Answer>> {
        let (answer, answered) = oneshot::channel();
        let (content, reports) = (content.clone(), self.reports.clone());
        tokio::task::spawn_blocking(move || {
            let bytes = read(&content).map_err(|error| {
                let answer = answer_to(&error);
                let _ = reports.blocking_send(Served::Failed(id, error));
                answer
            });
            let _ = answer.send(bytes);
        });
        answered
    }

    async fn failed(&self, id: OfferId, error: ContentError) -> Refusal {
        let answer = answer_to(&error);
        let _ = self.reports.send(Served::Failed(id, error)).await;
        Refusal::Answer(answer)
    }
}

fn answer_to(error: &ContentError) -> Answer {
    match error {
        ContentError::Missing(_) => Answer::NotHere,
        ContentError::Changed(_) => Answer::Changed,
    }
}

async fn got(read: oneshot::Receiver<Result<Bytes, Answer>>) -> Result<Bytes, Refusal> {
    read.await
        .unwrap_or(Err(Answer::NotHere))
        .map_err(Refusal::Answer)
}

/// A read of some pieces of an ask.
fn pieces(
    ask: PieceRequest,
    from: u64,
) -> impl FnOnce(&IndexedContent) -> Result<Bytes, ContentError> + Send + 'static {
    let all = ask.pieces();
    let start = all.start + from;
    move |content| content.pieces(start..all.end.min(start + PIECES_PER_READ))
}
