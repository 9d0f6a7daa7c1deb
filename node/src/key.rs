//! The key file: made on first run, readable by its owner only.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use data_encoding::BASE32_NOPAD;
use hobnob_protocol::SecretKey;

use super::clock::random_seed;
use super::error::StartError;

/// The name of the file in the home folder.
const FILE: &str = "key";

/// What the file starts with: says what it is, and its version.
const MARK: &str = "hobnob-secret-key-1 ";

/// Reads the node's key, or makes it.
pub(super) fn load_or_make(dir: &Path) -> Result<SecretKey, StartError> {
    let path = dir.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => parse(&text).map_err(|why| StartError::Key {
            path: path.display().to_string(),
            why: why.to_owned(),
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => make(dir, &path),
        Err(error) if error.kind() == ErrorKind::InvalidData => Err(StartError::Key {
            path: path.display().to_string(),
            why: "it is not text".to_owned(),
        }),
        Err(source) => Err(StartError::Home {
            dir: dir.display().to_string(),
            source,
        }),
    }
}

fn parse(text: &str) -> Result<SecretKey, &'static str> {
    let encoded = text
        .trim_end()
        .strip_prefix(MARK)
        .ok_or("its first words are others")?;
    let seed = BASE32_NOPAD
        .decode(encoded.to_ascii_uppercase().as_bytes())
        .map_err(|_| "it is damaged")?;
    Ok(SecretKey::from_seed(
        seed.try_into().map_err(|_| "it is cut off")?,
    ))
}

/// Writes a new key beside its place, on disk, before it takes its name: a crash leaves no half a
/// key.
fn make(dir: &Path, path: &Path) -> Result<SecretKey, StartError> {
    let seed = random_seed();
    let text = format!(
        "{MARK}{}\n",
        BASE32_NOPAD.encode(&seed).to_ascii_lowercase()
    );
    let beside = path.with_extension("new");
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        fs::File::open(dir)?.sync_all()
    };
    write().map_err(|source| StartError::Home {
        dir: dir.display().to_string(),
        source,
    })?;
    Ok(SecretKey::from_seed(seed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once_and_only_its_owner_can_read_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let made = load_or_make(dir.path()).expect("makes a key");
        let mode = fs::metadata(dir.path().join(FILE))
            .expect("is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(load_or_make(dir.path()).expect("reads it").id(), made.id());
    }

    #[test]
    fn a_damaged_key_is_an_error_and_stays_as_it_is() {
        let dir = tempfile::tempdir().expect("a folder");
        for damaged in [
            "",
            "nonsense",
            "hobnob-secret-key-1 abc",
            "hobnob-secret-key-2 aaaa",
        ] {
            fs::write(dir.path().join(FILE), damaged).expect("writes");
            assert!(
                matches!(load_or_make(dir.path()), Err(StartError::Key { .. })),
                "{damaged:?}"
            );
            assert_eq!(
                fs::read_to_string(dir.path().join(FILE)).expect("reads"),
                damaged
            );
        }
    }
}
