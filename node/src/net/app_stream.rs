//! Streams of application programs, on the connection of a session.
//!
//! A task for each stream moves its pieces (see [`hobnob_protocol::app`]) between the connection
//! and the two halves that the program has. It always reads what arrives, and grants the peer more
//! bytes as the program reads. So a program that never reads occupies [`APP_WINDOW`] bytes of its
//! own stream, and none of the connection's window, which messages share.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hobnob_protocol::app::{
    APP_WINDOW, AppTag, Head, PIECE_BYTES_MAX, Piece, encode_opening, reset,
};
use quinn::{Connection, ReadError, ReadExactError, RecvStream, SendStream, VarInt};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::mail::OpenedByPeer;

/// Maximum streams of programs in one session, those that either end has opened.
pub const APP_STREAMS_MAX: usize = 8;

/// Maximum bytes that a peer may have granted at once. A peer that grants more breaks the protocol.
const GRANTED_MAX: usize = 16 * 1024 * 1024;

/// Pieces of a program that wait for its stream. The program waits with the next one.
const WAITING_MAX: usize = 4;

/// The priority of messages, too, so that each gets its share. QUIC sends streams with a higher
/// number first.
const APP_PRIORITY: i32 = -1;

/// Why a stream has ended, or did not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppStreamEnd {
    /// No program with this name runs there, or the peer's user has not accepted this node.
    NotHere,
    /// As many streams are open there as may be.
    Busy,
    /// The program at the other end has closed the stream.
    Closed,
    /// The connection under the stream has ended, or the peer broke the protocol.
    Lost,
}

/// The two halves of a stream that a program has.
#[derive(Debug)]
pub struct Halves {
    /// The bytes from the other end.
    pub reading: ReadHalf,
    /// The bytes to the other end.
    pub writing: WriteHalf,
}

/// The bytes from the other end. Dropping it ends the stream once the writing half has ended.
#[derive(Debug)]
pub struct ReadHalf(Arc<Pipe>);

/// The bytes to the other end. Dropping it ends them, as [`WriteHalf::finish`].
#[derive(Debug)]
pub struct WriteHalf {
    pipe: Arc<Pipe>,
    pieces: mpsc::Sender<Outgoing>,
}

#[derive(Debug)]
enum Outgoing {
    Bytes(Vec<u8>),
    End,
}

/// What the halves and the task of a stream share.
#[derive(Debug)]
struct Pipe {
    inbox: Mutex<Inbox>,
    /// Something has arrived for the program.
    arrived: Notify,
    /// The task has something to grant, or the other end has ended its bytes.
    wake: Notify,
    /// The bytes that the other end has granted. Closed: the other end takes no more.
    granted_by_peer: Semaphore,
    /// The program has dropped the reading half.
    left: CancellationToken,
}

#[derive(Debug)]
struct Inbox {
    bytes: VecDeque<u8>,
    /// The bytes that this end has granted and that have not arrived.
    granted: u32,
    /// The bytes that the program has read since the last grant.
    read: u32,
    end: Option<Result<(), AppStreamEnd>>,
}

/// Why a task ends.
enum Broken {
    /// The connection or the stream has ended.
    Ended(AppStreamEnd),
    /// The peer broke the protocol.
    Protocol,
}

impl ReadHalf {
    /// The next bytes, at least one. `None`: the other end has ended its bytes.
    ///
    /// Dropping the future loses nothing.
    pub async fn read(&mut self) -> Result<Option<Bytes>, AppStreamEnd> {
        loop {
            let arrived = self.0.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            {
                let mut inbox = self.0.inbox();
                if let Some(bytes) = inbox.take() {
                    drop(inbox);
                    self.0.wake.notify_one();
                    return Ok(Some(bytes));
                }
                if let Some(end) = inbox.end {
                    return end.map(|()| None);
                }
            }
            arrived.await;
        }
    }
}

impl Drop for ReadHalf {
    fn drop(&mut self) {
        self.0.left.cancel();
        self.0.wake.notify_one();
    }
}

