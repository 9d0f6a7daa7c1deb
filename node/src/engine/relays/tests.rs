//! Tests of relays without fleets.

use std::ops::Range;

use hobnob_protocol::SecretKey;
use hobnob_protocol::relay::RosterChange;

use super::*;

pub(super) fn peer(n: u8) -> DeviceId {
    DeviceId::from_bytes([n; 32])
}

pub(super) fn named(at: &str) -> RelayAddr {
    at.parse().expect("an address")
}

pub(super) fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// The user's own token, and none that was shared.
pub(super) fn tokens(own: Option<&[u8]>) -> Tokens {
    Tokens {
        own: own.map(|own| own.to_vec().into()),
        shared: BTreeMap::new(),
    }
}

/// A node without a token that has met no relay.
pub(super) fn no_relays() -> Relays {
    Relays::new(
        BTreeMap::new(),
        BTreeMap::new(),
        tokens(None),
        ProxyConfig::default(),
        Clock::start(),
    )
}

pub(super) fn welcome() -> Welcome {
    Welcome {
        version: hobnob_protocol::relay::VERSION,
        features: features::DIAL_BACK,
        observed: addr("[::ffff:198.51.100.7]:4626"),
        heartbeat_ms: 15_000,
        roster: true,
        channels_max: 9,
        rate: 0,
    }
}

fn up(relays: &mut Relays, relay: RelayId) -> WentUp {
    let way = (addr("192.0.2.1:4627"), Carrier::Udp);
    relays.went_up(relay, peer(99), way, &welcome())
}

#[test]
fn a_relay_is_added_once_and_must_prove_the_identity_that_it_had() {
    let known = BTreeMap::from([("relay.example:4627".to_owned(), peer(99))]);
    let mut relays = Relays::new(
        known,
        BTreeMap::new(),
        tokens(Some(b"token")),
        ProxyConfig::default(),
        Clock::start(),
    );
    let link = relays
        .add(named("relay.example:4627"), Usage::Rooms, 1)
        .expect("room");
    assert_eq!(link.config.expected, Some(peer(99)));
    let found = relays.find(&named("relay.example:4627"));
    assert_eq!(found, Some(link.config.relay));
    for n in 1..RELAYS_MAX {
        assert!(
            relays
                .add(named(&format!("r{n}.example:1")), Usage::Rooms, 1)
                .is_some()
        );
    }
    assert!(
        relays
            .add(named("one-more.example:1"), Usage::Rooms, 1)
            .is_none()
    );
}

#[test]
fn a_dial_waits_for_its_channel_until_the_relay_is_up() {
    let mut relays = no_relays();
    let mut link = relays
        .add(named("relay.example:4627"), Usage::Rooms, 1)
        .expect("room");
    let relay = link.config.relay;
    let mut opening = relays.open_channel(relay, peer(1), false);
    assert!(link.commands.try_recv().is_err(), "there is no connection");
    let went_up = up(&mut relays, relay);
    assert_eq!(went_up.waited_for, [peer(1)].into());
    assert_eq!(went_up.observed, addr("198.51.100.7:4626"));
    relays.opening_done(relay, peer(1), Ok(()));
    assert_eq!(opening.answered(), Some(Ok(())));
    assert!(
        relays.is_dialed(relay, peer(1)),
        "the dial uses the channel"
    );
    drop(opening);
    assert!(!relays.is_dialed(relay, peer(1)));
    let _second = relays.open_channel(relay, peer(2), false);
    assert!(matches!(
        link.commands.try_recv(),
        Ok(LinkCommand::Send(ToRelay::Open(of))) if of == peer(2)
    ));
}

/// A relay with which the connection sleeps, and the commands to its link.
fn asleep(relays: &mut Relays) -> NewLink {
    let link = relays
        .add(named("relay.example:4627"), Usage::Rooms, 1)
        .expect("room");
    up(relays, link.config.relay);
    relays.fell_asleep(link.config.relay);
    link
}

