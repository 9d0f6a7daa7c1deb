//! Compressed batches, as frames with their kind.

use bytes::Bytes;
use hobnob::net::compression::Compressor;
use hobnob_protocol::batch::BATCH_ENTRIES_BYTES_MAX;
use hobnob_protocol::compression::{COMPRESSED_BATCH, RATIO_MAX};
use hobnob_protocol::{CheckedBatch, CompressedBatch, Frame};

use crate::entries::{author, samples_of_entries};

/// What is decompressed has the announced length, which is within the limits. The same bytes come
/// back if they are compressed again.
pub(crate) fn run(data: &[u8]) {
    let frame = Bytes::from([&[COMPRESSED_BATCH], data].concat());
    let Ok(Some(compressed)) = CompressedBatch::decode(&frame) else {
        return;
    };
    let (len, travels) = (compressed.len, compressed.batch.entries.len());
    assert!(travels < len && len <= BATCH_ENTRIES_BYTES_MAX);
    assert!(len <= travels * RATIO_MAX);
    let encoded = compressed.encode();
    assert!(encoded.len() <= frame.len(), "a batch has grown");
    assert_eq!(
        CompressedBatch::decode(&encoded),
        Ok(Some(compressed.clone()))
    );
    let compressor = Compressor::default();
    let Ok(batch) = compressor.decompress_batch(compressed) else {
        return;
    };
    assert_eq!(batch.entries.len(), len);
    if let Some(again) = compressor.compress(&batch.entries) {
        assert_eq!(compressor.decompress(&again, len), Ok(batch.entries));
    }
}

pub(crate) fn samples() -> Vec<Vec<u8>> {
    let (key, name, mut salts) = author();
    let entries = samples_of_entries().into_iter().cycle().take(200);
    // Their Lamport numbers must not decrease.
    let entries = entries.zip(1..).map(|(mut entry, lamport)| {
        entry.lamport = lamport;
        entry
    });
    let entries = entries.collect();
    let batch = CheckedBatch::author(&key, name, 1, name.genesis(), entries, &mut salts);
    let frame = Frame::Batch(batch.batch).encode();
    let compressed = Compressor::default().batch(frame);
    assert_eq!(compressed[0], COMPRESSED_BATCH);
    vec![compressed[1..].to_vec()]
}
