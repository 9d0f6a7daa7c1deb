//! Envelopes: frames of one conversation, sealed for a peer that is away.
//!
//! The plaintext is the sender's signature, the length of the content, the content and zeros up to
//! one of four [`SIZES`]. The content is a list of frames, each with its length in four bytes. The
//! recipient handles them like frames of a session with the sender.

use bytes::{Buf, BufMut, Bytes};
use serde::{Deserialize, Serialize};

use super::hpke::{ENC_LEN, MailboxKey, PublicKey, TAG_LEN};
use super::token::KeyId;
use crate::codec::{self, CodecError, Raw};
use crate::frame::{Frame, FrameError};
use crate::identity::{DeviceId, SecretKey, Signature};

/// Sizes of the padded plaintext. A holder sees which one it is.
pub const SIZES: [usize; 4] = [1024, 4 * 1024, 16 * 1024, 56 * 1024];

/// Maximum bytes of frames, with their lengths, in one envelope.
pub const CONTENT_BYTES_MAX: usize = SIZES[3] - OVERHEAD;

/// Maximum size of an encoded envelope. It fits a frame.
pub const ENVELOPE_BYTES_MAX: usize = SIZES[3] + TAG_LEN + ENC_LEN + 64;

/// Signature and length of the content.
const OVERHEAD: usize = 64 + 4;

/// The only suite of this version: X-Wing, HKDF-SHA256, ChaCha20-Poly1305, and Ed25519 signatures.
const SUITE: u16 = 1;

/// The context of sealing and of signing.
const LABEL: &str = "hobnob 1 envelope";

/// Memory that decoding may claim beyond the bytes of an envelope.
const MEMORY_MAX: usize = 2 * ENVELOPE_BYTES_MAX;

/// A sealed envelope as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The key of the recipient that opens it.
    pub key: KeyId,
    bytes: Bytes,
}

#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    suite: u16,
    key: KeyId,
    #[serde(borrow)]
    enc: Raw<'a>,
    #[serde(borrow)]
    sealed: Raw<'a>,
    extensions: Vec<(u16, Vec<u8>)>,
}

/// An envelope that was opened, and whose signature is its sender's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The frames in it, in order. Kinds that this version does not know are left out.
    pub frames: Vec<Frame>,
}

/// Why bytes are not an envelope, or can't be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// There are more bytes than an envelope may have.
    #[error("an envelope of {0} bytes")]
    TooLong(usize),
    /// The fields do not decode.
    #[error("an envelope that is {0}")]
    Malformed(#[from] CodecError),
    /// It is sealed in a way that this version does not know.
    #[error("an envelope of suite {0}")]
    Suite(u16),
    /// It has an even tag that this version does not know, or the tags are out of order.
    #[error("an envelope with the tag {0}")]
    Tag(u16),
    /// The padded plaintext has none of the sizes.
    #[error("an envelope of a wrong size")]
    Size,
    /// The key does not open it: it is for another key or from another sender, or was altered.
    #[error("an envelope that the key does not open")]
    Key,
    /// The sender that the holder names has not signed it.
    #[error("an envelope with a wrong signature")]
    Signature,
    /// The padding or a length in it is wrong.
    #[error("an envelope with damaged content")]
    Content,
    /// A frame in it does not decode.
    #[error("an envelope with a damaged frame: {0}")]
    Frame(#[from] FrameError),
}

impl Envelope {
    /// Seals frames for a key of the recipient. Together they have at most [`CONTENT_BYTES_MAX`]
    /// bytes, see [`content_size`].
    pub fn seal(
        frames: &[Bytes],
        sender: &SecretKey,
        recipient: DeviceId,
        key: KeyId,
        to: &PublicKey,
    ) -> Result<Self, EnvelopeError> {
        let size: usize = frames.iter().map(|frame| content_size(frame.len())).sum();
        debug_assert!(size <= CONTENT_BYTES_MAX, "the caller packs what fits");
        let padded = SIZES.into_iter().find(|padded| size + OVERHEAD <= *padded);
        let padded = padded.ok_or(EnvelopeError::Size)?;
        let id = sender.id();
        let info = |_: &[u8]| info(id, recipient, key);
        let sealer = to.sealer(info).map_err(|_| EnvelopeError::Key)?;
        let mut plaintext = Vec::with_capacity(padded + TAG_LEN);
        plaintext.put_bytes(0, 64);
        plaintext.put_u32(u32::try_from(size).expect("at most 56 KiB"));
        for frame in frames {
            plaintext.put_u32(u32::try_from(frame.len()).expect("at most 56 KiB"));
            plaintext.put_slice(frame);
        }
        plaintext.resize(padded, 0);
        let signed = to_sign(id, recipient, key, &sealer.enc, &plaintext[64..]);
        plaintext[..64].copy_from_slice(sender.sign(&signed).as_bytes());
        let (enc, sealed) = sealer.seal(plaintext).map_err(|_| EnvelopeError::Key)?;
        let bytes = codec::encode(&Wire {
            suite: SUITE,
            key,
            enc: Raw(&enc),
            sealed: Raw(&sealed),
            extensions: Vec::new(),
        });
        debug_assert!(bytes.len() <= ENVELOPE_BYTES_MAX);
        let bytes = bytes.into();
        Ok(Self { key, bytes })
    }

    /// Reads the outside of an envelope. Its content is not checked.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, EnvelopeError> {
        let key = read(&bytes)?.key;
        Ok(Self { key, bytes })
    }

    /// The bytes as they travel.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Opens the envelope, if `sender` signed it for `recipient` and this key.
    pub fn open(
        &self,
        with: &MailboxKey,
        sender: DeviceId,
        recipient: DeviceId,
    ) -> Result<Opened, EnvelopeError> {
        let wire = read(&self.bytes)?;
        let info = info(sender, recipient, wire.key);
        let plaintext = with
            .open(wire.enc.0, &info, wire.sealed.0)
            .map_err(|_| EnvelopeError::Key)?;
        let (signature, signed) = plaintext
            .split_first_chunk::<64>()
            .ok_or(EnvelopeError::Size)?;
        let to_sign = to_sign(sender, recipient, wire.key, wire.enc.0, signed);
        if !sender.verifies(&to_sign, &Signature::from_bytes(*signature)) {
            return Err(EnvelopeError::Signature);
        }
        let frames = frames(Bytes::copy_from_slice(signed))?;
        Ok(Opened { frames })
    }
}

