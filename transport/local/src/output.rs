//! A program's lines: data to stdout, everything else to stderr; and how lists and counts look.

use std::io::{self, IsTerminal, Write};

/// Prints one line of data.
pub fn line(text: &str) -> io::Result<()> {
    raw(&format!("{text}\n"))
}

/// Prints data that contains its own line breaks.
pub fn raw(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Prints a line that is not data.
pub fn say(text: &str) {
    // A closed stderr is the user's choice.
    let _closed = writeln!(io::stderr(), "{text}");
}

/// Prints a line that is not data, if stderr is a terminal. Scripts use the exit code instead.
pub fn say_on_terminal(text: &str) {
    if io::stderr().is_terminal() {
        say(text);
    }
}

/// `1 message`, `2 messages`.
pub fn count(n: usize, what: &str) -> String {
    if n == 1 {
        format!("1 {what}")
    } else {
        format!("{n} {what}s")
    }
}

/// Like [`count`], for a number that need not fit the memory.
pub fn count_u64(n: u64, what: &str) -> String {
    count(usize::try_from(n).unwrap_or(usize::MAX), what)
}

/// A size in powers of 1000, as file managers show it.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return if bytes == 1 {
            "1 byte".to_owned()
        } else {
            format!("{bytes} bytes")
        };
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "shown with one digit after the point"
    )]
    let mut value = bytes as f64;
    let mut unit = "";
    for next in UNITS {
        if value < 999.95 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// The values, separated by commas.
pub fn join<T: ToString>(values: &[T]) -> String {
    values
        .iter()
        .map(T::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

/// A table without a frame: pads cells to the width of their column, in characters.
pub fn columns<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    rows.iter()
        .map(|row| {
            let cells = row
                .iter()
                .zip(&widths)
                .map(|(cell, &width)| format!("{cell:width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!((size(1), size(999)), ("1 byte".into(), "999 bytes".into()));
        assert_eq!(size(3_140_000), "3.1 MB");
        assert_eq!(size(999_949), "999.9 kB");
        assert_eq!(size(999_950), "1.0 MB");
        assert_eq!(size(u64::MAX), "18446.7 PB");
    }

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let row = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
        assert_eq!(
            columns(&[row("ann", "alive"), row("b", "gone"), row("é", "")]),
            ["ann  alive", "b    gone", "é"]
        );
    }

    #[test]
    fn counts_and_lists_read_as_english() {
        assert_eq!(count(1, "room"), "1 room");
        assert_eq!(count(0, "room"), "0 rooms");
        assert_eq!(join(&[1, 2, 3]), "1, 2, 3");
    }
}
