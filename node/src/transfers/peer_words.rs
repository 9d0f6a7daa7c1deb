//! Reports of peers about offers: a peer has received one, declines it, or no longer serves it.
//!
//! A word is a hint outside the log. Each side repeats its words in every new session, so each is
//! applied only once per run.

use std::collections::BTreeSet;

use hobnob_core::SessionId;
use hobnob_core::commit::{OfferRecord, OfferState};
use hobnob_protocol::{OfferId, OfferWord, PersonId};

use super::context::is_direct;
use super::jobs::{JobResult, Jobs};
use super::messages::FromTransfers;
use crate::store::{OfferRow, WhichOffers};

/// Maximum number of words that are remembered. One more clears the memory, so that words may be
/// applied again.
const HEARD_MAX: usize = 4096;

/// Maximum number of words that are repeated in a new session: those about the newest offers.
const REPEATED_MAX: usize = 64;

/// Why an offer that its author withdrew has failed.
pub(super) const WITHDRAWN: &str = "its sender withdrew the offer";

/// Why an offer whose sender lost its file has failed.
pub(super) const NOT_THERE: &str = "its sender no longer has it";

/// Why an offer of this node has failed whose recipient could not store it.
pub(super) const NOT_STORED: &str =
    "the recipient could not store it, and can accept the offer again";

/// Why an offer whose file changed has failed.
pub(super) const CHANGED: &str =
    "it has changed since it was offered: ask its sender to offer it again";

/// The effect of a peer's report on an offer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// The peer has received all of an offer of this node.
    Received {
        /// Whether nobody else may receive it, so that the offer is done.
        of_everybody: bool,
    },
    /// The peer declined an offer of this node, or could not store it.
    Refused {
        /// Whether the peer could not store it.
        failed: bool,
        /// Whether nobody else may receive it, so that this is the state of the offer.
        of_everybody: bool,
    },
    /// The author no longer serves the offer, for this reason.
    Unavailable(&'static str),
    /// The word changes nothing.
    Nothing,
}

/// Hears the words of peers, and repeats this node's words.
pub(super) struct PeerWords {
    jobs: Jobs,
    heard: BTreeSet<(OfferId, PersonId, OfferWord)>,
}

impl PeerWords {
    pub(super) fn new(jobs: Jobs) -> Self {
        Self {
            jobs,
            heard: BTreeSet::new(),
        }
    }

    /// A peer that may have the offer's entry sends a word about it. If the word concerns this node
    /// and is new, the offer is read for [`PeerWords::effect`].
    pub(super) fn hear(&mut self, peer: PersonId, id: OfferId, word: OfferWord) {
        if !may_send(word, id, peer, self.jobs.context.me) {
            return;
        }
        if self.heard.len() >= HEARD_MAX {
            self.heard.clear();
        }
        if self.heard.insert((id, peer, word)) {
            self.jobs.read(id, move |row| {
                JobResult::WordRead(Box::new(row), peer, word)
            });
        }
    }

    /// The effect of a report on an offer in the state of `row`.
    pub(super) fn effect(&self, row: &OfferRow, peer: PersonId, word: OfferWord) -> Effect {
        effect(row, peer, word, self.jobs.context.me)
    }

    /// Repeats this node's words in a new session, for a peer that may have missed them.
    pub(super) fn repeat(&self, session: SessionId, peer: PersonId) {
        let context = self.jobs.context.clone();
        let rows = context.store.read(WhichOffers::Newest);
        self.jobs.context.tasks.spawn(async move {
            let rows = rows.await.ok().and_then(Result::ok).unwrap_or_default();
            for (id, word) in to_repeat(&rows, context.me, peer) {
                let word = FromTransfers::SendWord(id, word, Some(session));
                context.engine.send(word);
            }
        });
    }
}

/// Whether this word of this peer concerns this node. Authors withdraw their own offers, and others
/// answer this node's offers.
fn may_send(word: OfferWord, id: OfferId, peer: PersonId, me: PersonId) -> bool {
    match word {
        OfferWord::Withdrawn | OfferWord::Changed | OfferWord::Paused | OfferWord::Resumed => {
            id.name.author == peer
        }
        OfferWord::Whole | OfferWord::Declined | OfferWord::Failed | OfferWord::Unknown(_) => {
            id.name.author == me
        }
    }
}

