//! The queue of events. Every reader reads it at its own pace.
//!
//! An event is kept until all readers have read it, but the queue holds at most [`EVENTS_MAX`]
//! events and [`BYTES_MAX`] bytes. A reader that is further behind loses the oldest events and
//! learns how many. The node never waits for a reader.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::Stream;
use hobnob_protocol::Body;

use super::{ActivityKind, Change, Event};

/// Events in the queue, at most.
const EVENTS_MAX: usize = 8192;

/// Bytes of the events in the queue, at most.
const BYTES_MAX: usize = 4 << 20;

/// Why there is no next event.
///
/// No message is lost: [`Node::messages`](super::Node::messages) and
/// [`Node::history`](super::Node::history) return those that a reader missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lagged {
    /// The reader was more than 8192 events or 4 MiB behind, and missed this many events. The next
    /// call continues after them.
    #[error("{0} events were missed")]
    Behind(u64),
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

/// The events of a node since the call of [`Node::events`](super::Node::events).
///
/// Each reader gets all events, at its own pace. The node waits for no reader. One that is too slow
/// learns how many events it missed.
///
/// This is also a [`Stream`] of the futures crates. It ends when the node has stopped:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// use futures_util::StreamExt;
/// use hobnob::{Event, Node};
///
/// let node = Node::builder(dir.path()).loopback().start().await?;
/// let own = node.events().filter_map(async |event| match event {
///     Ok(Event::Own(message)) => Some(message.body),
///     Ok(_) | Err(_) => None,
/// });
/// node.broadcast("lobby".parse()?, "hello?".into()).await?;
/// node.shutdown().await;
/// assert_eq!(own.collect::<Vec<_>>().await, ["hello?".into()]);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Events {
    stream: EventStream,
    reader: u64,
}

impl Events {
    /// Waits for the next event. Cancel safe, so it can be used in `select!`.
    pub async fn next(&mut self) -> Result<Event, Lagged> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<Event, Lagged>> {
        match self.stream.queue().take(self.reader, cx.waker()) {
            Some(next) => Poll::Ready(next.map(Arc::unwrap_or_clone)),
            None => Poll::Pending,
        }
    }

    /// Drops all events that wait to be read.
    pub(super) fn skip(&mut self) {
        self.stream.queue().skip(self.reader);
    }
}

impl Stream for Events {
    type Item = Result<Event, Lagged>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx).map(|next| {
            if matches!(next, Err(Lagged::Stopped)) {
                None
            } else {
                Some(next)
            }
        })
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut queue = self.stream.queue();
        queue.readers.remove(&self.reader);
        queue.drop_read();
    }
}

/// Creates readers.
#[derive(Debug, Clone)]
pub(super) struct EventStream {
    queue: Arc<Mutex<Queue>>,
}

