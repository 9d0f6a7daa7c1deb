//! The sentences of the line chat.

use std::collections::BTreeSet;

use hobnob::ConversationRef;
use hobnob::protocol::PersonId;
use hobnob::protocol::text::visible;
use hobnob_control::wire::{MessageLine, StatusLine};

use super::outbox::Report;
use crate::cli::messages;
use crate::shared::chat_input::ACTION;
use crate::shared::quotes;
use crate::shared::values::local_time_of_day;
use crate::shared::wording::{self, Names, count};
use crate::shared::{offers, status};

/// The user's name, where messages go, who can see them, and how others reach them.
pub(crate) fn welcome(status: &StatusLine, to: &str) -> [String; 3] {
    let [_, see, reach] = status::who_where_how(status);
    let who = format!(
        "You are {} ({}), and your messages go to {to}. /help lists the commands.",
        status.nick,
        status.peer.0.short()
    );
    [who, see, reach]
}

/// `14:03 #lobby <bob> hi`, `14:03 <bob> to you: hi`.
pub(crate) fn message(message: &MessageLine) -> String {
    let time = local_time_of_day(message.received_at);
    let (name, mut body) = (visible(&message.nick), wording::content(message));
    if message.body.file.is_some() {
        let id = offers::short(message.id.0);
        body = format!("{body}: /accept {id}, or /decline {id}");
    }
    if let Some(to) = &message.amended.reply_to {
        body = format!("[to {}] {body}", quotes::quote(to));
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

/// A report about deliveries. `relay_fault` keeps this node from all its relays.
pub(crate) fn report(report: &Report, names: &Names, relay_fault: Option<&str>) -> String {
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
        } => match relay_fault {
            Some(fault) => format!(
                "  not delivered to {}: {fault}. The message is queued, and is delivered when you connect",
                names.of(peer)
            ),
            None => format!(
                "  {} is away: the message is queued, and is delivered when they connect",
                names.of(peer)
            ),
        },
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
        Report::Alone { room, later } => format!("  {}", messages::alone(room, *later)),
    }
}

fn some_names(peers: &BTreeSet<PersonId>, names: &Names) -> String {
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
