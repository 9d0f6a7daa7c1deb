//! The requests: one struct each, with its name on the wire and the type of its answer.
//!
//! A field that a request does not have is an error: a misspelt optional field would otherwise make
//! the request do something else.
//!
//! The list in `requests!` is the only one. [`AnyRequest`], which the server decodes, and the
//! dispatch to the handlers in `server/requests.rs` are generated from it. Answers are in
//! `answer.rs` and `event.rs`.

use std::net::SocketAddr;
use std::path::PathBuf;

use hobnob::{
    ClientId, ConversationRef, DeliveryState, HistoryQuery, MessageId, NotifyRule, RoomInfo,
};
use hobnob_protocol::invitation::{CodeNumber, InviteCode};
use hobnob_protocol::{Nickname, RoomName, RoomTarget, Target};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};

use super::answer::{
    ActivityList, Answer, Done, ExportedFile, ImportedFile, InvitationAccepted, InvitationCode,
    InvitationEnded, KeepTimeList, Kicked, MessageList, NotifyRuleList, PeerList, PictureFile,
    Pong, Resolved, RoomList, SharedRoom, Verification,
};
use super::diagnosis::Diagnosis;
use super::event::{BodyFields, PeerLine, SendableBody, SentLine, StatusLine};
use super::file::FileList;
use super::mailbox::MailboxLine;
use super::program::{
    CloseStream, EndStream, OpenApp, OpenStream, OpenedStream, ReadStream, SendDatagram,
    StreamBytes, WriteStream,
};
use super::values::{self, Base64};
use hobnob_local::json::{Text, Time};

/// Milliseconds that `send`, `broadcast` and `offer` wait unless the request says otherwise.
pub const TIMEOUT_MS_DEFAULT: u64 = 10_000;

/// A request to the node, which knows the type of its answer.
///
/// ```no_run
/// # async fn ask(client: hobnob_control::Client) -> Result<(), hobnob_control::ClientError> {
/// use hobnob_control::wire::ListPeers;
///
/// let list = client.ask(ListPeers { settle: true }).await?;
/// for peer in list.peers {
///     println!("{} is {}", peer.name, peer.state.as_str());
/// }
/// # Ok(()) }
/// ```
pub trait Request: Into<AnyRequest> {
    /// The content of `ok` in the answer.
    type Answer: DeserializeOwned;
}

/// The schema of a request, as its definition lists it.
pub(super) struct RequestSchema {
    /// Its `cmd`.
    pub(super) name: &'static str,
    /// The name of its type.
    pub(super) title: &'static str,
    /// What it is for.
    pub(super) description: &'static str,
    /// The schema of its own fields.
    pub(super) request: Schema,
    /// The reference to the schema of its answer.
    pub(super) answer: Schema,
}

/// Defines [`AnyRequest`] and ties each request to its name, its answer, and whether it changes
/// something. The first argument is a `$`, for the macro inside.
macro_rules! requests {
    ($d:tt $(
        $(#[doc = $doc:literal])*
        $name:literal $request:ident -> $answer:ty, changes: $changes:expr;
    )*) => {
        /// Any request, as it stands on a line: `{"cmd":"send",…}`.
        ///
        /// ```
        /// use hobnob_control::wire::AnyRequest;
        ///
        /// let line = r#"{"cmd":"send","target":"bob","text":"hi"}"#;
        /// let AnyRequest::SendMessage(send) = serde_json::from_str(line)? else { panic!() };
        /// assert_eq!(send.body.text.as_deref(), Some("hi"));
        /// assert_eq!(send.options.wait, hobnob::DeliveryState::Delivered);
        /// # Ok::<(), serde_json::Error>(())
        /// ```
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "cmd")]
        pub enum AnyRequest {
            $(
                $(#[doc = $doc])*
                #[serde(rename = $name)]
                $request($request),
            )*
        }

        impl AnyRequest {
            /// The names of all requests.
            pub const NAMES: &[&str] = &[$($name),*];

            /// Whether the request changes something. The node carries those out in the order of
            /// their lines.
            pub fn changes(&self) -> bool {
                match self {
                    $(AnyRequest::$request(request) => {
                        let changes: fn(&$request) -> bool = $changes;
                        changes(request)
                    })*
                }
            }

            /// The schema of each request and of its answer.
            pub(super) fn schemas(
                requests: &mut SchemaGenerator,
                answers: &mut SchemaGenerator,
            ) -> Vec<RequestSchema> {
                vec![$(RequestSchema {
                    name: $name,
                    title: stringify!($request),
                    description: concat!($($doc),*).trim(),
                    request: $request::json_schema(requests),
                    answer: answers.subschema_for::<Answer<$answer>>(),
                }),*]
            }
        }

        $(
            impl $request {
                #[doc = concat!("Its `cmd` on the wire: `", $name, "`.")]
                pub const NAME: &str = $name;
            }

            impl Request for $request {
                type Answer = $answer;
            }

            impl From<$request> for AnyRequest {
                fn from(request: $request) -> AnyRequest {
                    AnyRequest::$request(request)
                }
            }
        )*

        /// Evaluates an expression with the request that an [`AnyRequest`] holds, at its own type.
        macro_rules! dispatch {
            ($d any:expr, $d request:ident => $d handled:expr) => {
                match $d any {
                    $($crate::wire::AnyRequest::$request($d request) => $d handled,)*
                }
            };
        }
        pub(crate) use dispatch;
    };
}

