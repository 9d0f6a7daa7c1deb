//! Actions of a relay's operator and faults of a relay, as the user of a node sees them.

use std::time::Duration;

use hobnob_tests::lab::{Lab, Nat, Node, hobnob_binary, until};
use serde_json::Value;

use crate::relay_net::RelayNet;

#[test]
fn a_kicked_node_is_informed_and_may_return() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let (_home, ann) = net.alone_behind(Nat::PortRestricted, "ann");
    wait_until_registered(&net, &ann);
    net.relay.run(&["kick", ann.id()]).expect(0);
    assert_why(&ann.notices("relay-refused"), &["kicked", "operator"]);
    assert!(
        net.relay
            .row(ann.id())
            .is_none_or(|row| row["state"] != "alive")
    );
    ann.restart();
    wait_until_registered(&net, &ann);
}

#[test]
fn a_banned_node_is_informed_and_stays_banned_when_the_relay_restarts() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let ((_home, ann), (_office, bob)) = (
        net.alone_behind(Nat::Symmetric, "ann"),
        net.alone_behind(Nat::Symmetric, "bob"),
    );
    ann.sees(&bob);
    net.relay.run(&["ban", bob.id()]).expect(0);
    assert_why(&bob.notices("relay-refused"), &["banned", "operator"]);
    // Issue 14: it stayed online to others for 12.7 s.
    ann.loses_within(&bob, Duration::from_secs(6));
    net.relay.restart();
    wait_until_registered(&net, &ann);
    bob.restart();
    assert_why(&bob.notices("relay-refused"), &["banned"]);
    assert!(
        net.relay
            .row(bob.id())
            .is_none_or(|row| row["state"] != "alive")
    );
    net.relay.run(&["unban", bob.id()]).expect(0);
    bob.restart();
    ann.sees(&bob);
}

#[test]
fn a_relay_with_a_token_refuses_nodes_without_it() {
    let lab = Lab::open();
    let net = lab.internet();
    let token = lab.file("token", "for friends of the house");
    let relay = net.machine("relay").relay(&["--token-file", &token]);
    let home = net.site(Nat::FullCone);
    let name = relay.name();
    let stranger = home.machine("stranger").up("stranger", &["--relay", &name]);
    assert_why(&stranger.notices("relay-refused"), &["token"]);
    let friend = home
        .machine("friend")
        .up("friend", &["--relay", &name, "--relay-token-file", &token]);
    friend.notices("relay-up");
}

#[test]
fn a_relay_with_a_new_identity_is_refused_with_advice() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let at = net.relay.address().to_string();
    let ann = net
        .internet
        .site(Nat::FullCone)
        .machine("ann")
        .up("ann", &["--relay", &at]);
    ann.notices("relay-up");
    ann.terminate();
    let another = net.relay.wipe().relay(&[]);
    ann.start();
    let notice = ann.notices("relay-changed");
    assert_eq!(notice["relay"], at.as_str());
    assert_eq!(notice["found"], another.id());
    assert_eq!(another.peers(), Vec::<Value>::new());
}

#[test]
fn blocked_udp_is_reported_if_the_relay_does_not_accept_tcp() {
    let lab = Lab::open();
    let internet = lab.internet();
    let relay = internet.machine("relay").relay(&["--no-tcp"]);
    let net = RelayNet { internet, relay };
    let home = net.internet.site(Nat::PortRestricted);
    home.block_udp();
    let ann = net.up(&home.machine("ann"), "ann");
    assert_why(
        &ann.notices("udp-blocked"),
        &["UDP is blocked", "TCP", "port 4627", "firewall", "443"],
    );
    let listed = ann.run(&["peers"]);
    assert!(listed.stderr.contains("UDP is blocked"), "{listed}");
    home.allow_udp();
    wait_until_registered(&net, &ann);
    let listed = ann.run(&["peers"]);
    assert!(!listed.stderr.contains("UDP"), "{listed}");
}

#[test]
fn a_stopped_relay_is_distinguished_from_an_unreachable_machine() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let (home, name) = (net.internet.site(Nat::Symmetric), net.relay.name());
    net.relay.terminate();
    let ann = home.machine("ann").up("ann", &["--relay", &name]);
    assert_why(
        &ann.notices("relay-down"),
        &["no relay runs there", "nothing listens on UDP port 4627"],
    );
    net.relay.machine().unplug();
    let bob = home.machine("bob").up("bob", &["--relay", &name]);
    assert_why(
        &bob.notices("relay-down"),
        &["nothing answers there", "is the address right"],
    );
    net.relay.machine().plug();
    net.relay.start();
    wait_until_registered(&net, &ann);
    wait_until_registered(&net, &bob);
}

