//! Which peers are admitted, and the reasons that the others get.

use std::fs;

use hobnob_protocol::relay::{Register, ToRelay, close, features};
use hobnob_relay::admission::{AllowList, BanTarget, Rule, Tokens};
use hobnob_relay::core::Limits;
use hobnob_relay::server::{Config, Fate, Server};

use crate::client::{Client, register, seed_of, within};
use crate::{Relay, config_in, server_in};

#[tokio::test]
async fn only_peers_with_the_token_are_admitted_and_the_others_get_advice() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "sesame\n").unwrap();
    let relay = Relay::with(Rule::Tokens(Tokens::read_one(file.path()).unwrap()));
    let ann = Client::new(1, relay.addr()).await;
    for (token, says) in [
        ("", "requires a token"),
        ("wrong", "does not accept your token"),
    ] {
        let ended = ann.is_refused(token).await;
        assert!(
            ended.code == close::NOT_ADMITTED && ended.reason.contains(says),
            "{ended:?}"
        );
    }
    assert!(ann.registers("sesame", &[]).await.1.is_ok());
    assert_eq!(relay.server.newcomers().read(Fate::NotAdmitted), 2);
}

#[tokio::test]
async fn only_listed_peers_are_admitted_and_have_the_operators_labels() {
    let (ann, bob) = (hobnob_protocol::SecretKey::from_seed(seed_of(1)).id(), 2);
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), format!("{ann} ann's laptop\n")).unwrap();
    let relay = Relay::with(Rule::Listed(AllowList::read(file.path()).unwrap()));
    let ended = Client::new(bob, relay.addr()).await.is_refused("").await;
    assert!(
        ended.code == close::NOT_ADMITTED && ended.reason.contains("list"),
        "{ended:?}"
    );
    let client = Client::new(1, relay.addr()).await;
    let (mut link, _) = client.joins(&[]).await;
    assert_eq!(
        relay.server.table().await.unwrap().peers[0]
            .label
            .as_deref(),
        Some("ann's laptop")
    );
    assert_eq!(relay.server.kick("ann's laptop").await.unwrap(), ann);
    assert_eq!(link.ends().await.code, close::KICKED);
}

#[tokio::test]
async fn a_ban_ends_the_connection_and_survives_a_restart_until_it_is_lifted() {
    let mut relay = Relay::start();
    let ann = Client::new(1, relay.addr()).await;
    let (mut link, _) = ann.joins(&[]).await;
    let banned = relay.server.ban(&ann.id().short()).await.unwrap();
    assert_eq!(banned, BanTarget::Peer(ann.id()));
    let ended = link.ends().await;
    assert!(
        ended.code == close::BANNED && ended.reason.contains("operator"),
        "{ended:?}"
    );
    assert_eq!(ann.is_refused("").await.code, close::BANNED);

    relay.restart().await;
    let ann = Client::new(1, relay.addr()).await;
    assert_eq!(ann.is_refused("").await.code, close::BANNED);
    assert!(relay.server.table().await.unwrap().bans.has_peer(ann.id()));
    assert_eq!(
        relay.server.unban(&ann.id().short()).await.unwrap(),
        BanTarget::Peer(ann.id())
    );
    ann.joins(&[]).await;

    relay.restart().await;
    Client::new(1, relay.addr()).await.joins(&[]).await;
}

#[tokio::test]
async fn a_ban_that_cannot_be_stored_applies_and_the_operator_is_informed() {
    let home = tempfile::tempdir().unwrap();
    let server = server_in(&home, "[::]:0".parse().unwrap(), Rule::Open);
    // A folder has the name of the file that the relay would write.
    fs::create_dir(home.path().join("banned.new")).unwrap();
    let ann = Client::new(1, crate::loopback_addr(&server)).await;
    let error = server.ban(&ann.id().to_string()).await.unwrap_err();
    assert!(
        error.to_string().contains("only until the relay ends"),
        "{error}"
    );
    assert_eq!(ann.is_refused("").await.code, close::BANNED);
}

fn tokens(text: &str) -> Rule {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    Rule::Tokens(Tokens::read(file.path()).unwrap())
}

#[tokio::test]
async fn a_token_is_rotated_without_a_refusal() {
    let relay = Relay::with(tokens("summer sesame\n"));
    let ann = Client::new(1, relay.addr()).await;
    let bob = Client::new(2, relay.addr()).await;
    let (mut old, welcome) = ann.registers("sesame", &[]).await;
    welcome.unwrap();
    let change = async |text| {
        let limits = Limits::default();
        relay
            .server
            .change(tokens(text), limits, None)
            .await
            .unwrap()
    };
    // Both are valid while the operator hands out the new one.
    let changed = change("summer sesame\nwinter poppy\n").await;
    assert_eq!(changed.disconnected, 0);
    let (_new, welcome) = bob.registers("poppy", &[]).await;
    welcome.unwrap();
    // When the old one is removed, those that still use it are disconnected.
    let changed = change("winter poppy\n").await;
    assert_eq!(changed.disconnected, 1);
    assert_eq!(old.ends().await.code, close::NOT_ADMITTED);
    assert!(
        ann.is_refused("sesame")
            .await
            .reason
            .contains("does not accept")
    );
    let past = change("winter poppy 2020-01-01\n").await;
    assert_eq!(past.disconnected, 0, "an expiry concerns registrations");
    assert!(ann.is_refused("poppy").await.reason.contains("has expired"));
}

