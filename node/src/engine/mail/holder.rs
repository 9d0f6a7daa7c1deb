//! The exchange with one holder: deposits on their way, and the page of envelopes that is handled.

use std::collections::BTreeMap;

use hobnob_core::SessionId;
use hobnob_protocol::mailbox::ToHolder;
use hobnob_protocol::{LogName, PeerId, Seq};

use super::outgoing::Packed;
use crate::net::relay::MailStream;

/// Maximum envelopes on their way to one holder. A holder accepts twice as many requests at once.
const DEPOSITS_MAX: usize = 8;

/// An envelope that arrived, and its batches.
#[derive(Debug)]
pub(super) struct PageItem {
    pub(super) number: u64,
    pub(super) sender: PeerId,
    pub(super) batches: Vec<(LogName, Seq, Seq)>,
    /// Whether it must stay at the holder, because it can't be opened yet.
    pub(super) stays: bool,
}

/// A page of envelopes that was handled.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) items: Vec<PageItem>,
    /// Whether more envelopes wait.
    pub(super) more: bool,
}

/// An envelope on its way to the holder.
#[derive(Debug)]
pub(super) struct Deposited {
    pub(super) session: SessionId,
    pub(super) packed: Packed,
    /// Whether it was sealed again already, for a key that the holder named.
    pub(super) again: bool,
}

/// A connected holder.
#[derive(Debug)]
pub(super) struct Holder {
    /// Its identity, proved.
    pub(super) id: PeerId,
    stream: MailStream,
    /// Whether this node's own mail is held there.
    pub(super) is_own: bool,
    /// Envelopes and bytes that waited, and since when it holds, as it said last.
    pub(super) holding: Option<(u64, u64, u64)>,
    deposits: BTreeMap<u64, Deposited>,
    last_deposit: u64,
    page: Vec<PageItem>,
    fetching: bool,
    /// Set by the end of the page: whether more follows.
    page_end: Option<bool>,
    /// Whether envelopes arrived at the holder since the last request.
    news: bool,
}

impl Holder {
    pub(super) fn new(id: PeerId, stream: MailStream, is_own: bool) -> Self {
        Self {
            id,
            stream,
            is_own,
            holding: None,
            deposits: BTreeMap::new(),
            last_deposit: 0,
            page: Vec::new(),
            fetching: false,
            page_end: None,
            news: false,
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

    // Deposits.

    pub(super) fn has_room(&self) -> bool {
        self.deposits.len() < DEPOSITS_MAX
    }

    /// Notes an envelope on its way. Returns its number.
    pub(super) fn deposit(&mut self, deposited: Deposited) -> u64 {
        self.last_deposit += 1;
        self.deposits.insert(self.last_deposit, deposited);
        self.last_deposit
    }

    /// The holder has answered.
    pub(super) fn answered(&mut self, number: u64) -> Option<Deposited> {
        self.deposits.remove(&number)
    }

    // Envelopes for this node.

    /// Requests envelopes, or does so after the page that is handled now.
    pub(super) fn fetch(&mut self, after: u64) {
        if self.fetching {
            self.news = true;
            return;
        }
        (self.fetching, self.news) = (true, false);
        self.send(ToHolder::Fetch(after));
    }

    pub(super) fn arrives(&mut self, item: PageItem) {
        if self.fetching {
            self.page.push(item);
        }
    }

    pub(super) fn page_ends(&mut self, more: bool) {
        if self.fetching {
            self.page_end = Some(more);
        }
    }

    /// Takes the page, if it has arrived as a whole. The caller calls this when the replica has
    /// finished with all batches.
    pub(super) fn take_page(&mut self) -> Option<Arrived> {
        let more = self.page_end.take()?;
        self.fetching = false;
        let items = std::mem::take(&mut self.page);
        Some(Arrived { items, more })
    }

    /// The senders in the page that has arrived.
    pub(super) fn page_is_from(&self, sender: PeerId) -> bool {
        self.page.iter().any(|item| item.sender == sender)
    }

    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    fn holder() -> (Holder, mpsc::UnboundedReceiver<ToHolder>) {
        let (frames, sent) = mpsc::unbounded_channel();
        let stream = MailStream { number: 1, frames };
        (Holder::new(PeerId::from_bytes([8; 32]), stream, true), sent)
    }

    fn item(number: u64) -> PageItem {
        PageItem {
            number,
            sender: PeerId::from_bytes([2; 32]),
            batches: Vec::new(),
            stays: false,
        }
    }

    #[test]
    fn one_page_is_handled_at_a_time() {
        let (mut holder, mut sent) = holder();
        holder.arrives(item(1));
        holder.page_ends(false);
        assert!(holder.take_page().is_none(), "nobody asked");
        holder.fetch(0);
        holder.fetch(0);
        assert_eq!(sent.try_recv(), Ok(ToHolder::Fetch(0)));
        assert!(sent.try_recv().is_err(), "one request at a time");
        holder.arrives(item(1));
        assert!(holder.take_page().is_none(), "the page has no end yet");
        holder.page_ends(true);
        let page = holder.take_page().expect("it has ended");
        assert_eq!((page.items.len(), page.more), (1, true));
        assert!(holder.take_news() && !holder.take_news());
    }

    #[test]
    fn each_deposit_is_answered_once() {
        let (mut holder, _sent) = holder();
        let mut numbers = Vec::new();
        while holder.has_room() {
            let deposited = Deposited {
                session: SessionId(1),
                packed: Packed::default(),
                again: false,
            };
            numbers.push(holder.deposit(deposited));
        }
        assert_eq!(numbers.len(), DEPOSITS_MAX);
        assert!(holder.answered(numbers[0]).is_some());
        assert!(holder.answered(numbers[0]).is_none());
        assert!(holder.has_room());
    }
}
