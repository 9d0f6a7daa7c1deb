//! The key file of a node or a relay: created on the first run, readable only by its owner.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use data_encoding::BASE32_NOPAD;
use hobnob_protocol::SecretKey;

use crate::private_file;

/// The name of the file in the home folder.
pub const FILE: &str = "key";

/// What the file starts with: its kind and its version.
const HEADER: &str = "hobnob-secret-key-1 ";

/// Why the key could not be loaded or created.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file exists but does not contain a key.
    #[error("{} is not a key file: {damage}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with its content.
        damage: KeyDamage,
    },
    /// The file cannot be read or created.
    #[error("can't use the key file {}: {error}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
}

/// What is wrong with the content of a key file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyDamage {
    /// The content is not UTF-8.
    #[error("it is not text")]
    NotText,
    /// The header is missing.
    #[error("it does not start with `hobnob-secret-key-1`")]
    Header,
    /// The key is not base 32.
    #[error("it is damaged")]
    Encoding,
    /// The key does not have 32 bytes.
    #[error("its key does not have 32 bytes")]
    Length,
}

/// Loads the key of a home folder. On the first run, creates it from the seed that `random_seed`
/// returns.
pub fn load_or_create(
    home: &Path,
    random_seed: impl FnOnce() -> [u8; 32],
) -> Result<SecretKey, KeyFileError> {
    if let Some(key) = load(home)? {
        return Ok(key);
    }
    let (path, seed) = (home.join(FILE), random_seed());
    private_file::replace(&path, &format(&seed))
        .map_err(|error| KeyFileError::Unusable { path, error })?;
    Ok(SecretKey::from_seed(seed))
}

/// Loads the key of a home folder, if it has one.
pub fn load(home: &Path) -> Result<Option<SecretKey>, KeyFileError> {
    let path = home.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => parse(&text)
            .map(Some)
            .map_err(|damage| KeyFileError::Damaged { path, damage }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == ErrorKind::InvalidData => Err(KeyFileError::Damaged {
            path,
            damage: KeyDamage::NotText,
        }),
        Err(error) => Err(KeyFileError::Unusable { path, error }),
    }
}

/// The key in the text of a key file.
pub fn parse(text: &str) -> Result<SecretKey, KeyDamage> {
    let encoded = text
        .trim_end()
        .strip_prefix(HEADER)
        .ok_or(KeyDamage::Header)?;
    let seed = BASE32_NOPAD
        .decode(encoded.to_ascii_uppercase().as_bytes())
        .map_err(|_| KeyDamage::Encoding)?;
    let seed = seed.try_into().map_err(|_| KeyDamage::Length)?;
    Ok(SecretKey::from_seed(seed))
}

/// The text of the key file of this seed.
pub fn format(seed: &[u8; 32]) -> String {
    let encoded = BASE32_NOPAD.encode(seed).to_ascii_lowercase();
    format!("{HEADER}{encoded}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn no_seed() -> [u8; 32] {
        panic!("the key exists")
    }

    #[test]
    fn a_key_is_created_once_and_only_its_owner_can_read_it() {
        let home = tempfile::tempdir().unwrap();
        let created = load_or_create(home.path(), || [7; 32]).unwrap();
        let path = home.path().join(FILE);
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let loaded = load_or_create(home.path(), no_seed).unwrap();
        assert_eq!(loaded.id(), created.id());
    }

    #[test]
    fn a_damaged_key_is_an_error_and_the_file_stays_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(FILE);
        for (content, expected) in [
            (&b""[..], KeyDamage::Header),
            (b"nonsense", KeyDamage::Header),
            (b"hobnob-secret-key-2 aaaa", KeyDamage::Header),
            (b"hobnob-secret-key-1 !", KeyDamage::Encoding),
            (b"hobnob-secret-key-1 aaaaaaaa", KeyDamage::Length),
            (b"\xff", KeyDamage::NotText),
        ] {
            fs::write(&path, content).unwrap();
            match load_or_create(home.path(), no_seed) {
                Err(KeyFileError::Damaged { damage, .. }) => assert_eq!(damage, expected),
                other => panic!("{content:?}: {other:?}"),
            }
            assert_eq!(fs::read(&path).unwrap(), content);
        }
    }

    #[test]
    fn a_missing_home_folder_is_reported_with_its_path() {
        let home = tempfile::tempdir().unwrap().path().join("missing");
        match load_or_create(&home, || [7; 32]) {
            Err(KeyFileError::Unusable { path, .. }) => assert_eq!(path, home.join(FILE)),
            other => panic!("{other:?}"),
        }
    }
}
