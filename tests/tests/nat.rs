//! The lab's internet: that each NAT maps and filters as its kind does (RFC 4787), and that paths
//! die and heal as they are told to.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use hobnob_tests::lab::{Internet, Lab, Machine, Nat, OnInternet, Site, pause};

#[test]
fn every_nat_but_the_symmetric_shows_all_destinations_the_same_port() {
    let lab = Lab::open();
    for_each_nat(&lab, |nat, net, world| {
        let home = net.site(nat);
        let (ann, bob) = (home.machine("ann").udp(), home.machine("bob").udp());
        let seen = world.all().map(|server| server.sees(&ann));
        assert!(
            seen.iter().all(|seen| *seen.ip() == home.public_ipv4()),
            "{nat:?}: {seen:?}"
        );
        let ports = seen.map(|seen| seen.port());
        match nat {
            // Neither another address nor another port of the same one gets to see the same.
            Nat::Symmetric => assert!(
                ports[0] != ports[1] && ports[1] != ports[2] && ports[0] != ports[2],
                "{ports:?}"
            ),
            Nat::FullCone | Nat::AddressRestricted | Nat::PortRestricted => {
                assert!(
                    ports.iter().all(|port| *port == ports[0]),
                    "{nat:?}: {ports:?}"
                );
            }
        }
        assert_eq!(
            world.near.sees(&ann).port(),
            ports[0],
            "{nat:?}: a mapping stays while it is used"
        );
        assert_ne!(
            world.near.sees(&bob),
            seen[0],
            "{nat:?}: another socket has another port"
        );
    });
}

#[test]
fn each_nat_lets_in_whom_its_kind_lets_in() {
    let lab = Lab::open();
    for_each_nat(&lab, |nat, net, world| {
        let ann = net.site(nat).machine("ann").udp();
        let mapped = world.near.sees(&ann);
        assert!(
            world.near.reaches(&ann, mapped),
            "{nat:?}: who was sent to may answer, again and again"
        );
        let (address, anybody) = match nat {
            Nat::FullCone => (true, true),
            Nat::AddressRestricted => (true, false),
            Nat::PortRestricted | Nat::Symmetric => (false, false),
        };
        assert_eq!(
            world.near_other_port.reaches(&ann, mapped),
            address,
            "{nat:?}: same address, other port"
        );
        assert_eq!(
            world.far.reaches(&ann, mapped),
            anybody,
            "{nat:?}: other address"
        );
    });
}

#[test]
fn an_answer_to_a_stranger_leaves_by_the_port_that_the_stranger_came_to() {
    let lab = Lab::open();
    let net = lab.internet();
    let world = World::of(&net);
    let ann = net.site(Nat::FullCone).machine("ann").udp();
    let mapped = world.near.sees(&ann);
    assert!(world.far.reaches(&ann, mapped));
    assert_eq!(world.far.sees(&ann), mapped);
}

#[test]
fn a_nat_forgets_what_is_not_used() {
    let lab = Lab::open();
    for_each_nat(&lab, |nat, net, world| {
        let home = net.site(nat);
        home.forgets_after(Duration::from_secs(2));
        let (ann, bob) = (home.machine("ann").udp(), home.machine("bob").udp());
        let (of_ann, of_bob) = (world.near.sees(&ann), world.near.sees(&bob));
        for _ in 0..5 {
            pause(Duration::from_millis(700));
            assert_eq!(
                world.near.sees(&bob),
                of_bob,
                "{nat:?}: what is used is kept"
            );
        }
        assert!(
            !world.near.reaches(&ann, of_ann),
            "{nat:?}: nobody gets in any more"
        );
        assert_ne!(
            world.near.sees(&ann),
            of_ann,
            "{nat:?}: the next packet opens another port"
        );
    });
}

#[test]
fn a_nat_forgets_after_half_a_minute_unless_told_otherwise() {
    let lab = Lab::open();
    for_each_nat(&lab, |nat, net, world| {
        let home = net.site(nat);
        let (ann, bob) = (home.machine("ann").udp(), home.machine("bob").udp());
        let (of_ann, of_bob) = (world.near.sees(&ann), world.near.sees(&bob));
        pause(Duration::from_secs(25));
        assert!(world.near.reaches(&ann, of_ann), "{nat:?}");
        pause(Duration::from_secs(6));
        assert!(!world.near.reaches(&bob, of_bob), "{nat:?}");
    });
}

