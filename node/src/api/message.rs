//! Messages: what names them, what they contain, and how far they are delivered.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use hobnob_core::ClientId;
use hobnob_core::mail_refusal::MailRefusal;
use hobnob_protocol::{Body, LogId, PersonId, RoomName, Seq};
use serde::{Deserialize, Serialize};

/// Names a conversation. Text form: `@` and a peer id, or `#` and the name of a room.
///
/// ```
/// use hobnob::ConversationRef;
///
/// assert_eq!("#ops".parse(), Ok(ConversationRef::Room("ops".parse()?)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConversationRef {
    /// The conversation with this peer.
    Direct(PersonId),
    /// The room of this name.
    Room(RoomName),
}

impl fmt::Display for ConversationRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConversationRef::Direct(peer) => write!(f, "@{peer}"),
            ConversationRef::Room(room) => room.fmt(f),
        }
    }
}

impl FromStr for ConversationRef {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "a conversation is @ and a full peer id, or # and a room's name";
        match text.split_at_checked(1) {
            Some(("@", id)) => id.parse().map(ConversationRef::Direct).map_err(|_| WRONG),
            Some(("#", _)) => text.parse().map(ConversationRef::Room).map_err(|_| WRONG),
            Some(_) | None => Err(WRONG),
        }
    }
}

/// Names a message permanently: its author's log and its number there. Text form: 16 hex digits, a
/// dash and the number.
///
/// ```
/// use hobnob::MessageId;
///
/// let id: MessageId = "00000000000000ab-7".parse()?;
/// assert_eq!((id.seq, id.to_string().as_str()), (7, "00000000000000ab-7"));
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// The author's log.
    pub log: LogId,
    /// The number in the log.
    pub seq: Seq,
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.log.0, self.seq)
    }
}

impl FromStr for MessageId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "a message id is 16 hex digits, a dash and a number";
        let (log, seq) = text.split_once('-').ok_or(WRONG)?;
        let log = u64::from_str_radix(log, 16).map_err(|_| WRONG)?;
        Ok(Self {
            log: LogId(log),
            seq: seq.parse().map_err(|_| WRONG)?,
        })
    }
}

#[cfg(feature = "schema")]
hobnob_protocol::text_schema!(
    ConversationRef,
    "Conversation",
    "A conversation: `@` and a peer's id, or `#` and a room's name.",
    "pattern" = "^(@[a-z2-7]{52}|#[A-Za-z0-9._-]{1,32})$"
);

#[cfg(feature = "schema")]
hobnob_protocol::text_schema!(
    MessageId,
    "MessageId",
    "A message: 16 hex digits, a dash and a number. It is the same on every node.",
    "pattern" = "^[0-9a-fA-F]{16}-[0-9]+$"
);

/// How far a message of this node is delivered to one peer. Later states are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// The message is on disk here.
    Queued,
    /// It was written to a session with the peer.
    Sent,
    /// The peer is away, and a holder of its mailbox has the message on disk, sealed.
    Held,
    /// It is on the peer's disk.
    Delivered,
}

impl DeliveryState {
    /// The word for the state on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryState::Queued => "queued",
            DeliveryState::Sent => "sent",
            DeliveryState::Held => "held",
            DeliveryState::Delivered => "delivered",
        }
    }
}

impl FromStr for DeliveryState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Queued, Self::Sent, Self::Held, Self::Delivered];
        let found = all.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| format!("expected one of: {}", all.map(Self::as_str).join(", ")))
    }
}

/// A message that is on disk here: the result of [`Node::send`](crate::Node::send).
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its id, for [`Node::wait_for`](crate::Node::wait_for) and receipts.
    pub id: MessageId,
    /// Its conversation.
    pub conversation: ConversationRef,
    /// Its recipients: the peer, or the members of the room that this node has a session with now.
    pub to: Vec<PersonId>,
    /// Whether more peers receive it later: members of a room with a secret who are away now, or
    /// who join soon.
    pub later: bool,
    /// Of an offered folder, the paths that the offer does not contain: see
    /// [`PreparedOffer::left_out`](crate::PreparedOffer::left_out).
    pub left_out: Vec<String>,
}

