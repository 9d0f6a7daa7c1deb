//! Contents that arrive by mail: their parts wait in the content index until the user accepts the
//! offer, and no peer must be connected then.
//!
//! Each part is a file of its own, written before its envelope is deleted at the holder. The whole is
//! checked against the offer's hash when it is used. Not here: which parts arrive, and what is sent.

use std::fs::{self, File};
use std::io::{self, Write};

use bytes::Bytes;
use hobnob_protocol::content::{Leaf, PIECE_BYTES, Tree};
use hobnob_protocol::mailbox::{CONTENT_PART_BYTES, CONTENT_PARTS_MAX, MAILED_CONTENT_MAX};
use hobnob_protocol::{LogId, OfferId, Seq};

use super::content_index::ContentIndex;
use super::partial::{Partial, WriteError};

/// The kind of a sealed part.
pub(super) const MAILED: &str = "mail";

/// Maximum parts of all contents: 64 MiB. Further ones are dropped, and the file is downloaded when
/// its sender is connected.
const PARTS_MAX: usize = 64 * 1024 * 1024 / CONTENT_PART_BYTES;

/// The name of the file of a part, in the content index.
fn name(id: OfferId, part: usize) -> String {
    format!("{:016x}-{}.{MAILED}{part}", id.name.log.0, id.seq)
}

/// The offer of a part's file.
fn offer_of(name: &str) -> Option<(LogId, Seq)> {
    let (stem, kind) = name.split_once('.')?;
    kind.strip_prefix(MAILED)?;
    let (log, seq) = stem.split_once('-')?;
    let log = LogId(u64::from_str_radix(log, 16).ok()?);
    Some((log, seq.parse().ok()?))
}

/// The offers of which there are parts.
pub(super) fn offers(index: &ContentIndex) -> io::Result<Vec<(LogId, Seq)>> {
    let mut offers: Vec<_> = index.names()?.filter_map(|name| offer_of(&name)).collect();
    offers.sort_unstable();
    offers.dedup();
    Ok(offers)
}

/// Writes a part. It is on disk when this returns.
pub(super) fn store(index: &ContentIndex, id: OfferId, part: u8, bytes: &[u8]) -> io::Result<()> {
    let path = index.path(&name(id, part.into()));
    let parts = index.names()?.filter(|name| offer_of(name).is_some());
    if !path.exists() && parts.count() >= PARTS_MAX {
        return Err(io::ErrorKind::QuotaExceeded.into());
    }
    // A crash may leave a part that is cut off. It is not whole, and is not used.
    let mut file = File::create(&path)?;
    file.write_all(&index.seal(MAILED, bytes))?;
    file.sync_all()?;
    // The name of the file, too, is on disk when this returns.
    let folder = path.parent().expect("a file of the index is in its folder");
    File::open(folder)?.sync_all()
}

/// Removes the parts of an offer.
pub(super) fn remove(index: &ContentIndex, id: OfferId) {
    for part in 0..CONTENT_PARTS_MAX {
        if fs::remove_file(index.path(&name(id, part))).is_err() {
            // Nearly always there is none.
            continue;
        }
    }
}

/// Removes the parts of offers that are not needed.
pub(super) fn remove_except(
    index: &ContentIndex,
    is_needed: impl Fn((LogId, Seq)) -> bool,
) -> io::Result<()> {
    for name in index.names()? {
        if offer_of(&name).is_some_and(|offer| !is_needed(offer)) {
            fs::remove_file(index.path(&name))?;
        }
    }
    Ok(())
}

/// The content of an offer, if all of its parts have arrived.
fn read(index: &ContentIndex, id: OfferId, size: u64) -> Option<Vec<u8>> {
    let size = usize::try_from(size).ok()?;
    let mut content = Vec::with_capacity(size);
    for part in 0..size.div_ceil(CONTENT_PART_BYTES) {
        let sealed = fs::read(index.path(&name(id, part))).ok()?;
        content.extend(index.unseal(MAILED, sealed).ok()?);
    }
    (content.len() == size).then_some(content)
}

