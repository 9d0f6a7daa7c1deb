//! PolicyChanges about peers: `ignore`, `block` and their opposites; in the chat also `kick`.

use hobnob::protocol::Target;
use hobnob::protocol::text::visible;
use hobnob_control::wire::{
    AnyRequest, Block, Ignore, Kicked, PeerLine, Request, Text, Unblock, Unignore,
};

/// What can be decided for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PolicyChange {
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

    /// What it means, once it is so.
    pub(crate) fn words(self, peer: &PeerLine) -> String {
        let name = name(peer);
        match self {
            PolicyChange::Ignore => format!("{name} is ignored: nothing they write is shown"),
            PolicyChange::Unignore => format!("{name} is no longer ignored"),
            PolicyChange::Block => {
                format!(
                    "{name} is blocked: no session with them, and what they write is neither shown nor passed on"
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
            PolicyChange::Ignore => Ignore { target }.into(),
            PolicyChange::Unignore => Unignore { target }.into(),
            PolicyChange::Block => Block { target }.into(),
            PolicyChange::Unblock => Unblock { target }.into(),
        }
    }
}

/// What a kick means, once it is so.
pub(crate) fn kicked(kicked: &Kicked) -> String {
    format!(
        "{} is out: no session with them for {} minutes",
        name(&kicked.peer),
        kicked.for_s / 60
    )
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
