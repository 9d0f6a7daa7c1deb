//! `hobnob up`: a node without a screen.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::bail;
use hobnob::control::wire::{Command, ListeningLine, PeerLine, StatusLine, WireEvent};
use hobnob::control::{Claim, Client, Host};
use hobnob::{DeliveryState, PathKind, PeerState};

use super::args::Common;
use super::exit::Exit;
use super::feed::{Feed, Told};
use super::output::{self, Output};
use super::session::Signals;
use super::show::{self, Names};
use super::{values, views};

/// Runs the node of the home until a signal.
pub(crate) async fn up(common: &Common, out: Output) -> anyhow::Result<Exit> {
    let mut signals = Signals::new()?;
    let home = common.home()?;
    let told = Told::since(values::now());
    let claimed = match home.claim()? {
        Claim::Ours(claimed) => claimed,
        Claim::Busy(pid) => {
            let process = pid.map(|pid| format!(", as process {pid}")).unwrap_or_default();
            bail!(
                "a node of {} already runs{process}: use it, stop it, or start another with --home DIR",
                home.data_dir().display()
            );
        }
    };
    let mut host = Host::start(claimed, common.config(&home)?).await?;
    let outcome = match Client::connect(&home).await {
        Ok(client) => tokio::select! {
            outcome = print(&client, told, out) => outcome,
            () = signals.any() => Ok(()),
        },
        Err(error) => Err(error.into()),
    };
    host.stop().await;
    if !out.json && outcome.is_ok() {
        output::line(&dated("stopped"))?;
    }
    outcome.map(|()| Exit::Done)
}

/// Prints where the node is, and then all that happens.
async fn print(client: &Client, mut told: Told, out: Output) -> anyhow::Result<()> {
    let mut feed = Feed::open(client, &told).await?;
    let mut names = Names::default();
    let mut shown = BTreeMap::new();
    let status: StatusLine = client.ask(Command::Status).await?;
    let mut listening = ListeningLine { peer: status.peer, addrs: status.addrs.clone() };
    introduce(&status, &listening, out)?;
    for peer in views::known_peers(client).await? {
        names.learn(&peer);
        if peer.state != PeerState::Offline {
            shown.insert(peer.peer.0, how(&peer));
            out.event(WireEvent::Peer(peer), |event| plain(event, &Names::default()))?;
        }
    }
    while let Some(event) = feed.next(&mut told).await? {
        match &event {
            WireEvent::Peer(peer) => {
                names.learn(peer);
                let same = shown.insert(peer.peer.0, how(peer)) == Some(how(peer));
                if same && !out.json {
                    continue;
                }
            }
            // Whether it has arrived is what matters; that it has left is for programs.
            WireEvent::Receipt(receipt) if receipt.state == DeliveryState::Sent && !out.json => continue,
            WireEvent::Listening(same) if *same == listening => continue,
            WireEvent::Listening(other) => listening = other.clone(),
            WireEvent::Message(_)
            | WireEvent::Receipt(_)
            | WireEvent::Sent(_)
            | WireEvent::Room(_)
            | WireEvent::Status(_)
            | WireEvent::Notice(_)
            | WireEvent::Lagged { .. }
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
    let listens = format!("{} ({}) listens on {}", status.nick, status.peer.0.short(), show::join(&status.addrs));
    output::line(&dated(&listens))?;
    output::line(&dated(&format!("ticket {}", status.ticket)))
}

/// What tells one line about a peer from the next: all but its round trip.
fn how(peer: &PeerLine) -> (String, PeerState, Option<PathKind>, Option<SocketAddr>) {
    (peer.name.clone(), peer.state, peer.path, peer.addr)
}

fn dated(text: &str) -> String {
    format!("{} {text}", values::local_second(values::now()))
}

fn plain(event: &WireEvent, names: &Names) -> Option<String> {
    match event {
        WireEvent::Message(message) => {
            Some(format!("{} {}", values::local_second(message.received_at), show::said(message, names)))
        }
        other => show::event(other, names).map(|text| dated(&text)),
    }
}
