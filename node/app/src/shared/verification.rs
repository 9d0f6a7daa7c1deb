//! The safety number to compare with a peer, as commands and chats show them.

use hobnob_control::wire::{PolicyFields, Verification};

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
pub(crate) fn lines(
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
            let so_far = so_far(&verification.peer.policy);
            let mut lines = vec![format!(
                "{name} {so_far}. The safety number for the two of you:"
            )];
            lines.extend(rows(&verification.safety_number));
            lines.push(format!(
                "Compare it by voice or face to face. If all digits are equal: {verify} {short} {yes}"
            ));
            lines.push(
                "If they differ, somebody intercepts your session: do not trust what you read here."
                    .to_owned(),
            );
            lines
        }
    }
}

fn so_far(policy: &PolicyFields) -> &'static str {
    match (policy.verified, policy.by_code) {
        (false, _) => "is not verified yet",
        (true, true) => "is verified by the code of an invitation",
        (true, false) => "is verified already, by the safety number",
    }
}

/// Groups of a safety number on one line.
const GROUPS_PER_ROW: usize = 4;

/// The digits on short lines, so that two people do not lose their place.
fn rows(safety_number: &str) -> Vec<String> {
    let groups: Vec<_> = safety_number.split(' ').collect();
    let rows = groups.chunks(GROUPS_PER_ROW);
    rows.map(|row| format!("  {}", row.join(" "))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_and_a_safety_number_are_told_apart() {
        let of = |verified, by_code| {
            so_far(&PolicyFields {
                verified,
                by_code,
                ..PolicyFields::default()
            })
        };
        assert_eq!(of(false, false), "is not verified yet");
        assert!(of(true, true).ends_with("code of an invitation"));
        assert!(of(true, false).ends_with("safety number"));
    }

    #[test]
    fn a_safety_number_has_three_rows() {
        let number = hobnob::protocol::safety_number::safety_number(
            hobnob::PersonId::from_bytes([1; 32]),
            hobnob::PersonId::from_bytes([2; 32]),
        );
        let rows = rows(&number.join(" "));
        assert_eq!(rows.len(), 3);
        assert!(rows.iter().all(|row| row.len() == 2 + 4 * 5 + 3));
    }
}
