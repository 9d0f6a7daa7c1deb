//! Tests of the batches for sync: the store must return batches that verify as the author's.

use hobnob_protocol::Batch;
use hobnob_protocol::batch::BATCH_ENTRIES_BYTES_MAX;
use hobnob_protocol::text::TEXT_BYTES_MAX;

use super::*;

const PLENTY: usize = usize::MAX;

/// Checks that the batches start at `from`, form a valid chain, and end at `last`.
fn check(batches: Vec<Batch>, from: Seq, prev: EntryHash, last: Seq) -> usize {
    let (mut next, mut hash) = (from, prev);
    let count = batches.len();
    for batch in batches {
        assert_eq!((batch.first, batch.prev), (next, hash));
        let batch = batch.check().expect("is the author's");
        (next, hash) = (batch.last() + 1, batch.head());
    }
    assert_eq!(next, last + 1);
    count
}

fn hashes(ann: &Author, batches: &[Arc<CheckedBatch>]) -> Vec<EntryHash> {
    std::iter::once(ann.name.genesis())
        .chain(
            batches
                .iter()
                .flat_map(|b| b.entries.iter().map(|e| e.hash)),
        )
        .collect()
}

#[test]
fn batches_verify_from_every_entry_and_small_ones_are_merged() {
    let mut home = Home::new();
    let mut ann = Author::new(1, lobby());
    home.commit(vec![the_lobby(true)]);
    let written: Vec<_> = [1, 7, 2, 31, 1, 1, 13]
        .into_iter()
        .map(|entries| ann.chats(entries))
        .collect();
    for (i, batch) in written.iter().enumerate() {
        // Different audiences do not interrupt the chain.
        home.commit(vec![part(
            batch,
            batch.first(),
            batch.last(),
            AudienceId(i as u64 / 3),
        )]);
    }
    let hashes = hashes(&ann, &written);
    for from in 1..=ann.last {
        let prev = hashes[usize::try_from(from).unwrap() - 1];
        assert_eq!(
            check(
                wait(home.store().read_batches(ann.name, from, ann.last, PLENTY)).unwrap(),
                from,
                prev,
                ann.last
            ),
            1
        );
        for to in from..=ann.last {
            let ends = written
                .iter()
                .map(|b| b.last())
                .find(|last| *last >= to)
                .unwrap();
            let batches = wait(home.store().read_batches(ann.name, from, to, PLENTY)).unwrap();
            check(batches, from, prev, ends);
        }
    }
    for nothing in [ann.last + 1, 0, Seq::MAX] {
        assert_eq!(
            wait(
                home.store()
                    .read_batches(ann.name, nothing, nothing, PLENTY)
            ),
            Ok(vec![])
        );
    }
    let unheard_of = LogName {
        log: LogId(1),
        ..ann.name
    };
    assert_eq!(
        wait(home.store().read_batches(unheard_of, 1, 9, PLENTY)),
        Ok(vec![])
    );
}

#[test]
fn large_batches_fit_their_frames_and_the_requested_size() {
    let mut home = Home::new();
    let mut ann = Author::new(1, lobby());
    home.commit(vec![the_lobby(true)]);
    let written: Vec<_> = (0..40)
        .map(|i| {
            ann.writes(
                (0..=i % 4)
                    .map(|_| Body::Text("x".repeat(5_000 + i * 200)))
                    .collect(),
            )
        })
        .collect();
    for batch in &written {
        home.commit(vec![append(batch)]);
    }
    let total: usize = written.iter().map(|b| b.batch.entries.len()).sum();
    let genesis = ann.name.genesis();
    let batches = wait(home.store().read_batches(ann.name, 1, ann.last, PLENTY)).unwrap();
    assert!(
        batches
            .iter()
            .all(|b| b.entries.len() <= BATCH_ENTRIES_BYTES_MAX)
    );
    let count = check(batches, 1, genesis, ann.last);
    assert!(
        count <= 2 * total / BATCH_ENTRIES_BYTES_MAX,
        "{count} batches for {total} bytes"
    );
    for room in [0, 1, 5_000, 70_000, 200_000] {
        let batches = wait(home.store().read_batches(ann.name, 1, ann.last, room)).unwrap();
        let bytes: usize = batches.iter().map(|b| b.entries.len()).sum();
        assert!(
            bytes <= room.max(written[0].batch.entries.len()),
            "{bytes} for {room}"
        );
        let last = batches.last().unwrap().clone().check().unwrap().last();
        check(batches, 1, genesis, last);
    }
}

