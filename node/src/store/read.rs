//! The reader threads. Each has a read-only connection and never waits for the writer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;

use hobnob_core::ClientId;
use hobnob_protocol::{Batch, ContentHash, ConversationId, LogId, LogName, Ranges, Seq};
use hobnob_vfs::Disk;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use super::amendments::TopicRow;
use super::damage::Damage;
use super::error::{Fault, StoreError};
use super::history::{self, HistoryRequest, HistoryRow};
use super::offers::{self, OfferRow, WhichOffers};
use super::profiles;
use super::proofs::Proofs;
use super::{amendments, check};
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
    Topics {
        answer: Answer<BTreeMap<ConversationId, TopicRow>>,
    },
    Pinned {
        conversation: ConversationId,
        answer: Answer<Vec<HistoryRow>>,
    },
    Picture {
        hash: ContentHash,
        answer: Answer<Option<Vec<u8>>>,
    },
    Check {
        answer: Answer<()>,
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
            PageRequest::Topics { answer } => give(answer, Err(error)),
            PageRequest::Pinned { answer, .. } => give(answer, Err(error)),
            PageRequest::Picture { answer, .. } => give(answer, Err(error)),
            PageRequest::Check { answer } => give(answer, Err(error)),
        }
    }
}

/// Starts a reader. It ends when all senders are dropped and all requests are answered.
pub(super) fn start(
    disk: &Disk,
    file: &Path,
    thread: &str,
    damage: Arc<Damage>,
) -> Result<(Sender<PageRequest>, JoinHandle<()>), StoreError> {
    let conn = open(disk, file).map_err(|error| Fault::from(error).at(file))?;
    let (requests, queue) = mpsc::channel();
    let reader = Reader {
        conn,
        file: file.to_owned(),
        damage,
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
    damage: Arc<Damage>,
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
            PageRequest::History { request, answer } => give(
                answer,
                self.read_proved(|proofs| history::read(proofs, &request)),
            ),
            PageRequest::Entries {
                name,
                first,
                last,
                answer,
            } => {
                give(
                    answer,
                    self.read_proved(|proofs| history::entries(proofs, &name, first, last)),
                );
            }
            PageRequest::Message { log, seq, answer } => give(
                answer,
                self.read_proved(|proofs| history::message(proofs, log, seq)),
            ),
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
            PageRequest::Offers { which, answer } => give(
                answer,
                self.read_proved(|proofs| offers::read(proofs, which)),
            ),
            PageRequest::Topics { answer } => give(answer, self.read_proved(amendments::topics)),
            PageRequest::Pinned {
                conversation,
                answer,
            } => give(
                answer,
                self.read_proved(|proofs| history::pinned(proofs, conversation)),
            ),
            PageRequest::Picture { hash, answer } => {
                give(answer, self.read(|conn| profiles::picture(conn, hash)));
            }
            PageRequest::Check { answer } => give(answer, self.read(check::whole)),
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
        let result = read().map_err(|fault: Fault| fault.at(&self.file));
        result.inspect_err(|error| self.damage.note_error(error))
    }

    /// The same for entries, which are compared with the chain.
    fn read_proved<T>(
        &self,
        what: impl FnOnce(&mut Proofs<'_>) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.read(|conn| {
            let mut proofs = Proofs::new(conn);
            let result = what(&mut proofs);
            if proofs.found_damage() {
                self.damage.note();
            }
            result
        })
    }
}

pub(super) fn give<T>(answer: Answer<T>, result: Result<T, StoreError>) {
    // The requester may have stopped waiting.
    let _ = answer.send(result);
}
