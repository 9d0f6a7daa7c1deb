use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hobnob_protocol::datagram::ChannelId;
use hobnob_protocol::relay::{ChannelEnd, OpenRefusal, ToRelay};

use super::town::{Town, peer};
use crate::core::{CHANNEL_IDLE, ConnectionId, Input, Limits};

const ANN: u16 = 1;
const BOB: u16 = 2;

/// Ann and Bob with a channel, and what each calls it.
fn channel(town: &mut Town) -> ([ConnectionId; 2], [ChannelId; 2]) {
    let (ann, bob) = (town.register(peer(ANN), &[]), town.register(peer(BOB), &[]));
    town.says(ann, ToRelay::Open(peer(BOB)));
    (
        [ann, bob],
        [
            town.node(ann).channels[&peer(BOB)],
            town.node(bob).channels[&peer(ANN)],
        ],
    )
}

fn both(limits: Limits) -> (Town, [ConnectionId; 2], [ChannelId; 2]) {
    let mut town = Town::new(limits);
    let (ends, names) = channel(&mut town);
    (town, ends, names)
}

#[test]
fn both_ends_are_told_different_names_and_each_direction_has_its_route() {
    let (town, _, [a, b]) = both(Limits::default());
    let [ann, bob] = [ANN, BOB].map(|n| town.row(peer(n)).expect("there").addr);
    assert_ne!(a, b);
    assert_eq!(
        town.forwards(),
        BTreeSet::from([(ann, a, bob, b), (bob, b, ann, a)])
    );
    assert!(Arc::ptr_eq(&town.routes[&a].used, &town.routes[&b].used));
    town.routes[&a].meter.forwarded(3, 300);
    let rows = [ANN, BOB].map(|n| town.row(peer(n)).expect("there"));
    assert_eq!(
        rows.map(|row| (row.channels, row.metered.frames)),
        [(1, 3), (1, 0)]
    );
}

#[test]
fn a_channel_that_is_there_is_named_again_to_the_one_who_asks() {
    let (mut town, [ann, bob], [_, b]) = both(Limits::default());
    let routes = town.forwards();
    town.node_mut(bob).channels.clear();
    town.says(bob, ToRelay::Open(peer(ANN)));
    assert_eq!(town.node(bob).channels[&peer(ANN)], b);
    town.says(ann, ToRelay::Open(peer(BOB)));
    assert_eq!((town.relay.channels(), town.forwards()), (1, routes));
}

#[test]
fn one_who_asks_in_vain_is_told_why() {
    let mut town = Town::new(Limits {
        channels_per_peer: 2,
        ..Limits::default()
    });
    let connections: Vec<_> = (0..4).map(|n| town.register(peer(n), &[])).collect();
    for other in [0, 9, 1, 2, 3] {
        town.says(connections[0], ToRelay::Open(peer(other)));
    }
    use OpenRefusal::{Limit, NotHere, Refused};
    assert_eq!(
        town.node(connections[0]).not_opened,
        [(peer(0), Refused), (peer(9), NotHere), (peer(3), Limit)]
    );
    town.says(connections[3], ToRelay::Open(peer(0)));
    assert_eq!(town.node(connections[3]).not_opened, [(peer(0), Limit)]);
    let counts = town.counts();
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
    let (mut town, _, _) = both(Limits {
        channels: 1,
        ..Limits::default()
    });
    let eve = town.register(peer(3), &[]);
    town.says(eve, ToRelay::Open(peer(ANN)));
    assert_eq!(town.node(eve).not_opened, [(peer(ANN), OpenRefusal::Limit)]);
}

#[test]
fn one_end_closes_and_the_other_is_told() {
    let (mut town, [ann, bob], [a, b]) = both(Limits::default());
    town.says(bob, ToRelay::Close(b));
    assert_eq!(town.node(ann).ended, [(a, ChannelEnd::Closed)]);
    assert!(town.node(bob).ended.is_empty() && town.routes.is_empty());
}

#[test]
fn nobody_closes_a_channel_by_a_name_that_is_not_theirs() {
    let (mut town, [ann, _], [_, b]) = both(Limits::default());
    let eve = town.register(peer(3), &[]);
    for (who, name) in [(ann, b), (eve, b), (eve, ChannelId([0; 8]))] {
        town.says(who, ToRelay::Close(name));
    }
    assert_eq!(town.routes.len(), 2);
}

#[test]
fn a_peer_that_goes_or_comes_again_ends_its_channels() {
    type Leave = fn(&mut Town, ConnectionId);
    let cases: [Leave; 4] = [
        |town, bob| town.tell(Input::Down { connection: bob }),
        |town, _| town.tell(Input::Kick(peer(BOB))),
        |town, _| {
            town.register(peer(BOB), &[]);
        },
        |town, bob| town.says(bob, ToRelay::Register(Default::default())),
    ];
    for leave in cases {
        let (mut town, [ann, bob], [a, _]) = both(Limits::default());
        leave(&mut town, bob);
        assert_eq!(town.node(ann).ended, [(a, ChannelEnd::PeerGone)]);
        assert!(town.routes.is_empty() && town.relay.channels() == 0);
    }
}

#[test]
fn a_channel_through_which_nothing_goes_ends_after_five_minutes() {
    let (mut town, [ann, bob], [a, b]) = both(Limits::default());
    let minute = |town: &mut Town| {
        for _ in 0..4 {
            town.wait_secs(15);
            town.beats(ann);
            town.beats(bob);
        }
    };
    let idle_minutes = u32::try_from(CHANNEL_IDLE.as_secs() / 60).expect("few");
    for _ in 0..2 * idle_minutes {
        town.routes[&b].used.mark();
        minute(&mut town);
    }
    assert_eq!(town.routes.len(), 2);
    (1..idle_minutes).for_each(|_| minute(&mut town));
    assert_eq!(town.routes.len(), 2);
    (0..2).for_each(|_| minute(&mut town));
    assert_eq!(
        [town.node(ann).ended.clone(), town.node(bob).ended.clone()],
        [[(a, ChannelEnd::Idle)], [(b, ChannelEnd::Idle)]]
    );
    assert!(town.routes.is_empty());
}

#[test]
fn a_peer_that_moves_takes_its_channels_along() {
    let (mut town, [ann, _], [a, b]) = both(Limits::default());
    let bob = town.row(peer(BOB)).expect("there").addr;
    let moved = "11.9.9.9:9".parse().expect("an address");
    town.tell(Input::Moved {
        connection: ann,
        addr: moved,
    });
    assert_eq!(
        town.forwards(),
        BTreeSet::from([(moved, a, bob, b), (bob, b, moved, a)])
    );
    assert_eq!(town.node(ann).observed, Some(moved));
}

#[test]
fn names_are_not_what_another_seed_gives() {
    let names = |seed: u8| {
        let mut town = Town::new(Limits::default());
        town.relay = crate::core::Relay::new(Limits::default(), [seed; 32]);
        channel(&mut town).1
    };
    let all: BTreeSet<_> = [names(1), names(2), names(3)]
        .concat()
        .into_iter()
        .collect();
    assert_eq!(all.len(), 6);
    assert_eq!(names(1), names(1));
}

#[test]
fn a_peers_meter_outlives_its_connection() {
    let (mut town, _, [a, _]) = both(Limits::default());
    town.routes[&a].meter.forwarded(1, 100);
    town.register(peer(ANN), &[]);
    town.wait(Duration::from_millis(1));
    assert_eq!(town.row(peer(ANN)).expect("there").metered.bytes, 100);
}
