//! TLS settings of both sides, from bytes given. TLS 1.3 only, one provider, no 0-RTT.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    CipherSuite, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
};

use crate::bytes::Digest;
use crate::ids::{HostId, sha256};
use crate::wire::{ALPN, ALPN_ENROLL, CONTROLLER_DNS};

/// Prefix of the URI that names a host in its certificate.
pub const HOST_URI_PREFIX: &str = "sysop://host/";

/// The URI that names `host` in its certificate.
#[must_use]
pub fn host_uri(host: HostId) -> String {
    format!("{HOST_URI_PREFIX}{host}")
}

/// The provider of cryptography for the whole product: the one place that names it.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    // AES-128 first: as strong as the certificates' keys, and its hash is one that processors have built in,
    // which a handshake uses some fifty times.
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

/// Makes [`provider`] the process's default, for libraries that take whatever is installed. Does nothing
/// when a default is there.
pub fn install() {
    // Whoever came first installed the same one: nothing else in the tree has a provider.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// SHA-256 of a certificate, as it is shown to people and pinned at enrolment.
#[must_use]
pub fn fingerprint(certificate: &[u8]) -> Digest {
    Digest(sha256(certificate))
}

/// The name that every controller's certificate carries.
#[must_use]
pub fn controller_name() -> ServerName<'static> {
    // A constant that parses; the fallback keeps hostile bytes far from a panic and matches nothing.
    ServerName::try_from(CONTROLLER_DNS)
        .unwrap_or(ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()))
}

/// An agent's settings for ordinary sessions: its certificate, and the pinned CA.
///
/// # Errors
/// When the certificate and the key do not fit or the CA cannot be read.
pub fn agent(
    ca: CertificateDer<'static>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(ca)?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_early_data = false;
    Ok(config)
}

/// An agent's settings for enrolment: the controller must present a chain that ends in the CA with
/// this fingerprint.
///
/// # Errors
/// When the provider does not have TLS 1.3.
pub fn enrolment(ca: Digest) -> Result<ClientConfig, rustls::Error> {
    let provider = provider();
    let verifier = Arc::new(PinnedCa { ca, provider: provider.clone() });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_ENROLL.to_vec()];
    config.enable_early_data = false;
    Ok(config)
}

/// A controller's settings. A certificate that is presented must be one of the CA; whether one must
/// be presented depends on the application protocol, which the caller looks at before it reads a byte.
///
/// # Errors
/// When the certificate and the key do not fit or the CA cannot be read.
pub fn controller(
    ca: CertificateDer<'static>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let provider = provider();
    let mut roots = RootCertStore::empty();
    roots.add(ca)?;
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|e| rustls::Error::General(e.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN.to_vec(), ALPN_ENROLL.to_vec()];
    config.max_early_data_size = 0;
    Ok(config)
}

/// Trusts the one CA whose fingerprint the person at the host was shown.
#[derive(Debug)]
struct PinnedCa {
    ca: Digest,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let pinned = intermediates.iter().find(|certificate| fingerprint(certificate) == self.ca);
        let ca = pinned.ok_or_else(|| {
            rustls::Error::General(format!(
                "the controller's CA does not have the fingerprint sha256:{}",
                self.ca
            ))
        })?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|e| rustls::Error::General(e.to_string()))?;
        verifier.verify_server_cert(end_entity, &[], name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
