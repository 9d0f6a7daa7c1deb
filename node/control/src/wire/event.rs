//! Event lines: the same on the control socket and in the output of commands with `--json`.
//!
//! An API type whose JSON form serde can derive is used as it is. The types here add or change
//! fields.

use std::net::SocketAddr;

use hobnob_protocol::{Body, ContentHash, DeviceId, Nickname, PersonId, RelayAt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::activity::ActivityLine;
use super::amending::{AmendedFields, AmendedLine, EditedLine, ReactionLine, ReplyToLine};
use super::file::{FileLine, OfferFields};
use super::program::{DatagramLine, StreamLine};
use super::values::Base64;
use hobnob::{
    Carrier, ClientId, ConversationRef, DeliveryState, DenyReason, Event, MailRefusal, Message,
    MessageId, Notice, PathKind, PeerInfo, PeerPolicy, PeerState, RelayInfo, RoomInfo, Sent,
    Status,
};
use hobnob_local::json::{LINES_VERSION, Text, Time};

/// One line: `{"v":1,"event":…}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventLine {
    v: u8,
    /// The event.
    #[serde(flatten)]
    pub event: WireEvent,
}

impl From<WireEvent> for EventLine {
    fn from(event: WireEvent) -> Self {
        EventLine {
            v: LINES_VERSION,
            event,
        }
    }
}

/// An event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "lowercase")]
#[schemars(inline)]
pub enum WireEvent {
    /// The node listens at these addresses.
    Listening(ListeningLine),
    /// A peer connected, disconnected or changed.
    Peer(PeerLine),
    /// A message is on disk here. Own messages have a `state`.
    Message(MessageLine),
    /// A message of this node reached the next state with one peer.
    Receipt(ReceiptLine),
    /// Somebody edited a message, or reacted to it.
    Amended(AmendedLine),
    /// Another user types, has read messages, is away or back.
    Activity(ActivityLine),
    /// The contents of messages were erased here.
    Erased(ErasedLine),
    /// A message of this node is queued, and has reached this state.
    Sent(SentLine),
    /// A room.
    Room(RoomInfo),
    /// The state of this node.
    Status(StatusLine),
    /// An offered file is new, changed its state, or made progress.
    File(Box<FileLine>),
    /// A datagram has arrived for a program of this connection.
    Datagram(DatagramLine),
    /// The program of a contact has opened a stream to a program of this connection.
    Stream(StreamLine),
    /// A text for the user.
    Notice(Notice),
    /// The reader was too slow, so the node skipped events. The messages are in the history.
    Lagged {
        /// The number of skipped events.
        missed: u64,
    },
    /// The node is about to stop: disconnect, and attach again.
    Goodbye,
    /// An event that only a newer version knows.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// The addresses at which the node listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListeningLine {
    /// The node's id.
    pub peer: Text<PersonId>,
    /// The addresses.
    pub addrs: Vec<SocketAddr>,
}

/// A peer: see [`PeerInfo`]. The line rounds the round trip and writes the policy as words, so
/// serde cannot derive it from that type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PeerLine {
    /// Its id.
    pub peer: Text<PersonId>,
    /// The nickname that it chose.
    pub nick: Option<Nickname>,
    /// The name to show.
    pub name: String,
    /// The name that it had before, for seven days after the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formerly: Option<String>,
    /// The hash of its profile picture, if the picture is here. The request `picture` reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<Text<ContentHash>>,
    /// Whether it is connected.
    pub state: PeerState,
    /// The kind of path to it.
    pub path: Option<PathKind>,
    /// Its address.
    pub addr: Option<SocketAddr>,
    /// The last round trip, in milliseconds, to the microsecond.
    pub rtt_ms: Option<f64>,
    /// Whether it is offline because the connection broke without a goodbye.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
    /// Whether it refuses direct messages of this node until its user accepts it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub awaits_consent: bool,
    /// How many of its direct messages are here, if it is a stranger.
    #[serde(default, skip_serializing_if = "is_none")]
    pub request: u64,
    /// Whether its user is away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub away: bool,
    /// The text of its user about that.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// The user's policy about it.
    #[serde(flatten)]
    pub policy: PolicyFields,
}

