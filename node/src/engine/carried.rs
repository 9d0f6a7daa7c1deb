//! Sessions by file: the frames that a session with a peer would send go to a file, and those of a
//! file are judged as if a session had sent them.
//!
//! For the replica, these are sessions by mail. Nobody else knows them: they have no connection.
//!
//! Not here: the effects on other parts, which are in `carrying`.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use hobnob_core::SessionId;
use hobnob_core::replica::Refusal;
use hobnob_protocol::{DeviceId, Frame, PersonId, Ranges, SecretKey};
use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use crate::net::session::StreamKind;

/// Maximum number of files that are written or read at once.
pub(super) const FILES_MAX: usize = 4;

/// The sessions by file.
#[derive(Debug, Default)]
pub(super) struct CarriedSessions {
    exports: BTreeMap<SessionId, Export>,
    imports: BTreeMap<SessionId, Import>,
}

/// A frame for a file, or the reason why the file would lack messages.
pub(crate) type ForFile = Result<(StreamKind, Bytes), String>;

/// A session whose frames go to a file.
#[derive(Debug)]
struct Export {
    frames: mpsc::UnboundedSender<ForFile>,
    /// Bytes that are not in the file yet. The replica bounds them.
    unwritten: usize,
    /// Reads of the store that are not answered yet.
    reads: usize,
}

/// A session whose frames come from a file.
#[derive(Debug)]
struct Import {
    peer: DeviceId,
    /// Batches that the replica has not finished.
    batches: usize,
    /// Answered when the replica has finished all batches.
    reply: Option<oneshot::Sender<()>>,
    taken: Taken,
}

/// The changes that a file caused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Messages that are new here.
    pub(crate) entries: u64,
    /// Messages of this node that the peer has, which was not known before.
    pub(crate) receipts: u64,
    /// Frames that were refused.
    pub(crate) refused: u64,
}

/// A session by file that has begun.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) session: SessionId,
    /// This node's key, which seals the file.
    pub(crate) key: Arc<SecretKey>,
}

impl CarriedSessions {
    pub(super) fn has_room(&self) -> bool {
        self.exports.len() + self.imports.len() < FILES_MAX
    }

    /// A file for a peer begins.
    pub(super) fn begin_export(&mut self, id: SessionId, frames: mpsc::UnboundedSender<ForFile>) {
        let export = Export {
            frames,
            unwritten: 0,
            reads: 0,
        };
        self.exports.insert(id, export);
    }

    /// Bytes are in the file. Returns whether the export still runs.
    pub(super) fn written(&mut self, id: SessionId, bytes: usize) -> bool {
        let export = self.exports.get_mut(&id);
        export.is_some_and(|export| {
            export.unwritten = export.unwritten.saturating_sub(bytes);
            true
        })
    }

    /// An export is complete, or its writer has gone.
    pub(super) fn end_export(&mut self, id: SessionId) {
        self.exports.remove(&id);
    }

    /// A file of this peer begins.
    pub(super) fn begin_import(&mut self, id: SessionId, peer: DeviceId) {
        let import = Import {
            peer,
            batches: 0,
            reply: None,
            taken: Taken::default(),
        };
        self.imports.insert(id, import);
    }

    /// The replica gets this many batches of a file, and the reply is due when it has finished
    /// them. Returns whether the import still runs.
    pub(super) fn expect(
        &mut self,
        id: SessionId,
        batches: usize,
        reply: oneshot::Sender<()>,
    ) -> bool {
        let Some(import) = self.imports.get_mut(&id) else {
            return false;
        };
        import.batches = batches;
        if batches == 0 {
            let _ = reply.send(());
        } else {
            import.reply = Some(reply);
        }
        true
    }

    /// A file has ended. Returns what it has changed.
    pub(super) fn end_import(&mut self, id: SessionId) -> Option<Taken> {
        self.imports.remove(&id).map(|import| import.taken)
    }

    /// Whether a session of the replica is one by file.
    pub(super) fn has(&self, id: SessionId) -> bool {
        self.exports.contains_key(&id) || self.imports.contains_key(&id)
    }

    /// The replica has a frame for a session. Returns the bytes that count as written at once: a
    /// file that is read gets no answers.
    pub(super) fn send(&mut self, id: SessionId, stream: StreamKind, frame: Bytes) -> usize {
        let Some(export) = self.exports.get_mut(&id) else {
            // A stranger's messages beyond the limit wait. The file has them again next time.
            if let Some(import) = self.imports.get_mut(&id)
                && matches!(Frame::decode(&frame), Ok(Frame::Waiting(_)))
            {
                import.taken.refused += 1;
            }
            return frame.len();
        };
        export.unwritten += frame.len();
        // If the writer has gone, the session ends at the next look.
        let _ = export.frames.send(Ok((stream, frame)));
        0
    }

    /// The replica reads entries from the store. Other sessions than those by file are ignored,
    /// here and below.
    pub(super) fn reads(&mut self, id: SessionId) {
        if let Some(export) = self.exports.get_mut(&id) {
            export.reads += 1;
        }
    }

