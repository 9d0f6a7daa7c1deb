//! Which profile pictures a node requests from its sessions, and how many it stores and sends.
//!
//! A session is asked for one picture at a time. A picture that a session does not send is asked of
//! another one, and of the same one again after [`ASK_AGAIN`].
//!
//! Not here: the pictures themselves, and who may have which.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hobnob_limits::{Bucket, Pace};
use hobnob_protocol::ContentHash;

use crate::SessionId;

/// Maximum pictures on disk, the node's own included: 32 MiB. Further ones are not requested.
pub const PICTURES_MAX: usize = 1024;

/// Maximum pictures for which one session is asked within [`ASK_AGAIN`].
pub const ASKED_MAX: usize = 256;

/// The pause between two requests of one session for one picture.
pub const ASK_AGAIN: Duration = Duration::from_secs(3600);

/// A session that has not sent a picture after this long is asked for others. The picture is asked
/// of other sessions.
pub const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

/// How many requests for pictures of one session are answered. The answer to further ones is "not
/// here".
pub const REQUESTS: Pace = Pace::per_second(1, 256);

/// Bytes of pictures that a session has not written. Requests beyond it are answered by "not here".
pub const UNWRITTEN_MAX: usize = 256 * 1024;

/// The pictures on disk, and the requests under way with each session.
#[derive(Debug, Default)]
pub struct PictureExchange {
    held: BTreeSet<ContentHash>,
    /// Pictures that are being written to the disk.
    storing: BTreeSet<ContentHash>,
    sessions: BTreeMap<SessionId, SessionPictures>,
}

#[derive(Debug, Default)]
struct SessionPictures {
    /// The picture that was requested and is not here yet, and until when to wait for it.
    waits_for: Option<(ContentHash, Duration)>,
    /// When the session was asked for each picture.
    asked: BTreeMap<ContentHash, Duration>,
    requests: Bucket,
    unwritten: usize,
    /// Whether the peer has asked for this node's own picture and not received it.
    refused_own: bool,
}

