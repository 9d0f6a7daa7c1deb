//! Streams to relays, as the node's socket sees them: where UDP is blocked, the datagrams of a relay
//! take a TCP connection instead of the socket.
//!
//! To quinn a stream is a relay with a synthetic address, one for each stream. [`Streams`] is the
//! table of them. What it received waits in one bounded inbox until quinn reads it. The TCP
//! connection itself is in `relay::stream`.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::{Context, Waker};

use hobnob_core::synthetic;
use hobnob_transport::stream::queue::{DatagramQueue, Queued};
use quinn::udp::Transmit;
use tokio::sync::Notify;

use super::channels::Received;

/// Bytes in the inbox at which streams are no longer read. TCP then slows the relay down.
const INBOX_BYTES_MAX: usize = 256 * 1024;

/// All streams of a node. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Streams(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queues: RwLock<HashMap<SocketAddr, Arc<DatagramQueue>>>,
    inbox: Mutex<Inbox>,
    /// Notifies tasks that wait for room in the inbox.
    room: Notify,
}

#[derive(Debug, Default)]
struct Inbox {
    runs: VecDeque<Received>,
    bytes: usize,
    /// Wakes the task that reads the inbox.
    waker: Option<Waker>,
}

impl Streams {
    /// Adds a stream with a random address. Returns the address, and the queue of what is sent.
    /// `v6`: the socket takes IPv6 addresses.
    pub(super) fn add(
        &self,
        v6: bool,
        mut random: impl FnMut() -> u64,
        is_taken: impl Fn(SocketAddr) -> bool,
    ) -> (SocketAddr, Arc<DatagramQueue>) {
        let mut queues = self.write();
        let addr = loop {
            let addr = synthetic::from_random(v6, random(), random());
            if !queues.contains_key(&addr) && !is_taken(addr) {
                break addr;
            }
        };
        let queue = Arc::<DatagramQueue>::default();
        queues.insert(addr, queue.clone());
        (addr, queue)
    }

    /// Removes a stream. Datagrams for it are dropped from now on.
    pub(super) fn remove(&self, addr: SocketAddr) {
        self.write().remove(&addr);
    }

    /// Whether this is the address of a stream.
    pub(super) fn has(&self, addr: SocketAddr) -> bool {
        self.read().contains_key(&plain(addr))
    }

    /// Queues a transmission for the stream at its destination. `None`: there is no such stream.
    pub(super) fn send(&self, transmit: &Transmit<'_>) -> Option<Queued> {
        let queues = self.read();
        let queue = queues.get(&plain(transmit.destination))?;
        Some(queue.push(transmit))
    }

    /// Passes received datagrams to quinn. Waits while the inbox is full.
    pub(super) async fn deliver(&self, runs: VecDeque<Received>) {
        loop {
            let room = self.0.room.notified();
            tokio::pin!(room);
            // Register first and check then: quinn may empty the inbox in between.
            room.as_mut().enable();
            if self.inbox().bytes < INBOX_BYTES_MAX {
                break;
            }
            room.await;
        }
        let mut inbox = self.inbox();
        inbox.bytes += runs.iter().map(|run| run.bytes.len()).sum::<usize>();
        inbox.runs.extend(runs);
        if let Some(waker) = inbox.waker.take() {
            waker.wake();
        }
    }

    /// The next received datagrams.
    pub(super) fn take(&self) -> Option<Received> {
        let mut inbox = self.inbox();
        let run = inbox.runs.pop_front()?;
        let was_full = inbox.bytes >= INBOX_BYTES_MAX;
        inbox.bytes -= run.bytes.len();
        if was_full && inbox.bytes < INBOX_BYTES_MAX {
            self.0.room.notify_waiters();
        }
        Some(run)
    }

    /// Wakes this task when [`Streams::take`] has something to return. Returns whether it has
    /// already.
    pub(super) fn wake_on_arrival(&self, cx: &Context<'_>) -> bool {
        let mut inbox = self.inbox();
        let waker = inbox.waker.as_ref();
        if waker.is_none_or(|waker| !waker.will_wake(cx.waker())) {
            inbox.waker = Some(cx.waker().clone());
        }
        !inbox.runs.is_empty()
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.0.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<SocketAddr, Arc<DatagramQueue>>> {
        self.0.queues.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<SocketAddr, Arc<DatagramQueue>>> {
        self.0
            .queues
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address without flow label and scope, which quinn may set.
fn plain(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip(), addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quinn::udp::RecvMeta;

    fn streams() -> (Streams, SocketAddr, Arc<DatagramQueue>) {
        let (streams, mut n) = (Streams::default(), 0);
        let mut random = || {
            n += 1;
            n / 4
        };
        let (_other, _) = streams.add(true, &mut random, |_| false);
        let (addr, queue) = streams.add(true, &mut random, |_| false);
        (streams, addr, queue)
    }

    fn run(len: usize) -> VecDeque<Received> {
        let meta = RecvMeta {
            len,
            stride: len,
            ..RecvMeta::default()
        };
        let bytes = vec![0x40; len];
        VecDeque::from([Received { meta, bytes }])
    }

    #[test]
    fn each_stream_has_its_own_synthetic_address_until_it_is_removed() {
        let (streams, destination, _queue) = streams();
        assert!(synthetic::is_synthetic(destination.ip()) && streams.has(destination));
        let transmit = Transmit {
            destination,
            ecn: None,
            contents: b"hello",
            segment_size: None,
            src_ip: None,
        };
        assert_eq!(streams.send(&transmit), Some(Queued::All));
        streams.remove(destination);
        assert_eq!(streams.send(&transmit), None);
    }

    #[tokio::test]
    async fn a_full_inbox_makes_streams_wait() {
        let (streams, ..) = streams();
        streams.deliver(run(INBOX_BYTES_MAX)).await;
        let more = streams.deliver(run(7));
        tokio::pin!(more);
        let waits = std::future::poll_fn(|cx| std::task::Poll::Ready(more.as_mut().poll(cx)));
        assert!(waits.await.is_pending());
        assert_eq!(
            streams.take().map(|run| run.bytes.len()),
            Some(INBOX_BYTES_MAX)
        );
        more.await;
        assert_eq!(streams.take().map(|run| run.bytes.len()), Some(7));
        assert!(streams.take().is_none());
    }
}
