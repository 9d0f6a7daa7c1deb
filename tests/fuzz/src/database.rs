//! Rows of a node's database, as a damaged disk or another program may have left them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use hobnob::store::{HistoryRequest, KnownPeer, Opened, Pending, Store, StoreError, WhichOffers};
use hobnob_core::Now;
use hobnob_core::commit::{
    Alive, AudienceId, AudienceRecord, Commit, CommitId, ConversationKind, ConversationRecord,
    Lingerer, NetworkId, OfferRecord, OfferState, Op, RequestRecord,
};
use hobnob_core::policy::PeerPolicy;
use hobnob_core::replica::Replica;
use hobnob_core::source_network::SourceNetwork;
use hobnob_protocol::frame::FRAME_MAX;
use hobnob_protocol::{
    CheckedBatch, ConversationId, Frame, LogName, OfferId, Ranges, RoomKey, RoomName, Salts,
    SecretKey, SignedRecord,
};
use rusqlite::types::Value;
use rusqlite::{Connection, params};
use tempfile::TempDir;

use crate::entries::{author, samples_of_entries};

/// Maximum number of changes in one input.
const CHANGES_MAX: usize = 8;

/// A node starts from damaged rows, or reports the damage, and does the same with another copy. The
/// start after that may repair the database. What a node sends to peers is well formed, whatever the
/// rows say.
pub(crate) fn run(data: &[u8]) {
    let file = SAMPLE.folder.path().join("damaged.db");
    let with_fresh_copy = || {
        for suffix in ["db-wal", "db-shm", "db.suspect", "db.damaged"] {
            // Most starts leave none of these files.
            let _ = std::fs::remove_file(file.with_extension(suffix));
        }
        std::fs::write(&file, &SAMPLE.database).expect("the temporary folder can be written");
        damage(&file, data);
        answers(&file)
    };
    assert_eq!(with_fresh_copy(), with_fresh_copy());
    let _repaired = answers(&file);
}

/// All that the store answers, as text.
fn answers(file: &Path) -> Result<String, StoreError> {
    let Opened {
        store,
        loaded,
        settings,
        peers,
        policies,
        mail,
        pictures,
        past_names,
        repaired: _,
    } = Store::open(file, 0, |_, _| {})?;
    let mut told = vec![format!(
        "{loaded:?} {settings:?} {peers:?} {policies:?} {mail:?} {pictures:?} {past_names:?}"
    )];
    let logs: Vec<_> = loaded
        .logs
        .iter()
        .map(|log| (log.name, log.head.0))
        .collect();
    let now = Now {
        mono: Duration::ZERO,
        wall_ms: 1_000_000,
    };
    let salts = Salts::new([4; 32]);
    let _replica = Replica::new(Arc::new(me()), 9, salts, [NetworkId(7)].into(), now, loaded);

    for search in [None, Some("hello".to_owned())] {
        let request = HistoryRequest {
            search,
            limit: 100,
            ..HistoryRequest::default()
        };
        told.push(format!("{:?}", wait(store.history(request))));
    }
    for which in [WhichOffers::Newest, WhichOffers::Wanted] {
        told.push(format!("{:?}", wait(store.offers().read(which))));
    }
    told.push(format!("{:?}", wait(store.older_than(lobby().id, 5_001))));
    for (name, last) in logs {
        told.push(format!("{:?}", wait(store.entries(name, 1, last))));
        told.push(format!("{:?}", wait(store.message(name.log, last))));
        let batches = wait(store.read_batches(name, 1, last, FRAME_MAX));
        for batch in batches.iter().flatten() {
            assert!(
                batch.clone().read().is_ok(),
                "a peer would reject {batch:?}"
            );
            assert!(Frame::Batch(batch.clone()).encode().len() <= FRAME_MAX);
        }
        told.push(format!("{batches:?}"));
    }
    store.shutdown();
    Ok(told.join("\n"))
}

fn wait<T>(pending: Pending<T>) -> Result<T, StoreError> {
    pending
        .blocking_recv()
        .expect("the thread of the store has ended")
}

