//! The first frames of a connection: both ends send Hello. Its proofs are bound to the connection by
//! the TLS exporter.

use std::time::Duration;

use hobnob_protocol::{DeviceId, Frame, Hello, VERSION, close};
use quinn::{Connection, SendStream};
use tokio::time::timeout;

use super::ended::{Ended, Stop};
use super::frames::{read_frame, write_frames};
use crate::net::close::hang_up;
use hobnob_transport::frames::{FrameBatch, FrameReader};
use hobnob_transport::tls;

/// Label of the exported value to which proofs in a Hello are bound (RFC 8446 section 7.5).
const EXPORTER_LABEL: &[u8] = b"hobnob 1 session";

/// A connection whose two ends have sent Hello.
#[derive(Debug)]
pub struct Greeted {
    /// The connection.
    pub connection: Connection,
    /// The identity of the other end, proved by TLS.
    pub peer: DeviceId,
    /// The other end's Hello.
    pub hello: Hello,
    /// A secret that only the two ends of this connection know.
    pub exporter: [u8; 32],
    /// Whether this end dialed.
    pub dialed: bool,
    pub(super) control_in: FrameReader,
    pub(super) control_out: SendStream,
}

/// Why there is no session. The text is safe to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GreetError {
    /// The peer has another major version.
    #[error("it speaks hobnob protocol {}.{} and this node {}.{}: update the older of the two", theirs.0, theirs.1, VERSION.0, VERSION.1)]
    Version {
        /// The peer's version.
        theirs: (u16, u16),
    },
    /// The peer's first frame was not Hello.
    #[error("its first frame was no Hello")]
    NoHello,
    /// The peer sent no Hello in time.
    #[error("it connected, but did not say Hello in time")]
    Timeout,
    /// The connection ended before both Hellos had arrived.
    #[error("{0}")]
    Ended(Ended),
}

/// Exchanges Hellos, or closes the connection after `limit`. `make_hello` gets the exporter secret,
/// for proofs of membership. The end that dialed sends its Hello first, and the other end gets that
/// Hello to answer it. This costs no time: QUIC announces the stream by the first Hello anyway.
pub async fn greet(
    connection: Connection,
    dialed: bool,
    make_hello: impl FnOnce(&[u8; 32], Option<&Hello>) -> Hello,
    limit: Duration,
) -> Result<Greeted, GreetError> {
    let exporter = tls::exported_secret(&connection, EXPORTER_LABEL);
    let make_hello = |theirs: Option<&Hello>| make_hello(&exporter, theirs);
    match timeout(limit, exchange(&connection, dialed, make_hello)).await {
        Ok(Ok((hello, control_in, control_out))) => {
            let peer = tls::peer_id(connection.peer_identity())
                .expect("both ends of a finished handshake have shown a certificate");
            Ok(Greeted {
                connection,
                peer,
                hello,
                exporter,
                dialed,
                control_in,
                control_out,
            })
        }
        Ok(Err(error)) => Err(error),
        Err(_) => {
            hang_up(&connection, close::SILENT, "no Hello in time");
            Err(GreetError::Timeout)
        }
    }
}

async fn exchange(
    connection: &Connection,
    dialed: bool,
    make_hello: impl FnOnce(Option<&Hello>) -> Hello,
) -> Result<(Hello, FrameReader, SendStream), GreetError> {
    let opened = if dialed {
        connection.open_bi().await
    } else {
        connection.accept_bi().await
    };
    let (mut control_out, control_in) = opened.map_err(|error| GreetError::Ended(error.into()))?;
    let mut control_in = FrameReader::new(control_in);
    let hello = if dialed {
        send_hello(make_hello(None), &mut control_out, connection).await?;
        receive_hello(&mut control_in, connection).await?
    } else {
        let hello = receive_hello(&mut control_in, connection).await?;
        // Also to a peer of another version, which can then tell its user.
        send_hello(make_hello(Some(&hello)), &mut control_out, connection).await?;
        hello
    };
    if hello.version.0 != VERSION.0 {
        return Err(refuse(
            connection,
            GreetError::Version {
                theirs: hello.version,
            },
        ));
    }
    Ok((hello, control_in, control_out))
}

async fn send_hello(
    hello: Hello,
    control_out: &mut SendStream,
    connection: &Connection,
) -> Result<(), GreetError> {
    let mut frames = FrameBatch::default();
    frames.push(Frame::Hello(hello).encode());
    Ok(write_frames(frames, control_out, connection).await?)
}

async fn receive_hello(
    control_in: &mut FrameReader,
    connection: &Connection,
) -> Result<Hello, GreetError> {
    match read_frame(control_in, connection).await? {
        Frame::Hello(hello) => Ok(hello),
        Frame::Ping(_)
        | Frame::Pong(_)
        | Frame::Profile(_)
        | Frame::Candidates(_)
        | Frame::Records { .. }
        | Frame::WantRecords(_)
        | Frame::ContactRecord(_)
        | Frame::Mailbox { .. }
        | Frame::DialBack(_)
        | Frame::DialedBack(_)
        | Frame::Digest(..)
        | Frame::Heads { .. }
        | Frame::Batch(_)
        | Frame::Have(..)
        | Frame::Want { .. }
        | Frame::Prune(..)
        | Frame::Conflict(_)
        | Frame::Waiting(_)
        | Frame::Content { .. }
        | Frame::Room(_)
        | Frame::HoldsMail(_)
        | Frame::WantPicture(_)
        | Frame::Picture(..)
        | Frame::Activity(_)
        | Frame::Offer(..)
        | Frame::Invite(_)
        | Frame::Unknown(_) => Err(refuse(connection, GreetError::NoHello)),
    }
}

fn refuse(connection: &Connection, error: GreetError) -> GreetError {
    let reason = match &error {
        GreetError::Version { .. } => {
            format!("this node speaks protocol {}.{}", VERSION.0, VERSION.1)
        }
        GreetError::NoHello | GreetError::Timeout | GreetError::Ended(_) => {
            "the first frame must be a Hello".to_owned()
        }
    };
    hang_up(connection, close::VERSION, &reason);
    error
}

impl From<Stop> for GreetError {
    fn from(stop: Stop) -> Self {
        Self::Ended(stop.into())
    }
}
