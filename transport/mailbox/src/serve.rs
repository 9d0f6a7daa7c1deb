//! One node's stream about mailboxes: reads its frames, passes them to the store, writes the answers.
//!
//! Not here: which connection the stream belongs to, and which nodes may open one.

use std::sync::Arc;

use bytes::Bytes;
use hobnob_protocol::DeviceId;
use hobnob_protocol::mailbox::{DepositAnswer, FromHolder, ToHolder};
use hobnob_transport::frames::{FrameBatch, FrameReader, ReceiveError};
use quinn::{RecvStream, SendStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

use crate::store::{Job, Mailboxes, Request};

/// Maximum requests of one node that wait for the store, or whose answers wait to be written. A fetch
/// counts as all of them.
const REQUESTS_MAX: u32 = 16;

/// Answers to one request, and its place among the requests of the node.
type Answers = (Vec<Bytes>, OwnedSemaphorePermit);

/// Serves a stream about mailboxes until it ends. The caller has read the byte that names its kind,
/// and `peer` has proved its identity. `holds_for` decides for which recipients the holder stores new
/// mail.
///
/// # Errors
///
/// The node violates the protocol. The text says how.
pub async fn serve(
    send: SendStream,
    receive: RecvStream,
    peer: DeviceId,
    mailboxes: &Mailboxes,
    holds_for: impl Fn(DeviceId) -> bool,
) -> Result<(), String> {
    let notify = mailboxes.news().begin(peer);
    let (answers, waiting) = mpsc::unbounded_channel();
    let frames = FrameReader::new(receive);
    let result = tokio::select! {
        result = read(frames, peer, mailboxes, holds_for, answers) => result,
        () = write(send, waiting, &notify) => Ok(()),
    };
    mailboxes.news().end(peer, &notify);
    result
}

async fn read(
    mut frames: FrameReader,
    peer: DeviceId,
    mailboxes: &Mailboxes,
    holds_for: impl Fn(DeviceId) -> bool,
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
        let refused = match &request {
            Request::Hold(..) if !holds_for(peer) => Some(FromHolder::NotHolding),
            Request::Deposit(deposit) if !holds_for(deposit.recipient) => Some(FromHolder::Answer(
                deposit.number,
                DepositAnswer::NotAccepted,
            )),
            Request::Hold(..)
            | Request::Deposit(_)
            | Request::Fetch(_)
            | Request::Delete(_)
            | Request::Expire => None,
        };
        if let Some(refused) = refused {
            // The node may have left.
            let _ = answers.send((vec![refused.encode()], place));
            continue;
        }
        let (answers, news) = (answers.clone(), mailboxes.news().clone());
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
