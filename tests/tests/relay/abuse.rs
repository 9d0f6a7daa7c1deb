//! Abuse of a relay by strangers: amplification, malformed datagrams, forged frames and floods.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use hobnob_protocol::datagram::ChannelId;
use hobnob_protocol::relay::{PORT_RELAY, ToRelay, close};
use hobnob_protocol::{DeviceId, RoomTag};
use hobnob_tests::hostile::RelayClient;
use hobnob_tests::lab::{Lab, Machine, Nat, Node, OnInternet, Stopwatch, until};

use crate::relay_net::RelayNet;

#[test]
fn an_unvalidated_address_receives_at_most_three_times_what_it_sent() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let handshake = first_flight(
        &net.internet.machine("sink"),
        &net.internet.machine("client"),
    );
    let answered = [
        ("an unfinished handshake", handshake),
        (
            "an unknown version of QUIC",
            vec![padded(
                &[
                    0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8, 1, 2, 3, 4, 5, 6, 7, 8, 8, 1, 2, 3, 4, 5, 6,
                    7, 8,
                ],
                1200,
            )],
        ),
        (
            "a STUN request",
            vec![padded(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42], 20)],
        ),
    ];
    let unanswered = [
        ("a frame without a channel", vec![padded(&[0x10], 1000)]),
        ("a probe", vec![padded(&[0x11], 18)]),
        (
            "malformed datagrams",
            vec![padded(&[0x05], 500), vec![0x2a], vec![]],
        ),
        (
            "a datagram shorter than an Initial",
            vec![padded(
                &[0xc0, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0],
                300,
            )],
        ),
    ];
    let machine = net.internet.machine("stranger");
    std::thread::scope(|scope| {
        for (what, datagrams) in answered {
            let (machine, net) = (&machine, &net);
            scope.spawn(move || {
                let (sent, received) = exchange(machine, net, &datagrams);
                eprintln!("{what}: {received} bytes for {sent}");
                assert!(
                    0 < received && received <= 3 * sent,
                    "{what}: {received} bytes for {sent}"
                );
            });
        }
        for (what, datagrams) in unanswered {
            let (machine, net) = (&machine, &net);
            scope.spawn(move || {
                let (_, received) = exchange(machine, net, &datagrams);
                assert_eq!(received, 0, "{what}");
            });
        }
    });
}

#[test]
fn malformed_datagrams_from_strangers_disturb_no_conversation() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let ((_home, ann), (_office, bob)) = (
        net.alone_behind(Nat::Symmetric, "ann"),
        net.alone_behind(Nat::Symmetric, "bob"),
    );
    ann.sees(&bob);
    let before = net.relay.row(ann.id()).expect("the node is registered");
    let stranger = net.internet.machine("stranger").udp();
    let frame = padded(&[0x10], 1200);
    for round in 0..20 {
        for first in 0..=255 {
            let mut frame = frame.clone();
            (frame[0], frame[1]) = (first, round);
            stranger
                .send_to(&frame, net.relay.address())
                .expect("there is a route");
        }
        let text = format!("in the midst of it, {round}");
        ann.tells(&bob, &text);
        bob.shows_once(&text);
    }
    assert!(ann.is_connected_over("relay", &bob));
    let after = net.relay.row(ann.id()).expect("the node is registered");
    assert_eq!(after["since"], before["since"], "ann stayed registered");
}

#[test]
fn a_channel_forwards_only_frames_of_its_own_end() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let [ann, bob, eve] = ["ann", "bob", "eve"].map(|nick| net.internet.machine(nick).udp());
    let send = |socket: &UdpSocket, channel: ChannelId| {
        let frame = [&channel.header()[..], &[0x40; 100]].concat();
        socket
            .send_to(&frame, net.relay.address())
            .expect("there is a route");
    };
    block_on(async {
        let relay = net.relay.address().into();
        let own = ann.try_clone().expect("a socket can be cloned");
        let (ann, bob) = (RelayClient::new(ann, relay), RelayClient::new(bob, relay));
        let mut anns = ann
            .registers()
            .await
            .expect("a first registration succeeds");
        let _bobs = bob
            .registers()
            .await
            .expect("a first registration succeeds");
        let channel = anns.opens(bob.id()).await;
        let wait_for_counts = |forwarded: u64, forged: u64| {
            let id = ann.id().to_string();
            until(
                "the relay counts the frames",
                Duration::from_secs(10),
                || {
                    let row = net.relay.row(&id).expect("the node is registered");
                    let fits = row["frames"] == forwarded && row["wrong_sender"] == forged;
                    if fits { Ok(()) } else { Err(row.to_string()) }
                },
            );
        };
        (0..3).for_each(|_| send(&eve, channel));
        wait_for_counts(0, 3);
        send(&own, channel);
        wait_for_counts(1, 3);
        send(&own, ChannelId([7; 8]));
        send(&own, channel);
        wait_for_counts(2, 3);
    });
}

