//! For the fuzz target of the forwarder: runs it without a socket. Not part of the API.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::udp::{RecvMeta, Transmit};

use super::counters::{Counted, Counters};
use super::forward::Forwarder;
use super::packet_sink::{PacketSink, Sent};
use super::route_table::RouteTable;
use crate::route::{Route, Update};

/// The forwarder's results for a batch.
#[derive(Debug, Default)]
pub struct Sorted {
    /// The bytes left for QUIC.
    pub quic: Vec<u8>,
    /// The datagrams sent, in order, with their destinations.
    pub sent: Vec<(SocketAddr, Vec<u8>)>,
    /// How many datagrams were forwarded, answered and dropped.
    pub counted: Counted,
}

/// Sorts a batch of datagrams of `stride` bytes from one sender, with a forwarder that has these
/// routes and no limits. The system sends at most `segments` datagrams at once.
pub fn sort(
    routes: &[Route],
    from: SocketAddr,
    batch: &[u8],
    stride: usize,
    segments: usize,
) -> Sorted {
    let counters = Arc::new(Counters::default());
    let mut forwarder = Forwarder::new(RouteTable::new(true), None, counters.clone());
    for route in routes {
        forwarder.table().apply(Update::Set(route.clone()));
    }
    let mut buf = batch.to_vec();
    let mut meta = RecvMeta {
        addr: from,
        len: buf.len(),
        stride,
        ..RecvMeta::default()
    };
    let mut out = Recorder {
        segments,
        sent: Vec::new(),
    };
    forwarder.sort(0, &mut buf, &mut meta, &mut out);
    buf.truncate(meta.len);
    Sorted {
        quic: buf,
        sent: out.sent,
        counted: counters.snapshot(),
    }
}

struct Recorder {
    segments: usize,
    sent: Vec<(SocketAddr, Vec<u8>)>,
}

impl PacketSink for Recorder {
    fn segments(&self) -> usize {
        self.segments
    }

    fn send(&mut self, transmit: &Transmit<'_>) -> Sent {
        let contents = transmit.contents;
        let size = transmit.segment_size.unwrap_or(contents.len());
        let datagrams = contents.chunks(size.max(1)).map(<[u8]>::to_vec);
        self.sent
            .extend(datagrams.map(|datagram| (transmit.destination, datagram)));
        Sent::Taken
    }
}
