//! The JSON lines of the control socket.
//!
//! A request is one object on one line, `{"id":7,"cmd":"send","target":"bob","text":"hi"}`; the
//! answer has the same id and either `ok` or `error`: `{"id":7,"ok":{…}}`,
//! `{"id":7,"error":{"code":"no-such-peer","exit":3,"text":"…"}}`. Answers come as they are ready,
//! not in the order of requests. After `subscribe` there are event lines between them,
//! `{"v":1,"event":…}`.

mod diagnosis;
mod event;
mod file;
mod values;

use std::path::PathBuf;

use hobnob_protocol::{Nickname, PeerId, RoomName, Target};
use serde::{Deserialize, Serialize};

use hobnob::{
    Cause, ConversationRef, DeliveryState, FileError, HistoryQuery, JoinError, MessageId,
    NodeError, OfferError, PolicyError, SendError,
};

pub use diagnosis::{CheckLine, Diagnosis};
pub use event::{
    BodyFields, EventLine, ListeningLine, MarksFields, MessageLine, NoticeLine, PeerLine,
    ReceiptLine, RelayLine, RoomLine, SentLine, StatusLine, WireEvent,
};
pub use file::{FileLine, FileList, OfferFields, PictureFields};
pub use hobnob_local::json::{LINES_VERSION, Text, Time, to_line};
pub use values::Base64;

/// Longest line a node reads, in bytes. A longer one is skipped and answered with an error.
///
/// ```
/// use hobnob_control::wire::REQUEST_BYTES_MAX;
///
/// assert!(REQUEST_BYTES_MAX > 10 * 16 * 1024, "the longest text fits, however it is escaped");
/// ```
pub const REQUEST_BYTES_MAX: usize = 256 * 1024;

/// Longest line a client reads, in bytes. Only a long list of peers comes near; a longer one ends
/// the connection.
///
/// ```
/// use hobnob_local::line::Lines;
/// use hobnob_control::wire::ANSWER_BYTES_MAX;
///
/// let answers = Lines::new(&b"{}"[..], ANSWER_BYTES_MAX);
/// # drop(answers);
/// ```
pub const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Messages in one answer to `history` at most; `more` says that there are older ones.
///
/// ```
/// use hobnob_control::wire::HISTORY_PAGE_MAX;
///
/// let requests = |messages: usize| messages.div_ceil(HISTORY_PAGE_MAX);
/// assert_eq!(requests(1000), 4);
/// ```
pub const HISTORY_PAGE_MAX: usize = 256;

/// How long `send` and `broadcast` wait unless told otherwise.
///
/// ```
/// use hobnob_control::wire::{Patience, TIMEOUT_MS_DEFAULT};
///
/// let usual: Patience = serde_json::from_str("{}")?;
/// assert_eq!(usual.timeout_ms, TIMEOUT_MS_DEFAULT);
/// # Ok::<(), serde_json::Error>(())
/// ```
pub const TIMEOUT_MS_DEFAULT: u64 = 10_000;

/// One request.
///
/// ```
/// use hobnob_control::wire::{Command, Request, to_line};
///
/// assert_eq!(to_line(&Request { id: 7, command: Command::Ping }), "{\"id\":7,\"cmd\":\"ping\"}\n");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the asker; the answer has it too.
    pub id: u64,
    /// What is asked.
    #[serde(flatten)]
    pub command: Command,
}

