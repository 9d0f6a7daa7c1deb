//! Room keys from passphrases: stretching, and the check for trivially weak ones.
//!
//! Proofs and relay tags let others guess a passphrase without asking anybody. Argon2id (RFC 9106)
//! makes each guess cost 64 MiB of memory and about 0.1 s of one core. The room's name is the salt,
//! so a guess counts for one name only.

use std::collections::BTreeMap;

use argon2::{Algorithm, Argon2, Params, Version};

use crate::conversation::RoomName;
use crate::room_key::{RoomKey, RoomKind};

/// Longest passphrase of a room, in bytes.
pub const PASSPHRASE_MAX: usize = 1024;

/// Characters that a passphrase needs, after those that are easy to guess are left out. Random
/// lower-case letters have 4.7 bits each, so ten of them take 2^47 guesses.
pub const PASSPHRASE_STRENGTH_MIN: usize = 10;

/// Memory of one stretching, in KiB.
const MEMORY_KIB: u32 = 64 * 1024;

/// Passes over the memory.
const PASSES: u32 = 3;

/// One lane. More would need threads, and would save an attacker nothing.
const LANES: u32 = 1;

/// Why a passphrase makes no room key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PassphraseError {
    /// It is empty or too long.
    #[error("a room's passphrase has 1 to {PASSPHRASE_MAX} bytes")]
    Length,
    /// It is easy to guess.
    #[error(
        "this passphrase is easy to guess: use four unrelated words, or twelve random characters \
         (years, the room's name, sequences and common words such as \"summer\" hardly count)"
    )]
    Weak,
}

impl RoomKey {
    /// The key of the room with this name and passphrase. Takes about 0.1 s and 64 MiB, so call it
    /// on a thread that may block, and keep the key instead of the passphrase.
    pub fn from_passphrase(name: &RoomName, passphrase: &[u8]) -> Result<Self, PassphraseError> {
        if !(1..=PASSPHRASE_MAX).contains(&passphrase.len()) {
            return Err(PassphraseError::Length);
        }
        if strength(name, &String::from_utf8_lossy(passphrase)) < PASSPHRASE_STRENGTH_MIN {
            return Err(PassphraseError::Weak);
        }
        let salt = blake3::derive_key("hobnob 1 passphrase room: salt", name.as_str().as_bytes());
        let mut key = [0; 32];
        let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(key.len()))
            .expect("the constants above are valid parameters");
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase, &salt, &mut key)
            .expect("length and salt are within the limits of Argon2");
        Ok(Self::from_bytes(RoomKind::Passphrase, key))
    }
}

/// Passphrases that people choose first. A word of this list counts as one character.
const COMMON: [&str; 48] = [
    "password",
    "passwort",
    "passphrase",
    "secret",
    "letmein",
    "welcome",
    "hello",
    "admin",
    "login",
    "qwerty",
    "qwertz",
    "azerty",
    "asdf",
    "zxcv",
    "iloveyou",
    "dragon",
    "monkey",
    "football",
    "baseball",
    "master",
    "sunshine",
    "princess",
    "shadow",
    "superman",
    "trustno",
    "spring",
    "summer",
    "autumn",
    "winter",
    "january",
    "february",
    "march",
    "april",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
    "monday",
    "tuesday",
    "friday",
    "saturday",
    "sunday",
    "hobnob",
    "lobby",
    "room",
];

/// How often one character counts.
const REPETITIONS_MAX: usize = 2;

/// How many characters of the passphrase are hard to guess. Common words, years and the room's name
/// count as one character each, sequences (`3456`, `aaaa`) as two, and each character at most
/// [`REPETITIONS_MAX`] times.
///
/// It recognizes only what guessing programs try first. It is no measure of entropy: a well-known
/// quotation passes.
fn strength(name: &RoomName, passphrase: &str) -> usize {
    let text: Vec<char> = passphrase.chars().map(small).collect();
    let mut easy = vec![false; text.len()];
    for word in COMMON.into_iter().chain([name.as_str()]) {
        mark_word(&text, word, &mut easy);
    }
    mark_years(&text, &mut easy);
    mark_sequences(&text, &mut easy);
    let mut counts = BTreeMap::<char, usize>::new();
    for (c, _) in text.iter().zip(easy).filter(|(_, easy)| !easy) {
        *counts.entry(*c).or_default() += 1;
    }
    counts
        .values()
        .map(|count| *count.min(&REPETITIONS_MAX))
        .sum()
}

