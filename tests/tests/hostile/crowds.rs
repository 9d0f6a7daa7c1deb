//! Many connections and many identities of one attacker.

use std::net::SocketAddr;
use std::time::Duration;

use hobnob_protocol::{Frame, close};
use hobnob_tests::hostile::{Host, MIB, Mallory, RawStream, TestCert, TestNet};
use quinn::TransportConfig;

/// An honest newcomer gets its session within this time.
const SERVED_WITHIN: Duration = Duration::from_secs(5);

/// The maximum number of sessions of a node.
const SESSIONS_MAX: usize = 512;

#[test]
fn six_hundred_identities_get_512_sessions_and_the_honest_peer_keeps_its_own() {
    let net = TestNet::alone();
    net.attack(async |net: &TestNet| {
        let (mut crowd, mut refused) = (Vec::new(), 0);
        for n in 0..600 {
            let mallory = Mallory::new();
            let mut stream = mallory.connected(&net.ann).await;
            let greeted = stream
                .try_greet(mallory.profile(&format!("{n}")))
                .await
                .is_some();
            if greeted && answers_ping(&mut stream).await {
                crowd.push((mallory, stream));
            } else {
                assert_eq!(stream.is_closed().await.0, u64::from(close::FULL));
                refused += 1;
            }
        }
        assert_eq!(
            (crowd.len(), refused),
            (SESSIONS_MAX - 1, 600 - SESSIONS_MAX + 1),
            "bob has one session, the crowd the rest"
        );
        net.talks("among the crowd");
    });
    // 512 idle sessions of at most 100 KiB each, plus the list of known peers.
    net.survives_within(&[], 96 * MIB);
    let carl = Host::up(net.dir(), "carl");
    carl.tells(&net.ann.addr().to_string(), "is there room again?");
}

#[test]
fn a_crowd_from_one_host_makes_room_for_everybody_else() {
    let net = TestNet::alone();
    net.attack(async |net: &TestNet| {
        let mut crowd = Vec::new();
        for _ in 0..SESSIONS_MAX + 88 {
            let mallory = Mallory::new();
            let mut stream = mallory.connected(&net.ann).await;
            // The node refuses the last ones.
            let _refused = stream.try_greet(mallory.profile("crowd")).await;
            crowd.push((mallory, stream));
        }
        let mut others = Vec::new();
        for n in 1..=20 {
            let elsewhere = SocketAddr::from(([127, 0, n, 1], 0));
            let other = Mallory::at(elsewhere, TransportConfig::default());
            let session = async {
                let mut stream = other.in_session(&net.ann).await;
                assert!(answers_ping(&mut stream).await);
                stream
            };
            let stream = tokio::time::timeout(SERVED_WITHIN, session)
                .await
                .expect("a newcomer from another host is served soon");
            others.push((other, stream));
        }
        net.talks("among the crowd");
        for (_, stream) in &mut others {
            assert!(answers_ping(stream).await, "it keeps its session");
        }
    });
    net.survives_within(&[], 96 * MIB);
}

#[test]
fn one_identity_that_connects_repeatedly_has_one_session() {
    let net = TestNet::alone();
    net.attack(async |net: &TestNet| {
        let mallory = Mallory::new();
        for _ in 0..200 {
            mallory.in_session(&net.ann).await;
        }
        net.talks("meanwhile");
    });
    let peers = net.ann.run(&["--json", "peers"]).expect(0).json();
    assert_eq!(peers.len(), 2, "bob and mallory: {peers:?}");
    net.survives_within(&[], 48 * MIB);
}

#[test]
fn connections_that_never_send_hello_exclude_no_honest_peer() {
    let net = TestNet::alone();
    net.attack_while(
        async |net: &TestNet| {
            let mallory = Mallory::new();
            let mut silent = Vec::new();
            for _ in 0..500 {
                if let Ok(connection) = mallory.dial(&net.ann, &TestCert::of(mallory.key())).await {
                    silent.push(connection);
                }
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        },
        || {
            hobnob_tests::lab::pause(Duration::from_secs(2));
            let carl = Host::up(net.dir(), "carl");
            carl.tells(&net.ann.addr().to_string(), "may I come in?");
            net.talks("meanwhile");
        },
    );
    net.survives_within(&[], 48 * MIB);
}

/// Sends a ping and reads all frames up to its answer. Returns false if the session has ended.
async fn answers_ping(stream: &mut RawStream) -> bool {
    stream.sends(&Frame::Ping(7)).await;
    loop {
        match stream.receives().await {
            Some(Frame::Pong(7)) => return true,
            Some(_) => {}
            None => return false,
        }
    }
}
