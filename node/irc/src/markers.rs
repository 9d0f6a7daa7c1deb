//! How far the user has read each conversation, for all IRC clients of the node (IRCv3 read-marker).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hobnob::ConversationRef;
use hobnob_control::wire::Time;

/// Maximum conversations with a marker. A further one replaces the one that was set first.
const MARKERS_MAX: usize = 10_000;

/// The markers. Clones share them. They last as long as the server.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadMarkers(Arc<Mutex<Markers>>);

#[derive(Debug, Default)]
struct Markers {
    /// The number of changes so far.
    changes: u64,
    /// The marker of each conversation, and the number of its last change.
    at: BTreeMap<ConversationRef, (Time, u64)>,
}

impl ReadMarkers {
    fn lock(&self) -> MutexGuard<'_, Markers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, conversation: &ConversationRef) -> Option<Time> {
        self.lock().at.get(conversation).map(|(at, _)| *at)
    }

    /// Moves a marker forward. A marker never moves back. Returns whether it has moved.
    pub(crate) fn advance(&self, conversation: ConversationRef, to: Time) -> bool {
        let mut markers = self.lock();
        let before = markers.at.get(&conversation).map(|(at, _)| *at);
        if before.is_some_and(|before| before >= to) {
            return false;
        }
        markers.changes += 1;
        let change = markers.changes;
        markers.at.insert(conversation, (to, change));
        if markers.at.len() > MARKERS_MAX {
            let first = markers.at.iter().min_by_key(|(_, (_, change))| *change);
            let first = first.map(|(conversation, _)| conversation.clone());
            first.and_then(|first| markers.at.remove(&first));
        }
        true
    }

    /// The conversations whose markers have moved since this number of changes, and the number of now.
    pub(crate) fn moved_since(&self, changes: u64) -> (Vec<ConversationRef>, u64) {
        let markers = self.lock();
        if markers.changes == changes {
            return (Vec::new(), changes);
        }
        let moved = markers.at.iter().filter(|(_, (_, of))| *of > changes);
        let moved = moved.map(|(conversation, _)| conversation.clone());
        (moved.collect(), markers.changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(n: usize) -> ConversationRef {
        format!("#room-{n}").parse().unwrap()
    }

    #[test]
    fn a_marker_moves_forward_only() {
        let markers = ReadMarkers::default();
        assert_eq!(markers.get(&room(1)), None);
        assert!(markers.advance(room(1), Time(5)));
        assert!(!markers.advance(room(1), Time(5)));
        assert!(!markers.advance(room(1), Time(4)));
        assert_eq!(markers.get(&room(1)), Some(Time(5)));
        let (moved, changes) = markers.moved_since(0);
        assert_eq!((moved, changes), (vec![room(1)], 1));
        assert_eq!(markers.moved_since(1), (Vec::new(), 1));
    }

    #[test]
    fn only_so_many_conversations_have_a_marker() {
        let markers = ReadMarkers::default();
        for n in 0..=MARKERS_MAX {
            assert!(markers.advance(room(n), Time(1)));
        }
        assert_eq!(markers.get(&room(0)), None);
        assert_eq!(markers.get(&room(MARKERS_MAX)), Some(Time(1)));
    }
}
