//! Names and relays of peers, by the records that they sign.

use std::time::Duration;

use hobnob_tests::lab::{Lab, Nat, Node, Relay, Site, until};

use crate::relay_net::RelayNet;

/// Point 12 of issue 13: half of a lobby at a relay had no name.
#[test]
fn a_member_of_a_lobby_is_written_to_by_name_without_having_met() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let crowd: Vec<_> = (0..12)
        .map(|n| net.alone_behind(Nat::Symmetric, &format!("peer{n}")))
        .collect();
    let nodes: Vec<_> = crowd.iter().map(|(_, node)| node).collect();
    let ann = nodes[0];
    until("a name for everybody", Duration::from_secs(30), || {
        let known = ann.run(&["peers"]).expect(0);
        let mut others = nodes.iter().skip(1);
        match others.find(|other| !known.stdout.contains(&format!("\"{}\"", other.nick()))) {
            Some(missing) => Err(format!("{} is missing: {known}", missing.nick())),
            None => Ok(()),
        }
    });
    for other in nodes.iter().skip(1) {
        let text = format!("to {}", other.nick());
        ann.tells(other.nick(), &text);
        other.shows_once(&text);
    }
}

/// ann and bob, who use two relays.
struct Apart {
    ann: Node,
    bob: Node,
    other_relay: Relay,
    _sites: [Site; 2],
    _net: RelayNet,
}

impl Apart {
    fn open(lab: &Lab) -> Self {
        let net = RelayNet::of(lab);
        let other_relay = net.internet.machine("other-relay").relay(&[]);
        let (ann_site, ann) = net.alone_behind(Nat::Symmetric, "ann");
        let site = net.internet.site(Nat::Symmetric);
        let bob = site
            .machine("bob")
            .up("bob", &["--relay", &other_relay.name()]);
        Self {
            ann,
            bob,
            other_relay,
            _sites: [ann_site, site],
            _net: net,
        }
    }
}

/// Point 13 of issue 13: a friend at another relay was lost at the next restart.
#[test]
fn a_contact_at_another_relay_is_found_after_a_restart() {
    let lab = Lab::open();
    let apart = Apart::open(&lab);
    let (ann, bob) = (&apart.ann, &apart.bob);
    ann.tells(&*bob.ticket(), "by ticket");
    bob.shows_once("by ticket");
    // The relay in the ticket is remembered.
    ann.restart();
    ann.tells(bob.id(), "after a restart");
    bob.shows_once("after a restart");
    // bob has only ann's contact record. ann does not look for bob any more.
    bob.befriends(ann);
    ann.run(&["forget", "--yes", bob.id()]).expect(0);
    ann.restart();
    bob.restart();
    bob.tells(ann.id(), "by the contact record");
    ann.shows_once("by the contact record");
}

/// The relay has answered that bob is not there. ann asks it again while ann tries bob's address.
#[test]
fn a_peer_that_registers_while_it_is_called_is_reached() {
    let lab = Lab::open();
    let apart = Apart::open(&lab);
    let (ann, bob) = (&apart.ann, &apart.bob);
    let ticket = bob.ticket();
    bob.terminate();
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| ann.tells(&*ticket, "are you there?"));
        until("ann asks", Duration::from_secs(10), || {
            apart
                .other_relay
                .row(ann.id())
                .ok_or_else(|| "ann is not there".to_owned())
        });
        bob.start();
        sending.join().expect("delivered");
    });
    bob.shows_once("are you there?");
}
