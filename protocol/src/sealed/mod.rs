//! Sealed files: a stream of bytes that only one peer can read, and that proves who wrote it.
//!
//! A file is [`MAGIC`], the suite (1 byte), a hint at the reader (8 bytes), an X25519 key that was
//! made for this file (32 bytes), and chunks. A chunk has 64 KiB, the last one less or as many, and
//! is encrypted with ChaCha20-Poly1305. Its nonce is its number (8 bytes, little-endian), three zero
//! bytes, and 1 in the last chunk, 0 in all others. The content begins with the id of the writer and
//! its signature over `CONTEXT`, everything before the chunks, the writer and the reader.
//!
//! The reader's X25519 key is its Ed25519 key on the other form of the curve. So no key has to be
//! exchanged before, but whoever gets the reader's key later can read the file: the suite number
//! leaves room for better ones.

mod curve;

use std::io::{self, ErrorKind, Read, Write};

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::digest::{SHA512, digest};
use zeroize::Zeroizing;

use crate::identity::{DeviceId, SecretKey, Signature};

/// The first bytes of a sealed file.
pub const MAGIC: &[u8; 16] = b"hobnob-sealed-1\n";

/// X25519 to the reader's identity, ChaCha20-Poly1305.
const SUITE: u8 = 1;

const CONTEXT: &[u8] = b"hobnob 1 sealed file";
const HINT_BYTES: usize = 8;
const HEADER_BYTES: usize = MAGIC.len() + 1 + HINT_BYTES + 32;
const CHUNK_BYTES: usize = 64 * 1024;
const TAG_BYTES: usize = 16;

/// Why a sealed file can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum SealedError {
    /// The file is something else.
    #[error("it is not a file of sealed messages")]
    NotSealed,
    /// A newer version wrote it.
    #[error("it is sealed in a way that this version does not know: update hobnob")]
    Suite(u8),
    /// Somebody else can open it.
    #[error("it is for somebody else")]
    ForSomebodyElse,
    /// The file was altered, or its writer is not who it claims to be.
    #[error("it is damaged or forged")]
    Damaged,
    /// The end is missing.
    #[error("it is truncated")]
    Truncated,
    /// The reader has no key that others can seal to.
    #[error("that is not the id of a peer")]
    NotAKey,
    /// The file can't be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Writes a sealed file. Without [`Sealer::finish`], it counts as truncated.
#[derive(Debug)]
pub struct Sealer<W> {
    out: W,
    key: LessSafeKey,
    chunk: Vec<u8>,
    number: u64,
}

impl<W: Write> Sealer<W> {
    /// Begins a file from this node to `reader`. The caller provides 32 random bytes, which are for
    /// this file only.
    pub fn new(
        mut out: W,
        writer: &SecretKey,
        reader: DeviceId,
        random: [u8; 32],
    ) -> Result<Self, SealedError> {
        let random = Zeroizing::new(random);
        let ephemeral = PrivateKey::from_private_key(&X25519, &*random)
            .expect("every 32 bytes are an X25519 key");
        let public = ephemeral
            .compute_public_key()
            .expect("a private key has a public one");
        let to = curve::montgomery_of(reader.as_bytes());
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        header.push(SUITE);
        header.extend_from_slice(&hint(public.as_ref(), reader));
        header.extend_from_slice(public.as_ref());
        let key = shared_key(&ephemeral, &to, &header, reader).ok_or(SealedError::NotAKey)?;
        out.write_all(&header)?;
        let mut chunk = Vec::with_capacity(CHUNK_BYTES + TAG_BYTES);
        chunk.extend_from_slice(writer.id().as_bytes());
        let signature = writer.sign(&signed(&header, writer.id(), reader));
        chunk.extend_from_slice(signature.as_bytes());
        Ok(Self {
            out,
            key,
            chunk,
            number: 0,
        })
    }

