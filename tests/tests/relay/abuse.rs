//! What strangers get out of a relay: little.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use hobnob_protocol::datagram::ChannelId;
use hobnob_protocol::relay::{PORT_RELAY, ToRelay, close};
use hobnob_protocol::{PeerId, RoomKey, RoomName};
use hobnob_tests::hostile::RelayClient;
use hobnob_tests::lab::{Lab, Machine, Nat, Node, OnInternet, Stopwatch, until};

use crate::world::World;

#[test]
fn who_has_not_shown_its_address_gets_back_at_most_three_times_what_it_sent() {
    let lab = Lab::open();
    let world = World::of(&lab);
    let handshake = first_flight(&world.net.machine("sink"), &world.net.machine("client"));
    let answered = [
        ("a handshake that goes no further", handshake),
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
        ("a frame of no channel", vec![padded(&[0x10], 1000)]),
        ("a knock", vec![padded(&[0x11], 18)]),
        ("rubbish", vec![padded(&[0x05], 500), vec![0x2a], vec![]]),
        (
            "less than an Initial has",
            vec![padded(
                &[0xc0, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0],
                300,
            )],
        ),
    ];
    let machine = world.net.machine("stranger");
    std::thread::scope(|scope| {
        for (what, datagrams) in answered {
            let (machine, world) = (&machine, &world);
            scope.spawn(move || {
                let (sent, heard) = exchange(machine, world, &datagrams);
                eprintln!("{what}: {heard} bytes for {sent}");
                assert!(
                    0 < heard && heard <= 3 * sent,
                    "{what}: {heard} bytes for {sent}"
                );
            });
        }
        for (what, datagrams) in unanswered {
            let (machine, world) = (&machine, &world);
            scope.spawn(move || {
                let (_, heard) = exchange(machine, world, &datagrams);
                assert_eq!(heard, 0, "{what}");
            });
        }
    });
}

#[test]
fn rubbish_from_strangers_keeps_nobody_from_talking() {
    let lab = Lab::open();
    let world = World::of(&lab);
    let ((_home, ann), (_office, bob)) = (
        world.alone_behind(Nat::Symmetric, "ann"),
        world.alone_behind(Nat::Symmetric, "bob"),
    );
    ann.sees(&bob);
    let before = world.relay.row(ann.id()).expect("it is registered");
    let stranger = world.net.machine("stranger").udp();
    let frame = padded(&[0x10], 1200);
    for round in 0..20 {
        for first in 0..=255 {
            let mut frame = frame.clone();
            (frame[0], frame[1]) = (first, round);
            stranger
                .send_to(&frame, world.relay.address())
                .expect("there is a route");
        }
        let text = format!("in the midst of it, {round}");
        ann.tells(&bob, &text);
        bob.shows_once(&text);
    }
    assert!(ann.is_connected_over("relay", &bob));
    let after = world.relay.row(ann.id()).expect("it is registered");
    assert_eq!(
        after["since"], before["since"],
        "it was connected all the time"
    );
}

#[test]
fn a_channel_carries_only_what_comes_from_its_own_end() {
    let lab = Lab::open();
    let world = World::of(&lab);
    let [ann, bob, eve] = ["ann", "bob", "eve"].map(|nick| world.net.machine(nick).udp());
    let sends = |socket: &UdpSocket, channel: ChannelId| {
        let frame = [&channel.header()[..], &[0x40; 100]].concat();
        socket
            .send_to(&frame, world.relay.address())
            .expect("there is a route");
    };
    block_on(async {
        let relay = world.relay.address().into();
        let own = ann.try_clone().expect("a socket can be shared");
        let (ann, bob) = (RelayClient::new(ann, relay), RelayClient::new(bob, relay));
        let mut anns = ann.registers().await.expect("a first time");
        let _bobs = bob.registers().await.expect("a first time");
        let channel = anns.opens(bob.id()).await;
        let comes_to = |forwarded: u64, forged: u64| {
            let id = ann.id().to_string();
            until("what came is counted", Duration::from_secs(10), || {
                let row = world.relay.row(&id).expect("it is registered");
                let fits = row["frames"] == forwarded && row["wrong_sender"] == forged;
                if fits { Ok(()) } else { Err(row.to_string()) }
            });
        };
        (0..3).for_each(|_| sends(&eve, channel));
        comes_to(0, 3);
        sends(&own, channel);
        comes_to(1, 3);
        sends(&own, ChannelId([7; 8]));
        sends(&own, channel);
        comes_to(2, 3);
    });
}

