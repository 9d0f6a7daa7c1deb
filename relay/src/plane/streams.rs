//! The clients that use a stream instead of UDP: their addresses, and their datagrams on the way to
//! and from the plane.
//!
//! Each client has a synthetic address, so routes and quinn need not know about streams. The last 64
//! bits are the number of the stream, which no later stream has: a frame for a client that has left
//! never reaches another. The UDP socket refuses datagrams from such addresses.

use std::collections::HashMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use hobnob_transport::stream::queue::{DatagramQueue, Queued};
use quinn::udp::Transmit;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio_util::sync::CancellationToken;

use super::packet_sink::Sent;

/// The first 64 bits of the addresses of streams: a local prefix from fd00::/8 (RFC 4193).
const PREFIX: [u16; 4] = [0xfd68, 0x6f62, 0x6e72, 0];

/// The port of the addresses. Any port except 0 works.
const PORT: u16 = 1;

/// Batches that wait for the plane. Beyond it streams are not read, so their senders wait. A batch
/// is what one read returned, at most one TLS record.
const BATCHES_MAX: usize = 256;

/// Datagrams of one client, each with its length in front.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) from: SocketAddr,
    pub(super) run: Vec<u8>,
}

/// A client that uses a stream.
#[derive(Debug)]
pub(crate) struct StreamClient {
    /// The address that its TCP connection comes from.
    pub(crate) addr: SocketAddr,
    /// Cancelled when it has registered: it is no newcomer any more.
    pub(crate) registered: CancellationToken,
    /// Cancelled when its control connection has ended.
    pub(crate) ended: CancellationToken,
    /// The datagrams that wait to be sent to it.
    pub(crate) queue: DatagramQueue,
}

/// All clients that use streams.
#[derive(Debug)]
pub(super) struct Streams {
    /// Held only to look up, add or remove a client.
    clients: RwLock<HashMap<u64, Arc<StreamClient>>>,
    next: AtomicU64,
    batches: Sender<Batch>,
    /// Only the plane's thread takes this lock.
    received: Mutex<Receiver<Batch>>,
}

impl Default for Streams {
    fn default() -> Self {
        let (batches, received) = mpsc::channel(BATCHES_MAX);
        Self {
            clients: RwLock::default(),
            next: AtomicU64::new(1),
            batches,
            received: Mutex::new(received),
        }
    }
}