requests! { $
    /// Which process answers here.
    "ping" Ping -> Pong, changes: |_| false;
    /// This node's identity, addresses, rooms and relays.
    "status" GetStatus -> StatusLine, changes: |_| false;
    /// The holders of this node's mail, and the messages that holders have for others.
    "mailbox" GetMailbox -> MailboxLine, changes: |_| false;
    /// A direct message. The answer has the state that was reached in time.
    "send" SendMessage -> SentLine, changes: |_| true;
    /// A message to a room.
    "broadcast" BroadcastMessage -> SentLine, changes: |_| true;
    /// A message that answers another one, in the same conversation.
    "reply" ReplyToMessage -> SentLine, changes: |_| true;
    /// Replaces the text of a message of this node.
    "edit" EditMessage -> SentLine, changes: |_| true;
    /// Adds an emoji to a message, or takes it back.
    "react" ReactToMessage -> SentLine, changes: |_| true;
    /// Deletes a message of this node that has not left this node.
    "cancel" CancelMessage -> Done, changes: |_| true;
    /// Shows others that the user types.
    "typing" ShowTyping -> Done, changes: |_| false;
    /// Shows the author of a message that the user has read it, and those before it.
    "read" MarkRead -> Done, changes: |_| false;
    /// Shows others that the user is away, or back.
    "away" SetStatus -> Done, changes: |_| true;
    /// How far other users have read, and who is away.
    "activity" ListActivity -> ActivityList, changes: |_| false;
    /// Offers a file or folder. The answer comes once the file was read.
    "offer" OfferFile -> SentLine, changes: |_| true;
    /// All offers of files and their state.
    "files" ListFiles -> FileList, changes: |_| false;
    /// Accepts an offer. Events report the download.
    "accept" AcceptFile -> Done, changes: |_| true;
    /// Declines an offer, ends its transfer, or takes an offer of this node back.
    "decline" DeclineFile -> Done, changes: |_| true;
    /// Pauses a download, or the sending of a file of this node. `accept` continues it.
    "pause" PauseFile -> Done, changes: |_| true;
    /// Every peer that this node knows.
    "peers" ListPeers -> PeerList, changes: |_| false;
    /// Messages, oldest first.
    "history" HistoryFilter -> MessageList, changes: |_| false;
    /// Creates a room with a random key, and joins it.
    "create_room" CreateRoom -> SharedRoom, changes: |_| true;
    /// The ticket of a room with a key.
    "room_ticket" GetRoomTicket -> SharedRoom, changes: |_| false;
    /// Joins a room.
    "join" JoinRoom -> RoomInfo, changes: |_| true;
    /// Proposes to two contacts to become contacts of each other.
    "introduce" Introduce -> Done, changes: |_| true;
    /// Creates a code with which somebody becomes a contact.
    "invite" Invite -> InvitationCode, changes: |_| true;
    /// Waits until an invitation has ended.
    "invitation-end" AwaitInvitation -> InvitationEnded, changes: |_| false;
    /// Accepts an invitation.
    "accept-invite" AcceptInvite -> InvitationAccepted, changes: |_| true;
    /// Leaves a room.
    "part" PartRoom -> Done, changes: |_| true;
    /// Deletes a message. The answer comes once no file of the node contains it.
    "delete" DeleteMessage -> Done, changes: |_| true;
    /// Erases all messages of a conversation on this node.
    "clear" ClearConversation -> Done, changes: |_| true;
    /// Erases the direct conversation with a peer, and forgets the peer.
    "forget" ForgetPeer -> Done, changes: |_| true;
    /// Sets how long the messages of a conversation are kept.
    "keep" KeepConversation -> Done, changes: |_| true;
    /// How long messages are kept: of each conversation for which the user has set it, and of the others.
    "keep-times" ListKeepTimes -> KeepTimeList, changes: |_| false;
    /// Sets the topic of a room.
    "topic" SetTopic -> SentLine, changes: |_| true;
    /// Pins a message, or takes that back.
    "pin" PinMessage -> SentLine, changes: |_| true;
    /// The pinned messages of a conversation.
    "pins" ListPins -> MessageList, changes: |_| false;
    /// Sets of which messages in a conversation the user is alerted.
    "notify" SetNotify -> Done, changes: |_| true;
    /// The conversations for which the user has set that.
    "notify-rules" ListNotifyRules -> NotifyRuleList, changes: |_| false;
    /// Copies key, messages and content index into a new folder, which is not encrypted.
    "snapshot" TakeSnapshot -> Done, changes: |_| true;
    /// Writes the messages that a peer lacks to a sealed file, to be carried by hand.
    "export-for" ExportFor -> ExportedFile, changes: |_| true;
    /// Takes messages and receipts from a file that a peer has written.
    "import" ImportFile -> ImportedFile, changes: |_| true;
    /// The result of an automatic backup, which the node reports to the user.
    "report-backup" ReportBackup -> Done, changes: |_| true;
    /// Lets the node read its settings again.
    "apply-settings" ApplySettings -> Done, changes: |_| true;
    /// The rooms that this node is in.
    "rooms" ListRooms -> RoomList, changes: |_| false;
    /// Changes this node's nickname.
    "nick" SetNick -> Done, changes: |_| true;
    /// Sets this node's profile picture, or removes it.
    "set-picture" SetPicture -> Done, changes: |_| true;
    /// The profile picture of a peer, or of this node.
    "picture" GetPicture -> PictureFile, changes: |_| false;
    /// Accepts a stranger: its direct messages that waited arrive.
    "accept-contact" AcceptContact -> PeerLine, changes: |_| true;
    /// Makes a contact a stranger again.
    "remove-contact" RemoveContact -> PeerLine, changes: |_| true;
    /// Hides what a peer writes. The answer comes once that is on disk.
    "ignore" Ignore -> PeerLine, changes: |_| true;
    /// Shows what a peer writes again.
    "unignore" Unignore -> PeerLine, changes: |_| true;
    /// Disconnects a peer, refuses new connections, and neither shows nor forwards its messages.
    "block" Block -> PeerLine, changes: |_| true;
    /// Undoes `block` or `kick`.
    "unblock" Unblock -> PeerLine, changes: |_| true;
    /// Disconnects a peer and refuses new connections for a while.
    "kick" Kick -> Kicked, changes: |_| true;
    /// The safety number for a peer; marks the peer as verified, or takes that back.
    "verify" Verify -> Verification, changes: |request| request.confirm.is_some();
    /// Checks this node's network.
    "doctor" Diagnose -> Diagnosis, changes: |_| false;
    /// Checks why a peer can't be reached.
    "why" Why -> Diagnosis, changes: |_| false;
    /// Starts event lines on this connection.
    "subscribe" Subscribe -> Done, changes: |_| false;
    /// Registers the program of this connection, for datagrams and streams.
    "app" OpenApp -> Done, changes: |_| true;
    /// Sends a datagram to the program of a contact, now or never.
    "datagram" SendDatagram -> Done, changes: |_| true;
    /// Opens a stream to the program of a contact.
    "open-stream" OpenStream -> OpenedStream, changes: |_| false;
    /// Waits for the next bytes of a stream.
    "read-stream" ReadStream -> StreamBytes, changes: |_| false;
    /// Writes bytes to a stream. The answer comes once the other end has room for them.
    "write-stream" WriteStream -> Done, changes: |_| true;
    /// Ends the bytes to the other end of a stream.
    "end-stream" EndStream -> Done, changes: |_| true;
    /// Closes a stream.
    "close-stream" CloseStream -> Done, changes: |_| true;
    /// The peer that a word names.
    "resolve" Resolve -> Resolved, changes: |_| false;
}

