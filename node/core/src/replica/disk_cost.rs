//! What entries cost on disk. Strangers are charged for it.
//!
//! The constants are upper bounds: a test of the store compares them with the size of a database.
//! See `docs/decisions/0087-strangers-pay-for-the-disk.md`.

/// Bytes on disk for a log: its row and its name in an index, the row of its run, and the row of
/// what is in the search index.
const LOG: u64 = 512;

/// Bytes on disk for an entry beside its own: its row with hash and signature, the orders in which
/// entries are shown and arrived, and the row of what it is about.
const ENTRY: u64 = 384;

/// An entry is stored as it is, and again as tokens in the search index. A text of groups of
/// letters that no other text has costs most.
const COPIES: u64 = 9;

/// The bytes on disk of `logs` logs with `entries` entries, which have `bytes` bytes in all.
/// Rounded up.
pub fn bytes_on_disk(logs: u64, entries: u64, bytes: u64) -> u64 {
    LOG * logs + ENTRY * entries + COPIES * bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_entries_and_bytes_each_cost() {
        assert_eq!(bytes_on_disk(1, 0, 0), LOG);
        assert_eq!(bytes_on_disk(0, 3, 0), 3 * ENTRY);
        assert_eq!(bytes_on_disk(2, 1, 10), 2 * LOG + ENTRY + 10 * COPIES);
    }
}
