//! `hobnob up`: a node without a chat. With `--json`, it also reads requests, as lines of stdin.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::bail;
use hobnob::{DeliveryState, PathKind, PeerState};
use hobnob_control::wire::{GetStatus, ListeningLine, PeerLine, StatusLine, WireEvent};
use hobnob_control::{Claim, Claimed, Client, EventStream, Home, Host, SeenIds, pipe};
use tokio::io::BufReader;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::args::UpArgs;
use super::lend::{Lending, Lent};
use super::web::Served;
use super::{faces, views};
use crate::backup::daily;
use crate::shared::common_flags::CommonFlags;
use crate::shared::exit_code::Exit;
use crate::shared::output::{self, Output};
use crate::shared::values;
use crate::shared::wording::{self, Names};
use hobnob_local::signals::Signals;

/// How long `up` waits for another process of the home to end.
const CLAIM_WITHIN: Duration = Duration::from_secs(10);

/// The pause between two attempts to claim the home.
const CLAIM_AGAIN: Duration = Duration::from_millis(50);

/// After this time, `up` explains what it waits for.
const WAIT_UNEXPLAINED: Duration = Duration::from_secs(1);

/// Time limit for printing the last answers after the node has stopped.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Runs the node of the home until a signal, or until nobody reads its output.
pub(crate) async fn up(flags: &CommonFlags, out: Output, args: UpArgs) -> anyhow::Result<Exit> {
    let mut signals = Signals::new()?;
    let home = flags.home()?;
    let seen = SeenIds::since(values::now());
    let claimed = tokio::select! {
        claimed = claim(&home) => claimed?,
        () = signals.any() => return Ok(Exit::Done),
    };
    let lending = Lending::read(&home, args.lending)?;
    let config = Lending::configure(lending.as_ref(), flags.config(&home)?)?;
    let mut host = Host::start(claimed, config).await?;
    flags.reread_by(&host, &home);
    daily::watch(&home)?;
    let lent = match Lent::start(lending, &home, &host, out).await {
        Ok(lent) => lent,
        Err(error) => {
            host.stop().await;
            return Err(error);
        }
    };
    let web = match Served::start(&home, args.web).await {
        Ok(web) => web,
        Err(error) => {
            host.stop().await;
            lent.stop().await;
            return Err(error);
        }
    };
    let mut server = match faces::start(&home, &args.faces, out).await {
        Ok(server) => server,
        Err(error) => {
            web.stop().await;
            host.stop().await;
            lent.stop().await;
            return Err(error);
        }
    };
    let outcome = match Client::connect(&home).await {
        Ok(client) => {
            if let (Some(line), false) = (web.line(), out.json) {
                output::line(&dated(&line))?;
            }
            let (listens, may_ask) = oneshot::channel();
            let asked = tokio::spawn(answer_stdin(home.clone(), out, may_ask));
            let outcome = tokio::select! {
                outcome = print(&client, seen, out, listens) => outcome,
                () = output::reader_gone() => Ok(()),
                () = signals.any() => Ok(()),
            };
            server.stop().await;
            web.stop().await;
            host.stop().await;
            // The node has said goodbye through the relay.
            lent.stop().await;
            // Stopping the node has answered all requests that waited for a delivery.
            let _too_late = tokio::time::timeout(LAST_ANSWERS, asked).await;
            outcome
        }
        Err(error) => {
            server.stop().await;
            web.stop().await;
            host.stop().await;
            lent.stop().await;
            Err(error.into())
        }
    };
    if !out.json && outcome.is_ok() {
        output::line(&dated("stopped"))?;
    }
    outcome.map(|()| Exit::Done)
}

/// Claims the home. Another process may have it for a moment: a command such as `hobnob send` runs
/// a node until it is done. So this waits a while before it fails.
async fn claim(home: &Home) -> anyhow::Result<Claimed> {
    let explain = async {
        tokio::time::sleep(WAIT_UNEXPLAINED).await;
        output::say_on_terminal(&format!(
            "another hobnob runs the node of this home: waiting up to {} s for it to end",
            CLAIM_WITHIN.as_secs()
        ));
        std::future::pending::<Infallible>().await
    };
    let mut holder = None;
    let claimed = tokio::select! {
        claimed = timeout(CLAIM_WITHIN, wait_until_free(home, &mut holder)) => claimed,
        never = explain => match never {},
    };
    claimed.unwrap_or_else(|_| {
        let process = holder
            .map(|pid| format!(", as process {pid}"))
            .unwrap_or_default();
        bail!(
            "a node of {} already runs{process}: use it, stop it, or start another with --home DIR",
            home.data_dir().display()
        )
    })
}

