//! `send` and `broadcast`.
#![expect(
    clippy::disallowed_methods,
    reason = "the command line is the driver: it prints how long a delivery took"
)]

use std::io::{IsTerminal, Read};
use std::time::{Duration, Instant};

use anyhow::Context;
use hobnob::protocol::{Body, RoomName};
use hobnob::{ConversationRef, DeliveryState, MessageId};
use hobnob_control::Client;
use hobnob_control::wire::{
    BroadcastMessage, GetStatus, Request, SendMessage, SentLine, StatusLine, Text, WaitOptions,
    WaitReason,
};

use super::{args, files};
use crate::shared::amending;
use crate::shared::common_flags::CommonFlags;
use crate::shared::exit_code::{Exit, Usage};
use crate::shared::output::{Output, say, say_on_terminal};
use crate::shared::pins;
use crate::shared::session;
use crate::shared::wording::{self, Names, count};

/// Maximum number of bytes read from stdin. It is far beyond the limit of a message, so the error
/// about the size is still right.
const STDIN_MAX: u64 = 16 * 1024 * 1024;

/// `hobnob send`.
pub(crate) async fn send(
    flags: &CommonFlags,
    out: Output,
    send: args::Send,
) -> anyhow::Result<Exit> {
    if !send.files.is_empty() {
        return files::send(flags, out, send).await;
    }
    let body = body(send.text)?;
    let options = wait_options(&send.wait_args);
    let request = SendMessage {
        client_id: send.client_id.map(Text),
        target: Text(send.target),
        body: body.into(),
        options,
    };
    session::ask(flags, false, async |client| {
        deliver(client, out, request, options.wait).await
    })
    .await
}

/// `hobnob broadcast`.
pub(crate) async fn broadcast(
    flags: &CommonFlags,
    out: Output,
    broadcast: args::Broadcast,
) -> anyhow::Result<Exit> {
    let room = Text(flags.speaking_room()?);
    if !broadcast.files.is_empty() {
        return files::broadcast(flags, out, room.0, broadcast).await;
    }
    let body = body(broadcast.text)?;
    let options = wait_options(&broadcast.wait_args);
    let request = BroadcastMessage {
        client_id: broadcast.client_id.map(Text),
        room,
        body: body.into(),
        options,
    };
    session::ask(flags, true, async |client| {
        deliver(client, out, request, options.wait).await
    })
    .await
}

/// `hobnob reply`.
pub(crate) async fn reply(
    flags: &CommonFlags,
    out: Output,
    about: args::About,
) -> anyhow::Result<Exit> {
    let options = wait_options(&about.wait_args);
    let request = amending::reply(about.id, text_or_stdin(about.text)?, options);
    ask(flags, out, request, options.wait).await
}

/// `hobnob edit`.
pub(crate) async fn edit(
    flags: &CommonFlags,
    out: Output,
    about: args::About,
) -> anyhow::Result<Exit> {
    let options = wait_options(&about.wait_args);
    let request = amending::edit(about.id, text_or_stdin(about.text)?, options);
    ask(flags, out, request, options.wait).await
}

/// `hobnob react`.
pub(crate) async fn react(
    flags: &CommonFlags,
    out: Output,
    (id, emoji, off): (MessageId, String, bool),
    wait_args: &args::WaitArgs,
) -> anyhow::Result<Exit> {
    let options = wait_options(wait_args);
    let request = amending::react(id, emoji, off, options);
    ask(flags, out, request, options.wait).await
}

/// `hobnob pin` and `hobnob unpin`.
pub(crate) async fn pin(
    flags: &CommonFlags,
    out: Output,
    args: args::Pin,
    off: bool,
) -> anyhow::Result<Exit> {
    let options = wait_options(&args.wait_args);
    ask(flags, out, pins::pin(args.id, off, options), options.wait).await
}

/// `hobnob topic ROOM TEXT`.
pub(crate) async fn set_topic(
    flags: &CommonFlags,
    out: Output,
    (room, topic): (RoomName, String),
    wait_args: &args::WaitArgs,
) -> anyhow::Result<Exit> {
    Body::Topic(topic.clone())
        .check()
        .map_err(|error| Usage(error.to_string()))?;
    let options = wait_options(wait_args);
    let request = pins::set_topic(room, topic, options);
    ask(flags, out, request, options.wait).await
}

async fn ask(
    flags: &CommonFlags,
    out: Output,
    request: impl Request<Answer = SentLine>,
    wait: DeliveryState,
) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        deliver(client, out, request, wait).await
    })
    .await
}

