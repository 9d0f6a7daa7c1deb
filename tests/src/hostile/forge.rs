//! Forged batches: any content, signed by any key. [`hobnob_protocol::CheckedBatch::author`] only
//! writes valid batches.

use bytes::Bytes;
use hobnob_protocol::entry::hash_after;
use hobnob_protocol::{
    Batch, Body, BodyKey, ConversationId, Entry, EntryHash, Frame, LogId, LogName, PersonId,
    SecretKey, Seq, codec,
};

/// Writes a log, valid or not.
#[derive(Debug)]
pub struct Forger<'a> {
    signer: &'a SecretKey,
    /// The log's name. Its author may be anyone.
    pub name: LogName,
    /// The number of the next entry.
    pub next: Seq,
    /// The hash of the previous entry.
    pub hash: EntryHash,
    /// The Lamport number of the next entry.
    pub lamport: u64,
}

impl<'a> Forger<'a> {
    /// A new log in this conversation, with the signer as its author.
    pub fn new(signer: &'a SecretKey, conversation: ConversationId) -> Self {
        Self::impersonating(signer.id().person(), signer, conversation)
    }

    /// A new log that claims another author than the signer.
    pub fn impersonating(
        author: PersonId,
        signer: &'a SecretKey,
        conversation: ConversationId,
    ) -> Self {
        let name = LogName {
            conversation,
            author,
            device: author.only_device(),
            log: LogId(rand::random()),
        };
        Self {
            signer,
            name,
            next: 1,
            hash: name.genesis(),
            lamport: 1,
        }
    }

    /// A batch of texts that continues the log.
    pub fn texts(&mut self, texts: &[&str]) -> Frame {
        let mut entries = Vec::new();
        for text in texts {
            entries.push(text_entry(self.lamport, text));
            self.lamport += 1;
        }
        self.entries(&entries)
    }

    /// A batch of these encoded entries, which may be invalid.
    pub fn entries(&mut self, entries: &[Vec<u8>]) -> Frame {
        let first = self.next;
        let prev = self.hash;
        for entry in entries {
            let key = BodyKey::of(&self.name);
            let hash = hash_after(&self.hash, &key, self.next, entry);
            // An entry that nobody can read has any hash.
            self.hash = hash.unwrap_or(self.hash);
            self.next += 1;
        }
        let signature = self
            .signer
            .sign(&signed(&self.name, self.next - 1, &self.hash));
        Frame::Batch(Batch {
            name: self.name,
            first,
            prev,
            entries: Bytes::from(entries.concat()),
            signature,
        })
    }

    /// The batch with an invalid signature.
    pub fn with_bad_signature(frame: Frame) -> Frame {
        let Frame::Batch(mut batch) = frame else {
            panic!("the frame must be a batch")
        };
        let mut bytes = *batch.signature.as_bytes();
        bytes[5] ^= 1;
        batch.signature = hobnob_protocol::Signature::from_bytes(bytes);
        Frame::Batch(batch)
    }
}

/// An encoded text entry. The text may exceed the limits.
pub fn text_entry(lamport: u64, text: &str) -> Vec<u8> {
    encoded(&Entry::new(lamport, 1, Body::Text(text.to_owned())))
}

/// An entry of kind text whose bytes are not valid UTF-8 text.
pub fn garbled_entry(lamport: u64, bytes: &[u8]) -> Vec<u8> {
    // Header: kind, Lamport number, time, no extensions. Then: not erased, the salt and the body.
    let header = codec::encode(&(1u16, lamport, 1u64, 0u8));
    [header, codec::encode(&(1u8, [0u8; 16], bytes))].concat()
}

/// An entry as it travels, with a salt of zeros.
pub fn encoded(entry: &Entry) -> Vec<u8> {
    entry.encode(&[0; 16])
}

/// The bytes that an author signs. This is a second definition, so that a change of the product's
/// definition makes tests fail.
fn signed(name: &LogName, last: Seq, head: &EntryHash) -> Vec<u8> {
    let log = name.log.0.to_le_bytes();
    [
        b"hobnob 1 batch \0",
        &name.conversation.as_bytes()[..],
        &log,
        &last.to_le_bytes(),
        head.as_bytes(),
    ]
    .concat()
}
