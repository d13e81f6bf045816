//! TLS: whether a certificate is to be trusted, and for how long it is good.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use sysop_common::probe::{Check, Reason};
use sysop_common::tls::provider;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Answer, Asked, Failure, Gate};

const DAY_S: i64 = 86_400;

/// The system's trusted certificates, read once: they change with a package, which restarts what uses them.
static SYSTEM: LazyLock<Option<Arc<RootCertStore>>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    (!roots.is_empty()).then(|| Arc::new(roots))
});

/// What was seen of a certificate.
#[derive(Debug, Default)]
struct Seen {
    /// Days left, rounded down; negative after its end.
    days: Option<i64>,
    verdict: Option<Error>,
}

/// Notes what it sees; a lenient one lets the handshake go on all the same, so that it can be told for how
/// long a certificate is good that is not trusted. Nothing is ever sent over such a connection.
#[derive(Debug)]
struct Watcher {
    inner: Arc<WebPkiServerVerifier>,
    strict: bool,
    seen: Arc<Mutex<Seen>>,
}

impl ServerCertVerifier for Watcher {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = self.inner.verify_server_cert(end_entity, intermediates, name, ocsp, now);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.days = days_left(end_entity, now);
        match verdict {
            Err(error) => {
                seen.verdict = Some(error.clone());
                if self.strict { Err(error) } else { Ok(ServerCertVerified::assertion()) }
            }
            well => well,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

fn days_left(certificate: &CertificateDer<'_>, now: UnixTime) -> Option<i64> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let end = parsed.validity().not_after.timestamp();
    Some(end.checked_sub(i64::try_from(now.as_secs()).ok()?)?.div_euclid(DAY_S))
}

fn roots(ca: Option<&str>) -> Result<Arc<RootCertStore>, Failure> {
    let Some(pem) = ca else {
        return SYSTEM.clone().ok_or(Failure::from(Reason::NoRoots));
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let added = certificate.ok().is_some_and(|certificate| roots.add(certificate).is_ok());
        if !added {
            return Err(Reason::NoRoots.into());
        }
    }
    if roots.is_empty() { Err(Reason::NoRoots.into()) } else { Ok(Arc::new(roots)) }
}

fn settings(ca: Option<&str>, strict: bool, seen: &Arc<Mutex<Seen>>) -> Result<ClientConfig, Failure> {
    let fault = |_| Failure::from(Reason::LocalFault);
    let inner = WebPkiServerVerifier::builder_with_provider(roots(ca)?, provider())
        .build()
        .map_err(|_| Failure::from(Reason::NoRoots))?;
    let watcher = Watcher { inner, strict, seen: seen.clone() };
    Ok(ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(fault)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(watcher))
        .with_no_client_auth())
}

fn server_name(host: &str) -> Result<ServerName<'static>, Failure> {
    ServerName::try_from(host.to_owned()).map_err(|_| Reason::NotTaken.into())
}

/// Opens TLS with a peer whose certificate must be trusted; tells the days that it has left.
async fn connect_tls(
    stream: TcpStream,
    host: &str,
    ca: Option<&str>,
    strict: bool,
) -> (Result<TlsStream<TcpStream>, Failure>, Option<i64>, Option<Error>) {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let opened = async {
        let config = settings(ca, strict, &seen)?;
        let connected = TlsConnector::from(Arc::new(config)).connect(server_name(host)?, stream).await;
        connected.map_err(|_| Failure::from(Reason::TlsFailed))
    };
    let opened = opened.await;
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    (opened, seen.days, seen.verdict.take())
}

/// As [`connect_tls`], strict: a connection over which something may be sent.
pub(super) async fn connect(
    stream: TcpStream,
    host: &str,
    ca: Option<&str>,
) -> Result<(TlsStream<TcpStream>, Option<i64>), Failure> {
    let (opened, days, verdict) = connect_tls(stream, host, ca, true).await;
    match (opened, verdict) {
        (_, Some(error)) => Err(distrust(&error, days)),
        (opened, None) => opened.map(|stream| (stream, days)),
    }
}

pub(super) async fn ask(check: &Check, gate: &dyn Gate) -> Asked {
    let Check::Tls { host, port, server_name, warn_days, critical_days, ca } = check else {
        return Err(Reason::LocalFault.into());
    };
    let stream = super::connect(host, *port, gate).await?;
    let name = server_name.as_deref().unwrap_or(host);
    let (opened, days, verdict) = connect_tls(stream, name, ca.as_deref(), false).await;
    if let Some(error) = verdict {
        return Err(distrust(&error, days));
    }
    drop(opened?);
    let left = days.ok_or(Failure::from(Reason::Malformed))?;
    if left <= i64::from(*critical_days) {
        Err(Failure { reason: Reason::CertificateVerySoon, number: left, days })
    } else if left <= i64::from(*warn_days) {
        Err(Failure { reason: Reason::CertificateSoon, number: left, days })
    } else {
        Ok(Answer { number: left, days, micros: None })
    }
}

/// Why a certificate is not trusted.
fn distrust(error: &Error, days: Option<i64>) -> Failure {
    let Error::InvalidCertificate(why) = error else {
        return Failure { days, ..Reason::TlsFailed.into() };
    };
    let reason = match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Reason::CertificateExpired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Reason::CertificateEarly
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Reason::CertificateName
        }
        CertificateError::BadEncoding => Reason::Malformed,
        _ => Reason::CertificateUntrusted,
    };
    let number = if reason == Reason::CertificateExpired { days.unwrap_or(-1) } else { 0 };
    Failure { reason, number, days }
}
