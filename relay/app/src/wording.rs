//! The sentences for the operator: what the relay library reports, and what to do about it.

use hobnob_protocol::identity::PEER_ID_SHORT_LEN;
use hobnob_protocol::relay::TOKEN_MAX;
use hobnob_relay::admission::{FileError, LineProblem};
use hobnob_relay::fleet::FleetError;
use hobnob_relay::server::{ListenError, OperatorError, StartError};
use hobnob_relay::status::StatusError;
use hobnob_transport::key_file::KeyFileError;

/// Why the relay can't start, and what to do.
pub(crate) fn start_error(error: &StartError) -> String {
    let advice = match error {
        StartError::Key(error) => return key_error(error),
        StartError::File(error) => return file_error(error),
        StartError::Taken(_) => {
            "it may be another relay: end that program, or choose another port with --listen"
                .to_owned()
        }
        StartError::NotHere(addr) => format!(
            "choose one that is, or [::]:{} for all of them",
            addr.port()
        ),
        StartError::Forbidden(_) => "choose a port above 1023".to_owned(),
        StartError::Tcp(ListenError::Socket { .. }) => {
            "end the program that uses the port, give this user the right to use it, or serve \
             UDP alone with --no-tcp"
                .to_owned()
        }
        StartError::Fleet(FleetError::NotMember(_)) => {
            "sign a new list that names it with `hobnob relay fleet sign`".to_owned()
        }
        StartError::Tcp(ListenError::Certificate(_) | ListenError::Inherited(_))
        | StartError::Inherited(_)
        | StartError::Mailbox(_)
        | StartError::Fleet(_)
        | StartError::Socket { .. } => return error.to_string(),
    };
    format!("{error}: {advice}")
}

/// Why a file of the operator is unusable, and what to do.
pub(crate) fn file_error(error: &FileError) -> String {
    match error {
        FileError::NoToken { .. } => format!(
            "{error}: write 1 to {TOKEN_MAX} bytes into it, for example with `head -c 24 /dev/urandom | base64`"
        ),
        FileError::Line {
            problem: LineProblem::NotAnId(_),
            ..
        } => format!("{error}; `hobnob id` prints an id"),
        FileError::TokenLine { .. }
        | FileError::Line { .. }
        | FileError::Unreadable { .. }
        | FileError::Unwritable { .. } => error.to_string(),
    }
}

/// Why the status page can't be served, and what to do.
pub(crate) fn status_error(error: &StatusError) -> String {
    format!("{error}: choose another address with --status ADDR:PORT")
}

/// Why a request of the operator failed, and what to do.
pub(crate) fn operator_error(error: &OperatorError) -> String {
    match error {
        OperatorError::Unknown(_) => format!(
            "{error}: name a peer by its label, its id, or the first {PEER_ID_SHORT_LEN} or more characters of its id \
             (hobnob relay peers lists them); a peer that has never connected needs its whole id"
        ),
        OperatorError::Ambiguous { .. } => {
            format!("{error}: type more characters of the id")
        }
        OperatorError::File(error) => file_error(error),
        OperatorError::NotConnected(_)
        | OperatorError::BannedAlready(_)
        | OperatorError::NotBanned(_)
        | OperatorError::TooManyBans
        | OperatorError::Certificate(_)
        | OperatorError::NotStored(_)
        | OperatorError::StillDraining
        | OperatorError::Stopping => error.to_string(),
    }
}

fn key_error(error: &KeyFileError) -> String {
    let advice = match error {
        KeyFileError::Damaged { .. } => {
            "restore it from a backup, or move it away to get a new identity, which every user of this relay must then learn"
        }
        KeyFileError::Unusable { .. } => {
            "make the folder writable for the user that runs the relay"
        }
    };
    format!("{error}: {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_protocol::DeviceId;
    use hobnob_relay::admission::BanTarget;
    use std::path::PathBuf;

    #[test]
    fn an_error_is_followed_by_what_to_do() {
        let addr = "192.0.2.7:4627".parse().unwrap();
        for (error, cause, advice) in [
            (StartError::Taken(addr), "192.0.2.7:4627", "--listen"),
            (StartError::NotHere(addr), "not an address", "[::]:4627"),
            (StartError::Forbidden(addr), "may not listen", "above 1023"),
        ] {
            let text = start_error(&error);
            assert!(text.contains(cause) && text.contains(advice), "{text}");
        }
        let path = PathBuf::from("allowed");
        let problem = LineProblem::NotAnId(3);
        let error = FileError::Line {
            path,
            line: 2,
            problem,
        };
        let text = file_error(&error);
        assert!(
            text.contains("allowed line 2") && text.contains("hobnob id"),
            "{text}"
        );
    }

    #[test]
    fn an_unknown_target_is_quoted_with_the_forms_that_work() {
        let text = operator_error(&OperatorError::Unknown("bob".into()));
        assert!(
            text.contains("\"bob\"") && text.contains("hobnob relay peers"),
            "{text}"
        );
        let peer = DeviceId::from_bytes([1; 32]);
        let text = operator_error(&OperatorError::NotBanned(BanTarget::Peer(peer)));
        assert_eq!(text, format!("{peer} is not banned"));
    }
}
