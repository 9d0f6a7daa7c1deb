//! The bounded queue of datagrams that wait to be written to a stream.
//!
//! A datagram that does not fit is dropped, as by a full UDP socket. The congestion control of the
//! connection inside notices the loss.

use std::sync::{Mutex, MutexGuard, PoisonError};

use quinn::udp::Transmit;
use tokio::sync::Notify;

use super::push_datagram;

/// Most bytes that wait. It is 40 ms of a path of 50 Mbit/s, so that a message beside a file does
/// not wait long.
pub const QUEUE_BYTES_MAX: usize = 256 * 1024;

/// Whether a queue accepted datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queued {
    /// All of them.
    All,
    /// At least one was dropped.
    Dropped,
}

/// A queue. Any thread may add to it, and one task empties it.
#[derive(Debug, Default)]
pub struct DatagramQueue {
    waiting: Mutex<Waiting>,
    ready: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    run: Vec<u8>,
    pong: Option<Vec<u8>>,
}

/// The datagrams and pongs that wait to be written.
#[derive(Debug, Default)]
pub struct Taken {
    /// Datagrams with their lengths in front.
    pub run: Vec<u8>,
    /// The answer to the last ping.
    pub pong: Option<Vec<u8>>,
}

impl DatagramQueue {
    /// Adds the datagrams of a transmission. Never waits.
    pub fn push(&self, transmit: &Transmit<'_>) -> Queued {
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len());
        let mut queued = Queued::All;
        let mut waiting = self.lock();
        for datagram in transmit.contents.chunks(segment.max(1)) {
            let full = waiting.run.len() + datagram.len() > QUEUE_BYTES_MAX;
            if full || !push_datagram(&mut waiting.run, datagram) {
                queued = Queued::Dropped;
            }
        }
        drop(waiting);
        self.ready.notify_one();
        queued
    }

    /// Answers a ping. Of several, only the last is answered.
    pub fn push_pong(&self, content: Vec<u8>) {
        self.lock().pong = Some(content);
        self.ready.notify_one();
    }

    /// Waits for datagrams and takes all of them. The emptied buffer of `taken` is used again.
    /// Cancel-safe.
    pub async fn take(&self, taken: &mut Taken) {
        taken.run.clear();
        loop {
            {
                let mut waiting = self.lock();
                taken.pong = waiting.pong.take();
                std::mem::swap(&mut taken.run, &mut waiting.run);
            }
            if !taken.run.is_empty() || taken.pong.is_some() {
                return;
            }
            // An idle connection should not keep its largest burst in memory.
            taken.run = Vec::new();
            self.ready.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // No code that holds the lock can panic half-way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::datagrams;

    fn transmit(contents: &[u8], segment_size: Option<usize>) -> Transmit<'_> {
        Transmit {
            destination: "[::1]:9".parse().unwrap(),
            ecn: None,
            contents,
            segment_size,
            src_ip: None,
        }
    }

    #[tokio::test]
    async fn datagrams_of_one_transmission_are_taken_together() {
        let queue = DatagramQueue::default();
        assert_eq!(queue.push(&transmit(b"annbob!", Some(3))), Queued::All);
        queue.push_pong(b"1".to_vec());
        queue.push_pong(b"2".to_vec());
        let mut taken = Taken::default();
        queue.take(&mut taken).await;
        let got: Vec<_> = datagrams(&taken.run).collect();
        assert_eq!(got, [&b"ann"[..], b"bob", b"!"]);
        assert_eq!(taken.pong, Some(b"2".to_vec()));
    }

    #[tokio::test]
    async fn a_full_queue_drops() {
        let queue = DatagramQueue::default();
        let datagram = [0; 1200];
        let pushed = (0..).take_while(|_| queue.push(&transmit(&datagram, None)) == Queued::All);
        let pushed = pushed.count();
        assert!((200..=QUEUE_BYTES_MAX / 1200).contains(&pushed));
        assert_eq!(queue.push(&transmit(&[0; 1501], None)), Queued::Dropped);
        let mut taken = Taken::default();
        queue.take(&mut taken).await;
        assert_eq!(datagrams(&taken.run).count(), pushed);
        assert_eq!(queue.push(&transmit(&datagram, None)), Queued::All);
    }
}