/// What can be asked of a node, and what `ok` holds then. Those that change something are carried
/// out in the order of their lines.
///
/// ```
/// use hobnob_control::wire::Command;
///
/// let send: Command = serde_json::from_str(r#"{"cmd":"send","target":"bob","text":"hi"}"#)?;
/// let Command::Send { target, body, patience } = send else { panic!("it is named so") };
/// assert_eq!((target.0.to_string().as_str(), body.text.as_deref()), ("bob", Some("hi")));
/// assert_eq!(patience.wait, hobnob::DeliveryState::Delivered);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cmd", rename_all = "lowercase")]
pub enum Command {
    /// Who answers here: [`Pong`].
    Ping,
    /// What this node is: [`StatusLine`].
    Status,
    /// A direct message: [`SentLine`], with the state that was reached in time.
    Send {
        /// To whom.
        target: Text<Target>,
        /// What it says.
        #[serde(flatten)]
        body: BodyFields,
        /// How far to wait.
        #[serde(flatten)]
        patience: Patience,
    },
    /// A message to a room: [`SentLine`].
    Broadcast {
        /// Which room.
        #[serde(default = "lobby")]
        room: Text<RoomName>,
        /// What it says.
        #[serde(flatten)]
        body: BodyFields,
        /// How far to wait.
        #[serde(flatten)]
        patience: Patience,
    },
    /// Offers the file or folder at a path of this machine, to a peer or in a room: [`SentLine`],
    /// as for a message. Its id is the offer's. The answer comes once the file was read.
    Offer {
        /// To whom.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<Text<Target>>,
        /// Or else in which room.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        room: Option<Text<RoomName>>,
        /// Where it is: an absolute path.
        path: PathBuf,
        /// How far to wait.
        #[serde(flatten)]
        patience: Patience,
    },
    /// Offers of files, and how things stand with them: [`FileList`].
    Files,
    /// Fetches what was offered: [`Done`], once that is on disk; lines of the event `file` tell the
    /// rest.
    Accept {
        /// Which offer.
        offer: Text<MessageId>,
    },
    /// Says no to an offer, ends its transfer, or takes an own offer back: [`Done`].
    Decline {
        /// Which offer.
        offer: Text<MessageId>,
    },
    /// Who is there, or was: [`PeerList`].
    Peers {
        /// Whether a node that has just started shall first have a look around.
        #[serde(default)]
        settle: bool,
    },
    /// Messages, oldest first: [`MessageList`].
    History(HistoryFilter),
    /// From now on in this room: [`RoomLine`].
    Join {
        /// Which room.
        room: Text<RoomName>,
        /// Its secret, if it is not open.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secret: Option<Base64>,
    },
    /// No longer in this room: [`Done`].
    Part {
        /// Which room.
        room: Text<RoomName>,
    },
    /// The rooms this node is in: [`RoomList`].
    Rooms,
    /// Another nickname: [`Done`].
    Nick {
        /// Which.
        nick: Nickname,
    },
    /// Shows no text of a peer: [`PeerLine`], once that is on disk.
    Ignore {
        /// Whose.
        target: Text<Target>,
    },
    /// Shows them again: [`PeerLine`].
    Unignore {
        /// Whose.
        target: Text<Target>,
    },
    /// No session with a peer, and nothing of what it wrote shown or passed on: [`PeerLine`], once
    /// that is on disk.
    Block {
        /// Whom.
        target: Text<Target>,
    },
    /// As it was before `block`, or `kick`: [`PeerLine`].
    Unblock {
        /// Whom.
        target: Text<Target>,
    },
    /// No session with a peer for a while: [`Kicked`].
    Kick {
        /// Whom.
        target: Text<Target>,
    },
    /// The words to compare with a peer: [`Verification`].
    Verify {
        /// With whom.
        target: Text<Target>,
        /// Whether they have been compared: `true` marks the peer as verified, `false` undoes that.
        /// None: no change.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirm: Option<bool>,
    },
    /// What is wrong with this node's network: [`Diagnosis`].
    Doctor,
    /// What is between this node and a peer: [`Diagnosis`].
    Why {
        /// Which peer.
        target: Text<Target>,
    },
    /// Event lines from now on: [`Done`].
    Subscribe,
    /// Who a word means: [`Resolved`].
    Resolve {
        /// The word.
        target: Text<Target>,
    },
}

/// How far a message shall have come before the answer is given, and for how long at most.
///
/// ```
/// use hobnob::DeliveryState;
/// use hobnob_control::wire::Patience;
///
/// let on_disk = Patience { wait: DeliveryState::Queued, timeout_ms: 0 };
/// assert_eq!(serde_json::to_string(&on_disk)?, r#"{"wait":"queued","timeout_ms":0}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patience {
    /// How far.
    #[serde(default = "delivered")]
    pub wait: DeliveryState,
    /// How long, in milliseconds.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
}

/// Which messages: see [`HistoryQuery`].
///
/// ```
/// use hobnob::HistoryQuery;
/// use hobnob_control::wire::HistoryFilter;
///
/// let filter: HistoryFilter = serde_json::from_str(r##"{"conversation":"#ops","since":"2026-11-01T00:00:00Z"}"##)?;
/// let query: HistoryQuery = filter.into();
/// assert_eq!((query.limit, query.since_ms), (None, Some(1_793_491_200_000)));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryFilter {
    /// Only this conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<Text<ConversationRef>>,
    /// Only with these words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
    /// Only received then or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Only those before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Text<MessageId>>,
    /// Only those after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Text<MessageId>>,
    /// The oldest that fit, instead of the newest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oldest: bool,
    /// At most so many; never more than [`HISTORY_PAGE_MAX`] in one answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl From<HistoryFilter> for HistoryQuery {
    fn from(filter: HistoryFilter) -> Self {
        HistoryQuery {
            conversation: filter.conversation.map(|c| c.0),
            search: filter.search,
            since_ms: filter.since.map(|t| t.0),
            before: filter.before.map(|id| id.0),
            after: filter.after.map(|id| id.0),
            oldest: filter.oldest,
            limit: filter.limit,
        }
    }
}

