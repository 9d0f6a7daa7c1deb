//! What this node is, as lines for people.

use hobnob_control::wire::StatusLine;

use super::wording;

/// While a diagnosis is under way.
pub(crate) const LOOKING: &str = "Looking for what is wrong, which takes a few seconds …";

/// Who you are, who can see you, how others reach you.
pub(crate) fn who_where_how(status: &StatusLine) -> [String; 3] {
    [
        format!("You are {} ({}).", status.nick, status.peer.0.short()),
        wording::who_can_see(status),
        format!(
            "To be reached from elsewhere, give people your ticket: {}",
            status.ticket
        ),
    ]
}

/// How things are, before it is looked at what is wrong.
pub(crate) fn net(status: &StatusLine) -> Vec<String> {
    let mut lines = who_where_how(status).to_vec();
    lines.push(format!(
        "This node listens on {}",
        wording::join(&status.addrs)
    ));
    lines.extend(
        status
            .relays
            .iter()
            .map(|relay| format!("Relay {}", wording::relay(relay))),
    );
    lines.push(LOOKING.to_owned());
    lines
}
