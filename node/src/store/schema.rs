//! The tables, and the migrations from older versions.

use rusqlite::{Connection, TransactionBehavior};

use super::error::Fault;
use super::{amendments, load, offers};

/// The migration at index `n` turns version `n` into version `n + 1`. The version is SQLite's
/// `user_version`. Add migrations at the end, and never change one.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration::Sql(V1),
    Migration::Sql(V2),
    Migration::Sql(V3),
    Migration::Sql(V4),
    Migration::Sql(V5),
    Migration::Rows(offers::note_all),
    Migration::Sql(V7),
    Migration::Sql(V8),
    Migration::Sql(V9),
    Migration::Sql(V10),
    Migration::Sql(V11),
    Migration::Sql(V12),
    Migration::Sql(V13),
    Migration::Sql(V14),
    Migration::Sql(V15),
    Migration::Sql(V16),
    Migration::Sql(V17),
    Migration::Sql(V18),
    Migration::Rows(load::add_checksums),
    Migration::Sql(V20),
    Migration::Sql(V21),
    Migration::Sql(V22),
    Migration::Rows(amendments::note_topics_and_pins),
    Migration::Sql(V24),
];

/// Turns a database into one of the next version.
#[derive(Debug, Clone, Copy)]
pub(super) enum Migration {
    /// Runs these statements.
    Sql(&'static str),
    /// Runs code that decodes rows.
    Rows(fn(&Connection) -> Result<(), Fault>),
}

/// - `entries.id` is [`super::columns::EntryId`]: the log's ordinal and the entry's number in one
///   integer.
/// - `words` is the search index of texts. `indexed` has the entries in the index.
///
/// The other tables of entries changed in [`V2`].
const V1: &str = "
CREATE TABLE conversations (
    ordinal INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE,
    peer BLOB, room TEXT, key BLOB, open INTEGER NOT NULL, joined INTEGER NOT NULL,
    lamport INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE logs (
    ordinal INTEGER PRIMARY KEY, conversation INTEGER NOT NULL REFERENCES conversations,
    author BLOB NOT NULL, log INTEGER NOT NULL,
    UNIQUE (log, author, conversation)
);
CREATE TABLE runs (
    log INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, audience INTEGER NOT NULL,
    PRIMARY KEY (log, first)
) WITHOUT ROWID;
CREATE TABLE seals (
    log INTEGER NOT NULL, seq INTEGER NOT NULL, hash BLOB NOT NULL, signature BLOB,
    PRIMARY KEY (log, seq)
) WITHOUT ROWID;
CREATE TABLE entries (
    id INTEGER PRIMARY KEY, conversation INTEGER NOT NULL, lamport INTEGER NOT NULL,
    sent_at_ms INTEGER NOT NULL, received_at_ms INTEGER NOT NULL, bytes BLOB NOT NULL
);
CREATE INDEX entries_shown ON entries (conversation, lamport, received_at_ms);
CREATE INDEX entries_received ON entries (received_at_ms);
CREATE VIRTUAL TABLE words USING fts5 (text, content = '', contentless_delete = 1);
CREATE TABLE indexed (
    log INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (log, first)
) WITHOUT ROWID;
CREATE TABLE audiences (
    id INTEGER PRIMARY KEY, conversation INTEGER NOT NULL REFERENCES conversations,
    formed_at_ms INTEGER NOT NULL, peers BLOB NOT NULL
);
CREATE TABLE lingerers (
    place INTEGER PRIMARY KEY, conversation INTEGER NOT NULL REFERENCES conversations,
    peer BLOB NOT NULL, dropped_at_ms INTEGER
);
CREATE INDEX lingerers_of ON lingerers (conversation);
CREATE TABLE acked (
    log INTEGER NOT NULL REFERENCES logs, peer BLOB NOT NULL, ranges BLOB NOT NULL,
    PRIMARY KEY (log, peer)
) WITHOUT ROWID;
CREATE TABLE alive (one INTEGER PRIMARY KEY CHECK (one = 1), at_ms INTEGER NOT NULL, network INTEGER NOT NULL);
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE peers (
    peer BLOB PRIMARY KEY, nick TEXT, addrs TEXT NOT NULL, named TEXT NOT NULL,
    seen_at_ms INTEGER NOT NULL
) WITHOUT ROWID;
";

/// A commit of one message writes few pages: the page of the entry, and one page in each of the two
/// orders.
///
/// - `entries` has the chain's hash and the author's signature at the end of each stored batch.
/// - `bases` has the hash before each range that starts after a gap. So every range of entries starts
///   after a known hash and ends at a signature.
/// - `runs` has the start of each range of one audience. Adjacent runs differ in audience. A run ends
///   with its last entry: see the view `held`.
/// - `conversations.lamport` is above every Lamport number in the conversation, except jumps, by up
///   to [`super::apply::LAMPORT_STRIDE`].
const V2: &str = "
CREATE TABLE bases (
    log INTEGER NOT NULL, seq INTEGER NOT NULL, hash BLOB NOT NULL,
    PRIMARY KEY (log, seq)
) WITHOUT ROWID;
INSERT INTO bases SELECT log, seq, hash FROM seals
    WHERE NOT EXISTS (SELECT 1 FROM entries WHERE id = (seals.log << 40 | seals.seq));
ALTER TABLE entries RENAME TO old_entries;
CREATE TABLE entries (
    id INTEGER PRIMARY KEY, conversation INTEGER NOT NULL, lamport INTEGER NOT NULL, received_at_ms INTEGER NOT NULL,
    hash BLOB, signature BLOB, bytes BLOB NOT NULL
);
INSERT INTO entries SELECT e.id, e.conversation, e.lamport, e.received_at_ms, s.hash, s.signature, e.bytes
    FROM old_entries e LEFT JOIN seals s ON s.log = e.id >> 40 AND s.seq = e.id & ((1 << 40) - 1) ORDER BY e.id;
DROP TABLE old_entries;
DROP TABLE seals;
CREATE INDEX entries_shown ON entries (conversation, lamport, received_at_ms);
CREATE INDEX entries_received ON entries (received_at_ms);
ALTER TABLE runs DROP COLUMN last;
CREATE VIEW held (log, first, last, audience) AS
    SELECT log, first, coalesce((
        SELECT e.id FROM entries e WHERE e.id BETWEEN (r.log << 40 | r.first) AND coalesce(
            (SELECT (n.log << 40 | n.first) - 1 FROM runs n WHERE n.log = r.log AND n.first > r.first ORDER BY n.first LIMIT 1),
            r.log << 40 | ((1 << 40) - 1)
        ) ORDER BY e.id DESC LIMIT 1
    ), 0) & ((1 << 40) - 1), audience FROM runs r;
";

/// `policies` has the user's policies about peers. `verified` is the name under which the user verified
/// a peer.
const V3: &str = "
CREATE TABLE policies (
    peer BLOB PRIMARY KEY, ignored INTEGER NOT NULL, blocked INTEGER NOT NULL, verified TEXT
) WITHOUT ROWID;
";

/// `entries.arrival` numbers the entries in the order in which the store received them. It replaces
/// the order by time of receipt, because clocks can jump. A program that continues after the last
/// message it has handled misses none.
const V4: &str = "
ALTER TABLE entries ADD COLUMN arrival INTEGER NOT NULL DEFAULT 0;
UPDATE entries SET arrival = came.place
    FROM (SELECT id, row_number() OVER (ORDER BY received_at_ms, lamport, id) AS place FROM entries) AS came
    WHERE came.id = entries.id;
DROP INDEX entries_received;
CREATE INDEX entries_arrived ON entries (arrival, received_at_ms);
";

/// `offers` has a row with the state of each offer: see [`hobnob_core::commit::OfferRecord`].
const V5: &str = "
CREATE TABLE offers (id INTEGER PRIMARY KEY, state INTEGER NOT NULL, place BLOB, why TEXT);
CREATE INDEX offers_wanted ON offers (id) WHERE state = 1;
";

/// `lingerers.network` is the network by which the peer was reached, or null for a relay. It replaces
/// one fingerprint of all networks in `alive`. An older version did not note the network of each
/// peer, so its lingerers are dropped.
const V7: &str = "
DELETE FROM lingerers;
ALTER TABLE lingerers ADD COLUMN network INTEGER;
ALTER TABLE alive DROP COLUMN network;
";

/// `policies.contact`: the user has accepted the peer, or has written to it. `requests` has what
/// strangers have stored: see [`hobnob_core::commit::RequestRecord`].
const V8: &str = "
ALTER TABLE policies ADD COLUMN contact INTEGER NOT NULL DEFAULT 0;
CREATE TABLE requests (
    peer BLOB PRIMARY KEY, network INTEGER NOT NULL, entries INTEGER NOT NULL, bytes INTEGER NOT NULL
) WITHOUT ROWID;
";

/// `conversations.kind` is [`RoomKind::code`](hobnob_protocol::RoomKind::code) of a room, and 0 of a
/// direct conversation.
const V9: &str = "
ALTER TABLE conversations RENAME COLUMN open TO kind;
UPDATE conversations SET kind = room IS NOT NULL AND NOT kind;
";

/// Bodies can be erased.
///
/// - `entries.state` is [`super::columns::BodyState`].
/// - `awaited` has the entries that their author has deleted and that are not held.
/// - `words` can delete: a contentless table that is given the deleted text leaves nothing of it
///   behind, if `secure-delete` is on.
const V10: &str = "
ALTER TABLE entries ADD COLUMN state INTEGER NOT NULL DEFAULT 0;
CREATE INDEX entries_changed ON entries (state) WHERE state > 0;
CREATE TABLE awaited (log INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (log, seq)) WITHOUT ROWID;
DROP TABLE words;
CREATE VIRTUAL TABLE words USING fts5 (text, content = '');
INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
DELETE FROM indexed;
";

/// `logs.brought_by` is the peer that brought the first entry. An open room's logs are charged to it.
const V11: &str = "
ALTER TABLE logs ADD COLUMN brought_by BLOB;
";

/// `logs.cost` is the cost of the entries of a log in a room with a secret, rounded up. It changes
/// seldom, and saves reading all entries at the start.
const V12: &str = "
ALTER TABLE logs ADD COLUMN cost INTEGER NOT NULL DEFAULT 0;
";

/// `peers.public` and `peers.contact` are the newest records that the peer has signed. They replace
/// its nickname. `peers.relays` are the relays that the user named for it.
const V13: &str = "
ALTER TABLE peers DROP COLUMN nick;
ALTER TABLE peers ADD COLUMN public BLOB;
ALTER TABLE peers ADD COLUMN contact BLOB;
ALTER TABLE peers ADD COLUMN relays TEXT NOT NULL DEFAULT '';
";

/// What this node knows about mailboxes, see [`mail`](super::mail).
const V14: &str = "
CREATE TABLE mail (kind INTEGER NOT NULL, name BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID;
";

/// `refs` has the entries about other entries, by the entry that they name: see
/// [`amendments`](super::amendments). `entries.about` is the kind of such a row, and 0 of other
/// entries. `edited` has the edit whose text is in the search index instead of the message's own.
const V15: &str = "
ALTER TABLE entries ADD COLUMN about INTEGER NOT NULL DEFAULT 0;
CREATE TABLE refs (
    conversation INTEGER NOT NULL, log INTEGER NOT NULL, seq INTEGER NOT NULL, author BLOB NOT NULL,
    kind INTEGER NOT NULL, lamport INTEGER NOT NULL, by_log INTEGER NOT NULL, id INTEGER NOT NULL,
    PRIMARY KEY (conversation, log, seq, author, kind, lamport, by_log, id)
) WITHOUT ROWID;
CREATE INDEX refs_of ON refs (id);
CREATE TABLE edited (target INTEGER PRIMARY KEY, newest INTEGER NOT NULL);
";

/// `words` gets the tokens that [`words`](super::words) makes, under the arrival numbers of the
/// entries. It is filled again.
const V16: &str = "
DROP TABLE words;
CREATE VIRTUAL TABLE words USING fts5 (text, content = '', tokenize = 'ascii');
INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
DELETE FROM indexed;
DELETE FROM edited;
";

/// `client_ids` has the names that programs gave to own entries. A name stays when its entry is erased,
/// so that a program that repeats the request does not write it again.
const V17: &str = "
CREATE TABLE client_ids (client_id TEXT PRIMARY KEY, entry INTEGER NOT NULL UNIQUE) WITHOUT ROWID;
";

/// `policies.by_code`: the code of an invitation verified the peer, and not the safety number.
const V18: &str = "
ALTER TABLE policies ADD COLUMN by_code INTEGER NOT NULL DEFAULT 0;
";

/// `logs.device` is the device that signs the log. Until then it was the author's own key.
const V20: &str = "
CREATE TABLE old_acked AS SELECT log, peer, ranges FROM acked;
DROP TABLE acked;
CREATE TABLE new_logs (
    ordinal INTEGER PRIMARY KEY, conversation INTEGER NOT NULL REFERENCES conversations,
    author BLOB NOT NULL, device BLOB NOT NULL, log INTEGER NOT NULL, brought_by BLOB, cost INTEGER NOT NULL DEFAULT 0,
    UNIQUE (log, author, device, conversation)
);
INSERT INTO new_logs SELECT ordinal, conversation, author, author, log, brought_by, cost FROM logs;
DROP TABLE logs;
ALTER TABLE new_logs RENAME TO logs;
CREATE TABLE acked (
    log INTEGER NOT NULL REFERENCES logs, peer BLOB NOT NULL, ranges BLOB NOT NULL,
    PRIMARY KEY (log, peer)
) WITHOUT ROWID;
INSERT INTO acked SELECT log, peer, ranges FROM old_acked;
DROP TABLE old_acked;
";

/// `mentions` has the arrival numbers of the texts that call for the user: a part of the search index,
/// which is filled again.
const V21: &str = "
CREATE TABLE mentions (arrival INTEGER PRIMARY KEY);
DROP TABLE words;
CREATE VIRTUAL TABLE words USING fts5 (text, content = '', tokenize = 'ascii');
INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
DELETE FROM indexed;
DELETE FROM edited;
";

/// Indexes of topics (`entries.about` 6) and of pins (`refs.kind` 5), of which there are few.
const V22: &str = "
CREATE INDEX entries_topics ON entries (conversation, lamport) WHERE about = 6;
CREATE INDEX refs_pins ON refs (conversation, lamport) WHERE kind = 5;
";

/// `pictures` has profile pictures by their hash. `past_names` has the names that peers had until a
/// moment.
const V24: &str = "
CREATE TABLE pictures (hash BLOB PRIMARY KEY, bytes BLOB NOT NULL);
CREATE TABLE past_names (
    peer BLOB NOT NULL, until_ms INTEGER NOT NULL, nick TEXT NOT NULL, PRIMARY KEY (peer, until_ms)
) WITHOUT ROWID;
";

/// The tables that are checked at each start. All others depend on them, and they are small. Damage
/// in other tables is detected when they are read: entries are checked against their hashes.
const CHECKED: [&str; 10] = [
    "conversations",
    "logs",
    "runs",
    "bases",
    "audiences",
    "lingerers",
    "acked",
    "policies",
    "requests",
    "awaited",
];

/// Rejects a database that `migrations` can't migrate. Changes nothing.
pub(super) fn refuse_foreign(conn: &Connection, migrations: &[Migration]) -> Result<(), Fault> {
    let (found, known) = (version(conn)?, newest(migrations));
    if found > known {
        return Err(Fault::Newer { found, known });
    }
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if found == 0 && tables > 0 {
        return Err(Fault::Damaged("a database of another program".to_owned()));
    }
    Ok(())
}

/// Rejects a database that `migrations` would change.
pub(super) fn refuse_older(conn: &Connection, migrations: &[Migration]) -> Result<(), Fault> {
    if version(conn)? < newest(migrations) {
        return Err(Fault::Damaged("an older version wrote it".to_owned()));
    }
    Ok(())
}

/// Whether all other tables depend on this one.
pub(super) fn is_checked(table: &str) -> bool {
    CHECKED.contains(&table)
}

/// Runs all missing migrations in one transaction.
pub(super) fn migrate(conn: &mut Connection, migrations: &[Migration]) -> Result<(), Fault> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = usize::try_from(version(&tx)?).expect("a u32 fits");
    for step in migrations.iter().skip(found) {
        match step {
            Migration::Sql(statements) => tx.execute_batch(statements)?,
            Migration::Rows(change) => change(&tx)?,
        }
    }
    if found < migrations.len() {
        tx.pragma_update(None, "user_version", newest(migrations))?;
    }
    Ok(tx.commit()?)
}

/// The other tables with rows that can't be computed again. FTS5 has its own tables.
const UNCHECKED: [&str; 9] = [
    "entries",
    "refs",
    "offers",
    "settings",
    "peers",
    "mail",
    "client_ids",
    "pictures",
    "past_names",
];

/// SQLite's own check of all tables, which compares each index with its table.
pub(super) fn check_all(conn: &Connection) -> Result<(), Fault> {
    for table in CHECKED.iter().chain(&UNCHECKED) {
        check_table(conn, "integrity_check", table)?;
    }
    Ok(())
}

/// SQLite's own check of the structure of [`CHECKED`].
pub(super) fn check(conn: &Connection) -> Result<(), Fault> {
    for table in CHECKED {
        check_table(conn, "quick_check", table)?;
    }
    Ok(())
}

fn check_table(conn: &Connection, pragma: &str, table: &str) -> Result<(), Fault> {
    let sql = format!("PRAGMA {pragma}('{table}')");
    let found: String = conn.query_row(&sql, [], |row| row.get(0))?;
    if found == "ok" {
        Ok(())
    } else {
        Err(Fault::Damaged(format!("table {table}: {found}")))
    }
}

fn newest(migrations: &[Migration]) -> u32 {
    u32::try_from(migrations.len()).expect("a handful of versions")
}

fn version(conn: &Connection) -> Result<u32, Fault> {
    // The field is signed, but no version is negative.
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    u32::try_from(version).map_err(|_| Fault::Damaged(format!("its version is {version}")))
}
