use std::time::Duration;

use hobnob_protocol::heartbeat::Handle;
use hobnob_protocol::relay::{ChannelEnd, OpenRefusal, ToRelay, features};

use super::test_net::{TestNet, peer, room};
use crate::core::{
    ADDRESS_SETTLES, ConnectionId, EndReason, Exclusion, Input, Limits, SLEEP_AFTER, State,
    WAKERS_MAX,
};
use crate::sleeper::{NewsKind, SleeperNews};

fn net() -> TestNet {
    TestNet::new(Limits::default())
}

impl TestNet {
    /// Time passes, and each of these nodes sends heartbeats.
    fn waits_with(&mut self, time: Duration, nodes: &[ConnectionId]) {
        let until = self.now + time;
        while self.now < until {
            for node in nodes {
                self.beats(*node);
            }
            self.wait(Duration::from_secs(10).min(until - self.now));
        }
    }

    /// A node asks to sleep. Returns the handle that the relay gives it.
    fn asks_to_sleep(&mut self, node: ConnectionId) -> Option<Handle> {
        self.says(node, ToRelay::Sleep);
        self.node_mut(node).granted.take()
    }

    /// A node registers in these rooms, waits, and falls asleep. The others send heartbeats.
    fn sleeper(&mut self, n: u16, rooms: &[u8], others: &[ConnectionId]) -> Handle {
        let node = self.register(peer(n), rooms);
        let all = [others, &[node]].concat();
        self.waits_with(SLEEP_AFTER, &all);
        let handle = self.asks_to_sleep(node).expect("it may sleep");
        self.tell(Input::FellAsleep { connection: node });
        handle
    }

    fn news(&mut self, n: u16, handle: Handle, kind: NewsKind) {
        let peer = peer(n);
        self.tell(Input::Sleeper(SleeperNews { peer, handle, kind }));
    }

    /// The wakes since the last call.
    fn woken_by(&mut self) -> Vec<(Handle, u16)> {
        let wakes = std::mem::take(&mut self.wakes).into_iter();
        let number = |id: hobnob_protocol::DeviceId| {
            let [high, low, ..] = *id.as_bytes();
            u16::from_be_bytes([high, low])
        };
        wakes.map(|(handle, by)| (handle, number(by))).collect()
    }
}

#[test]
fn an_idle_peer_falls_asleep_and_keeps_its_place() {
    let mut net = TestNet::new(Limits {
        peers: 1,
        ..Limits::default()
    });
    let ann = net.register(peer(1), &[]);
    assert!(net.node(ann).may_sleep);
    assert_eq!(net.asks_to_sleep(ann), None, "it has just registered");
    net.waits_with(SLEEP_AFTER, &[ann]);
    let handle = net.asks_to_sleep(ann).expect("it may sleep");
    assert_eq!(net.state(peer(1)), Some(State::Alive), "it is connected");
    net.tell(Input::FellAsleep { connection: ann });
    assert_eq!(net.state(peer(1)), Some(State::Asleep));
    assert_eq!(net.relay.connected(), 0);
    net.wait(Duration::from_secs(3_600));
    assert_eq!(net.state(peer(1)), Some(State::Asleep));
    let late = net.register(peer(2), &[]);
    assert_eq!(net.end(late), Some(EndReason::Full(1)));
    let again = net.register(peer(1), &[]);
    assert_eq!(net.end(again), None);
    assert_eq!(net.state(peer(1)), Some(State::Alive));
    assert!(!net.sleeps.contains(&handle), "the plane has forgotten it");
    assert_eq!((net.counts().slept, net.counts().woke), (1, 1));
}

