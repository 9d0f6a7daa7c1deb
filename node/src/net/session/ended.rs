//! The reasons why sessions end.

use hobnob_protocol::close;
use quinn::{Connection, ConnectionError};

use crate::net::close::hang_up;
use crate::net::endpoint::clean;

/// Why a session ended. Texts are for logs and notices, and safe to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The peer said goodbye.
    #[error("it said goodbye")]
    Bye,
    /// The peer closed the connection for another reason.
    #[error("it ended the session ({name}: {reason})", name = close::name(*.code))]
    Closed {
        /// A code of [`hobnob_protocol::close`].
        code: u64,
        /// Its text.
        reason: String,
    },
    /// Nothing was received in the time that QUIC allows, or the peer answered no pings.
    #[error("nothing came from it any more")]
    TimedOut,
    /// The peer no longer knows the connection: it has restarted.
    #[error("it has restarted")]
    Restarted,
    /// The peer broke the protocol, so this node closed the connection.
    #[error("it broke the protocol: {0}")]
    Protocol(String),
    /// QUIC failed.
    #[error("the connection failed: {0}")]
    Lost(String),
    /// This node ended the session.
    #[error("this node ended the session")]
    Local,
}

impl Ended {
    /// Whether one end had heard nothing of the other any more, or had forgotten it.
    pub fn is_silence(&self) -> bool {
        match self {
            Ended::TimedOut | Ended::Restarted => true,
            Ended::Closed { code, .. } => *code == u64::from(close::SILENT),
            Ended::Bye | Ended::Protocol(_) | Ended::Lost(_) | Ended::Local => false,
        }
    }
}

impl From<ConnectionError> for Ended {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(closed) => match closed.error_code.into_inner() {
                code if code == u64::from(close::BYE) => Ended::Bye,
                code => Ended::Closed {
                    code,
                    reason: clean(&String::from_utf8_lossy(&closed.reason)),
                },
            },
            ConnectionError::TimedOut => Ended::TimedOut,
            ConnectionError::Reset => Ended::Restarted,
            ConnectionError::LocallyClosed => Ended::Local,
            ConnectionError::VersionMismatch
            | ConnectionError::TransportError(_)
            | ConnectionError::ConnectionClosed(_)
            | ConnectionError::CidsExhausted => Ended::Lost(clean(&error.to_string())),
        }
    }
}

/// Why a session's task stops. The connection is closed by then.
#[derive(Debug)]
pub(super) enum Stop {
    /// The connection is gone.
    Lost(ConnectionError),
    /// The peer broke the protocol in this way, and the connection was closed for it.
    Fault(String),
    /// The engine has dropped its handle.
    Local,
}

impl Stop {
    /// Closes the connection because the peer broke the protocol.
    pub(super) fn fault(connection: &Connection, code: u32, what: String) -> Self {
        // If it is closed already, the first reason counts.
        if let Some(error) = connection.close_reason() {
            return Self::Lost(error);
        }
        hang_up(connection, code, &what);
        Self::Fault(what)
    }
}

impl From<Stop> for Ended {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Lost(error) => error.into(),
            Stop::Fault(what) => Ended::Protocol(what),
            Stop::Local => Ended::Local,
        }
    }
}
