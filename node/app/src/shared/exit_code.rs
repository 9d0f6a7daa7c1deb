//! The program's exit codes.

use std::io;
use std::process::ExitCode;

use hobnob_control::wire::Failure;
use hobnob_control::{AttachError, ClientError};

/// The exit codes that scripts can rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The command succeeded.
    Done = 0,
    /// Something failed on this machine.
    Fault = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The target names no peer.
    NoSuchPeer = 3,
    /// The state was not reached in time: the message is still queued.
    Queued = 4,
    /// The peer refused.
    Refused = 5,
    /// Another identity answered at the peer's address.
    IdentityMismatch = 6,
}

/// Wrong usage that shows only after the arguments were parsed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

impl Exit {
    /// The code for a command that ended with `error`. It is no error if the reader of the output
    /// closes the pipe.
    pub(crate) fn of(error: &anyhow::Error) -> Exit {
        if error
            .downcast_ref::<io::Error>()
            .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
        {
            return Exit::Done;
        }
        if error.is::<Usage>() {
            return Exit::Usage;
        }
        let client = match error.downcast_ref::<AttachError>() {
            Some(AttachError::Client(client)) => Some(client),
            Some(_) | None => error.downcast_ref::<ClientError>(),
        };
        match client {
            Some(ClientError::Refused(failure)) => Exit::of_failure(failure),
            Some(ClientError::TooLong(_)) => Exit::Usage,
            Some(_) | None => Exit::Fault,
        }
    }

    fn of_failure(failure: &Failure) -> Exit {
        match failure.exit {
            2 => Exit::Usage,
            3 => Exit::NoSuchPeer,
            4 => Exit::Queued,
            5 => Exit::Refused,
            6 => Exit::IdentityMismatch,
            _ => Exit::Fault,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_keeps_its_code_whatever_it_is_wrapped_in() {
        for code in 1..=6 {
            let failure = || Failure {
                code: "x".into(),
                exit: code,
                text: "y".into(),
            };
            let plain = anyhow::Error::from(ClientError::from(failure()));
            let wrapped = anyhow::Error::from(AttachError::from(ClientError::from(failure())));
            assert_eq!(Exit::of(&plain) as u8, code);
            assert_eq!(Exit::of(&wrapped) as u8, code);
        }
    }

    #[test]
    fn other_errors_are_usage_or_faults_and_a_closed_pipe_is_none() {
        assert_eq!(Exit::of(&Usage("x".into()).into()), Exit::Usage);
        assert_eq!(Exit::of(&ClientError::Lost.into()), Exit::Fault);
        assert_eq!(Exit::of(&anyhow::anyhow!("x")), Exit::Fault);
        assert_eq!(
            Exit::of(&io::Error::from(io::ErrorKind::BrokenPipe).into()),
            Exit::Done
        );
    }
}
