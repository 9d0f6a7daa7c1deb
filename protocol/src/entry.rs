//! Entries: what an author writes into a log, its limits and its encoding.
//!
//! An entry travels as header, salt and body; or, if its body is erased, as header and body hash.
//! How entries form a log, and what proves their order, is in [`crate::log`].

use crate::body_hash::{BodyKey, Salt};
use crate::codec::{self, CodecError, EXTENSIONS_BYTES_MAX, Raw};
use crate::header::{EntryRef, Extensions, Header, tag};
use crate::log::{BodyHash, EntryHash, LogId, Seq};
use crate::offer::{Offer, OfferError};
use crate::reaction::{self, ReactionError};
use crate::text::TEXT_BYTES_MAX;

/// Longest kind of an app message (a reverse-DNS name), in bytes.
pub const APP_KIND_MAX: usize = 128;

/// Longest encoded entry, in bytes: the longest text or app message, its salt and its header.
pub const ENTRY_BYTES_MAX: usize = TEXT_BYTES_MAX + APP_KIND_MAX + EXTENSIONS_BYTES_MAX + 128;

/// Longest topic of a room, in bytes.
pub const TOPIC_BYTES_MAX: usize = 512;

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
    /// Erases an earlier entry of the same author, on every node that has it. The header names that
    /// entry, the body is empty, and this entry itself is never erased.
    Delete {
        /// The log of the entry to erase. It belongs to the same author and conversation.
        log: LogId,
        /// The number of the entry in that log.
        seq: Seq,
    },
    /// A text that answers another message of the conversation, which the header names.
    Reply {
        /// The message that is answered.
        to: EntryRef,
        /// A text of at most [`TEXT_BYTES_MAX`] bytes.
        text: String,
    },
    /// Replaces the text of an earlier message of the same author. The header names that message,
    /// never another edit of it.
    Edit {
        /// The log of the message. It belongs to the same author and conversation.
        log: LogId,
        /// The number of the message in that log.
        seq: Seq,
        /// The new text, of at most [`TEXT_BYTES_MAX`] bytes.
        text: String,
    },
    /// Adds an emoji to a message of the conversation, or takes it back. The header names that
    /// message.
    React {
        /// The message.
        to: EntryRef,
        /// One grapheme: see [`reaction::check`].
        emoji: String,
        /// Whether the emoji is added. Otherwise the author takes it back.
        on: bool,
    },
    /// Replaces the topic of a room. An empty text removes it.
    Topic(String),
    /// Pins a message of the conversation, or takes it back. The header names that message.
    Pin {
        /// The message.
        to: EntryRef,
        /// Whether the message is pinned from now on.
        on: bool,
    },
    /// The body is gone: only its hash is left. The entry keeps its place and its header.
    Erased {
        /// The number of the kind.
        kind: u16,
        /// The hash of the body.
        hash: BodyHash,
    },
    /// A body that only a newer version understands, or an invalid offer. It is stored and forwarded
    /// unchanged.
    Unknown {
        /// The number of the kind.
        kind: u16,
        /// Its bytes.
        bytes: Vec<u8>,
    },
}

/// How an entry relates to the entry that its header names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// It answers it.
    Reply,
    /// It replaces its text.
    Edit,
    /// It adds an emoji to it, or takes one back.
    React,
    /// It erases it.
    Delete,
    /// It pins it, or takes that back.
    Pin,
}

/// One decoded entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Lamport's clock: one more than the highest number that the author had seen in the
    /// conversation.
    pub lamport: u64,
    /// The author's wall clock, in milliseconds since the Unix epoch. Shown, never trusted.
    pub sent_at_ms: u64,
    /// The header's extensions, apart from those that are part of `body`.
    pub extensions: Extensions,
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
    /// A topic of more than [`TOPIC_BYTES_MAX`] bytes.
    #[error("a topic holds at most {TOPIC_BYTES_MAX} bytes; this one has {0}")]
    TopicTooLong(usize),
    /// An invalid emoji.
    #[error(transparent)]
    Reaction(#[from] ReactionError),
    /// A body of a kind that this version does not know.
    #[error("this version of hobnob can forward messages of kind {0} but cannot write them")]
    Unknown(u16),
    /// A deletion or an erased body.
    #[error("this is not a message that can be sent")]
    NotAMessage,
}

