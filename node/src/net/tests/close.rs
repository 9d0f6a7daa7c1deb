//! Closes of connections that the other end receives.

use std::thread;

use quinn::ConnectionError;
use tokio::sync::oneshot;

use super::*;
use crate::net::close::hang_up;

#[test]
fn whoever_hangs_up_while_its_data_waits_for_acknowledgements_is_heard() {
    let alone = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let (here, there) = (&alone(), &alone());
    let ann = &here.block_on(async { node(1) });
    let mut bob = there.block_on(async { node(2) });
    let (dialed, accepted) = thread::scope(|scope| {
        let (addr, id) = (bob.addr, bob.id);
        let dialed = scope.spawn(move || {
            here.block_on(ann.endpoint.dial(addr, Some(id), LIMIT))
                .unwrap()
        });
        let accepted = there
            .block_on(within(bob.incoming.recv()))
            .unwrap()
            .connection;
        (dialed.join().unwrap(), accepted)
    });
    // From here on, bob's side sleeps: it acknowledges nothing.
    here.block_on(async {
        let before = dialed.stats().udp_tx.bytes;
        let mut stream = dialed.open_uni().await.unwrap();
        let writing = tokio::spawn(async move { stream.write_all(&[7; 8 * 1024 * 1024]).await });
        let is_full = || {
            let stats = dialed.stats();
            stats.udp_tx.bytes - before + u64::from(stats.path.current_mtu) >= stats.path.cwnd
        };
        within(async {
            while !is_full() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        hang_up(&dialed, 7, "enough");
        assert!(within(writing).await.unwrap().is_err());
    });
    let (enough, end) = oneshot::channel::<()>();
    let seen = thread::scope(|scope| {
        scope.spawn(|| here.block_on(end));
        let seen = there.block_on(within(accepted.closed()));
        drop(enough);
        seen
    });
    let ConnectionError::ApplicationClosed(closed) = seen else {
        panic!("not closed")
    };
    assert_eq!(
        (closed.error_code.into_inner(), &closed.reason[..]),
        (7, &b"enough"[..])
    );
}
