//! What users, settings and peers decide about offers.

use super::Done;
use super::SOURCES_MAX;
use super::SOURCES_OF_ONE_MAX;
use super::TransferTask;
use super::WORDS_MAX;
use std::path::{Path, PathBuf};

use hobnob_protocol::Body;
use tokio::sync::oneshot;

use super::super::FileError;
use super::super::FileState;
use super::content_index::ContentError;
use super::content_index::ContentIndex;
use super::content_index::place_of;
use super::finish::Finished;
use super::folder::Folder;
use super::messages::FileCommand;
use super::messages::FileNews;
use super::messages::FromTransfers;
use super::news;
use super::offering;
use super::partial::Partial;
use super::partial::WriteError;
use super::partial::{begun, discard};
use super::pictures::Pictures;
use super::serve::Served;
use crate::store::{OfferRow, StoreError, WhichOffers};
use crate::{AcceptFrom, MessageId};
use hobnob_core::SessionId;
use hobnob_core::commit::OfferRecord;
use hobnob_core::commit::OfferState;
use hobnob_core::transfers::Input;
use hobnob_core::transfers::{FULL_AGAIN_AFTER, WANTED_MAX};
use hobnob_protocol::Offer;
use hobnob_protocol::OfferId;
use hobnob_protocol::OfferWord;
use hobnob_protocol::PeerId;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tracing::info;
use tracing::warn;

/// Words about finished transfers that are said again in a new session: the newest.
const SAID_AGAIN_MAX: usize = 64;

/// Room that a transfer leaves on the disk.
const ROOM_LEFT: u64 = 16 * 1024 * 1024;

/// How long an answer waits for a disk, which may be another machine's, to say which offers are
/// pictures.
const LOOK_FOR: Duration = Duration::from_millis(500);

type Reply = oneshot::Sender<Result<(), FileError>>;

/// Something to be decided once the offer was read.
#[derive(Debug)]
pub(super) enum OfferRead {
    /// A user wants it.
    Accept(Result<OfferRow, FileError>, Reply),
    /// There is room for it.
    Room {
        id: OfferId,
        offer: Offer,
        received_at_ms: u64,
        room: Result<(), FileError>,
        reply: Reply,
    },
    /// A user does not want it.
    Decline(Result<OfferRow, FileError>, Reply),
    /// A peer said something of an offer.
    Word(OfferRow, PeerId, OfferWord),
    /// Serving an own offer failed.
    NotServed(OfferRow, ContentError),
    /// Something is on its way to a peer.
    Sends(OfferRow, PeerId),
    /// What was wanted when the last run ended.
    TakenUp(Vec<OfferRow>),
}

impl TransferTask {
    pub(super) fn command(&mut self, command: FileCommand) {
        match command {
            FileCommand::Prepare(path, reply) => self.prepare(path, reply),
            FileCommand::Accept(id, reply) => self.look_up(id, |row| OfferRead::Accept(row, reply)),
            FileCommand::Decline(id, reply) => {
                self.look_up(id, |row| OfferRead::Decline(row, reply))
            }
            FileCommand::List(reply) => self.list(reply),
        }
    }

    /// Hashing takes as long as reading the files does.
    fn prepare(&self, path: PathBuf, reply: oneshot::Sender<Result<Offer, FileError>>) {
        let (index, pictures) = (self.index.clone(), self.pictures.clone());
        tokio::task::spawn_blocking(move || {
            let offer =
                offering::offer(&path, &index).map_err(|error| FileError::Path(error.to_string()));
            let _ = reply.send(offer.inspect(|offer| pictures.look(offer, &index)));
        });
    }

    fn look_up(
        &self,
        id: MessageId,
        next: impl FnOnce(Result<OfferRow, FileError>) -> OfferRead + Send + 'static,
    ) {
        let rows = self.desk.read(WhichOffers::One(id.log, id.seq));
        let done = self.done.clone();
        self.spawn(async move {
            let row = match rows.await.unwrap_or(Err(StoreError::Closed)) {
                Ok(rows) => rows.into_iter().next().ok_or(FileError::NoSuchOffer),
                Err(error) => Err(FileError::Store(error.to_string())),
            };
            let _ = done.send(Done::OfferRead(next(row)));
        });
    }

