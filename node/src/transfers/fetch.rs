//! Fetches content on one session, on one lane or several: asks go out at once, the answers of each
//! lane are read, proved and written in their order.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use hobnob_protocol::OfferId;
use hobnob_protocol::content::{Answer, LEAF_BYTES, Leaf, PieceRequest};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

use super::partial::{Partial, WriteError};
use crate::net::content::{Answers, Asker, ContentOpener, Lane, StreamEnd};
use hobnob_core::SessionId;
use hobnob_core::transfers::{ASKS_PER_LANE, Failure, LANES_MAX};

/// Pieces that are written together at most. While the disk keeps up, each is written as it comes.
const PIECES_PER_WRITE: usize = 16;

/// What comes of asking.
#[derive(Debug)]
pub(super) enum Fetched {
    /// These pieces, which came in this session, are written.
    Got(SessionId, OfferId, Vec<u64>),
    /// An ask is through, one way or the other.
    Answered(SessionId, PieceRequest, Result<(), Failure>),
    /// It could not be written here.
    NotWritten(OfferId, WriteError),
    /// A content stream of this session is no more, and so all those of this run of them.
    Ended(SessionId, u64),
}

/// What is asked, and where it goes.
pub(super) type Order = (PieceRequest, Arc<Partial>);

/// Those who fetch on one session, one a lane. Dropping them ends their streams.
#[derive(Debug)]
pub(super) struct Fetchers {
    /// Tells these from those that were there before on the same session.
    pub(super) run: u64,
    session: SessionId,
    reports: mpsc::Sender<Fetched>,
    orders: mpsc::Sender<Order>,
    queue: Queue,
    lanes: Vec<AbortOnDropHandle<()>>,
}

/// What no lane has taken up yet.
type Queue = Arc<Mutex<mpsc::Receiver<Order>>>;

impl Fetchers {
    pub(super) fn new(session: SessionId, run: u64, reports: mpsc::Sender<Fetched>) -> Self {
        let (orders, queue) = mpsc::channel(ASKS_PER_LANE * LANES_MAX + 1);
        Self {
            run,
            session,
            reports,
            orders,
            queue: Arc::new(Mutex::new(queue)),
            lanes: Vec::new(),
        }
    }

    /// From now on there are so many lanes.
    pub(super) fn widen(&mut self, lanes: usize, opener: &ContentOpener) {
        while self.lanes.len() < lanes {
            let lane = run(
                self.session,
                self.run,
                opener.lane(),
                self.queue.clone(),
                self.reports.clone(),
            );
            self.lanes.push(AbortOnDropHandle::new(tokio::spawn(lane)));
        }
    }

    /// Hands over an ask; whether it was taken.
    pub(super) fn ask(&self, order: Order) -> bool {
        self.orders.try_send(order).is_ok()
    }
}

/// Fetches on one lane, until something ends its stream: then all lanes are at an end.
async fn run(
    session: SessionId,
    run: u64,
    lane: Lane,
    orders: Queue,
    reports: mpsc::Sender<Fetched>,
) {
    if let Ok((asker, answers)) = lane.open().await {
        let (asked, to_read) = mpsc::channel(ASKS_PER_LANE - 1);
        let reading = Reading {
            session,
            answers,
            reports: reports.clone(),
        };
        tokio::join!(reading.run(to_read), write_asks(asker, &orders, asked));
    }
    let _ = reports.send(Fetched::Ended(session, run)).await;
}

/// Writes asks as they come, until there are no more or nobody reads the answers.
async fn write_asks(mut asker: Asker, orders: &Queue, asked: mpsc::Sender<Order>) {
    // An order is taken up when there is a place for it, so that it does not wait here while
    // another lane is idle.
    while let Ok(place) = asked.reserve().await {
        let order = tokio::select! {
            order = async { orders.lock().await.recv().await } => order,
            () = asked.closed() => return,
        };
        let Some(order) = order else { return };
        // The answer's reader finds out what became of the stream.
        let _ = asker.ask(&order.0).await;
        place.send(order);
    }
}

struct Reading {
    session: SessionId,
    answers: Answers,
    reports: mpsc::Sender<Fetched>,
}

impl Reading {
    /// Reads answers until one ends the stream.
    async fn run(mut self, mut asked: mpsc::Receiver<Order>) {
        while let Some((ask, partial)) = asked.recv().await {
            let outcome = self.answer(ask, &partial).await;
            // After a whole answer, or a refusal, the next one follows on the stream.
            let goes_on = matches!(outcome, Ok(()) | Err((_, true)));
            let outcome = outcome.map_err(|(failure, _)| failure);
            let _ = self
                .reports
                .send(Fetched::Answered(self.session, ask, outcome))
                .await;
            if !goes_on {
                return;
            }
        }
    }

