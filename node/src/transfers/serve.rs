//! Serves content to one peer: each ask is checked anew, against the rule of who may have the
//! offer's entry.

use std::sync::Arc;

use bytes::Bytes;
use hobnob_protocol::content::{Answer, Ask};
use hobnob_protocol::{Body, ContentHash, Offer, OfferId};
use tokio::sync::{mpsc, oneshot};

use super::line::EngineLine;
use super::stock::{Stock, StockError, Stocked};
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
    Failed(OfferId, StockError),
}

/// What is needed to serve.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) session: SessionId,
    pub(super) engine: EngineLine,
    pub(super) offers: OfferStore,
    pub(super) stock: Stock,
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
        let mut open: Option<(ContentHash, Arc<Stocked>)> = None;
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
        ask: Ask,
        open: &mut Option<(ContentHash, Arc<Stocked>)>,
    ) -> Result<(), Refusal> {
        let offer = self
            .offer(ask.offer)
            .await
            .ok_or(Refusal::Answer(Answer::Refused))?;
        let stocked = match open {
            Some((hash, stocked)) if *hash == offer.hash => stocked.clone(),
            _ => {
                let stocked = self.open(ask.offer, &offer).await?;
                open.insert((offer.hash, stocked)).1.clone()
            }
        };
        if !ask.fits(stocked.shape) {
            return Err(Refusal::Stream(StreamEnd::Broken));
        }
        self.send(stream, ask, &stocked).await
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

    async fn open(&self, id: OfferId, offer: &Offer) -> Result<Arc<Stocked>, Refusal> {
        let (stock, hash, size) = (self.stock.clone(), offer.hash, offer.size);
        let found = tokio::task::spawn_blocking(move || stock.find(hash, size)).await;
        match found.unwrap_or_else(|error| Err(std::io::Error::other(error).into())) {
            Ok(stocked) => Ok(Arc::new(stocked)),
            Err(error) => Err(self.failed(id, error).await),
        }
    }

    async fn send(
        &self,
        stream: &mut ContentStream,
        ask: Ask,
        stocked: &Arc<Stocked>,
    ) -> Result<(), Refusal> {
        let proof = self.read(ask.offer, stocked, move |stocked| {
            Ok(stocked.proof(ask.span)?)
        });
        let pieces_read = self.read(ask.offer, stocked, pieces(ask, 0));
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
                .then(|| self.read(ask.offer, stocked, pieces(ask, done)));
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
        stocked: &Arc<Stocked>,
        read: impl FnOnce(&Stocked) -> Result<Bytes, StockError> + Send + 'static,
    ) -> oneshot::Receiver<Result<Bytes, Answer>> {
        let (answer, answered) = oneshot::channel();
        let (stocked, reports) = (stocked.clone(), self.reports.clone());
        tokio::task::spawn_blocking(move || {
            let bytes = read(&stocked).map_err(|error| {
                let answer = answer_to(&error);
                let _ = reports.blocking_send(Served::Failed(id, error));
                answer
            });
            let _ = answer.send(bytes);
        });
        answered
    }

    async fn failed(&self, id: OfferId, error: StockError) -> Refusal {
        let answer = answer_to(&error);
        let _ = self.reports.send(Served::Failed(id, error)).await;
        Refusal::Answer(answer)
    }
}

fn answer_to(error: &StockError) -> Answer {
    match error {
        StockError::Missing(_) => Answer::NotHere,
        StockError::Changed(_) => Answer::Changed,
    }
}

async fn got(read: oneshot::Receiver<Result<Bytes, Answer>>) -> Result<Bytes, Refusal> {
    read.await
        .unwrap_or(Err(Answer::NotHere))
        .map_err(Refusal::Answer)
}

/// A read of some pieces of an ask.
fn pieces(
    ask: Ask,
    from: u64,
) -> impl FnOnce(&Stocked) -> Result<Bytes, StockError> + Send + 'static {
    let all = ask.pieces();
    let start = all.start + from;
    move |stocked| stocked.pieces(start..all.end.min(start + PIECES_PER_READ))
}
