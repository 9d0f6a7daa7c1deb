//! How content travels: in pieces, each of which is proved to belong to the content's hash before
//! it is kept.
//!
//! Who wants content opens a stream and writes [`Ask`]s, each a two-byte big-endian length and a
//! body; who has it answers in order: an [`Answer`] byte, and after [`Answer::Here`] the proof of
//! the span, the leaves of its pieces, and the pieces that were asked for. All lengths follow from
//! what was asked, so an answer has no lengths of its own to lie about.
//!
//! BLAKE3 is a tree of pairs over chunks of 1 KiB. A *piece* is a subtree of 64 chunks, a *span* a
//! subtree of 64 pieces; the last of each may be smaller. A *leaf* is the chaining value of a
//! piece. Leaves of a span fold into the span's value, and that, with the siblings on its way up
//! (the *proof*), into the hash. Pairing neighbours and carrying an odd one up unchanged gives
//! exactly BLAKE3's left-balanced tree, since pieces and spans are powers of two.

use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::offer::{ContentHash, OfferId};

/// Bytes of a piece.
pub const PIECE_BYTES: usize = 64 * 1024;

/// Pieces of a span.
pub const SPAN_PIECES: usize = 64;

/// Bytes of one encoded [`Ask`] at most.
pub const ASK_BYTES_MAX: usize = 128;

/// The chaining value of a subtree; of content that is no more than one piece, its hash.
pub type Leaf = [u8; 32];

/// Bytes of a leaf.
pub const LEAF_BYTES: usize = size_of::<Leaf>();

/// How content of a size falls into pieces and spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    size: u64,
}

impl Shape {
    /// For content of so many bytes.
    pub const fn of(size: u64) -> Self {
        Self { size }
    }

    /// Bytes in all.
    pub const fn size(self) -> u64 {
        self.size
    }

    /// Pieces in all; none for empty content.
    pub const fn pieces(self) -> u64 {
        self.size.div_ceil(PIECE_BYTES as u64)
    }

    /// Spans in all.
    pub const fn spans(self) -> u64 {
        self.pieces().div_ceil(SPAN_PIECES as u64)
    }

    /// Pieces of a span; 0 beyond the last.
    pub fn pieces_in(self, span: u64) -> usize {
        let first = span.saturating_mul(SPAN_PIECES as u64);
        usize::try_from(self.pieces().saturating_sub(first).min(SPAN_PIECES as u64))
            .expect("at most 64")
    }

    /// Bytes of a piece; 0 beyond the last.
    pub fn piece_len(self, piece: u64) -> usize {
        let start = piece.saturating_mul(PIECE_BYTES as u64);
        usize::try_from(self.size.saturating_sub(start).min(PIECE_BYTES as u64))
            .expect("at most a piece")
    }

    /// The leaf of a piece: `bytes` are all of it.
    pub fn leaf(self, piece: u64, bytes: &[u8]) -> Leaf {
        if self.pieces() <= 1 {
            return *blake3::hash(bytes).as_bytes();
        }
        let mut hasher = blake3::Hasher::new();
        hasher
            .set_input_offset(piece * PIECE_BYTES as u64)
            .update(bytes);
        hasher.finalize_non_root()
    }

    /// What the leaves of a whole span fold into.
    pub fn fold(self, leaves: &[Leaf]) -> Leaf {
        fold(leaves.to_vec(), self.spans() <= 1)
    }

    /// How many values the proof of a span has.
    pub fn proof_len(self, span: u64) -> usize {
        self.climb(span)
            .filter(|step| step.sibling.is_some())
            .count()
    }

    /// Whether these leaves of all pieces of `span`, with this proof, belong to content with this
    /// hash.
    pub fn proves(self, hash: ContentHash, span: u64, leaves: &[Leaf], proof: &[Leaf]) -> bool {
        if leaves.is_empty()
            || leaves.len() != self.pieces_in(span)
            || proof.len() != self.proof_len(span)
        {
            return false;
        }
        let mut proof = proof.iter();
        let mut value = self.fold(leaves);
        for step in self.climb(span) {
            let Some(sibling) = step.sibling else {
                continue;
            };
            let Some(other) = proof.next() else {
                return false;
            };
            value = if sibling > step.index {
                merge(&value, other, step.is_last)
            } else {
                merge(other, &value, step.is_last)
            };
        }
        value == hash.0
    }

    /// The way from a span up to the hash.
    fn climb(self, span: u64) -> impl Iterator<Item = Step> {
        let mut at = (span, self.spans());
        std::iter::from_fn(move || {
            let (index, width) = at;
            if width <= 1 {
                return None;
            }
            at = (index / 2, width.div_ceil(2));
            Some(Step {
                index,
                sibling: Some(index ^ 1).filter(|sibling| *sibling < width),
                is_last: width == 2,
            })
        })
    }
}

