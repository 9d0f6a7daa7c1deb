//! Tests of the lab's internet: each NAT maps and filters as its kind does (RFC 4787), and links
//! fail and recover on command.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use hobnob_tests::lab::{Internet, Lab, Machine, Nat, OnInternet, Site, pause};

#[test]
fn every_nat_but_the_symmetric_uses_one_port_for_all_destinations() {
    let lab = Lab::open();
    for_each_nat(&lab, |nat, net, servers| {
        let home = net.site(nat);
        let (ann, bob) = (home.machine("ann").udp(), home.machine("bob").udp());
        let seen = servers.all().map(|server| server.sees(&ann));
        assert!(
            seen.iter().all(|seen| *seen.ip() == home.public_ipv4()),
            "{nat:?}: {seen:?}"
        );
        let ports = seen.map(|seen| seen.port());
        match nat {
            // Another destination address or destination port gets another mapped port.
            Nat::Symmetric => assert!(
                ports[0] != ports[1] && ports[1] != ports[2] && ports[0] != ports[2],
                "{ports:?}"
            ),
            Nat::FullCone | Nat::AddressRestricted | Nat::PortRestricted | Nat::Unfiltered => {
                assert!(
                    ports.iter().all(|port| *port == ports[0]),
                    "{nat:?}: {ports:?}"
                );
            }
        }
        assert_eq!(
            servers.near.sees(&ann).port(),
            ports[0],
            "{nat:?}: a mapping stays while it is used"
        );
        assert_ne!(
            servers.near.sees(&bob),
            seen[0],
            "{nat:?}: another socket has another mapping"
        );
    });
}

#[test]
fn each_nat_filters_incoming_packets_as_its_kind_does() {
    let lab = Lab::open();
    for_each_nat(&lab, |nat, net, servers| {
        let ann = net.site(nat).machine("ann").udp();
        let mapped = servers.near.sees(&ann);
        assert!(
            servers.near.reaches(&ann, mapped),
            "{nat:?}: a destination may answer repeatedly"
        );
        let (address, anybody) = match nat {
            Nat::FullCone => (true, true),
            Nat::AddressRestricted => (true, false),
            Nat::PortRestricted | Nat::Symmetric | Nat::Unfiltered => (false, false),
        };
        assert_eq!(
            servers.near_other_port.reaches(&ann, mapped),
            address,
            "{nat:?}: same address, other port"
        );
        assert_eq!(
            servers.far.reaches(&ann, mapped),
            anybody,
            "{nat:?}: other address"
        );
    });
}

#[test]
fn an_answer_to_an_unsolicited_packet_leaves_from_the_same_mapped_port() {
    let lab = Lab::open();
    let net = lab.internet();
    let servers = PublicServers::of(&net);
    let ann = net.site(Nat::FullCone).machine("ann").udp();
    let mapped = servers.near.sees(&ann);
    assert!(servers.far.reaches(&ann, mapped));
    assert_eq!(servers.far.sees(&ann), mapped);
}

#[test]
fn a_nat_mapping_expires_when_unused() {
    let lab = Lab::open();
    for_each_nat(&lab, |nat, net, servers| {
        let home = net.site(nat);
        home.forgets_after(Duration::from_secs(2));
        let (ann, bob) = (home.machine("ann").udp(), home.machine("bob").udp());
        let (of_ann, of_bob) = (servers.near.sees(&ann), servers.near.sees(&bob));
        for _ in 0..5 {
            pause(Duration::from_millis(700));
            assert_eq!(
                servers.near.sees(&bob),
                of_bob,
                "{nat:?}: a mapping in use is kept"
            );
        }
        assert!(
            !servers.near.reaches(&ann, of_ann),
            "{nat:?}: the expired mapping lets no packet in"
        );
        assert_ne!(
            servers.near.sees(&ann),
            of_ann,
            "{nat:?}: the next packet opens another port"
        );
    });
}

#[test]
fn a_nat_mapping_expires_after_half_a_minute_by_default() {
    let lab = Lab::open();
    for_each_nat(&lab, |nat, net, servers| {
        let home = net.site(nat);
        let (ann, bob) = (home.machine("ann").udp(), home.machine("bob").udp());
        let (of_ann, of_bob) = (servers.near.sees(&ann), servers.near.sees(&bob));
        pause(Duration::from_secs(25));
        assert!(servers.near.reaches(&ann, of_ann), "{nat:?}");
        pause(Duration::from_secs(6));
        assert!(!servers.near.reaches(&bob, of_bob), "{nat:?}");
    });
}

