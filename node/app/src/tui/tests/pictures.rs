//! Previews of pictures in the chat: whose are shown, where, and how they scroll.

use std::path::{Path, PathBuf};

use crossterm::event::KeyCode;
use hobnob::protocol::ContentHash;
use hobnob::{FileState, PeerState};
use hobnob_control::wire::{Text, WireEvent};

use super::scene::{BOB, Scene, peer, room};
use super::screens::SIZES;
use crate::shared::settings::{Previewed, ScreenSettings};
use crate::tui::app::{Input, Output, PORTRAIT_SIZE};
use crate::tui::picture::tests::{file as picture_file, made as picture_of};
use crate::tui::picture::{Canvas, Picture};

const MB: u64 = 1_000_000;

/// A picture from bob that is saved on this disk.
fn pictured(scene: &mut Scene) -> hobnob::MessageId {
    let photo = scene.offers(BOB, "bob", &room("lobby"), "photo.png", MB);
    scene.file_is(photo, |line| {
        line.state = FileState::Done;
        line.bytes = line.offer.size;
        line.saved = Some("/home/ann/Downloads/photo.png".into());
        line.picture = Some(hobnob::Picture {
            width: 640,
            height: 480,
            path: "/home/ann/Downloads/photo.png".into(),
        });
    });
    photo
}

/// Makes all pictures that the chat wants, from this file. Returns their number.
fn make(scene: &mut Scene, file: &Path) -> usize {
    let mut made = 0;
    while let Some(at) = scene
        .outputs
        .iter()
        .position(|output| matches!(output, Output::MakePicture { .. }))
    {
        let Output::MakePicture { wanted, .. } = scene.outputs.remove(at) else {
            unreachable!("found above")
        };
        let picture = picture_of(file, Canvas::HALF_BLOCKS, wanted.room, wanted.slot);
        scene.handle(Input::PictureMade(wanted, picture));
        made += 1;
    }
    made
}

#[test]
fn the_settings_decide_whose_pictures_are_shown() {
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
        assert!(scene.outputs.is_empty(), "each picture is made once");
    }
}

#[test]
fn a_picture_is_below_its_offer_if_the_screen_has_room() {
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
fn pictures_of_people_who_are_no_longer_verified_disappear() {
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

/// Makes all profile pictures that the chat wants, from this file.
fn make_portraits(scene: &mut Scene, file: &Path) {
    let is_one = |output: &Output| matches!(output, Output::MakePortrait { .. });
    while let Some(at) = scene.outputs.iter().position(is_one) {
        let Output::MakePortrait { wanted, .. } = scene.outputs.remove(at) else {
            unreachable!("found above")
        };
        let picture = picture_of(file, Canvas::HALF_BLOCKS, PORTRAIT_SIZE, wanted.slot());
        scene.handle(Input::PortraitMade(wanted, picture));
    }
}

#[test]
fn whois_shows_the_picture_of_a_verified_person_and_initials_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let png = picture_file(folder.path(), "bob.png", 96, 96);
    for verified in [false, true] {
        let mut scene = Scene::three();
        scene.peers[0].picture = Some(Text(ContentHash([7; 32])));
        scene.peers[0].policy.verified = verified;
        let mut scene = scene.opened();
        scene.said(BOB, "bob", &room("lobby"), "hello");
        scene.enters("/whois bob");
        let has_initials = |scene: &mut Scene| {
            let screen = scene.screen(80, 24);
            screen.lines().any(|row| row.trim_end().ends_with("   B"))
        };
        assert!(has_initials(&mut scene));
        make_portraits(&mut scene, &png);
        assert_eq!(scene.coloured_rows(80, 24) > 0, verified);
        assert_eq!(has_initials(&mut scene), !verified);
        // It is made once.
        scene.enters("/whois bob");
        let is_one = |output: &Output| matches!(output, Output::MakePortrait { .. });
        assert!(!scene.outputs.iter().any(is_one));
    }
}

#[test]
fn own_pictures_are_shown_and_a_failed_one_is_not_made_again() {
    let mut scene = Scene::three().opened();
    scene.enters("/send ~/photo.png");
    let offer = scene.messages.last().unwrap().id.0;
    let is_saved = |output: &Output| matches!(output, Output::SaveCommand(_));
    scene.outputs.retain(|output| !is_saved(output));
    assert!(
        scene.outputs.is_empty(),
        "the node has not reported that the file is a picture"
    );
    scene.file_is(offer, |line| {
        line.picture = Some(hobnob::Picture {
            width: 640,
            height: 480,
            path: "/home/ann/photo.png".into(),
        });
    });
    let Some(Output::MakePicture { wanted, path }) = scene.outputs.pop() else {
        panic!("a picture is wanted")
    };
    assert_eq!(
        (wanted.id, path),
        (offer, PathBuf::from("/home/ann/photo.png"))
    );
    scene.handle(Input::PictureMade(wanted, None));
    scene.handle(Input::Focus(true));
    assert!(
        scene.outputs.is_empty()
            && scene
                .screen(80, 24)
                .contains("640×480, waiting to be accepted")
    );
}

#[test]
fn a_small_screen_shows_no_pictures() {
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
    // Cells of another size need new pictures.
    scene.handle(Input::CellsResized);
    assert_eq!(
        (rows(&scene), make(&mut scene, &png), rows(&scene)),
        (None, 1, Some(6))
    );
}

#[test]
fn a_picture_scrolls_row_by_row_and_disappears_with_its_conversation() {
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