const KIND_TEXT: u16 = 1;
const KIND_APP: u16 = 2;
const KIND_OFFER: u16 = 3;
const KIND_DELETE: u16 = 4;
const KIND_REPLY: u16 = 5;
const KIND_EDIT: u16 = 6;
const KIND_REACT: u16 = 7;
const KIND_TOPIC: u16 = 8;
const KIND_PIN: u16 = 9;

/// The part of an encoded entry that follows its header.
///
/// As an enum of bincode it is a number, and then a hash or a salt and a slice. It is encoded here
/// because serde encodes a salt byte by byte, which would take half of the time of an entry.
#[derive(Debug, Clone, Copy)]
enum Content<'a> {
    Erased(BodyHash),
    Whole(Salt, &'a [u8]),
}

const CONTENT_ERASED: u32 = 0;
const CONTENT_WHOLE: u32 = 1;

/// Memory of the kind of a content.
const CONTENT_KIND_MEMORY: usize = size_of::<u32>();

/// Memory of a body: that of an entry, without the kind and the salt.
const BODY_MEMORY: usize = ENTRY_BYTES_MAX - CONTENT_KIND_MEMORY - size_of::<Salt>();

impl<'a> Content<'a> {
    /// Encodes the content behind what `out` has.
    fn append_to(&self, out: &mut Vec<u8>) {
        match self {
            Content::Erased(hash) => {
                codec::append(&CONTENT_ERASED, out);
                out.extend_from_slice(hash.as_bytes());
            }
            Content::Whole(salt, body) => {
                codec::append(&CONTENT_WHOLE, out);
                out.extend_from_slice(salt);
                codec::append(&Raw(body), out);
            }
        }
    }

    /// Reads the content at the front of `bytes`. Returns it with the bytes that follow.
    fn read_prefix(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), CodecError> {
        let short = || CodecError::Malformed("an entry that ends early".to_owned());
        let (kind, rest) = codec::decode_prefix::<u32, CONTENT_KIND_MEMORY>(bytes)?;
        match kind {
            CONTENT_ERASED => {
                let (hash, rest) = rest.split_first_chunk().ok_or_else(short)?;
                Ok((Content::Erased(BodyHash::from_bytes(*hash)), rest))
            }
            CONTENT_WHOLE => {
                let (salt, rest) = rest.split_first_chunk().ok_or_else(short)?;
                let (Raw(body), rest) = codec::decode_prefix::<_, BODY_MEMORY>(rest)?;
                Ok((Content::Whole(*salt, body), rest))
            }
            other => Err(CodecError::Malformed(format!(
                "an entry with content of kind {other}"
            ))),
        }
    }

    fn body_hash(&self, key: &BodyKey, seq: Seq) -> BodyHash {
        match self {
            Content::Erased(hash) => *hash,
            Content::Whole(salt, body) => key.hash(seq, salt, body),
        }
    }
}

/// An encoded entry at the front of some bytes, with its parts found and its body not yet read.
#[derive(Debug)]
pub(crate) struct EncodedEntry<'a> {
    header: Header,
    header_bytes: &'a [u8],
    content: Content<'a>,
    /// The length of the whole entry.
    pub(crate) len: usize,
}

impl<'a> EncodedEntry<'a> {
    pub(crate) fn read_prefix(bytes: &'a [u8]) -> Result<Self, CodecError> {
        let (header, rest) = Header::decode_prefix(bytes)?;
        let header_bytes = &bytes[..bytes.len() - rest.len()];
        let (content, rest) = Content::read_prefix(rest)?;
        Ok(Self {
            header,
            header_bytes,
            content,
            len: bytes.len() - rest.len(),
        })
    }

    /// The hash of the entry at `seq` of the log with this key.
    pub(crate) fn hash_after(&self, prev: &EntryHash, key: &BodyKey, seq: Seq) -> EntryHash {
        prev.next(seq, self.header_bytes, &self.content.body_hash(key, seq))
    }

    /// The same entry without its body.
    pub(crate) fn erased(&self, key: &BodyKey, seq: Seq) -> Vec<u8> {
        let mut bytes = self.header_bytes.to_vec();
        Content::Erased(self.content.body_hash(key, seq)).append_to(&mut bytes);
        bytes
    }