impl PictureExchange {
    /// These pictures are on disk. No session yet.
    pub fn new(held: impl IntoIterator<Item = ContentHash>) -> Self {
        Self {
            held: held.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Whether a picture is on disk.
    pub fn has(&self, picture: ContentHash) -> bool {
        self.held.contains(&picture)
    }

    /// Notes that a picture is being written to the disk. Returns whether there is room for it.
    pub fn begin_storing(&mut self, picture: ContentHash) -> bool {
        let is_known = self.held.contains(&picture) || self.storing.contains(&picture);
        let has_room = is_known || self.held.len() + self.storing.len() < PICTURES_MAX;
        if has_room && !self.held.contains(&picture) {
            self.storing.insert(picture);
        }
        has_room
    }

    /// A picture is on disk, or could not be written.
    pub fn stored(&mut self, picture: ContentHash, is_stored: bool) {
        self.storing.remove(&picture);
        if is_stored {
            self.held.insert(picture);
        }
    }

    /// Forgets the pictures that are not among these. Returns those to remove from the disk.
    pub fn retain(&mut self, named: &BTreeSet<ContentHash>) -> Vec<ContentHash> {
        let unnamed: Vec<_> = self.held.difference(named).copied().collect();
        for picture in &unnamed {
            self.held.remove(picture);
        }
        unnamed
    }

    /// A session with a peer that answers requests for pictures begins.
    pub fn begin(&mut self, session: SessionId) {
        self.sessions.insert(session, SessionPictures::default());
    }

    /// A session has ended. Returns whether it owed an answer: then others are asked.
    pub fn end(&mut self, session: SessionId) -> bool {
        let ended = self.sessions.remove(&session);
        ended.is_some_and(|state| state.waits_for.is_some())
    }

    /// All sessions.
    pub fn sessions(&self) -> Vec<SessionId> {
        self.sessions.keys().copied().collect()
    }

    /// When to call [`PictureExchange::take_due`].
    pub fn poll_timeout(&self) -> Option<Duration> {
        let waits = self.sessions.values().filter_map(|state| state.waits_for);
        waits.map(|(_, until)| until).min()
    }

    /// Gives up requests that were not answered. Returns whether there are any: then all sessions
    /// are asked again.
    pub fn take_due(&mut self, now: Duration) -> bool {
        let mut is_due = false;
        for state in self.sessions.values_mut() {
            if state.waits_for.is_some_and(|(_, until)| until <= now) {
                state.waits_for = None;
                is_due = true;
            }
        }
        is_due
    }

    /// The next request for a session, if there is one. `wanted` are the pictures that the peer may
    /// be asked for.
    pub fn next_request(
        &mut self,
        session: SessionId,
        wanted: impl IntoIterator<Item = ContentHash>,
        now: Duration,
    ) -> Option<ContentHash> {
        if self.held.len() + self.storing.len() >= PICTURES_MAX {
            return None;
        }
        let under_way = self.sessions.values().filter_map(|state| state.waits_for);
        let under_way: BTreeSet<_> = under_way.map(|(picture, _)| picture).collect();
        let state = self.sessions.get_mut(&session)?;
        if state.waits_for.is_some() {
            return None;
        }
        let is_recent = |at: &Duration| now < *at + ASK_AGAIN;
        if state.asked.len() >= ASKED_MAX {
            state.asked.retain(|_, at| is_recent(at));
        }
        if state.asked.len() >= ASKED_MAX {
            return None;
        }
        let picture = wanted.into_iter().find(|picture| {
            !self.held.contains(picture)
                && !self.storing.contains(picture)
                && !under_way.contains(picture)
                && !state.asked.get(picture).is_some_and(is_recent)
        })?;
        state.asked.insert(picture, now);
        state.waits_for = Some((picture, now + ANSWERED_WITHIN));
        Some(picture)
    }

    /// A session has sent a picture, or that it does not send it. Returns whether it was asked for
    /// it.
    pub fn answered(&mut self, session: SessionId, picture: ContentHash) -> bool {
        let state = self.sessions.get_mut(&session);
        let waits_for = state.map(|state| &mut state.waits_for);
        waits_for.is_some_and(|it| it.take_if(|(asked, _)| *asked == picture).is_some())
    }

    /// The user has accepted the peer of a session, or there is another reason to ask it again for
    /// what it has refused.
    pub fn ask_again(&mut self, session: SessionId) {
        if let Some(state) = self.sessions.get_mut(&session) {
            let waits_for = state.waits_for.map(|(picture, _)| picture);
            state.asked.retain(|picture, _| Some(*picture) == waits_for);
        }
    }

    /// Whether a session's request is answered by the picture.
    pub fn allow_request(&mut self, session: SessionId, now: Duration) -> bool {
        self.sessions.get_mut(&session).is_some_and(|state| {
            state.unwritten < UNWRITTEN_MAX && state.requests.take(now, REQUESTS)
        })
    }

    /// A picture of this many bytes is sent on a session.
    pub fn sent(&mut self, session: SessionId, bytes: usize) {
        if let Some(state) = self.sessions.get_mut(&session) {
            state.unwritten += bytes;
        }
    }

    /// A session has written this many bytes of frames.
    pub fn written(&mut self, session: SessionId, bytes: usize) {
        if let Some(state) = self.sessions.get_mut(&session) {
            state.unwritten = state.unwritten.saturating_sub(bytes);
        }
    }

    /// The peer of a session has asked for this node's own picture, and may not have it yet.
    pub fn refuse_own(&mut self, session: SessionId) {
        if let Some(state) = self.sessions.get_mut(&session) {
            state.refused_own = true;
        }
    }

    /// The peer of a session may have this node's picture now. Returns whether it has asked for it.
    pub fn take_refused_own(&mut self, session: SessionId) -> bool {
        let state = self.sessions.get_mut(&session);
        state.is_some_and(|state| std::mem::take(&mut state.refused_own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn picture(n: usize) -> ContentHash {
        let mut hash = [7; 32];
        hash[..8].copy_from_slice(&n.to_be_bytes());
        ContentHash(hash)
    }

    fn exchange(sessions: &[u64]) -> PictureExchange {
        let mut exchange = PictureExchange::default();
        for session in sessions {
            exchange.begin(SessionId(*session));
        }
        exchange
    }

    fn request(
        exchange: &mut PictureExchange,
        session: u64,
        wanted: std::ops::Range<usize>,
        now: Duration,
    ) -> Option<ContentHash> {
        exchange.next_request(SessionId(session), wanted.map(picture), now)
    }

    #[test]
    fn a_session_is_asked_for_one_picture_after_the_other() {
        let mut exchange = exchange(&[1]);
        assert_eq!(request(&mut exchange, 1, 0..3, SECOND), Some(picture(0)));
        assert_eq!(request(&mut exchange, 1, 0..3, SECOND), None);
        assert!(exchange.begin_storing(picture(0)));
        assert!(!exchange.answered(SessionId(1), picture(1)), "not asked");
        assert!(exchange.answered(SessionId(1), picture(0)));
        assert!(!exchange.answered(SessionId(1), picture(0)), "once");
        assert!(!exchange.answered(SessionId(2), picture(0)), "no session");
        assert_eq!(request(&mut exchange, 1, 0..3, SECOND), Some(picture(1)));
        exchange.stored(picture(0), true);
        assert!(exchange.has(picture(0)) && !exchange.has(picture(1)));
    }

    #[test]
    fn what_one_session_does_not_send_is_asked_of_another() {
        let mut exchange = exchange(&[1, 2]);
        assert_eq!(request(&mut exchange, 1, 0..1, SECOND), Some(picture(0)));
        assert_eq!(request(&mut exchange, 2, 0..1, SECOND), None, "on its way");
        exchange.answered(SessionId(1), picture(0));
        assert_eq!(request(&mut exchange, 1, 0..1, SECOND), None, "refused");
        assert_eq!(request(&mut exchange, 2, 0..1, SECOND), Some(picture(0)));
        // No answer at all.
        assert_eq!(exchange.poll_timeout(), Some(SECOND + ANSWERED_WITHIN));
        assert!(!exchange.take_due(SECOND));
        assert!(exchange.take_due(SECOND + ANSWERED_WITHIN));
        assert!(!exchange.take_due(SECOND + ANSWERED_WITHIN));
        let later = SECOND + ASK_AGAIN;
        assert_eq!(request(&mut exchange, 1, 0..1, later), Some(picture(0)));
        assert!(exchange.end(SessionId(1)) && !exchange.end(SessionId(2)));
    }

    #[test]
    fn a_new_contact_is_asked_again() {
        let mut exchange = exchange(&[1]);
        assert_eq!(request(&mut exchange, 1, 0..1, SECOND), Some(picture(0)));
        exchange.answered(SessionId(1), picture(0));
        assert_eq!(request(&mut exchange, 1, 0..1, SECOND), None);
        exchange.ask_again(SessionId(1));
        assert_eq!(request(&mut exchange, 1, 0..1, SECOND), Some(picture(0)));
    }

    #[test]
    fn one_session_is_asked_for_a_limited_number_of_pictures() {
        let mut exchange = exchange(&[1]);
        for n in 0..ASKED_MAX {
            let asked = request(&mut exchange, 1, n..n + 1, SECOND);
            assert_eq!(asked, Some(picture(n)));
            exchange.answered(SessionId(1), picture(n));
        }
        let next = ASKED_MAX..ASKED_MAX + 1;
        assert_eq!(request(&mut exchange, 1, next.clone(), SECOND), None);
        let later = SECOND + ASK_AGAIN;
        assert_eq!(
            request(&mut exchange, 1, next, later),
            Some(picture(ASKED_MAX))
        );
    }

    #[test]
    fn a_full_disk_quota_takes_no_further_picture_until_one_is_named_no_more() {
        let mut exchange = PictureExchange::new((1..PICTURES_MAX).map(picture));
        exchange.begin(SessionId(1));
        assert!(exchange.begin_storing(picture(PICTURES_MAX)));
        assert!(
            exchange.begin_storing(picture(1)),
            "this one is here already"
        );
        assert!(!exchange.begin_storing(picture(0)));
        assert_eq!(request(&mut exchange, 1, 0..1, SECOND), None);
        let named = (2..PICTURES_MAX).map(picture).collect();
        assert_eq!(exchange.retain(&named), [picture(1)]);
        assert_eq!(request(&mut exchange, 1, 0..1, SECOND), Some(picture(0)));
    }

    #[test]
    fn requests_of_a_session_have_limits() {
        let mut exchange = exchange(&[1]);
        let granted = (0..300).filter(|_| exchange.allow_request(SessionId(1), SECOND));
        assert_eq!(granted.count(), 256);
        let later = SECOND + 1000 * SECOND;
        exchange.sent(SessionId(1), UNWRITTEN_MAX);
        assert!(!exchange.allow_request(SessionId(1), later));
        exchange.written(SessionId(1), 1);
        assert!(exchange.allow_request(SessionId(1), later));
    }

    #[test]
    fn an_own_picture_is_sent_later_if_it_was_asked_for() {
        let mut exchange = exchange(&[1]);
        assert!(!exchange.take_refused_own(SessionId(1)));
        exchange.refuse_own(SessionId(1));
        assert!(exchange.take_refused_own(SessionId(1)));
        assert!(!exchange.take_refused_own(SessionId(1)));
    }
}