/// One answer.
///
/// ```
/// use hobnob_control::wire::{Answer, Outcome, RoomList};
///
/// let answer: Answer<RoomList> = serde_json::from_str(r#"{"id":7,"ok":{"rooms":[]}}"#)?;
/// assert_eq!(answer, Answer { id: Some(7), outcome: Outcome::Ok(RoomList { rooms: vec![] }) });
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer<T> {
    /// The request's id; none where the line was too broken to have one.
    pub id: Option<u64>,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome<T>,
}

/// What came of a request.
///
/// ```
/// use hobnob_control::wire::{Answer, Done, Outcome};
///
/// let answer: Answer<Done> = serde_json::from_str(r#"{"id":7,"error":{"code":"fault","exit":1,"text":"the disk is full"}}"#)?;
/// match answer.outcome {
///     Outcome::Ok(Done {}) => println!("done"),
///     Outcome::Error(failure) => assert_eq!(failure.to_string(), "the disk is full"),
/// }
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome<T> {
    /// What was asked for.
    Ok(T),
    /// Why not.
    Error(Failure),
}

/// Why a request failed.
///
/// ```
/// use hobnob_control::wire::Failure;
///
/// let failure = Failure::from(hobnob::SendError::Myself);
/// assert_eq!((failure.code.as_str(), failure.exit), ("no-such-peer", 3));
/// assert_eq!((Failure::fault("it broke").exit, Failure::usage("what?").exit), (1, 2));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// A fixed word for programs: `fault`, `usage`, `no-such-peer`, `no-such-message`, `refused`,
    /// `identity-mismatch`.
    pub code: String,
    /// The exit code of a command that fails so.
    pub exit: u8,
    /// What happened and what to do, for people.
    pub text: String,
}

/// Who answers on a socket.
///
/// ```
/// use hobnob_control::wire::Pong;
///
/// let line: Pong = serde_json::from_str(r#"{"pid":4711,"home":"/home/ann/.local/share/hobnob","version":"0.1.0"}"#)?;
/// assert_eq!(line.pid, 4711);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// Its process id.
    pub pid: u32,
    /// Its data folder.
    pub home: PathBuf,
    /// Its version of hobnob.
    pub version: String,
}

/// Answers `peers`.
///
/// ```
/// use hobnob_control::wire::PeerList;
///
/// # let id = hobnob::PeerId::from_bytes([7; 32]);
/// # let peer = format!(r#"{{"peer":"{id}","nick":"bob","name":"bob","state":"online","path":"lan","addr":"10.0.0.5:4626","rtt_ms":0.4}}"#);
/// let line: PeerList = serde_json::from_str(&format!(r#"{{"peers":[{peer}]}}"#))?;
/// assert_eq!(line.peers[0].name, "bob");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerList {
    /// All that are known.
    pub peers: Vec<PeerLine>,
}

/// Answers `history`.
///
/// ```
/// use hobnob_control::wire::MessageList;
///
/// let line: MessageList = serde_json::from_str(r#"{"messages":[],"more":false}"#)?;
/// assert!(line.messages.is_empty() && !line.more);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageList {
    /// Oldest first.
    pub messages: Vec<MessageLine>,
    /// Whether there may be older ones: ask again, with `before` the first of these; or, of the
    /// oldest, newer ones: ask again with `after` the last of these.
    pub more: bool,
}

/// Answers `rooms`.
///
/// ```
/// use hobnob_control::wire::RoomList;
///
/// let line: RoomList = serde_json::from_str(r##"{"rooms":[{"room":"#lobby","open":true,"here":[]}]}"##)?;
/// assert_eq!(line.rooms[0].room.0, hobnob::RoomName::lobby());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomList {
    /// All of them.
    pub rooms: Vec<RoomLine>,
}

