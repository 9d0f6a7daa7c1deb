//! Routers that map ports: real `miniupnpd`, and fake ones whose answers are late or hostile.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use hobnob_tests::lab::{Lab, MappingRouter, Nat, Node, OnInternet, Protocols, Site, until};
use serde_json::Value;

use crate::relay_net::RelayNet;

/// A home whose router maps ports, with a node.
struct Scene {
    node: Node,
    router: MappingRouter,
    home: Site,
    net: RelayNet,
    _lab: Lab,
}

impl Scene {
    fn new(protocols: Protocols) -> Self {
        let lab = Lab::open();
        let net = RelayNet::of(&lab);
        // With such NATs at both ends, hole punching cannot succeed.
        let home = net.internet.site(Nat::Symmetric);
        let router = home.maps_ports(protocols);
        let node = net.up(&home.machine("ann"), "ann");
        Self {
            node,
            router,
            home,
            net,
            _lab: lab,
        }
    }

    /// Waits until the router has a port for the node.
    fn mapped_port(&self) -> u16 {
        until("the router maps a port", MAPPED, || {
            let ports = self.router.ports();
            ports.first().copied().ok_or(format!("{ports:?}"))
        })
    }
}

/// The findings of `hobnob doctor` about the router's port.
fn finding(node: &Node) -> Option<Value> {
    let findings = node.run(&["doctor", "--json"]).json();
    let mut of_port = findings.into_iter();
    of_port.find(|finding| finding["check"] == "router")
}

/// A peer behind a symmetric NAT reaches the mapped port directly, and the lease ends with the node.
fn a_mapped_port_is_reached(protocols: Protocols, name: &str) {
    let scene = Scene::new(protocols);
    let port = scene.mapped_port();
    let (_office, bob) = scene.net.alone_behind(Nat::Symmetric, "bob");
    scene.node.are_contacts(&bob);
    bob.connects_over("direct", &scene.node, Duration::from_secs(10));
    bob.tells(&scene.node, "directly");
    scene.node.shows_once("directly");
    let found = finding(&scene.node).expect("the router has answered");
    let external = format!("{}:{port}", scene.home.public_ipv4());
    assert!(
        found["code"] == "port-mapped"
            && found["protocol"] == name
            && found["external"] == external,
        "{found}"
    );
    assert!(scene.node.ticket().contains(&external));
    scene.node.terminate();
    assert_eq!(scene.router.ports(), [0; 0], "the lease is removed");
}

#[test]
fn pcp_maps_a_port_that_peers_reach_directly() {
    a_mapped_port_is_reached(Protocols::Pcp, "pcp");
}

#[test]
fn nat_pmp_maps_a_port_that_peers_reach_directly() {
    a_mapped_port_is_reached(Protocols::NatPmp, "nat-pmp");
}

#[test]
fn upnp_maps_a_port_that_peers_reach_directly() {
    a_mapped_port_is_reached(Protocols::Upnp, "upnp");
}

#[test]
fn a_new_network_has_its_own_mapping() {
    let scene = Scene::new(Protocols::Pcp);
    scene.mapped_port();
    let cafe = scene
        .net
        .internet
        .site_with(Nat::Symmetric, Ipv4Addr::new(10, 1, 2, 0));
    let other = cafe.maps_ports(Protocols::Upnp);
    scene.node.machine().move_to(cafe.lan());
    until("the other router maps a port", MAPPED, || {
        let ports = other.ports();
        ports.first().copied().ok_or(format!("{ports:?}"))
    });
}

#[test]
fn a_node_that_may_use_only_its_proxy_asks_no_router() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let home = net.internet.site(Nat::Symmetric);
    let router = home.maps_ports(Protocols::Pcp);
    let plain = home.machine("ann").up("ann", &[]);
    until("the router maps a port", MAPPED, || {
        router.ports().first().copied().ok_or("none".to_owned())
    });
    plain.terminate();
    let silent = home.machine("bob").home("bob");
    std::fs::create_dir(silent.path()).expect("a new home");
    std::fs::write(silent.path().join("config.toml"), "proxy-only = true\n").expect("a new file");
    let silent = silent.up(&[]);
    assert_eq!(finding(&silent), None);
    assert_eq!(router.ports(), [0; 0]);
}

/// The provider's NAT is between the home's router and the internet (RFC 6598).
#[test]
fn a_home_behind_its_providers_nat_gets_a_direct_path_without_a_mapping() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let provider = net
        .internet
        .site_with(Nat::PortRestricted, Ipv4Addr::new(100, 64, 3, 0));
    let home = provider.site(Nat::PortRestricted, Ipv4Addr::new(192, 168, 1, 0));
    let _router = home.maps_ports(Protocols::NatPmp);
    let ann = net.up(&home.machine("ann"), "ann");
    let (_office, bob) = net.alone_behind(Nat::PortRestricted, "bob");
    ann.are_contacts(&bob);
    ann.connects_over("direct", &bob, Duration::from_secs(10));
    let found = until("the router answers", MAPPED, || {
        finding(&ann).ok_or("no finding".to_owned())
    });
    // The port of a router with a private address leads nowhere.
    let code = found["code"].as_str().expect("a code");
    assert!(
        ["router-not-public", "port-refused"].contains(&code),
        "{found}"
    );
    assert!(!ann.ticket().contains("100.64."), "{}", ann.ticket());
}

/// A fake router, which answers each request as it likes. Its thread ends with the test process.
fn answers(
    home: &Site,
    port: u16,
    answer: impl Fn(&UdpSocket, &[u8], std::net::SocketAddr) + Send + 'static,
) {
    let socket = home
        .on_router(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)))
        .expect("the port is free");
    std::thread::spawn(move || {
        let mut request = [0; 2048];
        while let Ok((len, from)) = socket.recv_from(&mut request) {
            answer(&socket, &request[..len], from);
        }
    });
}

#[test]
fn a_hostile_router_costs_nothing_but_the_mapping() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let home = net.internet.site(Nat::PortRestricted);
    // Answers to PCP with another nonce, and to NAT-PMP with garbage of the largest size.
    answers(&home, 5351, |socket, request, from| {
        let mut answer = request.to_vec();
        if answer[0] == 2 {
            answer[1] |= 0x80;
            answer[24] ^= 1;
        } else {
            answer = vec![0xff; 1400];
        }
        let _ = socket.send_to(&answer, from);
    });
    // Names a description at another machine, then one of its own that never ends.
    let web = home
        .on_router(|| std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, 5000)))
        .expect("the port is free");
    std::thread::spawn(move || {
        for mut stream in web.incoming().flatten() {
            use std::io::Write;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while stream.write_all(&[b'<'; 4096]).is_ok() {}
        }
    });
    answers(&home, 1900, |socket, _, from| {
        for host in ["11.1.0.2", "192.168.1.1"] {
            let answer = format!("HTTP/1.1 200 OK\r\nLocation: http://{host}:5000/\r\n\r\n");
            let _ = socket.send_to(answer.as_bytes(), from);
        }
    });
    let ann = net.up(&home.machine("ann"), "ann");
    let found = until("the node gives up", Duration::from_secs(20), || {
        finding(&ann).ok_or("no finding".to_owned())
    });
    assert_eq!(found["code"], "no-port-mapping", "{found}");
    let (_office, bob) = net.alone_behind(Nat::Symmetric, "bob");
    ann.sees(&bob);
    ann.tells(&bob, "still here");
    bob.shows_once("still here");
}

/// The router has mapped a port this long after the start. UPnP is tried last.
const MAPPED: Duration = Duration::from_secs(10);
