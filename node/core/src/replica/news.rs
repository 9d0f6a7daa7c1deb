//! New durable entries: which sessions get them at once, which only get an announcement, and what
//! peers announce to this replica.

use std::collections::BTreeSet;
use std::time::Duration;

use hobnob_protocol::{ConversationId, DeviceId, Frame, Holding, LogName, Ranges, Seq};

use super::events::Output;
use super::log_key::LogKey;
use super::refusal::Refusal;
use super::saving::SAVE_AFTER;
use super::session_sync::SessionSync;
use super::state::Replica;
use super::timers::Timer;
use crate::SessionId;
use crate::commit::AudienceId;

/// Announcements wait for this long, so that one frame covers several commits.
pub(super) const ANNOUNCE_AFTER: Duration = Duration::from_millis(100);

impl Replica {
    /// Entries are durable: sends them to followers, and announces them to all other members.
    pub(super) fn pass_on(
        &mut self,
        name: LogName,
        first: Seq,
        last: Seq,
        audience: AudienceId,
        from: Option<SessionId>,
    ) {
        let key = LogKey::of(&name);
        if self.is_blocked(key.author) {
            return;
        }
        let own = key.author == self.identity.id;
        let conversation = self.conversations.at(name.conversation);
        let ordinal = conversation.ordinal(&key);
        let (mut to_serve, mut announced) = (Vec::new(), false);
        for (id, session) in self.sessions.iter_mut() {
            let (peer, device) = (session.person(), session.peer);
            // Mail has what its author writes. All other entries come from those who are connected.
            if session.by_mail.is_some() && !own && device != key.device {
                continue;
            }
            let Some(sync) = session.syncs.get_mut(&name.conversation) else {
                continue;
            };
            if Some(id) == from || !conversation.may_have(peer, key.author, audience) {
                continue;
            }
            if device == key.device {
                sync.receipts.insert(key);
            } else if !sync.ready {
                // When the peer's heads arrive, it gets our own entries that it lacks. It learns of
                // the others from our heads, or now if those were sent already.
                if !own && sync.heads.were_sent() && !sync.cut.is_asked() {
                    sync.announcements.insert(key);
                    announced = true;
                }
            } else if own || sync.queues.follows(key.author) {
                let theirs = sync.holdings.of(&key);
                let sent = sync.queues.sent_of(&key);
                let mut fresh = Ranges::span(first, last);
                if conversation.is_closed_room() && theirs.is_empty() && sent.is_empty() {
                    // Members hold a log from the first entry on that they receive of it. The peer
                    // has received nothing of this log, so the older entries go first.
                    fresh.insert_all(&conversation.offer(peer, &key, &sync.cut));
                }
                let fresh = fresh.minus(&theirs).minus(&sent);
                sync.queues.add(ordinal, &key, &fresh);
                to_serve.push(id);
            } else {
                sync.announcements.insert(key);
                announced = true;
            }
        }
        if announced {
            self.arm(Timer::Announce, ANNOUNCE_AFTER);
        }
        to_serve.into_iter().for_each(|id| self.serve(id));
    }

    /// Queues a receipt: the peer learns soon which entries of this log are on disk here.
    pub(super) fn queue_receipt(&mut self, id: SessionId, name: LogName) {
        // The session may have ended before the store answered.
        if let Some(sync) = self.sessions.sync_mut(id, name.conversation) {
            sync.receipts.insert(LogKey::of(&name));
        }
    }

    /// Sends the queued receipts to all sessions that read fast enough.
    pub(super) fn flush_receipts(&mut self) {
        for (id, shared, key) in self.take_due(|sync| &mut sync.receipts) {
            self.send_receipt(id, shared, key);
        }
    }

    pub(super) fn announce(&mut self) {
        for (id, shared, key) in self.take_due(|sync| &mut sync.announcements) {
            let news = self.may_tell(id, shared, &key).settled;
            let sync = self.sessions.sync(id, shared).expect("it was due");
            // Peers that have announced these entries need no announcement.
            if !news.minus(&sync.holdings.of(&key)).is_empty() {
                self.send_receipt(id, shared, key);
            }
        }
    }

