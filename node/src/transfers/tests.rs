//! Contents on a real disk: partial, resumed, complete, and served to others.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use hobnob_protocol::content::{PIECE_BYTES, SPAN_PIECES, Shape};
use hobnob_protocol::{ConversationId, LogId, LogName, Offer, OfferId, PersonId};
use tempfile::TempDir;

use super::attributes::KeptAttributes;
use super::content_index::ContentIndex;
use super::offering::offer;
use super::partial::{Partial, WriteError, begun, discard};
use crate::store::StoredOffer;
use hobnob_core::transfers::Held;

/// Two homes, and something that goes from one to the other.
struct Transfer {
    dir: TempDir,
    theirs: ContentIndex,
    ours: ContentIndex,
    offer: Offer,
}

fn id() -> OfferId {
    let name = LogName {
        conversation: ConversationId::from_bytes([1; 32]),
        author: PersonId::from_bytes([2; 32]),
        device: PersonId::from_bytes([2; 32]).only_device(),
        log: LogId(3),
    };
    OfferId { name, seq: 4 }
}

impl Transfer {
    fn with(make: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        make(&source);
        let [theirs, ours] =
            ["theirs", "ours"].map(|name| ContentIndex::open(dir.path().join(name), None).unwrap());
        let offer = offer(&source, &theirs).unwrap().offer;
        Self {
            dir,
            theirs,
            ours,
            offer,
        }
    }

    fn downloads(&self) -> std::path::PathBuf {
        self.dir.path().join("downloads")
    }

    fn open(&self) -> (Partial, Held) {
        Partial::open(
            &self.downloads(),
            &self.ours,
            self.stored(),
            KeptAttributes::default(),
        )
        .unwrap()
    }

    fn stored(&self) -> StoredOffer {
        StoredOffer {
            id: id(),
            offer: self.offer.clone(),
            received_at_ms: 0,
        }
    }

    /// Fetches one piece.
    fn fetch(&self, partial: &Partial, piece: u64) -> Result<Vec<u64>, WriteError> {
        let content = self.theirs.find(self.offer.hash, self.offer.size).unwrap();
        let span = piece / SPAN_PIECES as u64;
        let proof = content.proof(span).unwrap();
        let (proof, leaves) = proof
            .as_chunks::<32>()
            .0
            .split_at(content.shape.proof_len(span));
        assert!(content.shape.proves(self.offer.hash, span, leaves, proof));
        let mut kept = Vec::new();
        partial
            .write(
                leaves,
                &[(piece, content.pieces(piece..piece + 1).unwrap())],
                &mut kept,
            )
            .map(|()| kept)
    }

    /// Fetches everything from this piece on, and gives it its name.
    fn finish(&self, partial: &Partial, from: u64) -> std::path::PathBuf {
        for piece in from..Shape::of(self.offer.size).pieces() {
            assert_eq!(self.fetch(partial, piece).unwrap(), [piece]);
        }
        partial.seal().unwrap();
        let name = partial.free_name().unwrap();
        assert!(partial.finish(&name, &self.ours).unwrap());
        partial.path_of(&name)
    }
}

