//! What is read out of a certificate of our own CA.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use sysop_common::ids::HostId;
use sysop_common::time::UnixMs;
use sysop_common::tls::{self, HOST_URI_PREFIX};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// A certificate is not one of a host of this CA.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It cannot be read.
    #[error("certificate cannot be read")]
    Unreadable,
    /// It does not name exactly one host.
    #[error("certificate does not name exactly one host")]
    NoHost,
    /// It does not come from the CA that this host trusts.
    #[error("certificate is not one of the CA that this host trusts: {0}")]
    Untrusted(String),
}

/// What a host's certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Whose it is.
    pub host: HostId,
    /// From when on it is valid.
    pub from: UnixMs,
    /// Until when.
    pub to: UnixMs,
    /// The raw public key.
    pub public_key: Vec<u8>,
}

impl Facts {
    /// Reads `certificate` and checks that `ca` issued it for clients. Its time is not checked: the
    /// controller does that, and a host's clock may be wrong.
    ///
    /// # Errors
    /// When it cannot be read, names no host, or another CA issued it.
    pub fn read(certificate: &CertificateDer<'_>, ca: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| CertificateError::Unreadable)?;
        let ms = |seconds: i64| UnixMs(seconds.saturating_mul(1_000));
        let facts = Self {
            host: host_of(&parsed)?,
            from: ms(parsed.validity().not_before.timestamp()),
            to: ms(parsed.validity().not_after.timestamp()),
            public_key: parsed.public_key().subject_public_key.data.to_vec(),
        };
        issued_by(certificate, ca, facts.from).map_err(|e| CertificateError::Untrusted(e.to_string()))?;
        Ok(facts)
    }

    /// When a new certificate should be asked for: after two thirds of its life.
    #[must_use]
    pub const fn renew_at(&self) -> UnixMs {
        self.from.plus(self.to.since(self.from) / 3 * 2)
    }
}

fn host_of(certificate: &X509Certificate<'_>) -> Result<HostId, CertificateError> {
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| CertificateError::Unreadable)?
        .ok_or(CertificateError::NoHost)?;
    match names.value.general_names.as_slice() {
        [GeneralName::URI(uri)] => {
            uri.strip_prefix(HOST_URI_PREFIX).and_then(|id| id.parse().ok()).ok_or(CertificateError::NoHost)
        }
        _ => Err(CertificateError::NoHost),
    }
}

fn issued_by(
    certificate: &CertificateDer<'_>,
    ca: &CertificateDer<'_>,
    at: UnixMs,
) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone().into_owned())?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), tls::provider())
        .build()
        .map_err(|e| rustls::Error::General(e.to_string()))?;
    let seconds = u64::try_from(at.0 / 1_000).unwrap_or_default();
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    verifier.verify_client_cert(certificate, &[], at).map(|_| ())
}
