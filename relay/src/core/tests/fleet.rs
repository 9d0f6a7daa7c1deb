//! A relay of a fleet: peers of other relays, and visitors from there.

use std::time::Duration;

use hobnob_protocol::relay::{OpenRefusal, ToRelay, features};

use super::test_net::{TestNet, peer, room};
use crate::core::{
    ConnectionId, EndReason, Found, Input, Limits, PUSH_AFTER, Role, State, VISITOR_IDLE,
    VISITORS_MAX,
};

const ANN: u16 = 1;
const BOB: u16 = 2;
const OTHER_RELAY: u16 = 99;

fn fleet() -> TestNet {
    TestNet::new(Limits {
        fleet: true,
        ..Limits::default()
    })
}

fn found(net: &mut TestNet, asker: ConnectionId, found: Found) {
    let (connection, peer) = (asker, peer(BOB));
    net.tell(Input::Found {
        connection,
        peer,
        found,
    });
}

fn visits(net: &mut TestNet, visitor: u16) -> ConnectionId {
    net.register_as(Role::Visitor, peer(visitor), "11.7.0.1:4626", &[1])
}

#[test]
fn a_peer_of_another_relay_is_sought_there_and_the_asker_learns_where_it_is() {
    let mut net = fleet();
    let ann = net.register(peer(ANN), &[]);
    net.says(ann, ToRelay::Open(peer(BOB)));
    assert_eq!(net.sought, [(ann, peer(BOB))]);
    found(&mut net, ann, Found::At(peer(OTHER_RELAY)));
    assert_eq!(net.node(ann).elsewhere, [(peer(BOB), peer(OTHER_RELAY))]);
    found(&mut net, ann, Found::Nowhere);
    found(&mut net, ann, Found::Unsure);
    let refusals = [OpenRefusal::NotHere, OpenRefusal::Unsure].map(|why| (peer(BOB), why));
    assert_eq!(net.node(ann).not_opened, refusals);
    let counts = net.counts();
    assert_eq!(
        (counts.elsewhere, counts.not_here, counts.unsure),
        (1, 1, 1)
    );
}

#[test]
fn a_room_lists_the_peers_of_other_relays_which_are_asked_for_as_usual() {
    let mut net = fleet();
    let ann = net.register(peer(ANN), &[2, 1, 1]);
    assert_eq!(net.shared, [(ann, vec![room(1), room(2)])]);
    let (of, rooms) = (peer(BOB), vec![room(1)]);
    net.tell(Input::Elsewhere { peer: of, rooms });
    net.wait(PUSH_AFTER);
    assert_eq!(net.sees(ann), [(peer(BOB), vec![room(1)])]);
    net.says(ann, ToRelay::Open(peer(BOB)));
    assert_eq!(net.sought, [(ann, peer(BOB))]);
    // The operator's table has the peers of this relay only.
    assert_eq!(net.relay.table(0).len(), 1);
    net.says(ann, ToRelay::Rooms(vec![room(2)]));
    assert_eq!(net.shared.last(), Some(&(ann, vec![room(2)])));
    net.wait_secs(2);
    assert_eq!(net.sees(ann), []);
}

#[test]
fn a_peer_that_moves_between_relays_stays_on_the_roster() {
    let mut net = fleet();
    let ann = net.register(peer(ANN), &[1]);
    let elsewhere = |rooms| Input::Elsewhere {
        peer: peer(BOB),
        rooms,
    };
    net.tell(elsewhere(vec![room(1)]));
    net.wait_secs(2);
    let bob = net.register(peer(BOB), &[1]);
    net.wait_secs(2);
    assert_eq!(net.sees(bob), [(peer(ANN), vec![room(1)])]);
    net.tell(Input::Kick(peer(BOB)));
    net.wait_secs(2);
    assert_eq!(net.sees(ann), [(peer(BOB), vec![room(1)])]);
    net.tell(elsewhere(Vec::new()));
    net.wait_secs(2);
    assert_eq!(net.sees(ann), []);
}

#[test]
fn a_peer_that_arrives_while_it_is_sought_gets_its_channel_here() {
    let mut net = fleet();
    let ann = net.register(peer(ANN), &[]);
    net.says(ann, ToRelay::Open(peer(BOB)));
    let bob = net.register(peer(BOB), &[]);
    found(&mut net, ann, Found::Nowhere);
    assert!(net.node(ann).not_opened.is_empty());
    assert!(net.node(bob).channels.contains_key(&peer(ANN)));
}

#[test]
fn an_answer_for_a_peer_that_has_left_changes_nothing() {
    let mut net = fleet();
    let ann = net.register(peer(ANN), &[]);
    net.says(ann, ToRelay::Open(peer(BOB)));
    net.tell(Input::Disconnected { connection: ann });
    found(&mut net, ann, Found::At(peer(OTHER_RELAY)));
    assert!(net.node(ann).elsewhere.is_empty());
}