impl WriteHalf {
    /// Queues all bytes for the other end. It waits until the other end has room for them.
    ///
    /// Dropping the future leaves out the rest of the bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), AppStreamEnd> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let place = self.pieces.reserve().await.map_err(|_| self.pipe.why())?;
            let granted = &self.pipe.granted_by_peer;
            let first = granted.acquire().await.map_err(|_| self.pipe.why())?;
            first.forget();
            // Only this half takes grants, so there are at least as many as it sees.
            let more = (rest.len() - 1)
                .min(PIECE_BYTES_MAX - 1)
                .min(granted.available_permits());
            let more = granted.forget_permits(more);
            let (piece, others) = rest.split_at(1 + more);
            place.send(Outgoing::Bytes(piece.to_vec()));
            rest = others;
        }
        Ok(())
    }

    /// Ends the bytes to the other end, after those that were written. The other half continues.
    pub async fn finish(self) {
        // An error means that the stream has ended.
        let _ = self.pieces.send(Outgoing::End).await;
    }
}

impl Pipe {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes have arrived.
    fn push(&self, bytes: &[u8]) -> Result<(), Broken> {
        let mut inbox = self.inbox();
        let len = u32::try_from(bytes.len()).map_err(|_| Broken::Protocol)?;
        let left = inbox.granted.checked_sub(len).ok_or(Broken::Protocol)?;
        if inbox.end.is_some() {
            return Err(Broken::Protocol);
        }
        inbox.granted = left;
        if !self.left.is_cancelled() {
            inbox.bytes.extend(bytes);
        }
        drop(inbox);
        self.arrived.notify_waiters();
        Ok(())
    }

    /// The other end has granted this many bytes more.
    fn granted(&self, more: u32) -> Result<(), Broken> {
        let more = usize::try_from(more).map_err(|_| Broken::Protocol)?;
        if self.granted_by_peer.available_permits() + more > GRANTED_MAX {
            return Err(Broken::Protocol);
        }
        self.granted_by_peer.add_permits(more);
        Ok(())
    }

    /// How many bytes to grant now: nothing until the program has read half of a window.
    fn to_grant(&self) -> Option<u32> {
        let mut inbox = self.inbox();
        if inbox.end.is_some() || inbox.read < APP_WINDOW / 2 {
            return None;
        }
        let more = std::mem::take(&mut inbox.read);
        inbox.granted += more;
        Some(more)
    }

    fn has_end(&self) -> bool {
        self.inbox().end.is_some()
    }

    /// The other end has ended its bytes, or the stream has ended.
    fn end(&self, end: Result<(), AppStreamEnd>) {
        self.inbox().end.get_or_insert(end);
        self.arrived.notify_waiters();
        self.wake.notify_one();
    }

    /// Why nothing can be written.
    fn why(&self) -> AppStreamEnd {
        match self.inbox().end {
            Some(Err(end)) => end,
            Some(Ok(())) | None => AppStreamEnd::Closed,
        }
    }
}

impl Inbox {
    fn take(&mut self) -> Option<Bytes> {
        let len = self.bytes.len().min(PIECE_BYTES_MAX);
        if len == 0 {
            return None;
        }
        let bytes: Vec<u8> = self.bytes.drain(..len).collect();
        self.read += u32::try_from(len).expect("at most PIECE_BYTES_MAX");
        Some(bytes.into())
    }
}

/// The task of a stream that both ends have agreed on.
#[derive(Debug)]
pub struct StreamTask {
    pipe: Arc<Pipe>,
    pieces: mpsc::Receiver<Outgoing>,
    send: SendStream,
    receive: RecvStream,
    /// Whether the first grant is still to be written, which accepts the stream.
    accepts: bool,
}

/// Opens a stream to the program of the peer. It is open once the peer's program has accepted it.
pub async fn open(
    connection: &Connection,
    app: AppTag,
) -> Result<(Halves, StreamTask), AppStreamEnd> {
    let opened = connection.open_bi().await;
    let (mut send, mut receive) = opened.map_err(|_| AppStreamEnd::Lost)?;
    let start = [encode_opening(app), Piece::Grant(APP_WINDOW).encode()].concat();
    let written = send.write_all(&start).await;
    written.map_err(|error| of_write(&error))?;
    let granted = first_grant(&mut receive).await;
    let granted = granted.map_err(|broken| broken.end())?;
    Ok(halves_of(send, receive, granted, false))
}