#[test]
fn a_rebind_changes_the_port_under_a_running_flow() {
    let lab = Lab::open();
    for_each_nat(&lab, |nat, net, world| {
        let home = net.site(nat);
        let ann = home.machine("ann").udp();
        let before = world.near.sees(&ann);
        home.rebind();
        assert!(
            !world.near.reaches(&ann, before),
            "{nat:?}: the old mapping is gone"
        );
        let after = world.near.sees(&ann);
        assert_eq!(before.ip(), after.ip());
        assert_ne!(before.port(), after.port(), "{nat:?}");
        assert!(world.near.reaches(&ann, after), "{nat:?}");
    });
}

#[test]
fn a_renumbered_site_comes_from_another_address() {
    let lab = Lab::open();
    for_each_nat(&lab, |nat, net, world| {
        let home = net.site(nat);
        let ann = home.machine("ann").udp();
        let before = world.near.sees(&ann);
        home.renumber();
        assert!(
            !world.near.reaches(&ann, before),
            "{nat:?}: the old address is gone"
        );
        let after = world.near.sees(&ann);
        assert_ne!(before.ip(), after.ip());
        assert_eq!(*after.ip(), home.public_ipv4());
        assert!(world.near.reaches(&ann, after), "{nat:?}");
    });
}

#[test]
fn hairpin_is_absent() {
    let lab = Lab::open();
    for_each_nat(&lab, |nat, net, world| {
        let home = net.site(nat);
        let (ann, bob) = (home.machine("ann"), home.machine("bob"));
        let (of_ann, of_bob) = (ann.udp(), bob.udp());
        let (seen_ann, seen_bob) = (world.near.sees(&of_ann), world.near.sees(&of_bob));
        // Also when both have tried, so that any filter would let the other in.
        for _ in 0..2 {
            assert!(!passes(&of_ann, &of_bob, seen_bob), "{nat:?}");
            assert!(!passes(&of_bob, &of_ann, seen_ann), "{nat:?}");
        }
        let direct = SocketAddrV4::new(bob.ipv4().parse().expect("an address"), port_of(&of_bob));
        assert!(
            passes(&of_ann, &of_bob, direct),
            "neighbours reach each other's own addresses"
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
        listener.local_addr().expect("bound").port(),
    ));
    let mut client_stream = ann
        .inside(|| TcpStream::connect_timeout(&address, Duration::from_secs(5)))
        .expect("TCP passes");
    let (mut stream, from) = listener.accept().expect("it was connected");
    assert_eq!(from.ip(), home.public_ipv4());
    client_stream.write_all(b"hi").expect("it is open");
    let mut said = [0; 2];
    stream.read_exact(&mut said).expect("it is open");
    assert_eq!(&said, b"hi");
    home.allow_udp();
    server.sees(&client);
}

#[test]
fn a_cut_parts_two_sites_and_leaves_the_relay_to_both() {
    let lab = Lab::open();
    let net = lab.internet();
    let world = World::of(&net);
    let (home, office) = (net.site(Nat::FullCone), net.site(Nat::FullCone));
    let (ann, bob) = (home.machine("ann").udp(), office.machine("bob").udp());
    let (of_ann, of_bob) = (world.near.sees(&ann), world.near.sees(&bob));
    assert!(passes(&ann, &bob, of_bob) && passes(&bob, &ann, of_ann));
    net.cut(&office, &home);
    assert!(!passes(&ann, &bob, of_bob) && !passes(&bob, &ann, of_ann));
    assert!(world.near.sees(&ann) == of_ann && world.near.sees(&bob) == of_bob);
    net.heal(&home, &office);
    assert!(passes(&ann, &bob, of_bob) && passes(&bob, &ann, of_ann));
    net.cut(&home, &world.machine);
    assert!(!passes(&ann, &world.near.socket, world.near.address) && passes(&ann, &bob, of_bob));
}

#[test]
fn a_line_loses_what_it_is_told_to_and_dies_silently() {
    let lab = Lab::open();
    let net = lab.internet();
    let (relay, home) = (net.machine("relay"), net.site(Nat::PortRestricted));
    let server = Server::on(&relay);
    let ann = home.machine("ann").udp();
    let came = |from: &UdpSocket, to: &UdpSocket, address| {
        (0..100).filter(|_| passes(from, to, address)).count()
    };
    relay.loss(50);
    to_a_moment(&server.socket);
    let half = came(&ann, &server.socket, server.address);
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
fn sites_may_have_the_same_private_addresses_and_packets_to_them_go_nowhere_else() {
    let lab = Lab::open();
    let net = lab.internet();
    let world = World::of(&net);
    let (home, office) = (net.site(Nat::FullCone), net.site(Nat::FullCone));
    let (ann, bob) = (home.machine("ann"), office.machine("bob"));
    assert_eq!(ann.ipv4(), bob.ipv4());
    assert_ne!(
        world.near.sees(&ann.udp()).ip(),
        world.near.sees(&bob.udp()).ip()
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
fn a_machine_takes_its_socket_from_site_to_site() {
    let lab = Lab::open();
    let net = lab.internet();
    let world = World::of(&net);
    let (home, cafe) = (net.site(Nat::PortRestricted), net.site(Nat::PortRestricted));
    let ann = home.machine("ann");
    let socket = ann.udp();
    assert_eq!(*world.near.sees(&socket).ip(), home.public_ipv4());
    ann.move_to(cafe.lan());
    assert_eq!(*world.near.sees(&socket).ip(), cafe.public_ipv4());
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
    let heard = answers(&relay);
    assert!(
        !heard.contains(&address(&other)) && !heard.contains(&address(&ann)),
        "{heard}"
    );
}

#[test]
fn knocks_from_both_sides_open_every_pair_of_nats_that_can_be_opened() {
    let lab = Lab::open();
    let net = lab.internet();
    let world = World::of(&net);
    let sides = || Nat::ALL.map(|nat| (nat, net.site(nat)));
    let (left, right) = (sides(), sides());
    for (one, home) in &left {
        for (other, office) in &right {
            let opened = punch(&world, home, office);
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

/// Checks the four kinds side by side, each on an internet of its own.
fn for_each_nat(lab: &Lab, check: impl Fn(Nat, &Internet, &World) + Sync) {
    let check_one = |nat| {
        let net = lab.internet();
        check(nat, &net, &World::of(&net));
    };
    std::thread::scope(|scope| {
        Nat::ALL
            .map(|nat| scope.spawn(move || check_one(nat)))
            .map(|one| one.join().expect("see above"))
    });
}

/// Two addresses on the internet, of which one has two servers.
struct World {
    machine: Machine,
    near: Server,
    near_other_port: Server,
    far: Server,
}

/// Something with a public address that can be sent to.
struct Server {
    socket: UdpSocket,
    address: SocketAddrV4,
}

impl World {
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

    /// The address that a packet of this socket comes from; the socket gets an answer.
    fn sees(&self, client: &UdpSocket) -> SocketAddrV4 {
        client
            .send_to(b"who am I", self.address)
            .expect("there is a route");
        let seen = receive(&self.socket).expect("the way out is open");
        assert!(self.reaches(client, seen), "an answer comes in");
        seen
    }

    /// Whether a packet to this address gets to the client.
    fn reaches(&self, client: &UdpSocket, address: SocketAddrV4) -> bool {
        passes(&self.socket, client, address)
    }
}

/// Whether a packet that is sent to this address arrives at that socket.
fn passes(from: &UdpSocket, to: &UdpSocket, address: SocketAddrV4) -> bool {
    from.send_to(b"hi", address).expect("there is a route");
    receive(to).is_some()
}

/// Who sent the next packet, if one comes.
fn receive(socket: &UdpSocket) -> Option<SocketAddrV4> {
    let mut packet = [0; 64];
    match socket.recv_from(&mut packet).ok()? {
        (_, SocketAddr::V4(from)) => Some(from),
        (_, SocketAddr::V6(from)) => panic!("{from} is no IPv4 address"),
    }
}

/// Knocks from new sockets in both sites at the addresses that the world sees, and then at where
/// knocks come from: whether both get an answer.
fn punch(world: &World, home: &Site, office: &Site) -> bool {
    let sockets = [home, office].map(|site| site.machine("knocker").udp());
    let mut towards = [world.near.sees(&sockets[1]), world.near.sees(&sockets[0])];
    let mut answered = [false; 2];
    for round in 0..4 {
        for me in 0..2 {
            sockets[me]
                .send_to(&[u8::from(answered[me])], towards[me])
                .expect("there is a route");
        }
        for me in 0..2 {
            to_a_moment(&sockets[me]);
            while let Some(from) = receive(&sockets[me]) {
                // What comes in shows a way out, which need not be the one that was tried.
                towards[me] = from;
                answered[me] = round > 0;
            }
        }
    }
    answered == [true; 2]
}

/// Waits less for what is lost anyway.
fn to_a_moment(socket: &UdpSocket) {
    socket
        .set_read_timeout(Some(Duration::from_millis(30)))
        .expect("not zero");
}

fn port_of(socket: &UdpSocket) -> u16 {
    socket.local_addr().expect("it is bound").port()
}
