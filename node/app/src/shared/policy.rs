//! The user's policy about peers: the requests that change it, and sentences that confirm a change.

use hobnob::protocol::text::visible;
use hobnob::protocol::{Nickname, Target};
use hobnob_control::wire::{
    AcceptContact, AnyRequest, Block, Ignore, Kicked, PeerLine, RemoveContact, Request, Text,
    Unblock, Unignore,
};

/// A lasting change of the policy about a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PolicyChange {
    Accept,
    Remove,
    Ignore,
    Unignore,
    Block,
    Unblock,
}

impl PolicyChange {
    /// The request for this change about a peer.
    pub(crate) fn request(self, target: Target) -> PolicyRequest {
        PolicyRequest {
            change: self,
            target: Text(target),
        }
    }

    /// Confirms the change.
    pub(crate) fn words(self, peer: &PeerLine) -> String {
        let name = name(peer);
        match self {
            PolicyChange::Accept => format!("{name} is a contact now"),
            PolicyChange::Remove => {
                format!("{name} is no longer a contact: their direct messages are requests")
            }
            PolicyChange::Ignore => format!("{name} is ignored: their messages are hidden"),
            PolicyChange::Unignore => format!("{name} is no longer ignored"),
            PolicyChange::Block => {
                format!(
                    "{name} is blocked: their connections are refused, and their messages are hidden and not forwarded"
                )
            }
            PolicyChange::Unblock => format!("{name} is no longer blocked"),
        }
    }
}

/// A policy change and the peer that it is about.
pub(crate) struct PolicyRequest {
    change: PolicyChange,
    target: Text<Target>,
}

impl Request for PolicyRequest {
    type Answer = PeerLine;
}

impl From<PolicyRequest> for AnyRequest {
    fn from(PolicyRequest { change, target }: PolicyRequest) -> AnyRequest {
        match change {
            PolicyChange::Accept => AcceptContact { target }.into(),
            PolicyChange::Remove => RemoveContact { target }.into(),
            PolicyChange::Ignore => Ignore { target }.into(),
            PolicyChange::Unignore => Unignore { target }.into(),
            PolicyChange::Block => Block { target }.into(),
            PolicyChange::Unblock => Unblock { target }.into(),
        }
    }
}

/// Confirms a kick.
pub(crate) fn kicked(kicked: &Kicked) -> String {
    format!(
        "{} is disconnected, and refused for {} minutes",
        name(&kicked.peer),
        kicked.for_s / 60
    )
}

/// Confirms a new profile picture, or that there is none any more.
pub(crate) fn picture_set(is_set: bool) -> &'static str {
    if is_set {
        "your contacts and the members of your rooms with a key see this picture from now on"
    } else {
        "your profile picture is removed; who has it already may keep it"
    }
}

/// Shown when there is no picture of a peer.
pub(crate) const NO_PICTURE: &str =
    "there is no picture here: only contacts and members of a common room with a key send theirs";

/// Confirms a new nickname.
pub(crate) fn renamed(nick: &Nickname) -> String {
    format!("you are {nick} now")
}

/// `bob (alwz2i6m)`
pub(crate) fn name(peer: &PeerLine) -> String {
    let short = peer.peer.0.short();
    if peer.name == short {
        short
    } else {
        format!("{} ({short})", visible(&peer.name))
    }
}
