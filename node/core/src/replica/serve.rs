//! Sending entries to sessions. Each session has ranges of entries that are still to be sent
//! (`send_queues`). Memory holds only the batches that the session can take now, and the cache of
//! the newest batches (`recent`). The other batches are read from the store.

use std::time::Duration;

use hobnob_protocol::{Batch, Frame, LogName};

use super::events::Output;
use super::log_key::LogKey;
use super::outgoing::ReadFailure;
use super::state::Replica;
use super::timers::Timer;
use crate::SessionId;

/// A read that failed is repeated after this time.
const READ_AGAIN_AFTER: Duration = Duration::from_millis(500);

impl Replica {
    /// Hands a session the queued entries, as far as it can take them.
    pub(super) fn serve(&mut self, id: SessionId) {
        let session = self.sessions.at_mut(id);
        while let Some((name, first, last)) = session.next_to_send() {
            let recent = self.recent.starting_at(name, first);
            let Some((end, frame)) = recent.filter(|(end, _)| *end <= last) else {
                session.outgoing.read_begins();
                self.outputs.push_back(Output::Read {
                    session: id,
                    name,
                    from: first,
                    to: last,
                });
                return;
            };
            let own = name.author == self.identity.id;
            session.send_batch(name, (first, end), frame, own, &mut self.outputs);
        }
    }

    pub(super) fn read(
        &mut self,
        id: SessionId,
        name: LogName,
        batches: Result<Vec<Batch>, String>,
    ) {
        let Ok(batches) = batches else {
            return self.read_failed(id, name);
        };
        let key = LogKey::of(&name);
        let allowed = self.may_send(id, name.conversation, &key);
        let own = name.author == self.identity.id;
        let session = self.sessions.at_mut(id);
        session.outgoing.read_succeeded();
        // While the store read them, the peer may have received these entries from somebody else,
        // pruned their author, or left the conversation.
        let sync = session.syncs.get(&name.conversation);
        if sync.and_then(|sync| sync.queues.of_log(&key)).is_none() {
            return self.serve(id);
        }
        let mut sent_any = session.outgoing.is_full();
        for batch in batches {
            if session.outgoing.is_full() {
                // The rest stays queued, and is read again when there is room.
                break;
            }
            let first = batch.first;
            // Only a damaged disk gets here, and must not end the node. The store reports damage.
            let Ok(batch) = batch.read() else { break };
            let last = batch.last();
            // A batch ends where its author signed. A peer that may not have its last entry can't
            // have any of it.
            if allowed.covers(first, last) {
                let frame = Frame::Batch(batch.batch).encode();
                session.send_batch(name, (first, last), frame, own, &mut self.outputs);
                sent_any = true;
            }
        }
        if !sent_any {
            // Entries that are not on disk any more, or may not be sent, make room for the next
            // ones. The peer requests them again if it still misses them.
            let sync = session.syncs.get_mut(&name.conversation);
            let sync = sync.expect("found above");
            sync.queues.strike_next(&key);
        }
        self.serve(id);
    }

    /// The store can't read at the moment. Nothing may overtake the entries that it could not read,
    /// so the session waits. If they stay unreadable, the author's queued entries are dropped,
    /// because the later ones would arrive out of order.
    fn read_failed(&mut self, id: SessionId, name: LogName) {
        let session = self.sessions.at_mut(id);
        match session.outgoing.read_failed() {
            ReadFailure::TryAgain => self.arm(Timer::ReadAgain, READ_AGAIN_AFTER),
            ReadFailure::GiveUp => {
                // The peer may have left the conversation meanwhile.
                if let Some(sync) = session.syncs.get_mut(&name.conversation) {
                    sync.queues.strike_author(name.author);
                }
                self.serve(id);
            }
        }
    }

    pub(super) fn read_again(&mut self) {
        let sessions = self.sessions.iter();
        let waiting = sessions.filter(|(_, session)| session.outgoing.must_read_again());
        for id in waiting.map(|(id, _)| id).collect::<Vec<_>>() {
            self.sessions.at_mut(id).outgoing.read_again();
            self.serve(id);
        }
    }

    /// Bytes were written to the connection. The own entries in them are sent, and there is room
    /// for more.
    pub(super) fn batches_written(&mut self, id: SessionId, bytes: usize) {
        let session = self.sessions.at_mut(id);
        for (name, first, last) in session.outgoing.written(bytes) {
            let sent = Output::Sent(name, session.peer, first, last);
            self.outputs.push_back(sent);
        }
        self.serve(id);
    }
}
