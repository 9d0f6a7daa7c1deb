//! The right that each request needs.

use hobnob::protocol::Target;
use hobnob_control::wire::{AnyRequest, GetPicture, Right, Text};

/// The right that a token needs for a request. There is no default: a new request must be added.
pub fn needed(request: &AnyRequest) -> Right {
    match request {
        AnyRequest::Ping(_)
        | AnyRequest::GetStatus(_)
        | AnyRequest::GetMailbox(_)
        | AnyRequest::ListFiles(_)
        | AnyRequest::ListPeers(_)
        | AnyRequest::HistoryFilter(_)
        | AnyRequest::ListRooms(_)
        | AnyRequest::ListActivity(_)
        | AnyRequest::ListNotifyRules(_)
        | AnyRequest::ListKeepTimes(_)
        | AnyRequest::ListPins(_)
        | AnyRequest::Diagnose(_)
        | AnyRequest::Subscribe(_) => Right::Read,
        AnyRequest::GetPicture(GetPicture {
            target: None | Some(Text(Target::Id(_))),
        }) => Right::Read,
        // These look for the peer, and may connect to an address that the request names.
        AnyRequest::GetPicture(_) | AnyRequest::Resolve(_) | AnyRequest::Why(_) => Right::Send,
        AnyRequest::SendMessage(_)
        | AnyRequest::BroadcastMessage(_)
        | AnyRequest::ReplyToMessage(_)
        | AnyRequest::EditMessage(_)
        | AnyRequest::ReactToMessage(_)
        | AnyRequest::SetTopic(_)
        | AnyRequest::PinMessage(_)
        | AnyRequest::CancelMessage(_)
        | AnyRequest::ShowTyping(_)
        | AnyRequest::MarkRead(_)
        | AnyRequest::SetStatus(_)
        | AnyRequest::OpenApp(_)
        | AnyRequest::SendDatagram(_)
        | AnyRequest::OpenStream(_)
        | AnyRequest::ReadStream(_)
        | AnyRequest::WriteStream(_)
        | AnyRequest::EndStream(_)
        | AnyRequest::CloseStream(_) => Right::Send,
        // An offer and an export name files of this machine. A ticket and a code let others in. An
        // acceptance writes a file. Deletion, rooms and contacts are the user's decisions.
        AnyRequest::OfferFile(_)
        | AnyRequest::AcceptFile(_)
        | AnyRequest::DeclineFile(_)
        | AnyRequest::PauseFile(_)
        | AnyRequest::CreateRoom(_)
        | AnyRequest::GetRoomTicket(_)
        | AnyRequest::JoinRoom(_)
        | AnyRequest::PartRoom(_)
        | AnyRequest::Introduce(_)
        | AnyRequest::Invite(_)
        | AnyRequest::AwaitInvitation(_)
        | AnyRequest::AcceptInvite(_)
        | AnyRequest::DeleteMessage(_)
        | AnyRequest::ClearConversation(_)
        | AnyRequest::ForgetPeer(_)
        | AnyRequest::KeepConversation(_)
        | AnyRequest::SetNotify(_)
        | AnyRequest::TakeSnapshot(_)
        | AnyRequest::ReportBackup(_)
        | AnyRequest::ApplySettings(_)
        | AnyRequest::ExportFor(_)
        | AnyRequest::ImportFile(_)
        | AnyRequest::SetNick(_)
        | AnyRequest::SetPicture(_)
        | AnyRequest::AcceptContact(_)
        | AnyRequest::RemoveContact(_)
        | AnyRequest::Ignore(_)
        | AnyRequest::Unignore(_)
        | AnyRequest::Block(_)
        | AnyRequest::Unblock(_)
        | AnyRequest::Kick(_)
        | AnyRequest::Verify(_) => Right::Manage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(request: &str) -> Right {
        needed(&serde_json::from_str(request).unwrap())
    }

    #[test]
    fn reading_sending_and_managing_are_apart() {
        assert_eq!(of(r#"{"cmd":"history"}"#), Right::Read);
        assert_eq!(
            of(r#"{"cmd":"send","target":"bob","text":"hi"}"#),
            Right::Send
        );
        assert_eq!(
            of(r#"{"cmd":"offer","target":"bob","path":"/etc/passwd"}"#),
            Right::Manage
        );
        assert_eq!(of(r##"{"cmd":"clear","room":"#ops"}"##), Right::Manage);
        assert_eq!(of(r#"{"cmd":"app","app":"pong"}"#), Right::Send);
        // A word may be an address.
        assert_eq!(
            of(r#"{"cmd":"resolve","target":"10.0.0.1:22"}"#),
            Right::Send
        );
    }
}
