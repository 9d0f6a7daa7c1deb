//! Tests of commits: durability before the report, atomicity and grouping.

use hobnob_protocol::{Batch, BodyHash, Ranges, SignedRecord};

use hobnob_core::commit::{Alive, AudienceRecord, Lingerer, NetworkId, RequestRecord, Run};
use hobnob_core::policy::PeerPolicy;
use hobnob_core::source_network::SourceNetwork;

use super::super::{KnownPeer, MailKind, MailRow, PEERS_MAX};
use super::*;

#[test]
fn a_reported_commit_survives_a_crash() {
    let mut home = Home::new();
    let mut ann = Author::new(1, lobby());
    home.commit(vec![the_lobby(true)]);
    for _ in 0..5 {
        home.commit(vec![append(&ann.chats(3))]);
        let mut copy = home.crashed_copy();
        copy.restart();
        let log = &copy.loaded().logs[0];
        assert_eq!((log.name, log.head), (ann.name, (ann.last, ann.head)));
        copy.goes_on_after(ann.lamport);
        assert_eq!(
            wait(copy.store().entries(ann.name, 1, ann.last))
                .unwrap()
                .len() as u64,
            ann.last
        );
    }
}

/// What holders have of a number of messages.
fn held(number: u8) -> MailRow {
    MailRow {
        kind: MailKind::Held,
        name: vec![number],
        value: Some(vec![number; 3]),
    }
}

#[test]
fn a_row_that_can_wait_is_on_disk_with_the_commit_after_it() {
    let mut home = Home::new();
    home.store().set_mail([held(1)]);
    home.commit(vec![the_lobby(true)]);
    let mut copy = home.crashed_copy();
    copy.restart();
    assert_eq!(copy.mail(), [held(1)]);
}

#[test]
fn rows_that_can_wait_survive_a_shutdown_and_keep_their_order() {
    let mut home = Home::new();
    let again = MailRow {
        value: Some(b"newer".to_vec()),
        ..held(1)
    };
    let owed = MailRow {
        kind: MailKind::Owed,
        ..held(2)
    };
    home.store()
        .set_mail([held(1), owed.clone(), again.clone()]);
    home.store().set_mail((10..200).map(held));
    home.restart();
    let mut expected = vec![again];
    expected.extend((10..200).map(held));
    expected.push(owed);
    assert_eq!(home.mail(), expected);
}

#[test]
fn queued_commits_survive_a_shutdown() {
    let mut home = Home::new();
    let mut ann = Author::new(1, lobby());
    home.hand_over(vec![the_lobby(true)]);
    for _ in 0..1_000 {
        home.hand_over(vec![append(&ann.chats(1))]);
    }
    home.restart();
    assert_eq!(home.loaded().logs[0].head, (1_000, ann.head));
}

