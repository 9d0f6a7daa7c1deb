//! Thousands of peers that are registered and say nothing but heartbeats. Each has its own
//! identity; some share a socket.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use hobnob_protocol::relay::{ALPN_RELAY, ToRelay};
use hobnob_transport::tls::{Credentials, SERVER_NAME};
use hobnob_protocol::{PeerId, SecretKey};
use hobnob_tests::lab::Stopwatch;
use quinn::{ClientConfig, Endpoint, EndpointConfig, TokioRuntime, TransportConfig, VarInt};
use tokio::task::JoinSet;

use super::peer::Control;

/// Peers of one socket.
const PER_SOCKET: usize = 50;

/// Sockets of one network, as far as the relay can tell: it takes 2,000 peers from each.
const PER_NETWORK: usize = 30;

/// How long a peer that was turned away waits at most before it tries again, at first; it doubles.
const AGAIN_WITHIN: Duration = Duration::from_secs(1);

/// How long a peer waits for its welcome before it tries again.
const DIAL_LIMIT: Duration = Duration::from_secs(5);

/// How often.
const TRIES: usize = 8;

/// Until all must have registered.
const LIMIT: Duration = Duration::from_secs(100);

/// Those who are to come.
#[derive(Debug)]
pub(crate) struct Crowd {
    relay: SocketAddr,
    endpoints: Vec<Endpoint>,
    configs: Vec<ClientConfig>,
    here: Vec<Control>,
}

impl Crowd {
    /// Makes so many identities.
    pub(crate) fn new(relay: PeerId, addr: SocketAddr, peers: usize) -> anyhow::Result<Self> {
        let sockets = peers.div_ceil(PER_SOCKET);
        let endpoints = (0..sockets).map(endpoint).collect::<anyhow::Result<_>>()?;
        let transport = transport();
        let configs = (0..peers).map(|peer| {
            let mut seed = [9; 32];
            seed[..8].copy_from_slice(&(peer as u64).to_be_bytes());
            let credentials = Credentials::new(&SecretKey::from_seed(seed));
            let mut config =
                ClientConfig::new(credentials.client_config(Some(relay), ALPN_RELAY).crypto);
            config.transport_config(Arc::clone(&transport));
            config
        });
        Ok(Self {
            relay: addr,
            configs: configs.collect(),
            endpoints,
            here: Vec::new(),
        })
    }

    /// All come at once; who is turned away comes again, after a while of his own. Says how many
    /// seconds it took until the last one was welcome.
    pub(crate) async fn comes(&mut self) -> anyhow::Result<f64> {
        let begun = Stopwatch::start();
        let mut coming = JoinSet::new();
        for (number, config) in self.configs.iter().enumerate() {
            let (endpoint, config, addr) = (
                self.endpoints[number / PER_SOCKET].clone(),
                config.clone(),
                self.relay,
            );
            coming.spawn(async move {
                let mut tries = 0;
                loop {
                    let dialing = endpoint.connect_with(config.clone(), addr, SERVER_NAME)?;
                    let registering = async { Control::register(dialing.await?).await };
                    match tokio::time::timeout(DIAL_LIMIT, registering).await {
                        Ok(Ok(control)) => return Ok(control),
                        Ok(Err(error)) if tries == TRIES => {
                            return Err(error.context("turned away each time"));
                        }
                        Err(_) if tries == TRIES => bail!("the relay does not answer"),
                        Ok(Err(_)) | Err(_) => tries += 1,
                    }
                    // As good as random: nobody else has this number.
                    let share = ((number * TRIES + tries) as f64 * 0.618_033_988_75).fract();
                    tokio::time::sleep(
                        AGAIN_WITHIN.mul_f64(share * f64::from(1 << tries.min(4)) / 2.0),
                    )
                    .await;
                }
            });
        }
        let everybody = async {
            while let Some(control) = coming.join_next().await {
                self.here.push(control??);
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(LIMIT, everybody)
            .await
            .context("not all peers get in")??;
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Each says a heartbeat, all of them evenly over this time.
    pub(crate) async fn beats(&mut self, over: Duration) -> anyhow::Result<()> {
        let (begun, count) = (Stopwatch::start(), self.here.len());
        for (number, control) in self.here.iter_mut().enumerate() {
            control
                .say(&ToRelay::Heartbeat(0))
                .await
                .context("a peer was sent away")?;
            let due = over.mul_f64(number as f64 / count as f64);
            tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
        }
        ensure!(
            begun.elapsed() < over * 2,
            "this machine can't say the heartbeats in time"
        );
        Ok(())
    }

    /// All are gone, without a word: the relay does not know.
    pub(crate) fn vanishes(&mut self) -> anyhow::Result<()> {
        self.here.clear();
        self.endpoints = (0..self.endpoints.len())
            .map(endpoint)
            .collect::<anyhow::Result<_>>()?;
        Ok(())
    }
}

/// A socket in the network that its number stands for.
fn endpoint(number: usize) -> anyhow::Result<Endpoint> {
    let network = u8::try_from(number / PER_NETWORK)?;
    let socket = std::net::UdpSocket::bind((Ipv4Addr::new(127, 0, network, 1), 0))?;
    let buffers = socket2::SockRef::from(&socket);
    buffers.set_recv_buffer_size(1024 * 1024)?;
    Ok(Endpoint::new(
        EndpointConfig::default(),
        None,
        socket,
        Arc::new(TokioRuntime),
    )?)
}

/// As small as can be: the clients are in the same memory.
fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport
        .mtu_discovery_config(None)
        .max_idle_timeout(Some(VarInt::from_u32(90_000).into()))
        .receive_window(VarInt::from_u32(64 * 1024))
        .stream_receive_window(VarInt::from_u32(64 * 1024))
        .send_window(16 * 1024)
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None);
    Arc::new(transport)
}