    /// Takes the logs of one list of all sessions that read fast enough. An author's older logs
    /// come first, because peers request them in this order.
    fn take_due(
        &mut self,
        list: impl Fn(&mut SessionSync) -> &mut BTreeSet<LogKey>,
    ) -> Vec<(SessionId, ConversationId, LogKey)> {
        let mut due = Vec::new();
        for (id, session) in self.sessions.iter_mut() {
            if !session.may_send_more() {
                continue;
            }
            for (shared, sync) in &mut session.syncs {
                let logs = std::mem::take(list(sync));
                due.extend(logs.into_iter().map(|key| (id, *shared, key)));
            }
        }
        due.sort_by_key(|(id, shared, key)| {
            let ordinal = self.conversations.at(*shared).ordinal(key);
            (*id, *shared, ordinal)
        });
        due
    }

    /// Sends a peer the entries of one log that are on disk here, as far as it may know of them.
    fn send_receipt(&mut self, id: SessionId, shared: ConversationId, key: LogKey) {
        // A commit that failed may have removed the log since the receipt was queued.
        let Some(log) = self.conversations.at(shared).log(&key) else {
            return;
        };
        let sync = self.sessions.sync(id, shared).expect("it was due");
        // Entries that the peer holds are no secret to it, whatever their audience.
        let mut ranges = log.durable().intersect(&sync.holdings.of(&key));
        ranges.insert_all(&self.may_send(id, shared, &key));
        let held = self.conversations.at(shared).holding(&key, &ranges);
        if !held.settled.is_empty() {
            self.send(id, &Frame::Have(key.name(shared), held));
        }
    }

    /// Announces all logs of other authors to a peer, once it is known how much it may read.
    pub(super) fn announce_all(&mut self, id: SessionId, shared: ConversationId) {
        let logs = self.conversations.at(shared).logs().map(|(key, _)| *key);
        let others = logs.filter(|key| key.author != self.identity.id);
        let sync = self.sessions.sync_mut(id, shared).expect("it is shared");
        sync.announcements.extend(others);
        self.arm(Timer::Announce, ANNOUNCE_AFTER);
    }

    pub(super) fn have(
        &mut self,
        id: SessionId,
        name: LogName,
        held: Holding,
    ) -> Result<(), Refusal> {
        let sync = self.sessions.sync(id, name.conversation);
        sync.ok_or(Refusal::NotShared)?;
        let conversation = self.conversations.at(name.conversation);
        let key = LogKey::of(&name);
        conversation.may_write(self.identity.id, &key, None)?;
        let is_held = conversation.log(&LogKey::of(&name)).is_some();
        let session = self.sessions.at_mut(id);
        session.note_holdings(name, &held.settled, is_held);
        let sync = session.syncs.get_mut(&name.conversation);
        let sync = sync.expect("found above");
        sync.bodies.note_erased(LogKey::of(&name), held.erased);
        let (peer, by_mail) = (session.peer, session.by_mail.is_some());
        // The author says where its log begins for this node. Its entries follow in envelopes.
        if by_mail && name.device == peer {
            return Ok(());
        }
        if name.author == self.identity.id {
            self.confirm(name, peer, &held.settled);
        }
        self.request_missing(id, name.conversation, LogKey::of(&name));
        Ok(())
    }

