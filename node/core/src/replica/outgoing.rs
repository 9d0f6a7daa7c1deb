//! The stream of batches to one peer: how much it may be handed, whose turn is next, and which
//! reads of the store it waits for.

use std::collections::VecDeque;

use hobnob_protocol::{ConversationId, LogName, PersonId, Seq};

/// Maximum bytes of batches that a session may have been handed and has not written. Further
/// batches stay on disk.
pub const BATCHES_OUTSTANDING_MAX: usize = 512 * 1024;

/// After this many failed reads in a row, the entries are not sent.
const READ_TRIES: u32 = 10;

/// Authors in a conversation take turns on a session.
pub(super) type FairKey = (ConversationId, PersonId);

/// Entries of one of our own logs, from the first to the last.
pub(super) type OwnSpan = (LogName, Seq, Seq);

/// The reaction to a failed read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadFailure {
    /// The session waits, so that nothing overtakes these entries.
    TryAgain,
    /// The entries are not sent.
    GiveUp,
}

/// The state of a session's stream of batches.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// Bytes handed out and not yet written.
    outstanding: usize,
    /// The frames that are handed out, with the bytes that remain of each. Own entries are reported
    /// as sent when their frame is written.
    unwritten: VecDeque<(usize, Option<OwnSpan>)>,
    /// Whether the store must answer, or must be asked again, before the next batch is sent.
    reading: bool,
    failed_reads: u32,
    /// The author whose turn was last.
    turn: Option<FairKey>,
}

impl Outgoing {
    pub(super) fn is_full(&self) -> bool {
        self.outstanding >= BATCHES_OUTSTANDING_MAX
    }

    /// Whether another batch can be sent.
    pub(super) fn is_open(&self) -> bool {
        !self.reading && !self.is_full()
    }

    /// Whether everything that was handed out is written, and no read is awaited.
    pub(super) fn is_idle(&self) -> bool {
        self.outstanding == 0 && !self.reading
    }

    /// The author whose turn was last.
    pub(super) fn turn(&self) -> Option<FairKey> {
        self.turn
    }

    /// It is this author's turn.
    pub(super) fn set_turn(&mut self, turn: FairKey) {
        self.turn = Some(turn);
    }

    /// A frame was handed out; `own` names this node's entries in it.
    pub(super) fn handed_out(&mut self, bytes: usize, own: Option<OwnSpan>) {
        self.outstanding += bytes;
        self.unwritten.push_back((bytes, own));
    }

    /// Bytes were written to the connection. Returns this node's entries that were written with
    /// them.
    pub(super) fn written(&mut self, mut bytes: usize) -> Vec<OwnSpan> {
        debug_assert!(bytes <= self.outstanding, "only what was handed out");
        self.outstanding = self.outstanding.saturating_sub(bytes);
        let mut sent = Vec::new();
        while let Some((left, own)) = self.unwritten.front_mut() {
            if *left > bytes {
                *left -= bytes;
                break;
            }
            bytes -= *left;
            sent.extend(own.take());
            self.unwritten.pop_front();
        }
        sent
    }

    pub(super) fn read_begins(&mut self) {
        self.reading = true;
    }

    pub(super) fn read_succeeded(&mut self) {
        self.reading = false;
        self.failed_reads = 0;
    }

    pub(super) fn read_failed(&mut self) -> ReadFailure {
        self.failed_reads += 1;
        if self.failed_reads < READ_TRIES {
            return ReadFailure::TryAgain;
        }
        self.read_succeeded();
        ReadFailure::GiveUp
    }

    /// Whether a read failed and must be tried again.
    pub(super) fn must_read_again(&self) -> bool {
        self.failed_reads > 0
    }

    pub(super) fn read_again(&mut self) {
        self.reading = false;
    }

    /// The number of items held, for the limit of a session.
    pub(super) fn size(&self) -> usize {
        self.unwritten.len()
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::{LogId, SecretKey};

    use super::*;

    fn author(n: u8) -> PersonId {
        SecretKey::from_seed([n; 32]).id().person()
    }

    fn conversation() -> ConversationId {
        ConversationId::direct(author(1), author(2))
    }

    fn own(first: Seq, last: Seq) -> OwnSpan {
        let name = LogName {
            conversation: conversation(),
            author: author(1),
            device: author(1).only_device(),
            log: LogId(1),
        };
        (name, first, last)
    }

    #[test]
    fn a_full_stream_is_closed_until_bytes_are_written() {
        let mut outgoing = Outgoing::default();
        outgoing.handed_out(BATCHES_OUTSTANDING_MAX - 1, None);
        assert!(outgoing.is_open());
        outgoing.handed_out(1, None);
        assert!(outgoing.is_full() && !outgoing.is_open());
        outgoing.written(1);
        assert!(!outgoing.is_full() && outgoing.is_open());
    }

    #[test]
    fn own_entries_are_sent_when_the_last_byte_of_their_frame_is_written() {
        let mut outgoing = Outgoing::default();
        outgoing.handed_out(100, Some(own(1, 2)));
        outgoing.handed_out(50, None);
        outgoing.handed_out(100, Some(own(3, 3)));
        assert_eq!(outgoing.written(99), []);
        assert_eq!(outgoing.written(1), [own(1, 2)]);
        assert_eq!(outgoing.size(), 2);
        assert_eq!(outgoing.written(150), [own(3, 3)]);
        assert_eq!(outgoing.size(), 0);
    }

    #[test]
    fn a_read_that_fails_ten_times_is_given_up() {
        let mut outgoing = Outgoing::default();
        for _ in 1..READ_TRIES {
            outgoing.read_begins();
            assert_eq!(outgoing.read_failed(), ReadFailure::TryAgain);
            assert!(outgoing.must_read_again() && !outgoing.is_open());
            outgoing.read_again();
            assert!(outgoing.is_open());
        }
        outgoing.read_begins();
        assert_eq!(outgoing.read_failed(), ReadFailure::GiveUp);
        assert!(!outgoing.must_read_again() && outgoing.is_open());
    }

    #[test]
    fn a_read_that_succeeds_starts_the_count_again() {
        let mut outgoing = Outgoing::default();
        outgoing.read_failed();
        outgoing.read_succeeded();
        assert!(!outgoing.must_read_again());
        for _ in 1..READ_TRIES {
            assert_eq!(outgoing.read_failed(), ReadFailure::TryAgain);
        }
    }
}
