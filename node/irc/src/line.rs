//! One line of IRC: tags, source, command and parameters (RFC 2812 section 2.3.1, IRCv3
//! message-tags).
//!
//! [`Line::to_wire`] is the only place that makes bytes for a client. No text that a peer wrote can
//! begin another line there, nor exceed the limits of a line.

use std::borrow::Cow;
use std::fmt::Write;

/// Maximum bytes of a line without its tags, with the CR LF at its end (RFC 2812).
pub(crate) const LINE_BYTES_MAX: usize = 512;

/// Maximum bytes of the tags, with the `@` and the space after them (IRCv3 message-tags).
pub(crate) const TAGS_BYTES_MAX: usize = 8_191;

/// Maximum parameters of a line (RFC 2812).
const PARAMS_MAX: usize = 15;

/// Maximum tags that are read from one line. Further ones are ignored.
const TAGS_MAX: usize = 64;

/// A line that was received or is to be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Line {
    /// Names and values of the tags.
    pub(crate) tags: Vec<(String, String)>,
    /// The sender, without its colon.
    pub(crate) source: Option<String>,
    /// The command, in capitals, or a number of three digits.
    pub(crate) command: String,
    /// The parameters. Only the last one can contain spaces.
    pub(crate) params: Vec<String>,
}

/// Why a line of a client was not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LineError {
    /// It is not UTF-8.
    #[error("a line must be UTF-8")]
    NotUtf8,
    /// It is longer than [`LINE_BYTES_MAX`], or its tags than [`TAGS_BYTES_MAX`].
    #[error("a line has at most {LINE_BYTES_MAX} bytes")]
    TooLong,
    /// It has no command.
    #[error("a line needs a command")]
    NoCommand,
}

impl Line {
    /// A line from `source`.
    pub(crate) fn new(source: &str, command: &str, params: &[&str]) -> Line {
        Line {
            tags: Vec::new(),
            source: Some(source.to_owned()),
            command: command.to_owned(),
            params: params.iter().map(|param| (*param).to_owned()).collect(),
        }
    }

    /// This line with one more tag.
    pub(crate) fn tag(mut self, name: &str, value: impl Into<String>) -> Line {
        self.tags.push((name.to_owned(), value.into()));
        self
    }

    /// The value of a tag.
    pub(crate) fn value_of(&self, tag: &str) -> Option<&str> {
        let found = self.tags.iter().find(|(name, _)| name == tag);
        found.map(|(_, value)| value.as_str())
    }

    /// The parameter at this place, or an empty text.
    pub(crate) fn param(&self, at: usize) -> &str {
        self.params.get(at).map_or("", String::as_str)
    }

