//! Tests of erasing: no file contains an erased text, and the chain stays valid.

use hobnob_protocol::{Batch, Ranges};

use super::super::HistoryRequest;
use super::*;

/// Parts of words: the index stores only the ends of some words.
const ERASED: [&str; 3] = ["ylophone", "armalade", "eppelin"];
const KEPT: &str = "akamole";

fn ann() -> Author {
    Author::new(1, lobby())
}

/// Whether a file of the database contains these bytes.
pub(super) fn some_file_contains(home: &Home, needle: &str) -> bool {
    let files = std::fs::read_dir(home.dir.path()).unwrap();
    files.into_iter().any(|file| {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let mut windows = bytes.windows(needle.len());
        windows.any(|window| window == needle.as_bytes())
    })
}

fn search(home: &Home, word: &str) -> usize {
    let request = HistoryRequest {
        search: Some(word.to_owned()),
        limit: 10,
        ..HistoryRequest::default()
    };
    wait(home.store().history(request)).unwrap().len()
}

fn erase(batch: &CheckedBatch, seqs: Ranges, by_author: bool) -> Op {
    Op::Erase {
        name: batch.batch.name,
        seqs,
        by_author,
    }
}

/// A home with three texts to erase and one to keep, in the index too.
fn home_with_texts() -> (Home, Arc<CheckedBatch>) {
    let (mut home, mut ann) = (Home::new(), ann());
    let texts = ["xylophone", "marmalade zeppelin", "wakamole", "marmalade"];
    let batch = ann.says(&texts);
    home.commit(vec![the_lobby(true), append(&batch)]);
    assert_eq!(search(&home, "marmalade"), 2);
    (home, batch)
}

fn seqs_to_erase() -> Ranges {
    let mut seqs = Ranges::span(1, 2);
    seqs.insert(4, 4);
    seqs
}

fn read_all(home: &Home, name: LogName) -> Vec<Batch> {
    wait(home.store().read_batches(name, 1, 4, 1_000_000)).unwrap()
}

#[test]
fn no_file_contains_an_erased_text() {
    let (mut home, batch) = home_with_texts();
    // The search for bytes finds them while they are there.
    for word in ERASED.iter().chain([&KEPT]) {
        assert!(some_file_contains(&home, word), "{word}");
    }
    home.commit(vec![erase(&batch, seqs_to_erase(), false)]);
    wait(home.store().scrub()).unwrap();
    for word in ERASED {
        assert!(!some_file_contains(&home, word), "{word}");
    }
    assert!(some_file_contains(&home, KEPT));
    assert_eq!(search(&home, "marmalade"), 0);
    assert_eq!(search(&home, "wakamole"), 1);
    home.restart();
    for word in ERASED {
        assert!(!some_file_contains(&home, word), "{word} after a restart");
    }
}

#[test]
fn an_erased_entry_is_served_and_still_proved() {
    let (mut home, batch) = home_with_texts();
    home.commit(vec![erase(&batch, seqs_to_erase(), false)]);
    let served = read_all(&home, batch.batch.name);
    let checked = served[0].clone().check().expect("the signature is valid");
    assert_eq!(checked.head(), batch.head());
    let erased: Vec<_> = checked
        .entries
        .iter()
        .map(|entry| entry.entry.body.is_erased())
        .collect();
    assert_eq!(erased, [true, true, false, true]);
    home.restart();
    let log = &home.loaded().logs[0];
    assert_eq!(log.erased, seqs_to_erase());
    assert!(log.unsettled.is_empty());
}

#[test]
fn a_missing_body_is_added_when_it_arrives() {
    let (mut home, mut ann) = (Home::new(), ann());
    let whole = ann.says(&["xylophone", "wakamole"]);
    let censored = Arc::new(whole.erased(&Ranges::span(1, 1)));
    home.commit(vec![the_lobby(true), append(&censored)]);
    assert_eq!(search(&home, "xylophone"), 0);
    home.restart();
    assert_eq!(home.loaded().logs[0].unsettled, Ranges::span(1, 1));
    let fill = Op::Fill {
        batch: whole.clone(),
        seqs: Ranges::span(1, 1),
    };
    // A second copy changes nothing.
    home.commit(vec![fill.clone(), fill]);
    assert_eq!(search(&home, "xylophone"), 1);
    assert_eq!(read_all(&home, ann.name)[0].entries, whole.batch.entries);
    home.restart();
    assert!(home.loaded().logs[0].unsettled.is_empty());
}