/// The answer to a request whose type was forgotten is untyped JSON.
impl Request for AnyRequest {
    type Answer = serde_json::Value;
}

/// See [`AnyRequest::Ping`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ping {}

/// See [`AnyRequest::GetStatus`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetStatus {}

/// See [`AnyRequest::GetMailbox`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetMailbox {}

/// See [`AnyRequest::SendMessage`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SendMessage {
    /// The recipient.
    pub target: Text<Target>,
    /// The content.
    #[serde(flatten)]
    #[schemars(with = "SendableBody")]
    pub body: BodyFields,
    /// A name for the message: if one with this name was sent, this one is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<Text<ClientId>>,
    /// How long to wait for the delivery.
    #[serde(flatten)]
    pub options: WaitOptions,
}

/// See [`AnyRequest::BroadcastMessage`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BroadcastMessage {
    /// The room.
    #[serde(default = "lobby")]
    pub room: Text<RoomName>,
    /// The content.
    #[serde(flatten)]
    #[schemars(with = "SendableBody")]
    pub body: BodyFields,
    /// A name for the message: if one with this name was sent, this one is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<Text<ClientId>>,
    /// How long to wait for the delivery.
    #[serde(flatten)]
    pub options: WaitOptions,
}

/// See [`AnyRequest::ReplyToMessage`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplyToMessage {
    /// The message to answer.
    pub message: Text<MessageId>,
    /// The answer.
    pub text: String,
    /// A name for the message: if one with this name was sent, this one is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<Text<ClientId>>,
    /// How long to wait for the delivery.
    #[serde(flatten)]
    pub options: WaitOptions,
}