/// A stored message.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let ann = hobnob::Node::builder(dir.path().join("ann")).nick("ann".parse()?).loopback().start().await?;
/// # let bob = hobnob::Node::builder(dir.path().join("bob")).nick("bob".parse()?).loopback().start().await?;
/// use hobnob::{Body, ConversationRef};
///
/// let mut messages = bob.messages(None);
/// ann.send(bob.status().await?.ticket.into(), "hi".into()).await?;
/// let message = messages.next().await?;
/// assert_eq!(message.conversation, ConversationRef::Direct(ann.id()));
/// assert!(message.state.is_none(), "only own messages have a state");
/// match &message.body {
///     Body::Text(text) => println!("{} wrote {text}", message.name),
///     Body::App { kind, bytes } => println!("{} sent {} bytes for {kind}", message.name, bytes.len()),
///     Body::Offer(offer) => println!("{} offers {}, {} bytes", message.name, offer.name, offer.size),
///     Body::Unknown { kind, .. } => println!("{} uses a newer version: kind {kind}", message.name),
///     Body::Topic(topic) => println!("{} set the topic to {topic}", message.name),
///     Body::Pin { on, .. } => println!("{} pinned a message: {on}", message.name),
///     Body::Reply { text, .. } => println!("{} answered {text}", message.name),
///     Body::Erased { .. } | Body::Delete { .. } => println!("a deleted message"),
///     Body::Edit { .. } | Body::React { .. } => unreachable!("they are events, not messages"),
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// Its conversation.
    pub conversation: ConversationRef,
    /// Its author.
    pub from: PersonId,
    /// The author's name to show: see [`PeerInfo::name`](crate::PeerInfo::name).
    pub name: String,
    /// Its content. Of an edited message, the newest text. Never an edit or a reaction.
    pub body: Body,
    /// The message that it answers, if it is a [`Body::Reply`].
    pub reply_to: Option<ReplyTo>,
    /// Set if the author has edited the message.
    pub edited: Option<Edited>,
    /// The reactions to the message. [`Node::history`](crate::Node::history) has them, events do
    /// not.
    pub reactions: Vec<Reaction>,
    /// The author's clock in milliseconds since the Unix epoch. Show it, but do not rely on it.
    pub sent_at_ms: u64,
    /// This node's clock when it received or wrote the message, in milliseconds since the Unix
    /// epoch.
    pub received_at_ms: u64,
    /// For own messages: the delivery state. In a room, the least state of all recipients.
    pub state: Option<DeliveryState>,
    /// Whether this is a direct message of a stranger: a peer that the user has not accepted. See
    /// [`Node::accept_contact`](crate::Node::accept_contact).
    pub request: bool,
    /// For own messages in the state [`DeliveryState::Sent`]: whether the peer refuses it until its
    /// user accepts this node. The message is sent again then.
    pub awaits_consent: bool,
    /// For own messages in the state [`DeliveryState::Queued`] to a peer that is away: why no
    /// holder takes them. The message is offered again.
    pub mail_refused: Option<MailRefusal>,
    /// Whether the author has deleted the message. If not, a [`Body::Erased`] has not arrived yet:
    /// a peer sent the message without its content, and others are asked for it.
    pub deleted: bool,
    /// For own messages that are deleted: how many peers have erased it, as far as this node knows.
    pub confirmed: Option<usize>,
    /// For own messages: the name that the program gave it that sent it. See
    /// [`Node::send_once`](crate::Node::send_once).
    pub client_id: Option<ClientId>,
    /// Whether the text calls for this node's user: it has the user's nickname or short id as a
    /// whole word after an `@`, begins with the name and a colon or comma, or has a
    /// [highlight word](crate::Builder::highlight). Never true of own messages.
    pub mention: bool,
    /// Whether the user wants to be alerted of the message: see [`NotifyRule`]. Never true of own
    /// messages.
    pub notify: bool,
}

/// How long messages are kept on this node. See [`Node::keep_times`](crate::Node::keep_times).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeepTimes {
    /// For conversations without a time of their own: the setting `keep`. `None` means for ever.
    pub default: Option<Duration>,
    /// The conversations for which the user has set a time, in their order. `None` means for ever.
    pub own: Vec<(ConversationRef, Option<Duration>)>,
}

/// Of which messages in a conversation the user wants to be alerted. See
/// [`Node::set_notify`](crate::Node::set_notify).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum NotifyRule {
    /// Of all. The default of a direct conversation.
    All,
    /// Of those that [mention](Message::mention) the user. The default of a room.
    Mentions,
    /// Of none.
    None,
}

impl NotifyRule {
    /// The rule of a conversation for which the user has set none.
    pub fn default_of(conversation: &ConversationRef) -> Self {
        match conversation {
            ConversationRef::Direct(_) => NotifyRule::All,
            ConversationRef::Room(_) => NotifyRule::Mentions,
        }
    }

    /// The word for the rule on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            NotifyRule::All => "all",
            NotifyRule::Mentions => "mentions",
            NotifyRule::None => "none",
        }
    }
}

impl FromStr for NotifyRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::All, Self::Mentions, Self::None];
        let found = all.into_iter().find(|rule| rule.as_str() == text);
        found.ok_or_else(|| format!("expected one of: {}", all.map(Self::as_str).join(", ")))
    }
}