#[test]
fn a_rebind_changes_the_port_under_a_running_flow() {
    let lab = Lab::open();
    for_each_nat(&lab, |nat, net, servers| {
        let home = net.site(nat);
        let ann = home.machine("ann").udp();
        let before = servers.near.sees(&ann);
        home.rebind();
        assert!(
            !servers.near.reaches(&ann, before),
            "{nat:?}: the old mapping is gone"
        );
        let after = servers.near.sees(&ann);
        assert_eq!(before.ip(), after.ip());
        assert_ne!(before.port(), after.port(), "{nat:?}");
        assert!(servers.near.reaches(&ann, after), "{nat:?}");
    });
}

#[test]
fn a_renumbered_site_has_a_new_public_address() {
    let lab = Lab::open();
    for_each_nat(&lab, |nat, net, servers| {
        let home = net.site(nat);
        let ann = home.machine("ann").udp();
        let before = servers.near.sees(&ann);
        home.renumber();
        assert!(
            !servers.near.reaches(&ann, before),
            "{nat:?}: the old address is gone"
        );
        let after = servers.near.sees(&ann);
        assert_ne!(before.ip(), after.ip());
        assert_eq!(*after.ip(), home.public_ipv4());
        assert!(servers.near.reaches(&ann, after), "{nat:?}");
    });
}

#[test]
fn nats_do_not_hairpin() {
    let lab = Lab::open();
    for_each_nat(&lab, |nat, net, servers| {
        let home = net.site(nat);
        let (ann, bob) = (home.machine("ann"), home.machine("bob"));
        let (of_ann, of_bob) = (ann.udp(), bob.udp());
        let (seen_ann, seen_bob) = (servers.near.sees(&of_ann), servers.near.sees(&of_bob));
        // The second round checks that hairpinning also fails after both have sent, when any filter
        // would let the other in.
        for _ in 0..2 {
            assert!(!passes(&of_ann, &of_bob, seen_bob), "{nat:?}");
            assert!(!passes(&of_bob, &of_ann, seen_ann), "{nat:?}");
        }
        let direct = SocketAddrV4::new(bob.ipv4().parse().expect("an address"), port_of(&of_bob));
        assert!(
            passes(&of_ann, &of_bob, direct),
            "machines of one site reach each other's private addresses"
        );
    });
}

#[test]
fn a_site_that_blocks_udp_lets_tcp_pass() {
    let lab = Lab::open();
    let net = lab.internet();
    let (relay, home) = (net.machine("relay"), net.site(Nat::PortRestricted));
    let ann = home.machine("ann");
    let (server, client) = (Server::on(&relay), ann.udp());
    let mapped = server.sees(&client);
    home.block_udp();
    assert!(!passes(&client, &server.socket, server.address) && !server.reaches(&client, mapped));
    let listener = relay
        .inside(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)))
        .expect("a free port");
    let address = SocketAddr::from((
        relay.public_ipv4(),
        listener.local_addr().expect("the listener is bound").port(),
    ));
    let mut client_stream = ann
        .inside(|| TcpStream::connect_timeout(&address, Duration::from_secs(5)))
        .expect("TCP passes");
    let (mut stream, from) = listener.accept().expect("the client connected above");
    assert_eq!(from.ip(), home.public_ipv4());
    client_stream.write_all(b"hi").expect("the stream is open");
    let mut received = [0; 2];
    stream
        .read_exact(&mut received)
        .expect("the stream is open");
    assert_eq!(&received, b"hi");
    home.allow_udp();
    server.sees(&client);
}

#[test]
fn a_cut_separates_two_sites_but_both_still_reach_the_relay() {
    let lab = Lab::open();
    let net = lab.internet();
    let servers = PublicServers::of(&net);
    let (home, office) = (net.site(Nat::FullCone), net.site(Nat::FullCone));
    let (ann, bob) = (home.machine("ann").udp(), office.machine("bob").udp());
    let (of_ann, of_bob) = (servers.near.sees(&ann), servers.near.sees(&bob));
    assert!(passes(&ann, &bob, of_bob) && passes(&bob, &ann, of_ann));
    net.cut(&office, &home);
    assert!(!passes(&ann, &bob, of_bob) && !passes(&bob, &ann, of_ann));
    assert!(servers.near.sees(&ann) == of_ann && servers.near.sees(&bob) == of_bob);
    net.heal(&home, &office);
    assert!(passes(&ann, &bob, of_bob) && passes(&bob, &ann, of_ann));
    net.cut(&home, &servers.machine);
    assert!(
        !passes(&ann, &servers.near.socket, servers.near.address) && passes(&ann, &bob, of_bob)
    );
}

