//! File transfers over paths with delay or a limited rate, between nodes in the test process.

use std::net::SocketAddr;
use std::time::Duration;
use std::{fs, io};

use hobnob::{DeliveryState, Event, FileState, Node};
use hobnob_tests::delayed_path::{DelayedPath, RateLimit};

use crate::actions::{TIMEOUT, bytes_of};
use crate::same;

/// More bytes than the window of one QUIC stream allows in a round trip.
const MORE_THAN_ONE_STREAM: u64 = 3 << 20;

/// The uplink of a home: 20 Mbit/s, with a queue that takes 800 ms to drain.
const HOME: RateLimit = RateLimit {
    bytes_per_s: 2_500_000,
    queue_bytes: 2_000_000,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_uses_the_full_rate_of_a_path_with_delay() {
    let most = sent_over(
        |to| DelayedPath::new(to, Duration::from_millis(150)),
        64 << 20,
    )
    .await;
    assert!(
        most > MORE_THAN_ONE_STREAM,
        "at most {most} bytes were in flight"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_leaves_the_queue_of_a_slow_path_to_other_traffic() {
    let most = sent_over(
        |to| DelayedPath::with_limit(to, Duration::from_millis(10), HOME),
        8 << 20,
    )
    .await;
    // The path itself has 50 kB in flight. While the congestion control searches for the rate,
    // slightly more than the same amount is queued.
    assert!(most < 200_000, "{most} bytes were in flight");
}

/// Sends a file of this length over a path. Returns the largest number of bytes in flight.
async fn sent_over(path: impl FnOnce(SocketAddr) -> io::Result<DelayedPath>, len: usize) -> u64 {
    let dir = tempfile::tempdir().expect("a temporary folder can be created");
    let start = async |nick: &str| {
        let builder = Node::builder(dir.path().join(nick)).nick(nick.parse().expect("a nickname"));
        builder.loopback().start().await.expect("the node starts")
    };
    let (ann, bob) = (start("ann").await, start("bob").await);
    let listening = bob.status().await.expect("the node runs").addrs[0];
    let path = path(listening).expect("the path opens");
    let peer = ann
        .resolve(path.addr().to_string().parse().expect("an address"))
        .await
        .expect("bob answers");
    let file = dir.path().join("film.mp4");
    fs::write(&file, bytes_of(1, len)).expect("there is disk space");
    let sent = ann
        .offer(peer.into(), file.clone())
        .await
        .expect("the file exists");
    ann.wait_for(sent.id, DeliveryState::Delivered)
        .await
        .expect("the offer is delivered");
    let mut events = bob.events();
    bob.accept(sent.id).await.expect("there is disk space");
    let place = tokio::time::timeout(TIMEOUT, async {
        loop {
            let event = events.next().await.expect("bob runs");
            if let Event::File(file) = event
                && file.id == sent.id
                && file.state == FileState::Done
            {
                return file.place.expect("a completed download has a path");
            }
        }
    });
    same(&file, &place.await.expect("the download completes in time"));
    path.max_in_flight()
}
