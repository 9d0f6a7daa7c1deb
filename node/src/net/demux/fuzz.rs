//! For the fuzz target of the sorter: runs it without a socket.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use quinn::udp::RecvMeta;
use tokio::sync::mpsc;

use super::side_datagram::SideDatagram;
use super::sort::Sorter;
use crate::net::channels::Channels;
use crate::net::counters::{Counted, Counters};

/// Datagrams of one sender for quinn. Each has `stride` bytes; the last may be shorter.
#[derive(Debug)]
pub struct Run {
    /// The sender: the machine that sent them, or the synthetic address of a relayed peer.
    pub from: SocketAddr,
    /// The length of each datagram.
    pub stride: usize,
    /// The datagrams.
    pub bytes: Vec<u8>,
}

/// The sorter's results for a batch.
#[derive(Debug)]
pub struct Sorted {
    /// The datagrams that quinn receives, in order.
    pub runs: Vec<Run>,
    /// The datagrams that the engine receives, in order.
    pub side: Vec<SideDatagram>,
    /// How many datagrams were dropped, by cause.
    pub counted: Counted,
}

/// Datagrams that the engine has room for.
const SIDE_MAX: usize = 4;

/// Sorts a batch of datagrams of `stride` bytes from one machine. `bind` adds channels to the
/// sorter's table first.
pub fn sort(bind: impl FnOnce(&Channels), from: SocketAddr, batch: &[u8], stride: usize) -> Sorted {
    let counters = Arc::<Counters>::default();
    let channels = Channels::new(true, counters.clone());
    bind(&channels);
    let (side_datagrams, mut arrived) = mpsc::channel(SIDE_MAX);
    let sorter = Sorter {
        counters: counters.clone(),
        channels,
        side_datagrams,
    };
    let mut buf = batch.to_vec();
    let mut meta = RecvMeta {
        addr: from,
        len: buf.len(),
        stride,
        ..RecvMeta::default()
    };
    let mut held = VecDeque::new();
    sorter.sort(&mut buf, &mut meta, &mut held);
    buf.truncate(meta.len);
    let first = Run {
        from: meta.addr,
        stride: meta.stride,
        bytes: buf,
    };
    let later = held.into_iter().map(|held| Run {
        from: held.meta.addr,
        stride: held.meta.stride,
        bytes: held.bytes,
    });
    Sorted {
        runs: [first].into_iter().chain(later).collect(),
        side: std::iter::from_fn(|| arrived.try_recv().ok()).collect(),
        counted: counters.snapshot(),
    }
}
