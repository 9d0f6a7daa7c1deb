//! Entries about other entries: replies, edits, reactions and deletions, by the entry that they name.
//!
//! The table `refs` has a row for each of them. It names the target by its log and number, because
//! the target may arrive later, or never.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use hobnob_protocol::entry::Relation;
use hobnob_protocol::{Body, ConversationId, Entry, LogId, LogName, PersonId, Ranges, Seq};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::columns::{self, EntryId, number};
use super::error::Fault;
use super::proofs::Proofs;

/// Maximum edits of one message that an answer shows: the newest ones.
pub(super) const EDITS_SHOWN_MAX: usize = 20;

/// Maximum reactions to one message that are looked at: the newest ones.
pub(super) const REACTIONS_READ_MAX: usize = 1_000;

/// Maximum pinned messages of one conversation that are found: those pinned last.
pub(super) const PINS_SHOWN_MAX: usize = 100;

/// Maximum decisions about pins of one conversation that are looked at: the newest ones.
const PINS_READ_MAX: usize = 1_000;

/// Maximum messages of one thread that are found.
pub(super) const THREAD_MAX: usize = 10_000;

/// Maximum steps from a reply to the message that began the thread.
const THREAD_DEPTH_MAX: usize = 1_000;

/// The column `entries.about` of an entry that names another one in a way that is not known here.
const ABOUT_OTHER: i64 = 9;

/// The column `entries.about` of a topic, which names no other entry. The index `entries_topics` has
/// them.
const ABOUT_TOPIC: i64 = 6;

/// The number of a relation in the columns `entries.about` and `refs.kind`.
fn code(relation: Relation) -> i64 {
    match relation {
        Relation::Reply => 1,
        Relation::Edit => 2,
        Relation::React => 3,
        Relation::Delete => 4,
        Relation::Pin => 5,
    }
}

/// Whether this value of the column `entries.about` is of an edit.
pub(super) fn is_edit(about: i64) -> bool {
    about == code(Relation::Edit)
}

/// The value of the column `entries.about`: 0 if the entry names no other.
pub(super) fn about(entry: &Entry) -> i64 {
    match (entry.about(), entry.body.relation()) {
        (Some(_), Some(relation)) => code(relation),
        (Some(_), None) => ABOUT_OTHER,
        (None, _) if matches!(entry.body, Body::Topic(_)) => ABOUT_TOPIC,
        (None, _) => 0,
    }
}

/// Adds the row of an entry that names another one.
pub(super) fn note(
    conn: &Connection,
    conversation: i64,
    name: &LogName,
    id: EntryId,
    entry: &Entry,
) -> Result<(), Fault> {
    let (Some(about), Some(relation)) = (entry.about(), entry.body.relation()) else {
        return Ok(());
    };
    let author = about.author.unwrap_or(name.author);
    // Nobody can answer what is not written yet. An edit of it would confuse the index.
    if author == name.author && about.log == name.log && about.seq >= id.seq() {
        return Ok(());
    }
    conn.prepare_cached(
        "INSERT OR IGNORE INTO refs (conversation, log, seq, author, kind, lamport, by_log, id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        conversation,
        about.log.0.cast_signed(),
        number(about.seq),
        author.as_bytes(),
        code(relation),
        number(entry.lamport),
        name.log.0.cast_signed(),
        id.0
    ])?;
    Ok(())
}

/// Finds the topics and pins that versions before them have stored.
pub(super) fn note_topics_and_pins(conn: &Connection) -> Result<(), Fault> {
    // An entry begins with its kind.
    let mut query = conn.prepare(
        "SELECT e.id, e.bytes, e.conversation, c.id, l.author, l.device, l.log
         FROM entries e JOIN logs l ON l.ordinal = e.id >> 40
         JOIN conversations c ON c.ordinal = e.conversation
         WHERE substr(e.bytes, 1, 1) IN (x'08', x'09')",
    )?;
    let mut update = conn.prepare("UPDATE entries SET about = ?2 WHERE id = ?1")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        // A damaged entry is reported when it is read.
        let Ok(entry) = columns::bytes(row, 1).and_then(columns::entry) else {
            continue;
        };
        let id = EntryId(row.get(0)?);
        let name = columns::log_name(row, 3)?;
        note(conn, row.get(2)?, &name, id, &entry)?;
        update.execute(params![id.0, about(&entry)])?;
    }
    Ok(())
}

