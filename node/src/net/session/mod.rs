//! Sessions: frames over one connection with one peer.
//!
//! The dialer opens one bidirectional *control* stream; each side opens one unidirectional *batch*
//! stream when it has its first batch to send, so that batches never delay a ping. [`greet()`]
//! exchanges the first frames. Then [`Session::start`] runs one task that reads, writes, answers
//! pings and finally reports how the session ended. Only that task waits for the peer. The engine
//! queues bytes without waiting. It learns what was written, and limits what is outstanding by
//! that. Content streams that the peer opens are passed on: see [`super::content`]. So are streams
//! about mailboxes and of programs: see [`super::mail`] and [`super::app_stream`].
//!
//! A peer can make this node hold QUIC's windows (see `net::endpoint`), one frame per stream, and
//! [`BATCHES_IN_ENGINE`] batches. The meaning of frames is the engine's concern.

mod ended;
mod frames;
mod greet;

use std::convert::identity;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hobnob_protocol::app::STREAM_APP;
use hobnob_protocol::frame::PING_LIGHT;
use hobnob_protocol::frame::features::COMPRESSION;
use hobnob_protocol::mailbox::{FromHolder, STREAM_MAILBOX};
use hobnob_protocol::{Batch, Frame, close};
use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

pub use ended::Ended;
use ended::Stop;
use frames::{read_batch_frame, read_frame, write_frames};
pub use greet::{GreetError, Greeted, greet};

use super::close::hang_up;
use super::compression::{self, Compressor};
use super::content::{ContentOpener, ContentStream, Place, Serving};
use super::mail::{self, MailStream, OpenedByPeer};
use hobnob_core::SessionId;
use hobnob_transport::addr::canonical;
use hobnob_transport::frames::{FrameBatch, FrameReader};

/// Batches of one session that the engine may hold at the same time. The next one waits until one
/// is released, and so does the peer.
pub const BATCHES_IN_ENGINE: usize = 16;

/// Pings that wait for their pong to be written. Further ones get none: a peer that pings faster
/// than it reads needs no more answers.
const PONGS_MAX: usize = 4;

/// Frames are gathered into one write until they have this many bytes, before compression, so that
/// small frames share packets.
const WRITE_BYTES: usize = 32 * 1024;

/// The priority of the batch stream. QUIC sends streams with a higher number first; the control
/// stream has 0.
const BATCH_PRIORITY: i32 = -1;

/// An event of a session.
#[derive(Debug)]
pub struct SessionEvent {
    /// The session.
    pub session: SessionId,
    /// The event.
    pub kind: SessionEventKind,
}

/// The events of a session.
#[derive(Debug)]
pub enum SessionEventKind {
    /// The peer sent this frame on the control stream. It is never Hello, Ping, Batch or unknown.
    Frame(Frame),
    /// The peer sent a ping, and has its pong if it wants one. Left out while the engine is busy.
    Pinged,
    /// The peer sent a batch. Nothing about it is checked yet. The engine must answer with
    /// [`Session::release`].
    Batch(Batch),
    /// The peer opened a content stream.
    Content(ContentStream),
    /// The peer opened a stream about mailboxes.
    MailStream(OpenedByPeer),
    /// The peer opened a stream of a program.
    AppStream(OpenedByPeer),
    /// The peer, as a holder, sent this frame on the stream about mailboxes with this number.
    /// `None`: the stream has ended.
    Mail(u64, Option<FromHolder>),
    /// QUIC has taken bytes that were given to `send_control` or `send_batch`.
    Written {
        /// The stream.
        stream: StreamKind,
        /// The number of bytes, without the frames' length prefixes.
        bytes: usize,
    },
    /// The session is over. This is the last event, and it comes exactly once.
    Ended(Ended),
}

/// The two streams on which a session sends frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    /// Frames other than batches.
    Control,
    /// Batches.
    Batch,
}

/// The engine's handle of a session. Dropping it ends the session with `bye`.
#[derive(Debug)]
pub struct Session {
    connection: Connection,
    control: mpsc::UnboundedSender<Bytes>,
    batch: mpsc::UnboundedSender<Bytes>,
    batches: Arc<Semaphore>,
    compressor: Compressor,
    /// See [`Session::take_begun`].
    has_begun: Arc<AtomicBool>,
    out: Out,
}

