//! Decides which pieces of wanted content to request, from which peer, and what to do when they do
//! not arrive.
//!
//! This module owns the stored pieces and the sources of each content, and the requests in flight
//! on each session. Other modules verify bytes, write files, decide who may access an offer, and
//! decide what the user wants.
//!
//! A session has a few requests in flight, each for a run of missing pieces within one span. Its
//! `Streams` limit the number of requests, and transfers take turns. Every session that can serve a
//! content works on another span, so the fastest sources deliver most. If a source fails, its
//! pieces are requested from other sources. The source rests, longer after each failure.

mod held;
mod streams;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use hobnob_protocol::content::{PIECE_BYTES, PieceRequest, SPAN_PIECES, Shape};
use hobnob_protocol::{DeviceId, OfferId};

pub use self::held::Held;
use self::streams::Streams;
pub use self::streams::{REQUESTS_PER_STREAM, STREAM_BYTES, STREAMS_MAX};
use super::SessionId;

/// Maximum concurrent downloads. Accepting another one fails until one finishes.
pub const WANTED_MAX: usize = 64;

/// A session stalls when nothing arrives for this time. Its requests then move to other sources.
pub const STALL: Duration = Duration::from_secs(20);

/// How long a source rests after its first failure, and the maximum. The rest doubles after each
/// failure.
const REST: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// How long a transfer waits before it retries after a full disk.
pub const FULL_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Everything that can happen to transfers.
#[derive(Debug)]
pub enum Input {
    /// A session with a peer that can serve content is established.
    SessionUp(SessionId, DeviceId),
    /// The session has ended.
    SessionDown(SessionId),
    /// The user wants this content.
    Want {
        /// The offer.
        offer: OfferId,
        /// How the content divides into pieces.
        shape: Shape,
        /// Bytes at the start that must arrive before the rest is useful: a folder's manifest.
        head: u64,
        /// The pieces that are already stored.
        held: Held,
    },
    /// The user no longer wants this content.
    Drop(OfferId),
    /// The peer reports that it has the whole content.
    Source(OfferId, DeviceId),
    /// A piece was verified and written.
    Got(OfferId, u64),
    /// Requested pieces of a session were written. The duration is the session's round trip. Checks
    /// whether the session needs more streams.
    Flows(SessionId, Duration),
    /// The session now receives content on this number of streams.
    Widened(SessionId, usize),
    /// A request has ended: all its pieces arrived, or no more will.
    Answered(SessionId, PieceRequest, Result<(), Failure>),
    /// The streams of a session's streams have ended, with all their requests. New requests are
    /// possible.
    StreamsEnded(SessionId),
    /// The disk has no room for more of this content.
    Full(OfferId),
    /// The time that [`Transfers::poll_timeout`] returned has passed.
    Timeout,
}

/// Why an answer ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// The source does not have the content.
    NotHere,
    /// The source reports that this node may not access the content.
    Refused,
    /// The source reports that the content has changed since it was offered.
    Changed,
    /// The received bytes do not belong to the content.
    Lies,
    /// The stream ended.
    Lost,
    /// A local write failed. The source is not at fault.
    Local,
}

/// Everything that transfers can request or report.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this request on this session.
    Ask(SessionId, PieceRequest),
    /// Open this number of streams on the session, if there is room. Answer with [`Input::Widened`].
    Widen(SessionId, usize),
    /// Cancel all requests on this session: it has stalled.
    Abandon(SessionId),
    /// The content is complete.
    Whole(OfferId),
    /// No source is left, so the transfer has ended. The reason is the last source's failure.
    Gone(OfferId, Failure),
    /// This source sent bytes that do not belong to the content. It gets no more requests for it.
    Liar(OfferId, DeviceId),
}

/// The progress of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are stored.
    pub bytes: u64,
    /// The peers with a request in flight.
    pub from: BTreeSet<DeviceId>,
}

#[derive(Debug)]
struct Transfer {
    shape: Shape,
    /// Pieces at the start that must arrive before the rest is useful.
    head: u64,
    held: Held,
    /// Spans with a request in flight.
    asked: BTreeSet<u64>,
    /// The author, and peers that report to have the content. A source that cannot serve it is
    /// removed.
    sources: BTreeSet<DeviceId>,
    /// The sources that failed recently.
    resting: BTreeMap<DeviceId, Rest>,
    /// When to retry after a full disk.
    waits_for_room: Option<Duration>,
}

/// A pause in the requests to a source that failed.
#[derive(Debug, Clone, Copy)]
struct Rest {
    until: Duration,
    /// Consecutive failures.
    times: u32,
}

#[derive(Debug)]
struct Session {
    peer: DeviceId,
    asks: Vec<PieceRequest>,
    /// When one of the requests last made progress.
    heard: Duration,
    streams: Streams,
}

/// All transfers to this node. See the module documentation.
#[derive(Debug, Default)]
pub struct Transfers {
    now: Duration,
    wanted: BTreeMap<OfferId, Transfer>,
    sessions: BTreeMap<SessionId, Session>,
    /// The content of the latest request, for taking turns.
    turn: Option<OfferId>,
    outputs: VecDeque<Output>,
}

