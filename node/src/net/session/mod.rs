//! Sessions: frames over one connection with one peer.
//!
//! The dialer opens one bidirectional *control* stream; each side opens one unidirectional *batch*
//! stream when it has its first batch to send, so that bulk never stands in the way of a ping.
//! [`greet()`] exchanges the first frames, [`Session::start`] then runs one task that reads,
//! writes, answers pings and finally says how it ended. That task alone waits for the peer: the
//! engine pushes bytes without waiting, is told what was written, and keeps what is outstanding
//! bounded by that. Content streams that the peer opens are handed on as they are: see
//! [`super::content`].
//!
//! What a peer can make this node hold: QUIC's windows (see `net::endpoint`), one frame per stream,
//! and [`BATCHES_IN_ENGINE`] batches. What frames mean is not known here.

mod ended;
mod frames;
mod greet;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hobnob_protocol::frame::PING_LIGHT;
use hobnob_protocol::{Batch, Frame, close};
use quinn::{Connection, SendStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::TaskTracker;

pub use ended::Ended;
use ended::Stop;
use frames::{read_frame, write_frames};
pub use greet::{GreetError, Greeted, greet};

use super::content::{ContentOpener, ContentStream, Serving};
use super::goodbye::hang_up;
use hobnob_core::SessionId;
use hobnob_transport::addr::canonical;
use hobnob_transport::frames::{FrameBatch, FrameReader};

/// Batches of one session that the engine may hold at once; the next waits, and with it the peer,
/// until one is released.
pub const BATCHES_IN_ENGINE: usize = 16;

/// Pings that wait for their pong to be written. Further ones get none: a peer that pings faster
/// than it reads has its answer.
const PONGS_MAX: usize = 4;

/// Bytes gathered into one write at least, if there are as many: small frames share packets.
const WRITE_BYTES: usize = 32 * 1024;

/// Of two streams that have something to send, the one with the higher number goes first; control
/// has 0.
const BATCH_PRIORITY: i32 = -1;

/// Something that happened in a session.
#[derive(Debug)]
pub struct SessionEvent {
    /// In which.
    pub session: SessionId,
    /// What.
    pub kind: SessionEventKind,
}

/// What can happen in a session.
#[derive(Debug)]
pub enum SessionEventKind {
    /// The peer says this on the control stream. Never Hello, Ping, Batch or an unknown kind.
    Frame(Frame),
    /// The peer pings, and has its pong if it wants one. Not said while the engine is busy.
    Pinged,
    /// The peer sends a batch, of which nothing is proved yet. To be followed by a
    /// [`Session::release`].
    Batch(Batch),
    /// The peer wants to ask for content.
    Content(ContentStream),
    /// These bytes, as counted by the `Bytes` given to `send_control` or `send_batch`, were handed
    /// to QUIC.
    Written {
        /// Which of the two.
        stream: StreamKind,
        /// How many.
        bytes: usize,
    },
    /// The session is over. Always the last, and only once.
    Ended(Ended),
}

/// A session's two ways of sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    /// Everything but entries.
    Control,
    /// Entries.
    Batch,
}

/// The engine's handle of a session. Dropping it ends the session with `bye`.
#[derive(Debug)]
pub struct Session {
    connection: Connection,
    control: mpsc::UnboundedSender<Bytes>,
    batch: mpsc::UnboundedSender<Bytes>,
    batches: Arc<Semaphore>,
}

impl Session {
    /// Starts the session's task. Events carry `id`; a full `events` channel makes this peer wait,
    /// and no other.
    pub fn start(
        greeted: Greeted,
        id: SessionId,
        events: mpsc::Sender<SessionEvent>,
        tasks: &TaskTracker,
    ) -> Self {
        let Greeted {
            connection,
            control_in,
            control_out,
            ..
        } = greeted;
        let (control, control_queue) = mpsc::unbounded_channel();
        let (batch, batch_queue) = mpsc::unbounded_channel();
        let batches = Arc::new(Semaphore::new(BATCHES_IN_ENGINE));
        let running = Running {
            connection: connection.clone(),
            batches: batches.clone(),
            out: Out { id, events },
        };
        tasks.spawn(running.run(control_in, control_out, control_queue, batch_queue));
        Self {
            connection,
            control,
            batch,
            batches,
        }
    }

