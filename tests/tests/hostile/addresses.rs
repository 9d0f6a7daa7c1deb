//! Addresses that a peer names are dialed only where that harms nobody else.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use hobnob_tests::hostile::{Host, Mallory};

#[test]
fn nobody_makes_a_node_knock_at_its_own_machine_or_at_other_peoples_hosts() {
    // Loopback is dialed for those who came from there, so this needs another address.
    let Some(own) = own_address() else {
        eprintln!("SKIPPED: this machine has no address but loopback");
        return;
    };
    let dir = tempfile::tempdir().expect("the temporary folder can be written to");
    let ann = Host::start(
        dir.path(),
        "ann",
        &["-v", "--json", "--listen", "0.0.0.0:0"],
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("threads start");
    let allowed = listener(own);
    // On every address of this machine, so that it hears whatever is sent to it by any of its
    // names.
    let everywhere = listener(std::net::Ipv6Addr::UNSPECIFIED.into());
    let port = everywhere.local_addr().expect("it is bound").port();
    let forbidden = [
        "127.0.0.1",
        "127.1.2.3",
        "0.0.0.0",
        "::1",
        "::ffff:127.0.0.1",
        "::",
        "224.0.0.251",
        "255.255.255.255",
    ];
    let mut addrs: Vec<_> = forbidden
        .iter()
        .map(|ip| SocketAddr::new(ip.parse().expect("an address"), port))
        .collect();
    addrs.push(allowed.local_addr().expect("it is bound"));
    runtime.block_on(async {
        let mallory = Mallory::at(SocketAddr::new(own, 0), quinn::TransportConfig::default());
        let stream = mallory.in_session_as(&ann, "mallory", addrs).await;
        // Not a goodbye, so that the node tries to get the session back, and nobody answers where
        // it came from.
        stream.connection.close(4u32.into(), b"lost");
    });
    hears_within(&allowed, Duration::from_secs(20)).expect("the address that may be dialed is");
    // All of one peer's addresses are dialed within a second of each other.
    assert!(
        hears_within(&everywhere, Duration::from_secs(4)).is_none(),
        "the node knocked at its own machine"
    );
    ann.is_up();
    ann.is_clean();
}

fn listener(ip: IpAddr) -> UdpSocket {
    UdpSocket::bind((ip, 0)).expect("an address of this machine")
}

fn hears_within(socket: &UdpSocket, within: Duration) -> Option<SocketAddr> {
    socket.set_read_timeout(Some(within)).expect("not zero");
    socket.recv_from(&mut [0; 2000]).ok().map(|(_, from)| from)
}

/// An address of this machine that others could dial.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: the system only chooses the address that it would send from.
    socket.connect("192.0.2.99:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}