/// Tries to claim the home until it is free. Notes the process that has it.
async fn wait_until_free(home: &Home, holder: &mut Option<u32>) -> anyhow::Result<Claimed> {
    loop {
        match home.claim()? {
            Claim::Ours(claimed) => return Ok(claimed),
            Claim::Busy(pid) => *holder = pid,
        }
        tracing::debug!("another process has the home: waiting for it");
        tokio::time::sleep(CLAIM_AGAIN).await;
    }
}

/// Reads requests from stdin if it is a pipe or a file. A node in the background must not read from
/// a terminal. The first request waits until events are printed, so that none of its events is missed.
async fn answer_stdin(home: Home, out: Output, may_ask: oneshot::Receiver<()>) {
    if !out.json || std::io::stdin().is_terminal() || may_ask.await.is_err() {
        return;
    }
    if let Err(error) = pipe::serve(&home, BufReader::new(tokio::io::stdin()), output::raw).await {
        tracing::warn!(%error, "stopped reading requests from stdin");
    }
}

/// Prints the node's addresses, and then all events. Informs `listens` when the first line is printed.
async fn print(
    client: &Client,
    mut seen: SeenIds,
    out: Output,
    listens: oneshot::Sender<()>,
) -> anyhow::Result<()> {
    let mut events = EventStream::open(client, &seen).await?;
    let mut names = Names::default();
    let mut shown = BTreeMap::new();
    let status: StatusLine = client.ask(GetStatus {}).await?;
    let mut listening = ListeningLine {
        peer: status.peer,
        addrs: status.addrs.clone(),
    };
    introduce(&status, &listening, out)?;
    // Without requests on stdin, nobody waits for this.
    let _ = listens.send(());
    for peer in views::known_peers(client).await? {
        names.learn(&peer);
        if peer.state != PeerState::Offline {
            shown.insert(peer.peer.0, how(&peer));
            out.event(WireEvent::Peer(peer), |event| {
                plain(event, &Names::default())
            })?;
        }
    }
    while let Some(event) = events.next(&mut seen).await? {
        match &event {
            WireEvent::Peer(peer) => {
                names.learn(peer);
                let same = shown.insert(peer.peer.0, how(peer)) == Some(how(peer));
                if same && !out.json {
                    continue;
                }
            }
            // People want to know that a message was delivered. That it was sent is for programs.
            WireEvent::Receipt(receipt) if receipt.state == DeliveryState::Sent && !out.json => {
                continue;
            }
            WireEvent::Listening(same) if *same == listening => continue,
            WireEvent::Listening(other) => listening = other.clone(),
            WireEvent::Message(_)
            | WireEvent::Receipt(_)
            | WireEvent::Activity(_)
            | WireEvent::Amended(_)
            | WireEvent::Erased(_)
            | WireEvent::File(_)
            | WireEvent::Sent(_)
            | WireEvent::Room(_)
            | WireEvent::Status(_)
            | WireEvent::Notice(_)
            | WireEvent::Lagged { .. }
            | WireEvent::Datagram(_)
            | WireEvent::Stream(_)
            | WireEvent::Goodbye
            | WireEvent::Unknown => {}
        }
        out.event(event, |event| plain(event, &names))?;
    }
    Ok(())
}

fn introduce(status: &StatusLine, listening: &ListeningLine, out: Output) -> std::io::Result<()> {
    if out.json {
        return out.event(WireEvent::Listening(listening.clone()), |_| None);
    }
    let listens = format!(
        "{} ({}) listens on {}",
        status.nick,
        status.peer.0.short(),
        wording::join(&status.addrs)
    );
    output::line(&dated(&listens))?;
    output::line(&dated(&format!("ticket {}", status.ticket)))
}

/// Two lines about a peer with the same value differ only in the round trip.
fn how(peer: &PeerLine) -> (String, PeerState, Option<PathKind>, Option<SocketAddr>) {
    (peer.name.clone(), peer.state, peer.path, peer.addr)
}

fn dated(text: &str) -> String {
    format!("{} {text}", values::local_second(values::now()))
}

fn plain(event: &WireEvent, names: &Names) -> Option<String> {
    if let WireEvent::Message(message) = event {
        return Some(format!(
            "{} {}",
            values::local_second(message.received_at),
            wording::said(message, names)
        ));
    }
    wording::event(event, names).map(|text| dated(&text))
}
