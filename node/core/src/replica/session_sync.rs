//! The state of one conversation on one session: the peer's holdings, and the entries still to be
//! sent, requested and announced.

use std::collections::BTreeSet;

use hobnob_protocol::{LogName, Seq};

use super::bodies::Bodies;
use super::cut::NewcomerCut;
use super::heads_to_send::HeadsToSend;
use super::holdings::Holdings;
use super::log_key::LogKey;
use super::requests::Requests;
use super::send_queues::SendQueues;

/// Maximum requests that wait until the peer's holdings are known. Further requests are dropped,
/// and the peer repeats them.
const WANTS_WAITING_MAX: usize = 1024;

/// A request of the peer: the log, the first entry, and the last one if there is an end.
pub(super) type Want = (LogName, Seq, Option<Seq>);

/// The state of one conversation on one session.
#[derive(Debug, Default)]
pub(super) struct SessionSync {
    /// Whether the peer's holdings are known, by its heads or by a digest that equals ours.
    pub(super) ready: bool,
    pub(super) holdings: Holdings,
    pub(super) queues: SendQueues,
    pub(super) requests: Requests,
    pub(super) bodies: Bodies,
    /// Logs of which the peer must learn at once what is on disk here.
    pub(super) receipts: BTreeSet<LogKey>,
    /// Logs of which the peer may learn a moment later.
    pub(super) announcements: BTreeSet<LogKey>,
    pub(super) digests: Digests,
    pub(super) heads: HeadsToSend,
    pub(super) cut: NewcomerCut,
    /// Whether the peer is a stranger whose messages were refused here on this session. It knows,
    /// and no more of its entries are stored or requested until the user accepts it.
    pub(super) refused_request: bool,
    /// Whether the peer refuses our messages because its user has not accepted us.
    pub(super) awaits_consent: bool,
    /// Requests that arrived before the peer's holdings were known.
    wants: Vec<Want>,
}

/// The last digests that were exchanged.
#[derive(Debug, Default)]
pub(super) struct Digests {
    pub(super) sent: Option<[u8; 32]>,
    pub(super) received: Option<[u8; 32]>,
}

impl Digests {
    /// The digest that both ends have sent. Streams lose nothing, so each knows that they agree.
    pub(super) fn agreed(&self) -> Option<[u8; 32]> {
        self.sent.filter(|sent| self.received == Some(*sent))
    }
}

impl SessionSync {
    /// Keeps a request until the peer's holdings are known.
    pub(super) fn postpone(&mut self, want: Want) {
        if self.wants.len() < WANTS_WAITING_MAX {
            self.wants.push(want);
        }
    }

    pub(super) fn take_postponed(&mut self) -> Vec<Want> {
        std::mem::take(&mut self.wants)
    }

    /// The number of items held, for the limit of a session.
    pub(super) fn remembered(&self) -> usize {
        self.holdings.size()
            + self.queues.size()
            + self.requests.size()
            + self.bodies.size()
            + self.receipts.len()
            + self.announcements.len()
            + self.wants.len()
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::{ConversationId, LogId, SecretKey};

    use super::*;

    fn want(from: Seq) -> Want {
        let [ann, bob] = [1, 2].map(|n| SecretKey::from_seed([n; 32]).id());
        let name = LogName {
            conversation: ConversationId::direct(ann.person(), bob.person()),
            author: ann.person(),
            device: ann,
            log: LogId(1),
        };
        (name, from, None)
    }

    #[test]
    fn requests_wait_in_order() {
        let mut sync = SessionSync::default();
        for from in [1, 5, 3] {
            sync.postpone(want(from));
        }
        assert_eq!(sync.remembered(), 3);
        assert_eq!(sync.take_postponed(), [want(1), want(5), want(3)]);
        assert_eq!(sync.take_postponed(), []);
    }

    #[test]
    fn an_impatient_newcomer_fills_no_memory() {
        let mut sync = SessionSync::default();
        for from in 1..5_000 {
            sync.postpone(want(from));
        }
        assert_eq!(sync.take_postponed().len(), WANTS_WAITING_MAX);
    }

    #[test]
    fn both_ends_agree_when_they_sent_the_same_digest() {
        let mut digests = Digests::default();
        assert_eq!(digests.agreed(), None);
        digests.sent = Some([1; 32]);
        assert_eq!(digests.agreed(), None);
        digests.received = Some([2; 32]);
        assert_eq!(digests.agreed(), None);
        digests.sent = Some([2; 32]);
        assert_eq!(digests.agreed(), Some([2; 32]));
    }
}
