//! Small pictures beside the offers of picture files, as terminals of several kinds show them.

use std::fs;
use std::path::PathBuf;

use hobnob_tests::lab::{Home, Lab, Model, Size};

const WIDE: Size = Size {
    columns: 120,
    rows: 40,
};
const USUAL: Size = Size {
    columns: 80,
    rows: 24,
};

const PAGE_UP: &str = "\x1b[5~";
const ALT_1: &str = "\x1b1";
const ALT_2: &str = "\x1b2";

/// Rows of a picture on these screens, of one that is wider than high.
const ROWS_WIDE: usize = 10;
const ROWS_USUAL: usize = 6;

/// Asks what the terminal is.
const WHAT_ARE_YOU: &str = "\x1b[c";
/// Asks whether it speaks kitty's protocol.
const DO_YOU_SPEAK_KITTY: &str = "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\";

/// As kitty answers.
const KITTY: Model = Model {
    variables: &[("TERM", "xterm-kitty"), ("COLORTERM", "truecolor")],
    cell: Some((9, 18)),
    answers: &[
        (DO_YOU_SPEAK_KITTY, "\x1b_Gi=31;OK\x1b\\"),
        (WHAT_ARE_YOU, "\x1b[?62;c"),
    ],
};
/// As foot answers.
const FOOT: Model = Model {
    variables: &[("TERM", "foot")],
    cell: Some((9, 18)),
    answers: &[(WHAT_ARE_YOU, "\x1b[?62;4;22;28;29;46;52c")],
};
/// Has pixels, and does not know what it is.
const SILENT: Model = Model {
    variables: &[],
    cell: Some((9, 18)),
    answers: &[],
};
const TMUX: Model = Model {
    variables: &[
        ("TERM", "tmux-256color"),
        ("TMUX", "/tmp/tmux-0/default,1,0"),
        ("KITTY_WINDOW_ID", "1"),
    ],
    cell: Some((9, 18)),
    answers: &[],
};
const CONSOLE: Model = Model {
    variables: &[("TERM", "linux")],
    cell: Some((8, 16)),
    answers: &[],
};
const NO_COLOUR: Model = Model {
    variables: &[("TERM", "foot"), ("NO_COLOR", "1")],
    ..FOOT
};

/// A picture of a hill before the sky, beside a home.
fn hill(of: &Home) -> PathBuf {
    let folder = of.path().with_extension("files");
    fs::create_dir_all(&folder).expect("the lab's folder can be written to");
    let path = folder.join("hill.png");
    let colour = |x: u32, y: u32| {
        image::Rgb(if y > 240 + x.abs_diff(320) / 2 {
            [30, 120, 40]
        } else {
            [90, 140, 220]
        })
    };
    image::RgbImage::from_fn(640, 480, colour)
        .save(&path)
        .expect("there is room");
    path
}

#[test]
fn a_picture_is_seen_by_those_who_have_verified_its_sender() {
    let lab = Lab::open();
    let office = lab.switch();
    let (here, there) = (
        office.machine("ann").home("ann"),
        office.machine("bob").home("bob"),
    );
    let picture = hill(&here);
    let (mut ann, mut bob) = (here.terminal(&[], WIDE), there.terminal(&[], USUAL));
    ann.shows("bob is here");
    bob.shows("ann is here");
    ann.enters(&format!("/send {}", picture.display()));
    ann.shows("640×480, waiting to be accepted");
    ann.shows_coloured_rows(ROWS_WIDE);
    bob.shows("waiting for you: /accept");
    bob.enters("/accept");
    bob.shows("640×480, saved as ");
    ann.enters("is it there?");
    bob.shows("is it there?");
    bob.shows_coloured_rows(0);
    bob.enters("/verify ann confirm");
    bob.shows_coloured_rows(ROWS_USUAL);
    // It moves up with what it belongs to, and nothing of it stays behind.
    for n in 0..16 {
        ann.enters(&format!("line {n}"));
    }
    bob.shows("line 15");
    bob.until("the offer has left the screen", |screen| {
        !screen.contains("hill.png")
    });
    bob.enters("yes");
    bob.presses(PAGE_UP);
    bob.shows("hill.png");
    bob.shows_coloured_rows(ROWS_USUAL);
    bob.enters("/query ann");
    bob.shows_coloured_rows(0);
    bob.presses(ALT_1);
    bob.shows("line 15");
    bob.presses(PAGE_UP);
    bob.shows_coloured_rows(ROWS_USUAL);
    bob.resizes(Size {
        columns: 80,
        rows: 12,
    });
    bob.shows_coloured_rows(0);
    bob.resizes(WIDE);
    bob.shows_coloured_rows(ROWS_WIDE);
    bob.presses(ALT_2);
    bob.shows_coloured_rows(0);
    for mut terminal in [ann, bob] {
        terminal.enters("/quit");
        assert_eq!(terminal.ends(), Some(0));
        terminal.is_restored();
    }
}

