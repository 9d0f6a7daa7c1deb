use std::collections::BTreeMap;
use std::time::Duration;

use hobnob_protocol::DeviceId;
use hobnob_protocol::relay::{CHANGES_MAX, RosterChange, SHARED_MAX, ToRelay};

use super::model::Dice;
use super::test_net::{TestNet, peer, room};
use crate::core::{
    ConnectionId, EndReason, Input, Limits, PUSH_AFTER, PUSH_EVERY, Pace, ROSTER_PEERS_MAX,
};

/// Limits for tests with thousands of peers in one network.
fn open() -> Limits {
    Limits {
        peers_per_network: 100_000,
        ..Limits::default()
    }
}

fn net() -> TestNet {
    TestNet::new(open())
}

/// Connects this many peers in room 1, numbered from 100.
fn crowd(net: &mut TestNet, many: u16) -> Vec<ConnectionId> {
    (100..100 + many)
        .map(|n| net.register(peer(n), &[1]))
        .collect()
}

#[test]
fn peers_see_only_peers_that_share_a_room() {
    let mut net = net();
    let ann = net.register(peer(1), &[1, 2, 3]);
    let bob = net.register(peer(2), &[2, 3, 4, 3]);
    let cid = net.register(peer(3), &[5]);
    net.wait(PUSH_AFTER);
    assert_eq!(net.sees(ann), [(peer(2), vec![room(2), room(3)])]);
    assert_eq!(net.sees(bob), [(peer(1), vec![room(2), room(3)])]);
    assert_eq!(net.sees(cid), []);
}

#[test]
fn the_others_learn_at_once_of_joins_and_leaves() {
    let mut net = net();
    let ann = net.register(peer(1), &[1]);
    net.wait_secs(5);
    let bob = net.register(peer(2), &[1]);
    net.wait(PUSH_AFTER);
    assert_eq!([net.sees(ann).len(), net.sees(bob).len()], [1, 1]);
    net.tell(Input::Disconnected { connection: bob });
    net.wait(PUSH_EVERY);
    assert_eq!(net.sees(ann), []);
}

#[test]
fn changes_of_one_moment_are_one_push_and_pushes_are_a_second_apart() {
    let mut net = net();
    let ann = net.register(peer(1), &[1]);
    net.wait_secs(5);
    net.frames(ann);
    for n in 2..32 {
        net.register(peer(n), &[1]);
        net.wait(Duration::from_millis(100));
    }
    net.wait_secs(2);
    assert_eq!(net.sees(ann).len(), 30);
    let frames = net.frames(ann);
    assert!(
        (2..=5).contains(&frames.len()),
        "{} frames in 3 s",
        frames.len()
    );
}

#[test]
fn a_heartbeat_is_answered_with_the_changes_since_its_version() {
    let mut net = net();
    let ann = net.register(peer(1), &[1]);
    let bob = net.register(peer(2), &[1]);
    net.beats(ann);
    let before = net.node(ann).version;
    net.frames(ann);
    net.tell(Input::Disconnected { connection: bob });
    net.register(peer(3), &[1]);
    net.beats(ann);
    let [frame] = &net.frames(ann)[..] else {
        panic!("one answer")
    };
    let here = RosterChange::Here {
        peer: peer(3),
        rooms: vec![room(1)],
    };
    assert_eq!(
        (frame.anew, &frame.changes),
        (false, &vec![RosterChange::Gone { peer: peer(2) }, here])
    );
    // Changes that are on their way are sent again to a peer that does not have them.
    net.says(ann, ToRelay::Heartbeat(before));
    assert_eq!(net.frames(ann)[0].changes.len(), 2);
    net.beats(ann);
    assert_eq!(net.frames(ann)[0].changes, []);
}

#[test]
fn an_unknown_or_old_version_gets_the_whole_list() {
    let mut net = net();
    let ann = net.register(peer(1), &[1]);
    net.register(peer(2), &[1]);
    net.beats(ann);
    for unknown in [0, u64::MAX, net.node(ann).version + 1] {
        net.frames(ann);
        net.says(ann, ToRelay::Heartbeat(unknown));
        let [frame] = &net.frames(ann)[..] else {
            panic!("one answer")
        };
        assert_eq!((frame.anew, frame.changes.len()), (true, 1));
    }
    let old = net.node(ann).version;
    // While Ann's connection is slow, so many peers leave that the relay forgets the first ones.
    for n in 10..60 {
        let connection = net.register(peer(n), &[1]);
        net.tell(Input::Disconnected { connection });
    }
    net.says(ann, ToRelay::Heartbeat(old));
    assert!(net.frames(ann).last().expect("answered").anew);
    assert_eq!(net.sees(ann).len(), 1);
}

#[test]
fn a_version_of_an_earlier_connection_is_ignored() {
    let mut net = net();
    let ann = net.register(peer(1), &[1]);
    net.register(peer(2), &[1]);
    net.beats(ann);
    let version = net.node(ann).version;
    let again = net.register(peer(1), &[1]);
    net.says(again, ToRelay::Heartbeat(version));
    assert!(net.frames(again)[0].anew);
    assert_eq!(net.sees(again).len(), 1);
}

