//! Content streams: asks one way, answers the other, apart from all that is said in a session.
//!
//! Who wants content opens a bidirectional stream on the session's connection, at most one at a time. What is on it comes after
//! messages: their streams have a higher priority, and one stream can't fill the connection's window. Nothing here knows what the
//! bytes are.

use bytes::Bytes;
use hobnob_protocol::content::{ASK_BYTES_MAX, Answer, Ask};
use quinn::{Connection, ReadExactError, RecvStream, SendStream, VarInt};
use tokio::sync::OwnedSemaphorePermit;

/// Content streams of one session that are served at once: one, and its successor while it ends. Further ones wait.
pub(super) const CONTENT_STREAMS_MAX: usize = 2;

/// Below messages: see [`super::session`].
const CONTENT_PRIORITY: i32 = -2;

/// Why a content stream is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// The stream, or the connection under it, ended.
    Lost,
    /// The other end ended it, because the content is not what it was.
    Changed,
    /// What came makes no sense.
    Broken,
}

/// Opens content streams to the peer of one session.
#[derive(Debug, Clone)]
pub struct ContentOpener(pub(super) Connection);

impl ContentOpener {
    /// Opens one; nothing is said on it yet.
    pub async fn open(&self) -> Result<(Asker, Answers), StreamEnd> {
        let (send, receive) = self.0.open_bi().await.map_err(|_| StreamEnd::Lost)?;
        Ok((Asker(send), Answers(receive)))
    }
}

/// Where asks go. Dropping it ends the stream.
#[derive(Debug)]
pub struct Asker(SendStream);

impl Asker {
    /// Asks.
    pub async fn ask(&mut self, ask: &Ask) -> Result<(), StreamEnd> {
        self.0.write_all(&ask.encode()).await.map_err(|_| StreamEnd::Lost)
    }
}

/// Where answers come from. Dropping it tells the peer to send no more.
#[derive(Debug)]
pub struct Answers(RecvStream);

impl Answers {
    /// The start of the next answer.
    pub async fn next(&mut self) -> Result<Answer, StreamEnd> {
        let mut code = [0];
        self.fill(&mut code).await?;
        Ok(Answer::of_code(code[0]))
    }

    /// So many bytes of it as the buffer holds.
    pub async fn fill(&mut self, buffer: &mut [u8]) -> Result<(), StreamEnd> {
        self.0.read_exact(buffer).await.map_err(|error| match error {
            ReadExactError::ReadError(quinn::ReadError::Reset(code)) if code == changed() => StreamEnd::Changed,
            ReadExactError::FinishedEarly(_) | ReadExactError::ReadError(_) => StreamEnd::Lost,
        })
    }
}

/// The serving end of a content stream that a peer opened.
#[derive(Debug)]
pub struct ContentStream {
    send: SendStream,
    receive: RecvStream,
    _place: OwnedSemaphorePermit,
}

impl ContentStream {
    pub(super) fn new(send: SendStream, receive: RecvStream, place: OwnedSemaphorePermit) -> Self {
        // A stream that has ended already is noticed when it is read.
        let _ = send.set_priority(CONTENT_PRIORITY);
        Self { send, receive, _place: place }
    }

    /// The next ask; none once the peer asks for no more.
    pub async fn next_ask(&mut self) -> Result<Option<Ask>, StreamEnd> {
        let mut len = [0; 2];
        match self.receive.read_exact(&mut len).await {
            Ok(()) => {}
            Err(ReadExactError::FinishedEarly(0)) => return Ok(None),
            Err(ReadExactError::FinishedEarly(_) | ReadExactError::ReadError(_)) => return Err(StreamEnd::Lost),
        }
        let len = usize::from(u16::from_be_bytes(len));
        let mut body = [0; ASK_BYTES_MAX];
        let body = body.get_mut(..len).ok_or(StreamEnd::Broken)?;
        self.receive.read_exact(body).await.map_err(|_| StreamEnd::Lost)?;
        Ask::decode(body).map(Some).map_err(|_| StreamEnd::Broken)
    }

    /// Sends so many bytes, as fast as the peer takes them.
    pub async fn send(&mut self, bytes: Bytes) -> Result<(), StreamEnd> {
        self.send.write_chunk(bytes).await.map_err(|_| StreamEnd::Lost)
    }

    /// Breaks an answer off: the content is not what it was.
    pub fn break_off(mut self) {
        // A stream that has ended needs no breaking off.
        let _ = self.send.reset(changed());
    }
}

fn changed() -> VarInt {
    VarInt::from_u32(u32::from(Answer::Changed.code()))
}