/// The first grant of the peer. It accepts the stream.
async fn first_grant(receive: &mut RecvStream) -> Result<u32, Broken> {
    match next_head(receive).await? {
        Some(Head::Grant) => read_grant(receive).await,
        Some(Head::Bytes(_) | Head::End) | None => Err(Broken::Protocol),
    }
}

/// Reads the program for which a stream of the peer is.
pub async fn wanted_app(opened: &mut OpenedByPeer) -> Result<AppTag, AppStreamEnd> {
    let mut tag = [0; AppTag::BYTES];
    let read = opened.receive.read_exact(&mut tag).await;
    read.map_err(|error| of_read(&error))?;
    Ok(AppTag::from_bytes(tag))
}

/// Accepts a stream of the peer.
pub fn accept(opened: OpenedByPeer) -> (Halves, StreamTask) {
    halves_of(opened.send, opened.receive, 0, true)
}

/// Refuses a stream that the peer has opened, with a code of [`reset`].
pub fn refuse(mut opened: OpenedByPeer, code: u32) {
    // An error means that the stream has ended already.
    let _ = opened.send.reset(VarInt::from_u32(code));
    let _ = opened.receive.stop(VarInt::from_u32(code));
}

fn halves_of(
    send: SendStream,
    receive: RecvStream,
    granted: u32,
    accepts: bool,
) -> (Halves, StreamTask) {
    // An error means that the stream has ended. The next read or write reports it.
    let _ = send.set_priority(APP_PRIORITY);
    let granted = usize::try_from(granted).unwrap_or(GRANTED_MAX);
    let (pieces, waiting) = mpsc::channel(WAITING_MAX);
    let pipe = Arc::new(Pipe {
        inbox: Mutex::new(Inbox {
            bytes: VecDeque::new(),
            granted: APP_WINDOW,
            read: 0,
            end: None,
        }),
        arrived: Notify::new(),
        wake: Notify::new(),
        granted_by_peer: Semaphore::new(granted.min(GRANTED_MAX)),
        left: CancellationToken::new(),
    });
    let halves = Halves {
        reading: ReadHalf(pipe.clone()),
        writing: WriteHalf {
            pipe: pipe.clone(),
            pieces,
        },
    };
    let task = StreamTask {
        pipe,
        pieces: waiting,
        send,
        receive,
        accepts,
    };
    (halves, task)
}

impl StreamTask {
    /// Moves bytes until the stream has ended. `over`: the program may no longer talk to the peer.
    pub async fn run(self, over: CancellationToken) {
        let Self {
            pipe,
            pieces,
            mut send,
            mut receive,
            accepts,
        } = self;
        let moving = async {
            if accepts {
                let written = send.write_all(&Piece::Grant(APP_WINDOW).encode()).await;
                written.map_err(|error| Broken::Ended(of_write(&error)))?;
            }
            exchange(&pipe, pieces, &mut send, &mut receive).await
        };
        let ended = tokio::select! {
            biased;
            () = over.cancelled() => Err((reset::NOT_HERE, AppStreamEnd::Lost)),
            ended = moving => ended.map_err(|broken| match broken {
                Broken::Protocol => (reset::PROTOCOL, AppStreamEnd::Lost),
                Broken::Ended(end) => (reset::CLOSED, end),
            }),
        };
        // Resetting or stopping what has ended does nothing. After an orderly end, this end reads
        // no more, and what it has written still arrives.
        if let Err((code, _)) = ended {
            let _ = send.reset(VarInt::from_u32(code));
        }
        let code = ended.map_or_else(|(code, _)| code, |()| reset::CLOSED);
        let _ = receive.stop(VarInt::from_u32(code));
        pipe.granted_by_peer.close();
        pipe.end(ended.map_err(|(_, end)| end));
    }
}

/// Moves pieces in both directions until both have ended.
async fn exchange(
    pipe: &Pipe,
    pieces: mpsc::Receiver<Outgoing>,
    send: &mut SendStream,
    receive: &mut RecvStream,
) -> Result<(), Broken> {
    let reading = read_pieces(pipe, receive);
    let writing = write_pieces(pipe, pieces, send);
    tokio::pin!(reading, writing);
    tokio::select! {
        read = &mut reading => {
            read?;
            // The peer has read all, or reads no more: then writing fails.
            let _ = writing.await;
            Ok(())
        }
        written = &mut writing => {
            if written.is_err() {
                pipe.granted_by_peer.close();
            }
            tokio::select! {
                read = &mut reading => read,
                () = pipe.left.cancelled() => Ok(()),
            }
        }
    }
}

