//! The state of this node, as lines for people.

use hobnob_control::wire::StatusLine;

use super::wording;

/// Shown while a diagnosis is in progress.
pub(crate) const LOOKING: &str = "Examining the network, which takes a few seconds …";

/// The user's name and id, who can see them, and how others reach them.
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

/// The state of this node, for `/doctor` to show before its diagnosis.
pub(crate) fn overview(status: &StatusLine) -> Vec<String> {
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
    let lends = status.lends.as_deref().map(wording::lent_relay);
    lines.extend(lends.map(|lends| format!("This node is a relay for its contacts {lends}")));
    lines.push(LOOKING.to_owned());
    lines
}

/// The identity of this node: what `id` prints.
pub(crate) fn identity(status: &StatusLine) -> Vec<String> {
    let list = |items: Vec<String>| match items.is_empty() {
        true => "none".to_owned(),
        false => items.join(", "),
    };
    let lends = status.lends.as_deref().map(wording::lent_relay);
    let lends = lends.map(|lends| format!("lends   a relay {lends}"));
    let mut lines = vec![
        format!("id      {}", status.peer.0),
        format!("nick    {}", status.nick),
        format!("listen  {}", wording::join(&status.addrs)),
        format!("ticket  {}", status.ticket),
        format!(
            "relays  {}",
            list(status.relays.iter().map(wording::relay).collect())
        ),
        format!(
            "rooms   {}",
            list(status.rooms.iter().map(wording::room).collect())
        ),
    ];
    lines.extend(lends);
    lines.extend([
        String::new(),
        wording::who_can_see(status),
        "Only members who have the secret read a room with a secret. Only the recipient reads a direct message."
            .to_owned(),
    ]);
    lines
}
