//! Many connections, and many identities, of one attacker.

use hobnob_protocol::frame::Profile;
use hobnob_protocol::{Frame, close};
use hobnob_tests::hostile::{Host, Line, MIB, Mallory, Passport, Town};

/// Sessions of a node, as the design has it.
const SESSIONS_MAX: usize = 512;

#[test]
fn six_hundred_identities_get_512_sessions_and_the_honest_one_stays() {
    let town = Town::alone();
    town.attack(async |town: &Town| {
        let (mut crowd, mut refused) = (Vec::new(), 0);
        for n in 0..600 {
            let mallory = Mallory::new();
            let mut line = mallory.connected(&town.ann).await;
            let greeted = line
                .try_greet(Profile {
                    nick: format!("{n}"),
                    ..Profile::default()
                })
                .await
                .is_some();
            if greeted && lives(&mut line).await {
                crowd.push((mallory, line));
            } else {
                assert_eq!(line.is_closed().await.0, u64::from(close::FULL));
                refused += 1;
            }
        }
        assert_eq!(
            (crowd.len(), refused),
            (SESSIONS_MAX - 1, 600 - SESSIONS_MAX + 1),
            "bob has one, the crowd the rest"
        );
        town.talks("among the crowd");
    });
    // 512 sessions of at most 100 KiB when they hold nothing, and the peers to remember.
    town.stands_with(&[], 96 * MIB);
    let carl = Host::up(town.dir(), "carl");
    carl.tells(&town.ann.addr().to_string(), "is there room again?");
}

#[test]
fn one_identity_that_connects_again_and_again_has_one_session() {
    let town = Town::alone();
    town.attack(async |town: &Town| {
        let mallory = Mallory::new();
        for _ in 0..200 {
            mallory.in_session(&town.ann).await;
        }
        town.talks("meanwhile");
    });
    let peers = town.ann.run(&["--json", "peers"]).expect(0).json();
    assert_eq!(peers.len(), 2, "bob and mallory: {peers:?}");
    town.stands_with(&[], 48 * MIB);
}

#[test]
fn connections_that_never_say_hello_keep_no_real_peer_out() {
    let town = Town::alone();
    town.attack_while(
        async |town: &Town| {
            let mallory = Mallory::new();
            let mut silent = Vec::new();
            for _ in 0..500 {
                if let Ok(connection) = mallory.dial(&town.ann, &Passport::of(mallory.key())).await
                {
                    silent.push(connection);
                }
                tokio::time::sleep(std::time::Duration::from_millis(15)).await;
            }
        },
        || {
            hobnob_tests::lab::pause(std::time::Duration::from_secs(2));
            let carl = Host::up(town.dir(), "carl");
            carl.tells(&town.ann.addr().to_string(), "may I come in?");
            town.talks("meanwhile");
        },
    );
    town.stands_with(&[], 48 * MIB);
}

/// Whether the session is still there once all that the victim has to say was heard.
async fn lives(line: &mut Line) -> bool {
    line.says(&Frame::Ping(7)).await;
    loop {
        match line.hears().await {
            Some(Frame::Pong(7)) => return true,
            Some(_) => {}
            None => return false,
        }
    }
}