fn effect(row: &OfferRow, peer: PersonId, word: OfferWord, me: PersonId) -> Effect {
    let is_open = matches!(
        row.record.state,
        OfferState::Offered
            | OfferState::Wanted
            | OfferState::Paused
            | OfferState::Failed
            | OfferState::Refused
    );
    let of_everybody = is_open && is_direct(row.offer.id, me, peer);
    match word {
        OfferWord::Whole => Effect::Received { of_everybody },
        OfferWord::Declined | OfferWord::Failed => Effect::Refused {
            failed: word == OfferWord::Failed,
            of_everybody,
        },
        OfferWord::Withdrawn if is_open => Effect::Unavailable(WITHDRAWN),
        OfferWord::Changed if is_open => Effect::Unavailable(CHANGED),
        OfferWord::Withdrawn
        | OfferWord::Changed
        | OfferWord::Paused
        | OfferWord::Resumed
        | OfferWord::Unknown(_) => Effect::Nothing,
    }
}

/// Whether a download failed on this node, so that only this node knows the reason.
pub(super) fn is_own_failure(record: &OfferRecord) -> bool {
    let why = record.why.as_deref();
    !why.is_some_and(|why| [WITHDRAWN, CHANGED, NOT_THERE].contains(&why))
}

/// The words for a peer that connects, about the newest offers first. `rows` begin with the oldest.
fn to_repeat(rows: &[OfferRow], me: PersonId, peer: PersonId) -> Vec<(OfferId, OfferWord)> {
    let word_of = |row: &OfferRow| {
        let author = row.offer.id.name.author;
        match row.record.state {
            // Everybody in the conversation learns where the content is.
            OfferState::Done if author != me => Some(OfferWord::Whole),
            OfferState::Declined if author == me => Some(OfferWord::Withdrawn),
            OfferState::Paused if author == me => Some(OfferWord::Paused),
            // Only the author needs to know that this node declined.
            OfferState::Declined if author == peer => Some(OfferWord::Declined),
            OfferState::Failed if author == peer && is_own_failure(&row.record) => {
                Some(OfferWord::Failed)
            }
            OfferState::Done
            | OfferState::Declined
            | OfferState::Offered
            | OfferState::Wanted
            | OfferState::Failed
            | OfferState::Refused
            | OfferState::Paused => None,
        }
    };
    let words = rows
        .iter()
        .rev()
        .filter_map(|row| Some((row.offer.id, word_of(row)?)));
    words.take(REPEATED_MAX).collect()
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::{ContentHash, ConversationId, LogId, LogName, Offer};

    use super::*;
    use crate::store::StoredOffer;

    const ME: PersonId = PersonId::from_bytes([1; 32]);
    const BOB: PersonId = PersonId::from_bytes([2; 32]);
    const CARL: PersonId = PersonId::from_bytes([3; 32]);

    fn row(author: PersonId, conversation: ConversationId, state: OfferState) -> OfferRow {
        let name = LogName {
            conversation,
            author,
            device: author.only_device(),
            log: LogId(1),
        };
        let offer = Offer {
            attributes: hobnob_protocol::offer::Attributes::default(),
            caption: String::new(),
            name: "notes.txt".into(),
            media: "text/plain".into(),
            size: 1,
            hash: ContentHash([0; 32]),
            folder: None,
        };
        OfferRow {
            offer: StoredOffer {
                id: OfferId { name, seq: 1 },
                offer,
                received_at_ms: 0,
            },
            record: OfferRecord {
                state,
                place: None,
                why: None,
            },
        }
    }

    fn direct(author: PersonId, state: OfferState) -> OfferRow {
        row(author, ConversationId::direct(ME, BOB), state)
    }

    #[test]
    fn only_the_author_can_withdraw_an_offer_and_only_its_author_hears_answers() {
        let (mine, bobs) = (
            direct(ME, OfferState::Offered).offer.id,
            direct(BOB, OfferState::Offered).offer.id,
        );
        assert!(may_send(OfferWord::Withdrawn, bobs, BOB, ME));
        assert!(!may_send(OfferWord::Withdrawn, bobs, CARL, ME));
        assert!(!may_send(OfferWord::Changed, mine, BOB, ME));
        assert!(may_send(OfferWord::Whole, mine, BOB, ME));
        assert!(!may_send(OfferWord::Declined, bobs, CARL, ME));
    }

    #[test]
    fn a_direct_offer_is_done_once_its_recipient_has_it_and_a_rooms_offer_stays_open() {
        let received = |of_everybody| Effect::Received { of_everybody };
        let offer = direct(ME, OfferState::Offered);
        assert_eq!(effect(&offer, BOB, OfferWord::Whole, ME), received(true));
        let room = ConversationId::from_bytes([9; 32]);
        let offer = row(ME, room, OfferState::Offered);
        assert_eq!(effect(&offer, BOB, OfferWord::Whole, ME), received(false));
        let withdrawn = direct(ME, OfferState::Declined);
        assert_eq!(
            effect(&withdrawn, BOB, OfferWord::Whole, ME),
            received(false)
        );
    }

    #[test]
    fn an_offer_that_its_only_recipient_declines_or_cannot_store_has_that_state() {
        let offer = direct(ME, OfferState::Offered);
        for (word, failed) in [(OfferWord::Declined, false), (OfferWord::Failed, true)] {
            let refused = |of_everybody| Effect::Refused {
                failed,
                of_everybody,
            };
            assert_eq!(effect(&offer, BOB, word, ME), refused(true));
            let done = direct(ME, OfferState::Done);
            assert_eq!(effect(&done, BOB, word, ME), refused(false));
        }
    }

    #[test]
    fn a_failure_is_repeated_only_if_it_happened_here() {
        let mut failed = direct(BOB, OfferState::Failed);
        let words = |row: &OfferRow| to_repeat(std::slice::from_ref(row), ME, BOB);
        failed.record.why = Some("the disk failed".into());
        assert_eq!(words(&failed), [(failed.offer.id, OfferWord::Failed)]);
        failed.record.why = Some(WITHDRAWN.into());
        assert_eq!(words(&failed), []);
    }

    #[test]
    fn an_author_repeats_that_an_offer_is_paused() {
        let own = direct(ME, OfferState::Paused);
        let words = |row: &OfferRow| to_repeat(std::slice::from_ref(row), ME, BOB);
        assert_eq!(words(&own), [(own.offer.id, OfferWord::Paused)]);
        // This user's pause of a download concerns nobody else.
        assert_eq!(words(&direct(BOB, OfferState::Paused)), []);
        assert!(may_send(
            OfferWord::Paused,
            direct(BOB, OfferState::Wanted).offer.id,
            BOB,
            ME
        ));
        assert!(!may_send(OfferWord::Paused, own.offer.id, BOB, ME));
    }

    #[test]
    fn a_withdrawn_offer_fails_unless_its_state_is_final() {
        let state_after = |state| effect(&direct(BOB, state), BOB, OfferWord::Withdrawn, ME);
        assert_eq!(
            state_after(OfferState::Wanted),
            Effect::Unavailable(WITHDRAWN)
        );
        assert_eq!(state_after(OfferState::Done), Effect::Nothing);
        assert_eq!(state_after(OfferState::Declined), Effect::Nothing);
        let unknown = OfferWord::Unknown(99);
        let offer = direct(BOB, OfferState::Offered);
        assert_eq!(effect(&offer, BOB, unknown, ME), Effect::Nothing);
    }

    #[test]
    fn a_peer_that_connects_hears_what_it_may_have_missed() {
        let rows = [
            direct(BOB, OfferState::Done),
            direct(BOB, OfferState::Declined),
            direct(ME, OfferState::Declined),
            direct(CARL, OfferState::Declined),
            direct(BOB, OfferState::Wanted),
            direct(ME, OfferState::Done),
        ];
        let words: Vec<_> = to_repeat(&rows, ME, BOB)
            .into_iter()
            .map(|(id, word)| (id.name.author, word))
            .collect();
        assert_eq!(
            words,
            [
                (ME, OfferWord::Withdrawn),
                (BOB, OfferWord::Declined),
                (BOB, OfferWord::Whole),
            ]
        );
        let many = vec![direct(BOB, OfferState::Done); 100];
        assert_eq!(to_repeat(&many, ME, BOB).len(), REPEATED_MAX);
    }
}
