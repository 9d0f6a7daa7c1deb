//! The JSON lines of the control socket.
//!
//! A request is one object on one line, `{"id":7,"cmd":"send","target":"bob","text":"hi"}`. Its
//! answer has the same id and either `ok` or `error`: `{"id":7,"ok":{…}}`,
//! `{"id":7,"error":{"code":"no-such-peer","exit":3,"text":"…"}}`. Answers come in the order in
//! which they are ready, not in the order of the requests. After `subscribe`, event lines
//! (`{"v":1,"event":…}`) come between them.

mod activity;
mod admission;
mod amending;
mod answer;
mod diagnosis;
mod event;
mod failure;
mod file;
mod mailbox;
mod program;
mod request;
mod schema;
mod values;

use serde::{Deserialize, Serialize};

pub use activity::ActivityLine;
pub use admission::{Admitted, Right, TokenLine};
pub use amending::{
    AmendedFields, AmendedLine, EditedLine, ReactionLine, ReactorLine, ReplyToLine,
};
pub use answer::{
    ActivityList, Answer, Done, ExportedFile, ImportedFile, InvitationAccepted, InvitationCode,
    InvitationEnded, InvitationState, KeepTimeLine, KeepTimeList, Kicked, MessageList,
    NotifyRuleLine, NotifyRuleList, Outcome, PeerList, PictureFields, PictureFile, Pong, Resolved,
    RoomList, SharedRoom, Verification,
};
pub use diagnosis::{CheckLine, Diagnosis, FindingFields};
pub use event::{
    BodyFields, ErasedLine, ErasedWhy, EventLine, LentRelayLine, LentRelayPeer, ListeningLine,
    MessageLine, PeerLine, PinFields, PolicyFields, ReceiptLine, RelayLine, SentLine, StatusLine,
    WaitReason, WireEvent,
};
pub use failure::Failure;
pub use file::{FileLine, FileList, OfferFields};
pub use hobnob_local::json::{LINES_VERSION, Text, Time, to_line};
pub use mailbox::{DepositLine, HolderLine, HoldingLine, MailboxLine};
pub use program::{
    CloseStream, DatagramLine, EndStream, OpenApp, OpenStream, OpenedStream, ReadStream,
    SendDatagram, StreamBytes, StreamLine, WriteStream,
};
pub(crate) use request::dispatch;
pub use request::{
    AcceptContact, AcceptFile, AcceptInvite, AnyRequest, ApplySettings, AwaitInvitation, Block,
    BroadcastMessage, CancelMessage, ClearConversation, CreateRoom, DeclineFile, DeleteMessage,
    Diagnose, EditMessage, ExportFor, ForgetPeer, GetMailbox, GetPicture, GetRoomTicket, GetStatus,
    HistoryFilter, Ignore, ImportFile, Introduce, Invite, JoinRoom, KeepConversation, Kick,
    ListActivity, ListFiles, ListKeepTimes, ListNotifyRules, ListPeers, ListPins, ListRooms,
    MarkRead, OfferFile, PartRoom, PauseFile, PinMessage, Ping, ReactToMessage, RemoveContact,
    ReplyToMessage, ReportBackup, Request, Resolve, SendMessage, SetNick, SetNotify, SetPicture,
    SetStatus, SetTopic, ShowTyping, Subscribe, TIMEOUT_MS_DEFAULT, TakeSnapshot, Unblock,
    Unignore, Verify, WaitOptions, Why,
};
pub use schema::{asyncapi, json_schema};
pub use values::Base64;

/// Longest line that a node reads, in bytes: four times the longest text, however it is escaped.
/// The node skips a longer line and answers it with an error.
pub const REQUEST_BYTES_MAX: usize = 256 * 1024;

/// Longest line that a client reads, in bytes. Only a long list of peers comes near this. A longer
/// line ends the connection.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Maximum number of messages in one answer to `history`; its `more` reports older ones.
pub const HISTORY_PAGE_MAX: usize = 256;

/// One line with a request.
///
/// ```
/// use hobnob_control::wire::{Ping, RequestLine, to_line};
///
/// let line = to_line(&RequestLine { id: 7, request: Ping {}.into() });
/// assert_eq!(line, "{\"id\":7,\"cmd\":\"ping\"}\n");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestLine {
    /// Chosen by the client; the answer repeats it.
    pub id: u64,
    /// The request.
    #[serde(flatten)]
    pub request: AnyRequest,
}

/// Reads a line as a request. The error is the answer to send, with the request's id as far as it
/// can be read.
///
/// ```
/// use hobnob_control::wire::{ListRooms, parse_request};
///
/// let line = parse_request(br#"{"id":7,"cmd":"rooms"}"#).expect("a request");
/// assert_eq!((line.id, line.request), (7, ListRooms {}.into()));
/// let answer = parse_request(br#"{"id":8,"cmd":"dance"}"#).expect_err("there is no such command");
/// assert_eq!(answer.id, Some(8));
/// ```
pub fn parse_request(line: &[u8]) -> Result<RequestLine, Answer<Done>> {
    #[derive(Deserialize)]
    struct OnlyId {
        #[serde(default)]
        id: serde_json::Value,
    }
    serde_json::from_slice(line).map_err(|error| {
        let only_id = serde_json::from_slice::<OnlyId>(line).ok();
        let id = only_id.as_ref().and_then(|only| only.id.as_u64());
        let text = match only_id {
            Some(OnlyId { id }) if !id.is_u64() => {
                "a request needs an id, a whole number from 0 to 18446744073709551615".to_owned()
            }
            _ => format!("this is not a request: {error}"),
        };
        Answer {
            id,
            outcome: Outcome::Error(Failure::usage(text)),
        }
    })
}

/// The answer to a line that is longer than [`REQUEST_BYTES_MAX`].
pub fn too_long() -> Answer<Done> {
    let text = format!("a request has at most {REQUEST_BYTES_MAX} bytes: send a shorter one");
    Answer {
        id: None,
        outcome: Outcome::Error(Failure::usage(text)),
    }
}

#[cfg(test)]
mod tests;
