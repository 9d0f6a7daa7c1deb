//! Runs a relay until a signal arrives.

use std::io::{self, IsTerminal};

use anyhow::{Context, anyhow, bail};
use hobnob_local::home::{Claim, Claimed, Home};
use hobnob_local::json::Text;
use hobnob_local::output;
use hobnob_local::signals::{Kind, Signals};
use hobnob_local::socket::{Access, Listener};
use hobnob_relay::server::{Config, LogEvent, Server, raise_descriptor_limit};
use hobnob_relay::status::Status;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin_lines::RelayEvent;
use crate::arguments::Arguments;
use crate::exit_code::UsageError;
use crate::settings::{self, Settings};
use crate::{activation, admin_socket, display, event_log, groups, wording};

/// Runs a relay until a signal arrives, then shuts it down. `given`: the command line alone.
pub(crate) async fn run(home: &Home, given: Arguments) -> anyhow::Result<()> {
    let inherited = activation::inherited()?;
    let mut signals = Signals::new()?;
    raise_descriptor_limit();
    let mut claimed = claim(home)?;
    let mut settings = Settings::read(given)?;
    let arguments = settings.arguments.clone();
    let access = access(&arguments)?;
    if inherited.udp.is_some() && arguments.listen.is_some() {
        return Err(UsageError(
            "the service manager has bound the UDP socket: leave out --listen".to_owned(),
        )
        .into());
    }
    let status = match arguments.run.status {
        Some(addr) => {
            let status = Status::bind(addr).await;
            Some(status.map_err(|error| anyhow!(wording::status_error(&error)))?)
        }
        None => None,
    };
    let config = Config {
        inherited,
        ..settings::config(&settings, home)
    };
    let server = Server::start(config).map_err(|error| anyhow!(wording::start_error(&error)))?;
    let listener = admin_listener(&mut claimed, &arguments, access)?;
    let stop = CancellationToken::new();
    announce(&server, status.as_ref(), &arguments)?;
    let services = TaskTracker::new();
    services.spawn(event_log::print(server.log_events(), stop.clone()));
    if arguments.run.public_name.is_none() {
        services.spawn(public_addresses(
            server.log_events(),
            arguments.json,
            stop.clone(),
        ));
    }
    services.spawn(admin_socket::serve(
        listener,
        access,
        server.clone(),
        stop.clone(),
    ));
    if let Some(status) = status {
        services.spawn(status.serve(server.clone(), stop.clone()));
    }
    // The system sends SIGHUP also when it closes the terminal that a program was started from.
    let on_terminal = io::stdin().is_terminal();
    while signals.next().await == Kind::Hangup && !on_terminal {
        reload(&mut settings, &server).await;
    }
    // The operator's requests and the status page end first: they need the server.
    stop.cancel();
    services.close();
    services.wait().await;
    server.shutdown().await;
    Ok(())
}

/// Prints the addresses that only peers know, until `stop` is cancelled.
async fn public_addresses(
    mut events: broadcast::Receiver<LogEvent>,
    json: bool,
    stop: CancellationToken,
) {
    while let Some(event) = stop.run_until_cancelled(events.recv()).await {
        match event {
            Ok(LogEvent::ReachedAt(addr)) => {
                // A closed standard output does not end the relay.
                let _closed = display::print(&[RelayEvent::ReachedAt { addr }], json);
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// Reads all files again and reports what changed.
async fn reload(settings: &mut Settings, server: &Server) {
    match settings.reload(server).await {
        Ok(changes) if changes.is_empty() => {
            output::say("hobnob relay: read all files again: nothing has changed");
        }
        Ok(changes) => {
            for change in changes {
                output::say(&format!("hobnob relay: changed: {change}"));
            }
        }
        Err(error) => output::say(&format!(
            "hobnob relay: read the files again, but kept the old settings: {error:#}"
        )),
    }
}

/// Which other users the control socket serves.
fn access(arguments: &Arguments) -> Result<Access, UsageError> {
    let group = match &arguments.run.admin_group {
        Some(_) if arguments.admin_socket.is_none() => {
            return Err(UsageError(
                "--admin-group needs --admin-socket PATH: the relay's home is closed to other users"
                    .to_owned(),
            ));
        }
        Some(group) => Some(groups::id(group)?),
        None => None,
    };
    Ok(Access { group })
}

fn admin_listener(
    claimed: &mut Claimed,
    arguments: &Arguments,
    access: Access,
) -> anyhow::Result<Listener> {
    let (path, listener) = match &arguments.admin_socket {
        Some(path) => {
            let path = std::path::absolute(path)?;
            claimed.note_socket(&path)?;
            let listener = Listener::bind_at(&path, access);
            (path, listener)
        }
        None => (claimed.home().socket().to_owned(), Listener::bind(claimed)),
    };
    let advice = match &listener {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => ": another relay uses it",
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && access.group.is_some() => {
            ": the user of the relay must be able to write to its folder, and be a member of the --admin-group"
        }
        Ok(_) | Err(_) => "",
    };
    listener.with_context(|| format!("can't create the control socket {path:?}{advice}"))
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

/// Prints the relay's id and addresses, and how to use them.
fn announce(
    server: &Server,
    status: Option<&Status>,
    arguments: &Arguments,
) -> std::io::Result<()> {
    let port = server.local_addr().port();
    let public = arguments.run.public_name.as_ref();
    let listening = RelayEvent::Listening {
        relay: Text(server.id()),
        addrs: server.addrs(),
        public: public.map(|name| Text(name.at(port))),
    };
    let status = status.map(|status| RelayEvent::Status {
        addr: status.local_addr(),
    });
    let events: Vec<RelayEvent> = [Some(listening), status].into_iter().flatten().collect();
    display::print(&events, arguments.json)?;
    let advice = match public {
        Some(_) => "",
        None => {
            "From other networks, use this machine's public name or address instead, and start the relay with --public-name to print it. "
        }
    };
    output::say_on_terminal(&format!(
        "{advice}This machine's firewall and router must let UDP port {port} through, and the same TCP port for nodes whose network blocks UDP."
    ));
    Ok(())
}
