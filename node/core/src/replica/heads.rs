//! The comparison of what two ends hold: a digest first, heads where the digests differ. And
//! how far back a newcomer to a room with a secret may read.

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob_protocol::frame::{AuthorHeads, Digest, FRAME_MAX};
use hobnob_protocol::{ConversationId, Frame, Holding, LogName, PersonId, Seq};

use super::cut::NewcomerCut;
use super::events::Output;
use super::heads_to_send::PageEnd;
use super::log_key::LogKey;
use super::refusal::Refusal;
use super::session_sync::SessionSync;
use super::state::Replica;
use super::timers::Timer;
use crate::SessionId;

/// A newcomer to a room with a secret receives at most this many of its last entries …
pub const NEWCOMER_ENTRIES: usize = 500;

/// … and none older than this.
pub const NEWCOMER_AGE_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// Heads are not repeated to one session within this time.
const HEADS_EVERY: Duration = Duration::from_secs(5);

/// While a peer has announced more logs than are remembered, it is asked for more this often.
const MORE_HEADS_AFTER: Duration = Duration::from_secs(5);

/// Maximum encoded size of one log with one range in a Heads frame; and of an author with a device.
const HEAD_BYTES_MAX: usize = 9 + 3 + 18;
const AUTHOR_BYTES_MAX: usize = 32 + 33 + 9;

