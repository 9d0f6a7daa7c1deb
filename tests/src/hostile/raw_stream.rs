//! A connection to the victim that can send any bytes.

use std::time::Duration;

use bytes::Bytes;
use hobnob_protocol::frame::{AuthorHeads, Digest, Profile};
use hobnob_protocol::{ConversationId, Frame, PersonId};
use hobnob_transport::frames::FrameReader;
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use tokio::time::timeout;

use super::mallory::Mallory;

/// A connection with its control stream. Its batch stream is opened with the first batch.
///
/// Frames of the victim stay unread, and its flow control window stays closed, until
/// [`RawStream::receives`] reads them.
#[derive(Debug)]
pub struct RawStream {
    /// The connection, for other attacks on it.
    pub connection: Connection,
    control: SendStream,
    receive: RecvStream,
    batches: Option<SendStream>,
    me: PersonId,
}

impl RawStream {
    pub(super) async fn open(connection: Connection, me: PersonId) -> Self {
        Self::try_open(connection, me)
            .await
            .expect("the victim allows a stream")
    }

    /// Like [`RawStream::open`], but returns `None` if the victim has closed the connection.
    pub(super) async fn try_open(connection: Connection, me: PersonId) -> Option<Self> {
        let (control, receive) = connection.open_bi().await.ok()?;
        Some(Self {
            connection,
            control,
            receive,
            batches: None,
            me,
        })
    }

    /// The keying material that membership proofs are bound to.
    pub fn exporter(&self) -> [u8; 32] {
        let mut exporter = [0; 32];
        self.connection
            .export_keying_material(&mut exporter, b"hobnob 1 session", b"")
            .expect("32 bytes can be exported");
        exporter
    }

    /// The peer id of this end.
    pub fn me(&self) -> PersonId {
        self.me
    }

    /// Sends a Hello with this profile, and returns the victim's profile.
    pub async fn greet(&mut self, profile: Profile) -> Profile {
        self.try_greet(profile)
            .await
            .unwrap_or_else(|| panic!("received no Hello: {:?}", self.connection.close_reason()))
    }

    /// Like [`RawStream::greet`], but returns `None` if the victim closes the connection.
    pub async fn try_greet(&mut self, profile: Profile) -> Option<Profile> {
        self.try_greet_with(&Mallory::hello(profile)).await
    }

    /// Like [`RawStream::try_greet`], with any Hello.
    pub async fn try_greet_with(&mut self, hello: &Frame) -> Option<Profile> {
        self.sends(hello).await;
        let first = self.receives().await?;
        let Frame::Hello(hello) = first else {
            panic!("expected a Hello, received {first:?}")
        };
        Some(hello.profile)
    }

    /// Sends a frame on the control stream. Returns false if the victim has closed it.
    pub async fn sends(&mut self, frame: &Frame) -> bool {
        self.sends_bytes(&with_length(&frame.encode())).await
    }

    /// Sends these bytes on the control stream.
    pub async fn sends_bytes(&mut self, bytes: &[u8]) -> bool {
        // A write that fits the window completes at once. Without this line, the timer of a flood's
        // deadline would never run.
        tokio::task::yield_now().await;
        self.control.write_all(bytes).await.is_ok()
    }

    /// Sends a frame on the batch stream.
    pub async fn sends_batch(&mut self, frame: &Frame) -> bool {
        self.sends_batch_bytes(&with_length(&frame.encode())).await
    }

    /// Sends these bytes on the batch stream.
    pub async fn sends_batch_bytes(&mut self, bytes: &[u8]) -> bool {
        tokio::task::yield_now().await;
        if self.batches.is_none() {
            self.batches = self.connection.open_uni().await.ok();
        }
        match &mut self.batches {
            Some(stream) => stream.write_all(bytes).await.is_ok(),
            None => false,
        }
    }

    /// Finishes the control stream at the current position.
    pub fn finishes(&mut self) {
        self.control.finish().expect("it was open");
    }

    /// The next frame on the control stream, or `None` if the victim has closed it.
    pub async fn receives(&mut self) -> Option<Frame> {
        let mut length = [0; 4];
        timeout(TIMEOUT, self.receive.read_exact(&mut length))
            .await
            .expect("the victim sends a frame in time")
            .ok()?;
        let mut frame =
            vec![0; usize::try_from(u32::from_be_bytes(length)).expect("a frame fits memory")];
        self.receive.read_exact(&mut frame).await.ok()?;
        Some(Frame::decode(&frame.into()).expect("an honest node's frames are valid"))
    }

    /// The first frame on the victim's batch stream, as it travels.
    pub async fn receives_batch_bytes(&mut self) -> Bytes {
        let stream = timeout(TIMEOUT, self.connection.accept_uni()).await;
        let stream = stream.expect("the victim sends a batch in time");
        let mut frames = FrameReader::new(stream.expect("the session goes on"));
        let frame = timeout(TIMEOUT, frames.next()).await;
        frame.expect("in time").expect("a whole frame")
    }

    /// Receives frames until one fits. Panics if the victim closes the session first.
    pub async fn receives_until(&mut self, what: &str, fits: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let Some(frame) = self.receives().await else {
                panic!(
                    "did not receive {what}: {:?}",
                    self.connection.close_reason()
                )
            };
            if fits(&frame) {
                return frame;
            }
        }
    }

    /// Sends the digest of an empty conversation. The victim then sends its own entries of this
    /// conversation without a request.
    pub async fn sends_empty_digest(&mut self, conversation: ConversationId) {
        let nothing = Digest {
            hash: AuthorHeads::digest(&[]),
            clock: 0,
        };
        self.sends(&Frame::Digest(conversation, nothing)).await;
    }

    /// Checks with a ping that the session is alive and that the victim has read all earlier
    /// frames.
    pub async fn is_alive(&mut self) {
        let token = rand::random();
        self.sends(&Frame::Ping(token)).await;
        self.receives_until("a pong", |frame| *frame == Frame::Pong(token))
            .await;
    }

    /// Sends a ping after `settle`, and returns all frames received before its answer.
    pub async fn receives_for(&mut self, settle: Duration) -> Vec<Frame> {
        tokio::time::sleep(settle).await;
        let token = rand::random();
        self.sends(&Frame::Ping(token)).await;
        let mut received = Vec::new();
        while let Some(frame) = self.receives().await {
            if frame == Frame::Pong(token) {
                break;
            }
            received.push(frame);
        }
        received
    }

    /// Waits until the victim closes the connection. Returns its code and reason.
    pub async fn is_closed(&self) -> (u64, String) {
        closed(&self.connection).await
    }
}

/// Waits until the other end closes the connection. Returns the application's code and reason.
pub(super) async fn closed(connection: &Connection) -> (u64, String) {
    let ended = timeout(TIMEOUT, connection.closed())
        .await
        .expect("the victim closes the connection in time");
    let ConnectionError::ApplicationClosed(close) = ended else {
        panic!("the application did not close the connection: {ended}")
    };
    (
        close.error_code.into_inner(),
        String::from_utf8_lossy(&close.reason).into_owned(),
    )
}

/// The frame with its length prefix.
fn with_length(frame: &[u8]) -> Vec<u8> {
    let length = u32::try_from(frame.len()).expect("shorter than 4 GiB");
    [&length.to_be_bytes()[..], frame].concat()
}

const TIMEOUT: Duration = Duration::from_secs(20);
