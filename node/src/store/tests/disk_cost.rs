//! What strangers are charged for their entries is at least what these take on disk.

use hobnob_core::policy::PeerPolicy;
use hobnob_core::replica::bytes_on_disk;
use hobnob_protocol::EntryRef;

use super::super::HistoryRequest;
use super::*;

/// Bytes of a file that depend on nothing that a stranger writes: pages that are partly filled.
const ROUNDING: u64 = 128 * 1024;

/// How often all logs are dropped for others.
const EXCHANGES: usize = 6;

/// Numbers without a pattern.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    /// A text of this many bytes, at most, of letters between these.
    fn text(&mut self, bytes: usize, letters: std::ops::Range<u32>) -> String {
        let span = u64::from(letters.end - letters.start);
        let mut text = String::new();
        while text.len() + 4 <= bytes {
            let letter = letters.start + u32::try_from(self.below(span)).unwrap();
            text.extend(char::from_u32(letter).filter(|letter| letter.is_alphanumeric()));
        }
        text
    }
}

/// A log of an author. The names of logs are as random as those of strangers.
fn log(random: &mut Random) -> Author {
    let mut author = Author::new(1, lobby());
    author.name.log = LogId(random.below(u64::MAX));
    author.head = author.name.genesis();
    author
}

/// Batches, each of one commit, with what they are charged.
#[derive(Default)]
struct Written {
    batches: Vec<Arc<CheckedBatch>>,
    logs: u64,
}

impl Written {
    /// A log of one entry with this body.
    fn alone(&mut self, random: &mut Random, body: Body) {
        self.in_log(&mut log(random), vec![vec![body]]);
    }

    /// A log with these bodies, each list in a batch.
    fn in_log(&mut self, author: &mut Author, bodies: Vec<Vec<Body>>) {
        self.logs += 1;
        let batches = bodies.into_iter().map(|bodies| author.writes(bodies));
        self.batches.extend(batches);
    }

    fn charge(&self) -> u64 {
        let entries = || self.batches.iter().flat_map(|batch| &batch.entries);
        let bytes = entries().map(|entry| entry.bytes.len() as u64).sum();
        bytes_on_disk(self.logs, entries().count() as u64, bytes)
    }

    fn names(&self) -> std::collections::BTreeSet<LogName> {
        self.batches.iter().map(|batch| batch.batch.name).collect()
    }
}

/// Writes all, and waits until it is in the search index.
fn commit_all(home: &mut Home, written: &Written) {
    for batch in &written.batches {
        let brought = Op::Brought(batch.batch.name, peer(2).only_device());
        home.hand_over(vec![append(batch), brought]);
    }
    for _ in &written.batches {
        home.answer().1.unwrap();
    }
    let search = HistoryRequest {
        search: Some("nowhere".to_owned()),
        limit: 1,
        ..HistoryRequest::default()
    };
    wait(home.store().history(search)).unwrap();
}

/// The bytes of the database without its write-ahead log.
fn size(home: &mut Home) -> u64 {
    home.stop();
    let size = std::fs::metadata(home.file()).unwrap().len();
    home.restart();
    size
}

/// Compares the bytes on disk with the charge.
fn is_covered(what: &str, write: impl Fn(&mut Random) -> Written) {
    let (mut home, mut random) = (Home::new(), Random(4_242));
    home.commit(vec![the_lobby(true)]);
    let empty = size(&mut home);
    let first = write(&mut random);
    commit_all(&mut home, &first);
    let taken = size(&mut home) - empty;
    let charge = first.charge();
    eprintln!("{what}: {taken} bytes on disk, charged {charge}");
    assert!(taken <= charge + ROUNDING, "{what}: {taken} of {charge}");
    // A full room drops logs and takes others in their place.
    let mut names = first.names();
    for _ in 0..EXCHANGES {
        for name in std::mem::take(&mut names) {
            home.commit(vec![Op::Forget(name)]);
        }
        let next = write(&mut random);
        commit_all(&mut home, &next);
        names = next.names();
    }
    let taken = size(&mut home) - empty;
    let most = charge + charge / 2;
    eprintln!("{what}: {taken} bytes after {EXCHANGES} exchanges, at most {most}");
    assert!(taken <= most + ROUNDING, "{what}: {taken} of {most}");
}

