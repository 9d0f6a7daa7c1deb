//! The key slot: a text file in a locked home that has the data key, encrypted with a passphrase,
//! with a key of a keyring, or once with each.
//!
//! ```text
//! hobnob-locked-1
//! argon2id 65536 3
//! salt …
//! key …
//! keyring ID KEY
//! ```
//!
//! The last line, or the three before it, may be absent.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::rand;
use hobnob_transport::private_file;
use hobnob_vfs::Blobs;
use zeroize::Zeroizing;

use super::keyring_key::{KeyringKey, decode, encode, is_id};
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

/// A key slot. At least one of its parts is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Slot {
    by_passphrase: Option<ByPassphrase>,
    by_keyring: Option<ByKeyring>,
}

/// The data key, encrypted with a passphrase.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ByPassphrase {
    memory_kib: u32,
    passes: u32,
    salt: [u8; SALT],
    wrapped: Vec<u8>,
}

/// The data key, encrypted with a key of a keyring.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ByKeyring {
    id: String,
    wrapped: Vec<u8>,
}

/// Whether a home has a slot.
pub(super) fn is_there(home: &Path) -> bool {
    home.join(FILE).exists()
}

impl Slot {
    /// Adds or replaces the passphrase.
    pub(super) fn with_passphrase(mut self, key: &DataKey, passphrase: &str) -> Self {
        self.by_passphrase = Some(ByPassphrase::new(key, passphrase));
        self
    }

    /// Adds or replaces the key of a keyring.
    pub(super) fn with_keyring(mut self, key: &DataKey, keyring_key: &KeyringKey) -> Self {
        let id = keyring_key.id().to_owned();
        let wrapped = keyring_key.blobs().seal(&name_of(&id), key.bytes());
        self.by_keyring = Some(ByKeyring { id, wrapped });
        self
    }

    /// Removes the key of a keyring. `None` if nothing would open the home any more.
    pub(super) fn without_keyring(mut self) -> Option<Self> {
        self.by_keyring = None;
        self.has_passphrase().then_some(self)
    }

    /// Whether a passphrase opens it.
    pub(super) fn has_passphrase(&self) -> bool {
        self.by_passphrase.is_some()
    }

    /// The id of the key in a keyring that opens it.
    pub(super) fn keyring_id(&self) -> Option<&str> {
        self.by_keyring.as_ref().map(|wrap| wrap.id.as_str())
    }

    /// The key, if this is the passphrase.
    pub(super) fn open(&self, passphrase: &str) -> Option<DataKey> {
        self.by_passphrase.as_ref()?.open(passphrase)
    }

    /// The key, if this is the key of the keyring.
    pub(super) fn open_with(&self, key: &KeyringKey) -> Option<DataKey> {
        let wrap = self.by_keyring.as_ref()?;
        data_key(key.blobs().open(&name_of(&wrap.id), &wrap.wrapped))
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
        let mut text = format!("{HEADER}\n");
        if let Some(wrap) = &self.by_passphrase {
            let (costs, salt) = (wrap.costs(), encode(&wrap.salt));
            let key = encode(&wrap.wrapped);
            text += &format!("{costs}\nsalt {salt}\nkey {key}\n");
        }
        if let Some(ByKeyring { id, wrapped }) = &self.by_keyring {
            text += &format!("keyring {id} {}\n", encode(wrapped));
        }
        text
    }
}

impl ByPassphrase {
    fn new(key: &DataKey, passphrase: &str) -> Self {
        let mut salt = [0; SALT];
        rand::fill(&mut salt).expect("the system has random numbers");
        let mut wrap = Self {
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            salt,
            wrapped: Vec::new(),
        };
        wrap.wrapped = wrap.blobs(passphrase).seal(&wrap.costs(), key.bytes());
        wrap
    }

