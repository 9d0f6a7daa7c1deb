//! The outer TLS of a stream. It hides nothing that the QUIC inside does not protect again, and
//! proves nothing: firewalls expect it. So a node accepts any certificate here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

pub use tokio_rustls::TlsAcceptor;

use crate::tls::Credentials;

/// The protocols that HTTPS clients offer.
const ALPN_HTTP: &[u8] = b"http/1.1";

/// Bytes that TLS holds unsent: one record. The rest waits in the bounded queue.
const BUFFER_BYTES: usize = 16 * 1024;

/// Why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file can't be read, or is no PEM file of the right kind.
    #[error("can't use {} ({error})", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The fault.
        error: rustls::pki_types::pem::Error,
    },
    /// The key does not belong to the certificate, or is of a kind that is not supported.
    #[error("the key in {} does not fit the certificate ({error})", path.display())]
    Key {
        /// The file of the key.
        path: PathBuf,
        /// The fault.
        error: rustls::Error,
    },
}

/// The server's end of the outer TLS, with a relay's own certificate.
pub fn acceptor(credentials: &Credentials) -> TlsAcceptor {
    let config = server_config(
        credentials.provider(),
        vec![credentials.certificate.clone()],
        credentials.private_key(),
    );
    TlsAcceptor::from(config.expect("the certificate was made from this key"))
}

/// The server's end of the outer TLS, with a certificate from PEM files.
pub fn acceptor_from_files(
    certificate: &Path,
    key: &Path,
) -> Result<TlsAcceptor, CertificateError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        |error| CertificateError::File { path, error }
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(|chain| chain.collect::<Result<Vec<_>, _>>())
        .map_err(failed(certificate))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(failed(key))?;
    server_config(&crate::tls::provider(), chain, secret)
        .map(TlsAcceptor::from)
        .map_err(|error| CertificateError::Key {
            path: key.to_owned(),
            error,
        })
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN_HTTP.to_vec()];
    // Tickets would link a node's connections, and cost memory.
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Completes the server's handshake.
pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    acceptor: &TlsAcceptor,
    io: S,
) -> std::io::Result<tokio_rustls::server::TlsStream<S>> {
    let bounded = |connection: &mut rustls::ServerConnection| {
        connection.set_buffer_limit(Some(BUFFER_BYTES));
    };
    acceptor.accept_with(io, bounded).await
}

/// Completes the client's handshake with this host. A name is sent to the server (SNI), an address
/// is not.
pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    host: &str,
    io: S,
) -> std::io::Result<tokio_rustls::client::TlsStream<S>> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error))?;
    let bounded = |connection: &mut rustls::ClientConnection| {
        connection.set_buffer_limit(Some(BUFFER_BYTES));
    };
    TlsConnector::from(client_config())
        .connect_with(name, io, bounded)
        .await
}

fn client_config() -> Arc<ClientConfig> {
    let provider = crate::tls::provider();
    let verifier = Arc::new(AnyCertificate(
        provider
            .signature_verification_algorithms
            .supported_schemes(),
    ));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_HTTP.to_vec()];
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// Accepts every certificate: the QUIC connection inside proves the relay's identity.
#[derive(Debug)]
struct AnyCertificate(Vec<SignatureScheme>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_protocol::SecretKey;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn speaks(acceptor: TlsAcceptor) {
        let (ours, theirs) = tokio::io::duplex(16 * 1024);
        let serving = async {
            let mut io = accept(&acceptor, ours).await.unwrap();
            io.write_all(b"hello").await.unwrap();
            io.flush().await.unwrap();
            assert_eq!(io.get_ref().1.server_name(), Some("relay.example"));
            io
        };
        let dialing = async {
            let mut io = connect("relay.example", theirs).await.unwrap();
            let mut read = [0; 5];
            io.read_exact(&mut read).await.unwrap();
            assert_eq!(&read, b"hello");
            io
        };
        let _both = tokio::join!(serving, dialing);
    }

    #[tokio::test]
    async fn a_relays_own_certificate_serves() {
        speaks(acceptor(&Credentials::new(&SecretKey::from_seed([3; 32])))).await;
    }

    #[tokio::test]
    async fn a_certificate_from_files_serves_and_a_wrong_key_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let made = |n: &str| {
            let pair = rcgen::KeyPair::generate().unwrap();
            let certificate = rcgen::CertificateParams::new(vec![n.to_owned()]).unwrap();
            let certificate = certificate.self_signed(&pair).unwrap();
            let pem = |label: &str, der: &[u8]| {
                let body = data_encoding::BASE64.encode(der);
                format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
            };
            (
                write(&format!("{n}.crt"), pem("CERTIFICATE", certificate.der())),
                write(
                    &format!("{n}.key"),
                    pem("PRIVATE KEY", &pair.serialize_der()),
                ),
            )
        };
        let ((certificate, key), (_, other)) = (made("a.example"), made("b.example"));
        speaks(acceptor_from_files(&certificate, &key).unwrap()).await;
        let fault = |certificate, key| match acceptor_from_files(certificate, key) {
            Ok(_) => panic!("it must not be accepted"),
            Err(error) => error.to_string(),
        };
        assert!(fault(&certificate, &other).contains("b.example.key"));
        assert!(fault(&key, &key).contains("a.example.key"));
        assert!(fault(&certificate, &dir.path().join("none")).contains("none"));
    }
}
