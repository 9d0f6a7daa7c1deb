//! The comparison of what two ends hold: a digest first, heads where the digests differ. And
//! how far back a newcomer to a room with a secret may read.

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob_protocol::frame::{AuthorHeads, Digest, FRAME_MAX};
use hobnob_protocol::{ConversationId, Frame, Holding, LogId, LogName, PeerId, Ranges, Seq};

use super::cut::NewcomerCut;
use super::events::Output;
use super::log_key::LogKey;
use super::refusal::Refusal;
use super::state::Replica;
use crate::SessionId;

/// A newcomer to a room with a secret receives at most this many of its last entries …
pub const NEWCOMER_ENTRIES: usize = 500;

/// … and none older than this.
pub const NEWCOMER_AGE_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// Heads are not repeated to one session within this time.
const HEADS_EVERY: Duration = Duration::from_secs(5);

/// Maximum encoded size of one log with one range in a Heads frame; and of an author.
const HEAD_BYTES_MAX: usize = 9 + 3 + 18;
const AUTHOR_BYTES_MAX: usize = 32 + 9;

impl Replica {
    /// Everything that may be sent on a session, sorted by author and log.
    fn authors_heads(&self, id: SessionId, shared: ConversationId) -> Vec<AuthorHeads> {
        let conversation = self.conversations.at(shared);
        let mut authors: Vec<AuthorHeads> = Vec::new();
        for (key, _) in conversation.logs() {
            let held = self.may_tell(id, shared, key);
            if !held.settled.is_empty() {
                push_head(&mut authors, key.author, key.log, held.for_frame());
            }
        }
        authors
    }

    pub(super) fn send_digest(&mut self, id: SessionId, shared: ConversationId) {
        let digest = AuthorHeads::digest(&self.authors_heads(id, shared));
        let sync = self.sessions.sync_mut(id, shared);
        sync.expect("it is shared").digests.sent = Some(digest);
        let clock = self.conversations.at(shared).clock();
        let digest = Digest {
            hash: digest,
            clock,
        };
        self.send(id, &Frame::Digest(shared, digest));
    }

    /// Sends the digest again, unless both ends have sent the one that is still right.
    pub(super) fn compare_digests(&mut self, id: SessionId, shared: ConversationId) {
        let sync = self.sessions.sync(id, shared).expect("it is shared");
        let agreed = sync.digests.agreed();
        if agreed
            .is_none_or(|agreed| AuthorHeads::digest(&self.authors_heads(id, shared)) != agreed)
        {
            self.send_digest(id, shared);
        }
    }

    pub(super) fn digest(
        &mut self,
        id: SessionId,
        shared: ConversationId,
        digest: Digest,
    ) -> Result<(), Refusal> {
        let Some(sync) = self.sessions.sync_mut(id, shared) else {
            // The peer may know already what this end is about to learn: that both are in the room.
            let session = self.sessions.at_mut(id);
            session.keep_early_digest(shared, digest);
            return Err(Refusal::NotShared);
        };
        let is_first = sync.digests.received.replace(digest.hash).is_none();
        if is_first {
            // Once a session: a peer cannot drive the clock by repeating itself.
            let conversation = self.conversations.at_mut(shared);
            conversation.follow_clock(digest.clock);
        }
        let heads = self.authors_heads(id, shared);
        let holds_nothing = digest.hash == AuthorHeads::digest(&[]);
        if holds_nothing {
            self.holdings_known(id, shared, BTreeMap::new());
        }
        if AuthorHeads::digest(&heads) != digest.hash {
            // A newcomer gets heads when it is known what it may read.
            let sync = self.sessions.sync(id, shared).expect("found above");
            if sync.ready || !holds_nothing {
                self.send_heads(id, shared, heads);
            }
            return Ok(());
        }
        // The peer holds the entries that the digest covers. It may hold more: entries that were
        // withheld from it, or that did not fit a frame.
        let same = heads.into_iter().flat_map(|AuthorHeads { author, logs }| {
            let of_author = logs.into_iter();
            of_author.map(move |(log, held)| (LogKey { author, log }, held.settled))
        });
        let same = same.collect();
        self.holdings_known(id, shared, same);
        Ok(())
    }