/// The size of an early entry with its header and salt.
fn encoded_len(body: Body) -> usize {
    Entry::new(1, 1_001, body).encode(&[0; 16]).len()
}

#[test]
fn the_largest_possible_batches_can_be_read_back() {
    let mut home = Home::new();
    let mut ann = Author::new(1, lobby());
    home.commit(vec![the_lobby(true)]);
    let text = |letter: &str, len| Body::Text(letter.repeat(len));
    // Three of the longest texts, and a fourth that fills the batch to the last byte.
    let of_longest = encoded_len(text("x", TEXT_BYTES_MAX));
    let left = BATCH_ENTRIES_BYTES_MAX - 3 * of_longest;
    let around_text = encoded_len(text("y", left)) - left;
    let batches: Vec<_> = (0..3)
        .map(|_| {
            let mut bodies = vec![text("x", TEXT_BYTES_MAX); 3];
            bodies.push(text("y", left - around_text));
            ann.writes(bodies)
        })
        .collect();
    for batch in &batches {
        assert_eq!(batch.batch.entries.len(), BATCH_ENTRIES_BYTES_MAX);
    }
    home.commit(batches.iter().map(append).collect());
    let hashes = hashes(&ann, &batches);
    for from in 1..=ann.last {
        let read = wait(home.store().read_batches(ann.name, from, ann.last, PLENTY)).unwrap();
        check(
            read,
            from,
            hashes[usize::try_from(from).unwrap() - 1],
            ann.last,
        );
    }
}

#[test]
fn a_range_after_a_gap_is_read_from_its_own_start() {
    let mut home = Home::new();
    let mut ann = Author::new(1, lobby());
    let written: Vec<_> = (0..6).map(|_| ann.chats(5)).collect();
    let hashes = hashes(&ann, &written);
    home.commit(vec![the_lobby(true), append(&written[0])]);
    // The first two entries of the fourth batch are missing.
    home.commit(vec![
        part(&written[3], 18, 20, AudienceId(4)),
        part(&written[5], 26, 30, AudienceId(5)),
    ]);
    home.restart();
    for (from, to, ends) in [
        (1, 99, 5),
        (3, 4, 5),
        (18, 99, 20),
        (19, 19, 20),
        (26, 27, 30),
    ] {
        let read = wait(home.store().read_batches(ann.name, from, to, PLENTY)).unwrap();
        check(read, from, hashes[usize::try_from(from).unwrap() - 1], ends);
    }
    for nothing in [6, 17, 21, 25, 31] {
        assert_eq!(
            wait(home.store().read_batches(ann.name, nothing, 99, PLENTY)),
            Ok(vec![])
        );
    }
    // Filling the gaps leaves one range.
    let fill = [
        append(&written[1]),
        append(&written[2]),
        part(&written[3], 16, 17, AudienceId(9)),
        append(&written[4]),
    ];
    home.commit(fill.to_vec());
    check(
        wait(home.store().read_batches(ann.name, 1, 30, PLENTY)).unwrap(),
        1,
        ann.name.genesis(),
        30,
    );
}

