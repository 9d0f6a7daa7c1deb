//! The sessions of the node: connections with peers, after both Hellos.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound::{Included, Unbounded};
use std::time::Duration;

use bytes::Bytes;
use hobnob_protocol::frame::{AuthorHeads, Digest, ROOMS_MAX};
use hobnob_protocol::{ConversationId, DeviceId, Frame, LogName, PersonId, Ranges, Seq};

use super::budget::Budget;
use super::events::Output;
use super::holdings::LOGS_ANNOUNCED_MAX;
use super::log_key::LogKey;
use super::outgoing::{FairKey, Outgoing};
use super::session_sync::SessionSync;
use crate::SessionId;
use crate::commit::NetworkId;
use crate::source_network::SourceNetwork;

/// Maximum bytes of frames that are not written yet. Above this, a session gets only frames that it
/// can't do without.
const FRAMES_OUTSTANDING_MAX: usize = 256 * 1024;

/// A session as the replica sees it.
#[derive(Debug)]
pub(super) struct Session {
    id: SessionId,
    /// The device at the other end.
    pub(super) peer: DeviceId,
    /// Where the peer connects from.
    pub(super) source: SourceNetwork,
    /// The conversations that both ends share.
    pub(super) syncs: BTreeMap<ConversationId, SessionSync>,
    pub(super) outgoing: Outgoing,
    /// Bytes of other frames that were handed out and not yet written.
    frames_outstanding: usize,
    /// Limits the entries that the peer pushes.
    pub(super) budget: Budget,
    /// How many logs, and ranges of them, the peer has announced in all conversations.
    announced: usize,
    /// Digests of rooms that arrived before this end knew that it shares them.
    early_digests: BTreeMap<ConversationId, Digest>,
    /// The network by which the peer is reached. `None` for a relay.
    pub(super) network: Option<NetworkId>,
    /// Whether the peer has answered since the node left another network by which it was reached.
    pub(super) heard: bool,
    /// Whether frames travel in envelopes, and about what. They are `held` when a holder has them, and
    /// never `sent`.
    pub(super) by_mail: Option<ByMail>,
}

/// The conversation of a session by mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ByMail {
    /// The direct one.
    Direct,
    /// A room with a key. The peer is not present in it, and nothing is requested from it: others have
    /// what the peer wrote, and answer sooner.
    Room,
}

impl Session {
    pub(super) fn new(
        id: SessionId,
        peer: DeviceId,
        (network, source): (Option<NetworkId>, SourceNetwork),
        heard: bool,
        now: Duration,
    ) -> Self {
        Self {
            id,
            peer,
            source,
            syncs: BTreeMap::new(),
            outgoing: Outgoing::default(),
            frames_outstanding: 0,
            budget: Budget::new(now),
            announced: 0,
            early_digests: BTreeMap::new(),
            network,
            heard,
            by_mail: None,
        }
    }

    /// The person at the other end.
    pub(super) fn person(&self) -> PersonId {
        self.peer.person()
    }

    // Frames.

    /// Hands a frame to the session's control stream.
    pub(super) fn send(&mut self, frame: &Frame, outputs: &mut VecDeque<Output>) {
        let bytes = frame.encode();
        self.frames_outstanding += bytes.len();
        outputs.push_back(Output::Send(self.id, bytes));
    }

    /// Whether the peer reads fast enough to get frames that it can do without.
    pub(super) fn may_send_more(&self) -> bool {
        self.frames_outstanding < FRAMES_OUTSTANDING_MAX
    }

    /// Bytes were written to the control stream. The engine's own frames, such as pings, share the
    /// stream and are among them.
    pub(super) fn frames_written(&mut self, bytes: usize) {
        self.frames_outstanding = self.frames_outstanding.saturating_sub(bytes);
    }

    // Batches.

    /// The next range to send: authors and conversations take turns, and the logs of one author are
    /// sent one after another.
    pub(super) fn next_to_send(&mut self) -> Option<(LogName, Seq, Seq)> {
        if !self.outgoing.is_open() {
            return None;
        }
        let after_last = self.waiting_after(self.outgoing.turn());
        let turn = after_last.or_else(|| self.waiting_after(None))?;
        self.outgoing.set_turn(turn);
        let (conversation, author) = turn;
        let queues = &self.syncs[&conversation].queues;
        let (key, first, last) = queues.next_of(author).expect("the author waits");
        Some((key.name(conversation), first, last))
    }