impl EventStream {
    pub(super) fn subscribe(&self) -> Events {
        let mut queue = self.queue();
        let (reader, next) = (queue.readers_so_far, queue.next());
        queue.readers_so_far += 1;
        queue.readers.insert(reader, Reader { next, waker: None });
        Events {
            stream: self.clone(),
            reader,
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // No code that holds the lock can panic with the queue half changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Publishes events. When it is dropped, the readers' streams end.
#[derive(Debug)]
pub(super) struct Publisher(EventStream);

impl Publisher {
    pub(super) fn new() -> Publisher {
        Publisher(EventStream {
            queue: Arc::default(),
        })
    }

    pub(super) fn stream(&self) -> EventStream {
        self.0.clone()
    }

    /// Whether there is a reader. If not, making events can be skipped.
    pub(super) fn is_heard(&self) -> bool {
        !self.0.queue().readers.is_empty()
    }

    pub(super) fn publish(&self, event: Event) {
        self.publish_all([event]);
    }

    /// Publishes several events, and wakes the readers once.
    pub(super) fn publish_all(&self, events: impl IntoIterator<Item = Event>) {
        let events: Vec<_> = events
            .into_iter()
            .map(|event| (weight(&event), Arc::new(event)))
            .collect();
        if events.is_empty() {
            return;
        }
        let wakers = {
            let mut queue = self.0.queue();
            queue.extend(events);
            queue.wakers()
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let wakers = {
            let mut queue = self.0.queue();
            queue.ended = true;
            queue.wakers()
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Arc<Event>>,
    /// The number of the first event in the queue.
    first: u64,
    bytes: usize,
    readers: BTreeMap<u64, Reader>,
    readers_so_far: u64,
    ended: bool,
}

#[derive(Debug)]
struct Reader {
    /// The number of the event that this reader reads next.
    next: u64,
    /// Set while the reader waits.
    waker: Option<Waker>,
}

impl Queue {
    /// The number of the next event to be published.
    fn next(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    fn extend(&mut self, events: Vec<(usize, Arc<Event>)>) {
        if self.readers.is_empty() {
            return;
        }
        for (weight, event) in events {
            self.bytes += weight;
            self.events.push_back(event);
            while self.events.len() > EVENTS_MAX || self.bytes > BYTES_MAX {
                self.drop_first();
            }
        }
    }

    /// The next event of a reader. If there is none, `waker` is used when there is.
    fn take(&mut self, reader: u64, waker: &Waker) -> Option<Result<Arc<Event>, Lagged>> {
        let (first, end) = (self.first, self.next());
        let reader = self
            .readers
            .get_mut(&reader)
            .expect("a reader is registered until it is dropped");
        if reader.next < first {
            let missed = first - reader.next;
            reader.next = first;
            return Some(Err(Lagged::Behind(missed)));
        }
        if reader.next == end {
            reader.waker = (!self.ended).then(|| waker.clone());
            return self.ended.then_some(Err(Lagged::Stopped));
        }
        let index = usize::try_from(reader.next - first).expect("less than there are");
        reader.next += 1;
        let event = self.events[index].clone();
        if index == 0 {
            self.drop_read();
        }
        Some(Ok(event))
    }

    /// The wakers of the readers that wait.
    fn wakers(&mut self) -> Vec<Waker> {
        self.readers
            .values_mut()
            .filter_map(|reader| reader.waker.take())
            .collect()
    }

    /// Moves a reader to the end of the queue.
    fn skip(&mut self, reader: u64) {
        let next = self.next();
        self.readers.insert(reader, Reader { next, waker: None });
        self.drop_read();
    }

    /// Drops the events that all readers have read.
    fn drop_read(&mut self) {
        let needed = self
            .readers
            .values()
            .map(|reader| reader.next)
            .min()
            .unwrap_or(u64::MAX);
        while self.first < needed && !self.events.is_empty() {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.bytes -= weight(&event);
            self.first += 1;
        }
    }
}

/// The approximate size of an event in memory.
fn weight(event: &Event) -> usize {
    let text = match event {
        Event::Message(message) | Event::Own(message) => match &message.body {
            Body::Text(text) | Body::Reply { text, .. } | Body::Edit { text, .. } => text.len(),
            Body::React { emoji, .. } => emoji.len(),
            Body::Topic(topic) => topic.len(),
            Body::Pin { .. } => 0,
            Body::App { kind, bytes } => kind.len() + bytes.len(),
            Body::Offer(offer) => offer.name.len() + offer.media.len(),
            Body::Delete { .. } | Body::Erased { .. } => 0,
            Body::Unknown { bytes, .. } => bytes.len(),
        },
        Event::Amended(amended) => match &amended.change {
            Change::Edited { text } => text.len(),
            Change::Reacted { emoji, .. } => emoji.len(),
        },
        Event::Activity(activity) => match &activity.kind {
            ActivityKind::Status { text, .. } => text.len(),
            ActivityKind::Typing { .. } | ActivityKind::Read { .. } => 0,
        },
        Event::Notice(notice) => notice.reason.text_len(),
        Event::File(file) => file.offer.name.len() + file.offer.media.len(),
        Event::Erased { ids, .. } => size_of::<crate::MessageId>() * ids.len(),
        Event::Listening { .. } | Event::Peer(_) | Event::Receipt { .. } => 0,
    };
    size_of::<Event>() + text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Notice, NoticeReason};

    fn notice(number: u64, bytes: usize) -> Event {
        Event::Notice(Notice {
            number,
            reason: NoticeReason::StoreError {
                why: "x".repeat(bytes),
            },
            peer: None,
        })
    }

    async fn number(events: &mut Events) -> Result<u64, Lagged> {
        let event = events.next().await?;
        let Event::Notice(notice) = event else {
            panic!("{event:?}")
        };
        Ok(notice.number)
    }

    #[tokio::test]
    async fn every_reader_gets_every_event_from_its_beginning_on() {
        let publisher = Publisher::new();
        publisher.publish(notice(0, 1));
        let mut one = publisher.stream().subscribe();
        publisher.publish(notice(1, 1));
        let mut other = publisher.stream().subscribe();
        publisher.publish(notice(2, 1));
        assert_eq!(
            (
                number(&mut one).await,
                number(&mut one).await,
                number(&mut other).await
            ),
            (Ok(1), Ok(2), Ok(2))
        );
        assert!(publisher.0.queue().events.is_empty());
        drop(publisher);
        assert_eq!(
            (number(&mut one).await, number(&mut other).await),
            (Err(Lagged::Stopped), Err(Lagged::Stopped))
        );
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_what_it_missed_and_costs_only_so_much() {
        for (events, bytes) in [(EVENTS_MAX as u64 + 100, 1), (1000, BYTES_MAX / 100)] {
            let publisher = Publisher::new();
            let (mut slow, mut gone) = (
                publisher.stream().subscribe(),
                publisher.stream().subscribe(),
            );
            (0..events).for_each(|n| publisher.publish(notice(n, bytes)));
            let queue_len = {
                let queue = publisher.0.queue();
                assert!(queue.events.len() <= EVENTS_MAX && queue.bytes <= BYTES_MAX);
                queue.events.len() as u64
            };
            assert_eq!(
                number(&mut slow).await,
                Err(Lagged::Behind(events - queue_len))
            );
            assert_eq!(number(&mut slow).await, Ok(events - queue_len));
            assert_eq!(
                number(&mut gone).await,
                Err(Lagged::Behind(events - queue_len))
            );
            drop(gone);
            assert_eq!(publisher.0.queue().events.len() as u64, queue_len - 1);
        }
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken() {
        let publisher = Publisher::new();
        let mut reader = publisher.stream().subscribe();
        let waiting = tokio::spawn(async move { number(&mut reader).await });
        tokio::task::yield_now().await;
        publisher.publish(notice(7, 1));
        assert_eq!(waiting.await.expect("no panic"), Ok(7));
    }
}
