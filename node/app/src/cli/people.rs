//! Commands about one peer: `ignore`, `block` and their opposites, `kick` and `verify`; `notify`, `nick`
//! and `picture`.

use std::path::Path;

use anyhow::Context;
use hobnob::protocol::{Nickname, Target};
use hobnob_control::wire::{
    Base64, Done, EventLine, GetPicture, Kick, Kicked, PeerLine, PictureFields, PictureFile,
    SetNick, SetPicture, Text, Verification, Verify, WireEvent, to_line,
};
use hobnob_local::private_file;
use serde::Serialize;

use super::args::PictureArgs;
use super::{request_erasing, views};
use crate::shared::alerting::TypedRule;
use crate::shared::common_flags::CommonFlags;
use crate::shared::erasing::Erase;
use crate::shared::exit_code::{Exit, Usage};
use crate::shared::output::{self, Output};
use crate::shared::policy::{self, PolicyChange};
use crate::shared::session;
use crate::shared::values::ConversationArg;
use crate::shared::verification::{self, Syntax};
use crate::tui;

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

/// `hobnob contacts delete`: forgets a stranger. A contact is more than a request, and stays.
pub(crate) async fn delete_request(flags: &CommonFlags, target: Target) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        let peer = views::find_peer(client, target.clone()).await?;
        if let Some(peer) = peer.as_ref().filter(|peer| peer.policy.contact) {
            let name = &peer.name;
            return Err(Usage(format!(
                "{name} is a contact, and not a request: `hobnob contacts remove {name}` makes \
                 {name} a stranger, and `hobnob forget {name}` erases the whole conversation"
            ))
            .into());
        }
        let forget = Erase::Forget {
            target,
            address: None,
            yes: false,
        };
        request_erasing(client, flags, forget).await
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

/// `hobnob picture`.
pub(crate) async fn picture(
    flags: &CommonFlags,
    out: Output,
    args: PictureArgs,
) -> anyhow::Result<Exit> {
    if let Some(target) = args.of {
        return show_picture(flags, out, target, args.save.as_deref()).await;
    }
    let bytes = match args.file {
        Some(file) => Some(
            tui::profile_picture(file)
                .await
                .map_err(anyhow::Error::msg)?,
        ),
        None => None,
    };
    session::ask(flags, false, async |client| {
        let done = policy::picture_set(bytes.is_some());
        let bytes = bytes.map(Base64);
        let Done {} = client.ask(SetPicture { bytes }).await?;
        if !out.json {
            output::line(done)?;
        }
        Ok(Exit::Done)
    })
    .await
}

async fn show_picture(
    flags: &CommonFlags,
    out: Output,
    target: Target,
    save: Option<&Path>,
) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        let target = Some(Text(target));
        let PictureFile { picture } = client.ask(GetPicture { target }).await?;
        let Some(picture) = picture else {
            output::say(policy::NO_PICTURE);
            return Ok(Exit::Fault);
        };
        if let Some(file) = save {
            private_file::create(file, &picture.bytes.0)
                .with_context(|| format!("can't write {}", file.display()))?;
        }
        if out.json {
            output::raw(&to_line(&picture))?;
        } else {
            let PictureFields { hash, media, bytes } = &picture;
            let size = hobnob_local::output::size(bytes.0.len() as u64);
            output::line(&format!("{media}, {size}, BLAKE3 {}", hash.0))?;
        }
        Ok(Exit::Done)
    })
    .await
}
