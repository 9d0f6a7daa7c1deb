//! Downloads: from the moment a user accepts an offer until its content is complete.
//!
//! This part opens, finishes and removes partial downloads, stores the state of each offer, and
//! reports it. The downloads that run are in [`active_downloads`](super::active_downloads), and the
//! streams in [`content_sessions`](super::content_sessions).

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hobnob_core::commit::{OfferRecord, OfferState};
use hobnob_core::transfers::{FULL_AGAIN_AFTER, Failure, Held, Input, Output, WANTED_MAX};
use hobnob_protocol::{OfferId, OfferWord, PersonId};

use super::active_downloads::ActiveDownloads;
use super::context::{Context, record_of};
use super::finish;
use super::jobs::{JobResult, Jobs, Reply, answer};
use super::local_files::LocalFiles;
use super::messages::{FileUpdate, FromTransfers};
use super::partial::{Partial, WriteError};
use super::peer_words::{CHANGED, NOT_THERE, WITHDRAWN, is_own_failure};
use super::restore;
use super::sources::KnownSources;
use super::waiting_downloads::{Next, WaitingDownloads};
use crate::store::{OFFERS_MAX, OfferRow, StoreError, StoredOffer};
use crate::{FileError, FileState};

/// The downloads of this node.
pub(super) struct Downloads {
    jobs: Jobs,
    active: ActiveDownloads,
    /// Accepted offers that are not active: a job opens or finishes their files.
    pending: BTreeSet<OfferId>,
    /// Accepted offers for which no place is free.
    waiting: WaitingDownloads,
    sources: KnownSources,
}

impl Downloads {
    pub(super) fn new(jobs: Jobs) -> Self {
        Self {
            jobs,
            active: ActiveDownloads::default(),
            pending: BTreeSet::new(),
            waiting: WaitingDownloads::default(),
            sources: KnownSources::default(),
        }
    }

    /// Whether nothing is being downloaded.
    pub(super) fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// Passes an input to the state machine.
    pub(super) fn handle(&mut self, now: Duration, input: Input) {
        self.active.handle(now, input);
    }