    /// Writes the end.
    pub fn finish(mut self) -> io::Result<W> {
        self.seal(true)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn seal(&mut self, last: bool) -> io::Result<()> {
        let nonce = nonce(self.number, last);
        self.key
            .seal_in_place_append_tag(nonce, Aad::empty(), &mut self.chunk)
            .map_err(|_| io::Error::other("a chunk could not be encrypted"))?;
        self.out.write_all(&self.chunk)?;
        self.chunk.clear();
        self.number += 1;
        Ok(())
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() == CHUNK_BYTES {
            self.seal(false)?;
        }
        let taken = bytes.len().min(CHUNK_BYTES - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    /// A chunk is written when it is full, so this does nothing.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a sealed file. Everything that it returns is authentic. At the end of a truncated file it
/// returns an error.
#[derive(Debug)]
pub struct Opener<R> {
    input: R,
    key: LessSafeKey,
    writer: DeviceId,
    /// The rest of the chunk that is being read.
    chunk: Vec<u8>,
    at: usize,
    /// The encrypted chunk that follows.
    next: Vec<u8>,
    number: u64,
    ended: bool,
}

impl<R: Read> Opener<R> {
    /// Opens a file that is for the owner of this key.
    pub fn new(mut input: R, reader: &SecretKey) -> Result<Self, SealedError> {
        let mut magic = [0; MAGIC.len()];
        fill(&mut input, &mut magic, SealedError::NotSealed)?;
        if &magic != MAGIC {
            return Err(SealedError::NotSealed);
        }
        let mut header = [0; HEADER_BYTES];
        header[..MAGIC.len()].copy_from_slice(MAGIC);
        fill(
            &mut input,
            &mut header[MAGIC.len()..],
            SealedError::Truncated,
        )?;
        let suite = header[MAGIC.len()];
        if suite != SUITE {
            return Err(SealedError::Suite(suite));
        }
        let (for_reader, public) = header[MAGIC.len() + 1..].split_at(HINT_BYTES);
        if for_reader != hint(public, reader.id()) {
            return Err(SealedError::ForSomebodyElse);
        }
        let public: &[u8; 32] = public.try_into().expect("the header ends with the key");
        let key = shared_key(&of_identity(reader), public, &header, reader.id())
            .ok_or(SealedError::Damaged)?;
        let mut opener = Self {
            input,
            key,
            writer: reader.id(),
            chunk: Vec::new(),
            at: 0,
            next: Vec::new(),
            number: 0,
            ended: false,
        };
        opener.read_ahead()?;
        let mut writer = [0; 32];
        let mut signature = [0; 64];
        opener.read_exact(&mut writer).map_err(cause)?;
        opener.read_exact(&mut signature).map_err(cause)?;
        opener.writer = DeviceId::from_bytes(writer);
        let signed = signed(&header, opener.writer, reader.id());
        if !opener
            .writer
            .verifies(&signed, &Signature::from_bytes(signature))
        {
            return Err(SealedError::Damaged);
        }
        Ok(opener)
    }

    /// The peer that wrote the file.
    pub fn writer(&self) -> DeviceId {
        self.writer
    }

    /// Reads the next encrypted chunk.
    fn read_ahead(&mut self) -> io::Result<()> {
        self.next.clear();
        let most = (CHUNK_BYTES + TAG_BYTES) as u64;
        (&mut self.input).take(most).read_to_end(&mut self.next)?;
        Ok(())
    }

    fn open_next(&mut self) -> io::Result<()> {
        let mut chunk = std::mem::take(&mut self.next);
        if chunk.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.read_ahead()?;
        let is_last = self.next.is_empty();
        let nonce = nonce(self.number, is_last);
        let opened = self.key.open_in_place(nonce, Aad::empty(), &mut chunk);
        let Ok(plain) = opened else {
            // The last chunk of a file that was cut between two chunks is not marked as the last.
            return Err(ErrorKind::InvalidData.into());
        };
        let length = plain.len();
        chunk.truncate(length);
        (self.chunk, self.at, self.ended) = (chunk, 0, is_last);
        self.number += 1;
        Ok(())
    }
}

impl<R: Read> Read for Opener<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() {
            if self.ended {
                return Ok(0);
            }
            self.open_next()?;
        }
        let rest = &self.chunk[self.at..];
        let taken = rest.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&rest[..taken]);
        self.at += taken;
        Ok(taken)
    }
}

/// The cause of an error while a sealed file was read.
pub fn cause(error: io::Error) -> SealedError {
    if error.kind() == ErrorKind::UnexpectedEof {
        SealedError::Truncated
    } else if error.kind() == ErrorKind::InvalidData {
        SealedError::Damaged
    } else {
        SealedError::Io(error)
    }
}

fn fill(input: &mut impl Read, buffer: &mut [u8], short: SealedError) -> Result<(), SealedError> {
    match input.read_exact(buffer) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(short),
        done => Ok(done?),
    }
}

/// Lets the reader see that the file is for it. Others can only compare it with ids that they know.
fn hint(public: &[u8], reader: DeviceId) -> [u8; HINT_BYTES] {
    let mut hash = blake3::Hasher::new_derive_key("hobnob 1 sealed file, hint at the reader");
    hash.update(public).update(reader.as_bytes());
    let mut hint = [0; HINT_BYTES];
    hash.finalize_xof().fill(&mut hint);
    hint
}

fn signed(header: &[u8], writer: DeviceId, reader: DeviceId) -> Vec<u8> {
    [CONTEXT, header, writer.as_bytes(), reader.as_bytes()].concat()
}

/// The X25519 key of an identity: RFC 8032 derives the Ed25519 scalar in the same way.
fn of_identity(key: &SecretKey) -> PrivateKey {
    let hash = digest(&SHA512, key.seed());
    let scalar = Zeroizing::new(<[u8; 32]>::try_from(&hash.as_ref()[..32]).expect("32 bytes"));
    PrivateKey::from_private_key(&X25519, &*scalar).expect("every 32 bytes are an X25519 key")
}