#[test]
fn a_sleeping_link_is_not_woken_for_a_peer_that_was_not_there() {
    let mut relays = no_relays();
    let mut link = asleep(&mut relays);
    let relay = link.config.relay;
    let asked = |link: &mut NewLink| {
        matches!(
            link.commands.try_recv(),
            Ok(LinkCommand::Send(ToRelay::Open(_)))
        )
    };
    let _first = relays.open_channel(relay, peer(1), true);
    assert!(asked(&mut link), "nobody knows whether it is there");
    relays.opening_done(relay, peer(1), Err(OpenFailed::NotHere));
    let mut second = relays.open_channel(relay, peer(1), true);
    assert!(!asked(&mut link));
    assert_eq!(second.answered(), Some(Err(OpenFailed::NotHere)));
    let _other = relays.open_channel(relay, peer(2), true);
    assert!(asked(&mut link));
    relays.want();
    let _third = relays.open_channel(relay, peer(1), true);
    assert!(asked(&mut link), "the user wants it");
    // A link that is awake asks at any time.
    relays.wanted_at = None;
    relays.woke(relay, (addr("192.0.2.1:4627"), Carrier::Udp), &welcome());
    let _fourth = relays.open_channel(relay, peer(1), true);
    assert!(asked(&mut link));
    relays.fell_asleep(relay);
    relays.opening_done(relay, peer(1), Ok(()));
    let _fifth = relays.open_channel(relay, peer(1), true);
    assert!(asked(&mut link), "it was there");
}

#[test]
fn a_link_that_wakes_keeps_the_roster_and_reports_a_new_address() {
    let mut relays = no_relays();
    let link = asleep(&mut relays);
    let relay = link.config.relay;
    let update = RosterUpdate {
        version: 1,
        anew: true,
        changes: vec![RosterChange::Here {
            peer: peer(1),
            rooms: Vec::new(),
        }],
    };
    relays.update_roster(relay, peer(0), update);
    let _opening = relays.open_channel(relay, peer(1), true);
    let way = (addr("192.0.2.1:4627"), Carrier::Udp);
    let woke = relays.woke(relay, way, &welcome());
    assert_eq!(woke.waited_for, [peer(1)].into());
    assert!(!woke.has_moved);
    assert_eq!(relays.naming(peer(1)), [relay]);
    let elsewhere = Welcome {
        observed: addr("203.0.113.9:1"),
        ..welcome()
    };
    assert!(relays.woke(relay, way, &elsewhere).has_moved);
}

#[test]
fn strangers_together_wake_a_node_once_in_half_a_minute() {
    let mut relays = no_relays();
    assert!(relays.wake_for_stranger());
    assert!(!relays.wake_for_stranger());
    assert_eq!(STRANGERS_WAKE.every, Duration::from_secs(30));
    assert!(
        STRANGERS_WAKE_LONG.every > Duration::from_secs(6 * 60),
        "each keeps it awake for so long"
    );
}

#[test]
fn silent_peers_cause_one_heartbeat_a_second() {
    let mut relays = no_relays();
    let mut link = relays
        .add(named("relay.example:4627"), Usage::Rooms, 1)
        .expect("room");
    relays.beat();
    relays.beat();
    assert!(matches!(link.commands.try_recv(), Ok(LinkCommand::Beat)));
    assert!(link.commands.try_recv().is_err());
    assert!(relays.beat_from > BEAT_EVERY / 2, "the next one is later");
}

#[test]
fn members_that_only_a_relay_names_are_listed_up_to_a_limit() {
    let of = |n: usize| {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        DeviceId::from_bytes(bytes)
    };
    let [ours, other] = [1, 2].map(|n| RoomKey::random([n; 32]));
    let mut relays = no_relays();
    // Two relays, each in its own room. Both name two of the peers.
    let name = |relays: &mut Relays, id: u8, peers: Range<usize>, room: &RoomKey| {
        let at = named(&format!("r{id}.example:4627"));
        let link = relays.add(at, Usage::Rooms, 1).expect("room");
        let relay = link.config.relay;
        let way = (addr("192.0.2.1:4627"), Carrier::Udp);
        relays.went_up(relay, peer(id), way, &welcome());
        let changes = peers.map(|n| RosterChange::Here {
            peer: of(n),
            rooms: vec![room.relay_tag(peer(id))],
        });
        let update = RosterUpdate {
            version: 1,
            anew: true,
            changes: changes.collect(),
        };
        relays.update_roster(relay, peer(0), update);
    };
    name(&mut relays, 99, 0..4, &ours);
    name(&mut relays, 98, 2..5, &other);
    let both = [ours.clone(), other];
    assert_eq!(relays.unmet(&both, |_| false), (0..5).map(of).collect());
    assert_eq!(
        relays.unmet(&both[..1], |_| false),
        (0..4).map(of).collect()
    );
    let is_known = |peer| peer == of(1);
    assert_eq!(relays.unmet(&both[..1], is_known), [0, 2, 3].map(of).into());
    name(&mut relays, 97, 5..UNMET_MAX + 1, &ours);
    assert_eq!(relays.unmet(&both, |_| false).len(), UNMET_MAX);
    // Those that are known otherwise take nobody's place.
    assert_eq!(relays.unmet(&both, is_known).len(), UNMET_MAX);
}

