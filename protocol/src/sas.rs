//! Six words by which two people make sure, over the telephone, that nobody stands between their
//! nodes.
//!
//! The words are made of both public keys, so both ends show the same ones; and whoever stood
//! between them, with a key of their own towards each end, would make the two ends show different
//! ones. The list is that of BIP 39: 2048 English words of which no two begin with the same four
//! letters.

use std::sync::LazyLock;

use crate::identity::PeerId;

/// How many words there are to compare: 66 bits.
pub const WORDS: usize = 6;

/// Bits that one word of the list stands for.
const WORD_BITS: usize = 11;

/// Rounds of hashing, about 20 ms of work. Somebody in the middle must find two keys that give the
/// same words at both ends, which takes some 2^33 tries at each; so each try is made dear.
const ROUNDS: u32 = 1 << 18;

/// <https://github.com/bitcoin/bips/blob/master/bip-0039/english.txt>
static LIST: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| include_str!("words.txt").lines().collect());

/// The words of two peers, in whatever order they are named. Takes about 20 ms.
pub fn words(one: PeerId, other: PeerId) -> [&'static str; WORDS] {
    let mut hash = blake3::Hasher::new_derive_key("hobnob 1 verification words");
    hash.update(one.min(other).as_bytes())
        .update(one.max(other).as_bytes());
    let mut value = *hash.finalize().as_bytes();
    for _ in 0..ROUNDS {
        value = blake3::hash(&value).into();
    }
    spell(&value)
}

/// The first bits, eleven for each word.
fn spell(value: &[u8; 32]) -> [&'static str; WORDS] {
    std::array::from_fn(|word| {
        let bits = word * WORD_BITS..(word + 1) * WORD_BITS;
        let at = bits.fold(0, |at, bit| {
            at << 1 | usize::from(value[bit / 8] >> (7 - bit % 8) & 1)
        });
        LIST[at]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SecretKey;

    #[test]
    fn the_list_is_that_of_bip_39() {
        assert_eq!(LIST.len(), 1 << WORD_BITS);
        assert_eq!(
            (LIST[0], LIST[1], LIST[1023], LIST[2047]),
            ("abandon", "ability", "lend", "zoo")
        );
        assert!(LIST.is_sorted());
        let starts: std::collections::BTreeSet<_> =
            LIST.iter().map(|word| &word[..word.len().min(4)]).collect();
        assert_eq!(starts.len(), LIST.len(), "four letters tell any two apart");
    }

    #[test]
    fn bits_become_words_the_highest_first() {
        assert_eq!(spell(&[0; 32]), ["abandon"; WORDS]);
        assert_eq!(spell(&[0xff; 32]), ["zoo"; WORDS]);
        let mut value = [0; 32];
        (value[1], value[2]) = (0b0010_0000, 0b0000_1000);
        assert_eq!(spell(&value)[..3], ["ability", "able", "abandon"]);
    }

    #[test]
    fn both_ends_see_the_same_words_and_other_keys_others() {
        let [ann, bob, eve] = [1, 2, 3].map(|seed| SecretKey::from_seed([seed; 32]).id());
        assert_eq!(words(ann, bob), words(bob, ann));
        assert_ne!(words(ann, bob), words(ann, eve));
        assert_ne!(words(ann, bob), words(eve, bob));
    }
}
