//! The plane's thread: it waits for datagrams, news of the table and room to send, and does what
//! there is to do.
//!
//! A thread of its own, so that nothing that quinn does, such as handshakes, and no task of the
//! runtime stands between a frame's arrival and its leaving. It takes no lock, and waits for nobody
//! but the system.

#![expect(clippy::disallowed_methods, reason = "a driver: it reads the clock")]

use std::io::{self, IoSliceMut};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use quinn::udp::RecvMeta;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::forward::Forwarder;
use super::port::Port;
use super::quic::QuicQueue;
use super::socket_stats;
use crate::route::Update;

/// Batches received at once. More would not fit the processor's cache.
const BATCHES: usize = 8;

/// The longest batch that the system makes of datagrams.
const BATCH_BYTES_MAX: usize = 64 * 1024;

/// The thread; ends with this value at the latest.
#[derive(Debug)]
pub(super) struct Thread {
    port: Arc<Port>,
    handle: Mutex<Option<JoinHandle<()>>>,
}

impl Thread {
    pub(super) fn start(
        port: Arc<Port>,
        forwarder: Forwarder,
        updates: Receiver<Update>,
        quic: QuicQueue,
    ) -> io::Result<Self> {
        let work = Work {
            port: port.clone(),
            forwarder,
            updates,
            quic,
            start: Instant::now(),
        };
        let handle = std::thread::Builder::new()
            .name("plane".to_owned())
            .spawn(move || work.run())?;
        Ok(Self {
            port,
            handle: Mutex::new(Some(handle)),
        })
    }

    /// There are updates.
    pub(super) fn wake(&self) {
        self.port.waker.ring();
    }

    /// Ends it, within what one round of its work takes. Nothing is forwarded afterwards.
    pub(super) fn stop(&self) {
        self.port.stop();
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

/// What the thread alone has.
struct Work {
    port: Arc<Port>,
    forwarder: Forwarder,
    updates: Receiver<Update>,
    quic: QuicQueue,
    start: Instant,
}

impl Work {
    fn run(mut self) {
        let mut memory = vec![0; BATCHES * BATCH_BYTES_MAX];
        let mut bufs = memory
            .chunks_exact_mut(BATCH_BYTES_MAX)
            .map(IoSliceMut::new);
        let mut bufs: [IoSliceMut<'_>; BATCHES] =
            std::array::from_fn(|_| bufs.next().expect("as many as there are"));
        let mut meta = [RecvMeta::default(); BATCHES];
        while !self.port.has_stopped() {
            let received = self.port.receive(&mut bufs, &mut meta);
            // Before what was received is looked at: a frame that was sent after an update finds
            // the table changed.
            if self.port.waker.has_rung() {
                self.update();
            }
            self.sort(&mut bufs[..received], &mut meta[..received]);
            let more = received == BATCHES;
            if !more || self.port.is_full() {
                self.wait(more);
            }
        }
    }

    fn update(&mut self) {
        while let Ok(update) = self.updates.try_recv() {
            self.forwarder.table().apply(update);
        }
    }

    /// Passes what was received through the forwarder, and QUIC on to quinn.
    fn sort(&mut self, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) {
        let now = self.now();
        for (buf, meta) in bufs.iter_mut().zip(meta.iter_mut()) {
            self.forwarder.sort(now, buf, meta, &mut &*self.port);
            if meta.len > 0 {
                self.quic.pass(&buf[..meta.len], meta);
            }
        }
        // A receive that empties the socket leaves nothing to ask about.
        let left = (bufs.len() == BATCHES).then(|| socket_stats::of(&*self.port));
        self.forwarder.received(now, left);
    }

    /// Waits until there is something to do, or only looks whether there is room to send, if there
    /// are `more` datagrams.
    fn wait(&self, more: bool) {
        let room = if self.port.is_full() {
            PollFlags::OUT
        } else {
            PollFlags::empty()
        };
        let mut fds = [
            PollFd::new(&*self.port, PollFlags::IN | room),
            PollFd::new(&self.port.waker, PollFlags::IN),
        ];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        if let Err(error) = poll(&mut fds, more.then_some(&at_once)) {
            tracing::trace!(%error, "waiting was cut short");
            return;
        }
        if fds[0].revents().contains(PollFlags::OUT) {
            self.port.has_room();
        }
        if fds[1].revents().contains(PollFlags::IN) {
            self.port.waker.silence();
        }
    }

    /// Nanoseconds since the start: enough for 580 years.
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