/// The user's policy about a peer, as fields of its line. Only those that are true are written. See
/// [`PeerPolicy`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyFields {
    /// The user has accepted it, or has written to it. Otherwise it is a stranger.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub contact: bool,
    /// Its messages are hidden.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignored: bool,
    /// It is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blocked: bool,
    /// The user has compared the safety number with it, or has invited it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub verified: bool,
    /// The code of an invitation verified it. The user has not compared the safety number.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_code: bool,
}

/// A message: see [`Message`]. The line writes times as text and the body as fields of its own, so
/// serde cannot derive it from that type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessageLine {
    /// Its id.
    pub id: Text<MessageId>,
    /// Its conversation.
    pub conversation: Text<ConversationRef>,
    /// Its author.
    pub from: Text<PersonId>,
    /// The author's name to show.
    pub nick: String,
    /// Its content.
    #[serde(flatten)]
    pub body: BodyFields,
    /// The message that it answers, its edits and reactions.
    #[serde(flatten)]
    pub amended: Box<AmendedFields>,
    /// When it was written, by the author's clock.
    pub sent_at: Time,
    /// When it arrived, by this machine's clock.
    pub received_at: Time,
    /// Its delivery state, if it is a message of this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<DeliveryState>,
    /// Why a message of this node stays in its state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<WaitReason>,
    /// Whether it is a direct message of a stranger.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub request: bool,
    /// Of a message of this node: the name that the program gave it that sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<Box<Text<ClientId>>>,
    /// Whether it mentions the user.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mention: bool,
    /// Whether the user wants to be alerted of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub notify: bool,
}

/// Why a message of this node stays in its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WaitReason {
    /// The peer's user has to accept this node first.
    #[serde(rename = "waiting to be accepted")]
    Consent,
    /// The peer is away, and its mailbox is full.
    #[serde(rename = "the mailbox is full")]
    MailboxFull,
    /// The peer is away, and the holder of its mailbox does not take messages of this node.
    #[serde(rename = "the mailbox refuses it")]
    MailboxRefuses,
    /// The peer is away, and the holder of its mailbox can't store anything now.
    #[serde(rename = "the mailbox fails")]
    MailboxFails,
    /// The peer is not connected, and this node can use none of its relays: `status` says why.
    #[serde(rename = "this node can't use its relays")]
    NoRelay,
    /// The peer's user has blocked this node.
    #[serde(rename = "the peer has blocked this node")]
    Blocked,
    /// The peer's user has disconnected this node for a while.
    #[serde(rename = "the peer has disconnected this node")]
    Kicked,
    /// The peer's user has verified another peer with this node's nickname.
    #[serde(rename = "the peer knows this node's nickname as another's")]
    NameTaken,
    /// A reason that only a newer version knows.
    #[serde(other)]
    Unknown,
}

impl WaitReason {
    /// Whether the peer refuses sessions with this node.
    pub fn is_refusal(self) -> bool {
        matches!(self, Self::Blocked | Self::Kicked | Self::NameTaken)
    }
}

impl From<DenyReason> for WaitReason {
    fn from(reason: DenyReason) -> Self {
        match reason {
            DenyReason::Blocked => WaitReason::Blocked,
            DenyReason::Kicked => WaitReason::Kicked,
            DenyReason::NameTaken => WaitReason::NameTaken,
        }
    }
}

impl From<MailRefusal> for WaitReason {
    fn from(refusal: MailRefusal) -> Self {
        match refusal {
            MailRefusal::Full => WaitReason::MailboxFull,
            MailRefusal::NotAccepted => WaitReason::MailboxRefuses,
            MailRefusal::Failed => WaitReason::MailboxFails,
            MailRefusal::Unknown => WaitReason::Unknown,
        }
    }
}