#[test]
fn a_peer_with_a_channel_or_without_an_offer_does_not_sleep() {
    let mut net = net();
    let (ann, bob) = (net.register(peer(1), &[]), net.register(peer(2), &[]));
    net.says(ann, ToRelay::Open(peer(2)));
    net.waits_with(SLEEP_AFTER, &[ann, bob]);
    assert_eq!(net.asks_to_sleep(ann), None);
    assert_eq!(net.asks_to_sleep(bob), None);
    let channel = net.node(ann).channels[&peer(2)];
    net.says(ann, ToRelay::Close(channel));
    assert!(net.asks_to_sleep(ann).is_some());
    for limits in [
        Limits {
            sleep_after: None,
            ..Limits::default()
        },
        Limits {
            mailboxes: true,
            ..Limits::default()
        },
        Limits {
            fleet: true,
            ..Limits::default()
        },
    ] {
        let mut net = TestNet::new(limits);
        let ann = net.register(peer(1), &[]);
        assert!(!net.node(ann).may_sleep);
        net.waits_with(SLEEP_AFTER, &[ann]);
        assert_eq!(net.asks_to_sleep(ann), None);
    }
}

#[test]
fn another_frame_takes_the_agreement_back() {
    let mut net = net();
    let ann = net.register(peer(1), &[]);
    net.waits_with(SLEEP_AFTER, &[ann]);
    let handle = net.asks_to_sleep(ann).expect("it may sleep");
    net.beats(ann);
    assert!(!net.sleeps.contains(&handle));
    net.news(1, handle, NewsKind::Began);
    assert_eq!(net.state(peer(1)), Some(State::Alive));
    net.tell(Input::FellAsleep { connection: ann });
    assert_eq!(net.state(peer(1)), Some(State::Gone), "it just left");
}

#[test]
fn a_heartbeat_begins_the_sleep_if_the_end_of_the_connection_was_lost() {
    let mut net = net();
    let ann = net.register(peer(1), &[]);
    net.waits_with(SLEEP_AFTER, &[ann]);
    let handle = net.asks_to_sleep(ann).expect("it may sleep");
    net.news(1, Handle([0; 8]), NewsKind::Began);
    assert_eq!(net.end(ann), None);
    net.news(1, handle, NewsKind::Began);
    assert_eq!(net.end(ann), Some(EndReason::Asleep));
    assert_eq!(net.state(peer(1)), Some(State::Asleep));
    net.tell(Input::FellAsleep { connection: ann });
    assert_eq!(net.state(peer(1)), Some(State::Asleep));
}

#[test]
fn a_goodbye_counts_if_the_end_of_the_connection_was_lost() {
    let mut net = net();
    let ann = net.register(peer(1), &[]);
    net.waits_with(SLEEP_AFTER, &[ann]);
    let handle = net.asks_to_sleep(ann).expect("it may sleep");
    net.news(1, handle, NewsKind::Left);
    assert_eq!(net.end(ann), Some(EndReason::Asleep));
    assert_eq!(net.state(peer(1)), Some(State::Gone));
    assert!(net.sleeps.is_empty());
}

#[test]
fn a_sleeper_is_woken_for_a_channel() {
    let mut net = net();
    let bob = net.register(peer(2), &[]);
    let handle = net.sleeper(1, &[], &[bob]);
    net.says(bob, ToRelay::Open(peer(1)));
    net.says(bob, ToRelay::Open(peer(1)));
    assert_eq!(net.woken_by(), [(handle, 2)]);
    assert!(net.node(bob).not_opened.is_empty());
    let ann = net.register(peer(1), &[]);
    assert!(net.node(bob).channels.contains_key(&peer(1)));
    assert!(net.node(ann).channels.contains_key(&peer(2)));
    net.wait_secs(10);
    assert_eq!(net.woken_by(), []);
}

#[test]
fn a_wake_is_sent_four_times_and_then_the_sleeper_is_gone() {
    let mut net = net();
    let bob = net.register(peer(2), &[1]);
    net.sleeper(1, &[1], &[bob]);
    net.wait_secs(2);
    assert_eq!(net.sees(bob), [(peer(1), vec![room(1)])]);
    net.says(bob, ToRelay::Open(peer(1)));
    net.wait_secs(6);
    assert_eq!(net.woken_by().len(), 4);
    assert_eq!(net.node(bob).not_opened, [(peer(1), OpenRefusal::NotHere)]);
    assert_eq!(net.sleeps_ended, [(peer(1), EndReason::Silent)]);
    assert_eq!(net.state(peer(1)), Some(State::Gone));
    assert!(net.sees(bob).is_empty(), "the roster says so");
}

