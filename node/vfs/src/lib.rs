//! The disk below a SQLite database: as it is, encrypted page by page, or with faults that a test
//! injects.
//!
//! A [`Disk`] opens databases. Without a key and without faults, SQLite uses the files directly.
//! Otherwise it uses a VFS (a layer between SQLite and the system) of this crate, which passes all
//! calls on and changes what is written. All `unsafe` code of the node's storage is here, in
//! `shim`. [`Blobs`] and [`Blocks`] encrypt the other files of a home. Not here: where the key
//! comes from.

mod blobs;
mod blocks;
mod disk;
mod faults;
mod layers;
mod layout;
mod pages;
mod shim;

pub use blobs::Blobs;
pub use blocks::Blocks;
pub use disk::Disk;
pub use faults::{Fault, Faults};

use aws_lc_rs::hmac;

/// Bytes of a page. SQLite's default, and the only size that an encrypted database may have.
pub const PAGE_BYTES: usize = 4096;

/// Bytes at the end of each page that SQLite leaves to this crate, for the nonce and the tag.
pub const RESERVED_BYTES: usize = 32;

/// Derives a key for one purpose from a key.
pub fn derive(key: &[u8; 32], purpose: &str) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let tag = hmac::sign(&key, purpose.as_bytes());
    tag.as_ref().try_into().expect("SHA-256 has 32 bytes")
}
