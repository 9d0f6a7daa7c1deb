//! Blocked authors: their entries are not accepted, requested or forwarded, no matter which peer
//! offers or wants them.
//!
//! Their entries on disk stay there. They are announced only to peers that announced the same
//! entries, so no peer has a reason to request them. The announcements of peers are recorded even
//! during a block, so that the missing entries can be requested when it ends.

use std::collections::BTreeSet;

use hobnob_protocol::{Frame, PeerId};

use super::{ANNOUNCE_EVERY, LogKey, Replica, Timer};

impl Replica {
    /// Whether this author is blocked. Every decision about blocked authors calls this function.
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
            conversation.pull_retries.remove(&author);
        }
        for (source, conversation) in sources {
            self.send(source, &Frame::Prune(conversation, author));
        }
        for shared in self
            .sessions
            .values_mut()
            .flat_map(|session| session.shared.values_mut())
        {
            shared.send_queue.remove(&author);
            shared.asked.retain(|key, _| key.author != author);
            shared.announcements.retain(|key| key.author != author);
        }
    }

    pub(super) fn unblock(&mut self, author: PeerId) {
        if !self.blocked.remove(&author) {
            return;
        }
        for id in self.conversations.keys().copied().collect::<Vec<_>>() {
            self.request_missing_of(id, author);
        }
        // Peers have not heard of the author's entries that are on disk here.
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