/// Deletes the rows of entries between two entries of a log.
pub(super) fn trim(conn: &Connection, first: EntryId, last: EntryId) -> Result<(), Fault> {
    conn.prepare_cached("DELETE FROM refs WHERE id BETWEEN ?1 AND ?2")?
        .execute([first.0, last.0])?;
    Ok(())
}

/// The edits between two entries of a log.
pub(super) fn edits_between(
    conn: &Connection,
    first: EntryId,
    last: EntryId,
) -> Result<Vec<EntryId>, Fault> {
    let mut query =
        conn.prepare_cached("SELECT id FROM refs WHERE id BETWEEN ?1 AND ?2 AND kind = 2")?;
    let ids = query.query_map([first.0, last.0], |row| Ok(EntryId(row.get(0)?)))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// The message that an edit is about, if it is held.
pub(super) fn target_of_edit(conn: &Connection, edit: EntryId) -> Result<Option<EntryId>, Fault> {
    target_of(conn, edit, Relation::Edit)
}

/// The entry that this one is about, if it is held.
fn target_of(conn: &Connection, id: EntryId, relation: Relation) -> Result<Option<EntryId>, Fault> {
    let mut query = conn.prepare_cached(
        "SELECT e.id FROM refs r CROSS JOIN logs l
            ON l.log = r.log AND l.author = r.author AND l.conversation = r.conversation
         CROSS JOIN entries e ON e.id = (l.ordinal << 40 | r.seq) WHERE r.id = ?1 AND r.kind = ?2",
    )?;
    let target = query.query_row([id.0, code(relation)], |row| Ok(EntryId(row.get(0)?)));
    Ok(target.optional()?)
}

/// The rows about one entry, newest first. The statement goes on with conditions on `r` and `e`.
const ABOUT_ONE: &str = "
SELECT r.id, e.bytes, a.author, c.id, a.author, a.device, a.log FROM logs l
CROSS JOIN refs r ON r.conversation = l.conversation AND r.log = l.log AND r.author = l.author
CROSS JOIN entries e ON e.id = r.id
CROSS JOIN logs a ON a.ordinal = r.id >> 40
CROSS JOIN conversations c ON c.ordinal = a.conversation
WHERE l.ordinal = ?1 AND r.seq = ?2";

const NEWEST_FIRST: &str = "ORDER BY r.lamport DESC, r.by_log DESC, r.id DESC";

/// The index asks it for every message.
static NEWEST_EDIT: LazyLock<String> = LazyLock::new(|| {
    format!("{ABOUT_ONE} AND r.kind = 2 AND e.state = 0 AND r.id != ?3 {NEWEST_FIRST} LIMIT 1")
});

/// The newest edit of a message whose text is here, apart from `except`.
pub(super) fn newest_edit(
    conn: &Connection,
    of: EntryId,
    except: Option<EntryId>,
) -> Result<Option<(EntryId, String)>, Fault> {
    let except = except.map_or(-1, |id| id.0);
    let mut query = conn.prepare_cached(&NEWEST_EDIT)?;
    let mut rows = query.query(params![of.log(), number(of.seq()), except])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let text = text_of(columns::bytes(row, 1)?)?;
    Ok(Some((EntryId(row.get(0)?), text)))
}

fn text_of(bytes: &[u8]) -> Result<String, Fault> {
    let entry = columns::entry(bytes)?;
    let text = entry.body.text();
    let text = text.ok_or_else(|| Fault::Damaged("an edit without a text".to_owned()))?;
    Ok(text.to_owned())
}

/// The facts about a message that other entries add.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amendments {
    /// The message that it answers.
    pub reply_to: Option<Quoted>,
    /// Its newest edits, oldest first: at most `EDITS_SHOWN_MAX`.
    pub edits: Vec<EditRow>,
    /// Each emoji, in the order in which the first of those who still have it added it, and who has
    /// added it.
    pub reactions: Vec<(String, Vec<PersonId>)>,
    /// The author's deletion of it.
    pub deletion: Option<(LogName, Seq)>,
}

/// An edit of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditRow {
    /// The new text.
    pub text: String,
    /// The author's clock, in milliseconds since the Unix epoch.
    pub sent_at_ms: u64,
}

