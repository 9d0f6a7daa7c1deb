//! Files in the chat: offers, transfers and commands.

use std::path::Path;

use crossterm::event::KeyCode;
use hobnob::{FileState, PeerState};
use hobnob_control::wire::{Text, WireEvent};

use super::scene::{ANN, BOB, CAT, Scene, id, peer, room, with};
use super::screens::picture;
use crate::tui::app::{FolderLookup, Input, Output};

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
fn transfers_in_progress() {
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
    // Without reports, the transfers count as stalled.
    scene.now += 5_000;
    scene.handle(Input::Tick);
    assert!(!scene.screen(80, 24).contains("MB/s"));
    scene.file_is(notes, |line| line.state = FileState::Done);
    assert!(scene.screen(80, 24).contains("saved by bob"));
}

#[test]
fn a_file_is_offered_in_the_open_conversation() {
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
    // In another conversation than the open one.
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
fn the_only_waiting_file_needs_no_id() {
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
    scene.enters("/decline one.png");
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
        assert_eq!(scene.app.composer.text(), completed);
    }
    scene.file_is(own, |line| line.state = FileState::Declined);
    scene.ctrl('u');
    scene.types("/send ~/my pic");
    scene.key(KeyCode::Tab);
    let Some(Output::ListFolder(lookup)) = scene.outputs.pop() else {
        panic!("the chat asks for the names in the folder")
    };
    assert_eq!(
        (
            lookup.path.as_path(),
            lookup.start.as_str(),
            lookup.typed.as_str()
        ),
        (Path::new("/home/ann"), "my pic", "~/my pic")
    );
    let names = |scene: &mut Scene, names: &[&str], typed: &str| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let lookup = FolderLookup {
            typed: typed.to_owned(),
            ..lookup.clone()
        };
        scene.handle(Input::FolderNames(lookup, names));
        scene.app.composer.text().to_owned()
    };
    assert_eq!(
        names(&mut scene, &["my picture.png", "my pictures/"], "~/my pic"),
        "/send ~/my picture"
    );
    // The user has typed on meanwhile, so the answer is about another path.
    assert_eq!(
        names(&mut scene, &["my pick"], "~/my pic"),
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
    assert_eq!(scene.app.composer.text(), "/send ~/my pictures/");
    scene.types("x");
    scene.key(KeyCode::Tab);
    assert!(
        matches!(scene.outputs.pop(), Some(Output::ListFolder(lookup)) if lookup.path.ends_with("my pictures"))
    );
}

#[test]
fn offers_from_before_the_chat_are_shown() {
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
    // Events were missed, so the chat lists the files again.
    scene.files[0].state = FileState::Failed;
    scene.handle(Input::Event(WireEvent::Lagged { missed: 9 }));
    assert!(scene.screen(80, 24).contains("failed"));
    let away = peer(BOB, "bob", PeerState::Offline);
    scene.handle(Input::Event(WireEvent::Peer(away)));
}
