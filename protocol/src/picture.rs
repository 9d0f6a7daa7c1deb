//! Profile pictures: small picture files that a [public record](crate::PublicRecord) names by their
//! hash.
//!
//! A picture from a peer is not decoded here. [`PictureKind::of`] looks at its first bytes only.

use crate::offer::ContentHash;

/// Maximum size of a profile picture, in bytes.
pub const PICTURE_BYTES_MAX: usize = 32 * 1024;

/// The kind of a picture file, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PictureKind {
    /// PNG (W3C Portable Network Graphics, section 5.2).
    Png,
    /// JPEG (ITU-T T.81, annex B.1.1.3).
    Jpeg,
    /// WebP (RFC 9649, section 2.4).
    WebP,
    /// GIF (version 89a, section 17).
    Gif,
}

impl PictureKind {
    /// The kind of a file. `None` if it begins like none of these kinds.
    pub fn of(file: &[u8]) -> Option<Self> {
        let is_web_p = || file.starts_with(b"RIFF") && file.get(8..12) == Some(b"WEBP");
        if file.starts_with(b"\x89PNG\r\n\x1a\n") {
            Some(PictureKind::Png)
        } else if file.starts_with(b"\xff\xd8\xff") {
            Some(PictureKind::Jpeg)
        } else if file.starts_with(b"GIF87a") || file.starts_with(b"GIF89a") {
            Some(PictureKind::Gif)
        } else if is_web_p() {
            Some(PictureKind::WebP)
        } else {
            None
        }
    }

    /// The media type (RFC 6838).
    pub fn media_type(self) -> &'static str {
        match self {
            PictureKind::Png => "image/png",
            PictureKind::Jpeg => "image/jpeg",
            PictureKind::WebP => "image/webp",
            PictureKind::Gif => "image/gif",
        }
    }
}

/// Why bytes can't be a profile picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// There are more than [`PICTURE_BYTES_MAX`].
    #[error(
        "a profile picture has at most {PICTURE_BYTES_MAX} bytes, and this file has {0}: make it \
         smaller, for example 96 by 96 pixels"
    )]
    TooLarge(usize),
    /// They begin like no [`PictureKind`].
    #[error("this is not a PNG, JPEG, WebP or GIF file")]
    Kind,
}

/// Checks size and kind of a profile picture. Returns its kind and its hash.
pub fn check(file: &[u8]) -> Result<(PictureKind, ContentHash), PictureError> {
    if file.len() > PICTURE_BYTES_MAX {
        return Err(PictureError::TooLarge(file.len()));
    }
    let kind = PictureKind::of(file).ok_or(PictureError::Kind)?;
    Ok((kind, ContentHash(*blake3::hash(file).as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

    #[test]
    fn files_are_recognized_by_their_first_bytes() {
        for (file, kind) in [
            (PNG, Some(PictureKind::Png)),
            (b"\xff\xd8\xff\xe0....", Some(PictureKind::Jpeg)),
            (b"GIF89a..", Some(PictureKind::Gif)),
            (b"RIFF....WEBPVP8 ", Some(PictureKind::WebP)),
            (b"RIFF....WAVE", None),
            (b"<svg xmlns=", None),
            (b"RIFF", None),
            (b"", None),
        ] {
            assert_eq!(PictureKind::of(file), kind, "{file:?}");
        }
    }

    #[test]
    fn a_picture_of_the_largest_size_is_allowed_and_one_byte_more_is_not() {
        let mut file = PNG.to_vec();
        file.resize(PICTURE_BYTES_MAX, 7);
        let hash = ContentHash(*blake3::hash(&file).as_bytes());
        assert_eq!(check(&file), Ok((PictureKind::Png, hash)));
        file.push(7);
        let size = PICTURE_BYTES_MAX + 1;
        assert_eq!(check(&file), Err(PictureError::TooLarge(size)));
        assert_eq!(check(b"hello"), Err(PictureError::Kind));
    }
}
