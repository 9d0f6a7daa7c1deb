//! The exit codes of the relay's commands, and the errors that decide them.

use std::io;
use std::process::ExitCode;

use crate::admin_lines::AdminError;
use crate::config_error::ConfigError;

/// The exit codes that scripts can rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// The command succeeded.
    Done = 0,
    /// Something failed on this machine.
    Fault = 1,
    /// The command line is invalid.
    Usage = 2,
    /// No peer matches the name.
    NoSuchPeer = 3,
}

/// The arguments contradict each other. Only a check after parsing can find this.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        ExitCode::from(status as u8)
    }
}

impl ExitStatus {
    /// The exit code of a command that failed with `error`. A closed stdout is not a failure.
    pub(crate) fn of(error: &anyhow::Error) -> ExitStatus {
        if let Some(error) = error.downcast_ref::<io::Error>()
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            return ExitStatus::Done;
        }
        if error.is::<UsageError>() || error.is::<ConfigError>() {
            return ExitStatus::Usage;
        }
        match error.downcast_ref::<AdminError>().map(|error| error.exit) {
            Some(2) => ExitStatus::Usage,
            Some(3) => ExitStatus::NoSuchPeer,
            Some(_) | None => ExitStatus::Fault,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_relays_error_decides_the_exit_code() {
        let error = |exit| AdminError {
            code: "x".into(),
            exit,
            text: "y".into(),
        };
        for (exit, status) in [
            (1, ExitStatus::Fault),
            (2, ExitStatus::Usage),
            (3, ExitStatus::NoSuchPeer),
            (77, ExitStatus::Fault),
        ] {
            assert_eq!(ExitStatus::of(&error(exit).into()), status);
        }
    }

    #[test]
    fn other_errors_are_usage_or_faults_and_a_closed_pipe_is_neither() {
        let closed = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(ExitStatus::of(&closed.into()), ExitStatus::Done);
        assert_eq!(
            ExitStatus::of(&UsageError("x".into()).into()),
            ExitStatus::Usage
        );
        assert_eq!(ExitStatus::of(&anyhow::anyhow!("x")), ExitStatus::Fault);
    }
}