/// See [`AnyRequest::EditMessage`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EditMessage {
    /// The message.
    pub message: Text<MessageId>,
    /// The new text.
    pub text: String,
    /// How long to wait for the delivery.
    #[serde(flatten)]
    pub options: WaitOptions,
}

/// See [`AnyRequest::ReactToMessage`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReactToMessage {
    /// The message.
    pub message: Text<MessageId>,
    /// The emoji.
    pub emoji: String,
    /// Whether to take the emoji back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub off: bool,
    /// How long to wait for the delivery.
    #[serde(flatten)]
    pub options: WaitOptions,
}

/// See [`AnyRequest::CancelMessage`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelMessage {
    /// The message.
    pub message: Text<MessageId>,
}

/// See [`AnyRequest::ShowTyping`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShowTyping {
    /// The conversation.
    pub conversation: Text<ConversationRef>,
    /// Whether the user has stopped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub off: bool,
}

/// See [`AnyRequest::MarkRead`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkRead {
    /// The message.
    pub message: Text<MessageId>,
}

/// See [`AnyRequest::SetStatus`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetStatus {
    /// A text about it, of at most 256 bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Whether the user is back. A text may say more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub back: bool,
}

/// See [`AnyRequest::ListActivity`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListActivity {}

/// See [`AnyRequest::OfferFile`]. It has either a target or a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OfferFile {
    /// The recipient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Text<Target>>,
    /// The room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<Text<RoomName>>,
    /// The absolute path of the file or folder: a text, or `{"bytes":…}` if it is not UTF-8.
    #[serde(with = "values::local_path")]
    #[schemars(with = "values::LocalPath")]
    pub path: PathBuf,
    /// A name for the message: if one with this name was sent, this one is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<Text<ClientId>>,
    /// What to say about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub caption: String,
    /// How long to wait for the delivery.
    #[serde(flatten)]
    pub options: WaitOptions,
}

impl OfferFile {
    /// Offers a file, without a caption, in a conversation. Waits until the offer is on disk.
    pub fn new(conversation: ConversationRef, path: PathBuf) -> OfferFile {
        let (target, room) = match conversation {
            ConversationRef::Direct(peer) => (Some(Text(Target::Id(peer))), None),
            ConversationRef::Room(room) => (None, Some(Text(room))),
        };
        OfferFile {
            target,
            room,
            path,
            client_id: None,
            caption: String::new(),
            options: WaitOptions::ON_DISK,
        }
    }
}

/// See [`AnyRequest::ListFiles`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListFiles {}

/// See [`AnyRequest::AcceptFile`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptFile {
    /// The offer.
    pub offer: Text<MessageId>,
}

/// See [`AnyRequest::DeclineFile`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclineFile {
    /// The offer.
    pub offer: Text<MessageId>,
}