#[test]
fn a_dead_relay_is_reported_without_traffic() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let (_home, ann) = net.alone_behind(Nat::FullCone, "ann");
    wait_until_registered(&net, &ann);
    net.relay.kill9();
    assert_why(&ann.notices("relay-down"), &["does not answer any more"]);
    let why = |event: &Value| {
        event["code"] == "relay-down"
            && event["why"]
                .as_str()
                .is_some_and(|text| text.contains("nothing listens"))
    };
    ann.wait_for(
        "report that no relay runs there",
        why,
        Duration::from_secs(30),
    );
    net.relay.start();
    wait_until_registered(&net, &ann);
}

#[test]
fn a_silent_peer_is_suspected_then_gone_then_alive_again() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let (home, ann) = net.alone_behind(Nat::PortRestricted, "ann");
    wait_until_registered(&net, &ann);
    let since =
        |node: &Node| net.relay.row(node.id()).expect("the node is in the table")["since"].clone();
    let before = since(&ann);
    home.unplug();
    wait_for_state(&net, &ann, "suspect");
    home.plug();
    wait_until_registered(&net, &ann);
    assert_eq!(
        since(&ann),
        before,
        "a missed heartbeat does not end the registration"
    );
    home.unplug();
    wait_for_state(&net, &ann, "suspect");
    wait_for_state(&net, &ann, "gone");
    home.plug();
    wait_until_registered(&net, &ann);
}

/// Waits until the relay's table shows the node as alive.
fn wait_until_registered(net: &RelayNet, node: &Node) {
    wait_for_state(net, node, "alive");
}

/// Waits until the relay's table shows the node in this state.
fn wait_for_state(net: &RelayNet, node: &Node, state: &str) {
    until(
        &format!("{} is {state}", node.nick()),
        Duration::from_secs(90),
        || {
            let row = net.relay.row(node.id());
            if row.as_ref().is_some_and(|row| row["state"] == state) {
                Ok(())
            } else {
                Err(format!("{row:?}"))
            }
        },
    );
}

/// Checks the kind of a refusal and its cause.
fn assert_why(notice: &Value, words: &[&str]) {
    let why = notice["why"].as_str().expect("the notice has a cause");
    let text = format!("{} {why}", notice["kind"].as_str().unwrap_or_default());
    for word in words {
        assert!(text.contains(word), "expected {word:?} in {text:?}");
    }
}

/// Issue 14: `send` blamed the other side for faults of this one.
#[test]
fn send_names_what_is_wrong_on_this_side() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let ((_home, ann), (_office, bob)) = (
        net.alone_behind(Nat::Symmetric, "ann"),
        net.alone_behind(Nat::Symmetric, "bob"),
    );
    ann.tells(&bob, "before");
    bob.terminate();
    ann.loses_within(&bob, Duration::from_secs(30));
    let send = |text: &str| {
        ann.run(&["send", "--timeout", "3s", bob.id(), text])
            .expect(4)
    };
    send("while bob is away").says(&["bob is away"]);
    net.relay.run(&["ban", ann.id()]).expect(0);
    ann.notices("relay-refused");
    send("while ann is banned").says(&["this node can't use its relay", "banned"]);
    net.relay.run(&["unban", ann.id()]).expect(0);
    net.relay.kill9();
    ann.notices("relay-down");
    send("while the relay is down").says(&["this node can't use its relay", "no relay runs there"]);
    let line = send("by a program").one_json();
    assert_eq!(line["reason"], "this node can't use its relays", "{line}");
    let home = ann.home().path().to_string_lossy();
    let mut chat = ann
        .machine()
        .screen(hobnob_binary(), &["--home", &home, "--plain"]);
    chat.types(&format!("/msg {} by the chat", bob.id()));
    chat.shows("this node can't use its relay");
}

#[test]
fn a_relay_prints_the_public_name_that_its_operator_gives() {
    let lab = Lab::open();
    let internet = lab.internet();
    let relay = internet
        .machine("relay")
        .relay(&["--public-name", "relay.example.com"]);
    let named = |event: &Value| event["public"] == "relay.example.com:4627";
    relay.wait_for("print its name", named, Duration::from_secs(10));
}

/// Issue 14: a relay notices by the reports of its peers that a router translates its address.
#[test]
fn a_relay_behind_a_translating_router_prints_the_address_that_peers_reach_it_at() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    // Another port of the same machine leads to the relay, as at a router that forwards a port.
    let rules = "add table ip shift; \
                 add chain ip shift in { type nat hook prerouting priority dstnat; }; \
                 add rule ip shift in udp dport 443 redirect to :4627";
    net.relay.machine().run("nft", &[rules]).expect(0);
    let translated = format!("{}:443", net.relay.address().ip());
    let name = format!("{}@{translated}", net.relay.id());
    let nodes = ["ann", "bob"].map(|nick| {
        net.internet
            .machine(nick)
            .up(nick, &["--no-mdns", "--relay", &name])
    });
    net.relay.wait_for(
        "print the address",
        |event| event["event"] == "reached-at" && event["addr"] == translated.as_str(),
        Duration::from_secs(20),
    );
    drop(nodes);
}