    /// Notes what a peer has of our own logs, and reports what it had not confirmed before.
    pub(super) fn confirm(&mut self, name: LogName, peer: DeviceId, theirs: &Ranges) {
        let conversation = self.conversations.at(name.conversation);
        // The peer may name a log that this store has lost.
        let Some(log) = conversation.log(&LogKey::of(&name)) else {
            return;
        };
        // A peer can only have what was durable here before it was sent.
        let has = theirs.intersect(log.durable());
        let is_limited = conversation.is_open_room()
            && !has.is_empty()
            && self.receipts.of(name, peer).is_empty();
        let new = self.receipts.confirm(name, peer, &has);
        if is_limited {
            let (me, strangers) = (self.identity.id, &self.strangers);
            let is_stranger = |peer| peer != me && !strangers.is_contact(peer);
            self.receipts.limit(name, peer, is_stranger);
        }
        if !new.is_empty() {
            self.arm(Timer::Save, SAVE_AFTER);
            self.outputs.push_back(Output::Delivered(name, peer, new));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::events::Input;
    use super::super::testing::{
        Author, Bench, batches, closed_room, commits, delivered, device, direct, frames, open_room,
        peer, receipts, refusals, wants,
    };
    use super::*;

    const BOB: u8 = 2;
    const CAROL: u8 = 3;

    /// Sessions 1 with Bob and 2 with Carol, who are in the room with a secret. Bob writes in it.
    fn room() -> (Bench, Author) {
        let bench = Bench::in_closed_room(&[BOB, CAROL]);
        (bench, Author::new(BOB, closed_room()))
    }

    #[test]
    fn own_entries_are_pushed_to_every_member() {
        let (mut bench, _) = room();
        let outputs = bench.append(closed_room(), "a");
        let log = bench.own_log(closed_room());
        for session in [1, 2] {
            assert_eq!(batches(&outputs, session), [(log, 1, 1)]);
        }
    }

    #[test]
    fn entries_of_others_are_announced_and_sent_on_request() {
        let (mut bench, mut bob) = room();
        let arrived = bench.batch(1, bob.write(&["a"]));
        assert_eq!(receipts(&arrived, 1), [(bob.name, Ranges::span(1, 1))]);
        assert_eq!(
            (batches(&arrived, 2), receipts(&arrived, 2)),
            (vec![], vec![])
        );
        let announced = bench.wait(ANNOUNCE_AFTER);
        assert_eq!(receipts(&announced, 2), [(bob.name, Ranges::span(1, 1))]);
        assert_eq!(receipts(&announced, 1), []);
        let requested = bench.want(2, bob.name, 1, None);
        assert_eq!(batches(&requested, 2), [(bob.name, 1, 1)]);
    }

    #[test]
    fn one_announcement_covers_what_arrives_within_a_moment() {
        let (mut bench, mut bob) = room();
        bench.batch(1, bob.write(&["a"]));
        bench.batch(1, bob.write(&["b", "c"]));
        let announced = bench.wait(ANNOUNCE_AFTER);
        assert_eq!(receipts(&announced, 2), [(bob.name, Ranges::span(1, 3))]);
    }

    #[test]
    fn a_peer_that_asked_for_all_that_follows_gets_it_at_once() {
        let (mut bench, mut bob) = room();
        bench.batch(1, bob.write(&["a"]));
        bench.wait(ANNOUNCE_AFTER);
        bench.want(2, bob.name, 1, None);
        let arrived = bench.batch(1, bob.write(&["b"]));
        assert_eq!(batches(&arrived, 2), [(bob.name, 2, 2)]);
        assert_eq!(receipts(&bench.wait(ANNOUNCE_AFTER), 2), []);
    }

    #[test]
    fn entries_that_the_peer_has_already_are_neither_sent_nor_announced() {
        let (mut bench, mut bob) = room();
        bench.have(2, bob.name, 1, 1);
        bench.batch(1, bob.write(&["a"]));
        assert_eq!(receipts(&bench.wait(ANNOUNCE_AFTER), 2), []);
        bench.want(2, bob.name, 2, None);
        bench.have(2, bob.name, 2, 2);
        let arrived = bench.batch(1, bob.write(&["b"]));
        assert_eq!(batches(&arrived, 2), []);
    }

    #[test]
    fn a_peer_that_holds_nothing_of_a_log_gets_the_older_entries_first() {
        let (mut bench, _) = room();
        let log = bench.own_log(closed_room());
        bench.append(closed_room(), "a");
        bench.hang_up(2, false);
        bench.append(closed_room(), "b");
        // Carol's new disk holds a log of somebody else only.
        let other = Author::new(BOB, closed_room());
        bench.connect(3, CAROL);
        let outputs = bench.meet_in(3, closed_room(), &[(other.name, Ranges::span(1, 1))]);
        assert_eq!(batches(&outputs, 3), [(log, 1, 1), (log, 2, 2)]);
    }

    #[test]
    fn the_author_gets_receipts_however_the_entries_arrived() {
        let (mut bench, mut bob) = room();
        let batch = bob.write(&["a"]);
        bench.have(2, bob.name, 1, 1);
        // Carol forwards what Bob wrote before he connected.
        bench.hang_up(1, false);
        bench.wait(Duration::from_secs(1));
        bench.connect(3, BOB);
        bench.meet_in(3, closed_room(), &[]);
        let outputs = bench.batch(2, batch);
        assert_eq!(receipts(&outputs, 3), [(bob.name, Ranges::span(1, 1))]);
    }

    #[test]
    fn a_member_that_was_absent_from_an_open_room_learns_nothing() {
        let mut bench = Bench::new();
        bench.join(true);
        bench.connect(1, BOB);
        bench.meet_in(1, open_room(), &[]);
        let mut bob = Author::new(BOB, open_room());
        bench.batch(1, bob.write(&["a"]));
        bench.append(open_room(), "b");
        bench.connect(2, CAROL);
        let met = bench.meet_in(2, open_room(), &[]);
        let later = bench.wait(Duration::from_secs(60));
        for outputs in [met, later] {
            assert_eq!(
                (receipts(&outputs, 2), batches(&outputs, 2)),
                (vec![], vec![])
            );
        }
        let asked = bench.want(2, bob.name, 1, None);
        assert_eq!(batches(&asked, 2), []);
    }

    #[test]
    fn a_receipt_names_only_what_the_peer_has_or_may_have() {
        let mut bench = Bench::new();
        bench.join(true);
        bench.connect(1, BOB);
        bench.meet_in(1, open_room(), &[]);
        let mut bob = Author::new(BOB, open_room());
        let secret = bob.write(&["before Carol"]);
        bench.batch(1, secret);
        bench.connect(2, CAROL);
        bench.meet_in(2, open_room(), &[]);
        let second = bob.write(&["with Carol"]);
        bench.batch(1, second.clone());
        bench.wait(ANNOUNCE_AFTER);
        // Carol forwards the second entry, and learns nothing of the first.
        let outputs = bench.batch(2, second);
        assert_eq!(receipts(&outputs, 2), [(bob.name, Ranges::span(2, 2))]);
    }

    #[test]
    fn a_delivery_is_reported_once() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        bench.append(direct(BOB), "a");
        bench.append(direct(BOB), "b");
        let log = bench.own_log(direct(BOB));
        let span = |first, last| (log, peer(BOB), Ranges::span(first, last));
        assert_eq!(delivered(&bench.have(1, log, 1, 1)), [span(1, 1)]);
        assert_eq!(delivered(&bench.have(1, log, 1, 2)), [span(2, 2)]);
        assert_eq!(delivered(&bench.have(1, log, 1, 2)), []);
        assert_eq!(bench.replica.delivered_to(log, 2), [device(BOB)]);
    }

    #[test]
    fn a_receipt_for_entries_that_do_not_exist_counts_for_nothing() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        let log = bench.own_log(direct(BOB));
        assert_eq!(delivered(&bench.have(1, log, 1, 9)), []);
        bench.append(direct(BOB), "a");
        assert_eq!(
            delivered(&bench.have(1, log, 1, 9)),
            [(log, peer(BOB), Ranges::span(1, 1))]
        );
        assert_eq!(bench.replica.delivered_to(log, 9), []);
    }

