//! Networks that block UDP: nodes reach the relay, and through it each other, by TLS over TCP.

use std::time::Duration;

use data_encoding::BASE64;
use serde_json::{Value, json};

use hobnob_tests::json_lines::JsonLines;
use hobnob_tests::lab::{Filter, Lab, Nat, Node, Site, Stopwatch};

use crate::relay_net::{RelayNet, submit};

/// An internet with a relay, and a site with a filter and a node.
struct Scene {
    _lab: Lab,
    net: RelayNet,
}

impl Scene {
    fn new() -> Self {
        let lab = Lab::open();
        Self {
            net: RelayNet::of(&lab),
            _lab: lab,
        }
    }

    /// Starts a node in a new site with this filter.
    fn behind(&self, filter: Filter, nick: &str) -> (Site, Node) {
        let site = self.net.internet.site(Nat::PortRestricted);
        site.filter(filter);
        let node = self.net.up(&site.machine(nick), nick);
        (site, node)
    }
}

/// Waits until the node is registered at its relay by this carrier.
fn registers_over(node: &Node, carrier: &str, within: Duration) -> Value {
    let fits = |event: &Value| event["code"] == "relay-up" && event["carrier"] == carrier;
    node.wait_for(&format!("register over {carrier}"), fits, within)
}

#[test]
fn two_nodes_without_udp_talk_over_tcp() {
    for filter in [Filter::UdpDropped, Filter::UdpRejected] {
        let scene = Scene::new();
        let (_office, bob) = scene.behind(filter, "bob");
        registers_over(&bob, "tcp", STARTED);
        let started = Stopwatch::start();
        let (_hotel, ann) = scene.behind(filter, "ann");
        ann.tells(&bob, "over TCP");
        println!(
            "{filter:?}: delivered {:?} after the start",
            started.elapsed()
        );
        assert!(started.elapsed() < STARTED, "{:?}", started.elapsed());
        bob.shows_once("over TCP");
        bob.tells(&ann, "and back");
        ann.shows_once("and back");
        assert!(ann.is_connected_over("relay", &bob));
        let row = scene.net.relay.row(ann.id()).expect("ann is registered");
        assert!(!row["addr"].to_string().contains("fd68"), "{row}");
        let listed = ann.run(&["peers"]);
        assert!(listed.stderr.contains("over TCP"), "{listed}");
        let doctor = ann.run(&["doctor"]).to_string();
        assert!(
            doctor.contains("udp-blocked") && doctor.contains("relay-by-tcp"),
            "{doctor}"
        );
    }
}

#[test]
fn programs_exchange_datagrams_and_streams_without_udp() {
    let scene = Scene::new();
    let (_office, bob) = scene.behind(Filter::UdpDropped, "bob");
    let (_hotel, ann) = scene.behind(Filter::UdpDropped, "ann");
    ann.tells(&bob, "a game?");
    ann.are_contacts(&bob);
    let [mut white, mut black] = [&ann, &bob].map(|node| {
        let mut program = JsonLines::connect(node.home().path());
        let registered = program.asks(json!({"cmd": "app", "app": "chess"}));
        assert_eq!(registered, Ok(json!({})));
        program
    });
    // The longest one fits the path, and TCP loses none.
    let longest = BASE64.encode(&[7; 1_100]);
    let datagram = json!({"cmd": "datagram", "app": "chess", "target": "bob", "bytes": longest});
    assert_eq!(white.asks(datagram), Ok(json!({})));
    assert_eq!(black.event("datagram")["bytes"], longest);

    let opening = white.begins(json!({"cmd": "open-stream", "app": "chess", "target": "bob"}));
    let accepted = black.event("stream");
    let opened = white.answer(opening).expect("bob has it");
    let bytes = BASE64.encode(b"e2 e4");
    let write = json!({"cmd": "write-stream", "stream": opened["stream"], "bytes": bytes});
    assert_eq!(white.asks(write), Ok(json!({})));
    let read = black.asks(json!({"cmd": "read-stream", "stream": accepted["stream"]}));
    assert_eq!(read.expect("the stream is open")["bytes"], bytes);
    assert!(ann.is_connected_over("relay", &bob));
}

#[test]
fn another_identity_is_refused_over_tcp_too() {
    let scene = Scene::new();
    let (_office, bob) = scene.behind(Filter::UdpDropped, "bob");
    registers_over(&bob, "tcp", STARTED);
    let hotel = scene.net.internet.site(Nat::PortRestricted);
    hotel.filter(Filter::UdpDropped);
    // The TLS connection succeeds. QUIC inside proves who answers.
    let relay = format!("{}@{}", bob.id(), scene.net.relay.address());
    let ann = hotel.machine("ann").up("ann", &["--relay", &relay]);
    let notice = ann.notices("relay-changed");
    assert_eq!(notice["expected"], bob.id());
    assert_eq!(scene.net.relay.row(ann.id()), None);
}

