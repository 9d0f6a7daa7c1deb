//! Sending entries to sessions. Each session has ranges of entries that are still to be sent
//! (`send_queue`). Memory holds only the batches that the session can take now, and the cache of
//! the newest batches (`recent`). The other batches are read from the store.

use std::time::Duration;

use bytes::Bytes;
use hobnob_protocol::{Batch, Frame, LogId, LogName, Ranges, Seq};

use super::send_queue::FairKey;
use super::{LogKey, Output, Replica, Timer, shared_mut};
use crate::SessionId;

/// Bytes of batches that a session may have been handed and not yet written. More waits on disk.
pub const BATCHES_OUTSTANDING_MAX: usize = 512 * 1024;

/// How often a read that failed is tried, and after what time again.
const READ_TRIES: u32 = 10;
const READ_AGAIN_AFTER: Duration = Duration::from_millis(500);

impl Replica {
    /// Hands a session what it is still to be sent, as far as it can take it.
    pub(super) fn serve(&mut self, id: SessionId) {
        while let Some((name, first, last)) = self.next_to_serve(id) {
            match self
                .recent
                .starting_at(name, first)
                .filter(|(end, _)| *end <= last)
            {
                Some((end, frame)) => self.send_batch(id, name, first, end, frame),
                None => {
                    if let Some(session) = self.sessions.get_mut(&id) {
                        session.reading = true;
                    }
                    self.outputs.push_back(Output::Read {
                        session: id,
                        name,
                        from: first,
                        to: last,
                    });
                    return;
                }
            }
        }
    }

    /// The next range in turn: authors and conversations take turns, an author's logs go one after
    /// another.
    fn next_to_serve(&mut self, id: SessionId) -> Option<(LogName, Seq, Seq)> {
        let session = self.sessions.get_mut(&id)?;
        if session.reading || session.batches_outstanding >= BATCHES_OUTSTANDING_MAX {
            return None;
        }
        let mut waiting: Vec<(FairKey, (LogId, Seq, Seq))> = Vec::new();
        for (conversation, shared) in &mut session.shared {
            shared
                .send_queue
                .retain(|_, send_queue| send_queue.next().is_some());
            for (author, send_queue) in &shared.send_queue {
                waiting.extend(
                    send_queue
                        .next()
                        .map(|next| ((*conversation, *author), next)),
                );
            }
        }
        let after = waiting.iter().find(|(turn, _)| Some(*turn) > session.turn);
        let ((conversation, author), (log, first, last)) = *after.or_else(|| waiting.first())?;
        session.turn = Some((conversation, author));
        Some((
            LogName {
                conversation,
                author,
                log,
            },
            first,
            last,
        ))
    }

    fn is_full(&self, id: SessionId) -> bool {
        self.sessions
            .get(&id)
            .is_some_and(|session| session.batches_outstanding >= BATCHES_OUTSTANDING_MAX)
    }

    fn send_batch(&mut self, id: SessionId, name: LogName, first: Seq, last: Seq, frame: Bytes) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let Some(shared) = session.shared.get_mut(&name.conversation) else {
            return;
        };
        let span = Ranges::span(first, last);
        if let Some(send_queue) = shared.send_queue.get_mut(&name.author) {
            send_queue.strike(name.log, &span);
        }
        shared
            .sent
            .entry(LogKey {
                author: name.author,
                log: name.log,
            })
            .or_default()
            .insert(first, last);
        session.batches_outstanding += frame.len();
        let own = (name.author == self.me).then_some((name, first, last));
        session.unwritten.push_back((frame.len(), own));
        self.outputs.push_back(Output::SendBatch(id, frame));
    }

    pub(super) fn read(
        &mut self,
        id: SessionId,
        name: LogName,
        batches: Result<Vec<Batch>, String>,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let Ok(batches) = batches else {
            return self.unreadable(id, name);
        };
        session.reading = false;
        session.unreadable = 0;
        if self.queued(id, name).is_none() {
            self.serve(id);
            return;
        }
        let allowed = self.may_send(
            id,
            name.conversation,
            &LogKey {
                author: name.author,
                log: name.log,
            },
        );
        let mut sent_any = self.is_full(id);
        for batch in batches {
            if self.is_full(id) {
                // The rest stays on the list, and is read again when there is room.
                break;
            }
            let first = batch.first;
            let Ok(batch) = batch.read() else { break };
            // A batch ends where its author signed. Where that is beyond what this peer may have,
            // it can't have the batch.
            if allowed.covers(first, batch.last()) {
                let frame = Frame::Batch(batch.batch.clone()).encode();
                self.send_batch(id, name, first, batch.last(), frame);
                sent_any = true;
            }
        }
        if !sent_any {
            // What can't be read or may not be sent is struck off, so that the rest gets its turn;
            // it is asked for again if it is still missing.
            self.strike_first(id, name);
        }
        self.serve(id);
    }

    /// The store can't read at the moment: nothing may overtake what it could not read, so the
    /// session waits for it. What it can never read is given up, with all of that author's that
    /// would come after it.
    fn unreadable(&mut self, id: SessionId, name: LogName) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session.unreadable += 1;
        if session.unreadable < READ_TRIES {
            return self.arm(Timer::ReadAgain, READ_AGAIN_AFTER);
        }
        session.reading = false;
        session.unreadable = 0;
        if let Some(shared) = session.shared.get_mut(&name.conversation) {
            shared.send_queue.remove(&name.author);
        }
        self.serve(id);
    }

    pub(super) fn read_again(&mut self) {
        let waiting: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, it)| it.unreadable > 0)
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            if let Some(session) = self.sessions.get_mut(&id) {
                session.reading = false;
            }
            self.serve(id);
        }
    }

    fn queued(&mut self, id: SessionId, name: LogName) -> Option<Ranges> {
        let shared = shared_mut(&mut self.sessions, id, name.conversation)?;
        shared.send_queue.get(&name.author)?.of_log(name.log)
    }

    fn strike_first(&mut self, id: SessionId, name: LogName) {
        let first = self
            .queued(id, name)
            .and_then(|ranges| ranges.first_range());
        if let (Some((first, last)), Some(shared)) =
            (first, shared_mut(&mut self.sessions, id, name.conversation))
            && let Some(send_queue) = shared.send_queue.get_mut(&name.author)
        {
            send_queue.strike(name.log, &Ranges::span(first, last));
        }
    }

    /// Bytes left for the wire: own entries among them count as sent, and there is room for more.
    pub(super) fn batches_written(&mut self, id: SessionId, mut bytes: usize) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session.batches_outstanding = session.batches_outstanding.saturating_sub(bytes);
        while let Some((left, own)) = session.unwritten.front_mut() {
            if *left > bytes {
                *left -= bytes;
                break;
            }
            bytes -= *left;
            if let Some((name, first, last)) = *own {
                self.outputs
                    .push_back(Output::Sent(name, session.peer, first, last));
            }
            session.unwritten.pop_front();
        }
        self.serve(id);
    }
}