/// A message that another one answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quoted {
    /// Its author.
    pub author: PersonId,
    /// Its log.
    pub log: LogId,
    /// Its number in the log.
    pub seq: Seq,
    /// Its newest content, if it is here.
    pub body: Option<Body>,
}

/// Everything that other entries add to this one. Damaged entries add nothing.
pub(super) fn of(
    proofs: &mut Proofs<'_>,
    name: &LogName,
    id: EntryId,
    entry: &Entry,
) -> Result<Amendments, Fault> {
    let reply_to = match (&entry.body.relation(), entry.about()) {
        (Some(Relation::Reply), Some(about)) => {
            let author = about.author.unwrap_or(name.author);
            let (log, seq) = (about.log, about.seq);
            let body = quoted(
                proofs,
                &LogName {
                    author,
                    device: author.only_device(),
                    log,
                    ..*name
                },
                seq,
            )?;
            Some(Quoted {
                author,
                log,
                seq,
                body,
            })
        }
        (Some(_) | None, _) => None,
    };
    let mut amendments = Amendments {
        reply_to,
        ..Amendments::default()
    };
    if !has_any(proofs.conn(), id)? {
        return Ok(amendments);
    }
    if is_editable(&entry.body) {
        amendments.edits = edits(proofs, id)?;
    }
    amendments.reactions = reactions(proofs, id)?;
    let deleted = |row: &Row<'_>| Ok((columns::log_name(row, 3)?, EntryId(row.get(0)?).seq()));
    amendments.deletion = about_one(proofs.conn(), id, Relation::Delete, 1, deleted)?.pop();
    Ok(amendments)
}

/// Whether the text of a message can be replaced.
pub(super) fn is_editable(body: &Body) -> bool {
    matches!(body, Body::Text(_) | Body::Reply { .. })
}

fn has_any(conn: &Connection, id: EntryId) -> Result<bool, Fault> {
    let mut query = conn.prepare_cached(
        "SELECT 1 FROM logs l CROSS JOIN refs r ON r.conversation = l.conversation
            AND r.log = l.log AND r.author = l.author
         WHERE l.ordinal = ?1 AND r.seq = ?2 AND r.kind != 1 LIMIT 1",
    )?;
    Ok(query.exists([id.log(), number(id.seq())])?)
}

