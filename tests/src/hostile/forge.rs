//! Batches of any content, signed by any key: everything that
//! [`hobnob_protocol::CheckedBatch::author`] would not write.

use bytes::Bytes;
use hobnob_protocol::{
    Batch, Body, ConversationId, Entry, EntryHash, Frame, LogId, LogName, PeerId, SecretKey, Seq,
    codec,
};

/// Writes a log, rightly or not.
#[derive(Debug)]
pub struct Forger<'a> {
    signer: &'a SecretKey,
    /// The log's name, with whatever author.
    pub name: LogName,
    /// The number of the next entry.
    pub next: Seq,
    /// The hash of the entry before it.
    pub hash: EntryHash,
    /// The Lamport number of the next entry.
    pub lamport: u64,
}

impl<'a> Forger<'a> {
    /// A fresh log in this conversation, of the signer itself.
    pub fn new(signer: &'a SecretKey, conversation: ConversationId) -> Self {
        Self::in_the_name_of(signer.id(), signer, conversation)
    }

    /// A fresh log of somebody else.
    pub fn in_the_name_of(
        author: PeerId,
        signer: &'a SecretKey,
        conversation: ConversationId,
    ) -> Self {
        let name = LogName {
            conversation,
            author,
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

    /// A batch of texts that goes on where the last one ended.
    pub fn texts(&mut self, texts: &[&str]) -> Frame {
        let mut entries = Vec::new();
        for text in texts {
            entries.push(text_entry(self.lamport, text));
            self.lamport += 1;
        }
        self.entries(&entries)
    }

    /// A batch of these encoded entries, whatever they are.
    pub fn entries(&mut self, entries: &[Vec<u8>]) -> Frame {
        let first = self.next;
        let prev = self.hash;
        for entry in entries {
            self.hash = self.hash.next(self.next, entry);
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

    /// This frame with its signature spoiled.
    pub fn spoiled(frame: Frame) -> Frame {
        let Frame::Batch(mut batch) = frame else {
            panic!("a batch")
        };
        let mut bytes = *batch.signature.as_bytes();
        bytes[5] ^= 1;
        batch.signature = hobnob_protocol::Signature::from_bytes(bytes);
        Frame::Batch(batch)
    }
}

/// An entry of a text, within limits or not.
pub fn text_entry(lamport: u64, text: &str) -> Vec<u8> {
    Entry {
        lamport,
        sent_at_ms: 1,
        body: Body::Text(text.to_owned()),
    }
    .encode()
}

/// An entry of kind text whose bytes are not.
pub fn garbled_entry(lamport: u64, bytes: &[u8]) -> Vec<u8> {
    codec::encode(&(lamport, 1u64, 1u16, bytes))
}

/// What an author signs: this says it on its own, so that a change of the product's does not go
/// unseen.
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
