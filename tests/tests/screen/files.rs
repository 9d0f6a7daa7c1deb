//! Files in both chats: offers, downloads, and equal bytes at both ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hobnob_tests::lab::{Home, Lab, Node, Size, Terminal, hobnob_binary};
use serde_json::Value;

const WIDE: Size = Size {
    columns: 120,
    rows: 30,
};
const USUAL: Size = Size {
    columns: 80,
    rows: 24,
};

const TAB: &str = "\t";
const ENTER: &str = "\r";
const ALT_2: &str = "\x1b2";

/// Writes a file of this many bytes beside a home.
fn file(of: &Home, name: &str, bytes: usize) -> PathBuf {
    let folder = of.path().with_extension("files");
    fs::create_dir_all(&folder).expect("the lab's folder is writable");
    let path = folder.join(name);
    let content: Vec<u8> = (0..bytes)
        .map(|at| u8::try_from(at * at / 7 % 251).expect("the remainder is below 251"))
        .collect();
    fs::write(&path, content).expect("the disk has room");
    path
}

fn assert_same(one: &Path, other: &Path) {
    assert!(
        fs::read(one).expect("the file exists") == fs::read(other).expect("the file exists"),
        "{one:?} and {other:?} differ"
    );
}

#[test]
fn a_file_is_sent_from_one_full_screen_chat_to_another() {
    let lab = Lab::open();
    let office = lab.switch();
    let (here, there) = (
        office.machine("ann").home("ann"),
        office.machine("bob").home("bob"),
    );
    let film = file(&here, "my film.mp4", 40_000_000);
    let (mut ann, mut bob) = (here.terminal(&[], WIDE), there.terminal(&[], USUAL));
    ann.shows("bob is here");
    bob.shows("ann is here");
    ann.enters("/query bob");
    ann.shows("2 @bob");
    let folder = film.parent().expect("the file is in a folder");
    ann.presses(&format!("/send {}/my", folder.display()));
    ann.presses(TAB);
    ann.shows("my film.mp4");
    ann.presses(ENTER);
    ann.shows("[offers my film.mp4, 40.0 MB]");
    ann.shows("waiting to be accepted");
    bob.shows("2 @ann        1");
    bob.presses(ALT_2);
    bob.shows("waiting for you: /accept");
    bob.presses("/acc");
    bob.presses(TAB);
    bob.shows("> /accept");
    bob.presses(ENTER);
    bob.shows("saved as ");
    ann.shows("saved by bob");
    assert_same(&film, &there.path().join("downloads/my film.mp4"));
    let no = file(&here, "no", 10);
    ann.enters(&format!("/send '{}'", no.display()));
    bob.shows("[offers no, 10 bytes]");
    bob.enters("/decline no");
    ann.shows("declined by bob");
    ann.enters(&format!("/send {}/none", folder.display()));
    ann.shows("No such file");
    for mut terminal in [ann, bob] {
        terminal.enters("/quit");
        assert_eq!(terminal.ends(), Some(0));
    }
}

#[test]
fn a_sending_command_shows_what_it_waits_for_and_its_progress() {
    let lab = Lab::open();
    let (ann, bob) = lab.ann_and_bob();
    let film = file(ann.home(), "film.mp4", 200_000_000);
    let mut sending = command(
        &ann,
        &[
            "send",
            "bob",
            "--timeout",
            "60s",
            "--file",
            &film.to_string_lossy(),
        ],
    );
    sending.shows("offered film.mp4 to bob");
    sending.shows("film.mp4: waiting until it is accepted");
    let mut accepting = command(&bob, &["accept", "film.mp4"]);
    sending.shows("200.00 MB");
    accepting.shows("film.mp4 is here: ");
    sending.shows("bob has film.mp4");
    for command in [&mut sending, &mut accepting] {
        assert_eq!(command.ends(), Some(0));
    }
    let notes = file(ann.home(), "notes", 10);
    let mut unaccepted = command(
        &ann,
        &[
            "send",
            "bob",
            "--timeout",
            "1s",
            "--file",
            &notes.to_string_lossy(),
        ],
    );
    unaccepted.shows("notes is not accepted yet: it stays available while");
    assert_eq!(unaccepted.ends(), Some(4));
}

/// Runs a command for a running node in a terminal.
fn command(of: &Node, arguments: &[&str]) -> Terminal {
    let home = of
        .home()
        .path()
        .to_str()
        .expect("the lab's paths are ASCII");
    of.machine().terminal(
        hobnob_binary(),
        &[&["--home", home], arguments].concat(),
        USUAL,
    )
}

#[test]
fn the_plain_chat_sends_and_receives_files() {
    let lab = Lab::open();
    let office = lab.switch();
    let ann = office.machine("ann").up("ann", &[]);
    let there = office.machine("bob").home("bob");
    let mut bob = there.screen(&["--plain"]);
    bob.types("hello");
    ann.shows_once("hello");
    let plan = file(ann.home(), "the plan.pdf", 300_000);
    ann.run(&[
        "broadcast",
        "--wait",
        "queued",
        "--file",
        &plan.to_string_lossy(),
    ])
    .expect(0);
    bob.shows("[offers the plan.pdf, 300.0 kB]: /accept ");
    bob.types("/files");
    bob.shows("offered");
    bob.types("/accept");
    bob.shows("the plan.pdf is here: ");
    assert_same(&plan, &there.path().join("downloads/the plan.pdf"));
    let answer = file(&there, "answer.txt", 5);
    bob.types(&format!("/send @ann {}", answer.display()));
    let offered = {
        let fits = |event: &Value| event["event"] == "file" && event["name"] == "answer.txt";
        ann.wait_for("report answer.txt", fits, Duration::from_secs(60))
    };
    assert_eq!(offered["state"], "offered");
    assert!(
        offered["conversation"]
            .as_str()
            .is_some_and(|of| of.starts_with('@')),
        "{offered}"
    );
    ann.run(&["accept", "answer.txt"]).expect(0);
    bob.shows("ann has answer.txt");
    bob.types("/accept");
    bob.shows("there is no file to accept");
}