    /// The store has answered.
    pub(super) fn was_read(&mut self, id: SessionId, error: Option<&str>) {
        if let Some(export) = self.exports.get_mut(&id) {
            export.reads -= 1;
            if let Some(error) = error {
                let _ = export.frames.send(Err(error.to_owned()));
            }
        }
    }

    /// Exports that have nothing left to write, or whose writers have gone.
    pub(super) fn ended(&self) -> Vec<SessionId> {
        let ended = self.exports.iter().filter(|(_, export)| {
            export.frames.is_closed() || (export.unwritten == 0 && export.reads == 0)
        });
        ended.map(|(id, _)| *id).collect()
    }

    /// The replica has finished batches.
    pub(super) fn release(&mut self, id: SessionId, batches: usize) {
        if let Some(import) = self.imports.get_mut(&id) {
            import.batches = import.batches.saturating_sub(batches);
            if import.batches == 0
                && let Some(reply) = import.reply.take()
            {
                let _ = reply.send(());
            }
        }
    }

    pub(super) fn refused(&mut self, id: SessionId, refusal: &Refusal) {
        if let Some(import) = self.imports.get_mut(&id) {
            debug!(peer = ?import.peer, "refused from a file: {refusal}");
            import.taken.refused += 1;
        }
    }

    /// Entries of this author are on disk.
    pub(super) fn received(&mut self, author: PersonId, entries: u64) {
        for import in self
            .imports
            .values_mut()
            .filter(|it| it.peer.person() == author)
        {
            import.taken.entries += entries;
        }
    }

    /// A peer has entries of this node.
    pub(super) fn delivered(&mut self, peer: DeviceId, ranges: &Ranges) {
        for import in self.imports.values_mut().filter(|it| it.peer == peer) {
            let count = ranges.iter().map(|(first, last)| last - first + 1);
            import.taken.receipts += count.sum::<u64>();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: SessionId = SessionId(1);

    fn export() -> (CarriedSessions, mpsc::UnboundedReceiver<ForFile>) {
        let (frames, queue) = mpsc::unbounded_channel();
        let mut carried = CarriedSessions::default();
        carried.begin_export(ID, frames);
        (carried, queue)
    }

    #[test]
    fn a_few_files_are_written_or_read_at_once() {
        let mut carried = CarriedSessions::default();
        let id = |n: usize| SessionId(n as u64);
        for n in 0..FILES_MAX - 1 {
            carried.begin_export(id(n), mpsc::unbounded_channel().0);
        }
        assert!(carried.has_room());
        carried.begin_import(id(FILES_MAX), DeviceId::from_bytes([1; 32]));
        assert!(!carried.has_room());
        carried.end_export(id(0));
        assert!(carried.has_room());
    }

    #[test]
    fn an_export_ends_when_everything_is_read_and_written() {
        let (mut carried, mut queue) = export();
        carried.reads(ID);
        assert_eq!(carried.ended(), []);
        let frame = Bytes::from_static(b"abc");
        assert_eq!(carried.send(ID, StreamKind::Batch, frame.clone()), 0);
        carried.was_read(ID, None);
        assert_eq!(carried.ended(), [], "three bytes are not written");
        assert_eq!(queue.try_recv(), Ok(Ok((StreamKind::Batch, frame))));
        assert!(carried.written(ID, 3));
        assert_eq!(carried.ended(), [ID]);
    }

    #[test]
    fn a_store_that_fails_is_reported_to_the_writer() {
        let (mut carried, mut queue) = export();
        carried.reads(ID);
        carried.was_read(ID, Some("the disk is damaged"));
        assert_eq!(queue.try_recv(), Ok(Err("the disk is damaged".to_owned())));
    }

    #[test]
    fn an_export_without_a_writer_ends() {
        let (mut carried, queue) = export();
        carried.reads(ID);
        drop(queue);
        assert_eq!(carried.ended(), [ID]);
    }

    #[test]
    fn an_import_counts_its_changes_and_waits_for_its_batches() {
        let mut carried = CarriedSessions::default();
        let (ann, bob) = (DeviceId::from_bytes([1; 32]), DeviceId::from_bytes([2; 32]));
        carried.begin_import(ID, ann);
        let (reply, mut done) = oneshot::channel();
        assert!(carried.expect(ID, 2, reply));
        carried.release(ID, 1);
        assert!(done.try_recv().is_err());
        carried.release(ID, 1);
        assert_eq!(done.try_recv(), Ok(()));
        carried.received(ann.person(), 3);
        carried.received(bob.person(), 5);
        carried.delivered(ann, &Ranges::span(1, 4));
        let taken = Taken {
            entries: 3,
            receipts: 4,
            refused: 0,
        };
        assert_eq!(carried.end_import(ID), Some(taken));
        assert_eq!(carried.end_import(ID), None);
    }

    #[test]
    fn a_file_that_is_read_gets_no_frames() {
        let mut carried = CarriedSessions::default();
        let frame = Bytes::from_static(b"abc");
        assert_eq!(carried.send(ID, StreamKind::Control, frame), 3);
    }
}
