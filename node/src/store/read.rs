//! The reader threads. Each has a read-only connection and never waits for the writer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;

use hobnob_core::ClientId;
use hobnob_protocol::{Batch, ContentHash, ConversationId, LogId, LogName, Ranges, Seq};
use hobnob_vfs::Disk;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use super::amendments;
use super::error::{Fault, StoreError};
use super::history::{self, HistoryRequest, HistoryRow};
use super::offers::{self, OfferRow, WhichOffers};
use super::{batches, keep_plans, spawn};

/// The channel for an answer.
pub(super) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// A request to a reader.
pub(super) enum PageRequest {
    Batches {
        name: LogName,
        from: Seq,
        to: Seq,
        max_bytes: usize,
        answer: Answer<Vec<Batch>>,
    },
    History {
        request: HistoryRequest,
        answer: Answer<Vec<HistoryRow>>,
    },
    Entries {
        name: LogName,
        first: Seq,
        last: Seq,
        answer: Answer<Vec<HistoryRow>>,
    },
    Message {
        log: LogId,
        seq: Seq,
        answer: Answer<Option<HistoryRow>>,
    },
    Edits {
        name: LogName,
        seq: Seq,
        answer: Answer<BTreeMap<LogName, Ranges>>,
    },
    Named {
        id: ClientId,
        answer: Answer<Option<(LogName, Seq)>>,
    },
    Older {
        conversation: ConversationId,
        before_ms: u64,
        answer: Answer<BTreeMap<LogName, Ranges>>,
    },
    Offers {
        which: WhichOffers,
        answer: Answer<Vec<OfferRow>>,
    },
    NotOffered {
        contents: BTreeSet<ContentHash>,
        answer: Answer<BTreeSet<ContentHash>>,
    },
}

impl PageRequest {
    /// Answers with an error.
    pub(super) fn refuse(self, error: StoreError) {
        match self {
            PageRequest::Batches { answer, .. } => give(answer, Err(error)),
            PageRequest::History { answer, .. } | PageRequest::Entries { answer, .. } => {
                give(answer, Err(error))
            }
            PageRequest::Message { answer, .. } => give(answer, Err(error)),
            PageRequest::Edits { answer, .. } | PageRequest::Older { answer, .. } => {
                give(answer, Err(error))
            }
            PageRequest::Named { answer, .. } => give(answer, Err(error)),
            PageRequest::Offers { answer, .. } => give(answer, Err(error)),
            PageRequest::NotOffered { answer, .. } => give(answer, Err(error)),
        }
    }
}

/// Starts a reader. It ends when all senders are dropped and all requests are answered.
pub(super) fn start(
    disk: &Disk,
    file: &Path,
    thread: &str,
) -> Result<(Sender<PageRequest>, JoinHandle<()>), StoreError> {
    let conn = open(disk, file).map_err(|error| Fault::from(error).at(file))?;
    let (requests, queue) = mpsc::channel();
    let reader = Reader {
        conn,
        file: file.to_owned(),
    };
    let reading = move || {
        for request in queue {
            reader.answer(request);
        }
    };
    Ok((requests, spawn(thread, file, reading)?))
}

fn open(disk: &Disk, file: &Path) -> rusqlite::Result<Connection> {
    let conn = disk.open(
        file,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    conn.set_prepared_statement_cache_capacity(32);
    keep_plans(&conn)?;
    Ok(conn)
}

struct Reader {
    conn: Connection,
    file: PathBuf,
}

impl Reader {
    fn answer(&self, request: PageRequest) {
        match request {
            PageRequest::Batches {
                name,
                from,
                to,
                max_bytes,
                answer,
            } => {
                give(
                    answer,
                    self.read(|conn| batches::read(conn, name, from, to, max_bytes)),
                );
            }
            PageRequest::History { request, answer } => {
                give(answer, self.read(|conn| history::read(conn, &request)))
            }
            PageRequest::Entries {
                name,
                first,
                last,
                answer,
            } => {
                give(
                    answer,
                    self.read(|conn| history::entries(conn, &name, first, last)),
                );
            }
            PageRequest::Message { log, seq, answer } => {
                give(answer, self.read(|conn| history::message(conn, log, seq)))
            }
            PageRequest::Named { id, answer } => {
                give(answer, self.read(|conn| history::named(conn, &id)));
            }
            PageRequest::Older {
                conversation,
                before_ms,
                answer,
            } => give(
                answer,
                self.read(|conn| history::older_than(conn, conversation, before_ms)),
            ),
            PageRequest::Edits { name, seq, answer } => give(
                answer,
                self.read(|conn| amendments::edits_of(conn, &name, seq)),
            ),
            PageRequest::Offers { which, answer } => {
                give(answer, self.read(|conn| offers::read(conn, which)))
            }
            PageRequest::NotOffered { contents, answer } => give(
                answer,
                self.read(|conn| offers::not_offered(conn, contents)),
            ),
        }
    }

    /// Reads within one transaction, so that all statements see the same commits.
    fn read<T>(&self, what: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, StoreError> {
        let read = || {
            let tx = self.conn.unchecked_transaction()?;
            what(&tx)
        };
        read().map_err(|fault: Fault| fault.at(&self.file))
    }
}

pub(super) fn give<T>(answer: Answer<T>, result: Result<T, StoreError>) {
    // The requester may have stopped waiting.
    let _ = answer.send(result);
}
