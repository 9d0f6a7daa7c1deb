//! `hobnob verify`: the words to compare with a peer, and the confirmation that they are the same.

use hobnob::protocol::Target;
use hobnob_control::wire::{Command, EventLine, Text, Verification, WireEvent, to_line};
use serde::Serialize;

use super::args::Common;
use super::exit::Exit;
use super::output::{self, Output};
use super::session;

/// Shows the words; marks the peer as verified, or takes that back, where `confirm` says so.
pub(crate) async fn verify(
    common: &Common,
    out: Output,
    target: Target,
    confirm: Option<bool>,
) -> anyhow::Result<Exit> {
    session::ask(common, false, async |client| {
        let verification: Verification = client
            .ask(Command::Verify {
                target: Text(target),
                confirm,
            })
            .await?;
        if out.json {
            let Verification { peer, words } = verification;
            output::raw(&to_line(&Words {
                peer: WireEvent::Peer(peer).into(),
                words,
            }))?;
        } else {
            words(&verification, confirm, &Way::COMMAND)
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

/// How a confirmation is given: in a shell, or in the chat.
pub(crate) struct Way {
    verify: &'static str,
    confirm: &'static str,
    undo: &'static str,
}

impl Way {
    pub(crate) const COMMAND: Way = Way {
        verify: "hobnob verify",
        confirm: "--confirm",
        undo: "--undo",
    };
    pub(crate) const CHAT: Way = Way {
        verify: "/verify",
        confirm: "confirm",
        undo: "undo",
    };
}

/// What to tell the user.
pub(crate) fn words(verification: &Verification, confirm: Option<bool>, way: &Way) -> Vec<String> {
    let Way {
        verify,
        confirm: yes,
        undo,
    } = way;
    let (name, short) = (
        super::marks::name(&verification.peer),
        verification.peer.peer.0.short(),
    );
    match confirm {
        Some(true) => vec![format!(
            "{name} is verified: nobody else may have that name here (undo: {verify} {short} {undo})"
        )],
        Some(false) => vec![format!("{name} is no longer verified")],
        None => {
            let so_far = if verification.peer.marks.verified {
                "is verified already"
            } else {
                "is not verified yet"
            };
            vec![
                format!("{name} {so_far}. The words for the two of you:"),
                format!("  {}", verification.words.join(" ")),
                format!(
                    "Compare them where you know the other's voice or face. All six alike: {verify} {short} {yes}"
                ),
                "If they differ, somebody stands between you: trust nothing that you read here."
                    .to_owned(),
            ]
        }
    }
}
