//! HPKE (RFC 9180) in base mode: X-Wing, HKDF-SHA256, ChaCha20-Poly1305.
//!
//! X-Wing (draft-connolly-cfrg-xwing-kem) joins ML-KEM-768 and X25519: it is secure while either is.
//! All primitives are those of aws-lc. A secret key is kept in its expanded form, not as X-Wing's
//! seed; it never leaves the node.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_768};
use aws_lc_rs::{digest, hmac, rand};
use zeroize::Zeroizing;

/// Length of an X-Wing public key, in bytes.
pub const PUBLIC_KEY_LEN: usize = MLKEM_PUBLIC_LEN + X25519_LEN;

/// Length of a secret key in its expanded form, with its public key, in bytes.
pub const SECRET_KEY_LEN: usize = MLKEM_SECRET_LEN + X25519_LEN + PUBLIC_KEY_LEN;

/// Length of an encapsulated key, in bytes.
pub(super) const ENC_LEN: usize = MLKEM_CIPHERTEXT_LEN + X25519_LEN;

/// Bytes that sealing adds to a plaintext.
pub(super) const TAG_LEN: usize = 16;

const MLKEM_PUBLIC_LEN: usize = 1184;
const MLKEM_SECRET_LEN: usize = 2400;
const MLKEM_CIPHERTEXT_LEN: usize = 1088;
const X25519_LEN: usize = 32;

const XWING_LABEL: &[u8] = br"\.//^\";

/// `"HPKE"`, then the identifiers of X-Wing, HKDF-SHA256 and ChaCha20-Poly1305.
const SUITE_ID: &[u8] = b"HPKE\x64\x7a\x00\x01\x00\x03";

/// The key pair of a mailbox.
pub struct MailboxKey {
    mlkem: DecapsulationKey,
    x25519: PrivateKey,
    bytes: Zeroizing<Vec<u8>>,
}

/// The public key of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(Box<[u8; PUBLIC_KEY_LEN]>);

/// The cryptography failed: the key is malformed, or the ciphertext is not for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failed;

impl From<aws_lc_rs::error::Unspecified> for Failed {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self
    }
}

impl From<aws_lc_rs::error::KeyRejected> for Failed {
    fn from(_: aws_lc_rs::error::KeyRejected) -> Self {
        Self
    }
}

impl MailboxKey {
    /// A new key pair, from the random numbers of the system.
    pub fn generate() -> Self {
        Self::try_generate().expect("the system has random numbers, and the lengths are right")
    }

    fn try_generate() -> Result<Self, Failed> {
        let mlkem = DecapsulationKey::generate(&ML_KEM_768)?;
        let mut x25519 = Zeroizing::new([0; X25519_LEN]);
        rand::fill(&mut x25519[..])?;
        let public = PrivateKey::from_private_key(&X25519, &x25519[..])?.compute_public_key()?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_KEY_LEN));
        bytes.extend_from_slice(mlkem.key_bytes()?.as_ref());
        bytes.extend_from_slice(&x25519[..]);
        bytes.extend_from_slice(mlkem.encapsulation_key()?.key_bytes()?.as_ref());
        bytes.extend_from_slice(public.as_ref());
        Self::from_bytes(&bytes).ok_or(Failed)
    }

    /// A key pair that was stored as these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != SECRET_KEY_LEN {
            return None;
        }
        let (mlkem, rest) = bytes.split_at(MLKEM_SECRET_LEN);
        let (x25519, _) = rest.split_at(X25519_LEN);
        Some(Self {
            mlkem: DecapsulationKey::new(&ML_KEM_768, mlkem).ok()?,
            x25519: PrivateKey::from_private_key(&X25519, x25519).ok()?,
            bytes: Zeroizing::new(bytes.to_vec()),
        })
    }

    /// The bytes, to store them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The public key.
    pub fn public(&self) -> PublicKey {
        let bytes = &self.bytes[SECRET_KEY_LEN - PUBLIC_KEY_LEN..];
        PublicKey::from_bytes(bytes).expect("the end of a key of the right length")
    }

    /// Opens what was sealed with this encapsulated key, under this context.
    pub(super) fn open(&self, enc: &[u8], info: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Failed> {
        if enc.len() != ENC_LEN {
            return Err(Failed);
        }
        let (to_mlkem, to_x25519) = enc.split_at(MLKEM_CIPHERTEXT_LEN);
        let ours = self.mlkem.decapsulate(Ciphertext::from(to_mlkem))?;
        let public = self.public();
        let secret = agree(&self.x25519, to_x25519, |theirs| {
            combine(ours.as_ref(), theirs, to_x25519, public.x25519())
        })?;
        let (key, nonce) = schedule(&secret, info)?;
        let mut opened = sealed.to_vec();
        let length = key.open_in_place(nonce, Aad::empty(), &mut opened)?.len();
        opened.truncate(length);
        Ok(opened)
    }
}

