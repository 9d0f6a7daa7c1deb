//! The names that peers had before, and this node: which ones to note, and which ones to show.

use hobnob_protocol::{Nickname, PersonId};

use super::state::Engine;

impl Engine {
    /// A peer, or this node, may have another nickname than `before`: notes the earlier one.
    pub(super) fn note_renamed(&mut self, peer: PersonId, before: Option<Nickname>) {
        let now = self.peers.nick(peer);
        if let (Some(before), Some(now)) = (before, now)
            && before != *now
        {
            let now_ms = self.clock.now().wall_ms;
            let change = self.past_names.renamed(peer, before, now_ms);
            self.store.rename(change);
        }
    }

    /// The name that a peer had before, if that is not long ago.
    pub(super) fn formerly(&self, peer: PersonId) -> Option<String> {
        let now_ms = self.clock.now().wall_ms;
        let before = self.past_names.formerly(peer, now_ms)?;
        let is_other = self.peers.nick(peer) != Some(before);
        // A part of the id would tell two people apart who have this name now. The peer had none.
        is_other.then(|| before.to_string())
    }

    /// The name to show for the author of a message that arrived at this time.
    pub(super) fn name_at(&self, peer: PersonId, at_ms: u64) -> String {
        match self.past_names.at(peer, at_ms) {
            Some(nick) => self.peers.past_name(peer, nick),
            None => self.name_of(peer),
        }
    }

    /// The name to show for a peer, or for this node, today.
    pub(super) fn name_of(&self, peer: PersonId) -> String {
        if peer == self.me {
            self.peers.own().to_string()
        } else {
            self.peers.name(peer)
        }
    }
}
