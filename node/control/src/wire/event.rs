//! Lines that tell what is or what happened: the same on the control socket and wherever a command
//! prints `--json`.

use std::net::SocketAddr;

use hobnob_protocol::{Body, HostPort, Nickname, PeerId, RoomName};
use serde::{Deserialize, Serialize};

use super::file::{FileLine, OfferFields};
use super::values::Base64;
use hobnob::{
    ConversationRef, DeliveryState, Event, Message, MessageId, Notice, PathKind, PeerInfo,
    PeerPolicy, PeerState, RelayInfo, RoomInfo, Sent, Status,
};
use hobnob_local::json::{LINES_VERSION, Text, Time};

/// One line: `{"v":1,"event":…}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventLine {
    v: u8,
    /// What it tells.
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

/// What a line can tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum WireEvent {
    /// The node listens.
    Listening(ListeningLine),
    /// A peer came, went, or changed.
    Peer(PeerLine),
    /// A message; one of our own has a `state`.
    Message(MessageLine),
    /// A message of ours came further with one peer.
    Receipt(ReceiptLine),
    /// A message of ours has been queued, and has come this far.
    Sent(SentLine),
    /// A room.
    Room(RoomLine),
    /// What this node is.
    Status(StatusLine),
    /// An offered file: it is new, or it has come further.
    File(Box<FileLine>),
    /// Something a user should be told.
    Notice(NoticeLine),
    /// The reader was too slow: so many events before this line were left out. The messages are in
    /// the history.
    Lagged {
        /// How many.
        missed: u64,
    },
    /// The node is about to end: disconnect, and attach again.
    Goodbye,
    /// A kind of line that this version does not know.
    #[serde(other)]
    Unknown,
}

/// Where the node listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListeningLine {
    /// Our id.
    pub peer: Text<PeerId>,
    /// Where.
    pub addrs: Vec<SocketAddr>,
}

/// A peer: see [`PeerInfo`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerLine {
    /// Who.
    pub peer: Text<PeerId>,
    /// The nickname it gave itself.
    pub nick: Option<Nickname>,
    /// The name to show.
    pub name: String,
    /// Whether it is there.
    pub state: PeerState,
    /// By which way.
    pub path: Option<PathKind>,
    /// Its address.
    pub addr: Option<SocketAddr>,
    /// The last round trip, in milliseconds, to the microsecond.
    pub rtt_ms: Option<f64>,
    /// Whether it is offline because the connection with it broke: it did not take leave.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
    /// What the user has decided about it.
    #[serde(flatten)]
    pub policy: PolicyFields,
}

/// What the user has decided about a peer, as fields of its line: those that are so. See [`PeerPolicy`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyFields {
    /// Its texts are not shown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignored: bool,
    /// There is no session with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blocked: bool,
    /// The user has compared words with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub verified: bool,
}

/// A message: see [`Message`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageLine {
    /// Its id.
    pub id: Text<MessageId>,
    /// Where it was said.
    pub conversation: Text<ConversationRef>,
    /// Its author.
    pub from: Text<PeerId>,
    /// The author's name to show.
    pub nick: String,
    /// What it says.
    #[serde(flatten)]
    pub body: BodyFields,
    /// The author's clock.
    pub sent_at: Time,
    /// Our clock.
    pub received_at: Time,
    /// How far it has come; only messages of our own have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<DeliveryState>,
}

/// A body as fields of the line it is in: `text`, or `kind` and `bytes`, or `file`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyFields {
    /// A message of text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// An offer of a file or folder. It is made with `offer`, not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<Box<OfferFields>>,
    /// Which program an app message is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The number of a kind of body that this version does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<u16>,
    /// What an app message, or an unknown one, says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Base64>,
}

/// How far a message of ours came with one peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptLine {
    /// Which.
    pub id: Text<MessageId>,
    /// With whom.
    pub peer: Text<PeerId>,
    /// How far.
    pub state: DeliveryState,
}

/// A message that is on disk here, whom it is for, and how far it has come with all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentLine {
    /// Its id.
    pub id: Text<MessageId>,
    /// Where it went.
    pub conversation: Text<ConversationRef>,
    /// The peer, or the members of the room that are here.
    pub to: Vec<Text<PeerId>>,
    /// How far.
    pub state: DeliveryState,
}

/// A room: see [`RoomInfo`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomLine {
    /// Its name.
    pub room: Text<RoomName>,
    /// Whether it has no secret.
    pub open: bool,
    /// Members that are here.
    pub here: Vec<Text<PeerId>>,
}

/// What this node is: see [`Status`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusLine {
    /// Its id.
    pub peer: Text<PeerId>,
    /// Its nickname.
    pub nick: Nickname,
    /// Where others can reach it.
    pub addrs: Vec<SocketAddr>,
    /// Id and addresses in one word.
    pub ticket: String,
    /// The rooms it is in.
    pub rooms: Vec<RoomLine>,
    /// Its relays.
    #[serde(default)]
    pub relays: Vec<RelayLine>,
    /// The latest notices of this run.
    #[serde(default)]
    pub notices: Vec<NoticeLine>,
}