impl std::fmt::Debug for MailboxKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MailboxKey(..)")
    }
}

impl PublicKey {
    /// A key that travelled as these bytes. Only its length is checked.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; PUBLIC_KEY_LEN] = bytes.try_into().ok()?;
        Some(Self(Box::new(bytes)))
    }

    /// The bytes as they travel.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0[..]
    }

    fn x25519(&self) -> &[u8] {
        &self.0[MLKEM_PUBLIC_LEN..]
    }

    /// Starts sealing for the owner of this key. `info` is the context, which the owner must know.
    pub(super) fn sealer(&self, info: impl FnOnce(&[u8]) -> Vec<u8>) -> Result<Sealer, Failed> {
        let mlkem = EncapsulationKey::new(&ML_KEM_768, &self.0[..MLKEM_PUBLIC_LEN])?;
        let (to_mlkem, ours) = mlkem.encapsulate()?;
        let mut ephemeral = Zeroizing::new([0; X25519_LEN]);
        rand::fill(&mut ephemeral[..])?;
        let ephemeral = PrivateKey::from_private_key(&X25519, &ephemeral[..])?;
        let to_x25519 = ephemeral.compute_public_key()?;
        let secret = agree(&ephemeral, self.x25519(), |theirs| {
            combine(ours.as_ref(), theirs, to_x25519.as_ref(), self.x25519())
        })?;
        let enc = [to_mlkem.as_ref(), to_x25519.as_ref()].concat();
        let (key, nonce) = schedule(&secret, &info(&enc))?;
        Ok(Sealer { enc, key, nonce })
    }
}

/// Seals one message.
pub(super) struct Sealer {
    /// The encapsulated key, which the owner of the key needs to open the message.
    pub(super) enc: Vec<u8>,
    key: LessSafeKey,
    nonce: Nonce,
}

impl Sealer {
    pub(super) fn seal(self, mut plaintext: Vec<u8>) -> Result<(Vec<u8>, Vec<u8>), Failed> {
        self.key
            .seal_in_place_append_tag(self.nonce, Aad::empty(), &mut plaintext)?;
        Ok((self.enc, plaintext))
    }
}

fn agree(
    own: &PrivateKey,
    theirs: &[u8],
    combine: impl FnOnce(&[u8]) -> Zeroizing<[u8; 32]>,
) -> Result<Zeroizing<[u8; 32]>, Failed> {
    let theirs = UnparsedPublicKey::new(&X25519, theirs);
    agreement::agree(own, theirs, Failed, |secret| Ok(combine(secret)))
}

/// X-Wing's combiner.
fn combine(of_mlkem: &[u8], of_x25519: &[u8], sent: &[u8], public: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut hash = digest::Context::new(&digest::SHA3_256);
    for part in [of_mlkem, of_x25519, sent, public, XWING_LABEL] {
        hash.update(part);
    }
    let hash = hash.finish();
    Zeroizing::new(hash.as_ref().try_into().expect("SHA3-256 has 32 bytes"))
}

