//! [`Disk`]: opens databases on a disk as it is, an encrypted one, or one with faults.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags};

use crate::RESERVED_BYTES;
use crate::faults::Faults;
use crate::layers::{Layers, PARAMETER};
use crate::pages::PageCipher;
use crate::shim;

/// A place for databases. A clone is the same disk.
#[derive(Debug, Clone, Default)]
pub struct Disk(Option<Arc<Layers>>);

impl Disk {
    /// The files as they are.
    pub fn plain() -> Self {
        Self(None)
    }

    /// Encrypted with this key.
    pub fn encrypted(key: &[u8; 32]) -> Self {
        Self::with(Some(PageCipher::new(key)), None)
    }

    /// With faults, and encrypted if there is a key. For tests.
    pub fn faulty(key: Option<&[u8; 32]>, faults: Arc<Faults>) -> Self {
        Self::with(key.map(PageCipher::new), Some(faults))
    }

    fn with(cipher: Option<PageCipher>, faults: Option<Arc<Faults>>) -> Self {
        // `open` reports a failure. Without this, SQLite would not know the name of the VFS.
        let _ = shim::register();
        Self(Some(Layers::new(cipher, faults)))
    }

    /// Whether the files are encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|layers| layers.cipher.is_some())
    }

    /// Opens a database. An encrypted one never writes a temporary file.
    pub fn open(&self, file: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
        let Some(layers) = &self.0 else {
            return Connection::open_with_flags(file, flags);
        };
        shim::register()?;
        let flags = flags | OpenFlags::SQLITE_OPEN_URI;
        let conn = Connection::open_with_flags_and_vfs(self.name(file), flags, shim::NAME)?;
        if layers.cipher.is_some() {
            shim::reserve(&conn, RESERVED_BYTES)?;
        }
        // The VFS opens no temporary file.
        conn.pragma_update(None, "temp_store", "memory")?;
        Ok(conn)
    }

    /// The name of a file on this disk, for `VACUUM INTO`. The database of the connection may be on
    /// another disk.
    pub fn name(&self, file: &Path) -> String {
        let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let mut name = "file://".to_owned();
        for byte in absolute.as_os_str().as_bytes() {
            match byte {
                b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                    name.push(char::from(*byte));
                }
                other => write!(name, "%{other:02x}").expect("a String takes all"),
            }
        }
        match &self.0 {
            Some(layers) => {
                let reserved = if layers.cipher.is_some() {
                    RESERVED_BYTES
                } else {
                    0
                };
                write!(
                    name,
                    "?vfs={}&{}={}&reserve={reserved}",
                    shim::NAME.to_string_lossy(),
                    PARAMETER.to_string_lossy(),
                    layers.id
                )
                .expect("a String takes all");
            }
            None => name.push_str("?vfs=unix&reserve=0"),
        }
        name
    }
}
