//! Runs a relay until a signal arrives.

use std::net::SocketAddr;

use anyhow::{Context, anyhow, bail};
use hobnob_local::home::{Claim, Claimed, Home};
use hobnob_local::json::Text;
use hobnob_local::output;
use hobnob_local::signals::Signals;
use hobnob_local::socket::Listener;
use hobnob_relay::admission::{AllowList, FileError, Rule, Token};
use hobnob_relay::core::Limits;
use hobnob_relay::server::{Config, PROXIES, Server, TcpConfig, raise_descriptor_limit};
use hobnob_relay::status::Status;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin_lines::RelayEvent;
use crate::arguments::RunFlags;
use crate::{admin_socket, display, wording};

/// Runs a relay until a signal arrives, then shuts it down.
pub(crate) async fn run(
    home: &Home,
    flags: RunFlags,
    listen: Option<SocketAddr>,
    json: bool,
) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    raise_descriptor_limit();
    let claimed = claim(home)?;
    let status = match flags.status {
        Some(addr) => {
            let status = Status::bind(addr).await;
            Some(status.map_err(|error| anyhow!(wording::status_error(&error)))?)
        }
        None => None,
    };
    let config =
        config(home, flags, listen).map_err(|error| anyhow!(wording::file_error(&error)))?;
    let server = Server::start(config).map_err(|error| anyhow!(wording::start_error(&error)))?;
    let listener = Listener::bind(&claimed)
        .with_context(|| format!("can't create the control socket {:?}", home.socket()))?;
    let stop = CancellationToken::new();
    announce(&server, status.as_ref(), json)?;
    let services = TaskTracker::new();
    services.spawn(admin_socket::serve(listener, server.clone(), stop.clone()));
    if let Some(status) = status {
        services.spawn(status.serve(server.clone(), stop.clone()));
    }
    signals.any().await;
    // The operator's requests and the status page end first: they need the server.
    stop.cancel();
    services.close();
    services.wait().await;
    server.shutdown().await;
    Ok(())
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
                "a relay in {dir} already runs{process}: stop it, or start another with --home DIR and --listen ADDR:PORT"
            )
        }
    }
}

fn config(home: &Home, flags: RunFlags, listen: Option<SocketAddr>) -> Result<Config, FileError> {
    let proxies = flags.behind_proxy.map(|proxies| {
        if proxies.is_empty() {
            PROXIES.to_vec()
        } else {
            proxies
        }
    });
    let tcp = TcpConfig {
        at_udp_port: !flags.no_tcp,
        also: flags.tcp,
        certificate: flags.tls_cert.zip(flags.tls_key),
        proxies,
    };
    let rule = match (flags.token_file, flags.allow_file) {
        (Some(file), _) => Rule::Token(Token::read(&file)?),
        (None, Some(file)) => Rule::Listed(AllowList::read(&file)?),
        (None, None) => Rule::Open,
    };
    let default = Limits::default();
    let limits = Limits {
        peers: flags.peers_max.unwrap_or(default.peers),
        roster: !flags.no_roster,
        rate: flags.rate.unwrap_or(default.rate),
        ..default
    };
    Ok(Config {
        listen,
        home: home.data_dir().to_owned(),
        rule,
        limits,
        tcp,
    })
}

/// Prints the relay's id and addresses, and how to use them.
fn announce(server: &Server, status: Option<&Status>, json: bool) -> std::io::Result<()> {
    let listening = RelayEvent::Listening {
        relay: Text(server.id()),
        addrs: server.addrs(),
    };
    let status = status.map(|status| RelayEvent::Status {
        addr: status.local_addr(),
    });
    let events: Vec<RelayEvent> = [Some(listening), status].into_iter().flatten().collect();
    display::print(&events, json)?;
    let port = server.local_addr().port();
    output::say_on_terminal(&format!(
        "From other networks, use this machine's public name or address instead. Its firewall and router must let UDP port {port} through, and the same TCP port for nodes whose network blocks UDP."
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Arguments;
    use clap::Parser;

    fn configured(flags: &str) -> Result<Config, FileError> {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path()).unwrap();
        let words = ["hobnob-relay"].into_iter().chain(flags.split_whitespace());
        let arguments = Arguments::parse_from(words);
        config(&home, arguments.run, arguments.listen)
    }

    #[test]
    fn flags_change_the_defaults() {
        let config = configured("--no-roster --rate 10M --peers-max 5").unwrap();
        assert_eq!(config.rule, Rule::Open);
        assert_eq!(config.limits.peers, 5);
        assert_eq!(config.limits.rate, 10_000_000);
        assert!(!config.limits.roster);
        assert_eq!(configured("").unwrap().limits, Limits::default());
    }

    #[test]
    fn a_token_file_that_does_not_exist_is_an_error() {
        let error = configured("--token-file /nowhere").unwrap_err();
        assert!(matches!(error, FileError::Unreadable { .. }), "{error}");
    }
}
