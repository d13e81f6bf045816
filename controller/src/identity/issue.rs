//! Certificates: what each kind may say, and reading back who a peer is.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData,
    SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use sysop_common::ids::HostId;
use sysop_common::order::dispatch_usage_oid;
use sysop_common::time::{DAY_MS, HOUR_MS, UnixMs};
use sysop_common::tls::{HOST_URI_PREFIX, host_uri};
use sysop_common::wire::CONTROLLER_DNS;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::IdentityError;
use super::keyfile::random;

/// Life of the CA's certificate: it is pinned on every host, so it outlives them.
const CA_DAYS: i64 = 20 * 365;
/// Life of a server certificate. It is made anew at each start.
const SERVER_DAYS: i64 = 825;
/// Life of a dispatch key's certificate; see [`super::Identity::open`] for its renewal.
pub(super) const DISPATCH_DAYS: i64 = 5 * 365;
/// Certificates hold from this much before they were made: clocks differ.
const BACKDATE_MS: i64 = HOUR_MS;

/// The CA, ready to sign.
pub(super) type Ca = Issuer<'static, KeyPair>;

fn params(name: &str, days: i64, now: UnixMs) -> Result<CertificateParams, IdentityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let mut serial = [0; 16];
    random(&mut serial)?;
    // Positive and without a leading zero, as encoders differ about both.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let second = |ms: i64| Duration::from_secs(u64::try_from(ms / 1_000).unwrap_or_default());
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + second(now.0 - BACKDATE_MS);
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + second(not_after(days * DAY_MS, now).0);
    Ok(params)
}

fn not_after(life_ms: i64, now: UnixMs) -> UnixMs {
    UnixMs((now.0 + life_ms) / 1_000 * 1_000)
}

/// Makes a CA: its certificate and key, DER.
pub(super) fn make_ca(now: UnixMs) -> Result<(Vec<u8>, Vec<u8>), IdentityError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = params("Smart System Operator CA", CA_DAYS, now)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?;
    Ok((certificate.der().to_vec(), key.serialize_der()))
}

/// The CA from its certificate and key.
pub(super) fn load_ca(certificate: &[u8], key: &[u8]) -> Result<Ca, IdentityError> {
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.to_vec());
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256)?;
    Ok(Issuer::from_ca_cert_der(&CertificateDer::from(certificate), key)?)
}

/// The certificate for agents and its key, DER.
pub(super) fn server(ca: &Ca, now: UnixMs) -> Result<(Vec<u8>, Vec<u8>), IdentityError> {
    let name = CONTROLLER_DNS.try_into().map_err(IdentityError::Issue)?;
    serving(ca, CONTROLLER_DNS, vec![SanType::DnsName(name)], now)
}

/// The dashboard's certificate for these names and addresses, and its key, DER.
pub(super) fn web(
    ca: &Ca,
    names: &[String],
    addresses: &[IpAddr],
    now: UnixMs,
) -> Result<(Vec<u8>, Vec<u8>), IdentityError> {
    let mut subjects: Vec<SanType> = addresses.iter().copied().map(SanType::IpAddress).collect();
    for name in names {
        subjects.push(SanType::DnsName(name.as_str().try_into().map_err(IdentityError::Issue)?));
    }
    serving(ca, "Smart System Operator dashboard", subjects, now)
}

fn serving(
    ca: &Ca,
    name: &str,
    subjects: Vec<SanType>,
    now: UnixMs,
) -> Result<(Vec<u8>, Vec<u8>), IdentityError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = params(name, SERVER_DAYS, now)?;
    params.subject_alt_names = subjects;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok((params.signed_by(&key, ca)?.der().to_vec(), key.serialize_der()))
}

/// The certificate of a dispatch key: for signing orders and nothing else.
pub(super) fn dispatch(ca: &Ca, key: &KeyPair, now: UnixMs) -> Result<Vec<u8>, IdentityError> {
    let mut params = params("Smart System Operator dispatch", DISPATCH_DAYS, now)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(dispatch_usage_oid().to_vec())];
    params.use_authority_key_identifier_extension = true;
    Ok(params.signed_by(key, ca)?.der().to_vec())
}

/// A host's certificate for the key of a request: DER and end of its life. Whatever else the request
/// asks for is ignored.
pub(super) fn host(
    ca: &Ca,
    csr: &[u8],
    host: HostId,
    life_ms: i64,
    now: UnixMs,
) -> Result<(Vec<u8>, UnixMs), IdentityError> {
    let csr = CertificateSigningRequestDer::from(csr);
    // This verifies that whoever asks has the key.
    let request = CertificateSigningRequestParams::from_der(&csr).map_err(|_| IdentityError::BadRequest)?;
    let key = &request.public_key;
    // An uncompressed point of P-256; the request's signature alone does not say which curve.
    if *key.algorithm() != PKCS_ECDSA_P256_SHA256 || key.der_bytes().len() != 65 {
        return Err(IdentityError::BadRequest);
    }
    let mut params = params(&host.to_string(), 0, now)?;
    let not_after = not_after(life_ms, now);
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_millis(not_after.0 as u64);
    let uri = host_uri(host).as_str().try_into().map_err(IdentityError::Issue)?;
    params.subject_alt_names = vec![SanType::URI(uri)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    Ok((params.signed_by(key, ca)?.der().to_vec(), not_after))
}

/// A peer's certificate is not that of a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PeerError(&'static str);

/// Which host a verified client certificate names: exactly one name, of exactly our form, in a
/// certificate that is for clients only.
///
/// # Errors
/// When it names no host, or anything besides.
pub fn host_of(certificate: &[u8]) -> Result<HostId, PeerError> {
    let (rest, certificate) =
        X509Certificate::from_der(certificate).map_err(|_| PeerError("certificate cannot be read"))?;
    if !rest.is_empty() {
        return Err(PeerError("certificate has bytes left over"));
    }
    if certificate.is_ca() {
        return Err(PeerError("certificate is a CA's"));
    }
    let usage = certificate.extended_key_usage().ok().flatten().map(|usage| usage.value);
    let only_client = usage.is_some_and(|usage| {
        usage.client_auth
            && !(usage.any || usage.server_auth || usage.code_signing || usage.email_protection)
            && usage.other.is_empty()
    });
    if !only_client {
        return Err(PeerError("certificate is not for clients only"));
    }
    let names = certificate.subject_alternative_name().ok().flatten().map(|names| &names.value.general_names);
    let Some([GeneralName::URI(uri)]) = names.map(Vec::as_slice) else {
        return Err(PeerError("certificate does not name exactly one host"));
    };
    let id = uri.strip_prefix(HOST_URI_PREFIX).ok_or(PeerError("certificate does not name a host"))?;
    HostId::from_str(id).map_err(|_| PeerError("certificate does not name a host"))
}

/// End of a certificate's life.
pub(super) fn ends(certificate: &[u8]) -> Option<UnixMs> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(UnixMs(certificate.validity().not_after.timestamp().saturating_mul(1_000)))
}
