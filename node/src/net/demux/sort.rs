//! Sorts a received batch. QUIC stays in it, relayed QUIC is taken out of its channel frames, probes,
//! address checks and answers of STUN go to the engine, and the rest is counted.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use hobnob_protocol::datagram::{AddressCheck, CHANNEL_HEADER, ChannelId, Class, Probe};
use hobnob_transport::stream::datagrams;
use hobnob_transport::stun::client as stun;
use quinn::udp::RecvMeta;
use tokio::sync::mpsc;

use super::side_datagram::{DatagramKind, SideDatagram};
use crate::net::channels::{Channels, Received, RelayRoute};
use crate::net::counters::{Counters, count};
use hobnob_core::synthetic::is_synthetic;

/// The longest datagram that this node accepts, in bytes. Peers learn it from a transport parameter.
/// quinn gives the kernel ten at once, and the kernel takes at most 65,507 bytes.
pub(in crate::net) const DATAGRAM_MAX: u16 = 6_500;

/// Sorts received datagrams.
#[derive(Debug)]
pub(super) struct Sorter {
    pub(super) counters: Arc<Counters>,
    pub(super) channels: Channels,
    pub(super) side_datagrams: mpsc::Sender<SideDatagram>,
}

/// The sender of a datagram for quinn: the machine that sent it, or a relayed peer with this
/// synthetic address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sender {
    Direct,
    Relayed(SocketAddr),
}

impl Sorter {
    /// Leaves the first run of datagrams of one sender in the batch, in the form that quinn expects,
    /// and adds later runs to `held`.
    ///
    /// A batch holds datagrams of `meta.stride` bytes each; the last may be shorter. This remains
    /// true when some are dropped, all lose the same number of bytes in front, and the rest moves
    /// together.
    pub(super) fn sort(&self, buf: &mut [u8], meta: &mut RecvMeta, held: &mut VecDeque<Received>) {
        let len = meta.len.min(buf.len());
        if meta.stride == 0 || is_synthetic(meta.addr.ip()) {
            if meta.len > 0 {
                count(&self.counters.recv_error);
            }
            meta.len = 0;
            return;
        }
        meta.len = len;
        let batch = *meta;
        let all_quic = |datagram: &[u8]| {
            datagram.len() <= DATAGRAM_MAX.into() && Class::of(datagram) == Class::Quic
        };
        if buf[..len].chunks(batch.stride).all(all_quic) {
            return;
        }
        let mut route: Option<RelayRoute> = None;
        let mut first: Option<Sender> = None;
        let mut last: Option<Sender> = None;
        // Once a later run has begun, the first one is complete: quinn receives all in order.
        let mut in_first_run = true;
        let mut kept = 0;
        for start in (0..len).step_by(batch.stride) {
            let end = (start + batch.stride).min(len);
            let Some(sender) = self.sender(&buf[start..end], &batch, &mut route) else {
                continue;
            };
            let from = start + header(sender);
            if in_first_run && first.is_none_or(|first| first == sender) {
                first = Some(sender);
                buf.copy_within(from..end, kept);
                kept += end - from;
            } else if !in_first_run
                && last == Some(sender)
                && let Some(run) = held.back_mut()
            {
                run.bytes.extend_from_slice(&buf[from..end]);
                run.meta.len = run.bytes.len();
            } else {
                in_first_run = false;
                let mut bytes = Vec::with_capacity(len - start);
                bytes.extend_from_slice(&buf[from..end]);
                held.push_back(Received {
                    meta: run_meta(&batch, sender, bytes.len()),
                    bytes,
                });
            }
            last = Some(sender);
        }
        *meta = run_meta(&batch, first.unwrap_or(Sender::Direct), kept);
    }

