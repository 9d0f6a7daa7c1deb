//! A campaign against the disk: damage of the files between two runs. The long form,
//! `scripts/soak damage`, tries more places.

use std::sync::atomic::{AtomicU64, Ordering};

use hobnob_vfs::Disk;

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
