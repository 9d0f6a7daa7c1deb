//! The user's actions: open conversations, enter and leave rooms, and write messages.

use std::sync::Arc;

use hobnob_protocol::{
    Body, CheckedBatch, ConversationId, LogName, PersonId, Ranges, RoomKey, RoomName,
};

use super::commits::AfterCommit;
use super::conversation::Conversation;
use super::events::{Output, Token};
use super::log_key::LogKey;
use super::state::Replica;
use crate::commit::{AudienceId, ConversationKind, ConversationRecord, Op};

/// Maximum batches of own entries in one commit. Further appends wait for the next commit.
const APPEND_BATCHES_MAX: usize = 8;

impl Replica {
    /// The direct conversation with a peer. It is created if it does not exist.
    pub(super) fn open_direct(&mut self, peer: PersonId) -> &mut Conversation {
        let id = ConversationId::direct(self.identity.id, peer);
        let kind = ConversationKind::Direct(peer);
        self.conversations.open(ConversationRecord { id, kind })
    }

    pub(super) fn join(&mut self, token: Token, name: RoomName, key: RoomKey) {
        let record = ConversationRecord {
            id: key.conversation(),
            kind: ConversationKind::Room {
                name,
                key,
                joined: true,
            },
        };
        let room = self.conversations.open(record.clone());
        room.enter(record.clone());
        self.commit_record(record, token);
    }

    pub(super) fn part(&mut self, token: Token, id: ConversationId) {
        let Some(room) = self.conversations.get_mut(id) else {
            let why = "this node is not in that room".to_owned();
            self.outputs.push_back(Output::StoreFailed(token, why));
            return;
        };
        room.leave();
        let record = room.record.clone();
        self.commit_record(record, token);
    }

    fn commit_record(&mut self, record: ConversationRecord, token: Token) {
        self.commit(
            vec![Op::Conversation(record.clone())],
            vec![AfterCommit::Record(record), AfterCommit::Stored(token)],
        );
    }

    pub(super) fn append(&mut self, token: Token, id: ConversationId, body: Body) {
        let Some(conversation) = self.conversations.get_mut(id) else {
            self.client_ids.remove(&token);
            let why = "there is no such conversation".to_owned();
            self.outputs.push_back(Output::AppendFailed(token, why));
            return;
        };
        if let Some(about) = body.about() {
            let author = about.author.unwrap_or(self.identity.id);
            let key = LogKey {
                author,
                device: author.only_device(),
                log: about.log,
            };
            let log = conversation.log(&key);
            if log.is_none_or(|log| !log.durable().contains(about.seq)) {
                let why = "this node has no such message".to_owned();
                self.outputs.push_back(Output::AppendFailed(token, why));
                return;
            }
        }
        let key = LogKey::of(&conversation.own_log(&self.identity));
        if let Err(refusal) = conversation.may_write(self.identity.id, &key, None) {
            self.client_ids.remove(&token);
            let failed = Output::AppendFailed(token, refusal.to_string());
            self.outputs.push_back(failed);
            return;
        }
        conversation.appends.add(token, body);
        if let ConversationKind::Direct(peer) = conversation.record.kind {
            self.accept_by_writing(peer);
        }
        self.write_waiting(id);
    }

    /// Writes the waiting appends in as few batches as possible, unless a commit of own entries is
    /// under way.
    fn write_waiting(&mut self, id: ConversationId) {
        let conversation = self.conversations.at_mut(id);
        if !conversation.appends.begin() {
            return;
        }
        let name = conversation.own_log(&self.identity);
        let (mut ops, mut steps) = (Vec::new(), Vec::new());
        conversation.store_record(&mut ops, &mut steps);
        let audience = self
            .conversations
            .stamp(id, &self.networks, self.now, &mut ops);
        for _ in 0..APPEND_BATCHES_MAX {
            let written = self
                .conversations
                .write_batch(&mut self.identity, name, self.now);
            let Some((batch, tokens)) = written else {
                break;
            };
            let (from, to) = (batch.first(), batch.last());
            let pieces = Ranges::span(from, to);
            let audience = self.audience_for(&batch, &pieces, audience);
            ops.push(Op::Append {
                batch: batch.clone(),
                from,
                to,
                audience,
                received_at_ms: self.now.wall_ms,
                deleted: Ranges::new(),
            });
            for (seq, token) in (from..).zip(&tokens) {
                let client_id = self.client_ids.remove(token);
                ops.extend(client_id.map(|id| Op::ClientId(name, seq, id)));
            }
            steps.push(AfterCommit::Own {
                name,
                batch: batch.clone(),
                audience,
                tokens,
            });
            self.apply_deletions(batch, &pieces, &mut ops, &mut steps);
        }
        self.commit(ops, steps);
    }