#[test]
fn a_sleeper_declines_one_peer_and_wakes_for_another() {
    let mut net = net();
    let (bob, cat) = (net.register(peer(2), &[]), net.register(peer(3), &[]));
    let handle = net.sleeper(1, &[], &[bob, cat]);
    net.says(bob, ToRelay::Open(peer(1)));
    net.news(1, handle, NewsKind::Declined(peer(3)));
    net.news(1, handle, NewsKind::Declined(peer(2)));
    net.news(1, handle, NewsKind::Declined(peer(2)));
    let refused = (peer(1), OpenRefusal::Refused);
    assert_eq!(net.node(bob).not_opened, [refused]);
    assert_eq!(net.woken_by().len(), 1);
    // Bob asks without success for a while, and nobody is woken.
    net.waits_with(Duration::from_secs(20), &[bob, cat]);
    net.says(bob, ToRelay::Open(peer(1)));
    assert_eq!(net.node(bob).not_opened, [refused, refused]);
    assert_eq!(net.woken_by(), []);
    net.says(cat, ToRelay::Open(peer(1)));
    assert_eq!(net.woken_by(), [(handle, 3)]);
    net.register(peer(1), &[]);
    assert!(net.node(cat).channels.contains_key(&peer(1)));
    assert!(!net.node(bob).channels.contains_key(&peer(1)));
}

#[test]
fn a_declined_peer_may_ask_again_later() {
    let mut net = net();
    let bob = net.register(peer(2), &[]);
    let handle = net.sleeper(1, &[], &[bob]);
    net.says(bob, ToRelay::Open(peer(1)));
    net.news(1, handle, NewsKind::Declined(peer(2)));
    net.woken_by();
    net.waits_with(Duration::from_secs(40), &[bob]);
    net.says(bob, ToRelay::Open(peer(1)));
    assert_eq!(net.woken_by(), [(handle, 2)]);
}

#[test]
fn so_many_peers_and_no_more_wake_a_sleeper_at_once() {
    let mut net = net();
    let handle = net.sleeper(1, &[], &[]);
    let max = u16::try_from(WAKERS_MAX).expect("few");
    let wakers: Vec<_> = (0..=max)
        .map(|n| net.register(peer(100 + n), &[]))
        .collect();
    for waker in &wakers {
        net.says(*waker, ToRelay::Open(peer(1)));
    }
    assert_eq!(net.woken_by().len(), WAKERS_MAX);
    let last = wakers.last().expect("many");
    assert_eq!(net.node(*last).not_opened, [(peer(1), OpenRefusal::Limit)]);
    assert!(net.sleeps.contains(&handle));
}

#[test]
fn a_channel_that_opens_while_the_peer_falls_asleep_is_asked_for_again() {
    let mut net = net();
    let (ann, bob) = (net.register(peer(1), &[]), net.register(peer(2), &[]));
    net.waits_with(SLEEP_AFTER, &[ann, bob]);
    let handle = net.asks_to_sleep(ann).expect("it may sleep");
    net.says(bob, ToRelay::Open(peer(1)));
    assert_eq!(net.node(bob).channels.len(), 1);
    net.tell(Input::FellAsleep { connection: ann });
    let [(_, why)] = net.node(bob).ended[..] else {
        panic!("the channel has ended");
    };
    assert_eq!(why, ChannelEnd::PeerGone);
    net.says(bob, ToRelay::Open(peer(1)));
    assert_eq!(net.woken_by(), [(handle, 2)]);
}