fn text(text: &str) -> Body {
    Body::Text(text.to_owned())
}

#[test]
fn a_long_write_ahead_log_is_shortened_by_the_next_transaction() {
    let (mut home, mut random) = (Home::new(), Random(4_242));
    home.commit(vec![the_lobby(true)]);
    // One commit is one transaction, however large it is.
    let mut author = log(&mut random);
    let batches = (0..350).map(|_| {
        let texts = (0..4).map(|_| text(&random.text(12_000, 0x61..0x7b)));
        append(&author.writes(texts.collect()))
    });
    let large = batches.collect();
    home.commit(large);
    let wal = home.dir.path().join("hobnob.db-wal");
    let size = || std::fs::metadata(&wal).unwrap().len();
    assert!(
        size() > 12 * 1024 * 1024,
        "the transaction has {} bytes",
        size()
    );
    let policy = PeerPolicy {
        ignored: true,
        ..PeerPolicy::default()
    };
    wait(home.store().set_policy(peer(9), policy)).unwrap();
    assert!(size() <= 8 * 1024 * 1024, "{} bytes", size());
}

#[test]
fn the_shortest_entries_each_in_a_log_of_its_own_are_covered() {
    is_covered("logs", |random| {
        let mut written = Written::default();
        (0..600).for_each(|_| written.alone(random, text("x")));
        written
    });
}

#[test]
fn the_shortest_entries_of_one_log_are_covered() {
    is_covered("entries", |random| {
        let mut written = Written::default();
        let bodies = vec![vec![text("x")]; 1_000];
        written.in_log(&mut log(random), bodies);
        written
    });
}

#[test]
fn reactions_are_covered() {
    is_covered("reactions", |random| {
        let mut author = log(random);
        let to = EntryRef {
            author: Some(peer(7)),
            log: author.name.log,
            seq: 1,
        };
        let react = |n: u64| Body::React {
            to: EntryRef { seq: n, ..to },
            emoji: "👍".to_owned(),
            on: true,
        };
        let mut written = Written::default();
        let bodies = (1..=1_000).map(|n| vec![react(n)]).collect();
        written.in_log(&mut author, bodies);
        written
    });
}

/// Long texts and short ones of letters between these.
fn texts_are_covered(what: &str, letters: std::ops::Range<u32>) {
    for (count, bytes) in [(10, 12_000), (300, 200)] {
        is_covered(&format!("{what} of {bytes} bytes"), |random| {
            let mut written = Written::default();
            for _ in 0..count {
                let body = random.text(bytes, letters.clone());
                written.alone(random, text(&body));
            }
            written
        });
    }
}

#[test]
fn texts_of_random_letters_are_covered() {
    texts_are_covered("ASCII", 0x61..0x7b);
}

#[test]
fn texts_of_random_letters_of_two_bytes_are_covered() {
    texts_are_covered("two bytes", 0x100..0x600);
}

#[test]
fn texts_of_random_han_characters_are_covered() {
    texts_are_covered("Han", 0x4e00..0x9fa0);
}

#[test]
fn texts_of_random_letters_of_three_bytes_are_covered() {
    texts_are_covered("three bytes", 0x1200..0x1680);
}

#[test]
fn texts_of_ligatures_that_stand_for_sentences_are_covered() {
    let ligatures = "\u{fdfa}".repeat(4_000);
    is_covered("ligatures", |random| {
        let mut written = Written::default();
        (0..10).for_each(|_| written.alone(random, text(&ligatures)));
        written
    });
}

#[test]
fn texts_of_one_letter_words_are_covered() {
    is_covered("words", |random| {
        let mut written = Written::default();
        for _ in 0..10 {
            let letters = random.text(6_000, 0x61..0x7b);
            let words: Vec<_> = letters.chars().map(String::from).collect();
            written.alone(random, text(&words.join(" ")));
        }
        written
    });
}
