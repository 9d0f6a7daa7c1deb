//! The certificates that an attacker presents in the TLS handshake, valid or not, and how it signs
//! the handshake.

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

/// A certificate chain with a signing key, valid or not.
#[derive(Debug, Clone)]
pub struct TestCert {
    certified: Option<Arc<CertifiedKey>>,
    alpn: Vec<u8>,
}

impl TestCert {
    /// The certificate of an honest node with this key.
    pub fn of(key: &SecretKey) -> Self {
        let pkcs8 = PrivatePkcs8KeyDer::from(key.to_pkcs8().to_vec());
        Self::new(
            vec![certificate(&pkcs8, &rcgen::PKCS_ED25519)],
            &pkcs8,
            SignatureScheme::ED25519,
            false,
        )
    }

    /// An honest certificate, but an invalid signature of the handshake.
    pub fn with_bad_signature(key: &SecretKey) -> Self {
        let pkcs8 = PrivatePkcs8KeyDer::from(key.to_pkcs8().to_vec());
        Self::new(
            vec![certificate(&pkcs8, &rcgen::PKCS_ED25519)],
            &pkcs8,
            SignatureScheme::ED25519,
            true,
        )
    }

    /// A certificate with another kind of key: ECDSA on P-256.
    pub fn on_p256() -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
            .expect("a key can be generated");
        let pkcs8 = PrivatePkcs8KeyDer::from(pair.serialize_der());
        let certificate = certificate(&pkcs8, &rcgen::PKCS_ECDSA_P256_SHA256);
        Self::new(
            vec![certificate],
            &pkcs8,
            SignatureScheme::ECDSA_NISTP256_SHA256,
            false,
        )
    }

    /// The certificate of another peer. The attacker's own key signs the handshake.
    pub fn stolen(certificate: CertificateDer<'static>, own: &SecretKey) -> Self {
        let pkcs8 = PrivatePkcs8KeyDer::from(own.to_pkcs8().to_vec());
        Self::new(vec![certificate], &pkcs8, SignatureScheme::ED25519, false)
    }

    /// The attacker's own certificate, followed by another one.
    pub fn with_another(key: &SecretKey, other: CertificateDer<'static>) -> Self {
        let pkcs8 = PrivatePkcs8KeyDer::from(key.to_pkcs8().to_vec());
        let own = certificate(&pkcs8, &rcgen::PKCS_ED25519);
        Self::new(vec![own, other], &pkcs8, SignatureScheme::ED25519, false)
    }

    /// No certificate.
    pub fn none() -> Self {
        Self {
            certified: None,
            alpn: ALPN_NODE.to_vec(),
        }
    }

    /// The same certificate with another ALPN protocol.
    pub fn speaking(mut self, alpn: &[u8]) -> Self {
        self.alpn = alpn.to_vec();
        self
    }

    fn new(
        certificates: Vec<CertificateDer<'static>>,
        key: &PrivatePkcs8KeyDer<'static>,
        scheme: SignatureScheme,
        bad_signature: bool,
    ) -> Self {
        let signing =
            any_supported_type(&key.clone_key().into()).expect("rustls supports this kind of key");
        let key = Arc::new(FixedScheme {
            signing,
            scheme,
            bad_signature,
        });
        Self {
            certified: Some(Arc::new(CertifiedKey::new(certificates, key))),
            alpn: ALPN_NODE.to_vec(),
        }
    }

    /// TLS configuration for dialing with this certificate. It accepts any server certificate.
    pub(super) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAnyCert))
            .with_client_cert_resolver(Arc::new(FixedCert(self.certified.clone())));
        config.alpn_protocols = vec![self.alpn.clone()];
        config
    }

    /// TLS configuration for answering dials with this certificate.
    pub(super) fn server(&self) -> ServerConfig {
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has TLS 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(FixedCert(self.certified.clone())));
        config.alpn_protocols = vec![self.alpn.clone()];
        config
    }
}

fn certificate(
    key: &PrivatePkcs8KeyDer<'static>,
    kind: &'static rcgen::SignatureAlgorithm,
) -> CertificateDer<'static> {
    let pair =
        rcgen::KeyPair::from_pkcs8_der_and_sign_algo(key, kind).expect("the key is of this kind");
    rcgen::CertificateParams::default()
        .self_signed(&pair)
        .expect("the default parameters are valid")
        .der()
        .clone()
}

/// Presents the same certificate for every request.
#[derive(Debug)]
struct FixedCert(Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for FixedCert {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

impl ResolvesServerCert for FixedCert {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }
}

/// Signs with one scheme, whether or not the other end offers it. Can make invalid signatures.
#[derive(Debug)]
struct FixedScheme {
    signing: Arc<dyn SigningKey>,
    scheme: SignatureScheme,
    bad_signature: bool,
}

impl SigningKey for FixedScheme {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let signer = self.signing.choose_scheme(&[self.scheme])?;
        Some(Box::new(MaybeBadSigner {
            signer,
            bad_signature: self.bad_signature,
        }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.signing.algorithm()
    }
}

#[derive(Debug)]
struct MaybeBadSigner {
    signer: Box<dyn Signer>,
    bad_signature: bool,
}

impl Signer for MaybeBadSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let mut signature = self.signer.sign(message)?;
        if self.bad_signature {
            signature[20] ^= 1;
        }
        Ok(signature)
    }

    fn scheme(&self) -> SignatureScheme {
        self.signer.scheme()
    }
}

/// Accepts any certificate.
#[derive(Debug)]
struct AcceptAnyCert;

impl ServerCertVerifier for AcceptAnyCert {
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
