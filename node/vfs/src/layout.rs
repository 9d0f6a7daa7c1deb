//! The parts of SQLite's files: pages, headers of frames, and the rest, which has no content.
//!
//! See <https://sqlite.org/fileformat.html>. A database is a sequence of pages. A write-ahead log
//! is a header, and then frames: a header and a page each. A rollback journal is headers, numbers
//! and checksums of 4 bytes, and pages.

use crate::PAGE_BYTES;

/// Bytes of the header of a write-ahead log.
pub(crate) const WAL_HEADER: usize = 32;

/// Bytes of the header of a frame.
pub(crate) const FRAME_HEADER: usize = 24;

const FRAME: u64 = (FRAME_HEADER + PAGE_BYTES) as u64;

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Database,
    Wal,
    Journal,
}

/// The kind and place of a part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Without content, and not encrypted.
    Open,
    /// The header of a frame of the write-ahead log, by its number.
    FrameHeader(u64),
    /// A page: its number, the number of its frame, or its offset in a journal.
    Page(Kind, u64),
}

/// A part of a file: what it is, where it begins, and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) place: Place,
    pub(crate) start: u64,
    pub(crate) len: usize,
}

impl Place {
    /// Bytes that no other place has.
    pub(crate) fn name(self) -> [u8; 9] {
        let (kind, number) = match self {
            Place::Page(Kind::Database, page) => (1, page),
            Place::Page(Kind::Wal, frame) => (2, frame),
            Place::Page(Kind::Journal, offset) => (3, offset),
            Place::FrameHeader(frame) => (4, frame),
            Place::Open => (0, 0),
        };
        let mut name = [kind; 9];
        name[1..].copy_from_slice(&number.to_le_bytes());
        name
    }
}

/// The part of a file that has the byte at `offset`, where SQLite reads or writes `len` bytes.
pub(crate) fn part_at(kind: Kind, offset: u64, len: usize) -> Part {
    match kind {
        Kind::Database => {
            let page = offset / PAGE_BYTES as u64;
            Part {
                place: Place::Page(kind, page + 1),
                start: page * PAGE_BYTES as u64,
                len: PAGE_BYTES,
            }
        }
        Kind::Wal => part_of_wal(offset),
        // Only the length tells a page from the numbers around it. SQLite reads pages as a whole,
        // and nothing else in a journal is this long.
        Kind::Journal => Part {
            place: if len == PAGE_BYTES {
                Place::Page(kind, offset)
            } else {
                Place::Open
            },
            start: offset,
            len,
        },
    }
}

fn part_of_wal(offset: u64) -> Part {
    let Some(after) = offset.checked_sub(WAL_HEADER as u64) else {
        return Part {
            place: Place::Open,
            start: 0,
            len: WAL_HEADER,
        };
    };
    let (frame, within) = (after / FRAME, after % FRAME);
    let start = WAL_HEADER as u64 + frame * FRAME;
    if within < FRAME_HEADER as u64 {
        Part {
            place: Place::FrameHeader(frame),
            start,
            len: FRAME_HEADER,
        }
    } else {
        Part {
            place: Place::Page(Kind::Wal, frame),
            start: start + FRAME_HEADER as u64,
            len: PAGE_BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_of_a_file_belongs_to_one_part() {
        for (kind, end) in [(Kind::Database, 3 * 4096), (Kind::Wal, 32 + 3 * 4120)] {
            let mut at = 0;
            while at < end {
                let part = part_at(kind, at, 1);
                assert_eq!(part.start, at, "{kind:?}");
                let last = at + part.len as u64 - 1;
                assert_eq!(part_at(kind, last, 1), part);
                at = last + 1;
            }
            assert_eq!(at, end);
        }
    }

    #[test]
    fn pages_of_a_journal_are_known_by_their_length() {
        let place = |len| part_at(Kind::Journal, 516, len).place;
        assert_eq!(place(4096), Place::Page(Kind::Journal, 516));
        assert_eq!(place(4), Place::Open);
        assert_eq!(place(512), Place::Open);
    }
}
