//! Sorts a received batch: forwards channel frames, answers STUN, leaves QUIC in the batch, and
//! counts the rest.
//!
//! The system delivers the datagrams of one sender as one batch: each has `stride` bytes, and the
//! last may be shorter. Adjacent frames of one channel are forwarded as one batch, too, in place.
//! No frame costs an allocation.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hobnob_protocol::datagram::{CHANNEL_HEADER, ChannelId, Class};
use hobnob_transport::stun;
use quinn::udp::{RecvMeta, Transmit};

use super::bucket::{FRAME_COST_MIN, Rate};
use super::counters::{Counters, add};
use super::fair::Fairness;
use super::packet_sink::{PacketSink, Sent};
use super::route_table::{RouteEntry, RouteTable};
use super::sleepers::{Sleepers, Use};
use super::socket_stats::SocketStats;

/// Longest datagram that quinn accepts: the default of `EndpointConfig`, an Ethernet frame without
/// its headers. QUIC announces it to peers.
const DATAGRAM_MAX: usize = 1472;

/// Maximum bytes of one batch to send: the longest UDP payload over IPv4.
const RUN_BYTES_MAX: usize = 65_507;

/// STUN requests answered per second, for all senders together. It bounds the cost of a flood.
const STUN_PER_SECOND: u64 = 2_000;

/// STUN requests answered at once after a pause.
const STUN_BURST: u64 = 1_000;

/// Forwards frames according to the route table.
#[derive(Debug)]
pub(super) struct Forwarder {
    table: RouteTable,
    sleepers: Sleepers,
    fairness: Fairness,
    stun_rate: Rate,
    stun_paid_until: u64,
    /// The system's count of dropped datagrams at the last check.
    overflowed: u32,
    counters: Arc<Counters>,
}

impl Forwarder {
    /// A forwarder with these routes, and with the operator's limit for each sender.
    pub(super) fn new(table: RouteTable, rate: Option<Rate>, counters: Arc<Counters>) -> Self {
        let (fairness, stun_rate) = (Fairness::new(rate), Rate::new(STUN_PER_SECOND, STUN_BURST));
        Self {
            table,
            sleepers: Sleepers::new(),
            fairness,
            stun_rate,
            stun_paid_until: 0,
            overflowed: 0,
            counters,
        }
    }

    /// The route table.
    pub(super) fn table(&mut self) -> &mut RouteTable {
        &mut self.table
    }

    /// The sleeping peers.
    pub(super) fn sleepers(&mut self) -> &mut Sleepers {
        &mut self.sleepers
    }

    /// The number of frames forwarded since the start.
    pub(super) fn frames(&self) -> u64 {
        self.counters.frames.load(Ordering::Relaxed)
    }

    /// Changes the operator's limit for each sender.
    pub(super) fn limit(&mut self, rate: Option<Rate>) {
        self.fairness.allow(rate);
    }

    /// Notes the end of a receive call. `left`: the state of the socket, if datagrams may be left.
    pub(super) fn received(&mut self, now: u64, left: Option<SocketStats>) {
        self.fairness
            .received(now, left.is_some_and(|left| left.crowded));
        if let Some(SocketStats { dropped, .. }) = left {
            add(
                &self.counters.overflowed,
                u64::from(dropped.wrapping_sub(self.overflowed)),
            );
            self.overflowed = dropped;
        }
    }

    /// Counts datagrams whose source address no sender can have.
    pub(super) fn forged(&self, datagrams: u64) {
        add(&self.counters.unknown, datagrams);
    }

    /// Handles every datagram of a batch and leaves only QUIC, in order. `now` is in nanoseconds
    /// since the start.
    ///
    /// The remaining QUIC datagrams are again a batch of the same stride, without gaps. A batch
    /// with a stride of 0 is emptied, because quinn would loop forever over it.
    pub(super) fn sort(
        &mut self,
        now: u64,
        buf: &mut [u8],
        meta: &mut RecvMeta,
        out: &mut impl PacketSink,
    ) {
        let len = meta.len.min(buf.len());
        if meta.stride == 0 {
            add(
                if meta.len > 0 {
                    &self.counters.recv_error
                } else {
                    &self.counters.unknown
                },
                1,
            );
            meta.len = 0;
            return;
        }
        self.fairness.came(count(&buf[..len], meta.stride));
        let (mut at, mut kept) = (0, 0);
        while at < len {
            let mut end = (at + meta.stride).min(len);
            match self.class(&buf[at..end]) {
                Some(Class::Quic) => {
                    if kept < at {
                        buf.copy_within(at..end, kept);
                    }
                    kept += end - at;
                }
                Some(Class::Channel) => {
                    end = at + run_len(&buf[at..len], meta.stride);
                    self.forward(now, &mut buf[at..end], meta, out);
                }
                Some(Class::Stun) => self.answer(now, &buf[at..end], meta, out),
                Some(Class::Heartbeat) => self.heartbeat(now, &buf[at..end], meta, out),
                Some(Class::Probe) => add(&self.counters.probe, 1),
                Some(Class::AddressCheck | Class::Unknown) => add(&self.counters.unknown, 1),
                None => add(&self.counters.oversized, 1),
            }
            at = end;
        }
        meta.len = kept;
    }

