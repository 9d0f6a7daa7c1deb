//! Files in the chat: what is offered, how it moves, what is asked for.

use std::path::{Path, PathBuf};

use crossterm::event::KeyCode;
use hobnob::{FileState, PeerState};
use hobnob_control::wire::{PictureFields, Text, WireEvent};

use super::scene::{ANN, BOB, CAT, Scene, id, peer, room, with};
use super::screens::{SIZES, picture};
use crate::shared::settings::{Previewed, ScreenSettings};
use crate::tui::app::{Input, Output};
use crate::tui::picture::tests::file as picture_file;
use crate::tui::picture::{Canvas, Picture};

const MB: u64 = 1_000_000;

fn moving(scene: &mut Scene, offer: hobnob::MessageId, percent: u64) {
    scene.file_is(offer, |line| {
        line.state = FileState::Moving;
        line.bytes = line.offer.size / 100 * percent;
        line.rate = Some(12 * MB);
        line.left_s = Some((line.offer.size - line.bytes) / (12 * MB) + 1);
        if line.peers.is_empty() {
            line.peers = vec![if line.own { Text(id(CAT)) } else { line.from }];
        }
    });
}

#[test]
fn every_state_of_a_file() {
    let mut scene = Scene::three().opened();
    let lobby = room("lobby");
    let [accepted, refused, _waits] = [
        "holiday.jpg",
        "advert.exe\u{1b}[2J\u{202e}",
        "a name that is so long that it does not fit on one row of a narrow screen.tar.gz",
    ]
    .map(|name| scene.offers(BOB, "bob", &lobby, name, 5_200_000));
    scene.file_is(accepted, |line| {
        line.state = FileState::Done;
        line.bytes = line.offer.size;
        line.saved = Some("/home/ann/Downloads/holiday.jpg".into());
    });
    scene.file_is(refused, |line| line.state = FileState::Declined);
    let lost = scene.offers(CAT, "cat", &lobby, "plan.pdf", 52_100);
    scene.file_is(lost, |line| {
        line.state = FileState::Failed;
        line.why = Some("its sender has taken it back".into());
    });
    scene.enters("/send ~/film.mp4");
    picture("files", &mut scene);
    scene.enters("/files");
    picture("files_listed", &mut scene);
}

#[test]
fn files_on_their_way() {
    let mut scene = Scene::three().opened();
    let film = scene.offers(BOB, "bob", &room("lobby"), "film.mp4", 1_200 * MB);
    let disk = scene.offers(CAT, "cat", &room("lobby"), "disk.img", 4_000 * MB);
    scene.enters(&format!("/accept {}", "film.mp4"));
    scene.enters("/accept disk.img");
    moving(&mut scene, film, 42);
    scene.file_is(disk, |line| {
        line.bytes = line.offer.size / 2;
        line.why = Some("there is no room on the disk: it goes on when there is".into());
    });
    picture("file_waiting", &mut scene);
    moving(&mut scene, disk, 50);
    scene.enters("/send notes.txt");
    let notes = scene.messages.last().unwrap().id.0;
    moving(&mut scene, notes, 99);
    scene.file_is(notes, |line| line.peers = vec![Text(id(BOB))]);
    picture("transfers", &mut scene);
    // What is told of no more has come to rest.
    scene.now += 5_000;
    scene.handle(Input::Tick);
    assert!(!scene.screen(80, 24).contains("MB/s"));
    scene.file_is(notes, |line| line.state = FileState::Done);
    assert!(scene.screen(80, 24).contains("saved by bob"));
}