    fn send_heads(&mut self, id: SessionId, shared: ConversationId, mut heads: Vec<AuthorHeads>) {
        let session = self.sessions.at_mut(id);
        if !session.may_send_more() {
            return;
        }
        let sync = session.syncs.get_mut(&shared).expect("it is shared");
        sync.heads_sent_at = Some(self.now.mono);
        // Digests are made of logs in the order of their names. Peers request logs in the order of
        // the heads, so here an author's older logs come first.
        let conversation = self.conversations.at(shared);
        for AuthorHeads { author, logs } in &mut heads {
            let author = *author;
            logs.sort_by_key(|(log, _)| conversation.ordinal(&LogKey { author, log: *log }));
        }
        let mut frames = split_heads(heads);
        let last = frames.pop().expect("there is always a last frame");
        let frames = frames.into_iter().map(|authors| (true, authors));
        for (more, authors) in frames.chain([(false, last)]) {
            let conversation = shared;
            self.send(
                id,
                &Frame::Heads {
                    conversation,
                    more,
                    authors,
                },
            );
        }
    }

    pub(super) fn heads(
        &mut self,
        id: SessionId,
        shared: ConversationId,
        more: bool,
        authors: Vec<AuthorHeads>,
    ) -> Result<(), Refusal> {
        let sync = self.sessions.sync_mut(id, shared);
        let sync = sync.ok_or(Refusal::NotShared)?;
        let conversation = self.conversations.at(shared);
        for AuthorHeads { author, logs } in authors {
            if !conversation.may_write(self.identity.id, author) {
                return Err(Refusal::NotAnAuthor);
            }
            for (log, held) in logs {
                let key = LogKey { author, log };
                sync.bodies.note_erased(key, held.erased);
                sync.holdings.add_to_list(key, held.settled)?;
            }
        }
        if more {
            return Ok(());
        }
        let theirs = sync.holdings.take_list();
        let answered = sync
            .heads_sent_at
            .is_some_and(|at| self.now.mono - at < HEADS_EVERY);
        self.holdings_known(id, shared, theirs);
        if !answered {
            let heads = self.authors_heads(id, shared);
            self.send_heads(id, shared, heads);
        }
        Ok(())
    }

    /// The peer's holdings of a conversation are known: notes the receipts in them, sends our own
    /// entries that the peer lacks, and requests what is missing here.
    fn holdings_known(
        &mut self,
        id: SessionId,
        shared: ConversationId,
        theirs: BTreeMap<LogKey, Ranges>,
    ) {
        let own: Vec<_> = theirs
            .iter()
            .filter(|(key, _)| key.author == self.identity.id)
            .map(|(key, ranges)| (key.name(shared), ranges.clone()))
            .collect();
        let holds_nothing = theirs.is_empty();
        let session = self.sessions.at_mut(id);
        let peer = session.peer;
        let first_time = session.replace_holdings(shared, theirs);
        for (name, ranges) in own {
            self.confirm(name, peer, &ranges);
        }
        if first_time {
            self.author_pushes_now(id, shared, peer);
        }
        let conversation = self.conversations.at(shared);
        if first_time && holds_nothing && conversation.is_closed_room() && conversation.has_logs() {
            return self.find_newcomer_cut(id, shared);
        }
        self.handle_postponed(id, shared);
        self.offer_own(id, shared);
        self.request_all_missing(shared);
    }

    /// Until it is known how far back a newcomer may read, nothing is sent to it.
    fn find_newcomer_cut(&mut self, id: SessionId, room: ConversationId) {
        let sync = self.sessions.sync_mut(id, room).expect("it is shared");
        sync.ready = false;
        if sync.cut.is_asked() {
            return;
        }
        let conversation = self.conversations.at(room);
        let ends = conversation
            .logs()
            .filter_map(|(key, log)| log.durable().last().map(|last| (*key, last)));
        sync.cut = NewcomerCut::Asked(ends.collect());
        self.outputs.push_back(Output::FindNewcomerCut {
            session: id,
            conversation: room,
            since_ms: self.now.wall_ms.saturating_sub(NEWCOMER_AGE_MS),
        });
    }

    pub(super) fn newcomer_cut(
        &mut self,
        id: SessionId,
        room: ConversationId,
        cut: &BTreeMap<LogName, Seq>,
    ) {
        let session = self.sessions.at_mut(id);
        let peer = session.peer;
        // The peer may have left the room, and entered it again, before the store answered.
        let Some(sync) = session.syncs.get_mut(&room) else {
            return;
        };
        let NewcomerCut::Asked(ends) = &sync.cut else {
            return;
        };
        // The peer gets its own entries, which it has lost, from the first one on.
        let of_others = ends.iter().filter(|(key, _)| key.author != peer);
        let firsts = of_others.map(|(key, last)| {
            let first = cut.get(&key.name(room)).copied();
            (*key, first.unwrap_or(last + 1))
        });
        sync.cut = NewcomerCut::From(firsts.collect());
        sync.ready = true;
        self.offer_own(id, room);
        let heads = self.authors_heads(id, room);
        self.send_heads(id, room, heads);
        self.handle_postponed(id, room);
        self.request_all_missing(room);
    }

