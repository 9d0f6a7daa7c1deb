//! From which sessions the entries of other authors come, and when the next one is tried.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hobnob_protocol::PersonId;

use crate::SessionId;

/// If a session that was asked for entries sends none of them for this long, another session is
/// asked.
pub(super) const PULL_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The wait for a source doubles at most this often.
const DOUBLINGS_MAX: u32 = 6;

/// For this long after the store failed to take an author's entries, its newer logs wait for the
/// older ones.
const SETBACK: Duration = Duration::from_secs(120);

/// When to ask another session for an author's missing entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PullRetry {
    at: Duration,
    /// How often all sessions were tried without success.
    rounds: u32,
}

/// The sources of one conversation.
#[derive(Debug, Default)]
pub(super) struct Pulls {
    /// The session that forwards an author's entries. The author itself sends without a request.
    sources: BTreeMap<PersonId, SessionId>,
    /// Authors with missing entries.
    retries: BTreeMap<PersonId, PullRetry>,
    /// When the store last failed to take an author's entries.
    setbacks: BTreeMap<PersonId, Duration>,
}

impl Pulls {
    /// The session that forwards this author's entries.
    pub(super) fn source(&self, author: PersonId) -> Option<SessionId> {
        self.sources.get(&author).copied()
    }

    /// Makes a session the source of an author's entries. Returns the former one if it differs.
    pub(super) fn set_source(&mut self, author: PersonId, id: SessionId) -> Option<SessionId> {
        let former = self.sources.insert(author, id);
        former.filter(|former| *former != id)
    }

    /// No session forwards this author's entries any more. Returns the one that did.
    pub(super) fn end_source(&mut self, author: PersonId) -> Option<SessionId> {
        self.sources.remove(&author)
    }

    /// A session has ended. Returns the authors whose entries it forwarded.
    pub(super) fn drop_session(&mut self, id: SessionId) -> Vec<PersonId> {
        let of_session = self.sources.iter().filter(|(_, source)| **source == id);
        let authors: Vec<_> = of_session.map(|(author, _)| *author).collect();
        self.sources.retain(|_, source| *source != id);
        authors
    }

    /// Entries of this author are missing and should arrive soon.
    pub(super) fn expect(&mut self, author: PersonId, now: Duration) {
        let at = now + PULL_RETRY_AFTER;
        self.retries
            .entry(author)
            .or_insert(PullRetry { at, rounds: 0 });
    }

    /// An entry of this author arrived: the time for the other missing ones starts again.
    pub(super) fn arrived(&mut self, author: PersonId, now: Duration) {
        if let Some(retry) = self.retries.get_mut(&author) {
            *retry = PullRetry {
                at: now + PULL_RETRY_AFTER,
                rounds: 0,
            };
        }
    }

    /// Nothing of this author is awaited any more.
    pub(super) fn give_up(&mut self, author: PersonId) {
        self.retries.remove(&author);
    }

    /// The authors whose entries are overdue.
    pub(super) fn overdue(&self, now: Duration) -> Vec<PersonId> {
        let overdue = self.retries.iter().filter(|(_, retry)| retry.at <= now);
        overdue.map(|(author, _)| *author).collect()
    }

    /// When the next author's entries are overdue.
    pub(super) fn next_retry(&self) -> Option<Duration> {
        self.retries.values().map(|retry| retry.at).min()
    }

    /// Chooses the next session to ask for an author's overdue entries, among those that have
    /// announced them. Without any, the entries are not awaited any more.
    pub(super) fn next_source(
        &mut self,
        author: PersonId,
        able: &BTreeSet<SessionId>,
        now: Duration,
    ) -> Option<SessionId> {
        let current = self.source(author);
        let after_current = able.iter().find(|id| Some(**id) > current).copied();
        let Some(next) = after_current.or_else(|| able.first().copied()) else {
            self.give_up(author);
            return None;
        };
        let retry = self
            .retries
            .get_mut(&author)
            .expect("only overdue entries have a next source");
        // The wait grows only after every session was tried. Otherwise one lying peer could delay
        // the request to a peer that has the entries.
        if after_current.is_none() {
            retry.rounds = (retry.rounds + 1).min(DOUBLINGS_MAX);
        }
        retry.at = now + PULL_RETRY_AFTER * 2u32.pow(retry.rounds);
        Some(next)
    }

    /// The store did not take entries of this author.
    pub(super) fn set_back(&mut self, author: PersonId, now: Duration) {
        self.setbacks.retain(|_, at| now < *at + SETBACK);
        self.setbacks.insert(author, now);
    }

