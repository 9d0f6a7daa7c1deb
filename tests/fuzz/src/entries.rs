//! Entries: their headers, their bodies with offers, and their erased form.

use hobnob_protocol::entry::{erase, hash_after};
use hobnob_protocol::offer::Folder;
use hobnob_protocol::{
    Body, BodyHash, BodyKey, ContentHash, ConversationId, Entry, EntryHash, EntryRef, LogId,
    LogName, Offer, Salts, SecretKey,
};

/// The salt of entries that are encoded again. The entry's own is not part of its value.
const SALT: [u8; 16] = [6; 16];

/// An entry that is encoded again is not longer, and has the same meaning. Without its body it has
/// the same hash, and is read as erased.
pub(crate) fn run(data: &[u8]) {
    let Ok((entry, len)) = Entry::decode_prefix(data) else {
        return;
    };
    assert_eq!(Entry::decode(&data[..len]).as_ref(), Ok(&entry));
    assert!(entry.body.check().is_ok(), "an invalid body was read");
    let encoded = entry.encode(&SALT);
    assert!(encoded.len() <= len, "{entry:?} has grown");
    assert_eq!(Entry::decode(&encoded).as_ref(), Ok(&entry));

    let (_, name, _) = author();
    let (key, prev) = (BodyKey::of(&name), EntryHash::from_bytes([5; 32]));
    let erased = erase(&key, 4, &data[..len]).expect("an entry that was read can be erased");
    let hash = |bytes| hash_after(&prev, &key, 4, bytes);
    assert_eq!(hash(&erased), hash(&data[..len]));
    assert_eq!(erase(&key, 4, &erased).as_ref(), Ok(&erased));
    // A deletion is never erased.
    if !entry.body.is_deletion() {
        let left = Entry::decode(&erased).expect("an erased entry can be read");
        assert!(left.body.is_erased());
        assert_eq!(left.lamport, entry.lamport);
    }
}

pub(crate) fn samples() -> Vec<Vec<u8>> {
    let entries = samples_of_entries();
    entries.iter().map(|entry| entry.encode(&SALT)).collect()
}

/// One entry with each kind of body.
pub(crate) fn samples_of_entries() -> Vec<Entry> {
    let offer = |name: &str, folder| Offer {
        attributes: hobnob_protocol::offer::Attributes::default(),
        caption: String::new(),
        name: name.to_owned(),
        media: "text/plain".to_owned(),
        size: 300,
        hash: ContentHash([7; 32]),
        folder,
    };
    let folder = Folder {
        manifest_bytes: 9,
        files: 2,
    };
    let mut quoting = Entry::new(5, 1_005, Body::Text("so do I".to_owned()));
    quoting.extensions.set_about(&about_first());
    quoting.extensions.set(33, b"may be ignored".to_vec());
    let bodies = [
        Body::Text("hello".to_owned()),
        Body::App {
            kind: "org.example.game".to_owned(),
            bytes: vec![1, 2, 3],
        },
        Body::Offer(offer("notes.txt", None)),
        Body::Offer(offer("photos", Some(folder))),
        Body::Delete {
            log: LogId(1),
            seq: 1,
        },
        Body::Reply {
            to: about_first(),
            text: "so do I".to_owned(),
        },
        Body::Edit {
            log: LogId(1),
            seq: 1,
            text: "hello all".to_owned(),
        },
        Body::React {
            to: about_first(),
            emoji: "👍".to_owned(),
            on: true,
        },
        Body::Topic("plans".to_owned()),
        Body::Pin {
            to: about_first(),
            on: true,
        },
        Body::Erased {
            kind: 1,
            hash: BodyHash::from_bytes([8; 32]),
        },
        Body::Unknown {
            kind: 900,
            bytes: vec![1, 2],
        },
    ];
    // A deletion that only a newer version understands.
    let mut newer = Entry::new(
        5,
        1_005,
        Body::Unknown {
            kind: 4,
            bytes: Vec::new(),
        },
    );
    newer.extensions.set(34, b"must be known".to_vec());
    let entries = bodies.map(|body| Entry::new(3, 1_000, body));
    entries.into_iter().chain([quoting, newer]).collect()
}

/// Names the first entry of the samples' author.
fn about_first() -> EntryRef {
    EntryRef {
        author: Some(author().1.author),
        log: LogId(1),
        seq: 1,
    }
}

/// The author of all samples.
pub(crate) fn author() -> (SecretKey, LogName, Salts) {
    let key = SecretKey::from_seed([1; 32]);
    let name = LogName {
        conversation: ConversationId::from_bytes([1; 32]),
        author: key.id().person(),
        device: key.id(),
        log: LogId(1),
    };
    (key, name, Salts::new([3; 32]))
}
