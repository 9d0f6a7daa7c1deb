//! Finds out how this terminal can show pictures: from the environment, and by asking the terminal.
//!
//! The terminal is asked before the chat reads keys. Bytes that are not part of the answer were
//! typed, and are returned as keys.
#![expect(
    clippy::disallowed_methods,
    reason = "a driver: it waits for the terminal, but not for long"
)]

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{CELL_MAX, Canvas, GraphicsProtocol};

/// Asks for the terminal's attributes (DA1). All terminals answer; those with sixels include a 4.
/// Crossterm ignores an answer that arrives too late.
const WHAT_ARE_YOU: &str = "\x1b[c";

/// Asks whether the terminal accepts a picture of one pixel in kitty's protocol. Sent only to
/// terminals that claim to be kitty: others may print it, and a late answer would look like typed
/// text.
const DO_YOU_SPEAK_KITTY: &str = "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\";

/// Maximum time to wait for the answers. A terminal that answers later, over a slow line, gets half
/// blocks.
const ANSWER_WITHIN: Duration = Duration::from_millis(200);
const KITTY_WITHIN: Duration = Duration::from_secs(1);

/// Maximum number of bytes to read.
const TYPED_MAX: usize = 64 * 1024;

/// The assumed size of a cell for half blocks: about twice as high as wide.
const CELL_OF_TEXT: (u16, u16) = (10, 20);

/// The kind of terminal according to the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Too few colours for pictures.
    Plain,
    /// Half blocks, without asking: a multiplexer, which misplaces pictures, or a terminal whose
    /// sixels are broken.
    Blocks,
    Kitty,
    Unknown,
}

impl Canvas {
    /// The canvas of this terminal, none if it cannot show pictures, and the keys that were typed
    /// meanwhile. The terminal must be in raw mode.
    pub(in crate::tui) fn of_terminal(
        variable: impl Fn(&str) -> Option<String>,
    ) -> (Option<Canvas>, Vec<Event>) {
        let kind = kind_of(&variable);
        let blocks = Canvas {
            protocol: GraphicsProtocol::HalfBlocks {
                all_colours: has_all_colours(&variable),
            },
            cell: CELL_OF_TEXT,
        };
        let (question, within) = match kind {
            Kind::Plain => return (None, vec![]),
            Kind::Blocks => return (Some(blocks), vec![]),
            Kind::Kitty => (format!("{DO_YOU_SPEAK_KITTY}{WHAT_ARE_YOU}"), KITTY_WITHIN),
            Kind::Unknown => (WHAT_ARE_YOU.to_owned(), ANSWER_WITHIN),
        };
        // Without the size of a cell, only half blocks are possible.
        let Some(cell) = cell() else {
            return (Some(blocks), vec![]);
        };
        let reply = Reply::of(&ask(&question, within));
        let protocol = match (reply.kitty, reply.sixel) {
            (true, _) => GraphicsProtocol::Kitty,
            (false, true) => GraphicsProtocol::Sixel,
            (false, false) => return (Some(blocks), reply.typed),
        };
        (Some(Canvas { protocol, cell }), reply.typed)
    }

    /// Half blocks in all colours.
    #[cfg(test)]
    pub(in crate::tui) const HALF_BLOCKS: Canvas = Canvas {
        protocol: GraphicsProtocol::HalfBlocks { all_colours: true },
        cell: CELL_OF_TEXT,
    };
}

/// The size of a cell in pixels, if the terminal reports it.
pub(super) fn cell() -> Option<(u16, u16)> {
    let size = crossterm::terminal::window_size().ok()?;
    let cell = (
        size.width.checked_div(size.columns)?,
        size.height.checked_div(size.rows)?,
    );
    (cell.0 > 0 && cell.1 > 0).then_some((cell.0.min(CELL_MAX.0), cell.1.min(CELL_MAX.1)))
}

fn kind_of(variable: impl Fn(&str) -> Option<String>) -> Kind {
    let given = |name: &str| variable(name).filter(|value| !value.is_empty());
    let term = given("TERM").unwrap_or_default();
    let begins = |starts: &[&str]| starts.iter().any(|start| term.starts_with(start));
    if begins(&[
        "linux", "vt1", "vt2", "vt3", "vt4", "vt5", "ansi", "cons", "dumb",
    ]) || term.ends_with("-16color")
        || term.ends_with("-mono")
    {
        return Kind::Plain;
    }
    let multiplexed = ["TMUX", "STY", "ZELLIJ"]
        .into_iter()
        .any(|name| given(name).is_some())
        || begins(&["tmux", "screen"]);
    if multiplexed || given("KONSOLE_VERSION").is_some() {
        return Kind::Blocks;
    }
    let ghostty = given("TERM_PROGRAM").is_some_and(|program| program == "ghostty");
    let kitty =
        begins(&["xterm-kitty", "xterm-ghostty"]) || ghostty || given("KITTY_WINDOW_ID").is_some();
    if kitty { Kind::Kitty } else { Kind::Unknown }
}