#[test]
fn a_network_that_allows_only_https_is_enough() {
    let lab = Lab::open();
    let internet = lab.internet();
    let relay = internet.machine("relay").relay(&["--tcp", "[::]:443"]);
    let net = RelayNet { internet, relay };
    let [(_hotel, ann), (_train, bob)] = ["ann", "bob"].map(|nick| {
        let site = net.internet.site(Nat::Symmetric);
        site.filter(Filter::OnlyHttps);
        let node = net.up(&site.machine(nick), nick);
        (site, node)
    });
    registers_over(&ann, "tcp", STARTED);
    registers_over(&bob, "tcp", STARTED);
    ann.tells(&bob, "by port 443");
    bob.shows_once("by port 443");
}

#[test]
fn a_node_with_udp_and_one_without_talk() {
    let scene = Scene::new();
    let (_hotel, ann) = scene.behind(Filter::UdpDropped, "ann");
    let (_home, bob) = scene.behind(Filter::Open, "bob");
    registers_over(&ann, "tcp", STARTED);
    registers_over(&bob, "udp", STARTED);
    ann.tells(&bob, "from the hotel");
    bob.tells(&ann, "from home");
    ann.shows_once("from home");
    assert!(bob.is_connected_over("relay", &ann));
}

#[test]
fn a_node_returns_to_udp_when_it_works_again() {
    let scene = Scene::new();
    let (hotel, ann) = scene.behind(Filter::UdpDropped, "ann");
    let (_home, bob) = scene.behind(Filter::Open, "bob");
    registers_over(&ann, "tcp", STARTED);
    ann.are_contacts(&bob);
    hotel.filter(Filter::Open);
    registers_over(&ann, "udp", Duration::from_secs(20));
    // Hole punching is possible again.
    ann.connects_over("direct", &bob, Duration::from_secs(60));
}

#[test]
fn losing_udp_amid_a_conversation_delays_the_next_message_by_seconds() {
    let scene = Scene::new();
    let (hotel, ann) = scene.behind(Filter::Open, "ann");
    let (_home, bob) = scene.behind(Filter::UdpDropped, "bob");
    ann.tells(&bob, "before");
    hotel.filter(Filter::UdpDropped);
    let lost = Stopwatch::start();
    ann.tells(&bob, "after");
    println!("delivered {:?} after the loss of UDP", lost.elapsed());
    assert!(
        lost.elapsed() < Duration::from_secs(5),
        "{:?}",
        lost.elapsed()
    );
    bob.shows_once("after");
}

#[test]
fn udp_that_comes_and_goes_costs_and_doubles_no_message() {
    let scene = Scene::new();
    let (hotel, ann) = scene.behind(Filter::Open, "ann");
    let (_home, bob) = scene.behind(Filter::Open, "bob");
    ann.are_contacts(&bob);
    let mut client = ann.client();
    let mut sent = Vec::new();
    for round in 0..20 {
        hotel.filter(if round % 2 == 0 {
            Filter::UdpDropped
        } else {
            Filter::Open
        });
        for n in 0..5 {
            let text = format!("round {round}, {n}");
            submit(&mut client, &bob, &text);
            sent.push(text);
            hobnob_tests::lab::pause(Duration::from_millis(300));
        }
    }
    hotel.filter(Filter::Open);
    bob.shows_once_within("round 19, 4", Duration::from_secs(30));
    let got = bob.texts_of(&ann);
    assert_eq!(got, sent);
    for text in sent.iter().step_by(7) {
        bob.shows_once(text);
    }
}

#[test]
fn a_proxy_is_enough() {
    for scheme in ["http", "socks5"] {
        let scene = Scene::new();
        let office = scene.net.internet.site(Nat::PortRestricted);
        office.filter(Filter::Nothing);
        // The proxy's machine is in the office and on the internet.
        let gateway = office.machine("gateway");
        scene.net.internet.connects(&gateway);
        let proxy = gateway.proxy();
        let relay = scene.net.relay.name();
        let arguments = ["--relay", &relay, "--proxy", &proxy.url(scheme)];
        let ann = office.machine("ann").up("ann", &arguments);
        let (_home, bob) = scene.behind(Filter::Open, "bob");
        registers_over(&ann, "tcp", STARTED);
        ann.tells(&bob, "through the proxy");
        bob.tells(&ann, "and back");
        ann.shows_once("and back");
        assert!(proxy.connections() > 0);
    }
}

/// A node without UDP has delivered its first message within this time of its start. The lab's other
/// tests use the same processors.
const STARTED: Duration = Duration::from_secs(6);
