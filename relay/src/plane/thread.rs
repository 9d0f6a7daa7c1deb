//! The plane's thread: it waits for datagrams, changes of the route table and room to send, and
//! handles them.
//!
//! It is a separate thread, so that neither quinn's handshakes nor any task of the runtime delays a
//! frame. It takes no lock and waits only for the system.

#![expect(clippy::disallowed_methods, reason = "a driver: it reads the clock")]

use std::io::{self, IoSliceMut};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use quinn::udp::RecvMeta;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc;

use super::bucket::Rate;
use super::forward::{Forwarder, count};
use super::latency::{ForwardTimes, Sampling};
use super::quic::QuicQueue;
use super::socket::PlaneSocket;
use super::socket_stats;
use super::streams::{Batch, equal_runs, is_stream};
use crate::route::Update;
use crate::sleeper::{SleepUpdate, SleeperNews};

/// Maximum batches received at once. More would not fit the processor's cache.
const BATCHES: usize = 8;

/// Longest batch that the system delivers, in bytes.
const BATCH_BYTES_MAX: usize = 64 * 1024;

/// A change that the thread applies between two batches.
#[derive(Debug)]
pub(super) enum Change {
    /// Of the route table.
    Route(Update),
    /// Of the limit for each sender.
    Rate(Option<Rate>),
    /// Of the sleeping peers.
    Sleep(SleepUpdate),
    /// Sleeping peers are served from now on: the key of resets, and the receiver of news.
    ServeSleepers([u8; 32], mpsc::Sender<SleeperNews>),
}

/// The running thread. Dropping this value ends it.
#[derive(Debug)]
pub(super) struct Thread {
    socket: Arc<PlaneSocket>,
    handle: Mutex<Option<JoinHandle<()>>>,
}

impl Thread {
    pub(super) fn start(
        socket: Arc<PlaneSocket>,
        forwarder: Forwarder,
        updates: Receiver<Change>,
        quic: QuicQueue,
        times: Arc<ForwardTimes>,
    ) -> io::Result<Self> {
        let work = Work {
            socket: socket.clone(),
            forwarder,
            updates,
            quic,
            times,
            sampling: Sampling::default(),
            start: Instant::now(),
        };
        let handle = std::thread::Builder::new()
            .name("plane".to_owned())
            .spawn(move || work.run())?;
        Ok(Self {
            socket,
            handle: Mutex::new(Some(handle)),
        })
    }

    /// Reports that there are updates.
    pub(super) fn wake(&self) {
        self.socket.waker.ring();
    }

