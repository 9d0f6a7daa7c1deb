//! Sessions by mail: their frames travel in envelopes, while the peer is away. Each shares one
//! conversation: the direct one, or a room with a key.
//!
//! Nothing is compared, because the peer can't answer. What the peer has is known from its
//! receipts. Only this node's own entries are sent. In a room, each of its logs is offered from the
//! entry at which the peer became a member, because members do not want older entries.
//!
//! For each of this node's logs that the peer has not confirmed completely, a `Have` names the
//! entries that are for the peer, older logs first. So the peer notices what a holder has lost or
//! delayed, and accepts no later entries before the missing ones.

use std::collections::BTreeMap;

use hobnob_protocol::{ConversationId, DeviceId, Frame, LogId, LogName, Ranges, Seq};

use super::cut::NewcomerCut;
use super::events::MailedRoom;
use super::log::Log;
use super::log_key::LogKey;
use super::session::{ByMail, Session};
use super::state::Replica;
use crate::SessionId;
use crate::source_network::SourceNetwork;

impl Replica {
    /// A session by mail begins.
    pub(super) fn mail_up(
        &mut self,
        id: SessionId,
        peer: DeviceId,
        source: SourceNetwork,
        room: Option<MailedRoom>,
        held: &[(LogName, Ranges)],
        receipts: bool,
    ) {
        let (shared, by_mail) = match room {
            Some(room) => (room.id, ByMail::Room),
            None => {
                self.open_direct(peer.person());
                let direct = ConversationId::direct(self.identity.id, peer.person());
                (direct, ByMail::Direct)
            }
        };
        if !self.conversations.contains(shared) {
            return;
        }
        let mut session = Session::new(id, peer, (None, source), true, self.now.mono);
        session.by_mail = Some(by_mail);
        session.share(shared);
        let begins = room.map(|room| self.begins(room, peer, held));
        let me = self.identity.id;
        let conversation = self.conversations.at(shared);
        for (key, log) in conversation.logs_of(me) {
            let name = key.name(shared);
            let confirmed = self.receipts.of(name, peer).intersect(log.durable());
            session.note_holdings(name, &confirmed, true);
        }
        let of_peer: Vec<_> = conversation
            .logs_of(peer.person())
            .map(|(key, _)| *key)
            .collect();
        let sync = session.syncs.get_mut(&shared).expect("shared above");
        // These are not holdings: the peer has not confirmed them.
        for (name, ranges) in held {
            if name.conversation == shared && name.author == me {
                sync.queues.note_held(&LogKey::of(name), ranges);
            }
        }
        if receipts {
            sync.receipts.extend(of_peer);
        }
        sync.ready = true;
        let announced = self.unconfirmed(shared, peer, begins.as_ref());
        if let Some(begins) = begins {
            let sync = session.syncs.get_mut(&shared).expect("shared above");
            sync.cut = NewcomerCut::From(begins);
        }
        self.sessions.add(session);
        for (name, ranges) in announced {
            self.send(id, &Frame::Have(name, ranges.into()));
        }
        self.offer_own(id, shared);
    }

    /// This node's logs in a conversation that the peer has not confirmed as a whole, the oldest
    /// first, with the entries that are for it.
    fn unconfirmed(
        &self,
        shared: ConversationId,
        peer: DeviceId,
        begins: Option<&BTreeMap<LogKey, Seq>>,
    ) -> Vec<(LogName, Ranges)> {
        let logs = self.conversations.at(shared).logs_of(self.identity.id);
        let unconfirmed = logs.filter_map(|(key, log)| {
            let name = key.name(shared);
            let mut for_peer = log.durable().clone();
            if let Some(begins) = begins {
                for_peer.remove(1, begins[key].saturating_sub(1));
            }
            let (first, last) = (for_peer.first()?, for_peer.last()?);
            let left = for_peer.minus(&self.receipts.of(name, peer));
            let span = Ranges::span(first, last);
            (!left.is_empty()).then_some((log.ordinal, name, span))
        });
        let mut unconfirmed: Vec<_> = unconfirmed.collect();
        unconfirmed.sort_unstable_by_key(|(ordinal, ..)| *ordinal);
        let named = unconfirmed.into_iter();
        named.map(|(_, name, span)| (name, span)).collect()
    }

    /// Whether a session by mail about a room would carry anything: own entries that the peer has
    /// not confirmed, and that no holder has.
    pub fn has_room_mail(
        &self,
        room: MailedRoom,
        peer: DeviceId,
        held: &[(LogName, Ranges)],
    ) -> bool {
        let Some(conversation) = self.conversations.get(room.id) else {
            return false;
        };
        let begins = self.begins(room, peer, held);
        let mut logs = conversation.logs_of(self.identity.id);
        logs.any(|(key, log)| {
            let name = key.name(room.id);
            let mut waiting = log.durable().minus(&self.receipts.of(name, peer));
            waiting.remove(1, begins[key].saturating_sub(1));
            let of_log = held.iter().filter(|(of, _)| *of == name);
            of_log.for_each(|(_, ranges)| waiting = waiting.minus(ranges));
            !waiting.is_empty()
        })
    }

