//! Transfers: the shell around [`hobnob_core::transfers`], a task beside the engine.
//!
//! It owns files: what this node offers (`offering`, `content_index`, `serve`), what it fetches (`fetch`,
//! `partial`), and where that goes (`folder`, `names`), and how large pictures are (`pictures`).
//! Reading and writing happen in threads that may wait for the disk; neither the engine nor this
//! task does. What may be served to whom is the replica's rule, asked for each time (`messages`).
//! Offers themselves are entries like any other.

mod commands;
mod content_index;
mod fetch;
mod finish;
mod folder;
mod folder_writer;
pub(super) mod messages;
mod names;
mod news;
mod offering;
mod partial;
pub(super) mod pictures;
mod serve;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hobnob_protocol::{ConversationId, Offer, OfferId, OfferWord, PeerId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use self::commands::OfferRead;
use self::content_index::ContentIndex;
use self::fetch::{Fetched, Fetchers};
use self::finish::Finished;
use self::messages::{EngineLine, ToTransfers};
use self::news::{Moved, Sending};
use self::partial::{Partial, WriteError};
use self::pictures::Pictures;
use self::serve::{Served, Server};
use super::clock::Clock;
use super::{FileState, FilesConfig};
use crate::net::content::{ContentOpener, ContentStream, WindowBudget};
use crate::store::OfferStore;
use hobnob_core::SessionId;
use hobnob_core::commit::{OfferRecord, OfferState};
use hobnob_core::transfers::{Failure, Held, Input, Output, Transfers};

/// How often those who watch are told how far transfers are.
const NEWS_EVERY: Duration = Duration::from_millis(250);

/// Reports of pieces that wait; who has more waits.
const REPORTS_MAX: usize = 64;

/// Words of peers that are remembered, so that each is heard once; with one more, all are
/// forgotten.
const WORDS_MAX: usize = 4096;

/// A content on its way here.
#[derive(Debug)]
struct Wanted {
    partial: Arc<Partial>,
    received_at_ms: u64,
    moved: Moved,
}

/// Offers of which it is remembered who else has them, and how many peers of each; further ones are
/// heard of in a new session.
const SOURCES_MAX: usize = 1024;
const SOURCES_OF_ONE_MAX: usize = 64;

/// What tasks of transfers report.
#[derive(Debug)]
enum Done {
    /// What was read to decide something.
    OfferRead(OfferRead),
    /// A part was taken up or begun.
    Opened {
        id: OfferId,
        offer: Offer,
        received_at_ms: u64,
        opened: Result<(Arc<Partial>, Held), WriteError>,
    },
    /// A whole content has got its place.
    Finished(Finished),
    /// What there was of it is removed, since it can't be had any more.
    Lost {
        id: OfferId,
        offer: Offer,
        received_at_ms: u64,
        why: String,
    },
}

/// What transfers are made of.
pub(super) struct Parts {
    pub(super) clock: Clock,
    pub(super) me: PeerId,
    pub(super) home: PathBuf,
    pub(super) config: FilesConfig,
    pub(super) desk: OfferStore,
    pub(super) engine: EngineLine,
    pub(super) pictures: Pictures,
    pub(super) tasks: TaskTracker,
    pub(super) stopping: CancellationToken,
}

/// The task. See the module's doc.
pub(super) struct TransferTask {
    clock: Clock,
    me: PeerId,
    config: FilesConfig,
    index: ContentIndex,
    desk: OfferStore,
    engine: EngineLine,
    pictures: Pictures,
    tasks: TaskTracker,
    stopping: CancellationToken,
    machine: Transfers,
    sessions: BTreeMap<SessionId, (PeerId, ContentOpener)>,
    fetchers: BTreeMap<SessionId, Fetchers>,
    /// How often fetching began on any session.
    runs: u64,
    /// Memory for what comes, and for what is sent.
    room_to_fetch: WindowBudget,
    room_to_serve: WindowBudget,
    wanted: BTreeMap<OfferId, Wanted>,
    /// Accepted, and not opened or not finished yet.
    busy: BTreeSet<OfferId>,
    sending: BTreeMap<(OfferId, PeerId), Sending>,
    words: BTreeSet<(OfferId, PeerId, OfferWord)>,
    /// Who has said that they have a content whole.
    sources: BTreeMap<OfferId, BTreeSet<PeerId>>,
    news_at: Duration,
    done: mpsc::UnboundedSender<Done>,
    fetched: mpsc::Sender<Fetched>,
    served: mpsc::Sender<Served>,
}

/// The channels that the task listens to.
struct Inbox {
    heard: mpsc::UnboundedReceiver<ToTransfers>,
    done: mpsc::UnboundedReceiver<Done>,
    fetched: mpsc::Receiver<Fetched>,
    served: mpsc::Receiver<Served>,
}

impl TransferTask {
    /// Starts the task; it ends when `stopping` says so.
    pub(super) fn start(
        parts: Parts,
        heard: mpsc::UnboundedReceiver<ToTransfers>,
    ) -> io::Result<()> {
        let (done, done_queue) = mpsc::unbounded_channel();
        let (fetched, fetched_queue) = mpsc::channel(REPORTS_MAX);
        let (served, served_queue) = mpsc::channel(REPORTS_MAX);
        let task = Self {
            clock: parts.clock,
            me: parts.me,
            config: parts.config,
            index: ContentIndex::open(parts.home.join("content"))?,
            desk: parts.desk,
            engine: parts.engine,
            pictures: parts.pictures,
            tasks: parts.tasks.clone(),
            stopping: parts.stopping,
            machine: Transfers::default(),
            sessions: BTreeMap::new(),
            fetchers: BTreeMap::new(),
            runs: 0,
            room_to_fetch: WindowBudget::default(),
            room_to_serve: WindowBudget::default(),
            wanted: BTreeMap::new(),
            busy: BTreeSet::new(),
            sending: BTreeMap::new(),
            words: BTreeSet::new(),
            sources: BTreeMap::new(),
            news_at: Duration::ZERO,
            done,
            fetched,
            served,
        };
        let inbox = Inbox {
            heard,
            done: done_queue,
            fetched: fetched_queue,
            served: served_queue,
        };
        parts.tasks.spawn(task.run(inbox));
        Ok(())
    }

