//! What users are told of transfers: every change of state, and how far they are, a few times a
//! second.

use super::super::FileState;
use super::TransferTask;
use super::Wanted;
use super::content_index::place_of;
use super::messages::FileNews;
use super::messages::FromTransfers;
use crate::store::OfferRow;
use hobnob_core::SessionId;
use hobnob_core::commit::OfferState;
use hobnob_core::transfers::Progress;
use hobnob_protocol::Offer;
use hobnob_protocol::OfferId;
use hobnob_protocol::PeerId;
use std::path::PathBuf;
use std::time::Duration;

/// Transfers to others that are counted at once; further ones are served and not shown.
const SENDING_MAX: usize = 1024;

/// How much of the newest measurement goes into the speed that is shown.
const SMOOTHING: f64 = 0.3;

/// How far something had come, and how fast.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moved {
    bytes: u64,
    at: Option<Duration>,
    rate: Option<f64>,
    told: Option<(u64, bool, bool)>,
}

impl Moved {
    /// So much was here before.
    pub(super) fn from(bytes: u64) -> Self {
        Self {
            bytes,
            ..Self::default()
        }
    }

    fn measure(&mut self, now: Duration, bytes: u64) {
        if let Some(seconds) = self
            .at
            .and_then(|at| now.checked_sub(at))
            .map(|since| since.as_secs_f64())
            .filter(|s| *s > 0.0)
        {
            #[expect(clippy::cast_precision_loss, reason = "a speed to be shown")]
            let newest = bytes.saturating_sub(self.bytes) as f64 / seconds;
            self.rate = Some(
                self.rate
                    .map_or(newest, |rate| rate + SMOOTHING * (newest - rate)),
            );
        }
        (self.bytes, self.at) = (bytes, Some(now));
    }

    fn rate(&self) -> Option<u64> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a speed to be shown"
        )]
        self.rate.map(|rate| rate.max(0.0) as u64)
    }

    /// Whether this is news; it is none the second time.
    fn is_news(&mut self, moving: bool, waits_for_room: bool) -> bool {
        let now = Some((self.bytes, moving, waits_for_room));
        std::mem::replace(&mut self.told, now) != now
    }
}

/// A content on its way to a peer.
#[derive(Debug)]
pub(super) struct Sending {
    bytes: u64,
    moved: Moved,
    /// None until the offer was read.
    what: Option<(Offer, u64)>,
}

impl TransferTask {
    /// Whether there is anything to be told of again and again.
    pub(super) fn has_news(&self) -> bool {
        !self.wanted.is_empty() || !self.sending.is_empty()
    }

    pub(super) fn tell_news(&mut self, now: Duration) {
        let mut all = Vec::new();
        for (id, wanted) in &mut self.wanted {
            let Some(progress) = self.machine.progress(*id) else {
                continue;
            };
            wanted.moved.measure(now, progress.bytes);
            let waits_for_room = self.machine.waits_for_room(*id);
            if wanted
                .moved
                .is_news(!progress.from.is_empty(), waits_for_room)
            {
                all.push(incoming(*id, wanted, progress, waits_for_room));
            }
        }
        for ((id, peer), sending) in &mut self.sending {
            sending.moved.measure(now, sending.bytes);
            if sending.moved.is_news(true, false) {
                all.extend(outgoing(*id, *peer, sending));
            }
        }
        self.publish(all);
    }

    /// How things stand with what is under way.
    pub(super) fn live_news(&self) -> impl Iterator<Item = FileNews> {
        let incoming = self.wanted.iter().filter_map(|(id, wanted)| {
            let progress = self.machine.progress(*id)?;
            Some(incoming(
                *id,
                wanted,
                progress,
                self.machine.waits_for_room(*id),
            ))
        });
        incoming.chain(
            self.sending
                .iter()
                .filter_map(|((id, peer), sending)| outgoing(*id, *peer, sending)),
        )
    }

    pub(super) fn say_state(
        &self,
        id: OfferId,
        offer: Offer,
        received_at_ms: u64,
        state: FileState,
        why: Option<String>,
    ) {
        self.publish(vec![FileNews {
            state,
            why,
            ..plain(id, offer, received_at_ms)
        }]);
    }

