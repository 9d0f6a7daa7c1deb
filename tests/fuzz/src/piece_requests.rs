//! Requests for pieces of a content.

use hobnob_protocol::OfferId;
use hobnob_protocol::content::{PIECE_REQUEST_BYTES_MAX, PieceRequest, Shape};
use hobnob_protocol::offer::CONTENT_BYTES_MAX;

use crate::entries::author;

/// Bytes at the start of an input that choose the size of the content.
const SIZE_LEN: usize = 8;

/// A request that fits a content names only pieces of it.
pub(crate) fn run(data: &[u8]) {
    let Some((size, body)) = data.split_first_chunk::<SIZE_LEN>() else {
        return;
    };
    let Ok(request) = PieceRequest::decode(body) else {
        return;
    };
    let encoded = request.encode();
    let (_len, again) = encoded.split_at(2);
    assert!(again.len() <= PIECE_REQUEST_BYTES_MAX.min(body.len()));
    assert_eq!(PieceRequest::decode(again), Ok(request));

    let size = u64::from_be_bytes(*size) % (CONTENT_BYTES_MAX + 1);
    let shape = Shape::of(size);
    if request.fits(shape) {
        let pieces = request.pieces();
        assert!(!pieces.is_empty() && pieces.end <= shape.pieces());
        let bytes: usize = pieces.map(|piece| shape.piece_len(piece)).sum();
        assert!(bytes as u64 <= size);
    }
}

pub(crate) fn samples() -> Vec<Vec<u8>> {
    let (_, name, _) = author();
    let request = |span, first, count| PieceRequest {
        offer: OfferId { name, seq: 1 },
        span,
        first,
        count,
    };
    let cases = [
        (1, request(0, 0, 1)),
        (9_000_000, request(2, 3, 2)),
        (CONTENT_BYTES_MAX, request(1 << 20, 0, 64)),
    ];
    let input = |(size, request): (u64, PieceRequest)| {
        [&size.to_be_bytes()[..], &request.encode()[2..]].concat()
    };
    cases.map(input).to_vec()
}
