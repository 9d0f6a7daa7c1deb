//! Many connections and many identities of one attacker.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hobnob_protocol::{Frame, close};
use hobnob_tests::hostile::{Host, MIB, Mallory, RawStream, TestCert, TestNet};
use hobnob_tests::lab::until;
use quinn::TransportConfig;
use tokio::task::JoinSet;

/// An honest newcomer gets its session within this time.
const SERVED_WITHIN: Duration = Duration::from_secs(5);

/// Identities of one network that attack at once: more than a node has places. `HOBNOB_CROWD` is
/// another number of them.
const IDENTITIES: usize = 800;

/// Tasks that share these identities.
const ATTACKERS: usize = 40;

/// Memory for 512 sessions, for those that were replaced and have not ended yet, and for what the
/// node knows of the peers. A crowd of 5,000 makes it grow by 145 MiB.
const CROWD_MEMORY: u64 = 192 * MIB;

/// On a busy machine, each of them has tried once after this time.
const CROWD_COMES_WITHIN: Duration = Duration::from_secs(120);

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
fn a_crowd_from_one_host_excludes_nobody_else() {
    let net = TestNet::alone();
    let identities =
        std::env::var("HOBNOB_CROWD").map_or(IDENTITIES, |n| n.parse().expect("a number"));
    let begun = Arc::new(AtomicUsize::new(0));
    net.attack(async |net: &TestNet| {
        let mut crowd = JoinSet::new();
        for _ in 0..ATTACKERS {
            let own = identities / ATTACKERS;
            crowd.spawn(attack(net.ann.addr(), own, Arc::clone(&begun)));
        }
        until("the crowd has come", CROWD_COMES_WITHIN, || {
            let begun = begun.load(Ordering::Relaxed);
            (begun >= identities).then_some(()).ok_or(begun.to_string())
        });
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
        assert!(begun.load(Ordering::Relaxed) > identities, "it went on");
        crowd.shutdown().await;
        for (_, stream) in &mut others {
            assert!(answers_ping(stream).await, "it keeps its session");
        }
    });
    net.survives_within(&[], CROWD_MEMORY);
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

/// Connects again and again, as one identity after another. Each keeps its session while it can.
async fn attack(victim: SocketAddr, identities: usize, begun: Arc<AtomicUsize>) {
    let identities: Vec<_> = (0..identities).map(|_| Mallory::new()).collect();
    let mut sessions = VecDeque::new();
    for mallory in identities.iter().cycle() {
        sessions.push_back(mallory.try_session_at(victim).await);
        begun.fetch_add(1, Ordering::Relaxed);
        if sessions.len() > identities.len() {
            sessions.pop_front();
        }
    }
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