    /// Ends the thread and waits for its current round. Nothing is forwarded afterwards.
    pub(super) fn stop(&self) {
        self.socket.stop();
        if let Some(handle) = self
            .handle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            && handle.join().is_err()
        {
            tracing::error!("the plane's thread has failed");
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The parts that only the thread has.
struct Work {
    socket: Arc<PlaneSocket>,
    forwarder: Forwarder,
    updates: Receiver<Change>,
    quic: QuicQueue,
    times: Arc<ForwardTimes>,
    sampling: Sampling,
    start: Instant,
}

impl Work {
    fn run(mut self) {
        let mut memory = vec![0; BATCHES * BATCH_BYTES_MAX];
        let mut bufs = memory
            .chunks_exact_mut(BATCH_BYTES_MAX)
            .map(IoSliceMut::new);
        let mut bufs: [IoSliceMut<'_>; BATCHES] =
            std::array::from_fn(|_| bufs.next().expect("the memory has BATCHES chunks"));
        let mut meta = [RecvMeta::default(); BATCHES];
        let mut more_from_streams = false;
        while !self.socket.has_stopped() {
            let received = self.socket.receive(&mut bufs, &mut meta);
            let rung = self.socket.waker.has_rung() || more_from_streams;
            let from_streams = if rung {
                self.take_from_streams()
            } else {
                Vec::new()
            };
            // Updates come before frames, so that they apply to frames that were sent after them.
            if rung {
                self.update();
            }
            let began = self
                .sampling
                .is_due()
                .then(|| (self.now(), self.forwarder.frames()));
            self.sort(&mut bufs[..received], &mut meta[..received]);
            from_streams
                .iter()
                .for_each(|batch| self.sort_stream(batch));
            if let Some((at, frames)) = began
                && self.forwarder.frames() > frames
            {
                self.times.record(self.now().saturating_sub(at));
            }
            let now = self.now();
            self.forwarder.sleepers().look(now);
            more_from_streams = from_streams.len() == BATCHES;
            let more = received == BATCHES || more_from_streams;
            if !more || self.socket.is_full() {
                self.wait(more);
            }
        }
    }

    fn update(&mut self) {
        let now = self.now();
        while let Ok(change) = self.updates.try_recv() {
            match change {
                Change::Route(update) => self.forwarder.table().apply(update),
                Change::Rate(rate) => self.forwarder.limit(rate),
                Change::Sleep(update) => {
                    let sleepers = self.forwarder.sleepers();
                    sleepers.update(now, update, &mut &*self.socket);
                }
                Change::ServeSleepers(reset_key, news) => {
                    self.forwarder.sleepers().serve(reset_key, news);
                }
            }
        }
    }

    /// Passes the received batches to the forwarder, and the QUIC left in them to quinn.
    fn sort(&mut self, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) {
        let now = self.now();
        for (buf, meta) in bufs.iter_mut().zip(meta.iter_mut()) {
            if is_stream(meta.addr) {
                // Forged: these addresses are in no network.
                self.forwarder
                    .forged(count(&buf[..meta.len], meta.stride.max(1)));
                continue;
            }
            self.forwarder.sort(now, buf, meta, &mut &*self.socket);
            if meta.len > 0 {
                self.quic.pass(&buf[..meta.len], meta);
            }
        }
        // After fewer batches the socket is empty, so its state is known.
        let left = (bufs.len() == BATCHES).then(|| socket_stats::of(&*self.socket));
        self.forwarder.received(now, left);
    }

    /// The next batches of streams, at most [`BATCHES`].
    fn take_from_streams(&self) -> Vec<Batch> {
        let next = std::iter::from_fn(|| self.socket.streams.next());
        next.take(BATCHES).collect()
    }

    /// Passes datagrams from a stream to the forwarder, and the QUIC among them to quinn.
    fn sort_stream(&mut self, batch: &Batch) {
        let now = self.now();
        equal_runs(&batch.run, |run, stride| {
            let mut meta = RecvMeta {
                addr: batch.from,
                len: run.len(),
                stride,
                ..RecvMeta::default()
            };
            self.forwarder.sort(now, run, &mut meta, &mut &*self.socket);
            if meta.len > 0 {
                self.quic.pass(&run[..meta.len], &meta);
            }
        });
    }

    /// Waits for the next event. If there are `more` datagrams, only checks for room to send.
    fn wait(&mut self, more: bool) {
        let room = if self.socket.is_full() {
            PollFlags::OUT
        } else {
            PollFlags::empty()
        };
        let now = self.now();
        let look_in = self.forwarder.sleepers().look_in(now);
        let mut fds = [
            PollFd::new(&*self.socket, PollFlags::IN | room),
            PollFd::new(&self.socket.waker, PollFlags::IN),
        ];
        let limit = if more { Some(Duration::ZERO) } else { look_in };
        let limit = limit.map(|limit| Timespec {
            tv_sec: limit.as_secs().try_into().unwrap_or(1),
            tv_nsec: limit.subsec_nanos().into(),
        });
        if let Err(error) = poll(&mut fds, limit.as_ref()) {
            tracing::trace!(%error, "the wait was interrupted");
            return;
        }
        if fds[0].revents().contains(PollFlags::OUT) {
            self.socket.has_room();
        }
        if fds[1].revents().contains(PollFlags::IN) {
            self.socket.waker.clear();
        }
    }

    /// Nanoseconds since the start. They suffice for 580 years.
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