fn has_all_colours(variable: impl Fn(&str) -> Option<String>) -> bool {
    let is_one_of = |name: &str, words: &[&str]| {
        variable(name).is_some_and(|value| words.iter().any(|word| value.contains(word)))
    };
    is_one_of("COLORTERM", &["truecolor", "24bit"])
        || is_one_of(
            "TERM",
            &[
                "kitty",
                "ghostty",
                "alacritty",
                "foot",
                "wezterm",
                "-direct",
            ],
        )
}

/// Sends the question and reads until the attributes have arrived or the time is over.
fn ask(question: &str, within: Duration) -> Vec<u8> {
    let mut answer = Vec::new();
    let asked = || {
        let mut out = io::stdout();
        out.write_all(question.as_bytes())?;
        out.flush()
    };
    if !io::stdin().is_terminal() || asked().is_err() {
        return answer;
    }
    let until = Instant::now() + within;
    while answer.len() < TYPED_MAX && attributes(&answer).is_none() && comes_before(until) {
        let mut some = [0; 256];
        // Bypasses the buffer of stdin, in which a key could get lost.
        match rustix::io::read(io::stdin(), &mut some) {
            Ok(count @ 1..) => answer.extend_from_slice(&some[..count]),
            Ok(0) | Err(_) => break,
        }
    }
    answer
}

fn comes_before(until: Instant) -> bool {
    let stdin = io::stdin();
    let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
    let left = until.saturating_duration_since(Instant::now());
    Timespec::try_from(left)
        .is_ok_and(|left| poll(&mut fds, Some(&left)).is_ok_and(|ready| ready > 0))
}

/// The bytes that were read, parsed.
#[derive(Debug, PartialEq, Eq)]
struct Reply {
    kitty: bool,
    sixel: bool,
    /// All other bytes, as keys.
    typed: Vec<Event>,
}

impl Reply {
    fn of(answer: &[u8]) -> Reply {
        let mut rest = answer.to_vec();
        let attributes = attributes(answer).map(|range| rest.drain(range).collect::<Vec<u8>>());
        let sixel = attributes.is_some_and(|says| {
            says[..says.len() - 1]
                .split(|byte| *byte == b';')
                .skip(1)
                .any(|word| word == b"4")
        });
        let kitty = between(&rest, b"\x1b_G", b"\x1b\\")
            .map(|range| rest.drain(range).collect::<Vec<u8>>());
        let kitty = kitty.is_some_and(|says| says.ends_with(b";OK\x1b\\"));
        Reply {
            kitty,
            sixel,
            typed: typed(&String::from_utf8_lossy(&rest)),
        }
    }
}

/// The range of the attributes: from `ESC [ ?` to `c`.
fn attributes(answer: &[u8]) -> Option<std::ops::Range<usize>> {
    between(answer, b"\x1b[?", b"c")
}

fn between(bytes: &[u8], begin: &[u8], end: &[u8]) -> Option<std::ops::Range<usize>> {
    let find = |from: usize, what: &[u8]| {
        bytes[from..]
            .windows(what.len())
            .position(|window| window == what)
            .map(|at| from + at)
    };
    let start = find(0, begin)?;
    Some(start..find(start + begin.len(), end)? + end.len())
}

/// The keys in the bytes: text, editing keys and pasted text. Other keys are dropped.
fn typed(text: &str) -> Vec<Event> {
    const PASTE: &str = "\x1b[200~";
    const PASTE_END: &str = "\x1b[201~";
    let mut events = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let key = |code, modifiers| Event::Key(KeyEvent::new(code, modifiers));
        if let Some(pasted) = rest.strip_prefix(PASTE) {
            let (pasted, after) = pasted.split_once(PASTE_END).unwrap_or((pasted, ""));
            events.push(Event::Paste(pasted.to_owned()));
            rest = after;
            continue;
        }
        if let Some(sequence) = rest
            .strip_prefix("\x1b[")
            .or_else(|| rest.strip_prefix("\x1bO"))
        {
            let end = sequence
                .find(|c: char| ('@'..='~').contains(&c))
                .map_or(sequence.len(), |at| at + 1);
            events.extend(arrow(&sequence[..end]).map(|code| key(code, KeyModifiers::NONE)));
            rest = &sequence[end..];
            continue;
        }
        rest = &rest[c.len_utf8()..];
        events.push(match c {
            '\r' | '\n' => key(KeyCode::Enter, KeyModifiers::NONE),
            '\t' => key(KeyCode::Tab, KeyModifiers::NONE),
            '\x7f' => key(KeyCode::Backspace, KeyModifiers::NONE),
            '\x1b' => match rest.chars().next() {
                Some(next) if !next.is_control() => {
                    rest = &rest[next.len_utf8()..];
                    key(KeyCode::Char(next), KeyModifiers::ALT)
                }
                Some(_) | None => key(KeyCode::Esc, KeyModifiers::NONE),
            },
            '\x01'..='\x1a' => key(
                KeyCode::Char(char::from(c as u8 - 1 + b'a')),
                KeyModifiers::CONTROL,
            ),
            _ if c.is_control() => continue,
            _ => key(KeyCode::Char(c), KeyModifiers::NONE),
        });
    }
    events
}

