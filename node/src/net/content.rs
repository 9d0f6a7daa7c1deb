//! Content streams: requests in one direction and answers in the other, separate from the session's
//! frames.
//!
//! To request content, a peer opens one or several bidirectional streams on the session's
//! connection (see [`hobnob_core::transfers`]). Content yields to messages: message streams have
//! the higher priority, and the connection's windows have room for all content streams and the
//! messages. The node lends the room for further streams from a budget for all its sessions
//! ([`WindowBudget`]). This module does not interpret the bytes, apart from pieces that are
//! compressed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hobnob_protocol::content::{Answer, PIECE_LEN_BYTES, PIECE_REQUEST_BYTES_MAX, PieceRequest};
use quinn::{Connection, ReadError, ReadExactError, RecvStream, SendStream, VarInt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::compression::{self, Compressor, Damaged};
use super::endpoint::{RECEIVE_WINDOW, SEND_WINDOW};
use hobnob_core::transfers::{STREAM_BYTES, STREAMS_MAX};

/// Maximum content streams served simultaneously in one session: those a peer may use, and the
/// successor of one that ends. Further streams wait.
pub(super) const CONTENT_STREAMS_MAX: usize = STREAMS_MAX + 1;

/// Maximum further streams of all sessions of a node, in each direction. The first stream of a
/// session does not count. Each further stream can occupy [`STREAM_BYTES`] of memory.
const LENT_MAX: usize = 128;

/// A session gets at most this part of the remaining budget, so that the next one gets some, too.
const PART: usize = 4;

/// A lower priority than that of messages: see [`super::session`].
const CONTENT_PRIORITY: i32 = -2;

/// Why a content stream has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// The stream, or the connection under it, ended.
    Lost,
    /// The other end ended it because the content has changed.
    Changed,
    /// The other end broke the protocol.
    Broken,
}

/// A node's memory budget, in one direction, for further streams: all except the first of each
/// session.
#[derive(Debug, Clone)]
pub struct WindowBudget(Arc<Semaphore>);

impl Default for WindowBudget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LENT_MAX)))
    }
}

impl WindowBudget {
    /// Lends room for up to `streams` streams. Returns `None` if the budget is too low.
    fn lend(&self, streams: usize) -> Option<OwnedSemaphorePermit> {
        let streams = streams.min(self.0.available_permits() / PART);
        let streams = u32::try_from(streams).ok().filter(|streams| *streams > 0)?;
        self.0.clone().try_acquire_many_owned(streams).ok()
    }
}

/// Opens content streams to the peer of one session.
#[derive(Debug)]
pub struct ContentOpener {
    connection: Connection,
    compressor: Compressor,
    /// The loan by which the connection's window was widened. QUIC cannot shrink a window, so the
    /// loan lasts as long as the session.
    lent: Option<OwnedSemaphorePermit>,
    /// Set when a stream is opened.
    has_begun: Arc<AtomicBool>,
}

impl ContentOpener {
    /// Sets `has_begun` whenever it opens a stream.
    pub(super) fn new(
        connection: Connection,
        compressor: Compressor,
        has_begun: Arc<AtomicBool>,
    ) -> Self {
        Self {
            connection,
            compressor,
            lent: None,
            has_begun,
        }
    }

    /// Widens the connection's window for up to `streams` streams, as far as the budget allows.
    /// Returns the number of streams with room.
    pub fn widen(&mut self, streams: usize, room: &WindowBudget) -> usize {
        if let Some(more) = streams
            .checked_sub(self.streams())
            .and_then(|more| room.lend(more))
        {
            match &mut self.lent {
                Some(lent) => lent.merge(more),
                none => *none = Some(more),
            }
            let window = u64::from(RECEIVE_WINDOW) + (self.streams() as u64 - 1) * STREAM_BYTES;
            self.connection
                .set_receive_window(VarInt::from_u64(window).unwrap_or(VarInt::MAX));
        }
        self.streams()
    }

    /// The number of streams with room in the connection's window.
    pub fn streams(&self) -> usize {
        1 + self
            .lent
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits)
    }

    /// QUIC's estimate of the round trip.
    pub fn rtt(&self) -> Duration {
        self.connection.rtt()
    }

    /// A handle that opens one content stream.
    pub fn stream(&self) -> StreamSlot {
        StreamSlot {
            connection: self.connection.clone(),
            compressor: self.compressor.clone(),
            has_begun: self.has_begun.clone(),
        }
    }
}

