use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hobnob_protocol::datagram::ChannelId;
use hobnob_protocol::relay::{ChannelEnd, OpenRefusal, ToRelay};

use super::test_net::{TestNet, peer};
use crate::core::{CHANNEL_IDLE, ConnectionId, Input, Limits};

const ANN: u16 = 1;
const BOB: u16 = 2;

/// Ann and Bob with a channel, and the name that each uses for it.
fn channel(net: &mut TestNet) -> ([ConnectionId; 2], [ChannelId; 2]) {
    let (ann, bob) = (net.register(peer(ANN), &[]), net.register(peer(BOB), &[]));
    net.says(ann, ToRelay::Open(peer(BOB)));
    (
        [ann, bob],
        [
            net.node(ann).channels[&peer(BOB)],
            net.node(bob).channels[&peer(ANN)],
        ],
    )
}

fn both(limits: Limits) -> (TestNet, [ConnectionId; 2], [ChannelId; 2]) {
    let mut net = TestNet::new(limits);
    let (ends, names) = channel(&mut net);
    (net, ends, names)
}

#[test]
fn the_ends_get_different_names_and_each_direction_has_its_route() {
    let (net, _, [a, b]) = both(Limits::default());
    let [ann, bob] = [ANN, BOB].map(|n| net.row(peer(n)).expect("there").addr);
    assert_ne!(a, b);
    assert_eq!(
        net.forwards(),
        BTreeSet::from([(ann, a, bob, b), (bob, b, ann, a)])
    );
    assert!(Arc::ptr_eq(&net.routes[&a].used, &net.routes[&b].used));
    net.routes[&a].meter.forwarded(3, 300);
    let rows = [ANN, BOB].map(|n| net.row(peer(n)).expect("there"));
    assert_eq!(
        rows.map(|row| (row.channels, row.metered.frames)),
        [(1, 3), (1, 0)]
    );
}

#[test]
fn an_existing_channel_is_reported_again_to_the_peer_that_asks() {
    let (mut net, [ann, bob], [_, b]) = both(Limits::default());
    let routes = net.forwards();
    net.node_mut(bob).channels.clear();
    net.says(bob, ToRelay::Open(peer(ANN)));
    assert_eq!(net.node(bob).channels[&peer(ANN)], b);
    net.says(ann, ToRelay::Open(peer(BOB)));
    assert_eq!((net.relay.channels(), net.forwards()), (1, routes));
}

#[test]
fn a_channel_that_is_not_opened_is_answered_with_the_cause() {
    let mut net = TestNet::new(Limits {
        channels_per_peer: 2,
        ..Limits::default()
    });
    let connections: Vec<_> = (0..4).map(|n| net.register(peer(n), &[])).collect();
    for other in [0, 9, 1, 2, 3] {
        net.says(connections[0], ToRelay::Open(peer(other)));
    }
    use OpenRefusal::{Limit, NotHere, Refused};
    assert_eq!(
        net.node(connections[0]).not_opened,
        [(peer(0), Refused), (peer(9), NotHere), (peer(3), Limit)]
    );
    net.says(connections[3], ToRelay::Open(peer(0)));
    assert_eq!(net.node(connections[3]).not_opened, [(peer(0), Limit)]);
    let counts = net.counts();
    assert_eq!(
        (
            counts.opened,
            counts.refused,
            counts.not_here,
            counts.over_limit
        ),
        (2, 1, 1, 2)
    );
}

#[test]
fn channels_in_all_have_a_limit() {
    let (mut net, _, _) = both(Limits {
        channels: 1,
        ..Limits::default()
    });
    let eve = net.register(peer(3), &[]);
    net.says(eve, ToRelay::Open(peer(ANN)));
    assert_eq!(net.node(eve).not_opened, [(peer(ANN), OpenRefusal::Limit)]);
}

