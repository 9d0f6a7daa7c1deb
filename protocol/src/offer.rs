//! Offers of files: what an entry says about content that travels apart from it.
//!
//! The content of a file is its bytes. The content of a folder is its [manifest](crate::manifest),
//! then the bytes of its files in the manifest's order: so both are one string of bytes with one
//! hash, and everything that moves content knows no difference.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::entry::{LogName, Seq};

/// Longest name of an offered file or folder, in bytes: what file systems take.
pub const OFFER_NAME_MAX: usize = 255;

/// Longest media type (RFC 6838 section 4.2 allows two names of 127 characters).
pub const MEDIA_TYPE_MAX: usize = 255;

/// Largest content: a number that no sum of sizes overflows.
pub const CONTENT_BYTES_MAX: u64 = 1 << 50;

/// Files in one folder at most. More are offered as an archive.
pub const FOLDER_FILES_MAX: u64 = 200_000;

/// Longest manifest, in bytes; both ends hold one in memory while its folder is on its way.
pub const MANIFEST_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Names an offer everywhere: by its entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OfferId {
    /// The log of the entry.
    pub name: LogName,
    /// Its place there.
    pub seq: Seq,
}

/// BLAKE3 hash of a whole content. Text form: 64 hex digits, as `b3sum` prints them.
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

/// What a folder's content is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// How many bytes at the start of the content are the manifest.
    pub manifest_bytes: u64,
    /// How many files it names.
    pub files: u64,
}

/// A file or folder that its author offers to those who may have the entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The name that its author gave it: a hint, to be cleaned before a file is named so.
    pub name: String,
    /// What kind of content its author says it is (RFC 6838), or empty: a hint as well.
    pub media: String,
    /// Bytes of content.
    pub size: u64,
    /// The hash of the content.
    pub hash: ContentHash,
    /// For a folder.
    pub folder: Option<Folder>,
}

/// Why an offer can't be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// No name, or too long a one.
    #[error("an offered file has a name of 1 to {OFFER_NAME_MAX} bytes")]
    Name,
    /// Too long a media type.
    #[error("a media type has at most {MEDIA_TYPE_MAX} bytes")]
    Media,
    /// Too much content.
    #[error("a file to send has at most {CONTENT_BYTES_MAX} bytes; this has {0}")]
    Size(u64),
    /// A folder whose manifest is impossible.
    #[error(
        "a folder to send holds at most {FOLDER_FILES_MAX} files: pack it into an archive, and send that"
    )]
    Folder,
}

impl Offer {
    /// Whether this is an offer at all. What it promises is seen when the content comes.
    pub fn check(&self) -> Result<(), OfferError> {
        if self.name.is_empty() || self.name.len() > OFFER_NAME_MAX {
            return Err(OfferError::Name);
        }
        if self.media.len() > MEDIA_TYPE_MAX {
            return Err(OfferError::Media);
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

    /// The body of its entry.
    pub(crate) fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads the body of an entry; none where it is no offer.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Offer> {
        const MEMORY_MAX: usize = 2 * (OFFER_NAME_MAX + MEDIA_TYPE_MAX) + 256;
        codec::decode::<Offer, MEMORY_MAX>(bytes)
            .ok()
            .filter(|offer| offer.check().is_ok())
    }
}

/// What one end tells the other of an offer, outside the log: a hint, said again in a new session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OfferWord {
    /// "I have all of it": the receipt, and the news that one more can serve it.
    Whole,
    /// "I don't want it", or not any more.
    Declined,
    /// Its author: "I take it back."
    Withdrawn,
    /// Its author: "it is not what it was when I offered it."
    Changed,
    /// A word from the future: means nothing.
    Unknown(u8),
}

impl OfferWord {
    pub(crate) fn code(self) -> u8 {
        match self {
            OfferWord::Whole => 1,
            OfferWord::Declined => 2,
            OfferWord::Withdrawn => 3,
            OfferWord::Changed => 4,
            OfferWord::Unknown(code) => code,
        }
    }

    pub(crate) fn of_code(code: u8) -> Self {
        match code {
            1 => OfferWord::Whole,
            2 => OfferWord::Declined,
            3 => OfferWord::Withdrawn,
            4 => OfferWord::Changed,
            unknown => OfferWord::Unknown(unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer() -> Offer {
        Offer {
            name: "a.txt".into(),
            media: "text/plain".into(),
            size: 300,
            hash: ContentHash([7; 32]),
            folder: None,
        }
    }

    #[test]
    fn offers_that_make_no_sense_are_none() {
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
