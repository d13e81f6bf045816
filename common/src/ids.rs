//! Identities: hosts, epochs, sequence numbers, orders.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An id did not have the form that it must have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be a UUID such as 0190b6a5-7c1e-7c3a-9f00-1c2d3e4f5a6b, not {got:?}")]
pub struct IdError {
    what: &'static str,
    got: String,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            /// Accepts the canonical hyphenated form only, so that one id has one spelling.
            fn from_str(text: &str) -> Result<Self, IdError> {
                let error = || IdError { what: $what, got: text.chars().take(64).collect() };
                let id = Uuid::try_parse(text).map_err(|_| error())?;
                if id.as_hyphenated().to_string() == text { Ok(Self(id)) } else { Err(error()) }
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if s.is_human_readable() { s.collect_str(self) } else { s.serialize_bytes(self.0.as_bytes()) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                if d.is_human_readable() {
                    let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                    return text.parse().map_err(serde::de::Error::custom);
                }
                Uuid::deserialize(d).map(Self)
            }
        }
    };
}

uuid_id!(
    /// A host, for as long as it exists; given by the controller at enrolment, carried by the certificate.
    HostId, "host id"
);
uuid_id!(
    /// An order and the run that it causes: UUIDv7, the idempotency key of its execution.
    OrderId, "run id"
);
uuid_id!(
    /// A controller process's lasting identity.
    ControllerId, "controller id"
);

/// Random number drawn at each agent start. Never reused, so that a cloned or rolled-back agent
/// cannot look like a resend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Number of a sample within its epoch, from 1, without holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The next number.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

pub use crate::bytes::SchemaId;

/// SHA-256 of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_id_grammar_rejects_separators_dots_nul_unicode() {
        let good = "0190b6a5-7c1e-7c3a-9f00-1c2d3e4f5a6b";
        assert!(good.parse::<HostId>().is_ok());
        for bad in [
            "",
            "..",
            "a/b",
            "0190b6a57c1e7c3a9f001c2d3e4f5a6b",
            "{0190b6a5-7c1e-7c3a-9f00-1c2d3e4f5a6b}",
            "0190B6A5-7c1e-7c3a-9f00-1c2d3e4f5a6b",
            "0190b6a5-7c1e-7c3a-9f00-1c2d3e4f5a6b\0",
            "０190b6a5-7c1e-7c3a-9f00-1c2d3e4f5a6b",
        ] {
            assert!(bad.parse::<HostId>().is_err(), "{bad:?}");
            assert!(serde_json::from_value::<HostId>(bad.into()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ids_survive_both_kinds_of_encoding() {
        let id: HostId = "0190b6a5-7c1e-7c3a-9f00-1c2d3e4f5a6b".parse().unwrap();
        let cbor = serde_cbor::to_vec(&id).unwrap();
        assert_eq!(cbor.len(), 17);
        assert_eq!(serde_cbor::from_slice::<HostId>(&cbor).unwrap(), id);
    }
}
