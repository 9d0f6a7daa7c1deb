//! Files over paths that take time or carry little: between nodes of this very process.

use std::net::SocketAddr;
use std::time::Duration;
use std::{fs, io};

use hobnob::{DeliveryState, Event, FileState, Node};
use hobnob_tests::delayed_path::{DelayedPath, RateLimit};

use crate::actions::{PATIENCE, bytes_of};
use crate::same;

/// More than one stream of QUIC's lets through in a round trip.
const MORE_THAN_A_LANE: u64 = 3 << 20;

/// A home's way out: 20 Mbit/s, and a queue that takes 800 ms to empty.
const HOME: RateLimit = RateLimit {
    bytes_per_s: 2_500_000,
    queue_bytes: 2_000_000,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_long_path_is_filled() {
    let most = sent_over(
        |to| DelayedPath::new(to, Duration::from_millis(150)),
        64 << 20,
    )
    .await;
    assert!(
        most > MORE_THAN_A_LANE,
        "no more than {most} bytes were on the way at once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_of_a_thin_path_is_left_to_others() {
    let most = sent_over(
        |to| DelayedPath::with_limit(to, Duration::from_millis(10), HOME),
        8 << 20,
    )
    .await;
    // It holds 50 kB. While its rate is still to be found, as much again is on the way, and a
    // little.
    assert!(most < 200_000, "{most} bytes were on the way at once");
}

/// Sends a file of so many bytes over a path; the most that was on the way at once.
async fn sent_over(path: impl FnOnce(SocketAddr) -> io::Result<DelayedPath>, len: usize) -> u64 {
    let dir = tempfile::tempdir().expect("a folder");
    let start = async |nick: &str| {
        let builder = Node::builder(dir.path().join(nick)).nick(nick.parse().expect("a nickname"));
        builder.loopback().start().await.expect("starts")
    };
    let (ann, bob) = (start("ann").await, start("bob").await);
    let listening = bob.status().await.expect("runs").addrs[0];
    let path = path(listening).expect("a socket");
    let peer = ann
        .resolve(path.addr().to_string().parse().expect("an address"))
        .await
        .expect("it answers");
    let file = dir.path().join("film.mp4");
    fs::write(&file, bytes_of(1, len)).expect("there is room");
    let sent = ann
        .offer(peer.into(), file.clone())
        .await
        .expect("it is there");
    ann.wait_for(sent.id, DeliveryState::Delivered)
        .await
        .expect("it comes");
    let mut events = bob.events();
    bob.accept(sent.id).await.expect("there is room");
    let place = tokio::time::timeout(PATIENCE, async {
        loop {
            let event = events.next().await.expect("it runs");
            if let Event::File(file) = event
                && file.id == sent.id
                && file.state == FileState::Done
            {
                return file.place.expect("it has a place");
            }
        }
    });
    same(&file, &place.await.expect("it comes"));
    path.max_in_flight()
}
