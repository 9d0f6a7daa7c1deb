//! The safety words to compare with a peer, as commands and chats show them.

use hobnob_control::wire::Verification;

use super::policy;

/// How the user confirms: in a shell, or in the chat.
pub(crate) struct Syntax {
    verify: &'static str,
    confirm: &'static str,
    undo: &'static str,
}

impl Syntax {
    pub(crate) const COMMAND: Syntax = Syntax {
        verify: "hobnob verify",
        confirm: "--confirm",
        undo: "--undo",
    };
    pub(crate) const CHAT: Syntax = Syntax {
        verify: "/verify",
        confirm: "confirm",
        undo: "undo",
    };
}

/// The lines for the user.
pub(crate) fn words(
    verification: &Verification,
    confirm: Option<bool>,
    syntax: &Syntax,
) -> Vec<String> {
    let Syntax {
        verify,
        confirm: yes,
        undo,
    } = syntax;
    let (name, short) = (
        policy::name(&verification.peer),
        verification.peer.peer.0.short(),
    );
    match confirm {
        Some(true) => vec![format!(
            "{name} is verified: nobody else can use that name here (undo: {verify} {short} {undo})"
        )],
        Some(false) => vec![format!("{name} is no longer verified")],
        None => {
            let so_far = if verification.peer.policy.verified {
                "is verified already"
            } else {
                "is not verified yet"
            };
            vec![
                format!("{name} {so_far}. The words for the two of you:"),
                format!("  {}", verification.words.join(" ")),
                format!(
                    "Compare them by voice or face to face. If all six are equal: {verify} {short} {yes}"
                ),
                "If they differ, somebody stands between you: do not trust what you read here."
                    .to_owned(),
            ]
        }
    }
}