/// One level on the way from a span to the hash.
struct Step {
    index: u64,
    sibling: Option<u64>,
    is_last: bool,
}

/// The values of all spans and everything above: what is needed to prove any of them. 64 bytes for
/// each 4 MiB of content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    levels: Vec<Vec<Leaf>>,
}

impl Tree {
    /// From the values of all spans.
    pub fn new(spans: Vec<Leaf>) -> Self {
        let mut levels = vec![spans];
        while let Some(level) = levels.last().filter(|level| level.len() > 1) {
            let above = pair_up(level, true);
            levels.push(above);
        }
        Self { levels }
    }

    /// The hash of the content.
    pub fn hash(&self) -> ContentHash {
        let top = self.levels.last().and_then(|level| level.first());
        ContentHash(
            top.copied()
                .unwrap_or_else(|| *blake3::hash(&[]).as_bytes()),
        )
    }

    /// The proof of a span, lowest first.
    pub fn proof(&self, span: u64) -> Vec<Leaf> {
        let mut index = usize::try_from(span).unwrap_or(usize::MAX);
        let mut proof = Vec::new();
        for level in self.levels.iter().filter(|level| level.len() > 1) {
            proof.extend(level.get(index ^ 1));
            index /= 2;
        }
        proof
    }
}

fn merge(left: &Leaf, right: &Leaf, is_root: bool) -> Leaf {
    if is_root {
        *merge_subtrees_root(left, right, Mode::Hash).as_bytes()
    } else {
        merge_subtrees_non_root(left, right, Mode::Hash)
    }
}

/// The level above; two that are left are the root's if `to_root`.
fn pair_up(level: &[Leaf], to_root: bool) -> Vec<Leaf> {
    let is_root = to_root && level.len() == 2;
    let pair = |pair: &[Leaf]| match pair {
        [left, right] => merge(left, right, is_root),
        odd => odd[0],
    };
    level.chunks(2).map(pair).collect()
}

fn fold(mut level: Vec<Leaf>, to_root: bool) -> Leaf {
    while level.len() > 1 {
        level = pair_up(&level, to_root);
    }
    level
        .first()
        .copied()
        .unwrap_or_else(|| *blake3::hash(&[]).as_bytes())
}

/// "Send me these pieces."
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Of what was offered there.
    pub offer: OfferId,
    /// Within this span.
    pub span: u64,
    /// From this piece of the span on.
    pub first: u8,
    /// So many, at least one.
    pub count: u8,
}

impl Ask {
    /// Length and body.
    pub fn encode(&self) -> Vec<u8> {
        let body = codec::encode(self);
        let len = u16::try_from(body.len()).expect("an ask is at most ASK_BYTES_MAX long");
        [&len.to_be_bytes()[..], &body].concat()
    }

    /// Reads the body of one that a peer sent.
    pub fn decode(body: &[u8]) -> Result<Ask, CodecError> {
        codec::decode::<Ask, { 4 * ASK_BYTES_MAX }>(body)
    }

    /// Whether content of this shape has these pieces.
    pub fn fits(&self, shape: Shape) -> bool {
        self.count > 0
            && usize::from(self.first) + usize::from(self.count) <= shape.pieces_in(self.span)
    }

    /// The pieces asked for, counted from the start of the content.
    pub fn pieces(&self) -> std::ops::Range<u64> {
        let first = self.span * SPAN_PIECES as u64 + u64::from(self.first);
        first..first + u64::from(self.count)
    }
}

/// How an answer starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Proof, leaves and pieces follow.
    Here,
    /// The content is not there, or not any more.
    NotHere,
    /// The asker may not have it.
    Refused,
    /// It is not what was offered any more.
    Changed,
}

impl Answer {
    /// Its byte.
    pub fn code(self) -> u8 {
        match self {
            Answer::Here => 0,
            Answer::NotHere => 1,
            Answer::Refused => 2,
            Answer::Changed => 3,
        }
    }