    /// The first author with queued entries after this one, in the order of conversations and
    /// authors.
    fn waiting_after(&self, last: Option<FairKey>) -> Option<FairKey> {
        let from = last.map_or(Unbounded, |(conversation, _)| Included(conversation));
        let mut later = self.syncs.range((from, Unbounded));
        later.find_map(|(conversation, sync)| {
            let after = last.filter(|(of, _)| of == conversation);
            let author = sync.queues.waiting_after(after.map(|(_, author)| author))?;
            Some((*conversation, author))
        })
    }

    /// Hands a batch to the session's batch stream. `own` says whether this node wrote it.
    pub(super) fn send_batch(
        &mut self,
        name: LogName,
        (first, last): (Seq, Seq),
        frame: Bytes,
        own: bool,
        outputs: &mut VecDeque<Output>,
    ) {
        let sync = self.syncs.get_mut(&name.conversation);
        let sync = sync.expect("entries are queued only in shared conversations");
        sync.queues.sent(&LogKey::of(&name), first, last);
        let own = own.then_some((name, first, last));
        self.outgoing.handed_out(frame.len(), own);
        outputs.push_back(Output::SendBatch(self.id, frame));
    }

    // Conversations.

    /// Notes that the peer holds these entries. `is_held` is whether this node holds the log.
    pub(super) fn note_holdings(&mut self, name: LogName, ranges: &Ranges, is_held: bool) {
        let key = LogKey::of(&name);
        let sync = self.syncs.get_mut(&name.conversation);
        let sync = sync.expect("the caller has looked it up");
        if sync.holdings.add(key, ranges, is_held, &mut self.announced) {
            sync.queues.strike(&key, ranges);
        }
    }

    /// The peer holds exactly these logs of a conversation, which this node holds as well.
    pub(super) fn replace_holdings(
        &mut self,
        conversation: ConversationId,
        theirs: BTreeMap<LogKey, Ranges>,
    ) {
        let sync = self.syncs.get_mut(&conversation);
        let sync = sync.expect("the caller has looked it up");
        sync.holdings.replace(theirs, &mut self.announced);
    }

    /// A page of the peer's heads. `is_held` is whether this node holds a log.
    pub(super) fn list_holdings(
        &mut self,
        conversation: ConversationId,
        page: Vec<AuthorHeads>,
        more: bool,
        is_held: impl Fn(&LogKey) -> bool,
    ) {
        let sync = self.syncs.get_mut(&conversation);
        let sync = sync.expect("the caller has looked it up");
        sync.holdings.page_arrives();
        for AuthorHeads {
            author,
            device,
            logs,
        } in page
        {
            for (log, held) in logs {
                let key = LogKey {
                    author,
                    device,
                    log,
                };
                let is_held = is_held(&key);
                sync.bodies.note_erased(key, held.erased);
                sync.holdings
                    .list(key, held.settled, is_held, &mut self.announced);
            }
        }
        if !more {
            sync.holdings.list_ends(&mut self.announced);
            let holdings = &sync.holdings;
            let is_held = |key: &LogKey| holdings.position(key).is_some();
            sync.requests.keep_only(is_held);
        }
    }

    /// Counts the announced logs again, because this node holds other logs than before. Returns
    /// whether the peer can announce many more.
    pub(super) fn recount(&mut self, is_held: impl Fn(ConversationId, &LogKey) -> bool) -> bool {
        for (conversation, sync) in &mut self.syncs {
            let is_held = |key: &LogKey| is_held(*conversation, key);
            sync.holdings.recount(is_held, &mut self.announced);
        }
        self.announced <= LOGS_ANNOUNCED_MAX / 2
    }

    /// Both ends belong to the conversation. Returns the digest that the peer sent before this end
    /// knew.
    pub(super) fn share(&mut self, conversation: ConversationId) -> Option<Digest> {
        self.syncs.insert(conversation, SessionSync::default());
        self.early_digests.remove(&conversation)
    }

    /// One of the ends has left the conversation, or the session ends.
    pub(super) fn unshare(&mut self, conversation: ConversationId) {
        let sync = self.syncs.remove(&conversation);
        let sync = sync.expect("only what is shared is left");
        let announced = self.announced.checked_sub(sync.holdings.size());
        self.announced = announced.expect("the sum over all conversations");
    }

    /// The peer may know before this end that both are in a room. Keeps its digest.
    pub(super) fn keep_early_digest(&mut self, conversation: ConversationId, digest: Digest) {
        if self.early_digests.len() < ROOMS_MAX {
            self.early_digests.insert(conversation, digest);
        }
    }

    /// Whether everything was handed out that is queued for the peer, and written.
    pub(super) fn has_handed_out_all(&self) -> bool {
        let mut syncs = self.syncs.values();
        self.outgoing.is_idle() && syncs.all(|sync| sync.queues.waiting_after(None).is_none())
    }