fn about_one<T>(
    conn: &Connection,
    id: EntryId,
    relation: Relation,
    most: usize,
    mut read: impl FnMut(&Row<'_>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let bodies = match relation {
        Relation::Delete => "",
        Relation::Reply | Relation::Edit | Relation::React | Relation::Pin => "AND e.state = 0",
    };
    let sql = format!("{ABOUT_ONE} AND r.kind = ?3 {bodies} {NEWEST_FIRST} LIMIT {most}");
    let mut query = conn.prepare_cached(&sql)?;
    let mut rows = query.query(params![id.log(), number(id.seq()), code(relation)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

fn edits(proofs: &mut Proofs<'_>, id: EntryId) -> Result<Vec<EditRow>, Fault> {
    let conn = proofs.conn();
    let edits = about_one(conn, id, Relation::Edit, EDITS_SHOWN_MAX, |row| {
        let entry = proved_entry(proofs, row)?;
        Ok(entry.map(|entry| EditRow {
            text: entry.body.text().unwrap_or_default().to_owned(),
            sent_at_ms: entry.sent_at_ms,
        }))
    })?;
    Ok(edits.into_iter().flatten().rev().collect())
}

/// The entry of a row of [`ABOUT_ONE`], unless it is damaged.
fn proved_entry(proofs: &mut Proofs<'_>, row: &Row<'_>) -> Result<Option<Entry>, Fault> {
    match proofs.proves(EntryId(row.get(0)?))? {
        true => columns::entry(columns::bytes(row, 1)?).map(Some),
        false => Ok(None),
    }
}

/// The newest decision of each author about each emoji counts.
fn reactions(proofs: &mut Proofs<'_>, id: EntryId) -> Result<Vec<(String, Vec<PersonId>)>, Fault> {
    let conn = proofs.conn();
    let rows = about_one(conn, id, Relation::React, REACTIONS_READ_MAX, |row| {
        let entry = proved_entry(proofs, row)?;
        let peer = columns::peer(row, 2)?;
        Ok(entry.map(|entry| (peer, entry.body)))
    })?;
    let mut decided: BTreeMap<(PersonId, String), bool> = BTreeMap::new();
    let mut newest_first: Vec<(String, PersonId)> = Vec::new();
    for (peer, body) in rows.into_iter().flatten() {
        if let Body::React { emoji, on, .. } = body
            && !decided.contains_key(&(peer, emoji.clone()))
        {
            decided.insert((peer, emoji.clone()), on);
            if on {
                newest_first.push((emoji, peer));
            }
        }
    }
    let mut reactions: Vec<(String, Vec<PersonId>)> = Vec::new();
    for (emoji, peer) in newest_first.into_iter().rev() {
        match reactions.iter_mut().find(|(other, _)| *other == emoji) {
            Some((_, peers)) => peers.push(peer),
            None => reactions.push((emoji, vec![peer])),
        }
    }
    Ok(reactions)
}

/// The newest content of a message, if it is here and shown.
fn quoted(proofs: &mut Proofs<'_>, name: &LogName, seq: Seq) -> Result<Option<Body>, Fault> {
    let conn = proofs.conn();
    let Some(log) = super::chain::log_ordinal(conn, name)? else {
        return Ok(None);
    };
    let Ok(id) = EntryId::new(log, seq) else {
        return Ok(None);
    };
    let mut query = conn.prepare_cached("SELECT bytes FROM entries WHERE id = ?1 AND state = 0")?;
    let mut rows = query.query([id.0])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    if !proofs.proves(id)? {
        return Ok(None);
    }
    let body = columns::entry(columns::bytes(row, 0)?)?.body;
    if !is_editable(&body) {
        return Ok(Some(body));
    }
    let newest = edits(proofs, id)?.pop();
    Ok(Some(newest.map_or(body, |edit| Body::Text(edit.text))))
}

/// The edits of a message, which are deleted with it.
pub(super) fn edits_of(
    conn: &Connection,
    name: &LogName,
    seq: Seq,
) -> Result<BTreeMap<LogName, Ranges>, Fault> {
    let mut found: BTreeMap<LogName, Ranges> = BTreeMap::new();
    let Some(log) = super::chain::log_ordinal(conn, name)? else {
        return Ok(found);
    };
    let id = EntryId::new(log, seq)?;
    let edits = about_one(conn, id, Relation::Edit, THREAD_MAX, |row| {
        Ok((columns::log_name(row, 3)?, EntryId(row.get(0)?).seq()))
    })?;
    for (name, seq) in edits {
        found.entry(name).or_default().insert(seq, seq);
    }
    Ok(found)
}

/// The edits of messages of a conversation that were erased, or that arrived before this time.
pub(super) fn edits_of_older(
    conn: &Connection,
    conversation: &[u8],
    before_ms: u64,
    found: &mut BTreeMap<LogName, Ranges>,
) -> Result<(), Fault> {
    let mut query = conn.prepare_cached(
        "SELECT c.id, a.author, a.device, a.log, e.id FROM conversations c
         CROSS JOIN refs r ON r.conversation = c.ordinal AND r.kind = 2
         CROSS JOIN entries e ON e.id = r.id AND e.state = 0
         CROSS JOIN logs a ON a.ordinal = r.id >> 40
         CROSS JOIN logs l ON l.log = r.log AND l.author = r.author AND l.conversation = r.conversation
         CROSS JOIN entries t ON t.id = (l.ordinal << 40 | r.seq)
         WHERE c.id = ?1 AND (t.state IN (1, 3) OR t.received_at_ms < ?2) LIMIT 10000",
    )?;
    let mut rows = query.query(params![conversation, number(before_ms)])?;
    while let Some(row) = rows.next()? {
        let seq = EntryId(row.get(4)?).seq();
        let of_log = found.entry(columns::log_name(row, 0)?).or_default();
        of_log.insert(seq, seq);
    }
    Ok(())
}

/// The message that began the thread of this one.
pub(super) fn thread_root(conn: &Connection, of: EntryId) -> Result<EntryId, Fault> {
    let mut root = of;
    for _ in 0..THREAD_DEPTH_MAX {
        match target_of(conn, root, Relation::Reply)? {
            Some(up) => root = up,
            None => break,
        }
    }
    Ok(root)
}

/// A condition on `e`: the entry belongs to the thread that the entry `?` began.
pub(super) fn in_thread() -> String {
    format!(
        " AND e.id IN (WITH RECURSIVE thread (id) AS (VALUES (?) UNION
            SELECT r.id FROM thread t CROSS JOIN logs l ON l.ordinal = t.id >> 40
            CROSS JOIN refs r ON r.conversation = l.conversation AND r.log = l.log
                AND r.seq = t.id & ((1 << 40) - 1) AND r.author = l.author AND r.kind = 1
            LIMIT {THREAD_MAX}) SELECT id FROM thread)"
    )
}

/// The topic of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRow {
    /// The text, never empty.
    pub text: String,
    /// Who set it.
    pub author: PersonId,
    /// The author's clock, in milliseconds since the Unix epoch.
    pub sent_at_ms: u64,
}

