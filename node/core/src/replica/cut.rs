//! How far back a newcomer to a room with a secret may read.

use std::collections::BTreeMap;

use hobnob_protocol::{Ranges, Seq};

use super::log_key::LogKey;

/// The entries from before its peer entered the room that a session may read.
#[derive(Debug, Default)]
pub(super) enum NewcomerCut {
    /// The peer is no newcomer: it may read everything.
    #[default]
    Everything,
    /// The store was asked. Holds the last entry of each log at that time. The peer may read all
    /// later entries.
    Asked(BTreeMap<LogKey, Seq>),
    /// The first entry of each log that the peer may read.
    From(BTreeMap<LogKey, Seq>),
}

impl NewcomerCut {
    pub(super) fn is_asked(&self) -> bool {
        matches!(self, NewcomerCut::Asked(_))
    }

    /// Removes the entries that the peer may not read.
    pub(super) fn apply(&self, key: &LogKey, entries: &mut Ranges) {
        if let NewcomerCut::From(firsts) = self
            && let Some(first) = firsts.get(key)
        {
            entries.remove(1, first.saturating_sub(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::{LogId, SecretKey};

    use super::*;

    const FIRST: u64 = 4;

    fn log(log: u64) -> LogKey {
        LogKey {
            author: SecretKey::from_seed([1; 32]).id().person(),
            device: SecretKey::from_seed([1; 32]).id(),
            log: LogId(log),
        }
    }

    /// The entries, of ten, that the peer may read.
    fn readable(cut: &NewcomerCut, key: LogKey) -> Ranges {
        let mut entries = Ranges::span(1, 10);
        cut.apply(&key, &mut entries);
        entries
    }

    #[test]
    fn a_newcomer_reads_from_the_cut_on() {
        let cut = NewcomerCut::From(BTreeMap::from([(log(1), FIRST), (log(2), 1)]));
        assert_eq!(readable(&cut, log(1)), Ranges::span(FIRST, 10));
        assert_eq!(readable(&cut, log(2)), Ranges::span(1, 10));
        // A log that began after the cut is read whole.
        assert_eq!(readable(&cut, log(3)), Ranges::span(1, 10));
    }

    #[test]
    fn without_a_cut_everything_is_readable() {
        assert_eq!(
            readable(&NewcomerCut::Everything, log(1)),
            Ranges::span(1, 10)
        );
        let asked = NewcomerCut::Asked(BTreeMap::from([(log(1), FIRST)]));
        assert!(asked.is_asked() && !NewcomerCut::Everything.is_asked());
        assert_eq!(readable(&asked, log(1)), Ranges::span(1, 10));
    }
}
