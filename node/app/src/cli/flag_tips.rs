//! Which flag helps after an error of the library, which knows no flags.

use hobnob::{BindError, LockError, StartError, StoreError};
use hobnob_control::{AttachError, ClientError};

/// The tip for an error that ended a command.
pub(super) fn tip(error: &anyhow::Error) -> Option<&'static str> {
    match error.downcast_ref::<AttachError>() {
        Some(AttachError::Start(error)) => of_start(error),
        Some(AttachError::Client(error)) => of_answer(error),
        Some(_) | None => error.downcast_ref().and_then(of_answer),
    }
}

fn of_start(error: &StartError) -> Option<&'static str> {
    let is_about_home = matches!(
        error,
        StartError::Home { .. }
            | StartError::Store(StoreError::Newer { .. } | StoreError::ReadOnly { .. })
    );
    if is_about_home {
        Some("--home DIR uses another folder, and so another identity")
    } else if matches!(error, StartError::Bind(BindError::Taken(_))) {
        Some(
            "--listen ADDRESS:PORT names another address. Without --listen, hobnob takes any free port",
        )
    } else if matches!(error, StartError::Locked(LockError::NoPassphrase(_))) {
        Some("--home-passphrase-file FILE reads the passphrase from a file")
    } else {
        None
    }
}

fn of_answer(error: &ClientError) -> Option<&'static str> {
    let is_undelivered =
        matches!(error, ClientError::Refused(failure) if failure.code == "undelivered");
    is_undelivered.then_some("--yes erases them all the same")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_library_gets_the_flag_that_helps() {
        let taken = BindError::Taken("127.0.0.1:4626".parse().unwrap());
        let error: anyhow::Error = AttachError::Start(taken.into()).into();
        assert!(!error.to_string().contains("--"), "{error}");
        assert!(tip(&error).is_some_and(|tip| tip.contains("--listen")));
        let locked = LockError::NoPassphrase("/home/ann/hobnob".into());
        let error: anyhow::Error = AttachError::Start(locked.into()).into();
        assert!(!error.to_string().contains("--"), "{error}");
        assert!(tip(&error).is_some_and(|tip| tip.contains("--home-passphrase-file")));
        assert_eq!(tip(&anyhow::anyhow!("something else")), None);
    }
}
