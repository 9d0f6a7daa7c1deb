//! Tests of failures: how the store handles a faulty disk or file.

use std::io::{Read, Seek, SeekFrom, Write};

use rusqlite::Connection;

use super::super::error::Fault;
use super::super::schema::{MIGRATIONS, Migration, migrate, refuse_foreign};
use super::super::{HistoryRequest, KnownPeer, WhichOffers};
use super::*;

fn refused(file: &Path) -> StoreError {
    open(file, 0).map(drop).expect_err("is refused")
}

#[test]
fn a_database_of_a_newer_program_is_rejected_unchanged() {
    let mut home = Home::new();
    home.commit(vec![the_lobby(true)]);
    home.stop();
    Connection::open(home.file())
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let before = std::fs::read(home.file()).unwrap();
    let error = refused(&home.file());
    assert_eq!(
        error,
        StoreError::Newer {
            file: home.file(),
            found: 99,
            known: u32::try_from(MIGRATIONS.len()).unwrap()
        }
    );
    assert!(
        error.to_string().contains("99") && error.to_string().contains("update hobnob"),
        "{error}"
    );
    assert_eq!(std::fs::read(home.file()).unwrap(), before);
}

#[test]
fn an_older_database_is_migrated_in_one_transaction() {
    let steps = [
        "CREATE TABLE a (x)",
        "ALTER TABLE a ADD COLUMN y; UPDATE a SET y = x + 1",
        "CREATE TABLE c (z)",
    ]
    .map(Migration::Sql);
    let mut conn = Connection::open_in_memory().unwrap();
    migrate(&mut conn, &steps[..1]).unwrap();
    conn.execute("INSERT INTO a VALUES (1)", []).unwrap();
    let broken = [steps[0], steps[1], Migration::Sql("not SQL")];
    assert!(migrate(&mut conn, &broken).is_err());
    assert!(
        conn.prepare("SELECT y FROM a").is_err(),
        "a failed migration changes nothing"
    );
    for _ in 0..2 {
        refuse_foreign(&conn, &steps).unwrap();
        migrate(&mut conn, &steps).unwrap();
        let y: i64 = conn
            .query_row("SELECT y FROM a, (SELECT count(*) FROM c)", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(y, 2);
    }
    assert!(matches!(
        refuse_foreign(&conn, &steps[..2]),
        Err(Fault::Newer { found: 3, known: 2 })
    ));
}

#[test]
fn a_foreign_file_is_reported_as_damaged_and_left_unchanged() {
    let dir = TempDir::new().unwrap();
    let garbage = dir.path().join("garbage.db");
    std::fs::write(&garbage, "This is a letter to my aunt. ".repeat(500)).unwrap();
    let foreign = dir.path().join("foreign.db");
    Connection::open(&foreign)
        .unwrap()
        .execute_batch("CREATE TABLE bookmarks (url)")
        .unwrap();
    for file in [garbage, foreign] {
        let before = std::fs::read(&file).unwrap();
        let error = refused(&file);
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("move it aside"), "{error}");
        assert_eq!(std::fs::read(&file).unwrap(), before);
    }
}

/// Overwrites 100 bytes at three places of each page, one at a time. The store must report the
/// damage or return only correct data.
#[test]
fn damage_in_any_page_is_reported_and_never_forwarded() {
    let mut home = Home::new();
    let mut ann = Author::new(1, lobby());
    home.commit(vec![the_lobby(true)]);
    for _ in 0..30 {
        home.commit(vec![append(&ann.chats(20))]);
    }
    home.store().set_setting("nick", "ann");
    home.stop();
    let whole = std::fs::read(home.file()).unwrap();
    let (mut told, pages) = (0, whole.len() / 4096);
    for page in 0..pages {
        for offset in [0, 2_000, 3_900] {
            std::fs::write(home.file(), &whole).unwrap();
            // What an earlier round found.
            let _ = std::fs::remove_file(home.file().with_extension("db.suspect"));
            flip(&home.file(), page * 4096 + offset);
            told += usize::from(!reads_well(&home.file(), &ann));
        }
    }
    assert!(told > pages, "{told} of {pages} pages, three times each");
}

fn flip(file: &Path, at: usize) {
    let mut file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(file)
        .unwrap();
    let mut bytes = [0; 100];
    file.seek(SeekFrom::Start(at as u64)).unwrap();
    file.read_exact(&mut bytes).unwrap();
    file.seek(SeekFrom::Start(at as u64)).unwrap();
    file.write_all(&bytes.map(|byte| !byte)).unwrap();
}

/// Whether the store reported no damage.
fn reads_well(file: &Path, ann: &Author) -> bool {
    let is_told = |error: &StoreError| {
        matches!(
            error,
            StoreError::Damaged { .. } | StoreError::Newer { .. } | StoreError::Io { .. }
        )
    };
    let (opened, _) = match open(file, 0) {
        Ok(opened) => opened,
        Err(error) => {
            assert!(is_told(&error), "{error}");
            return false;
        }
    };
    let mut well = opened.repaired.is_none();
    match wait(opened.store.read_batches(ann.name, 1, ann.last, usize::MAX)) {
        // A log without its row counts as not held. The other batches must carry the author's
        // signature.
        Ok(batches) => batches
            .into_iter()
            .for_each(|batch| drop(batch.check().expect("what is given out is the author's"))),
        Err(error) => well &= !is_told(&error),
    }
    let request = HistoryRequest {
        search: Some("message".into()),
        limit: 1_000,
        ..HistoryRequest::default()
    };
    match wait(opened.store.history(request)) {
        Ok(_) => {}
        Err(error) => well &= !is_told(&error),
    }
    well && !opened.store.is_damaged()
}

