//! Datagrams and streams of application programs: their names and their form on a session's
//! connection.
//!
//! Two programs that run under the same [`AppName`] at two nodes exchange datagrams and streams of
//! bytes over the nodes' session, beside its messages. Nothing of them is stored. A node sends them
//! only if the peer's Hello has the bit [`APPS`](crate::frame::features::APPS).
//!
//! A *datagram* is a QUIC datagram (RFC 9221): [`DATAGRAM_APP`], the program's [`AppTag`], and at
//! most [`APP_DATAGRAM_MAX`] bytes.
//!
//! A *stream* is a bidirectional QUIC stream. Its opener writes [`STREAM_APP`] and the tag. Then
//! both ends write [`Piece`]s, each with a two-byte big-endian head. An end may send as many bytes
//! as the other end has granted, and the first grant of the other end accepts the stream. So a
//! program that reads slowly delays its own stream only, and no messages on the connection.

use std::fmt;
use std::str::FromStr;

/// Maximum length of the name of an application program.
pub const APP_NAME_BYTES_MAX: usize = 64;

/// Maximum bytes of a datagram of an application program. Each path can carry as many.
pub const APP_DATAGRAM_MAX: usize = 1100;

/// The first byte of a QUIC datagram that belongs to a program.
pub const DATAGRAM_APP: u8 = 1;

/// The first byte of a stream that belongs to a program.
pub const STREAM_APP: u8 = 2;

/// Bytes that an end may have granted and not received, in each direction of a stream.
pub const APP_WINDOW: u32 = 256 * 1024;

/// Maximum bytes of one [`Piece::Bytes`].
pub const PIECE_BYTES_MAX: usize = 16 * 1024;

/// The head of [`Piece::Grant`].
const GRANT: u16 = 0;

/// The head of [`Piece::End`].
const END: u16 = u16::MAX;

/// Why an end resets a stream (RFC 9000 section 19.4).
pub mod reset {
    /// No program with this name runs here, or it has not accepted the peer.
    pub const NOT_HERE: u32 = 1;
    /// As many streams are open as may be.
    pub const BUSY: u32 = 2;
    /// The program has ended the stream.
    pub const CLOSED: u32 = 3;
    /// The peer broke the rules of this module.
    pub const PROTOCOL: u32 = 4;
}

/// The name of an application program: 1 to [`APP_NAME_BYTES_MAX`] of the characters `a` to `z`,
/// `0` to `9`, `.`, `_` and `-`.
///
/// ```
/// use hobnob_protocol::app::AppName;
///
/// let name: AppName = "org.example.pong".parse()?;
/// assert_eq!(name.as_str(), "org.example.pong");
/// assert!("Pong".parse::<AppName>().is_err());
/// # Ok::<(), hobnob_protocol::app::NotAnAppName>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppName(String);

/// The text is no [`AppName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name of a program has 1 to 64 of the characters a to z, 0 to 9, `.`, `_` and `-`")]
pub struct NotAnAppName;

impl AppName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tag by which datagrams and streams name the program.
    pub fn tag(&self) -> AppTag {
        let hash = blake3::derive_key("hobnob 1 app", self.0.as_bytes());
        let mut tag = [0; 8];
        tag.copy_from_slice(&hash[..8]);
        AppTag(tag)
    }
}

impl FromStr for AppName {
    type Err = NotAnAppName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        if (1..=APP_NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAnAppName)
        }
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Eight bytes that stand for an [`AppName`] on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppTag([u8; 8]);

impl AppTag {
    /// Bytes of a tag.
    pub const BYTES: usize = 8;

    /// The tag that these bytes are.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

/// Encodes a datagram. `bytes` has at most [`APP_DATAGRAM_MAX`] bytes.
pub fn encode_datagram(app: AppTag, bytes: &[u8]) -> Vec<u8> {
    debug_assert!(bytes.len() <= APP_DATAGRAM_MAX, "the caller has checked");
    [&[DATAGRAM_APP][..], app.as_bytes(), bytes].concat()
}

/// The program and the bytes of a datagram from a peer. Returns `None` if it is of another kind, or
/// too long.
pub fn decode_datagram(datagram: &[u8]) -> Option<(AppTag, &[u8])> {
    let (kind, rest) = datagram.split_first()?;
    let (tag, bytes) = rest.split_first_chunk()?;
    (*kind == DATAGRAM_APP && bytes.len() <= APP_DATAGRAM_MAX).then_some((AppTag(*tag), bytes))
}

/// Encodes the start of a stream: its first byte, and the program.
pub fn encode_opening(app: AppTag) -> Vec<u8> {
    [&[STREAM_APP][..], app.as_bytes()].concat()
}

/// The head of a piece of a stream: what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// This many bytes for the program, 1 to [`PIECE_BYTES_MAX`].
    Bytes(usize),
    /// A `u32` in big-endian order: the other end may send this many bytes more.
    Grant,
    /// Nothing: this end sends no more bytes. It may still grant.
    End,
}

