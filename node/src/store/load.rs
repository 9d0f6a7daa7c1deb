//! Reads everything that a node needs when it starts.

use std::collections::BTreeMap;

use hobnob_protocol::{
    ConversationId, DeviceId, EntryHash, LogName, Nickname, PersonId, Ranges, Seq, SignedRecord,
};
use rusqlite::{Connection, Row, params};

use hobnob_core::commit::{
    Alive, AudienceId, AudienceRecord, ConversationRecord, Lingerer, Loaded, LogRecord, NetworkId,
    RequestRecord, Run,
};
use hobnob_core::policy::PeerPolicy;
use hobnob_core::replica::ENTRY_COST;
use hobnob_core::source_network::SourceNetwork;

use super::chain;
use super::columns::{self, BodyState, EntryId, count, number};
use super::error::Fault;
use super::{KnownPeer, PEERS_MAX};

/// Everything that the replica needs. `conn` must be inside a transaction.
pub(super) fn loaded(conn: &Connection, audiences_since_ms: u64) -> Result<Loaded, Fault> {
    Ok(Loaded {
        conversations: conversations(conn)?,
        logs: logs(conn)?,
        lamport: all(conn, "SELECT id, lamport FROM conversations WHERE lamport > 0 ORDER BY ordinal", |row| {
            Ok((columns::conversation(row, 0)?, count(row, 1)?))
        })?,
        audiences: audiences(conn, audiences_since_ms)?,
        last_audience: only(conn, "SELECT coalesce(max(id), 0) FROM audiences", |row| count(row, 0))?.unwrap_or(0),
        lingerers: lingerers(conn)?,
        acked: receipts(conn)?,
        awaited_deleted: all(
            conn,
            "SELECT c.id, l.author, l.device, l.log, a.seq FROM awaited a
             JOIN logs l ON l.ordinal = a.log JOIN conversations c ON c.ordinal = l.conversation ORDER BY a.log, a.seq",
            |row| Ok((columns::log_name(row, 0)?, count(row, 4)?)),
        )?,
        alive: only(conn, "SELECT at_ms FROM alive", |row| Ok(Alive { at_ms: count(row, 0)? }))?,
        requests: all(conn, "SELECT peer, network, entries, bytes FROM requests", |row| {
            let network: i64 = row.get(1)?;
            Ok(RequestRecord {
                peer: columns::peer(row, 0)?,
                network: SourceNetwork(network.cast_unsigned()),
                entries: count(row, 2)?,
                bytes: count(row, 3)?,
            })
        })?,
    })
}

/// The receipts of peers. A damaged one is left out: the peer repeats it in its next session.
fn receipts(conn: &Connection) -> Result<Vec<(LogName, DeviceId, Ranges)>, Fault> {
    let sql = "SELECT c.id, l.author, l.device, l.log, a.peer, a.ranges, a.log FROM acked a
         JOIN logs l ON l.ordinal = a.log JOIN conversations c ON c.ordinal = l.conversation ORDER BY a.log, a.peer";
    let receipts = all(conn, sql, |row| {
        let (name, peer) = (columns::log_name(row, 0)?, columns::device(row, 4)?);
        let log = row.get(6)?;
        let blob = columns::bytes(row, 5).ok();
        let ranges = blob.and_then(|blob| columns::receipt_from_blob(log, peer, blob));
        if ranges.is_none() {
            tracing::warn!(?peer, "a stored receipt is damaged");
        }
        Ok(ranges.map(|ranges| (name, peer, ranges)))
    })?;
    Ok(receipts.into_iter().flatten().collect())
}

/// Adds the checksums to receipts of a version that stored none.
pub(super) fn add_checksums(conn: &Connection) -> Result<(), Fault> {
    let receipts = all(conn, "SELECT log, peer, ranges FROM acked", |row| {
        let ranges = columns::ranges_from_blob(columns::bytes(row, 2)?)?;
        Ok((row.get::<_, i64>(0)?, columns::device(row, 1)?, ranges))
    })?;
    for (log, peer, ranges) in receipts {
        let blob = columns::receipt_to_blob(log, peer, &ranges);
        conn.prepare_cached("UPDATE acked SET ranges = ?3 WHERE log = ?1 AND peer = ?2")?
            .execute(params![log, peer.as_bytes(), blob])?;
    }
    Ok(())
}

