//! Reads the head of an HTTP/1.1 request or answer: its first line and its headers.
//!
//! It is a parser for the few heads that the carrier exchanges, with limits for each part. A head
//! that is odd in any way is an error.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Most bytes of a head.
pub const HEAD_MAX: usize = 8 * 1024;

/// Most headers of a head.
const HEADERS_MAX: usize = 64;

/// Bytes read at once. What follows the head is given back.
const READ_BYTES: usize = 1024;

/// Why there is no head.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// The connection ended first.
    #[error("the connection ended before a whole HTTP head")]
    Ended,
    /// The head is longer than allowed.
    #[error("an HTTP head of more than {HEAD_MAX} bytes or {HEADERS_MAX} headers")]
    TooLong,
    /// It is no HTTP/1.1 head.
    #[error("no HTTP/1.1 head")]
    Malformed,
    /// The connection broke.
    #[error(transparent)]
    Broken(#[from] io::Error),
}

/// The head of a request or an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The first line.
    pub line: String,
    /// The headers. The names are in lower case.
    headers: Vec<(String, String)>,
}

impl Head {
    /// The values of a header, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a str> {
        let headers = self.headers.iter();
        headers
            .filter(move |(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }

    /// The value of a header that occurs once.
    pub fn one(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(other, _)| other == name);
        let (_, value) = found.next()?;
        found.next().is_none().then_some(value)
    }

    /// Whether a comma-separated header contains this word.
    pub fn has_word(&self, name: &str, word: &str) -> bool {
        let mut words = self.all(name).flat_map(|value| value.split(','));
        words.any(|other| other.trim().eq_ignore_ascii_case(word))
    }

    /// The method and path of a request.
    pub fn request(&self) -> Option<(&str, &str)> {
        let (method, rest) = self.line.split_once(' ')?;
        let (path, version) = rest.split_once(' ')?;
        (version == "HTTP/1.1" && path.starts_with('/')).then_some((method, path))
    }

    /// The status of an answer.
    pub fn status(&self) -> Option<u16> {
        let rest = self.line.strip_prefix("HTTP/1.1 ");
        let rest = rest.or_else(|| self.line.strip_prefix("HTTP/1.0 "))?;
        rest.get(..3)?.parse().ok()
    }

    fn parse(bytes: &[u8]) -> Result<Self, HeadError> {
        let is_text = |byte: &u8| matches!(byte, b' '..=b'~' | b'\r' | b'\n' | b'\t' | 0x80..);
        if !bytes.iter().all(is_text) {
            return Err(HeadError::Malformed);
        }
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        if !line.is_ascii() || line.contains(['\r', '\n']) {
            return Err(HeadError::Malformed);
        }
        let mut headers = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':').ok_or(HeadError::Malformed)?;
            let is_token = |c: char| c.is_ascii_alphanumeric() || "-_.!#$%&'*+^`|~".contains(c);
            // A space before the colon, or a folded line, is how heads are smuggled.
            if name.is_empty() || !name.chars().all(is_token) || value.contains(['\r', '\n']) {
                return Err(HeadError::Malformed);
            }
            if headers.len() == HEADERS_MAX {
                return Err(HeadError::TooLong);
            }
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Self { line, headers })
    }
}

/// Reads a head. `read` contains bytes that were read before; afterwards, the bytes after the head.
pub async fn read_head<R: AsyncRead + Unpin>(
    io: &mut R,
    read: &mut Vec<u8>,
) -> Result<Head, HeadError> {
    let mut searched = 0;
    loop {
        if let Some(end) = end_of_head(read, searched) {
            let rest = read.split_off(end);
            let head = Head::parse(read);
            *read = rest;
            return head;
        }
        if read.len() >= HEAD_MAX {
            return Err(HeadError::TooLong);
        }
        searched = read.len();
        read.reserve(READ_BYTES);
        let n = (&mut *io).take(READ_BYTES as u64).read_buf(read).await?;
        if n == 0 {
            return Err(HeadError::Ended);
        }
    }
}

/// The end of the head, if it is whole. The first bytes were searched before.
fn end_of_head(bytes: &[u8], searched: usize) -> Option<usize> {
    let from = searched.saturating_sub(3);
    let at = bytes[from..]
        .windows(4)
        .position(|four| four == b"\r\n\r\n")?;
    Some(from + at + 4).filter(|end| *end <= HEAD_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a head that arrives in pieces of this size, and the bytes after it.
    async fn read(bytes: &[u8], piece: usize) -> Result<(Head, Vec<u8>), HeadError> {
        let (mut theirs, mut ours) = tokio::io::duplex(piece);
        let bytes = bytes.to_vec();
        let writing = tokio::spawn(async move {
            // The reader may end early.
            let _ = tokio::io::AsyncWriteExt::write_all(&mut theirs, &bytes).await;
        });
        let mut rest = Vec::new();
        let head = read_head(&mut ours, &mut rest).await;
        if head.is_ok() {
            tokio::io::AsyncReadExt::read_to_end(&mut ours, &mut rest).await?;
        }
        drop(ours);
        writing.await.unwrap();
        Ok((head?, rest))
    }

    #[tokio::test]
    async fn a_head_ends_with_an_empty_line() {
        let bytes = b"GET /x HTTP/1.1\r\nHost: a.example\r\nX: 1\r\nx:  2 \r\n\r\nafter";
        for piece in [1, 3, 4096] {
            let (head, rest) = read(bytes, piece).await.unwrap();
            assert_eq!(head.request(), Some(("GET", "/x")));
            assert_eq!(head.one("host"), Some("a.example"));
            assert_eq!(head.one("x"), None, "it occurs twice");
            assert_eq!(head.all("x").collect::<Vec<_>>(), ["1", "2"]);
            assert_eq!(rest, b"after");
        }
    }

    #[tokio::test]
    async fn the_status_of_an_answer_is_read() {
        let (head, _) = read(b"HTTP/1.0 407 Denied\r\n\r\n", 99).await.unwrap();
        assert_eq!((head.status(), head.request()), (Some(407), None));
    }

    #[tokio::test]
    async fn odd_and_endless_heads_are_errors() {
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(65));
        let long = format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "b".repeat(HEAD_MAX));
        for (bytes, why) in [
            (&b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"[..], "no HTTP/1.1"),
            (
                b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
                "no HTTP/1.1",
            ),
            (b"GET / HTTP/1.1\r\nHost: a\nb\r\n\r\n", "no HTTP/1.1"),
            (b"\x16\x03\x01\x00\x05\r\n\r\n", "no HTTP/1.1"),
            (b"GET / HTTP/1.1\r\n", "ended"),
            (many.as_bytes(), "more than"),
            (long.as_bytes(), "more than"),
        ] {
            let error = read(bytes, 4096).await.unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
