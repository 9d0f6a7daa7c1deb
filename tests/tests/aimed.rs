//! Nodes cannot be aimed at third parties: addresses that strangers name cost the machines at these
//! addresses less than they cost the strangers.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hobnob_tests::hostile::{ForgedRecord, MIB, Mallory, mdns_socket};
use hobnob_tests::lab::{Capture, Lab, Machine, Nat, Node, Site, pause};
use quinn::TransportConfig;

#[test]
fn forged_mdns_records_do_not_aim_a_node_at_anybody() {
    let net = Net::new();
    let ann = net.ann();
    let (neighbour, outside) = (net.neighbour.watch(), net.outside.watch());
    let attacker = net.mallory.inside(mdns_socket);
    let mut sent = 0;
    for n in 0.. {
        if sent >= RECORD_BYTES {
            break;
        }
        // One victim under many names, and each of its ports under several addresses.
        let victim = [net.neighbour.ipv4(), net.outside.ipv4()][n % 2];
        let port = 4_626 + u16::try_from(n / 4).expect("few records");
        let mut addrs = vec![victim];
        if n % 4 < 2 {
            addrs = (0..16).map(|i| nearby(victim, i)).collect();
            addrs[0] = victim;
        }
        sent += ForgedRecord { addrs, port }.send(&attacker);
        // mDNS is slow by design: no machine receives thousands of records a second.
        pause(Duration::from_millis(5));
    }
    // A real peer is found although all these records wait to be checked.
    let bob = net.home.machine("bob").up("bob", &[]);
    ann.sees_within(&bob, Duration::from_secs(10));
    bob.sees_within(&ann, Duration::from_secs(10));
    pass(WATCHED_FOR);

    let received = neighbour.received();
    assert_eq!(outside.received(), 0, "it is not on the link");
    assert!(received <= 3 * sent, "{received} bytes for {sent}");
    assert!(received > 0, "the test does not reach the node");
    ann.tells(&bob, "all is well");
}

#[test]
fn a_flood_of_mdns_records_fills_neither_the_memory_nor_any_list() {
    let lab = Lab::open();
    // A machine needs a route to send to a multicast group.
    let internet = lab.internet();
    let office = internet.site(Nat::PortRestricted);
    let ann = office.machine("ann").up("ann", &[]);
    let mallory = office.machine("mallory");
    let victim = ipv4_of(&office.machine("victim"));
    let attacker = mallory.inside(mdns_socket);
    let before = ann.memory();
    for n in 0..RECORDS {
        let record = ForgedRecord {
            addrs: vec![victim],
            port: n % 50_000 + 1,
        };
        record.send(&attacker);
        if n % 4 == 0 {
            // A machine drops what arrives faster than its mDNS thread reads.
            pause(Duration::from_millis(1));
        }
    }
    let grown = ann.memory().saturating_sub(before);
    assert!(grown < 64 * MIB, "{grown} bytes");
    let bob = office.machine("bob").up("bob", &[]);
    ann.sees_within(&bob, Duration::from_secs(10));
    bob.sees_within(&ann, Duration::from_secs(10));
}

#[test]
fn addresses_in_hello_do_not_aim_a_node_at_anybody() {
    let net = Net::new();
    let ann = net.ann();
    let at = SocketAddr::new(net.ann_ipv4().into(), 4_626);
    let (neighbour, outside) = (net.neighbour.watch(), net.outside.watch());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("threads start");
    let own: SocketAddr = SocketAddr::new(ipv4_of(&net.mallory).into(), 0);
    let mut sent = 0;
    let identities = net.mallory.inside(|| {
        let _runtime = runtime.enter();
        let at = |_| Mallory::at(own, TransportConfig::default());
        (0..IDENTITIES).map(at).collect::<Vec<_>>()
    });
    for (n, mallory) in (0u16..).zip(&identities) {
        let victim = [net.neighbour.ipv4(), net.outside.ipv4()][usize::from(n % 2)];
        let ports = (0..16).map(|port| 1_000 + 16 * n + port);
        let addrs = ports.map(|port| SocketAddr::new(victim.into(), port));
        runtime.block_on(async {
            let stream = mallory.in_session_at(at, addrs.collect()).await;
            // This is not an orderly close, so that the node tries to reconnect.
            stream.connection.close(4u32.into(), b"lost");
            sent += stream.connection.stats().udp_tx.bytes;
        });
    }
    drop(identities);
    pass(WATCHED_FOR);
    let received = neighbour.received() as u64;
    assert_eq!(outside.received(), 0, "it is not on the link");
    assert!(received < sent, "{received} bytes for {sent}");
    assert!(received > 0, "the test does not reach the node");

    // The running node may still have an address to check.
    ann.terminate();
    let (neighbour, outside) = (net.neighbour.watch(), net.outside.watch());
    ann.start();
    pass(WATCHED_FOR);
    assert_eq!((neighbour.received(), outside.received()), (0, 0));
}

/// As many bytes as in the report of this attack.
const RECORD_BYTES: usize = 118_000;

/// More records than a node caches: each has four parts.
const RECORDS: u16 = 30_000;

/// Sessions of different identities. Each names 16 addresses of one victim.
const IDENTITIES: u16 = 200;

/// How long the victims are watched after the attack. `HOBNOB_AIMED_SECONDS` makes it longer.
const WATCHED_FOR: Duration = Duration::from_secs(10);

/// A home with a node, an attacker and a victim, and a victim on the internet.
struct Net {
    home: Site,
    mallory: Machine,
    neighbour: Victim,
    outside: Victim,
    ann: Machine,
    _lab: Lab,
}

struct Victim(Machine);

struct Watched {
    capture: Capture,
    victim: Ipv4Addr,
}

impl Net {
    fn new() -> Self {
        let lab = Lab::open();
        let internet = lab.internet();
        let home = internet.site(Nat::PortRestricted);
        Self {
            mallory: home.machine("mallory"),
            neighbour: Victim(home.machine("neighbour")),
            outside: Victim(internet.machine("outside")),
            ann: home.machine("ann"),
            home,
            _lab: lab,
        }
    }

    fn ann(&self) -> Node {
        self.ann.up("ann", &[])
    }

    fn ann_ipv4(&self) -> Ipv4Addr {
        ipv4_of(&self.ann)
    }
}

impl Victim {
    fn ipv4(&self) -> Ipv4Addr {
        ipv4_of(&self.0)
    }

    /// Counts what arrives from now on.
    fn watch(&self) -> Watched {
        Watched {
            capture: self.0.capture(),
            victim: self.ipv4(),
        }
    }
}

impl Watched {
    /// The number of bytes that were sent to the victim.
    fn received(self) -> usize {
        self.capture.end().bytes_to(self.victim)
    }
}

fn ipv4_of(machine: &Machine) -> Ipv4Addr {
    machine.ipv4().parse().expect("an address")
}

/// Another address of the same network.
fn nearby(addr: Ipv4Addr, n: u8) -> Ipv4Addr {
    let [a, b, c, _] = addr.octets();
    Ipv4Addr::new(a, b, c, 200 + n)
}

/// Lets time pass: what must not arrive has this long to arrive.
fn pass(time: Duration) {
    let longer = std::env::var("HOBNOB_AIMED_SECONDS").ok();
    let longer = longer.and_then(|seconds| seconds.parse().ok());
    pause(longer.map_or(time, Duration::from_secs));
}
