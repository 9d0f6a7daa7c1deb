//! Reads messages for users: history, search and single entries.

use std::collections::BTreeMap;

use hobnob_core::ClientId;
use hobnob_protocol::{ConversationId, Entry, LogId, LogName, Ranges, Seq};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::amendments::{self, Amendments};
use super::chain;
use super::columns::{self, BodyState, EntryId, SEQ_BITS, SEQ_MAX, number};
use super::error::Fault;
use super::index;
use super::proofs::Proofs;
use super::words::SearchTerms;

/// Maximum number of rows in one answer. Use [`HistoryRequest::before`] for older ones.
pub const HISTORY_ROWS_MAX: usize = 10_000;

/// Maximum number of the newest entries that are searched for what the index does not have.
const SCANNED_MAX: usize = 100_000;

/// Maximum number of entries in one answer of [`older_than`].
const OLDER_MAX: usize = 10_000;

/// Which entries to read.
#[derive(Debug, Clone, Default)]
pub struct HistoryRequest {
    /// Only entries of this conversation. `None` means all conversations.
    pub conversation: Option<ConversationId>,
    /// Only texts with all of these words, or with words that have them as a part: see
    /// `words`. The rows are then in arrival order, also those of one conversation.
    pub search: Option<String>,
    /// Only entries received at or after this time, in milliseconds since the Unix epoch.
    pub since_ms: Option<u64>,
    /// Only entries before this one. If it is not held, there are none, because the store deletes
    /// the oldest entries first.
    pub before: Option<(LogId, Seq)>,
    /// Only entries after this one. If it is not held, the answer is an error, because some of
    /// those entries may be missing.
    pub after: Option<(LogId, Seq)>,
    /// Only the thread of this message: the message that began it, and all replies.
    pub thread: Option<(LogId, Seq)>,
    /// Only texts of others that call for the user: see [`Mentions`](super::Mentions). The rows are
    /// in arrival order.
    pub mentions: bool,
    /// For users: no entries of authors that the user ignores or has blocked, and no edits and
    /// reactions, which are part of the messages that they are about.
    pub shown: bool,
    /// Return the oldest entries that match instead of the newest.
    pub oldest: bool,
    /// Maximum number of entries, at most [`HISTORY_ROWS_MAX`].
    pub limit: usize,
}

/// A stored entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRow {
    /// Its log.
    pub name: LogName,
    /// Its number in the log.
    pub seq: Seq,
    /// The entry.
    pub entry: Entry,
    /// This node's clock when it received or wrote the entry, in milliseconds since the Unix epoch.
    pub received_at_ms: u64,
    /// Whether the author deleted the entry. Otherwise an entry without a body has not arrived
    /// completely.
    pub deleted: bool,
    /// The facts that other entries add, in answers for users.
    pub amendments: Amendments,
    /// The name that the program gave it that wrote it, if it is from this node.
    pub client_id: Option<String>,
    /// Whether it called for the user when it was indexed. None if it is not in the index yet.
    pub mention: Option<bool>,
}

/// The newest (or oldest) rows that match the request, oldest first.
///
/// Rows of one conversation are in display order: Lamport number, author, log, number. This order
/// is the same on every node. Rows of all conversations, and the results of a search, are in
/// arrival order. Damaged entries are left out. The newest rows end before a page that can't be
/// read.
pub(super) fn read(
    proofs: &mut Proofs<'_>,
    request: &HistoryRequest,
) -> Result<Vec<HistoryRow>, Fault> {
    let conn = proofs.conn();
    let search = request.search.as_deref().and_then(SearchTerms::of);
    let Some(query) = Query::of(conn, request, search.as_ref())? else {
        return Ok(Vec::new());
    };
    let mut statement = conn.prepare_cached(&query.sql)?;
    let mut found = statement.query(params_from_iter(query.values))?;
    let scanned = search.filter(SearchTerms::needs_scan);
    let limit = request.limit.min(HISTORY_ROWS_MAX);
    let mut rows = Vec::new();
    // A program that continues after a message must not miss any. So it gets an error instead.
    let may_end_early = !request.oldest && request.after.is_none();
    while rows.len() < limit {
        let row = match found.next().map_err(Fault::from) {
            Ok(Some(row)) => row,
            Ok(None) => break,
            // The page of an older entry can't be read.
            Err(fault) if fault.is_damage() && may_end_early && !rows.is_empty() => {
                proofs.note_damage();
                break;
            }
            Err(fault) => return Err(fault),
        };
        let id = EntryId(row.get(0)?);
        if !proofs.proves(id)? {
            continue;
        }
        let mut read = history_row(row)?;
        if let Some(terms) = &scanned {
            let text = index::shown_text(conn, id, &read.entry.body)?;
            if !text.is_some_and(|text| terms.needles_in(&text)) {
                continue;
            }
        }
        if request.shown {
            read.amendments = amendments::of(proofs, &read.name, id, &read.entry)?;
        }
        rows.push(read);
    }
    if !request.oldest {
        rows.reverse();
    }
    Ok(rows)
}

