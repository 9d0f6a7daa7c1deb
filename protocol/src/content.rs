//! Content on the wire: pieces with proofs. A receiver checks that a piece belongs to the content's
//! hash before it stores the piece.
//!
//! The receiver opens a stream and writes [`PieceRequest`]s, each a two-byte big-endian length and
//! a body. The sender answers in order with an [`Answer`] byte. After [`Answer::Here`] follow the
//! proof of the span, the leaves of its pieces, and the requested pieces. All lengths follow from
//! the request, so an answer cannot lie about them.
//!
//! BLAKE3 is a tree of pairs over chunks of 1 KiB. A *piece* is a subtree of 64 chunks and a *span*
//! a subtree of 64 pieces. The last piece and the last span may be smaller. A *leaf* is the
//! chaining value of a piece. The leaves of a span fold into the span's value. The span's value and
//! its siblings on the path to the root (the *proof*) fold into the hash. Pieces and spans are
//! powers of two, so pairing neighbours and moving an odd value up unchanged gives BLAKE3's
//! left-balanced tree.

use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::offer::{ContentHash, OfferId};

/// Bytes of a piece.
pub const PIECE_BYTES: usize = 64 * 1024;

/// Pieces of a span.
pub const SPAN_PIECES: usize = 64;

/// Bytes of the length before a piece in an [`Answer::HereCompressed`].
pub const PIECE_LEN_BYTES: usize = 4;

/// Longest encoded [`PieceRequest`], in bytes.
pub const PIECE_REQUEST_BYTES_MAX: usize = 128;

/// The chaining value of a subtree. For content of at most one piece it is the content's hash.
pub type Leaf = [u8; 32];

/// Bytes of a leaf.
pub const LEAF_BYTES: usize = size_of::<Leaf>();

/// The pieces and spans of content of a certain size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    size: u64,
}

impl Shape {
    /// The shape of content of `size` bytes.
    pub const fn of(size: u64) -> Self {
        Self { size }
    }

    /// Bytes of the content.
    pub const fn size(self) -> u64 {
        self.size
    }

    /// Pieces of the content; 0 if it is empty.
    pub const fn pieces(self) -> u64 {
        self.size.div_ceil(PIECE_BYTES as u64)
    }

    /// Spans of the content; 0 if it is empty.
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

    /// The leaf of a piece. `bytes` is the whole piece.
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

    /// Folds the leaves of a whole span into the span's value.
    pub fn fold(self, leaves: &[Leaf]) -> Leaf {
        fold(leaves.to_vec(), self.spans() <= 1)
    }

    /// The number of values in the proof of a span.
    pub fn proof_len(self, span: u64) -> usize {
        self.climb(span)
            .filter(|step| step.sibling.is_some())
            .count()
    }

    /// Whether `proof` shows that `leaves`, which must be all leaves of `span`, belong to content
    /// with this hash.
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
            let other = proof.next().expect("proof_len counts the siblings");
            value = if sibling > step.index {
                merge(&value, other, step.is_last)
            } else {
                merge(other, &value, step.is_last)
            };
        }
        value == hash.0
    }

    /// The steps from a span up to the hash.
    fn climb(self, span: u64) -> impl Iterator<Item = Level> {
        let mut at = (span, self.spans());
        std::iter::from_fn(move || {
            let (index, width) = at;
            if width <= 1 {
                return None;
            }
            at = (index / 2, width.div_ceil(2));
            Some(Level {
                index,
                sibling: Some(index ^ 1).filter(|sibling| *sibling < width),
                is_last: width == 2,
            })
        })
    }
}

/// One level between a span and the hash.
struct Level {
    index: u64,
    sibling: Option<u64>,
    is_last: bool,
}

/// The values of all spans and all levels above them. It contains the proof of every span and takes
/// 64 bytes for each 4 MiB of content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    levels: Vec<Vec<Leaf>>,
}

impl Tree {
    /// Builds the tree from the values of all spans.
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

    /// The proof of a span, lowest level first.
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

/// Computes the next level. With `to_root`, a level of two values becomes the root.
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

/// A request for consecutive pieces of one span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PieceRequest {
    /// The offer that describes the content.
    pub offer: OfferId,
    /// The span.
    pub span: u64,
    /// The first requested piece, counted within the span.
    pub first: u8,
    /// How many pieces are requested, at least one.
    pub count: u8,
}

