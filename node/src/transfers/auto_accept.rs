//! Which offers are accepted without asking the user.

use hobnob_protocol::PersonId;

use super::context::is_direct;
use crate::store::StoredOffer;
use crate::{AcceptFrom, FilesConfig};

/// The user's rules.
#[derive(Debug)]
pub(super) struct AutoAccept {
    me: PersonId,
    from: Vec<AcceptFrom>,
    /// In bytes. `None` means any size.
    size_max: Option<u64>,
}

impl AutoAccept {
    pub(super) fn new(config: &FilesConfig, me: PersonId) -> Self {
        Self {
            me,
            from: config.accept_from.clone(),
            size_max: config.size_max,
        }
    }

    /// The user has other rules for new offers.
    pub(super) fn set(&mut self, from: Vec<AcceptFrom>, size_max: Option<u64>) {
        self.from = from;
        self.size_max = size_max;
    }

    /// Whether to accept a new offer. `verified` says whether the user has verified its author.
    /// Offers in rooms always wait for the user.
    pub(super) fn accepts(&self, offer: &StoredOffer, verified: bool) -> bool {
        let author = offer.id.name.author;
        let fits = self.size_max.is_none_or(|max| offer.offer.size <= max);
        let is_listed = self.from.iter().any(|rule| match rule {
            AcceptFrom::Peer(peer) => *peer == author,
            AcceptFrom::Verified => verified,
        });
        author != self.me && fits && is_listed && is_direct(offer.id, self.me, author)
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::{ContentHash, ConversationId, LogId, LogName, Offer, OfferId};

    use super::*;

    const ME: PersonId = PersonId::from_bytes([1; 32]);
    const BOB: PersonId = PersonId::from_bytes([2; 32]);
    const CARL: PersonId = PersonId::from_bytes([3; 32]);

    fn offer(author: PersonId, conversation: ConversationId, size: u64) -> StoredOffer {
        let name = LogName {
            conversation,
            author,
            device: author.only_device(),
            log: LogId(1),
        };
        StoredOffer {
            id: OfferId { name, seq: 1 },
            offer: Offer {
                attributes: hobnob_protocol::offer::Attributes::default(),
                caption: String::new(),
                name: "notes.txt".into(),
                media: "text/plain".into(),
                size,
                hash: ContentHash([0; 32]),
                folder: None,
            },
            received_at_ms: 0,
        }
    }

    fn direct(author: PersonId, size: u64) -> StoredOffer {
        offer(author, ConversationId::direct(ME, author), size)
    }

    fn rules(from: AcceptFrom) -> AutoAccept {
        AutoAccept {
            me: ME,
            from: vec![from],
            size_max: Some(100),
        }
    }

    #[test]
    fn a_listed_peer_may_send_files_up_to_the_limit() {
        let rules = rules(AcceptFrom::Peer(BOB));
        assert!(rules.accepts(&direct(BOB, 100), false));
        assert!(!rules.accepts(&direct(BOB, 101), false), "too large");
        assert!(!rules.accepts(&direct(CARL, 100), true), "not listed");
    }

    #[test]
    fn the_rule_for_verified_peers_needs_verification() {
        let rules = rules(AcceptFrom::Verified);
        assert!(rules.accepts(&direct(CARL, 1), true));
        assert!(!rules.accepts(&direct(CARL, 1), false));
    }

    #[test]
    fn offers_in_rooms_and_own_offers_are_not_accepted() {
        let rules = rules(AcceptFrom::Peer(BOB));
        let room = ConversationId::from_bytes([9; 32]);
        assert!(!rules.accepts(&offer(BOB, room, 1), true));
        let own = offer(ME, ConversationId::direct(ME, BOB), 1);
        assert!(!rules.accepts(&own, true));
    }
}
