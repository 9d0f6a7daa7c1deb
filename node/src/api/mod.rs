//! The values in the public API: what programs configure, send, request and receive.
//!
//! One file for each subject. Values about files are in `files`, and errors are in `error`.

mod config;
mod event;
mod hold_for;
mod invitation;
mod mailbox;
mod message;
mod notice;
mod peer;
mod status;

pub use self::config::{Config, HOLD_MAX, LiveConfig, ProxyConfig, RELAYS_MAX};
pub use self::event::Event;
pub use self::hold_for::{HeldPeer, HoldFor, NotHoldFor};
pub use self::invitation::{AcceptedInvitation, Invitation, InvitationEnd, RelayTokenUse};
pub use self::mailbox::{DepositInfo, HolderInfo, HoldingInfo, MailboxInfo};
pub use self::message::{
    ActivityInfo, ActivityKind, Amended, Change, ConversationRef, DeliveryState, Edited,
    HistoryQuery, KeepTimes, Message, MessageId, NotifyRule, Reaction, Reactor, ReplyTo, Sent,
};
pub use self::notice::{CopyEvidence, Notice, NoticeReason};
pub use self::peer::{PathKind, PeerInfo, PeerState, ProfilePicture};
pub use self::status::{LentRelay, RelayInfo, RoomInfo, RoomTopic, Status};
pub use hobnob_core::diagnosis::{
    Filtering, Finding, LONG_HELD_DAYS, MachineFinding, MailFinding, Mapping, MappingProtocol,
    MdnsFault, NetworkFinding, PeerFinding, ReachFinding, RelayFinding, Subject, Verdict,
};
pub use hobnob_core::mail_refusal::MailRefusal;
pub use hobnob_core::policy::{DenyReason, DirectWith, KICKED_FOR, PeerPolicy, ShareWith, Sharing};