/// Answers `resolve`.
///
/// ```
/// use hobnob_control::wire::{Resolved, Text};
///
/// let bob = hobnob::PeerId::from_bytes([7; 32]);
/// let line: Resolved = serde_json::from_str(&format!(r#"{{"peer":"{bob}"}}"#))?;
/// assert_eq!(line, Resolved { peer: Text(bob) });
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// Who it is.
    pub peer: Text<PeerId>,
}

/// Answers `kick`.
///
/// ```
/// use hobnob_control::wire::Kicked;
///
/// # let id = hobnob::PeerId::from_bytes([7; 32]);
/// # let peer = format!(r#"{{"peer":"{id}","nick":"bob","name":"bob","state":"online","path":"lan","addr":"10.0.0.5:4626","rtt_ms":0.4}}"#);
/// let line: Kicked = serde_json::from_str(&format!(r#"{{"peer":{peer},"for_s":600}}"#))?;
/// assert_eq!(line.for_s, hobnob::KICKED_FOR.as_secs());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kicked {
    /// Whom.
    pub peer: PeerLine,
    /// For how long there is no session with it, in seconds.
    pub for_s: u64,
}

/// Answers `verify`.
///
/// ```
/// use hobnob_control::wire::Verification;
///
/// # let id = hobnob::PeerId::from_bytes([7; 32]);
/// # let peer = format!(r#"{{"peer":"{id}","nick":"bob","name":"bob","state":"online","path":"lan","addr":"10.0.0.5:4626","rtt_ms":0.4}}"#);
/// let line: Verification = serde_json::from_str(&format!(r#"{{"peer":{peer},"words":["mushroom","imitate","hollow","inside","invest","trick"]}}"#))?;
/// assert_eq!(line.words.len(), 6);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// Whom.
    pub peer: PeerLine,
    /// What both ends see, if nobody stands between them.
    pub words: Vec<String>,
}

/// The answer where there is nothing to say: `{}`.
///
/// ```
/// assert_eq!(hobnob_control::wire::to_line(&hobnob_control::wire::Done {}), "{}\n");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}

impl Failure {
    /// Something broke on this machine.
    pub fn fault(text: impl ToString) -> Failure {
        Failure {
            code: "fault".into(),
            exit: 1,
            text: text.to_string(),
        }
    }

    /// What was asked makes no sense.
    pub fn usage(text: impl ToString) -> Failure {
        Failure {
            code: "usage".into(),
            exit: 2,
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

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Path(_) | FileError::NoSuchOffer | FileError::Own | FileError::Here(_) => {
                Failure::usage(error)
            }
            FileError::TooMany(_)
            | FileError::NoRoom { .. }
            | FileError::Downloads { .. }
            | FileError::Store(_)
            | FileError::Stopped => Failure::fault(error),
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

impl From<JoinError> for Failure {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Secret(_) | JoinError::OtherSecret(_) | JoinError::NotInRoom(_) => {
                Failure::usage(error)
            }
            JoinError::TooMany(_) | JoinError::Store(_) | JoinError::Stopped => {
                Failure::fault(error)
            }
        }
    }
}

/// Reads a line as a request; the error says whose request it was, as far as that can be told.
///
/// ```
/// use hobnob_control::wire::{Command, parse_request};
///
/// let request = parse_request(br#"{"id":7,"cmd":"rooms"}"#).expect("it is one");
/// assert_eq!((request.id, request.command), (7, Command::Rooms));
/// let answer = parse_request(br#"{"id":8,"cmd":"dance"}"#).expect_err("there is no such command");
/// assert_eq!(answer.id, Some(8));
/// ```
pub fn parse_request(line: &[u8]) -> Result<Request, Answer<Done>> {
    #[derive(Deserialize)]
    struct OnlyId {
        id: Option<u64>,
    }
    serde_json::from_slice(line).map_err(|error| {
        let id = serde_json::from_slice::<OnlyId>(line)
            .ok()
            .and_then(|only| only.id);
        Answer {
            id,
            outcome: Outcome::Error(Failure::usage(format!("this is no request: {error}"))),
        }
    })
}

/// The answer to a line that is longer than any request.
///
/// ```
/// use hobnob_control::wire::{to_line, too_long};
///
/// assert!(to_line(&too_long()).starts_with(r#"{"id":null,"error":{"code":"usage""#));
/// ```
pub fn too_long() -> Answer<Done> {
    let text = format!("a request has at most {REQUEST_BYTES_MAX} bytes");
    Answer {
        id: None,
        outcome: Outcome::Error(Failure::usage(text)),
    }
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

#[cfg(test)]
mod tests;
