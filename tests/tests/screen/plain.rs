//! Nothing that a peer sends can move a cursor, hide or reorder what stands on a screen.

use hobnob_tests::lab::{Lab, Screen};

/// Clears the screen, sets the window's title, overrides the direction, rings, goes back, and more
/// of the kind.
const NASTY: &str = "start \u{1b}[2J\u{1b}]0;owned\u{7} \u{202e}gpj.exe\u{202c} \u{2066}x\u{2069} \u{9b}31m \u{8}\u{8}\r\t\u{7f}\u{200b}\u{feff}\u{e0041} end";

#[test]
fn the_plain_chat_shows_stand_ins() {
    let lab = Lab::open();
    let office = lab.switch();
    let ann = office.machine("ann").up("ann", &[]);
    let mut chat = office.machine("bob").home("bob").screen(&["--plain"]);
    chat.types("hello from bob");
    ann.shows_once("hello from bob");
    ann.says(NASTY);
    ann.says("that was all");
    chat.shows("that was all");
    chat.shows("start ");
    is_harmless(&chat);
}

#[test]
fn the_plain_chat_neither_echoes_what_was_pasted_into_it() {
    let lab = Lab::open();
    let office = lab.switch();
    let ann = office.machine("ann").up("ann", &[]);
    let mut chat = office.machine("bob").home("bob").screen(&["--plain"]);
    chat.types("first");
    ann.shows_once("first");
    chat.types("pasted \u{1b}[31m\u{202e}red");
    chat.types("last");
    ann.shows_once("last");
    is_harmless(&chat);
}

#[test]
fn up_shows_stand_ins_as_text_and_keeps_the_value_as_json() {
    let lab = Lab::open();
    let office = lab.switch();
    let ann = office.machine("ann").up("ann", &[]);
    let bob = office.machine("bob").home("bob").screen(&["up"]);
    let cat = office.machine("cat").up("cat", &[]);
    ann.sees(&cat);
    // A screen has no events to wait for: the first words that come through show that all are
    // there.
    let greeting = ann.says("hello");
    bob.shows("hello");
    ann.gets_receipt(&greeting, &cat);
    ann.says(NASTY);
    ann.says("that was all");
    bob.shows("that was all");
    is_harmless(&bob);
    cat.shows_once(NASTY);
    let raw = cat.run(&["history"]).expect(0);
    is_clean(raw.stdout.as_bytes(), &raw.to_string());
}

#[test]
fn history_and_errors_show_stand_ins() {
    let lab = Lab::open();
    let office = lab.switch();
    let (ann, bob) = (
        office.machine("ann").up("ann", &[]),
        office.machine("bob").up("bob", &[]),
    );
    ann.sees(&bob);
    ann.tells(&bob, NASTY);
    bob.shows_once(NASTY);
    let home = bob.home().path().to_string_lossy();
    let as_a_person = |arguments: &[&str]| {
        bob.machine()
            .hobnob(&[&["--home", &home], arguments].concat())
    };
    let history = as_a_person(&["history"]).expect(0);
    assert!(
        history.stdout.contains("start ") && history.stdout.contains(" end"),
        "{history}"
    );
    let refused = [
        as_a_person(&["send", "\u{1b}[2J", "hi"]),
        as_a_person(&["broadcast", "--room", "\u{202e}", "hi"]),
    ];
    for output in [history].into_iter().chain(refused) {
        is_clean(output.stdout.as_bytes(), &output.to_string());
        is_clean(output.stderr.as_bytes(), &output.to_string());
    }
}

#[test]
fn a_nickname_with_an_escape_is_refused() {
    let lab = Lab::open();
    let ann = lab.switch().machine("ann");
    let home = ann.home("ann");
    let refused = ann
        .hobnob(&[
            "--home",
            &home.path().to_string_lossy(),
            "--nick",
            "a\u{1b}[2Jb",
            "up",
        ])
        .expect(USAGE);
    is_clean(refused.stderr.as_bytes(), &refused.to_string());
}

fn is_harmless(screen: &Screen) {
    let bytes = screen.bytes();
    is_clean(&bytes, &String::from_utf8_lossy(&bytes));
}

/// Lines end with a line feed, and that is all that may control anything.
fn is_clean(bytes: &[u8], shown: &str) {
    let text = std::str::from_utf8(bytes).expect("a screen gets UTF-8");
    let disturbing = |c: &char| {
        *c != '\n'
            && (c.is_control() || hobnob_protocol::text::visible(&c.to_string()) != c.to_string())
    };
    let found: Vec<u32> = text.chars().filter(disturbing).map(u32::from).collect();
    assert!(found.is_empty(), "{found:x?} in {shown:?}");
}

const USAGE: i32 = 2;
