//! Decisions about peers: `ignore`, `block` and their opposites; in the chat also `kick`.

use hobnob::protocol::Target;
use hobnob::protocol::text::visible;
use hobnob_control::wire::{Command, Kicked, PeerLine, Text, WireEvent};

use super::args::Common;
use super::exit::Exit;
use super::output::Output;
use super::session;

/// What can be decided for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Ignore,
    Unignore,
    Block,
    Unblock,
}

impl Decision {
    /// What to ask the node for.
    pub(crate) fn command(self, target: Target) -> Command {
        let target = Text(target);
        match self {
            Decision::Ignore => Command::Ignore { target },
            Decision::Unignore => Command::Unignore { target },
            Decision::Block => Command::Block { target },
            Decision::Unblock => Command::Unblock { target },
        }
    }

    /// What it means, once it is so.
    pub(crate) fn words(self, peer: &PeerLine) -> String {
        let name = name(peer);
        match self {
            Decision::Ignore => format!("{name} is ignored: nothing they write is shown"),
            Decision::Unignore => format!("{name} is no longer ignored"),
            Decision::Block => {
                format!(
                    "{name} is blocked: no session with them, and what they write is neither shown nor passed on"
                )
            }
            Decision::Unblock => format!("{name} is no longer blocked"),
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

/// `hobnob ignore`, `block`, `unignore`, `unblock`.
pub(crate) async fn mark(
    common: &Common,
    out: Output,
    target: Target,
    decision: Decision,
) -> anyhow::Result<Exit> {
    session::ask(common, false, async |client| {
        let peer: PeerLine = client.ask(decision.command(target)).await?;
        let words = decision.words(&peer);
        out.event(WireEvent::Peer(peer), |_| Some(words))?;
        Ok(Exit::Done)
    })
    .await
}