#[tokio::test]
async fn a_banned_range_ends_connections_and_refuses_others_until_it_is_removed() {
    let mut relay = Relay::start();
    let ann = Client::new(1, relay.addr()).await;
    let (mut link, _) = ann.joins(&[]).await;
    let range = BanTarget::Range("127.0.0.0/8".parse().unwrap());
    assert_eq!(relay.server.ban("127.0.0.0/8").await.unwrap(), range);
    let ended = link.ends().await;
    assert!(
        ended.code == close::BANNED && ended.reason.contains("addresses"),
        "{ended:?}"
    );
    relay.restart().await;
    let bob = Client::new(2, relay.addr()).await;
    assert_eq!(bob.is_refused("").await.code, close::BANNED);
    let bans: Vec<_> = relay.server.table().await.unwrap().bans.targets().collect();
    assert_eq!(bans, [range]);
    assert_eq!(relay.server.unban("127.0.0.0/8").await.unwrap(), range);
    bob.joins(&[]).await;
}

#[tokio::test]
async fn bans_in_the_file_apply_after_a_change_and_a_broken_file_changes_nothing() {
    let relay = Relay::start();
    let ann = Client::new(1, relay.addr()).await;
    let (mut link, _) = ann.joins(&[]).await;
    let file = relay.home.path().join("banned");
    let change = async || {
        relay
            .server
            .change(Rule::Open, Limits::default(), None)
            .await
    };
    fs::write(&file, "nobody\n").unwrap();
    let error = change().await.unwrap_err();
    assert!(error.to_string().contains("line 1"), "{error}");
    fs::write(&file, format!("{}\n", ann.id())).unwrap();
    let changed = change().await.unwrap();
    assert_eq!((changed.bans_added, changed.disconnected), (1, 1));
    assert_eq!(link.ends().await.code, close::BANNED);
}

#[tokio::test]
async fn the_log_has_registrations_refusals_kicks_and_bans() {
    let relay = Relay::with(tokens("summer sesame\n"));
    let mut log = relay.server.log_events();
    let ann = Client::new(1, relay.addr()).await;
    let (addr, peer) = (ann.addr(), ann.id());
    ann.is_refused("wrong").await;
    let (_link, welcome) = ann.registers("sesame", &[]).await;
    welcome.unwrap();
    relay.server.kick(&peer.to_string()).await.unwrap();
    relay.server.ban(&peer.to_string()).await.unwrap();
    relay.server.unban(&peer.to_string()).await.unwrap();
    let at = format!("addr={} port={} peer={peer}", addr.ip(), addr.port());
    for expected in [
        format!("refused {at} reason=wrong-token"),
        format!("registered {at} token=summer"),
        format!("ended {at} reason=kicked"),
        format!("banned target={peer}"),
        format!("unbanned target={peer}"),
    ] {
        assert_eq!(within(log.recv()).await.unwrap().to_string(), expected);
    }
}

#[tokio::test]
async fn a_quota_survives_a_restart() {
    let mut relay = Relay::with_limits(Limits {
        day_quota: 2_000,
        ..Limits::default()
    });
    let (ann, bob) = (
        Client::new(1, relay.addr()).await,
        Client::new(2, relay.addr()).await,
    );
    let (mut link, _) = ann.joins(&[]).await;
    let (_other, _) = bob.joins(&[]).await;
    link.says(&ToRelay::Open(bob.id())).await;
    let (_, channel) = link.opened().await;
    ann.sends(channel, &[7; 1_000]).await;
    ann.sends(channel, &[7; 1_000]).await;
    let ended = link.ends().await;
    assert!(
        ended.code == close::QUOTA && ended.reason.contains("00:00 UTC"),
        "{ended:?}"
    );
    relay.server.shutdown().await;
    let limits = Limits {
        day_quota: 2_000,
        ..Limits::default()
    };
    relay.server = Server::start(Config {
        limits,
        ..config_in(&relay.home, "[::]:0".parse().unwrap(), Rule::Open)
    })
    .unwrap();
    let ann = Client::new(1, relay.addr()).await;
    assert_eq!(ann.is_refused("").await.code, close::QUOTA);
    Client::new(2, relay.addr()).await.joins(&[]).await;
}

#[tokio::test]
async fn an_allow_list_without_guests_admits_nobody_else_and_can_change() {
    let listed = |number| {
        let id = hobnob_protocol::SecretKey::from_seed(seed_of(number)).id();
        Rule::Listed([id].into_iter().collect())
    };
    for guests in [true, false] {
        let limits = Limits {
            guests,
            ..Limits::default()
        };
        let home = tempfile::tempdir().unwrap();
        let server = Server::start(Config {
            limits: limits.clone(),
            ..config_in(&home, "[::]:0".parse().unwrap(), listed(1))
        })
        .unwrap();
        let addr = crate::loopback_addr(&server);
        let (mut ann, _) = Client::new(1, addr).await.joins(&[]).await;
        let bob = Client::new(2, addr).await;
        let mut guest = bob.connects().await;
        let as_guest = Register {
            features: features::GUEST,
            ..register(None, &[])
        };
        guest.says(&ToRelay::Register(as_guest)).await;
        assert_eq!(guest.receives().await.is_ok(), guests);
        server.change(listed(2), limits, None).await.unwrap();
        assert_eq!(ann.ends().await.code, close::NOT_ADMITTED);
        bob.joins(&[]).await;
    }
}
