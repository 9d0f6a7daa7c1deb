//! Thousands of registered peers that only send heartbeats. Each has its own identity. Several
//! share a socket.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use hobnob_protocol::relay::{ALPN_RELAY, ToRelay};
use hobnob_protocol::{DeviceId, SecretKey};
use hobnob_tests::lab::Stopwatch;
use hobnob_transport::tls::{Credentials, SERVER_NAME};
use quinn::{ClientConfig, Endpoint, EndpointConfig, TokioRuntime, TransportConfig, VarInt};
use tokio::task::JoinSet;

use super::peer::Control;

/// Peers per socket.
const PER_SOCKET: usize = 50;

/// Sockets per network. The relay accepts 2,000 peers from each network.
const PER_NETWORK: usize = 30;

/// Maximum time that a refused peer waits before its first retry. It doubles with each retry.
const AGAIN_WITHIN: Duration = Duration::from_secs(1);

/// Maximum time that a peer waits for the relay's Welcome before it retries.
const DIAL_LIMIT: Duration = Duration::from_secs(5);

/// Maximum number of retries.
const TRIES: usize = 8;

/// Time limit for the registration of all peers.
const LIMIT: Duration = Duration::from_secs(100);

/// The peers, registered or not.
#[derive(Debug)]
pub(crate) struct Crowd {
    relay: SocketAddr,
    endpoints: Vec<Endpoint>,
    configs: Vec<ClientConfig>,
    here: Vec<Control>,
}

impl Crowd {
    /// Creates this many identities.
    pub(crate) fn new(relay: DeviceId, addr: SocketAddr, peers: usize) -> anyhow::Result<Self> {
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

    /// Registers all peers at once. A refused peer retries after an individual delay. Returns the
    /// seconds until the last peer was registered.
    pub(crate) async fn registers(&mut self) -> anyhow::Result<f64> {
        let begun = Stopwatch::start();
        let mut registering = JoinSet::new();
        for (number, config) in self.configs.iter().enumerate() {
            let (endpoint, config, addr) = (
                self.endpoints[number / PER_SOCKET].clone(),
                config.clone(),
                self.relay,
            );
            registering.spawn(async move {
                let mut tries = 0;
                loop {
                    let dialing = endpoint.connect_with(config.clone(), addr, SERVER_NAME)?;
                    let attempt = async { Control::register(dialing.await?).await };
                    match tokio::time::timeout(DIAL_LIMIT, attempt).await {
                        Ok(Ok(control)) => return Ok(control),
                        Ok(Err(error)) if tries == TRIES => {
                            return Err(error.context("the relay refused each attempt"));
                        }
                        Err(_) if tries == TRIES => bail!("the relay does not answer"),
                        Ok(Err(_)) | Err(_) => tries += 1,
                    }
                    // A pseudo-random share, different for each peer and attempt.
                    let share = ((number * TRIES + tries) as f64 * 0.618_033_988_75).fract();
                    tokio::time::sleep(
                        AGAIN_WITHIN.mul_f64(share * f64::from(1 << tries.min(4)) / 2.0),
                    )
                    .await;
                }
            });
        }
        let everybody = async {
            while let Some(control) = registering.join_next().await {
                self.here.push(control??);
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(LIMIT, everybody)
            .await
            .context("not all peers could register in time")??;
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Sends one heartbeat of each peer, evenly distributed over this time.
    pub(crate) async fn sends_heartbeats(&mut self, over: Duration) -> anyhow::Result<()> {
        let (begun, count) = (Stopwatch::start(), self.here.len());
        for (number, control) in self.here.iter_mut().enumerate() {
            control
                .send(&ToRelay::Heartbeat(0))
                .await
                .context("the relay disconnected a peer")?;
            let due = over.mul_f64(number as f64 / count as f64);
            tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
        }
        ensure!(
            begun.elapsed() < over * 2,
            "this machine is too slow to send the heartbeats in time"
        );
        Ok(())
    }

    /// Disconnects all peers without informing the relay.
    pub(crate) fn disconnects_silently(&mut self) -> anyhow::Result<()> {
        self.here.clear();
        self.endpoints = (0..self.endpoints.len())
            .map(endpoint)
            .collect::<anyhow::Result<_>>()?;
        Ok(())
    }
}

/// Opens a socket. Its number determines its network.
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

/// Small buffers, because the clients run on the same machine.
pub(super) fn transport() -> Arc<TransportConfig> {
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
