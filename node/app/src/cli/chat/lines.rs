//! Lines of stdin, read by a thread of their own: a read from a terminal can't be cancelled, and must
//! not delay the exit.

use std::io::{BufRead, Read};

use tokio::sync::mpsc;

/// Maximum number of lines that are read ahead.
const AHEAD_MAX: usize = 64;

/// Longest line in bytes. A longer line is split. Its parts still exceed the limit of a message, so
/// they are refused, too.
const LINE_BYTES_MAX: u64 = 1024 * 1024;

/// The lines of stdin as they arrive; none after its end.
pub(crate) fn of_stdin() -> mpsc::Receiver<String> {
    let (lines, receiver) = mpsc::channel(AHEAD_MAX);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        while let Some(line) = next(&mut stdin) {
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The next line without its line break. A read error counts as the end.
fn next(input: &mut impl BufRead) -> Option<String> {
    let mut bytes = Vec::new();
    let read = input
        .take(LINE_BYTES_MAX)
        .read_until(b'\n', &mut bytes)
        .ok()?;
    let text = String::from_utf8_lossy(&bytes);
    (read > 0).then(|| text.trim_end_matches(['\n', '\r']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lose_their_line_break_and_nothing_else() {
        let mut input = b"one\r\n two \n\nlast".as_slice();
        let lines: Vec<String> = std::iter::from_fn(|| next(&mut input)).collect();
        assert_eq!(lines, ["one", " two ", "", "last"]);
    }
}
