//! Safety words: a short authentication string (RFC 6189) of six words. Two people compare them,
//! for example over the telephone, to make sure that nobody intercepts their session.
//!
//! The words are a hash of both public keys, so both ends show the same words. An attacker in the
//! middle uses an own key towards each end, and the two ends show different words. The list is that
//! of BIP 39: 2048 English words, each with its own first four letters.

use std::sync::LazyLock;

use crate::identity::PeerId;

/// Number of words to compare. Together they are 66 bits.
pub const SAFETY_WORDS: usize = 6;

/// Bits that one word of the list represents.
const WORD_BITS: usize = 11;

/// Rounds of hashing, about 20 ms of work. An attacker in the middle must find two keys that give
/// the same words at both ends, which takes some 2^33 tries for each. The rounds make a try costly.
const ROUNDS: u32 = 1 << 18;

/// <https://github.com/bitcoin/bips/blob/master/bip-0039/english.txt>
static LIST: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| include_str!("words.txt").lines().collect());

/// The safety words of two peers, in either order. Takes about 20 ms.
pub fn safety_words(one: PeerId, other: PeerId) -> [&'static str; SAFETY_WORDS] {
    let mut hash = blake3::Hasher::new_derive_key("hobnob 1 safety words");
    hash.update(one.min(other).as_bytes())
        .update(one.max(other).as_bytes());
    let mut value = *hash.finalize().as_bytes();
    for _ in 0..ROUNDS {
        value = blake3::hash(&value).into();
    }
    words_of(&value)
}

/// One word for each eleven bits, from the first bit on.
fn words_of(value: &[u8; 32]) -> [&'static str; SAFETY_WORDS] {
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
        assert_eq!(
            starts.len(),
            LIST.len(),
            "any two words differ in their first four letters"
        );
    }

    #[test]
    fn bits_become_words_from_the_highest_on() {
        assert_eq!(words_of(&[0; 32]), ["abandon"; SAFETY_WORDS]);
        assert_eq!(words_of(&[0xff; 32]), ["zoo"; SAFETY_WORDS]);
        let mut value = [0; 32];
        (value[1], value[2]) = (0b0010_0000, 0b0000_1000);
        assert_eq!(words_of(&value)[..3], ["ability", "able", "abandon"]);
    }

    #[test]
    fn both_ends_see_the_same_words_and_other_keys_give_other_words() {
        let [ann, bob, eve] = [1, 2, 3].map(|seed| SecretKey::from_seed([seed; 32]).id());
        assert_eq!(safety_words(ann, bob), safety_words(bob, ann));
        assert_ne!(safety_words(ann, bob), safety_words(ann, eve));
        assert_ne!(safety_words(ann, bob), safety_words(eve, bob));
    }
}
