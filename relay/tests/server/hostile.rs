//! Peers that do what they may not.

use std::time::Duration;

use hobnob_protocol::frame::FRAME_MAX;
use hobnob_protocol::relay::{Register, ToRelay, close};
use hobnob_relay::server::Fate;

use crate::Relay;
use crate::client::{Client, register};
use crate::socket::Ears;

#[tokio::test]
async fn what_is_no_registration_ends_the_connection_with_the_reason() {
    let relay = Relay::start();
    let ann = Client::new(1, relay.addr()).await;
    let other_version = ToRelay::Register(Register { version: (2, 0), ..register("", &[]) });
    let too_long = u32::try_from(FRAME_MAX + 1).unwrap().to_be_bytes();
    let framed = |frame: &[u8]| [&u32::try_from(frame.len()).unwrap().to_be_bytes()[..], frame].concat();
    for (bytes, code, says) in [
        (framed(&[]), close::PROTOCOL, "empty"),
        (framed(&[1, 0xff, 0xff, 0xff]), close::PROTOCOL, ""),
        (framed(&ToRelay::Heartbeat(0).encode()), close::PROTOCOL, "must be Register"),
        (framed(&other_version.encode()), close::VERSION, "you speak version 2"),
        (too_long.to_vec(), close::PROTOCOL, "65536 bytes"),
    ] {
        let mut link = ann.connects().await;
        link.says_raw(&bytes).await;
        let ended = link.ends().await;
        assert!(ended.code == code && ended.reason.contains(says), "{ended:?}");
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
async fn a_peer_that_floods_frames_is_told_its_limit_and_nobody_else_suffers() {
    let relay = Relay::start();
    let (ann, bob) = (Client::new(1, relay.addr()).await, Client::new(2, relay.addr()).await);
    let (mut ann_link, _) = ann.joins(&[]).await;
    let (mut bob_link, _) = bob.joins(&[]).await;
    for _ in 0..10_000 {
        if ann_link.connection.close_reason().is_some() {
            break;
        }
        ann_link.says(&ToRelay::Unknown(200)).await;
    }
    let ended = ann_link.ends().await;
    assert!(ended.code == close::LIMIT && ended.reason.contains("frames"), "{ended:?}");
    bob_link.says(&ToRelay::Heartbeat(0)).await;
    bob_link.roster().await;
}

#[tokio::test]
async fn a_second_stream_is_not_granted() {
    let relay = Relay::start();
    let ann = Client::new(1, relay.addr()).await;
    let (link, _) = ann.joins(&[]).await;
    let second = tokio::time::timeout(Duration::from_millis(100), link.connection.open_bi());
    assert!(second.await.is_err());
}

#[tokio::test]
async fn handshakes_of_those_who_hear_nothing_are_not_begun() {
    let relay = Relay::start();
    let deaf = Client::with(9, relay.addr(), Ears::Deaf).await;
    let half_open: Vec<_> = (0..2_000).map(|_| deaf.connecting()).collect();
    Client::new(1, relay.addr()).await.joins(&[]).await;
    // Who does not hear the question where it came from gets no further, and so holds nothing.
    come_to(|| relay.server.newcomers().read(Fate::Asked) >= 2_000).await;
    assert_eq!(relay.server.newcomers().read(Fate::Begun), 1);
    drop(half_open);
}

#[tokio::test]
async fn handshakes_that_stop_halfway_are_given_up_within_ten_seconds() {
    let relay = Relay::start();
    let (addr, read) = (relay.addr(), |fate| relay.server.newcomers().read(fate));
    // A life of its own, that ends without a word.
    let life = tokio::runtime::Runtime::new().unwrap();
    let half_open = life.spawn(async move {
        let stuck = Client::with(9, addr, Ears::Retry).await;
        let connecting: Vec<_> = (0..1_000).map(|_| stuck.connecting()).collect();
        (stuck, connecting)
    });
    // However many there are: the gate has so many places, and who waits for one does not wait for long.
    come_to(|| read(Fate::Begun) >= 256).await;
    life.shutdown_background();
    drop(half_open);
    come_to(|| read(Fate::Begun) == read(Fate::Failed)).await;
    Client::new(1, relay.addr()).await.joins(&[]).await;
}

/// Waits until this is so, for as long as a relay may hold what goes no further.
async fn come_to(check: impl Fn() -> bool) {
    let so = async {
        let mut look = tokio::time::interval(Duration::from_millis(50));
        while !check() {
            look.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), so).await.unwrap();
}

#[tokio::test]
async fn a_stranger_that_knows_a_channel_gets_nothing_through_it() {
    let relay = Relay::start();
    let (ann, mut bob, eve) =
        (Client::new(1, relay.addr()).await, Client::new(2, relay.addr()).await, Client::new(3, relay.addr()).await);
    let (mut ann_link, _) = ann.joins(&[]).await;
    let (_bob_link, _) = bob.joins(&[]).await;
    ann_link.says(&ToRelay::Open(bob.id())).await;
    let (_, channel) = ann_link.opened().await;
    eve.sends(channel, b"forged").await;
    ann.sends(channel, b"true").await;
    assert_eq!(bob.receives().await.1, b"true");
    let table = relay.server.table().await.unwrap();
    let anns = table.peers.iter().find(|peer| peer.row.peer == ann.id()).unwrap();
    assert_eq!(anns.row.metered.wrong_sender, 1);
}
