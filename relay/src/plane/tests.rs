//! The plane on real sockets, under a real endpoint.

use std::io::IoSliceMut;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use hobnob_protocol::datagram::{CHANNEL_HEADER, ChannelId, STUN_COOKIE};
use hobnob_protocol::identity::SecretKey;
use hobnob_protocol::relay::ALPN_RELAY;
use hobnob_transport::tls::{self, Credentials};
use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, Endpoint};
use tokio::io::Interest;

use super::*;
use crate::route::{Meter, Route};

const ANN_TO_BOB: ChannelId = ChannelId(*b"ann->bob");
const BOB_TO_ANN: ChannelId = ChannelId(*b"bob->ann");

/// Time limit for each step.
const SOON: Duration = Duration::from_secs(20);

/// A plane, and the socket for QUIC, which is not polled until there is an endpoint.
struct Relay {
    socket: Arc<dyn AsyncUdpSocket>,
    plane: PlaneHandle,
}

fn relay(config: PlaneConfig) -> Relay {
    let (socket, plane) = bind((Ipv6Addr::UNSPECIFIED, 0).into(), config).unwrap();
    Relay { socket, plane }
}

impl Relay {
    fn at(&self, peer: &Peer) -> SocketAddr {
        let port = self.plane.local_addr().port();
        if peer.addr.is_ipv4() {
            (Ipv4Addr::LOCALHOST, port).into()
        } else {
            (Ipv6Addr::LOCALHOST, port).into()
        }
    }

    /// Opens a channel between two peers. Returns the meter of the first one.
    fn connects(&self, ann: &Peer, bob: &Peer) -> Arc<Meter> {
        let (meter, used) = (Arc::new(Meter::default()), Arc::default());
        let (there, back) = (meter.clone(), Arc::clone(&used));
        let there = Route {
            channel: ANN_TO_BOB,
            from: ann.addr,
            to: bob.addr,
            becomes: BOB_TO_ANN,
            meter: there,
            used,
        };
        let back = Route {
            channel: BOB_TO_ANN,
            from: bob.addr,
            to: ann.addr,
            becomes: ANN_TO_BOB,
            meter: Arc::default(),
            used: back,
        };
        self.plane.update(Update::Set(there));
        self.plane.update(Update::Set(back));
        meter
    }

    /// Waits until just this was counted: the plane counts what it has sent, so after it is
    /// received.
    async fn counts(&self, wanted: Counted) {
        let waiting = async {
            while self.plane.counters() != wanted {
                tokio::task::yield_now().await;
            }
        };
        let _late = tokio::time::timeout(SOON, waiting).await;
        assert_eq!(self.plane.counters(), wanted);
    }

    /// Echoes the streams of one connection.
    async fn echoes(&self) {
        let mut config = quinn::EndpointConfig::default();
        config.grease_quic_bit(false);
        let crypto = Credentials::new(&SecretKey::from_seed([1; 32])).server_config(ALPN_RELAY);
        let (server, runtime) = (
            quinn::ServerConfig::with_crypto(crypto),
            Arc::new(quinn::TokioRuntime),
        );
        let endpoint =
            Endpoint::new_with_abstract_socket(config, Some(server), self.socket.clone(), runtime)
                .unwrap();
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        while let Ok((mut send, mut recv)) = connection.accept_bi().await {
            send.write_all(&recv.read_to_end(1_000).await.unwrap())
                .await
                .unwrap();
            send.finish().unwrap();
        }
    }
}

/// A peer's socket.
struct Peer {
    io: tokio::net::UdpSocket,
    state: UdpSocketState,
    addr: SocketAddr,
}

fn peer(ip: impl Into<std::net::IpAddr>) -> Peer {
    let io = UdpSocket::bind((ip.into(), 0)).unwrap();
    let state = UdpSocketState::new((&io).into()).unwrap();
    let io = tokio::net::UdpSocket::from_std(io).unwrap();
    let addr = io.local_addr().unwrap();
    Peer { io, state, addr }
}

impl Peer {
    /// Sends datagrams as one, if the system can.
    async fn sends(&self, relay: &Relay, datagrams: &[Vec<u8>]) {
        let contents = datagrams.concat();
        let destination = relay.at(self);
        for contents in contents.chunks(datagrams[0].len() * self.state.max_gso_segments()) {
            let segment_size = Some(datagrams[0].len());
            let transmit = Transmit {
                destination,
                ecn: None,
                contents,
                segment_size,
                src_ip: None,
            };
            self.io
                .async_io(Interest::WRITABLE, || {
                    self.state.try_send((&self.io).into(), &transmit)
                })
                .await
                .unwrap();
        }
    }

    /// The next `count` datagrams.
    async fn gets(&self, count: usize) -> Vec<Vec<u8>> {
        let mut got = Vec::new();
        let mut buf = vec![0; 64 * 1024];
        let receiving = async {
            while got.len() < count {
                let mut meta = [RecvMeta::default()];
                let receive = || {
                    self.state.recv(
                        (&self.io).into(),
                        &mut [IoSliceMut::new(&mut buf)],
                        &mut meta,
                    )
                };
                self.io.async_io(Interest::READABLE, receive).await.unwrap();
                got.extend(
                    buf[..meta[0].len]
                        .chunks(meta[0].stride)
                        .map(<[u8]>::to_vec),
                );
            }
        };
        tokio::time::timeout(SOON, receiving)
            .await
            .expect("the datagrams come soon");
        got
    }

