//! Hashes of a few parts that are mostly short.
//!
//! To set up a `blake3::Hasher` and to give it each part costs as much as to hash a short message.

/// Longest input that is joined first, in bytes.
const JOINED_MAX: usize = 512;

/// The hash of the parts, one after another: by `at_once` if they are short together, else by the
/// hasher.
pub(crate) fn of<const PARTS: usize>(
    parts: [&[u8]; PARTS],
    at_once: impl FnOnce(&[u8]) -> blake3::Hash,
    hasher: impl FnOnce() -> blake3::Hasher,
) -> [u8; 32] {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let hash = if len <= JOINED_MAX {
        let mut joined = [0; JOINED_MAX];
        let mut at = 0;
        for part in parts {
            joined[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        at_once(&joined[..len])
    } else {
        let mut hasher = hasher();
        for part in parts {
            hasher.update(part);
        }
        hasher.finalize()
    };
    *hash.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_parts_have_the_hash_of_all_bytes() {
        for len in [0, 1, JOINED_MAX - 3, JOINED_MAX - 2, 5_000] {
            let body = vec![7; len];
            let all = [b"ab", &body[..]].concat();
            let hash = of([b"ab", &body], blake3::hash, blake3::Hasher::new);
            assert_eq!(hash, *blake3::hash(&all).as_bytes());
        }
    }
}
