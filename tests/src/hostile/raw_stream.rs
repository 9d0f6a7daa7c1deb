//! A connection to a victim on which anything can be said.

use std::time::Duration;

use hobnob_protocol::frame::{AuthorHeads, Profile};
use hobnob_protocol::{ConversationId, Frame, PeerId};
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use tokio::time::timeout;

use super::mallory::Mallory;

/// A connection with its control stream, and its batch stream once something was said on it.
///
/// What the victim says stays unread, and its flow control window shut, until [`RawStream::receives`] reads
/// it.
#[derive(Debug)]
pub struct RawStream {
    /// The connection, for whatever else is to be done to it.
    pub connection: Connection,
    control: SendStream,
    receive: RecvStream,
    batches: Option<SendStream>,
    me: PeerId,
}

impl RawStream {
    pub(super) async fn open(connection: Connection, me: PeerId) -> Self {
        let (control, receive) = connection
            .open_bi()
            .await
            .expect("a connection takes a stream");
        Self {
            connection,
            control,
            receive,
            batches: None,
            me,
        }
    }

    /// What membership proofs of this connection are bound to.
    pub fn exporter(&self) -> [u8; 32] {
        let mut exporter = [0; 32];
        self.connection
            .export_keying_material(&mut exporter, b"hobnob 1 session", b"")
            .expect("32 bytes are not too many");
        exporter
    }

    /// Who is at this end.
    pub fn me(&self) -> PeerId {
        self.me
    }

    /// Says Hello with this profile, and hears the victim's.
    pub async fn greet(&mut self, profile: Profile) -> Profile {
        self.try_greet(profile)
            .await
            .unwrap_or_else(|| panic!("no Hello came: {:?}", self.connection.close_reason()))
    }

    /// As [`RawStream::greet`], where the victim may end the connection instead.
    pub async fn try_greet(&mut self, profile: Profile) -> Option<Profile> {
        self.sends(&Mallory::hello(profile)).await;
        let first = self.receives().await?;
        let Frame::Hello(hello) = first else {
            panic!("a Hello should come, not {first:?}")
        };
        Some(hello.profile)
    }

    /// Says a frame on the control stream; whether the victim still takes it.
    pub async fn sends(&mut self, frame: &Frame) -> bool {
        self.sends_bytes(&with_length(&frame.encode())).await
    }

    /// Says these bytes on the control stream.
    pub async fn sends_bytes(&mut self, bytes: &[u8]) -> bool {
        // Writing what fits is done at once: without this, no flood would ever give its deadline a
        // turn.
        tokio::task::yield_now().await;
        self.control.write_all(bytes).await.is_ok()
    }

    /// Says a frame on the batch stream.
    pub async fn sends_batch(&mut self, frame: &Frame) -> bool {
        self.sends_batch_bytes(&with_length(&frame.encode())).await
    }

    /// Says these bytes on the batch stream.
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

    /// Ends the control stream where it is.
    pub fn finishes(&mut self) {
        self.control.finish().expect("it was open");
    }

    /// The next frame on the control stream; none when the victim has ended it.
    pub async fn receives(&mut self) -> Option<Frame> {
        let mut length = [0; 4];
        timeout(PATIENCE, self.receive.read_exact(&mut length))
            .await
            .expect("the victim says something in time")
            .ok()?;
        let mut frame =
            vec![0; usize::try_from(u32::from_be_bytes(length)).expect("a frame fits memory")];
        self.receive.read_exact(&mut frame).await.ok()?;
        Some(Frame::decode(&frame.into()).expect("an honest node's frames can be read"))
    }

    /// Hears until a frame fits; panics when the victim ends the session before.
    pub async fn receives_until(&mut self, what: &str, fits: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let Some(frame) = self.receives().await else {
                panic!("{what} did not come: {:?}", self.connection.close_reason())
            };
            if fits(&frame) {
                return frame;
            }
        }
    }

    /// Says that it holds nothing of a conversation, which makes the victim send of its own accord
    /// what it writes there.
    pub async fn sends_empty_digest(&mut self, conversation: ConversationId) {
        self.sends(&Frame::Digest(conversation, AuthorHeads::digest(&[])))
            .await;
    }

    /// Checks that the session lives, by a ping, and that all said before it was read.
    pub async fn is_alive(&mut self) {
        let token = rand::random();
        self.sends(&Frame::Ping(token)).await;
        self.receives_until("a pong", |frame| *frame == Frame::Pong(token))
            .await;
    }

    /// All frames that come until the answer to a ping, which is sent once `settle` has passed.
    pub async fn receives_for(&mut self, settle: Duration) -> Vec<Frame> {
        tokio::time::sleep(settle).await;
        let token = rand::random();
        self.sends(&Frame::Ping(token)).await;
        let mut heard = Vec::new();
        while let Some(frame) = self.receives().await {
            if frame == Frame::Pong(token) {
                break;
            }
            heard.push(frame);
        }
        heard
    }

    /// Waits until the victim ends the connection; its code and words.
    pub async fn is_closed(&self) -> (u64, String) {
        closed(&self.connection).await
    }
}

/// Waits until the other end closes the connection; the application's code and words.
pub(super) async fn closed(connection: &Connection) -> (u64, String) {
    let ended = timeout(PATIENCE, connection.closed())
        .await
        .expect("the victim ends it in time");
    let ConnectionError::ApplicationClosed(close) = ended else {
        panic!("not closed by the application, but: {ended}")
    };
    (
        close.error_code.into_inner(),
        String::from_utf8_lossy(&close.reason).into_owned(),
    )
}

/// The frame as it stands on a stream.
fn with_length(frame: &[u8]) -> Vec<u8> {
    let length = u32::try_from(frame.len()).expect("shorter than 4 GiB");
    [&length.to_be_bytes()[..], frame].concat()
}

const PATIENCE: Duration = Duration::from_secs(20);