impl PieceRequest {
    /// Encodes length and body.
    pub fn encode(&self) -> Vec<u8> {
        let body = codec::encode(self);
        let len = u16::try_from(body.len()).expect("at most PIECE_REQUEST_BYTES_MAX");
        [&len.to_be_bytes()[..], &body].concat()
    }

    /// Decodes the body of a request from a peer.
    pub fn decode(body: &[u8]) -> Result<PieceRequest, CodecError> {
        codec::decode::<PieceRequest, { 4 * PIECE_REQUEST_BYTES_MAX }>(body)
    }

    /// Whether content of this shape has these pieces.
    pub fn fits(&self, shape: Shape) -> bool {
        self.count > 0
            && usize::from(self.first) + usize::from(self.count) <= shape.pieces_in(self.span)
    }

    /// The requested pieces, counted from the start of the content.
    pub fn pieces(&self) -> std::ops::Range<u64> {
        let first = self.span * SPAN_PIECES as u64 + u64::from(self.first);
        first..first + u64::from(self.count)
    }
}

/// The first byte of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Proof, leaves and pieces follow.
    Here,
    /// As [`Answer::Here`], with the pieces compressed one by one, for peers with
    /// [`features::COMPRESSION`](crate::frame::features::COMPRESSION). Before each piece stand
    /// [`PIECE_LEN_BYTES`]: how many bytes of it follow, big-endian. If they are as many as the piece
    /// has, it is not compressed.
    HereCompressed,
    /// The peer does not have the content.
    NotHere,
    /// The requesting peer may not have the content.
    Refused,
    /// The content has changed since it was offered.
    Changed,
    /// The author has paused the sending: ask again later.
    Later,
}

impl Answer {
    /// The byte on the wire.
    pub fn code(self) -> u8 {
        match self {
            Answer::Here => 0,
            Answer::NotHere => 1,
            Answer::Refused => 2,
            Answer::Changed => 3,
            Answer::Later => 4,
            Answer::HereCompressed => 5,
        }
    }

    /// Decodes the byte. An unknown one of a later version counts as [`Answer::NotHere`].
    pub fn of_code(code: u8) -> Self {
        match code {
            0 => Answer::Here,
            2 => Answer::Refused,
            3 => Answer::Changed,
            4 => Answer::Later,
            5 => Answer::HereCompressed,
            _ => Answer::NotHere,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::ConversationId;
    use crate::identity::PersonId;
    use crate::log::{LogId, LogName};
    use proptest::prelude::*;

    /// Any two pieces differ, since 251 does not divide the length of a piece.
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
    fn golden_bytes_of_a_request() {
        let name = LogName {
            conversation: ConversationId::from_bytes([1; 32]),
            author: PersonId::from_bytes([2; 32]),
            device: PersonId::from_bytes([2; 32]).only_device(),
            log: LogId(3),
        };
        let request = PieceRequest {
            offer: OfferId { name, seq: 4 },
            span: 5,
            first: 6,
            count: 7,
        };
        let body = [vec![1; 32], vec![2; 32], vec![0, 3, 4, 5, 6, 7]].concat();
        assert_eq!(request.encode(), [vec![0, 70], body.clone()].concat());
        assert_eq!(PieceRequest::decode(&body), Ok(request));
        assert!(body.len() <= PIECE_REQUEST_BYTES_MAX);
    }

    #[test]
    fn a_request_beyond_the_content_does_not_fit() {
        let name = LogName {
            conversation: ConversationId::from_bytes([1; 32]),
            author: PersonId::from_bytes([2; 32]),
            device: PersonId::from_bytes([2; 32]).only_device(),
            log: LogId(3),
        };
        let request = |span, first, count| PieceRequest {
            offer: OfferId { name, seq: 4 },
            span,
            first,
            count,
        };
        let shape = Shape::of((PIECE_BYTES * (SPAN_PIECES + 2)) as u64);
        for good in [request(0, 0, 64), request(0, 63, 1), request(1, 0, 2)] {
            assert!(good.fits(shape), "{good:?}");
        }
        for wrong in [
            request(0, 0, 65),
            request(0, 64, 1),
            request(1, 1, 2),
            request(2, 0, 1),
            request(u64::MAX, 0, 1),
            request(0, 0, 0),
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
            let _ = PieceRequest::decode(&bytes);
        }
    }
}
