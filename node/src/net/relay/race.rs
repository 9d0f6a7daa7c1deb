//! Finds a way to a relay: UDP first, then streams, over all its addresses side by side
//! (RFC 8305).
//!
//! An attempt has succeeded when the QUIC handshake has proved the relay's identity. The caller
//! registers on the first one. If the relay does not answer there, it takes the next one.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hobnob_core::Rng;
use hobnob_core::carrier::Carrier;
use hobnob_core::diagnosis::Answer;
use hobnob_protocol::{DeviceId, RelayAt};
use hobnob_transport::stream::handshake;
use hobnob_transport::stream::proxy::Proxy;
use hobnob_transport::tls;
use quinn::Connection;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::error::LinkDown;
use super::stream::{PORT_HTTPS, RelayStream, StreamTo};
use crate::net::endpoint::Endpoint;
use crate::net::probe;

/// How long an attempt may take.
pub(super) const DIAL_LIMIT: Duration = Duration::from_secs(5);

/// Time between the first attempts with one carrier and the next.
const CARRIER_DELAY: Duration = Duration::from_millis(250);

/// Time between attempts to one address and the next.
const ADDRESS_DELAY: Duration = Duration::from_millis(50);

/// The longest pause between two looks whether UDP works.
pub(super) const UDP_PAUSE_MAX: Duration = Duration::from_secs(60);

/// A way to a relay: its address for UDP, or where to open a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    Udp(SocketAddr),
    Stream(StreamTo),
}

/// The carrier that worked last, and its port.
pub(super) type Preferred = (Carrier, u16);

/// Where a relay is, and how this node may reach it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Map<'a> {
    pub(super) at: &'a RelayAt,
    /// The addresses of its name. Through a proxy none is needed.
    pub(super) addrs: &'a [SocketAddr],
    /// The proxy for TCP connections.
    pub(super) proxy: Option<&'a Proxy>,
    /// Whether UDP may be used.
    pub(super) udp: bool,
}

/// The ways to a relay, each with the time from the start of the race to its attempt. `preferred`
/// starts at once.
pub(super) fn ways(map: Map<'_>, preferred: Option<Preferred>) -> Vec<(Duration, Way)> {
    let Map { at, addrs, .. } = map;
    let path = at.path().unwrap_or(handshake::PATH);
    let (host, port) = (&at.host_port().host, at.host_port().port);
    let by_proxy = [SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)];
    let mut carriers = vec![(Carrier::Tcp, port)];
    if at.path().is_none() {
        if map.udp {
            carriers.insert(0, (Carrier::Udp, port));
        }
        if port != PORT_HTTPS {
            carriers.push((Carrier::Tcp, PORT_HTTPS));
        }
    }
    let mut ways = Vec::new();
    for (rank, carrier) in (0..).zip(&carriers) {
        let first = if preferred == Some(*carrier) {
            Duration::ZERO
        } else {
            CARRIER_DELAY * rank
        };
        let addrs = match (carrier.0, map.proxy) {
            (Carrier::Tcp, Some(_)) => &by_proxy[..],
            (Carrier::Udp, _) | (Carrier::Tcp, None) => addrs,
        };
        for (n, addr) in (0..).zip(addrs) {
            let mut addr = *addr;
            addr.set_port(carrier.1);
            let way = match carrier.0 {
                Carrier::Udp => Way::Udp(addr),
                Carrier::Tcp => Way::Stream(StreamTo {
                    addr,
                    host: host.clone(),
                    path: path.to_owned(),
                    proxy: map.proxy.cloned(),
                }),
            };
            ways.push((first + ADDRESS_DELAY * n, way));
        }
    }
    ways
}

/// The ways among these that need no UDP.
pub(super) fn without_udp(ways: Vec<(Duration, Way)>) -> Vec<(Duration, Way)> {
    let streams = ways
        .into_iter()
        .filter(|(_, way)| matches!(way, Way::Stream(_)));
    streams
        .map(|(after, way)| (after.saturating_sub(CARRIER_DELAY), way))
        .collect()
}

