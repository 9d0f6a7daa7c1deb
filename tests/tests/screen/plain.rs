//! Control characters from peers never reach the output: they cannot move the cursor or hide and
//! reorder text.

use hobnob_tests::lab::{Lab, Screen};

/// Clears the screen, sets the title, changes the direction, rings the bell, moves the cursor back,
/// and more.
const CONTROLS: &str = "start \u{1b}[2J\u{1b}]0;owned\u{7} \u{202e}gpj.exe\u{202c} \u{2066}x\u{2069} \u{9b}31m \u{8}\u{8}\r\t\u{7f}\u{200b}\u{feff}\u{e0041} end";

#[test]
fn the_plain_chat_replaces_control_characters() {
    let lab = Lab::open();
    let office = lab.switch();
    let ann = office.machine("ann").up("ann", &[]);
    let mut chat = office.machine("bob").home("bob").screen(&["--plain"]);
    chat.types("hello from bob");
    ann.shows_once("hello from bob");
    ann.says(CONTROLS);
    ann.says("that was all");
    chat.shows("that was all");
    chat.shows("start ");
    assert_harmless(&chat);
}

#[test]
fn the_plain_chat_does_not_echo_pasted_control_characters() {
    let lab = Lab::open();
    let office = lab.switch();
    let ann = office.machine("ann").up("ann", &[]);
    let mut chat = office.machine("bob").home("bob").screen(&["--plain"]);
    chat.types("first");
    ann.shows_once("first");
    chat.types("pasted \u{1b}[31m\u{202e}red");
    chat.types("last");
    ann.shows_once("last");
    assert_harmless(&chat);
}

#[test]
fn up_replaces_control_characters_in_text_and_keeps_them_in_json() {
    let lab = Lab::open();
    let office = lab.switch();
    let ann = office.machine("ann").up("ann", &[]);
    let bob = office.machine("bob").home("bob").screen(&["up"]);
    let cat = office.machine("cat").up("cat", &[]);
    ann.sees(&cat);
    // A screen has no events to wait for. The greeting shows that all nodes are connected.
    let greeting = ann.says("hello");
    bob.shows("hello");
    ann.gets_receipt(&greeting, &cat);
    ann.says(CONTROLS);
    ann.says("that was all");
    bob.shows("that was all");
    assert_harmless(&bob);
    cat.shows_once(CONTROLS);
    let raw = cat.run(&["history"]).expect(0);
    assert_clean(raw.stdout.as_bytes(), &raw.to_string());
}

#[test]
fn history_and_errors_replace_control_characters() {
    let lab = Lab::open();
    let (ann, bob) = lab.ann_and_bob();
    ann.tells(&bob, CONTROLS);
    bob.shows_once(CONTROLS);
    let home = bob.home().path().to_string_lossy();
    let run_as_text = |arguments: &[&str]| {
        bob.machine()
            .hobnob(&[&["--home", &home], arguments].concat())
    };
    let history = run_as_text(&["history"]).expect(0);
    assert!(
        history.stdout.contains("start ") && history.stdout.contains(" end"),
        "{history}"
    );
    let refused = [
        run_as_text(&["send", "\u{1b}[2J", "hi"]),
        run_as_text(&["broadcast", "--room", "\u{202e}", "hi"]),
    ];
    for output in [history].into_iter().chain(refused) {
        assert_clean(output.stdout.as_bytes(), &output.to_string());
        assert_clean(output.stderr.as_bytes(), &output.to_string());
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
    assert_clean(refused.stderr.as_bytes(), &refused.to_string());
}

fn assert_harmless(screen: &Screen) {
    let bytes = screen.bytes();
    assert_clean(&bytes, &String::from_utf8_lossy(&bytes));
}

/// Checks that line feeds are the only control characters.
fn assert_clean(bytes: &[u8], shown: &str) {
    let text = std::str::from_utf8(bytes).expect("the output is UTF-8");
    let is_forbidden = |c: &char| {
        *c != '\n'
            && (c.is_control() || hobnob_protocol::text::visible(&c.to_string()) != c.to_string())
    };
    let found: Vec<u32> = text.chars().filter(is_forbidden).map(u32::from).collect();
    assert!(found.is_empty(), "{found:x?} in {shown:?}");
}

const USAGE: i32 = 2;
