//! What an attacker shows in the TLS handshake: any certificates, signed for by any key in any way.

use std::sync::Arc;

use hobnob_protocol::{ALPN_NODE, SecretKey};
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{default_provider, sign::any_supported_type};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureAlgorithm, SignatureScheme,
};

/// A proof of identity, right or wrong.
#[derive(Debug, Clone)]
pub struct TestCert {
    shown: Option<Arc<CertifiedKey>>,
    alpn: Vec<u8>,
}

impl TestCert {
    /// What an honest node with this key shows.
    pub fn of(key: &SecretKey) -> Self {
        let document = PrivatePkcs8KeyDer::from(key.to_pkcs8().to_vec());
        Self::new(
            vec![certificate(&document, &rcgen::PKCS_ED25519)],
            &document,
            SignatureScheme::ED25519,
            false,
        )
    }

    /// An honest certificate with a signature that is not of the handshake.
    pub fn with_bad_signature(key: &SecretKey) -> Self {
        let document = PrivatePkcs8KeyDer::from(key.to_pkcs8().to_vec());
        Self::new(
            vec![certificate(&document, &rcgen::PKCS_ED25519)],
            &document,
            SignatureScheme::ED25519,
            true,
        )
    }

    /// A key of another kind: ECDSA on P-256.
    pub fn on_p256() -> Self {
        let pair =
            rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key is made");
        let document = PrivatePkcs8KeyDer::from(pair.serialize_der());
        let certificate = certificate(&document, &rcgen::PKCS_ECDSA_P256_SHA256);
        Self::new(
            vec![certificate],
            &document,
            SignatureScheme::ECDSA_NISTP256_SHA256,
            false,
        )
    }

    /// Somebody else's certificate, signed for with the key that the attacker has.
    pub fn stolen(certificate: CertificateDer<'static>, own: &SecretKey) -> Self {
        let document = PrivatePkcs8KeyDer::from(own.to_pkcs8().to_vec());
        Self::new(
            vec![certificate],
            &document,
            SignatureScheme::ED25519,
            false,
        )
    }

    /// Its own certificate and another one behind it.
    pub fn with_another(key: &SecretKey, other: CertificateDer<'static>) -> Self {
        let document = PrivatePkcs8KeyDer::from(key.to_pkcs8().to_vec());
        let own = certificate(&document, &rcgen::PKCS_ED25519);
        Self::new(vec![own, other], &document, SignatureScheme::ED25519, false)
    }

    /// No certificate at all.
    pub fn none() -> Self {
        Self {
            shown: None,
            alpn: ALPN_NODE.to_vec(),
        }
    }

    /// This cert, for another protocol.
    pub fn speaking(mut self, alpn: &[u8]) -> Self {
        self.alpn = alpn.to_vec();
        self
    }

    fn new(
        certificates: Vec<CertificateDer<'static>>,
        key: &PrivatePkcs8KeyDer<'static>,
        scheme: SignatureScheme,
        spoil: bool,
    ) -> Self {
        let signing =
            any_supported_type(&key.clone_key().into()).expect("a key of a kind that rustls knows");
        let key = Arc::new(Stubborn {
            signing,
            scheme,
            spoil,
        });
        Self {
            shown: Some(Arc::new(CertifiedKey::new(certificates, key))),
            alpn: ALPN_NODE.to_vec(),
        }
    }

    /// TLS for dialing with this cert; whoever answers is believed.
    pub(super) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Gullible))
            .with_client_cert_resolver(Arc::new(Show(self.shown.clone())));
        config.alpn_protocols = vec![self.alpn.clone()];
        config
    }

    /// TLS for answering dials with this cert.
    pub(super) fn server(&self) -> ServerConfig {
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has TLS 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Show(self.shown.clone())));
        config.alpn_protocols = vec![self.alpn.clone()];
        config
    }
}

fn certificate(
    key: &PrivatePkcs8KeyDer<'static>,
    kind: &'static rcgen::SignatureAlgorithm,
) -> CertificateDer<'static> {
    let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(key, kind).expect("a key of that kind");
    rcgen::CertificateParams::default()
        .self_signed(&pair)
        .expect("the default parameters are valid")
        .der()
        .clone()
}

/// Shows the same, whatever is asked for.
#[derive(Debug)]
struct Show(Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for Show {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

impl ResolvesServerCert for Show {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }
}

/// Signs in one way, offered or not, and wrongly if it is to.
#[derive(Debug)]
struct Stubborn {
    signing: Arc<dyn SigningKey>,
    scheme: SignatureScheme,
    spoil: bool,
}

impl SigningKey for Stubborn {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let signer = self.signing.choose_scheme(&[self.scheme])?;
        Some(Box::new(Spoiled {
            signer,
            spoil: self.spoil,
        }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.signing.algorithm()
    }
}

#[derive(Debug)]
struct Spoiled {
    signer: Box<dyn Signer>,
    spoil: bool,
}

impl Signer for Spoiled {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let mut signature = self.signer.sign(message)?;
        if self.spoil {
            signature[20] ^= 1;
        }
        Ok(signature)
    }

    fn scheme(&self) -> SignatureScheme {
        self.signer.scheme()
    }
}

/// Believes anything.
#[derive(Debug)]
struct Gullible;

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