/// A head of a stream is none of those that this version knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no piece of a stream begins like this")]
pub struct UnknownHead;

impl Head {
    /// Bytes of a head.
    pub const BYTES: usize = 2;

    /// Decodes a head from a peer.
    pub fn decode(head: [u8; Self::BYTES]) -> Result<Self, UnknownHead> {
        match u16::from_be_bytes(head) {
            GRANT => Ok(Head::Grant),
            END => Ok(Head::End),
            len if usize::from(len) <= PIECE_BYTES_MAX => Ok(Head::Bytes(len.into())),
            _ => Err(UnknownHead),
        }
    }
}

/// A piece of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes for the program, 1 to [`PIECE_BYTES_MAX`].
    Bytes(&'a [u8]),
    /// The other end may send this many bytes more.
    Grant(u32),
    /// This end sends no more bytes.
    End,
}

impl Piece<'_> {
    /// Encodes the piece with its head.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Piece::Bytes(bytes) => {
                let len = u16::try_from(bytes.len()).expect("at most PIECE_BYTES_MAX");
                [&len.to_be_bytes()[..], bytes].concat()
            }
            Piece::Grant(more) => [&GRANT.to_be_bytes()[..], &more.to_be_bytes()].concat(),
            Piece::End => END.to_be_bytes().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pong() -> AppName {
        "pong".parse().expect("a name")
    }

    #[test]
    fn names_have_1_to_64_small_letters_digits_and_marks() {
        let longest = "x".repeat(APP_NAME_BYTES_MAX);
        for good in ["a", "org.example.pong_2-x", &longest] {
            assert_eq!(good.parse::<AppName>().expect("a name").as_str(), good);
        }
        let too_long = "x".repeat(APP_NAME_BYTES_MAX + 1);
        for wrong in ["", "Pong", "pöng", "a b", "a\n", "a/b", &too_long] {
            assert_eq!(wrong.parse::<AppName>(), Err(NotAnAppName), "{wrong:?}");
        }
    }

    #[test]
    fn golden_bytes_of_datagrams_and_pieces() {
        let tag = AppTag::from_bytes([1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(
            encode_datagram(tag, b"hi"),
            [1, 1, 2, 3, 4, 5, 6, 7, 8, b'h', b'i']
        );
        assert_eq!(encode_opening(tag), [2, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(Piece::Bytes(b"hi").encode(), [0, 2, b'h', b'i']);
        assert_eq!(Piece::Grant(0x01_02_03_04).encode(), [0, 0, 1, 2, 3, 4]);
        assert_eq!(Piece::End.encode(), [255, 255]);
        assert_ne!(
            pong().tag(),
            "ping".parse::<AppName>().expect("a name").tag()
        );
    }

    #[test]
    fn a_datagram_has_at_most_1100_bytes_and_a_known_kind() {
        let longest = encode_datagram(pong().tag(), &[7; APP_DATAGRAM_MAX]);
        let (tag, bytes) = decode_datagram(&longest).expect("it is whole");
        assert_eq!((tag, bytes.len()), (pong().tag(), APP_DATAGRAM_MAX));
        assert_eq!(decode_datagram(&[&longest[..], &[7]].concat()), None);
        assert_eq!(decode_datagram(&longest[..8]), None, "within the tag");
        assert_eq!(
            decode_datagram(&longest[..9]),
            Some((pong().tag(), &[][..]))
        );
        let mut other = longest.clone();
        other[0] = 3;
        assert_eq!(decode_datagram(&other), None, "of a later version");
    }

    #[test]
    fn a_piece_has_at_most_16384_bytes() {
        let head = |len: usize| Head::decode(u16::try_from(len).expect("small").to_be_bytes());
        assert_eq!(head(1), Ok(Head::Bytes(1)));
        assert_eq!(head(PIECE_BYTES_MAX), Ok(Head::Bytes(PIECE_BYTES_MAX)));
        assert_eq!(head(PIECE_BYTES_MAX + 1), Err(UnknownHead));
        assert_eq!(head(0), Ok(Head::Grant));
        assert_eq!(Head::decode([255, 255]), Ok(Head::End));
        assert_eq!(Head::decode([255, 254]), Err(UnknownHead));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..1200)) {
            if let Some((tag, content)) = decode_datagram(&bytes) {
                prop_assert_eq!(encode_datagram(tag, content), bytes);
            }
        }
    }
}