    /// Reads a line without its line feed. A carriage return before that is ignored.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Line, LineError> {
        let text = std::str::from_utf8(bytes).map_err(|_| LineError::NotUtf8)?;
        let mut rest = text.trim_end_matches(['\r', '\n']).trim_start_matches(' ');
        let mut line = Line::default();
        if let Some(tagged) = rest.strip_prefix('@') {
            let (tags, after) = tagged.split_once(' ').unwrap_or((tagged, ""));
            if tags.len() + 2 > TAGS_BYTES_MAX {
                return Err(LineError::TooLong);
            }
            line.tags = tags
                .split(';')
                .filter(|tag| !tag.is_empty())
                .take(TAGS_MAX)
                .map(|tag| tag.split_once('=').unwrap_or((tag, "")))
                .map(|(name, value)| (name.to_owned(), unescaped(value)))
                .collect();
            rest = after.trim_start_matches(' ');
        }
        if rest.len() + 2 > LINE_BYTES_MAX {
            return Err(LineError::TooLong);
        }
        if let Some(sourced) = rest.strip_prefix(':') {
            let (source, after) = sourced.split_once(' ').unwrap_or((sourced, ""));
            line.source = Some(source.to_owned());
            rest = after.trim_start_matches(' ');
        }
        let (command, mut rest) = rest.split_once(' ').unwrap_or((rest, ""));
        if command.is_empty() {
            return Err(LineError::NoCommand);
        }
        line.command = command.to_ascii_uppercase();
        while line.params.len() < PARAMS_MAX {
            rest = rest.trim_start_matches(' ');
            if let Some(last) = rest.strip_prefix(':') {
                line.params.push(last.to_owned());
                break;
            }
            let (param, after) = rest.split_once(' ').unwrap_or((rest, ""));
            if param.is_empty() {
                break;
            }
            line.params.push(param.to_owned());
            rest = after;
        }
        Ok(line)
    }

    /// The bytes to send, with CR LF. A line that is too long is cut at a character; tags that do
    /// not fit are left out.
    pub(crate) fn to_wire(&self) -> Vec<u8> {
        let mut wire = String::new();
        for (name, value) in &self.tags {
            let separator = if wire.is_empty() { '@' } else { ';' };
            let escaped = escaped(value);
            // One byte for the separator, one for `=`, and the space after all tags.
            if wire.len() + name.len() + escaped.len() + 3 > TAGS_BYTES_MAX {
                continue;
            }
            wire.push(separator);
            wire.push_str(name);
            if !escaped.is_empty() {
                let _ = write!(wire, "={escaped}");
            }
        }
        if !wire.is_empty() {
            wire.push(' ');
        }
        let tags = wire.len();
        if let Some(source) = &self.source {
            let _ = write!(wire, ":{} ", word(source));
        }
        wire.push_str(&self.command);
        if let Some((last, others)) = self.params.split_last() {
            for param in others {
                let _ = write!(wire, " {}", word(param));
            }
            let _ = write!(wire, " :{}", without_line_ends(last));
        }
        let most = tags + LINE_BYTES_MAX - 2;
        if wire.len() > most {
            wire.truncate(wire.floor_char_boundary_at(most));
        }
        wire.push_str("\r\n");
        wire.into_bytes()
    }

    /// Bytes that are left for the last parameter of this line, which is to be added.
    pub(crate) fn room(&self) -> usize {
        // The bytes of ` :` before the parameter, and of CR LF after it.
        let used = Line {
            tags: Vec::new(),
            ..self.clone()
        }
        .to_wire()
        .len();
        LINE_BYTES_MAX.saturating_sub(used + 2)
    }
}

/// The last boundary of a character at or before a byte.
trait Boundary {
    fn floor_char_boundary_at(&self, at: usize) -> usize;
}

impl Boundary for str {
    fn floor_char_boundary_at(&self, at: usize) -> usize {
        (0..=at.min(self.len()))
            .rev()
            .find(|at| self.is_char_boundary(*at))
            .unwrap_or(0)
    }
}

/// The longest beginning of `text` that has at most `most` bytes, cut at a space where one is near.
pub(crate) fn cut(text: &str, most: usize) -> (&str, &str) {
    if text.len() <= most {
        return (text, "");
    }
    let at = text.floor_char_boundary_at(most);
    // At least one character, or this would never end.
    let at = if at == 0 {
        text.chars().next().map_or(0, char::len_utf8)
    } else {
        at
    };
    match text[..at].rfind(' ') {
        Some(space) if space >= at / 2 => (&text[..space], &text[space + 1..]),
        Some(_) | None => text.split_at(at),
    }
}

/// A parameter that is not the last one: no spaces, not empty, no colon at its start.
fn word(text: &str) -> Cow<'_, str> {
    let bad = |c: char| matches!(c, ' ' | '\r' | '\n' | '\0');
    if text.is_empty() {
        return Cow::Borrowed("*");
    }
    if !text.starts_with(':') && !text.contains(bad) {
        return Cow::Borrowed(text);
    }
    let text: String = text.chars().map(|c| if bad(c) { '_' } else { c }).collect();
    Cow::Owned(match text.strip_prefix(':') {
        Some(rest) => format!("_{rest}"),
        None => text,
    })
}

/// CR, LF and NUL would end a line. They become spaces.
fn without_line_ends(text: &str) -> Cow<'_, str> {
    let ends = ['\r', '\n', '\0'];
    if text.contains(ends) {
        Cow::Owned(text.replace(ends, " "))
    } else {
        Cow::Borrowed(text)
    }
}

/// The value of a tag as it is sent (IRCv3 message-tags, escaping values).
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            ';' => escaped.push_str("\\:"),
            ' ' => escaped.push_str("\\s"),
            '\\' => escaped.push_str("\\\\"),
            '\r' => escaped.push_str("\\r"),
            '\n' => escaped.push_str("\\n"),
            '\0' => {}
            c => escaped.push(c),
        }
    }
    escaped
}