#[test]
fn an_identity_is_new_once() {
    let mut relays = no_relays();
    let link = relays
        .add(named("relay.example:4627"), Usage::Rooms, 1)
        .expect("room");
    assert!(up(&mut relays, link.config.relay).is_new_identity);
    assert!(!up(&mut relays, link.config.relay).is_new_identity);
}

#[test]
fn a_relay_none_of_whose_peers_can_be_reached_is_doubted_once() {
    let mut relays = no_relays();
    let link = relays
        .add(named("relay.example:4627"), Usage::Rooms, 1)
        .expect("room");
    let relay = link.config.relay;
    up(&mut relays, relay);
    let changes = (1..=8).map(|n| RosterChange::Here {
        peer: peer(n),
        rooms: Vec::new(),
    });
    let update = RosterUpdate {
        version: 1,
        anew: true,
        changes: changes.collect(),
    };
    assert_eq!(relays.update_roster(relay, peer(0), update).len(), 8);
    assert_eq!(relays.doubt(relay), None);
    for n in 1..=8 {
        assert_eq!(relays.note_missing(peer(n)), [relay]);
    }
    assert_eq!(relays.note_missing(peer(8)), [], "that is known");
    assert_eq!(relays.doubt(relay), Some(link.config.location.at));
    assert_eq!(relays.doubt(relay), None, "the user knows");
}

#[test]
fn a_relay_that_somebody_else_named_gets_no_proof_of_the_token() {
    let mut relays = Relays::new(
        BTreeMap::new(),
        BTreeMap::new(),
        tokens(Some(b"token")),
        ProxyConfig::default(),
        Clock::start(),
    );
    let mut token = |at: &str, id, usage| {
        let at = named(at).at;
        let link = relays.add(RelayAddr { id, at }, usage, 1).expect("room");
        link.config.token
    };
    assert!(token("ours.example:1", Some(peer(1)), Usage::Rooms).is_some());
    assert!(token("theirs.example:1", Some(peer(2)), Usage::OnePeer).is_none());
    assert!(token("unknown.example:1", None, Usage::OnePeer).is_none());
    assert!(token("a-contacts.example:1", Some(peer(3)), Usage::Contact).is_none());
}

#[test]
fn a_shared_token_is_for_the_relay_of_one_identity() {
    let mut relays = no_relays();
    let add = |relays: &mut Relays, at: &str, id| {
        let at = named(at).at;
        let link = relays.add(RelayAddr { id, at }, Usage::OnePeer, 1);
        link.expect("room")
    };
    let mut link = add(&mut relays, "theirs.example:1", Some(peer(1)));
    assert!(link.config.token.is_none());
    relays.share(peer(1), b"shared".to_vec().into());
    let learned = link.commands.try_recv();
    assert!(matches!(learned, Ok(LinkCommand::Locate(_, Some(_)))));
    relays.share(peer(2), b"other".to_vec().into());
    let other = add(&mut relays, "other.example:1", Some(peer(2)));
    assert_eq!(other.config.token, Some(b"other".to_vec().into()));
    let unknown = add(&mut relays, "unknown.example:1", None);
    assert!(unknown.config.token.is_none());
    assert!(link.commands.try_recv().is_err());
    // What was shared is not shared any further.
    let theirs = RelayAddr {
        id: Some(peer(1)),
        at: named("theirs.example:1").at,
    };
    assert!(relays.own_token(&theirs).is_none());
    relays.tokens.own = Some(b"own".to_vec().into());
    assert!(relays.own_token(&theirs).is_none());
    let ours = RelayAddr {
        id: Some(peer(3)),
        at: named("ours.example:1").at,
    };
    assert!(relays.own_token(&ours).is_some());
}

#[test]
fn a_relay_with_two_names_has_one_link() {
    let none = BTreeMap::new();
    let mut relays = Relays::new(
        none,
        BTreeMap::new(),
        tokens(Some(b"token")),
        ProxyConfig::default(),
        Clock::start(),
    );
    let ours = named("192.0.2.1:4627");
    let mut link = relays.add(ours.clone(), Usage::Rooms, 1).expect("room");
    let relay = link.config.relay;
    let theirs = RelayAddr {
        id: Some(peer(99)),
        at: named("relay.example:4627").at,
    };
    assert_eq!(relays.find(&theirs), None, "it has not proved its identity");
    up(&mut relays, relay);
    assert_eq!(relays.find(&theirs), Some(relay));
    assert!(!relays.name_again(relay, theirs.at.clone(), Usage::Contact));
    assert!(link.commands.try_recv().is_err(), "nobody else adds names");
    assert!(!relays.name_again(relay, theirs.at.clone(), Usage::OnePeer));
    let learned = link.commands.try_recv();
    assert!(matches!(learned, Ok(LinkCommand::Locate(location, None)) if location.at == theirs.at));
    assert_eq!(relays.at(relay), &ours.at);
}