    /// Handles the requests that arrived too early.
    fn handle_postponed(&mut self, id: SessionId, shared: ConversationId) {
        let sync = self.sessions.sync_mut(id, shared).expect("it is shared");
        for (name, from, to) in sync.take_postponed() {
            self.want(id, name, from, to)
                .expect("a request in a conversation that is shared");
        }
    }

    /// Queues all of our own entries that the peer may have and lacks.
    pub(super) fn offer_own(&mut self, id: SessionId, shared: ConversationId) {
        let conversation = self.conversations.at(shared);
        let session = self.sessions.at_mut(id);
        let peer = session.peer;
        let sync = session.syncs.get_mut(&shared).expect("it is shared");
        if !sync.ready {
            return;
        }
        for (key, log) in conversation.logs_of(self.identity.id) {
            let theirs = sync.holdings.of(key);
            let sent = sync.queues.sent_of(key);
            let offer = conversation.offer(peer, key, &sync.cut);
            let mut lacks = offer.minus(&theirs).minus(&sent);
            if conversation.is_closed_room() {
                // A member holds a log from some entry on, and wants nothing older.
                lacks.remove(1, theirs.first().unwrap_or(1) - 1);
            }
            sync.queues.add(log.ordinal, key, &lacks);
        }
        self.serve(id);
    }
}

/// Divides heads into lists that fit a frame each. There is at least one, which may be empty.
fn split_heads(heads: Vec<AuthorHeads>) -> Vec<Vec<AuthorHeads>> {
    let mut frames = vec![Vec::<AuthorHeads>::new()];
    let mut room = FRAME_MAX / 2;
    for AuthorHeads { author, logs } in heads {
        for (log, held) in logs {
            let ranges = held.settled.iter().count() + held.erased.iter().count();
            let bytes = HEAD_BYTES_MAX + AUTHOR_BYTES_MAX + 18 * ranges;
            if bytes > room {
                frames.push(Vec::new());
                room = FRAME_MAX / 2;
            }
            room -= bytes;
            push_head(frames.last_mut().expect("never empty"), author, log, held);
        }
    }
    frames
}

