//! Answers: the envelope of every answer, and the content of those that are neither an event line
//! nor a diagnosis.

use std::path::PathBuf;

use hobnob_protocol::invitation::{CodeNumber, InviteCode};
use hobnob_protocol::{ContentHash, PersonId, RelayAt, RoomTicket};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::activity::ActivityLine;
use super::event::{MessageLine, PeerLine};
use super::failure::Failure;
use super::values::Base64;
use hobnob::{ConversationRef, NotifyRule, RelayTokenUse, RoomInfo};
use hobnob_local::json::Text;

/// One answer.
///
/// ```
/// use hobnob_control::wire::{Answer, Outcome, RoomList};
///
/// let line = r#"{"id":7,"error":{"code":"fault","exit":1,"text":"the disk is full"}}"#;
/// let answer: Answer<RoomList> = serde_json::from_str(line)?;
/// assert_eq!(answer.id, Some(7));
/// let Outcome::Error(failure) = answer.outcome else { panic!("it failed") };
/// assert_eq!((failure.code.as_str(), failure.exit), ("fault", 1));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{T}Answer")]
pub struct Answer<T> {
    /// The id of the request; none where the line was too broken to have one.
    pub id: Option<u64>,
    /// The outcome.
    #[serde(flatten)]
    pub outcome: Outcome<T>,
}

/// The outcome of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Outcome<T> {
    /// The request succeeded.
    Ok(T),
    /// The request failed.
    Error(Failure),
}

/// The process that answers on a socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pong {
    /// Its process id.
    pub pid: u32,
    /// Its data folder.
    pub home: PathBuf,
    /// Its version of hobnob.
    pub version: String,
}

/// Answers `activity`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActivityList {
    /// How far other users have read, and who is away.
    pub activity: Vec<ActivityLine>,
}

/// Answers `peers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PeerList {
    /// Every peer that this node knows.
    pub peers: Vec<PeerLine>,
}

/// Answers `picture`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PictureFile {
    /// The picture; none if the peer has none, or if it is not here.
    pub picture: Option<PictureFields>,
}

/// A profile picture. The file comes from a peer and may be hostile: decode it where that can do no
/// harm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PictureFields {
    /// The BLAKE3 hash of the file.
    pub hash: Text<ContentHash>,
    /// Its media type, by its first bytes.
    pub media: String,
    /// The file.
    pub bytes: Base64,
}

/// Answers `history`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessageList {
    /// The messages, oldest first.
    pub messages: Vec<MessageLine>,
    /// Whether there may be more. Ask again with `before` as the id of the first of these; or,
    /// where the oldest were asked for, with `after` as the id of the last.
    pub more: bool,
}

/// Answers `keep-times`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeepTimeList {
    /// For how many seconds messages of all other conversations are kept. None means for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_seconds: Option<u64>,
    /// The conversations for which the user has set a time.
    pub times: Vec<KeepTimeLine>,
}

/// How long the messages of a conversation are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeepTimeLine {
    /// The conversation.
    pub conversation: Text<ConversationRef>,
    /// For how many seconds. None means for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

/// Answers `notify-rules`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotifyRuleList {
    /// The conversations for which the user has set a rule.
    pub rules: Vec<NotifyRuleLine>,
}

/// The rule that the user has set for a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotifyRuleLine {
    /// The conversation.
    pub conversation: Text<ConversationRef>,
    /// The rule.
    pub rule: NotifyRule,
}

/// Answers `rooms`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RoomList {
    /// Every room that this node is in.
    pub rooms: Vec<RoomInfo>,
}

/// Answers `resolve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Resolved {
    /// The peer that the word names.
    pub peer: Text<PersonId>,
}

/// Answers `kick`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Kicked {
    /// The peer.
    pub peer: PeerLine,
    /// For how many seconds new connections are refused.
    pub for_s: u64,
}

/// Answers `verify`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verification {
    /// The peer.
    pub peer: PeerLine,
    /// Sixty digits in groups of five. They are the same at the other end if nobody is in between.
    pub safety_number: String,
}

/// Answers `create_room` and `room_ticket`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SharedRoom {
    /// The room.
    #[serde(flatten)]
    pub room: RoomInfo,
    /// Anybody who has the ticket can join the room.
    pub ticket: Text<RoomTicket>,
}

/// Answers `export-for`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExportedFile {
    /// The messages in the file. It also has receipts.
    pub messages: u64,
    /// The size of the file.
    pub bytes: u64,
}

/// Answers `import`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImportedFile {
    /// The peer that wrote the file.
    pub from: Text<PersonId>,
    /// Messages that are new here.
    pub messages: u64,
    /// Messages of this node that are delivered, as the file has shown.
    pub delivered: u64,
    /// Parts of the file that this node has refused, such as messages of a stranger beyond the
    /// limit for strangers.
    pub refused: u64,
}

/// Answers `invite`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InvitationCode {
    /// The whole code, which is secret.
    pub code: Text<InviteCode>,
    /// The public number in it.
    pub number: Text<CodeNumber>,
    /// The code expires after this many seconds.
    pub seconds: u64,
    /// What becomes of this node's token for the relay in the code: `none` if it has none, `kept`
    /// or `shared`. If it is kept and the relay requires a token, the other user needs one of their
    /// own.
    pub relay_token: RelayTokenUse,
}

/// Answers `invitation-end`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InvitationEnded {
    /// How it ended.
    pub end: InvitationState,
    /// The peer that has accepted it.
    pub peer: Option<PeerLine>,
}

/// How an invitation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InvitationState {
    /// A peer has accepted it.
    Accepted,
    /// Somebody has typed wrong words, so the code is dead.
    Wrong,
    /// Nobody has used it in time.
    Expired,
}

/// Answers `accept-invite`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InvitationAccepted {
    /// The inviter, which is a verified contact now.
    pub peer: PeerLine,
    /// The room to which it invited this node, which this node has joined.
    pub room: Option<RoomInfo>,
    /// A relay that the inviter shares: this node has the token for it now, and uses it from now
    /// on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<Text<RelayAt>>,
    /// A relay that admits this node for two minutes only. It requires a token, which this node
    /// does not have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs_token: Option<Text<RelayAt>>,
}

/// Answers a request that has nothing more to report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Done {}
