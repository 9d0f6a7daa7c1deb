//! A node sends nothing to special addresses that a peer names: loopback, unspecified, multicast and
//! broadcast.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use hobnob_tests::hostile::{Host, Mallory};

#[test]
fn a_peer_cannot_make_a_node_dial_its_own_machine_or_special_addresses() {
    // A node uses no loopback address that a peer names, so this test needs another address.
    let Some(own) = own_address() else {
        eprintln!("SKIPPED: this machine has no address but loopback");
        return;
    };
    let dir = tempfile::tempdir().expect("the temporary folder is writable");
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
    // Listens on every address of this machine, so it receives datagrams to any of them.
    let everywhere = listener(std::net::Ipv6Addr::UNSPECIFIED.into());
    let port = everywhere.local_addr().expect("the socket is bound").port();
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
    addrs.push(allowed.local_addr().expect("the socket is bound"));
    runtime.block_on(async {
        let mallory = Mallory::at(SocketAddr::new(own, 0), quinn::TransportConfig::default());
        let stream = mallory.in_session_as(&ann, "mallory", addrs).await;
        // This is not an orderly close, so ann tries to reconnect. Nothing answers at the address
        // of the connection.
        stream.connection.close(4u32.into(), b"lost");
    });
    receives_within(&allowed, Duration::from_secs(20)).expect("ann checks the allowed address");
    // A node checks all addresses of one peer within one second.
    assert!(
        receives_within(&everywhere, Duration::from_secs(4)).is_none(),
        "ann sent something to her own machine"
    );
    ann.is_up();
    ann.is_clean();
}

fn listener(ip: IpAddr) -> UdpSocket {
    UdpSocket::bind((ip, 0)).expect("an address of this machine")
}

fn receives_within(socket: &UdpSocket, within: Duration) -> Option<SocketAddr> {
    socket
        .set_read_timeout(Some(within))
        .expect("the timeout is not zero");
    socket.recv_from(&mut [0; 2000]).ok().map(|(_, from)| from)
}

/// Returns an address of this machine that other machines could dial.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // This sends nothing. The system only chooses a source address.
    socket.connect("192.0.2.99:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}
