//! How values are written for people: sizes, and a text as lines that IRC can carry.

use hobnob_protocol::text::visible;

/// What a message that is an action begins with: `/me waves`.
pub(crate) const ACTION: &str = "/me ";

/// A size in bytes as people write it.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    for (unit, name) in UNITS {
        if bytes >= unit {
            return format!("{}.{} {name}", bytes / unit, bytes % unit / (unit / 10));
        }
    }
    format!("{bytes} bytes")
}

/// The lines of a peer's text, each without characters that could disturb a screen.
pub(crate) fn lines(text: &str) -> Vec<String> {
    let lines = text.split(['\n', '\r']).filter(|line| !line.is_empty());
    let shown: Vec<String> = lines.map(|line| visible(line).into_owned()).collect();
    if shown.is_empty() {
        vec![" ".to_owned()]
    } else {
        shown
    }
}

/// A client's text without the codes for bold, colours and the like.
pub(crate) fn without_codes(text: &str) -> String {
    const COLOUR: char = '\u{3}';
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == COLOUR {
            // At most two digits, and two more after a comma.
            let digits = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
                (0..2)
                    .filter(|_| chars.next_if(char::is_ascii_digit).is_some())
                    .count()
            };
            if digits(&mut chars) > 0 {
                let mut ahead = chars.clone();
                if ahead.next() == Some(',') && ahead.next().is_some_and(|c| c.is_ascii_digit()) {
                    chars.next();
                    digits(&mut chars);
                }
            }
        } else if !c.is_control() || c == '\t' {
            plain.push(c);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!(size(999), "999 bytes");
        assert_eq!(size(3_140_000), "3.1 MB");
        assert_eq!(size(2_000_000_000), "2.0 GB");
    }

    #[test]
    fn a_text_becomes_lines_without_controls() {
        assert_eq!(lines("one\r\n\ntwo"), ["one", "two"]);
        assert_eq!(lines("\u{1}VERSION\u{1}"), ["␁VERSION␁"]);
        assert_eq!(lines("\n"), [" "]);
    }

    #[test]
    fn colours_and_bold_are_removed() {
        assert_eq!(
            without_codes("\u{2}bold\u{f} \u{3}04,12red\u{3} 5\t\u{1f}u"),
            "bold red 5\tu"
        );
        assert_eq!(without_codes("\u{3}4,x"), ",x");
    }
}
