//! `hobnob relay`: a relay, until a signal.

use anyhow::{Context, bail};
use hobnob_control::wire::Text;
use hobnob_local::home::{Claim, Claimed, Home};
use hobnob_local::socket::Listener;
use hobnob_relay::admission::{AllowList, Rule, Token};
use hobnob_relay::core::Limits;
use hobnob_relay::server::{Config, Server};
use hobnob_relay::status::Status;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::args::Run;
use super::lines::Event;
use super::{desk, show};
use crate::shared::common_flags::Common;
use crate::shared::exit_code::Exit;
use crate::shared::output::{self, Output};
use crate::shared::session::Signals;

/// Runs a relay until a signal, and then ends it in an orderly way.
pub(super) async fn run(
    common: &Common,
    home: &Home,
    run: Run,
    out: Output,
) -> anyhow::Result<Exit> {
    let mut signals = Signals::new()?;
    let claimed = claim(home)?;
    let status = match run.status {
        Some(addr) => Some(Status::bind(addr).await?),
        None => None,
    };
    let server = Server::start(config(common, home, run)?)?;
    let listener = Listener::bind(&claimed)
        .with_context(|| format!("can't make the control socket {:?}", home.socket()))?;
    let end = CancellationToken::new();
    introduce(&server, status.as_ref(), out)?;
    let desks = TaskTracker::new();
    desks.spawn(desk::serve(listener, server.clone(), end.clone()));
    if let Some(status) = status {
        desks.spawn(status.serve(server.clone(), end.clone()));
    }
    signals.any().await;
    end.cancel();
    desks.close();
    desks.wait().await;
    server.shutdown().await;
    Ok(Exit::Done)
}

fn claim(home: &Home) -> anyhow::Result<Claimed> {
    match home.claim()? {
        Claim::Ours(claimed) => Ok(claimed),
        Claim::Busy(pid) => {
            let process = pid
                .map(|pid| format!(", as process {pid}"))
                .unwrap_or_default();
            let dir = home.data_dir().display();
            bail!(
                "a relay of {dir} already runs{process}: stop it, or start another with --home DIR and --listen ADDR:PORT"
            )
        }
    }
}

fn config(common: &Common, home: &Home, run: Run) -> anyhow::Result<Config> {
    let rule = match (run.token_file, run.allow_file) {
        (Some(file), _) => Rule::Token(Token::read(&file)?),
        (None, Some(file)) => Rule::Listed(AllowList::read(&file)?),
        (None, None) => Rule::Open,
    };
    let default = Limits::default();
    let limits = Limits {
        peers: run.peers_max.unwrap_or(default.peers),
        roster: !run.no_roster,
        rate: run.rate.unwrap_or(default.rate),
        ..default
    };
    Ok(Config {
        listen: common.listen,
        home: home.data_dir().to_owned(),
        rule,
        limits,
    })
}

/// Says who and where the relay is, and how to use it.
fn introduce(server: &Server, status: Option<&Status>, out: Output) -> std::io::Result<()> {
    let addrs = server.addrs();
    let port = server.local_addr().port();
    let listening = Event::Listening {
        relay: Text(server.id()),
        addrs,
    };
    let status = status.map(|status| Event::Status {
        addr: status.local_addr(),
    });
    show::print(
        &[Some(listening), status]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>(),
        out,
    )?;
    output::say_on_terminal(&format!(
        "People elsewhere write this machine's public name or address instead; let UDP port {port} through its firewall and router."
    ));
    Ok(())
}
