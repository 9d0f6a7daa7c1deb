//! The full-screen chat in a real terminal, driven by keys, with real nodes.

use hobnob_tests::lab::{Lab, Machine, Size, Terminal};

const USUAL: Size = Size {
    columns: 80,
    rows: 24,
};
const SMALL: Size = Size {
    columns: 40,
    rows: 10,
};
const WIDE: Size = Size {
    columns: 200,
    rows: 50,
};

const ALT_ENTER: &str = "\x1b\r";
const PAGE_UP: &str = "\x1b[5~";
const ALT_END: &str = "\x1b[1;3F";
const F1: &str = "\x1bOP";
const F4: &str = "\x1bOS";
const WHEEL_UP: &str = "\x1b[<64;10;10M";
const WHEEL_DOWN: &str = "\x1b[<65;10;10M";
const FOCUS_LOST: &str = "\x1b[O";
const CTRL_R: &str = "\x12";
const CTRL_U: &str = "\x15";
const CTRL_Z: &str = "\x1a";
const TAB: &str = "\t";
const ENTER: &str = "\r";
const ESCAPE: &str = "\x1b";

fn chat(machine: &Machine, name: &str, size: Size) -> Terminal {
    machine.home(name).terminal(&[], size)
}

#[test]
fn two_people_find_each_other_and_talk() {
    let lab = Lab::open();
    let office = lab.switch();
    let mut ann = chat(&office.machine("ann"), "ann", USUAL);
    ann.shows("You are ann");
    ann.shows("Looking for people");
    let mut bob = chat(&office.machine("bob"), "bob", WIDE);
    ann.shows("bob is here: say hello");
    bob.shows("ann is here: say hello");
    ann.enters("good morning");
    ann.shows("│ good morning  ✓ delivered 1 of 1");
    bob.shows("ann │ good morning");
    bob.presses("an");
    bob.presses(TAB);
    bob.shows("> ann:");
    bob.enters("and to you");
    ann.shows("bob │ ann: and to you");
    bob.enters("/query ann");
    bob.shows("2 @ann");
    bob.enters("only for you");
    bob.shows("│ only for you  ✓ delivered");
    ann.shows("2 @bob        1");
    ann.presses("\x1b2");
    ann.shows("bob │ only for you");
    ann.enters("/quit");
    assert_eq!(ann.ends(), Some(0));
    ann.is_restored();
    bob.shows("ann has left");
}

#[test]
fn a_paste_and_a_text_of_several_lines_are_one_message_each() {
    let lab = Lab::open();
    let office = lab.switch();
    let bob = office.machine("bob").up("bob", &[]);
    let mut ann = chat(&office.machine("ann"), "ann", USUAL);
    ann.shows("bob is here");
    ann.pastes("one\ntwo\r\nthree\n");
    ann.shows("three");
    ann.presses(ENTER);
    bob.shows_once("one\ntwo\nthree");
    ann.presses("first");
    ann.presses(ALT_ENTER);
    ann.enters("second");
    bob.shows_once("first\nsecond");
}

#[test]
fn scrolling_searching_and_help() {
    let lab = Lab::open();
    let office = lab.switch();
    let bob = office.machine("bob").up("bob", &[]);
    let mut ann = chat(&office.machine("ann"), "ann", USUAL);
    ann.shows("bob is here");
    bob.says("the first of all");
    for n in 0..60 {
        bob.says(&format!("number {n}."));
    }
    ann.shows("number 59.");
    ann.hides("the first of all");
    for _ in 0..4 {
        ann.presses(PAGE_UP);
    }
    ann.shows("the first of all");
    bob.says("much later");
    ann.shows("below: Alt-End");
    ann.hides("much later");
    ann.presses(ALT_END);
    ann.shows("much later");
    ann.presses(CTRL_R);
    ann.presses("first all");
    ann.until("only the search results", |screen| {
        screen.contains("<bob> the first of all") && !screen.contains("number")
    });
    ann.presses(ENTER);
    ann.until("the found message in its context", |screen| {
        screen.contains("│ the first of all") && screen.contains("number 0.")
    });
    ann.presses(ESCAPE);
    ann.shows("much later");
    ann.presses(F1);
    ann.shows("Alt-Enter");
    ann.presses(F1);
    ann.enters("/frob");
    ann.shows("there is no command /frob");
    ann.presses(CTRL_U);
}

#[test]
fn the_chat_is_suspended_like_any_job_and_continues_with_its_screen() {
    let lab = Lab::open();
    let mut ann = chat(&lab.switch().machine("ann"), "ann", USUAL);
    ann.shows("You are ann");
    for by_key in [true, false] {
        if by_key {
            ann.presses(CTRL_Z);
        } else {
            ann.stops();
        }
        ann.is_stopped();
        ann.is_restored();
        ann.continues();
        ann.shows("You are ann");
    }
    ann.presses("still here");
    ann.shows("> still here");
}