    pub(super) fn own_is_durable(
        &mut self,
        name: LogName,
        batch: Arc<CheckedBatch>,
        audience: AudienceId,
        tokens: Vec<Token>,
    ) {
        let (first, last) = (batch.first(), batch.last());
        self.now_durable(name, first, last, audience);
        self.recent.keep(&batch);
        // Peers first: the author of the entry can wait a moment longer.
        self.pass_on(name, first, last, audience, None);
        self.outputs.push_back(Output::Appended { tokens, batch });
        self.append_answered(name.conversation);
    }

    /// The commit of own entries succeeded or failed: the next appends can be written.
    pub(super) fn append_answered(&mut self, id: ConversationId) {
        self.conversations.at_mut(id).appends.end();
        self.write_waiting(id);
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::text::TEXT_BYTES_MAX;

    use super::super::events::Input;
    use super::super::testing::{
        Bench, appended, batches, closed_room, commit_sizes, commits, direct, entering, failed,
        ops, peer,
    };
    use super::*;

    const BOB: u8 = 2;

    /// A session 1 with Bob.
    fn with_bob() -> Bench {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        bench
    }

    /// A session 1 with Bob, who is in the room with a secret.
    fn in_room() -> Bench {
        let mut bench = with_bob();
        bench.join(false);
        bench.meet_in(1, closed_room(), &[]);
        bench
    }

    fn store_failed(outputs: &[Output]) -> bool {
        let failed = |output: &Output| matches!(output, Output::StoreFailed(..));
        outputs.iter().any(failed)
    }

    fn rooms(bench: &Bench) -> Vec<ConversationId> {
        bench.replica.rooms().map(|(id, ..)| id).collect()
    }

    #[test]
    fn a_message_is_sent_and_confirmed_when_it_is_durable() {
        let mut bench = with_bob();
        let begun = bench.begin_append(7, direct(BOB), "hi");
        assert_eq!((appended(&begun), batches(&begun, 1)), (vec![], vec![]));
        let durable = bench.handle(Input::Committed(commits(&begun)[0]));
        let log = bench.own_log(direct(BOB));
        assert_eq!(appended(&durable), [7]);
        assert_eq!(batches(&durable, 1), [(log, 1, 1)]);
    }

    #[test]
    fn the_name_of_a_message_is_stored_with_it() {
        let mut bench = with_bob();
        let id: crate::ClientId = "order-1".parse().unwrap();
        bench.handle(Input::NameAppend(Token(7), id.clone()));
        let begun = bench.begin_append(7, direct(BOB), "hi");
        let log = bench.own_log(direct(BOB));
        let named =
            |op: &Op| matches!(op, Op::ClientId(name, 1, named) if *name == log && *named == id);
        assert_eq!(ops(&begun).iter().filter(|op| named(op)).count(), 1);
        let begun = bench.begin_append(8, direct(BOB), "again");
        assert!(!ops(&begun).iter().any(|op| matches!(op, Op::ClientId(..))));
    }

    #[test]
    fn messages_written_during_a_commit_share_the_next_one() {
        let mut bench = in_room();
        let first = bench.begin_append(1, closed_room(), "a");
        for token in 2..=4 {
            let waits = bench.begin_append(token, closed_room(), "b");
            assert_eq!(commits(&waits), []);
        }
        let outputs = bench.settle(Input::Committed(commits(&first)[0]));
        let log = bench.own_log(closed_room());
        assert_eq!(appended(&outputs), [1, 2, 3, 4]);
        assert_eq!(batches(&outputs, 1), [(log, 1, 1), (log, 2, 4)]);
    }

    #[test]
    fn a_burst_of_long_messages_takes_several_commits() {
        let mut bench = in_room();
        let first = bench.begin_append(0, closed_room(), "short");
        // Three of these fill a batch.
        let long = "x".repeat(TEXT_BYTES_MAX);
        let messages = 3 * (APPEND_BATCHES_MAX + 2);
        for token in 1..=messages as u64 {
            bench.begin_append(token, closed_room(), &long);
        }
        let outputs = bench.settle(Input::Committed(commits(&first)[0]));
        assert_eq!(commit_sizes(&outputs), [APPEND_BATCHES_MAX, 2]);
        assert_eq!(appended(&outputs).len(), messages + 1);
    }

    #[test]
    fn a_message_that_the_disk_did_not_take_leaves_no_hole() {
        let mut bench = with_bob();
        let first = bench.begin_append(1, direct(BOB), "lost");
        bench.begin_append(2, direct(BOB), "waits");
        let failure = Input::CommitFailed(commits(&first)[0], "full".to_owned());
        let outputs = bench.settle(failure);
        assert_eq!(failed(&outputs), [1]);
        assert_eq!(appended(&outputs), [2]);
        assert_eq!(batches(&outputs, 1), [(bench.own_log(direct(BOB)), 1, 1)]);
    }

    #[test]
    fn a_message_needs_a_conversation() {
        let mut bench = Bench::new();
        let outputs = bench.begin_append(3, direct(BOB), "to nobody");
        assert_eq!(failed(&outputs), [3]);
        assert_eq!(commits(&outputs), []);
        bench.handle(Input::OpenDirect(peer(BOB)));
        assert_eq!(appended(&bench.append(direct(BOB), "to Bob")), [1]);
    }

    #[test]
    fn a_conversation_is_stored_with_its_first_message() {
        let mut bench = Bench::new();
        bench.handle(Input::OpenDirect(peer(BOB)));
        let first = bench.append(direct(BOB), "a");
        assert!(matches!(
            ops(&first)[..],
            [Op::Conversation(_), Op::Append { .. }]
        ));
        let second = bench.append(direct(BOB), "b");
        assert!(matches!(ops(&second)[..], [Op::Append { .. }]));
    }

    #[test]
    fn a_conversation_that_was_not_stored_is_stored_with_the_next_message() {
        let mut bench = Bench::new();
        bench.handle(Input::OpenDirect(peer(BOB)));
        let first = bench.begin_append(1, direct(BOB), "a");
        bench.handle(Input::CommitFailed(commits(&first)[0], "full".to_owned()));
        let second = bench.append(direct(BOB), "b");
        assert!(matches!(
            ops(&second)[..],
            [Op::Conversation(_), Op::Append { .. }]
        ));
    }

    #[test]
    fn a_room_is_entered_and_left() {
        let mut bench = Bench::new();
        let stored = |output: &Output| matches!(output, Output::Stored(Token(0)));
        assert!(bench.join(false).iter().any(stored));
        assert_eq!(rooms(&bench), [closed_room()]);
        assert!(bench.part(closed_room()).iter().any(stored));
        assert_eq!(rooms(&bench), []);
        // The history stays, and so does the right to write to it.
        assert_eq!(appended(&bench.append(closed_room(), "from outside")), [1]);
    }

    #[test]
    fn an_unknown_room_cannot_be_left() {
        let outputs = Bench::new().part(closed_room());
        assert!(store_failed(&outputs));
        assert_eq!(commits(&outputs), []);
    }

    #[test]
    fn a_step_into_or_out_of_a_room_that_the_disk_did_not_take_is_undone() {
        let mut bench = Bench::new();
        let fail = |bench: &mut Bench, input| {
            let commit = commits(&bench.handle(input))[0];
            bench.handle(Input::CommitFailed(commit, "full".to_owned()))
        };
        assert!(store_failed(&fail(&mut bench, entering(false))));
        assert_eq!(rooms(&bench), []);
        bench.join(false);
        assert!(store_failed(&fail(
            &mut bench,
            Input::Part(Token(1), closed_room())
        )));
        assert_eq!(rooms(&bench), [closed_room()]);
    }
}