/// Opens one content stream.
#[derive(Debug)]
pub struct StreamSlot {
    connection: Connection,
    compressor: Compressor,
    has_begun: Arc<AtomicBool>,
}

impl StreamSlot {
    /// Opens the stream. The peer notices the stream with the first request.
    pub async fn open(self) -> Result<(Asker, Answers), StreamEnd> {
        let opened = self.connection.open_bi().await;
        let (send, receive) = opened.map_err(|_| StreamEnd::Lost)?;
        self.has_begun.store(true, Ordering::Relaxed);
        let answers = Answers {
            receive,
            compressor: self.compressor,
        };
        Ok((Asker(send), answers))
    }
}

/// The sending half, for requests. Dropping it ends the stream.
#[derive(Debug)]
pub struct Asker(SendStream);

impl Asker {
    /// Sends a request.
    pub async fn ask(&mut self, ask: &PieceRequest) -> Result<(), StreamEnd> {
        self.0
            .write_all(&ask.encode())
            .await
            .map_err(|_| StreamEnd::Lost)
    }
}

/// The receiving half, for answers. Dropping it makes the peer stop sending.
#[derive(Debug)]
pub struct Answers {
    receive: RecvStream,
    compressor: Compressor,
}

/// A piece as it arrived.
#[derive(Debug)]
pub struct ArrivedPiece {
    bytes: Bytes,
    /// The bytes of the piece itself.
    len: usize,
    compressor: Compressor,
}

impl ArrivedPiece {
    /// The piece itself.
    pub fn into_bytes(self) -> Result<Bytes, Damaged> {
        if self.bytes.len() == self.len {
            Ok(self.bytes)
        } else {
            self.compressor.decompress(&self.bytes, self.len)
        }
    }
}

impl Answers {
    /// Reads the start of the next answer.
    pub async fn next(&mut self) -> Result<Answer, StreamEnd> {
        let mut code = [0];
        self.fill(&mut code).await?;
        Ok(Answer::of_code(code[0]))
    }

    /// Fills the buffer with the next bytes of the answer.
    pub async fn fill(&mut self, buffer: &mut [u8]) -> Result<(), StreamEnd> {
        self.receive
            .read_exact(buffer)
            .await
            .map_err(|error| match error {
                ReadExactError::ReadError(error) => of_read(&error),
                ReadExactError::FinishedEarly(_) => StreamEnd::Lost,
            })
    }

    /// Reads how many bytes of the next piece follow, in an answer with compressed pieces. The
    /// piece has `len` bytes itself, and never takes more.
    pub async fn compressed_len(&mut self, len: usize) -> Result<usize, StreamEnd> {
        let mut follow = [0; PIECE_LEN_BYTES];
        self.fill(&mut follow).await?;
        let follow = usize::try_from(u32::from_be_bytes(follow));
        let is_possible = |follow: &usize| (1..=len).contains(follow);
        follow.ok().filter(is_possible).ok_or(StreamEnd::Broken)
    }

    /// Reads a piece of `len` bytes, of which this many follow. If these are fewer, it is
    /// compressed.
    pub async fn piece(&mut self, follow: usize, len: usize) -> Result<ArrivedPiece, StreamEnd> {
        Ok(ArrivedPiece {
            bytes: self.bytes(follow).await?,
            len,
            compressor: self.compressor.clone(),
        })
    }

    /// Reads exactly `len` bytes of the answer.
    async fn bytes(&mut self, len: usize) -> Result<Bytes, StreamEnd> {
        // Memory from `with_capacity` is not cleared before it is filled.
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let chunk = self
                .receive
                .read_chunk(len - bytes.len(), true)
                .await
                .map_err(|error| of_read(&error))?;
            bytes.extend_from_slice(&chunk.ok_or(StreamEnd::Lost)?.bytes);
        }
        Ok(bytes.into())
    }
}

/// The serving end of a content stream that a peer opened.
#[derive(Debug)]
pub struct ContentStream {
    send: SendStream,
    receive: RecvStream,
    /// The first byte of the first request, until it is used.
    first: Option<u8>,
    place: Place,
}

/// The content streams served in one session.
#[derive(Debug)]
pub(super) struct Serving {
    connection: Connection,
    /// If the peer takes compressed pieces.
    compressor: Option<Compressor>,
    places: Arc<Semaphore>,
    /// The number of streams with room in the send window.
    streams: Mutex<u64>,
}

