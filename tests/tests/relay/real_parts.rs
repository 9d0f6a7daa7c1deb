//! Real programs of other people between a node and its relay: reverse proxies, proxies, portals.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use hobnob_tests::lab::{
    Filter, Internet, Lab, Machine, Nat, Node, OnInternet, Screen, Site, until,
};
use hobnob_transport::stream::tls;
use serde_json::Value;

use crate::relay_net::RelayNet;

/// The page whose examples are run.
const PAGE: &str = include_str!("../../../docs/RELAY.md");

/// The example of the page that contains these words.
fn example(words: &str) -> &'static str {
    let mut blocks = PAGE.split("\n```").skip(1).step_by(2);
    let block = blocks.find(|block| block.contains(words));
    let block = block.unwrap_or_else(|| panic!("docs/RELAY.md has no example with {words:?}"));
    block.split_once('\n').expect("a block has a first line").1
}

/// A certificate of its own authority, and its key.
struct Pem {
    certificate: String,
    key: String,
}

impl Pem {
    fn new(lab: &Lab, machine: &Machine) -> Self {
        let [certificate, key] = ["web.crt", "web.key"].map(|name| lab.file(name, ""));
        let made =
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=web";
        let files = ["-out", &certificate, "-keyout", &key];
        let arguments: Vec<&str> = made.split(' ').chain(files).collect();
        machine.run("openssl", &arguments).expect(0);
        Self { certificate, key }
    }
}

/// Starts a server, and waits until it accepts connections at this port.
fn serve(machine: &Machine, program: &str, arguments: &[&str], port: u16) -> Screen {
    let running = machine.screen(program, arguments);
    until(program, Duration::from_secs(10), || {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let dialed = machine.inside(|| TcpStream::connect(at));
        dialed.map(drop).map_err(|error| error.to_string())
    });
    running
}

/// A node behind a firewall that lets only HTTPS through.
fn up_behind_firewall(internet: &Internet, nick: &str, relay: &str) -> (Site, Node) {
    let site = internet.site(Nat::PortRestricted);
    site.filter(Filter::OnlyHttps);
    let node = site.machine(nick).up(nick, &["--relay", relay]);
    registers_over_tcp(&node);
    (site, node)
}

fn registers_over_tcp(node: &Node) -> Value {
    let fits = |event: &Value| event["code"] == "relay-up" && event["carrier"] == "tcp";
    node.wait_for("register over TCP", fits, STARTED)
}

/// Two nodes talk through a relay behind this reverse proxy, and the relay knows their addresses.
fn talks_behind(start: impl Fn(&Lab, &Machine, &Pem) -> Screen) {
    let lab = Lab::open();
    let internet = lab.internet();
    let machine = internet.machine("relay");
    let pem = Pem::new(&lab, &machine);
    let relay = machine.relay(&["--tcp", "127.0.0.1:8627", "--behind-proxy"]);
    let _proxy = start(&lab, &machine, &pem);
    let name = format!("{}@wss://{}/hobnob", relay.id(), machine.public_ipv4());
    let (home, ann) = up_behind_firewall(&internet, "ann", &name);
    let (_office, bob) = up_behind_firewall(&internet, "bob", &name);
    ann.tells(&bob, "through the reverse proxy");
    bob.shows_once("through the reverse proxy");
    let row = relay.row(ann.id()).expect("ann is registered").to_string();
    assert!(row.contains(&home.public_ipv4().to_string()), "{row}");
}

#[test]
fn a_relay_behind_nginx() {
    talks_behind(|lab, machine, Pem { certificate, key }| {
        let (location, protocols) = (example("proxy_pass"), example("ssl_protocols"));
        let config = format!(
            "daemon off; master_process off; error_log stderr; pid {certificate}.pid;\n\
             events {{ }}\n\
             http {{\n\
             access_log off;\n\
             client_body_temp_path {certificate}.body; proxy_temp_path {certificate}.proxy;\n\
             fastcgi_temp_path {certificate}.1; uwsgi_temp_path {certificate}.2; scgi_temp_path {certificate}.3;\n\
             server {{ listen 443 ssl; ssl_certificate {certificate}; ssl_certificate_key {key};\n\
             {protocols}\n{location}\n}} }}\n"
        );
        let config = lab.file("nginx.conf", &config);
        serve(machine, "/usr/sbin/nginx", &["-c", &config], 443)
    });
}

