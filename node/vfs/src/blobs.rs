//! Small files that are encrypted as a whole.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;

use crate::derive;

/// Encrypts and authenticates small files with AES-256-GCM-SIV. The nonce precedes the ciphertext.
pub struct Blobs(LessSafeKey);

impl Blobs {
    /// With a key that is derived from this one.
    pub fn new(key: &[u8; 32]) -> Self {
        let key = derive(key, "blobs");
        let key = UnboundKey::new(&AES_256_GCM_SIV, &key).expect("a key of 32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// Encrypts the content of a file. `name` must be the same when it is opened.
    pub fn seal(&self, name: &str, content: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).expect("the system has random numbers");
        let mut sealed = content.to_vec();
        let aad = Aad::from(name.as_bytes());
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .expect("a file is shorter than 64 GiB");
        [&nonce[..], &sealed].concat()
    }

    /// Decrypts the content of a file. `None` if the key or the name is another one, or if the file
    /// was changed.
    pub fn open(&self, name: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut content = sealed.to_vec();
        let aad = Aad::from(name.as_bytes());
        let len = self.0.open_in_place(nonce, aad, &mut content).ok()?.len();
        content.truncate(len);
        Some(content)
    }
}

impl fmt::Debug for Blobs {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Blobs")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_and_the_name_open_a_file() {
        let blobs = Blobs::new(&[1; 32]);
        let sealed = blobs.seal("key", b"content");
        assert_eq!(blobs.open("key", &sealed).as_deref(), Some(&b"content"[..]));
        assert_eq!(blobs.open("other", &sealed), None);
        assert_eq!(Blobs::new(&[2; 32]).open("key", &sealed), None);
        for cut in 0..sealed.len() {
            assert_eq!(blobs.open("key", &sealed[..cut]), None);
        }
    }
}