/// A body as fields of its message's line: `text`, or `kind` and `bytes`, or `file`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BodyFields {
    /// The text of a text message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// An offer of a file or folder. The request `offer` makes it, not `send`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<Box<OfferFields>>,
    /// The kind of an app message: the reverse-DNS name of its program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The number of a kind of body that only a newer version knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<u16>,
    /// The content of an app message, or of an unknown kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Base64>,
    /// The topic that a room has from now on. An empty one removes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The message that is pinned from now on, or no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Box<PinFields>>,
    /// Why the message has no content: `deleted` by its author, or `missing` until a peer sends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erased: Option<ErasedWhy>,
}

/// The bodies that a program may send, for the schema: a text or an app message.
#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
#[allow(dead_code, reason = "only its schema is used")]
pub(super) enum SendableBody {
    /// A text for people.
    Text {
        /// The text, of at most 16,384 bytes.
        text: String,
    },
    /// An app message, for programs.
    App {
        /// The reverse-DNS name of its program, of at most 128 bytes.
        kind: String,
        /// The content, of at most 16,384 bytes.
        bytes: Base64,
    },
}

/// A decision about a pin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PinFields {
    /// The message.
    pub message: Text<MessageId>,
    /// Whether it is pinned from now on.
    pub on: bool,
}

/// Why a message has no content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ErasedWhy {
    /// Its author deleted it.
    Deleted,
    /// A peer sent it without its content. Others are asked for it.
    Missing,
}

/// Messages whose content was erased on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErasedLine {
    /// The conversation.
    pub conversation: Text<ConversationRef>,
    /// The messages.
    pub ids: Vec<Text<MessageId>>,
    /// Whether their author deleted them, and not this node's user.
    pub by_author: bool,
}

/// The delivery state of a message of this node with one peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReceiptLine {
    /// The message.
    pub id: Text<MessageId>,
    /// The peer.
    pub peer: Text<PersonId>,
    /// The state.
    pub state: DeliveryState,
}

/// A message of this node on disk, its recipients, and the state that it has reached with all of
/// them. [`Sent`] has no state: the sender waits for one and adds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SentLine {
    /// Its id.
    pub id: Text<MessageId>,
    /// Its conversation.
    pub conversation: Text<ConversationRef>,
    /// The recipients: the peer, or the members of the room that are connected.
    pub to: Vec<Text<PersonId>>,
    /// Whether more peers receive it later: members of a room with a secret who are away now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub later: bool,
    /// The state.
    pub state: DeliveryState,
    /// Why it stays in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<WaitReason>,
    /// Of an offered folder, the paths that the offer does not contain, each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

/// The state of this node: see [`Status`]. The line writes the ticket as text and contains
/// [`RelayLine`], so serde cannot derive it from that type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusLine {
    /// Its id.
    pub peer: Text<PersonId>,
    /// Its nickname.
    pub nick: Nickname,
    /// The hash of its profile picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<Text<ContentHash>>,
    /// Its addresses.
    pub addrs: Vec<SocketAddr>,
    /// Its id, addresses and relays in one word.
    pub ticket: String,
    /// Its rooms.
    pub rooms: Vec<RoomInfo>,
    /// Its relays.
    #[serde(default)]
    pub relays: Vec<RelayLine>,
    /// The relay that this node runs for its contacts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lends: Option<Box<LentRelayLine>>,
    /// The latest notices of this run.
    #[serde(default)]
    pub notices: Vec<Notice>,
}

/// A relay that this node uses: see [`RelayInfo`]. The field `up` follows from `observed`, so serde
/// cannot derive the line from that type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RelayLine {
    /// Its host and port.
    pub at: Text<RelayAt>,
    /// Its identity, once it has proved one.
    pub id: Option<Text<DeviceId>>,
    /// Whether the node is registered there.
    pub up: bool,
    /// The address at which it sees this node.
    pub observed: Option<SocketAddr>,
    /// The carrier of the datagrams between this node and the relay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carrier: Option<Carrier>,
    /// Why the node is not registered there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Whether a contact lends it: contacts find this node there, and nobody else.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub borrowed: bool,
}