    /// Reads an offer whose entry is held, and lets `next` go on with it.
    fn read_row(&self, id: OfferId, next: impl FnOnce(OfferRow) -> OfferRead + Send + 'static) {
        let rows = self.desk.read(WhichOffers::One(id.name.log, id.seq));
        let (pictures, index, done) =
            (self.pictures.clone(), self.index.clone(), self.done.clone());
        self.spawn(async move {
            let rows = rows.await.ok().and_then(Result::ok).unwrap_or_default();
            look_among(&rows, pictures, index.clone()).await;
            if let Some(row) = rows.into_iter().find(|row| row.entry.name == id.name) {
                let _ = done.send(Done::OfferRead(next(row)));
            }
        });
    }

    pub(super) fn offer_read(&mut self, next: OfferRead) {
        match next {
            OfferRead::Accept(Ok(row), reply) => self.accept_row(&row, reply),
            OfferRead::Room {
                id,
                offer,
                received_at_ms,
                room,
                reply,
            } => match room {
                // Declined meanwhile.
                Ok(()) if !self.busy.contains(&id) => drop(reply.send(Err(FileError::NoSuchOffer))),
                Ok(()) => self.want(id, offer, received_at_ms, Some(reply)),
                Err(error) => {
                    self.busy.remove(&id);
                    let _ = reply.send(Err(error));
                }
            },
            OfferRead::Decline(Ok(row), reply) => self.decline(&row, reply),
            OfferRead::Accept(Err(error), reply) | OfferRead::Decline(Err(error), reply) => {
                drop(reply.send(Err(error)))
            }
            OfferRead::Word(row, peer, word) => self.word_of(&row, peer, word),
            OfferRead::NotServed(row, error) => self.own_failed(&row, &error),
            OfferRead::Sends(row, peer) => {
                if let (id, Some(offer)) = offer_of(&row) {
                    self.sending_is((id, peer), offer, row.entry.received_at_ms);
                }
            }
            OfferRead::TakenUp(rows) => rows.iter().for_each(|row| self.take_up_row(row)),
        }
    }

    /// An offer has come, or was made: what the settings say is taken at once, the rest is the
    /// user's to decide.
    pub(super) fn offered(
        &mut self,
        id: OfferId,
        offer: Offer,
        verified: bool,
        received_at_ms: u64,
    ) {
        self.say_state(id, offer.clone(), received_at_ms, FileState::Offered, None);
        let from = id.name.author;
        if self.is_own(id) {
            return;
        }
        let fits = self.config.size_max.is_none_or(|max| offer.size <= max);
        let listed = |rule: &AcceptFrom| match rule {
            AcceptFrom::Peer(peer) => *peer == from,
            AcceptFrom::Verified => verified,
        };
        if fits && self.is_direct(id, from) && self.config.accept_from.iter().any(listed) {
            let (reply, answer) = oneshot::channel();
            self.accept(id, offer, received_at_ms, reply);
            self.spawn(async move {
                if let Ok(Err(error)) = answer.await {
                    warn!("a file from {from} was not accepted: {error}");
                }
            });
        }
    }

    fn accept_row(&mut self, row: &OfferRow, reply: Reply) {
        let (id, Some(offer)) = offer_of(row) else {
            return drop(reply.send(Err(FileError::NoSuchOffer)));
        };
        let refused = match row.record.state {
            _ if self.is_own(id) => Some(FileError::Own),
            OfferState::Done => Some(FileError::Here(
                row.record
                    .place
                    .as_deref()
                    .map(place_of)
                    .unwrap_or_default()
                    .display()
                    .to_string(),
            )),
            OfferState::Offered
            | OfferState::Wanted
            | OfferState::Declined
            | OfferState::Failed => None,
        };
        match refused {
            Some(error) => drop(reply.send(Err(error))),
            None => self.accept(id, offer, row.entry.received_at_ms, reply),
        }
    }

    fn accept(&mut self, id: OfferId, offer: Offer, received_at_ms: u64, reply: Reply) {
        if self.wanted.contains_key(&id) || self.busy.contains(&id) {
            return drop(reply.send(Ok(())));
        }
        if self.wanted.len() + self.busy.len() >= WANTED_MAX {
            return drop(reply.send(Err(FileError::TooMany(WANTED_MAX))));
        }
        self.busy.insert(id);
        let (downloads, index, done) = (
            self.config.downloads.clone(),
            self.index.clone(),
            self.done.clone(),
        );
        tokio::task::spawn_blocking(move || {
            let room = look_for_room(&downloads, &index, id, offer.size);
            let _ = done.send(Done::OfferRead(OfferRead::Room {
                id,
                offer,
                received_at_ms,
                room,
                reply,
            }));
        });
    }

