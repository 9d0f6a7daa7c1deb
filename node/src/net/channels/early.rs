//! Early frames: frames of channels that the relay has not announced yet.
//!
//! The relay announces a new channel to both ends on their control streams. The end that asked for
//! it sends at once, so its first frames can overtake the announcement. They are held for a moment,
//! and released as soon as the channel is known. Only frames from relays that this node is connected
//! with are held.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use hobnob_protocol::datagram::ChannelId;
use quinn::udp::RecvMeta;

/// Frames that are held at the same time, of at most
/// [`DATAGRAM_MAX`](crate::net::demux::DATAGRAM_MAX) bytes each. For one more, the oldest is dropped.
const FRAMES_MAX: usize = 64;

/// Frames of one channel that are held at the same time. Further ones are dropped. A first flight is
/// two or three datagrams.
const FRAMES_OF_CHANNEL_MAX: usize = 8;

/// How long a frame is held. After this time its sender has begun to send it again.
const HELD_FOR: Duration = Duration::from_secs(1);

/// Received datagrams, in the form that quinn expects.
#[derive(Debug, Clone)]
pub(in crate::net) struct Received {
    pub(in crate::net) meta: RecvMeta,
    pub(in crate::net) bytes: Vec<u8>,
}

/// The datagram from a channel frame, without the frame's header.
#[derive(Debug)]
struct Frame {
    relay: SocketAddr,
    channel: ChannelId,
    at: Instant,
    datagram: Received,
}

/// Frames that wait for their channels, and datagrams that wait for quinn.
#[derive(Debug, Default)]
pub(super) struct Early {
    frames: VecDeque<Frame>,
    released: VecDeque<Received>,
    /// Wakes the task that takes released datagrams.
    waker: Option<Waker>,
}

impl Early {
    /// Holds a datagram from a frame of this channel. Returns how many were dropped, old ones
    /// included.
    pub(super) fn hold(
        &mut self,
        now: Instant,
        relay: SocketAddr,
        channel: ChannelId,
        datagram: Received,
    ) -> u64 {
        let mut dropped = self.expire(now);
        if self
            .frames
            .iter()
            .filter(|frame| frame.channel == channel)
            .count()
            >= FRAMES_OF_CHANNEL_MAX
        {
            return dropped + 1;
        }
        if self.frames.len() == FRAMES_MAX {
            self.frames.pop_front();
            dropped += 1;
        }
        self.frames.push_back(Frame {
            relay,
            channel,
            at: now,
            datagram,
        });
        dropped
    }

    /// The channel is known now, and its peer has the address `addr`. Returns how many of its
    /// datagrams are released, and how many frames were dropped.
    pub(super) fn release(
        &mut self,
        now: Instant,
        relay: SocketAddr,
        channel: ChannelId,
        addr: SocketAddr,
    ) -> (u64, u64) {
        let mut dropped = self.expire(now);
        let mut released = 0;
        for _ in 0..self.frames.len() {
            let frame = self.frames.pop_front().expect("as many as were counted");
            if frame.channel != channel {
                self.frames.push_back(frame);
            } else if !same_place(frame.relay, relay) || self.released.len() == FRAMES_MAX {
                dropped += 1;
            } else {
                self.pass_on(frame.datagram, addr);
                released += 1;
            }
        }
        if released > 0
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
        (released, dropped)
    }

    /// Releases a datagram to quinn, as one from this address.
    pub(super) fn pass_on(&mut self, datagram: Received, addr: SocketAddr) {
        let Received { meta, bytes } = datagram;
        self.released.push_back(Received {
            meta: RecvMeta { addr, ..meta },
            bytes,
        });
    }

    /// The next released datagram.
    pub(super) fn take(&mut self) -> Option<Received> {
        self.released.pop_front()
    }

    /// Wakes this task when a datagram is released. Returns whether one is released already.
    pub(super) fn wake_on_release(&mut self, cx: &Context<'_>) -> bool {
        if self
            .waker
            .as_ref()
            .is_none_or(|waker| !waker.will_wake(cx.waker()))
        {
            self.waker = Some(cx.waker().clone());
        }
        !self.released.is_empty()
    }

