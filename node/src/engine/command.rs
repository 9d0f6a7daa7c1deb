//! The requests of a [`Node`](crate::node::Node) to its engine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hobnob_core::ClientId;
use hobnob_core::SessionId;
use hobnob_core::diagnosis::{Evidence, PeerEvidence};
use hobnob_core::peers::ResolveError;
use hobnob_protocol::invitation::{CodeNumber, InviteCode};
use hobnob_protocol::{
    Body, ContentHash, Frame, Nickname, PersonId, RelayAddr, RoomKey, RoomName, RoomTicket,
    SecretKey,
};
use tokio::sync::{mpsc, oneshot};

use super::amend_target::AmendTarget;
use super::carried::{Begun, ForFile, Taken};
use super::erasing::{Edits, EraseReply};
use super::inviting::AcceptReply;
use crate::api::{
    ActivityInfo, ConversationRef, DeliveryState, HistoryQuery, Invitation, InvitationEnd,
    KeepTimes, LentRelay, LiveConfig, MailboxInfo, Message, MessageId, NotifyRule, PeerInfo,
    ProfilePicture, RoomInfo, Sent, Status,
};
use crate::error::{
    CarryError, EraseError, IntroduceError, InviteError, JoinError, NodeError, PolicyError,
    SendError,
};
use crate::net::session::StreamKind;

/// The setting that holds the nickname.
pub(crate) const NICK_SETTING: &str = "nick";

/// The prefix of the settings that hold the identities of relays. The relay's address follows.
pub(crate) const RELAY_SETTING: &str = "relay ";