fn content(len: usize) -> Vec<u8> {
    (0u8..=250).cycle().take(len).collect()
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_part_is_taken_up_where_it_was_and_only_what_proves_itself_counts() {
    let bytes = content(PIECE_BYTES * 5 + 9);
    let transfer = Transfer::with(|source| fs::write(source, &bytes).unwrap());
    let (partial, held) = transfer.open();
    assert_eq!(held.bytes(partial.shape), 0);
    for piece in [0, 2, 5] {
        transfer.fetch(&partial, piece).unwrap();
    }
    drop(partial);
    // What the disk lost, or somebody changed, is not held.
    let part = transfer
        .downloads()
        .join(names_in(&transfer.downloads()).remove(0));
    let mut on_disk = fs::read(&part).unwrap();
    on_disk[2 * PIECE_BYTES] ^= 1;
    fs::write(&part, on_disk).unwrap();
    let (partial, held) = transfer.open();
    assert_eq!(
        (0..6)
            .filter(|piece| held.contains(*piece))
            .collect::<Vec<_>>(),
        [0, 5]
    );
    let place = transfer.finish(&partial, 1);
    assert_eq!(fs::read(&place).unwrap(), bytes);
    assert_eq!(names_in(&transfer.downloads()), ["source"]);
    // Who has it whole can pass it on.
    let content = transfer
        .ours
        .find(transfer.offer.hash, transfer.offer.size)
        .unwrap();
    assert_eq!(
        content.pieces(1..3).unwrap(),
        bytes[PIECE_BYTES..3 * PIECE_BYTES]
    );
}

#[test]
fn what_does_not_belong_is_not_written() {
    let transfer = Transfer::with(|source| fs::write(source, content(PIECE_BYTES * 2)).unwrap());
    let (partial, _) = transfer.open();
    let wrong = Bytes::from(vec![1; PIECE_BYTES]);
    let leaves = [partial.shape.leaf(0, &wrong), [0; 32]];
    let mut kept = Vec::new();
    assert!(matches!(
        partial.write(&leaves[1..], &[(0, wrong.clone())], &mut kept),
        Err(WriteError::Lies)
    ));
    // One that follows a good one spoils nothing but itself.
    let two = [(0, wrong), (1, Bytes::from(vec![2; PIECE_BYTES]))];
    assert!(matches!(
        partial.write(&leaves, &two, &mut kept),
        Err(WriteError::Lies)
    ));
    assert_eq!(kept, [0]);
    // A leaf that fits what came, but not what was offered, is found out in the end.
    assert!(matches!(partial.seal(), Err(WriteError::Lies)));
}

#[test]
fn a_folder_of_many_files_is_taken_up_and_passed_on() {
    let files = 3_000;
    let name = |n: usize| format!("{}/file {n}", n % 7);
    let transfer = Transfer::with(|source| {
        for n in 0..7 {
            fs::create_dir_all(source.join(n.to_string())).unwrap();
        }
        (0..files).for_each(|n| fs::write(source.join(name(n)), content(n % 200)).unwrap());
    });
    assert_eq!(transfer.offer.folder.unwrap().files, files as u64);
    let (partial, _) = transfer.open();
    for piece in 0..3 {
        transfer.fetch(&partial, piece).unwrap();
    }
    drop(partial);
    let (partial, held) = transfer.open();
    assert!(held.covers(3) && !held.is_whole());
    let place = transfer.finish(&partial, 3);
    for n in 0..files {
        assert_eq!(
            fs::read(place.join(name(n))).unwrap(),
            content(n % 200),
            "{}",
            name(n)
        );
    }
    assert_eq!(names_in(&transfer.downloads()), ["source"]);
    let (theirs, ours) = [&transfer.theirs, &transfer.ours]
        .map(|index| {
            index
                .find(transfer.offer.hash, transfer.offer.size)
                .unwrap()
        })
        .into();
    let all = 0..theirs.shape.pieces();
    assert_eq!(
        theirs.pieces(all.clone()).unwrap(),
        ours.pieces(all).unwrap()
    );
}

#[test]
fn nothing_that_is_there_is_replaced() {
    let transfer = Transfer::with(|source| fs::write(source, "new").unwrap());
    fs::create_dir(transfer.downloads()).unwrap();
    fs::write(transfer.downloads().join("source"), "old").unwrap();
    let (partial, _) = transfer.open();
    let place = transfer.finish(&partial, 0);
    assert_eq!(place, transfer.downloads().join("source (2)"));
    assert_eq!(
        fs::read_to_string(transfer.downloads().join("source")).unwrap(),
        "old"
    );
}

#[test]
fn what_is_no_longer_wanted_leaves_nothing() {
    for folder in [false, true] {
        let transfer = Transfer::with(|source| {
            if folder {
                fs::create_dir(source).unwrap();
                fs::write(source.join("a"), content(PIECE_BYTES * 2)).unwrap();
            } else {
                fs::write(source, content(PIECE_BYTES * 2)).unwrap();
            }
        });
        let nothing_is_left = || {
            assert_eq!(names_in(&transfer.downloads()), [""; 0]);
            assert_eq!(names_in(&transfer.dir.path().join("ours")), [""; 0]);
        };
        let (partial, _) = transfer.open();
        transfer.fetch(&partial, 0).unwrap();
        drop(partial);
        assert_eq!(begun(&transfer.ours).unwrap(), [(id().name.log, id().seq)]);
        discard(
            &transfer.downloads(),
            &transfer.ours,
            (id().name.log, id().seq),
        );
        nothing_is_left();
        // While it comes: what comes after that is not kept.
        let (partial, _) = transfer.open();
        transfer.fetch(&partial, 0).unwrap();
        partial.remove();
        nothing_is_left();
        assert!(transfer.fetch(&partial, 1).is_err());
        nothing_is_left();
    }
}

#[test]
fn what_is_on_its_way_goes_on_where_it_was_begun_also_when_another_folder_is_set() {
    let transfer = Transfer::with(|source| fs::write(source, content(PIECE_BYTES * 2)).unwrap());
    let (partial, _) = transfer.open();
    transfer.fetch(&partial, 0).unwrap();
    drop(partial);
    let other = transfer.dir.path().join("other");
    let open = || {
        Partial::open(
            &other,
            &transfer.ours,
            transfer.stored(),
            KeptAttributes::default(),
        )
        .unwrap()
    };
    let (partial, held) = open();
    assert!(held.contains(0));
    assert_eq!(
        transfer.finish(&partial, 1),
        transfer.downloads().join("source")
    );
    assert!(!other.exists());
    // Its folder is gone: it begins anew, in the one that is set.
    let (partial, _) = transfer.open();
    transfer.fetch(&partial, 0).unwrap();
    drop(partial);
    fs::remove_dir_all(transfer.downloads()).unwrap();
    let (partial, held) = open();
    assert!(!held.contains(0));
    assert_eq!(transfer.finish(&partial, 0), other.join("source"));
    let left = names_in(&transfer.dir.path().join("ours"));
    assert!(
        !left
            .iter()
            .any(|name| name.ends_with(".part") || name.ends_with(".folder")),
        "{left:?}"
    );
}
