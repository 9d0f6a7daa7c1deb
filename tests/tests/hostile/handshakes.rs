//! Who doesn't prove its identity is no peer.

use hobnob_protocol::{ALPN_NODE, SecretKey};
use hobnob_tests::hostile::{Host, Mallory, TestCert, TestNet};
use rustls::pki_types::CertificateDer;

#[test]
fn a_handshake_with_a_bad_signature_is_refused() {
    refuses(|key, _| TestCert::with_bad_signature(key), "BadSignature");
}

#[test]
fn a_certificate_of_another_kind_of_key_is_refused() {
    refuses(|_, _| TestCert::on_p256(), "not Ed25519");
}

#[test]
fn somebody_elses_certificate_without_their_key_is_refused() {
    refuses(|key, bobs| TestCert::stolen(bobs, key), "BadSignature");
}

#[test]
fn two_certificates_are_refused() {
    refuses(TestCert::with_another, "one certificate is expected");
}

#[test]
fn no_certificate_is_refused() {
    refuses(|_, _| TestCert::none(), "sent no certificates");
}

#[test]
fn another_protocol_is_refused() {
    refuses(
        |key, _| TestCert::of(key).speaking(b"hobnob/2"),
        "any known protocol",
    );
    assert_eq!(ALPN_NODE, b"hobnob/1");
}

#[test]
fn an_answering_node_that_shows_a_stolen_certificate_gets_nothing() {
    let net = TestNet::new();
    let bobs = net.attack(async |net: &TestNet| certificate_of(&net.bob).await);
    let mallory = net.attack(async |_: &TestNet| Mallory::new());
    mallory.answers_with(&TestCert::stolen(bobs, mallory.key()));
    let ticket = format!("hobnob:{}?a={}", net.bob.id(), mallory.addr());
    net.bob.terminate();
    let ((), output) = net.attack_while(
        async |_: &TestNet| assert!(mallory.is_dialed().await.is_err(), "ann believed it"),
        || {
            net.ann
                .run(&["send", "--timeout", "5s", &ticket, "for bob only"])
        },
    );
    // Whoever is meant is not there: the message waits for them.
    output.expect(4);
    net.ann.is_up();
    net.ann.is_clean();
}

/// The victim refuses this cert, made of the attacker's key and bob's certificate, with this
/// cause in its log.
fn refuses(cert: impl FnOnce(&SecretKey, CertificateDer<'static>) -> TestCert, cause: &str) {
    let net = TestNet::verbose();
    net.attack(async |net: &TestNet| {
        let mallory = Mallory::new();
        let cert = cert(mallory.key(), certificate_of(&net.bob).await);
        // A client's handshake can end before the server has judged it; but then the connection
        // ends.
        let Ok(connection) = mallory.dial(&net.ann, &cert).await else {
            return;
        };
        let reason = connection.closed().await;
        assert!(
            matches!(reason, quinn::ConnectionError::ConnectionClosed(_)),
            "{reason:?}"
        );
    });
    net.survives(&["a handshake failed", cause]);
    assert_eq!(
        net.ann.run(&["--json", "peers"]).expect(0).json().len(),
        1,
        "ann knows bob alone"
    );
}

async fn certificate_of(host: &Host) -> CertificateDer<'static> {
    let mallory = Mallory::new();
    let connection = mallory
        .dial(host, &TestCert::of(mallory.key()))
        .await
        .expect("an honest handshake passes");
    let identity = connection.peer_identity().expect("the handshake is done");
    identity
        .downcast_ref::<Vec<CertificateDer<'static>>>()
        .expect("certificates")[0]
        .clone()
}
