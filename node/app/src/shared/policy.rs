//! PolicyChanges about peers: `ignore`, `block` and their opposites; in the chat also `kick`.

use hobnob::protocol::Target;
use hobnob::protocol::text::visible;
use hobnob_control::wire::{Command, Kicked, PeerLine, Text};

/// What can be decided for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PolicyChange {
    Ignore,
    Unignore,
    Block,
    Unblock,
}

impl PolicyChange {
    /// What to ask the node for.
    pub(crate) fn command(self, target: Target) -> Command {
        let target = Text(target);
        match self {
            PolicyChange::Ignore => Command::Ignore { target },
            PolicyChange::Unignore => Command::Unignore { target },
            PolicyChange::Block => Command::Block { target },
            PolicyChange::Unblock => Command::Unblock { target },
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
