//! Bits as words that people can read aloud. The list is that of BIP 39: 2048 English words, each
//! with its own first four letters.

use std::sync::LazyLock;

/// Bits that one word of the list represents.
pub(crate) const WORD_BITS: usize = 11;

/// <https://github.com/bitcoin/bips/blob/master/bip-0039/english.txt>
static LIST: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| include_str!("words.txt").lines().collect());

/// One word for each eleven bits, from the first bit on. `N` is at most 23.
pub(crate) fn words_of<const N: usize>(value: &[u8; 32]) -> [&'static str; N] {
    const { assert!(N * WORD_BITS <= 256) };
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
        assert_eq!(words_of(&[0; 32]), ["abandon"; 5]);
        assert_eq!(words_of(&[0xff; 32]), ["zoo"; 5]);
        let mut value = [0; 32];
        (value[1], value[2]) = (0b0010_0000, 0b0000_1000);
        assert_eq!(words_of(&value), ["ability", "able", "abandon"]);
    }
}
