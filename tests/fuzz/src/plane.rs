//! Batches of datagrams at a relay: the sort of the forwarding plane.

use std::net::SocketAddr;
use std::sync::Arc;

use hobnob_protocol::datagram::{CHANNEL_HEADER, ChannelId, Class};
use hobnob_relay::plane::fuzz;
use hobnob_relay::route::Route;
use hobnob_transport::stun;

/// Longest datagram that a relay accepts, as QUIC announces it.
const DATAGRAM_MAX: usize = 1472;

const ANN_TO_BOB: ChannelId = ChannelId(*b"ann->bob");
const BOB_TO_ANN: ChannelId = ChannelId(*b"bob->ann");

/// The sort does with a batch what its description says about each datagram by itself: QUIC stays,
/// in order; a frame of a channel goes to the other end under the other name; STUN is answered; the
/// rest is dropped. It counts every datagram that is not QUIC.
pub(crate) fn run(data: &[u8]) {
    // The first bytes choose the size of the datagrams, their sender and what the system takes.
    let Some((&[stride, more_stride, choice], batch)) = data.split_first_chunk() else {
        return;
    };
    let stride = u16::from_be_bytes([stride, more_stride]).into();
    let from = [ann(), bob(), stranger()][usize::from(choice) % 3];
    let segments = 1 + usize::from(choice >> 4);
    let sorted = fuzz::sort(&routes(), from, batch, stride, segments);
    if stride == 0 {
        assert!(sorted.quic.is_empty() && sorted.sent.is_empty());
        return;
    }

    let (mut quic, mut sent, mut others) = (Vec::new(), Vec::new(), 0);
    for datagram in batch.chunks(stride) {
        let class = Class::of(datagram);
        if datagram.len() <= DATAGRAM_MAX && class == Class::Quic {
            quic.extend_from_slice(datagram);
            continue;
        }
        others += 1;
        if datagram.len() <= DATAGRAM_MAX {
            sent.extend(forwarded(datagram, from));
            let answer = stun::server::answer(datagram, from).filter(|_| class == Class::Stun);
            sent.extend(answer.map(|answer| (from, answer.as_slice().to_vec())));
        }
    }
    assert_eq!(sorted.quic, quic);
    assert_eq!(sorted.sent, sent);
    let counted = sorted.counted;
    let counted = [
        counted.frames,
        counted.unknown_channel,
        counted.wrong_sender,
        counted.oversized,
        counted.probe,
        counted.beats_refused,
        counted.unknown,
        counted.stun_answered,
        counted.stun_malformed,
        counted.stun_over_rate,
    ];
    assert_eq!(counted.iter().sum::<u64>(), others, "{counted:?}");
}

/// The frame that the relay sends for one that it received.
fn forwarded(datagram: &[u8], from: SocketAddr) -> Option<(SocketAddr, Vec<u8>)> {
    let channel = ChannelId::of(datagram).filter(|_| Class::of(datagram) == Class::Channel)?;
    let route = routes()
        .into_iter()
        .find(|route| route.channel == channel)?;
    let becomes = [&route.becomes.header()[..], &datagram[CHANNEL_HEADER..]].concat();
    (route.from == from).then_some((route.to, becomes))
}

fn routes() -> [Route; 2] {
    let route = |channel, from, to, becomes| Route {
        channel,
        from,
        to,
        becomes,
        meter: Arc::default(),
        used: Arc::default(),
    };
    [
        route(ANN_TO_BOB, ann(), bob(), BOB_TO_ANN),
        route(BOB_TO_ANN, bob(), ann(), ANN_TO_BOB),
    ]
}

fn ann() -> SocketAddr {
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 1).into()
}

fn bob() -> SocketAddr {
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 2], 2).into()
}

fn stranger() -> SocketAddr {
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 3], 3).into()
}

pub(crate) fn samples() -> Vec<Vec<u8>> {
    let frame = |channel: ChannelId| [&channel.header()[..], &[0x40; 11]].concat();
    let quic = vec![0x40; 20];
    let batch = [
        frame(ANN_TO_BOB),
        frame(ANN_TO_BOB),
        quic.clone(),
        frame(BOB_TO_ANN),
        stun::client::request([1; 12]).to_vec(),
        quic,
        vec![0x20; 20],
        frame(ANN_TO_BOB),
        frame(ANN_TO_BOB)[..12].to_vec(),
    ]
    .concat();
    let input = |choice| [&[0, 20, choice], &batch[..]].concat();
    vec![input(0), input(0x31), input(2)]
}
