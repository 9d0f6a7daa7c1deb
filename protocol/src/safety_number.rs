//! Safety numbers: two people compare 60 digits, for example over the telephone, to make sure that
//! nobody intercepts their session.
//!
//! The construction is the numeric fingerprint of Signal (libsignal, `fingerprint.rs`). Each peer's
//! key becomes 30 digits, about 100 bits, by 5,200 iterations of SHA-512. The two halves stand in
//! ascending order, so both ends show the same number.
//!
//! An attacker in the middle uses a different key towards each end. The two ends show the same
//! number only if both of the attacker's keys have the digits of the keys that they replace. Each
//! half depends on one key alone, so a birthday search does not help. The attacker needs about 2^99
//! keys for each half, and 5,200 hashes for each key.

use aws_lc_rs::digest::{SHA512, digest};

use crate::identity::PersonId;

/// Groups of five digits in a safety number.
pub const SAFETY_NUMBER_GROUPS: usize = 12;

/// Iterations of SHA-512, as in Signal. One number takes a few milliseconds.
const ITERATIONS: usize = 5_200;

/// Signal's version of the construction.
const VERSION: [u8; 2] = [0, 0];

/// Where Signal uses a telephone number or account id. Here the key is the identity, so the
/// constant only separates the digits from those of other programs.
const IDENTIFIER: &[u8] = b"hobnob";

/// Digits in one group, and bytes of the hash that they are made of.
const GROUP_DIGITS: usize = 5;

/// The safety number of two peers, in either order, as groups of five digits.
pub fn safety_number(one: PersonId, other: PersonId) -> [String; SAFETY_NUMBER_GROUPS] {
    let halves = [digits_of(one), digits_of(other)];
    let (first, second) = (halves.iter().min(), halves.iter().max());
    let mut groups = first.into_iter().chain(second).flatten();
    std::array::from_fn(|_| groups.next().expect("two halves of six groups").clone())
}

/// The half of a safety number that belongs to one peer.
fn digits_of(peer: PersonId) -> [String; SAFETY_NUMBER_GROUPS / 2] {
    let key = peer.as_bytes();
    let mut hash = [&VERSION[..], key, IDENTIFIER].concat();
    for _ in 0..ITERATIONS {
        hash.extend_from_slice(key);
        hash = digest(&SHA512, &hash).as_ref().to_vec();
    }
    std::array::from_fn(|group| {
        let bytes = &hash[group * GROUP_DIGITS..][..GROUP_DIGITS];
        let number = bytes
            .iter()
            .fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
        format!("{:05}", number % 100_000)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SecretKey;

    #[test]
    fn both_ends_see_the_same_number_and_other_keys_give_other_numbers() {
        let [ann, bob, eve] = [1, 2, 3].map(|seed| SecretKey::from_seed([seed; 32]).id());
        let number = safety_number(ann.person(), bob.person());
        assert_eq!(number, safety_number(bob.person(), ann.person()));
        assert_ne!(number, safety_number(ann.person(), eve.person()));
        assert_ne!(number, safety_number(eve.person(), bob.person()));
        let digits = number.concat();
        assert_eq!(digits.len(), 60);
        assert!(digits.bytes().all(|digit| digit.is_ascii_digit()));
    }

    #[test]
    fn each_half_depends_on_one_key_only() {
        let [ann, bob, eve] = [1, 2, 3].map(|seed| SecretKey::from_seed([seed; 32]).id());
        let of_ann = digits_of(ann.person());
        for other in [bob, eve] {
            let number = safety_number(ann.person(), other.person());
            assert!(number.chunks(6).any(|half| half == of_ann));
        }
    }

    /// The digits were computed with another implementation, Python's `hashlib`.
    #[test]
    fn the_digits_of_a_key_never_change() {
        assert_eq!(
            digits_of(PersonId::from_bytes([7; 32])).join(" "),
            "55181 77912 04891 26407 27650 06209"
        );
    }
}