#[test]
fn when_one_end_closes_the_other_is_informed() {
    let (mut net, [ann, bob], [a, b]) = both(Limits::default());
    net.says(bob, ToRelay::Close(b));
    assert_eq!(net.node(ann).ended, [(a, ChannelEnd::Closed)]);
    assert!(net.node(bob).ended.is_empty() && net.routes.is_empty());
}

#[test]
fn a_peer_closes_channels_only_by_its_own_names() {
    let (mut net, [ann, _], [_, b]) = both(Limits::default());
    let eve = net.register(peer(3), &[]);
    for (who, name) in [(ann, b), (eve, b), (eve, ChannelId([0; 8]))] {
        net.says(who, ToRelay::Close(name));
    }
    assert_eq!(net.routes.len(), 2);
}

#[test]
fn channels_end_when_their_peer_leaves_or_reconnects() {
    type Leave = fn(&mut TestNet, ConnectionId);
    let cases: [Leave; 4] = [
        |net, bob| net.tell(Input::Disconnected { connection: bob }),
        |net, _| net.tell(Input::Kick(peer(BOB))),
        |net, _| {
            net.register(peer(BOB), &[]);
        },
        |net, bob| net.says(bob, ToRelay::Register(Default::default())),
    ];
    for leave in cases {
        let (mut net, [ann, bob], [a, _]) = both(Limits::default());
        leave(&mut net, bob);
        assert_eq!(net.node(ann).ended, [(a, ChannelEnd::PeerGone)]);
        assert!(net.routes.is_empty() && net.relay.channels() == 0);
    }
}

#[test]
fn an_idle_channel_ends_after_five_minutes() {
    let (mut net, [ann, bob], [a, b]) = both(Limits::default());
    let minute = |net: &mut TestNet| {
        for _ in 0..4 {
            net.wait_secs(15);
            net.beats(ann);
            net.beats(bob);
        }
    };
    let idle_minutes = u32::try_from(CHANNEL_IDLE.as_secs() / 60).expect("few");
    for _ in 0..2 * idle_minutes {
        net.routes[&b].used.mark();
        minute(&mut net);
    }
    assert_eq!(net.routes.len(), 2);
    (1..idle_minutes).for_each(|_| minute(&mut net));
    assert_eq!(net.routes.len(), 2);
    (0..2).for_each(|_| minute(&mut net));
    assert_eq!(
        [net.node(ann).ended.clone(), net.node(bob).ended.clone()],
        [[(a, ChannelEnd::Idle)], [(b, ChannelEnd::Idle)]]
    );
    assert!(net.routes.is_empty());
}

#[test]
fn channels_follow_a_peer_to_its_new_address() {
    let (mut net, [ann, _], [a, b]) = both(Limits::default());
    let bob = net.row(peer(BOB)).expect("there").addr;
    let moved = "11.9.9.9:9".parse().expect("an address");
    net.tell(Input::Moved {
        connection: ann,
        addr: moved,
    });
    assert_eq!(
        net.forwards(),
        BTreeSet::from([(moved, a, bob, b), (bob, b, moved, a)])
    );
    assert_eq!(net.node(ann).observed, Some(moved));
}

#[test]
fn another_seed_gives_other_names() {
    let names = |seed: u8| {
        let mut net = TestNet::new(Limits::default());
        net.relay = crate::core::Relay::new(Limits::default(), [seed; 32]);
        channel(&mut net).1
    };
    let all: BTreeSet<_> = [names(1), names(2), names(3)]
        .concat()
        .into_iter()
        .collect();
    assert_eq!(all.len(), 6);
    assert_eq!(names(1), names(1));
}

#[test]
fn a_peers_meter_survives_its_connection() {
    let (mut net, _, [a, _]) = both(Limits::default());
    net.routes[&a].meter.forwarded(1, 100);
    net.register(peer(ANN), &[]);
    net.wait(Duration::from_millis(1));
    assert_eq!(net.row(peer(ANN)).expect("there").metered.bytes, 100);
}