/// Reads until the peer has ended its half of the stream.
async fn read_pieces(pipe: &Pipe, receive: &mut RecvStream) -> Result<(), Broken> {
    let mut buffer = vec![0; PIECE_BYTES_MAX];
    while let Some(head) = next_head(receive).await? {
        match head {
            Head::Bytes(len) => {
                let bytes = &mut buffer[..len];
                let read = receive.read_exact(bytes).await;
                read.map_err(|error| Broken::Ended(of_read(&error)))?;
                pipe.push(bytes)?;
            }
            Head::Grant => pipe.granted(read_grant(receive).await?)?,
            Head::End => pipe.end(Ok(())),
        }
    }
    if pipe.has_end() {
        Ok(())
    } else {
        Err(Broken::Ended(AppStreamEnd::Closed))
    }
}

/// Writes the program's pieces and grants, until neither end needs this half any more.
async fn write_pieces(
    pipe: &Pipe,
    mut pieces: mpsc::Receiver<Outgoing>,
    send: &mut SendStream,
) -> Result<(), AppStreamEnd> {
    let mut has_ended = false;
    while !(has_ended && (pipe.has_end() || pipe.left.is_cancelled())) {
        let piece = tokio::select! {
            piece = pieces.recv(), if !has_ended => match piece {
                Some(Outgoing::Bytes(bytes)) => Piece::Bytes(&bytes).encode(),
                Some(Outgoing::End) | None => {
                    has_ended = true;
                    Piece::End.encode()
                }
            },
            () = pipe.wake.notified() => match pipe.to_grant() {
                Some(more) => Piece::Grant(more).encode(),
                None => continue,
            },
            _ = send.stopped() => return Err(AppStreamEnd::Closed),
        };
        send.write_all(&piece)
            .await
            .map_err(|error| of_write(&error))?;
    }
    // An error means that the stream has ended.
    let _ = send.finish();
    Ok(())
}

/// The head of the next piece. `None`: the peer has ended its half of the stream.
async fn next_head(receive: &mut RecvStream) -> Result<Option<Head>, Broken> {
    let mut head = [0; Head::BYTES];
    match receive.read_exact(&mut head).await {
        Ok(()) => Head::decode(head).map(Some).map_err(|_| Broken::Protocol),
        Err(ReadExactError::FinishedEarly(0)) => Ok(None),
        Err(error) => Err(Broken::Ended(of_read(&error))),
    }
}

async fn read_grant(receive: &mut RecvStream) -> Result<u32, Broken> {
    let mut more = [0; 4];
    let read = receive.read_exact(&mut more).await;
    read.map_err(|error| Broken::Ended(of_read(&error)))?;
    Ok(u32::from_be_bytes(more))
}

impl Broken {
    fn end(&self) -> AppStreamEnd {
        match self {
            Broken::Ended(end) => *end,
            Broken::Protocol => AppStreamEnd::Lost,
        }
    }
}

fn of_read(error: &ReadExactError) -> AppStreamEnd {
    match error {
        ReadExactError::ReadError(ReadError::Reset(code)) => of_code(*code),
        ReadExactError::ReadError(_) | ReadExactError::FinishedEarly(_) => AppStreamEnd::Lost,
    }
}

fn of_write(error: &quinn::WriteError) -> AppStreamEnd {
    match error {
        quinn::WriteError::Stopped(code) => of_code(*code),
        quinn::WriteError::ConnectionLost(_)
        | quinn::WriteError::ClosedStream
        | quinn::WriteError::ZeroRttRejected => AppStreamEnd::Lost,
    }
}

fn of_code(code: VarInt) -> AppStreamEnd {
    let is = |known: u32| code == VarInt::from_u32(known);
    if is(reset::NOT_HERE) {
        AppStreamEnd::NotHere
    } else if is(reset::BUSY) {
        AppStreamEnd::Busy
    } else if is(reset::PROTOCOL) {
        AppStreamEnd::Lost
    } else {
        AppStreamEnd::Closed
    }
}
