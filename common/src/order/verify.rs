//! Checking an order's bytes, on the host: caps, certificate, signature, form.
//!
//! Everything that needs the host's own state (journal, policy, lease, clock floor) comes after,
//! in the executor.

use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::{DOMAIN, MAX_LIFE_MS, MAX_SIGNED_ORDER, ORDER_VERSION, Order, SignedOrder};
use crate::action::Refusal;
use crate::ids::HostId;
use crate::time::UnixMs;
use crate::wire::limits;

/// Object identifier of the extended key usage "signs orders". It has a meaning under our own CA only,
/// so it needs no registration.
const DISPATCH_USAGE: &[u64] = &[2, 25, 0x5359_534f, 0x5021, 1];
/// The same, DER-encoded without tag and length.
const DISPATCH_USAGE_DER: &[u8] = &[0x69, 0x85, 0x9a, 0xe5, 0xa6, 0x4f, 0x81, 0xa0, 0x21, 0x01];

/// The arcs of the dispatch key usage, for the issuer of certificates.
#[must_use]
pub const fn dispatch_usage_oid() -> &'static [u64] {
    DISPATCH_USAGE
}

const ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] =
    &[webpki::ring::ECDSA_P256_SHA256, webpki::ring::ED25519];

/// An order was not accepted by its bytes alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct OrderError {
    /// The reason that is reported.
    pub reason: Refusal,
    /// One line for people.
    pub detail: String,
}

impl OrderError {
    fn new(reason: Refusal, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// The CA that root pinned on this host, and the host's own id.
#[derive(Debug, Clone)]
pub struct TrustRoot {
    anchor: TrustAnchor<'static>,
    host: HostId,
}

impl TrustRoot {
    /// From the CA's certificate.
    ///
    /// # Errors
    /// When the certificate cannot be read.
    pub fn new(ca: &CertificateDer<'_>, host: HostId) -> Result<Self, OrderError> {
        Ok(Self { anchor: anchor_of(ca)?, host })
    }

    /// Decodes a signed order and checks, in this order: size and form, signature present,
    /// certificate, signature, version, host, parameters, catalogue entry, times.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn check(&self, bytes: &[u8], now: UnixMs) -> Result<Order, OrderError> {
        let signed = decode_signed(bytes)?;
        self.check_signed(&signed, now)
    }

    /// As [`TrustRoot::check`], for an order that is decoded already.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn check_signed(&self, signed: &SignedOrder, now: UnixMs) -> Result<Order, OrderError> {
        self.check_signature(signed, now)?;
        let order: Order = limits::decode(&signed.order.0)
            .map_err(|e| OrderError::new(Refusal::Malformed, format!("order cannot be decoded: {e}")))?;
        self.check_form(&order, now)?;
        Ok(order)
    }

    fn check_signature(&self, signed: &SignedOrder, now: UnixMs) -> Result<(), OrderError> {
        let signature = &signed.signature.0;
        check_signed(&self.anchor, &signed.certificate.0, DOMAIN, &signed.order.0, signature, now)
    }

    fn check_form(&self, order: &Order, now: UnixMs) -> Result<(), OrderError> {
        let refuse = |reason, detail: String| Err(OrderError::new(reason, detail));
        if order.version != ORDER_VERSION {
            return refuse(
                Refusal::Malformed,
                format!("order has version {}, this agent knows {ORDER_VERSION}", order.version),
            );
        }
        if order.host != self.host {
            return refuse(
                Refusal::WrongHost,
                format!("order is for host {}, this is {}", order.host, self.host),
            );
        }
        if let Err(e) = order.action.validate() {
            return refuse(Refusal::Malformed, e.to_string());
        }
        if order.entry != order.action.entry().digest() {
            return refuse(
                Refusal::UnknownAction,
                format!("{} has another version here", order.action.name()),
            );
        }
        if order.expires.since(order.not_before) > MAX_LIFE_MS {
            return refuse(Refusal::LifetimeTooLong, "order lives longer than 15 minutes".into());
        }
        if now < order.not_before {
            return refuse(
                Refusal::NotYet,
                format!("order is for {} ms from now", order.not_before.since(now)),
            );
        }
        if now > order.expires {
            return refuse(Refusal::Expired, format!("order expired {} ms ago", now.since(order.expires)));
        }
        Ok(())
    }
}

/// Checks what [`super::DispatchKey::sign_bytes`] signed, against the CA's certificate `ca`. `at` is the
/// time at which the key's certificate must have been valid.
///
/// # Errors
/// [`Refusal::UntrustedKey`] or [`Refusal::BadSignature`].
pub fn check_bytes(
    ca: &CertificateDer<'_>,
    certificate: &[u8],
    domain: &[u8],
    bytes: &[u8],
    signature: &[u8],
    at: UnixMs,
) -> Result<(), OrderError> {
    check_signed(&anchor_of(ca)?, certificate, domain, bytes, signature, at)
}

fn anchor_of(ca: &CertificateDer<'_>) -> Result<TrustAnchor<'static>, OrderError> {
    let anchor = anchor_from_trusted_cert(ca)
        .map_err(|e| OrderError::new(Refusal::UntrustedKey, format!("CA certificate cannot be read: {e}")))?;
    Ok(anchor.to_owned())
}

fn check_signed(
    anchor: &TrustAnchor<'static>,
    certificate: &[u8],
    domain: &[u8],
    bytes: &[u8],
    signature: &[u8],
    at: UnixMs,
) -> Result<(), OrderError> {
    if signature.is_empty() {
        return Err(OrderError::new(Refusal::Unsigned, "it carries no signature"));
    }
    let der = CertificateDer::from(certificate);
    let untrusted =
        |what: &str| OrderError::new(Refusal::UntrustedKey, format!("dispatch key's certificate {what}"));
    let certificate =
        EndEntityCert::try_from(&der).map_err(|e| untrusted(&format!("cannot be read: {e}")))?;
    let seconds = u64::try_from(at.0 / 1_000).unwrap_or_default();
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let usage = KeyUsage::required(DISPATCH_USAGE_DER);
    certificate
        .verify_for_usage(ALGORITHMS, std::slice::from_ref(anchor), &[], time, usage, None, None)
        .map_err(|e| untrusted(&format!("is not one of this host's CA for dispatch: {e}")))?;
    certificate
        .verify_signature(webpki::ring::ED25519, &[domain, bytes].concat(), signature)
        .map_err(|_| OrderError::new(Refusal::BadSignature, "signature does not fit the bytes"))
}

/// Decodes the envelope of an order.
///
/// # Errors
/// When it is too large or not an envelope.
pub(super) fn decode_signed(bytes: &[u8]) -> Result<SignedOrder, OrderError> {
    if bytes.len() > MAX_SIGNED_ORDER {
        return Err(OrderError::new(Refusal::Malformed, "order is larger than 16 KiB"));
    }
    limits::decode(bytes)
        .map_err(|e| OrderError::new(Refusal::Malformed, format!("order cannot be decoded: {e}")))
}
