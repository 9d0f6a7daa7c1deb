//! The memory of a relay's sleeping peers, as the system counts it.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a failure here is the test's failure")]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use hobnob_protocol::DeviceId;
use hobnob_protocol::heartbeat::{Handle, Message, SleepSecret};
use hobnob_protocol::relay::ToRelay;
use hobnob_relay::core::{ConnectionId, Input, Limits, Output, Relay, Role};
use hobnob_relay::plane::{self, PlaneConfig};
use hobnob_relay::sleeper::{NewSleeper, SleepUpdate};

const SLEEPERS: u32 = 100_000;

/// The most that a sleeper in no room may take, in the core and the plane together.
const BYTES_MAX: usize = 600;

/// Memory of this process that is not swapped out, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: usize = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kib * 1_024
}

fn peer(n: u32) -> DeviceId {
    DeviceId::from_bytes(*blake3::hash(&n.to_be_bytes()).as_bytes())
}

/// An address among those of a /8. As on the internet, a network has some of the peers.
fn addr(n: u32) -> SocketAddr {
    let [_, a, b, _] = n.wrapping_mul(167).to_be_bytes();
    let [.., c] = n.to_be_bytes();
    (Ipv4Addr::new(11, a, b, c), 4626).into()
}

/// A peer registers and falls asleep. Returns the handle of its sleep.
fn falls_asleep(relay: &mut Relay, n: u32) -> Handle {
    let (now, connection) = (Duration::from_secs(100), ConnectionId(n.into()));
    relay.handle(
        now,
        Input::Registered {
            connection,
            peer: peer(n),
            addr: addr(n),
            stream: None,
            rooms: Vec::new(),
            role: Role::Peer,
            sleeps: true,
        },
    );
    let frame = ToRelay::Sleep;
    relay.handle(now, Input::Frame { connection, frame });
    relay.handle(now, Input::FellAsleep { connection });
    let mut granted = None;
    while let Some(output) = relay.poll_output() {
        if let Output::Grant(_, handle) = output {
            granted = Some(handle);
        }
    }
    granted.expect("it may sleep")
}

#[test]
fn a_sleeper_takes_at_most_600_bytes() {
    let secret = || SleepSecret::new([7; 32]);
    let limits = Limits {
        peers: usize::MAX,
        peers_per_network: usize::MAX,
        sleep_after: Some(Duration::ZERO),
        ..Limits::default()
    };
    let mut relay = Relay::new(limits, [7; 32]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    let (_socket, plane) =
        plane::bind((Ipv4Addr::LOCALHOST, 0).into(), PlaneConfig::default()).expect("a free port");
    let _news = plane.serve_sleepers([3; 32]);
    let node = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let plane_addr = plane.local_addr();
    let add = |n: u32, handle: Handle| {
        plane.sleep(SleepUpdate::Add(Box::new(NewSleeper {
            handle,
            peer: peer(n),
            secret: secret(),
            addr: node.local_addr().unwrap(),
            at: None,
        })));
        // The plane has it when it answers. So the queue to the plane takes no memory.
        if n.is_multiple_of(64) {
            let beat = secret().seal(handle, 4, &Message::Beat);
            node.send_to(beat.as_slice(), plane_addr).unwrap();
            node.recv(&mut [0; 64]).unwrap();
        }
    };
    // The first ones pay for what is allocated once.
    for n in 0..1_024 {
        let handle = falls_asleep(&mut relay, n);
        add(n, handle);
    }
    let before = resident();
    for n in 1_024..1_024 + SLEEPERS {
        let handle = falls_asleep(&mut relay, n);
        add(n, handle);
    }
    let each = (resident() - before) / usize::try_from(SLEEPERS).unwrap();
    println!("{each} bytes for each sleeper");
    assert!(each <= BYTES_MAX, "{each} bytes");
    assert!(
        each > BYTES_MAX / 4,
        "{each} bytes: something is not counted"
    );
}