impl Replica {
    /// Everything that may be sent on a session, sorted by author and log.
    fn authors_heads(&self, id: SessionId, shared: ConversationId) -> Vec<AuthorHeads> {
        let conversation = self.conversations.at(shared);
        let mut authors: Vec<AuthorHeads> = Vec::new();
        for (key, _) in conversation.logs() {
            let held = self.may_tell(id, shared, key);
            if !held.settled.is_empty() {
                push_head(&mut authors, key, held.for_frame());
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
            let session = self.sessions.at_mut(id);
            session.replace_holdings(shared, BTreeMap::new());
            self.holdings_known(id, shared);
        }
        if AuthorHeads::digest(&heads) != digest.hash {
            // A newcomer gets heads when it is known what it may read.
            let sync = self.sessions.sync(id, shared).expect("found above");
            if sync.ready || !holds_nothing {
                self.send_heads(id, shared);
            }
            return Ok(());
        }
        // The peer holds the entries that the digest covers. It may hold more: entries that were
        // withheld from it, or that did not fit a frame.
        let same = heads.into_iter().flat_map(|of| {
            let AuthorHeads {
                author,
                device,
                logs,
            } = of;
            let key = move |log| LogKey {
                author,
                device,
                log,
            };
            let logs = logs.into_iter();
            logs.map(move |(log, held)| (key(log), held.settled))
        });
        let same = same.collect();
        let session = self.sessions.at_mut(id);
        session.replace_holdings(shared, same);
        self.holdings_known(id, shared);
        Ok(())
    }

    /// Sends all heads, in pages as fast as the peer reads.
    fn send_heads(&mut self, id: SessionId, shared: ConversationId) {
        let sync = self.sessions.sync_mut(id, shared).expect("it is shared");
        sync.heads.begin(self.now.mono);
        self.send_pages(id, shared);
    }

    /// Sends the next pages of all lists of heads, if the peer reads fast enough.
    pub(super) fn go_on_with_heads(&mut self, id: SessionId) {
        let session = self.sessions.at(id);
        let under_way = |sync: &SessionSync| sync.heads.next_page().is_some();
        let syncs = session.syncs.iter().filter(|(_, sync)| under_way(sync));
        for shared in syncs.map(|(shared, _)| *shared).collect::<Vec<_>>() {
            self.send_pages(id, shared);
        }
    }

    fn send_pages(&mut self, id: SessionId, shared: ConversationId) {
        while self.sessions.at(id).may_send_more() {
            let sync = self.sessions.sync(id, shared).expect("it is shared");
            let Some(after) = sync.heads.next_page() else {
                return;
            };
            let (authors, end) = self.page(id, shared, after);
            let sync = self.sessions.sync_mut(id, shared).expect("it is shared");
            sync.heads.page_sent(end);
            let frame = Frame::Heads {
                conversation: shared,
                more: end.is_some(),
                authors,
            };
            self.send(id, &frame);
        }
    }

    /// The heads that follow this log and fit a frame, and the last of them if there are more.
    ///
    /// Digests are made of logs in the order of their names. Peers request logs in the order of the
    /// heads, so here an author's older logs come first.
    fn page(
        &self,
        id: SessionId,
        shared: ConversationId,
        after: Option<PageEnd>,
    ) -> (Vec<AuthorHeads>, Option<PageEnd>) {
        let conversation = self.conversations.at(shared);
        let (mut heads, mut end, mut room) = (Vec::new(), after, FRAME_MAX / 2);
        let first = PersonId::from_bytes([0; 32]);
        let mut next = Some(after.map_or(first, |(author, _)| author));
        while let Some(author) = next {
            let mut logs: Vec<_> = conversation.logs_of(author).collect();
            logs.sort_by_key(|(_, log)| log.ordinal);
            for (key, log) in logs {
                let at = (author, log.ordinal);
                if end.is_some_and(|end| at.0 == end.0 && at.1 <= end.1) {
                    continue;
                }
                let held = self.may_tell(id, shared, key).for_frame();
                if held.settled.is_empty() {
                    continue;
                }
                let ranges = held.settled.iter().count() + held.erased.iter().count();
                let bytes = HEAD_BYTES_MAX + AUTHOR_BYTES_MAX + 18 * ranges;
                if bytes > room {
                    return (heads, end);
                }
                room -= bytes;
                push_head(&mut heads, key, held);
                end = Some(at);
            }
            let mut later = conversation.logs_from(author);
            next = later
                .find(|(key, _)| key.author > author)
                .map(|(key, _)| key.author);
        }
        (heads, None)
    }

    pub(super) fn heads(
        &mut self,
        id: SessionId,
        shared: ConversationId,
        more: bool,
        authors: Vec<AuthorHeads>,
    ) -> Result<(), Refusal> {
        self.sessions.sync(id, shared).ok_or(Refusal::NotShared)?;
        let conversation = self.conversations.at(shared);
        let me = self.identity.id;
        let mut known = Vec::with_capacity(authors.len());
        let mut skipped = None;
        for of in authors {
            match conversation.may_write(me, &LogKey::of_heads(&of), None) {
                Ok(()) => known.push(of),
                // A newer version may know how to check it, and the other logs are of use.
                Err(refusal @ Refusal::NoCertificate) => skipped = Some(refusal),
                Err(refusal) => return Err(refusal),
            }
        }
        if let Some(refusal) = skipped {
            self.outputs.push_back(Output::Refused(id, None, refusal));
        }
        let is_held = |key: &LogKey| conversation.log(key).is_some();
        let session = self.sessions.at_mut(id);
        session.list_holdings(shared, known, more, is_held);
        if more {
            return Ok(());
        }
        let sync = self.sessions.sync(id, shared).expect("found above");
        let answered = sync.heads.began_within(HEADS_EVERY, self.now.mono);
        if sync.holdings.is_cut() {
            self.arm(Timer::MoreHeads, MORE_HEADS_AFTER);
        }
        self.holdings_known(id, shared);
        if !answered {
            self.send_heads(id, shared);
        }
        Ok(())
    }

    /// Some peers announced more logs than are remembered at a time. Once most of these have been
    /// fetched, a digest makes such a peer send its heads again.
    pub(super) fn ask_for_more_heads(&mut self) {
        let is_cut = |sync: &SessionSync| sync.holdings.is_cut();
        let cut = self.sessions.iter().flat_map(|(id, session)| {
            let syncs = session.syncs.iter().filter(|(_, sync)| is_cut(sync));
            syncs.map(move |(shared, _)| (id, *shared))
        });
        for (id, shared) in cut.collect::<Vec<_>>() {
            let conversations = &self.conversations;
            let session = self.sessions.at_mut(id);
            let has_room = session.recount(|of, key| conversations.at(of).log(key).is_some());
            if has_room && session.may_send_more() {
                self.send_digest(id, shared);
            }
            self.arm(Timer::MoreHeads, MORE_HEADS_AFTER);
        }
    }

    /// The peer's holdings of a conversation are known: notes the receipts in them, sends our own
    /// entries that the peer lacks, and requests what is missing here.
    fn holdings_known(&mut self, id: SessionId, shared: ConversationId) {
        let me = self.identity.id;
        let session = self.sessions.at_mut(id);
        let peer = session.peer;
        let sync = session.syncs.get_mut(&shared).expect("it is shared");
        let first_time = !std::mem::replace(&mut sync.ready, true);
        let holds_nothing = sync.holdings.is_empty();
        let own = sync.holdings.logs_of(me);
        let own: Vec<_> = own
            .map(|(key, ranges)| (key.name(shared), ranges.clone()))
            .collect();
        for (name, ranges) in own {
            self.confirm(name, peer, &ranges);
        }
        if first_time {
            self.author_pushes_now(id, shared, peer.person());
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
        let peer = session.person();
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
        self.send_heads(id, room);
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
        let peer = session.person();
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

/// Adds a log to heads that are sorted by author.
fn push_head(heads: &mut Vec<AuthorHeads>, key: &LogKey, held: Holding) {
    let LogKey {
        author,
        device,
        log,
    } = *key;
    let is_same = |last: &&mut AuthorHeads| (last.author, last.device) == (author, device);
    match heads.last_mut().filter(is_same) {
        Some(last) => last.logs.push((log, held)),
        None => heads.push(AuthorHeads {
            author,
            device,
            logs: vec![(log, held)],
        }),
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::{LogId, Ranges};

    use super::super::events::Input;
    use super::super::testing::{
        Author, Bench, ME, announced, batches, closed_room, compared, delivered, direct,
        direct_record, frames, lamports, open_room, pages, peer, reads, refusals, room_record,
        wants,
    };
    use super::*;
    use crate::commit::{AudienceId, Loaded, LogRecord, Run};

    const BOB: u8 = 2;
    const CAROL: u8 = 3;

    #[test]
    fn the_longest_heads_have_the_sizes_that_pages_are_made_by() {
        let log = |n| {
            (
                LogId(u64::MAX),
                Holding::from(Ranges::span(n, u64::MAX - 2)),
            )
        };
        let size = |authors: &[AuthorHeads]| hobnob_protocol::codec::encode(&authors).len();
        let author = |logs| AuthorHeads {
            author: peer(BOB),
            device: peer(CAROL).only_device(),
            logs,
        };
        let (none, one) = (size(&[author(vec![])]), size(&[author(vec![log(1 << 40)])]));
        assert!(one - none <= HEAD_BYTES_MAX, "{}", one - none);
        assert!(none - size(&[]) <= AUTHOR_BYTES_MAX, "{none}");
        assert_eq!(NEWCOMER_AGE_MS, 604_800_000);
    }

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
                device: peer(CAROL).only_device(),
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
        let outputs = pages_of(logs);
        assert_eq!(announced(&outputs, 1).len(), 2_000);
        let more = pages(&outputs, 1);
        let (last, earlier) = more.split_last().expect("a list has a last page");
        assert!(!last && !earlier.is_empty() && earlier.iter().all(|more| *more));
    }

    /// How many logs each page of heads for session 1 has.
    fn page_sizes(outputs: &[Output]) -> Vec<usize> {
        let mut sizes = Vec::new();
        for frame in frames(outputs, 1) {
            if let Frame::Heads { authors, .. } = frame {
                sizes.push(authors.iter().map(|of| of.logs.len()).sum());
            }
        }
        sizes
    }

    /// The log of an author with this many ranges of entries, of which the first ones are erased.
    fn log_with_ranges(author: u8, log: u64, ordinal: u64, ranges: Seq, erased: Seq) -> LogRecord {
        let mut author = Author::with_log(author, closed_room(), log);
        author.skip_to(2 * ranges - 1);
        let mut stored = author.stored(ordinal);
        let seqs = (0..ranges).map(|n| 2 * n + 1);
        let run = |seq| Run {
            first: seq,
            last: seq,
            audience: AudienceId::MEMBERS,
        };
        stored.runs = seqs.clone().map(run).collect();
        for seq in seqs.take(usize::try_from(erased).expect("few")) {
            stored.erased.insert(seq, seq);
        }
        stored
    }

    /// A session with a member of the room that lacks these logs. Returns our heads.
    fn pages_of(logs: Vec<LogRecord>) -> Vec<Output> {
        let one = (logs[0].name, Ranges::span(1, 1));
        let mut bench = Bench::load(Loaded {
            conversations: vec![room_record(false)],
            logs,
            ..Loaded::default()
        });
        bench.connect(1, BOB);
        bench.share_room(1, closed_room());
        bench.heads(1, closed_room(), &[one])
    }

    #[test]
    fn a_page_is_filled_to_the_last_byte() {
        // 64 ranges of entries and 44 of erased ones are a sixteenth of a page.
        let (ranges, erased) = (64, 44);
        assert_eq!(HEAD_BYTES_MAX + AUTHOR_BYTES_MAX + 18 * (64 + 44), 2_048);
        assert_eq!(FRAME_MAX / 2, 16 * 2_048);
        let log = |n: u64| {
            let author = CAROL + u8::try_from(n / 11).expect("small");
            log_with_ranges(author, n, n + 1, ranges, erased)
        };
        let outputs = pages_of((0..33).map(log).collect());
        assert_eq!(page_sizes(&outputs), [16, 16, 1]);
        assert_eq!(pages(&outputs, 1), [true, true, false]);
        let mut names: Vec<_> = announced(&outputs, 1).iter().map(|of| of.0).collect();
        assert_eq!(names.len(), 33);
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 33, "each log is in one page");
    }

    #[test]
    fn each_range_takes_room_in_a_page() {
        let full = |ranges: u64, erased: u64| {
            let log = |n| log_with_ranges(CAROL, n, n + 1, ranges, erased);
            let outputs = pages_of((0..300).map(log).collect());
            page_sizes(&outputs)[0]
        };
        let fitting = |ranges: usize| FRAME_MAX / 2 / (30 + 74 + 18 * ranges);
        assert_eq!(full(1, 0), fitting(1));
        assert_eq!(full(7, 0), fitting(7));
        assert_eq!(full(7, 5), fitting(12));
    }

    #[test]
    fn a_page_with_the_longest_heads_fits_a_frame() {
        let log = |n: u64| log_with_ranges(CAROL, n, n + 1, 64, 64);
        let outputs = pages_of((0..40).map(log).collect());
        assert_eq!(announced(&outputs, 1).len(), 40);
        for frame in frames(&outputs, 1) {
            assert!(frame.encode().len() <= FRAME_MAX);
        }
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

#[cfg(test)]
mod many_logs {
    use hobnob_protocol::{Batch, Ranges};

    use super::super::events::Input;
    use super::super::holdings::LOGS_ANNOUNCED_MAX;
    use super::super::testing::{Author, Bench, ME, closed_room, peer, room_record};
    use super::*;
    use crate::commit::{AudienceId, Loaded, LogRecord, Run};
    use crate::source_network::SourceNetwork;

    const BOB: u8 = 2;

    /// A member of the room with a secret, whose store has a log of one entry for each of these
    /// batches.
    fn member(n: u8, batches: &[Batch]) -> Bench {
        let record = |(batch, ordinal): (&Batch, u64)| {
            let checked = batch.clone().read().expect("well formed");
            LogRecord {
                name: batch.name,
                ordinal,
                brought_by: None,
                bytes: 0,
                runs: vec![Run {
                    first: 1,
                    last: 1,
                    audience: AudienceId::MEMBERS,
                }],
                head: (1, checked.head()),
                edges: vec![(0, batch.prev), (1, checked.head())],
                erased: Ranges::new(),
                unsettled: Ranges::new(),
            }
        };
        Bench::of(
            n,
            Loaded {
                conversations: vec![room_record(false)],
                logs: batches.iter().zip(1..).map(record).collect(),
                ..Loaded::default()
            },
        )
    }

    /// Delivers everything between two members for this many seconds, beginning with these outputs.
    /// Returns the most bytes of heads that were under way at once.
    fn talk(
        members: &mut [Bench; 2],
        stores: [&[Batch]; 2],
        mut waiting: Vec<(usize, Output)>,
        seconds: u64,
    ) -> usize {
        let mut most = 0;
        for _ in 0..seconds * 4 {
            while !waiting.is_empty() {
                let heads = waiting.iter().map(|(_, output)| bytes_of_heads(output));
                most = heads.sum::<usize>().max(most);
                let mut next = Vec::new();
                for (at, output) in waiting {
                    for (to, input) in arrivals(at, output, stores[at]) {
                        let outputs = members[to].settle(input);
                        next.extend(outputs.into_iter().map(|output| (to, output)));
                    }
                }
                waiting = next;
            }
            for (at, member) in members.iter_mut().enumerate() {
                let outputs = member.wait(Duration::from_millis(250));
                waiting.extend(outputs.into_iter().map(|output| (at, output)));
            }
        }
        most
    }

    fn bytes_of_heads(output: &Output) -> usize {
        if let Output::Send(_, bytes) = output
            && let Ok(Frame::Heads { .. }) = Frame::decode(bytes)
        {
            bytes.len()
        } else {
            0
        }
    }

    /// The inputs that an output of one member causes: the frame arrives, and it was written.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the bench has answered all other outputs"
    )]
    fn arrivals(at: usize, output: Output, store: &[Batch]) -> Vec<(usize, Input)> {
        let session = SessionId(1);
        match output {
            Output::Send(_, bytes) => {
                let frame = Frame::decode(&bytes).expect("well formed");
                let written = Input::FramesWritten(session, bytes.len());
                vec![(1 - at, Input::Frame(session, frame)), (at, written)]
            }
            Output::SendBatch(_, bytes) => {
                let Ok(Frame::Batch(batch)) = Frame::decode(&bytes) else {
                    panic!("not a batch");
                };
                let written = Input::BatchesWritten(session, bytes.len());
                vec![(1 - at, Input::Batch(session, batch)), (at, written)]
            }
            Output::Read { name, .. } => {
                let of_log = store.iter().find(|batch| batch.name == name);
                let batches = of_log.cloned().into_iter().collect();
                vec![(at, Input::Read(session, name, Ok(batches)))]
            }
            _ => Vec::new(),
        }
    }

    /// The two members have a session. Returns their first outputs.
    fn connect(members: &mut [Bench; 2]) -> Vec<(usize, Output)> {
        let peers = [peer(BOB), peer(ME)];
        for (member, peer) in members.iter_mut().zip(peers) {
            let source = SourceNetwork(1);
            member.settle(Input::SessionUp(
                SessionId(1),
                peer.only_device(),
                None,
                source,
            ));
        }
        let mut outputs = Vec::new();
        for (at, member) in members.iter_mut().enumerate() {
            let rooms = Input::SessionRooms(SessionId(1), [closed_room()].into());
            outputs.extend(member.settle(rooms).into_iter().map(|output| (at, output)));
        }
        outputs
    }

    fn logs(member: &Bench) -> usize {
        let conversation = member.replica.conversations.at(closed_room());
        conversation.logs().count()
    }

    #[test]
    fn all_logs_arrive_even_if_there_are_more_than_are_remembered_at_a_time() {
        let count = LOGS_ANNOUNCED_MAX / 2 + 700;
        let write = |(author, log)| Author::with_log(author, closed_room(), log).write(&["x"]);
        let ids = (0..count as u64).map(|n| (u8::try_from(3 + n % 40).expect("small"), n));
        let all: Vec<_> = ids.map(write).collect();
        // Bob is no newcomer: he has some of the logs.
        let (some, _) = all.split_at(10);
        let mut members = [member(ME, &all), member(BOB, some)];
        let first = connect(&mut members);
        let most = talk(&mut members, [&all, some], first, 20);
        assert_eq!(logs(&members[1]), count);
        assert!(most < 512 * 1024, "{most} bytes of heads at once");
    }
}
