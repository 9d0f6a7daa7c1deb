//! Tests of a damaged disk: nothing false is shown, a repair keeps what is whole, and peers fill the
//! gaps.

use hobnob_vfs::Disk;

use super::super::{HISTORY_ROWS_MAX, HistoryRequest, Repaired};
use super::*;

/// Entries of the author in each test.
pub(super) const ENTRIES: Seq = 600;

/// Bytes of a page of SQLite.
pub(super) const PAGE: usize = 4096;

/// A database with 30 batches of one author, and all the batches.
fn filled() -> (Home, Author, Vec<Arc<CheckedBatch>>) {
    let (mut home, mut ann) = (Home::new(), Author::new(1, lobby()));
    home.commit(vec![the_lobby(true)]);
    let batches: Vec<_> = (0..30).map(|_| ann.chats(20)).collect();
    for batch in &batches {
        home.commit(vec![append(batch)]);
    }
    home.stop();
    (home, ann, batches)
}

/// Opens a database on a disk.
pub(super) fn open_on(disk: &Disk, file: &Path) -> Result<OpenStore, StoreError> {
    let (tell, told) = mpsc::channel();
    let on_done = move |id, result| drop(tell.send((id, result)));
    Ok((Store::open_on(disk, file, 0, on_done)?, told))
}

/// The entries that peers get, and those that the user sees.
pub(super) fn read(store: &Store, ann: &Author) -> Result<(Vec<Seq>, Vec<Seq>), StoreError> {
    let request = HistoryRequest {
        conversation: Some(lobby()),
        limit: HISTORY_ROWS_MAX,
        ..HistoryRequest::default()
    };
    let rows = wait(store.history(request))?;
    for row in &rows {
        let expected = Body::Text(format!("message number {}", row.seq));
        assert_eq!(row.entry.body, expected, "nothing false is shown");
    }
    let batches = wait(store.read_batches(ann.name, 1, ann.last, usize::MAX))?;
    let checked = batches
        .into_iter()
        .map(|batch| batch.check().expect("it is the author's"));
    let for_peers = checked
        .flat_map(|batch| batch.first()..=batch.last())
        .collect();
    Ok((for_peers, rows.iter().map(|row| row.seq).collect()))
}

fn is_reported(error: &StoreError) -> bool {
    // A changed header may look like that of a newer database, or of one that can't be written.
    matches!(
        error,
        StoreError::Damaged { .. } | StoreError::Newer { .. } | StoreError::ReadOnly { .. }
    )
}

/// Opens a damaged database as often as a user would restart the node, and checks it as `doctor`
/// does. `None` if it can't be opened, which is reported.
pub(super) fn reopened(
    disk: &Disk,
    file: &Path,
    ann: &Author,
) -> Option<(OpenStore, Option<Repaired>)> {
    let mut repaired = None;
    for _ in 0..3 {
        let opened = match open_on(disk, file) {
            Ok(opened) => opened,
            Err(error) => {
                assert!(is_reported(&error), "{error}");
                return None;
            }
        };
        repaired = opened.0.repaired.or(repaired);
        let store = &opened.0.store;
        for result in [read(store, ann).map(drop), wait(store.check())] {
            assert!(result.as_ref().err().is_none_or(is_reported), "{result:?}");
            assert!(result.is_ok() || store.is_damaged(), "{result:?}");
        }
        if !store.is_damaged() {
            return Some((opened, repaired));
        }
    }
    panic!("three starts do not repair it");
}

/// Stores what a peer sends for the gaps, and returns how many entries were missing.
pub(super) fn heal(opened: &OpenStore, batches: &[Arc<CheckedBatch>]) -> Result<u64, StoreError> {
    let held: Ranges = opened
        .0
        .loaded
        .logs
        .iter()
        .flat_map(|log| log.runs.clone())
        .fold(Ranges::new(), |mut all, run| {
            all.insert(run.first, run.last);
            all
        });
    let mut missing = 0;
    for batch in batches.iter().filter(|batch| !held.contains(batch.first())) {
        missing += batch.last() - batch.first() + 1;
        let id = CommitId(batch.first());
        // The replica stores a room that it lacks when it joins it.
        let ops = vec![the_lobby(true), append(batch)];
        opened.0.store.commit(Commit { id, ops });
        opened.1.recv().unwrap().1?;
    }
    Ok(missing)
}

