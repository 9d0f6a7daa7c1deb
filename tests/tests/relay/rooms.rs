//! Rooms with members on several local networks and single members behind NATs.

use std::collections::BTreeSet;
use std::time::Duration;

use hobnob_protocol::{RoomKey, RoomName};
use hobnob_tests::hostile::RelayClient;
use hobnob_tests::lab::{Lab, Nat, Node, until};

use crate::relay_net::RelayNet;

#[test]
fn a_broadcast_reaches_two_local_networks_and_two_single_nodes() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let (home, office) = (
        net.internet.site(Nat::PortRestricted),
        net.internet.site(Nat::Symmetric),
    );
    // One node of each local network uses the relay. It forwards messages for the others.
    let (ann, bob) = (
        net.up(&home.machine("ann"), "ann"),
        net.up(&office.machine("bob"), "bob"),
    );
    let [amy, art] = ["amy", "art"].map(|nick| home.machine(nick).up(nick, &[]));
    let ben = office.machine("ben").up("ben", &[]);
    let (_, cat) = net.alone_behind(Nat::Symmetric, "cat");
    let (_, dan) = net.alone_behind(Nat::AddressRestricted, "dan");
    let relayed = [&ann, &bob, &cat, &dan];
    wait_until_all_connect(&relayed);
    wait_until_all_connect(&[&ann, &amy, &art]);
    wait_until_all_connect(&[&bob, &ben]);
    let everybody = [&ann, &bob, &cat, &dan, &amy, &art, &ben];
    everyone_receives_every_message(&everybody, "lobby");
    for node in everybody {
        node.joins("ops", "a secret of seven people");
    }
    everyone_receives_every_message(&everybody, "ops");
}

fn wait_until_all_connect(nodes: &[&Node]) {
    for one in nodes {
        for other in nodes.iter().filter(|other| other.id() != one.id()) {
            one.sees(other);
        }
    }
}

fn everyone_receives_every_message(nodes: &[&Node], room: &str) {
    for author in nodes {
        let text = format!("{} speaks in {room}", author.nick());
        author.says_in(room, &text);
        for receiver in nodes.iter().filter(|receiver| receiver.id() != author.id()) {
            receiver.shows_once(&text);
        }
    }
}

#[test]
fn members_of_a_large_lobby_can_be_written_to_without_having_met() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let crowd: Vec<_> = (0..11)
        .map(|n| net.alone_behind(Nat::Symmetric, &format!("peer{n}")))
        .collect();
    let nodes: Vec<_> = crowd.iter().map(|(_, node)| node).collect();
    let ann = nodes[0];
    // A node connects with eight members of a room at a relay, so ann has not met two of them.
    for (n, other) in nodes.iter().enumerate().skip(1) {
        let by_id = format!("to id {n}");
        ann.tells(other.id(), &by_id);
        other.shows_once(&by_id);
        let by_start = format!("to the start of id {n}");
        ann.tells(&other.id()[..8], &by_start);
        other.shows_once(&by_start);
    }
}

/// A node connects with eight members of a room at a relay, and learns of the others from the relay.
#[test]
fn peers_lists_everybody_in_a_lobby_of_24_at_a_relay() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let nodes: Vec<_> = (0..24)
        .map(|n| format!("peer{n}"))
        .map(|nick| {
            net.internet
                .machine(&nick)
                .up(&nick, &["--no-mdns", "--relay", &net.relay.name()])
        })
        .collect();
    let (ann, others) = nodes.split_first().expect("24 nodes");
    let crowd: Vec<_> = others.iter().map(|other| other.id().to_owned()).collect();
    lists(ann, &crowd);
    for (n, other) in others.iter().enumerate() {
        let text = format!("to id {n}");
        ann.tells(other.id(), &text);
        other.shows_once(&text);
    }
}

/// A member that answers nobody: no other node has its record, and so nobody knows its name.
#[test]
fn peers_lists_members_of_a_room_without_a_record_by_their_ids() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let ann = net.up(&net.internet.machine("ann"), "ann");
    let silent = net.internet.machine("silent").udp();
    let elsewhere = net.internet.machine("elsewhere").udp();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime starts");
    runtime.block_on(async {
        let relay = net.relay.address().into();
        let [silent, elsewhere] = [silent, elsewhere].map(|socket| RelayClient::new(socket, relay));
        let lobby = RoomKey::open(&RoomName::lobby());
        let other_room = RoomKey::random([7; 32]);
        let _elsewhere = elsewhere
            .registers_in(&[other_room])
            .await
            .expect("registered");
        let _silent = silent.registers_in(&[lobby]).await.expect("registered");
        let id = silent.id().to_string();
        lists(&ann, std::slice::from_ref(&id));
        let listed = ann.peers();
        let [row] = listed.as_slice() else {
            panic!("only the member of the lobby is listed: {listed:?}");
        };
        assert_eq!(row["peer"], id, "{row}");
        assert_eq!(row["name"], id[..8], "{row}");
        assert_eq!(row["nick"], serde_json::Value::Null, "{row}");
        ann.queues(&id[..8], "for the one without a name");
        assert_eq!(ann.texts_of(id.as_str()), ["for the one without a name"]);
    });
}

/// Waits until a node lists these peers.
fn lists(node: &Node, peers: &[String]) {
    until("everybody is listed", Duration::from_secs(30), || {
        let listed = node.peers();
        let listed: BTreeSet<_> = listed
            .iter()
            .filter_map(|row| row["peer"].as_str())
            .collect();
        match peers.iter().find(|peer| !listed.contains(peer.as_str())) {
            Some(missing) => Err(format!("{missing} is missing among {}", listed.len())),
            None => Ok(()),
        }
    });
}
