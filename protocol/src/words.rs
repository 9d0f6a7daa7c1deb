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

/// Words of the list that differ by more than this are not what somebody meant.
const TYPING_ERRORS_MAX: usize = 2;

/// The word of the list that this is.
pub(crate) fn find(word: &str) -> Option<&'static str> {
    let at = LIST.binary_search(&word).ok()?;
    Some(LIST[at])
}

/// The word of the list that somebody meant who typed this, if one is near.
pub(crate) fn nearest(typed: &str) -> Option<&'static str> {
    let distances = LIST.iter().map(|word| (typing_errors(word, typed), *word));
    let (errors, word) = distances.min()?;
    (errors <= TYPING_ERRORS_MAX).then_some(word)
}

/// The number of letters to insert, delete, replace or swap with their neighbour.
fn typing_errors(meant: &str, typed: &str) -> usize {
    let (meant, typed): (Vec<char>, Vec<char>) = (meant.chars().collect(), typed.chars().collect());
    // Longer than any word with its errors, and the table below must not grow.
    if typed.len() > 16 {
        return usize::MAX;
    }
    let mut table = vec![vec![0; typed.len() + 1]; meant.len() + 1];
    for i in 0..=meant.len() {
        for j in 0..=typed.len() {
            table[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let differs = usize::from(meant[i - 1] != typed[j - 1]);
                let one = (table[i - 1][j] + 1).min(table[i][j - 1] + 1);
                let swaps =
                    i > 1 && j > 1 && meant[i - 1] == typed[j - 2] && meant[i - 2] == typed[j - 1];
                let swapped = if swaps {
                    table[i - 2][j - 2] + 1
                } else {
                    usize::MAX
                };
                one.min(table[i - 1][j - 1] + differs).min(swapped)
            };
        }
    }
    table[meant.len()][typed.len()]
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
    fn typing_errors_count_letters() {
        assert_eq!(typing_errors("maple", "maple"), 0);
        assert_eq!(typing_errors("maple", "mapel"), 1);
        assert_eq!(typing_errors("maple", "mple"), 1);
        assert_eq!(typing_errors("maple", "stone"), 4);
        assert_eq!(nearest("zooo"), Some("zoo"));
        assert_eq!(nearest(&"z".repeat(1_000)), None);
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