/// A connection with a relay that has proved its identity.
#[derive(Debug)]
pub(super) struct Shaken {
    pub(super) connection: Connection,
    pub(super) id: DeviceId,
    /// The relay's address on the way. Of a stream, that of the TCP connection.
    pub(super) addr: SocketAddr,
    /// The stream that carries the connection, unless UDP does.
    pub(super) stream: Option<Arc<RelayStream>>,
}

impl Shaken {
    pub(super) fn carrier(&self) -> Carrier {
        Carrier::of_stream(self.stream.is_some())
    }
}

/// Attempts that run side by side. Dropping it ends those that still run.
#[derive(Debug, Default)]
pub(super) struct Race {
    attempts: JoinSet<(Way, Result<Shaken, LinkDown>)>,
}

impl Race {
    /// Begins an attempt by each of these ways. Each may take as long as `limit`.
    pub(super) fn add(
        &mut self,
        endpoint: &Endpoint,
        expected: Option<DeviceId>,
        ways: Vec<(Duration, Way)>,
        limit: Duration,
        rng: &mut Rng,
    ) {
        for (after, way) in ways {
            let (endpoint, rng) = (endpoint.clone(), Rng::new(rng.draw()));
            self.attempts.spawn(async move {
                sleep(after).await;
                let attempt = timeout(limit, dial(&endpoint, expected, &way, rng)).await;
                let result = attempt.unwrap_or(Err(LinkDown::Unreachable));
                (way, result)
            });
        }
    }

    /// Looks again and again whether UDP works, first after this pause. The attempt ends when the
    /// relay has proved its identity over UDP.
    pub(super) fn back_to_udp(
        endpoint: &Endpoint,
        relay: DeviceId,
        addrs: Vec<SocketAddr>,
        mut pause: Duration,
        rng: &mut Rng,
    ) -> Self {
        let endpoint = endpoint.clone();
        let mut rng = Rng::new(rng.draw());
        let mut attempts = JoinSet::new();
        attempts.spawn(async move {
            loop {
                sleep(pause).await;
                for addr in &addrs {
                    if probe::udp(*addr).await != Answer::Answered {
                        continue;
                    }
                    let (way, rng) = (Way::Udp(*addr), Rng::new(rng.draw()));
                    if let Ok(shaken) = dial(&endpoint, Some(relay), &way, rng).await {
                        return (way, Ok(shaken));
                    }
                }
                pause = UDP_PAUSE_MAX.min((pause * 2).max(CARRIER_DELAY));
            }
        });
        Self { attempts }
    }

    /// Adds an attempt that continues where another one ended.
    pub(super) fn go_on(
        &mut self,
        attempt: impl Future<Output = (Way, Result<Shaken, LinkDown>)> + Send + 'static,
    ) {
        self.attempts.spawn(attempt);
    }

    /// The outcome of the next attempt that ends. `None`: all have ended.
    pub(super) async fn next(&mut self) -> Option<(Way, Result<Shaken, LinkDown>)> {
        let ended = self.attempts.join_next().await?;
        Some(ended.expect("nothing in an attempt panics, and nobody aborts one"))
    }
}

