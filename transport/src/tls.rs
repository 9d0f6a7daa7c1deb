//! Proves the identity of both ends: mutual TLS 1.3 with self-signed Ed25519 certificates.
//!
//! A certificate is only the envelope of a public key. Its names, dates and own signature mean
//! nothing, and there is no CA. The proof is the signature of the handshake (RFC 8446 section
//! 4.4.3) by the key that is the peer's id.
//!
//! Neither side resumes sessions. Resumption skips the verifiers, and with them the check for the
//! expected peer. 0-RTT data can be replayed, and tickets link connections. A full handshake costs
//! a millisecond.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme};

use hobnob_protocol::{DeviceId, SecretKey};

/// The server name of every dial. TLS requires one; it is not sent.
pub const SERVER_NAME: &str = "hobnob.invalid";

/// An Ed25519 SubjectPublicKeyInfo up to the key (RFC 8410 section 4): always these bytes, then 32
/// of key.
const ED25519_SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// A node's certificate and key, from which each connection's TLS configuration is made.
pub struct Credentials {
    /// The self-signed certificate.
    pub certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl Credentials {
    /// Creates the certificate. It reveals nothing but the public key.
    pub fn new(key: &SecretKey) -> Self {
        let key = PrivatePkcs8KeyDer::from(key.to_pkcs8().to_vec());
        let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&key, &rcgen::PKCS_ED25519)
            .expect("a secret key encodes as the PKCS#8 document of an Ed25519 key");
        let certificate = rcgen::CertificateParams::default()
            .self_signed(&pair)
            .expect("the default parameters are valid");
        Self {
            certificate: certificate.der().clone(),
            key,
            provider: provider(),
        }
    }

    /// The configuration that accepts connections with the protocol `alpn`.
    pub fn server_config(&self, alpn: &[u8]) -> Arc<QuicServerConfig> {
        let verifier = Arc::new(Verifier::new(&self.provider, None));
        let mut config = rustls::ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has TLS 1.3")
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![self.certificate.clone()], self.private_key())
            .expect("the certificate was made from this key");
        config.alpn_protocols = vec![alpn.to_vec()];
        config.send_tls13_tickets = 0;
        Arc::new(
            QuicServerConfig::try_from(config)
                .expect("the provider has the suite of QUIC's first packets"),
        )
    }

    /// The configuration that dials the expected peer, or any peer, with the protocol `alpn`.
    pub fn client_config(&self, expected: Option<DeviceId>, alpn: &[u8]) -> ClientSetup {
        let verifier = Arc::new(Verifier::new(&self.provider, expected));
        let proven = verifier.proven.clone();
        let mut config = rustls::ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(vec![self.certificate.clone()], self.private_key())
            .expect("the certificate was made from this key");
        config.alpn_protocols = vec![alpn.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        let crypto = QuicClientConfig::try_from(config)
            .expect("the provider has the suite of QUIC's first packets");
        ClientSetup {
            crypto: Arc::new(crypto),
            proven,
        }
    }

    pub(crate) fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }

    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key().into()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// The TLS part of one dial.
pub struct ClientSetup {
    /// The configuration of this dial.
    pub crypto: Arc<QuicClientConfig>,
    /// The id that the answering node has proved, whether or not it is the expected one.
    pub proven: Arc<OnceLock<DeviceId>>,
}

/// The secret that only the two ends of a connection know, for one purpose (RFC 8446 section 7.5).
pub fn exported_secret(connection: &quinn::Connection, label: &[u8]) -> [u8; 32] {
    let mut secret = [0; 32];
    connection
        .export_keying_material(&mut secret, label, b"")
        .expect("32 bytes are not too many to export");
    secret
}

/// The peer at the other end, from quinn's `Connection::peer_identity`. The handshake has proved
/// it. `None` only before the handshake ends.
pub fn peer_id(identity: Option<Box<dyn Any>>) -> Option<DeviceId> {
    let identity = identity?;
    let chain = identity.downcast_ref::<Vec<CertificateDer<'static>>>()?;
    id_in(chain.first()?).ok()
}

/// aws-lc-rs, which has X25519MLKEM768 and, with the feature `prefer-post-quantum`, puts it first.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Why a peer's certificate is rejected.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("one certificate is expected, and this peer sent {0}")]
    Chain(usize),
    #[error("the certificate's key is not Ed25519")]
    KeyKind,
    #[error("the handshake is not signed with Ed25519")]
    Scheme,
    #[error("TLS 1.2 is not spoken here")]
    Tls12,
    #[error("this is {found}, not {expected}")]
    Identity { expected: DeviceId, found: DeviceId },
}

impl From<Refused> for rustls::Error {
    fn from(refused: Refused) -> Self {
        Self::Other(OtherError(Arc::new(refused)))
    }
}

/// The id in a certificate. It is only claimed until the signature of the handshake is verified.
fn id_in(certificate: &CertificateDer<'_>) -> Result<DeviceId, rustls::Error> {
    let key_info = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
    let key = key_info
        .strip_prefix(&ED25519_SPKI)
        .ok_or(Refused::KeyKind)?;
    Ok(DeviceId::from_bytes(
        key.try_into().map_err(|_| Refused::KeyKind)?,
    ))
}

/// Verifies the other end's certificate, on either side.
#[derive(Debug)]
pub struct Verifier {
    algorithms: WebPkiSupportedAlgorithms,
    expected: Option<DeviceId>,
    proven: Arc<OnceLock<DeviceId>>,
}

impl Verifier {
    /// Accepts only the expected peer, or any peer that proves its identity.
    pub fn new(provider: &CryptoProvider, expected: Option<DeviceId>) -> Self {
        Self {
            algorithms: provider.signature_verification_algorithms,
            expected,
            proven: Arc::default(),
        }
    }

    fn check_certificate(
        &self,
        first: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
    ) -> Result<(), rustls::Error> {
        if !rest.is_empty() {
            return Err(Refused::Chain(1 + rest.len()).into());
        }
        id_in(first).map(|_| ())
    }

    /// Verifies the signature, and only then compares ids. So every id in an error was proved.
    fn check_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if signature.scheme != SignatureScheme::ED25519 {
            return Err(Refused::Scheme.into());
        }
        let valid = rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.algorithms,
        )?;
        let found = id_in(certificate)?;
        self.proven.get_or_init(|| found);
        match self.expected {
            Some(expected) if expected != found => {
                Err(Refused::Identity { expected, found }.into())
            }
            Some(_) | None => Ok(valid),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check_certificate(end_entity, intermediates)
            .map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(Refused::Tls12.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.check_certificate(end_entity, intermediates)
            .map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(Refused::Tls12.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::NamedGroup;

    #[test]
    fn the_id_in_a_certificate_is_the_secret_keys() {
        let key = SecretKey::from_seed([3; 32]);
        assert_eq!(
            id_in(&Credentials::new(&key).certificate).unwrap(),
            key.id()
        );
    }

    #[test]
    fn key_exchange_is_post_quantum_by_default() {
        assert_eq!(provider().kx_groups[0].name(), NamedGroup::X25519MLKEM768);
    }

    #[test]
    fn no_damaged_certificate_panics_or_yields_another_id() {
        let key = SecretKey::from_seed([3; 32]);
        let good = Credentials::new(&key).certificate;
        for at in 0..good.len() {
            let mut bad = good.to_vec();
            bad[at] ^= 0x55;
            // A certificate whose key was changed is another key's, which then can't sign; anything
            // else is refused or the same.
            let _ = id_in(&CertificateDer::from(bad));
            let _ = id_in(&CertificateDer::from(good[..at].to_vec()));
        }
    }
}
