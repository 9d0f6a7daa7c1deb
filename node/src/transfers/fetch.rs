//! Requests content on the streams of one session, and writes the answers to partial downloads.
//!
//! Requests are sent at once. The answers on a stream arrive in the order of its requests. Each
//! piece is checked before it is written.

use std::pin::pin;
use std::sync::Arc;

use hobnob_protocol::OfferId;
use hobnob_protocol::content::{Answer, LEAF_BYTES, Leaf, PieceRequest};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

use super::partial::{Partial, WriteError};
use super::throttle::{Throttle, Transfer};
use crate::net::content::{Answers, ArrivedPiece, Asker, ContentOpener, StreamEnd, StreamSlot};
use hobnob_core::SessionId;
use hobnob_core::transfers::{Failure, REQUESTS_PER_STREAM, STREAMS_MAX};

/// Maximum number of pieces in one write. A disk that is fast enough gets each piece at once.
const PIECES_PER_WRITE: usize = 16;

/// A report of a stream.
#[derive(Debug)]
pub(super) enum Fetched {
    /// These pieces arrived in this session and are written.
    Got(SessionId, OfferId, Vec<u64>),
    /// A request has ended.
    Answered(SessionId, PieceRequest, Result<(), Failure>),
    /// A piece could not be written.
    NotWritten(OfferId, WriteError),
    /// A content stream of the session has ended. It belonged to the set with this number.
    Ended(SessionId, u64),
}

/// A request, and the partial download for its pieces.
pub(super) type Order = (PieceRequest, Arc<Partial>);

/// A set of content streams of one session, with one task for each. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Fetchers {
    /// The number of the set. An earlier set of the session has a smaller one.
    pub(super) run: u64,
    session: SessionId,
    reports: mpsc::Sender<Fetched>,
    throttle: Throttle,
    orders: mpsc::Sender<Order>,
    queue: Queue,
    streams: Vec<AbortOnDropHandle<()>>,
}

/// Requests that no stream has sent yet.
type Queue = Arc<Mutex<mpsc::Receiver<Order>>>;

impl Fetchers {
    pub(super) fn new(
        session: SessionId,
        run: u64,
        reports: mpsc::Sender<Fetched>,
        throttle: Throttle,
    ) -> Self {
        let (orders, queue) = mpsc::channel(REQUESTS_PER_STREAM * STREAMS_MAX + 1);
        Self {
            run,
            session,
            reports,
            throttle,
            orders,
            queue: Arc::new(Mutex::new(queue)),
            streams: Vec::new(),
        }
    }

    /// Adds streams until there are this many.
    pub(super) fn widen(&mut self, streams: usize, opener: &ContentOpener) {
        while self.streams.len() < streams {
            let stream = run(
                self.session,
                self.run,
                opener.stream(),
                self.queue.clone(),
                self.reports.clone(),
                self.throttle.clone(),
            );
            self.streams
                .push(AbortOnDropHandle::new(tokio::spawn(stream)));
        }
    }

    /// Queues a request. Returns false if the queue is full.
    pub(super) fn ask(&self, order: Order) -> bool {
        self.orders.try_send(order).is_ok()
    }
}

/// Runs one stream until it ends.
async fn run(
    session: SessionId,
    run: u64,
    stream: StreamSlot,
    orders: Queue,
    reports: mpsc::Sender<Fetched>,
    throttle: Throttle,
) {
    if let Ok((asker, answers)) = stream.open().await {
        let (asked, to_read) = mpsc::channel(REQUESTS_PER_STREAM - 1);
        let reading = Reading {
            session,
            answers,
            reports: reports.clone(),
            throttle,
        };
        tokio::join!(reading.run(to_read), write_asks(asker, &orders, asked));
    }
    let _ = reports.send(Fetched::Ended(session, run)).await;
}

/// Sends requests until the set is dropped or nobody reads the answers.
async fn write_asks(mut asker: Asker, orders: &Queue, asked: mpsc::Sender<Order>) {
    // Reserve first: a request that this stream can't send yet must stay in the common queue for
    // an idle stream.
    while let Ok(place) = asked.reserve().await {
        let order = tokio::select! {
            order = async { orders.lock().await.recv().await } => order,
            () = asked.closed() => return,
        };
        let Some(order) = order else { return };
        // If the stream has ended, the reader of the answer reports it.
        let _ = asker.ask(&order.0).await;
        place.send(order);
    }
}

struct Reading {
    session: SessionId,
    answers: Answers,
    reports: mpsc::Sender<Fetched>,
    throttle: Throttle,
}