#[test]
fn who_asks_for_too_much_is_told_the_limit_and_nobody_else_notices() {
    let lab = Lab::open();
    let world = World::of(&lab);
    let ((_home, ann), (_office, bob)) = (
        world.alone_behind(Nat::Symmetric, "ann"),
        world.alone_behind(Nat::Symmetric, "bob"),
    );
    ann.sees(&bob);
    let since =
        |node: &Node| world.relay.row(node.id()).expect("it is registered")["since"].clone();
    let before = [&ann, &bob].map(since);
    let machine = world.net.machine("flooder");
    let room = RoomKey::derive(&RoomName::lobby(), b"").tag();
    for (what, frame) in [
        (
            "requests for channels",
            ToRelay::Open(PeerId::from_bytes([7; 32])),
        ),
        ("changes of rooms", ToRelay::Rooms(vec![room])),
        ("heartbeats", ToRelay::Heartbeat(0)),
        ("frames", ToRelay::Unknown(200)),
    ] {
        let told = as_caller(&machine, &world, async |caller| {
            caller
                .registers()
                .await
                .expect("a first time")
                .floods(&frame)
                .await
        });
        assert!(
            told.code == close::LIMIT && told.reason.contains(what),
            "{what}: {told:?}"
        );
        let text = format!("in spite of {what}");
        ann.tells(&bob, &text);
        bob.shows_once(&text);
    }
    assert_eq!(
        [&ann, &bob].map(since),
        before,
        "they were connected all the time"
    );
}

#[test]
fn who_registers_over_and_over_is_told_to_stop() {
    let lab = Lab::open();
    let world = World::of(&lab);
    let machine = world.net.machine("flooder");
    let told = as_caller(&machine, &world, async |caller| {
        let mut registrations = Vec::new();
        loop {
            match caller.registers().await {
                Ok(registration) => registrations.push(registration),
                Err(told) => return told,
            }
        }
    });
    assert!(
        told.code == close::LIMIT && told.reason.contains("registered too often"),
        "{told:?}"
    );
}

/// Does something as somebody who speaks to the relay from this machine, and is not held to its
/// limits by a program.
fn as_caller<T>(machine: &Machine, world: &World, act: impl AsyncFnOnce(RelayClient) -> T) -> T {
    block_on(async {
        act(RelayClient::new(
            machine.udp(),
            world.relay.address().into(),
        ))
        .await
    })
}

fn block_on<T>(act: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime starts")
        .block_on(act)
}

/// What a node first sends to a relay: the beginning of a handshake.
fn first_flight(sink: &Machine, client: &Machine) -> Vec<Vec<u8>> {
    let socket = sink
        .inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT_RELAY)))
        .expect("a machine with all its ports free");
    let _node = client.up(
        "client",
        &["--relay", &format!("{}:{PORT_RELAY}", sink.public_ipv4())],
    );
    let mut datagram = [0; 2_000];
    // A post-quantum ClientHello takes two datagrams.
    let mut next = || {
        let length = socket
            .recv(&mut datagram)
            .expect("a node begins a handshake");
        datagram[..length].to_vec()
    };
    vec![next(), next()]
}

/// Sends datagrams to the relay from a new socket: how many bytes went, and how many came back for
/// as long as a handshake may take.
fn exchange(machine: &Machine, world: &World, datagrams: &[Vec<u8>]) -> (usize, usize) {
    let socket = machine.udp();
    let sent = datagrams
        .iter()
        .map(|datagram| {
            socket
                .send_to(datagram, world.relay.address())
                .expect("there is a route")
        })
        .sum();
    let (mut heard, mut buffer, begun) = (0, [0; 2_000], Stopwatch::start());
    while begun.elapsed() < HANDSHAKE {
        heard += socket.recv(&mut buffer).unwrap_or(0);
    }
    (sent, heard)
}

fn padded(start: &[u8], length: usize) -> Vec<u8> {
    let mut datagram = start.to_vec();
    datagram.resize(length, 0x5a);
    datagram
}

/// A relay lets go of a handshake that does not end within this time.
const HANDSHAKE: Duration = Duration::from_secs(11);
