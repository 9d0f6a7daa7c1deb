//! Applies commits to the tables, within a transaction of the writer. An error undoes the whole
//! commit.

use std::collections::{BTreeSet, HashMap};

use hobnob_protocol::batch::CheckedEntry;
use hobnob_protocol::{
    Body, CheckedBatch, ConversationId, DeviceId, EntryHash, LogName, Nickname, OfferId, PersonId,
    Ranges, Seq, SignedRecord,
};
use rusqlite::{Connection, OptionalExtension, params};

use hobnob_core::commit::{
    Alive, AudienceId, AudienceRecord, ConversationKind, ConversationRecord, Lingerer, OfferRecord,
    Op, RequestRecord, Run,
};
use hobnob_core::policy::PeerPolicy;
use hobnob_core::replica::LAMPORT_AHEAD_MAX;

use super::KnownPeer;
use super::amendments;
use super::chain;
use super::columns::{self, BodyState, EntryId, SEQ_MAX, number};
use super::entry_rows::{self, EntryRow};
use super::erase;
use super::error::Fault;
use super::index;
use super::mentions::Mentions;
use super::offers;

/// A cache of the tables, so that most commits need no lookup.
///
/// Clear it after each rollback.
#[derive(Debug, Default)]
pub(super) struct Known {
    logs: HashMap<LogName, LogRow>,
    /// The arrival number of the newest entry.
    arrived: Option<i64>,
}

/// Maximum number of cached logs. One more clears the cache.
const KNOWN_MAX: usize = 10_000;

/// The stored Lamport number of a conversation is ahead by up to this much, so that most commits
/// need not update it. A restart continues from the stored number.
pub(super) const LAMPORT_STRIDE: u64 = 64;

impl Known {
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

#[derive(Debug, Clone, Copy)]
struct LogRow {
    ordinal: i64,
    conversation: i64,
    /// The last stored entry, if any.
    end: Option<End>,
}

#[derive(Debug, Clone, Copy)]
struct End {
    seq: Seq,
    hash: EntryHash,
    audience: AudienceId,
}

/// Changes the tables.
pub(super) struct Apply<'a> {
    /// A connection inside a transaction.
    pub(super) conn: &'a Connection,
    /// The cache of the logs.
    pub(super) known: &'a mut Known,
    /// Collects the ordinals of logs with new entries.
    pub(super) grown: &'a mut BTreeSet<i64>,
    /// Which texts call for the user.
    pub(super) mentions: Option<&'a Mentions>,
}

/// The entries of a batch that an append stores, and their audience.
struct Part<'a> {
    batch: &'a CheckedBatch,
    from: Seq,
    to: Seq,
    audience: AudienceId,
    received_at_ms: u64,
    /// Of these entries, those that their author has deleted.
    deleted: &'a Ranges,
}