/// Marks all but the first character of each occurrence of a word, also if it is written with
/// digits in place of letters.
fn mark_word(text: &[char], word: &str, easy: &mut [bool]) {
    let word: Vec<char> = word.chars().map(without_leet).collect();
    for (start, window) in text.windows(word.len()).enumerate() {
        if window
            .iter()
            .map(|c| without_leet(*c))
            .eq(word.iter().copied())
        {
            easy[start + 1..start + word.len()].fill(true);
        }
    }
}

/// Marks all but the first digit of years from 1900 to 2099.
fn mark_years(text: &[char], easy: &mut [bool]) {
    for (start, window) in text.windows(4).enumerate() {
        let is_year = matches!(window, ['1', '9', ..] | ['2', '0', ..])
            && window.iter().all(char::is_ascii_digit);
        if is_year {
            easy[start + 1..start + 4].fill(true);
        }
    }
}

/// Marks what continues a sequence of equal, ascending or descending characters.
fn mark_sequences(text: &[char], easy: &mut [bool]) {
    for (start, window) in text.windows(3).enumerate() {
        let step = |from: char, to: char| i64::from(u32::from(to)) - i64::from(u32::from(from));
        let (first, second) = (step(window[0], window[1]), step(window[1], window[2]));
        if first == second && first.abs() <= 1 {
            easy[start + 2] = true;
        }
    }
}

/// The small letter. One character stays one character.
fn small(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// The letter that a digit or sign usually replaces.
fn without_leet(c: char) -> char {
    match c {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ops() -> RoomName {
        "ops".parse().expect("a room")
    }

    #[test]
    fn what_guessing_programs_try_first_is_weak() {
        for weak in [
            "summer2024!",
            "s3cret",
            "Passw0rd1234",
            "password password password",
            "aaaaaaaaaaaaaaaa",
            "abcdefghijklmnop",
            "98765432109876543210",
            "xyxyxyxyxyxyxyxy",
            "ops-ops-ops-ops-2026",
            "Welcome2Hobnob!",
        ] {
            let error = RoomKey::from_passphrase(&ops(), weak.as_bytes());
            assert_eq!(
                error,
                Err(PassphraseError::Weak),
                "{weak}: {}",
                strength(&ops(), weak)
            );
        }
    }

    #[test]
    fn random_characters_and_unrelated_words_are_strong() {
        for strong in [
            "correct horse battery staple",
            "k7#mQz!p2vRw",
            "wumihasedoniba",
            "Löwenzahn tanzt übers Eis",
            "山の上の古い寺で鐘が鳴る",
        ] {
            assert!(
                strength(&ops(), strong) >= PASSPHRASE_STRENGTH_MIN,
                "{strong}"
            );
        }
    }

    #[test]
    fn the_name_of_the_room_does_not_count() {
        let cellar = "cellar".parse().expect("a room");
        let passphrase = "cellar-mxqw-cellar";
        assert!(strength(&cellar, passphrase) < strength(&ops(), passphrase));
    }

    #[test]
    fn a_passphrase_has_a_length() {
        for wrong in [&b""[..], &[b'x'; PASSPHRASE_MAX + 1]] {
            let error = RoomKey::from_passphrase(&ops(), wrong);
            assert_eq!(error, Err(PassphraseError::Length));
        }
    }

    /// Any change would lock the members of existing rooms out. The bytes were computed with the
    /// reference implementation of Argon2.
    #[test]
    fn the_key_depends_on_name_and_passphrase_and_never_changes() {
        let key = |room: &str| {
            let room = room.parse().expect("a room");
            let key = RoomKey::from_passphrase(&room, b"correct horse battery staple");
            key.expect("strong")
        };
        let bytes = data_encoding::HEXLOWER.encode(key("ops").as_bytes());
        assert_eq!(
            bytes,
            "1af65ae0a6303c861451b01a0f3d0ee4ab8c3030fa82d04349d6d7f94307e186"
        );
        assert_ne!(key("ops"), key("dev"));
    }

    proptest! {
        #[test]
        fn no_passphrase_panics(passphrase in ".{0,40}") {
            let strength = strength(&ops(), &passphrase);
            prop_assert!(strength <= passphrase.chars().count());
        }
    }
}