#[test]
fn a_damaged_entry_is_left_out_and_the_others_are_shown() {
    let (home, ann, _) = filled();
    let conn = rusqlite::Connection::open(home.file()).unwrap();
    let sql = "UPDATE entries SET bytes = replace(bytes, 'number 110', 'number 119') WHERE id & ((1 << 40) - 1) = 110";
    assert_eq!(conn.execute(sql, []).unwrap(), 1);
    drop(conn);
    let (opened, _) = open(&home.file(), 0).unwrap();
    assert!(!opened.store.is_damaged());
    let request = HistoryRequest {
        conversation: Some(lobby()),
        limit: HISTORY_ROWS_MAX,
        ..HistoryRequest::default()
    };
    let rows = wait(opened.store.history(request)).unwrap();
    let shown: Vec<Seq> = rows.iter().map(|row| row.seq).collect();
    // Its batch shares the hash that proves it.
    let expected: Vec<Seq> = (1..=100).chain(121..=ENTRIES).collect();
    assert_eq!(shown, expected);
    assert!(opened.store.is_damaged());
    assert_eq!(wait(opened.store.message(ann.name.log, 110)), Ok(None));
    let found = wait(opened.store.message(ann.name.log, 121)).unwrap();
    assert!(found.is_some());
}

#[test]
fn the_newest_entries_are_shown_up_to_a_page_that_cannot_be_read() {
    let (home, ann, _) = filled();
    let bytes = std::fs::read(home.file()).unwrap();
    let text = b"message number 300";
    let mut places = bytes.windows(text.len()).enumerate();
    let (at, _) = places.find(|(_, part)| part == text).expect("it is there");
    // A start reads all pages with entries of an open room, so the damage comes later.
    let (opened, _) = open(&home.file(), 0).unwrap();
    let database = std::fs::OpenOptions::new().write(true).open(home.file());
    // The first byte of a page is its kind.
    let kind = (at / PAGE * PAGE) as u64;
    std::os::unix::fs::FileExt::write_all_at(&database.unwrap(), &[0], kind).unwrap();
    let request = |oldest| HistoryRequest {
        conversation: Some(lobby()),
        oldest,
        limit: HISTORY_ROWS_MAX,
        ..HistoryRequest::default()
    };
    let rows = wait(opened.store.history(request(false))).unwrap();
    assert!(opened.store.is_damaged());
    let first = rows.first().expect("the newest are readable").seq;
    assert!(first > 300, "{first}");
    assert!(rows.iter().map(|row| row.seq).eq(first..=ENTRIES));
    let error = wait(opened.store.history(request(true))).expect_err("some would be missed");
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    drop(opened);
    assert!(reopened(&Disk::plain(), &home.file(), &ann).is_some());
}

#[test]
fn a_damaged_receipt_counts_no_message_as_delivered() {
    let (mut home, ann, _) = filled();
    home.restart();
    let (name, ranges) = (ann.name, Ranges::span(1, 20));
    for n in [2, 3] {
        let (peer, ranges) = (peer(n), ranges.clone());
        home.commit(vec![Op::Acked {
            name,
            peer: peer.only_device(),
            ranges,
        }]);
    }
    home.stop();
    let conn = rusqlite::Connection::open(home.file()).unwrap();
    let sql = "SELECT ranges FROM acked WHERE peer = ?1";
    let row = conn.query_row(sql, [peer(2).as_bytes()], |row| row.get::<_, Vec<u8>>(0));
    let mut receipt = row.unwrap();
    // One more entry is confirmed: the low byte of the last number.
    receipt[8] += 1;
    let sql = "UPDATE acked SET ranges = ?2 WHERE peer = ?1";
    conn.execute(sql, rusqlite::params![peer(2).as_bytes(), receipt])
        .unwrap();
    drop(conn);
    home.restart();
    assert_eq!(home.loaded().acked, [(name, peer(3).only_device(), ranges)]);
}

