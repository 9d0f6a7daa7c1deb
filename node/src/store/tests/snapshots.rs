//! Tests of copies: made while the store is in use, and without what was erased since.

use std::os::unix::fs::PermissionsExt;

use hobnob_vfs::Disk;

use super::super::HistoryRequest;
use super::super::snapshot::{check_on, erase_as_in};
use super::*;

fn texts(home: &Home) -> Vec<Seq> {
    let request = HistoryRequest {
        limit: 100_000,
        ..HistoryRequest::default()
    };
    let rows = wait(home.store().history(request)).unwrap();
    rows.iter().map(|row| row.seq).collect()
}

/// A home whose database is this copy.
fn home_of(copy: &Path) -> Home {
    let mut home = Home::new();
    home.stop();
    std::fs::copy(copy, home.file()).unwrap();
    home.restart();
    home
}

fn file_contains(file: &Path, needle: &str) -> bool {
    let bytes = std::fs::read(file).unwrap();
    let mut windows = bytes.windows(needle.len());
    windows.any(|window| window == needle.as_bytes())
}

#[test]
fn a_copy_during_a_flood_has_all_that_came_before_and_no_gap() {
    let (mut home, mut ann) = (Home::new(), Author::new(1, lobby()));
    home.commit(vec![the_lobby(true), append(&ann.chats(1_000))]);
    let copy = home.dir.path().join("copy");
    let copied = home.store().copy_into(copy.clone());
    let scrubbed = home.store().scrub();
    for _ in 0..200 {
        let batch = ann.chats(5);
        home.hand_over(vec![append(&batch)]);
    }
    wait(copied).unwrap();
    wait(scrubbed).expect("it waits for the copy");
    for _ in 0..200 {
        home.answer().1.unwrap();
    }
    assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    check_on(&Disk::plain(), &copy).unwrap();
    let seqs = texts(&home_of(&copy));
    assert!(seqs.len() >= 1_000, "{}", seqs.len());
    assert!(seqs.iter().copied().eq(1..=seqs.len() as u64), "a gap");
    assert_eq!(texts(&home).len(), 2_000);
}

#[test]
fn a_copy_contains_nothing_that_was_erased_before() {
    let (mut home, mut ann) = (Home::new(), Author::new(1, lobby()));
    let batch = ann.says(&["marmalade", "wakamole"]);
    home.commit(vec![the_lobby(true), append(&batch)]);
    home.commit(vec![Op::Erase {
        name: ann.name,
        seqs: Ranges::span(1, 1),
        by_author: false,
    }]);
    let copy = home.dir.path().join("copy");
    wait(home.store().copy_into(copy.clone())).unwrap();
    assert!(file_contains(&copy, "akamole") && !file_contains(&copy, "armalade"));
}

#[test]
fn a_copy_never_replaces_a_file() {
    let home = Home::new();
    let copy = home.dir.path().join("copy");
    std::fs::write(&copy, "mine").unwrap();
    wait(home.store().copy_into(copy.clone())).unwrap_err();
    assert_eq!(std::fs::read(&copy).unwrap(), b"mine");
}

#[test]
fn what_was_erased_since_the_copy_is_erased_in_it() {
    let (mut home, mut ann) = (Home::new(), Author::new(1, lobby()));
    let batch = ann.says(&["marmalade", "wakamole", "zeppelin"]);
    home.commit(vec![the_lobby(true), append(&batch)]);
    let copy = home.dir.path().join("copy");
    wait(home.store().copy_into(copy.clone())).unwrap();
    // A message that the copy does not have, in a conversation that it does not have.
    let mut bob = Author::new(2, ConversationId::direct(peer(0), peer(2)));
    let late = bob.says(&["xylophone"]);
    home.commit(vec![direct(2), append(&late)]);
    for (name, seqs, by_author) in [
        (ann.name, Ranges::span(1, 1), false),
        (ann.name, Ranges::span(3, 3), true),
        (bob.name, Ranges::span(1, 1), false),
    ] {
        home.commit(vec![Op::Erase {
            name,
            seqs,
            by_author,
        }]);
    }
    home.stop();
    let plain = Disk::plain();
    assert_eq!(
        erase_as_in((&plain, &copy), (&plain, &home.file())).unwrap(),
        3
    );
    for word in ["armalade", "eppelin"] {
        assert!(!file_contains(&copy, word), "{word}");
    }
    let restored = home_of(&copy);
    assert_eq!(restored.loaded().awaited_deleted, [(bob.name, 1)]);
    let request = HistoryRequest {
        search: Some("wakamole".to_owned()),
        limit: 10,
        ..HistoryRequest::default()
    };
    assert_eq!(wait(restored.store().history(request)).unwrap().len(), 1);
}

#[test]
fn a_damaged_copy_is_refused() {
    let (mut home, mut ann) = (Home::new(), Author::new(1, lobby()));
    home.commit(vec![the_lobby(true), append(&ann.chats(1_000))]);
    home.commit(vec![append(&ann.chats(1_000))]);
    let copy = home.dir.path().join("copy");
    wait(home.store().copy_into(copy.clone())).unwrap();
    let whole = std::fs::read(&copy).unwrap();
    std::fs::write(&copy, &whole[..whole.len() / 2]).unwrap();
    check_on(&Disk::plain(), &copy).unwrap_err();
    std::fs::write(&copy, "not a database, but longer than the header of one, which has 100 bytes, and so on and on and on").unwrap();
    check_on(&Disk::plain(), &copy).unwrap_err();
}
