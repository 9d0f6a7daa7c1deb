//! Serves content to peers. The engine decides anew for each request whether the peer may have the
//! offer's entry.

use std::sync::Arc;

use bytes::Bytes;
use hobnob_protocol::content::{Answer, PIECE_BYTES, PieceRequest};
use hobnob_protocol::{ContentHash, Offer, OfferId, OfferWord};
use tokio::sync::{mpsc, oneshot};

use super::content_index::{ContentError, IndexedContent};
use super::context::Context;
use super::messages::FromTransfers;
use super::throttle::Transfer;
use crate::net::compression::{Compressor, Trials};
use crate::net::content::{ContentStream, StreamEnd, WindowBudget};
use crate::store::{OfferRow, WhichOffers};
use hobnob_core::SessionId;
use hobnob_core::commit::OfferState;
use tracing::info;

/// Pieces in one read. One read is sent while the next one runs, so a stream uses twice this
/// memory.
const PIECES_PER_READ: u64 = 8;

/// A report of a stream.
#[derive(Debug)]
pub(super) enum Served {
    /// This many bytes were sent.
    Bytes(SessionId, OfferId, u64),
    /// The content is missing or has changed.
    Failed(OfferId, ContentError),
}

/// Serves the content streams of all sessions.
pub(super) struct ContentServer {
    context: Context,
    budget: WindowBudget,
    reports: mpsc::Sender<Served>,
}

impl ContentServer {
    /// Each stream reports to `reports`.
    pub(super) fn new(context: Context, reports: mpsc::Sender<Served>) -> Self {
        Self {
            context,
            budget: WindowBudget::default(),
            reports,
        }
    }

    /// Starts to serve a stream that a peer opened.
    pub(super) fn serve(&self, session: SessionId, mut stream: ContentStream) {
        stream.make_room(&self.budget);
        let server = StreamServer {
            session,
            context: self.context.clone(),
            reports: self.reports.clone(),
        };
        self.context.tasks.spawn(server.run(stream));
    }

    /// The content of an offer could not be read, or has changed. Own offers fail. Returns the id
    /// of an offer that fails now.
    pub(super) fn report_failure(&self, row: OfferRow, error: &ContentError) -> Option<OfferId> {
        let OfferRow { offer, record } = row;
        if !self.context.is_own(offer.id) {
            let name = offer.visible_name();
            info!("{name} can't be served to others: {error}");
            return None;
        }
        let why = format!("{error}: offer it again");
        // Each request fails for the same reason. The first failure is enough.
        if record.why.as_ref() == Some(&why) {
            return None;
        }
        if matches!(error, ContentError::Changed(_)) {
            let word = FromTransfers::SendWord(offer.id, OfferWord::Changed, None);
            self.context.engine.send(word);
        }
        let id = offer.id;
        self.context.record_failure(offer, why);
        Some(id)
    }
}

/// Serves one stream.
struct StreamServer {
    session: SessionId,
    context: Context,
    reports: mpsc::Sender<Served>,
}

/// The content that a stream serves.
struct OpenContent {
    hash: ContentHash,
    content: Arc<IndexedContent>,
    trials: Trials,
}

/// Why a request gets no content.
enum Refusal {
    /// The peer gets this answer.
    Answer(Answer),
    /// The content could not be read before the answer began.
    Content(ContentError),
    /// The content failed after the answer had begun.
    BrokenOff,
    /// The stream has ended.
    Stream(StreamEnd),
}

impl From<StreamEnd> for Refusal {
    fn from(end: StreamEnd) -> Self {
        Refusal::Stream(end)
    }
}