/// One attempt.
pub(super) async fn dial(
    endpoint: &Endpoint,
    expected: Option<DeviceId>,
    way: &Way,
    rng: Rng,
) -> Result<Shaken, LinkDown> {
    let (connection, addr, stream) = match way {
        Way::Udp(addr) => {
            let connection = endpoint.dial_relay(*addr, expected, DIAL_LIMIT).await?;
            (connection, *addr, None)
        }
        Way::Stream(to) => {
            let opened = RelayStream::open(endpoint, to, rng).await;
            let (stream, peer) = opened.map_err(|error| {
                tracing::debug!(to = %to.addr, %error, "no stream to a relay");
                LinkDown::Unreachable
            })?;
            let dialed = endpoint.dial_relay_by_stream(stream.addr, expected, DIAL_LIMIT);
            let addr = SocketAddr::new(peer.ip(), to.addr.port());
            (dialed.await?, addr, Some(Arc::new(stream)))
        }
    };
    let id = tls::peer_id(connection.peer_identity())
        .ok_or(LinkDown::Lost("it showed no identity".to_owned()))?;
    Ok(Shaken {
        connection,
        id,
        addr,
        stream,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(at: &str, addrs: &[&str], preferred: Option<Preferred>) -> Vec<String> {
        let addrs: Vec<_> = addrs.iter().map(|addr| addr.parse().unwrap()).collect();
        let map = Map {
            at: &at.parse().unwrap(),
            addrs: &addrs,
            proxy: None,
            udp: true,
        };
        show(ways(map, preferred))
    }

    fn show(ways: Vec<(Duration, Way)>) -> Vec<String> {
        let show = |(after, way): (Duration, Way)| match way {
            Way::Udp(addr) => format!("{} udp {addr}", after.as_millis()),
            Way::Stream(to) => format!(
                "{} tcp {} {}{}",
                after.as_millis(),
                to.addr,
                to.host,
                to.path
            ),
        };
        ways.into_iter().map(show).collect()
    }

    #[test]
    fn udp_starts_first_then_tcp_on_its_port_then_that_of_https() {
        let addrs = ["[2001:db8::1]:4627", "192.0.2.1:4627"];
        let expected = [
            "0 udp [2001:db8::1]:4627",
            "50 udp 192.0.2.1:4627",
            "250 tcp [2001:db8::1]:4627 r.example/hobnob",
            "300 tcp 192.0.2.1:4627 r.example/hobnob",
            "500 tcp [2001:db8::1]:443 r.example/hobnob",
            "550 tcp 192.0.2.1:443 r.example/hobnob",
        ];
        assert_eq!(shown("r.example:4627", &addrs, None), expected);
    }

    #[test]
    fn the_carrier_that_worked_last_starts_at_once_beside_udp() {
        let preferred = Some((Carrier::Tcp, 443));
        let expected = [
            "0 udp 192.0.2.1:4627",
            "250 tcp 192.0.2.1:4627 192.0.2.1/hobnob",
            "0 tcp 192.0.2.1:443 192.0.2.1/hobnob",
        ];
        assert_eq!(
            shown("192.0.2.1:4627", &["192.0.2.1:4627"], preferred),
            expected
        );
    }

    #[test]
    fn a_relay_at_the_port_of_https_is_dialed_once_by_tcp() {
        let expected = [
            "0 udp 192.0.2.1:443",
            "250 tcp 192.0.2.1:443 r.example/hobnob",
        ];
        assert_eq!(shown("r.example:443", &["192.0.2.1:443"], None), expected);
    }

    #[test]
    fn a_websocket_behind_a_reverse_proxy_is_the_only_way() {
        let expected = ["0 tcp 192.0.2.1:443 r.example/a/b"];
        assert_eq!(
            shown("wss://r.example/a/b", &["192.0.2.1:443"], None),
            expected
        );
    }

    #[test]
    fn a_proxy_resolves_the_name() {
        let proxy = "http://10.0.0.1:3128".parse().unwrap();
        let map = Map {
            at: &"r.example:4627".parse().unwrap(),
            addrs: &[],
            proxy: Some(&proxy),
            udp: false,
        };
        let expected = [
            "0 tcp 0.0.0.0:4627 r.example/hobnob",
            "250 tcp 0.0.0.0:443 r.example/hobnob",
        ];
        assert_eq!(show(ways(map, None)), expected);
    }

    #[test]
    fn without_udp_the_streams_start_at_once() {
        let map = Map {
            at: &"192.0.2.1:4627".parse().unwrap(),
            addrs: &["192.0.2.1:4627".parse().unwrap()],
            proxy: None,
            udp: true,
        };
        let ways = ways(map, None);
        let expected = [
            "0 tcp 192.0.2.1:4627 192.0.2.1/hobnob",
            "250 tcp 192.0.2.1:443 192.0.2.1/hobnob",
        ];
        assert_eq!(show(without_udp(ways)), expected);
    }
}