/// Changes values. Each change is a table, a column and a row, a kind of value, the value's length
/// and the value. A change that the schema forbids has no effect.
fn damage(file: &Path, mut changes: &[u8]) {
    let conn = Connection::open(file).expect("the file is a database");
    conn.pragma_update(None, "ignore_check_constraints", true)
        .expect("a known setting");
    conn.pragma_update(None, "synchronous", "off")
        .expect("a known setting");
    for _ in 0..CHANGES_MAX {
        let Some((&[column, row, kind, len], rest)) = changes.split_first_chunk() else {
            return;
        };
        let (bytes, rest) = rest.split_at(usize::from(len).min(rest.len()));
        changes = rest;
        let (table, column) = &SAMPLE.columns[usize::from(column) % SAMPLE.columns.len()];
        let at_row = format!("{column} IS (SELECT {column} FROM {table} LIMIT 1 OFFSET {row})");
        let value = match kind % 6 {
            0 => Value::Null,
            1 => Value::Integer(integer(bytes)),
            2 => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
            3 => Value::Blob(bytes.to_vec()),
            4 => Value::Real(f64::from_bits(integer(bytes).cast_unsigned())),
            _ => {
                let sql = format!("SELECT {column} FROM {table} WHERE {at_row}");
                let old = conn.query_row(&sql, [], |row| row.get(0));
                old.map_or(Value::Null, |old| flipped(old, bytes))
            }
        };
        let sql = format!("UPDATE {table} SET {column} = ?1 WHERE {at_row}");
        let _forbidden = conn.execute(&sql, params![value]);
    }
}

/// The value with some bits changed.
fn flipped(old: Value, bits: &[u8]) -> Value {
    match old {
        Value::Integer(old) => Value::Integer(old ^ integer(bits)),
        Value::Blob(mut old) => {
            let (&at, bits) = bits.split_first().unwrap_or((&0, &[1]));
            for (byte, bits) in old.iter_mut().skip(at.into()).zip(bits) {
                *byte ^= bits;
            }
            Value::Blob(old)
        }
        Value::Null | Value::Real(_) | Value::Text(_) => old,
    }
}

fn integer(bytes: &[u8]) -> i64 {
    let mut integer = [0; 8];
    let len = bytes.len().min(8);
    integer[..len].copy_from_slice(&bytes[..len]);
    i64::from_le_bytes(integer)
}

/// A database with rows in every table, in a temporary folder for copies of it.
struct Sample {
    folder: TempDir,
    database: Vec<u8>,
    /// Table and column.
    columns: Vec<(String, String)>,
}

static SAMPLE: LazyLock<Sample> = LazyLock::new(|| {
    // In memory, if the system has such a folder: each input is a new file.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() {
        TempDir::new_in(memory)
    } else {
        TempDir::new()
    };
    let folder = folder.expect("a temporary folder can be created");
    let file = folder.path().join("whole.db");
    write_sample(&file);
    Sample {
        database: std::fs::read(&file).expect("it was written above"),
        columns: columns(file),
        folder,
    }
});

fn columns(file: PathBuf) -> Vec<(String, String)> {
    let conn = Connection::open(file).expect("the file is a database");
    let sql = "SELECT t.name, c.name FROM pragma_table_list t, pragma_table_info(t.name) c
               WHERE t.schema = 'main' AND t.type IN ('table', 'shadow') AND t.name NOT LIKE 'sqlite_%'
               ORDER BY 1, 2";
    let mut query = conn.prepare(sql).expect("a valid query");
    let columns = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    let columns = columns.expect("the query has no parameters");
    columns
        .collect::<Result<_, _>>()
        .expect("the names are texts")
}

