//! A campaign against the disk: damage of the files between two runs, and faults of writes and syncs
//! during a run. The long form, `scripts/soak damage`, tries more places.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use hobnob_vfs::{Disk, Fault, Faults};

use super::repair::{ENTRIES, PAGE, heal, open_on, read, reopened};
use super::*;

/// Places that each test of the campaign tries. `HOBNOB_SOAK` names another number.
const PLACES: u64 = 40;

/// How often the long form reports how far it is, in places.
const REPORT_EVERY: u64 = 50;

fn places() -> u64 {
    let places = std::env::var("HOBNOB_SOAK").ok();
    let places = places.map(|places| places.parse().expect("a number"));
    places.unwrap_or(PLACES)
}

/// Tries all places in four threads. Returns the sum of the results.
fn try_all(one: impl Fn(u64) -> u64 + Sync) -> u64 {
    let (places, next, sum) = (places(), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    if place >= places {
                        return;
                    }
                    sum.fetch_add(one(place), Ordering::Relaxed);
                    if place % REPORT_EVERY == REPORT_EVERY - 1 {
                        eprintln!("{} of {places} places", place + 1);
                    }
                }
            });
        }
    });
    sum.into_inner()
}

/// Every second group of places is on an encrypted disk.
fn key_of(place: u64) -> Option<[u8; 32]> {
    (place / 4 % 2 == 1).then_some([3; 32])
}