    async fn run(mut self, mut inbox: Inbox) {
        // Before anything is accepted, so that no part is one that is just being begun.
        self.sweep().await;
        self.take_up();
        let stopping = self.stopping.clone();
        loop {
            let wake = self.clock.at(self.next_timeout());
            tokio::select! {
                () = stopping.cancelled() => break,
                Some(heard) = inbox.heard.recv() => self.heard(heard),
                Some(done) = inbox.done.recv() => self.done(done),
                Some(fetched) = inbox.fetched.recv() => self.fetched(fetched),
                Some(served) = inbox.served.recv() => self.served(served),
                () = tokio::time::sleep_until(wake) => self.time_out(),
            }
            self.carry_out();
        }
    }

    fn next_timeout(&self) -> Duration {
        const SELDOM: Duration = Duration::from_secs(3600);
        let news = if self.has_news() {
            Some(self.news_at)
        } else {
            None
        };
        let latest = self.clock.now().mono + SELDOM;
        [self.machine.poll_timeout(), news]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(latest)
    }

    fn time_out(&mut self) {
        let now = self.clock.now().mono;
        if self.machine.poll_timeout().is_some_and(|at| at <= now) {
            self.tell(Input::Timeout);
        }
        if self.news_at <= now {
            self.news_at = now + NEWS_EVERY;
            self.tell_news(now);
        }
    }

    fn tell(&mut self, input: Input) {
        self.machine.handle(self.clock.now().mono, input);
    }

    fn heard(&mut self, heard: ToTransfers) {
        match heard {
            ToTransfers::Up(session, peer, opener) => {
                self.sessions.insert(session, (peer, opener));
                self.tell(Input::SessionUp(session, peer));
                self.say_again(session, peer);
            }
            ToTransfers::Down(session) => {
                self.sessions.remove(&session);
                self.fetchers.remove(&session);
                self.tell(Input::SessionDown(session));
                let sessions = &self.sessions;
                self.sending
                    .retain(|(_, peer), _| sessions.values().any(|(other, _)| other == peer));
            }
            ToTransfers::Stream(session, stream) => self.serve(session, stream),
            ToTransfers::Word(peer, id, word) => self.word(peer, id, word),
            ToTransfers::Offered {
                id,
                offer,
                verified,
                received_at_ms,
            } => self.offered(id, offer, verified, received_at_ms),
            ToTransfers::Command(command) => self.command(command),
        }
    }