    /// The number of items held, for the limit of a session.
    fn remembered(&self) -> usize {
        let syncs: usize = self.syncs.values().map(SessionSync::remembered).sum();
        self.outgoing.size() + syncs
    }
}

/// All sessions of the node.
#[derive(Debug, Default)]
pub(super) struct Sessions(BTreeMap<SessionId, Session>);

impl Sessions {
    pub(super) fn add(&mut self, session: Session) {
        self.0.insert(session.id, session);
    }

    pub(super) fn remove(&mut self, id: SessionId) {
        self.0.remove(&id);
    }

    pub(super) fn get(&self, id: SessionId) -> Option<&Session> {
        self.0.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.0.get_mut(&id)
    }

    pub(super) fn contains(&self, id: SessionId) -> bool {
        self.0.contains_key(&id)
    }

    /// A session that is known to be up.
    pub(super) fn at(&self, id: SessionId) -> &Session {
        self.get(id).expect("the caller knows that it is up")
    }

    /// A session that is known to be up.
    pub(super) fn at_mut(&mut self, id: SessionId) -> &mut Session {
        self.get_mut(id).expect("the caller knows that it is up")
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.0.iter().map(|(id, session)| (*id, session))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (SessionId, &mut Session)> {
        self.0.iter_mut().map(|(id, session)| (*id, session))
    }

    /// The state of a conversation on a session, if both ends share it.
    pub(super) fn sync(&self, id: SessionId, shared: ConversationId) -> Option<&SessionSync> {
        self.get(id)?.syncs.get(&shared)
    }

    /// The state of a conversation on a session, if both ends share it.
    pub(super) fn sync_mut(
        &mut self,
        id: SessionId,
        shared: ConversationId,
    ) -> Option<&mut SessionSync> {
        self.get_mut(id)?.syncs.get_mut(&shared)
    }

    /// The sessions that share a conversation.
    pub(super) fn sharing(
        &self,
        conversation: ConversationId,
    ) -> impl Iterator<Item = (SessionId, &Session)> {
        self.iter()
            .filter(move |(_, session)| session.syncs.contains_key(&conversation))
    }

    /// The same without those by mail.
    pub(super) fn connected(
        &self,
        conversation: ConversationId,
    ) -> impl Iterator<Item = (SessionId, &Session)> {
        let sharing = self.sharing(conversation);
        sharing.filter(|(_, session)| session.by_mail.is_none())
    }

    /// Whether a peer with a connection shares the conversation.
    pub(super) fn is_here(&self, person: PersonId, conversation: ConversationId) -> bool {
        self.connected(conversation)
            .any(|(_, session)| session.person() == person)
    }

    /// The connected peers that share a conversation.
    pub(super) fn peers(&self, conversation: ConversationId) -> BTreeSet<PersonId> {
        let connected = self.connected(conversation);
        connected.map(|(_, session)| session.person()).collect()
    }

    /// All logs of a conversation that sessions have announced, by one author or by all. A member that
    /// gets mail is asked for nothing.
    pub(super) fn announced(
        &self,
        conversation: ConversationId,
        author: Option<PersonId>,
    ) -> Vec<(SessionId, LogKey)> {
        let mut announced = Vec::new();
        let sharing = self.sharing(conversation);
        for (id, session) in sharing.filter(|(_, it)| it.by_mail != Some(ByMail::Room)) {
            let holdings = &session.syncs[&conversation].holdings;
            match author {
                Some(author) => {
                    let of_author = holdings.logs_of(author);
                    announced.extend(of_author.map(|(key, _)| (id, *key)));
                }
                None => announced.extend(holdings.logs().map(|key| (id, *key))),
            }
        }
        announced
    }

    /// Whether a session was too fast and waits.
    pub(super) fn any_is_held(&self) -> bool {
        self.0.values().any(|session| session.budget.held > 0)
    }

    /// The number of items held for all sessions.
    pub(super) fn remembered(&self) -> usize {
        self.0.values().map(Session::remembered).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::events::Input;
    use super::super::testing::{
        Author, Bench, ME, batches, closed_room, direct, direct_record, receipts, room_record,
    };
    use super::*;
    use crate::commit::Loaded;

    const BOB: u8 = 2;
    const CAROL: u8 = 3;
    const DAVE: u8 = 4;

    #[test]
    fn authors_take_turns_on_a_session() {
        let mut own = Author::with_log(ME, direct(BOB), 9);
        let old = own.write(&["a"]);
        let mut bench = Bench::load(Loaded {
            conversations: vec![direct_record(BOB), room_record(false)],
            logs: vec![own.stored(1)],
            ..Loaded::default()
        });
        // Bob's session waits for the store, which reads an old message.
        for (session, n) in [(1, BOB), (2, CAROL), (3, DAVE)] {
            bench.connect(session, n);
            bench.meet_in(session, closed_room(), &[]);
        }
        for (session, n) in [(2, CAROL), (3, DAVE)] {
            let mut author = Author::new(n, closed_room());
            bench.batch(session, author.write(&["a"]));
            bench.batch(session, author.write(&["b"]));
            bench.want(1, author.name, 1, None);
        }
        let outputs = bench.read(1, own.name, vec![old]);
        let authors: Vec<_> = batches(&outputs, 1)
            .iter()
            .map(|(name, ..)| name.author)
            .collect();
        assert_eq!(authors.len(), 5);
        assert_eq!(authors[1..3], authors[3..5]);
        assert_ne!(authors[1], authors[2]);
    }

    #[test]
    fn a_peer_that_reads_nothing_gets_no_receipts_until_it_reads() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        let mut bob = Author::new(BOB, direct(BOB));
        let batch = bob.write(&["a"]);
        let mut bytes = 0;
        let mut silent = false;
        for _ in 0..10_000 {
            let outputs = bench.batch(1, batch.clone());
            silent = receipts(&outputs, 1).is_empty();
            for output in &outputs {
                if let Output::Send(_, frame) = output {
                    bytes += frame.len();
                }
            }
        }
        assert!(silent && bytes < FRAMES_OUTSTANDING_MAX + 1_000, "{bytes}");
        let written = Input::FramesWritten(SessionId(1), bytes);
        let outputs = bench.settle(written);
        assert_eq!(receipts(&outputs, 1), [(bob.name, Ranges::span(1, 1))]);
    }

    #[test]
    fn a_batch_counts_as_remembered_until_it_is_written() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        let outputs = bench.append(direct(BOB), "a");
        let [Output::SendBatch(_, frame)] = outputs
            .iter()
            .filter(|output| matches!(output, Output::SendBatch(..)))
            .collect::<Vec<_>>()[..]
        else {
            panic!("one batch: {outputs:?}")
        };
        let before = bench.replica.remembered_for_sessions();
        bench.settle(Input::BatchesWritten(SessionId(1), frame.len()));
        assert_eq!(bench.replica.remembered_for_sessions(), before - 1);
    }