/// See [`AnyRequest::PauseFile`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseFile {
    /// The offer.
    pub offer: Text<MessageId>,
}

/// See [`AnyRequest::ListPeers`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListPeers {
    /// Whether a node that has just started first looks for peers.
    #[serde(default)]
    pub settle: bool,
}

/// Reads messages: see [`AnyRequest::HistoryFilter`] and [`HistoryQuery`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HistoryFilter {
    /// Only this conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<Text<ConversationRef>>,
    /// Only messages with these words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
    /// Only the thread of this message: the message that began it, and all replies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<Text<MessageId>>,
    /// Only messages that mention the user.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mentions: bool,
    /// Only messages received at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Only messages before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Text<MessageId>>,
    /// Only messages after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Text<MessageId>>,
    /// The oldest that fit, instead of the newest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oldest: bool,
    /// Maximum number of messages. One answer never has more than
    /// [`HISTORY_PAGE_MAX`](super::HISTORY_PAGE_MAX).
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "limit"
    )]
    pub limit: Option<usize>,
}

/// See [`AnyRequest::Introduce`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Introduce {
    /// A contact.
    pub target: Text<Target>,
    /// Another contact.
    pub other: Text<Target>,
}

/// See [`AnyRequest::Invite`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Invite {
    /// The room to which the code invites, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<Text<RoomName>>,
    /// Give the other user this node's token for the relay in the code, so that they use that relay
    /// from then on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub share_relay: bool,
}

/// See [`AnyRequest::AwaitInvitation`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AwaitInvitation {
    /// The six digits of its code.
    pub number: Text<CodeNumber>,
}

/// See [`AnyRequest::AcceptInvite`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptInvite {
    /// The code.
    pub code: Text<InviteCode>,
}

/// See [`AnyRequest::DeleteMessage`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteMessage {
    /// The message. One of this node is deleted for everybody.
    pub message: Text<MessageId>,
    /// Delete a message of this node on this node only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub here: bool,
    /// Erase a message of this node here although it is not delivered yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub yes: bool,
}

/// See [`AnyRequest::ClearConversation`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClearConversation {
    /// The peer, for the direct conversation with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Text<Target>>,
    /// The room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<Text<RoomName>>,
    /// Erase own messages, too, that are not delivered yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub yes: bool,
}

/// See [`AnyRequest::ForgetPeer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForgetPeer {
    /// The peer.
    pub target: Text<Target>,
    /// Only this address of the peer, for example one that the user typed. Nothing is erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// Erase own messages, too, that are not delivered yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub yes: bool,
}

/// See [`AnyRequest::KeepConversation`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeepConversation {
    /// The peer, for the direct conversation with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Text<Target>>,
    /// The room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<Text<RoomName>>,
    /// For how many seconds. None means for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

/// See [`AnyRequest::ListKeepTimes`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListKeepTimes {}

/// See [`AnyRequest::SetTopic`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetTopic {
    /// The room.
    pub room: Text<RoomName>,
    /// The topic. An empty one removes it.
    pub topic: String,
    /// How long to wait for the delivery.
    #[serde(flatten)]
    pub options: WaitOptions,
}

/// See [`AnyRequest::PinMessage`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PinMessage {
    /// The message.
    pub message: Text<MessageId>,
    /// Whether to take the pin back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub off: bool,
    /// How long to wait for the delivery.
    #[serde(flatten)]
    pub options: WaitOptions,
}

/// See [`AnyRequest::ListPins`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListPins {
    /// The conversation.
    pub conversation: Text<ConversationRef>,
}

/// See [`AnyRequest::SetNotify`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetNotify {
    /// The peer, for the direct conversation with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Text<Target>>,
    /// The room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<Text<RoomName>>,
    /// The rule. None means the default: all of a direct conversation, mentions of a room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<NotifyRule>,
}

/// See [`AnyRequest::ListNotifyRules`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListNotifyRules {}

/// See [`AnyRequest::TakeSnapshot`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TakeSnapshot {
    /// The absolute path of the folder. It must not exist yet.
    #[serde(with = "values::local_path")]
    #[schemars(with = "values::LocalPath")]
    pub path: PathBuf,
}

/// See [`AnyRequest::ReportBackup`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportBackup {
    /// Why it failed. None if it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// See [`AnyRequest::ApplySettings`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplySettings {}