    fn serve(&mut self, session: SessionId, mut stream: ContentStream) {
        stream.make_room(&self.room_to_serve);
        let server = Server {
            session,
            engine: self.engine.clone(),
            offers: self.desk.clone(),
            index: self.index.clone(),
            reports: self.served.clone(),
        };
        self.spawn(server.run(stream));
    }

    /// A task that ends by itself or when the node stops.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stopping = self.stopping.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = stopping.cancelled() => {}
            }
        });
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::OfferRead(next) => self.offer_read(next),
            Done::Opened {
                id,
                offer,
                received_at_ms,
                opened,
            } => match opened {
                Ok((partial, held)) => self.opened(id, partial, held, received_at_ms),
                Err(error) if self.busy.remove(&id) => {
                    self.fail(id, offer, received_at_ms, error.to_string())
                }
                Err(_declined_meanwhile) => {}
            },
            Done::Finished(finished) => self.finished(finished),
            // Accepted anew meanwhile: that one finds out by itself.
            Done::Lost { id, .. } if self.wanted.contains_key(&id) || self.busy.contains(&id) => {}
            Done::Lost {
                id,
                offer,
                received_at_ms,
                why,
            } => self.fail(id, offer, received_at_ms, why),
        }
    }

    fn opened(&mut self, id: OfferId, partial: Arc<Partial>, held: Held, received_at_ms: u64) {
        // Declined while it was opened.
        if !self.busy.remove(&id) {
            if !self.wanted.contains_key(&id) {
                tokio::task::spawn_blocking(move || partial.remove());
            }
            return;
        }
        let (shape, head) = (
            partial.shape,
            partial
                .offer
                .folder
                .map_or(0, |folder| folder.manifest_bytes),
        );
        let moved = Moved::from(held.bytes(shape));
        self.wanted.insert(
            id,
            Wanted {
                partial,
                received_at_ms,
                moved,
            },
        );
        self.tell(Input::Want {
            offer: id,
            shape,
            head,
            held,
        });
        for peer in self.sources.get(&id).cloned().unwrap_or_default() {
            self.tell(Input::Source(id, peer));
        }
    }

    /// Carries out what the machine decided.
    fn carry_out(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Ask(session, ask) => {
                    let partial = self
                        .wanted
                        .get(&ask.offer)
                        .map(|wanted| wanted.partial.clone());
                    let taken = partial.is_some_and(|partial| {
                        self.fetchers(session)
                            .is_some_and(|it| it.ask((ask, partial)))
                    });
                    if !taken {
                        self.tell(Input::Answered(session, ask, Err(Failure::Lost)));
                    }
                }
                Output::Widen(session, lanes) => self.widen(session, lanes),
                Output::Abandon(session) => drop(self.fetchers.remove(&session)),
                Output::Whole(id) => self.finish(id),
                Output::Gone(id, failure) => self.gone(id, failure),
                Output::Liar(id, peer) => {
                    warn!(
                        ?peer,
                        "what it sent of {} does not belong to what was offered",
                        self.name_of(id)
                    );
                }
            }
        }
    }

    fn name_of(&self, id: OfferId) -> String {
        let name = self
            .wanted
            .get(&id)
            .map(|wanted| wanted.partial.offer.name.as_str())
            .unwrap_or_default();
        hobnob_protocol::text::visible(name).into_owned()
    }

    fn fetchers(&mut self, session: SessionId) -> Option<&Fetchers> {
        let (_, opener) = self.sessions.get(&session)?;
        let (runs, reports) = (&mut self.runs, &self.fetched);
        Some(self.fetchers.entry(session).or_insert_with(|| {
            *runs += 1;
            let mut fetchers = Fetchers::new(session, *runs, reports.clone());
            fetchers.widen(opener.lanes(), opener);
            fetchers
        }))
    }

    fn widen(&mut self, session: SessionId, lanes: usize) {
        let Some((_, opener)) = self.sessions.get_mut(&session) else {
            return;
        };
        let lanes = opener.widen(lanes, &self.room_to_fetch);
        if let Some(fetchers) = self.fetchers.get_mut(&session) {
            fetchers.widen(lanes, opener);
        }
        self.tell(Input::Widened(session, lanes));
    }

    fn fetched(&mut self, fetched: Fetched) {
        match fetched {
            Fetched::Got(session, id, pieces) => {
                for piece in pieces {
                    self.tell(Input::Got(id, piece));
                }
                if let Some(rtt) = self.sessions.get(&session).map(|(_, opener)| opener.rtt()) {
                    self.tell(Input::Flows(session, rtt));
                }
            }
            Fetched::Answered(session, ask, outcome) => {
                self.tell(Input::Answered(session, ask, outcome))
            }
            Fetched::NotWritten(id, WriteError::Full) => {
                info!("no room for {}: it goes on when there is", self.name_of(id));
                self.tell(Input::Full(id));
            }
            Fetched::NotWritten(id, error) => self.give_up(id, error.to_string()),
            Fetched::Ended(session, run) => {
                if self
                    .fetchers
                    .get(&session)
                    .is_some_and(|fetchers| fetchers.run == run)
                {
                    self.fetchers.remove(&session);
                    self.tell(Input::StreamsEnded(session));
                }
            }
        }
    }

    fn gone(&mut self, id: OfferId, failure: Failure) {
        let why = match failure {
            Failure::NotHere => "its sender does not have it any more",
            Failure::Refused => "its sender has taken it back",
            Failure::Changed => {
                "it has changed since it was offered: ask for it to be offered again"
            }
            Failure::Lies | Failure::Lost | Failure::Local => {
                "what came was not what had been offered"
            }
        };
        match self.wanted.get(&id) {
            Some(wanted) if matches!(failure, Failure::Refused | Failure::Changed) => {
                let (offer, received_at_ms) = (wanted.partial.offer.clone(), wanted.received_at_ms);
                self.lose(id, offer, received_at_ms, why.to_owned());
            }
            Some(_) | None => self.give_up(id, why.to_owned()),
        }
    }

    /// Ends a transfer of what its author gives to nobody any more. What there is of it is of no
    /// use, and removed before that is told.
    fn lose(&mut self, id: OfferId, offer: Offer, received_at_ms: u64, why: String) {
        let removed = self.drop_transfer(id);
        let done = self.done.clone();
        self.spawn(async move {
            removed.await;
            let _ = done.send(Done::Lost {
                id,
                offer,
                received_at_ms,
                why,
            });
        });
    }

    /// Ends a transfer that can't come to an end. What there is of it stays, for another try.
    fn give_up(&mut self, id: OfferId, why: String) {
        self.tell(Input::Drop(id));
        let Some(wanted) = self.wanted.remove(&id) else {
            return;
        };
        wanted.partial.cancel();
        self.fail(id, wanted.partial.offer.clone(), wanted.received_at_ms, why);
    }

    fn fail(&mut self, id: OfferId, offer: Offer, received_at_ms: u64, why: String) {
        self.keep(
            id,
            OfferRecord {
                state: OfferState::Failed,
                place: None,
                why: Some(why.clone()),
            },
        );
        self.say_state(id, offer, received_at_ms, FileState::Failed, Some(why));
    }

    /// Notes what became of an offer. What the disk does not take is said in the log, and tried
    /// anew after a restart.
    fn keep(&self, id: OfferId, record: OfferRecord) {
        let kept = self.desk.set(id, record);
        self.spawn(async move {
            if let Ok(Err(error)) = kept.await {
                warn!("what became of an offer can't be stored: {error}");
            }
        });
    }

    fn is_own(&self, id: OfferId) -> bool {
        id.name.author == self.me
    }

    /// Whether it was offered in the conversation with this peer alone.
    fn is_direct(&self, id: OfferId, peer: PeerId) -> bool {
        id.name.conversation == ConversationId::direct(self.me, peer)
    }
}