/// A content stream's place among the served streams. Dropping the place frees it.
#[derive(Debug)]
pub(super) struct Place {
    serving: Arc<Serving>,
    has_room: bool,
    lent: Option<OwnedSemaphorePermit>,
    _place: OwnedSemaphorePermit,
}

impl Serving {
    pub(super) fn new(connection: Connection, compressor: Option<Compressor>) -> Arc<Self> {
        Arc::new(Self {
            connection,
            compressor,
            places: Arc::new(Semaphore::new(CONTENT_STREAMS_MAX)),
            streams: Mutex::new(0),
        })
    }

    /// Waits for a place.
    pub(super) async fn place(self: &Arc<Self>) -> Place {
        let place = self
            .places
            .clone()
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        Place {
            serving: self.clone(),
            has_room: false,
            lent: None,
            _place: place,
        }
    }

    /// Changes the number of streams with room in the send window. Each stream adds
    /// [`STREAM_BYTES`] for data that awaits acknowledgement.
    fn streams(&self, change: impl FnOnce(&mut u64)) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut streams);
        self.connection
            .set_send_window(SEND_WINDOW + streams.saturating_sub(1) * STREAM_BYTES);
    }

    fn has_streams(&self) -> bool {
        *self.streams.lock().unwrap_or_else(PoisonError::into_inner) > 0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.has_room {
            self.serving.streams(|streams| *streams -= 1);
        }
    }
}

impl ContentStream {
    /// `first` is the first byte of the stream.
    pub(super) fn new(send: SendStream, receive: RecvStream, first: u8, place: Place) -> Self {
        // An error means that the stream has ended. The next read reports it.
        let _ = send.set_priority(CONTENT_PRIORITY);
        Self {
            send,
            receive,
            first: Some(first),
            place,
        }
    }

    /// Reserves room for this stream in the session's send window. If the budget is exhausted, the
    /// stream shares the room of the session's other streams.
    pub fn make_room(&mut self, room: &WindowBudget) {
        let place = &mut self.place;
        if place.serving.has_streams() {
            place.lent = room.lend(1);
            if place.lent.is_none() {
                return;
            }
        }
        place.has_room = true;
        place.serving.streams(|streams| *streams += 1);
    }

    /// Compresses the pieces of the next answer, if the peer takes compressed ones and the path is
    /// so slow that this pays.
    pub fn compressor(&self) -> Option<Compressor> {
        let serving = &self.place.serving;
        let compressor = serving.compressor.clone()?;
        compression::pays_for_pieces(&serving.connection).then_some(compressor)
    }

    /// Reads the next request. Returns `None` when the peer has finished its half of the stream.
    pub async fn next_ask(&mut self) -> Result<Option<PieceRequest>, StreamEnd> {
        let mut len = [0; 2];
        let first = self.first.take();
        let known = usize::from(first.is_some());
        len[0] = first.unwrap_or_default();
        match self.receive.read_exact(&mut len[known..]).await {
            Ok(()) => {}
            Err(ReadExactError::FinishedEarly(0)) if known == 0 => return Ok(None),
            Err(ReadExactError::FinishedEarly(_) | ReadExactError::ReadError(_)) => {
                return Err(StreamEnd::Lost);
            }
        }
        let len = usize::from(u16::from_be_bytes(len));
        let mut body = [0; PIECE_REQUEST_BYTES_MAX];
        let body = body.get_mut(..len).ok_or(StreamEnd::Broken)?;
        self.receive
            .read_exact(body)
            .await
            .map_err(|_| StreamEnd::Lost)?;
        PieceRequest::decode(body)
            .map(Some)
            .map_err(|_| StreamEnd::Broken)
    }

    /// Sends bytes, as fast as the peer accepts them.
    pub async fn send(&mut self, bytes: Bytes) -> Result<(), StreamEnd> {
        self.send
            .write_chunk(bytes)
            .await
            .map_err(|_| StreamEnd::Lost)
    }

    /// Ends the stream within an answer, because the content has changed.
    pub fn break_off(mut self) {
        // An error means that the stream has ended already.
        let _ = self.send.reset(changed());
    }
}

fn of_read(error: &ReadError) -> StreamEnd {
    if *error == ReadError::Reset(changed()) {
        StreamEnd::Changed
    } else {
        StreamEnd::Lost
    }
}

fn changed() -> VarInt {
    VarInt::from_u32(u32::from(Answer::Changed.code()))
}
