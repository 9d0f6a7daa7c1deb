//! Peers that violate the protocol.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hobnob_protocol::frame::FRAME_MAX;
use hobnob_protocol::relay::{Register, ToRelay, close};
use hobnob_relay::core::{Limits, State};
use hobnob_relay::server::Fate;
use quinn::Connecting;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::Relay;
use crate::client::{Client, LIMIT, register, until};
use crate::socket::QuicFilter;

#[tokio::test]
async fn a_first_frame_that_is_not_register_ends_the_connection_with_the_reason() {
    let relay = Relay::start();
    let ann = Client::new(1, relay.addr()).await;
    let other_version = ToRelay::Register(Register {
        version: (2, 0),
        ..register(None, &[])
    });
    let too_long = u32::try_from(FRAME_MAX + 1).unwrap().to_be_bytes();
    let framed = |frame: &[u8]| {
        [
            &u32::try_from(frame.len()).unwrap().to_be_bytes()[..],
            frame,
        ]
        .concat()
    };
    for (bytes, code, says) in [
        (framed(&[]), close::PROTOCOL, "empty"),
        (framed(&[1, 0xff, 0xff, 0xff]), close::PROTOCOL, ""),
        (
            framed(&ToRelay::Heartbeat(0).encode()),
            close::PROTOCOL,
            "must be Register",
        ),
        (
            framed(&other_version.encode()),
            close::VERSION,
            "you speak version 2",
        ),
        (too_long.to_vec(), close::PROTOCOL, "65536 bytes"),
    ] {
        let mut link = ann.connects().await;
        link.says_raw(&bytes).await;
        let ended = link.ends().await;
        assert!(
            ended.code == code && ended.reason.contains(says),
            "{ended:?}"
        );
    }
    assert!(relay.server.table().await.unwrap().peers.is_empty());
    ann.joins(&[]).await;
}

#[tokio::test]
async fn garbage_after_the_registration_ends_the_connection() {
    let relay = Relay::start();
    let ann = Client::new(1, relay.addr()).await;
    let (mut link, _) = ann.joins(&[]).await;
    link.says_bytes(&[4, 1, 2, 3]).await;
    assert_eq!(link.ends().await.code, close::PROTOCOL);
}

#[tokio::test]
async fn a_flood_of_frames_ends_its_connection_and_harms_nobody_else() {
    let relay = Relay::start();
    let (ann, bob) = (
        Client::new(1, relay.addr()).await,
        Client::new(2, relay.addr()).await,
    );
    let (mut ann_link, _) = ann.joins(&[]).await;
    let (mut bob_link, _) = bob.joins(&[]).await;
    for _ in 0..10_000 {
        if ann_link.connection.close_reason().is_some() {
            break;
        }
        ann_link.says(&ToRelay::Unknown(200)).await;
    }
    let ended = ann_link.ends().await;
    assert!(
        ended.code == close::LIMIT && ended.reason.contains("frames"),
        "{ended:?}"
    );
    bob_link.says(&ToRelay::Heartbeat(0)).await;
    bob_link.roster().await;
}

#[tokio::test]
async fn a_second_stream_is_not_allowed() {
    let relay = Relay::start();
    let ann = Client::new(1, relay.addr()).await;
    let (link, _) = ann.joins(&[]).await;
    let second = tokio::time::timeout(Duration::from_millis(100), link.connection.open_bi());
    assert!(second.await.is_err());
}

/// Newcomers that all start a handshake at once and go only as far as their deaf sockets allow. They
/// run in a separate runtime, which can disappear.
struct HalfOpen {
    machine: Runtime,
    _crowd: (Client, Vec<Connecting>),
}

impl HalfOpen {
    async fn come(relay: SocketAddr, filter: QuicFilter) -> Self {
        let machine = Runtime::new().unwrap();
        let coming = machine.spawn(async move {
            let client = Client::with(9, relay, filter).await;
            let config = client.config();
            let connecting = (0..HALF_OPEN)
                .map(|_| client.connecting(config.clone()))
                .collect();
            (client, connecting)
        });
        let _crowd = coming.await.unwrap();
        Self { machine, _crowd }
    }

    /// They disappear without closing their connections.
    fn vanish(self) {
        self.machine.shutdown_background();
    }
}

/// Number of newcomers with unfinished handshakes.
const HALF_OPEN: u64 = 10_000;

/// Places for handshakes, as in `server::arrivals`.
const PLACES: u64 = 256;

/// Identities of one network that attack at once.
const IDENTITIES: u16 = 2_000;

/// Tasks that share these identities.
const ATTACKERS: u16 = 100;

/// On a busy machine, each of them has tried once after this time.
const CROWD_COMES_WITHIN: Duration = Duration::from_secs(120);

/// An honest newcomer from another network is registered within this time.
const SERVED_WITHIN: Duration = Duration::from_secs(5);