    /// Reads one answer. A failure says whether the stream is still of use.
    async fn answer(
        &mut self,
        ask: PieceRequest,
        partial: &Arc<Partial>,
    ) -> Result<(), (Failure, bool)> {
        let ended = |end| (of_end(end), false);
        match self.answers.next().await.map_err(ended)? {
            Answer::Here => {}
            Answer::NotHere => return Err((Failure::NotHere, true)),
            Answer::Refused => return Err((Failure::Refused, true)),
            Answer::Changed => return Err((Failure::Changed, true)),
        }
        let shape = partial.shape;
        let proof = self
            .leaves(shape.proof_len(ask.span))
            .await
            .map_err(ended)?;
        let leaves = self
            .leaves(shape.pieces_in(ask.span))
            .await
            .map_err(ended)?;
        if !shape.proves(partial.offer.hash, ask.span, &leaves, &proof) {
            return Err((Failure::Lies, false));
        }
        let mut writer = Writer::new(self.session, partial.clone(), leaves, self.reports.clone());
        for piece in ask.pieces() {
            if partial.is_cancelled() {
                return Err((Failure::Local, false));
            }
            let came = writer
                .meanwhile(self.answers.bytes(shape.piece_len(piece)))
                .await
                .map_err(|failure| (failure, false))?;
            let taken = match came {
                Ok(bytes) => writer.take(piece, bytes).await,
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
    session: SessionId,
    partial: Arc<Partial>,
    leaves: Arc<Vec<Leaf>>,
    reports: mpsc::Sender<Fetched>,
    waiting: Vec<(u64, Bytes)>,
    under_way: Option<JoinHandle<Result<(), Failure>>>,
}

impl Writer {
    fn new(
        session: SessionId,
        partial: Arc<Partial>,
        leaves: Vec<Leaf>,
        reports: mpsc::Sender<Fetched>,
    ) -> Self {
        Self {
            session,
            partial,
            leaves: Arc::new(leaves),
            reports,
            waiting: Vec::new(),
            under_way: None,
        }
    }

    /// Takes a piece; waits only if the disk is far behind.
    async fn take(&mut self, piece: u64, bytes: Bytes) -> Result<(), Failure> {
        self.waiting.push((piece, bytes));
        let is_idle = self.under_way.as_ref().is_none_or(JoinHandle::is_finished);
        if is_idle || self.waiting.len() >= PIECES_PER_WRITE {
            self.write_next().await
        } else {
            Ok(())
        }
    }

    /// Waits for something, and goes on writing: what has come is soon on disk also when nothing
    /// more comes.
    async fn meanwhile<T>(&mut self, awaited: impl Future<Output = T>) -> Result<T, Failure> {
        let mut awaited = pin!(awaited);
        while !self.waiting.is_empty() {
            tokio::select! {
                biased;
                done = &mut awaited => return Ok(done),
                written = self.written() => written?,
            }
            self.write_next().await?;
        }
        Ok(awaited.await)
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        self.write_next().await?;
        self.written().await
    }

    async fn write_next(&mut self) -> Result<(), Failure> {
        self.written().await?;
        let pieces = std::mem::take(&mut self.waiting);
        if !pieces.is_empty() {
            let (session, partial, leaves) =
                (self.session, self.partial.clone(), self.leaves.clone());
            let reports = self.reports.clone();
            self.under_way = Some(tokio::task::spawn_blocking(move || {
                write_and_report(session, &partial, &leaves, &pieces, &reports)
            }));
        }
        Ok(())
    }

    /// Waits for the write under way. Cancel safe.
    async fn written(&mut self) -> Result<(), Failure> {
        let Some(under_way) = &mut self.under_way else {
            return Ok(());
        };
        let written = under_way.await.unwrap_or(Err(Failure::Local));
        self.under_way = None;
        written
    }
}

/// Reports from the thread that writes: also when nobody waits for it any more, what is written is
/// known to be here.
fn write_and_report(
    session: SessionId,
    partial: &Partial,
    leaves: &[Leaf],
    pieces: &[(u64, Bytes)],
    reports: &mpsc::Sender<Fetched>,
) -> Result<(), Failure> {
    let mut kept = Vec::with_capacity(pieces.len());
    let result = partial.write(leaves, pieces, &mut kept);
    let _ = reports.blocking_send(Fetched::Got(session, partial.id, kept));
    result.map_err(|error| match error {
        WriteError::Lies => Failure::Lies,
        error @ (WriteError::Full | WriteError::Manifest(_) | WriteError::Io(_)) => {
            let _ = reports.blocking_send(Fetched::NotWritten(partial.id, error));
            Failure::Local
        }
    })
}
