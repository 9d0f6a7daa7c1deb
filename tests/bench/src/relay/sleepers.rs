//! Sleeping peers, of which there can be a million: after they have fallen asleep, only their keys
//! are left. They use all of 127.0.0.0/8.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use hobnob_protocol::heartbeat::{ANSWERED, Handle, Message, SLEEP_EXPORTER_LABEL, SleepSecret};
use hobnob_protocol::relay::{ALPN_RELAY, ToRelay, close};
use hobnob_protocol::{DeviceId, SecretKey};
use hobnob_tests::lab::Stopwatch;
use hobnob_transport::tls::{Credentials, SERVER_NAME, exported_secret};
use quinn::{ClientConfig, Endpoint, EndpointConfig, TokioRuntime};
use rustix::process::Resource;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use super::crowd;
use super::peer::Control;

/// Peers of one socket, which is alone in its network.
const PER_SOCKET: usize = 250;

/// Sockets whose peers are awake. A peer is awake for a minute before it sleeps.
const AWAKE_SOCKETS: usize = 120;

/// Handshakes at once.
const HANDSHAKES: usize = 48;

/// How long a peer is awake before the relay lets it sleep, and a little more.
const AWAKE: Duration = Duration::from_secs(61);

/// The interval of a sleeper's heartbeats.
pub(crate) const BEAT_EVERY: Duration = Duration::from_secs(22);

/// How long the relay may take for a challenge.
const CHALLENGED_WITHIN: Duration = Duration::from_secs(2);

/// Sleepers whose answers are awaited at the end.
const SAMPLES: usize = 1_000;

/// How long a registration, and an answer, may take.
const LIMIT: Duration = Duration::from_secs(30);

/// A peer that sleeps.
struct Sleeper {
    socket: usize,
    secret: SleepSecret,
    handle: Handle,
    counter: u64,
}

/// All of them.
struct All {
    relay: SocketAddr,
    sockets: Vec<UdpSocket>,
    sleepers: Vec<Sleeper>,
}

impl All {
    /// Sends a message of a sleeper, with a counter that the relay answers if it `asks`.
    fn send(&mut self, number: usize, message: &Message, asks: bool) -> anyhow::Result<()> {
        let sleeper = &mut self.sleepers[number];
        let next = sleeper.counter + 1;
        sleeper.counter = if asks {
            next.next_multiple_of(ANSWERED)
        } else {
            next
        };
        let datagram = sleeper
            .secret
            .seal(sleeper.handle, sleeper.counter, message);
        match self.sockets[sleeper.socket].send_to(datagram.as_slice(), self.relay) {
            // It is lost, as on the way.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            sent => {
                sent?;
                Ok(())
            }
        }
    }
}

/// The sleeping peers of a relay. Their heartbeats are sent until this is dropped.
pub(crate) struct Sleepers {
    all: Arc<Mutex<All>>,
    beats: JoinHandle<anyhow::Result<()>>,
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        self.beats.abort();
    }
}

impl Sleepers {
    /// Registers this many peers at a relay, which fall asleep after a minute each.
    pub(crate) async fn fall_asleep(
        relay: DeviceId,
        addr: SocketAddr,
        peers: usize,
    ) -> anyhow::Result<Self> {
        let mut limit = rustix::process::getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        rustix::process::setrlimit(Resource::Nofile, limit)?;
        let all = Arc::new(Mutex::new(All {
            relay: addr,
            sockets: Vec::new(),
            sleepers: Vec::new(),
        }));
        let sleepers = Self {
            beats: tokio::spawn(beat(all.clone())),
            all,
        };
        let (awake, handshakes) = (
            Arc::new(Semaphore::new(AWAKE_SOCKETS)),
            Arc::new(Semaphore::new(HANDSHAKES)),
        );
        let mut falling = JoinSet::new();
        for first in (0..peers).step_by(PER_SOCKET) {
            let place = awake.clone().acquire_owned().await?;
            let (all, handshakes) = (sleepers.all.clone(), handshakes.clone());
            falling.spawn(async move {
                let numbers = first..peers.min(first + PER_SOCKET);
                let done = sleep_on_a_socket(&all, relay, addr, numbers, &handshakes).await;
                drop(place);
                done
            });
        }
        while let Some(done) = falling.join_next().await {
            done??;
        }
        Ok(sleepers)
    }