    #[test]
    fn announcements_of_third_parties_or_foreign_rooms_are_refused() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        let carol = Author::new(CAROL, direct(BOB));
        let outputs = bench.have(1, carol.name, 1, 1);
        assert_eq!(refusals(&outputs), [Refusal::NotAnAuthor]);
        let foreign = Author::new(BOB, closed_room());
        let outputs = bench.have(1, foreign.name, 1, 1);
        assert_eq!(refusals(&outputs), [Refusal::NotShared]);
    }

    #[test]
    fn an_announcement_of_missing_entries_leads_to_a_request() {
        let (mut bench, _) = room();
        let dave = Author::new(4, closed_room());
        let outputs = bench.have(1, dave.name, 1, 3);
        assert_eq!(wants(&outputs, 1), [(dave.name, 1, None)]);
    }

    #[test]
    fn a_receipt_after_the_session_ended_is_dropped() {
        let (mut bench, mut bob) = room();
        let arrived = bench.handle(Input::Batch(SessionId(1), bob.write(&["a"])));
        bench.hang_up(1, false);
        let commit = commits(&arrived)[0];
        let outputs = bench.settle(Input::Committed(commit));
        assert_eq!(frames(&outputs, 1), []);
        // The entry itself is announced to the others.
        let outputs = bench.wait(ANNOUNCE_AFTER);
        assert_eq!(receipts(&outputs, 2), [(bob.name, Ranges::span(1, 1))]);
    }
}
