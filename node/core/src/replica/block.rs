//! Blocked authors: nothing of theirs is taken, asked for or passed on from here, whoever offers it
//! or wants it.
//!
//! What of theirs is on disk stays there, and is named to nobody but those who have said that they
//! hold it too: so nothing is said that is not so, and nobody has a reason to ask. While an author
//! is blocked, what others say that they hold of theirs is noted all the same, so that an end of
//! the block can ask for it.

use std::collections::BTreeSet;

use hobnob_protocol::{Frame, PeerId};

use super::{ANNOUNCE_EVERY, LogKey, Replica, Timer};

impl Replica {
    /// Whether nothing of this author is to be taken, asked for or passed on. Every question about
    /// it comes here.
    pub(super) fn is_blocked(&self, author: PeerId) -> bool {
        self.blocked.contains(&author)
    }

    pub(super) fn block(&mut self, author: PeerId) {
        if author == self.me || !self.blocked.insert(author) {
            return;
        }
        let mut sources = Vec::new();
        for (id, conversation) in &mut self.conversations {
            sources.extend(
                conversation
                    .sources
                    .remove(&author)
                    .map(|source| (source, *id)),
            );
            conversation.patience.remove(&author);
        }
        for (source, conversation) in sources {
            self.send(source, &Frame::Prune(conversation, author));
        }
        for shared in self
            .sessions
            .values_mut()
            .flat_map(|session| session.shared.values_mut())
        {
            shared.todo.remove(&author);
            shared.asked.retain(|key, _| key.author != author);
            shared.announcements.retain(|key| key.author != author);
        }
    }

    pub(super) fn unblock(&mut self, author: PeerId) {
        if !self.blocked.remove(&author) {
            return;
        }
        for id in self.conversations.keys().copied().collect::<Vec<_>>() {
            self.consider_author(id, author);
        }
        // Those who may have what is on disk of it have not heard of it.
        for session in self.sessions.values_mut() {
            for (id, shared) in &mut session.shared {
                let logs = self
                    .conversations
                    .get(id)
                    .into_iter()
                    .flat_map(|conversation| conversation.logs.keys());
                let of_author: BTreeSet<LogKey> =
                    logs.filter(|key| key.author == author).copied().collect();
                shared.announcements.extend(of_author);
            }
        }
        self.arm(Timer::Announce, ANNOUNCE_EVERY);
    }
}
