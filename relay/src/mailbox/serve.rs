//! One node's stream about mailboxes: reads its frames, passes them to the store, writes the answers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hobnob_protocol::PeerId;
use hobnob_protocol::mailbox::{DepositAnswer, FromHolder, STREAM_MAILBOX, ToHolder};
use hobnob_transport::frames::{FrameBatch, FrameReader, ReceiveError};
use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

use super::store::{Job, Mailboxes, Request};

/// Maximum requests of one node that wait for the store, or whose answers wait to be written. A fetch
/// counts as all of them.
const REQUESTS_MAX: u32 = 16;

/// The recipients whose nodes are connected. The relay notifies them of new envelopes.
#[derive(Debug, Clone, Default)]
pub(crate) struct News(Arc<Mutex<BTreeMap<PeerId, Arc<Notify>>>>);

impl News {
    fn of(&self, peer: PeerId) -> Option<Arc<Notify>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&peer).cloned()
    }

    /// A recipient has connected. A newer connection replaces an older one.
    fn begin(&self, peer: PeerId) -> Arc<Notify> {
        let notify = Arc::new(Notify::new());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(peer, notify.clone());
        notify
    }

    fn end(&self, peer: PeerId, notify: &Arc<Notify>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all
            .get(&peer)
            .is_some_and(|of_peer| Arc::ptr_eq(of_peer, notify))
        {
            all.remove(&peer);
        }
    }
}

/// Answers to one request, and its place among the requests of the node.
type Answers = (Vec<Bytes>, OwnedSemaphorePermit);

/// Serves the streams about mailboxes that a node opens, one after another, until the connection
/// ends. Returns early if the node violates the protocol. The text says how.
pub(crate) async fn serve(
    connection: &Connection,
    peer: PeerId,
    mailboxes: &Mailboxes,
    news: &News,
) -> Option<String> {
    loop {
        let Ok((send, receive)) = connection.accept_bi().await else {
            return None;
        };
        if let Err(wrong) = serve_stream(send, receive, peer, mailboxes, news).await {
            return Some(wrong);
        }
    }
}

async fn serve_stream(
    send: SendStream,
    mut receive: RecvStream,
    peer: PeerId,
    mailboxes: &Mailboxes,
    news: &News,
) -> Result<(), String> {
    let mut first = [0];
    if receive.read_exact(&mut first).await.is_err() {
        return Ok(());
    }
    if first != [STREAM_MAILBOX] {
        return Err("a stream of an unknown kind".to_owned());
    }
    let notify = news.begin(peer);
    let (answers, waiting) = mpsc::unbounded_channel();
    let result = tokio::select! {
        result = read(FrameReader::new(receive), peer, mailboxes, news, answers) => result,
        () = write(send, waiting, &notify) => Ok(()),
    };
    news.end(peer, &notify);
    result
}

async fn read(
    mut frames: FrameReader,
    peer: PeerId,
    mailboxes: &Mailboxes,
    news: &News,
    answers: mpsc::UnboundedSender<Answers>,
) -> Result<(), String> {
    let places = Arc::new(Semaphore::new(REQUESTS_MAX as usize));
    loop {
        let frame = match frames.next().await {
            Ok(frame) => frame,
            Err(error @ ReceiveError::TooLarge) => return Err(error.to_string()),
            Err(
                ReceiveError::Lost(_)
                | ReceiveError::Ended
                | ReceiveError::Truncated
                | ReceiveError::Stream(_),
            ) => return Ok(()),
        };
        let frame = ToHolder::decode(&frame).map_err(|error| error.to_string())?;
        let (request, places_needed, recipient) = match frame {
            ToHolder::Hold { record, senders } => (Request::Hold(record, senders), 1, None),
            ToHolder::Deposit(deposit) => {
                let recipient = deposit.recipient;
                (Request::Deposit(deposit), 1, Some(recipient))
            }
            ToHolder::Fetch(after) => (Request::Fetch(after), REQUESTS_MAX, None),
            ToHolder::Delete(numbers) => (Request::Delete(numbers), 1, None),
            ToHolder::Unknown(_) => continue,
        };
        let place = places.clone().acquire_many_owned(places_needed).await;
        let place = place.expect("nobody closes it");
        let (answers, news) = (answers.clone(), news.clone());
        let reply = move |frames: Vec<FromHolder>| {
            let is_stored =
                |frame: &FromHolder| matches!(frame, FromHolder::Answer(_, DepositAnswer::Stored));
            if let Some(recipient) = recipient.filter(|_| frames.iter().any(is_stored))
                && let Some(notify) = news.of(recipient)
            {
                notify.notify_one();
            }
            let encoded = frames.iter().map(FromHolder::encode).collect();
            // The node may have left.
            let _ = answers.send((encoded, place));
        };
        let job = Job {
            from: peer,
            request,
            reply: Box::new(reply),
        };
        if mailboxes.ask(job).await.is_none() {
            return Ok(());
        }
    }
}

async fn write(
    mut stream: SendStream,
    mut answers: mpsc::UnboundedReceiver<Answers>,
    notify: &Notify,
) {
    loop {
        let mut batch = FrameBatch::default();
        let place = tokio::select! {
            answer = answers.recv() => {
                let Some((frames, place)) = answer else { return };
                frames.into_iter().for_each(|frame| batch.push(frame));
                Some(place)
            }
            () = notify.notified() => {
                batch.push(FromHolder::News.encode());
                None
            }
        };
        if batch.write(&mut stream).await.is_err() {
            return;
        }
        drop(place);
    }
}
