//! Reads lines of bounded length from a socket.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// The result of [`Lines::next`].
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A line, without its line feed.
    Whole(&'a [u8]),
    /// A line longer than the limit. It was skipped.
    TooLong,
    /// The end of the stream. An unfinished line is dropped, because it may be incomplete.
    End,
}

/// Reads lines from `reader`. It never stores more than `max` bytes of a line.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// use hobnob_local::line::{Line, Lines};
///
/// let mut lines = Lines::new(&b"far too long\nshort\n"[..], 5);
/// assert_eq!(lines.next().await?, Line::TooLong);
/// assert_eq!(lines.next().await?, Line::Whole(b"short"));
/// assert!(lines.reader().is_empty());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Lines<R> {
    reader: R,
    max: usize,
    /// The bytes of the next line so far. They survive a cancelled `next`, so a `select!` loses no
    /// byte.
    begun: Vec<u8>,
    /// Whether `begun` still has the line that was returned last.
    returned: bool,
    too_long: bool,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    /// Reads from the current position of `reader`.
    pub fn new(reader: R, max: usize) -> Self {
        Self {
            reader,
            max,
            begun: Vec::new(),
            returned: false,
            too_long: false,
        }
    }

    /// The underlying reader.
    pub fn reader(&self) -> &R {
        &self.reader
    }

    /// Waits for the next line. Cancel safe.
    pub async fn next(&mut self) -> io::Result<Line<'_>> {
        if std::mem::take(&mut self.returned) {
            self.begun.clear();
        }
        loop {
            let bytes = self.reader.fill_buf().await?;
            if bytes.is_empty() {
                return Ok(Line::End);
            }
            let end = bytes.iter().position(|&b| b == b'\n');
            let part = &bytes[..end.unwrap_or(bytes.len())];
            self.too_long |= self.begun.len() + part.len() > self.max;
            if !self.too_long {
                self.begun.extend_from_slice(part);
            }
            let used = end.map_or(bytes.len(), |at| at + 1);
            self.reader.consume(used);
            if end.is_some() {
                self.returned = true;
                let too_long = std::mem::take(&mut self.too_long);
                return Ok(if too_long {
                    Line::TooLong
                } else {
                    Line::Whole(&self.begun)
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::BufReader;

    #[tokio::test]
    async fn lines_are_whole_however_they_arrive_and_long_ones_are_skipped() {
        for capacity in [1, 3, 64] {
            let text = b"one\n\nabcde\nabcdef\ntwo\nunfinished".as_slice();
            let mut lines = Lines::new(BufReader::with_capacity(capacity, text), 5);
            for expected in [
                Line::Whole(b"one"),
                Line::Whole(b""),
                Line::Whole(b"abcde"),
                Line::TooLong,
                Line::Whole(b"two"),
                Line::End,
            ] {
                assert_eq!(lines.next().await.unwrap(), expected);
            }
        }
    }
}