#[test]
fn a_relay_behind_haproxy() {
    talks_behind(|lab, machine, Pem { certificate, key }| {
        let read = |path| std::fs::read_to_string(path).expect("written above");
        let both = lab.file("both.pem", &[read(certificate), read(key)].concat());
        let backend = example("send-proxy-v2");
        let config = format!(
            "defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n timeout tunnel 1h\n\
             frontend web\n bind :443 ssl crt {both}\n default_backend hobnob\n{backend}\n"
        );
        let config = lab.file("haproxy.cfg", &config);
        serve(machine, "/usr/sbin/haproxy", &["-db", "-f", &config], 443)
    });
}

/// A proxy on the internet is the only way out of an office.
fn talks_through(proxy: &str, start: impl Fn(&Lab, &Machine) -> Screen) {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let office = net.internet.site(Nat::PortRestricted);
    office.filter(Filter::Nothing);
    let gateway = office.machine("gateway");
    net.internet.connects(&gateway);
    let _proxy = start(&lab, &gateway);
    let proxy = proxy.replace("HOST", &gateway.ipv4());
    let arguments = ["--relay", &net.relay.name(), "--proxy", &proxy];
    let ann = office.machine("ann").up("ann", &arguments);
    registers_over_tcp(&ann);
    let (_home, bob) = net.alone_behind(Nat::PortRestricted, "bob");
    ann.tells(&bob, "through the proxy");
    bob.shows_once("through the proxy");
}

#[test]
fn tinyproxy_is_the_only_way_out() {
    talks_through("http://HOST:3128", |lab, gateway| {
        let config = lab.file("tinyproxy.conf", "Port 3128\nTimeout 600\nLogLevel Error\n");
        serve(gateway, "tinyproxy", &["-d", "-c", &config], 3128)
    });
}

#[test]
fn microsocks_with_a_password_is_the_only_way_out() {
    talks_through("socks5://ann:secret@HOST:1080", |_, gateway| {
        let login = ["-p", "1080", "-u", "ann", "-P", "secret"];
        serve(gateway, "microsocks", &login, 1080)
    });
}

/// Listens on the router of a site, where [`Filter::Portal`] sends every connection.
fn portal(site: &Site) -> TcpListener {
    let at = (Ipv4Addr::UNSPECIFIED, Filter::PORTAL_PORT);
    site.on_router(|| TcpListener::bind(at))
        .expect("the port is free")
}

#[test]
fn a_captive_portal_is_waited_out() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let hotel = net.internet.site(Nat::PortRestricted);
    let listener = portal(&hotel);
    hotel.filter(Filter::Portal);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            use std::io::{Read, Write};
            let _request = stream.read(&mut [0; 4096]);
            let answer = b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/\r\nContent-Length: 0\r\n\r\n";
            let _sent = stream.write_all(answer);
        }
    });
    let ann = net.up(&hotel.machine("ann"), "ann");
    let notice = ann.notices("udp-blocked");
    let why = notice["why"].as_str().expect("a reason");
    assert!(why.contains("no relay answers over TCP"), "{notice}");
    hotel.filter(Filter::Open);
    ann.notices("relay-up");
    let (_home, bob) = net.alone_behind(Nat::PortRestricted, "bob");
    ann.tells(&bob, "logged in");
    bob.shows_once("logged in");
}

