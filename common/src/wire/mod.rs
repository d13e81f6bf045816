//! Messages between agent and controller, the same over QUIC and over TLS on TCP.
//!
//! A frame is a length (LEB128, at most 4 bytes) that counts the kind and the body, one byte of
//! kind, and a body in CBOR. Struct fields travel as their index and unknown indices are ignored,
//! so fields and variants are only ever appended, and new fields are `#[serde(default)]`.

mod downward;
mod enrol;
pub mod frame;
mod hello;
pub mod limits;
mod upward;

pub use downward::{Ack, Configure, Downward, QueryRequest, Renewed};
pub use enrol::{EnrolAnswer, EnrolRequest, Enrolled};
pub use hello::{Filesystem, Hello, Inventory, PreviousEpoch, VERSION, Welcome, negotiate};
use upward::put;

#[cfg(test)]
mod tests;
pub use upward::{Chain, Gap, GapReason, Now, OutputChunk, RenewRequest, Samples, Upward};

/// Application protocol of ordinary sessions: client certificate required.
pub const ALPN: &[u8] = b"sysop/1";
/// Application protocol of enrolment: no client certificate yet.
pub const ALPN_ENROLL: &[u8] = b"sysop-enroll/1";
/// The one DNS name in every controller's certificate, whatever its address.
pub const CONTROLLER_DNS: &str = "controller.sysop.internal";
/// Default port, UDP and TCP.
pub const DEFAULT_PORT: u16 = 8443;

/// Bytes that are not a message.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The length prefix is not canonical or over the cap of its kind.
    #[error("frame of kind {kind} has {len} bytes, at most {cap} are allowed")]
    TooLong {
        /// Kind of message.
        kind: u8,
        /// Its length.
        len: usize,
        /// Its cap.
        cap: usize,
    },
    /// The length prefix is longer than 4 bytes, or zero.
    #[error("frame has an invalid length prefix")]
    BadLength,
    /// No message has this kind, or not in this direction.
    #[error("unknown kind of message {0}")]
    UnknownKind(u8),
    /// The body does not decode.
    #[error("message of kind {kind} does not decode: {source}")]
    Body {
        /// Kind of message.
        kind: u8,
        /// Why.
        source: limits::DecodeError,
    },
    /// The body cannot be encoded.
    #[error("message cannot be encoded: {0}")]
    Encode(serde_cbor::Error),
}
