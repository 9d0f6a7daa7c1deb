//! The content of a backup, before it is encrypted: a sequence of named files.
//!
//! It begins with [`MAGIC`] and the file [`MANIFEST`]. Before each file is the byte 1, the length of
//! its name (2 bytes), the name, and its size (8 bytes), in little-endian order. After the last one
//! is the byte 0. Only the names of a home are accepted.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hobnob::KeyringKey;
use hobnob_control::wire::Time;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

const MAGIC: &[u8] = b"hobnob-backup-1\n";
const MANIFEST: &str = "manifest.json";

/// The settings file in a backup. In the home it may be elsewhere.
pub(super) const SETTINGS: &str = "config.toml";

/// Files of the program that lie in the home, beside those of a snapshot. The input history,
/// `typed.json`, is not among them: it is of no use on another machine, and names what was typed there.
pub(super) const BESIDE: [&str; 1] = ["seen.json"];

/// The files of a snapshot.
const OF_SNAPSHOT: [&str; 2] = ["key", "messages.db"];

/// A file that only the snapshot of a locked home has.
const OF_LOCKED: &str = "locked";

/// The key of a keyring without which nothing would open a locked home. It never lies in a file
/// outside of the backup.
const KEYRING_KEY: &str = "keyring-key";

/// Maximum size of that key in bytes.
const KEYRING_KEY_MAX: u64 = 256;

/// The folder of a snapshot whose files are packed, too.
const CONTENT: &str = "content";

/// Maximum number of files in a backup.
const FILES_MAX: usize = 1_000_000;

/// Maximum length of a file's name.
const NAME_MAX: usize = 255;

/// Maximum size of the manifest in bytes.
const MANIFEST_MAX: u64 = 64 * 1024;

/// What a backup is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) peer: String,
    pub(super) made_at: Time,
    /// The version of hobnob.
    pub(super) version: String,
}

/// What [`unpack`] does not write to the folder.
#[derive(Debug)]
pub(super) struct Unpacked {
    pub(super) manifest: Manifest,
    /// The key of a keyring that opens the home.
    pub(super) keyring_key: Option<KeyringKey>,
}

/// Writes the files of a snapshot, of the home, and the settings, as far as they exist.
pub(super) fn pack(
    out: &mut dyn Write,
    manifest: &Manifest,
    keyring_key: Option<&KeyringKey>,
    snapshot: &Path,
    home: &Path,
    settings: &Path,
) -> io::Result<()> {
    out.write_all(MAGIC)?;
    let manifest = serde_json::to_vec(manifest)?;
    put(
        out,
        MANIFEST,
        manifest.len() as u64,
        &mut manifest.as_slice(),
    )?;
    for name in OF_SNAPSHOT {
        put_file(out, name, &snapshot.join(name))?;
    }
    let locked = snapshot.join(OF_LOCKED);
    if locked.exists() {
        put_file(out, OF_LOCKED, &locked)?;
    }
    if let Some(key) = keyring_key {
        let text = key.to_text();
        put(out, KEYRING_KEY, text.len() as u64, &mut text.as_bytes())?;
    }
    for file in fs::read_dir(snapshot.join(CONTENT))? {
        let file = file?;
        if let Some(name) = file.file_name().to_str() {
            put_file(out, &format!("{CONTENT}/{name}"), &file.path())?;
        }
    }
    let beside = BESIDE.map(|name| (name, home.join(name)));
    for (name, path) in beside.into_iter().chain([(SETTINGS, settings.to_owned())]) {
        if path.exists() {
            put_file(out, name, &path)?;
        }
    }
    out.write_all(&[0])
}

fn put_file(out: &mut dyn Write, name: &str, path: &Path) -> io::Result<()> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    put(out, name, size, &mut file)
}

fn put(out: &mut dyn Write, name: &str, size: u64, content: &mut dyn Read) -> io::Result<()> {
    let length = u16::try_from(name.len()).expect("names of files are short");
    out.write_all(&[1])?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(name.as_bytes())?;
    out.write_all(&size.to_le_bytes())?;
    let copied = io::copy(&mut content.take(size), out)?;
    if copied == size {
        return Ok(());
    }
    Err(io::Error::other(format!("{name} has become shorter")))
}

