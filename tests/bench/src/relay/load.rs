//! Generates load on a relay: frames without QUIC between registered peers, at a chosen rate.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use hobnob_protocol::datagram::{CHANNEL_HEADER, ChannelId};
use hobnob_tests::lab::{Stopwatch, pause};

use super::carrier::{Carrier, TIMED};
use super::{Peer, Relay};

/// Length of an inner datagram.
pub(crate) const INNER: usize = 1200;

/// Interval at which the generator reads its clock.
const TICK: Duration = Duration::from_micros(200);

/// After this time without a frame, no more frames are expected.
const QUIET: Duration = Duration::from_millis(100);

/// A sender and two listeners.
#[derive(Debug)]
pub(crate) struct Load {
    sender: Peer,
    channels: [ChannelId; 2],
    listeners: [Peer; 2],
}

/// The load to generate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer {
    pub(crate) frames_per_second: f64,
    pub(crate) time: Duration,
    /// Frames per system call of the generator. They alternate between two channels, so that the
    /// relay sends each one separately.
    pub(crate) at_once: usize,
    /// Whether to send a message of 64 bytes each millisecond and measure its latency.
    pub(crate) timed: bool,
}

/// The result.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) sent: u64,
    pub(crate) arrived: u64,
    pub(crate) seconds: f64,
    /// One-way latencies in microseconds.
    pub(crate) latencies: Vec<f64>,
}

impl Outcome {
    /// Share of the sent frames that arrived.
    pub(crate) fn share(&self) -> f64 {
        self.arrived as f64 / self.sent as f64
    }

    /// Arrived frames per second.
    pub(crate) fn goodput(&self) -> f64 {
        self.arrived as f64 / self.seconds
    }
}

impl Load {
    /// Registers three peers with the seeds `seed` to `seed + 2`.
    pub(crate) async fn new(relay: &Relay, seed: u8) -> anyhow::Result<Self> {
        let mut sender = Peer::join(relay, seed).await?;
        let mut listeners = [
            Peer::join(relay, seed + 1).await?,
            Peer::join(relay, seed + 2).await?,
        ];
        let mut channels = Vec::new();
        for listener in &mut listeners {
            channels.push(sender.open(listener).await?[0]);
            listener.carrier.bare.on.store(true, Ordering::Relaxed);
            listener.only_sends_heartbeats();
        }
        sender.only_sends_heartbeats();
        let channels = channels.try_into().ok().context("two channels")?;
        Ok(Self {
            sender,
            channels,
            listeners,
        })
    }

    /// Generates the load and waits until no more frames arrive.
    pub(crate) async fn offer(&self, offer: Offer) -> anyhow::Result<Outcome> {
        let before = self.arrived();
        for listener in &self.listeners {
            listener
                .carrier
                .bare
                .latencies
                .lock()
                .expect("no thread panics while it holds this lock")
                .clear();
        }
        let (carrier, channels) = (self.sender.carrier.clone(), self.channels);
        let clock = self.listeners[0].carrier.clone();
        let begun = Stopwatch::start();
        let sent =
            tokio::task::spawn_blocking(move || send(&carrier, channels, &clock, offer)).await?;
        let seconds = begun.elapsed().as_secs_f64();
        let mut seen = self.arrived();
        loop {
            tokio::time::sleep(QUIET).await;
            let now = self.arrived();
            if now == seen {
                break;
            }
            seen = now;
        }
        let taken = std::mem::take(
            &mut *self.listeners[0]
                .carrier
                .bare
                .latencies
                .lock()
                .expect("no thread panics while it holds this lock"),
        );
        let latencies = taken.into_iter().map(|nanos| nanos as f64 / 1e3).collect();
        Ok(Outcome {
            sent,
            arrived: seen - before,
            seconds,
            latencies,
        })
    }

    fn arrived(&self) -> u64 {
        self.listeners
            .iter()
            .map(|listener| listener.carrier.bare.frames.load(Ordering::Acquire))
            .sum()
    }
}

/// Sends until the time is over. Returns the number of frames.
fn send(carrier: &Carrier, channels: [ChannelId; 2], clock: &Arc<Carrier>, offer: Offer) -> u64 {
    let frames = channels.map(|channel| [&channel.header()[..], &[7; INNER]].concat());
    let each = frames[0].len();
    let batch: Vec<u8> = frames
        .iter()
        .cycle()
        .take(offer.at_once.next_multiple_of(2))
        .flatten()
        .copied()
        .collect();
    let batches: Vec<&[u8]> = batch.chunks(each * offer.at_once).collect();
    let mut timed = vec![7; TIMED];
    timed[..CHANNEL_HEADER].copy_from_slice(&channels[0].header());
    let (begun, mut sent, mut messages) = (Stopwatch::start(), 0, 0);
    while begun.elapsed() < offer.time {
        let elapsed = begun.elapsed();
        let due = elapsed.as_secs_f64() * offer.frames_per_second;
        for batch in batches.iter().cycle() {
            // Skips frames that are late, so that a delayed generator does not send a burst.
            if sent as f64 >= due || begun.elapsed() > elapsed + 10 * TICK {
                break;
            }
            // If the system's buffer is full, this batch is lost.
            if carrier.send_bare(batch, each).is_ok() {
                sent += offer.at_once as u64;
            }
        }
        if offer.timed && elapsed.as_millis() >= messages {
            messages = elapsed.as_millis() + 1;
            timed[CHANNEL_HEADER..CHANNEL_HEADER + 8]
                .copy_from_slice(&clock.bare.now().to_be_bytes());
            sent += u64::from(carrier.send_bare(&timed, TIMED).is_ok());
        }
        pause(TICK);
    }
    sent
}