    /// The next decision of the state machine.
    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.active.poll_output()
    }

    /// When the state machine needs [`Input::Timeout`], or a download that waits for space is tried
    /// again.
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        // Without a free place, the end of a download is what starts the next one.
        let waiting = self.waiting.poll_timeout().filter(|_| self.has_place());
        let timeouts = [self.active.poll_timeout(), waiting];
        timeouts.into_iter().flatten().min()
    }

    /// The partial download that the state machine requests pieces for.
    pub(super) fn partial(&self, id: OfferId) -> Arc<Partial> {
        self.active.partial(id)
    }

    /// The name of an offer for the log. Empty if the download has ended.
    pub(super) fn name(&self, id: OfferId) -> String {
        self.active.name(id)
    }

    /// Starts to download an offer. `reply` receives the decision once it is stored. A second
    /// acceptance changes nothing.
    pub(super) fn accept(&mut self, offer: StoredOffer, reply: Reply) {
        if self.is_running(offer.id) || self.waiting.contains(offer.id) {
            return answer(reply, Ok(()));
        }
        if !self.has_place() {
            return self.accept_later(offer, reply);
        }
        self.pending.insert(offer.id);
        let files = self.jobs.context.files.clone();
        self.jobs.spawn_blocking(move || {
            let room = files.check_room(offer.id, offer.offer.size);
            JobResult::RoomChecked { offer, room, reply }
        });
    }

    /// All places are taken. The offer is stored as accepted, and begins when a place is free.
    fn accept_later(&mut self, offer: StoredOffer, reply: Reply) {
        let context = &self.jobs.context;
        let stored = context.store.set(offer.id, record_of(OfferState::Wanted));
        context.publish(vec![FileUpdate {
            why: Some(format!(
                "{WANTED_MAX} downloads run: it begins when one has ended"
            )),
            ..FileUpdate::new(offer.clone(), FileState::Waiting)
        }]);
        context.tasks.spawn(async move {
            let stored = stored.await.unwrap_or(Err(StoreError::Closed));
            let stored = stored.map_err(|error| FileError::Store(error.to_string()));
            answer(reply, stored);
        });
        self.waiting.add(offer);
    }

    /// Accepts an offer for which no user waits. It is stored as accepted, and begins when a place
    /// is free and the disk has room, also in a later run.
    pub(super) fn accept_unasked(&mut self, offer: StoredOffer) {
        if self.is_running(offer.id) {
            return;
        }
        let context = &self.jobs.context;
        context.record(offer.id, record_of(OfferState::Wanted));
        context.publish(vec![FileUpdate::new(offer.clone(), FileState::Waiting)]);
        self.waiting.add(offer);
    }

    /// Whether one more download can run.
    fn has_place(&self) -> bool {
        self.active.len() + self.pending.len() < WANTED_MAX
    }

    /// Begins the downloads for which places are free.
    pub(super) fn start_next(&mut self, now: Duration) {
        while self.has_place() {
            match self.waiting.next(now) {
                Next::Begin(offer) => self.open(*offer, None),
                Next::ReadStore => return restore::read_wanted(&self.jobs),
                Next::Nothing => return,
            }
        }
    }

    /// The disk has no room for a download, or is missing. It is tried again later.
    pub(super) fn no_room(&mut self, now: Duration, offer: StoredOffer, why: String) {
        // Unless the user declined it meanwhile.
        if self.pending.remove(&offer.id) {
            self.wait_for_disk(now, offer, why);
        }
    }

    /// Continues [`Downloads::accept`].
    pub(super) fn room_checked(
        &mut self,
        offer: StoredOffer,
        room: Result<(), FileError>,
        reply: Reply,
    ) {
        match room {
            // The user declined it during the check.
            Ok(()) if !self.pending.contains(&offer.id) => {
                answer(reply, Err(FileError::NoSuchOffer));
            }
            Ok(()) => self.open(offer, Some(reply)),
            Err(error) => {
                self.pending.remove(&offer.id);
                answer(reply, Err(error));
            }
        }
    }

    /// Continues the downloads of earlier runs.
    pub(super) fn restore_all(&mut self, rows: Vec<OfferRow>) {
        if rows.len() >= OFFERS_MAX {
            self.waiting.expect_more();
        }
        rows.into_iter().for_each(|row| self.restore(row));
    }

    fn restore(&mut self, row: OfferRow) {
        let context = &self.jobs.context;
        if self.is_running(row.offer.id) {
            return;
        }
        match restore::finished_at(&row, &context.files) {
            // The content was moved to its path, and then the run ended.
            Some(place) => {
                let record = OfferRecord {
                    place: row.record.place,
                    ..record_of(OfferState::Done)
                };
                context.record(row.offer.id, record);
                self.finished(Duration::ZERO, row.offer, Ok(place));
            }
            None => self.waiting.add(row.offer),
        }
    }

    /// Stores that an offer is wanted, and opens its partial download. Without a user who waits for
    /// the answer, the room on the disk was not checked yet.
    fn open(&mut self, offer: StoredOffer, reply: Option<Reply>) {
        let context = &self.jobs.context;
        self.pending.insert(offer.id);
        context.publish(vec![FileUpdate::new(offer.clone(), FileState::Waiting)]);
        let stored = context.store.set(offer.id, record_of(OfferState::Wanted));
        let files = context.files.clone();
        self.jobs.spawn(async move {
            // Without the stored state the download still runs, but only until the node stops.
            let _ = stored.await;
            match reply {
                Some(reply) => answer(reply, Ok(())),
                None => {
                    if let Err(error) = check_room(&files, &offer).await {
                        let why = error.to_string();
                        return JobResult::NoRoom { offer, why };
                    }
                }
            }
            let opened = open_when_there_is_room(&files, &offer).await;
            JobResult::Opened { offer, opened }
        });
    }

    /// Continues [`Downloads::open`]: the state machine may request pieces.
    pub(super) fn opened(
        &mut self,
        now: Duration,
        offer: StoredOffer,
        opened: Result<(Arc<Partial>, Held), WriteError>,
    ) {
        let is_wanted = self.pending.remove(&offer.id);
        match opened {
            Ok((partial, held)) if is_wanted => {
                let sources = self.sources.of(partial.stored.id);
                self.active.start(now, partial, held, sources);
            }
            // The user declined it meanwhile. A second acceptance may use the same files by now.
            Ok((partial, _)) => {
                if !self.active.contains(offer.id) {
                    tokio::task::spawn_blocking(move || partial.remove());
                }
            }
            Err(error @ WriteError::NotMounted) if is_wanted => {
                self.wait_for_disk(now, offer, error.to_string());
            }
            Err(error) if is_wanted => self.fail(offer, error.to_string()),
            Err(_declined_meanwhile) => {}
        }
    }

    /// The disk of a running download was unmounted. The download continues when it is back.
    pub(super) fn unmounted(&mut self, now: Duration, id: OfferId, why: String) {
        // Several streams may report it, and the first report ends the download.
        if let Some(partial) = self.active.end(now, id) {
            partial.cancel();
            self.wait_for_disk(now, partial.stored.clone(), why);
        }
    }

    fn wait_for_disk(&mut self, now: Duration, offer: StoredOffer, why: String) {
        self.jobs.context.publish(vec![FileUpdate {
            why: Some(why),
            ..FileUpdate::new(offer.clone(), FileState::Waiting)
        }]);
        self.waiting.retry_later(now + FULL_AGAIN_AFTER, offer);
    }

    /// Stores and reports that a download failed, also to the sender of the offer.
    fn fail(&self, offer: StoredOffer, why: String) {
        let context = &self.jobs.context;
        let word = FromTransfers::SendWord(offer.id, OfferWord::Failed, None);
        let record = OfferRecord {
            why: Some(why.clone()),
            ..record_of(OfferState::Failed)
        };
        if is_own_failure(&record) {
            context.engine.send(word);
        }
        context.record_failure(offer, why);
    }

    /// A peer reports that it has all of an offer.
    pub(super) fn peer_has(&mut self, now: Duration, id: OfferId, peer: PersonId) {
        self.sources.add(id, peer.only_device());
        self.active
            .handle(now, Input::Source(id, peer.only_device()));
    }

    /// The author pauses the sending of an offer, or sends again.
    pub(super) fn sender_pauses(&mut self, now: Duration, id: OfferId, paused: bool) {
        self.active.sender_pauses(id, paused);
        if !paused && self.active.contains(id) {
            // Ask at once.
            self.active.handle(now, Input::Source(id, id.name.device));
        }
    }

    /// All pieces are on disk: moves the content to its path.
    pub(super) fn finish(&mut self, id: OfferId) {
        let partial = self.active.take_whole(id);
        self.pending.insert(id);
        let context = self.jobs.context.clone();
        self.jobs.spawn(async move {
            let outcome = finish_when_there_is_room(&partial, &context).await;
            JobResult::Finished {
                offer: partial.stored.clone(),
                outcome,
            }
        });
    }

    /// Continues [`Downloads::finish`].
    pub(super) fn finished(
        &mut self,
        now: Duration,
        offer: StoredOffer,
        outcome: Result<PathBuf, WriteError>,
    ) {
        let context = &self.jobs.context;
        let is_wanted = self.pending.remove(&offer.id);
        match outcome {
            Ok(place) => {
                context
                    .engine
                    .send(FromTransfers::SendWord(offer.id, OfferWord::Whole, None));
                context.publish(vec![FileUpdate {
                    bytes: offer.offer.size,
                    place: Some(place),
                    ..FileUpdate::new(offer, FileState::Done)
                }]);
            }
            Err(error @ WriteError::NotMounted) if is_wanted => {
                self.wait_for_disk(now, offer, error.to_string());
            }
            Err(error) if is_wanted => self.fail(offer, error.to_string()),
            Err(_declined_meanwhile) => {}
        }
    }

    /// A user declines an offer, or withdraws one of this node. Replies once the state is stored
    /// and the partial download is removed.
    pub(super) fn decline(&mut self, now: Duration, offer: StoredOffer, reply: Reply) {
        let removed = self.remove(now, offer.id);
        let context = &self.jobs.context;
        let stored = context.store.set(offer.id, record_of(OfferState::Declined));
        let word = if context.is_own(offer.id) {
            OfferWord::Withdrawn
        } else {
            OfferWord::Declined
        };
        context
            .engine
            .send(FromTransfers::SendWord(offer.id, word, None));
        context.publish(vec![FileUpdate::new(offer, FileState::Declined)]);
        context.tasks.spawn(async move {
            let stored = stored.await.unwrap_or(Err(StoreError::Closed));
            removed.await;
            answer(
                reply,
                stored.map_err(|error| FileError::Store(error.to_string())),
            );
        });
    }

    /// A user pauses a download. Replies once the state is stored. The partial download stays.
    pub(super) fn pause(&mut self, now: Duration, offer: StoredOffer, reply: Reply) {
        // A job is opening or finishing the files: it must not lose them.
        if self.pending.contains(&offer.id) {
            return answer(reply, Err(FileError::NotMoving));
        }
        self.waiting.remove(offer.id);
        if let Some(partial) = self.active.end(now, offer.id) {
            partial.cancel();
        }
        let context = &self.jobs.context;
        let stored = context.store.set(offer.id, record_of(OfferState::Paused));
        context.publish(vec![FileUpdate::new(offer, FileState::Paused)]);
        context.tasks.spawn(async move {
            let stored = stored.await.unwrap_or(Err(StoreError::Closed));
            answer(
                reply,
                stored.map_err(|error| FileError::Store(error.to_string())),
            );
        });
    }

    /// A part of a content has arrived by mail. If that content is being downloaded, takes it over.
    pub(super) fn part_stored(&self, id: OfferId) {
        if !self.active.contains(id) {
            return;
        }
        let (partial, files) = (self.partial(id), self.jobs.context.files.clone());
        self.jobs.spawn_blocking(move || {
            let filled = files.fill_from_mail(&partial);
            JobResult::FilledFromMail(id, filled)
        });
    }

    /// Continues [`Downloads::part_stored`].
    pub(super) fn filled_from_mail(
        &mut self,
        now: Duration,
        id: OfferId,
        filled: Result<Vec<u64>, WriteError>,
    ) {
        match filled {
            Ok(pieces) => {
                for piece in pieces {
                    self.active.handle(now, Input::Got(id, piece));
                }
            }
            Err(WriteError::Full) => self.active.handle(now, Input::Full(id)),
            Err(error @ WriteError::NotMounted) => self.unmounted(now, id, error.to_string()),
            Err(error) => self.give_up(now, id, error.to_string()),
        }
    }

    /// The state machine has ended a download: no source is left.
    pub(super) fn gone(&mut self, now: Duration, id: OfferId, failure: Failure) {
        match failure {
            Failure::Refused => self.remove_gone(now, id, WITHDRAWN),
            Failure::Changed => self.remove_gone(now, id, CHANGED),
            Failure::NotHere => self.give_up(now, id, NOT_THERE.to_owned()),
            Failure::Lies | Failure::Lost | Failure::Local => {
                self.give_up(now, id, "the data does not match the offer".to_owned());
            }
        }
    }

    fn remove_gone(&mut self, now: Duration, id: OfferId, why: &str) {
        let offer = self.partial(id).stored.clone();
        self.withdraw(now, offer, why.to_owned());
    }

    /// Ends the download of a content that its author no longer serves. The partial download is
    /// useless, so it is removed before the failure is reported.
    pub(super) fn withdraw(&mut self, now: Duration, offer: StoredOffer, why: String) {
        let removed = self.remove(now, offer.id);
        self.jobs.spawn(async move {
            removed.await;
            JobResult::Removed { offer, why }
        });
    }

    /// Continues [`Downloads::withdraw`].
    pub(super) fn removed(&mut self, offer: StoredOffer, why: String) {
        // A new acceptance meanwhile reports its own result.
        if !self.is_running(offer.id) {
            self.jobs.context.record_failure(offer, why);
        }
    }

    /// Ends a download that can't be completed now. The partial download stays for another try.
    pub(super) fn give_up(&mut self, now: Duration, id: OfferId, why: String) {
        // Several streams may report the same disk error, and the first report ends the download.
        if let Some(partial) = self.active.end(now, id) {
            partial.cancel();
            self.fail(partial.stored.clone(), why);
        }
    }

    /// Ends a download and removes its files. The files are gone when the returned future is ready.
    fn remove(&mut self, now: Duration, id: OfferId) -> impl Future<Output = ()> + use<> {
        self.pending.remove(&id);
        self.waiting.remove(id);
        let partial = self.active.end(now, id);
        let files = self.jobs.context.files.clone();
        let is_own = self.jobs.context.is_own(id);
        let removed = tokio::task::spawn_blocking(move || match partial {
            Some(partial) => partial.remove(),
            None if is_own => {}
            None => {
                files.discard((id.name.log, id.seq));
                files.remove_mailed(id);
            }
        });
        async {
            // The panic hook has reported a panic.
            let _ = removed.await;
        }
    }

    fn is_running(&self, id: OfferId) -> bool {
        self.active.contains(id) || self.pending.contains(&id)
    }

    /// The downloads whose progress has changed since the last call.
    pub(super) fn progress(&mut self, now: Duration) -> Vec<FileUpdate> {
        self.active.progress(now)
    }

    /// The state of every active download.
    pub(super) fn current(&self) -> impl Iterator<Item = FileUpdate> {
        self.active.current()
    }
}

