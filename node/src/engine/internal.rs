//! Reports of the engine's own tasks to the engine.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use hobnob_core::commit::CommitId;
use hobnob_core::diagnosis::PortMapping;
use hobnob_core::policy::DenyReason;
use hobnob_core::{ClientId, SessionId};
use hobnob_protocol::{
    Batch, Body, ContentHash, ConversationId, DeviceId, LogName, PersonId, Ranges, Seq,
};
use tokio::sync::oneshot;

use super::dialback::DialBackToken;
use super::relays::ChannelOpening;
use crate::api::{ConversationRef, Message};
use crate::error::{NodeError, SendError};
use crate::net::session::Greeted;
use crate::store::{HistoryRow, StoreError};
use crate::transfers::messages::FromTransfers;

/// A report of one of the engine's own tasks.
#[derive(Debug)]
pub(crate) enum Internal {
    Transfers(FromTransfers),
    Stored(CommitId, Result<(), StoreError>),
    Read(SessionId, LogName, Result<Vec<Batch>, String>),
    NewcomerCut(SessionId, ConversationId, BTreeMap<LogName, Seq>),
    History(HistoryRead),
    Named(NamedRead),
    /// A profile picture was read for a session that has requested it.
    PictureRead(SessionId, ContentHash, Option<Vec<u8>>),
    /// A profile picture is on disk, or not. It may be this node's own.
    PictureStored(ContentHash, Result<(), StoreError>, Option<PictureReply>),
    /// Entries that are older than the user wants.
    Older(ConversationId, BTreeMap<LogName, Ranges>),
    RetentionIsDue,
    ScrubIsDue,
    Met(Met),
    DialFailed(DeviceId),
    /// A peer was not at a relay. A dial that still tries other addresses asks again.
    OpenAgain {
        addr: SocketAddr,
        reply: oneshot::Sender<ChannelOpening>,
    },
    WrongPeer {
        addr: SocketAddr,
        expected: DeviceId,
        found: DeviceId,
    },
    RefusedBy(DeviceId, DenyReason),
    DialedBack(SessionId, DialBackToken),
    /// The router's answer to the request for a port has changed.
    PortMapping(PortMapping),
}

/// The reply to a user who waits for a dial.
pub(crate) type DialReply = oneshot::Sender<Result<PersonId, SendError>>;

/// A connection whose ends have exchanged Hellos, or a dial for a user that failed.
#[derive(Debug)]
pub(crate) enum Met {
    /// Both Hellos were exchanged.
    Greeted {
        greeted: Box<Greeted>,
        reply: Option<DialReply>,
    },
    /// A node with our own identity answers there.
    Copy(SocketAddr),
    /// The dial that a user waited for failed.
    Failed {
        addr: SocketAddr,
        error: SendError,
        reply: DialReply,
    },
}

/// The reply to a user who sets the profile picture.
pub(crate) type PictureReply = oneshot::Sender<Result<(), NodeError>>;

/// A message to send, and the message with its name if there is one.
#[derive(Debug)]
pub(crate) struct NamedRead {
    pub(super) id: ClientId,
    pub(super) to: ConversationRef,
    pub(super) certain: bool,
    pub(super) body: Body,
    pub(super) found: Result<Option<(LogName, Seq)>, StoreError>,
}

/// Rows read for a user.
#[derive(Debug)]
pub(crate) struct HistoryRead {
    pub(super) rows: Result<Vec<HistoryRow>, StoreError>,
    pub(super) reply: oneshot::Sender<Result<Vec<Message>, NodeError>>,
}