/// The held entries among `first..=last` of a log, at most [`HISTORY_ROWS_MAX`], without damaged
/// ones.
pub(super) fn entries(
    proofs: &mut Proofs<'_>,
    name: &LogName,
    first: Seq,
    last: Seq,
) -> Result<Vec<HistoryRow>, Fault> {
    let conn = proofs.conn();
    let Some(log) = chain::log_ordinal(conn, name)? else {
        return Ok(Vec::new());
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM entries e {JOINS} WHERE e.id BETWEEN ?1 AND ?2 ORDER BY e.id LIMIT {HISTORY_ROWS_MAX}"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let (first, last) = (
        EntryId::new(log, first.min(SEQ_MAX))?,
        EntryId::new(log, last.min(SEQ_MAX))?,
    );
    collect(proofs, statement.query([first.0, last.0])?)
}

/// The entry with this number in the log with this id. If two authors use one id, it is the log
/// that was stored first.
pub(super) fn message(
    proofs: &mut Proofs<'_>,
    log: LogId,
    seq: Seq,
) -> Result<Option<HistoryRow>, Fault> {
    let conn = proofs.conn();
    let Some(position) = Position::of(conn, log, seq, None)? else {
        return Ok(None);
    };
    let sql = format!("SELECT {COLUMNS} FROM entries e {JOINS} WHERE e.id = ?1");
    let mut statement = conn.prepare_cached(&sql)?;
    Ok(collect(proofs, statement.query([position.id])?)?.pop())
}

/// The pinned messages of a conversation, as users see them, the one pinned last at the end.
pub(super) fn pinned(
    proofs: &mut Proofs<'_>,
    conversation: ConversationId,
) -> Result<Vec<HistoryRow>, Fault> {
    let conn = proofs.conn();
    let sql = format!("SELECT {COLUMNS} FROM entries e {JOINS} WHERE e.id = ?1");
    let mut statement = conn.prepare_cached(&sql)?;
    let mut found = Vec::new();
    for id in amendments::pinned(proofs, conversation)? {
        let Some(mut row) = collect(proofs, statement.query([id.0])?)?.pop() else {
            continue;
        };
        row.amendments = amendments::of(proofs, &row.name, id, &row.entry)?;
        found.push(row);
    }
    Ok(found)
}

