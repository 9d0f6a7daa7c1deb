//! The reader threads: each has a connection that can only read, and never waits for the writer.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;

use hobnob_protocol::{Batch, LogId, LogName, Seq};
use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use super::error::{Fault, StoreError};
use super::history::{self, HistoryRequest, HistoryRow};
use super::offers::{self, OfferRow, WhichOffers};
use super::{batches, keep_plans, spawn};

/// Where an answer goes. Who no longer wants it has dropped the other end.
pub(super) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// A question to the store.
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
    Offers {
        which: WhichOffers,
        answer: Answer<Vec<OfferRow>>,
    },
}

impl PageRequest {
    /// Gives the error for an answer.
    pub(super) fn refuse(self, error: StoreError) {
        match self {
            PageRequest::Batches { answer, .. } => give(answer, Err(error)),
            PageRequest::History { answer, .. } | PageRequest::Entries { answer, .. } => {
                give(answer, Err(error))
            }
            PageRequest::Message { answer, .. } => give(answer, Err(error)),
            PageRequest::Offers { answer, .. } => give(answer, Err(error)),
        }
    }
}

/// Starts a reader; it ends when all senders are gone and everything asked is answered.
pub(super) fn start(
    file: &Path,
    thread: &str,
) -> Result<(Sender<PageRequest>, JoinHandle<()>), StoreError> {
    let conn = open(file).map_err(|error| Fault::from(error).at(file))?;
    let (asks, asked) = mpsc::channel();
    let reader = Reader {
        conn,
        file: file.to_owned(),
    };
    let reading = move || {
        for ask in asked {
            reader.answer(ask);
        }
    };
    Ok((asks, spawn(thread, file, reading)?))
}

fn open(file: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(
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
    fn answer(&self, ask: PageRequest) {
        match ask {
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
            PageRequest::Offers { which, answer } => {
                give(answer, self.read(|conn| offers::read(conn, which)))
            }
        }
    }

    /// Reads in one transaction, so that every statement sees the same commits.
    fn read<T>(&self, what: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, StoreError> {
        let read = || {
            let tx = self.conn.unchecked_transaction()?;
            what(&tx)
        };
        read().map_err(|fault: Fault| fault.at(&self.file))
    }
}

pub(super) fn give<T>(answer: Answer<T>, result: Result<T, StoreError>) {
    // Nobody waits any more: nothing to do.
    let _ = answer.send(result);
}