    /// Queues an encoded frame, anything but a batch.
    pub fn send_control(&self, frame: Bytes) {
        // Only a session that has ended does not take it, and that is reported.
        let _ = self.control.send(frame);
    }

    /// Queues an encoded batch.
    pub fn send_batch(&self, frame: Bytes) {
        let _ = self.batch.send(frame);
    }

    /// Says that the engine is done with this many batches.
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
        ContentOpener::new(self.connection.clone())
    }

    /// The connection, to end it together with others.
    pub fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// Where the peer is now.
    pub fn remote_addr(&self) -> SocketAddr {
        canonical(self.connection.remote_address())
    }

    /// How often the peer has acknowledged anything.
    pub fn acks(&self) -> u64 {
        self.connection.stats().frame_rx.acks
    }

    /// QUIC's estimate of the round trip: good enough until a pong has come.
    pub fn rtt(&self) -> Duration {
        self.connection.rtt()
    }
}

/// The events of one session.
struct Out {
    id: SessionId,
    events: mpsc::Sender<SessionEvent>,
}

impl Out {
    /// Says something that an engine with more important things to hear can do without.
    fn mention(&self, kind: SessionEventKind) {
        let _ = self.events.try_send(SessionEvent {
            session: self.id,
            kind,
        });
    }

    /// Waits for room. If nobody listens any more, the node is stopping, and the session with it.
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

/// What the session's task works with.
///
/// Its parts close the connection before they return and drop their streams: dropping a stream
/// finishes or stops it, and the peer must hear why first.
struct Running {
    connection: Connection,
    batches: Arc<Semaphore>,
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
            result = self.accept_content() => result,
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
                    self.out.mention(SessionEventKind::Pinged);
                }
                Frame::Unknown(_) => {}
                Frame::Hello(_) => return Err(self.broke("a second Hello")),
                Frame::Batch(_) => return Err(self.broke("a batch on the control stream")),
                frame @ (Frame::Pong(_)
                | Frame::Profile(_)
                | Frame::Candidates(_)
                | Frame::DialBack(_)
                | Frame::DialedBack(_)
                | Frame::Digest(..)
                | Frame::Heads { .. }
                | Frame::Have(..)
                | Frame::Want { .. }
                | Frame::Prune(..)
                | Frame::Conflict(_)
                | Frame::Offer(..)) => self.out.send(SessionEventKind::Frame(frame)).await?,
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
            match read_frame(&mut frames, &self.connection).await? {
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
                | Frame::DialBack(_)
                | Frame::DialedBack(_)
                | Frame::Digest(..)
                | Frame::Heads { .. }
                | Frame::Have(..)
                | Frame::Want { .. }
                | Frame::Prune(..)
                | Frame::Conflict(_)
                | Frame::Offer(..) => {
                    return Err(self.broke("something else than a batch on the batch stream"));
                }
            }
        }
    }

    async fn accept_content(&self) -> Result<Never, Stop> {
        let serving = Serving::new(self.connection.clone());
        loop {
            let place = serving.place().await;
            let (send, receive) = self.connection.accept_bi().await.map_err(Stop::Lost)?;
            self.out
                .send(SessionEventKind::Content(ContentStream::new(
                    send, receive, place,
                )))
                .await?;
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
                frame = queue.recv() => bytes += self.push(frame, &mut frames)?,
            }
            bytes += gather(&mut queue, &mut frames);
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
            let mut bytes = self.push(queue.recv().await, &mut frames)?;
            bytes += gather(&mut queue, &mut frames);
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

    /// Adds a frame from a queue, whose end means that the engine dropped its handle.
    fn push(&self, frame: Option<Bytes>, frames: &mut FrameBatch) -> Result<usize, Stop> {
        let Some(frame) = frame else {
            hang_up(&self.connection, close::BYE, "");
            return Err(Stop::Local);
        };
        let bytes = frame.len();
        frames.push(frame);
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

/// The parts of a session's task end only by stopping it.
enum Never {}

/// Adds queued frames until enough are gathered; returns the bytes added.
fn gather(queue: &mut mpsc::UnboundedReceiver<Bytes>, frames: &mut FrameBatch) -> usize {
    let mut bytes = 0;
    while frames.len() < WRITE_BYTES {
        let Ok(frame) = queue.try_recv() else { break };
        bytes += frame.len();
        frames.push(frame);
    }
    bytes
}