#[test]
fn a_change_of_rooms_is_a_change_for_both_sides() {
    let mut net = net();
    let ann = net.register(peer(1), &[1, 2]);
    let bob = net.register(peer(2), &[1, 2]);
    net.wait_secs(2);
    net.moves_rooms(bob, &[2, 3]);
    net.wait_secs(2);
    assert_eq!(net.sees(ann), [(peer(2), vec![room(2)])]);
    assert_eq!(net.sees(bob), [(peer(1), vec![room(2)])]);
    assert_eq!(net.row(peer(2)).expect("there").rooms, 2);
    net.moves_rooms(ann, &[4]);
    net.wait_secs(2);
    assert_eq!([net.sees(ann), net.sees(bob)], [[], []]);
}

#[test]
fn a_new_connection_of_a_peer_is_no_change_for_the_others() {
    let mut net = net();
    let ann = net.register(peer(1), &[1]);
    net.register(peer(2), &[1]);
    net.wait_secs(3);
    net.frames(ann);
    net.register(peer(2), &[1]);
    net.wait_secs(3);
    assert_eq!(net.frames(ann), []);
}

#[test]
fn only_the_first_of_many_shared_rooms_are_named() {
    let mut net = net();
    let rooms: Vec<u8> = (0..20).collect();
    let ann = net.register(peer(1), &rooms);
    net.register(peer(2), &rooms);
    net.wait_secs(1);
    let first: Vec<_> = (0..20).take(SHARED_MAX).map(room).collect();
    assert_eq!(net.sees(ann), [(peer(2), first)]);
}

#[test]
fn a_long_list_has_several_frames_and_the_first_replaces_the_old_list() {
    let mut net = net();
    crowd(&mut net, 450);
    let ann = net.register(peer(1), &[1]);
    net.beats(ann);
    let frames = net.frames(ann);
    let shape: Vec<_> = frames
        .iter()
        .map(|frame| (frame.anew, frame.changes.len()))
        .collect();
    assert_eq!(
        shape,
        [(true, CHANGES_MAX), (false, CHANGES_MAX), (false, 50)]
    );
    assert_eq!(net.sees(ann).len(), 450);
}

#[test]
fn in_a_crowd_a_thousand_are_listed_and_others_follow_when_one_leaves() {
    let mut net = net();
    let crowd = crowd(&mut net, 1_500);
    let ann = net.register(peer(1), &[1, 2]);
    let bob = net.register(peer(2), &[2]);
    net.wait_secs(30);
    assert_eq!(
        net.sees(ann).len(),
        ROSTER_PEERS_MAX,
        "Bob and the first 999 of the crowd"
    );
    assert_eq!(net.sees(bob), [(peer(1), vec![room(2)])]);
    let first = net.node(ann).roster.contains_key(&peer(100));
    let later = net.node(ann).roster.contains_key(&peer(100 + 1_400));
    assert!(first && !later);
    for gone in &crowd[..500] {
        net.tell(Input::Disconnected { connection: *gone });
    }
    net.beats(ann);
    // Ann is not listed herself, which makes no difference to her.
    assert_eq!(net.sees(ann).len(), ROSTER_PEERS_MAX);
    let missed = (600..1_600).filter(|n| !net.node(ann).roster.contains_key(&peer(*n)));
    assert_eq!(missed.count(), 1, "all but one who had no place beside Bob");
}