#[test]
fn a_trimmed_log_is_read_from_its_first_remaining_entry() {
    let written_in = [3, 4, 1, 6, 2];
    for below in 1..=17 {
        let mut home = Home::new();
        let mut ann = Author::new(1, lobby());
        let written: Vec<_> = written_in
            .into_iter()
            .map(|entries| ann.chats(entries))
            .collect();
        let hashes = hashes(&ann, &written);
        home.commit(vec![the_lobby(true)]);
        home.commit(written.iter().map(append).collect());
        home.commit(vec![Op::Trim(ann.name, below)]);
        home.restart();
        assert_eq!(home.loaded().logs.len(), usize::from(below <= 16));
        for from in 1..=16 {
            let read = wait(home.store().read_batches(ann.name, from, 16, PLENTY)).unwrap();
            if from < below {
                assert!(read.is_empty());
            } else {
                check(read, from, hashes[usize::try_from(from).unwrap() - 1], 16);
            }
        }
        let more = ann.chats(2);
        home.commit(vec![append(&more)]);
        let from = below.min(17);
        check(
            wait(home.store().read_batches(ann.name, from, 99, PLENTY)).unwrap(),
            from,
            hashes[usize::try_from(from).unwrap() - 1],
            18,
        );
    }
}

#[test]
fn repeated_trims_across_gaps_keep_the_entries_above() {
    let mut home = Home::new();
    let mut ann = Author::new(1, lobby());
    let written: Vec<_> = (0..6).map(|_| ann.chats(5)).collect();
    let hashes = hashes(&ann, &written);
    home.commit(vec![
        the_lobby(true),
        append(&written[0]),
        append(&written[2]),
        append(&written[5]),
    ]);
    for below in [0, 1, 3, 3, 7, 13, 20, 27] {
        home.commit(vec![Op::Trim(ann.name, below)]);
        let from = below.max(26);
        let read = wait(home.store().read_batches(ann.name, from, 30, PLENTY)).unwrap();
        check(read, from, hashes[usize::try_from(from).unwrap() - 1], 30);
    }
    assert_eq!(
        wait(home.store().entries(ann.name, 0, Seq::MAX))
            .unwrap()
            .len(),
        4
    );
}

#[test]
fn batches_with_decreasing_lamport_numbers_are_not_merged() {
    let mut home = Home::new();
    let mut ann = Author::new(1, lobby());
    let first = ann.chats(3);
    ann.lamport = 0;
    let second = ann.chats(3);
    home.commit(vec![the_lobby(true), append(&first), append(&second)]);
    let read = wait(home.store().read_batches(ann.name, 1, 6, PLENTY)).unwrap();
    assert_eq!(check(read, 1, ann.name.genesis(), 6), 2);
}

#[test]
fn a_deletion_is_alone_in_its_batch() {
    let mut home = Home::new();
    let mut ann = Author::new(1, lobby());
    let log = ann.name.log;
    let before = ann.chats(2);
    let deletion = ann.writes(vec![Body::Delete { log, seq: 1 }]);
    let after = [ann.chats(1), ann.chats(2)];
    let batches = [&before, &deletion, &after[0], &after[1]];
    home.commit(
        [the_lobby(true)]
            .into_iter()
            .chain(batches.map(append))
            .collect(),
    );
    let read = wait(home.store().read_batches(ann.name, 1, 6, PLENTY)).unwrap();
    let spans = read.into_iter().map(|batch| {
        let batch = batch.check().expect("its end is signed");
        (batch.first(), batch.last())
    });
    assert_eq!(spans.collect::<Vec<_>>(), [(1, 2), (3, 3), (4, 6)]);
}

#[test]
fn a_reader_does_not_wait_for_the_writer() {
    let mut home = Home::new();
    let mut ann = Author::new(1, lobby());
    home.commit(vec![the_lobby(true), append(&ann.chats(3))]);
    let blocker = rusqlite::Connection::open(home.file()).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    home.hand_over(vec![append(&ann.chats(3))]);
    assert_eq!(wait(home.store().entries(ann.name, 1, 9)).unwrap().len(), 3);
    blocker.execute_batch("ROLLBACK").unwrap();
    assert_eq!(home.answer().1, Ok(()));
    assert_eq!(wait(home.store().entries(ann.name, 1, 9)).unwrap().len(), 6);
}
