//! The key slot: a text file in a locked home that has the data key, encrypted with a passphrase.
//!
//! ```text
//! hobnob-locked-1
//! argon2id 65536 3
//! salt …
//! key …
//! ```

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::rand;
use data_encoding::BASE32_NOPAD;
use hobnob_transport::private_file;
use hobnob_vfs::Blobs;
use zeroize::Zeroizing;

use super::{LockError, PASSPHRASE_MAX, at};
use crate::data_key::DataKey;

/// The name of the file. A home that has it is locked.
pub(crate) const FILE: &str = "locked";

const HEADER: &str = "hobnob-locked-1";

/// Memory of one stretching in KiB: 64 MiB. Each guess costs about a tenth of a second of one core.
const MEMORY_KIB: u32 = 64 * 1024;

/// Passes over the memory.
const PASSES: u32 = 3;

/// A slot that asks for more memory or passes is damaged.
const MEMORY_KIB_MAX: u32 = 1024 * 1024;
const PASSES_MAX: u32 = 16;

/// Longest slot that is read, in bytes.
const BYTES_MAX: usize = 1024;

const SALT: usize = 16;

/// A key slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    memory_kib: u32,
    passes: u32,
    salt: [u8; SALT],
    wrapped: Vec<u8>,
}

/// Whether a home has a slot.
pub(super) fn is_there(home: &Path) -> bool {
    home.join(FILE).exists()
}

impl Slot {
    /// A slot with this key, for this passphrase.
    pub(super) fn new(key: &DataKey, passphrase: &str) -> Self {
        let mut salt = [0; SALT];
        rand::fill(&mut salt).expect("the system has random numbers");
        let mut slot = Self {
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            salt,
            wrapped: Vec::new(),
        };
        slot.wrapped = slot.blobs(passphrase).seal(&slot.costs(), key.bytes());
        slot
    }

    /// The key, if this is the passphrase.
    pub(super) fn open(&self, passphrase: &str) -> Option<DataKey> {
        if passphrase.len() > PASSPHRASE_MAX {
            return None;
        }
        let bytes = self.blobs(passphrase).open(&self.costs(), &self.wrapped)?;
        let bytes = Zeroizing::new(bytes);
        let key: [u8; 32] = bytes.as_slice().try_into().ok()?;
        Some(DataKey::from_bytes(Zeroizing::new(key)))
    }

    /// Reads the slot of a home, if it has one.
    pub(super) fn load(home: &Path) -> Result<Option<Self>, LockError> {
        let path = home.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LockError::Io { path, error }),
        };
        let slot = if text.len() <= BYTES_MAX {
            parse(&text)
        } else {
            Err("it is too long")
        };
        slot.map(Some).map_err(|why| LockError::Slot { path, why })
    }

    /// Replaces the slot of a home.
    pub(super) fn replace(&self, home: &Path) -> Result<(), LockError> {
        let path = home.join(FILE);
        private_file::replace(&path, &self.to_text()).map_err(at(&path))
    }

    /// The content of the file.
    pub(super) fn to_text(&self) -> String {
        let encode = |bytes: &[u8]| BASE32_NOPAD.encode(bytes).to_ascii_lowercase();
        let (costs, salt, key) = (self.costs(), encode(&self.salt), encode(&self.wrapped));
        format!("{HEADER}\n{costs}\nsalt {salt}\nkey {key}\n")
    }

    fn costs(&self) -> String {
        format!("argon2id {} {}", self.memory_kib, self.passes)
    }

    /// The key that the passphrase makes.
    fn blobs(&self, passphrase: &str) -> Blobs {
        let mut key = Zeroizing::new([0; 32]);
        let params = Params::new(self.memory_kib, self.passes, 1, Some(key.len()))
            .expect("parse() checks them");
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.as_bytes(), &self.salt, &mut *key)
            .expect("length and salt are within the limits of Argon2");
        Blobs::new(&key)
    }
}

fn parse(text: &[u8]) -> Result<Slot, &'static str> {
    let text = str::from_utf8(text).map_err(|_| "it is not text")?;
    let lines: Vec<&str> = text.lines().collect();
    let [header, costs, salt, key] = lines[..] else {
        return Err("it does not have four lines");
    };
    if header != HEADER {
        return Err("it does not start with `hobnob-locked-1`; a newer hobnob may have written it");
    }
    let costs: Vec<&str> = costs.split(' ').collect();
    let ["argon2id", memory, passes] = costs[..] else {
        return Err("its second line is wrong");
    };
    let number = |text: &str, max: u32| {
        let number = text.parse().ok();
        number
            .filter(|number| (1..=max).contains(number))
            .ok_or("its second line is wrong")
    };
    let decode = |line: &str, name: &str| {
        let encoded = line.strip_prefix(name)?.strip_prefix(' ')?;
        BASE32_NOPAD
            .decode(encoded.to_ascii_uppercase().as_bytes())
            .ok()
    };
    let salt = decode(salt, "salt").and_then(|salt| salt.try_into().ok());
    let slot = Slot {
        memory_kib: number(memory, MEMORY_KIB_MAX)?,
        passes: number(passes, PASSES_MAX)?,
        salt: salt.ok_or("its salt is wrong")?,
        wrapped: decode(key, "key").ok_or("its key is wrong")?,
    };
    // Argon2 needs eight blocks of a kibibyte.
    if slot.memory_kib < 8 {
        return Err("its second line is wrong");
    }
    Ok(slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_passphrase_opens_a_slot() {
        let (home, key) = (tempfile::tempdir().unwrap(), DataKey::random());
        let slot = Slot::new(&key, "tin roof");
        slot.replace(home.path()).unwrap();
        let loaded = Slot::load(home.path()).unwrap().expect("it was written");
        assert_eq!(loaded, slot);
        assert_eq!(
            loaded.open("tin roof").map(|key| *key.bytes()),
            Some(*key.bytes())
        );
        assert!(loaded.open("tin roo").is_none());
        assert!(loaded.open(&"x".repeat(PASSPHRASE_MAX + 1)).is_none());
        // Another passphrase is another slot of the same key.
        let changed = Slot::new(&key, "rust");
        assert_eq!(
            changed.open("rust").map(|key| *key.bytes()),
            Some(*key.bytes())
        );
    }

    #[test]
    fn a_damaged_slot_is_refused() {
        let key = DataKey::random();
        let text = Slot::new(&key, "x").to_text();
        assert!(parse(text.as_bytes()).is_ok());
        for (from, to) in [
            ("hobnob-locked-1", "hobnob-locked-2"),
            ("argon2id", "scrypt"),
            ("65536", "99999999"),
            ("65536", "0"),
            (" 3\n", " 1000\n"),
            ("salt ", "salt !"),
            ("key ", "key !"),
            ("key ", "\nkey "),
        ] {
            let damaged = text.replacen(from, to, 1);
            assert!(parse(damaged.as_bytes()).is_err(), "{damaged}");
        }
        assert!(parse(b"\xff").is_err() && parse(b"").is_err());
    }

    #[test]
    fn the_costs_are_part_of_what_is_authenticated() {
        let key = DataKey::random();
        let mut slot = Slot::new(&key, "x");
        slot.passes = 2;
        assert!(slot.open("x").is_none());
    }
}
