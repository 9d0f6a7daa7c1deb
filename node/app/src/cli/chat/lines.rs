//! Lines of stdin, read by a thread of their own: a terminal's read can't be cancelled, and must
//! not hold up the end.

use std::io::{BufRead, Read};

use tokio::sync::mpsc;

/// Lines read ahead.
const AHEAD_MAX: usize = 64;

/// Longest line that is taken as one. It is far longer than a message may be, so its parts are
/// refused as well.
const LINE_BYTES_MAX: u64 = 1024 * 1024;

/// The lines of stdin as they come; none after its end.
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

/// The next line without its line break. An input that can't be read any more has ended.
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