/// Writes the content that arrived by mail into a partial download, if it is whole. Returns the pieces
/// that are there now.
pub(super) fn fill(index: &ContentIndex, partial: &Partial) -> Result<Vec<u64>, WriteError> {
    let (stored, shape) = (&partial.stored, partial.shape);
    let mut kept = Vec::new();
    if !(1..=MAILED_CONTENT_MAX).contains(&stored.offer.size) {
        return Ok(kept);
    }
    let Some(content) = read(index, stored.id, stored.offer.size) else {
        return Ok(kept);
    };
    let mut leaves: Vec<Leaf> = Vec::new();
    let mut pieces = Vec::new();
    for (bytes, piece) in content.chunks(PIECE_BYTES).zip(0..) {
        leaves.push(shape.leaf(piece, bytes));
        pieces.push((piece, Bytes::copy_from_slice(bytes)));
    }
    // So small a content is within one span.
    let is_right = Tree::new(vec![shape.fold(&leaves)]).hash() == stored.offer.hash;
    let written = match is_right {
        true => partial.write(&leaves, &pieces, &mut kept),
        false => Ok(()),
    };
    remove(index, stored.id);
    written.map(|()| kept)
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::{ConversationId, LogName, PersonId};

    use super::super::attributes::KeptAttributes;
    use super::super::offering;
    use super::*;
    use crate::store::StoredOffer;

    fn id(log: u64) -> OfferId {
        let conversation = ConversationId::from_bytes([1; 32]);
        let author = PersonId::from_bytes([2; 32]);
        let name = LogName::of_only_device(conversation, author, LogId(log));
        OfferId { name, seq: 4 }
    }

    /// An offer of a file with this content, and the index of its recipient.
    fn offered(dir: &std::path::Path, content: &[u8]) -> (StoredOffer, ContentIndex) {
        let path = dir.join("notes.txt");
        fs::write(&path, content).unwrap();
        let theirs = ContentIndex::open(dir.join("theirs"), None).unwrap();
        let offer = offering::offer(&path, &theirs).unwrap().offer;
        let stored = StoredOffer {
            id: id(3),
            offer,
            received_at_ms: 0,
        };
        (stored, ContentIndex::open(dir.join("ours"), None).unwrap())
    }

    fn open(dir: &std::path::Path, index: &ContentIndex, stored: &StoredOffer) -> Partial {
        let inbox = dir.join("inbox");
        let kept = KeptAttributes::default();
        Partial::open(&inbox, index, stored.clone(), kept)
            .unwrap()
            .0
    }

    #[test]
    fn parts_in_any_order_fill_a_download() {
        for size in [1, CONTENT_PART_BYTES, 1024 * 1024] {
            let dir = tempfile::tempdir().unwrap();
            let content: Vec<u8> = (0..size).map(|n| u8::try_from(n % 251).unwrap()).collect();
            let (stored, index) = offered(dir.path(), &content);
            let parts: Vec<_> = content.chunks(CONTENT_PART_BYTES).zip(0..).collect();
            let partial = open(dir.path(), &index, &stored);
            for (bytes, part) in parts.iter().rev() {
                assert_eq!(fill(&index, &partial).unwrap(), [0; 0], "not whole");
                store(&index, stored.id, *part, bytes).unwrap();
            }
            let pieces = fill(&index, &partial).unwrap();
            assert_eq!(pieces.len() as u64, partial.shape.pieces(), "{size}");
            partial.seal().expect("it is the offered content");
            assert_eq!(offers(&index).unwrap(), [], "the parts are removed");
        }
    }

    #[test]
    fn other_content_than_the_offered_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let (stored, index) = offered(dir.path(), b"yes");
        store(&index, stored.id, 0, b"no!").unwrap();
        let partial = open(dir.path(), &index, &stored);
        assert_eq!(fill(&index, &partial).unwrap(), [0; 0]);
        assert_eq!(offers(&index).unwrap(), []);
    }

    #[test]
    fn parts_have_a_maximum_and_go_with_their_offers() {
        let dir = tempfile::tempdir().unwrap();
        let index = ContentIndex::open(dir.path().to_owned(), None).unwrap();
        for log in 0..PARTS_MAX as u64 {
            store(&index, id(log), 0, b"x").unwrap();
        }
        store(&index, id(7), 0, b"y").expect("again");
        let full = store(&index, id(u64::MAX), 0, b"x").unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::QuotaExceeded);
        remove_except(&index, |(log, _)| log == LogId(7)).unwrap();
        assert_eq!(offers(&index).unwrap(), [(LogId(7), 4)]);
    }
}
