//! Events without gaps: each message from somebody else and each notice exactly once, although
//! subscriptions start late, lag and end.
//!
//! What a subscription missed is read back: messages from the history, in the order in which they
//! came, after the last one that was told, and ids told before are left out; notices from the
//! node's status, by their numbers.

use std::collections::{BTreeSet, VecDeque};

use hobnob::MessageId;
use hobnob_control::wire::{
    Command, HISTORY_PAGE_MAX, HistoryFilter, MessageLine, NoticeLine, StatusLine, Text, Time,
    WireEvent,
};
use hobnob_control::{Client, ClientError, EventStream};

/// Ids of messages told lately that are remembered: several times as many as the node keeps events
/// for a reader that is slow, since those come again after what was missed has been read back.
const TOLD_MAX: usize = 32 * 1024;

/// Which messages have been told. Outlives the node they came from.
#[derive(Debug)]
pub(crate) struct Told {
    /// When the last one that was told came, or where to begin: to read on from where that one
    /// itself is no longer held.
    since: Time,
    last: Option<MessageId>,
    ids: BTreeSet<MessageId>,
    order: VecDeque<MessageId>,
}

impl Told {
    /// Messages received before `start` are not news.
    pub(crate) fn since(start: Time) -> Told {
        Told {
            since: start,
            last: None,
            ids: BTreeSet::new(),
            order: VecDeque::new(),
        }
    }

    /// Whether this message is news. Own messages are: they are told when they are written, and not
    /// read back.
    fn is_news(&mut self, message: &MessageLine) -> bool {
        if message.state.is_some() {
            return true;
        }
        if !self.ids.insert(message.id.0) {
            return false;
        }
        self.order.push_back(message.id.0);
        if self.order.len() > TOLD_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        (self.last, self.since) = (Some(message.id.0), message.received_at);
        true
    }
}

/// Events taken from the pipe for each page that is read back: more than a page holds, or else the
/// pipe would never be empty.
const SKIPPED_MAX: usize = 4 * HISTORY_PAGE_MAX;

/// The events of one node, from where `Told` left off.
#[derive(Debug)]
pub(crate) struct Feed {
    client: Client,
    events: EventStream,
    missed: VecDeque<MessageLine>,
    missed_notices: VecDeque<NoticeLine>,
    /// The last notice that was told.
    noticed: u64,
    /// Events that came while messages were read back.
    meanwhile: VecDeque<WireEvent>,
    /// What is to be read back before events go on.
    behind: Option<Behind>,
}

/// Where reading back goes on. A page at a time: what was missed can be more than memory holds.
#[derive(Debug, Clone, Copy)]
enum Behind {
    After(MessageId),
    /// By this node's clock, which may have been set meanwhile: before anything was told, and where
    /// the last one told is no longer held.
    Since(Time),
}

impl Behind {
    fn of(told: &Told) -> Behind {
        told.last.map_or(Behind::Since(told.since), Behind::After)
    }
}

impl Feed {
    /// Subscribes, and reads back what came before the subscription.
    pub(crate) async fn open(client: &Client, told: &Told) -> Result<Feed, ClientError> {
        let events = client.events().await?;
        let behind = Some(Behind::of(told));
        let mut feed = Feed {
            client: client.clone(),
            events,
            missed: VecDeque::new(),
            missed_notices: VecDeque::new(),
            noticed: 0,
            meanwhile: VecDeque::new(),
            behind,
        };
        feed.read_notices().await?;
        feed.read_back(told).await?;
        Ok(feed)
    }

    /// The next event; none when the node has ended or is about to. Cancel safe.
    pub(crate) async fn next(&mut self, told: &mut Told) -> Result<Option<WireEvent>, ClientError> {
        loop {
            if let Some(notice) = self.missed_notices.pop_front() {
                self.noticed = self.noticed.max(notice.number);
                return Ok(Some(WireEvent::Notice(notice)));
            }
            while let Some(message) = self.missed.pop_front() {
                if told.is_news(&message) {
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
                self.read_back(told).await?;
                continue;
            }
            match self.events.next().await {
                Some(WireEvent::Message(message)) if !told.is_news(&message) => {}
                Some(WireEvent::Lagged { missed }) => {
                    self.behind = Some(Behind::of(told));
                    self.read_notices().await?;
                    return Ok(Some(WireEvent::Lagged { missed }));
                }
                Some(event) if !self.is_new(&event) => {}
                other => return Ok(other),
            }
        }
    }

    /// Whether an event that is no message has not been told before.
    fn is_new(&mut self, event: &WireEvent) -> bool {
        let WireEvent::Notice(notice) = event else {
            return true;
        };
        let new = notice.number > self.noticed;
        self.noticed = self.noticed.max(notice.number);
        new
    }

    async fn read_notices(&mut self) -> Result<(), ClientError> {
        let status: StatusLine = self.client.ask(Command::Status).await?;
        let noticed = self.noticed;
        self.missed_notices.extend(
            status
                .notices
                .into_iter()
                .filter(|notice| notice.number > noticed),
        );
        Ok(())
    }

    /// Takes the events that wait. The messages among them are on disk, and come with what is read
    /// back: left in the pipe, they would come again when their ids are forgotten.
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
    async fn read_back(&mut self, told: &Told) -> Result<(), ClientError> {
        let Some(behind) = self.behind else {
            return Ok(());
        };
        let (since, after) = match behind {
            Behind::After(id) => (None, Some(Text(id))),
            Behind::Since(time) => (Some(time), None),
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
                // It was let go meanwhile, as the oldest are in a room where much is said. Not from
                // further back than what was told last, whose neighbours' ids are still remembered.
                self.behind = Some(Behind::Since(told.since));
                return Ok(());
            }
            page => page?,
        };
        let full = page.messages.len() >= HISTORY_PAGE_MAX;
        self.behind = page
            .messages
            .last()
            .filter(|_| full)
            .map(|last| Behind::After(last.id.0));
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
    use hobnob::protocol::{Body, LogId, PeerId, RoomName};
    use hobnob::{ConversationRef, DeliveryState};

    fn message(seq: u64, received_at: u64, state: Option<DeliveryState>) -> MessageLine {
        MessageLine {
            id: Text(MessageId { log: LogId(1), seq }),
            conversation: Text(ConversationRef::Room(RoomName::lobby())),
            from: Text(PeerId::from_bytes([1; 32])),
            nick: "ann".into(),
            body: Body::Text("hi".into()).into(),
            sent_at: Time(0),
            received_at: Time(received_at),
            state,
        }
    }

    #[test]
    fn a_message_is_told_once_and_only_so_many_are_remembered() {
        let mut told = Told::since(Time(5));
        assert!(told.is_news(&message(1, 7, None)));
        assert!(!told.is_news(&message(1, 7, None)));
        assert!(told.is_news(&message(1, 7, Some(DeliveryState::Queued))));
        assert_eq!(
            (told.last, told.since),
            (
                Some(MessageId {
                    log: LogId(1),
                    seq: 1
                }),
                Time(7)
            )
        );
        for seq in 2..100_000 {
            assert!(told.is_news(&message(seq, 7, None)));
        }
        assert_eq!((told.ids.len(), told.order.len()), (TOLD_MAX, TOLD_MAX));
    }
}
