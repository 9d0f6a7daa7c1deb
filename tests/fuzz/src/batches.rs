//! Batches of entries, as the body of a frame.

use bytes::Bytes;
use hobnob_protocol::{Batch, CheckedBatch, Ranges};

use crate::entries::{author, samples_of_entries};

/// A batch is written as it was read. Its entries are all its bytes, in order, and the same hash
/// follows from them when their bodies are erased.
///
/// The signature is left out: nothing that the fuzzer makes up has a valid one.
pub(crate) fn run(data: &[u8]) {
    let Ok(batch) = Batch::decode(&Bytes::copy_from_slice(data)) else {
        return;
    };
    let encoded = batch.encode();
    assert!(encoded.len() <= data.len(), "a batch has grown");
    assert_eq!(Batch::decode(&encoded.into()).as_ref(), Ok(&batch));
    if let Ok(checked) = batch.clone().read() {
        assert_eq!(checked.batch, batch);
        check(&checked);
    }
}

fn check(checked: &CheckedBatch) {
    let bytes: Vec<_> = checked
        .entries
        .iter()
        .map(|entry| &entry.bytes[..])
        .collect();
    assert_eq!(bytes.concat(), checked.batch.entries);
    assert_eq!(checked.hash_at(checked.last()), Some(checked.head()));
    assert!(
        checked
            .entries
            .is_sorted_by_key(|entry| entry.entry.lamport)
    );

    let all = Ranges::span(checked.first(), checked.last());
    let erased = checked.erased(&all);
    assert_eq!(erased.head(), checked.head());
    for (before, after) in checked.entries.iter().zip(&erased.entries) {
        assert_eq!(before.hash, after.hash);
        assert_eq!(before.entry.lamport, after.entry.lamport);
    }
    assert_eq!(erased.erased(&all).batch, erased.batch);
}

pub(crate) fn samples() -> Vec<Vec<u8>> {
    let (key, name, mut salts) = author();
    let entries = samples_of_entries();
    let first = entries[..2].to_vec();
    let whole = CheckedBatch::author(&key, name, 1, name.genesis(), entries, &mut salts);
    let first = CheckedBatch::author(&key, name, 1, name.genesis(), first, &mut salts);
    let rest = samples_of_entries().split_off(2);
    let rest = CheckedBatch::author(&key, name, 3, first.head(), rest, &mut salts);
    let erased = whole.erased(&Ranges::span(1, 2));
    let batches = [whole, first, rest, erased];
    batches.map(|checked| checked.batch.encode()).to_vec()
}