/// A number that is spread over all values.
fn spread(place: u64) -> u64 {
    let mixed = (place + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 11
}

/// Changes a file as a failing disk might: a flipped bit, in three of four places, a torn page or a
/// cut end.
fn damage(bytes: &mut Vec<u8>, place: u64) {
    let spread = usize::try_from(spread(place)).expect("a number of 53 bits");
    let at = spread % bytes.len();
    match place % 8 {
        0 => bytes.truncate(at),
        1 => {
            // The second half of the page was not written.
            let end = (at / PAGE + 1) * PAGE;
            bytes[end - PAGE / 2..end].fill(0);
        }
        _ => bytes[at] ^= 1 << (spread / bytes.len() % 8),
    }
}

#[test]
fn damage_of_a_database_shows_nothing_false_and_peers_fill_the_gaps() {
    let original = |key: Option<[u8; 32]>| {
        let (dir, mut ann) = (TempDir::new().unwrap(), Author::new(1, lobby()));
        let disk = key.map_or_else(Disk::plain, |key| Disk::encrypted(&key));
        let opened = open_on(&disk, &dir.path().join("hobnob.db")).unwrap();
        let batches: Vec<_> = (0..30).map(|_| ann.chats(20)).collect();
        let ops = batches.iter().map(append);
        for (number, op) in (0..).zip(std::iter::once(the_lobby(true)).chain(ops)) {
            let (id, ops) = (CommitId(number), vec![op]);
            opened.0.store.commit(Commit { id, ops });
            opened.1.recv().unwrap().1.unwrap();
        }
        opened.0.store.shutdown();
        (
            std::fs::read(dir.path().join("hobnob.db")).unwrap(),
            ann,
            batches,
        )
    };
    let originals = [None, Some([3; 32])].map(|key| (key, original(key)));
    let healed = try_all(|place| {
        let key = key_of(place);
        let found = originals.iter().find(|(other, _)| *other == key);
        let (_, (whole, ann, batches)) = found.expect("there is one with each key");
        let disk = key.map_or_else(Disk::plain, |key| Disk::encrypted(&key));
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("hobnob.db");
        let mut bytes = whole.clone();
        damage(&mut bytes, place);
        std::fs::write(&file, bytes).unwrap();
        let healed = (0..3).find_map(|_| {
            let Some((opened, _)) = reopened(&disk, &file, ann) else {
                return Some(None);
            };
            // A contradiction that only a commit meets is damage, too: the next start repairs it.
            heal(&opened, batches).ok().map(|_| Some(opened))
        });
        // A database that can't be opened is reported, and replaced by a backup.
        let Some(opened) = healed.expect("it is healed after three starts") else {
            return 0;
        };
        let (for_peers, mut shown) = read(&opened.0.store, ann).expect("it is whole again");
        shown.sort_unstable();
        let all: Vec<Seq> = (1..=ENTRIES).collect();
        assert_eq!((for_peers, shown), (all.clone(), all), "place {place}");
        1
    });
    eprintln!("{healed} of {} databases were healed", places());
    assert!(healed > places() / 3, "{healed} of {}", places());
}

#[test]
fn a_fault_of_the_disk_loses_nothing_that_was_acknowledged() {
    let kinds = [Fault::Io, Fault::NoSpace, Fault::Torn, Fault::Unsynced];
    let struck = try_all(|place| {
        let kind = kinds[usize::try_from(place % 4).unwrap()];
        // Later places are further apart, so that a short campaign reaches the end of a run, too.
        let after = place * 200 / places();
        one_fault(key_of(place).as_ref(), kind, after, place % 3 == 2)
    });
    eprintln!("{struck} of {} faults struck", places());
    assert!(struck >= places() / 2, "most faults strike");
}

/// A run of commits in which one write or sync fails, or all from there on until the disk is mended.
/// Returns 1 if the fault has struck.
fn one_fault(key: Option<&[u8; 32]>, kind: Fault, after: u64, stays: bool) -> u64 {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("hobnob.db");
    let faults = Arc::new(Faults::default());
    let disk = Disk::faulty(key, faults.clone());
    let mut ann = Author::new(1, lobby());
    let (opened, told) = open_on(&disk, &file).expect("the disk works");
    let commit = |number, ops| {
        let id = CommitId(number);
        opened.store.commit(Commit { id, ops });
        told.recv().unwrap().1
    };
    commit(0, vec![the_lobby(true)]).expect("the disk works");
    faults.arm(after, kind, stays);
    let mut acknowledged = BTreeMap::new();
    let mut waiting: Vec<Arc<CheckedBatch>> = Vec::new();
    for number in 1..=24 {
        waiting.push(ann.chats(10));
        if number == 16 {
            faults.mend();
        }
        // What was refused is repeated first, as the replica does.
        while let Some(batch) = waiting.first() {
            if commit(number, vec![append(batch)]).is_err() {
                break;
            }
            acknowledged.insert(batch.first(), batch.last());
            waiting.remove(0);
        }
        if number % 6 == 0 {
            // It may fail.
            let _ = wait(opened.store.scrub());
        }
    }
    let case = format!("{kind:?} after {after}");
    assert!(waiting.is_empty(), "a mended disk takes all: {case}");
    opened.store.shutdown();
    let (opened, _) = open_on(&disk, &file).expect("the database is whole");
    assert_eq!(opened.repaired, None, "{case}");
    let (for_peers, shown) = read(&opened.store, &ann).expect("nothing is damaged");
    let all: Vec<Seq> = acknowledged
        .into_iter()
        .flat_map(|(first, last)| first..=last)
        .collect();
    assert_eq!((&for_peers, &shown), (&all, &all), "{case}");
    assert_eq!(wait(opened.store.check()), Ok(()), "{case}");
    u64::from(faults.struck() > 0)
}

#[test]
fn a_fault_during_a_repair_leaves_the_damaged_database_for_the_next_start() {
    for (after, kind) in [(0, Fault::Io), (3, Fault::NoSpace), (5, Fault::Unsynced)] {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("hobnob.db");
        let faults = Arc::new(Faults::default());
        let disk = Disk::faulty(None, faults.clone());
        let mut ann = Author::new(1, lobby());
        let (opened, told) = open_on(&disk, &file).expect("the disk works");
        let batches: Vec<_> = (0..30).map(|_| ann.chats(20)).collect();
        let ops = std::iter::once(the_lobby(true)).chain(batches.iter().map(append));
        let (id, ops) = (CommitId(0), ops.collect());
        opened.store.commit(Commit { id, ops });
        told.recv().unwrap().1.expect("the disk works");
        opened.store.shutdown();
        let conn = rusqlite::Connection::open(&file).unwrap();
        let sql = "UPDATE entries SET bytes = zeroblob(9) WHERE id & ((1 << 40) - 1) = 110";
        assert_eq!(conn.execute(sql, []).unwrap(), 1);
        conn.close().unwrap();
        drop(open_on(&disk, &file).map(|opened| wait(opened.0.store.check())));
        faults.arm(after, kind, true);
        // It can't be opened, or only as it is.
        drop(open_on(&disk, &file));
        assert!(faults.struck() > 0, "{kind:?}");
        faults.mend();
        let (opened, repaired) = reopened(&disk, &file, &ann).expect("the disk works again");
        let missing = heal(&opened, &batches).expect("a gap is filled");
        let kept = repaired.expect("it was repaired").kept;
        assert_eq!((kept + missing, missing > 0), (ENTRIES, true), "{kind:?}");
        let (for_peers, _) = read(&opened.0.store, &ann).expect("it is whole");
        assert_eq!(for_peers.len() as u64, ENTRIES);
    }
}