impl Session {
    /// Starts the session's task. Events carry `id`. A full `events` channel makes this peer wait,
    /// and no other. All sessions of a node share the `compressor`.
    pub fn start(
        greeted: Greeted,
        id: SessionId,
        events: mpsc::Sender<SessionEvent>,
        tasks: &TaskTracker,
        compressor: &Compressor,
    ) -> Self {
        let Greeted {
            connection,
            control_in,
            control_out,
            hello,
            ..
        } = greeted;
        let (control, control_queue) = mpsc::unbounded_channel();
        let (batch, batch_queue) = mpsc::unbounded_channel();
        let batches = Arc::new(Semaphore::new(BATCHES_IN_ENGINE));
        let out = Out { id, events };
        let running = Running {
            connection: connection.clone(),
            batches: batches.clone(),
            compressor: compressor.clone(),
            peer_decompresses: hello.features & COMPRESSION != 0,
            out: out.clone(),
        };
        tasks.spawn(running.run(control_in, control_out, control_queue, batch_queue));
        Self {
            connection,
            control,
            batch,
            batches,
            compressor: compressor.clone(),
            has_begun: Arc::default(),
            out,
        }
    }

    /// Opens a stream about mailboxes to the peer, which may hold mail.
    pub fn open_mail(&self, number: u64) -> MailStream {
        self.has_begun.store(true, Ordering::Relaxed);
        let Out { id, events } = self.out.clone();
        let event = move |frame| SessionEvent {
            session: id,
            kind: SessionEventKind::Mail(number, frame),
        };
        mail::start(self.connection.clone(), number, events, event)
    }

    /// Queues an encoded frame that is not a batch.
    pub fn send_control(&self, frame: Bytes) {
        if Frame::encoded_keeps_awake(&frame) {
            self.has_begun.store(true, Ordering::Relaxed);
        }
        // This fails only if the session has ended, and that is reported.
        let _ = self.control.send(frame);
    }

    /// Queues an encoded batch.
    pub fn send_batch(&self, frame: Bytes) {
        let _ = self.batch.send(frame);
    }

    /// The engine is done with this many batches.
    pub fn release(&self, batches: usize) {
        self.batches.add_permits(batches);
    }

    /// Ends the session at once, with a code of [`hobnob_protocol::close`]. What is still queued is
    /// lost.
    pub fn close(&self, code: u32, reason: &str) {
        hang_up(&self.connection, code, reason);
    }

    /// Opens content streams to the peer.
    pub fn content(&self) -> ContentOpener {
        ContentOpener::new(
            self.connection.clone(),
            self.compressor.clone(),
            self.has_begun.clone(),
        )
    }

    /// Whether this end, since the last call, has sent a frame other than a batch that keeps the
    /// session awake, or opened a stream for contents or about mailboxes.
    pub fn take_begun(&self) -> bool {
        self.has_begun.swap(false, Ordering::Relaxed)
    }

    /// The connection, to end it together with others.
    pub fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// The peer's present address.
    pub fn remote_addr(&self) -> SocketAddr {
        canonical(self.connection.remote_address())
    }

    /// The number of acknowledgements that the peer has sent.
    pub fn acks(&self) -> u64 {
        self.connection.stats().frame_rx.acks
    }

    /// What the connection carried so far.
    pub fn traffic(&self) -> Traffic {
        let stats = self.connection.stats();
        Traffic {
            bytes: stats.udp_tx.bytes + stats.udp_rx.bytes,
            datagrams: stats.frame_tx.datagram + stats.frame_rx.datagram,
        }
    }

    /// QUIC's estimate of the round trip. It is used until the first pong arrives.
    pub fn rtt(&self) -> Duration {
        self.connection.rtt()
    }
}

/// What a connection carried in both directions.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traffic {
    /// Bytes of UDP payload.
    pub bytes: u64,
    /// Datagrams of programs.
    pub datagrams: u64,
}

/// The events of one session.
#[derive(Debug, Clone)]
struct Out {
    id: SessionId,
    events: mpsc::Sender<SessionEvent>,
}

impl Out {
    /// Sends an event that a busy engine can do without.
    fn send_if_room(&self, kind: SessionEventKind) {
        let _ = self.events.try_send(SessionEvent {
            session: self.id,
            kind,
        });
    }

    /// Waits for room. If the engine no longer listens, the node is stopping, so the session ends.
    async fn send(&self, kind: SessionEventKind) -> Result<(), Stop> {
        self.events
            .send(SessionEvent {
                session: self.id,
                kind,
            })
            .await
            .map_err(|_| Stop::Local)
    }
}

/// The session's task.
///
/// Its loops close the connection before they return and drop their streams. Dropping a stream
/// finishes or stops it, and the peer must learn the reason first.
struct Running {
    connection: Connection,
    batches: Arc<Semaphore>,
    compressor: Compressor,
    /// Whether the peer takes compressed batches and pieces.
    peer_decompresses: bool,
    out: Out,
}