    /// Sorts datagrams that a stream to a relay received, each with its length in front. Adds runs in
    /// the form that quinn expects to `sorted`. Returns false if one is neither QUIC nor a channel
    /// frame: a relay sends nothing else.
    pub(super) fn sort_stream(
        &self,
        from: SocketAddr,
        run: &[u8],
        sorted: &mut VecDeque<Received>,
    ) -> bool {
        let mut route: Option<RelayRoute> = None;
        for datagram in datagrams(run) {
            if !matches!(Class::of(datagram), Class::Quic | Class::Channel) {
                return false;
            }
            let batch = RecvMeta {
                addr: from,
                len: datagram.len(),
                stride: datagram.len(),
                ..RecvMeta::default()
            };
            let Some(sender) = self.sender(datagram, &batch, &mut route) else {
                continue;
            };
            let bytes = &datagram[header(sender)..];
            let meta = run_meta(&batch, sender, bytes.len());
            match sorted.back_mut() {
                Some(run) if continues(run, &meta) => {
                    run.bytes.extend_from_slice(bytes);
                    run.meta.len = run.bytes.len();
                }
                Some(_) | None => sorted.push_back(Received {
                    meta,
                    bytes: bytes.to_vec(),
                }),
            }
        }
        true
    }

    /// The sender of a datagram, or nothing if the datagram is not for quinn. `route` is the route of
    /// the channel frame before it.
    fn sender(
        &self,
        datagram: &[u8],
        batch: &RecvMeta,
        route: &mut Option<RelayRoute>,
    ) -> Option<Sender> {
        if datagram.len() > DATAGRAM_MAX.into() {
            count(&self.counters.oversized);
            return None;
        }
        match Class::of(datagram) {
            Class::Quic => return Some(Sender::Direct),
            Class::Channel => return self.relayed(datagram, batch, route),
            Class::Probe
                if self.pass_on(batch, Probe::decode(datagram).map(DatagramKind::Probe)) => {}
            Class::AddressCheck
                if self.pass_on(
                    batch,
                    AddressCheck::decode(datagram).map(DatagramKind::AddressCheck),
                ) => {}
            Class::Stun
                if self.pass_on(batch, stun::answer(datagram).map(DatagramKind::StunAnswer)) => {}
            Class::Heartbeat if self.channels.pass_sealed(batch.addr, datagram) => {}
            Class::Probe | Class::AddressCheck | Class::Heartbeat => count(&self.counters.probe),
            Class::Stun => count(&self.counters.stun),
            Class::Unknown => count(&self.counters.unknown),
        }
        None
    }

    fn relayed(
        &self,
        frame: &[u8],
        batch: &RecvMeta,
        route: &mut Option<RelayRoute>,
    ) -> Option<Sender> {
        let channel = ChannelId::of(frame)?;
        let datagram = &frame[CHANNEL_HEADER..];
        if Class::of(datagram) != Class::Quic {
            count(&self.counters.channel);
            return None;
        }
        if route.as_ref().is_none_or(|route| route.channel != channel) {
            *route = self.channels.route_from(channel, batch.addr);
            if let Some(route) = route {
                route.traffic.count_received();
            }
        }
        if route.is_none() {
            let meta = RecvMeta {
                len: datagram.len(),
                stride: datagram.len(),
                ..*batch
            };
            self.channels.hold_early(
                channel,
                batch.addr,
                Received {
                    meta,
                    bytes: datagram.to_vec(),
                },
            );
        }
        route.as_ref().map(|route| Sender::Relayed(route.addr))
    }

    /// Passes a datagram of a known kind to the engine. Returns whether the engine had room for it.
    fn pass_on(&self, batch: &RecvMeta, kind: Option<DatagramKind>) -> bool {
        kind.is_some_and(|kind| {
            let (from, to) = (batch.addr, batch.dst_ip);
            let datagram = SideDatagram { from, to, kind };
            self.side_datagrams.try_send(datagram).is_ok()
        })
    }
}

/// Whether a datagram with this metadata may be appended to a run. A run fits into the smallest
/// buffer that quinn provides.
fn continues(run: &Received, next: &RecvMeta) -> bool {
    run.meta.addr == next.addr
        && run.meta.len.is_multiple_of(run.meta.stride)
        && next.len <= run.meta.stride
        && run.meta.len + next.len <= DATAGRAM_MAX.into()
}