/// None if the other key is no proper one.
fn shared_key(
    own: &PrivateKey,
    other: &[u8; 32],
    header: &[u8],
    reader: DeviceId,
) -> Option<LessSafeKey> {
    let derived = agree(own, UnparsedPublicKey::new(&X25519, other), (), |shared| {
        let mut hash = blake3::Hasher::new_derive_key("hobnob 1 sealed file, key");
        hash.update(header).update(reader.as_bytes()).update(shared);
        Ok(Zeroizing::new(*hash.finalize().as_bytes()))
    });
    let unbound = UnboundKey::new(&CHACHA20_POLY1305, &*derived.ok()?);
    Some(LessSafeKey::new(unbound.expect("the key has 32 bytes")))
}

fn nonce(number: u64, last: bool) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes[11] = u8::from(last);
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> SecretKey {
        SecretKey::from_seed([number; 32])
    }

    const ANN: u8 = 1;
    const BOB: u8 = 2;

    fn sealed(content: &[u8]) -> Vec<u8> {
        let mut sealer = Sealer::new(Vec::new(), &key(ANN), key(BOB).id(), [9; 32]).unwrap();
        sealer.write_all(content).unwrap();
        sealer.finish().unwrap()
    }

    fn opened(file: &[u8], reader: u8) -> Result<(DeviceId, Vec<u8>), SealedError> {
        let mut opener = Opener::new(file, &key(reader))?;
        let mut content = Vec::new();
        opener.read_to_end(&mut content).map_err(cause)?;
        Ok((opener.writer(), content))
    }

    #[test]
    fn the_reader_gets_the_content_and_the_writer() {
        let whole = CHUNK_BYTES - 96;
        for length in [0, 1, whole - 1, whole, whole + 1, 3 * CHUNK_BYTES] {
            let content = vec![7; length];
            let (writer, read) = opened(&sealed(&content), BOB).unwrap();
            assert!(writer == key(ANN).id() && read == content, "{length}");
        }
    }

    #[test]
    fn others_see_that_it_is_not_for_them() {
        let error = opened(&sealed(b"x"), 3).unwrap_err();
        assert!(matches!(error, SealedError::ForSomebodyElse));
        // The writer cannot read it either.
        assert!(opened(&sealed(b"x"), ANN).is_err());
        let text = b"marmalade, in clear text";
        let file = sealed(text);
        assert!(!file.windows(9).any(|bytes| bytes == b"marmalade"));
    }

    #[test]
    fn an_altered_cut_or_longer_file_is_refused() {
        let file = sealed(&vec![7; CHUNK_BYTES + 100]);
        let chunk_ends = HEADER_BYTES + CHUNK_BYTES + TAG_BYTES;
        for length in [
            0,
            3,
            MAGIC.len(),
            40,
            HEADER_BYTES,
            100,
            chunk_ends,
            file.len() - 1,
        ] {
            assert!(opened(&file[..length], BOB).is_err(), "{length}");
        }
        for at in (0..HEADER_BYTES + 100).chain([chunk_ends, file.len() - 1]) {
            let mut altered = file.clone();
            altered[at] ^= 1;
            assert!(opened(&altered, BOB).is_err(), "byte {at}");
        }
        assert!(opened(&[&file[..], &[0]].concat(), BOB).is_err());
        assert!(matches!(
            opened(&[0; 100], BOB),
            Err(SealedError::NotSealed)
        ));
        let mut newer = file;
        newer[MAGIC.len()] = 9;
        assert!(matches!(opened(&newer, BOB), Err(SealedError::Suite(9))));
    }

    #[test]
    fn nobody_seals_in_the_name_of_another() {
        // Carol knows how to make a file for Bob, and claims to be Ann.
        let (carol, ann, bob) = (key(3), key(ANN).id(), key(BOB).id());
        let mut sealer = Sealer::new(Vec::new(), &carol, bob, [9; 32]).unwrap();
        sealer.chunk[..32].copy_from_slice(ann.as_bytes());
        let file = sealer.finish().unwrap();
        assert!(matches!(opened(&file, BOB), Err(SealedError::Damaged)));
    }

    #[test]
    fn the_point_of_an_id_is_the_public_key_of_its_seed() {
        for number in 0..64 {
            let key = key(number);
            let public = of_identity(&key).compute_public_key().unwrap();
            let of_id = curve::montgomery_of(key.id().as_bytes());
            assert_eq!(public.as_ref(), of_id, "{number}");
        }
    }

    #[test]
    fn an_id_that_is_no_key_is_refused() {
        // The neutral element, and a point of small order.
        for first in [1, 0] {
            let mut bytes = [0; 32];
            bytes[0] = first;
            let nobody = DeviceId::from_bytes(bytes);
            let error = Sealer::new(Vec::new(), &key(ANN), nobody, [9; 32]).err();
            assert!(matches!(error, Some(SealedError::NotAKey)), "{first}");
        }
    }
}
