//! Events without gaps: each message from somebody else exactly once, although subscriptions start late, lag and end.
//!
//! What a subscription missed is read back from the history, from the last message on that was told; ids told before are left out.

use std::collections::{BTreeSet, VecDeque};

use hobnob::MessageId;
use hobnob::control::wire::{HistoryFilter, MessageLine, Time, WireEvent};
use hobnob::control::{Client, ClientError, EventStream};

/// Ids of messages told lately that are remembered. Only messages of the same moment as the last one need to be.
const TOLD_MAX: usize = 4096;

/// Which messages have been told. Outlives the node they came from.
#[derive(Debug)]
pub(crate) struct Told {
    since: Time,
    ids: BTreeSet<MessageId>,
    order: VecDeque<MessageId>,
}

impl Told {
    /// Messages received before `start` are not news.
    pub(crate) fn since(start: Time) -> Told {
        Told { since: start, ids: BTreeSet::new(), order: VecDeque::new() }
    }

    /// Whether this message is news. Own messages are: they are told when they are written, and not read back.
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
        self.since = self.since.max(message.received_at);
        true
    }
}

/// The events of one node, from where `Told` left off.
#[derive(Debug)]
pub(crate) struct Feed {
    client: Client,
    events: EventStream,
    missed: VecDeque<MessageLine>,
    /// How many events a lag has cost, until their messages have been read back.
    lag: Option<u64>,
}

impl Feed {
    /// Subscribes, and reads back what came before the subscription.
    pub(crate) async fn open(client: &Client, told: &Told) -> Result<Feed, ClientError> {
        let events = client.events().await?;
        let mut feed = Feed { client: client.clone(), events, missed: VecDeque::new(), lag: None };
        feed.read_back(told).await?;
        Ok(feed)
    }

    /// The next event; none when the node has ended or is about to. Cancel safe.
    pub(crate) async fn next(&mut self, told: &mut Told) -> Result<Option<WireEvent>, ClientError> {
        loop {
            if let Some(missed) = self.lag {
                self.read_back(told).await?;
                self.lag = None;
                return Ok(Some(WireEvent::Lagged { missed }));
            }
            while let Some(message) = self.missed.pop_front() {
                if told.is_news(&message) {
                    return Ok(Some(WireEvent::Message(message)));
                }
            }
            match self.events.next().await {
                Some(WireEvent::Message(message)) if !told.is_news(&message) => {}
                Some(WireEvent::Lagged { missed }) => self.lag = Some(missed),
                other => return Ok(other),
            }
        }
    }

    async fn read_back(&mut self, told: &Told) -> Result<(), ClientError> {
        let filter = HistoryFilter { since: Some(told.since), ..HistoryFilter::default() };
        let messages = self.client.history(filter).await?;
        self.missed.extend(messages.into_iter().filter(|message| message.state.is_none()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob::control::wire::Text;
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
        assert_eq!(told.since, Time(7));
        for seq in 2..10_000 {
            assert!(told.is_news(&message(seq, 7, None)));
        }
        assert_eq!((told.ids.len(), told.order.len()), (TOLD_MAX, TOLD_MAX));
    }
}
