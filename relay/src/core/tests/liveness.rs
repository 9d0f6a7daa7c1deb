use std::time::Duration;

use hobnob_protocol::relay::{OpenRefusal, Register, ToRelay, close};

use super::test_net::{TestNet, peer};
use crate::core::{
    ADDRESS_SETTLES, DRAIN_OVER, EndReason, Exclusion, GONE_KEPT, GONE_MAX, HEARTBEAT_EVERY,
    HEARTBEAT_GRACE, Input, LimitedAction, Limits, Pace, State,
};

fn net() -> TestNet {
    TestNet::new(Limits::default())
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_node_is_welcomed_with_the_relays_settings() {
    let limits = Limits {
        rate: 1_000_000,
        channels_per_peer: 3,
        ..Limits::default()
    };
    let mut net = TestNet::new(limits);
    let ann = net.register_at(peer(1), "[::ffff:11.0.0.1]:4626", &[]);
    let welcome = net.node(ann).welcome.clone().expect("welcomed");
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
fn one_miss_is_suspect_three_are_gone_and_a_frame_is_alive_again() {
    let mut net = net();
    let ann = net.register(peer(1), &[]);
    let states = |net: &mut TestNet, steps: &[u64]| -> Vec<_> {
        let step = |seconds: &u64| {
            net.wait_secs(*seconds);
            net.row(peer(1))
                .map(|row| (row.state, row.missed))
                .expect("in the table")
        };
        steps.iter().map(step).collect()
    };
    use State::{Alive, Gone, Suspect};
    assert_eq!(
        states(&mut net, &[17, 1, 14, 1]),
        [(Alive, 0), (Suspect, 1), (Suspect, 1), (Suspect, 2)]
    );
    net.beats(ann);
    assert_eq!(
        states(&mut net, &[0, 17, 1]),
        [(Alive, 0), (Alive, 0), (Suspect, 1)]
    );
    assert_eq!(
        states(&mut net, &[15, 14, 1]),
        [(Suspect, 2), (Suspect, 2), (Gone, 3)]
    );
    assert_eq!(net.end(ann).expect("ended").code(), close::SILENT);
    net.register(peer(1), &[]);
    assert_eq!(states(&mut net, &[0]), [(Alive, 0)]);
}

#[test]
fn a_suspended_relay_loses_no_peer() {
    let mut net = net();
    let ann = net.register(peer(1), &[]);
    net.now += secs(500);
    net.tell(Input::Timeout);
    assert_eq!(net.row(peer(1)).expect("there").missed, 1);
    net.beats(ann);
    assert_eq!(net.state(peer(1)), Some(State::Alive));
}

#[test]
fn every_frame_is_a_sign_of_life() {
    let mut net = net();
    let ann = net.register(peer(1), &[]);
    for frame in [
        ToRelay::Open(peer(2)),
        ToRelay::Rooms(vec![]),
        ToRelay::Unknown(99),
    ] {
        net.wait(HEARTBEAT_EVERY + HEARTBEAT_GRACE);
        assert_eq!(net.state(peer(1)), Some(State::Suspect));
        net.says(ann, frame);
        assert_eq!(net.state(peer(1)), Some(State::Alive));
    }
    assert_eq!(net.row(peer(1)).expect("there").heard_at, net.now);
}

#[test]
fn a_newer_connection_replaces_the_older_one_for_good() {
    let mut net = net();
    let old = net.register_at(peer(1), "11.0.0.1:1", &[1]);
    let bob = net.register(peer(2), &[1]);
    let new = net.register_at(peer(1), "11.0.0.2:2", &[1]);
    assert_eq!(net.end(old).expect("ended").code(), close::REPLACED);
    net.says(old, ToRelay::Open(peer(2)));
    net.says(old, ToRelay::Rooms(vec![]));
    net.tell(Input::Moved {
        connection: old,
        addr: "11.6.6.6:6".parse().expect("an address"),
    });
    net.tell(Input::Rtt {
        connection: old,
        rtt: secs(9),
    });
    net.tell(Input::Disconnected { connection: old });
    let row = net.row(peer(1)).expect("there");
    assert_eq!(
        (row.state, row.addr, row.rtt, row.rooms),
        (
            State::Alive,
            "11.0.0.2:2".parse().expect("an address"),
            None,
            1
        )
    );
    assert!(net.end(new).is_none() && net.routes.is_empty());
    net.wait_secs(2);
    assert_eq!(net.sees(bob).len(), 1);
}

#[test]
fn a_peer_that_is_gone_stays_in_the_table_for_an_hour() {
    let mut net = net();
    let ann = net.register(peer(1), &[]);
    net.tell(Input::Rtt {
        connection: ann,
        rtt: Duration::from_millis(20),
    });
    net.tell(Input::Disconnected { connection: ann });
    let row = net.row(peer(1)).expect("there");
    assert_eq!(
        (row.state, row.rtt),
        (State::Gone, Some(Duration::from_millis(20)))
    );
    net.wait(GONE_KEPT - secs(1));
    assert_eq!(net.state(peer(1)), Some(State::Gone));
    net.wait_secs(1);
    assert_eq!(net.state(peer(1)), None);
}

#[test]
fn the_oldest_of_too_many_gone_peers_are_forgotten() {
    let mut net = net();
    let many = u16::try_from(GONE_MAX + 2).expect("fits");
    for n in 0..many {
        let connection = net.register(peer(n), &[]);
        net.wait(Duration::from_millis(1));
        net.tell(Input::Disconnected { connection });
    }
    assert_eq!(net.relay.table(usize::MAX).len(), GONE_MAX);
    assert_eq!(
        (net.state(peer(1)), net.state(peer(2))),
        (None, Some(State::Gone))
    );
}

#[test]
fn kick_and_ban_end_a_connection() {
    let mut net = net();
    let (ann, bob) = (net.register(peer(1), &[]), net.register(peer(2), &[]));
    net.tell(Input::Kick(peer(1)));
    net.tell(Input::Ban(peer(2)));
    net.tell(Input::Kick(peer(3)));
    assert_eq!(net.end(ann), Some(EndReason::Kicked));
    assert_eq!(net.end(bob), Some(EndReason::Banned));
    assert_eq!(net.relay.connected(), 0);
    net.tell(Input::Disconnected { connection: ann });
    assert_eq!(net.counts().left, 0);
}

#[test]
fn a_peer_that_is_excluded_gets_the_reason() {
    let mut net = net();
    let (ann, bob) = (net.register(peer(1), &[]), net.register(peer(2), &[]));
    net.tell(Input::Exclude(peer(1), Exclusion::Address));
    net.tell(Input::Exclude(peer(2), Exclusion::Rule));
    assert_eq!(net.end(ann), Some(EndReason::AddressBanned));
    assert_eq!(net.end(bob), Some(EndReason::NotAdmitted));
}

#[test]
fn a_peer_that_has_used_its_quota_is_refused_until_the_next_day() {
    let mut net = TestNet::new(Limits {
        day_quota: 1_000,
        ..Limits::default()
    });
    let (ann, bob) = (net.register(peer(1), &[]), net.register(peer(2), &[]));
    net.says(ann, ToRelay::Open(peer(2)));
    let meter = net
        .routes
        .values()
        .find(|route| route.from.ip().to_string() == "11.0.1.1");
    let meter = meter
        .expect("the channel has a route from Ann")
        .meter
        .clone();
    net.tell(Input::Day(20_000));
    meter.forwarded(1, 600);
    net.tell(Input::Day(20_000));
    assert_eq!(net.end(ann), None);
    meter.forwarded(1, 400);
    net.tell(Input::Day(20_000));
    assert_eq!(net.end(ann), Some(EndReason::QuotaUsed(1_000)));
    assert_eq!(net.end(bob), None);
    assert_eq!(net.relay.usage().1[&peer(1)], 1_000);
    let again = net.register(peer(1), &[]);
    assert_eq!(net.end(again), Some(EndReason::QuotaUsed(1_000)));
    net.tell(Input::Day(20_001));
    let tomorrow = net.register(peer(1), &[]);
    assert_eq!(net.end(tomorrow), None);
}

#[test]
fn new_limits_apply_to_connected_peers() {
    let mut net = net();
    let (ann, _) = (net.register(peer(1), &[]), net.register(peer(2), &[]));
    net.tell(Input::Limits(Box::new(Limits {
        peers: 1,
        channels_per_peer: 0,
        ..Limits::default()
    })));
    let late = net.register(peer(3), &[]);
    assert_eq!(net.end(late), Some(EndReason::Full(1)));
    net.says(ann, ToRelay::Open(peer(2)));
    assert_eq!(net.node(ann).not_opened, [(peer(2), OpenRefusal::Limit)]);
}

#[test]
fn a_full_relay_or_network_rejects_newcomers_and_keeps_its_peers() {
    let mut net = TestNet::new(Limits {
        peers: 3,
        peers_per_network: 2,
        ..Limits::default()
    });
    let ann = net.register_at(peer(1), "11.0.0.1:1", &[]);
    net.register_at(peer(2), "11.0.0.2:1", &[]);
    let third = net.register_at(peer(3), "11.0.0.3:1", &[]);
    assert_eq!(net.end(third), Some(EndReason::NetworkFull(2)));
    net.register_at(peer(4), "11.0.1.1:1", &[]);
    let fifth = net.register_at(peer(5), "11.0.1.9:1", &[]);
    assert_eq!(net.end(fifth).expect("ended").code(), close::FULL);
    let again = net.register_at(peer(1), "11.0.0.1:2", &[]);
    assert!(net.end(again).is_none() && net.end(ann).is_some());
    net.tell(Input::Moved {
        connection: again,
        addr: "11.0.1.2:2".parse().expect("an address"),
    });
    net.tell(Input::Disconnected {
        connection: net.latest[&peer(4)],
    });
    let sixth = net.register_at(peer(6), "11.0.0.6:1", &[]);
    assert!(net.end(sixth).is_none(), "there is a place in both");
}

#[test]
fn acting_too_often_ends_the_connection_and_names_the_limit() {
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
        let mut net = TestNet::new(limits);
        let ann = net.register(peer(1), &[]);
        for n in 0..5 {
            net.tell(act(n + 10, addr(n), ann));
        }
        assert!(net.end(ann).is_none(), "{action:?}");
        net.wait_secs(10);
        net.tell(act(20, addr(20), ann));
        assert!(net.end(ann).is_none(), "{action:?}");
        net.tell(act(21, addr(21), ann));
        assert_eq!(net.end(ann), Some(EndReason::TooOften(action, slow)));
        assert_eq!(net.state(peer(1)), Some(State::Gone));
    }
}

#[test]
fn too_many_dial_backs_or_a_fresh_address_get_no_probe() {
    let mut net = TestNet::new(Limits {
        dial_backs: Pace {
            every: secs(10),
            burst: 2,
        },
        ..Limits::default()
    });
    let ann = net.register(peer(1), &[]);
    let asks = |net: &mut TestNet| {
        net.says(ann, ToRelay::DialBack([1; 16]));
        net.node_mut(ann).called.pop().expect("an answer")
    };
    let moves = |net: &mut TestNet, to: &str| {
        net.tell(Input::Moved {
            connection: ann,
            addr: to.parse().expect("an address"),
        })
    };
    assert_eq!(
        [asks(&mut net), asks(&mut net), asks(&mut net)],
        [Some(1), Some(2), None]
    );
    net.wait_secs(10);
    net.beats(ann);
    assert_eq!(asks(&mut net), Some(3));
    // QUIC may not have validated a new address yet.
    net.wait_secs(10);
    moves(&mut net, "11.0.7.1:9");
    assert_eq!(asks(&mut net), None);
    net.wait(ADDRESS_SETTLES);
    assert_eq!(asks(&mut net), Some(4));
    assert!(net.end(ann).is_none() && net.counts().dial_backs == 4);
    // The handshake has validated the first address of a connection.
    moves(&mut net, "11.0.7.1:10");
    let again = net.register(peer(1), &[]);
    net.wait_secs(10);
    net.says(again, ToRelay::DialBack([1; 16]));
    assert_eq!(net.node(again).called, [Some(5)]);
}

#[test]
fn registering_too_often_is_rejected_and_the_older_connection_stays() {
    let mut net = TestNet::new(Limits {
        registrations: Pace {
            every: secs(10),
            burst: 3,
        },
        ..Limits::default()
    });
    let connections: Vec<_> = (0..5).map(|_| net.register(peer(1), &[])).collect();
    let codes: Vec<_> = connections
        .iter()
        .map(|connection| net.end(*connection).map(|reason| reason.code()))
        .collect();
    let replaced = Some(close::REPLACED);
    assert_eq!(
        codes,
        [replaced, replaced, replaced, None, Some(close::LIMIT)]
    );
    net.tell(Input::Disconnected {
        connection: connections[4],
    });
    assert_eq!(net.state(peer(1)), Some(State::Alive));
    assert!(matches!(
        net.end(connections[4]),
        Some(EndReason::RegisteredTooOften(..))
    ));
}

#[test]
fn a_second_registration_on_one_connection_is_a_protocol_error() {
    let mut net = net();
    let ann = net.register(peer(1), &[]);
    net.says(ann, ToRelay::Register(Register::default()));
    assert_eq!(net.end(ann).expect("ended").code(), close::PROTOCOL);
}

#[test]
fn a_draining_relay_ends_connections_over_some_seconds_and_rejects_newcomers() {
    let mut net = net();
    let connections: Vec<_> = (0..10).map(|n| net.register(peer(n), &[])).collect();
    net.tell(Input::Drain);
    net.wait(DRAIN_OVER / 2);
    let gone = connections
        .iter()
        .filter(|connection| net.end(**connection).is_some())
        .count();
    assert!((4..=6).contains(&gone), "{gone} after half the time");
    let late = net.register(peer(11), &[]);
    assert_eq!(net.end(late).expect("ended").code(), close::DRAINING);
    net.wait(DRAIN_OVER / 2);
    assert!(
        connections
            .iter()
            .all(|connection| net.end(*connection).expect("ended").code() == close::DRAINING)
    );
    assert_eq!(net.relay.connected(), 0);
}