#[test]
fn each_terminal_gets_pictures_as_it_can_show_them() {
    let lab = Lab::open();
    let machine = lab.switch().machine("ann");
    let picture = hill(&machine.home("files"));
    let mut homes = (0..).map(|n| machine.home(&format!("ann{n}")));
    let mut on = |model: &Model| {
        let mut terminal =
            homes
                .next()
                .expect("without end")
                .terminal_of(model, &["--no-mdns"], USUAL);
        terminal.shows("#lobby");
        terminal.enters(&format!("/send {}", picture.display()));
        terminal.shows("640×480, waiting to be accepted");
        terminal
    };

    let mut kitty = on(&KITTY);
    kitty.writes(",a=T,U=1,f=32,t=d,");
    kitty.shows("\u{10eeee}");
    kitty.enters("/quit");
    assert_eq!(kitty.ends(), Some(0));
    assert!(
        kitty.has_written("_Ga=d,d=I,i="),
        "what kitty keeps is freed"
    );

    let foot = on(&FOOT);
    foot.writes("\x1bP");
    assert!(
        !foot.has_written("\x1b_G"),
        "what is not kitty is not asked by kitty's protocol"
    );

    let tmux = on(&TMUX);
    tmux.shows_coloured_rows(ROWS_USUAL);
    assert!(!tmux.has_written(WHAT_ARE_YOU) && !tmux.has_written("\x1b_G"));

    for model in [CONSOLE, NO_COLOUR] {
        let mut plain = on(&model);
        plain.enters("hello");
        plain.shows("│ hello");
        plain.shows_coloured_rows(0);
        assert!(
            !plain.has_written(WHAT_ARE_YOU)
                && !plain.has_written("\x1b_G")
                && !plain.has_written("\x1bP")
        );
    }
}

#[test]
fn pictures_that_are_to_do_harm_show_their_size_and_hold_up_nothing() {
    let lab = Lab::open();
    let machine = lab.switch().machine("ann");
    let home = machine.home("ann");
    let good = hill(&home);
    // A few bytes that say they are 81 million pixels, and are; and one that ends in its middle.
    let (bomb, cut) = (
        good.with_file_name("bomb.png"),
        good.with_file_name("cut.png"),
    );
    image::GrayImage::new(9000, 9000)
        .save(&bomb)
        .expect("there is room");
    let whole = fs::read(&good).expect("it is there");
    fs::write(&cut, &whole[..whole.len() / 2]).expect("there is room");
    let mut ann = home.terminal(&["--no-mdns"], USUAL);
    ann.shows("#lobby");
    for (file, size) in [(&bomb, "9000×9000"), (&cut, "640×480")] {
        ann.enters(&format!("/send {}", file.display()));
        ann.shows(&format!("{size}, waiting to be accepted"));
    }
    ann.enters("still here");
    ann.shows("│ still here");
    ann.shows_coloured_rows(0);
    ann.enters(&format!("/send {}", good.display()));
    ann.shows_coloured_rows(ROWS_USUAL);
}

#[test]
fn what_is_typed_while_a_terminal_is_asked_is_not_lost() {
    let lab = Lab::open();
    let machine = lab.switch().machine("ann");
    let picture = hill(&machine.home("files"));
    let (silent, late) = (machine.home("silent"), machine.home("late"));
    let mut silent = silent.terminal_of(&SILENT, &["--no-mdns"], USUAL);
    silent.writes(WHAT_ARE_YOU);
    silent.presses("good morning");
    silent.shows("> good morning");
    silent.enters(", all");
    silent.shows("│ good morning, all");
    silent.enters(&format!("/send {}", picture.display()));
    silent.shows_coloured_rows(ROWS_USUAL);

    let mut late = late.terminal_of(&SILENT, &["--no-mdns"], USUAL);
    late.shows("#lobby");
    // What it is, too late: no key.
    late.presses("\x1b[?62;4;22c");
    late.presses("fine");
    late.shows("> fine");
}

#[test]
fn the_size_of_a_picture_is_told_in_lines_and_after_a_restart() {
    let lab = Lab::open();
    let office = lab.switch();
    let ann = office.machine("ann").up("ann", &[]);
    let there = office.machine("bob").home("bob");
    let mut bob = there.screen(&["--plain"]);
    bob.types("hello");
    ann.shows_once("hello");
    let picture = hill(ann.home());
    ann.run(&[
        "broadcast",
        "--wait",
        "queued",
        "--file",
        &picture.to_string_lossy(),
    ])
    .expect(0);
    bob.shows("[offers hill.png, ");
    bob.types("/accept");
    bob.shows("* hill.png (640×480) is here: ");
    bob.types("/files");
    bob.shows("640×480, ");
    bob.types(&format!("/send {}", hill(&there).display()));
    bob.shows("* you offer hill.png (640×480, ");
    for _ in 0..2 {
        let files = ann.run(&["files"]).expect(0).json();
        let own = files
            .iter()
            .find(|file| file["own"] == true)
            .expect("the offer is listed");
        assert_eq!(
            (&own["picture"]["width"], &own["picture"]["height"]),
            (&640.into(), &480.into()),
            "{own}"
        );
        assert_eq!(
            own["picture"]["path"],
            *picture
                .canonicalize()
                .expect("it is there")
                .to_string_lossy()
        );
        ann.restart();
    }
    // What is no longer what was offered is no picture to be shown.
    fs::write(&picture, "another").expect("there is room");
    ann.restart();
    let files = ann.run(&["files"]).expect(0).json();
    assert!(
        files
            .iter()
            .filter(|file| file["own"] == true)
            .all(|file| file.get("picture").is_none()),
        "{files:?}"
    );
}
