//! Asks the terminal what it is, before the chat reads keys: pictures, and the colour of its background.
//!
//! The wait is short. Bytes that are not part of an answer were typed, and are returned as keys. An
//! answer that comes later, over a slow line, must not look like typed text: crossterm ignores late
//! attributes, and [`LateAnswer`] drops a late colour.
#![expect(
    clippy::disallowed_methods,
    reason = "a driver: it waits for the terminal, but not for long"
)]

use std::io::{self, IsTerminal, Write};
use std::ops::Range;
use std::time::{Duration, Instant};

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Asks for the terminal's attributes (DA1). All terminals answer; those with sixels include a 4. It is
/// the last question, so its answer shows that there are no others to come.
const WHAT_ARE_YOU: &str = "\x1b[c";

/// Asks whether the terminal accepts a picture of one pixel in kitty's protocol. Sent only to
/// terminals that claim to be kitty: others may print it, and a late answer would look like typed
/// text.
const DO_YOU_SPEAK_KITTY: &str = "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\";

/// Asks for the colour of the background (xterm's OSC 11).
const WHICH_BACKGROUND: &str = "\x1b]11;?\x1b\\";

/// The beginning of the answer to that.
const BACKGROUND: &[u8] = b"\x1b]11;";

/// Maximum time to wait for the answers. A terminal that answers later, over a slow line, gets half
/// blocks and the colours for a dark background.
const ANSWER_WITHIN: Duration = Duration::from_millis(200);
const KITTY_WITHIN: Duration = Duration::from_secs(1);

/// Maximum number of bytes to read.
const TYPED_MAX: usize = 64 * 1024;

/// How long after the question a late answer is dropped.
pub(super) const LATE_WITHIN: Duration = Duration::from_secs(10);

/// Longest answer about the background, in characters.
const LATE_MAX: usize = 40;

/// What to ask.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Questions {
    /// Whether it draws sixels.
    pub(super) sixel: bool,
    /// Whether it speaks kitty's protocol. Only for terminals that claim it.
    pub(super) kitty: bool,
    /// The colour of its background.
    pub(super) background: bool,
}

/// What the terminal answered, and what was typed meanwhile.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answers {
    pub(super) kitty: bool,
    pub(super) sixel: bool,
    /// Whether the background is light. `None`: not asked, or no answer.
    pub(super) light: Option<bool>,
    /// All other bytes, as keys.
    pub(super) typed: Vec<Event>,
    /// Whether the colour of the background may still arrive.
    pub(super) late: Option<LateAnswer>,
}

/// Whether a terminal of this kind ignores a question that it does not know. A console may print it.
pub(super) fn may_be_asked(term: &str) -> bool {
    let simple = [
        "linux", "vt1", "vt2", "vt3", "vt4", "vt5", "ansi", "cons", "dumb",
    ];
    !term.is_empty()
        && !simple.iter().any(|start| term.starts_with(start))
        && !term.ends_with("-mono")
}

/// Asks, and waits for the answers, but not for long. The terminal must be in raw mode.
pub(super) fn ask(questions: Questions) -> Answers {
    if questions == Questions::default() {
        return Answers::default();
    }
    let mut question = String::new();
    if questions.kitty {
        question.push_str(DO_YOU_SPEAK_KITTY);
    }
    if questions.background {
        question.push_str(WHICH_BACKGROUND);
    }
    question.push_str(WHAT_ARE_YOU);
    let within = if questions.kitty {
        KITTY_WITHIN
    } else {
        ANSWER_WITHIN
    };
    match read(&question, within) {
        Some(answer) => Answers::of(&answer, questions.background),
        None => Answers::default(),
    }
}

/// Sends the question and reads until the attributes have arrived or the time is over. `None`: there
/// is no terminal.
fn read(question: &str, within: Duration) -> Option<Vec<u8>> {
    let asked = || {
        let mut out = io::stdout();
        out.write_all(question.as_bytes())?;
        out.flush()
    };
    if !io::stdin().is_terminal() || asked().is_err() {
        return None;
    }
    let mut answer = Vec::new();
    let until = Instant::now() + within;
    while answer.len() < TYPED_MAX && attributes(&answer).is_none() && comes_before(until) {
        let mut some = [0; 256];
        // Bypasses the buffer of stdin, in which a key could get lost.
        match rustix::io::read(io::stdin(), &mut some) {
            Ok(count @ 1..) => answer.extend_from_slice(&some[..count]),
            Ok(0) | Err(_) => break,
        }
    }
    Some(answer)
}

fn comes_before(until: Instant) -> bool {
    let stdin = io::stdin();
    let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
    let left = until.saturating_duration_since(Instant::now());
    Timespec::try_from(left)
        .is_ok_and(|left| poll(&mut fds, Some(&left)).is_ok_and(|ready| ready > 0))
}