    fn expire(&mut self, now: Instant) -> u64 {
        let old = self
            .frames
            .iter()
            .take_while(|frame| now.duration_since(frame.at) > HELD_FOR)
            .count();
        self.frames.drain(..old);
        old as u64
    }
}

/// Whether two addresses are the same socket, in either form of an IPv4 address.
pub(super) fn same_place(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && a.ip().to_canonical() == b.ip().to_canonical()
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "any instant will do to count from"
)]
mod tests {
    use super::*;

    fn relay() -> SocketAddr {
        "11.0.0.1:4627".parse().unwrap()
    }

    fn peer() -> SocketAddr {
        "240.0.0.7:1".parse().unwrap()
    }

    fn datagram(n: u8) -> Received {
        Received {
            meta: RecvMeta {
                addr: relay(),
                len: 1,
                stride: 1,
                ..RecvMeta::default()
            },
            bytes: vec![n],
        }
    }

    fn taken(early: &mut Early) -> Vec<u8> {
        std::iter::from_fn(|| early.take())
            .inspect(|taken| assert_eq!(taken.meta.addr, peer()))
            .map(|taken| taken.bytes[0])
            .collect()
    }

    const CHANNEL: ChannelId = ChannelId([1; 8]);
    const OTHER: ChannelId = ChannelId([2; 8]);

    #[test]
    fn frames_are_released_in_order_when_their_channel_is_known_and_not_before() {
        let (now, mut early) = (Instant::now(), Early::default());
        for (channel, n) in [(CHANNEL, 1), (OTHER, 2), (CHANNEL, 3)] {
            assert_eq!(early.hold(now, relay(), channel, datagram(n)), 0);
        }
        assert!(taken(&mut early).is_empty());
        assert_eq!(early.release(now, relay(), CHANNEL, peer()), (2, 0));
        assert_eq!(taken(&mut early), [1, 3]);
        assert_eq!(early.release(now, relay(), CHANNEL, peer()), (0, 0));
        assert_eq!(early.release(now, relay(), OTHER, peer()), (1, 0));
        assert_eq!(taken(&mut early), [2]);
    }

    #[test]
    fn no_relay_speaks_for_another_ones_channel() {
        let (now, mut early) = (Instant::now(), Early::default());
        early.hold(now, "11.0.0.2:4627".parse().unwrap(), CHANNEL, datagram(1));
        early.hold(now, relay(), CHANNEL, datagram(2));
        assert_eq!(early.release(now, relay(), CHANNEL, peer()), (1, 1));
        assert_eq!(taken(&mut early), [2]);
    }

    #[test]
    fn frames_are_held_for_a_moment_and_only_so_many() {
        let (now, mut early) = (Instant::now(), Early::default());
        for _ in 0..FRAMES_OF_CHANNEL_MAX {
            assert_eq!(early.hold(now, relay(), CHANNEL, datagram(0)), 0);
        }
        assert_eq!(
            early.hold(now, relay(), CHANNEL, datagram(99)),
            1,
            "a channel has no more than its share"
        );
        let later = now + HELD_FOR;
        let other = |n: usize| ChannelId((n as u64 + 100).to_be_bytes());
        let dropped: u64 = (0..FRAMES_MAX)
            .map(|n| early.hold(later, relay(), other(n), datagram(0)))
            .sum();
        assert_eq!(
            (dropped, early.frames.len()),
            (FRAMES_OF_CHANNEL_MAX as u64, FRAMES_MAX),
            "the oldest make room"
        );
        assert_eq!(early.release(later, relay(), CHANNEL, peer()), (0, 0));
        let too_late = later + HELD_FOR + Duration::from_millis(1);
        assert_eq!(
            early.release(too_late, relay(), other(0), peer()),
            (0, FRAMES_MAX as u64)
        );
        assert!(taken(&mut early).is_empty());
    }
}
