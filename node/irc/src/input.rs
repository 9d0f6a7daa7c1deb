//! Splits what a client sends into lines.

/// Bytes of a client that are not a whole line yet.
#[derive(Debug, Default)]
pub(crate) struct Input {
    bytes: Vec<u8>,
    /// How many of them were searched for a line feed.
    searched: usize,
    /// Whether the rest of a line that is too long is skipped.
    skips: bool,
}

/// The next line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A line without its line feed.
    Line(Vec<u8>),
    /// A line was longer than the limit. Its bytes are dropped.
    TooLong,
    /// More bytes are needed.
    None,
}

impl Input {
    /// Adds bytes that have arrived.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The bytes that are not a line yet.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The next line of at most `most` bytes.
    pub(crate) fn next(&mut self, most: usize) -> Next {
        let end = self.bytes[self.searched..]
            .iter()
            .position(|byte| *byte == b'\n');
        let Some(end) = end.map(|end| self.searched + end) else {
            self.searched = self.bytes.len();
            if self.bytes.len() > most + 1 || self.skips {
                self.bytes.clear();
                self.searched = 0;
                return match std::mem::replace(&mut self.skips, true) {
                    true => Next::None,
                    false => Next::TooLong,
                };
            }
            return Next::None;
        };
        let mut line: Vec<u8> = self.bytes.drain(..=end).collect();
        self.searched = 0;
        line.pop();
        if std::mem::take(&mut self.skips) {
            return self.next(most);
        }
        match line.len() > most {
            true => Next::TooLong,
            false => Next::Line(line),
        }
    }

    /// The last line, which has no line feed, after the client has sent everything.
    pub(crate) fn rest(&mut self) -> Option<Vec<u8>> {
        let skips = std::mem::take(&mut self.skips);
        let rest = std::mem::take(&mut self.bytes);
        self.searched = 0;
        (!rest.is_empty() && !skips).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Next {
        Next::Line(text.as_bytes().to_vec())
    }

    #[test]
    fn lines_are_whole_however_they_arrive() {
        let text = b"one\r\ntwo\n\nthree is too long\nfour\r\nrest";
        for size in 1..=text.len() {
            let mut input = Input::default();
            let mut lines = Vec::new();
            for part in text.chunks(size) {
                input.push(part);
                loop {
                    match input.next(6) {
                        Next::None => break,
                        next @ (Next::Line(_) | Next::TooLong) => lines.push(next),
                    }
                }
            }
            let (two, empty) = (line("two"), line(""));
            let expected = [line("one\r"), two, empty, Next::TooLong, line("four\r")];
            assert_eq!(lines, expected, "in parts of {size} bytes");
            assert_eq!(input.rest(), Some(b"rest".to_vec()));
        }
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let mut input = Input::default();
        let mut too_long = 0;
        for _ in 0..1_000 {
            input.push(&[b'x'; 100]);
            if input.next(150) == Next::TooLong {
                too_long += 1;
            }
            assert!(input.bytes().len() <= 252);
        }
        assert_eq!(too_long, 1);
        input.push(b"x\nnext\n");
        assert_eq!(input.next(150), line("next"));
    }
}