/// A firewall of the office ends every TLS connection, and makes another with its own certificate.
/// It can read the outer TLS. QUIC inside goes through unread.
#[test]
fn a_proxy_that_intercepts_tls_sees_only_ciphertext() {
    let lab = Lab::open();
    let internet = lab.internet();
    let relay = internet.machine("relay").relay(&["--tcp", "[::]:443"]);
    let net = RelayNet { internet, relay };
    let office = net.internet.site(Nat::PortRestricted);
    let ann = office.machine("ann");
    let pem = Pem::new(&lab, &ann);
    let listener = portal(&office);
    let to = SocketAddr::from((net.relay.machine().public_ipv4(), 443));
    office.filter(Filter::Portal);
    std::thread::spawn(move || intercept(&office, listener, &pem, to));
    let ann = net.up(&ann, "ann");
    registers_over_tcp(&ann);
    let (_home, bob) = net.alone_behind(Nat::PortRestricted, "bob");
    ann.tells(&bob, "not for the firewall");
    bob.shows_once("not for the firewall");
}

/// Serves intercepted connections until the test process ends.
fn intercept(site: &Site, listener: TcpListener, pem: &Pem, to: SocketAddr) {
    let acceptor = tls::acceptor_from_files(pem.certificate.as_ref(), pem.key.as_ref());
    let acceptor = acceptor.expect("openssl wrote the files");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    for client in listener.incoming().flatten() {
        let Ok(server) = site.on_router(|| TcpStream::connect(to)) else {
            continue;
        };
        let acceptor = acceptor.clone();
        runtime.spawn(async move {
            let [client, server] = [client, server].map(|stream| {
                stream.set_nonblocking(true).expect("a socket");
                tokio::net::TcpStream::from_std(stream).expect("within the runtime")
            });
            let mut client = tls::accept(&acceptor, client).await?;
            let mut server = tls::connect("relay.example", server).await?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await
        });
    }
}

/// A link with an MTU of 1,280 bytes, the least that IPv6 allows, as in tunnels.
#[test]
fn a_path_with_a_small_mtu_is_enough_over_udp_and_tcp() {
    for filter in [Filter::Open, Filter::UdpDropped] {
        let lab = Lab::open();
        let net = RelayNet::of(&lab);
        let home = net.internet.site(Nat::PortRestricted);
        home.filter(filter);
        let tunnel = home.machine("ann");
        // Without offload, the link sees each packet as it is.
        let small = "ip link set eth0 mtu 1280 && ip link set eth0 gso_max_segs 1";
        tunnel.run("sh", &["-c", small]).expect(0);
        let ann = net.up(&tunnel, "ann");
        let (_office, bob) = net.alone_behind(Nat::Symmetric, "bob");
        let long = "a long text ".repeat(1_000);
        ann.tells(&bob, &long);
        bob.shows_once(&long);
    }
}

/// systemd's own tool passes one kind of socket. It starts the relay when the first packet arrives.
#[test]
fn a_relay_is_started_by_its_socket() {
    for (kind, port, filter) in [
        (Some("--datagram"), 4627, Filter::Open),
        (None, 443, Filter::OnlyHttps),
    ] {
        let lab = Lab::open();
        let internet = lab.internet();
        let machine = internet.machine("relay");
        let home = machine.home("relay");
        let relay = hobnob_tests::lab::hobnob_binary();
        let (relay, home) = (relay.to_str().expect("ASCII"), home.path());
        let listen = format!("[::]:{port}");
        let home = home.to_str().expect("ASCII");
        let given = ["-l", &listen, relay, "relay", "--json", "--home", home];
        let given: Vec<&str> = kind.into_iter().chain(given).collect();
        let _activated = machine.screen("systemd-socket-activate", &given);
        let site = internet.site(Nat::PortRestricted);
        site.filter(filter);
        let name = format!("{}:4627", machine.public_ipv4());
        let ann = site.machine("ann").up("ann", &["--relay", &name]);
        ann.wait_for(
            "register",
            |event| event["code"] == "relay-up",
            Duration::from_secs(20),
        );
    }
}

/// A node has registered within this time of its start. The lab's other tests use the same
/// processors.
const STARTED: Duration = Duration::from_secs(10);
