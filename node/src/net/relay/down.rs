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
        "nothing answers there over UDP: is the relay running, is the address right, and does a firewall here or there block UDP?"
    )]
    Unreachable,
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
            LinkDown::Refused { code, .. } => {
                [close::REPLACED, close::NOT_ADMITTED, close::BANNED, close::KICKED, close::FULL, close::LIMIT, close::VERSION]
                    .iter()
                    .any(|refusal| u64::from(*refusal) == *code)
            }
            LinkDown::NoAddress(_) | LinkDown::Unreachable | LinkDown::Restarted | LinkDown::Lost(_) => false,
        }
    }
}

impl From<ConnectionError> for LinkDown {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(closed) => {
                let words = clean(&String::from_utf8_lossy(&closed.reason));
                let code = closed.error_code.into_inner();
                LinkDown::Refused { code, reason: if words.is_empty() { close::name(code).to_owned() } else { words } }
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
            DialError::IdentityMismatch { expected, found } => LinkDown::Identity { expected, found },
            DialError::Timeout => LinkDown::Unreachable,
            DialError::Closed { code, reason } => LinkDown::Refused { code, reason },
            DialError::OtherProtocol => LinkDown::Protocol("what answers there is no hobnob relay of this version".to_owned()),
            DialError::Refused | DialError::Tls(_) | DialError::Address { .. } | DialError::Stopping | DialError::Other(_) => {
                LinkDown::Lost(error.to_string())
            }
        }
    }
}
