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
        while let Some((name, first, last)) = self.sessions.at_mut(id).next_to_send() {
            let session = self.sessions.at_mut(id);
            let recent = self.recent.starting_at(name, first);
            let Some((end, frame)) = recent.filter(|(end, _)| *end <= last) else {
                session.outgoing.read_begins();
                // What is erased while the store reads may still be in the answer.
                self.note_handed_out(name, first, last);
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
            self.note_handed_out(name, first, end);
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
                if self.identity.writes(name) {
                    // The batch may end after the entry that was asked for.
                    self.handed_out.note(name, &batch.with_bodies());
                }
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

    /// Bytes were written to the connection. This node's entries in them are sent, and there is
    /// room for more.
    pub(super) fn batches_written(&mut self, id: SessionId, bytes: usize) {
        let session = self.sessions.at_mut(id);
        for (name, first, last) in session.outgoing.written(bytes) {
            if session.by_mail.is_some() {
                continue;
            }
            let sent = Output::Sent(name, session.peer, first, last);
            self.outputs.push_back(sent);
        }
        self.serve(id);
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::Ranges;
    use hobnob_protocol::text::TEXT_BYTES_MAX;

    use super::super::events::Input;
    use super::super::outgoing::BATCHES_OUTSTANDING_MAX;
    use super::super::testing::{
        Author, Bench, ME, batches, closed_room, direct, direct_record, peer, reads, room_record,
        sent,
    };
    use super::*;
    use crate::commit::Loaded;

    const BOB: u8 = 2;
    const DAVE: u8 = 4;

    /// A session 1 with Bob, to whom an earlier run wrote three batches. The store reads them.
    fn with_own_log() -> (Bench, LogName, Vec<Batch>) {
        let mut own = Author::with_log(ME, direct(BOB), 9);
        let written = ["a", "b", "c"].map(|text| own.write(&[text])).to_vec();
        let mut bench = Bench::load(Loaded {
            conversations: vec![direct_record(BOB)],
            logs: vec![own.stored(1)],
            ..Loaded::default()
        });
        let outputs = bench.connect(1, BOB);
        assert_eq!(reads(&outputs, 1), [(own.name, 1, 3)]);
        assert_eq!(batches(&outputs, 1), []);
        (bench, own.name, written)
    }

    /// A session 1 with Bob, who has the first of Dave's two entries and requests the second one.
    fn with_request() -> (Bench, LogName, Batch) {
        let mut dave = Author::new(DAVE, closed_room());
        dave.write(&["a"]);
        let second = dave.write(&["b"]);
        let mut bench = Bench::load(Loaded {
            conversations: vec![room_record(false)],
            logs: vec![dave.stored(1)],
            ..Loaded::default()
        });
        bench.connect(1, BOB);
        bench.meet_in(1, closed_room(), &[(dave.name, Ranges::span(1, 1))]);
        let outputs = bench.want(1, dave.name, 2, None);
        assert_eq!(reads(&outputs, 1), [(dave.name, 2, 2)]);
        (bench, dave.name, second)
    }

    fn read_fails(bench: &mut Bench, name: LogName) -> Vec<Output> {
        let failure = Err("a bad sector".to_owned());
        bench.settle(Input::Read(SessionId(1), name, failure))
    }

    #[test]
    fn batches_that_are_not_in_memory_are_read_from_the_store() {
        let (mut bench, log, written) = with_own_log();
        let outputs = bench.read(1, log, written);
        assert_eq!(
            batches(&outputs, 1),
            [(log, 1, 1), (log, 2, 2), (log, 3, 3)]
        );
    }

    #[test]
    fn nothing_overtakes_what_the_store_reads() {
        let (mut bench, log, written) = with_own_log();
        assert_eq!(batches(&bench.append(direct(BOB), "d"), 1), []);
        let outputs = bench.read(1, log, written);
        let newest = bench.own_log(direct(BOB));
        let sent: Vec<_> = batches(&outputs, 1);
        assert_eq!((sent.len(), sent[3]), (4, (newest, 1, 1)));
    }

    #[test]
    fn a_read_that_failed_is_repeated() {
        let (mut bench, log, written) = with_own_log();
        assert_eq!(reads(&read_fails(&mut bench, log), 1), []);
        assert_eq!(reads(&bench.wait(READ_AGAIN_AFTER), 1), [(log, 1, 3)]);
        assert_eq!(batches(&bench.read(1, log, written), 1).len(), 3);
        assert_eq!(reads(&bench.wait(10 * READ_AGAIN_AFTER), 1), []);
    }

    #[test]
    fn entries_that_stay_unreadable_are_not_sent() {
        let (mut bench, log, _) = with_own_log();
        let mut repeated = 0;
        loop {
            read_fails(&mut bench, log);
            match reads(&bench.wait(READ_AGAIN_AFTER), 1).len() {
                0 => break,
                again => repeated += again,
            }
        }
        assert_eq!(repeated, 9, "ten tries");
        let newest = bench.own_log(direct(BOB));
        let outputs = bench.append(direct(BOB), "d");
        assert_eq!(batches(&outputs, 1), [(newest, 1, 1)]);
    }

    #[test]
    fn a_batch_is_sent_whole_or_not_at_all() {
        let mut dave = Author::new(DAVE, closed_room());
        let batch = dave.write(&["a", "b", "c"]);
        let mut bench = Bench::load(Loaded {
            conversations: vec![room_record(false)],
            logs: vec![dave.stored(1)],
            ..Loaded::default()
        });
        bench.connect(1, BOB);
        bench.meet_in(1, closed_room(), &[]);
        // Bob is new, and may read from the second entry on. It was signed together with the first.
        let cut = [(dave.name, 2)].into();
        bench.settle(Input::NewcomerCut(SessionId(1), closed_room(), cut));
        let outputs = bench.want(1, dave.name, 1, None);
        assert_eq!(reads(&outputs, 1), [(dave.name, 2, 3)]);
        let outputs = bench.read(1, dave.name, vec![batch]);
        assert_eq!((batches(&outputs, 1), reads(&outputs, 1)), (vec![], vec![]));
    }

    #[test]
    fn what_the_peer_received_meanwhile_is_not_sent() {
        let (mut bench, dave, second) = with_request();
        bench.have(1, dave, 2, 2);
        assert_eq!(batches(&bench.read(1, dave, vec![second]), 1), []);
    }

    #[test]
    fn what_the_peer_pruned_meanwhile_is_not_sent() {
        let (mut bench, dave, second) = with_request();
        bench.frame(1, Frame::Prune(closed_room(), peer(DAVE)));
        assert_eq!(batches(&bench.read(1, dave, vec![second]), 1), []);
    }

    #[test]
    fn entries_that_are_gone_make_room_for_the_next_ones() {
        let (mut bench, dave, _) = with_request();
        let outputs = bench.read(1, dave, Vec::new());
        assert_eq!((batches(&outputs, 1), reads(&outputs, 1)), (vec![], vec![]));
        let outputs = bench.append(closed_room(), "a");
        assert_eq!(batches(&outputs, 1), [(bench.own_log(closed_room()), 1, 1)]);
    }

    #[test]
    fn a_slow_session_gets_more_when_it_has_written_something() {
        const MESSAGES: usize = 40;
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        let text = "x".repeat(TEXT_BYTES_MAX);
        let mut outputs = Vec::new();
        for _ in 0..MESSAGES {
            outputs.extend(bench.append(direct(BOB), &text));
        }
        let mut bytes = 0;
        for output in &outputs {
            if let Output::SendBatch(_, frame) = output {
                bytes += frame.len();
            }
        }
        let log = bench.own_log(direct(BOB));
        let handed_out = batches(&outputs, 1).len();
        assert!(handed_out < MESSAGES && bytes >= BATCHES_OUTSTANDING_MAX);
        assert_eq!(sent(&outputs), []);
        let outputs = bench.settle(Input::BatchesWritten(SessionId(1), bytes));
        let first = [(log, peer(BOB), 1, 1)];
        assert_eq!(
            (sent(&outputs).len(), &sent(&outputs)[..1]),
            (handed_out, &first[..])
        );
        assert_eq!(batches(&outputs, 1).len(), MESSAGES - handed_out);
    }
}
