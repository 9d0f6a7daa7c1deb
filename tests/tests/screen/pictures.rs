//! Picture previews beside offers, in several kinds of terminals.

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

/// The rows that a landscape picture takes on these screens.
const ROWS_WIDE: usize = 10;
const ROWS_USUAL: usize = 6;

/// Asks for the terminal's attributes (DA1).
const ASK_ATTRIBUTES: &str = "\x1b[c";
/// Asks whether the terminal supports kitty's graphics protocol.
const ASK_KITTY: &str = "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\";

/// Asks for the colour of the background (OSC 11).
const ASK_BACKGROUND: &str = "\x1b]11;?\x1b\\";

/// Answers as kitty does.
const KITTY: Model = Model {
    variables: &[("TERM", "xterm-kitty"), ("COLORTERM", "truecolor")],
    cell: Some((9, 18)),
    answers: &[
        (ASK_KITTY, "\x1b_Gi=31;OK\x1b\\"),
        (ASK_ATTRIBUTES, "\x1b[?62;c"),
    ],
};
/// Answers as foot does.
const FOOT: Model = Model {
    variables: &[("TERM", "foot")],
    cell: Some((9, 18)),
    answers: &[(ASK_ATTRIBUTES, "\x1b[?62;4;22;28;29;46;52c")],
};
/// Reports its cell size in pixels, but answers nothing.
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

/// Writes a picture of a hill and the sky beside a home.
fn hill(of: &Home) -> PathBuf {
    let folder = of.path().with_extension("files");
    fs::create_dir_all(&folder).expect("the lab's folder is writable");
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
        .expect("the disk has room");
    path
}

#[test]
fn a_picture_is_shown_when_its_sender_is_verified() {
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
    // The picture scrolls with its offer, and no part of it remains.
    for n in 0..16 {
        ann.enters(&format!("line {n}"));
    }
    bob.shows("line 15");
    bob.until("the offer scrolls off the screen", |screen| {
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
fn each_terminal_gets_pictures_in_a_protocol_that_it_supports() {
    let lab = Lab::open();
    let machine = lab.switch().machine("ann");
    let picture = hill(&machine.home("files"));
    let mut homes = (0..).map(|n| machine.home(&format!("ann{n}")));
    let mut on = |model: &Model| {
        let mut terminal = homes.next().expect("the iterator is infinite").terminal_of(
            model,
            &["--no-mdns"],
            USUAL,
        );
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
        "the picture is deleted from kitty's memory"
    );

    let foot = on(&FOOT);
    foot.writes("\x1bP");
    assert!(
        !foot.has_written("\x1b_G"),
        "foot receives nothing of kitty's protocol"
    );

    let tmux = on(&TMUX);
    tmux.shows_coloured_rows(ROWS_USUAL);
    assert!(!tmux.has_written("\x1b_G") && !tmux.has_written("\x1bP"));

    for model in [CONSOLE, NO_COLOUR] {
        let mut plain = on(&model);
        plain.enters("hello");
        plain.shows("│ hello");
        plain.shows_coloured_rows(0);
        assert!(
            !plain.has_written(ASK_ATTRIBUTES)
                && !plain.has_written(ASK_BACKGROUND)
                && !plain.has_written("\x1b_G")
                && !plain.has_written("\x1bP")
        );
    }
}

#[test]
fn the_colours_fit_the_background_that_the_terminal_names() {
    const LIGHT: Model = Model {
        variables: &[("TERM", "xterm-256color")],
        cell: None,
        answers: &[
            (ASK_BACKGROUND, "\x1b]11;rgb:ffff/ffff/ffff\x1b\\"),
            (ASK_ATTRIBUTES, "\x1b[?62;c"),
        ],
    };
    const DARK: Model = Model {
        answers: &[
            (ASK_BACKGROUND, "\x1b]11;rgb:1111/1111/1111\x07"),
            (ASK_ATTRIBUTES, "\x1b[?62;c"),
        ],
        ..LIGHT
    };
    // The colour of notes on a light background.
    const ON_LIGHT: &str = "38;5;24";
    let lab = Lab::open();
    let machine = lab.switch().machine("ann");
    for (index, (model, settings, is_light)) in [
        (LIGHT, "", true),
        (DARK, "", false),
        (LIGHT, "background = \"dark\"\n", false),
    ]
    .into_iter()
    .enumerate()
    {
        let home = machine.home(&format!("ann{index}"));
        fs::create_dir_all(home.path()).expect("the lab's folder can be written to");
        fs::write(home.path().join("config.toml"), settings).expect("the disk has room");
        let mut terminal = home.terminal_of(&model, &["--no-mdns"], USUAL);
        // Once the node has answered which rooms there are.
        terminal.shows("#lobby  open");
        terminal.enters("/rooms");
        terminal.shows("(open, ");
        assert_eq!(terminal.has_written(ON_LIGHT), is_light, "{settings:?}");
        let is_asked = terminal.has_written(ASK_BACKGROUND);
        assert_eq!(is_asked, settings.is_empty());
    }
}

#[test]
fn harmful_pictures_show_their_size_and_block_nothing() {
    let lab = Lab::open();
    let machine = lab.switch().machine("ann");
    let home = machine.home("ann");
    let good = hill(&home);
    // A small file of 81 million pixels, and a file that is cut in half.
    let (bomb, cut) = (
        good.with_file_name("bomb.png"),
        good.with_file_name("cut.png"),
    );
    image::GrayImage::new(9000, 9000)
        .save(&bomb)
        .expect("the disk has room");
    let whole = fs::read(&good).expect("the file exists");
    fs::write(&cut, &whole[..whole.len() / 2]).expect("the disk has room");
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
fn keys_typed_during_terminal_detection_are_not_lost() {
    let lab = Lab::open();
    let machine = lab.switch().machine("ann");
    let picture = hill(&machine.home("files"));
    let (silent, late) = (machine.home("silent"), machine.home("late"));
    let mut silent = silent.terminal_of(&SILENT, &["--no-mdns"], USUAL);
    silent.writes(ASK_ATTRIBUTES);
    silent.presses("good morning");
    silent.shows("> good morning");
    silent.enters(", all");
    silent.shows("│ good morning, all");
    silent.enters(&format!("/send {}", picture.display()));
    silent.shows_coloured_rows(ROWS_USUAL);

    let mut late = late.terminal_of(&SILENT, &["--no-mdns"], USUAL);
    late.shows("#lobby");
    // Late answers of the terminal are not keys.
    late.presses("\x1b]11;rgb:ffff/ffff/ffff\x1b\\");
    late.presses("\x1b[?62;4;22c");
    late.presses("fine");
    late.shows("> fine");
}

#[test]
fn the_plain_chat_shows_the_size_of_a_picture_also_after_a_restart() {
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
                .expect("the file exists")
                .to_string_lossy()
        );
        ann.restart();
    }
    // A file that changed after the offer is not shown as a picture.
    fs::write(&picture, "another").expect("the disk has room");
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