/// Adds a log to heads that are sorted by author.
fn push_head(heads: &mut Vec<AuthorHeads>, author: PeerId, log: LogId, held: Holding) {
    match heads.last_mut().filter(|last| last.author == author) {
        Some(last) => last.logs.push((log, held)),
        None => heads.push(AuthorHeads {
            author,
            logs: vec![(log, held)],
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::events::Input;
    use super::super::testing::{
        Author, Bench, ME, announced, batches, closed_room, compared, delivered, direct,
        direct_record, frames, lamports, open_room, pages, peer, reads, refusals, room_record,
        wants,
    };
    use super::*;
    use crate::commit::Loaded;

    const BOB: u8 = 2;
    const CAROL: u8 = 3;

    /// A node in the room with a secret, which holds this log of it.
    fn in_closed_room(log: &Author) -> Bench {
        Bench::load(Loaded {
            conversations: vec![room_record(false)],
            logs: vec![log.stored(1)],
            ..Loaded::default()
        })
    }

    fn cuts_asked(outputs: &[Output]) -> usize {
        let is_cut = |output: &&Output| matches!(output, Output::FindNewcomerCut { .. });
        outputs.iter().filter(is_cut).count()
    }

    fn cut(bench: &mut Bench, firsts: &[(LogName, Seq)]) -> Vec<Output> {
        let firsts = firsts.iter().copied().collect();
        bench.settle(Input::NewcomerCut(SessionId(1), closed_room(), firsts))
    }

    #[test]
    fn a_session_begins_with_a_digest_of_each_shared_conversation() {
        let mut bench = Bench::new();
        assert_eq!(compared(&bench.connect(1, BOB), 1), [direct(BOB)]);
        bench.join(false);
        let outputs = bench.meet_in(1, closed_room(), &[]);
        assert_eq!(compared(&outputs, 1), [closed_room()]);
    }

    #[test]
    fn ends_that_hold_the_same_exchange_digests_only() {
        let mut bob = Author::new(BOB, direct(BOB));
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        bench.batch(1, bob.write(&["a", "b"]));
        bench.hang_up(1, true);
        let again = bench.connect_only(1, BOB);
        let [Frame::Digest(_, digest)] = frames(&again, 1)[..] else {
            panic!("a digest: {again:?}")
        };
        let agreed = bench.frame(1, Frame::Digest(direct(BOB), digest));
        assert_eq!(frames(&agreed, 1), []);
        // Bob is known to hold these entries, so they are not sent to him.
        assert_eq!(reads(&bench.want(1, bob.name, 1, None), 1), []);
    }

    #[test]
    fn where_the_digests_differ_both_ends_send_heads() {
        let mut bob = Author::new(BOB, direct(BOB));
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        bench.batch(1, bob.write(&["a", "b"]));
        bench.hang_up(1, true);
        bench.connect_only(1, BOB);
        let hash = [1; 32];
        let digest = Frame::Digest(direct(BOB), Digest { hash, clock: 0 });
        let outputs = bench.frame(1, digest);
        assert_eq!(announced(&outputs, 1), [(bob.name, Ranges::span(1, 2))]);
        // Bob's heads answer ours. They are not answered again.
        let outputs = bench.heads(1, direct(BOB), &[(bob.name, Ranges::span(1, 3))]);
        assert_eq!(announced(&outputs, 1), []);
    }

    #[test]
    fn heads_are_answered_at_most_every_five_seconds() {
        let mut bob = Author::new(BOB, direct(BOB));
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        bench.batch(1, bob.write(&["a"]));
        let held = [(bob.name, Ranges::span(1, 1))];
        assert_eq!(announced(&bench.heads(1, direct(BOB), &[]), 1), []);
        bench.wait(HEADS_EVERY);
        assert_eq!(announced(&bench.heads(1, direct(BOB), &[]), 1), held);
        assert_eq!(announced(&bench.heads(1, direct(BOB), &[]), 1), []);
    }

    #[test]
    fn heads_show_what_was_delivered_and_what_is_missing() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        bench.append(direct(BOB), "a");
        let (own, bob) = (bench.own_log(direct(BOB)), Author::new(BOB, direct(BOB)));
        let outputs = bench.heads(
            1,
            direct(BOB),
            &[(own, Ranges::span(1, 1)), (bob.name, Ranges::span(1, 4))],
        );
        assert_eq!(delivered(&outputs), [(own, peer(BOB), Ranges::span(1, 1))]);
        // Bob himself sends his entries. If he does not, they are requested.
        assert_eq!(wants(&outputs, 1), []);
        let later = bench.wait(Duration::from_secs(1));
        assert_eq!(wants(&later, 1), [(bob.name, 1, None)]);
    }

    #[test]
    fn own_entries_that_the_peer_lacks_are_sent() {
        let mut own = Author::with_log(ME, direct(BOB), 9);
        let written = own.write(&["a", "b", "c"]);
        let mut bench = Bench::load(Loaded {
            conversations: vec![direct_record(BOB)],
            logs: vec![own.stored(1)],
            ..Loaded::default()
        });
        let outputs = bench.connect(1, BOB);
        assert_eq!(reads(&outputs, 1), [(own.name, 1, 3)]);
        let outputs = bench.read(1, own.name, vec![written]);
        assert_eq!(batches(&outputs, 1), [(own.name, 1, 3)]);
        // They are not sent twice on one session.
        let again = bench.heads(1, direct(BOB), &[]);
        assert_eq!((reads(&again, 1), batches(&again, 1)), (vec![], vec![]));
    }

    #[test]
    fn a_list_in_pages_counts_when_it_is_complete() {
        let mut bench = Bench::new();
        bench.join(false);
        bench.connect(1, BOB);
        bench.share_room(1, closed_room());
        let carol = Author::new(CAROL, closed_room());
        let page = |more, logs| Frame::Heads {
            conversation: closed_room(),
            more,
            authors: vec![AuthorHeads {
                author: peer(CAROL),
                logs,
            }],
        };
        let first = bench.frame(1, page(true, vec![(LogId(1), Ranges::span(1, 2).into())]));
        assert_eq!(wants(&first, 1), []);
        let last = bench.frame(1, page(false, vec![(LogId(2), Ranges::span(1, 2).into())]));
        let newer = Author::with_log(CAROL, closed_room(), 2);
        assert_eq!(
            wants(&last, 1),
            [(carol.name, 1, None), (newer.name, 1, None)]
        );
    }

    #[test]
    fn heads_of_a_third_party_or_a_foreign_room_are_refused() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        let carol = Author::new(CAROL, direct(BOB));
        let outputs = bench.heads(1, direct(BOB), &[(carol.name, Ranges::span(1, 1))]);
        assert_eq!(refusals(&outputs), [Refusal::NotAnAuthor]);
        let outputs = bench.heads(1, closed_room(), &[]);
        assert_eq!(refusals(&outputs), [Refusal::NotShared]);
    }

    #[test]
    fn an_authors_older_log_is_announced_first() {
        let mut older = Author::with_log(BOB, closed_room(), 9);
        let mut newer = Author::with_log(BOB, closed_room(), 4);
        older.write(&["a"]);
        newer.write(&["b"]);
        let mut bench = Bench::load(Loaded {
            conversations: vec![room_record(false)],
            logs: vec![older.stored(1), newer.stored(2)],
            ..Loaded::default()
        });
        bench.connect(1, CAROL);
        let held = [(older.name, Ranges::span(1, 1))];
        let outputs = bench.meet_in(1, closed_room(), &held);
        let names: Vec<_> = announced(&outputs, 1)
            .iter()
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(names, [older.name, newer.name]);
    }

    #[test]
    fn many_logs_take_several_frames() {
        let logs: Vec<_> = (1..=2_000)
            .map(|n| {
                let mut log = Author::with_log(CAROL, closed_room(), n);
                log.write(&["x"]);
                log.stored(n)
            })
            .collect();
        let mut bench = Bench::load(Loaded {
            conversations: vec![room_record(false)],
            logs,
            ..Loaded::default()
        });
        bench.connect(1, BOB);
        bench.share_room(1, closed_room());
        let other = Author::with_log(CAROL, closed_room(), 1);
        let outputs = bench.heads(1, closed_room(), &[(other.name, Ranges::span(1, 1))]);
        assert_eq!(announced(&outputs, 1).len(), 2_000);
        let more = pages(&outputs, 1);
        let (last, earlier) = more.split_last().expect("a list has a last page");
        assert!(!last && !earlier.is_empty() && earlier.iter().all(|more| *more));
    }

    // The clock.

    #[test]
    fn a_message_comes_after_all_that_the_peer_has_seen() {
        let mut bench = Bench::new();
        bench.connect_only(1, BOB);
        let digest = |clock| {
            let hash = AuthorHeads::digest(&[]);
            Frame::Digest(direct(BOB), Digest { hash, clock })
        };
        bench.frame(1, digest(40));
        // A peer moves the clock once in a session.
        bench.frame(1, digest(90));
        let outputs = bench.append(direct(BOB), "a");
        assert_eq!(lamports(&outputs), [41]);
    }

    #[test]
    fn a_digest_may_arrive_before_the_room_is_known_to_be_shared() {
        let mut bob = Author::new(BOB, closed_room());
        bob.write(&["a"]);
        let mut bench = in_closed_room(&bob);
        bench.connect(1, BOB);
        let hash = [1; 32];
        let digest = Frame::Digest(closed_room(), Digest { hash, clock: 0 });
        let early = bench.frame(1, digest);
        assert_eq!(refusals(&early), [Refusal::NotShared]);
        let outputs = bench.share_room(1, closed_room());
        assert_eq!(announced(&outputs, 1), [(bob.name, Ranges::span(1, 1))]);
    }

    // Newcomers.

    #[test]
    fn a_newcomer_reads_the_end_of_the_history() {
        let mut carol = Author::new(CAROL, closed_room());
        let old = carol.write(&["a", "b"]);
        let new = carol.write(&["c", "d"]);
        let mut bench = in_closed_room(&carol);
        bench.connect(1, BOB);
        let outputs = bench.meet_in(1, closed_room(), &[]);
        assert_eq!(cuts_asked(&outputs), 1);
        // Until the store has answered, a request waits.
        let outputs = bench.want(1, carol.name, 1, None);
        assert_eq!(reads(&outputs, 1), []);
        let outputs = cut(&mut bench, &[(carol.name, 3)]);
        assert_eq!(announced(&outputs, 1), [(carol.name, Ranges::span(3, 4))]);
        assert_eq!(reads(&outputs, 1), [(carol.name, 3, 4)]);
        let outputs = bench.read(1, carol.name, vec![old, new]);
        assert_eq!(batches(&outputs, 1), [(carol.name, 3, 4)]);
    }

    #[test]
    fn a_newcomer_reads_entries_of_the_last_week() {
        let mut carol = Author::new(CAROL, closed_room());
        carol.write(&["a"]);
        let mut bench = in_closed_room(&carol);
        bench.connect(1, BOB);
        let outputs = bench.meet_in(1, closed_room(), &[]);
        let mut since = Vec::new();
        for output in &outputs {
            if let Output::FindNewcomerCut { since_ms, .. } = output {
                since.push(Duration::from_millis(bench.now.wall_ms - since_ms));
            }
        }
        assert_eq!(since, [Duration::from_secs(7 * 24 * 3600)]);
    }

    #[test]
    fn a_peer_is_a_newcomer_once_in_a_session() {
        let mut carol = Author::new(CAROL, closed_room());
        carol.write(&["a"]);
        let mut bench = in_closed_room(&carol);
        bench.connect(1, BOB);
        bench.meet_in(1, closed_room(), &[]);
        cut(&mut bench, &[(carol.name, 1)]);
        let again = bench.heads(1, closed_room(), &[]);
        assert_eq!(cuts_asked(&again), 0);
    }

    #[test]
    fn a_newcomer_reads_nothing_of_a_log_that_ended_long_ago() {
        let mut carol = Author::new(CAROL, closed_room());
        carol.write(&["a", "b"]);
        let mut bench = in_closed_room(&carol);
        bench.connect(1, BOB);
        bench.meet_in(1, closed_room(), &[]);
        let outputs = cut(&mut bench, &[]);
        assert_eq!(announced(&outputs, 1), []);
        assert_eq!(reads(&bench.want(1, carol.name, 1, None), 1), []);
    }

    #[test]
    fn a_member_that_lost_its_disk_gets_its_own_entries_back() {
        let mut bob = Author::new(BOB, closed_room());
        bob.write(&["a", "b"]);
        let mut bench = in_closed_room(&bob);
        bench.connect(1, BOB);
        bench.meet_in(1, closed_room(), &[]);
        let outputs = cut(&mut bench, &[]);
        assert_eq!(announced(&outputs, 1), [(bob.name, Ranges::span(1, 2))]);
        let outputs = bench.want(1, bob.name, 1, None);
        assert_eq!(reads(&outputs, 1), [(bob.name, 1, 2)]);
    }

    #[test]
    fn a_newcomer_gets_own_entries_from_the_cut_on() {
        let mut own = Author::with_log(ME, closed_room(), 9);
        own.write(&["a", "b", "c"]);
        let mut bench = in_closed_room(&own);
        bench.connect(1, BOB);
        let outputs = bench.meet_in(1, closed_room(), &[]);
        assert_eq!(reads(&outputs, 1), []);
        let outputs = cut(&mut bench, &[(own.name, 2)]);
        assert_eq!(reads(&outputs, 1), [(own.name, 2, 3)]);
    }

    #[test]
    fn a_peer_that_holds_a_part_of_the_room_is_no_newcomer() {
        let mut carol = Author::new(CAROL, closed_room());
        carol.write(&["a", "b"]);
        let mut bench = in_closed_room(&carol);
        bench.connect(1, BOB);
        let held = [(carol.name, Ranges::span(2, 2))];
        let outputs = bench.meet_in(1, closed_room(), &held);
        assert_eq!(cuts_asked(&outputs), 0);
        assert_eq!(announced(&outputs, 1), [(carol.name, Ranges::span(1, 2))]);
    }

    #[test]
    fn open_rooms_and_empty_rooms_have_no_cut() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        bench.join(false);
        assert_eq!(cuts_asked(&bench.meet_in(1, closed_room(), &[])), 0);
        bench.join(true);
        bench.append(open_room(), "a");
        bench.connect(2, CAROL);
        assert_eq!(cuts_asked(&bench.meet_in(2, open_room(), &[])), 0);
    }

    #[test]
    fn a_cut_for_a_newcomer_that_has_left_again_is_dropped() {
        let mut carol = Author::new(CAROL, closed_room());
        carol.write(&["a"]);
        let mut bench = in_closed_room(&carol);
        bench.connect(1, BOB);
        bench.meet_in(1, closed_room(), &[]);
        bench.settle(Input::SessionRooms(SessionId(1), [].into()));
        assert_eq!(frames(&cut(&mut bench, &[(carol.name, 1)]), 1), []);
    }
}
