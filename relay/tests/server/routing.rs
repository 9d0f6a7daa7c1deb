//! Registration, the roster, channels, and their frames.

use hobnob_protocol::RoomTag;
use hobnob_protocol::datagram::ChannelId;
use hobnob_protocol::relay::{ChannelEnd, FromRelay, OpenRefusal, RosterChange, ToRelay, close};
use hobnob_relay::core::State;

use crate::Relay;
use crate::client::{Client, Link, within};

fn lobby() -> RoomTag {
    RoomTag::from_bytes([7; 32])
}

/// Two registered clients with a channel.
struct Pair {
    ann: Client,
    bob: Client,
    ann_link: Link,
    bob_link: Link,
    /// Ann's and Bob's names of the channel.
    names: [ChannelId; 2],
}

async fn pair(relay: &Relay) -> Pair {
    let (ann, bob) = (
        Client::new(1, relay.addr()).await,
        Client::new(2, relay.addr()).await,
    );
    let (mut ann_link, _) = ann.joins(&[]).await;
    let (mut bob_link, _) = bob.joins(&[]).await;
    ann_link.says(&ToRelay::Open(bob.id())).await;
    let ((with_bob, anns), (with_ann, bobs)) = (ann_link.opened().await, bob_link.opened().await);
    assert_eq!((with_bob, with_ann), (bob.id(), ann.id()));
    Pair {
        ann,
        bob,
        ann_link,
        bob_link,
        names: [anns, bobs],
    }
}

async fn until_told(link: &mut Link, change: &RosterChange) {
    while !link.roster().await.changes.contains(change) {}
}

#[tokio::test]
async fn a_node_registers_and_learns_its_own_address() {
    let relay = Relay::start();
    let ann = Client::new(1, relay.addr()).await;
    let (mut link, welcome) = ann.joins(&[lobby()]).await;
    assert_eq!(
        (welcome.observed, welcome.heartbeat_ms, welcome.roster),
        (ann.addr(), 15_000, true)
    );
    link.says(&ToRelay::Heartbeat(0)).await;
    link.roster().await;
    let table = relay.server.table().await.unwrap();
    let [peer] = &table.peers[..] else {
        panic!("{table:?}")
    };
    assert_eq!(
        (peer.row.peer, peer.row.state, peer.row.addr, peer.row.rooms),
        (ann.id(), State::Alive, ann.addr(), 1)
    );
    assert!(peer.row.rtt.is_some() && table.connections == 1);
}

#[tokio::test]
async fn a_heartbeat_returns_the_roster_and_a_change_is_pushed_at_once() {
    let relay = Relay::start();
    let (ann, bob) = (
        Client::new(1, relay.addr()).await,
        Client::new(2, relay.addr()).await,
    );
    let (mut ann_link, _) = ann.joins(&[lobby()]).await;
    let (bob_link, _) = bob.joins(&[lobby()]).await;
    ann_link.says(&ToRelay::Heartbeat(0)).await;
    let here = RosterChange::Here {
        peer: bob.id(),
        rooms: vec![lobby()],
    };
    until_told(&mut ann_link, &here).await;
    bob_link.connection.close(close::BYE.into(), b"");
    until_told(&mut ann_link, &RosterChange::Gone { peer: bob.id() }).await;
}

#[tokio::test]
async fn a_channel_carries_frames_between_the_sockets_of_the_control_connections() {
    let relay = Relay::start();
    let Pair {
        mut ann,
        mut bob,
        ann_link: _anns_link,
        bob_link: _bobs_link,
        names: [anns, bobs],
    } = pair(&relay).await;
    let large = vec![0x42; 1_200];
    for inner in [&b"hi"[..], &large] {
        ann.sends(anns, inner).await;
        assert_eq!(bob.receives().await, (bobs, inner.to_vec()));
        bob.sends(bobs, inner).await;
        assert_eq!(ann.receives().await, (anns, inner.to_vec()));
    }
    let table = relay.server.table().await.unwrap();
    let forwarded: Vec<_> = table
        .peers
        .iter()
        .map(|peer| {
            (
                peer.row.channels,
                peer.row.metered.frames,
                peer.row.metered.bytes,
            )
        })
        .collect();
    assert_eq!(forwarded, [(1, 2, 1_220), (1, 2, 1_220)]);
}

#[tokio::test]
async fn a_channel_ends_with_its_peer_and_the_other_end_is_informed() {
    let relay = Relay::start();
    let Pair {
        ann,
        bob: _bob,
        mut ann_link,
        bob_link,
        names: [anns, _],
    } = pair(&relay).await;
    bob_link.connection.close(close::BYE.into(), b"");
    let ended = async |link: &mut Link| {
        link.receives_where(|frame| match frame {
            FromRelay::Ended { channel, why } => Some((*channel, *why)),
            _ => None,
        })
        .await
    };
    assert_eq!(ended(&mut ann_link).await, (anns, ChannelEnd::PeerGone));
    let before = relay.server.counters().unknown_channel;
    ann.sends(anns, b"too late").await;
    within(async {
        while relay.server.counters().unknown_channel == before {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_channel_to_an_unknown_peer_is_rejected_with_the_cause() {
    let relay = Relay::start();
    let (ann, bob) = (
        Client::new(1, relay.addr()).await,
        Client::new(2, relay.addr()).await,
    );
    let (mut link, _) = ann.joins(&[]).await;
    link.says(&ToRelay::Open(bob.id())).await;
    assert_eq!(
        link.receives().await,
        Ok(FromRelay::NotOpened {
            peer: bob.id(),
            why: OpenRefusal::NotHere
        })
    );
}

#[tokio::test]
async fn a_channel_follows_a_peer_whose_address_changes() {
    let relay = Relay::start();
    let Pair {
        mut ann,
        mut bob,
        mut ann_link,
        bob_link: _bobs_link,
        names: [anns, bobs],
    } = pair(&relay).await;
    ann.moves().await;
    ann_link.says(&ToRelay::Heartbeat(0)).await;
    let observed = ann_link
        .receives_where(|frame| match frame {
            FromRelay::Observed(addr) => Some(*addr),
            _ => None,
        })
        .await;
    assert_eq!(observed, ann.addr());
    bob.sends(bobs, b"where are you?").await;
    assert_eq!(ann.receives().await, (anns, b"where are you?".to_vec()));
    ann.sends(anns, b"here").await;
    assert_eq!(bob.receives().await, (bobs, b"here".to_vec()));
}

#[tokio::test]
async fn a_newer_connection_replaces_the_older_one_with_a_reason() {
    let relay = Relay::start();
    let (ann, elsewhere) = (
        Client::new(1, relay.addr()).await,
        Client::new(1, relay.addr()).await,
    );
    let (mut older, _) = ann.joins(&[]).await;
    let (mut newer, _) = elsewhere.joins(&[]).await;
    let ended = older.ends().await;
    assert_eq!(ended.code, close::REPLACED, "{ended:?}");
    newer.says(&ToRelay::Heartbeat(0)).await;
    newer.roster().await;
    let table = relay.server.table().await.unwrap();
    assert_eq!(
        table
            .peers
            .iter()
            .map(|peer| peer.row.addr)
            .collect::<Vec<_>>(),
        [elsewhere.addr()]
    );
}
