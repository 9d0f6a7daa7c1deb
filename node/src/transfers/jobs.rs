//! Jobs: work that waits for the disk or the store, and whose result returns to the transfer task.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hobnob_core::transfers::Held;
use hobnob_protocol::{Offer, OfferId, OfferWord, PersonId};
use tokio::sync::{mpsc, oneshot};

use super::content_index::ContentError;
use super::context::Context;
use super::local_files::LocalFiles;
use super::partial::{Partial, WriteError};
use crate::FileError;
use crate::store::{OfferRow, StoredOffer, WhichOffers};

/// How long an answer waits for the disk to find pictures. The disk may be on another machine.
const LOOK_FOR: Duration = Duration::from_millis(500);

/// The answer to a user's command.
pub(super) type Reply = oneshot::Sender<Result<(), FileError>>;

/// Answers a command. A user who stopped waiting needs no answer.
pub(super) fn answer(reply: Reply, result: Result<(), FileError>) {
    let _ = reply.send(result);
}

/// The result of a job.
#[derive(Debug)]
pub(super) enum JobResult {
    /// The offer that a user accepts was read.
    AcceptRead(Result<Box<OfferRow>, FileError>, Reply),
    /// The free space for an accepted offer was checked.
    RoomChecked {
        offer: StoredOffer,
        room: Result<(), FileError>,
        reply: Reply,
    },
    /// The offer that a user declines was read.
    DeclineRead(Result<Box<OfferRow>, FileError>, Reply),
    /// The offer whose download a user pauses was read.
    PauseRead(Result<Box<OfferRow>, FileError>, Reply),
    /// The unfinished downloads of earlier runs were read.
    WantedRead(Vec<OfferRow>),
    /// An accepted offer can't be downloaded now, for this reason.
    NoRoom { offer: StoredOffer, why: String },
    /// A partial download was created, or opened again.
    Opened {
        offer: StoredOffer,
        opened: Result<(Arc<Partial>, Held), WriteError>,
    },
    /// A complete content was moved to its path, or the move failed for this reason.
    Finished {
        offer: StoredOffer,
        outcome: Result<PathBuf, WriteError>,
    },
    /// A partial download was removed, because its content is unavailable for this reason.
    Removed { offer: StoredOffer, why: String },
    /// The offer that a peer's word is about was read.
    WordRead(Box<OfferRow>, PersonId, OfferWord),
    /// An offer was read whose content could not be served.
    ServeFailureRead(Box<OfferRow>, ContentError),
    /// A part of a content that arrived by mail is on disk.
    PartStored(OfferId),
    /// The pieces of a download that were filled from mail, or why they could not be.
    FilledFromMail(OfferId, Result<Vec<u64>, WriteError>),
    /// An offer was read whose content this peer downloads.
    UploadRead(Box<OfferRow>, PersonId),
}

/// Starts jobs.
#[derive(Clone)]
pub(super) struct Jobs {
    pub(super) context: Context,
    results: mpsc::UnboundedSender<JobResult>,
}

impl Jobs {
    /// Returns the receiver of the results, too.
    pub(super) fn new(context: Context) -> (Self, mpsc::UnboundedReceiver<JobResult>) {
        let (results, queue) = mpsc::unbounded_channel();
        (Self { context, results }, queue)
    }

    /// Runs a job as a task.
    pub(super) fn spawn(&self, job: impl Future<Output = JobResult> + Send + 'static) {
        let results = self.results.clone();
        self.context.tasks.spawn(async move {
            let result = job.await;
            // When the node stops, the transfer task may end first.
            let _ = results.send(result);
        });
    }

    /// Runs a job on a thread that may wait for the disk.
    pub(super) fn spawn_blocking(&self, job: impl FnOnce() -> JobResult + Send + 'static) {
        let results = self.results.clone();
        tokio::task::spawn_blocking(move || {
            let result = job();
            // When the node stops, the transfer task may end first.
            let _ = results.send(result);
        });
    }

    /// Reads an offer whose entry is stored, and looks for a picture in its content. There is no
    /// result if the store has failed or no longer has the entry.
    pub(super) fn read(
        &self,
        id: OfferId,
        result: impl FnOnce(OfferRow) -> JobResult + Send + 'static,
    ) {
        let rows = self
            .context
            .store
            .read(WhichOffers::One(id.name.log, id.seq));
        let (files, results) = (self.context.files.clone(), self.results.clone());
        self.context.tasks.spawn(async move {
            let rows = rows.await.ok().and_then(Result::ok).unwrap_or_default();
            look_for_pictures(&files, rows.iter().map(|row| &row.offer.offer)).await;
            // Two authors may use one log id.
            if let Some(row) = rows.into_iter().find(|row| row.offer.id == id) {
                let _ = results.send(result(row));
            }
        });
    }
}

/// Looks for pictures among offers that this run has not examined yet. Waits a limited time for the
/// disk. A picture that is found later appears in the next answer.
pub(super) async fn look_for_pictures(files: &LocalFiles, offers: impl Iterator<Item = &Offer>) {
    let new: Vec<Offer> = offers
        .filter(|offer| files.pictures.wants(offer))
        .cloned()
        .collect();
    if !new.is_empty() {
        let files = files.clone();
        let looked = tokio::task::spawn_blocking(move || {
            for offer in &new {
                files.pictures.look(offer, &files.index);
            }
        });
        let _late = tokio::time::timeout(LOOK_FOR, looked).await;
    }
}