    /// From now on it is wanted, also after a restart; which `reply` is told when it is so.
    fn want(&mut self, id: OfferId, offer: Offer, received_at_ms: u64, reply: Option<Reply>) {
        self.busy.insert(id);
        self.say_state(id, offer.clone(), received_at_ms, FileState::Waiting, None);
        let kept = self.desk.set(
            id,
            OfferRecord {
                state: OfferState::Wanted,
                place: None,
                why: None,
            },
        );
        let (downloads, index, done) = (
            self.config.downloads.clone(),
            self.index.clone(),
            self.done.clone(),
        );
        self.spawn(async move {
            // What can't be noted is fetched all the same, but will not be taken up after a
            // restart.
            let _ = kept.await;
            if let Some(reply) = reply {
                let _ = reply.send(Ok(()));
            }
            let opened = loop {
                let (downloads, index, what) = (downloads.clone(), index.clone(), offer.clone());
                let open = move || {
                    Partial::open(&downloads, &index, id, what)
                        .map(|(partial, held)| (Arc::new(partial), held))
                };
                let opened = tokio::task::spawn_blocking(open).await;
                match opened.unwrap_or_else(|error| Err(WriteError::Io(io::Error::other(error)))) {
                    Err(WriteError::Full) => tokio::time::sleep(FULL_AGAIN_AFTER).await,
                    opened => break opened,
                }
            };
            let _ = done.send(Done::Opened {
                id,
                offer,
                received_at_ms,
                opened,
            });
        });
    }

    /// Reads what was wanted when the last run ended.
    pub(super) fn take_up(&self) {
        let rows = self.desk.read(WhichOffers::Wanted);
        let done = self.done.clone();
        self.spawn(async move {
            let rows = rows.await.ok().and_then(Result::ok).unwrap_or_default();
            let _ = done.send(Done::OfferRead(OfferRead::TakenUp(rows)));
        });
    }

    fn take_up_row(&mut self, row: &OfferRow) {
        let (id, Some(offer)) = offer_of(row) else {
            return;
        };
        let received_at_ms = row.entry.received_at_ms;
        let place = row.record.place.as_deref().map(place_of);
        let finished = |place: &PathBuf| {
            place.symlink_metadata().is_ok()
                && !Partial::is_there(&self.config.downloads, &self.index, id)
        };
        match place.filter(finished) {
            // It got its place, and then the run ended.
            Some(place) => {
                self.busy.insert(id);
                self.keep(
                    id,
                    OfferRecord {
                        state: OfferState::Done,
                        place: row.record.place.clone(),
                        why: None,
                    },
                );
                self.finished(Finished {
                    id,
                    offer,
                    received_at_ms,
                    outcome: Ok(place),
                });
            }
            None => self.want(id, offer, received_at_ms, None),
        }
    }

    fn decline(&mut self, row: &OfferRow, reply: Reply) {
        let (id, Some(offer)) = offer_of(row) else {
            return drop(reply.send(Err(FileError::NoSuchOffer)));
        };
        let own = self.is_own(id);
        if row.record.state == OfferState::Done && !own {
            let place = row
                .record
                .place
                .as_deref()
                .map(place_of)
                .unwrap_or_default();
            return drop(reply.send(Err(FileError::Here(place.display().to_string()))));
        }
        let removed = self.drop_transfer(id);
        let kept = self.desk.set(
            id,
            OfferRecord {
                state: OfferState::Declined,
                place: None,
                why: None,
            },
        );
        let word = if own {
            OfferWord::Withdrawn
        } else {
            OfferWord::Declined
        };
        self.engine.send(FromTransfers::Say(id, word, None));
        self.sending.retain(|(of, _), _| *of != id);
        self.say_state(
            id,
            offer,
            row.entry.received_at_ms,
            FileState::Declined,
            None,
        );
        self.spawn(async move {
            let kept = kept.await.unwrap_or(Err(StoreError::Closed));
            removed.await;
            let _ = reply.send(kept.map_err(|error| FileError::Store(error.to_string())));
        });
    }

    /// Ends a transfer for good, and removes what there is of it; that is done when what it returns
    /// is.
    pub(super) fn drop_transfer(&mut self, id: OfferId) -> impl Future<Output = ()> + use<> {
        self.tell(Input::Drop(id));
        self.busy.remove(&id);
        let wanted = self.wanted.remove(&id);
        let (downloads, index, own) = (
            self.config.downloads.clone(),
            self.index.clone(),
            self.is_own(id),
        );
        let removed = tokio::task::spawn_blocking(move || match wanted {
            Some(wanted) => wanted.partial.remove(),
            None if own => {}
            None => discard(&downloads, &index, (id.name.log, id.seq)),
        });
        async {
            // A panic there has been told of.
            let _ = removed.await;
        }
    }

