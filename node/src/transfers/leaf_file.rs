//! [`LeafFile`]: a file with the leaf of each piece, one after another. A locked home encrypts it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use hobnob_protocol::content::{LEAF_BYTES, Leaf};

use crate::data_key::{DataKey, LEAVES};

/// A leaf of zeros: the piece has not arrived. A file that is made longer has such leaves, so they
/// are not encrypted.
const NONE: Leaf = [0; LEAF_BYTES];

/// Blocks of a leaf, see [`DataKey::blocks`].
const BLOCKS: u64 = 2;

/// An open file of leaves. It has no checksum: leaves are checked against the hash of the content,
/// or against the piece.
#[derive(Debug)]
pub(super) struct LeafFile {
    file: File,
    data_key: Option<DataKey>,
}

impl LeafFile {
    pub(super) fn new(file: File, data_key: Option<DataKey>) -> Self {
        Self { file, data_key }
    }

    /// Reads the leaves of consecutive pieces.
    pub(super) fn read(&self, first: u64, leaves: &mut [Leaf]) -> io::Result<()> {
        self.file
            .read_exact_at(leaves.as_flattened_mut(), first * LEAF_BYTES as u64)?;
        if let Some(key) = &self.data_key {
            for (leaf, piece) in leaves.iter_mut().zip(first..) {
                if *leaf != NONE {
                    key.blocks().decrypt(LEAVES, piece * BLOCKS, leaf);
                }
            }
        }
        Ok(())
    }

    /// Writes the leaves of consecutive pieces.
    pub(super) fn write(&self, first: u64, leaves: &[Leaf]) -> io::Result<()> {
        let at = first * LEAF_BYTES as u64;
        let Some(key) = &self.data_key else {
            return self.file.write_all_at(leaves.as_flattened(), at);
        };
        let mut sealed = leaves.to_vec();
        for (leaf, piece) in sealed.iter_mut().zip(first..) {
            if *leaf != NONE {
                key.blocks().encrypt(LEAVES, piece * BLOCKS, leaf);
            }
        }
        self.file.write_all_at(sealed.as_flattened(), at)
    }

    /// Waits until it is on disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_come_back_and_are_not_in_a_locked_file() {
        for key in [None, Some(DataKey::random())] {
            let file = tempfile::tempfile().unwrap();
            file.set_len(10 * LEAF_BYTES as u64).unwrap();
            let leaves = LeafFile::new(file.try_clone().unwrap(), key.clone());
            leaves
                .write(3, &[[7; LEAF_BYTES], [8; LEAF_BYTES]])
                .unwrap();
            let mut read = [[1; LEAF_BYTES]; 4];
            leaves.read(2, &mut read).unwrap();
            assert_eq!(read, [NONE, [7; LEAF_BYTES], [8; LEAF_BYTES], NONE]);
            let mut stored = [0; 10 * LEAF_BYTES];
            file.read_exact_at(&mut stored, 0).unwrap();
            let is_plain = stored.windows(8).any(|part| part == [7; 8]);
            assert_eq!(is_plain, key.is_none());
        }
    }
}
