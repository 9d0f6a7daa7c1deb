//! Which pieces of wanted content are asked for, from whom, and what happens when they do not come.
//!
//! It owns what is held of each content, who may serve it, and what is under way on each session.
//! It leaves to others: bytes and their proof, files, who may have an offer, and whether its user
//! wants it.
//!
//! A session gets a few asks at a time, each for a run of missing pieces within one span, and
//! transfers take turns on it; how many, is for its `Lanes` to say. Every session that can serve a
//! content works on another span of it, so the fastest sources do most. What a source leaves undone
//! is asked for elsewhere; the source rests, longer each time.

mod held;
mod lanes;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use hobnob_protocol::content::{PIECE_BYTES, PieceRequest, SPAN_PIECES, Shape};
use hobnob_protocol::{OfferId, PeerId};

pub use self::held::Held;
use self::lanes::Lanes;
pub use self::lanes::{LANE_BYTES, LANES_MAX};
use super::SessionId;

/// Asks under way on one lane: so that the next answer follows without a round trip between.
pub const ASKS_PER_LANE: usize = 2;

/// Contents wanted at once. Who wants more waits until one is through.
pub const WANTED_MAX: usize = 64;

/// How long nothing may come of what was asked before the session's asks go elsewhere.
pub const STALL: Duration = Duration::from_secs(20);

/// How long a source rests after its first failure, doubling up to the longest.
const REST: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// How long a transfer waits for room on the disk before it tries again.
pub const FULL_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Everything that can happen to transfers.
#[derive(Debug)]
pub enum Input {
    /// A session that can be asked for content is up.
    SessionUp(SessionId, PeerId),
    /// It has ended.
    SessionDown(SessionId),
    /// The user wants this.
    Want {
        /// What.
        offer: OfferId,
        /// How it falls into pieces.
        shape: Shape,
        /// Bytes at its start that must be here before the rest is of use: a folder's manifest.
        head: u64,
        /// What is here already.
        held: Held,
    },
    /// The user wants this no more.
    Drop(OfferId),
    /// The peer says that it has all of this.
    Source(OfferId, PeerId),
    /// A piece was proved and written.
    Got(OfferId, u64),
    /// Some of what was asked of a session has been written, and this is its round trip: the time
    /// to see whether it has lanes enough.
    Flows(SessionId, Duration),
    /// From now on, content comes on so many lanes of the session.
    Widened(SessionId, usize),
    /// All that was asked has come, or no more of it will.
    Answered(SessionId, PieceRequest, Result<(), Failure>),
    /// The streams of a session's lanes have ended, and what was asked on them with them. It may be
    /// asked anew.
    StreamsEnded(SessionId),
    /// There is no room for more of this on the disk.
    Full(OfferId),
    /// It is later than the last [`Transfers::poll_timeout`] said.
    Timeout,
}

/// Why an answer ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// The source does not have it.
    NotHere,
    /// The source says that it may not have it from there.
    Refused,
    /// The source says that it has changed since it was offered.
    Changed,
    /// What came does not belong to the content.
    Lies,
    /// The stream ended.
    Lost,
    /// It could not be written here, for which the source is not to blame.
    Local,
}

/// Everything that transfers can ask for or say.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Ask for this there.
    Ask(SessionId, PieceRequest),
    /// Let content come on so many lanes of this session, if there is room: to be answered by
    /// [`Input::Widened`].
    Widen(SessionId, usize),
    /// Give up what was asked on this session, all of it: nothing came of it for too long.
    Abandon(SessionId),
    /// All of it is here.
    Whole(OfferId),
    /// Nobody is left who might have it, for the reason that the last one gave. The transfer has
    /// ended.
    Gone(OfferId, Failure),
    /// This source sent what does not belong to the content; it is not asked for it any more.
    Liar(OfferId, PeerId),
}

/// How far a transfer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are here.
    pub bytes: u64,
    /// Those who send at the moment.
    pub from: BTreeSet<PeerId>,
}