#[test]
fn in_a_changing_crowd_only_connected_peers_are_listed() {
    let fast = Pace {
        every: Duration::from_millis(1),
        burst: 10_000,
    };
    let mut net = TestNet::new(Limits {
        registrations: fast,
        heartbeats: fast,
        room_changes: fast,
        ..open()
    });
    let observers = [(6_001, vec![1]), (6_002, vec![1, 2]), (6_003, vec![2, 3])];
    let observers = observers.map(|(n, rooms)| (net.register(peer(n), &rooms), rooms));
    let mut here: BTreeMap<DeviceId, (ConnectionId, Vec<u8>)> = BTreeMap::new();
    let (mut dice, mut sizes) = (Dice(11), Vec::new());
    for round in 0..80 {
        let many = if round == 0 { 6_000 } else { 150 };
        // At first many stay. Later the crowd becomes smaller than the list.
        let staying = if round < 40 { 2 } else { 0 };
        for _ in 0..many {
            net.now += Duration::from_millis(1);
            let id = peer(u16::try_from(dice.below(2_400)).expect("fits"));
            let rooms = [vec![1], vec![1, 2], vec![1], vec![2]]
                [usize::try_from(dice.below(4)).expect("few")]
            .clone();
            match here.remove(&id) {
                Some((connection, _)) if dice.below(3) < staying => {
                    net.moves_rooms(connection, &rooms);
                    here.insert(id, (connection, rooms));
                }
                Some((connection, _)) => net.tell(Input::Disconnected { connection }),
                None => drop(here.insert(id, (net.register(id, &rooms), rooms))),
            }
        }
        for (observer, rooms) in &observers {
            net.beats(*observer);
            let seen = net.sees(*observer);
            let is_here = |id: &DeviceId| here.get(id).map_or(&[][..], |(_, theirs)| theirs);
            let others = observers
                .iter()
                .map(|(other, theirs)| (net.id(*other), theirs.as_slice()));
            let others: BTreeMap<_, _> = others.collect();
            for (id, named) in &seen {
                let theirs = others.get(id).copied().unwrap_or_else(|| is_here(id));
                let shared: Vec<_> = rooms
                    .iter()
                    .filter(|n| theirs.contains(n))
                    .map(|n| room(*n))
                    .collect();
                assert!(
                    !named.is_empty() && named.iter().all(|name| shared.contains(name)),
                    "{id:?} in round {round}"
                );
            }
            assert!(seen.len() <= ROSTER_PEERS_MAX);
        }
        // The first observer is in one room, as are the second and many of the crowd.
        let members = 1 + here
            .values()
            .filter(|(_, rooms)| rooms.contains(&1))
            .count();
        assert_eq!(
            net.sees(observers[0].0).len(),
            members.min(ROSTER_PEERS_MAX - 1),
            "round {round}"
        );
        sizes.push(members);
    }
    assert!(
        sizes[0] > ROSTER_PEERS_MAX + 100 && sizes[79] < ROSTER_PEERS_MAX - 50,
        "{sizes:?}"
    );
}

#[test]
fn no_roster_hides_everyone() {
    let mut net = TestNet::new(Limits {
        roster: false,
        ..Limits::default()
    });
    let ann = net.register(peer(1), &[1]);
    net.register(peer(2), &[1]);
    net.wait_secs(2);
    assert_eq!(
        (
            net.node(ann).welcome.as_ref().map(|welcome| welcome.roster),
            net.frames(ann)
        ),
        (Some(false), vec![])
    );
    net.beats(ann);
    let [frame] = &net.frames(ann)[..] else {
        panic!("one answer")
    };
    assert_eq!(
        (frame.version, frame.anew, &frame.changes),
        (0, false, &vec![])
    );
    assert_eq!(net.relay.rooms(), 0);
}

#[test]
fn rooms_in_all_have_a_limit() {
    let mut net = TestNet::new(Limits {
        memberships: 4,
        ..open()
    });
    let ann = net.register(peer(1), &[1, 2, 3]);
    let bob = net.register(peer(2), &[1, 2]);
    assert_eq!(net.end(bob), Some(EndReason::RoomsFull));
    net.moves_rooms(ann, &[4, 5, 6, 7]);
    assert!(net.end(ann).is_none());
    net.moves_rooms(ann, &[1, 2, 3, 4, 5]);
    assert_eq!(net.end(ann), Some(EndReason::TooManyRooms));
    assert_eq!(net.relay.rooms(), 0);
}

#[test]
fn ten_thousand_idle_peers_cost_no_work() {
    let mut net = net();
    let everybody: Vec<_> = (0..10_000)
        .map(|n| net.register(peer(n), &[u8::try_from(n / 50).expect("200 rooms")]))
        .collect();
    net.wait_secs(8);
    assert!(
        everybody
            .iter()
            .all(|connection| net.node(*connection).roster.len() == 49)
    );
    let before = net.counts();
    for _ in 0..3 {
        everybody
            .iter()
            .for_each(|connection| net.beats(*connection));
        net.wait_secs(15);
    }
    let after = net.counts();
    assert_eq!(
        after.roster_frames - before.roster_frames,
        30_000,
        "an answer each"
    );
    assert_eq!(after.roster_changes - before.roster_changes, 0);
    assert_eq!(
        after.roster_looks - before.roster_looks,
        0,
        "nobody was looked at"
    );
    // A newcomer costs as much as its room.
    net.register(peer(10_000), &[7]);
    net.wait_secs(2);
    let newcomer = net.counts();
    assert_eq!(newcomer.roster_changes - after.roster_changes, 50 + 50);
    assert!(
        newcomer.roster_looks - after.roster_looks < 4 * 50,
        "{}",
        newcomer.roster_looks - after.roster_looks
    );
}

#[test]
fn when_all_peers_reconnect_at_once_the_lists_follow_over_some_seconds() {
    let mut net = net();
    let everybody = crowd(&mut net, 800);
    let asked = net.counts();
    everybody
        .iter()
        .for_each(|connection| net.beats(*connection));
    let at_once = net.counts().roster_changes - asked.roster_changes;
    assert!(at_once < 800 * 400, "{at_once} changes at once");
    net.wait_secs(10);
    assert!(
        everybody
            .iter()
            .all(|connection| net.node(*connection).roster.len() == 799)
    );
}
