//! The exchange with one holder: deposits on their way, and the page of envelopes that is handled.

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob_core::{Now, SessionId};
use hobnob_protocol::mailbox::{Deposit, DepositToken, NUMBERS_MAX, ToHolder};
use hobnob_protocol::{ConversationId, DeviceId, Signature};

use super::outgoing::Packed;
use super::page::{Decided, Page, PageItem};
use crate::net::mail::MailStream;

/// Maximum envelopes on their way to one holder. A holder accepts twice as many requests at once.
pub(super) const DEPOSITS_MAX: usize = 8;

/// After undecided envelopes were left at a holder, they are requested again after this time, and
/// after twice the time at each further attempt without progress.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// The longest such time.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// An envelope on its way to the holder.
#[derive(Debug)]
pub(super) struct Deposited {
    pub(super) session: SessionId,
    pub(super) peer: DeviceId,
    /// The room that it is about. `None`: the direct conversation.
    pub(super) room: Option<ConversationId>,
    pub(super) packed: Packed,
    /// The sealed form. If the answer is lost, the holder gets the same bytes again and recognizes
    /// them.
    pub(super) envelope: Vec<u8>,
    /// Whether it was sealed again already, for a key that the holder named.
    pub(super) again: bool,
}

/// A connected holder.
#[derive(Debug)]
pub(super) struct Holder {
    /// Its identity, proved.
    pub(super) id: DeviceId,
    stream: MailStream,
    /// Whether this node's own mail is held there.
    pub(super) is_own: bool,
    /// Whether it holds this node's mail.
    holds: bool,
    facts: Facts,
    deposits: BTreeMap<u64, Deposited>,
    last_deposit: u64,
    page: Page,
    /// The request that is under way.
    pass: Option<Pass>,
    /// Set by the end of the page: whether more follows.
    page_end: Option<bool>,
    /// Whether envelopes arrived at the holder since the last request.
    news: bool,
    /// When to request undecided envelopes again, and how long that takes the next time.
    retry_at: Option<Duration>,
    retry_after: Duration,
}

/// The known facts about a holder of this node's mail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// The envelopes that waited when the node asked last, and their bytes.
    pub(super) waiting: (u64, u64),
    /// When it began to hold, by its clock, in milliseconds since the Unix epoch.
    pub(super) since_ms: u64,
    /// When all that waited had arrived, in milliseconds since the Unix epoch.
    pub(super) fetched_at_ms: Option<u64>,
    /// The envelopes that were done in this run.
    pub(super) fetched: u64,
    /// Whether it is a node, as opposed to a relay.
    pub(super) is_node: bool,
    /// When the connection with it was lost, in milliseconds since the Unix epoch.
    pub(super) lost_at_ms: Option<u64>,
}

/// All pages from the first waiting envelope to the last one.
#[derive(Debug, Default)]
struct Pass {
    /// Whether undecided envelopes were left behind.
    undecided: bool,
    /// Whether an envelope was done after that.
    progress: bool,
    /// The envelopes that were left behind, and their bytes.
    left: (u64, u64),
}

/// The next step after a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterPage {
    /// The next request is sent.
    Requested,
    /// No mail is left at the holder except what can't be handled now.
    AllFetched,
}

impl Holder {
    pub(super) fn new(id: DeviceId, stream: MailStream, is_own: bool) -> Self {
        Self {
            id,
            stream,
            is_own,
            holds: false,
            facts: Facts::default(),
            deposits: BTreeMap::new(),
            last_deposit: 0,
            page: Page::default(),
            pass: None,
            page_end: None,
            news: false,
            retry_at: None,
            retry_after: RETRY_AFTER,
        }
    }

    /// Whether a frame is of this connection with the holder.
    pub(super) fn is_stream(&self, number: u64) -> bool {
        self.stream.number == number
    }

    /// Sends a frame. It is lost if the connection has ended, and the engine learns of that.
    pub(super) fn send(&self, frame: ToHolder) {
        let _ = self.stream.frames.send(frame);
    }

    // This node's own mail.

    /// It holds mail for this node. Returns whether that is new.
    pub(super) fn holds(&mut self, envelopes: u64, bytes: u64, since_ms: u64) -> bool {
        (self.facts.waiting, self.facts.since_ms) = ((envelopes, bytes), since_ms);
        !std::mem::replace(&mut self.holds, true)
    }

    /// It refuses to hold mail for this node. Returns whether that is new.
    pub(super) fn holds_nothing(&mut self) -> bool {
        std::mem::take(&mut self.holds)
    }

