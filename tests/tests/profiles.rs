//! Profile pictures and new names between real programs.

use std::path::Path;
use std::time::Duration;

use hobnob_tests::lab::{Lab, Node, Size, hobnob_binary, until};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(60);

/// A photograph: too large for a profile picture, and with pixels that do not compress.
fn photograph(path: &Path) {
    let mut state = 1_u32;
    let pixels = image::RgbImage::from_fn(900, 600, |_, _| {
        image::Rgb([(); 3].map(|()| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        }))
    });
    pixels
        .save(path)
        .expect("the lab's folder can be written to");
}

/// What a node lists about a peer.
fn about(node: &Node, peer: &Node) -> Value {
    let peers = node.run(&["peers", "--json"]).expect(0).json();
    let mut peers = peers.into_iter();
    peers
        .find(|known| known["peer"] == peer.id())
        .unwrap_or_default()
}

#[test]
fn a_photograph_becomes_a_small_picture_that_a_contact_sees() {
    let lab = Lab::open();
    let (ann, bob) = lab.ann_and_bob();
    ann.are_contacts(&bob);
    let folder = ann.home().path().with_extension("pictures");
    std::fs::create_dir_all(&folder).expect("the lab's folder can be written to");
    let (photo, saved) = (folder.join("ann.png"), folder.join("saved.png"));
    photograph(&photo);
    ann.run(&["picture", &photo.to_string_lossy()]).expect(0);
    until("bob has ann's picture", TIMEOUT, || {
        match about(&bob, &ann)["picture"].as_str() {
            Some(_) => Ok(()),
            None => Err("there is none".to_owned()),
        }
    });
    let save = [
        "picture",
        "--of",
        ann.id(),
        "--save",
        &saved.to_string_lossy(),
    ];
    let shown = bob.run(&save).expect(0);
    assert!(shown.stdout.contains("image/png"), "{shown}");
    let file = std::fs::read(&saved).expect("it was saved");
    assert!(file.len() <= 32 * 1024, "{} bytes", file.len());
    let picture = image::load_from_memory(&file).expect("a picture");
    assert!(picture.width() <= 128 && picture.height() < picture.width());
    // It overwrites no file.
    bob.run(&save).expect(1);

    ann.run(&["picture", "--remove"]).expect(0);
    until("bob has no picture of ann", TIMEOUT, || {
        match about(&bob, &ann)["picture"].as_str() {
            None => Ok(()),
            Some(hash) => Err(hash.to_owned()),
        }
    });
    let none = bob.run(&["picture", "--of", ann.id()]).expect(1);
    assert!(none.stderr.contains("no picture"), "{none}");
}

#[test]
fn a_file_that_is_no_picture_is_refused_with_a_reason() {
    let lab = Lab::open();
    let ann = lab.switch().machine("ann").up("ann", &[]);
    let text = ann.home().path().join("config.toml");
    std::fs::write(&text, "").expect("the lab's folder can be written to");
    let refused = ann.run(&["picture", &text.to_string_lossy()]).expect(1);
    assert!(refused.stderr.contains("no PNG, JPEG"), "{refused}");
    let missing = ann.run(&["picture", "/nowhere/ann.png"]).expect(1);
    assert!(missing.stderr.contains("No such file"), "{missing}");
}

#[test]
fn a_new_name_is_shown_with_the_earlier_one_and_old_lines_keep_theirs() {
    let lab = Lab::open();
    let (ann, bob) = lab.ann_and_bob();
    ann.are_contacts(&bob);
    ann.tells(&bob, "with the old one");
    ann.run(&["nick", "anna"]).expect(0);
    until("bob knows the new name", TIMEOUT, || {
        match about(&bob, &ann)["formerly"].as_str() {
            Some("ann") => Ok(()),
            other => Err(format!("formerly {other:?}")),
        }
    });
    ann.tells(&bob, "with the new one");
    bob.terminate();
    bob.start();
    let history = bob.run(&["history", ann.id()]).expect(0).json();
    let name = |text: &str| {
        let mut lines = history.iter();
        let line = lines.find(|line| line["text"] == text);
        line.unwrap_or_else(|| panic!("{text} is not in {history:?}"))["nick"].clone()
    };
    assert_eq!(name("with the old one"), "ann");
    assert_eq!(name("with the new one"), "anna");
    // The earlier name was stored.
    assert_eq!(about(&bob, &ann)["formerly"], "ann");
}

#[test]
fn each_interface_shows_old_lines_with_the_name_of_their_time() {
    let lab = Lab::open();
    let (ann, bob) = lab.ann_and_bob();
    ann.are_contacts(&bob);
    let old = ann.says("the old line");
    bob.shows_once("the old line");
    bob.run(&["reply", &old, "my answer"]).expect(0);
    ann.shows_once("my answer");
    ann.run(&["nick", "anna"]).expect(0);
    until("bob knows the new name", TIMEOUT, || {
        match about(&bob, &ann)["formerly"].as_str() {
            Some("ann") => Ok(()),
            other => Err(format!("formerly {other:?}")),
        }
    });
    ann.says("the new line");
    bob.shows_once("the new line");

    let home = bob.home().path().to_string_lossy().into_owned();
    let printed = |arguments: &[&str]| {
        let all = [&["--home", home.as_str()], arguments].concat();
        bob.machine().hobnob(&all).expect(0).stdout
    };
    let lines = [
        "<ann> the old line",
        "<bob> [to ann: the old line] my answer",
        "<anna> the new line",
    ];
    for arguments in [
        &["history", "#lobby"][..],
        &["export", "#lobby", "--format", "text"],
    ] {
        let printed = printed(arguments);
        for line in lines {
            assert!(printed.contains(line), "{line} is not in {printed}");
        }
    }
    let page = printed(&["export", "#lobby", "--format", "html"]);
    for (name, text) in [("ann", "the old line"), ("anna", "the new line")] {
        let line = format!("<b><bdi>{name}</bdi></b> <bdi>{text}</bdi>");
        assert!(page.contains(&line), "{line} is not in {page}");
    }
    let json = printed(&["export", "#lobby", "--format", "json"]);
    let json = json
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let json: Vec<Value> = json.collect();
    let line = |text: &str| {
        let found = json.iter().find(|line| line["text"] == text);
        found.unwrap_or_else(|| panic!("{text} is not in {json:#?}"))
    };
    assert_eq!(line("the old line")["nick"], "ann");
    assert_eq!(line("my answer")["reply_to"]["nick"], "ann");
    assert_eq!(line("the new line")["nick"], "anna");

    let attached = ["--home", home.as_str(), "--plain"];
    let mut chat = bob.machine().screen(hobnob_binary(), &attached);
    chat.types("/history");
    for line in lines {
        chat.shows(line);
    }
    let size = Size {
        columns: 100,
        rows: 30,
    };
    let screen = bob
        .machine()
        .terminal(hobnob_binary(), &["--home", &home], size);
    screen.until("the lines have the names of their times", |screen| {
        let has = |name: &str, text: &str| {
            let mut rows = screen.lines();
            rows.any(|row| row.contains(&format!(" {name} │ {text}")))
        };
        has("ann", "the old line") && has("anna", "the new line")
    });
}