#[derive(Debug)]
struct Transfer {
    shape: Shape,
    /// Pieces without which the others are of no use.
    head: u64,
    held: Held,
    /// Spans that somebody was asked for.
    asked: BTreeSet<u64>,
    /// Its author, and peers that said they have it; without those that turned out not to.
    sources: BTreeSet<PeerId>,
    /// Those of them that failed lately.
    resting: BTreeMap<PeerId, Rest>,
    /// There was no room on the disk.
    waits_for_room: Option<Duration>,
}

/// A source that failed is left alone for a while.
#[derive(Debug, Clone, Copy)]
struct Rest {
    until: Duration,
    /// How often in a row it has failed.
    times: u32,
}

#[derive(Debug)]
struct Session {
    peer: PeerId,
    asks: Vec<PieceRequest>,
    /// When something last came of them.
    heard: Duration,
    lanes: Lanes,
}

/// All transfers to this node. See the module's doc.
#[derive(Debug, Default)]
pub struct Transfers {
    now: Duration,
    wanted: BTreeMap<OfferId, Transfer>,
    sessions: BTreeMap<SessionId, Session>,
    /// Whose turn it was last.
    turn: Option<OfferId>,
    outputs: VecDeque<Output>,
}

impl Transfers {
    /// Tells what happened, at a time of the clock that does not jump.
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
                        lanes: Lanes::default(),
                    },
                );
                for (offer, transfer) in &mut self.wanted {
                    transfer.resting.remove(&peer);
                    if offer.name.author == peer {
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
            Input::Widened(session, lanes) => {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.lanes.are(lanes);
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

    /// What is to be done; to be asked until there is nothing.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to come back with [`Input::Timeout`] if nothing else happens.
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

    /// How many contents are wanted.
    pub fn count(&self) -> usize {
        self.wanted.len()
    }

    /// How far a transfer is; none if it is not under way.
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
        let sources = BTreeSet::from([offer.name.author]);
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
            session.lanes.came(PIECE_BYTES as u64);
        }
        let Some(transfer) = self.wanted.get_mut(&offer) else {
            return;
        };
        transfer.held.insert(piece);
        if transfer.held.is_whole() {
            self.whole(offer);
        }
    }

    fn flows(&mut self, id: SessionId, rtt: Duration) {
        if let Some(lanes) = self
            .sessions
            .get_mut(&id)
            .and_then(|session| session.lanes.measure(self.now, rtt))
        {
            self.outputs.push_back(Output::Widen(id, lanes));
        }
    }

    fn streams_ended(&mut self, id: SessionId) {
        let asks = self.sessions.get(&id).map(|session| session.asks.clone());
        for ask in asks.unwrap_or_default() {
            self.answered(id, ask, Err(Failure::Lost));
        }
    }

    fn answered(&mut self, session: SessionId, ask: PieceRequest, outcome: Result<(), Failure>) {
        let Some(at) = self.sessions.get_mut(&session) else {
            return;
        };
        // What was given up meanwhile is somebody else's to do.
        let Some(index) = at.asks.iter().position(|other| *other == ask) else {
            return;
        };
        at.asks.remove(index);
        at.heard = self.now;
        let peer = at.peer;
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
            let Some(session) = self.sessions.get_mut(&id) else {
                continue;
            };
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

    /// Gives every session as much to do as it may have, each wanted content in its turn.
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
                .is_some_and(|session| session.asks.len() < session.lanes.asks())
            {
                let Some(ask) = self.next_for(peer) else {
                    break;
                };
                let Some(session) = self.sessions.get_mut(&id) else {
                    break;
                };
                if session.asks.is_empty() {
                    session.heard = self.now;
                }
                session.asks.push(ask);
                self.outputs.push_back(Output::Ask(id, ask));
            }
        }
    }

    fn next_for(&mut self, peer: PeerId) -> Option<PieceRequest> {
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
            let Some(transfer) = self.wanted.get_mut(&offer) else {
                continue;
            };
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
    /// The next run of missing pieces to ask this peer for.
    fn next_run(&self, peer: PeerId, now: Duration) -> Option<(u64, u8, u8)> {
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

    /// Leaves a source alone for a while. What else fails meanwhile has failed with it.
    fn rest(&mut self, peer: PeerId, now: Duration) {
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