    /// Whether a session by mail has handed out all that it has for the peer.
    pub fn mail_is_done(&self, id: SessionId) -> bool {
        let session = self.sessions.get(id);
        session.is_none_or(Session::has_handed_out_all)
    }

    /// Our own newest entry in a room. A peer that becomes a member now gets by mail what follows.
    pub fn own_end(&self, room: ConversationId) -> Option<(LogId, Seq)> {
        let logs = self.conversations.get(room)?.logs_of(self.identity.id);
        let newest = logs.max_by_key(|(_, log)| log.ordinal)?;
        Some((newest.0.log, newest.1.durable().last()?))
    }

    /// The first entry of each own log in a room that its member gets by mail. For a log of which
    /// the member gets nothing, that is one after its last entry.
    fn begins(
        &self,
        room: MailedRoom,
        peer: DeviceId,
        held: &[(LogName, Ranges)],
    ) -> BTreeMap<LogKey, Seq> {
        let conversation = self.conversations.at(room.id);
        let me = self.identity.id;
        let newest_before = room.after.map(|(log, seq)| {
            let mut own = conversation.logs_of(me);
            let found = own.find(|(key, _)| key.log == log);
            (log, seq, found.map(|(_, log)| log.ordinal))
        });
        let begin = |key: &LogKey, log: &Log| {
            let name = key.name(room.id);
            let confirmed = self.receipts.of(name, peer).first();
            let held = held.iter().filter(|(of, _)| *of == name);
            let held = held.filter_map(|(_, ranges)| ranges.first()).min();
            let known = confirmed.into_iter().chain(held).min();
            let since = match newest_before {
                None => Some(1),
                Some((before, seq, _)) if before == key.log => Some(seq + 1),
                Some((_, _, Some(ordinal))) => (log.ordinal > ordinal).then_some(1),
                // An older copy of this home lacks that log. What this run writes is newer.
                Some((_, _, None)) => self.identity.writes(name).then_some(1),
            };
            let after_all = log.durable().last().unwrap_or(0) + 1;
            known.into_iter().chain(since).min().unwrap_or(after_all)
        };
        let logs = conversation.logs_of(me);
        logs.map(|(key, log)| (*key, begin(key, log))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::events::{Input, Output};
    use super::super::refusal::Refusal;
    use super::super::testing::{
        Author, Bench, ME, batches, closed_room, compared, delivered, direct, frames, peer,
        receipts, received, refusals, room_record, sent, wants,
    };
    use super::*;
    use crate::commit::Loaded;

    const BOB: u8 = 2;
    const CAROL: u8 = 3;

    fn mail_in(
        bench: &mut Bench,
        room: Option<MailedRoom>,
        held: &[(LogName, Ranges)],
        receipts: bool,
    ) -> Vec<Output> {
        bench.settle(Input::MailUp {
            session: SessionId(1),
            peer: peer(BOB).only_device(),
            source: SourceNetwork(1),
            room,
            held: held.to_vec(),
            receipts,
        })
    }

    /// A session by mail with Bob begins. These of our entries are held for Bob.
    fn mail(bench: &mut Bench, held: &[(LogName, Ranges)], receipts: bool) -> Vec<Output> {
        mail_in(bench, None, held, receipts)
    }

    /// The same for the room with a secret, whose member Bob became after this own entry.
    fn room_mail(
        bench: &mut Bench,
        after: Option<(LogId, Seq)>,
        held: &[(LogName, Ranges)],
    ) -> Vec<Output> {
        mail_in(bench, Some(member(after)), held, false)
    }

    fn member(after: Option<(LogId, Seq)>) -> MailedRoom {
        MailedRoom {
            id: closed_room(),
            after,
        }
    }

    fn has_mail(bench: &Bench, after: Option<(LogId, Seq)>, held: &[(LogName, Ranges)]) -> bool {
        let bob = peer(BOB).only_device();
        bench.replica.has_room_mail(member(after), bob, held)
    }

    /// A replica in the room with a secret, alone.
    fn in_room() -> Bench {
        Bench::in_closed_room(&[])
    }

    #[test]
    fn held_entries_are_not_delivered() {
        let mut bench = Bench::new();
        bench.settle(Input::OpenDirect(peer(BOB)));
        bench.append(direct(BOB), "a");
        bench.append(direct(BOB), "b");
        let log = bench.own_log(direct(BOB));
        let outputs = mail(&mut bench, &[(log, Ranges::span(1, 1))], false);
        assert_eq!(batches(&outputs, 1), [(log, 2, 2)], "the first one is held");
        assert_eq!(
            receipts(&outputs, 1),
            [(log, Ranges::span(1, 2))],
            "and counts"
        );
        assert_eq!(
            (compared(&outputs, 1), delivered(&outputs)),
            (vec![], vec![])
        );
        let outputs = bench.append(direct(BOB), "c");
        assert_eq!(batches(&outputs, 1), [(log, 3, 3)]);
        let outputs = bench.have(1, log, 1, 2);
        assert_eq!(delivered(&outputs), [(log, peer(BOB), Ranges::span(1, 2))]);
        let outputs = bench.want(1, log, 3, None);
        assert_eq!(batches(&outputs, 1), [(log, 3, 3)], "a holder has lost it");
    }

    #[test]
    fn entries_in_an_envelope_are_held_and_never_sent() {
        let mut bench = Bench::new();
        bench.settle(Input::OpenDirect(peer(BOB)));
        bench.append(direct(BOB), "a");
        let mut bytes = 0;
        for output in mail(&mut bench, &[], false) {
            if let Output::SendBatch(_, frame) = output {
                bytes += frame.len();
            }
        }
        assert!(bytes > 0 && !bench.replica.mail_is_done(SessionId(1)));
        let outputs = bench.settle(Input::BatchesWritten(SessionId(1), bytes));
        assert_eq!(sent(&outputs), []);
        assert!(bench.replica.mail_is_done(SessionId(1)));
    }

    #[test]
    fn entries_that_arrive_by_mail_are_shown_once_and_acknowledged() {
        let mut bench = Bench::new();
        let mut bob = Author::new(BOB, direct(BOB));
        let batch = bob.write(&["a"]);
        mail(&mut bench, &[], false);
        let outputs = bench.batch(1, batch.clone());
        assert_eq!(received(&outputs), ["a"]);
        assert_eq!(receipts(&outputs, 1), [(bob.name, Ranges::span(1, 1))]);
        assert!(bench.replica.has_settled(bob.name, 1, 1));
        assert!(!bench.replica.has_settled(bob.name, 1, 2));
        let again = bench.batch(1, batch);
        assert_eq!(received(&again), [""; 0]);
        bench.hang_up(1, true);
        let outputs = mail(&mut bench, &[], true);
        assert_eq!(receipts(&outputs, 1), [(bob.name, Ranges::span(1, 1))]);
    }

    #[test]
    fn a_member_gets_by_mail_what_was_written_since_it_is_one() {
        let mut bench = in_room();
        assert_eq!(bench.replica.own_end(closed_room()), None);
        assert!(!has_mail(&bench, None, &[]));
        bench.append(closed_room(), "before");
        let log = bench.own_log(closed_room());
        let after = bench.replica.own_end(closed_room());
        assert_eq!(after, Some((log.log, 1)));
        assert!(!has_mail(&bench, after, &[]) && has_mail(&bench, None, &[]));
        bench.append(closed_room(), "a");
        assert!(has_mail(&bench, after, &[]));
        assert!(
            !has_mail(&bench, after, &[(log, Ranges::span(2, 2))]),
            "held"
        );
        let outputs = room_mail(&mut bench, after, &[]);
        assert_eq!(batches(&outputs, 1), [(log, 2, 2)]);
        assert_eq!(
            receipts(&outputs, 1),
            [(log, Ranges::span(2, 2))],
            "where it begins"
        );
        assert_eq!(compared(&outputs, 1), []);
        let outputs = bench.append(closed_room(), "b");
        assert_eq!(batches(&outputs, 1), [(log, 3, 3)]);
        let outputs = bench.have(1, log, 2, 3);
        assert_eq!(delivered(&outputs), [(log, peer(BOB), Ranges::span(2, 3))]);
        bench.hang_up(1, true);
        assert!(!has_mail(&bench, after, &[]));
    }

    #[test]
    fn logs_of_earlier_runs_are_mailed_if_the_member_is_older_or_has_some_of_them() {
        let mut logs = [1, 2, 3].map(|n| Author::with_log(ME, closed_room(), n));
        for log in &mut logs {
            log.write(&["a", "b"]);
        }
        let stored = (1..).zip(&logs).map(|(ordinal, log)| log.stored(ordinal));
        let bob = peer(BOB).only_device();
        let load = |acked| {
            Bench::load(Loaded {
                conversations: vec![room_record(false)],
                logs: stored.clone().collect(),
                acked,
                ..Loaded::default()
            })
        };
        let begins = |bench: &Bench, after| {
            let begins = bench.replica.begins(member(after), bob, &[]);
            begins.into_values().collect::<Vec<_>>()
        };
        let bench = load(Vec::new());
        assert_eq!(begins(&bench, None), [1, 1, 1]);
        assert_eq!(begins(&bench, Some((LogId(2), 1))), [3, 2, 1]);
        let lost = Some((LogId(99), 1));
        assert_eq!(
            begins(&bench, lost),
            [3, 3, 3],
            "this home is an older copy"
        );
        let bench = load(vec![(logs[0].name, bob, Ranges::span(2, 2))]);
        assert_eq!(begins(&bench, Some((LogId(2), 2))), [2, 3, 1]);
    }

    #[test]
    fn a_member_in_mail_is_not_present_and_is_asked_for_nothing() {
        let mut bench = Bench::in_closed_room(&[]);
        room_mail(&mut bench, None, &[]);
        assert_eq!(bench.replica.here(closed_room()), [].into());
        let bob = Author::new(BOB, closed_room());
        let outputs = bench.have(1, bob.name, 3, 4);
        assert_eq!((wants(&outputs, 1), refusals(&outputs)), (vec![], vec![]));
        assert_eq!(
            wants(&bench.wait(std::time::Duration::from_secs(60)), 1),
            []
        );
        // Others are asked for what Bob wrote.
        bench.connect(2, CAROL);
        let held = [(bob.name, Ranges::span(3, 4))];
        let outputs = bench.meet_in(2, closed_room(), &held);
        assert_eq!(wants(&outputs, 2), [(bob.name, 3, None)]);
    }

    #[test]
    fn entries_of_others_are_not_mailed_to_members() {
        let mut bench = Bench::in_closed_room(&[]);
        bench.connect(2, CAROL);
        bench.meet_in(2, closed_room(), &[]);
        room_mail(&mut bench, None, &[]);
        let mut carol = Author::new(CAROL, closed_room());
        let mut outputs = bench.batch(2, carol.write(&["a"]));
        outputs.extend(bench.wait(std::time::Duration::from_secs(60)));
        assert_eq!(
            (frames(&outputs, 1), batches(&outputs, 1)),
            (vec![], vec![])
        );
    }

    #[test]
    fn what_a_holder_lost_of_a_room_is_requested_and_nothing_after_it_is_shown() {
        let mut bench = Bench::in_closed_room(&[]);
        let mut bob = Author::new(BOB, closed_room());
        bob.write(&["before"]);
        let (second, third) = (bob.write(&["b"]), bob.write(&["c"]));
        room_mail(&mut bench, None, &[]);
        bench.have(1, bob.name, 2, 3);
        let outputs = bench.batch(1, third.clone());
        assert_eq!(refusals(&outputs), [Refusal::Gap]);
        assert_eq!(wants(&outputs, 1), [(bob.name, 2, None)]);
        assert_eq!(received(&bench.batch(1, second)), ["b"], "it begins there");
        assert_eq!(received(&bench.batch(1, third)), ["c"]);
    }

    #[test]
    fn an_earlier_log_that_a_holder_delays_comes_before_a_later_one() {
        let mut bench = Bench::new();
        let mut logs = [1, 2].map(|log| Author::with_log(BOB, direct(BOB), log));
        let [before, after] = logs.each_mut().map(|log| log.write(&["a"]));
        mail(&mut bench, &[], false);
        bench.have(1, logs[0].name, 1, 1);
        bench.have(1, logs[1].name, 1, 1);
        let outputs = bench.batch(1, after.clone());
        assert_eq!(refusals(&outputs), [Refusal::Gap]);
        assert_eq!(wants(&outputs, 1), [(logs[0].name, 1, None)]);
        assert_eq!(received(&bench.batch(1, before)), ["a"]);
        assert_eq!(received(&bench.batch(1, after)), ["a"]);
    }

    #[test]
    fn what_arrived_by_mail_and_by_another_member_is_shown_once() {
        let mut bench = Bench::in_closed_room(&[]);
        let mut bob = Author::new(BOB, closed_room());
        let (first, second) = (bob.write(&["a"]), bob.write(&["b"]));
        room_mail(&mut bench, None, &[]);
        assert_eq!(received(&bench.batch(1, first)), ["a"]);
        bench.connect(2, CAROL);
        let held = [(bob.name, Ranges::span(1, 2))];
        let outputs = bench.meet_in(2, closed_room(), &held);
        assert_eq!(wants(&outputs, 2), [(bob.name, 2, None)]);
        assert_eq!(received(&bench.batch(2, second.clone())), ["b"]);
        let outputs = bench.batch(1, second);
        assert_eq!(received(&outputs), [""; 0]);
        assert_eq!(receipts(&outputs, 1), [(bob.name, Ranges::span(1, 2))]);
    }
}