/// All settings.
pub(super) fn settings(conn: &Connection) -> Result<BTreeMap<String, String>, Fault> {
    Ok(all(conn, "SELECT key, value FROM settings", |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?
    .into_iter()
    .collect())
}

/// Contacts, peers with addresses or relays that the user named, and the other peers that were seen
/// last. Of each, the latest first.
pub(super) fn peers(conn: &Connection) -> Result<Vec<KnownPeer>, Fault> {
    let sql = format!(
        "SELECT peer, public, addrs, named, seen_at_ms, contact, relays FROM peers
         ORDER BY (named != '' OR relays != '' OR peer IN (SELECT peer FROM policies WHERE contact)) DESC, seen_at_ms DESC, peer LIMIT {PEERS_MAX}"
    );
    all(conn, &sql, |row| {
        let (addrs, named): (String, String) = (row.get(2)?, row.get(3)?);
        let (public, contact): (Option<Vec<u8>>, Option<Vec<u8>>) = (row.get(1)?, row.get(5)?);
        let relays: String = row.get(6)?;
        Ok(KnownPeer {
            peer: columns::peer(row, 0)?,
            public: public.map(SignedRecord::from_bytes),
            contact: contact.map(SignedRecord::from_bytes),
            relays: columns::relays_from_text(&relays),
            addrs: columns::addrs_from_text(&addrs),
            named: columns::addrs_from_text(&named),
            seen_at_ms: count(row, 4)?,
        })
    })
}

/// The user's policies about peers.
pub(super) fn policies(conn: &Connection) -> Result<Vec<(PersonId, PeerPolicy)>, Fault> {
    all(
        conn,
        "SELECT peer, ignored, blocked, verified, contact, by_code FROM policies",
        |row| {
            let verified: Option<String> = row.get(3)?;
            let verified = verified.map(|name| Nickname::new(&name)).transpose();
            let verified = verified.map_err(|error| Fault::Damaged(error.to_string()))?;
            Ok((
                columns::peer(row, 0)?,
                PeerPolicy {
                    contact: row.get(4)?,
                    ignored: row.get(1)?,
                    blocked: row.get(2)?,
                    verified,
                    by_code: row.get(5)?,
                },
            ))
        },
    )
}

/// The ordinals of all logs that may have entries.
pub(super) fn log_ordinals(conn: &Connection) -> Result<Vec<i64>, Fault> {
    all(conn, "SELECT ordinal FROM logs", |row| Ok(row.get(0)?))
}

fn conversations(conn: &Connection) -> Result<Vec<ConversationRecord>, Fault> {
    let sql = "SELECT id, peer, room, key, kind, joined FROM conversations ORDER BY ordinal";
    all(conn, sql, columns::conversation_record)
}

fn logs(conn: &Connection) -> Result<Vec<LogRecord>, Fault> {
    let mut runs: BTreeMap<i64, Vec<Run>> = BTreeMap::new();
    for (log, run) in all(
        conn,
        "SELECT log, first, last, audience FROM held ORDER BY log, first",
        run,
    )? {
        runs.entry(log).or_default().push(run);
    }
    let mut edges: BTreeMap<i64, Vec<(Seq, EntryHash)>> = BTreeMap::new();
    let sql = "WITH edges (log, seq) AS (SELECT log, first - 1 FROM runs UNION SELECT log, last FROM held)
               SELECT g.log, g.seq, coalesce(e.hash, b.hash) AS edge FROM edges g
               LEFT JOIN entries e ON e.id = (g.log << 40 | g.seq) LEFT JOIN bases b ON b.log = g.log AND b.seq = g.seq
               WHERE edge IS NOT NULL ORDER BY g.log, g.seq";
    for (log, edge) in all(conn, sql, |row| {
        Ok((
            row.get::<_, i64>(0)?,
            (count(row, 1)?, columns::hash(row, 2)?),
        ))
    })? {
        edges.entry(log).or_default().push(edge);
    }
    let mut without_body: BTreeMap<i64, (Ranges, Ranges)> = BTreeMap::new();
    let sql = "SELECT id, state FROM entries INDEXED BY entries_changed WHERE state > 0 AND state < 4 ORDER BY id";
    for (id, state) in all(conn, sql, |row| {
        Ok((EntryId(row.get(0)?), BodyState::read(row, 1)?))
    })? {
        let (erased, missing) = without_body.entry(id.log()).or_default();
        let seqs = if state == BodyState::Missing {
            missing
        } else {
            erased
        };
        seqs.insert(id.seq(), id.seq());
    }
    // The limit of open rooms bounds what is read here. In rooms with a secret the logs have a cost.
    let sql = "SELECT id >> 40, sum(length(bytes)), count(*) FROM entries
               WHERE conversation IN (SELECT ordinal FROM conversations WHERE room IS NOT NULL AND kind = 0) GROUP BY 1";
    let mut costs: BTreeMap<i64, u64> = BTreeMap::new();
    for (log, cost) in all(conn, sql, |row| {
        let cost = count(row, 1)? + ENTRY_COST * count(row, 2)?;
        Ok((row.get::<_, i64>(0)?, cost))
    })? {
        costs.insert(log, cost);
    }
    // The last entry of a log ends a range, and the end of a range always has a hash.
    let sql = "SELECT c.id, l.author, l.device, l.log, l.ordinal, e.hash, h.last, l.brought_by, l.cost
               FROM (SELECT log, max(last) AS last FROM held GROUP BY log) h
               JOIN logs l ON l.ordinal = h.log JOIN conversations c ON c.ordinal = l.conversation
               JOIN entries e ON e.id = (h.log << 40 | h.last) WHERE e.hash IS NOT NULL ORDER BY l.ordinal";
    let mut logs = all(conn, sql, |row| {
        let ordinal: i64 = row.get(4)?;
        let (erased, unsettled) = without_body.remove(&ordinal).unwrap_or_default();
        Ok(LogRecord {
            name: columns::log_name(row, 0)?,
            ordinal: count(row, 4)?,
            brought_by: columns::device_or_null(row, 7)?,
            bytes: match costs.remove(&ordinal) {
                Some(cost) => cost,
                None => count(row, 8)?,
            },
            runs: runs.remove(&ordinal).unwrap_or_default(),
            head: (count(row, 6)?, columns::hash(row, 5)?),
            edges: edges.remove(&ordinal).unwrap_or_default(),
            erased,
            unsettled,
        })
    })?;
    for log in &mut logs {
        add_unsettled_hashes(conn, log)?;
    }
    // A log that is left over has lost its row or its last hash.
    if runs.is_empty() {
        Ok(logs)
    } else {
        Err(Fault::Damaged(format!(
            "{} logs lack their hash or name",
            runs.len()
        )))
    }
}

/// Adds the hashes of the entries whose body is missing: a body is accepted only if it fits them.
fn add_unsettled_hashes(conn: &Connection, log: &mut LogRecord) -> Result<(), Fault> {
    for span in log.unsettled.iter() {
        let ordinal = i64::try_from(log.ordinal).expect("read from the table");
        let hashes = chain::hashes(conn, &log.name, ordinal, span)?;
        log.edges.extend(hashes);
    }
    log.edges.sort_by_key(|(seq, _)| *seq);
    log.edges.dedup();
    Ok(())
}

fn run(row: &Row<'_>) -> Result<(i64, Run), Fault> {
    let run = Run {
        first: count(row, 1)?,
        last: count(row, 2)?,
        audience: AudienceId(count(row, 3)?),
    };
    if run.first == 0 || run.last < run.first {
        return Err(Fault::Damaged(format!(
            "a run from {} to {}",
            run.first, run.last
        )));
    }
    Ok((row.get(0)?, run))
}

fn audiences(conn: &Connection, since_ms: u64) -> Result<Vec<AudienceRecord>, Fault> {
    let mut query = conn.prepare(
        "SELECT a.id, c.id, a.formed_at_ms, a.peers FROM audiences a JOIN conversations c ON c.ordinal = a.conversation
         WHERE a.formed_at_ms >= ?1 OR a.id IN (SELECT max(id) FROM audiences GROUP BY conversation) ORDER BY a.id",
    )?;
    let mut rows = query.query(params![number(since_ms)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let peers: Vec<u8> = row.get(3)?;
        found.push(AudienceRecord {
            id: AudienceId(count(row, 0)?),
            conversation: columns::conversation(row, 1)?,
            formed_at_ms: count(row, 2)?,
            peers: columns::peers_from_blob(&peers)?,
        });
    }
    Ok(found)
}

fn lingerers(conn: &Connection) -> Result<Vec<(ConversationId, Vec<Lingerer>)>, Fault> {
    let sql = "SELECT c.id, l.peer, l.dropped_at_ms, l.network FROM lingerers l JOIN conversations c ON c.ordinal = l.conversation
               ORDER BY l.conversation, l.place";
    let mut found: Vec<(ConversationId, Vec<Lingerer>)> = Vec::new();
    for (conversation, lingerer) in all(conn, sql, |row| {
        Ok((columns::conversation(row, 0)?, lingerer(row)?))
    })? {
        match found.last_mut().filter(|last| last.0 == conversation) {
            Some((_, lingerers)) => lingerers.push(lingerer),
            None => found.push((conversation, vec![lingerer])),
        }
    }
    Ok(found)
}

fn lingerer(row: &Row<'_>) -> Result<Lingerer, Fault> {
    let here: Option<i64> = row.get(2)?;
    let dropped_at_ms = here.map(|_| count(row, 2)).transpose()?;
    let peer: PersonId = columns::peer(row, 1)?;
    let network: Option<i64> = row.get(3)?;
    Ok(Lingerer {
        peer,
        network: network.map(|network| NetworkId(network.cast_unsigned())),
        dropped_at_ms,
    })
}

fn all<T>(
    conn: &Connection,
    sql: &str,
    mut read: impl FnMut(&Row<'_>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let mut query = conn.prepare(sql)?;
    let mut rows = query.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

fn only<T>(
    conn: &Connection,
    sql: &str,
    read: impl FnMut(&Row<'_>) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    Ok(all(conn, sql, read)?.pop())
}