    /// Fails unless a sample of the sleepers is still known to the relay.
    pub(crate) async fn check(&self) -> anyhow::Result<()> {
        let count = lock(&self.all).sleepers.len();
        let mut answered = 0;
        let step = (count / SAMPLES).max(1);
        let samples: Vec<_> = (0..count).step_by(step).collect();
        for number in &samples {
            let begun = Stopwatch::start();
            let mut buffer = [0; 128];
            let mut has_asked = false;
            while begun.elapsed() < LIMIT {
                let answer = {
                    let mut all = lock(&self.all);
                    if !has_asked {
                        all.send(*number, &Message::Beat, true)?;
                        has_asked = true;
                    }
                    let Sleeper { socket, secret, .. } = &all.sleepers[*number];
                    let received = all.sockets[*socket].recv(&mut buffer);
                    received.ok().and_then(|len| secret.open(&buffer[..len]))
                };
                if let Some((_, Message::Answer)) = answer {
                    answered += 1;
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        ensure!(
            answered == samples.len(),
            "the relay knows {answered} of {} sleepers",
            samples.len()
        );
        Ok(())
    }

    /// All sleepers leave the relay.
    pub(crate) async fn leave(self) -> anyhow::Result<()> {
        self.beats.abort();
        let count = lock(&self.all).sleepers.len();
        // The relay's receive buffer is finite, and nobody confirms a goodbye.
        for _ in 0..3 {
            for number in 0..count {
                lock(&self.all).send(number, &Message::Leave, false)?;
                if number.is_multiple_of(64) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
        Ok(())
    }
}

fn lock(all: &Mutex<All>) -> std::sync::MutexGuard<'_, All> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends the heartbeats of all sleepers, evenly over each interval.
async fn beat(all: Arc<Mutex<All>>) -> anyhow::Result<()> {
    loop {
        let (begun, count) = (Stopwatch::start(), lock(&all).sleepers.len());
        for number in 0..count {
            lock(&all).send(number, &Message::Beat, number.is_multiple_of(4))?;
            let due = BEAT_EVERY.mul_f64(number as f64 / count as f64);
            let ahead = due.saturating_sub(begun.elapsed());
            if ahead > Duration::from_millis(1) {
                tokio::time::sleep(ahead).await;
            }
        }
        tokio::time::sleep(BEAT_EVERY.saturating_sub(begun.elapsed())).await;
    }
}

/// Registers these peers on one socket, and keeps their keys when they sleep.
async fn sleep_on_a_socket(
    all: &Mutex<All>,
    relay: DeviceId,
    addr: SocketAddr,
    numbers: std::ops::Range<usize>,
    handshakes: &Arc<Semaphore>,
) -> anyhow::Result<()> {
    let network = u32::try_from(numbers.start / PER_SOCKET + 1)?;
    let [_, a, b, c] = network.to_be_bytes();
    let socket = UdpSocket::bind((Ipv4Addr::new(127, b.wrapping_add(a), c, 1), 0))?;
    let ours = socket.try_clone()?;
    let endpoint = Endpoint::new(
        EndpointConfig::default(),
        None,
        socket,
        Arc::new(TokioRuntime),
    )?;
    let mut registering = JoinSet::new();
    for number in numbers {
        let (endpoint, handshakes) = (endpoint.clone(), handshakes.clone());
        registering.spawn(async move {
            let turn = handshakes.acquire().await?;
            let mut seed = [8; 32];
            seed[..8].copy_from_slice(&u64::try_from(number)?.to_be_bytes());
            let credentials = Credentials::new(&SecretKey::from_seed(seed));
            let mut config =
                ClientConfig::new(credentials.client_config(Some(relay), ALPN_RELAY).crypto);
            config.transport_config(crowd::transport());
            let connecting = endpoint.connect_with(config, addr, SERVER_NAME)?;
            let register = async {
                let connection = connecting.await?;
                let control = Control::register_to_sleep(connection.clone()).await?;
                anyhow::Ok((connection, control))
            };
            let (connection, mut control) = tokio::time::timeout(LIMIT, register).await??;
            drop(turn);
            let secret = exported_secret(&connection, SLEEP_EXPORTER_LABEL);
            for _ in 0..4 {
                tokio::time::sleep(AWAKE / 4).await;
                control.send(&ToRelay::Heartbeat(0)).await?;
            }
            let asking = tokio::time::timeout(LIMIT, control.asks_to_sleep());
            let handle = asking.await.context("the relay lets nobody sleep")??;
            connection.close(close::ASLEEP.into(), b"");
            anyhow::Ok((SleepSecret::new(secret), handle))
        });
    }
    let mut asleep = Vec::new();
    while let Some(done) = registering.join_next().await {
        asleep.push(done??);
    }
    endpoint.wait_idle().await;
    drop(endpoint);
    let mut sleepers: Vec<_> = asleep
        .into_iter()
        .map(|(secret, handle)| Sleeper {
            socket: 0,
            secret,
            handle,
            counter: 0,
        })
        .collect();
    answer_challenges(&ours, addr, &mut sleepers).await?;
    let mut all = lock(all);
    let socket = all.sockets.len();
    all.sockets.push(ours);
    let sleepers = sleepers.into_iter();
    all.sleepers
        .extend(sleepers.map(|sleeper| Sleeper { socket, ..sleeper }));
    Ok(())
}

/// Each sleeper sends its first heartbeat and answers the relay's challenge. What is lost is
/// repeated.
async fn answer_challenges(
    socket: &UdpSocket,
    relay: SocketAddr,
    sleepers: &mut [Sleeper],
) -> anyhow::Result<()> {
    let handles = sleepers.iter().map(|sleeper| sleeper.handle);
    let mut waiting: BTreeMap<Handle, usize> = handles.zip(0..).collect();
    let (begun, mut buffer) = (Stopwatch::start(), [0; 128]);
    while !waiting.is_empty() {
        ensure!(
            begun.elapsed() < LIMIT,
            "{} sleepers were not challenged",
            waiting.len()
        );
        for number in waiting.values() {
            let sleeper = &mut sleepers[*number];
            sleeper.counter += ANSWERED;
            let (secret, counter) = (&sleeper.secret, sleeper.counter);
            let beat = secret.seal(sleeper.handle, counter, &Message::Beat);
            socket.send_to(beat.as_slice(), relay)?;
        }
        let round = Stopwatch::start();
        while round.elapsed() < CHALLENGED_WITHIN && !waiting.is_empty() {
            let Ok(len) = socket.recv(&mut buffer) else {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            };
            let datagram = &buffer[..len];
            let number = Handle::of(datagram).and_then(|handle| waiting.get(&handle));
            if let Some(sleeper) = number.map(|number| &sleepers[*number])
                && let Some((counter, Message::Challenge)) = sleeper.secret.open(datagram)
            {
                let reached = &Message::Reached;
                let answer = sleeper.secret.seal(sleeper.handle, counter, reached);
                socket.send_to(answer.as_slice(), relay)?;
                waiting.remove(&sleeper.handle);
            }
        }
    }
    Ok(())
}
