//! What users do at the moment: typing, read markers, away. It does not decide who may see it.

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob_core::SessionId;
use hobnob_core::policy::Sharing;
use hobnob_protocol::{Activity, ConversationId, LogId, PersonId, Seq};

/// Frames about activity that are taken from one session in [`WINDOW`]. Further ones are dropped.
pub(super) const FRAMES_MAX: u32 = 20;

const WINDOW: Duration = Duration::from_secs(10);

/// Read markers that are remembered, of this node's user and of others each. The first is
/// forgotten.
pub(super) const MARKERS_MAX: usize = 10_000;

/// How far a reader has read a log in a conversation.
type Markers = BTreeMap<(ConversationId, PersonId, LogId), Seq>;

/// See the module.
#[derive(Debug)]
pub(super) struct Activities {
    pub(super) sharing: Sharing,
    /// This user's status: whether the user is away, and a text.
    status: (bool, String),
    /// How far this node's user has read each author's logs.
    own_read: Markers,
    /// How far others have read this node's logs.
    read: Markers,
    /// The statuses of peers with a session.
    statuses: BTreeMap<PersonId, (bool, String)>,
    /// The start of the window of each session, and the frames in it.
    frames: BTreeMap<SessionId, (Duration, u32)>,
}

impl Activities {
    pub(super) fn new(sharing: Sharing) -> Self {
        Self {
            sharing,
            status: (false, String::new()),
            own_read: Markers::new(),
            read: Markers::new(),
            statuses: BTreeMap::new(),
            frames: BTreeMap::new(),
        }
    }

    /// Whether another frame is taken from the session.
    pub(super) fn takes(&mut self, session: SessionId, now: Duration) -> bool {
        let (start, count) = self.frames.entry(session).or_insert((now, 0));
        if now >= *start + WINDOW {
            (*start, *count) = (now, 0);
        }
        *count += 1;
        *count <= FRAMES_MAX
    }

    /// A session has ended. `is_last`: there is no other one with the peer, whose next session
    /// begins with its status.
    pub(super) fn session_gone(&mut self, session: SessionId, peer: PersonId, is_last: bool) {
        self.frames.remove(&session);
        if is_last {
            self.statuses.remove(&peer);
        }
    }

    pub(super) fn set_status(&mut self, away: bool, text: String) {
        self.status = (away, text);
    }

    /// This user's status, unless the user is here and says nothing.
    pub(super) fn status(&self) -> Option<Activity> {
        let (away, text) = &self.status;
        (*away || !text.is_empty()).then(|| Activity::Status(*away, text.clone()))
    }

    /// This node's user has read an entry. Returns whether that is news.
    pub(super) fn has_read(
        &mut self,
        conversation: ConversationId,
        author: PersonId,
        log: LogId,
        seq: Seq,
    ) -> bool {
        note(&mut self.own_read, (conversation, author, log), seq)
    }

    /// The read markers for an author: what to send when it connects.
    pub(super) fn read_of(&self, author: PersonId) -> Vec<Activity> {
        let markers = self.own_read.iter();
        let of_author = markers.filter(|((_, of, _), _)| *of == author);
        let all = of_author
            .map(|((conversation, _, log), seq)| Activity::Read(*conversation, *log, *seq));
        all.take(usize::try_from(FRAMES_MAX / 2).expect("small"))
            .collect()
    }

    /// Another user has read an entry of this node. Returns whether that is news.
    pub(super) fn was_read(
        &mut self,
        conversation: ConversationId,
        by: PersonId,
        log: LogId,
        seq: Seq,
    ) -> bool {
        note(&mut self.read, (conversation, by, log), seq)
    }

    /// Another user is away, or back. Returns whether that is news.
    pub(super) fn is_away(&mut self, peer: PersonId, away: bool, text: String) -> bool {
        if !away && text.is_empty() {
            return self.statuses.remove(&peer).is_some();
        }
        let status = (away, text);
        self.statuses.insert(peer, status.clone()) != Some(status)
    }

    /// Whether a peer is away, and its text about it.
    pub(super) fn status_of(&self, peer: PersonId) -> Option<&(bool, String)> {
        self.statuses.get(&peer)
    }

    /// The markers and statuses of others.
    pub(super) fn all(&self) -> impl Iterator<Item = (PersonId, Activity)> {
        let read = self.read.iter().map(|((conversation, peer, log), seq)| {
            (*peer, Activity::Read(*conversation, *log, *seq))
        });
        let statuses = self.statuses.iter();
        read.chain(
            statuses.map(|(peer, (away, text))| (*peer, Activity::Status(*away, text.clone()))),
        )
    }
}

fn note(markers: &mut Markers, of: (ConversationId, PersonId, LogId), seq: Seq) -> bool {
    if markers.len() >= MARKERS_MAX && !markers.contains_key(&of) {
        markers.pop_first();
    }
    let known = markers.entry(of).or_default();
    let is_news = seq > *known;
    *known = seq.max(*known);
    is_news
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOB: PersonId = PersonId::from_bytes([2; 32]);
    const OPS: ConversationId = ConversationId::from_bytes([7; 32]);

    fn activities() -> Activities {
        Activities::new(Sharing::default())
    }

    #[test]
    fn a_read_marker_only_moves_on() {
        let mut it = activities();
        assert!(it.was_read(OPS, BOB, LogId(1), 4));
        assert!(!it.was_read(OPS, BOB, LogId(1), 3));
        assert!(it.was_read(OPS, BOB, LogId(1), 5));
        assert!(it.has_read(OPS, BOB, LogId(9), 2));
        assert_eq!(it.read_of(BOB), [Activity::Read(OPS, LogId(9), 2)]);
        assert_eq!(it.all().count(), 1);
    }

    #[test]
    fn a_flood_of_frames_is_dropped() {
        let (mut it, at) = (activities(), Duration::from_secs);
        let taken = (0..100).filter(|_| it.takes(SessionId(1), at(5)));
        assert_eq!(taken.count(), 20);
        assert!(it.takes(SessionId(1), at(15)), "a new window");
        it.session_gone(SessionId(1), BOB, true);
        assert!(it.frames.is_empty());
    }

    #[test]
    fn markers_without_end_fill_no_memory() {
        let mut it = activities();
        for log in 0..=MARKERS_MAX as u64 {
            it.was_read(OPS, BOB, LogId(log), 1);
        }
        assert_eq!(it.read.len(), MARKERS_MAX);
    }

    #[test]
    fn a_user_who_is_back_has_no_status() {
        let mut it = activities();
        assert!(it.is_away(BOB, true, "lunch".to_owned()));
        assert!(!it.is_away(BOB, true, "lunch".to_owned()));
        assert!(it.is_away(BOB, false, String::new()));
        assert_eq!((it.all().count(), it.status()), (0, None));
        it.set_status(true, String::new());
        assert!(it.status().is_some());
        assert!(it.is_away(BOB, true, String::new()));
        it.session_gone(SessionId(1), BOB, false);
        assert!(it.status_of(BOB).is_some());
        it.session_gone(SessionId(2), BOB, true);
        assert_eq!(it.status_of(BOB), None);
    }
}