#[test]
fn an_index_that_hides_an_entry_is_found_by_a_check() {
    let (home, ann, batches) = filled();
    let conn = rusqlite::Connection::open(home.file()).unwrap();
    let root: i64 = conn
        .query_row(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'entries_shown'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    drop(conn);
    let mut bytes = std::fs::read(home.file()).unwrap();
    let root = usize::try_from(root - 1).unwrap() * PAGE;
    // The number of cells in the page. Those that are not counted are not found.
    let cells = u16::from_be_bytes([bytes[root + 3], bytes[root + 4]]);
    bytes[root + 3..root + 5].copy_from_slice(&(cells - 1).to_be_bytes());
    std::fs::write(home.file(), bytes).unwrap();
    let (opened, _) = open(&home.file(), 0).unwrap();
    assert!(matches!(
        wait(opened.store.check()),
        Err(StoreError::Damaged { .. })
    ));
    assert!(opened.store.is_damaged());
    drop(opened);
    let (opened, repaired) =
        reopened(&Disk::plain(), &home.file(), &ann).expect("the entries are whole");
    let all = Repaired {
        kept: ENTRIES,
        lost: 0,
    };
    assert_eq!((repaired, heal(&opened, &batches)), (Some(all), Ok(0)));
}

#[test]
fn damage_in_any_page_costs_a_few_batches_which_peers_fill() {
    let (home, ann, batches) = filled();
    let whole = std::fs::read(home.file()).unwrap();
    let (mut healed, mut lost_at_most, mut hopeless) = (0, 0, 0);
    let pages = whole.len() / PAGE;
    for page in 0..pages {
        for suffix in ["-wal", "-shm", ".suspect", ".damaged"] {
            let _ = std::fs::remove_file(home.dir.path().join(format!("hobnob.db{suffix}")));
        }
        let mut damaged = whole.clone();
        damaged[page * PAGE + 1_000..][..2_000]
            .iter_mut()
            .for_each(|byte| *byte = !*byte);
        std::fs::write(home.file(), damaged).unwrap();
        let Some((opened, repaired)) = reopened(&Disk::plain(), &home.file(), &ann) else {
            hopeless += 1;
            continue;
        };
        let missing = heal(&opened, &batches).expect("a gap is filled");
        let (for_peers, shown) = read(&opened.0.store, &ann).expect("it is whole again");
        let all: Vec<Seq> = (1..=ENTRIES).collect();
        assert_eq!((for_peers, shown), (all.clone(), all), "page {page}");
        if missing > 0 {
            let repaired = repaired.expect("it was repaired");
            assert_eq!(repaired.kept + missing, ENTRIES, "page {page}");
            healed += 1;
            lost_at_most = missing.max(lost_at_most);
        }
    }
    assert!(healed > 5, "{healed} of {pages} pages have entries");
    assert!(
        lost_at_most < ENTRIES / 2,
        "{lost_at_most} entries were lost with one page"
    );
    assert!(
        hopeless < pages / 2,
        "{hopeless} of {pages} pages can't be repaired"
    );
}

#[test]
fn a_truncated_file_keeps_what_is_before_the_cut() {
    let (home, ann, batches) = filled();
    let whole = std::fs::read(home.file()).unwrap();
    for cut in [whole.len() - 100, whole.len() - PAGE] {
        std::fs::write(home.file(), &whole[..cut]).unwrap();
        let (opened, _) =
            reopened(&Disk::plain(), &home.file(), &ann).expect("the first pages are whole");
        heal(&opened, &batches).expect("a gap is filled");
        let (for_peers, _) = read(&opened.0.store, &ann).expect("it is whole again");
        assert_eq!(for_peers.len() as u64, ENTRIES);
    }
}

#[test]
fn an_erased_text_in_a_damaged_batch_does_not_come_back() {
    let (mut home, ann, batches) = filled();
    home.restart();
    home.commit(vec![Op::Erase {
        name: ann.name,
        seqs: Ranges::span(105, 105),
        by_author: false,
    }]);
    home.stop();
    let conn = rusqlite::Connection::open(home.file()).unwrap();
    // The body of another entry of the same batch.
    let sql = "UPDATE entries SET bytes = zeroblob(length(bytes)) WHERE id & ((1 << 40) - 1) = 110";
    assert_eq!(conn.execute(sql, []).unwrap(), 1);
    drop(conn);
    let (opened, repaired) =
        reopened(&Disk::plain(), &home.file(), &ann).expect("only one entry is damaged");
    let repaired = repaired.expect("it was repaired");
    assert_eq!(
        repaired,
        Repaired {
            kept: ENTRIES - 20,
            lost: 20
        }
    );
    assert_eq!(opened.0.loaded.awaited_deleted, vec![(ann.name, 105)]);
    assert_eq!(heal(&opened, &batches), Ok(20));
}