impl Streams {
    /// Adds a client whose TCP connection comes from this address. Returns its synthetic address.
    pub(super) fn add(&self, addr: SocketAddr) -> (SocketAddr, Arc<StreamClient>) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let client = Arc::new(StreamClient {
            addr,
            registered: CancellationToken::new(),
            ended: CancellationToken::new(),
            queue: DatagramQueue::default(),
        });
        self.write().insert(number, client.clone());
        (address(number), client)
    }

    /// Removes a client. Datagrams for it are dropped from now on.
    pub(super) fn remove(&self, at: SocketAddr) {
        if let Some(number) = number(at) {
            self.write().remove(&number);
        }
    }

    /// The client with this synthetic address.
    pub(super) fn client(&self, at: SocketAddr) -> Option<Arc<StreamClient>> {
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        clients.get(&number(at)?).cloned()
    }

    /// Queues a transmission for the client at its destination. `None`: the destination is no
    /// address of a stream.
    pub(super) fn send(&self, transmit: &Transmit<'_>) -> Option<Sent> {
        let number = number(transmit.destination)?;
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        Some(match clients.get(&number) {
            Some(client) => match client.queue.push(transmit) {
                Queued::All => Sent::Taken,
                Queued::Dropped => Sent::Full,
            },
            // The client has left.
            None => Sent::Refused,
        })
    }

    /// Passes datagrams of a client to the plane. Waits while the plane is busy.
    pub(super) async fn pass(&self, batch: Batch) {
        // The receiver is a field of the same value, so it exists.
        let _sent = self.batches.send(batch).await;
    }

    /// The next batch for the plane.
    pub(super) fn next(&self) -> Option<Batch> {
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.try_recv().ok()
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<u64, Arc<StreamClient>>> {
        self.clients.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The synthetic address of a stream.
fn address(number: u64) -> SocketAddr {
    let [a, b, c, d] = PREFIX.map(u128::from);
    let bits = a << 112 | b << 96 | c << 80 | d << 64 | u128::from(number);
    SocketAddr::new(Ipv6Addr::from_bits(bits).into(), PORT)
}

/// The number of the stream with this address, if it is one.
fn number(addr: SocketAddr) -> Option<u64> {
    let SocketAddr::V6(v6) = addr else {
        return None;
    };
    let is_stream = v6.ip().segments()[..4] == PREFIX;
    let [.., a, b, c, d, e, f, g, h] = v6.ip().octets();
    is_stream.then(|| u64::from_be_bytes([a, b, c, d, e, f, g, h]))
}

/// Whether an address belongs to a stream. No UDP datagram may come from one.
pub(super) fn is_stream(addr: SocketAddr) -> bool {
    number(addr).is_some()
}

/// The datagrams of a batch as runs that [`super::forward::Forwarder::sort`] accepts: in each, all
/// have the same size, but the last may be shorter.
pub(super) fn equal_runs(batch: &[u8], mut each: impl FnMut(&mut [u8], usize)) {
    let (mut run, mut stride) = (Vec::new(), 0);
    for datagram in hobnob_transport::stream::datagrams(batch) {
        let fits = run.len() % stride.max(1) == 0 && datagram.len() <= stride;
        if !run.is_empty() && !fits {
            each(&mut run, stride);
            run.clear();
        }
        if run.is_empty() {
            stride = datagram.len();
        }
        run.extend_from_slice(datagram);
    }
    if !run.is_empty() {
        each(&mut run, stride);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_transport::stream::queue::Taken;
    use hobnob_transport::stream::{datagrams, push_datagram};

    fn transmit(destination: SocketAddr) -> Transmit<'static> {
        Transmit {
            destination,
            ecn: None,
            contents: b"hello",
            segment_size: None,
            src_ip: None,
        }
    }

    #[tokio::test]
    async fn a_client_is_reached_by_its_own_address_until_it_leaves() {
        let streams = Streams::default();
        let tcp: SocketAddr = "192.0.2.7:5000".parse().unwrap();
        let (ann, client) = streams.add(tcp);
        assert_eq!(streams.client(ann).unwrap().addr, tcp);
        assert_eq!(streams.send(&transmit(ann)), Some(Sent::Taken));
        let mut taken = Taken::default();
        client.queue.take(&mut taken).await;
        assert_eq!(datagrams(&taken.run).collect::<Vec<_>>(), [b"hello"]);
        streams.remove(ann);
        let (bob, _) = streams.add(tcp);
        assert_ne!(ann, bob);
        assert_eq!(streams.send(&transmit(ann)), Some(Sent::Refused));
        assert!(is_stream(ann) && !is_stream(tcp));
        assert_eq!(streams.send(&transmit(tcp)), None);
        let neighbour = "[fd68:6f62:6e72:1::1]:1".parse().unwrap();
        assert!(!is_stream(neighbour));
    }

    #[test]
    fn datagrams_of_one_size_are_sorted_together() {
        let mut batch = Vec::new();
        for text in ["aaa", "bbb", "c", "dd", "ee", "fffff"] {
            push_datagram(&mut batch, text.as_bytes());
        }
        let mut runs = Vec::new();
        equal_runs(&batch, |run, stride| {
            runs.push((String::from_utf8(run.to_vec()).unwrap(), stride));
        });
        let expected = [("aaabbbc", 3), ("ddee", 2), ("fffff", 5)];
        assert_eq!(runs, expected.map(|(run, stride)| (run.to_owned(), stride)));
    }
}
