//! Offers of files and folders: the body of an entry that describes content. The content itself
//! travels separately, see [`crate::content`].
//!
//! The content of a file is its bytes. The content of a folder is its [manifest](crate::manifest),
//! followed by the bytes of its files in the manifest's order. So both are one string of bytes with
//! one hash, and code that moves content need not distinguish them.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::log::{LogName, Seq};

/// Longest name of an offered file or folder, in bytes. It is the limit of most file systems.
pub const OFFER_NAME_MAX: usize = 255;

/// Longest media type (RFC 6838 section 4.2 allows two names of 127 characters).
pub const MEDIA_TYPE_MAX: usize = 255;

/// Largest content, in bytes. Sums of sizes cannot overflow.
pub const CONTENT_BYTES_MAX: u64 = 1 << 50;

/// Longest caption of an offer, in bytes.
pub const CAPTION_BYTES_MAX: usize = 1024;

/// Maximum files in one folder. A larger folder must be offered as an archive.
pub const FOLDER_FILES_MAX: u64 = 200_000;

/// Longest manifest, in bytes. Both ends keep it in memory while they transfer the folder.
pub const MANIFEST_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// The id of an offer, unique everywhere: the place of its entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OfferId {
    /// The log of the entry.
    pub name: LogName,
    /// Its place there.
    pub seq: Seq,
}

/// BLAKE3 hash of a whole content. Its text form is 64 hex digits, as printed by `b3sum`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContentHash(pub [u8; 32]);

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for ContentHash {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "a BLAKE3 hash is 64 hex digits";
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| WRONG)?;
        bytes.try_into().map(ContentHash).map_err(|_| WRONG)
    }
}

/// The parts of a folder's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// Length of the manifest at the start of the content, in bytes.
    pub manifest_bytes: u64,
    /// Files that the manifest names.
    pub files: u64,
}

/// Properties of a file that a recipient may take over. They are claims of the author.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// Only its owner may read it. A recipient always takes this over.
    pub private: bool,
    /// Its owner may run it.
    pub executable: bool,
    /// When it was changed last, in seconds since the Unix epoch. 0 means unknown.
    pub modified_s: u64,
}

/// A file or folder that its author offers to the recipients of the entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The name that the author gave it. Only a hint: clean it before you create a file.
    pub name: String,
    /// The media type that the author claims (RFC 6838), or empty. Only a hint, too.
    pub media: String,
    /// Length of the content, in bytes.
    pub size: u64,
    /// The hash of the content.
    pub hash: ContentHash,
    /// `None` for a file.
    pub folder: Option<Folder>,
    /// The properties of a file. Those of a folder's files are in its manifest.
    pub attributes: Attributes,
    /// What the author says about it, or empty.
    pub caption: String,
}

/// Why an offer is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// The name is empty or too long.
    #[error("the name of an offered file must have 1 to {OFFER_NAME_MAX} bytes")]
    Name,
    /// The media type is too long.
    #[error("a media type has at most {MEDIA_TYPE_MAX} bytes")]
    Media,
    /// The caption is too long.
    #[error("a caption has at most {CAPTION_BYTES_MAX} bytes")]
    Caption,
    /// The content is too large.
    #[error("a file to send has at most {CONTENT_BYTES_MAX} bytes; this one has {0}")]
    Size(u64),
    /// The folder has too many files, or its manifest is too long.
    #[error(
        "a folder to send has at most {FOLDER_FILES_MAX} files: pack it into an archive and send that"
    )]
    Folder,
}

