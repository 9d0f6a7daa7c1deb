//! The file that is shared: its name, size and hashes, and its bytes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::HEXLOWER;

/// Bytes that are read at once.
pub(super) const CHUNK_BYTES: usize = 256 * 1024;

/// Why a file can't be shared.
#[derive(Debug, thiserror::Error)]
pub enum SharedFileError {
    /// It can't be read.
    #[error("can't read {path:?} ({error})")]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// It is a folder, a device or the like.
    #[error("{0:?} is no file: put a folder into an archive first")]
    NoFile(PathBuf),
}

/// A file that is open for as long as it is shared, also if it is renamed.
#[derive(Debug)]
pub struct Shared {
    /// Its name, which may contain any character.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its BLAKE3 hash, in hex.
    pub blake3: String,
    /// Its SHA-256 hash, in hex.
    pub sha256: String,
    file: File,
    changed_at: Option<SystemTime>,
}

impl Shared {
    /// Opens the file and reads all of it. This blocks.
    pub(super) fn open(path: &Path) -> Result<Shared, SharedFileError> {
        let cant = |error| SharedFileError::Read {
            path: path.to_owned(),
            error,
        };
        // Before it is opened: a named pipe would wait for a writer.
        if !path.metadata().map_err(cant)?.is_file() {
            return Err(SharedFileError::NoFile(path.to_owned()));
        }
        let file = File::open(path).map_err(cant)?;
        let about = file.metadata().map_err(cant)?;
        let (mut blake3, mut sha256) = (blake3::Hasher::new(), Context::new(&SHA256));
        let (mut size, mut buffer) = (0, vec![0; CHUNK_BYTES]);
        loop {
            let bytes = file.read_at(&mut buffer, size).map_err(cant)?;
            if bytes == 0 {
                break;
            }
            blake3.update(&buffer[..bytes]);
            sha256.update(&buffer[..bytes]);
            size += u64::try_from(bytes).expect("a buffer is small");
        }
        let name = path.file_name().unwrap_or(path.as_os_str());
        let shared = Shared {
            name: name.to_string_lossy().into_owned(),
            size,
            blake3: blake3.finalize().to_hex().to_string(),
            sha256: HEXLOWER.encode(sha256.finish().as_ref()),
            file,
            changed_at: about.modified().ok(),
        };
        if shared.is_unchanged() {
            Ok(shared)
        } else {
            Err(cant(io::Error::other("it changes while it is read")))
        }
    }

    /// Whether the file is still the one that was hashed, as far as its size and time tell.
    pub(super) fn is_unchanged(&self) -> bool {
        self.file
            .metadata()
            .is_ok_and(|about| about.len() == self.size && about.modified().ok() == self.changed_at)
    }

    /// Reads up to a chunk from an offset, and not beyond `end`. An error if the file has changed since
    /// it was hashed. This blocks.
    pub(super) fn read(&self, offset: u64, end: u64) -> io::Result<Vec<u8>> {
        let left = usize::try_from(end - offset).unwrap_or(CHUNK_BYTES);
        let mut buffer = vec![0; left.min(CHUNK_BYTES)];
        self.file.read_exact_at(&mut buffer, offset)?;
        match self.is_unchanged() {
            true => Ok(buffer),
            false => Err(io::Error::other("the file has changed")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_described_as_other_programs_describe_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc.txt");
        std::fs::write(&path, "abc").unwrap();
        let shared = Shared::open(&path).unwrap();
        assert_eq!((shared.name.as_str(), shared.size), ("abc.txt", 3));
        // FIPS 180-2, appendix B.1.
        assert_eq!(
            shared.sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(shared.blake3, blake3::hash(b"abc").to_hex().as_str());
        assert_eq!(shared.read(1, 3).unwrap(), b"bc");
        assert!(shared.is_unchanged());
        std::fs::write(&path, "abcd").unwrap();
        assert!(!shared.is_unchanged());
        let folder = Shared::open(folder.path());
        assert!(matches!(folder, Err(SharedFileError::NoFile(_))));
    }
}
