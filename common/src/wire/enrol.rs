//! Enrolment: one request, one answer, on a connection of its own.

use serde::{Deserialize, Serialize};

use super::frame::{Frame, kind};
use super::{WireError, limits, put};
use crate::bytes::Bytes;
use crate::ids::HostId;

/// A host asks to be taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolRequest {
    /// The one-time token.
    pub token: String,
    /// PKCS#10 request, DER; its subject and names are ignored.
    pub csr: Bytes,
    /// The host's name, for display.
    pub hostname: String,
    /// Version of the agent.
    pub agent_version: String,
}

/// The controller's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnrolAnswer {
    /// Taken in.
    Enrolled(Enrolled),
    /// Not taken in. The text is the same whatever was wrong with the token.
    Refused(String),
}

/// What a host gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// Its id.
    pub host: HostId,
    /// Its certificate, DER.
    pub certificate: Bytes,
    /// The CA's certificate, DER: the host's root pins it.
    pub ca: Bytes,
}

impl EnrolRequest {
    /// Appends the request to `out` as a frame.
    ///
    /// # Errors
    /// When it is over its cap.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        put(out, kind::ENROL_REQUEST, self)
    }

    /// The request in a frame.
    ///
    /// # Errors
    /// When it is another message or does not decode.
    pub fn decode(frame: Frame<'_>) -> Result<Self, WireError> {
        decode(frame, kind::ENROL_REQUEST)
    }
}

impl EnrolAnswer {
    /// Appends the answer to `out` as a frame.
    ///
    /// # Errors
    /// When it is over its cap.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        put(out, kind::ENROL_ANSWER, self)
    }

    /// The answer in a frame.
    ///
    /// # Errors
    /// When it is another message or does not decode.
    pub fn decode(frame: Frame<'_>) -> Result<Self, WireError> {
        decode(frame, kind::ENROL_ANSWER)
    }
}

fn decode<T: serde::de::DeserializeOwned>(frame: Frame<'_>, kind: u8) -> Result<T, WireError> {
    if frame.kind != kind {
        return Err(WireError::UnknownKind(frame.kind));
    }
    limits::decode(frame.body).map_err(|source| WireError::Body { kind, source })
}