#[test]
fn a_path_is_offered_where_one_is() {
    let mut scene = Scene::three().opened();
    scene.enters("/send my film.mp4");
    scene.enters("/query bob");
    scene.enters("/send \"~/a b.png\"");
    scene.enters("/send ~/c.png");
    let sent: Vec<(String, String)> = [
        ("#lobby".to_owned(), "/home/ann/work/my film.mp4"),
        (with(BOB).to_string(), "/home/ann/work/~/a b.png"),
        (with(BOB).to_string(), "/home/ann/c.png"),
    ]
    .map(|(of, path)| (of, path.to_owned()))
    .into();
    assert_eq!(scene.sent, sent);
    // Elsewhere than where one is.
    scene.enters("/send #lobby c.png");
    assert_eq!(
        scene.sent.pop(),
        Some(("#lobby".to_owned(), "/home/ann/work/c.png".to_owned()))
    );
    assert!(
        scene
            .screen(80, 24)
            .contains("to #lobby (Alt-1): [offers c.png]")
    );
    scene.enters("/send missing");
    assert!(
        scene
            .screen(80, 24)
            .contains("can't read /home/ann/work/missing")
    );
    assert!(scene.app.outbox.is_empty());
    scene.answers = false;
    scene.enters("/send large.iso");
    assert!(scene.screen(80, 24).contains("[offers large.iso]  reading"));
}

#[test]
fn the_only_file_that_waits_needs_no_id() {
    let mut scene = Scene::three().opened();
    let first = scene.offers(BOB, "bob", &room("lobby"), "one.png", MB);
    scene.offers(BOB, "bob", &with(BOB), "elsewhere.png", MB);
    scene.enters("/accept");
    assert_eq!(scene.files[0].state, FileState::Waiting);
    let second = scene.offers(BOB, "bob", &room("lobby"), "two.png", MB);
    let third = scene.offers(BOB, "bob", &room("lobby"), "three.png", MB);
    scene.enters("/accept");
    assert!(
        scene
            .screen(200, 50)
            .contains("which one? /accept ID: 000000-3 (two.png), 000000-4 (three.png)")
    );
    scene.enters("/decline 000000-4");
    scene.enters("/accept two.png");
    scene.enters("/cancel one.png");
    let states: Vec<FileState> = [first, second, third]
        .map(|id| {
            scene
                .files
                .iter()
                .find(|line| line.id.0 == id)
                .unwrap()
                .state
        })
        .into();
    assert_eq!(
        states,
        [FileState::Declined, FileState::Waiting, FileState::Declined]
    );
    scene.enters("/accept nothing");
    assert!(
        scene
            .screen(80, 24)
            .contains("no file nothing has been offered: /files lists them")
    );
}

#[test]
fn tab_completes_ids_and_paths() {
    let mut scene = Scene::three().opened();
    scene.offers(BOB, "bob", &room("lobby"), "one.png", MB);
    scene.now += 1;
    let own = scene.offers(ANN, "ann", &room("lobby"), "mine.png", MB);
    for (typed, completed) in [
        ("/accept ", "/accept 000000-1"),
        ("/decline ", "/decline 000000-2"),
        ("/acc", "/accept "),
    ] {
        scene.ctrl('u');
        scene.types(typed);
        scene.key(KeyCode::Tab);
        assert_eq!(scene.app.editor.text(), completed);
    }
    scene.file_is(own, |line| line.state = FileState::Declined);
    scene.ctrl('u');
    scene.types("/send ~/my pic");
    scene.key(KeyCode::Tab);
    let Some(Output::List {
        folder,
        path,
        start,
        typed,
        forth,
    }) = scene.outputs.pop()
    else {
        panic!("the folder is looked at")
    };
    assert_eq!(
        (path, start.as_str(), typed.as_str()),
        (PathBuf::from("/home/ann"), "my pic", "~/my pic")
    );
    let names = |scene: &mut Scene, names: &[&str], typed: &str| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        scene.handle(Input::Names {
            folder: folder.clone(),
            names,
            typed: typed.to_owned(),
            forth,
        });
        scene.app.editor.text().to_owned()
    };
    assert_eq!(
        names(&mut scene, &["my picture.png", "my pictures/"], &typed),
        "/send ~/my picture"
    );
    // What was typed meanwhile is no longer what was asked about.
    assert_eq!(
        names(&mut scene, &["my pick"], &typed),
        "/send ~/my picture"
    );
    assert_eq!(
        names(
            &mut scene,
            &["my picture.png", "my pictures/"],
            "~/my picture"
        ),
        "/send ~/my picture.png"
    );
    scene.key(KeyCode::Tab);
    assert_eq!(scene.app.editor.text(), "/send ~/my pictures/");
    scene.types("x");
    scene.key(KeyCode::Tab);
    assert!(
        matches!(scene.outputs.pop(), Some(Output::List { path, .. }) if path.ends_with("my pictures"))
    );
}