/// The relay that a node runs for its contacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LentRelayLine {
    /// Its identity.
    pub id: Text<DeviceId>,
    /// Where contacts reach it. None: no public address is known, so they do not learn of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Text<RelayAt>>,
    /// The address that it listens on, for UDP and TCP.
    pub listens: SocketAddr,
    /// The contacts that are registered there.
    pub peers: Vec<LentRelayPeer>,
    /// The largest number of them.
    pub peers_max: u64,
    /// The bytes that it has forwarded for contacts and for this node since the start.
    pub bytes: u64,
}

/// A contact at the relay that a node runs for its contacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LentRelayPeer {
    /// Its id.
    pub peer: Text<PersonId>,
    /// The bytes that the relay has forwarded for it since it registered.
    pub bytes: u64,
}

impl StatusLine {
    /// A relay that can't be used, and why, if this node has relays and can use none of them.
    pub fn relay_fault(&self) -> Option<(&RelayAt, &str)> {
        if self.relays.iter().any(|relay| relay.up) {
            return None;
        }
        self.relays
            .iter()
            .find_map(|relay| Some((&relay.at.0, relay.why.as_deref()?)))
    }
}

/// For serde, which passes references.
fn is_none(count: &u64) -> bool {
    *count == 0
}

impl From<Event> for WireEvent {
    fn from(event: Event) -> Self {
        match event {
            Event::Listening { peer, addrs } => WireEvent::Listening(ListeningLine {
                peer: Text(peer),
                addrs,
            }),
            Event::Peer(info) => WireEvent::Peer(info.into()),
            Event::Message(message) | Event::Own(message) => WireEvent::Message(message.into()),
            Event::Activity(activity) => WireEvent::Activity(activity.into()),
            Event::Amended(amended) => WireEvent::Amended(amended.into()),
            Event::Erased {
                conversation,
                ids,
                by_author,
            } => WireEvent::Erased(ErasedLine {
                conversation: Text(conversation),
                ids: ids.into_iter().map(Text).collect(),
                by_author,
            }),
            Event::Receipt { id, peer, state } => WireEvent::Receipt(ReceiptLine {
                id: Text(id),
                peer: Text(peer),
                state,
            }),
            Event::File(info) => WireEvent::File(Box::new(info.into())),
            Event::Notice(notice) => WireEvent::Notice(notice),
        }
    }
}

impl From<PeerInfo> for PeerLine {
    fn from(info: PeerInfo) -> Self {
        let PeerInfo {
            peer,
            nick,
            formerly,
            picture,
            name,
            state,
            path,
            addr,
            rtt_ms,
            lost,
            awaits_consent,
            refuses: _,
            request,
            away,
            status,
            policy,
        } = info;
        let rtt_ms = rtt_ms.map(|ms| (ms * 1000.0).round() / 1000.0);
        PeerLine {
            peer: Text(peer),
            nick,
            name,
            formerly,
            picture: picture.map(Text),
            state,
            path,
            addr,
            rtt_ms,
            lost,
            awaits_consent,
            request,
            away,
            status,
            policy: policy.into(),
        }
    }
}

impl From<PeerPolicy> for PolicyFields {
    fn from(policy: PeerPolicy) -> Self {
        PolicyFields {
            contact: policy.contact,
            ignored: policy.ignored,
            blocked: policy.blocked,
            verified: policy.verified.is_some(),
            by_code: policy.by_code,
        }
    }
}

