//! A connection with a relay that has registered this node, and its control stream.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hobnob_core::carrier::Carrier;
use hobnob_protocol::DeviceId;
use hobnob_protocol::relay::{FromRelay, ToRelay, close};
use hobnob_transport::frames::{FrameBatch, FrameReader, ReceiveError};
use quinn::{Connection, SendStream};
use tokio::time::timeout;

use super::error::LinkDown;
use super::liveness::Liveness;
use super::race::Shaken;
use super::stream::RelayStream;
use crate::net::close::hang_up;

/// How long quinn may take to read the last datagrams of a stream.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How long a frame may wait until the relay takes it. Mail on the same connection may have used all
/// that the relay buffers, and a relay that is gone never makes room.
const SEND_LIMIT: Duration = Duration::from_secs(10);

/// A connection with its control stream.
pub(super) struct Connected {
    pub(super) connection: Connection,
    pub(super) id: DeviceId,
    /// The relay's address on the way. Of a stream, that of the TCP connection.
    pub(super) addr: SocketAddr,
    /// The stream that carries the connection, unless UDP does.
    pub(super) stream: Option<Arc<RelayStream>>,
    control_out: SendStream,
    control_in: FrameReader,
}

impl Connected {
    /// Opens the control stream.
    pub(super) async fn open(shaken: Shaken) -> Result<Self, LinkDown> {
        let (control_out, control_in) = shaken.connection.open_bi().await?;
        Ok(Self {
            connection: shaken.connection,
            id: shaken.id,
            addr: shaken.addr,
            stream: shaken.stream,
            control_out,
            control_in: FrameReader::new(control_in),
        })
    }

    pub(super) fn carrier(&self) -> Carrier {
        Carrier::of_stream(self.stream.is_some())
    }

    /// Returns when the stream has ended, and why. Never, if UDP carries the connection.
    pub(super) fn stream_ended(&self) -> impl Future<Output = LinkDown> + use<> {
        let (connection, stream) = (self.connection.clone(), self.stream.clone());
        async move {
            let Some(stream) = stream else {
                return std::future::pending().await;
            };
            stream.ended().await;
            match timeout(LAST_WORDS, connection.closed()).await {
                Ok(error) => error.into(),
                Err(_) => LinkDown::Lost("its TCP connection has ended".to_owned()),
            }
        }
    }
    /// Sends a heartbeat with the version of this node's roster. The relay answers each one.
    pub(super) async fn beat(
        &mut self,
        roster: u64,
        liveness: &mut Liveness,
    ) -> Result<(), LinkDown> {
        liveness.asked();
        self.send(&ToRelay::Heartbeat(roster)).await
    }

    pub(super) async fn send(&mut self, frame: &ToRelay) -> Result<(), LinkDown> {
        let mut frames = FrameBatch::default();
        frames.push(frame.encode());
        match timeout(SEND_LIMIT, frames.write(&mut self.control_out)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(quinn::WriteError::ConnectionLost(error))) => Err(error.into()),
            Ok(Err(error)) => Err(self.broke(error.to_string())),
            Err(_) => Err(LinkDown::Silent),
        }
    }

    /// Reads the next frame of a known kind. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<FromRelay, LinkDown> {
        loop {
            let frame = match self.control_in.next().await {
                Ok(frame) => frame,
                Err(ReceiveError::Lost(error)) => return Err(error.into()),
                Err(
                    error @ (ReceiveError::TooLarge
                    | ReceiveError::Ended
                    | ReceiveError::Truncated
                    | ReceiveError::Stream(_)),
                ) => return Err(self.broke(error.to_string())),
            };
            match FromRelay::decode(&frame) {
                Ok(FromRelay::Unknown(_)) => {}
                Ok(frame) => return Ok(frame),
                Err(error) => return Err(self.broke(error.to_string())),
            }
        }
    }

    /// The relay broke the protocol. If it has closed the connection, its reason counts instead.
    fn broke(&self, what: String) -> LinkDown {
        if let Some(error) = self.connection.close_reason() {
            return error.into();
        }
        hang_up(&self.connection, close::PROTOCOL, &what);
        LinkDown::Protocol(what)
    }
}
