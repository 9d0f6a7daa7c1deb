//! Tests of the migrations from older versions.

use rusqlite::{Connection, params};

use hobnob_core::commit::{OfferState, Run};
use hobnob_protocol::EntryRef;

use super::super::schema::{MIGRATIONS, migrate};
use super::super::{HistoryRequest, HistoryRow, WhichOffers};
use super::*;

/// Writes a database as version 1 would. It holds only the given batches, each stored separately.
fn written_by_version_1(file: &Path, name: LogName, batches: &[&CheckedBatch]) {
    let mut conn = Connection::open(file).unwrap();
    migrate(&mut conn, &MIGRATIONS[..1]).unwrap();
    let room = RoomName::lobby();
    let key = RoomKey::open(&room);
    let id = lobby();
    let conversation = params![id.as_bytes(), room.as_str(), key.as_bytes(), 100];
    conn.execute("INSERT INTO conversations (id, room, key, open, joined, lamport) VALUES (?1, ?2, ?3, 1, 1, ?4)", conversation)
        .unwrap();
    let log = params![name.author.as_bytes(), name.log.0.cast_signed()];
    conn.execute(
        "INSERT INTO logs (conversation, author, log) VALUES (1, ?1, ?2)",
        log,
    )
    .unwrap();
    let seal = "INSERT OR IGNORE INTO seals (log, seq, hash, signature) VALUES (1, ?1, ?2, ?3)";
    for batch in batches {
        let (first, last) = (batch.first().cast_signed(), batch.last().cast_signed());
        conn.execute(
            "INSERT INTO runs (log, first, last, audience) VALUES (1, ?1, ?2, ?1)",
            [first, last],
        )
        .unwrap();
        if first > 1 {
            conn.execute(
                seal,
                params![first - 1, batch.batch.prev.as_bytes(), None::<Vec<u8>>],
            )
            .unwrap();
        }
        conn.execute(
            seal,
            params![
                last,
                batch.head().as_bytes(),
                batch.batch.signature.as_bytes()
            ],
        )
        .unwrap();
        for (entry, seq) in batch.entries.iter().zip(first..) {
            conn.execute(
                "INSERT INTO entries (id, conversation, lamport, sent_at_ms, received_at_ms, bytes) VALUES (?1, 1, ?2, 0, 7, ?3)",
                params![1 << 40 | seq, entry.entry.lamport.cast_signed(), entry.bytes.as_ref()],
            )
            .unwrap();
        }
    }
}

#[test]
fn a_migration_from_version_1_loses_nothing() {
    let mut home = Home {
        dir: TempDir::new().unwrap(),
        open: None,
        commits: 0,
    };
    let mut ann = Author::new(1, lobby());
    let [first, second, _lost, fourth] = [(); 4].map(|()| ann.chats(3));
    written_by_version_1(&home.file(), ann.name, &[&first, &second, &fourth]);
    home.restart();
    let log = &home.loaded().logs[0];
    let run = |batch: &CheckedBatch| Run {
        first: batch.first(),
        last: batch.last(),
        audience: AudienceId(batch.first()),
    };
    assert_eq!((log.name, log.head), (ann.name, (12, ann.head)));
    assert_eq!(log.runs, [run(&first), run(&second), run(&fourth)]);
    let edges = [
        (3, first.head()),
        (6, second.head()),
        (9, fourth.batch.prev),
        (12, ann.head),
    ];
    assert_eq!(log.edges, edges);
    home.goes_on_after(100);
    for (from, to) in [(1, 6), (5, 6), (10, 12), (12, 12)] {
        let batches = wait(home.store().read_batches(ann.name, from, to, usize::MAX)).unwrap();
        assert_eq!(batches.last().unwrap().clone().check().unwrap().last(), to);
    }
    home.commit(vec![append(&ann.chats(1))]);
    let seqs = |rows: Vec<HistoryRow>| rows.iter().map(|row| row.seq).collect::<Vec<_>>();
    let held = [1, 2, 3, 4, 5, 6, 10, 11, 12, 13];
    assert_eq!(
        seqs(wait(home.store().entries(ann.name, 1, 99)).unwrap()),
        held
    );
    // All entries have the same time of receipt, so their order is that of the log.
    let all = HistoryRequest {
        limit: 99,
        ..HistoryRequest::default()
    };
    assert_eq!(seqs(wait(home.store().history(all)).unwrap()), held);
}

#[test]
fn a_migration_finds_topics_and_pins_that_an_older_version_has_kept() {
    let mut home = Home {
        dir: TempDir::new().unwrap(),
        open: None,
        commits: 0,
    };
    let mut ann = Author::new(1, lobby());
    let chat = ann.chats(3);
    let to = EntryRef {
        author: None,
        log: ann.name.log,
        seq: 2,
    };
    let topic = Body::Topic("plans".to_owned());
    let decided = ann.writes(vec![topic, Body::Pin { to, on: true }]);
    written_by_version_1(&home.file(), ann.name, &[&chat, &decided]);
    home.restart();
    let topics = wait(home.store().topics()).unwrap();
    assert_eq!(
        topics.get(&lobby()).map(|it| it.text.as_str()),
        Some("plans")
    );
    let pinned = wait(home.store().pinned(lobby())).unwrap();
    assert_eq!(pinned.iter().map(|row| row.seq).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_migration_lists_offers_of_older_databases() {
    let mut home = Home {
        dir: TempDir::new().unwrap(),
        open: None,
        commits: 0,
    };
    let mut ann = Author::new(1, lobby());
    let hash = hobnob_protocol::ContentHash([7; 32]);
    let offer = hobnob_protocol::Offer {
        attributes: hobnob_protocol::offer::Attributes::default(),
        caption: String::new(),
        name: "plan.pdf".into(),
        media: String::new(),
        size: 9,
        hash,
        folder: None,
    };
    let (chat, offered) = (ann.chats(3), ann.writes(vec![Body::Offer(offer)]));
    written_by_version_1(&home.file(), ann.name, &[&chat, &offered]);
    home.restart();
    let rows = wait(home.store().offers().read(WhichOffers::Newest)).unwrap();
    assert_eq!(
        rows.iter().map(|row| row.offer.id.seq).collect::<Vec<_>>(),
        [4]
    );
    assert_eq!(rows[0].record.state, OfferState::Offered);
}
