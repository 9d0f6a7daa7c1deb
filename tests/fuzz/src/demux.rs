//! Batches of datagrams at a node: the sort below QUIC.

use std::net::SocketAddr;

use hobnob::net::channels::{Channels, RelayId};
use hobnob::net::demux::fuzz;
use hobnob_protocol::PersonId;
use hobnob_protocol::datagram::{AddressCheck, CHANNEL_HEADER, ChannelId, Class, Probe};
use hobnob_transport::stun::client as stun;

/// Longest datagram that a node accepts.
const DATAGRAM_MAX: usize = 6_500;

const ANN: ChannelId = ChannelId([1; 8]);
const BOB: ChannelId = ChannelId([2; 8]);

/// The sort does with a batch what its description says about each datagram by itself: quinn
/// receives all QUIC in order, relayed QUIC without the header and from the peer's synthetic
/// address. All other datagrams go to the engine or are dropped.
pub(crate) fn run(data: &[u8]) {
    // The first bytes choose the size of the datagrams and their sender.
    let Some((&[stride, more_stride, choice], batch)) = data.split_first_chunk() else {
        return;
    };
    let stride = u16::from_be_bytes([stride, more_stride]).into();
    let from = [relay(), stranger()][usize::from(choice) % 2];
    let mut peers = Vec::new();
    let bind = |channels: &Channels| {
        let mut random = 0;
        for channel in [ANN, BOB] {
            let peer = PersonId::from_bytes([channel.0[0]; 32]);
            let addr = channels.addr(RelayId(1), peer.only_device(), || {
                random += 1;
                random
            });
            channels.bind(addr, relay(), channel);
            peers.push((channel, addr));
        }
    };
    let sorted = fuzz::sort(bind, from, batch, stride);
    let received: Vec<_> = sorted
        .runs
        .iter()
        .flat_map(|run| {
            // A stride of 0 is never left with bytes: quinn would loop for ever.
            let datagrams = run
                .bytes
                .chunks(run.stride.max(usize::from(run.bytes.is_empty())));
            datagrams.map(|datagram| (run.from, datagram))
        })
        .collect();
    if stride == 0 {
        assert!(received.is_empty() && sorted.side.is_empty());
        return;
    }

    let expected: Vec<_> = batch
        .chunks(stride)
        .filter(|datagram| datagram.len() <= DATAGRAM_MAX)
        .filter_map(|datagram| {
            match Class::of(datagram) {
                Class::Quic => return Some((from, datagram)),
                Class::Channel => {}
                Class::Probe
                | Class::AddressCheck
                | Class::Heartbeat
                | Class::Stun
                | Class::Unknown => return None,
            }
            let channel = ChannelId::of(datagram)?;
            let (_, addr) = peers.iter().find(|(bound, _)| *bound == channel)?;
            let inner = &datagram[CHANNEL_HEADER..];
            (from == relay() && Class::of(inner) == Class::Quic).then_some((*addr, inner))
        })
        .collect();
    assert_eq!(received, expected);
    let dropped = sorted.counted;
    let dropped =
        dropped.stun + dropped.channel + dropped.probe + dropped.unknown + dropped.oversized;
    let all = batch.chunks(stride).len() as u64;
    // The rest are early frames, which wait for their channel.
    assert!((received.len() + sorted.side.len()) as u64 + dropped <= all);
}

fn relay() -> SocketAddr {
    ([192, 0, 2, 1], 4627).into()
}

fn stranger() -> SocketAddr {
    ([192, 0, 2, 9], 9).into()
}

pub(crate) fn samples() -> Vec<Vec<u8>> {
    let frame = |channel: ChannelId| [&channel.header()[..], &[0x40; 17]].concat();
    let token = [1; 16];
    let probe = Probe {
        answer: true,
        token,
    };
    let padded = |bytes: &[u8]| [bytes, &[0; 8]].concat()[..26].to_vec();
    let request = stun::request([1; 12]);
    let answer = hobnob_transport::stun::server::answer(&request, stranger());
    let answer = answer.expect("a request is answered");
    let batch = [
        frame(ANN),
        frame(ANN),
        vec![0x40; 26],
        frame(BOB),
        AddressCheck::Question(token).encode().to_vec(),
        padded(&probe.encode()),
        frame(ChannelId([3; 8])),
        vec![0x40; 9],
    ]
    .concat();
    vec![
        [&[0, 26, 0], &batch[..]].concat(),
        [&[0, 26, 1], &batch[..]].concat(),
        [&[0, 18, 0], &probe.encode()[..]].concat(),
        [&[0, 32, 0], answer.as_slice()].concat(),
    ]
}