impl Answers {
    fn of(answer: &[u8], asked_background: bool) -> Answers {
        let mut rest = answer.to_vec();
        let take = |range: Option<Range<usize>>, rest: &mut Vec<u8>| {
            range.map(|range| rest.drain(range).collect::<Vec<u8>>())
        };
        let attributes = take(attributes(&rest), &mut rest);
        let sixel = attributes.as_ref().is_some_and(|says| {
            says[..says.len() - 1]
                .split(|byte| *byte == b';')
                .skip(1)
                .any(|word| word == b"4")
        });
        let kitty = take(between(&rest, b"\x1b_G", b"\x1b\\"), &mut rest);
        let kitty = kitty.is_some_and(|says| says.ends_with(b";OK\x1b\\"));
        let background = take(background(&rest), &mut rest);
        let light = background.as_deref().and_then(is_light);
        let mut late = None;
        if asked_background && attributes.is_none() && background.is_none() {
            // The first part of the answer may be here.
            let begun = begun(&rest);
            let inside = begun.is_some();
            rest.truncate(begun.unwrap_or(rest.len()));
            late = Some(LateAnswer::new(inside));
        }
        Answers {
            kitty,
            sixel,
            light,
            typed: typed(&String::from_utf8_lossy(&rest)),
            late,
        }
    }
}

/// The range of the attributes: from `ESC [ ?` to `c`.
fn attributes(answer: &[u8]) -> Option<Range<usize>> {
    between(answer, b"\x1b[?", b"c")
}

/// The range of the background's colour. BEL or `ESC \` ends it.
fn background(answer: &[u8]) -> Option<Range<usize>> {
    let ends = [&b"\x07"[..], b"\x1b\\"].map(|end| between(answer, BACKGROUND, end));
    ends.into_iter().flatten().min_by_key(|range| range.end)
}

/// Where an answer about the background begins that is cut off.
fn begun(bytes: &[u8]) -> Option<usize> {
    let whole = bytes
        .windows(BACKGROUND.len())
        .position(|window| window == BACKGROUND);
    let cut = || {
        let lengths = (2..BACKGROUND.len()).rev();
        let mut starts = lengths.filter(|len| bytes.ends_with(&BACKGROUND[..*len]));
        starts.next().map(|len| bytes.len() - len)
    };
    whole.or_else(cut)
}

fn between(bytes: &[u8], begin: &[u8], end: &[u8]) -> Option<Range<usize>> {
    let find = |from: usize, what: &[u8]| {
        bytes[from..]
            .windows(what.len())
            .position(|window| window == what)
            .map(|at| from + at)
    };
    let start = find(0, begin)?;
    Some(start..find(start + begin.len(), end)? + end.len())
}

/// Whether a colour is light: `rgb:ffff/ffff/ffff`, with one to four hex digits each.
fn is_light(answer: &[u8]) -> Option<bool> {
    let text = std::str::from_utf8(answer).ok()?;
    let (_, colours) = text.split_once("rgb:").or(text.split_once("rgba:"))?;
    let colours = colours.trim_end_matches(['\x07', '\x1b', '\\']);
    let mut parts = colours.split('/').map(|digits| {
        let most = match digits.len() {
            1..=4 => 16_u32.pow(u32::try_from(digits.len()).ok()?) - 1,
            _ => return None,
        };
        let value = u32::from_str_radix(digits, 16).ok()?;
        Some(value * 1000 / most)
    });
    let mut next = || parts.next()?;
    let (red, green, blue) = (next()?, next()?, next()?);
    // The brightness that the eye sees (ITU-R BT.709).
    Some(213 * red + 715 * green + 72 * blue > 500 * 1000)
}

/// Drops the answer about the background that arrives while the chat reads keys already. Crossterm
/// reads it as keys: Alt-], `11;rgb:…`, and Ctrl-G or Alt-\.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LateAnswer {
    /// The keys of what may be the answer.
    held: Vec<KeyEvent>,
    /// Whether the beginning of the answer was read, and dropped, before.
    inside: bool,
}

/// What becomes of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Filtered {
    /// These were typed.
    Typed(Vec<KeyEvent>),
    /// It may be part of the answer.
    Held,
    /// The answer is complete, and dropped. There is no other one.
    Dropped,
}

impl LateAnswer {
    fn new(inside: bool) -> Self {
        let held = Vec::new();
        Self { held, inside }
    }

