//! The stream about mailboxes, on the connection with a relay that holds mail.

use bytes::Bytes;
use hobnob_protocol::mailbox::{FromHolder, STREAM_MAILBOX, ToHolder};
use hobnob_transport::frames::{FrameBatch, FrameReader};
use quinn::{Connection, SendStream};
use tokio::sync::mpsc;

/// The node's end of a stream about mailboxes.
#[derive(Debug)]
pub struct MailStream {
    /// Distinguishes the streams of one link.
    pub number: u64,
    /// Frames for the relay. The engine limits how many wait.
    pub frames: mpsc::UnboundedSender<ToHolder>,
}

/// Starts the stream. It ends with the connection, or when the engine drops its end. `event` makes
/// events of frames.
pub(super) fn start<T: Send + 'static>(
    connection: Connection,
    number: u64,
    events: mpsc::Sender<T>,
    event: impl Fn(FromHolder) -> T + Send + Sync + 'static,
) -> MailStream {
    let (frames, waiting) = mpsc::unbounded_channel();
    // The task ends at the latest with the connection, which the link closes.
    drop(tokio::spawn(async move {
        if let Err(error) = run(&connection, &events, event, waiting).await {
            tracing::debug!(%error, "the stream about mailboxes ended");
        }
    }));
    MailStream { number, frames }
}

async fn run<T>(
    connection: &Connection,
    events: &mpsc::Sender<T>,
    event: impl Fn(FromHolder) -> T,
    waiting: mpsc::UnboundedReceiver<ToHolder>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (mut send, receive) = connection.open_bi().await?;
    send.write_all(&[STREAM_MAILBOX]).await?;
    let mut frames = FrameReader::new(receive);
    let read = async {
        loop {
            let frame: Bytes = frames.next().await?;
            let frame = FromHolder::decode(&frame)?;
            if events.send(event(frame)).await.is_err() {
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
