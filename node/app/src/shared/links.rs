//! The links in a text.

use std::borrow::Cow;

use hobnob::protocol::text::visible;

/// Longest link in bytes that is found.
const LINK_BYTES_MAX: usize = 2_048;

/// The web addresses in a text, in their order. Each is printable and has no spaces, so it can be an
/// argument of a program.
pub(crate) fn links(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let start = beginning(rest)?;
            let from = &rest[start..];
            let end = from.find(ends).unwrap_or(from.len());
            let link = without_punctuation(&from[..end]);
            rest = &from[end..];
            let host = link.split_once("://").map_or("", |(_, host)| host);
            if !host.is_empty() && link.len() <= LINK_BYTES_MAX {
                return Some(link);
            }
        }
    })
}

/// Where the next link begins. A link in the middle of a word is none.
fn beginning(text: &str) -> Option<usize> {
    let starts = ["https://", "http://"].map(|scheme| text.match_indices(scheme));
    let at = starts.into_iter().flatten().map(|(at, _)| at);
    let is_start = |at: &usize| {
        let before = text[..*at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric())
    };
    at.filter(is_start).min()
}

/// Whether a link ends before this character.
fn ends(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '"' | '`' | '\\')
        // Characters that change the direction of a text, and others that nobody sees.
        || matches!(visible(c.encode_utf8(&mut [0; 4])), Cow::Owned(_))
}

/// The link without the punctuation of the sentence around it.
fn without_punctuation(link: &str) -> &str {
    let mut link = link;
    loop {
        let Some(last) = link.chars().next_back() else {
            return link;
        };
        let opening = match last {
            ')' => Some('('),
            ']' => Some('['),
            '}' => Some('{'),
            _ => None,
        };
        let belongs = match opening {
            // `https://en.wikipedia.org/wiki/Rust_(language)`
            Some(opening) => link.matches(opening).count() >= link.matches(last).count(),
            None => !matches!(
                last,
                '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '*' | '_' | '…'
            ),
        };
        if belongs {
            return link;
        }
        link = &link[..link.len() - last.len_utf8()];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_without_the_punctuation_around_them() {
        for (text, expected) in [
            (
                "see https://example.org/a?b=c#d, please",
                &["https://example.org/a?b=c#d"][..],
            ),
            (
                "(http://a.b) and <https://c.d>.",
                &["http://a.b", "https://c.d"],
            ),
            ("https://a.b/x_(y)", &["https://a.b/x_(y)"]),
            ("[it](https://a.b/c)", &["https://a.b/c"]),
            ("*https://a.b*", &["https://a.b"]),
            ("https://a.b\nhttps://c.d", &["https://a.b", "https://c.d"]),
            ("https://bücher.example/", &["https://bücher.example/"]),
            ("xhttps://a.b", &[]),
            ("https:// and http://.", &[]),
            ("ftp://a.b javascript:alert(1)", &[]),
            ("https://a.b\u{202e}gpj", &["https://a.b"]),
            ("https://a.b\u{1b}[2J", &["https://a.b"]),
        ] {
            assert_eq!(links(text).collect::<Vec<_>>(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_link_has_a_longest_length() {
        let link = |bytes: usize| format!("https://{}", "x".repeat(bytes - 8));
        assert_eq!(links(&link(LINK_BYTES_MAX)).count(), 1);
        assert_eq!(links(&link(LINK_BYTES_MAX + 1)).count(), 0);
    }
}