#[test]
fn the_screen_works_at_any_size() {
    let lab = Lab::open();
    let office = lab.switch();
    let bob = office.machine("bob").up("bob", &[]);
    let mut ann = chat(&office.machine("ann"), "ann", USUAL);
    ann.shows("bob is here");
    bob.says("日本語 👩\u{200d}🔬 and a text that is a good deal longer than the narrowest of all screens is wide");
    ann.shows("a text that is a good deal");
    ann.resizes(SMALL);
    ann.until("a small screen", |screen| {
        screen.contains("> ") && !screen.contains("1 #lobby") && screen.contains("screens is")
    });
    ann.resizes(Size {
        columns: 20,
        rows: 5,
    });
    ann.shows("hobnob needs");
    ann.resizes(Size {
        columns: 1,
        rows: 1,
    });
    ann.resizes(WIDE);
    ann.shows("● bob");
    ann.enters("still here");
    bob.shows_once("still here");
}

#[test]
fn the_mouse_wheel_scrolls_after_f4() {
    let lab = Lab::open();
    let office = lab.switch();
    let bob = office.machine("bob").up("bob", &[]);
    let mut ann = chat(&office.machine("ann"), "ann", USUAL);
    ann.shows("bob is here");
    for n in 0..40 {
        bob.says(&format!("number {n}."));
    }
    ann.shows("number 39.");
    ann.presses(F4);
    ann.shows("the wheel scrolls");
    ann.presses(WHEEL_UP);
    ann.hides("number 39.");
    ann.shows("below: Alt-End");
    ann.presses(WHEEL_DOWN);
    ann.shows("number 39.");
    ann.presses(F4);
    ann.shows("the mouse selects text");
    ann.enters("/quit");
    assert_eq!(ann.ends(), Some(0));
    ann.is_restored();
}

#[test]
fn a_mention_without_focus_notifies_the_terminal() {
    let lab = Lab::open();
    let office = lab.switch();
    let bob = office.machine("bob").up("bob", &[]);
    let mut ann = chat(&office.machine("ann"), "ann", USUAL);
    ann.shows("bob is here");
    let has_written =
        |ann: &Terminal, text: &str| String::from_utf8_lossy(&ann.bytes()).contains(text);
    bob.says("ann: while you look");
    ann.shows("while you look");
    ann.presses(FOCUS_LOST);
    bob.says("nothing for you");
    ann.shows("nothing for you");
    assert!(!has_written(&ann, "\x1b]9;"));
    bob.says("ann: look \u{1b}[2J here");
    ann.shows("look ␛[2J here");
    assert!(has_written(&ann, "\x07\x1b]9;bob: ann: look ␛[2J here\x07"));
}

#[test]
fn the_terminal_is_restored_after_sigterm() {
    let lab = Lab::open();
    let mut ann = chat(&lab.switch().machine("ann"), "ann", USUAL);
    ann.shows("You are ann");
    ann.presses("half a mess");
    ann.shows("half a mess");
    ann.terminate();
    assert_eq!(ann.ends(), Some(0));
    ann.is_restored();
}

#[test]
fn ctrl_c_twice_quits() {
    let lab = Lab::open();
    let mut ann = chat(&lab.switch().machine("ann"), "ann", USUAL);
    ann.shows("You are ann");
    ann.presses("\x03");
    ann.shows("press it again to quit hobnob");
    ann.presses("\x03");
    assert_eq!(ann.ends(), Some(0));
    ann.is_restored();
}

#[test]
fn nothing_a_peer_sends_controls_the_terminal() {
    let lab = Lab::open();
    let office = lab.switch();
    let bob = office.machine("bob").up("bob", &[]);
    let ann = chat(&office.machine("ann"), "ann", USUAL);
    ann.shows("bob is here");
    let before = ann.bytes().len();
    bob.says("\u{1b}[2J\u{1b}]0;owned\u{7} \u{202e}gpj.exe \u{9b}31m\u{8}\r\t\u{7f}\n14:03 * ann has left");
    bob.says("that was all");
    ann.shows("that was all");
    ann.shows("│ 14:03 * ann has left");
    let bytes = ann.bytes().split_off(before);
    let text = String::from_utf8(bytes).expect("the output is UTF-8");
    for raw in ["\x1b[2J", "\x1b]", "\x07", "\x08", "\u{202e}", "\u{9b}"] {
        assert!(!text.contains(raw), "{raw:?} in {text:?}");
    }
}

#[test]
fn the_chat_continues_when_its_node_ends() {
    let lab = Lab::open();
    let office = lab.switch();
    let (bob, home) = (
        office.machine("bob").up("bob", &[]),
        office.machine("ann").home("ann"),
    );
    let node = home.up(&[]);
    node.sees(&bob);
    let mut ann = home.machine().terminal(
        hobnob_tests::lab::hobnob_binary(),
        &["--home", &home.path().to_string_lossy()],
        USUAL,
    );
    ann.shows("bob");
    ann.enters("through the node that runs");
    bob.shows_once("through the node that runs");
    node.terminate();
    ann.shows("the node that this chat used has ended");
    ann.enters("/msg bob through a node of its own");
    bob.shows_once("through a node of its own");
}
