//! The sizes of pictures, in pixels. A node reads only the beginning of a file for them.
//!
//! Not here: decoding. User interfaces decode pictures from their files, within their own limits.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hobnob_protocol::{ContentHash, Offer};
use rustix::fs::OFlags;

use super::content_index::ContentIndex;
use crate::Picture;

/// The media types of pictures that are examined.
const MEDIA: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/// Bytes of a file that are searched for the size. In photographs the camera's metadata precede it.
const BEGINNING_MAX: u64 = 1024 * 1024;

/// Maximum number of remembered contents. One more clears the memory. A list of files then examines
/// them again.
const CONTENTS_MAX: usize = 4096;

/// The contents that this run has examined. `None` means that a content is not a picture.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pictures(Arc<Mutex<BTreeMap<ContentHash, Option<Picture>>>>);

impl Pictures {
    /// The picture in an offer, if its content is here and was examined.
    pub(crate) fn of(&self, offer: &Offer) -> Option<Picture> {
        self.known().get(&offer.hash)?.clone()
    }

    /// Whether the offer may be a picture that was not examined yet.
    pub(super) fn wants(&self, offer: &Offer) -> bool {
        may_be_one(offer) && !self.known().contains_key(&offer.hash)
    }

    /// Examines the content of an offer, if it is here and has not changed. Waits for the disk.
    pub(super) fn look(&self, offer: &Offer, index: &ContentIndex) {
        if !self.wants(offer) {
            return;
        }
        if let Some(path) = index.file(offer.hash) {
            let picture = size(&path).map(|(width, height)| Picture {
                width,
                height,
                path,
            });
            let mut known = self.known();
            if known.len() >= CONTENTS_MAX {
                known.clear();
            }
            known.insert(offer.hash, picture);
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<ContentHash, Option<Picture>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn may_be_one(offer: &Offer) -> bool {
    offer.folder.is_none() && MEDIA.contains(&offer.media.as_str())
}

/// Width and height in pixels, or `None` if the file is not a picture.
fn size(path: &Path) -> Option<(u32, u32)> {
    // The path may have become a pipe: do not wait for its writer.
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).ok()?;
    let mut beginning = Vec::new();
    File::options()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)
        .ok()?
        .take(BEGINNING_MAX)
        .read_to_end(&mut beginning)
        .ok()?;
    size_in(&beginning)
}

fn size_in(beginning: &[u8]) -> Option<(u32, u32)> {
    let size = imagesize::reader_size(Cursor::new(beginning)).ok()?;
    let [width, height] =
        [size.width, size.height].map(|side| u32::try_from(side).ok().filter(|side| *side > 0));
    width.zip(height)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    use crate::transfers::offering;

    /// The beginnings of pictures of 300 by 200 pixels.
    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x01\x2c\0\0\0\xc8\x08\x02\0\0\0";
    const GIF: &[u8] = b"GIF89a\x2c\x01\xc8\0\xf0\0\0";
    const JPEG: &[u8] = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\xff\xc2\0\x11\x08\0\xc8\x01\x2c\x03\x01\x22\0";
    const WEBP: &[u8] = b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x2b\x01\0\xc7\0\0";

    #[test]
    fn the_beginning_of_a_file_says_how_large_its_picture_is() {
        for beginning in [PNG, GIF, JPEG, WEBP] {
            assert_eq!(size_in(beginning), Some((300, 200)), "{beginning:?}");
            assert_eq!(size_in(&beginning[..beginning.len() / 2]), None, "cut");
        }
        for other in [
            &b""[..],
            b"this is a text and no picture",
            b"BM\x1e\0\0\0\0\0\0\0\x1a\0\0\0",
            b"GIF89a\0\0\xc8\0\xf0\0\0",
        ] {
            assert_eq!(size_in(other), None, "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn no_beginning_does_harm(kind in 0..4_usize, rest: Vec<u8>, keep in 0..40_usize) {
            let kind = [PNG, GIF, JPEG, WEBP][kind];
            let bytes = [&kind[..keep.min(kind.len())], &rest].concat();
            if let Some((width, height)) = size_in(&bytes) {
                prop_assert!(width > 0 && height > 0);
            }
        }
    }

    #[test]
    fn a_picture_is_known_once_its_content_is_here_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let (index, elsewhere) = (
            ContentIndex::open(dir.path().join("content"), None).unwrap(),
            ContentIndex::open(dir.path().join("other"), None).unwrap(),
        );
        let path = dir.path().join("a.png");
        fs::write(&path, PNG).unwrap();
        let offer = offering::offer(&path, &index).unwrap().offer;
        let pictures = Pictures::default();
        pictures.look(&offer, &elsewhere);
        assert!(
            pictures.of(&offer).is_none() && pictures.wants(&offer),
            "not here"
        );
        pictures.look(&offer, &index);
        let place = path.canonicalize().unwrap();
        assert_eq!(
            pictures.of(&offer),
            Some(Picture {
                width: 300,
                height: 200,
                path: place
            })
        );
        fs::write(&path, [PNG, b"more"].concat()).unwrap();
        let changed = Pictures::default();
        changed.look(&offer, &index);
        assert_eq!(changed.of(&offer), None);
        let text = dir.path().join("a.txt");
        fs::write(&text, PNG).unwrap();
        assert!(
            !pictures.wants(&offering::offer(&text, &index).unwrap().offer)
                || pictures.of(&offer).is_some()
        );
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let index = ContentIndex::open(dir.path().join("content"), None).unwrap();
        let path = dir.path().join("a.gif");
        fs::write(&path, GIF).unwrap();
        let offer = offering::offer(&path, &index).unwrap().offer;
        let pictures = Pictures::default();
        for n in 0..CONTENTS_MAX {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&n.to_be_bytes());
            pictures.known().insert(ContentHash(hash), None);
        }
        pictures.look(&offer, &index);
        assert_eq!(pictures.known().len(), 1);
    }
}