#[test]
fn what_was_offered_before_the_chat_opened_is_known() {
    let mut scene = Scene::three();
    let offer = scene.offers(BOB, "bob", &room("lobby"), "old.png", MB);
    let mut scene = scene.started_again(None);
    assert!(
        scene
            .screen(80, 24)
            .contains("waiting for you: /accept 000000-1")
    );
    scene.file_is(offer, |line| line.state = FileState::Declined);
    assert!(scene.screen(80, 24).contains("declined"));
    // Events that were missed.
    scene.files[0].state = FileState::Failed;
    scene.handle(Input::Event(WireEvent::Lagged { missed: 9 }));
    assert!(scene.screen(80, 24).contains("failed"));
    let away = peer(BOB, "bob", PeerState::Offline);
    scene.handle(Input::Event(WireEvent::Peer(away)));
}

/// A picture from bob, whole on this disk.
fn pictured(scene: &mut Scene) -> hobnob::MessageId {
    let photo = scene.offers(BOB, "bob", &room("lobby"), "photo.png", MB);
    scene.file_is(photo, |line| {
        line.state = FileState::Done;
        line.bytes = line.offer.size;
        line.saved = Some("/home/ann/Downloads/photo.png".into());
        line.picture = Some(PictureFields {
            width: 640,
            height: 480,
            path: "/home/ann/Downloads/photo.png".into(),
        });
    });
    photo
}

/// Makes the pictures that are wanted, of this file.
fn make(scene: &mut Scene, file: &Path) -> usize {
    let mut made = 0;
    while let Some(at) = scene
        .outputs
        .iter()
        .position(|output| matches!(output, Output::Picture { .. }))
    {
        let Output::Picture { wanted, .. } = scene.outputs.remove(at) else {
            unreachable!("found above")
        };
        let picture = Picture::of(file, Canvas::HALF_BLOCKS, wanted.room, wanted.slot);
        scene.handle(Input::Pictured(wanted, picture));
        made += 1;
    }
    made
}

#[test]
fn pictures_are_shown_small_from_people_who_are_verified() {
    let folder = tempfile::tempdir().unwrap();
    let png = picture_file(folder.path(), "photo.png", 640, 480);
    for (previews, verified, shown) in [
        (Previewed::Verified, false, false),
        (Previewed::Verified, true, true),
        (Previewed::All, false, true),
        (Previewed::None, true, false),
    ] {
        let mut scene = Scene::with_settings(ScreenSettings {
            previews,
            ..ScreenSettings::default()
        });
        scene.peers[0].policy.verified = verified;
        let mut scene = scene.opened();
        pictured(&mut scene);
        assert_eq!(
            make(&mut scene, &png),
            usize::from(shown),
            "{previews:?}, verified: {verified}"
        );
        assert!(scene.screen(80, 24).contains("640×480, saved as"));
        scene.said(
            BOB,
            "bob",
            &super::scene::room("lobby"),
            "that was on the island",
        );
        assert_eq!(scene.coloured_rows(80, 24) > 0, shown);
        assert!(scene.outputs.is_empty(), "each is made once");
    }
}

#[test]
fn a_picture_stands_below_its_offer_where_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hills.png");
    let hill = |x: u32, y: u32| {
        if y > 240 + (x.abs_diff(320) / 2) {
            [30, 120, 40]
        } else {
            [90, 140, 220]
        }
    };
    image::RgbImage::from_fn(640, 480, |x, y| image::Rgb(hill(x, y)))
        .save(&path)
        .unwrap();
    let mut scene = Scene::with_settings(ScreenSettings {
        previews: Previewed::All,
        ..ScreenSettings::default()
    })
    .opened();
    pictured(&mut scene);
    scene.said(BOB, "bob", &room("lobby"), "that was on the island");
    let screens = SIZES.map(|(columns, rows)| {
        scene.handle(Input::Resize(columns, rows));
        make(&mut scene, &path);
        format!("{columns} x {rows}\n{}", scene.screen(columns, rows))
    });
    insta::assert_snapshot!("picture", screens.join("\n\n"));
}