#[test]
fn a_flood_of_requests_ends_with_its_limit_and_disturbs_no_other_peer() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let ((_home, ann), (_office, bob)) = (
        net.alone_behind(Nat::Symmetric, "ann"),
        net.alone_behind(Nat::Symmetric, "bob"),
    );
    ann.sees(&bob);
    let since =
        |node: &Node| net.relay.row(node.id()).expect("the node is registered")["since"].clone();
    let before = [&ann, &bob].map(since);
    let machine = net.internet.machine("flooder");
    let room = RoomTag::from_bytes([7; 32]);
    for (what, frame) in [
        (
            "requests for channels",
            ToRelay::Open(DeviceId::from_bytes([7; 32])),
        ),
        ("changes of rooms", ToRelay::Rooms(vec![room])),
        ("heartbeats", ToRelay::Heartbeat(0)),
        ("frames", ToRelay::Unknown(200)),
    ] {
        let flood = || {
            with_relay_client(&machine, &net, async |client| {
                client
                    .registers()
                    .await
                    .expect("a first registration succeeds")
                    .floods(&frame)
                    .await
            })
        };
        let closed = (0..5).find_map(|_| flood()).expect("the relay says why");
        assert!(
            closed.code == close::LIMIT && closed.reason.contains(what),
            "{what}: {closed:?}"
        );
        let text = format!("in spite of {what}");
        ann.tells(&bob, &text);
        bob.shows_once(&text);
    }
    assert_eq!(
        [&ann, &bob].map(since),
        before,
        "ann and bob stayed registered"
    );
}

#[test]
fn repeated_registrations_end_with_the_reason() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let machine = net.internet.machine("flooder");
    let closed = with_relay_client(&machine, &net, async |client| {
        let mut registrations = Vec::new();
        loop {
            match client.registers().await {
                Ok(registration) => registrations.push(registration),
                Err(closed) => return closed,
            }
        }
    });
    assert!(
        closed.code == close::LIMIT && closed.reason.contains("registered too often"),
        "{closed:?}"
    );
}

/// Runs an action with a relay client on this machine that observes no limits of its own.
fn with_relay_client<T>(
    machine: &Machine,
    net: &RelayNet,
    action: impl AsyncFnOnce(RelayClient) -> T,
) -> T {
    block_on(async { action(RelayClient::new(machine.udp(), net.relay.address().into())).await })
}

fn block_on<T>(action: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime starts")
        .block_on(action)
}

/// Returns the first datagrams that a node sends to a relay: the start of a handshake.
fn first_flight(sink: &Machine, client: &Machine) -> Vec<Vec<u8>> {
    let socket = sink
        .inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT_RELAY)))
        .expect("the port is free on a new machine");
    let _node = client.up(
        "client",
        &["--relay", &format!("{}:{PORT_RELAY}", sink.public_ipv4())],
    );
    let mut datagram = [0; 2_000];
    // A post-quantum ClientHello takes two datagrams.
    let mut next = || {
        let length = socket
            .recv(&mut datagram)
            .expect("the node starts a handshake");
        datagram[..length].to_vec()
    };
    vec![next(), next()]
}

/// Sends datagrams to the relay from a new socket. Returns the number of bytes sent, and of bytes
/// received within the time limit of a handshake.
fn exchange(machine: &Machine, net: &RelayNet, datagrams: &[Vec<u8>]) -> (usize, usize) {
    let socket = machine.udp();
    let sent = datagrams
        .iter()
        .map(|datagram| {
            socket
                .send_to(datagram, net.relay.address())
                .expect("there is a route")
        })
        .sum();
    let (mut received, mut buffer, begun) = (0, [0; 2_000], Stopwatch::start());
    while begun.elapsed() < HANDSHAKE {
        received += socket.recv(&mut buffer).unwrap_or(0);
    }
    (sent, received)
}

fn padded(start: &[u8], length: usize) -> Vec<u8> {
    let mut datagram = start.to_vec();
    datagram.resize(length, 0x5a);
    datagram
}

/// A relay drops a handshake that does not finish within this time.
const HANDSHAKE: Duration = Duration::from_secs(11);
