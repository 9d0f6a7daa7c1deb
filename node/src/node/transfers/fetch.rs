//! Fetches content on one session: asks go out at once, answers are read, proved and written in their order.

use std::sync::Arc;

use bytes::Bytes;
use hobnob_protocol::OfferId;
use hobnob_protocol::content::{Answer, Ask, LEAF_BYTES, Leaf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

use super::partial::{Partial, WriteError};
use crate::core::SessionId;
use crate::core::transfers::{ASKS_PER_SESSION, Failure};
use crate::net::content::{Answers, Asker, ContentOpener, StreamEnd};

/// Pieces that are written together at most. While the disk keeps up, each is written as it comes.
const PIECES_PER_WRITE: usize = 16;

/// What comes of asking.
#[derive(Debug)]
pub(super) enum Fetched {
    /// These pieces are written.
    Got(OfferId, Vec<u64>),
    /// An ask is through, one way or the other.
    Answered(SessionId, Ask, Result<(), Failure>),
    /// It could not be written here.
    NotWritten(OfferId, WriteError),
    /// The content stream of this session is no more.
    Ended(SessionId),
}

/// What is asked, and where it goes.
pub(super) type Order = (Ask, Arc<Partial>);

/// Someone who fetches on one session. Dropping it ends the content stream.
#[derive(Debug)]
pub(super) struct Fetcher {
    orders: mpsc::Sender<Order>,
    _task: AbortOnDropHandle<()>,
}

impl Fetcher {
    pub(super) fn start(session: SessionId, opener: ContentOpener, reports: mpsc::Sender<Fetched>) -> Self {
        let (orders, queue) = mpsc::channel(ASKS_PER_SESSION);
        let task = AbortOnDropHandle::new(tokio::spawn(run(session, opener, queue, reports)));
        Self { orders, _task: task }
    }

    /// Hands over an ask; whether it was taken.
    pub(super) fn ask(&self, order: Order) -> bool {
        self.orders.try_send(order).is_ok()
    }
}

async fn run(session: SessionId, opener: ContentOpener, mut orders: mpsc::Receiver<Order>, reports: mpsc::Sender<Fetched>) {
    let (asked, to_read) = mpsc::channel(ASKS_PER_SESSION);
    let rest = match opener.open().await {
        Ok((asker, answers)) => {
            let reading = Reading { session, answers, reports: reports.clone() };
            let (rest, ()) = tokio::join!(reading.run(to_read), write_asks(asker, &mut orders, asked));
            rest
        }
        Err(_) => to_read,
    };
    give_back(session, rest, orders, &reports).await;
    let _ = reports.send(Fetched::Ended(session)).await;
}

/// What was not answered is to be asked for elsewhere.
async fn give_back(
    session: SessionId,
    mut asked: mpsc::Receiver<Order>,
    mut orders: mpsc::Receiver<Order>,
    reports: &mpsc::Sender<Fetched>,
) {
    asked.close();
    orders.close();
    for mut queue in [asked, orders] {
        while let Ok((ask, _)) = queue.try_recv() {
            let _ = reports.send(Fetched::Answered(session, ask, Err(Failure::Lost))).await;
        }
    }
}

/// Writes asks as they come, until there are no more or nobody reads the answers.
async fn write_asks(mut asker: Asker, orders: &mut mpsc::Receiver<Order>, asked: mpsc::Sender<Order>) {
    loop {
        let order = tokio::select! {
            order = orders.recv() => order,
            () = asked.closed() => return,
        };
        let Some(order) = order else { return };
        // The answer's reader finds out what became of the stream.
        let _ = asker.ask(&order.0).await;
        if asked.send(order).await.is_err() {
            return;
        }
    }
}

struct Reading {
    session: SessionId,
    answers: Answers,
    reports: mpsc::Sender<Fetched>,
}

impl Reading {
    /// Reads answers until one ends the stream; gives back the asks that nothing was heard of.
    async fn run(mut self, mut asked: mpsc::Receiver<Order>) -> mpsc::Receiver<Order> {
        while let Some((ask, partial)) = asked.recv().await {
            let outcome = self.answer(ask, &partial).await;
            // After a whole answer, or a refusal, the next one follows on the stream.
            let goes_on = matches!(outcome, Ok(()) | Err((_, true)));
            let outcome = outcome.map_err(|(failure, _)| failure);
            let _ = self.reports.send(Fetched::Answered(self.session, ask, outcome)).await;
            if !goes_on {
                break;
            }
        }
        asked.close();
        asked
    }

    /// Reads one answer. A failure says whether the stream is still of use.
    async fn answer(&mut self, ask: Ask, partial: &Arc<Partial>) -> Result<(), (Failure, bool)> {
        let ended = |end| (of_end(end), false);
        match self.answers.next().await.map_err(ended)? {
            Answer::Here => {}
            Answer::NotHere => return Err((Failure::NotHere, true)),
            Answer::Refused => return Err((Failure::Refused, true)),
            Answer::Changed => return Err((Failure::Changed, true)),
        }
        let shape = partial.shape;
        let proof = self.leaves(shape.proof_len(ask.span)).await.map_err(ended)?;
        let leaves = self.leaves(shape.pieces_in(ask.span)).await.map_err(ended)?;
        if !shape.proves(partial.offer.hash, ask.span, &leaves, &proof) {
            return Err((Failure::Lies, false));
        }
        let mut writer = Writer::new(partial.clone(), leaves, self.reports.clone());
        for piece in ask.pieces() {
            if partial.is_cancelled() {
                return Err((Failure::Local, false));
            }
            let mut bytes = vec![0; shape.piece_len(piece)];
            let filled = self.answers.fill(&mut bytes).await;
            let taken = match filled {
                Ok(()) => writer.take(piece, bytes.into()).await,
                Err(end) => {
                    // What came before is as good as any.
                    let _ = writer.flush().await;
                    return Err(ended(end));
                }
            };
            taken.map_err(|failure| (failure, false))?;
        }
        writer.flush().await.map_err(|failure| (failure, false))
    }

    async fn leaves(&mut self, count: usize) -> Result<Vec<Leaf>, StreamEnd> {
        let mut leaves = vec![[0; LEAF_BYTES]; count];
        self.answers.fill(leaves.as_flattened_mut()).await?;
        Ok(leaves)
    }
}

fn of_end(end: StreamEnd) -> Failure {
    match end {
        StreamEnd::Lost | StreamEnd::Broken => Failure::Lost,
        StreamEnd::Changed => Failure::Changed,
    }
}

/// Writes one run of pieces while the next is read.
struct Writer {
    partial: Arc<Partial>,
    leaves: Arc<Vec<Leaf>>,
    reports: mpsc::Sender<Fetched>,
    waiting: Vec<(u64, Bytes)>,
    under_way: Option<JoinHandle<Result<Vec<u64>, WriteError>>>,
}

impl Writer {
    fn new(partial: Arc<Partial>, leaves: Vec<Leaf>, reports: mpsc::Sender<Fetched>) -> Self {
        Self { partial, leaves: Arc::new(leaves), reports, waiting: Vec::new(), under_way: None }
    }

    /// Takes a piece; waits only if the disk is far behind.
    async fn take(&mut self, piece: u64, bytes: Bytes) -> Result<(), Failure> {
        self.waiting.push((piece, bytes));
        let is_idle = self.under_way.as_ref().is_none_or(JoinHandle::is_finished);
        if is_idle || self.waiting.len() >= PIECES_PER_WRITE { self.write_next().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        self.write_next().await?;
        self.written().await
    }

    async fn write_next(&mut self) -> Result<(), Failure> {
        self.written().await?;
        let pieces = std::mem::take(&mut self.waiting);
        if !pieces.is_empty() {
            let (partial, leaves) = (self.partial.clone(), self.leaves.clone());
            self.under_way = Some(tokio::task::spawn_blocking(move || partial.write(&leaves, &pieces)));
        }
        Ok(())
    }

    /// Waits for the write under way, and tells of it.
    async fn written(&mut self) -> Result<(), Failure> {
        let Some(under_way) = self.under_way.take() else { return Ok(()) };
        let offer = self.partial.id;
        match under_way.await.unwrap_or_else(|error| Err(WriteError::Io(std::io::Error::other(error)))) {
            Ok(pieces) => {
                let _ = self.reports.send(Fetched::Got(offer, pieces)).await;
                Ok(())
            }
            Err(WriteError::Lies) => Err(Failure::Lies),
            Err(error) => {
                let _ = self.reports.send(Fetched::NotWritten(offer, error)).await;
                Err(Failure::Local)
            }
        }
    }
}