/// A request of a [`Node`](crate::node::Node) to its engine.
#[derive(Debug)]
pub(crate) enum Command {
    Status(oneshot::Sender<Status>),
    Mailbox(oneshot::Sender<MailboxInfo>),
    Peers(oneshot::Sender<Vec<PeerInfo>>),
    Peer(PersonId, oneshot::Sender<Option<PeerInfo>>),
    Resolve {
        name: String,
        reply: oneshot::Sender<Result<PersonId, ResolveError>>,
    },
    IsKnown {
        peer: PersonId,
        reply: oneshot::Sender<bool>,
    },
    Reach {
        peer: PersonId,
        addrs: Vec<SocketAddr>,
        relays: Vec<RelayAddr>,
        reply: oneshot::Sender<()>,
    },
    Dial {
        addr: SocketAddr,
        expected: Option<PersonId>,
        reply: oneshot::Sender<Result<PersonId, SendError>>,
    },
    /// `certain`: the peer, if the message is for one, is known to exist.
    Send {
        to: ConversationRef,
        certain: bool,
        client_id: Option<ClientId>,
        body: Body,
        reply: oneshot::Sender<Result<Sent, SendError>>,
    },
    /// Finds a message that another one is about.
    FindTarget {
        id: MessageId,
        reply: oneshot::Sender<Result<AmendTarget, SendError>>,
    },
    WaitFor {
        id: MessageId,
        state: DeliveryState,
        reply: oneshot::Sender<Result<DeliveryState, NodeError>>,
    },
    History {
        query: HistoryQuery,
        reply: oneshot::Sender<Result<Vec<Message>, NodeError>>,
    },
    /// The pinned messages of a conversation.
    Pins {
        conversation: ConversationRef,
        reply: oneshot::Sender<Result<Vec<Message>, NodeError>>,
    },
    Join {
        room: RoomName,
        key: RoomKey,
        reply: oneshot::Sender<Result<RoomInfo, JoinError>>,
    },
    RoomTicket {
        room: RoomName,
        reply: oneshot::Sender<Result<RoomTicket, JoinError>>,
    },
    Invite {
        room: Option<RoomName>,
        share_relay: bool,
        reply: oneshot::Sender<Result<Invitation, InviteError>>,
    },
    InvitationEnd {
        number: CodeNumber,
        reply: oneshot::Sender<Result<InvitationEnd, InviteError>>,
    },
    AcceptInvitation {
        code: InviteCode,
        reply: AcceptReply,
    },
    Part {
        room: RoomName,
        reply: oneshot::Sender<Result<(), JoinError>>,
    },
    /// The user types in a conversation, or has stopped.
    Typing(ConversationRef, bool),
    /// The user has read a message, and those before it.
    ReadBy(MessageId),
    /// The user is away, or back, with a text about it.
    SetStatus(bool, String),
    /// What other users said last.
    Activity(oneshot::Sender<Vec<ActivityInfo>>),
    /// The edits of a message.
    Edits {
        id: MessageId,
        reply: oneshot::Sender<Result<Edits, EraseError>>,
    },
    /// `edits`: they are deleted, too. `here`: a message of this node is deleted on this node only.
    /// `yes`: undelivered messages, too.
    Delete {
        id: MessageId,
        edits: Edits,
        here: bool,
        yes: bool,
        reply: EraseReply,
    },
    /// Deletes a message of this node that has not left this node.
    Cancel {
        id: MessageId,
        edits: Edits,
        reply: EraseReply,
    },
    Clear {
        conversation: ConversationRef,
        yes: bool,
        reply: EraseReply,
    },
    /// Forgets the name and the addresses of a peer, which becomes a stranger.
    Forget(PersonId, oneshot::Sender<()>),
    /// Forgets one address of a peer. The answer is whether there was one.
    ForgetAddress(PersonId, SocketAddr, oneshot::Sender<bool>),
    /// Sets what the user wants to be alerted about in a conversation.
    SetNotify {
        conversation: ConversationRef,
        rule: Option<NotifyRule>,
        reply: oneshot::Sender<Result<(), NodeError>>,
    },
    NotifyRules(oneshot::Sender<Vec<(ConversationRef, NotifyRule)>>),
    Keep {
        conversation: ConversationRef,
        keep: Option<Duration>,
        reply: EraseReply,
    },
    KeepTimes(oneshot::Sender<KeepTimes>),
    /// Takes other settings from now on.
    Configure {
        config: Box<LiveConfig>,
        reply: oneshot::Sender<()>,
    },
    SetNick {
        nick: Nickname,
        reply: oneshot::Sender<()>,
    },
    /// Sets this node's profile picture, which is checked, or removes it.
    SetPicture {
        picture: Option<(ContentHash, Bytes)>,
        reply: oneshot::Sender<Result<(), NodeError>>,
    },
    /// The profile picture of a peer, or of this node, if it is here.
    Picture {
        of: PersonId,
        reply: oneshot::Sender<Result<Option<ProfilePicture>, NodeError>>,
    },
    ChangePolicy {
        peer: PersonId,
        change: PolicyChange,
        reply: oneshot::Sender<Result<PeerInfo, PolicyError>>,
    },
    /// Asks some peers and all relays to dial back. `again`: only those relays whose earlier
    /// dial-backs have not arrived. The reply comes at once, the dial-backs a moment later.
    DialBack {
        again: bool,
        reply: oneshot::Sender<()>,
    },
    /// Asks the sockets from which relays dialed back at which address they see this node. Replies
    /// whether there was anything to ask.
    AskDialBackSockets(oneshot::Sender<bool>),
    Evidence(oneshot::Sender<Evidence>),
    /// Asks a peer whether it is there, and replies with its next pong. The reply is dropped when
    /// there is no session.
    Ping(PersonId, oneshot::Sender<()>),
    /// Replies with the addresses at which the peer may be, too.
    PeerEvidence(PersonId, oneshot::Sender<(PeerEvidence, Vec<SocketAddr>)>),
    Introduce([PersonId; 2], oneshot::Sender<Result<(), IntroduceError>>),
    /// Sends the frames for a peer to the channel, which ends after the last one.
    BeginExport(
        PersonId,
        mpsc::UnboundedSender<ForFile>,
        oneshot::Sender<Result<Begun, CarryError>>,
    ),
    /// Bytes are in the file.
    ExportWritten(SessionId, StreamKind, usize),
    BeginImport(PersonId, oneshot::Sender<Result<SessionId, CarryError>>),
    /// Judges frames of a file. The reply comes when everything is on disk.
    Import(SessionId, Vec<Frame>, oneshot::Sender<()>),
    EndImport(SessionId, oneshot::Sender<Taken>),
    OwnKey(oneshot::Sender<Arc<SecretKey>>),
    /// The result of an automatic backup: why it failed, or none.
    ReportBackup(Option<String>, oneshot::Sender<()>),
    LendRelay(LentRelay, oneshot::Sender<()>),
    /// Checks the whole database. Damage is then part of the evidence.
    CheckDatabase(oneshot::Sender<()>),
    /// Copies the database into a new file.
    CopyDatabase(PathBuf, oneshot::Sender<Result<(), NodeError>>),
    Shutdown(oneshot::Sender<()>),
}

/// A decision of the user about a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PolicyChange {
    Accept,
    /// The opposite of [`PolicyChange::Accept`].
    Remove,
    Ignore,
    Unignore,
    Block,
    Unblock,
    Kick,
    Verify,
    /// As [`PolicyChange::Verify`], by the code of an invitation. The safety number counts more.
    VerifyByCode,
    Unverify,
}