impl Transfers {
    /// Handles an event. `now` is from the monotonic clock.
    pub fn handle(&mut self, now: Duration, input: Input) {
        self.now = now;
        match input {
            Input::SessionUp(session, peer) => {
                self.sessions.insert(
                    session,
                    Session {
                        peer,
                        asks: Vec::new(),
                        heard: now,
                        streams: Streams::default(),
                    },
                );
                for (offer, transfer) in &mut self.wanted {
                    transfer.resting.remove(&peer);
                    if offer.name.author == peer.person() {
                        transfer.sources.insert(peer);
                    }
                }
            }
            Input::SessionDown(session) => self.session_down(session),
            Input::Want {
                offer,
                shape,
                head,
                held,
            } => self.want(offer, shape, head, held),
            Input::Drop(offer) => drop(self.wanted.remove(&offer)),
            Input::Source(offer, peer) => {
                if let Some(transfer) = self.wanted.get_mut(&offer) {
                    transfer.sources.insert(peer);
                    transfer.resting.remove(&peer);
                }
            }
            Input::Got(offer, piece) => self.got(offer, piece),
            Input::Flows(session, rtt) => self.flows(session, rtt),
            Input::Widened(session, streams) => {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.streams.are(streams);
                }
            }
            Input::Answered(session, ask, outcome) => self.answered(session, ask, outcome),
            Input::StreamsEnded(session) => self.streams_ended(session),
            Input::Full(offer) => {
                if let Some(transfer) = self.wanted.get_mut(&offer) {
                    transfer.waits_for_room = Some(now + FULL_AGAIN_AFTER);
                }
            }
            Input::Timeout => self.time_out(),
        }
        self.fill();
    }

    /// The next output. Call it until it returns `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to pass [`Input::Timeout`] if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let stalls = self
            .sessions
            .values()
            .filter(|session| !session.asks.is_empty())
            .map(|session| session.heard + STALL);
        let rests = self
            .wanted
            .values()
            .flat_map(|transfer| transfer.resting.values().map(|rest| rest.until));
        let rests = rests.filter(|until| *until > self.now);
        let full = self
            .wanted
            .values()
            .filter_map(|transfer| transfer.waits_for_room);
        stalls.chain(rests).chain(full).min()
    }

    /// The number of wanted contents.
    pub fn count(&self) -> usize {
        self.wanted.len()
    }

    /// The progress of a transfer. `None` if there is no such transfer.
    pub fn progress(&self, offer: OfferId) -> Option<Progress> {
        let transfer = self.wanted.get(&offer)?;
        let busy = self
            .sessions
            .values()
            .filter(|session| session.asks.iter().any(|ask| ask.offer == offer));
        Some(Progress {
            bytes: transfer.held.bytes(transfer.shape),
            from: busy.map(|session| session.peer).collect(),
        })
    }

    /// Whether a transfer waits for room on the disk.
    pub fn waits_for_room(&self, offer: OfferId) -> bool {
        self.wanted
            .get(&offer)
            .is_some_and(|transfer| transfer.waits_for_room.is_some())
    }

    fn want(&mut self, offer: OfferId, shape: Shape, head: u64, held: Held) {
        let head = head.div_ceil(PIECE_BYTES as u64);
        let sources = BTreeSet::from([offer.name.device]);
        let transfer = Transfer {
            shape,
            head,
            held,
            asked: BTreeSet::new(),
            sources,
            resting: BTreeMap::new(),
            waits_for_room: None,
        };
        let is_whole = transfer.held.is_whole();
        self.wanted.insert(offer, transfer);
        if is_whole {
            self.whole(offer);
        }
    }

    fn whole(&mut self, offer: OfferId) {
        self.wanted.remove(&offer);
        self.outputs.push_back(Output::Whole(offer));
    }

    fn got(&mut self, offer: OfferId, piece: u64) {
        let span = piece / SPAN_PIECES as u64;
        let from = |session: &&mut Session| {
            session
                .asks
                .iter()
                .any(|ask| ask.offer == offer && ask.span == span)
        };
        if let Some(session) = self.sessions.values_mut().find(from) {
            session.heard = self.now;
            session.streams.came(PIECE_BYTES as u64);
        }
        // The user may have dropped the content while the piece was written.
        let Some(transfer) = self.wanted.get_mut(&offer) else {
            return;
        };
        transfer.held.insert(piece);
        if transfer.held.is_whole() {
            self.whole(offer);
        }
    }

    fn flows(&mut self, id: SessionId, rtt: Duration) {
        if let Some(streams) = self
            .sessions
            .get_mut(&id)
            .and_then(|session| session.streams.measure(self.now, rtt))
        {
            self.outputs.push_back(Output::Widen(id, streams));
        }
    }

    fn streams_ended(&mut self, id: SessionId) {
        let asks = self.sessions.get(&id).map(|session| session.asks.clone());
        for ask in asks.unwrap_or_default() {
            self.answered(id, ask, Err(Failure::Lost));
        }
    }

    fn answered(&mut self, session: SessionId, ask: PieceRequest, outcome: Result<(), Failure>) {
        // The session may have ended while its last answer was written.
        let Some(at) = self.sessions.get_mut(&session) else {
            return;
        };
        // A cancelled request was moved to another source, so its answer is ignored.
        let Some(index) = at.asks.iter().position(|other| *other == ask) else {
            return;
        };
        at.asks.remove(index);
        at.heard = self.now;
        let peer = at.peer;
        // The content may be complete, or no longer wanted.
        let Some(transfer) = self.wanted.get_mut(&ask.offer) else {
            return;
        };
        transfer.asked.remove(&ask.span);
        match outcome {
            Ok(()) => drop(transfer.resting.remove(&peer)),
            Err(Failure::Local) => {}
            Err(Failure::Lost) => transfer.rest(peer, self.now),
            Err(
                failure @ (Failure::NotHere | Failure::Refused | Failure::Changed | Failure::Lies),
            ) => {
                transfer.sources.remove(&peer);
                let nobody_left = transfer.sources.is_empty();
                if failure == Failure::Lies {
                    self.outputs.push_back(Output::Liar(ask.offer, peer));
                }
                if nobody_left {
                    self.wanted.remove(&ask.offer);
                    self.outputs.push_back(Output::Gone(ask.offer, failure));
                }
            }
        }
    }

    fn session_down(&mut self, session: SessionId) {
        // A session whose peer has no content streams was never reported as up.
        let Some(gone) = self.sessions.remove(&session) else {
            return;
        };
        for ask in gone.asks {
            if let Some(transfer) = self.wanted.get_mut(&ask.offer) {
                transfer.asked.remove(&ask.span);
            }
        }
    }

    fn time_out(&mut self) {
        let now = self.now;
        let stalled = |(_, session): &(&SessionId, &Session)| {
            !session.asks.is_empty() && session.heard + STALL <= now
        };
        let stalled: Vec<_> = self
            .sessions
            .iter()
            .filter(stalled)
            .map(|(id, _)| *id)
            .collect();
        for id in stalled {
            let session = self.sessions.get_mut(&id).expect("listed above");
            for ask in std::mem::take(&mut session.asks) {
                if let Some(transfer) = self.wanted.get_mut(&ask.offer) {
                    transfer.asked.remove(&ask.span);
                    transfer.rest(session.peer, now);
                }
            }
            self.outputs.push_back(Output::Abandon(id));
        }
        for transfer in self.wanted.values_mut() {
            if transfer.waits_for_room.is_some_and(|until| until <= now) {
                transfer.waits_for_room = None;
            }
        }
    }

    /// Fills every session with requests up to its limit. The wanted contents take turns.
    fn fill(&mut self) {
        let sessions: Vec<_> = self
            .sessions
            .iter()
            .map(|(id, session)| (*id, session.peer))
            .collect();
        for (id, peer) in sessions {
            while self
                .sessions
                .get(&id)
                .is_some_and(|session| session.asks.len() < session.streams.asks())
            {
                let Some(ask) = self.next_for(peer) else {
                    break;
                };
                let session = self.sessions.get_mut(&id).expect("listed above");
                if session.asks.is_empty() {
                    session.heard = self.now;
                }
                session.asks.push(ask);
                self.outputs.push_back(Output::Ask(id, ask));
            }
        }
    }

    fn next_for(&mut self, peer: DeviceId) -> Option<PieceRequest> {
        let after = self.wanted.keys().filter(|offer| Some(**offer) > self.turn);
        let order: Vec<_> = after
            .chain(
                self.wanted
                    .keys()
                    .filter(|offer| Some(**offer) <= self.turn),
            )
            .copied()
            .collect();
        for offer in order {
            let transfer = self.wanted.get_mut(&offer).expect("listed above");
            if let Some((span, first, count)) = transfer.next_run(peer, self.now) {
                transfer.asked.insert(span);
                self.turn = Some(offer);
                return Some(PieceRequest {
                    offer,
                    span,
                    first,
                    count,
                });
            }
        }
        None
    }
}

impl Transfer {
    /// The next run of missing pieces to request from this peer.
    fn next_run(&self, peer: DeviceId, now: Duration) -> Option<(u64, u8, u8)> {
        let rests = self.resting.get(&peer).is_some_and(|rest| rest.until > now);
        if rests || self.waits_for_room.is_some() || !self.sources.contains(&peer) {
            return None;
        }
        let end = if self.held.covers(self.head) {
            self.shape.pieces()
        } else {
            self.head
        };
        self.held.next_missing(end, &self.asked)
    }

    /// Starts the rest of a source. Failures during a rest do not lengthen it: they have the same
    /// cause.
    fn rest(&mut self, peer: DeviceId, now: Duration) {
        let rest = self.resting.entry(peer).or_insert(Rest {
            until: now,
            times: 0,
        });
        if rest.until > now {
            return;
        }
        let [first, longest] = REST;
        rest.until = now + longest.min(first * 2u32.saturating_pow(rest.times));
        rest.times = rest.times.saturating_add(1);
    }
}
