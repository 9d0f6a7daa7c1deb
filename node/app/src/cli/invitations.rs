//! `hobnob invite`, `hobnob accept-invite` and `hobnob introduce`.

use std::io::{self, IsTerminal};

use hobnob::protocol::Target;
use hobnob::protocol::invitation::InviteCode;
use hobnob_control::wire::{
    AcceptInvite, AwaitInvitation, Done, Introduce, InvitationCode, InvitationEnded,
    InvitationState, Invite, Text, to_line,
};

use crate::shared::common_flags::CommonFlags;
use crate::shared::exit_code::Exit;
use crate::shared::output::{self, Output};
use crate::shared::{invitation, qr, session};

/// `hobnob invite`: prints a code, and waits until it is used, dead or expired.
pub(crate) async fn invite(
    flags: &CommonFlags,
    out: Output,
    share_relay: bool,
) -> anyhow::Result<Exit> {
    let room = flags.one_room("an invitation can name only one room")?;
    session::ask(flags, true, async |client| {
        let room = room.map(Text);
        let request = Invite { room, share_relay };
        let created: InvitationCode = client.ask(request).await?;
        if out.json {
            output::raw(&to_line(&created))?;
        } else {
            if io::stdout().is_terminal() {
                let drawn = qr::lines(&created.code.0.to_string());
                drawn.iter().try_for_each(|line| output::line(line))?;
            }
            invitation::created(&created)
                .iter()
                .try_for_each(|line| output::line(line))?;
        }
        let number = created.number;
        let ended: InvitationEnded = client.ask(AwaitInvitation { number }).await?;
        if out.json {
            output::raw(&to_line(&ended))?;
        } else {
            output::line(&invitation::ended(&ended))?;
        }
        Ok(match ended.end {
            InvitationState::Accepted => Exit::Done,
            InvitationState::Wrong => Exit::Refused,
            InvitationState::Expired => Exit::Queued,
        })
    })
    .await
}

/// `hobnob introduce`.
pub(crate) async fn introduce(
    flags: &CommonFlags,
    out: Output,
    target: Target,
    other: Target,
) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        let (target, other) = (Text(target), Text(other));
        let Done {} = client.ask(Introduce { target, other }).await?;
        if !out.json {
            output::line(invitation::INTRODUCED)?;
        }
        Ok(Exit::Done)
    })
    .await
}

/// `hobnob accept-invite`.
pub(crate) async fn accept(
    flags: &CommonFlags,
    out: Output,
    code: InviteCode,
) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        if !out.json {
            output::say_on_terminal(invitation::LOOKING);
        }
        let code = Text(code);
        let accepted = client.ask(AcceptInvite { code }).await?;
        if out.json {
            output::raw(&to_line(&accepted))?;
        } else {
            invitation::accepted(&accepted)
                .iter()
                .try_for_each(|line| output::line(line))?;
        }
        Ok(Exit::Done)
    })
    .await
}