/// The key schedule of base mode (RFC 9180 section 5.1), for one message.
fn schedule(secret: &[u8; 32], info: &[u8]) -> Result<(LessSafeKey, Nonce), Failed> {
    let mut context = vec![0];
    context.extend_from_slice(extract(b"", b"psk_id_hash", b"").as_ref());
    context.extend_from_slice(extract(b"", b"info_hash", info).as_ref());
    let secret = extract(secret, b"secret", b"");
    let key = expand(secret.as_ref(), b"key", &context);
    let nonce = expand(secret.as_ref(), b"base_nonce", &context);
    let key = UnboundKey::new(&CHACHA20_POLY1305, &key[..])?;
    let nonce = Nonce::try_assume_unique_for_key(&nonce[..12])?;
    Ok((LessSafeKey::new(key), nonce))
}

/// `LabeledExtract` of RFC 9180 section 4.
fn extract(salt: &[u8], label: &[u8], input: &[u8]) -> hmac::Tag {
    let input = Zeroizing::new([b"HPKE-v1", SUITE_ID, label, input].concat());
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, salt), &input)
}

/// `LabeledExpand` of RFC 9180 section 4, for one block: a key takes all of it, a nonce 12 bytes.
fn expand(secret: &[u8], label: &[u8], context: &[u8]) -> Zeroizing<[u8; 32]> {
    let length: [u8; 2] = if label == b"key" { [0, 32] } else { [0, 12] };
    let info = [&length[..], b"HPKE-v1", SUITE_ID, label, context, &[1]].concat();
    let block = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), &info);
    Zeroizing::new(block.as_ref().try_into().expect("HMAC-SHA256 has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(to: &PublicKey, info: &[u8], plaintext: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let sealer = to.sealer(|_| info.to_vec()).expect("a good key");
        sealer.seal(plaintext.to_vec()).expect("it seals")
    }

    #[test]
    fn only_the_owner_opens_it_and_only_in_its_context() {
        let (bob, carol) = (MailboxKey::generate(), MailboxKey::generate());
        let (enc, sealed) = seal(&bob.public(), b"context", b"hi");
        assert_eq!(enc.len(), ENC_LEN);
        assert_eq!(sealed.len(), 2 + TAG_LEN);
        assert_eq!(bob.open(&enc, b"context", &sealed), Ok(b"hi".to_vec()));
        assert_eq!(carol.open(&enc, b"context", &sealed), Err(Failed));
        assert_eq!(bob.open(&enc, b"another", &sealed), Err(Failed));
        assert_eq!(bob.open(&enc[1..], b"context", &sealed), Err(Failed));
        for at in [0, MLKEM_CIPHERTEXT_LEN, ENC_LEN - 1] {
            let mut damaged = enc.clone();
            damaged[at] ^= 1;
            assert_eq!(bob.open(&damaged, b"context", &sealed), Err(Failed), "{at}");
        }
    }

    #[test]
    fn a_stored_key_opens_what_was_sealed_before() {
        let bob = MailboxKey::generate();
        let (enc, sealed) = seal(&bob.public(), b"", b"hi");
        let stored = MailboxKey::from_bytes(bob.as_bytes()).expect("a key");
        assert_eq!(stored.public(), bob.public());
        assert_eq!(stored.open(&enc, b"", &sealed), Ok(b"hi".to_vec()));
        assert!(MailboxKey::from_bytes(&bob.as_bytes()[1..]).is_none());
    }

    /// RFC 9180 appendix A.2 has vectors of this KDF and AEAD with another KEM: the KEM is part of the
    /// labels. The labels alone are checked here.
    #[test]
    fn nonce_and_key_differ() {
        let nonce = expand(&[1; 32], b"base_nonce", b"c");
        assert_ne!(nonce[..12], expand(&[1; 32], b"key", b"c")[..12]);
    }
}
