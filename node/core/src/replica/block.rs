//! Blocked authors: their entries are not accepted, requested or forwarded, no matter which peer
//! offers or wants them.
//!
//! Their entries on disk stay there. They are announced only to peers that announced the same
//! entries, so no peer has a reason to request them. The announcements of peers are recorded even
//! during a block, so that the missing entries can be requested when it ends.

use hobnob_protocol::{Frame, PeerId};

use super::news::ANNOUNCE_AFTER;
use super::state::Replica;
use super::timers::Timer;

impl Replica {
    pub(super) fn block(&mut self, author: PeerId) {
        if author == self.identity.id || !self.blocked.insert(author) {
            return;
        }
        for (source, shared) in self.conversations.end_sources(author) {
            self.send(source, &Frame::Prune(shared, author));
        }
        for (_, session) in self.sessions.iter_mut() {
            for sync in session.syncs.values_mut() {
                sync.queues.strike_author(author);
                sync.requests.forget_author(author);
                sync.announcements.retain(|key| key.author != author);
            }
        }
    }

    pub(super) fn unblock(&mut self, author: PeerId) {
        if !self.blocked.remove(&author) {
            return;
        }
        for id in self.conversations.ids() {
            self.request_missing_of(id, author);
        }
        // Peers have not heard of the author's entries that are on disk here.
        for (_, session) in self.sessions.iter_mut() {
            for (shared, sync) in &mut session.syncs {
                let logs = self.conversations.at(*shared).logs_of(author);
                sync.announcements.extend(logs.map(|(key, _)| *key));
            }
        }
        self.arm(Timer::Announce, ANNOUNCE_AFTER);
    }
}
