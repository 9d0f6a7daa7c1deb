//! Shutdown, and restarts that peers notice.

use std::time::Duration;

use hobnob_protocol::relay::{ToRelay, close};
use hobnob_relay::admission::Rule;
use hobnob_relay::server::{Server, StartError};
use quinn::ConnectionError;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::client::{Client, within};
use crate::{Relay, loopback_addr, server_in};

#[tokio::test]
async fn a_stopping_relay_informs_its_peers() {
    let relay = Relay::start();
    let (ann, bob) = (
        Client::new(1, relay.addr()).await,
        Client::new(2, relay.addr()).await,
    );
    let ((mut anns, _), (mut bobs, _)) = (ann.joins(&[]).await, bob.joins(&[]).await);
    let (ended, ()) = tokio::join!(
        async { [anns.ends().await, bobs.ends().await] },
        within(relay.server.shutdown())
    );
    for ended in ended {
        assert!(
            ended.code == close::DRAINING && ended.reason.contains("stop"),
            "{ended:?}"
        );
    }
}

#[tokio::test]
async fn a_drained_relay_goes_on_and_refuses_peers_until_it_starts_again() {
    let mut relay = Relay::start();
    let (ann, bob) = (
        Client::new(1, relay.addr()).await,
        Client::new(2, relay.addr()).await,
    );
    let ((mut anns, _), (mut bobs, _)) = (ann.joins(&[]).await, bob.joins(&[]).await);
    let count = within(relay.server.drain()).await.unwrap();
    assert_eq!(count, 2);
    for link in [&mut anns, &mut bobs] {
        assert_eq!(link.ends().await.code, close::DRAINING);
    }
    assert_eq!(ann.is_refused("").await.code, close::DRAINING);
    assert_eq!(within(relay.server.drain()).await.unwrap(), 0);
    assert_eq!(relay.server.table().await.unwrap().connections, 0);
    relay.restart().await;
    Client::new(1, relay.addr()).await.joins(&[]).await;
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_it() {
    let relay = Relay::start();
    let home = tempfile::tempdir().unwrap();
    let config = hobnob_relay::server::Config {
        listen: Some(relay.server.local_addr()),
        home: home.path().to_owned(),
        rule: Rule::Open,
        limits: hobnob_relay::core::Limits::default(),
        tcp: hobnob_relay::server::TcpConfig::default(),
        inherited: hobnob_relay::server::Inherited::default(),
        mailbox: None,
        fleet: None,
    };
    let error = Server::start(config).unwrap_err();
    assert!(
        matches!(error, StartError::Taken(addr) if addr == relay.server.local_addr()),
        "{error}"
    );
}

/// A relay in a separate runtime, which can be killed.
struct KillableRelay {
    runtime: Runtime,
    server: Server,
}

impl KillableRelay {
    fn start(home: &TempDir, listen: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let server = {
            let _inside = runtime.enter();
            server_in(home, listen.parse().unwrap(), Rule::Open)
        };
        Self { runtime, server }
    }

    /// Like kill -9: nothing is sent any more, and the port is free.
    fn kill(self) -> Server {
        self.runtime.shutdown_timeout(Duration::from_secs(5));
        self.server
    }
}

#[tokio::test]
async fn a_relay_is_healthy_as_long_as_its_own_port_forwards() {
    let relay = Relay::start();
    relay.server.probe().await.unwrap();
    relay.server.shutdown().await;
    let error = relay.server.probe().await.unwrap_err();
    assert!(
        error.to_string().contains("the relay's own port"),
        "{error}"
    );
}

#[test]
fn a_restart_is_noticed_within_two_seconds() {
    let (home, clients) = (tempfile::tempdir().unwrap(), Runtime::new().unwrap());
    let relay = KillableRelay::start(&home, "[::]:0");
    let addr = loopback_addr(&relay.server);
    let (ann, mut link) = clients.block_on(async {
        let ann = Client::new(1, addr).await;
        let (link, _) = ann.joins(&[]).await;
        (ann, link)
    });
    drop(relay.kill());
    let again = KillableRelay::start(&home, &format!("[::]:{}", addr.port()));
    clients.block_on(async {
        link.says(&ToRelay::Heartbeat(0)).await;
        let noticed = tokio::time::timeout(Duration::from_secs(2), link.connection.closed()).await;
        assert!(matches!(noticed, Ok(ConnectionError::Reset)), "{noticed:?}");
        ann.joins(&[]).await;
    });
    drop(again.kill());
}
