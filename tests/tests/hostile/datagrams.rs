//! Datagrams that are not QUIC, and QUIC handshakes that never finish.

use std::net::{SocketAddr, UdpSocket};

use hobnob_tests::hostile::{MIB, TestNet};
use hobnob_tests::lab::pause;

#[test]
fn a_hundred_thousand_malformed_datagrams_are_counted_and_dropped() {
    let net = TestNet::alone();
    let (_, ()) = net.attack_while(
        async |net: &TestNet| send_malformed(net.ann.addr(), 100_000),
        || net.talks("meanwhile"),
    );
    net.survives_within(&[], 32 * MIB);
    net.ann.terminate();
    let line = net.ann.logs(&["datagrams dropped so far"]);
    for cause in ["stun: ", "channel: ", "probe: ", "unknown: "] {
        assert!(!line.contains(&format!(" {cause}0,")), "{line}");
    }
}

#[test]
fn thousands_of_half_open_handshakes_exclude_no_honest_peer() {
    let net = TestNet::alone();
    net.attack_while(
        async |net: &TestNet| half_open(net.ann.addr(), 10_000).await,
        || {
            let carl = hobnob_tests::hostile::Host::up(net.dir(), "carl");
            carl.tells(&net.ann.addr().to_string(), "may I come in?");
            net.talks("meanwhile");
        },
    );
    net.survives_within(&[], 48 * MIB);
}

/// Sends this many malformed datagrams of all kinds, about 20,000 a second.
fn send_malformed(to: SocketAddr, count: usize) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback exists");
    for n in 0..count {
        let mut datagram = vec![0u8; 1 + rand::random_range(0..1471)];
        rand::fill(&mut datagram[..]);
        match n % 4 {
            0 => datagram[0] = u8::try_from(n / 4 % 256).expect("below 256"),
            1 => datagram
                .splice(
                    ..datagram.len().min(8),
                    [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42],
                )
                .for_each(drop),
            2 => datagram[0] = 0x10,
            _ => datagram[0] = 0x11,
        }
        // Datagrams are lost when the kernel's buffer is full, as on a network.
        let _ = socket.send_to(&datagram, to);
        if n % 100 == 99 {
            pause(std::time::Duration::from_millis(5));
        }
    }
    // Empty datagrams, too.
    (0..100).for_each(|_| drop(socket.send_to(b"", to)));
}

/// Starts this many handshakes from 64 sockets and finishes none. Replays first flights of real
/// clients, and nobody reads the answers.
async fn half_open(to: SocketAddr, count: usize) {
    let recorded = initials(64).await;
    let sockets: Vec<_> = (0..64)
        .map(|_| UdpSocket::bind("127.0.0.1:0").expect("loopback exists"))
        .collect();
    for n in 0..count {
        for datagram in &recorded[n % recorded.len()] {
            let _ = sockets[n % sockets.len()].send_to(datagram, to);
        }
        if n % 20 == 19 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

/// Records the first flights of this many clients. Each has its own connection ids.
async fn initials(count: usize) -> Vec<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    for _ in 0..count {
        let sink = tokio::net::UdpSocket::bind("127.0.0.1:0")
            .await
            .expect("loopback exists");
        let at = sink.local_addr().expect("the socket is bound");
        let dial = tokio::spawn(async move {
            let mallory = hobnob_tests::hostile::Mallory::new();
            let _ = mallory
                .dial_at(at, &hobnob_tests::hostile::TestCert::of(mallory.key()))
                .await;
        });
        let mut flight = Vec::new();
        let mut buffer = [0; 2000];
        // A post-quantum ClientHello takes two datagrams.
        for _ in 0..2 {
            let (len, _) = sink
                .recv_from(&mut buffer)
                .await
                .expect("the client starts a handshake");
            flight.push(buffer[..len].to_vec());
        }
        dial.abort();
        all.push(flight);
    }
    all
}