#[test]
fn the_others_see_a_sleeper_until_it_leaves() {
    let mut net = net();
    let bob = net.register(peer(2), &[1]);
    let handle = net.sleeper(1, &[1], &[bob]);
    net.waits_with(Duration::from_secs(600), &[bob]);
    assert_eq!(net.sees(bob).len(), 1);
    net.news(1, Handle([1; 8]), NewsKind::Left);
    assert_eq!(net.state(peer(1)), Some(State::Asleep), "of another sleep");
    let left = net.counts().left;
    net.news(1, handle, NewsKind::Left);
    net.wait_secs(2);
    assert!(net.sees(bob).is_empty());
    assert_eq!(net.state(peer(1)), Some(State::Gone));
    assert_eq!(net.counts().left, left + 1);
}

#[test]
fn a_sleeper_that_wakes_is_no_news_and_learns_what_it_missed() {
    let mut net = net();
    let bob = net.register(peer(2), &[1]);
    net.sleeper(1, &[1], &[bob]);
    net.wait_secs(2);
    let cat = net.register(peer(3), &[1]);
    net.waits_with(Duration::from_secs(10), &[bob, cat]);
    net.frames(bob);
    let ann = net.register(peer(1), &[1]);
    net.wait_secs(2);
    assert_eq!(net.sees(ann).len(), 2);
    assert!(net.frames(bob).is_empty(), "it was there all the time");
}

#[test]
fn the_operator_kicks_bans_and_excludes_sleepers() {
    let mut net = net();
    for n in 1..=4 {
        net.sleeper(n, &[], &[]);
    }
    net.tell(Input::Kick(peer(1)));
    net.tell(Input::Ban(peer(2)));
    net.tell(Input::Exclude(peer(3), Exclusion::Rule));
    net.tell(Input::Exclude(peer(4), Exclusion::Address));
    assert_eq!(
        net.sleeps_ended,
        [
            (peer(1), EndReason::Kicked),
            (peer(2), EndReason::Banned),
            (peer(3), EndReason::NotAdmitted),
            (peer(4), EndReason::AddressBanned)
        ]
    );
    assert_eq!(net.relay.sleepers().count(), 0);
    assert_eq!(net.state(peer(1)), Some(State::Gone));
}

#[test]
fn a_full_relay_replaces_the_sleeper_that_was_idle_for_longest() {
    let mut net = TestNet::new(Limits {
        peers: 2,
        ..Limits::default()
    });
    for n in 1..=2 {
        let node = net.register_at(peer(n), "11.0.0.1:1", &[]);
        net.waits_with(SLEEP_AFTER, &[node]);
        assert!(net.asks_to_sleep(node).is_some());
        net.tell(Input::FellAsleep { connection: node });
    }
    let bob = net.register_at(peer(9), "11.0.9.1:1", &[]);
    assert_eq!(net.end(bob), None);
    assert_eq!(net.sleeps_ended, [(peer(1), EndReason::MadeRoom)]);
}

#[test]
fn a_sleeper_that_moves_counts_for_its_new_network() {
    let mut net = TestNet::new(Limits {
        peers_per_network: 1,
        ..Limits::default()
    });
    let handle = net.sleeper(1, &[], &[]);
    let moved = "12.0.0.1:9".parse().expect("an address");
    net.news(1, handle, NewsKind::Moved(moved));
    assert_eq!(net.row(peer(1)).map(|row| row.addr), Some(moved));
    let there = net.register_at(peer(2), "12.0.0.7:1", &[]);
    assert_eq!(net.end(there), Some(EndReason::NetworkFull(1)));
    let here = net.register_at(peer(3), "11.0.1.7:1", &[]);
    assert_eq!(net.end(here), None);
}

#[test]
fn silence_ends_a_sleep() {
    let mut net = net();
    let handle = net.sleeper(1, &[], &[]);
    net.news(1, handle, NewsKind::Silent);
    assert_eq!(net.sleeps_ended, [(peer(1), EndReason::Silent)]);
    assert_eq!(net.state(peer(1)), Some(State::Gone));
    assert!(net.sleeps.is_empty());
}