    /// The known facts about it, if it holds mail for this node.
    pub(super) fn holding(&self) -> Option<&Facts> {
        self.holds.then_some(&self.facts)
    }

    /// Continues to count what an earlier connection with the holder counted.
    pub(super) fn count_from(&mut self, facts: Facts) {
        self.facts = facts;
    }

    /// From now on this node's own mail is held there, or no longer.
    pub(super) fn set_own(&mut self, is_own: bool) {
        self.is_own = is_own;
    }

    // Deposits.

    pub(super) fn has_room(&self) -> bool {
        self.deposits.len() < DEPOSITS_MAX
    }

    /// Sends an envelope, and notes that it is on its way. `token` is for its recipient.
    pub(super) fn deposit(&mut self, deposited: Deposited, token: DepositToken) {
        self.last_deposit += 1;
        self.send(ToHolder::Deposit(Deposit {
            number: self.last_deposit,
            recipient: deposited.peer,
            token,
            envelope: deposited.envelope.clone(),
        }));
        self.deposits.insert(self.last_deposit, deposited);
    }

    /// The holder has answered.
    pub(super) fn answered(&mut self, number: u64) -> Option<Deposited> {
        self.deposits.remove(&number)
    }

    /// The same for an envelope about a room. They leave places for messages to one peer alone.
    pub(super) fn has_room_for_rooms(&self) -> bool {
        self.deposits.len() < DEPOSITS_MAX / 2
    }

    /// Whether an envelope for this peer about this conversation is on its way.
    pub(super) fn is_asked_for(&self, peer: DeviceId, room: Option<ConversationId>) -> bool {
        let mut deposits = self.deposits.values();
        deposits.any(|it| it.peer == peer && it.room == room)
    }

    /// The bytes of envelopes of this kind that are on their way to this peer.
    pub(super) fn bytes_on_the_way(
        &self,
        peer: DeviceId,
        is_one: impl Fn(&Deposited) -> bool,
    ) -> u64 {
        let of_kind = self.deposits.values().filter(|it| is_one(it));
        let lengths = of_kind
            .filter(|it| it.peer == peer)
            .map(|it| it.envelope.len());
        lengths.map(|length| length as u64).sum()
    }

    /// The envelopes that the holder has not answered, oldest first. It may have stored them.
    pub(super) fn take_unanswered(&mut self) -> Vec<Deposited> {
        std::mem::take(&mut self.deposits).into_values().collect()
    }

    // Envelopes for this node.

    /// Requests all envelopes, or does so after the pass that is under way.
    pub(super) fn fetch(&mut self) {
        if self.pass.is_some() {
            self.news = true;
            return;
        }
        (self.pass, self.news, self.retry_at) = (Some(Pass::default()), false, None);
        self.send(ToHolder::Fetch(0));
    }

    /// Messages from another holder are on disk. An envelope that is undecided here, or of a page
    /// that is under way, may have waited for them.
    pub(super) fn settled_elsewhere(&mut self) {
        if self.retry_at.is_some() || self.pass.is_some() {
            self.fetch();
        }
    }

    /// Whether a further envelope belongs to the page. Otherwise the holder sent what nobody
    /// requested, and the caller ignores it.
    pub(super) fn expects_envelope(&self) -> bool {
        self.pass.is_some() && self.page_end.is_none() && self.page.has_room()
    }

    pub(super) fn arrives(&mut self, item: PageItem) {
        self.page.add(item);
    }

    pub(super) fn page_ends(&mut self, more: bool) {
        if self.pass.is_some() {
            self.page_end = Some(more);
        }
    }

    /// The replica refused a batch for good.
    pub(super) fn refused(&mut self, sender: DeviceId, signature: Signature) {
        self.page.refused(sender, signature);
    }

    /// Takes the page, if it has arrived as a whole. The caller calls this when the replica has
    /// finished with all batches.
    pub(super) fn take_page(&mut self) -> Option<(Page, bool)> {
        let more = self.page_end.take()?;
        Some((std::mem::take(&mut self.page), more))
    }

    /// The senders in the page that has arrived.
    pub(super) fn page_is_from(&self, sender: DeviceId) -> bool {
        self.page.is_from(sender)
    }