    #[test]
    fn what_is_remembered_for_a_peer_ends_with_its_session() {
        let mut bench = Bench::new();
        bench.join(false);
        bench.connect(1, BOB);
        bench.meet_in(1, closed_room(), &[]);
        let dave = Author::new(DAVE, closed_room());
        bench.have(1, dave.name, 1, 3);
        assert!(bench.replica.remembered_for_sessions() > 0);
        // Leaving the room forgets what the peer holds of it.
        bench.settle(Input::SessionRooms(SessionId(1), [].into()));
        let in_no_room = bench.replica.remembered_for_sessions();
        bench.meet_in(1, closed_room(), &[]);
        assert_eq!(bench.replica.remembered_for_sessions(), in_no_room);
        bench.hang_up(1, true);
        assert_eq!(bench.replica.remembered_for_sessions(), 0);
    }
}

#[cfg(test)]
mod turns {
    use hobnob_protocol::{LogId, SecretKey};

    use super::*;

    #[test]
    fn authors_and_conversations_take_turns() {
        let author = |n| SecretKey::from_seed([n; 32]).id();
        let room = |n| ConversationId::from_bytes([n; 32]);
        let mut session = Session::new(
            SessionId(1),
            author(9),
            (None, SourceNetwork(1)),
            true,
            Duration::ZERO,
        );
        let mut waiting = Vec::new();
        for conversation in [room(1), room(2)] {
            session.share(conversation);
            for author in [1, 2, 3].map(author) {
                let log = LogKey {
                    author: author.person(),
                    device: author,
                    log: LogId(1),
                };
                let sync = session.syncs.get_mut(&conversation).expect("shared above");
                sync.queues.add(1, &log, &Ranges::span(1, 9));
                waiting.push((conversation, author.person()));
            }
        }
        waiting.sort_unstable();
        let mut turn = || {
            let (name, first, _) = session.next_to_send().expect("all still wait");
            assert_eq!(first, 1);
            (name.conversation, name.author)
        };
        let turns: Vec<_> = (0..7).map(|_| turn()).collect();
        assert_eq!(turns[..6], waiting);
        assert_eq!(turns[6], waiting[0]);
    }
}
