//! [`DataKey`]: the key that encrypts the files of a home.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand;
use hobnob_vfs::{Blobs, Blocks, Disk, derive};
use zeroize::Zeroizing;

/// The space of the names of contents, in [`DataKey::blocks`].
pub(crate) const NAMES: u64 = 1;

/// The space of leaves, in [`DataKey::blocks`].
pub(crate) const LEAVES: u64 = 2;

/// The random key of a locked home. Clones share it.
#[derive(Clone)]
pub(crate) struct DataKey(Arc<Keys>);

struct Keys {
    bytes: Zeroizing<[u8; 32]>,
    blobs: Blobs,
    blocks: Blocks,
}

impl DataKey {
    /// A new key.
    pub(crate) fn random() -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rand::fill(&mut *bytes).expect("the system has random numbers");
        Self::from_bytes(bytes)
    }

    pub(crate) fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Self {
        let sub_key = |purpose| Zeroizing::new(derive(&bytes, purpose));
        let blobs = Blobs::new(&sub_key("files"));
        let blocks = Blocks::new(&sub_key("content index"));
        Self(Arc::new(Keys {
            bytes,
            blobs,
            blocks,
        }))
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0.bytes
    }

    /// The disk of the database.
    pub(crate) fn disk(&self) -> Disk {
        Disk::encrypted(&Zeroizing::new(derive(&self.0.bytes, "database")))
    }

    /// For files that are encrypted as a whole.
    pub(crate) fn blobs(&self) -> &Blobs {
        &self.0.blobs
    }

    /// For hashes, which keep their length.
    pub(crate) fn blocks(&self) -> &Blocks {
        &self.0.blocks
    }
}

/// The disk of the database of a home that is locked with this key, or not locked.
pub(crate) fn disk_of(key: Option<&DataKey>) -> Disk {
    key.map_or_else(Disk::plain, DataKey::disk)
}

impl fmt::Debug for DataKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("DataKey")
    }
}
