//! Entries about other entries, such as replies, edits, reactions and deletions: who may have them.

use hobnob_protocol::{CheckedBatch, Ranges};

use super::log_key::LogKey;
use super::state::Replica;
use crate::commit::AudienceId;

impl Replica {
    /// The audience of new entries of a batch that arrive for the audience `now`. An entry about
    /// another one is for those who may have the other one. It is alone in its batch.
    ///
    /// In an open room, an entry about an entry that is not held is stored for nobody: only its
    /// author and those who hold the other entry can know whom it is for, and they pass it on. A
    /// deletion is for everybody who is there, because it discloses nothing.
    pub(super) fn audience_for(
        &self,
        batch: &CheckedBatch,
        pieces: &Ranges,
        now: AudienceId,
    ) -> AudienceId {
        let name = batch.batch.name;
        let only = pieces.first().filter(|_| pieces.len() == 1);
        let Some(entry) = only.and_then(|seq| batch.at(seq)) else {
            return now;
        };
        let Some(about) = entry.entry.about() else {
            return now;
        };
        let key = LogKey {
            author: about.author.unwrap_or(name.author),
            device: about.author.unwrap_or(name.author).only_device(),
            log: about.log,
        };
        let conversation = self.conversations.at(name.conversation);
        let log = conversation.log(&key);
        match log.and_then(|log| log.audience_of(about.seq)) {
            Some(of_target) => of_target,
            None if conversation.is_open_room() && !entry.entry.body.is_deletion() => {
                AudienceId::MEMBERS
            }
            None => now,
        }
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::{Body, EntryRef, LogName};

    use super::super::testing::{
        Author, Bench, appended, batches, direct, open_room, peer, received,
    };
    use crate::SessionId;

    const BOB: u8 = 2;
    const CAROL: u8 = 3;
    const DAN: u8 = 4;

    fn reply(name: LogName, seq: u64) -> Body {
        let to = EntryRef {
            author: Some(name.author),
            log: name.log,
            seq,
        };
        let text = "re".to_owned();
        Body::Reply { to, text }
    }

    /// An open room with Bob and Carol in it.
    fn room() -> Bench {
        let mut bench = Bench::new();
        bench.join(true);
        for (session, member) in [(1, BOB), (2, CAROL)] {
            bench.connect(session, member);
            bench.meet_in(session, open_room(), &[]);
        }
        bench
    }

    #[test]
    fn a_reply_in_an_open_room_is_for_those_its_target_was_for() {
        let mut bench = room();
        let mut bob = Author::new(BOB, open_room());
        bench.batch(1, bob.write(&["a"]));
        bench.connect(3, DAN);
        bench.meet_in(3, open_room(), &[]);
        let mut carol = Author::new(CAROL, open_room());
        bench.batch(2, carol.write_bodies(1, vec![reply(bob.name, 1)]));
        bench.batch(2, carol.write(&["for all"]));
        let may_have = |session, name, seq| bench.replica.may_have(SessionId(session), name, seq);
        assert!(may_have(1, carol.name, 1));
        assert!(!may_have(3, carol.name, 1), "Dan never had the message");
        assert!(may_have(3, carol.name, 2));
    }

    #[test]
    fn a_reply_to_an_unknown_message_of_an_open_room_is_shown_and_not_passed_on() {
        let mut bench = room();
        let (bob, mut carol) = (
            Author::new(BOB, open_room()),
            Author::new(CAROL, open_room()),
        );
        let outputs = bench.batch(2, carol.write_bodies(1, vec![reply(bob.name, 1)]));
        assert_eq!(received(&outputs), ["re"]);
        assert!(!bench.replica.may_have(SessionId(1), carol.name, 1));
        assert!(bench.replica.may_have(SessionId(2), carol.name, 1));
    }

    #[test]
    fn only_messages_that_are_held_can_be_answered() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        let mut bob = Author::new(BOB, direct(BOB));
        bench.batch(1, bob.write(&["a"]));
        let outputs = bench.append_body(direct(BOB), reply(bob.name, 2));
        assert!(appended(&outputs).is_empty());
        let outputs = bench.append_body(direct(BOB), reply(bob.name, 1));
        assert_eq!(appended(&outputs), [1]);
        assert_eq!(batches(&outputs, 1).len(), 1);
        assert_eq!(bob.name.author, peer(BOB));
    }
}
