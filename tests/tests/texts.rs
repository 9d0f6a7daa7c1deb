//! Texts of many scripts between real programs: they arrive as they were typed, and a search finds each
//! by its words and not by others. And in tmux, which gives the vowel signs of Indian scripts columns
//! of their own, each is in its place, and nothing is left over when it scrolls away.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use hobnob_protocol::text::visible;
use hobnob_tests::lab::{Lab, Machine, Node, hobnob_binary, until};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Texts, each with words that find it and words that do not.
fn cases() -> Vec<Value> {
    let lines = include_str!("../inputs/texts.jsonl").lines();
    let cases: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(cases.len(), 60);
    cases
}

fn field<'a>(case: &'a Value, name: &str) -> &'a str {
    case[name].as_str().expect("a text")
}

#[test]
fn sixty_texts_arrive_and_are_found_by_their_words_and_not_by_others() {
    let lab = Lab::open();
    let (ann, bob) = lab.ann_and_bob();
    let cases = cases();
    for case in &cases {
        ann.says(field(case, "text"));
    }
    let last = field(&cases[59], "text");
    bob.shows_once(last);
    let received = bob.run(&["history", "#lobby", "--limit", "100"]).expect(0);
    let received = received.json();
    let texts: Vec<&str> = received
        .iter()
        .filter_map(|it| it["text"].as_str())
        .collect();
    let sent: Vec<&str> = cases.iter().map(|case| field(case, "text")).collect();
    assert_eq!(texts, sent);
    for case in &cases {
        let found = |words: &str| {
            let search = format!("--search={words}");
            let arguments = ["history", "#lobby", "--limit", "100", &search];
            let found = bob.run(&arguments).expect(0).json();
            found.iter().any(|line| line["text"] == case["text"])
        };
        let name = field(case, "name");
        for (words, expected) in [("search_hits", true), ("search_misses", false)] {
            let words = field(case, words);
            assert_eq!(found(words), expected, "{name}: {words}");
        }
    }
}

/// One more, and there would be a second sidebar.
const COLUMNS: usize = 99;
const ROWS: usize = 24;

/// Longest text that is shown in one row, in characters. Those with wide characters are shorter.
const CHARS_MAX: usize = 40;

/// What tmux 3.3a does not show whole: it cuts long sequences of emoji, and leaves out characters
/// without a width and noncharacters.
const NOT_WHOLE: [&str; 6] = [
    "Emoji, skin tone and ZWJ",
    "Emoji flags, tag sequence",
    "Emoji keycaps, presentation",
    "Noncharacters and private use",
    "Right-to-left mark, legitimate",
    "Zero width space and soft hyphen",
];

/// The full-screen chat of a node in tmux.
struct Tmux {
    machine: Machine,
    socket: PathBuf,
}

impl Tmux {
    fn start(node: &Node) -> Self {
        let machine = node.machine().clone();
        let socket = node.home().path().join("tmux");
        let tmux = Self { machine, socket };
        let chat = format!(
            "env LANG=C.UTF-8 {} --home {}",
            hobnob_binary().display(),
            node.home().path().display()
        );
        let (columns, rows) = (COLUMNS.to_string(), ROWS.to_string());
        let session = [
            "-u",
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &columns,
            "-y",
            &rows,
            &chat,
        ];
        tmux.run(&session);
        tmux
    }

    fn run(&self, arguments: &[&str]) -> String {
        let socket = self.socket.to_string_lossy();
        let all = [&["LANG=C.UTF-8", "tmux", "-S", &socket], arguments].concat();
        self.machine.run("env", &all).expect(0).stdout
    }

    /// The rows of the screen.
    fn rows(&self) -> Vec<String> {
        let screen = self.run(&["capture-pane", "-p"]);
        screen.lines().map(str::to_owned).collect()
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let socket = self.socket.to_string_lossy().into_owned();
        let _ended = self.machine.run("tmux", &["-S", &socket, "kill-server"]);
    }
}

/// The column and the text of a row of Ann's, if it is one.
fn text_in(row: &str) -> Option<(usize, &str)> {
    let (before, text) = row.split_once(" ann │ ")?;
    Some((before.chars().count(), text.trim_end()))
}

#[test]
fn sixty_texts_are_in_their_places_in_tmux_and_leave_nothing_over() {
    let lab = Lab::open();
    let (ann, bob) = lab.ann_and_bob();
    let tmux = Tmux::start(&bob);
    let mut expected: Vec<Option<String>> = Vec::new();
    for (number, case) in cases().iter().enumerate() {
        let name = field(case, "name");
        let spaced = field(case, "text").replace('\t', "    ");
        let shown = visible(&spaced).into_owned();
        // A mark without a letter has no place of its own.
        if shown.chars().count() > CHARS_MAX || name == "Only combining marks" {
            continue;
        }
        let shown = (!NOT_WHOLE.contains(&name)).then_some(shown);
        ann.says(field(case, "text"));
        ann.says(&format!("after {number}"));
        expected.extend([shown, Some(format!("after {number}"))]);
        until(&format!("{name} is in its place"), TIMEOUT, || {
            let rows = tmux.rows();
            let (columns, texts): (BTreeSet<usize>, Vec<&str>) =
                rows.iter().filter_map(|row| text_in(row)).unzip();
            let newest = &expected[expected.len().saturating_sub(texts.len())..];
            let is_shown = |(expected, text): (&Option<String>, &&str)| {
                let expected = expected.as_ref();
                expected.is_none_or(|expected| expected.trim_end() == *text)
            };
            let are_shown = newest.len() == texts.len() && newest.iter().zip(&texts).all(is_shown);
            match columns.len() == 1 && are_shown {
                true => Ok(()),
                false => Err(format!("{rows:#?}")),
            }
        });
    }
    assert!(expected.len() > 100, "most of them were shown");
}