    /// Reads its byte; one from the future means that there is nothing.
    pub fn of_code(code: u8) -> Self {
        match code {
            0 => Answer::Here,
            2 => Answer::Refused,
            3 => Answer::Changed,
            _ => Answer::NotHere,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::ConversationId;
    use crate::entry::{LogId, LogName};
    use crate::identity::PeerId;
    use proptest::prelude::*;

    /// No two pieces are alike: 251 does not divide one.
    fn content(size: usize) -> Vec<u8> {
        (0u8..=250).cycle().take(size).collect()
    }

    fn leaves(shape: Shape, bytes: &[u8]) -> Vec<Leaf> {
        bytes
            .chunks(PIECE_BYTES)
            .enumerate()
            .map(|(piece, bytes)| shape.leaf(piece as u64, bytes))
            .collect()
    }

    fn tree(shape: Shape, leaves: &[Leaf]) -> Tree {
        Tree::new(
            leaves
                .chunks(SPAN_PIECES)
                .map(|span| shape.fold(span))
                .collect(),
        )
    }

    #[test]
    fn the_tree_is_blake3s_own_at_every_edge() {
        let (piece, span) = (PIECE_BYTES, PIECE_BYTES * SPAN_PIECES);
        for size in [
            0,
            1,
            1024,
            piece - 1,
            piece,
            piece + 1,
            2 * piece,
            3 * piece + 5,
            span - 1,
            span,
            span + 1,
            2 * span + piece,
            5 * span,
        ] {
            let bytes = content(size);
            let shape = Shape::of(size as u64);
            let leaves = leaves(shape, &bytes);
            assert_eq!(leaves.len() as u64, shape.pieces());
            let tree = tree(shape, &leaves);
            assert_eq!(tree.hash().0, *blake3::hash(&bytes).as_bytes(), "{size}");
            for (index, leaves) in leaves.chunks(SPAN_PIECES).enumerate() {
                let index = index as u64;
                let proof = tree.proof(index);
                assert!(
                    shape.proves(tree.hash(), index, leaves, &proof),
                    "span {index} of {size}"
                );
                assert!(
                    !shape.proves(tree.hash(), index + 1, leaves, &proof),
                    "span {index} of {size} as the next"
                );
                let mut wrong = leaves.to_vec();
                wrong[0][0] ^= 1;
                assert!(!shape.proves(tree.hash(), index, &wrong, &proof));
                assert!(!shape.proves(tree.hash(), index, &leaves[1..], &proof));
            }
        }
    }

    #[test]
    fn golden_bytes_of_an_ask() {
        let name = LogName {
            conversation: ConversationId::from_bytes([1; 32]),
            author: PeerId::from_bytes([2; 32]),
            log: LogId(3),
        };
        let ask = Ask {
            offer: OfferId { name, seq: 4 },
            span: 5,
            first: 6,
            count: 7,
        };
        let body = [vec![1; 32], vec![2; 32], vec![3, 4, 5, 6, 7]].concat();
        assert_eq!(ask.encode(), [vec![0, 69], body.clone()].concat());
        assert_eq!(Ask::decode(&body), Ok(ask));
        assert!(body.len() <= ASK_BYTES_MAX);
    }

    #[test]
    fn an_ask_beyond_the_content_does_not_fit() {
        let name = LogName {
            conversation: ConversationId::from_bytes([1; 32]),
            author: PeerId::from_bytes([2; 32]),
            log: LogId(3),
        };
        let ask = |span, first, count| Ask {
            offer: OfferId { name, seq: 4 },
            span,
            first,
            count,
        };
        let shape = Shape::of((PIECE_BYTES * (SPAN_PIECES + 2)) as u64);
        assert!(ask(0, 0, 64).fits(shape) && ask(0, 63, 1).fits(shape) && ask(1, 0, 2).fits(shape));
        for wrong in [
            ask(0, 0, 65),
            ask(0, 64, 1),
            ask(1, 1, 2),
            ask(2, 0, 1),
            ask(u64::MAX, 0, 1),
            ask(0, 0, 0),
        ] {
            assert!(!wrong.fits(shape), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn any_count_of_spans_proves_each(count in 1u64..300, at in 0u64..300) {
            let spans: Vec<Leaf> = (0..count).map(|n| *blake3::hash(&n.to_le_bytes()).as_bytes()).collect();
            let tree = Tree::new(spans.clone());
            let shape = Shape::of(count * (PIECE_BYTES * SPAN_PIECES) as u64);
            let span = at % count;
            let mut value = spans[usize::try_from(span).expect("small")];
            prop_assert_eq!(tree.proof(span).len(), shape.proof_len(span));
            let proof = tree.proof(span);
            let mut proof = proof.iter();
            for step in shape.climb(span) {
                let Some(sibling) = step.sibling else { continue };
                let other = proof.next().expect("counted");
                value = if sibling > step.index { merge(&value, other, step.is_last) } else { merge(other, &value, step.is_last) };
            }
            prop_assert_eq!(ContentHash(value), tree.hash());
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Ask::decode(&bytes);
        }
    }
}
