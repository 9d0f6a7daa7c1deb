//! Nodes that are relays for their contacts: `hobnob up --relay-for contacts`.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::time::Duration;

use hobnob_protocol::relay::{PORT_RELAY, close};
use hobnob_tests::hostile::RelayClient;
use hobnob_tests::lab::{Internet, Lab, Machine, Nat, Node, OnInternet, Site, until};
use serde_json::Value;

/// Everything is over within this time, if it happens at all.
const WITHIN: Duration = Duration::from_secs(60);

const LENDS: [&str; 2] = ["--relay-for", "contacts"];

/// bob has a public address and is a relay for his contacts: ann and carol, each behind a NAT, and
/// without a relay.
struct Friends {
    ann: Node,
    bob: Node,
    carol: Node,
    internet: Internet,
    _sites: [Site; 2],
}

impl Friends {
    fn open(lab: &Lab) -> Self {
        let internet = lab.internet();
        let bob = internet.machine("bob").up("bob", &LENDS);
        let [ann, carol] = ["ann", "carol"].map(|nick| {
            let site = internet.site(Nat::Symmetric);
            let node = site.machine(nick).up(nick, &[]);
            // bob can be reached directly. To write to somebody makes a contact.
            node.tells(&*bob.ticket(), &format!("i am {nick}"));
            bob.befriends(&node);
            (site, node)
        });
        let sites = [ann.0, carol.0];
        Self {
            ann: ann.1,
            bob,
            carol: carol.1,
            internet,
            _sites: sites,
        }
    }

    /// Makes ann and carol contacts of each other, who have never met.
    fn introduce(&self) {
        let Self {
            ann, bob, carol, ..
        } = self;
        bob.run(&["introduce", ann.id(), carol.id()]).expect(0);
        for (node, other) in [(ann, carol), (carol, ann)] {
            assert_eq!(node.notices("introduction")["peer"], other.id());
            node.run(&["contacts", "accept", other.id()]).expect(0);
        }
    }
}

/// What a node shows of itself.
fn status(node: &Node) -> Value {
    node.run(&["id"]).expect(0).one_json()
}

/// The ids of the contacts at a node's relay.
fn served(node: &Node) -> Vec<String> {
    let status = status(node);
    let peers = status["lends"]["peers"].as_array().expect("a list");
    let id = |peer: &Value| peer["peer"].as_str().expect("an id").to_owned();
    peers.iter().map(id).collect()
}

fn serves(node: &Node, other: &Node) {
    until("the relay has the contact", WITHIN, || {
        let served = served(node);
        let is_here = served.iter().any(|id| id == other.id());
        if is_here {
            Ok(())
        } else {
            Err(format!("{served:?}"))
        }
    });
}

/// Whether a node has registered at a relay of a contact.
fn borrows(node: &Node) -> bool {
    let status = status(node);
    let mut relays = status["relays"].as_array().expect("a list").iter();
    relays.any(|relay| relay["borrowed"] == true && relay["up"] == true)
}

fn codes(node: &Node) -> Vec<String> {
    let doctor = node.run(&["doctor"]).expect_one_of(&[0, 1]);
    let codes = doctor.json().into_iter().filter_map(|check| {
        let code = check["code"].as_str()?;
        Some(code.to_owned())
    });
    codes.collect()
}

#[test]
fn two_contacts_behind_nats_talk_through_the_node_of_a_third_without_settings() {
    let lab = Lab::open();
    let friends = Friends::open(&lab);
    let Friends {
        ann, bob, carol, ..
    } = &friends;
    serves(bob, ann);
    serves(bob, carol);
    assert!(borrows(ann) && borrows(carol) && !borrows(bob));
    friends.introduce();
    ann.tells(carol.id(), "through bob");
    carol.shows_once("through bob");
    assert!(ann.is_connected_over("relay", carol));
    carol.tells(ann.id(), "and back");
    ann.shows_once("and back");
    let status = status(bob);
    let lends = &status["lends"];
    let at = format!("{}:{PORT_RELAY}", bob.machine().public_ipv4());
    assert_eq!(lends["at"], at, "{status}");
    assert!(lends["bytes"].as_u64() > Some(0), "{status}");
    assert_eq!(
        status["relays"],
        Value::Array(vec![]),
        "its own is no relay of others"
    );
    let ticket = status["ticket"].as_str().expect("a ticket");
    assert!(
        !ticket.contains(&format!(":{PORT_RELAY}")),
        "strangers learn nothing of it"
    );
    let codes = codes(bob);
    assert!(
        codes.contains(&"relay-for-contacts".to_owned()),
        "{codes:?}"
    );

    // A restart of the relay is survived, and so is one of those who use it.
    bob.restart();
    ann.tells(carol.id(), "after a restart of bob");
    carol.shows_once("after a restart of bob");
    carol.restart();
    carol.tells(ann.id(), "after a restart of carol");
    ann.shows_once("after a restart of carol");
    assert!(carol.is_connected_over("relay", ann));
}

