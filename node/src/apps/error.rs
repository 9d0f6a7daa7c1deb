//! Why a program cannot talk to a program of a peer.

use hobnob_protocol::AppName;
use hobnob_protocol::app::{APP_DATAGRAM_MAX, NotAnAppName};

use crate::net::app_stream::AppStreamEnd;

/// Why a program cannot talk to a program of a peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppError {
    /// The name is none.
    #[error(transparent)]
    Name(#[from] NotAnAppName),
    /// Another program of this node uses the name.
    #[error("a program called {0} already uses this node: end it, or use another name")]
    Taken(AppName),
    /// As many programs use this node as may.
    #[error("{0} programs use this node, the maximum: end one first")]
    TooManyApps(usize),
    /// The peer is not a contact of this node, or is ignored.
    #[error("this peer is not a contact: accept it first, or write to it")]
    NotAContact,
    /// There is no session with the peer.
    #[error("this peer is not connected at the moment: try again when it is")]
    NotConnected,
    /// The peer's node is older than this ability.
    #[error("the hobnob of this peer is too old for this: it has to be updated")]
    Unsupported,
    /// The datagram is too long.
    #[error("a datagram has at most {APP_DATAGRAM_MAX} bytes, not {0}: use a stream")]
    TooLong(usize),
    /// The program sends datagrams to this peer too fast. This one was not sent.
    #[error("too many datagrams at once: leave some out, or use a stream")]
    TooFast,
    /// No such program runs there, or the peer's user has not accepted this node.
    #[error("no such program runs there, or this node is not accepted there")]
    NotRunning,
    /// As many streams are open as may be, here or there, or the program there accepts none.
    #[error("too many streams are open: close one first, or try again later")]
    Busy,
    /// The program there did not accept the stream in time.
    #[error("the program there did not accept the stream in time: try again later")]
    NoAnswer,
    /// The program at the other end has closed the stream.
    #[error("the program at the other end has closed the stream")]
    Closed,
    /// The session under the stream has ended. Another stream can be opened in the next one.
    #[error("the connection of this stream has ended: open another one")]
    Lost,
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

impl From<AppStreamEnd> for AppError {
    fn from(end: AppStreamEnd) -> Self {
        match end {
            AppStreamEnd::NotHere => AppError::NotRunning,
            AppStreamEnd::Busy => AppError::Busy,
            AppStreamEnd::Closed => AppError::Closed,
            AppStreamEnd::Lost => AppError::Lost,
        }
    }
}