/// The value of a tag as it was meant. An unknown escape is the character alone, a lone backslash
/// at the end is nothing.
fn unescaped(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some(':') => plain.push(';'),
            Some('s') => plain.push(' '),
            Some('r') => plain.push('\r'),
            Some('n') => plain.push('\n'),
            Some(c) => plain.push(c),
            None => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Line {
        Line::parse(text.as_bytes()).unwrap()
    }

    fn wire(line: &Line) -> String {
        String::from_utf8(line.to_wire()).unwrap()
    }

    #[test]
    fn a_line_has_tags_a_source_a_command_and_parameters() {
        let line = parsed("@+draft/reply=ab-7;x :ann!a@b privmsg #lobby  :hi there :)\r");
        assert_eq!(line.value_of("+draft/reply"), Some("ab-7"));
        assert_eq!(line.value_of("x"), Some(""));
        assert_eq!(line.value_of("y"), None);
        assert_eq!(line.source.as_deref(), Some("ann!a@b"));
        assert_eq!(line.command, "PRIVMSG");
        assert_eq!(line.params, ["#lobby", "hi there :)"]);
        assert_eq!(parsed("PING").params, Vec::<String>::new());
        assert_eq!(parsed("AWAY :").params, [""]);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_an_error() {
        let parse = |bytes: &[u8]| Line::parse(bytes);
        assert_eq!(parse(b"PRIVMSG a :\xff"), Err(LineError::NotUtf8));
        assert_eq!(parse(b""), Err(LineError::NoCommand));
        assert_eq!(parse(b":only-a-source"), Err(LineError::NoCommand));
        let long = format!("PRIVMSG a :{}", "x".repeat(LINE_BYTES_MAX));
        assert_eq!(parse(long.as_bytes()), Err(LineError::TooLong));
        let long = format!("@a={} PING", "x".repeat(TAGS_BYTES_MAX));
        assert_eq!(parse(long.as_bytes()), Err(LineError::TooLong));
    }

    #[test]
    fn tags_survive_the_wire_whatever_they_contain() {
        let value = "a;b c\\d\r\ne";
        let line = Line::new("ann", "TAGMSG", &["#lobby"]).tag("+draft/react", value);
        assert_eq!(
            wire(&line),
            "@+draft/react=a\\:b\\sc\\\\d\\r\\ne :ann TAGMSG :#lobby\r\n"
        );
        assert_eq!(
            parsed(wire(&line).trim_end()).value_of("+draft/react"),
            Some(value)
        );
        // Unknown escapes and a lone backslash at the end.
        assert_eq!(parsed("@a=\\b\\ PING").value_of("a"), Some("b"));
    }

    #[test]
    fn a_peers_text_never_begins_another_line() {
        let line = Line::new("ann", "PRIVMSG", &["#lobby", "hi\r\nQUIT\0 :bye"]);
        assert_eq!(wire(&line), ":ann PRIVMSG #lobby :hi  QUIT  :bye\r\n");
        let line = Line::new("a nn", "PRIVMSG", &[":x y", "", "z"]);
        assert_eq!(wire(&line), ":a_nn PRIVMSG _x_y * :z\r\n");
    }

    #[test]
    fn a_line_is_cut_at_a_character_to_512_bytes() {
        let line = Line::new("ann", "PRIVMSG", &["#lobby", &"é".repeat(400)]);
        let wire = line.to_wire();
        assert!((LINE_BYTES_MAX - 1..=LINE_BYTES_MAX).contains(&wire.len()));
        assert!(String::from_utf8(wire).unwrap().ends_with("é\r\n"));
        let head = Line::new("ann", "PRIVMSG", &["#lobby"]);
        let full = Line::new("ann", "PRIVMSG", &["#lobby", &"x".repeat(head.room())]);
        assert!(full.to_wire().len() <= LINE_BYTES_MAX);
    }

    #[test]
    fn tags_that_do_not_fit_are_left_out() {
        let line = Line::new("ann", "PING", &[])
            .tag("a", "x".repeat(TAGS_BYTES_MAX))
            .tag("b", "1");
        assert_eq!(wire(&line), "@b=1 :ann PING\r\n");
    }

    #[test]
    fn a_long_text_is_cut_at_a_space_where_one_is_near() {
        assert_eq!(cut("one two three", 9), ("one two", "three"));
        assert_eq!(cut("onetwothree", 5), ("onetw", "othree"));
        assert_eq!(cut("éé", 3), ("é", "é"));
        assert_eq!(cut("é", 1), ("é", ""));
        assert_eq!(cut("short", 9), ("short", ""));
    }
}
