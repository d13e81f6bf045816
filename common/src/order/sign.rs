//! Signing, on the controller.

use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::{DOMAIN, Order, SignedOrder};
use crate::bytes::Bytes;

/// A dispatch key with its certificate.
pub struct DispatchKey {
    pair: Ed25519KeyPair,
    certificate: Vec<u8>,
}

/// An order could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The key is not a PKCS#8 Ed25519 key.
    #[error("dispatch key is not a PKCS#8 Ed25519 key; remove it to have a new one made")]
    BadKey,
    /// The order could not be encoded.
    #[error("order could not be encoded")]
    Encode(#[from] serde_cbor::Error),
}

impl std::fmt::Debug for DispatchKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DispatchKey")
    }
}

impl DispatchKey {
    /// From a PKCS#8 document and the certificate of its public key, both DER.
    ///
    /// # Errors
    /// When the document is not an Ed25519 key.
    pub fn new(pkcs8: &[u8], certificate: Vec<u8>) -> Result<Self, SignError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map_err(|_| SignError::BadKey)?;
        Ok(Self { pair, certificate })
    }

    /// The raw public key, 32 bytes.
    #[must_use]
    pub fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// The certificate of the public key, DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Signs `order`.
    ///
    /// # Errors
    /// When the order cannot be encoded.
    pub fn sign(&self, order: &Order) -> Result<SignedOrder, SignError> {
        let bytes = order.encode()?;
        let signature = self.pair.sign(&[DOMAIN, &bytes].concat());
        Ok(SignedOrder {
            order: Bytes(bytes),
            signature: Bytes(signature.as_ref().to_vec()),
            certificate: Bytes(self.certificate.clone()),
            approvals: Vec::new(),
        })
    }

    /// Signs any bytes under `domain`, for heads of the audit chain.
    #[must_use]
    pub fn sign_bytes(&self, domain: &[u8], bytes: &[u8]) -> Vec<u8> {
        self.pair.sign(&[domain, bytes].concat()).as_ref().to_vec()
    }
}