    /// Asks for its address by STUN. When the answer arrives, the relay has handled all earlier
    /// datagrams.
    async fn asks_where_it_is(&self, relay: &Relay) -> Vec<u8> {
        self.sends(
            relay,
            &[[&[0, 1, 0, 0][..], &STUN_COOKIE, &[7; 12]].concat()],
        )
        .await;
        self.gets(1).await.remove(0)
    }
}

fn frames(channel: ChannelId, count: u8) -> Vec<Vec<u8>> {
    (0..count)
        .map(|n| [&channel.header()[..], &[n; 500]].concat())
        .collect()
}

#[tokio::test]
async fn frames_travel_both_ways_between_ipv4_and_ipv6_in_batches() {
    let relay = relay(PlaneConfig::default());
    let (ann, bob) = (peer(Ipv4Addr::LOCALHOST), peer(Ipv6Addr::LOCALHOST));
    let meter = relay.connects(&ann, &bob);
    ann.sends(&relay, &frames(ANN_TO_BOB, 100)).await;
    assert_eq!(bob.gets(100).await, frames(BOB_TO_ANN, 100));
    bob.sends(&relay, &frames(BOB_TO_ANN, 3)).await;
    assert_eq!(ann.gets(3).await, frames(ANN_TO_BOB, 3));
    let counted = Counted {
        frames: 103,
        bytes: 103 * (500 + CHANNEL_HEADER as u64),
        ..Counted::default()
    };
    relay.counts(counted).await;
    assert_eq!(meter.read().frames, 100);
}

#[tokio::test]
async fn nothing_is_forwarded_for_strangers_or_after_the_end_of_a_route() {
    let relay = relay(PlaneConfig::default());
    let (ann, bob, mallory) = (
        peer(Ipv4Addr::LOCALHOST),
        peer(Ipv4Addr::LOCALHOST),
        peer(Ipv4Addr::LOCALHOST),
    );
    let meter = relay.connects(&ann, &bob);
    mallory.sends(&relay, &frames(ANN_TO_BOB, 2)).await;
    mallory.sends(&relay, &frames(ChannelId([9; 8]), 3)).await;
    mallory.asks_where_it_is(&relay).await;
    relay.plane.update(Update::Remove(ANN_TO_BOB));
    ann.sends(&relay, &frames(ANN_TO_BOB, 4)).await;
    // The first datagram that Bob receives is the answer to his own request.
    assert_eq!(bob.asks_where_it_is(&relay).await[0], 1);
    let counted = relay.plane.counters();
    assert_eq!(
        (
            counted.frames,
            counted.wrong_sender,
            counted.unknown_channel
        ),
        (0, 2, 7)
    );
    assert_eq!(meter.read().wrong_sender, 2);
}

#[tokio::test]
async fn stun_is_answered_on_the_same_port() {
    let relay = relay(PlaneConfig::default());
    for (ann, family, len) in [
        (peer(Ipv4Addr::LOCALHOST), 1, 32),
        (peer(Ipv6Addr::LOCALHOST), 2, 44),
    ] {
        let answer = ann.asks_where_it_is(&relay).await;
        assert_eq!(
            (&answer[..2], &answer[8..20], answer.len()),
            (&[1, 1][..], &[7; 12][..], len)
        );
        let port = u16::from_be_bytes([answer[26] ^ STUN_COOKIE[0], answer[27] ^ STUN_COOKIE[1]]);
        assert_eq!((answer[25], port), (family, ann.addr.port()));
    }
    relay
        .counts(Counted {
            stun_answered: 2,
            ..Counted::default()
        })
        .await;
}

#[tokio::test]
async fn a_removed_route_is_freed_without_any_traffic() {
    let relay = relay(PlaneConfig::default());
    let (ann, bob) = (peer(Ipv4Addr::LOCALHOST), peer(Ipv4Addr::LOCALHOST));
    let meter = relay.connects(&ann, &bob);
    let holders = async |wanted| {
        while Arc::strong_count(&meter) != wanted {
            tokio::task::yield_now().await;
        }
    };
    relay.plane.update(Update::Remove(ANN_TO_BOB));
    tokio::time::timeout(SOON, holders(1))
        .await
        .expect("the plane lets go of the meter");
}