impl From<Message> for MessageLine {
    fn from(message: Message) -> Self {
        let mut body = BodyFields::from(message.body);
        if message.deleted {
            body.erased = Some(ErasedWhy::Deleted);
        }
        let consent = message.awaits_consent.then_some(WaitReason::Consent);
        let reason = consent.or(message.mail_refused.map(WaitReason::from));
        MessageLine {
            id: Text(message.id),
            conversation: Text(message.conversation),
            from: Text(message.from),
            nick: message.name,
            body,
            amended: Box::new(AmendedFields {
                reply_to: message.reply_to.map(ReplyToLine::from),
                edited: message.edited.map(EditedLine::from),
                reactions: message
                    .reactions
                    .into_iter()
                    .map(ReactionLine::from)
                    .collect(),
                confirmed: message.confirmed,
            }),
            sent_at: Time(message.sent_at_ms),
            received_at: Time(message.received_at_ms),
            state: message.state,
            reason,
            request: message.request,
            client_id: message.client_id.map(|id| Box::new(Text(id))),
            mention: message.mention,
            notify: message.notify,
        }
    }
}

impl SentLine {
    /// The line about `sent` once it has reached `state`.
    pub fn new(sent: Sent, state: DeliveryState, reason: Option<WaitReason>) -> SentLine {
        let to = sent.to.into_iter().map(Text).collect();
        SentLine {
            id: Text(sent.id),
            conversation: Text(sent.conversation),
            to,
            later: sent.later,
            state,
            reason,
            left_out: sent.left_out,
        }
    }
}

impl From<RelayInfo> for RelayLine {
    fn from(info: RelayInfo) -> Self {
        let RelayInfo {
            at,
            id,
            observed,
            carrier,
            why,
            borrowed,
        } = info;
        RelayLine {
            at: Text(at),
            id: id.map(Text),
            up: observed.is_some(),
            observed,
            carrier,
            why,
            borrowed,
        }
    }
}

impl From<Status> for StatusLine {
    fn from(status: Status) -> Self {
        StatusLine {
            peer: Text(status.id),
            nick: status.nick,
            picture: status.picture.map(Text),
            addrs: status.addrs,
            ticket: status.ticket.to_string(),
            rooms: status.rooms,
            relays: status.relays.into_iter().map(RelayLine::from).collect(),
            lends: None,
            notices: status.notices,
        }
    }
}

impl From<Body> for BodyFields {
    fn from(body: Body) -> Self {
        match body {
            Body::Text(text) | Body::Reply { text, .. } | Body::Edit { text, .. } => BodyFields {
                text: Some(text),
                ..BodyFields::default()
            },
            Body::React { .. } => BodyFields::default(),
            Body::Topic(topic) => BodyFields {
                topic: Some(topic),
                ..BodyFields::default()
            },
            Body::Pin { to, on } => {
                let (log, seq) = (to.log, to.seq);
                let message = Text(MessageId { log, seq });
                BodyFields {
                    pin: Some(Box::new(PinFields { message, on })),
                    ..BodyFields::default()
                }
            }
            Body::App { kind, bytes } => BodyFields {
                kind: Some(kind),
                bytes: Some(Base64(bytes)),
                ..BodyFields::default()
            },
            Body::Offer(offer) => BodyFields {
                file: Some(Box::new(offer.into())),
                ..BodyFields::default()
            },
            Body::Delete { .. } | Body::Erased { .. } => BodyFields {
                erased: Some(ErasedWhy::Missing),
                ..BodyFields::default()
            },
            Body::Unknown { kind, bytes } => BodyFields {
                unknown: Some(kind),
                bytes: Some(Base64(bytes)),
                ..BodyFields::default()
            },
        }
    }
}

impl TryFrom<BodyFields> for Body {
    type Error = &'static str;

    /// The body that a program may send: a text or an app message.
    fn try_from(fields: BodyFields) -> Result<Self, Self::Error> {
        match fields {
            BodyFields {
                text: Some(text),
                file: None,
                kind: None,
                bytes: None,
                unknown: None,
                erased: None,
                topic: None,
                pin: None,
            } => Ok(Body::Text(text)),
            BodyFields {
                text: None,
                file: None,
                kind: Some(kind),
                bytes: Some(Base64(bytes)),
                unknown: None,
                erased: None,
                topic: None,
                pin: None,
            } => Ok(Body::App { kind, bytes }),
            BodyFields { .. } => Err("a message has either text, or kind and bytes"),
        }
    }
}