    fn open(&self, passphrase: &str) -> Option<DataKey> {
        if passphrase.len() > PASSPHRASE_MAX {
            return None;
        }
        data_key(self.blobs(passphrase).open(&self.costs(), &self.wrapped))
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

/// What is authenticated with the data key.
fn name_of(id: &str) -> String {
    format!("keyring {id}")
}

/// The data key that was decrypted.
fn data_key(bytes: Option<Vec<u8>>) -> Option<DataKey> {
    let bytes = Zeroizing::new(bytes?);
    let key: [u8; 32] = bytes.as_slice().try_into().ok()?;
    Some(DataKey::from_bytes(Zeroizing::new(key)))
}

fn parse(text: &[u8]) -> Result<Slot, &'static str> {
    let text = str::from_utf8(text).map_err(|_| "it is not text")?;
    let lines: Vec<&str> = text.lines().collect();
    let (header, lines) = lines.split_first().ok_or("it is empty")?;
    if *header != HEADER {
        return Err("it does not start with `hobnob-locked-1`; a newer hobnob may have written it");
    }
    let (by_passphrase, by_keyring) = match lines {
        [costs, salt, key] => (Some([costs, salt, key]), None),
        [costs, salt, key, keyring] => (Some([costs, salt, key]), Some(keyring)),
        [keyring] => (None, Some(keyring)),
        _ => return Err("it has the wrong number of lines"),
    };
    Ok(Slot {
        by_passphrase: by_passphrase.map(parse_passphrase).transpose()?,
        by_keyring: by_keyring
            .map(|line| parse_keyring(line).ok_or("its line about a keyring is wrong"))
            .transpose()?,
    })
}

fn parse_passphrase(lines: [&&str; 3]) -> Result<ByPassphrase, &'static str> {
    let [costs, salt, key] = lines.map(|line| *line);
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
    let value = |line: &str, name: &str| decode(line.strip_prefix(name)?.strip_prefix(' ')?);
    let salt = value(salt, "salt").and_then(|salt| salt.try_into().ok());
    let wrap = ByPassphrase {
        memory_kib: number(memory, MEMORY_KIB_MAX)?,
        passes: number(passes, PASSES_MAX)?,
        salt: salt.ok_or("its salt is wrong")?,
        wrapped: value(key, "key").ok_or("its key is wrong")?,
    };
    // Argon2 needs eight blocks of a kibibyte.
    if wrap.memory_kib < 8 {
        return Err("its second line is wrong");
    }
    Ok(wrap)
}

fn parse_keyring(line: &str) -> Option<ByKeyring> {
    let (id, key) = line.strip_prefix("keyring ")?.split_once(' ')?;
    Some(ByKeyring {
        id: is_id(id).then(|| id.to_owned())?,
        wrapped: decode(key)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_passphrase(key: &DataKey, passphrase: &str) -> Slot {
        Slot::default().with_passphrase(key, passphrase)
    }

    #[test]
    fn only_the_passphrase_opens_a_slot() {
        let (home, key) = (tempfile::tempdir().unwrap(), DataKey::random());
        let slot = by_passphrase(&key, "tin roof");
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
        let changed = by_passphrase(&key, "rust");
        assert_eq!(
            changed.open("rust").map(|key| *key.bytes()),
            Some(*key.bytes())
        );
    }

    #[test]
    fn a_damaged_slot_is_refused() {
        let key = DataKey::random();
        let text = by_passphrase(&key, "x").to_text();
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
        let mut slot = by_passphrase(&key, "x");
        slot.by_passphrase.as_mut().expect("it has one").passes = 2;
        assert!(slot.open("x").is_none());
    }

    #[test]
    fn a_passphrase_and_the_key_of_a_keyring_open_the_same_slot() {
        let (home, key) = (tempfile::tempdir().unwrap(), DataKey::random());
        let (of_keyring, other) = (KeyringKey::random(), KeyringKey::random());
        let slot = Slot::default().with_keyring(&key, &of_keyring);
        slot.replace(home.path()).unwrap();
        let loaded = Slot::load(home.path()).unwrap().expect("it was written");
        assert_eq!(loaded, slot);
        assert_eq!(loaded.keyring_id(), Some(of_keyring.id()));
        assert!(!loaded.has_passphrase() && loaded.open("").is_none());
        assert!(loaded.open_with(&other).is_none());
        let opened = loaded.open_with(&of_keyring).expect("it is the key");
        assert_eq!(opened.bytes(), key.bytes());
        assert_eq!(
            loaded.clone().without_keyring(),
            None,
            "nothing would open it"
        );

        let both = loaded.with_passphrase(&opened, "tin roof");
        both.replace(home.path()).unwrap();
        let loaded = Slot::load(home.path()).unwrap().expect("it was written");
        assert!(loaded.open("tin roof").is_some() && loaded.open_with(&of_keyring).is_some());
        let words_only = loaded.without_keyring().expect("the passphrase opens it");
        assert!(words_only.open("tin roof").is_some());
        assert_eq!(words_only.keyring_id(), None);
    }

    #[test]
    fn a_damaged_line_about_a_keyring_is_refused() {
        let (key, of_keyring) = (DataKey::random(), KeyringKey::random());
        let slot = Slot::default().with_keyring(&key, &of_keyring);
        let text = slot.to_text();
        assert!(parse(text.as_bytes()).is_ok());
        let (id, upper) = (of_keyring.id(), of_keyring.id().to_ascii_uppercase());
        for (from, to) in [
            ("keyring ", "keychain "),
            (id, "short"),
            (id, upper.as_str()),
            (id, "../../../../etc/x"),
            ("\nkeyring", "\n\nkeyring"),
        ] {
            let damaged = text.replacen(from, to, 1);
            assert!(parse(damaged.as_bytes()).is_err(), "{damaged}");
        }
        // The id is authenticated with the key.
        let other = KeyringKey::random();
        let exchanged = parse(text.replace(id, other.id()).as_bytes()).expect("it is well-formed");
        assert!(exchanged.open_with(&of_keyring).is_none());
    }
}