async fn check_room(files: &LocalFiles, offer: &StoredOffer) -> Result<(), FileError> {
    let (files, id, size) = (files.clone(), offer.id, offer.offer.size);
    let checked = tokio::task::spawn_blocking(move || files.check_room(id, size)).await;
    // The panic hook has reported a panic.
    checked.unwrap_or(Ok(()))
}

/// Opens a partial download. Retries while the disk is full.
async fn open_when_there_is_room(
    files: &LocalFiles,
    offer: &StoredOffer,
) -> Result<(Arc<Partial>, Held), WriteError> {
    loop {
        let (files, offer) = (files.clone(), offer.clone());
        let opened = tokio::task::spawn_blocking(move || files.open_partial(offer)).await;
        match opened.unwrap_or_else(|panic| Err(WriteError::Io(std::io::Error::other(panic)))) {
            Err(WriteError::Full) => tokio::time::sleep(FULL_AGAIN_AFTER).await,
            opened => return opened,
        }
    }
}

/// Finishes a download. Retries while the disk is full.
async fn finish_when_there_is_room(
    partial: &Arc<Partial>,
    context: &Context,
) -> Result<PathBuf, WriteError> {
    loop {
        match finish::finish(partial, context).await {
            Err(WriteError::Full) => tokio::time::sleep(FULL_AGAIN_AFTER).await,
            finished => return finished,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use bytes::Bytes;
    use hobnob_core::SessionId;
    use hobnob_protocol::{ConversationId, LogId, LogName, Offer};
    use tempfile::TempDir;
    use tokio::sync::{mpsc, oneshot};
    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;

    use super::super::content_index::ContentIndex;
    use super::super::context::Tasks;
    use super::super::messages::EngineHandle;
    use super::super::offering;
    use super::super::paused_uploads::PausedUploads;
    use super::super::pictures::Pictures;
    use super::super::throttle::Throttle;
    use super::*;
    use crate::clock::Clock;
    use crate::store::Store;

    const NOW: Duration = Duration::from_secs(1);
    const AUTHOR: PersonId = PersonId::from_bytes([2; 32]);
    const SESSION: SessionId = SessionId(1);

    /// The downloads of a node in a temporary folder. Its store is closed.
    struct Setup {
        dir: TempDir,
        downloads: Downloads,
        results: mpsc::UnboundedReceiver<JobResult>,
        /// The states that the engine received.
        published: Arc<Mutex<Vec<FileState>>>,
    }

    impl Setup {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let opened = Store::open(&dir.path().join("db"), 0, |_, _| {}).unwrap();
            let published = Arc::new(Mutex::new(Vec::new()));
            let engine = published.clone();
            let inbox = dir.path().join("inbox");
            let files = LocalFiles::open(dir.path(), None, inbox, Pictures::default()).unwrap();
            let (jobs, results) = Jobs::new(Context {
                me: PersonId::from_bytes([1; 32]),
                files,
                store: opened.store.offers(),
                engine: EngineHandle::new(move |sent| {
                    if let FromTransfers::Publish(updates) = sent {
                        let states = updates.iter().map(|update| update.state);
                        engine.lock().unwrap().extend(states);
                    }
                }),
                tasks: Tasks::new(TaskTracker::new(), CancellationToken::new()),
                throttle: Throttle::new(crate::BandwidthLimits::default(), Clock::start()),
                paused: PausedUploads::default(),
            });
            Self {
                dir,
                downloads: Downloads::new(jobs),
                results,
                published,
            }
        }

        /// An offer of a file with this text.
        fn offer(&self, text: &str) -> StoredOffer {
            let path = self.dir.path().join("notes.txt");
            std::fs::write(&path, text).unwrap();
            let index = ContentIndex::open(self.dir.path().join("theirs"), None).unwrap();
            let offer: Offer = offering::offer(&path, &index).unwrap().offer;
            let name = LogName {
                conversation: ConversationId::from_bytes([3; 32]),
                author: AUTHOR,
                device: AUTHOR.only_device(),
                log: LogId(1),
            };
            StoredOffer {
                id: OfferId { name, seq: 1 },
                offer,
                received_at_ms: 0,
            }
        }

        fn accept(&mut self, offer: &StoredOffer) -> oneshot::Receiver<Result<(), FileError>> {
            let (reply, answer) = oneshot::channel();
            self.downloads.accept(offer.clone(), reply);
            answer
        }

        /// Passes on the result of the next job.
        async fn next_result(&mut self) {
            match self.results.recv().await.expect("a job runs") {
                JobResult::RoomChecked { offer, room, reply } => {
                    self.downloads.room_checked(offer, room, reply);
                }
                JobResult::NoRoom { offer, why } => self.downloads.no_room(NOW, offer, why),
                JobResult::Opened { offer, opened } => self.downloads.opened(NOW, offer, opened),
                JobResult::Finished { offer, outcome } => {
                    self.downloads.finished(NOW, offer, outcome)
                }
                JobResult::Removed { offer, why } => self.downloads.removed(offer, why),
                JobResult::FilledFromMail(id, filled) => {
                    self.downloads.filled_from_mail(NOW, id, filled);
                }
                other @ (JobResult::AcceptRead(..)
                | JobResult::PartStored(_)
                | JobResult::DeclineRead(..)
                | JobResult::PauseRead(..)
                | JobResult::WantedRead(_)
                | JobResult::WordRead(..)
                | JobResult::ServeFailureRead(..)
                | JobResult::UploadRead(..)) => panic!("no job of the downloads: {other:?}"),
            }
        }

        /// Accepts an offer and waits until its pieces can be requested.
        async fn open(&mut self, offer: &StoredOffer) {
            let answer = self.accept(offer);
            self.next_result().await;
            self.next_result().await;
            assert_eq!(answer.await, Ok(Ok(())));
        }

        fn inbox(&self) -> Vec<String> {
            let entries = std::fs::read_dir(self.dir.path().join("inbox")).unwrap();
            entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect()
        }

        fn published(&self) -> Vec<FileState> {
            self.published.lock().unwrap().clone()
        }
    }

    #[tokio::test]
    async fn a_content_that_comes_by_mail_completes_a_download() {
        let mut setup = Setup::new();
        let offer = setup.offer("by mail");
        setup.open(&offer).await;
        setup.downloads.part_stored(OfferId {
            seq: 99,
            ..offer.id
        });
        let files = setup.downloads.jobs.context.files.clone();
        files.store_part(offer.id, 0, b"by mail").unwrap();
        setup.downloads.part_stored(offer.id);
        setup.next_result().await;
        let mut outputs = std::iter::from_fn(|| setup.downloads.poll_output());
        assert!(outputs.any(|output| output == Output::Whole(offer.id)));
    }

    #[tokio::test]
    async fn an_accepted_offer_is_requested_written_and_finished() {
        let mut setup = Setup::new();
        let offer = setup.offer("milk, bread");
        setup.open(&offer).await;
        let up = Input::SessionUp(SESSION, AUTHOR.only_device());
        setup.downloads.handle(NOW, up);
        let Some(Output::Ask(SESSION, ask)) = setup.downloads.poll_output() else {
            panic!("the only piece is requested from the author");
        };
        let partial = setup.downloads.partial(ask.offer);
        let piece = Bytes::from("milk, bread");
        let leaf = partial.shape.leaf(0, &piece);
        partial
            .write(&[leaf], &[(0, piece)], &mut Vec::new())
            .unwrap();
        setup.downloads.handle(NOW, Input::Got(offer.id, 0));
        assert_eq!(setup.downloads.poll_output(), Some(Output::Whole(offer.id)));
        setup.downloads.finish(offer.id);
        setup.next_result().await;
        assert_eq!(setup.inbox(), ["notes.txt"]);
        assert_eq!(setup.published(), [FileState::Waiting, FileState::Done]);
        assert!(setup.downloads.is_empty());
    }

    #[tokio::test]
    async fn a_second_acceptance_changes_nothing() {
        let mut setup = Setup::new();
        let offer = setup.offer("milk");
        let (first, second) = (setup.accept(&offer), setup.accept(&offer));
        assert_eq!(second.await, Ok(Ok(())));
        setup.next_result().await;
        setup.next_result().await;
        assert_eq!(first.await, Ok(Ok(())));
        assert_eq!(setup.published(), [FileState::Waiting]);
        assert_eq!(setup.downloads.current().count(), 1);
    }

    #[tokio::test]
    async fn a_paused_download_keeps_its_part_and_continues_when_it_is_accepted() {
        let mut setup = Setup::new();
        let offer = setup.offer("milk");
        setup.open(&offer).await;
        let (reply, _paused) = oneshot::channel();
        setup.downloads.pause(NOW, offer.clone(), reply);
        assert!(setup.downloads.is_empty());
        let part = (offer.id.name.log, offer.id.seq);
        let files = setup.downloads.jobs.context.files.clone();
        assert_eq!(files.partials().unwrap(), [part]);
        setup.open(&offer).await;
        assert_eq!(setup.downloads.current().count(), 1);
        let states = [FileState::Waiting, FileState::Paused, FileState::Waiting];
        assert_eq!(setup.published(), states);
    }

    #[tokio::test]
    async fn a_download_whose_files_are_being_opened_cannot_be_paused() {
        let mut setup = Setup::new();
        let offer = setup.offer("milk");
        let _accepted = setup.accept(&offer);
        let (reply, paused) = oneshot::channel();
        setup.downloads.pause(NOW, offer.clone(), reply);
        assert_eq!(paused.await, Ok(Err(FileError::NotMoving)));
        setup.next_result().await;
        setup.next_result().await;
        assert_eq!(setup.downloads.current().count(), 1, "it is not stopped");
    }

    #[tokio::test]
    async fn offers_that_are_accepted_unasked_wait_for_a_place_and_none_is_forgotten() {
        let mut setup = Setup::new();
        let offer = setup.offer("milk");
        let numbered = |seq| StoredOffer {
            id: OfferId { seq, ..offer.id },
            ..offer.clone()
        };
        let all = 3 * WANTED_MAX as u64;
        (1..=all).for_each(|seq| setup.downloads.accept_unasked(numbered(seq)));
        setup.downloads.start_next(NOW);
        assert_eq!(setup.downloads.pending.len(), WANTED_MAX);
        for seq in 1..=all {
            let (reply, _) = oneshot::channel();
            setup.downloads.decline(NOW, numbered(seq), reply);
            setup.downloads.start_next(NOW);
        }
        let begun = setup.published();
        let begun = begun.iter().filter(|state| **state == FileState::Waiting);
        assert_eq!(
            begun.count() as u64,
            2 * all,
            "each is accepted, and begins"
        );
    }

    #[tokio::test]
    async fn an_offer_that_a_user_accepts_waits_for_a_place() {
        let mut setup = Setup::new();
        let offer = setup.offer("milk");
        let numbered = |seq| StoredOffer {
            id: OfferId { seq, ..offer.id },
            ..offer.clone()
        };
        let all = WANTED_MAX as u64;
        (1..=all).for_each(|seq| setup.downloads.accept_unasked(numbered(seq)));
        setup.downloads.start_next(NOW);
        let late = numbered(all + 1);
        let accepted = setup.accept(&late);
        assert!(!setup.downloads.pending.contains(&late.id));
        let stopped = FileError::Store(StoreError::Closed.to_string());
        assert_eq!(accepted.await, Ok(Err(stopped)), "this store is closed");
        let (reply, _) = oneshot::channel();
        setup.downloads.decline(NOW, numbered(1), reply);
        setup.downloads.start_next(NOW);
        assert!(setup.downloads.pending.contains(&late.id), "it begins");
    }

    #[tokio::test]
    async fn an_offer_that_is_accepted_unasked_waits_for_space_on_the_disk() {
        let mut setup = Setup::new();
        let mut offer = setup.offer("milk");
        offer.offer.size = 1 << 49;
        setup.downloads.accept_unasked(offer.clone());
        setup.downloads.start_next(NOW);
        setup.next_result().await;
        assert!(setup.downloads.pending.is_empty(), "its place is free");
        assert_eq!(setup.downloads.poll_timeout(), Some(NOW + FULL_AGAIN_AFTER));
        setup.downloads.start_next(NOW + FULL_AGAIN_AFTER);
        assert!(
            setup.downloads.pending.contains(&offer.id),
            "it is tried again"
        );
    }

    #[tokio::test]
    async fn a_full_disk_wakes_nobody_while_no_place_is_free() {
        let mut setup = Setup::new();
        let mut large = setup.offer("milk");
        large.offer.size = 1 << 49;
        setup.downloads.accept_unasked(large.clone());
        setup.downloads.start_next(NOW);
        setup.next_result().await;
        assert!(setup.downloads.poll_timeout().is_some());
        for seq in 2..2 + WANTED_MAX as u64 {
            let id = OfferId { seq, ..large.id };
            let other = StoredOffer {
                id,
                ..large.clone()
            };
            setup.downloads.accept_unasked(other);
        }
        setup.downloads.start_next(NOW);
        assert_eq!(
            setup.downloads.poll_timeout(),
            None,
            "a due time would spin"
        );
    }

    #[tokio::test]
    async fn an_offer_that_is_declined_during_the_check_is_not_downloaded() {
        let mut setup = Setup::new();
        let offer = setup.offer("milk");
        let accepted = setup.accept(&offer);
        let (reply, declined) = oneshot::channel();
        setup.downloads.decline(NOW, offer, reply);
        setup.next_result().await;
        assert_eq!(accepted.await, Ok(Err(FileError::NoSuchOffer)));
        let stopped = FileError::Store(StoreError::Closed.to_string());
        assert_eq!(declined.await, Ok(Err(stopped)), "this store is closed");
        assert!(setup.downloads.is_empty() && setup.inbox().is_empty());
    }

    #[tokio::test]
    async fn a_withdrawn_offer_leaves_nothing_on_the_disk_before_its_failure_is_reported() {
        let mut setup = Setup::new();
        let offer = setup.offer("milk");
        setup.open(&offer).await;
        assert_eq!(setup.inbox().len(), 1, "the partial download");
        setup.downloads.withdraw(NOW, offer, WITHDRAWN.to_owned());
        assert_eq!(setup.published(), [FileState::Waiting]);
        setup.next_result().await;
        assert_eq!(setup.published(), [FileState::Waiting, FileState::Failed]);
        assert!(setup.inbox().is_empty());
    }

    #[tokio::test]
    async fn a_download_that_failed_keeps_its_pieces_and_is_reported_once() {
        let mut setup = Setup::new();
        let offer = setup.offer("milk");
        setup.open(&offer).await;
        for _report_of_each_stream in 0..2 {
            setup
                .downloads
                .give_up(NOW, offer.id, "the disk failed".to_owned());
        }
        assert_eq!(setup.published(), [FileState::Waiting, FileState::Failed]);
        assert_eq!(setup.inbox().len(), 1, "the partial download");
    }

    #[tokio::test]
    async fn progress_is_reported_when_it_changes() {
        let mut setup = Setup::new();
        let offer = setup.offer("milk");
        setup.open(&offer).await;
        let updates = setup.downloads.progress(NOW);
        assert_eq!(updates.len(), 1);
        assert_eq!(updates[0].state, FileState::Waiting);
        assert_eq!(setup.downloads.progress(NOW).len(), 0);
        setup.downloads.handle(NOW, Input::Full(offer.id));
        let updates = setup.downloads.progress(NOW);
        assert!(
            updates[0]
                .why
                .as_deref()
                .is_some_and(|why| why.contains("disk is full"))
        );
    }
}