    /// Reads the body.
    pub(crate) fn entry(self) -> Result<Entry, CodecError> {
        let Header {
            kind,
            lamport,
            sent_at_ms,
            mut extensions,
        } = self.header;
        let body = match self.content {
            // A deletion without its body would look like any other erased entry.
            Content::Erased(_) if kind == KIND_DELETE => {
                return Err(CodecError::Malformed("an erased deletion".to_owned()));
            }
            Content::Erased(hash) => Body::Erased { kind, hash },
            Content::Whole(_, bytes) => Body::read(kind, &mut extensions, bytes)?,
        };
        body.check()
            .map_err(|e| CodecError::Malformed(e.to_string()))?;
        Ok(Entry {
            lamport,
            sent_at_ms,
            extensions,
            body,
        })
    }
}

/// The hash of the encoded entry `bytes` at `seq` of the log with this key. Its predecessor has the
/// hash `prev`.
pub fn hash_after(
    prev: &EntryHash,
    key: &BodyKey,
    seq: Seq,
    bytes: &[u8],
) -> Result<EntryHash, CodecError> {
    Ok(EncodedEntry::read_prefix(bytes)?.hash_after(prev, key, seq))
}

/// The encoded entry `bytes` without its body.
pub fn erase(key: &BodyKey, seq: Seq, bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
    Ok(EncodedEntry::read_prefix(bytes)?.erased(key, seq))
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
            Body::Delete { .. } | Body::Erased { .. } => Err(BodyError::NotAMessage),
            Body::Text(_)
            | Body::App { .. }
            | Body::Offer(_)
            | Body::Reply { .. }
            | Body::Edit { .. }
            | Body::React { .. }
            | Body::Topic(_)
            | Body::Pin { .. } => self.check(),
        }
    }

    /// Checks whether this body may be sent, by its author or by a peer that forwards it.
    pub fn check(&self) -> Result<(), BodyError> {
        match self {
            Body::Text(text) | Body::Reply { text, .. } | Body::Edit { text, .. }
                if text.is_empty() =>
            {
                Err(BodyError::Empty)
            }
            Body::Text(text) | Body::Reply { text, .. } | Body::Edit { text, .. }
                if text.len() > TEXT_BYTES_MAX =>
            {
                Err(BodyError::TextTooLong(text.len()))
            }
            Body::React { emoji, .. } => Ok(reaction::check(emoji)?),
            Body::Topic(topic) if topic.len() > TOPIC_BYTES_MAX => {
                Err(BodyError::TopicTooLong(topic.len()))
            }
            Body::App { kind, .. } if !is_app_kind(kind) => Err(BodyError::AppKind),
            Body::App { bytes, .. } | Body::Unknown { bytes, .. }
                if bytes.len() > TEXT_BYTES_MAX =>
            {
                Err(BodyError::AppTooLong(bytes.len()))
            }
            Body::Offer(offer) => Ok(offer.check()?),
            Body::Text(_)
            | Body::App { .. }
            | Body::Reply { .. }
            | Body::Edit { .. }
            | Body::Topic(_)
            | Body::Pin { .. }
            | Body::Delete { .. }
            | Body::Erased { .. }
            | Body::Unknown { .. } => Ok(()),
        }
    }

    /// Whether this is a deletion, also one that only a newer version understands. A deletion is
    /// never erased.
    pub fn is_deletion(&self) -> bool {
        match self {
            Body::Delete { .. } => true,
            Body::Unknown { kind, .. } => *kind == KIND_DELETE,
            Body::Text(_)
            | Body::App { .. }
            | Body::Offer(_)
            | Body::Reply { .. }
            | Body::Edit { .. }
            | Body::React { .. }
            | Body::Topic(_)
            | Body::Pin { .. }
            | Body::Erased { .. } => false,
        }
    }

    /// How this relates to the entry that the header names, also if the body is erased.
    pub fn relation(&self) -> Option<Relation> {
        match self {
            Body::Reply { .. } => Some(Relation::Reply),
            Body::Edit { .. } => Some(Relation::Edit),
            Body::React { .. } => Some(Relation::React),
            Body::Pin { .. } => Some(Relation::Pin),
            Body::Delete { .. } => Some(Relation::Delete),
            Body::Erased { kind, .. } => match *kind {
                KIND_REPLY => Some(Relation::Reply),
                KIND_EDIT => Some(Relation::Edit),
                KIND_REACT => Some(Relation::React),
                KIND_PIN => Some(Relation::Pin),
                _ => None,
            },
            Body::Text(_)
            | Body::App { .. }
            | Body::Offer(_)
            | Body::Topic(_)
            | Body::Unknown { .. } => None,
        }
    }

    /// Whether this only changes how another message is shown: an edit or a reaction, also an erased
    /// one.
    pub fn is_amendment(&self) -> bool {
        matches!(self.relation(), Some(Relation::Edit | Relation::React))
    }

    /// The words of a message that its author may replace.
    pub fn text(&self) -> Option<&str> {
        match self {
            Body::Text(text) | Body::Reply { text, .. } | Body::Edit { text, .. } => Some(text),
            Body::App { .. }
            | Body::Offer(_)
            | Body::Delete { .. }
            | Body::React { .. }
            | Body::Topic(_)
            | Body::Pin { .. }
            | Body::Erased { .. }
            | Body::Unknown { .. } => None,
        }
    }

    /// The entry that this one is about, if the body names one.
    pub fn about(&self) -> Option<EntryRef> {
        match self {
            Body::Reply { to, .. } | Body::React { to, .. } | Body::Pin { to, .. } => Some(*to),
            Body::Delete { log, seq } | Body::Edit { log, seq, .. } => Some(EntryRef {
                author: None,
                log: *log,
                seq: *seq,
            }),
            Body::Text(_)
            | Body::App { .. }
            | Body::Offer(_)
            | Body::Topic(_)
            | Body::Erased { .. }
            | Body::Unknown { .. } => None,
        }
    }

    /// Whether the body is gone.
    pub fn is_erased(&self) -> bool {
        matches!(self, Body::Erased { .. })
    }

    /// Reads a body. What it uses of the extensions leaves the list.
    fn read(kind: u16, extensions: &mut Extensions, bytes: &[u8]) -> Result<Self, CodecError> {
        let unknown = || Body::Unknown {
            kind,
            bytes: bytes.to_vec(),
        };
        // A deletion is never erased. So its body must be empty, also in a newer version.
        if kind == KIND_DELETE && !bytes.is_empty() {
            return Err(CodecError::Malformed("a deletion with a body".to_owned()));
        }
        if extensions.need_newer_version() {
            return Ok(unknown());
        }
        Ok(match kind {
            KIND_TEXT => Body::Text(text_of(bytes)?),
            KIND_APP => {
                let (kind, bytes) = codec::decode::<(String, Vec<u8>), ENTRY_BYTES_MAX>(bytes)?;
                Body::App { kind, bytes }
            }
            KIND_OFFER => Offer::decode(bytes).map_or_else(unknown, Body::Offer),
            KIND_DELETE => {
                let (log, seq) = take_own_target(extensions, "a deletion")?;
                Body::Delete { log, seq }
            }
            KIND_REPLY => {
                let text = text_of(bytes)?;
                let to = take_target(extensions, "a reply")?;
                Body::Reply { to, text }
            }
            KIND_EDIT => {
                let text = text_of(bytes)?;
                let (log, seq) = take_own_target(extensions, "an edit")?;
                Body::Edit { log, seq, text }
            }
            KIND_REACT => match reaction::decode(bytes) {
                Some((emoji, on)) => {
                    let to = take_target(extensions, "a reaction")?;
                    Body::React { to, emoji, on }
                }
                None => unknown(),
            },
            KIND_TOPIC if bytes.len() <= TOPIC_BYTES_MAX => Body::Topic(text_of(bytes)?),
            KIND_PIN => match bytes {
                [on @ (0 | 1)] => {
                    let to = take_target(extensions, "a pin")?;
                    Body::Pin { to, on: *on == 1 }
                }
                _ => unknown(),
            },
            _ => unknown(),
        })
    }
}

