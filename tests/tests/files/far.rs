//! Files across an ocean: nodes of this very process, and a path between them that takes time.

use std::fs;
use std::time::Duration;

use hobnob::{DeliveryState, Event, FileState, Node};
use hobnob_tests::far::Far;

use crate::hand::{PATIENCE, bytes_of};
use crate::same;

/// More than one stream of QUIC's lets through in a round trip.
const MORE_THAN_A_LANE: u64 = 3 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_long_path_is_filled() {
    let dir = tempfile::tempdir().expect("a folder");
    let start = async |nick: &str| {
        let builder = Node::builder(dir.path().join(nick)).nick(nick.parse().expect("a nickname"));
        builder.loopback().start().await.expect("starts")
    };
    let (ann, bob) = (start("ann").await, start("bob").await);
    let listening = bob.status().await.expect("runs").addrs[0];
    let path = Far::away(listening, Duration::from_millis(150)).expect("a socket");
    let peer = ann.resolve(path.addr().to_string().parse().expect("an address")).await.expect("it answers");
    let file = dir.path().join("film.mp4");
    fs::write(&file, bytes_of(1, 64 << 20)).expect("there is room");
    let sent = ann.offer(peer.into(), file.clone()).await.expect("it is there");
    ann.wait_for(sent.id, DeliveryState::Delivered).await.expect("it comes");
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
    let most = path.most_under_way();
    assert!(most > MORE_THAN_A_LANE, "no more than {most} bytes were on the way at once");
}
