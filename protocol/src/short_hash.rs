//! Hashes of a few parts that are mostly short.
//!
//! To set up a `blake3::Hasher` and to give it each part costs as much as to hash a short message.

/// Longest input that is joined first, in bytes.
const JOINED_MAX: usize = 512;

/// The hash of the parts, one after another, keyed if there is a key.
pub(crate) fn of<const PARTS: usize>(key: Option<&[u8; 32]>, parts: [&[u8]; PARTS]) -> [u8; 32] {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let hash = if len <= JOINED_MAX {
        let mut joined = [0; JOINED_MAX];
        let mut at = 0;
        for part in parts {
            joined[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        let joined = &joined[..len];
        key.map_or_else(
            || blake3::hash(joined),
            |key| blake3::keyed_hash(key, joined),
        )
    } else {
        let mut hasher = key.map_or_else(blake3::Hasher::new, blake3::Hasher::new_keyed);
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
            let hash = of(None, [b"ab", &body]);
            assert_eq!(hash, *blake3::hash(&all).as_bytes());
            let keyed = of(Some(&[3; 32]), [b"ab", &body]);
            assert_eq!(keyed, *blake3::keyed_hash(&[3; 32], &all).as_bytes());
        }
    }
}
