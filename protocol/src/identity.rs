//! Identity: Ed25519 keys (RFC 8032) of people and devices, the text form of their ids, and
//! signatures.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use data_encoding::{Encoding, Specification};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// Length of the text form of an id: 256 bits in base32 without padding.
pub const PEER_ID_TEXT_LEN: usize = 52;

/// Length of the short form of an id, and of the shortest accepted prefix.
pub const PEER_ID_SHORT_LEN: usize = 8;

/// Defines a type of id: an Ed25519 public key with a text form.
macro_rules! key_id {
    ($(#[$docs:meta])* $name:ident) => {
        $(#[$docs])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The id with this public key. Any 32 bytes are accepted; only the owner of a key can
            /// prove it.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The public key, 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The first eight characters of the text form, for people to read. They are not
            /// unique, so do not compare them.
            pub fn short(&self) -> String {
                let mut text = self.to_string();
                text.truncate(PEER_ID_SHORT_LEN);
                text
            }

            /// Whether `signature` over `message` was made with this key.
            pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
                UnparsedPublicKey::new(&ED25519, &self.0)
                    .verify(message, &signature.0)
                    .is_ok()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&base32().encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.short())
            }
        }

        /// The text form in formats for people, such as JSON. The 32 bytes in all others.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = String::deserialize(deserializer)?;
                    text.parse().map_err(D::Error::custom)
                } else {
                    <[u8; 32]>::deserialize(deserializer).map(Self)
                }
            }
        }

        impl FromStr for $name {
            type Err = NotAPeerId;

            fn from_str(text: &str) -> Result<Self, NotAPeerId> {
                key_of(text).map(Self)
            }
        }
    };
}

key_id! {
    /// A person: the author of logs, a member of rooms, a contact, and what a user types or reads as
    /// a peer.
    ///
    /// The text form is 52 characters of lower-case base32 (RFC 4648 section 6) without padding.
    ///
    /// ```
    /// use hobnob_protocol::{PersonId, SecretKey};
    ///
    /// let key = SecretKey::from_seed([7; 32]);
    /// let id = key.id().person();
    /// assert_eq!(id.to_string().parse::<PersonId>()?, id);
    /// assert_eq!(PersonId::from_bytes(*id.as_bytes()), id);
    /// assert!(id.to_string().starts_with(&id.short()));
    /// assert!(id.verifies(b"it was me", &key.sign(b"it was me")));
    /// # Ok::<(), hobnob_protocol::identity::NotAPeerId>(())
    /// ```
    PersonId
}

key_id! {
    /// A device: a machine with a key, that connects, registers with relays, receives and confirms.
    /// A relay is a device, too.
    ///
    /// The text form is that of a [`PersonId`].
    DeviceId
}

// The only conversions between people and devices. Each person has one device, whose key is the
// person's own. A version with several devices for a person looks at certificates here.

impl DeviceId {
    /// The person whose device this is.
    pub const fn person(self) -> PersonId {
        PersonId(self.0)
    }
}

impl PersonId {
    /// The only device of this person.
    pub const fn only_device(self) -> DeviceId {
        DeviceId(self.0)
    }
}

/// The text is not a peer id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a peer id is 52 characters of a-z and 2-7")]
pub struct NotAPeerId;

/// Reads the text form of an id.
fn key_of(text: &str) -> Result<[u8; 32], NotAPeerId> {
    if text.len() != PEER_ID_TEXT_LEN {
        return Err(NotAPeerId);
    }
    let bytes = base32().decode(text.as_bytes()).map_err(|_| NotAPeerId)?;
    bytes.try_into().map_err(|_| NotAPeerId)
}

/// An Ed25519 signature, 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

impl Signature {
    /// A signature from its 64 bytes. [`DeviceId::verifies`] checks it.
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The 64 bytes.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(..)")
    }
}

/// A node's secret key: the 32-byte seed of its Ed25519 key pair. `Debug` shows only the public key. The
/// seed is overwritten in memory when the key is dropped.
pub struct SecretKey {
    seed: Zeroizing<[u8; 32]>,
    pair: Ed25519KeyPair,
    id: DeviceId,
}

impl SecretKey {
    /// The key pair of this seed. The caller provides the 32 random bytes.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let pair =
            Ed25519KeyPair::from_seed_unchecked(&seed).expect("every 32 bytes are an Ed25519 seed");
        let mut id = [0; 32];
        id.copy_from_slice(pair.public_key().as_ref());
        Self {
            seed: Zeroizing::new(seed),
            pair,
            id: DeviceId(id),
        }
    }

    /// The seed. Write it only to a file that nobody but its owner can read.
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// The public half, which names this device.
    pub fn id(&self) -> DeviceId {
        self.id
    }

    /// Signs `message`.
    pub fn sign(&self, message: &[u8]) -> Signature {
        let signature = self.pair.sign(message);
        let mut bytes = [0; 64];
        bytes.copy_from_slice(signature.as_ref());
        Signature(bytes)
    }

    /// The key as a PKCS#8 version 1 document (RFC 8410 section 7), the format of TLS libraries.
    pub fn to_pkcs8(&self) -> Zeroizing<[u8; 48]> {
        const PREFIX: [u8; 16] = [
            0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22,
            0x04, 0x20,
        ];
        let mut document = Zeroizing::new([0; 48]);
        document[..16].copy_from_slice(&PREFIX);
        document[16..].copy_from_slice(self.seed());
        document
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({:?})", self.id)
    }
}

/// Base32 in small letters, without padding.
pub(crate) fn base32() -> Encoding {
    let mut spec = Specification::new();
    spec.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    spec.encoding()
        .expect("32 distinct symbols make an encoding")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_text_form_is_52_lower_case_characters_and_reads_back() {
        let id = SecretKey::from_seed([7; 32]).id();
        let text = id.to_string();
        assert_eq!(text.len(), PEER_ID_TEXT_LEN);
        assert_eq!(text.parse(), Ok(id));
        assert!(text.starts_with(&id.short()));
    }

    #[test]
    fn text_that_is_not_an_id_is_rejected() {
        let text = SecretKey::from_seed([7; 32]).id().to_string();
        for wrong in [
            "",
            &text[1..],
            &format!("{text}a"),
            &text.to_uppercase(),
            &text.replace(|c: char| c != ' ', "1"),
        ] {
            assert_eq!(wrong.parse::<PersonId>(), Err(NotAPeerId), "{wrong:?}");
        }
    }

    #[test]
    fn rfc_8032_test_vector_2() {
        let hex = |text: &str| {
            data_encoding::HEXLOWER
                .decode(text.as_bytes())
                .expect("hex")
        };
        let seed = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let key = SecretKey::from_seed(seed.try_into().expect("32 bytes"));
        assert_eq!(
            key.id().as_bytes().as_slice(),
            hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
        );
        let signature = key.sign(&[0x72]);
        assert_eq!(
            signature.as_bytes().as_slice(),
            hex(concat!(
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
                "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
            ))
        );
        assert!(key.id().verifies(&[0x72], &signature));
        assert!(!key.id().verifies(&[0x73], &signature));
    }

    proptest! {
        #[test]
        fn any_id_round_trips(bytes: [u8; 32]) {
            let id = PersonId::from_bytes(bytes);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }

        #[test]
        fn no_text_panics(text in ".{0,60}") {
            let _ = text.parse::<PersonId>();
        }
    }
}