impl Running {
    async fn run(
        self,
        control_in: FrameReader,
        control_out: SendStream,
        control_queue: mpsc::UnboundedReceiver<Bytes>,
        batch_queue: mpsc::UnboundedReceiver<Bytes>,
    ) {
        let (pongs, pong_queue) = mpsc::channel(PONGS_MAX);
        let result = tokio::select! {
            result = self.read_control(control_in, pongs) => result,
            result = self.read_batches() => result,
            result = self.accept_streams() => result,
            result = self.write_control(control_out, control_queue, pong_queue) => result,
            result = self.write_batches(batch_queue) => result,
            error = self.connection.closed() => Err(Stop::Lost(error)),
        };
        let Err(stop) = result;
        hang_up(&self.connection, close::BYE, "");
        let _ = self.out.send(SessionEventKind::Ended(stop.into())).await;
    }

    async fn read_control(
        &self,
        mut frames: FrameReader,
        pongs: mpsc::Sender<u64>,
    ) -> Result<Never, Stop> {
        loop {
            match read_frame(&mut frames, &self.connection).await? {
                Frame::Ping(token) => {
                    if token != PING_LIGHT {
                        let _ = pongs.try_send(token);
                    }
                    self.out.send_if_room(SessionEventKind::Pinged);
                }
                Frame::Unknown(_) => {}
                Frame::Hello(_) => return Err(self.broke("a second Hello")),
                Frame::Batch(_) => return Err(self.broke("a batch on the control stream")),
                frame @ (Frame::Pong(_)
                | Frame::Profile(_)
                | Frame::Candidates(_)
                | Frame::Records { .. }
                | Frame::WantRecords(_)
                | Frame::ContactRecord(_)
                | Frame::Mailbox { .. }
                | Frame::DialBack(_)
                | Frame::DialedBack(_)
                | Frame::Digest(..)
                | Frame::Heads { .. }
                | Frame::Have(..)
                | Frame::Want { .. }
                | Frame::Prune(..)
                | Frame::Conflict(_)
                | Frame::Waiting(_)
                | Frame::Content { .. }
                | Frame::Room(_)
                | Frame::HoldsMail(_)
                | Frame::WantPicture(_)
                | Frame::Picture(..)
                | Frame::Activity(_)
                | Frame::Offer(..)
                | Frame::Invite(_)) => self.out.send(SessionEventKind::Frame(frame)).await?,
            }
        }
    }

    async fn read_batches(&self) -> Result<Never, Stop> {
        let mut frames = FrameReader::new(self.connection.accept_uni().await.map_err(Stop::Lost)?);
        loop {
            let place = self
                .batches
                .acquire()
                .await
                .expect("the semaphore is never closed");
            match read_batch_frame(&mut frames, &self.connection, &self.compressor).await? {
                Frame::Batch(batch) => {
                    place.forget();
                    self.out.send(SessionEventKind::Batch(batch)).await?;
                }
                Frame::Unknown(_) => {}
                Frame::Hello(_)
                | Frame::Ping(_)
                | Frame::Pong(_)
                | Frame::Profile(_)
                | Frame::Candidates(_)
                | Frame::Records { .. }
                | Frame::WantRecords(_)
                | Frame::ContactRecord(_)
                | Frame::Mailbox { .. }
                | Frame::DialBack(_)
                | Frame::DialedBack(_)
                | Frame::Digest(..)
                | Frame::Heads { .. }
                | Frame::Have(..)
                | Frame::Want { .. }
                | Frame::Prune(..)
                | Frame::Conflict(_)
                | Frame::Waiting(_)
                | Frame::Content { .. }
                | Frame::Room(_)
                | Frame::HoldsMail(_)
                | Frame::WantPicture(_)
                | Frame::Picture(..)
                | Frame::Activity(_)
                | Frame::Offer(..)
                | Frame::Invite(_) => {
                    return Err(self.broke("something else than a batch on the batch stream"));
                }
            }
        }
    }