#[test]
fn a_single_relay_seeks_nobody() {
    let mut net = TestNet::new(Limits::default());
    let ann = net.register(peer(ANN), &[]);
    net.says(ann, ToRelay::Open(peer(BOB)));
    assert!(net.sought.is_empty());
    let welcome = net.node(ann).welcome.clone().expect("it is registered");
    assert_eq!(welcome.features & features::FLEET, 0);
}

#[test]
fn a_visitor_gets_channels_but_no_rooms_and_asks_no_other_relay() {
    let mut net = fleet();
    let ann = net.register(peer(ANN), &[1]);
    let bob = visits(&mut net, BOB);
    let welcome = net.node(bob).welcome.clone().expect("it is admitted");
    let expected = features::FLEET | features::VISITOR;
    assert_eq!(welcome.features & (expected | features::MAILBOX), expected);
    net.moves_rooms(bob, &[1]);
    net.wait_secs(5);
    assert!(net.sees(ann).is_empty());
    net.says(bob, ToRelay::Open(peer(ANN)));
    assert!(net.node(ann).channels.contains_key(&peer(BOB)));
    net.says(bob, ToRelay::Open(peer(3)));
    assert!(net.sought.is_empty());
    assert_eq!(net.node(bob).not_opened, [(peer(3), OpenRefusal::NotHere)]);
}

#[test]
fn a_visitor_leaves_when_it_has_had_no_channel_for_two_minutes() {
    let mut net = fleet();
    let ann = net.register(peer(ANN), &[]);
    let bob = visits(&mut net, BOB);
    net.says(bob, ToRelay::Open(peer(ANN)));
    let step = Duration::from_secs(10);
    let pass = |net: &mut TestNet, time: Duration| {
        for _ in 0..time.as_secs() / step.as_secs() {
            net.wait(step);
            net.beats(ann);
            if net.end(bob).is_none() {
                net.beats(bob);
            }
        }
    };
    pass(&mut net, 2 * VISITOR_IDLE);
    assert_eq!(net.end(bob), None);
    let channel = net.node(bob).channels[&peer(ANN)];
    net.says(bob, ToRelay::Close(channel));
    pass(&mut net, 2 * VISITOR_IDLE);
    assert_eq!(net.end(bob), Some(EndReason::VisitOver));
    assert_eq!(net.state(peer(BOB)), Some(State::Gone));
}

#[test]
fn a_visitor_that_registers_stays_and_is_seen() {
    let mut net = fleet();
    let ann = net.register(peer(ANN), &[1]);
    let visit = visits(&mut net, BOB);
    let bob = net.register(peer(BOB), &[1]);
    assert_eq!(net.end(visit), Some(EndReason::Replaced));
    net.wait(VISITOR_IDLE / 10);
    assert_eq!(net.sees(ann).len(), 1);
    assert_eq!(net.end(bob), None);
}

#[test]
fn one_visitor_too_many_is_refused() {
    let mut net = TestNet::new(Limits {
        fleet: true,
        peers: VISITORS_MAX + 10,
        peers_per_network: VISITORS_MAX + 10,
        ..Limits::default()
    });
    let max = u16::try_from(VISITORS_MAX).expect("fits");
    for n in 0..max {
        net.register_as(Role::Visitor, peer(n), "11.7.0.1:4626", &[]);
    }
    let again = net.register_as(Role::Visitor, peer(0), "11.7.0.1:4627", &[]);
    assert_eq!(net.end(again), None, "it has a place already");
    let refused = net.register_as(Role::Visitor, peer(max), "11.7.0.1:4626", &[]);
    assert_eq!(net.end(refused), Some(EndReason::Full(VISITORS_MAX)));
    let peer = net.register(peer(max + 1), &[]);
    assert_eq!(net.end(peer), None);
}

#[test]
fn a_visitor_takes_nobodys_place() {
    let mut net = TestNet::new(Limits {
        fleet: true,
        peers: 8,
        ..Limits::default()
    });
    // All from one network: a newcomer from another one may take the place of the idlest.
    let crowd: Vec<_> = (0..8)
        .map(|n| net.register_as(Role::Peer, peer(n), "11.7.0.1:4626", &[]))
        .collect();
    let visitor = net.register_as(Role::Visitor, peer(100), "11.8.0.1:4626", &[]);
    assert_eq!(net.end(visitor), Some(EndReason::Full(8)));
    assert!(crowd.iter().all(|here| net.end(*here).is_none()));
    let newcomer = net.register_as(Role::Peer, peer(101), "11.8.0.1:4626", &[]);
    assert_eq!(net.end(newcomer), None);
    let ended = crowd.iter().filter_map(|here| net.end(*here));
    assert_eq!(ended.collect::<Vec<_>>(), [EndReason::MadeRoom]);
}

#[test]
fn a_peer_that_has_registered_at_another_relay_is_gone_here() {
    let mut net = fleet();
    let ann = net.register(peer(ANN), &[]);
    net.tell(Input::MovedAway(ann));
    assert_eq!(net.end(ann), Some(EndReason::Replaced));
    let back = net.register(peer(ANN), &[]);
    net.tell(Input::MovedAway(ann));
    assert_eq!(net.end(back), None, "the report was about an older visit");
}