    /// Removes parts that a run left behind which ended before it could: those of offers that are
    /// neither wanted nor to be tried again.
    pub(super) async fn sweep(&self) {
        let (downloads, index) = (self.config.downloads.clone(), self.index.clone());
        let begun = tokio::task::spawn_blocking(move || begun(&index)).await;
        let mut left = Vec::new();
        for (log, seq) in begun.ok().and_then(Result::ok).unwrap_or_default() {
            let Ok(Ok(rows)) = self.desk.read(WhichOffers::One(log, seq)).await else {
                return;
            };
            let stays = |row: &OfferRow| {
                matches!(row.record.state, OfferState::Wanted | OfferState::Failed)
            };
            if !rows.iter().any(stays) {
                left.push((log, seq));
            }
        }
        let index = self.index.clone();
        let removed = tokio::task::spawn_blocking(move || {
            left.into_iter()
                .for_each(|of| discard(&downloads, &index, of))
        });
        let _ = removed.await;
    }

    /// A peer says something of an offer. Each word is heard once.
    pub(super) fn word(&mut self, peer: PeerId, id: OfferId, word: OfferWord) {
        if word == OfferWord::Whole {
            self.tell(Input::Source(id, peer));
            self.remember_source(id, peer);
        }
        let of_author = matches!(word, OfferWord::Withdrawn | OfferWord::Changed);
        let concerns_us = if of_author {
            peer == id.name.author
        } else {
            self.is_own(id)
        };
        if self.words.len() >= WORDS_MAX {
            self.words.clear();
        }
        if concerns_us && self.words.insert((id, peer, word)) {
            self.read_row(id, move |row| OfferRead::Word(row, peer, word));
        }
    }

    fn remember_source(&mut self, id: OfferId, peer: PeerId) {
        if self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&id) {
            self.sources.pop_first();
        }
        let of_one = self.sources.entry(id).or_default();
        if of_one.len() < SOURCES_OF_ONE_MAX {
            of_one.insert(peer);
        }
    }

    fn word_of(&mut self, row: &OfferRow, peer: PeerId, word: OfferWord) {
        let (id, Some(offer)) = offer_of(row) else {
            return;
        };
        let received_at_ms = row.entry.received_at_ms;
        let is_open = matches!(
            row.record.state,
            OfferState::Offered | OfferState::Wanted | OfferState::Failed
        );
        match word {
            OfferWord::Whole => {
                if self.is_direct(id, peer) && is_open {
                    self.keep(
                        id,
                        OfferRecord {
                            state: OfferState::Done,
                            place: None,
                            why: None,
                        },
                    );
                }
                self.sent_whole(id, offer, received_at_ms, peer);
            }
            OfferWord::Declined => {
                self.sending.remove(&(id, peer));
                self.say_of_peer(id, offer, received_at_ms, FileState::Declined, peer);
            }
            OfferWord::Withdrawn | OfferWord::Changed if is_open => {
                let why = if word == OfferWord::Withdrawn {
                    "its sender has taken it back"
                } else {
                    "it has changed since it was offered: ask for it to be offered again"
                };
                self.lose(id, offer, received_at_ms, why.to_owned());
            }
            OfferWord::Withdrawn | OfferWord::Changed | OfferWord::Unknown(_) => {}
        }
    }

    /// Finds out what it is that a peer is being sent.
    pub(super) fn read_for_news(&self, (id, peer): (OfferId, PeerId)) {
        self.read_row(id, move |row| OfferRead::Sends(row, peer));
    }

    pub(super) fn served(&mut self, served: Served) {
        match served {
            Served::Bytes(session, id, bytes) => self.count_sent(session, id, bytes),
            Served::Failed(id, error) => {
                self.read_row(id, move |row| OfferRead::NotServed(row, error))
            }
        }
    }

    /// What this node offered can't be had from it as it was.
    fn own_failed(&mut self, row: &OfferRow, error: &ContentError) {
        let (id, Some(offer)) = offer_of(row) else {
            return;
        };
        let name = hobnob_protocol::text::visible(&offer.name).into_owned();
        let why = format!("{error}: offer it again");
        if !self.is_own(id) {
            return info!("{name} can't be passed on: {error}");
        }
        // Told once: the state says so from then on.
        if row.record.why.as_ref() == Some(&why) {
            return;
        }
        if matches!(error, ContentError::Changed(_)) {
            self.engine
                .send(FromTransfers::Say(id, OfferWord::Changed, None));
        }
        self.fail(id, offer, row.entry.received_at_ms, why);
    }

    /// Tells a peer that has just come what it may have missed: what was received whole, and what
    /// of its own was declined.
    pub(super) fn say_again(&self, session: SessionId, peer: PeerId) {
        let rows = self.desk.read(WhichOffers::Newest);
        let (engine, me) = (self.engine.clone(), self.me);
        self.spawn(async move {
            let rows = rows.await.ok().and_then(Result::ok).unwrap_or_default();
            let words = rows.iter().rev().filter_map(|row| {
                let (author, state) = (row.entry.name.author, row.record.state);
                let words = [
                    (OfferState::Done, author != me, OfferWord::Whole),
                    (OfferState::Declined, author == peer, OfferWord::Declined),
                    (OfferState::Declined, author == me, OfferWord::Withdrawn),
                ];
                let word = words
                    .into_iter()
                    .find(|(of, concerns, _)| *of == state && *concerns);
                word.map(|(_, _, word)| (offer_of(row).0, word))
            });
            for (id, word) in words.take(SAID_AGAIN_MAX) {
                engine.send(FromTransfers::Say(id, word, Some(session)));
            }
        });
    }

    fn list(&self, reply: oneshot::Sender<Result<Vec<crate::FileInfo>, FileError>>) {
        let rows = self.desk.read(WhichOffers::Newest);
        let live: BTreeMap<OfferId, FileNews> =
            self.live_news().map(|news| (news.id, news)).collect();
        let (engine, me) = (self.engine.clone(), self.me);
        let (pictures, index) = (self.pictures.clone(), self.index.clone());
        self.spawn(async move {
            match rows.await.unwrap_or(Err(StoreError::Closed)) {
                Ok(rows) => {
                    look_among(&rows, pictures, index.clone()).await;
                    let news = rows.iter().filter_map(|row| {
                        let (id, offer) = offer_of(row);
                        live.get(&id)
                            .cloned()
                            .or_else(|| Some(news::of_row(row, id, offer?, me)))
                    });
                    let news: Vec<FileNews> = news.collect();
                    if let Ok(news) =
                        tokio::task::spawn_blocking(move || place_own(news, &index, me)).await
                    {
                        engine.send(FromTransfers::Name(news, reply));
                    }
                }
                Err(error) => drop(reply.send(Err(FileError::Store(error.to_string())))),
            }
        });
    }
}

