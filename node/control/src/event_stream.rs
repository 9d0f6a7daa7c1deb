//! An event stream without gaps: each message from a peer and each notice exactly once, although
//! subscriptions start late, lag and end.
//!
//! The stream reads back what a subscription missed. Messages come from the history, in the order of
//! their arrival, after the last one that was seen. Messages that were seen before are left out.
//! Notices come from the node's status, by their numbers.

use std::collections::VecDeque;

use crate::client::{Client, ClientError, Subscription};
use crate::wire::{
    GetStatus, HISTORY_PAGE_MAX, HistoryFilter, MessageLine, StatusLine, Text, Time, WireEvent,
};
use hobnob::{MessageId, Notice};
use hobnob_limits::RecentSet;

/// Maximum number of remembered ids. It is several times the number of events that the node buffers
/// for a slow reader, because those arrive again after the missed messages were read back.
const SEEN_MAX: usize = 32 * 1024;

/// The messages that were seen. Outlives the node that reported them.
#[derive(Debug)]
pub struct SeenIds {
    /// When the last message arrived, or the start time: the place to read on from if the node no
    /// longer has that message.
    since: Time,
    last: Option<MessageId>,
    ids: RecentSet<MessageId, SEEN_MAX>,
}

impl SeenIds {
    /// Messages received before `start` count as seen.
    pub fn since(start: Time) -> SeenIds {
        SeenIds {
            since: start,
            last: None,
            ids: RecentSet::default(),
        }
    }

    /// Whether this message is new. Own messages always are: they are reported when they are written,
    /// and never read back.
    fn is_new_message(&mut self, message: &MessageLine) -> bool {
        if message.state.is_some() {
            return true;
        }
        if !self.ids.add(message.id.0) {
            return false;
        }
        (self.last, self.since) = (Some(message.id.0), message.received_at);
        true
    }
}

/// Maximum number of events taken from the subscription for each page that is read back. It is more
/// than a page holds, because otherwise the subscription would never be empty.
const SKIPPED_MAX: usize = 4 * HISTORY_PAGE_MAX;

/// The events of one node that [`SeenIds`] has not seen.
#[derive(Debug)]
pub struct EventStream {
    client: Client,
    events: Subscription,
    missed: VecDeque<MessageLine>,
    missed_notices: VecDeque<Notice>,
    /// The last notice that was seen.
    noticed: u64,
    /// Events that arrived while messages were read back.
    meanwhile: VecDeque<WireEvent>,
    /// The messages to read back before the next event.
    behind: Option<Backfill>,
}

/// The place from which to read back. One page at a time, because the missed messages may not fit
/// into memory.
#[derive(Debug, Clone, Copy)]
enum Backfill {
    After(MessageId),
    /// By this machine's clock, which may have been set meanwhile. Used before anything was seen, and
    /// if the node no longer has the last message.
    Since(Time),
}

impl Backfill {
    fn of(seen: &SeenIds) -> Backfill {
        seen.last
            .map_or(Backfill::Since(seen.since), Backfill::After)
    }
}

impl EventStream {
    /// Subscribes, and reads back the events before the subscription.
    pub async fn open(client: &Client, seen: &SeenIds) -> Result<EventStream, ClientError> {
        let events = client.events().await?;
        let behind = Some(Backfill::of(seen));
        let mut stream = EventStream {
            client: client.clone(),
            events,
            missed: VecDeque::new(),
            missed_notices: VecDeque::new(),
            noticed: 0,
            meanwhile: VecDeque::new(),
            behind,
        };
        stream.read_notices().await?;
        stream.read_back(seen).await?;
        Ok(stream)
    }

    /// The next event, or none when the node has stopped or is about to. Cancel safe.
    pub async fn next(&mut self, seen: &mut SeenIds) -> Result<Option<WireEvent>, ClientError> {
        loop {
            if let Some(notice) = self.missed_notices.pop_front() {
                self.noticed = self.noticed.max(notice.number);
                return Ok(Some(WireEvent::Notice(notice)));
            }
            while let Some(message) = self.missed.pop_front() {
                if seen.is_new_message(&message) {
                    return Ok(Some(WireEvent::Message(message)));
                }
            }
            if let Some(event) = self.meanwhile.pop_front() {
                if self.is_new(&event) {
                    return Ok(Some(event));
                }
                continue;
            }
            if self.behind.is_some() {
                self.skip().await;
                self.read_back(seen).await?;
                continue;
            }
            match self.events.next().await {
                Some(WireEvent::Message(message)) if !seen.is_new_message(&message) => {}
                Some(WireEvent::Lagged { missed }) => {
                    self.behind = Some(Backfill::of(seen));
                    self.read_notices().await?;
                    return Ok(Some(WireEvent::Lagged { missed }));
                }
                Some(event) if !self.is_new(&event) => {}
                other => return Ok(other),
            }
        }
    }