#[test]
fn a_sleeper_that_declines_one_peer_after_the_other_stays() {
    let mut net = net();
    let wakers: Vec<_> = (0..40).map(|n| net.register(peer(100 + n), &[])).collect();
    let handle = net.sleeper(1, &[], &wakers);
    net.says(wakers[0], ToRelay::Open(peer(1)));
    // There is always one that waits for an answer.
    for (n, waker) in (100..).zip(&wakers[1..]) {
        net.says(*waker, ToRelay::Open(peer(1)));
        net.wait(Duration::from_millis(200));
        net.news(1, handle, NewsKind::Declined(peer(n)));
    }
    assert_eq!(net.state(peer(1)), Some(State::Asleep));
    // The last one gets no answer.
    net.wait_secs(5);
    assert_eq!(net.sleeps_ended, [(peer(1), EndReason::Silent)]);
}

#[test]
fn many_identities_of_one_network_leave_room_for_others() {
    let mut net = net();
    let max = u16::try_from(WAKERS_MAX).expect("few");
    let crowd: Vec<_> = (0..max)
        .map(|n| net.register_at(peer(100 + n), "11.0.7.1:1", &[]))
        .collect();
    let bob = net.register(peer(2), &[]);
    let handle = net.sleeper(1, &[], &[crowd.as_slice(), &[bob]].concat());
    for (n, stranger) in (100..).zip(&crowd) {
        net.says(*stranger, ToRelay::Open(peer(1)));
        net.news(1, handle, NewsKind::Declined(peer(n)));
    }
    net.woken_by();
    net.says(bob, ToRelay::Open(peer(1)));
    assert_eq!(net.woken_by(), [(handle, 2)]);
    assert!(net.node(bob).not_opened.is_empty());
}

#[test]
fn a_peer_whose_address_has_just_changed_does_not_sleep() {
    let mut net = net();
    let ann = net.register(peer(1), &[]);
    net.waits_with(SLEEP_AFTER, &[ann]);
    let handle = net.asks_to_sleep(ann).expect("it may sleep");
    let moves = |addr: &str| Input::Moved {
        connection: ann,
        addr: addr.parse().expect("an address"),
    };
    net.tell(moves("192.0.2.9:1"));
    assert!(!net.sleeps.contains(&handle), "that was another address");
    assert_eq!(net.asks_to_sleep(ann), None);
    net.waits_with(ADDRESS_SETTLES, &[ann]);
    assert!(net.asks_to_sleep(ann).is_some());
}

#[test]
fn a_sleeper_that_comes_back_in_vain_is_gone() {
    let mut net = net();
    net.sleeper(1, &[], &[]);
    net.tell(Input::Drain);
    let again = net.register(peer(1), &[]);
    assert_eq!(net.end(again), Some(EndReason::Draining));
    assert_eq!(net.state(peer(1)), Some(State::Gone));
    assert!(net.sleeps.is_empty());
}

#[test]
fn a_relay_says_whether_it_has_had_the_node_all_the_time() {
    let mut net = net();
    let has_slept = |net: &TestNet, node| {
        let welcome = net.node(node).welcome.as_ref().expect("registered");
        welcome.features & features::SLEEP != 0
    };
    let handle = net.sleeper(1, &[], &[]);
    let back = net.register(peer(1), &[]);
    assert!(has_slept(&net, back));
    net.tell(Input::Disconnected { connection: back });
    let handle_again = net.sleeper(1, &[], &[]);
    assert_ne!(handle, handle_again);
    net.news(1, handle_again, NewsKind::Silent);
    let late = net.register(peer(1), &[]);
    assert!(!has_slept(&net, late));
}

#[test]
fn a_table_may_list_some_of_the_sleepers() {
    let mut net = net();
    for n in 1..=3 {
        net.sleeper(n, &[], &[]);
    }
    let ann = net.register(peer(9), &[]);
    assert_eq!(net.relay.table(2).len(), 3);
    assert_eq!(
        (net.relay.asleep(), net.relay.known_peers().count()),
        (3, 4)
    );
    assert!(net.relay.is_registered(peer(3)) && net.relay.is_registered(net.id(ann)));
    assert!(!net.relay.is_registered(peer(4)));
}