fn text_of(bytes: &[u8]) -> Result<String, CodecError> {
    let text = std::str::from_utf8(bytes);
    let text = text.map_err(|error| CodecError::Malformed(error.to_string()))?;
    Ok(text.to_owned())
}

/// Takes the reference out of the header.
fn take_target(extensions: &mut Extensions, what: &str) -> Result<EntryRef, CodecError> {
    let about = extensions.about();
    let about = about.ok_or_else(|| CodecError::Malformed(format!("{what} of nothing")))?;
    extensions.take(tag::ABOUT);
    Ok(about)
}

/// Takes a reference to an entry of the same author out of the header.
fn take_own_target(extensions: &mut Extensions, what: &str) -> Result<(LogId, Seq), CodecError> {
    match take_target(extensions, what)? {
        EntryRef {
            author: None,
            log,
            seq,
        } => Ok((log, seq)),
        EntryRef { .. } => Err(CodecError::Malformed(format!(
            "{what} of somebody else's message"
        ))),
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
    /// An entry without extensions.
    pub fn new(lamport: u64, sent_at_ms: u64, body: Body) -> Self {
        Self {
            lamport,
            sent_at_ms,
            extensions: Extensions::default(),
            body,
        }
    }

    /// The entry that this one is about, also if this version cannot read the body.
    pub fn about(&self) -> Option<EntryRef> {
        self.body.about().or_else(|| self.extensions.about())
    }

    /// The bytes that travel, are hashed, and are kept. The body must have passed [`Body::check`].
    pub fn encode(&self, salt: &Salt) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.with_content(salt, |kind, extensions, content| {
            Header::append_parts(&mut bytes, kind, self.lamport, self.sent_at_ms, extensions);
            content.append_to(&mut bytes);
        });
        bytes
    }

    /// Encodes the entry at `seq` behind what `out` has. Returns its hash. `key` is that of the log,
    /// `prev` the hash of the entry before.
    pub(crate) fn append_to(
        &self,
        out: &mut Vec<u8>,
        salt: &Salt,
        key: &BodyKey,
        seq: Seq,
        prev: &EntryHash,
    ) -> EntryHash {
        self.with_content(salt, |kind, extensions, content| {
            let begin = out.len();
            Header::append_parts(out, kind, self.lamport, self.sent_at_ms, extensions);
            let hash = prev.next(seq, &out[begin..], &content.body_hash(key, seq));
            content.append_to(out);
            hash
        })
    }

    /// Calls `encode` with the kind, the extensions and the content of this entry.
    fn with_content<T>(
        &self,
        salt: &Salt,
        encode: impl FnOnce(u16, &Extensions, Content<'_>) -> T,
    ) -> T {
        let (app, offered, reaction);
        let with_about = self.body.about().map(|about| {
            let mut extensions = self.extensions.clone();
            extensions.set_about(&about);
            extensions
        });
        let (kind, content) = match &self.body {
            Body::Text(text) => (KIND_TEXT, Content::Whole(*salt, text.as_bytes())),
            Body::App { kind, bytes } => {
                app = codec::encode(&(kind, bytes));
                (KIND_APP, Content::Whole(*salt, &app))
            }
            Body::Offer(offer) => {
                offered = offer.encode();
                (KIND_OFFER, Content::Whole(*salt, &offered))
            }
            Body::Delete { .. } => (KIND_DELETE, Content::Whole(*salt, &[])),
            Body::Reply { text, .. } => (KIND_REPLY, Content::Whole(*salt, text.as_bytes())),
            Body::Edit { text, .. } => (KIND_EDIT, Content::Whole(*salt, text.as_bytes())),
            Body::React { emoji, on, .. } => {
                reaction = reaction::encode(emoji, *on);
                (KIND_REACT, Content::Whole(*salt, &reaction))
            }
            Body::Topic(topic) => (KIND_TOPIC, Content::Whole(*salt, topic.as_bytes())),
            Body::Pin { on: true, .. } => (KIND_PIN, Content::Whole(*salt, &[1])),
            Body::Pin { on: false, .. } => (KIND_PIN, Content::Whole(*salt, &[0])),
            Body::Erased { kind, hash } => (*kind, Content::Erased(*hash)),
            Body::Unknown { kind, bytes } => (*kind, Content::Whole(*salt, bytes)),
        };
        let extensions = with_about.as_ref().unwrap_or(&self.extensions);
        encode(kind, extensions, content)
    }

    /// Reads the entry at the front of `bytes`; returns it with how many bytes it took.
    pub fn decode_prefix(bytes: &[u8]) -> Result<(Entry, usize), CodecError> {
        let encoded = EncodedEntry::read_prefix(bytes)?;
        let len = encoded.len;
        Ok((encoded.entry()?, len))
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
    use crate::conversation::ConversationId;
    use crate::identity::PersonId;
    use crate::log::LogName;
    use crate::offer::{ContentHash, Folder};
    use proptest::prelude::*;

    const SALT: Salt = [6; 16];

    fn encoded(content: Content<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        content.append_to(&mut bytes);
        bytes
    }

    fn header(kind: u16, lamport: u64, sent_at_ms: u64, extensions: &Extensions) -> Vec<u8> {
        let mut bytes = Vec::new();
        Header::append_parts(&mut bytes, kind, lamport, sent_at_ms, extensions);
        bytes
    }

    #[test]
    fn golden_bytes_of_a_text() {
        let entry = Entry::new(3, 1_000, Body::Text("hi".into()));
        let header = [1, 3, 251, 0xe8, 0x03, 0];
        let bytes = [&header[..], &[1], &SALT, &[2, b'h', b'i']].concat();
        assert_eq!(entry.encode(&SALT), bytes);
        assert_eq!(Entry::decode(&bytes), Ok(entry));
    }

    #[test]
    fn golden_bytes_of_an_erased_text() {
        let hash = BodyHash::from_bytes([7; 32]);
        let entry = Entry::new(3, 9, Body::Erased { kind: 1, hash });
        let bytes = [&[1, 3, 9, 0, 0][..], &[7; 32]].concat();
        assert_eq!(entry.encode(&SALT), bytes);
        assert_eq!(Entry::decode(&bytes), Ok(entry));
    }

    #[test]
    fn golden_bytes_of_a_deletion() {
        let log = LogId(5);
        let entry = Entry::new(3, 9, Body::Delete { log, seq: 2 });
        let header = [4, 3, 9, 1, 1, 3, 0, 5, 2];
        let bytes = [&header[..], &[1], &SALT, &[0]].concat();
        assert_eq!(entry.encode(&SALT), bytes);
        assert_eq!(Entry::decode(&bytes), Ok(entry));
    }

    fn target(author: Option<PersonId>) -> EntryRef {
        let (log, seq) = (LogId(5), 2);
        EntryRef { author, log, seq }
    }

    #[test]
    fn golden_bytes_of_a_reply_an_edit_and_a_reaction() {
        let bob = PersonId::from_bytes([8; 32]);
        let (own, of_bob) = (
            vec![9, 1, 1, 3, 0, 5, 2],
            [&[9, 1, 1, 35, 1][..], &[8; 32], &[5, 2]].concat(),
        );
        let (log, seq, to) = (LogId(5), 2, target(Some(bob)));
        let (text, emoji, on) = ("hi".to_owned(), "👍".to_owned(), true);
        let bodies = [
            (
                5,
                &of_bob,
                Body::Reply {
                    to,
                    text: text.clone(),
                },
                b"hi".to_vec(),
            ),
            (6, &own, Body::Edit { log, seq, text }, b"hi".to_vec()),
            (
                7,
                &of_bob,
                Body::React { to, emoji, on },
                [&[1, 4], "👍".as_bytes()].concat(),
            ),
        ];
        for (kind, header, body, content) in bodies {
            let length = u8::try_from(content.len()).expect("it is short");
            let start = [&[kind, 3][..], header, &[1], &SALT, &[length]].concat();
            let bytes = [start, content].concat();
            let entry = Entry::new(3, 9, body);
            assert_eq!(entry.encode(&SALT), bytes, "{kind}");
            assert_eq!(Entry::decode(&bytes), Ok(entry));
        }
    }

    #[test]
    fn golden_bytes_of_a_topic_and_a_pin() {
        let bob = PersonId::from_bytes([8; 32]);
        let of_bob = [&[9, 1, 1, 35, 1][..], &[8; 32], &[5, 2]].concat();
        let to = target(Some(bob));
        let bodies = [
            (8, vec![9, 0], Body::Topic("hi".to_owned()), b"hi".to_vec()),
            (8, vec![9, 0], Body::Topic(String::new()), Vec::new()),
            (9, of_bob.clone(), Body::Pin { to, on: true }, vec![1]),
            (9, of_bob, Body::Pin { to, on: false }, vec![0]),
        ];
        for (kind, header, body, content) in bodies {
            let length = u8::try_from(content.len()).expect("it is short");
            let start = [&[kind, 3][..], &header, &[1], &SALT, &[length]].concat();
            let bytes = [start, content].concat();
            let entry = Entry::new(3, 9, body);
            assert_eq!(entry.encode(&SALT), bytes, "{kind}");
            assert_eq!(Entry::decode(&bytes), Ok(entry));
        }
    }

    #[test]
    fn a_topic_that_is_too_long_and_a_pin_of_another_form_are_kept_as_they_came() {
        let long = "x".repeat(TOPIC_BYTES_MAX + 1);
        for (kind, bytes) in [
            (8, long.clone().into_bytes()),
            (9, vec![2]),
            (9, vec![1, 1]),
        ] {
            let entry = Entry::new(1, 2, Body::Unknown { kind, bytes });
            assert_eq!(Entry::decode(&entry.encode(&SALT)), Ok(entry));
        }
        let longest = Body::Topic("x".repeat(TOPIC_BYTES_MAX));
        assert_eq!(longest.check_own(), Ok(()));
        let error = BodyError::TopicTooLong(TOPIC_BYTES_MAX + 1);
        assert_eq!(Body::Topic(long).check_own(), Err(error));
    }

    #[test]
    fn golden_bytes_of_a_kind_from_the_future() {
        // A newer version may add a kind, and say in the header what it is about.
        let (kind, bytes) = (900, vec![1, 2, 3]);
        let mut entry = Entry::new(3, 9, Body::Unknown { kind, bytes });
        entry.extensions.set_about(&target(None));
        entry.extensions.set(36, b"x".to_vec());
        let header = [251, 0x84, 0x03, 3, 9, 2, 1, 3, 0, 5, 2, 36, 1, b'x'];
        let encoded = [&header[..], &[1], &SALT, &[3, 1, 2, 3]].concat();
        assert_eq!(entry.encode(&SALT), encoded);
        assert_eq!(Entry::decode(&encoded), Ok(entry.clone()));
        assert_eq!(entry.about(), Some(target(None)));
        assert!(!entry.body.is_amendment() && !entry.body.is_deletion());
    }

    #[test]
    fn an_edit_of_somebody_elses_message_is_refused() {
        let content = encoded(Content::Whole(SALT, b"hi"));
        for (kind, author, is_right) in [
            (KIND_EDIT, None, true),
            (KIND_EDIT, Some(PersonId::from_bytes([8; 32])), false),
            (KIND_REPLY, Some(PersonId::from_bytes([8; 32])), true),
        ] {
            let mut extensions = Extensions::default();
            extensions.set_about(&target(author));
            let header = header(kind, 1, 2, &extensions);
            let read = Entry::decode(&[header, content.clone()].concat());
            assert_eq!(read.is_ok(), is_right, "{kind} {author:?}");
        }
        let nothing = header(KIND_REPLY, 1, 2, &Extensions::default());
        assert!(Entry::decode(&[nothing, content].concat()).is_err());
    }

    #[test]
    fn an_erased_reply_still_names_its_target() {
        let to = target(None);
        let text = "hi".to_owned();
        let reply = Entry::new(3, 9, Body::Reply { to, text });
        let key = BodyKey::of(&LogName {
            conversation: ConversationId::from_bytes([1; 32]),
            author: PersonId::from_bytes([2; 32]),
            device: PersonId::from_bytes([2; 32]).only_device(),
            log: LogId(3),
        });
        let erased = erase(&key, 1, &reply.encode(&SALT)).expect("it can be read");
        let erased = Entry::decode(&erased).expect("it can be read");
        assert_eq!((erased.about(), reply.about()), (Some(to), Some(to)));
        assert!(!erased.body.is_amendment());
    }

    #[test]
    fn an_emoji_that_this_version_does_not_accept_is_kept_as_it_came() {
        let bytes = reaction::encode("two words", true);
        let mut entry = Entry::new(1, 2, Body::Unknown { kind: 7, bytes });
        entry.extensions.set_about(&target(None));
        assert_eq!(Entry::decode(&entry.encode(&SALT)), Ok(entry));
    }

    #[test]
    fn a_deletion_without_a_target_or_with_a_body_or_erased_is_refused() {
        let content = encoded(Content::Whole(SALT, b""));
        let no_target = [&[4, 3, 9, 0][..], &content].concat();
        assert!(Entry::decode(&no_target).is_err());
        let content = encoded(Content::Whole(SALT, b"x"));
        let header = [4, 3, 9, 1, 1, 3, 0, 5, 2];
        assert!(Entry::decode(&[&header[..], &content].concat()).is_err());
        let erased = [&header[..], &[0], &[7; 32]].concat();
        assert!(Entry::decode(&erased).is_err());
    }

    #[test]
    fn a_deletion_that_needs_a_newer_version_is_still_a_deletion() {
        let body = |bytes| Body::Unknown {
            kind: KIND_DELETE,
            bytes,
        };
        let mut entry = Entry::new(1, 2, body(Vec::new()));
        entry.extensions.set(34, b"even: must be known".to_vec());
        assert_eq!(Entry::decode(&entry.encode(&SALT)), Ok(entry.clone()));
        assert!(entry.body.is_deletion());
        entry.body = body(b"nobody could erase this".to_vec());
        assert!(Entry::decode(&entry.encode(&SALT)).is_err());
    }

    #[test]
    fn an_erased_entry_has_the_same_hash() {
        let key = BodyKey::of(&LogName {
            conversation: ConversationId::from_bytes([1; 32]),
            author: PersonId::from_bytes([2; 32]),
            device: PersonId::from_bytes([2; 32]).only_device(),
            log: LogId(3),
        });
        let mut entry = Entry::new(3, 9, Body::Text("hi".into()));
        entry.extensions.set(9, b"kept".to_vec());
        let (prev, bytes) = (EntryHash::from_bytes([5; 32]), entry.encode(&SALT));
        let erased = erase(&key, 4, &bytes).expect("it can be read");
        let hash = |bytes| hash_after(&prev, &key, 4, bytes);
        assert_eq!(hash(&bytes), hash(&erased));
        let left = Entry::decode(&erased).expect("it can be read");
        assert!(left.body.is_erased());
        assert_eq!(left.extensions, entry.extensions);
        // Erasing twice changes nothing.
        assert_eq!(erase(&key, 4, &erased), Ok(erased));
    }

    #[test]
    fn extensions_from_the_future_are_kept() {
        let mut entry = Entry::new(1, 2, Body::Text("hi".into()));
        entry.extensions.set(33, b"odd: may be ignored".to_vec());
        assert_eq!(Entry::decode(&entry.encode(&SALT)), Ok(entry.clone()));
        entry.extensions.set(34, b"even: must be known".to_vec());
        let read = Entry::decode(&entry.encode(&SALT)).expect("it is well formed");
        let (kind, bytes) = (KIND_TEXT, b"hi".to_vec());
        assert_eq!(read.body, Body::Unknown { kind, bytes });
        assert_eq!(read.encode(&SALT), entry.encode(&SALT));
    }

    #[test]
    fn golden_bytes_of_an_offer() {
        let file = Offer {
            attributes: crate::offer::Attributes::default(),
            caption: String::new(),
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
        // Not private, not executable, no time, no caption.
        let attributes = [0, 0, 0, 0];
        for (offer, end) in [(file, vec![0]), (folder, vec![1, 9, 2])] {
            let end = [end, attributes.to_vec()].concat();
            let body = [body.clone(), end].concat();
            let bytes = [
                vec![3, 3, 9, 0, 1],
                SALT.to_vec(),
                vec![u8::try_from(body.len()).expect("short")],
                body,
            ]
            .concat();
            let entry = Entry::new(3, 9, Body::Offer(offer));
            assert_eq!(entry.encode(&SALT), bytes);
            assert_eq!(Entry::decode(&bytes), Ok(entry));
        }
    }

    #[test]
    fn an_offer_that_makes_no_sense_is_kept_as_it_came() {
        let (kind, bytes) = (KIND_OFFER, vec![1, 2, 3]);
        let senseless = Entry::new(1, 0, Body::Unknown { kind, bytes });
        assert_eq!(Entry::decode(&senseless.encode(&SALT)), Ok(senseless));
    }

    #[test]
    fn bodies_that_may_not_be_sent_are_not_read_either() {
        let of = |body| Entry::new(1, 0, body);
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
            assert!(Entry::decode(&of(body).encode(&SALT)).is_err());
        }
        let content = encoded(Content::Whole(SALT, &[0xff]));
        let not_utf8 = [&[1, 1, 0, 0][..], &content].concat();
        assert!(Entry::decode(&not_utf8).is_err());
        let longest = of(Body::Text("x".repeat(TEXT_BYTES_MAX)));
        assert_eq!(Entry::decode(&longest.encode(&SALT)), Ok(longest));
    }

    fn any_body() -> impl Strategy<Value = Body> {
        prop_oneof![
            ".{1,200}".prop_map(Body::Text),
            (
                "[a-z]{1,20}(\\.[a-z0-9_-]{1,10}){1,3}",
                proptest::collection::vec(any::<u8>(), 0..200)
            )
                .prop_map(|(kind, bytes)| Body::App { kind, bytes }),
            (8u16.., proptest::collection::vec(any::<u8>(), 0..200))
                .prop_map(|(kind, bytes)| Body::Unknown { kind, bytes }),
        ]
    }

    proptest! {
        #[test]
        fn any_entry_round_trips(lamport: u64, sent_at_ms: u64, body in any_body()) {
            let entry = Entry::new(lamport, sent_at_ms, body);
            prop_assert_eq!(Entry::decode(&entry.encode(&SALT)), Ok(entry));
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Entry::decode(&bytes);
        }
    }
}
