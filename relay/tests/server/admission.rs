//! Which peers are admitted, and the reasons that the others get.

use std::fs;

use hobnob_protocol::relay::close;
use hobnob_relay::admission::{AllowList, Rule, Token};
use hobnob_relay::server::Fate;

use crate::client::Client;
use crate::{Relay, server_in};

#[tokio::test]
async fn only_peers_with_the_token_are_admitted_and_the_others_get_advice() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "sesame\n").unwrap();
    let relay = Relay::with(Rule::Token(Token::read(file.path()).unwrap()));
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
    let (ann, bob) = (hobnob_protocol::SecretKey::from_seed([1; 32]).id(), 2);
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
    assert_eq!(relay.server.ban(&ann.id().short()).await.unwrap(), ann.id());
    let ended = link.ends().await;
    assert!(
        ended.code == close::BANNED && ended.reason.contains("operator"),
        "{ended:?}"
    );
    assert_eq!(ann.is_refused("").await.code, close::BANNED);

    relay.restart().await;
    let ann = Client::new(1, relay.addr()).await;
    assert_eq!(ann.is_refused("").await.code, close::BANNED);
    assert!(
        relay
            .server
            .table()
            .await
            .unwrap()
            .banned
            .contains(&ann.id())
    );
    assert_eq!(
        relay.server.unban(&ann.id().short()).await.unwrap(),
        ann.id()
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