#[test]
fn who_is_verified_no_more_has_no_pictures_on_the_screen() {
    let folder = tempfile::tempdir().unwrap();
    let png = picture_file(folder.path(), "photo.png", 640, 480);
    let mut scene = Scene::three();
    scene.peers[0].policy.verified = true;
    let mut scene = scene.opened();
    let photo = pictured(&mut scene);
    make(&mut scene, &png);
    let has = |scene: &Scene| {
        scene
            .app
            .preview(scene.messages.iter().find(|m| m.id.0 == photo).unwrap())
            .is_some()
    };
    assert!(has(&scene));
    let mut bob = peer(BOB, "bob", PeerState::Online);
    scene.handle(Input::Event(WireEvent::Peer(bob.clone())));
    assert!(!has(&scene));
    bob.policy.verified = true;
    scene.handle(Input::Event(WireEvent::Peer(bob)));
    assert!(has(&scene) && scene.outputs.is_empty());
}

#[test]
fn ones_own_picture_is_shown_and_what_is_none_is_not_tried_again() {
    let mut scene = Scene::three().opened();
    scene.enters("/send ~/photo.png");
    let offer = scene.messages.last().unwrap().id.0;
    assert!(
        scene.outputs.is_empty(),
        "the node has not said that it is one"
    );
    scene.file_is(offer, |line| {
        line.picture = Some(PictureFields {
            width: 640,
            height: 480,
            path: "/home/ann/photo.png".into(),
        });
    });
    let Some(Output::Picture { wanted, path }) = scene.outputs.pop() else {
        panic!("a picture is wanted")
    };
    assert_eq!(
        (wanted.id, path),
        (offer, PathBuf::from("/home/ann/photo.png"))
    );
    scene.handle(Input::Pictured(wanted, None));
    scene.handle(Input::Focus(true));
    assert!(
        scene.outputs.is_empty()
            && scene
                .screen(80, 24)
                .contains("640×480, waiting to be accepted")
    );
}

#[test]
fn a_screen_that_is_small_has_no_room_for_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let png = picture_file(folder.path(), "photo.png", 640, 480);
    let mut scene = Scene::with_settings(ScreenSettings {
        previews: Previewed::All,
        ..ScreenSettings::default()
    })
    .opened();
    let photo = pictured(&mut scene);
    let rows = |scene: &Scene| {
        scene
            .app
            .preview(scene.messages.iter().find(|m| m.id.0 == photo).unwrap())
            .map(Picture::rows)
    };
    for ((columns, high), expected) in [
        ((80, 24), Some(6)),
        ((80, 15), None),
        ((40, 24), Some(6)),
        ((200, 60), Some(10)),
        ((40, 10), None),
        ((80, 24), Some(6)),
    ] {
        scene.handle(Input::Resize(columns, high));
        make(&mut scene, &png);
        assert_eq!(rows(&scene), expected, "{columns} by {high}");
    }
    // With cells of another size they are made anew.
    scene.handle(Input::Cells);
    assert_eq!(
        (rows(&scene), make(&mut scene, &png), rows(&scene)),
        (None, 1, Some(6))
    );
}

#[test]
fn a_picture_scrolls_row_by_row_and_goes_with_its_conversation() {
    let folder = tempfile::tempdir().unwrap();
    let png = picture_file(folder.path(), "photo.png", 640, 480);
    let mut scene = Scene::with_settings(ScreenSettings {
        previews: Previewed::All,
        ..ScreenSettings::default()
    })
    .opened();
    pictured(&mut scene);
    make(&mut scene, &png);
    let coloured = |scene: &mut Scene| scene.coloured_rows(80, 24);
    assert_eq!(coloured(&mut scene), 6);
    for n in 0..16 {
        scene.said(BOB, "bob", &room("lobby"), &format!("line {n}"));
    }
    let some = coloured(&mut scene);
    assert!(
        (1..6).contains(&some),
        "its upper part has left the screen: {some} rows"
    );
    scene.key(KeyCode::PageUp);
    assert_eq!(coloured(&mut scene), 6);
    scene.enters("/query bob");
    assert_eq!(coloured(&mut scene), 0);
}
