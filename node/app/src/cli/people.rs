//! Commands about one peer: `ignore`, `block` and their opposites, `kick` and `verify`; `notify` and `nick`.

use hobnob::protocol::{Nickname, Target};
use hobnob_control::wire::{
    Done, EventLine, Kick, Kicked, PeerLine, SetNick, Text, Verification, Verify, WireEvent,
    to_line,
};
use serde::Serialize;

use crate::shared::alerting::TypedRule;
use crate::shared::common_flags::CommonFlags;
use crate::shared::exit_code::Exit;
use crate::shared::output::{self, Output};
use crate::shared::policy::{self, PolicyChange};
use crate::shared::session;
use crate::shared::values::ConversationArg;
use crate::shared::verification::{self, Syntax};

/// `hobnob verify`: shows the safety number, or marks the peer as verified, or withdraws that.
pub(crate) async fn verify(
    flags: &CommonFlags,
    out: Output,
    target: Target,
    confirm: Option<bool>,
) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        let answer: Verification = client
            .ask(Verify {
                target: Text(target),
                confirm,
            })
            .await?;
        if out.json {
            let Verification {
                peer,
                safety_number,
            } = answer;
            output::raw(&to_line(&Verified {
                peer: WireEvent::Peer(peer).into(),
                safety_number,
            }))?;
        } else {
            verification::lines(&answer, confirm, &Syntax::COMMAND)
                .iter()
                .try_for_each(|line| output::line(line))?;
        }
        Ok(Exit::Done)
    })
    .await
}

/// The event line of a peer, with the safety number as one more field.
#[derive(Serialize)]
struct Verified {
    #[serde(flatten)]
    peer: EventLine,
    safety_number: String,
}

/// `hobnob notify CONVERSATION RULE`.
pub(crate) async fn notify(
    flags: &CommonFlags,
    of: ConversationArg,
    rule: TypedRule,
) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        let Done {} = client.ask(rule.request(of)).await?;
        output::say(rule.done());
        Ok(Exit::Done)
    })
    .await
}

/// `hobnob contacts accept`, `contacts remove`, `ignore`, `block`, `unignore`, `unblock`.
pub(crate) async fn change_policy(
    flags: &CommonFlags,
    out: Output,
    target: Target,
    change: PolicyChange,
) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        let peer: PeerLine = client.ask(change.request(target)).await?;
        let words = change.words(&peer);
        out.event(WireEvent::Peer(peer), |_| Some(words))?;
        Ok(Exit::Done)
    })
    .await
}

/// `hobnob kick`.
pub(crate) async fn kick(flags: &CommonFlags, out: Output, target: Target) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        let kicked: Kicked = client
            .ask(Kick {
                target: Text(target),
            })
            .await?;
        if out.json {
            let Kicked { peer, for_s } = kicked;
            output::raw(&to_line(&KickedPeer {
                peer: WireEvent::Peer(peer).into(),
                for_s,
            }))?;
        } else {
            output::line(&policy::kicked(&kicked))?;
        }
        Ok(Exit::Done)
    })
    .await
}

/// The event line of a peer, with the seconds that it is refused for as one more field.
#[derive(Serialize)]
struct KickedPeer {
    #[serde(flatten)]
    peer: EventLine,
    for_s: u64,
}

/// `hobnob nick`.
pub(crate) async fn nick(flags: &CommonFlags, out: Output, nick: Nickname) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        let text = policy::renamed(&nick);
        let Done {} = client.ask(SetNick { nick }).await?;
        if !out.json {
            output::line(&text)?;
        }
        Ok(Exit::Done)
    })
    .await
}
