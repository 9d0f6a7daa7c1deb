//! Commands about one peer: `ignore`, `block`, their opposites, and `verify`.

use hobnob::protocol::Target;
use hobnob_control::wire::{EventLine, PeerLine, Text, Verification, Verify, WireEvent, to_line};
use serde::Serialize;

use crate::shared::common_flags::Common;
use crate::shared::exit_code::Exit;
use crate::shared::output::{self, Output};
use crate::shared::policy::PolicyChange;
use crate::shared::session;
use crate::shared::verification::{self, Syntax};

/// Shows the words; marks the peer as verified, or takes that back, where `confirm` says so.
pub(crate) async fn verify(
    common: &Common,
    out: Output,
    target: Target,
    confirm: Option<bool>,
) -> anyhow::Result<Exit> {
    session::ask(common, false, async |client| {
        let answer: Verification = client
            .ask(Verify {
                target: Text(target),
                confirm,
            })
            .await?;
        if out.json {
            let Verification { peer, words } = answer;
            output::raw(&to_line(&Words {
                peer: WireEvent::Peer(peer).into(),
                words,
            }))?;
        } else {
            verification::words(&answer, confirm, &Syntax::COMMAND)
                .iter()
                .try_for_each(|line| output::line(line))?;
        }
        Ok(Exit::Done)
    })
    .await
}

/// The line of a peer, with the words in it.
#[derive(Serialize)]
struct Words {
    #[serde(flatten)]
    peer: EventLine,
    words: Vec<String>,
}

/// `hobnob ignore`, `block`, `unignore`, `unblock`.
pub(crate) async fn change_policy(
    common: &Common,
    out: Output,
    target: Target,
    change: PolicyChange,
) -> anyhow::Result<Exit> {
    session::ask(common, false, async |client| {
        let peer: PeerLine = client.ask(change.request(target)).await?;
        let words = change.words(&peer);
        out.event(WireEvent::Peer(peer), |_| Some(words))?;
        Ok(Exit::Done)
    })
    .await
}