fn header(sender: Sender) -> usize {
    match sender {
        Sender::Direct => 0,
        Sender::Relayed(_) => CHANNEL_HEADER,
    }
}

/// The metadata that quinn receives for a run of `len` bytes of a batch.
fn run_meta(batch: &RecvMeta, sender: Sender, len: usize) -> RecvMeta {
    let mut meta = *batch;
    (meta.len, meta.stride) = (len, batch.stride - header(sender));
    if let Sender::Relayed(addr) = sender {
        meta.addr = addr;
    }
    meta
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::channels::RelayId;
    use crate::net::counters::Counted;
    use hobnob_protocol::DeviceId;

    /// A sorter that knows two peers by one relay, and their addresses.
    fn sorter() -> (Sorter, [SocketAddr; 2], mpsc::Receiver<SideDatagram>) {
        let (side_datagrams, arrived) = mpsc::channel(2);
        let counters = Arc::<Counters>::default();
        let channels = Channels::new(true, counters.clone());
        let mut n = 0;
        let addrs = [ANN, BOB].map(|channel| {
            let peer = DeviceId::from_bytes([channel.0[0]; 32]);
            let addr = channels.addr(RelayId(1), peer, || {
                n += 1;
                n
            });
            channels.bind(addr, relay(), channel);
            addr
        });
        (
            Sorter {
                counters,
                channels,
                side_datagrams,
            },
            addrs,
            arrived,
        )
    }

    fn relay() -> SocketAddr {
        "11.0.0.1:4627".parse().unwrap()
    }

    /// Sorts a batch of these datagrams from `from`. Returns the senders, strides and bytes that
    /// quinn receives.
    fn sorted(
        datagrams: &[&[u8]],
        stride: usize,
        from: SocketAddr,
    ) -> (Vec<(SocketAddr, usize, Vec<u8>)>, Counted) {
        let (sorter, ..) = sorter();
        let mut buf = datagrams.concat();
        let mut meta = RecvMeta {
            len: buf.len(),
            stride,
            addr: from,
            ..RecvMeta::default()
        };
        let mut held = VecDeque::new();
        sorter.sort(&mut buf, &mut meta, &mut held);
        let mut runs = vec![(meta.addr, meta.stride, buf[..meta.len].to_vec())];
        runs.extend(
            held.into_iter()
                .map(|held| (held.meta.addr, held.meta.stride, held.bytes)),
        );
        (runs, sorter.counters.snapshot())
    }

    fn left_of(datagrams: &[&[u8]], stride: usize) -> (Vec<u8>, Counted) {
        let (mut runs, counted) = sorted(datagrams, stride, relay());
        assert_eq!(runs.len(), 1);
        (runs.remove(0).2, counted)
    }

    fn frame(channel: ChannelId, inner: &[u8]) -> Vec<u8> {
        [&channel.header()[..], inner].concat()
    }

    #[test]
    fn a_stream_delivers_runs_of_one_sender() {
        let (sorter, [ann, bob], _) = sorter();
        let quic = |len: usize| vec![0x40; len];
        let mut run = Vec::new();
        for datagram in [
            frame(ANN, &quic(9)),
            frame(ANN, &quic(9)),
            frame(ANN, &quic(5)),
            frame(BOB, &quic(9)),
            quic(7),
        ] {
            hobnob_transport::stream::push_datagram(&mut run, &datagram);
        }
        let mut sorted = VecDeque::new();
        assert!(sorter.sort_stream(relay(), &run, &mut sorted));
        let runs: Vec<_> = sorted
            .iter()
            .map(|run| (run.meta.addr, run.meta.stride, run.bytes.len()))
            .collect();
        assert_eq!(runs, [(ann, 9, 23), (bob, 9, 9), (relay(), 7, 7)]);
        // Channels belong to the relay that announced them, whatever carries its datagrams.
        sorted.clear();
        let other = "11.0.0.2:1".parse().unwrap();
        assert!(sorter.sort_stream(other, &run, &mut sorted));
        assert_eq!(sorted.len(), 1);
        let mut probe = Vec::new();
        hobnob_transport::stream::push_datagram(&mut probe, &[hobnob_protocol::datagram::PROBE]);
        assert!(!sorter.sort_stream(relay(), &probe, &mut sorted));
    }

    const ANN: ChannelId = ChannelId([1; 8]);
    const BOB: ChannelId = ChannelId([2; 8]);
    const STUN: &[u8] = &[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 9, 9];
    const QUIC_1: &[u8] = &[0xc0, 1, 1, 1, 1, 1, 1, 1, 1, 1];
    const QUIC_2: &[u8] = &[0x40, 2, 2, 2, 2, 2, 2, 2, 2, 2];
    const SHORT_QUIC: &[u8] = &[0x7f, 3, 3];
    const CHANNEL: &[u8] = &[0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0x40];
    const GARBAGE: &[u8] = &[0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const STUN_WITHOUT_COOKIE: &[u8] = &[0, 1, 0, 0, 0, 0, 0, 0, 0, 0];

    #[test]
    fn a_batch_of_quic_passes_unchanged() {
        let (left, counted) = left_of(&[QUIC_1, QUIC_2, SHORT_QUIC], 10);
        assert_eq!(left, [QUIC_1, QUIC_2, SHORT_QUIC].concat());
        assert_eq!(counted, Counted::default());
    }

    #[test]
    fn a_mixed_batch_is_compacted_in_order_and_the_rest_counted() {
        let (left, counted) = left_of(
            &[
                STUN,
                QUIC_1,
                CHANNEL,
                QUIC_2,
                GARBAGE,
                STUN_WITHOUT_COOKIE,
                SHORT_QUIC,
            ],
            10,
        );
        assert_eq!(left, [QUIC_1, QUIC_2, SHORT_QUIC].concat());
        assert_eq!(
            counted,
            Counted {
                stun: 1,
                channel: 1,
                unknown: 2,
                ..Counted::default()
            }
        );
    }

    #[test]
    fn a_batch_without_quic_is_empty() {
        let (left, counted) = left_of(&[CHANNEL, CHANNEL, &CHANNEL[..4]], 10);
        assert!(left.is_empty());
        assert_eq!((counted.channel, counted.unknown), (2, 1));
    }

    #[test]
    fn relayed_datagrams_come_out_of_their_frames_as_from_their_peers() {
        let (_, [ann, bob], _) = sorter();
        let batch = [
            frame(ANN, QUIC_1),
            frame(ANN, QUIC_2),
            frame(BOB, QUIC_1),
            frame(ANN, SHORT_QUIC),
        ];
        let batch: Vec<_> = batch.iter().map(Vec::as_slice).collect();
        let (runs, counted) = sorted(&batch, 19, relay());
        assert_eq!(
            runs,
            [
                (ann, 10, [QUIC_1, QUIC_2].concat()),
                (bob, 10, QUIC_1.to_vec()),
                (ann, 10, SHORT_QUIC.to_vec())
            ]
        );
        assert_eq!(counted, Counted::default());
        let (runs, counted) = sorted(&batch, 19, "11.0.0.2:4627".parse().unwrap());
        assert!(
            runs.iter().all(|(_, _, bytes)| bytes.is_empty()),
            "only the relay speaks for its channels"
        );
        assert_eq!(counted.channel, 4);
    }

    #[test]
    fn quinn_receives_all_datagrams_in_the_order_of_the_batch() {
        let (_, [ann, bob], _) = sorter();
        let batch = [
            frame(ANN, QUIC_1),
            frame(BOB, QUIC_1),
            frame(ANN, QUIC_2),
            frame(ANN, SHORT_QUIC),
        ];
        let batch: Vec<_> = batch.iter().map(Vec::as_slice).collect();
        let (runs, _) = sorted(&batch, 19, relay());
        let expected = [
            (ann, 10, QUIC_1.to_vec()),
            (bob, 10, QUIC_1.to_vec()),
            (ann, 10, [QUIC_2, SHORT_QUIC].concat()),
        ];
        assert_eq!(runs, expected);
    }

    #[test]
    fn what_a_relay_sends_beside_quic_stays_out_and_its_own_quic_does_not() {
        let own_quic = [0x41; 19];
        let batch = [
            &frame(ANN, STUN)[..],
            &frame(ANN, CHANNEL),
            &own_quic,
            &frame(BOB, QUIC_1),
        ];
        let (_, [_, bob], _) = sorter();
        let (runs, counted) = sorted(&batch, 19, relay());
        assert_eq!(
            runs,
            [(relay(), 19, own_quic.to_vec()), (bob, 10, QUIC_1.to_vec())]
        );
        assert_eq!(counted.channel, 2);
    }

    #[test]
    fn probes_are_passed_on_while_the_engine_has_room() {
        let (sorter, _, mut arrived) = sorter();
        let probe = Probe {
            answer: false,
            token: [5; 16],
        };
        let mut buf = probe.encode().repeat(3);
        let mut meta = RecvMeta {
            len: buf.len(),
            stride: Probe::LEN,
            addr: relay(),
            ..RecvMeta::default()
        };
        sorter.sort(&mut buf, &mut meta, &mut VecDeque::new());
        assert_eq!((meta.len, sorter.counters.snapshot().probe), (0, 1));
        assert_eq!(
            arrived.try_recv(),
            Ok(SideDatagram {
                from: relay(),
                to: None,
                kind: DatagramKind::Probe(probe)
            })
        );
    }

    #[test]
    fn answers_of_stun_are_passed_on_and_requests_are_not() {
        let (sorter, _, mut arrived) = sorter();
        let head =
            |kind: u8, len: u8| [&[kind, 1, 0, len, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
        let answer = [
            &head(1, 12)[..],
            &[0, 0x20, 0, 8, 0, 1, 0x21, 0x1b, 0x2a, 0x12, 0xa4, 0x43],
        ]
        .concat();
        let question = [
            &head(0, 12)[..],
            &[0x80, 0x22, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        let mut buf = [answer, question].concat();
        let mut meta = RecvMeta {
            len: buf.len(),
            stride: 32,
            addr: relay(),
            ..RecvMeta::default()
        };
        sorter.sort(&mut buf, &mut meta, &mut VecDeque::new());
        assert_eq!((meta.len, sorter.counters.snapshot().stun), (0, 1));
        let seen = stun::Seen {
            transaction: [7; 12],
            at: "11.0.0.1:9".parse().unwrap(),
        };
        assert_eq!(
            arrived.try_recv(),
            Ok(SideDatagram {
                from: relay(),
                to: None,
                kind: DatagramKind::StunAnswer(seen)
            })
        );
    }

    #[test]
    fn datagrams_that_no_peer_may_send_are_dropped_whole() {
        let long = [0xc0; DATAGRAM_MAX as usize + 1];
        let (left, counted) = left_of(&[&long, QUIC_1], long.len());
        assert_eq!(left, QUIC_1);
        assert_eq!(counted.oversized, 1);
    }

    #[test]
    fn a_stride_of_zero_never_reaches_quinn() {
        let (left, counted) = left_of(&[QUIC_1], 0);
        assert!(left.is_empty());
        assert_eq!(counted.recv_error, 1);
        assert_eq!(left_of(&[], 0), (Vec::new(), Counted::default()));
    }

    #[test]
    fn nobody_can_send_from_a_synthetic_address() {
        let (_, [ann, _], _) = sorter();
        let (runs, counted) = sorted(&[QUIC_1], 10, ann);
        assert!(runs[0].2.is_empty());
        assert_eq!(counted.recv_error, 1);
    }
}