/// Looks at the pictures among offers at which this run has not looked yet.
async fn look_among(rows: &[OfferRow], pictures: Pictures, index: ContentIndex) {
    let new: Vec<Offer> = rows
        .iter()
        .filter_map(|row| offer_of(row).1)
        .filter(|offer| pictures.wants(offer))
        .collect();
    if !new.is_empty() {
        let looked = tokio::task::spawn_blocking(move || {
            new.iter().for_each(|offer| pictures.look(offer, &index))
        });
        // What is found out later is told the next time.
        let _late = tokio::time::timeout(LOOK_FOR, looked).await;
    }
}

/// The offer in a row; none if the entry is none, which the store does not note.
pub(super) fn offer_of(row: &OfferRow) -> (OfferId, Option<Offer>) {
    let id = OfferId {
        name: row.entry.name,
        seq: row.entry.seq,
    };
    let offer = if let Body::Offer(offer) = &row.entry.entry.body {
        Some(offer.clone())
    } else {
        None
    };
    (id, offer)
}

/// Says of this node's own offers where they are.
fn place_own(mut news: Vec<FileNews>, index: &ContentIndex, me: PeerId) -> Vec<FileNews> {
    for own in news.iter_mut().filter(|news| news.id.name.author == me) {
        own.place = index.root(own.offer.hash);
    }
    news
}

/// Whether a content of this size may be begun; what is there of it already has its room.
fn look_for_room(
    downloads: &Path,
    index: &ContentIndex,
    id: OfferId,
    size: u64,
) -> Result<(), FileError> {
    if Partial::is_there(downloads, index, id) {
        return Ok(());
    }
    let unusable = |error: io::Error| FileError::Downloads {
        folder: downloads.display().to_string(),
        why: error.to_string(),
    };
    let free = Folder::make(downloads)
        .and_then(|folder| folder.free_bytes())
        .map_err(unusable)?;
    let needs = size.saturating_add(ROOM_LEFT);
    if free < needs {
        return Err(FileError::NoRoom {
            folder: downloads.display().to_string(),
            needs,
            free,
        });
    }
    Ok(())
}
