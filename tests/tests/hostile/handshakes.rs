//! Handshakes that do not prove an identity are refused.

use hobnob_protocol::{ALPN_NODE, SecretKey};
use hobnob_tests::hostile::{Host, Mallory, TestCert, TestNet};
use rustls::pki_types::CertificateDer;

#[test]
fn a_handshake_with_a_bad_signature_is_refused() {
    assert_refused(|key, _| TestCert::with_bad_signature(key), "BadSignature");
}

#[test]
fn a_certificate_of_another_kind_of_key_is_refused() {
    assert_refused(|_, _| TestCert::on_p256(), "not Ed25519");
}

#[test]
fn somebody_elses_certificate_without_their_key_is_refused() {
    assert_refused(|key, bobs| TestCert::stolen(bobs, key), "BadSignature");
}

#[test]
fn two_certificates_are_refused() {
    assert_refused(TestCert::with_another, "one certificate is expected");
}

#[test]
fn no_certificate_is_refused() {
    assert_refused(|_, _| TestCert::none(), "sent no certificates");
}

#[test]
fn another_alpn_protocol_is_refused() {
    assert_refused(
        |key, _| TestCert::of(key).speaking(b"hobnob/2"),
        "any known protocol",
    );
    assert_eq!(ALPN_NODE, b"hobnob/1");
}

#[test]
fn a_dialed_node_with_a_stolen_certificate_receives_no_message() {
    let net = TestNet::new();
    let bobs = net.attack(async |net: &TestNet| certificate_of(&net.bob).await);
    let mallory = net.attack(async |_: &TestNet| Mallory::new());
    mallory.answers_with(&TestCert::stolen(bobs, mallory.key()));
    let ticket = format!("hobnob:{}?a={}", net.bob.id(), mallory.addr());
    net.bob.terminate();
    let ((), output) = net.attack_while(
        async |_: &TestNet| {
            assert!(
                mallory.is_dialed().await.is_err(),
                "ann accepted the stolen certificate"
            )
        },
        || {
            net.ann
                .run(&["send", "--timeout", "5s", &ticket, "for bob only"])
        },
    );
    // Bob is offline, so the message stays queued for him.
    output.expect(4);
    net.ann.is_up();
    net.ann.is_clean();
}

/// Checks that ann refuses a certificate made from the attacker's key and bob's certificate, and
/// logs this cause.
fn assert_refused(cert: impl FnOnce(&SecretKey, CertificateDer<'static>) -> TestCert, cause: &str) {
    let net = TestNet::verbose();
    net.attack(async |net: &TestNet| {
        let mallory = Mallory::new();
        let cert = cert(mallory.key(), certificate_of(&net.bob).await);
        // The client's handshake can finish before the server has checked the certificate. The
        // server then closes the connection.
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
        "ann knows only bob"
    );
}

async fn certificate_of(host: &Host) -> CertificateDer<'static> {
    let mallory = Mallory::new();
    let connection = mallory
        .dial(host, &TestCert::of(mallory.key()))
        .await
        .expect("an honest handshake succeeds");
    let identity = connection.peer_identity().expect("the handshake is done");
    identity
        .downcast_ref::<Vec<CertificateDer<'static>>>()
        .expect("the identity is a list of certificates")[0]
        .clone()
}