/// The bytes that a frame of this length takes of an envelope's content.
pub const fn content_size(frame: usize) -> usize {
    4 + frame
}

fn read(bytes: &[u8]) -> Result<Wire<'_>, EnvelopeError> {
    if bytes.len() > ENVELOPE_BYTES_MAX {
        return Err(EnvelopeError::TooLong(bytes.len()));
    }
    let wire: Wire<'_> = codec::decode::<_, MEMORY_MAX>(bytes)?;
    if wire.suite != SUITE {
        return Err(EnvelopeError::Suite(wire.suite));
    }
    let mut tags = wire.extensions.iter().map(|(tag, _)| *tag);
    if !tags.clone().is_sorted_by(|before, after| before < after) {
        return Err(EnvelopeError::Tag(tags.next().unwrap_or_default()));
    }
    // An odd tag may be ignored.
    if let Some(tag) = tags.find(|tag| tag % 2 == 0) {
        return Err(EnvelopeError::Tag(tag));
    }
    let padded = wire.sealed.0.len().checked_sub(TAG_LEN);
    if !padded.is_some_and(|padded| SIZES.contains(&padded)) {
        return Err(EnvelopeError::Size);
    }
    Ok(wire)
}

/// The frames in a content with its length and its padding.
fn frames(mut padded: Bytes) -> Result<Vec<Frame>, EnvelopeError> {
    let length = take_length(&mut padded)?;
    let content = padded.split_to(length);
    // A sender has no place to hide anything.
    if padded.iter().any(|byte| *byte != 0) {
        return Err(EnvelopeError::Content);
    }
    split(content)
}

/// The frames in a list in which each has its length before it.
pub(super) fn split(mut content: Bytes) -> Result<Vec<Frame>, EnvelopeError> {
    let mut frames = Vec::new();
    while content.has_remaining() {
        let length = take_length(&mut content)?;
        let frame = Frame::decode(&content.split_to(length))?;
        if !matches!(frame, Frame::Unknown(_)) {
            frames.push(frame);
        }
    }
    Ok(frames)
}

fn take_length(bytes: &mut Bytes) -> Result<usize, EnvelopeError> {
    let length = bytes.try_get_u32().map_err(|_| EnvelopeError::Content)?;
    let length = usize::try_from(length).map_err(|_| EnvelopeError::Content)?;
    if length > bytes.len() {
        return Err(EnvelopeError::Content);
    }
    Ok(length)
}

