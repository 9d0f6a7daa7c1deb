//! The certificate of one share. Nobody vouches for it: people compare its fingerprint.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// A certificate for these addresses, and its fingerprint as browsers show it.
pub(super) fn certificate(ips: &[IpAddr]) -> Result<(ServerConfig, String), rcgen::Error> {
    // ECDSA with P-256: browsers accept no Ed25519.
    let key = rcgen::KeyPair::generate()?;
    let names = ips.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut parameters = rcgen::CertificateParams::new(names)?;
    let mut name = rcgen::DistinguishedName::new();
    name.push(rcgen::DnType::CommonName, "hobnob share");
    parameters.distinguished_name = name;
    let certificate = parameters.self_signed(&key)?;
    let fingerprint = fingerprint(certificate.der());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("the key is that of the certificate");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((config, fingerprint))
}

/// The SHA-256 fingerprint: 32 pairs of hex digits, with colons.
fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let digest = digest(&SHA256, certificate);
    let pairs = digest.as_ref().iter().map(|byte| format!("{byte:02X}"));
    pairs.collect::<Vec<_>>().join(":")
}