fn write_sample(file: &Path) {
    let Opened { store, .. } = Store::open(file, 0, |_, done| done.expect("a valid commit"))
        .expect("a new database can be created");
    let (key, name, mut salts) = author();
    let lobby = lobby();
    let in_lobby = LogName {
        conversation: lobby.id,
        ..name
    };
    let direct = ConversationId::direct(me().id().person(), key.id().person());
    let with_me = LogName {
        conversation: direct,
        ..name
    };
    let audience = AudienceId(1);
    let mut batch = |name: LogName| {
        let entries = samples_of_entries();
        let batch = CheckedBatch::author(&key, name, 1, name.genesis(), entries, &mut salts);
        Arc::new(batch)
    };
    let append = |batch: Arc<CheckedBatch>, from, audience| Op::Append {
        from,
        to: batch.last(),
        batch,
        audience,
        received_at_ms: 5_000,
        deleted: Ranges::new(),
    };
    let (public, private) = (batch(in_lobby), batch(with_me));
    let ops = vec![
        Op::Conversation(ConversationRecord {
            id: direct,
            kind: ConversationKind::Direct(key.id().person()),
        }),
        Op::Conversation(lobby.clone()),
        Op::Audience(AudienceRecord {
            id: audience,
            conversation: lobby.id,
            formed_at_ms: 4_000,
            peers: vec![key.id().person()],
        }),
        append(private, 1, AudienceId::MEMBERS),
        // After a gap.
        append(public, 3, audience),
        Op::Brought(in_lobby, key.id()),
        Op::Lingerers(
            lobby.id,
            vec![Lingerer {
                peer: key.id().person(),
                network: Some(NetworkId(7)),
                dropped_at_ms: Some(6_000),
            }],
        ),
        Op::Acked {
            name: with_me,
            peer: key.id(),
            ranges: Ranges::span(1, 2),
        },
        Op::Erase {
            name: with_me,
            seqs: Ranges::span(2, 2),
            by_author: false,
        },
        Op::AwaitDeleted(in_lobby, 1),
        Op::Request(RequestRecord {
            peer: key.id().person(),
            network: SourceNetwork(9),
            entries: 2,
            bytes: 300,
        }),
        Op::Alive(Alive { at_ms: 7_000 }),
    ];
    store.commit(Commit {
        id: CommitId(1),
        ops,
    });
    store.set_setting("nick", "ann");
    store.remember_peer(KnownPeer {
        peer: key.id().person(),
        public: Some(SignedRecord::from_bytes(vec![9; 80])),
        contact: None,
        relays: vec!["relay.example:4627".parse().expect("an address")],
        addrs: vec![([192, 0, 2, 1], 4626).into()],
        named: vec![([192, 0, 2, 2], 4626).into()],
        seen_at_ms: 7_000,
    });
    let policy = PeerPolicy {
        verified: Some("bob".parse().expect("a nickname")),
        ..PeerPolicy::default()
    };
    let stored = store.set_policy(key.id().person(), policy);
    wait(stored).expect("a policy can be stored");
    let offer = OfferId {
        name: with_me,
        seq: 3,
    };
    let record = OfferRecord {
        state: OfferState::Wanted,
        place: Some(b"/tmp/a".to_vec()),
        why: Some("why".to_owned()),
    };
    wait(store.offers().set(offer, record)).expect("the offer is there");
    store.shutdown();
}

fn me() -> SecretKey {
    SecretKey::from_seed([9; 32])
}

fn lobby() -> ConversationRecord {
    let name = RoomName::lobby();
    let key = RoomKey::open(&name);
    ConversationRecord {
        id: key.conversation(),
        kind: ConversationKind::Room {
            name,
            key,
            joined: true,
        },
    }
}

/// The whole database, and some with changed values.
pub(crate) fn samples() -> Vec<Vec<u8>> {
    let at = |table: &str, column: &str| {
        let wanted = |(of, name): &(String, String)| of == table && name == column;
        let at = SAMPLE.columns.iter().position(wanted);
        let at = at.expect("the schema has this column");
        u8::try_from(at).expect("fewer than 256 columns")
    };
    let (bytes, peers) = (at("entries", "bytes"), at("audiences", "peers"));
    vec![
        Vec::new(),
        vec![bytes, 1, 5, 2, 30, 1],
        [&[peers, 0, 3, 32][..], &[7; 32]].concat(),
    ]
}
