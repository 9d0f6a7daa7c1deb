//! The relay that `hobnob up` runs for the contacts of its node: `--relay-for contacts`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hobnob::{Config, LentRelay, Node, RelayAt, is_public};
use hobnob_control::wire::{LINES_VERSION, LentRelayLine, LentRelayPeer, Text, to_line};
use hobnob_control::{Home, Host};
use hobnob_relay_app::PublicName;
use hobnob_relay_app::for_contacts::{CONTACTS_MAX, ContactRelay, Options, Running};
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::args::LendingArgs;
use crate::shared::exit_code::Usage;
use crate::shared::output::{self, Output};
use crate::shared::settings::{RelayFor, Settings};

/// How often the addresses of this machine are looked at.
const ADDRS_EVERY: Duration = Duration::from_secs(10);

/// Where to run a relay for contacts.
#[derive(Debug)]
pub(super) struct Lending {
    listen: Option<SocketAddr>,
    name: Option<PublicName>,
}

/// The running relay, or none.
pub(super) struct Lent(Option<(Running, JoinHandle<()>)>);

/// The relay, and where contacts reach it.
#[derive(Debug, Clone)]
struct Place {
    relay: ContactRelay,
    /// What the user calls it.
    name: Option<RelayAt>,
}

/// One line of `hobnob up --json` about the relay.
#[derive(Debug, Serialize)]
struct LendsLine {
    v: u8,
    event: &'static str,
    relay: Text<hobnob::DeviceId>,
    listens: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Text<RelayAt>>,
}

impl Lending {
    /// What the flags say, or else the settings. `None`: this node is a relay for nobody.
    pub(super) fn read(home: &Home, args: LendingArgs) -> Result<Option<Self>, Usage> {
        let settings = Settings::of(home)?;
        let set = settings.relay_for.map(|Text(relay_for)| relay_for);
        match args.relay_for.or(set).unwrap_or(RelayFor::Nobody) {
            RelayFor::Nobody => Ok(None),
            RelayFor::Contacts => Ok(Some(Self {
                listen: args.relay_listen.or(settings.relay_listen),
                name: args
                    .relay_name
                    .or(settings.relay_name.map(|Text(name)| name)),
            })),
        }
    }

    /// Checks and completes the configuration of the node that lends or does not.
    pub(super) fn configure(lending: Option<&Self>, mut config: Config) -> Result<Config, Usage> {
        if lending.is_some() && config.proxy.only {
            return Err(Usage(
                "a node with proxy-only hides its address, so it can't be a relay: leave out --relay-for and the setting relay-for"
                    .to_owned(),
            ));
        }
        config.lends_relay = lending.is_some();
        Ok(config)
    }
}

impl Lent {
    /// Starts the relay, if there is to be one, and tells the node's contacts where it is.
    pub(super) async fn start(
        lending: Option<Lending>,
        home: &Home,
        host: &Host,
        out: Output,
    ) -> anyhow::Result<Self> {
        let Some(Lending { listen, name }) = lending else {
            return Ok(Self(None));
        };
        let node = host.node();
        let running = Running::start(Options {
            home: home.data_dir().to_owned(),
            listen,
            node: node.id().only_device(),
            contacts: node.contacts(),
        })?;
        let relay = running.relay().clone();
        let port = relay.listens().port();
        let name = name.map(|name| name.at(port).into());
        let place = Place { relay, name };
        let at = place.at();
        let told = async {
            place.tell(node, at.clone()).await?;
            place.print(at.clone(), out)?;
            anyhow::Ok(())
        };
        if let Err(error) = told.await {
            running.stop().await;
            return Err(error);
        }
        let shown = place.clone();
        host.shows_lent_relay(Arc::new(move || {
            let place = shown.clone();
            Box::pin(async move { place.line().await })
        }));
        let telling = place.tell_changes(node.clone(), at);
        Ok(Self(Some((running, tokio::spawn(telling)))))
    }

    /// Disconnects the contacts, and stops the relay.
    pub(super) async fn stop(self) {
        if let Some((running, telling)) = self.0 {
            telling.abort();
            running.stop().await;
        }
    }
}

impl Place {
    /// Where contacts reach the relay: as the user says, or at a public address of this machine.
    fn at(&self) -> Option<RelayAt> {
        let public = || {
            let mut addrs = self.relay.addrs().into_iter();
            addrs.find(|addr| is_public(addr.ip()))
        };
        let at = self.name.clone();
        at.or_else(|| public().map(|addr| hobnob::HostPort::from(addr).into()))
    }

    async fn tell(&self, node: &Node, at: Option<RelayAt>) -> Result<(), hobnob::NodeError> {
        node.lend_relay(LentRelay {
            id: self.relay.id(),
            at,
            local: self.relay.local(),
        })
        .await
    }

    /// Tells contacts when the relay's address has changed, until the node has stopped.
    async fn tell_changes(self, node: Node, mut told: Option<RelayAt>) {
        loop {
            sleep(ADDRS_EVERY).await;
            let at = self.at();
            if at == told {
                continue;
            }
            if self.tell(&node, at.clone()).await.is_err() {
                return;
            }
            told = at;
        }
    }

    fn print(&self, at: Option<RelayAt>, out: Output) -> std::io::Result<()> {
        let listens = self.relay.listens();
        if out.json {
            return output::raw(&to_line(&LendsLine {
                v: LINES_VERSION,
                event: "lends",
                relay: Text(self.relay.id()),
                listens,
                at: at.map(Text),
            }));
        }
        output::line(&match at {
            Some(at) => format!(
                "relay for contacts: {at} (UDP and TCP port {} must be open)",
                listens.port()
            ),
            None => format!(
                "relay for contacts: on {listens}, but this machine has no public address: forward the port at your router, and name its address with --relay-name"
            ),
        })
    }

    /// What the relay does, for `status`. Nothing once it has stopped.
    async fn line(&self) -> Option<LentRelayLine> {
        let served = self.relay.served().await?;
        let peer = |(peer, bytes): (hobnob::DeviceId, u64)| LentRelayPeer {
            peer: Text(peer.person()),
            bytes,
        };
        Some(LentRelayLine {
            id: Text(self.relay.id()),
            at: self.at().map(Text),
            listens: self.relay.listens(),
            peers: served.contacts.into_iter().map(peer).collect(),
            peers_max: u64::try_from(CONTACTS_MAX).unwrap_or(u64::MAX),
            bytes: served.bytes,
        })
    }
}
