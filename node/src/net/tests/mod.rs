//! Endpoints and sessions over real UDP on loopback and real TLS.

mod close;
mod endpoint;
mod identity;
mod session;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hobnob_protocol::SignedRecord;
use hobnob_protocol::frame::Profile;
use hobnob_protocol::{DeviceId, Hello, SecretKey, VERSION};
use quinn::Connection;
use tokio::sync::mpsc;

use super::counters::Counters;
use super::endpoint::{Accepted, Endpoint};
use super::session::{GreetError, Greeted, greet};
use super::socket::{BoundSocket, bind};

/// Nothing here takes this long unless it hangs.
const LIMIT: Duration = Duration::from_secs(20);

pub(crate) struct Node {
    pub(crate) id: DeviceId,
    endpoint: Endpoint,
    incoming: mpsc::Receiver<Accepted>,
    addr: SocketAddr,
    counters: Arc<Counters>,
}

/// A node on a dual-stack socket, to be dialed by IPv4.
pub(crate) fn node(seed: u8) -> Node {
    node_at(seed, "[::]:0".parse().unwrap())
}

fn node_at(seed: u8, listen: SocketAddr) -> Node {
    node_on(seed, bind(Some(listen)).unwrap().0)
}

fn node_on(seed: u8, bound: BoundSocket) -> Node {
    let key = SecretKey::from_seed([seed; 32]);
    let (endpoint, incoming) = Endpoint::new(&bound, &key).unwrap();
    let addr = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), bound.local_addr.port());
    Node {
        id: key.id(),
        endpoint,
        incoming,
        addr,
        counters: bound.counters,
    }
}

impl Node {
    /// Dials another node; returns both ends.
    async fn dials(&self, other: &mut Node) -> (Connection, Accepted) {
        self.dials_at(other.addr, other).await
    }

    async fn dials_at(&self, addr: SocketAddr, other: &mut Node) -> (Connection, Accepted) {
        let (dialed, accepted) = tokio::join!(
            self.endpoint.dial(addr, Some(other.id), LIMIT),
            within(other.incoming.recv())
        );
        (dialed.unwrap(), accepted.unwrap())
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("it hangs")
}

fn hello(nick: &str) -> Hello {
    let profile = Profile {
        // A session does not check it. The engine does.
        record: SignedRecord::from_bytes(nick.as_bytes().to_vec()),
        ..Profile::default()
    };
    Hello {
        version: VERSION,
        features: 0,
        instance: 1,
        started_at_ms: 2,
        clock_ms: 3,
        profile,
    }
}

async fn greeted(connection: Connection, dialed: bool, nick: &str) -> Result<Greeted, GreetError> {
    greet(connection, dialed, |_, _| hello(nick), LIMIT).await
}

/// A dials B, and both say Hello.
pub(crate) async fn meet(a: &Node, b: &mut Node) -> (Greeted, Greeted) {
    let (dialed, accepted) = a.dials(b).await;
    let (a, b) = tokio::join!(
        greeted(dialed, true, "dialer"),
        greeted(accepted.connection, false, "acceptor")
    );
    (a.unwrap(), b.unwrap())
}