#[test]
fn an_uplink_loses_the_given_share_of_packets_and_fails_silently() {
    let lab = Lab::open();
    let net = lab.internet();
    let (relay, home) = (net.machine("relay"), net.site(Nat::PortRestricted));
    let server = Server::on(&relay);
    let ann = home.machine("ann").udp();
    let arrived = |from: &UdpSocket, to: &UdpSocket, address| {
        (0..100).filter(|_| passes(from, to, address)).count()
    };
    relay.loss(50);
    shorten_timeout(&server.socket);
    let half = arrived(&ann, &server.socket, server.address);
    assert!((25..=75).contains(&half), "{half} of 100");
    relay.loss(0);
    let mapped = server.sees(&ann);
    home.loss(100);
    assert!(!server.reaches(&ann, mapped) && passes(&ann, &server.socket, server.address));
    home.loss(0);
    assert!(server.reaches(&ann, mapped));
    home.unplug();
    assert!(!server.reaches(&ann, mapped) && !passes(&ann, &server.socket, server.address));
    home.plug();
    assert!(server.reaches(&ann, mapped));
}

#[test]
fn sites_may_share_private_addresses_and_the_internet_drops_packets_to_them() {
    let lab = Lab::open();
    let net = lab.internet();
    let servers = PublicServers::of(&net);
    let (home, office) = (net.site(Nat::FullCone), net.site(Nat::FullCone));
    let (ann, bob) = (home.machine("ann"), office.machine("bob"));
    assert_eq!(ann.ipv4(), bob.ipv4());
    assert_ne!(
        servers.near.sees(&ann.udp()).ip(),
        servers.near.sees(&bob.udp()).ip()
    );
    assert_eq!(net.strays(), 0);
    let elsewhere = net.site_with(Nat::FullCone, Ipv4Addr::new(10, 1, 2, 0));
    let cat = elsewhere.machine("cat");
    let (of_ann, of_cat) = (ann.udp(), cat.udp());
    assert!(!passes(
        &of_ann,
        &of_cat,
        SocketAddrV4::new(cat.ipv4().parse().expect("an address"), port_of(&of_cat))
    ));
    assert_eq!(net.strays(), 1);
}

#[test]
fn a_machine_keeps_its_socket_when_it_moves_to_another_site() {
    let lab = Lab::open();
    let net = lab.internet();
    let servers = PublicServers::of(&net);
    let (home, cafe) = (net.site(Nat::PortRestricted), net.site(Nat::PortRestricted));
    let ann = home.machine("ann");
    let socket = ann.udp();
    assert_eq!(*servers.near.sees(&socket).ip(), home.public_ipv4());
    ann.move_to(cafe.lan());
    assert_eq!(*servers.near.sees(&socket).ip(), cafe.public_ipv4());
}

#[test]
fn multicast_stays_within_a_site() {
    let lab = Lab::open();
    let net = lab.internet();
    let (relay, other, home) = (
        net.machine("relay"),
        net.machine("other"),
        net.site(Nat::FullCone),
    );
    let (ann, bob) = (home.machine("ann"), home.machine("bob"));
    let answers = |from: &Machine| from.run("ping", &["-c", "2", "ff02::1%eth0"]).stdout;
    let address = |of: &Machine| of.ipv6().trim_end_matches("%eth0").to_owned();
    assert!(answers(&ann).contains(&address(&bob)));
    let at_relay = answers(&relay);
    assert!(
        !at_relay.contains(&address(&other)) && !at_relay.contains(&address(&ann)),
        "{at_relay}"
    );
}

#[test]
fn hole_punching_opens_every_pair_of_nats_that_can_be_opened() {
    let lab = Lab::open();
    let net = lab.internet();
    let servers = PublicServers::of(&net);
    let sides = || Nat::ALL.map(|nat| (nat, net.site(nat)));
    let (left, right) = (sides(), sides());
    for (one, home) in &left {
        for (other, office) in &right {
            let opened = punch(&servers, home, office);
            eprintln!(
                "{one:?} with {other:?}: {}",
                if opened { "direct" } else { "relay" }
            );
            assert_eq!(
                opened,
                one.can_be_punched_with(*other),
                "{one:?} with {other:?}"
            );
        }
    }
}

