//! Requests of the operator.

use hobnob_protocol::relay::close;
use hobnob_relay::core::State;
use hobnob_relay::server::OperatorError;

use crate::Relay;
use crate::client::{Client, within};

#[tokio::test]
async fn a_kick_ends_the_connection_with_a_reason_and_the_peer_may_return() {
    let relay = Relay::start();
    let ann = Client::new(1, relay.addr()).await;
    let (mut link, _) = ann.joins(&[]).await;
    relay.server.kick(&ann.id().short()).await.unwrap();
    let ended = link.ends().await;
    assert!(
        ended.code == close::KICKED && ended.reason.contains("operator"),
        "{ended:?}"
    );
    let again = relay.server.kick(&ann.id().short()).await.unwrap_err();
    assert!(
        matches!(again, OperatorError::NotConnected(peer) if peer == ann.id()),
        "{again}"
    );
    ann.joins(&[]).await;
}

#[tokio::test]
async fn a_target_that_means_nobody_is_an_error() {
    let relay = Relay::start();
    for word in ["", "bob", "aaaaaaaa"] {
        let error = relay.server.ban(word).await.unwrap_err();
        assert!(
            matches!(&error, OperatorError::Unknown(target) if target == word),
            "{error}"
        );
    }
    let ann = Client::new(1, relay.addr()).await.id().to_string();
    assert!(matches!(
        relay.server.unban(&ann).await,
        Err(OperatorError::NotBanned(_))
    ));
    relay.server.ban(&ann).await.unwrap();
    assert!(matches!(
        relay.server.ban(&ann).await,
        Err(OperatorError::BannedAlready(_))
    ));
}

#[tokio::test]
async fn a_peer_that_left_stays_in_the_table_as_gone() {
    let relay = Relay::start();
    let ann = Client::new(1, relay.addr()).await;
    let (link, _) = ann.joins(&[]).await;
    link.connection.close(close::BYE.into(), b"");
    let gone = async || {
        let table = relay.server.table().await.unwrap();
        table.connections == 0 && table.peers[0].row.state == State::Gone
    };
    within(async { while !gone().await {} }).await;
}

#[tokio::test]
async fn a_stopped_relay_reports_that_it_is_stopping() {
    let relay = Relay::start();
    relay.server.shutdown().await;
    assert!(matches!(
        relay.server.table().await,
        Err(OperatorError::Stopping)
    ));
}
