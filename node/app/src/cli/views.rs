//! Commands that print what a node knows: `peers`, `whois`, `history`, `receipts`,
//! `search`, `mentions`, `notify`, `keep`, `id`, `mailbox`.

use hobnob::protocol::{PersonId, Target};
use hobnob_control::wire::{
    ActivityList, EventLine, GetMailbox, GetStatus, HistoryFilter, ListActivity, ListKeepTimes,
    ListNotifyRules, ListPeers, ListPins, MailboxLine, PeerLine, PeerList, Resolve, Resolved,
    StatusLine, Text, WireEvent, to_line,
};
use hobnob_control::{Client, ClientError};
use serde::Serialize;

use super::args;
use crate::shared::alerting;
use crate::shared::common_flags::CommonFlags;
use crate::shared::erasing;
use crate::shared::exit_code::Exit;
use crate::shared::output::{self, Output};
use crate::shared::pins;
use crate::shared::receipts;
use crate::shared::values::ConversationArg;
use crate::shared::wording::{self, Names};
use crate::shared::{mailbox, session, status};
use hobnob_local::signals::Signals;

/// `hobnob peers`.
pub(crate) async fn peers(flags: &CommonFlags, out: Output) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        print_peers(client, out).await?;
        Ok(Exit::Done)
    })
    .await
}

async fn print_peers(client: &Client, out: Output) -> anyhow::Result<()> {
    let PeerList { peers } = client.ask(ListPeers { settle: true }).await?;
    if peers.is_empty() {
        output::say_on_terminal(wording::NOBODY_MET);
    }
    if out.json {
        peers
            .into_iter()
            .try_for_each(|peer| out.event(WireEvent::Peer(peer), |_| None))?;
    } else {
        wording::peers(&peers)
            .iter()
            .try_for_each(|row| output::line(row))?;
    }
    let status: StatusLine = client.ask(GetStatus {}).await?;
    // A peer that is not listed may be reachable only through one of these.
    status
        .relays
        .iter()
        .filter_map(wording::relay_remark)
        .for_each(|text| output::say(&text));
    Ok(())
}

/// `hobnob contacts`.
pub(crate) async fn contacts(flags: &CommonFlags, out: Output) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        let PeerList { peers } = client.ask(ListPeers { settle: false }).await?;
        let listed = wording::contacts_and_requests(&peers);
        if listed.is_empty() {
            output::say_on_terminal(wording::NO_CONTACTS);
        }
        if out.json {
            listed
                .into_iter()
                .try_for_each(|peer| out.event(WireEvent::Peer(peer.clone()), |_| None))?;
        } else {
            wording::contacts(&listed)
                .iter()
                .try_for_each(|row| output::line(row))?;
        }
        Ok(Exit::Done)
    })
    .await
}

/// `hobnob peers --watch`: runs until a signal. When the node ends, it attaches to the next one, or
/// runs one.
pub(crate) async fn watch(flags: &CommonFlags, out: Output) -> anyhow::Result<Exit> {
    let mut signals = Signals::new()?;
    loop {
        let (_, attached) = session::open(flags, false).await?;
        let ended = tokio::select! {
            outcome = watch_one(&attached.client, out) => outcome,
            () = output::reader_gone() => {
                session::leave(attached, &mut signals).await;
                return Ok(Exit::Done);
            }
            () = signals.any() => {
                session::leave(attached, &mut signals).await;
                return Ok(Exit::Done);
            }
        };
        session::leave(attached, &mut signals).await;
        ended?;
    }
}

async fn watch_one(client: &Client, out: Output) -> anyhow::Result<()> {
    // Subscribe before listing, so that a peer that connects in between is printed twice rather than
    // not at all.
    let mut events = client.events().await?;
    print_peers(client, out).await?;
    while let Some(event) = events.next().await {
        if let WireEvent::Peer(peer) = event {
            out.event(WireEvent::Peer(peer), plain_peer)?;
        }
    }
    Ok(())
}

fn plain_peer(event: &WireEvent) -> Option<String> {
    wording::event(event, &Names::default())
}

/// `hobnob whois`.
pub(crate) async fn whois(
    flags: &CommonFlags,
    out: Output,
    target: Target,
) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        let Some(peer) = find_peer(client, target).await? else {
            output::say(wording::NEVER_MET);
            return Ok(Exit::NoSuchPeer);
        };
        if out.json {
            out.event(WireEvent::Peer(peer), |_| None)?;
        } else {
            wording::about_peer(&peer)
                .iter()
                .try_for_each(|line| output::line(line))?;
        }
        Ok(Exit::Done)
    })
    .await
}

/// The peer that a target names, if the node has ever met it.
pub(crate) async fn find_peer(
    client: &Client,
    target: Target,
) -> Result<Option<PeerLine>, ClientError> {
    let Resolved { peer } = client
        .ask(Resolve {
            target: Text(target),
        })
        .await?;
    let peers = known_peers(client).await?;
    Ok(peers.into_iter().find(|known| known.peer == peer))
}

/// `hobnob history` and `hobnob search`.
pub(crate) async fn history(
    flags: &CommonFlags,
    out: Output,
    args: args::History,
) -> anyhow::Result<Exit> {
    let filter = HistoryFilter {
        search: args.search,
        thread: args.thread.map(Text),
        since: args.since,
        limit: args.limit,
        ..HistoryFilter::default()
    };
    let none = filter.search.is_some().then_some(wording::NOTHING_FOUND);
    print_history(flags, out, args.of, filter, none).await
}

