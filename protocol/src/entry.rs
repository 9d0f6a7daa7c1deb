//! Entries: what an author writes into a log, its limits and its encoding.
//!
//! How entries form a log, and what proves their order, is in [`crate::log`].

use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::offer::{Offer, OfferError};
use crate::text::TEXT_BYTES_MAX;

/// Longest kind of an app message (a reverse-DNS name), in bytes.
pub const APP_KIND_MAX: usize = 128;

/// Longest encoded entry, in bytes: the longest text or app message, and its header.
pub const ENTRY_BYTES_MAX: usize = TEXT_BYTES_MAX + APP_KIND_MAX + 64;

/// The content of an entry.
///
/// ```
/// use hobnob_protocol::Body;
///
/// let text: Body = "lunch at noon?".into();
/// let game = Body::App { kind: "org.example.chess".into(), bytes: b"e2-e4".to_vec() };
/// for body in [text, game] {
///     body.check_own()?; // an error if it cannot be sent
/// }
/// # Ok::<(), hobnob_protocol::entry::BodyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A text message of at most [`TEXT_BYTES_MAX`] bytes.
    Text(String),
    /// A message between programs.
    App {
        /// The program's reverse-DNS name, such as `org.example.chess`. See [`is_app_kind`].
        kind: String,
        /// The message, in the program's own format.
        bytes: Vec<u8>,
    },
    /// A file or folder that recipients may download. Its content travels separately.
    Offer(Offer),
    /// A kind that this version does not know, or an invalid offer. It is stored and forwarded
    /// unchanged.
    Unknown {
        /// The number of the kind.
        kind: u16,
        /// Its bytes.
        bytes: Vec<u8>,
    },
}

/// One decoded entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Lamport's clock: one more than the highest number that the author had seen in the
    /// conversation.
    pub lamport: u64,
    /// The author's wall clock, in milliseconds since the Unix epoch. Shown, never trusted.
    pub sent_at_ms: u64,
    /// Its content.
    pub body: Body,
}

/// Why a body cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// A text of more than [`TEXT_BYTES_MAX`] bytes.
    #[error(
        "a message holds at most {TEXT_BYTES_MAX} bytes of text; this one has {0}: split it, or send it as a file"
    )]
    TextTooLong(usize),
    /// A text of no bytes.
    #[error("an empty message can't be sent")]
    Empty,
    /// An app message of more than [`TEXT_BYTES_MAX`] bytes.
    #[error("an app message holds at most {TEXT_BYTES_MAX} bytes; this one has {0}")]
    AppTooLong(usize),
    /// An app message whose kind is not a reverse-DNS name.
    #[error(
        "the kind of an app message must be a reverse-DNS name such as org.example.checkers: two or more words of a-z, 0-9, - and _, \
         separated by dots, at most {APP_KIND_MAX} bytes"
    )]
    AppKind,
    /// An invalid offer.
    #[error(transparent)]
    Offer(#[from] OfferError),
    /// A body of a kind that this version does not know.
    #[error("this version of hobnob can forward messages of kind {0} but cannot write them")]
    Unknown(u16),
}

const KIND_TEXT: u16 = 1;
const KIND_APP: u16 = 2;
const KIND_OFFER: u16 = 3;

#[derive(Serialize, Deserialize)]
struct Encoded<'a> {
    lamport: u64,
    sent_at_ms: u64,
    kind: u16,
    #[serde(borrow)]
    body: &'a [u8],
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        Body::Text(text.to_owned())
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Body::Text(text)
    }
}

impl Body {
    /// Checks whether this node may write this body.
    pub fn check_own(&self) -> Result<(), BodyError> {
        match self {
            Body::Unknown { kind, .. } => Err(BodyError::Unknown(*kind)),
            Body::Text(_) | Body::App { .. } | Body::Offer(_) => self.check(),
        }
    }