#[test]
fn a_restart_loads_everything() {
    let mut home = Home::new();
    let mut ann = Author::new(1, lobby());
    let (first, second) = (ann.chats(1), ann.chats(1));
    let lingerers = vec![
        Lingerer {
            peer: peer(9),
            network: None,
            dropped_at_ms: None,
        },
        Lingerer {
            peer: peer(2),
            network: Some(NetworkId(u64::MAX)),
            dropped_at_ms: Some(7),
        },
    ];
    let of = |id, formed_at_ms, peers| AudienceRecord {
        id: AudienceId(id),
        conversation: lobby(),
        formed_at_ms,
        peers,
    };
    let alive = Alive { at_ms: 99 };
    let request = |stranger| RequestRecord {
        peer: peer(stranger),
        network: SourceNetwork(u64::MAX),
        entries: 20,
        bytes: 65_536,
    };
    home.commit(vec![the_lobby(true), direct(3)]);
    home.commit(vec![
        Op::Audience(of(1, 10, vec![peer(1), peer(2)])),
        part(&first, 1, 1, AudienceId(1)),
        Op::Audience(of(2, 20, vec![])),
        part(&second, 2, 2, AudienceId(2)),
        Op::Acked {
            name: ann.name,
            peer: peer(2).only_device(),
            ranges: Ranges::span(1, 2),
        },
        Op::Lingerers(lobby(), lingerers.clone()),
        Op::Alive(alive),
        Op::AwaitDeleted(ann.name, 9),
        Op::Request(request(4)),
        Op::Request(request(5)),
        Op::RequestEnds(peer(4)),
        the_lobby(false),
    ]);
    home.restart();
    let Loaded {
        conversations,
        logs,
        lamport,
        audiences,
        last_audience,
        lingerers: lingering,
        acked,
        alive: last,
        requests,
        awaited_deleted,
    } = home.loaded();
    let Op::Conversation(left) = the_lobby(false) else {
        unreachable!()
    };
    let Op::Conversation(with) = direct(3) else {
        unreachable!()
    };
    assert_eq!(conversations, &[left, with]);
    assert_eq!(logs[0].head, (2, ann.head));
    let run = |seq, audience| Run {
        first: seq,
        last: seq,
        audience: AudienceId(audience),
    };
    assert_eq!(logs[0].runs, [run(1, 1), run(2, 2)]);
    assert_eq!(lamport.len(), 1);
    assert_eq!(requests, &[request(5)]);
    assert_eq!(awaited_deleted, &[(ann.name, 9)]);
    home.goes_on_after(2);
    assert_eq!(
        audiences,
        &[of(1, 10, vec![peer(1), peer(2)]), of(2, 20, vec![])]
    );
    assert_eq!((*last_audience, *last), (2, Some(alive)));
    assert_eq!(lingering, &[(lobby(), lingerers)]);
    assert_eq!(
        acked,
        &[(ann.name, peer(2).only_device(), Ranges::span(1, 2))]
    );
    home.restart_with_audiences_since(11);
    assert_eq!(home.loaded().audiences, [of(2, 20, vec![])]);
    home.restart_with_audiences_since(1_000);
    assert_eq!(
        home.loaded().audiences,
        [of(2, 20, vec![])],
        "the newest of each room always comes"
    );
}

#[test]
fn an_invalid_commit_fails_alone_and_entirely() {
    let mut home = Home::new();
    let (mut ann, mut bob, mut eve) = (
        Author::new(1, lobby()),
        Author::new(2, lobby()),
        Author::new(3, lobby()),
    );
    home.commit(vec![the_lobby(true)]);
    let (first, second) = (ann.chats(3), ann.chats(3));
    home.commit(vec![append(&first)]);
    let good = [
        home.hand_over(vec![append(&bob.chats(1))]),
        home.hand_over(vec![append(&second)]),
    ];
    let bad = home.hand_over(vec![append(&eve.chats(1)), append(&first)]);
    let after = home.hand_over(vec![append(&bob.chats(1))]);
    let answers: Vec<_> = (0..4).map(|_| home.answer()).collect();
    assert_eq!(
        answers.iter().map(|a| a.0).collect::<Vec<_>>(),
        [good[0], good[1], bad, after]
    );
    assert!(
        matches!(&answers[2].1, Err(StoreError::Gap(_))),
        "{:?}",
        answers[2]
    );
    assert_eq!(answers.iter().filter(|a| a.1.is_ok()).count(), 3);
    home.restart();
    let heads: Vec<_> = home
        .loaded()
        .logs
        .iter()
        .map(|log| (log.name, log.head))
        .collect();
    assert_eq!(
        heads,
        [(ann.name, (6, ann.head)), (bob.name, (2, bob.head))],
        "nothing of the bad commit stays"
    );
}