    /// The class of a datagram. `None` if it is too long.
    fn class(&self, datagram: &[u8]) -> Option<Class> {
        (datagram.len() <= DATAGRAM_MAX).then(|| Class::of(datagram))
    }

    /// Forwards a run of frames of one channel, within the limits of its sender.
    fn forward(&mut self, now: u64, run: &mut [u8], meta: &RecvMeta, out: &mut impl PacketSink) {
        let channel = ChannelId::of(run).expect("a datagram of class Channel has a whole header");
        let (stride, frames) = (meta.stride, count(run, meta.stride));
        let Some(route) = admitted(&self.table, &self.counters, channel, meta, frames) else {
            return;
        };
        self.table.arrived(route, meta.dst_ip);
        let cost = FRAME_COST_MIN.max(stride.min(run.len()) as u64);
        let granted = self.fairness.grant(now, &route.meter, cost, frames);
        if granted < frames {
            route.meter.over_rate(frames - granted);
            add(&self.counters.over_rate, frames - granted);
        }
        let len = usize::try_from(granted)
            .expect("at most the number of frames")
            .saturating_mul(stride)
            .min(run.len());
        for frame in run[..len].chunks_mut(stride) {
            frame[1..CHANNEL_HEADER].copy_from_slice(&route.becomes.0);
        }
        let piece = stride * out.segments().min(RUN_BYTES_MAX / stride).max(1);
        for contents in run[..len].chunks(piece) {
            let segment_size = (contents.len() > stride).then_some(stride);
            let (destination, src_ip) = (route.to, route.leaves_from.get());
            let sent = out.send(&Transmit {
                destination,
                ecn: meta.ecn,
                contents,
                segment_size,
                src_ip,
            });
            account(
                &self.counters,
                route,
                sent,
                contents.len() as u64,
                count(contents, stride),
            );
        }
    }

    fn heartbeat(&mut self, now: u64, datagram: &[u8], meta: &RecvMeta, out: &mut impl PacketSink) {
        let counter = match self.sleepers.received(now, datagram, meta, out) {
            Use::Accepted => &self.counters.beats,
            Use::Unknown | Use::Refused => &self.counters.beats_refused,
        };
        add(counter, 1);
    }

    /// Answers a STUN Binding request from the address at which it arrived.
    fn answer(&mut self, now: u64, datagram: &[u8], meta: &RecvMeta, out: &mut impl PacketSink) {
        let (granted, paid_until) = self.stun_rate.grant(self.stun_paid_until, now, 1, 1);
        self.stun_paid_until = paid_until;
        if granted == 0 {
            return add(&self.counters.stun_over_rate, 1);
        }
        let Some(answer) = stun::server::answer(datagram, meta.addr) else {
            return add(&self.counters.stun_malformed, 1);
        };
        let contents = answer.as_slice();
        match out.send(&Transmit {
            destination: meta.addr,
            ecn: None,
            contents,
            segment_size: None,
            src_ip: meta.dst_ip,
        }) {
            Sent::Taken => add(&self.counters.stun_answered, 1),
            Sent::Full | Sent::Refused => add(&self.counters.send_error, 1),
        }
    }
}

/// The route of a channel, if the frames come from its peer. If not, counts them.
fn admitted<'a>(
    table: &'a RouteTable,
    counters: &Counters,
    channel: ChannelId,
    meta: &RecvMeta,
    frames: u64,
) -> Option<&'a RouteEntry> {
    let Some(route) = table.get(channel) else {
        add(&counters.unknown_channel, frames);
        return None;
    };
    if route.from != meta.addr {
        route.meter.wrong_sender(frames);
        add(&counters.wrong_sender, frames);
        return None;
    }
    Some(route)
}