/// The topics of all conversations that have one: the newest in the order that is the same on every
/// node. Topics of authors whom the user ignores or has blocked do not count.
pub(super) fn topics(proofs: &mut Proofs<'_>) -> Result<BTreeMap<ConversationId, TopicRow>, Fault> {
    let conn = proofs.conn();
    let mut query = conn.prepare_cached(
        "SELECT e.id, e.bytes, l.author, c.id FROM conversations c CROSS JOIN entries e
         CROSS JOIN logs l ON l.ordinal = e.id >> 40
         WHERE c.room IS NOT NULL AND e.id = (
            SELECT t.id FROM entries t INDEXED BY entries_topics
            CROSS JOIN logs a ON a.ordinal = t.id >> 40
            WHERE t.conversation = c.ordinal AND t.about = 6 AND t.state = 0
                AND NOT EXISTS (SELECT 1 FROM policies p WHERE p.peer = a.author AND (p.ignored OR p.blocked))
            ORDER BY t.lamport DESC, a.author DESC, a.log < 0 DESC, a.log DESC, t.id DESC LIMIT 1)",
    )?;
    let mut rows = query.query([])?;
    let mut found = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let Some(entry) = proved_entry(proofs, row)? else {
            continue;
        };
        let Body::Topic(text) = entry.body else {
            continue;
        };
        if !text.is_empty() {
            let (author, sent_at_ms) = (columns::peer(row, 2)?, entry.sent_at_ms);
            let topic = TopicRow {
                text,
                author,
                sent_at_ms,
            };
            found.insert(columns::conversation(row, 3)?, topic);
        }
    }
    Ok(found)
}

/// The pinned messages of a conversation whose contents are here, the one pinned last at the end. The
/// newest decision about each message counts, whoever made it.
pub(super) fn pinned(
    proofs: &mut Proofs<'_>,
    conversation: ConversationId,
) -> Result<Vec<EntryId>, Fault> {
    let conn = proofs.conn();
    let sql = format!(
        "SELECT r.id, e.bytes, t.id FROM conversations c
         CROSS JOIN refs r INDEXED BY refs_pins ON r.conversation = c.ordinal AND r.kind = 5
         CROSS JOIN entries e ON e.id = r.id AND e.state = 0
         CROSS JOIN logs a ON a.ordinal = r.id >> 40
         CROSS JOIN logs l ON l.log = r.log AND l.author = r.author AND l.conversation = r.conversation
         CROSS JOIN entries t ON t.id = (l.ordinal << 40 | r.seq) AND t.state = 0 AND t.about NOT IN (2, 3)
         WHERE c.id = ?1
            AND NOT EXISTS (SELECT 1 FROM policies p WHERE p.peer IN (a.author, l.author) AND (p.ignored OR p.blocked))
         ORDER BY r.lamport DESC, a.author DESC, a.log < 0 DESC, a.log DESC, r.id DESC LIMIT {PINS_READ_MAX}"
    );
    let mut query = conn.prepare_cached(&sql)?;
    let mut rows = query.query([conversation.as_bytes()])?;
    let (mut decided, mut pinned) = (BTreeSet::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let Some(entry) = proved_entry(proofs, row)? else {
            continue;
        };
        let target = EntryId(row.get(2)?);
        if let Body::Pin { on, .. } = entry.body
            && decided.insert(target.0)
            && on
            && pinned.len() < PINS_SHOWN_MAX
        {
            pinned.push(target);
        }
    }
    pinned.reverse();
    Ok(pinned)
}