/// Writes the files of a backup into a folder, and returns its manifest and secrets.
pub(super) fn unpack(input: &mut dyn Read, folder: &Path) -> io::Result<Unpacked> {
    let mut magic = [0; MAGIC.len()];
    input.read_exact(&mut magic)?;
    if magic != MAGIC {
        return Err(damaged("it is not a backup of hobnob"));
    }
    let (mut manifest, mut keyring_key) = (None, None);
    let mut files = 0;
    while let Some((name, size)) = next_name(input)? {
        files += 1;
        if files > FILES_MAX {
            return Err(damaged("it has too many files"));
        }
        let mut content = input.take(size);
        if name == MANIFEST && size <= MANIFEST_MAX && manifest.is_none() {
            let mut text = Vec::new();
            content.read_to_end(&mut text)?;
            manifest = Some(serde_json::from_slice(&text)?);
            continue;
        }
        if name == KEYRING_KEY && size <= KEYRING_KEY_MAX && keyring_key.is_none() {
            let mut text = Zeroizing::new(String::new());
            content.read_to_string(&mut text)?;
            let key = KeyringKey::from_text(&text);
            keyring_key = Some(key.ok_or_else(|| damaged("its key of a keyring is damaged"))?);
            continue;
        }
        let path = place_of(&name, folder).ok_or_else(|| {
            damaged("it has a file that no home has; a newer hobnob may have written it")
        })?;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        if io::copy(&mut content, &mut file)? != size {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    if input.read(&mut [0])? != 0 {
        return Err(damaged("something follows its end"));
    }
    Ok(Unpacked {
        manifest: manifest.ok_or_else(|| damaged("it has no manifest"))?,
        keyring_key,
    })
}

/// The name and the size of the next file. None at the end.
fn next_name(input: &mut dyn Read) -> io::Result<Option<(String, u64)>> {
    let mut byte = [0];
    input.read_exact(&mut byte)?;
    match byte {
        [0] => return Ok(None),
        [1] => {}
        [_] => return Err(damaged("it is damaged")),
    }
    let mut length = [0; 2];
    input.read_exact(&mut length)?;
    let length = usize::from(u16::from_le_bytes(length));
    if length > NAME_MAX {
        return Err(damaged("a name in it is too long"));
    }
    let mut name = vec![0; length];
    input.read_exact(&mut name)?;
    let name = String::from_utf8(name).map_err(|_| damaged("a name in it is no text"))?;
    let mut size = [0; 8];
    input.read_exact(&mut size)?;
    Ok(Some((name, u64::from_le_bytes(size))))
}

/// The place of a file of a backup in a home. None if no home has such a file.
fn place_of(name: &str, folder: &Path) -> Option<PathBuf> {
    let of_snapshot = OF_SNAPSHOT.contains(&name) || name == OF_LOCKED;
    let known = of_snapshot || BESIDE.contains(&name) || name == SETTINGS;
    let plain = |name: &str| {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        !name.is_empty() && !name.starts_with('.') && name.bytes().all(letters)
    };
    let of_content = || {
        let (parent, name) = name.split_once('/')?;
        (parent == CONTENT && plain(name)).then_some(())
    };
    (known || of_content().is_some()).then(|| folder.join(name))
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            peer: "ann".into(),
            made_at: Time(1_000),
            version: "1".into(),
        }
    }

    /// A packed home: key, database, one content, settings.
    fn packed() -> Vec<u8> {
        packed_with(None)
    }

    fn packed_with(keyring_key: Option<&KeyringKey>) -> Vec<u8> {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(CONTENT)).unwrap();
        for (name, content) in [
            ("key", "secret"),
            ("messages.db", "texts"),
            ("content/ab12.tree", "leaves"),
            ("seen.json", "{}"),
            ("settings", "nick"),
        ] {
            fs::write(home.path().join(name), content).unwrap();
        }
        let (mut out, settings) = (Vec::new(), home.path().join("settings"));
        let home = home.path();
        pack(&mut out, &manifest(), keyring_key, home, home, &settings).unwrap();
        out
    }

    #[test]
    fn what_was_packed_is_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let read = unpack(&mut packed().as_slice(), folder.path()).unwrap();
        assert_eq!(read.manifest, manifest());
        assert_eq!(read.keyring_key, None);
        let content = |name| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(content("key"), "secret");
        assert_eq!(content("content/ab12.tree"), "leaves");
        assert_eq!(content("config.toml"), "nick");
        assert_eq!(content("seen.json"), "{}");
    }

    #[test]
    fn the_key_of_a_keyring_is_unpacked_into_no_file() {
        let (folder, key) = (tempfile::tempdir().unwrap(), KeyringKey::random());
        let packed = packed_with(Some(&key));
        let read = unpack(&mut packed.as_slice(), folder.path()).unwrap();
        assert_eq!(read.keyring_key.as_ref(), Some(&key));
        assert!(!folder.path().join(KEYRING_KEY).exists());
        let text = key.to_text();
        let at = packed
            .windows(text.len())
            .position(|part| part == text.as_bytes());
        let mut damaged = packed;
        damaged[at.expect("it is there")] = b'X';
        let folder = tempfile::tempdir().unwrap();
        assert!(unpack(&mut damaged.as_slice(), folder.path()).is_err());
    }

    #[test]
    fn a_cut_or_longer_one_is_refused() {
        let whole = packed();
        for length in 0..whole.len() {
            let folder = tempfile::tempdir().unwrap();
            assert!(
                unpack(&mut &whole[..length], folder.path()).is_err(),
                "{length}"
            );
        }
        let folder = tempfile::tempdir().unwrap();
        let longer = [&whole[..], &[0]].concat();
        assert!(unpack(&mut longer.as_slice(), folder.path()).is_err());
    }

    #[test]
    fn only_names_of_a_home_are_accepted() {
        let folder = Path::new("/x");
        for name in [
            "key",
            "messages.db",
            "locked",
            "content/ab12.tree",
            "config.toml",
            "seen.json",
        ] {
            assert_eq!(place_of(name, folder), Some(folder.join(name)));
        }
        for name in [
            "",
            "/etc/passwd",
            "../key",
            "content/../key",
            "content/.hidden",
            "content/",
            "other",
            "content/a/b",
            "lock",
            "messages.db-wal",
            "manifest.json",
            "keyring-key",
        ] {
            assert_eq!(place_of(name, folder), None, "{name}");
        }
    }
}
