//! Dialing, accepting, and what anybody can throw at the socket.

use std::io::IoSliceMut;
use std::net::{Ipv6Addr, UdpSocket};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hobnob_protocol::close;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

use super::*;
use crate::net::counters::Counted;
use crate::net::endpoint::{DialError, HANDSHAKES_MAX};
use crate::net::session::Ended;
use hobnob_transport::addr::{canonical, undeliverable};
use hobnob_transport::tls::{self, Credentials};

#[tokio::test(flavor = "multi_thread")]
async fn a_dual_stack_node_is_reached_by_ipv4_and_ipv6() {
    let (ann, mut bob) = (node(1), node(2));
    let by_ipv6 = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), bob.addr.port());
    for addr in [bob.addr, by_ipv6] {
        let (dialed, accepted) = ann.dials_at(addr, &mut bob).await;
        assert_eq!(
            (tls::peer_id(dialed.peer_identity()), accepted.peer),
            (Some(bob.id), ann.id)
        );
        assert_eq!(canonical(dialed.remote_address()), addr);
        assert_eq!(
            canonical(accepted.connection.remote_address()).ip(),
            addr.ip()
        );
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_carries_large_datagrams_comes_to_have_them() {
    let (ann, mut bob) = (node(1), node(2));
    let (dialed, accepted) = ann.dials(&mut bob).await;
    let talk = async {
        while dialed.stats().path.current_mtu < 6_000 {
            let mut stream = dialed.open_uni().await.unwrap();
            stream.write_all(&[7; 100_000]).await.unwrap();
            stream.finish().unwrap();
            let read = accepted
                .connection
                .accept_uni()
                .await
                .unwrap()
                .read_to_end(100_000)
                .await
                .unwrap();
            assert_eq!(read.len(), 100_000);
        }
    };
    within(talk).await;
    assert_eq!(bob.counters.snapshot(), Counted::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dial_that_names_a_peer_refuses_any_other() {
    let (ann, bob, carl) = (node(1), node(2), node(3));
    let error = ann
        .endpoint
        .dial(bob.addr, Some(carl.id), LIMIT)
        .await
        .unwrap_err();
    assert_eq!(
        error,
        DialError::IdentityMismatch {
            expected: carl.id,
            found: bob.id
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_dial_says_why() {
    let ann = node(1);
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let nobody = ann
        .endpoint
        .dial(
            silent.local_addr().unwrap(),
            None,
            Duration::from_millis(50),
        )
        .await;
    assert_eq!(nobody.unwrap_err(), DialError::Timeout);
    let odd: SocketAddr = "[fe80::1]:9".parse().unwrap();
    let why = undeliverable(odd).unwrap();
    assert_eq!(
        ann.endpoint.dial(odd, None, LIMIT).await.unwrap_err(),
        DialError::Address { addr: odd, why }
    );
    let ipv4_only = node_at(4, "127.0.0.1:0".parse().unwrap());
    let ipv6 = "[::1]:9".parse().unwrap();
    assert!(matches!(
        ipv4_only.endpoint.dial(ipv6, None, LIMIT).await,
        Err(DialError::Address { .. })
    ));
    ann.endpoint.close(close::BYE, "").await;
    assert_eq!(
        ann.endpoint
            .dial(ipv4_only.addr, None, LIMIT)
            .await
            .unwrap_err(),
        DialError::Stopping
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_an_endpoint_tells_the_peers_and_ends_its_tasks() {
    let (ann, mut bob) = (node(1), node(2));
    let (dialed, _accepted) = ann.dials(&mut bob).await;
    let (closed, ()) = tokio::join!(
        within(dialed.closed()),
        within(bob.endpoint.close(close::BYE, "later"))
    );
    assert_eq!(Ended::from(closed), Ended::Bye);
    assert!(bob.incoming.recv().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_died_and_restarted_tells_its_peers_that_it_did() {
    let ann = node(1);
    let (mut bound, _) = bind(Some(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0))).unwrap();
    let wire = Faulty::on(&mut bound);
    let listen = bound.local_addr;
    // A life of its own: all its tasks go with its runtime, and with them the socket.
    let first_life = tokio::runtime::Runtime::new().unwrap();
    let mut bob = first_life.spawn(async { node_on(2, bound) }).await.unwrap();
    let (dialed, accepted) = ann.dials(&mut bob).await;
    // It dies without a word.
    wire.mute.store(true, Ordering::Relaxed);
    first_life.shutdown_background();
    drop((bob, accepted, wire));
    let bound = within(async {
        loop {
            match bind(Some(listen)) {
                Ok((bound, _)) => return bound,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    let _second_life = Endpoint::new(&bound.await, &SecretKey::from_seed([2; 32])).unwrap();
    // Whatever is said next has that answer; something already may have been.
    if let Ok(mut stream) = dialed.open_uni().await {
        let _ = stream.write_all(b"are you there?").await;
    }
    assert_eq!(Ended::from(within(dialed.closed()).await), Ended::Restarted);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_thrown_at_the_socket_is_counted_and_quic_goes_on() {
    let (ann, mut bob) = (node(1), node(2));
    let (dialed, accepted) = ann.dials(&mut bob).await;
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let stun = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    let huge = vec![0xc0; 9_000];
    for datagram in [
        &stun[..],
        &[0x10; 40],
        &[0x11; 18],
        b"",
        b"\x30hello",
        b"\x00hello",
        &[0x42; 100],
        &[0xc0; 1200],
        &huge,
    ] {
        stranger.send_to(datagram, bob.addr).unwrap();
    }
    let mut stream = dialed.open_uni().await.unwrap();
    stream.write_all(b"still here").await.unwrap();
    stream.finish().unwrap();
    let mut received = within(accepted.connection.accept_uni()).await.unwrap();
    assert_eq!(
        within(received.read_to_end(100)).await.unwrap(),
        b"still here"
    );
    let expected = Counted {
        stun: 1,
        channel: 1,
        probe: 1,
        unknown: 2,
        oversized: 1,
        ..Counted::default()
    };
    assert_eq!(bob.counters.snapshot(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_open_handshakes_keep_nobody_out() {
    let (ann, mut bob) = (node(1), node(2));
    let deaf = deaf_client();
    let setup = Credentials::new(&SecretKey::from_seed([9; 32]))
        .client_config(None, hobnob_protocol::ALPN_NODE);
    let config = quinn::ClientConfig::new(setup.crypto);
    let dial = |_| {
        deaf.connect_with(config.clone(), bob.addr, "x.invalid")
            .unwrap()
    };
    let half_open: Vec<_> = (0..2 * HANDSHAKES_MAX).map(dial).collect();
    within(async {
        while bob.endpoint.connections() < HANDSHAKES_MAX / 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (dialed, accepted) = ann.dials(&mut bob).await;
    assert_eq!(
        (tls::peer_id(dialed.peer_identity()), accepted.peer),
        (Some(bob.id), ann.id)
    );
    // All others were asked to prove their address, and none did.
    assert_eq!(bob.endpoint.connections(), HANDSHAKES_MAX / 2 + 1);
    drop(half_open);
}

/// A client that sends, and hears nothing.
fn deaf_client() -> quinn::Endpoint {
    let (mut bound, _) = bind(Some("127.0.0.1:0".parse().unwrap())).unwrap();
    Faulty::on(&mut bound).deaf.store(true, Ordering::Relaxed);
    let runtime = Arc::new(quinn::TokioRuntime);
    quinn::Endpoint::new_with_abstract_socket(
        quinn::EndpointConfig::default(),
        None,
        bound.socket,
        runtime,
    )
    .unwrap()
}

/// A socket whose cable can be cut in either direction.
#[derive(Debug)]
struct Faulty {
    socket: Arc<dyn AsyncUdpSocket>,
    deaf: AtomicBool,
    mute: AtomicBool,
}

impl Faulty {
    fn on(bound: &mut BoundSocket) -> Arc<Self> {
        let faulty = Arc::new(Self {
            socket: bound.socket.clone(),
            deaf: false.into(),
            mute: false.into(),
        });
        bound.socket = faulty.clone();
        faulty
    }
}

impl AsyncUdpSocket for Faulty {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.socket.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> std::io::Result<()> {
        if self.mute.load(Ordering::Relaxed) {
            Ok(())
        } else {
            self.socket.try_send(transmit)
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<std::io::Result<usize>> {
        if self.deaf.load(Ordering::Relaxed) {
            Poll::Pending
        } else {
            self.socket.poll_recv(cx, bufs, meta)
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}