    /// Checks whether this body may be sent, by its author or by a peer that forwards it.
    pub fn check(&self) -> Result<(), BodyError> {
        match self {
            Body::Text(text) if text.is_empty() => Err(BodyError::Empty),
            Body::Text(text) if text.len() > TEXT_BYTES_MAX => {
                Err(BodyError::TextTooLong(text.len()))
            }
            Body::App { kind, .. } if !is_app_kind(kind) => Err(BodyError::AppKind),
            Body::App { bytes, .. } | Body::Unknown { bytes, .. }
                if bytes.len() > TEXT_BYTES_MAX =>
            {
                Err(BodyError::AppTooLong(bytes.len()))
            }
            Body::Offer(offer) => Ok(offer.check()?),
            Body::Text(_) | Body::App { .. } | Body::Unknown { .. } => Ok(()),
        }
    }
}

/// Whether this can be the kind of an app message: two or more words of `a-z`, `0-9`, `-` and `_`,
/// separated by dots, at most [`APP_KIND_MAX`] bytes. The owner of the domain owns the kind, so two
/// programs cannot choose the same one by accident.
pub fn is_app_kind(kind: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    };
    kind.len() <= APP_KIND_MAX && kind.contains('.') && kind.split('.').all(is_word)
}

impl Entry {
    /// The bytes that travel, are hashed, and are kept. The body must have passed [`Body::check`].
    pub fn encode(&self) -> Vec<u8> {
        let (app, offered);
        let (kind, body) = match &self.body {
            Body::Text(text) => (KIND_TEXT, text.as_bytes()),
            Body::App { kind, bytes } => {
                app = codec::encode(&(kind, bytes));
                (KIND_APP, app.as_slice())
            }
            Body::Offer(offer) => {
                offered = offer.encode();
                (KIND_OFFER, offered.as_slice())
            }
            Body::Unknown { kind, bytes } => (*kind, bytes.as_slice()),
        };
        codec::encode(&Encoded {
            lamport: self.lamport,
            sent_at_ms: self.sent_at_ms,
            kind,
            body,
        })
    }

    /// Reads the entry at the front of `bytes`; returns it with how many bytes it took.
    pub fn decode_prefix(bytes: &[u8]) -> Result<(Entry, usize), CodecError> {
        let (encoded, rest) = codec::decode_prefix::<Encoded<'_>, ENTRY_BYTES_MAX>(bytes)?;
        let body = match encoded.kind {
            KIND_TEXT => Body::Text(
                std::str::from_utf8(encoded.body)
                    .map_err(|e| CodecError::Malformed(e.to_string()))?
                    .to_owned(),
            ),
            KIND_APP => {
                let (kind, bytes) =
                    codec::decode::<(String, Vec<u8>), ENTRY_BYTES_MAX>(encoded.body)?;
                Body::App { kind, bytes }
            }
            kind => {
                let offer = if kind == KIND_OFFER {
                    Offer::decode(encoded.body)
                } else {
                    None
                };
                offer.map_or_else(
                    || Body::Unknown {
                        kind,
                        bytes: encoded.body.to_vec(),
                    },
                    Body::Offer,
                )
            }
        };
        body.check()
            .map_err(|e| CodecError::Malformed(e.to_string()))?;
        Ok((
            Entry {
                lamport: encoded.lamport,
                sent_at_ms: encoded.sent_at_ms,
                body,
            },
            bytes.len() - rest.len(),
        ))
    }

