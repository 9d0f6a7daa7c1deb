//! A real relay, and real QUIC clients, over loopback.

#![expect(clippy::unwrap_used, reason = "a failure here is the test's failure")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test waits for one kind of frame, whatever others come"
)]

mod admission;
mod browser;
mod client;
#[cfg(feature = "fleet")]
mod fleet;
mod hostile;
mod operator;
mod routing;
mod sleep;
mod socket;
mod status;
mod stop;
mod streams;

use std::net::{Ipv4Addr, SocketAddr};

use hobnob_relay::admission::Rule;
use hobnob_relay::core::Limits;
use hobnob_relay::server::{Config, Inherited, Server, TcpConfig};
use tempfile::TempDir;

/// A relay with a home of its own, on a free port of all addresses.
struct Relay {
    server: Server,
    home: TempDir,
}

impl Relay {
    fn start() -> Self {
        Self::with(Rule::Open)
    }

    fn with(rule: Rule) -> Self {
        let home = tempfile::tempdir().unwrap();
        Self {
            server: server_in(&home, "[::]:0".parse().unwrap(), rule),
            home,
        }
    }

    fn with_limits(limits: Limits) -> Self {
        let home = tempfile::tempdir().unwrap();
        let config = Config {
            limits,
            ..config_in(&home, "[::]:0".parse().unwrap(), Rule::Open)
        };
        Self {
            server: Server::start(config).unwrap(),
            home,
        }
    }

    /// The address for clients.
    fn addr(&self) -> SocketAddr {
        loopback_addr(&self.server)
    }

    /// Shuts down and starts again with the same home.
    async fn restart(&mut self) {
        self.server.shutdown().await;
        self.server = server_in(&self.home, "[::]:0".parse().unwrap(), Rule::Open);
    }
}

fn server_in(home: &TempDir, listen: SocketAddr, rule: Rule) -> Server {
    Server::start(config_in(home, listen, rule)).unwrap()
}

fn config_in(home: &TempDir, listen: SocketAddr, rule: Rule) -> Config {
    Config {
        listen: Some(listen),
        home: home.path().to_owned(),
        rule,
        limits: Limits::default(),
        tcp: TcpConfig::default(),
        inherited: Inherited::default(),
        mailbox: None,
        fleet: None,
    }
}

fn loopback_addr(server: &Server) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, server.local_addr().port()).into()
}