    /// A page is decided: deletes what is done at the holder, and requests what follows. `last` is
    /// the number of the page's last envelope, if more follow.
    pub(super) fn page_decided(
        &mut self,
        decided: &Decided,
        last: Option<u64>,
        now: Now,
    ) -> AfterPage {
        let pass = self.pass.as_mut().expect("the page was requested");
        pass.left.0 += decided.left.0;
        pass.left.1 += decided.left.1;
        self.facts.fetched += decided.done.len() as u64;
        pass.progress |= pass.undecided && !decided.done.is_empty();
        pass.undecided |= decided.undecided;
        for numbers in decided.done.chunks(NUMBERS_MAX) {
            self.send(ToHolder::Delete(numbers.to_vec()));
        }
        if let Some(last) = last {
            self.send(ToHolder::Fetch(last));
            return AfterPage::Requested;
        }
        let pass = self.pass.take().expect("looked at above");
        (self.facts.waiting, self.facts.fetched_at_ms) = (pass.left, Some(now.wall_ms));
        if pass.progress || !pass.undecided {
            self.retry_after = RETRY_AFTER;
        }
        // An undecided envelope may have waited for one that is done now.
        if self.news || pass.progress {
            self.fetch();
            return AfterPage::Requested;
        }
        if pass.undecided {
            self.retry_at = Some(now.mono + self.retry_after);
            self.retry_after = RETRY_AFTER_MAX.min(2 * self.retry_after);
        }
        AfterPage::AllFetched
    }