/// Counts frames by the result of sending them.
fn account(counters: &Counters, route: &RouteEntry, sent: Sent, bytes: u64, frames: u64) {
    route.used.mark();
    match sent {
        Sent::Taken => {
            route.meter.forwarded(frames, bytes);
            add(&counters.frames, frames);
            add(&counters.bytes, bytes);
        }
        Sent::Full => {
            route.meter.unsent(frames);
            add(&counters.unsent, frames);
        }
        Sent::Refused => {
            route.meter.unsent(frames);
            add(&counters.frames_refused, frames);
        }
    }
}

/// The number of datagrams in a batch.
pub(super) fn count(batch: &[u8], stride: usize) -> u64 {
    batch.len().div_ceil(stride) as u64
}

/// The length of the run of frames at the start of a batch that belong to one channel. The last
/// frame may be shorter than `stride`.
fn run_len(batch: &[u8], stride: usize) -> usize {
    let (header, mut end) = (&batch[..CHANNEL_HEADER], stride.min(batch.len()));
    while batch.len() > end + CHANNEL_HEADER && batch[end..].starts_with(header) {
        end = (end + stride).min(batch.len());
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plane::{Counted, PlaneConfig};
    use crate::route::{Meter, Metered, Route, Update, Used};
    use hobnob_protocol::datagram::{PROBE, STUN_COOKIE};
    use std::net::SocketAddr;

    const ANN_TO_BOB: ChannelId = ChannelId(*b"ann->bob");
    const BOB_TO_ANN: ChannelId = ChannelId(*b"bob->ann");
    const ANN_TO_CAT: ChannelId = ChannelId(*b"ann->cat");
    const CAT_TO_ANN: ChannelId = ChannelId(*b"cat->ann");

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn ann() -> SocketAddr {
        addr("[::ffff:11.0.0.1]:1")
    }

    fn bob() -> SocketAddr {
        addr("[::ffff:11.0.0.2]:2")
    }

    fn cat() -> SocketAddr {
        addr("[2001:db8::3]:3")
    }

    /// One send: destination, bytes, segment size, source address.
    type Transmitted = (SocketAddr, Vec<u8>, Option<usize>, Option<&'static str>);

    /// A plane with channels from Ann to Bob and to Cat, and a system that accepts everything.
    struct Relay {
        forwarder: Forwarder,
        ann: Arc<Meter>,
        used: Arc<Used>,
        out: Recorder,
    }

    struct Recorder {
        segments: usize,
        answers: Sent,
        sent: Vec<Transmitted>,
    }

    impl PacketSink for Recorder {
        fn segments(&self) -> usize {
            self.segments
        }

        fn send(&mut self, transmit: &Transmit<'_>) -> Sent {
            let from = transmit.src_ip.map(|ip| &*ip.to_string().leak());
            self.sent.push((
                transmit.destination,
                transmit.contents.to_vec(),
                transmit.segment_size,
                from,
            ));
            self.answers
        }
    }

    fn relay(config: &PlaneConfig) -> Relay {
        let mut forwarder = Forwarder::new(
            RouteTable::new(true),
            Rate::of_bytes(config),
            Arc::default(),
        );
        let (meter, used) = (Arc::new(Meter::default()), Arc::new(Used::default()));
        let (from_ann, to_bob, to_cat) = (addr("11.0.0.1:1"), addr("11.0.0.2:2"), cat());
        for (channel, to, becomes) in [
            (ANN_TO_BOB, to_bob, BOB_TO_ANN),
            (ANN_TO_CAT, to_cat, CAT_TO_ANN),
        ] {
            let (forth, back) = (meter.clone(), Arc::default());
            let used = used.clone();
            forwarder.table().apply(Update::Set(Route {
                channel,
                from: from_ann,
                to,
                becomes,
                meter: forth,
                used: used.clone(),
            }));
            let route = Route {
                channel: becomes,
                from: to,
                to: from_ann,
                becomes: channel,
                meter: back,
                used,
            };
            forwarder.table().apply(Update::Set(route));
        }
        let out = Recorder {
            segments: 64,
            answers: Sent::Taken,
            sent: Vec::new(),
        };
        Relay {
            forwarder,
            ann: meter,
            used,
            out,
        }
    }

    impl Relay {
        /// Passes a batch to the plane. Returns the part that remains for quinn.
        fn gets_at_ms(&mut self, ms: u64, from: SocketAddr, datagrams: &[Vec<u8>]) -> Vec<u8> {
            let mut buf = datagrams.concat();
            let stride = datagrams.iter().map(Vec::len).max().unwrap_or(0);
            let mut meta = RecvMeta::default();
            (meta.addr, meta.len, meta.stride) = (from, buf.len(), stride);
            self.forwarder
                .sort(ms * 1_000_000, &mut buf, &mut meta, &mut self.out);
            buf.truncate(meta.len);
            buf
        }

        fn gets(&mut self, from: SocketAddr, datagrams: &[Vec<u8>]) -> Vec<u8> {
            self.gets_at_ms(0, from, datagrams)
        }

        fn counted(&self) -> Counted {
            self.forwarder.counters.snapshot()
        }

        fn sent(&mut self) -> Vec<Transmitted> {
            std::mem::take(&mut self.out.sent)
        }
    }

    /// A frame of 20 bytes.
    fn frame(channel: ChannelId, fill: u8) -> Vec<u8> {
        [&channel.header()[..], &[fill; 11]].concat()
    }

    fn quic(fill: u8) -> Vec<u8> {
        let mut datagram = vec![fill; 20];
        datagram[0] = 0x40;
        datagram
    }

    fn stun() -> Vec<u8> {
        [&[0, 1, 0, 0][..], &STUN_COOKIE, &[9; 12]].concat()
    }

    #[test]
    fn a_run_of_frames_is_forwarded_as_one_with_the_receivers_name() {
        let mut relay = relay(&PlaneConfig::default());
        let short = frame(ANN_TO_BOB, 3)[..15].to_vec();
        let left = relay.gets(ann(), &[frame(ANN_TO_BOB, 1), frame(ANN_TO_BOB, 2), short]);
        let expected = [
            frame(BOB_TO_ANN, 1),
            frame(BOB_TO_ANN, 2),
            frame(BOB_TO_ANN, 3)[..15].to_vec(),
        ]
        .concat();
        assert_eq!(relay.sent(), [(bob(), expected, Some(20), None)]);
        assert!(left.is_empty());
        assert_eq!(
            relay.counted(),
            Counted {
                frames: 3,
                bytes: 55,
                ..Counted::default()
            }
        );
        assert_eq!(
            relay.ann.read(),
            Metered {
                frames: 3,
                bytes: 55,
                ..Metered::default()
            }
        );
        assert!(relay.used.take() && !relay.used.take());
    }

    #[test]
    fn a_batch_of_everything_is_sorted() {
        let mut relay = relay(&PlaneConfig::default());
        let garbage = vec![0x20; 20];
        let mut probe = vec![PROBE; 18];
        probe.resize(20, 0);
        let left = relay.gets(
            ann(),
            &[
                frame(ANN_TO_BOB, 1),
                quic(1),
                frame(ANN_TO_BOB, 2),
                frame(ANN_TO_BOB, 3),
                frame(ANN_TO_CAT, 4),
                stun(),
                garbage,
                quic(2),
                probe,
                frame(ANN_TO_CAT, 5),
                quic(3)[..4].to_vec(),
            ],
        );
        assert_eq!(left, [quic(1), quic(2), quic(3)[..4].to_vec()].concat());
        let sent = relay.sent();
        let to = |n: usize| (sent[n].0, sent[n].1.clone(), sent[n].2);
        assert_eq!(to(0), (bob(), frame(BOB_TO_ANN, 1), None));
        assert_eq!(
            to(1),
            (
                bob(),
                [frame(BOB_TO_ANN, 2), frame(BOB_TO_ANN, 3)].concat(),
                Some(20)
            )
        );
        assert_eq!(to(2), (cat(), frame(CAT_TO_ANN, 4), None));
        assert_eq!((to(3).0, to(3).1.len()), (ann(), 32));
        assert_eq!(to(4), (cat(), frame(CAT_TO_ANN, 5), None));
        assert_eq!(sent.len(), 5);
        // A probe with another length counts as unknown.
        let expected = Counted {
            frames: 5,
            bytes: 100,
            stun_answered: 1,
            unknown: 2,
            ..Counted::default()
        };
        assert_eq!(relay.counted(), expected);
    }

    #[test]
    fn a_batch_of_quic_passes_unchanged() {
        let mut relay = relay(&PlaneConfig::default());
        let left = relay.gets(ann(), &[quic(1), quic(2), quic(3)[..9].to_vec()]);
        assert_eq!(left, [quic(1), quic(2), quic(3)[..9].to_vec()].concat());
        assert_eq!(relay.counted(), Counted::default());
        assert!(relay.sent().is_empty());
    }

    #[test]
    fn frames_from_another_address_are_dropped_and_counted() {
        let mut relay = relay(&PlaneConfig::default());
        relay.gets(bob(), &[frame(ANN_TO_BOB, 1), frame(ANN_TO_BOB, 2)]);
        relay.gets(addr("[::ffff:11.0.0.1]:7"), &[frame(ANN_TO_BOB, 1)]);
        relay.gets(
            ann(),
            &[frame(ChannelId([7; 8]), 1), frame(ChannelId([8; 8]), 1)],
        );
        assert!(relay.sent().is_empty() && !relay.used.take());
        assert_eq!(
            relay.counted(),
            Counted {
                wrong_sender: 3,
                unknown_channel: 2,
                ..Counted::default()
            }
        );
        assert_eq!(
            relay.ann.read(),
            Metered {
                wrong_sender: 3,
                ..Metered::default()
            }
        );
    }

    #[test]
    fn a_removed_route_forwards_nothing() {
        let mut relay = relay(&PlaneConfig::default());
        relay.forwarder.table().apply(Update::Remove(ANN_TO_BOB));
        relay.gets(ann(), &[frame(ANN_TO_BOB, 1), frame(ANN_TO_CAT, 1)]);
        assert_eq!(relay.sent().len(), 1);
        assert_eq!(relay.counted().unknown_channel, 1);
    }

    #[test]
    fn a_rate_applies_to_all_channels_of_a_sender_together() {
        // 64 KiB at once, then 1,000 frames a second; a frame of 20 bytes counts as 256.
        let mut relay = relay(&PlaneConfig {
            rate: 256_000,
            burst: 0,
        });
        let batch = |channel| vec![frame(channel, 1); 200];
        relay.gets(ann(), &batch(ANN_TO_BOB));
        relay.gets(ann(), &batch(ANN_TO_CAT));
        let (bobs, cats): (Vec<_>, Vec<_>) =
            relay.sent().into_iter().partition(|sent| sent.0 == bob());
        let frames =
            |sent: Vec<Transmitted>| sent.iter().map(|sent| sent.1.len() / 20).sum::<usize>();
        assert_eq!((frames(bobs), frames(cats)), (200, 56));
        assert_eq!(relay.counted().over_rate, 144);
        relay.gets_at_ms(1_000, ann(), &batch(ANN_TO_BOB));
        assert_eq!(
            relay.ann.read(),
            Metered {
                frames: 456,
                bytes: 456 * 20,
                over_rate: 144,
                ..Metered::default()
            }
        );
        // Bob's own bucket is full.
        assert_eq!(relay.sent().len(), 4);
        relay.gets(bob(), &[frame(BOB_TO_ANN, 1)]);
        assert_eq!(relay.sent(), [(ann(), frame(ANN_TO_BOB, 1), None, None)]);
    }

    #[test]
    fn long_runs_are_split_to_what_the_system_can_send() {
        let mut relay = relay(&PlaneConfig::default());
        let frames = vec![frame(ANN_TO_BOB, 1); 130];
        let pieces = |relay: &mut Relay| {
            relay
                .sent()
                .iter()
                .map(|sent| sent.1.len() / 20)
                .collect::<Vec<_>>()
        };
        relay.gets(ann(), &frames);
        assert_eq!(pieces(&mut relay), [64, 64, 2]);
        relay.out.segments = 1;
        relay.gets(ann(), &frames[..3]);
        assert_eq!(pieces(&mut relay), [1, 1, 1]);
        relay.out.segments = 64;
        let long = [
            &ANN_TO_BOB.header()[..],
            &[0; DATAGRAM_MAX - CHANNEL_HEADER],
        ]
        .concat();
        relay.gets(ann(), &vec![long; 50]);
        assert!(
            relay
                .sent()
                .iter()
                .all(|sent| sent.1.len() <= RUN_BYTES_MAX)
        );
    }

    #[test]
    fn frames_that_the_system_does_not_send_are_counted() {
        let mut relay = relay(&PlaneConfig::default());
        relay.out.answers = Sent::Full;
        relay.gets(ann(), &[frame(ANN_TO_BOB, 1), frame(ANN_TO_BOB, 2)]);
        relay.out.answers = Sent::Refused;
        relay.gets(ann(), &[frame(ANN_TO_BOB, 1), stun()]);
        assert_eq!(
            relay.counted(),
            Counted {
                unsent: 2,
                frames_refused: 1,
                send_error: 1,
                ..Counted::default()
            }
        );
        assert_eq!(
            relay.ann.read(),
            Metered {
                unsent: 3,
                ..Metered::default()
            }
        );
    }

    #[test]
    fn oversized_datagrams_are_dropped() {
        let mut relay = relay(&PlaneConfig::default());
        let long = [&ANN_TO_BOB.header()[..], &[0; DATAGRAM_MAX]].concat();
        let left = relay.gets(ann(), &[long.clone(), long, quic(1)]);
        assert_eq!(left, quic(1));
        assert_eq!(
            relay.counted(),
            Counted {
                oversized: 2,
                ..Counted::default()
            }
        );
    }

    #[test]
    fn a_header_without_content_is_not_a_frame() {
        let mut relay = relay(&PlaneConfig::default());
        relay.gets(ann(), &[frame(ANN_TO_BOB, 1), ANN_TO_BOB.header().to_vec()]);
        assert_eq!(
            relay.counted(),
            Counted {
                frames: 1,
                bytes: 20,
                unknown: 1,
                ..Counted::default()
            }
        );
    }

    #[test]
    fn a_stride_of_zero_never_reaches_quinn() {
        let mut relay = relay(&PlaneConfig::default());
        let mut meta = RecvMeta {
            len: 20,
            ..RecvMeta::default()
        };
        relay
            .forwarder
            .sort(0, &mut quic(1), &mut meta, &mut relay.out);
        assert_eq!(meta.len, 0);
        assert!(relay.gets(ann(), &[]).is_empty());
        assert_eq!(
            relay.counted(),
            Counted {
                recv_error: 1,
                unknown: 1,
                ..Counted::default()
            }
        );
    }

    #[test]
    fn a_flood_of_stun_is_answered_within_the_limit() {
        let mut relay = relay(&PlaneConfig::default());
        let flood = vec![stun(); 70];
        for _ in 0..20 {
            relay.gets(ann(), &flood);
        }
        relay.gets_at_ms(
            1_000,
            ann(),
            &[vec![0; 20], [&stun()[..8], &[9; 10]].concat()],
        );
        let expected = Counted {
            stun_answered: STUN_BURST,
            stun_over_rate: 400,
            stun_malformed: 1,
            unknown: 1,
            ..Counted::default()
        };
        assert_eq!(relay.counted(), expected);
    }

    #[test]
    fn frames_leave_from_the_address_that_their_receiver_sends_to() {
        let mut relay = relay(&PlaneConfig::default());
        let mut buf = frame(BOB_TO_ANN, 1);
        let mut meta = RecvMeta {
            len: 20,
            stride: 20,
            ..RecvMeta::default()
        };
        (meta.addr, meta.dst_ip) = (bob(), Some("11.0.0.9".parse().unwrap()));
        relay.forwarder.sort(0, &mut buf, &mut meta, &mut relay.out);
        relay.gets(ann(), &[frame(ANN_TO_BOB, 2)]);
        let from: Vec<_> = relay.sent().into_iter().map(|sent| sent.3).collect();
        assert_eq!(from, [None, Some("11.0.0.9")]);
    }

    #[test]
    fn under_overload_only_the_largest_sender_is_limited() {
        let mut relay = relay(&PlaneConfig::default());
        let crowded = |relay: &mut Relay, ms: u64, dropped| {
            relay.forwarder.received(
                ms * 1_000_000,
                Some(SocketStats {
                    crowded: true,
                    dropped,
                }),
            );
        };
        for ms in 0..1_000 {
            relay.gets_at_ms(ms, ann(), &vec![frame(ANN_TO_BOB, 1); 100]);
            relay.gets_at_ms(ms, bob(), &[frame(BOB_TO_ANN, 1)]);
            crowded(&mut relay, ms, 3);
        }
        let (ann, all) = (relay.ann.read(), relay.counted());
        assert!(
            ann.over_rate > 50_000 && ann.over_rate == all.over_rate,
            "{ann:?} {all:?}"
        );
        assert_eq!(all.frames - ann.frames, 1_000);
        assert_eq!(all.overflowed, 3);
    }
}
