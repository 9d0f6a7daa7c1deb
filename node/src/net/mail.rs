//! The stream about mailboxes, on the connection with a holder: a relay, or another node.
//!
//! Here are both ends of it on a session, and this node's end on the link to a relay. Not here: how a
//! holder answers, which is in `hobnob_mailbox`.

use bytes::Bytes;
use hobnob_protocol::mailbox::{FromHolder, STREAM_MAILBOX, ToHolder};
use hobnob_transport::frames::{FrameBatch, FrameReader};
use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::mpsc;

/// The node's end of a stream about mailboxes.
#[derive(Debug)]
pub struct MailStream {
    /// Distinguishes the streams to one holder.
    pub number: u64,
    /// Frames for the holder. The engine limits how many wait.
    pub frames: mpsc::UnboundedSender<ToHolder>,
}

/// A stream about mailboxes, or of a program, that the peer of a session has opened. The byte that
/// names its kind is read.
#[derive(Debug)]
pub struct OpenedByPeer {
    /// To the peer.
    pub send: SendStream,
    /// From the peer.
    pub receive: RecvStream,
}

/// Starts the stream. It ends with the connection, or when the engine drops its end. `event` makes
/// events of frames, and of the end of the stream.
pub(super) fn start<T: Send + 'static>(
    connection: Connection,
    number: u64,
    events: mpsc::Sender<T>,
    event: impl Fn(Option<FromHolder>) -> T + Send + Sync + 'static,
) -> MailStream {
    let (frames, waiting) = mpsc::unbounded_channel();
    // The task ends at the latest with the connection, which its owner closes.
    drop(tokio::spawn(async move {
        if let Err(error) = run(&connection, &events, &event, waiting).await {
            tracing::debug!(%error, "the stream about mailboxes ended");
        }
        // The engine may have ended.
        let _ = events.send(event(None)).await;
    }));
    MailStream { number, frames }
}

async fn run<T>(
    connection: &Connection,
    events: &mpsc::Sender<T>,
    event: &impl Fn(Option<FromHolder>) -> T,
    waiting: mpsc::UnboundedReceiver<ToHolder>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (mut send, receive) = connection.open_bi().await?;
    send.write_all(&[STREAM_MAILBOX]).await?;
    let mut frames = FrameReader::new(receive);
    let read = async {
        loop {
            let frame: Bytes = frames.next().await?;
            let frame = FromHolder::decode(&frame)?;
            if events.send(event(Some(frame))).await.is_err() {
                return Ok(());
            }
        }
    };
    tokio::select! {
        ended = read => ended,
        written = write(send, waiting) => Ok(written?),
    }
}

async fn write(
    mut stream: SendStream,
    mut waiting: mpsc::UnboundedReceiver<ToHolder>,
) -> Result<(), quinn::WriteError> {
    while let Some(frame) = waiting.recv().await {
        let mut batch = FrameBatch::default();
        batch.push(frame.encode());
        batch.write(&mut stream).await?;
    }
    Ok(())
}
