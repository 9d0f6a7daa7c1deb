//! Failures: the `error` of an answer, made from the errors of the library.

use hobnob::{
    AppError, CarryError, Cause, EraseError, FileError, IntroduceError, InviteError, JoinError,
    NodeError, OfferError, PolicyError, ProfileError, SendError, SnapshotError,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The reason why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// A fixed word for programs: `fault`, `usage`, `no-such-peer`, `no-such-message`,
    /// `undelivered`, `has-gone-out`, `refused`, `identity-mismatch`, `forbidden`, `not-connected`,
    /// `busy`.
    pub code: String,
    /// The exit code of a command that fails this way.
    pub exit: u8,
    /// The cause and the advice, for people.
    pub text: String,
}

impl Failure {
    /// Something failed on this machine.
    pub fn fault(text: impl ToString) -> Failure {
        Failure {
            code: "fault".into(),
            exit: 1,
            text: text.to_string(),
        }
    }

    /// The request makes no sense.
    pub fn usage(text: impl ToString) -> Failure {
        Failure {
            code: "usage".into(),
            exit: 2,
            text: text.to_string(),
        }
    }

    /// The token of the connection does not permit this.
    pub fn forbidden(text: impl ToString) -> Failure {
        Failure {
            code: "forbidden".into(),
            exit: 1,
            text: text.to_string(),
        }
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        let text = error.to_string();
        let (code, exit) = match error.cause() {
            Cause::Fault => ("fault", 1),
            Cause::Usage => ("usage", 2),
            Cause::NoSuchPeer => ("no-such-peer", 3),
            Cause::NoSuchMessage => ("no-such-message", 1),
            Cause::Refused => ("refused", 5),
            Cause::IdentityMismatch => ("identity-mismatch", 6),
        };
        Failure {
            code: code.into(),
            exit,
            text,
        }
    }
}

impl From<PolicyError> for Failure {
    fn from(error: PolicyError) -> Self {
        match error {
            PolicyError::Myself => Failure::usage(error),
            PolicyError::TooMany | PolicyError::Store(_) | PolicyError::Stopped => {
                Failure::fault(error)
            }
        }
    }
}

impl From<NodeError> for Failure {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::NoSuchMessage => Failure {
                code: "no-such-message".into(),
                exit: 1,
                text: error.to_string(),
            },
            NodeError::NoSuchConversation(_) => Failure::usage(error),
            NodeError::Stopped | NodeError::Store(_) => Failure::fault(error),
        }
    }
}

impl From<EraseError> for Failure {
    fn from(error: EraseError) -> Self {
        let code = match error {
            EraseError::NoSuchMessage => "no-such-message",
            EraseError::Undelivered(_) => "undelivered",
            EraseError::HasGoneOut => "has-gone-out",
            EraseError::NoSuchConversation(_)
            | EraseError::NoSuchAddress(_)
            | EraseError::NotYours => {
                return Failure::usage(error);
            }
            EraseError::Store(_) | EraseError::Stopped => return Failure::fault(error),
        };
        Failure {
            code: code.into(),
            exit: 1,
            text: error.to_string(),
        }
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Path(_)
            | FileError::NoSuchOffer
            | FileError::Own
            | FileError::NotMoving
            | FileError::Here(_) => Failure::usage(error),
            FileError::NoRoom { .. }
            | FileError::Downloads { .. }
            | FileError::Store(_)
            | FileError::Stopped => Failure::fault(error),
        }
    }
}

impl From<IntroduceError> for Failure {
    fn from(error: IntroduceError) -> Self {
        match error {
            IntroduceError::Send(error) => error.into(),
            IntroduceError::Same | IntroduceError::NotAContact(_) | IntroduceError::NeverMet(_) => {
                Failure::usage(error)
            }
        }
    }
}

impl From<CarryError> for Failure {
    fn from(error: CarryError) -> Self {
        match error {
            CarryError::Node(error) => error.into(),
            CarryError::Myself | CarryError::Sealed { .. } => Failure::usage(error),
            CarryError::Denied(_) => Failure {
                code: "refused".into(),
                exit: 5,
                text: error.to_string(),
            },
            CarryError::Io { .. }
            | CarryError::Content { .. }
            | CarryError::Store(_)
            | CarryError::TooMany(_) => Failure::fault(error),
        }
    }
}

impl From<ProfileError> for Failure {
    fn from(error: ProfileError) -> Self {
        match error {
            ProfileError::Picture(_) => Failure::usage(error),
            ProfileError::Node(error) => error.into(),
        }
    }
}

impl From<SnapshotError> for Failure {
    fn from(error: SnapshotError) -> Self {
        Failure::fault(error)
    }
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        let (code, exit) = match error {
            AppError::Name(_) | AppError::TooLong(_) | AppError::NotAContact => {
                return Failure::usage(error);
            }
            AppError::Stopped => return Failure::fault(error),
            AppError::NotConnected | AppError::Lost => ("not-connected", 1),
            AppError::Taken(_)
            | AppError::TooManyApps(_)
            | AppError::TooFast
            | AppError::Busy
            | AppError::NoAnswer => ("busy", 1),
            AppError::Unsupported | AppError::NotRunning | AppError::Closed => ("refused", 5),
        };
        Failure {
            code: code.into(),
            exit,
            text: error.to_string(),
        }
    }
}

impl From<OfferError> for Failure {
    fn from(error: OfferError) -> Self {
        match error {
            OfferError::File(error) => error.into(),
            OfferError::Send(error) => error.into(),
        }
    }
}

impl From<InviteError> for Failure {
    fn from(error: InviteError) -> Self {
        let (code, exit) = match error {
            InviteError::Room(error) => return error.into(),
            InviteError::Policy(error) => return error.into(),
            InviteError::NotInRoom(_)
            | InviteError::NoSuchInvitation(_)
            | InviteError::Myself
            | InviteError::NoTokenToShare => return Failure::usage(error),
            InviteError::NotFound(_) => ("no-such-peer", 3),
            InviteError::TooOften | InviteError::Wrong | InviteError::Lost => ("refused", 5),
            InviteError::TooMany(_)
            | InviteError::Busy
            | InviteError::Letter
            | InviteError::NotBuilt
            | InviteError::Stopped => return Failure::fault(error),
        };
        Failure {
            code: code.into(),
            exit,
            text: error.to_string(),
        }
    }
}

impl From<JoinError> for Failure {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Passphrase(_)
            | JoinError::OtherSecret(_)
            | JoinError::IsOpen(_)
            | JoinError::NotInRoom(_) => Failure::usage(error),
            JoinError::TooMany(_) | JoinError::Store(_) | JoinError::Stopped => {
                Failure::fault(error)
            }
        }
    }
}