    /// Takes the next key.
    pub(super) fn key(&mut self, key: KeyEvent) -> Filtered {
        let alt = |c| key.code == KeyCode::Char(c) && key.modifiers == KeyModifiers::ALT;
        let begins = self.held.is_empty() && !self.inside;
        if begins && !alt(']') {
            return Filtered::Typed(vec![key]);
        }
        let bell = key.code == KeyCode::Char('g') && key.modifiers == KeyModifiers::CONTROL;
        if !begins && (bell || alt('\\')) {
            self.held.clear();
            self.inside = false;
            return Filtered::Dropped;
        }
        let other = KeyModifiers::ALT | KeyModifiers::CONTROL;
        let is_part = |c: char| c.is_ascii_hexdigit() || "rgb:;/".contains(c);
        let goes_on =
            !key.modifiers.intersects(other) && matches!(key.code, KeyCode::Char(c) if is_part(c));
        self.held.push(key);
        if (begins || goes_on) && self.held.len() <= LATE_MAX {
            return Filtered::Held;
        }
        self.inside = false;
        Filtered::Typed(std::mem::take(&mut self.held))
    }

    /// The keys that were held back. No answer is to be expected any more.
    pub(super) fn give_up(self) -> Vec<KeyEvent> {
        self.held
    }
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

    #[test]
    fn answers_are_separated_from_typed_keys() {
        let heard = |answer: &[u8]| {
            let Answers {
                kitty,
                sixel,
                typed,
                ..
            } = Answers::of(answer, false);
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
    fn the_background_is_light_or_dark() {
        for (answer, light) in [
            (&b"\x1b]11;rgb:ffff/ffff/ffff\x07"[..], Some(true)),
            (b"\x1b]11;rgb:0000/0000/0000\x1b\\", Some(false)),
            (b"\x1b]11;rgb:fd/f6/e3\x1b\\", Some(true)),
            (b"\x1b]11;rgb:0/2b/36\x1b\\", Some(false)),
            (b"\x1b]11;rgba:ffff/ffff/ffff/8000\x07", Some(true)),
            (b"\x1b]11;nonsense\x07", None),
            (b"\x1b]11;rgb:fffff/0/0\x07", None),
        ] {
            let both = [b"a", answer, b"\x1b[?62c", b"b"].concat();
            let answers = Answers::of(&both, true);
            assert_eq!(
                (answers.light, answers.typed.len()),
                (light, 2),
                "{answer:?}"
            );
            assert_eq!(answers.late, None);
        }
        let without = Answers::of(b"\x1b[?62c", true);
        assert_eq!((without.light, without.late), (None, None));
    }

    fn keys(text: &str) -> Vec<KeyEvent> {
        let events = typed(text).into_iter();
        events.filter_map(|event| event.as_key_event()).collect()
    }

    /// What is typed according to the filter, and whether the answer was dropped.
    fn filtered(late: &mut LateAnswer, text: &str) -> (Vec<KeyEvent>, bool) {
        let (mut through, mut dropped) = (Vec::new(), false);
        for key in keys(text) {
            match late.key(key) {
                Filtered::Typed(keys) => through.extend(keys),
                Filtered::Held => {}
                Filtered::Dropped => dropped = true,
            }
        }
        (through, dropped)
    }

    #[test]
    fn a_late_answer_is_not_typed() {
        for end in ["\x07", "\x1b\\"] {
            let mut late = Answers::of(b"hi", true).late.expect("nothing arrived");
            let answer = format!("ab\x1b]11;rgb:0a0a/1f1F/ffff{end}");
            assert_eq!(filtered(&mut late, &answer), (keys("ab"), true));
        }
    }

    #[test]
    fn an_answer_that_was_cut_is_not_typed_either() {
        let whole = "\x1b]11;rgb:0a0a/1f1f/ffff\x07";
        for cut in 2..whole.len() {
            let before = format!("hi{}", &whole[..cut]);
            let answers = Answers::of(before.as_bytes(), true);
            assert_eq!(answers.typed.len(), 2, "cut at {cut}");
            let mut late = answers.late.expect("it is not complete");
            let rest = format!("{}x", &whole[cut..]);
            assert_eq!(
                filtered(&mut late, &rest),
                (keys("x"), true),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn keys_that_are_no_answer_are_typed() {
        let new = || LateAnswer::new(false);
        for text in [
            "hello",
            "\x1b]x",
            "\x1b]11;q",
            "\x1b]\x1b]y",
            "\x07",
            "\x1b\\",
        ] {
            let (through, dropped) = filtered(&mut new(), text);
            assert_eq!((through, dropped), (keys(text), false), "{text:?}");
        }
        let mut late = new();
        assert_eq!(filtered(&mut late, "\x1b]11"), (vec![], false));
        assert_eq!(late.give_up(), keys("\x1b]11"));
        let endless = format!("\x1b]{}", "1".repeat(99));
        assert_eq!(filtered(&mut new(), &endless), (keys(&endless), false));
    }

    #[test]
    fn simple_terminals_are_not_asked() {
        for (term, asked) in [
            ("xterm-256color", true),
            ("tmux-256color", true),
            ("linux", false),
            ("vt220", false),
            ("dumb", false),
            ("", false),
        ] {
            assert_eq!(may_be_asked(term), asked, "{term}");
        }
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