    /// Accepts content streams, and streams about mailboxes and of programs. Their first byte tells
    /// them apart.
    async fn accept_streams(&self) -> Result<Never, Stop> {
        let compressor = self.peer_decompresses.then(|| self.compressor.clone());
        let serving = Serving::new(self.connection.clone(), compressor);
        let mut begun = JoinSet::new();
        loop {
            let opened = async {
                let place = serving.place().await;
                let opened = self.connection.accept_bi().await;
                opened.map(|(send, receive)| (send, receive, place))
            };
            tokio::select! {
                opened = opened => {
                    let (send, receive, place) = opened.map_err(Stop::Lost)?;
                    begun.spawn(kind_of(send, receive, place));
                }
                Some(stream) = begun.join_next() => {
                    if let Ok(Some(kind)) = stream {
                        self.out.send(kind).await?;
                    }
                }
            }
        }
    }

    async fn write_control(
        &self,
        mut stream: SendStream,
        mut queue: mpsc::UnboundedReceiver<Bytes>,
        mut pongs: mpsc::Receiver<u64>,
    ) -> Result<Never, Stop> {
        loop {
            let mut frames = FrameBatch::default();
            let mut bytes = 0;
            tokio::select! {
                Some(token) = pongs.recv() => frames.push(Frame::Pong(token).encode()),
                frame = queue.recv() => bytes += self.push(frame, &mut frames, identity)?,
            }
            bytes += gather(&mut queue, &mut frames, identity);
            write_frames(frames, &mut stream, &self.connection).await?;
            self.written(StreamKind::Control, bytes).await?;
        }
    }

    async fn write_batches(
        &self,
        mut queue: mpsc::UnboundedReceiver<Bytes>,
    ) -> Result<Never, Stop> {
        let mut stream = None;
        loop {
            let mut frames = FrameBatch::default();
            let first = queue.recv().await;
            let pays = self.peer_decompresses && compression::pays_for_batches(&self.connection);
            let compress = |frame| {
                if pays {
                    self.compressor.batch(frame)
                } else {
                    frame
                }
            };
            let mut bytes = self.push(first, &mut frames, compress)?;
            bytes += gather(&mut queue, &mut frames, compress);
            let stream = match &mut stream {
                Some(stream) => stream,
                none => none.insert(self.open_batch_stream().await?),
            };
            write_frames(frames, stream, &self.connection).await?;
            self.written(StreamKind::Batch, bytes).await?;
        }
    }

    async fn open_batch_stream(&self) -> Result<SendStream, Stop> {
        let stream = self.connection.open_uni().await.map_err(Stop::Lost)?;
        stream
            .set_priority(BATCH_PRIORITY)
            .expect("the stream was opened just now");
        Ok(stream)
    }

    /// Adds a frame from a queue, in the form in which it is sent. Returns its bytes as they were
    /// given. The end of a queue means that the engine dropped its handle.
    fn push(
        &self,
        frame: Option<Bytes>,
        frames: &mut FrameBatch,
        to_send: impl Fn(Bytes) -> Bytes,
    ) -> Result<usize, Stop> {
        let Some(frame) = frame else {
            hang_up(&self.connection, close::BYE, "");
            return Err(Stop::Local);
        };
        let bytes = frame.len();
        frames.push(to_send(frame));
        Ok(bytes)
    }

    async fn written(&self, stream: StreamKind, bytes: usize) -> Result<(), Stop> {
        if bytes == 0 {
            return Ok(());
        }
        self.out
            .send(SessionEventKind::Written { stream, bytes })
            .await
    }

    fn broke(&self, what: &str) -> Stop {
        Stop::fault(&self.connection, close::PROTOCOL, what.to_owned())
    }
}

/// Reads the first byte of a stream that the peer has opened. Only a content stream needs a place
/// among content streams.
async fn kind_of(
    send: SendStream,
    mut receive: RecvStream,
    place: Place,
) -> Option<SessionEventKind> {
    let mut first = [0];
    receive.read_exact(&mut first).await.ok()?;
    let [first] = first;
    Some(match first {
        STREAM_MAILBOX => SessionEventKind::MailStream(OpenedByPeer { send, receive }),
        STREAM_APP => SessionEventKind::AppStream(OpenedByPeer { send, receive }),
        _ => SessionEventKind::Content(ContentStream::new(send, receive, first, place)),
    })
}

/// The result of a loop that ends only with an error.
enum Never {}

/// Adds queued frames until enough are gathered, in the form in which they are sent. Returns their
/// bytes as they were given.
fn gather(
    queue: &mut mpsc::UnboundedReceiver<Bytes>,
    frames: &mut FrameBatch,
    to_send: impl Fn(Bytes) -> Bytes,
) -> usize {
    let mut bytes = 0;
    while frames.len().max(bytes) < WRITE_BYTES {
        let Ok(frame) = queue.try_recv() else { break };
        bytes += frame.len();
        frames.push(to_send(frame));
    }
    bytes
}
