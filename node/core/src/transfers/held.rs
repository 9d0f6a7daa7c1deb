//! Records which pieces of a content are stored: one bit for each piece.

use std::collections::BTreeSet;

use hobnob_protocol::content::{PIECE_BYTES, SPAN_PIECES, Shape};

/// The pieces of one content that are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// One bit for each piece of a span. The lowest bit is the first piece.
    spans: Vec<u64>,
    pieces: u64,
    count: u64,
    /// The first span that may lack a piece. All spans before it are complete.
    first_open: usize,
}

impl Held {
    /// No pieces.
    pub fn none(shape: Shape) -> Self {
        let spans = usize::try_from(shape.spans()).expect("as many as fit CONTENT_BYTES_MAX");
        Self {
            spans: vec![0; spans],
            pieces: shape.pieces(),
            count: 0,
            first_open: 0,
        }
    }

    /// Adds a piece. Ignores a piece beyond the end of the content.
    pub fn insert(&mut self, piece: u64) {
        let Some((span, bit)) = self.place(piece) else {
            return;
        };
        if self.spans[span] & bit == 0 {
            self.spans[span] |= bit;
            self.count += 1;
        }
        while self.first_open < self.spans.len() && self.is_full(self.first_open) {
            self.first_open += 1;
        }
    }

    /// Whether this piece is stored.
    pub fn contains(&self, piece: u64) -> bool {
        self.place(piece)
            .is_some_and(|(span, bit)| self.spans[span] & bit != 0)
    }

    /// Whether all pieces are stored.
    pub fn is_whole(&self) -> bool {
        self.count == self.pieces
    }

    /// Whether the first `pieces` pieces are stored.
    pub fn covers(&self, pieces: u64) -> bool {
        (0..pieces).all(|piece| self.contains(piece))
    }

    /// The size of the stored pieces in bytes.
    pub fn bytes(&self, shape: Shape) -> u64 {
        let Some(last) = self.pieces.checked_sub(1) else {
            return 0;
        };
        let full = self.count * PIECE_BYTES as u64;
        if self.contains(last) {
            full - (PIECE_BYTES - shape.piece_len(last)) as u64
        } else {
            full
        }
    }

    /// The first run of missing pieces before `end`, as span, first piece and count. Skips the
    /// spans in `asked`.
    pub fn next_missing(&self, end: u64, asked: &BTreeSet<u64>) -> Option<(u64, u8, u8)> {
        for (index, held) in self.spans.iter().enumerate().skip(self.first_open) {
            let span = index as u64;
            let start = span * SPAN_PIECES as u64;
            if start >= end {
                return None;
            }
            if asked.contains(&span) {
                continue;
            }
            let first = held.trailing_ones();
            let room = u32::try_from((end - start).min(SPAN_PIECES as u64)).expect("at most 64");
            if first < room {
                let missing = (held >> first).trailing_zeros().min(room - first);
                return Some((
                    span,
                    u8::try_from(first).expect("below 64"),
                    u8::try_from(missing).expect("at most 64"),
                ));
            }
        }
        None
    }

    fn is_full(&self, span: usize) -> bool {
        let pieces = Shape::of(self.pieces * PIECE_BYTES as u64).pieces_in(span as u64);
        self.spans[span].count_ones() as usize == pieces
    }

    fn place(&self, piece: u64) -> Option<(usize, u64)> {
        let span = usize::try_from(piece / SPAN_PIECES as u64).ok()?;
        (piece < self.pieces).then(|| (span, 1 << (piece % SPAN_PIECES as u64)))
    }
}
