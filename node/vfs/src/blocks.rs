//! Single blocks of 16 bytes that are encrypted in their place, without a byte more.
//!
//! Equal blocks in one place become equal ciphertexts, and nothing proves that a block is genuine.
//! So this is only for values that do not repeat and that are checked in another way: hashes, and
//! the checksums of SQLite.

use std::fmt;

use aws_lc_rs::cipher::{
    AES_256, DecryptingKey, DecryptionContext, EncryptingKey, UnboundCipherKey,
};

use crate::derive;

/// Bytes of a block.
const BLOCK: usize = 16;

/// Encrypts blocks with AES-256. The place of a block is mixed in before and after (XEX).
pub struct Blocks {
    encrypt: EncryptingKey,
    decrypt: DecryptingKey,
    place: EncryptingKey,
}

impl Blocks {
    /// With keys that are derived from this one.
    pub fn new(key: &[u8; 32]) -> Self {
        let aes = |purpose| {
            let key = derive(key, purpose);
            UnboundCipherKey::new(&AES_256, &key).expect("a key of 32 bytes")
        };
        let ecb = |key| EncryptingKey::ecb(key).expect("AES has this mode");
        Self {
            encrypt: ecb(aes("blocks")),
            decrypt: DecryptingKey::ecb(aes("blocks")).expect("AES has this mode"),
            place: ecb(aes("places of blocks")),
        }
    }

    /// Encrypts whole blocks in their place. `space` keeps different kinds of values apart, and
    /// `first` is the number of the first block there.
    pub fn encrypt(&self, space: u64, first: u64, blocks: &mut [u8]) {
        for (block, number) in whole(blocks).zip(first..) {
            let place = self.place(space, number);
            mix(block, &place);
            self.encrypt.encrypt(block).expect("one block");
            mix(block, &place);
        }
    }

    /// Reverses [`Blocks::encrypt`].
    pub fn decrypt(&self, space: u64, first: u64, blocks: &mut [u8]) {
        for (block, number) in whole(blocks).zip(first..) {
            let place = self.place(space, number);
            mix(block, &place);
            self.decrypt
                .decrypt(block, DecryptionContext::None)
                .expect("one block");
            mix(block, &place);
        }
    }

    fn place(&self, space: u64, number: u64) -> [u8; BLOCK] {
        let mut place = [0; BLOCK];
        place[..8].copy_from_slice(&space.to_le_bytes());
        place[8..].copy_from_slice(&number.to_le_bytes());
        self.place.encrypt(&mut place).expect("one block");
        place
    }
}

fn whole(blocks: &mut [u8]) -> impl Iterator<Item = &mut [u8]> {
    debug_assert!(blocks.len().is_multiple_of(BLOCK));
    blocks.chunks_exact_mut(BLOCK)
}

fn mix(block: &mut [u8], with: &[u8; BLOCK]) {
    block
        .iter_mut()
        .zip(with)
        .for_each(|(byte, other)| *byte ^= other);
}

impl fmt::Debug for Blocks {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Blocks")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_comes_back_only_in_its_place() {
        let blocks = Blocks::new(&[7; 32]);
        let plain = *b"thirty-two bytes, that is two bl";
        let mut sealed = plain;
        blocks.encrypt(1, 10, &mut sealed);
        assert_ne!(sealed[..16], plain[..16]);
        let opened = |blocks: &Blocks, space, first| {
            let mut bytes = sealed;
            blocks.decrypt(space, first, &mut bytes);
            bytes
        };
        assert_eq!(opened(&blocks, 1, 10), plain);
        assert_ne!(opened(&blocks, 2, 10), plain);
        assert_ne!(opened(&blocks, 1, 11), plain);
        assert_ne!(opened(&Blocks::new(&[8; 32]), 1, 10), plain);
    }
}
