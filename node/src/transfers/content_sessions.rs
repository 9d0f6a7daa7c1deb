//! The sessions on which this node requests content, each with its streams.
//!
//! Not here: what to request (`downloads`), and reading the answers (`fetch`).

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob_core::SessionId;
use hobnob_protocol::DeviceId;
use tokio::sync::mpsc;

use super::fetch::{Fetched, Fetchers, Order};
use super::throttle::Throttle;
use crate::net::content::{ContentOpener, WindowBudget};

/// A session whose peer serves content.
struct ContentSession {
    peer: DeviceId,
    opener: ContentOpener,
    /// `None` until the first request, and after the streams have ended.
    fetchers: Option<Fetchers>,
}

/// All sessions whose peers serve content.
pub(super) struct ContentSessions {
    live: BTreeMap<SessionId, ContentSession>,
    /// The number of the newest set of streams. Late reports of an older set are recognized by it.
    runs: u64,
    budget: WindowBudget,
    reports: mpsc::Sender<Fetched>,
    throttle: Throttle,
}

impl ContentSessions {
    /// The streams send what arrives to `reports`.
    pub(super) fn new(reports: mpsc::Sender<Fetched>, throttle: Throttle) -> Self {
        Self {
            live: BTreeMap::new(),
            runs: 0,
            budget: WindowBudget::default(),
            reports,
            throttle,
        }
    }

    pub(super) fn up(&mut self, session: SessionId, peer: DeviceId, opener: ContentOpener) {
        let session_state = ContentSession {
            peer,
            opener,
            fetchers: None,
        };
        self.live.insert(session, session_state);
    }

    /// Ends the streams of a session. Returns its peer, if the peer serves content.
    pub(super) fn down(&mut self, session: SessionId) -> Option<DeviceId> {
        self.live.remove(&session).map(|ended| ended.peer)
    }

    /// Whether a peer has a session.
    pub(super) fn has(&self, peer: DeviceId) -> bool {
        self.live.values().any(|session| session.peer == peer)
    }

    /// The peer of a session, while it lasts.
    pub(super) fn peer(&self, session: SessionId) -> Option<DeviceId> {
        self.live.get(&session).map(|session| session.peer)
    }

    /// The round-trip time of a session, while it lasts.
    pub(super) fn rtt(&self, session: SessionId) -> Option<Duration> {
        self.live.get(&session).map(|session| session.opener.rtt())
    }

    /// Sends a request, on new streams if there are none. Returns whether the streams accepted it.
    pub(super) fn ask(&mut self, session: SessionId, order: Order) -> bool {
        let at = self.live.get_mut(&session).expect(LIVE);
        let fetchers = at.fetchers.get_or_insert_with(|| {
            self.runs += 1;
            let mut fetchers = Fetchers::new(
                session,
                self.runs,
                self.reports.clone(),
                self.throttle.clone(),
            );
            fetchers.widen(at.opener.streams(), &at.opener);
            fetchers
        });
        fetchers.ask(order)
    }

    /// Opens more streams, as far as the memory for their windows allows. Returns how many there
    /// are.
    pub(super) fn widen(&mut self, session: SessionId, streams: usize) -> usize {
        let at = self.live.get_mut(&session).expect(LIVE);
        let streams = at.opener.widen(streams, &self.budget);
        if let Some(fetchers) = &mut at.fetchers {
            fetchers.widen(streams, &at.opener);
        }
        streams
    }

    /// Ends the streams of a session. The next request opens new ones.
    pub(super) fn abandon(&mut self, session: SessionId) {
        self.live.get_mut(&session).expect(LIVE).fetchers = None;
    }

    /// One stream of a set has ended, so the others are useless. Returns whether the session used
    /// this set: the report may be older than the newest set, or than the end of the session.
    pub(super) fn streams_ended(&mut self, session: SessionId, run: u64) -> bool {
        let Some(at) = self.live.get_mut(&session) else {
            return false;
        };
        let is_current = at.fetchers.as_ref().is_some_and(|set| set.run == run);
        if is_current {
            at.fetchers = None;
        }
        is_current
    }
}

/// Why a session that the state machine names is live.
const LIVE: &str = "the state machine learns of a session's end before its next output is read";