async fn deliver(
    client: &Client,
    out: Output,
    request: impl Request<Answer = SentLine>,
    wanted: DeliveryState,
) -> anyhow::Result<Exit> {
    let start = Instant::now();
    let sent = client.ask(request).await?;
    let took = start.elapsed();
    // In an empty open room there is nobody to reach. In one with a secret, the members who are away
    // receive the message later.
    let reached = sent.state >= wanted || (sent.to.is_empty() && !sent.later);
    let words = words(client, &sent, reached, took).await;
    out.sent(&sent);
    if reached && !sent.to.is_empty() {
        say_on_terminal(&words);
    } else {
        say(&words);
    }
    let refused = sent.reason.is_some_and(WaitReason::is_refusal);
    Ok(match (reached, refused) {
        (true, _) => Exit::Done,
        (false, true) => Exit::Refused,
        (false, false) => Exit::Queued,
    })
}

/// The outcome, for people.
async fn words(client: &Client, sent: &SentLine, reached: bool, took: Duration) -> String {
    let state = sent.state.as_str();
    match &sent.conversation.0 {
        ConversationRef::Room(room) if sent.to.is_empty() => alone(room, sent.later),
        ConversationRef::Room(room) if reached => {
            format!(
                "{state} to {} in {room} ({} ms)",
                count(sent.to.len(), "other"),
                took.as_millis()
            )
        }
        ConversationRef::Room(room) => {
            format!(
                "not everyone in {room} has it yet: the others receive it the next time a node of this home and theirs connect"
            )
        }
        ConversationRef::Direct(peer) => {
            // The message is queued by now, so failing to learn the name is not an error.
            let name = Names::ask(client).await.unwrap_or_default().of(peer);
            if reached {
                return format!("{state} to {name} ({} ms)", took.as_millis());
            }
            let fault = match sent.reason {
                Some(WaitReason::NoRelay) => fault_here(client).await,
                Some(_) | None => None,
            };
            match fault {
                Some(fault) => not_from_here(&name, &fault),
                None => away(&name, sent.state, sent.reason),
            }
        }
    }
}

/// The sentence for a message to a room where no other member is connected. `later`: the room has a
/// secret, so other members receive the message when they connect.
pub(crate) fn alone(room: &RoomName, later: bool) -> String {
    if later {
        format!(
            "nobody else is in {room} now: the message is queued, and members receive it the next time your nodes connect"
        )
    } else {
        format!(
            "nobody else is in {room} now: the message is in your history, and nobody receives it"
        )
    }
}

/// What keeps this node from its relays, if it has some and reaches none of them.
async fn fault_here(client: &Client) -> Option<String> {
    // The message is queued by now, so failing to learn this is not an error.
    let status: StatusLine = client.ask(GetStatus {}).await.ok()?;
    wording::relay_fault(&status)
}

fn not_from_here(name: &str, fault: &str) -> String {
    format!(
        "not delivered to {name}: {fault}. The message is queued, and is delivered the next time a node of this home and {name} connect"
    )
}

fn away(name: &str, state: DeliveryState, reason: Option<WaitReason>) -> String {
    if let Some(refusal) = reason.and_then(|reason| wording::refusal(name, reason)) {
        return format!("{refusal}: the message is queued, in case {name} changes that");
    }
    if let Some(why) = reason.and_then(wording::mailbox_reason) {
        return format!(
            "{name} is away, and {why}: the message is queued, and is offered again every minute while your node runs"
        );
    }
    match state {
        DeliveryState::Sent | DeliveryState::Delivered if reason == Some(WaitReason::Consent) => {
            format!(
                "{}: it arrives when {name} accepts you",
                wording::SENT_AND_WAITING
            )
        }
        DeliveryState::Queued => {
            format!(
                "{name} is away: the message is queued, and is delivered the next time a node of this home and {name} connect"
            )
        }
        DeliveryState::Held => {
            format!("{name} is away: a relay holds the message, sealed, until {name} comes back")
        }
        DeliveryState::Sent | DeliveryState::Delivered => {
            format!(
                "{name} has not confirmed it: the message stays queued, and is sent again if it was lost"
            )
        }
    }
}

fn wait_options(args: &args::WaitArgs) -> WaitOptions {
    let timeout_ms = u64::try_from(args.timeout.as_millis()).unwrap_or(u64::MAX);
    WaitOptions {
        wait: args.wait,
        timeout_ms,
    }
}

/// The text of the command line, or all of stdin. Its limits are checked before a node is started.
fn body(text: Option<String>) -> anyhow::Result<Body> {
    text_or_stdin(text).map(Body::Text)
}

fn text_or_stdin(text: Option<String>) -> anyhow::Result<String> {
    let text = match text {
        Some(text) if text != "-" => text,
        None if std::io::stdin().is_terminal() => {
            return Err(Usage(
                "the message is missing: give TEXT, or - to type it and end with Ctrl-D".into(),
            )
            .into());
        }
        Some(_) | None => read_stdin()?,
    };
    let body = Body::Text(text.clone());
    body.check().map_err(|error| Usage(error.to_string()))?;
    Ok(text)
}

fn read_stdin() -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .take(STDIN_MAX)
        .read_to_end(&mut bytes)
        .context("can't read stdin")?;
    let mut text = String::from_utf8(bytes).map_err(|_| Usage("stdin is not UTF-8 text".into()))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}