    /// Whether an event other than a message is new.
    fn is_new(&mut self, event: &WireEvent) -> bool {
        let WireEvent::Notice(notice) = event else {
            return true;
        };
        let new = notice.number > self.noticed;
        self.noticed = self.noticed.max(notice.number);
        new
    }

    async fn read_notices(&mut self) -> Result<(), ClientError> {
        let status: StatusLine = self.client.ask(GetStatus {}).await?;
        let noticed = self.noticed;
        self.missed_notices.extend(
            status
                .notices
                .into_iter()
                .filter(|notice| notice.number > noticed),
        );
        Ok(())
    }

    /// Takes the waiting events. The messages among them are on disk and will be read back. Left in
    /// the subscription, they would appear again once their ids are forgotten.
    async fn skip(&mut self) {
        for _ in 0..SKIPPED_MAX {
            let event = tokio::select! {
                biased;
                event = self.events.next() => event,
                () = std::future::ready(()) => return,
            };
            match event {
                Some(WireEvent::Message(message)) if message.state.is_none() => {}
                Some(event) => self.meanwhile.push_back(event),
                None => return,
            }
        }
    }

    /// Reads one page.
    async fn read_back(&mut self, seen: &SeenIds) -> Result<(), ClientError> {
        let Some(behind) = self.behind else {
            return Ok(());
        };
        let (since, after) = match behind {
            Backfill::After(id) => (None, Some(Text(id))),
            Backfill::Since(time) => (Some(time), None),
        };
        let filter = HistoryFilter {
            since,
            after,
            oldest: true,
            limit: Some(HISTORY_PAGE_MAX),
            ..HistoryFilter::default()
        };
        let page = match self.client.history_page(filter).await {
            Err(ClientError::Refused(failure)) if failure.code == "no-such-message" => {
                // The node has erased it meanwhile. Read on from the time of that message: the ids
                // of its neighbours are still remembered, those of older ones may not be.
                self.behind = Some(Backfill::Since(seen.since));
                return Ok(());
            }
            page => page?,
        };
        let full = page.messages.len() >= HISTORY_PAGE_MAX;
        self.behind = page
            .messages
            .last()
            .filter(|_| full)
            .map(|last| Backfill::After(last.id.0));
        self.missed.extend(
            page.messages
                .into_iter()
                .filter(|message| message.state.is_none()),
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::BodyFields;
    use hobnob::DeliveryState;
    use hobnob_protocol::{LogId, PersonId};

    fn message(seq: u64, received_at: u64, state: Option<DeliveryState>) -> MessageLine {
        MessageLine {
            mention: false,
            notify: false,
            id: Text(MessageId { log: LogId(1), seq }),
            conversation: Text("#lobby".parse().unwrap()),
            from: Text(PersonId::from_bytes([1; 32])),
            nick: "bob".into(),
            body: BodyFields::default(),
            amended: Box::default(),
            sent_at: Time(0),
            received_at: Time(received_at),
            state,
            reason: None,
            client_id: None,
            request: false,
        }
    }

    #[test]
    fn a_message_is_new_once_and_only_so_many_are_remembered() {
        let mut seen = SeenIds::since(Time(5));
        assert!(seen.is_new_message(&message(1, 7, None)));
        assert!(!seen.is_new_message(&message(1, 7, None)));
        assert!(seen.is_new_message(&message(1, 7, Some(DeliveryState::Queued))));
        assert_eq!(
            (seen.last, seen.since),
            (
                Some(MessageId {
                    log: LogId(1),
                    seq: 1
                }),
                Time(7)
            )
        );
        for seq in 2..100_000 {
            assert!(seen.is_new_message(&message(seq, 7, None)));
        }
        let id = |seq| MessageId { log: LogId(1), seq };
        let remembered = (1..100_000).filter(|seq| seen.ids.contains(id(*seq)));
        assert_eq!(remembered.count(), SEEN_MAX);
    }
}