    /// Reads an entry that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Entry, CodecError> {
        let (entry, used) = Self::decode_prefix(bytes)?;
        if used == bytes.len() {
            Ok(entry)
        } else {
            Err(CodecError::Trailing(bytes.len() - used))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offer::{ContentHash, Folder};
    use proptest::prelude::*;

    #[test]
    fn golden_bytes_of_a_text() {
        let entry = Entry {
            lamport: 3,
            sent_at_ms: 1_000,
            body: Body::Text("hi".into()),
        };
        let bytes = [3, 251, 0xe8, 0x03, 1, 2, b'h', b'i'];
        assert_eq!(entry.encode(), bytes);
        assert_eq!(Entry::decode(&bytes), Ok(entry));
    }

    #[test]
    fn golden_bytes_of_an_offer() {
        let file = Offer {
            name: "a".into(),
            media: "b/c".into(),
            size: 300,
            hash: ContentHash([7; 32]),
            folder: None,
        };
        let folder = Offer {
            folder: Some(Folder {
                manifest_bytes: 9,
                files: 2,
            }),
            ..file.clone()
        };
        let body = [
            vec![1, b'a', 3, b'b', b'/', b'c', 251, 0x2c, 0x01],
            vec![7; 32],
        ]
        .concat();
        for (offer, end) in [(file, vec![0]), (folder, vec![1, 9, 2])] {
            let body = [body.clone(), end].concat();
            let bytes = [
                vec![3, 9, 3, u8::try_from(body.len()).expect("short")],
                body,
            ]
            .concat();
            let entry = Entry {
                lamport: 3,
                sent_at_ms: 9,
                body: Body::Offer(offer),
            };
            assert_eq!(entry.encode(), bytes);
            assert_eq!(Entry::decode(&bytes), Ok(entry));
        }
    }

    #[test]
    fn an_offer_that_makes_no_sense_is_kept_as_it_came() {
        let senseless = Entry {
            lamport: 1,
            sent_at_ms: 0,
            body: Body::Unknown {
                kind: KIND_OFFER,
                bytes: vec![1, 2, 3],
            },
        };
        assert_eq!(Entry::decode(&senseless.encode()), Ok(senseless));
    }

    #[test]
    fn bodies_that_may_not_be_sent_are_not_read_either() {
        let of = |body| Entry {
            lamport: 1,
            sent_at_ms: 0,
            body,
        };
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        for body in [
            Body::Text(String::new()),
            Body::Text(long.clone()),
            Body::App {
                kind: String::new(),
                bytes: vec![],
            },
            Body::App {
                kind: "chess".into(),
                bytes: vec![],
            },
            Body::App {
                kind: "org..chess".into(),
                bytes: vec![],
            },
            Body::App {
                kind: "org.example.\u{202e}chess".into(),
                bytes: vec![],
            },
            Body::App {
                kind: format!("org.{}", "x".repeat(APP_KIND_MAX)),
                bytes: vec![],
            },
            Body::App {
                kind: "org.example.chess".into(),
                bytes: long.into_bytes(),
            },
        ] {
            assert!(body.check().is_err());
            assert!(Entry::decode(&of(body).encode()).is_err());
        }
        let not_utf8 = codec::encode(&Encoded {
            lamport: 1,
            sent_at_ms: 0,
            kind: KIND_TEXT,
            body: &[0xff],
        });
        assert!(Entry::decode(&not_utf8).is_err());
        let longest = of(Body::Text("x".repeat(TEXT_BYTES_MAX)));
        assert_eq!(Entry::decode(&longest.encode()), Ok(longest));
    }

    fn any_body() -> impl Strategy<Value = Body> {
        prop_oneof![
            ".{1,200}".prop_map(Body::Text),
            (
                "[a-z]{1,20}(\\.[a-z0-9_-]{1,10}){1,3}",
                proptest::collection::vec(any::<u8>(), 0..200)
            )
                .prop_map(|(kind, bytes)| Body::App { kind, bytes }),
            (4u16.., proptest::collection::vec(any::<u8>(), 0..200))
                .prop_map(|(kind, bytes)| Body::Unknown { kind, bytes }),
        ]
    }

    proptest! {
        #[test]
        fn any_entry_round_trips(lamport: u64, sent_at_ms: u64, body in any_body()) {
            let entry = Entry { lamport, sent_at_ms, body };
            prop_assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Entry::decode(&bytes);
        }
    }
}