impl StreamServer {
    /// Answers requests until the peer sends no more or breaks the protocol.
    async fn run(self, mut stream: ContentStream) {
        let mut open: Option<OpenContent> = None;
        while let Ok(Some(ask)) = stream.next_ask().await {
            match self.serve(&mut stream, ask, &mut open).await {
                Ok(()) => {}
                Err(Refusal::Content(error)) => {
                    unreachable!("the server answers for content that can't be read: {error}")
                }
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
        open: &mut Option<OpenContent>,
    ) -> Result<(), Refusal> {
        let offer = self.offer(ask.offer).await.map_err(Refusal::Answer)?;
        if open.as_ref().is_none_or(|open| open.hash != offer.hash) {
            *open = Some(self.open(ask.offer, &offer).await?);
        }
        let opened = open.as_mut().expect("it is open, or was opened above");
        if !ask.fits(opened.content.shape) {
            return Err(Refusal::Stream(StreamEnd::Broken));
        }
        let sent = self.send(stream, ask, opened).await;
        let Err(Refusal::Content(_)) = sent else {
            return sent;
        };
        // The file was moved or changed since the content was opened. The same content may be at
        // another path.
        *open = None;
        let opened = open.insert(self.open(ask.offer, &offer).await?);
        let sent = self.send(stream, ask, opened).await;
        match sent {
            Err(Refusal::Content(error)) => {
                *open = None;
                Err(self.failed(ask.offer, error).await)
            }
            sent => sent,
        }
    }

    /// The offer, unless the peer may not have it, or its entry is not stored, or it is withdrawn
    /// or paused.
    async fn offer(&self, id: OfferId) -> Result<Offer, Answer> {
        if !self.context.engine.may_have(self.session, id).await {
            return Err(Answer::Refused);
        }
        let rows = self
            .context
            .store
            .read(WhichOffers::One(id.name.log, id.seq));
        let rows = rows.await.ok().and_then(Result::ok).unwrap_or_default();
        let row = rows.into_iter().find(|row| row.offer.id == id);
        let row = row.ok_or(Answer::Refused)?;
        match row.record.state {
            OfferState::Declined => Err(Answer::Refused),
            OfferState::Paused if self.context.is_own(id) => Err(Answer::Later),
            OfferState::Offered
            | OfferState::Wanted
            | OfferState::Done
            | OfferState::Failed
            | OfferState::Refused
            | OfferState::Paused => Ok(row.offer.offer),
        }
    }

    async fn open(&self, id: OfferId, offer: &Offer) -> Result<OpenContent, Refusal> {
        let (files, hash, size) = (self.context.files.clone(), offer.hash, offer.size);
        let found = tokio::task::spawn_blocking(move || files.index.find(hash, size)).await;
        match found.unwrap_or_else(|error| Err(std::io::Error::other(error).into())) {
            Ok(content) => Ok(OpenContent {
                hash,
                content: Arc::new(content),
                trials: Trials::default(),
            }),
            Err(error) => Err(self.failed(id, error).await),
        }
    }

    async fn send(
        &self,
        stream: &mut ContentStream,
        ask: PieceRequest,
        open: &mut OpenContent,
    ) -> Result<(), Refusal> {
        let content = &open.content;
        let form = Form {
            compressor: stream.compressor(),
            trials: open.trials,
        };
        let answer = match form.compressor {
            Some(_) => Answer::HereCompressed,
            None => Answer::Here,
        };
        let proof = read(content, move |content| Ok(content.proof(ask.span)?));
        let pieces_read = read(content, pieces(ask, 0, form));
        // Read before the first byte is sent. So a content that can't be read is refused, and the
        // stream stays usable.
        let content_failed = Refusal::Content;
        let proof = got(proof).await.map_err(content_failed)?;
        let mut run = got(pieces_read).await.map_err(content_failed)?;
        stream
            .send(Bytes::copy_from_slice(&[answer.code()]))
            .await?;
        stream.send(proof).await?;
        let mut done = PIECES_PER_READ;
        loop {
            let form = run.form;
            open.trials = form.trials;
            let more =
                (done < u64::from(ask.count)).then(|| read(content, pieces(ask, done, form)));
            // A limit delays piece by piece, so that the peer sees a slow stream and not a dead
            // one.
            for chunk in run.chunks {
                let upload = Transfer::Upload(self.session, ask.offer);
                self.context.throttle.pass(upload, chunk.len()).await;
                // The peer asks again, and then hears that it has to wait.
                if self.context.paused.contains(ask.offer) {
                    return Err(Refusal::Stream(StreamEnd::Lost));
                }
                stream.send(chunk).await?;
            }
            // Progress may be incomplete: no peer waits until the transfer task has time for it.
            let _ = self
                .reports
                .try_send(Served::Bytes(self.session, ask.offer, run.content));
            let Some(more) = more else { return Ok(()) };
            // The peer asks again, and then hears why.
            run = got(more).await.map_err(|_| Refusal::BrokenOff)?;
            done += PIECES_PER_READ;
        }
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

/// Reads on a thread that may wait for the disk.
fn read<T: Send + 'static>(
    content: &Arc<IndexedContent>,
    read: impl FnOnce(&IndexedContent) -> Result<T, ContentError> + Send + 'static,
) -> oneshot::Receiver<Result<T, ContentError>> {
    let (answer, answered) = oneshot::channel();
    let content = content.clone();
    tokio::task::spawn_blocking(move || {
        // The stream may have ended meanwhile.
        let _ = answer.send(read(&content));
    });
    answered
}

async fn got<T>(read: oneshot::Receiver<Result<T, ContentError>>) -> Result<T, ContentError> {
    let stopped = || Err(std::io::Error::other("the node stops").into());
    read.await.unwrap_or_else(|_| stopped())
}

/// A read of the next pieces of a request, from its piece number `from`.
fn pieces(
    ask: PieceRequest,
    from: u64,
    form: Form,
) -> impl FnOnce(&IndexedContent) -> Result<PieceRun, ContentError> + Send + 'static {
    let all = ask.pieces();
    let start = all.start + from;
    move |content| {
        let bytes = content.pieces(start..all.end.min(start + PIECES_PER_READ))?;
        Ok(form.of(bytes))
    }
}

/// The form in which pieces are sent.
struct Form {
    /// If the answer is one with compressed pieces.
    compressor: Option<Compressor>,
    trials: Trials,
}

/// Pieces in the form in which they are sent.
struct PieceRun {
    chunks: Vec<Bytes>,
    /// The bytes of the pieces themselves.
    content: u64,
    /// The form of the next ones.
    form: Form,
}

impl Form {
    /// Whole pieces in this form; the last piece of a content may be shorter.
    fn of(mut self, mut bytes: Bytes) -> PieceRun {
        let content = bytes.len() as u64;
        let mut chunks = Vec::new();
        while !bytes.is_empty() {
            let mut piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
            if let Some(compressor) = &self.compressor {
                piece = self.trials.compress(&piece, compressor).unwrap_or(piece);
                let len = u32::try_from(piece.len()).expect("a piece has at most 64 KiB");
                chunks.push(Bytes::copy_from_slice(&len.to_be_bytes()));
            }
            chunks.push(piece);
        }
        PieceRun {
            chunks,
            content,
            form: self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pieces: one of text, and a shorter one that can't be compressed.
    fn two_pieces() -> Bytes {
        let text = [
            include_str!("../../../docs/GUIDE.md"),
            include_str!("../../../docs/PROTOCOL.md"),
        ];
        let mut bytes = text.concat().into_bytes();
        bytes.truncate(PIECE_BYTES);
        let mut random = vec![0; 5_000];
        blake3::Hasher::new().finalize_xof().fill(&mut random);
        bytes.extend(random);
        bytes.into()
    }

    fn form(compressor: Option<Compressor>) -> Form {
        let trials = Trials::default();
        Form { compressor, trials }
    }

    #[test]
    fn pieces_for_an_older_node_are_sent_as_they_are() {
        let bytes = two_pieces();
        let run = form(None).of(bytes.clone());
        let lens: Vec<_> = run.chunks.iter().map(Bytes::len).collect();
        assert_eq!(lens, [PIECE_BYTES, 5_000]);
        assert_eq!(run.chunks.concat(), bytes);
        assert_eq!(run.content, 65_536 + 5_000);
    }

    #[test]
    fn each_piece_is_compressed_by_itself_with_its_length_before_it() {
        let (bytes, compressor) = (two_pieces(), Compressor::default());
        let run = form(Some(compressor.clone())).of(bytes.clone());
        assert_eq!(run.content, 65_536 + 5_000, "progress counts the content");
        let [text_len, text, random_len, random] = &run.chunks[..] else {
            panic!("four chunks: {:?}", run.chunks)
        };
        let of = |len: &Bytes| u32::from_be_bytes(len[..].try_into().expect("four bytes"));
        assert_eq!(usize::try_from(of(text_len)), Ok(text.len()));
        assert!(text.len() < PIECE_BYTES / 2);
        let decompressed = compressor.decompress(text, PIECE_BYTES);
        assert_eq!(decompressed, Ok(bytes.slice(..PIECE_BYTES)));
        assert_eq!(
            (of(random_len), random),
            (5_000, &bytes.slice(PIECE_BYTES..))
        );
    }
}