#[test]
fn a_restart_loads_the_hashes_of_entries_whose_body_is_missing() {
    let (mut home, mut ann) = (Home::new(), ann());
    let whole = ann.says(&["a", "b", "c", "d", "e"]);
    let mut censored = Ranges::span(2, 3);
    censored.insert(5, 5);
    let arrived = Arc::new(whole.erased(&censored));
    home.commit(vec![the_lobby(true), append(&arrived)]);
    home.restart();
    let edges = &home.loaded().logs[0].edges;
    let expected = [2, 3, 5].map(|seq| (seq, whole.hash_at(seq).expect("in the batch")));
    assert_eq!(edges[..], expected);
}

#[test]
fn another_body_is_refused() {
    let (mut home, mut ann) = (Home::new(), ann());
    let whole = ann.says(&["xylophone"]);
    let censored = Arc::new(whole.erased(&Ranges::span(1, 1)));
    home.commit(vec![the_lobby(true), append(&censored)]);
    let forged = super::erase::ann().says(&["trombone"]);
    let fill = Op::Fill {
        batch: forged,
        seqs: Ranges::span(1, 1),
    };
    let error = home.try_commit(vec![fill]).expect_err("another body");
    assert!(error.is_of_one_commit(), "{error}");
}

#[test]
fn a_deletion_is_never_erased() {
    let (mut home, mut ann) = (Home::new(), ann());
    let log = ann.name.log;
    let batch = ann.writes(vec!["xylophone".into(), Body::Delete { log, seq: 1 }]);
    home.commit(vec![the_lobby(true), append(&batch)]);
    home.commit(vec![erase(&batch, Ranges::span(1, 2), false)]);
    let served = read_all(&home, ann.name);
    let checked = served[0].clone().check().expect("the signature is valid");
    let deletion = &checked.entries[1].entry.body;
    assert!(matches!(deletion, Body::Delete { .. }));
}

#[test]
fn a_deletion_that_needs_a_newer_version_is_not_erased_either() {
    let (mut home, ann) = (Home::new(), ann());
    let (kind, bytes) = (4, Vec::new());
    let body = Body::Unknown { kind, bytes };
    let mut entries = vec![
        Entry::new(1, 1_000, "xylophone".into()),
        Entry::new(1, 1_000, body),
    ];
    entries[1]
        .extensions
        .set(34, b"even: must be known".to_vec());
    let salts = &mut Salts::new([9; 32]);
    let batch = CheckedBatch::author(&ann.key, ann.name, 1, ann.head, entries, salts);
    let batch = Arc::new(batch);
    home.commit(vec![the_lobby(true), append(&batch)]);
    home.commit(vec![erase(&batch, Ranges::span(1, 2), true)]);
    let served = read_all(&home, ann.name);
    let checked = served[0].clone().check().expect("the signature is valid");
    assert!(checked.entries[0].entry.body.is_erased());
    assert!(checked.entries[1].entry.body.is_deletion());
}

#[test]
fn awaited_deletions_survive_a_restart_until_their_entry_arrives() {
    let (mut home, mut ann) = (Home::new(), ann());
    let batch = ann.says(&["xylophone"]);
    home.commit(vec![the_lobby(true), Op::AwaitDeleted(ann.name, 1)]);
    home.restart();
    assert_eq!(home.loaded().awaited_deleted, [(ann.name, 1)]);
    let erased = Arc::new(batch.erased(&Ranges::span(1, 1)));
    home.commit(vec![Op::Append {
        batch: erased,
        from: 1,
        to: 1,
        audience: AudienceId::MEMBERS,
        received_at_ms: 5,
        deleted: Ranges::span(1, 1),
    }]);
    home.restart();
    assert_eq!(home.loaded().awaited_deleted, []);
    assert_eq!(home.loaded().logs[0].erased, Ranges::span(1, 1));
}

#[test]
fn old_entries_are_found_for_the_retention() {
    let (home, batch) = home_with_texts();
    let older = |before_ms| wait(home.store().older_than(lobby(), before_ms)).unwrap();
    assert!(older(5_001).is_empty());
    assert_eq!(older(5_002)[&batch.batch.name], Ranges::span(1, 4));
}
