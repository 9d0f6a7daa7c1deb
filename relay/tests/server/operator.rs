//! What the operator sees and does.

use hobnob_protocol::relay::close;
use hobnob_relay::core::State;
use hobnob_relay::server::OperatorError;

use crate::Relay;
use crate::client::{Client, within};

#[tokio::test]
async fn a_kick_ends_the_connection_with_a_sentence_and_the_peer_may_come_back() {
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
async fn a_word_that_means_nobody_is_refused_with_what_to_write() {
    let relay = Relay::start();
    for word in ["", "bob", "aaaaaaaa"] {
        let error = relay.server.ban(word).await.unwrap_err();
        assert!(
            error.is_about_the_name() && error.to_string().contains("hobnob relay peers"),
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
async fn a_relay_that_stopped_says_so() {
    let relay = Relay::start();
    relay.server.shutdown().await;
    assert!(matches!(
        relay.server.table().await,
        Err(OperatorError::Stopping)
    ));
}