/// Prints the messages of a conversation, or of all, that the filter lets pass. `none` is said on a
/// terminal if there is none.
async fn print_history(
    flags: &CommonFlags,
    out: Output,
    of: Option<ConversationArg>,
    filter: HistoryFilter,
    none: Option<&str>,
) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        let conversation = match of {
            Some(of) => Some(Text(of.resolve(client).await?)),
            None => None,
        };
        let filter = HistoryFilter {
            conversation,
            ..filter
        };
        let messages = client.history(filter).await?;
        if messages.is_empty() {
            none.into_iter().for_each(output::say_on_terminal);
        }
        let names = if out.json {
            Names::default()
        } else {
            Names::ask(client).await?
        };
        for message in messages {
            out.event(WireEvent::Message(message), |event| {
                wording::event(event, &names)
            })?;
        }
        Ok(Exit::Done)
    })
    .await
}

/// `hobnob mentions`.
pub(crate) async fn mentions(
    flags: &CommonFlags,
    out: Output,
    args: args::Mentions,
) -> anyhow::Result<Exit> {
    let filter = HistoryFilter {
        mentions: true,
        since: args.since,
        limit: args.limit,
        ..HistoryFilter::default()
    };
    print_history(flags, out, args.of, filter, Some(alerting::NO_MENTIONS)).await
}

/// `hobnob pins`.
pub(crate) async fn pins(
    flags: &CommonFlags,
    out: Output,
    of: ConversationArg,
) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        let conversation = Text(of.resolve(client).await?);
        let list = client.ask(ListPins { conversation }).await?;
        if out.json {
            for message in list.messages {
                out.event(WireEvent::Message(message), |_| None)?;
            }
        } else {
            let names = Names::ask(client).await?;
            pins::pins(&list, &names, "`hobnob pin ID` pins a message")
                .iter()
                .try_for_each(|line| output::line(line))?;
        }
        Ok(Exit::Done)
    })
    .await
}

/// `hobnob notify` without a rule: the rules, or the one of this conversation.
pub(crate) async fn notify_rules(
    flags: &CommonFlags,
    out: Output,
    of: Option<ConversationArg>,
) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        let of = match of {
            Some(of) => Some(Text(of.resolve(client).await?)),
            None => None,
        };
        let mut list = client.ask(ListNotifyRules {}).await?;
        if let Some(of) = of {
            list.rules.retain(|rule| rule.conversation == of);
        }
        if out.json {
            list.rules
                .iter()
                .try_for_each(|rule| output::line(&to_line(rule)))?;
        } else {
            let names = Names::ask(client).await?;
            alerting::rules(&list, &names, "`hobnob notify CONVERSATION RULE`")
                .iter()
                .try_for_each(|line| output::line(line))?;
        }
        Ok(Exit::Done)
    })
    .await
}

/// `hobnob keep` without a conversation.
pub(crate) async fn keep_times(flags: &CommonFlags, out: Output) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        let list = client.ask(ListKeepTimes {}).await?;
        if out.json {
            output::raw(&to_line(&list))?;
        } else {
            let names = Names::ask(client).await?;
            erasing::keep_times(&list, &names)
                .iter()
                .try_for_each(|line| output::line(line))?;
        }
        Ok(Exit::Done)
    })
    .await
}

/// `hobnob receipts`.
pub(crate) async fn receipts(
    flags: &CommonFlags,
    out: Output,
    of: ConversationArg,
) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        let of = of.resolve(client).await?;
        let messages = client.history(receipts::receipts_among(of)).await?;
        let ActivityList { activity } = client.ask(ListActivity {}).await?;
        let receipts = receipts::receipts(messages, &activity.into_iter().collect());
        if receipts.is_empty() {
            output::say_on_terminal(receipts::NO_RECEIPTS);
        }
        let names = Names::ask(client).await?;
        for (message, readers) in receipts {
            if out.json {
                let read_by = readers.into_iter().map(Text).collect();
                let message = WireEvent::Message(message).into();
                output::raw(&to_line(&Receipt { message, read_by }))?;
            } else {
                output::line(&receipts::receipt(&message, &readers, &names))?;
            }
        }
        Ok(Exit::Done)
    })
    .await
}

/// The event line of a message, with its readers as one more field.
#[derive(Serialize)]
struct Receipt {
    #[serde(flatten)]
    message: EventLine,
    read_by: Vec<Text<PersonId>>,
}

/// `hobnob id`.
pub(crate) async fn id(flags: &CommonFlags, out: Output) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        let status: StatusLine = client.ask(GetStatus {}).await?;
        if out.json {
            out.event(WireEvent::Status(status), |_| None)?;
        } else {
            status::identity(&status)
                .iter()
                .try_for_each(|line| output::line(line))?;
        }
        Ok(Exit::Done)
    })
    .await
}

/// `hobnob mailbox`.
pub(crate) async fn mailbox(flags: &CommonFlags, out: Output) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        let mailbox: MailboxLine = client.ask(GetMailbox {}).await?;
        if out.json {
            output::raw(&to_line(&mailbox))?;
        } else {
            mailbox::lines(&mailbox)
                .iter()
                .try_for_each(|line| output::line(line))?;
        }
        Ok(Exit::Done)
    })
    .await
}

/// Every peer that the node knows.
pub(crate) async fn known_peers(client: &Client) -> Result<Vec<PeerLine>, ClientError> {
    let PeerList { peers } = client.ask(ListPeers { settle: false }).await?;
    Ok(peers)
}
