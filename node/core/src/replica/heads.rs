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
