//! Why there is no connection with a relay.

use hobnob_protocol::PeerId;
use hobnob_protocol::relay::close;
use quinn::ConnectionError;

use crate::net::endpoint::{DialError, clean};

/// Why there is no connection with a relay. The text is for the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkDown {
    /// Its name has no address.
    #[error("its address can't be found: {0}")]
    NoAddress(String),
    /// Nothing answered.
    #[error(
        "nothing answers there: is the address right, are that machine and its relay running, and does a firewall here or there \
         block UDP?"
    )]
    Unreachable,
    /// It answers what costs it nothing.
    #[error(
        "it is there, and takes no connection now: it has too much to do, or large datagrams are lost on the way"
    )]
    Busy,
    /// It was there, and answers no more.
    #[error("it does not answer any more")]
    Silent,
    /// The machine is there, and says that nobody listens on the port.
    #[error(
        "no relay runs there, or not on this port: that machine says that nothing listens on UDP port {port}"
    )]
    NotRunning {
        /// The port.
        port: u16,
    },
    /// The machine is there, but what is sent to it over UDP has no answer.
    #[error(
        "UDP is blocked. That machine answers over TCP, but nothing comes back over UDP, which hobnob needs: let UDP port {port} \
         out through the firewall of this network and in through the relay's, or use another network"
    )]
    UdpBlocked {
        /// The port.
        port: u16,
    },
    /// Another identity answers.
    #[error("it proves another identity ({found}) than the one known ({expected})")]
    Identity {
        /// Who was meant.
        expected: PeerId,
        /// Who answered.
        found: PeerId,
    },
    /// It ended the connection, and said why.
    #[error("{reason}")]
    Refused {
        /// A code of [`close`].
        code: u64,
        /// Its words.
        reason: String,
    },
    /// It has restarted.
    #[error("it has restarted")]
    Restarted,
    /// It broke the protocol.
    #[error("it does not keep to the protocol: {0}")]
    Protocol(String),
    /// Anything else.
    #[error("{0}")]
    Lost(String),
}

impl LinkDown {
    /// Whether coming back at once would be of no use.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            LinkDown::Identity { .. } | LinkDown::Protocol(_) => true,
            LinkDown::Refused { code, .. } => [
                close::REPLACED,
                close::NOT_ADMITTED,
                close::BANNED,
                close::KICKED,
                close::FULL,
                close::LIMIT,
                close::VERSION,
            ]
            .iter()
            .any(|refusal| u64::from(*refusal) == *code),
            LinkDown::NoAddress(_)
            | LinkDown::Unreachable
            | LinkDown::Busy
            | LinkDown::Silent
            | LinkDown::NotRunning { .. }
            | LinkDown::UdpBlocked { .. }
            | LinkDown::Restarted
            | LinkDown::Lost(_) => false,
        }
    }
}

impl From<ConnectionError> for LinkDown {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(closed) => {
                let words = clean(&String::from_utf8_lossy(&closed.reason));
                let code = closed.error_code.into_inner();
                LinkDown::Refused {
                    code,
                    reason: if words.is_empty() {
                        close::name(code).to_owned()
                    } else {
                        words
                    },
                }
            }
            ConnectionError::Reset => LinkDown::Restarted,
            ConnectionError::TimedOut => LinkDown::Unreachable,
            ConnectionError::VersionMismatch
            | ConnectionError::TransportError(_)
            | ConnectionError::ConnectionClosed(_)
            | ConnectionError::LocallyClosed
            | ConnectionError::CidsExhausted => LinkDown::Lost(clean(&error.to_string())),
        }
    }
}

impl From<DialError> for LinkDown {
    fn from(error: DialError) -> Self {
        match error {
            DialError::IdentityMismatch { expected, found } => {
                LinkDown::Identity { expected, found }
            }
            DialError::Timeout => LinkDown::Unreachable,
            DialError::Closed { code, reason } => LinkDown::Refused { code, reason },
            DialError::OtherProtocol => LinkDown::Protocol(
                "what answers there is no hobnob relay of this version".to_owned(),
            ),
            DialError::Refused
            | DialError::Tls(_)
            | DialError::Address { .. }
            | DialError::Stopping
            | DialError::Other(_) => LinkDown::Lost(error.to_string()),
        }
    }
}