    /// Whether the store recently failed to take entries of this author.
    pub(super) fn is_set_back(&self, author: PersonId, now: Duration) -> bool {
        self.setbacks
            .get(&author)
            .is_some_and(|at| now < *at + SETBACK)
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::SecretKey;

    use super::*;

    const NOW: Duration = Duration::from_secs(100);
    const SECOND: Duration = Duration::from_secs(1);

    fn author(n: u8) -> PersonId {
        SecretKey::from_seed([n; 32]).id().person()
    }

    #[test]
    fn a_new_source_replaces_the_former_one() {
        let (mut pulls, ann) = (Pulls::default(), author(1));
        assert_eq!(pulls.set_source(ann, SessionId(1)), None);
        assert_eq!(pulls.set_source(ann, SessionId(1)), None);
        assert_eq!(pulls.set_source(ann, SessionId(2)), Some(SessionId(1)));
        assert_eq!(pulls.source(ann), Some(SessionId(2)));
        assert_eq!(pulls.end_source(ann), Some(SessionId(2)));
        assert_eq!(pulls.source(ann), None);
    }

    #[test]
    fn a_session_that_ends_leaves_its_authors_without_a_source() {
        let mut pulls = Pulls::default();
        pulls.set_source(author(1), SessionId(1));
        pulls.set_source(author(2), SessionId(2));
        assert_eq!(pulls.drop_session(SessionId(1)), [author(1)]);
        assert_eq!(pulls.source(author(1)), None);
        assert_eq!(pulls.source(author(2)), Some(SessionId(2)));
    }

    #[test]
    fn entries_are_overdue_after_a_second_without_any() {
        let (mut pulls, ann) = (Pulls::default(), author(1));
        pulls.expect(ann, NOW);
        assert_eq!(pulls.overdue(NOW + SECOND / 2), []);
        // Expecting them again does not postpone the retry, an arrival does.
        pulls.expect(ann, NOW + SECOND / 2);
        assert_eq!(pulls.next_retry(), Some(NOW + SECOND));
        pulls.arrived(ann, NOW + SECOND / 2);
        assert_eq!(pulls.overdue(NOW + SECOND), []);
        assert_eq!(pulls.overdue(NOW + SECOND * 3 / 2), [ann]);
        pulls.arrived(author(2), NOW);
        assert_eq!(pulls.overdue(NOW + SECOND * 10), [ann], "nobody expects 2");
    }

    #[test]
    fn each_able_session_is_asked_in_turn() {
        let (mut pulls, ann) = (Pulls::default(), author(1));
        let able = BTreeSet::from([1, 2, 3].map(SessionId));
        pulls.expect(ann, NOW);
        let mut asked = Vec::new();
        for _ in 0..4 {
            let next = pulls.next_source(ann, &able, NOW).expect("three are able");
            pulls.set_source(ann, next);
            asked.push(next.0);
        }
        assert_eq!(asked, [1, 2, 3, 1]);
    }

    #[test]
    fn the_wait_doubles_when_all_sessions_were_tried() {
        let (mut pulls, ann) = (Pulls::default(), author(1));
        let able = BTreeSet::from([1, 2].map(SessionId));
        pulls.expect(ann, NOW);
        let mut waits = Vec::new();
        for _ in 0..16 {
            let next = pulls.next_source(ann, &able, NOW).expect("two are able");
            pulls.set_source(ann, next);
            let at = pulls.next_retry().expect("it is awaited");
            waits.push((at - NOW).as_secs());
        }
        assert_eq!(waits[..6], [1, 1, 2, 2, 4, 4]);
        assert_eq!(waits[14..], [64, 64]);
        pulls.arrived(ann, NOW);
        assert_eq!(pulls.next_retry(), Some(NOW + SECOND));
    }

    #[test]
    fn entries_that_nobody_has_are_not_awaited() {
        let (mut pulls, ann) = (Pulls::default(), author(1));
        pulls.expect(ann, NOW);
        assert_eq!(pulls.next_source(ann, &BTreeSet::new(), NOW), None);
        assert_eq!(pulls.next_retry(), None);
    }

    #[test]
    fn a_setback_is_forgotten_after_two_minutes() {
        let (mut pulls, ann) = (Pulls::default(), author(1));
        pulls.set_back(ann, NOW);
        assert!(pulls.is_set_back(ann, NOW + SECOND * 119));
        assert!(!pulls.is_set_back(ann, NOW + SECOND * 120));
        assert!(!pulls.is_set_back(author(2), NOW));
    }
}
