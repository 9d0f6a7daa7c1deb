//! The words to compare with a peer, as commands and chats show them.

use hobnob_control::wire::Verification;

use super::policy;

/// How a confirmation is given: in a shell, or in the chat.
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

/// What to tell the user.
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
            "{name} is verified: nobody else may have that name here (undo: {verify} {short} {undo})"
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
                    "Compare them where you know the other's voice or face. All six alike: {verify} {short} {yes}"
                ),
                "If they differ, somebody stands between you: trust nothing that you read here."
                    .to_owned(),
            ]
        }
    }
}
