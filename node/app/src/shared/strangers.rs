//! What a chat has reported of strangers: those who wrote to this user, and the peers to whom this
//! user is one. Pure, and bounded.

use std::collections::BTreeSet;

use hobnob::protocol::PersonId;
use hobnob_control::wire::{MessageLine, PeerLine};

/// Maximum strangers that a chat explains. A flood of strangers must not fill the screen.
const EXPLAINED_MAX: usize = 100;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    explained: BTreeSet<PersonId>,
    awaiting_consent: BTreeSet<PersonId>,
}

impl Strangers {
    /// Whether to explain what the user can do about the author of this message: it is a stranger,
    /// and this chat has not explained that yet.
    pub(crate) fn is_new(&mut self, message: &MessageLine) -> bool {
        message.request
            && self.explained.len() < EXPLAINED_MAX
            && self.explained.insert(message.from.0)
    }

    /// Whether a peer has begun to refuse messages until its user accepts this node.
    pub(crate) fn begins_to_wait(&mut self, peer: &PeerLine) -> bool {
        if peer.awaits_consent {
            self.awaiting_consent.insert(peer.peer.0)
        } else {
            self.awaiting_consent.remove(&peer.peer.0);
            false
        }
    }

    /// Whether a peer refuses messages until its user accepts this node.
    pub(crate) fn awaits_consent(&self, peer: PersonId) -> bool {
        self.awaiting_consent.contains(&peer)
    }
}
