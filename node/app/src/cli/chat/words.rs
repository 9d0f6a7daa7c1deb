//! How the line chat says things.

use std::collections::BTreeSet;

use hobnob::ConversationRef;
use hobnob::protocol::text::visible;
use hobnob::protocol::{PeerId, RoomName};
use hobnob_control::wire::{MessageLine, StatusLine};

use super::super::show::{self, Names, count};
use super::super::values::local_time_of_day;
use super::super::{messages, offers};
use super::command::ACTION;
use super::outbox::Report;

/// While a diagnosis is under way.
pub(crate) const LOOKING: &str = "Looking for what is wrong, which takes a few seconds …";

/// Who you are, who can see you, how others reach you.
pub(crate) fn who_where_how(status: &StatusLine) -> [String; 3] {
    [
        format!("You are {} ({}).", status.nick, status.peer.0.short()),
        show::who_can_see(status),
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
        show::join(&status.addrs)
    ));
    lines.extend(
        status
            .relays
            .iter()
            .map(|relay| format!("Relay {}", show::relay(relay))),
    );
    lines.push(LOOKING.to_owned());
    lines
}

/// The same, and what to do next.
pub(crate) fn welcome(status: &StatusLine, room: &RoomName) -> [String; 3] {
    let [_, see, reach] = who_where_how(status);
    let who = format!(
        "You are {} ({}), and speak in {room}. /help lists the commands.",
        status.nick,
        status.peer.0.short()
    );
    [who, see, reach]
}

/// `14:03 #lobby <bob> hi`, `14:03 <bob> to you: hi`.
pub(crate) fn message(message: &MessageLine) -> String {
    let time = local_time_of_day(message.received_at);
    let (name, mut body) = (visible(&message.nick), show::body(&message.body));
    if message.body.file.is_some() {
        let id = offers::short(message.id.0);
        body = format!("{body}: /accept {id}, or /decline {id}");
    }
    if let (ConversationRef::Room(room), Some(action)) =
        (&message.conversation.0, body.strip_prefix(ACTION))
    {
        return format!("{time} {room} * {name} {action}");
    }
    match &message.conversation.0 {
        ConversationRef::Room(room) => format!("{time} {room} <{name}> {body}"),
        ConversationRef::Direct(_) => format!("{time} <{name}> to you: {body}"),
    }
}

/// What became of our messages.
pub(crate) fn report(report: &Report, names: &Names) -> String {
    match report {
        Report::Delivered {
            conversation,
            messages,
            people,
        } => {
            let what = if *messages == 1 {
                String::new()
            } else {
                format!("{} ", count(*messages, "message"))
            };
            let whom = match conversation {
                ConversationRef::Direct(peer) => names.of(peer),
                ConversationRef::Room(room) => format!("{people} in {room}"),
            };
            format!("  {what}delivered to {whom}")
        }
        Report::Waiting {
            conversation: ConversationRef::Direct(peer),
            ..
        } => {
            format!(
                "  {} is away: the message is queued and goes out when they are there",
                names.of(peer)
            )
        }
        Report::Waiting {
            conversation: ConversationRef::Room(room),
            missing,
        } => {
            format!(
                "  not yet with everyone in {room}: {} to go ({})",
                missing.len(),
                some_names(missing, names)
            )
        }
        Report::Alone(room) => format!("  {}", messages::alone(room)),
    }
}

fn some_names(peers: &BTreeSet<PeerId>, names: &Names) -> String {
    const SHOWN: usize = 5;
    let mut shown: Vec<String> = peers
        .iter()
        .take(SHOWN)
        .map(|peer| names.of(peer))
        .collect();
    if peers.len() > SHOWN {
        shown.push("…".into());
    }
    shown.join(", ")
}
