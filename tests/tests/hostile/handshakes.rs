//! Who doesn't prove its identity is no peer.

use hobnob_protocol::{ALPN_NODE, SecretKey};
use hobnob_tests::hostile::{Host, Mallory, Passport, Town};
use rustls::pki_types::CertificateDer;

#[test]
fn a_handshake_with_a_bad_signature_is_refused() {
    refuses(|key, _| Passport::with_bad_signature(key), "BadSignature");
}

#[test]
fn a_certificate_of_another_kind_of_key_is_refused() {
    refuses(|_, _| Passport::on_p256(), "not Ed25519");
}

#[test]
fn somebody_elses_certificate_without_their_key_is_refused() {
    refuses(|key, bobs| Passport::stolen(bobs, key), "BadSignature");
}

#[test]
fn two_certificates_are_refused() {
    refuses(Passport::with_another, "one certificate is expected");
}

#[test]
fn no_certificate_is_refused() {
    refuses(|_, _| Passport::none(), "sent no certificates");
}

#[test]
fn another_protocol_is_refused() {
    refuses(
        |key, _| Passport::of(key).speaking(b"hobnob/2"),
        "any known protocol",
    );
    assert_eq!(ALPN_NODE, b"hobnob/1");
}

#[test]
fn an_answering_node_that_shows_a_stolen_certificate_gets_nothing() {
    let town = Town::new();
    let bobs = town.attack(async |town: &Town| certificate_of(&town.bob).await);
    let mallory = town.attack(async |_: &Town| Mallory::new());
    mallory.answers_with(&Passport::stolen(bobs, mallory.key()));
    let ticket = format!("hobnob:{}?a={}", town.bob.id(), mallory.addr());
    town.bob.terminate();
    let ((), output) = town.attack_while(
        async |_: &Town| assert!(mallory.is_dialed().await.is_err(), "ann believed it"),
        || {
            town.ann
                .run(&["send", "--timeout", "5s", &ticket, "for bob only"])
        },
    );
    // Whoever is meant is not there: the message waits for them.
    output.expect(4);
    town.ann.is_up();
    town.ann.is_clean();
}

/// The victim refuses this passport, made of the attacker's key and bob's certificate, with this
/// cause in its log.
fn refuses(passport: impl FnOnce(&SecretKey, CertificateDer<'static>) -> Passport, cause: &str) {
    let town = Town::talkative();
    town.attack(async |town: &Town| {
        let mallory = Mallory::new();
        let passport = passport(mallory.key(), certificate_of(&town.bob).await);
        // A client's handshake can end before the server has judged it; but then the connection
        // ends.
        let Ok(connection) = mallory.dial(&town.ann, &passport).await else {
            return;
        };
        let reason = connection.closed().await;
        assert!(
            matches!(reason, quinn::ConnectionError::ConnectionClosed(_)),
            "{reason:?}"
        );
    });
    town.stands(&["a handshake failed", cause]);
    assert_eq!(
        town.ann.run(&["--json", "peers"]).expect(0).json().len(),
        1,
        "ann knows bob alone"
    );
}

async fn certificate_of(host: &Host) -> CertificateDer<'static> {
    let mallory = Mallory::new();
    let connection = mallory
        .dial(host, &Passport::of(mallory.key()))
        .await
        .expect("an honest handshake passes");
    let identity = connection.peer_identity().expect("the handshake is done");
    identity
        .downcast_ref::<Vec<CertificateDer<'static>>>()
        .expect("certificates")[0]
        .clone()
}