#[test]
fn an_unwritable_path_is_reported() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    for place in ["file/hobnob.db", "missing/hobnob.db", ""] {
        let file = dir.path().join(place);
        let error = refused(&file);
        assert!(
            matches!(error, StoreError::Io { .. } | StoreError::ReadOnly { .. }),
            "{error}"
        );
        assert!(
            error.to_string().contains(file.to_str().unwrap()),
            "{error}"
        );
    }
}

/// Tests may run as root, who bypasses file modes. So this test builds the errors that the system
/// and SQLite would return.
#[test]
fn each_cause_has_its_error() {
    use std::io::{Error, ErrorKind};
    let file = Path::new("/home/ann/hobnob.db");
    let io = |kind| StoreError::from_io(&Error::from(kind), file);
    assert!(matches!(
        io(ErrorKind::PermissionDenied),
        StoreError::ReadOnly { .. }
    ));
    assert!(matches!(
        io(ErrorKind::ReadOnlyFilesystem),
        StoreError::ReadOnly { .. }
    ));
    assert!(matches!(
        io(ErrorKind::StorageFull),
        StoreError::Full { .. }
    ));
    let sqlite = |code| {
        Fault::from(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(code),
            None,
        ))
        .at(file)
    };
    assert!(matches!(
        sqlite(rusqlite::ffi::SQLITE_READONLY_DIRECTORY),
        StoreError::ReadOnly { .. }
    ));
    assert!(matches!(
        sqlite(rusqlite::ffi::SQLITE_FULL),
        StoreError::Full { .. }
    ));
    assert!(matches!(
        sqlite(rusqlite::ffi::SQLITE_BUSY),
        StoreError::InUse { .. }
    ));
    assert!(matches!(
        sqlite(rusqlite::ffi::SQLITE_CORRUPT_VTAB),
        StoreError::Damaged { .. }
    ));
    assert!(matches!(
        sqlite(rusqlite::ffi::SQLITE_IOERR_READ),
        StoreError::Io { .. }
    ));
}

#[test]
fn a_full_disk_loses_nothing_and_the_store_resumes_when_there_is_space() {
    let mut home = Home::new();
    let mut ann = Author::new(1, lobby());
    home.commit(vec![the_lobby(true), append(&ann.chats(10))]);
    home.limit_pages(60);
    let big: Vec<_> = (0..20)
        .map(|_| ann.writes(vec![Body::Text("x".repeat(16 * 1024))]))
        .collect();
    let (mut kept, mut full) = (0, 0);
    for batch in &big {
        match home.try_commit(vec![append(batch)]) {
            Ok(()) if full == 0 => kept += 1,
            Ok(()) => unreachable!("what comes after a hole must not fit where less did not"),
            Err(error) => {
                assert_eq!(error, StoreError::Full { file: home.file() });
                assert!(error.to_string().contains("free some space"), "{error}");
                full += 1;
            }
        }
    }
    assert!(kept > 0 && full > 0, "{kept} kept, {full} refused");
    home.store().remember_peer(KnownPeer {
        peer: peer(3),
        public: None,
        contact: None,
        relays: vec![],
        addrs: vec![],
        named: vec![],
        seen_at_ms: 1,
    });
    assert_eq!(
        wait(home.store().entries(ann.name, 1, 99)).unwrap().len(),
        10 + kept
    );
    home.limit_pages(1_000_000);
    for batch in &big[kept..] {
        home.commit(vec![append(batch)]);
    }
    home.restart();
    assert_eq!(home.loaded().logs[0].head, (ann.last, ann.head));
    let batches = wait(home.store().read_batches(ann.name, 1, ann.last, usize::MAX)).unwrap();
    assert_eq!(
        batches
            .into_iter()
            .map(|b| b.check().unwrap().entries.len())
            .sum::<usize>(),
        30
    );
}

#[test]
fn a_database_locked_by_another_program_is_reported() {
    let mut home = Home::new();
    home.commit(vec![the_lobby(true)]);
    home.stop();
    let other = Connection::open(home.file()).unwrap();
    other
        .pragma_update(None, "locking_mode", "exclusive")
        .unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    assert_eq!(
        refused(&home.file()),
        StoreError::InUse { file: home.file() }
    );
    drop(other);
    home.restart();
}

#[test]
fn a_store_closes_despite_an_open_offer_handle() {
    let mut home = Home::new();
    let offers = home.store().offers();
    home.stop();
    let mut answer = offers.read(WhichOffers::Newest);
    assert!(answer.try_recv().is_err(), "nobody is there to answer");
}