#[test]
fn a_link_that_leads_to_the_relay_of_another_link_is_merged_into_it() {
    let none = BTreeMap::new();
    let mut relays = Relays::new(
        none,
        BTreeMap::new(),
        tokens(Some(b"token")),
        ProxyConfig::default(),
        Clock::start(),
    );
    let ticket = named("relay.example:4627");
    let mut first = relays.add(ticket, Usage::OnePeer, 1).expect("room");
    let ours = named("192.0.2.1:4627");
    let second = relays.add(ours.clone(), Usage::Rooms, 1).expect("room");
    let [into, from] = [&first, &second].map(|link| link.config.relay);
    let mut waiting = relays.open_channel(from, peer(1), false);
    up(&mut relays, into);
    assert_eq!(relays.merge(from, into, peer(99)), (ours.at.clone(), true));
    // The user named it for all traffic: it may have the token, and it is in tickets.
    let learned = first.commands.try_recv();
    assert!(
        matches!(learned, Ok(LinkCommand::Locate(location, Some(_))) if location.at == ours.at)
    );
    assert!(matches!(
        first.commands.try_recv(),
        Ok(LinkCommand::Send(ToRelay::Open(of))) if of == peer(1)
    ));
    let named = relays.addrs();
    assert_eq!((named.len(), &named[0].at), (1, &ours.at));
    relays.opening_done(into, peer(1), Ok(()));
    assert_eq!(waiting.answered(), Some(Ok(())));
}

/// A fleet's list with this number, which names these relays.
pub(super) fn list(number: u64, relays: &[u8]) -> Checked<FleetList> {
    let relay = |n: &u8| RelayAddr {
        id: Some(peer(*n)),
        at: named(&format!("relay{n}.example:4627")).at,
    };
    let list = FleetList::new(number, relays.iter().map(relay).collect());
    Checked::sign(list.expect("few"), &SecretKey::from_seed([1; 32]))
}

#[test]
fn only_an_identity_that_no_relay_has_proved_may_be_that_of_a_fleet() {
    let known = BTreeMap::from([("relay.example:4627".to_owned(), peer(1))]);
    let mut relays = Relays::new(
        known,
        BTreeMap::from([(peer(3), list(1, &[1]))]),
        tokens(None),
        ProxyConfig::default(),
        Clock::start(),
    );
    let mut may_be_fleet = |at: &str, id| {
        let at = named(at).at;
        let link = relays.add(RelayAddr { id, at }, Usage::Rooms, 1);
        link.expect("room").config.may_be_fleet
    };
    assert!(!may_be_fleet("relay.example:4627", None));
    assert!(!may_be_fleet("other.example:1", Some(peer(1))));
    assert!(!may_be_fleet("unknown.example:1", None));
    assert!(may_be_fleet("pinned.example:1", Some(peer(2))));
    assert!(may_be_fleet("fleet.example:1", Some(peer(3))));
}

#[test]
fn only_relays_for_all_traffic_are_in_the_ticket() {
    let mut relays = no_relays();
    relays
        .add(named("for-all.example:4627"), Usage::Rooms, 1)
        .expect("room");
    relays
        .add(named("for-one.example:4627"), Usage::OnePeer, 1)
        .expect("room");
    let addrs: Vec<_> = relays
        .addrs()
        .iter()
        .map(|addr| addr.at.to_string())
        .collect();
    assert_eq!(addrs, ["for-all.example:4627"]);
}

#[test]
fn a_relay_is_found_by_its_identity() {
    let mut relays = no_relays();
    let at = named("a-contacts.example:4627").at;
    let id = Some(peer(99));
    let addr = RelayAddr { id, at };
    let link = relays.add(addr, Usage::Contact, 1).expect("room");
    assert!(link.config.location.only_remote);
    assert_eq!(relays.with_identity(peer(99)), Some(link.config.relay));
    assert_eq!(relays.with_identity(peer(98)), None);
    assert_eq!(relays.of_contacts(), 1);
    assert_eq!(relays.addrs(), [], "peers do not find this node there");
}