impl Offer {
    /// Checks the limits. Whether the offer is true shows only when the content arrives.
    pub fn check(&self) -> Result<(), OfferError> {
        if self.name.is_empty() || self.name.len() > OFFER_NAME_MAX {
            return Err(OfferError::Name);
        }
        if self.media.len() > MEDIA_TYPE_MAX {
            return Err(OfferError::Media);
        }
        if self.caption.len() > CAPTION_BYTES_MAX {
            return Err(OfferError::Caption);
        }
        if self.size > CONTENT_BYTES_MAX {
            return Err(OfferError::Size(self.size));
        }
        match self.folder {
            Some(folder)
                if folder.files > FOLDER_FILES_MAX
                    || folder.manifest_bytes > MANIFEST_BYTES_MAX.min(self.size) =>
            {
                Err(OfferError::Folder)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Encodes the offer as the body of an entry.
    pub(crate) fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Decodes the body of an entry. `None` if it is not a valid offer.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Offer> {
        const MEMORY_MAX: usize = 2 * (OFFER_NAME_MAX + MEDIA_TYPE_MAX + CAPTION_BYTES_MAX) + 256;
        codec::decode::<Offer, MEMORY_MAX>(bytes)
            .ok()
            .filter(|offer| offer.check().is_ok())
    }
}

/// A report about an offer from one end to the other, outside the log. It is a hint, and is sent
/// again in each new session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OfferWord {
    /// The sender has the whole content. This is the receipt, and the sender can serve it, too.
    Whole,
    /// The sender does not want the content.
    Declined,
    /// The author has withdrawn the offer.
    Withdrawn,
    /// The author's file has changed since it was offered.
    Changed,
    /// The sender accepted the offer, and could not store the content.
    Failed,
    /// The author has paused the sending. The recipient keeps what it has.
    Paused,
    /// The author sends again.
    Resumed,
    /// A code of a later version. It has no effect.
    Unknown(u8),
}

impl OfferWord {
    pub(crate) fn code(self) -> u8 {
        match self {
            OfferWord::Whole => 1,
            OfferWord::Declined => 2,
            OfferWord::Withdrawn => 3,
            OfferWord::Changed => 4,
            OfferWord::Failed => 5,
            OfferWord::Paused => 6,
            OfferWord::Resumed => 7,
            OfferWord::Unknown(code) => code,
        }
    }

    pub(crate) fn of_code(code: u8) -> Self {
        match code {
            1 => OfferWord::Whole,
            2 => OfferWord::Declined,
            3 => OfferWord::Withdrawn,
            4 => OfferWord::Changed,
            5 => OfferWord::Failed,
            6 => OfferWord::Paused,
            7 => OfferWord::Resumed,
            unknown => OfferWord::Unknown(unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer() -> Offer {
        Offer {
            attributes: crate::offer::Attributes::default(),
            caption: String::new(),
            name: "a.txt".into(),
            media: "text/plain".into(),
            size: 300,
            hash: ContentHash([7; 32]),
            folder: None,
        }
    }

    #[test]
    fn invalid_offers_do_not_decode() {
        assert_eq!(Offer::decode(&offer().encode()), Some(offer()));
        let folder = |manifest_bytes, files| {
            Some(Folder {
                manifest_bytes,
                files,
            })
        };
        for wrong in [
            Offer {
                name: String::new(),
                ..offer()
            },
            Offer {
                name: "x".repeat(OFFER_NAME_MAX + 1),
                ..offer()
            },
            Offer {
                media: "x".repeat(MEDIA_TYPE_MAX + 1),
                ..offer()
            },
            Offer {
                size: CONTENT_BYTES_MAX + 1,
                ..offer()
            },
            Offer {
                folder: folder(301, 1),
                ..offer()
            },
            Offer {
                folder: folder(10, FOLDER_FILES_MAX + 1),
                ..offer()
            },
            Offer {
                size: CONTENT_BYTES_MAX,
                folder: folder(MANIFEST_BYTES_MAX + 1, 1),
                ..offer()
            },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
            assert_eq!(Offer::decode(&wrong.encode()), None, "{wrong:?}");
        }
        assert_eq!(Offer::decode(b"nonsense"), None);
    }

    #[test]
    fn a_hash_reads_back_as_it_is_shown() {
        let hash = ContentHash([0xab; 32]);
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert!("ab".parse::<ContentHash>().is_err());
    }
}