/// A relay that this node uses: see [`RelayInfo`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayLine {
    /// Where it is.
    pub at: Text<HostPort>,
    /// Its identity, once it has proved one.
    pub id: Option<Text<PeerId>>,
    /// Whether there is a connection with it.
    pub up: bool,
    /// Where it sees this node.
    pub observed: Option<SocketAddr>,
    /// Why there is no connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Something to tell the user: see [`Notice`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeLine {
    /// The first of a run is 1, the next 2, and so on.
    pub number: u64,
    /// For programs.
    pub code: String,
    /// For people.
    pub text: String,
    /// Whom it is about.
    pub peer: Option<Text<PeerId>>,
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
            Event::Receipt { id, peer, state } => WireEvent::Receipt(ReceiptLine {
                id: Text(id),
                peer: Text(peer),
                state,
            }),
            Event::File(info) => WireEvent::File(Box::new(info.into())),
            Event::Notice(notice) => WireEvent::Notice(notice.into()),
        }
    }
}

impl From<PeerInfo> for PeerLine {
    fn from(info: PeerInfo) -> Self {
        let PeerInfo {
            peer,
            nick,
            name,
            state,
            path,
            addr,
            rtt_ms,
            lost,
            policy,
        } = info;
        let rtt_ms = rtt_ms.map(|ms| (ms * 1000.0).round() / 1000.0);
        PeerLine {
            peer: Text(peer),
            nick,
            name,
            state,
            path,
            addr,
            rtt_ms,
            lost,
            policy: policy.into(),
        }
    }
}

impl From<PeerPolicy> for PolicyFields {
    fn from(policy: PeerPolicy) -> Self {
        PolicyFields {
            ignored: policy.ignored,
            blocked: policy.blocked,
            verified: policy.verified.is_some(),
        }
    }
}

impl From<Message> for MessageLine {
    fn from(message: Message) -> Self {
        MessageLine {
            id: Text(message.id),
            conversation: Text(message.conversation),
            from: Text(message.from),
            nick: message.name,
            body: message.body.into(),
            sent_at: Time(message.sent_at_ms),
            received_at: Time(message.received_at_ms),
            state: message.state,
        }
    }
}

impl SentLine {
    /// What is told of `sent` once it has come as far as `state`.
    pub fn new(sent: Sent, state: DeliveryState) -> SentLine {
        let to = sent.to.into_iter().map(Text).collect();
        SentLine {
            id: Text(sent.id),
            conversation: Text(sent.conversation),
            to,
            state,
        }
    }
}

impl From<RoomInfo> for RoomLine {
    fn from(info: RoomInfo) -> Self {
        RoomLine {
            room: Text(info.name),
            open: info.open,
            here: info.here.into_iter().map(Text).collect(),
        }
    }
}

impl From<Notice> for NoticeLine {
    fn from(notice: Notice) -> Self {
        let Notice {
            number,
            code,
            text,
            peer,
        } = notice;
        NoticeLine {
            number,
            code: code.to_owned(),
            text,
            peer: peer.map(Text),
        }
    }
}

impl From<RelayInfo> for RelayLine {
    fn from(info: RelayInfo) -> Self {
        let RelayInfo {
            at,
            id,
            observed,
            why,
        } = info;
        RelayLine {
            at: Text(at),
            id: id.map(Text),
            up: observed.is_some(),
            observed,
            why,
        }
    }
}

impl From<Status> for StatusLine {
    fn from(status: Status) -> Self {
        StatusLine {
            peer: Text(status.id),
            nick: status.nick,
            addrs: status.addrs,
            ticket: status.ticket.to_string(),
            rooms: status.rooms.into_iter().map(RoomLine::from).collect(),
            relays: status.relays.into_iter().map(RelayLine::from).collect(),
            notices: status.notices.into_iter().map(NoticeLine::from).collect(),
        }
    }
}

impl From<Body> for BodyFields {
    fn from(body: Body) -> Self {
        match body {
            Body::Text(text) => BodyFields {
                text: Some(text),
                ..BodyFields::default()
            },
            Body::App { kind, bytes } => BodyFields {
                kind: Some(kind),
                bytes: Some(Base64(bytes)),
                ..BodyFields::default()
            },
            Body::Offer(offer) => BodyFields {
                file: Some(Box::new(offer.into())),
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

    /// What a program may send: a text or an app message.
    fn try_from(fields: BodyFields) -> Result<Self, Self::Error> {
        match fields {
            BodyFields {
                text: Some(text),
                file: None,
                kind: None,
                bytes: None,
                unknown: None,
            } => Ok(Body::Text(text)),
            BodyFields {
                text: None,
                file: None,
                kind: Some(kind),
                bytes: Some(Base64(bytes)),
                unknown: None,
            } => Ok(Body::App { kind, bytes }),
            BodyFields { .. } => Err("a message has either text, or kind and bytes"),
        }
    }
}