/// See [`AnyRequest::JoinRoom`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinRoom {
    /// The room's name, or its ticket.
    pub room: Text<RoomTarget>,
    /// Its passphrase, or the bytes of its ticket; none for an open room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Base64>,
}

/// See [`AnyRequest::CreateRoom`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateRoom {
    /// The room.
    pub room: Text<RoomName>,
}

/// See [`AnyRequest::GetRoomTicket`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetRoomTicket {
    /// The room.
    pub room: Text<RoomName>,
}

/// See [`AnyRequest::PartRoom`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PartRoom {
    /// The room.
    pub room: Text<RoomName>,
}

/// See [`AnyRequest::ExportFor`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportFor {
    /// The peer that can read the file.
    pub target: Text<Target>,
    /// The absolute path of the file, which must not exist.
    #[serde(with = "values::local_path")]
    #[schemars(with = "values::LocalPath")]
    pub path: PathBuf,
}

/// See [`AnyRequest::ImportFile`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportFile {
    /// The absolute path of the file.
    #[serde(with = "values::local_path")]
    #[schemars(with = "values::LocalPath")]
    pub path: PathBuf,
}

/// See [`AnyRequest::ListRooms`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListRooms {}

/// See [`AnyRequest::SetNick`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetNick {
    /// The new nickname.
    pub nick: Nickname,
}

/// See [`AnyRequest::SetPicture`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPicture {
    /// A PNG, JPEG, WebP or GIF file of at most 32,768 bytes. Without it, the picture is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Base64>,
}

/// See [`AnyRequest::GetPicture`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetPicture {
    /// The peer; without it, this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Text<Target>>,
}

/// See [`AnyRequest::AcceptContact`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptContact {
    /// The peer.
    pub target: Text<Target>,
}

/// See [`AnyRequest::RemoveContact`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveContact {
    /// The peer.
    pub target: Text<Target>,
}

/// See [`AnyRequest::Ignore`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ignore {
    /// The peer.
    pub target: Text<Target>,
}

/// See [`AnyRequest::Unignore`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unignore {
    /// The peer.
    pub target: Text<Target>,
}

/// See [`AnyRequest::Block`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// The peer.
    pub target: Text<Target>,
}

/// See [`AnyRequest::Unblock`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unblock {
    /// The peer.
    pub target: Text<Target>,
}

/// See [`AnyRequest::Kick`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kick {
    /// The peer.
    pub target: Text<Target>,
}

/// See [`AnyRequest::Verify`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// The peer.
    pub target: Text<Target>,
    /// `true` marks the peer as verified, `false` takes that back, none changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<bool>,
}

/// See [`AnyRequest::Diagnose`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Diagnose {}

/// See [`AnyRequest::Why`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Why {
    /// The peer.
    pub target: Text<Target>,
}

/// See [`AnyRequest::Subscribe`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subscribe {}

/// See [`AnyRequest::Resolve`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resolve {
    /// The word.
    pub target: Text<Target>,
}

/// The delivery state at which a message is answered, and how long to wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitOptions {
    /// The state to wait for.
    #[serde(default = "delivered")]
    pub wait: DeliveryState,
    /// Maximum time to wait, in milliseconds.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
}

impl WaitOptions {
    /// Answers as soon as the message is on disk. Events report its delivery.
    pub const ON_DISK: WaitOptions = WaitOptions {
        wait: DeliveryState::Queued,
        timeout_ms: 0,
    };
}

impl From<HistoryFilter> for HistoryQuery {
    fn from(filter: HistoryFilter) -> Self {
        HistoryQuery {
            conversation: filter.conversation.map(|c| c.0),
            search: filter.search,
            since_ms: filter.since.map(|t| t.0),
            before: filter.before.map(|id| id.0),
            after: filter.after.map(|id| id.0),
            thread: filter.thread.map(|id| id.0),
            mentions: filter.mentions,
            oldest: filter.oldest,
            limit: filter.limit,
        }
    }
}

/// Reads a limit. The error names the field, which serde's own does not.
fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    Option::deserialize(deserializer).map_err(|error| D::Error::custom(format!("limit: {error}")))
}

fn lobby() -> Text<RoomName> {
    Text(RoomName::lobby())
}

fn delivered() -> DeliveryState {
    DeliveryState::Delivered
}

fn timeout_ms() -> u64 {
    TIMEOUT_MS_DEFAULT
}