    /// When undecided envelopes are requested again.
    pub(super) fn retry_at(&self) -> Option<Duration> {
        self.retry_at
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::super::page::Content;
    use super::*;

    fn holder() -> (Holder, mpsc::UnboundedReceiver<ToHolder>) {
        let (frames, sent) = mpsc::unbounded_channel();
        let stream = MailStream { number: 1, frames };
        (
            Holder::new(DeviceId::from_bytes([8; 32]), stream, true),
            sent,
        )
    }

    fn item(number: u64) -> PageItem {
        PageItem {
            number,
            sender: DeviceId::from_bytes([2; 32]),
            bytes: 1_000,
            content: Content::Useless,
        }
    }

    fn decided(done: &[u64], undecided: bool) -> Decided {
        Decided {
            done: done.to_vec(),
            settled: !done.is_empty(),
            undecided,
            left: (undecided.into(), 0),
        }
    }

    fn at(mono: Duration) -> Now {
        Now {
            mono,
            wall_ms: 1_000,
        }
    }

    /// A pass of one page, which is decided at this time.
    fn pass(holder: &mut Holder, done: &[u64], undecided: bool, now: Duration) -> AfterPage {
        holder.page_ends(false);
        holder.take_page().expect("it has ended");
        holder.page_decided(&decided(done, undecided), None, at(now))
    }

    #[test]
    fn one_page_is_handled_at_a_time() {
        let (mut holder, mut sent) = holder();
        holder.page_ends(false);
        assert!(
            !holder.expects_envelope() && holder.take_page().is_none(),
            "nobody asked"
        );
        holder.fetch();
        holder.fetch();
        assert_eq!(sent.try_recv(), Ok(ToHolder::Fetch(0)));
        assert!(sent.try_recv().is_err(), "one request at a time");
        assert!(holder.expects_envelope());
        holder.arrives(item(1));
        assert!(holder.take_page().is_none(), "the page has no end yet");
        holder.page_ends(true);
        assert!(!holder.expects_envelope(), "a page has one end");
        let (page, more) = holder.take_page().expect("it has ended");
        assert_eq!((page.last(), more), (Some(1), true));
        let after = holder.page_decided(&decided(&[1], false), page.last(), at(Duration::ZERO));
        assert_eq!(after, AfterPage::Requested);
        assert_eq!(sent.try_recv(), Ok(ToHolder::Delete(vec![1])));
        assert_eq!(sent.try_recv(), Ok(ToHolder::Fetch(1)));
        let after = pass(&mut holder, &[], false, Duration::ZERO);
        assert_eq!(after, AfterPage::Requested, "there was news");
        assert_eq!(sent.try_recv(), Ok(ToHolder::Fetch(0)));
        let after = pass(&mut holder, &[], false, Duration::ZERO);
        assert_eq!((after, holder.retry_at()), (AfterPage::AllFetched, None));
    }

    #[test]
    fn a_holder_that_reorders_is_asked_again_when_the_gap_is_filled() {
        let (mut holder, mut sent) = holder();
        holder.fetch();
        holder.page_ends(true);
        let (page, _) = holder.take_page().expect("it has ended");
        assert_eq!(page.last(), None);
        // The second page has what the first one lacked.
        holder.page_decided(&decided(&[], true), Some(2), at(Duration::ZERO));
        let after = pass(&mut holder, &[1], false, Duration::ZERO);
        assert_eq!(after, AfterPage::Requested);
        let requests: Vec<_> = std::iter::from_fn(|| sent.try_recv().ok()).collect();
        assert_eq!(requests.last(), Some(&ToHolder::Fetch(0)));
    }

    #[test]
    fn a_gap_that_another_holder_fills_is_noticed_at_once() {
        let (mut holder, mut sent) = holder();
        holder.settled_elsewhere();
        assert!(sent.try_recv().is_err(), "nothing waits");
        holder.fetch();
        assert_eq!(sent.try_recv(), Ok(ToHolder::Fetch(0)));
        let after = pass(&mut holder, &[], true, Duration::ZERO);
        assert_eq!(after, AfterPage::AllFetched);
        holder.settled_elsewhere();
        assert_eq!(sent.try_recv(), Ok(ToHolder::Fetch(0)));
        // The page that is under way may have been judged before.
        holder.settled_elsewhere();
        let after = pass(&mut holder, &[], true, Duration::ZERO);
        assert_eq!(after, AfterPage::Requested);
        assert_eq!(sent.try_recv(), Ok(ToHolder::Fetch(0)));
    }

    #[test]
    fn the_facts_about_a_holder_are_those_after_the_last_pass() {
        let (mut holder, _sent) = holder();
        assert!(holder.holds(3, 3_000, 7));
        assert!(!holder.holds(2, 2_000, 7));
        assert_eq!(holder.holding().map(|it| it.waiting), Some((2, 2_000)));
        holder.fetch();
        pass(&mut holder, &[1], true, Duration::ZERO);
        let expected = Facts {
            waiting: (1, 0),
            since_ms: 7,
            fetched_at_ms: Some(1_000),
            fetched: 1,
            is_node: false,
            lost_at_ms: None,
        };
        assert_eq!(holder.holding(), Some(&expected));
        assert!(holder.holds_nothing() && !holder.holds_nothing());
    }

    #[test]
    fn undecided_envelopes_are_requested_again_less_and_less_often() {
        let (mut holder, _sent) = holder();
        let mut now = Duration::ZERO;
        let mut times = Vec::new();
        for _ in 0..8 {
            holder.fetch();
            assert_eq!(pass(&mut holder, &[], true, now), AfterPage::AllFetched);
            let at = holder.retry_at().expect("something is left");
            times.push((at - now).as_secs());
            now = at;
        }
        assert_eq!(times, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        holder.fetch();
        assert_eq!(holder.retry_at(), None, "it is under way");
    }

    fn deposit(holder: &mut Holder, envelope: &[u8]) {
        let (peer, me) = (DeviceId::from_bytes([2; 32]), DeviceId::from_bytes([1; 32]));
        let deposited = Deposited {
            session: SessionId(1),
            peer,
            room: None,
            packed: Packed::default(),
            envelope: envelope.to_vec(),
            again: false,
        };
        holder.deposit(deposited, DepositToken::new(&[7; 32], me, holder.id, 1));
    }

    #[test]
    fn each_deposit_is_answered_once() {
        let (mut holder, mut sent) = holder();
        let mut numbers = Vec::new();
        while holder.has_room() {
            deposit(&mut holder, &[]);
            let Ok(ToHolder::Deposit(frame)) = sent.try_recv() else {
                panic!("it is sent")
            };
            numbers.push(frame.number);
        }
        assert_eq!(numbers.len(), DEPOSITS_MAX);
        assert!(!holder.has_room_for_rooms());
        assert!(holder.answered(numbers[0]).is_some());
        assert!(holder.answered(numbers[0]).is_none());
        assert!(holder.has_room());
    }

    #[test]
    fn what_a_holder_has_not_answered_is_known_after_the_connection() {
        let (mut holder, _sent) = holder();
        for envelope in [[1], [2], [3]] {
            deposit(&mut holder, &envelope);
        }
        holder.answered(2);
        let room = Some(ConversationId::from_bytes([7; 32]));
        assert!(holder.is_asked_for(DeviceId::from_bytes([2; 32]), None));
        assert!(!holder.is_asked_for(DeviceId::from_bytes([2; 32]), room));
        assert!(!holder.is_asked_for(DeviceId::from_bytes([3; 32]), None));
        let left = holder.take_unanswered();
        let left: Vec<_> = left.into_iter().map(|it| it.envelope).collect();
        assert_eq!(left, [[1], [3]]);
        assert!(!holder.is_asked_for(DeviceId::from_bytes([2; 32]), None));
    }
}
