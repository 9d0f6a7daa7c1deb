//! A peer's text as lines that IRC can carry, and a client's text as hobnob sends it.

use hobnob_protocol::text::visible;

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