#[test]
fn commits_that_do_not_continue_the_stored_entries_are_rejected() {
    let mut home = Home::new();
    let mut ann = Author::new(1, lobby());
    let (a, b, c) = (ann.chats(3), ann.chats(3), ann.chats(3));
    assert!(
        matches!(home.try_commit(vec![append(&a)]), Err(StoreError::Gap(_))),
        "its conversation is unknown"
    );
    home.commit(vec![the_lobby(true), append(&a)]);
    let mut forger = Author {
        last: 3,
        head: EntryHash::from_bytes([0; 32]),
        lamport: 3,
        ..Author::new(1, lobby())
    };
    let forked = forger.chats(2);
    let too_far = Arc::new(CheckedBatch::author(
        &ann.key,
        ann.name,
        super::super::SEQ_MAX + 1,
        ann.head,
        vec![Entry::new(1_000, 0, Body::Text("x".into()))],
        &mut Salts::new([9; 32]),
    ));
    let cases = [
        ("held", append(&a)),
        ("partly held", part(&a, 2, 3, AudienceId::MEMBERS)),
        ("outside its batch", part(&b, 4, 7, AudienceId::MEMBERS)),
        ("backwards", part(&b, 5, 4, AudienceId::MEMBERS)),
        (
            "cut short of its signature",
            part(&b, 4, 5, AudienceId::MEMBERS),
        ),
        ("a fork", append(&forked)),
        ("a number too high", append(&too_far)),
    ];
    for (what, op) in cases {
        let error = home.try_commit(vec![op]).expect_err(what);
        assert!(error.is_of_one_commit(), "{what}: {error}");
    }
    home.commit(vec![append(&c)]);
    home.commit(vec![append(&b)]);
}

#[test]
fn gaps_are_filled_and_adjacent_runs_of_one_audience_merge() {
    let mut home = Home::new();
    let mut ann = Author::new(1, lobby());
    let all: Vec<_> = (0..5).map(|_| ann.chats(2)).collect();
    let bytes: Vec<_> = all[..4]
        .iter()
        .map(|batch| batch.batch.entries.to_vec())
        .collect();
    let overlapping = Batch {
        entries: bytes.concat().into(),
        signature: all[3].batch.signature,
        ..all[0].batch.clone()
    };
    let overlapping = Arc::new(overlapping.check().expect("the author signed its end"));
    home.commit(vec![the_lobby(true), append(&all[4])]);
    home.commit(vec![append(&all[1])]);
    // One batch from 1 to 8 fills the two gaps around 3 to 4.
    home.commit(vec![
        part(&overlapping, 1, 2, AudienceId::MEMBERS),
        part(&overlapping, 5, 8, AudienceId::MEMBERS),
    ]);
    home.restart();
    assert_eq!(
        home.loaded().logs[0].runs,
        [Run {
            first: 1,
            last: 10,
            audience: AudienceId::MEMBERS
        }]
    );
    assert_eq!(
        wait(home.store().entries(ann.name, 1, 99)).unwrap().len(),
        10
    );
}

#[test]
fn settings_and_peers_are_remembered() {
    let mut home = Home::new();
    let known = |number: u64| KnownPeer {
        peer: PersonId::from_bytes(blake(number)),
        public: (number.is_multiple_of(2)).then(|| SignedRecord::from_bytes(vec![7; 9])),
        contact: (number.is_multiple_of(3)).then(|| SignedRecord::from_bytes(vec![8; 9])),
        relays: vec![],
        addrs: vec![
            "10.0.0.1:4626".parse().unwrap(),
            "[fe80::1%3]:4626".parse().unwrap(),
        ],
        named: vec!["10.0.0.1:4626".parse().unwrap()],
        seen_at_ms: number,
    };
    home.store().set_setting("nick", "ann");
    home.store().set_setting("nick", "anne");
    for number in 0..=PEERS_MAX as u64 + 1 {
        home.store().remember_peer(known(number));
    }
    home.restart();
    let (opened, _) = home.open.as_ref().unwrap();
    assert_eq!(
        opened.settings.iter().collect::<Vec<_>>(),
        [(&"nick".to_owned(), &"anne".to_owned())]
    );
    assert_eq!(opened.peers.len(), PEERS_MAX);
    assert_eq!(opened.peers[0], known(PEERS_MAX as u64 + 1));
    assert_eq!(
        opened.peers[PEERS_MAX - 1].seen_at_ms,
        2,
        "those seen last are kept"
    );
}