impl Reading {
    /// Reads one answer after the other, until one fails in a way that ends the stream.
    async fn run(mut self, mut asked: mpsc::Receiver<Order>) {
        while let Some((ask, partial)) = asked.recv().await {
            let outcome = self.answer(ask, &partial).await;
            // After a complete answer, or a refusal, the next answer follows.
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

    /// Reads one answer. A failure comes with whether the stream can be used further.
    async fn answer(
        &mut self,
        ask: PieceRequest,
        partial: &Arc<Partial>,
    ) -> Result<(), (Failure, bool)> {
        let ended = |end| (of_end(end), false);
        let compressed = match self.answers.next().await.map_err(ended)? {
            Answer::Here => false,
            Answer::HereCompressed => true,
            Answer::NotHere => return Err((Failure::NotHere, true)),
            Answer::Refused => return Err((Failure::Refused, true)),
            Answer::Changed => return Err((Failure::Changed, true)),
            // The source rests for a while, and keeps its place among the sources.
            Answer::Later => return Err((Failure::Lost, true)),
        };
        let shape = partial.shape;
        let proof = self
            .leaves(shape.proof_len(ask.span))
            .await
            .map_err(ended)?;
        let leaves = self
            .leaves(shape.pieces_in(ask.span))
            .await
            .map_err(ended)?;
        if !shape.proves(partial.stored.offer.hash, ask.span, &leaves, &proof) {
            return Err((Failure::Lies, false));
        }
        let mut writer = Writer::new(self.session, partial.clone(), leaves, self.reports.clone());
        for piece in ask.pieces() {
            if partial.is_cancelled() {
                return Err((Failure::Local, false));
            }
            let len = shape.piece_len(piece);
            let (throttle, answers) = (&self.throttle, &mut self.answers);
            // A sender that is faster than the limit waits: the window of its stream is full.
            let next = async {
                let follow = if compressed {
                    answers.compressed_len(len).await?
                } else {
                    len
                };
                // The limit is one of the line, so it counts the bytes that travel.
                throttle.pass(Transfer::Download(ask.offer), follow).await;
                answers.piece(follow, len).await
            };
            let came = writer
                .meanwhile(next)
                .await
                .map_err(|failure| (failure, false))?;
            let taken = match came {
                Ok(arrived) => writer.take(piece, arrived).await,
                Err(end) => {
                    // The pieces before are proved, so write them.
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
        StreamEnd::Lost => Failure::Lost,
        StreamEnd::Broken => Failure::Lies,
        StreamEnd::Changed => Failure::Changed,
    }
}

/// Writes one run of pieces while the next is read.
struct Writer {
    session: SessionId,
    partial: Arc<Partial>,
    leaves: Arc<Vec<Leaf>>,
    reports: mpsc::Sender<Fetched>,
    waiting: Vec<(u64, ArrivedPiece)>,
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

    /// Queues a piece. Waits only if the disk is too slow.
    async fn take(&mut self, piece: u64, arrived: ArrivedPiece) -> Result<(), Failure> {
        self.waiting.push((piece, arrived));
        let is_idle = self.under_way.as_ref().is_none_or(JoinHandle::is_finished);
        if is_idle || self.waiting.len() >= PIECES_PER_WRITE {
            self.write_next().await
        } else {
            Ok(())
        }
    }

    /// Waits for `awaited`, and writes meanwhile. So pieces reach the disk soon, even if no further
    /// piece arrives.
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
                write_and_report(session, &partial, &leaves, pieces, &reports)
            }));
        }
        Ok(())
    }

    /// Waits for the current write. Cancel safe.
    async fn written(&mut self) -> Result<(), Failure> {
        let Some(under_way) = &mut self.under_way else {
            return Ok(());
        };
        let written = under_way.await.unwrap_or(Err(Failure::Local));
        self.under_way = None;
        written
    }
}

/// Writes pieces and reports them. The writing thread reports by itself, so a report is sent even
/// if the stream ends meanwhile.
fn write_and_report(
    session: SessionId,
    partial: &Partial,
    leaves: &[Leaf],
    arrived: Vec<(u64, ArrivedPiece)>,
    reports: &mpsc::Sender<Fetched>,
) -> Result<(), Failure> {
    let count = arrived.len();
    let (mut pieces, mut kept) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for (piece, arrived) in arrived {
        // Nothing after a damaged piece is used.
        let Ok(bytes) = arrived.into_bytes() else {
            break;
        };
        pieces.push((piece, bytes));
    }
    let result = partial.write(leaves, &pieces, &mut kept);
    let _ = reports.blocking_send(Fetched::Got(session, partial.stored.id, kept));
    if result.is_ok() && pieces.len() < count {
        return Err(Failure::Lies);
    }
    result.map_err(|error| match error {
        WriteError::Lies => Failure::Lies,
        error @ (WriteError::Full
        | WriteError::NotMounted
        | WriteError::Manifest(_)
        | WriteError::Io(_)) => {
            let _ = reports.blocking_send(Fetched::NotWritten(partial.stored.id, error));
            Failure::Local
        }
    })
}
