//! Databases on encrypted and faulty disks.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags};

use crate::{Disk, Fault, Faults};

const TEXT: &str = "attack at dawn";

fn open(disk: &Disk, file: &Path) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let conn = disk.open(file, flags).unwrap();
    let mode: String = conn
        .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "wal");
    conn.pragma_update(None, "synchronous", "full").unwrap();
    conn
}

fn fill(conn: &Connection, rows: usize) {
    conn.execute_batch("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, text TEXT)")
        .unwrap();
    for row in 0..rows {
        let text = format!("{TEXT} {row} {}", "x".repeat(row % 5000));
        conn.execute("INSERT INTO t (text) VALUES (?1)", [text])
            .unwrap();
    }
}

fn count(conn: &Connection) -> i64 {
    conn.query_row(
        "SELECT count(*) FROM t WHERE text LIKE ?1 || '%'",
        [TEXT],
        |row| row.get(0),
    )
    .unwrap()
}

/// The files of a folder that have the text.
fn files_with_text(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for file in fs::read_dir(folder).unwrap().flatten() {
        let bytes = fs::read(file.path()).unwrap();
        if bytes
            .windows(TEXT.len())
            .any(|part| part == TEXT.as_bytes())
        {
            found.push(file.file_name().into_string().unwrap());
        }
    }
    found.sort();
    found
}

#[test]
fn no_file_of_an_encrypted_database_has_its_texts() {
    for (disk, expected) in [
        (Disk::plain(), vec!["a.db", "a.db-wal"]),
        (Disk::encrypted(&[1; 32]), vec![]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let conn = open(&disk, &folder.path().join("a.db"));
        fill(&conn, 300);
        conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
            .unwrap();
        fill(&conn, 300);
        assert_eq!(files_with_text(folder.path()), expected);
        assert_eq!(count(&conn), 600);
        let check: String = conn
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(check, "ok");
    }
}

#[test]
fn a_log_that_a_crash_left_is_recovered() {
    let (folder, crashed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let disk = Disk::encrypted(&[1; 32]);
    let conn = open(&disk, &folder.path().join("a.db"));
    fill(&conn, 100);
    for file in ["a.db", "a.db-wal"] {
        fs::copy(folder.path().join(file), crashed.path().join(file)).unwrap();
    }
    assert_eq!(count(&open(&disk, &crashed.path().join("a.db"))), 100);

    // The last frame is torn: only its transaction is lost.
    fs::copy(
        folder.path().join("a.db-wal"),
        crashed.path().join("a.db-wal"),
    )
    .unwrap();
    fs::copy(folder.path().join("a.db"), crashed.path().join("a.db")).unwrap();
    let wal = crashed.path().join("a.db-wal");
    let file = fs::OpenOptions::new().write(true).open(&wal).unwrap();
    file.set_len(file.metadata().unwrap().len() - 100).unwrap();
    assert_eq!(count(&open(&disk, &crashed.path().join("a.db"))), 99);
}

#[test]
fn another_key_opens_nothing_and_a_changed_page_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (file, disk) = (folder.path().join("a.db"), Disk::encrypted(&[1; 32]));
    let conn = open(&disk, &file);
    fill(&conn, 100);
    drop(conn);
    let wrong = Disk::encrypted(&[2; 32]);
    wrong
        .open(&file, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .unwrap_err();

    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.len() - 2000;
    bytes[at] ^= 1;
    fs::write(&file, bytes).unwrap();
    let conn = open(&disk, &file);
    let error = conn
        .query_row(
            "SELECT count(*) FROM t WHERE text LIKE '%z'",
            [],
            |_| Ok(()),
        )
        .unwrap_err();
    let code = error.sqlite_extended_error_code();
    assert_eq!(code, Some(rusqlite::ffi::SQLITE_IOERR_DATA));
}

#[test]
fn a_database_is_copied_to_another_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (plain, locked) = (Disk::plain(), Disk::encrypted(&[1; 32]));
    let conn = open(&plain, &path("plain 1%.db"));
    fill(&conn, 200);
    let copy = |conn: &Connection, to: String| {
        conn.execute("VACUUM INTO ?1", [to]).unwrap();
    };
    copy(&conn, locked.name(&path("locked.db")));
    let conn = open(&locked, &path("locked.db"));
    assert_eq!(count(&conn), 200);
    copy(&conn, plain.name(&path("again.db")));
    copy(&conn, locked.name(&path("locked too.db")));
    assert_eq!(count(&open(&plain, &path("again.db"))), 200);
    assert_eq!(count(&open(&locked, &path("locked too.db"))), 200);
}

#[test]
fn a_rollback_journal_is_encrypted_too() {
    let folder = tempfile::tempdir().unwrap();
    let (file, disk) = (folder.path().join("a.db"), Disk::encrypted(&[1; 32]));
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let conn = disk.open(&file, flags).unwrap();
    fill(&conn, 50);
    conn.execute_batch(
        "BEGIN IMMEDIATE; PRAGMA cache_size = 1; UPDATE t SET text = 'gone' || text",
    )
    .unwrap();
    fill(&conn, 200);
    assert!(folder.path().join("a.db-journal").metadata().unwrap().len() > 4096);
    assert_eq!(files_with_text(folder.path()), Vec::<String>::new());
    let crashed = tempfile::tempdir().unwrap();
    for name in ["a.db", "a.db-journal"] {
        fs::copy(folder.path().join(name), crashed.path().join(name)).unwrap();
    }
    conn.execute_batch("ROLLBACK").unwrap();
    assert_eq!(count(&conn), 50);
    let conn = disk.open(&crashed.path().join("a.db"), flags).unwrap();
    assert_eq!(count(&conn), 50, "the hot journal is rolled back");
}

#[test]
fn a_fault_at_any_write_loses_nothing_that_was_committed() {
    for key in [None, Some([1; 32])] {
        for fault in [Fault::Io, Fault::NoSpace, Fault::Torn, Fault::Unsynced] {
            for after in (0..54).step_by(9) {
                strike(key.as_ref(), fault, after);
            }
        }
    }
}

/// One run of commits and checkpoints, of which one write or sync fails.
fn strike(key: Option<&[u8; 32]>, fault: Fault, after: u64) {
    let folder = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let disk = Disk::faulty(key, faults.clone());
    let file = folder.path().join("a.db");
    let conn = open(&disk, &file);
    fill(&conn, 0);
    faults.arm(after, fault, false);
    let mut committed = 0;
    for round in 0..8 {
        let text = format!("{TEXT} {}", "x".repeat(3000));
        committed += i64::from(
            conn.execute("INSERT INTO t (text) VALUES (?1)", [text])
                .is_ok(),
        );
        if round % 3 == 2 {
            // It may fail, and is repeated by the next one.
            let _ = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
    }
    assert_eq!(count(&conn), committed, "{fault:?} after {after}");
    drop(conn);
    let conn = open(&disk, &file);
    assert_eq!(count(&conn), committed, "{fault:?} after {after}, reopened");
    let check: String = conn
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
}
