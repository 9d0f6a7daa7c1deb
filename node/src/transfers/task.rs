//! The transfer task: receives messages and results, and passes each to the part that it concerns.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use hobnob_core::SessionId;
use hobnob_core::commit::OfferState;
use hobnob_core::transfers::{Failure, Input, Output};
use hobnob_protocol::{OfferId, OfferWord, PersonId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::attributes::KeptAttributes;
use super::auto_accept::AutoAccept;
use super::content_sessions::ContentSessions;
use super::context::{Context, Tasks, record_of};
use super::downloads::Downloads;
use super::fetch::Fetched;
use super::jobs::{JobResult, Jobs, Reply, answer};
use super::local_files::LocalFiles;
use super::messages::{EngineHandle, FileCommand, FileUpdate, FromTransfers, ToTransfers};
use super::partial::WriteError;
use super::paused_uploads::PausedUploads;
use super::peer_words::{Effect, NOT_STORED, PeerWords};
use super::pictures::Pictures;
use super::serve::{ContentServer, Served};
use super::throttle::Throttle;
use super::uploads::Uploads;
use super::{cleanup, commands, outgoing_mail, restore};
use crate::clock::Clock;
use crate::data_key::DataKey;
use crate::store::{OfferRow, OfferStore, StoreError, StoredOffer};
use crate::{FileError, FileState, FilesConfig};

/// How often the task reports the progress of transfers.
const REPORT_EVERY: Duration = Duration::from_millis(250);

/// Capacity of each channel for reports about pieces. Senders wait while it is full.
const REPORTS_MAX: usize = 64;

/// The values that the task needs from the node that starts it.
pub(crate) struct Parts {
    pub(crate) clock: Clock,
    pub(crate) me: PersonId,
    pub(crate) home: PathBuf,
    /// The key of a locked home.
    pub(crate) data_key: Option<DataKey>,
    pub(crate) config: FilesConfig,
    pub(crate) store: OfferStore,
    pub(crate) engine: EngineHandle,
    pub(crate) pictures: Pictures,
    pub(crate) tasks: TaskTracker,
    pub(crate) stopping: CancellationToken,
}

/// Owns the parts that download and serve content.
pub(crate) struct TransferTask {
    clock: Clock,
    jobs: Jobs,
    auto_accept: AutoAccept,
    sessions: ContentSessions,
    downloads: Downloads,
    server: ContentServer,
    uploads: Uploads,
    words: PeerWords,
    /// When the next progress report is due.
    report_at: Duration,
}

/// The channels on which the task receives.
struct Inbox {
    messages: mpsc::UnboundedReceiver<ToTransfers>,
    results: mpsc::UnboundedReceiver<JobResult>,
    fetched: mpsc::Receiver<Fetched>,
    served: mpsc::Receiver<Served>,
}

impl TransferTask {
    /// Starts the task. It ends when `stopping` is cancelled.
    pub(crate) fn start(
        parts: Parts,
        messages: mpsc::UnboundedReceiver<ToTransfers>,
    ) -> io::Result<()> {
        let (fetched, fetched_queue) = mpsc::channel(REPORTS_MAX);
        let (served, served_queue) = mpsc::channel(REPORTS_MAX);
        let auto_accept = AutoAccept::new(&parts.config, parts.me);
        let context = Context {
            me: parts.me,
            files: LocalFiles::open(
                &parts.home,
                parts.data_key,
                parts.config.downloads,
                parts.pictures,
            )?
            .keeping(KeptAttributes {
                executable: parts.config.keep_executable,
            }),
            store: parts.store,
            engine: parts.engine,
            tasks: Tasks::new(parts.tasks.clone(), parts.stopping.clone()),
            throttle: Throttle::new(parts.config.limits, parts.clock),
            paused: PausedUploads::default(),
        };
        let (jobs, results) = Jobs::new(context.clone());
        let task = Self {
            clock: parts.clock,
            auto_accept,
            sessions: ContentSessions::new(fetched, context.throttle.clone()),
            downloads: Downloads::new(jobs.clone()),
            server: ContentServer::new(context, served),
            uploads: Uploads::default(),
            words: PeerWords::new(jobs.clone()),
            report_at: Duration::ZERO,
            jobs,
        };
        let inbox = Inbox {
            messages,
            results,
            fetched: fetched_queue,
            served: served_queue,
        };
        parts.tasks.spawn(task.run(inbox, parts.stopping));
        Ok(())
    }

    async fn run(mut self, mut inbox: Inbox, stopping: CancellationToken) {
        // Before the task accepts anything, so that every partial download in the folder is one
        // that an earlier run left.
        cleanup::remove_leftovers(&self.jobs.context).await;
        if let Err(error) = cleanup::remove_contents(&self.jobs.context).await {
            warn!("contents that nobody offers any more can't be removed: {error}");
        }
        restore::read_wanted(&self.jobs);
        loop {
            let wake = self.clock.at(self.next_timeout());
            tokio::select! {
                () = stopping.cancelled() => break,
                Some(message) = inbox.messages.recv() => self.on_message(message),
                Some(result) = inbox.results.recv() => self.on_result(result),
                Some(fetched) = inbox.fetched.recv() => self.on_fetched(fetched),
                Some(served) = inbox.served.recv() => self.on_served(served),
                () = tokio::time::sleep_until(wake) => self.on_timeout(),
            }
            // After every input, so that the parts never see an output that a later input made
            // void.
            self.carry_out();
            self.downloads.start_next(self.now());
        }
    }

    fn now(&self) -> Duration {
        self.clock.now().mono
    }

    fn next_timeout(&self) -> Duration {
        const LONGEST_SLEEP: Duration = Duration::from_secs(3600);
        let reports = !self.downloads.is_empty() || !self.uploads.is_empty();
        let due = [
            self.downloads.poll_timeout(),
            reports.then_some(self.report_at),
        ];
        let latest = self.now() + LONGEST_SLEEP;
        due.into_iter().flatten().min().unwrap_or(latest)
    }

    fn on_timeout(&mut self) {
        let now = self.now();
        if self.downloads.poll_timeout().is_some_and(|at| at <= now) {
            self.downloads.handle(now, Input::Timeout);
        }
        if self.report_at <= now {
            self.report_at = now + REPORT_EVERY;
            let mut updates = self.downloads.progress(now);
            updates.extend(self.uploads.progress(now));
            self.jobs.context.publish(updates);
        }
    }

    fn on_message(&mut self, message: ToTransfers) {
        match message {
            ToTransfers::SessionUp(session, peer, opener) => {
                self.sessions.up(session, peer, opener);
                self.downloads
                    .handle(self.now(), Input::SessionUp(session, peer));
                self.words.repeat(session, peer.person());
            }
            ToTransfers::SessionDown(session) => {
                let peer = self.sessions.down(session);
                self.downloads
                    .handle(self.now(), Input::SessionDown(session));
                // A peer without content streams had no session here.
                if let Some(peer) = peer.filter(|peer| !self.sessions.has(*peer)) {
                    self.uploads.peer_left(peer.person());
                }
            }
            ToTransfers::ContentStream(session, stream) => self.server.serve(session, stream),
            ToTransfers::PeerWord(peer, id, word) => self.on_word(peer, id, word),
            ToTransfers::Offered { offer, verified } => self.on_offer(offer, verified),
            ToTransfers::RemoveContents(reply) => {
                let context = self.jobs.context.clone();
                self.jobs.context.tasks.spawn(async move {
                    let _ = reply.send(cleanup::remove_contents(&context).await);
                });
            }
            ToTransfers::MailedPart {
                id,
                part,
                bytes,
                session,
            } => self.store_part(id, part, bytes, session),
            ToTransfers::ReadForMail(session, id) => {
                let context = self.jobs.context.clone();
                self.jobs.context.tasks.spawn(async move {
                    let content = outgoing_mail::read(&context, id).await;
                    let read = FromTransfers::ReadForMail(session, id, content);
                    context.engine.send(read);
                });
            }
            ToTransfers::Configure {
                accept_from,
                size_max,
                limits,
            } => {
                self.auto_accept.set(accept_from, size_max);
                self.jobs.context.throttle.set(limits);
            }
            ToTransfers::Command(command) => self.on_command(command),
        }
    }

    fn on_word(&mut self, peer: PersonId, id: OfferId, word: OfferWord) {
        match word {
            // The author may pause and continue many times, so these are not remembered.
            OfferWord::Paused | OfferWord::Resumed if id.name.author == peer => {
                let paused = word == OfferWord::Paused;
                self.downloads.sender_pauses(self.now(), id, paused);
            }
            OfferWord::Whole => {
                self.downloads.peer_has(self.now(), id, peer);
                self.words.hear(peer, id, word);
            }
            OfferWord::Declined
            | OfferWord::Withdrawn
            | OfferWord::Changed
            | OfferWord::Failed
            | OfferWord::Paused
            | OfferWord::Resumed
            | OfferWord::Unknown(_) => self.words.hear(peer, id, word),
        }
    }

    /// The user pauses the sending of an offer of this node, or lets it continue. Replies once the
    /// state is stored.
    fn pause_own(&mut self, offer: StoredOffer, paused: bool, reply: Reply) {
        let context = &self.jobs.context;
        context.paused.set(offer.id, paused);
        let (stored, shown, word) = match paused {
            true => (OfferState::Paused, FileState::Paused, OfferWord::Paused),
            false => (OfferState::Offered, FileState::Offered, OfferWord::Resumed),
        };
        let stored = context.store.set(offer.id, record_of(stored));
        if paused {
            self.uploads.end_all(offer.id);
        }
        let engine = context.engine.clone();
        let word = FromTransfers::SendWord(offer.id, word, None);
        context.publish(vec![FileUpdate::new(offer, shown)]);
        context.tasks.spawn(async move {
            let stored = stored.await.unwrap_or(Err(StoreError::Closed));
            // A peer that asks now is answered by the stored state.
            engine.send(word);
            answer(
                reply,
                stored.map_err(|error| FileError::Store(error.to_string())),
            );
        });
    }

    /// Stores a part of a content that arrived by mail.
    fn store_part(&self, id: OfferId, part: u8, bytes: Bytes, session: SessionId) {
        let context = self.jobs.context.clone();
        self.jobs.spawn_blocking(move || {
            if let Err(error) = context.files.store_part(id, part, &bytes) {
                // The file is downloaded when its sender is connected.
                info!("a part of a file that came by mail is dropped: {error}");
            }
            context.engine.send(FromTransfers::PartStored(session));
            JobResult::PartStored(id)
        });
    }

    fn on_offer(&mut self, offer: StoredOffer, verified: bool) {
        self.jobs.context.files.index.is_offered(offer.offer.hash);
        self.jobs
            .context
            .publish(vec![FileUpdate::new(offer.clone(), FileState::Offered)]);
        if self.auto_accept.accepts(&offer, verified) {
            self.downloads.accept_unasked(offer);
        }
    }

    fn on_command(&mut self, command: FileCommand) {
        match command {
            FileCommand::Prepare(path, reply) => commands::prepare(&self.jobs.context, path, reply),
            FileCommand::Accept(id, reply) => commands::look_up(&self.jobs, id, |row| {
                JobResult::AcceptRead(row.map(Box::new), reply)
            }),
            FileCommand::Decline(id, reply) => commands::look_up(&self.jobs, id, |row| {
                JobResult::DeclineRead(row.map(Box::new), reply)
            }),
            FileCommand::Pause(id, reply) => commands::look_up(&self.jobs, id, |row| {
                JobResult::PauseRead(row.map(Box::new), reply)
            }),
            FileCommand::List(reply) => {
                let current = self.downloads.current().chain(self.uploads.current());
                commands::list(&self.jobs.context, current, reply);
            }
        }
    }

    fn on_result(&mut self, result: JobResult) {
        let now = self.now();
        match result {
            JobResult::AcceptRead(row, reply) => {
                let checked = row.and_then(|row| {
                    commands::check_accept(&row, self.jobs.context.me).map(|()| row.offer)
                });
                match checked {
                    Ok(offer) if self.jobs.context.is_own(offer.id) => {
                        self.pause_own(offer, false, reply);
                    }
                    Ok(offer) => self.downloads.accept(offer, reply),
                    Err(error) => answer(reply, Err(error)),
                }
            }
            JobResult::RoomChecked { offer, room, reply } => {
                self.downloads.room_checked(offer, room, reply);
            }
            JobResult::PauseRead(row, reply) => {
                let checked = row.and_then(|row| {
                    commands::check_pause(&row, self.jobs.context.me).map(|()| row.offer)
                });
                match checked {
                    Ok(offer) if self.jobs.context.is_own(offer.id) => {
                        self.pause_own(offer, true, reply);
                    }
                    Ok(offer) => self.downloads.pause(now, offer, reply),
                    Err(error) => answer(reply, Err(error)),
                }
            }
            JobResult::DeclineRead(row, reply) => {
                let checked = row.and_then(|row| {
                    commands::check_decline(&row, self.jobs.context.me).map(|()| row.offer)
                });
                match checked {
                    Ok(offer) => {
                        self.uploads.end_all(offer.id);
                        self.downloads.decline(now, offer, reply);
                    }
                    Err(error) => answer(reply, Err(error)),
                }
            }
            JobResult::WantedRead(rows) => self.downloads.restore_all(rows),
            JobResult::NoRoom { offer, why } => self.downloads.no_room(now, offer, why),
            JobResult::Opened { offer, opened } => self.downloads.opened(now, offer, opened),
            JobResult::Finished { offer, outcome } => self.downloads.finished(now, offer, outcome),
            JobResult::Removed { offer, why } => self.downloads.removed(offer, why),
            JobResult::WordRead(row, peer, word) => self.apply_word(*row, peer, word),
            JobResult::ServeFailureRead(row, error) => {
                if let Some(failed) = self.server.report_failure(*row, &error) {
                    self.uploads.end_all(failed);
                }
            }
            JobResult::PartStored(id) => self.downloads.part_stored(id),
            JobResult::FilledFromMail(id, filled) => {
                self.downloads.filled_from_mail(now, id, filled);
            }
            JobResult::UploadRead(row, peer) => self.uploads.describe(peer, row.offer),
        }
    }

    fn apply_word(&mut self, row: OfferRow, peer: PersonId, word: OfferWord) {
        let offer = row.offer.clone();
        match self.words.effect(&row, peer, word) {
            Effect::Received { of_everybody } => {
                if of_everybody {
                    self.jobs.context.record_received(offer.id);
                }
                self.uploads.end(offer.id, peer);
                self.jobs.context.publish(vec![FileUpdate {
                    bytes: offer.offer.size,
                    peers: vec![peer],
                    ..FileUpdate::new(offer, FileState::Done)
                }]);
            }
            Effect::Refused {
                failed,
                of_everybody,
            } => {
                self.uploads.end(offer.id, peer);
                let why = failed.then(|| NOT_STORED.to_owned());
                if of_everybody {
                    self.jobs.context.record_refused(offer.id, why.clone());
                }
                let state = match failed {
                    true => FileState::Failed,
                    false => FileState::Declined,
                };
                self.jobs.context.publish(vec![FileUpdate {
                    peers: vec![peer],
                    why,
                    ..FileUpdate::new(offer, state)
                }]);
            }
            Effect::Unavailable(why) => {
                self.downloads.withdraw(self.now(), offer, why.to_owned());
            }
            Effect::Nothing => {}
        }
    }

    fn on_fetched(&mut self, fetched: Fetched) {
        let now = self.now();
        match fetched {
            Fetched::Got(session, id, pieces) => {
                for piece in pieces {
                    self.downloads.handle(now, Input::Got(id, piece));
                }
                // The session may have ended since these pieces were written.
                if let Some(rtt) = self.sessions.rtt(session) {
                    self.downloads.handle(now, Input::Flows(session, rtt));
                }
            }
            Fetched::Answered(session, ask, outcome) => {
                self.downloads
                    .handle(now, Input::Answered(session, ask, outcome));
            }
            Fetched::NotWritten(id, WriteError::Full) => {
                let name = self.downloads.name(id);
                info!("the disk is full: {name} resumes when there is space");
                self.downloads.handle(now, Input::Full(id));
            }
            Fetched::NotWritten(id, error @ WriteError::NotMounted) => {
                self.downloads.unmounted(now, id, error.to_string());
            }
            Fetched::NotWritten(id, error) => self.downloads.give_up(now, id, error.to_string()),
            Fetched::Ended(session, run) => {
                if self.sessions.streams_ended(session, run) {
                    self.downloads.handle(now, Input::StreamsEnded(session));
                }
            }
        }
    }

    fn on_served(&mut self, served: Served) {
        match served {
            Served::Bytes(session, id, bytes) => {
                // The session may have ended since these bytes were sent.
                if let Some(peer) = self.sessions.peer(session)
                    && self.uploads.count(id, peer.person(), bytes)
                {
                    self.jobs.read(id, move |row| {
                        JobResult::UploadRead(Box::new(row), peer.person())
                    });
                }
            }
            Served::Failed(id, error) => self.jobs.read(id, move |row| {
                JobResult::ServeFailureRead(Box::new(row), error)
            }),
        }
    }

    /// Carries out what the state machine of the downloads decided.
    fn carry_out(&mut self) {
        while let Some(output) = self.downloads.poll_output() {
            let now = self.now();
            match output {
                Output::Ask(session, ask) => {
                    let partial = self.downloads.partial(ask.offer);
                    if !self.sessions.ask(session, (ask, partial)) {
                        let lost = Input::Answered(session, ask, Err(Failure::Lost));
                        self.downloads.handle(now, lost);
                    }
                }
                Output::Widen(session, streams) => {
                    let streams = self.sessions.widen(session, streams);
                    self.downloads.handle(now, Input::Widened(session, streams));
                }
                Output::Abandon(session) => self.sessions.abandon(session),
                Output::Whole(id) => self.downloads.finish(id),
                Output::Gone(id, failure) => self.downloads.gone(now, id, failure),
                Output::Liar(id, peer) => self.warn_of_liar(id, peer.person()),
            }
        }
    }

    fn warn_of_liar(&self, id: OfferId, peer: PersonId) {
        let name = self.downloads.name(id);
        warn!(
            ?peer,
            "this peer sent data that does not match the offer of {name}"
        );
    }
}
