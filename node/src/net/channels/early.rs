//! Frames of channels that the relay has not told of yet.
//!
//! The relay tells both ends of a new channel on their control streams, and whoever asked for it
//! sends at once: the first frames can overtake the news. They are kept for a moment, and handed on
//! as soon as the channel is known. Frames alone come here, from addresses of relays that this node
//! is connected with; what comes from elsewhere never had a chance.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use hobnob_protocol::datagram::ChannelId;
use quinn::udp::RecvMeta;

use super::same_place;

/// Frames that are kept at once, of at most [`DATAGRAM_MAX`](crate::net::demux::DATAGRAM_MAX) bytes
/// each; for one more, the oldest is dropped.
const FRAMES_MAX: usize = 64;

/// Frames of one channel that are kept at once; a further one is dropped. A first flight is two or
/// three.
const FRAMES_OF_CHANNEL_MAX: usize = 8;

/// How long a frame is kept. By then its sender has begun to send it again.
const KEPT_FOR: Duration = Duration::from_secs(1);

/// What was received, as quinn is to see it.
#[derive(Debug, Clone)]
pub(in crate::net) struct Received {
    pub(in crate::net) meta: RecvMeta,
    pub(in crate::net) bytes: Vec<u8>,
}

/// A datagram that came in a frame, which is no longer around it.
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
    /// Wakes whoever takes what is released.
    waker: Option<Waker>,
}

impl Early {
    /// Keeps a datagram from a frame of this channel; returns how many were dropped, old ones among
    /// them.
    pub(super) fn keep(
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

    /// The channel is known now, and its frames come from `addr`; returns how many of them can be
    /// handed on, and how many frames were dropped.
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
            let Some(frame) = self.frames.pop_front() else {
                break;
            };
            if frame.channel != channel {
                self.frames.push_back(frame);
            } else if !same_place(frame.relay, relay) || self.released.len() == FRAMES_MAX {
                dropped += 1;
            } else {
                self.hand_on(frame.datagram, addr);
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

    /// Lets quinn see a datagram, as from this address.
    pub(super) fn hand_on(&mut self, datagram: Received, addr: SocketAddr) {
        let Received { meta, bytes } = datagram;
        self.released.push_back(Received {
            meta: RecvMeta { addr, ..meta },
            bytes,
        });
    }

    /// What quinn is to see next.
    pub(super) fn take(&mut self) -> Option<Received> {
        self.released.pop_front()
    }

    /// Has this task woken when something is released; says whether something is already.
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
            .take_while(|frame| now.duration_since(frame.at) > KEPT_FOR)
            .count();
        self.frames.drain(..old);
        old as u64
    }
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
    fn frames_are_handed_on_in_order_when_their_channel_is_known_and_not_before() {
        let (now, mut early) = (Instant::now(), Early::default());
        for (channel, n) in [(CHANNEL, 1), (OTHER, 2), (CHANNEL, 3)] {
            assert_eq!(early.keep(now, relay(), channel, datagram(n)), 0);
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
        early.keep(now, "11.0.0.2:4627".parse().unwrap(), CHANNEL, datagram(1));
        early.keep(now, relay(), CHANNEL, datagram(2));
        assert_eq!(early.release(now, relay(), CHANNEL, peer()), (1, 1));
        assert_eq!(taken(&mut early), [2]);
    }

    #[test]
    fn frames_are_kept_for_a_moment_and_only_so_many() {
        let (now, mut early) = (Instant::now(), Early::default());
        for _ in 0..FRAMES_OF_CHANNEL_MAX {
            assert_eq!(early.keep(now, relay(), CHANNEL, datagram(0)), 0);
        }
        assert_eq!(
            early.keep(now, relay(), CHANNEL, datagram(99)),
            1,
            "a channel has no more than its share"
        );
        let later = now + KEPT_FOR;
        let other = |n: usize| ChannelId((n as u64 + 100).to_be_bytes());
        let dropped: u64 = (0..FRAMES_MAX)
            .map(|n| early.keep(later, relay(), other(n), datagram(0)))
            .sum();
        assert_eq!(
            (dropped, early.frames.len()),
            (FRAMES_OF_CHANNEL_MAX as u64, FRAMES_MAX),
            "the oldest make room"
        );
        assert_eq!(early.release(later, relay(), CHANNEL, peer()), (0, 0));
        let too_late = later + KEPT_FOR + Duration::from_millis(1);
        assert_eq!(
            early.release(too_late, relay(), other(0), peer()),
            (0, FRAMES_MAX as u64)
        );
        assert!(taken(&mut early).is_empty());
    }
}