#[test]
fn contacts_and_peers_with_relays_are_kept_among_many_peers() {
    let mut home = Home::new();
    let known = |number: u64| KnownPeer {
        peer: PersonId::from_bytes(blake(number)),
        public: None,
        contact: None,
        relays: vec![],
        addrs: vec![],
        named: vec![],
        seen_at_ms: number,
    };
    let at_relay = KnownPeer {
        relays: vec![
            "relay.example:4627".parse().unwrap(),
            "[2001:db8::1]:4627".parse().unwrap(),
        ],
        ..known(1)
    };
    let contact = PeerPolicy {
        contact: true,
        verified: "zoe".parse().ok(),
        by_code: true,
        ..PeerPolicy::default()
    };
    wait(home.store().set_policy(known(0).peer, contact.clone())).unwrap();
    home.store().remember_peer(at_relay.clone());
    for number in [0].into_iter().chain(2..=PEERS_MAX as u64 + 5) {
        home.store().remember_peer(known(number));
    }
    home.restart();
    let opened = &home.open.as_ref().unwrap().0;
    assert_eq!(opened.policies, [(known(0).peer, contact)]);
    let peers = &opened.peers;
    assert_eq!(peers[..2], [at_relay, known(0)], "the user's come first");
    assert_eq!(peers.len(), PEERS_MAX);
    home.restart();
    let peers = &home.open.as_ref().unwrap().0.peers;
    assert_eq!(peers[1], known(0), "and stay");
}

fn blake(number: u64) -> [u8; 32] {
    let body = BodyHash::from_bytes([0; 32]);
    *EntryHash::from_bytes([0; 32])
        .next(number, b"", &body)
        .as_bytes()
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let mut home = Home::new();
    home.commit(vec![the_lobby(true)]);
    for file in std::fs::read_dir(home.dir.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{:?}",
            file.path()
        );
    }
    home.stop();
    std::fs::set_permissions(home.file(), std::fs::Permissions::from_mode(0o644)).unwrap();
    home.restart();
    assert_eq!(
        std::fs::metadata(home.file()).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn a_closed_store_leaves_one_file() {
    let mut home = Home::new();
    home.commit(vec![the_lobby(true)]);
    home.stop();
    assert_eq!(
        std::fs::read_dir(home.dir.path()).unwrap().count(),
        1,
        "the write-ahead log is folded in"
    );
}

#[test]
fn a_log_that_makes_room_leaves_nothing() {
    let mut home = Home::new();
    let (mut ann, mut bob) = (Author::new(1, lobby()), Author::new(2, lobby()));
    home.commit(vec![the_lobby(true), append(&bob.chats(2))]);
    home.commit(vec![
        append(&ann.chats(3)),
        Op::Brought(ann.name, peer(7).only_device()),
    ]);
    home.restart();
    let log = &home.loaded().logs[1];
    assert_eq!(
        (log.name, log.brought_by),
        (ann.name, Some(peer(7).only_device()))
    );
    assert!(log.bytes > 3 * hobnob_core::replica::ENTRY_COST);
    home.commit(vec![Op::Forget(ann.name)]);
    home.restart();
    let names: Vec<_> = home.loaded().logs.iter().map(|log| log.name).collect();
    assert_eq!(names, [bob.name]);
    // Its author may write again, from the beginning.
    let mut ann = Author::new(1, lobby());
    home.commit(vec![append(&ann.chats(1))]);
    home.restart();
    assert_eq!(home.loaded().logs.len(), 2);
}

#[test]
fn the_cost_of_a_log_in_a_room_with_a_secret_is_loaded_as_it_was_stored() {
    let mut home = Home::new();
    let key = RoomKey::random([5; 32]);
    let mut ann = Author::new(1, key.conversation());
    let name = RoomName::lobby();
    let joined = true;
    let room = Op::Conversation(ConversationRecord {
        id: key.conversation(),
        kind: ConversationKind::Room { name, key, joined },
    });
    home.commit(vec![room, append(&ann.chats(3)), Op::Cost(ann.name, 512)]);
    home.restart();
    assert_eq!(home.loaded().logs[0].bytes, 512);
}
