//! [`KeyringKey`]: a key that opens a home, and that is stored in a keyring.

use std::fmt;

use aws_lc_rs::rand;
use data_encoding::BASE32_NOPAD;
use hobnob_vfs::Blobs;
use zeroize::Zeroizing;

/// Bytes of an id.
const ID: usize = 10;

const HEADER: &str = "hobnob-keyring-key-1";

/// A random key that opens a home, and that is stored outside of it: in the keyring of the system, or
/// wherever the program keeps its secrets. The home has only its id.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyringKey {
    id: String,
    bytes: Zeroizing<[u8; 32]>,
}

impl KeyringKey {
    /// A new key.
    pub fn random() -> Self {
        let (mut id, mut bytes) = ([0; ID], Zeroizing::new([0; 32]));
        rand::fill(&mut id).expect("the system has random numbers");
        rand::fill(&mut *bytes).expect("the system has random numbers");
        Self {
            id: encode(&id),
            bytes,
        }
    }

    /// The name of the key: 16 letters and digits. It is no secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key as text, which is secret.
    pub fn to_text(&self) -> Zeroizing<String> {
        let key = Zeroizing::new(encode(&*self.bytes));
        Zeroizing::new(format!("{HEADER} {} {}", self.id, *key))
    }

    /// Reads the text of a key. `None` if it is damaged.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (header, id, key) = (words.next()?, words.next()?, words.next()?);
        if header != HEADER || !is_id(id) || words.next().is_some() {
            return None;
        }
        let key = Zeroizing::new(decode(key)?);
        Some(Self {
            id: id.to_owned(),
            bytes: Zeroizing::new(key.as_slice().try_into().ok()?),
        })
    }

    /// Encrypts and decrypts with this key.
    pub(super) fn blobs(&self) -> Blobs {
        Blobs::new(&self.bytes)
    }
}

/// Whether this can be the id of a key.
pub(super) fn is_id(text: &str) -> bool {
    decode(text).is_some_and(|bytes| bytes.len() == ID) && text == text.to_ascii_lowercase()
}

/// Bytes as letters and digits.
pub(super) fn encode(bytes: &[u8]) -> String {
    BASE32_NOPAD.encode(bytes).to_ascii_lowercase()
}

/// The bytes that [`encode`] has written.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    BASE32_NOPAD
        .decode(text.to_ascii_uppercase().as_bytes())
        .ok()
}

impl fmt::Debug for KeyringKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "KeyringKey({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_its_text_and_shown_by_its_id_only() {
        let key = KeyringKey::random();
        let text = key.to_text();
        assert_eq!(KeyringKey::from_text(&text).as_ref(), Some(&key));
        assert_eq!(
            KeyringKey::from_text(&format!("{}\n", *text)).as_ref(),
            Some(&key)
        );
        assert_eq!(format!("{key:?}"), format!("KeyringKey({})", key.id()));
        assert_eq!(key.id().len(), 16);
        assert_ne!(KeyringKey::random(), key);
    }

    #[test]
    fn a_damaged_text_is_no_key() {
        let text = KeyringKey::random().to_text();
        let half = &text[..text.len() - 8];
        for wrong in [
            "",
            "x",
            half,
            &text.replace("-1 ", "-2 "),
            &format!("{half}!!!!!!!!"),
        ] {
            assert_eq!(KeyringKey::from_text(wrong), None, "{wrong}");
        }
        assert_eq!(KeyringKey::from_text(&format!("{} x", *text)), None);
    }
}
