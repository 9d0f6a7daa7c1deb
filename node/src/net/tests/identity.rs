//! Peers that are not who they claim to be, at either end.

use quinn::ConnectionError;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::*;
use crate::net::endpoint::DialError;
use hobnob_transport::tls::{Credentials, Verifier, provider};

/// How somebody shows up at a handshake.
struct Rogue {
    what: &'static str,
    chain: Vec<CertificateDer<'static>>,
    signs_with: Arc<dyn SigningKey>,
    alpn: &'static [u8],
}

fn certificate(seed: u8) -> CertificateDer<'static> {
    Credentials::new(&SecretKey::from_seed([seed; 32])).certificate
}

fn signing_key(seed: u8) -> Arc<dyn SigningKey> {
    let key = PrivateKeyDer::Pkcs8(SecretKey::from_seed([seed; 32]).to_pkcs8().to_vec().into());
    rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap()
}

fn rogues() -> Vec<Rogue> {
    let p256 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let p256_certificate = rcgen::CertificateParams::default()
        .self_signed(&p256)
        .unwrap()
        .der()
        .clone();
    let p256_key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(p256.serialize_der()));
    let p256_key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&p256_key).unwrap();
    let rogue = |what, chain, signs_with| Rogue {
        what,
        chain,
        signs_with,
        alpn: hobnob_protocol::ALPN_NODE,
    };
    vec![
        rogue(
            "somebody else's certificate",
            vec![certificate(2)],
            signing_key(7),
        ),
        rogue(
            "a spoiled signature",
            vec![certificate(7)],
            Arc::new(Spoiled(signing_key(7))),
        ),
        rogue(
            "a key of another kind",
            vec![p256_certificate.clone()],
            p256_key,
        ),
        rogue(
            "a certificate of another kind",
            vec![p256_certificate],
            signing_key(7),
        ),
        rogue(
            "two certificates",
            vec![certificate(7), certificate(7)],
            signing_key(7),
        ),
        rogue(
            "no certificate that can be read",
            vec![CertificateDer::from(vec![0x30, 3, 1, 2, 3])],
            signing_key(7),
        ),
        Rogue {
            alpn: b"h3",
            ..rogue("another protocol", vec![certificate(7)], signing_key(7))
        },
    ]
}

impl Rogue {
    fn certified(&self) -> Arc<SingleCertAndKey> {
        Arc::new(CertifiedKey::new(self.chain.clone(), self.signs_with.clone()).into())
    }

    fn server(&self) -> quinn::Endpoint {
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(self.certified());
        config.alpn_protocols = vec![self.alpn.to_vec()];
        let crypto = Arc::new(QuicServerConfig::try_from(config).unwrap());
        quinn::Endpoint::server(
            quinn::ServerConfig::with_crypto(crypto),
            "127.0.0.1:0".parse().unwrap(),
        )
        .unwrap()
    }

    fn client_config(&self) -> quinn::ClientConfig {
        let verifier: Arc<dyn ServerCertVerifier> = Arc::new(Verifier::new(&provider(), None));
        let mut config = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(self.certified());
        config.alpn_protocols = vec![self.alpn.to_vec()];
        quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_dialed_and_does_not_prove_its_key_is_refused() {
    let ann = node(1);
    for rogue in rogues() {
        let server = rogue.server();
        let accepting = tokio::spawn({
            let server = server.clone();
            async move {
                while let Some(incoming) = server.accept().await.and_then(|i| i.accept().ok()) {
                    let _ = incoming.await;
                }
            }
        });
        let error = ann
            .endpoint
            .dial(server.local_addr().unwrap(), None, LIMIT)
            .await
            .unwrap_err();
        match rogue.what {
            "another protocol" => assert_eq!(error, DialError::OtherProtocol),
            what => assert!(matches!(error, DialError::Tls(_)), "{what}: {error:?}"),
        }
        server.close(0u32.into(), b"");
        accepting.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dials_and_does_not_prove_its_key_is_refused() {
    let (ann, mut bob) = (node(1), node(2));
    for rogue in rogues() {
        let client = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let connecting = client
            .connect_with(rogue.client_config(), bob.addr, "x.invalid")
            .unwrap();
        let error = match within(connecting).await {
            // The client is done before the server has judged it.
            Ok(connection) => within(connection.closed()).await,
            Err(error) => error,
        };
        let refused = matches!(
            error,
            ConnectionError::ConnectionClosed(_) | ConnectionError::TransportError(_)
        );
        assert!(refused, "{}: {error:?}", rogue.what);
    }
    // The first that comes through is the first that is honest.
    let (_dialed, accepted) = ann.dials(&mut bob).await;
    assert_eq!(accepted.peer, ann.id);
}

/// Signs, and turns a bit.
#[derive(Debug)]
struct Spoiled(Arc<dyn SigningKey>);

#[derive(Debug)]
struct SpoiledSigner(Box<dyn Signer>);

impl SigningKey for Spoiled {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        self.0
            .choose_scheme(offered)
            .map(|signer| Box::new(SpoiledSigner(signer)) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl Signer for SpoiledSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.0.sign(message).map(|mut signature| {
            signature[10] ^= 1;
            signature
        })
    }

    fn scheme(&self) -> SignatureScheme {
        self.0.scheme()
    }
}
