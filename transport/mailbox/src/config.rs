//! How much mail a holder stores.

/// Maximum bytes that wait for one recipient. While the holder fills up, a recipient gets at most an
/// eighth of the bytes that are left.
pub const RECIPIENT_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Maximum bytes of one sender that wait for one recipient.
pub const SENDER_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Maximum recipients. Each one needs about 300 bytes on disk, and 33 for each of its senders.
pub const RECIPIENTS_MAX: u64 = 200_000;
