//! Pages of a database, encrypted and authenticated.
//!
//! AES-256-GCM-SIV seals all of a page but its last [`RESERVED_BYTES`], which become the tag and a
//! random nonce. A repeated nonce would only show that two pages are equal. The place of the page is
//! authenticated, too, so that pages can't be exchanged.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;

use crate::blocks::Blocks;
use crate::layout::{FRAME_HEADER, Place, WAL_HEADER};
use crate::{PAGE_BYTES, RESERVED_BYTES, derive};

/// Bytes of a tag.
const TAG: usize = 16;

/// Bytes of a page that SQLite uses.
const USED: usize = PAGE_BYTES - RESERVED_BYTES;

/// The place of the nonce in a page.
const NONCE: std::ops::Range<usize> = USED + TAG..USED + TAG + NONCE_LEN;

/// The part of a frame's header that is encrypted: salts and checksums. Before it are the number of
/// the page and the size of the database.
const SECRET: std::ops::Range<usize> = 8..FRAME_HEADER;

/// A part of a file that can't be decrypted, or that must not be encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damaged;

/// Encrypts the files of one database.
pub(crate) struct PageCipher {
    pages: LessSafeKey,
    headers: Blocks,
}

impl PageCipher {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let pages = derive(key, "pages");
        let pages = UnboundKey::new(&AES_256_GCM_SIV, &pages).expect("a key of 32 bytes");
        Self {
            pages: LessSafeKey::new(pages),
            headers: Blocks::new(&derive(key, "headers of frames")),
        }
    }

    /// Encrypts one part of a file. The reserved bytes of a page must be zeros.
    pub(crate) fn seal(&self, place: Place, bytes: &mut [u8]) -> Result<(), Damaged> {
        match place {
            Place::Open => Ok(()),
            Place::FrameHeader(frame) => {
                self.headers.encrypt(frame, 0, &mut bytes[SECRET]);
                Ok(())
            }
            Place::Page(..) => self.seal_page(place, bytes),
        }
    }

    /// Decrypts one part of a file.
    pub(crate) fn open(&self, place: Place, bytes: &mut [u8]) -> Result<(), Damaged> {
        match place {
            Place::Open => Ok(()),
            Place::FrameHeader(frame) => {
                self.headers.decrypt(frame, 0, &mut bytes[SECRET]);
                Ok(())
            }
            Place::Page(..) => self.open_page(place, bytes),
        }
    }

    fn seal_page(&self, place: Place, page: &mut [u8]) -> Result<(), Damaged> {
        if page[USED..] != [0; RESERVED_BYTES] {
            return Err(Damaged);
        }
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| Damaged)?;
        page[NONCE].copy_from_slice(&nonce);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .pages
            .seal_in_place_separate_tag(nonce, Aad::from(place.name()), &mut page[..USED])
            .map_err(|_| Damaged)?;
        page[USED..USED + TAG].copy_from_slice(tag.as_ref());
        Ok(())
    }

    fn open_page(&self, place: Place, page: &mut [u8]) -> Result<(), Damaged> {
        // A page that was never written, in the middle of a file that has grown.
        if page.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let nonce = Nonce::try_assume_unique_for_key(&page[NONCE]).map_err(|_| Damaged)?;
        let opened =
            self.pages
                .open_in_place(nonce, Aad::from(place.name()), &mut page[..USED + TAG]);
        let is_genuine = opened.is_ok();
        page[USED..].fill(0);
        if is_genuine { Ok(()) } else { Err(Damaged) }
    }
}

impl fmt::Debug for PageCipher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("PageCipher")
    }
}

const _: () = assert!(WAL_HEADER == 32 && SECRET.end - SECRET.start == 16);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Kind;

    fn page(text: &[u8]) -> Vec<u8> {
        let mut page = vec![0; PAGE_BYTES];
        page[..text.len()].copy_from_slice(text);
        page
    }

    #[test]
    fn a_page_opens_only_in_its_place_and_unchanged() {
        let cipher = PageCipher::new(&[1; 32]);
        let (here, plain) = (Place::Page(Kind::Database, 3), page(b"a secret text"));
        let mut sealed = plain.clone();
        cipher.seal(here, &mut sealed).unwrap();
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        let open = |cipher: &PageCipher, place, sealed: &[u8]| {
            let mut bytes = sealed.to_vec();
            cipher.open(place, &mut bytes).map(|()| bytes)
        };
        assert_eq!(open(&cipher, here, &sealed), Ok(plain));
        for other in [Place::Page(Kind::Database, 4), Place::Page(Kind::Wal, 3)] {
            assert_eq!(open(&cipher, other, &sealed), Err(Damaged));
        }
        assert_eq!(
            open(&PageCipher::new(&[2; 32]), here, &sealed),
            Err(Damaged)
        );
        for at in [0, USED - 1, USED, NONCE.start, NONCE.end - 1] {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(open(&cipher, here, &changed), Err(Damaged), "byte {at}");
        }
    }

    #[test]
    fn a_page_without_reserved_bytes_is_never_written() {
        let cipher = PageCipher::new(&[1; 32]);
        let mut full = vec![1; PAGE_BYTES];
        let place = Place::Page(Kind::Database, 1);
        assert_eq!(cipher.seal(place, &mut full), Err(Damaged));
    }

    #[test]
    fn the_header_of_a_frame_keeps_its_length() {
        let cipher = PageCipher::new(&[1; 32]);
        let plain: Vec<u8> = (0..24).collect();
        let mut header = plain.clone();
        cipher.seal(Place::FrameHeader(9), &mut header).unwrap();
        assert_eq!(header[..8], plain[..8]);
        assert_ne!(header[8..], plain[8..]);
        cipher.open(Place::FrameHeader(9), &mut header).unwrap();
        assert_eq!(header, plain);
    }
}