#[tokio::test]
async fn an_unreachable_address_loses_only_its_own_frames() {
    let relay = relay(PlaneConfig::default());
    let (ann, bob) = (peer(Ipv4Addr::LOCALHOST), peer(Ipv4Addr::LOCALHOST));
    let nowhere = Route {
        channel: ChannelId([9; 8]),
        from: ann.addr,
        to: (Ipv4Addr::LOCALHOST, 0).into(),
        becomes: ChannelId([8; 8]),
        meter: Arc::default(),
        used: Arc::default(),
    };
    relay.plane.update(Update::Set(nowhere));
    relay.connects(&ann, &bob);
    ann.sends(&relay, &frames(ChannelId([9; 8]), 5)).await;
    ann.sends(&relay, &frames(ANN_TO_BOB, 5)).await;
    assert_eq!(bob.gets(5).await, frames(BOB_TO_ANN, 5));
    let bytes = 5 * (500 + CHANNEL_HEADER as u64);
    relay
        .counts(Counted {
            frames: 5,
            bytes,
            frames_refused: 5,
            ..Counted::default()
        })
        .await;
}

#[tokio::test]
async fn frames_are_forwarded_while_quinn_is_stuck_and_its_queue_is_bounded() {
    let relay = relay(PlaneConfig::default());
    let (ann, bob) = (peer(Ipv4Addr::LOCALHOST), peer(Ipv4Addr::LOCALHOST));
    relay.connects(&ann, &bob);
    let quic = vec![vec![0x40; 1200]; 32];
    let mut sent = 0;
    while relay.plane.counters().quic_overflowed == 0 {
        ann.sends(&relay, &quic).await;
        ann.asks_where_it_is(&relay).await;
        sent += quic.len();
        assert!(sent <= quic::WAITING_MAX + quic.len());
    }
    ann.sends(&relay, &frames(ANN_TO_BOB, 100)).await;
    assert_eq!(bob.gets(100).await, frames(BOB_TO_ANN, 100));
}

#[test]
fn a_peer_may_send_a_quarter_of_its_rate_at_once() {
    let PlaneConfig { rate, burst } = PlaneConfig::of_rate(1_000_000);
    assert_eq!((rate, burst), (1_000_000, 250_000));
}

#[tokio::test]
async fn a_stopped_plane_has_no_thread_and_receives_nothing() {
    let relay = relay(PlaneConfig::default());
    let ann = peer(Ipv4Addr::LOCALHOST);
    ann.asks_where_it_is(&relay).await;
    relay.plane.stop();
    assert!(
        relay
            .plane
            .updates
            .send(Change::Route(Update::Remove(ANN_TO_BOB)))
            .is_err()
    );
    ann.sends(&relay, &[vec![0x40; 1200]]).await;
    let (mut buf, mut cx) = ([0; 1500], Context::from_waker(Waker::noop()));
    let received = relay.socket.poll_recv(
        &mut cx,
        &mut [IoSliceMut::new(&mut buf)],
        &mut [RecvMeta::default()],
    );
    assert!(received.is_pending());
    // Stopping twice is harmless.
    relay.plane.stop();
}

#[tokio::test]
async fn the_port_is_free_again_when_the_plane_is_dropped() {
    let Relay { socket, plane } = relay(PlaneConfig::default());
    let addr = plane.local_addr();
    assert!(UdpSocket::bind(addr).is_err());
    drop((socket, plane));
    UdpSocket::bind(addr).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quic_connection_succeeds_during_a_flood() {
    let relay = relay(PlaneConfig {
        rate: 1_000_000,
        burst: 64 * 1024,
    });
    let (ann, bob) = (peer(Ipv4Addr::LOCALHOST), peer(Ipv4Addr::LOCALHOST));
    relay.connects(&ann, &bob);
    let at = relay.at(&ann);
    let stop = Arc::new(AtomicBool::new(false));
    let flood = std::thread::spawn({
        let (stop, socket) = (
            stop.clone(),
            UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
        );
        move || {
            let (stranger, garbage) = (frames(ChannelId([9; 8]), 1).remove(0), [0x20; 100]);
            while !stop.load(Ordering::Relaxed) {
                for datagram in [&stranger[..], &garbage] {
                    // A flood fills the buffer.
                    let _ = socket.send_to(datagram, at);
                }
            }
        }
    });
    let dialing = async {
        let mut endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let crypto = Credentials::new(&SecretKey::from_seed([2; 32]))
            .client_config(None, ALPN_RELAY)
            .crypto;
        endpoint.set_default_client_config(quinn::ClientConfig::new(crypto));
        let connection = endpoint
            .connect(at, tls::SERVER_NAME)
            .unwrap()
            .await
            .unwrap();
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(b"hello").await.unwrap();
        send.finish().unwrap();
        ann.sends(&relay, &frames(ANN_TO_BOB, 100)).await;
        let said = recv.read_to_end(1_000).await.unwrap();
        connection.close(0_u32.into(), b"");
        said
    };
    let (said, ()) = tokio::time::timeout(SOON, async { tokio::join!(dialing, relay.echoes()) })
        .await
        .expect("it comes up soon");
    stop.store(true, Ordering::Relaxed);
    flood.join().unwrap();
    assert_eq!(said, b"hello");
    let counted = relay.plane.counters();
    assert!(
        counted.unknown > 0 && counted.unknown_channel > 0,
        "{counted:?}"
    );
    assert!(counted.frames + counted.over_rate <= 100, "{counted:?}");
}
