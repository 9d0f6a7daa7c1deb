//! Why there is no connection with a relay.

use hobnob_protocol::DeviceId;
use hobnob_protocol::fleet::FleetList;
use hobnob_protocol::record::Checked;
use hobnob_protocol::relay::close;
use quinn::ConnectionError;

use super::redial::Cause;
use crate::net::channels::RelayId;
use crate::net::endpoint::{DialError, clean};

/// Why there is no connection with a relay. The text is for the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkDown {
    /// Its name has no address.
    #[error("its address cannot be found: {0}")]
    NoAddress(String),
    /// Nothing answers at its address.
    #[error(
        "nothing answers there: is the address right, are the machine and its relay running, and does a firewall on either side \
         block UDP?"
    )]
    Unreachable,
    /// It answers cheap probes, but accepts no connection.
    #[error(
        "it is there, but accepts no connection now: it is overloaded, or large datagrams are lost on the way"
    )]
    Busy,
    /// It answered before, and no longer does.
    #[error("it does not answer any more")]
    Silent,
    /// Its machine answers that the port is closed.
    #[error(
        "no relay runs there, or it uses another port: that machine reports that nothing listens on UDP port {port}"
    )]
    NotRunning {
        /// The port.
        port: u16,
    },
    /// Its machine answers over TCP, but not over UDP, and accepts no stream.
    #[error(
        "UDP is blocked, and no relay answers over TCP there: open UDP port {port} in the firewall of this network and in the \
         relay's, or ask the relay's operator to serve TCP port {port} or 443"
    )]
    UdpBlocked {
        /// The port.
        port: u16,
    },
    /// Another identity answers.
    #[error("it has another identity ({found}) than the known one ({expected})")]
    Identity {
        /// The identity that is known.
        expected: DeviceId,
        /// The identity that answered.
        found: DeviceId,
    },
    /// It closed the connection with a reason.
    #[error("{reason}")]
    Refused {
        /// A code of [`close`].
        code: u64,
        /// Its text.
        reason: String,
    },
    /// Another link leads to this relay.
    #[error("it is a relay that this node uses already")]
    Duplicate {
        /// Its identity.
        id: DeviceId,
        /// The other link.
        of: RelayId,
    },
    /// The expected identity is that of a fleet, of which the relay is a member.
    #[error("it is a member of a fleet")]
    Fleet(Box<Checked<FleetList>>),
    /// This node does not need it at the moment.
    #[error("it is not needed now")]
    Rested,
    /// It has restarted.
    #[error("it has restarted")]
    Restarted,
    /// It broke the protocol.
    #[error("it broke the protocol: {0}")]
    Protocol(String),
    /// Anything else.
    #[error("{0}")]
    Lost(String),
}

impl LinkDown {
    /// Whether to dial again only after a long wait, because an early attempt is useless.
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
                close::QUOTA,
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
            | LinkDown::Duplicate { .. }
            | LinkDown::Fleet(_)
            | LinkDown::Rested
            | LinkDown::Restarted
            | LinkDown::Lost(_) => false,
        }
    }
}

impl LinkDown {
    /// Whether another connection of this identity has replaced this node's.
    pub(crate) fn is_replaced(&self) -> bool {
        let replaced = u64::from(close::REPLACED);
        matches!(self, LinkDown::Refused { code, .. } if *code == replaced)
    }

    /// What it means for the next attempt.
    pub(super) fn cause(&self) -> Cause {
        if self.is_replaced() {
            Cause::Replaced
        } else if self.is_refusal() {
            Cause::Refused
        } else {
            Cause::Lost
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