fn arrow(sequence: &str) -> Option<KeyCode> {
    Some(match sequence {
        "A" => KeyCode::Up,
        "B" => KeyCode::Down,
        "C" => KeyCode::Right,
        "D" => KeyCode::Left,
        "H" => KeyCode::Home,
        "F" => KeyCode::End,
        "3~" => KeyCode::Delete,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables<'a>(set: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + use<'a> {
        move |name| {
            set.iter()
                .find(|(given, _)| *given == name)
                .map(|(_, value)| (*value).to_owned())
        }
    }

    #[test]
    fn the_environment_decides_what_to_ask() {
        for (set, kind) in [
            (&[("TERM", "xterm-256color")][..], Kind::Unknown),
            (&[("TERM", "foot")], Kind::Unknown),
            (&[("TERM", "xterm-kitty")], Kind::Kitty),
            (
                &[("TERM", "xterm-256color"), ("TERM_PROGRAM", "ghostty")],
                Kind::Kitty,
            ),
            (
                &[("TERM", "tmux-256color"), ("KITTY_WINDOW_ID", "1")],
                Kind::Blocks,
            ),
            (
                &[
                    ("TERM", "xterm-256color"),
                    ("TMUX", "/tmp/tmux-0/default,1,0"),
                ],
                Kind::Blocks,
            ),
            (&[("TERM", "screen.xterm-256color")], Kind::Blocks),
            (&[("TERM", "xterm-kitty"), ("STY", "1.pts-0")], Kind::Blocks),
            (
                &[("TERM", "xterm-256color"), ("KONSOLE_VERSION", "240800")],
                Kind::Blocks,
            ),
            (&[("TERM", "linux")], Kind::Plain),
            (&[("TERM", "vt220")], Kind::Plain),
            (&[("TERM", "xterm-16color")], Kind::Plain),
        ] {
            assert_eq!(kind_of(variables(set)), kind, "{set:?}");
        }
        assert!(
            has_all_colours(variables(&[("COLORTERM", "truecolor")]))
                && has_all_colours(variables(&[("TERM", "foot")]))
        );
        assert!(!has_all_colours(variables(&[("TERM", "xterm-256color")])));
    }

    #[test]
    fn replies_are_separated_from_typed_keys() {
        let heard = |answer: &[u8]| {
            let Reply {
                kitty,
                sixel,
                typed,
            } = Reply::of(answer);
            (kitty, sixel, typed.len())
        };
        assert_eq!(heard(b""), (false, false, 0));
        assert_eq!(heard(b"hi\x1b[?62;4;22c"), (false, true, 2));
        assert_eq!(heard(b"\x1b[?62;22;44c"), (false, false, 0));
        assert_eq!(
            heard(b"\x1b[?4c"),
            (false, false, 0),
            "a terminal of class 4"
        );
        assert_eq!(heard(b"h\x1b_Gi=31;OK\x1b\\i\x1b[?62;c!"), (true, false, 3));
        assert_eq!(
            heard(b"\x1b_Gi=31;ENOTSUPPORTED:no\x1b\\\x1b[?62;4c"),
            (false, true, 0)
        );
        assert_eq!(attributes(b"\x1b[?62;4"), None);
    }

    #[test]
    fn typed_bytes_become_keys() {
        use KeyCode::*;
        let key = |code, modifiers| Event::Key(KeyEvent::new(code, modifiers));
        let plain = |code| key(code, KeyModifiers::NONE);
        assert_eq!(
            typed("hé\r\t\x7f"),
            [Char('h'), Char('é'), Enter, Tab, Backspace].map(plain)
        );
        assert_eq!(
            typed("\x1b[A\x1bOD\x1b[3~\x1b[15~\x1b"),
            [Up, Left, Delete, Esc].map(plain)
        );
        assert_eq!(
            typed("\x15\x1b2"),
            [
                key(Char('u'), KeyModifiers::CONTROL),
                key(Char('2'), KeyModifiers::ALT)
            ]
        );
        assert_eq!(
            typed("\x1b[200~two\rlines\x1b[201~x"),
            [Event::Paste("two\rlines".into()), plain(Char('x'))]
        );
        assert_eq!(typed("\x1b[200~no end"), [Event::Paste("no end".into())]);
        assert_eq!(typed("\x1b["), []);
    }
}
