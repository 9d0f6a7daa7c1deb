//! Clients that sleep: without a connection, with sealed heartbeats.

use std::time::Duration;

use hobnob_protocol::DeviceId;
use hobnob_protocol::heartbeat::{Message, Reset, SleepSecret, Wanted};
use hobnob_protocol::relay::{FromRelay, OpenRefusal, ToRelay};
use hobnob_relay::core::{Limits, State};

use crate::client::{Client, Sleeper, within};
use crate::{Relay, loopback_addr};

/// A relay whose peers may sleep at any time.
fn relay() -> Relay {
    Relay::with_limits(Limits {
        sleep_after: Some(Duration::ZERO),
        ..Limits::default()
    })
}

/// Waits until the relay reports a peer in this state.
async fn until_state(relay: &Relay, peer: DeviceId, state: State) {
    within(async {
        loop {
            let table = relay.server.table().await.unwrap();
            let mut rows = table.peers.iter().map(|peer| &peer.row);
            if rows.any(|row| row.peer == peer && row.state == state) {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Ann sleeps, and has answered the first challenge.
async fn ann_asleep(relay: &Relay) -> (Client, Sleeper) {
    let mut ann = Client::new(1, relay.addr()).await;
    let sleeper = ann.falls_asleep().await;
    until_state(relay, ann.id(), State::Asleep).await;
    ann.says_asleep(&sleeper, 1, &Message::Beat).await;
    assert_eq!(ann.hears_asleep(&sleeper).await, (1, Message::Challenge));
    ann.says_asleep(&sleeper, 1, &Message::Reached).await;
    ann.says_asleep(&sleeper, 4, &Message::Beat).await;
    assert_eq!(ann.hears_asleep(&sleeper).await, (2, Message::Answer));
    (ann, sleeper)
}

fn is_reset(datagram: &[u8], sleeper: &Sleeper) -> bool {
    Reset::is(datagram, sleeper.handle, &sleeper.reset)
}

#[tokio::test]
async fn a_sleeper_has_no_connection_and_wakes_for_a_channel() {
    let relay = relay();
    let (mut ann, sleeper) = ann_asleep(&relay).await;
    let table = relay.server.table().await.unwrap();
    assert_eq!((table.connections, table.peers.len()), (0, 1));
    assert_eq!(table.peers[0].row.addr, ann.addr());
    let bob = Client::new(2, relay.addr()).await;
    let (mut bobs, _) = bob.joins(&[]).await;
    bobs.says(&ToRelay::Open(ann.id())).await;
    let (_, wake) = ann.hears_asleep(&sleeper).await;
    assert_eq!(wake, Message::Wake(bob.id(), Wanted::Channel));
    let mut anns = ann.joins_to_sleep().await;
    assert_eq!(bobs.opened().await.0, ann.id());
    assert_eq!(anns.opened().await.0, bob.id());
    until_state(&relay, ann.id(), State::Alive).await;
    // A heartbeat of the sleep that is over is of nobody.
    ann.says_asleep(&sleeper, 8, &Message::Beat).await;
    while !is_reset(&ann.hears().await, &sleeper) {}
}

#[tokio::test]
async fn a_sleeper_that_says_no_stays_asleep() {
    let relay = relay();
    let (mut ann, sleeper) = ann_asleep(&relay).await;
    let bob = Client::new(2, relay.addr()).await;
    let (mut bobs, _) = bob.joins(&[]).await;
    bobs.says(&ToRelay::Open(ann.id())).await;
    ann.hears_asleep(&sleeper).await;
    let no = Message::Declined(bob.id());
    ann.says_asleep(&sleeper, 9, &no).await;
    let why = bobs
        .receives_where(|frame| match frame {
            FromRelay::NotOpened { why, .. } => Some(*why),
            _ => None,
        })
        .await;
    assert_eq!(why, OpenRefusal::Refused);
    until_state(&relay, ann.id(), State::Asleep).await;
}

#[tokio::test]
async fn a_sleeper_whose_address_changes_is_challenged_and_woken_there() {
    let relay = relay();
    let (mut ann, sleeper) = ann_asleep(&relay).await;
    let before = ann.addr();
    ann.moves().await;
    ann.says_asleep(&sleeper, 8, &Message::Beat).await;
    let (counter, challenge) = ann.hears_asleep(&sleeper).await;
    assert_eq!(challenge, Message::Challenge);
    let table = relay.server.table().await.unwrap();
    assert_eq!(table.peers[0].row.addr, before);
    ann.says_asleep(&sleeper, counter, &Message::Reached).await;
    within(async {
        let at = async || relay.server.table().await.unwrap().peers[0].row.addr;
        while at().await != ann.addr() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let bob = Client::new(2, relay.addr()).await;
    let (mut bobs, _) = bob.joins(&[]).await;
    bobs.says(&ToRelay::Open(ann.id())).await;
    let (_, wake) = ann.hears_asleep(&sleeper).await;
    assert_eq!(wake, Message::Wake(bob.id(), Wanted::Channel));
}

#[tokio::test]
async fn forged_and_replayed_goodbyes_end_no_sleep() {
    let relay = relay();
    let (mut ann, sleeper) = ann_asleep(&relay).await;
    let mallory = Client::new(3, relay.addr()).await;
    let forged = SleepSecret::new([0; 32]).seal(sleeper.handle, 5, &Message::Leave);
    mallory.sends_to(relay.addr(), forged.as_slice()).await;
    // Counter 4 was used.
    mallory.says_asleep(&sleeper, 4, &Message::Leave).await;
    within(async {
        while relay.server.counters().beats_refused < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    ann.says_asleep(&sleeper, 12, &Message::Beat).await;
    assert_eq!(ann.hears_asleep(&sleeper).await, (3, Message::Answer));
    ann.says_asleep(&sleeper, 13, &Message::Leave).await;
    until_state(&relay, ann.id(), State::Gone).await;
}

#[tokio::test]
async fn a_restarted_relay_tells_sleepers_that_it_has_forgotten_them() {
    let mut relay = relay();
    let (mut ann, sleeper) = ann_asleep(&relay).await;
    relay.restart().await;
    let beat = sleeper.secret.seal(sleeper.handle, 8, &Message::Beat);
    let at = loopback_addr(&relay.server);
    ann.sends_to(at, beat.as_slice()).await;
    assert!(is_reset(&ann.hears().await, &sleeper));
}

#[tokio::test]
async fn a_sleeper_that_the_operator_kicks_or_bans_learns_it_at_once() {
    let relay = relay();
    let (mut ann, sleeper) = ann_asleep(&relay).await;
    relay.server.kick(&ann.id().to_string()).await.unwrap();
    assert!(is_reset(&ann.hears().await, &sleeper));
    until_state(&relay, ann.id(), State::Gone).await;
    // A relay that knows only the address of the connection sends nothing there.
    let again = ann.falls_asleep().await;
    until_state(&relay, ann.id(), State::Asleep).await;
    relay.server.ban("127.0.0.0/8").await.unwrap();
    until_state(&relay, ann.id(), State::Gone).await;
    ann.says_asleep(&again, 1, &Message::Beat).await;
    assert!(is_reset(&ann.hears().await, &again));
}

#[tokio::test]
async fn nodes_that_cannot_sleep_are_not_asked_to() {
    let relay = relay();
    let ann = Client::new(1, relay.addr()).await;
    let (mut link, _) = ann.joins(&[]).await;
    link.says(&ToRelay::Heartbeat(0)).await;
    // The first frame after the welcome.
    let frame = link.receives().await.unwrap();
    assert!(matches!(frame, FromRelay::Roster(_)), "{frame:?}");
}