    pub(super) fn say_of_peer(
        &self,
        id: OfferId,
        offer: Offer,
        received_at_ms: u64,
        state: FileState,
        peer: PeerId,
    ) {
        self.publish(vec![FileNews {
            state,
            peers: vec![peer],
            ..plain(id, offer, received_at_ms)
        }]);
    }

    pub(super) fn say_done(&self, id: OfferId, offer: Offer, received_at_ms: u64, place: PathBuf) {
        let bytes = offer.size;
        self.publish(vec![FileNews {
            state: FileState::Done,
            bytes,
            place: Some(place),
            ..plain(id, offer, received_at_ms)
        }]);
    }

    /// A peer has all of what this node offered.
    pub(super) fn sent_whole(
        &mut self,
        id: OfferId,
        offer: Offer,
        received_at_ms: u64,
        peer: PeerId,
    ) {
        self.sending.remove(&(id, peer));
        let bytes = offer.size;
        let news = FileNews {
            state: FileState::Done,
            bytes,
            peers: vec![peer],
            ..plain(id, offer, received_at_ms)
        };
        self.publish(vec![news]);
    }

    /// Counts what a peer was sent.
    pub(super) fn count_sent(&mut self, session: SessionId, id: OfferId, bytes: u64) {
        let Some((peer, _)) = self.sessions.get(&session) else {
            return;
        };
        let key = (id, *peer);
        if let Some(sending) = self.sending.get_mut(&key) {
            sending.bytes += bytes;
        } else if self.sending.len() < SENDING_MAX {
            self.sending.insert(
                key,
                Sending {
                    bytes,
                    moved: Moved::default(),
                    what: None,
                },
            );
            self.read_for_news(key);
        }
    }

    pub(super) fn sending_is(&mut self, key: (OfferId, PeerId), offer: Offer, received_at_ms: u64) {
        if let Some(sending) = self.sending.get_mut(&key) {
            sending.what = Some((offer, received_at_ms));
        }
    }

    fn publish(&self, news: Vec<FileNews>) {
        if !news.is_empty() {
            self.engine.send(FromTransfers::News(news));
        }
    }
}

fn plain(id: OfferId, offer: Offer, received_at_ms: u64) -> FileNews {
    let state = FileState::Offered;
    FileNews {
        id,
        offer,
        received_at_ms,
        state,
        bytes: 0,
        rate: None,
        peers: Vec::new(),
        place: None,
        why: None,
    }
}

fn incoming(id: OfferId, wanted: &Wanted, progress: Progress, waits_for_room: bool) -> FileNews {
    let moving = !progress.from.is_empty();
    FileNews {
        state: if moving {
            FileState::Moving
        } else {
            FileState::Waiting
        },
        bytes: progress.bytes,
        rate: wanted.moved.rate().filter(|_| moving),
        peers: progress.from.into_iter().collect(),
        why: waits_for_room
            .then(|| "there is no room on the disk: it goes on when there is".to_owned()),
        ..plain(id, wanted.partial.offer.clone(), wanted.received_at_ms)
    }
}

fn outgoing(id: OfferId, peer: PeerId, sending: &Sending) -> Option<FileNews> {
    let (offer, received_at_ms) = sending.what.clone()?;
    // What a peer lost and asked for again is not more than all.
    let bytes = sending.bytes.min(offer.size);
    let (rate, peers) = (sending.moved.rate(), vec![peer]);
    Some(FileNews {
        state: FileState::Moving,
        bytes,
        rate,
        peers,
        ..plain(id, offer, received_at_ms)
    })
}

/// How things stand with an offer that is not under way.
pub(super) fn of_row(row: &OfferRow, id: OfferId, offer: Offer, me: PeerId) -> FileNews {
    let state = match row.record.state {
        OfferState::Offered => FileState::Offered,
        OfferState::Wanted => FileState::Waiting,
        OfferState::Done => FileState::Done,
        OfferState::Declined => FileState::Declined,
        OfferState::Failed => FileState::Failed,
    };
    let bytes = if state == FileState::Done {
        offer.size
    } else {
        0
    };
    let place = row
        .record
        .place
        .as_deref()
        .map(place_of)
        .filter(|_| state == FileState::Done && id.name.author != me);
    FileNews {
        state,
        bytes,
        place,
        why: row.record.why.clone(),
        ..plain(id, offer, row.entry.received_at_ms)
    }
}
