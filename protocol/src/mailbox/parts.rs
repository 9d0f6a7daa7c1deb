//! The parts in which the content of a small file travels by mail.

/// The largest content of an offer that travels by mail, in bytes.
pub const MAILED_CONTENT_MAX: u64 = 1024 * 1024;

/// Bytes of each part of a content that travels by mail. The last one may be shorter.
pub const CONTENT_PART_BYTES: usize = 48 * 1024;

/// Maximum parts of one content.
pub const CONTENT_PARTS_MAX: usize = 22;
const _: () =
    assert!(MAILED_CONTENT_MAX.div_ceil(CONTENT_PART_BYTES as u64) == CONTENT_PARTS_MAX as u64);