/// The entry to which a program gave this name.
pub(super) fn named(conn: &Connection, id: &ClientId) -> Result<Option<(LogName, Seq)>, Fault> {
    let mut query = conn.prepare_cached(
        "SELECT c.id, l.author, l.device, l.log, k.entry FROM client_ids k
         CROSS JOIN logs l ON l.ordinal = k.entry >> 40
         CROSS JOIN conversations c ON c.ordinal = l.conversation WHERE k.client_id = ?1",
    )?;
    let mut rows = query.query([id.as_str()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    Ok(Some((
        columns::log_name(row, 0)?,
        EntryId(row.get(4)?).seq(),
    )))
}

/// The entries of a conversation that have a body and that arrived before this time. At most
/// [`OLDER_MAX`]: the caller erases them and asks again.
pub(super) fn older_than(
    conn: &Connection,
    conversation: ConversationId,
    before_ms: u64,
) -> Result<BTreeMap<LogName, Ranges>, Fault> {
    let sql = format!(
        "SELECT c.id, l.author, l.device, l.log, e.id FROM entries e {JOINS}
         WHERE e.conversation = (SELECT ordinal FROM conversations WHERE id = ?1)
           AND e.state = 0 AND e.received_at_ms < ?2
         ORDER BY e.id LIMIT {OLDER_MAX}"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params![conversation.as_bytes(), number(before_ms)])?;
    let mut found: BTreeMap<LogName, Ranges> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let seq = EntryId(row.get(4)?).seq();
        let of_log = found.entry(columns::log_name(row, 0)?).or_default();
        of_log.insert(seq, seq);
    }
    amendments::edits_of_older(conn, conversation.as_bytes(), before_ms, &mut found)?;
    Ok(found)
}

// Statements of the store contain this number.
const _: () = assert!(SEQ_BITS == 40);

pub(super) const COLUMNS: &str = "e.id, e.received_at_ms, e.bytes, c.id, l.author, l.device, l.log, e.state, (SELECT client_id FROM client_ids WHERE entry = e.id), CASE WHEN EXISTS (SELECT 1 FROM mentions WHERE arrival = e.arrival) THEN 1 WHEN EXISTS (SELECT 1 FROM indexed WHERE log = e.id >> 40 AND e.id & ((1 << 40) - 1) BETWEEN first AND last) THEN 0 END";

/// CROSS JOIN makes SQLite start at the index that has the order.
pub(super) const JOINS: &str = "CROSS JOIN logs l ON l.ordinal = e.id >> 40 CROSS JOIN conversations c ON c.ordinal = l.conversation";

fn collect(
    proofs: &mut Proofs<'_>,
    mut rows: rusqlite::Rows<'_>,
) -> Result<Vec<HistoryRow>, Fault> {
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if proofs.proves(EntryId(row.get(0)?))? {
            found.push(history_row(row)?);
        }
    }
    Ok(found)
}

pub(super) fn history_row(row: &Row<'_>) -> Result<HistoryRow, Fault> {
    let bytes = row
        .get_ref(2)?
        .as_blob()
        .map_err(|error| Fault::Damaged(error.to_string()))?;
    Ok(HistoryRow {
        name: columns::log_name(row, 3)?,
        seq: EntryId(row.get(0)?).seq(),
        entry: columns::entry(bytes)?,
        received_at_ms: columns::count(row, 1)?,
        deleted: BodyState::read(row, 7)? == BodyState::Deleted,
        amendments: Amendments::default(),
        client_id: row.get(8)?,
        mention: row.get(9)?,
    })
}

/// The position of an entry in each order.
struct Position {
    arrival: i64,
    lamport: i64,
    author: Vec<u8>,
    log: i64,
    id: i64,
}

impl Position {
    fn of(
        conn: &Connection,
        log: LogId,
        seq: Seq,
        within: Option<i64>,
    ) -> Result<Option<Self>, Fault> {
        if seq > SEQ_MAX {
            return Ok(None);
        }
        let mut query = conn.prepare_cached(
            "SELECT e.arrival, e.lamport, l.author, l.log, e.id
             FROM logs l CROSS JOIN entries e ON e.id = ((l.ordinal << 40) | ?2)
             WHERE l.log = ?1 AND l.conversation = coalesce(?3, l.conversation) ORDER BY l.ordinal LIMIT 1",
        )?;
        let position = query.query_row(params![log.0.cast_signed(), number(seq), within], |row| {
            let [arrival, lamport, log, id] = [row.get(0)?, row.get(1)?, row.get(3)?, row.get(4)?];
            Ok(Self {
                arrival,
                lamport,
                author: row.get(2)?,
                log,
                id,
            })
        });
        Ok(position.optional()?)
    }
}

/// Builds a statement that reads forward or backward from a position.
struct Query {
    sql: String,
    values: Vec<Value>,
    /// The column with the arrival number.
    arrival: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// That of a conversation, which is the same on every node.
    Display,
    /// That in which the store received the entries.
    Arrival,
}

impl Query {
    /// `None` if nothing can match.
    fn of(
        conn: &Connection,
        request: &HistoryRequest,
        search: Option<&SearchTerms>,
    ) -> Result<Option<Self>, Fault> {
        let within = match request.conversation {
            None => None,
            Some(id) => match ordinal(conn, id)? {
                None => return Ok(None),
                known => known,
            },
        };
        let order = match (search, within) {
            (None, Some(_)) if !request.mentions => Order::Display,
            (Some(_) | None, _) => Order::Arrival,
        };
        let mut query = Self::along(within, search, request.mentions);
        // A program that reads in arrival order gets a message when its body arrives. A page of one
        // conversation has placeholders.
        let states = if within.is_some() {
            " AND e.state IN (0, 2, 3)"
        } else {
            " AND e.state = 0"
        };
        query.add(states, []);
        if let Some(since_ms) = request.since_ms {
            query.add(" AND e.received_at_ms >= ?", [number(since_ms).into()]);
        }
        if let Some((log, seq)) = request.thread {
            let position = Position::of(conn, log, seq, within)?.ok_or(Fault::NotHeld)?;
            let root = amendments::thread_root(conn, EntryId(position.id))?;
            query.add(&amendments::in_thread(), [root.0.into()]);
        }
        if request.shown {
            query.add(" AND e.about NOT IN (2, 3)", []);
            query.add(" AND NOT EXISTS (SELECT 1 FROM policies p WHERE p.peer = l.author AND (p.ignored OR p.blocked))", []);
        }
        if let Some((log, seq)) = request.before {
            let Some(position) = Position::of(conn, log, seq, within)? else {
                return Ok(None);
            };
            query.add_bound(order, position, "<");
        }
        if let Some((log, seq)) = request.after {
            let position = Position::of(conn, log, seq, within)?.ok_or(Fault::NotHeld)?;
            query.add_bound(order, position, ">");
        }
        // A scan looks at more rows than it returns, and ends by itself.
        let is_scan = search.is_some_and(SearchTerms::needs_scan);
        query.add_order(order, request, is_scan);
        Ok(Some(query))
    }

    /// Chooses the table and the order: the search index, the display order of one conversation, or
    /// the arrival order.
    fn along(within: Option<i64>, search: Option<&SearchTerms>, mentions: bool) -> Self {
        let indexed = search.and_then(|terms| terms.query(within));
        let (source, start) = match (&indexed, search, within) {
            (Some(_), _, _) => (
                "words CROSS JOIN entries e INDEXED BY entries_arrived ON e.arrival = words.rowid",
                "words MATCH ?",
            ),
            (None, _, _) if mentions => (
                "mentions CROSS JOIN entries e INDEXED BY entries_arrived ON e.arrival = mentions.arrival",
                "TRUE",
            ),
            (None, None, Some(_)) => ("entries e INDEXED BY entries_shown", "TRUE"),
            (None, Some(_), _) | (None, None, None) => {
                ("entries e INDEXED BY entries_arrived", "TRUE")
            }
        };
        let sql = format!("SELECT {COLUMNS} FROM {source} {JOINS} WHERE {start}");
        let mut query = Self {
            arrival: match indexed {
                Some(_) => "words.rowid",
                None if mentions => "mentions.arrival",
                None => "e.arrival",
            },
            sql,
            values: indexed.map(Value::from).into_iter().collect(),
        };
        if mentions && query.arrival == "words.rowid" {
            let mentioned = " AND EXISTS (SELECT 1 FROM mentions m WHERE m.arrival = e.arrival)";
            query.add(mentioned, []);
        }
        if search.is_some_and(SearchTerms::needs_scan) {
            let newest = "(SELECT max(arrival) FROM entries)";
            let oldest = format!(" AND {} > {newest} - {SCANNED_MAX}", query.arrival);
            query.add(&oldest, []);
        }
        if let Some(conversation) = within {
            query.add(" AND e.conversation = ?", [conversation.into()]);
        }
        query
    }

    /// Only rows before (`<`) or after (`>`) a position.
    fn add_bound(&mut self, order: Order, position: Position, beyond: &str) {
        let Position {
            arrival,
            lamport,
            author,
            log,
            id,
        } = position;
        if order == Order::Display {
            // SQLite can use the first bound with the index. The second bound is exact.
            let shown = [lamport.into(), author.into(), log.into(), id.into()];
            self.add(&format!(" AND e.lamport {beyond}= ?"), [lamport.into()]);
            self.add(
                &format!(" AND (e.lamport, l.author, l.log, e.id) {beyond} (?, ?, ?, ?)"),
                shown,
            );
        } else {
            let column = self.arrival;
            self.add(&format!(" AND {column} {beyond} ?"), [arrival.into()]);
        }
    }

    fn add_order(&mut self, order: Order, request: &HistoryRequest, is_scan: bool) {
        let way = if request.oldest { "ASC" } else { "DESC" };
        let limit = match is_scan {
            true => SCANNED_MAX,
            false => request.limit.min(HISTORY_ROWS_MAX),
        };
        let limit = i64::try_from(limit).expect("a small number");
        let order = match order {
            Order::Display => format!(
                " ORDER BY e.lamport {way}, l.author {way}, l.log {way}, e.id {way} LIMIT ?"
            ),
            Order::Arrival => format!(" ORDER BY {} {way} LIMIT ?", self.arrival),
        };
        self.add(&order, [limit.into()]);
    }

    fn add<const N: usize>(&mut self, sql: &str, values: [Value; N]) {
        self.sql.push_str(sql);
        self.values.extend(values);
    }
}

fn ordinal(conn: &Connection, id: ConversationId) -> Result<Option<i64>, Fault> {
    let mut query = conn.prepare_cached("SELECT ordinal FROM conversations WHERE id = ?1")?;
    Ok(query
        .query_row([id.as_bytes()], |row| row.get(0))
        .optional()?)
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::*;

    /// The steps in which SQLite answers a request.
    fn plan(conn: &Connection, request: &HistoryRequest) -> String {
        let search = request.search.as_deref().and_then(SearchTerms::of);
        let query = Query::of(conn, request, search.as_ref()).unwrap().unwrap();
        let sql = format!("EXPLAIN QUERY PLAN {}", query.sql);
        let mut statement = conn.prepare(&sql).unwrap();
        let steps = statement.query_map(params_from_iter(query.values), |row| row.get(3));
        let steps: Vec<String> = steps.unwrap().collect::<Result<_, _>>().unwrap();
        steps.join("\n")
    }

    #[test]
    fn a_page_of_mentions_costs_its_own_rows() {
        let mut conn = Connection::open_in_memory().unwrap();
        schema::migrate(&mut conn, schema::MIGRATIONS).unwrap();
        for oldest in [true, false] {
            let request = HistoryRequest {
                mentions: true,
                oldest,
                shown: true,
                limit: 10,
                ..HistoryRequest::default()
            };
            let plan = plan(&conn, &request);
            assert!(!plan.contains("TEMP B-TREE"), "{plan}");
            assert!(plan.starts_with("SCAN mentions"), "{plan}");
        }
    }

    #[test]
    fn a_page_of_a_search_costs_its_own_rows_because_nothing_is_sorted() {
        let mut conn = Connection::open_in_memory().unwrap();
        schema::migrate(&mut conn, schema::MIGRATIONS).unwrap();
        // Found by the index, and by comparing texts.
        for search in ["lunch", "今晩", "今", "lunch 今"] {
            for oldest in [true, false] {
                let request = HistoryRequest {
                    search: Some(search.to_owned()),
                    oldest,
                    shown: true,
                    limit: 10,
                    ..HistoryRequest::default()
                };
                let plan = plan(&conn, &request);
                assert!(!plan.contains("TEMP B-TREE"), "{search}: {plan}");
            }
        }
    }
}