#[test]
fn who_is_no_contact_any_more_is_disconnected_and_strangers_are_refused() {
    let lab = Lab::open();
    let friends = Friends::open(&lab);
    let Friends {
        ann,
        bob,
        carol,
        internet,
        ..
    } = &friends;
    serves(bob, ann);
    serves(bob, carol);
    let stranger = internet.machine("stranger");
    assert_eq!(refusal(&stranger, bob), close::NOT_ADMITTED);
    assert_eq!(served(bob).len(), 2);
    bob.run(&["contacts", "remove", ann.id()]).expect(0);
    until("ann has gone", WITHIN, || match served(bob) {
        served if served == [carol.id()] => Ok(()),
        served => Err(format!("{served:?}")),
    });
    bob.run(&["block", carol.id()]).expect(0);
    until("carol has gone", WITHIN, || match served(bob) {
        served if served.is_empty() => Ok(()),
        served => Err(format!("{served:?}")),
    });
}

/// How the relay of a node closes the connection of a stranger.
fn refusal(stranger: &Machine, node: &Node) -> u32 {
    let relay = (node.machine().public_ipv4(), PORT_RELAY).into();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts");
    runtime.block_on(async {
        let client = RelayClient::new(stranger.udp(), relay);
        client.registers().await.expect_err("it is a stranger").code
    })
}

#[test]
fn a_node_is_no_relay_unless_the_user_says_so() {
    let lab = Lab::open();
    let internet = lab.internet();
    let is_free = |machine: &Machine| {
        machine.inside(|| {
            let at = (Ipv4Addr::UNSPECIFIED, PORT_RELAY);
            UdpSocket::bind(at).is_ok() && TcpListener::bind(at).is_ok()
        })
    };
    let (ann, bob) = (internet.machine("ann"), internet.machine("bob"));
    let node = ann.up("ann", &[]);
    let lender = bob.up("bob", &LENDS);
    assert!(is_free(&ann) && !is_free(&bob));
    assert_eq!(status(&node)["lends"], Value::Null);
    assert!(status(&lender)["lends"].is_object());
    // The ports are closed with the node.
    lender.terminate();
    assert!(is_free(&bob));
}

#[test]
fn a_node_that_a_proxy_hides_is_no_relay() {
    let lab = Lab::open();
    let internet = lab.internet();
    let home = internet.machine("ann").home("ann");
    std::fs::create_dir_all(home.path()).expect("it can be made");
    let settings = home.path().join("config.toml");
    std::fs::write(settings, "proxy-only = true\n").expect("it is writable");
    home.run(&["up", "--relay-for", "contacts"])
        .expect(2)
        .says(&["hides its address"]);
}

#[test]
fn a_machine_without_a_public_address_is_reported_until_one_is_named() {
    let lab = Lab::open();
    let internet = lab.internet();
    let site = internet.site(Nat::PortRestricted);
    let bob = site.machine("bob").up("bob", &LENDS);
    let codes = codes(&bob);
    let hidden = "relay-for-contacts-hidden".to_owned();
    assert!(codes.contains(&hidden), "{codes:?}");
    let named = [&LENDS[..], &["--relay-name", "bob.example:443"]].concat();
    let carol = site.machine("carol").up("carol", &named);
    assert_eq!(status(&carol)["lends"]["at"], "bob.example:443");
}