/// After this time nothing is left of them.
const RECLAIMED_WITHIN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_unvalidated_addresses_occupy_nothing_and_block_nobody() {
    let relay = Relay::start();
    let newcomers = relay.server.newcomers();
    let half_open = HalfOpen::come(relay.addr(), QuicFilter::None).await;
    Client::new(1, relay.addr()).await.joins(&[]).await;
    until(LIMIT, || newcomers.read(Fate::Asked) >= HALF_OPEN).await;
    assert_eq!(newcomers.read(Fate::Begun), 1);
    half_open.vanish();
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_half_open_handshakes_are_reclaimed_within_ten_seconds() {
    let relay = Relay::start();
    let newcomers = relay.server.newcomers();
    let half_open = HalfOpen::come(relay.addr(), QuicFilter::OnlyRetry).await;
    until(LIMIT, || {
        newcomers.read(Fate::Asked) >= HALF_OPEN && newcomers.read(Fate::Begun) >= PLACES
    })
    .await;
    half_open.vanish();
    until(RECLAIMED_WITHIN, || {
        newcomers.read(Fate::Begun) == newcomers.read(Fate::Failed)
    })
    .await;
    Client::new(1, relay.addr()).await.joins(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_open_handshakes_of_one_network_exclude_no_other_network() {
    let relay = Relay::start();
    let newcomers = relay.server.newcomers();
    let half_open = HalfOpen::come(relay.addr(), QuicFilter::OnlyRetry).await;
    until(LIMIT, || newcomers.read(Fate::Begun) >= PLACES).await;
    for seed in 1..=20 {
        let client = Client::elsewhere(seed, relay.addr()).await;
        tokio::time::timeout(SERVED_WITHIN, client.joins(&[]))
            .await
            .expect("a newcomer from another network is served soon");
    }
    half_open.vanish();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_identities_of_one_network_exclude_no_other_network() {
    let relay = Relay::start();
    let addr = relay.addr();
    let registered = Arc::new(AtomicUsize::new(0));
    let mut crowd = JoinSet::new();
    for task in 0..ATTACKERS {
        let registered = Arc::clone(&registered);
        crowd.spawn(async move {
            let mut clients = Vec::new();
            for n in 0..IDENTITIES / ATTACKERS {
                clients.push(Client::new(task + n * ATTACKERS, addr).await);
            }
            let mut links = VecDeque::new();
            // They register again and again, and each keeps its newest link.
            for client in clients.iter().cycle() {
                links.push_back(client.tries_to_join().await);
                registered.fetch_add(1, Ordering::Relaxed);
                if links.len() > clients.len() {
                    links.pop_front();
                }
            }
        });
    }
    until(CROWD_COMES_WITHIN, || {
        registered.load(Ordering::Relaxed) >= usize::from(IDENTITIES)
    })
    .await;
    let mut served = Vec::new();
    for seed in 1..=20 {
        let client = Client::elsewhere(IDENTITIES + 256 * seed, addr).await;
        let joined = tokio::time::timeout(SERVED_WITHIN, client.joins(&[]))
            .await
            .expect("a newcomer from another network is served soon");
        served.push((client, joined));
    }
    let attempts = registered.load(Ordering::Relaxed);
    assert!(attempts > usize::from(IDENTITIES), "the attack went on");
    crowd.shutdown().await;
    for (client, (link, _)) in &served {
        assert!(link.connection.close_reason().is_none(), "{}", client.id());
    }
}

#[tokio::test]
async fn a_relay_full_of_one_network_has_room_for_others() {
    let limits = Limits {
        peers: 6,
        ..Limits::default()
    };
    let relay = Relay::with_limits(limits);
    let mut crowd = Vec::new();
    for seed in 1..=6 {
        let client = Client::new(seed, relay.addr()).await;
        crowd.push((client.joins(&[]).await, client));
    }
    for seed in 11..=13 {
        let client = Client::elsewhere(seed, relay.addr()).await;
        let joined = client.joins(&[]).await;
        crowd.push((joined, client));
    }
    for ((link, _), _) in &mut crowd[..3] {
        let ended = link.ends().await;
        assert!(
            ended.code == close::FULL && ended.reason.contains("your network"),
            "{ended:?}"
        );
    }
    let table = relay.server.table().await.unwrap();
    assert_eq!(
        table
            .peers
            .iter()
            .filter(|peer| peer.row.state != State::Gone)
            .count(),
        6
    );
}

#[tokio::test]
async fn a_stranger_cannot_use_a_channel_that_it_knows() {
    let relay = Relay::start();
    let (ann, mut bob, eve) = (
        Client::new(1, relay.addr()).await,
        Client::new(2, relay.addr()).await,
        Client::new(3, relay.addr()).await,
    );
    let (mut ann_link, _) = ann.joins(&[]).await;
    let (_bob_link, _) = bob.joins(&[]).await;
    ann_link.says(&ToRelay::Open(bob.id())).await;
    let (_, channel) = ann_link.opened().await;
    eve.sends(channel, b"forged").await;
    ann.sends(channel, b"true").await;
    assert_eq!(bob.receives().await.1, b"true");
    let table = relay.server.table().await.unwrap();
    let anns = table
        .peers
        .iter()
        .find(|peer| peer.row.peer == ann.id())
        .unwrap();
    assert_eq!(anns.row.metered.wrong_sender, 1);
}
