//! Orders: what a controller asks of one host, signed.
//!
//! The signature (Ed25519, by the controller's dispatch key) is over [`DOMAIN`] and the order's
//! bytes as they were received, never over bytes encoded again. The dispatch key is certified by
//! the CA that the host's root pinned at enrolment, under an extended key usage of its own, so that
//! no agent or server certificate can sign an order.

mod sign;
#[cfg(test)]
mod tests;
mod verify;

use serde::{Deserialize, Serialize};

use crate::action::{Action, Risk};
use crate::bytes::{Bytes, Digest};
use crate::ids::{HostId, OrderId};
use crate::time::UnixMs;

pub use sign::{DispatchKey, SignError};
pub use verify::{OrderError, TrustRoot, check_bytes, dispatch_usage_oid};

/// Version of the order's form.
pub const ORDER_VERSION: u8 = 1;
/// Longest life of an order, from not-before to expiry.
pub const MAX_LIFE_MS: i64 = 15 * crate::time::MINUTE_MS;
/// What is signed before the order's bytes, so that no other signed thing can pass for an order.
pub const DOMAIN: &[u8] = b"sysop order v1\0";
/// Most bytes of a signed order.
pub const MAX_SIGNED_ORDER: usize = 16 * 1024;

/// Who decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Policy, by itself.
    Automatic,
    /// A person started or approved it.
    Person,
}

impl Origin {
    /// The word for it, as in the API.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::Person => "person",
        }
    }

    /// From its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Automatic, Self::Person].into_iter().find(|origin| origin.word() == word)
    }
}

/// What is asked of one host. Fields are only ever appended: their order is the wire format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// [`ORDER_VERSION`].
    pub version: u8,
    /// The order's id: it runs at most once under it.
    pub id: OrderId,
    /// The one host that may run it.
    pub host: HostId,
    /// What.
    pub action: Action,
    /// Digest of the action's catalogue entry.
    pub entry: Digest,
    /// Not before this time, by the host's clock.
    pub not_before: UnixMs,
    /// Not started after this time; at most [`MAX_LIFE_MS`] later.
    pub expires: UnixMs,
    /// The host's lease number: rises when another controller takes the host over.
    pub lease: u64,
    /// Head of the controller's audit chain.
    pub audit_head: Digest,
    /// Who decided.
    pub origin: Origin,
    /// Computed risk.
    pub risk: Risk,
    /// One line on why, for the host's journal.
    pub reason: String,
}

/// An order as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedOrder {
    /// Encoded [`Order`].
    pub order: Bytes,
    /// Ed25519 signature, 64 bytes; empty when it is missing.
    pub signature: Bytes,
    /// The dispatch key's certificate, DER.
    pub certificate: Bytes,
    /// Reserved: approvers' signatures, for high risk.
    #[serde(default)]
    pub approvals: Vec<Bytes>,
}

impl Order {
    /// The bytes that are signed: deterministic CBOR (fixed order of fields, shortest integers).
    ///
    /// # Errors
    /// Never for values of these types; the encoder's signature has the error.
    pub fn encode(&self) -> Result<Vec<u8>, serde_cbor::Error> {
        serde_cbor::ser::to_vec_packed(self)
    }
}