fn info(sender: DeviceId, recipient: DeviceId, key: KeyId) -> Vec<u8> {
    let mut info = LABEL.as_bytes().to_vec();
    info.put_u16(SUITE);
    info.put_slice(sender.as_bytes());
    info.put_slice(recipient.as_bytes());
    info.put_u64(key);
    info
}

fn to_sign(
    sender: DeviceId,
    recipient: DeviceId,
    key: KeyId,
    enc: &[u8],
    plaintext: &[u8],
) -> [u8; 32] {
    let mut hash = blake3::Hasher::new_derive_key(LABEL);
    hash.update(&info(sender, recipient, key));
    hash.update(enc).update(plaintext);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ann() -> SecretKey {
        SecretKey::from_seed([1; 32])
    }

    fn bob() -> DeviceId {
        DeviceId::from_bytes([2; 32])
    }

    fn sealed(frames: &[Bytes], key: &MailboxKey) -> Envelope {
        Envelope::seal(frames, &ann(), bob(), 7, &key.public()).expect("it seals")
    }

    #[test]
    fn the_recipient_reads_the_frames_in_order() {
        let key = MailboxKey::generate();
        let frames = [Frame::Ping(1), Frame::Unknown(200), Frame::Pong(300)];
        let envelope = sealed(&frames.map(|frame| frame.encode()), &key);
        let arrived = Envelope::from_bytes(envelope.as_bytes().clone()).expect("an envelope");
        assert_eq!((arrived.key, &arrived), (7, &envelope));
        let opened = arrived.open(&key, ann().id(), bob()).expect("for Bob");
        assert_eq!(opened.frames, [Frame::Ping(1), Frame::Pong(300)]);
    }

    #[test]
    fn a_holder_cannot_name_another_sender_or_recipient() {
        let key = MailboxKey::generate();
        let envelope = sealed(&[Frame::Ping(1).encode()], &key);
        let refused = Err(EnvelopeError::Key);
        assert_eq!(envelope.open(&key, bob(), bob()), refused);
        assert_eq!(envelope.open(&key, ann().id(), ann().id()), refused);
    }

    #[test]
    fn the_size_shows_one_of_four_classes() {
        let key = MailboxKey::generate();
        let mut seen = Vec::new();
        for bytes in [1, 900, 1_000, 5_000, CONTENT_BYTES_MAX - 4] {
            let frame = Bytes::from(vec![200; bytes]);
            seen.push(sealed(&[frame], &key).as_bytes().len());
        }
        assert_eq!(seen[0], seen[1]);
        assert!(seen.is_sorted() && seen[4] <= ENVELOPE_BYTES_MAX);
        seen.dedup();
        assert_eq!(seen.len(), SIZES.len());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let long = Bytes::from(vec![0; ENVELOPE_BYTES_MAX + 1]);
        let refused = EnvelopeError::TooLong(long.len());
        assert_eq!(Envelope::from_bytes(long), Err(refused));
        let wire = |suite, sealed: &[u8], tags: &[u16]| {
            let wire = Wire {
                suite,
                key: 1,
                enc: Raw(&[0; ENC_LEN]),
                sealed: Raw(sealed),
                extensions: tags.iter().map(|tag| (*tag, Vec::new())).collect(),
            };
            Envelope::from_bytes(codec::encode(&wire).into()).map(|envelope| envelope.key)
        };
        let small = vec![0; SIZES[0] + TAG_LEN];
        assert_eq!(wire(SUITE, &small, &[1, 3]), Ok(1), "odd tags are ignored");
        assert_eq!(wire(SUITE, &small, &[4]), Err(EnvelopeError::Tag(4)));
        assert_eq!(wire(SUITE, &small, &[3, 1]), Err(EnvelopeError::Tag(3)));
        assert_eq!(wire(2, &small, &[]), Err(EnvelopeError::Suite(2)));
        assert_eq!(wire(SUITE, &small[1..], &[]), Err(EnvelopeError::Size));
    }

    #[test]
    fn damaged_content_is_refused() {
        let content = |bytes: &[u8]| frames(Bytes::copy_from_slice(bytes));
        assert_eq!(content(&[0, 0, 0, 0, 0]), Ok(Vec::new()));
        for wrong in [
            &[0, 0, 0][..],
            &[0, 0, 0, 9, 1],
            &[0, 0, 0, 0, 1],
            &[0, 0, 0, 5, 0, 0, 0, 9, 2, 0],
        ] {
            assert_eq!(content(wrong), Err(EnvelopeError::Content), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = Envelope::from_bytes(bytes.clone().into());
            let _ = frames(bytes.into());
        }
    }
}
