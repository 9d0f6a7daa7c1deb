use std::time::Duration;

use hobnob_protocol::relay::{Register, ToRelay, close};

use super::town::{Town, peer};
use crate::core::{
    ADDRESS_SETTLES, DRAIN_OVER, EndReason, GONE_KEPT, GONE_MAX, HEARTBEAT_EVERY, HEARTBEAT_GRACE,
    Input, LimitedAction, Limits, Pace, State,
};

fn town() -> Town {
    Town::new(Limits::default())
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_node_is_welcomed_with_what_it_has_to_know() {
    let limits = Limits {
        rate: 1_000_000,
        channels_per_peer: 3,
        ..Limits::default()
    };
    let mut town = Town::new(limits);
    let ann = town.register_at(peer(1), "[::ffff:11.0.0.1]:4626", &[]);
    let welcome = town.node(ann).welcome.clone().expect("welcomed");
    assert_eq!(
        welcome.observed,
        "11.0.0.1:4626".parse().expect("an address")
    );
    assert_eq!(
        (
            welcome.heartbeat_ms,
            welcome.roster,
            welcome.channels_max,
            welcome.rate
        ),
        (15_000, true, 3, 1_000_000)
    );
}

#[test]
fn one_miss_is_suspect_three_are_gone_and_one_heard_is_alive_again() {
    let mut town = town();
    let ann = town.register(peer(1), &[]);
    let states = |town: &mut Town, steps: &[u64]| -> Vec<_> {
        let step = |seconds: &u64| {
            town.wait_secs(*seconds);
            town.row(peer(1))
                .map(|row| (row.state, row.missed))
                .expect("in the table")
        };
        steps.iter().map(step).collect()
    };
    use State::{Alive, Gone, Suspect};
    assert_eq!(
        states(&mut town, &[17, 1, 14, 1]),
        [(Alive, 0), (Suspect, 1), (Suspect, 1), (Suspect, 2)]
    );
    town.beats(ann);
    assert_eq!(
        states(&mut town, &[0, 17, 1]),
        [(Alive, 0), (Alive, 0), (Suspect, 1)]
    );
    assert_eq!(
        states(&mut town, &[15, 14, 1]),
        [(Suspect, 2), (Suspect, 2), (Gone, 3)]
    );
    assert_eq!(town.end(ann).expect("ended").code(), close::SILENT);
    town.register(peer(1), &[]);
    assert_eq!(states(&mut town, &[0]), [(Alive, 0)]);
}

#[test]
fn a_relay_that_stood_still_takes_nobody_for_dead() {
    let mut town = town();
    let ann = town.register(peer(1), &[]);
    town.now += secs(500);
    town.tell(Input::Timeout);
    assert_eq!(town.row(peer(1)).expect("there").missed, 1);
    town.beats(ann);
    assert_eq!(town.state(peer(1)), Some(State::Alive));
}

#[test]
fn every_frame_is_a_sign_of_life() {
    let mut town = town();
    let ann = town.register(peer(1), &[]);
    for frame in [
        ToRelay::Open(peer(2)),
        ToRelay::Rooms(vec![]),
        ToRelay::Unknown(99),
    ] {
        town.wait(HEARTBEAT_EVERY + HEARTBEAT_GRACE);
        assert_eq!(town.state(peer(1)), Some(State::Suspect));
        town.says(ann, frame);
        assert_eq!(town.state(peer(1)), Some(State::Alive));
    }
    assert_eq!(town.row(peer(1)).expect("there").heard_at, town.now);
}

#[test]
fn a_newer_connection_takes_the_place_and_the_older_one_can_touch_it_no_more() {
    let mut town = town();
    let old = town.register_at(peer(1), "11.0.0.1:1", &[1]);
    let bob = town.register(peer(2), &[1]);
    let new = town.register_at(peer(1), "11.0.0.2:2", &[1]);
    assert_eq!(town.end(old).expect("ended").code(), close::REPLACED);
    town.says(old, ToRelay::Open(peer(2)));
    town.says(old, ToRelay::Rooms(vec![]));
    town.tell(Input::Moved {
        connection: old,
        addr: "11.6.6.6:6".parse().expect("an address"),
    });
    town.tell(Input::Rtt {
        connection: old,
        rtt: secs(9),
    });
    town.tell(Input::Down { connection: old });
    let row = town.row(peer(1)).expect("there");
    assert_eq!(
        (row.state, row.addr, row.rtt, row.rooms),
        (
            State::Alive,
            "11.0.0.2:2".parse().expect("an address"),
            None,
            1
        )
    );
    assert!(town.end(new).is_none() && town.routes.is_empty());
    town.wait_secs(2);
    assert_eq!(town.sees(bob).len(), 1);
}

#[test]
fn a_peer_that_went_stays_in_the_table_for_an_hour() {
    let mut town = town();
    let ann = town.register(peer(1), &[]);
    town.tell(Input::Rtt {
        connection: ann,
        rtt: Duration::from_millis(20),
    });
    town.tell(Input::Down { connection: ann });
    let row = town.row(peer(1)).expect("there");
    assert_eq!(
        (row.state, row.rtt),
        (State::Gone, Some(Duration::from_millis(20)))
    );
    town.wait(GONE_KEPT - secs(1));
    assert_eq!(town.state(peer(1)), Some(State::Gone));
    town.wait_secs(1);
    assert_eq!(town.state(peer(1)), None);
}

#[test]
fn of_too_many_that_went_the_first_are_forgotten() {
    let mut town = town();
    let many = u16::try_from(GONE_MAX + 2).expect("fits");
    for n in 0..many {
        let connection = town.register(peer(n), &[]);
        town.wait(Duration::from_millis(1));
        town.tell(Input::Down { connection });
    }
    assert_eq!(town.relay.table().len(), GONE_MAX);
    assert_eq!(
        (town.state(peer(1)), town.state(peer(2))),
        (None, Some(State::Gone))
    );
}

#[test]
fn kick_and_ban_end_a_connection() {
    let mut town = town();
    let (ann, bob) = (town.register(peer(1), &[]), town.register(peer(2), &[]));
    town.tell(Input::Kick(peer(1)));
    town.tell(Input::Ban(peer(2)));
    town.tell(Input::Kick(peer(3)));
    assert_eq!(town.end(ann), Some(EndReason::Kicked));
    assert_eq!(town.end(bob), Some(EndReason::Banned));
    assert_eq!(town.relay.connected(), 0);
    town.tell(Input::Down { connection: ann });
    assert_eq!(town.counts().left, 0);
}

#[test]
fn a_full_relay_and_a_full_network_turn_newcomers_away_but_nobody_who_is_there() {
    let mut town = Town::new(Limits {
        peers: 3,
        peers_per_network: 2,
        ..Limits::default()
    });
    let ann = town.register_at(peer(1), "11.0.0.1:1", &[]);
    town.register_at(peer(2), "11.0.0.2:1", &[]);
    let third = town.register_at(peer(3), "11.0.0.3:1", &[]);
    assert_eq!(town.end(third), Some(EndReason::NetworkFull(2)));
    town.register_at(peer(4), "11.0.1.1:1", &[]);
    let fifth = town.register_at(peer(5), "11.0.2.1:1", &[]);
    assert_eq!(town.end(fifth).expect("ended").code(), close::FULL);
    let again = town.register_at(peer(1), "11.0.0.1:2", &[]);
    assert!(town.end(again).is_none() && town.end(ann).is_some());
    town.tell(Input::Moved {
        connection: again,
        addr: "11.0.1.2:2".parse().expect("an address"),
    });
    town.tell(Input::Down {
        connection: town.latest[&peer(4)],
    });
    let sixth = town.register_at(peer(6), "11.0.0.6:1", &[]);
    assert!(town.end(sixth).is_none(), "there is a place in both");
}

#[test]
fn doing_something_too_often_ends_the_connection_and_names_the_limit() {
    let addr = |port: u16| format!("11.0.0.1:{port}").parse().expect("an address");
    type Act = fn(u16, std::net::SocketAddr, crate::core::ConnectionId) -> Input;
    let slow = Pace {
        every: secs(10),
        burst: 5,
    };
    let cases: [(Limits, Act, LimitedAction); 5] = [
        (
            Limits {
                heartbeats: slow,
                ..Limits::default()
            },
            |_, _, connection| Input::Frame {
                connection,
                frame: ToRelay::Heartbeat(0),
            },
            LimitedAction::Heartbeats,
        ),
        (
            Limits {
                room_changes: slow,
                ..Limits::default()
            },
            |_, _, connection| Input::Frame {
                connection,
                frame: ToRelay::Rooms(vec![]),
            },
            LimitedAction::RoomChanges,
        ),
        (
            Limits {
                opens: slow,
                ..Limits::default()
            },
            |n, _, connection| Input::Frame {
                connection,
                frame: ToRelay::Open(peer(n)),
            },
            LimitedAction::Opens,
        ),
        (
            Limits {
                frames: slow,
                ..Limits::default()
            },
            |_, _, connection| Input::Frame {
                connection,
                frame: ToRelay::Unknown(99),
            },
            LimitedAction::Frames,
        ),
        (
            Limits {
                moves: slow,
                ..Limits::default()
            },
            |_, addr, connection| Input::Moved { connection, addr },
            LimitedAction::Moves,
        ),
    ];
    for (limits, act, action) in cases {
        let mut town = Town::new(limits);
        let ann = town.register(peer(1), &[]);
        for n in 0..5 {
            town.tell(act(n + 10, addr(n), ann));
        }
        assert!(town.end(ann).is_none(), "{action:?}");
        town.wait_secs(10);
        town.tell(act(20, addr(20), ann));
        assert!(town.end(ann).is_none(), "{action:?}");
        town.tell(act(21, addr(21), ann));
        assert_eq!(town.end(ann), Some(EndReason::TooOften(action, slow)));
        assert_eq!(town.state(peer(1)), Some(State::Gone));
    }
}

#[test]
fn who_asks_to_be_called_too_often_or_has_just_come_there_is_told_that_nobody_calls() {
    let mut town = Town::new(Limits {
        calls: Pace {
            every: secs(10),
            burst: 2,
        },
        ..Limits::default()
    });
    let ann = town.register(peer(1), &[]);
    let asks = |town: &mut Town| {
        town.says(ann, ToRelay::DialBack([1; 16]));
        town.node_mut(ann).called.pop().expect("an answer")
    };
    let moves = |town: &mut Town, to: &str| {
        town.tell(Input::Moved {
            connection: ann,
            addr: to.parse().expect("an address"),
        })
    };
    assert_eq!(
        [asks(&mut town), asks(&mut town), asks(&mut town)],
        [Some(1), Some(2), None]
    );
    town.wait_secs(10);
    town.beats(ann);
    assert_eq!(asks(&mut town), Some(3));
    // An address that QUIC has not proved yet may be anybody's.
    town.wait_secs(10);
    moves(&mut town, "11.0.7.1:9");
    assert_eq!(asks(&mut town), None);
    town.wait(ADDRESS_SETTLES);
    assert_eq!(asks(&mut town), Some(4));
    assert!(town.end(ann).is_none() && town.counts().calls == 4);
    // A connection from the start at an address has proved it.
    moves(&mut town, "11.0.7.1:10");
    let again = town.register(peer(1), &[]);
    town.wait_secs(10);
    town.says(again, ToRelay::DialBack([1; 16]));
    assert_eq!(town.node(again).called, [Some(5)]);
}

#[test]
fn who_registers_too_often_is_turned_away_and_keeps_the_connection_it_has() {
    let mut town = Town::new(Limits {
        registrations: Pace {
            every: secs(10),
            burst: 3,
        },
        ..Limits::default()
    });
    let connections: Vec<_> = (0..5).map(|_| town.register(peer(1), &[])).collect();
    let codes: Vec<_> = connections
        .iter()
        .map(|connection| town.end(*connection).map(|reason| reason.code()))
        .collect();
    let replaced = Some(close::REPLACED);
    assert_eq!(
        codes,
        [replaced, replaced, replaced, None, Some(close::LIMIT)]
    );
    town.tell(Input::Down {
        connection: connections[4],
    });
    assert_eq!(town.state(peer(1)), Some(State::Alive));
    assert!(matches!(
        town.end(connections[4]),
        Some(EndReason::RegisteredTooOften(..))
    ));
}

#[test]
fn a_second_registration_on_one_connection_is_against_the_protocol() {
    let mut town = town();
    let ann = town.register(peer(1), &[]);
    town.says(ann, ToRelay::Register(Register::default()));
    assert_eq!(town.end(ann).expect("ended").code(), close::PROTOCOL);
}

#[test]
fn a_relay_that_drains_lets_everybody_go_over_some_seconds_and_nobody_in() {
    let mut town = town();
    let connections: Vec<_> = (0..10).map(|n| town.register(peer(n), &[])).collect();
    town.tell(Input::Drain);
    town.wait(DRAIN_OVER / 2);
    let gone = connections
        .iter()
        .filter(|connection| town.end(**connection).is_some())
        .count();
    assert!((4..=6).contains(&gone), "{gone} after half the time");
    let late = town.register(peer(11), &[]);
    assert_eq!(town.end(late).expect("ended").code(), close::DRAINING);
    town.wait(DRAIN_OVER / 2);
    assert!(
        connections
            .iter()
            .all(|connection| town.end(*connection).expect("ended").code() == close::DRAINING)
    );
    assert_eq!(town.relay.connected(), 0);
}