impl Apply<'_> {
    /// Applies one change.
    pub(super) fn op(&mut self, op: &Op) -> Result<(), Fault> {
        match op {
            Op::Conversation(record) => self.put_conversation(record),
            Op::Append {
                batch,
                from,
                to,
                audience,
                received_at_ms,
                deleted,
            } => self.append(&Part {
                batch,
                from: *from,
                to: *to,
                audience: *audience,
                received_at_ms: *received_at_ms,
                deleted,
            }),
            Op::Fill { batch, seqs } => {
                let (log, arrived) = (self.log(&batch.batch.name)?.ordinal, self.arrived()?);
                let arrived = erase::fill(self.conn, self.mentions, log, batch, seqs, arrived)?;
                self.known.arrived = Some(arrived);
                Ok(())
            }
            Op::Erase {
                name,
                seqs,
                by_author,
            } => {
                let log = self.log(name)?.ordinal;
                erase::erase(self.conn, self.mentions, name, log, seqs, *by_author)
            }
            Op::AwaitDeleted(name, seq) => {
                let log = self.log(name)?.ordinal;
                self.run(
                    "INSERT OR IGNORE INTO awaited (log, seq) VALUES (?1, ?2)",
                    params![log, number(*seq)],
                )
            }
            Op::Audience(record) => self.put_audience(record),
            Op::AudiencesBefore(conversation, first) => {
                let conversation = self.conversation(*conversation)?;
                self.run(
                    "DELETE FROM audiences WHERE id < ?1 AND conversation = ?2",
                    params![number(first.0), conversation],
                )
            }
            Op::Lingerers(conversation, lingerers) => self.put_lingerers(*conversation, lingerers),
            Op::Acked { name, peer, ranges } => self.put_acked(name, *peer, ranges),
            Op::Trim(name, below) => self.trim(name, *below),
            Op::Brought(name, peer) => self.put_bringer(name, *peer),
            Op::Cost(name, cost) => {
                let log = self.log(name)?.ordinal;
                self.run(
                    "UPDATE logs SET cost = ?2 WHERE ordinal = ?1",
                    params![log, number(*cost)],
                )
            }
            Op::ClientId(name, seq, id) => {
                let entry = EntryId::new(self.log(name)?.ordinal, *seq)?;
                self.run(
                    "INSERT INTO client_ids (client_id, entry) VALUES (?1, ?2)",
                    params![id.as_str(), entry.0],
                )
            }
            Op::Forget(name) => self.forget_log(name),
            Op::Alive(alive) => self.put_alive(alive),
            Op::Request(record) => self.put_request(record),
            Op::RequestEnds(peer) => {
                self.run("DELETE FROM requests WHERE peer = ?1", [peer.as_bytes()])
            }
        }
    }

    /// Stores a setting of the node.
    pub(super) fn put_setting(&mut self, key: &str, value: &str) -> Result<(), Fault> {
        self.run(
            "INSERT OR REPLACE INTO settings (key, value) VALUES (?1, ?2)",
            params![key, value],
        )
    }

    /// Stores a known peer.
    pub(super) fn put_peer(&mut self, known: &KnownPeer) -> Result<(), Fault> {
        self.run(
            "INSERT OR REPLACE INTO peers (peer, public, addrs, named, seen_at_ms, contact, relays)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                known.peer.as_bytes(),
                known.public.as_ref().map(SignedRecord::as_bytes),
                columns::addrs_to_text(&known.addrs),
                columns::addrs_to_text(&known.named),
                number(known.seen_at_ms),
                known.contact.as_ref().map(SignedRecord::as_bytes),
                columns::relays_to_text(&known.relays)
            ],
        )
    }

    /// Forgets a known peer.
    pub(super) fn forget_peer(&mut self, peer: PersonId) -> Result<(), Fault> {
        self.run("DELETE FROM peers WHERE peer = ?1", [peer.as_bytes()])
    }

    /// Stores the state of an offer.
    pub(super) fn put_offer(&mut self, offer: &OfferId, record: &OfferRecord) -> Result<(), Fault> {
        let id = EntryId::new(self.log(&offer.name)?.ordinal, offer.seq)?;
        self.run(
            // An erased offer has no state: its name and the place of its content must not come
            // back.
            "INSERT OR REPLACE INTO offers (id, state, place, why)
             SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM entries WHERE id = ?1 AND state = 0)",
            params![id.0, record.state.code(), record.place, record.why],
        )
    }

    /// Stores the policy about a peer. The default policy has no row.
    pub(super) fn put_policy(&mut self, peer: PersonId, policy: &PeerPolicy) -> Result<(), Fault> {
        if *policy == PeerPolicy::default() {
            return self.run("DELETE FROM policies WHERE peer = ?1", [peer.as_bytes()]);
        }
        let PeerPolicy {
            contact,
            ignored,
            blocked,
            verified,
            by_code,
        } = policy;
        self.run(
            "INSERT OR REPLACE INTO policies (peer, contact, ignored, blocked, verified, by_code)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                peer.as_bytes(),
                contact,
                ignored,
                blocked,
                verified.as_ref().map(Nickname::as_str),
                by_code
            ],
        )
    }

    fn put_conversation(&mut self, record: &ConversationRecord) -> Result<(), Fault> {
        let (peer, room, key, kind, joined) = match &record.kind {
            ConversationKind::Direct(peer) => (Some(peer.as_bytes()), None, None, 0, false),
            ConversationKind::Room { name, key, joined } => (
                None,
                Some(name.as_str()),
                Some(key.as_bytes()),
                key.kind().code(),
                *joined,
            ),
        };
        self.run(
            "INSERT INTO conversations (id, peer, room, key, kind, joined) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (id) DO UPDATE SET peer = excluded.peer, room = excluded.room, key = excluded.key,
                                            kind = excluded.kind, joined = excluded.joined",
            params![record.id.as_bytes(), peer, room, key, kind, joined],
        )
    }

    fn append(&mut self, part: &Part<'_>) -> Result<(), Fault> {
        let Part {
            batch, from, to, ..
        } = *part;
        if from < batch.first() || to < from || to > batch.last() {
            return Err(gap(format_args!(
                "{from} to {to} of a batch from {} to {}",
                batch.first(),
                batch.last()
            )));
        }
        let log = self.log(&batch.batch.name)?;
        // Begin with the highest number: if the tables can't hold it, the commit must fail before
        // anything is written.
        EntryId::new(log.ordinal, batch.last())?;
        if !goes_on(log, part)? {
            self.put_run(log.ordinal, part)?;
        }
        self.put_entries(log, part)?;
        if log.end.is_none_or(|end| end.seq < to) {
            let end = Some(End {
                seq: to,
                hash: batch.head(),
                audience: part.audience,
            });
            self.known
                .logs
                .insert(batch.batch.name, LogRow { end, ..log });
        }
        self.grown.insert(log.ordinal);
        Ok(())
    }

    /// Marks `from..=to` as held. Merges the range with adjacent runs of the same audience.
    fn put_run(&mut self, log: i64, part: &Part<'_>) -> Result<(), Fault> {
        let Part {
            batch,
            from,
            to,
            audience,
            ..
        } = *part;
        let below = self.run_at_or_below(log, to)?;
        if below.is_some_and(|run| run.last >= from) {
            return Err(gap(format_args!("of {from} to {to}, some are held")));
        }
        let below = below.filter(|run| run.last + 1 == from);
        let above = self
            .run_at_or_below(log, to + 1)?
            .filter(|run| run.first == to + 1);
        if above.is_none() && to < batch.last() {
            return Err(gap(format_args!(
                "{to} is neither the end of its batch nor held on from there"
            )));
        }
        match below {
            Some(_) => self.agree(log, from - 1, batch)?,
            None => self.put_base(log, from, batch)?,
        }
        if above.is_some() {
            self.agree(log, to, batch)?;
            self.put_seal(log, batch)?;
        }
        let melts = |run: &Run| run.audience == audience;
        let (below, above) = (below.filter(melts), above.filter(melts));
        if let Some(above) = above {
            self.run(
                "DELETE FROM runs WHERE log = ?1 AND first = ?2",
                params![log, number(above.first)],
            )?;
        }
        if below.is_some() {
            return Ok(());
        }
        self.begin_run(log, from, audience)
    }

    fn begin_run(&self, log: i64, first: Seq, audience: AudienceId) -> Result<(), Fault> {
        let run = params![log, number(first), number(audience.0)];
        self.run(
            "INSERT INTO runs (log, first, audience) VALUES (?1, ?2, ?3)",
            run,
        )
    }

    fn run_at_or_below(&self, log: i64, seq: Seq) -> Result<Option<Run>, Fault> {
        let mut query = self.conn.prepare_cached(
            "SELECT first, last, audience FROM held WHERE log = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1",
        )?;
        let mut rows = query.query(params![log, number(seq)])?;
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        let audience = AudienceId(columns::count(row, 2)?);
        Ok(Some(Run {
            first: columns::count(row, 0)?,
            last: columns::count(row, 1)?,
            audience,
        }))
    }

    /// Checks that the batch and the store have the same hash at `seq`.
    fn agree(&self, log: i64, seq: Seq, batch: &CheckedBatch) -> Result<(), Fault> {
        match chain::seal_at(self.conn, log, seq)? {
            Some(held) if batch.hash_at(seq) != Some(held) => {
                Err(gap(format_args!("the chain forks at {seq}")))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Stores the hash before the first entry after a gap.
    fn put_base(&mut self, log: i64, from: Seq, batch: &CheckedBatch) -> Result<(), Fault> {
        match from - 1 {
            // The first hash of a log follows from its name.
            0 => Ok(()),
            before => {
                let hash = batch
                    .hash_at(before)
                    .expect("the batch starts at `from` or before");
                self.keep_base(log, before, hash)
            }
        }
    }

    fn keep_base(&mut self, log: i64, seq: Seq, hash: EntryHash) -> Result<(), Fault> {
        let kept = self
            .conn
            .prepare_cached(
                "INSERT INTO bases (log, seq, hash) VALUES (?1, ?2, ?3)
                 ON CONFLICT (log, seq) DO UPDATE SET hash = excluded.hash WHERE hash = excluded.hash",
            )?
            .execute(params![log, number(seq), hash.as_bytes()])?;
        if kept == 1 {
            Ok(())
        } else {
            Err(gap(format_args!("the chain forks at {seq}")))
        }
    }

    /// Stores the hash and signature of a batch whose last entry is held already.
    fn put_seal(&mut self, log: i64, batch: &CheckedBatch) -> Result<(), Fault> {
        self.agree(log, batch.last(), batch)?;
        let id = EntryId::new(log, batch.last())?.0;
        let (hash, signature) = (batch.head(), batch.batch.signature);
        let row = params![id, hash.as_bytes(), signature.as_bytes()];
        self.run(
            "UPDATE entries SET hash = ?2, signature = ?3 WHERE id = ?1",
            row,
        )
    }

    fn put_entries(&mut self, log: LogRow, part: &Part<'_>) -> Result<(), Fault> {
        let mut arrived = self.arrived()?;
        let (batch, last) = (part.batch, part.batch.last());
        let entry = |seq| batch.at(seq).expect("`from` and `to` are within the batch");
        let mut rows = Vec::new();
        for seq in part.from..=part.to {
            let CheckedEntry { bytes, hash, entry } = entry(seq);
            arrived += 1;
            rows.push(EntryRow {
                id: EntryId::new(log.ordinal, seq)?,
                conversation: log.conversation,
                lamport: number(entry.lamport),
                received_at_ms: number(part.received_at_ms),
                seal: (seq == last).then(|| (hash.as_bytes(), batch.batch.signature.as_bytes())),
                bytes,
                arrival: arrived,
                state: state_of(&entry.body, part.deleted.contains(seq)),
                about: amendments::about(entry),
            });
        }
        entry_rows::insert(self.conn, &rows)?;
        for (row, seq) in rows.iter().zip(part.from..) {
            let entry = &entry(seq).entry;
            if matches!(entry.body, Body::Offer(_)) {
                offers::note(self.conn, row.id)?;
            }
            if row.about != 0 {
                let name = &batch.batch.name;
                amendments::note(self.conn, log.conversation, name, row.id, entry)?;
            }
        }
        for (first, last) in part.deleted.iter() {
            let arrived = params![log.ordinal, number(first), number(last)];
            self.run(
                "DELETE FROM awaited WHERE log = ?1 AND seq BETWEEN ?2 AND ?3",
                arrived,
            )?;
        }
        self.known.arrived = Some(arrived);
        let highest = entry(part.to).entry.lamport;
        self.put_clock(log.conversation, highest)
    }

    /// The arrival number of the newest entry. 0 if there is none.
    fn arrived(&self) -> Result<i64, Fault> {
        if let Some(arrived) = self.known.arrived {
            return Ok(arrived);
        }
        let newest = "SELECT coalesce(max(arrival), 0) FROM entries INDEXED BY entries_arrived";
        Ok(self
            .conn
            .prepare_cached(newest)?
            .query_row([], |row| row.get(0))?)
    }

    /// Raises the Lamport number from which the next run continues. Like the replica, it does not
    /// follow a jump.
    fn put_clock(&mut self, conversation: i64, lamport: u64) -> Result<(), Fault> {
        self.run(
            "UPDATE conversations SET lamport = min(?2 + ?3, lamport + ?4) WHERE ordinal = ?1 AND lamport < ?2",
            params![conversation, number(lamport), number(LAMPORT_STRIDE), number(LAMPORT_AHEAD_MAX)],
        )
    }

    /// Adds an audience, or the peers by which a stored one has grown.
    fn put_audience(&mut self, record: &AudienceRecord) -> Result<(), Fault> {
        let conversation = self.conversation(record.conversation)?;
        let changed = self
            .conn
            .prepare_cached(
                "INSERT INTO audiences (id, conversation, formed_at_ms, peers) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (id) DO UPDATE SET peers = excluded.peers WHERE conversation = excluded.conversation",
            )?
            .execute(params![
                number(record.id.0),
                conversation,
                number(record.formed_at_ms),
                columns::peers_to_blob(&record.peers)
            ])?;
        if changed == 1 {
            Ok(())
        } else {
            Err(gap(format_args!(
                "audience {} is that of another conversation",
                record.id.0
            )))
        }
    }

    fn put_lingerers(
        &mut self,
        conversation: ConversationId,
        lingerers: &[Lingerer],
    ) -> Result<(), Fault> {
        let conversation = self.conversation(conversation)?;
        self.run(
            "DELETE FROM lingerers WHERE conversation = ?1",
            [conversation],
        )?;
        for Lingerer {
            peer,
            network,
            dropped_at_ms,
        } in lingerers
        {
            self.run(
                "INSERT INTO lingerers (conversation, peer, dropped_at_ms, network)
                 VALUES (?1, ?2, ?3, ?4)",
                params![
                    conversation,
                    peer.as_bytes(),
                    dropped_at_ms.map(number),
                    network.map(|network| network.0.cast_signed())
                ],
            )?;
        }
        Ok(())
    }

    /// Stores what a device has of a log of this node, or forgets it if that is nothing.
    fn put_acked(&mut self, name: &LogName, peer: DeviceId, ranges: &Ranges) -> Result<(), Fault> {
        let log = self.log(name)?.ordinal;
        if ranges.is_empty() {
            return self.run(
                "DELETE FROM acked WHERE log = ?1 AND peer = ?2",
                params![log, peer.as_bytes()],
            );
        }
        self.run(
            "INSERT OR REPLACE INTO acked (log, peer, ranges) VALUES (?1, ?2, ?3)",
            params![
                log,
                peer.as_bytes(),
                columns::receipt_to_blob(log, peer, ranges)
            ],
        )
    }

    fn put_alive(&mut self, alive: &Alive) -> Result<(), Fault> {
        self.run(
            "INSERT OR REPLACE INTO alive (one, at_ms) VALUES (1, ?1)",
            [number(alive.at_ms)],
        )
    }

    fn put_request(&mut self, record: &RequestRecord) -> Result<(), Fault> {
        self.run(
            "INSERT OR REPLACE INTO requests (peer, network, entries, bytes) VALUES (?1, ?2, ?3, ?4)",
            params![
                record.peer.as_bytes(),
                record.network.0.cast_signed(),
                number(record.entries),
                number(record.bytes)
            ],
        )
    }

    /// Deletes the entries below `below`. Keeps the hash from which the rest continues.
    fn trim(&mut self, name: &LogName, below: Seq) -> Result<(), Fault> {
        let log = self.log(name)?.ordinal;
        let Some(last_gone) = below.checked_sub(1).filter(|last| *last > 0) else {
            return Ok(());
        };
        let straddling = self
            .run_at_or_below(log, last_gone)?
            .filter(|run| run.last >= last_gone);
        if straddling.is_some() {
            let hash = chain::hash_at(self.conn, name, log, last_gone)?;
            self.keep_base(log, last_gone, hash)?;
        }
        self.run(
            "DELETE FROM bases WHERE log = ?1 AND seq < ?2",
            params![log, number(last_gone)],
        )?;
        self.run(
            "DELETE FROM runs WHERE log = ?1 AND first < ?2",
            params![log, number(below)],
        )?;
        if let Some(run) = straddling.filter(|run| run.last >= below) {
            self.begin_run(log, below, run.audience)?;
        }
        self.known.logs.remove(name);
        // The index needs the texts to remove them.
        index::trim(self.conn, self.mentions, log, below)?;
        let (first_gone, last_gone) = (EntryId::new(log, 0)?, EntryId::new(log, last_gone)?);
        self.run(
            "DELETE FROM entries WHERE id BETWEEN ?1 AND ?2",
            params![first_gone.0, last_gone.0],
        )?;
        amendments::trim(self.conn, first_gone, last_gone)?;
        offers::trim(self.conn, first_gone, last_gone)
    }

    fn put_bringer(&mut self, name: &LogName, peer: DeviceId) -> Result<(), Fault> {
        let log = self.log(name)?.ordinal;
        self.run(
            "UPDATE logs SET brought_by = ?2 WHERE ordinal = ?1",
            params![log, peer.as_bytes()],
        )
    }

    /// Deletes a log with all its entries.
    fn forget_log(&mut self, name: &LogName) -> Result<(), Fault> {
        let row = self.log(name)?;
        if let Some(end) = row.end {
            self.trim(name, end.seq + 1)?;
        }
        self.run("DELETE FROM bases WHERE log = ?1", [row.ordinal])?;
        self.run("DELETE FROM acked WHERE log = ?1", [row.ordinal])?;
        self.run("DELETE FROM awaited WHERE log = ?1", [row.ordinal])?;
        // A later log may get the same ordinal.
        self.run(
            "DELETE FROM client_ids WHERE entry >> 40 = ?1",
            [row.ordinal],
        )?;
        self.run("DELETE FROM logs WHERE ordinal = ?1", [row.ordinal])?;
        self.known.logs.remove(name);
        Ok(())
    }

    /// The row of a log. Creates it for the first entry.
    fn log(&mut self, name: &LogName) -> Result<LogRow, Fault> {
        if let Some(known) = self.known.logs.get(name) {
            return Ok(*known);
        }
        let conversation = self.conversation(name.conversation)?;
        let (author, device) = (name.author.as_bytes(), name.device.as_bytes());
        let found = chain::log_ordinal(self.conn, name)?;
        let ordinal = match found {
            Some(ordinal) => ordinal,
            None => {
                let insert =
                    "INSERT INTO logs (conversation, author, device, log) VALUES (?1, ?2, ?3, ?4)";
                self.conn.prepare_cached(insert)?.insert(params![
                    conversation,
                    author,
                    device,
                    name.log.0.cast_signed()
                ])?
            }
        };
        if self.known.logs.len() >= KNOWN_MAX {
            self.known.forget();
        }
        let row = LogRow {
            ordinal,
            conversation,
            end: self.end(ordinal)?,
        };
        self.known.logs.insert(*name, row);
        Ok(row)
    }

    fn end(&self, log: i64) -> Result<Option<End>, Fault> {
        let Some(Run {
            last: seq,
            audience,
            ..
        }) = self.run_at_or_below(log, SEQ_MAX)?
        else {
            return Ok(None);
        };
        let hash = chain::seal_at(self.conn, log, seq)?;
        let hash =
            hash.ok_or_else(|| Fault::Damaged(format!("a log ends at {seq} without a hash")))?;
        Ok(Some(End {
            seq,
            hash,
            audience,
        }))
    }

    fn conversation(&self, id: ConversationId) -> Result<i64, Fault> {
        let mut query = self
            .conn
            .prepare_cached("SELECT ordinal FROM conversations WHERE id = ?1")?;
        let found = query
            .query_row([id.as_bytes()], |row| row.get(0))
            .optional()?;
        found.ok_or_else(|| gap(format_args!("the conversation {id:?} was never made known")))
    }

    fn run(&self, sql: &str, params: impl rusqlite::Params) -> Result<(), Fault> {
        self.conn.prepare_cached(sql)?.execute(params)?;
        Ok(())
    }
}

/// How the body of an entry is stored.
fn state_of(body: &Body, is_deleted: bool) -> BodyState {
    if body.is_deletion() {
        BodyState::NotShown
    } else if !body.is_erased() {
        BodyState::Shown
    } else if is_deleted {
        BodyState::Deleted
    } else {
        BodyState::Missing
    }
}

/// Whether the part continues the last run of the log for the same audience. Then only its entries
/// need to be written.
fn goes_on(log: LogRow, part: &Part<'_>) -> Result<bool, Fault> {
    let Part {
        batch,
        from,
        to,
        audience,
        ..
    } = *part;
    let Some(end) = log
        .end
        .filter(|end| end.seq + 1 == from && to == batch.last())
    else {
        return Ok(false);
    };
    if batch.hash_at(end.seq) != Some(end.hash) {
        return Err(gap(format_args!("the chain forks at {}", end.seq)));
    }
    Ok(end.audience == audience)
}

fn gap(detail: std::fmt::Arguments<'_>) -> Fault {
    Fault::Gap(detail.to_string())
}