/// The message that a reply answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyTo {
    /// Its id.
    pub id: MessageId,
    /// Its author.
    pub from: PersonId,
    /// The author's name to show.
    pub name: String,
    /// Its text, the name of the file that it offers, or the topic that it sets, which is empty if
    /// it removes the topic. `None` in events, and if the message is
    /// not here, or no longer.
    pub text: Option<String>,
}

/// The fact that the author has edited a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// When the newest text was written, by the author's clock, in milliseconds since the Unix
    /// epoch.
    pub at_ms: u64,
    /// The earlier texts, oldest first. If there were many edits, only the first and the newest
    /// ones.
    pub earlier: Vec<String>,
}

/// An emoji that peers have added to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaction {
    /// The emoji.
    pub emoji: String,
    /// The peers.
    pub by: Vec<Reactor>,
}

/// A peer that has added an emoji.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reactor {
    /// Its id.
    pub peer: PersonId,
    /// Its name to show.
    pub name: String,
}

/// What another user does at the moment, or did last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityInfo {
    /// The peer.
    pub peer: PersonId,
    /// Its name to show.
    pub name: String,
    /// What it does.
    pub kind: ActivityKind,
}

/// A kind of activity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActivityKind {
    /// The user types, or has stopped. It counts for a few seconds.
    Typing {
        /// The conversation.
        conversation: ConversationRef,
        /// Whether the user types.
        on: bool,
    },
    /// The user has read a message of this node, and those before it.
    Read {
        /// The conversation.
        conversation: ConversationRef,
        /// The message.
        id: MessageId,
    },
    /// The user is away, or back.
    Status {
        /// Whether the user is away.
        away: bool,
        /// What the user says about it. It may be empty.
        text: String,
    },
}

/// A change of a message: an edit or a reaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amended {
    /// The message.
    pub id: MessageId,
    /// Its conversation.
    pub conversation: ConversationRef,
    /// The peer that changed it.
    pub from: PersonId,
    /// The name to show of that peer.
    pub name: String,
    /// The change.
    pub change: Change,
}

/// The kind of a change of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Its author replaced the text. If several edits arrive out of order, this one may be older
    /// than the shown one.
    Edited {
        /// The new text.
        text: String,
    },
    /// Somebody added an emoji, or took it back.
    Reacted {
        /// The emoji.
        emoji: String,
        /// Whether it was added.
        on: bool,
    },
}

/// Which messages to read: see [`Node::history`](crate::Node::history).
///
/// ```
/// use hobnob::{ConversationRef, HistoryQuery, RoomName};
///
/// let lobby = ConversationRef::Room(RoomName::lobby());
/// let query = HistoryQuery { conversation: Some(lobby), limit: Some(20), ..HistoryQuery::default() };
/// ```
#[derive(Debug, Clone, Default)]
pub struct HistoryQuery {
    /// Only messages of this conversation. `None` means all conversations.
    pub conversation: Option<ConversationRef>,
    /// Only messages with all of these words. One or two letters find the starts of words, three or
    /// more any part; diacritics and upper case make no difference. In scripts without spaces, any
    /// part of a text is found. One character of those scripts, and punctuation alone, are looked
    /// for in the newest 100,000 messages. The answer is in order of arrival.
    pub search: Option<String>,
    /// Only messages received at or after this time, in milliseconds since the Unix epoch.
    pub since_ms: Option<u64>,
    /// Only messages before this one, in the order of the answer. If this node does not have it,
    /// the answer is empty.
    pub before: Option<MessageId>,
    /// Only messages after this one, in the order of the answer. If this node does not have it, the
    /// answer is [`NodeError::NoSuchMessage`](crate::NodeError::NoSuchMessage).
    pub after: Option<MessageId>,
    /// Only the thread of this message: the message that began it, and all replies.
    pub thread: Option<MessageId>,
    /// Only messages that [mention](Message::mention) the user. A change of the nickname does not
    /// change which older ones do. The answer is in order of arrival.
    pub mentions: bool,
    /// Return the oldest messages that match instead of the newest.
    pub oldest: bool,
    /// Maximum number of messages, at most 10,000. The answer begins with the oldest.
    pub limit: Option<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversations_read_back_as_they_are_shown() {
        let id = hobnob_protocol::PersonId::from_bytes([9; 32]);
        for conversation in [
            ConversationRef::Direct(id),
            ConversationRef::Room("ops".parse().unwrap()),
        ] {
            assert_eq!(conversation.to_string().parse(), Ok(conversation));
        }
        for wrong in ["", "@", "#", "lobby", "@ann", "é"] {
            assert!(wrong.parse::<ConversationRef>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_unknown_delivery_state_is_answered_with_the_known_ones() {
        let error = "late".parse::<DeliveryState>().expect_err("no state");
        assert!(error.contains("queued, sent, held, delivered"), "{error}");
    }
}