/// Runs the check for the four kinds of NAT in parallel, each on its own internet.
fn for_each_nat(lab: &Lab, check: impl Fn(Nat, &Internet, &PublicServers) + Sync) {
    let check_one = |nat| {
        let net = lab.internet();
        check(nat, &net, &PublicServers::of(&net));
    };
    std::thread::scope(|scope| {
        Nat::ALL
            .map(|nat| scope.spawn(move || check_one(nat)))
            .map(|one| one.join().expect("the check passed"))
    });
}

/// Two public machines. The first one has servers on two ports.
struct PublicServers {
    machine: Machine,
    near: Server,
    near_other_port: Server,
    far: Server,
}

/// A UDP socket with a public address.
struct Server {
    socket: UdpSocket,
    address: SocketAddrV4,
}

/// How often a server waits for a packet that must arrive, each time for as long as it waits for one
/// that must not.
const ATTEMPTS: usize = 20;

impl PublicServers {
    fn of(net: &Internet) -> Self {
        let (machine, far) = (net.machine("near"), net.machine("far"));
        Self {
            near: Server::on(&machine),
            near_other_port: Server::on(&machine),
            far: Server::on(&far),
            machine,
        }
    }

    fn all(&self) -> [&Server; 3] {
        [&self.near, &self.near_other_port, &self.far]
    }
}

impl Server {
    fn on(machine: &Machine) -> Self {
        let socket = machine.udp();
        Self {
            address: SocketAddrV4::new(machine.public_ipv4(), port_of(&socket)),
            socket,
        }
    }

    /// Returns the client's public address as the server sees it. The client also receives an
    /// answer.
    fn sees(&self, client: &UdpSocket) -> SocketAddrV4 {
        client
            .send_to(b"who am I", self.address)
            .expect("there is a route");
        // A busy machine may take its time over the first packet of a flow.
        let seen = (0..ATTEMPTS).find_map(|_| receive(&self.socket));
        let seen = seen.expect("the NAT lets packets out");
        assert!(self.reaches(client, seen), "the answer arrives");
        seen
    }

    /// Whether a packet from this server to the address arrives at the client.
    fn reaches(&self, client: &UdpSocket, address: SocketAddrV4) -> bool {
        passes(&self.socket, client, address)
    }
}

/// Whether a packet from the first socket to the address arrives at the second socket.
fn passes(from: &UdpSocket, to: &UdpSocket, address: SocketAddrV4) -> bool {
    from.send_to(b"hi", address).expect("there is a route");
    receive(to).is_some()
}

/// Returns the sender of the next packet, or `None` after the socket's timeout.
fn receive(socket: &UdpSocket) -> Option<SocketAddrV4> {
    let mut packet = [0; 64];
    match socket.recv_from(&mut packet).ok()? {
        (_, SocketAddr::V4(from)) => Some(from),
        (_, SocketAddr::V6(from)) => panic!("{from} is not an IPv4 address"),
    }
}

/// Sends probes from new sockets in both sites. The first go to the addresses that a server saw,
/// later ones to the senders of received probes. Returns whether both sides received an answer.
fn punch(servers: &PublicServers, home: &Site, office: &Site) -> bool {
    let sockets = [home, office].map(|site| site.machine("prober").udp());
    let mut towards = [
        servers.near.sees(&sockets[1]),
        servers.near.sees(&sockets[0]),
    ];
    let mut answered = [false; 2];
    for round in 0..4 {
        for me in 0..2 {
            sockets[me]
                .send_to(&[u8::from(answered[me])], towards[me])
                .expect("there is a route");
        }
        for me in 0..2 {
            shorten_timeout(&sockets[me]);
            while let Some(from) = receive(&sockets[me]) {
                // The sender's address is a working path. It may differ from the address that was
                // tried.
                towards[me] = from;
                answered[me] = round > 0;
            }
        }
    }
    answered == [true; 2]
}

/// Shortens the socket's timeout for tests that expect lost packets.
fn shorten_timeout(socket: &UdpSocket) {
    socket
        .set_read_timeout(Some(Duration::from_millis(30)))
        .expect("the timeout is not zero");
}

fn port_of(socket: &UdpSocket) -> u16 {
    socket.local_addr().expect("the socket is bound").port()
}
